"""Models: what they store, what they refuse to share, what survives a file, and what conversions mean."""

from __future__ import annotations

import dataclasses
import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from mdpkit import validate
from mdpkit.errors import MdpkitError
from mdpkit.models import convert
from mdpkit.models.bandits import Bandit, ContextualBandit, LinearBandit
from mdpkit.models.games import MarkovGame
from mdpkit.models.latent import LatentMDP, RichMDP
from mdpkit.models.linear import LinearMDP, LinearMixtureMDP
from mdpkit.models.preferences import PreferenceModel
from mdpkit.models.record import load
from mdpkit.models.tabular import EpisodicMDP, TabularMDP
from mdpkit.models.tokens import TokenModel

EXACT = 1e-12
UNIT = Fraction(1, 2**52)


def law(seed: int, *shape: int) -> np.ndarray:
    """Probability rows with zeros in them, not canonical."""
    rng = np.random.default_rng(seed)
    w = rng.random(shape) * (rng.random(shape) < 0.6)
    w[..., 0] += 0.1
    return w / w.sum(-1, keepdims=True)


def full(seed: int, *shape: int) -> np.ndarray:
    """Probability rows of full support."""
    w = np.random.default_rng(seed).random(shape) + 0.1
    return w / w.sum(-1, keepdims=True)


def unit(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).random(shape)


def symmetric(seed: int, X: int, Y: int) -> np.ndarray:
    p = unit(seed, X, Y, Y)
    return (p + 1 - p.transpose(0, 2, 1)) / 2


# --- canonical rows

def canonical(row, **kwargs) -> np.ndarray:
    row = np.asarray(row, float)
    return validate.simplex("p", row, row.shape, **kwargs)


def exact_sum(row) -> Fraction:
    return sum(map(Fraction, row.tolist()), Fraction(0))


weights = st.lists(st.one_of(st.integers(0, 9), st.floats(1e-3, 1.0), st.floats(1e-15, 1e-12)), min_size=1, max_size=30)


@settings(derandomize=True, deadline=None, max_examples=200)
@given(weights.filter(lambda w: sum(w) > 1e-3), st.integers(-9, 9), st.randoms(use_true_random=False))
def test_canonical_rows(raw, drift, shuffler):
    p = np.array(raw) / math.fsum(raw) * (1 + drift * 1e-10)        # sums may be off by almost 1e-9
    q = canonical(p, flush=True)
    assert exact_sum(q) == 1
    shuffled = q.tolist()
    shuffler.shuffle(shuffled)
    assert sum(shuffled) == 1.0 and q.sum() == 1.0 and np.cumsum(q)[-1] == 1.0, "whatever the order"
    assert all(Fraction(x) % UNIT == 0 for x in q.tolist())
    assert canonical(q).tobytes() == q.tobytes(), "canonical rows are fixed points"
    assert ((q > 0) == (p >= 2.0**-53)).all(), "the support stays"
    total = exact_sum(p)
    assert max(abs(Fraction(b) - Fraction(a) / total) for a, b in zip(p.tolist(), q.tolist())) < len(p) * UNIT


@pytest.mark.parametrize("n", [1000, 100_003])
def test_a_long_row_sums_to_one(n):
    q = canonical(np.full(n, 1.0 / n))
    assert sum(int(x * 2**52) for x in q.tolist()) == 2**52


@pytest.mark.parametrize("n", range(1, 12))
def test_ties_go_to_the_lowest_index(n):
    low, extra = divmod(2**52, n)
    wanted = [low + (i < extra) for i in range(n)]
    assert (canonical(np.full(n, 1.0 / n)) * 2.0**52).astype(int).tolist() == wanted


def test_entries_that_would_vanish_are_refused_or_flushed():
    tiny = 2.0**-54
    with pytest.raises(MdpkitError, match=r"p\[1, :\] must be free of positive entries below 2\*\*-53; entry 0 is"):
        validate.simplex("p", [[0.5, 0.5], [tiny, 1.0]], (2, 2))
    assert canonical([tiny, 1.0], flush=True).tolist() == [0.0, 1.0]


