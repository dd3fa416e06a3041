"""Products of some dense rows out of many with a vector. Sums in any order: for answers that are certified later."""

from __future__ import annotations

import numpy as np
from numba import float64, int64

from mdpkit.jit import kernel
from mdpkit.kernels.backup import INTS, REALS


def _dots(P, rows, n, v, out):
    """out[k] = P[rows[k]] . v for k < n, eight rows at once: rows far apart come from memory slowly one by one."""
    for k in range(0, n - n % 8, 8):
        p0, p1, p2, p3 = P[rows[k]], P[rows[k + 1]], P[rows[k + 2]], P[rows[k + 3]]
        p4, p5, p6, p7 = P[rows[k + 4]], P[rows[k + 5]], P[rows[k + 6]], P[rows[k + 7]]
        x0 = x1 = x2 = x3 = x4 = x5 = x6 = x7 = 0.0
        for t in range(v.shape[0]):
            x0 += p0[t] * v[t]
            x1 += p1[t] * v[t]
            x2 += p2[t] * v[t]
            x3 += p3[t] * v[t]
            x4 += p4[t] * v[t]
            x5 += p5[t] * v[t]
            x6 += p6[t] * v[t]
            x7 += p7[t] * v[t]
        out[k], out[k + 1], out[k + 2], out[k + 3] = x0, x1, x2, x3
        out[k + 4], out[k + 5], out[k + 6], out[k + 7] = x4, x5, x6, x7
    for k in range(n - n % 8, n):
        p0, x0 = P[rows[k]], 0.0
        for t in range(v.shape[0]):
            x0 += p0[t] * v[t]
        out[k] = x0


def _spread(v, at, q):
    """Of d = v - at: the least, the largest, q . d, and how far it is from its mean in the Euclidean norm."""
    low, high, middle, mean, norm = np.inf, -np.inf, 0.0, 0.0, 0.0
    for t in range(v.shape[0]):
        d = v[t] - at[t]
        low, high = min(low, d), max(high, d)
        middle += q[t] * d
        mean += d / v.shape[0]
    for t in range(v.shape[0]):
        d = v[t] - at[t] - mean
        norm += d * d
    return low, high, middle, np.sqrt(norm)


def _back(P, r, known, at, far, q, room, next_V, Q, V):
    """One step over dense P (S*A, S) that reads only what `mdpkit.solve.episodic` cannot rule out; the rows read.

    V (S,) and, where read, Q (S, A) are filled: r + P next_V. ``known`` (S, A) is P at, ``far`` the distances of the
    rows from ``q``: with d = next_V - at, both known + [min d, max d] and known + q d +- far |d - mean| enclose
    P next_V; at and known may be taken as 0. Of each state the row of the best lower bound is read first: what it has
    rules out others.
    """
    S, A = r.shape
    low, high, middle, norm = spread(next_V, at, q)
    alone = spread(next_V, np.zeros(S), q)
    share = 1.0
    if alone[3] < norm:
        share, low, high, middle, norm = 0.0, alone[0], alone[1], alone[2], alone[3]
    rows, more, found, n = np.empty(S, np.int64), np.empty(S * A, np.int64), np.empty(S * A), 0
    for s in range(S):
        V[s] = -np.inf                                    # until a row is read, the best lower bound
        for i in range(A):
            floor = r[s, i] + share * known[s, i] + max(low, middle - far[s, i] * norm)
            if floor > V[s]:
                V[s], rows[s] = floor, s * A + i
    dots(P, rows, S, next_V, found)
    for s in range(S):
        first = rows[s] - s * A
        Q[s, first] = r[s, first] + found[s]
        floor, V[s] = max(V[s], Q[s, first]) - room, Q[s, first]
        for i in range(A):
            if i != first and r[s, i] + share * known[s, i] + min(high, middle + far[s, i] * norm) >= floor:
                more[n] = s * A + i
                n += 1
    dots(P, more, n, next_V, found)
    for k in range(n):
        s, i = more[k] // A, more[k] % A
        Q[s, i] = r[s, i] + found[k]
        V[s] = max(V[s], Q[s, i])
    return S + n


def _distances(P, q):
    """|p - q| in the Euclidean norm, of each row p of dense P (n, S) from q (S,): (n,)."""
    out = np.empty(P.shape[0])
    for i in range(P.shape[0]):
        total = 0.0
        for j in range(q.shape[0]):
            total += (P[i, j] - q[j]) * (P[i, j] - q[j])
        out[i] = np.sqrt(total)
    return out


dots = kernel(_dots, (REALS[2], INTS[1], int64, REALS[1], float64[::1]), reassoc=True)
spread = kernel(_spread, (REALS[1], REALS[1], REALS[1]), reassoc=True)
back = kernel(_back, (*[REALS[2]] * 3, REALS[1], REALS[2], REALS[1], float64, REALS[1], float64[:, ::1], float64[::1]))
distances = kernel(_distances, (REALS[2], REALS[1]), reassoc=True)
