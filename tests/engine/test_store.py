"""The store gives back what was put, notices what was damaged, and says so."""

from __future__ import annotations

import json
import math
import os
import random
import resource
import signal
import sqlite3
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from mdpkit.errors import MdpkitError
from theory_checks.engine import codec
from theory_checks.engine.runner import verify_all
from theory_checks.engine.store import VERSION, Store, StoreFull
from theory_checks.engine.tasks import Task, find_check
from theory_checks.engine.upkeep import collect_garbage

ROWS = 300
HERE = str(Path(__file__).parent)


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


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> bytes:
    path = tmp_path_factory.mktemp("store") / "rows.sqlite"
    filled(path).close()
    assert not Path(f"{path}-wal").exists()
    return path.read_bytes()


@pytest.fixture
def copy(whole, tmp_path):
    def make(content: bytes = whole) -> Path:
        path = tmp_path / "rows.sqlite"
        path.write_bytes(content)
        return path
    return make


def meddle(path: Path, statement: str, *values: object) -> None:
    """Through another connection, as a stray hand would."""
    db = sqlite3.connect(path)
    db.execute(statement, values)
    db.commit()
    db.close()


# --------------------------------------------------------------------------------------- round trip

ODD = {
    "floats": [0.1, 1 / 3, 5e-324, 1.7976931348623157e308, -0.0, 2.0**53 + 2, 1e16, 123456789.123456789],
    "special": [math.inf, -math.inf],
    "integers": [0, -1, 2**62, 2**200],
    "array": np.random.default_rng(0).normal(size=(3, 1, 2)),
    "bits": np.array([0.0, -0.0, math.inf, -math.inf, math.nan]),
    "counts": np.arange(4, dtype=np.int32).reshape(2, 2),
    "flags": np.array([True, False]),
    "empty": np.zeros((0, 3)),
    "rational": Fraction(-(10**40), 3),
    "text": 'quote " slash \\ zero \x00 Ω \u2028',
    "nested": {"a": [1, [2.5, None, True]], "b": {}},
    "numpy": [np.float64(0.1), np.int64(-7), np.bool_(True)],
}


def test_round_trip_bit_for_bit(tmp_path):
    path = tmp_path / "rows.sqlite"
    with Store(path) as store:
        store.put(task(0), key(0), codec.encode(ODD), 0.1)
    with Store(path) as store:
        back = codec.decode(store.get(key(0)))
    assert list(map(repr, back["floats"])) == list(map(repr, ODD["floats"]))
    for name in ("special", "integers", "text", "nested", "rational"):
        assert back[name] == ODD[name] and type(back[name]) is type(ODD[name])
    for name in ("array", "bits", "counts", "flags", "empty"):
        assert (back[name].dtype, back[name].shape, back[name].tobytes()) == (
            ODD[name].dtype, ODD[name].shape, ODD[name].tobytes())
    assert back["numpy"] == [0.1, -7, True]


def test_not_a_number_comes_back(tmp_path):
    with Store(tmp_path / "rows.sqlite") as store:
        store.put(task(0), key(0), {"measured": math.nan}, 0.1)
        assert math.isnan(store.get(key(0))["measured"])


def test_missing_key_and_memory():
    store = filled(None, 3)
    assert store.get("none") is None and kept(store, 3) == 3
    store.put(task(1), key(1), {"measured": 0.0}, 0.1)             # a second put replaces
    assert store.get(key(1)) == {"measured": 0.0} and store.status()["rows"] == 3


def test_digest_does_not_depend_on_order(tmp_path):
    order = list(range(40))
    digests = set()
    for i in range(3):
        random.Random(i).shuffle(order)
        with filled(tmp_path / f"{i}.sqlite", order=order) as store:
            digests.add(store.digest())
    assert len(digests) == 1
    assert filled(None, 41).digest() not in digests


def test_marked_rows_and_times_are_no_part_of_the_digest():
    store, other = filled(None, 5), filled(None, 5)
    store.put(task(9), key(9), {"measured": 1.0, "marked": True}, 0.1)
    other.put(task(9), key(9), {"measured": 1.0 + 1e-15, "marked": True}, 0.1)
    other.put(task(3), key(3), value(3), 77.0)
    assert store.digest() == other.digest() == filled(None, 5).digest()
    assert store.status()["marked"] == 1 and store.status()["rows"] == 6
    store.put(task(9), key(9), {"measured": 1.0, "marked": False}, 0.1)
    assert store.digest() != other.digest()


def test_status_and_typical_seconds():
    store = filled(None, 4)
    store.put(task(9, "C4"), key(9), {"error": "killed its worker twice"}, 3.0, "failed")
    status = store.status()
    assert (status["rows"], status["failed"], status["seconds"], status["quarantined"]) == (5, 1, 4.0, 0)
    assert store.typical_seconds("hyq", "C5") == 0.25 and store.typical_seconds("hyq", "C4") == 3.0
    assert store.typical_seconds("hyq", "C1") is None


