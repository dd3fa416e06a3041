"""Correlated equilibria: known ones, the definition in rationals, and the two solvers against one another."""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdpkit.errors import MdpkitError, NotCertified
from mdpkit.instances import games
from mdpkit.octets import octets
from mdpkit.solve import correlated, matrix_game

EXACT, ROUND, SOLVER = 1e-12, 1e-9, 1e-6
RNG = np.random.default_rng(11)
RANDOM = [RNG.random((len(sizes), *sizes)) for sizes in [(2, 2), (3, 3), (2, 3), (4, 2), (2, 2, 2), (3, 2, 2)] * 2]
TIED = [RNG.integers(0, 3, (len(sizes), *sizes)).astype(float) for sizes in [(2, 2), (3, 3), (2, 2, 2), (1, 4)] * 3]


def largest_gain(Q, sigma, kind):
    """The definition, in rationals, over all deviations."""
    best = Fraction(0)
    for i in range(len(Q)):
        A = Q.shape[1 + i]
        changes = itertools.product(range(A), repeat=A) if kind == "correlated" else ((b,) * A for b in range(A))
        for change in changes:
            total = Fraction(0)
            for joint in np.ndindex(*sigma.shape):
                moved = (*joint[:i], change[joint[i]], *joint[i + 1:])
                total += Fraction(sigma[joint]) * (Fraction(Q[(i, *moved)]) - Fraction(Q[(i, *joint)]))
            best = max(best, total)
    return best


@pytest.mark.parametrize("kind", correlated.KINDS)
@pytest.mark.parametrize("Q", RANDOM + TIED, ids=lambda Q: "x".join(map(str, Q.shape[1:])))
def test_the_gap_bounds_every_deviation(Q, kind):
    out = correlated.solve(Q, kind=kind)
    assert sum(Fraction(p) for p in out.sigma.ravel()) == 1 and (out.sigma >= 0).all()
    true = largest_gain(Q, out.sigma, kind)
    players = len(Q) if kind == "coarse" else sum(Q.shape[1:])      # a change of all recommendations adds theirs up
    assert true <= Fraction(out.gap) * players and out.gap <= ROUND * np.abs(Q).max()
    np.testing.assert_allclose(out.values, [(q * out.sigma).sum() for q in Q], rtol=0, atol=EXACT)
    assert out.objective <= out.ceiling <= out.objective + SOLVER


@pytest.mark.parametrize("kind", correlated.KINDS)
@pytest.mark.parametrize("Q", RANDOM + TIED, ids=lambda Q: "x".join(map(str, Q.shape[1:])))
def test_the_kernel_finds_the_same_sum(Q, kind):
    out, sigma = correlated.solve(Q, kind=kind), np.full(Q[0].size, np.nan)
    gain = correlated.equilibrium(Q.reshape(len(Q), -1), np.array(Q.shape[1:]), kind == "correlated", sigma)
    assert (sigma >= 0).all() and sigma.sum() == pytest.approx(1.0, abs=EXACT)
    assert gain <= ROUND
    assert largest_gain(Q, sigma.reshape(Q.shape[1:]), kind) <= Fraction(ROUND)
    assert float(Q.reshape(len(Q), -1).sum(0) @ sigma) == pytest.approx(out.objective, abs=SOLVER)


def test_gains_that_are_tiny_but_not_zero():
    """Differences of 1e-13 to 1e-4 among payoffs: the pivots that they need blow up rounding, by up to 1e7 or so."""
    rng = np.random.default_rng(5)
    for _ in range(3000):
        sizes = rng.integers(1, 4, rng.integers(2, 4))
        J = int(np.prod(sizes))
        tiny = 10.0 ** rng.integers(-13, -3)
        Q = rng.integers(0, 7, (len(sizes), J)) / 6 + tiny * rng.integers(0, 5, (len(sizes), J))
        sigma = np.zeros(J)
        for fine in (False, True):
            assert correlated.equilibrium(Q, sizes, fine, sigma) <= SOLVER / 10


