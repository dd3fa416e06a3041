"""mmd: say what is drawn, on which instance, and which shape the paper reports."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from algorithms.games import mmd as paper
from figures.engine import style


def compute(rows: Any) -> dict[str, np.ndarray]:
    """The arrays behind the figure: from ``rows.of(claim, n)`` where a claim has them, or computed here."""
    total = paper.demo(np.random.default_rng(0)).output
    return {"t": np.arange(total.size), "total": total.ravel()}


def draw(data: Mapping[str, np.ndarray], figure: Any, verdicts: Mapping[str, str] | None = None) -> None:
    """Axes with labels and units; the verdict beside the curve."""
    ax = figure.add_subplot()
    ax.plot(data["t"], data["total"], label="reward seen", **style.line(0))
    ax.set(xlabel="step, state and action", ylabel="total reward")
    ax.legend(frameon=False)
    if verdicts and "C1" in verdicts:
        style.note(ax, f"C1: {verdicts['C1']}")
