"""Broken twins of PEVI, VI-LCB and of the formulas in their analysis: what the checks must catch."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from algorithms.offline import vi_lcb
from algorithms.offline.vi_lcb import Iterates


def exchanged(P, r, rho, Q, pi):
    """The two occupancies change places."""
    gap, one, two, three = vi_lcb.decomposition(P, r, rho, Q, pi)
    return gap, -two, -one, three


def dropped_third(P, r, rho, Q, pi):
    """The inequality taken for an equality."""
    gap, one, two, three = vi_lcb.decomposition(P, r, rho, Q, pi)
    return gap, one, two, three - three


def small_penalty(fit, penalty, shape, like):
    """A third of the penalty is taken off, and the whole of it is reported."""
    out = vi_lcb.plan(fit, lambda h, fitted, V: penalty(h, fitted, V) / 4, shape, like)
    return out._replace(b=out.b * 4)


def added_penalty(fit, penalty, shape, like):
    """Optimism: the penalty is a bonus."""
    out = vi_lcb.plan(fit, lambda h, fitted, V: -penalty(h, fitted, V), shape, like)
    return out._replace(b=-out.b)


def fifth(access, data, params, rng):
    """A fifth of the penalty."""
    return vi_lcb.run(access, data, replace(params, c=0.2 * params.c), rng)


def hundredth_linear(access, data, params, rng):
    """A hundredth of beta."""
    return vi_lcb.run_linear(access, data, replace(params, c=0.01 * params.c), rng)


def empirical(access, data, params, rng):
    """The largest mean, without a penalty."""
    return vi_lcb.run_bandit(access, data, replace(params, c=0.0), rng)


def tiny_penalty(counts, gamma, L):
    """Vmax sqrt(1e-4/N), where L is two thousand logarithms."""
    return vi_lcb.lcb_iteration(counts, gamma, 1e-4)


def forgetful(counts, gamma, L):
    """V_t = max_a Q_t, also where it falls."""
    N, R, M = counts
    found = vi_lcb.lcb_iteration(counts, gamma, L)
    top, policies, values = 1.0 / (1.0 - gamma), list(found.policies[:1]), list(found.values[:1])
    for t in range(1, len(N)):
        seen = np.maximum(N[t], 1.0)
        b = np.where(N[t] > 0, top * np.sqrt(L / seen), top)
        Q = R[t] / seen - b + gamma * (M[t] @ values[-1]) / seen
        policies.append(Q.argmax(-1))
        values.append(Q.max(-1))
    return Iterates(np.array(policies), np.array(values))


def worst_first(counts, gamma, L):
    """pi_0 takes the rarest action, and nothing is learned afterwards."""
    found = vi_lcb.lcb_iteration(counts, gamma, L)
    policy = counts.N[0].argmin(-1)
    return Iterates(np.repeat(policy[None], len(found.policies), 0), found.values)


def without_states(d, mu):
    """H sqrt(C): the factor sqrt(S) is missing."""
    total, bound = vi_lcb.coverage_sum(d, mu)
    return total, bound / float(np.sqrt(d.shape[1]))
