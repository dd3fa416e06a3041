"""What can be seen only by running: bits of values, global state, and the papers' demos."""

from __future__ import annotations

import dataclasses
import hashlib
from fractions import Fraction
from typing import Any

import numpy as np

from mdpkit import papers


def digest(value: Any) -> str:
    """sha256 over a value, bit for bit: 0.0 and -0.0 differ, and so do 1 and 1.0."""
    total = hashlib.sha256()
    _feed(total, value)
    return total.hexdigest()


def _feed(total: Any, value: Any) -> None:
    total.update(f"\0{type(value).__name__}\0".encode())
    if isinstance(value, np.ndarray | np.generic):
        value = np.asarray(value)
        total.update(f"{value.dtype}{value.shape}".encode())
        if value.dtype == object:
            _feed(total, value.tolist())
        else:
            total.update(np.ascontiguousarray(value).tobytes())
    elif isinstance(value, float):
        total.update(np.float64(value).tobytes())
    elif value is None or isinstance(value, bool | int | str | bytes | Fraction):
        total.update(repr(value).encode())
    elif isinstance(value, dict):
        _feed(total, sorted(value.items()))
    elif isinstance(value, list | tuple):
        total.update(str(len(value)).encode())
        for part in value:
            _feed(total, part)
    elif dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            _feed(total, getattr(value, field.name))
    else:
        raise TypeError(f"no digest of {type(value).__name__}")


def state() -> dict[str, str]:
    """The global state that nothing may touch."""
    import locale
    import os
    import random
    import warnings

    import matplotlib
    import numba

    flags = {k: getattr(numba.config, k) for k in dir(numba.config) if k.isupper()}
    legacy = np.random.get_state()[1:]                                                   # noqa: NPY002
    return {"numpy.random": digest(legacy), "random": digest(random.getstate()),
            "errors": str(np.geterr()), "warnings": str(warnings.filters), "numba": str(flags),
            "locale": locale.setlocale(locale.LC_ALL), "style": str(sorted(map(str, matplotlib.rcParams.items()))),
            "environment": str(sorted(os.environ.items())), "folder": os.getcwd(),
            "printing": str(np.get_printoptions())}


def changes(act: Any) -> list[str]:
    """What of the global state a call changes."""
    before = state()
    act()
    after = state()
    return [k for k in before if before[k] != after[k]]


def demos() -> dict[str, dict[str, Any]]:
    """Each paper's demo, run twice from the same seed: digests of all parts, and what the second run changed."""
    out = {}
    for slug, entry in papers.find().items():
        module = entry.module("algorithms")
        results = [module.demo(np.random.default_rng(7))]            # libraries that load on first use are in now
        touched = changes(lambda module=module, results=results: results.append(module.demo(np.random.default_rng(7))))
        parts = ("output", "trace", "params", "samples")
        first, second = ({p: digest(getattr(r, p)) for p in parts} for r in results)
        out[slug] = {"digest": first, "again": second, "touched": touched, "params": type(results[0].params).__module__}
    return out
