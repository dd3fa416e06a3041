"""Preferences over responses: p[x, y, z] = Pr(y is preferred to z | x)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from mdpkit import validate
from mdpkit.errors import MdpkitError
from mdpkit.models import record


@dataclass(frozen=True, eq=False, repr=False)
class PreferenceModel:
    """A preference model over X prompts and Y responses.

    Parameters
    ----------
    p : array (X, Y, Y)
        ``p + p.transpose(0, 2, 1) == 1`` to 1e-12 (then stored exactly so, by the upper triangle).
    rho : array (X,)
        Law of the prompts.
    pi_ref : array (X, Y)
        Reference policy, full support.
    beta : float
        KL weight, > 0.
    reward : array (X, Y) or None
        The rewards behind a Bradley-Terry model, up to a shift for each prompt; None for general preferences.
    symmetrise : bool
        Accept any p and store ``(p + 1 - p.T) / 2``. Not stored.
    """

    p: np.ndarray
    rho: np.ndarray
    pi_ref: np.ndarray
    beta: float
    reward: np.ndarray | None = None

    def __init__(self, p: Any, rho: Any, pi_ref: Any, beta: float, reward: Any = None, *, symmetrise: bool = False):
        p = validate.within("p", validate.array("p", p, ("X", "Y", "Y")), 0.0, 1.0)
        X, Y, Z = p.shape
        if Y != Z:
            raise MdpkitError("p", "of shape (X, Y, Y)", None, came=f"its shape is {p.shape}")
        if symmetrise:
            p = (p + 1.0 - p.transpose(0, 2, 1)) / 2
        pi_ref = validate.simplex("pi_ref", pi_ref, (X, Y))
        if (pi_ref == 0).any():
            x, y = (int(i) for i in np.argwhere(pi_ref == 0)[0])
            raise MdpkitError(f"pi_ref[{x}, {y}]", "positive (full support)", 0.0)
        if reward is not None:
            reward = validate.array("reward", reward, (X, Y))
        record.put(self, p=_complementary(p), rho=validate.simplex("rho", rho, (X,)), pi_ref=pi_ref, reward=reward,
                   beta=validate.interval("beta", beta, 0.0, math.inf, open_lo=True))

    @classmethod
    def bradley_terry(cls, reward: Any, rho: Any, pi_ref: Any, beta: float) -> PreferenceModel:
        """p[x, y, z] = sigmoid(reward[x, y] - reward[x, z])."""
        reward = validate.array("reward", reward, ("X", "Y"))
        gap = reward[:, :, None] - reward[:, None, :]
        e = np.exp(-np.abs(gap))
        return cls(np.where(gap >= 0, 1.0, e) / (1.0 + e), rho, pi_ref, beta, reward)

    @property
    def X(self) -> int:
        return self.p.shape[0]

    @property
    def Y(self) -> int:
        return self.p.shape[1]

    __repr__ = record.text
    _repr_html_ = record.html
    save = record.save


def _complementary(p: np.ndarray) -> np.ndarray:
    off = np.abs(p + p.transpose(0, 2, 1) - 1.0)
    if off.max() > 1e-12:                       # a few ulp of 1: what computing p and 1 - p apart may cost
        x, y, z = (int(i) for i in np.unravel_index(off.argmax(), off.shape))
        raise MdpkitError(f"p[{x}, {y}, {z}] + p[{x}, {z}, {y}]", "1", float(p[x, y, z] + p[x, z, y]),
                          "symmetrise=True stores (p + 1 - p.T) / 2")
    out = p.copy()
    low, high = np.tril_indices(p.shape[1], -1)
    out[:, low, high] = 1.0 - out[:, high, low]
    i = np.arange(p.shape[1])
    out[:, i, i] = 0.5
    out.flags.writeable = False
    return out
