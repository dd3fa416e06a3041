"""Zero-sum matrix games with a KL weight: the one equilibrium, with a duality gap that bounds its distance.

x maximises and y minimises f(x, y) = x'Ay - alpha KL(x, rho_x) + alpha KL(y, rho_y). Best responses are Gibbs laws, so
that any pair of strategies gives lo = min_y f(x, .) <= value <= max_x f(., y) = hi in closed form, and
alpha (KL(x, x*) + KL(y, y*)) <= hi - lo, whatever found them: each of the two terms is what its player loses against
the other's equilibrium strategy. Found by mirror prox (Nemirovski 2004), polished by Newton steps on the fixed point.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from mdpkit import validate
from mdpkit.errors import MdpkitError, NotCertified
from mdpkit.jit import kernel
from mdpkit.kernels.mirror import mirror, times
from mdpkit.losses import log_softmax, log_sum_exp
from mdpkit.solve.rounding import TINY, U, higham
from mdpkit.solve.solution import Certificate, tolerance

SWEEPS = 200             # mirror-prox steps between looks at the gap
MOST = 500_000
NEWTON = 12
RELATIVE_TOL = 1e-12


@dataclass(frozen=True, eq=False)
class RegularisedGame:
    """Strategies of the regularised equilibrium: ``lo <= value <= hi``.

    ``log_x`` (n,) and ``log_y`` (m,) are normalised log-laws. ``distance`` bounds KL(x, x*) + KL(y, y*), hence
    also (TV(x, x*)^2 + TV(y, y*)^2) 2 by Pinsker's inequality.
    """

    log_x: np.ndarray
    log_y: np.ndarray
    value: float
    lo: float
    hi: float
    distance: float
    iterations: int
    certificate: Certificate

    @property
    def x(self) -> np.ndarray:
        return np.exp(self.log_x)

    @property
    def y(self) -> np.ndarray:
        return np.exp(self.log_y)

    @property
    def width(self) -> float:
        """The duality gap hi - lo, rounding included."""
        return self.hi - self.lo


def solve(payoff: Any, alpha: float, rho_x: Any = None, rho_y: Any = None, tol: float | None = None) -> RegularisedGame:
    """The equilibrium of the game with a KL weight (a quantal response equilibrium for uniform references).

    Parameters
    ----------
    payoff : array (n, m)
        A, the row player's gain.
    alpha : float, > 0
        Weight of both KL terms.
    rho_x, rho_y : arrays (n,) and (m,)
        Reference laws, full support; uniform by default.
    tol : float
        Largest duality gap; by default 1e-12 of max|A| + alpha, or what rounding allows.

    Raises
    ------
    NotCertified
        The gap stays above ``tol``.
    """
    A = validate.array("payoff", payoff, ("n", "m"))
    alpha = validate.interval("alpha", alpha, 0.0, np.inf, open_lo=True)
    log_x, log_y = (_log("rho_x", rho_x, A.shape[0]), _log("rho_y", rho_y, A.shape[1]))
    clock, size = time.perf_counter(), float(np.abs(A).max())
    u, v, steps = log_x.copy(), log_y.copy(), 0
    step = 1.0 / max(float(np.ptp(A)), alpha)
    limit = tolerance(tol, RELATIVE_TOL * (size + alpha) + 4 * _rounding(A, alpha, log_x, log_y))
    lo, hi = _bounds(A, alpha, u, v, log_x, log_y)
    while hi - lo > limit and steps < MOST:
        _prox(A, alpha, step, u, v, log_x, log_y, SWEEPS)
        steps += SWEEPS
        u, v = _polished(A, alpha, u, v, log_x, log_y)
        lo, hi = _bounds(A, alpha, u, v, log_x, log_y)
    found = RegularisedGame(u, v, (lo + hi) / 2, lo, hi, max(hi - lo, 0.0) / alpha, steps,
                            Certificate("float", "mirror prox and Newton", limit, time.perf_counter() - clock))
    if hi - lo > limit:
        raise NotCertified(found, limit, "raise tol or alpha")
    return found


def preference_nash(p: Any, pi_ref: Any, beta: float, tol: float | None = None) -> RegularisedGame:
    """The Nash policy of P_beta(a > b) = a'p b - beta KL(a, pi_ref) + beta KL(b, pi_ref), p + p' = 1: `solve` of p.

    Both strategies are the policy; the value is 1/2.
    """
    return solve(p, beta, pi_ref, pi_ref, tol)


def _log(name: str, rho: Any, n: int) -> np.ndarray:
    if rho is None:
        return np.full(n, -np.log(n))
    law = validate.simplex(name, rho, (n,))
    if (law == 0).any():
        raise MdpkitError(f"{name}[{int(np.argmin(law))}]", "positive (full support)", 0.0)
    return log_softmax(np.log(law))


def _bounds(A: np.ndarray, alpha: float, u: np.ndarray, v: np.ndarray, log_x: np.ndarray,
            log_y: np.ndarray) -> tuple[float, float]:
    """min_y f(x, .) and max_x f(., y), widened by what rounding may have done."""
    x, y = np.exp(u), np.exp(v)
    lo = -alpha * log_sum_exp(log_y - np.einsum("ij,i->j", A, x) / alpha) - alpha * (x * (u - log_x)).sum()
    hi = alpha * log_sum_exp(log_x + np.einsum("ij,j->i", A, y) / alpha) + alpha * (y * (v - log_y)).sum()
    pad = _rounding(A, alpha, u - log_x, v - log_y)
    return float(lo) - pad, float(hi) + pad


def _rounding(A: np.ndarray, alpha: float, ratio_x: np.ndarray, ratio_y: np.ndarray) -> float:
    """Rounding of either bound: sums of at most n + m terms, exp and log to 4 units, and laws that sum to 1 + gamma."""
    k = 4 * sum(A.shape) + 64
    size = np.abs(A).max() + alpha * (2 + np.log(max(A.shape)) + np.abs(ratio_x).max() + np.abs(ratio_y).max())
    return higham(k) * float(size) * (1 + 8 * U) + TINY


def _polished(A: np.ndarray, alpha: float, u: np.ndarray, v: np.ndarray, log_x: np.ndarray,
              log_y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Newton steps on alpha (u - log_x) = A e^v + c, alpha (v - log_y) = -A' e^u + c', kept while the gap falls."""
    n, m = A.shape
    best = (u, v)
    gap = np.subtract(*_bounds(A, alpha, u, v, log_x, log_y)[::-1])
    for _ in range(NEWTON):
        x, y = np.exp(u), np.exp(v)
        F = np.concatenate([u - log_softmax(log_x + np.einsum("ij,j->i", A, y) / alpha),
                            v - log_softmax(log_y - np.einsum("ij,i->j", A, x) / alpha)])
        J = np.eye(n + m)
        B, C = A * y / alpha, A.T * x / alpha                       # of e^v, e^u; the softmax takes its mean away
        J[:n, n:] -= B - _mean(log_x + A @ y / alpha, B)
        J[n:, :n] += C - _mean(log_y - A.T @ x / alpha, C)
        try:
            d = np.linalg.solve(J, F)
        except np.linalg.LinAlgError:
            break
        u, v = log_softmax(u - d[:n]), log_softmax(v - d[n:])
        now = np.subtract(*_bounds(A, alpha, u, v, log_x, log_y)[::-1])
        if not now < gap:
            break
        best, gap = (u, v), now
    return best


