"""`tighten`: the world on which a sure claim is nearest to its bound."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from mdpkit import validate
from mdpkit.errors import MdpkitError
from theory_checks.engine.rows import tightness
from theory_checks.engine.runner import checks_of
from theory_checks.engine.search import search
from theory_checks.engine.subjects import own
from theory_checks.engine.tasks import resolve


@dataclass(frozen=True)
class Tightest:
    """The best world found, its realised/bound, and how many were tried."""

    ratio: float
    world: Any
    examples: int


def tighten(name: str, examples: int = 2000, seed: int = 0) -> Tightest:
    """Search worlds of ``SLUG/C1`` for the largest realised/bound.

    Raises
    ------
    MdpkitError
        The claim's worlds are not searched.
    """
    check = checks_of([name])[0]
    if not callable(check.worlds):
        raise MdpkitError("name", "a claim whose worlds come from a strategy", name)
    subject = resolve(own(check))

    def measure(world: Any) -> dict:
        return dict(check.measure(world, subject, np.random.default_rng(seed)))

    row = search(check.worlds(), measure, validate.count("seed", seed, 0), validate.count("examples", examples))
    return Tightest(tightness(row), row["world"], row["examples"])
