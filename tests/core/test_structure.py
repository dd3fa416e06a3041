"""Ranks, span, diameter, mixing and lookahead against their definitions; fronts and reward distances."""

from __future__ import annotations

import itertools
import math

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from mdpkit import strategies
from mdpkit.errors import MdpkitError
from mdpkit.instances.chains import cycle, riverswim
from mdpkit.measure import pareto, rewards, structure
from mdpkit.measure.exploitability import correlated_gap
from mdpkit.models.tabular import EpisodicMDP, TabularMDP
from mdpkit.octets import octets, small_mdp
from mdpkit.solve import correlated

EXACT, ROUND, SOLVER = 1e-12, 1e-9, 1e-6


def tabular(P, r=None, gamma=0.9):
    P = np.asarray(P, float)
    return TabularMDP(P, np.zeros(P.shape[:2]) if r is None else r, gamma, np.full(len(P), 1 / len(P)))


# ------------------------------------------------------------------------------------------- ranks

def test_ranks_are_exact():
    assert structure.rank(np.zeros((2, 3))) == 0 and structure.rank(np.zeros((0, 3))) == 0
    third = np.array([[1.0, 2.0], [0.1, 0.2]])                      # 2 * 0.1 is 0.2 in floats too
    assert structure.rank(third) == 1
    third[1, 1] = np.nextafter(0.2, 1)
    assert structure.rank(third) == 2 and np.linalg.matrix_rank(third) == 1
    with pytest.raises(MdpkitError, match="two axes"):
        structure.rank(np.zeros(3))


def test_transition_rank_of_a_product():
    share = np.random.default_rng(0).integers(0, 9, 12) / 8
    phi = np.stack([share, 1 - share], 1)
    mu = np.array([[0.5, 0.25, 0.25, 0.0], [0.0, 0.25, 0.25, 0.5]])
    assert structure.transition_rank(tabular((phi @ mu).reshape(4, 3, 4))) == 2
    assert structure.transition_rank(tabular(np.eye(3)[None].repeat(2, 0).transpose(1, 0, 2))) == 3


@given(st.data())
@settings(max_examples=20)
def test_bilinear_rank_from_occupancies(data):
    model = data.draw(strategies.episodic_mdps(max_states=2, max_actions=2, max_horizon=2))
    n = data.draw(st.integers(1, 6))
    F = octets(data.draw, n, *model.r.shape) % 9 / 4
    found = structure.bilinear_rank(model, F)
    assert found <= min(n, model.S * model.A)
    own = np.zeros((n, n))
    for i, f in enumerate(F):
        for j, g in enumerate(F):
            after = model.P[0] @ g[1].max(-1) if model.H > 1 else 0
            own[i, j] = model.rho @ (g[0] - model.r[0] - after)[np.arange(model.S), f[0].argmax(-1)]
    assert found >= np.linalg.matrix_rank(own, tol=ROUND)


# -------------------------------------------------------------------------- span, diameter, mixing

def by_enumeration(model):
    """Least expected steps from s to each t, over all deterministic policies."""
    S, A = model.S, model.A
    best = np.full((S, S), np.inf)
    for pi in itertools.product(range(A), repeat=S):
        P = model.dense[np.arange(S), pi]
        for t in range(S):
            rest = [s for s in range(S) if s != t]
            M = np.eye(S - 1) - P[np.ix_(rest, rest)]
            if S > 1 and abs(np.linalg.det(M)) > ROUND:
                steps = np.linalg.solve(M, np.ones(S - 1))
                if (steps > 0).all():
                    best[rest, t] = np.minimum(best[rest, t], steps)
        np.fill_diagonal(best, 0)
    return best.max()


@given(st.data())
@settings(max_examples=30)
def test_the_diameter_is_that_of_all_policies(data):
    model = small_mdp(data.draw, 3)
    wanted = by_enumeration(model)
    found = structure.diameter(model)
    assert found == wanted == math.inf or abs(found - wanted) <= SOLVER * wanted


def test_known_spans_and_diameters():
    assert structure.diameter(cycle(5, 0.9)) == pytest.approx(4, abs=ROUND)
    swim = riverswim(6)
    assert structure.diameter(swim) == pytest.approx(by_enumeration(swim), rel=ROUND)
    assert 0 < structure.bias_span(swim) <= structure.diameter(swim) * np.ptp(swim.r)
    apart = tabular(np.eye(2)[:, None], [[0.0], [1.0]])
    assert structure.bias_span(apart) == math.inf and structure.diameter(apart) == math.inf


@pytest.mark.parametrize("p", [0.5, 0.3, 0.01])
@pytest.mark.parametrize("distance", [0.25, 0.4, 1e-3])
def test_mixing_of_two_states_in_closed_form(p, distance):
    """TV after t steps is |1 - 2p|^t / 2."""
    model = tabular([[[1 - p, p]], [[p, 1 - p]]])
    t = structure.mixing_time(model, [0, 0], distance)
    off = lambda t: abs(1 - 2 * model.dense[0, 0, 1]) ** t / 2
    assert off(t) <= distance * (1 + ROUND) and (t == 0 or off(t - 1) > distance * (1 - ROUND))


def test_chains_that_do_not_mix():
    assert structure.mixing_time(cycle(4, 0.9), np.zeros(4, int)) == math.inf
    assert structure.mixing_time(tabular(np.eye(2)[:, None]), [0, 0]) == math.inf
    assert structure.mixing_time(tabular([[[1.0]]]), [0]) == 0


# --------------------------------------------------------------------------------------- lookahead

