"""Broken twins of Hy-Q and of the formulas in its proof: what the checks must catch."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from algorithms.offline import hyq
from algorithms.offline.hyq import _fit as hyq_fit
from mdpkit.jit import kernel
from mdpkit.kernels.choose import argmax_random
from mdpkit.kernels.copy import copy
from mdpkit.kernels.tally import add, mean_targets, of
from mdpkit.records import Result
from mdpkit.worlds.markov import start, step


def wrong_occupancy(P, r, rho, f, pi_e):
    """The second sum under the comparator's occupancy."""
    gap, one, _, three = hyq.decomposition(P, r, rho, f, pi_e)
    return gap, one, -one, three


def not_greedy(P, r, rho, f, pi_e):
    """The learner plays the worst action of f."""
    _, one, _, three = hyq.decomposition(P, r, rho, f, pi_e)
    worst = hyq.decomposition(P, r, rho, -f, pi_e)[0]
    _, _, two, _ = hyq.decomposition(P, r, rho, f, hyq._greedy(-f))
    return worst, one, two, three


def dropped_third(P, r, rho, f, pi_e):
    """The inequality of the paper taken for an equality."""
    gap, one, two, three = hyq.decomposition(P, r, rho, f, pi_e)
    return gap, one, two, three - three


def per_step_maximum(access, policy, nu):
    """max over h of the per-step coefficient in place of the root of the sum of squares."""
    d = hyq._occupancy(access.model.P, access.model.rho, policy)
    return float(np.sqrt((d * d / nu).sum((1, 2)).max()))


def density_ratio(access, policy, nu):
    """sqrt(max d/nu): the form without H, as it is sometimes quoted."""
    return float(np.sqrt((hyq._occupancy(access.model.P, access.model.rho, policy) / nu).max()))


def no_online_part(access, policy, nu, f):
    """Forgets the bilinear terms."""
    return hyq.certificate(access, policy, nu, f)[0], 0.0


def no_coefficient(access, policy, nu, f):
    """Forgets the transfer coefficient."""
    offline, online = hyq.certificate(access, policy, nu, f)
    return offline / hyq.transfer(access, policy, nu) / 2, online


def fixed_direction(X, W, lam):
    """Sigma built from the first unit vector at every step."""
    first = np.zeros_like(X)
    first[:, 0] = 1.0
    realised, _, _ = hyq.potential(X, W, lam)
    _, bounds, norms = hyq.potential(first, W, lam)
    return realised, bounds, norms


def no_past(X, W, lam):
    """Sigma_t = lam I for ever."""
    norms = (X * X).sum(1) / lam
    return np.abs((X * W).sum(1)), np.sqrt(norms * lam * (W * W).sum(1)), norms


def offline_only(access, data, params, rng):
    """Never looks at its own episodes."""
    return hyq.run(access, data, replace(params, m_on=0), rng)


def optimistic(access, data, params, rng):
    """Gives unseen pairs the largest value: an R-max, which needs no data."""
    return hyq.run(access, data, replace(params, default=1.0), rng)


def no_data(access, data, params, rng):
    """Never looks at the logged data."""
    return hyq.run(access, data, replace(params, m_off=0), rng)


def forgetful(access, data, params, rng):
    """Keeps the logged data, but only the latest episode of its own."""
    return _broken(_forgetful, access, data, params, rng)


def averaging(access, data, params, rng):
    """Regresses on the mean over actions in place of the maximum."""
    return _broken(_averaging, access, data, params, rng)


def _broken(loop, access, data, params, rng):
    H, S, A = access.known.H, access.known.S, access.known.A
    steps = data.take(params.m_off).steps
    f = np.zeros((H, S, A))
    trace = access.drive(loop, (of(steps, S, A), of(steps, S, A), f), np.zeros((H, S), np.int64), params.T, rng)
    return Result(f, trace, params, access.samples)


def _play_body(world, counts, f, policy, rng):
    H, S = policy.shape
    for h in range(H):
        for s in range(S):
            policy[h, s] = argmax_random(f[h, s], rng)
    s = start(world)
    for h in range(H):
        a = policy[h, s]
        reward, s_next = step(world, a)
        add(counts, h, s, a, reward, s_next)
        s = s_next


def _forgetful_body(world, logged, counts, f, log, first, rng):
    H, S, _ = f.shape
    V, policy = np.zeros((H + 1, S)), np.zeros((H, S), np.int64)
    for t in range(len(log)):
        copy(counts.visits, logged.visits)
        copy(counts.reward, logged.reward)
        copy(counts.moves, logged.moves)
        copy(counts.seen, logged.seen)
        copy(counts.kinds, logged.kinds)
        copy(counts.ways, logged.ways)
        _play(world, counts, f, log[t], rng)
        hyq_fit(counts, f, V, 0.0, policy, True, rng)


def _averaging_body(world, logged, counts, f, log, first, rng):
    H, S, A = f.shape
    V = np.zeros(S)
    for t in range(len(log)):
        _play(world, counts, f, log[t], rng)
        for s in range(S):
            V[s] = 0.0
        for h in range(H - 1, -1, -1):
            mean_targets(counts, h, V, 0.0, f[h])
            for s in range(S):
                V[s] = 0.0
                for a in range(A):
                    V[s] += f[h, s, a] / A


_play = kernel(_play_body)
_forgetful = kernel(_forgetful_body)
_averaging = kernel(_averaging_body)
