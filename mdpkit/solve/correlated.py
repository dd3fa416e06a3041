"""Correlated and coarse correlated equilibria of n-player games: any joint law proves how far it is from one.

A law sigma on joint actions is a coarse correlated equilibrium when no player gains by one action whatever the law
recommends, a correlated one when no player gains by a change of each recommendation (Aumann 1974; Moulin and Vial
1978). Among them one of largest weighted sum of payoffs is chosen, by a linear program:

    max sum_i w_i <sigma, Q_i>   subject to   G sigma <= 0,  sum sigma = 1,  sigma >= 0

with a row of G for each deviation (`gains`). No status is trusted: the largest entry of G sigma is the gap returned.
`solve` uses HiGHS and proves optimality too. `equilibrium` is for kernels that need thousands of little ones, such as
`sandwich`, which plans in Markov games: the simplex method with Bland's rule from the all-slack basis. The cone
G sigma <= 0 holds a non-zero law, so with positive costs and sum sigma <= 1 there is no first phase, and the sum ends
at 1. With several optima the two may choose different ones.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numba import boolean, float64

from mdpkit import validate
from mdpkit.errors import MdpkitError, NotCertified
from mdpkit.jit import kernel
from mdpkit.kernels.backup import INTS, REALS
from mdpkit.models.games import MarkovGame
from mdpkit.solve.correlated_exact import exactly
from mdpkit.solve.rounding import TINY, higham
from mdpkit.solve.solution import tolerance

KINDS = ("coarse", "correlated")
RELATIVE_TOL = 1e-9      # default gap, as a share of the largest payoff
ZERO = 1e-9              # reduced costs and pivots below it, in units of the largest gain, count as 0
ALLOWED = 1e-10          # what a deviation may gain in the second attempt, in the same units


@dataclass(frozen=True, eq=False)
class Equilibrium:
    """A joint law that nobody gains more than ``gap`` by leaving.

    Attributes
    ----------
    sigma : array (A1, ..., An)
        Canonical: not negative, and its sum is exactly 1.
    values : array (n,)
        What each player gets.
    gap : float
        Proven bound on the largest gain of a deviation, >= 0.
    objective, ceiling : float
        The weighted sum of ``values``, and a proven bound on that of every equilibrium of this kind.
    kind : {"coarse", "correlated"}
    exact : tuple of Fraction or None
        In tier "exact" the best equilibrium itself, flat; ``sigma`` is its rounding.
    """

    sigma: np.ndarray
    values: np.ndarray
    gap: float
    objective: float
    ceiling: float
    kind: str
    exact: tuple[Fraction, ...] | None = None

    @property
    def width(self) -> float:
        """The gap."""
        return self.gap

    def __repr__(self) -> str:
        return f"Equilibrium({self.kind}: values {np.round(self.values, 6).tolist()}, gap {self.gap:.2g})"


def solve(payoffs: Any, *, kind: str = "coarse", weights: Any = None, tol: float | None = None,
          tier: str = "float") -> Equilibrium:
    """An equilibrium of largest weighted sum of payoffs.

    Parameters
    ----------
    payoffs : array (n, A1, ..., An), or a MarkovGame of one state and one step
    kind : {"coarse", "correlated"}
    weights : array (n,), optional
        Non-negative; 1 for each player by default.
    tol : float, optional
        Wanted gap; by default ``1e-9 * max |payoff|``.
    tier : {"float", "exact"}
        "exact" solves in rationals, for small games.

    Raises
    ------
    NotCertified
        The gap stays above ``tol``.
    """
    Q, w, kind = _given(payoffs, weights, kind)
    validate.choice("tier", tier, ("float", "exact"))
    n, shape = len(Q), Q.shape[1:]
    flat = Q.reshape(n, -1)
    top = float(np.abs(flat).max())
    tol = tolerance(tol, max(RELATIVE_TOL * top, 1e-290))
    G, cost = gains(flat, np.array(shape), kind == "correlated"), w @ flat
    law, prices = exactly(Q, w, kind == "correlated") if tier == "exact" else (None, np.zeros(0))
    sigma, prices = _program(G, cost) if law is None else (_rounded(np.array([float(x) for x in law])), prices)
    pad = 2 * higham(flat.shape[1] + 4) * top + TINY
    gap = math.nextafter(float((G @ sigma).max(initial=0.0)) + pad, math.inf)
    spent = float(np.abs(prices).sum())      # whatever the prices >= 0: nothing is above max_j (cost - prices G)
    ceiling = float((cost - prices @ G).max()) + 2 * higham(len(G) + n + 4) * (w.sum() + 2 * spent) * top + TINY
    out = Equilibrium(sigma.reshape(shape), flat @ sigma, gap, float(cost @ sigma), ceiling, kind, law)
    if not gap <= tol:
        raise NotCertified(out, tol, "raise tol")
    return out


def _given(payoffs: Any, weights: Any, kind: str) -> tuple[np.ndarray, np.ndarray, str]:
    validate.choice("kind", kind, KINDS)
    if isinstance(payoffs, MarkovGame):
        if payoffs.H != 1 or payoffs.S != 1:
            raise MdpkitError("payoffs", "of one state and one step", payoffs)
        payoffs = payoffs.r[:, 0, 0]
    try:
        axes = np.ndim(payoffs)
    except ValueError as e:
        raise MdpkitError("payoffs", "an array of numbers", payoffs, "is it ragged?") from e
    Q = validate.array("payoffs", payoffs, ("n", *(f"A{i + 1}" for i in range(max(axes - 1, 1)))))
    if len(Q) != Q.ndim - 1:
        raise MdpkitError("payoffs", f"of shape (n, A1, ..., An) with n = {Q.ndim - 1}", None,
                          came=f"its shape is {Q.shape}")
    if not float(np.abs(Q).max()) < 1e300:
        raise MdpkitError("payoffs", "below 1e300 in size", float(np.abs(Q).max()))
    w = validate.array("weights", np.ones(len(Q)) if weights is None else weights, (len(Q),))
    return Q, validate.within("weights", w, 0.0, 1e6), kind


def _rounded(x: np.ndarray) -> np.ndarray:
    return validate.simplex("sigma", x, x.shape, flush=True)


def _program(G: np.ndarray, cost: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A law (J,), canonical, and prices (m,) >= 0 of the deviations, from HiGHS on the scaled program."""
    from scipy.optimize import linprog

    J = len(cost)
    unit = float(np.abs(G).max(initial=0.0)) or 1.0
    scale = float(np.abs(cost).max()) or 1.0
    answer = linprog(-cost / scale, A_ub=G / unit, b_ub=np.zeros(len(G)), A_eq=np.ones((1, J)), b_eq=[1.0],
                     method="highs-ds",
                     options={"dual_feasibility_tolerance": 1e-10, "primal_feasibility_tolerance": 1e-10})
    if answer.x is None:
        raise MdpkitError("payoffs", "solvable by HiGHS", answer.message)
    x = np.maximum(answer.x, 0.0)
    return _rounded(x / x.sum()), np.maximum(-answer.ineqlin.marginals, 0.0) * (scale / unit)


