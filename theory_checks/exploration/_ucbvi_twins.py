"""Broken twins of UCBVI and of its formulas: what the checks must catch."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from algorithms.exploration import ucbvi
from mdpkit import rational
from mdpkit.concentration import ucbvi_bernstein, ucbvi_hoeffding, ucbvi_log
from mdpkit.jit import kernel
from mdpkit.kernels.play import play
from mdpkit.records import Result, Trace
from mdpkit.worlds.markov import start, step


def timid(access, params, rng):
    """The bonus 0.1 sqrt(1/n), without H and L."""
    return ucbvi.run(access, _heuristic(access, params), rng)


def no_bonus_bf(access, params, rng):
    """Greedy in the empirical model."""
    return ucbvi.run_bf(access, replace(params, c=0.0), rng)


def timid_bf(access, params, rng):
    """A thousandth of the bonus."""
    return ucbvi.run_bf(access, replace(params, c=1e-3 * params.c), rng)


def timid_stepwise(access, params, rng):
    """A thousandth of the bonus, with counts of each step."""
    return ucbvi.run_stepwise_bf(access, replace(params, c=1e-3 * params.c), rng)


def never_updated(access, params, rng):
    """Q = H for ever."""
    H, S, A = access.known.r.shape
    trace = access.drive(_still, (), np.zeros((H, S), np.int64), params.K, rng)
    return Result(np.full((H, S, A), float(H)), trace, params, access.samples)


def not_scaled(access, params, rng):
    """The whole bonus: its clip at H binds throughout, and the first action is played."""
    return ucbvi.run(access, replace(params, c=1.0), rng)


def forgets_the_least(access, params, rng):
    """Q_{k-1} is left out of the minimum."""
    return _without_minimum(access, params, lambda n, mean, V, P, H, L: ucbvi_hoeffding(n, H, L))


def forgets_the_least_bf(access, params, rng):
    """The same with the other bonus, whose D is H^2 in short runs."""
    return _without_minimum(access, params, lambda n, mean, V, P, H, L: ucbvi_bernstein(
        n, float(P @ ((V - mean) * (V - mean))), H * H, H, L))


def optimal_path(P, r, rho, Q):
    """The sum under the occupancy of the optimal policy."""
    H, S, _ = r.shape
    best, pi = rational.zeros((H + 1, S), Q), np.zeros((H, S), np.int64)
    for h in range(H - 1, -1, -1):
        value = r[h] + P[h] @ best[h + 1]
        pi[h], best[h] = value.argmax(-1), value.max(-1)
    return ucbvi.decomposition(P, r, rho, Q)[0], _surplus(P, r, rho, Q, pi, 1)


def no_next_value(P, r, rho, Q):
    """Q - r in place of Q - r - P V."""
    return ucbvi.decomposition(P, r, rho, Q)[0], _surplus(P, r, rho, Q, Q.argmax(-1), 0)


def frozen_counts(N, H):
    """Counts that stand still at H."""
    return float((np.diff(N, axis=0) * (N[:-1] >= H)).sum() / np.sqrt(H)), ucbvi.pigeonhole(N, H)[1]


def half_the_bound(N, H):
    """sqrt(S A T): without the factors 2, outside and inside of the root."""
    total, bound = ucbvi.pigeonhole(N, H)
    return total, bound / np.sqrt(8.0)


def constant_bonus(P, r, n, H, K, delta):
    """A bonus that does not fall with n."""
    return ucbvi.optimistic(P, r, 1e6, H, K, delta)


def subtracted_bonus(P, r, n, H, K, delta):
    """Pessimism: the mirror image around V*."""
    up = ucbvi.optimistic(P, r, n, H, K, delta)
    exactly = ucbvi.optimistic(P, r, 1e300, H, K, delta)
    return exactly - (up - exactly)


def no_delta(P_hat, V, n, arrivals, S, A, H, K, delta):
    """L without delta."""
    return ucbvi.bonuses(P_hat, V, n, arrivals, S, A, H, K, 1.0 - 2.0**-53)


def root_of_log(P_hat, V, n, arrivals, S, A, H, K, delta):
    """sqrt(L) in place of L in the first bonus."""
    one, two = ucbvi.bonuses(P_hat, V, n, arrivals, S, A, H, K, delta)
    return one / float(np.sqrt(ucbvi_log(S, A, K * H, delta))), two


def own_count(P_hat, V, n, arrivals, S, A, H, K, delta):
    """N in place of N' in the third term."""
    return ucbvi.bonuses(P_hat, V, n, np.full(len(arrivals), n), S, A, H, K, delta)


def unbiased_variance(P_hat, V, n, arrivals, S, A, H, K, delta):
    """The variance divided by n - 1."""
    return ucbvi.bonuses(P_hat, V * float(np.sqrt(n / (n - 1))), n, arrivals, S, A, H, K, delta)


def _heuristic(access, params):
    H, S, A = access.known.r.shape
    return replace(params, c=0.1 / (7 * H * ucbvi_log(S, A, params.K * H, params.delta)))


def _without_minimum(access, params, bonus):
    r, N = access.known.r, np.zeros(access.known.r.shape[1:] + (access.known.S,))
    H, S, A = r.shape
    L, Q = ucbvi_log(S, A, params.K * H, params.delta), np.full(r.shape, float(H))
    Qs, policies = [], []
    for _ in range(params.K):
        Qs.append(Q)
        policies.append(Q.argmax(-1))
        s, a, _, t = access.call(play, policies[-1])
        np.add.at(N, (s, a, t), 1.0)
        Q, V = np.full(r.shape, float(H)), np.zeros(S)
        for h in range(H - 1, -1, -1):
            for x, b in zip(*np.nonzero(N.sum(-1))):
                n = float(N[x, b].sum())
                mean = float(N[x, b] @ V) / n
                Q[h, x, b] = min(H, r[h, x, b] + mean + params.c * bonus(n, mean, V, N[x, b] / n, float(H), L))
            V = Q[h].max(-1)
    return Result(Q, Trace(np.array(policies), np.arange(params.K), {"Q": np.array(Qs)}), params, access.samples)


def _surplus(P, r, rho, Q, pi, after):
    H, S, _ = r.shape
    V, s, here, total = rational.zeros((H + 1, S), Q), np.arange(S), rho, 0
    V[:H] = Q.max(-1)
    for h in range(H):
        step_h = P[h, s, pi[h]]
        total, here = total + here @ (Q[h, s, pi[h]] - r[h, s, pi[h]] - after * (step_h @ V[h + 1])), here @ step_h
    return total


def _still_body(world, log, first, rng):
    H = log.shape[1]
    for _ in range(len(log)):
        start(world)
        for _ in range(H):
            step(world, 0)


_still = kernel(_still_body)
