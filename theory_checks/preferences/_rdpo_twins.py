"""Broken twins of robust DPO and of the formulas around it: what the checks must catch."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from algorithms.preferences import rdpo
from mdpkit import losses


def conservative_loss(W, log_pi, log_ref, beta, eps):
    """Labels smoothed by eps."""
    value, g = losses.pairwise(W, beta * (log_pi - log_ref), lambda h: losses.logistic(h, 1 - eps))
    return value, beta * g


def misjudged_loss(W, log_pi, log_ref, beta, eps):
    """Half of eps."""
    return rdpo.loss(W, log_pi, log_ref, beta, eps / 2)


def unscaled_loss(W, log_pi, log_ref, beta, eps):
    """Without the denominator."""
    value, g = rdpo.loss(W, log_pi, log_ref, beta, eps)
    return (1 - 2 * eps) * value, (1 - 2 * eps) * g


def uphill(W, log_pi, log_ref, beta, eps):
    """Winner and loser change places."""
    return rdpo.loss(W.transpose(0, 2, 1), log_pi, log_ref, beta, eps)


def vanilla(access, data, params, rng):
    """DPO."""
    return rdpo.run_dpo(access, data, params, rng)


def conservative(access, data, params, rng):
    """Conservative DPO."""
    return rdpo.run_conservative(access, data, params, rng)


def unbiased_fit(access, data, params, rng):
    """Robust DPO where a bias is expected."""
    return rdpo.run(access, data, params, rng)


def misjudged(access, data, params, rng):
    """Half of eps."""
    return rdpo.run(access, data, replace(params, eps=params.eps / 2), rng)


def half_of_it(access, data, params, rng):
    """Each comparison is dropped with probability 1/2."""
    return rdpo.run(access, data._replace(count=rng.binomial(data.count, 0.5)), params, rng)


def unscaled_error(phi, theta, beta, mu, eps):
    """Without 1/(1 - 2 eps)^2."""
    return (1 - 2 * eps) ** 2 * rdpo.asymptotic_error(phi, theta, beta, mu, eps)


def squared_twice(phi, theta, beta, mu, eps):
    """1/(1 - 2 eps)^4."""
    return rdpo.asymptotic_error(phi, theta, beta, mu, eps) / (1 - 2 * eps) ** 2


def clean_variance(phi, theta, beta, mu, eps):
    """The variance of clean labels, with the slope of noisy ones: V(0)/(1 - 2 eps)^2."""
    return rdpo.asymptotic_error(phi, theta, beta, np.asarray(mu), 0.0) / (1 - 2 * eps) ** 2
