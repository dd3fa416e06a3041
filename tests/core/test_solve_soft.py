"""Entropy-regularised optima against 40 digits, balls, limits and closed forms."""

from __future__ import annotations

import math

import numpy as np
import oracles
import pytest

from mdpkit import validate
from mdpkit.errors import MdpkitError, NotCertified
from mdpkit.instances import chains
from mdpkit.models.tabular import EpisodicMDP, TabularMDP
from mdpkit.solve import discounted, episodic, soft

ROUND = 1e-9
TAUS = (1e-9, 1e-3, 0.1, 1.0, 30.0, 1e4)
TINY = [(seed, tau) for seed in range(4) for tau in TAUS]


def world(rng, gamma, S, A, scale=1.0):
    return TabularMDP(rng.dirichlet(np.ones(S), (S, A)), rng.normal(size=(S, A)) * scale, gamma, np.eye(S)[0],
                      flush=True)


def episodes(rng, H, S, A, scale=1.0):
    return EpisodicMDP(rng.dirichlet(np.ones(S), (H, S, A)), rng.normal(size=(H, S, A)) * scale, np.eye(S)[0],
                       flush=True)


def prior(rng, *shape):
    """A law of full support whose smallest entries are some 1e-4."""
    weights = 10.0 ** rng.uniform(-4, 0, shape)
    return weights / weights.sum(-1, keepdims=True)


def best(*args, **options):
    try:
        return soft.solve(*args, **options)
    except NotCertified as e:
        return e.solution


def inside(solution, values):
    """Both ends against values of 40 digits."""
    import mpmath

    with mpmath.workdps(40):
        return all(mpmath.mpf(a) <= v <= mpmath.mpf(b)
                   for a, v, b in zip(solution.lo.tolist(), values, solution.hi.tolist()))


def true_prior(mu):
    """The prior as it is stored: canonical."""
    mu = np.asarray(mu)
    return validate.policy("mu", mu, mu.shape).tolist()


# Against 40 digits -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("seed", "tau"), TINY)
def test_discounted_against_forty_digits(seed, tau):
    rng = np.random.default_rng([1, seed])
    model = world(rng, 0.5, S=1 + seed % 3, A=1 + seed % 4, scale=10.0 ** (seed - 2))
    # 0.5**150 = 7e-46 of values up to 1e5: the oracle's error is in its fortieth digit
    values = oracles.soft_optimum(model.P.tolist(), model.r.tolist(), 0.5, tau, np.ones(model.r.shape), 150)
    for tier in ("float", "ball"):
        assert inside(best(model, tau, tier=tier), values)
        assert inside(best(model, tau, 0.0, tier=tier), values)


@pytest.mark.parametrize(("seed", "tau"), TINY)
def test_float_tier_with_a_prior_against_forty_digits(seed, tau):
    rng = np.random.default_rng([2, seed])
    model = world(rng, 0.5, S=1 + seed % 3, A=1 + seed % 4, scale=10.0 ** (seed - 2))
    mu = prior(rng, *model.r.shape)
    values = oracles.soft_optimum(model.P.tolist(), model.r.tolist(), 0.5, tau, true_prior(mu), 150)
    assert inside(best(model, tau, prior=mu), values)
    assert inside(best(model, tau, 0.0, prior=mu), values)


@pytest.mark.parametrize(("seed", "tau"), TINY)
def test_ball_tier_with_a_prior_against_forty_digits(seed, tau):
    rng = np.random.default_rng([2, seed])
    model = world(rng, 0.5, S=1 + seed % 3, A=1 + seed % 4, scale=10.0 ** (seed - 2))
    mu = prior(rng, *model.r.shape)
    values = oracles.soft_optimum(model.P.tolist(), model.r.tolist(), 0.5, tau, true_prior(mu), 150)
    assert inside(best(model, tau, 0.0, prior=mu, tier="ball"), values)


def test_a_prior_without_rewards_is_worth_nothing():
    """tau log sum mu = 0 in every tier, also where log mu is no float."""
    model, mu = TabularMDP(np.full((2, 3, 2), 0.5), np.zeros((2, 3)), 0.9, [1.0, 0.0]), [[0.2, 0.3, 0.5], [1 / 3] * 3]
    for tier in ("float", "ball"):
        solution = best(model, 1.0, prior=mu, tier=tier)
        assert (solution.lo <= 0).all() and (solution.hi >= 0).all(), tier


