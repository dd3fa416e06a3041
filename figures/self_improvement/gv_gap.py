"""Self-improvement in three panels: utility by round, pass@k by round, and the gap by the verifier's noise.

Left, J_t saturates where the weight grows with the utility, and rises, then falls to 0 where a false positive has the
largest weight. Middle, two prompts of which one is verified wrongly: pass@k gains at small k, loses at large k.
Right, p = .3 and a score u + sigma N(0, 1) cut at 1/2: gap and relative gap vanish as sigma grows.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from algorithms.self_improvement import gv_gap
from figures.engine import style
from theory_checks.self_improvement.gv_gap import HUMP, TWO

GOOD = {"f": [[0.1, 0.3, 0.6]], "u": [[1, 0.5, 0]], "w": [[1, 0.7, 0.4]]}
T = 40
K = np.unique(np.geomspace(1, 64, 25).astype(np.int64))
SIGMA = np.geomspace(0.15, 8, 40)
P = 0.3


def compute(rows: Any = None) -> dict[str, np.ndarray]:
    """Utilities (T+1,), pass@k (6, len(K)), gaps over SIGMA; no claim's rows enter, everything is exact."""
    out: dict[str, np.ndarray] = {"k": K, "sigma": SIGMA}
    for name, world in (("good", GOOD), ("hump", HUMP)):
        f, w, u = (np.array(world[k], float) for k in ("f", "w", "u"))
        out[name] = np.array([gv_gap.utility(g, u, np.ones(1)) for g in gv_gap.improve(f, w, T)])
    f, w, u = (np.array(TWO[k], float) for k in ("f", "w", "u"))
    fs = gv_gap.improve(f, w, 5)
    out["pass"] = np.array([[gv_gap.pass_at_k(g, u, np.full(2, 0.5), int(k)) for k in K] for g in fs])
    one = np.array([[1.0, 0.0]])
    law = np.array([[P, 1 - P]])
    found = [gv_gap.gap_by_rates(law, np.array([gv_gap.noisy_rates(s)]), one)[1:] for s in SIGMA.tolist()]
    out["gap"], out["relative"] = np.array(found)[:, :, 0].T
    return out


def draw(data: Mapping[str, np.ndarray], figure: Any, verdicts: Mapping[str, str] | None = None) -> None:
    """Three axes side by side."""
    figure.set_size_inches(1.7 * style.WIDTH, 1.15 * style.HEIGHT)
    left, middle, right = figure.subplots(1, 3)
    for i, (name, label) in enumerate((("good", "$w$ grows with $u$"), ("hump", "a false positive"))):
        left.plot(np.arange(T + 1), data[name], label=label, markevery=(2 * i, 5), **style.line(i))
    left.axvline(5, color="0.6", linestyle=":", lw=1.0)
    left.set(xlabel="round $t$", ylabel="utility $J(f_t)$", ylim=(0, 1.2), title="fixed verifier")
    for t, curve in enumerate(data["pass"]):
        middle.plot(data["k"], curve, label=f"$t={t}$", markevery=(t, 6), **style.line(t))
    middle.set(xscale="log", xlabel="samples $k$", ylabel="pass@$k$", title="one of two prompts misjudged",
               xticks=[1, 4, 16, 64], xticklabels=["1", "4", "16", "64"])
    middle.minorticks_off()
    right.plot(data["sigma"], data["gap"], label="gap", markevery=(0, 5), **style.line(0))
    right.plot(data["sigma"], data["relative"], label="gap$/(1-p)$", markevery=(2, 5), **style.line(1))
    right.set(xscale="log", xlabel="verifier's noise $\\sigma$ (units of $u$)", ylabel="gap in accuracy",
              title="noisy verifier, $p=0.3$", ylim=(0, 1.05),
              xticks=[0.25, 1, 4], xticklabels=["0.25", "1", "4"])
    right.minorticks_off()
    left.legend(loc="upper right", frameon=False)
    middle.legend(loc="lower right", frameon=False, ncols=2, fontsize=7)
    right.legend(loc="upper right", frameon=False)
    for name in ("C2-limit", "C3", "C5", "C6"):
        if verdicts and name in verdicts:
            style.note(left, f"{name}: {verdicts[name]}")
