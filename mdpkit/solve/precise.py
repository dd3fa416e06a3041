"""Tiers "ball" and "exact": proofs in arbitrary precision (arb) and in rationals, through python-flint.

Both read the stored world as it is: probabilities are integers over 2**52, rewards and gamma the rationals that
their floats are.
"""

from __future__ import annotations

import math
import time
from fractions import Fraction
from typing import Any

import flint
import numpy as np

from mdpkit.errors import MdpkitError
from mdpkit.models.tabular import EpisodicMDP, TabularMDP
from mdpkit.rational import fraction, rational
from mdpkit.solve.solution import Certificate, Solution, finish

LARGEST = 400            # states: a dense solve in rationals grows like S**4 in bits and steps
FIRST_PRECISION = 128    # bits; doubled until the enclosure is narrow enough
LAST_PRECISION = 4096


def down(x: Any) -> float:
    """A float at most x (ball or rational)."""
    if isinstance(x, flint.fmpq):
        return _float_below(x)
    with flint.ctx.workprec(64):
        return math.nextafter(float(x.lower()), -math.inf)


def up(x: Any) -> float:
    """A float at least x (ball or rational)."""
    if isinstance(x, flint.fmpq):
        return -_float_below(-x)
    with flint.ctx.workprec(64):
        return math.nextafter(float(x.upper()), math.inf)


def discounted(model: TabularMDP, policy: np.ndarray, tol: float, tier: str) -> Solution:
    """`mdpkit.solve.discounted.solve` in tier "ball" or "exact", from the policy of a float run."""
    clock = time.perf_counter()
    policy = policy.copy()
    if tier == "exact":
        return _exact(model, policy, tol, clock)
    precision = FIRST_PRECISION
    while True:
        solution = _balls(model, policy, tol, precision, clock)
        if solution.width <= tol or precision >= LAST_PRECISION:
            break
        policy, precision = solution.policy, 2 * precision
    return finish(solution, "no two floats are closer than the enclosure: tol is below the spacing of floats")


def _entries(model: TabularMDP, number: Any) -> tuple[list, list, Any, Any]:
    rows = model.rows
    P = [[(int(j), number(p)) for j, p in zip(rows.col[a:b], rows.val[a:b])]
         for a, b in zip(rows.ptr[:-1], rows.ptr[1:])]
    return P, [number(x) for x in model.r.ravel()], number(model.gamma), number(0.0)


def _system(model: TabularMDP, policy: np.ndarray, P: list, r: list, gamma: Any, zero: Any, matrix: Any) -> list:
    S, A = model.S, model.A
    one = zero + 1
    M = [[zero] * S for _ in range(S)]
    for s in range(S):
        M[s][s] = one
        for t, p in P[s * A + int(policy[s])]:
            M[s][t] -= gamma * p
    b = [[r[s * A + int(policy[s])]] for s in range(S)]
    return [x[0] for x in matrix(M).solve(matrix(b)).tolist()]


def _q(P: list, r: list, gamma: Any, zero: Any, v: list) -> list:
    return [ra + gamma * sum((p * v[t] for t, p in row), zero) for ra, row in zip(r, P)]


def _exact(model: TabularMDP, policy: np.ndarray, tol: float, clock: float) -> Solution:
    S, A = model.S, model.A
    P, r, gamma, zero = _entries(model, rational)
    iterations = 0
    while True:                      # strict improvement over finitely many policies: this ends
        v = _system(model, policy, P, r, gamma, zero, flint.fmpq_mat)
        q = _q(P, r, gamma, zero, v)
        iterations += 1
        better = False
        for s in range(S):
            best = max(range(A), key=lambda a: (q[s * A + a], -a))
            if q[s * A + best] > v[s]:
                policy[s], better = best, True
        if not better:
            break
    optimal = np.array([q[s * A + a] == v[s] for s in range(S) for a in range(A)]).reshape(S, A)
    lo, hi = np.array([down(x) for x in v]), np.array([up(x) for x in v])
    certificate = Certificate("exact", "policy iteration in rationals", tol, time.perf_counter() - clock,
                              tuple(fraction(x) for x in v))
    value = np.array([float(fraction(x)) for x in v])
    solution = Solution(value, lo, hi, optimal.argmax(1), optimal, iterations, certificate)
    return finish(solution, "no two floats are closer: the exact values are in .certificate.exact")


