"""Zero-sum matrix games: any pair of strategies proves an enclosure of the value.

For x, y on the simplex, min_j (x'A)_j <= value <= max_i (A y)_i. The strategies come from a linear program (HiGHS),
whose status is not trusted: only this gap counts. Tier "exact" runs the simplex method in rationals with Bland's
rule, which cannot cycle.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from mdpkit import validate
from mdpkit.errors import MdpkitError, NotCertified
from mdpkit.models.games import MarkovGame
from mdpkit.solve import simplex
from mdpkit.solve.rounding import TINY, higham
from mdpkit.solve.solution import TIERS, Certificate, tolerance

RELATIVE_TOL = 1e-9
PIVOTS = 20              # for each row and column, before another method is tried
STILL = 1e-13            # gap of the scaled game up to which strategies are taken as they are
CLOSE = 1e-7             # gap of the scaled game that solving on the supports found will close
LARGEST_EXACT = 1_600        # entries: bits and steps grow fast beyond 40 x 40


@dataclass(frozen=True, eq=False)
class GameSolution:
    """Value and maximin strategies: ``lo <= value of the game <= hi``.

    ``x`` (m,) and ``y`` (n,) are canonical probability vectors that guarantee ``lo`` and ``hi``; in tier "exact" they
    are the exact strategies of the certificate, rounded. ``rows`` and
    ``columns`` mark every pure action that may be a best response to the other's strategy.
    """

    value: float
    lo: float
    hi: float
    x: np.ndarray
    y: np.ndarray
    rows: np.ndarray
    columns: np.ndarray
    iterations: int
    certificate: Certificate

    @property
    def width(self) -> float:
        """The duality gap hi - lo."""
        return self.hi - self.lo

    def __repr__(self) -> str:
        c = self.certificate
        return f"GameSolution({c.tier}, {c.method}: value {self.value:.12g}, gap {self.width:.2g}, {c.seconds:.3g} s)"


def solve(payoff: Any, tol: float | None = None, *, tier: str = "float", start: GameSolution | None = None
          ) -> GameSolution:
    """The value of a zero-sum game in which the row player maximises.

    Parameters
    ----------
    payoff : array (m, n), or a zero-sum MarkovGame with one state and one step
    tol : float, optional
        Wanted duality gap; by default ``1e-9 * max |payoff|``.
    tier : {"float", "ball", "exact"}
    start : GameSolution, optional
        Of a related game of the same shape. Where the supports of its strategies still equalise, that is the answer,
        for one small linear solve and no pivot; otherwise it costs that solve. Not in tier "exact".

    Raises
    ------
    NotCertified
        The gap stays above ``tol``.
    """
    validate.choice("tier", tier, TIERS)
    A = _payoff(payoff)
    if start is not None:
        validate.choice("tier", tier, TIERS[:2])
        m, n = A.shape
        validate.instance("start", start, GameSolution)
        validate.array("start.x", start.x, (m,))
        validate.array("start.y", start.y, (n,))
    top = float(np.abs(A).max())
    if not top < 1e300:
        raise MdpkitError("payoff", "below 1e300 in size", top)
    tol = tolerance(tol, max(RELATIVE_TOL * top, 1e-290))
    clock = time.perf_counter()
    if tier == "exact":
        return _exact(A, tol, clock)
    x, y, iterations = _strategies(A, start)
    lo, hi = _guarantees(A, x, y) if tier == "float" else _ball_guarantees(A, x, y)
    method = "linear program" + (" checked in balls" if tier == "ball" else "")
    return _finish(A, x, y, lo, hi, iterations, Certificate(tier, method, tol, time.perf_counter() - clock))


def _payoff(payoff: Any) -> np.ndarray:
    if isinstance(payoff, MarkovGame):
        if payoff.H != 1 or payoff.S != 1 or not payoff.is_zero_sum:
            raise MdpkitError("payoff", "a zero-sum game of one state and one step", payoff)
        return payoff.r[0, 0, 0]
    return validate.array("payoff", payoff, ("m", "n"))


def _strategies(A: np.ndarray, start: GameSolution | None) -> tuple[np.ndarray, np.ndarray, int]:
    """Maximin strategies of the game scaled to [1, 2]: max v, x'B >= v, sum x = 1, as max sum u, B u <= 1, u >= 0.

    By the simplex method in compiled loops, and by HiGHS where that does not come to an end or to a small gap.
    """
    spread = float(A.max() - A.min())
    B = 1.0 + ((A - A.min()) / spread if spread > 0 else 0.0 * A)
    if start is not None:
        x, y = (p / p.sum() for p in _vertex(B, start.x, start.y))
        if _gap(B, x, y) < STILL:
            return _canonical(x), _canonical(y), 0
    u, prices, pivots = simplex.game(B, PIVOTS * sum(B.shape))
    if pivots >= 0 and prices.sum() > 0 and u.sum() > 0:
        x, y = prices / prices.sum(), u / u.sum()
        gap = _gap(B, x, y)
        if gap < CLOSE:
            if gap >= STILL:                             # many pivots cost digits
                x, y = _vertex(B, prices, u)
            return _canonical(x), _canonical(y), int(pivots)
    from scipy.optimize import linprog

    answer = linprog(-np.ones(B.shape[1]), A_ub=B, b_ub=np.ones(B.shape[0]), method="highs-ds",
                     options={"dual_feasibility_tolerance": 1e-10, "primal_feasibility_tolerance": 1e-10})
    if answer.x is None:
        raise MdpkitError("payoff", "solvable by HiGHS", answer.message)
    x, y = _vertex(B, -answer.ineqlin.marginals, answer.x)
    return _canonical(x), _canonical(y), int(answer.nit)


def _gap(B: np.ndarray, x: np.ndarray, y: np.ndarray) -> float:
    return float((B @ y).max() - (x @ B).min())


def _vertex(B: np.ndarray, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The equalising strategies on the supports found, when they are square and feasible: nearer by many digits."""
    i, j = np.flatnonzero(x > 1e-9 * x.sum()), np.flatnonzero(y > 1e-9 * y.sum())
    if i.size == j.size:
        try:
            yj, xi = np.linalg.solve(B[np.ix_(i, j)], np.ones(i.size)), np.linalg.solve(B[np.ix_(i, j)].T,
                                                                                       np.ones(i.size))
        except np.linalg.LinAlgError:
            return x, y
        if (yj > 0).all() and (xi > 0).all():
            x, y = np.zeros_like(x), np.zeros_like(y)
            x[i], y[j] = xi, yj
    return x, y


