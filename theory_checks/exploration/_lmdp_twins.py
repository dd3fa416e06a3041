"""Broken twins of the learner and the planner of latent MDPs: what the checks must catch."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from algorithms.exploration import lmdp
from algorithms.exploration.lmdp import Log
from mdpkit import rational
from mdpkit.concentration import lmdp_log
from mdpkit.jit import kernel
from mdpkit.kernels.copy import copy
from mdpkit.records import Result
from mdpkit.worlds.hidden import reveal


def no_bonus(access, params, rng):
    """Plans in the empirical model."""
    return lmdp.run(access, replace(params, c=0.0), rng)


def mislabelled(access, params, rng):
    """Books each episode on a context of its own invention."""
    return _learn(access, params, rng, True, False)


def always(access, params, rng):
    """Plans in each episode."""
    return _learn(access, params, rng, False, True)


def averaged(w, nu, P, r, policy, H):
    """What the belief makes of alpha at the next history, in place of alpha_m."""
    _, initial = lmdp.variances(w, nu, P, r, policy, H)
    _, S, A = r.shape
    first = lmdp.layout(S, A, H)
    alpha, d, total = lmdp.alpha_vectors(P, r, policy, H), (w[:, None] * nu).T, 0
    for h in range(H):
        act = policy[first[h]: first[h + 1]]
        there = rational.zeros((len(d), A, S, d.shape[1]), P)
        for j, a in enumerate(act):
            there[j, a] = d[j] * P[:, j % S, a].T
        flat = there.reshape(-1, d.shape[1])
        mass = flat.sum(-1)
        mean = np.where(mass > 0, (flat * alpha[h + 1]).sum(-1), 0 * mass) / np.where(mass > 0, mass, mass * 0 + 1)
        for j, a in enumerate(act):
            after = mean.reshape(len(act), A, S)[j, a]
            for m in range(len(w)):
                middle = (P[m, j % S, a] * after).sum()
                total = total + d[j, m] * (P[m, j % S, a] * (after - middle) * (after - middle)).sum()
        d = flat
    return total, initial


def no_initial(w, nu, P, r, policy, H):
    """Without the variance of the first alpha."""
    return lmdp.variances(w, nu, P, r, policy, H)[0], 0 * lmdp.variances(w, nu, P, r, policy, H)[1]


def myopic(w, nu, P, r, H):
    """The action that pays most at once, by the belief."""
    policy = np.concatenate([_best_now(b, r) for b in lmdp.beliefs(w, nu, P, H)])
    return _worth(w, nu, P, r, policy, H), policy


def prior_belief(w, nu, P, r, H):
    """Weighs the contexts by w at every history."""
    _, S, A = r.shape
    first, acts = lmdp.layout(S, A, H), []
    after = rational.zeros((S * (A * S) ** H, len(w)), P)
    for h in range(H - 1, -1, -1):
        j = np.arange(first[h + 1] - first[h])
        p, pays = np.moveaxis(P, 0, -1)[j % S], np.moveaxis(r, 0, -1)[j % S]
        Q = pays + (p * after.reshape(len(j), A, S, -1)).sum(2)
        act = (Q * w).sum(-1).argmax(-1)
        after = Q[j, act]
        acts.append(act)
    policy = np.concatenate(acts[::-1])
    return _worth(w, nu, P, r, policy, H), policy


def thin_box(P_hat, n, H, K, delta):
    """0.03 of the box."""
    return 0.03 * lmdp.box(P_hat, n, H, K, delta)


def no_floor(P_hat, n, H, K, delta):
    """Without 5 iota/n: what was not seen is taken to be impossible."""
    M, S, A = n.shape
    L = lmdp_log(M, S, A, H, K, delta)
    return np.maximum(lmdp.box(P_hat, n, H, K, delta) - 5.0 * L / np.maximum(n, 1.0)[..., None], 1e-300)


def _best_now(b, r):
    S = r.shape[1]
    return (b[:, None] * np.moveaxis(r, 0, -1)[np.arange(len(b)) % S]).sum(-1).argmax(-1)


def _worth(w, nu, P, r, policy, H):
    return ((w[:, None] * nu).T * lmdp.alpha_vectors(P, r, policy, H)[0]).sum()


def _learn(access, params, rng, mislabel, always):
    mind = lmdp.memory(access, params)
    row = Log(mind.policy, np.zeros(()), np.zeros((), np.int64), np.zeros((), np.int64), mind.path)
    M, S, A = mind.n.shape
    state = (mind, lmdp_log(M, S, A, len(mind.path), params.K, params.delta), params.c, mislabel, always)
    trace = access.drive(_loop, state, row, params.K, rng)
    return Result(lmdp.estimate(mind.n, mind.moves), trace, params, access.samples)


def _loop_body(world, mind, L, c, mislabel, always, log, first, rng):
    level, policy, path, due = mind.level, mind.policy, mind.path, mind.due
    n, moves, at_plan = mind.n, mind.moves, mind.at_plan
    M, S, A = n.shape
    for k in range(len(log.policy)):
        if always:
            due[0] = 1
        log.planned[k] = due[0]
        if due[0] == 1:
            lmdp.replan(mind, L, c)
        copy(log.policy[k], policy)
        log.value[k] = mind.value[0]
        lmdp.play(world, level, policy, path, S, A)
        m = reveal(world)
        copy(log.path[k], path)
        log.context[k] = m
        if mislabel:
            m = int(rng.random() * M)
        lmdp.record(n, moves, at_plan, path, due, m)


_loop = kernel(_loop_body)
