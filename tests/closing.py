"""The tests that end every paper's file: what it refuses, and its claims at rigor quick."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from mdpkit.errors import MdpkitError
from theory_checks.engine.claims import REFUTED, Check
from theory_checks.engine.runner import verify


def refusals(cases: Mapping[str, tuple]) -> Callable:
    """Each case is a call and the message that it must raise, or a call, the kind of error and the message."""
    @pytest.mark.parametrize("name", cases)
    def test(name: str) -> None:
        call, *kind, message = cases[name]
        with pytest.raises(*(kind or [MdpkitError]), match=message):
            call()
    return test


def claims(checks: Sequence[Check], refuted: Sequence[str] = ()) -> Callable:
    """No claim is refuted but those found false, which say so beside the claim; every control is refuted."""
    @pytest.mark.parametrize("check", checks, ids=lambda c: c.claim.id)
    def test(check: Any) -> None:
        verdict = verify(check)
        assert (verdict.decision.verdict == REFUTED) == (check.claim.id in refuted), verdict
        assert check.claim.finding or check.claim.id not in refuted
        assert verdict.proven, verdict
    return test
