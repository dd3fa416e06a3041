"""Markov games; a matrix game is one with one state and one step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from mdpkit import validate
from mdpkit.errors import MdpkitError
from mdpkit.models import record


@dataclass(frozen=True, eq=False, repr=False)
class MarkovGame:
    """A finite-horizon Markov game of n players.

    Parameters
    ----------
    P : array (H, S, A1, ..., An, S)
    r : array (n, H, S, A1, ..., An)
        Mean reward of each player. A two-player game is zero-sum when ``r[0] + r[1] == 0``.
    rho : array (S,)
    noise : {"none", "bernoulli", "gaussian"}
    """

    P: np.ndarray
    r: np.ndarray
    rho: np.ndarray
    noise: str = "none"

    def __init__(self, P: Any, r: Any, rho: Any, noise: str = "none"):
        noise = validate.choice("noise", noise, record.NOISES)
        try:
            ndim = np.ndim(r)
        except ValueError as e:
            raise MdpkitError("r", "an array of numbers", r, "is it ragged?") from e
        if ndim < 4:
            raise MdpkitError("r", "of shape (n, H, S, A1, ..., An)", None, came=f"it has {ndim} axes")
        r = record.rewards("r", r, ("n", "H", "S", *(f"A{i + 1}" for i in range(ndim - 3))), noise)
        n, H, S, *A = r.shape
        if n != len(A):
            raise MdpkitError("r", f"of shape (n, H, S, A1, ..., An) with n = {len(A)} action axes", None,
                              came=f"its shape is {r.shape}")
        record.put(self, r=r, noise=noise, P=validate.simplex("P", P, (H, S, *A, S)),
                   rho=validate.simplex("rho", rho, (S,)))

    @classmethod
    def matrix(cls, *payoffs: Any) -> MarkovGame:
        """One state, one step: one payoff tensor (A1, ..., An) a player; a single matrix is zero-sum to its rows."""
        if not payoffs:
            raise MdpkitError("payoffs", "one matrix or one tensor a player", payoffs)
        n = max(2, len(payoffs))
        first = validate.array("payoffs[0]", payoffs[0], tuple(f"A{i + 1}" for i in range(n)))
        others = payoffs[1:] or (-first,)
        tables = [first, *(validate.array(f"payoffs[{i + 1}]", t, first.shape) for i, t in enumerate(others))]
        return cls(np.ones((1, 1, *first.shape, 1)), np.stack(tables)[:, None, None], np.ones(1))

    @property
    def n(self) -> int:
        return self.r.shape[0]

    @property
    def H(self) -> int:
        return self.r.shape[1]

    @property
    def S(self) -> int:
        return self.r.shape[2]

    @property
    def A(self) -> tuple[int, ...]:
        return self.r.shape[3:]

    @property
    def is_zero_sum(self) -> bool:
        """Two players whose rewards cancel exactly."""
        return self.n == 2 and bool((self.r[0] == -self.r[1]).all())

    __repr__ = record.text
    _repr_html_ = record.html
    save = record.save
