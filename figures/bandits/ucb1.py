"""UCB1: mean regret against n on Bernoulli arms (.9, .6, .5, .2), on logarithmic axes, up to 20000.

UCB1, KL-UCB with c = 0, the leader and Thompson sampling, the bound of Theorem 1, and the line whose slope in ln n Lai
and Robbins prove least. UCB1 grows like ln n, far below its bound and far above that line; the leader grows like n.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from algorithms.bandits import thompson, ucb1
from figures.engine import style
from mdpkit.access import Episodes
from mdpkit.measure.regret import Regret
from mdpkit.models.bandits import Bandit
from theory_checks.bandits.ucb1 import FOUR

PARAMS = ucb1.theory(1)
NAMES: dict[str, tuple[Callable, Any]] = {
    "UCB1": (ucb1.run, PARAMS), "KL-UCB": (ucb1.run_kl, replace(PARAMS, c=0.0)),
    "leader": (ucb1.run, replace(PARAMS, alpha=0.0)), "Thompson": (thompson.run, thompson.theory(1))}


def compute(rows: Any, n: int = 20_000, runs: int = 100) -> dict[str, np.ndarray]:
    """Mean regret and its standard error, each (2, len(n)), over runs of their own: the claims' keep few horizons."""
    model, shown = Bandit(FOUR), np.unique(np.geomspace(4, n, 60).astype(np.int64))
    out = {"n": shown, "bound": np.array([ucb1.regret_bound(FOUR, int(k)) for k in shown]),
           "least": ucb1.lai_robbins(FOUR) * np.log(shown)}
    for name, (run, params) in NAMES.items():
        curves = []
        for seed in range(runs):
            watch, world = Regret(model), np.random.default_rng(seed)
            run(Episodes(model, world, watch=watch), replace(params, n=n), np.random.default_rng(seed + runs))
            curves.append(watch.regret[shown - 1])
        out[f"run {name}"] = np.array([np.mean(curves, 0), np.std(curves, 0) / np.sqrt(runs)])
    return out


def draw(data: Mapping[str, np.ndarray], figure: Any, verdicts: Mapping[str, str] | None = None) -> None:
    """One axis; bands of two standard errors."""
    ax = figure.add_subplot()
    n = data["n"]
    for i, name in enumerate(NAMES):
        mean, error = data[f"run {name}"]
        ax.plot(n, mean, label=name, markevery=(i * 3, 9), **style.line(i))
        low, high = np.maximum(mean - 2 * error, 0.01), mean + 2 * error
        ax.fill_between(n, low, high, color=style.COLOURS[i], alpha=0.15, lw=0)
    ax.plot(n, data["bound"], color="0.4", lw=1.0, linestyle=(0, (5, 2)), label="bound of Theorem 1")
    ax.plot(n, data["least"], color="k", lw=1.0, linestyle=":", label="Lai-Robbins: $2.26\\,\\ln n$")
    ax.set(xscale="log", yscale="log", xlabel="plays $n$", ylabel="mean regret $\\mathrm{E}\\,R_n$ (sum of gaps)",
           xlim=(n[0], n[-1]), ylim=(0.5, 2 * data["bound"][-1]), title="Bernoulli arms (.9, .6, .5, .2)")
    figure.legend(*ax.get_legend_handles_labels(), loc="outside right upper", frameon=False)
    said = [f"{name}: {verdicts[name]}" for name in ("C1", "C3") if verdicts and name in verdicts]
    if said:
        style.note(ax, "\n".join(said))
