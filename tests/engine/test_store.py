"""The store gives back what was put; it refuses, waits and says so."""

from __future__ import annotations

import json
import math
import os
import random
import resource
import sqlite3
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from engine.stores import HERE, ROWS, filled, kept, key, meddle, task, value

from mdpkit.errors import MdpkitError
from theory_checks.engine import codec
from theory_checks.engine.store import VERSION, Store, StoreFull
from theory_checks.engine.tasks import Task
from theory_checks.engine.upkeep import collect_garbage

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
from engine.stores import key, kept, task, value
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
