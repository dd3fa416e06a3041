"""Exact solvers and learners beside those of others, in interleaved rounds of one run.

Each peer lives in an environment of its own, made on the first run (`benchmarks/_peers.py`). Ratios are the peer's time
over ours: above 1 ours is faster. In a round each side solves as often as fits in a moment, and the median counts.
Everything has compiled and built its model before a clock starts; values are held against a certified answer. Under
"sweep" stands what one pass over the whole kernel takes at the bandwidth of memory.
"""

from __future__ import annotations

import math
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from algorithms.exploration import ucbvi
from benchmarks._peers import Peer
from benchmarks._worker import timed
from mdpkit.access import Episodes
from mdpkit.instances.chains import cycle, haddad_monmege, riverswim_episodic
from mdpkit.instances.garnet import garnet
from mdpkit.measure.regret import Regret
from mdpkit.models.tabular import EpisodicMDP, TabularMDP
from mdpkit.solve import discounted, episodic, matrix_game, regularised_game

ROUNDS = 5
LONG = 20.0              # seconds of a peer's solve after which it is not asked again
TOL = 1e-6               # of both: the width of our enclosure, and the peer's tolerance
HEADER = ("job", "peer", "ours s", "peer s", "peer/ours", "at least", "ours off by", "peer off by", "sweep s")
WIDE = 2**23             # numbers, 64 MB: their sum is bound by memory


def table() -> tuple[str, tuple[str, ...], list[tuple[str, ...]]]:
    """Title, header and rows."""
    rng, peers = np.random.default_rng(0), {}
    with tempfile.TemporaryDirectory() as folder:
        bench = _Bench(Path(folder), peers)
        bench.discounted("Garnet S=1e3 A=10 b=20", garnet(1000, 10, 20, 0.99, rng, sparse=True), 2.0)
        bench.discounted("Garnet S=1e4 A=10 b=10", garnet(10_000, 10, 10, 0.99, rng, sparse=True), 1.3, ("quantecon",))
        bench.discounted("dense S=200 A=10", _dense(200, 10, rng), 1.0, ("quantecon", "toolbox"))
        bench.discounted("grid 100 x 100, goal", _grid(100, 0.999), 15.0, ("quantecon", "mdpsolver", "stormpy"))
        bench.discounted("grid 100 x 100, no goal", _grid(100, 0.999, True), 15.0, ("quantecon",))
        bench.hard(rng)
        bench.game(rng.normal(size=(100, 100)))
        bench.mirror(rng.random((100, 100)))
        bench.backward(_dense(500, 10, rng), 100)
        bench.learner(2000)
        bench.rows.append(_imports())
    for peer in peers.values():
        peer.close()
    return f"{ROUNDS} interleaved rounds, medians; tolerance {TOL:g}; BLAS as each finds it", HEADER, bench.rows


