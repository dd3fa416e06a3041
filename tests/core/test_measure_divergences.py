"""Divergences against their definitions, at their limits, and where they nearly vanish."""

from __future__ import annotations

import itertools
import math

import numpy as np
import oracles
import pytest
from core.models_given import EXACT, ROUND, SEEDS, sparse_laws

from mdpkit.measure import divergences

SOLVER = 1e-6


@pytest.mark.parametrize("seed", SEEDS)
def test_divergences_meet_their_definitions(seed):
    rng = np.random.default_rng(seed)
    p, q = sparse_laws(rng, 5), rng.dirichlet(np.ones(5))
    assert abs(divergences.kl(p, q) - oracles.kl(p, q)) < EXACT
    assert divergences.kl(q, [0.0, 0.25, 0.25, 0.25, 0.25]) == math.inf
    assert divergences.kl(p, p) == divergences.tv(p, p) == divergences.hellinger2(p, p) == divergences.chi2(p, p) == 0
    assert abs(divergences.tv(p, q) - max((p - q)[list(k)].sum() for n in range(6)
                                          for k in itertools.combinations(range(5), n))) < EXACT
    assert abs(divergences.hellinger2(p, q) - (1 - np.sqrt(p * q).sum())) < EXACT
    # chi2 + 1 is at most 1/min q: its rounding error is EXACT times that
    assert abs(divergences.chi2(p, q) - ((p**2 / q).sum() - 1)) < EXACT / q.min()
    u = rng.dirichlet(np.ones(5))
    for alpha in (0.25, 0.5, 2.0, 7.0):
        # the logarithm of a sum good to some ulp, divided by alpha - 1
        assert abs(divergences.renyi(u, q, alpha) - oracles.renyi(u, q, alpha)) < EXACT / min(1.0, abs(alpha - 1))
    assert abs(divergences.renyi(p, q, 0.5) + 2 * math.log(1 - divergences.hellinger2(p, q))) < EXACT
    assert abs(divergences.renyi(p, q, 2) - math.log1p(divergences.chi2(p, q))) < EXACT
    x = rng.integers(-5, 6, 5).astype(float)
    assert abs(divergences.wasserstein_line(p, q, x) - oracles.transport(p, q, x)) < SOLVER


def test_renyi_at_its_limits():
    p, q = [0.5, 0.5, 0.0], [0.25, 0.5, 0.25]
    kl = math.log(2) / 2
    assert divergences.renyi(p, q, 1) == divergences.kl(p, q)
    assert abs(divergences.kl(p, q) - kl) < EXACT
    # |d renyi / d alpha| is half the variance of the log ratio, at most (log 2)**2 / 8 = 0.06 here
    assert abs(divergences.renyi(p, q, 1 + 1e-9) - kl) < 1e-9
    assert abs(divergences.renyi(p, q, 1 - 1e-9) - kl) < 1e-9
    assert abs(divergences.renyi(p, q, math.inf) - math.log(2)) < EXACT
    # sum p (p/q)**(alpha-1) is within [1/2, 1] of 2**(alpha-1): log 2 / (alpha - 1)
    assert abs(divergences.renyi(p, q, 1e6) - math.log(2)) < math.log(2) / (1e6 - 1) + EXACT
    assert abs(divergences.renyi(p, q, 0) - math.log(4 / 3)) < EXACT
    assert divergences.renyi([1.0, 0], [0, 1.0], 0.5) == divergences.renyi([1.0, 0], [0, 1.0], 0) == math.inf
    assert divergences.renyi(q, p, 2) == divergences.renyi(q, p, math.inf) == divergences.chi2(q, p) == math.inf
    assert math.isfinite(divergences.renyi(q, p, 0.5))


def test_divergences_are_stable_and_broadcast():
    e = 2.0**-30
    p, q = np.array([0.5, 0.5]), np.array([0.5 + e, 0.5 - e])
    # KL = 2 e^2 (1 + O(e^2)) and its rounding is relative: e^2 = 1e-18
    assert abs(divergences.kl(p, q) / (2 * e * e) - 1) < ROUND
    assert abs(divergences.kl([1.0, 1e-300], [1.0, 1e-30]) - 1e-30) < 1e-30 * ROUND
    # the second entries stand for 1 - 1e-30 and 1 - 1e-300: they add -1e-30
    assert abs(divergences.kl([1e-30, 1.0], [1e-300, 1.0]) / (1e-30 * (270 * math.log(10) - 1)) - 1) < ROUND
    rng = np.random.default_rng(0)
    P, Q = rng.dirichlet(np.ones(4), (3, 1)), rng.dirichlet(np.ones(4), 2)
    table = [[oracles.kl(a, b) for b in Q] for a in P[:, 0]]
    np.testing.assert_allclose(divergences.kl(P, Q), table, atol=EXACT)
    assert divergences.wasserstein_line(P, Q, np.arange(4.0)).shape == (3, 2)
