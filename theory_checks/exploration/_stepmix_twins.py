"""Broken twins of StepMix and EpsMix: what the checks must catch."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from algorithms.exploration import stepmix
from mdpkit import rational


def all_steps(base, best, h0, p):
    """Both policies mixed at all steps."""
    return (1 - p) * base + p * best


def next_step(base, best, h0, p):
    """The step after h0 is mixed."""
    return stepmix.mixture(base, best, min(h0 + 1, len(base)), p)


def turned(base, best, h0, p):
    """p and 1 - p change places."""
    return stepmix.mixture(base, best, h0, 1 - p)


def bold(base, best, lcb, gamma):
    """Believes each policy to be worth 0.05 more."""
    return stepmix.safe_mixture(base, best, lcb + (rational.rational(0.05) if rational.is_exact(lcb) else 0.05), gamma)


def unmixed(base, best, lcb, gamma):
    """pi^{h0-1} in place of the mixture."""
    h0 = next((h for h in range(len(lcb)) if lcb[h] >= gamma), None)
    return stepmix.mixture(base, best, h0, 1) if h0 else stepmix.safe_mixture(base, best, lcb, gamma)


def turned_safe(base, best, lcb, gamma):
    """p and 1 - p change places."""
    h0 = next((h for h in range(len(lcb)) if lcb[h] >= gamma), None)
    if not h0:
        return stepmix.safe_mixture(base, best, lcb, gamma)
    return stepmix.mixture(base, best, h0, 1 - (lcb[h0] - gamma) / (lcb[h0] - lcb[h0 - 1]))


def free(access, params, rng):
    """Without constraint."""
    return stepmix.run_free(access, params, rng)


def no_bonus(access, params, rng):
    """c = 0."""
    return stepmix.run(access, replace(params, c=0.0), rng)


def cautious(access, params, rng):
    """Always pi_b."""
    return stepmix.run(access, replace(params, gamma=1e9), rng)


def cautious_epsmix(access, params, rng):
    """Always pi_b."""
    return stepmix.run_epsmix(access, replace(params, gamma=1e9), rng)


def forgets_the_data(access, data, params, rng):
    """Learns from nothing, without constraint."""
    baseline = np.full(access.known.r.shape, 1 / access.known.A)
    access.known.__dict__["baseline"] = baseline
    return stepmix.run_free(access, params, rng)


def skips_the_mixture(access, params, rng):
    """Logs pi^{h0-1} where it should have mixed."""
    out = stepmix.run(access, params, rng)
    base, trace = access.known.baseline, out.trace
    assert trace is not None
    each = trace.policies[trace.index].copy()
    for pi, h0, best in zip(each, trace.info["h0"], trace.info["best"]):
        if 0 < h0 <= len(base):
            pi[h0 - 1] = np.eye(base.shape[-1])[best[h0 - 1]]
    return replace(out, trace=replace(trace, policies=each, index=np.arange(len(each))))
