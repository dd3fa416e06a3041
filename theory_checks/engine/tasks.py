"""A task is names and JSON; its seed and its key follow from it alone.

Functions never travel: a subject is a name ``pkg.mod:function``. What cannot be named (a closure, a function of a
notebook) runs in this process and is not stored.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mdpkit import papers
from mdpkit.code import code_key, sources
from mdpkit.errors import MdpkitError
from theory_checks.engine import codec
from theory_checks.engine.claims import Check

ROOT = 20_261_121           # the root of all seeds, fixed before the first run


@dataclass(frozen=True)
class Task:
    """One run of one measure: everything as names and canonical JSON."""

    slug: str
    claim: str
    world: str              # canonical JSON; for a search '"search"' with saboteurs' settings
    replicate: int
    subject: str            # pkg.mod:function

    @property
    def seed_text(self) -> str:
        return codec.canonical({"slug": self.slug, "claim": self.claim, "world": self.world,
                                "replicate": self.replicate})

    @property
    def key(self) -> str:
        """Names the row: the task, and the code of its measure and its subject."""
        measure = code_of(papers.get(self.slug).name("theory_checks"))
        return codec.digest(self.seed_text, self.subject, measure, code_of(self.subject.partition(":")[0]))

    def generator(self) -> np.random.Generator:
        """The task's own stream; subject and saboteurs share it."""
        words = bytes.fromhex(codec.digest(self.seed_text))
        spawn = tuple(int.from_bytes(words[i: i + 4], "little") for i in range(0, 32, 4))
        return np.random.Generator(np.random.PCG64DXSM(np.random.SeedSequence(ROOT, spawn_key=spawn)))


@functools.cache
def code_of(module: str) -> str:
    """`code_key` of what makes rows, once a process: of the engine only the search belongs to it.

    Versions do not: loop rows are the same bits for all of them, and each row records those that it was made with.
    """
    return code_key(module, code_key("theory_checks.engine.search"), without=("theory_checks.engine",))


def resolve(name: str) -> Callable:
    """The function ``pkg.mod:function``.

    Raises
    ------
    MdpkitError
        No such module or function.
    """
    module, colon, function = name.partition(":")
    if not colon or not function:
        raise MdpkitError("subject", "a name pkg.mod:function", name)
    try:
        found = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as e:
        raise MdpkitError("subject", "importable", name, str(e)) from e
    if not callable(found):
        raise MdpkitError("subject", "a function", name)
    return found


def name_of(function: Callable) -> str | None:
    """``pkg.mod:function`` if that name leads back to the function; None for closures and notebook functions."""
    module, name = getattr(function, "__module__", None), getattr(function, "__qualname__", "")
    if module in (None, "__main__") or "." in name or module not in sources(str(module)):
        return None             # code that cannot be read has no key that would change with it
    try:
        return f"{module}:{name}" if getattr(importlib.import_module(module), name, None) is function else None
    except ImportError:
        return None


def find_check(slug: str, claim: str) -> Check:
    """The check of ``slug/claim``."""
    checks = {c.claim.id: c for c in papers.get(slug).checks}
    if claim not in checks:
        raise MdpkitError("claim", f"one of {', '.join(checks)} of {slug}", claim)
    return checks[claim]


def is_registered(check: Check) -> bool:
    """Whether a worker that knows only names would run this check's measure in this check's worlds."""
    entry = papers.find().get(check.claim.slug)
    twin = next((c for c in entry.checks if c.claim.id == check.claim.id), None) if entry else None
    return twin is not None and twin.measure is check.measure and (
        not callable(check.worlds) or twin.worlds is check.worlds)


def run(task: Task, subject: Callable | None = None, check: Check | None = None) -> dict[str, Any]:
    """The row of a task, as plain JSON values. Never raises for what the subject does: its error is the row.

    A subject that raises, or returns what cannot be measured, gives a row that carries "error"; nothing is
    concluded from it.
    """
    check = check or find_check(task.slug, task.claim)
    subject = subject or resolve(task.subject)
    setting = codec.decode(_json(task.world))
    rng = task.generator()
    try:
        if callable(check.worlds):
            row = _search(check, setting, subject, task, rng)
        else:
            row = dict(check.measure(setting, subject, rng))
        return codec.encode({**row, "marked": True} if check.marked else row)
    except MemoryError:
        raise
    except (Exception, SystemExit) as e:
        return {"error": f"{type(e).__name__}: {e}"[:500]}


def in_world(check: Check, setting: Mapping[str, Any], subject: Callable, seed: int) -> Callable[[Any], dict]:
    """The measure of a search, as a function of its world alone; ``seed`` is that of the search."""
    world_seed = np.random.SeedSequence(seed)

    def measure(world: Any) -> dict[str, Any]:
        settings = {**world, **setting} if isinstance(world, Mapping) else world
        return dict(check.measure(settings, subject, np.random.default_rng(world_seed)))

    return measure


def measure_again(task: Task, world: Any) -> dict[str, Any]:
    """The row of a searching task in one world that its search has met."""
    check = find_check(task.slug, task.claim)
    seed = int(task.generator().integers(0, 2**62))
    return in_world(check, codec.decode(_json(task.world)), resolve(task.subject), seed)(world)


def _search(check: Check, setting: Mapping[str, Any], subject: Callable, task: Task,
            rng: np.random.Generator) -> dict[str, Any]:
    from theory_checks.engine.search import search

    seed = int(rng.integers(0, 2**62))
    measure = in_world(check, setting, subject, seed)
    examples = getattr(check.judge, "examples", 100)
    strategy = check.worlds()  # type: ignore[operator]
    # a saboteur is to be caught, not explained: only a subject's counterexample is worth shrinking
    sabotage = bool(setting) or task.subject in {s.subject for s in check.saboteurs}
    return search(strategy, measure, seed, examples, shrink=not sabotage)


def _json(text: str) -> Any:
    import json

    return json.loads(text)
