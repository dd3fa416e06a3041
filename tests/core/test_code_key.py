"""The key of compiled code follows meaning alone: every import, no comment, all flags."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path

import pytest
from core.toys import run, write

from mdpkit import code, jit
from mdpkit.code import code_key, sources

# edits

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


# what an edit is

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


# flags and versions

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


# no imports

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
