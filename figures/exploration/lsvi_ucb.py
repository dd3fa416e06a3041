"""LSVI-UCB on Lin(6, 3, 3, 3) from state 0: regret of features and of one-hot pairs; the elliptical potential.

Left: median regret and quartiles, log-log, beta = 0.1 and 0 (greedy) with d = 3 features, one-hot pairs (d = 18) with
beta = 0.1, and the theorem's beta, c = 1, p = 0.1, with features. Right: the sum of phi' Lambda^-1 phi over all
steps, d = 3, with its bound 2 d H ln(1 + K/lambda); and of one-hot pairs where each state is there once or four times.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from algorithms.exploration import lsvi_ucb
from figures.engine import style
from mdpkit.access import Episodes
from mdpkit.measure.regret import regret
from theory_checks.exploration.lsvi_ucb import LIN, copies, from_0

FEATURES, PAIRS = "$d=3$", "one-hot"
RUNS = {f"{FEATURES}, $\\beta=0.1$": (1, False, 0.1), f"{FEATURES}, greedy": (1, False, 0.0),
        f"{PAIRS}, $\\beta=0.1$": (1, True, 0.1), f"{FEATURES}, theorem": (1, False, None)}
SUMS = {f"{FEATURES}": (1, False, 0.1), f"{FEATURES}, 4 copies": (4, False, 0.1), f"{PAIRS}": (1, True, 0.1),
        f"{PAIRS}, 4 copies": (4, True, 0.1)}


def compute(rows: Any, K: int = 2000, runs: int = 40) -> dict[str, np.ndarray]:
    """Regret ``run ..`` (3, points), quartiles, and sums of norms ``sum ..`` (points,), medians, at episodes ``k``.

    The claims' own runs keep only what they are judged by.
    """
    base = from_0(LIN)
    shown = np.unique(np.geomspace(1, K, 70).astype(np.int64))
    out: dict[str, np.ndarray] = {"k": shown, "bound": 2 * base.d * base.H * np.log(1 + shown)}
    for kind, series in (("run", RUNS), ("sum", SUMS)):
        for name, (c, one_hot, beta) in series.items():
            model, curves = copies(base, c, one_hot), []
            params = lsvi_ucb.theory(K, base.H, base.d, 0.1) if beta is None else lsvi_ucb.Params(K, beta)
            for seed in range(runs if kind == "run" else max(runs // 8, 1)):
                trace: Any = lsvi_ucb.run(Episodes(model, np.random.default_rng(seed)), params,
                                          np.random.default_rng(0)).trace
                curve = regret(model, trace) if kind == "run" else np.cumsum(trace.info["norms"].sum(1))
                curves.append(curve[shown - 1])
            out[f"{kind} {name}"] = np.quantile(curves, [0.25, 0.5, 0.75] if kind == "run" else 0.5, axis=0)
    return out


def draw(data: Mapping[str, np.ndarray], figure: Any, verdicts: Mapping[str, str] | None = None) -> None:
    """Two panels; legends above them."""
    left, right = figure.subplots(1, 2)
    k = data["k"]
    for i, name in enumerate(RUNS):
        low, half, high = np.maximum(data[f"run {name}"], 0.05)
        left.plot(k, half, label=name, markevery=(4 * i, 16), **style.line(i))
        left.fill_between(k, low, high, color=style.COLOURS[i], alpha=0.15, lw=0)
    left.set(xscale="log", yscale="log", xlabel="episode $K$", ylabel="regret (sum of $V^*_1-V^{\\pi_k}_1$)",
             xlim=(1, k[-1]))
    for i, name in enumerate(SUMS):
        right.plot(k, data[f"sum {name}"], label=name, markevery=(4 * i, 16), **style.line((0, 4, 2, 5)[i]))
    right.plot(k, data["bound"], color="k", linestyle=":", lw=1.2, label="$2dH\\,\\ln(1+K)$, $d=3$")
    right.set(xscale="log", yscale="log", xlabel="episode $K$", ylabel="sum of $\\|\\phi\\|^2_{\\Lambda^{-1}}$",
              xlim=(1, k[-1]))
    for ax in (left, right):
        ax.legend(loc="lower center", bbox_to_anchor=(0.45, 1.0), frameon=False, ncols=2, columnspacing=1.0,
                  handlelength=1.8, fontsize=7)
    said = [f"{name}: {verdicts[name]}" for name in ("C3", "C6", "C7-sum") if verdicts and name in verdicts]
    if said:
        style.note(left, "\n".join(said))
