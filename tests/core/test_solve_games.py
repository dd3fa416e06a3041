"""Values of matrix games: enclosures against rationals, other solvers, and games made to be degenerate."""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import pytest

from mdpkit.errors import MdpkitError, NotCertified
from mdpkit.instances import games
from mdpkit.models.games import MarkovGame
from mdpkit.solve import matrix_game
from mdpkit.solve.solution import TIERS

EXACT, SOLVER = 1e-12, 1e-6


def guaranteed(A, x, y):
    """What x and y guarantee, in rationals."""
    A = [[Fraction(a) for a in line] for line in np.asarray(A).tolist()]
    x, y = [Fraction(p) for p in x], [Fraction(p) for p in y]
    return (min(sum(p * a for p, a in zip(x, column)) for column in zip(*A)),
            max(sum(q * a for q, a in zip(y, line)) for line in A))


def rational_value(A):
    """The value, proven: the two exact strategies guarantee the same number."""
    m, n = np.shape(A)
    solution = matrix_game.solve(A, tier="exact")
    value, *laws = solution.certificate.exact
    x, y = laws[:m], laws[m:]
    assert len(y) == n and sum(x) == sum(y) == 1 and min(x) >= 0 and min(y) >= 0
    assert guaranteed(A, x, y) == (value, value)
    assert Fraction(solution.lo) <= value <= Fraction(solution.hi)
    return value


def check(A):
    A = np.asarray(A, float)
    value = rational_value(A)
    for tier in TIERS:
        s = matrix_game.solve(A, tier=tier)
        assert Fraction(s.lo) <= value <= Fraction(s.hi) and s.width <= s.certificate.tol
        assert s.lo <= s.value <= s.hi
        for law in (s.x, s.y):                         # canonical: integers over 2**52 that sum to 2**52
            assert sum(Fraction(p) for p in law) == 1 and (law >= 0).all()
            np.testing.assert_array_equal(law * 2.0**52 % 1, 0)
        low, high = guaranteed(A, s.x, s.y)
        if tier != "exact":                            # the exact strategies are in the certificate, x and y rounded
            assert low >= Fraction(s.lo) and high <= Fraction(s.hi)
        assert s.rows[_best(A @ s.y, 1)].all() and s.columns[_best(s.x @ A, -1)].all()
    return value


def _best(payoffs, sign):
    return np.flatnonzero(sign * payoffs == (sign * payoffs).max())


DEGENERATE = {
    "one cell": [[0.3]],
    "one row": [[0.3, 0.1, 0.2]],
    "one column": [[0.3], [0.1], [0.2]],
    "all zero": np.zeros((3, 2)),
    "all equal": np.full((3, 4), 0.1),
    "equal rows": [[1.0, -1.0], [1.0, -1.0], [-1.0, 1.0]],
    "equal columns": [[1.0, 1.0, -1.0], [-1.0, -1.0, 1.0]],
    "a dominated row": [[1.0, 0.0], [0.0, 1.0], [-1.0, -1.0]],
    "a dominated column": [[1.0, 0.0, 2.0], [0.0, 1.0, 2.0]],
    "a saddle point": [[4.0, 2.0], [3.0, 1.0]],
    "many saddle points": [[1.0, 1.0, 2.0], [1.0, 1.0, 3.0], [0.0, 0.0, 9.0]],
    "a mean of rows": [[2.0, 0.0], [0.0, 2.0], [1.0, 1.0]],
    "identity": np.eye(5),
    "near ties": [[1.0, 1.0], [1.0, 1.0 + 2.0**-52]],
    "entries of 1e12 and 1e-12": [[1e12, 1e-12], [-1e-12, 3.0]],
    "one entry of 1e-12": [[1e-12, 0.0], [0.0, 1.0]],
    "subnormal": [[5e-324, 0.0], [0.0, 5e-324]],
    "as large as allowed": [[9e299, -9e299], [-9e299, 9e299]],
}


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
@pytest.mark.parametrize("name", DEGENERATE)
def test_degenerate_games(name, scale):
    A = np.asarray(DEGENERATE[name])
    if not 1e-300 < np.abs(A).max() < 1e280:                     # at the edge of the floats already
        scale = 1.0
    assert check(A * scale) == -check(-A.T * scale)              # the same game from the other side


