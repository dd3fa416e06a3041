"""Calling a compiled kernel with a world, without typing the world anew at each call.

numba asks Python for the type of every NamedTuple that it is handed, which costs some twenty times what the call does.
Here the compiled version (`enter`, any kernel), or the type (`remember_types`, where numba makes the call), is looked
up by a key that says all that a type depends on; the first call with a key goes through numba. What the key cannot say
(text, integers beyond 64 bits, records of other kinds) always does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

PLAIN = frozenset({float, bool, type(None), np.random.Generator, np.float64, np.int64, np.bool_})
BIG = 2**63


class _Untold(Exception):
    """A value whose type no key tells."""


def enter(kernel: Callable, *args: Any) -> Any:
    """``kernel(*args)``, the same in all but the time that it takes to begin."""
    versions = getattr(kernel, "overloads", None)
    if versions is None:                                    # interpreted
        return kernel(*args)
    try:
        key = tuple(_key(arg) for arg in args)
    except _Untold:
        return kernel(*args)
    entries = kernel.__dict__.setdefault("_mdpkit_entries", {})
    entry = entries.get(key)
    if entry is not None:
        return entry(*args)
    answer = kernel(*args)
    version = versions.get(tuple(kernel.typeof_pyval(arg) for arg in args))  # type: ignore[attr-defined]
    if version is not None:
        entries[key] = version.entry_point
    return answer


def remember_types(kernel: Any) -> None:
    """Let the calls that numba dispatches itself ask for each type once."""
    ask, known = kernel.typeof_pyval, dict[Any, Any]()

    def typeof_pyval(x: Any) -> Any:
        try:
            key = _key(x)
        except _Untold:
            return ask(x)
        found = known.get(key)
        if found is None:
            found = known[key] = ask(x)
        return found

    kernel.typeof_pyval = typeof_pyval


def _key(x: Any) -> Any:
    """What numba's type of ``x`` depends on: of arrays kind, axes, order, alignment and whether they may be written."""
    if isinstance(x, np.ndarray):
        return x.dtype, x.ndim, x.flags.num
    if isinstance(x, tuple):
        return type(x), *(_key(part) for part in x)
    kind = type(x)
    if kind is int:
        if -BIG <= x < BIG:
            return int
        raise _Untold
    if kind in PLAIN:
        return kind
    raise _Untold