def test_chicken():
    out = correlated.solve(games.chicken(), kind="correlated")
    np.testing.assert_allclose(out.sigma, [[0.0, 0.25], [0.25, 0.5]], rtol=0, atol=ROUND)
    np.testing.assert_allclose(out.values, [5.25, 5.25], rtol=0, atol=ROUND)


def test_dominance_leaves_one_law():
    for kind in correlated.KINDS:
        out = correlated.solve(games.prisoners_dilemma(), kind=kind)
        np.testing.assert_allclose(out.sigma, [[0, 0], [0, 1]], rtol=0, atol=ROUND)


def test_zero_sum_values_are_unique():
    payoff = np.random.default_rng(3).random((4, 3))
    value = matrix_game.solve(payoff).value
    for kind in correlated.KINDS:
        np.testing.assert_allclose(correlated.solve(np.stack([payoff, -payoff]), kind=kind).values, [value, -value],
                                   rtol=0, atol=SOLVER)


def test_weights_move_the_choice():
    rows = correlated.solve(games.chicken(), kind="correlated", weights=[1.0, 0.0])
    columns = correlated.solve(games.chicken(), kind="correlated", weights=[0.0, 1.0])
    np.testing.assert_allclose([rows.values, columns.values], [[7, 2], [2, 7]], rtol=0, atol=ROUND)


def test_one_player_takes_the_best():
    out = correlated.solve([[0.25, 1.0, 0.5]])
    np.testing.assert_array_equal(out.sigma, [0, 1, 0])
    assert "coarse" in repr(out)


def test_a_gap_of_zero_cannot_be_proven_in_floats():
    with pytest.raises(NotCertified) as caught:
        correlated.solve(RANDOM[0], tol=0.0)
    assert caught.value.solution.gap == caught.value.solution.width > 0.0


BAD = {
    "kind": (lambda: correlated.solve(RANDOM[0], kind="nash"), "kind must be"),
    "axes": (lambda: correlated.solve(np.zeros((3, 2, 2))), "with n = 2"),
    "ragged": (lambda: correlated.solve([[[1.0], [1.0, 2.0]]] * 2), "payoffs must be"),
    "states": (lambda: correlated.solve(games.inspection_game(2, 1)), "one state"),
    "weights": (lambda: correlated.solve(RANDOM[0], weights=[-1.0, 1.0]), "weights"),
    "huge": (lambda: correlated.solve(np.full((2, 2, 2), 1e301)), "1e300"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input(name):
    call, message = BAD[name]
    with pytest.raises(MdpkitError, match=message):
        call()


@pytest.mark.parametrize("kind", ["coarse", "correlated"])
@given(data=st.data())
@settings(max_examples=25)
def test_the_exact_tier_is_an_equilibrium_in_rationals_and_the_best(kind, data):
    shape = tuple(data.draw(st.integers(1, 3)) for _ in range(2))
    u = octets(data.draw, 2, *shape) % 9 / 4
    found = correlated.solve(u, kind=kind, tier="exact")
    law = np.array(found.exact, object).reshape(shape)
    assert law.sum() == 1 and min(found.exact) >= 0
    for i in range(2):
        mine, mass = (np.moveaxis(x, i, 0) for x in (np.vectorize(Fraction)(u[i]) if u[i].size else u[i], law))
        told = [sum((mass[a] * (mine[b] - mine[a])).ravel()) for a in range(len(mine)) for b in range(len(mine))]
        always = [sum((mass * (mine[b] - mine)).ravel()) for b in range(len(mine))]
        assert max(told if kind == "correlated" else always, default=0) <= 0
    rough = correlated.solve(u, kind=kind)
    best = sum(Fraction(float(x)) * p for x, p in zip(u.sum(0).ravel(), found.exact))
    assert rough.objective - 1e-7 <= best <= rough.ceiling and best <= found.ceiling <= float(best) + 1e-9


def test_the_exact_tier_refuses_large_games():
    with pytest.raises(MdpkitError, match="exact"):
        correlated.solve(np.zeros((2, 20, 20)), tier="exact")
