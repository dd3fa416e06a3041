"""Planning: value iteration's error, residual and span, and policy iteration's error, against the iteration.

Two columns: F(4, 3) at gamma = 0.9 and RiverSwim with six states at gamma = 0.99. Above, value iteration from 0: the
sup error |V_k - V*|, the sup residual |D_k| and the span of D_k = T V_k - V_k, with gamma^k dotted from the first
error: error and residual fall no faster, the span does. Below, policy iteration from action 0 everywhere, with the
contraction gamma^k that is proven for it dotted; its last policy is optimal and drawn at the foot.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from algorithms.planning import planning_basics as pb
from figures.engine import style
from mdpkit.access import Exact
from mdpkit.instances.chains import riverswim
from mdpkit.instances.formula import stationary

WORLDS = {"F": ("$F(4,3)$, $\\gamma=0.9$", 0.9), "river": ("RiverSwim, $\\gamma=0.99$", 0.99)}
EPS = {"F": 1e-6, "river": 1e-6}
SWEEPS = {"F": 40, "river": 200}
FOOT = 1e-13             # of the axes; below it is rounding
NAMES = {"error": r"error $\|V_k-V^*\|_\infty$", "residual": r"residual $\|D_k\|_\infty$", "span": "span of $D_k$"}


def compute(rows: Any = None) -> dict[str, np.ndarray]:
    """Curves by world and name; no claim's rows enter, everything is exact to rounding."""
    out: dict[str, np.ndarray] = {}
    rng = np.random.default_rng(0)                       # neither algorithm draws from it
    for key, model in (("F", stationary(4, 3, 0.9)), ("river", riverswim(6, 0.99))):
        params = pb.theory(EPS[key])
        policies = pb.run_policy_iteration(Exact(model), params, rng)
        V, best = np.zeros(model.S), policies.output.value
        curve = []
        for _ in range(SWEEPS[key]):
            D = pb.backup(model.P, model.r, model.gamma, V) - V
            curve.append((np.abs(V - best).max(), np.abs(D).max(), D.max() - D.min()))
            V = V + D
        out |= {f"{key} {name}": column for name, column in zip(NAMES, np.array(curve).T)}
        out[f"{key} policy"] = np.abs(policies.trace.info["V"] - best).max(-1)       # type: ignore[union-attr]
        out[f"{key} stop"] = np.array(len(pb.run(Exact(model), params, rng).trace) - 1)  # type: ignore[arg-type]
    return out


def draw(data: Mapping[str, np.ndarray], figure: Any, verdicts: Mapping[str, str] | None = None) -> None:
    """Two logarithmic axes above, cut at the foot, and a linear one below, where 0 is seen."""
    axes = figure.subplot_mosaic([["F", "river"], ["policy", "policy"]])
    for i, (key, (title, gamma)) in enumerate(WORLDS.items()):
        ax, n = axes[key], len(data[f"{key} error"])
        for j, (name, label) in enumerate(NAMES.items()):
            y = np.where(data[f"{key} {name}"] > FOOT, data[f"{key} {name}"], np.nan)
            ax.plot(np.arange(n), y, label=label, markevery=(n // 24 * j, n // 8), **style.line(j))
        _dotted(ax, data[f"{key} error"][0], gamma, n)
        ax.axvline(data[f"{key} stop"], color="0.6", lw=0.8, label="span stop")
        ax.set(yscale="log", xlabel="sweep $k$", title=f"{title}, $\\varepsilon=10^{{{np.log10(EPS[key]):.0f}}}$",
               ylim=(FOOT / 3, 300), yticks=[1e-12, 1e-8, 1e-4, 1])
        error = data[f"{key} policy"] / data[f"{key} policy"][0]
        axes["policy"].plot(error, label=title, clip_on=False, zorder=3,
                            **{**style.line(3 + i), "linestyle": ("-", "--")[i]})
        _dotted(axes["policy"], 1.0, gamma, len(error))
    axes["F"].set_ylabel("VI, sup norms")
    axes["policy"].set(xlabel="policy $k$", ylim=(0, 1.1), ylabel="PI: error / first error")
    axes["policy"].legend(loc="center", frameon=False, handles=axes["policy"].get_lines()[::2])
    figure.legend(*axes["F"].get_legend_handles_labels(), loc="outside upper center", ncols=5, frameon=False,
                  columnspacing=1.0, handlelength=2.4)
    said = [f"{k}: {verdicts[k]}" for k in ("C2", "C3-stop", "C4") if verdicts and k in verdicts]
    if said:
        style.note(axes["policy"], "\n".join(said))


def _dotted(ax: Any, first: float, gamma: float, n: int) -> None:
    ax.plot(np.arange(n), first * gamma ** np.arange(n), color="k", linestyle=":", lw=1.2, zorder=2.5,
            label=r"$\gamma^k$")
