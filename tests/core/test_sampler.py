"""The sampler of cumulative rows."""

from __future__ import annotations

import numpy as np
import pytest
from core.worlds_played import EPISODIC, TABULAR, WIDE, many_draws, seeded, unit

from mdpkit.kernels.draw import cumulative
from mdpkit.models.tabular import TabularMDP


@pytest.mark.parametrize("n", [1, 2, 7, 8, 9, 10, 16, 17, 33, 1000])
def test_the_sampler_is_searchsorted(n):
    w = seeded(n).random(n) * (seeded(n + 1).random(n) < 0.6)
    w[seeded(n + 2).integers(n)] += 1.0
    cum = np.cumsum(TabularMDP(np.tile(w / w.sum(), (n, 1, 1)).reshape(n, 1, n), np.zeros((n, 1)), 0.0,
                               w / w.sum()).rho)
    edges = np.concatenate([cum, np.nextafter(cum, 0), np.nextafter(cum, 1), [0.0, 1 - 2.0**-53], unit(0, 200)])
    edges = edges[(edges >= 0) & (edges < 1)]
    for lo in (0, 5):                                            # a row of its own, and one in the middle of others
        row = np.concatenate([np.full(lo, 0.7), cum, [0.1, 1.0]])
        out = np.zeros(len(edges), np.int64)
        many_draws(row, lo, lo + n, edges, out)
        assert (out - lo == np.searchsorted(cum, edges, side="right")).all()


def test_cumulative_rows_end_in_one_exactly():
    for model in (TABULAR, WIDE, EPISODIC):
        rows = model.rows
        cum = cumulative(rows.ptr, rows.val)
        for k in range(len(rows.ptr) - 1):
            part = slice(rows.ptr[k], rows.ptr[k + 1])
            assert cum[part].tolist() == np.cumsum(rows.val[part]).tolist() and cum[part][-1] == 1.0


def test_cumulative_rows_survive_a_wrap_of_their_integers():
    n = 5000                                                     # 5000 rows of 2**52 units exceed 2**64
    ptr = np.arange(0, 2 * n + 1, 2)
    cum = cumulative(ptr, np.tile([0.25, 0.75], n))
    assert (cum == np.tile([0.25, 1.0], n)).all()
