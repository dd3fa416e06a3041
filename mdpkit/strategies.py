"""Hypothesis strategies for every model: small exact worlds that shrink to one state, one action and zero rewards.

Probability rows are drawn as integer weights and normalised (an all-zero row is the point mass on the first entry),
rewards as integers over a power of two, so that a counterexample prints short and shrinking is monotone: fewer
states, then fewer actions, then smaller integers. Works under any test runner.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import hypothesis.strategies as st
import numpy as np
from hypothesis.extra.numpy import arrays

from mdpkit import validate
from mdpkit.errors import MdpkitError
from mdpkit.instances.garnet import dyadic_rows
from mdpkit.models.bandits import Bandit, ContextualBandit, LinearBandit
from mdpkit.models.games import MarkovGame
from mdpkit.models.latent import LatentMDP, RichMDP
from mdpkit.models.linear import LinearMDP, LinearMixtureMDP
from mdpkit.models.preferences import PreferenceModel
from mdpkit.models.tabular import EpisodicMDP, TabularMDP
from mdpkit.models.tokens import TokenModel

WEIGHT = 8          # largest integer weight of a probability
STEPS = 16          # rewards are k / STEPS of their scale, k an integer
GAMMAS = (0.5, 0.9, 0.99)
BETAS = (1.0, 0.5, 0.125)
FAULTS = ("axes", "length", "empty", "ragged", "text", "complex", "nan", "inf", "negative", "sum")

Draw = Callable[[st.SearchStrategy], Any]


class Malformed(NamedTuple):
    """An argument that must be refused, and why."""

    fault: str
    value: Any


def simplex_rows(n: int, k: int) -> st.SearchStrategy[np.ndarray]:
    """Probability rows (n, k)."""
    return _integers((validate.count("n", n), validate.count("k", k)), 0, WEIGHT).map(_normalise)


@st.composite
def tabular_mdps(draw: Draw, *, max_states: int = 4, max_actions: int = 3, gammas: Sequence[float] = GAMMAS,
                 reward_scale: float = 1.0) -> TabularMDP:
    """Discounted MDPs with rewards in [0, reward_scale] and a discount from ``gammas``, shrinking towards the first."""
    S, A = draw(_size(max_states)), draw(_size(max_actions))
    return TabularMDP(draw(_law(S, A, S)), draw(_rewards(reward_scale, S, A)), draw(st.sampled_from(list(gammas))),
                      draw(_law(S)))


@st.composite
def episodic_mdps(draw: Draw, *, max_states: int = 4, max_actions: int = 3, max_horizon: int = 3,
                  reward_scale: float = 1.0) -> EpisodicMDP:
    """Episodic MDPs, kernel and rewards drawn anew at each step; rewards in [0, reward_scale]."""
    S, A, H = draw(_size(max_states)), draw(_size(max_actions)), draw(_size(max_horizon))
    return EpisodicMDP(draw(_law(H, S, A, S)), draw(_rewards(reward_scale, H, S, A)), draw(_law(S)))


@st.composite
def linear_mdps(draw: Draw, *, max_states: int = 4, max_actions: int = 3, max_features: int = 3, max_horizon: int = 3,
                reward_scale: float = 1.0) -> LinearMDP:
    """Linear MDPs with phi and mu on simplices, multiples of 2**-26: P = phi mu exactly, ``misfit`` is 0."""
    S, A, H = draw(_size(max_states)), draw(_size(max_actions)), draw(_size(max_horizon))
    d = draw(_size(max_features))
    return LinearMDP(dyadic_rows(draw(_law(S, A, d))), dyadic_rows(draw(_law(H, d, S))),
                     draw(_rewards(reward_scale, H, d)), draw(_law(S)))


@st.composite
def linear_mixture_mdps(draw: Draw, *, max_states: int = 4, max_actions: int = 3, max_features: int = 3,
                        max_horizon: int = 3, reward_scale: float = 1.0) -> LinearMixtureMDP:
    """Mixtures of up to ``max_features`` kernels, exact as in `linear_mdps`."""
    S, A, H = draw(_size(max_states)), draw(_size(max_actions)), draw(_size(max_horizon))
    d = draw(_size(max_features))
    return LinearMixtureMDP(dyadic_rows(draw(_law(d, S, A, S))), dyadic_rows(draw(_law(H, d))),
                            draw(_rewards(reward_scale, H, S, A)), draw(_law(S)))


@st.composite
def latent_mdps(draw: Draw, *, max_contexts: int = 3, max_states: int = 3, max_actions: int = 2, max_horizon: int = 3,
                reward_scale: float = 1.0) -> LatentMDP:
    """Latent MDPs with up to ``max_contexts`` contexts."""
    S, A, H = draw(_size(max_states)), draw(_size(max_actions)), draw(_size(max_horizon))
    M = draw(_size(max_contexts))
    return LatentMDP(draw(_law(M)), draw(_law(M, S)), draw(_law(M, S, A, S)), draw(_rewards(reward_scale, M, S, A)), H)


@st.composite
def rich_mdps(draw: Draw, *, max_states: int = 3, max_actions: int = 2, max_horizon: int = 3,
              max_observations: int = 5, block: bool = True, reward_scale: float = 1.0) -> RichMDP:
    """Rich-observation MDPs; ``block`` gives each observation one state and each state one, else emissions overlap."""
    S, A, H = draw(_size(min(max_states, max_observations))), draw(_size(max_actions)), draw(_size(max_horizon))
    X = draw(st.integers(S, max_observations) if block else _size(max_observations))
    q = draw(_integers((S, X), 0, WEIGHT))
    if block:
        owner = draw(arrays(np.int64, X - S, elements=st.integers(0, S - 1), fill=st.nothing()))
        q = (q + 1) * (np.append(np.arange(S), owner) == np.arange(S)[:, None])
    return RichMDP(draw(_law(H, S, A, S)), draw(_rewards(reward_scale, H, S, A)), draw(_law(S)), _normalise(q))


@st.composite
def bandits(draw: Draw, *, max_actions: int = 4, noise: str = "bernoulli", reward_scale: float = 1.0) -> Bandit:
    """Bandits with means in [0, reward_scale]."""
    return Bandit(draw(_rewards(reward_scale, draw(_size(max_actions)))), noise)


@st.composite
def linear_bandits(draw: Draw, *, max_actions: int = 4, max_features: int = 3,
                   reward_scale: float = 1.0) -> LinearBandit:
    """Gaussian linear bandits with arms and theta in the cubes [-1, 1]^d and [-reward_scale, reward_scale]^d."""
    A, d = draw(_size(max_actions)), draw(_size(max_features))
    x, theta = draw(_integers((A, d), -STEPS, STEPS)), draw(_integers((d,), -STEPS, STEPS))
    return LinearBandit(x / STEPS, theta / STEPS * reward_scale)


@st.composite
def contextual_bandits(draw: Draw, *, max_contexts: int = 3, max_actions: int = 3, noise: str = "bernoulli",
                       reward_scale: float = 1.0) -> ContextualBandit:
    """Contextual bandits with means in [0, reward_scale]."""
    X, A = draw(_size(max_contexts)), draw(_size(max_actions))
    return ContextualBandit(draw(_law(X)), draw(_rewards(reward_scale, X, A)), noise)


@st.composite
def markov_games(draw: Draw, *, max_states: int = 3, max_actions: int = 2, max_horizon: int = 2, players: int = 2,
                 zero_sum: bool = True, reward_scale: float = 1.0) -> MarkovGame:
    """Markov games with rewards in [-reward_scale, reward_scale]; two players if ``zero_sum``."""
    _check_players(players, zero_sum)
    S, H = draw(_size(max_states)), draw(_size(max_horizon))
    A = tuple(draw(_size(max_actions)) for _ in range(players))
    r = draw(_integers((1 if zero_sum else players, H, S, *A), -STEPS, STEPS)) / STEPS * reward_scale
    return MarkovGame(draw(_law(H, S, *A, S)), np.concatenate([r, -r]) if zero_sum else r, draw(_law(S)))


@st.composite
def matrix_games(draw: Draw, *, max_actions: int = 4, players: int = 2, zero_sum: bool = True,
                 reward_scale: float = 1.0) -> MarkovGame:
    """One-state, one-step games with payoffs in [-reward_scale, reward_scale]."""
    _check_players(players, zero_sum)
    A = tuple(draw(_size(max_actions)) for _ in range(players))
    r = draw(_integers((1 if zero_sum else players, *A), -STEPS, STEPS)) / STEPS * reward_scale
    return MarkovGame.matrix(*r)


@st.composite
def preference_models(draw: Draw, *, max_prompts: int = 2, max_responses: int = 4, min_responses: int = 1,
                      bradley_terry: bool = False, betas: Sequence[float] = BETAS,
                      reward_scale: float = 4.0) -> PreferenceModel:
    """Preference models: ``bradley_terry`` from rewards in [0, reward_scale], else multiples of 1/16, 0 and 1 included.

    General preferences shrink towards 1/2.
    """
    X, Y = draw(_size(max_prompts)), draw(st.integers(min_responses, max_responses))
    margin, (high, low) = np.zeros((X, Y, Y)), np.tril_indices(Y, -1)
    # first and response by response: dropping the last one leaves the comparisons of the others in their places
    margin[:, low, high] = 0 if bradley_terry else draw(_integers((X, len(low)), -STEPS // 2, STEPS // 2))
    reward = draw(_rewards(reward_scale, X, Y)) if bradley_terry else None
    pi_ref = _normalise(draw(_integers((X, Y), 0, WEIGHT - 1)) + 1)
    rho, beta = draw(_law(X)), draw(st.sampled_from(list(betas)))
    if bradley_terry:
        return PreferenceModel.bradley_terry(reward, rho, pi_ref, beta)
    return PreferenceModel(0.5 + (margin - margin.transpose(0, 2, 1)) / STEPS, rho, pi_ref, beta)


@st.composite
def token_models(draw: Draw, *, max_prompts: int = 2, max_tokens: int = 2, max_horizon: int = 3,
                 betas: Sequence[float] = BETAS, reward_scale: float = 1.0) -> TokenModel:
    """Token models with full-support reference laws and response rewards in [0, reward_scale]."""
    X, V, H = draw(_size(max_prompts)), draw(_size(max_tokens)), draw(_size(max_horizon))
    nodes = sum(V**h for h in range(H))
    pi_ref = _normalise(draw(_integers((X, nodes, V), 0, WEIGHT - 1)) + 1)
    return TokenModel(draw(_rewards(reward_scale, X, V**H)), pi_ref, draw(_law(X)), draw(st.sampled_from(list(betas))))


def policies(model: Any, *, deterministic: bool = False) -> st.SearchStrategy[Any]:
    """Policies of a model as probabilities, in the shape in which it is played.

    =============================== ====================================================
    TabularMDP                      (S, A)
    episodic, linear, latent MDPs   (H, S, A)
    RichMDP                         (H, X, A), of the observation
    Bandit, LinearBandit            (A,)
    ContextualBandit                (X, A)
    PreferenceModel                 (X, Y)
    TokenModel                      (X, N, V)
    MarkovGame                      a tuple of (H, S, A_i), one a player
    =============================== ====================================================

    Shrinks towards always playing action 0.
    """
    if isinstance(model, MarkovGame):
        return st.tuples(*(_policy((model.H, model.S, A), deterministic) for A in model.A))
    return _policy(_policy_shape(model), deterministic)


def with_policies(models: st.SearchStrategy, n: int = 1, *, deterministic: bool = False) -> st.SearchStrategy[tuple]:
    """Tuples (model, policy, ..) of a model and n policies of it."""
    n = validate.count("n", n)
    return models.flatmap(lambda m: st.tuples(st.just(m), *(policies(m, deterministic=deterministic),) * n))


@st.composite
def malformed_arrays(draw: Draw, shape: Sequence[int], faults: Sequence[str] = FAULTS) -> Malformed:
    """What an argument of this shape must refuse: each fault of `FAULTS` on rows that are fine otherwise.

    Parameters
    ----------
    shape : sequence of int
        Shape of a good value, whose last axis holds probability rows if "negative" and "sum" are among the faults.
    faults : sequence of str
        ``axes`` one axis too many; ``length`` the last axis one longer; ``empty`` an axis of length 0; ``ragged``
        rows of unequal length; ``text``, ``complex``, ``nan``, ``inf``; ``negative`` an entry below 0 in a row that
        sums to 1 where it has two entries; ``sum`` a row that sums to something else than 1. Leave out what the
        argument may be: rewards can be negative, and "length" is no fault where an axis is free.
    """
    shape = tuple(validate.count("shape", n) for n in shape)
    fault = validate.choice("faults", draw(st.sampled_from(list(faults))), FAULTS)
    good = np.zeros(shape)
    good[..., 0] = 1.0
    at = tuple(draw(st.integers(0, n - 1)) for n in shape)
    return Malformed(fault, _spoil(draw, fault, good, at))


def _spoil(draw: Draw, fault: str, good: np.ndarray, at: tuple[int, ...]) -> Any:
    if fault == "axes":
        return good[None]
    if fault == "length":
        return np.concatenate([good, np.zeros((*good.shape[:-1], 1))], -1)
    if fault == "empty":
        axis = draw(st.integers(0, good.ndim - 1))
        return np.zeros([0 if k == axis else n for k, n in enumerate(good.shape)])
    if fault == "ragged":
        return [good.tolist(), [good.tolist()]]
    if fault in ("text", "complex"):
        return good.astype(str) if fault == "text" else good.astype(complex)
    bad = good.copy()
    if fault in ("nan", "inf"):
        bad[at] = np.nan if fault == "nan" else draw(st.sampled_from([np.inf, -np.inf]))
    elif fault == "negative":
        amount = draw(st.integers(1, STEPS)) / STEPS
        bad[at] = -amount
        bad[(*at[:-1], (at[-1] + 1) % good.shape[-1])] += 0.0 if good.shape[-1] == 1 else amount + good[at]
    else:
        bad[at] += draw(st.integers(1, STEPS)) / STEPS
    return bad


def _check_players(players: int, zero_sum: bool) -> None:
    if validate.count("players", players) != 2 and zero_sum:
        raise MdpkitError("players", "2 in a zero-sum game", players)


def _policy_shape(model: Any) -> tuple[int, ...]:
    if isinstance(model, TabularMDP | ContextualBandit):
        return model.r.shape
    if isinstance(model, EpisodicMDP | LinearMDP | LinearMixtureMDP | LatentMDP):
        return model.H, model.S, model.A
    if isinstance(model, RichMDP):
        return model.H, model.X, model.A
    if isinstance(model, Bandit | LinearBandit):
        return (model.A,)
    if isinstance(model, PreferenceModel | TokenModel):
        return model.pi_ref.shape
    raise MdpkitError("model", "one that policies play in", None, came=f"it is a {type(model).__name__}")


def _policy(shape: tuple[int, ...], deterministic: bool) -> st.SearchStrategy[np.ndarray]:
    if deterministic:
        return _integers(shape[:-1], 0, shape[-1] - 1).map(lambda a: np.eye(shape[-1])[a])
    return _law(*shape)


def _size(most: int) -> st.SearchStrategy[int]:
    return st.integers(1, validate.count("a size", most))


def _integers(shape: tuple[int, ...], lo: int, hi: int) -> st.SearchStrategy[np.ndarray]:
    # no fill: every entry is drawn by itself, else most rows would repeat one weight
    return arrays(np.int64, shape, elements=st.integers(lo, hi), fill=st.nothing())


def _law(*shape: int) -> st.SearchStrategy[np.ndarray]:
    return _integers(shape, 0, WEIGHT).map(_normalise)


def _rewards(scale: float, *shape: int) -> st.SearchStrategy[np.ndarray]:
    return _integers(shape, 0, STEPS).map(lambda k: k / STEPS * scale)


def _normalise(weights: np.ndarray) -> np.ndarray:
    total = weights.sum(-1, keepdims=True)
    first = np.eye(weights.shape[-1])[0]
    return np.where(total > 0, weights / np.maximum(total, 1), first)
