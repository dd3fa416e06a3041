"""The norm of V^-1 as V grows by one row at a time: what ridge regression and its confidence sets need."""

from __future__ import annotations

from mdpkit.jit import kernel


def _times(matrix, x, out):
    """out = matrix x, for matrix (m, d), x (d,), out (m,)."""
    for i in range(matrix.shape[0]):
        total = 0.0
        for j in range(x.shape[0]):
            total += matrix[i, j] * x[j]
        out[i] = total


def _square(matrix, x):
    """x' matrix x, for matrix (d, d) and x (d,); rounding may leave it a little below zero."""
    total = 0.0
    for i in range(x.shape[0]):
        for j in range(x.shape[0]):
            total += x[i] * matrix[i, j] * x[j]
    return total


def _absorb(inverse, x, u):
    """V^-1 (d, d) after V += x x', in place, and x' V^-1 x before it; u (d,) is room.

    det V grows by the factor 1 + x' V^-1 x.
    """
    d, w = x.shape[0], 0.0
    for i in range(d):
        u[i] = 0.0
        for j in range(d):
            u[i] += inverse[i, j] * x[j]
        w += x[i] * u[i]
    for i in range(d):
        for j in range(d):
            inverse[i, j] -= u[i] * u[j] / (1.0 + w)
    return w


times = kernel(_times)
square = kernel(_square)
absorb = kernel(_absorb)
