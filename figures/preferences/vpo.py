"""VPO as beta -> 0: regret against t online, and what is lost offline against the size of the data.

Left, five responses against the first, T = 6400: means over runs at alpha = c sqrt(T). Right, the second response is
compared N times and four others twice: minus the value (pessimism), nothing, plus the value (optimism).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from algorithms.preferences import vpo
from algorithms.preferences.vpo import Params
from figures.engine import style
from theory_checks.preferences._vpo_twins import likeliest, optimist
from theory_checks.preferences.vpo import SIZES, curve, logged_gap

SCALES = (0.0, 0.1, 0.3, 1.0)
T = 6400
AT = np.unique(np.geomspace(1, T, 60).astype(np.int64))
SIGNS = {"pessimism": vpo.run_offline_grid, "most likely": likeliest, "optimism": optimist}


def compute(rows: Any, runs: int = 64) -> dict[str, np.ndarray]:
    """Mean regret at the rounds AT by scale, and mean gaps by sign with the judge's own rows for pessimism."""
    out: dict[str, Any] = {"t": AT, "N": np.array(SIZES)}
    for c in SCALES:
        curves = [curve(vpo.run, Params(c * math.sqrt(T), T), np.random.default_rng(seed)) for seed in range(runs)]
        out[f"c {c:g}"] = np.mean(curves, 0)[AT - 1]
    gaps = [row["measured"] / np.array(SIZES) for row in rows.of("C5-rate", runs)]
    out["pessimism"] = np.mean(gaps, 0)
    for name in ("most likely", "optimism"):
        out[name] = np.array([np.mean([logged_gap(N, SIGNS[name], np.random.default_rng([seed, N]))
                                       for seed in range(runs)]) for N in SIZES])
    return out


def draw(data: Mapping[str, np.ndarray], figure: Any, verdicts: Mapping[str, str] | None = None) -> None:
    """Two log-log axes."""
    figure.set_size_inches(1.3 * style.WIDTH, 1.15 * style.HEIGHT)
    left, right = figure.subplots(1, 2)
    for i, c in enumerate(SCALES):
        label = f"$c={c:g}$" + (" (stays at $T/2$)" if c == 0 else "")
        left.plot(data["t"], data[f"c {c:g}"], label=label, markevery=(4 + 2 * i, 9), **style.line(i))
    left.set(xscale="log", yscale="log", xlabel="round $t$", ylabel="cumulative regret", xlim=(10, T), ylim=(1, None),
             title="online, $\\alpha=c\\,\\sqrt{T}$, $T=6400$")
    for i, name in enumerate(SIGNS):
        right.plot(data["N"], data[name], label=name, **style.line(i))
    right.plot(data["N"], data["pessimism"][0] * np.sqrt(data["N"][0] / data["N"]), color="0.5", linestyle=":", lw=1.2,
               label="slope $-1/2$")
    right.set(xscale="log", yscale="log", xlabel="comparisons $N$ of the good response", ylabel="mean gap",
              title="offline, $\\alpha=\\sqrt{N}/2$")
    left.legend(loc="upper left", frameon=False)
    right.legend(loc="lower left", frameon=False)
    for name in ("C4", "C5-rate"):
        if verdicts and name in verdicts:
            style.note(left, f"{name}: {verdicts[name]}")
