"""Bandits: finite-armed, linear, contextual."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from mdpkit import validate
from mdpkit.models import record


@dataclass(frozen=True, eq=False, repr=False)
class Bandit:
    """Arms with means mu (A,); pulls are Bernoulli (means in [0, 1]), unit-variance Gaussian, or noiseless."""

    mu: np.ndarray
    noise: str = "bernoulli"

    def __init__(self, mu: Any, noise: str = "bernoulli"):
        noise = validate.choice("noise", noise, record.NOISES)
        record.put(self, mu=record.rewards("mu", mu, ("A",), noise), noise=noise)

    @property
    def A(self) -> int:
        return self.mu.shape[0]

    @property
    def gaps(self) -> np.ndarray:
        """max(mu) - mu, (A,)."""
        return self.mu.max() - self.mu

    __repr__ = record.text
    _repr_html_ = record.html
    save = record.save


@dataclass(frozen=True, eq=False, repr=False)
class LinearBandit:
    """Arms x (A, d) with means <x[a], theta>."""

    x: np.ndarray
    theta: np.ndarray
    noise: str = "gaussian"

    def __init__(self, x: Any, theta: Any, noise: str = "gaussian"):
        noise = validate.choice("noise", noise, record.NOISES)
        x = validate.array("x", x, ("A", "d"))
        record.put(self, x=x, theta=validate.array("theta", theta, (x.shape[1],)), noise=noise)
        mu = validate.array("(x @ theta)", self.mu, (x.shape[0],))
        if noise == "bernoulli":
            validate.within("(x @ theta)", mu, 0.0, 1.0)

    @property
    def A(self) -> int:
        return self.x.shape[0]

    @property
    def d(self) -> int:
        return self.x.shape[1]

    @property
    def mu(self) -> np.ndarray:
        """Means (A,)."""
        return np.einsum("ad,d->a", self.x, self.theta)

    __repr__ = record.text
    _repr_html_ = record.html
    save = record.save


@dataclass(frozen=True, eq=False, repr=False)
class ContextualBandit:
    """Contexts x ~ rho (X,), mean rewards r (X, A)."""

    rho: np.ndarray
    r: np.ndarray
    noise: str = "bernoulli"

    def __init__(self, rho: Any, r: Any, noise: str = "bernoulli"):
        noise = validate.choice("noise", noise, record.NOISES)
        r = record.rewards("r", r, ("X", "A"), noise)
        record.put(self, rho=validate.simplex("rho", rho, (r.shape[0],)), r=r, noise=noise)

    @property
    def X(self) -> int:
        return self.r.shape[0]

    @property
    def A(self) -> int:
        return self.r.shape[1]

    __repr__ = record.text
    _repr_html_ = record.html
    save = record.save
