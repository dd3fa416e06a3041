"""Sparse rows: entries lo..hi-1 of ``col`` and ``val``.

Indices are taken without a sign: for signed ones the compiler has every access ask whether it counts from
the end, which nearly doubles a sweep. They are never negative here.
"""

from __future__ import annotations

import numpy as np

from mdpkit.jit import kernel


def _dot(col, val, lo, hi, v):
    """The entries lo..hi-1 of a row with v."""
    x = 0.0
    for j in range(np.uint64(lo), np.uint64(hi)):
        x += val[j] * v[np.uint64(col[j])]
    return x


def _take(col, val, lo, hi, n, pcol, pval):
    """Copy the entries lo..hi-1 behind the first n of another list; its new length."""
    for j in range(lo, hi):
        pcol[n] = col[j]
        pval[n] = val[j]
        n += 1
    return n


dot = kernel(_dot)
take = kernel(_take)
