"""Random worlds: Garnets, dense MDPs, linear and hidden models, bandits, games, preferences.

Every probability is a multiple of 2**-26, so that products of two of them (phi @ mu, mixtures) are exact and already
canonical; rows follow the uniform law on the simplex up to that rounding and have full support. Rewards are uniform
on [0, 1], multiples of 2**-26 too, unless said otherwise. The same generator state gives the same world.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp

from mdpkit import validate
from mdpkit.errors import MdpkitError
from mdpkit.models.bandits import Bandit, ContextualBandit, LinearBandit
from mdpkit.models.games import MarkovGame
from mdpkit.models.latent import LatentMDP, RichMDP
from mdpkit.models.linear import LinearMDP, LinearMixtureMDP
from mdpkit.models.preferences import PreferenceModel
from mdpkit.models.tabular import EpisodicMDP, TabularMDP

GRAIN = 2**26


def dyadic_rows(weights: Any) -> np.ndarray:
    """Probability rows along the last axis, near weights / sum, in multiples of 2**-26.

    An entry moves by at most n 2**-26, n the length of a row; positive entries stay positive, zeros stay zero.

    Parameters
    ----------
    weights : array (..., n)
        Finite and non-negative, at least one positive in each row.
    """
    w = np.asarray(weights, np.float64)
    if not np.isfinite(w).all() or (w < 0).any() or not (w > 0).any(-1).all():
        raise MdpkitError("weights", "finite and non-negative, with a positive entry in each row", weights)
    alive = w > 0
    share = w / w.sum(-1, keepdims=True) * (GRAIN - alive.sum(-1, keepdims=True))
    units = np.floor(share).astype(np.int64) + alive
    top = units.argmax(-1)[..., None]
    spare = GRAIN - units.sum(-1, keepdims=True)
    np.put_along_axis(units, top, np.take_along_axis(units, top, -1) + spare, -1)
    return units / GRAIN


def garnet(S: int, A: int, b: int, gamma: float, rng: np.random.Generator, *, sparse: bool = False) -> TabularMDP:
    """Garnet (Archibald, McKinnon and Thomas 1995): b distinct successors of each pair, drawn without replacement.

    Parameters
    ----------
    S, A : int
    b : int
        Branching, 1 <= b <= S.
    gamma : float in [0, 1)
    rng : numpy.random.Generator
    sparse : bool
        Store P as CSR; the same world either way.

    Returns
    -------
    TabularMDP
        Initial law uniform.
    """
    rng = _checked(rng, S=S, A=A)
    b = validate.count("b", b, 1, S)
    column = np.concatenate([rng.choice(S, b, replace=False) for _ in range(S * A)])
    P = sp.csr_array((_simplex((S * A, b), rng).ravel(), column, np.arange(0, S * A * b + 1, b)), shape=(S * A, S))
    r = _unit((S, A), rng)
    return TabularMDP(P if sparse else P.toarray().reshape(S, A, S), r, gamma, np.full(S, 1.0 / S))


def random_mdp(S: int, A: int, gamma: float, rng: np.random.Generator) -> TabularMDP:
    """Dense MDP with every law, the initial one included, uniform on its simplex."""
    rng = _checked(rng, S=S, A=A)
    return TabularMDP(_simplex((S, A, S), rng), _unit((S, A), rng), gamma, _simplex((S,), rng))


def random_episodic(S: int, A: int, H: int, rng: np.random.Generator) -> EpisodicMDP:
    """Dense episodic MDP, kernel and rewards drawn anew at each step."""
    rng = _checked(rng, S=S, A=A, H=H)
    return EpisodicMDP(_simplex((H, S, A, S), rng), _unit((H, S, A), rng), _simplex((S,), rng))


def random_linear(S: int, A: int, d: int, H: int, rng: np.random.Generator) -> LinearMDP:
    """Linear MDP with phi and mu on simplices and theta in [0, 1]: P = phi mu holds exactly, `misfit` is 0."""
    rng = _checked(rng, S=S, A=A, d=d, H=H)
    return LinearMDP(_simplex((S, A, d), rng), _simplex((H, d, S), rng), _unit((H, d), rng), _simplex((S,), rng))


def random_linear_mixture(S: int, A: int, d: int, H: int, rng: np.random.Generator) -> LinearMixtureMDP:
    """Mixture of d dense kernels with weights drawn anew at each step; P is the mixture exactly."""
    rng = _checked(rng, S=S, A=A, d=d, H=H)
    return LinearMixtureMDP(_simplex((d, S, A, S), rng), _simplex((H, d), rng), _unit((H, S, A), rng),
                            _simplex((S,), rng))


def random_latent(M: int, S: int, A: int, H: int, rng: np.random.Generator) -> LatentMDP:
    """M independent dense MDPs behind a hidden context; rewards in [0, 1/H], so that returns lie in [0, 1]."""
    rng = _checked(rng, M=M, S=S, A=A, H=H)
    return LatentMDP(_simplex((M,), rng), _simplex((M, S), rng), _simplex((M, S, A, S), rng),
                     _unit((M, S, A), rng) / H, H)


def random_block(S: int, A: int, X: int, H: int, rng: np.random.Generator) -> RichMDP:
    """Block MDP: a dense episodic MDP seen through X >= S observations, each of one state; every state has one."""
    rng = _checked(rng, S=S, A=A, H=H)
    X = validate.count("X", X, S)
    owner = rng.permutation(np.concatenate([np.arange(S), rng.integers(0, S, X - S)]))
    q = dyadic_rows(rng.exponential(size=(S, X)) * (owner == np.arange(S)[:, None]))
    base = random_episodic(S, A, H, rng)
    return RichMDP(base.P, base.r, base.rho, q)


def random_bandit(A: int, rng: np.random.Generator) -> Bandit:
    """Bernoulli arms with uniform means."""
    return Bandit(_unit((A,), _checked(rng, A=A)))


def random_linear_bandit(A: int, d: int, rng: np.random.Generator) -> LinearBandit:
    """Gaussian linear bandit: arms uniform on the unit sphere, theta uniform in the unit ball."""
    rng = _checked(rng, A=A, d=d)
    x, theta = rng.standard_normal((A, d)), rng.standard_normal(d)
    radius = rng.random() ** (1.0 / d)
    return LinearBandit(x / np.linalg.norm(x, axis=1, keepdims=True), theta * radius / np.linalg.norm(theta))


def random_contextual(X: int, A: int, rng: np.random.Generator) -> ContextualBandit:
    """Bernoulli contextual bandit with uniform means."""
    rng = _checked(rng, X=X, A=A)
    return ContextualBandit(_simplex((X,), rng), _unit((X, A), rng))


def random_game(S: int, A: Sequence[int], H: int, rng: np.random.Generator) -> MarkovGame:
    """General-sum Markov game with ``A[i]`` actions for player i and rewards in [0, 1]."""
    rng, A = _checked(rng, S=S, H=H, **{f"A[{i}]": n for i, n in enumerate(A)}), tuple(A)
    return MarkovGame(_simplex((H, S, *A, S), rng), _unit((len(A), H, S, *A), rng), _simplex((S,), rng))


def random_zero_sum(S: int, A: tuple[int, int], H: int, rng: np.random.Generator) -> MarkovGame:
    """Zero-sum Markov game of two players; the first one's rewards are uniform on [-1, 1]."""
    rng = _checked(rng, S=S, H=H, **{f"A[{i}]": n for i, n in enumerate(A)})
    r = 2.0 * _unit((H, S, *A), rng) - 1.0
    return MarkovGame(_simplex((H, S, *A, S), rng), np.stack([r, -r]), _simplex((S,), rng))


