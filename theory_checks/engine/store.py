"""The store: every row once, in one SQLite file, with a checksum a row and one writer.

A row is acknowledged when its transaction is on disk: a killed process loses at most what it was computing. Rows
that fail their checksum move to the table ``quarantine`` and are computed again.
"""

from __future__ import annotations

import json
import os
import platform
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from mdpkit.errors import MdpkitError
from theory_checks.engine.codec import canonical, digest
from theory_checks.engine.salvage import rescue
from theory_checks.engine.tasks import Task

VERSION = 1
COLUMNS = ("key", "slug", "claim", "world", "replicate", "subject", "row", "sha256", "python", "numpy", "seconds",
           "status", "written")
SCHEMA = f"""
create table if not exists meta (name text primary key, value text);
create table if not exists rows ({', '.join(COLUMNS)}, primary key (key)) without rowid;
create table if not exists quarantine ({', '.join(COLUMNS)}, reason);
"""


class StoreFull(MdpkitError):
    """The disk is full; every acknowledged row is kept."""


class Store:
    """Rows by key.

    Parameters
    ----------
    path : path or None
        None keeps them in memory.

    Attributes
    ----------
    damage : list of str
        What was found broken on the way, for the report.
    """

    def __init__(self, path: str | os.PathLike | None = None):
        self.path = None if path is None else Path(path)
        self.damage: list[str] = []
        if self.path is not None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        self._db = self._open()

    def get(self, key: str) -> dict[str, Any] | None:
        """The row of a key, or None where it is missing or was damaged."""
        query = f"select {', '.join(COLUMNS)} from rows where key = ?"
        found = self._do(lambda db: db.execute(query, (key,)).fetchone())
        if found is None:
            return None
        record = dict(zip(COLUMNS, found))
        if record["sha256"] != _checksum(record):
            self._quarantine(record, "checksum")
            return None
        return json.loads(record["row"])

    def put(self, task: Task, key: str, row: dict[str, Any], seconds: float, status: str = "done") -> None:
        """Write one row; it is on disk when this returns.

        Raises
        ------
        StoreFull
            The disk is full.
        """
        record = {"key": key, "slug": task.slug, "claim": task.claim, "world": task.world,
                  "replicate": task.replicate, "subject": task.subject, "row": canonical(row),
                  "python": platform.python_version(), "numpy": np.__version__, "seconds": seconds, "status": status,
                  "written": time.time()}
        record["sha256"] = _checksum(record)
        marks = ", ".join("?" * len(COLUMNS))
        statement = f"insert or replace into rows ({', '.join(COLUMNS)}) values ({marks})"
        self._write(statement, [tuple(record[c] for c in COLUMNS)])

    def records(self) -> Iterator[dict[str, Any]]:
        """All intact rows with their columns, by key; damaged ones are put into quarantine."""
        query = f"select {', '.join(COLUMNS)} from rows order by key"
        for found in self._do(lambda db: db.execute(query).fetchall()):
            record = dict(zip(COLUMNS, found))
            if record["sha256"] == _checksum(record):
                yield record
            else:
                self._quarantine(record, "checksum")

    def digest(self) -> str:
        """sha256 over keys and rows of all loop rows. Rows marked "marked" (LP, BLAS) agree in value only."""
        parts = [f"{r['key']} {r['row']}" for r in self.records() if not json.loads(r["row"]).get("marked")]
        return digest(*parts)

    def status(self) -> dict[str, Any]:
        """Counts, digest, damage and times."""
        records = list(self.records())
        quarantined = self._do(lambda db: db.execute("select count(*) from quarantine").fetchone()[0])
        return {"path": str(self.path), "rows": len(records), "failed": sum(r["status"] != "done" for r in records),
                "marked": sum(bool(json.loads(r["row"]).get("marked")) for r in records),
                "seconds": sum(r["seconds"] for r in records), "quarantined": quarantined, "damage": self.damage,
                "digest": self.digest()}

    def typical_seconds(self, slug: str, claim: str) -> float | None:
        """Mean time of a row of this claim, for the ETA."""
        query = "select avg(seconds) from rows where slug = ? and claim = ?"
        return self._do(lambda db: db.execute(query, (slug, claim)).fetchone()[0])

    def drop(self, keys: list[str]) -> None:
        """Forget rows, as `gc` does with those of older code."""
        self._write("delete from rows where key = ?", [(k,) for k in keys])

    def close(self) -> None:
        self._db.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _open(self) -> sqlite3.Connection:
        try:
            return self._connect()
        except sqlite3.DatabaseError as e:
            if _busy(e):
                raise self._held(e) from e
            self._db = self._connect_anew(e)
            return self._db

    def _do(self, action: Callable[[sqlite3.Connection], Any]) -> Any:
        """``action`` on the connection; a torn file is salvaged first and the action tried again."""
        try:
            return action(self._db)
        except sqlite3.DatabaseError as e:
            if _busy(e):
                raise self._held(e) from e
            if _full(e):
                raise StoreFull("store", "on a disk with room", str(self.path),
                                "every row that was written is kept; make room and run again",
                                came=f"sqlite says: {e}") from e
            self._db.close()
            if self.path is None:
                raise
            self._db = self._connect_anew(e)
            return action(self._db)

    def _write(self, statement: str, rows: list[tuple]) -> None:
        def act(db: sqlite3.Connection) -> None:
            with db:
                db.executemany(statement, rows)

        self._do(act)

    def _held(self, why: Exception) -> MdpkitError:
        return MdpkitError("store", "free and writable", str(self.path), "does another run hold it?",
                           came=f"sqlite says: {why}")

    def _connect(self) -> sqlite3.Connection:
        db = sqlite3.connect(":memory:" if self.path is None else self.path, timeout=20)
        db.text_factory = lambda b: b.decode("utf-8", "replace")     # the checksum tells what that changed
        try:
            db.execute("pragma journal_mode = wal")
            db.execute("pragma synchronous = normal")
            db.executescript(SCHEMA)
            version = db.execute("select value from meta where name = 'version'").fetchone()
            if version is None:
                with db:
                    db.execute("insert or ignore into meta values ('version', ?)", (str(VERSION),))
            elif int(version[0]) > VERSION:
                raise MdpkitError("store", f"of version {VERSION} or older", version[0], "a newer mdpkit wrote it")
        except BaseException:
            db.close()
            raise
        return db

    def _set_aside(self, why: Exception) -> Path:
        """Rename a file that is no database any more; what it held is computed again."""
        assert self.path is not None
        n = 1
        while (aside := self.path.with_name(f"{self.path.name}.damaged-{n}")).exists():
            n += 1
        os.replace(self.path, aside)
        for tail in ("-wal", "-shm"):
            Path(f"{self.path}{tail}").unlink(missing_ok=True)
        self.damage.append(f"{self.path} is damaged ({why}); it was set aside as {aside.name}")
        return aside

    def _connect_anew(self, why: Exception) -> sqlite3.Connection:
        """Set a torn file aside and copy every intact row of it into a new one."""
        aside = self._set_aside(why)
        found = rescue(aside, COLUMNS)
        intact = [f for f in found if dict(zip(COLUMNS, f))["sha256"] == _checksum(dict(zip(COLUMNS, f)))]
        db = self._connect()
        with db:
            db.executemany(f"insert or ignore into rows values ({', '.join('?' * len(COLUMNS))})", intact)
        self.damage[-1] += f"; {len(intact)} rows were salvaged"
        return db

    def _quarantine(self, record: dict[str, Any], reason: str) -> None:
        self.damage.append(f"row {record['key'][:12]} of {record['slug']}/{record['claim']}: wrong {reason}")
        self._write(f"insert into quarantine values ({', '.join('?' * (len(COLUMNS) + 1))})",
                    [(*(record[c] for c in COLUMNS), reason)])
        self.drop([record["key"]])


def _busy(e: Exception) -> bool:
    return any(word in str(e) for word in ("locked", "readonly", "unable to open"))


def _full(e: Exception) -> bool:
    return any(word in str(e) for word in ("full", "disk I/O"))


def _checksum(record: dict[str, Any]) -> str:
    return digest(*(str(record[c]) for c in COLUMNS if c not in ("sha256", "written")))