@pytest.mark.parametrize(("seed", "tau"), TINY)
def test_episodic_against_forty_digits(seed, tau):
    rng = np.random.default_rng([3, seed])
    model = episodes(rng, H=4, S=1 + seed % 3, A=1 + seed % 4, scale=10.0 ** (seed - 2))
    ones, mu = np.ones(model.r.shape), prior(rng, *model.r.shape)
    values = oracles.soft_induction(model.P.tolist(), model.r.tolist(), tau, ones.tolist())
    under = oracles.soft_induction(model.P.tolist(), model.r.tolist(), tau, true_prior(mu))
    for h in range(4):
        for solution, truth in ((best(model, tau), values), (best(model, tau, tier="ball"), values),
                                (best(model, tau, prior=mu), under)):
            part = type(solution)(*(x[h] for x in (solution.value, solution.lo, solution.hi)), None, None, 0, None)
            assert inside(part, truth[h])


# Floats against balls ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("gamma", [0.0, 0.5, 0.9, 0.99, 0.999])
@pytest.mark.parametrize("tau", TAUS)
def test_floats_enclose_balls(gamma, tau):
    rng = np.random.default_rng([4, int(gamma * 1000), TAUS.index(tau)])
    for k in range(12):
        S, A = int(rng.integers(1, 7)), int(rng.integers(1, 5))
        model, mu = world(rng, gamma, S, A, scale=10.0 ** rng.uniform(-3, 3)), prior(rng, S, A) if k % 2 else None
        ball = best(model, tau, 0.0, prior=mu, tier="ball")
        for solution in (best(model, tau, prior=mu), best(model, tau, 0.0, prior=mu)):
            assert (solution.lo <= ball.lo).all() and (ball.hi <= solution.hi).all()
        # the enclosure of a value closes to about two neighbouring floats (three ulps of slack in the ends)
        assert (ball.hi - ball.lo <= 4 * np.spacing(np.abs(ball.lo)) + 1e-300).all()


@pytest.mark.parametrize("tau", TAUS)
def test_floats_enclose_balls_step_by_step(tau):
    rng = np.random.default_rng([5, TAUS.index(tau)])
    for k in range(8):
        model = episodes(rng, H=5, S=4, A=3, scale=10.0 ** rng.uniform(-3, 3))
        mu = prior(rng, 5, 4, 3) if k % 2 else None
        solution, ball = soft.solve(model, tau, prior=mu), soft.solve(model, tau, prior=mu, tier="ball")
        assert (solution.lo <= ball.lo).all() and (ball.hi <= solution.hi).all()


def test_slow_chains():
    for model in (chains.cycle(7, 0.999), chains.haddad_monmege(7, 0.999), chains.riverswim(6, 0.9999)):
        ball, solution = soft.solve(model, 0.1, tier="ball"), soft.solve(model, 0.1, 1e-3)
        assert (solution.lo <= ball.lo).all() and (ball.hi <= solution.hi).all()


def test_a_temperature_near_zero_is_served_in_balls():
    """At tau = 1e-40 the quotient Q/tau has more digits than the first precision."""
    model = world(np.random.default_rng(6), 0.9, 2, 2)
    exact = discounted.solve(model, tier="exact")
    ball = soft.solve(model, 1e-40, tier="ball")
    # tau log 2 / (1 - gamma) = 7e-40 is less than the spacing of floats here
    assert (ball.lo <= exact.hi).all() and (exact.lo <= ball.hi).all()