@pytest.mark.parametrize("x", [2.0**-53, 1.5 * 2.0**-53, math.nextafter(2.0**-52, 0.0), 2.0**-52])
def test_entries_from_half_a_unit_up_survive(x):
    for row in ([x, 1.0 - x], [x, 1.0], [1.0, x], [x, x, x, x, 1.0]):
        q = canonical(row)
        assert exact_sum(q) == 1
        assert all(b == 2.0**-52 for a, b in zip(row, q.tolist()) if a == x)


def test_dense_and_sparse_kernels_are_the_same_rows():
    S, A = 7, 3
    P = law(0, S, A, S)
    dense = TabularMDP(P, unit(1, S, A), 0.9, full(2, S))
    stored = sp.csr_array(P.reshape(S * A, S))
    for k in range(S * A):                                      # columns backwards: CSR does not promise an order
        part = slice(stored.indptr[k], stored.indptr[k + 1])
        stored.data[part], stored.indices[part] = stored.data[part][::-1].copy(), stored.indices[part][::-1].copy()
    stored.has_sorted_indices = False
    for form in (stored, stored.tocoo(), stored.tocsc(), sp.csr_matrix(P.reshape(S * A, S))):
        sparse = TabularMDP(form, unit(1, S, A), 0.9, full(2, S))
        assert sparse.is_sparse and not dense.is_sparse
        for a, b in zip(dense.rows, sparse.rows):
            assert a.dtype == b.dtype and a.tobytes() == b.tobytes()
        assert sparse.dense.tobytes() == dense.P.tobytes()


def test_explicit_zeros_of_a_sparse_kernel_are_dropped():
    P = sp.csr_array((np.array([0.0, 1.0, 1.0]), np.array([0, 1, 0]), np.array([0, 2, 3])), shape=(2, 2))
    assert TabularMDP(P, np.zeros((2, 1)), 0.5, [1.0, 0.0]).rows.col.tolist() == [1, 0]


# --- every model

def ins(**arguments):
    return arguments


H, S, A, D = 3, 4, 2, 3
features = full(0, S, A, D)
BUILD = {
    "tabular": (TabularMDP, lambda: ins(P=law(1, S, A, S), r=unit(2, S, A) - 5, gamma=0.9, rho=law(3, S))),
    "tabular sparse": (TabularMDP, lambda: ins(P=sp.csr_array(law(1, S, A, S).reshape(S * A, S)), r=unit(2, S, A),
                                               gamma=0.0, rho=law(3, S), noise="bernoulli")),
    "episodic": (EpisodicMDP, lambda: ins(P=law(4, H, S, A, S), r=unit(5, H, S, A), rho=law(6, S), noise="gaussian")),
    "linear": (LinearMDP, lambda: ins(phi=features.copy(), mu=law(7, H, D, S), theta=unit(8, H, D), rho=law(9, S))),
    "mixture": (LinearMixtureMDP, lambda: ins(base=law(10, D, S, A, S), theta=law(11, H, D), r=unit(12, H, S, A),
                                              rho=law(13, S))),
    "latent": (LatentMDP, lambda: ins(w=law(14, 2), nu=law(15, 2, S), P=law(16, 2, S, A, S), r=unit(17, 2, S, A),
                                      H=5)),
    "rich": (RichMDP, lambda: ins(P=law(18, H, S, A, S), r=unit(19, H, S, A), rho=law(20, S), q=law(21, S, 6))),
    "bandit": (Bandit, lambda: ins(mu=unit(22, A))),
    "linear bandit": (LinearBandit, lambda: ins(x=unit(23, 5, D) - 0.5, theta=unit(24, D))),
    "contextual": (ContextualBandit, lambda: ins(rho=law(25, 3), r=unit(26, 3, A))),
    "game": (MarkovGame, lambda: ins(P=law(27, H, S, 2, 3, S), r=unit(28, 2, H, S, 2, 3), rho=law(29, S))),
    "three players": (MarkovGame, lambda: ins(P=law(30, 1, 2, 2, 3, 2, 2), r=unit(31, 3, 1, 2, 2, 3, 2),
                                              rho=law(32, 2), noise="bernoulli")),
    "preferences": (PreferenceModel, lambda: ins(p=symmetric(33, 2, 4), rho=law(34, 2), pi_ref=full(35, 2, 4),
                                                 beta=0.1, reward=unit(36, 2, 4))),
    "tokens": (TokenModel, lambda: ins(reward=unit(37, 2, 8), pi_ref=full(38, 2, 7, 2), rho=law(39, 2), beta=1.0)),
}
every_model = pytest.mark.parametrize("name", BUILD)


