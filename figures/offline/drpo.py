"""DR-PO: value and reach against iterations on the chain with an easy way out, with resets and without.

Medians and quartiles over runs of claim C4, whose rows they are. Right: how often the roll-outs of an iteration, of
which there are 150, stand in the last state of the chain, means of ten iterations each.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from figures.engine import style
from theory_checks.offline.drpo import SHOWN

RUNS = 64
NAMES = {"reset": "DR-PO: resets to logged states", "roll_in": "rolling in from the start"}


def compute(rows: Any) -> dict[str, np.ndarray]:
    """Quartiles (3, n) of values and visits, and their iterations."""
    found = rows.of("C4", RUNS)
    curves = {f"{name} {what}": np.percentile([np.asarray(r[f"{name} {what}"]) for r in found], (25, 50, 75), axis=0)
              for name in NAMES for what in ("value", "visits")}
    return {"t value": SHOWN, "t visits": (SHOWN[:-1] + SHOWN[1:]) / 2, **curves}


def draw(data: Mapping[str, np.ndarray], figure: Any, verdicts: Mapping[str, str] | None = None) -> None:
    """A panel for values, one for visits."""
    axes = figure.subplots(1, 2)
    for ax, what in zip(axes, ("value", "visits")):
        for i, (name, label) in enumerate(NAMES.items()):
            low, middle, high = data[f"{name} {what}"]
            ax.plot(data[f"t {what}"], middle, label=label, markevery=3, clip_on=False, **style.line(i))
            ax.fill_between(data[f"t {what}"], low, high, color=style.COLOURS[i], alpha=0.15, lw=0)
        ax.set(xlabel="iteration $t$ (150 roll-outs each)", xlim=(0, 150), xticks=[0, 50, 100, 150])
    axes[0].set(ylabel="value $V^{\\pi^t}$ (best: 1)", ylim=(0, 1.05))
    axes[1].set(ylabel="visits to the end of the chain", ylim=(0, None))
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=2, frameon=False)
    if verdicts and "C4" in verdicts:
        style.note(axes[0], f"C4 (resets find the end of the chain, roll-ins do not): {verdicts['C4']}")
