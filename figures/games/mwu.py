"""MWU and OMWU on matching pennies: orbits, and the gap of last and average iterates.

M = I_2, x_1 = (.6, .4), y_1 = (.55, .45), eta = .1. Left, the chances of the first action over 3000 rounds: MWU
spirals out, OMWU in. Right, gaps against t: both averages converge, of the last iterates OMWU's alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from algorithms.games import mwu
from algorithms.games.mwu import Params
from figures.engine import style
from theory_checks.games.mwu import PENNIES, game

T = 20_000
ORBIT = 3000
FOOT = 1e-12             # of the axes: sums of 10^4 carry rounding of about as much
SHOWN = np.unique(np.geomspace(1, T, 160).astype(np.int64))
NAMES = {"MWU": mwu.run, "OMWU": mwu.run_optimistic}


def compute(rows: Any = None) -> dict[str, np.ndarray]:
    """Orbits and gaps of both; no claim's rows enter, nothing is sampled."""
    rng = np.random.default_rng(0)                        # not drawn from
    out: dict[str, np.ndarray] = {"t": SHOWN}
    for name, run in NAMES.items():
        trace = run(game(np.eye(2)), Params(PENNIES["eta"], T, PENNIES["x"], PENNIES["y"]), rng).trace
        x, y = trace.policies, trace.info["y"]             # type: ignore[union-attr]
        rounds = np.arange(1, T + 1)[:, None]
        last = mwu.gap(np.eye(2), x, y)
        average = mwu.gap(np.eye(2), np.cumsum(x, 0) / rounds, np.cumsum(y, 0) / rounds)
        out |= {f"{name} orbit": np.stack([x[:ORBIT, 0], y[:ORBIT, 0]]), f"{name} last": last[SHOWN - 1],
                f"{name} average": average[SHOWN - 1]}
    return out


def draw(data: Mapping[str, np.ndarray], figure: Any, verdicts: Mapping[str, str] | None = None) -> None:
    """The square of strategies, and log-log gaps."""
    figure.set_size_inches(1.3 * style.WIDTH, 1.15 * style.HEIGHT)
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.25))
    for i, name in enumerate(NAMES):
        x, y = data[f"{name} orbit"]
        left.plot(x, y, color=style.COLOURS[i], linestyle=style.LINES[i], lw=0.9, label=name)
        for j, kind in enumerate(("last", "average")):
            right.plot(data["t"], np.maximum(data[f"{name} {kind}"], FOOT), color=style.COLOURS[i],
                       linestyle=style.LINES[j], lw=1.4 - 0.3 * (j == 0), label=f"{name}, {kind}")
    left.plot([0.6], [0.55], "k.", ms=5)
    left.annotate("start", (0.6, 0.55), xytext=(6, 6), textcoords="offset points", fontsize=8,
                  bbox={"fc": "white", "ec": "none", "pad": 1})
    left.set(xlabel="$x_t(1)$", ylabel="$y_t(1)$", xlim=(0, 1), ylim=(0, 1), aspect="equal",
             title=f"orbits, {ORBIT} rounds (colours as on the right)")
    right.set(xscale="log", yscale="log", xlabel="round $t$", ylabel="$\\mathrm{gap}(x, y)$", ylim=(FOOT, 3),
              title="gap of last and average iterates")
    right.legend(loc="lower left", frameon=False)
    for name in ("C4", "C4-optimistic"):
        if verdicts and name in verdicts:
            style.note(left, f"{name}: {verdicts[name]}")
