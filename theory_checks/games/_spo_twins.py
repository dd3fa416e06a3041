"""Broken twins of SPO and of its formulas: what the checks must catch."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from algorithms.games import spo
from mdpkit import losses
from mdpkit.records import Result, Trace


def in_turn(M, eta, T):
    """The second sees the first's move of the round."""
    log_x, log_y = spo.duel(M, eta, T + 1)
    return log_x[:-1], log_y[1:]


def two_steps(M, eta, T):
    """The second takes steps twice as long."""
    return spo.duel(M, eta, T)[0], spo.duel(M, 2 * eta, T)[1]


def last_gap(M, pi):
    """The gap of the last policy."""
    return (M * pi[-1]).sum(-1).max(), spo.certificate(M, pi)[1]


def each_round(M, pi):
    """Regret against the best option of each round."""
    gains = (M * pi[:, None, :]).sum(-1)
    return spo.certificate(M, pi)[0], (gains.max(1).sum() - (pi * gains).sum()) / len(pi)


def fixed_opponent(access, params, rng):
    """Hedge against the uniform law, which learns Borda scores."""
    p = access.model.p[0]
    return _result(losses.log_softmax(params.eta * np.arange(params.T)[:, None] * (p - p.T).mean(1)), params)


def forgetful(access, params, rng):
    """The last gains alone count."""
    p, seen, g = access.model.p[0], [], 0.0
    for _ in range(params.T):
        seen.append(losses.log_softmax(params.eta * g * np.ones(len(p))))
        g = ((p - p.T) * np.exp(seen[-1])).sum(1)
    return _result(np.array(seen), params)


def plain(access, params, rng):
    """Hedge in place of optimistic Hedge."""
    return spo.run(access, params, rng)


def timid(access, params, rng):
    """An eighth of the step."""
    return spo.run(access, replace(params, eta=params.eta / 8), rng)


def uneven_pairs(p, ridge=1e-3):
    """Pairs with the first option are met a hundred times as often: a fit to p moved towards a tie elsewhere."""
    q = 0.5 + (p - 0.5) / 100
    q[0], q[:, 0] = p[0], p[:, 0]
    return spo.reward_model(q, ridge)


def best_opponent(p, ridge=1e-3):
    """Scores by the worst comparison of each option."""
    return (p + np.eye(len(p))).min(1)


def averaged(access, params, rng):
    """The mean of eta g for the first action, in place of the log of the mean of exp(eta g)."""
    def first(log_pi, g):
        return (np.exp(log_pi) * g).sum(1)

    return _two_steps(access, params, first)


def greedy_ahead(access, params, rng):
    """The largest eta g for the first action."""
    return _two_steps(access, params, lambda log_pi, g: g.max(1))


def last_iterate(access, params, rng):
    """The last policy in place of the average."""
    ends = []
    access.watch = lambda first, log: ends.append(log[-1].copy())
    return replace(spo.run_sampled(access, params, rng), output=ends[-1])


def with_itself(access, pi, n, groups, rng):
    """The sum over the group is divided by n, not by n - 1."""
    y, r = spo.group_rewards(access, pi, n, groups, rng)
    return y, r * (n - 1) / n


def uniform_group(access, pi, n, groups, rng):
    """Options are drawn evenly, and weighed by pi afterwards: the others are not."""
    y, r = spo.group_rewards(access, np.full(len(pi), 1.0 / len(pi)), n, groups, rng)
    return y, r * pi[y] * len(pi)


def _two_steps(access, params, value):
    """Trajectories of two actions, the first by ``value`` of what follows."""
    p, A = access.model.p[0], round(len(access.model.p[0]) ** 0.5)
    one, two, seen = np.full(A, -np.log(A)), np.full((A, A), -np.log(A)), []
    for _ in range(params.T):
        seen.append((one[:, None] + two).ravel())
        g = params.eta * ((p - p.T) * np.exp(seen[-1])).sum(1).reshape(A, A)
        one, two = losses.log_softmax(one + value(two, g)), losses.log_softmax(two + g)
    return _result(np.array(seen), params)


def _result(log_pi, params):
    pi = np.exp(log_pi)
    return Result(pi.mean(0), Trace(pi, np.arange(len(pi)), {"log_pi": log_pi}), params)
