"""Reachability and total rewards: graphs first, drifts, rationals; against linear programmes and all policies."""

from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from scipy.optimize import linprog

from mdpkit.errors import MdpkitError, NotCertified
from mdpkit.instances.chains import haddad_monmege
from mdpkit.models.tabular import TabularMDP
from mdpkit.solve import graph, undiscounted

LOOSE = 1e-7             # what scipy's LP is good for


def world(seed, S=6, A=3, sparse=True):
    """Rows with few successors, some with a stay, so that components and dead ends come up."""
    rng = np.random.default_rng(seed)
    P = np.zeros((S, A, S))
    for s in range(S):
        for a in range(A):
            ends = rng.choice(S, rng.integers(1, 3), replace=False)
            P[s, a, ends] = rng.integers(1, 4, len(ends))
    r = rng.integers(0, 3, (S, A)) / 2
    return TabularMDP(P / P.sum(-1, keepdims=True), r, 0.0, np.full(S, 1 / S))


def chain_of(model, policy):
    S = model.S
    return model.dense[np.arange(S), policy], model.r[np.arange(S), policy]


def reach_of(model, goal, policy):
    """Probability of reaching under one policy: the graph says where it is 0, a solve the rest."""
    P, _ = chain_of(model, policy)
    S = model.S
    can = goal.copy()
    for _ in range(S):
        can |= (P[:, can].sum(1) > 0)
    x = goal.astype(float)
    inside = can & ~goal
    x[inside] = np.linalg.solve(np.eye(inside.sum()) - P[np.ix_(inside, inside)], P[np.ix_(inside, goal)].sum(1))
    return x


def total_of(model, goal, policy):
    P, r = chain_of(model, policy)
    sure = np.abs(reach_of(model, goal, policy) - 1) < 1e-9
    stays = sure & ~goal
    x = np.where(sure, 0.0, np.inf)
    x[stays] = np.linalg.solve(np.eye(stays.sum()) - P[np.ix_(stays, stays)], r[stays])
    return x


def brute(model, goal, value, minimise):
    best = None
    for policy in product(range(model.A), repeat=model.S):
        v = value(model, goal, np.array(policy))
        best = v if best is None else (np.minimum if minimise else np.maximum)(best, v)
    return best


@pytest.mark.parametrize("seed", range(40))
@pytest.mark.parametrize("minimise", [False, True])
def test_against_all_policies(seed, minimise):
    model = world(seed, 4 + seed % 2, 2)
    goal = np.arange(model.S) == 0
    for solve, value in ((undiscounted.reach, reach_of), (undiscounted.total_reward, total_of)):
        expected = brute(model, goal, value, minimise)
        for tier in ("float", "exact"):
            s = solve(model, [0], minimise=minimise, tier=tier)
            near = np.isfinite(expected)
            np.testing.assert_array_equal(np.isfinite(s.value), near)
            np.testing.assert_allclose(s.value[near], expected[near], rtol=0, atol=1e-8)
            assert (s.lo <= s.hi).all() and s.width <= 1e-8
            got = value(model, goal, s.policy)
            np.testing.assert_array_equal(np.isfinite(got), near)
            np.testing.assert_allclose(got[near], expected[near], rtol=0, atol=1e-8, err_msg="the policy attains it")
            assert s.optimal[np.arange(model.S), s.policy].all()


@pytest.mark.parametrize("seed", range(30))
def test_floats_enclose_the_rationals(seed):
    model = world(100 + seed, 8, 3)
    for solve in (undiscounted.reach, undiscounted.total_reward):
        for minimise in (False, True):
            exact = solve(model, [0, 1], minimise=minimise, tier="exact")
            near = solve(model, [0, 1], minimise=minimise)
            truth = exact.certificate.exact
            for s in range(model.S):
                if np.isinf(near.lo[s]):
                    assert truth[s] == np.inf
                else:
                    assert Fraction(near.lo[s]) <= Fraction(truth[s]) <= Fraction(near.hi[s])


def test_naive_value_iteration_is_wrong_where_this_is_right():
    """On the chain of Haddad and Monmege sweeps that change little are far from the answer, 1/2 in the middle."""
    n = 12
    model = haddad_monmege(n, 0.5)
    S = model.S
    v = np.zeros(S)
    v[S - 1] = 1.0
    while True:
        w = np.where(np.arange(S) == S - 1, 1.0, np.einsum("sat,t->sa", model.dense, v).max(1))
        if np.abs(w - v).max() < 1e-3:
            break
        v = w
    assert v[n] < 0.45, "the usual stopping rule stops too early"
    s = undiscounted.reach(model, [S - 1])
    assert s.lo[n] <= 0.5 <= s.hi[n] and s.width < 1e-9
    assert undiscounted.reach(model, [S - 1], tier="exact").certificate.exact[n] == Fraction(1, 2)


