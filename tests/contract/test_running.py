"""A digest sees every bit, and a change of global state is seen."""

from __future__ import annotations

import os
import random
import warnings

import numpy as np
import pytest
from contract.reading import Kernel
from contract.running import changes, digest


def test_a_digest_sees_every_bit():
    values = [0.0, -0.0, 0, False, None, "0", (0,), [0], (0, 0), ((0,), 0), {"a": 0}, np.zeros(1), -np.zeros(1),
              np.zeros((1, 1)), np.zeros(1, np.int64), np.float64(1.0), np.nextafter(1.0, 2.0), Kernel("a", None),
              Kernel("b", None)]
    assert len({digest(v) for v in values}) == len(values)
    assert digest({"a": 1, "b": 2.0}) == digest({"b": 2.0, "a": 1})
    with pytest.raises(TypeError, match="no digest"):
        digest(object())


def spoil_style():
    import matplotlib  # heavy: where it is needed

    matplotlib.rcParams["font.size"] = 3.5


def spoil_warnings():
    warnings.simplefilter("ignore")


def spoil_numba():
    import numba

    numba.config.BOUNDSCHECK = 1


SPOILED = {
    "numpy.random": lambda: np.random.seed(1),                                           # noqa: NPY002
    "random": lambda: random.seed(1),
    "errors": lambda: np.seterr(over="ignore"),
    "warnings": spoil_warnings,
    "numba": spoil_numba,
    "style": spoil_style,
    "environment": lambda: os.environ.update(LAW="1"),
    "folder": lambda: os.chdir("/"),
    "printing": lambda: np.set_printoptions(precision=3),
}


@pytest.mark.parametrize("what", SPOILED)
def test_a_change_of_global_state_is_seen(what, monkeypatch, tmp_path):
    import matplotlib
    import numba

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LAW", "0")
    monkeypatch.setattr(numba.config, "BOUNDSCHECK", numba.config.BOUNDSCHECK)
    kept, drawn, shown = random.getstate(), np.random.get_state(), np.get_printoptions()  # noqa: NPY002
    try:
        with warnings.catch_warnings(), np.errstate(), matplotlib.rc_context():
            assert changes(lambda: None) == []
            assert changes(SPOILED[what]) == [what]
    finally:
        random.setstate(kept)
        np.random.set_state(drawn)                                                       # noqa: NPY002
        np.set_printoptions(**shown)


@pytest.mark.xdist_group("together")
def test_tests_of_a_group_share_a_worker(request):
    """Two processes that import quantecon at once spoil its compile cache, and the second aborts."""
    if hasattr(request.config, "workerinput") and request.config.getvalue("loadgroup"):
        assert request.node.nodeid.endswith("@together"), "this pytest and this pytest-xdist do not know of groups"
