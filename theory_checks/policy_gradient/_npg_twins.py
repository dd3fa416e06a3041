"""Broken twins of NPG: what the checks must catch."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from algorithms.policy_gradient import npg
from mdpkit.iterate import iterate
from mdpkit.records import Result


def unscaled_direction(P, r, gamma, rho, pi):
    """A in place of A/(1 - gamma)."""
    return npg.direction(P, r, gamma, rho, pi) * (1 - gamma)


def plain_direction(P, r, gamma, rho, pi):
    """The gradient without F^+."""
    return npg.gradient(P, r, gamma, rho, pi)


def even_fisher(P, r, gamma, rho, pi):
    """F weighs states evenly, in place of by d: a state too seldom seen moves too little."""
    d = npg.occupancy(P, gamma, rho, pi).sum(1)
    return npg.direction(P, r, gamma, rho, pi) * (len(d) * d)[:, None]


def forgetful(access, params, rng):
    """Starts from pi_0 at each step: the last advantage alone."""
    return _climb(access, params, rng, lambda theta, move, memory, first: first + move)


def fading(access, params, rng):
    """Halves what it has learnt at each step."""
    return _climb(access, params, rng, lambda theta, move, memory, first: theta / 2 + move)


def downhill(access, params, rng):
    """The wrong sign."""
    return _climb(access, params, rng, lambda theta, move, memory, first: theta - move)


def stale(access, params, rng):
    """The advantage of the policy before, at the first step its own."""
    return _climb(access, params, rng, lambda theta, move, memory, first: theta + memory)


def unscaled(access, params, rng):
    """A in place of A/(1 - gamma)."""
    return npg.run(access, replace(params, eta=params.eta * (1 - access.model.gamma)), rng)


def plain(access, params, rng):
    """Plain gradient ascent with the same step."""
    return npg.run_gradient(access, params, rng)


def natural(access, params, rng):
    """NPG where plain ascent is expected to lag behind."""
    return npg.run(access, params, rng)


def biased(access, params, rng):
    """An assumption broken: pi_0 all but ignores every action other than the last."""
    m = access.model
    start = np.full(m.r.shape, 2.0**-40)
    start[:, -1] = 1.0 - (m.A - 1) * 2.0**-40
    return npg.run(access, replace(params, start=start), rng)


def howard(access, params, rng):
    """Policy iteration: all weight on the best action of the last policy's Q."""
    m = access.model

    def once(pi, access, rng):
        return np.eye(m.A)[npg.advantage(m.dense, m.r, m.gamma, pi).argmax(-1)]

    pi, trace = iterate(once, np.full(m.r.shape, 1 / m.A), access, params.T, rng, lambda pi: (pi, {}))
    return Result(pi, trace, params)


def _climb(access, params, rng, update):
    m = access.model
    first = np.zeros(m.r.shape) if params.start is None else np.log(params.start)

    def once(state, access, rng):
        theta, memory = state
        move = params.eta / (1 - m.gamma) * npg.advantage(m.dense, m.r, m.gamma, npg.softmax(theta))
        return update(theta, move, move if memory is None else memory, first), move

    state, trace = iterate(once, (first, None), access, params.T, rng, lambda state: (npg.softmax(state[0]), {}))
    return Result(npg.softmax(state[0]), trace, params)
