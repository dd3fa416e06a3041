"""Every paper that is found keeps the contract: its records, its checks, and one number compiled or interpreted.

What the text of its files shows (order, signatures, pseudo-code) is among the laws.
"""

from __future__ import annotations

import inspect
import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from contract.laws_of_papers import FIGURES
from hypothesis import strategies as st

from mdpkit import papers
from mdpkit.errors import MdpkitError
from theory_checks.engine import codec
from theory_checks.engine.claims import KINDS, Check
from theory_checks.engine.subjects import fit
from theory_checks.engine.tasks import name_of, resolve

TESTS = Path(__file__).resolve().parents[1]
SLUGS = list(papers.find())
STATUS = ("stated", "checked", "derived", "recalled")
DEMOS = "import json; from contract import running; print(json.dumps(running.demos()))"


def played(**env: str) -> dict:
    """`running.demos` of a fresh interpreter in which warnings are errors; it must say nothing else."""
    settings = {k: v for k, v in os.environ.items() if not k.startswith("NUMBA_")}
    settings |= {"PYTHONPATH": str(TESTS), "PYTHONDONTWRITEBYTECODE": "1"} | env
    done = subprocess.run([sys.executable, "-W", "error", "-c", DEMOS], env=settings, cwd=TESTS, capture_output=True,
                          text=True)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def compiled():
    return played()


@pytest.fixture(scope="module")
def interpreted():
    return played(NUMBA_DISABLE_JIT="1")


def faults(check: Check, module: object) -> list[str]:
    """What a check lacks."""
    bad, claim = [], check.claim
    bad += [f"{field} is empty" for field in ("statement", "source") if not getattr(claim, field).strip()]
    bad += [f"kind {claim.kind}"] * (claim.kind not in KINDS)
    bad += [f"status {claim.status}"] * (claim.status not in STATUS)
    bad += ["no saboteur"] * (not check.saboteurs)
    bad += ["the measure is not found by its name"] * (name_of(check.measure) is None)
    bad += ["no entry of that name"] * (not callable(getattr(module, check.entry, None)))
    names = [s.name for s in check.saboteurs]
    bad += ["two saboteurs of one name"] * (len(set(names)) < len(names))
    for s in check.saboteurs:
        bad += [f"{s.name} breaks not exactly one thing"] * ((s.subject is None) == (s.world is None))
        bad += [f"{s.name} does not say why"] * (not s.why.strip())
        try:
            if s.subject is not None:
                fit(check, s.subject)
                bad += [f"{s.name} is the entry itself"] * (resolve(s.subject) is getattr(module, check.entry))
            codec.canonical(s.world)
        except MdpkitError as e:
            bad.append(f"{s.name}: {e}")
    if callable(check.worlds):
        bad += ["worlds() is no strategy"] * (not isinstance(check.worlds(), st.SearchStrategy))
    else:
        texts = [codec.canonical(w) for w in check.worlds]
        bad += ["no worlds"] * (not texts) + ["a world twice"] * (len(set(texts)) < len(texts))
    return bad


def test_there_are_papers():
    assert SLUGS and all(e.family in papers.FAMILIES for e in papers.find().values())


@pytest.mark.parametrize("slug", SLUGS)
def test_the_paper_is_named(slug):
    paper = papers.get(slug).paper
    assert paper.slug == slug
    assert all(text.strip() for text in (paper.title, paper.authors, paper.venue, *paper.tags)) and paper.tags
    assert re.fullmatch(r"(\d{4}\.\d{4,5}|[a-z.-]+/\d{7}|)", paper.arxiv)         # before 1991 there was none
    assert re.match(r"@\w+\{\S+,\n", paper.bibtex.strip()) and paper.bibtex.count("{") == paper.bibtex.count("}")
    for field in ("title", "author", "year"):
        assert re.search(rf"^\s*{field}\s*=", paper.bibtex, re.M), field


@pytest.mark.parametrize("slug", SLUGS)
def test_the_claims_are_checked_and_controlled(slug):
    entry = papers.get(slug)
    checks = entry.checks
    assert isinstance(checks, tuple) and checks and all(isinstance(c, Check) for c in checks)
    ids = [c.claim.id for c in checks]
    assert len(set(ids)) == len(ids) and {c.claim.slug for c in checks} == {slug}
    assert {c.claim.id: faults(c, entry.module("algorithms")) for c in checks} == {i: [] for i in ids}


def test_a_faulty_check_is_found():
    entry = papers.get(SLUGS[0])
    module, good = entry.module("algorithms"), entry.checks[0]
    twin = replace(good.saboteurs[0], subject=f"{entry.name('algorithms')}:{good.entry}", world=None)
    alone = replace(twin, subject=f"{entry.name('algorithms')}:demo", name="demo")
    wrong = {
        "no saboteur": replace(good, saboteurs=()),
        "the entry itself": replace(good, saboteurs=(twin,)),
        "two saboteurs": replace(good, saboteurs=(good.saboteurs[0],) * 2),
        "signature": replace(good, saboteurs=(alone,)),
        "importable": replace(good, saboteurs=(replace(twin, subject="mdpkit.nowhere:f"),)),
        "exactly one thing": replace(good, saboteurs=(replace(twin, world={"T": 1}),)),
        "found by its name": replace(good, measure=lambda world, subject, rng: {}),
        "no entry": replace(good, entry="absent", saboteurs=(replace(twin, subject=None, world={"T": 1}),)),
        "kind": replace(good, claim=replace(good.claim, kind="hope")),
        "source is empty": replace(good, claim=replace(good.claim, source="")),
        "no worlds": replace(good, worlds=()),
        "a world twice": replace(good, worlds=({"T": 1}, {"T": 1})),
    }
    for says, check in wrong.items():
        assert any(says in fault for fault in faults(check, module)), says


@pytest.mark.parametrize("slug", SLUGS)
def test_the_figure_computes_and_draws(slug):
    module = papers.get(slug).module("figures")
    assert list(inspect.signature(module.compute).parameters)[:1] == ["rows"]
    assert list(inspect.signature(module.draw).parameters)[:2] in [["data", name] for name in FIGURES]
    inspect.signature(module.draw).bind({}, None, {})                    # as figures.engine.export calls it


@pytest.mark.xdist_group("demos")
@pytest.mark.parametrize("slug", SLUGS)
def test_compiled_and_interpreted_agree_bit_for_bit(slug, compiled, interpreted):
    assert compiled[slug]["digest"] == interpreted[slug]["digest"]


@pytest.mark.xdist_group("demos")
@pytest.mark.parametrize("slug", SLUGS)
def test_the_demo_follows_from_its_generator_alone(slug, compiled, interpreted):
    for lane in (compiled, interpreted):
        assert lane[slug]["again"] == lane[slug]["digest"]
        assert lane[slug]["touched"] == []
        assert lane[slug]["params"] == papers.get(slug).name("algorithms")