def build(name: str):
    kind, arguments = BUILD[name]
    return kind(**arguments())


def parts_of(value) -> list[np.ndarray]:
    if hasattr(value, "tocsr"):
        return [value.data, value.indices, value.indptr]
    return [value] if isinstance(value, np.ndarray) else []


def arrays_of(model) -> list[np.ndarray]:
    return [a for f in dataclasses.fields(model) for a in parts_of(getattr(model, f.name))]


def bits_of(model) -> list:
    plain = [v for f in dataclasses.fields(model) if not parts_of(v := getattr(model, f.name))]
    return [plain, *((a.dtype.str, a.shape, a.tobytes()) for a in arrays_of(model))]


@every_model
def test_arrays_are_plain_and_read_only(name):
    model = build(name)
    assert arrays_of(model)
    for a in arrays_of(model):
        assert not a.flags.writeable and a.flags.c_contiguous
        assert name == "tabular sparse" or a.dtype == np.float64
        with pytest.raises(ValueError, match="read-only"):
            a[...] = 0


@every_model
def test_arrays_that_are_worked_out_once_are_read_only_too(name):
    model = build(name)
    derived = [getattr(model, k) for k in ("P", "r", "dense") if hasattr(model, k)]
    derived += list(getattr(model, "rows", ()))
    assert [a.flags.writeable for a in derived if isinstance(a, np.ndarray)].count(True) == 0


@every_model
def test_a_model_does_not_share_its_input(name):
    kind, arguments = BUILD[name]
    given_ = arguments()
    model = kind(**given_)
    before = bits_of(model)
    for value in given_.values():
        for a in parts_of(value):
            assert not any(np.shares_memory(a, b) for b in arrays_of(model))
            a[...] = 0
    assert bits_of(model) == before


@every_model
def test_a_model_does_not_share_read_only_or_canonical_input(name):
    kind, _ = BUILD[name]
    model = build(name)
    again = kind(**{f.name: getattr(model, f.name) for f in dataclasses.fields(model)})
    assert bits_of(again) == bits_of(model)
    assert not any(np.shares_memory(a, b) for a in arrays_of(model) for b in arrays_of(again))


@every_model
def test_lists_and_other_layouts_give_the_same_model(name):
    kind, arguments = BUILD[name]
    other = {k: np.asfortranarray(v) if isinstance(v, np.ndarray) else v for k, v in arguments().items()}
    lists = {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in arguments().items()}
    assert bits_of(kind(**other)) == bits_of(kind(**lists)) == bits_of(build(name))


@every_model
def test_a_file_keeps_every_bit(name, tmp_path):
    model = build(name)
    path = model.save(tmp_path / "model.v1.npz")
    assert path == tmp_path / "model.v1.npz"
    again = load(str(path))
    assert type(again) is type(model) and bits_of(again) == bits_of(model)
    model.save(path)
    assert [p.name for p in tmp_path.iterdir()] == ["model.v1.npz"], "nothing else is left behind"


@every_model
def test_a_model_is_frozen(name):
    model = build(name)
    for field in (*(f.name for f in dataclasses.fields(model)), "novel"):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(model, field, 0)


@every_model
def test_a_model_shows_itself(name):
    model = build(name)
    assert repr(model).startswith(type(model).__name__ + "(") and "\n" not in repr(model) and len(repr(model)) < 120
    page = model._repr_html_()
    assert page.startswith("<table>") and page.endswith("</table>") and type(model).__name__ in page
    assert all(f"<th style='text-align:left'>{f.name}</th>" in page
               for f in dataclasses.fields(model) if getattr(model, f.name) is not None)


