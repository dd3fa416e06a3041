"""Copying arrays in kernels by loops: an assignment of whole arrays takes some five seconds to compile."""

from __future__ import annotations

from mdpkit.jit import kernel


def _copy(to, what):
    """``to[...] = what`` for arrays of one shape, of one to four axes.

    Which loops are compiled depends on the number of axes alone. (Raveled, a row of a log would cost its reference
    counts and two calls of the runtime, more than the copying.)
    """
    if what.ndim == 1:
        for i in range(what.shape[0]):
            to[i] = what[i]
    elif what.ndim == 2:
        for i in range(what.shape[0]):
            for j in range(what.shape[1]):
                to[i, j] = what[i, j]
    elif what.ndim == 3:
        for i in range(what.shape[0]):
            for j in range(what.shape[1]):
                for k in range(what.shape[2]):
                    to[i, j, k] = what[i, j, k]
    else:
        for i in range(what.shape[0]):
            for j in range(what.shape[1]):
                for k in range(what.shape[2]):
                    for m in range(what.shape[3]):
                        to[i, j, k, m] = what[i, j, k, m]


copy = kernel(_copy)
