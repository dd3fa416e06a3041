"""The simplex method in floats for matrix games, on a tableau without the slacks' columns. Nothing here is trusted."""

from __future__ import annotations

import numpy as np

from mdpkit.jit import kernel

SMALL = 1e-11            # pivots and reduced costs below this are taken for 0; entries of B lie in [1, 2]


def _game(B, most):
    """max sum u over B u <= 1, u >= 0, for B (m, n) > 0: u (n,), the prices (m,), the number of pivots, or -1.

    Row i of the tableau is a basic variable in terms of the nonbasic ones; a pivot swaps the two in place. Dantzig's
    rule, and the lowest index among ties; -1 when ``most`` pivots did not end it.
    """
    m, n = B.shape
    T = np.empty((m + 1, n + 1))
    for i in range(m):
        for j in range(n):
            T[i, j] = B[i, j]
        T[i, n] = 1.0
    for j in range(n):
        T[m, j] = -1.0
    T[m, n] = 0.0
    row, col = np.arange(n, n + m), np.arange(n)          # variables: u first, then slacks
    pivots, pivot = 0, np.empty(n + 1)
    while pivots < most:
        j, least = -1, -SMALL
        for k in range(n):
            if T[m, k] < least:
                j, least = k, T[m, k]
        if j < 0:
            break
        i, ratio = -1, np.inf
        for k in range(m):
            if T[k, j] > SMALL and (T[k, n] < ratio * T[k, j] or (T[k, n] == ratio * T[k, j] and row[k] < row[i])):
                i, ratio = k, T[k, n] / T[k, j]
        if i < 0:
            return np.zeros(n), np.zeros(m), -1
        scale = 1.0 / T[i, j]
        for k in range(n + 1):
            pivot[k] = T[i, k] * scale
        pivot[j] = scale
        for l in range(m + 1):
            f = T[l, j]
            line = T[l]
            if l == i:
                for k in range(n + 1):
                    line[k] = pivot[k]
            elif f != 0.0:
                line[j] = 0.0
                for k in range(n + 1):
                    line[k] -= f * pivot[k]
        row[i], col[j] = col[j], row[i]
        pivots += 1
    u, prices = np.zeros(n), np.zeros(m)
    for i in range(m):
        if row[i] < n:
            u[row[i]] = T[i, n]
    for j in range(n):
        if col[j] >= n:
            prices[col[j] - n] = T[m, j]
    return u, prices, pivots if pivots < most else -1


game = kernel(_game)
