"""Robust DPO: what label noise costs.

Left: the mean squared error of theta against the number of noisy labels, over runs, at five rates of flips: each falls
like its V(eps)/N, dashed. Rates 0 and .2 are runs of claim C3, whose rows they are; so is DPO at .2, which flattens at
its squared bias. The others are held to |theta| <= 2, as few labels of much noise may have no minimiser. Right:
V(eps) (1 - 2 eps)^2, nearly flat, and the same for the least that information allows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from algorithms.preferences import rdpo
from figures.engine import style
from theory_checks.preferences.rdpo import PHI, SIZES, THETA, UNIFORM, rates

RUNS = 60
EPS = (0.0, 0.1, 0.2, 0.3, 0.4)
ROWS = {0.0: 0, 0.2: 1}                        # which world of claim C3
GRID = np.linspace(0.0, 0.45, 46)


def compute(rows: Any, runs: int = RUNS) -> dict[str, np.ndarray]:
    """Mean squared errors (rates, sizes), those of DPO at .2 and its squared bias; V and the information bound."""
    N, twin = np.array(SIZES, float), "theory_checks.preferences._rdpo_twins:vanilla"
    rng = np.random.default_rng(0)
    seen = {e: [r["measured"] for r in rows.of("C3", runs, world=ROWS[e])] if e in ROWS else [
        rates({"eps": e, "of": "theta"}, _bounded, rng)["measured"] for _ in range(runs)] for e in EPS}
    plain = [r["measured"] for r in rows.of("C3", runs, world=ROWS[0.2], subject=twin)]
    given = (PHI, THETA, 1.0, UNIFORM)
    return {"N": N, "mse": np.array([np.mean(seen[e], 0) / N**2 for e in EPS]), "dpo": np.mean(plain, 0) / N**2,
            "V": np.array([rdpo.asymptotic_error(*given, e) for e in EPS]), "grid": GRID,
            "error": np.array([(1 - 2 * e) ** 2 * rdpo.asymptotic_error(*given, e) for e in GRID]),
            "least": np.array([(1 - 2 * e) ** 2 * rdpo.information_bound(*given, e) for e in GRID])}


def _bounded(access: Any, data: Any, params: rdpo.Params, rng: np.random.Generator) -> Any:
    return rdpo.run_ball(access, data, replace(params, B=2.0, ridge=1e-4, steps=10_000), rng)


def draw(data: Mapping[str, np.ndarray], figure: Any, verdicts: Mapping[str, str] | None = None) -> None:
    """Left logarithmic on both axes, right linear from 0."""
    left, right = figure.subplots(1, 2, width_ratios=(1.25, 1))
    N = data["N"]
    for i, (e, mse, V) in enumerate(zip(EPS, data["mse"], data["V"])):
        look = style.line(i)
        left.plot(N, V / N, color=look["color"], linestyle="--", lw=0.8)
        left.plot(N, mse, label=f"$\\varepsilon={e:g}$", **{**look, "linestyle": "none"})
    left.plot(N, data["dpo"], label="DPO, $\\varepsilon=0.2$", **{**style.line(5), "linestyle": ":"})
    left.set(xscale="log", yscale="log", xlabel="noisy labels $N$", ylabel="mean $|\\hat\\theta-\\theta^*|^2$",
             title="dashed: $V(\\varepsilon)/N$", xticks=N, xticklabels=[f"{int(n) // 1000}k" for n in N],
             ylim=(2e-5, 8))
    left.minorticks_off()
    left.legend(loc="lower left", frameon=False, fontsize=7, ncols=2, columnspacing=0.8, handletextpad=0.3)
    right.plot(data["grid"], data["error"], label="robust DPO, $V(\\varepsilon)$", **{**style.line(0), "marker": ""})
    right.plot(data["grid"], data["least"], label="information", **{**style.line(1), "marker": ""})
    right.set(xlabel="rate of flips $\\varepsilon$", ylabel="times $(1-2\\varepsilon)^2$", ylim=(0, 80),
              title="what noise costs beyond")
    right.legend(loc="lower right", frameon=False)
    for ax, claim in ((left, "C3"), (right, "C3-factor")):
        if verdicts and claim in verdicts:
            style.note(ax, f"{claim}: {verdicts[claim]}")
