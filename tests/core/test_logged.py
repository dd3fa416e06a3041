"""Logged decisions: the layout, what is refused with its line, there and back, and the sample of obp by its hash."""

import hashlib
from importlib import metadata

import numpy as np
import pytest

from mdpkit.errors import MdpkitError, MissingPackage
from mdpkit.interop import logged

HEAD = "timestamp,item_id,position,click,propensity_score,user_feature_0,user_feature_1\n"
ROWS = ("t0,10,1,0,0.5,old,b\n", "t1,9,2,1,0.25,new,b\n", "t2,10,2,0,0.25,new,b\n")


@pytest.fixture
def write(tmp_path):
    def put(text):
        path = tmp_path / "log.csv"
        path.write_text(text)
        return path
    return put


def test_contexts_and_actions_are_numbered_by_their_names(write):
    log = logged.read(write(HEAD + "".join(ROWS)))
    assert log.contexts == (("new", "b"), ("old", "b")) and log.actions == ("9", "10")
    assert log.x.tolist() == [1, 0, 0] and log.a.tolist() == [1, 0, 1]
    assert log.r.tolist() == [0, 1, 0] and log.p.tolist() == [0.5, 0.25, 0.25] and log.available is None


def test_the_position_may_be_part_of_the_context(write):
    log = logged.read(write(HEAD + "".join(ROWS)), by_position=True)
    assert log.contexts == (("new", "b", "2"), ("old", "b", "1"))


def test_no_context_columns_are_one_context(write):
    log = logged.read(write("click,item_id,propensity_score\n1,a,1\n0,b,0.5\n"))
    assert log.contexts == ((),) and log.x.tolist() == [0, 0] and log.actions == ("a", "b")


def test_sets_of_actions_that_change(write):
    log = logged.read(write("item_id,click,propensity_score,available\n2,1,1,2\n1,0,0.5,1 7\n"))
    assert log.actions == ("1", "2", "7")
    assert log.available.tolist() == [[False, True, False], [True, False, True]]


@pytest.mark.parametrize("available", [True, False])
def test_there_and_back(tmp_path, available):
    rng = np.random.default_rng(5)
    x, a = np.append(rng.integers(0, 3, 40), [0, 1, 2]), np.append(rng.integers(0, 4, 39), [0, 1, 2, 3])
    sets = rng.random((43, 4)) < 0.5
    sets[np.arange(43), a] = True
    log = logged.LoggedBandit(x, a, rng.random(43), 1.0 - rng.random(43), sets if available else None,
                              (("0", "u"), ("1", "u"), ("10", "a")), ("0", "3", "b", "c"))
    back = logged.read(logged.write(tmp_path / "log.csv", log))
    assert back.contexts == log.contexts and back.actions == log.actions
    for ours, theirs in zip(log[:5], back[:5]):
        assert np.array_equal(ours, theirs) if ours is not None else theirs is None


BAD = {
    "no column": ("item_id,click\n1,0\n", "log.csv must be with a column 'propensity_score'"),
    "empty": ("", "log.csv must be with a column 'item_id'"),
    "no row": (HEAD, "log.csv must be with a row below its header"),
    "short": (HEAD + ROWS[0] + "t,1,2\n", "line 3 must be of 7 fields; it has 3"),
    "propensity": (HEAD + ROWS[0] + "t,1,2,0,0,n,b\n", "line 3, propensity_score must be in"),
    "reward": (HEAD + "t,1,2,yes,0.5,n,b\n", "line 2, click must be a finite number"),
    "nan": (HEAD + "t,1,2,nan,0.5,n,b\n", "line 2, click must be a finite number"),
    "unavailable": ("item_id,click,propensity_score,available\n1,0,1,2 3\n", "line 2, item_id must be among"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files_are_refused_with_their_line(write, name):
    text, message = BAD[name]
    with pytest.raises(MdpkitError, match=message):
        logged.read(write(text))


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(MdpkitError, match="path must be an existing CSV file"):
        logged.read(tmp_path / "log.csv")


def test_the_sample_of_obp(monkeypatch, tmp_path):
    try:
        log = logged.obp_sample()
    except MissingPackage:
        pytest.skip("obp is not installed: pip install --no-deps obp==0.4.1")
    assert len(log.r) == 10000 and len(log.actions) == 80 and log.actions[:3] == ("0", "1", "2")
    assert log.r.sum() == 38 and np.all(log.p == 1 / 80)
    other = tmp_path / "all.csv"
    other.write_bytes(logged.obp_file().read_bytes() + b"\n")
    monkeypatch.setattr(logged, "obp_file", lambda: other)
    with pytest.raises(MdpkitError, match=hashlib.sha256(other.read_bytes()).hexdigest()[:12]):
        logged.obp_sample()


def test_without_obp_its_sample_is_missing(monkeypatch):
    def missing(name):
        raise metadata.PackageNotFoundError(name)
    monkeypatch.setattr(metadata, "distribution", missing)
    with pytest.raises(MissingPackage, match="pip install --no-deps obp"):
        logged.obp_sample()
