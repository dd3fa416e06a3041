"""Stores of some rows, for the tests of stores."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from theory_checks.engine import codec
from theory_checks.engine.store import Store
from theory_checks.engine.tasks import Task

ROWS = 300
HERE = str(Path(__file__).resolve().parents[1])        # a process started from here finds `engine.stores` by it


def task(i: int, claim: str = "C5") -> Task:
    return Task("hyq", claim, '{"H":4}', i, "algorithms.offline.hyq:run")


def key(i: int) -> str:
    return codec.digest(str(i))


def value(i: int) -> dict:
    return {"measured": i / 7, "bound": 10.0, "pad": "x" * 100}


def filled(path: Path | None, n: int = ROWS, order=None) -> Store:
    store = Store(path)
    for i in order if order is not None else range(n):
        store.put(task(i), key(i), value(i), 0.25)
    return store


def kept(store: Store, n: int = ROWS) -> int:
    """How many rows come back; those that do are right."""
    rows = [store.get(key(i)) for i in range(n)]
    assert all(row is None or row == value(i) for i, row in enumerate(rows))
    return sum(row is not None for row in rows)


def meddle(path: Path, statement: str, *values: object) -> None:
    """Through another connection, as a stray hand would."""
    db = sqlite3.connect(path)
    db.execute(statement, values)
    db.commit()
    db.close()
