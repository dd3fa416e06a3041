"""The command line. Each command lives in ``mdpkit.commands`` and is imported when it is called."""

from __future__ import annotations

import importlib
import sys

import click

from mdpkit.errors import MdpkitError

COMMANDS = {"papers": "the index of papers, or one of them", "check": "judge claims",
            "figure": "draw figures with their data", "report": "a site of verdicts and figures",
            "solve": "certified values of a world", "new": "the four files of a new paper",
            "store": "look after stored rows", "tighten": "search the world on which a bound is tightest",
            "completion": "a script that completes slugs for bash, zsh or fish"}


class Lazy(click.Group):
    """A group whose commands load on use, so that --help is quick."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        return importlib.import_module(f"mdpkit.commands.{name}").command if name in COMMANDS else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="mdpkit")
def group() -> None:
    """Exact small worlds, certified answers, and papers' algorithms held to their claims.

    \b
    mdpkit papers                          what is here
    mdpkit check hyq                       judge every claim of a paper
    mdpkit check hyq/C4 --rigor full       one claim, family-wise level
    mdpkit figure hyq --out figures        its figure and data
    mdpkit solve gym:FrozenLake-v1 --gamma 0.99
    """


def main() -> None:
    """Entry point: errors of the house end in exit code 2 and one clear line."""
    try:
        group(standalone_mode=True)
    except MdpkitError as e:
        click.echo(f"error: {e}", err=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