def _balls(model: TabularMDP, policy: np.ndarray, tol: float, precision: int, clock: float) -> Solution:
    S, A = model.S, model.A
    with flint.ctx.workprec(precision):
        P, r, gamma, zero = _entries(model, flint.arb)
        v = [x.mid() for x in _system(model, policy, P, r, gamma, zero, flint.arb_mat)]
        q = _q(P, r, gamma, zero, v)
        w = [_max(q[s * A: (s + 1) * A]) for s in range(S)]
        D = [a - b for a, b in zip(w, v)]
        k = gamma / (1 - gamma)
        below = k * min((x.lower() for x in D), key=lambda x: x)
        above = k * max((x.upper() for x in D), key=lambda x: x)
        lo = np.array([down(x + below) for x in w])
        hi = np.array([up(x + above) for x in w])
        reach = _q(P, r, gamma, zero, [flint.arb(x) for x in hi])
        upper = np.array([up(x) for x in reach]).reshape(S, A)
        greedy = np.array([max(range(A), key=lambda a: (float(q[s * A + a].mid()), -a)) for s in range(S)])
        value = np.array([float(x) for x in v])
    certificate = Certificate("ball", f"MacQueen-Porteus bounds in {precision}-bit balls", tol,
                              time.perf_counter() - clock)
    return Solution(np.clip(value, lo, hi), lo, hi, greedy, upper >= lo[:, None], 1, certificate)


def _max(balls: list) -> Any:
    top = balls[0]
    for x in balls[1:]:
        top = top.max(x)
    return top


def _float_below(x: flint.fmpq) -> float:
    exact = fraction(x)
    near = float(exact)
    return near if Fraction(near) <= exact else math.nextafter(near, -math.inf)


def episodic(model: EpisodicMDP, tol: float, tier: str) -> Solution:
    """`mdpkit.solve.episodic.solve` in tier "ball" or "exact": one backward induction."""
    clock = time.perf_counter()
    H, S, A = model.r.shape
    if H * S * A * S > 10**7:
        raise MdpkitError("tier", "'float' for more than 10**7 entries of P", tier)
    number = rational if tier == "exact" else flint.arb
    with flint.ctx.workprec(FIRST_PRECISION + 2 * H):
        rows, zero = model.rows, number(0.0)
        v, values, q_all = [zero] * S, [], []
        for h in range(H - 1, -1, -1):
            q = []
            for k in range(h * S * A, (h + 1) * S * A):
                seg = slice(int(rows.ptr[k]), int(rows.ptr[k + 1]))
                total = sum((number(p) * v[t] for t, p in zip(rows.col[seg], rows.val[seg])), zero)
                q.append(number(model.r.ravel()[k]) + total)
            v = [max(q[s * A: (s + 1) * A]) if tier == "exact" else _max(q[s * A: (s + 1) * A]) for s in range(S)]
            values.append(v)
            q_all.append(q)
        flat = [x for v in reversed(values) for x in v]
        q_flat = [x for q in reversed(q_all) for x in q]
        lo = np.array([down(x) for x in flat]).reshape(H, S)
        hi = np.array([up(x) for x in flat]).reshape(H, S)
        if tier == "exact":
            reaches = [x == flat[k // A] for k, x in enumerate(q_flat)]
        else:
            reaches = [up(x) >= down(flat[k // A]) for k, x in enumerate(q_flat)]
    optimal = np.array(reaches).reshape(H, S, A)
    exact = tuple(fraction(x) for x in flat) if tier == "exact" else None
    certificate = Certificate(tier, "backward induction", tol, time.perf_counter() - clock, exact)
    solution = Solution(0.5 * (lo + hi), lo, hi, optimal.argmax(2), optimal, H, certificate)
    return finish(solution, "no two floats are closer than the enclosure")
