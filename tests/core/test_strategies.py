"""The public strategies: valid models, shrinking to the trivial one, round trips to the last bit, refused arguments."""

import random
import tempfile
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, find, given, settings

from mdpkit import strategies, validate
from mdpkit.errors import MdpkitError
from mdpkit.instances import garnet
from mdpkit.models.bandits import Bandit, ContextualBandit, LinearBandit
from mdpkit.models.games import MarkovGame
from mdpkit.models.latent import LatentMDP, RichMDP
from mdpkit.models.linear import LinearMDP, LinearMixtureMDP
from mdpkit.models.preferences import PreferenceModel
from mdpkit.models.record import load
from mdpkit.models.tabular import EpisodicMDP, TabularMDP
from mdpkit.models.tokens import TokenModel

EXACT = 1e-12      # logits of probabilities in [.11, .89] lose one digit to the condition number 1 / (p (1 - p))
EXAMPLES = 15      # an example costs about 5 ms; the whole file stays near ten seconds
fixed = settings(derandomize=True, deadline=None, max_examples=EXAMPLES, database=None,
                 suppress_health_check=[HealthCheck.too_slow])

MODELS = {
    "tabular": (strategies.tabular_mdps(), TabularMDP), "episodic": (strategies.episodic_mdps(), EpisodicMDP),
    "linear": (strategies.linear_mdps(), LinearMDP), "mixture": (strategies.linear_mixture_mdps(), LinearMixtureMDP),
    "latent": (strategies.latent_mdps(), LatentMDP), "block": (strategies.rich_mdps(), RichMDP),
    "rich": (strategies.rich_mdps(block=False), RichMDP), "bandit": (strategies.bandits(), Bandit),
    "linear bandit": (strategies.linear_bandits(), LinearBandit),
    "contextual": (strategies.contextual_bandits(), ContextualBandit),
    "zero-sum": (strategies.markov_games(), MarkovGame),
    "three players": (strategies.markov_games(players=3, zero_sum=False), MarkovGame),
    "matrix": (strategies.matrix_games(), MarkovGame),
    "bimatrix": (strategies.matrix_games(zero_sum=False), MarkovGame),
    "preferences": (strategies.preference_models(), PreferenceModel),
    "bradley-terry": (strategies.preference_models(bradley_terry=True), PreferenceModel),
    "tokens": (strategies.token_models(), TokenModel),
}
SIZES = ("S", "A", "H", "d", "M", "X", "Y", "V")
each = pytest.mark.parametrize("name", MODELS)


def smallest(strategy, condition):
    return find(strategy, condition, settings=settings(fixed, max_examples=500, phases=[Phase.generate, Phase.shrink]),
                random=random.Random(0))


def same(x, y):
    """Equal to the last bit, sparse or dense."""
    if hasattr(x, "tocsr"):
        return x.shape == y.shape and all(same(getattr(x, k), getattr(y, k)) for k in ("data", "indices", "indptr"))
    if isinstance(x, np.ndarray):
        return x.dtype == y.dtype and x.shape == y.shape and x.tobytes() == y.tobytes()
    return type(x) is type(y) and x == y


@each
def test_models_are_of_their_kind_and_canonical(name):
    strategy, kind = MODELS[name]

    @fixed
    @given(strategy)
    def check(m):
        assert type(m) is kind
        for field in ("P", "rho", "w", "nu", "q", "pi_ref"):
            p = getattr(m, field, None)
            assert p is None or ((p >= 0).all() and (p.sum(-1) == 1).all() and (p * 2.0**52 % 1 == 0).all())

    check()


@each
def test_models_shrink_to_one_of_everything(name):
    m = smallest(MODELS[name][0], lambda m: True)
    assert all(np.unique(getattr(m, k)).tolist() == [1] for k in SIZES if hasattr(m, k))
    for field in ("r", "mu", "theta", "reward"):
        value = getattr(m, field, None)
        at_zero = field != "theta" or not isinstance(m, LinearMixtureMDP)        # there theta is a law
        if value is not None and at_zero and not (field == "mu" and isinstance(m, LinearMDP)):
            assert (value == 0).all()


@each
def test_models_save_and_load_to_the_last_bit(name):
    @fixed
    @given(MODELS[name][0])
    def check(m):
        with tempfile.TemporaryDirectory() as folder:
            back = load(m.save(Path(folder) / "model.npz"))
        assert type(back) is type(m)
        for field in m.__dataclass_fields__:
            assert same(getattr(back, field), getattr(m, field)), field

    check()


