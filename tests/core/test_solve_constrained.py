"""Constrained MDPs: against the linear programme over occupancies, and their own certificates."""

from fractions import Fraction

import numpy as np
import pytest
from scipy.optimize import linprog

from mdpkit.errors import MdpkitError
from mdpkit.measure.values import start_value
from mdpkit.models.tabular import TabularMDP
from mdpkit.solve import constrained, discounted

LOOSE = 1e-6             # what scipy's LP is good for


def world(seed, S=5, A=3, m=1):
    rng = np.random.default_rng(seed)
    P, r = rng.dirichlet(np.ones(S), (S, A)), rng.random((S, A))
    model = TabularMDP(P, r, 0.9, rng.dirichlet(np.ones(S)), flush=True)
    return model, rng.random((m, S, A))


def occupancy_programme(model, c, b):
    S, A = model.S, model.A
    flow = np.repeat(np.eye(S), A, 0) - model.gamma * model.dense.reshape(-1, S)
    lp = linprog(-model.r.ravel(), A_ub=c.reshape(len(c), -1), b_ub=b, A_eq=flow.T, b_eq=model.rho)
    return -lp.fun if lp.status == 0 else None


def priced(model, r, policy):
    return start_value(TabularMDP(model.P, r, model.gamma, model.rho), policy)


@pytest.mark.parametrize("seed", range(25))
def test_against_the_programme_over_occupancies(seed):
    m = 1 + seed % 3
    model, c = world(seed, m=m)
    least = np.array([-discounted.solve(TabularMDP(model.P, -x, 0.9, model.rho)).value @ model.rho for x in c])
    free = np.array([priced(model, x, discounted.solve(model).policy) for x in c])
    b = 0.5 * (least + free) + 0.3 * (m > 1)
    value = occupancy_programme(model, c, b)
    if value is None:
        with pytest.raises(MdpkitError, match="limits must be kept by some policy"):
            constrained.solve(model, c, b)
        return
    s = constrained.solve(model, c, b)
    assert s.lo - LOOSE <= value <= s.hi + LOOSE and s.width < 1e-6
    assert (s.costs <= b + 1e-12).all() and s.weights.sum() == pytest.approx(1.0, abs=1e-12)
    for r, low in ((model.r, s.lo),):
        mixture = sum(w * priced(model, r, p) for w, p in zip(s.weights, s.policies))
        assert mixture == pytest.approx(priced(model, r, s.policy), abs=1e-8) and mixture >= low - 1e-12
    for x, limit in zip(c, b):
        assert priced(model, x, s.policy) <= limit + 1e-9


def test_limits_that_do_not_bind_cost_nothing():
    model, c = world(50)
    s = constrained.solve(model, c, [1e3])
    best = discounted.solve(model)
    assert s.lo <= best.at(model.rho)[1] and best.at(model.rho)[0] <= s.hi and s.prices[0] < 1e-9
    assert len(s.weights) == 1


def test_mixing_is_needed():
    """One state, two actions: reward 1 at cost 1, or nothing; half of either keeps the limit."""
    model = TabularMDP(np.ones((1, 2, 1)), [[1.0, 0.0]], 0.5, [1.0])
    s = constrained.solve(model, [[[1.0, 0.0]]], [1.0])
    assert s.lo == pytest.approx(1.0, abs=1e-7) and s.prices[0] == pytest.approx(1.0, abs=1e-6)
    np.testing.assert_allclose(np.sort(s.weights), [0.5, 0.5], atol=1e-6)
    np.testing.assert_allclose(s.policy, [[0.5, 0.5]], atol=1e-6)


def test_what_cannot_be_kept_is_said():
    model, c = world(60)
    with pytest.raises(MdpkitError, match="limits must be kept by some policy"):
        constrained.solve(model, c, [0.01])


@pytest.mark.parametrize(("call", "message"), [
    (lambda: constrained.solve(None, [], []), "model"),
    (lambda: constrained.solve(world(0)[0], np.zeros((1, 2, 3)), [1.0]), "costs"),
    (lambda: constrained.solve(*world(0), [1.0, 2.0]), "limits"),
])
def test_bad_input(call, message):
    with pytest.raises(MdpkitError, match=message):
        call()


@pytest.mark.parametrize("seed", range(12))
def test_the_exact_tier_proves_its_optimum(seed):
    """Weights, limits and prices in rationals, and strong duality; the float enclosure holds it."""
    m = 1 + seed % 2
    model, c = world(seed, S=3, A=2, m=m)
    least = np.array([-discounted.solve(TabularMDP(model.P, -x, 0.9, model.rho)).value @ model.rho for x in c])
    b = np.round(least * 1.2 + 0.3 * (m > 1), 3)
    try:
        rough = constrained.solve(model, c, b)
    except MdpkitError as e:
        assert "limits" in str(e)
        return
    s = constrained.solve(model, c, b, tier="exact")
    value, *weights = s.certificate.exact
    assert sum(weights) == 1 and min(weights) > 0 and rough.lo <= value <= rough.hi
    assert s.lo <= value <= s.hi and s.width < 1e-12 and (s.costs <= b + 1e-12).all()
    own = sum(w * priced(model, model.r, p) for w, p in zip(s.weights, s.policies))
    assert own == pytest.approx(float(value), abs=1e-9)
    tilted = discounted.solve(TabularMDP(model.P, model.r - np.tensordot(s.prices, c, 1), 0.9, model.rho))
    assert tilted.value @ model.rho + s.prices @ b == pytest.approx(float(value), abs=1e-7)


def test_half_and_half_exactly():
    model = TabularMDP(np.ones((1, 2, 1)), [[1.0, 0.0]], 0.5, [1.0])
    s = constrained.solve(model, [[[1.0, 0.0]]], [1.0], tier="exact")
    assert s.certificate.exact == (1, Fraction(1, 2), Fraction(1, 2)) and s.prices.tolist() == [1.0]
    with pytest.raises(MdpkitError, match="exact"):
        big = TabularMDP(np.ones((61, 1, 61)) / 61, np.ones((61, 1)), 0.5, np.ones(61) / 61)
        constrained.solve(big, np.ones((1, 61, 1)), [9.0], tier="exact")
