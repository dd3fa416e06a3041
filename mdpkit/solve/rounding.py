"""Bounds on rounding: what float64 arithmetic may have done to a Bellman backup.

With u = 2**-53 and gamma_k = k u / (1 - k u), a dot product of n terms, summed in any order, with or without fused
multiply-add, errs by at most gamma_n sum |p_i v_i| (Higham, Accuracy and Stability of Numerical Algorithms, 2002,
section 3.1). Canonical rows sum to exactly 1, so that the sum is at most max |v|.
"""

from __future__ import annotations

import math

import numpy as np

U = 2.0**-53
TINY = 2.0**-1000    # covers underflow of single products in any sum that fits in memory


def higham(k: float) -> float:
    """gamma_k, itself rounded up."""
    return k * U / (1.0 - k * U) * (1.0 + 8 * U)


def backup_error(n: int, r: float, gamma: float, v: float) -> float:
    """Bound on the rounding error of fl(r + gamma * (p . v)), for |r| <= r, |v| <= v and rows of at most n entries."""
    return higham(n + 2) * (r + gamma * v) * (1.0 + 8 * U) + TINY


def advantage_error(S: int, A: int, gamma: float, T: int) -> float:
    """How far a computed A^pi may be from that of the softmax of the table as stored, rewards in [0, 1].

    Elimination with partial pivoting solves a system whose matrix is off by S^2 2^(S-1) gamma_{3S} of its norm, which
    is at most 2 (Higham 2002, theorem 9.5); the chain, its rewards and the softmax, whose exponents are rounded, move
    it by gamma_{A^2 + 16 A + 64} more; and 1/(1-gamma) multiplies that, and V itself. Adding to a table T times rounds
    at most T units of its last size, as if A had been off by T u/(1-gamma). A takes V twice, and r + gamma P V once.
    """
    return 4 * higham(3 * S**3 * 2**S + A**2 + 16 * A + T + 64) / (1 - gamma) ** 2


def outward(lo: np.ndarray, hi: np.ndarray, pad: float | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """lo - pad rounded down and hi + pad rounded up."""
    return _outward(lo.copy(), hi.copy(), pad)


def _outward(lo: np.ndarray, hi: np.ndarray, pad: float | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    lo -= pad
    hi += pad
    return np.nextafter(lo, -math.inf, out=lo), np.nextafter(hi, math.inf, out=hi)


def macqueen_porteus(w: np.ndarray, v: np.ndarray, gamma: float, error: float) -> tuple[np.ndarray, np.ndarray]:
    """The enclosure of V* from w = fl(T v) with |w - T v| <= error.

    For monotone T with T(v + c) = T v + gamma c: T v + k min(T v - v) <= V* <= T v + k max(T v - v),
    k = gamma/(1 - gamma) (MacQueen 1966, Porteus 1971). The subtraction, k, the product and the sum round too.
    """
    top = max(size(w), size(v))
    D = w - v
    slack = error + 2 * U * top
    k = gamma / (1.0 - gamma)
    below, above = k * (float(D.min()) - slack), k * (float(D.max()) + slack)
    pad = error + 8 * U * (max(abs(below), abs(above)) + top) + TINY
    return _outward(np.add(w, below, out=D), w + above, pad)


def size(x: np.ndarray) -> float:
    """max |x|, without an array of the sizes."""
    return max(float(x.max()), -float(x.min()))
