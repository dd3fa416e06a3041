"""Every Python block of the documentation runs, in order, file by file."""

import json
import re
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
