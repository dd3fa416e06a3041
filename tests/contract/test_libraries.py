"""Rows are marked exactly where they pass through BLAS, LAPACK or a linear programme: nobody keeps that by hand."""

from __future__ import annotations

from fractions import Fraction

import hypothesis
import numpy as np
import pytest
from contract.libraries import passed

from mdpkit import papers
from theory_checks.engine import codec
from theory_checks.engine.tasks import resolve

CHECKS = [pytest.param(slug, c.claim.id, id=c.name, marks=pytest.mark.xdist_group(slug))
          for slug, entry in papers.find().items() for c in entry.checks]
EXAMPLES = 6


def measured(check, subject) -> None:
    """One row of a listed world, or a few of a search, the subject's own."""
    def look(world):
        check.measure(world, subject, np.random.default_rng(0))

    if callable(check.worlds):
        some = hypothesis.settings(max_examples=EXAMPLES, deadline=None, database=None, phases=[
            hypothesis.Phase.generate], suppress_health_check=list(hypothesis.HealthCheck))
        hypothesis.seed(1)(some(hypothesis.given(check.worlds())(look)))()
    else:
        look(codec.decode(codec.encode(check.worlds[0])))


@pytest.mark.parametrize("slug, claim", CHECKS)
def test_what_passes_through_a_library_is_marked(slug, claim):
    entry = papers.get(slug)
    check = next(c for c in entry.checks if c.claim.id == claim)
    seen = passed(lambda: measured(check, resolve(f"{entry.name('algorithms')}:{check.entry}")))
    if check.judge.evidence == "EXACT":        # `@` on rationals is Python's own sum
        assert not check.marked
    else:
        assert check.marked == bool(seen), f"{check.measure.__name__} passes through {sorted(seen)}"


def test_the_look_sees_what_it_should():
    one, third = np.ones((2, 2)), np.array([[Fraction(1, 3)]])
    assert passed(lambda: np.linalg.solve(one + np.eye(2), one))
    assert passed(lambda: np.dot(one, one)) and passed(lambda: one.dot(one))
    assert passed(lambda: third @ third) == {"/tests/contract/test_libraries.py:<lambda>"}
    assert not passed(lambda: (one * one).sum() + np.einsum("ij,jk->", one, one))
