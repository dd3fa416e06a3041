"""Zero-sum Markov games: enclosures against sweeps, against MDPs where one player has no choice, and known values."""

import numpy as np
import pytest

from mdpkit.errors import MdpkitError, NotCertified
from mdpkit.models.games import MarkovGame
from mdpkit.models.tabular import EpisodicMDP, TabularMDP
from mdpkit.solve import discounted, episodic, markov_game, matrix_game

NEAR = 1e-7


def game(seed, S=4, A=3, B=2):
    rng = np.random.default_rng(seed)
    return rng.dirichlet(np.ones(S), (S, A, B)), rng.normal(size=(S, A, B))


def swept(P, r, gamma, n):
    v = np.zeros(len(r))
    for _ in range(n):
        v = np.array([matrix_game.solve(Q).value for Q in r + gamma * P @ v])
    return v


@pytest.mark.parametrize("seed", range(8))
def test_against_sweeps(seed):
    P, r = game(seed)
    s = markov_game.solve_discounted(P, r, 0.7)
    v = swept(P, r, 0.7, 60)
    assert s.width <= 1e-8 * np.abs(r).max() / 0.3 and (s.lo - NEAR <= v).all() and (v <= s.hi + NEAR).all()


@pytest.mark.parametrize("seed", range(6))
def test_strategies_guarantee_the_value(seed):
    """Against each strategy the other's best answer, an MDP, gives no more."""
    P, r = game(50 + seed)
    s = markov_game.solve_discounted(P, r, 0.9)
    S = len(r)
    rho = np.full(S, 1 / S)
    against_x = TabularMDP(np.einsum("sa,sabt->sbt", s.x, P), -np.einsum("sa,sab->sb", s.x, r), 0.9, rho, flush=True)
    against_y = TabularMDP(np.einsum("sb,sabt->sat", s.y, P), np.einsum("sb,sab->sa", s.y, r), 0.9, rho, flush=True)
    np.testing.assert_allclose(-discounted.solve(against_x).value, s.value, rtol=0, atol=1e-5)
    np.testing.assert_allclose(discounted.solve(against_y).value, s.value, rtol=0, atol=1e-5)


@pytest.mark.parametrize("player", [0, 1])
def test_turns_without_choice_are_an_mdp(player):
    P, r = game(3, 6, 4 if player == 0 else 1, 1 if player == 0 else 4)
    s = markov_game.solve_discounted(P, r, 0.95)
    sign = 1 if player == 0 else -1
    mdp = discounted.solve(TabularMDP(P.reshape(6, 4, 6), sign * r.reshape(6, 4), 0.95, np.full(6, 1 / 6)))
    assert (s.lo <= sign * mdp.value + NEAR).all() and (sign * mdp.value <= s.hi + NEAR).all()


def test_known_values():
    """Matching pennies for ever is worth 0; paying 1 a step, 1/(1 - gamma) more."""
    pennies = np.array([[1.0, -1.0], [-1.0, 1.0]])
    P = np.ones((1, 2, 2, 1))
    for shift in (0.0, 1.0):
        s = markov_game.solve_discounted(P, pennies[None] + shift, 0.9)
        assert s.lo[0] <= 10 * shift <= s.hi[0] and s.width < NEAR
        np.testing.assert_allclose(s.x[0], 0.5, atol=NEAR)


@pytest.mark.parametrize("seed", range(5))
def test_episodic_games(seed):
    rng = np.random.default_rng(seed)
    H, S = 4, 3
    P, r = rng.dirichlet(np.ones(S), (H, S, 2, 3)), rng.normal(size=(H, S, 2, 3))
    s = markov_game.solve(MarkovGame(P, np.stack([r, -r]), np.full(S, 1 / S)))
    v = np.zeros(S)
    for h in range(H - 1, -1, -1):
        v = np.array([matrix_game.solve(Q).value for Q in r[h] + P[h] @ v])
        assert (s.lo[h] - NEAR <= v).all() and (v <= s.hi[h] + NEAR).all()
    assert s.width < NEAR and s.x.shape == (H, S, 2)


def test_episodic_turns_are_backward_induction():
    rng = np.random.default_rng(9)
    P, r = rng.dirichlet(np.ones(3), (4, 3, 2)), rng.random((4, 3, 2))
    s = markov_game.solve(MarkovGame(P[:, :, :, None], np.stack([r, -r])[..., None], np.full(3, 1 / 3)))
    best = episodic.solve(EpisodicMDP(P, r, np.full(3, 1 / 3)))
    assert (s.lo <= best.hi).all() and (best.lo <= s.hi).all()


@pytest.mark.parametrize(("call", "message"), [
    (lambda: markov_game.solve_discounted(*game(0), 1.0), "gamma"),
    (lambda: markov_game.solve_discounted(game(0)[0], np.zeros((4, 3)), 0.5), "r must"),
    (lambda: markov_game.solve_discounted(2 * game(0)[0], game(0)[1], 0.5), "P"),
    (lambda: markov_game.solve(MarkovGame.matrix([[1.0]], [[1.0]])), "whose rewards cancel"),
])
def test_bad_input(call, message):
    with pytest.raises(MdpkitError, match=message):
        call()


def test_what_cannot_be_proven_is_said():
    with pytest.raises(NotCertified) as e:
        markov_game.solve_discounted(*game(0), 0.9, 1e-300)
    assert e.value.solution.width < NEAR
