"""Every block of the documentation runs, in order, file by file: Python here, shell in a copy of the house."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.calibration import markdown

ROOT = Path(__file__).resolve().parents[2]
FILES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("path", [f for f in FILES if BLOCK.search(f.read_text())], ids=lambda f: f.name)
def test_blocks_run(path):
    names = {"__name__": "docs"}
    for block in BLOCK.findall(path.read_text()):
        exec(compile(block, str(path), "exec"), names)


# -------------------------------------------------------------------------------------- shell

SHELL = re.compile(r"^```console\n(.*?)^```", re.MULTILINE | re.DOTALL)
# what the commands of the pages are about: worlds in files, functions of a reader
MODELS = {
    "die.tra": "3 5\n0 1 0.5\n0 2 0.5\n1 0 0.5\n1 2 0.5\n2 2 1\n",
    "die.lab": '0="init" 1="six"\n0: 0\n2: 1\n',
    "robot.tra": "2 3 4\n0 0 1 1\n0 1 0 0.5\n0 1 1 0.5\n1 0 1 1\n",
    "robot.lab": '0="init" 1="goal"\n0: 0\n1: 1\n',
    "robot.srew": "2 1\n0 3\n",
    "pennies.nfg": 'NFG 1 R "pennies" { "A" "B" } { 2 2 }\n1 -1 -1 1 -1 1 1 -1\n',
    "mymodule.py": "from algorithms.policy_gradient.npg import run\n\n\ndef mine(access, params, rng):\n    pass\n",
    "mine/npg.py": "from algorithms.policy_gradient import npg\n\n\ndef run(access, params, rng):\n"
                   "    return npg.run(access, params, rng)\n",
}


def commands(path: Path) -> list[str]:
    """The lines behind a $ of a page."""
    lines = "\n".join(SHELL.findall(path.read_text())).splitlines()
    return [line[2:] for line in lines if line.startswith("$ ")]


@pytest.fixture
def house(tmp_path):
    """A copy of the house with what the pages speak of, and `mdpkit` of that copy: commands may write into it."""
    root = tmp_path / "house"
    root.mkdir()
    for name in ("mdpkit", "algorithms", "theory_checks", "figures", "tests", "pyproject.toml"):
        source = ROOT / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, root / name)
    for name, text in MODELS.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(text)
    return root


def told(house: Path, line: str) -> subprocess.CompletedProcess:
    """Run one line of a page; `mdpkit` is the copy's."""
    words = shlex.split(line, comments=True)
    assert words[0] == "mdpkit", f"a command that is not tried: {line}"
    return subprocess.run([sys.executable, "-m", "mdpkit.cli", *words[1:]], cwd=house, capture_output=True, text=True,
                          env=os.environ | {"PYTHONPATH": str(house)}, timeout=240)


@pytest.fixture
def scheduler():
    """A cluster where the page says that one runs."""
    distributed = pytest.importorskip("distributed", reason="dask.distributed is not installed")
    cluster = distributed.LocalCluster(host="127.0.0.1", scheduler_port=8786, n_workers=1, threads_per_worker=1,
                                       dashboard_address=None)
    yield
    cluster.close()


@pytest.mark.xdist_group("shell")
@pytest.mark.parametrize("path", [f for f in FILES if SHELL.search(f.read_text())], ids=lambda f: f.name)
def test_commands_run(path, house, request):
    for line in commands(path):
        if "--dask" in line:
            pytest.importorskip("distributed", reason="dask.distributed is not installed")
        if "--dask tcp:" in line:
            request.getfixturevalue("scheduler")
        if "theirs.sqlite" in line:
            shutil.copy(house / "rows.sqlite", house / "theirs.sqlite")
        done = told(house, line)
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
        assert done.stdout, f"{line} says nothing"


def test_every_command_of_the_pages_is_in_a_block_that_runs():
    """The README's two make targets excepted, one of which runs this."""
    for path in FILES:
        rest = SHELL.sub("", path.read_text())
        loose = [line for line in rest.splitlines() if re.match(r"( {4}|\$ )(mdpkit|make|pip|python)\b", line)]
        assert [line.split("#")[0].strip() for line in loose] == (
            ["make reproduce", "make test"] if path.name == "README.md" else []), path.name


# -------------------------------------------------------------------------------------- pages

def test_the_documentation_builds_without_a_warning(tmp_path):
    """Every module that the reference names, every link and every docstring's markup."""
    pytest.importorskip("sphinx")
    done = subprocess.run([sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html", str(ROOT / "docs"),
                           str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert 'id="mdpkit.solve.discounted.solve"' in (tmp_path / "reference" / "solve.html").read_text()


def test_calibration_page_and_data_agree():
    folder = ROOT / "docs"
    assert (folder / "calibration.md").read_text() == markdown(json.loads((folder / "calibration.json").read_text()))


@pytest.mark.parametrize("path", FILES, ids=lambda f: f.name)
def test_links_lead_somewhere(path):
    for target in re.findall(r"\]\(([^)#:]+)\)", path.read_text()):
        assert (path.parent / target).exists(), target
