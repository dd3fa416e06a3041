"""Broken twins of the explorer, its certificate and its planners: what the checks must catch."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from algorithms.exploration import hf_rfe
from algorithms.exploration.hf_rfe import Explored, Log
from mdpkit import rational
from mdpkit.jit import kernel
from mdpkit.records import Result
from mdpkit.worlds.markov import start, step


def narrow(access, params, rng):
    """beta = 0.3."""
    return hf_rfe.run(access, replace(params, beta=0.3), rng)


def unweighted(access, params, rng):
    """sigma = 1 throughout."""
    return hf_rfe.run_unweighted(access, params, rng)


def idle(access, params, rng):
    """Always the first action, with the same regressions."""
    return hf_rfe.explore(access, params, rng, active=False)


def never_updates(access, params, rng):
    """Always the first action, and nothing is learnt."""
    mind = hf_rfe.memory(access, params)
    rho = hf_rfe.pseudo_reward(access.known.base, np.eye(len(access.known.base)) / params.lam, params.beta)
    trace = access.drive(_still, (), Log(mind.policy, rho, mind.theta, mind.Sigma), params.K, rng)
    return Result(Explored(mind.theta[-1], mind.Sigma[-1], rho), trace, params, access.samples)


def thousandth(base, inverse, beta):
    """A thousandth of rho."""
    return hf_rfe.pseudo_reward(base, inverse, 1e-3 * beta)


def first_state(base, inverse, beta):
    """u is the first state alone, whatever is in doubt."""
    f = base[..., 0]
    return np.minimum(1.0, beta * np.sqrt(np.maximum(np.einsum("isa,ij,jsa->sa", f, inverse, f), 0.0)))


def single(f, theta, inverse, beta):
    """beta n_m in place of 2 beta n_m."""
    n = np.sqrt(np.einsum("mi,mij,mj->m", f, inverse, f))
    return hf_rfe.uncertainty(f, theta, inverse, beta)[0], min(1.0, beta * n[0]) + min(1.0, beta * n[1])


def first_alone(f, theta, inverse, beta):
    """Without the doubt about the second moment."""
    n = np.sqrt(np.einsum("mi,mij,mj->m", f, inverse, f))
    return hf_rfe.uncertainty(f, theta, inverse, beta)[0], min(1.0, 2 * beta * n[0])


def no_bonus(base, theta, r, inverse, beta):
    """Plans with the estimate alone."""
    return hf_rfe.plan_optimistic(base, theta, r, inverse, 0.0)


def pessimist(base, theta, r, inverse, beta):
    """The bonus is taken away."""
    return hf_rfe.plan_optimistic(base, theta, r, inverse, -beta)


def no_later(P, r, policy, s):
    """The variance of the first move alone."""
    V = rational.zeros((len(r) + 1, len(P)), P)
    for h in range(len(r) - 1, -1, -1):
        for x in range(len(P)):
            V[h, x] = r[h, x, policy[h, x]] + (P[x, policy[h, x]] * V[h + 1]).sum()
    p = P[s, policy[0, s]]
    return (p * V[1] * V[1]).sum() - (p * V[1]).sum() * (p * V[1]).sum()


def second_moment(P, r, policy, s):
    """Squares in place of variances."""
    at, later, V = np.arange(len(P)), rational.zeros((len(P),), P), rational.zeros((len(P),), P)
    for h in range(len(r) - 1, -1, -1):
        p = P[at, policy[h]]
        later, V = (p * (V * V + later)).sum(-1), r[h][at, policy[h]] + (p * V).sum(-1)
    return later[s]


def _still_body(world, log, first, rng):
    for _ in range(len(log.policy)):
        start(world)
        for _ in range(log.policy.shape[1]):
            step(world, 0)


_still = kernel(_still_body)
