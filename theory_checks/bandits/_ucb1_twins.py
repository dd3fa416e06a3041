"""Broken twins of UCB1 and of its formulas: what the checks must catch."""

from __future__ import annotations

import math
from dataclasses import replace

import flint
import numpy as np

from algorithms.bandits import ucb1
from algorithms.bandits.ucb1 import Tally
from mdpkit.concentration import bernoulli_kl
from mdpkit.jit import kernel
from mdpkit.records import Result
from mdpkit.worlds.bandits import step


def leader(access, params, rng):
    """Exploration constant 0: the best mean so far, for ever."""
    return ucb1.run(access, replace(params, alpha=0.0), rng)


def rewards_to_ten(access, params, rng):
    """The bonus of rewards in [0, 10]."""
    return ucb1.run(access, replace(params, alpha=100.0 * params.alpha), rng)


def pessimist(access, params, rng):
    """A lower confidence bound: the bonus is subtracted."""
    return _else(access, params, rng, 1)


def round_robin(access, params, rng):
    """Each arm in its turn."""
    return _else(access, params, rng, 0)


def swapped(access, params, rng):
    """The counts of the arms in reverse order."""
    result = ucb1.run(access, params, rng)
    return replace(result, output=result.output._replace(plays=result.output.plays[::-1].copy()))


def eight_logarithms(mu, n):
    """8 ln n: no gaps, no number of arms."""
    return 8 * math.log(n)


def asymptotic(mu, n):
    """The least possible constant as n grows, taken at its word for n given."""
    return ucb1.lai_robbins(mu) * math.log(n)


def quarter(mu, N, t):
    """P( xbar_N - mu > sqrt(0.25 ln t/N) )."""
    return ucb1._tail(mu, N, flint.arb(t).log() / 4)


def without_two(mu, N, t):
    """P( xbar_N - mu > sqrt(ln t/N) )."""
    return ucb1._tail(mu, N, flint.arb(t).log())


def turned(mean, n, budget):
    """The arguments of kl change places."""
    lo, hi = mean, 1.0
    for _ in range(60):
        q = (lo + hi) / 2
        if not 0 < mean < 1 or q >= 1:
            return hi
        lo, hi = (q, hi) if n * bernoulli_kl(q, mean) <= budget else (lo, q)
    return lo


def hoeffding_index(mean, n, budget):
    """mean + sqrt(budget/(2 n)), cut at 1."""
    return min(mean + math.sqrt(budget / (2 * n)), 1.0)


def last_time(mean, n, budget):
    """ln(t - 1) in place of ln t."""
    return ucb1.kl_index(mean, n, math.log(max(math.exp(budget) - 1.0, 1.0)))


def _else(access, params, rng, greedy):
    plays, paid = np.zeros(access.known.A), np.zeros(access.known.A)
    trace = access.drive(_other, (plays, paid, greedy), np.int64(0), params.n, rng)
    return Result(Tally(plays, paid, np.array([0.0, 1.0])), trace, params, access.samples)


def _other_body(world, plays, paid, greedy, log, first, rng):
    K = plays.shape[0]
    for k in range(log.shape[0]):
        t = first + k
        a = t % K
        if greedy == 1 and t >= K:
            best = -math.inf
            for j in range(K):
                u = paid[j] / plays[j] - math.sqrt(2.0 * math.log(t) / plays[j])
                if u > best:
                    best, a = u, j
        paid[a] += step(world, a)
        plays[a] += 1.0
        log[k] = a


_other = kernel(_other_body)
