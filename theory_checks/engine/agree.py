"""Whether two rows of one task agree: bit for bit, or, where a library added in its own order, within a certificate."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from theory_checks.engine import codec

ROUND = 1e-9            # relative room where a row names no slack of its own
SEARCHED = ("world", "examples", "violated")


def disagreement(one: str, two: str) -> str:
    """What two stored rows of the same task differ in; empty where they agree.

    Rows of loops agree bit for bit. Marked rows agree when each number lies within the certificate of the other:
    "measured" and "bound" within the slack of both rows, where they name one, everything else within `ROUND` of
    its size; truth values, counts and text are the same. Two marked searches may have ended in different worlds:
    then only what they found, a violation or none, is compared.
    """
    if one == two:
        return ""
    a, b = (codec.decode(json.loads(row)) for row in (one, two))
    if not (a.get("marked") and b.get("marked")):
        return "bits"
    if not _same(a.get("world"), b.get("world")):
        a, b = ({k: row.get(k) for k in ("violated", "examples")} for row in (a, b))
    return ", ".join(k for k in sorted({*a, *b} - {"world"}) if not _near(k, a, b))


def searched_again(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """``new``, measured in the world of the search's row ``old``, as a row that can be compared with it."""
    return {**new, "marked": True, **{k: old[k] for k in SEARCHED if k in old}}


def _near(name: str, a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    slack = sum(_finite(row.get("slack", 0)) for row in (a, b)) if name in ("measured", "bound") else 0.0
    return _close(a.get(name), b.get(name), slack)


def _close(x: Any, y: Any, slack: float) -> bool:
    if isinstance(x, list) and isinstance(y, list):
        return len(x) == len(y) and all(_close(u, v, slack) for u, v in zip(x, y))
    if isinstance(x, Mapping) and isinstance(y, Mapping):
        return x.keys() == y.keys() and all(_close(x[k], y[k], slack) for k in x)
    if any(v is None or isinstance(v, bool | str | Mapping | list) for v in (x, y)):
        return _same(x, y)
    x, y = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    if x.shape != y.shape:
        return False
    room = slack if slack > 0 else ROUND * np.maximum(1.0, np.minimum(np.abs(x), np.abs(y)))
    with np.errstate(invalid="ignore"):
        return bool(np.all((x == y) | (np.isnan(x) & np.isnan(y)) | (np.abs(x - y) <= room)))


def _same(x: Any, y: Any) -> bool:
    return codec.canonical(x) == codec.canonical(y)


def _finite(x: Any) -> float:
    return float(x) if math.isfinite(x) else 0.0
