"""Environments against their own tables, solved by other code, and what an import must not lose."""

from __future__ import annotations

import math
import sys
from types import SimpleNamespace

import gymnasium
import numpy as np
import pytest
from core.environments import EXACT, GAMMA, ROUND, newest

from mdpkit.errors import MdpkitError, MissingPackage
from mdpkit.interop.gymnasium import from_gymnasium, reached, read, to_gymnasium
from mdpkit.models.tabular import TabularMDP
from mdpkit.solve import discounted

ENVIRONMENTS = [("FrozenLake", {}), ("FrozenLake", {"map_name": "8x8"}), ("FrozenLake", {"is_slippery": False}),
                ("FrozenLake", {"map_name": "8x8", "is_slippery": False}), ("Taxi", {}), ("CliffWalking", {}),
                ("CliffWalkingSlippery", {})]
LABELS = [name + "".join(f"-{v}" for v in kwargs.values()) for name, kwargs in ENVIRONMENTS]
every_environment = pytest.mark.parametrize(("name", "kwargs"), ENVIRONMENTS, ids=LABELS)


def table_arrays(P):
    """Rewards (S, A) and probabilities (S, A, S) of going on, straight from the table."""
    S, A = len(P), len(P[0])
    R, T = np.zeros((S, A)), np.zeros((S, A, S))
    for s in range(S):
        for a in range(A):
            for p, t, r, terminated in P[s][a]:
                R[s, a] += p * r
                T[s, a, t] += 0.0 if terminated else p
    return R, T


def howard(P, gamma):
    """V* by policy iteration. A gain of 1e-11 that is passed over costs at most 1e-11 / (1 - 0.99) = ROUND."""
    R, T = table_arrays(P)
    S = len(R)
    policy = np.zeros(S, int)
    while True:
        V = np.linalg.solve(np.eye(S) - gamma * T[np.arange(S), policy], R[np.arange(S), policy])
        Q = R + gamma * T @ V
        if (Q.max(1) <= V + 1e-11).all():
            return V, Q
        policy = np.where(Q.max(1) > V + 1e-11, Q.argmax(1), policy)


def duck(P, rho=None, **more):
    """Something that looks like an environment from the side of its table."""
    law = {} if rho is None else {"initial_state_distrib": np.asarray(rho, float)}
    return SimpleNamespace(unwrapped=SimpleNamespace(P=P, **law, **more))


# --- values

@every_environment
def test_values_against_policy_iteration_on_the_table(name, kwargs):
    id_ = newest(name)
    source = read(id_, GAMMA, **kwargs)
    env = gymnasium.make(id_, **kwargs).unwrapped
    V, Q = howard(env.P, GAMMA)
    S = len(V)
    solution = discounted.solve(source.model, 1e-10)       # asked ten times narrower than the claim below
    assert solution.width < ROUND
    assert (solution.lo[:S] - ROUND <= V).all() and (solution.hi[:S] + ROUND >= V).all()
    assert (solution.hi[S:] >= 0).all() and (solution.lo[S:] <= 0).all(), "the new state is worth nothing"
    lo, hi = solution.at(source.model.rho)
    assert lo - ROUND <= env.initial_state_distrib @ V <= hi + ROUND
    best = np.zeros_like(solution.optimal[:S])
    np.put_along_axis(best, Q.argmax(1)[:, None], True, 1)
    assert solution.optimal[:S][best].all(), "no optimal action is missing"
    # an action is kept when its upper value reaches lo: within the width of both enclosures
    assert (Q[solution.optimal[:S]] >= np.repeat(V[:, None] - 4 * ROUND, Q.shape[1], 1)[solution.optimal[:S]]).all()


@pytest.mark.xdist_group("quantecon")      # it compiles at import, and its cache mixes what two processes compile
@pytest.mark.parametrize(("name", "kwargs"), [ENVIRONMENTS[0], ENVIRONMENTS[4], ENVIRONMENTS[6]],
                         ids=[LABELS[i] for i in (0, 4, 6)])
