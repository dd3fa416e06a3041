"""PSRL: Bayesian regret against the number of episodes, log-log, worlds drawn from the prior, alpha0 = 0.3.

Mean over worlds with quartiles, of PSRL, of the greedy learner that plays optimally for the posterior mean, and of
UCBVI-BF with the paper's bonus and a hundredth of it, all on the same worlds; the dotted line has slope 1/2, the grey
one is HK, the most that can be lost.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from algorithms.exploration import psrl, ucbvi
from figures.engine import style
from mdpkit.access import Episodes
from mdpkit.measure.regret import Regret
from theory_checks.exploration import _psrl_twins as twins
from theory_checks.exploration.psrl import _model

WORLD = {"F": [3, 2, 4], "alpha0": 0.3}


def _bernstein(c: float) -> Callable:
    return lambda access, K, rng: ucbvi.run_bf(access, ucbvi.Params(K, 0.1, c), rng)


SERIES: dict[str, Callable] = {
    "PSRL": lambda access, K, rng: psrl.run(access, psrl.Params(K, 0.3), rng),
    "greedy": lambda access, K, rng: twins.greedy(access, psrl.Params(K, 0.3), rng),
    "UCBVI-BF, $c=0.01$": _bernstein(0.01),
    "UCBVI-BF, $c=1$": _bernstein(1.0),
}


def compute(rows: Any, K: int = 8000, runs: int = 60) -> dict[str, np.ndarray]:
    """Regret (4, points) of each series at ``k``: mean, quartiles and median."""
    k = np.unique(np.geomspace(1, K, 60).astype(np.int64))
    out: dict[str, Any] = {"k": k, "most": 4.0 * k}
    for name, run in SERIES.items():
        curves = []
        for seed in range(runs):
            model = _model(WORLD, np.random.default_rng(seed))
            watch, rng = Regret(model), np.random.default_rng(1000 + seed)
            run(Episodes(model, rng, grant=("r",), watch=watch), K, np.random.default_rng(2000 + seed))
            curves.append(watch.regret[k - 1])
        out[f"run {name}"] = np.concatenate([[np.mean(curves, 0)], np.quantile(curves, [0.25, 0.5, 0.75], axis=0)])
    return out


def draw(data: Mapping[str, np.ndarray], figure: Any, verdicts: Mapping[str, str] | None = None) -> None:
    """One axis; the legend beside it."""
    ax = figure.add_subplot()
    k = data["k"]
    for i, name in enumerate(SERIES):
        mean, low, _, high = np.maximum(data[f"run {name}"], 1e-2)
        ax.plot(k, mean, label=name, markevery=(3 * i, 12), **style.line(i))
        ax.fill_between(k, low, high, color=style.COLOURS[i], alpha=0.15, lw=0)
    ax.plot(k, data["most"], color="0.6", lw=0.9, label="$HK$")
    ax.plot(k, 0.3 * np.sqrt(k), color="k", linestyle=":", lw=1.0, label="slope $1/2$")
    ax.set(xscale="log", yscale="log", xlabel="episode $K$", ylabel="regret (sum of $V^*_1-V^{\\pi_k}_1$)",
           title="$S,A,H=3,2,4$, Dirichlet(0.3)", xlim=(k[0], k[-1]), ylim=(0.02, None))
    figure.legend(*ax.get_legend_handles_labels(), loc="outside right upper", frameon=False)
    said = [f"{name}: {verdicts[name]}" for name in ("C2", "C3") if verdicts and name in verdicts]
    if said:
        style.note(ax, "\n".join(said))
