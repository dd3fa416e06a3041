"""The command line: what it prints, its exit codes, its messages, and a new paper from the templates."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from mdpkit.cli import group
from mdpkit.errors import MdpkitError

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.xdist_group("cli")


def call(*args):
    return CliRunner().invoke(group, [str(a) for a in args])


def test_help_lists_every_command():
    said = call("--help")
    assert said.exit_code == 0
    for name in ("papers", "check", "figure", "report", "solve", "new", "store", "tighten", "completion"):
        assert name in said.output
        assert call(name, "--help").exit_code == 0


def test_papers():
    assert "hyq" in call("papers").output
    said = json.loads(call("papers", "hyq", "--json").output)
    assert {c["id"] for c in said["claims"]} >= {"C1", "C2", "C3", "C4", "C5"}
    assert "@inproceedings" in said["bibtex"]
    assert "finding" in call("papers", "hyq").output


def test_check_prints_verdicts_controls_and_a_matrix(tmp_path):
    store = tmp_path / "rows.sqlite"
    said = call("check", "hyq/C2", "--workers", 0, "--store", store, "--saboteurs")
    assert said.exit_code == 0, said.output
    assert "SUPPORTED (SEARCHED" in said.output
    assert "density ratio: caught" in said.output
    assert "saboteur" in said.output
    again = json.loads(call("check", "hyq/C2", "--workers", 0, "--store", store, "--json").output)
    assert again[0]["verdict"] == "SUPPORTED"
    assert "| hyq | C2 |" in call("check", "hyq/C2", "--workers", 0, "--store", store, "--table", "markdown").output
    assert "digest" in call("store", "status", store).output
    assert call("store", "verify", store, "--recompute", 1).exit_code == 0
    assert "3 rows" in call("store", "export", store, tmp_path / "rows.jsonl").output
    assert "0 rows removed" in call("store", "gc", store).output


def test_a_wrong_subject_is_refuted_and_its_counterexample_saved(tmp_path):
    wrong = "decomposition=theory_checks.offline._hyq_twins:dropped_third"
    said = call("check", "hyq", "--workers", 0, "--subject", wrong, "--counterexamples", tmp_path)
    assert said.exit_code == 1
    assert "not about it" in said.output
    assert "counterexample: {'model': EpisodicMDP(" in said.output
    saved = json.loads((tmp_path / "hyq-C1.json").read_text())
    assert saved["paste"].startswith("{'model': EpisodicMDP(")


def test_tighten():
    said = call("tighten", "hyq/C3", "--examples", 40)
    assert said.exit_code == 0
    assert "realised/bound" in said.output


BAD = {
    "no such paper": (("check", "hyk"), "SLUG must be one of the papers"),
    "no such claim": (("check", "hyq/C99"), "claim must be one of C1"),
    "a subject without a colon": (("check", "hyq", "--subject", "run"), "--subject must be"),
    "a subject that is not there": (("check", "hyq", "--subject", "run=nowhere:f"), "subject must be importable"),
    "a subject that does not fit": (("check", "hyq", "--subject", "run=math:floor"), "subject must be callable as run"),
    "no such figure": (("figure", "hyk"), "SLUG must be"),
    "a slug in capitals": (("new", "Big", "--family", "games"), "SLUG must be lower-case"),
    "a paper that is there": (("new", "hyq", "--family", "offline", "--root", ROOT), "SLUG must be new"),
    "no checkout": (("new", "fine", "--family", "games", "--root", "/"), "--root must be a checkout"),
    "tighten a registered world": (("tighten", "hyq/C5"), "name must be a claim whose worlds"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_calls_say_what_is_wrong(name):
    args, message = BAD[name]
    said = call(*args, *(("--workers", "0") if args[0] == "check" else ()))
    assert isinstance(said.exception, MdpkitError)
    assert message in str(said.exception)


def test_an_error_ends_in_code_2_and_one_line():
    said = subprocess.run([sys.executable, "-m", "mdpkit.cli", "check", "hyk"], capture_output=True, text=True,
                          timeout=240)
    assert said.returncode == 2
    assert said.stderr.startswith("error: SLUG must be") and said.stderr.count("\n") == 1


def test_figure_writes_the_same_data_twice(tmp_path):
    store = tmp_path / "rows.sqlite"
    for out in ("a", "b"):
        said = call("figure", "hyq", "--no-verdicts", "--workers", 0, "--store", store, "--out", tmp_path / out)
        assert said.exit_code == 0, said.output
    for kind in ("npz", "csv", "svg", "png", "pdf"):
        one, two = ((tmp_path / out / f"hyq.{kind}").read_bytes() for out in "ab")
        assert one == two, kind
        assert len(one) > 1000


def test_a_new_paper_runs_as_it_is(tmp_path):
    for name in ("mdpkit", "algorithms", "theory_checks", "figures", "tests", "pyproject.toml"):
        source = ROOT / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, tmp_path / name)
    assert call("new", "fresh-paper", "--family", "exploration", "--root", tmp_path).exit_code == 0
    env = {**os.environ, "PYTHONPATH": str(tmp_path)}
    run = lambda *args: subprocess.run([sys.executable, *args], cwd=tmp_path, env=env, capture_output=True, text=True,
                                       timeout=240)
    said = run("-m", "mdpkit.cli", "check", "fresh-paper", "--workers", "0")
    assert said.returncode == 0, said.stdout + said.stderr
    assert "counts twice: caught" in said.stdout
    said = run("-m", "pytest", "-q", "tests/papers/exploration/test_fresh_paper.py", "-p", "no:cacheprovider")
    assert said.returncode == 0, said.stdout
    said = run("-m", "mdpkit.cli", "figure", "fresh-paper", "--no-verdicts", "--workers", "0", "--out", "drawn")
    assert said.returncode == 0 and (tmp_path / "drawn" / "fresh-paper.png").exists(), said.stderr
