"""Markov-game worlds: ``step`` takes one action a player and returns one reward a player and the next state."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mdpkit.jit import kernel
from mdpkit.kernels.draw import NOISE_CODE, cumulative, draw, draw_reward
from mdpkit.models.games import MarkovGame
from mdpkit.models.tabular import dense_rows


class GameWorld(NamedTuple):
    ptr: np.ndarray         # rows (h*S + s)*J + j of joint actions j, last player fastest
    succ: np.ndarray
    cum: np.ndarray
    r: np.ndarray           # (n, H, S, J)
    actions: np.ndarray     # (n,) number of actions of each player
    noise: int
    begin: np.ndarray
    board: np.ndarray       # (2,) step, state
    counts: np.ndarray       # (2,) episodes, steps
    rng: np.random.Generator


def game(model: MarkovGame, rng: np.random.Generator) -> GameWorld:
    rows = dense_rows(model.P)
    r = model.r.reshape(model.n, model.H, model.S, -1)
    return GameWorld(rows.ptr, rows.col, cumulative(rows.ptr, rows.val), r, np.array(model.A), NOISE_CODE[model.noise],
                     np.cumsum(model.rho), np.array([-1, 0]), np.zeros(2, np.int64), rng)


def _start(world):
    s = draw(world.begin, 0, world.begin.shape[0], world.rng.random())
    world.board[0] = 0
    world.board[1] = s
    world.counts[0] += 1
    return s


def _step(world, actions):
    n, H, S, J = world.r.shape
    h = world.board[0]
    if h < 0 or h >= H:
        raise ValueError("world: step outside an episode; call start first")
    j = 0
    for i in range(n):
        if actions[i] < 0 or actions[i] >= world.actions[i]:
            raise ValueError("world: the action is out of range")
        j = j * world.actions[i] + actions[i]
    s = world.board[1]
    reward = np.empty(n)
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
