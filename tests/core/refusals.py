"""Sound models and their arrays, and the check that a malformed call is refused quickly and compiles nothing."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from mdpkit.errors import MdpkitError
from mdpkit.models.games import MarkovGame
from mdpkit.models.latent import LatentMDP
from mdpkit.models.preferences import PreferenceModel
from mdpkit.models.tabular import EpisodicMDP, TabularMDP
from mdpkit.models.tokens import TokenModel

S, A, H = 3, 2, 2
P, R, RHO = np.full((S, A, S), 1 / S), np.zeros((S, A)), np.array([1.0, 0.0, 0.0])
PI = np.full((H, S, A), 1 / A)
FINE = TabularMDP(P, R, 0.9, RHO)
EPISODIC = EpisodicMDP.stationary(P, R, RHO, H)
PREFERENCES = PreferenceModel.bradley_terry([[0.0, 1.0]], [1.0], [[0.5, 0.5]], 1.0)
TOKENS = TokenModel(np.zeros((1, 4)), np.full((1, 3, 2), 0.5), [1.0], 1.0)
GAME = MarkovGame.matrix([[0.0, 1.0], [1.0, 0.0]])
LATENT = LatentMDP([0.5, 0.5], np.full((2, S), 1 / S), np.full((2, S, A, S), 1 / S), np.zeros((2, S, A)), H)


def rng():
    return np.random.default_rng(0)


def changed(array, at, value):
    out = np.array(array, float)
    out[at] = value
    return out


def bad(name, thunk, message):
    return pytest.param(thunk, message, id=name)


def compiled_versions():
    """How many versions every dispatcher of the house has compiled."""
    every = {id(f): f for name, module in list(sys.modules.items()) if name.startswith("mdpkit.")
             for f in vars(module).values() if hasattr(f, "nopython_signatures")}
    return sum(len(f.nopython_signatures) for f in every.values())


def refused(thunk, message):
    before = compiled_versions()
    with pytest.raises(MdpkitError, match=message):
        thunk()
    assert compiled_versions() == before
