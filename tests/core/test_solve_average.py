"""Average reward: uni- and multichain, in floats and rationals, against all policies and against linear programmes."""

from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from scipy.optimize import linprog

from mdpkit.errors import MdpkitError
from mdpkit.instances.chains import cycle, riverswim
from mdpkit.models.tabular import TabularMDP
from mdpkit.solve import average, discounted

LOOSE = 1e-7             # what scipy's LP is good for
NEAR = 1e-9


def world(seed, S=5, A=2, most=2):
    """Few successors a row: several components, transient states, periodic classes."""
    rng = np.random.default_rng(seed)
    P = np.zeros((S, A, S))
    for s, a in np.ndindex(S, A):
        ends = rng.choice(S, rng.integers(1, most + 1), replace=False)
        P[s, a, ends] = rng.integers(1, 4, len(ends))
    return TabularMDP(P / P.sum(-1, keepdims=True), rng.integers(-2, 5, (S, A)) / 4, 0.0, np.full(S, 1 / S))


def cesaro(model, policy, n=4096):
    """Mean of P^0 r .. P^(n-1) r by doubling."""
    P, r = model.dense[np.arange(model.S), policy], model.r[np.arange(model.S), policy]
    mean, power, k = r, P, 1
    while k < n:
        mean, power, k = (mean + power @ mean) / 2, power @ power, 2 * k
    return mean


@pytest.mark.parametrize("seed", range(60))
def test_against_all_policies(seed):
    model = world(seed, 3 + seed % 3, 2, 1 + seed % 3)
    best = np.max([average.evaluate(model, np.array(p))[0] for p in product(range(2), repeat=model.S)], axis=0)
    for tier in ("float", "exact"):
        s = average.solve(model, tier=tier)
        np.testing.assert_allclose(s.value, best, rtol=0, atol=NEAR)
        np.testing.assert_allclose(average.evaluate(model, s.policy)[0], best, rtol=0, atol=NEAR)
        assert (s.lo <= s.hi).all() and s.width < NEAR and s.optimal[np.arange(model.S), s.policy].all()


@pytest.mark.parametrize("seed", range(25))
def test_floats_enclose_the_rationals(seed):
    model = world(100 + seed, 9, 3, 3)
    near, exact = average.solve(model), average.solve(model, tier="exact")
    for lo, hi, g in zip(near.lo, near.hi, exact.certificate.exact):
        assert isinstance(g, Fraction) and Fraction(lo) <= g <= Fraction(hi)


@pytest.mark.parametrize("seed", range(20))
def test_gain_and_bias_of_a_policy(seed):
    """g = P g, g + h = r + P h, the bias is a Cesaro limit, and its stationary means are 0."""
    rng = np.random.default_rng(seed)
    model = world(200 + seed, 6, 2, 2)
    policy = rng.integers(0, 2, model.S)
    g, h = average.evaluate(model, policy)
    P, r = model.dense[np.arange(model.S), policy], model.r[np.arange(model.S), policy]
    np.testing.assert_allclose(P @ g, g, rtol=0, atol=NEAR)
    np.testing.assert_allclose(g + h, r + P @ h, rtol=0, atol=NEAR)
    np.testing.assert_allclose(cesaro(model, policy, 2**30), g, rtol=0, atol=1e-6)
    limit = np.linalg.matrix_power((np.eye(model.S) + P) / 2, 2**20)
    np.testing.assert_allclose(limit @ h, 0.0, rtol=0, atol=1e-8)
    both = average.evaluate(model, np.eye(2)[policy])
    np.testing.assert_allclose(both[0], g, rtol=0, atol=NEAR)


@pytest.mark.parametrize("seed", range(10))
def test_against_the_multichain_linear_programme(seed):
    """min sum g subject to g >= P_a g and g + h >= r_a + P_a h (Puterman, section 9.3)."""
    model = world(300 + seed, 20, 3, 3)
    S, A = model.S, model.A
    D = np.repeat(np.eye(S), A, 0) - model.dense.reshape(-1, S)
    zero, I = np.zeros_like(D), np.repeat(np.eye(S), A, 0)
    x = linprog(np.r_[np.ones(S), np.zeros(S)], -np.block([[D, zero], [I, D]]),
                -np.r_[np.zeros(S * A), model.r.ravel()], bounds=(None, None)).x
    np.testing.assert_allclose(average.solve(model).value, x[:S], rtol=0, atol=LOOSE)


def test_known_gains():
    s = average.solve(cycle(7, 0.0))
    assert s.width < 1e-12, "periodic chains are no trouble"
    swim = riverswim(6)
    s = average.solve(swim, tier="exact")
    slow = discounted.solve(TabularMDP(swim.dense, swim.r, 1 - 2.0**-20, swim.rho))
    np.testing.assert_allclose(s.value, 2.0**-20 * slow.value, rtol=0, atol=1e-4)
    assert len(set(s.certificate.exact)) == 1, "one gain, exactly: the river communicates"
    assert (s.policy == 1).all()


def test_staying_where_it_pays_and_leaving_where_it_does_not():
    """Two islands that pay 1 and 2, a ferry from the first to the second, and a state that drifts to either."""
    P = np.zeros((3, 2, 3))
    P[0, 0, 0] = P[0, 1, 1] = P[1, :, 1] = 1.0
    P[2, :, :2] = 0.5
    r = [[1.0, 0.0], [2.0, 2.0], [50.0, 0.0]]
    s = average.solve(TabularMDP(P, r, 0.0, [0.0, 0.0, 1.0]), tier="exact")
    assert s.certificate.exact == (2, 2, 2) and s.policy[0] == 1
    P[0, 1] = [1.0, 0.0, 0.0]
    s = average.solve(TabularMDP(P, r, 0.0, [0.0, 0.0, 1.0]), tier="exact")
    assert s.certificate.exact == (1, 2, Fraction(3, 2)), "without the ferry the gain depends on the start"


@pytest.mark.parametrize(("call", "message"), [
    (lambda: average.solve(None), "model"),
    (lambda: average.solve(world(0), tier="ball"), "tier must be one of"),
    (lambda: average.evaluate(world(0), np.full(5, 7)), "policy"),
    (lambda: average.solve(world(0), -1.0), "tol"),
])
def test_bad_input(call, message):
    with pytest.raises(MdpkitError, match=message):
        call()
