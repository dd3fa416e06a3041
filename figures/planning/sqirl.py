"""SQIRL: how shallow random MDPs are, what data it takes, and whether the effective horizon foretells it.

(1) The minimal k of 300 sparse random MDPs. (2) Success against episodes a batch, on TRAP for k = 1 and 2 and on
GEN(4, 3, 4, 1) with Bernoulli rewards for k = 1, 2 and 3. (3) The number of episodes at which half of the runs succeed
against the effective horizon, over 40 sparse random MDPs (those that need more than 4096 left out), a line by least
squares, and the rank correlation. (4) The minimal k of gymnasium's FrozenLake against the number of steps; empty where
gymnasium is not installed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from algorithms.planning import sqirl
from figures.engine import style
from mdpkit.access import Episodes
from mdpkit.errors import MissingPackage
from mdpkit.measure.structure import lookaheads
from mdpkit.measure.values import optimal_start_value
from mdpkit.models.tabular import EpisodicMDP
from theory_checks.planning import sqirl as checks

RUNS = 40                # a point
SIZES = np.array([2**i for i in range(1, 13)])
POINTS = 40
CURVES = {"trap, $k=1$": ("trap", 1), "trap, $k=2$": ("trap", 2), "GEN, $k=1$": ("gen", 1), "GEN, $k=2$": ("gen", 2),
          "GEN, $k=3$": ("gen", 3)}
STEPS = np.arange(6, 23, 2)
LAKES = {"lake": False, "lake, slips": True}
TOLERANCE = 1e-13        # of ties among floats: values of sixteen cells and 22 steps err by less than 1e-14


def compute(rows: Any) -> dict[str, np.ndarray]:
    """All simulated or computed here, from a seed of its own."""
    rng = np.random.default_rng(20240507)
    shallow = [_sparse(rng)[1] for _ in range(300)]
    out = {"k": np.bincount(shallow, minlength=6)[1:], "m": SIZES, "steps": STEPS}
    worlds = {"trap": checks.trap(), "gen": checks.generated(4, 3, 4, 1, "bernoulli")}
    for label, (name, k) in CURVES.items():
        out[label] = np.array([_share(worlds[name], k, int(m), rng) for m in SIZES])
    points = [_point(rng) for _ in range(POINTS)]
    return {**out, "horizon": np.array([x for x, _ in points]), "half": np.array([y for _, y in points]), **_tables()}


def _sparse(rng: np.random.Generator) -> tuple[EpisodicMDP, int]:
    """A sparse random MDP, rewards in 128ths, and its minimal k."""
    S, A, T = (int(rng.integers(lo, hi)) for lo, hi in ((2, 5), (2, 4), (2, 6)))
    P = rng.multinomial(16, np.full(S, 1.0 / S), (T, S, A)) / 16
    r = (rng.random((T, S, A)) < 0.2) * rng.integers(1, 17, (T, S, A)) / 128
    m = EpisodicMDP(P, r, np.eye(S)[0])
    return m, sqirl.minimal_k(m.P, m.r, m.rho, TOLERANCE)


def _share(m: EpisodicMDP, k: int, size: int, rng: np.random.Generator) -> float:
    """Of runs that lose nothing."""
    policies = sqirl.repeated(Episodes(m, rng), sqirl.Params(k, size), rng, RUNS)
    return float((checks._values(m, policies) > optimal_start_value(m) - 1e-9).mean())


def _point(rng: np.random.Generator) -> tuple[float, float]:
    """The effective horizon of a sparse random MDP, and the least power of two at which half of the runs succeed."""
    while True:
        m, _ = _sparse(rng)
        best = min(lookaheads(m), key=lambda found: found.horizon)
        sizes = (int(size) for size in SIZES if _share(m, best.k, int(size), rng) >= 0.5)
        half = next(sizes, None)
        if half is not None and np.isfinite(best.gap):
            return best.horizon, float(half)


def _tables() -> dict[str, np.ndarray]:
    try:
        lakes = {name: checks.lake(slips) for name, slips in LAKES.items()}
    except MissingPackage:
        return {name: np.zeros(0) for name in LAKES}
    cut = lambda x, T: np.broadcast_to(x, (T, *x.shape))
    return {name: np.array([sqirl.minimal_k(cut(P, T), cut(r, T), rho, TOLERANCE) for T in STEPS.tolist()])
            for name, (P, r, rho) in lakes.items()}


def draw(data: Mapping[str, np.ndarray], figure: Any, verdicts: Mapping[str, str] | None = None) -> None:
    """Four panels."""
    figure.set_figheight(1.6 * style.HEIGHT)
    (bars, curves), (points, tables) = figure.subplots(2, 2)
    bars.bar(np.arange(1, 6), data["k"], color=style.COLOURS[0])
    bars.set(xlabel="minimal $k$", ylabel="sparse MDPs (of 300)", xticks=np.arange(1, 6))
    for i, label in enumerate(CURVES):
        curves.plot(data["m"], data[label], label=label, markevery=(i % 3, 3), clip_on=False, **style.line(i))
    curves.set(xscale="log", xlabel="episodes a batch $m$", ylabel=f"success ({RUNS} runs)", ylim=(0, 1.0))
    curves.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, handlelength=1.6)
    x, y = data["horizon"], np.log2(data["half"])
    points.plot(x, y, style.MARKERS[0], color=style.COLOURS[0], markerfacecolor="white", ms=4)
    slope, level = np.polyfit(x, y, 1)
    ends = np.array([x.min(), x.max()])
    points.plot(ends, level + slope * ends, color=style.COLOURS[1], linestyle="--")
    ranks = np.array([np.argsort(np.argsort(v, kind="stable"), kind="stable") for v in (x, y)], float)
    points.set_title(f"rank correlation {np.corrcoef(ranks)[0, 1]:.2f}")
    points.set(xlabel=r"effective horizon $\bar H$", ylabel=r"$\log_2 m_{1/2}$")
    for i, name in enumerate(LAKES):
        if len(data[name]):
            tables.plot(data["steps"], data[name], label=name, **style.line(i))
    tables.set(xlabel="steps $T$", ylabel="minimal $k$", ylim=(0, None))
    if len(data["lake"]):
        tables.legend(loc="upper left", frameon=False, title="gymnasium's tables", title_fontsize=8)
    else:
        tables.text(0.5, 0.5, "gymnasium is not installed", transform=tables.transAxes, ha="center")
    said = [f"{k}: {verdicts[k]}" for k in ("C2-sampled", "C3", "C5", "C6") if verdicts and k in verdicts]
    if said:
        style.note(bars, "\n".join(said))