def test_values_against_quantecon(name, kwargs):
    ddp = pytest.importorskip("quantecon.markov").DiscreteDP
    id_ = newest(name)
    R, T = table_arrays(gymnasium.make(id_, **kwargs).unwrapped.P)
    S, A = R.shape
    Q = np.zeros((S + 1, A, S + 1))
    Q[:S, :, :S], Q[S, :, S] = T, 1.0
    Q[:S, :, S] = 1.0 - T.sum(-1)
    V = ddp(np.vstack([R, np.zeros(A)]), Q, GAMMA).solve(method="policy_iteration").v[:S]
    solution = discounted.solve(from_gymnasium(id_, GAMMA, **kwargs), 1e-10)
    assert (solution.lo[:S] - ROUND <= V).all() and (solution.hi[:S] + ROUND >= V).all()


def test_known_values():
    lake = read("FrozenLake-v1", GAMMA, is_slippery=False)
    lo, hi = discounted.solve(lake.model, tier="exact").at(lake.model.rho)
    assert lo - EXACT <= GAMMA**5 <= hi + EXACT, "six moves, the last one pays 1"
    cliff = read(newest("CliffWalking"), GAMMA)
    lo, hi = discounted.solve(cliff.model, tier="exact").at(cliff.model.rho)
    assert lo - EXACT <= -(1 - GAMMA**13) / (1 - GAMMA) <= hi + EXACT, "thirteen moves at -1 each"


def test_what_is_read_besides():
    lake, big = read("FrozenLake-v1", GAMMA), read("FrozenLake-v1", GAMMA, map_name="8x8")
    assert (lake.id, lake.shape, lake.model.S) == ("FrozenLake-v1", (4, 4), 16), "its ends absorb already"
    assert lake.terminal_states.tolist() == [5, 7, 11, 12, 15] and not lake.terminal_states.flags.writeable
    assert big.shape == (8, 8) and big.terminal_states.tolist() == [19, 29, 35, 41, 42, 46, 49, 52, 54, 59, 63]
    cliff = read(newest("CliffWalking"), GAMMA)
    assert (cliff.shape, cliff.model.S, cliff.terminal_states.tolist()) == ((4, 12), 49, [47, 48])
    taxi = read(newest("Taxi"), GAMMA)
    assert taxi.shape is None and taxi.model.S == 501, "desc is a drawing of the town, not of the states"
    assert taxi.terminal_states.tolist() == [0, 85, 410, 475, 500], "at R, G, Y, B, passenger delivered"
    env = gymnasium.make("FrozenLake-v1", is_slippery=False)
    assert from_gymnasium(env, 0.5).gamma == 0.5, "an environment, wrapped as it is, does too"


def test_kernel_against_simulation():
    """Frequencies of env.step, n steps for each of the K triples (s, a, t) of FrozenLake's eleven free cells."""
    env = gymnasium.make("FrozenLake-v1")
    env.reset(seed=0)
    inner, source, n = env.unwrapped, read("FrozenLake-v1", GAMMA), 800
    free = np.setdiff1d(np.arange(16), source.terminal_states)
    # Hoeffding for K frequencies and K/16 mean rewards in [0, 1], all at once: fails with probability 1e-6
    bound = math.sqrt(math.log(2 * (free.size * 4 * 17) / 1e-6) / (2 * n))
    assert bound < 1 / 6, "half of the smallest probability, 1/3: a wrong row would show"
    for s in free.tolist():
        for a in range(4):
            seen, paid = np.zeros(16), 0.0
            for _ in range(n):
                inner.s = s
                t, r, terminated, _, _ = inner.step(a)
                assert terminated == (t in source.terminal_states)
                seen[t] += 1
                paid += r
            assert np.abs(seen / n - source.model.dense[s, a]).max() <= bound
            assert abs(paid / n - source.model.r[s, a]) <= bound


# --- traps

def test_rewards_are_averaged_before_successors_merge():
    P = {0: {0: [(0.25, 1, 4.0, False), (0.5, 1, 0.0, False), (0.25, 0, -8.0, False)]}, 1: {0: [(1.0, 1, 0.0, False)]}}
    model = from_gymnasium(duck(P, [1, 0]), 0.5)
    assert model.r[0, 0] == -1.0, "0.25 * 4 - 0.25 * 8; merging first would give 3 - 2, -2 or 1"
    assert model.dense[0, 0].tolist() == [0.25, 0.75] and model.is_sparse


def test_equal_rewards_stay_as_they_are():
    third = 1 / 3
    P = {0: {0: [(third, 0, 0.1, False), (third, 0, 0.1, False), (third, 1, 0.1, False)]}, 1: {0: [(1.0, 1, 0, False)]}}
    assert from_gymnasium(duck(P, [1, 0]), 0.5).r[0, 0] == 0.1


