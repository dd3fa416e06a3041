"""Rows agree bit for bit, or within their certificate where they passed through a library, on any processor."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from engine.samples import chosen, fill, other_pythons

from mdpkit.cli import group
from theory_checks.engine.agree import ROUND, disagreement
from theory_checks.engine.codec import canonical
from theory_checks.engine.store import Store
from theory_checks.engine.upkeep import compare_stores, recompute_sample, task_of

pytestmark = pytest.mark.xdist_group("agree")
ROOT = Path(__file__).resolve().parents[2]


def rows(one: dict, two: dict) -> str:
    return disagreement(canonical(one), canonical(two))


def marked(measured, **more) -> dict:
    return {"measured": measured, "bound": 1.0, "marked": True, **more}


def test_rows_of_loops_agree_by_bits_only():
    assert rows({"measured": 1.0}, {"measured": 1.0}) == ""
    assert rows({"measured": 1.0}, {"measured": np.nextafter(1.0, 2)}) == "bits"
    assert rows(marked(1.0), {"measured": 1.0, "bound": 1.0}) == "bits"


@pytest.mark.parametrize("one, two, where", [
    (marked(1.0), marked(1.0 + ROUND / 2), ""),
    (marked(1.0), marked(1.0 + 2 * ROUND), "measured"),
    (marked(1.0, slack=1e-12), marked(1.0 + 1.5e-12, slack=1e-12), ""),
    (marked(1.0, slack=1e-12), marked(1.0 + 2.5e-12, slack=1e-12), "measured"),
    (marked(1.0, slack=0), marked(1.0 + ROUND / 2, slack=0), ""),
    (marked(1e6), marked(1e6 * (1 + ROUND / 2)), ""),
    (marked(np.arange(3.0)), marked(np.arange(3.0) + ROUND / 2), ""),
    (marked(np.arange(3.0)), marked(np.arange(3.0) + [0, 0, 1e-3]), "measured"),
    (marked(np.arange(3.0)), marked(np.arange(4.0)), "measured"),
    (marked(1.0, failed=True), marked(1.0, failed=False), "failed"),
    (marked(1.0, failed=True), marked(1.0), "failed"),
    (marked(1.0, note="a"), marked(2.0, note="b"), "measured, note"),
    (marked(1.0, curves=[1.0, {"a": 2.0}]), marked(1.0, curves=[1.0, {"a": 2.0 + ROUND}]), ""),
    (marked(1.0, curves=[1.0, {"a": 2.0}]), marked(1.0, curves=[1.0, {"a": 2.1}]), "curves"),
    (marked(1.0, curves=[1.0]), marked(1.0, curves=[1.0, 1.0]), "curves"),
    (marked(float("nan")), marked(float("nan")), ""),
    (marked(float("inf")), marked(float("inf")), ""),
    (marked(float("inf")), marked(1.0), "measured"),
    (marked(1.0, slack=float("inf")), marked(2.0, slack=float("inf")), "measured"),
    (marked(1.0, world={"n": 1}, violated=False), marked(0.5, world={"n": 2}, violated=False), ""),
    (marked(1.0, world={"n": 1}, violated=False), marked(0.5, world={"n": 2}, violated=True), "violated"),
])
def test_marked_rows_agree_within_their_certificate(one, two, where):
    assert rows(one, two) == rows(two, one) == where


# ------------------------------------------------------------------- other processors, other machines

@pytest.fixture(scope="module")
def here(tmp_path_factory):
    path = tmp_path_factory.mktemp("agree") / "here.sqlite"
    fill(path)
    return path


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory):
    """The same rows by a process whose BLAS believes in a processor of 2004 and adds in that one's order."""
    path = tmp_path_factory.mktemp("agree") / "elsewhere.sqlite"
    return filled_by(sys.executable, path, OPENBLAS_CORETYPE="Prescott")


def filled_by(python, path, **settings):
    code = "import sys; from pathlib import Path; from engine.samples import fill; fill(Path(sys.argv[1]))"
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])} | settings
    done = subprocess.run([python, "-c", code, str(path)], capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr
    return path


def test_another_processor_changes_no_row_of_loops_and_marked_rows_within_their_certificate(here, elsewhere):
    with Store(here) as one, Store(elsewhere) as two:
        said = compare_stores(one, two)
        assert said.different == [] and said.checked == len(chosen()) and said.alone == 0
        assert 0 < said.marked < said.checked and said.marked == one.status()["marked"]
        assert one.digest() == two.digest()
        bits = [a["row"] == b["row"] for a, b in zip(one.records(), two.records()) if '"marked"' in a["row"]]
        print(f"{bits.count(False)} of {len(bits)} marked rows differ in bits")


def test_another_python_agrees_too(here, tmp_path):
    found = other_pythons()
    if not found:
        pytest.skip("no other Python with numpy, scipy, numba, hypothesis and flint; name one in MDPKIT_OTHER_PYTHON")
    with Store(here) as one, Store(filled_by(found[0], tmp_path / "other.sqlite")) as two:
        said = compare_stores(one, two)
        assert said.different == [] and said.checked == len(chosen()) and said.marked > 0
        assert one.digest() == two.digest()


def test_marked_rows_are_recomputed_and_compared(here, tmp_path):
    with Store(here) as store:
        said = recompute_sample(store, 1.0, 0)
    assert said.different == [] and said.checked == len(chosen()) and said.marked > 0


def test_a_changed_marked_row_is_found(here, tmp_path):
    changed = tmp_path / "changed.sqlite"
    shutil.copy(here, changed)
    with Store(changed) as store:
        record = next(r for r in store.records() if '"marked":true' in r["row"] and r["slug"] == "hyq")
        row = json.loads(record["row"])
        row["measured"] += 1e-3
        store.put(task_of(record), record["key"], row, 0.1)
        assert [d.rsplit(": ")[1] for d in recompute_sample(store, 1.0, 0).different] == ["measured"]
    said = CliRunner().invoke(group, ["store", "compare", str(here), str(changed)])
    assert said.exit_code == 1 and "1 differ" in said.output and "different: hyq/C2" in said.output
    said = CliRunner().invoke(group, ["store", "compare", str(here), str(here)])
    assert said.exit_code == 0 and "0 differ, 0 in one store only" in said.output
    said = CliRunner().invoke(group, ["store", "verify", str(here), "--recompute", "1"])
    assert said.exit_code == 0 and "within their certificate" in said.output
