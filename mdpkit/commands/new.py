"""`mdpkit new`: the four files of a paper, from the templates. They run and their check passes as they are."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import click

from mdpkit import papers
from mdpkit.errors import MdpkitError

PLACES = {"algorithm": "algorithms/{family}/{module}.py", "check": "theory_checks/{family}/{module}.py",
          "figure": "figures/{family}/{module}.py", "test": "tests/papers/{family}/test_{module}.py"}


@click.command()
@click.argument("slug")
@click.option("--family", type=click.Choice(papers.FAMILIES), required=True)
@click.option("--root", type=click.Path(exists=True, file_okay=False, path_type=Path), default=Path("."),
              show_default=True, help="A checkout of mdpkit.")
def command(slug: str, family: str, root: Path) -> None:
    """Write the four files of the paper SLUG (lower case, words joined by hyphens)."""
    for path in write(slug, family, root):
        click.echo(str(path))


def write(slug: str, family: str, root: Path) -> list[Path]:
    """The four files; refuses to overwrite.

    Raises
    ------
    MdpkitError
        A malformed slug, a root that is no checkout, or a file that is there already.
    """
    module = slug.replace("-", "_")
    if not module.isidentifier() or slug != slug.lower() or slug.startswith("-") or "_" in slug:
        raise MdpkitError("SLUG", "lower-case words joined by hyphens", slug)
    if not (root / "algorithms").is_dir() or not (root / "tests").is_dir():
        raise MdpkitError("--root", "a checkout of mdpkit, with algorithms/ and tests/", str(root))
    targets = {kind: root / place.format(family=family, module=module) for kind, place in PLACES.items()}
    for path in targets.values():
        if path.exists():
            raise MdpkitError("SLUG", "new", slug, came=f"{path} is there")
    for kind, path in targets.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        if kind != "test" and not (path.parent / "__init__.py").exists():
            (path.parent / "__init__.py").touch()
        text = files("mdpkit").joinpath("templates", f"{kind}.py.txt").read_text(encoding="utf-8")
        path.write_text(text.replace("FAMILY", family).replace("MODULE", module).replace("SLUG", slug))
    return list(targets.values())
