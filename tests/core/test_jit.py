"""The compiler's cache never answers with old or damaged machine code."""

from __future__ import annotations

import importlib
import importlib.util
import os
from pathlib import Path

import numba
import numpy as np
import pytest
from core.toys import ANSWERS, HELPER, run, start, toy, write

from mdpkit import jit


def snapshot(folder: Path) -> dict[str, int]:
    return {str(p.relative_to(folder)): p.stat().st_mtime_ns for p in sorted(folder.rglob("*"))}


def builds(root: Path, module: str) -> list[str]:
    return sorted(p.name for p in (root / "cache" / module).iterdir())


# edits

def test_an_edit_in_another_module_reaches_the_caller_and_leaves_the_neighbour_cached(tmp_path):
    toy(tmp_path)
    assert run(tmp_path, ANSWERS) == "6.0 0.5"
    neighbour = snapshot(tmp_path / "cache" / "toy.neighbour")
    assert len(builds(tmp_path, "toy.caller")) == 1
    write(tmp_path / "toy", helper=HELPER.replace("3.0", "7.0"))
    assert run(tmp_path, ANSWERS) == "14.0 0.5"
    assert snapshot(tmp_path / "cache" / "toy.neighbour") == neighbour
    assert len(builds(tmp_path, "toy.caller")) == 2
    everything = snapshot(tmp_path / "cache")
    assert run(tmp_path, ANSWERS) == "14.0 0.5"
    assert snapshot(tmp_path / "cache") == everything, "a third run finds everything cached"


def test_an_edit_reaches_a_caller_that_has_taken_the_piece_in(tmp_path):
    helper = HELPER.replace("kernel(_scale)", "kernel(_scale, inline=True)")
    toy(tmp_path)
    for scale, answers in (("3.0", "6.0 0.5"), ("7.0", "14.0 0.5")):
        write(tmp_path / "toy", helper=helper.replace("3.0", scale))
        assert run(tmp_path, ANSWERS) == answers
        everything = snapshot(tmp_path / "cache")
        assert run(tmp_path, ANSWERS) == answers and snapshot(tmp_path / "cache") == everything


# damage

DAMAGED = """
from pathlib import Path
import numpy as np
from mdpkit.jit import kernel
from toy import helper

def files():
    return {p: p.read_bytes() for p in Path("cache/toy.helper").rglob("*") if p.is_file()}

def answers():
    g = kernel(helper._scale)
    return g(2.0), g(np.ones(2))[1]

assert answers() == (6.0, 3.0)
good = files()
target = min(good)
whole = good[target]
for k in range(7):                                   # seven places from the first byte to the last
    for p, content in good.items():
        p.write_bytes(content)
    at = k * (len(whole) - 1) // 6
    damaged = whole[:at] if HOW == "truncated" else whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1:]
    target.write_bytes(damaged)
    assert answers() == (6.0, 3.0), (k, at)
    assert answers() == (6.0, 3.0), ("again", k, at)
print("healed")
"""


@pytest.mark.parametrize("how", ["truncated", "flipped"])
def test_a_damaged_file_heals_silently(tmp_path, how):
    assert run(toy(tmp_path), f"HOW = {how!r}\n{DAMAGED}") == "healed"


EXCHANGED = """
from pathlib import Path
import numpy as np
from mdpkit.jit import kernel
from toy import helper

def answers():
    g = kernel(helper._scale)
    return g(2.0), g(np.ones(2))[1]

assert answers() == (6.0, 3.0)
one, other = Path("cache/toy.helper").rglob("*.nbc")
one.write_bytes(other.read_bytes())
assert answers() == (6.0, 3.0)
print("healed")
"""


def test_code_for_one_signature_is_never_run_for_another(tmp_path):
    assert run(toy(tmp_path), EXCHANGED) == "healed"


def test_processes_that_compile_at_once_do_not_mix_signatures(tmp_path):
    """Eight processes compile two signatures in both orders; what they left then serves both."""
    toy(tmp_path)
    script = ("import numpy as np; from mdpkit.jit import kernel; from toy import helper; g = kernel(helper._scale); "
              "print([float(np.sum(g(x))) for x in {}])")
    orders = ["(2.0, np.ones(2))", "(np.ones(2), 2.0)"]
    running = [start(tmp_path, script.format(orders[i % 2])) for i in range(8)]
    for i, process in enumerate(running):
        assert process.communicate()[0].strip() == "[6.0, 6.0]", i
        assert process.returncode == 0
    assert len(list((tmp_path / "cache/toy.helper").rglob("*.nbc"))) == 2
    assert run(tmp_path, script.format(orders[0])) == "[6.0, 6.0]"


