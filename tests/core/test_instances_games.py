"""Known answers of the named games and preference models."""

import math

import numpy as np
import pytest
from core.plain_planning import EXACT, PRINTED, ROUND, close, game_value
from scipy.optimize import linprog

from mdpkit.errors import MdpkitError
from mdpkit.instances import games, preferences


def is_nash(game, *sides):
    """Whether no player of a matrix game gains by deviating from independent play."""
    for i, table in enumerate(game.r[:, 0, 0]):
        u = table
        for j in range(game.n - 1, -1, -1):
            u = np.moveaxis(u, j, -1) @ sides[j] if j != i else u
        if u.max() > u @ sides[i] + EXACT:
            return False
    return True


# games -------------------------------------------------------------------------------------------------------------

def test_symmetric_zero_sum_games():
    third = np.full(3, 1 / 3)
    assert is_nash(games.matching_pennies(), np.full(2, 0.5), np.full(2, 0.5))
    assert is_nash(games.rock_paper_scissors(), third, third)
    assert not is_nash(games.rock_paper_scissors(), np.array([0.5, 0.25, 0.25]), third)
    for g in (games.matching_pennies(), games.rock_paper_scissors()):
        assert g.is_zero_sum
        close(game_value(g.r[0, 0, 0]), 0.0)


@pytest.mark.parametrize("wins", [(1.0, 1.0, 1.0), (2.0, 1.0, 0.5), (1.0, 3.0, 7.0)])
def test_biased_rps(wins):
    g, x = games.biased_rps(*wins), games.biased_rps_equilibrium(*wins)
    assert is_nash(g, x, x)
    null = np.linalg.svd(g.r[0, 0, 0])                            # rank 2 and full support: the only equilibrium
    assert null.S[1] > 0.1 and (x > 0).all()                      # the smallest gap of these three is 1.1
    close(np.abs(null.Vh[2]) / np.abs(null.Vh[2]).sum(), x)


def test_dilemma_chicken_and_shapley():
    g = games.prisoners_dilemma()
    assert is_nash(g, np.eye(2)[1], np.eye(2)[1]) and (g.r[0, 0, 0, 1] > g.r[0, 0, 0, 0]).all()
    g, mixed = games.chicken(), np.array([1 / 3, 2 / 3])
    assert is_nash(g, np.eye(2)[0], np.eye(2)[1]) and is_nash(g, mixed, mixed)
    close(mixed @ g.r[0, 0, 0] @ mixed, 14 / 3)
    g, third = games.shapley_game(), np.full(3, 1 / 3)
    assert is_nash(g, third, third) and not g.is_zero_sum
    close([third @ t @ third for t in g.r[:, 0, 0]], [1 / 3, 1 / 3])
    paying = (g.r[:, 0, 0].sum(0) > 0) / 6
    assert deviations(g, paying).max() <= EXACT
    close((g.r[:, 0, 0] * paying).sum((1, 2)), [0.5, 0.5])


def deviations(g, law):
    """Gains (2, A, A) from following "play b when told a" under a joint law."""
    rows, cols = g.r[:, 0, 0]
    return np.stack([law @ rows.T - (law * rows).sum(1)[:, None], law.T @ cols - (law * cols).sum(0)[:, None]])


def test_chickens_best_correlated_equilibrium():
    g = games.chicken()
    signals = np.eye(4).reshape(4, 2, 2)
    A = np.stack([deviations(g, s).ravel() for s in signals], axis=1)
    out = linprog(-g.r[:, 0, 0].sum(0).ravel(), A_ub=A, b_ub=np.zeros(len(A)), A_eq=np.ones((1, 4)), b_eq=[1.0])
    close(-out.fun, 21 / 2, ROUND)
    for law, payoff in (([0, 1 / 3, 1 / 3, 1 / 3], 5.0), ([0, 0.25, 0.25, 0.5], 21 / 4)):
        law = np.reshape(law, (2, 2))
        assert deviations(g, law).max() <= EXACT
        close((g.r[:, 0, 0] * law).sum((1, 2)), [payoff, payoff])