def test_a_sparse_model_saves_and_loads_to_the_last_bit(tmp_path):
    m = garnet.garnet(7, 2, 3, 0.9, np.random.default_rng(0), sparse=True)
    back = load(m.save(tmp_path / "sparse.npz"))
    assert all(same(getattr(back, field), getattr(m, field)) for field in m.__dataclass_fields__)


def test_a_shrunk_counterexample_is_small():
    m = smallest(strategies.tabular_mdps(), lambda m: m.r.max() > 0.5 and m.S > 1)
    assert (m.S, m.A, m.gamma) == (2, 1, 0.5) and sorted(m.r.ravel().tolist()) == [0.0, 9 / 16]
    assert set(np.unique(m.P)) == {0.0, 1.0}


@fixed
@given(strategies.linear_mdps(), strategies.linear_mixture_mdps())
def test_linear_worlds_are_linear_to_the_last_bit(linear, mixture):
    assert linear.misfit == 0.0
    assert (np.einsum("hi,isat->hsat", mixture.theta, mixture.base) == mixture.P).all()


@fixed
@given(strategies.rich_mdps(max_states=3, max_observations=4))
def test_blocks_have_a_decoder_that_reaches_every_state(m):
    assert m.is_block and set(m.decoder().tolist()) == set(range(m.S))


@fixed
@given(strategies.markov_games(), strategies.matrix_games(), strategies.matrix_games(zero_sum=False, players=3))
def test_games(markov, matrix, three):
    assert markov.is_zero_sum and matrix.is_zero_sum and (matrix.S, matrix.H) == (1, 1) and three.n == 3


def test_zero_sum_games_have_two_players():
    with pytest.raises(MdpkitError, match="players"):
        find(strategies.markov_games(players=3), lambda m: True)


@fixed
@given(strategies.preference_models(min_responses=2),
       strategies.preference_models(bradley_terry=True, reward_scale=2.0))
def test_preferences(general, bt):
    assert general.Y >= 2 and general.reward is None and (general.p * 16 % 1 == 0).all()
    assert bt.reward.min() >= 0 and bt.reward.max() <= 2.0
    logit = np.log(bt.p / (1 - bt.p))
    assert np.abs(logit - (bt.reward[:, :, None] - bt.reward[:, None, :])).max() <= EXACT


def test_general_preferences_include_certain_ones_and_cycles():
    m = smallest(strategies.preference_models(min_responses=3),
                 lambda m: m.p[0, 0, 1] > 0.5 and m.p[0, 1, 2] > 0.5 and m.p[0, 2, 0] > 0.5)
    assert (m.X, m.Y) == (1, 3) and sorted(m.p[0].ravel().tolist()) == [7 / 16] * 3 + [0.5] * 3 + [9 / 16] * 3
    assert smallest(strategies.preference_models(), lambda m: m.p.max() == 1.0).X == 1


@fixed
@given(strategies.tabular_mdps(max_states=2, max_actions=5, gammas=(0.25,), reward_scale=8.0))
def test_settings_bound_the_draws(m):
    assert m.S <= 2 and m.A <= 5 and m.gamma == 0.25 and m.r.min() >= 0 and m.r.max() <= 8.0
    assert (m.r * 2 % 1 == 0).all()                       # sixteenths of 8


def test_settings_reach_their_bounds():
    assert smallest(strategies.tabular_mdps(max_states=3, max_actions=2), lambda m: (m.S, m.A) == (3, 2)).r.max() == 0
    assert smallest(strategies.tabular_mdps(), lambda m: m.r.max() == 1.0).S == 1


@each
def test_policies_are_laws_in_the_shape_of_play(name):
    @fixed
    @given(strategies.with_policies(MODELS[name][0], 2))
    def check(drawn):
        m, *drawn_policies = drawn
        for pi in drawn_policies:
            sides = pi if isinstance(m, MarkovGame) else (pi,)
            actions = m.A if isinstance(m, MarkovGame) else (getattr(m, "A", None) or getattr(m, "Y", 0),)
            for side, A in zip(sides, actions):
                validate.simplex("pi", side, side.shape)
                assert side.shape[-1] == (m.V if isinstance(m, TokenModel) else A)

    check()


