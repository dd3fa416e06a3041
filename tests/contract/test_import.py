"""What a user gets: a silent, light import, four packages side by side, and a wheel that holds them."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from contract.reading import modules

from mdpkit.papers import PACKAGES

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("scipy", "numba", "matplotlib", "cvxpy", "hypothesis", "click", "flint", "highspy", "jinja2", "tqdm")

LOADED = """
import sys
before = set(sys.modules)
import mdpkit
new = {m.partition(".")[0] for m in set(sys.modules) - before}
print(sorted(new - set(sys.stdlib_module_names)))
"""
ALL = """
import contextlib, importlib, io, json, sys

said, late = {}, []
for name in NAMES:
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        importlib.import_module(name)
    if out.getvalue():
        said[name] = out.getvalue()
    if name.startswith(("mdpkit", "algorithms")):
        late += [f"{name} loads {m}" for m in ("cvxpy", "matplotlib") if m in sys.modules]
print(json.dumps([said, late[:1]]))
"""
HOUSE = """
from mdpkit import papers
from mdpkit.errors import MdpkitError
try:
    print(papers.house())
except MdpkitError as e:
    print("hidden:", e)
"""


def run(script: str, cwd: Path) -> str:
    """What a fresh interpreter prints. Warnings are errors, and nothing may come on stderr."""
    done = subprocess.run([sys.executable, "-W", "error", "-c", script], cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    return done.stdout.strip()


def test_the_root_loads_numpy_alone(tmp_path):
    assert run(LOADED, tmp_path) == "['mdpkit', 'numpy']"


def test_the_root_is_silent_and_light(tmp_path):
    script = f"import sys, mdpkit; assert not set(sys.modules) & set({HEAVY}), set(sys.modules) & set({HEAVY})"
    assert run(script, tmp_path) == ""


def test_its_names_load_on_first_use(tmp_path):
    script = """
        import sys, mdpkit
        assert "mdpkit.models.tabular" not in sys.modules and "TabularMDP" in dir(mdpkit)
        from mdpkit import TabularMDP
        assert TabularMDP.__module__ == "mdpkit.models.tabular"
        assert all(getattr(mdpkit, name) is not None for name in mdpkit.__all__)
        assert not {"matplotlib", "cvxpy"} & set(sys.modules)
        """
    assert run("\n".join(line.strip() for line in script.splitlines()), tmp_path) == ""


def test_every_module_imports_silently(tmp_path):
    """One after the other; that none needs another to come first follows from the law against circles."""
    names = [m.name for m in modules(ROOT)]
    assert len(names) > len(list((ROOT / "mdpkit").rglob("*.py"))) > 50
    assert json.loads(run(f"NAMES = {names}\n{ALL}", tmp_path)) == [{}, []]


@pytest.mark.parametrize("package", PACKAGES[1:])
def test_a_folder_that_hides_ours_is_named(tmp_path, package):
    here = tmp_path / "deep" / ("a-long-name-" * 8)                      # the path is told to its end
    intruder = here / package
    intruder.mkdir(parents=True)
    assert run(HOUSE, here) == str(ROOT), "a folder without __init__.py hides nothing"
    (intruder / "__init__.py").write_text("raise RuntimeError('imported')\n")
    said = run(HOUSE, here)
    assert said.startswith(f"hidden: {package}") and str(intruder.resolve()) in said


def test_the_wheel_holds_every_file_of_the_four_packages_and_nothing_else(tmp_path):
    done = subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)], cwd=ROOT,
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (built,) = tmp_path.glob("*.whl")
    held = {name for name in zipfile.ZipFile(built).namelist() if ".dist-info/" not in name}
    assert held == {p.relative_to(ROOT).as_posix() for package in PACKAGES for p in (ROOT / package).rglob("*")
                    if p.is_file() and "__pycache__" not in p.parts}
    assert {f"{package}/py.typed" for package in PACKAGES} <= held
    assert not any(name.startswith(("tests/", "benchmarks/", "docs/")) for name in held)
