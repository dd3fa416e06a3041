"""Counts of what was seen at each (h, s, a), and means over them. Only successors that were seen are visited."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mdpkit.jit import kernel
from mdpkit.kernels.choose import argmax, argmax_random
from mdpkit.records import Steps


class Tally(NamedTuple):
    """What was seen, in the form in which means are taken fastest. Counts are floats."""

    visits: np.ndarray      # (H, S, A) number of tuples
    reward: np.ndarray      # (H, S, A) their rewards, summed
    moves: np.ndarray       # (H, S, A, S) how often each successor came
    seen: np.ndarray        # (H, S, A, S) the successors in order of their first coming
    kinds: np.ndarray       # (H, S, A) how many successors came at all
    origins: np.ndarray     # (H, S, S*A) the pairs s*A + a from which a state came, in order of first coming
    ways: np.ndarray        # (H, S) how many such pairs there are


def empty(H: int, S: int, A: int) -> Tally:
    """Nothing seen yet."""
    whole = lambda *shape: np.zeros(shape, np.int64)
    return Tally(np.zeros((H, S, A)), np.zeros((H, S, A)), np.zeros((H, S, A, S)), whole(H, S, A, S), whole(H, S, A),
                 whole(H, S, S * A), whole(H, S))


def of(steps: Steps, S: int, A: int) -> Tally:
    """The tally of logged transitions (n, H)."""
    out = empty(steps.s.shape[1], S, A)
    add_steps(out, *steps)
    return out


def _add(tally, h, s, a, r, t):
    """One tuple (s, a, r, t) of step h."""
    if tally.moves[h, s, a, t] == 0.0:
        tally.seen[h, s, a, tally.kinds[h, s, a]] = t
        tally.kinds[h, s, a] += 1
        tally.origins[h, t, tally.ways[h, t]] = s * tally.kinds.shape[2] + a
        tally.ways[h, t] += 1
    tally.visits[h, s, a] += 1.0
    tally.reward[h, s, a] += r
    tally.moves[h, s, a, t] += 1.0


def _mean_targets(tally, h, V, default, out):
    """out[s, a] = mean of r + V[t] over the tuples of (h, s, a), or ``default`` where there are none.

    One call a step rather than a pair: handing five arrays over costs more than a pair's own work.
    """
    visits, reward, moves = tally.visits[h], tally.reward[h], tally.moves[h]
    seen, kinds = tally.seen[h], tally.kinds[h]
    S, A = visits.shape
    for s in range(S):
        for a in range(A):
            out[s, a] = default
            if visits[s, a] > 0.0:
                total = reward[s, a]
                for j in range(kinds[s, a]):
                    t = seen[s, a, j]
                    total += moves[s, a, t] * V[t]
                out[s, a] = total / visits[s, a]


def _update_values(tally, pairs, new, f, V, policy, random_ties, changed, rng):
    """`mean_targets` of all steps, last first, where new tuples can have changed something; V and the greedy policy.

    ``pairs[h, :new[h]]`` (H, S*A) got tuples since the last time, each stands there once; the list grows by the pairs
    from which a state of another value came. The greedy actions change at the states of listed pairs
    only; ``random_ties`` tells whether a tie between them is drawn at random.
    ``changed`` (S,) is room to work in. Inlined: handing all that over would take as long as the work.
    """
    H, A, m = f.shape[0], f.shape[2], 0
    for h in range(H - 1, -1, -1):
        n = new[h]
        for i in range(m):
            t = changed[i]
            for j in range(tally.ways[h, t]):
                k = tally.origins[h, t, j]
                fresh = True
                for q in range(n):
                    if pairs[h, q] == k:
                        fresh = False
                        break
                if fresh:
                    pairs[h, n] = k
                    n += 1
        for i in range(n):
            s, a = pairs[h, i] // A, pairs[h, i] % A
            total = tally.reward[h, s, a]
            for j in range(tally.kinds[h, s, a]):
                t = tally.seen[h, s, a, j]
                total += tally.moves[h, s, a, t] * V[h + 1, t]
            f[h, s, a] = total / tally.visits[h, s, a]
        m = 0
        for i in range(n):
            s = pairs[h, i] // A
            policy[h, s] = argmax_random(f[h, s], rng) if random_ties else argmax(f[h, s])
            top = f[h, s, policy[h, s]]
            if top != V[h, s]:
                V[h, s] = top
                changed[m] = s
                m += 1


def _add_steps(tally, s, a, r, s_next):
    n, H = s.shape
    for i in range(n):
        for h in range(H):
            add(tally, h, s[i, h], a[i, h], r[i, h], s_next[i, h])


add = kernel(_add)
mean_targets = kernel(_mean_targets)
update_values = kernel(_update_values, inline=True)
add_steps = kernel(_add_steps)
