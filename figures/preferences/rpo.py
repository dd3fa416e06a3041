"""RPO: the mean gap against N, on four responses that are compared N times and a fifth that is compared twice.

With probability 0.07 the fifth response wins both: DPO then plays it, whatever N. RPO, pi_base the winners, does not.
Inset: the policies of one such run at N = 800. beta = 1/sqrt(N), as in the theorem.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from algorithms.preferences import rpo
from algorithms.preferences.rpo import Params
from figures.engine import style
from theory_checks.preferences.rpo import REWARD, SIZES, few

DPO = "theory_checks.preferences._rpo_twins:dpo"


def compute(rows: Any, runs: int = 128) -> dict[str, np.ndarray]:
    """Mean gaps over the judge's own runs with their standard errors, and policies by response of a fluke run."""
    out: dict[str, Any] = {"N": np.array(SIZES)}
    for name, subject in (("RPO", None), ("DPO", DPO)):
        gaps = np.array([row["measured"] for row in rows.of("C4-rate", runs, subject=subject)]) / SIZES
        out[name], out[f"{name} error"] = gaps.mean(0), gaps.std(0, ddof=1) / math.sqrt(len(gaps))
    for seed in range(1000):
        rng = np.random.default_rng(seed)
        access, data = few(800, rng, 1 / math.sqrt(800))
        if data.count[(data.win == 4) & (data.lose == 0)].sum() > 1.9:
            break
    out["fluke RPO"] = rpo.run(access, data, Params(0.5 / math.sqrt(800)), rng).output[0]
    out["fluke DPO"] = rpo.run_dpo(access, data, Params(0.0), rng).output[0]
    return out


def draw(data: Mapping[str, np.ndarray], figure: Any, verdicts: Mapping[str, str] | None = None) -> None:
    """Left the gaps, log-log; right one run by response."""
    figure.set_size_inches(1.3 * style.WIDTH, style.HEIGHT)
    left, right = figure.subplots(1, 2, width_ratios=(1.4, 1))
    for i, name in enumerate(("RPO", "DPO")):
        left.errorbar(data["N"], data[name], yerr=data[f"{name} error"], capsize=2, label=name, **style.line(i))
        right.bar(np.arange(5) + 0.4 * i - 0.2, data[f"fluke {name}"], 0.36, label=name, color=style.COLOURS[i],
                  hatch=("", "///")[i], edgecolor="white")
    left.plot(data["N"], data["RPO"][0] * np.sqrt(data["N"][0] / data["N"]), color="0.5", linestyle=":", lw=1.2,
              label="slope $-1/2$")
    left.set(xscale="log", yscale="log", xlabel="comparisons $N$", ylim=(0.001, 1),
             ylabel="mean gap $1-E_{\\hat\\pi}r^*$", title="means over runs, $\\pm$ one standard error")
    left.set_xticks(data["N"], [str(n) for n in data["N"]])
    left.minorticks_off()
    left.legend(loc="lower left", frameon=False)
    labels = [f"$y_{i + 1}$\n{r:g}" for i, r in enumerate(REWARD[0])]
    right.set(xlabel="response, and its reward $r^*$", ylabel="probability", title="$N=800$, two flukes of $y_5$",
              ylim=(0, 1))
    right.set_xticks(np.arange(5), labels)
    right.legend(loc="upper center", frameon=False)
    for name in ("C4", "C4-rate"):
        if verdicts and name in verdicts:
            style.note(left, f"{name}: {verdicts[name]}")
