"""Dynamical linear bandits: actions pay at once, and move a hidden linear system that pays later."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from mdpkit import rational, validate
from mdpkit.errors import MdpkitError
from mdpkit.models import record

DOUBLINGS = 40          # of the power of A in which its norm must fall below 1


@dataclass(frozen=True, eq=False, repr=False)
class DynamicalBandit:
    """y_t = <omega, x_t> + <theta, u_t> + sigma eta_t and x_{t+1} = A x_t + B u_t + tau w_t, one trajectory from x_1.

    eta_t and w_t are standard normal and independent; u_t is one of the arms; only y_t is seen.

    Parameters
    ----------
    A : array (n, n)
        Of spectral radius below 1.
    B : array (n, d)
    omega : array (n,)
    theta : array (d,)
    arms : array (K, d)
    x_1 : array (n,), optional
        First state, 0 by default.
    sigma, tau : float, >= 0
        Noise of the reward and of each coordinate of the state.
    """

    A: np.ndarray
    B: np.ndarray
    omega: np.ndarray
    theta: np.ndarray
    arms: np.ndarray
    x_1: np.ndarray
    sigma: float
    tau: float

    def __init__(self, A: Any, B: Any, omega: Any, theta: Any, arms: Any, x_1: Any = None, sigma: float = 0.1,
                 tau: float = 0.0):
        omega, theta = validate.array("omega", omega, ("n",)), validate.array("theta", theta, ("d",))
        n, d = len(omega), len(theta)
        A = validate.array("A", A, (n, n))
        if not _stable(A):
            raise MdpkitError("A", "of spectral radius below 1", None, came="its powers do not shrink")
        record.put(self, A=A, B=validate.array("B", B, (n, d)), omega=omega, theta=theta,
                   arms=validate.array("arms", arms, ("K", d)),
                   x_1=validate.array("x_1", np.zeros(n) if x_1 is None else x_1, (n,)),
                   sigma=validate.interval("sigma", sigma, 0.0, math.inf, open_hi=True),
                   tau=validate.interval("tau", tau, 0.0, math.inf, open_hi=True))

    @property
    def d(self) -> int:
        return self.arms.shape[1]

    @cached_property
    def h(self) -> np.ndarray:
        """(d,): a constant action u pays <h, u> in the long run. Solved in rationals and rounded once."""
        exact = rational.exact
        exactly = cumulative(exact(self.A), exact(self.B), exact(self.omega), exact(self.theta))
        return validate.array("h", [float(rational.fraction(v)) for v in exactly], (self.d,))

    @property
    def values(self) -> np.ndarray:
        """<h, u> of each arm, (K,)."""
        return np.einsum("kd,d->k", self.arms, self.h)

    def __repr__(self) -> str:
        return f"DynamicalBandit(n={len(self.omega)}, d={self.d}, arms={len(self.arms)})"

    _repr_html_ = record.html
    save = record.save


def cumulative(A: np.ndarray, B: np.ndarray, omega: np.ndarray, theta: np.ndarray, H: int | None = None) -> np.ndarray:
    """The cumulative Markov parameter theta + B' (I - A)^-T omega (d,), or its first H terms
    theta + sum_{i < H} B' (A^i)' omega; floats or rationals.
    """
    total = rational.zeros(omega.shape, omega)
    if H is None:
        total = rational.solve((rational.eye(len(A), A) - A).T, omega)
    power = omega
    for _ in range(H or 0):
        total, power = total + power, (A.T * power).sum(1)
    return theta + (B.T * total).sum(1)


def _stable(A: np.ndarray) -> bool:
    for _ in range(DOUBLINGS + 1):
        norm = float(np.abs(A).sum(1).max())
        if norm < 1.0 or norm > 1e100:
            return norm < 1.0
        A = np.einsum("ij,jk->ik", A, A)
    return False
