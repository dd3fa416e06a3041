"""GERL_MG2: certificate and true gap against iterations, and what knowing the factors is worth.

Left: the smallest certificate so far and the gap of its policy, medians and quartiles over runs on the lock game
(claim C3) and the formula game (C3-rate); where the gap is 0 it is drawn at the foot. The dotted line has slope -1/2.
Right: mean total variation of the factored estimate and of joint counts on the ring, from 4000 samples.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from algorithms.models.gerl import factored
from figures.engine import style
from theory_checks.models.gerl import DRAWN, ring_errors

RUNS = 32
FOOT = 2e-3
PLAYERS = (2, 3, 4, 5)
GAMES = {"C3": r"lock, $\alpha=0.2$", "C3-rate": r"formula, $\alpha=0.5$"}
SETS = 8


def compute(rows: Any) -> dict[str, np.ndarray]:
    """Quartiles (3, len(n)) by claim and curve, and mean errors (players, 2) of both estimates."""
    out: dict[str, np.ndarray] = {"n": DRAWN, "players": np.array(PLAYERS)}
    for claim in GAMES:
        found = rows.of(claim, RUNS)
        for curve in ("certificate", "gap"):
            out[f"{claim} {curve}"] = np.percentile([r["curves"][curve] for r in found], (25, 50, 75), axis=0)
    rng = np.random.default_rng(0)
    out["errors"] = np.array([np.mean([ring_errors(M, 4000, factored, rng) for _ in range(SETS)], axis=0)
                              for M in PLAYERS])
    return out


def draw(data: Mapping[str, np.ndarray], figure: Any, verdicts: Mapping[str, str] | None = None) -> None:
    """Log-log curves on the left, bars on a logarithmic axis on the right."""
    ax, bars = figure.subplots(1, 2, width_ratios=(3, 2))
    n = data["n"]
    for i, (claim, label) in enumerate(GAMES.items()):
        for k, curve in enumerate(("certificate", "gap")):
            low, middle, high = np.maximum(data[f"{claim} {curve}"], FOOT)
            look = style.line(2 * k + i)
            ax.plot(n, middle, label=f"{curve}, {label}", markevery=(3 * i, 8), **look)
            ax.fill_between(n, low, high, color=look["color"], alpha=0.15, lw=0)
    tail = n[n >= 20]
    ax.plot(tail, 2.5 / np.sqrt(tail), color="0.5", linestyle=":", lw=1.2, label="slope $-1/2$")
    ax.set(xscale="log", yscale="log", ylim=(FOOT / 1.3, 9), xlabel="iteration $n$", ylabel="gap and certificate $D_n$")
    figure.legend(*ax.get_legend_handles_labels(), loc="outside upper center", ncols=3, frameon=False,
                  columnspacing=1.0)
    at, width = np.arange(len(data["players"])), 0.38
    for k, (label, hatch) in enumerate((("factored", ""), ("joint", "///"))):
        bars.bar(at + (k - 0.5) * width, data["errors"][:, k], width, label=label, color=style.COLOURS[k], hatch=hatch,
                 edgecolor="white", lw=0.5)
    bars.set(yscale="log", xlabel="players $M$", ylabel="mean TV error", xticks=at,
             xticklabels=[str(M) for M in data["players"]], ylim=(5e-3, 3))
    bars.grid(visible=False, axis="x")
    bars.legend(loc="upper left", frameon=False, ncols=2, columnspacing=1.0)
    said = [f"{k}: {verdicts[k]}" for k in ("C3", "C3-rate", "C4-ring") if verdicts and k in verdicts]
    if said:
        style.note(ax, "\n".join(said))