def trap(low=0.6):
    P, r = np.zeros((2, 3, 2, 3)), np.zeros((2, 3, 2))
    P[..., 0] = 1
    P[0, 0] = [[0, 0.9, 0.1], [0, 0.1, 0.9]]
    r[1, 1], r[1, 2] = (1, 0), low
    return EpisodicMDP(P, r, [1, 0, 0])


def test_two_steps_of_lookahead_where_one_fails():
    one, two = structure.lookaheads(trap())
    assert not one.solvable and one.horizon == math.inf and abs(one.gap - 0.08) < EXACT
    assert two.solvable and abs(two.gap - 0.32) < EXACT and abs(two.horizon - 5.2877123795) < 1e-10
    assert structure.effective_horizon(trap()) == two.horizon
    assert structure.lookaheads(trap(0.4))[0].solvable


@given(strategies.episodic_mdps(max_states=2, max_actions=2, max_horizon=3))
@settings(max_examples=30)
def test_full_lookahead_always_solves(model):
    found = structure.lookaheads(model)
    assert found[-1].solvable and len(found) == model.H
    assert structure.effective_horizon(model) >= 1


# ------------------------------------------------------------------------------ fronts and rewards

def counted(X, z, n):
    """Share of a fine grid below some point, for points on that grid."""
    cells = np.stack(np.meshgrid(*[np.arange(n)] * X.shape[1], indexing="ij"), -1).reshape(-1, X.shape[1])
    return sum((c + 1 <= X - z).all(1).any() for c in cells)


@given(st.data())
@settings(max_examples=40)
def test_hypervolume_counts_cells(data):
    n, d = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 4))
    X, z = octets(data.draw, n, d) % 5 + 0.0, octets(data.draw, d) % 2 + 0.0
    assert abs(pareto.hypervolume(X, z) - counted(X, z, 5)) < ROUND
    front = pareto.nondominated(X)
    beaten = [any((y >= x).all() and (y > x).any() for y in X) for x in X]
    assert front.tolist() == [not b for b in beaten]


P3 = np.array([[[0.7, 0.3, 0], [0, 0.5, 0.5]], [[1, 0, 0], [0.2, 0.2, 0.6]], [[0, 0, 1], [0.5, 0.25, 0.25]]])


@pytest.mark.parametrize("kind", rewards.CANONICAL)
@pytest.mark.parametrize("norm", rewards.NORMS)
def test_starc_sees_neither_shaping_nor_redistribution_nor_scale(kind, norm):
    rng = np.random.default_rng(1)
    world = tabular(P3)
    R, S = rng.normal(size=(2, 3, 2, 3))
    D = rng.normal(size=(3, 2, 3))
    D -= (P3 * D).sum(-1, keepdims=True)
    same = 2.5 * rewards.shaped(R, rng.normal(size=3), 0.9) + D
    assert rewards.starc(world, R, same, kind, norm) < ROUND
    assert rewards.starc(world, R, -R, kind, norm) > 0.1 and rewards.starc(world, R, S, kind, norm) > 0.01
    one, two, three = (rewards.starc(world, a, b, kind, norm) for a, b in ((R, S), (S, D + R), (R, D + R)))
    assert three < ROUND and abs(one - two) < ROUND
    assert rewards.starc(world, 0 * R, 0 * S, kind, norm) == 0


def test_published_distances():
    """Three states, start in the first; rewards without s'. STARC's authors' constructions, recomputed."""
    world = TabularMDP(P3, np.zeros((3, 2)), 0.9, [1.0, 0, 0])
    one, two = (np.repeat(np.array(r)[..., None], 3, -1) for r in (
        [[0, 0.5], [1, 0.2], [0.3, 0.8]], [[0.2, 0.4], [0.6, 0.9], [0.1, 0.5]]))
    np.testing.assert_allclose(rewards.canonical(world, one)[:, 0],
                               [-0.35359745458278, 0.28086391695136, -0.16584067682292], atol=EXACT)
    np.testing.assert_allclose(rewards.canonical(world, one, "minimal")[:, 1],
                               [0.38890684481626, -0.22792893841795, 0.08995546777938], atol=EXACT)
    for kind, norm, wanted in (("value", "range", 0.14987407599975), ("value", "l2", 1.21576162993917),
                               ("minimal", "l2", 1.22748916007878)):
        assert abs(rewards.starc(world, one, two, kind, norm) - wanted) < ROUND
    assert abs(rewards.epic(one, two, 0.9) - 0.6104763951397472) < EXACT      # by 40 digits


def test_epic_sees_no_shaping_and_is_1_at_the_opposite():
    rng = np.random.default_rng(2)
    R, S = rng.normal(size=(2, 3, 2, 3))
    assert rewards.epic(R, 3 * rewards.shaped(R, rng.normal(size=3), 0.9) + 1, 0.9) < 1e-7      # a root of rounding
    assert abs(rewards.epic(R, -R, 0.9) - 1) < EXACT
    assert abs(rewards.epic(R, S, 0.9) ** 2 + rewards.epic(R, -S, 0.9) ** 2 - 1) < EXACT


@given(st.data())
@settings(max_examples=25)
def test_correlated_gaps_vanish_at_certified_equilibria(data):
    u = octets(data.draw, 2, 2, 3) % 9 / 4
    for kind, name in (("coarse", "coarse"), ("correlated", "correlated")):
        found = correlated.solve(u, kind=kind)
        assert correlated_gap(u, found.sigma, kind=name) <= 1e-7
    pure = np.zeros((2, 3))
    pure[0, 0] = 1
    best = max(u[0, :, 0].max() - u[0, 0, 0], u[1, 0].max() - u[1, 0, 0])
    for kind in ("coarse", "correlated"):
        assert abs(correlated_gap(u, pure, kind=kind) - best) < EXACT
