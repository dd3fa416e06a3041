"""Worlds whose state is hidden: latent MDPs (a hidden context) and rich observations (a hidden state)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from mdpkit import validate
from mdpkit.errors import MdpkitError
from mdpkit.models import record


@dataclass(frozen=True, eq=False, repr=False)
class LatentMDP:
    """Each episode draws a hidden context m ~ w and is then played in MDP m.

    Parameters
    ----------
    w : array (M,)
        Weights of the contexts.
    nu : array (M, S)
        First-state law of each context.
    P : array (M, S, A, S)
    r : array (M, S, A)
    H : int
        Steps in an episode.
    noise : {"none", "bernoulli", "gaussian"}
    """

    w: np.ndarray
    nu: np.ndarray
    P: np.ndarray
    r: np.ndarray
    H: int
    noise: str = "none"

    def __init__(self, w: Any, nu: Any, P: Any, r: Any, H: int, noise: str = "none"):
        noise = validate.choice("noise", noise, record.NOISES)
        r = record.rewards("r", r, ("M", "S", "A"), noise)
        M, S, A = r.shape
        record.put(self, w=validate.simplex("w", w, (M,)), nu=validate.simplex("nu", nu, (M, S)), r=r, noise=noise,
                   P=validate.simplex("P", P, (M, S, A, S)), H=validate.count("H", H))

    @property
    def M(self) -> int:
        return self.r.shape[0]

    @property
    def S(self) -> int:
        return self.r.shape[1]

    @property
    def A(self) -> int:
        return self.r.shape[2]

    __repr__ = record.text
    _repr_html_ = record.html
    save = record.save


@dataclass(frozen=True, eq=False, repr=False)
class RichMDP:
    """An episodic MDP over hidden states s, of which the learner sees x ~ q(. | s).

    Parameters
    ----------
    P : array (H, S, A, S)
    r : array (H, S, A)
    rho : array (S,)
    q : array (S, X)
        Emission law. The world is a block MDP when no observation has two possible states (`is_block`).
    noise : {"none", "bernoulli", "gaussian"}
    """

    P: np.ndarray
    r: np.ndarray
    rho: np.ndarray
    q: np.ndarray
    noise: str = "none"

    def __init__(self, P: Any, r: Any, rho: Any, q: Any, noise: str = "none"):
        noise = validate.choice("noise", noise, record.NOISES)
        r = record.rewards("r", r, ("H", "S", "A"), noise)
        H, S, A = r.shape
        record.put(self, P=validate.simplex("P", P, (H, S, A, S)), r=r, noise=noise,
                   rho=validate.simplex("rho", rho, (S,)), q=validate.simplex("q", q, (S, "X")))

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
    def X(self) -> int:
        return self.q.shape[1]

    @property
    def is_block(self) -> bool:
        """Whether each observation comes from at most one state, so that a decoder exists."""
        return bool(((self.q > 0).sum(0) <= 1).all())

    def decoder(self) -> np.ndarray:
        """The state (X,) of each observation of a block MDP; -1 where an observation never occurs.

        Raises
        ------
        MdpkitError
            Some observation comes from two states.
        """
        sources = (self.q > 0).sum(0)
        if (sources > 1).any():
            x = int(np.argmax(sources > 1))
            raise MdpkitError(f"q[:, {x}]", "positive for one state only (a block MDP)",
                                       np.flatnonzero(self.q[:, x]).tolist())
        return np.where(sources == 1, self.q.argmax(0), -1)

    __repr__ = record.text
    _repr_html_ = record.html
    save = record.save
