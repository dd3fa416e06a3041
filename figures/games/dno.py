"""DNO: each policy against the one before, how far average and last policy are from Nash, and the error of a fit.

Preferences [[.5, .9, .2], [.1, .5, .8], [.8, .2, .5]], pi_1 = (.6, .3, .1). (a) At eta = 1/2 the win rate of pi_{t+1}
against pi_t is 1/2 + eta J, above 1/2 for ever; against pi_1 it rises and falls. (b) At the eta of theory for each T
the average approaches Nash below its bound, the last policy does not. (c) Squared error of differences of theta from N
pairs, mean of 40 fits on another instance, with labels by win rates and by single comparisons.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from algorithms.games import dno
from figures.engine import style
from mdpkit.access import Exact
from theory_checks.games._dno_twins import direct_labels
from theory_checks.games.dno import CYCLE, SIZES, regression

STEPS = 40
T = np.unique(np.geomspace(5, 5000, 25).astype(np.int64))
RUNS = 40


def compute(rows: Any = None) -> dict[str, np.ndarray]:
    """Win rates, exploitabilities and errors; no claim's rows enter."""
    rng, p, pi_1 = np.random.default_rng(0), CYCLE.p[0], CYCLE.pi_ref[0]
    log_pi = dno.soft_iteration(p, np.log(pi_1), 0.5, STEPS)
    pi = np.exp(log_pi)
    wins = (pi[1:] * np.einsum("yz,tz->ty", p, pi[:-1])).sum(1)
    out = {"win": wins, "bound of win": 0.5 + 0.5 * dno.symmetric_kl(log_pi[1:], log_pi[:-1]),
           "against first": (pi[1:] * (p * pi[0]).sum(1)).sum(1), "T": T, "N": np.array(SIZES)}
    ends = [dno.run(Exact(CYCLE), dno.theory(t, pi_1), rng).output for t in T.tolist()]
    for k, name in enumerate(("average", "last")):
        out[name] = np.array([(p * end[k]).sum(1).max() - 0.5 for end in ends])
    out["bound"] = np.sqrt(-np.log(pi_1.min()) / (2 * T))
    for name, fit in (("fit", dno.regress), ("direct fit", direct_labels)):
        errors = [regression({"N": list(SIZES)}, fit, rng)["measured"] for _ in range(RUNS)]
        out[name] = np.mean(errors, 0) / np.array(SIZES, float) ** 2
    return out


def draw(data: Mapping[str, np.ndarray], figure: Any, verdicts: Mapping[str, str] | None = None) -> None:
    """Three panels: win rates, log-log exploitability, log-log error."""
    figure.set_size_inches(1.55 * style.WIDTH, 1.15 * style.HEIGHT)
    left, middle, right = figure.subplots(1, 3)
    t = np.arange(1, len(data["win"]) + 1)
    left.plot(t, data["win"], color=style.COLOURS[0], lw=3, alpha=0.4, label="$\\pi_{t+1}$ against $\\pi_t$")
    left.plot(t, data["bound of win"], color=style.COLOURS[0], linestyle="--", lw=1,
              label="$\\frac{1}{2}+\\eta\\,J(\\pi_{t+1},\\pi_t)$")
    left.plot(t, data["against first"], markevery=4, label="$\\pi_{t+1}$ against $\\pi_1$", **style.line(1))
    left.axhline(0.5, color="0.6", lw=0.8)
    left.set(xlabel="iteration $t$", ylabel="win rate", title="(a) $\\eta=1/2$", ylim=(None, 0.76))
    left.legend(loc="upper left", frameon=False)
    for i, name in enumerate(("average", "last")):
        middle.plot(data["T"], data[name], markevery=3, label=f"{name} policy", **style.line(2 * i))
    middle.plot(data["T"], data["bound"], color=style.COLOURS[0], linestyle=":", lw=1.2, label="$\\sqrt{c/(2T)}$")
    middle.set(xscale="log", yscale="log", xlabel="iterations $T$", ylabel="$\\max_y\\,(p\\,\\pi)(y)-1/2$",
               title="(b) $\\eta=\\sqrt{T/(8c)}$")
    middle.legend(loc="lower left", frameon=False)
    right.plot(data["N"], data["fit"], label="labels by win rates", **style.line(0))
    right.plot(data["N"], data["direct fit"], label="by single comparisons", **style.line(3))
    right.plot(data["N"], data["fit"][0] * data["N"][0] / data["N"], color="0.5", linestyle=":", lw=1.2,
               label="slope $-1$")
    right.set(xscale="log", yscale="log", xlabel="pairs $N$", ylabel="squared error", title="(c) regression",
              ylim=(5e-5, None))
    right.legend(loc="lower left", frameon=False)
    for name in ("C2", "C3", "C5"):
        if verdicts and name in verdicts:
            style.note(left, f"{name}: {verdicts[name]}")