# Limits and identities ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tau", [1e-12, 1e-6, 1e-2, 1.0])
@pytest.mark.parametrize("seed", range(5))
def test_small_temperatures_bracket_the_optimum(seed, tau):
    rng = np.random.default_rng([7, seed])
    model, model_h = world(rng, 0.9, 5, 3), episodes(rng, 4, 3, 3)
    exact, exact_h = (s.solve(m, math.inf, tier="exact") for s, m in ((discounted, model), (episodic, model_h)))
    bonus, bonus_h = tau * math.log(3) / (1 - 0.9), tau * math.log(3) * np.arange(4, 0, -1)[:, None]
    for tier in ("float", "ball"):
        for solution, truth, most in ((soft.solve(model, tau, tier=tier), exact, bonus),
                                      (soft.solve(model_h, tau, tier=tier), exact_h, bonus_h)):
            assert (solution.hi >= truth.lo).all()                                     # V* <= V_tau
            assert (solution.lo <= truth.hi + most * (1 + 2.0**-40)).all()             # <= V* + tau log A / (1-gamma)


def test_a_prior_lowers_the_value():
    rng = np.random.default_rng(8)
    model, mu = world(rng, 0.9, 4, 3), prior(rng, 4, 3)
    free, exact = soft.solve(model, 0.5), discounted.solve(model, tier="exact")
    held = soft.solve(model, 0.5, prior=mu)
    uniform = soft.solve(model, 0.5, prior=np.full((4, 3), 1 / 3))
    assert (held.lo <= exact.hi).all() and (held.lo <= free.hi).all()
    np.testing.assert_allclose(uniform.value, free.value - 0.5 * math.log(3) / (1 - 0.9), atol=2 * uniform.width)


@pytest.mark.parametrize("tier", ["float", "ball"])
def test_policy_attains_the_value(tier):
    rng = np.random.default_rng(9)
    model, mu, tau = world(rng, 0.9, 4, 3), prior(rng, 4, 3), 0.3
    solution = soft.solve(model, tau, prior=mu, tier=tier)
    pi, V = solution.policy, solution.value
    np.testing.assert_allclose(pi.sum(-1), 1, atol=1e-12)
    Q = model.r + 0.9 * np.einsum("sat,t->sa", model.P, V)
    # stationary at the optimum: an error of 1e-8 in V (the default width) moves this by its square, and Q by itself
    np.testing.assert_allclose((pi * (Q - tau * np.log(pi / mu))).sum(-1), V, atol=1e-7)
    np.testing.assert_allclose(soft.policy_of(Q, tau, np.log(mu)), pi, atol=1e-7)


def test_one_action_has_no_entropy():
    model = chains.cycle(3, 0.5)
    truth = discounted.solve(model, tier="exact")
    for tau in TAUS:
        assert (best(model, tau).lo <= truth.lo).all() and (truth.hi <= best(model, tau).hi).all()
    solution = best(TabularMDP(np.ones((1, 4, 1)), np.zeros((1, 4)), 0.5, [1.0]), 1.0)
    assert abs(solution.value[0] - 2 * math.log(4)) < ROUND


@pytest.mark.parametrize("tau", TAUS)
@pytest.mark.parametrize("A", [1, 3])
def test_the_default_tolerance_is_reached(A, tau):
    rng = np.random.default_rng([12, A])
    for gamma in (0.0, 0.9, 0.99):
        soft.solve(world(rng, gamma, 4, A, scale=1e-3), tau)
    soft.solve(episodes(rng, 4, 3, A, scale=1e-3), tau)
    soft.solve(TabularMDP(np.ones((1, A, 1)), np.zeros((1, A)), 0.9, [1.0]), tau)


def test_there_is_no_exact_tier():
    rng = np.random.default_rng(10)
    for model in (world(rng, 0.9, 2, 2), episodes(rng, 2, 2, 2)):
        with pytest.raises(MdpkitError, match=r"^tier must be 'float' or 'ball': exp and log leave the rationals"):
            soft.solve(model, 1.0, tier="exact")


def test_an_unreachable_tolerance_keeps_its_enclosure():
    model = world(np.random.default_rng(11), 0.99, 4, 2)
    ball = soft.solve(model, 0.1, tier="ball")
    with pytest.raises(NotCertified, match=r"raise tol, or use tier='ball'") as caught:
        soft.solve(model, 0.1, 0.0)
    kept = caught.value.solution
    assert (kept.lo <= ball.lo).all() and (ball.hi <= kept.hi).all() and kept.width > 0
    with pytest.raises(NotCertified, match="no two floats are closer"):
        soft.solve(model, 0.1, 0.0, tier="ball")
