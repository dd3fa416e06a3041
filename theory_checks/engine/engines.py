"""Engines: where tasks run. Each yields (index, row, seconds, status) as results come; order is the runner's affair.

Serial runs here. Pool is a process pool (spawn) that survives dying workers. Dask sends tasks to a cluster. A task
that kills its worker twice is given up as "failed".
"""

from __future__ import annotations

import functools
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict
from multiprocessing import get_context
from typing import Any, Protocol

from mdpkit.errors import MissingPackage
from theory_checks.engine.tasks import Task, run

Done = tuple[int, dict[str, Any], float, str]
KILLED = {"error": "killed its worker twice"}


class Engine(Protocol):
    """Runs tasks somewhere and yields their rows as they come."""

    def map(self, tasks: Sequence[Task]) -> Iterator[Done]: ...

    def close(self) -> None: ...


def execute(payload: dict[str, Any]) -> tuple[dict[str, Any], float]:
    """Run one task, with BLAS on one thread."""
    clock = time.perf_counter()
    with _one_thread():
        row = run(Task(**payload))
    return row, time.perf_counter() - clock


class Serial:
    """In this process, one after the other."""

    def map(self, tasks: Sequence[Task]) -> Iterator[Done]:
        for i, task in enumerate(tasks):
            row, seconds = execute(asdict(task))
            yield i, row, seconds, "done"

    def close(self) -> None:
        pass


class Pool:
    """A pool of spawned processes. At most one task a worker is under way, so no more can be lost."""

    def __init__(self, workers: int):
        self.workers = workers
        self._pool: ProcessPoolExecutor | None = None

    def map(self, tasks: Sequence[Task]) -> Iterator[Done]:
        todo = list(range(len(tasks)))[::-1]
        under_way: dict[Future, int] = {}
        try:
            while todo or under_way:
                broken: list[int] = []
                while todo and len(under_way) < self.workers and not broken:
                    i = todo.pop()
                    try:
                        under_way[self._start().submit(execute, asdict(tasks[i]))] = i
                    except BrokenProcessPool:           # a worker died while nothing was under way on it
                        broken.append(i)
                finished, _ = wait(under_way, return_when=FIRST_COMPLETED)
                for future in finished:
                    i = under_way.pop(future)
                    try:
                        yield (i, *future.result(), "done")
                    except BrokenProcessPool:
                        broken.append(i)
                if broken:
                    suspects = sorted([*broken, *under_way.values()])
                    under_way.clear()
                    self._stop()
                    for i in suspects:                  # once more, each alone: then it is known who kills
                        yield self._alone(i, tasks[i])
        finally:
            for future in under_way:
                future.cancel()

    def _alone(self, i: int, task: Task) -> Done:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=_quiet_worker) as pool:
            try:
                return (i, *pool.submit(execute, asdict(task)).result(), "done")
            except BrokenProcessPool:
                return i, dict(KILLED), 0.0, "failed"

    def _start(self) -> ProcessPoolExecutor:
        if self._pool is None:
            self._pool = ProcessPoolExecutor(self.workers, mp_context=get_context("spawn"), initializer=_quiet_worker)
        return self._pool

    def _stop(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
            self._pool = None

    def close(self) -> None:
        self._stop()


class Dask:
    """A dask.distributed cluster: ``local`` starts one here, anything else is a scheduler's address."""

    def __init__(self, address: str = "local", workers: int = 2):
        try:
            import dask
            from distributed import Client, LocalCluster
        except ImportError as e:
            raise MissingPackage("distributed", "dask") from e
        self._cluster = None
        if address == "local":
            with dask.config.set({"distributed.scheduler.allowed-failures": 1}):
                self._cluster = LocalCluster(n_workers=workers, threads_per_worker=1, processes=True,
                                             dashboard_address=":0")
            self._client = Client(self._cluster)
        else:
            self._client = Client(address)

    def map(self, tasks: Sequence[Task]) -> Iterator[Done]:
        from distributed import KilledWorker, as_completed

        futures = {self._client.submit(execute, asdict(t), pure=False): i for i, t in enumerate(tasks)}
        for future in as_completed(list(futures)):
            i = futures.pop(future)
            try:
                row, seconds = future.result()
                yield i, row, seconds, "done"
            except KilledWorker:
                yield i, dict(KILLED), 0.0, "failed"

    def close(self) -> None:
        self._client.close()
        if self._cluster is not None:
            self._cluster.close()


def make(workers: int | None = None, dask: str | None = None) -> Engine:
    """The engine of the command line's ``--workers N`` and ``--dask ADDRESS``."""
    if dask is not None:
        return Dask(dask, workers or 2)
    return Serial() if workers == 0 else Pool(workers or 2)


def _quiet_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)        # Ctrl-C is the parent's to answer


def _one_thread() -> Any:
    return _libraries(len(sys.modules)).limit(limits=1)


@functools.lru_cache(maxsize=1)
def _libraries(modules: int) -> Any:
    """The thread pools that are loaded, looked for anew once there are more modules: a look takes milliseconds."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()
