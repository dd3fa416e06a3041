"""Greedy choice: ties to the lowest index, or at random."""

from __future__ import annotations

from mdpkit.jit import kernel


def _argmax(q):
    best = 0
    for a in range(1, q.shape[0]):
        if q[a] > q[best]:
            best = a
    return best


def _argmax_random(q, rng):
    """Uniform over the maximisers. Draws once from ``rng``, and only where there are several."""
    best, ties = 0, 1
    for a in range(1, q.shape[0]):
        if q[a] > q[best]:
            best, ties = a, 1
        elif q[a] == q[best]:
            ties += 1
    if ties == 1:
        return best
    skip = int(rng.random() * ties)
    for a in range(best, q.shape[0]):
        if q[a] == q[best]:
            if skip == 0:
                return a
            skip -= 1
    return best


argmax = kernel(_argmax, inline=True)
argmax_random = kernel(_argmax_random, inline=True)
