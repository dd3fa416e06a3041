"""`mdpkit check`: judge claims, and see every saboteur caught.

Exit codes: 0 no claim refuted and every control refuted; 1 a claim refuted or a check unproven; 2 usage;
3 only inconclusive ones remain.
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import click

from mdpkit.commands.completion import slugs_like
from mdpkit.commands.progress import bar
from mdpkit.errors import MdpkitError

COLOURS = {"SUPPORTED": "green", "REFUTED": "red", "UNPROVEN CHECK": "red", "INCONCLUSIVE": "yellow"}


@click.command()
@click.argument("names", nargs=-1, metavar="[SLUG[/C1]]...", shell_complete=slugs_like)
@click.option("--rigor", type=click.Choice(["quick", "full"]), default="quick", show_default=True)
@click.option("--subject", "subjects", multiple=True, metavar="[ENTRY=]pkg.mod:f",
              help="Hold this function to the claims about ENTRY (default: run).")
@click.option("--workers", type=click.IntRange(0), default=2, show_default=True, help="Processes; 0 runs here.")
@click.option("--dask", metavar="ADDRESS", help="A scheduler's address, or `local`.")
@click.option("--store", "store_path", type=click.Path(dir_okay=False, path_type=Path),
              help="Keep rows in this file; a run that was stopped goes on from it.")
@click.option("--saboteurs", is_flag=True, help="Print the matrix of saboteurs against checks.")
@click.option("--counterexamples", type=click.Path(file_okay=False, path_type=Path), metavar="FOLDER",
              help="Save the smallest violating world of each refuted claim as JSON.")
@click.option("--table", type=click.Choice(["markdown", "latex", "csv"]), help="Print one table instead.")
@click.option("--json", "as_json", is_flag=True, help="For machines.")
def command(names: tuple[str, ...], rigor: str, subjects: tuple[str, ...], workers: int, dask: str | None,
            store_path: Path | None, saboteurs: bool, counterexamples: Path | None, table: str | None,
            as_json: bool) -> None:
    """Judge the claims of all papers, or of those named.

    \b
    mdpkit check                                 everything, rigor quick
    mdpkit check hyq/C4 --rigor full --workers 4
    mdpkit check hyq --subject run=mine.hyq:run  your own implementation
    mdpkit check hyq --table latex               for a paper, with booktabs
    """
    from theory_checks.engine import report, tables
    from theory_checks.engine.engines import make
    from theory_checks.engine.runner import checks_of, verify_all
    from theory_checks.engine.store import Store

    given = dict(_subject(s) for s in subjects)
    checks = checks_of(names)
    store, engine = Store(store_path), make(workers, dask)
    try:
        with bar(wanted=not as_json and table is None) as progress:
            verdicts = verify_all(checks, given, rigor, store=store, engine=engine, progress=progress)
    except KeyboardInterrupt:
        again = f"; run the same command again with --store {store_path} to go on" if store_path else ""
        click.echo(f"\nstopped; every finished row is kept{again}" if store_path else "\nstopped", err=True)
        sys.exit(130)
    finally:
        engine.close()
        damage = list(store.damage)
        store.close()
    if as_json:
        click.echo(json.dumps([report.as_dict(v) for v in verdicts]))
    elif table:
        click.echo(tables.FORMATS[table](verdicts), nl=False)
    else:
        _print(verdicts, [c for c in checks if c not in [v.check for v in verdicts]], damage)
        if saboteurs:
            click.echo("\n" + report.saboteur_matrix(verdicts))
    if counterexamples:
        for path in report.save_counterexamples(verdicts, counterexamples):
            click.echo(f"counterexample: {path}", err=True)
    sys.exit(_exit_code(verdicts))


def _subject(text: str) -> tuple[str, str]:
    entry, equals, name = text.partition("=")
    entry, name = (entry, name) if equals else ("run", text)
    if ":" not in name:
        raise MdpkitError("--subject", "[ENTRY=]pkg.mod:function", text)
    if "" not in sys.path:
        sys.path.insert(0, "")          # a module in the current directory, as python -m would find it
    return entry, name


def _print(verdicts: list, left_out: list, damage: list[str]) -> None:
    slug = None
    for v in verdicts:
        if v.check.claim.slug != slug:
            slug = v.check.claim.slug
            click.secho(f"\n{slug}", bold=True)
        effect = "" if math.isnan(v.decision.effect) else f"; tightness {v.decision.effect:.3g}"
        click.echo(f"  {v.check.claim.id:<14} " + click.style(v.badge, fg=COLOURS[v.label]))
        click.echo(f"      {v.decision.statistic}{effect}; smallest visible violation {v.decision.visible:.2g}")
        if v.decision.needs:
            click.echo(f"      about {v.decision.needs} runs would decide")
        for c in v.controls:
            mark = click.style("caught", fg="green") if c.caught else click.style("NOT CAUGHT", fg="red")
            click.echo(f"      control {c.saboteur.name}: {mark} (effect {c.decision.effect:.3g}; {c.saboteur.why})")
        if v.check.claim.finding:
            click.echo(f"      finding: {v.check.claim.finding}")
        if v.label == "REFUTED" and v.decision.where:
            click.echo(f"      counterexample: {_world(v.decision.where)}")
    for c in left_out:
        click.echo(f"  {c.claim.id:<14} not about it: this claim speaks of `{c.entry}`")
    for line in damage:
        click.secho(f"store: {line}", fg="yellow", err=True)
    counts = {label: sum(v.label == label for v in verdicts) for label in COLOURS}
    click.echo("\n" + ", ".join(f"{n} {label}" for label, n in counts.items() if n))


def _world(row: dict) -> str:
    from theory_checks.engine.codec import pasteable

    return pasteable(row.get("world", row))


def _exit_code(verdicts: list) -> int:
    labels = {v.label for v in verdicts}
    if labels & {"REFUTED", "UNPROVEN CHECK"}:
        return 1
    return 3 if "INCONCLUSIVE" in labels else 0
