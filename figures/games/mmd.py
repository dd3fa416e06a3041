"""MMD: distance to its equilibrium, a magnet that moves, and what steps of any size gain with common payoffs.

Left and middle the same game, A = [[0, 2, -1], [-1, 0, 1], [1, -1, 0]] with uniform magnets: D(z*, z_t) at three alpha
and the step alpha/L^2, with the rate (1 + eta alpha)^-t dotted; exploitability with a magnet that stays and one that
moves every 200 steps. Right what one step of both players gains, on A = I from (.6, .4) and (.4, .6), beside its bound
(1/eta - R/4) times the squared distances, and in a random signalling game from uniform policies.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from algorithms.games import mmd
from algorithms.games.mmd import Params
from figures.engine import style
from mdpkit.access import Exact
from mdpkit.measure.exploitability import duality_gap
from mdpkit.models.games import MarkovGame
from mdpkit.models.preferences import PreferenceModel
from theory_checks.games._mmd_plays import signals, value
from theory_checks.games.mmd import REFERENCE, distances, paths

ALPHAS = (1.0, 0.5, 0.25)
START = (np.array([[1, 2, 3]]) / 6, np.array([[3, 2, 1]]) / 6)
T, LONG, EVERY = 400, 8000, 40
ETAS = np.geomspace(0.1, 30, 40)
FOOT = 1e-15                             # below it is rounding


def learner(model: PreferenceModel, N: int) -> tuple[np.ndarray, np.ndarray]:
    """MMD by both sides of a preference model's first prompt: queries before each policy, and log-policies (N+1, Y)."""
    p, ref = model.p[0], (model.pi_ref[:1], model.pi_ref[:1])
    params = replace(mmd.theory(model.beta, N, mmd.curvature(p)), start=ref, magnet=ref)
    return np.arange(N + 1), paths(mmd.run(Exact(MarkovGame.matrix(p)), params, np.random.default_rng(0)))[0][:, 0]


def compute(rows: Any = None) -> dict[str, np.ndarray]:
    """All curves; no claim's rows enter, everything is exact to rounding."""
    rng = np.random.default_rng(0)                       # drawn from for the signalling game alone
    game, even = MarkovGame.matrix(REFERENCE), (np.full(3, 1 / 3), np.full(3, 1 / 3))
    out: dict[str, np.ndarray] = {"t": np.arange(T + 1), "far t": EVERY * np.arange(LONG // EVERY + 1), "eta": ETAS}
    for alpha in ALPHAS:
        params = replace(mmd.theory(alpha, T, 2.0), start=START)
        logs = [z[:, 0] for z in paths(mmd.run(Exact(game), params, rng))]
        out[f"D {alpha:g}"] = distances(REFERENCE, params, logs[0], logs[1], even)[0]
        out[f"rate {alpha:g}"] = out[f"D {alpha:g}"][0] * (1 + params.eta * alpha) ** -out["t"]
    for name, K in (("still", 0), ("moving", 200)):
        x, y = (np.exp(z[:, 0]) for z in paths(mmd.run(
            Exact(game), Params(0.125, 0.5, LONG, K=K, start=START, every=EVERY), rng)))
        out[name] = duality_gap(REFERENCE, x, y)
    plays = signals(np.random.default_rng(3).random((2, 2, 3, 3)))
    pairs = [mmd.run(Exact(MarkovGame.matrix(np.eye(2), np.eye(2))), Params(
        eta, 0.0, 1, start=([[0.6, 0.4]], [[0.4, 0.6]])), rng).output for eta in ETAS]
    out["pair"] = np.array([(x * y).sum() - 0.48 for x, y in pairs])
    out["bound"] = np.array([mmd.improvement(1.0, eta) * (np.abs(x - [0.6, 0.4]).sum() ** 2
                                                          + np.abs(y - [0.4, 0.6]).sum() ** 2)
                             for eta, (x, y) in zip(ETAS, pairs)])
    start = value(plays, np.full(24, 1 / 3))
    out["signals"] = np.array([value(plays, mmd.run_tree(Exact(plays), Params(eta, 0.0, 1), rng).output) - start
                               for eta in ETAS])
    return out


def draw(data: Mapping[str, np.ndarray], figure: Any, verdicts: Mapping[str, str] | None = None) -> None:
    """Two semi-log axes, cut at rounding, and the gains on a log axis of steps."""
    figure.set_size_inches(2.0 * style.WIDTH, 1.35 * style.HEIGHT)
    left, middle, right = figure.subplots(1, 3)
    for i, alpha in enumerate(ALPHAS):
        left.plot(data["t"], _cut(data[f"D {alpha:g}"]), label=f"$\\alpha={alpha:g}$", markevery=(15 * i, 50),
                  **style.line(i))
        left.plot(data["t"], data[f"rate {alpha:g}"], color=style.COLOURS[i], linestyle=":", lw=1.1,
                  label="$\\propto(1+\\eta\\alpha)^{-t}$" if i == 0 else None)
    left.set(yscale="log", xlabel="steps $t$", ylabel="$D(z^*,z_t)$", ylim=(1e-15, 10),
             title="last iterate, $\\eta=\\alpha/L^2$")
    for i, (name, label) in enumerate((("still", "magnet stays"), ("moving", "magnet moves"))):
        middle.plot(data["far t"], _cut(data[name]), label=label, markevery=(10 * i, 25), **style.line(i))
    middle.set(yscale="log", xlabel="steps $t$", ylabel="exploitability", ylim=(1e-10, 10), xlim=(0, LONG),
               title="$\\alpha=0.5$, $K=200$")
    right.axhline(0.0, color="0.6", lw=0.8)
    right.plot(data["eta"], data["pair"], label="$A=I$", markevery=6, **style.line(0))
    right.plot(data["eta"], data["bound"], color=style.COLOURS[0], linestyle=":", lw=1.1, label="its bound")
    right.plot(data["eta"], data["signals"], label="signalling", markevery=(3, 6), **style.line(2))
    right.set(xscale="log", xlabel="step $\\eta$", ylabel="gain of one step", ylim=(-0.5, 0.5),
              title="common payoffs, $\\alpha=0$")
    for ax in (left, middle, right):
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.17), ncols=2, frameon=False, fontsize=7)
    for ax, names in ((left, ("C1", "C1-many")), (middle, ("C3",)), (right, ("C4", "C5"))):
        said = [f"{k}: {verdicts[k]}" for k in names if verdicts and k in verdicts]
        if said:
            style.note(ax, "\n".join(said))


def _cut(values: np.ndarray) -> np.ndarray:
    return np.where(values > FOOT, values, np.nan)
