"""MDPO: the gap against updates at fixed, growing and adaptive steps with their bounds, and the soft form with its.

F(4, 3) at gamma = 0.9, from uniform. Left t fixed, each with its bound dotted; in the middle steps that grow and steps
of the adaptive rule, each with its linear rate dotted; right MDPO with tau = 0.1 and its bound,
which falls as kappa^k.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from algorithms.policy_gradient import mdpo
from algorithms.policy_gradient.mdpo import Params
from figures.engine import style
from mdpkit.access import Exact
from mdpkit.instances.formula import stationary
from mdpkit.losses import log_softmax
from theory_checks.policy_gradient.mdpo import distance, gaps, optimum

FIXED, SOFT, TAU = (0.1, 1.0, 10.0), (1.0, 10.0, 100.0), 0.1
T, SHORT, LONG = 200, 100, 150
FOOT = 1e-12             # below it is rounding


def compute(rows: Any = None) -> dict[str, np.ndarray]:
    """All curves and bounds; no claim's rows enter, everything is exact to rounding."""
    rng, m = np.random.default_rng(0), stationary(4, 3, 0.9)            # nothing is drawn from it
    uniform = np.full(m.r.shape, 1 / m.A)
    D_0, d = distance(m, uniform)
    k, few, soft = np.arange(T), np.arange(SHORT), np.arange(LONG)
    out: dict[str, np.ndarray] = {"k": k, "few": few, "soft k": soft}

    def far(params: Params) -> np.ndarray:
        trace = mdpo.run(Exact(m), params, rng).trace
        assert trace is not None
        return gaps(m, trace.policies[trace.index])[0]

    for t in FIXED:
        out[f"t {t:g}"], out[f"bound {t:g}"] = far(Params(T, t)) @ m.rho, mdpo.fixed_bound(m.gamma, t, D_0, k)
    theta = float((d / m.rho).max()) / (1 - m.gamma)
    out["growing"] = far(mdpo.theory(SHORT, theta)) @ m.rho
    out["growing bound"] = mdpo.growing_bound(m.gamma, 1.0, theta, out["growing"][0], D_0, few)
    out["adaptive"] = far(Params(SHORT)).max(-1)
    out["adaptive bound"] = m.gamma ** few * (out["adaptive"][0] + m.gamma / (1 - m.gamma))
    star, _ = optimum(m, TAU)
    for t in SOFT:
        trace = mdpo.run_soft(Exact(m), Params(LONG, t, tau=TAU), rng).trace
        off = np.abs(trace.info["Q"] - star).max((1, 2))                 # type: ignore[union-attr]
        away = float(np.abs(log_softmax(star / TAU) - np.log(uniform)).max())
        out[f"soft {t:g}"], out[f"soft bound {t:g}"] = off, mdpo.soft_bound(m.gamma, t, TAU, off[0], away, soft - 1)
    return out


def draw(data: Mapping[str, np.ndarray], figure: Any, verdicts: Mapping[str, str] | None = None) -> None:
    """Three semi-log axes, cut at rounding."""
    figure.set_size_inches(2.0 * style.WIDTH, 1.35 * style.HEIGHT)
    left, middle, right = figure.subplots(1, 3)
    for i, t in enumerate(FIXED):
        _pair(left, data["k"], data[f"t {t:g}"], data[f"bound {t:g}"], f"$t={t:g}$", i, 25)
    for i, name in enumerate(("growing", "adaptive")):
        _pair(middle, data["few"], data[name], data[f"{name} bound"], f"{name} $t_k$", i, 10)
    for i, t in enumerate(SOFT):
        _pair(right, data["soft k"][1:], data[f"soft {t:g}"][1:], data[f"soft bound {t:g}"][1:], f"$t={t:g}$", i, 20)
    left.set(ylabel="gap $V^*(\\rho)-V_k(\\rho)$", title="fixed $t$")
    middle.set(ylabel="gap, from $\\rho$ or at worst", title="growing and adaptive $t_k$")
    right.set(ylabel="$\\|Q^*_\\tau-Q_{\\tau,k}\\|_\\infty$", title=f"soft, $\\tau={TAU:g}$")
    for ax, names in ((left, ("C2", "C3")), (middle, ("C4", "C5-run")), (right, ("C6",))):
        ax.set(yscale="log", xlabel="updates $k$", ylim=(FOOT, 1e3))
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.17), ncols=2, frameon=False, fontsize=7)
        said = [f"{name}: {verdicts[name]}" for name in names if verdicts and name in verdicts]
        if said:
            style.note(ax, "\n".join(said))


def _pair(ax: Any, x: np.ndarray, y: np.ndarray, bound: np.ndarray, label: str, i: int, every: int) -> None:
    ax.plot(x, np.where(y > FOOT, y, np.nan), label=label, markevery=(i, every), **style.line(i))
    ax.plot(x, bound, color=style.COLOURS[i], linestyle=":", lw=1.1, label="the bound" if i == 0 else None)