@pytest.mark.parametrize("seed", range(60))
def test_random_games(seed):
    rng = np.random.default_rng([1, seed])
    m, n = rng.integers(1, 7, 2)
    check(rng.normal(size=(m, n)) * 10.0 ** rng.uniform(-12, 12))
    check(rng.integers(-2, 3, (m, n)))                   # few numbers: most of these have several optima


def test_known_values():
    for game in (games.matching_pennies(), games.rock_paper_scissors(), games.biased_rps(1.0, 2.0, 4.0)):
        assert rational_value(game.r[0, 0, 0]) == 0
        for tier in TIERS:
            s = matrix_game.solve(game, tier=tier)
            assert s.lo <= 0 <= s.hi
    s = matrix_game.solve(games.biased_rps(1.0, 2.0, 4.0), tier="exact")
    np.testing.assert_allclose(s.x, games.biased_rps_equilibrium(1.0, 2.0, 4.0), atol=EXACT)
    assert s.rows.all() and s.columns.all()


def test_two_by_two_in_closed_form():
    """(ad - bc) / (a + d - b - c) without a saddle point (von Neumann), else max min."""
    for a, b, c, d in itertools.product((-1.0, 0.0, 0.5, 3.0), repeat=4):
        A = [[a, b], [c, d]]
        low, high = max(map(min, A)), min(map(max, zip(*A)))
        value = Fraction(low) if low == high else Fraction(a * d - b * c) / Fraction(a + d - b - c)
        assert rational_value(A) == value


@pytest.mark.parametrize("seed", range(6))
def test_against_nashpy(seed):
    import nashpy

    A = np.random.default_rng([2, seed]).normal(size=(4 + seed % 3, 5))
    x, y = nashpy.Game(A).linear_program()
    s = matrix_game.solve(A)
    assert abs(x @ A @ y - s.value) < SOLVER
    np.testing.assert_allclose(s.x, x, atol=SOLVER)       # Gaussian payoffs: one equilibrium, almost surely
    np.testing.assert_allclose(s.y, y, atol=SOLVER)


@pytest.mark.xdist_group("quantecon")      # it compiles at import, and its cache mixes what two processes compile
def test_against_quantecon():
    from quantecon.optimize import minmax

    for seed in range(20):
        A = np.random.default_rng([3, seed]).normal(size=(1 + seed % 5, 1 + seed % 7))
        value, x, y = minmax(A)
        s = matrix_game.solve(A)
        assert abs(value - s.value) < SOLVER
        np.testing.assert_allclose(s.x, x, atol=SOLVER)
        np.testing.assert_allclose(s.y, y, atol=SOLVER)


def test_larger_games_and_the_limit_of_rationals():
    rng = np.random.default_rng(4)
    check(rng.normal(size=(12, 15)))
    A = rng.normal(size=(60, 50))
    floats, balls = matrix_game.solve(A), matrix_game.solve(A, tier="ball")
    assert floats.lo <= balls.lo <= balls.hi <= floats.hi
    with pytest.raises(MdpkitError, match=r"^tier must be 'float' or 'ball' beyond 1600 entries; it is 'exact'"):
        matrix_game.solve(A, tier="exact")


def test_an_unreachable_gap_keeps_its_enclosure():
    A = np.random.default_rng(5).normal(size=(5, 5))
    value = rational_value(A)
    for tier in TIERS:
        with pytest.raises(NotCertified) as caught:       # the value of a Gaussian game is no float
            matrix_game.solve(A, 0.0, tier=tier)
        s = caught.value.solution
        assert Fraction(s.lo) <= value <= Fraction(s.hi) and s.width > 0
    assert matrix_game.solve([[0.25]], 0.0, tier="exact").width == 0


