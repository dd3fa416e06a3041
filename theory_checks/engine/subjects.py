"""Whose code is judged: the house's entry, or a user's function with the same signature."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any

from mdpkit import papers
from mdpkit.errors import MdpkitError
from theory_checks.engine.claims import Check
from theory_checks.engine.tasks import resolve


def is_ours(check: Check) -> bool:
    """Whether the claim is about a paper of the house; a user's own claims are not."""
    return check.claim.slug in papers.find()


def own(check: Check) -> str:
    """``pkg.mod:entry`` of the house's own implementation."""
    return f"{papers.get(check.claim.slug).name('algorithms')}:{check.entry}"


def fit(check: Check, function: str | Callable) -> None:
    """See that a subject can be called like the entry.

    Raises
    ------
    MdpkitError
        It cannot; the message prints the signature expected.
    """
    subject = resolve(function) if isinstance(function, str) else function
    if not callable(subject):
        raise MdpkitError("subject", "a function or a name pkg.mod:function", function)
    if not is_ours(check):
        return
    wanted = signature(check)
    try:
        theirs = inspect.signature(subject)
    except (TypeError, ValueError):
        return
    names = [p for p in wanted.parameters.values() if p.default is p.empty]
    positional = [p.name for p in names if p.kind is not p.KEYWORD_ONLY]
    keywords = {p.name: None for p in names if p.kind is p.KEYWORD_ONLY}
    try:
        theirs.bind(*positional, **keywords)
    except TypeError as e:
        raise MdpkitError("subject", f"callable as {check.entry}{wanted}", None,
                          came=f"its signature is {theirs} ({e})") from e


def signature(check: Check) -> inspect.Signature:
    """The signature of the entry."""
    return inspect.signature(resolve(own(check)))


def note(check: Check) -> str:
    """What the badge says about changed constants, such as ``c=0.1``: from the worlds' "params"."""
    if callable(check.worlds):
        return ""
    changed: dict[str, Any] = {}
    for world in check.worlds:
        changed |= world.get("params", {})
    return ", ".join(f"{k}={v}" for k, v in changed.items())


def changed_params(params: Any, world: dict[str, Any]) -> Any:
    """``replace(params, **world["params"])``: another claim than the theorem's, and its badge says so."""
    return dataclasses.replace(params, **world.get("params", {}))
