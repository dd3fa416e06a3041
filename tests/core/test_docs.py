"""Every Python block of the documentation runs, in order, file by file."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FILES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("path", [f for f in FILES if BLOCK.search(f.read_text())], ids=lambda f: f.name)
def test_blocks_run(path):
    names = {"__name__": "docs"}
    for block in BLOCK.findall(path.read_text()):
        exec(compile(block, str(path), "exec"), names)


@pytest.mark.parametrize("path", FILES, ids=lambda f: f.name)
def test_links_lead_somewhere(path):
    for target in re.findall(r"\]\(([^)#:]+)\)", path.read_text()):
        assert (path.parent / target).exists(), target
