"""Rational arrays: object arrays of python-flint's fmpq, with which the same formulas run without rounding.

The operators, comparisons, ``max`` and ``argmax`` of numpy work on them. Exact claims are checked by giving an entry
such arrays in place of floats.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import flint
import numpy as np


def rational(x: float) -> flint.fmpq:
    """The rational number that a float is."""
    return flint.fmpq(*float(x).as_integer_ratio())


def of_fraction(x: Fraction) -> flint.fmpq:
    """The same number of python-flint's kind."""
    return flint.fmpq(x.numerator, x.denominator)


def exact(x: Any) -> np.ndarray:
    """The floats of an array as the rationals that they are."""
    x = np.asarray(x, dtype=np.float64)
    out = np.empty(x.shape, object)
    flat = out.reshape(-1)
    for i, value in enumerate(x.ravel().tolist()):
        flat[i] = rational(value)
    return out


def is_exact(x: np.ndarray) -> bool:
    """Whether an array holds rationals."""
    return x.dtype == object


def zeros(shape: tuple[int, ...], like: np.ndarray) -> np.ndarray:
    """Zeros of the same kind of number as ``like``."""
    if not is_exact(like):
        return np.zeros(shape)
    out = np.empty(shape, object)
    out.fill(flint.fmpq(0))
    return out


def eye(n: int, like: np.ndarray) -> np.ndarray:
    """The identity matrix in the same kind of number as ``like``."""
    out = zeros((n, n), like)
    out[np.diag_indices(n)] = flint.fmpq(1) if is_exact(like) else 1.0
    return out


def solve(M: np.ndarray, b: np.ndarray) -> np.ndarray:
    """x with M x = b, for b (n,) or (n, k): exact for rationals, LAPACK for floats."""
    if not is_exact(M):
        return np.linalg.solve(M, b)
    answer = flint.fmpq_mat(M.tolist()).solve(flint.fmpq_mat(b.reshape(len(b), -1).tolist()))
    out = np.empty((len(b), b.size // len(b)), object)
    out[:] = answer.tolist()
    return out.reshape(b.shape)


def fraction(x: Any) -> Any:
    """A rational as the standard library's Fraction; other numbers as they are."""
    return Fraction(int(x.p), int(x.q)) if isinstance(x, flint.fmpq) else x
