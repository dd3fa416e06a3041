"""Broken twins of CascadingVI, of CascadingBPI and of their oracle: what the checks must catch."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from algorithms.exploration import cascading_rl
from algorithms.exploration.cascading_rl import Log, plan, play
from mdpkit.jit import kernel
from mdpkit.kernels.copy import copy
from mdpkit.models.cascading import all_lists, list_value
from mdpkit.records import Result
from mdpkit.worlds.cascading import start, step


def by_product(u, w, m):
    """The m items of largest u w, in order of falling w."""
    return _of(np.array(sorted(np.argsort(-u * w[:-1], kind="stable")[:m], key=lambda a: -w[a])), u, w)


def rising(u, w, m):
    """The right items in order of rising w."""
    return _of(cascading_rl.oracle(u, w, m)[1][::-1], u, w)


def heaviest(u, w, m):
    """The m items of largest w, whatever their u, and whether or not they are worth more than no click."""
    return _of(np.argsort(-w[:-1], kind="stable")[:m], u, w)


def fixed(u, w, m):
    """The first m items, whatever they are worth."""
    return _of(np.arange(m), u, w)


def forced(u, w, m):
    """No click is worth more than any item."""
    return cascading_rl.oracle(u, np.append(w[:-1], 4.0), m)


def enumeration(u, w, m):
    """Visits all lists, and counts them."""
    lists = all_lists(len(u), m)
    values = [list_value(items[items >= 0], u, w) for items in lists]
    items = lists[int(np.argmax(values))]
    return max(values), items[items >= 0], len(lists)


def timid(access, params, rng):
    """A fiftieth of the bonuses."""
    return cascading_rl.run(access, replace(params, c=params.c / 50), rng)


def timid_mended(access, params, rng):
    """A fiftieth of the bonuses."""
    return cascading_rl.run_mended(access, replace(params, c=params.c / 50), rng)


def not_mended(access, params, rng):
    """Takes qup for a forced item."""
    return cascading_rl.run(access, params, rng)


def exploring(access, params, rng):
    """No bonus; with probability 1/10 a list drawn at random, at each step. Plans every tenth episode."""
    counts, mind, rule = cascading_rl._opened(access, replace(params, c=0.0), False)
    log = Log(mind.policy, mind.up[:0], mind.low[:0])
    return Result(counts, access.drive(_explore, (counts, mind, rule, 0.1), log, params.K, rng), params, access.samples)


def still(access, params, rng):
    """The first m items for ever."""
    counts, mind, _ = cascading_rl._opened(access, params, False)
    mind.policy[:] = np.arange(access.known.m)
    log = Log(mind.policy, mind.up[:0], mind.low[:0])
    return Result(counts, access.drive(_still, (mind.policy,), log, params.K, rng), params, access.samples)


def hasty(access, params, rng):
    """c = 0.02: stops early."""
    return cascading_rl.run_bpi(access, replace(params, c=0.02), rng)


def at_once(access, params, rng):
    """Stops before it has seen anything."""
    return cascading_rl.run_bpi(access, replace(params, eps=1e9), rng)


def tenfold(access, params, rng):
    """Stops at 10 eps."""
    return cascading_rl.run_bpi(access, replace(params, eps=10 * params.eps), rng)


def other_lists(access, params, rng):
    """Stops in time and returns the item that pays least."""
    out = cascading_rl.run_bpi(access, params, rng)
    lists = np.full_like(out.output.policy, -1)
    lists[..., 0] = access.known.r[:, :-1].argmin(1)
    return replace(out, output=out.output._replace(policy=lists))


def _of(items, u, w):
    return list_value(items, u, w), items, 0


def _explore_body(world, counts, mind, rule, share, log, first, rng):
    H, S, m = mind.policy.shape
    N = mind.qup.shape[1]
    greedy = mind.policy.copy()
    for k in range(len(log.policy)):
        if k % 10 == 0:
            plan(counts, mind, rule)
            copy(greedy, mind.policy)
        copy(mind.policy, greedy)
        for h in range(H):
            for s in range(S):
                if rng.random() < share:
                    for i in range(m):
                        a, fresh = 0, False
                        while not fresh:
                            a = int(rng.random() * N)
                            fresh = True
                            for j in range(i):
                                fresh = fresh and mind.policy[h, s, j] != a
                        mind.policy[h, s, i] = a
        copy(log.policy[k], mind.policy)
        play(world, counts, mind, rule)


def _still_body(world, policy, log, first, rng):
    for _ in range(len(log.policy)):
        s = start(world)
        for h in range(policy.shape[0]):
            s = step(world, policy[h, s])[3]


_explore = kernel(_explore_body)
_still = kernel(_still_body)
