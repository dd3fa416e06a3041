"""Files that are damaged or foreign are refused, or give the same model."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
from core.refusals import FINE, refused

from mdpkit.errors import MdpkitError
from mdpkit.models.record import load


def stored(**content):
    fine = {"__model__": "mdpkit.models.bandits:Bandit", "__format__": 1, "mu": np.array([0.5]), "noise": "none"}
    return {k: v for k, v in (fine | content).items() if v is not None}


FILES = {
    "another's": ({"x": np.zeros(3)}, r"path must be a \.npz written by save\(\).*it holds \['x'\]"),
    "of a newer format": (stored(__format__=99), r"path must be of format 1 or older"),
    "without a format": (stored(__format__=None), r"path must be"),
    "of a model elsewhere": (stored(__model__="os:system"), r"path must be a model of mdpkit; it is 'os'"),
    "of a model that is not there": (stored(__model__="mdpkit.models.bandits:Novel"), r"path must be"),
    "of a module that is not there": (stored(__model__="mdpkit.models.novel:Novel"), r"path must be"),
    "of a function": (stored(__model__="mdpkit.models.record:save"), r"path must be"),
    "without a field": (stored(mu=None), r"path must be"),
    "with a field too many": (stored(novel=np.zeros(2)), r"path must be"),
    "with bad values": (stored(mu=np.array([math.nan])), r"mu\[0\] must be finite"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_foreign_file_is_refused(name, tmp_path):
    content, message = FILES[name]
    np.savez(tmp_path / "model.npz", **content)
    refused(lambda: load(tmp_path / "model.npz"), message)


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04", b"\x93NUMPY", b"\x80\x04K\x01."],
                         ids=["empty", "text", "start of a zip", "start of an array", "pickle"])
def test_a_file_that_is_no_npz_is_refused(content, tmp_path):
    (tmp_path / "model.npz").write_bytes(content)
    refused(lambda: load(tmp_path / "model.npz"), "path must be a readable")


def test_a_single_array_is_no_model(tmp_path):
    with open(tmp_path / "model.npz", "wb") as f:
        np.save(f, np.zeros(3))
    refused(lambda: load(tmp_path / "model.npz"), "path must be")


def test_a_file_of_objects_is_refused(tmp_path):
    np.savez(tmp_path / "model.npz", **stored(mu=np.array([None, {}], object)))
    refused(lambda: load(tmp_path / "model.npz"), "path must be a readable")


def test_a_folder_is_no_file(tmp_path):
    (tmp_path / "model.npz").mkdir()
    refused(lambda: load(tmp_path / "model.npz"), "path must be an existing file")


@pytest.mark.parametrize("how", ["truncated", "flipped"])
def test_a_damaged_file_is_refused_or_unharmed(how, tmp_path):
    """Bytes between the members carry nothing: a file that still loads must give the same model."""
    path = FINE.save(tmp_path / "model.npz")
    whole = path.read_bytes()
    failures = []
    for at in range(0, len(whole), 7):               # every seventh byte: some two hundred files in under a second
        path.write_bytes(whole[:at] if how == "truncated" else whole[:at] + bytes([whole[at] ^ 16]) + whole[at + 1:])
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")      # zipfile warns of duplicate names
                again = load(path)
            assert again.P.tobytes() == FINE.P.tobytes() and again.gamma == FINE.gamma
        except MdpkitError:
            pass
        except Exception as e:
            failures.append((at, repr(e)))
    assert not failures, failures[:5]
