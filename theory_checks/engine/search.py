"""Searching worlds for a violation, with hypothesis: it generates, aims at large realised/bound, and shrinks.

A search is one task: its seed fixes it, so that it gives the same row wherever it runs.
"""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Callable
from typing import Any

import hypothesis
from hypothesis import HealthCheck, Phase
from hypothesis.errors import Unsatisfiable, UnsatisfiedAssumption
from hypothesis.internal.conjecture import providers

from mdpkit.errors import MdpkitError
from theory_checks.engine.rows import excess, tightness

BACKEND = "mdpkit"


class QuietProvider(providers.HypothesisProvider):
    """Hypothesis's own generator, but it never mixes in constants found in the modules that happen to be loaded.

    Bytes of a fixed number come at once and not one by one: a thousand took a millisecond.
    """

    def _maybe_draw_constant(self, *args: Any, **kwargs: Any) -> None:
        return None

    def draw_bytes(self, min_size: int = 0, max_size: int = providers.COLLECTION_DEFAULT_MAX_SIZE) -> bytes:
        n = min_size
        return self._random.randbytes(n) if n == max_size else super().draw_bytes(n, max_size)  # type: ignore[union-attr]


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
    run = directly if _engine_is_known() else by_given
    with contextlib.suppress(_Violated):        # the last failing call that hypothesis makes is the smallest
        run(strategy, look, settings, seed)
    return {**worst, "examples": count}


def by_given(strategy: Any, look: Callable[[Any], None], settings: hypothesis.settings, seed: int) -> None:
    """Look at worlds by hypothesis's public door. Raises what the smallest failing world raises."""
    def trial(world: Any) -> None:
        look(world)

    hypothesis.seed(seed)(settings(hypothesis.given(strategy)(trial)))()


def directly(strategy: Any, look: Callable[[Any], None], settings: hypothesis.settings, seed: int) -> None:
    """The same worlds, in the same order, without what `by_given` does at each for the messages that it prints.

    A world then costs .2 ms before anything is drawn, .6 ms by the public door. It reaches behind that door, which may
    change with any version of hypothesis: `_engine_is_known` looks before anything depends on it.
    """
    from hypothesis.control import BuildContext
    from hypothesis.internal import entropy
    from hypothesis.internal.conjecture import engine
    from hypothesis.internal.conjecture.data import ConjectureData
    from hypothesis.internal.conjecture.shrinker import sort_key
    from hypothesis.internal.escalation import InterestingOrigin

    def once(data: ConjectureData) -> None:
        for generator in shared:                # a subject may draw from global generators: in each world the same
            generator.seed(0)
        with BuildContext(data, wrapped_test=once):
            look(data.draw(strategy))

    def trial(data: ConjectureData) -> None:
        try:
            once(data)
        except UnsatisfiedAssumption:
            data.mark_invalid()
        except (Exception, SystemExit) as e:
            data.expected_exception = e
            data.mark_interesting(InterestingOrigin.from_exception(e))

    runner = engine.ConjectureRunner(trial, settings=settings, random=engine.Random(seed), database_key=None)
    with entropy.deterministic_PRNG():          # and left as they were
        shared = list(entropy.RANDOMS_TO_MANAGE.values())
        runner.run()
        failures = sorted(runner.interesting_test_cases.values(), key=lambda d: sort_key(d.nodes))
        if failures:
            once(ConjectureData.for_choices(failures[0].choices))
            raise MdpkitError("subject", "the same in the same world", None, came="a failing world fails no longer")
    if not runner.valid_test_cases:
        raise Unsatisfiable("no world satisfies its assumptions")


@functools.cache
def _engine_is_known() -> bool:
    """Whether `directly` works with the hypothesis at hand, and finds the worlds that `by_given` finds."""
    from hypothesis import strategies as st

    seen: dict[Callable, list[int]] = {directly: [], by_given: []}
    settings = hypothesis.settings(max_examples=20, database=None, deadline=None, backend=BACKEND,
                                   suppress_health_check=list(HealthCheck), verbosity=hypothesis.Verbosity.quiet,
                                   phases=[Phase.generate, Phase.shrink])
    for run, worlds in seen.items():
        def look(n: int, worlds: list[int] = worlds) -> None:
            worlds.append(n)
            if n > 20:
                raise _Violated

        try:
            run(st.integers(0, 2**20), look, settings, 1)
        except _Violated:
            continue
        except Exception:
            return False
    return seen[directly] == seen[by_given]
