"""Nash-MD: KL to the regularised equilibrium against the number of steps, and the same policies on the simplex.

The weighted cycle with pi_ref = (.6, .3, .1), tau = .2, from pi_ref. At a constant step Nash-MD stops short of pi*,
self-play on the regularised game does not; Hedge, which has no regularisation, moves away from any rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from algorithms.games import nash_md
from algorithms.games.nash_md import Params
from figures.engine import style
from mdpkit.access import Exact
from theory_checks.games.nash_md import divergence, log_policies, nash, reference

TAU, STEPS, ETA = 0.2, 10_000, 0.5
T = np.unique(np.geomspace(1, STEPS, 240).astype(np.int64))
RUNS = {                                                  # entry and step
    "Nash-MD, theorem's step": (nash_md.run, None),
    f"Nash-MD, $\\eta={ETA:g}$": (nash_md.run, ETA),
    f"self-play with $\\tau$, $\\eta={ETA:g}$": (nash_md.run_self, ETA),
    "Hedge, $\\eta=0.1$": (nash_md.run_hedge, 0.1),
}
SHOWN = 400                                               # steps on the simplex
FOOT = 1e-15                                              # below it is rounding


def compute(rows: Any = None) -> dict[str, np.ndarray]:
    """KL at the drawn T and the first policies, by name; no claim's rows enter, everything is exact to rounding."""
    m, rng = reference(TAU), np.random.default_rng(0)     # nothing is sampled
    log_star = nash(m.p[0], m.pi_ref[0], TAU)[0]
    out: dict[str, Any] = {"T": T, "star": np.exp(log_star), "bound": nash_md.paper_bound(TAU, T)}
    for name, (run, eta) in RUNS.items():
        logs = log_policies(run(Exact(m), Params(STEPS, eta), rng))[:, 0]
        out[name], out[f"{name}: policies"] = divergence(log_star, logs[T]), np.exp(logs[: SHOWN + 1])
    return out


def draw(data: Mapping[str, np.ndarray], figure: Any, verdicts: Mapping[str, str] | None = None) -> None:
    """Left log-log, right the simplex of the three responses."""
    figure.set_size_inches(1.35 * style.WIDTH, 1.3 * style.HEIGHT)
    left, right = figure.subplots(1, 2, width_ratios=(1.25, 1))
    for i, name in enumerate(RUNS):
        y = np.where(data[name] > FOOT, data[name], np.nan)
        left.plot(data["T"], y, label=name, markevery=(4 * i, 24), **style.line(i))
        path = _corner(data[f"{name}: policies"])
        right.plot(path[:, 0], path[:, 1], color=style.COLOURS[i], linestyle=style.LINES[i], lw=1.0)
    left.plot(data["T"], data["bound"], color="0.4", linestyle=":", lw=1.2, label="$8/(\\tau^2(T+1))$")
    left.set(xscale="log", yscale="log", xlabel="steps $T$", ylabel="$\\mathrm{KL}(\\pi^*_\\tau\\,\\|\\,\\pi_T)$",
             ylim=(1e-16, 2e4), title="last iterate, weighted cycle, $\\tau=0.2$")
    left.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2, frameon=False, fontsize=7)
    _simplex(right, data)
    for name in ("C1", "C2", "C3", "C4"):
        if verdicts and name in verdicts:
            style.note(left, f"{name}: {verdicts[name]}")


def _corner(pi: np.ndarray) -> np.ndarray:
    """Points (n, 2) of laws (n, 3): response 0 at the left, 1 at the right, 2 on top."""
    return np.stack([pi[:, 1] + pi[:, 2] / 2, np.sqrt(3) / 2 * pi[:, 2]], 1)


def _simplex(ax: Any, data: Mapping[str, np.ndarray]) -> None:
    edge, star = _corner(np.eye(3)[[0, 1, 2, 0]]), _corner(data["star"][None])[0]
    start = _corner(data[f"{next(iter(RUNS))}: policies"][:1])[0]
    ax.plot(edge[:, 0], edge[:, 1], color="0.3", lw=0.8)
    ax.plot(*star, "*", color="black", markersize=9, zorder=4)
    ax.annotate("$\\pi^*_\\tau$", star, textcoords="offset points", xytext=(-4, 7))
    ax.plot(*start, "o", color="black", markersize=4, zorder=4)
    ax.annotate("$\\pi_0=\\pi_{\\mathrm{ref}}$", start, textcoords="offset points", xytext=(-2, -11))
    for (x, y), name, where in zip(edge[:3], "012", ((-14, -3), (5, -3), (-2, 5))):
        ax.annotate(f"$y_{name}$", (x, y), textcoords="offset points", xytext=where)
    ax.set(aspect="equal", title=f"the first {SHOWN} steps")
    ax.set_axis_off()
