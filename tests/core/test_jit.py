"""The compiler's cache never answers with old or damaged machine code, and its key follows meaning alone."""

from __future__ import annotations

import importlib
import importlib.util
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numba
import numpy as np
import pytest

from mdpkit import code, jit
from mdpkit.code import code_key, sources

HELPER = """
from mdpkit.jit import kernel

SCALE = 3.0

def _scale(x):
    return SCALE * x

scale = kernel(_scale)
"""
CALLER = """
from mdpkit.jit import kernel
from toy.helper import scale

def _twice(x):
    return scale(x) + scale(x)

twice = kernel(_twice)
"""
NEIGHBOUR = """
from mdpkit.jit import kernel

def _half(x):
    return 0.5 * x

half = kernel(_half)
"""
ANSWERS = "from toy.caller import twice; from toy.neighbour import half; print(twice(1.0), half(1.0))"


def write(folder: Path, **files: str) -> None:
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / f"{name}.py").write_text(textwrap.dedent(text))


def toy(root: Path) -> Path:
    write(root / "toy", __init__="", helper=HELPER, caller=CALLER, neighbour=NEIGHBOUR)
    return root


def run(root: Path, script: str, **env: str) -> str:
    """What a fresh interpreter prints. It must succeed and say nothing on stderr, warnings included."""
    settings = {k: v for k, v in os.environ.items() if not k.startswith("NUMBA_")}
    settings |= {"PYTHONPATH": str(root), "MDPKIT_CACHE_DIR": str(root / "cache"), "PYTHONDONTWRITEBYTECODE": "1"} | env
    done = subprocess.run([sys.executable, "-W", "error", "-c", textwrap.dedent(script)], env=settings, cwd=root,
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout.strip()


def snapshot(folder: Path) -> dict[str, int]:
    return {str(p.relative_to(folder)): p.stat().st_mtime_ns for p in sorted(folder.rglob("*"))}


def builds(root: Path, module: str) -> list[str]:
    return sorted(p.name for p in (root / "cache" / module).iterdir())


@pytest.fixture
def fresh(tmp_path, monkeypatch):
    """A folder on the path, for modules that only this test sees."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("MDPKIT_CACHE_DIR", str(tmp_path / "cache"))
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]
    importlib.invalidate_caches()


# (a) edits

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


IMPORTS = {
    "from module import name": "from {p}.low import f",
    "from package import module": "from {p} import low",
    "import dotted": "import {p}.low",
    "import dotted as": "import {p}.low as g",
    "relative name": "from .low import f",
    "relative module": "from . import low",
    "inside a function": "def g():\n    from {p}.low import f\n    return f",
    "through a third module": "from .middle import f",
    "through the package": "from {p} import exported",
}


@pytest.mark.parametrize("form", IMPORTS)
def test_the_key_follows_every_form_of_import(fresh, form):
    name = "imp_" + "_".join(form.split())
    write(fresh / name, __init__="from .low import f as exported\n", low="f = 1\n", middle="from .low import f\n",
          high=IMPORTS[form].format(p=name) + "\n")
    before = code_key(f"{name}.high")
    assert f"{name}.low" in sources(f"{name}.high")
    write(fresh / name, low="f = 2\n")
    assert code_key(f"{name}.high") != before


def test_a_circle_of_imports_has_a_key(fresh):
    write(fresh / "circle", __init__="", a="from circle import b\n", b="from circle import a\n")
    assert sources("circle.a") == ("circle", "circle.a", "circle.b")


def test_the_house_itself_has_a_key():
    assert "mdpkit.kernels.draw" in sources("mdpkit.kernels.rollout"), "is mdpkit/__init__.py there?"


def test_the_library_and_installed_packages_stay_out_of_the_key():
    assert all(name.split(".")[0] == "mdpkit" for name in sources("mdpkit.access"))
    assert {"mdpkit.kernels.draw", "mdpkit.models.tabular", "mdpkit.validate"} <= set(sources("mdpkit.access"))


# (b) what an edit is

MEANING = '''
"""A docstring."""
import math

def f(x):
    """Says what f does."""
    return math.sqrt(x) + 1.0   # a remark

class C:
    """A class."""
    y = "text"
'''
SAME = {
    "comment": ("# a remark", "# quite another remark"),
    "docstring of the module": ("A docstring.", "Reworded."),
    "docstring of a function": ("Says what f does.", "Reworded."),
    "docstring of a class": ("A class.", "Reworded."),
    "blank lines": ("class C", "\n\n\n\nclass C"),
    "brackets": ("math.sqrt(x) + 1.0", "(math.sqrt(x)  +  1.0)"),
}
OTHER = {
    "constant": ("+ 1.0", "+ 2.0"),
    "type of a constant": ("+ 1.0", "+ 1"),
    "sign of zero": ("+ 1.0", "+ -0.0"),
    "operator": ("+ 1.0", "- 1.0"),
    "call": ("math.sqrt", "math.exp"),
    "string that is not a docstring": ('"text"', '"other"'),
    "name": ("def f(x)", "def g(x)"),
}


def key_of(folder: Path, name: str, text: str) -> str:
    (folder / f"{name}.py").write_text(text)
    importlib.invalidate_caches()
    return code_key(name)


@pytest.mark.parametrize("edit", SAME)
def test_an_edit_without_meaning_keeps_the_key(fresh, edit):
    assert key_of(fresh, "meaning", MEANING.replace(*SAME[edit])) == key_of(fresh, "meaning", MEANING)


@pytest.mark.parametrize("edit", OTHER)
def test_an_edit_with_meaning_changes_the_key(fresh, edit):
    assert key_of(fresh, "meaning", MEANING.replace(*OTHER[edit])) != key_of(fresh, "meaning", MEANING)


@pytest.mark.parametrize("how", ["no __init__.py", "installed"])
def test_code_that_cannot_be_hashed_is_never_found_in_the_cache(fresh, monkeypatch, how):
    """A user's module in a folder without __init__.py, or in an installed package."""
    for name in ("third", "third.low"):                 # the other case's, in another folder
        sys.modules.pop(name, None)
    if how == "installed":
        monkeypatch.setattr(code, "_library_folders", lambda: (fresh,))
        write(fresh / "third", __init__="")
    write(fresh / "third", low="def f(x):\n    return 3 * x\n")
    place = lambda: getattr(jit._cache_of(importlib.import_module("third.low").f), "_cache_path", None)
    before = place()
    write(fresh / "third", low="def f(x):\n    return 5 * x\n")
    del sys.modules["third.low"]
    assert before is None or place() != before


# (c) damage

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
(target,) = [p for p in good if str(p).endswith(ENDING)]
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


@pytest.mark.parametrize("ending", [".1.nbc", ".nbi"])
@pytest.mark.parametrize("how", ["truncated", "flipped"])
def test_a_damaged_file_heals_silently(tmp_path, how, ending):
    assert run(toy(tmp_path), f"HOW, ENDING = {how!r}, {ending!r}\n{DAMAGED}") == "healed"


def test_a_missing_data_file_heals_silently(tmp_path):
    toy(tmp_path)
    run(tmp_path, ANSWERS)
    for path in (tmp_path / "cache").rglob("*.nbc"):
        path.unlink()
    assert run(tmp_path, ANSWERS) == "6.0 0.5"


# (d) places

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


# (e) flags and versions

def test_flags_and_versions_change_the_key(monkeypatch):
    monkeypatch.delenv("NUMBA_BOUNDSCHECK", raising=False)
    keys = [code_key("mdpkit.errors", jit.build_flags())]
    monkeypatch.setenv("NUMBA_BOUNDSCHECK", "1")
    keys.append(code_key("mdpkit.errors", jit.build_flags()))
    monkeypatch.setenv("NUMBA_BOUNDSCHECK", "0")
    keys.append(code_key("mdpkit.errors", jit.build_flags()))
    for package in ("numba", "llvmlite", "numpy"):
        monkeypatch.setattr(sys.modules[package], "__version__", "0.0.1")
        keys.append(code_key("mdpkit.errors", jit.build_flags()))
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize("flag", ["NUMBA_CACHE_DIR", "NUMBA_NUM_THREADS"])
def test_flags_that_change_no_code_keep_the_key(monkeypatch, flag):
    monkeypatch.delenv(flag, raising=False)
    before = jit.build_flags()
    monkeypatch.setenv(flag, "3")
    assert jit.build_flags() == before


# (f) switched off

def test_switched_off_a_kernel_is_its_body(tmp_path):
    script = "from toy import caller; print(caller.twice is caller._twice, caller.twice(1.0))"
    assert run(toy(tmp_path), script, NUMBA_DISABLE_JIT="1") == "True 6.0"
    assert not (tmp_path / "cache").exists()


# (g) signatures; what shares a file

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


def test_closures_are_not_cached(fresh):
    assert [jit.kernel(_make(k))(1.0) for k in (2.0, 3.0)] == [2.0, 3.0]
    assert not list((fresh / "cache").rglob("*_times*"))


# (h) pruning

def test_old_builds_are_pruned(fresh):
    write(fresh / "pruned", __init__="", mod="def f(x):\n    return x\n")
    parent = fresh / "cache" / "pruned.mod"
    for age in range(10):
        old = parent / f"build{age}"
        old.mkdir(parents=True)
        (old / "f.nbi").write_text("")
        os.utime(old, (1e9 - age, 1e9 - age))
    f = jit.kernel(importlib.import_module("pruned.mod").f)
    assert f(1.0) == 1.0
    left = {p.name for p in parent.iterdir()}
    assert {f"build{age}" for age in range(jit.KEPT_FOLDERS)} < left, "the newest stay"
    assert len(left) == jit.KEPT_FOLDERS + 1, "and the new one joins them"


# (i) no imports

def test_the_key_imports_nothing(tmp_path):
    write(tmp_path / "heavy", __init__="raise RuntimeError('imported')\n",
          mod="import numba, scipy.stats, cvxpy, heavy.other\nraise RuntimeError('imported')\n", other="x = 1\n")
    assert run(tmp_path, """
        import sys
        from mdpkit.code import code_key, sources
        sources("string")                      # the first look at the library reads where it is installed
        before = set(sys.modules)
        code_key("heavy.mod"), code_key("mdpkit.access"), code_key("mdpkit.kernels.rollout")
        print(sorted(set(sys.modules) - before), "numba" in sys.modules, "heavy.other" in sources("heavy.mod"))
        """) == "[] False True"
