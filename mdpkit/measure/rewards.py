"""Distances between rewards R (S, A, S) that ignore what leaves the order of policies as it is.

Potential shaping adds gamma Phi(s') - Phi(s); redistribution adds D with E_{s' ~ P} D = 0 at each (s, a); scaling
multiplies by k > 0. STARC distances (Skalse et al. 2024) are 0 exactly on such pairs; EPIC (Gleave et al. 2021) does
not know the transitions, and is not.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from mdpkit import validate
from mdpkit.measure.plain import discounted_values
from mdpkit.models.tabular import TabularMDP
from mdpkit.solve import discounted

CANONICAL = ("value", "minimal")
NORMS = ("range", "l2")


def shaped(R: Any, potential: Any, gamma: float) -> np.ndarray:
    """R + gamma Phi(s') - Phi(s), (S, A, S)."""
    R = _reward("R", R)
    Phi = validate.array("potential", potential, (len(R),))
    return R + gamma * Phi - Phi[:, None, None]


def canonical(model: TabularMDP, R: Any, kind: str = "value") -> np.ndarray:
    """The representative (S, A) of all rewards that differ from R by shaping and redistribution.

    Parameters
    ----------
    model : TabularMDP
        P and gamma; its own rewards play no part.
    R : array (S, A, S)
    kind : {"value", "minimal"}
        The advantage of the uniform policy under R; or the shortest of all that shaping gives.
    """
    validate.instance("model", model, TabularMDP)
    validate.choice("kind", kind, CANONICAL)
    P = model.dense
    mean = np.einsum("sat,sat->sa", P, _reward("R", R, model))
    if kind == "value":
        pi = np.full((1, *mean.shape), 1.0 / model.A)
        V, Q = discounted_values(P, mean, model.gamma, pi)
        return Q[0] - V[0][:, None]
    B = model.gamma * P.reshape(-1, model.S) - np.repeat(np.eye(model.S), model.A, axis=0)
    return (mean.ravel() - B @ np.linalg.lstsq(B, mean.ravel(), rcond=None)[0]).reshape(mean.shape)


def starc(model: TabularMDP, R1: Any, R2: Any, kind: str = "value", norm: str = "range") -> float:
    """``|c(R1)/n(c(R1)) - c(R2)/n(c(R2))|_2`` with a `canonical` c; 0 stays 0.

    ``norm`` n is "range", the largest minus the smallest discounted return from ``model.rho``, or "l2".
    """
    one, two = (standardised(model, R, kind, norm) for R in (R1, R2))
    return float(np.sqrt(((one - two) ** 2).sum()))


def standardised(model: TabularMDP, R: Any, kind: str = "value", norm: str = "range") -> np.ndarray:
    """c(R)/n(c(R)), (S, A); 0 where R leaves all policies equal, up to rounding of its size."""
    validate.choice("norm", norm, NORMS)
    c = canonical(model, R, kind)
    n = float(np.sqrt((c * c).sum())) if norm == "l2" else _range(model, c)
    noise = 1e-12 * float(np.abs(R).max()) / (1 - model.gamma)
    return c / n if n > noise else np.zeros_like(c)


def _range(model: TabularMDP, c: np.ndarray) -> float:
    """max J - min J from the initial law, for expected rewards c (S, A)."""
    best, worst = (discounted.solve(TabularMDP(model.P, sign * c, model.gamma, model.rho)).value @ model.rho
                   for sign in (1.0, -1.0))
    return float(best + worst)


def epic(R1: Any, R2: Any, gamma: float) -> float:
    """sqrt((1 - Pearson)/2) of the rewards with shaping taken out under a uniform coverage of (s, a, s'), in [0, 1].

    C(R) = R + gamma m(s') - m(s) - gamma mean(R), m(s) the mean of R(s, ., .).
    """
    one, two = (_unshaped(_reward(name, R), gamma) for name, R in (("R1", R1), ("R2", R2)))
    a, b = one - one.mean(), two - two.mean()
    size = np.sqrt((a * a).sum() * (b * b).sum())
    cosine = float((a * b).sum() / size) if size > 0 else float((a == b).all())
    return float(np.sqrt(max(0.0, (1.0 - cosine) / 2)))


def _unshaped(R: np.ndarray, gamma: float) -> np.ndarray:
    m = R.mean((1, 2))
    return R + gamma * m - m[:, None, None] - gamma * R.mean()


def _reward(name: str, R: Any, model: TabularMDP | None = None) -> np.ndarray:
    shape = ("S", "A", "S") if model is None else (model.S, model.A, model.S)
    return validate.array(name, R, shape)
