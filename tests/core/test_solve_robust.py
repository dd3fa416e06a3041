"""Robust MDPs: against brute force over nature's choices, linear programmes over balls, and rationals."""

from fractions import Fraction
from itertools import pairwise, product

import numpy as np
import pytest
from scipy.optimize import linprog

from mdpkit.errors import MdpkitError
from mdpkit.models.tabular import TabularMDP
from mdpkit.solve import discounted, robust

NEAR = 1e-8


def world(seed, S=4, A=2, gamma=0.9):
    rng = np.random.default_rng(seed)
    return TabularMDP(rng.dirichlet(np.ones(S), (S, A)), rng.normal(size=(S, A)), gamma, np.full(S, 1 / S), flush=True)


def kernels(seed, K, S, A):
    return np.random.default_rng(seed).dirichlet(np.ones(S), (K, S, A))


@pytest.mark.parametrize("seed", range(6))
def test_finite_sets_against_all_choices_of_nature(seed):
    """max over policies of min over nature's stationary choices, each an exact evaluation."""
    m, P = world(seed, 3, 2), kernels(seed, 2, 3, 2)
    best = np.full(3, -np.inf)
    for policy in product(range(2), repeat=3):
        worst = np.full(3, np.inf)
        for nature in product(range(2), repeat=3):
            rows = np.array([P[nature[s], s, policy[s]] for s in range(3)])
            worst = np.minimum(worst, np.linalg.solve(np.eye(3) - 0.9 * rows, m.r[np.arange(3), policy]))
        best = np.maximum(best, worst)
    for tier in ("float", "exact"):
        s = robust.solve_finite(m, P, tier=tier)
        assert (s.lo - NEAR <= best).all() and (best <= s.hi + NEAR).all() and s.width < NEAR


@pytest.mark.parametrize("seed", range(10))
def test_floats_enclose_the_rationals(seed):
    m, P = world(20 + seed, 6, 3, 0.99), kernels(20 + seed, 3, 6, 3)
    near, true = robust.solve_finite(m, P), robust.solve_finite(m, P, tier="exact")
    for lo, hi, v in zip(near.lo, near.hi, true.certificate.exact):
        assert Fraction(lo) <= v <= Fraction(hi)
    assert near.optimal[np.arange(6), true.policy].all()


@pytest.mark.parametrize(("gamma", "seed"), [(0.9, 0), (0.97, 1), (0.99, 2), (0.99, 3)])
def test_a_walk_whose_slip_is_uncertain(gamma, seed):
    """A 4 x 4 grid, three slips: the enclosure widens on the way to the answer."""
    rng, n = np.random.default_rng(seed), 4
    P, s = np.zeros((n * n, 4, n * n)), np.arange(n * n)
    for a, (dx, dy) in enumerate(((0, -1), (1, 0), (0, 1), (-1, 0))):
        P[s, a, np.clip(s // n + dx, 0, n - 1) * n + np.clip(s % n + dy, 0, n - 1)] = 1.0
    holes = np.append(rng.choice(np.arange(1, n * n - 1), 3, replace=False), n * n - 1)
    P[holes] = np.eye(n * n)[holes][:, None]
    aside, r = np.roll(P, 1, 1) + np.roll(P, -1, 1), np.zeros((n * n, 4))
    r[-1] = 1 - gamma
    PU = np.array([p * P + (1 - p) / 2 * aside for p in (0.2, 0.4, 0.6)])
    m = TabularMDP(PU[0], r, gamma, np.eye(n * n)[0], flush=True)
    near, true = robust.solve_finite(m, PU), robust.solve_finite(m, PU, tier="exact")
    assert all(Fraction(lo) <= v <= Fraction(hi) for lo, hi, v in zip(near.lo, near.hi, true.certificate.exact))


def test_one_kernel_is_an_mdp():
    m = world(3, 8, 3)
    s, plain = robust.solve_finite(m, m.dense[None]), discounted.solve(m)
    assert (s.lo <= plain.hi).all() and (plain.lo <= s.hi).all()
    s = robust.solve_l1(m, 0.0)
    assert (s.lo <= plain.hi).all() and (plain.lo <= s.hi).all()


@pytest.mark.parametrize("seed", range(20))
def test_the_worst_row_of_a_ball_against_a_linear_programme(seed):
    rng = np.random.default_rng(seed)
    S = 5
    p, v, b = rng.dirichlet(np.ones(S)) * (rng.random(S) < 0.7), rng.normal(size=S), rng.random() * 2
    p[0] += 1 - p.sum()
    q = robust.worst_in_ball(p, np.array(b), v)
    assert abs(q.sum() - 1) < 1e-12 and (q >= -1e-15).all() and np.abs(q - p).sum() <= b + 1e-12
    I = np.eye(S)
    lp = linprog(np.r_[v, np.zeros(S)], np.block([[I, -I], [-I, -I], [np.zeros((1, S)), np.ones((1, S))]]),
                 np.r_[p, -p, b], np.r_[np.ones(S), np.zeros(S)][None], [1.0])
    assert q @ v == pytest.approx(lp.fun, abs=NEAR)


@pytest.mark.parametrize("seed", range(5))
def test_l1_balls_against_sweeps(seed):
    m = world(40 + seed, 5, 2, 0.8)
    b = np.random.default_rng(seed).random((5, 2))
    v = np.zeros(5)
    for _ in range(150):
        v = (m.r + 0.8 * (robust.worst_in_ball(m.dense, b, v) * v).sum(-1)).max(1)
    s = robust.solve_l1(m, b)
    assert (s.lo - NEAR <= v).all() and (v <= s.hi + NEAR).all() and s.width < NEAR


def test_larger_balls_are_worse_and_the_largest_is_the_worst_state():
    m = world(60, 5, 2)
    values = [robust.solve_l1(m, b).value for b in (0.0, 0.1, 0.5, 1.0, 2.0)]
    assert all((a >= b - NEAR).all() for a, b in pairwise(values))
    last = robust.solve_l1(m, 2.0).value
    np.testing.assert_allclose(last, m.r.max(1) + 0.9 * last.min(), atol=NEAR)


@pytest.mark.parametrize(("call", "message"), [
    (lambda: robust.solve_l1(world(0), 3.0), "radius"),
    (lambda: robust.solve_l1(world(0), np.zeros((3, 2))), "radius"),
    (lambda: robust.solve_finite(world(0), np.ones((2, 4, 2, 4))), r"kernels\[0, 0, 0"),
    (lambda: robust.solve_finite(world(0), kernels(0, 2, 4, 2), tier="ball"), "tier"),
    (lambda: robust.solve_finite(None, kernels(0, 2, 4, 2)), "model"),
])
def test_bad_input(call, message):
    with pytest.raises(MdpkitError, match=message):
        call()
