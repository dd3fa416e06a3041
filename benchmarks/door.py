"""The cost of the door: a learner through ``Episodes.drive`` beside the same loop written out by hand.

Both play epsilon-greedy with sample means and consume the same random numbers; their tables of means must agree bit
for bit. The loop by hand has no world, no verbs, no checks and no chunks. Three ways to keep a record:

========  ===========================================  ======================================================
record    through the door                             by hand
========  ===========================================  ======================================================
none      a log of one number an episode               nothing
trace     the greedy policy, collected into a `Trace`  the greedy policy, into a buffer of the same size
regret    the greedy policy, watched by `Regret`       the greedy policy, in chunks, and `Regret` called on each
========  ===========================================  ======================================================
"""

from __future__ import annotations

import statistics
import time

import numpy as np

from mdpkit.access import Episodes
from mdpkit.drive import CHUNK_BYTES, CHUNK_ROWS
from mdpkit.instances.chains import riverswim_episodic
from mdpkit.instances.garnet import random_episodic
from mdpkit.jit import kernel
from mdpkit.kernels.draw import cumulative
from mdpkit.measure.regret import Regret
from mdpkit.worlds.markov import start, step

EPSILON = 0.1
ROUNDS = 7
EPISODES = {"none": 200_000, "trace": 200_000, "regret": 20_000}


def _learn(world, Q, visits, log, first, rng):
    H, _, A = visits.shape
    for i in range(log.shape[0]):
        s = start(world)
        for h in range(H):
            if rng.random() < EPSILON:
                a = rng.integers(0, A)
            else:
                a = 0
                for b in range(1, A):
                    if Q[h, s, b] > Q[h, s, a]:
                        a = b
            reward, t = step(world, a)
            best = 0
            for b in range(1, A):
                if Q[h + 1, t, b] > Q[h + 1, t, best]:
                    best = b
            visits[h, s, a] += 1
            Q[h, s, a] += (reward + Q[h + 1, t, best] - Q[h, s, a]) / visits[h, s, a]
            s = t
        log[i] = 0


def _learn_and_log(world, Q, visits, log, first, rng):
    H, S, A = visits.shape
    for i in range(log.shape[0]):
        for h in range(H):
            for s in range(S):
                best = 0
                for b in range(1, A):
                    if Q[h, s, b] > Q[h, s, best]:
                        best = b
                log[i, h, s] = best
        s = start(world)
        for h in range(H):
            if rng.random() < EPSILON:
                a = rng.integers(0, A)
            else:
                a = 0
                for b in range(1, A):
                    if Q[h, s, b] > Q[h, s, a]:
                        a = b
            reward, t = step(world, a)
            best = 0
            for b in range(1, A):
                if Q[h + 1, t, b] > Q[h + 1, t, best]:
                    best = b
            visits[h, s, a] += 1
            Q[h, s, a] += (reward + Q[h + 1, t, best] - Q[h, s, a]) / visits[h, s, a]
            s = t


def _by_hand(ptr, succ, cum, r, begin, Q, visits, log, n, keep, nature, rng):
    """n episodes; with ``keep`` episode i writes its policy to row i mod len(log)."""
    H, S, A = visits.shape
    for i in range(n):
        if keep:
            row = i % log.shape[0]
            for h in range(H):
                for s in range(S):
                    best = 0
                    for b in range(1, A):
                        if Q[h, s, b] > Q[h, s, best]:
                            best = b
                    log[row, h, s] = best
        u = nature.random()
        lo, hi = 0, S
        while hi - lo > 8:
            mid = (lo + hi) // 2
            if u < begin[mid]:
                hi = mid + 1
            else:
                lo = mid + 1
        while u >= begin[lo]:
            lo += 1
        s = lo
        for h in range(H):
            if rng.random() < EPSILON:
                a = rng.integers(0, A)
            else:
                a = 0
                for b in range(1, A):
                    if Q[h, s, b] > Q[h, s, a]:
                        a = b
            k = (h * S + s) * A + a
            u = nature.random()
            lo, hi = ptr[k], ptr[k + 1]
            while hi - lo > 8:
                mid = (lo + hi) // 2
                if u < cum[mid]:
                    hi = mid + 1
                else:
                    lo = mid + 1
            while u >= cum[lo]:
                lo += 1
            t = succ[lo]
            best = 0
            for b in range(1, A):
                if Q[h + 1, t, b] > Q[h + 1, t, best]:
                    best = b
            visits[h, s, a] += 1
            Q[h, s, a] += (r[h, s, a] + Q[h + 1, t, best] - Q[h, s, a]) / visits[h, s, a]
            s = t


