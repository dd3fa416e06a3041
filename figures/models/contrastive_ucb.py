"""Contrastive UCB: gaps on the chain against iterations, and the error of the model against samples.

Left: median (V* - V^{pi^k})/V* with quartiles, of runs with negatives everywhere, with negatives that miss two states
(claim C5) and without a bonus; steps are plans, gaps of 0 stand at the foot. Right: mean L1 error of a row with
negatives everywhere (claim C3) and with two states missing, whose floor is twice the mean mass of these states.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from algorithms.models.contrastive_ucb import fit, run
from figures.engine import style
from theory_checks.models.contrastive_ucb import DRAWN, HORIZONS, errors, gap_curve, two_factors

RUNS = 32
FOOT = 4e-3
CURVES = {"seen": "negatives everywhere", "blind": "two states missing", "none": "no bonus"}


def compute(rows: Any) -> dict[str, np.ndarray]:
    """Quartiles (3, ..) of each curve, and the floor of the error with two states missing."""
    found, rng = rows.of("C5", RUNS), np.random.default_rng(0)
    gaps = {name: [r["curves"][i] for r in found] for i, name in enumerate(("seen", "blind"))}
    gaps["none"] = [gap_curve(int(DRAWN[-1]), 0.0, 6, run, rng)[DRAWN - 1] for _ in range(RUNS)]
    L1 = {"everywhere": [r["measured"] for r in rows.of("C3", RUNS)],
          "missing": [errors({"seen": 4}, fit, rng)["measured"] for _ in range(RUNS)]}
    phi, W = two_factors()
    quartiles = lambda x: np.percentile(x, (25, 50, 75), axis=0)
    return {"k": DRAWN, "n": np.array(HORIZONS), "floor": np.array(2 * (phi @ W)[:, 4:].sum(1).mean()),
            **{name: quartiles(x) for name, x in gaps.items()},
            **{f"L1 {name}": quartiles(x) / np.array(HORIZONS) for name, x in L1.items()}}


def draw(data: Mapping[str, np.ndarray], figure: Any, verdicts: Mapping[str, str] | None = None) -> None:
    """Gaps on a logarithmic axis; errors on two."""
    ax, right = figure.subplots(1, 2, width_ratios=(3, 2))
    for i, (name, label) in enumerate(CURVES.items()):
        low, middle, high = np.maximum(data[name], FOOT)
        look = style.line(i)
        ax.plot(data["k"], middle, label=label, markevery=(2 * i, 6), **look)
        ax.fill_between(data["k"], low, high, color=look["color"], alpha=0.15, lw=0)
    ax.set(xscale="log", yscale="log", ylim=(FOOT / 1.3, 1.5), xlabel="iteration $k$",
           ylabel=r"gap $(V^* - V^{\pi^k})/V^*$")
    n = data["n"]
    for i, name in enumerate(("everywhere", "missing")):
        low, middle, high = data[f"L1 {name}"]
        look = style.line(i)
        right.plot(n, middle, **look)
        right.fill_between(n, low, high, color=look["color"], alpha=0.15, lw=0)
    right.plot(n, 0.7 * data["L1 everywhere"][1, 0] * np.sqrt(n[0] / n), color="0.5", linestyle=":", lw=1.2,
               label="slope $-1/2$")
    right.axhline(float(data["floor"]), color="0.5", lw=0.9, label="floor")
    right.set(xscale="log", yscale="log", xlabel="labelled samples $n$", ylabel=r"mean $\|\hat P - P\|_1$",
              ylim=(0.03, 1.5))
    handles, labels = ax.get_legend_handles_labels()
    more, names = right.get_legend_handles_labels()
    figure.legend(handles + more, labels + names, loc="outside upper center", ncols=3, frameon=False, columnspacing=1.0)
    said = [f"{k}: {verdicts[k]}" for k in ("C5", "C3") if verdicts and k in verdicts]
    if said:
        style.note(ax, "\n".join(said))
