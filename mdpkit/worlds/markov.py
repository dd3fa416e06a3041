"""Markov worlds as kernels see them: a sampler, a position, counters; and the verbs that move it.

A verb reads a field that only the access kinds granting it have, so that a kernel which asks for more than it was
granted does not compile. The world keeps the position: nobody jumps. Rewards are drawn before successors.

=========  =========================================  =======================================
verb       grants                                     returns
=========  =========================================  =======================================
start      Episodes, Reset; Stream once               the first state
step       Episodes, Reset, Stream                    reward, next state
reset      Reset, to (h, s) that it allows            nothing
ask        Generative, at any (h, s, a)               reward, next state
=========  =========================================  =======================================
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mdpkit.jit import kernel
from mdpkit.kernels.draw import NOISE_CODE, cumulative, draw, draw_reward
from mdpkit.models.tabular import EpisodicMDP, Rows, TabularMDP


class Law(NamedTuple):
    """Cumulative rows (h*S + s)*A + a, mean rewards (H, S, A), noise code, and whether steps count up to H."""

    ptr: np.ndarray
    succ: np.ndarray
    cum: np.ndarray
    r: np.ndarray
    noise: int
    tick: int


class EpisodesWorld(NamedTuple):
    law: Law
    begin: np.ndarray       # (S,) cumulative initial law
    lives: np.ndarray       # (1,) how often `start` may still be called
    here: np.ndarray        # (2,) step, state; step = H or -1: between episodes
    seen: np.ndarray        # (H, S) states visited at each step
    counts: np.ndarray       # (2,) episodes, steps
    rng: np.random.Generator


class ResetWorld(NamedTuple):
    law: Law
    begin: np.ndarray
    lives: np.ndarray
    here: np.ndarray
    seen: np.ndarray
    allowed: np.ndarray     # (H, S) where `reset` may go; may be `seen` itself
    counts: np.ndarray       # (3,) episodes, steps, resets
    rng: np.random.Generator


class GenerativeWorld(NamedTuple):
    law: Law
    asks: np.ndarray        # (1,)
    rng: np.random.Generator


def law_of(model: TabularMDP | EpisodicMDP) -> Law:
    """The sampler of a model; a discounted MDP is one step that repeats."""
    rows: Rows = model.rows
    r = model.r if isinstance(model, EpisodicMDP) else model.r[None]
    return Law(rows.ptr, rows.col, cumulative(rows.ptr, rows.val), r, NOISE_CODE[model.noise],
               int(isinstance(model, EpisodicMDP)))


def episodes(model: TabularMDP | EpisodicMDP, rng: np.random.Generator, lives: int = 2**62) -> EpisodesWorld:
    law = law_of(model)
    H, S, _ = law.r.shape
    return EpisodesWorld(law, np.cumsum(model.rho), np.array([lives]), np.array([-1, 0]), np.zeros((H, S), np.bool_),
                         np.zeros(2, np.int64), rng)


def resets(model: TabularMDP | EpisodicMDP, rng: np.random.Generator, allowed: np.ndarray | None) -> ResetWorld:
    law, begin, lives, here, seen, _, rng = episodes(model, rng)
    return ResetWorld(law, begin, lives, here, seen, seen if allowed is None else allowed, np.zeros(3, np.int64), rng)


def generative(model: TabularMDP | EpisodicMDP, rng: np.random.Generator) -> GenerativeWorld:
    return GenerativeWorld(law_of(model), np.zeros(1, np.int64), rng)


def _start(world):
    if world.lives[0] <= 0:
        raise ValueError("world: start may be called once only on a stream")
    world.lives[0] -= 1
    s = draw(world.begin, 0, world.begin.shape[0], world.rng.random())
    world.here[0] = 0
    world.here[1] = s
    world.seen[0, s] = True
    world.counts[0] += 1
    return s


def _transition(law, h, s, a, rng):
    _, S, A = law.r.shape
    if a < 0 or a >= A:
        raise ValueError("world: the action is out of range")
    reward = draw_reward(law.r[h, s, a], law.noise, rng)
    k = (h * S + s) * A + a
    return reward, law.succ[draw(law.cum, law.ptr[k], law.ptr[k + 1], rng.random())]


def _step(world, a):
    law = world.law
    h = world.here[0]
    if h < 0 or h >= law.r.shape[0]:
        raise ValueError("world: step outside an episode; call start first")
    reward, s = transition(law, h, world.here[1], a, world.rng)
    world.counts[1] += 1
    h += law.tick
    world.here[0] = h
    world.here[1] = s
    if h < law.r.shape[0]:
        world.seen[h, s] = True
    return reward, s


def _reset(world, h, s):
    H, S = world.allowed.shape
    if h < 0 or h >= H or s < 0 or s >= S or not world.allowed[h, s]:
        raise ValueError("world: reset to a step and state that are not allowed")
    world.here[0] = h
    world.here[1] = s
    world.counts[2] += 1


def _ask(world, h, s, a):
    H, S, _ = world.law.r.shape
    if h < 0 or h >= H or s < 0 or s >= S:
        raise ValueError("world: ask at a step or state that does not exist")
    answer = transition(world.law, h, s, a, world.rng)
    world.asks[0] += 1
    return answer


transition = kernel(_transition)
start = kernel(_start)
step = kernel(_step)
reset = kernel(_reset)
ask = kernel(_ask)
