"""Verdicts as tables: Markdown, LaTeX (booktabs), CSV, and pandas frames."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from typing import Any

from mdpkit.errors import MissingPackage
from theory_checks.engine import report
from theory_checks.engine.claims import Verdict

COLUMNS = ("paper", "claim", "kind", "verdict", "evidence", "level", "n", "tightness", "controls")
TEX = {"&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}",
       "^": r"\textasciicircum{}", "\\": r"\textbackslash{}"}


def lines(verdicts: Sequence[Verdict]) -> list[tuple[str, ...]]:
    """One line a verdict, in the order of `COLUMNS`; ``level`` is the rigor, with alpha where there is one."""
    out: list[tuple[str, ...]] = []
    for v in verdicts:
        c, d = v.check.claim, v.decision
        level = v.rigor if v.alpha is None else f"{v.rigor}, {v.alpha:.2g}"
        caught = f"{sum(k.caught for k in v.controls)}/{len(v.controls)}"
        tight = "" if d.effect != d.effect else f"{d.effect:.3g}"
        out.append((c.slug, c.id, c.kind, v.label, v.check.judge.evidence, level, str(d.n), tight, caught))
    return out


def markdown(verdicts: Sequence[Verdict]) -> str:
    """A pipe table."""
    rows = [COLUMNS, ("---",) * len(COLUMNS), *lines(verdicts)]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows) + "\n"


def latex(verdicts: Sequence[Verdict]) -> str:
    r"""A tabular with booktabs' rules: needs ``\usepackage{booktabs}``."""
    body = [" & ".join("".join(TEX.get(k, k) for k in cell) for cell in row) + r" \\" for row in lines(verdicts)]
    return "\n".join([r"\begin{tabular}{llllllrrr}", r"\toprule", " & ".join(COLUMNS) + r" \\", r"\midrule", *body,
                      r"\bottomrule", r"\end{tabular}"]) + "\n"


def csv_text(verdicts: Sequence[Verdict]) -> str:
    """Comma-separated values, a header first."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerows([COLUMNS, *lines(verdicts)])
    return out.getvalue()


def frame(verdicts: Sequence[Verdict]) -> Any:
    """A pandas frame, one row a verdict, with every field of the JSON form but the controls' details.

    Raises
    ------
    MissingPackage
        pandas is not installed.
    """
    try:
        import pandas
    except ImportError as e:
        raise MissingPackage("pandas", "frames") from e
    rows = [report.as_dict(v) for v in verdicts]
    for row in rows:
        controls = row.pop("controls")
        row["controls"], row["caught"] = len(controls), sum(c["verdict"] == "REFUTED" for c in controls)
    return pandas.DataFrame(rows)


FORMATS: dict[str, Callable[[Sequence[Verdict]], str]] = {"markdown": markdown, "latex": latex, "csv": csv_text}
