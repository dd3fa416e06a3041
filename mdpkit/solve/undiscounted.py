"""Reaching a target, and total rewards until it is reached, without a discount.

Value iteration from below can stop far from the answer without a sign of it, so three things come first. The graph
says where the answer is 0, 1 or infinite. Components in which play can linger for nothing are merged, so that the
fixed point is unique. And the answer of policy iteration is proven by a drift: with x >= 1 + P_a x for every action,
v + d x is above and v - d x below the fixed point as soon as d exceeds the residual of v, roundings included.

Rewards are those of the model; its discount plays no part.

Bertsekas and Tsitsiklis 1991 (stochastic shortest paths); Haddad and Monmege 2018 (quotients).
"""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np

from mdpkit import validate
from mdpkit.models.tabular import TabularMDP
from mdpkit.solve import graph, stopping
from mdpkit.solve.solution import Certificate, Solution, finish, tolerance


def reach(model: TabularMDP, target: Any, *, minimise: bool = False, tol: float | None = None, tier: str = "float",
          ) -> Solution:
    """The largest (or smallest) probability of ever reaching a set of states, from each state.

    Parameters
    ----------
    model : TabularMDP
    target : sequence of states
    minimise : bool
    tol : float, optional
        Wanted width of the enclosure; by default 1e-9.
    tier : {"float", "exact"}

    Returns
    -------
    Solution
        Its policy attains the values; ``optimal`` marks the actions that may attain them in one step.

    Raises
    ------
    NotCertified
        The tier cannot reach ``tol``; ``.solution`` holds the best proven enclosure.
    """
    goal, moves = _problem(model, target, tier)
    clock, everything = time.perf_counter(), np.ones((model.S, model.A), np.bool_)
    if minimise:
        zero, sure = graph.can_avoid(moves, goal), goal
        settled = np.where(zero, moves.all(zero).argmax(1), 0)
    else:
        zero, sure = ~graph.can_reach(moves, goal), graph.surely_reach_some(moves, goal)
        settled = np.where(sure, graph.towards(moves, goal, moves.all(sure)), 0)
    known = np.where(sure, 1.0, np.where(zero, 0.0, np.nan))
    return _solve(model, moves, known, np.zeros_like(model.r), everything, minimise, tolerance(tol, 1e-9), tier, clock,
                  settled)


def total_reward(model: TabularMDP, target: Any, *, minimise: bool = False, tol: float | None = None,
                 tier: str = "float") -> Solution:
    """The largest (or smallest) expected total reward before a set of states is reached, from each state.

    Infinite where the target may be missed: for the largest under some policy, for the smallest under all. Rewards
    must not be negative; those of the target itself do not count.

    Parameters
    ----------
    model : TabularMDP
    target : sequence of states
    minimise : bool
    tol : float, optional
        Wanted width of the enclosure; by default 1e-9 of the largest value.
    tier : {"float", "exact"}
    """
    goal, moves = _problem(model, target, tier)
    validate.within("model.r", model.r, 0.0, 1e150)
    clock, settled = time.perf_counter(), np.zeros(model.S, np.int64)
    if minimise:
        certain = graph.surely_reach_some(moves, goal)
    else:
        certain, inside = graph.surely_reach_all(moves, goal), graph.can_avoid(moves, goal)
        settled = graph.towards(moves, inside, np.ones((model.S, model.A), np.bool_))
        settled[inside] = moves.all(inside)[inside].argmax(1)
    known = np.where(goal, 0.0, np.where(certain, np.nan, math.inf))
    asked = None if tol is None else tolerance(tol, 1.0)
    return _solve(model, moves, known, model.r, moves.all(certain), minimise, asked, tier, clock, settled)


def _problem(model: Any, target: Any, tier: str) -> tuple[np.ndarray, graph.Support]:
    validate.instance("model", model, TabularMDP)
    validate.choice("tier", tier, ("float", "exact"))
    states = validate.within("target", validate.array("target", target, ("n",), integer=True), 0, model.S - 1)
    goal = np.zeros(model.S, np.bool_)
    goal[states] = True
    return goal, graph.support(model.rows, model.S, model.A)


def _solve(model: TabularMDP, moves: graph.Support, known: np.ndarray, r: np.ndarray, allowed: np.ndarray,
           minimise: bool, tol: float | None, tier: str, clock: float, settled: np.ndarray) -> Solution:
    """Values where ``known`` is nan; ``settled`` is the policy where it is not."""
    free = np.isnan(known)
    label, staying = graph.end_components(moves, allowed & (r == 0) & free[:, None])
    q = stopping.quotient(model.rows, known, r, allowed & ~staying, label)
    found = (stopping.rational if tier == "exact" else stopping.iterate)(q, minimise, not minimise or not r.any())
    lo, hi = (np.where(free, x[q.merged], known) if len(x) else known for x in (found.lo, found.hi))
    exits = q.origin[found.choice]
    policy = graph.towards(moves, np.isin(np.arange(model.S), exits // model.A), staying)
    policy[exits // model.A] = exits % model.A
    largest = float(hi[np.isfinite(hi)].max(initial=0.0))
    asked = max(1e-9 * largest, 1e-290) if tol is None else tol
    certificate = Certificate(tier, found.method, asked, time.perf_counter() - clock,
                              None if found.exact is None else _everywhere(found.exact, q.merged, known))
    optimal = _may_attain(model, r, lo, hi, allowed, minimise)
    optimal[~free] |= np.eye(model.A, dtype=bool)[settled[~free]]
    value = lo + 0.5 * np.subtract(hi, lo, out=np.zeros(model.S), where=hi != lo)
    return finish(Solution(value, lo, hi, np.where(free, policy, settled), optimal, found.iterations, certificate),
                  "raise tol, or use tier='exact'", infinite=True)


def _everywhere(exact: list, merged: np.ndarray, known: np.ndarray) -> tuple:
    return tuple(exact[k] if k >= 0 else x for k, x in zip(merged, known.tolist()))


def _may_attain(model: TabularMDP, r: np.ndarray, lo: np.ndarray, hi: np.ndarray, allowed: np.ndarray, minimise: bool,
                ) -> np.ndarray:
    """(S, A): actions whose best one-step value reaches the enclosure of their state."""
    from scipy.sparse import csr_array

    rows = model.rows
    P = csr_array((rows.val, rows.col, rows.ptr), (model.S * model.A, model.S))
    edge = lo if minimise else hi
    finite = np.where(np.isfinite(edge), edge, 0.0)
    error = stopping.rounding(P, r, finite)
    Q = (P @ finite).reshape(r.shape) + r
    infinite = (P @ np.isinf(edge)).reshape(r.shape) > 0
    if minimise:
        return allowed & ~infinite & (np.where(infinite, 0.0, Q) - error <= hi[:, None])
    return infinite | (allowed & (Q + error >= lo[:, None]))
