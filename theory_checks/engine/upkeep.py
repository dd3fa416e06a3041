"""Looking after a store: recomputing a sample of its rows, comparing two stores, forgetting rows of older code."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field

import numpy as np

from mdpkit.errors import MdpkitError
from theory_checks.engine import codec
from theory_checks.engine.agree import disagreement, searched_again
from theory_checks.engine.engines import execute
from theory_checks.engine.store import Store
from theory_checks.engine.tasks import Task, measure_again


@dataclass
class Sample:
    """What comparing found: rows that were compared, those of them that passed through a library, and so on."""

    checked: int = 0
    marked: int = 0
    stale: int = 0
    alone: int = 0
    different: list[str] = field(default_factory=list)

    def compare(self, record: dict, row: str) -> None:
        """Take in one comparison."""
        self.checked += 1
        self.marked += bool(json.loads(record["row"]).get("marked"))
        if where := disagreement(record["row"], row):
            self.different.append(f"{record['slug']}/{record['claim']} replicate {record['replicate']} "
                                  f"({record['key'][:12]}): {where}")


def recompute_sample(store: Store, share: float, seed: int) -> Sample:
    """Run a random share of the rows again, at least one, and compare: bits, or marked rows within their certificate.

    Of a marked search the world is kept and measured again: rounding may lead a second search elsewhere.
    """
    records = [r for r in store.records() if r["status"] == "done"]
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
        said.compare(record, codec.canonical(_again(task, json.loads(record["row"]))))
    return said


def compare_stores(store: Store, other: Store) -> Sample:
    """Compare the rows that two stores share, made by two versions, machines or numbers of workers."""
    said = Sample()
    theirs = {r["key"]: r for r in other.records() if r["status"] == "done"}
    for record in store.records():
        twin = theirs.pop(record["key"], None)
        if record["status"] != "done" or twin is None:
            said.alone += 1
        else:
            said.compare(record, twin["row"])
    said.alone += len(theirs)
    return said


def _again(task: Task, row: dict) -> dict:
    if row.get("marked") and "world" in row:
        old = codec.decode(row)
        return searched_again(old, measure_again(task, old["world"]))
    return execute(task.__dict__)[0]


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
