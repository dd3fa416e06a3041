"""Counts of what was seen at each (h, s, a), and means over them. Only successors that were seen are visited."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mdpkit.jit import kernel
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


def _update_targets(tally, h, pairs, n, changed, m, V, V_here, out, where):
    """`mean_targets` where it can differ: at ``pairs[:n]``, and wherever a state of ``changed[:m]`` came next.

    ``V_here`` becomes the maxima of ``out``; returns how many of them changed, which ``where`` then lists. The
    listed pairs grow in ``pairs`` (S*A,); each stands there once.
    """
    visits, reward, moves = tally.visits[h], tally.reward[h], tally.moves[h]
    seen, kinds, A = tally.seen[h], tally.kinds[h], out.shape[1]
    for i in range(m):
        t = changed[i]
        for j in range(tally.ways[h, t]):
            k = tally.origins[h, t, j]
            fresh = True
            for q in range(n):
                if pairs[q] == k:
                    fresh = False
                    break
            if fresh:
                pairs[n] = k
                n += 1
    for i in range(n):
        s, a = pairs[i] // A, pairs[i] % A
        total = reward[s, a]
        for j in range(kinds[s, a]):
            t = seen[s, a, j]
            total += moves[s, a, t] * V[t]
        out[s, a] = total / visits[s, a]
    moved = 0
    for i in range(n):
        s = pairs[i] // A
        top = out[s, 0]
        for a in range(1, A):
            top = max(top, out[s, a])
        if top != V_here[s]:
            V_here[s] = top
            where[moved] = s
            moved += 1
    return n, moved


def _add_steps(tally, s, a, r, s_next):
    n, H = s.shape
    for i in range(n):
        for h in range(H):
            add(tally, h, s[i, h], a[i, h], r[i, h], s_next[i, h])


add = kernel(_add)
mean_targets = kernel(_mean_targets)
update_targets = kernel(_update_targets)
add_steps = kernel(_add_steps)