learn = kernel(_learn)
learn_and_log = kernel(_learn_and_log)
by_hand = kernel(_by_hand)


def table():
    """Title, header and rows: medians of interleaved rounds."""
    worlds = {"RiverSwim S=6 A=2 H=20": riverswim_episodic(6, 20),
              "dense S=50 A=5 H=10": random_episodic(50, 5, 10, np.random.default_rng(0))}
    rows = [_row(name, model, record) for name, model in worlds.items() for record in EPISODES]
    return (f"{ROUNDS} interleaved rounds, medians", ("world", "record", "episodes", "policies", "door us/episode",
                                                      "by hand", "ratio", "rounds"), rows)


def _row(name, model, record):
    n = EPISODES[record]
    _compare(model, record, min(n, 50), 1)                       # compile
    pairs, policies = zip(*(_compare(model, record, n, seed) for seed in range(ROUNDS)))
    door, hand = (statistics.median(t) for t in zip(*pairs))
    ratios = sorted(a / b for a, b in pairs)
    return (name, record, str(n), str(policies[0]), f"{door / n * 1e6:.3f}", f"{hand / n * 1e6:.3f}",
            f"{statistics.median(ratios):.3f}", f"{ratios[0]:.2f} to {ratios[-1]:.2f}")


def _compare(model, record, n, seed):
    """Seconds of one run each way, in an order that alternates; and how many times the policy changed."""
    runs = (_through_the_door, _without)
    out = {run: run(model, record, n, seed) for run in (runs if seed % 2 else runs[::-1])}
    (door, Q, policies), (hand, Q_hand, _) = (out[run] for run in runs)
    if Q.tobytes() != Q_hand.tobytes():
        raise AssertionError("the two loops did not learn the same")
    return (door, hand), policies


def _tables(model):
    H, S, A = model.r.shape
    return np.zeros((H + 1, S, A)), np.zeros((H, S, A), np.int64)


def _through_the_door(model, record, n, seed):
    nature, rng = (np.random.default_rng([seed, k]) for k in range(2))
    watch = Regret(model) if record == "regret" else None
    access, (Q, visits) = Episodes(model, nature, watch=watch), _tables(model)
    kernel, log = (learn, np.zeros((), np.int64)) if record == "none" else \
        (learn_and_log, np.zeros((model.H, model.S), np.int64))
    clock = time.perf_counter()
    trace = access.drive(kernel, (Q, visits), log, n, rng)
    seconds = time.perf_counter() - clock
    return seconds, Q, _changes(watch.gaps) if watch else len(trace.policies)


def _changes(gaps):
    return 1 + int((np.diff(gaps) != 0).sum())


def _without(model, record, n, seed):
    nature, rng = (np.random.default_rng([seed, k]) for k in range(2))
    rows, (Q, visits) = model.rows, _tables(model)
    world = rows.ptr, rows.col, cumulative(rows.ptr, rows.val), model.r, np.cumsum(model.rho), Q, visits
    chunk = min(n, CHUNK_ROWS, CHUNK_BYTES // (8 * model.H * model.S))
    log = np.zeros((1 if record == "none" else chunk, model.H, model.S), np.int64)
    watch = Regret(model) if record == "regret" else None
    clock = time.perf_counter()
    if watch is None:
        by_hand(*world, log, n, record != "none", nature, rng)
    else:
        for first in range(0, n, chunk):
            block = log[: min(chunk, n - first)]
            by_hand(*world, block, len(block), True, nature, rng)
            watch(first, block)
    return time.perf_counter() - clock, Q, 0
