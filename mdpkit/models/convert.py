"""Conversions among models. Each is a function; none loses mass or moves a reward unless its docstring says so."""

from __future__ import annotations

from typing import Any

import numpy as np

from mdpkit import validate
from mdpkit.errors import MdpkitError
from mdpkit.models.bandits import Bandit, ContextualBandit, LinearBandit
from mdpkit.models.games import MarkovGame
from mdpkit.models.latent import LatentMDP, RichMDP
from mdpkit.models.linear import LinearMDP, LinearMixtureMDP
from mdpkit.models.preferences import PreferenceModel
from mdpkit.models.tabular import EpisodicMDP, TabularMDP, check_size
from mdpkit.models.tokens import TokenModel


def to_episodic(model: Any, H: int | None = None) -> EpisodicMDP:
    """The episodic MDP of a model that is one.

    =================== ==========================================================================
    EpisodicMDP         itself
    LinearMDP, mixtures the stored kernel and rewards
    RichMDP             states are observations; needs a block MDP
    TokenModel          states are prompt x prefix; the response's reward comes with the last token
    bandits             H = 1; one state, or a state for each context
    TabularMDP          needs ``H``: the first H steps, rewards of step h times gamma**h
    =================== ==========================================================================

    Raises
    ------
    MdpkitError
        The model is none of these, or ``H`` is missing or superfluous.
    """
    if isinstance(model, TabularMDP):
        if H is None:
            raise MdpkitError("H", "given to cut a discounted MDP", None)
        check_size("H", validate.count("H", H), H * model.S * model.A * model.S)
        discount = model.gamma ** np.arange(H)
        r = discount[:, None, None] * model.r
        return EpisodicMDP(np.broadcast_to(model.dense, (H, *model.dense.shape)), r, model.rho, model.noise)
    if H is not None:
        raise MdpkitError("H", "left out: the model has its own", H)
    if isinstance(model, EpisodicMDP):
        return model
    if isinstance(model, LinearMDP | LinearMixtureMDP):
        return EpisodicMDP(model.P, model.r, model.rho, model.noise)
    if isinstance(model, RichMDP):
        return _observed(model)
    if isinstance(model, TokenModel):
        return _prefix_tree(model)
    if isinstance(model, Bandit | LinearBandit):
        return EpisodicMDP(np.ones((1, 1, model.A, 1)), model.mu[None, None], np.ones(1), model.noise)
    if isinstance(model, ContextualBandit):
        P = np.broadcast_to(np.eye(model.X)[:, None], (1, model.X, model.A, model.X))
        return EpisodicMDP(P, model.r[None], model.rho, model.noise)
    raise MdpkitError("model", "one that is an episodic MDP", None, came=f"it is a {type(model).__name__}")


def one_hot(model: EpisodicMDP) -> LinearMDP:
    """The linear MDP with d = S*A one-hot features; exactly the same world."""
    validate.instance("model", model, EpisodicMDP)
    H, S, A = model.r.shape
    return LinearMDP(np.eye(S * A).reshape(S, A, S * A), model.P.reshape(H, S * A, S), model.r.reshape(H, S * A),
                     model.rho, model.noise)


def context(model: LatentMDP, m: int) -> EpisodicMDP:
    """The episodic MDP of context m of a latent MDP."""
    validate.instance("model", model, LatentMDP)
    m = validate.count("m", m, 0, model.M - 1)
    return EpisodicMDP.stationary(model.P[m], model.r[m], model.nu[m], model.H, model.noise)


def best_response_mdp(game: MarkovGame, player: int, others: Any) -> EpisodicMDP:
    """What one player of a two-player game faces when the other plays ``others`` (H, S, A_other)."""
    validate.instance("game", game, MarkovGame)
    if game.n != 2:
        raise MdpkitError("game", "a two-player game", None, came=f"it has {game.n} players")
    i = validate.count("player", player, 0, 1)
    mu = validate.policy("others", others, (game.H, game.S, game.A[1 - i]))
    if i == 0:
        P, r = np.einsum("hsabt,hsb->hsat", game.P, mu), np.einsum("hsab,hsb->hsa", game.r[0], mu)
    else:
        P, r = np.einsum("hsabt,hsa->hsbt", game.P, mu), np.einsum("hsab,hsa->hsb", game.r[1], mu)
    return EpisodicMDP(P, r, game.rho, game.noise, flush=True)      # a mixture of Bernoulli draws is one


def preference_game(model: PreferenceModel, x: int = 0) -> MarkovGame:
    """The symmetric zero-sum game of prompt x: payoff p[x, y, z] - 1/2 to the player of y."""
    validate.instance("model", model, PreferenceModel)
    return MarkovGame.matrix(model.p[validate.count("x", x, 0, model.X - 1)] - 0.5)


def response_preferences(model: TokenModel) -> PreferenceModel:
    """The Bradley-Terry model over whole responses of a token model."""
    validate.instance("model", model, TokenModel)
    return PreferenceModel.bradley_terry(model.reward, model.rho, model.response_law(), model.beta)


def _observed(model: RichMDP) -> EpisodicMDP:
    state = model.decoder()
    seen = np.maximum(state, 0)                    # an observation that never occurs behaves like those of state 0
    P = np.einsum("hsat,tx->hsax", model.P, model.q)[:, seen]
    return EpisodicMDP(P, model.r[:, seen], model.rho @ model.q, model.noise, flush=True)


def _prefix_tree(model: TokenModel) -> EpisodicMDP:
    X, N, V = model.pi_ref.shape
    S = X * (N + 1)                                # node N of a prompt: the answer is finished
    check_size("model", X * V**model.H, model.H * S * V * S)
    P, r = np.zeros((model.H, S, V, S)), np.zeros((model.H, S, V))
    node, token = np.arange(N), np.arange(V)
    child = np.minimum(node[:, None] * V + 1 + token, N)
    last = node >= model.first(model.H - 1)
    leaf = (node[last, None] - model.first(model.H - 1)) * V + token
    for x in range(X):
        s = x * (N + 1)
        P[:, s + node[:, None], token, s + child] = 1.0
        P[:, s + N, :, s + N] = 1.0
        r[model.H - 1, s + node[last, None], token] = model.reward[x][leaf]
    rho = np.zeros(S)
    rho[np.arange(X) * (N + 1)] = model.rho
    return EpisodicMDP(P, r, rho)
