"""`mdpkit tighten`: search the world on which realised/bound is largest."""

from __future__ import annotations

import json
from pathlib import Path

import click


@click.command()
@click.argument("name", metavar="SLUG/C1")
@click.option("--examples", type=click.IntRange(1), default=2000, show_default=True, help="Worlds to try.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Keep the best world here, as JSON.")
def command(name: str, examples: int, seed: int, out: Path | None) -> None:
    """Maximise realised/bound of a sure claim over its worlds."""
    from theory_checks.engine import codec
    from theory_checks.engine.tighten import tighten

    best = tighten(name, examples, seed)
    click.echo(f"{name}: realised/bound {best.ratio:.6g} over {best.examples} worlds")
    click.echo(codec.pasteable(best.world))
    if out:
        out.write_text(json.dumps(codec.encode({"claim": name, "ratio": best.ratio, "world": best.world})) + "\n")
        click.echo(str(out))
