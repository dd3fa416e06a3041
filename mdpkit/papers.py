"""The papers of the house, found by file name: ``algorithms/<family>/<slug>.py`` and its three companions.

Nothing is registered by hand. This module and ``mdpkit.cli`` alone look outward, lazily and by name.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from mdpkit.errors import MdpkitError
from mdpkit.records import Paper

PACKAGES = ("mdpkit", "algorithms", "theory_checks", "figures")
FAMILIES = ("planning", "exploration", "offline", "models", "preferences", "games", "policy_gradient", "bandits",
            "online_learning", "optimisation", "evaluation", "control", "self_improvement")


@dataclass(frozen=True)
class Entry:
    """Where a paper lives. ``slug`` has hyphens, the files have underscores."""

    slug: str
    family: str

    def module(self, package: str) -> ModuleType:
        """The paper's module of "algorithms", "theory_checks" or "figures"."""
        return importlib.import_module(self.name(package))

    def name(self, package: str) -> str:
        """Its dotted name."""
        return f"{package}.{self.family}.{self.slug.replace('-', '_')}"

    @property
    def paper(self) -> Paper:
        return self.module("algorithms").PAPER

    @property
    def checks(self) -> tuple[Any, ...]:
        return self.module("theory_checks").CHECKS


def find() -> dict[str, Entry]:
    """All papers, by slug, in the order of their slugs."""
    return dict(_scan(house() / "algorithms"))


@functools.cache
def _scan(root: Path) -> dict[str, Entry]:
    """Once a process: every task asks."""
    entries = (Entry(f.stem.replace("_", "-"), f.parent.name) for f in root.glob("*/*.py")
               if not f.stem.startswith("_") and f.parent.name in FAMILIES)
    return {e.slug: e for e in sorted(entries, key=lambda e: e.slug)}


def get(slug: str) -> Entry:
    """The paper of a slug.

    Raises
    ------
    MdpkitError
        No such paper; the message lists the nearest ones.
    """
    entries = find()
    if slug not in entries:
        import difflib

        near = difflib.get_close_matches(str(slug), entries, n=3) or list(entries)[:8]
        raise MdpkitError("SLUG", "one of the papers (`mdpkit papers` lists them)", slug, f"near: {', '.join(near)}")
    return entries[slug]


@functools.cache
def house() -> Path:
    """The folder in which the four packages lie side by side.

    Raises
    ------
    MdpkitError
        One of them is found elsewhere: a folder of that name with an ``__init__.py`` hides ours.
    """
    root = Path(__file__).resolve().parent.parent
    for package in PACKAGES:
        spec = importlib.util.find_spec(package)
        origin = Path(spec.origin).resolve().parent if spec and spec.origin else None
        if origin != root / package:
            raise MdpkitError(package, f"the package in {root}", None,
                              "a folder of that name, perhaps in the current directory, hides it",
                              came=f"it is {origin}")
    return root
