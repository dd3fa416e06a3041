"""docs/STATUS.md: every paper, every claim, its verdict at quick and at full, and the findings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mdpkit import papers
from theory_checks.engine.claims import Verdict

HEAD = """# Status

Written by `mdpkit report --rigor both --status docs/STATUS.md`. What the verdicts mean: [verdicts.md](verdicts.md).
"""


def markdown(verdicts: Mapping[str, Mapping[str, Sequence[Verdict]]]) -> str:
    """The page, from verdicts by slug and rigor; a dash where a rigor was not run."""
    claims = [v for found in verdicts.values() for v in _best(found)]
    out = [HEAD, f"{len(verdicts)} papers, {len(claims)} claims: {_counts(claims)}.", ""]
    for slug, found in verdicts.items():
        paper = papers.get(slug).paper
        out += [f"## {slug}", "", f"{paper.title}. {paper.authors}. {paper.venue}.", "",
                "| claim | kind | quick | full | tightness | controls | status |", "| --- " * 7 + "|"]
        quick, full = ({v.check.claim.id: v for v in found.get(r, ())} for r in ("quick", "full"))
        for v in _best(found):
            c, caught = v.check.claim, sum(k.caught for k in v.controls)
            cells = (c.id, c.kind, _badge(quick.get(c.id)), _badge(full.get(c.id)), f"{v.decision.effect:.3g}",
                     f"{caught}/{len(v.controls)}", c.status)
            out.append("| " + " | ".join(cells) + " |")
        out += ["", *_notes(_best(found))]
    return "\n".join(out).rstrip() + "\n"


def _best(found: Mapping[str, Sequence[Verdict]]) -> Sequence[Verdict]:
    return found.get("full") or found["quick"]


def _badge(v: Verdict | None) -> str:
    return "–" if v is None else v.badge.replace(", quick", "")


def _counts(verdicts: Sequence[Verdict]) -> str:
    labels = [v.label for v in verdicts]
    return ", ".join(f"{labels.count(label)} {label}" for label in dict.fromkeys(labels))


def _notes(verdicts: Sequence[Verdict]) -> list[str]:
    findings = [f"- {v.check.claim.id}, finding: {v.check.claim.finding}" for v in verdicts if v.check.claim.finding]
    return [*findings, ""] if findings else []
