"""Broken twins of self-improvement and of its formulas: what the checks must catch."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from algorithms.self_improvement import gv_gap
from mdpkit import rational


def unnormalised(f, w, u):
    """f w in place of f[w]."""
    return (f * w * u).sum(-1) - (f * u).sum(-1)


def elsewhere(f, w, u):
    """w is met with an even model."""
    return gv_gap.gap(_even(f), w, u)


def stale_rates(f, w, u):
    """al and be of an even model, p of f."""
    p, flat = (f * u).sum(-1), _even(f)
    q = (flat * u).sum(-1)
    return _from(p, (flat * w * u).sum(-1) / q, (flat * w * (1 - u)).sum(-1) / (1 - q))


def swapped(f, w, u):
    """al and be change places."""
    p = (f * u).sum(-1)
    return _from(p, (f * w * (1 - u)).sum(-1) / (1 - p), (f * w * u).sum(-1) / p)


def to_p(f, w, u):
    """The gap relative to p."""
    after, gap, _ = gv_gap.gap_by_rates(f, w, u)
    return after, gap, gap / (f * u).sum(-1)


def redrawn(f, w, T):
    """The weights of each prompt change places at every other round."""
    return _rounds(f, T, lambda g, t: gv_gap.reweight(g, w if t % 2 == 0 else w[:, ::-1]))


def against(f, w, T):
    """1/w."""
    return gv_gap.improve(f, 1 / w, T)


def squared(f, w, T):
    """w^2."""
    return gv_gap.improve(f, w * w, T)


def lazy(f, w, T):
    """Half of the old model stays."""
    return _rounds(f, T, lambda g, t: (g + gv_gap.reweight(g, w)) / 2)


def clipped(f, w, T):
    """No weight counts more than the first."""
    return gv_gap.improve(f, np.minimum(w, w[:, :1]), T)


def one_verifier(f, w, T):
    """The first prompt's weights at all."""
    return gv_gap.improve(f, w[[0] * len(w)], T)


def half_errors(fs, w, u, rho):
    """Half the TV distance."""
    J, gaps, errors = gv_gap.accounting(fs, w, u, rho)
    return J, gaps, errors / 2


def late_gap(fs, w, u, rho):
    """The gap of the model after the step."""
    J, _, errors = gv_gap.accounting(fs, w, u, rho)
    return J, np.array([gv_gap.utility(gv_gap.reweight(f, w), u, rho) for f in fs[1:]]) - J[1:], errors


def unhalved(sigma, m=1):
    """The cut is 1 away."""
    return gv_gap.noisy_rates(sigma / 2, m)


def variance(sigma, m=1):
    """sigma^2 for sigma."""
    return gv_gap.noisy_rates(sigma * sigma, m)


def unaveraged(sigma, m=1):
    """m is ignored."""
    return gv_gap.noisy_rates(sigma)


def top_one(access, params, rng):
    """The best ranked sample alone."""
    return gv_gap.run_sampled(access, replace(params, rule="quantile", level=1.0 / params.n), rng)


def shared_noise(access, params, rng):
    """All samples of a prompt meet one draw of the noise."""
    moved = params.v + params.sigma * rng.normal(size=(len(params.v), 1))
    return gv_gap.run_sampled(access, replace(params, v=moved, sigma=0.0), rng)


def _even(f):
    return rational.zeros(f.shape, f) + rational.eye(1, f)[0, 0] / f.shape[1]


def _from(p, al, be):
    passed = p * al + (1 - p) * be
    return p * al / passed, p * (1 - p) * (al - be) / passed, p * (al - be) / passed


def _rounds(f, T, step):
    out = rational.zeros((T + 1, *f.shape), f)
    out[0] = f
    for t in range(T):
        out[t + 1] = step(out[t], t)
    return out
