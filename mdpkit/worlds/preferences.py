"""Preference worlds: ``start`` shows a prompt, ``ask`` compares two responses.

A verb used against a rule does nothing but leave a mark (`mdpkit.worlds.faults`).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mdpkit.jit import kernel
from mdpkit.kernels.draw import draw
from mdpkit.models.preferences import PreferenceModel
from mdpkit.worlds.faults import FINE, QUESTION, unbroken


class PreferenceWorld(NamedTuple):
    """Preference probabilities and the law of the prompts."""

    p: np.ndarray           # (X, Y, Y)
    prompts: np.ndarray     # (X,) cumulative
    counts: np.ndarray       # (1,) prompts
    asks: np.ndarray        # (1,) comparisons
    fault: np.ndarray
    rng: np.random.Generator


def comparisons(model: PreferenceModel, rng: np.random.Generator) -> PreferenceWorld:
    """The world of Comparisons access."""
    return PreferenceWorld(model.p, np.cumsum(model.rho), np.zeros(1, np.int64), np.zeros(1, np.int64),
                           unbroken(), rng)


def _start(world):
    world.counts[0] += 1
    return draw(world.prompts, 0, world.prompts.shape[0], world.rng.random())


def _ask(world, x, y, z):
    X, Y, _ = world.p.shape
    bad = FINE
    if x < 0 or x >= X or y < 0 or y >= Y or z < 0 or z >= Y:
        bad = QUESTION
    world.fault[bad] = 1
    if bad != FINE:
        return False
    world.asks[0] += 1
    return world.rng.random() < world.p[x, y, z]


start = kernel(_start)
ask = kernel(_ask)
