"""The only place that judges input. Everything behind it trusts what it gets.

Arrays come back C-contiguous, in the one dtype of their kind, and read-only. Probability rows come back
*canonical*: every entry is a multiple of 2**-52 and a row sums to exactly 1 in any order of summation, which
the certified enclosures of ``mdpkit.solve`` rely on.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from mdpkit.errors import MdpkitError

UNIT = 2.0**52          # a canonical probability is an integer over UNIT
SMALLEST = 2.0**-53     # positive entries below vanish when rounded to a multiple of 2**-52
SUM_TOLERANCE = 1e-9    # rows written with ten digits pass, float32 rows (off by 1e-7) do not

BLOCK = 2**16            # entries that are moved at once


def array(name: str, value: Any, shape: Sequence[int | str | None], *, integer: bool = False,
          copy: bool = True) -> np.ndarray:
    """A finite, read-only array of the given shape.

    Parameters
    ----------
    name : str
        The argument's name, for the message.
    value : array_like
        Real numbers. Complex, text, object and boolean arrays are refused rather than cast.
    shape : sequence of int, str or None
        An int is required as it is; a str names a free axis that must not be empty; None is free and may be empty.
    integer : bool
        int64 instead of float64.
    copy : bool
        Without, a read-only array that is already as wanted comes back itself: for whoever keeps nothing of it.

    Raises
    ------
    MdpkitError
        Names the argument and the first index at fault.
    """
    if hasattr(value, "tocsr"):
        raise MdpkitError(name, "a dense array", type(value).__name__, "call .toarray() first")
    try:
        raw = np.asarray(value)
    except (ValueError, TypeError) as e:
        raise MdpkitError(name, "an array of numbers", value, "is it ragged?") from e
    if raw.dtype.kind not in ("iu" if integer else "iuf"):
        kind = "integers" if integer else "real numbers"
        raise MdpkitError(name, f"an array of {kind}", None, came=f"its dtype is {raw.dtype}")
    wanted = tuple("n" if k is None else k for k in shape)
    if raw.ndim != len(wanted) or any(isinstance(k, int) and k != n for k, n in zip(wanted, raw.shape)):
        text = "(" + ", ".join(map(str, wanted)) + ("," if len(wanted) == 1 else "") + ")"
        raise MdpkitError(name, f"of shape {text}", None, came=f"its shape is {raw.shape}")
    for axis, (k, n) in enumerate(zip(shape, raw.shape)):
        if n == 0 and isinstance(k, str):
            raise MdpkitError(name, f"non-empty along axis {axis}", None, came=f"its shape is {raw.shape}")
    if not integer and not np.isfinite(raw).all():
        at = tuple(int(i) for i in np.argwhere(~np.isfinite(raw))[0])
        raise MdpkitError(index(name, at), "finite", float(raw[at]))
    if raw.dtype.itemsize > 8 or (integer and raw.dtype == np.uint64):      # what the cast could not hold
        top = np.iinfo(np.int64).max if integer else np.finfo(np.float64).max
        if raw.size and max(abs(raw.max()), abs(raw.min())) > top:
            raise MdpkitError(name, "within " + ("int64" if integer else "float64"), None, came="it is larger")
    dtype = np.int64 if integer else np.float64
    if not copy and raw.dtype == dtype and raw.flags.c_contiguous and not raw.flags.writeable:
        return raw
    out = np.array(raw, dtype=dtype, order="C", copy=True)
    out.flags.writeable = False
    return out


def index(name: str, at: Sequence[int | str]) -> str:
    """``P[1, 0, :]`` from the name and the index."""
    return f"{name}[{', '.join(map(str, at))}]" if len(at) else name


def within(name: str, value: np.ndarray, lo: float, hi: float) -> np.ndarray:
    """Every entry in [lo, hi]."""
    if value.size and not (value.min() >= lo and value.max() <= hi):
        at = tuple(int(i) for i in np.argwhere(~((value >= lo) & (value <= hi)))[0])
        raise MdpkitError(index(name, at), f"in [{lo:g}, {hi:g}]", float(value[at]))
    return value


def simplex(name: str, value: Any, shape: Sequence[int | str | None], *, flush: bool = False) -> np.ndarray:
    """Probability vectors along the last axis, canonical."""
    p = array(name, value, shape)
    rows = p.reshape(-1, p.shape[-1])
    ptr = np.arange(0, rows.size + 1, rows.shape[1], dtype=np.int64)
    where = lambda k: index(name, (*(int(i) for i in np.unravel_index(k, p.shape[:-1])), ":"))
    out = canonical_rows(rows.ravel(), ptr, where, flush=flush).reshape(p.shape)
    out.flags.writeable = False
    return out


def canonical_rows(p: np.ndarray, ptr: np.ndarray, where: Any, *, flush: bool = False,
                   out: np.ndarray | None = None) -> np.ndarray:
    """Rows ``p[ptr[k]:ptr[k+1]]`` moved to multiples of 2**-52 that sum to exactly 1 (largest remainder).

    Canonical rows are fixed points; any entry moves by less than len(row) * 2**-52. Ties of the remainders go to
    the lowest index. ``where(k)`` names row k in messages. Rows are moved a block at a time, so that large arrays need
    little more room than their result, which is ``out`` (it may be ``p``) where given.

    Raises
    ------
    MdpkitError
        A negative entry, a sum off by more than 1e-9, or, unless ``flush``, a positive entry below 2**-53.
    """
    if p.size <= BLOCK:
        return _canonical(p, ptr, where, flush)
    out, begin = np.empty(p.size) if out is None else out, 0
    while begin < ptr.size - 1:
        end = max(begin + 1, int(np.searchsorted(ptr, ptr[begin] + BLOCK, side="right")) - 1)
        near, place = slice(int(ptr[begin]), int(ptr[end])), lambda k, first=begin: where(first + k)
        out[near] = _canonical(p[near], ptr[begin : end + 1] - ptr[begin], place, flush)
        begin = end
    return out


def _canonical(p: np.ndarray, ptr: np.ndarray, where: Any, flush: bool) -> np.ndarray:
    scaled = p * UNIT
    if scaled.size and scaled.min() >= 0 and (scaled == np.floor(scaled)).all() and \
            (np.add.reduceat(scaled, ptr[:-1]) == UNIT).all():
        return p.copy()                                   # canonical already: sums of integers below 2**53 are exact
    n = np.diff(ptr)
    row = np.repeat(np.arange(n.size), n)
    if (p < 0).any():
        j = int(np.argmax(p < 0))
        raise MdpkitError(where(int(row[j])), "a probability vector", None,
                          came=f"entry {j - int(ptr[row[j]])} is {p[j]:g}")
    total = np.bincount(row, weights=p, minlength=n.size)
    off = ~(np.abs(total - 1.0) <= SUM_TOLERANCE)
    if off.any():
        k = int(np.argmax(off))
        hint = "float32 rows are off by 1e-7: normalise in float64" if abs(total[k] - 1) < 1e-5 else ""
        raise MdpkitError(where(k), "a probability vector", None, hint, came=f"it sums to {total[k]:.10g}")
    tiny = (p > 0) & (p < SMALLEST)
    if tiny.any() and not flush:
        j = int(np.argmax(tiny))
        raise MdpkitError(where(int(row[j])), "free of positive entries below 2**-53", None,
                          "flush=True drops them", came=f"entry {j - int(ptr[row[j]])} is {p[j]:g}")
    x = np.where(tiny, 0.0, np.divide(p, total[row], out=scaled))       # in place, here and below: p may be long
    x *= UNIT
    del scaled
    units = np.floor(x).astype(np.int64)
    alive = (x > 0) & (units == 0)                        # at least half a unit: the support must not change
    fixed = alive | (x <= 0)
    np.subtract(units, x, out=x)                          # minus the remainder
    x[fixed] = 1.0
    units[alive] = 1
    missing = 2**52 - np.add.reduceat(units, ptr[:-1])
    order = np.lexsort((x, row))                          # by row, then by falling remainder; stable
    del x
    rank = np.empty(p.size, np.int64)
    place = np.arange(p.size)
    if n.size > 1:
        place -= ptr[row]
    rank[order] = place
    del order, place
    units += rank < (missing[row] if n.size > 1 else missing[0])
    for k in np.flatnonzero(missing < 0).tolist():        # the bumped entries took too much: the largest pays
        seg = slice(int(ptr[k]), int(ptr[k + 1]))
        units[seg.start + int(np.argmax(units[seg]))] += missing[k]
    return units / UNIT


def interval(name: str, value: Any, lo: float, hi: float, *, open_lo: bool = False, open_hi: bool = False) -> float:
    """A float in the interval."""
    x = real(name, value)
    if not ((lo < x if open_lo else lo <= x) and (x < hi if open_hi else x <= hi)):
        raise MdpkitError(name, f"in {'(' if open_lo else '['}{lo:g}, {hi:g}{')' if open_hi else ']'}", x)
    return x


def real(name: str, value: Any) -> float:
    """A finite float; booleans, text and arrays are refused."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        raise MdpkitError(name, "a real number", value)
    try:
        x = float(value)
    except OverflowError as e:
        raise MdpkitError(name, "within float64", None, came="it is larger") from e
    if not math.isfinite(x):
        raise MdpkitError(name, "finite", x)
    return x


