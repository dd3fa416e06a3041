"""Distributional dynamic programming: what the stock is worth, on an instance with two states and actions, H = 3.

Left, the conditional value at risk of the return against its level: the stock method, the best policy of (h, s), the
policy of largest mean. Right, how near to 0 stock + return can be held, E |c + G|, against the first stock c.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import flint
import numpy as np

from algorithms.planning import dist_dp as dd
from figures.engine import style
from mdpkit.rational import rational
from theory_checks.planning.dist_dp import D, moves

TAUS = np.round(np.linspace(0.05, 1.0, 20), 2)
STOCKS = np.linspace(-9.0, 9.0, 37)
NAMES = {"stock": "stock method", "markov": "best policy of $(h, s)$", "mean": "largest mean"}


def compute(rows: Any) -> dict[str, np.ndarray]:
    """Exact, rounded at the end; no claim's rows enter."""
    P, one = moves(D), flint.fmpq(1)
    near, short = dd.FUNCTIONALS["near 0"], dd.FUNCTIONALS["shortfall"]
    mean = dd.plan(P, one, dd.FUNCTIONALS["mean"], 0, 0 * one).law
    ends = sorted({c for _, c in dd.reachable(P, one, 0, 0 * one)[-1]})
    left = {b: dd.plan(P, one, short, 0, -b).value for b in ends}
    fixed = [_law(P, one, policy) for policy in itertools.product(range(2), repeat=2 * len(P))]
    risk, home = [], []
    for tau in map(rational, TAUS):
        share = lambda law, tau=tau: dd.worst_share(law, tau)
        risk.append((max(b + F / tau for b, F in left.items()), max(map(share, fixed)), share(mean)))
    for c in map(rational, STOCKS):
        away = lambda law, c=c: -near(dd.shift(law, c))
        home.append((-dd.plan(P, one, near, 0, c).value, min(map(away, fixed)), away(mean)))
    out = {"tau": TAUS, "c": STOCKS}
    for key, curves in (("risk", risk), ("home", home)):
        out |= {f"{key} {name}": np.array(column).astype(float) for name, column in zip(NAMES, zip(*curves))}
    return out


def _law(P: list, one: Any, actions: tuple[int, ...]) -> dd.Law:
    """Of the return from state 0, when (h, s) plays ``actions[2 h + s]``."""
    eta: list[dd.Law] = [[(0 * one, one)]] * 2
    for h in range(len(P) - 1, -1, -1):
        eta = [dd.merged([(x + g, p * q) for t, p, x in P[h][s][actions[2 * h + s]] for g, q in eta[t]])
               for s in range(2)]
    return eta[0]


def draw(data: Mapping[str, np.ndarray], figure: Any, verdicts: Mapping[str, str] | None = None) -> None:
    """Two panels under one legend."""
    left, right = figure.subplots(1, 2)
    for i, (name, label) in enumerate(NAMES.items()):
        left.plot(data["tau"], data[f"risk {name}"], label=label, markevery=(2 * i, 6), **style.line(i))
        right.plot(data["c"], data[f"home {name}"], label=label, markevery=(3 * i, 9), **style.line(i))
    left.set(xlabel=r"level $\tau$", ylabel=r"$\mathrm{CVaR}_\tau$ of the return", xlim=(0, 1))
    right.set(xlabel="first stock $c$", ylabel=r"$E\,|c+G|$", ylim=(0, None))
    figure.legend(*left.get_legend_handles_labels(), loc="outside upper center", ncols=3, frameon=False)
    said = [f"{k}: {verdicts[k]}" for k in ("C1", "C2") if verdicts and k in verdicts]
    if said:
        style.note(left, "\n".join(said))
