"""Markov-game worlds: ``step`` takes one action a player and returns one reward a player and the next state.

A verb used against a rule does nothing but leave a mark (`mdpkit.worlds.faults`).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mdpkit.jit import kernel
from mdpkit.kernels.draw import NOISE_CODE, cumulative, draw, draw_reward
from mdpkit.models.games import MarkovGame
from mdpkit.models.tabular import dense_rows
from mdpkit.worlds.faults import ACTION, FINE, OUTSIDE, unbroken


class GameWorld(NamedTuple):
    """A sampler over joint actions, and the board."""

    ptr: np.ndarray         # rows (h*S + s)*J + j of joint actions j, last player fastest
    succ: np.ndarray
    cum: np.ndarray
    r: np.ndarray           # (n, H, S, J)
    actions: np.ndarray     # (n,) number of actions of each player
    noise: int
    begin: np.ndarray
    board: np.ndarray       # (2,) step, state
    counts: np.ndarray       # (2,) episodes, steps
    fault: np.ndarray
    rng: np.random.Generator


def game(model: MarkovGame, rng: np.random.Generator) -> GameWorld:
    """The world of a Markov game."""
    rows = dense_rows(model.P)
    r = model.r.reshape(model.n, model.H, model.S, -1)
    return GameWorld(rows.ptr, rows.col, cumulative(rows.ptr, rows.val), r, np.array(model.A), NOISE_CODE[model.noise],
                     np.cumsum(model.rho), np.array([-1, 0]), np.zeros(2, np.int64),
                     unbroken(), rng)


def _start(world):
    s = draw(world.begin, 0, world.begin.shape[0], world.rng.random())
    world.board[0] = 0
    world.board[1] = s
    world.counts[0] += 1
    return s


def _step(world, actions):
    n, H, S, J = world.r.shape
    h = world.board[0]
    bad, j = FINE, 0
    for i in range(n):
        if actions[i] < 0 or actions[i] >= world.actions[i]:
            bad = ACTION
        else:
            j = j * world.actions[i] + actions[i]
    if h < 0 or h >= H:
        bad = OUTSIDE
    world.fault[bad] = 1
    reward = np.zeros(n)
    if bad != FINE:
        return reward, 0
    s = world.board[1]
    for i in range(n):
        reward[i] = draw_reward(world.r[i, h, s, j], world.noise, world.rng)
    k = (h * S + s) * J + j
    s = world.succ[draw(world.cum, world.ptr[k], world.ptr[k + 1], world.rng.random())]
    world.board[0] = h + 1
    world.board[1] = s
    world.counts[1] += 1
    return reward, s


start = kernel(_start)
step = kernel(_step)
