"""The records of the judge: claims, checks, saboteurs, verdicts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

KINDS = ("identity", "bound", "monotone", "high-probability", "expectation", "rate", "linear-rate", "separation",
         "lower-bound")
SUPPORTED, REFUTED, INCONCLUSIVE = "SUPPORTED", "REFUTED", "INCONCLUSIVE"


@dataclass(frozen=True)
class Claim:
    """What a paper states.

    Attributes
    ----------
    slug, id : str
        ``hyq``, ``C1``.
    kind : str
        One of `KINDS`.
    statement : str
        With its constants and assumptions.
    source : str
        Theorem, lemma or equation.
    status : {"stated", "checked", "derived", "recalled"}
        Read in the paper; recalled and checked numerically before; derived from first principles; recalled only.
    finding : str
        Where the claim was found false or corrected, with the counterexample.
    """

    slug: str
    id: str
    kind: str
    statement: str
    source: str
    status: str
    finding: str = ""


@dataclass(frozen=True)
class Saboteur:
    """A broken twin on which the same check must fail.

    Exactly one thing is wrong with it: its function (``subject``, a name ``pkg.mod:f`` with the signature of the
    entry, or the function itself in a check that is not registered) or the world (``world``, settings that override
    the check's and violate an assumption).
    """

    name: str
    why: str
    subject: str | Callable | None = None
    world: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Decision:
    """What a judge says about the rows of one world."""

    verdict: str
    n: int
    statistic: str                     # the numbers that it rests on, for people
    effect: float                      # realised / bound at worst (1 = at the bound), or log-slope over its margin
    visible: float                     # smallest violation that these rows could have shown, in units of the bound
    needs: int | None = None           # runs that would decide, where it is inconclusive
    where: Any = None                  # the row that decides: the worst world, or the counterexample


class Judge(Protocol):
    """Names how many rows come next, and decides on rows in index order."""

    @property
    def evidence(self) -> str: ...

    @property
    def statistical(self) -> bool: ...

    def more(self, n: int, rigor: str) -> int: ...

    def decide(self, rows: list[dict], alpha: float, alpha_refute: float) -> Decision: ...


def marked(measure: Callable) -> Callable:
    """Decorator of a measure whose numbers pass through BLAS, LAPACK or a linear programme on their way.

    Such libraries add in an order of their own, which changes with version and processor: rows of a marked measure
    agree within their certificate (`theory_checks.engine.agree`), all others bit for bit.
    """
    measure.marked = True  # type: ignore[attr-defined]
    return measure


@dataclass(frozen=True)
class Check:
    """A claim, and how it is put to the test.

    Attributes
    ----------
    claim : Claim
    entry : str
        The function of the algorithm's module that the claim is about, such as ``run``.
    worlds : tuple of mappings, or a strategy
        JSON settings, one after the other; or a function that returns a hypothesis strategy of worlds, searched.
    measure : function (world, subject, rng) -> mapping
        Gives "measured" and "bound", and for sure claims "slack", the rounding that must be forgiven, derived.
    judge : Judge
    saboteurs : tuple of Saboteur
    """

    claim: Claim
    entry: str
    worlds: tuple[Mapping[str, Any], ...] | Callable[[], Any]
    measure: Callable[[Any, Callable, Any], Mapping[str, Any]]
    judge: Judge
    saboteurs: tuple[Saboteur, ...]

    @property
    def name(self) -> str:
        return f"{self.claim.slug}/{self.claim.id}"

    @property
    def marked(self) -> bool:
        """Whether its rows pass through BLAS, LAPACK or a linear programme."""
        return getattr(self.measure, "marked", False)


@dataclass(frozen=True)
class Control:
    """How one saboteur fared."""

    saboteur: Saboteur
    decision: Decision

    @property
    def caught(self) -> bool:
        return self.decision.verdict == REFUTED


@dataclass(frozen=True)
class Verdict:
    """A judged claim."""

    check: Check
    subject: str
    rigor: str
    alpha: float | None
    decision: Decision
    controls: tuple[Control, ...]
    badge_note: str = ""
    rows: int = 0
    seconds: float = 0.0
    worlds: tuple[Decision, ...] = field(default=())

    @property
    def proven(self) -> bool:
        """Whether the check was shown to fail on every saboteur."""
        return bool(self.controls) and all(c.caught for c in self.controls)

    @property
    def label(self) -> str:
        """SUPPORTED, REFUTED, INCONCLUSIVE, or UNPROVEN CHECK where a control got away."""
        if self.decision.verdict == SUPPORTED and not self.proven:
            return "UNPROVEN CHECK"
        return self.decision.verdict

    @property
    def badge(self) -> str:
        """The label with the kind of its evidence: a quick badge is in lower case and says so."""
        judge = self.check.judge
        size = f"alpha={self.alpha:.2g}" if judge.statistical else f"n={self.decision.n}"
        kind = f"{judge.evidence} {size}"
        note = f" [{self.badge_note}]" if self.badge_note else ""
        return f"{self.label} ({kind}{', quick' if self.rigor == 'quick' else ''}){note}"

    def __repr__(self) -> str:
        caught = sum(c.caught for c in self.controls)
        return f"{self.check.name}: {self.badge}; {self.decision.statistic}; controls {caught}/{len(self.controls)}"

    def _repr_html_(self) -> str:
        colour = {SUPPORTED: "#1b7837", REFUTED: "#b2182b"}.get(self.label, "#8c6d1f")
        style = "dashed" if self.rigor == "quick" else "solid"
        controls = "".join(f"<li>{c.saboteur.name}: {c.decision.verdict} (effect {c.decision.effect:.3g})</li>"
                           for c in self.controls)
        return (f"<div style='border-left:4px {style} {colour};padding-left:8px'><b>{self.check.name}</b> "
                f"<span style='color:{colour}'>{self.badge}</span><br>{self.check.claim.statement}<br>"
                f"<small>{self.decision.statistic}; tightness {self.decision.effect:.3g}; smallest visible violation "
                f"{self.decision.visible:.3g}</small><ul>{controls}</ul></div>")
