"""Games whose values or equilibria are known in closed form. Player 0 owns the rows."""

from __future__ import annotations

import math

import numpy as np

from mdpkit import validate
from mdpkit.models.games import MarkovGame


def matching_pennies() -> MarkovGame:
    """1 to the rows on a match, -1 otherwise; zero-sum. Value 0; the only equilibrium is uniform."""
    return MarkovGame.matrix([[1.0, -1.0], [-1.0, 1.0]])


def rock_paper_scissors() -> MarkovGame:
    """Each action beats the one before it, for 1. Value 0; the only equilibrium is uniform."""
    return biased_rps(1.0, 1.0, 1.0)


def biased_rps(paper: float, scissors: float, rock: float) -> MarkovGame:
    """Rock (0), paper (1), scissors (2), where a win with each pays its own amount; zero-sum and symmetric.

    Value 0. The only equilibrium of either player is `biased_rps_equilibrium`.

    Parameters
    ----------
    paper, scissors, rock : float, > 0
        What paper gets from rock, scissors from paper, rock from scissors.
    """
    p, s, r = (validate.interval(name, x, 0.0, math.inf, open_lo=True)
               for name, x in (("paper", paper), ("scissors", scissors), ("rock", rock)))
    return MarkovGame.matrix([[0.0, -p, r], [p, 0.0, -s], [-r, s, 0.0]])


def biased_rps_equilibrium(paper: float, scissors: float, rock: float) -> np.ndarray:
    """(scissors, rock, paper) / (scissors + rock + paper): the chances of rock, paper, scissors in `biased_rps`.

    The kernel of a skew-symmetric 3 by 3 matrix: each action is played as often as the win that it is not part of
    is worth.
    """
    x = np.array([scissors, rock, paper], np.float64)
    return x / x.sum()


def prisoners_dilemma() -> MarkovGame:
    """Actions 0 cooperate, 1 defect; payoffs 3 both, 1 neither, 5 to a lone defector, 0 to its victim.

    Defection is strictly dominant, so (1, 1) with payoffs (1, 1) is the only equilibrium, correlated ones included.
    """
    rows = np.array([[3.0, 0.0], [5.0, 1.0]])
    return MarkovGame.matrix(rows, rows.T)


def chicken() -> MarkovGame:
    """Aumann's (1974) chicken: actions 0 dare, 1 yield; rows get 0, 7 / 2, 6.

    Equilibria: (dare, yield) with payoffs (7, 2), its mirror, and both dare with 1/3 for 14/3 each. Playing
    (dare, yield), (yield, dare), (yield, yield) with 1/3 each is a correlated equilibrium with payoff 5 each; the
    best one for the sum gives 21/4 each, with 1/4, 1/4, 1/2.
    """
    rows = np.array([[0.0, 7.0], [2.0, 6.0]])
    return MarkovGame.matrix(rows, rows.T)


def shapley_game() -> MarkovGame:
    """Shapley's (1964) 3 by 3 game: rows get 1 on the diagonal, columns 1 one place to its right, else 0.

    The only Nash equilibrium is uniform, 1/3 each; fictitious play cycles for ever, and the joint law that is
    uniform on the six paying cells is a coarse correlated (even a correlated) equilibrium with 1/2 each.
    """
    return MarkovGame.matrix(np.eye(3), np.roll(np.eye(3), 1, axis=1))


def inspection_game(n: int, m: int) -> MarkovGame:
    """Dresher's (1962) inspection game: n periods, at most m inspections, at most one violation.

    Row player: actions 0 violate, 1 wait. Column player: 0 inspect, 1 rest. A violation ends the game, at -1 to the
    row player if inspected and +1 if not; zero-sum. States 0..m are the inspections left (in state 0 an inspection
    has no effect), state m+1 is the end; the start is state m. The known answer is `inspection_value`.

    Parameters
    ----------
    n, m : int, n >= 1 and m >= 0
    """
    n, m = validate.count("n", n), validate.count("m", m, 0)
    end = m + 1
    P, r = np.zeros((m + 2, 2, 2, m + 2)), np.zeros((m + 2, 2, 2))
    left = np.arange(m + 1)
    P[left, 0, :, end] = P[end, :, :, end] = 1.0
    P[left, 1, 0, np.maximum(left - 1, 0)] = 1.0
    P[left, 1, 1, left] = 1.0
    r[left, 0, 0] = np.where(left > 0, -1.0, 1.0)
    r[left, 0, 1] = 1.0
    r = np.broadcast_to(r, (n, *r.shape))
    return MarkovGame(np.broadcast_to(P, (n, *P.shape)), np.stack([r, -r]), np.eye(m + 2)[m])


def inspection_value(n: int, m: int) -> float:
    """Value to the row player with n periods and m inspections left: C(n-1, m) / sum_{i <= m} C(n, i)."""
    return math.comb(n - 1, m) / sum(math.comb(n, i) for i in range(m + 1)) if n > 0 else 0.0
