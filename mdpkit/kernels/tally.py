"""Counts of what was seen at each (h, s, a), and means over them. Only successors that were seen are visited."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mdpkit.jit import kernel
from mdpkit.records import Steps


class Tally(NamedTuple):
    visits: np.ndarray      # (H, S, A) number of tuples
    reward: np.ndarray      # (H, S, A) their rewards, summed
    moves: np.ndarray       # (H, S, A, S) how often each successor came
    seen: np.ndarray        # (H, S, A, S) the successors in order of their first coming
    kinds: np.ndarray       # (H, S, A) how many successors came at all


def empty(H: int, S: int, A: int) -> Tally:
    """Nothing seen yet."""
    return Tally(np.zeros((H, S, A)), np.zeros((H, S, A)), np.zeros((H, S, A, S)), np.zeros((H, S, A, S), np.int64),
                 np.zeros((H, S, A), np.int64))


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
    tally.visits[h, s, a] += 1.0
    tally.reward[h, s, a] += r
    tally.moves[h, s, a, t] += 1.0


def _mean_target(tally, h, s, a, V):
    """Mean of r + V[t] over the tuples of (h, s, a), of which there must be some."""
    total = tally.reward[h, s, a]
    for j in range(tally.kinds[h, s, a]):
        t = tally.seen[h, s, a, j]
        total += tally.moves[h, s, a, t] * V[t]
    return total / tally.visits[h, s, a]


def _add_steps(tally, s, a, r, s_next):
    n, H = s.shape
    for i in range(n):
        for h in range(H):
            add(tally, h, s[i, h], a[i, h], r[i, h], s_next[i, h])


add = kernel(_add)
mean_target = kernel(_mean_target)
add_steps = kernel(_add_steps)
