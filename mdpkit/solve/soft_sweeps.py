"""Compiled sweeps of the entropy-regularised backup over sparse rows."""

from __future__ import annotations

import math

import numpy as np

from mdpkit.jit import kernel
from mdpkit.kernels.rows import dot


def policy_of(Q: np.ndarray, tau: float, log_mu: np.ndarray) -> np.ndarray:
    """pi proportional to mu exp(Q / tau) along the last axis, rows summing to 1 up to rounding."""
    x = Q / tau + log_mu
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def _soft_max(q, log_mu, tau):
    """tau log sum_a exp(q[a]/tau + log_mu[a])."""
    top = -np.inf
    for a in range(q.shape[0]):
        top = max(top, q[a] / tau + log_mu[a])
    total = 0.0
    for a in range(q.shape[0]):
        total += math.exp(q[a] / tau + log_mu[a] - top)
    return tau * (top + math.log(total))


def _soft_sweep(ptr, col, val, r, gamma, tau, log_mu, v, w, Q, span, sweeps):
    """At most ``sweeps`` of v <- T v until max - min of T v - v is at most ``span``; leaves v, w = T v and Q."""
    S, A = r.shape
    n = 0
    reach, shift = np.inf, 0.0
    while n < sweeps:
        if n > 0:
            for s in range(S):
                v[s] = w[s] + shift
        least, most = np.inf, -np.inf
        for s in range(S):
            for a in range(A):
                Q[s, a] = r[s, a] + gamma * dot(col, val, ptr[s * A + a], ptr[s * A + a + 1], v)
            w[s] = soft_max(Q[s], log_mu[s], tau)
            least, most = min(least, w[s] - v[s]), max(most, w[s] - v[s])
        n += 1
        reach = most - least
        shift = 0.5 * gamma / (1.0 - gamma) * (least + most)
        if reach <= span:
            break
    return n, reach


def _soft_backward(ptr, col, val, r, tau, log_mu):
    """V (H+1, S) and Q (H, S, A)."""
    H, S, A = r.shape
    V = np.zeros((H + 1, S))
    Q = np.empty((H, S, A))
    for h in range(H - 1, -1, -1):
        for s in range(S):
            for a in range(A):
                k = (h * S + s) * A + a
                Q[h, s, a] = r[h, s, a] + dot(col, val, ptr[k], ptr[k + 1], V[h + 1])
            V[h, s] = soft_max(Q[h, s], log_mu[h, s], tau)
    return V, Q


soft_max = kernel(_soft_max)
soft_sweep = kernel(_soft_sweep)
soft_backward = kernel(_soft_backward)
