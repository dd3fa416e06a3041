"""Bandit worlds: ``start`` shows a context (always 0 without contexts), ``step`` pulls an arm for a reward."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mdpkit.jit import kernel
from mdpkit.kernels.draw import NOISE_CODE, draw, draw_reward
from mdpkit.models.bandits import Bandit, ContextualBandit, LinearBandit


class BanditWorld(NamedTuple):
    mean: np.ndarray        # (X, A)
    noise: int
    begin: np.ndarray       # (X,) cumulative
    shown: np.ndarray       # (1,) the context, -1 before start
    fixed: int              # one context: no need to start
    counts: np.ndarray       # (2,) contexts, pulls
    rng: np.random.Generator


def bandit(model: Bandit | LinearBandit | ContextualBandit, rng: np.random.Generator) -> BanditWorld:
    contextual = isinstance(model, ContextualBandit)
    mean = model.r if isinstance(model, ContextualBandit) else np.ascontiguousarray(model.mu[None])
    begin = np.cumsum(model.rho) if isinstance(model, ContextualBandit) else np.ones(1)
    return BanditWorld(mean, NOISE_CODE[model.noise], begin, np.array([-1 if contextual else 0]), int(not contextual),
                       np.zeros(2, np.int64), rng)


def _start(world):
    x = 0
    if world.fixed == 0:
        x = draw(world.begin, 0, world.begin.shape[0], world.rng.random())
    world.shown[0] = x
    world.counts[0] += 1
    return x


def _step(world, a):
    x = world.shown[0]
    if x < 0:
        raise ValueError("world: step outside an episode; call start first")
    if a < 0 or a >= world.mean.shape[1]:
        raise ValueError("world: the action is out of range")
    if world.fixed == 0:
        world.shown[0] = -1                   # a context is played once
    world.counts[1] += 1
    return draw_reward(world.mean[x, a], world.noise, world.rng)


start = kernel(_start)
step = kernel(_step)
