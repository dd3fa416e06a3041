"""Counterexamples shrink, are pasted and stored bit for bit, and a search is the same wherever it runs."""

from __future__ import annotations

import json
import math
import os
import random
import subprocess
import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from algorithms.offline import hyq
from mdpkit.errors import MdpkitError
from mdpkit.models.tabular import EpisodicMDP
from mdpkit.strategies import episodic_mdps
from theory_checks.engine import codec, search
from theory_checks.engine.claims import INCONCLUSIVE, REFUTED
from theory_checks.engine.judges import Sure
from theory_checks.engine.runner import verify
from theory_checks.engine.tasks import find_check

ROOT = Path(__file__).resolve().parents[2]
C1 = find_check("hyq", "C1")


# ----------------------------------------------------------------------------------- counterexamples

def without_third(P, r, rho, f, pi_e):
    gap, one, two, three = hyq.decomposition(P, r, rho, f, pi_e)
    return gap, one, two, three - three


@pytest.fixture(scope="module")
def counterexample():
    verdict = verify(replace(C1, saboteurs=()), lambda *a: without_third(*a))
    assert verdict.decision.verdict == REFUTED
    return verdict.decision.where


def test_a_counterexample_can_be_pasted(counterexample):
    world = counterexample["world"]
    pasted = eval(codec.pasteable(world), {"EpisodicMDP": EpisodicMDP, "inf": math.inf, "nan": math.nan})
    assert codec.canonical(pasted["model"]) == codec.canonical(world["model"])
    again = {"model": pasted["model"], **{k: np.array(pasted[k]) for k in ("pi_e", "f", "nu")}}
    assert all(np.array_equal(again[k], world[k]) for k in ("pi_e", "f", "nu"))
    assert C1.measure(again, without_third, None)["measured"] == counterexample["measured"] > 0


def test_a_counterexample_is_the_smallest_there_is(counterexample):
    """One step and two actions are enough, of which the comparator takes the one that f likes less."""
    model = counterexample["world"]["model"]
    assert model.S <= 2 and model.A == 2 and model.H == 1, model


@hypothesis.given(episodic_mdps(max_states=3, max_actions=3, max_horizon=3))
@hypothesis.settings(max_examples=25)
def test_models_are_pasted_and_stored_bit_for_bit(model):
    text = codec.canonical(model)
    assert codec.canonical(eval(codec.pasteable(model), {"EpisodicMDP": EpisodicMDP})) == text
    back = codec.decode(json.loads(text))
    assert type(back) is type(model) and codec.canonical(back) == text
    assert back.P.tobytes() == model.P.tobytes() and back.r.tobytes() == model.r.tobytes()


SIMPLE = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.fractions()
ARRAYS = st.one_of(*(arrays(kind, st.tuples(*[st.integers(0, 3)] * 2)) for kind in ("f8", "i8", "?", "i4")))
KEYS = st.text().filter(lambda k: not k.startswith("__"))
JSON = st.recursive(SIMPLE | ARRAYS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner,
                                                                                                max_size=3))


def same(a, b) -> bool:
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and repr(a) == repr(b)


@hypothesis.given(JSON)
def test_the_codec_gives_back_what_it_got(value):
    text = codec.canonical(value)
    assert text.isascii() and same(codec.decode(json.loads(text)), value)
    assert codec.canonical(codec.decode(json.loads(text))) == text


@hypothesis.given(st.dictionaries(KEYS, SIMPLE, max_size=5), st.randoms())
def test_canonical_text_does_not_depend_on_order(value, dice):
    items = list(value.items())
    dice.shuffle(items)
    assert codec.canonical(dict(items)) == codec.canonical(value)


@pytest.mark.parametrize("bad", [{1, 2}, object(), lambda: None, 1j, np.array([Fraction(1, 2)], object), b"bytes"],
                         ids=lambda b: type(b).__name__)
def test_what_has_no_json_form_is_refused(bad):
    with pytest.raises(MdpkitError):
        codec.canonical({"measured": bad})