def test_a_repr_names_the_sizes():
    assert repr(build("tabular")) == "TabularMDP(S=4, A=2, gamma=0.9, noise=none)"
    assert repr(build("game")) == "MarkovGame(S=4, A=(2, 3), H=3, n=2, noise=none)"


# --- what single models add

def test_stationary_repeats_one_kernel():
    P, r = law(1, S, A, S), unit(2, S, A)
    model = EpisodicMDP.stationary(P, r, law(3, S), 5)
    assert model.H == 5 and model.is_stationary and not build("episodic").is_stationary
    assert all((model.P[h] == validate.simplex("P", P, P.shape)).all() and (model.r[h] == r).all() for h in range(5))


def test_rows_of_an_episodic_model_are_its_kernel():
    model = build("episodic")
    back = np.zeros((H * S * A, S))
    for k in range(H * S * A):
        part = slice(model.rows.ptr[k], model.rows.ptr[k + 1])
        assert (np.diff(model.rows.col[part]) > 0).all() and (model.rows.val[part] > 0).all()
        back[k, model.rows.col[part]] = model.rows.val[part]
    assert (back == model.P.reshape(-1, S)).all()


def test_a_linear_model_is_linear():
    model = build("linear")
    for h, s, a in itertools.product(range(H), range(S), range(A)):
        wanted = sum(model.phi[s, a, i] * model.mu[h, i] for i in range(D))
        assert np.abs(model.P[h, s, a] - wanted).max() <= model.misfit <= EXACT
        assert exact_sum(model.P[h, s, a]) == 1
        assert abs(model.r[h, s, a] - sum(model.phi[s, a] * model.theta[h])) <= EXACT


def test_a_mixture_mixes():
    model = build("mixture")
    V = unit(0, S)
    for h, s, a in itertools.product(range(H), range(S), range(A)):
        wanted = sum(model.theta[h, i] * model.base[i, s, a] for i in range(D))
        assert np.abs(model.P[h, s, a] - wanted).max() <= EXACT
        assert abs(model.value_features(V)[s, a] @ model.theta[h] - model.P[h, s, a] @ V) <= EXACT


def test_preferences_are_complementary_to_the_bit():
    model = build("preferences")
    assert (model.p + model.p.transpose(0, 2, 1) == 1.0).all()
    assert (np.diagonal(model.p, axis1=1, axis2=2) == 0.5).all()
    raw = unit(0, 1, 3, 3)
    mended = PreferenceModel(raw, [1.0], full(1, 1, 3), 1.0, symmetrise=True)
    assert np.abs(mended.p - (raw + 1 - raw.transpose(0, 2, 1)) / 2).max() <= EXACT


def test_bradley_terry_is_the_sigmoid_of_the_gap():
    reward = np.array([[0.0, 1.0, -2.0], [800.0, 0.0, 0.5]])     # exp(800) overflows: the formula must not
    model = PreferenceModel.bradley_terry(reward, [0.5, 0.5], full(1, 2, 3), 1.0)
    for x, y, z in itertools.product(range(2), range(3), range(3)):
        gap = reward[x, y] - reward[x, z]
        wanted = 1 / (1 + math.exp(-gap)) if gap > -700 else 0.0
        assert abs(model.p[x, y, z] - wanted) <= EXACT
    assert (model.reward == reward).all()


def test_a_matrix_game_of_one_payoff_is_zero_sum():
    game = MarkovGame.matrix([[1, 2, 3], [4, 5, 6]])
    assert game.is_zero_sum and game.A == (2, 3) and (game.H, game.S, game.n) == (1, 1, 2)
    assert not MarkovGame.matrix([[1, 0]], [[1, 0]]).is_zero_sum


