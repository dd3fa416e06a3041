"""`enter` runs the version that numba would run, whatever the arguments, and numba itself for what it cannot tell."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest

from mdpkit.crossing import enter
from mdpkit.jit import kernel


class Place(NamedTuple):
    at: np.ndarray
    n: int


class Other(NamedTuple):
    at: np.ndarray
    n: int


def _look(place, x, flag):
    total = 0.0
    for i in range(len(place.at)):
        total += place.at[i] * x[i, 0]
    return total + place.n + (0.5 if flag else 0.0)


def _draw(place, rng):
    if place.n < 0:
        raise ValueError("no such place")
    place.at[0] += rng.random()
    return place.at[0]


look, draw = kernel(_look), kernel(_draw)
X = np.arange(6.0).reshape(3, 2)
FROZEN = X.copy()
FROZEN.flags.writeable = False
CASES = {"floats": X, "order": np.asfortranarray(X), "strided": np.arange(12.0).reshape(3, 4)[:, ::2], "frozen": FROZEN,
         "integers": np.arange(6).reshape(3, 2), "single": X.astype(np.float32)}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("kind", [Place, Other])
@pytest.mark.parametrize("n", [3, np.int64(3), 3.0, True])
def test_each_kind_of_argument_gets_its_own_version(name, kind, n):
    place = kind(np.array([1.0, 2.0, 4.0]), n)
    for flag in (True, 0, 1.5):
        for _ in range(2):                                    # the second time by its key
            assert enter(look, place, CASES[name], flag) == look(place, CASES[name], flag)


def test_state_generators_and_errors_come_through():
    one, two = (Place(np.zeros(1), 1) for _ in range(2))
    a, b = np.random.default_rng(3), np.random.default_rng(3)
    assert [enter(draw, one, a) for _ in range(5)] == [draw(two, b) for _ in range(5)]
    for _ in range(2):
        with pytest.raises(ValueError, match="no such place"):
            enter(draw, Place(np.zeros(1), -1), a)
    assert a.random() == b.random()


def test_what_has_no_key_goes_through_numba():
    enter(look, Place(np.ones(3), 1), X, True)            # with this version at hand numba takes any int for an int64
    with pytest.raises(OverflowError):
        enter(look, Place(np.ones(3), 2**63), X, True)
    with pytest.raises(Exception, match="unicode"):
        enter(look, "text", X, True)
    assert enter(_look, Place(np.ones(3), 1), X, False) == 7.0             # interpreted


@pytest.mark.parametrize("value", [*CASES.values(), Place(X, 3), Other(X, 3), Place(FROZEN, 2.0), (1, X), None, True, 7,
                                   np.int64(7), np.bool_(True), 2**63, np.float32(1.5), np.random.default_rng(0)],
                         ids=lambda value: type(value).__name__)
def test_a_remembered_type_is_the_one_that_numba_tells(value):
    asked = type(look).typeof_pyval(look, value)
    assert look.typeof_pyval(value) == asked and look.typeof_pyval(value) == asked
