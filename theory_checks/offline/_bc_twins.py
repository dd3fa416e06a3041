"""Broken twins of behaviour cloning and of the formulas about it: what the checks must catch."""

from __future__ import annotations

import numpy as np

from algorithms.offline import bc
from mdpkit.records import Dataset, Result, Steps


def no_horizon(P, rho, expert, learner):
    """Each error counted once."""
    total = bc.errors(P, rho, expert, learner).sum()
    return total, total


def upside_down(P, rho, expert, learner):
    """h + 1 in place of the steps to go."""
    eps = bc.errors(P, rho, expert, learner)
    return ((1 + np.arange(len(eps))) * eps).sum(), len(eps) * eps.sum()


def first_order(H, eps):
    """eps H (H+1)/2."""
    return eps * H * (H + 1) / 2


def squared(P, rho, expert, learner):
    """D^4."""
    D2 = bc.hellinger(P, rho, expert, learner)
    return D2 * D2


def last_step(P, rho, expert, learner):
    """As if the learner were the expert before the last step."""
    late = np.concatenate([expert[:-1], learner[-1:]])
    return bc.hellinger(P, rho, expert, late)


def halved(P, rho, expert, learner):
    """The convention with 1/2."""
    return bc.hellinger(P, rho, expert, learner) / 2


def least_likely(access, data, params, rng):
    """The worst policy of the class."""
    n = np.zeros(params.policies.shape[1:])
    np.add.at(n, (np.arange(len(n)), data.steps.s, data.steps.a), 1.0)
    scores = (n * np.log(params.policies)).sum((1, 2, 3))
    return Result(params.policies[int(scores.argmin())], None, params)


def first_named(access, data, params, rng):
    """No look at the data: the last policy that is not the expert."""
    return Result(params.policies[-2], None, params)


def smoothed(access, data, params, rng):
    """A pseudo-count for each action."""
    n = np.ones((access.known.H, access.known.S, access.known.A))
    np.add.at(n, (np.arange(len(n)), data.steps.s, data.steps.a), 1.0)
    return Result(n / n.sum(-1, keepdims=True), None, params)


def pooled(access, data, params, rng):
    """One policy for all steps."""
    n = np.zeros((access.known.S, access.known.A))
    np.add.at(n, (data.steps.s, data.steps.a), 1.0)
    seen = n.sum(-1, keepdims=True)
    pi = np.where(seen > 0, n / np.maximum(seen, 1.0), 1.0 / access.known.A)
    return Result(np.tile(pi, (access.known.H, 1, 1)), None, params)


def one_draw_less(d, n):
    """After n - 1 draws."""
    return bc.missing_mass(d, n - 1)


def one_draw(d, n):
    """After one draw."""
    return bc.missing_mass(d, 1)


def wasteful(access, data, params, rng):
    """A tenth of the data."""
    return bc.run(access, data.take(data.n // 10), params, rng)


def never_seen(access, data, params, rng):
    """Uniform everywhere."""
    none = Steps(*(part[:0] for part in data.steps))
    return bc.run(access, Dataset(none, data.behaviour), params, rng)
