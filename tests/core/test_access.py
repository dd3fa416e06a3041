"""What a learner is let to know and do, and how its log comes out; logged data."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import pytest
from numba.core.errors import TypingError

from mdpkit.access import Comparisons, Episodes, Exact, Generative, Reset, Stream
from mdpkit.data import collect, compare, draw_states, draw_tuples
from mdpkit.errors import AccessDenied, MdpkitError
from mdpkit.jit import kernel
from mdpkit.models.bandits import Bandit, ContextualBandit, LinearBandit
from mdpkit.models.games import MarkovGame
from mdpkit.models.latent import LatentMDP, RichMDP
from mdpkit.models.linear import LinearMDP, LinearMixtureMDP
from mdpkit.models.preferences import PreferenceModel
from mdpkit.models.tabular import EpisodicMDP, TabularMDP
from mdpkit.models.tokens import TokenModel
from mdpkit.records import Dataset, Steps
from mdpkit.worlds import bandits, games, hidden, markov, preferences

# Hoeffding with a union over at most 10**5 frequencies of at most 2 * 10**4 draws, together below 1e-9: see test_worlds
LEVEL, CELLS = 1e-9, 10**5 * 2 * 10**4


def margin(m):
    return math.sqrt(math.log(2 * CELLS / LEVEL) / (2 * m))


def seeded(k):
    return np.random.default_rng(k)


def full(k, *shape):
    w = seeded(k).random(shape) + 0.1
    return w / w.sum(-1, keepdims=True)


H, S, A = 3, 4, 2
TABULAR = TabularMDP(full(1, S, A, S), full(2, S, A), 0.9, full(3, S))
EPISODIC = EpisodicMDP(full(4, H, S, A, S), full(5, H, S, A), full(6, S), "bernoulli")
LINEAR = LinearMDP(full(7, S, A, 3), full(8, H, 3, S), full(9, H, 3), full(10, S))
MIXTURE = LinearMixtureMDP(full(11, 2, S, A, S), full(12, H, 2), full(13, H, S, A), full(14, S))
LATENT = LatentMDP([0.5, 0.5], full(15, 2, S), full(16, 2, S, A, S), full(17, 2, S, A), H)
RICH = RichMDP(full(18, H, S, A, S), full(19, H, S, A), full(20, S), full(21, S, 5))
BANDIT, LINBANDIT = Bandit([0.2, 0.9]), LinearBandit(full(22, 2, 3), full(23, 3))
CONTEXTUAL = ContextualBandit(full(24, 3), full(25, 3, A))
GAME = MarkovGame(full(26, H, S, 2, 3, S), full(27, 2, H, S, 2, 3), full(28, S))
PREFERENCES = PreferenceModel.bradley_terry(full(29, 3, 4), full(30, 3), full(31, 3, 4), 0.5)
TOKENS = TokenModel(full(32, 2, 8), full(33, 2, 7, 2), full(34, 2), 1.0)

ACCESSES = {
    "Generative": lambda: Generative(EPISODIC, seeded(0)),
    "Episodes of a tabular": lambda: Episodes(TABULAR, seeded(0)),
    "Episodes of an episodic": lambda: Episodes(EPISODIC, seeded(0)),
    "Episodes of tokens": lambda: Episodes(TOKENS, seeded(0)),
    "Stream": lambda: Stream(TABULAR, seeded(0)),
    "Reset": lambda: Reset(EPISODIC, seeded(0)),
    "Episodes of a bandit": lambda: Episodes(BANDIT, seeded(0)),
    "Episodes of a contextual bandit": lambda: Episodes(CONTEXTUAL, seeded(0)),
    "Episodes of a game": lambda: Episodes(GAME, seeded(0)),
    "Episodes of a latent": lambda: Episodes(LATENT, seeded(0)),
    "Episodes with hindsight": lambda: Episodes(LATENT, seeded(0), hindsight=True),
    "Episodes of a rich": lambda: Episodes(RICH, seeded(0)),
    "Comparisons": lambda: Comparisons(PREFERENCES, seeded(0)),
}

# --- verbs

VERBS = {
    "markov.start": (markov.start,), "markov.step": (markov.step, 0), "markov.reset": (markov.reset, 0, 0),
    "markov.ask": (markov.ask, 0, 0, 0),
    "hidden.start": (hidden.start,), "hidden.step": (hidden.step, 0), "hidden.reveal": (hidden.reveal,),
    "games.start": (games.start,), "games.step": (games.step, np.zeros(2, np.int64)),
    "bandits.start": (bandits.start,), "bandits.step": (bandits.step, 0),
    "preferences.start": (preferences.start,), "preferences.ask": (preferences.ask, 0, 0, 0),
}
GRANTS = {
    "Generative": {"markov.ask"},
    "Episodes of a tabular": {"markov.start", "markov.step"},
    "Episodes of an episodic": {"markov.start", "markov.step"},
    "Episodes of tokens": {"markov.start", "markov.step"},
    "Stream": {"markov.start", "markov.step"},
    "Reset": {"markov.start", "markov.step", "markov.reset"},
    "Episodes of a bandit": {"bandits.start", "bandits.step"},
    "Episodes of a contextual bandit": {"bandits.start", "bandits.step"},
    "Episodes of a game": {"games.start", "games.step"},
    "Episodes of a latent": {"hidden.start", "hidden.step"},
    "Episodes with hindsight": {"hidden.start", "hidden.step", "hidden.reveal"},
    "Episodes of a rich": {"hidden.start", "hidden.step"},
    "Comparisons": {"preferences.start", "preferences.ask"},
}


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("name", ACCESSES)
def test_only_granted_verbs_compile(name, verb):
    access, (function, *args) = ACCESSES[name](), VERBS[verb]
    compiled = len(function.signatures)
    if verb in GRANTS[name]:
        try:
            access.call(function, *args)
        except AccessDenied as e:
            assert "obedient to the rules of the world" in str(e)        # it compiles, and keeps the rules
        return
    with pytest.raises((AccessDenied, TypingError)) as caught:
        access.call(function, *args)
    assert "obedient" not in str(caught.value)
    assert len(function.signatures) == compiled


@pytest.mark.parametrize(("name", "verb", "says"), [
    ("Generative", "markov.start", "start"), ("Generative", "markov.step", "step"),
    ("Generative", "markov.reset", "reset"), ("Episodes of an episodic", "markov.ask", "ask"),
    ("Episodes of an episodic", "markov.reset", "reset"), ("Stream", "markov.ask", "ask"),
    ("Stream", "markov.reset", "reset"), ("Reset", "markov.ask", "ask"),
    ("Episodes of a latent", "hidden.reveal", "reveal"), ("Episodes of a rich", "hidden.reveal", "reveal"),
])
def test_a_denial_names_the_verb_and_the_access(name, verb, says):
    access, (function, *args) = ACCESSES[name](), VERBS[verb]
    wanted = f"content with what {type(access).__name__} access grants; it calls `{says}`, which it does not"
    with pytest.raises(AccessDenied, match=wanted):
        access.call(function, *args)


def test_a_verb_of_another_kind_of_world_is_denied_too():
    with pytest.raises(AccessDenied):
        Stream(TABULAR, seeded(0)).call(bandits.step, 0)


# --- known

def test_sizes_are_always_known():
    known = Episodes(EPISODIC, seeded(0)).known
    assert (known.S, known.A, known.H) == (S, A, H) and repr(known) == "Known(A, H, S)"
    assert Stream(TABULAR, seeded(0)).known.gamma == 0.9
    assert Episodes(GAME, seeded(0)).known.A == (2, 3)
    assert (Episodes(LATENT, seeded(0)).known.M, Episodes(RICH, seeded(0)).known.X) == (2, 5)


@pytest.mark.parametrize(("access", "field"), [
    (lambda: Episodes(LINEAR, seeded(0)), "phi"), (lambda: Generative(LINEAR, seeded(0)), "phi"),
    (lambda: Episodes(MIXTURE, seeded(0)), "base"), (lambda: Episodes(LINBANDIT, seeded(0)), "x"),
    (lambda: Comparisons(PREFERENCES, seeded(0)), "pi_ref"), (lambda: Comparisons(PREFERENCES, seeded(0)), "beta"),
    (lambda: Comparisons(TOKENS, seeded(0)), "pi_ref"), (lambda: Episodes(TOKENS, seeded(0)), "rho"),
])
def test_features_are_known_where_the_model_is_about_them(access, field):
    assert getattr(access().known, field) is not None


@pytest.mark.parametrize("field", ["P", "r", "rho", "noise", "model", "anything"])
def test_the_rest_is_denied(field):
    with pytest.raises(AccessDenied, match=rf"known\.{field} must be granted \(A, H, S are\); it is not "
                                           rf"\(pass grant=\('{field}',\) if the theorem grants it\)"):
        getattr(Episodes(EPISODIC, seeded(0)).known, field)


def test_grants_and_bounds():
    known = Episodes(EPISODIC, seeded(0), grant=("r", "rho"), bounds={"W": 2.0}).known
    assert known.r is EPISODIC.r and known.rho is EPISODIC.rho and known.W == 2.0
    with pytest.raises(AccessDenied):
        _ = known.P


def test_exact_shows_the_model_and_plays_nothing():
    access = Exact(EPISODIC)
    assert access.model is EPISODIC and access.known.S == S and repr(access).startswith("Exact(EpisodicMDP(")
    assert not hasattr(access, "drive") and not hasattr(access, "call")


@pytest.mark.parametrize("name", ACCESSES)
def test_no_public_attribute_shows_the_model(name):
    access = ACCESSES[name]()
    public = [getattr(access, k) for k in dir(access) if not k.startswith("_")]
    models = (TabularMDP, EpisodicMDP, LinearMDP, LatentMDP, RichMDP, Bandit, ContextualBandit, MarkovGame,
              PreferenceModel, TokenModel)
    assert not any(isinstance(value, models) for value in public)


# --- drive: a learner that remembers, and logs several fields

class Row(NamedTuple):
    policy: np.ndarray      # (H,) the actions of this episode
    total: np.ndarray       # ()
    seen: np.ndarray        # (H,)


ROW = Row(np.zeros(H, np.int64), np.zeros(()), np.full(H, -1))


def _wander(world, memory, log, first, rng):
    n, steps = log.policy.shape
    for i in range(n):
        s = markov.start(world)
        for h in range(steps):
            a = 1 if rng.random() * (1.0 + memory[0]) < 0.5 + memory[1] else 0
            log.policy[i, h], log.seen[i, h] = a, s
            r, s = markov.step(world, a)
            log.total[i] += r
            memory[0] += 1.0 / (first + i + 1.0)
            memory[1] += r / (1.0 + h)


wander = kernel(_wander)


class Watched:
    """Keeps a copy of what `watch` sees."""

    def __init__(self):
        self.firsts, self.chunks = [], []

    def __call__(self, first, rows):
        self.firsts.append(first)
        assert isinstance(rows, Row) and not any(field.flags.writeable for field in rows)
        self.chunks.append(Row(*(field.copy() for field in rows)))

    @property
    def rows(self):
        return Row(*(np.concatenate(parts) for parts in zip(*self.chunks)))


N = 150
CHUNKS = [1, 7, 64, None]


def wandered(chunk, watch=None, learner=5, model=EPISODIC):
    access = Episodes(model, seeded(0), watch=watch, chunk=chunk)
    memory = np.zeros(2)
    return access.drive(wander, (memory,), ROW, N, seeded(learner)), memory, access.samples


@pytest.mark.parametrize("chunk", CHUNKS)
def test_the_chunk_changes_no_bit(chunk):
    trace, memory, samples = wandered(chunk)
    whole, last, count = wandered(N)
    assert trace.policies.tobytes() == whole.policies.tobytes() and trace.index.tobytes() == whole.index.tobytes()
    assert list(trace.info) == list(whole.info) == ["total", "seen"]
    assert all(trace.info[k].tobytes() == whole.info[k].tobytes() for k in trace.info)
    assert memory.tobytes() == last.tobytes() and samples == count == {"episodes": N, "steps": N * H}


@pytest.mark.parametrize("chunk", CHUNKS)
def test_watch_sees_every_row_once_and_in_order(chunk):
    watch, plain = Watched(), Watched()
    trace, memory, _ = wandered(chunk, watch)
    assert trace is None
    size = chunk or N
    assert watch.firsts == list(range(0, N, size))
    assert [len(c.total) for c in watch.chunks] == [min(size, N - first) for first in watch.firsts]
    _, last, _ = wandered(N, plain)
    assert all(a.tobytes() == b.tobytes() for a, b in zip(watch.rows, plain.rows))
    assert memory.tobytes() == last.tobytes()


def test_the_trace_reconstructs_the_log():
    watch = Watched()
    wandered(7, watch)
    trace, _, _ = wandered(64)
    assert len(trace) == N and (trace.policies[trace.index] == watch.rows.policy).all()
    assert len(np.unique(trace.policies, axis=0)) == len(trace.policies), "distinct"
    firsts = [int(np.flatnonzero(trace.index == k)[0]) for k in range(len(trace.policies))]
    assert firsts == sorted(firsts), "in order of first appearance"
    assert (trace.info["total"] == watch.rows.total).all() and (trace.info["seen"] == watch.rows.seen).all()


def test_the_interpreted_learner_writes_the_same_log():
    """Each verb call from Python crosses into the compiled world; the bits are the same."""
    access, memory = Episodes(EPISODIC, seeded(0)), np.zeros(2)
    trace = access.drive(_wander, (memory,), ROW, N, seeded(5))
    compiled, last, _ = wandered(None)
    assert trace.policies.tobytes() == compiled.policies.tobytes() and trace.index.tobytes() == compiled.index.tobytes()
    assert memory.tobytes() == last.tobytes()


def test_two_learners_with_their_own_streams_face_one_world():
    """Without reward noise a step takes one draw of the world whatever the action: first states coincide."""
    quiet = EpisodicMDP(EPISODIC.P, EPISODIC.r, EPISODIC.rho)
    one, _, _ = wandered(None, learner=5, model=quiet)
    two, _, _ = wandered(None, learner=6, model=quiet)
    assert (one.info["seen"][:, 0] == two.info["seen"][:, 0]).all()
    assert (one.policies[one.index] != two.policies[two.index]).any(), "they act differently"
    again, _, _ = wandered(None, learner=5, model=quiet)
    assert again.info["seen"].tobytes() == one.info["seen"].tobytes()


def test_a_second_drive_goes_on_where_the_first_stopped():
    access, memory, learner = Episodes(EPISODIC, seeded(0)), np.zeros(2), seeded(5)
    firsts = [access.drive(wander, (memory,), ROW, n, learner).info["seen"] for n in (40, 60)]
    once = Episodes(EPISODIC, seeded(0)).drive(wander, (np.zeros(2),), ROW, 40, seeded(5)).info["seen"]
    assert (firsts[0] == once).all() and access.samples == {"episodes": 100, "steps": 100 * H}


def test_a_row_arrives_as_the_log_says():
    def untouched(world, log, first, rng):
        pass

    trace = Episodes(EPISODIC, seeded(0), chunk=2).drive(untouched, (), Row(ROW.policy + 7, np.array(0.5), ROW.seen), 5,
                                                        seeded(1))
    assert trace.policies.tolist() == [[7] * H] and trace.index.tolist() == [0] * 5
    assert (trace.info["total"] == 0.5).all() and (trace.info["seen"] == -1).all()


@pytest.mark.parametrize("chunk", CHUNKS)
def test_a_log_of_one_array(chunk):
    def number(world, log, first, rng):
        for i in range(len(log)):
            log[i] = (first + i) // 3 % 4

    trace = Episodes(EPISODIC, seeded(0), chunk=chunk).drive(number, (), np.zeros(()), 20, seeded(1))
    assert trace.policies.tolist() == [0.0, 1.0, 2.0, 3.0] and trace.info == {}
    assert trace.index.tolist() == [t // 3 % 4 for t in range(20)]


@pytest.mark.parametrize("chunk", CHUNKS)
def test_policies_are_told_apart_by_their_bits(chunk):
    """0.0 == -0.0: telling them apart at the border of a chunk only would let its size show."""
    def sign(world, log, first, rng):
        for i in range(len(log)):
            log[i] = 0.0 if (first + i) % 2 == 0 else -0.0

    trace = Episodes(EPISODIC, seeded(0), chunk=chunk).drive(sign, (), np.zeros(()), 20, seeded(1))
    assert np.signbit(trace.policies[trace.index]).tolist() == [t % 2 == 1 for t in range(20)]


def test_a_policy_that_is_not_a_number_is_kept_once():
    def nothing(world, log, first, rng):
        pass

    trace = Episodes(EPISODIC, seeded(0)).drive(nothing, (), np.array([math.nan, 1.0]), 5, seeded(1))
    assert len(trace.policies) == 1 and trace.index.tolist() == [0] * 5


def test_no_episodes():
    with pytest.raises(MdpkitError, match="n must be at least 1 to give a trace"):
        Episodes(EPISODIC, seeded(0)).drive(wander, (np.zeros(2),), ROW, 0, seeded(1))
    watch = Watched()
    assert Episodes(EPISODIC, seeded(0), watch=watch).drive(wander, (np.zeros(2),), ROW, 0, seeded(1)) is None
    assert watch.firsts == []


def test_errors_of_a_learner_come_through():
    def fails(world, log, first, rng):
        raise ValueError("mine")

    def reads(world, log, first, rng):
        return rng.novel

    with pytest.raises(ValueError, match=r"^mine$") as caught:
        Episodes(EPISODIC, seeded(0)).drive(fails, (), np.zeros(1), 1, seeded(1))
    assert not isinstance(caught.value, MdpkitError)
    with pytest.raises(AttributeError, match="novel"):
        Episodes(EPISODIC, seeded(0)).drive(reads, (), np.zeros(1), 1, seeded(1))


def _trips(world, wrong, log, first, rng):
    for i in range(log.shape[0]):
        markov.start(world)
        for h in range(H):
            markov.step(world, 9 if first + i == wrong[0] and h == 1 else 0)
        log[i] = first + i
    wrong[1] += 1


trips = kernel(_trips)


@pytest.mark.parametrize("learner", [trips, _trips], ids=["compiled", "interpreted"])
def test_a_broken_rule_surfaces_after_its_chunk_and_watch_does_not_see_it(learner):
    firsts, wrong = [], np.array([17, 0])
    access = Episodes(EPISODIC, seeded(0), watch=lambda first, rows: firsts.append(first), chunk=7)
    with pytest.raises(AccessDenied, match="trips must be obedient to the rules of the world; the action is out of"):
        access.drive(learner, (wrong,), np.zeros(()), 50, seeded(1))
    assert firsts == [0, 7] and wrong[1] == 3, "the third chunk was played to its end, and dropped"
    assert access.samples == {"episodes": 21, "steps": 21 * H - 1}, "what was refused is not counted"
    access.drive(learner, (np.array([-1, 0]),), np.zeros(()), 14, seeded(1))
    assert firsts == [0, 7, 0, 7], "and forgiven"


def test_a_broken_rule_explains_the_error_that_follows():
    def stumbles(world):
        markov.step(world, 0)
        raise IndexError("mine")

    access = Episodes(EPISODIC, seeded(0))
    with pytest.raises(AccessDenied, match=r"stumbles must be obedient.*call start first") as caught:
        access.call(stumbles)
    assert isinstance(caught.value.__cause__, IndexError)
    access.call(markov.start)


def test_a_denial_names_the_kernel():
    def greedy(world, log, first, rng):
        markov.ask(world, 0, 0, 0)

    with pytest.raises(AccessDenied, match=r"^greedy must be content with what Episodes access grants; it calls `ask`"):
        Episodes(EPISODIC, seeded(0)).drive(greedy, (), np.zeros(1), 1, seeded(1))


def test_call_returns_what_the_kernel_returns():
    access = Generative(EPISODIC, seeded(0))
    r, s = access.call(markov.ask, 1, 2, 0)
    assert r in (0.0, 1.0) and 0 <= s < S and access.samples == {"asks": 1}
    assert access.call(lambda world, x, y: (x, y), 1, "two") == (1, "two")


# --- logged data

LONG = 20_000


def frequencies(drawn, size):
    return np.bincount(drawn, minlength=size) / max(len(drawn), 1)


def check_transitions(data, model):
    for h in range(model.H):
        for s, a in np.ndindex(model.S, model.A):
            here = (data.steps.s[:, h] == s) & (data.steps.a[:, h] == a)
            m = int(here.sum())
            if m:
                assert np.abs(frequencies(data.steps.s_next[here, h], model.S) - model.P[h, s, a]).max() <= margin(m)
                assert abs(data.steps.r[here, h].mean() - model.r[h, s, a]) <= margin(m)


def test_collect_plays_the_policy():
    pi = full(50, H, S, A)
    data = collect(EPISODIC, pi, LONG, seeded(0))
    assert data.joint and data.behaviour == "policy" and (data.n, data.H) == (LONG, H)
    assert (data.steps.s[:, 1:] == data.steps.s_next[:, :-1]).all(), "trajectories"
    assert np.abs(frequencies(data.steps.s[:, 0], S) - EPISODIC.rho).max() <= margin(LONG)
    for h in range(H):
        for s in range(S):
            here = data.steps.s[:, h] == s
            assert np.abs(frequencies(data.steps.a[here, h], A) - pi[h, s]).max() <= margin(int(here.sum()))
    check_transitions(data, EPISODIC)


def test_collect_plays_actions():
    actions = np.arange(H * S).reshape(H, S) % A
    data = collect(EPISODIC, actions, 200, seeded(0), behaviour="mine")
    assert (data.steps.a == actions[np.arange(H), data.steps.s]).all() and data.behaviour == "mine"


def test_collect_draws_one_policy_an_episode_from_a_mixture():
    zero, one = np.zeros((H, S), int), np.ones((H, S), int)
    data = collect(EPISODIC, [(0.25, zero), (0.75, one)], LONG, seeded(0))
    assert data.behaviour == "mixture" and (data.steps.a == data.steps.a[:, :1]).all()
    assert abs(data.steps.a[:, 0].mean() - 0.75) <= margin(LONG)


@pytest.mark.parametrize(("model", "shape"), [
    (LINEAR, (H, S)), (MIXTURE, (H, S)), (TOKENS, (3, 16)), (BANDIT, (1, 1)), (LINBANDIT, (1, 1)), (CONTEXTUAL, (1, 3)),
], ids=lambda m: type(m).__name__)
def test_collect_takes_every_model_that_is_episodic(model, shape):
    assert collect(model, np.zeros(shape, int), 5, seeded(0)).steps.s.shape == (5, shape[0])


def test_draw_tuples_follows_nu():
    nu = full(51, H, S * A).reshape(H, S, A)
    data = draw_tuples(EPISODIC, nu, LONG, seeded(0))
    assert not data.joint and data.behaviour == "nu" and data.steps.r.shape == (LONG, H)
    for h in range(H):
        cells = data.steps.s[:, h] * A + data.steps.a[:, h]
        assert np.abs(frequencies(cells, S * A) - nu[h].ravel()).max() <= margin(LONG)
    check_transitions(data, EPISODIC)


def test_draw_states_follows_mu():
    mu = full(52, H, S)
    data = draw_states(mu, LONG, seeded(0))
    assert data.s.shape == (LONG, H) and data.behaviour == "mu"
    assert all(np.abs(frequencies(data.s[:, h], S) - mu[h]).max() <= margin(LONG) for h in range(H))


def test_compare_draws_pairs_and_winners():
    X, Y = 3, 4
    pairs = full(53, X, Y, Y) * (1 - np.eye(Y))
    pairs /= pairs.sum((1, 2), keepdims=True)
    data = compare(PREFERENCES, pairs, LONG, seeded(0))
    assert (data.count == 1).all() and (data.win != data.lose).all() and len(data.x) == LONG
    assert np.abs(frequencies(data.x, X) - PREFERENCES.rho).max() <= margin(LONG)
    for x in range(X):
        here = data.x == x
        m = int(here.sum())
        for y, z in np.ndindex(Y, Y):
            if y == z:
                continue
            won = here & (data.win == y) & (data.lose == z)
            wanted = (pairs[x, y, z] + pairs[x, z, y]) * PREFERENCES.p[x, y, z]
            assert abs(won.sum() / m - wanted) <= margin(m)


@pytest.mark.parametrize("draw", [
    lambda n: collect(EPISODIC, full(50, H, S, A), n, seeded(0)).steps.s,
    lambda n: draw_tuples(EPISODIC, np.full((H, S, A), 1 / (S * A)), n, seeded(0)).steps.s,
    lambda n: draw_states(full(52, H, S), n, seeded(0)).s,
], ids=["collect", "draw_tuples", "draw_states"])
def test_more_rows_begin_with_the_fewer(draw):
    assert draw(0).shape == (0, H)
    assert (draw(50)[:20] == draw(20)).all()


def test_data_are_read_only_and_apart_from_their_source():
    s, r = np.zeros((2, H), int), np.zeros((2, H))
    data = Dataset(Steps(s, s, r, s), "test")
    s[0, 0] = 3
    assert data.steps.s[0, 0] == 0 and not any(part.flags.writeable for part in data.steps)


@pytest.mark.parametrize(("field", "at", "message"), [
    ("s", (1, 2), r"data\.steps\.s\[1, 2\] must be below 4; it is 9"),
    ("a", (0, 1), r"data\.steps\.a\[0, 1\] must be below 2; it is 9"),
    ("s_next", (1, 0), r"data\.steps\.s_next\[1, 0\] must be below 4; it is 9"),
])
def test_data_that_fit_and_data_that_do_not(field, at, message):
    parts = {"s": np.full((2, H), S - 1), "a": np.full((2, H), A - 1), "r": np.zeros((2, H)),
             "s_next": np.full((2, H), S - 1)}
    fine = Dataset(Steps(**parts), "test")
    assert fine.fits(S, A) is fine
    parts[field][at] = 9
    with pytest.raises(MdpkitError, match=message):
        Dataset(Steps(**parts), "test").fits(S, A)


def test_the_first_rows_of_data():
    data = collect(EPISODIC, full(50, H, S, A), 10, seeded(0), behaviour="mine")
    few = data.take(4)
    assert few.n == 4 and few.behaviour == "mine" and (few.steps.s == data.steps.s[:4]).all()
