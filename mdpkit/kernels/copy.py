"""Copying arrays in kernels by a loop: an assignment of whole arrays takes some five seconds to compile."""

from __future__ import annotations

from mdpkit.jit import kernel


def _copy(to, what):
    """``to[...] = what`` for contiguous arrays of one shape."""
    to, what = to.ravel(), what.ravel()
    for i in range(to.shape[0]):
        to[i] = what[i]


copy = kernel(_copy)
