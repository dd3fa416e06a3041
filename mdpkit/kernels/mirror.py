"""Steps on log-policies of one simplex, fused in one pass: what loops of many mirror steps are made of."""

from __future__ import annotations

import math

from mdpkit.jit import kernel


def _mirror(a, log_pi, b, log_mu, c, g, out):
    """``out`` = log softmax of a log_pi + b log_mu + c g, all (Y,); ``out`` may be ``log_pi``. Returns nothing."""
    Y = len(out)
    top = -math.inf
    for y in range(Y):
        out[y] = a * log_pi[y] + b * log_mu[y] + c * g[y]
        top = max(top, out[y])
    total = 0.0
    for y in range(Y):
        total += math.exp(out[y] - top)
    shift = top + math.log(total)
    for y in range(Y):
        out[y] -= shift


def _times(A, log_y, out):
    """``out`` (n,) = A exp(log_y), A (n, m)."""
    n, m = A.shape
    for i in range(n):
        out[i] = 0.0
    for j in range(m):
        weight = math.exp(log_y[j])
        for i in range(n):
            out[i] += A[i, j] * weight


def _kl(log_p, log_q):
    """KL(p || q) of two log-laws of full support."""
    total = 0.0
    for y in range(len(log_p)):
        total += math.exp(log_p[y]) * (log_p[y] - log_q[y])
    return total


mirror = kernel(_mirror)
times = kernel(_times)
kl = kernel(_kl)
