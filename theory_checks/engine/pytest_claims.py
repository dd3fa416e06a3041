"""`claims_as_tests`: a paper's claims in a user's own pytest suite, in one line.

    test_hyq = claims_as_tests("hyq", run=my_run)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mdpkit import papers
from mdpkit.errors import MissingPackage
from theory_checks.engine.claims import REFUTED
from theory_checks.engine.runner import verify


def claims_as_tests(slug: str, rigor: str = "quick", *, subject: Callable | str | None = None,
                    **subjects: Callable | str) -> Any:
    """A parametrised test function: one test a claim that is about the given entries.

    Parameters
    ----------
    slug : str
    rigor : {"quick", "full"}
    subject : function, optional
        Short for ``run=subject``.
    **subjects
        Functions by entry, such as ``run=...`` or ``loss=...``. Without any, the house's own are tested.

    A test fails when the claim is REFUTED or its check UNPROVEN, and is skipped, visibly, when INCONCLUSIVE.
    """
    try:
        import pytest
    except ImportError as e:
        raise MissingPackage("pytest", "test") from e
    given = dict(subjects) if subject is None else {"run": subject, **subjects}
    checks = [c for c in papers.get(slug).checks if not given or c.entry in given]

    @pytest.mark.parametrize("check", checks, ids=lambda c: c.claim.id)
    def test_claim(check: Any) -> None:
        verdict = verify(check, given.get(check.entry), rigor)
        if verdict.label == "INCONCLUSIVE":
            pytest.skip(str(verdict))
        if verdict.decision.verdict == REFUTED or not verdict.proven:
            from theory_checks.engine.codec import pasteable

            pytest.fail(f"{verdict}\n{pasteable((verdict.decision.where or {}).get('world', ''))}")

    return test_claim
