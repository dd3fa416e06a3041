"""Linear and linear-mixture MDPs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from mdpkit import validate
from mdpkit.errors import MdpkitError
from mdpkit.models import record

MISFIT = 1e-9     # rows phi @ mu may miss a probability vector by rounding only


@dataclass(frozen=True, eq=False, repr=False)
class LinearMDP:
    """P[h, s, a, t] = <phi[s, a], mu[h, :, t]> and r[h, s, a] = <phi[s, a], theta[h]>.

    Parameters
    ----------
    phi : array (S, A, d)
    mu : array (H, d, S)
        Signed measures; ``phi @ mu`` must give probability rows up to `misfit` <= 1e-9.
    theta : array (H, d)
    rho : array (S,)
    noise : {"none", "bernoulli", "gaussian"}
    """

    phi: np.ndarray
    mu: np.ndarray
    theta: np.ndarray
    rho: np.ndarray
    noise: str = "none"

    def __init__(self, phi: Any, mu: Any, theta: Any, rho: Any, noise: str = "none"):
        noise = validate.choice("noise", noise, record.NOISES)
        phi = validate.array("phi", phi, ("S", "A", "d"))
        S, _, d = phi.shape
        mu = validate.array("mu", mu, ("H", d, S))
        theta = validate.array("theta", theta, (mu.shape[0], d))
        record.put(self, phi=phi, mu=mu, theta=theta, noise=noise, rho=validate.simplex("rho", rho, (S,)))
        raw = self._product
        bad = (raw < -MISFIT) | (np.abs(raw.sum(-1, keepdims=True) - 1.0) > MISFIT)
        if bad.any():
            h, s, a, _ = (int(i) for i in np.argwhere(bad)[0])
            row = raw[h, s, a]
            raise MdpkitError(f"(phi @ mu)[{h}, {s}, {a}, :]", "a probability vector", None,
                              came=f"it sums to {row.sum():.10g}, its least entry is {row.min():.3g}")
        rewards = self.r
        if noise == "bernoulli":
            validate.within("(phi @ theta)", rewards, 0.0, 1.0)

    @property
    def S(self) -> int:
        return self.phi.shape[0]

    @property
    def A(self) -> int:
        return self.phi.shape[1]

    @property
    def d(self) -> int:
        return self.phi.shape[2]

    @property
    def H(self) -> int:
        return self.mu.shape[0]

    @cached_property
    def _product(self) -> np.ndarray:
        return _finite("phi @ mu", np.einsum("sad,hdt->hsat", self.phi, self.mu))

    @cached_property
    def P(self) -> np.ndarray:
        """The kernel (H, S, A, S), canonical: equal to phi @ mu up to `misfit`."""
        clipped = np.maximum(self._product, 0.0)
        return validate.simplex("phi @ mu", clipped / clipped.sum(-1, keepdims=True), self._product.shape, flush=True)

    @cached_property
    def r(self) -> np.ndarray:
        """Mean rewards (H, S, A)."""
        return _finite("phi @ theta", np.einsum("sad,hd->hsa", self.phi, self.theta))

    @cached_property
    def misfit(self) -> float:
        """``max |P - phi @ mu|``: how far the stored world is from linear."""
        return float(np.abs(self.P - self._product).max())

    __repr__ = record.text
    _repr_html_ = record.html
    save = record.save


@dataclass(frozen=True, eq=False, repr=False)
class LinearMixtureMDP:
    """P_h(t | s, a) = sum_i theta[h, i] base[i, s, a, t]: an unknown mixture of known kernels.

    Parameters
    ----------
    base : array (d, S, A, S)
        Known kernels, each a canonical probability row.
    theta : array (H, d)
        Mixture weights, on the simplex.
    r : array (H, S, A)
        Mean rewards (known to the learner in the linear-mixture literature).
    rho : array (S,)
    """

    base: np.ndarray
    theta: np.ndarray
    r: np.ndarray
    rho: np.ndarray
    noise: str = "none"

    def __init__(self, base: Any, theta: Any, r: Any, rho: Any, noise: str = "none"):
        noise = validate.choice("noise", noise, record.NOISES)
        r = record.rewards("r", r, ("H", "S", "A"), noise)
        H, S, A = r.shape
        base = validate.simplex("base", base, ("d", S, A, S))
        record.put(self, base=base, r=r, noise=noise, rho=validate.simplex("rho", rho, (S,)),
                   theta=validate.simplex("theta", theta, (H, base.shape[0])))

    @property
    def H(self) -> int:
        return self.r.shape[0]

    @property
    def S(self) -> int:
        return self.r.shape[1]

    @property
    def A(self) -> int:
        return self.r.shape[2]

    @property
    def d(self) -> int:
        return self.base.shape[0]

    @cached_property
    def P(self) -> np.ndarray:
        """The kernel (H, S, A, S), canonical."""
        return validate.simplex("P", np.einsum("hi,isat->hsat", self.theta, self.base),
                                (self.H, self.S, self.A, self.S), flush=True)

    def value_features(self, V: Any) -> np.ndarray:
        """phi_V (S, A, d): ``phi_V[s, a, i] = sum_t base[i, s, a, t] V[t]``."""
        return np.einsum("isat,t->sai", self.base, validate.array("V", V, (self.S,)))

    __repr__ = record.text
    _repr_html_ = record.html
    save = record.save


def _finite(name: str, product: np.ndarray) -> np.ndarray:
    """The product of two finite arrays, if it did not overflow; read-only."""
    return validate.array(name, product, product.shape)
