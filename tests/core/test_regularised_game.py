"""Regularised equilibria: published digits, the fixed point, an enclosure that holds, and gaps in closed form."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from mdpkit import losses
from mdpkit.errors import MdpkitError, NotCertified
from mdpkit.instances.games import rock_paper_scissors
from mdpkit.instances.preferences import DOMINATED_WINNER, dominated_cycle, weighted_cycle
from mdpkit.kernels.mirror import kl, mirror, times
from mdpkit.measure import divergences
from mdpkit.measure.exploitability import duality_gap, preference_gap, regularised_gap
from mdpkit.octets import law, octets, preference
from mdpkit.solve import matrix_game
from mdpkit.solve.regularised_game import descend, preference_nash, solve

EXACT = 1e-12
ROUND, SOLVER = 1e-9, 1e-6
CYCLE = weighted_cycle(0.4, 0.3, 0.3).p[0]
REF = np.array([0.6, 0.3, 0.1])


@st.composite
def games(draw):
    n, m = (draw(st.integers(1, 4)) for _ in range(2))
    A, alpha = octets(draw, n, m) % 33 / 16 - 1, draw(st.sampled_from([1.0, 0.1, 0.02, 8.0]))
    return A, alpha, law(draw, n, weights=(1, 4, 64)), law(draw, m, weights=(1, 4, 64))


@pytest.mark.parametrize("beta, wanted", [
    (0.2, [0.6270209176787251, 0.13763075067521327, 0.23534833164606161]),
    (0.1, [0.4927473325988286, 0.15414695958077146, 0.3531057078203999])])
def test_two_published_policies(beta, wanted):
    found = preference_nash(CYCLE, REF, beta)
    np.testing.assert_allclose(found.x, wanted, rtol=0, atol=EXACT)
    np.testing.assert_allclose(found.y, wanted, rtol=0, atol=EXACT)
    assert found.lo <= 0.5 <= found.hi and found.width < EXACT


def test_a_published_quantal_response():
    found = solve([[0, 2, -1], [-1, 0, 1], [1, -1, 0]], 0.5)
    np.testing.assert_allclose(found.x, [0.31991343418036977, 0.3128341830965356, 0.36725238272309463], atol=EXACT)
    np.testing.assert_allclose(found.y, [0.3600626698912052, 0.23275014224549717, 0.40718719786329755], atol=EXACT)


@given(games())
def test_the_fixed_point_and_the_enclosure(game):
    """Any strategies give a lower and an upper bound; those found are each other's Gibbs response."""
    A, alpha, rho_x, rho_y = game
    g = solve(A, alpha, rho_x, rho_y)
    for log_z, log_rho, q in ((g.log_x, np.log(rho_x), A @ g.y), (g.log_y, np.log(rho_y), -A.T @ g.x)):
        # a distance of d in KL is at most sqrt(2 d) in l1 (Pinsker), and moves q by max|A| of it
        assert np.abs(np.exp(losses.gibbs(log_rho, q, alpha)) - np.exp(log_z)).max() < SOLVER
    other = np.full(A.shape[1], 1 / A.shape[1])
    f = lambda x, y: (np.exp(x) @ A @ np.exp(y) - alpha * (np.exp(x) @ (x - np.log(rho_x)))
                      + alpha * (np.exp(y) @ (y - np.log(rho_y))))
    assert g.lo <= f(g.log_x, np.log(other)) + EXACT and f(g.log_x, g.log_y) <= g.hi + EXACT
    assert g.distance >= 0 and g.width <= 1e-9 * (np.abs(A).max() + alpha)


@given(games())
def test_the_gap_bounds_the_distance_of_any_pair(game):
    """alpha (KL(x, x*) + KL(y, y*)) <= gap, for the references as strategies."""
    A, alpha, rho_x, rho_y = game
    g = solve(A, alpha, rho_x, rho_y)
    hi = alpha * losses.log_sum_exp(np.log(rho_x) + A @ rho_y / alpha)
    lo = -alpha * losses.log_sum_exp(np.log(rho_y) - A.T @ rho_x / alpha)
    far = divergences.kl(rho_x, g.x) + divergences.kl(rho_y, g.y)
    assert alpha * far <= hi - lo + 1e-9 * (1 + alpha)          # kl of a policy that is off by g.distance


def test_a_small_weight_comes_near_the_von_neumann_winner():
    p = dominated_cycle().p[0]
    found = preference_nash(p, np.full(4, 0.25), 1e-3)
    np.testing.assert_allclose(found.x, DOMINATED_WINNER, atol=0.02)      # of order beta / margin
    assert preference_gap(p, found.x) < 1e-2
    assert preference_gap(p, matrix_game.solve(p).x) < SOLVER


