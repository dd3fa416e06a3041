"""Broken twins of EXP3 and of its formulas: what the checks must catch."""

from __future__ import annotations

import numpy as np

from algorithms.bandits import exp3, ucb1
from algorithms.bandits.exp3 import Params
from mdpkit.access import Episodes
from mdpkit.models.bandits import Bandit
from mdpkit.records import Result, Trace


def flipped(losses, eta, gamma=0.0):
    """exp(+eta Lhat): towards losses."""
    return exp3._enumerated(losses, -eta, lambda l, p: l / (p + gamma))


def never_learns(losses, eta, gamma=0.0):
    """Uniform throughout."""
    return exp3._enumerated(losses, eta, lambda l, p: l / (p + gamma), 1.0)


def unweighted(losses, eta, gamma=0.0):
    """The loss itself, at the arm drawn."""
    return exp3._enumerated(losses, eta, lambda l, p: l + 0.0 * p)


def mixed_up(losses, eta, gamma=0.0):
    """A fifth of the draws is uniform, and lhat is divided by the law without them."""
    return exp3._enumerated(losses, eta, lambda l, p: l / p, 0.2)


def gamma_above(losses, eta, gamma=0.0):
    """gamma above the line."""
    return exp3._enumerated(losses, eta, lambda l, p: (l + gamma) / p)


def negative(losses, u, eta, gamma=0.0):
    """Estimates of -gains, which have no lower bound."""
    return exp3._replayed(losses, u, eta, gamma, 0.0, 1.0)


def slow_step(losses, u, eta, gamma=0.0):
    """A tenth of the step."""
    return exp3._replayed(losses, u, eta / 10, gamma, 0.0, 0.0)


def flipped_path(losses, u, eta, gamma=0.0):
    """exp(+eta Lhat)."""
    return exp3._replayed(losses, u, -eta, gamma, 0.0, 0.0)


def no_gamma(losses, p, a, gamma):
    """The estimate of EXP3 itself."""
    return exp3.estimates(losses, p, a, 0.0)


def gamma_on_top(losses, p, a, gamma):
    """gamma above the line."""
    return exp3.estimates(losses + gamma, p, a, 0.0)


def reckless(access, params, rng):
    """eta = 10: whoever loses first is not heard again."""
    return exp3.run(access, Params(10.0), rng)


def indifferent(access, params, rng):
    """Uniform throughout."""
    return exp3._played(access, params, rng, 1.0, 0.0)


def flipped_run(access, params, rng):
    """exp(+eta Lhat)."""
    return exp3._played(access, Params(-params.eta, params.gamma), rng, 0.0, 0.0)


def towards_losses(access, params, rng):
    """exp(-eta G): towards the least gain."""
    return exp3._played(access, Params(-params.eta), rng, params.gamma, 1.0)


def upper_bounds(access, params, rng):
    """UCB1 in place of EXP3: on the table made against it, it sees no reward."""
    T, A = access.known.H, access.known.A
    seen = []
    world = Episodes(Bandit(np.zeros(A)), rng, watch=lambda first, arms: seen.append(arms.copy()))
    ucb1.run(world, ucb1.theory(T), rng)
    a = np.concatenate(seen)
    return Result(np.zeros(A), Trace(np.eye(A)[a], np.arange(T), {"a": a}), params, access.samples)
