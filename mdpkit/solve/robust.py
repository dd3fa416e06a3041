"""Robust discounted MDPs: nature answers each state and action with the worst kernel of a set (sa-rectangular).

T v(s) = max_a min_{p in U(s, a)} r(s, a) + gamma p v, for U(s, a) a finite set of rows, or all laws within an L1
distance of the nominal one, whatever its support. T is monotone and T(v + c) = T v + gamma c, so that any v
gives an enclosure of the robust value; v comes from policy iteration, nature's own policy iteration inside.

Iyengar 2005; Nilim and El Ghaoui 2005; Ho, Petrik and Wiesemann 2018 (L1 balls).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from mdpkit import validate
from mdpkit.errors import MdpkitError
from mdpkit.models.tabular import TabularMDP
from mdpkit.rational import exact, fraction
from mdpkit.solve.precise import down, up
from mdpkit.solve.rounding import higham, macqueen_porteus
from mdpkit.solve.solution import Certificate, Solution, finish, tolerance

ROUNDS = 1_000           # policies of the agent, and answers of nature to each, at most
RELATIVE_TOL = 1e-9
LARGEST_EXACT = 60       # states in rationals

Worst = Callable[[np.ndarray], np.ndarray]      # v (S,) to worst rows (S, A, S)


def solve_finite(model: TabularMDP, kernels: Any, tol: float | None = None, *, tier: str = "float") -> Solution:
    """Certified robust values against a finite set of kernels, one of them chosen anew for each (s, a).

    Parameters
    ----------
    model : TabularMDP
        Its rewards, discount and initial law; its own kernel is not part of the set.
    kernels : array (K, S, A, S)
    tol : float, optional
        Wanted width; by default ``1e-9 * max |r| / (1 - gamma)``.
    tier : {"float", "exact"}
        "exact" for at most 60 states.
    """
    validate.instance("model", model, TabularMDP)
    validate.choice("tier", tier, ("float", "exact"))
    P = validate.simplex("kernels", kernels, ("K", model.S, model.A, model.S))
    if tier == "exact":
        if model.S > LARGEST_EXACT:
            raise MdpkitError("tier", f"'float' beyond {LARGEST_EXACT} states", tier)
        return _rationals(model, exact(P), _tol(model, tol))
    s, a = np.indices((model.S, model.A))
    return _floats(model, lambda v: P[(P @ v).argmin(0), s, a], 4 * model.S + 8, _tol(model, tol), "a finite set")


def solve_l1(model: TabularMDP, radius: Any, tol: float | None = None) -> Solution:
    """Certified robust values against all rows within an L1 distance of the model's.

    Parameters
    ----------
    model : TabularMDP
        The nominal model.
    radius : float, or array (S, A)
        Twice the probability that nature may move, in [0, 2].
    tol : float, optional
        As in `solve_finite`.
    """
    validate.instance("model", model, TabularMDP)
    b = np.full(model.r.shape, radius, np.float64) if np.ndim(radius) == 0 else radius
    b = validate.within("radius", validate.array("radius", b, model.r.shape), 0.0, 2.0)
    # each entry of a worst row is a difference of two sums of S terms
    return _floats(model, lambda v: worst_in_ball(model.dense, b, v), 4 * model.S**2 + 16, _tol(model, tol), "L1 balls")


def worst_in_ball(P: np.ndarray, radius: np.ndarray, v: np.ndarray) -> np.ndarray:
    """argmin of <p, v> over ``|p - P(.|s, a)|_1 <= radius(s, a)``: mass moves from the best successors to the worst.

    Parameters
    ----------
    P (..., S), radius (...), v (S,)

    Returns
    -------
    array (..., S)
    """
    order = np.argsort(v, kind="stable")
    p = P[..., order]
    moved = np.minimum(radius / 2, 1.0 - p[..., 0])
    after = np.cumsum(p[..., ::-1], axis=-1)[..., ::-1]            # mass at this successor and at better ones
    left = np.clip(after - moved[..., None], 0.0, None)
    out = np.empty_like(p)
    out[..., :-1] = left[..., :-1] - left[..., 1:]
    out[..., -1] = left[..., -1]
    out[..., 0] += moved
    back = np.empty_like(out)
    back[..., order] = out
    return back


def _tol(model: TabularMDP, tol: float | None) -> float:
    top = float(np.abs(model.r).max())
    if not top / (1 - model.gamma) < 1e300:
        raise MdpkitError("model.r", "small enough for float64 values (max |r|/(1 - gamma) below 1e300)", top)
    return tolerance(tol, max(RELATIVE_TOL * top, 1e-290) / (1 - model.gamma))


def _floats(model: TabularMDP, worst: Worst, terms: int, tol: float, against: str) -> Solution:
    """``terms``: how many roundings of size max |v| a backup holds, the making of its rows included."""
    clock, gamma, r = time.perf_counter(), model.gamma, model.r
    S, states = model.S, np.arange(model.S)
    v, policy, best, n = np.zeros(S), np.zeros(S, np.int64), None, 0
    while n < ROUNDS:
        n += 1
        for k in range(ROUNDS):                                    # nature's answers to the policy fall to its value
            new = np.linalg.solve(np.eye(S) - gamma * worst(v)[states, policy], r[states, policy])
            done = k > 0 and not (new < v - 1e-13 * (1 + np.abs(v))).any()
            v = new
            if done:
                break
        rows = worst(v)
        Q = r + gamma * (rows * v).sum(-1)
        w, top = Q.max(1), float(np.abs(v).max())
        error = higham(terms) * (float(np.abs(r).max()) + gamma * top)
        lo, hi = macqueen_porteus(w, v, gamma, error)
        if best is None or (hi - lo).max() < (best[1] - best[0]).max():        # it may widen on the way
            best = lo, hi, Q.argmax(1), Q, error
        better = w > Q[states, policy] + 2 * error
        if not better.any():
            break
        policy = np.where(better, Q.argmax(1), policy)
    lo, hi, policy, Q, error = best  # type: ignore[misc]
    reach = gamma * float((hi - lo).max()) + 2 * error
    certificate = Certificate("float", f"robust policy iteration against {against}", tol, time.perf_counter() - clock)
    return finish(Solution(0.5 * (lo + hi), lo, hi, policy, Q + reach >= lo[:, None], n, certificate),
                  "raise tol, or use tier='exact' for a finite set")


def _rationals(model: TabularMDP, P: np.ndarray, tol: float) -> Solution:
    """Both policy iterations in rationals: strict improvements over finitely many policies end."""
    import flint

    clock, S, A = time.perf_counter(), model.S, model.A
    K, r, gamma = len(P), exact(model.r), exact(model.gamma)[()]
    policy, nature = np.zeros(S, np.int64), np.zeros((S, A), np.int64)
    one, n, s = exact(np.eye(S)), 0, np.arange(S)
    while True:
        while True:
            M = one - gamma * P[nature[s, policy], s, policy]
            v = np.array([x[0] for x in flint.fmpq_mat(M.tolist()).solve(
                flint.fmpq_mat([[x] for x in r[s, policy]])).tolist()], object)
            n += 1
            every = np.array([P[k] @ v for k in range(K)])                    # (K, S, A)
            answer = np.array([[min(range(K), key=lambda k: every[k, i, a]) for a in range(A)] for i in range(S)])
            least = np.take_along_axis(every, answer[None], 0)[0]
            now = np.take_along_axis(every, nature[None], 0)[0]
            worse = least < now
            if not worse[s, policy].any():
                nature = np.where(worse, answer, nature)
                break
            nature = np.where(worse, answer, nature)
        Q = r + gamma * least
        better = Q.max(1) > v
        if not better.any():
            break
        policy = np.where(better, Q.argmax(1), policy)
    lo, hi = np.array([down(x) for x in v]), np.array([up(x) for x in v])
    certificate = Certificate("exact", "robust policy iteration in rationals", tol, time.perf_counter() - clock,
                              tuple(fraction(x) for x in v))
    value = np.array([float(fraction(x)) for x in v])
    optimal = (v[:, None] == Q).astype(np.bool_)
    return finish(Solution(value, lo, hi, optimal.argmax(1), optimal, n, certificate), "no two floats are closer")