def test_gaps_by_definition():
    pi = np.array([[0.2, 0.3, 0.5], [1.0, 0.0, 0.0]])
    np.testing.assert_allclose(preference_gap(CYCLE, pi), (pi @ CYCLE.T).max(-1) - 0.5, atol=EXACT)
    A = rock_paper_scissors().r[0, 0, 0]
    np.testing.assert_allclose(duality_gap(A, pi, pi[::-1]), (pi[::-1] @ A.T).max(-1) - (pi @ A).min(-1), atol=EXACT)
    best = losses.gibbs(np.log(REF), CYCLE @ pi[0], 0.1)
    against = lambda a, b: (np.exp(a) @ CYCLE @ np.exp(b) - 0.1 * np.exp(a) @ (a - np.log(REF))
                            + 0.1 * np.exp(b) @ (b - np.log(REF)))
    got = regularised_gap(CYCLE, np.log(pi[0]), np.log(REF), 0.1)
    assert abs(got - (against(best, np.log(pi[0])) - 0.5)) < EXACT
    with np.errstate(divide="ignore"):
        assert np.isfinite(regularised_gap(CYCLE, np.log(pi), np.log(REF), 0.1)).all()
    assert abs(regularised_gap(CYCLE, preference_nash(CYCLE, REF, 0.1).log_x, np.log(REF), 0.1)) < EXACT


@given(st.data())
def test_drawn_preferences_are_complementary(data):
    p = preference(data.draw, data.draw(st.integers(1, 6)))
    assert (p + p.T == 1).all() and (p >= 0).all()


def test_a_mirror_step_and_its_parts():
    rng = np.random.default_rng(0)
    u, v, g = (losses.log_softmax(rng.normal(size=5) * 10) for _ in range(3))
    out, A = np.empty(5), rng.random((4, 5))
    mirror(0.5, u, 0.25, v, 2.0, g, out)
    np.testing.assert_allclose(out, losses.log_softmax(0.5 * u + 0.25 * v + 2 * g), atol=EXACT)
    mirror(0.5, u, 0.25, v, 2.0, g, u)
    np.testing.assert_array_equal(u, out)
    won = np.empty(4)
    times(A, v, won)
    np.testing.assert_allclose(won, A @ np.exp(v), atol=EXACT)
    assert abs(kl(u, v) - divergences.kl(np.exp(u), np.exp(v))) < EXACT


def test_refusals():
    with pytest.raises(MdpkitError, match="alpha"):
        solve([[1.0]], 0.0)
    with pytest.raises(MdpkitError, match=r"rho_x\[1\]"):
        solve(np.eye(2), 1.0, [1.0, 0.0])
    with pytest.raises(MdpkitError, match="payoff"):
        solve([1.0], 1.0)
    with pytest.raises(NotCertified):
        solve(np.eye(2), 1.0, tol=1e-300)
    with pytest.raises(MdpkitError, match="pi"):
        preference_gap(CYCLE, [0.5, 0.6, 0.1])


def test_magnetic_mirror_descent_in_one_pass():
    """Against the formula; and linear convergence, by the factor of the theorem, to the certified equilibrium."""
    A = np.random.default_rng(1).normal(size=(7, 5))
    u, v = (np.full(k, -np.log(k)) for k in A.shape)
    for _ in range(30):
        up, down = A @ np.exp(v), A.T @ np.exp(u)
        u, v = losses.log_softmax((u + 0.1 * up) / 1.02), losses.log_softmax((v - 0.1 * down) / 1.02)
    got = descend(A, 0.2, 0.1, 30)
    np.testing.assert_allclose(got[0], u, atol=EXACT)
    np.testing.assert_allclose(got[1], v, atol=EXACT)
    star, eta = solve(A, 0.2), 0.2 / float(np.abs(A).max()) ** 2
    far = lambda z: divergences.kl(star.x, np.exp(z[0])) + divergences.kl(star.y, np.exp(z[1]))
    one, ten = (descend(A, 0.2, eta, n) for n in (1, 11))
    assert far(ten) <= far(one) / (1 + eta * 0.2) ** 10 + ROUND
    again = descend(A, 0.2, eta, 10, start=one)
    np.testing.assert_allclose(again[0], ten[0], atol=EXACT)
    with pytest.raises(MdpkitError, match="eta"):
        descend(A, 0.2, 0.0, 1)
