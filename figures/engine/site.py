"""The report: a static, self-contained site. No network, no framework; it reads from a folder as from a server."""

from __future__ import annotations

import inspect
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from figures.engine import maths
from mdpkit import papers
from theory_checks.engine import report, tables
from theory_checks.engine.claims import INCONCLUSIVE, REFUTED, SUPPORTED, Verdict
from theory_checks.engine.runner import FAMILY_ALPHA, PAPERS, QUICK_ALPHA

HERE = Path(__file__).parent
UNPROVEN = "UNPROVEN CHECK"
LABELS = (SUPPORTED, INCONCLUSIVE, REFUTED, UNPROVEN)
SIGNS = {SUPPORTED: "✓", INCONCLUSIVE: "?", REFUTED: "✗", UNPROVEN: "⚠"}      # never by colour alone
RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
STATUS = {"stated": "read in the paper", "checked": "recalled, and checked numerically before",
          "derived": "derived from first principles", "recalled": "recalled, not looked up"}


@dataclass(frozen=True)
class Page:
    """What a page shows of one paper: its verdicts by rigor, and its figure or why there is none."""

    slug: str
    verdicts: Mapping[str, Sequence[Verdict]]
    figure: bool = True
    trouble: str = ""
    seconds: Mapping[str, float] = field(default_factory=dict)

    @property
    def best(self) -> Sequence[Verdict]:
        """The verdicts of the higher rigor."""
        return self.verdicts.get("full") or self.verdicts["quick"]

    @property
    def counts(self) -> dict[str, int]:
        """How many claims have each label, at the higher rigor."""
        return {label: sum(v.label == label for v in self.best) for label in LABELS}


def build(pages: Sequence[Page], folder: Path, *, calibration: Path | None = None, benchmarks: Path | None = None,
          ) -> Path:
    """Write the site; figures lie in ``folder/figures`` already.

    Parameters
    ----------
    pages : sequence of Page
    folder : Path
    calibration, benchmarks : Path, optional
        JSON files of tables; where one is missing its page says how to make it.

    Returns
    -------
    Path
        The index.
    """
    make, names = _maker(), {"calibration": calibration, "benchmarks": benchmarks}
    for part in ("papers", "data", "assets"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    for path in (HERE / "assets").iterdir():
        shutil.copyfile(path, folder / "assets" / path.name)
    every = [v for page in pages for found in page.verdicts.values() for v in found]
    (folder / "data" / "verdicts.json").write_text(json.dumps([report.as_dict(v) for v in every], indent=1) + "\n")
    (folder / "data" / "verdicts.csv").write_text(tables.csv_text(every))
    shown = [_paper(page) for page in pages]
    make("index.html", folder / "index.html", papers=shown, totals=_totals(pages))
    make("gallery.html", folder / "gallery.html", papers=shown)
    make("budget.html", folder / "budget.html", papers=shown)
    for name, source in names.items():
        found = json.loads(source.read_text()) if source and source.is_file() else None
        make("tables.html", folder / f"{name}.html", page=name, found=found)
    for paper in shown:
        make("paper.html", folder / "papers" / f"{paper['slug']}.html", root="../", paper=paper)
    return folder / "index.html"


def _maker() -> Any:
    import jinja2

    env = jinja2.Environment(loader=jinja2.FileSystemLoader(HERE / "templates"), autoescape=True, trim_blocks=True,
                             lstrip_blocks=True, undefined=jinja2.StrictUndefined)
    env.filters["number"] = number
    env.globals |= {"signs": SIGNS, "labels": LABELS, "alphas": (QUICK_ALPHA, FAMILY_ALPHA, PAPERS)}

    def make(template: str, path: Path, root: str = "", **values: Any) -> None:
        path.write_text(env.get_template(template).render(root=root, **values), encoding="utf-8")

    return make


def number(x: Any, digits: int = 3) -> str:
    """A number for people: few digits, a true minus, powers of ten raised."""
    if x is None or x != x:
        return "–"
    if isinstance(x, float) and abs(x) == float("inf"):
        return "∞" if x > 0 else "−∞"
    mantissa, _, exponent = f"{x:.{digits}g}".partition("e")
    power = f"·10{str(int(exponent)).translate(RAISED)}" if exponent else ""
    return mantissa.replace("-", "−") + power


def _totals(pages: Sequence[Page]) -> dict[str, Any]:
    counts = {label: sum(p.counts[label] for p in pages) for label in LABELS}
    controls = [c for p in pages for v in p.best for c in v.controls]
    return {"counts": counts, "claims": sum(counts.values()), "papers": len(pages), "controls": len(controls),
            "caught": sum(c.caught for c in controls),
            "findings": [(p.slug, v.check.claim.id, v.check.claim.finding) for p in pages for v in p.best
                         if v.check.claim.finding]}


def _paper(page: Page) -> dict[str, Any]:
    entry = papers.get(page.slug)
    paper = entry.paper
    by_id: dict[str, dict[str, Verdict]] = {}
    for rigor in ("quick", "full"):
        for v in page.verdicts.get(rigor, ()):
            by_id.setdefault(v.check.claim.id, {})[rigor] = v
    return {"slug": page.slug, "family": entry.family, "paper": paper, "page": page, "counts": page.counts,
            "about": inspect.cleandoc(entry.module("algorithms").__doc__ or ""),
            "alt": (entry.module("figures").__doc__ or "").strip().partition("\n\n")[0].replace("\n", " "),
            "claims": [_claim(found) for found in by_id.values()],
            "seconds": sum(v.seconds for v in page.best[:1])}


def _claim(found: Mapping[str, Verdict]) -> dict[str, Any]:
    """One claim with its verdicts by rigor; numbers are those of the higher one."""
    v = found.get("full") or found["quick"]
    c = v.check.claim
    subject = v.subject.partition(":")
    return {"claim": c, "verdict": v, "found": found, "statement": maths.html(c.statement),
            "finding": maths.html(c.finding), "status": STATUS[c.status], "entry": v.check.entry,
            "subject": f"{subject[0]}:{subject[2]}" if subject[2] else v.subject}
