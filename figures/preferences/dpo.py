"""DPO: what a sample costs, and what the closed form buys.

Left: the mean gap over runs of claim C4, whose rows they are, of DPO and of two-stage RLHF on the same comparisons;
their limit c/N. Bars are quartiles of DPO's. Right: expected reward against KL to the reference, over beta, and
policies drawn at random, none of which lies above. Two prompts, four responses.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from algorithms.preferences import dpo
from figures.engine import style
from mdpkit import losses
from theory_checks.preferences.dpo import GIVEN, ONE, SIZES, TWO, UNIFORM

RUNS = 100
BETAS = np.geomspace(0.02, 20.0, 80)
SHOWN = (0.1, 0.25, 0.5, 1.0, 2.0)             # betas with a mark of their own


def compute(rows: Any, runs: int = RUNS) -> dict[str, np.ndarray]:
    """Mean gaps and quartiles at each N, c; the frontier; random policies by KL and reward."""
    N, rlhf = np.array(SIZES, float), f"{dpo.__name__}:run_rlhf"
    mine, two = (np.array([row["measured"] for row in rows.of("C4", runs, world=1, subject=name)]) / N**2
                 for name in (None, rlhf))
    rng = np.random.default_rng(0)
    theta = rng.normal(size=(600, 2, 4)) * rng.choice([0.3, 1.0, 3.0], (600, 1, 1))
    cloud = [_point(losses.log_softmax(np.log(TWO.pi_ref) + t)) for t in theta]
    return {"N": N, "dpo": mine.mean(0), "quartiles": np.percentile(mine, (25, 75), axis=0), "rlhf": two.mean(0),
            "c": np.array(dpo.asymptotic_gap(*GIVEN, ONE.rho, UNIFORM)), "cloud": np.array(cloud),
            "frontier": np.array([_optimum(b) for b in BETAS]), "shown": np.array([_optimum(b) for b in SHOWN])}


def _optimum(beta: float) -> tuple[float, float]:
    return _point(dpo.closed_form(TWO.reward, np.log(TWO.pi_ref), beta)[0])


def _point(log_pi: np.ndarray) -> tuple[float, float]:
    reward = float((TWO.rho * (np.exp(log_pi) * TWO.reward).sum(-1)).sum())
    return losses.reverse_kl(log_pi, np.log(TWO.pi_ref), TWO.rho)[0], reward


def draw(data: Mapping[str, np.ndarray], figure: Any, verdicts: Mapping[str, str] | None = None) -> None:
    """Left logarithmic on both axes, right linear."""
    left, right = figure.subplots(1, 2)
    N = data["N"]
    left.plot(N, data["c"] / N, color="0.5", linestyle=":", lw=1.2, label=f"$c/N$, $c={float(data['c']):.2f}$")
    left.vlines(N, *data["quartiles"], color=style.COLOURS[0], lw=1.0)
    left.plot(N, data["dpo"], label="DPO", **style.line(0))
    left.plot(N, data["rlhf"], label="two-stage RLHF", **{**style.line(1), "marker": "x", "markersize": 7})
    left.set(xscale="log", yscale="log", xlabel="comparisons $N$", ylabel="gap $J(\\pi^*)-J(\\hat\\pi)$",
             title="one prompt, uniform pairs", xticks=N, xticklabels=[f"{int(n)}" for n in N])
    left.minorticks_off()
    left.legend(loc="lower left", frameon=False)
    right.plot(*data["cloud"].T, ".", ms=2, color="0.75", label="random policies")
    right.plot(*data["frontier"].T, color=style.COLOURS[0], lw=1.4, label="$\\pi^*_\\beta$")
    right.plot(*data["shown"].T, "o", ms=4, mfc="white", color=style.COLOURS[0])
    for beta, (x, y) in zip(SHOWN, data["shown"]):
        right.annotate(f"$\\beta={beta:g}$", (x, y), xytext=(6, -8), textcoords="offset points", fontsize=7,
                       bbox={"boxstyle": "round,pad=0.1", "fc": "white", "ec": "none", "alpha": 0.8})
    right.set(xlabel="$\\mathrm{KL}(\\pi\\,\\|\\,\\pi_{\\mathrm{ref}})$ (nats)", ylabel="expected reward",
              title="the frontier", xlim=(-0.05, 2.05), ylim=(-0.3, 1.05))
    right.legend(loc="lower right", frameon=False, markerscale=3)
    for ax, claim in ((left, "C4"), (right, "C1")):
        if verdicts and claim in verdicts:
            style.note(ax, f"{claim}: {verdicts[claim]}")