def _mean(logits: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """The mean of ``rows`` under the softmax of ``logits``."""
    return np.exp(log_softmax(logits)) @ rows


def descend(payoff: Any, alpha: float, eta: float, n: int, start: tuple[Any, Any] | None = None,
            ) -> tuple[np.ndarray, np.ndarray]:
    """log x and log y after n simultaneous steps of magnetic mirror descent with uniform magnets.

    x' is proportional to (x exp(eta A y))^(1/(1 + eta alpha)) and y' to (y exp(-eta A'x))^(1/(1 + eta alpha)). For
    eta <= alpha/max|A|^2 their distance to the regularised equilibrium falls by that factor a step (Sokota et al.
    2023); `solve` proves how near they are. One pass over A a step; sums in an order of the compiler's.

    Parameters
    ----------
    payoff : array (n, m)
    alpha, eta : float, >= 0 and > 0
    n : int
    start : two log-laws, optional
        Uniform where omitted.
    """
    A = validate.array("payoff", payoff, ("n", "m"))
    settings = (validate.interval("alpha", alpha, 0.0, np.inf),
                validate.interval("eta", eta, 0.0, np.inf, open_lo=True))
    u, v = (np.full(k, -np.log(k)) for k in A.shape) if start is None else (
        validate.array("start", z, (k,)).copy() for z, k in zip(start, A.shape))
    _descend(A, *settings, u, v, validate.count("n", n, 0))
    return u, v


def _descend_body(A, alpha, eta, u, v, n):
    """In place; x and y are kept as probabilities, so that a step takes n + m exponentials and one pass over A."""
    N, M = A.shape
    x, y, gx, gy = np.exp(u), np.exp(v), np.empty(N), np.empty(M)
    keep = 1.0 / (1.0 + eta * alpha)
    for _ in range(n):
        for j in range(M):
            gy[j] = 0.0
        for i in range(N):
            row, won, w = A[i], 0.0, x[i]
            for j in range(M):
                won += row[j] * y[j]
                gy[j] += w * row[j]
            gx[i] = won
        _half(u, gx, eta * keep, keep, x)
        _half(v, gy, -eta * keep, keep, y)


def _half_body(u, g, step, keep, x):
    """u <- log softmax(keep u + step g), and x its probabilities."""
    top, total = -np.inf, 0.0
    for i in range(len(u)):
        u[i] = keep * u[i] + step * g[i]
        top = max(top, u[i])
    for i in range(len(u)):
        x[i] = math.exp(u[i] - top)
        total += x[i]
    shift = top + math.log(total)
    for i in range(len(u)):
        u[i] -= shift
        x[i] /= total


def _prox_body(A, alpha, step, u, v, log_x, log_y, n):
    """``n`` steps of mirror prox in place: a half step against the present pair, a whole one against the half's."""
    B = A.T.copy()
    gx, gy = np.empty(len(u)), np.empty(len(v))
    hu, hv = np.empty(len(u)), np.empty(len(v))
    keep = 1.0 / (1.0 + step * alpha)
    for _ in range(n):
        times(A, v, gx)
        times(B, u, gy)
        mirror(keep, u, keep * step * alpha, log_x, keep * step, gx, hu)
        mirror(keep, v, keep * step * alpha, log_y, -keep * step, gy, hv)
        times(A, hv, gx)
        times(B, hu, gy)
        mirror(keep, u, keep * step * alpha, log_x, keep * step, gx, u)
        mirror(keep, v, keep * step * alpha, log_y, -keep * step, gy, v)


_prox = kernel(_prox_body)
_half = kernel(_half_body, reassoc=True)
_descend = kernel(_descend_body, reassoc=True)