@pytest.mark.parametrize("dtype", ["int8", "int64", "uint8", "uint64", "float32"])
def test_a_payoff_of_any_number_type_is_negated_exactly(dtype):
    game = MarkovGame.matrix(np.array([[1, 2]], dtype))
    assert game.r[0].ravel().tolist() == [1, 2] and game.r[1].ravel().tolist() == [-1, -2]


def test_a_decoder_names_the_one_state_of_an_observation():
    q = [[0.5, 0.5, 0, 0], [0, 0, 1, 0]]
    rich = RichMDP(law(0, 1, 2, 1, 2), np.zeros((1, 2, 1)), [1, 0], q)
    assert rich.is_block and rich.decoder().tolist() == [0, 0, 1, -1]
    assert not build("rich").is_block
    with pytest.raises(MdpkitError, match=r"q\[:, \d\] must be positive for one state only"):
        build("rich").decoder()


@pytest.mark.parametrize(("V", "depth"), [(1, 1), (1, 4), (2, 1), (2, 3), (3, 2)])
def test_the_response_law_is_the_product_along_each_path(V, depth):
    N = sum(V**h for h in range(depth))
    pi = full(3, 2, N, V)
    model = TokenModel(unit(0, 2, V**depth), pi, [0.5, 0.5], 1.0)
    assert (depth, V**depth, V) == (model.H, model.Y, model.V)
    for other in (None, full(4, 2, N, V)):
        tokens = pi if other is None else other
        for x, response in itertools.product(range(2), itertools.product(range(V), repeat=depth)):
            prob, node, number = 1.0, 0, 0
            for t in response:                     # breadth first: the children of a node are V*node + 1 + t
                prob, node, number = prob * tokens[x, node, t], V * node + 1 + t, V * number + t
            assert abs(model.response_law(other)[x, number] - prob) <= EXACT


# --- conversions, each against a definition

def test_an_episodic_model_is_itself():
    model = build("episodic")
    assert convert.to_episodic(model) is model


def test_a_discounted_model_is_cut():
    for name in ("tabular", "tabular sparse"):
        model, cut = build(name), convert.to_episodic(build(name), 4)
        for h in range(4):
            assert (cut.P[h] == model.dense).all() and np.abs(cut.r[h] - model.gamma**h * model.r).max() <= EXACT
        assert cut.H == 4 and (cut.rho == model.rho).all() and cut.noise == model.noise


@pytest.mark.parametrize("name", ["linear", "mixture"])
def test_linear_models_keep_their_kernel(name):
    model = build(name)
    flat = convert.to_episodic(model)
    assert (flat.P == model.P).all() and (flat.r == model.r).all() and (flat.rho == model.rho).all()


def test_bandits_are_one_step():
    for name in ("bandit", "linear bandit"):
        model = build(name)
        flat = convert.to_episodic(model)
        assert (flat.r[0, 0] == model.mu).all() and (flat.P == 1).all() and flat.noise == model.noise
    model = build("contextual")
    flat = convert.to_episodic(model)
    assert (flat.r[0] == model.r).all() and (flat.rho == model.rho).all() and (flat.H, flat.S, flat.A) == (1, 3, A)


def test_one_hot_features_give_the_same_world():
    model = build("episodic")
    linear = convert.one_hot(model)
    assert linear.misfit == 0.0 and linear.d == S * A
    assert linear.P.tobytes() == model.P.tobytes() and (linear.r == model.r).all()
    assert linear.rho.tobytes() == model.rho.tobytes() and linear.noise == model.noise


def test_a_context_of_a_latent_model():
    model = build("latent")
    for m in range(2):
        one = convert.context(model, m)
        assert one.is_stationary and one.H == 5
        assert (one.P[0] == model.P[m]).all() and (one.r[0] == model.r[m]).all() and (one.rho == model.nu[m]).all()


