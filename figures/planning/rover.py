"""ROVER: value and lower bound against the temperature; diversity against value; gymnasium's tables.

Left, the ternary tree of depth 3 with right leaves 2, 4, 10, 11, 12, 24: V^{pi_rho} exactly, the bound of the second
theorem, R and V^u. Middle, the binary tree of depth 4 with right leaves 3, 8, 9, 14: entropy over right leaves given
success against V^{pi_rho}, a point a temperature. Right: what share of the way from V^u to V* the greedy policy of Q^u
and pi_0.05 go on gymnasium's tables; the panel says so where gymnasium is not installed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from algorithms.planning import rover
from figures.engine import style
from mdpkit.errors import MissingPackage
from mdpkit.measure.plain import evaluate
from theory_checks.planning import _rover_worlds as worlds
from theory_checks.planning.rover import I1, entropy

I2 = (3, 3, (2, 4, 10, 11, 12, 24))
RHOS = np.geomspace(0.02, 20.0, 60)
TABLES = {"lake": ("FrozenLakeEnv", 20, {"is_slippery": False}), "lake, slips": ("FrozenLakeEnv", 100, {}),
          "cliff": ("CliffWalkingEnv", 20, {}), "taxi": ("TaxiEnv", 20, {})}


def compute(rows: Any) -> dict[str, np.ndarray]:
    """All exact to rounding; no claim's rows enter."""
    child, reward = worlds.complete(*I2)
    Q, V = rover.values(child, reward, np.ones(child.shape))
    small, right = worlds.complete(2, 4, I1["right"])
    Q1, V1 = rover.values(small, right, np.ones(small.shape))
    uniform = entropy(I1, lambda child, Q, rho: rover.sampling(child, 0 * Q, rho), 1.0)
    return {"rho": RHOS, "V": np.array([rover.identity(child, Q, rho, 1.0) for rho in RHOS]),
            "bound": np.array([rover.bound(child, Q, rho, 1.0) for rho in RHOS]), "uniform": V[0],
            "V1": np.array([rover.identity(small, Q1, rho, 1.0) for rho in RHOS]),
            "entropy": np.array([entropy(I1, rover.sampling, rho) for rho in RHOS]),
            "ends": np.array([[V1[0], uniform], [1.0, 0.0]]), **_tables()}


def _tables() -> dict[str, np.ndarray]:
    shares = []
    for name, H, settings in TABLES.values():
        try:
            m = worlds.table(name, H, **settings)
        except MissingPackage:
            return {"greedy": np.zeros(0), "sampled": np.zeros(0)}
        Q, V = rover.valuation(m.P, m.r, m.allowed)
        laws = (np.eye(Q.shape[-1])[Q.argmax(-1)], rover.softmax(Q, m.allowed, 0.05))
        low, best = float((m.rho * V[0]).sum()), float((m.rho * _best(m)).sum())
        shares.append([(float((m.rho * evaluate(m.P, m.r, pi)[0][0]).sum()) - low) / (best - low) for pi in laws])
    greedy, sampled = np.array(shares).T
    return {"greedy": greedy, "sampled": sampled}


def _best(m: worlds.Table) -> np.ndarray:
    V = 0.0 * m.rho
    for p, r in zip(m.P[::-1], m.r[::-1]):
        V = (r + p @ V).max(-1)
    return V


def draw(data: Mapping[str, np.ndarray], figure: Any, verdicts: Mapping[str, str] | None = None) -> None:
    """Three panels."""
    axes = figure.subplots(1, 3, width_ratios=(1.15, 1, 1.05))
    _values(axes[0], data)
    _diversity(axes[1], data)
    _bars(axes[2], data)
    said = [f"{k}: {verdicts[k]}" for k in ("C1", "C2", "C2-bound", "C6-tables") if verdicts and k in verdicts]
    if said:
        style.note(axes[0], "\n".join(said))


def _values(ax: Any, data: Mapping[str, np.ndarray]) -> None:
    for i, (name, label) in enumerate((("V", r"$V^{\pi_\rho}$"), ("bound", "lower bound"))):
        ax.plot(data["rho"], data[name], label=label, markevery=(4 * i, 12), **style.line(i))
    ax.axhline(1.0, color="0.4", lw=0.8)
    ax.axhline(float(data["uniform"]), color="0.4", lw=0.8, linestyle=":")
    ax.text(14, 1.015, "$R$", fontsize=8)
    ax.text(0.02, float(data["uniform"]) + 0.015, "$V^u$", fontsize=8)
    ax.set(xscale="log", ylim=(0, 1.3), xlabel=r"temperature $\rho$", ylabel="value at the root", title="$A=H=3$")
    ax.legend(loc="upper center", frameon=False, ncols=2, columnspacing=0.6, handlelength=1.2, fontsize=7)


def _diversity(ax: Any, data: Mapping[str, np.ndarray]) -> None:
    ax.plot(data["V1"], data["entropy"], color=style.COLOURS[0], lw=1.0)
    ax.plot(data["V1"], data["entropy"], ".", color=style.COLOURS[0], label=r"$\pi_\rho$", ms=4)
    for i, (name, (x, y)) in enumerate(zip(("uniform", "greedy"), data["ends"])):
        ax.plot(x, y, style.MARKERS[i + 1], color=style.COLOURS[i + 1], label=name, markerfacecolor="white",
                clip_on=False, zorder=4)
    ax.set(xlim=(0, 1.05), ylim=(-0.05, 1.5), xlabel=r"$V^{\pi_\rho}$", ylabel="entropy of right leaves (nats)",
           title="$A=2$, $H=4$")
    ax.legend(loc="lower left", frameon=False)


def _bars(ax: Any, data: Mapping[str, np.ndarray]) -> None:
    x = np.arange(len(TABLES))
    ax.set(xticks=x, title="gymnasium's tables", ylabel="$(V-V^u)/(V^*-V^u)$", ylim=(0, 1.25))
    ax.set_xticklabels([f"{k} ({H})" for k, (_, H, _) in TABLES.items()], rotation=40, ha="right",
                       rotation_mode="anchor")
    if not len(data["greedy"]):
        ax.text(0.5, 0.5, "gymnasium is\nnot installed", transform=ax.transAxes, ha="center")
        return
    for i, name in enumerate(("greedy", "sampled")):
        ax.bar(x + 0.4 * i - 0.2, data[name], 0.38, color=style.COLOURS[i], hatch=("", "//")[i],
               label=("greedy", r"$\pi_{0.05}$")[i], edgecolor="white")
    ax.legend(loc="upper right", frameon=False, ncols=2, columnspacing=0.8, handlelength=1.2)