def random_preferences(X: int, Y: int, beta: float, rng: np.random.Generator) -> PreferenceModel:
    """General preferences: p[x, y, z] uniform on [0, 1] for y < z, with no order behind them."""
    rng = _checked(rng, X=X, Y=Y)
    upper = np.triu(_unit((X, Y, Y), rng), 1)
    p = upper + np.tril(1.0 - upper.transpose(0, 2, 1), -1) + 0.5 * np.eye(Y)
    return PreferenceModel(p, _simplex((X,), rng), _simplex((X, Y), rng), beta)


def random_bradley_terry(X: int, Y: int, beta: float, rng: np.random.Generator, *,
                         scale: float = 1.0) -> PreferenceModel:
    """Bradley-Terry preferences with rewards uniform on [0, scale]."""
    rng = _checked(rng, X=X, Y=Y)
    reward = validate.real("scale", scale) * _unit((X, Y), rng)
    return PreferenceModel.bradley_terry(reward, _simplex((X,), rng), _simplex((X, Y), rng), beta)


def _checked(rng: Any, **sizes: Any) -> np.random.Generator:
    for name, n in sizes.items():
        validate.count(name, n)
    return validate.generator("rng", rng)


def _simplex(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    return dyadic_rows(rng.exponential(size=shape))


def _unit(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    return rng.integers(0, GRAIN, shape, endpoint=True) / GRAIN