def test_nothing_is_earned_after_the_end():
    rich = {0: [(1.0, 1, 5.0, False)]}                     # worth 10 to whoever gets there alive
    ends = from_gymnasium(duck({0: {0: [(1.0, 1, 1.0, True)]}, 1: rich}, [1, 0]), 0.5)
    assert ends.S == 3 and ends.rho.tolist() == [1, 0, 0] and ends.r[2].tolist() == [0]
    assert np.abs(discounted.solve(ends, tier="exact").value - [1, 10, 0]).max() < EXACT
    both = read(duck({0: {0: [(0.5, 1, 1.0, True), (0.5, 1, 1.0, False)]}, 1: rich}, [1, 0]), 0.5)
    assert np.abs(discounted.solve(both.model, tier="exact").value - [3.5, 10, 0]).max() < EXACT, "1 + 0.5 * 0.5 * 10"
    assert both.terminal_states.tolist() == [2], "state 1 is also entered alive"
    assert read(duck({0: {0: [(1.0, 1, 1.0, True)]}, 1: rich}, [1, 0]), 0.5).terminal_states.tolist() == [1, 2]


def test_a_state_is_added_only_if_needed():
    stay = [(1.0, 1, 0.0, True)]
    assert from_gymnasium(duck({0: {0: stay}, 1: {0: stay}}, [1, 0]), 0.5).S == 2, "absorbing and unpaid"
    assert from_gymnasium(duck({0: {0: [(1.0, 1, 0.0, False)]}, 1: {0: [(1.0, 1, 3.0, False)]}}, [1, 0]), 0.5).S == 2
    leaves = {0: {0: stay, 1: stay}, 1: {0: stay, 1: [(1.0, 0, 0.0, False)]}}
    assert from_gymnasium(duck(leaves, [1, 0]), 0.5).S == 3, "one action leaves it"
    pays = {0: {0: stay}, 1: {0: [(1.0, 1, 2.0, False)]}}
    assert from_gymnasium(duck(pays, [1, 0]), 0.5).S == 3, "it pays"
    never = {0: {0: [(1.0, 0, 0.0, False), (0.0, 1, 7.0, True)]}, 1: {0: [(1.0, 1, 2.0, False)]}}
    assert from_gymnasium(duck(never, [1, 0]), 0.5).S == 2, "an entry of probability zero is none"


def test_initial_law():
    P = {0: {0: [(1.0, 1, 0.0, False)]}, 1: {0: [(1.0, 1, 0.0, False)]}}
    assert from_gymnasium(duck(P, isd=[0.5, 0.5]), 0.5).rho.tolist() == [0.5, 0.5], "its older name"
    assert from_gymnasium(duck(P, [0, 1]), 0.5, rho=[1, 0]).rho.tolist() == [1, 0]
    with pytest.raises(MdpkitError, match="rho must be given"):
        from_gymnasium(duck(P), 0.5)
    with pytest.raises(MdpkitError, match=r"initial_state_distrib\[:\] must be"):
        from_gymnasium(duck(P, [0.5, 0.6]), 0.5)


def test_reached():
    s, t = np.array([0, 1, 3]), np.array([1, 2, 0])
    assert reached([True, False, False, False], s, t).tolist() == [True, True, True, False]


# --- there and back

def same(one: TabularMDP, two: TabularMDP) -> bool:
    parts = ((*m.rows, m.r, m.rho) for m in (one, two))
    return one.gamma == two.gamma and all(x.tobytes() == y.tobytes() for x, y in zip(*parts, strict=True))


@every_environment
def test_round_trip(name, kwargs):
    model = from_gymnasium(newest(name), GAMMA, **kwargs)
    P = to_gymnasium(model)
    assert same(from_gymnasium(duck(P, model.rho), GAMMA), model), "to the bit"
    V, _ = howard(P, GAMMA)
    solution = discounted.solve(model, 1e-10)
    assert (solution.lo - ROUND <= V).all() and (solution.hi + ROUND >= V).all(), "terminated cuts no value off"