def test_a_block_model_seen_through_its_observations():
    q = np.array([[0.25, 0.75, 0, 0, 0], [0, 0, 1.0, 0, 0], [0, 0, 0, 0.5, 0.5]])
    rich = RichMDP(law(0, 2, 3, 2, 3), unit(1, 2, 3, 2), law(2, 3), q)
    seen = convert.to_episodic(rich)
    state = [0, 0, 1, 2, 2]
    for h, x, a, y in itertools.product(range(2), range(5), range(2), range(5)):
        assert abs(seen.P[h, x, a, y] - rich.P[h, state[x], a, state[y]] * q[state[y], y]) <= EXACT
        assert seen.r[h, x, a] == rich.r[h, state[x], a]
    assert all(abs(seen.rho[x] - rich.rho[state[x]] * q[state[x], x]) <= EXACT for x in range(5))


def test_a_world_that_is_no_block_model_is_refused():
    with pytest.raises(MdpkitError, match="block MDP"):
        convert.to_episodic(build("rich"))


@pytest.mark.parametrize("player", [0, 1])
def test_the_world_of_a_best_response(player):
    game = build("game")
    mu = law(0, H, S, game.A[1 - player])
    mdp = convert.best_response_mdp(game, player, mu)
    assert mdp.r.shape == (H, S, game.A[player])
    for h, s, mine in itertools.product(range(H), range(S), range(mdp.A)):
        P, r = np.zeros(S), 0.0
        for theirs in range(game.A[1 - player]):
            joint = (mine, theirs) if player == 0 else (theirs, mine)
            P += mu[h, s, theirs] * game.P[(h, s, *joint)]
            r += mu[h, s, theirs] * game.r[(player, h, s, *joint)]
        assert np.abs(mdp.P[h, s, mine] - P).max() <= EXACT and abs(mdp.r[h, s, mine] - r) <= EXACT


def test_a_best_response_to_actions_is_one_to_the_law_that_takes_them():
    game, actions = build("game"), np.arange(H * S).reshape(H, S) % 3
    by_law = convert.best_response_mdp(game, 0, np.eye(3)[actions])
    assert bits_of(convert.best_response_mdp(game, 0, actions)) == bits_of(by_law)


def test_the_preference_game_pays_what_preference_exceeds_a_half():
    model = build("preferences")
    for x in range(2):
        game = convert.preference_game(model, x)
        assert (game.r[0, 0, 0] == model.p[x] - 0.5).all() and game.is_zero_sum
        assert np.abs(game.r[0, 0, 0] + game.r[0, 0, 0].T).max() <= EXACT, "symmetric"


def test_responses_of_a_token_model_are_compared_by_their_rewards():
    model = build("tokens")
    pairs = convert.response_preferences(model)
    assert (pairs.reward == model.reward).all() and pairs.beta == model.beta and pairs.Y == 8
    assert np.abs(pairs.pi_ref - model.response_law()).max() <= EXACT
    assert abs(pairs.p[1, 2, 5] - 1 / (1 + math.exp(model.reward[1, 5] - model.reward[1, 2]))) <= EXACT


@pytest.mark.parametrize(("V", "depth"), [(1, 2), (2, 3), (3, 2)])
def test_a_token_tree_ends_at_each_response_with_its_reward(V, depth):
    """The law and the reward of every trajectory, by following each response through the tree."""
    N = sum(V**h for h in range(depth))
    model = TokenModel(unit(0, 2, V**depth), full(1, 2, N, V), [0.25, 0.75], 1.0)
    tree = convert.to_episodic(model)
    assert tree.r.shape == (depth, 2 * (N + 1), V)
    for x, response in itertools.product(range(2), itertools.product(range(V), repeat=depth)):
        (s,) = (int(s) for s in np.flatnonzero(tree.rho) if s // (N + 1) == x)
        assert tree.rho[s] == model.rho[x]
        number, total, prob = 0, 0.0, 1.0
        for h, t in enumerate(response):
            assert np.count_nonzero(tree.P[h, s, t]) == 1, "no chance after the prompt"
            prob *= model.pi_ref[x, s % (N + 1), t]
            total, number = total + tree.r[h, s, t], V * number + t
            s = int(tree.P[h, s, t].argmax())
        assert total == model.reward[x, number]
        assert s == x * (N + 1) + N, "the answer is finished"
        assert abs(prob - model.response_law()[x, number]) <= EXACT
