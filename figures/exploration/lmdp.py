"""Latent MDPs: regret on L(2, 2, 2, 3), log-log, and the variance of alpha vectors against the horizon.

Left: medians with quartiles at c = 1 and 0.05 of the bonus, and of the learner that books its counts on a random
context at c = 0.05; dotted, slope 1/2. Right: E sum_h Var(alpha_m) of the best policy of L(2, 2, 2, H), with the
rewards of the instance, whose returns lie in [0, 1], and with H times as much; dashed, 1/4, which bounds the former.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from algorithms.exploration import lmdp
from figures.engine import style
from mdpkit.instances.formula import latent
from theory_checks.exploration._lmdp_twins import mislabelled
from theory_checks.exploration.lmdp import SMALL, gaps, played

LEARNERS = {"$c=1$": (lmdp.run, 1.0), "$c=0.05$": (lmdp.run, 0.05), "$c=0.05$, no hindsight": (mislabelled, 0.05)}
LAST = 6


def compute(rows: Any, K: int = 10_000, runs: int = 24, last: int = LAST) -> dict[str, np.ndarray]:
    """Quartiles of the regret (3, points) of each learner at the episodes ``k``, and two variances for each ``H``."""
    k = np.unique(np.geomspace(4, K, 60).astype(np.int64))
    out: dict[str, Any] = {"k": k, "H": np.arange(2, last + 1)}
    for name, (run, c) in LEARNERS.items():
        curves = [np.cumsum(gaps(*played(SMALL | {"K": K, "c": c}, run, np.random.default_rng(seed))[:2]))[k - 1]
                  for seed in range(runs)]
        out[f"run {name}"] = np.quantile(curves, [0.25, 0.5, 0.75], axis=0)
    for name, scale in (("bounded", 0), ("growing", 1)):
        found = []
        for H in out["H"]:
            m = latent(2, 2, 2, int(H))
            r = m.r * H**scale
            found.append(lmdp.variances(m.w, m.nu, m.P, r, lmdp.plan(m.w, m.nu, m.P, r, int(H))[1], int(H))[0])
        out[name] = np.array(found)
    return out


def draw(data: Mapping[str, np.ndarray], figure: Any, verdicts: Mapping[str, str] | None = None) -> None:
    """Two panels; legends above them."""
    left, right = figure.subplots(1, 2)
    k = data["k"]
    for i, name in enumerate(LEARNERS):
        low, middle, high = data[f"run {name}"]
        left.plot(k, middle, label=name, markevery=(4 * i, 12), **style.line(i))
        left.fill_between(k, low, high, color=style.COLOURS[i], alpha=0.2, lw=0)
    left.plot(k, 0.6 * np.sqrt(k), color="k", linestyle=":", lw=1.0, label="slope $1/2$")
    left.set(xscale="log", yscale="log", xlabel="episode $K$", ylabel="regret (sum of $V^*-V^{\\pi_k}$)",
             xlim=(k[0], k[-1]))
    right.plot(data["H"], data["bounded"], label="$r\\leq 1/H$", **style.line(0))
    right.plot(data["H"], data["growing"], label="$r\\leq 1$", **style.line(1))
    right.axhline(0.25, color="k", lw=1.0, linestyle=(0, (5, 2)), label="$1/4$")
    right.set(yscale="log", xlabel="horizon $H$", ylabel="$E\\sum_h \\mathrm{Var}_{P_m}(\\alpha_m)$", xticks=data["H"])
    for ax in (left, right):
        ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), frameon=False, ncols=2, columnspacing=1.0,
                  handlelength=1.8, fontsize=7)
    said = [f"{name}: {verdicts[name]}" for name in ("C1", "C1-quarter", "C4") if verdicts and name in verdicts]
    if said:
        style.note(left, "\n".join(said))
