"""Worlds from bytes: canonical laws, pools whose arrays keep their beginnings, and exact solves and copies beside."""

from __future__ import annotations

import flint
import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from mdpkit import octets, rational, validate
from mdpkit.errors import MdpkitError
from mdpkit.kernels.copy import copy

ROWS = st.integers(1, 9).flatmap(lambda k: st.lists(st.lists(st.integers(0, 4096), min_size=k, max_size=k), min_size=1,
                                                    max_size=5))


@pytest.fixture
def told(monkeypatch):
    """A ``draw`` that answers with bytes 1, 2, 3, ..., and the list of how many it was asked for."""
    monkeypatch.setattr(octets, "_bytes", lambda n: n)
    asked = []

    def draw(n):
        asked.append(n)
        return bytes(i % 256 for i in range(sum(asked) - n + 1, sum(asked) + 1))
    return draw, asked


@given(ROWS)
def test_laws_are_canonical_and_near_their_weights(weights):
    p, w = octets.normalised(weights), np.array(weights, float)
    w[w.sum(1) == 0, 0] = 1
    np.testing.assert_array_equal(p, validate.simplex("p", p, p.shape))      # canonical rows are fixed points
    assert ((p > 0) == (w > 0)).all() and not p.flags.writeable
    # each entry is rounded down to a unit, and once before that; the largest takes what is missing
    np.testing.assert_allclose(p, w / w.sum(1, keepdims=True), rtol=0, atol=(w.shape[1] + 1) * 2.0**-52)


@pytest.mark.parametrize("weights", [[-1.0, 2.0], [np.nan, 1.0], [np.inf, 1.0]])
def test_weights_that_are_none_are_refused(weights):
    with pytest.raises(MdpkitError, match="weights"):
        octets.normalised(weights)


def test_a_tiny_weight_stays():
    assert octets.normalised([1.0, 1e-200])[1] == 2.0**-52


def test_arrays_of_a_pool_begin_as_before_when_a_dimension_shrinks(told):
    draw, asked = told

    def world(size):
        asked.clear()
        pool = octets.Pool(draw, 9, 6)
        return pool.integer(3, 5), pool.one_of("ab"), octets.octets(pool, size, 3), octets.octets(pool, 2)

    (n, letter, first, second), (n_, letter_, first_, second_) = world(3), world(2)
    assert asked == [octets.NUMBERS + 15]
    assert 3 <= n == n_ <= 5 and letter == letter_ in "ab"
    np.testing.assert_array_equal(first[:2], first_)
    np.testing.assert_array_equal(second, second_)


def test_what_a_pool_has_no_place_for_is_drawn(told):
    draw, asked = told
    pool = octets.Pool(draw, 2)
    assert octets.octets(pool, 5).tolist() == [octets.NUMBERS + 2 + i for i in range(1, 6)]
    assert octets.octets(pool, 1).size == 1
    assert len({pool.integer(0, 255) for _ in range(octets.NUMBERS + 1)}) == octets.NUMBERS + 1
    assert asked == [octets.NUMBERS + 2, 5, 1, 1]


def test_rational_systems_are_solved_for_a_column_or_several():
    M, b = rational.exact([[2.0, 1.0], [1.0, 3.0]]), rational.exact([[1.0, 0.0, 2.0], [0.0, 1.0, 5.0]])
    x = rational.solve(M, b)
    assert (M @ x == b).all() and x[0, 0] == flint.fmpq(3, 5)
    for k in range(3):
        assert (rational.solve(M, b[:, k]) == x[:, k]).all()


@pytest.mark.parametrize("axes", [1, 2, 3, 4])
def test_kernels_copy_arrays_of_any_rank_they_know(axes):
    what, to = np.random.default_rng(axes).random((2, 3, 4, 5)[:axes]), np.zeros((3, 2, 3, 4, 5)[: axes + 1])
    copy(to[1], what)
    np.testing.assert_array_equal(to[1], what)
    assert not to[[0, 2]].any()
