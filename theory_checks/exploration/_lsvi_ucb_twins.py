"""Broken twins of LSVI-UCB and of its formulas: what the checks must catch."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from algorithms.exploration import lsvi_ucb
from mdpkit import rational
from mdpkit.jit import kernel
from mdpkit.records import Result
from mdpkit.worlds.markov import start, step


def timid(access, params, rng):
    """beta = 0.02."""
    return lsvi_ucb.run(access, replace(params, beta=0.02), rng)


def bold(access, params, rng):
    """The beta of the theorem, p = 0.1."""
    known = access.known
    beta = lsvi_ucb.theory(params.K, known.H, known.phi.shape[2], 0.1).beta
    return lsvi_ucb.run(access, replace(params, beta=beta), rng)


def never_updated(access, params, rng):
    """The first action, for ever."""
    H, S, A = access.known.H, access.known.S, access.known.A
    trace = access.drive(_still, (), np.zeros((H, S), np.int64), params.K, rng)
    return Result(np.zeros((H, S, A)), trace, params, access.samples)


def greedy_norms(access, params, rng):
    """Norms by Lambda = lambda I throughout."""
    watch, phi = access.watch, access.known.phi
    def frozen(first, log):
        H, k = log.norms.shape[1], np.arange(len(log.path))[:, None]
        s = log.path[:, :-1]
        x = phi[s, log.policy[k, np.arange(H), s]]
        watch(first, log._replace(norms=(x * x).sum(2) / params.lam))
    access.watch = frozen
    return lsvi_ucb.run(access, params, rng)


def without_rewards(theta, mu, V):
    """mu V."""
    return lsvi_ucb.closure(0 * theta, mu, V)


def halved(theta, mu, V):
    """theta + mu V/2."""
    return lsvi_ucb.closure(theta, mu, V / 2)


def plain_counts(phi, counts, r, V, lam):
    """N in place of N + lambda; what was never seen keeps lambda/16."""
    return lsvi_ucb.backup(phi, counts, r, V, lam / 16)


def one_hot(phi, counts, r, V, lam):
    """One feature a pair."""
    S, A, _ = phi.shape
    return lsvi_ucb.backup(rational.eye(S * A, phi).reshape(S, A, S * A), counts, r, V, lam)


def old_targets(phi, counts, r, V, lam):
    """Regressed on the rewards alone."""
    return lsvi_ucb.backup(phi, counts, r, 0 * V, lam)


def frozen(x, y, lam):
    """Norms by Lambda = lambda I throughout."""
    w, norms, ratio = lsvi_ucb.ridge(x, y, lam)
    for k, row in enumerate(x):
        norms[k] = (row * row).sum() / lam
    return w, norms, ratio


def unregularised(x, y, lam):
    """lambda/1000."""
    return lsvi_ucb.ridge(x, y, lam / 1000)


def _still_loop_body(world, log, first, rng):
    for k in range(len(log)):
        start(world)
        for h in range(log.shape[1]):
            step(world, log[k, h, 0])


_still = kernel(_still_loop_body)
