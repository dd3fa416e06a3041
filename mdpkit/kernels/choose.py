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
    """Uniform over the maximisers. Draws from ``rng`` only where there are several."""
    best, ties = 0, 1
    for a in range(1, q.shape[0]):
        if q[a] > q[best]:
            best, ties = a, 1
        elif q[a] == q[best]:
            ties += 1
            if rng.random() * ties < 1.0:       # keeps each of the ties so far with the same probability
                best = a
    return best


argmax = kernel(_argmax)
argmax_random = kernel(_argmax_random)
