"""Conversions between models, each against a definition."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from core.models_built import EXACT, A, H, S, bits_of, build, full, law, unit

from mdpkit.errors import MdpkitError
from mdpkit.models import convert
from mdpkit.models.latent import RichMDP
from mdpkit.models.tokens import TokenModel


def test_an_episodic_model_is_itself():
    model = build("episodic")
    assert convert.to_episodic(model) is model


def test_a_discounted_model_is_cut():
    for name in ("tabular", "tabular sparse"):
        model, cut = build(name), convert.to_episodic(build(name), 4)
        for h in range(4):
            assert (cut.P[h] == model.dense).all() and np.abs(cut.r[h] - model.gamma**h * model.r).max() <= EXACT
        assert cut.H == 4 and (cut.rho == model.rho).all() and cut.noise == model.noise


@pytest.mark.parametrize("name", ["linear", "mixture"])
def test_linear_models_keep_their_kernel(name):
    model = build(name)
    flat = convert.to_episodic(model)
    assert (flat.P == model.P).all() and (flat.r == model.r).all() and (flat.rho == model.rho).all()


def test_bandits_are_one_step():
    for name in ("bandit", "linear bandit"):
        model = build(name)
        flat = convert.to_episodic(model)
        assert (flat.r[0, 0] == model.mu).all() and (flat.P == 1).all() and flat.noise == model.noise
    model = build("contextual")
    flat = convert.to_episodic(model)
    assert (flat.r[0] == model.r).all() and (flat.rho == model.rho).all() and (flat.H, flat.S, flat.A) == (1, 3, A)


def test_one_hot_features_give_the_same_world():
    model = build("episodic")
    linear = convert.one_hot(model)
    assert linear.misfit == 0.0 and linear.d == S * A
    assert linear.P.tobytes() == model.P.tobytes() and (linear.r == model.r).all()
    assert linear.rho.tobytes() == model.rho.tobytes() and linear.noise == model.noise


def test_a_context_of_a_latent_model():
    model = build("latent")
    for m in range(2):
        one = convert.context(model, m)
        assert one.is_stationary and one.H == 5
        assert (one.P[0] == model.P[m]).all() and (one.r[0] == model.r[m]).all() and (one.rho == model.nu[m]).all()


def test_a_block_model_seen_through_its_observations():
    q = np.array([[0.25, 0.75, 0, 0, 0], [0, 0, 1.0, 0, 0], [0, 0, 0, 0.5, 0.5]])
    rich = RichMDP(law(0, 2, 3, 2, 3), unit(1, 2, 3, 2), law(2, 3), q)
    seen = convert.to_episodic(rich)
    state = [0, 0, 1, 2, 2]
    for h, x, a, y in itertools.product(range(2), range(5), range(2), range(5)):
        assert abs(seen.P[h, x, a, y] - rich.P[h, state[x], a, state[y]] * q[state[y], y]) <= EXACT
        assert seen.r[h, x, a] == rich.r[h, state[x], a]
    assert all(abs(seen.rho[x] - rich.rho[state[x]] * q[state[x], x]) <= EXACT for x in range(5))


def test_a_world_that_is_no_block_model_is_refused():
    with pytest.raises(MdpkitError, match="block MDP"):
        convert.to_episodic(build("rich"))


@pytest.mark.parametrize("player", [0, 1])
def test_the_world_of_a_best_response(player):
    game = build("game")
    mu = law(0, H, S, game.A[1 - player])
    mdp = convert.best_response_mdp(game, player, mu)
    assert mdp.r.shape == (H, S, game.A[player])
    for h, s, mine in itertools.product(range(H), range(S), range(mdp.A)):
        P, r = np.zeros(S), 0.0
        for theirs in range(game.A[1 - player]):
            joint = (mine, theirs) if player == 0 else (theirs, mine)
            P += mu[h, s, theirs] * game.P[(h, s, *joint)]
            r += mu[h, s, theirs] * game.r[(player, h, s, *joint)]
        assert np.abs(mdp.P[h, s, mine] - P).max() <= EXACT and abs(mdp.r[h, s, mine] - r) <= EXACT


def test_a_best_response_to_actions_is_one_to_the_law_that_takes_them():
    game, actions = build("game"), np.arange(H * S).reshape(H, S) % 3
    by_law = convert.best_response_mdp(game, 0, np.eye(3)[actions])
    assert bits_of(convert.best_response_mdp(game, 0, actions)) == bits_of(by_law)


def test_the_preference_game_pays_what_preference_exceeds_a_half():
    model = build("preferences")
    for x in range(2):
        game = convert.preference_game(model, x)
        assert (game.r[0, 0, 0] == model.p[x] - 0.5).all() and game.is_zero_sum
        assert np.abs(game.r[0, 0, 0] + game.r[0, 0, 0].T).max() <= EXACT, "symmetric"


def test_responses_of_a_token_model_are_compared_by_their_rewards():
    model = build("tokens")
    pairs = convert.response_preferences(model)
    assert (pairs.reward == model.reward).all() and pairs.beta == model.beta and pairs.Y == 8
    assert np.abs(pairs.pi_ref - model.response_law()).max() <= EXACT
    assert abs(pairs.p[1, 2, 5] - 1 / (1 + math.exp(model.reward[1, 5] - model.reward[1, 2]))) <= EXACT


@pytest.mark.parametrize(("V", "depth"), [(1, 2), (2, 3), (3, 2)])
def test_a_token_tree_ends_at_each_response_with_its_reward(V, depth):
    """The law and the reward of every trajectory, by following each response through the tree."""
    N = sum(V**h for h in range(depth))
    model = TokenModel(unit(0, 2, V**depth), full(1, 2, N, V), [0.25, 0.75], 1.0)
    tree = convert.to_episodic(model)
    assert tree.r.shape == (depth, 2 * (N + 1), V)
    for x, response in itertools.product(range(2), itertools.product(range(V), repeat=depth)):
        (s,) = (int(s) for s in np.flatnonzero(tree.rho) if s // (N + 1) == x)
        assert tree.rho[s] == model.rho[x]
        number, total, prob = 0, 0.0, 1.0
        for h, t in enumerate(response):
            assert np.count_nonzero(tree.P[h, s, t]) == 1, "no chance after the prompt"
            prob *= model.pi_ref[x, s % (N + 1), t]
            total, number = total + tree.r[h, s, t], V * number + t
            s = int(tree.P[h, s, t].argmax())
        assert total == model.reward[x, number]
        assert s == x * (N + 1) + N, "the answer is finished"
        assert abs(prob - model.response_law()[x, number]) <= EXACT
