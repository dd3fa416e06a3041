"""Tier "ball" of the entropy-regularised problems: Newton steps in balls, then the MacQueen-Porteus bounds."""

from __future__ import annotations

import math
import time
from typing import Any

import flint
import numpy as np

from mdpkit.errors import MdpkitError
from mdpkit.models.tabular import EpisodicMDP, TabularMDP
from mdpkit.solve.precise import FIRST_PRECISION, LARGEST, LAST_PRECISION, down, up
from mdpkit.solve.soft_sweeps import policy_of
from mdpkit.solve.solution import Certificate, Solution, finish

NEWTON = 60      # soft policy iteration converges quadratically; sixty steps are never reached


def solve(model: TabularMDP | EpisodicMDP, tau: float, mu: np.ndarray, tol: float) -> Solution:
    """`mdpkit.solve.soft.solve` in tier "ball". ``mu`` is read as the exact floats that it holds.

    Raises
    ------
    MdpkitError
        tau is so small that no precision separates the policy from a deterministic one.
    """
    if model.S > LARGEST:
        raise MdpkitError("tier", f"'float' beyond {LARGEST} states", "ball")
    clock, precision = time.perf_counter(), FIRST_PRECISION
    while True:
        try:
            with flint.ctx.workprec(precision):
                if isinstance(model, EpisodicMDP):
                    solution = _episodic(model, tau, mu, tol, precision, clock)
                else:
                    solution = _discounted(model, tau, mu, tol, precision, clock)
        except ZeroDivisionError as e:           # arb could not tell the matrix of a Newton step from a singular one
            if precision >= LAST_PRECISION:
                raise MdpkitError("tau", "larger: Newton's step is lost even in balls", tau) from e
            precision *= 2
            continue
        if solution.width <= tol or precision >= LAST_PRECISION:
            return finish(solution, "no two floats are closer than the enclosure")
        precision *= 2


def _soft_max(q: list, mu: np.ndarray, tau: Any) -> Any:
    x = [qa / tau + flint.arb(float(m)).log() for qa, m in zip(q, mu)]
    top = max(x, key=lambda b: float(b.mid())).mid()
    return tau * (top + sum(((xa - top).exp() for xa in x), flint.arb(0)).log())


def _q(model: Any, v: list, gamma: Any, first: int, count: int) -> list:
    rows, r = model.rows, model.r.ravel()
    out = []
    for k in range(first, first + count):
        seg = slice(int(rows.ptr[k]), int(rows.ptr[k + 1]))
        total = sum((flint.arb(float(p)) * v[t] for t, p in zip(rows.col[seg], rows.val[seg])), flint.arb(0))
        out.append(flint.arb(float(r[k])) + gamma * total)
    return out


def _backup(model: Any, v: list, tau: Any, mu: np.ndarray, gamma: Any, h: int = 0) -> tuple[list, list]:
    S, A = model.S, model.A
    q = _q(model, v, gamma, h * S * A, S * A)
    laws = mu.reshape(-1, S, A)[h]
    return [_soft_max(q[s * A: (s + 1) * A], laws[s], tau) for s in range(S)], q


def _discounted(model: TabularMDP, tau_: float, mu: np.ndarray, tol: float, precision: int,
                clock: float) -> Solution:
    S, A = model.S, model.A
    tau, gamma = flint.arb(tau_), flint.arb(model.gamma)
    v = [flint.arb(0)] * S
    steps, last = 0, math.inf
    while steps < NEWTON:
        steps += 1
        w, q = _backup(model, v, tau, mu, gamma)
        D = [(a - b).mid() for a, b in zip(w, v)]
        change = max(abs(float(d)) for d in D)
        if change == 0 or (change >= last and change < 1e-20 * max(1.0, abs(float(w[0].mid())))):
            break
        last = change
        pi = [(flint.arb(float(mu.ravel()[k])) * ((qa - w[k // A]) / tau).exp()).mid() for k, qa in enumerate(q)]
        v = [(a + b).mid() for a, b in zip(v, _newton(model, pi, gamma, D))]
    w, q = _backup(model, v, tau, mu, gamma)
    k = gamma / (1 - gamma)
    differences = [a - b for a, b in zip(w, v)]
    below = k * min(d.lower() for d in differences)
    above = k * max(d.upper() for d in differences)
    lo, hi = np.array([down(x + below) for x in w]), np.array([up(x + above) for x in w])
    Q = np.array([float(x.mid()) for x in q]).reshape(S, A)
    return _solution(lo, hi, Q, tau_, mu, steps, precision, tol, clock)


def _newton(model: TabularMDP, pi: list, gamma: Any, D: list) -> list:
    """(I - gamma P_pi)^-1 D: the step to the value of the current policy."""
    S, A, rows = model.S, model.A, model.rows
    M = [[flint.arb(int(s == t)) for t in range(S)] for s in range(S)]
    for s in range(S):
        for a in range(A):
            weight = gamma * pi[s * A + a]
            for j in range(int(rows.ptr[s * A + a]), int(rows.ptr[s * A + a + 1])):
                M[s][int(rows.col[j])] -= weight * float(rows.val[j])
    return [x[0] for x in flint.arb_mat(M).solve(flint.arb_mat([[d] for d in D])).tolist()]


def _episodic(model: EpisodicMDP, tau_: float, mu: np.ndarray, tol: float, precision: int,
              clock: float) -> Solution:
    tau, one = flint.arb(tau_), flint.arb(1)
    v = [flint.arb(0)] * model.S
    V, Q = [], []
    for h in range(model.H - 1, -1, -1):
        v, q = _backup(model, v, tau, mu, one, h)
        V.append(v)
        Q.append([float(x.mid()) for x in q])
    lo = np.array([[down(x) for x in v] for v in reversed(V)])
    hi = np.array([[up(x) for x in v] for v in reversed(V)])
    table = np.array(Q[::-1]).reshape(model.r.shape)
    return _solution(lo, hi, table, tau_, mu, model.H, precision, tol, clock)


def _solution(lo: np.ndarray, hi: np.ndarray, Q: np.ndarray, tau: float, mu: np.ndarray, steps: int,
              precision: int, tol: float, clock: float) -> Solution:
    certificate = Certificate("ball", f"soft policy iteration in {precision}-bit balls", tol,
                              time.perf_counter() - clock)
    policy, optimal = policy_of(Q, tau, np.log(mu)), np.ones(Q.shape, np.bool_)
    return Solution(0.5 * (lo + hi), lo, hi, policy, optimal, steps, certificate)
