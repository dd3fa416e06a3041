"""One size in a process of its own: ``python -m benchmarks._growth states 1000`` prints seconds and bytes as JSON."""

from __future__ import annotations

import json
import sys
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse as sp

from algorithms.exploration import ucbvi
from mdpkit.access import Episodes
from mdpkit.instances.chains import riverswim_episodic
from mdpkit.measure.regret import Regret
from mdpkit.models.tabular import EpisodicMDP, TabularMDP
from mdpkit.solve import discounted, episodic

A, B, TOL = 2, 5, 1e-8          # actions, successors of a pair, width of the enclosure


def states(S: int) -> dict[str, Any]:
    """A world of S states and 10 S transitions, built and solved to a certified 1e-8."""
    rng = np.random.default_rng(0)
    col = (np.arange(S * A)[:, None] // A + np.sort(rng.integers(0, S // B, (S * A, B)) + S // B * np.arange(B))) % S
    val, r, rho = rng.dirichlet(np.ones(B), S * A), rng.random((S, A)), np.full(S, 1 / S)
    P = sp.csr_array((val.ravel(), col.ravel(), np.arange(0, S * A * B + 1, B)), shape=(S * A, S))
    del col, val
    clock = time.perf_counter()
    model = TabularMDP(P, r, 0.99, rho)
    built = time.perf_counter()
    found = discounted.solve(model, TOL)
    end = time.perf_counter()
    width = found.width
    model = found = None
    most = _traced(lambda: discounted.solve(TabularMDP(P, r, 0.99, rho), TOL))
    return {"build": built - clock, "seconds": end - built, "bytes": most, "width": width,
            "allowed": 16 * P.nnz + 8 * (S * A + 1) + 10 * 8 * S}


def horizon(H: int) -> dict[str, Any]:
    """Backward induction over H steps with 20 states, 3 actions and rewards that vary."""
    rng = np.random.default_rng(0)
    model = EpisodicMDP.stationary(rng.dirichlet(np.ones(20), (20, 3)), rng.random((H, 20, 3)), np.full(20, 0.05), H)
    _ = model.rows
    clock = time.perf_counter()
    found = episodic.solve(model)
    seconds = time.perf_counter() - clock
    return {"seconds": seconds, "bytes": _traced(lambda: episodic.solve(model)), "width": found.width}


def episodes(K: int) -> dict[str, Any]:
    """UCBVI on RiverSwim, S = 6 and H = 20, the exact regret of each episode watched."""
    def learn() -> None:
        model = riverswim_episodic(6, 20)
        access = Episodes(model, np.random.default_rng(0), grant=("r",), watch=Regret(model))
        ucbvi.run(access, ucbvi.theory(K, 0.05), np.random.default_rng(1))

    clock = time.perf_counter()
    learn()
    return {"seconds": time.perf_counter() - clock, "bytes": _traced(learn)}


def _traced(call: Callable[[], Any]) -> int:
    """The most bytes that a call holds at once, in a run of its own: tracing takes time."""
    tracemalloc.start()
    call()
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return most


JOBS = {"states": states, "horizon": horizon, "episodes": episodes}


if __name__ == "__main__":
    job, size = JOBS[sys.argv[1]], int(sys.argv[2])
    job(100)                                # compiles; not timed
    runs = [job(size) for _ in range(1 if size >= 300_000 else 3)]
    print(json.dumps(min(runs, key=lambda run: run["seconds"])))
