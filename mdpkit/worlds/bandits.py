"""Bandit worlds: ``start`` shows a context (always 0 without contexts), ``step`` pulls an arm for a reward.

A verb used against a rule does nothing but leave a mark (`mdpkit.worlds.faults`).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mdpkit.jit import kernel
from mdpkit.kernels.draw import NOISE_CODE, draw, draw_reward
from mdpkit.models.bandits import Bandit, ContextualBandit, LinearBandit
from mdpkit.worlds.faults import ACTION, FINE, OUTSIDE, unbroken


class BanditWorld(NamedTuple):
    """Mean rewards (X, A) and the context that is shown."""

    mean: np.ndarray        # (X, A)
    noise: int
    begin: np.ndarray       # (X,) cumulative
    shown: np.ndarray       # (1,) the context, -1 before start
    fixed: int              # one context: no need to start
    counts: np.ndarray       # (2,) contexts, pulls
    fault: np.ndarray
    rng: np.random.Generator


def bandit(model: Bandit | LinearBandit | ContextualBandit, rng: np.random.Generator) -> BanditWorld:
    """The world of a finite, linear or contextual bandit."""
    contextual = isinstance(model, ContextualBandit)
    mean = model.r if isinstance(model, ContextualBandit) else np.ascontiguousarray(model.mu[None])
    begin = np.cumsum(model.rho) if isinstance(model, ContextualBandit) else np.ones(1)
    return BanditWorld(mean, NOISE_CODE[model.noise], begin, np.array([-1 if contextual else 0]), int(not contextual),
                       np.zeros(2, np.int64), unbroken(), rng)


def _start(world):
    x = 0
    if world.fixed == 0:
        x = draw(world.begin, 0, world.begin.shape[0], world.rng.random())
    world.shown[0] = x
    world.counts[0] += 1
    return x


def _step(world, a):
    x = world.shown[0]
    bad = FINE
    if x < 0:
        bad = OUTSIDE
    elif a < 0 or a >= world.mean.shape[1]:
        bad = ACTION
    world.fault[bad] = 1
    if bad != FINE:
        return 0.0
    world.shown[0] = world.fixed - 1          # a context is played once; the only one, always
    world.counts[1] += 1
    return draw_reward(world.mean[x, a], world.noise, world.rng)


start = kernel(_start)
step = kernel(_step)
