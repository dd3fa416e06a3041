"""Zero-sum Markov games, discounted (Shapley) and episodic; in turn-based ones one player at a time has a choice.

Shapley's operator, T v(s) = value of the matrix r(s, ., .) + gamma P(s, ., .) v, is monotone and T(v + c) = T v +
gamma c, so that any v gives an enclosure of its fixed point by the MacQueen-Porteus bounds, the duality gaps of the
matrix games included. The v comes from Hoffman and Karp's iteration: the maximiser plays optimally in the matrix games
of v, the minimiser answers by solving the MDP that is left.

Shapley, Stochastic games, PNAS 1953; Hoffman and Karp, On nonterminating stochastic games, Management Science 1966.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from mdpkit import validate
from mdpkit.errors import MdpkitError, NotCertified
from mdpkit.models.games import MarkovGame
from mdpkit.models.tabular import TabularMDP
from mdpkit.solve import discounted, matrix_game
from mdpkit.solve.rounding import backup_error, macqueen_porteus
from mdpkit.solve.solution import Certificate, tolerance

ROUNDS = 200             # of Hoffman and Karp's iteration, which converges like policy iteration
RELATIVE_TOL = 1e-8


@dataclass(frozen=True, eq=False)
class GameValues:
    """Values to the first player, ``lo <= value of the game <= hi``, and strategies of both.

    Attributes
    ----------
    value, lo, hi : arrays (S,), or (H, S) of an episodic game
    x, y : arrays (..., A1) and (..., A2)
        Maximin strategies in the last matrix games.
    iterations : int
    certificate : Certificate
    """

    value: np.ndarray
    lo: np.ndarray
    hi: np.ndarray
    x: np.ndarray
    y: np.ndarray
    iterations: int
    certificate: Certificate

    @property
    def width(self) -> float:
        """max(hi - lo)."""
        return float((self.hi - self.lo).max())

    def __repr__(self) -> str:
        c = self.certificate
        return f"GameValues({c.method}: width {self.width:.2g} (asked {c.tol:.2g}), {self.iterations} iterations)"


def solve_discounted(P: Any, r: Any, gamma: float, tol: float | None = None) -> GameValues:
    """Certified values of a discounted zero-sum game in which the first player maximises.

    Parameters
    ----------
    P : array (S, A1, A2, S)
    r : array (S, A1, A2)
        Mean rewards to the first player; the second gets the opposite.
    gamma : float in [0, 1)
    tol : float, optional
        Wanted width of the enclosure; by default ``1e-8 * max |r| / (1 - gamma)``.

    Raises
    ------
    NotCertified
        The width stays above ``tol``.
    """
    r = validate.array("r", r, ("S", "A1", "A2"))
    gamma = validate.interval("gamma", gamma, 0.0, 1.0, open_hi=True)
    S = len(r)
    P = validate.simplex("P", P, (*r.shape, S))
    top = float(np.abs(r).max())
    if not top / (1 - gamma) < 1e300:
        raise MdpkitError("r", "small enough for float64 values (max |r|/(1 - gamma) below 1e300)", top)
    asked = tolerance(tol, max(RELATIVE_TOL * top, 1e-290) / (1 - gamma))
    clock, v, best, games = time.perf_counter(), np.zeros(S), None, [None] * S
    for n in range(1, ROUNDS + 1):
        w, gap, x, y = _matrix_games(r + gamma * P @ v, games)
        size = float(np.abs(v).max())
        lo, hi = macqueen_porteus(w, v, gamma, gap + backup_error(S, top, gamma, size))
        if best is None or (hi - lo).max() < (best[1] - best[0]).max():
            best = lo, hi, x, y
        elif (best[1] - best[0]).max() <= asked or n > 30:
            break
        v = -_answer(P, r, gamma, x)
    lo, hi, x, y = best  # type: ignore[misc]
    certificate = Certificate("float", "Hoffman-Karp iteration", asked, time.perf_counter() - clock)
    return _finish(GameValues(0.5 * (lo + hi), lo, hi, x, y, n, certificate))


def solve(game: MarkovGame, tol: float | None = None) -> GameValues:
    """Certified values of an episodic zero-sum game, by backward induction on enclosures.

    Parameters
    ----------
    game : MarkovGame
        Of two players whose rewards cancel.
    tol : float, optional
        Wanted width; by default ``1e-8 * H * max |r|``.
    """
    validate.instance("game", game, MarkovGame)
    if not game.is_zero_sum:
        raise MdpkitError("game", "of two players whose rewards cancel", game)
    H, S = game.H, game.S
    P, r = game.P, game.r[0]
    top = float(np.abs(r).max())
    asked = tolerance(tol, max(RELATIVE_TOL * H * top, 1e-290))
    clock = time.perf_counter()
    lo, hi = np.zeros((H + 1, S)), np.zeros((H + 1, S))
    x, y, games = np.zeros((H, S, game.A[0])), np.zeros((H, S, game.A[1])), [None] * S
    for h in range(H - 1, -1, -1):
        middle = 0.5 * (lo[h + 1] + hi[h + 1])
        w, gap, x[h], y[h] = _matrix_games(r[h] + P[h] @ middle, games)
        # the value moves by at most what the entries move
        pad = gap + float((hi[h + 1] - lo[h + 1]).max()) / 2 * (1 + 1e-15)
        pad += 2 * backup_error(S, top, 1.0, float(np.abs(middle).max()))
        lo[h], hi[h] = np.nextafter(w - pad, -math.inf), np.nextafter(w + pad, math.inf)
    certificate = Certificate("float", "backward induction", asked, time.perf_counter() - clock)
    return _finish(GameValues(0.5 * (lo + hi)[:H], lo[:H], hi[:H], x, y, H, certificate))


def _matrix_games(Q: np.ndarray, games: list[Any]) -> tuple[np.ndarray, float, np.ndarray, np.ndarray]:
    """Values (S,) of the matrices Q (S, A1, A2), the largest distance to the true ones, and strategies.

    ``games`` holds the last solution in each state, from which the next one starts.
    """
    S, A, B = Q.shape
    w, gap, x, y = np.empty(S), 0.0, np.zeros((S, A)), np.zeros((S, B))
    for s in range(S):
        if A == 1 or B == 1:                       # one player decides
            a, b = Q[s].max(1).argmax() if B == 1 else 0, Q[s].min(0).argmin() if A == 1 else 0
            w[s], x[s, a], y[s, b] = Q[s, a, b], 1.0, 1.0
            continue
        game = games[s] = matrix_game.solve(Q[s], math.inf, start=games[s])
        w[s], x[s], y[s] = game.value, game.x, game.y
        gap = max(gap, game.hi - game.value, game.value - game.lo)
    return w, gap * (1 + 1e-15), x, y


def _answer(P: np.ndarray, r: np.ndarray, gamma: float, x: np.ndarray) -> np.ndarray:
    """The minimiser's best answer to x: values (S,) of the MDP with rewards -r."""
    law = np.einsum("sa,sabt->sbt", x, P)
    law /= law.sum(-1, keepdims=True)
    pays = np.einsum("sa,sab->sb", x, r)
    S = len(r)
    return discounted.policy_iteration(TabularMDP(law, -pays, gamma, np.full(S, 1 / S), flush=True), math.inf).value


def _finish(found: GameValues) -> GameValues:
    for part in (found.value, found.lo, found.hi, found.x, found.y):
        part.flags.writeable = False
    if not found.width <= found.certificate.tol:
        raise NotCertified(found, found.certificate.tol, "raise tol")
    return found
