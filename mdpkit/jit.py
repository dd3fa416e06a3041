"""`kernel`: the one way to compile.

A kernel's machine code is kept in a folder named by the `code_key` of its module, so that an edit in any module that
it imports recompiles it and its neighbours stay cached. Each file carries a checksum: a damaged one is rebuilt.

Write ``step = kernel(_step)`` rather than decorating, so that the body stays visible to mutation tools. With
NUMBA_DISABLE_JIT=1 `kernel` returns the body itself.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import llvmlite
import numba
import numpy as np
from numba.core import config
from numba.core.caching import CompileResultCacheImpl, FunctionCache, IndexDataCacheFile, _CacheLocator

from mdpkit.code import code_key, sources
from mdpkit.crossing import remember_types

KEPT_FOLDERS = 6     # older builds of a module than these are removed when a new one appears
_DIGEST = 32


def kernel(body: Callable, *signatures: Any, reassoc: bool = False, inline: bool = False,
           checked: bool = True) -> Callable:
    """Compile ``body`` in nopython mode, cached under the `code_key` of its module.

    Parameters
    ----------
    body : function
        Loops over + - * /, math.sqrt, exp, log and Generator methods: then compiled and interpreted runs agree bit
        for bit. tests/contract holds algorithms and worlds to that vocabulary.
    signatures : numba signatures
        Compile these at once and no others (for shared pieces that are dear to compile).
    reassoc : bool
        Let the compiler reorder sums. Only for solvers whose answer is certified afterwards.
    inline : bool
        Put the body into the kernels that call it: for one that is handed many arrays once an episode, where handing
        them over takes longer than what it does.
    checked : bool
        Raise on a division by zero. Without, it gives inf or nan, as interpreted: for loops all of whose divisors are
        positive by construction, told beside. numba counts references in a loop that an exception may leave, which can
        be half of what it does.

    Returns
    -------
    function
        The compiled function, or ``body`` where compiling is switched off.
    """
    if config.DISABLE_JIT:  # type: ignore[attr-defined]
        return body
    dispatcher: Any = numba.njit(nogil=True, fastmath={"reassoc"} if reassoc else False,
                                 inline="always" if inline else "never",
                                 error_model="python" if checked else "numpy")(body)
    cache = _cache_of(body, "reassoc " * reassoc + "unchecked" * (not checked))
    if cache is not None:
        dispatcher._cache = cache
    remember_types(dispatcher)
    for signature in signatures:
        dispatcher.compile(signature)
    if signatures:
        dispatcher.disable_compile()
    return dispatcher


def cache_root() -> Path:
    """Where compiled code is kept: $MDPKIT_CACHE_DIR, or the user's cache folder, or a temporary one."""
    named = os.environ.get("MDPKIT_CACHE_DIR")
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    user = os.getuid() if hasattr(os, "getuid") else "user"
    for folder in (named, os.path.join(home, "mdpkit"), os.path.join(tempfile.gettempdir(), f"mdpkit-{user}")):
        if folder and _writable(Path(folder)):
            return Path(folder)
    return Path(tempfile.mkdtemp(prefix="mdpkit-"))


def build_flags() -> str:
    """The versions and the NUMBA_* settings that change machine code."""
    flags = sorted(f"{k}={v}" for k, v in os.environ.items()
                   if k.startswith("NUMBA_") and k not in ("NUMBA_CACHE_DIR", "NUMBA_NUM_THREADS"))
    return " ".join([numba.__version__, llvmlite.__version__, np.__version__, *flags])


def _cache_of(body: Callable, flag: str = "") -> _HouseCache | None:
    """None where the code behind ``body`` cannot be named: then nothing is kept."""
    module = body.__module__
    if module == "__main__" or body.__closure__:
        return None
    try:
        if module not in sources(module):
            return None
        key = code_key(module, f"{build_flags()} {flag}")
    except (OSError, SyntaxError):
        return None
    folder = cache_root() / module / key[:24]
    if not folder.exists():
        _prune(folder.parent)
    return _HouseCache(body, folder, key)


def _prune(parent: Path) -> None:
    if parent.is_dir():
        builds = sorted(parent.iterdir(), key=lambda d: d.stat().st_mtime if d.exists() else time.time())
        for old in builds[:-KEPT_FOLDERS]:
            shutil.rmtree(old, ignore_errors=True)


def _writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK)


class _Locator(_CacheLocator):
    def __init__(self, body: Callable, folder: Path, key: str):
        self._folder, self._key = folder, key
        self._py_file, self._line = body.__code__.co_filename, body.__code__.co_firstlineno

    def get_cache_path(self) -> str:
        return str(self._folder)

    def get_source_stamp(self) -> str:
        return self._key

    def get_disambiguator(self) -> str:
        return str(self._line)


class _Impl(CompileResultCacheImpl):
    def __init__(self, body: Callable, locator: _Locator):
        self._locator, self._lineno = locator, body.__code__.co_firstlineno
        self._filename_base = self.get_filename_base(body.__qualname__, "")


class _Files(IndexDataCacheFile):
    """One file a signature, which holds its key and ends in the sha256 of what comes before.

    numba's own numbered files, with an index beside them, let two processes that compile at once give one number to
    two signatures: later ones then run machine code made for other types. Here the name comes from the key.
    """

    def flush(self) -> None:
        for part in Path(self._cache_path).glob(f"{self._stem}.*"):
            part.unlink(missing_ok=True)

    def save(self, key: Any, data: Any) -> None:
        blob = self._dump((key, data))
        with self._open_for_write(self._path(key)) as f:
            f.write(blob + hashlib.sha256(blob).digest())

    def load(self, key: Any) -> Any:
        try:
            blob = Path(self._path(key)).read_bytes()
        except FileNotFoundError:
            return None
        if hashlib.sha256(blob[:-_DIGEST]).digest() != blob[-_DIGEST:]:
            raise ValueError("damaged")
        kept, data = pickle.loads(blob)      # stops at its own end: the digest behind it is not read
        return data if kept == key else None

    def _path(self, key: Any) -> str:
        name = hashlib.sha256(repr(key).encode()).hexdigest()[:16]
        return self._data_path(f"{self._stem}.{name}.nbc")

    @property
    def _stem(self) -> str:
        return self._index_name.removesuffix(".nbi")


class _HouseCache(FunctionCache):
    def __init__(self, body: Callable, folder: Path, key: str):
        locator = _Locator(body, folder, key)
        self._name, self._py_func = repr(body), body
        self._impl = _Impl(body, locator)
        self._cache_path = locator.get_cache_path()
        self._cache_file = _Files(self._cache_path, self._impl.filename_base, key)
        self.enable()

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            return super().load_overload(sig, target_context)
        except Exception:        # whatever a damaged file makes pickle raise: forget it and compile again
            self.flush()
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        try:
            super().save_overload(sig, data)
        except OSError:          # a full or read-only disk costs speed, not the answer
            self.disable()
