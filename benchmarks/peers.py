"""Exact solvers beside QuantEcon's, in interleaved rounds of one run, each answer's error against a certified one.

Ratios are the peer's time over ours: above 1 ours is faster. Both have compiled before the clock starts.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse as sp

from mdpkit.instances.garnet import garnet
from mdpkit.models.tabular import TabularMDP
from mdpkit.solve import discounted, matrix_game

ROUNDS = 7
TOL = 1e-6               # of both: the width of our enclosure, and QuantEcon's epsilon


def table():
    """Title, header and rows."""
    rng = np.random.default_rng(0)
    rows = [_discounted("Garnet S=1000 A=10 b=20", garnet(1000, 10, 20, 0.99, rng, sparse=True)),
            _discounted("Garnet S=10000 A=10 b=10", garnet(10_000, 10, 10, 0.99, rng, sparse=True)),
            _discounted("dense S=200 A=10", _dense(200, 10, rng)),
            _discounted("gridworld 100 x 100", _grid(100, 0.999)),
            _game("zero-sum 100 x 100", rng.normal(size=(100, 100))), _imports()]
    return (f"{ROUNDS} interleaved rounds, medians; QuantEcon {_version()}, tolerance {TOL:g}",
            ("job", "ours s", "peer s", "peer/ours", "ours off by", "peer off by"), rows)


def _version() -> str:
    from importlib.metadata import version

    return version("quantecon")


def _dense(S: int, A: int, rng: np.random.Generator) -> TabularMDP:
    return TabularMDP(rng.dirichlet(np.ones(S), (S, A)), rng.random((S, A)), 0.99, np.full(S, 1 / S), flush=True)


def _grid(n: int, gamma: float, slip: float = 0.2) -> TabularMDP:
    """n x n cells, four moves that slip to a uniform one, -1 a move until the far corner; sparse."""
    x, y = (v.ravel() for v in np.indices((n, n)))
    ends = np.stack([np.clip(x + i, 0, n - 1) * n + np.clip(y + j, 0, n - 1)
                     for i, j in ((1, 0), (-1, 0), (0, 1), (0, -1))], -1)
    home = n * n - 1
    ends[home] = home
    row = np.arange(4 * n * n)[:, None].repeat(4, 1)
    weight = slip / 4 + (1 - slip) * np.eye(4)
    P = sp.coo_array((np.tile(weight, (n * n, 1)).ravel(), (row.ravel(), ends.repeat(4, 0).ravel())))
    r = np.full((n * n, 4), -1.0)
    r[home] = 0.0
    return TabularMDP(sp.csr_array(P), r, gamma, np.eye(1, n * n)[0])


def _discounted(name: str, model: TabularMDP) -> tuple[str, ...]:
    from quantecon.markov import DiscreteDP

    s, a = (x.ravel() for x in np.indices((model.S, model.A)))
    if model.is_sparse:
        peer = DiscreteDP(model.r.ravel(), sp.csr_matrix(model.P), model.gamma, s, a)
    else:
        peer = DiscreteDP(model.r, model.P, model.gamma)
    truth = discounted.solve(model)
    ours = lambda: discounted.solve(model, TOL).value
    theirs = lambda: peer.solve(method="modified_policy_iteration", epsilon=TOL).v
    return (name, *_compare(ours, theirs, lambda v: np.abs(v - truth.value).max()))


def _game(name: str, A: np.ndarray) -> tuple[str, ...]:
    from quantecon.optimize import minmax

    value = matrix_game.solve(A).value
    return (name, *_compare(lambda: matrix_game.solve(A).value, lambda: minmax(A)[0], lambda v: abs(v - value)))


def _imports() -> tuple[str, ...]:
    """`import mdpkit` beside `import numpy`: the last column is ours over numpy's, the other way round."""
    run = lambda name: subprocess.run([sys.executable, "-c", f"import {name}"], check=True)
    ours, theirs, ratio, *_ = _compare(lambda: run("mdpkit"), lambda: run("numpy"), lambda v: 0.0)
    return "import mdpkit; import numpy", ours, theirs, ratio, "", ""


def _compare(ours: Callable[[], Any], theirs: Callable[[], Any], error: Callable[[Any], float]) -> tuple[str, ...]:
    off, times = [], ([], [])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for call in (ours, theirs):
            off.append(float(error(call())))
        for _ in range(ROUNDS):
            for call, seen in zip((ours, theirs), times):
                clock = time.perf_counter()
                call()
                seen.append(time.perf_counter() - clock)
    a, b = (statistics.median(seen) for seen in times)
    return f"{a:.4g}", f"{b:.4g}", f"{b / a:.2f}", *(f"{x:.1e}" for x in off)
