"""Reading what is left of a torn SQLite file.

Keys are hexadecimal digests, evenly spread: the file is read in 4096 ranges of keys, each forwards until it breaks and
then backwards, so that a broken page costs its own rows and few others.
"""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import tempfile
from pathlib import Path

DIGITS = 3


def rescue(path: Path, columns: tuple[str, ...]) -> list[tuple]:
    """Every row of the table ``rows`` that can still be read, checked by nobody yet."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "torn.sqlite"
        shutil.copyfile(path, copy)
        _pad(copy)
        found: dict[str, tuple] = {}
        with contextlib.suppress(sqlite3.DatabaseError):
            db = sqlite3.connect(f"file:{copy}?mode=ro&immutable=1", uri=True)
            db.text_factory = lambda b: b.decode("utf-8", "replace")
            try:
                for n in range(16**DIGITS):
                    _read_range(db, n, columns, found)
            finally:
                db.close()
        return list(found.values())


def _read_range(db: sqlite3.Connection, n: int, columns: tuple[str, ...], found: dict[str, tuple]) -> None:
    low, high = f"{n:0{DIGITS}x}", f"{n:0{DIGITS}x}~"
    for direction in ("asc", "desc"):
        query = f"select {', '.join(columns)} from rows where key >= ? and key < ? order by key {direction}"
        try:
            for row in db.execute(query, (low, high)):
                found[row[columns.index("key")]] = row
            return
        except sqlite3.DatabaseError:
            continue


def _pad(path: Path) -> None:
    """Bring a file that was cut back to the length that its header claims, with zeros."""
    data = path.read_bytes()
    if len(data) < 100:
        return
    page = int.from_bytes(data[16:18], "big")
    page = 65536 if page == 1 else page
    wanted = page * int.from_bytes(data[28:32], "big")
    if len(data) < wanted < 2**40:
        with path.open("ab") as f:
            f.truncate(wanted)
