"""Broken twins of SQIRL and of Q-value iteration: what the checks must catch."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from algorithms.planning import sqirl


def from_ones(P, r, pi):
    """Starts from Q = 1."""
    found = [0 * r + 1]
    while len(found) < len(r):
        found.append(sqirl.qvi(P, r, found[-1]))
    return np.array(found)


def mean(P, r, pi):
    """The mean over actions in place of the maximum."""
    found = list(sqirl.iterates(P, r, pi)[:1])
    while len(found) < len(r):
        V, Q = found[-1].sum(-1) / r.shape[-1], 1 * r
        for t in range(len(r) - 1):
            Q[t] = r[t] + P[t] @ V[t + 1]
        found.append(Q)
    return np.array(found)


def one_level_more(access, params, rng, n):
    """k + 1 levels, 1 after 2."""
    return sqirl.repeated(access, replace(params, k=3 - params.k), rng, n)


def idle(access, params, rng, n):
    """A tail of action 0 sees no reward on the needle, and action 0 remains."""
    return np.zeros((n, access.known.H, access.known.S), np.int64)


def coin_flips(access, params, rng, n):
    """Ties at random."""
    return sqirl.repeated(access, replace(params, random_ties=True), rng, n)


def half(access, params, rng, n):
    """Half of the episodes."""
    return sqirl.repeated(access, replace(params, m=params.m // 2), rng, n)


def scarce(access, params, rng, n):
    """A five-hundredth of the episodes."""
    return sqirl.repeated(access, replace(params, m=max(params.m // 500, 1)), rng, n)


def pair(access, params, rng, n):
    """Two episodes a batch."""
    return sqirl.repeated(access, replace(params, m=2), rng, n)


def backwards(access, params, rng, n):
    """The more episodes a batch, the fewer of them are used."""
    return sqirl.repeated(access, replace(params, m=200 * 800 // params.m), rng, n)


def one_shot(A, L, m):
    """Only the last factor: as if one step were left."""
    return 1.0 - (1.0 - 1.0 / A) ** m


def root(A, L, m):
    """Needles of half the length."""
    return sqirl.needle_probability(float(A) ** 0.5, L, m)


def last(P, r, rho, tolerance=0):
    """Always T."""
    return len(r)


def late(P, r, rho, tolerance=0):
    """One too many, as far as T allows."""
    return min(sqirl.minimal_k(P, r, rho, tolerance) + 1, len(r))
