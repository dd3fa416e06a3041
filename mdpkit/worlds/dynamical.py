"""The world of a dynamical linear bandit: ``step`` plays an arm on its one trajectory and tells the reward.

It draws the noise of the reward, then that of the state, coordinate by coordinate; nothing where a level is 0. A verb
used against a rule does nothing but leave a mark (`mdpkit.worlds.faults`).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from mdpkit import validate
from mdpkit.jit import kernel
from mdpkit.kernels.draw import normal
from mdpkit.models.dynamical import DynamicalBandit
from mdpkit.worlds.faults import ACTION, FINE, unbroken


class DynamicalWorld(NamedTuple):
    """The system, and where it stands."""

    system: np.ndarray      # (n, n) A
    inlet: np.ndarray       # (n, d) B
    outlet: np.ndarray      # (n,) omega
    direct: np.ndarray      # (d,) theta
    arms: np.ndarray        # (K, d)
    sigma: float
    tau: float
    hidden: np.ndarray      # (n,) x
    room: np.ndarray        # (n,)
    counts: np.ndarray      # (2,) trajectories, which is 1, and steps
    fault: np.ndarray
    rng: np.random.Generator


def dynamical(model: DynamicalBandit, rng: np.random.Generator) -> DynamicalWorld:
    """The world of a dynamical linear bandit."""
    return DynamicalWorld(model.A, model.B, model.omega, model.theta, model.arms, model.sigma, model.tau,
                          model.x_1.copy(), np.zeros(len(model.x_1)), np.array([1, 0]), unbroken(), rng)


def mean_rewards(model: DynamicalBandit, actions: Any) -> np.ndarray:
    """E y_t (T,) given the arms played, int (T,)."""
    actions = validate.within("actions", validate.array("actions", actions, (None,), integer=True), 0,
                              len(model.arms) - 1)
    out = np.zeros(len(actions))
    _follow(model.A, model.B, model.omega, model.theta, model.arms, actions, model.x_1.copy(),
            np.zeros(len(model.x_1)), out)
    return out


def _mean_step(A, B, omega, theta, arms, a, x, room):
    """<omega, x> + <theta, u>, and then x = A x + B u, for the arm u of row a."""
    n, d = B.shape
    y = 0.0
    for i in range(n):
        y += omega[i] * x[i]
        total = 0.0
        for k in range(n):
            total += A[i, k] * x[k]
        for j in range(d):
            total += B[i, j] * arms[a, j]
        room[i] = total
    for j in range(d):
        y += theta[j] * arms[a, j]
    for i in range(n):
        x[i] = room[i]
    return y


def _step(world, a):
    bad = FINE
    if a < 0 or a >= world.arms.shape[0]:
        bad = ACTION
    world.fault[bad] = 1
    if bad != FINE:
        return 0.0
    y = mean_step(world.system, world.inlet, world.outlet, world.direct, world.arms, a, world.hidden, world.room)
    if world.sigma > 0.0:
        y += world.sigma * normal(world.rng)
    if world.tau > 0.0:
        for i in range(world.hidden.shape[0]):
            world.hidden[i] += world.tau * normal(world.rng)
    world.counts[1] += 1
    return y


def _follow_body(A, B, omega, theta, arms, actions, x, room, out):
    for t in range(actions.shape[0]):
        out[t] = mean_step(A, B, omega, theta, arms, actions[t], x, room)


mean_step = kernel(_mean_step)
step = kernel(_step)
_follow = kernel(_follow_body)
