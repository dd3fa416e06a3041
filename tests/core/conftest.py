"""A folder on the path, for tests that write modules and import them."""

from __future__ import annotations

import importlib
import sys

import pytest


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
