"""`verify`: paired seeds, honest labels, rows that are kept and read again, counterexamples that can be pasted."""

from __future__ import annotations

import math
import os
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from algorithms.offline import hyq
from mdpkit.errors import MdpkitError
from theory_checks.engine import codec
from theory_checks.engine.claims import INCONCLUSIVE, REFUTED, SUPPORTED, Claim, Control, Decision, Saboteur, Verdict
from theory_checks.engine.engines import Pool, Serial
from theory_checks.engine.judges import HighProbability
from theory_checks.engine.runner import checks_of, full_alpha, verify, verify_all
from theory_checks.engine.store import Store
from theory_checks.engine.tasks import Task, code_of, find_check, name_of, resolve, run

ROOT = Path(__file__).resolve().parents[2]
FAST = {"H": 4, "A": 3, "T": 600, "m_off": 300}
FASTER = FAST | {"T": 20}
C1, C2, C5 = (find_check("hyq", c) for c in ("C1", "C2", "C5"))


class Counting(Serial):
    """Counts what it runs, and keeps the tasks."""

    def __init__(self):
        self.tasks: list[Task] = []

    def map(self, tasks):
        self.tasks += tasks
        yield from super().map(tasks)

    def runs(self, subject: str) -> int:
        return sum(t.subject.endswith(subject) for t in self.tasks)


def small(check, **changes):
    """C5 on its smallest world, with the saboteur of the broken assumption, which is caught at once."""
    return replace(check, worlds=(FAST,), saboteurs=check.saboteurs[:1], **changes)


# -------------------------------------------------------------------------------------------- seeds

def test_subject_and_saboteur_face_the_same_draws():
    tasks = [Task("hyq", "C5", codec.canonical(FAST), 3, s) for s in ("a.b:house", "c.d:saboteur")]
    draws = [t.generator().random(8) for t in tasks]
    assert (draws[0] == draws[1]).all()
    others = [replace(tasks[0], replicate=4), replace(tasks[0], claim="C4"), replace(tasks[0], slug="x"),
              replace(tasks[0], world=codec.canonical(FASTER))]
    assert all((t.generator().random(8) != draws[0]).all() for t in others)


def test_paired_through_verify():
    """A twin that only looks over the shoulder gets the house's rows."""
    seen = Counter()

    def twin(access, data, params, rng):
        seen[data.steps.s.tobytes(), rng.bit_generator.state["state"]["state"]] += 1
        return hyq.run(access, data, params, rng)

    for function in (twin, twin):
        verify(small(C5), function)
    assert set(seen.values()) == {2}
    rows = [run(Task("hyq", "C5", codec.canonical(FASTER), i, "algorithms.offline.hyq:run"), f)["measured"]
            for f in (twin, hyq.run) for i in range(5)]
    assert rows[:5] == rows[5:]


# ----------------------------------------------------------------------------------------- subjects

def test_closures_run_here_and_are_not_stored():
    me, processes = os.getpid(), set()

    def mine(P, r, rho, f, pi_e):
        processes.add(os.getpid())
        return hyq.decomposition(P, r, rho, f, pi_e)

    assert name_of(mine) is None
    store, engine = Store(), Counting()
    verdict = verify(C1, mine, store=store, engine=engine)
    assert verdict.label == SUPPORTED and processes == {me} and "mine" in verdict.subject
    assert len(engine.tasks) == len(C1.saboteurs) == store.status()["rows"]


def test_named_functions_are_stored():
    store = Store()
    assert verify(C1, hyq.decomposition, store=store).subject == "algorithms.offline.hyq:decomposition"
    assert store.status()["rows"] == 1 + len(C1.saboteurs)
    assert name_of(lambda x: x) is None and name_of(hyq.Params.__init__) is None
    assert resolve(name_of(hyq.run)) is hyq.run


@pytest.mark.parametrize("wrong", [lambda access, data: None, lambda a, b, c, d, e: None, lambda *, rng: None, 7,
                                   "algorithms.offline.hyq", "no.such.module:run", "algorithms.offline.hyq:walk"])
def test_a_wrong_subject_is_told_what_is_expected(wrong):
    with pytest.raises(MdpkitError) as caught:
        verify(C5, wrong)
    if callable(wrong):
        assert "run(access" in str(caught.value) and "its signature is (" in str(caught.value)
    else:
        assert caught.value.where == "subject"


