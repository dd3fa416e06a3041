"""Markov worlds as kernels see them: a sampler, a position, counters; and the verbs that move it.

A verb reads a field that only the access kinds granting it have, so that a kernel which asks for more than it was
granted does not compile. The world keeps the position: nobody jumps. Rewards are drawn before successors. A verb used
against a rule does nothing but leave a mark (`mdpkit.worlds.faults`).

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
from mdpkit.worlds.faults import ACTION, FINE, OUTSIDE, PLACE, RESET, STARTED, unbroken


class Law(NamedTuple):
    """Places (h, s) are numbered h*S + s. Cumulative rows place*A + a, their mean rewards, noise code, sizes."""

    ptr: np.ndarray
    succ: np.ndarray
    cum: np.ndarray
    r: np.ndarray
    noise: int
    S: int
    A: int
    places: int             # H*S
    stride: int             # from a step to the next: S, or 0 where the one step repeats


class EpisodesWorld(NamedTuple):
    """What start and step move: Episodes, and a Stream with one life."""

    law: Law
    begin: np.ndarray       # (S,) cumulative initial law
    lives: int              # how often `start` may be called
    here: np.ndarray        # (2,) the place, and where the next step's places begin; place >= H*S: between episodes
    seen: None              # nobody asks
    counts: np.ndarray       # (2,) episodes, steps
    fault: np.ndarray
    rng: np.random.Generator


class ResetWorld(NamedTuple):
    """An `EpisodesWorld` that can also be reset."""

    law: Law
    begin: np.ndarray
    lives: int
    here: np.ndarray
    seen: np.ndarray        # (H + 1, S) raveled: places that were left; the last row is between episodes
    allowed: np.ndarray     # (H*S,) or longer: where `reset` may go; may be `seen` itself
    counts: np.ndarray       # (3,) episodes, steps, resets
    fault: np.ndarray
    rng: np.random.Generator


class GenerativeWorld(NamedTuple):
    """A sampler alone: it has no position."""

    law: Law
    asks: np.ndarray        # (1,)
    fault: np.ndarray
    rng: np.random.Generator


def law_of(model: TabularMDP | EpisodicMDP) -> Law:
    """The sampler of a model; a discounted MDP is one step that repeats."""
    rows: Rows = model.rows
    episodic = isinstance(model, EpisodicMDP)
    return Law(rows.ptr, rows.col, cumulative(rows.ptr, rows.val), model.r.ravel(), NOISE_CODE[model.noise], model.S,
               model.A, model.r.size // model.A, model.S if episodic else 0)


def episodes(model: TabularMDP | EpisodicMDP, rng: np.random.Generator, lives: int = 2**62) -> EpisodesWorld:
    """The world of Episodes access, or of a Stream with ``lives=1``."""
    law = law_of(model)
    return EpisodesWorld(law, np.cumsum(model.rho), lives, np.array([law.places, 0]), None, np.zeros(2, np.int64),
                         unbroken(), rng)


def resets(model: TabularMDP | EpisodicMDP, rng: np.random.Generator, allowed: np.ndarray | None) -> ResetWorld:
    """The world of Reset access; ``allowed=None`` allows what was visited."""
    law, begin, lives, here, _, _, fault, rng = episodes(model, rng)
    seen = np.zeros(law.places + law.S, np.bool_)
    return ResetWorld(law, begin, lives, here, seen, seen if allowed is None else allowed.ravel(),
                      np.zeros(3, np.int64), fault, rng)


def generative(model: TabularMDP | EpisodicMDP, rng: np.random.Generator) -> GenerativeWorld:
    """The world of Generative access."""
    return GenerativeWorld(law_of(model), np.zeros(1, np.int64), unbroken(), rng)


def _mark(seen, place):
    """Where nobody asks what was seen, ``seen`` is None and this compiles to nothing."""
    if seen is not None:
        seen[place] = True


def _start(world):
    bad = FINE
    if world.lives <= world.counts[0]:
        bad = STARTED
    world.fault[bad] = 1
    if bad != FINE:
        return 0
    s = draw(world.begin, 0, world.begin.shape[0], world.rng.random())
    mark(world.seen, world.here[0])
    world.here[0] = s
    world.here[1] = world.law.stride
    world.counts[0] += 1
    return s


def _transition(law, place, a, rng):
    k = place * law.A + a
    reward = draw_reward(law.r[k], law.noise, rng)
    return reward, law.succ[draw(law.cum, law.ptr[k], law.ptr[k + 1], rng.random())]


def _step(world, a):
    place = world.here[0]
    law = world.law
    bad = FINE
    if place < 0 or place >= law.places:
        bad = OUTSIDE
    elif a < 0 or a >= law.A:
        bad = ACTION
    world.fault[bad] = 1
    if bad != FINE:
        return 0.0, 0
    reward, s = transition(law, place, a, world.rng)
    mark(world.seen, place)                  # on leaving: the place is known to be in range
    row = world.here[1]
    world.here[0] = row + s
    world.here[1] = row + law.stride
    world.counts[1] += 1
    return reward, s


def _reset(world, h, s):
    allowed, S = world.allowed, world.law.S  # the law itself as a variable would have all its arrays counted
    world.seen[world.here[0]] = True         # where it stands has been visited
    bad = RESET
    if 0 <= s < S and 0 <= h < world.law.places // S and allowed[h * S + s]:
        bad = FINE
    world.fault[bad] = 1
    if bad != FINE:
        return
    world.here[0] = h * S + s
    world.here[1] = (h + 1) * world.law.stride
    world.counts[2] += 1


def _ask(world, h, s, a):
    law = world.law
    bad = FINE
    if h < 0 or h >= law.places // law.S or s < 0 or s >= law.S:
        bad = PLACE
    elif a < 0 or a >= law.A:
        bad = ACTION
    world.fault[bad] = 1
    if bad != FINE:
        return 0.0, 0
    world.asks[0] += 1
    return transition(law, h * law.S + s, a, world.rng)


mark = kernel(_mark)
transition = kernel(_transition)
start = kernel(_start)
step = kernel(_step)
reset = kernel(_reset, checked=False)                   # the divisor is S
ask = kernel(_ask)
