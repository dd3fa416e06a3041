"""NPG: the gap against the number of updates with the bounds, and the gap at T = 50 against the number of actions.

Left, on F(4, 3) at gamma = 0.9: NPG at three steps, each with its bound dotted, and plain ascent at eta = 1. Right, on
one state of which one action pays, gamma = 0.5, eta = 1: NPG stays at the foot, plain ascent leaves the bound behind.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from algorithms.policy_gradient import npg
from algorithms.policy_gradient.npg import Params
from figures.engine import style
from mdpkit.access import Exact
from mdpkit.instances.formula import stationary
from mdpkit.measure.values import optimal_start_value, start_value
from theory_checks.policy_gradient.npg import arms

ETAS = (0.01, 0.1, 1.0)
PLAIN = 1.0              # the step of plain ascent
T = np.unique(np.geomspace(1, 300, 28).astype(np.int64))
ACTIONS = np.array([2, 5, 10, 30, 100, 300, 1000])
FOOT = 1e-13             # of the axes; below it is rounding


def compute(rows: Any = None) -> dict[str, np.ndarray]:
    """Gaps at the drawn T and A, and the bounds; no claim's rows enter, everything is exact to rounding."""
    rng = np.random.default_rng(0)                       # neither algorithm draws from it
    m = stationary(4, 3, 0.9)
    best = optimal_start_value(m)
    out: dict[str, np.ndarray] = {"T": T, "A": ACTIONS}
    for name, run, eta in (*((f"npg {eta:g}", npg.run, eta) for eta in ETAS), ("plain", npg.run_gradient, PLAIN)):
        trace = run(Exact(m), Params(eta, int(T[-1]) + 1), rng).trace
        out[name] = np.array([best - start_value(m, trace.policies[trace.index[t]]) for t in T])   # type: ignore
        out[f"bound {eta:g}"] = npg.bound(m.A, m.gamma, eta, T)
    for name, run in (("npg", npg.run), ("plain", npg.run_gradient)):
        ends = [run(Exact(arms(A, 0.5)), Params(1.0, 50), rng).output[0, 1:].sum() / 0.5 for A in ACTIONS.tolist()]
        out[f"{name} by A"] = np.array(ends)
    out["bound by A"] = np.array([npg.bound(A, 0.5, 1.0, 50) for A in ACTIONS.tolist()])
    return out


def draw(data: Mapping[str, np.ndarray], figure: Any, verdicts: Mapping[str, str] | None = None) -> None:
    """Two log-log axes; gaps below the foot are drawn on it, on the right, and cut on the left."""
    figure.set_size_inches(1.35 * style.WIDTH, 1.25 * style.HEIGHT)
    left, right = figure.subplots(1, 2, width_ratios=(1.3, 1))
    for i, eta in enumerate(ETAS):
        y = np.where(data[f"npg {eta:g}"] > FOOT, data[f"npg {eta:g}"], np.nan)
        left.plot(data["T"], y, label=f"NPG, $\\eta={eta:g}$", markevery=(i, 4), **style.line(i))
        left.plot(data["T"], data[f"bound {eta:g}"], color=style.COLOURS[i], linestyle=":", lw=1.1,
                  label="the bound for it" if i == 0 else None)
    left.plot(data["T"], data["plain"], label=f"plain PG, $\\eta={PLAIN:g}$", markevery=(3, 4), **style.line(3))
    left.set(xscale="log", yscale="log", xlabel="updates $T$", ylabel="gap $V^*(\\rho)-V^{\\pi_T}(\\rho)$",
             title="$F(4,3)$, $\\gamma=0.9$", ylim=(1e-6, 2e4), yticks=[1e-6, 1e-4, 1e-2, 1, 100, 1e4])
    right.plot(data["A"], np.maximum(data["npg by A"], FOOT), label="NPG, below $10^{-13}$", clip_on=False, zorder=3,
               **style.line(2))
    right.plot(data["A"], data["plain by A"], label="plain PG", **style.line(3))
    right.plot(data["A"], data["bound by A"], color=style.COLOURS[2], linestyle=":", lw=1.1, label="bound")
    right.set(xscale="log", yscale="log", xlabel="actions $A$", ylabel="gap at $T=50$", ylim=(FOOT, 10),
              title="one state, $\\gamma=0.5$, $\\eta=1$", yticks=[1e-12, 1e-8, 1e-4, 1])
    left.legend(loc="lower left", frameon=False)
    right.legend(loc="center", frameon=False)
    for ax, names in ((left, ("C3", "C4")), (right, ("C5",))):
        said = [f"{k}: {verdicts[k]}" for k in names if verdicts and k in verdicts]
        if said:
            style.note(ax, "\n".join(said))
