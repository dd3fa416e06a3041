"""`iterate`: the one Python loop, for algorithms of few dear steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from mdpkit import validate
from mdpkit.records import Trace


def iterate(step: Callable, state: Any, access: Any, n: int, rng: np.random.Generator,
            record: Callable[[Any], tuple[np.ndarray, Mapping[str, Any]]]) -> tuple[Any, Trace]:
    """Apply ``state = step(state, access, rng)`` n times.

    Parameters
    ----------
    record : callable
        Gives the policy in play and whatever else is to be traced, from the state before each step.

    Returns
    -------
    state
        The last one.
    Trace
        One row a step; equal consecutive policies are kept once.
    """
    n = validate.count("n", n)
    policies: list[np.ndarray] = []
    index, infos = np.empty(n, np.int64), []
    for t in range(n):
        policy, info = record(state)
        if not policies or (policies[-1] != policy).any():
            policies.append(np.array(policy))
        index[t] = len(policies) - 1
        infos.append(info)
        state = step(state, access, rng)
    keys = infos[0].keys()
    return state, Trace(np.stack(policies), index, {k: np.stack([np.asarray(i[k]) for i in infos]) for k in keys})
