"""`mdpkit figure`: draw papers' figures, and write the data behind them."""

from __future__ import annotations

from pathlib import Path

import click

from mdpkit import papers
from mdpkit.commands.completion import slugs_like


@click.command()
@click.argument("slugs", nargs=-1, metavar="[SLUG]...", shell_complete=slugs_like)
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), default=Path("figures-out"),
              show_default=True)
@click.option("--rigor", type=click.Choice(["quick", "full"]), default="quick", show_default=True,
              help="Of the verdicts beside the curves.")
@click.option("--verdicts/--no-verdicts", default=True, help="Judge the claims too, and print their badges.")
@click.option("--venue", help="Size and fonts of a venue's template, such as neurips2024 or icml2024_half.")
@click.option("--workers", type=click.IntRange(0), default=2, show_default=True)
@click.option("--store", "store_path", type=click.Path(dir_okay=False, path_type=Path),
              help="Rows are read from here; only missing ones are run.")
def command(slugs: tuple[str, ...], out: Path, rigor: str, verdicts: bool, venue: str | None, workers: int,
            store_path: Path | None) -> None:
    """Draw the figures of all papers, or of those named: pdf, png, svg, and .npz and .csv data.

    \b
    mdpkit figure hyq --out figures --store rows.sqlite      the second time it only draws
    mdpkit figure hyq --venue icml2024_half --no-verdicts    for a paper
    """
    from figures.engine.export import render
    from theory_checks.engine.engines import make
    from theory_checks.engine.runner import verify_all
    from theory_checks.engine.store import Store

    engine = make(workers)
    try:
        with Store(store_path) as store:
            for slug in slugs or tuple(papers.find()):
                entry, badges = papers.get(slug), {}
                if verdicts:
                    judged = verify_all(entry.checks, rigor=rigor, store=store, engine=engine)
                    badges = {v.check.claim.id: v.badge for v in judged}
                for path in render(slug, out, store, engine, badges, venue):
                    click.echo(str(path))
    finally:
        engine.close()
