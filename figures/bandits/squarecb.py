"""SquareCB: regret of four ways to explore, log-log; values of generations; values on a log, with their intervals.

Left: 4 contexts and 5 actions, batches of 20, gamma = 2 sqrt(N/4); median and the range of all runs: the totals of
IGW and greedy are close at this T, their slopes and spreads are not. Middle: one context, a class of one parameter
fitted to the last generation alone. Right: a log of a law that prefers the worst arms, in 6 pieces, each fitted alone
and judged on the next, with 95% intervals of inverse propensity weights; lines are the values that IGW and greedy have
on the truth.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from algorithms.bandits import squarecb
from figures.engine import style
from mdpkit.access import Episodes
from mdpkit.instances.formula import contextual
from mdpkit.interop.logged import LoggedBandit
from theory_checks.bandits import _squarecb_twins as twins

ENTRIES = {"IGW": squarecb.run, "greedy": twins.greedy, r"$\varepsilon$-greedy, 0.1": twins.eps_greedy,
           "uniform": twins.uniform}
GAMMAS = {"IGW, 5": 5.0, "IGW, 100": 100.0, "greedy": math.inf}
LOGGED = {"IGW, 100": 100.0, "greedy": math.inf}


def compute(rows: Any, T: int = 32_000, runs: int = 24, generations: int = 13, n: int = 60_000,
            ) -> dict[str, np.ndarray]:
    """Regret ``run IGW`` (3, points): least, median, most; values ``generation ..``; on a log of n, ``log ..`` (5, 3).

    The claims' own runs keep only what they are judged by.
    """
    model = contextual()
    shown = np.unique(np.geomspace(20, T, 60).astype(np.int64))
    out: dict[str, np.ndarray] = {"t": shown}
    for name, entry in ENTRIES.items():
        curves = []
        for seed in range(runs):
            lost: list[np.ndarray] = []
            take = lambda first, log: lost.append(                                      # noqa: B023
                model.r.max(1)[log.context] - np.einsum("ta,ta->t", log.law, model.r[log.context]))
            access = Episodes(model, np.random.default_rng(seed), watch=take)
            entry(access, squarecb.Params(T, c=2.0, batch=20), np.random.default_rng([seed, 1]))
            curves.append(np.cumsum(np.concatenate(lost))[shown - 1])
        out[f"run {name}"] = np.quantile(curves, [0.0, 0.5, 1.0], axis=0)
    r, owner, phi, theta = np.array([-0.1, -0.3]), np.array([0, 0]), np.array([1.0, -1.0]), np.array([0.05])
    for name, gamma in GAMMAS.items():
        out[f"generation {name}"] = squarecb.generations(r, owner, phi, theta, gamma, generations)
    log = _log(n)
    for name, gamma in LOGGED.items():
        out[f"log {name}"] = squarecb.generations_on(log, gamma, 6)
        out[f"truth {name}"] = np.array(np.mean([squarecb.igw(f, gamma) @ f for f in model.r]))
    return out


def draw(data: Mapping[str, np.ndarray], figure: Any, verdicts: Mapping[str, str] | None = None) -> None:
    """Three panels; legends above them."""
    left, middle, right = figure.subplots(1, 3, width_ratios=(1.5, 1.2, 1.0))
    for i, name in enumerate(ENTRIES):
        low, half, high = data[f"run {name}"]
        left.plot(data["t"], half, label=name, markevery=(3 * i, 12), **style.line(i))
        left.fill_between(data["t"], low, high, color=style.COLOURS[i], alpha=0.15, lw=0)
    left.set(xscale="log", yscale="log", xlabel="round $t$", ylabel="regret (reward)", xlim=(20, data["t"][-1]))
    for i, name in enumerate(GAMMAS):
        value = data[f"generation {name}"]
        look = style.line((0, 3, 1)[i])
        middle.plot(np.arange(len(value)), value, label=name, markevery=(i, 3), **look)
    middle.set(xlabel="generation", ylabel="value (reward)", xticks=range(0, 13, 4))
    for i, name in enumerate(LOGGED):
        value, lo, hi = data[f"log {name}"].T
        at = np.arange(1, len(value) + 1) + 0.16 * (2 * i - 1)
        look = style.line((3, 1)[i])
        right.errorbar(at, value, [value - lo, hi - value], capsize=2, label=name, **(look | {"linestyle": ""}))
        right.axhline(float(data[f"truth {name}"]), color=look["color"], lw=0.9, linestyle=look["linestyle"])
    right.set(xlabel="piece of the log", ylabel="value (reward)", xticks=range(1, 6))
    for ax, columns in ((left, 2), (middle, 1), (right, 1)):
        ax.legend(loc="lower center", bbox_to_anchor=(0.45, 1.0), frameon=False, ncols=columns, columnspacing=0.8,
                  handlelength=1.8, fontsize=7)
    said = [f"{name}: {verdicts[name]}" for name in ("C3", "C3-root", "C5", "C7") if verdicts and name in verdicts]
    if said:
        style.note(left, "\n".join(said))


def _log(n: int) -> LoggedBandit:
    """n rows of IGW on the negative means, gamma = 10."""
    rng, r = np.random.default_rng(7), contextual().r
    behaviour = np.array([squarecb.igw(1.0 - f, 10.0) for f in r])
    x = rng.integers(0, len(r), n)
    a = np.minimum((rng.random(n)[:, None] > np.cumsum(behaviour[x], 1)).sum(1), r.shape[1] - 1)
    paid = (rng.random(n) < r[x, a]) * 1.0
    return LoggedBandit(x, a, paid, behaviour[x, a], None, tuple((str(i),) for i in range(len(r))),
                        tuple(str(k) for k in range(r.shape[1])))
