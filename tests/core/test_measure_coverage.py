"""Coverage against enumeration, linear algebra and the numbers of papers."""

from __future__ import annotations

import functools
import math

import numpy as np
import oracles
import pytest
from core.models_given import EXACT, ROUND, SEEDS, discounted, episodic

from mdpkit.measure import coverage, divergences, occupancy, values
from mdpkit.models.bandits import Bandit, ContextualBandit
from mdpkit.models.tabular import EpisodicMDP


def second_moment(squares, law):
    return (law[..., None, None] * squares).sum((-4, -3)).reshape(-1, 3, 3)


def formula():
    """The instance F(4, 3, 5) of Song et al.'s card, its pi_e and its uniform nu."""
    h, s, a, z = np.ogrid[:5, :4, :3, :4]
    P = 1.0 + (7 * h + 5 * s + 3 * a + 11 * z + s * a * z) % 13
    h, s, a = np.ogrid[:5, :4, :3]
    pi = 1.0 + (h + 2 * s + 3 * a + s * a) % 5
    model = EpisodicMDP(P / P.sum(-1, keepdims=True), (3 * h + 2 * s + 5 * a + s * a) % 7 / 6, np.full(4, 0.25))
    return model, pi / pi.sum(-1, keepdims=True), np.full((5, 4, 3), 1 / 12)


def test_reference_values_of_hybrid_q_learning():
    model, pi, nu = formula()
    assert abs(values.optimal_start_value(model) - 3.668448553320072) < EXACT
    assert abs(values.start_value(model, pi) - 2.6335790137133457) < EXACT
    assert abs(coverage.transfer_coefficient(model, pi, nu) - 2.409251567060922) < EXACT
    assert abs(math.sqrt(5 * coverage.single_policy_concentrability(model, pi, nu)) - 3.1260042016084895) < EXACT


def test_transfer_coefficient_when_the_policy_made_the_data():
    model, pi, _ = episodic(3)
    assert abs(coverage.transfer_coefficient(model, pi, occupancy.occupancy(model, pi)) - math.sqrt(3)) < EXACT
    model, pi, _ = discounted(3)
    assert abs(coverage.transfer_coefficient(model, pi, occupancy.occupancy(model, pi)) - 1) < EXACT


@pytest.mark.parametrize("seed", SEEDS)
def test_concentrability_by_enumeration(seed):
    model, pi, rng = episodic(seed)
    nu = rng.dirichlet(np.ones(6), 3).reshape(3, 3, 2)
    every = [coverage.single_policy_concentrability(model, p, nu) for p in oracles.deterministic_policies(3, 3, 2)]
    # ratios of size max(every): relative
    assert abs(coverage.concentrability(model, nu) / max(every) - 1) < EXACT
    d = occupancy.occupancy(model, pi)
    assert abs(coverage.single_policy_concentrability(model, pi, nu) / (d / nu).max() - 1) < EXACT
    cut = np.where(d > 0, 0.0, nu)
    if (cut.sum((1, 2)) > 0).all():
        cut /= cut.sum((1, 2), keepdims=True)
        for c in (coverage.concentrability(model, cut), coverage.single_policy_concentrability(model, pi, cut),
                  coverage.transfer_coefficient(model, pi, cut)):
            assert c == math.inf
    away = np.where(d > 0, nu, 0.0)
    away /= away.sum((1, 2), keepdims=True)
    assert math.isfinite(coverage.single_policy_concentrability(model, pi, away))
    model, pi, _ = discounted(seed, S=3, A=2)
    nu = rng.dirichlet(np.ones(6)).reshape(3, 2)
    every = [coverage.single_policy_concentrability(model, p[0], nu) for p in oracles.deterministic_policies(1, 3, 2)]
    assert abs(coverage.concentrability(model, nu) / max(every) - 1) < EXACT


@pytest.mark.parametrize("seed", SEEDS)
def test_linear_coverage(seed):
    for model, pi, rng in (episodic(seed), discounted(seed)):
        shape = model.r.shape
        pairs = shape[-2] * shape[-1]
        nu = rng.dirichlet(np.ones(pairs), shape[:-2]).reshape(shape)
        one_hot = np.eye(pairs).reshape(*shape[-2:], pairs)
        d = occupancy.occupancy(model, pi)
        C = coverage.transfer_coefficient(model, pi, nu)
        assert abs(coverage.transfer_coefficient(model, pi, nu, one_hot) / C - 1) < ROUND
        # with one-hot features both second moments are diagonal
        ratio = coverage.relative_condition_number(model, pi, nu, one_hot)
        assert abs(ratio / coverage.single_policy_concentrability(model, pi, nu) - 1) < ROUND
        phi = rng.normal(size=(*shape, 3))
        squares = phi[..., :, None] * phi[..., None, :]
        sigma = functools.partial(second_moment, squares)
        mu = np.einsum("...sa,...sai->...i", d, phi).reshape(-1, 3)
        # normal equations square the condition number of the features, here below 1e3: 1e6 ulp are below ROUND
        square = sum(m @ np.linalg.solve(M, m) for m, M in zip(mu, sigma(nu)))
        assert abs(coverage.transfer_coefficient(model, pi, nu, phi) ** 2 / square - 1) < ROUND
        top = max(np.linalg.eigvals(np.linalg.solve(N, D)).real.max() for N, D in zip(sigma(nu), sigma(d)))
        assert abs(coverage.relative_condition_number(model, pi, nu, phi) / top - 1) < ROUND
        # a linear image changes neither
        mixed = phi @ rng.normal(size=(3, 3))
        assert abs(coverage.relative_condition_number(model, pi, nu, mixed) / top - 1) < ROUND
        even = np.repeat(d.sum(-1, keepdims=True) / shape[-1], shape[-1], -1)
        top = max(np.linalg.eigvals(np.linalg.solve(N, D)).real.max() for N, D in zip(sigma(nu), sigma(even)))
        got = coverage.relative_condition_number(model, pi, nu, phi, uniform_actions=True)
        assert abs(got / top - 1) < ROUND


