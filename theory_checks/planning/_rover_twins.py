"""Broken twins of random policy valuation: what the checks must catch."""

from __future__ import annotations

import math

import numpy as np

from algorithms.planning import rover
from mdpkit import rational
from mdpkit.jit import kernel
from mdpkit.records import Result
from mdpkit.worlds.markov import start, step


def one_sided(child, reward, weights):
    """A policy that plays the first action alone."""
    weights = weights * 0
    weights[:, 0] = 1
    return rover.values(child, reward, weights)


def pessimist(child, reward, weights):
    """The minimum over actions in place of the mean."""
    return _backward(child, reward, min)


def short_sighted(child, reward, weights):
    """Looks at children alone: what lies below them is worth nothing."""
    Q, V = rover.values(child, reward, weights)
    there = child >= 0
    Q[there] = reward[child[there]]
    return Q, V


def _backward(child, reward, choose):
    Q, V = rational.zeros(child.shape, reward), reward.copy()
    for n in range(len(child) - 1, -1, -1):
        a = np.flatnonzero(child[n] >= 0)
        if len(a):
            Q[n, a] = V[child[n, a]]
            V[n] = choose(Q[n, a])
    return Q, V


def all_alike(child, Q, rho, R):
    """Every key state counts fully, visited or not."""
    N, good = rover._scaled(child, Q, rho)
    return R * (1 - float((N / (N + good)).sum()))


def best_alone(child, Q, rho, R):
    """The bound taken for the identity."""
    return rover.bound(child, Q, rho, R)


def all_actions(child, Q, rho, R):
    """A(s) in place of N(s) in the numerator."""
    (N, good), n = rover._scaled(child, Q, rho), (child >= 0).sum(-1)
    wide = np.where(N > 0, n * np.exp(-Q.max(-1) / rho), 0.0)
    return R * (1 - float((_visits(child, Q, rho) * wide / (N + good)).sum()))


def as_if_all_were_best(child, Q, rho, R):
    """A(s) exp(max Q/rho) in the denominator."""
    (N, _), n = rover._scaled(child, Q, rho), np.maximum((child >= 0).sum(-1), 1)
    return R * (1 - float((_visits(child, Q, rho) * N / (N + n)).sum()))


def first_key(child, Q, rho, R):
    """The first key state that is visited, and no other."""
    N, _ = rover._scaled(child, Q, rho)
    lost = _visits(child, Q, rho) * N / (N + 1)
    return R * (1 - float(lost[np.argmax(lost > 0)]))


def all_good(child, Q, rho, R):
    """The identity in place of the bound."""
    return rover.identity(child, Q, rho, R)


def all_alike_best(child, Q, rho, R):
    """The bound with Pr(s) = 1."""
    N, _ = rover._scaled(child, Q, rho)
    return R * (1 - float((N / (N + 1)).sum()))


def _visits(child, Q, rho):
    return rover.visits(child, rover.sampling(child, Q, rho))


def negated(child, Q, rho):
    """softmax(-Q/rho)."""
    return rover.sampling(child, -Q, rho)


def lukewarm(child, Q, rho):
    """Never colder than 1."""
    return rover.sampling(child, Q, max(rho, 1.0))


def uniform(child, Q, rho):
    """Plays pi_u itself."""
    return rover.sampling(child, 0 * Q, rho)


def greedy(child, Q, rho):
    """The greedy action alone."""
    pi = np.zeros(child.shape)
    inner = (child >= 0).any(-1)
    best = np.where(child >= 0, Q, -np.inf).argmax(-1)
    pi[inner, best[inner]] = 1.0
    return pi


def frozen(child, Q, rho):
    """Eight times colder."""
    return rover.sampling(child, Q, rho / 8)


def inverted(child, Q, rho):
    """1/rho in place of rho."""
    return rover.sampling(child, Q, 1 / rho)


def maximum(P, r, allowed):
    """Q* in place of Q^u."""
    Q, V = rover.valuation(P, r, allowed)
    for h in range(len(r) - 1, -1, -1):
        Q[h] = r[h] + P[h] @ V[h + 1]
        V[h] = Q[h].max(-1)
    return Q, V


def discounted(P, r, allowed):
    """gamma = 1/2."""
    Q, V = rover.valuation(P, r, allowed)
    for h in range(len(r) - 1, -1, -1):
        Q[h] = r[h] + P[h] @ V[h + 1] / 2
        V[h] = Q[h].sum(-1) / Q.shape[-1]
    return Q, V


def never_down(P, r, allowed):
    """The second action is never played."""
    return rover.valuation(P, r, allowed & (np.arange(allowed.shape[1]) != 1))


def maximising(access, params, rng):
    """Regresses on the maximum in place of the mean."""
    return _broken(access, params, rng, 0.0)


def on_policy(access, params, rng):
    """Values the policy that it plays."""
    return _broken(access, params, rng, params.rho)


def _broken(access, params, rng, cold):
    H, S, A = rover._sizes(access.known)
    Q = np.zeros((H, S, A))
    log = rover.Log(np.zeros(H, np.int64), np.zeros(()))
    trace = access.drive(_learn, (Q, params.rho, cold), log, params.n, rng)
    return Result(Q, trace, params, access.samples)


def _learn_body(world, Q, rho, cold, log, first, rng):
    """Regresses on the mean under softmax(Q/cold), the maximum at 0."""
    H, A = Q.shape[0], Q.shape[2]
    allowed = np.ones(A, np.bool_)
    s, reward = np.empty(H + 1, np.int64), np.empty(H)
    for t in range(len(log.reward)):
        s[0] = start(world)
        for h in range(H):
            a = rover._sample(Q[h, s[h]], allowed, rho, rng.random())
            reward[h], s[h + 1] = step(world, a)
            log.actions[t, h] = a
        for h in range(H - 1, -1, -1):
            target = reward[h]
            if h + 1 < H:
                q = Q[h + 1, s[h + 1]]
                top, total, mean = q[0], 0.0, 0.0
                for a in range(A):
                    top = max(top, q[a])
                for a in range(A):
                    w = math.exp((q[a] - top) / cold) if cold > 0.0 else 1.0 * (q[a] == top)
                    total += w
                    mean += w * q[a]
                target += mean / total
            Q[h, s[h], log.actions[t, h]] = target


_learn = kernel(_learn_body)
