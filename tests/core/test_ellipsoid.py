"""The compiled norms and rank-one updates against linear algebra in rationals."""

import flint
import numpy as np
import pytest

from mdpkit.kernels.ellipsoid import absorb, square, times
from mdpkit.rational import rational


@pytest.mark.parametrize("d", [1, 2, 5])
def test_the_inverse_follows_v(d):
    rng = np.random.default_rng(3)
    rows = rng.integers(-3, 4, (20, d)).astype(float)
    inverse, room = np.eye(d) / 2.0, np.zeros(d)
    V = flint.fmpq_mat(d, d, [2 if i == j else 0 for i in range(d) for j in range(d)])
    grown = flint.fmpq(1)
    for x in rows:
        column = flint.fmpq_mat(d, 1, [rational(v) for v in x])
        norm = (column.transpose() * V.inv() * column)[0, 0]
        before = square(inverse, x)
        w = absorb(inverse, x, room)
        assert w == pytest.approx(float(norm.p) / float(norm.q), rel=1e-12, abs=1e-14)
        assert before == pytest.approx(w, rel=1e-12, abs=1e-14)
        V, old = V + column * column.transpose(), V.det()
        grown *= 1 + norm
        assert V.det() == old * (1 + norm)
        exact = V.inv()
        for i in range(d):
            for j in range(d):
                assert inverse[i, j] == pytest.approx(float(exact[i, j].p) / float(exact[i, j].q), rel=1e-11, abs=1e-13)
    assert grown == V.det() / flint.fmpq(2) ** d


def test_times():
    out = np.zeros(2)
    times(np.array([[1.0, 2.0, 3.0], [0.5, 0.0, -1.0]]), np.array([1.0, 10.0, 100.0]), out)
    assert out.tolist() == [321.0, -99.5]