def test_the_record_of_a_game():
    s = matrix_game.solve(MarkovGame.matrix([[1.0, -1.0], [-1.0, 1.0]]))
    assert repr(s).startswith("GameSolution(float, linear program: value 0, gap ")
    assert s.width == s.hi - s.lo
    for part in (s.x, s.y, s.rows, s.columns):
        with pytest.raises(ValueError, match="read-only"):
            part[0] = 0


BAD = {
    "nan": (lambda: matrix_game.solve([[0.0, np.nan]]), r"^payoff\[0, 1\] must be finite; it is nan$"),
    "inf": (lambda: matrix_game.solve([[0.0], [np.inf]], tier="exact"), r"^payoff\[1, 0\] must be finite; it is inf$"),
    "a vector": (lambda: matrix_game.solve([1.0, 2.0]), r"^payoff must be of shape \(m, n\); its shape is \(2,\)$"),
    "a scalar": (lambda: matrix_game.solve(3.0), r"^payoff must be of shape \(m, n\); its shape is \(\)$"),
    "empty": (lambda: matrix_game.solve(np.zeros((0, 2))), r"^payoff must be non-empty along axis 0"),
    "text": (lambda: matrix_game.solve([["a"]]), r"^payoff must be an array of real numbers"),
    "ragged": (lambda: matrix_game.solve([[1.0], [1.0, 2.0]]), r"^payoff must be an array of numbers"),
    "beyond 1e300": (lambda: matrix_game.solve([[1e301]]), r"^payoff must be below 1e300 in size; it is 1e\+301$"),
    "not zero-sum": (lambda: matrix_game.solve(games.prisoners_dilemma()), r"^payoff must be a zero-sum game"),
    "two steps": (lambda: matrix_game.solve(games.inspection_game(2, 1)), r"^payoff must be .* one state and one step"),
    "tol below 0": (lambda: matrix_game.solve([[1.0]], -1.0), r"^tol must be in \[0, inf\]; it is -1"),
    "tol nan": (lambda: matrix_game.solve([[1.0]], np.nan), r"^tol must be finite; it is nan"),
    "tol an array": (lambda: matrix_game.solve([[1.0]], np.ones(2)), r"^tol must be a real number"),
    "tol text": (lambda: matrix_game.solve([[1.0]], "small"), r"^tol must be a real number; it is 'small'"),
    "tier unknown": (lambda: matrix_game.solve([[1.0]], tier="proof"), r"^tier must be one of 'float', 'ball'"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_refused(name):
    thunk, message = BAD[name]
    with pytest.raises(MdpkitError, match=message):
        thunk()


@pytest.mark.parametrize("size", [1e-9, 1e-3, 0.3])
def test_a_related_game_starts_from_the_last_one(size):
    """Along a path of games: the values of cold starts, and no pivot where the supports stay."""
    rng, pivots = np.random.default_rng(8), []
    A = rng.normal(size=(12, 9))
    last = matrix_game.solve(A)
    for _ in range(40):
        A = A + size * rng.normal(size=A.shape)
        cold, last = matrix_game.solve(A), matrix_game.solve(A, start=last)
        assert last.lo <= cold.hi and cold.lo <= last.hi and last.width < 1e-9 * np.abs(A).max()
        assert last.iterations in (0, cold.iterations)
        pivots.append(last.iterations)
    assert (max(pivots) == 0) == (size < 0.1)


def test_a_start_that_does_not_fit_is_refused_or_of_no_use():
    game = matrix_game.solve([[1.0, -1.0], [-1.0, 1.0]])
    other = matrix_game.solve([[1.0, 3.0], [2.0, 5.0]], start=game)
    assert other.value == pytest.approx(2.0, abs=1e-9) and other.iterations > 0
    with pytest.raises(MdpkitError, match=r"start\.x must"):
        matrix_game.solve(np.eye(3), start=game)
    with pytest.raises(MdpkitError, match="start must be a GameSolution"):
        matrix_game.solve(np.eye(2), start=0.5)
    with pytest.raises(MdpkitError, match="tier must be"):
        matrix_game.solve(np.eye(2), tier="exact", start=game)
