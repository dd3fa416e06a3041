"""One episode of a deterministic policy."""

from __future__ import annotations

import numpy as np

from mdpkit.jit import kernel
from mdpkit.worlds.markov import start, step


def _play(world, policy):
    """States, actions, rewards and successors (H,) of one episode of ``policy`` (H, S)."""
    H = policy.shape[0]
    s_out, a_out, next_out = np.zeros(H, np.int64), np.zeros(H, np.int64), np.zeros(H, np.int64)
    r_out = np.zeros(H)
    s = start(world)
    for h in range(H):
        s_out[h], a_out[h] = s, policy[h, s]
        r_out[h], s = step(world, policy[h, s])
        next_out[h] = s
    return s_out, a_out, r_out, next_out


play = kernel(_play)
