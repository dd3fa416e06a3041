"""Values and occupancies of models given as bare arrays, floats or rationals (`mdpkit.rational`), uncertified.

For claims that are checked without rounding and for proofs' own quantities; models have `mdpkit.measure.values` and
`mdpkit.measure.occupancy`. Throughout P (H, S, A, S), r (H, S, A), rho (S,), pi (H, S, A), but for `discounted_values`.
"""

from __future__ import annotations

import math

import numpy as np

from mdpkit import rational


def evaluate(P: np.ndarray, r: np.ndarray, pi: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """V (H+1, S) and Q (H, S, A) of a policy."""
    V, Q = rational.zeros((len(r) + 1, r.shape[1]), P), rational.zeros(r.shape, P)
    for h in range(len(r) - 1, -1, -1):
        Q[h] = r[h] + P[h] @ V[h + 1]
        V[h] = (pi[h] * Q[h]).sum(-1)
    return V, Q


def state_law(P: np.ndarray, rho: np.ndarray, pi: np.ndarray) -> np.ndarray:
    """d_h(s) (H, S) of a policy."""
    d = rational.zeros(pi.shape[:2], P)
    d[0] = rho
    for h in range(len(pi) - 1):
        d[h + 1] = ((d[h][:, None] * pi[h])[..., None] * P[h]).sum((0, 1))
    return d


def occupancy(P: np.ndarray, rho: np.ndarray, pi: np.ndarray) -> np.ndarray:
    """d_h(s, a) (H, S, A) of a policy."""
    return state_law(P, rho, pi)[..., None] * pi


def probabilities(policy: np.ndarray, like: np.ndarray) -> np.ndarray:
    """Actions (H, S) as probabilities, in the shape and the kind of number of ``like`` (H, S, A)."""
    return rational.eye(like.shape[-1], like)[policy]


def state_coverage(P: np.ndarray, rho: np.ndarray, mu: np.ndarray, pi: np.ndarray) -> list:
    """C_h = max_s d_{pi,h}(s)/mu_h(s) for each h; math.inf where mu misses a state that pi visits."""
    d = state_law(P, rho, pi)
    return [math.inf if ((mu[h] == 0) & (d[h] > 0)).any() else (d[h][mu[h] > 0] / mu[h][mu[h] > 0]).max()
            for h in range(len(mu))]


def discounted_values(P: np.ndarray, r: np.ndarray, gamma: float, pi: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """V (n, S) and Q (n, S, A), floats, of policies pi (n, S, A), each in its kernel P (n, S, A, S) or one for all."""
    flow = np.eye(r.shape[-2]) - gamma * np.einsum("...sa,...sat->...st", pi, P)
    V = np.linalg.solve(flow, (pi * r).sum(-1)[..., None])[..., 0]
    return V, r + gamma * np.einsum("...sat,...t->...sa", P, V)
