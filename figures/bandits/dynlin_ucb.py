"""DynLin-UCB: regret with and without persistence, log-log, on three systems; the bias of the last reward.

Left: the hard instance at rhobar = 0.5, 0.8 and 0.9 (A = rhobar diag(1, 0.85/0.9), B = (1 - rhobar) 1.5 I, so that
what the state pays stays of one size), c = 1, medians over runs. LinUCB takes what pays at once for h. Right: the bias
|E y - <h, u>| after H + 1 plays from rest, worst of 16 arms, and its bound with X = 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from algorithms.bandits import dynlin_ucb
from figures.engine import style
from mdpkit.access import Stream
from mdpkit.worlds.dynamical import mean_rewards
from theory_checks.bandits.dynlin_ucb import BASE, HARD, opened

RATES = (0.5, 0.8, 0.9)
ENTRIES = {"DynLin-UCB": dynlin_ucb.run, "LinUCB": dynlin_ucb.run_linucb}


def compute(rows: Any, T: int = 64_000, runs: int = 10, H: int = 30) -> dict[str, np.ndarray]:
    """Median regret ``run DynLin-UCB 0.9`` and so on at the rounds ``t``; ``bias`` and ``bound`` (2, H), base and hard.

    The claims' own runs keep only what they are judged by.
    """
    shown = np.unique(np.geomspace(10, T, 70).astype(np.int64))
    out: dict[str, np.ndarray] = {"t": shown, "H": np.arange(H)}
    for rate in RATES:
        world = HARD | {"A": [[rate, 0.0], [0.0, rate * 0.85 / 0.9]], "rhobar": rate, "T": T,
                        "B": [[1.5 * (1 - rate), 0.0], [0.0, 1.5 * (1 - rate)]]}
        model, params = opened(world)
        for name, run in ENTRIES.items():
            curves = []
            for seed in range(runs):
                trace: Any = run(Stream(model, np.random.default_rng(seed)), params, np.random.default_rng(0)).trace
                lost = model.values.max() - mean_rewards(model, trace.policies[trace.index])
                curves.append(np.cumsum(lost)[shown - 1])
            out[f"run {name} {rate:g}"] = np.median(curves, axis=0)
    found, bounds = [], []
    for world in (BASE, HARD):
        model, p = opened(world | {"T": 100})
        paid = np.array([mean_rewards(model, np.full(H, a)) for a in range(len(model.arms))])
        bound = [dynlin_ucb.bias_bound(k, p.rhobar, p.Phi, p.U, p.Om, p.Bb, 0.0) for k in range(H)]
        found.append(np.abs(paid - model.values[:, None]).max(0) / bound[0])
        bounds.append(np.array(bound) / bound[0])
    return out | {"bias": np.array(found), "bound": np.array(bounds)}


def draw(data: Mapping[str, np.ndarray], figure: Any, verdicts: Mapping[str, str] | None = None) -> None:
    """Two panels; the legend of the left one above it."""
    left, right = figure.subplots(1, 2, width_ratios=(1.3, 1.0))
    t = data["t"]
    for i, rate in enumerate(RATES):
        for j, name in enumerate(ENTRIES):
            look = style.line(j) | {"color": style.COLOURS[i]}
            left.plot(t, np.maximum(data[f"run {name} {rate:g}"], 0.5), label=f"{name}, {rate:g}",
                      markevery=(3 * i + 5 * j, 14), **look)
    left.plot(t, 20 * np.sqrt(t), color="k", linestyle=":", lw=1.0, label="slope $1/2$")
    left.set(xscale="log", yscale="log", xlabel="round $t$", ylabel="regret (reward)", xlim=(t[0], t[-1]))
    for i, name in enumerate(("base, 0.6", "hard, 0.9")):
        right.plot(data["H"], data["bias"][i], label=name, markevery=(i, 5), **style.line(3 + i))
        right.plot(data["H"], data["bound"][i], color=style.COLOURS[3 + i], lw=0.9, linestyle=(0, (5, 2)))
    right.plot([], [], color="0.4", lw=0.9, linestyle=(0, (5, 2)), label="bound")
    right.set(yscale="log", xlabel="plays before, $H$", ylabel=r"bias of $y$ (bound at $H=0$ is 1)",
              xlim=(0, data["H"][-1]))
    for ax, columns in ((left, 2), (right, 1)):
        ax.legend(loc="lower center", bbox_to_anchor=(0.45, 1.0), frameon=False, ncols=columns, columnspacing=1.0,
                  handlelength=1.8, fontsize=7)
    said = [f"{name}: {verdicts[name]}" for name in ("C2", "C3", "C4", "C5") if verdicts and name in verdicts]
    if said:
        style.note(left, "\n".join(said))
