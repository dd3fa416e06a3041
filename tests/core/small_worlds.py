"""One small model of every kind, for tests of access, learners and data."""

from __future__ import annotations

import math

import numpy as np

from mdpkit.models.bandits import Bandit, ContextualBandit, LinearBandit
from mdpkit.models.games import MarkovGame
from mdpkit.models.latent import LatentMDP, RichMDP
from mdpkit.models.linear import LinearMDP, LinearMixtureMDP
from mdpkit.models.preferences import PreferenceModel
from mdpkit.models.tabular import EpisodicMDP, TabularMDP
from mdpkit.models.tokens import TokenModel

# Hoeffding with a union over at most 10**5 frequencies of at most 2 * 10**4 draws, together below 1e-9: see test_worlds
LEVEL, CELLS = 1e-9, 10**5 * 2 * 10**4


def margin(m):
    return math.sqrt(math.log(2 * CELLS / LEVEL) / (2 * m))


def seeded(k):
    return np.random.default_rng(k)


def full(k, *shape):
    w = seeded(k).random(shape) + 0.1
    return w / w.sum(-1, keepdims=True)


H, S, A = 3, 4, 2
TABULAR = TabularMDP(full(1, S, A, S), full(2, S, A), 0.9, full(3, S))
EPISODIC = EpisodicMDP(full(4, H, S, A, S), full(5, H, S, A), full(6, S), "bernoulli")
LINEAR = LinearMDP(full(7, S, A, 3), full(8, H, 3, S), full(9, H, 3), full(10, S))
MIXTURE = LinearMixtureMDP(full(11, 2, S, A, S), full(12, H, 2), full(13, H, S, A), full(14, S))
LATENT = LatentMDP([0.5, 0.5], full(15, 2, S), full(16, 2, S, A, S), full(17, 2, S, A), H)
RICH = RichMDP(full(18, H, S, A, S), full(19, H, S, A), full(20, S), full(21, S, 5))
BANDIT, LINBANDIT = Bandit([0.2, 0.9]), LinearBandit(full(22, 2, 3), full(23, 3))
CONTEXTUAL = ContextualBandit(full(24, 3), full(25, 3, A))
GAME = MarkovGame(full(26, H, S, 2, 3, S), full(27, 2, H, S, 2, 3), full(28, S))
PREFERENCES = PreferenceModel.bradley_terry(full(29, 3, 4), full(30, 3), full(31, 3, 4), 0.5)
TOKENS = TokenModel(full(32, 2, 8), full(33, 2, 7, 2), full(34, 2), 1.0)
