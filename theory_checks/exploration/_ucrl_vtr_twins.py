"""Broken twins of UCRL-VTR and of its formulas: what the checks must catch."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from algorithms.exploration import ucrl_vtr
from algorithms.exploration.ucrl_vtr import ClassLog, Log
from mdpkit.concentration import self_normalised
from mdpkit.jit import kernel
from mdpkit.records import Result
from mdpkit.worlds.markov import start, step


def narrow(access, params, rng):
    """0.05 of the radius."""
    watch = access.watch
    access.watch = lambda first, log: watch(first, log._replace(radius=0.05 * log.radius))
    return ucrl_vtr.run(access, replace(params, c=0.05 * params.c), rng)


def greedy(access, params, rng):
    """No bonus."""
    return ucrl_vtr.run(access, replace(params, c=0.0), rng)


def generous(access, params, rng):
    """Three times the bonus in the same ellipsoid."""
    return ucrl_vtr.run(access, replace(params, c=3.0 * params.c), rng)


def pays_into_target(access, params, rng):
    """The reward is counted into the target of the regression."""
    watch, chunks, first_of = access.watch, [], []

    def keep(first, log):
        first_of.append(first)
        chunks.append(Log(*(f.copy() for f in log)))

    access.watch = keep
    result = ucrl_vtr.run(access, params, rng)
    base, r = access.known.base.transpose(1, 2, 0, 3), access.known.r
    log = Log(*(np.concatenate(fields) for fields in zip(*chunks)))
    steps, s = np.arange(r.shape[0]), log.path[:, :-1]
    a = log.policy[np.arange(len(s))[:, None], steps, s]
    wrong = np.einsum("khiz,khz,kh->ki", base[s, a], log.V[:, 1:], r[steps, s, a])       # what w gains in an episode
    wrong = np.cumsum(np.concatenate([np.zeros((1, wrong.shape[1])), wrong[:-1]]), 0)
    theta = log.theta + np.einsum("kij,kj->ki", log.inverse, wrong)
    for first, chunk in zip(first_of, chunks):
        watch(first, chunk._replace(theta=theta[first: first + len(chunk.theta)]))
    return result


def blind(access, params, rng):
    """V = 0: nothing is measured, and the first action is played for ever."""
    H, S = access.known.r.shape[:2]
    return _fixed(access, params, rng, np.zeros((H + 1, S)), np.zeros((H, S), np.int64))


def never_updates(access, params, rng):
    """Optimistic in M = lambda I for ever."""
    base, r = access.known.base, access.known.r
    H, S, _ = r.shape
    V, policy = np.zeros((H + 1, S)), np.zeros((H, S), np.int64)
    d, reach = len(base), _first_radius(H, params)
    for h in range(H - 1, -1, -1):
        Q = ucrl_vtr.optimistic(base, r[h], V[h + 1], np.zeros(d), np.eye(d) / params.lam, reach, H - h)
        V[h], policy[h] = Q.max(-1), Q.argmax(-1)
    return _fixed(access, params, rng, V, policy)


def other_theta(base, theta, V):
    """Equal weights in place of theta."""
    return ucrl_vtr.expected(base, theta * 0 + theta[:1], V)


def moved_values(base, theta, V):
    """V of the next state."""
    return ucrl_vtr.expected(base, theta, np.roll(V, 1))


def other_pair(base, V, s, a, z, lam):
    """X of the state before."""
    return ucrl_vtr.regression(base, V, (s + 1) % base.shape[1], a, z, lam)


def no_regulariser(base, V, s, a, z, lam):
    """M = 0 at first."""
    return ucrl_vtr.regression(base, V, s, a, z, 0 * lam)


def other_values(base, V, s, a, z, lam):
    """V + z: no constant."""
    return ucrl_vtr.regression(base, V + np.arange(V.shape[1]), s, a, z, lam)


def narrow_class(access, params, rng):
    """0.05 of the root of the width."""
    return ucrl_vtr.run_class(access, replace(params, c=0.05), rng)


def pessimist(access, params, rng):
    """The member of least value throughout, and nobody is ever left out."""
    base, r, thetas = access.known.base, access.known.r, access.known.thetas
    (H, S, _), N = r.shape, len(thetas)
    V, policy = np.zeros((N, H + 1, S)), np.zeros((N, H, S), np.int64)
    for h in range(H - 1, -1, -1):
        for n in range(N):
            Q = r[h] + ucrl_vtr.expected(base, thetas[n], V[n, h + 1])
            V[n, h], policy[n, h] = Q.max(-1), Q.argmax(-1)
    m = V[:, 0].mean(-1).argmin()
    row = ClassLog(policy[m], np.array(m), np.ones(N, np.int64), np.zeros(H + 1, np.int64))
    return Result(row.left, access.drive(_still, (), row, params.K, rng), params, access.samples)


def _first_radius(H, params):
    return self_normalised(0.0, 0.5 * H, -2.0 * float(np.log(params.delta)), float(np.sqrt(params.lam)) * params.B)


def _fixed(access, params, rng, V, policy):
    d = len(access.known.base)
    radius = np.array(_first_radius(len(policy), params))
    row = Log(policy, V, np.zeros(d), np.eye(d) / params.lam, radius, np.zeros(len(V), np.int64))
    return Result(row.theta, access.drive(_still, (), row, params.K, rng), params, access.samples)


def _still_body(world, log, first, rng):
    for k in range(len(log.policy)):
        log.path[k, 0] = start(world)
        for h in range(log.policy.shape[1]):
            log.path[k, h + 1] = step(world, log.policy[k, h, log.path[k, h]])[1]


_still = kernel(_still_body)
