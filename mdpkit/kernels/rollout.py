"""Playing fixed policies and drawing tuples into arrays (n, H)."""

from __future__ import annotations

from mdpkit.jit import kernel
from mdpkit.kernels.draw import draw
from mdpkit.worlds.markov import start, step, transition


def _rollouts(world, weights, cum, s_out, a_out, r_out, next_out):
    """Each episode draws a policy by cumulative ``weights`` (m,) and plays ``cum`` (m, H, S, A), cumulative too."""
    n, H = s_out.shape
    A = cum.shape[3]
    for i in range(n):
        m = draw(weights, 0, weights.shape[0], world.rng.random())
        s = start(world)
        for h in range(H):
            a = draw(cum[m, h, s], 0, A, world.rng.random())
            s_out[i, h], a_out[i, h] = s, a
            r_out[i, h], s = step(world, a)
            next_out[i, h] = s


def _tuples(law, cum, rng, s_out, a_out, r_out, next_out):
    """Independent (s, a) by cumulative ``cum`` (H, S*A), then one transition each."""
    n, H = s_out.shape
    A = law.A
    for i in range(n):
        for h in range(H):
            k = draw(cum[h], 0, cum.shape[1], rng.random())
            s, a = k // A, k % A
            s_out[i, h], a_out[i, h] = s, a
            r_out[i, h], next_out[i, h] = transition(law, h * law.stride + s, a, rng)


rollouts = kernel(_rollouts)
tuples = kernel(_tuples)
