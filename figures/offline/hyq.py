"""Hy-Q: cumulative regret on the lock with lucky traps L(8, 4), log-log, against offline data and episodes alone.

Medians and quartiles over runs of claim C4, whose rows they are; a dotted line of slope 1/2.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from figures.engine import style
from theory_checks.offline.hyq import DRAWN

RUNS = 64
NAMES = {"hybrid": "Hy-Q: data and episodes", "offline": "data alone (FQI once)", "online": "episodes alone"}


def compute(rows: Any) -> dict[str, np.ndarray]:
    """Quartiles (3, len(t)) of each curve and the iterations t."""
    found = rows.of("C4", RUNS)
    quartiles = {name: np.percentile([np.asarray(r["curves"][name]) for r in found], (25, 50, 75), axis=0)
                 for name in NAMES}
    return {"t": DRAWN, **quartiles}


def draw(data: Mapping[str, np.ndarray], figure: Any, verdicts: Mapping[str, str] | None = None) -> None:
    """One axis; zero regret is drawn at the foot."""
    ax = figure.add_subplot()
    t, foot = data["t"], 0.1
    for i, (name, label) in enumerate(NAMES.items()):
        low, middle, high = np.maximum(data[name], foot)
        # markers apart, since two of the curves coincide
        ax.plot(t, middle, label=label, markevery=(4 * i, 12), **style.line(i))
        ax.fill_between(t, low, high, color=style.COLOURS[i], alpha=0.15, lw=0)
    ax.plot(t, 0.3 * np.sqrt(t), color="0.5", linestyle=":", lw=1.0, label=r"slope $1/2$")
    ax.set(xscale="log", yscale="log", xlabel="iteration $t$ (one episode each)",
           ylabel="cumulative regret $\\sum_{i\\leq t} V^* - V^{\\pi^i}$",
           title="Lock with lucky traps, $H = 8$, $A = 4$, 300 logged episodes")
    ax.legend(loc="upper left", frameon=False)
    if verdicts and "C4" in verdicts:
        style.note(ax, f"C4 (hybrid beats both alone): {verdicts['C4']}")
