"""A whole store of some rows, and copies of it to be damaged."""

from __future__ import annotations

from pathlib import Path

import pytest
from engine.stores import filled


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
