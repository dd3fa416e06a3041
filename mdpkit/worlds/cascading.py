"""Cascading worlds: `step` shows a list and tells how far the user looked, what was clicked, its reward, and the state.

A verb used against a rule does nothing but leave a mark (`mdpkit.worlds.faults`).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mdpkit.jit import kernel
from mdpkit.kernels.draw import cumulative, draw
from mdpkit.models.cascading import CascadingMDP
from mdpkit.models.tabular import dense_rows
from mdpkit.worlds.faults import ACTION, FINE, OUTSIDE, unbroken


class CascadingWorld(NamedTuple):
    """Attraction, rewards and cumulative rows s*(N+1) + c of the model; where its user is."""

    ptr: np.ndarray
    succ: np.ndarray
    cum: np.ndarray
    attraction: np.ndarray  # (S, N)
    pay: np.ndarray         # (S, N+1)
    longest: int
    horizon: int
    first_state: int
    user: np.ndarray        # (2,) steps played, state; step -1 before start
    counts: np.ndarray      # (2,) episodes, steps
    fault: np.ndarray
    rng: np.random.Generator


def cascading(model: CascadingMDP, rng: np.random.Generator) -> CascadingWorld:
    """The world of a cascading MDP."""
    rows = dense_rows(model.P)
    return CascadingWorld(rows.ptr, rows.col, cumulative(rows.ptr, rows.val), model.q, model.r, model.m, model.H,
                          model.s_1, np.array([-1, 0]), np.zeros(2, np.int64), unbroken(), rng)


def _start(world):
    world.user[0] = 0
    world.user[1] = world.first_state
    world.counts[0] += 1
    return world.first_state


def _step(world, items):
    """Show ``items`` up to the first negative one: 1 to m distinct items.

    Returns how many of them were looked at, the click c (N where there was none), its reward and the next state. One
    number is drawn for each item looked at, then one for the state.
    """
    N = world.attraction.shape[1]
    n, bad = 0, FINE
    for i in range(items.shape[0]):
        if items[i] < 0:
            break
        if items[i] >= N or i >= world.longest:
            bad = ACTION
            break
        for j in range(i):
            if items[j] == items[i]:
                bad = ACTION
        n += 1
    if n == 0:
        bad = ACTION
    if world.user[0] < 0 or world.user[0] >= world.horizon:
        bad = OUTSIDE
    world.fault[bad] = 1
    if bad != FINE:
        return 0, 0, 0.0, 0
    s, c, looked = world.user[1], N, 0
    while looked < n and c == N:
        if world.rng.random() < world.attraction[s, items[looked]]:
            c = items[looked]
        looked += 1
    k = s * (N + 1) + c
    t = world.succ[draw(world.cum, world.ptr[k], world.ptr[k + 1], world.rng.random())]
    world.user[0] += 1
    world.user[1] = t
    world.counts[1] += 1
    return looked, c, world.pay[s, c], t


start = kernel(_start)
step = kernel(_step)
