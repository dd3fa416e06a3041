"""Broken twins of VPO: what the checks must catch."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from algorithms.preferences import vpo
from mdpkit import losses
from mdpkit.records import Result


def swapped_grid(counts, g, weight):
    """Optimism and pessimism change places."""
    return vpo.fit_grid(counts, g, -weight)


def biased_grid(counts, g, weight):
    """The score of a response without the loss that it had anyway."""
    if weight <= 0:
        return vpo.fit_grid(counts, g, weight)
    n = counts[:, :1] * losses.softplus(-g) + counts[:, 1:] * losses.softplus(g)
    n[0] = np.where(g == 0, 0.0, np.inf)
    k, at = divmod(int(np.argmax(weight * g - n)), len(g))
    return max(float(g[at]), 0.0), float(n.min(1).sum() - n[k].min() + n[k, at]), np.eye(len(n))[k]


def swapped(fit, weight):
    """Optimism and pessimism change places."""
    return vpo.solve(fit, -weight)


def one_start(fit, weight):
    """A single descent, from 0."""
    theta = np.zeros(fit.phi.shape[2])
    settings = np.array([fit.beta, weight, fit.C])
    best, gap = vpo._descend(*(np.array(part) for part in fit[:5]), settings, theta)
    return np.einsum("xyj,j->xy", fit.phi, theta), best, gap


def hard(r, fit):
    """The largest reward, without its entropy."""
    return float((fit.rho * r.max(1)).sum())


def unscaled_loss(fit, log_pi, weight):
    """alpha, not alpha beta."""
    return vpo.policy_loss(fit, log_pi, weight / fit.beta)


def on_policy(fit, log_pi, weight):
    """The log-ratio is met under pi, not pi_cal."""
    return vpo.policy_loss(fit._replace(cal=np.exp(log_pi)), log_pi, weight)


def elsewhere(access, data, params, rng):
    """pi_cal = pi_ref."""
    return vpo.run_offline(access, data, replace(params, cal=access.known.pi_ref), rng)


def counted(access, data, params, rng):
    """The mean of the losses as if it were the sum of seven of them."""
    return vpo.run_offline(access, data, replace(params, alpha=params.alpha / 7), rng)


def tabular(access, data, params, rng):
    """The class of all policies."""
    return vpo.run_offline(access, data, replace(params, linear=False), rng)


def greedy(access, params, rng):
    """alpha = 0."""
    return vpo.run(access, replace(params, alpha=0.0), rng)


def timid(access, params, rng):
    """A thousandth of alpha."""
    return vpo.run(access, replace(params, alpha=params.alpha / 1000), rng)


def eager(access, params, rng):
    """alpha = .3 sqrt(T), whatever it should be."""
    return vpo.run(access, replace(params, alpha=0.3 * math.sqrt(params.T)), rng)


def likeliest_online(access, params, rng):
    """alpha = 0."""
    return vpo.run_gradient(access, replace(params, alpha=0.0), rng)


def _grid(access, data, params, rng, weight):
    W = vpo.given(access, params, rng, data).W[0]
    pi = vpo.fit_grid(np.stack([W[:, 0], W[0]], 1), np.linspace(-params.C, params.C, params.points), weight)[2]
    return Result(pi[None], None, params, access.samples)


def likeliest(access, data, params, rng):
    """alpha = 0."""
    return _grid(access, data, params, rng, 0.0)


def optimist(access, data, params, rng):
    """The sign of line 1 on logged data."""
    return _grid(access, data, params, rng, params.alpha)
