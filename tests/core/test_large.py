"""Large sparse worlds: built block by block, solved in place, certified, in little more memory than they take."""

import tracemalloc

import numpy as np
import pytest
import scipy.sparse as sp

from mdpkit import validate
from mdpkit.errors import MdpkitError
from mdpkit.models.tabular import TabularMDP
from mdpkit.solve import discounted, quick


def ring(S, A, b, rng):
    """b distinct successors a row, as CSR arrays, and rewards."""
    col = (np.arange(S * A)[:, None] // A + np.sort(rng.integers(1, S // b, (S * A, b)) + S // b * np.arange(b))) % S
    val = rng.dirichlet(np.ones(b), S * A)
    P = sp.csr_array((val.ravel(), col.ravel(), np.arange(0, S * A * b + 1, b)), shape=(S * A, S))
    return P, rng.random((S, A))


@pytest.mark.parametrize("flush", [True, False])
def test_blocks_change_nothing(monkeypatch, flush):
    P, _ = ring(300, 3, 7, np.random.default_rng(0))
    data = np.where(np.random.default_rng(1).random(P.nnz) < 0.01, 1e-17 if flush else 0.0, P.data)
    data /= np.add.reduceat(data, P.indptr[:-1]).repeat(7)
    whole = validate.canonical_rows(data, P.indptr, str, flush=flush)
    for block in (1, 50, 6299):
        monkeypatch.setattr(validate, "BLOCK", block)
        assert (validate.canonical_rows(data, P.indptr, str, flush=flush) == whole).all()
        mine = data.copy()
        assert validate.canonical_rows(mine, P.indptr, str, flush=flush, out=mine) is mine and (mine == whole).all()


def test_a_bad_row_behind_the_first_block_is_named(monkeypatch):
    monkeypatch.setattr(validate, "BLOCK", 64)
    P, r = ring(100, 2, 4, np.random.default_rng(0))
    P.data[4 * 151] += 0.5
    with pytest.raises(MdpkitError, match=r"P\[75, 1, :\] must be a probability vector; it sums to 1.5"):
        TabularMDP(P, r, 0.9, np.full(100, 0.01))


@pytest.mark.parametrize("gamma", [0.9, 0.999])
def test_without_copies_the_same_values(monkeypatch, gamma):
    P, r = ring(400, 3, 5, np.random.default_rng(2))
    model = TabularMDP(P, r, gamma, np.full(400, 1 / 400))
    usual = discounted.solve(model)
    monkeypatch.setattr(discounted, "LEAN", 1)
    lean = discounted.solve(model)
    assert lean.certificate.method == "modified policy iteration" and lean.width <= lean.certificate.tol
    assert (lean.lo <= usual.hi).all() and (usual.lo <= lean.hi).all()
    monkeypatch.setattr(discounted, "SHORT", 1)
    other = discounted.solve(model)
    assert "BiCGSTAB" in other.certificate.method
    assert (other.lo <= usual.hi).all() and (usual.lo <= other.hi).all()
    monkeypatch.setattr(quick, "ROUNDS", 1)                 # Krylov fails as well: sweeps are the last resort
    last = discounted.solve(model)
    assert last.certificate.method == "modified policy iteration" and last.width <= last.certificate.tol


def test_a_world_is_its_arrays_and_its_solution_ten_vectors():
    """1e5 states and 1e6 transitions: what is kept beside the CSR arrays at one time stays below ten vectors."""
    S, A, b = 100_000, 2, 5
    P, r = ring(S, A, b, np.random.default_rng(3))
    rho, csr, vector = np.full(S, 1 / S), 16 * P.nnz + 8 * (S * A + 1), 8 * S
    discounted.solve(TabularMDP(*ring(40, 2, 4, np.random.default_rng(0)), 0.9, np.full(40, 1 / 40)))      # compiles
    tracemalloc.start()
    try:
        model = TabularMDP(P, r, 0.99, rho)
        assert model.rows.val is model.P.data and model.rows.col is model.P.indices
        assert tracemalloc.get_traced_memory()[1] <= csr + 10 * vector + 20 * 8 * validate.BLOCK
        tracemalloc.reset_peak()
        found = discounted.modified_policy_iteration(model, 1e-8)
        assert tracemalloc.get_traced_memory()[1] <= csr + 3 * vector + 10 * vector     # r and rho are vectors as well
    finally:
        tracemalloc.stop()
    assert found.width <= 1e-8
