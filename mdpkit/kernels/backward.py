"""Policies learned backward from roll-outs: a start at step h, one uniform action, then what later steps learned.

The start is drawn from logged states, by a reset, or by rolling in with a given policy.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from mdpkit.access import Episodes, Reset
from mdpkit.jit import kernel
from mdpkit.kernels.choose import argmax
from mdpkit.kernels.draw import draw
from mdpkit.worlds.markov import reset, start, step


class Rollouts(NamedTuple):
    """What the roll-outs leave; B blocks of states share their means."""

    policy: np.ndarray      # (H, S) actions
    f: np.ndarray           # (H, B, A) mean returns, 0 where nothing was seen
    visits: np.ndarray      # (H, B, A) roll-outs behind each mean


def from_resets(access: Reset, states: np.ndarray, blocks: np.ndarray, n: int, rng: np.random.Generator) -> Rollouts:
    """n roll-outs a step, each from a reset to a row of ``states`` (m, H); ``blocks`` (S,)."""
    out = _room(access, blocks)
    access.call(_from_resets, n, states, blocks, *out, rng)
    return out


def from_roll_in(access: Episodes, cum: np.ndarray, blocks: np.ndarray, n: int, rng: np.random.Generator) -> Rollouts:
    """n roll-outs a step, each after rolling in with the policy of cumulative probabilities ``cum`` (H, S, A)."""
    out = _room(access, blocks)
    access.call(_from_roll_in, n, cum, blocks, *out, rng)
    return out


def _room(access: Any, blocks: np.ndarray) -> Rollouts:
    H, S, A = access.known.H, access.known.S, access.known.A
    room = np.zeros((2, H, int(blocks.max()) + 1, A))
    return Rollouts(np.zeros((H, S), np.int64), room[0], room[1])


def _follow_body(world, h, s, blocks, policy, total, count, rng):
    """One roll-out from (h, s), where the world stands."""
    a = int(rng.random() * total.shape[2])
    y, z = step(world, a)
    for k in range(h + 1, policy.shape[0]):
        reward, z = step(world, policy[k, z])
        y += reward
    total[h, blocks[s], a] += y
    count[h, blocks[s], a] += 1.0


def _choose_body(h, blocks, policy, f, count):
    """Totals of step h become means, and its policy greedy in them."""
    for b in range(f.shape[1]):
        for a in range(f.shape[2]):
            f[h, b, a] /= max(count[h, b, a], 1.0)
    for s in range(blocks.shape[0]):
        policy[h, s] = argmax(f[h, blocks[s]])


def _from_resets_body(world, n, states, blocks, policy, f, count, rng):
    for h in range(states.shape[1] - 1, -1, -1):
        for _ in range(n):
            s = states[int(rng.random() * states.shape[0]), h]
            reset(world, h, s)
            _follow(world, h, s, blocks, policy, f, count, rng)
        _choose(h, blocks, policy, f, count)


def _from_roll_in_body(world, n, cum, blocks, policy, f, count, rng):
    for h in range(cum.shape[0] - 1, -1, -1):
        for _ in range(n):
            s = start(world)
            for k in range(h):
                s = step(world, draw(cum[k, s], 0, cum.shape[2], rng.random()))[1]
            _follow(world, h, s, blocks, policy, f, count, rng)
        _choose(h, blocks, policy, f, count)


_follow = kernel(_follow_body)
_choose = kernel(_choose_body)
_from_resets = kernel(_from_resets_body)
_from_roll_in = kernel(_from_roll_in_body)
