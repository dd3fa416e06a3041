"""`mdpkit report`: judge, draw, and write a site that a browser opens from a folder."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from mdpkit import papers
from mdpkit.commands.completion import slugs_like
from mdpkit.commands.progress import bar
from mdpkit.errors import MdpkitError


@click.command()
@click.argument("slugs", nargs=-1, metavar="[SLUG]...", shell_complete=slugs_like)
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), default=Path("report-out"), show_default=True)
@click.option("--rigor", type=click.Choice(["quick", "full", "both"]), default="quick", show_default=True)
@click.option("--workers", type=click.IntRange(0), default=2, show_default=True, help="Processes; 0 runs here.")
@click.option("--store", "store_path", type=click.Path(dir_okay=False, path_type=Path),
              help="Rows are read from here; only missing ones are run. A report that was stopped goes on from it.")
@click.option("--status", "status_path", type=click.Path(dir_okay=False, path_type=Path),
              help="Write the verdicts of all papers as a Markdown page, too.")
def command(slugs: tuple[str, ...], out: Path, rigor: str, workers: int, store_path: Path | None,
            status_path: Path | None) -> None:
    """Judge all papers, or those named, draw their figures, and write a static site.

    \b
    mdpkit report                                   everything, rigor quick
    mdpkit report hyq --rigor both --store rows.sqlite --out report
    """
    from figures.engine import site
    from theory_checks.engine import status
    from theory_checks.engine.engines import make
    from theory_checks.engine.store import Store

    store, engine = Store(store_path), make(workers)
    try:
        pages = [_page(slug, site.Page, out / "figures", rigor, store, engine)
                 for slug in slugs or tuple(papers.find())]
    except KeyboardInterrupt:
        click.echo(f"\nstopped; run the same command again with --store {store_path} to go on" if store_path
                   else "\nstopped; with --store FILE a report goes on where it was stopped", err=True)
        sys.exit(130)
    finally:
        engine.close()
        damage = list(store.damage)
        store.close()
    root = papers.house()
    index = site.build(pages, out, calibration=root / "docs" / "calibration.json",
                       benchmarks=root / "docs" / "benchmarks.json")
    if status_path:
        status_path.write_text(status.markdown({p.slug: p.verdicts for p in pages}), encoding="utf-8")
    for line in damage:
        click.secho(f"store: {line}", fg="yellow", err=True)
    click.echo(f"report: {index.resolve()}")


def _page(slug: str, Page: Any, figures: Path, rigor: str, store: Any, engine: Any) -> Any:
    """One paper; whatever keeps its figure from being drawn is told on its page."""
    from figures.engine.export import render
    from theory_checks.engine.runner import verify_all

    verdicts: dict[str, Any] = {}
    with bar(slug) as progress:
        for level in ("quick", "full") if rigor == "both" else (rigor,):
            verdicts[level] = verify_all(papers.get(slug).checks, rigor=level, store=store, engine=engine,
                                         progress=progress)
        best = verdicts.get("full") or verdicts["quick"]
        try:
            render(slug, figures, store, engine, {v.check.claim.id: v.badge for v in best})
            page = Page(slug, verdicts)
        except MdpkitError as e:
            page = Page(slug, verdicts, False, str(e))
    click.echo(f"{slug:<18} " + ", ".join(f"{n} {label}" for label, n in page.counts.items() if n))
    return page
