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


def outward(lo: np.ndarray, hi: np.ndarray, pad: float) -> tuple[np.ndarray, np.ndarray]:
    """lo - pad rounded down and hi + pad rounded up."""
    return np.nextafter(lo - pad, -math.inf), np.nextafter(hi + pad, math.inf)


def macqueen_porteus(w: np.ndarray, v: np.ndarray, gamma: float, error: float) -> tuple[np.ndarray, np.ndarray]:
    """The enclosure of V* from w = fl(T v) with |w - T v| <= error.

    For monotone T with T(v + c) = T v + gamma c: T v + k min(T v - v) <= V* <= T v + k max(T v - v),
    k = gamma/(1 - gamma) (MacQueen 1966, Porteus 1971). The subtraction, k, the product and the sum round too.
    """
    top = max(float(np.abs(w).max()), float(np.abs(v).max()))
    D = w - v
    slack = error + 2 * U * top
    k = gamma / (1.0 - gamma)
    below, above = k * (float(D.min()) - slack), k * (float(D.max()) + slack)
    pad = error + 8 * U * (max(abs(below), abs(above)) + top) + TINY
    return outward(w + below, w + above, pad)