def test_round_trip_of_other_models():
    rng = np.random.default_rng(0)
    P, rho = rng.dirichlet(np.ones(6), (6, 3)), rng.dirichlet(np.ones(6))
    model = TabularMDP(P, rng.normal(size=(6, 3)), 0.9, rho)
    table = to_gymnasium(model)
    assert same(from_gymnasium(duck(table, model.rho), 0.9), model)
    assert [type(x) for x in table[0][0][0]] == [float, int, float, bool]
    with pytest.raises(MdpkitError, match="model must be a TabularMDP"):
        to_gymnasium(table)


def test_gymnasium_steps_through_an_exported_table():
    env = gymnasium.make("FrozenLake-v1", is_slippery=False)
    env.unwrapped.P = to_gymnasium(from_gymnasium(env, GAMMA))
    env.reset(seed=0)
    steps = [env.step(a)[:3] for a in (1, 1, 2, 1, 2, 2)]
    assert steps == [(4, 0, False), (8, 0, False), (9, 0, False), (13, 0, False), (14, 0, False), (15, 1, True)]


# --- refusals

LOOP = [(1.0, 0, 0.0, False)]


@pytest.mark.parametrize(("make", "message"), [
    (lambda: from_gymnasium("Blackjack-v1", 0.9), r"publishes its table.*Blackjack-v1 does not.*FrozenLake"),
    (lambda: from_gymnasium("NoSuchLake-v0", 0.9), "env_or_id must be an environment that gymnasium.make builds"),
    (lambda: from_gymnasium("FrozenLake-v1", 0.9, map_name="9x9"), "KeyError"),
    (lambda: from_gymnasium("FrozenLake-v1", 0.9, size=3), "unexpected keyword"),
    (lambda: from_gymnasium(duck({0: {0: LOOP}}, [1]), 0.9, size=3), "make_kwargs must be left out"),
    (lambda: from_gymnasium("FrozenLake-v1", 1.0), r"gamma must be in \[0, 1\)"),
    (lambda: from_gymnasium(newest("Taxi"), 0.9, fickle_passenger=True), "fickle_passenger must be False"),
    (lambda: from_gymnasium(object(), 0.9), "object does not"),
    (lambda: from_gymnasium(duck({}), 0.9), "env.unwrapped.P must be a non-empty"),
    (lambda: from_gymnasium(duck({1: {0: LOOP}}), 0.9), "indexed by 0 to 0"),
    (lambda: from_gymnasium(duck([{0: LOOP}, {0: LOOP, 1: LOOP}]), 0.9), r"P\[1\] must be of 1 actions"),
    (lambda: from_gymnasium(duck([{0: []}]), 0.9), r"P\[0\]\[0\] must be a non-empty"),
    (lambda: from_gymnasium(duck([[[(1.0, 0, 0.0)]]]), 0.9), r"P\[0\]\[0\]\[0\] must be \(probability"),
    (lambda: from_gymnasium(duck([[[(1.0, 0, 0.0, 1)]]]), 0.9), r"P\[0\]\[0\]\[0\] must be \(probability"),
    (lambda: from_gymnasium(duck([[[(0.5, 0, 0.0, False)]]]), 0.9), "sum to 1; they sum to 0.5"),
    (lambda: from_gymnasium(duck([[[(2.0, 0, 0.0, False), (-1.0, 0, 0.0, False)]]]), 0.9), r"\[0\]\[0\] must be in"),
    (lambda: from_gymnasium(duck([[[(1.0, 1, 0.0, False)]]]), 0.9), r"\[0\]\[1\] must be at least 0 and at most 0"),
    (lambda: from_gymnasium(duck([[[(1.0, 0.0, 0.0, False)]]]), 0.9), r"\[0\]\[1\] must be an integer"),
    (lambda: from_gymnasium(duck([[[(1.0, 0, math.nan, False)]]]), 0.9), r"\[0\]\[2\] must be finite"),
])
def test_refusals(make, message):
    with pytest.raises(MdpkitError, match=message):
        make()


def test_gymnasium_is_optional(monkeypatch):
    monkeypatch.setitem(sys.modules, "gymnasium", None)
    with pytest.raises(MissingPackage, match=r"pip install 'mdpkit\[gym\]'"):
        from_gymnasium("FrozenLake-v1", 0.9)
    assert from_gymnasium(duck({0: {0: LOOP}}, [1]), 0.9).S == 1, "a table needs no gymnasium"