def test_no_other_class_is_built_from_a_row():
    with pytest.raises(MdpkitError, match="model of mdpkit"):
        codec.decode({"__model__": "subprocess:Popen", "args": ["true"]})
    with pytest.raises(MdpkitError):
        codec.decode({"__model__": "mdpkit.models.record:save", "model": 1, "path": "x"})


# ------------------------------------------------------------------------------------------- search

SEARCH = """
import json
from theory_checks.engine.engines import Serial
from theory_checks.engine.tasks import Task
names = ["algorithms.offline.hyq:decomposition", "theory_checks.offline._hyq_twins:dropped_third"]
{extra}
print(json.dumps([row for _, row, _, _ in Serial().map([Task("hyq", "C1", "{{}}", 0, n) for n in names])]))
"""


@pytest.mark.xdist_group("search")
def test_a_search_is_the_same_in_every_process(tmp_path):
    """Whatever the hashes of strings, the modules that are loaded, the folder, and what was searched before."""
    def started(seed: str, extra: str) -> subprocess.Popen:
        return subprocess.Popen([sys.executable, "-c", SEARCH.format(extra=extra)], stdout=subprocess.PIPE, text=True,
                                cwd=tmp_path, env=os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)})

    other = "import tomllib, decimal, random; random.seed(3); names *= 2"
    runs = [started("1", ""), started("2", other)]
    first, second = (json.loads(p.communicate(timeout=240)[0]) for p in runs)
    assert first == second[:2] == second[2:]
    assert "violated" in first[0] and not first[0]["violated"] and first[1]["violated"]


def _raises_at_seven(xs):
    if 7 in xs:
        raise ZeroDivisionError("seven")
    return {"measured": len(xs), "bound": 9}


def _draws_globally(xs):
    return {"measured": np.random.random() + random.random() + sum(xs) / 100, "bound": 2}    # noqa: NPY002


MEASURES = {"holds": lambda xs: {"measured": sum(xs), "bound": 1000},
            "violated": lambda xs: {"measured": sum(xs), "bound": 30},
            "raises": _raises_at_seven,
            "draws from global generators": _draws_globally}
LISTS = {"free": st.lists(st.integers(0, 60), max_size=6),
         "filtered": st.lists(st.integers(0, 60), max_size=6).filter(lambda xs: len(xs) != 2),
         "assuming": st.lists(st.integers(0, 60), max_size=6).map(lambda xs: hypothesis.assume(len(xs) != 3) and xs),
         "impossible": st.integers().filter(lambda n: False)}


@pytest.mark.parametrize("shrink", [False, True])
@pytest.mark.parametrize("measure", MEASURES.values(), ids=MEASURES)
@pytest.mark.parametrize("worlds", LISTS.values(), ids=LISTS)
def test_both_doors_of_hypothesis_lead_through_the_same_worlds(worlds, measure, shrink, monkeypatch):
    def found(direct: bool) -> tuple:
        seen = []
        monkeypatch.setattr(search, "_engine_is_known", lambda: direct)
        before = random.getstate(), np.random.get_state()[1].tolist()      # noqa: NPY002
        try:
            row = search.search(worlds, lambda world: (seen.append(world), measure(world))[1], 5, 60, shrink=shrink)
        except Exception as e:
            row = type(e)
        assert (random.getstate(), np.random.get_state()[1].tolist()) == before      # noqa: NPY002
        return row, seen

    if not search._engine_is_known():
        pytest.skip("this hypothesis is searched by its public door alone")
    direct, public = found(True), found(False)
    assert direct == public
    assert direct[1] or worlds is LISTS["impossible"]


def test_a_subject_that_changes_its_mind_is_told():
    turn = iter(range(10**6))
    with pytest.raises((MdpkitError, hypothesis.errors.Flaky)):
        search.search(st.integers(), lambda n: {"measured": next(turn) % 50, "bound": 48}, 1, 100)


def test_a_hypothesis_that_is_not_known_is_searched_by_its_public_door(monkeypatch):
    from hypothesis.internal.conjecture import engine

    monkeypatch.delattr(engine, "ConjectureRunner")
    assert not search._engine_is_known.__wrapped__()


def test_a_sure_judge_without_rows_says_so():
    assert Sure().decide([], 0.05, 0.0).verdict == INCONCLUSIVE