def test_beyond_what_floats_can_prove_it_says_so():
    model = haddad_monmege(40, 0.5)
    with pytest.raises(NotCertified) as e:
        undiscounted.reach(model, [model.S - 1])
    assert e.value.solution.lo[40] <= 0.5 <= e.value.solution.hi[40]
    assert undiscounted.reach(model, [model.S - 1], tier="exact").certificate.exact[40] == Fraction(1, 2)


def test_lingering_for_nothing_is_not_an_answer():
    """Two states that can pass to and fro for nothing; leaving costs 1. Sweeps from 0 would stay at 0."""
    P = np.zeros((3, 2, 3))
    P[0, 0, 1] = P[1, 0, 0] = P[0, 1, 2] = P[1, 1, 2] = P[2, :, 2] = 1.0
    model = TabularMDP(P, [[0.0, 3.0], [0.0, 1.0], [0.0, 0.0]], 0.0, [1.0, 0.0, 0.0])
    s = undiscounted.total_reward(model, [2], minimise=True)
    assert s.lo[0] == pytest.approx(1.0, abs=1e-9) and s.policy.tolist()[:2] == [0, 1]
    assert np.isinf(undiscounted.total_reward(model, [2]).value[:2]).all(), "passing to and fro misses the target"


@pytest.mark.parametrize("seed", range(10))
def test_maximal_reachability_against_a_linear_programme(seed):
    model = world(300 + seed, 30, 4)
    s = undiscounted.reach(model, [0])
    zero = s.value == 0.0
    S, A = model.S, model.A
    rows = (np.repeat(np.eye(S), A, 0) - model.dense.reshape(-1, S))
    bounds = [(1, 1) if t == 0 else (0, 0) if zero[t] else (0, 1) for t in range(S)]
    x = linprog(np.ones(S), -rows, np.zeros(S * A), bounds=bounds).x
    np.testing.assert_allclose(s.value, x, rtol=0, atol=LOOSE)


def test_end_components_by_definition():
    """Every one closed under its actions and strongly connected; together with all others, maximal."""
    for seed in range(30):
        model = world(500 + seed, 7, 2)
        moves = graph.support(model.rows, model.S, model.A)
        label, staying = graph.end_components(moves, np.ones((model.S, model.A), bool))
        P = model.dense
        for k in range(label.max() + 1):
            inside = label == k
            assert staying[inside].any(1).all()
            for s, a in np.argwhere(staying & inside[:, None]):
                assert P[s, a, ~inside].sum() == 0
            step = ((P * staying[..., None]).sum(1) > 0)[np.ix_(inside, inside)]
            far = np.linalg.matrix_power(step.astype(float) + np.eye(inside.sum()), model.S)
            assert (far > 0).all(), "strongly connected"
        assert not staying[label < 0].any()
        # a policy that always moves at random among staying actions of a candidate set of all subsets finds no more
        for bits in range(1, 2**model.S):
            C = np.array([bits >> i & 1 for i in range(model.S)], bool)
            inner = (P[:, :, ~C].sum(-1) == 0) & C[:, None]
            step = ((P * inner[..., None]).sum(1) > 0)[np.ix_(C, C)]
            far = np.linalg.matrix_power(step.astype(float) + np.eye(C.sum()), model.S)
            if inner[C].any(1).all() and (far > 0).all():
                assert len(set(label[C])) == 1 and label[C][0] >= 0


@pytest.mark.parametrize(("call", "message"), [
    (lambda: undiscounted.reach(world(0), [99]), r"target\[0\]"),
    (lambda: undiscounted.reach(world(0), []), "target"),
    (lambda: undiscounted.reach(world(0), [0], tier="ball"), "tier must be one of"),
    (lambda: undiscounted.reach(None, [0]), "model"),
    (lambda: undiscounted.total_reward(TabularMDP([[[1.0]]], [[-1.0]], 0.0, [1.0]), [0]), r"model.r"),
])
def test_bad_input(call, message):
    with pytest.raises(MdpkitError, match=message):
        call()
