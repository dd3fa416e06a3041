"""Broken twins of Thompson sampling and of its formulas: what the checks must catch."""

from __future__ import annotations

from dataclasses import replace

import flint
import numpy as np

from algorithms.bandits import thompson
from algorithms.bandits.thompson import Posterior
from mdpkit.jit import kernel
from mdpkit.records import Result
from mdpkit.worlds.bandits import step


def counts_five_times(alpha, beta, t):
    """Each observation counts five times."""
    return thompson._foreseen(alpha, beta, t, lambda j, x: (5 * x, 5 - 5 * x))


def forgets_failures(alpha, beta, t):
    """beta stays as it is."""
    return thompson._foreseen(alpha, beta, t, lambda j, x: (x, 0))


def turned_over(alpha, beta, t):
    """Success and failure change places."""
    return thompson._foreseen(alpha, beta, t, lambda j, x: (1 - x, x))


def overconfident(access, params, rng):
    """Each observation counts fifty times."""
    return thompson.run(access, replace(params, weight=50.0), rng)


def leader(access, params, rng):
    """The largest posterior mean, lowest index on ties."""
    return _by_means(access, params, rng, 1.0)


def forgetful(access, params, rng):
    """The largest mean where failures do not count: the first arm that pays is kept."""
    return _by_means(access, params, rng, 0.0)


def posterior_means(alpha, beta, m, rng):
    """The largest posterior mean, each time."""
    mean = np.array(alpha) / (np.array(alpha) + np.array(beta))
    return np.full(m, int(mean.argmax()))


def gaussian(alpha, beta, m, rng):
    """Normal laws of the same mean and variance."""
    a, b = np.array(alpha, float), np.array(beta, float)
    total = a + b
    return rng.normal(a / total, np.sqrt(a * b / (total * total * (total + 1))), (m, len(a))).argmax(1)


def half_of_it(alpha, beta, m, rng):
    """Half of the evidence."""
    return thompson.choices((np.array(alpha) + 1) / 2, (np.array(beta) + 1) / 2, m, rng)


def survival(alpha, beta):
    """P(theta_j is the least)."""
    return tuple(1 - p for p in thompson.best(beta, alpha))


def independent(alpha, beta):
    """P(theta_j is above each of the others), multiplied as if those events were independent."""
    out = []
    for j in range(len(alpha)):
        chance = flint.fmpq(1)
        for i in range(len(alpha)):
            if i != j:
                chance *= thompson.best([alpha[j], alpha[i]], [beta[j], beta[i]])[0]
        out.append(chance)
    return tuple(out)


def _by_means(access, params, rng, count):
    alpha, beta = np.ones(access.known.A), np.ones(access.known.A)
    trace = access.drive(_greedy, (alpha, beta, count), np.int64(0), params.n, rng)
    return Result(Posterior(alpha, beta), trace, params, access.samples)


def _greedy_body(world, alpha, beta, count, log, first, rng):
    for k in range(log.shape[0]):
        a = 0
        for j in range(1, alpha.shape[0]):
            if alpha[j] * (alpha[a] + beta[a]) > alpha[a] * (alpha[j] + beta[j]):
                a = j
        x = step(world, a)
        alpha[a] += x
        beta[a] += count * (1.0 - x)
        log[k] = a


_greedy = kernel(_greedy_body)