@pytest.mark.parametrize("n, m", [(1, 0), (1, 1), (2, 1), (4, 2), (5, 1), (3, 4)])
def test_inspection_game(n, m):
    g = games.inspection_game(n, m)
    assert g.is_zero_sum and m + 2 == g.S
    V = np.zeros(g.S)
    for h in range(n - 1, -1, -1):
        V = np.array([game_value(g.r[0, h, s] + g.P[h, s] @ V) for s in range(g.S)])
        close(V[:-1], [games.inspection_value(n - h, k) for k in range(m + 1)], ROUND)
    close(g.rho @ V, games.inspection_value(n, m), ROUND)


# preferences -------------------------------------------------------------------------------------------------------

def wins(model, pi):
    """Least chance that ``pi`` is preferred to a response."""
    return (pi @ model.p[0]).min()


@pytest.mark.parametrize("Y", [1, 3, 5])
@pytest.mark.parametrize("strength", [0.0, 0.5, 1.0])
def test_condorcet_cycle(Y, strength):
    m = preferences.condorcet_cycle(Y, strength)
    close(wins(m, np.full(Y, 1 / Y)), 0.5)
    beaten = (m.p[0] == (1 + strength) / 2).sum(1)
    assert strength == 0 or (beaten == Y // 2).all()


def test_an_even_cycle_is_refused():
    with pytest.raises(MdpkitError, match="Y must be odd"):
        preferences.condorcet_cycle(4)


@pytest.mark.parametrize("margins", [(0.4, 0.3, 0.3), (0.5, 0.25, 0.125)])
def test_weighted_cycle(margins):
    m, w = preferences.weighted_cycle(*margins), preferences.weighted_cycle_winner(*margins)
    close(w @ m.p[0], np.full(3, 0.5))
    if margins == (0.4, 0.3, 0.3):
        close(m.p[0], [[0.5, 0.9, 0.2], [0.1, 0.5, 0.8], [0.8, 0.2, 0.5]])


def test_dominated_cycle():
    m, w = preferences.dominated_cycle(), np.array(preferences.DOMINATED_WINNER)
    close(w @ m.p[0, :, :3], np.full(3, 0.5))
    assert w @ m.p[0, :, 3] > 0.5 and abs(w.sum() - 1.0) <= EXACT


def test_ladder():
    m = preferences.bradley_terry_ladder(4, 0.5, beta=0.25)
    close(wins(m, np.eye(4)[3]), 0.5)
    tilted = m.pi_ref[0] * np.exp(m.reward[0] / 0.25)
    close(preferences.ladder_policy(4, 0.5, 0.25), tilted / tilted.sum())
    q = math.exp(2.0)
    close(preferences.ladder_policy(4, 0.5, 0.25), q ** np.arange(4) * (q - 1) / (q**4 - 1))
    assert np.isfinite(preferences.ladder_policy(9, 1e3, 1e-3)).all()
    close(m.p[0, 3, 1], 1 / (1 + math.exp(-1.0)))


def test_two_prompts():
    m = preferences.two_prompts()
    tilted = m.pi_ref * np.exp(m.reward / m.beta)
    close(tilted / tilted.sum(1, keepdims=True),
          [[0.1399497911388, 0.2853172306119, 0.5170484288791, 0.0576845493701],
           [0.2444638153659, 0.2965495984195, 0.0992537390809, 0.3597328471337]], PRINTED)
    close(m.rho @ (m.beta * np.log(tilted.sum(1))), 0.5362748235517, PRINTED)
    close((m.rho[:, None] * m.pi_ref * m.reward).sum(), 0.405)


def test_flipped_labels_keep_the_winner():
    m = preferences.weighted_cycle(0.4, 0.3, 0.3)
    w = preferences.weighted_cycle_winner(0.4, 0.3, 0.3)
    for epsilon in (0.0, 0.25, 0.5):
        f = preferences.flipped(m, epsilon)
        close(f.p - 0.5, (1 - 2 * epsilon) * (m.p - 0.5))
        close(w @ f.p[0], np.full(3, 0.5))
    assert preferences.flipped(preferences.bradley_terry_ladder(3), 0.1).reward is None
    with pytest.raises(MdpkitError, match="epsilon"):
        preferences.flipped(m, 0.6)