def test_what_bends_to_the_signature_fits():
    def bent(*args, **kwargs):
        return hyq.decomposition(*args, **kwargs)

    assert verify(replace(C1, saboteurs=()), bent).decision.verdict == SUPPORTED


def raising(error):
    def subject(*args):
        raise error
    return subject


@pytest.mark.parametrize("error", [ValueError("no luck"), ZeroDivisionError(), MdpkitError("x", "y", 1), SystemExit(3)],
                         ids=lambda e: type(e).__name__)
@pytest.mark.parametrize("check", [C1, small(C5)], ids=["search", "runs"])
def test_a_subject_that_raises_is_inconclusive(check, error):
    verdict = verify(check, raising(error))
    assert verdict.decision.verdict == INCONCLUSIVE and type(error).__name__ in verdict.decision.statistic


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
@pytest.mark.parametrize("check", [C1, C2], ids=lambda c: c.name)
def test_a_subject_that_returns_no_number_is_never_supported(check, value):
    def broken(*args):
        return value if check is C2 else (value,) * 4

    assert verify(replace(check, saboteurs=()), broken).decision.verdict != SUPPORTED


def strange(world, subject, rng):
    return {"measured": {1, 2}, "bound": 0.0}


def test_a_row_that_is_no_json_is_an_error_of_the_row():
    check = small(C5, measure=strange)
    row = run(Task("hyq", "C5", codec.canonical(FAST), 0, "algorithms.offline.hyq:run"), hyq.run, check)
    assert "error" in row


# ------------------------------------------------------------------------------------------- labels

def harmless(access, policy, nu, phi=None):
    """The house's own."""
    return hyq.transfer(access, policy, nu, phi)


HARMLESS = Saboteur("harmless", "nothing is wrong with it", subject="algorithms.offline.hyq:decomposition")


def test_a_control_that_survives_makes_the_check_unproven():
    caught = verify(replace(C1, saboteurs=C1.saboteurs[:1]))
    assert caught.label == SUPPORTED and caught.proven and "SUPPORTED (EXACT" in caught.badge
    for saboteurs in ((HARMLESS,), (*C1.saboteurs[:1], HARMLESS), ()):
        verdict = verify(replace(C1, saboteurs=saboteurs))
        assert verdict.decision.verdict == SUPPORTED and not verdict.proven
        assert verdict.label == "UNPROVEN CHECK" and "UNPROVEN CHECK" in verdict.badge
        assert "SUPPORTED" not in repr(verdict) and "UNPROVEN CHECK" in verdict._repr_html_()


def test_a_control_that_raises_is_not_caught():
    raises = Saboteur("raises", "it cannot even be called", subject="builtins:len")
    assert verify(replace(C1, saboteurs=(raises,))).label == "UNPROVEN CHECK"


def test_a_refuted_claim_stays_refuted_whatever_its_controls_do():
    verdict = verify(replace(C1, saboteurs=(HARMLESS,)), "theory_checks.offline._hyq_twins:dropped_third")
    assert verdict.label == REFUTED


def test_every_world_must_hold():
    """The first world violates the claim, the second does not."""
    bad, good = FAST | {"m_off": 0}, FAST
    for worlds in ((bad, good), (good, bad)):
        verdict = verify(replace(C5, worlds=worlds, saboteurs=()))
        assert verdict.decision.verdict == REFUTED
        assert sorted(d.verdict for d in verdict.worlds) == [REFUTED, SUPPORTED]


def test_badges_say_quick_and_their_level():
    quick = Verdict(C5, "s", "quick", 0.05, Decision(SUPPORTED, 9, "", 0.1, 0.1),
                    (Control(HARMLESS, Decision(REFUTED, 9, "", 2.0, 0.1)),))
    assert quick.badge == "SUPPORTED (STATISTICAL alpha=0.05, quick)" and "dashed" in quick._repr_html_()
    full = replace(quick, rigor="full", alpha=full_alpha(C5))
    assert "quick" not in full.badge and "solid" in full._repr_html_()


# ------------------------------------------------------------------------------- rows are read again

def always(world, subject, rng):
    """Another measure than the registered one; violated in every world."""
    return {"measured": 1.0, "bound": 0.0}


