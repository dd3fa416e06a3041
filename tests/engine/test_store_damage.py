"""What was damaged is noticed, salvaged where it can be, and computed again where it cannot."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from engine.stores import HERE, ROWS, filled, kept, key, meddle, task, value

from theory_checks.engine.runner import verify_all
from theory_checks.engine.store import Store
from theory_checks.engine.tasks import find_check

# ------------------------------------------------------------------------------------------- damage

FLIPS = {
    "payload": ("row", lambda text: text.replace("x", "y", 1)),
    "number": ("row", lambda text: text.replace("1.", "2.", 1)),
    "cut": ("row", lambda text: text[:-5]),
    "top-bit": ("row", lambda text: text.encode().replace(b"x", b"\xf8", 1)),      # no UTF-8 any more
    "sha256": ("sha256", lambda text: ("1" if text[0] == "0" else "0") + text[1:]),
    "world": ("world", lambda text: '{"H":5}'),
    "replicate": ("replicate", lambda n: n + 1),
    "seconds": ("seconds", lambda x: x + 1.0),
    "status": ("status", lambda text: "failed"),
}


@pytest.mark.parametrize("flip", FLIPS)
@pytest.mark.parametrize("first", ["get", "records"])
def test_a_flipped_value_is_noticed(copy, flip, first):
    path, (column, change) = copy(), FLIPS[flip]
    db = sqlite3.connect(path)
    old = db.execute(f"select {column} from rows where key = ?", (key(150),)).fetchone()[0]
    new = change(old)
    assert new != old
    what = "cast(? as text)" if isinstance(new, bytes) else "?"
    db.execute(f"update rows set {column} = {what} where key = ?", (new, key(150)))
    db.commit()
    db.close()
    with Store(path) as store:
        if first == "get":
            assert store.get(key(150)) is None
        rows = list(store.records())
        assert len(rows) == ROWS - 1 and key(150) not in {r["key"] for r in rows}
        assert kept(store) == ROWS - 1
        status = store.status()
        assert (status["rows"], status["quarantined"]) == (ROWS - 1, 1)
        assert len(store.damage) == 1 and key(150)[:12] in store.damage[0] and "hyq/C5" in store.damage[0]
        store.put(task(150), key(150), value(150), 0.25)
        assert kept(store) == ROWS and store.digest() == filled(None).digest()


def test_a_quarantined_row_is_computed_again(tmp_path):
    check = find_check("hyq", "C2-tight")
    path = tmp_path / "rows.sqlite"
    with Store(path) as store:
        verdict = verify_all([check], store=store, controls=False)[0]
        digest = store.digest()
    meddle(path, "update rows set row = replace(row, 'measured', 'measurec')")
    with Store(path) as store:
        again = verify_all([check], store=store, controls=False)[0]
        assert repr(again) == repr(verdict)
        assert store.digest() == digest and store.status()["quarantined"] == 1 and len(store.damage) == 1


@pytest.mark.parametrize("page", [3, 12, -1])
@pytest.mark.parametrize("first", ["get", "put", "records", "digest", "status", "typical_seconds", "drop"])
def test_a_page_of_zeros(copy, whole, page, first):
    """Whatever stumbles over it first: the file is set aside, and rows of other pages are kept."""
    at = (page % (len(whole) // 4096)) * 4096
    with Store(copy(whole[:at] + bytes(4096) + whole[at + 4096:])) as store:
        if first == "put":
            for i in range(ROWS):
                store.put(task(i), key(i), value(i), 0.25)
            assert kept(store) == ROWS
        else:
            {"get": lambda: kept(store), "records": lambda: list(store.records()), "digest": store.digest,
             "status": store.status, "typical_seconds": lambda: store.typical_seconds("hyq", "C5"),
             "drop": lambda: store.drop([key(i) for i in range(0, ROWS, 2)])}[first]()
            kept(store)
        assert "damaged-1" in store.damage[0] and list(store.path.parent.glob("*.damaged-1"))


@pytest.mark.parametrize("page", [8, 12, -1])
def test_all_other_pages_are_salvaged(copy, whole, page):
    """One page of 4096 bytes holds some eleven of these rows, and their b-tree some hundred pages."""
    at = (page % (len(whole) // 4096)) * 4096
    with Store(copy(whole[:at] + bytes(4096) + whole[at + 4096:])) as store:
        assert kept(store) >= 0.8 * ROWS, store.damage


@pytest.mark.parametrize("share", [0.3, 0.5, 0.75, 0.97])
def test_a_cut_file_keeps_the_rows_before_the_cut(copy, whole, share):
    content = whole[: int(share * len(whole))]
    path = copy(content)
    with Store(path) as store:
        n = kept(store)
        assert len(store.damage) == 1 and path.name in store.damage[0] and "damaged-1" in store.damage[0]
        for i in range(ROWS):
            store.put(task(i), key(i), value(i), 0.25)
        assert store.digest() == filled(None).digest()
    assert (path.parent / "rows.sqlite.damaged-1").read_bytes() == content
    assert n > 0 or share < 0.5, "no row was salvaged, though the file holds many"


@pytest.mark.parametrize("cut", [16, 50, 99, 100, 512, 4095, 4096, 5000, 8192])
def test_a_file_cut_near_its_head_is_set_aside(copy, whole, cut):
    with Store(copy(whole[:cut])) as store:
        assert kept(store) == 0
        store.put(task(0), key(0), value(0), 0.25)
        assert len(store.damage) == 1 and "damaged-1" in store.damage[0]


@pytest.mark.parametrize("content", [b"not a database at all, but a page of text\n" * 200, b"\0" * 8192,
                                     np.random.default_rng(0).bytes(10_000)], ids=["text", "zeros", "noise"])
def test_a_file_of_something_else_is_set_aside(copy, content):
    path = copy(content)
    with Store(path) as store:
        assert kept(store) == 0 and len(store.damage) == 1
        store.put(task(0), key(0), value(0), 0.25)
    assert (path.parent / "rows.sqlite.damaged-1").read_bytes() == content
    path.write_bytes(content)
    with Store(path) as store:                                     # a second one does not overwrite the first
        assert "damaged-2" in store.damage[0]


def test_an_empty_file_is_a_new_store(copy):
    with Store(copy(b"")) as store:
        assert kept(store) == 0 and store.status()["rows"] == 0


KILLED = """
import os, signal, sys
sys.path.insert(0, {here!r})
from pathlib import Path
from engine.stores import filled
store = filled(Path({path!r}), {n})
os.kill(os.getpid(), signal.SIGKILL)
"""


def killed_writer(path: Path, n: int) -> None:
    """A store whose writer was killed: its rows are in the -wal."""
    done = subprocess.run([sys.executable, "-c", KILLED.format(here=HERE, path=str(path), n=n)])
    assert done.returncode == -signal.SIGKILL
    assert Path(f"{path}-wal").stat().st_size > 10_000


def test_rows_of_a_killed_writer_are_kept(tmp_path):
    path = tmp_path / "rows.sqlite"
    killed_writer(path, 50)
    with Store(path) as store:
        assert kept(store, 50) == 50 and store.damage == []


@pytest.mark.parametrize("wound", ["truncated", "flipped", "missing"])
def test_a_wounded_wal_takes_only_later_rows_with_it(tmp_path, wound):
    path, wal = tmp_path / "rows.sqlite", tmp_path / "rows.sqlite-wal"
    filled(path, 20).close()
    killed_writer(path, 50)
    log = bytearray(wal.read_bytes())
    if wound == "missing":
        wal.unlink()
    else:
        log[len(log) // 2] ^= 1
        wal.write_bytes(log[: len(log) // 2] if wound == "truncated" else log)
    with Store(path) as store:
        n = kept(store, 50)
        assert 20 <= n < 50 and (n == 20) == (wound == "missing") and store.damage == []


def test_a_wal_is_never_deleted_with_rows_in_it(tmp_path):
    """The file beside it cannot be opened: the -wal is read, or set aside with it."""
    path = tmp_path / "rows.sqlite"
    killed_writer(path, 50)
    log = Path(f"{path}-wal").read_bytes()
    path.write_bytes(b"garbage!" * 1000)
    with Store(path) as store:
        if kept(store, 50) < 50:
            held = [p.read_bytes() for p in tmp_path.iterdir() if "damaged" in p.name]
            assert store.damage and log in held, "fifty acknowledged rows were deleted"

