"""UCBVI: cumulative regret on F(4, 3), H = 4, log-log, both bonuses at c = 1, 0.1 and 0.01 of the paper's.

Medians over runs; the dotted line has slope 1/2, the grey one is HK, the most that can be lost. C3 judges c = 0.01.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from algorithms.exploration import ucbvi
from figures.engine import style
from mdpkit.access import Episodes
from mdpkit.instances.formula import stationary_episodic
from mdpkit.measure.regret import Regret

SCALES = (1.0, 0.1, 0.01)
ENTRIES = {"CH": ucbvi.run, "BF": ucbvi.run_bf}


def compute(rows: Any, K: int = 40_000, runs: int = 8) -> dict[str, np.ndarray]:
    """Median regret ``CH 0.1`` and so on at the episodes ``k``; the claims' own runs are shorter."""
    model = stationary_episodic(4, 3, 4)
    k = np.unique(np.geomspace(1, K, 80).astype(np.int64))
    out = {"k": k, "most": float(model.H) * k}
    for name, entry in ENTRIES.items():
        for c in SCALES:
            curves = []
            for seed in range(runs):
                watch, world = Regret(model), np.random.default_rng(seed)
                entry(Episodes(model, world, grant=("r",), watch=watch), ucbvi.Params(K, 0.1, c), world)
                curves.append(watch.regret[k - 1])
            out[f"run {name} {c:g}"] = np.median(curves, axis=0)
    return out


def draw(data: Mapping[str, np.ndarray], figure: Any, verdicts: Mapping[str, str] | None = None) -> None:
    """One axis; colours tell the scale, lines and markers the bonus."""
    ax = figure.add_subplot()
    k = data["k"]
    for i, c in enumerate(SCALES):
        for j, name in enumerate(ENTRIES):
            look = style.line(j) | {"color": style.COLOURS[i]}
            ax.plot(k, data[f"run {name} {c:g}"], label=f"{name}, $c={c:g}$", markevery=(9 + 5 * j, 16), **look)
    ax.plot(k, data["most"], color="0.6", lw=0.9, label="$HK$")
    ax.plot(k, 6 * np.sqrt(k), color="k", linestyle=":", lw=1.0, label="slope $1/2$")
    ax.set(xscale="log", yscale="log", xlabel="episode $K$", ylabel="cumulative regret (sum of $V^*_1-V^{\\pi_k}_1$)",
           title="UCBVI on $F(4,3)$, $H=4$, $\\delta=0.1$", xlim=(1, k[-1]), ylim=(0.3, None))
    figure.legend(*ax.get_legend_handles_labels(), loc="outside right upper", frameon=False)
    said = [f"{name}: {verdicts[name]}" for name in ("C3", "C3-bf") if verdicts and name in verdicts]
    if said:
        style.note(ax, "\n".join(said))
