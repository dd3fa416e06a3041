"""`mdpkit store`: the digest, damage, recomputed samples, export and removal of old rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

path_argument = click.argument("path", type=click.Path(exists=True, dir_okay=False, path_type=Path))


@click.group()
def command() -> None:
    """Look after stored rows."""


@command.command()
@path_argument
@click.option("--json", "as_json", is_flag=True)
def status(path: Path, as_json: bool) -> None:
    """Rows, seconds, digest of the loop rows, damage found."""
    from theory_checks.engine.store import Store

    with Store(path) as store:
        said = store.status()
    click.echo(json.dumps(said) if as_json else "\n".join(f"{k}: {v}" for k, v in said.items()))


@command.command()
@path_argument
@click.option("--recompute", type=click.FloatRange(0, 1), default=0.01, show_default=True, help="Share of rows.")
@click.option("--seed", type=int, default=0, show_default=True, help="Chooses the sample.")
def verify(path: Path, recompute: float, seed: int) -> None:
    """Recompute a sample of rows and compare. Exit code 1 if any differs.

    Rows of loops are compared bit for bit, rows that pass through BLAS, LAPACK or a linear programme within their
    certificate.
    """
    from theory_checks.engine.store import Store
    from theory_checks.engine.upkeep import recompute_sample

    with Store(path) as store:
        said = recompute_sample(store, recompute, seed)
    _tell(said, "recomputed", f"{said.stale} of older code skipped")


@command.command()
@path_argument
@click.argument("other", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def compare(path: Path, other: Path) -> None:
    """Compare the rows that PATH and OTHER share: made by another machine, version or engine. Exit code 1 if any
    differs."""
    from theory_checks.engine.store import Store
    from theory_checks.engine.upkeep import compare_stores

    with Store(path) as one, Store(other) as two:
        said = compare_stores(one, two)
    _tell(said, "compared", f"{said.alone} in one store only")


def _tell(said: Any, done: str, left: str) -> None:
    click.echo(f"{said.checked} rows {done} ({said.checked - said.marked} by bits, {said.marked} within their "
               f"certificate), {len(said.different)} differ, {left}")
    for row in said.different:
        click.echo(f"different: {row}")
    raise SystemExit(1 if said.different else 0)


@command.command()
@path_argument
@click.argument("target", type=click.Path(dir_okay=False, path_type=Path))
def export(path: Path, target: Path) -> None:
    """Write all rows as JSON lines to TARGET."""
    from theory_checks.engine.store import Store

    with Store(path) as store, target.open("w") as f:
        records = list(store.records())
        for record in records:
            f.write(json.dumps({**record, "row": json.loads(record["row"])}, sort_keys=True) + "\n")
    click.echo(f"{len(records)} rows")


@command.command()
@path_argument
def gc(path: Path) -> None:
    """Forget rows that the code of today would not make."""
    from theory_checks.engine.store import Store
    from theory_checks.engine.upkeep import collect_garbage

    with Store(path) as store:
        click.echo(f"{collect_garbage(store)} rows removed")
