"""How a row of a sure claim is read: by how much it violates, and how near it comes."""

from __future__ import annotations

import math
from collections.abc import Iterable
from fractions import Fraction
from typing import Any

from mdpkit.rational import fraction


def excess(row: dict) -> Any:
    """measured - bound - slack; positive for a violation, inf where a number is missing. Rationals stay exact."""
    measured, bound, slack = row["measured"], row["bound"], row.get("slack", 0.0)
    if type(measured) is type(bound) is Fraction and slack == 0:        # most rows: these, and finite floats
        return measured - bound
    if type(measured) is type(bound) is type(slack) is float and math.isfinite(far := measured - bound - slack):
        return far
    parts = [measured, bound, slack]
    if any(math.isnan(p) for p in parts) or math.isinf(slack):
        return math.inf
    if any(math.isinf(p) for p in parts):
        return 0.0 if measured <= bound else math.inf
    number: Any = Fraction if any(isinstance(p, Fraction) for p in parts) else float    # a float is a rational
    measured, bound, slack = (number(p) for p in parts)
    return measured - bound - slack


def tightness(row: dict) -> float:
    """Realised over bound; for an identity, whose bound is 0, the residual over its slack."""
    measured, bound, slack = (float(row.get(k, 0)) for k in ("measured", "bound", "slack"))
    below = bound if bound else slack
    if measured == 0:
        return 0.0
    return measured / below if below and math.isfinite(below) else (0.0 if below else math.inf)


def exact_row(measured: Any, bound: Any) -> dict:
    """A row of rationals."""
    return {"measured": fraction(measured), "bound": fraction(bound)}


def worst(rows: Iterable[dict]) -> dict:
    """The row that violates most, or else the one nearest to its bound."""
    return max(rows, key=lambda row: (max(excess(row), 0), tightness(row)))


def worst_of(*pairs: tuple[Any, Any]) -> dict:
    """The worst of (measured, bound), in rationals."""
    return worst(exact_row(measured, bound) for measured, bound in pairs)
