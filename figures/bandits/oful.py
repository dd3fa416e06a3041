"""OFUL: regret under its bounds, log-log, and the self-normalised martingale under its boundary.

Left: median regret with quartiles on one-hot arms of means (.9, .1, .3), Bernoulli, of OFUL, its rarely switching
variant and greedy, the direct form along a run of OFUL and Theorem 3; bounds above 2n say nothing. Right: fifty runs of
||S_t||^2_{V_t^-1} against ln D_t, d = 3, Gaussian; the boundary is a line, and below it lies the line that a tenth
of the runs cross.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from algorithms.bandits import oful
from figures.engine import style
from mdpkit.access import Episodes
from mdpkit.measure.regret import pull_gaps
from mdpkit.models.bandits import LinearBandit
from theory_checks.bandits.oful import DELTA, FIXED, PAYING

VARIANTS = {"OFUL": (oful.run, 0.0, 1.0), "rarely, $C=0.5$": (oful.run_rarely, 0.5, 1.0),
            "greedy": (oful.run, 0.0, 0.0)}


def compute(rows: Any, n: int = 20_000, runs: int = 40, paths: int = 400) -> dict[str, np.ndarray]:
    """Regret (3, points) of each variant at n: quartiles; bounds; and ``x``, ``y`` (50, n) of the martingale.

    The claims' own runs keep only what they are judged by.
    """
    model = LinearBandit(PAYING["x"], PAYING["theta"], PAYING["noise"])
    theory = oful.theory(n, DELTA, 0.5, 1.0)
    shown = np.unique(np.geomspace(4, n, 60).astype(np.int64))
    out: dict[str, Any] = {"n": shown, "theorem": np.array([
        oful.regret_bound(int(k), 3, DELTA, theory.lam, theory.R, theory.S) for k in shown])}
    for name, (run, C, c) in VARIANTS.items():
        curves = []
        for seed in range(runs):
            trace: Any = run(Episodes(model, np.random.default_rng(seed)), replace(theory, C=C, c=c),
                        np.random.default_rng(seed)).trace
            curves.append(np.cumsum(pull_gaps(model, trace.policies[trace.index]))[shown - 1])
            if name == "OFUL" and seed == 0:
                out["direct"] = np.array([oful.direct_bound(int(k), trace.info["log_ratio"][k - 1], DELTA, theory.lam,
                                                            theory.R, theory.S, 1.0) for k in shown])
        out[f"run {name}"] = np.quantile(curves, [0.25, 0.5, 0.75], axis=0)
    x, y = _martingales(paths)
    out |= {"x": x[:50], "y": y[:50], "fails": np.mean((y > oful.boundary(x, DELTA, 1.0)).any(1)),
            "level": np.quantile((y - x).max(1), 1 - DELTA)}          # ||S||^2 - ln D; in theory 2 ln(1/delta)
    return out


def draw(data: Mapping[str, np.ndarray], figure: Any, verdicts: Mapping[str, str] | None = None) -> None:
    """Two panels; legends above them."""
    left, right = figure.subplots(1, 2)
    n = data["n"]
    for i, name in enumerate(VARIANTS):
        low, middle, high = np.maximum(data[f"run {name}"], 0.05)
        left.plot(n, middle, label=name, markevery=(i * 4, 12), **style.line(i))
        left.fill_between(n, low, high, color=style.COLOURS[i], alpha=0.15, lw=0)
    left.plot(n, data["direct"], color="0.4", lw=1.0, linestyle=(0, (5, 2)), label="direct form")
    left.plot(n, data["theorem"], color="k", lw=1.0, linestyle=":", label="Theorem 3")
    left.plot(n, 2.0 * n, color="0.7", lw=0.9, label="$2n$")
    left.set(xscale="log", yscale="log", xlabel="round $n$", ylabel="regret $R_n$ (sum of gaps)", xlim=(n[0], n[-1]))
    for x, y in zip(data["x"], data["y"]):
        right.plot(x, y, color=style.COLOURS[0], lw=0.4, alpha=0.4)
    ends = np.array([0.0, data["x"].max()])
    right.plot(ends, oful.boundary(ends, DELTA, 1.0), color="k", lw=1.4, label="boundary")
    right.plot(ends, ends + data["level"], color=style.COLOURS[1], lw=1.2, linestyle="--",
               label=f"a tenth crosses\n({100 * float(data['fails']):.1f}% cross the boundary)")
    right.set(xlabel="$\\ln(\\det V_t/\\lambda^d)$", ylabel="$\\|S_t\\|^2_{V_t^{-1}}$ ($R=1$)", xlim=tuple(ends),
              ylim=(0, None))
    for ax, columns in ((left, 2), (right, 1)):
        ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), frameon=False, ncols=columns, columnspacing=1.0,
                  handlelength=1.8, fontsize=7)
    said = [f"{name}: {verdicts[name]}" for name in ("C1", "C4", "C4-theorem") if verdicts and name in verdicts]
    if said:
        style.note(left, "\n".join(said))


def _martingales(paths: int) -> tuple[np.ndarray, np.ndarray]:
    model, params = LinearBandit(FIXED["x"], FIXED["theta"]), oful.theory(FIXED["n"], DELTA, 1.0, 1.0)
    x, y = np.zeros((2, paths, params.n))
    for seed in range(paths):
        trace: Any = oful.run(Episodes(model, np.random.default_rng(seed)), params, np.random.default_rng(seed)).trace
        arm = trace.policies[trace.index]
        y[seed], x[seed], _ = oful.martingale(model.x[arm], trace.info["y"] - model.mu[arm], params.lam)
    return x, y
