"""`mdpkit completion`: the shell's own completion, with the slugs of papers and their claims."""

from __future__ import annotations

import click


def slugs_like(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Slugs that begin so; once a slash is typed, the claims of that paper."""
    from mdpkit import papers

    slug, slash, claim = incomplete.partition("/")
    found = papers.find()
    if slash and slug in found:
        return [c.name for c in papers.get(slug).checks if c.claim.id.startswith(claim)]
    return [s for s in found if s.startswith(slug)]


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def command(ctx: click.Context, shell: str) -> None:
    """Print the script.

    \b
    mdpkit completion bash >> ~/.bashrc
    mdpkit completion zsh >> ~/.zshrc
    mdpkit completion fish > ~/.config/fish/completions/mdpkit.fish
    """
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None, "the choices above are those that click knows"
    click.echo(kind(ctx.find_root().command, {}, "mdpkit", "_MDPKIT_COMPLETE").source())
