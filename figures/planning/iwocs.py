"""IWOCS: bounds against the iteration, iterations against the size of the set, and a lake whose slip is uncertain.

Left, U_i (solid) and L_i (dashed), less the robust optimum, on four random rectangular sets and on the set on which
greedy-min stalls, for both candidates there. Middle, the iterations of both candidates over random sets (M = 3) against
S A, with the bound S A (M-1) + 1. Right, gymnasium's FrozenLake, whose chance to obey is one of five: the last U and L
for each (s, a) on its own, and for one chance in common; the line is the certified optimum of the former. The panel
says so where gymnasium is not installed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from algorithms.planning import iwocs
from algorithms.planning.iwocs import Params
from figures.engine import style
from mdpkit.errors import MissingPackage
from mdpkit.models.tabular import TabularMDP
from mdpkit.solve import robust
from theory_checks.planning import iwocs as checks

SEEDS = (2, 3, 5, 7)
SIZES = ((2, 2), (3, 2), (4, 2), (4, 3), (6, 3), (8, 3), (8, 4))
SETS = 20                # of each size
KINDS = {"hull": ("hull", True), "greedy-min": ("greedy-min", True), "coupled": ("greedy-min", False)}
GAMMA = 0.97             # of the lake


def compute(rows: Any) -> dict[str, np.ndarray]:
    """All computed here; sets are drawn from seeds of their own."""
    out: dict[str, np.ndarray] = {}
    worlds = {f"set {seed}": (*_drawn(4, 3, np.random.default_rng(seed)), "greedy-min") for seed in SEEDS}
    w = checks.stall()
    worlds |= {f"stall, {c}": (w["PU"], w["r"], c) for c in checks.ALL}
    for name, (PU, r, candidate) in worlds.items():
        found, best = _search(PU, r, 0.9, np.eye(len(r))[0], candidate), _optimum(PU, r, 0.9)
        out |= {f"{name} U": found.U - best, f"{name} L": found.L - best}
    rng = np.random.default_rng(11)
    for candidate in checks.ALL:
        out[f"n {candidate}"] = np.array([[len(_search(*_drawn(S, A, rng), 0.9, np.eye(S)[0], candidate).U)
                                           for _ in range(SETS)] for S, A in SIZES])
    return out | {"size": np.array([S * A for S, A in SIZES])} | _lake()


def _drawn(S: int, A: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    return rng.dirichlet(np.full(S, 0.5), (3, S, A)), rng.random((S, A))


def _search(PU: np.ndarray, r: np.ndarray, gamma: float, rho: np.ndarray, candidate: str,
            rectangular: bool = True) -> iwocs.Found:
    return iwocs.search(PU, r, gamma, rho, Params(1e-9, candidate, rectangular))


def _optimum(PU: np.ndarray, r: np.ndarray, gamma: float) -> float:
    return float(iwocs.robust(PU, r, gamma, np.ones(PU.shape[:3], np.bool_))[1][0])


def _lake() -> dict[str, np.ndarray]:
    try:
        PU, r, rho = checks.lakes(checks.SLIPS)
    except MissingPackage:
        return {"lake": np.zeros(0), "optimum": np.zeros(0)}
    ends = [_search(PU, r, GAMMA, rho, *kind) for kind in KINDS.values()]
    solved = robust.solve_finite(TabularMDP(PU[0], r, GAMMA, rho), PU, tier="exact")
    return {"lake": np.array([(found.U[-1], found.L[-1]) for found in ends]),
            "optimum": np.array([(rho * solved.value).sum()])}


def draw(data: Mapping[str, np.ndarray], figure: Any, verdicts: Mapping[str, str] | None = None) -> None:
    """Three panels."""
    left, middle, right = figure.subplots(1, 3, width_ratios=(1.25, 1, 1))
    _curves(left, data)
    for i, candidate in enumerate(checks.ALL):
        n = data[f"n {candidate}"]
        middle.plot(data["size"] * (1 + 0.04 * i), n.mean(1), label=f"{candidate}, mean", **style.line(i))
        middle.plot(data["size"] * (1 + 0.04 * i), n.max(1), style.MARKERS[i], color=style.COLOURS[i], ms=3,
                    label=f"{candidate}, most")
    middle.plot(data["size"], 2 * data["size"] + 1, "k:", lw=1.0, label="bound (hull)")
    middle.set(xscale="log", yscale="log", xlabel="$S A$", ylabel="iterations", ylim=(0.8, 300))
    middle.set_xticks([4, 8, 16, 32], ["4", "8", "16", "32"], minor=False)
    middle.set_xticks([], minor=True)
    middle.legend(loc="upper left", frameon=False, fontsize=6, handlelength=1.4, labelspacing=0.2)
    _bars(right, data)
    said = [f"{k}: {verdicts[k]}" for k in ("C2", "C3", "C4", "C6", "C6-coupled") if verdicts and k in verdicts]
    if said:
        style.note(left, "\n".join(said))


def _curves(ax: Any, data: Mapping[str, np.ndarray]) -> None:
    names = [key[:-2] for key in data if key.endswith(" U")]
    for i, name in enumerate(names):
        look = style.line(i) | {"linestyle": "-"}
        ax.plot(data[f"{name} U"], label=name, clip_on=False, **look)
        ax.plot(data[f"{name} L"], clip_on=False, **(look | {"linestyle": "--"}))
    most = max(len(data[f"{name} U"]) for name in names)
    ax.axhline(0.0, color="0.4", lw=0.8)
    ax.set(xlabel="iteration $i$", ylabel=r"$U_i$ and $L_i$, less $V_{\mathrm{rob}}$", xticks=range(most))
    ax.legend(loc="upper right", frameon=False, fontsize=6, handlelength=1.4, labelspacing=0.2)


def _bars(ax: Any, data: Mapping[str, np.ndarray]) -> None:
    ax.set(title="uncertain lake", ylabel="last $U$ and $L$")
    if not len(data["lake"]):
        ax.text(0.5, 0.5, "gymnasium is\nnot installed", transform=ax.transAxes, ha="center")
        return
    x = np.arange(len(KINDS))
    for i, name in enumerate("UL"):
        ax.bar(x + 0.4 * i - 0.2, data["lake"][:, i], 0.38, label=f"${name}$", color=style.COLOURS[i],
               hatch=("", "//")[i], edgecolor="white")
    ax.axhline(float(data["optimum"][0]), color="k", lw=0.8, linestyle=":", label=r"$V_{\mathrm{rob}}$")
    ax.set_xticks(x, list(KINDS), rotation=40, ha="right", rotation_mode="anchor")
    ax.legend(loc="upper left", frameon=False, fontsize=7)
