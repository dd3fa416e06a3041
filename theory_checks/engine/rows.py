"""How a row of a sure claim is read: by how much it violates, and how near it comes."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any


def excess(row: dict) -> Any:
    """measured - bound - slack; positive for a violation, inf where a number is missing. Rationals stay exact."""
    measured, bound, slack = row["measured"], row["bound"], row.get("slack", 0)
    if isinstance(measured, Fraction) or isinstance(bound, Fraction):
        return measured - bound - slack
    measured, bound = float(measured), float(bound)
    if math.isnan(measured) or math.isnan(bound):
        return math.inf
    if math.isinf(measured) and math.isinf(bound):
        return 0.0 if measured <= bound else math.inf
    return measured - bound - float(slack)


def tightness(row: dict) -> float:
    """Realised over bound; for an identity, whose bound is 0, the residual over its slack."""
    measured, bound, slack = (float(row.get(k, 0)) for k in ("measured", "bound", "slack"))
    below = bound if bound else slack
    if measured == 0:
        return 0.0
    return measured / below if below and math.isfinite(below) else (0.0 if below else math.inf)
