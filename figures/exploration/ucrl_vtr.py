"""UCRL-VTR on base(5, 3, 3), H = 4: regret under the sum of its widths, and the distance of theta* under the radius.

Left, log-log: median regret with quartiles, the sum of min(H, 2 radius ||x||) that bounds it up to a martingale, and
HK, the most that can be lost; the dotted line has slope 1/2. Right: ten runs of ||theta* - thetahat_k||_{M_k}; below
the radius lies the 0.9-quantile at each k, which is what a radius for that k alone would have to be.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from algorithms.exploration import ucrl_vtr
from figures.engine import style
from theory_checks.exploration.ucrl_vtr import DELTA, MIX, distances, widths
from theory_checks.exploration.ucrl_vtr import played as play


def compute(rows: Any, K: int = 3000, runs: int = 40) -> dict[str, np.ndarray]:
    """``regret`` (3, K) in quartiles, median ``widths`` (K,), ``distance`` (10, K), its ``quantile``, the ``radius``.

    The claims' own runs keep only what they are judged by.
    """
    found = [play(MIX | {"K": K}, ucrl_vtr.run, np.random.default_rng(seed)) for seed in range(runs)]
    off = np.array([distances(run) * run.log.radius for run in found])
    return {"k": np.arange(1, K + 1),
            "regret": np.quantile([np.cumsum(run.gaps) for run in found], [0.25, 0.5, 0.75], axis=0),
            "widths": np.median([np.cumsum(widths(run).sum(1)) for run in found], axis=0),
            "distance": off[:10], "quantile": np.quantile(off, 1 - DELTA, axis=0),
            "radius": np.median([run.log.radius for run in found], axis=0), "most": 4.0 * np.arange(1, K + 1)}


def draw(data: Mapping[str, np.ndarray], figure: Any, verdicts: Mapping[str, str] | None = None) -> None:
    """Two panels; legends above them."""
    left, right = figure.subplots(1, 2)
    k = data["k"]
    at = np.unique(np.geomspace(1, k[-1], 60).astype(np.int64)) - 1
    low, middle, high = data["regret"][:, at]
    left.plot(k[at], middle, label="regret", markevery=(3, 12), **style.line(0))
    left.fill_between(k[at], low, high, color=style.COLOURS[0], alpha=0.2, lw=0)
    left.plot(k[at], data["widths"][at], label="sum of widths", markevery=(9, 12), **style.line(1))
    left.plot(k[at], data["most"][at], color="0.6", lw=0.9, label="$HK$")
    left.plot(k[at], 1.5 * np.sqrt(k[at]), color="k", linestyle=":", lw=1.0, label="slope $1/2$")
    left.set(xscale="log", yscale="log", xlabel="episode $K$", ylabel="cumulative regret", xlim=(1, k[-1]))
    for i, one in enumerate(data["distance"]):
        right.plot(k[at], one[at], color=style.COLOURS[0], lw=0.5, alpha=0.5, label="ten runs" if i == 0 else None)
    right.plot(k[at], data["radius"][at], label="radius", markevery=(3, 12), **style.line(1))
    right.plot(k[at], data["quantile"][at], label="0.9-quantile", markevery=(9, 12), **style.line(2))
    right.set(xscale="log", yscale="log", xlabel="episode $k$", ylabel="$\\|\\theta^*-\\hat\\theta_k\\|_{M_k}$",
              xlim=(1, k[-1]), ylim=(0.05, 20))
    for ax in (left, right):
        ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), frameon=False, ncols=2, columnspacing=1.0,
                  handlelength=1.8, fontsize=7)
    said = [f"{name}: {verdicts[name]}" for name in ("C2", "C4", "C5", "C5-widths") if verdicts and name in verdicts]
    if said:
        style.note(left, "\n".join(said))
