"""Broken twins of FQI: what the checks must catch."""

from __future__ import annotations

import numpy as np

from algorithms.offline import fqi
from mdpkit.records import Steps
from theory_checks.offline import fqi as checks


def averaging(steps, f, gamma, phi):
    """The mean over actions in place of the maximum."""
    mean = f.sum(-1)[:, None] / f.shape[1]
    return fqi.regress(steps, mean + 0 * f, gamma, phi)


def undiscounted(steps, f, gamma, phi):
    """No discount."""
    return fqi.regress(steps, f, gamma / gamma, phi)


def forgetful(steps, f, gamma, phi):
    """Forgets the last tuple, which some pair has beside others."""
    return fqi.regress(Steps(*(part[:-1] for part in steps)), f, gamma, phi)


def reversed_weights(eps, gamma, start):
    """gamma^k in place of gamma^{K-1-k}."""
    return fqi.sup_bound(eps[::-1], gamma, start)


def no_start(eps, gamma, start):
    """Without the term of f_0."""
    return fqi.sup_bound(eps, gamma, 0 * start)


def largest(eps, gamma, start):
    """The largest error in place of the weighted sum."""
    b = max(eps) + gamma ** len(eps) * start
    return b, 2 * b / (1 - gamma)


def covered_pairs(P, rho, mu, T=200):
    """C over the pairs that mu covers."""
    return fqi.concentrability(P, rho, np.where(mu > 0, mu, 1.0), T)


def nothing(P, rho, mu, T=200):
    """C = 0: the term of the errors is dropped."""
    return 0.0, 0.0


def complete(mu, r, P, gamma, K, phi=None, top=None, start=None):
    """All functions in place of the line."""
    return fqi.iterates(mu, r, P, gamma, K, None, top, start)


def first_sum(P, r, f, d_star, d):
    """Without the sum of its own policy."""
    return fqi.episodic_bound(P, r, f, d_star, 0 * d)


def second_sum(P, r, f, d_star, d):
    """Without the sum of the optimal policy."""
    return fqi.episodic_bound(P, r, f, 0 * d_star, d)


def restricted(access, data, params, rng):
    """Three features in place of all functions."""
    return fqi._discounted(access, data, params, rng, checks.features())


def first_tuples(access, data, params, rng):
    """The first 300 tuples whatever n is."""
    return fqi.run(access, data.take(300), params, rng)
