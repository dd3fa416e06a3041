"""Broken twins of policy search by dynamic programming and of its bounds: what the checks must catch."""

from __future__ import annotations

import numpy as np

from algorithms.offline import psdp
from mdpkit import rational
from mdpkit.measure import plain
from mdpkit.rational import exact


def myopic(P, r, mu, blocks):
    """Looks at the reward of the step alone."""
    return psdp.plan(P * 0, r, mu, blocks)


def averaging(P, r, mu, blocks):
    """Backs up the mean over actions, as if the later steps were played at random."""
    H, S, A = r.shape
    policy, V = np.zeros((H, S), np.int64), rational.zeros((H + 1, S), P)
    for h in range(H - 1, -1, -1):
        Q = r[h] + P[h] @ V[h + 1]
        policy[h] = psdp._by_block(mu[h], Q, blocks).argmax(-1)[blocks]
        V[h] = Q.sum(-1) / A
    return psdp.Plan(policy, *plain.evaluate(P, r, plain.probabilities(policy, r)))


def learners_law(P, r, rho, ref, pi):
    """The same sum under the occupancy of pi."""
    V, Q = plain.evaluate(P, r, pi)
    return (plain.state_law(P, rho, pi) * ((ref * Q).sum(-1) - V[:-1])).sum()


def values_of_reference(P, r, rho, ref, pi):
    """Q and V of the reference: what pi loses under the reference's law."""
    V, Q = plain.evaluate(P, r, ref)
    return (plain.state_law(P, rho, ref) * (V[:-1] - (pi * Q).sum(-1))).sum()


def half_distance(P, r, rho, mu, blocks, ref, pi):
    """Total variation in place of the L1 distance."""
    return (psdp.bound(P, r, rho, mu, blocks, ref, pi) + no_distance(P, r, rho, mu, blocks, ref, pi)) / 2


def no_distance(P, r, rho, mu, blocks, ref, pi):
    """The slack alone."""
    return psdp.slacks(P, r, mu, blocks, pi).sum()


def no_slack(P, r, rho, mu, blocks, ref, pi):
    """As if every search were exact."""
    return psdp.bound(P, r, rho, mu, blocks, ref, pi) - no_distance(P, r, rho, mu, blocks, ref, pi)


def no_weights(P, r, rho, mu, blocks, ref, pi):
    """Each step's distance counts once, not H-h times."""
    return (psdp.slacks(P, r, mu, blocks, pi) + np.abs(plain.state_law(P, rho, ref) - mu).sum(-1)).sum()


def no_ratio(P, r, rho, mu, ref, pi):
    """The slack alone."""
    return psdp.slacks(P, r, mu, np.arange(r.shape[1]), pi).sum()


def skips_holes(P, r, rho, mu, ref, pi):
    """Where mu has no mass the ratio is left out."""
    d = plain.state_law(P, rho, ref)
    e = psdp.slacks(P, r, mu, np.arange(r.shape[1]), pi)
    return sum((d[h][mu[h] > 0] / mu[h][mu[h] > 0]).max() * e[h] for h in range(len(r)))


def upside_down(P, r, rho, mu, ref, pi):
    """The largest mu/d among the states that the reference visits."""
    d = plain.state_law(P, rho, ref)
    e = psdp.slacks(P, r, mu, np.arange(r.shape[1]), pi)
    return sum((mu[h][d[h] > 0] / d[h][d[h] > 0]).max() * e[h] for h in range(len(r)))


def on_uniform(P, r, rho, blocks, ref, n):
    """Every sweep on the uniform law."""
    H, S, _ = r.shape
    chosen = psdp.plan(P, r, exact(np.ones((H, S))) / S, blocks).policy
    return [ref, *[plain.probabilities(chosen, r)] * n]


def on_start(P, r, rho, blocks, ref, n):
    """Every sweep on the first law at every step."""
    chosen = psdp.plan(P, r, np.tile(rho, (len(r), 1)), blocks).policy
    return [ref, *[plain.probabilities(chosen, r)] * n]


def optimistic(P, r, rho, blocks, ref, n):
    """Backs up V*, which no policy of a restricted class may have."""
    best = psdp.plan(P, r, exact(np.ones(r.shape[:2])), np.arange(r.shape[1])).Q
    found = [ref]
    for _ in range(n):
        d = plain.state_law(P, rho, found[-1])
        chosen = [psdp._by_block(d[h], best[h], blocks).argmax(-1)[blocks] for h in range(len(r))]
        found.append(plain.probabilities(np.array(chosen), r))
    return found
