"""Worlds with a hidden part: latent contexts, and states seen through an emission law.

``start`` and ``step`` return observations. ``reveal`` tells the context of a latent MDP, after its episode only. A verb
used against a rule does nothing but leave a mark (`mdpkit.worlds.faults`).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mdpkit.jit import kernel
from mdpkit.kernels.draw import NOISE_CODE, cumulative, draw, draw_reward
from mdpkit.models.latent import LatentMDP, RichMDP
from mdpkit.models.tabular import dense_rows
from mdpkit.worlds.faults import ACTION, EARLY, FINE, OUTSIDE, unbroken


class HiddenWorld(NamedTuple):
    """Hidden states z (latent: m*S + s; rich: s), cumulative rows (h*Z + z)*A + a, emissions z -> x."""

    ptr: np.ndarray
    succ: np.ndarray
    cum: np.ndarray
    r: np.ndarray           # (H or 1, Z, A)
    noise: int
    horizon: int
    begin: np.ndarray       # (Z,) cumulative
    emit_ptr: np.ndarray
    emit_x: np.ndarray
    emit_cum: np.ndarray
    place: np.ndarray       # (2,) step, hidden state
    counts: np.ndarray       # (2,) episodes, steps
    fault: np.ndarray
    rng: np.random.Generator


class LatentWorld(NamedTuple):
    """A `HiddenWorld` that may tell its context at the end of an episode."""

    ptr: np.ndarray
    succ: np.ndarray
    cum: np.ndarray
    r: np.ndarray
    noise: int
    horizon: int
    begin: np.ndarray
    emit_ptr: np.ndarray
    emit_x: np.ndarray
    emit_cum: np.ndarray
    place: np.ndarray
    counts: np.ndarray
    fault: np.ndarray
    rng: np.random.Generator
    context_size: int       # S: the context of hidden state z is z // S


def rich(model: RichMDP, rng: np.random.Generator) -> HiddenWorld:
    """The world of a rich-observation MDP."""
    return _hidden(model.P, model.r, model.H, model.rho, model.q, model.noise, rng)


def latent(model: LatentMDP, rng: np.random.Generator, *, hindsight: bool) -> HiddenWorld | LatentWorld:
    """The world of a latent MDP; with ``hindsight`` it tells its context after each episode."""
    M, S, A = model.r.shape
    P = np.zeros((1, M, S, A, M, S))
    for m in range(M):
        P[0, m, :, :, m] = model.P[m]
    first = (model.w[:, None] * model.nu).ravel()
    q = np.tile(np.eye(S), (M, 1))
    world = _hidden(P.reshape(1, M * S, A, M * S), model.r.reshape(1, M * S, A), model.H, first, q, model.noise, rng)
    return LatentWorld(*world, S) if hindsight else world


def _hidden(P, r, H, rho, q, noise, rng) -> HiddenWorld:
    rows, emit = dense_rows(P), dense_rows(q)
    begin = np.cumsum(rho)
    begin[np.flatnonzero(rho)[-1]:] = 1.0     # products w*nu may miss 1 by rounding
    return HiddenWorld(rows.ptr, rows.col, cumulative(rows.ptr, rows.val), np.ascontiguousarray(r), NOISE_CODE[noise],
                       H, begin, emit.ptr, emit.col, cumulative(emit.ptr, emit.val), np.array([-1, 0]),
                       np.zeros(2, np.int64), unbroken(), rng)


def _observe(world, z):
    return world.emit_x[draw(world.emit_cum, world.emit_ptr[z], world.emit_ptr[z + 1], world.rng.random())]


def _start(world):
    z = draw(world.begin, 0, world.begin.shape[0], world.rng.random())
    world.place[0] = 0
    world.place[1] = z
    world.counts[0] += 1
    return observe(world, z)


def _step(world, a):
    h = world.place[0]
    _, Z, A = world.r.shape
    bad = FINE
    if h < 0 or h >= world.horizon:
        bad = OUTSIDE
    elif a < 0 or a >= A:
        bad = ACTION
    world.fault[bad] = 1
    if bad != FINE:
        return 0.0, 0
    row = h % world.r.shape[0]               # a latent MDP repeats one kernel
    z = world.place[1]
    reward = draw_reward(world.r[row, z, a], world.noise, world.rng)
    k = (row * Z + z) * A + a
    z = world.succ[draw(world.cum, world.ptr[k], world.ptr[k + 1], world.rng.random())]
    world.place[0] = h + 1
    world.place[1] = z
    world.counts[1] += 1
    return reward, observe(world, z)


def _reveal(world):
    told = world.place[1] // world.context_size
    bad = FINE
    if world.place[0] != world.horizon:
        bad = EARLY
        told = 0
    world.fault[bad] = 1
    return told


observe = kernel(_observe)
start = kernel(_start)
step = kernel(_step)
reveal = kernel(_reveal)
