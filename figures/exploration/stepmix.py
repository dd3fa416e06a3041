"""StepMix and EpsMix: the value of what is played, and regret, on the reference instance, c = 0.02.

Left: value of the episode's policy, its mean over runs and the episodes up to the next point, and thin the least of
them; gamma is the line that must not be crossed. Right: mean cumulative regret with its range. The safe learners follow
the baseline until their lower bounds have grown; the one without constraint falls below gamma at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from algorithms.exploration import stepmix
from figures.engine import style
from theory_checks.exploration.stepmix import REFERENCE, _played

SERIES = {"StepMix": stepmix.run, "EpsMix": stepmix.run_epsmix, "no constraint": stepmix.run_free}


def compute(rows: Any, K: int = 20_000, runs: int = 8) -> dict[str, np.ndarray]:
    """Mean and least values ``mean NAME``, ``value NAME`` and regret ``regret NAME`` (3, points) at episodes ``k``."""
    k = np.linspace(0, K, 101).astype(np.int64)
    out: dict[str, Any] = {"k": k[1:]}
    for name, run in SERIES.items():
        found = [_played(REFERENCE | {"c": 0.02, "K": K}, run, np.random.default_rng(seed)) for seed in range(runs)]
        gaps = np.array([each["gaps"] for each in found])
        out[f"value {name}"] = found[0]["best"] - np.maximum.reduceat(gaps.max(0), k[:-1])
        out[f"mean {name}"] = found[0]["best"] - np.add.reduceat(gaps.mean(0), k[:-1]) / np.diff(k)
        regret = np.cumsum(gaps, 1)[:, k[1:] - 1]
        out[f"regret {name}"] = np.stack([regret.min(0), regret.mean(0), regret.max(0)])
        out |= {"gamma": REFERENCE["share"] * found[0]["base"], "best": found[0]["best"], "base": found[0]["base"]}
    return out


def draw(data: Mapping[str, np.ndarray], figure: Any, verdicts: Mapping[str, str] | None = None) -> None:
    """Two panels; one legend above."""
    left, right = figure.subplots(1, 2)
    k = data["k"]
    for i, name in enumerate(SERIES):
        left.plot(k, data[f"mean {name}"], label=name, markevery=(5 + 5 * i, 20), **style.line(i))
        left.plot(k, data[f"value {name}"], color=style.COLOURS[i], lw=0.5, alpha=0.6)
        low, mean, high = data[f"regret {name}"]
        right.plot(k, mean, markevery=(5 + 5 * i, 20), **style.line(i))
        right.fill_between(k, low, high, color=style.COLOURS[i], alpha=0.15, lw=0)
    for name, text, look in (("best", "$V^*$", ":"), ("base", "baseline", "-."), ("gamma", "$\\gamma$", "-")):
        left.axhline(float(data[name]), color="0.35", lw=0.9, linestyle=look, label=text)
    left.set(xlabel="episode $k$", ylabel="value of the policy played", xlim=(0, k[-1]))
    right.set(xlabel="episode $K$", ylabel="regret (sum of $V^*_1-V^{\\pi_k}_1$)", xlim=(0, k[-1]), ylim=(0, None))
    for ax in (left, right):
        ax.set_xticks(np.linspace(0, k[-1], 5))
        ax.ticklabel_format(axis="x", style="sci", scilimits=(3, 3), useMathText=True)
    figure.legend(*left.get_legend_handles_labels(), loc="outside upper center", ncols=6, frameon=False,
                  columnspacing=1.0, handlelength=1.8, fontsize=7)
    said = [f"{name}: {verdicts[name]}" for name in ("C2", "C4") if verdicts and name in verdicts]
    if said:
        style.note(left, "\n".join(said))
