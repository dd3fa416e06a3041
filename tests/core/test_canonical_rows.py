"""Probability rows are made canonical: exact sums, kept supports, the same in dense and sparse form."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
import scipy.sparse as sp
from core.models_built import exact_sum, full, law, unit
from hypothesis import given, settings
from hypothesis import strategies as st

from mdpkit import validate
from mdpkit.errors import MdpkitError
from mdpkit.models.tabular import TabularMDP

UNIT = Fraction(1, 2**52)


def canonical(row, **kwargs) -> np.ndarray:
    row = np.asarray(row, float)
    return validate.simplex("p", row, row.shape, **kwargs)


weights = st.lists(st.one_of(st.integers(0, 9), st.floats(1e-3, 1.0), st.floats(1e-15, 1e-12)), min_size=1, max_size=30)


@settings(derandomize=True, deadline=None, max_examples=200)
@given(weights.filter(lambda w: sum(w) > 1e-3), st.integers(-9, 9), st.randoms(use_true_random=False))
def test_canonical_rows(raw, drift, shuffler):
    p = np.array(raw) / math.fsum(raw) * (1 + drift * 1e-10)        # sums may be off by almost 1e-9
    q = canonical(p, flush=True)
    assert exact_sum(q) == 1
    shuffled = q.tolist()
    shuffler.shuffle(shuffled)
    assert sum(shuffled) == 1.0 and q.sum() == 1.0 and np.cumsum(q)[-1] == 1.0, "whatever the order"
    assert all(Fraction(x) % UNIT == 0 for x in q.tolist())
    assert canonical(q).tobytes() == q.tobytes(), "canonical rows are fixed points"
    assert ((q > 0) == (p >= 2.0**-53)).all(), "the support stays"
    total = exact_sum(p)
    assert max(abs(Fraction(b) - Fraction(a) / total) for a, b in zip(p.tolist(), q.tolist())) < len(p) * UNIT


@pytest.mark.parametrize("n", [1000, 100_003])
def test_a_long_row_sums_to_one(n):
    q = canonical(np.full(n, 1.0 / n))
    assert sum(int(x * 2**52) for x in q.tolist()) == 2**52


@pytest.mark.parametrize("n", range(1, 12))
def test_ties_go_to_the_lowest_index(n):
    low, extra = divmod(2**52, n)
    wanted = [low + (i < extra) for i in range(n)]
    assert (canonical(np.full(n, 1.0 / n)) * 2.0**52).astype(int).tolist() == wanted


def test_entries_that_would_vanish_are_refused_or_flushed():
    tiny = 2.0**-54
    with pytest.raises(MdpkitError, match=r"p\[1, :\] must be free of positive entries below 2\*\*-53; entry 0 is"):
        validate.simplex("p", [[0.5, 0.5], [tiny, 1.0]], (2, 2))
    assert canonical([tiny, 1.0], flush=True).tolist() == [0.0, 1.0]


@pytest.mark.parametrize("x", [2.0**-53, 1.5 * 2.0**-53, math.nextafter(2.0**-52, 0.0), 2.0**-52])
def test_entries_from_half_a_unit_up_survive(x):
    for row in ([x, 1.0 - x], [x, 1.0], [1.0, x], [x, x, x, x, 1.0]):
        q = canonical(row)
        assert exact_sum(q) == 1
        assert all(b == 2.0**-52 for a, b in zip(row, q.tolist()) if a == x)


def test_dense_and_sparse_kernels_are_the_same_rows():
    S, A = 7, 3
    P = law(0, S, A, S)
    dense = TabularMDP(P, unit(1, S, A), 0.9, full(2, S))
    stored = sp.csr_array(P.reshape(S * A, S))
    for k in range(S * A):                                      # columns backwards: CSR does not promise an order
        part = slice(stored.indptr[k], stored.indptr[k + 1])
        stored.data[part], stored.indices[part] = stored.data[part][::-1].copy(), stored.indices[part][::-1].copy()
    stored.has_sorted_indices = False
    for form in (stored, stored.tocoo(), stored.tocsc(), sp.csr_matrix(P.reshape(S * A, S))):
        sparse = TabularMDP(form, unit(1, S, A), 0.9, full(2, S))
        assert sparse.is_sparse and not dense.is_sparse
        for a, b in zip(dense.rows, sparse.rows):
            assert a.dtype == b.dtype and a.tobytes() == b.tobytes()
        assert sparse.dense.tobytes() == dense.P.tobytes()


def test_explicit_zeros_of_a_sparse_kernel_are_dropped():
    P = sp.csr_array((np.array([0.0, 1.0, 1.0]), np.array([0, 1, 0]), np.array([0, 2, 3])), shape=(2, 2))
    assert TabularMDP(P, np.zeros((2, 1)), 0.5, [1.0, 0.0]).rows.col.tolist() == [1, 0]
