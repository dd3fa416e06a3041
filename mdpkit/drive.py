"""`drive` and `call`: how a compiled learner is let into a world, and how its log comes out.

They are methods of every access object that has a world (``access.drive(...)``).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np

from mdpkit import validate
from mdpkit.crossing import enter
from mdpkit.errors import AccessDenied, MdpkitError
from mdpkit.records import Trace
from mdpkit.worlds.faults import broken

CHUNK_BYTES = 2**20      # a crossing costs some 50 us: a megabyte makes it vanish, and stays in a core's own cache
CHUNK_ROWS = 2**14
VERB_OF_FIELD = {"here": "step", "lives": "start", "allowed": "reset", "asks": "ask", "context_size": "reveal"}


def drive(access: Any, kernel: Callable, state: tuple, log: Any, n: int, rng: np.random.Generator) -> Trace | None:
    """Play n episodes inside ``kernel`` and stream its log.

    Parameters
    ----------
    kernel : compiled function ``(world, *state, log, first, rng)``
        Plays ``len(log)`` episodes, the first of them episode ``first`` of the run, and writes one row an episode.
    state : tuple of arrays
        What the learner remembers between chunks.
    log : array, or NamedTuple of arrays
        One row, as it stands before the kernel writes it. A log of several fields comes to the kernel as that
        NamedTuple of arrays with a leading axis; the first field counts as the policy.
    n : int
        Episodes.
    rng : numpy.random.Generator
        The learner's own.

    Returns
    -------
    Trace or None
        The trace, unless the access object has a ``watch``, which has then seen every row.

    Raises
    ------
    AccessDenied
        The kernel uses a verb that this access does not grant, or has broken a rule of the world. The latter comes to
        light when the kernel returns: the chunk is dropped, ``watch`` does not see it. What the chunk played by the
        rules is counted in ``samples``; verbs against a rule did nothing.
    """
    n = validate.count("n", n, 0)
    validate.generator("rng", rng)
    _check_call(kernel, state, log)
    row = tuple(np.asarray(field) for field in log) if isinstance(log, tuple) else (np.asarray(log),)
    chunk = access.chunk or max(1, min(CHUNK_ROWS, CHUNK_BYTES // max(8, sum(f.nbytes for f in row))))
    buffers = tuple(np.empty((min(chunk, n), *field.shape), field.dtype) for field in row)
    keeper = None if access.watch else _Keeper(row, n)
    for first in range(0, n, chunk):
        rows = tuple(b[: min(chunk, n - first)] for b in buffers)
        for field, block in zip(row, rows):
            block[...] = field
        _enter(access, kernel, (*state, _like(log, rows), first, rng))
        for block in rows:
            block.flags.writeable = False
        if keeper is not None:
            keeper.take(first, rows)
        else:
            access.watch(first, _like(log, rows))
    return keeper.trace(log) if keeper is not None else None


def call(access: Any, kernel: Callable, *args: Any) -> Any:
    """``kernel(world, *args)``: for algorithms of few dear steps. Returns what the kernel returns.

    Raises AccessDenied as `drive` does; what a kernel that broke a rule returns is dropped.
    """
    return _enter(access, kernel, args)


def _check_call(kernel: Any, state: Any, log: Any) -> None:
    if not callable(kernel):
        raise MdpkitError("kernel", "a compiled function (world, *state, log, first, rng)", kernel)
    if not isinstance(state, tuple):
        raise MdpkitError("state", "a tuple", None, came=f"it is a {type(state).__name__}")
    fields = log if hasattr(log, "_fields") else (log,)
    for field in fields:
        if not isinstance(field, np.ndarray | np.generic) or field.dtype.kind not in "biuf":
            raise MdpkitError("log", "one row: an array of numbers, or a NamedTuple of such arrays", log)


def _like(log: Any, rows: tuple[np.ndarray, ...]) -> Any:
    return type(log)(*rows) if isinstance(log, tuple) else rows[0]


def _enter(access: Any, kernel: Callable, args: tuple) -> Any:
    try:
        answer = enter(kernel, access._world, *args)
    except Exception as e:                       # numba's TypingError, or AttributeError when interpreted
        verb = _missing_verb(e)
        if verb is not None:
            broken(access._world.fault)
            raise AccessDenied(_name(kernel), f"content with what {type(access).__name__} access grants", None,
                               came=f"it calls {verb}, which it does not") from None
        _obeyed(access, kernel, e)               # an error after a broken rule may well be its consequence
        raise
    _obeyed(access, kernel, None)
    return answer


def _obeyed(access: Any, kernel: Callable, cause: Exception | None) -> None:
    came = broken(access._world.fault)
    if came:
        raise AccessDenied(_name(kernel), "obedient to the rules of the world", None, came=came) from cause


def _missing_verb(e: Exception) -> str | None:
    compiled = re.search(r"Unknown attribute '(\w+)' of type \w*World\(", str(e))
    lacks = compiled or re.search(r"'\w*World' object has no attribute '(\w+)'", str(e))
    if not lacks:
        return None
    return f"`{VERB_OF_FIELD[lacks.group(1)]}`" if lacks.group(1) in VERB_OF_FIELD else "a verb of another world"


def _name(kernel: Callable) -> str:
    return getattr(kernel, "__name__", repr(kernel))


class _Keeper:
    """Collects a log: distinct policies once, by their bits (0.0 and -0.0 differ), the other fields whole."""

    def __init__(self, row: tuple[np.ndarray, ...], n: int):
        self.index = np.empty(n, np.int64)
        self.one, self.found = row[0], dict[bytes, int]()
        self.others = [np.empty((n, *f.shape), f.dtype) for f in row[1:]]

    def take(self, first: int, rows: tuple[np.ndarray, ...]) -> None:
        policy, n, size = np.ascontiguousarray(rows[0]), len(rows[0]), self.one.nbytes
        flat = policy.reshape(n, -1).view(np.uint8)
        new = np.ones(n, np.bool_)
        new[1:] = (flat[1:] != flat[:-1]).any(1)
        raw, found = policy.tobytes(), self.found
        which = [found.setdefault(raw[t * size: (t + 1) * size], len(found)) for t in np.flatnonzero(new).tolist()]
        self.index[first: first + n] = np.array(which, np.int64)[np.cumsum(new) - 1]
        for kept, block in zip(self.others, rows[1:]):
            kept[first: first + n] = block

    def trace(self, log: Any) -> Trace:
        if not self.found:
            raise MdpkitError("n", "at least 1 to give a trace", 0)
        names = log._fields[1:] if hasattr(log, "_fields") else ()
        policies = np.frombuffer(b"".join(self.found), self.one.dtype).reshape(-1, *self.one.shape)
        return Trace(policies, self.index, dict(zip(names, self.others)))
