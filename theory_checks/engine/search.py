"""Searching worlds for a violation, with hypothesis: it generates, aims at large realised/bound, and shrinks.

A search is one task: its seed fixes it, so that it gives the same row wherever it runs.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from typing import Any

import hypothesis
from hypothesis import HealthCheck, Phase
from hypothesis.internal.conjecture import providers

from theory_checks.engine.rows import excess, tightness

BACKEND = "mdpkit"


class QuietProvider(providers.HypothesisProvider):
    """Hypothesis's own generator, but it never mixes in constants found in the modules that happen to be loaded."""

    def _maybe_draw_constant(self, *args: Any, **kwargs: Any) -> None:
        return None


providers.AVAILABLE_PROVIDERS.setdefault(BACKEND, f"{__name__}.QuietProvider")


class _Violated(Exception):
    pass


def search(strategy: Any, measure: Callable[[Any], dict], seed: int, examples: int, *, shrink: bool = True) -> dict:
    """The worst row over ``examples`` worlds; the smallest violating world where there is one, or with
    ``shrink=False`` the first.

    Returns
    -------
    dict
        The row of ``measure`` for the worst world (for a violation: the smallest), with "examples", the number of
        worlds, "world" itself and "violated".
    """
    worst: dict = {}
    count = 0

    def look(world: Any) -> None:
        nonlocal worst, count
        count += 1
        row = dict(measure(world))
        if excess(row) > 0:
            worst = {**row, "world": world, "violated": True}
            raise _Violated
        if not worst or tightness(row) > tightness(worst):
            worst = {**row, "world": world, "violated": False}
        score = tightness(row)
        if math.isfinite(score):
            hypothesis.target(score)

    settings = hypothesis.settings(
        max_examples=examples, database=None, deadline=None, derandomize=False, report_multiple_bugs=False,
        print_blob=False, suppress_health_check=list(HealthCheck), verbosity=hypothesis.Verbosity.quiet,
        backend=BACKEND, phases=[Phase.generate, Phase.target, *([Phase.shrink] if shrink else [])])
    trial = hypothesis.seed(seed)(settings(hypothesis.given(strategy)(look)))
    with contextlib.suppress(_Violated):        # the last failing call that hypothesis makes is the smallest
        trial()
    return {**worst, "examples": count}
