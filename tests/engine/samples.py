"""First rows of a few checks, marked and not, searched and listed: what two machines or versions can compare."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from mdpkit import papers
from theory_checks.engine.codec import canonical
from theory_checks.engine.engines import Serial
from theory_checks.engine.store import Store
from theory_checks.engine.tasks import Task, find_check

CHOSEN = [("hyq", "C2"), ("hyq", "C5"), ("foobar", "C2"), ("npg", "C4"), ("fqi", "C3"), ("lamps", "C5"),
          ("ucbvi", "C5")]


def chosen(replicates: int = 2) -> list[Task]:
    """First rows of a few checks, marked and not, searched and listed."""
    out = []
    for slug, claim in CHOSEN:
        entry = papers.get(slug)
        check = find_check(slug, claim)
        world = "{}" if callable(check.worlds) else canonical(check.worlds[0])
        subject = f"{entry.name('algorithms')}:{check.entry}"
        out += [Task(slug, claim, world, i, subject) for i in range(1 if callable(check.worlds) else replicates)]
    return out


def fill(path: Path) -> None:
    """A store with the rows of `chosen`."""
    todo = chosen()
    with Store(path) as store:
        for i, row, seconds, status in Serial().map(todo):
            assert "error" not in row, row
            store.put(todo[i], todo[i].key, row, seconds, status)


def other_pythons() -> list[str]:
    """Interpreters of another version that have what the kernels need; $MDPKIT_OTHER_PYTHON comes first."""
    named = [os.environ.get("MDPKIT_OTHER_PYTHON"), *(shutil.which(f"python3.{k}") for k in (11, 12, 13))]
    probe = ("import sys, numpy, scipy, numba, hypothesis, flint, threadpoolctl; "
             f"sys.exit(sys.version_info[:2] == {sys.version_info[:2]})")
    return [p for p in named if p and subprocess.run([p, "-c", probe], capture_output=True).returncode == 0]
