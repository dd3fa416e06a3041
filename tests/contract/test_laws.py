"""Each law holds for the house, and its checker finds every violation planted into a small one."""

from __future__ import annotations

from pathlib import Path

import pytest
from contract.laws import LAWS
from contract.planted import BESIDE, PLANTED, TREE

ROOT = Path(__file__).resolve().parents[2]


def plant(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


@pytest.mark.parametrize("law", LAWS)
def test_the_house_keeps_the_law(law):
    assert LAWS[law](ROOT) == []


@pytest.mark.parametrize("law", LAWS)
def test_a_violation_of_the_law_is_found(tmp_path, law):
    tree = TREE | BESIDE.get(law, {})
    plant(tmp_path, tree)
    assert LAWS[law](tmp_path) == [], "the small house keeps the law"
    for file, old, new, says in PLANTED[law]:
        before = tree.get(file)
        assert not old or (before or "").count(old) == 1, (file, old)
        plant(tmp_path, {file: before.replace(old, new) if old else (before or "") + new})
        found = LAWS[law](tmp_path)
        assert any(says in violation for violation in found), (file, new, found)
        (tmp_path / file).unlink() if before is None else (tmp_path / file).write_text(before)
        if before is None and not any((tmp_path / file).parent.iterdir()):
            (tmp_path / file).parent.rmdir()


def test_every_law_has_its_violations():
    assert set(PLANTED) == set(LAWS) and all(PLANTED.values())