class _Bench:
    def __init__(self, folder: Path, peers: dict[str, Peer]):
        self.folder, self.peers, self.rows, self.bandwidth = folder, peers, [], _bandwidth()

    def discounted(self, name: str, model: TabularMDP, least: float,
                   peers: tuple[str, ...] = ("quantecon", "mdpsolver", "stormpy", "toolbox"), tol: float = TOL,
                   tier: str = "float") -> None:
        truth = discounted.solve(model, tier=tier).value
        arrays = {**model.rows._asdict(), "r": model.r, "gamma": model.gamma}
        if not model.is_sparse:
            arrays["P"] = model.P
        goals = {"quantecon": least, "mdpsolver": 5.0, "stormpy": 30.0, "toolbox": 50.0}
        if math.isnan(least):
            goals = dict.fromkeys(goals, least)
        off = lambda v: float(np.abs(np.asarray(v) - truth).max())
        self._against(name, "discounted", arrays, lambda: discounted.solve(model, tol).value, {
            p: goals[p] for p in peers}, off, tol=tol, bytes_read=_bytes(model))

    def hard(self, rng: np.random.Generator) -> None:
        """Where stopping at a small change is wrong, sweeps stall, or rewards are tiny or huge: errors against exact
        answers, from rationals. Nobody is asked for more than 1e-6 of the rewards' scale."""
        base = garnet(40, 3, 3, 0.9999, rng, sparse=True)
        worlds = {"Haddad-Monmege n=10, gamma .9999": (haddad_monmege(10, 0.9999), 1.0),
                  "Haddad-Monmege n=20, gamma .9999": (haddad_monmege(20, 0.9999), 1.0),
                  "cycle of 50, gamma .9999": (cycle(50, 0.9999), 1.0), "Garnet S=40, gamma .9999": (base, 1.0)}
        for scale in (1e-6, 1e6):
            worlds[f"the same, rewards x {scale:g}"] = (TabularMDP(base.P, scale * base.r, base.gamma, base.rho), scale)
        for name, (model, scale) in worlds.items():
            self.discounted(name, model, math.nan, ("quantecon", "mdpsolver"), TOL * scale, "exact")

    def game(self, A: np.ndarray) -> None:
        value = matrix_game.solve(A).value
        self._against("zero-sum 100 x 100", "game", {"A": A}, lambda: matrix_game.solve(A).value,
                      {"quantecon": 1.0, "highs": 5.0, "nashpy": 5.0}, lambda v: abs(float(v) - value))

    def mirror(self, A: np.ndarray) -> None:
        arrays = {"A": A, "alpha": 0.1, "eta": 0.1}
        ours = lambda n: lambda: np.exp(regularised_game.descend(A, 0.1, 0.1, n)[0])
        best = ours(3000)()
        self._against("mirror descent 100 x 100, 3000 steps", "mmd", {**arrays, "n": 3000}, ours(3000),
                      {"numpy": 4.0}, lambda x: float(np.abs(np.asarray(x) - best).max()))
        self._against("mirror descent 100 x 100, 100 steps", "mmd", {**arrays, "n": 100}, ours(100), {"spiel": 1000.0})

    def backward(self, model: TabularMDP, H: int) -> None:
        """Rewards of ours may vary in h (they are stored apart for each step); the peer has one reward for all, and is
        asked for that where ours do vary."""
        rng = np.random.default_rng(1)
        for name, r in (("one reward", np.broadcast_to(model.r, (H, *model.r.shape))),
                        ("rewards new at each step", rng.random((H, *model.r.shape)))):
            own = EpisodicMDP.stationary(model.P, r, model.rho, H)
            truth = episodic.solve(own).value[0]
            far = lambda v, truth=truth: float(np.abs(np.asarray(v) - truth).max())
            self._against(f"backward induction S=500 A=10 H=100, {name}", "backward",
                          {"P": model.P, "r": model.r, "H": H}, lambda own=own: episodic.solve(own).value[0],
                          {"quantecon": 1.8}, far if name == "one reward" else lambda v: float("nan"),
                          bytes_read=H * _bytes(model))

    def learner(self, n: int) -> None:
        """The paper's bonus, and every episode's exact regret, against a peer that measures none."""
        model = riverswim_episodic(6, 20)

        def ours() -> float:
            score = Regret(model)
            access = Episodes(model, np.random.default_rng(0), grant=("r",), watch=score)
            ucbvi.run(access, ucbvi.theory(n, 0.05), np.random.default_rng(1))
            return score.total
        arrays = {"P": model.P[0], "r": model.r[0], "rho": model.rho, "H": model.H, "n": n // 10}
        self._against(f"UCBVI RiverSwim S=6 H=20, {n} episodes (peer: a tenth of them)", "ucbvi", arrays, ours,
                      {"rlberry": 200.0}, scale=10.0)

    def _against(self, name: str, job: str, arrays: dict[str, Any], ours: Callable[[], Any], goals: dict[str, float],
                 off: Callable[[Any], float] = lambda v: float("nan"), scale: float = 1.0, tol: float = TOL,
                 bytes_read: float = math.nan) -> None:
        file = self.folder / f"{len(self.rows)}.npz"
        np.savez(file, **arrays)
        error, mine, theirs, said = off(ours()), [], {p: [] for p in goals}, {}
        for p in goals:
            if p not in self.peers:
                self.peers[p] = Peer(p)
            said[p] = self.peers[p].ask(job, file, tol)                     # compiles; not timed
        for _ in range(ROUNDS):
            mine.append(timed(ours)[0])
            for p in goals:
                if "error" not in said[p] and sum(theirs[p]) < LONG:
                    theirs[p].append(scale * self.peers[p].ask(job, file, tol)["seconds"])
        a = statistics.median(mine)
        floor = "" if math.isnan(bytes_read) else f"{bytes_read / self.bandwidth:.2g}"
        for p, least in goals.items():
            if "error" in said[p]:
                self.rows.append((name, p, f"{a:.4g}", "", "", _goal(least), f"{error:.1e}", said[p]["error"][:40],
                                  floor))
                continue
            b, value = statistics.median(theirs[p]), said[p]["value"]
            far = f"{off(value):.1e}" if value is not None and scale == 1.0 else ""
            self.rows.append((name, p, f"{a:.4g}", f"{b:.4g}", f"{b / a:.2f}", _goal(least), f"{error:.1e}", far,
                              floor))


def _bandwidth() -> float:
    """Bytes a second from memory, as one thread sums them; the best of some tries."""
    block, tries = np.ones(WIDE), []
    for _ in range(7):
        clock = time.perf_counter()
        block.sum()
        tries.append(time.perf_counter() - clock)
    return block.nbytes / min(tries)


def _bytes(model: TabularMDP) -> float:
    """What one sweep over all rows reads at least: nothing is faster, unless it reads fewer rows or from a cache."""
    return 16.0 * len(model.rows.val) if model.is_sparse else 8.0 * model.P.size


def _goal(least: float) -> str:
    return "" if math.isnan(least) else f"{least:g}"


def _dense(S: int, A: int, rng: np.random.Generator) -> TabularMDP:
    return TabularMDP(rng.dirichlet(np.ones(S), (S, A)), rng.random((S, A)), 0.99, np.full(S, 1 / S), flush=True)


def _grid(n: int, gamma: float, endless: bool = False, wall: float = 0.15, slip: float = 0.1) -> TabularMDP:
    """n x n cells, some walled off; four moves that slip to either side. -1 a move until the far corner, or else
    endless with a random reward a cell."""
    rng = np.random.default_rng(0)
    walls = rng.random((n, n)) < wall
    walls[0, 0] = walls[-1, -1] = False
    x, y = (v.ravel() for v in np.indices((n, n)))
    ends = []
    for i, j in ((-1, 0), (0, 1), (1, 0), (0, -1)):
        u, v = np.clip(x + i, 0, n - 1), np.clip(y + j, 0, n - 1)
        ends.append(np.where(walls[u, v] | walls.ravel(), x * n + y, u * n + v))
    moves = np.stack(ends, -1)                                            # (S, 4)
    if not endless:
        moves[-1] = n * n - 1
    spread = (1 - 2 * slip) * np.eye(4) + slip * (np.roll(np.eye(4), 1, 1) + np.roll(np.eye(4), -1, 1))
    row = np.repeat(np.arange(4 * n * n), 4)
    P = sp.coo_array((np.tile(spread, (n * n, 1)).ravel(), (row, np.repeat(moves, 4, 0).ravel())))
    r = np.repeat(np.where(walls.ravel(), 0.0, rng.random(n * n) if endless else -1.0)[:, None], 4, 1)
    if not endless:
        r[-1] = 0.0
    return TabularMDP(sp.csr_array(P), r, gamma, np.eye(1, n * n)[0])


def _imports() -> tuple[str, ...]:
    """`import mdpkit` beside `import numpy`: here the ratio is ours over numpy's, at most 1.5."""
    mine, theirs = [], []
    for _ in range(ROUNDS):
        for name, seen in (("mdpkit", mine), ("numpy", theirs)):
            clock = time.perf_counter()
            subprocess.run([sys.executable, "-c", f"import {name}"], check=True)
            seen.append(time.perf_counter() - clock)
    a, b = statistics.median(mine), statistics.median(theirs)
    cells = (f"{x:.4g}" for x in (a, b))
    return "import mdpkit (ratio: ours over numpy)", "numpy", *cells, f"{a / b:.2f}", "at most 1.5", "", "", ""
