"""mmd held to its claims.

Write every measure and choose every saboteur before looking at a result. A correction to the paper's statement is
written here, beside the claim.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import strategies as st

from algorithms.games import mmd as paper
from mdpkit import strategies
from mdpkit.access import Episodes
from mdpkit.records import Result
from theory_checks.engine.claims import Check, Claim, Saboteur
from theory_checks.engine.judges import Sure

HERE = "theory_checks.games.mmd"


def worlds() -> st.SearchStrategy[dict[str, Any]]:
    """Small worlds that nobody chose."""
    return st.fixed_dictionaries({"model": strategies.episodic_mdps()})


def unaccounted(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C1: total reward seen, against the most that T episodes can pay. Replace by the paper's first claim."""
    model = world["model"]
    params = paper.theory(4)
    total = subject(Episodes(model, rng), params, rng).output.sum()
    # T H additions of rewards of size at most max r
    top = params.T * model.H * float(np.abs(model.r).max())
    return {"measured": float(total), "bound": top, "slack": params.T * model.H * 2.0**-53 * top}


def counts_twice(access: Episodes, params: paper.Params, rng: np.random.Generator) -> Result:
    """Adds every reward twice, and one more."""
    out = paper.run(access, params, rng)
    return Result(2 * out.output + 1.0, out.trace, params, out.samples)


CHECKS = (
    Check(
        Claim("mmd", "C1", "bound", "The total reward of T episodes is at most T H max r.", "definition", "derived"),
        "run", worlds, unaccounted, Sure("SEARCHED", 60),
        (Saboteur("counts twice", "rewards are added twice", subject=f"{HERE}:counts_twice"),)),
)