def test_a_check_is_judged_by_its_own_measure():
    """One that was built by hand is not judged by the rows of the registered check of that name."""
    assert verify(replace(C1, measure=always)).decision.verdict == REFUTED
    mine = replace(C1, claim=Claim("hyq", "mine", "bound", "s", "s", "derived"))
    assert verify(replace(mine, measure=always)).decision.verdict == REFUTED


def test_full_extends_the_rows_of_quick():
    store, engine = Store(), Counting()
    check = small(C5)
    quick = verify(check, store=store, engine=engine)
    n = engine.runs("hyq:run")
    assert quick.label == SUPPORTED and n == quick.rows
    again = verify(check, store=store, engine=engine)
    assert engine.runs("hyq:run") == n and repr(again) == repr(quick)          # nothing is run twice
    full = verify(check, rigor="full", store=store, engine=engine)
    assert full.label == SUPPORTED and full.alpha == full_alpha(C5) < quick.alpha == 0.05
    assert full.decision.n > quick.decision.n
    assert len(engine.tasks) == len({t.key for t in engine.tasks}) == full.rows == store.status()["rows"]


def test_full_alone_gives_what_quick_and_full_give():
    stores = [Store(), Store()]
    verify(small(C5), store=stores[0])
    two, one = (verify(small(C5), rigor="full", store=s) for s in stores)
    assert repr(two) == repr(one) and stores[0].digest() == stores[1].digest()


def test_a_change_of_the_judge_reads_the_rows_again():
    store, engine = Store(), Counting()
    verify(small(C5), store=store, engine=engine)
    n, digest = len(engine.tasks), store.digest()
    assert verify(small(C5, judge=HighProbability(0.2)), store=store, engine=engine).decision.verdict == SUPPORTED
    assert len(engine.tasks) == n and store.digest() == digest


def test_a_change_of_code_changes_the_keys(tmp_path, monkeypatch):
    module = tmp_path / "subject_of_mine.py"
    monkeypatch.syspath_prepend(tmp_path)
    task = Task("hyq", "C5", codec.canonical(FAST), 0, "subject_of_mine:run")

    def key(text: str) -> str:
        module.write_text(text)
        code_of.cache_clear()
        return task.key

    code = "from helper_of_mine import number\n\ndef run(access, data, params, rng):\n    return number\n"
    (tmp_path / "helper_of_mine.py").write_text("number = 1\n")
    first = key(code)
    assert key(f'"""New words."""\n# and a comment\n{code}') == first
    assert key(code.replace("return number", "return number + 1")) != first
    (tmp_path / "helper_of_mine.py").write_text("number = 2\n")
    assert key(code) != first
    assert task.seed_text == replace(task, subject="another:run").seed_text
    code_of.cache_clear()


def test_code_that_cannot_be_read_has_no_lasting_key(tmp_path, monkeypatch):
    """A module whose source is not found (a notebook's, a zip's) would keep its rows whatever it becomes."""
    import types

    ghost = types.ModuleType("ghost_subject")
    exec("def run(access, data, params, rng):\n    return 1\n", ghost.__dict__)
    monkeypatch.setitem(sys.modules, "ghost_subject", ghost)
    assert ghost.run.__module__ == "ghost_subject"
    assert name_of(ghost.run) is None


@pytest.mark.xdist_group("runner-pool")
def test_rows_do_not_depend_on_the_number_of_workers():
    said = []
    for engine in (Serial(), Pool(2)):
        store = Store()
        verdicts = verify_all([small(C5), C1], store=store, engine=engine)
        said.append(([repr(v) for v in verdicts], [v.rows for v in verdicts], store.digest()))
        engine.close()
    assert said[0] == said[1]


def test_progress_and_choice_of_checks():
    heard = []
    verify_all([C1], progress=lambda done, total, eta: heard.append((done, total, eta)))
    assert [h[0] for h in heard] == list(range(1, len(heard) + 1)) and all(h[2] >= 0 for h in heard)
    assert verify_all([C5], {"decomposition": hyq.decomposition}) == []          # about another entry
    assert [c.name for c in checks_of(["hyq/C1"])] == ["hyq/C1"]
    with pytest.raises(MdpkitError, match="C1"):
        checks_of(["hyq/C99"])
    with pytest.raises(MdpkitError, match="quick"):
        verify(C1, rigor="thorough")


