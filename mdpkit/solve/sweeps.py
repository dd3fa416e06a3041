"""Compiled sweeps over sparse rows s*A + a of a discounted MDP."""

from __future__ import annotations

import numpy as np

from mdpkit.jit import kernel
from mdpkit.kernels.rows import dot


def _bellman(ptr, col, val, r, gamma, v, w, policy):
    """w = T v and its greedy policy (lowest action on ties); returns min and max of w - v."""
    S, A = r.shape
    least, most = np.inf, -np.inf
    for s in range(S):
        best, arg = -np.inf, 0
        for a in range(A):
            q = r[s, a] + gamma * dot(col, val, ptr[s * A + a], ptr[s * A + a + 1], v)
            if q > best:
                best, arg = q, a
        w[s] = best
        policy[s] = arg
        least, most = min(least, best - v[s]), max(most, best - v[s])
    return least, most


def _evaluate_step(ptr, col, val, r, gamma, policy, v, w):
    """w = T_pi v; returns min and max of w - v."""
    S, A = r.shape
    least, most = np.inf, -np.inf
    for s in range(S):
        a = policy[s]
        w[s] = r[s, a] + gamma * dot(col, val, ptr[s * A + a], ptr[s * A + a + 1], v)
        least, most = min(least, w[s] - v[s]), max(most, w[s] - v[s])
    return least, most


def _action_values(ptr, col, val, r, gamma, v):
    """r + gamma P v (S, A), for rows s*A + a."""
    S, A = r.shape
    Q = np.empty((S, A))
    for s in range(S):
        for a in range(A):
            Q[s, a] = r[s, a] + gamma * dot(col, val, ptr[s * A + a], ptr[s * A + a + 1], v)
    return Q


def _near(ptr, col, val, r, gamma, v, slack, floor):
    """Which r + gamma P v, plus ``slack``, reach ``floor`` (S,); (S, A), without an array of the values."""
    S, A = r.shape
    out = np.empty((S, A), np.bool_)
    for s in range(S):
        for a in range(A):
            out[s, a] = r[s, a] + gamma * dot(col, val, ptr[s * A + a], ptr[s * A + a + 1], v) + slack >= floor[s]
    return out


def _iterate_values(ptr, col, val, r, gamma, v, w, policy, span, sweeps):
    """At most ``sweeps`` of v <- T v, until max - min of T v - v is at most ``span``.

    Leaves v and w = T v; returns the number of sweeps and the last span. Between sweeps v moves to the midpoint
    of its bounds, a shift by a constant that changes no span and keeps numbers small.
    """
    n = 0
    reach, shift = np.inf, 0.0
    while n < sweeps:
        if n > 0:
            for s in range(v.shape[0]):
                v[s] = w[s] + shift
        least, most = bellman(ptr, col, val, r, gamma, v, w, policy)
        n += 1
        reach = most - least
        shift = 0.5 * gamma / (1.0 - gamma) * (least + most)
        if reach <= span:
            break
    return n, reach


def _modified(ptr, col, val, r, gamma, v, w, policy, span, sweeps, inner):
    """`_iterate_values` with up to ``inner`` sweeps of the greedy policy after each full one."""
    n = 0
    reach = np.inf
    while n < sweeps:
        least, most = bellman(ptr, col, val, r, gamma, v, w, policy)
        n += 1
        reach = most - least
        if reach <= span or n == sweeps:
            break
        for _ in range(inner):
            for s in range(v.shape[0]):
                v[s] = w[s]
            least, most = evaluate_step(ptr, col, val, r, gamma, policy, v, w)
            # the policy's own value is known well enough for the next sweep
            if most - least <= max(0.02 * reach, 0.5 * span):
                break
        shift = 0.5 * gamma / (1.0 - gamma) * (least + most)
        for s in range(v.shape[0]):
            v[s] = w[s] + shift
    return n, reach


bellman = kernel(_bellman)
evaluate_step = kernel(_evaluate_step)
action_values = kernel(_action_values)
near = kernel(_near)
iterate_values = kernel(_iterate_values)
modified = kernel(_modified)
