"""Return distributions with finitely many atoms, and control of E U(stock + return) on stocks: exact for any utility.

The stock c carries what was earned: c' = c + R at discount 1, c' = (c + R)/gamma otherwise, so that stock + return is
gamma^n times stock + return n steps on. The largest E U(c + G) over all policies, histories included, obeys a Bellman
equation on (h, s, c) with the utility of the final stock, in units of the start, as its only reward: maximise that,
over the finitely many stocks that can be reached.

Stocks are rationals in every tier: two of them are equal or not, and no tolerance merges atoms. Tier "exact" computes
probabilities and values in rationals too; tier "float" sums in floats, under a bound on every rounding. A utility is
called with a float (the stock, rounded once); in tier "exact" with a Fraction.

Bellemare, Dabney and Rowland, Distributional Reinforcement Learning, 2023; Pires et al. 2025.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np

from mdpkit import validate
from mdpkit.errors import MdpkitError
from mdpkit.models.tabular import EpisodicMDP
from mdpkit.rational import of_fraction
from mdpkit.solve.precise import down, up
from mdpkit.solve.rounding import higham
from mdpkit.solve.solution import Certificate

MOST = 200_000          # reachable (h, s, stock): beyond it the worlds are not finite in practice
Node = tuple[int, int, Fraction]
Law = dict[Fraction, Any]


@dataclass(frozen=True, eq=False)
class StockSolution:
    """Control on stocks: ``lo <= sup over all policies of E U(stock + return) <= hi``.

    Attributes
    ----------
    value, lo, hi : float
    policy : dict of (h, s, stock) to action
        Every pair that this policy or another can reach; stocks are Fractions in units of their step, counted from 0.
    atoms, prob : arrays (n,)
        The law of stock + return under the policy, values ascending, in units of the start.
    nodes : int
        How many (h, s, stock) were looked at.
    """

    value: float
    lo: float
    hi: float
    policy: dict[Node, int]
    atoms: np.ndarray
    prob: np.ndarray
    nodes: int
    certificate: Certificate

    @property
    def width(self) -> float:
        return self.hi - self.lo

    def __repr__(self) -> str:
        return (f"StockSolution({self.certificate.tier}: value {self.value:.12g}, width {self.width:.2g}, "
                f"{len(self.atoms)} atoms, {self.nodes} stocks)")


def return_law(model: EpisodicMDP, policy: Any, *, rewards: Any = None,
               gamma: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """The law of the (discounted) return of a Markov policy: values ascending and their probabilities, (n,) each.

    Values are exact sums, rounded once; probabilities are exact up to their last rounding.

    Parameters
    ----------
    model : EpisodicMDP
        Its rewards are taken as they are, without noise.
    policy : array (H, S) of actions or (H, S, A) of probabilities
    rewards : array (H, S, A, S), optional
        Rewards that depend on the next state too, in place of the model's.
    gamma : float in (0, 1]
    """
    R, rates = _given(model, rewards, gamma)
    pi = validate.policy("policy", policy, model.r.shape)
    spread: dict[tuple[int, Fraction], Fraction] = {
        (s, Fraction(0)): Fraction(float(w)) for s, w in enumerate(model.rho) if w > 0}
    for h in range(model.H):
        after: dict[tuple[int, Fraction], Fraction] = {}
        for (s, total), mass in spread.items():
            for a in np.flatnonzero(pi[h, s]):
                for t in np.flatnonzero(model.P[h, s, a]):
                    key = (int(t), total + rates[h] * R[h][s][a][t])
                    share = mass * Fraction(float(pi[h, s, a])) * Fraction(float(model.P[h, s, a, t]))
                    after[key] = after.get(key, Fraction(0)) + share
        spread = after
        _few(len(spread))
    law: Law = {}
    for (_, total), mass in spread.items():
        law[total] = law.get(total, Fraction(0)) + mass
    return _as_arrays(law)


def solve(model: EpisodicMDP, utility: Callable[[Any], Any], stock: float = 0.0, *, rewards: Any = None,
          gamma: float = 1.0, tier: str = "float") -> StockSolution:
    """The largest E U(stock + return) over all policies, histories included.

    Parameters
    ----------
    model : EpisodicMDP
        Its rewards are taken as they are, without noise.
    utility : function of a number
        Any: it need be neither monotone, concave nor continuous. Must return finite numbers.
    stock : float
    rewards : array (H, S, A, S), optional
    gamma : float in (0, 1]
    tier : {"float", "exact"}

    Raises
    ------
    MdpkitError
        More than `MOST` pairs of a state and a stock can be reached.
    """
    validate.choice("tier", tier, ("float", "exact"))
    return _solve(model, utility, Fraction(validate.real("stock", stock)), *_given(model, rewards, gamma), tier)


def _solve(model: EpisodicMDP, utility: Callable[[Any], Any], start: Fraction, R: list, rates: list[Fraction],
           tier: str) -> StockSolution:
    clock = time.perf_counter()
    levels = _reachable(model, R, rates, start)
    exact = tier == "exact"
    number: Any = (lambda x: Fraction(float(x))) if exact else float
    worth = {c: _utility(utility, c, exact) for _, c in levels[-1]}
    V: dict[tuple[int, Fraction], Any] = {(s, c): worth[c] for s, c in levels[-1]}
    policy: dict[Node, int] = {}
    for h in range(model.H - 1, -1, -1):
        now = {}
        for s, c in levels[h]:
            q = [sum((number(model.P[h, s, a, t]) * V[int(t), c + rates[h] * R[h][s][a][t]]
                      for t in np.flatnonzero(model.P[h, s, a])), number(0)) for a in range(model.A)]
            best = max(range(model.A), key=lambda a: (q[a], -a))
            now[s, c], policy[h, s, c / rates[h]] = q[best], best
        V = now
    value = sum((number(w) * V[s, start] for s, w in enumerate(model.rho) if w > 0), number(0))
    # every level sums at most S + 1 terms of weights that sum to 1, and so does the last one over the starts
    pad = 0.0 if exact else higham((model.H + 1) * (model.S + 1)) * max(abs(x) for x in worth.values())
    lo, hi = (end(of_fraction(value)) for end in (down, up)) if exact else (value - pad, value + pad)
    atoms, prob = _law_of(model, R, rates, start, policy)
    return StockSolution(float(value), float(lo), float(hi), policy, atoms, prob, sum(len(level) for level in levels),
                         Certificate(tier, "stock-augmented dynamic programming", hi - lo, time.perf_counter() - clock,
                                     (value,) if exact else None))


def cvar(model: EpisodicMDP, tau: float, *, rewards: Any = None, tier: str = "float") -> tuple[StockSolution, float]:
    """The largest CVaR_tau of the return, the mean of its worst share ``tau``, at discount 1.

    max over b of b + E min(G - b, 0)/tau, b over all attainable returns: for each, a `solve` with stock -b.

    Returns
    -------
    StockSolution, float
        Of the best b, its ``value``, ``lo``, ``hi`` those of CVaR; and that b. ``atoms`` are returns minus b.
    """
    tau = validate.interval("tau", tau, 0.0, 1.0, open_lo=True)
    R, rates = _given(model, rewards, 1.0)
    ends = sorted({c for _, c in _reachable(model, R, rates, Fraction(0))[-1]})
    best: tuple[StockSolution, float] | None = None
    highest, reach = -np.inf, float(max(abs(b) for b in ends))
    for b in ends:
        found = _solve(model, lambda x: min(x, 0 * x), -b, R, rates, tier)
        if found.certificate.exact is None:
            lo, hi = (float(b) + x / tau for x in (found.lo, found.hi))
            pad = 8 * 2.0**-53 * (abs(float(b)) + (abs(float(b)) + reach) / tau)     # stocks, b, quotient, sum
            lo, hi = lo - pad, hi + pad
        else:
            lo, hi = (end(of_fraction(b + found.certificate.exact[0] / Fraction(tau))) for end in (down, up))
        highest = max(highest, hi)
        if best is None or lo > best[0].lo:
            best = (replace(found, value=0.5 * (lo + hi), lo=lo, hi=hi), float(b))
    assert best is not None
    return replace(best[0], hi=highest), best[1]


def _given(model: EpisodicMDP, rewards: Any, gamma: float) -> tuple[list, list[Fraction]]:
    """Rewards as rationals, R[h][s][a][t], and what a reward of step h is worth at the start."""
    validate.instance("model", model, EpisodicMDP)
    gamma = validate.interval("gamma", gamma, 0.0, 1.0, open_lo=True)
    R = np.broadcast_to(model.r[..., None], model.P.shape) if rewards is None else validate.array(
        "rewards", rewards, model.P.shape)
    table = [[[[Fraction(x) for x in row] for row in state] for state in step] for step in R.tolist()]
    return table, [Fraction(gamma) ** h for h in range(model.H)]


def _reachable(model: EpisodicMDP, R: list, rates: list[Fraction], start: Fraction) -> list[set[tuple[int, Fraction]]]:
    """Pairs (s, stock) of each step 0..H, stocks in units of the start: c + sum of rates times rewards."""
    levels = [{(int(s), start) for s in np.flatnonzero(model.rho)}]
    for h in range(model.H):
        levels.append({(int(t), c + rates[h] * R[h][s][a][t]) for s, c in levels[-1] for a in range(model.A)
                       for t in np.flatnonzero(model.P[h, s, a])})
        _few(sum(len(level) for level in levels))
    return levels


def _law_of(model: EpisodicMDP, R: list, rates: list[Fraction], start: Fraction,
            policy: dict[Node, int]) -> tuple[np.ndarray, np.ndarray]:
    spread = {(int(s), start): Fraction(float(model.rho[s])) for s in np.flatnonzero(model.rho)}
    for h in range(model.H):
        after: dict[tuple[int, Fraction], Fraction] = {}
        for (s, c), mass in spread.items():
            a = policy[h, s, c / rates[h]]
            for t in np.flatnonzero(model.P[h, s, a]):
                key = (int(t), c + rates[h] * R[h][s][a][t])
                after[key] = after.get(key, Fraction(0)) + mass * Fraction(float(model.P[h, s, a, t]))
        spread = after
    law: Law = {}
    for (_, c), mass in spread.items():
        law[c] = law.get(c, Fraction(0)) + mass
    return _as_arrays(law)


def _as_arrays(law: Law) -> tuple[np.ndarray, np.ndarray]:
    values = sorted(law)
    return np.array([float(v) for v in values]), np.array([float(law[v]) for v in values])


def _utility(utility: Callable, c: Fraction, exact: bool) -> Any:
    x = utility(c if exact else float(c))
    if not np.isfinite(float(x)):
        raise MdpkitError("utility", "finite at every stock", float(x), came=f"at {float(c):g} it is {float(x):g}")
    return Fraction(x) if exact else float(x)


def _few(n: int) -> None:
    if n > MOST:
        raise MdpkitError("model", f"one with at most {MOST} reachable stocks", n, "round the rewards to a grid")
