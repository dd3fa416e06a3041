"""Verdicts as tables and files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from theory_checks.engine import codec
from theory_checks.engine.claims import REFUTED, Verdict


def as_dict(verdict: Verdict) -> dict[str, Any]:
    """A verdict as plain JSON values; infinities and NaN as text."""
    c, d = verdict.check.claim, verdict.decision
    return {"slug": c.slug, "claim": c.id, "kind": c.kind, "statement": c.statement, "source": c.source,
            "status": c.status, "finding": c.finding, "entry": verdict.check.entry, "subject": verdict.subject,
            "verdict": verdict.label, "badge": verdict.badge, "evidence": verdict.check.judge.evidence,
            "rigor": verdict.rigor, "alpha": verdict.alpha, "n": d.n, "statistic": d.statistic,
            "tightness": _plain(d.effect), "visible": _plain(d.visible), "needs": d.needs,
            "rows": verdict.rows, "seconds": round(verdict.seconds, 2),
            "controls": [{"name": k.saboteur.name, "why": k.saboteur.why, "verdict": k.decision.verdict,
                          "effect": _plain(k.decision.effect), "statistic": k.decision.statistic}
                         for k in verdict.controls]}


def saboteur_matrix(verdicts: Sequence[Verdict]) -> str:
    """Saboteurs (rows) against checks (columns): R refuted, S supported, I inconclusive, . not a control there."""
    names = list(dict.fromkeys(k.saboteur.name for v in verdicts for k in v.controls))
    wide = max([len(n) for n in names] + [8])
    columns = [v.check.name.split("/")[1] for v in verdicts]
    lines = [f"{'saboteur':<{wide}}  " + "  ".join(columns)]
    for name in names:
        cells = []
        for v, column in zip(verdicts, columns):
            mark = next((k.decision.verdict[0] for k in v.controls if k.saboteur.name == name), ".")
            cells.append(mark.center(len(column)))
        lines.append(f"{name:<{wide}}  " + "  ".join(cells))
    return "\n".join(lines)


def save_counterexamples(verdicts: Sequence[Verdict], folder: Path) -> list[Path]:
    """``<slug>-<claim>.json`` for each refuted claim: the row, its world, and the constructor to paste."""
    written = []
    for v in verdicts:
        if v.decision.verdict == REFUTED and v.decision.where is not None:
            folder.mkdir(parents=True, exist_ok=True)
            path = folder / f"{v.check.claim.slug}-{v.check.claim.id}.json"
            row = v.decision.where
            content = {"claim": v.check.claim.statement, "subject": v.subject, "row": codec.encode(row),
                       "paste": codec.pasteable(row.get("world", {}))}
            path.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")
            written.append(path)
    return written


def _plain(x: float) -> float | str:
    return x if x == x and abs(x) != float("inf") else str(x)
