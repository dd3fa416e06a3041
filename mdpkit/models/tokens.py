"""Autoregressive responses: H tokens from a vocabulary of V, one after the other, and a reward of the whole."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from mdpkit import validate
from mdpkit.errors import MdpkitError
from mdpkit.models import record

LARGEST_TREE = 2**22


@dataclass(frozen=True, eq=False, repr=False)
class TokenModel:
    """A prompt x ~ rho, then H tokens; the response is a leaf of the complete V-ary tree.

    The prefix (t_1, ..., t_h) is node ``first(h) + sum_i t_i V**(h-i)`` with ``first(h) = (V**h - 1)/(V - 1)``, in
    breadth-first order; a response is its last token-sum alone, in 0..V**H - 1.

    Parameters
    ----------
    reward : array (X, V**H)
        Mean reward of each whole response.
    pi_ref : array (X, N, V)
        Next-token law of the reference model at each of the N = (V**H - 1)/(V - 1) prefixes, full support.
    rho : array (X,)
    beta : float
        KL weight, > 0.
    """

    reward: np.ndarray
    pi_ref: np.ndarray
    rho: np.ndarray
    beta: float

    def __init__(self, reward: Any, pi_ref: Any, rho: Any, beta: float):
        pi_ref = validate.simplex("pi_ref", pi_ref, ("X", "N", "V"))
        X, N, V = pi_ref.shape
        H = _depth(N, V)
        if (pi_ref == 0).any():
            at = tuple(int(i) for i in np.argwhere(pi_ref == 0)[0])
            raise MdpkitError(validate.index("pi_ref", at), "positive (full support)", 0.0)
        record.put(self, reward=validate.array("reward", reward, (X, V**H)), pi_ref=pi_ref,
                   rho=validate.simplex("rho", rho, (X,)),
                   beta=validate.interval("beta", beta, 0.0, math.inf, open_lo=True))

    @property
    def X(self) -> int:
        return self.pi_ref.shape[0]

    @property
    def V(self) -> int:
        return self.pi_ref.shape[2]

    @property
    def H(self) -> int:
        return _depth(self.pi_ref.shape[1], self.V)

    @property
    def Y(self) -> int:
        """Responses, V**H."""
        return self.reward.shape[1]

    def first(self, h: int) -> int:
        """Number of the first node of level h: (V**h - 1)/(V - 1), or h when V = 1."""
        return h if self.V == 1 else (self.V**h - 1) // (self.V - 1)

    def response_law(self, pi: Any = None) -> np.ndarray:
        """Law (X, Y) of whole responses under next-token laws ``pi`` (X, N, V); pi_ref where omitted."""
        tokens = self.pi_ref if pi is None else validate.simplex("pi", pi, self.pi_ref.shape, flush=True)
        law = np.ones((self.X, 1))
        for h in range(self.H):
            level = tokens[:, self.first(h): self.first(h + 1)]
            law = (law[:, :, None] * level).reshape(self.X, -1)
        return law

    __repr__ = record.text
    _repr_html_ = record.html
    save = record.save


def _depth(N: int, V: int) -> int:
    total, H = 0, 0
    while total < N:
        total += V**H
        H += 1
        if total > LARGEST_TREE:
            raise MdpkitError("pi_ref", f"over at most {LARGEST_TREE} prefixes", N)
    if total != N:
        raise MdpkitError("pi_ref", "of shape (X, (V**H - 1)/(V - 1), V)", None,
                          came=f"{N} prefixes fill no complete tree with V = {V}")
    return H