def _canonical(p: np.ndarray) -> np.ndarray:
    p = np.maximum(p, 0.0)
    return validate.simplex("strategy", p / p.sum(), p.shape, flush=True)


def _guarantees(A: np.ndarray, x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    top = float(np.abs(A).max())
    pad = higham(max(A.shape) + 1) * top + TINY
    return (math.nextafter(float((x @ A).min()) - pad, -math.inf),
            math.nextafter(float((A @ y).max()) + pad, math.inf))


def _ball_guarantees(A: np.ndarray, x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    import flint

    from mdpkit.solve.precise import down, up

    with flint.ctx.workprec(256):
        B = [[flint.arb(float(a)) for a in line] for line in A]
        dot = lambda p, line: sum((flint.arb(float(w)) * b for w, b in zip(p, line)), flint.arb(0))
        return (min(down(dot(x, column)) for column in zip(*B)), max(up(dot(y, line)) for line in B))


def _finish(A: np.ndarray, x: np.ndarray, y: np.ndarray, lo: float, hi: float, iterations: int,
            certificate: Certificate) -> GameSolution:
    pad = 2 * higham(max(A.shape) + 1) * float(np.abs(A).max()) + TINY
    rows, columns = A @ y >= lo - pad, x @ A <= hi + pad
    rows.flags.writeable = columns.flags.writeable = False
    solution = GameSolution(0.5 * (lo + hi), lo, hi, x, y, rows, columns, iterations, certificate)
    if solution.width > certificate.tol:
        raise NotCertified(solution, certificate.tol, "raise tol, or use tier='exact'")
    return solution


def _exact(A: np.ndarray, tol: float, clock: float) -> GameSolution:
    from mdpkit.rational import fraction, rational
    from mdpkit.solve import rational_simplex
    from mdpkit.solve.precise import down, up

    if A.size > LARGEST_EXACT:
        raise MdpkitError("tier", f"'float' or 'ball' beyond {LARGEST_EXACT} entries", "exact")
    value, x, y, pivots = rational_simplex.game([[rational(a) for a in line] for line in A])
    lo, hi = down(value) + 0.0, up(value) + 0.0          # no minus zero
    exact: tuple[Fraction, ...] = tuple(fraction(q) for q in (value, *x, *y))
    certificate = Certificate("exact", "simplex method in rationals", tol, time.perf_counter() - clock, exact,
                              "exact = value, x, y; the arrays x and y are these, rounded")
    near = [_canonical(np.array([float(fraction(q)) for q in p])) for p in (x, y)]
    return _finish(A, near[0], near[1], lo, hi, pivots, certificate)