def test_a_missing_data_file_heals_silently(tmp_path):
    toy(tmp_path)
    run(tmp_path, ANSWERS)
    for path in (tmp_path / "cache").rglob("*.nbc"):
        path.unlink()
    assert run(tmp_path, ANSWERS) == "6.0 0.5"


# places

def test_an_unwritable_cache_folder_costs_speed_only(tmp_path):
    toy(tmp_path)
    blocked = tmp_path / "file"
    blocked.write_text("")
    nowhere = str(blocked / "below")         # no folder can be made below a file, whoever asks
    assert run(tmp_path, ANSWERS, MDPKIT_CACHE_DIR=nowhere, XDG_CACHE_HOME=nowhere, HOME=nowhere,
               TMPDIR=str(tmp_path)) == "6.0 0.5"


def test_a_folder_that_turns_unwritable_costs_speed_only(tmp_path):
    toy(tmp_path)
    (tmp_path / "cache").mkdir()
    for module in ("toy.helper", "toy.caller"):
        (tmp_path / "cache" / module).write_text("a file stands where the folder should be")
    assert run(tmp_path, ANSWERS) == "6.0 0.5"


def test_a_user_without_a_name_has_a_cache_folder(tmp_path, monkeypatch):
    """Containers run under user numbers that the password file does not list."""
    def nameless():
        raise KeyError("getpwuid(): uid not found")

    monkeypatch.setattr("getpass.getuser", nameless)
    monkeypatch.setenv("MDPKIT_CACHE_DIR", str(tmp_path / "named"))
    assert jit.cache_root() == tmp_path / "named"


# switched off

def test_switched_off_a_kernel_is_its_body(tmp_path):
    script = "from toy import caller; print(caller.twice is caller._twice, caller.twice(1.0))"
    assert run(toy(tmp_path), script, NUMBA_DISABLE_JIT="1") == "True 6.0"
    assert not (tmp_path / "cache").exists()


# signatures; what shares a file

def _first(x):
    return x[0] + 1.0


def _total(x, n):
    t = 0.0
    for i in range(n):
        t += x[i]
    return t


def _make(k):
    def _times(x):
        return k * x
    return _times


def test_with_signatures_no_further_version_compiles(fresh):
    vector = numba.types.Array(numba.float64, 1, "C", readonly=True)
    first = jit.kernel(_first, numba.float64(vector))
    assert len(first.signatures) == 1
    frozen = np.zeros(3)
    frozen.flags.writeable = False
    assert first(frozen) == first(np.zeros(3)) == 1.0, "read-only signatures take writable arrays too"
    with pytest.raises(TypeError, match="No matching definition"):
        first(np.zeros(3, np.complex128))
    assert len(first.signatures) == 1


def test_reassociated_code_is_not_served_to_an_exact_kernel(fresh):
    x = np.random.default_rng(0).normal(size=100_003)      # long enough that the two orders of summation differ
    loose, exact = jit.kernel(_total, reassoc=True), jit.kernel(_total)
    loose(x, x.size)
    assert exact(x, x.size) == _total(x, x.size)


def _share(x, n):
    return x / n


def test_a_division_by_zero_raises_unless_it_was_said_not_to(fresh):
    checked, unchecked = jit.kernel(_share), jit.kernel(_share, checked=False)
    assert unchecked(1.0, 0.0) == np.inf
    assert unchecked(1.0, 3.0) == checked(1.0, 3.0) == 1.0 / 3.0
    with pytest.raises(ZeroDivisionError):
        checked(1.0, 0.0)


def test_closures_are_not_cached(fresh):
    assert [jit.kernel(_make(k))(1.0) for k in (2.0, 3.0)] == [2.0, 3.0]
    assert not list((fresh / "cache").rglob("*_times*"))


# pruning

def test_old_builds_are_pruned(fresh):
    write(fresh / "pruned", __init__="", mod="def f(x):\n    return x\n")
    parent = fresh / "cache" / "pruned.mod"
    for age in range(10):
        old = parent / f"build{age}"
        old.mkdir(parents=True)
        (old / "f.nbc").write_text("")
        os.utime(old, (1e9 - age, 1e9 - age))
    f = jit.kernel(importlib.import_module("pruned.mod").f)
    assert f(1.0) == 1.0
    left = {p.name for p in parent.iterdir()}
    assert {f"build{age}" for age in range(jit.KEPT_FOLDERS)} < left, "the newest stay"
    assert len(left) == jit.KEPT_FOLDERS + 1, "and the new one joins them"