def count(name: str, value: Any, lo: int = 1, hi: int | None = None) -> int:
    """An integer, lo <= value (<= hi)."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise MdpkitError(name, "an integer", value)
    if value < lo or (hi is not None and value > hi):
        raise MdpkitError(name, f"at least {lo}" + (f" and at most {hi}" if hi is not None else ""), int(value))
    return int(value)


def choice(name: str, value: Any, options: Sequence[str]) -> str:
    """One of the options."""
    if not isinstance(value, str) or value not in options:
        raise MdpkitError(name, "one of " + ", ".join(repr(o) for o in options), value)
    return value


def generator(name: str, value: Any) -> np.random.Generator:
    """A numpy Generator; seeds are refused, so that no two callers share a stream by accident."""
    if not isinstance(value, np.random.Generator):
        raise MdpkitError(name, "a numpy.random.Generator", value, "pass numpy.random.default_rng(seed)")
    return value


def instance(name: str, value: Any, kinds: type | tuple[type, ...]) -> Any:
    """An instance of one of the kinds."""
    if not isinstance(value, kinds):
        names = kinds if isinstance(kinds, tuple) else (kinds,)
        raise MdpkitError(name, "a " + " or ".join(k.__name__ for k in names), None,
                          came=f"it is a {type(value).__name__}")
    return value


def policy(name: str, value: Any, shape: tuple[int, ...]) -> np.ndarray:
    """A policy of shape (..., S, A) as probabilities; integer input of shape (..., S) is read as actions."""
    try:
        raw = np.asarray(value)
    except (ValueError, TypeError) as e:
        raise MdpkitError(name, "an array of numbers", value, "is it ragged?") from e
    if raw.dtype.kind in "iu" and raw.ndim == len(shape) - 1:
        actions = array(name, raw, shape[:-1], integer=True)
        within(name, actions, 0, shape[-1] - 1)
        out = np.zeros(shape)
        np.put_along_axis(out, actions[..., None], 1.0, axis=-1)
        out.flags.writeable = False
        return out
    return simplex(name, value, shape, flush=True)
