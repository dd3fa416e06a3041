"""Nanoseconds a draw from cumulative rows, by the length of a row."""

from __future__ import annotations

import statistics
import time

import numpy as np

from mdpkit.jit import kernel
from mdpkit.kernels.draw import cumulative, draw
from mdpkit.models.tabular import dense_rows
from mdpkit.validate import simplex

LENGTHS = (3, 10, 100, 1000)
ROWS, DRAWS, ROUNDS = 64, 2_000_000, 7


def _walk(ptr, cum, n, rng):
    total, k = 0, 0
    for _ in range(n):
        total += draw(cum, ptr[k], ptr[k + 1], rng.random())
        k = (k + 1) % (ptr.shape[0] - 1)
    return total


def _uniforms(n, rng):
    total = 0.0
    for _ in range(n):
        total += rng.random()
    return total


walk = kernel(_walk)
uniforms = kernel(_uniforms)


def table():
    """Title, header and rows; the number that a draw consumes is timed alone too."""
    rng = np.random.default_rng(0)
    laws = [dense_rows(simplex("p", rng.dirichlet(np.ones(n), ROWS), (ROWS, n), flush=True)) for n in LENGTHS]
    worlds = [(rows.ptr, cumulative(rows.ptr, rows.val)) for rows in laws]
    calls = [lambda n, w=w: walk(*w, n, rng) for w in worlds] + [lambda n: uniforms(n, rng)]
    for call in calls:
        call(1)
    times = [[] for _ in calls]
    for _ in range(ROUNDS):
        for call, seen in zip(calls, times):
            clock = time.perf_counter()
            call(DRAWS)
            seen.append((time.perf_counter() - clock) / DRAWS * 1e9)
    *draws, uniform = (statistics.median(seen) for seen in times)
    rows = [(str(n), f"{t:.1f}", f"{t - uniform:.1f}") for n, t in zip(LENGTHS, draws)]
    return (f"cumulative rows in turn, {ROWS} a world; the uniform alone takes {uniform:.1f} ns",
            ("entries a row", "ns a draw", "less the uniform"), rows)