def test_drop(tmp_path):
    path = tmp_path / "rows.sqlite"
    with filled(path, 10) as store:
        store.drop([*(key(i) for i in range(4)), "unknown"])
        assert store.status()["rows"] == 6 and store.get(key(0)) is None
    with Store(path) as store:
        assert store.digest() == filled(None, order=range(4, 10)).digest()


def test_garbage_is_what_no_code_of_today_would_write():
    store, today = filled(None, 3), task(7)
    store.put(today, today.key, value(7), 0.1)
    store.put(Task("no-such-paper", "C1", "{}", 0, "a:b"), key(8), value(8), 0.1)
    assert collect_garbage(store) == 4 and store.get(today.key) == value(7)


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
from test_store import filled
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


# ----------------------------------------------------------------------------- refused, locked, full

def test_a_newer_store_is_refused_and_left_alone(copy):
    path = copy()
    meddle(path, "update meta set value = ? where name = 'version'", str(VERSION + 1))
    with pytest.raises(MdpkitError, match="newer mdpkit"):
        Store(path)
    assert not list(path.parent.glob("*.damaged*"))
    meddle(path, "update meta set value = ? where name = 'version'", str(VERSION))
    with Store(path) as store:
        assert kept(store) == ROWS and store.damage == []


def test_a_folder_is_no_store(tmp_path):
    with pytest.raises(MdpkitError, match="free and writable"):
        Store(tmp_path)


class Held:
    """Another connection that holds a lock of the store."""

    def __init__(self, path: Path, how: str = "immediate"):
        self.db = sqlite3.connect(path, isolation_level=None)
        self.db.execute(f"begin {how}")

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.db.execute("rollback")
        self.db.close()


@pytest.fixture
def impatient(monkeypatch):
    """Stores wait a moment for a lock in place of 20 seconds."""
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda path, timeout=5.0, **kw: connect(path, timeout=0.05, **kw))


def test_a_locked_store_is_not_a_full_disk(copy, impatient):
    path = copy()
    with Store(path) as store:
        with Held(path), pytest.raises(MdpkitError, match="locked") as caught:
            store.put(task(0), key(0), value(0), 0.25)
        assert not isinstance(caught.value, StoreFull), str(caught.value)
        assert kept(store) == ROWS and store.damage == []
        store.put(task(0), key(0), value(0), 0.25)


def test_a_locked_store_is_not_set_aside(copy, impatient):
    """Neither when it is opened nor when a row is read: the file is whole."""
    path = copy()
    with Store(path) as store:
        store._db.execute("pragma journal_mode = delete")           # where readers wait for writers
        with Held(path, "exclusive"):
            with pytest.raises(MdpkitError, match="another run"):
                Store(path)
            with pytest.raises(MdpkitError, match="locked"):
                store.get(key(0))
        assert not list(path.parent.glob("*.damaged*"))
        assert kept(store) == ROWS and store.damage == []


READONLY = """
import os, sys
from theory_checks.engine.store import Store
from mdpkit.errors import MdpkitError
os.setgroups([]); os.setgid(65534); os.setuid(65534)
try:
    Store({path!r})
except MdpkitError as e:
    print(e)
"""


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody who may not write")
def test_a_readonly_store_says_so(whole, tmp_path_factory):
    import shutil
    import tempfile

    folder = Path(tempfile.mkdtemp())                               # pytest's own folders are private
    try:
        path = folder / "rows.sqlite"
        path.write_bytes(whole)
        path.chmod(0o444)
        folder.chmod(0o555)
        done = subprocess.run([sys.executable, "-c", READONLY.format(path=str(path))], capture_output=True, text=True)
        assert "free and writable" in done.stdout, done.stdout + done.stderr
        assert [p.name for p in folder.iterdir()] == [path.name] and path.read_bytes() == whole
    finally:
        shutil.rmtree(folder)


FULL = """
import json, resource, signal, sys
sys.path.insert(0, {here!r})
from pathlib import Path
from test_store import key, kept, task, value
from theory_checks.engine.store import Store, StoreFull
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
store = Store(Path({path!r}))
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, resource.RLIM_INFINITY))
said, n = "", 0
try:
    for n in range(2000):
        store.put(task(n), key(n), value(n), 0.25)
except StoreFull as e:
    said = str(e)
full = [n, said, kept(store, n), store.damage]
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
store.put(task(n), key(n), value(n), 0.25)
print(json.dumps([*full, kept(store, n + 1)]))
"""


@pytest.mark.parametrize("limit", [60_000, 300_000, 1_000_000])
def test_a_full_disk_keeps_every_row_written(tmp_path, limit):
    path = tmp_path / "rows.sqlite"
    script = FULL.format(here=HERE, path=str(path), limit=limit)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    n, said, readable, damage, later = json.loads(done.stdout)
    assert 0 < n < 2000 and "room" in said and "kept" in said
    assert (readable, damage, later) == (n, [], n + 1)
    with Store(path) as store:
        assert kept(store, n + 1) == n + 1 and store.damage == []
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY      # the limit was the child's
