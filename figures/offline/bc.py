"""Behaviour cloning: the loss against the horizon, and against the number of trajectories.

Left: a learner that errs with chance 0.001 at each step, exact, on the cliff and with a way back. Right: six states
redrawn at each of eight steps, states never seen uniform: runs of claim C5-mean, whose rows they are, with quartiles,
and the exact mean. For one law of states it falls faster than 1/N in the end; the slope -1 is that of the bound.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from algorithms.offline import bc
from figures.engine import style
from theory_checks.offline.bc import NU, SIZES, cliff

RUNS = 64
EPS = 0.001
HORIZONS = 2 ** np.arange(2, 9)


def compute(rows: Any) -> dict[str, np.ndarray]:
    """Losses at each horizon (exact), and at each N: exact mean, bound; mean and quartiles of the runs."""
    losses = {name: np.array([_loss(int(H), back) for H in HORIZONS])
              for name, back in (("cliff", False), ("back", True))}
    n = np.unique(np.geomspace(5, 160, 60).astype(np.int64))
    mean = np.array([bc.cliff_loss(8, 0.5 * bc.missing_mass(NU, int(k))) for k in n])
    runs = np.array([[r["measured"] for r in rows.of("C5-mean", RUNS, world=i)] for i in range(len(SIZES))])
    return {"H": HORIZONS, **losses, "bound": EPS * HORIZONS**2.0, "n": n, "mean": mean, "limit": 36 * 6 / (math.e * n),
            "N": np.array(SIZES), "runs": runs.mean(1), "quartiles": np.percentile(runs, (25, 75), axis=1)}


def _loss(H: int, back: bool) -> float:
    m, expert = cliff(H, back), np.tile([1.0, 0.0], (H, 2, 1))
    return float(bc.gap(m.P, m.r, m.rho, expert, (1 - EPS) * expert + EPS * expert[..., ::-1]))


def draw(data: Mapping[str, np.ndarray], figure: Any, verdicts: Mapping[str, str] | None = None) -> None:
    """Two logarithmic panels."""
    left, right = figure.subplots(1, 2)
    for i, (name, label) in enumerate((("bound", r"bound $H^2\epsilon$"), ("cliff", "cliff (slope 2)"),
                                       ("back", "with a way back (slope 1)"))):
        left.plot(data["H"], data[name], label=label, **style.line(i))
    left.set(xscale="log", yscale="log", xlabel="horizon $H$ (steps)", ylabel="loss $J(\\pi_e)-J(\\hat\\pi)$",
             title=r"error $\epsilon = 0.001$ at each step", xticks=[4, 16, 64, 256], xticklabels=[4, 16, 64, 256],
             ylim=(3e-3, 500))
    left.minorticks_off()
    left.legend(loc="upper left", frameon=False)
    n = data["n"]
    right.plot(n, data["limit"], label="bound $\\frac{H(H+1)}{2}\\frac{S}{eN}$", **{**style.line(0), "marker": ""})
    right.plot(n, data["mean"], label="exact mean", **{**style.line(1), "marker": ""})
    right.vlines(data["N"], *np.maximum(data["quartiles"], 1e-9), color=style.COLOURS[3], lw=1.0)
    right.plot(data["N"], data["runs"], "s", ms=4, mfc="white", color=style.COLOURS[3], label=f"mean of {RUNS} runs")
    right.plot(n, 12 / n, color="0.5", linestyle=":", lw=1.0, label="slope $-1$")
    right.set(xscale="log", yscale="log", xlabel="trajectories $N$", title="six states redrawn, $H = 8$",
              xticks=[5, 20, 80], xticklabels=[5, 20, 80], ylim=(2e-3, 50))
    right.minorticks_off()
    right.legend(loc="lower left", frameon=False, handlelength=1.6)
    for ax, claim in ((left, "C3-cliff"), (right, "C5-mean")):
        if verdicts and claim in verdicts:
            style.note(ax, f"{claim}: {verdicts[claim]}")
