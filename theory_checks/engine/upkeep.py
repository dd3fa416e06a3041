"""Looking after a store: recomputing a sample of its rows, and forgetting those of older code."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from mdpkit.errors import MdpkitError
from theory_checks.engine.codec import canonical
from theory_checks.engine.engines import execute
from theory_checks.engine.store import Store
from theory_checks.engine.tasks import Task


@dataclass
class Sample:
    """What recomputing found."""

    checked: int = 0
    stale: int = 0
    different: list[str] = field(default_factory=list)


def recompute_sample(store: Store, share: float, seed: int) -> Sample:
    """Run a random share of the rows again, at least one, and compare their bits. Marked rows are left out."""
    records = [r for r in store.records() if r["status"] == "done" and '"marked":true' not in r["row"]]
    said = Sample()
    if not records:
        return said
    chosen = np.random.default_rng(seed).permutation(len(records))[: max(1, math.ceil(share * len(records)))]
    for i in sorted(chosen):
        record = records[i]
        task = task_of(record)
        if not current(task, record["key"]):
            said.stale += 1
            continue
        row, _ = execute(task.__dict__)
        said.checked += 1
        if canonical(row) != record["row"]:
            said.different.append(f"{record['slug']}/{record['claim']} replicate {record['replicate']} "
                                  f"({record['key'][:12]})")
    return said


def collect_garbage(store: Store) -> int:
    """Drop every row whose key today's code would not give; returns how many."""
    old = [r["key"] for r in store.records() if not current(task_of(r), r["key"])]
    store.drop(old)
    return len(old)


def task_of(record: dict) -> Task:
    """The task behind a stored row."""
    return Task(record["slug"], record["claim"], record["world"], record["replicate"], record["subject"])


def current(task: Task, key: str) -> bool:
    """Whether the code of today gives this task that key."""
    try:
        return task.key == key
    except MdpkitError:            # the paper is gone
        return False
