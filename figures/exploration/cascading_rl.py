"""CascadingVI: cumulative regret on the reference instance, log-log, and the work of one oracle call.

Left: mean regret of runs with their range, at c = 0.1 (which C4 judges) and c = 1, and of a greedy learner that shows
random lists a tenth of the time; the dotted line has slope 1/2. Right: numbers that BestPerm computes for lists of up
to four items, all of them worth more than no click, against the lists that an enumeration visits; counts in place of
times, which differ from one machine to the next.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from algorithms.exploration import cascading_rl
from figures.engine import style
from theory_checks.exploration import _cascading_rl_twins as twins
from theory_checks.exploration.cascading_rl import REFERENCE, growth

SERIES = {"CascadingVI, $c=0.1$": (cascading_rl.run, 0.1), "CascadingVI, $c=1$": (cascading_rl.run, 1.0),
          "greedy, a tenth at random": (twins.exploring, 0.1)}
ITEMS = (4, 6, 8, 12, 16, 24, 32, 48, 64)


def compute(rows: Any, K: int = 32_000, runs: int = 8) -> dict[str, np.ndarray]:
    """Regret (3, points) of each series at ``k``: least, mean, largest; ``cells`` and ``lists`` at ``N``."""
    k = np.unique(np.geomspace(10, K, 60).astype(np.int64))
    out: dict[str, Any] = {"k": k, "N": np.array(ITEMS)}
    for name, (run, c) in SERIES.items():
        world = {"F": REFERENCE, "c": c, "horizons": k}
        paths = np.array([growth(world, run, np.random.default_rng(seed))["measured"] for seed in range(runs)])
        out[f"run {name}"] = np.stack([paths.min(0), paths.mean(0), paths.max(0)])
    rng = np.random.default_rng(0)
    out["cells"] = np.array([cascading_rl.oracle(rng.random(N), np.append(rng.random(N), 0.0), 4)[2] for N in ITEMS])
    out["lists"] = np.array([sum(math.perm(N, n) for n in range(1, 5)) for N in ITEMS])
    return out


def draw(data: Mapping[str, np.ndarray], figure: Any, verdicts: Mapping[str, str] | None = None) -> None:
    """Two panels; legends above them."""
    left, right = figure.subplots(1, 2)
    k, N = data["k"], data["N"]
    for i, name in enumerate(SERIES):
        low, mean, high = data[f"run {name}"]
        left.plot(k, mean, label=name, markevery=(i * 4, 12), **style.line(i))
        left.fill_between(k, low, high, color=style.COLOURS[i], alpha=0.15, lw=0)
    left.plot(k, 2 * np.sqrt(k), color="k", linestyle=":", lw=1.0, label="slope $1/2$")
    left.set(xscale="log", yscale="log", xlabel="episode $K$", ylabel="regret (sum of $V^*_1-V^{\\pi_k}_1$)",
             xlim=(k[0], k[-1]))
    right.plot(N, data["cells"], label="BestPerm (at most $Nm$)", **style.line(0))
    right.plot(N, data["lists"], label="all lists", **style.line(1))
    right.plot(N, N**4.0, color="k", linestyle=":", lw=1.0, label="$N^4$")
    right.set(xscale="log", yscale="log", xlabel="items $N$ ($m=4$)", ylabel="count (numbers or lists)",
              xlim=(N[0], N[-1]))
    right.set_xticks([4, 8, 16, 32, 64], ["4", "8", "16", "32", "64"])
    right.minorticks_off()
    for ax in (left, right):
        ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), frameon=False, fontsize=7)
    said = [f"{name}: {verdicts[name]}" for name in ("C4", "C5-work") if verdicts and name in verdicts]
    if said:
        style.note(left, "\n".join(said))