def test_linear_coverage_is_decided_by_rank():
    model = EpisodicMDP(np.ones((1, 1, 3, 1)), np.zeros((1, 1, 3)), [1.0])
    phi = np.array([[[1.0, 0.0, 0.0], [2.0, 0.0, 0.0], [0.0, 1.0, 0.0]]])
    first, even = [[[1.0, 0.0, 0.0]]], [[[0.5, 0.5, 0.0]]]
    for measure in (coverage.transfer_coefficient, coverage.relative_condition_number):
        assert measure(model, [[2]], first, phi) == math.inf           # a direction that nu never sees
        assert measure(model, [[1]], even, phi) < 2                    # the third coordinate is idle everywhere
    assert coverage.transfer_coefficient(model, [[1]], first, phi) == 2.0     # pair 1 is unseen, its feature is not
    assert coverage.relative_condition_number(model, [[1]], first, phi) == 4.0
    assert coverage.relative_condition_number(model, [[0]], [[[0, 0, 1.0]]], phi * 0) == 0.0
    rare = [[[1.0, 0.0, 1e-20]]]                                       # rare is not never
    assert abs(coverage.transfer_coefficient(model, [[2]], rare, phi) / 1e10 - 1) < ROUND


def test_reference_values_of_local_coverage():
    for d, e, wanted in ((1e-2, 0.05, 5.511428526262), (1e-2, 1, 35.729057273969), (1e-4, 0.05, 129.053643422),
                         (1e-4, 1, 1554.786588417)):
        ref = np.array([(1 - d) / 2, (1 - d) / 2, d])
        # ten or more digits are given
        assert abs(coverage.kl_ball_coverage(ref, [1.0], e) / wanted - 1) < ROUND
        assert abs(coverage.global_coverage(ref) * d - 1) < EXACT


@pytest.mark.parametrize("seed", SEEDS)
def test_kl_ball_bounds_every_policy_in_it(seed):
    rng = np.random.default_rng(seed)
    ref, rho = rng.dirichlet(np.ones(4), 3), np.append(rng.dirichlet(np.ones(2)), 0.0)
    best = 0.0
    for _ in range(40):
        pi = ref.copy()
        x = rng.integers(0, 2)
        pi[x] = rng.dirichlet(np.full(4, 0.3))
        e = float(rho @ divergences.kl(pi, ref))
        local = coverage.kl_ball_coverage(ref, rho, e)
        assert coverage.density_ratio(pi[:2], ref[:2]) <= local * (1 + ROUND)
        # the extreme policy: q conditioned on one response and its complement
        y = int(np.argmax(pi[x] / ref[x]))
        tilt = np.where(np.arange(4) == y, pi[x, y], ref[x] * (1 - pi[x, y]) / (1 - ref[x, y]))
        spent = rho[x] * divergences.kl(tilt, ref[x])
        reached = coverage.kl_ball_coverage(ref, rho, spent)
        assert reached >= pi[x, y] / ref[x, y] * (1 - ROUND)
        best = max(best, pi[x, y] / ref[x, y] / reached)
    assert best > 1 - ROUND                                              # the bound is attained
    assert coverage.kl_ball_coverage(ref, rho, 0) == pytest.approx(1, abs=ROUND)
    assert coverage.kl_ball_coverage(ref, rho, 1e6) == coverage.global_coverage(ref[:2])


def test_coverage_without_support():
    ref = [[0.5, 0.5, 0.0]]
    assert coverage.global_coverage(ref) == math.inf
    assert coverage.kl_ball_coverage(ref, [1.0], 10.0) == 2.0
    assert coverage.density_ratio([[0.5, 0.25, 0.25]], ref) == math.inf
    assert coverage.density_ratio([[1.0, 0.0, 0.0]], ref) == 2.0
    assert coverage.single_policy_concentrability(Bandit([0.5, 0.5]), 0, [0.25, 0.75]) == 4.0
    assert coverage.concentrability(ContextualBandit([1.0, 0.0], np.zeros((2, 2))), [[0.5, 0.5], [0, 0]]) == 2.0
