"""EXP3: regret against T with its bound, and the law of the final regret, EXP3 and EXP3-IX.

Five arms that lose .5, the first .4, the second .1 from half-way on; each T has its own step. Left:
mean regret with the bounds; learners that follow the change may gain on any fixed arm. Right: the regret at T = 2000
over many runs, whose upper tail is lighter with gamma > 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from algorithms.bandits import exp3
from figures.engine import style
from mdpkit.access import Episodes
from theory_checks.bandits.exp3 import late

A = 5
LAST = 2000
NAMES = {"EXP3": (exp3.run, exp3.theory), "EXP3-IX": (exp3.run, exp3.theory_ix),
         "2002": (exp3.run_2002, exp3.theory_2002)}


def compute(rows: Any, most: int = 20_000, runs: int = 30, finals: int = 600) -> dict[str, np.ndarray]:
    """Mean regret and standard error (2, len(T)); final regrets (finals,), EXP3's and EXP3-IX's."""
    T = np.array([k for k in (500, 1000, 2000, 4000, 8000, 12_000, 16_000, 20_000) if k <= most])
    out = {"T": T, "bound": np.sqrt(2 * T * A * np.log(A)), "bound 2002": 2.63 * np.sqrt(T * A * np.log(A))}
    for name in NAMES:
        found = np.array([[_regret(name, int(k), seed) for seed in range(runs)] for k in T])
        out[f"run {name}"] = np.array([found.mean(1), found.std(1) / np.sqrt(runs)])
    return out | {f"final {name}": np.array([_regret(name, LAST, seed) for seed in range(finals)])
                  for name in ("EXP3", "EXP3-IX")}


def _regret(name: str, T: int, seed: int) -> float:
    run, theory = NAMES[name]
    losses, rng = late(T, A), np.random.default_rng(seed)
    trace = run(Episodes(exp3.oblivious(losses), rng), theory(T, A), rng).trace
    return float(losses[np.arange(T), trace.info["a"]].sum() - losses.sum(0).min())     # type: ignore[union-attr]


def draw(data: Mapping[str, np.ndarray], figure: Any, verdicts: Mapping[str, str] | None = None) -> None:
    """Means with two standard errors, and a histogram."""
    figure.set_size_inches(1.35 * style.WIDTH, 1.1 * style.HEIGHT)
    left, right = figure.subplots(1, 2)
    T = data["T"]
    for i, name in enumerate(NAMES):
        mean, error = data[f"run {name}"]
        left.errorbar(T, mean, 2 * error, label=name, capsize=2, **style.line(i))
    left.plot(T, data["bound"], color="0.4", lw=1.0, linestyle=(0, (5, 2)), label="$\\sqrt{2TA\\,\\ln A}$")
    left.plot(T, data["bound 2002"], color="0.4", lw=1.0, linestyle=":", label="$2.63\\sqrt{TA\\,\\ln A}$ (2002)")
    left.set(xlabel="rounds $T$", ylabel="mean regret $\\mathrm{E}\\,R_T$ (sum of losses)", xlim=(0, None),
             ylim=(0, 1.3 * data["bound 2002"][-1]), title=f"${A}$ arms, the best changes half-way")
    left.locator_params(axis="x", nbins=5)
    left.legend(frameon=False, loc="upper left")
    finals = {name: data[f"final {name}"] for name in ("EXP3", "EXP3-IX")}
    bins = np.linspace(min(x.min() for x in finals.values()), max(x.max() for x in finals.values()), 36)
    for i, (name, x) in enumerate(finals.items()):
        right.hist(x, bins, density=True, histtype="step", color=style.COLOURS[i], linestyle=("-", "--")[i], lw=1.4,
                   label=f"{name}, 99 % below {np.quantile(x, 0.99):.0f}")
    right.set(xlabel=f"regret $R_T$ at $T={LAST}$ (sum of losses)", ylabel="density", title="final regret over runs")
    top = right.get_ylim()[1]
    right.set_ylim(0, 1.3 * top)
    right.legend(frameon=False, loc="upper right")
    said = [f"{name}: {verdicts[name]}" for name in ("C4", "C6") if verdicts and name in verdicts]
    if said:
        style.note(left, "\n".join(said))
