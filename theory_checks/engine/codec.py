"""Worlds and rows as JSON: numbers, text, arrays, rationals and models go in and come out bit for bit."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import numpy as np

from mdpkit.errors import MdpkitError
from mdpkit.models.record import model_class


def encode(value: Any) -> Any:
    """The JSON form of a value."""
    if value is None or isinstance(value, bool | str | int | float):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Fraction):
        return {"__fraction__": f"{value.numerator}/{value.denominator}"}
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        data = base64.b64encode(np.ascontiguousarray(value).tobytes()).decode()
        return {"__array__": data, "dtype": str(value.dtype), "shape": list(value.shape)}
    if isinstance(value, Mapping):
        return {str(k): encode(v) for k, v in value.items()}
    if isinstance(value, tuple | list):
        return [encode(v) for v in value]
    if dataclasses.is_dataclass(value) and type(value).__module__.startswith("mdpkit.models."):
        fields = {f.name: encode(getattr(value, f.name)) for f in dataclasses.fields(value)}
        return {"__model__": f"{type(value).__module__}:{type(value).__name__}", **fields}
    raise MdpkitError("value", "numbers, text, arrays, rationals, models, or lists and mappings of these", value)


def decode(value: Any) -> Any:
    """The value of a JSON form."""
    if isinstance(value, list):
        return [decode(v) for v in value]
    if not isinstance(value, dict):
        return value
    if "__fraction__" in value:
        return Fraction(value["__fraction__"])
    if "__array__" in value:
        raw = np.frombuffer(base64.b64decode(value["__array__"]), dtype=value["dtype"])
        return raw.reshape(value["shape"])
    if "__model__" in value:
        kind = model_class(value["__model__"], "world")
        return kind(**{k: decode(v) for k, v in value.items() if k != "__model__"})
    return {k: decode(v) for k, v in value.items()}


def canonical(value: Any) -> str:
    """One text for one value: sorted keys, no spaces, shortest floats that read back."""
    return json.dumps(encode(value), sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def digest(*texts: str) -> str:
    """sha256 over texts, in hexadecimal."""
    total = hashlib.sha256()
    for text in texts:
        total.update(text.encode())
        total.update(b"\0")
    return total.hexdigest()


def pasteable(value: Any) -> str:
    """Python that builds the value again, for a counterexample in a message."""
    if isinstance(value, np.ndarray):
        return repr(value.tolist())
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        inner = ", ".join(f"{f.name}={pasteable(getattr(value, f.name))}" for f in dataclasses.fields(value)
                          if getattr(value, f.name) is not None)
        return f"{type(value).__name__}({inner})"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{k!r}: {pasteable(v)}" for k, v in value.items()) + "}"
    if isinstance(value, tuple | list):
        return "[" + ", ".join(pasteable(v) for v in value) + "]"
    return repr(value)
