"""`mdpkit papers`: the index, or one paper with its claims and BibTeX."""

from __future__ import annotations

import json

import click

from mdpkit import papers
from mdpkit.commands.completion import slugs_like


@click.command()
@click.argument("slug", required=False, shell_complete=slugs_like)
@click.option("--json", "as_json", is_flag=True, help="For machines.")
def command(slug: str | None, as_json: bool) -> None:
    """List the papers, or show SLUG: its claims, their sources, findings, BibTeX."""
    if slug is None:
        _index(as_json)
        return
    entry = papers.get(slug)
    paper, checks = entry.paper, entry.checks
    claims = [{"id": c.claim.id, "kind": c.claim.kind, "entry": c.entry, "evidence": c.judge.evidence,
               "statement": c.claim.statement, "source": c.claim.source, "status": c.claim.status,
               "finding": c.claim.finding, "controls": [s.name for s in c.saboteurs]} for c in checks]
    if as_json:
        click.echo(json.dumps({"slug": slug, "family": entry.family, "title": paper.title, "authors": paper.authors,
                               "venue": paper.venue, "arxiv": paper.arxiv, "claims": claims, "bibtex": paper.bibtex}))
        return
    click.echo(f"{paper.title}\n{paper.authors}. {paper.venue}" + (f", arXiv {paper.arxiv}" if paper.arxiv else ""))
    click.echo(f"family {entry.family}; tags {', '.join(paper.tags)}\n")
    for c in claims:
        click.echo(f"{c['id']} ({c['kind']}, {c['evidence']}; about `{c['entry']}`; {c['status']})\n"
                   f"    {c['statement']}\n    source: {c['source']}\n    controls: {', '.join(c['controls'])}")
        if c["finding"]:
            click.echo(f"    finding: {c['finding']}")
    click.echo(f"\n{paper.bibtex}")


def _index(as_json: bool) -> None:
    rows = [{"slug": e.slug, "family": e.family, "title": e.paper.title, "venue": e.paper.venue,
             "claims": len(e.checks)} for e in papers.find().values()]
    if as_json:
        click.echo(json.dumps(rows))
        return
    wide = max((len(str(r["slug"])) for r in rows), default=4)
    for r in rows:
        click.echo(f"{r['slug']:<{wide}}  {r['family']:<12} {r['claims']:>2} claims  {r['title']} ({r['venue']})")
