"""One model of every kind, and the arrays and bits that it is made of."""

from __future__ import annotations

import dataclasses
from fractions import Fraction

import numpy as np
import scipy.sparse as sp

from mdpkit.models.bandits import Bandit, ContextualBandit, LinearBandit
from mdpkit.models.games import MarkovGame
from mdpkit.models.latent import LatentMDP, RichMDP
from mdpkit.models.linear import LinearMDP, LinearMixtureMDP
from mdpkit.models.preferences import PreferenceModel
from mdpkit.models.tabular import EpisodicMDP, TabularMDP
from mdpkit.models.tokens import TokenModel

EXACT = 1e-12


def law(seed: int, *shape: int) -> np.ndarray:
    """Probability rows with zeros in them, not canonical."""
    rng = np.random.default_rng(seed)
    w = rng.random(shape) * (rng.random(shape) < 0.6)
    w[..., 0] += 0.1
    return w / w.sum(-1, keepdims=True)


def full(seed: int, *shape: int) -> np.ndarray:
    """Probability rows of full support."""
    w = np.random.default_rng(seed).random(shape) + 0.1
    return w / w.sum(-1, keepdims=True)


def unit(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).random(shape)


def symmetric(seed: int, X: int, Y: int) -> np.ndarray:
    p = unit(seed, X, Y, Y)
    return (p + 1 - p.transpose(0, 2, 1)) / 2


# --- canonical rows

def exact_sum(row) -> Fraction:
    return sum(map(Fraction, row.tolist()), Fraction(0))


# --- every model

def ins(**arguments):
    return arguments


H, S, A, D = 3, 4, 2, 3
features = full(0, S, A, D)
BUILD = {
    "tabular": (TabularMDP, lambda: ins(P=law(1, S, A, S), r=unit(2, S, A) - 5, gamma=0.9, rho=law(3, S))),
    "tabular sparse": (TabularMDP, lambda: ins(P=sp.csr_array(law(1, S, A, S).reshape(S * A, S)), r=unit(2, S, A),
                                               gamma=0.0, rho=law(3, S), noise="bernoulli")),
    "episodic": (EpisodicMDP, lambda: ins(P=law(4, H, S, A, S), r=unit(5, H, S, A), rho=law(6, S), noise="gaussian")),
    "linear": (LinearMDP, lambda: ins(phi=features.copy(), mu=law(7, H, D, S), theta=unit(8, H, D), rho=law(9, S))),
    "mixture": (LinearMixtureMDP, lambda: ins(base=law(10, D, S, A, S), theta=law(11, H, D), r=unit(12, H, S, A),
                                              rho=law(13, S))),
    "latent": (LatentMDP, lambda: ins(w=law(14, 2), nu=law(15, 2, S), P=law(16, 2, S, A, S), r=unit(17, 2, S, A),
                                      H=5)),
    "rich": (RichMDP, lambda: ins(P=law(18, H, S, A, S), r=unit(19, H, S, A), rho=law(20, S), q=law(21, S, 6))),
    "bandit": (Bandit, lambda: ins(mu=unit(22, A))),
    "linear bandit": (LinearBandit, lambda: ins(x=unit(23, 5, D) - 0.5, theta=unit(24, D))),
    "contextual": (ContextualBandit, lambda: ins(rho=law(25, 3), r=unit(26, 3, A))),
    "game": (MarkovGame, lambda: ins(P=law(27, H, S, 2, 3, S), r=unit(28, 2, H, S, 2, 3), rho=law(29, S))),
    "three players": (MarkovGame, lambda: ins(P=law(30, 1, 2, 2, 3, 2, 2), r=unit(31, 3, 1, 2, 2, 3, 2),
                                              rho=law(32, 2), noise="bernoulli")),
    "preferences": (PreferenceModel, lambda: ins(p=symmetric(33, 2, 4), rho=law(34, 2), pi_ref=full(35, 2, 4),
                                                 beta=0.1, reward=unit(36, 2, 4))),
    "tokens": (TokenModel, lambda: ins(reward=unit(37, 2, 8), pi_ref=full(38, 2, 7, 2), rho=law(39, 2), beta=1.0)),
}


def build(name: str):
    kind, arguments = BUILD[name]
    return kind(**arguments())


def parts_of(value) -> list[np.ndarray]:
    if hasattr(value, "tocsr"):
        return [value.data, value.indices, value.indptr]
    return [value] if isinstance(value, np.ndarray) else []


def arrays_of(model) -> list[np.ndarray]:
    return [a for f in dataclasses.fields(model) for a in parts_of(getattr(model, f.name))]


def bits_of(model) -> list:
    plain = [v for f in dataclasses.fields(model) if not parts_of(v := getattr(model, f.name))]
    return [plain, *((a.dtype.str, a.shape, a.tobytes()) for a in arrays_of(model))]
