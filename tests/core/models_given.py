"""Small models and policies from a seed, many of their probabilities zero."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from mdpkit.models.tabular import EpisodicMDP, TabularMDP

EXACT, ROUND = 1e-12, 1e-9
SEEDS = range(6)


def sparse_laws(rng, *shape):
    """Laws with about a third of their entries zero."""
    weights = rng.integers(0, 3, shape) * rng.integers(1, 9, shape)
    weights[..., 0] += weights.sum(-1) == 0
    return weights / weights.sum(-1, keepdims=True)


def episodic(seed, H=3, S=3, A=2):
    rng = np.random.default_rng(seed)
    model = EpisodicMDP(sparse_laws(rng, H, S, A, S), rng.integers(-4, 9, (H, S, A)) / 8, sparse_laws(rng, S))
    return model, sparse_laws(rng, H, S, A), rng


def discounted(seed, S=5, A=3, gamma=0.75, sparse=False):
    rng = np.random.default_rng(seed)
    P = sparse_laws(rng, S, A, S)
    stored = sp.csr_array(P.reshape(S * A, S)) if sparse else P
    return TabularMDP(stored, rng.integers(-4, 9, (S, A)) / 8, gamma, sparse_laws(rng, S)), sparse_laws(rng, S, A), rng