def _gains(Q, sizes, fine):
    """G (m, J): what each deviation adds at each joint action, last player fastest, from payoffs Q (n, J).

    Coarse: a row a player and action b, "always b". Fine: a row a player and pair a != b, "b where a is recommended".
    """
    n, J = Q.shape
    m = 0
    for i in range(n):
        m += sizes[i] * (sizes[i] - 1) if fine else sizes[i]
    G = np.zeros((m, J))
    k, stride = 0, J
    for i in range(n):
        stride //= sizes[i]
        for b in range(sizes[i]):
            for a in range(sizes[i] if fine else 1):
                if fine and a == b:
                    continue
                for j in range(J):
                    own = (j // stride) % sizes[i]
                    if not fine or own == a:
                        G[k, j] = Q[i, j + (b - own) * stride] - Q[i, j]
                k += 1
    return G


def _equilibrium(Q, sizes, fine, sigma):
    """Fill ``sigma`` (J,) with an equilibrium of largest sum of payoffs; returns the largest gain that it leaves.

    Gains that are tiny but not 0 can lead the pivots astray: then once more, every deviation allowed some 1e-10. Made
    to be so, one game in 3000 is left with more than 1e-9 to gain, and none of 120 000 with more than 1e-7.
    """
    n, J = Q.shape
    G = gains(Q, sizes, fine)
    m = G.shape[0]
    unit, low, worst = 0.0, np.inf, np.inf
    for j in range(J):
        for k in range(m):
            unit = max(unit, abs(G[k, j]))
    unit = unit if unit > 0.0 else 1.0
    for attempt in range(2):
        T = np.zeros((m + 2, J + 1))     # rows: deviations, the sum, the costs; last column: right-hand sides
        for j in range(J):
            for k in range(m):
                T[k, j] = G[k, j] / unit
            T[m, j] = 1.0
            for i in range(n):
                T[m + 1, j] += Q[i, j] / unit
            low = min(low, T[m + 1, j])
        for j in range(J):
            T[m + 1, j] += 1.0 - low     # positive costs: a law's sum is then 1 at the optimum
        for k in range(m):
            T[k, J] = attempt * ALLOWED * (1.0 + (k * 0.618) % 1.0)      # apart from one another: no ties
        T[m, J] = 1.0
        basic = simplex(T, ZERO if attempt == 0 else ZERO / 100)
        total = 0.0
        for j in range(J):
            sigma[j] = 0.0
        for k in range(m + 1):
            if basic[k] < J:
                sigma[basic[k]] = max(T[k, J], 0.0)
                total += sigma[basic[k]]
        worst = 0.0
        for j in range(J):
            sigma[j] = sigma[j] / total if total > 0.0 else 1.0 / J
        for k in range(m):
            gain = 0.0
            for j in range(J):
                gain += G[k, j] * sigma[j]
            worst = max(worst, gain)
        if worst <= ZERO * unit:
            break
    return worst


def _simplex(T, zero):
    """Pivot the dictionary T (rows + costs, columns + right-hand side) to its optimum; returns the basic variables.

    Columns stand for variables 0..J-1 at first, rows for their slacks J..J+m-1. The largest cost enters and of the
    tightest rows the one of largest pivot leaves; should that take long, Bland's rule, which cannot cycle: the lowest
    variables. Right-hand sides that are 0 stay exactly 0.
    """
    m, J = T.shape[0] - 1, T.shape[1] - 1
    basic, other = np.arange(J, J + m), np.arange(J)
    for turn in range(200 * (m + J)):
        bland, q, p, least = turn >= 10 * (m + J), -1, -1, np.inf
        for j in range(J):
            if T[m, j] > zero and (q < 0 or (other[j] < other[q] if bland else T[m, j] > T[m, q])):
                q = j
        if q < 0:
            break
        for i in range(m):
            if T[i, q] > zero:
                ratio = T[i, J] / T[i, q]
                if ratio < least or (ratio == least and (basic[i] < basic[p] if bland else T[i, q] > T[p, q])):
                    p, least = i, ratio
        if p < 0:
            break
        pivot = T[p, q]
        for j in range(J + 1):
            T[p, j] = 1.0 / pivot if j == q else T[p, j] / pivot
        for i in range(m + 1):
            if i != p:
                factor = T[i, q]
                if factor != 0.0:
                    for j in range(J + 1):
                        if j == q:
                            T[i, j] = -factor / pivot
                        else:
                            T[i, j] -= factor * T[p, j]
        basic[p], other[q] = other[q], basic[p]
    return basic


def _sandwich(P, beta, r, rho, sizes, fine, pi, U, L):
    """Backward induction on a model that errs by beta, with an `equilibrium` of the upper values at each state.

    From values 0 behind the last step h = H-1, for each player i:

        Qu_i = min(r_i + beta + P U_i, H - h)    Ql_i = max(r_i - beta + P L_i, 0)    pi_h(s) = equilibrium of Qu(s)
        U_i = E_pi Qu_i                          L_i = E_pi Ql_i

    Rewards lie in [0, 1]; with beta = 0 and the true P this is an equilibrium of the Markov game.

    Parameters
    ----------
    P (H, S, J, S), beta (H, S, J), r (n, H, S, J), rho (S,), sizes (n,)
    pi (H, S, J), U, L (n, H+1, S) : filled

    Returns
    -------
    The largest gain left at any state, and max_i <rho, U_i - L_i> at the first step.
    """
    n, H, S, J = r.shape
    high, low, worst, width = np.empty((n, J)), np.empty((n, J)), 0.0, 0.0
    for i in range(n):
        for s in range(S):
            U[i, H, s], L[i, H, s] = 0.0, 0.0
    for h in range(H - 1, -1, -1):
        for s in range(S):
            for i in range(n):
                for j in range(J):
                    up, down = r[i, h, s, j] + beta[h, s, j], r[i, h, s, j] - beta[h, s, j]
                    for t in range(S):
                        up += P[h, s, j, t] * U[i, h + 1, t]
                        down += P[h, s, j, t] * L[i, h + 1, t]
                    high[i, j], low[i, j] = min(up, H - h), max(down, 0.0)
            worst = max(worst, equilibrium(high, sizes, fine, pi[h, s]))
            for i in range(n):
                U[i, h, s], L[i, h, s] = 0.0, 0.0
                for j in range(J):
                    U[i, h, s] += pi[h, s, j] * high[i, j]
                    L[i, h, s] += pi[h, s, j] * low[i, j]
    for i in range(n):
        total = 0.0
        for s in range(S):
            total += rho[s] * (U[i, 0, s] - L[i, 0, s])
        width = max(width, total)
    return worst, width


gains = kernel(_gains, (REALS[2], INTS[1], boolean))
simplex = kernel(_simplex, (float64[:, ::1], float64))
CUBE = float64[:, :, ::1]
equilibrium = kernel(_equilibrium, (REALS[2], INTS[1], boolean, float64[::1]))
sandwich = kernel(_sandwich, (REALS[4], REALS[3], REALS[4], REALS[1], INTS[1], boolean, CUBE, CUBE, CUBE))
