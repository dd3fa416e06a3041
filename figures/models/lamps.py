"""LAMPS: what its gap is made of, and its price: the gap against iterations and against policy evaluations.

F(4, 3), gamma = 0.9, nu of the expert, m = 20, eta = 0.1. Left: the three terms of the performance difference by the
advantage in the model along one run of LAMPS, their sum, and the true gap below it. Right: the mean gap so far of
LAMPS, LAMPS-MM, planning at each iteration, and LAMPS without nu on the lock, eta = 0.5; means over runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from algorithms.models import lamps
from algorithms.models.lamps import Params
from figures.engine import style
from mdpkit.instances.formula import stationary
from theory_checks.models.lamps import expert, gaps_of

RUNS, T = 8, 300
SHOWN = np.unique(np.geomspace(1, T, 40).astype(np.int64))
TERMS = (r"$E_{d^*}\hat A$", r"$\gamma E_{d^*}(P-M)\hat V$", r"$-\gamma E_{d}(P-M)\hat V$")        # over 1 - gamma
CURVES = {"LAMPS": (lamps.run, 0.5), "LAMPS-MM": (lamps.run_mm, 0.5),
          "planning in the model": (lamps.run_planning, 0.5), "own data alone": (lamps.run, 0.0)}


def compute(rows: Any = None) -> dict[str, np.ndarray]:
    """Terms (3, len(t)) and gap of one run, and mean gaps so far and costs of each curve on the lock."""
    m, rng = stationary(4, 3, 0.9), np.random.default_rng(0)
    gaps, _, run = gaps_of("formula", lamps.run, Params(T, 20, 0.1), rng)
    trace: Any = run.trace
    terms = [lamps.advantage_terms(m.dense, trace.info["learnt"][t], m.r, m.gamma, m.rho, expert(m),
                                   trace.policies[trace.index[t]]) for t in (SHOWN - 1).tolist()]
    out = {"t": SHOWN, "terms": np.array(terms)[:, 1:].T, "gap": gaps[SHOWN - 1]}
    for name, (entry, share) in CURVES.items():
        found = [gaps_of("lock", entry, Params(100, 20, 0.5, share), rng) for _ in range(RUNS)]
        out[name] = np.mean([np.cumsum(g) / np.arange(1, 101) / best for g, best, _ in found], axis=0)
        out[f"{name} cost"] = np.mean([np.cumsum(r.trace.info["evaluations"])           # type: ignore[union-attr]
                                       for *_, r in found], axis=0)
    return out


def draw(data: Mapping[str, np.ndarray], figure: Any, verdicts: Mapping[str, str] | None = None) -> None:
    """Terms on a linear axis, the other two log-log with one legend."""
    figure.set_size_inches(1.5 * style.WIDTH, 1.15 * style.HEIGHT)
    left, middle, right = figure.subplots(1, 3, width_ratios=(1.25, 1, 1))
    for i, (label, y) in enumerate(zip(TERMS, data["terms"])):
        left.plot(data["t"], y, label=label, markevery=(i, 5), **style.line(i))
    left.plot(data["t"], data["terms"].sum(0), color=style.COLOURS[3], lw=1.0, label="their sum")
    left.plot(data["t"], data["gap"], "x", color=style.COLOURS[4], markersize=4, label="true gap")
    left.set(xscale="log", xlabel="iteration $t$", ylabel=r"gap $V^*(\rho)-V_{\pi_t}(\rho)$ and its terms",
             title=r"LAMPS on $F(4,3)$, $\gamma=0.9$")
    left.legend(loc="upper right", frameon=False)
    for i, name in enumerate(CURVES):
        t = np.arange(1, len(data[name]) + 1)
        for ax, x in ((middle, t), (right, data[f"{name} cost"])):
            ax.plot(x, data[name], label=name, markevery=(5 * i, 20), **style.line(i))
    middle.set(xlabel="iteration $t$", ylabel=r"mean gap of $\pi_1..\pi_t$, over $V^*(\rho)$", ylim=(0, 1),
               title="lock, $L=8$, $A=3$, $\\gamma=0.9$")
    right.set(xlabel="policy evaluations", xscale="log", title="the same", ylim=(0, 1))
    figure.legend(*middle.get_legend_handles_labels(), loc="outside upper right", ncols=4, frameon=False)
    said = [f"{k}: {verdicts[k]}" for k in ("C1", "C4-rate", "C4-rate-mm", "C5") if verdicts and k in verdicts]
    if said:
        style.note(left, "\n".join(said))