@fixed
@given(strategies.with_policies(strategies.episodic_mdps(), deterministic=True))
def test_deterministic_policies(drawn):
    m, pi = drawn
    assert pi.shape == m.r.shape and set(np.unique(pi)) <= {0.0, 1.0}


def test_policies_shrink_to_the_first_action_and_need_a_model():
    m = garnet.random_episodic(2, 3, 2, np.random.default_rng(0))
    assert (smallest(strategies.policies(m), lambda pi: True)[..., 0] == 1).all()
    with pytest.raises(MdpkitError, match="model"):
        strategies.policies("a world")


@fixed
@given(strategies.simplex_rows(3, 4))
def test_simplex_rows(p):
    assert p.shape == (3, 4)
    validate.simplex("p", p, (3, 4))


@settings(fixed, max_examples=80)
@given(st.data())
def test_malformed_arrays_are_refused_with_their_name(data):
    shape = data.draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    bad = data.draw(strategies.malformed_arrays(shape))
    with pytest.raises(MdpkitError, match="p"):
        validate.simplex("p", bad.value, shape)


@pytest.mark.parametrize("fault", strategies.FAULTS)
def test_each_fault_is_what_it_says(fault):
    bad = smallest(strategies.malformed_arrays((2, 3), [fault]), lambda b: True)
    assert bad.fault == fault
    kind = np.asarray(bad.value).dtype.kind if fault != "ragged" else ""
    assert kind == {"text": "U", "complex": "c", "ragged": ""}.get(fault, "f")
    if fault == "negative":
        assert bad.value.min() < 0 and (bad.value.sum(-1) == 1).all()
    if fault == "sum":
        assert bad.value.min() >= 0 and (bad.value.sum(-1) != 1).any()


ARGUMENTS = {          # builder of a model around one argument, the shape of that argument, faults that are none there
    "TabularMDP.P": (lambda x: TabularMDP(x, np.zeros((2, 3)), 0.5, [1, 0]), (2, 3, 2), ()),
    "TabularMDP.r": (lambda x: TabularMDP(np.full((2, 3, 2), 0.5), x, 0.5, [1, 0]), (2, 3), ("negative", "sum")),
    "TabularMDP.rho": (lambda x: TabularMDP(np.full((2, 3, 2), 0.5), np.zeros((2, 3)), 0.5, x), (2,), ()),
    "EpisodicMDP.P": (lambda x: EpisodicMDP(x, np.zeros((2, 2, 1)), [1, 0]), (2, 2, 1, 2), ()),
    "LinearMDP.theta": (lambda x: LinearMDP(np.ones((2, 1, 1)), np.full((3, 1, 2), 0.5), x, [1, 0]), (3, 1),
                        ("negative", "sum")),
    "LinearMDP.mu": (lambda x: LinearMDP(np.ones((2, 1, 1)), x, np.zeros((3, 1)), [1, 0]), (3, 1, 2), ()),
    "LatentMDP.w": (lambda x: LatentMDP(x, np.ones((2, 1)), np.ones((2, 1, 1, 1)), np.zeros((2, 1, 1)), 1), (2,), ()),
    "RichMDP.q": (lambda x: RichMDP(np.ones((1, 1, 1, 1)), np.zeros((1, 1, 1)), [1], x), (1, 3), ("length",)),
    "Bandit.mu": (Bandit, (3,), ("length", "sum")),
    "ContextualBandit.rho": (lambda x: ContextualBandit(x, np.zeros((2, 2))), (2,), ()),
    "MarkovGame.P": (lambda x: MarkovGame(x, np.zeros((2, 1, 2, 2, 1)), [1, 0]), (1, 2, 2, 1, 2), ()),
    "PreferenceModel.pi_ref": (lambda x: PreferenceModel(np.full((1, 3, 3), 0.5), [1], x, 1.0), (1, 3), ()),
    "TokenModel.pi_ref": (lambda x: TokenModel(np.zeros((1, 4)), x, [1], 1.0), (1, 3, 2), ()),
}


@pytest.mark.parametrize("argument", ARGUMENTS)
def test_models_refuse_malformed_arguments(argument):
    build, shape, fine = ARGUMENTS[argument]

    @settings(fixed, max_examples=40)
    @given(strategies.malformed_arrays(shape, [f for f in strategies.FAULTS if f not in fine]))
    def check(bad):
        with pytest.raises(MdpkitError):
            build(bad.value)

    check()
