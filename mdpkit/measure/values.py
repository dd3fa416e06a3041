"""Exact values of a known policy and of the best one.

Episodic: Q_h = r_h + P_h V_{h+1}, V_H = 0. Discounted: V = (I - gamma P_pi)^{-1} r_pi, Q = r + gamma P V, not
normalised. V_h(s) = sum_a pi_h(a|s) Q_h(s,a), or max_a Q_h(s,a) for the optimum, which a discounted model gets by
policy iteration (Howard 1960). Answers here are floats, good to rounding; `mdpkit.solve` certifies them.

A model is episodic, discounted, or anything that `mdpkit.models.convert.to_episodic` takes. A policy is an array of
probabilities (H, S, A), (S, A) if discounted, (X, A) or (A,) for bandits, or integer actions without the last axis.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from mdpkit.kernels.backup import evaluate_episodic, optimise_episodic
from mdpkit.measure.inputs import frame, policy_on
from mdpkit.models.tabular import EpisodicMDP, TabularMDP

LARGEST_DENSE = 2000     # states: a dense solve takes a second there, and 32 MB


def value(model: Any, policy: Any) -> np.ndarray:
    """V of a policy: (H, S), or (S,) if discounted.

    Raises
    ------
    MdpkitError
        No Markov model, or no policy on it.
    """
    model = frame(model)
    base, pi = model.base, policy_on(model, policy)
    if isinstance(base, EpisodicMDP):
        return evaluate_episodic(*base.rows, base.r, pi)[0][:-1]
    return resolvent(base, pi, np.einsum("sa,sa->s", pi, base.r))


def action_value(model: Any, policy: Any) -> np.ndarray:
    """Q of a policy: (H, S, A), or (S, A) if discounted. Errors as in `value`."""
    model = frame(model)
    base, pi = model.base, policy_on(model, policy)
    if isinstance(base, EpisodicMDP):
        return evaluate_episodic(*base.rows, base.r, pi)[1]
    return backup(base, base.r, value(base, pi))


def advantage(model: Any, policy: Any) -> np.ndarray:
    """A = Q - V of a policy, (H, S, A) or (S, A). Errors as in `value`."""
    model = frame(model)
    base, pi = model.base, policy_on(model, policy)
    if isinstance(base, EpisodicMDP):
        V, Q = evaluate_episodic(*base.rows, base.r, pi)
        return Q - V[:-1, :, None]
    V = value(base, pi)
    return backup(base, base.r, V) - V[:, None]


def start_value(model: Any, policy: Any) -> float:
    """J = <rho, V_0>, the expected return of a policy from the initial law. Errors as in `value`."""
    model = frame(model)
    V = value(model, policy)
    return float(model.base.rho @ (V[0] if V.ndim == 2 else V))


def optimal_value(model: Any) -> np.ndarray:
    """V*: (H, S), or (S,) if discounted.

    Raises
    ------
    MdpkitError
        No Markov model.
    """
    base = frame(model).base
    if isinstance(base, EpisodicMDP):
        return optimise_episodic(*base.rows, base.r)[0][:-1]
    return optimal_action_value(base).max(-1)


def optimal_action_value(model: Any) -> np.ndarray:
    """Q*: (H, S, A), or (S, A) if discounted. Errors as in `optimal_value`."""
    base = frame(model).base
    if isinstance(base, EpisodicMDP):
        return optimise_episodic(*base.rows, base.r)[1]
    return policy_iteration(base, base.r)


def optimal_start_value(model: Any) -> float:
    """J* = <rho, V*_0>. Errors as in `optimal_value`."""
    model = frame(model)
    V = optimal_value(model)
    return float(model.base.rho @ (V[0] if V.ndim == 2 else V))


def policy_iteration(model: TabularMDP, r: np.ndarray) -> np.ndarray:
    """Q* (S, A) of a discounted model under rewards r (S, A).

    Stops when no action improves or the sum of V no longer grows: the computed sums then rise strictly from policy to
    policy, so that rounding cannot make it run in circles.
    """
    s = np.arange(model.S)
    greedy, best, Q = r.argmax(1), -np.inf, r
    while True:
        pi = np.zeros(r.shape)
        pi[s, greedy] = 1.0
        V = resolvent(model, pi, r[s, greedy])
        if not V.sum() > best:
            return Q
        best, Q = V.sum(), backup(model, r, V)
        greedy = np.where(Q.max(1) > Q[s, greedy], Q.argmax(1), greedy)


def backup(model: TabularMDP, r: np.ndarray, V: np.ndarray) -> np.ndarray:
    """r + gamma P V, (S, A)."""
    return r + model.gamma * (model.P @ V).reshape(r.shape)


def resolvent(model: TabularMDP, pi: np.ndarray, b: np.ndarray, *, adjoint: bool = False) -> np.ndarray:
    """x = (I - gamma P_pi)^{-1} b, or with its transpose: dense to 2000 states; sparse beyond, or if stored so."""
    if model.is_sparse or model.S > LARGEST_DENSE:
        import scipy.sparse as sp
        from scipy.sparse.linalg import spsolve

        M = sp.eye_array(model.S) - model.gamma * sparse_chain(model, pi)
        return spsolve((M.T if adjoint else M).tocsc(), b)
    M = np.eye(model.S) - model.gamma * np.einsum("sat,sa->st", model.P, pi)
    return np.linalg.solve(M.T if adjoint else M, b)


def sparse_chain(model: TabularMDP, pi: np.ndarray) -> Any:
    """P_pi (S, S) of a discounted model, a scipy array with an entry for each edge."""
    import scipy.sparse as sp

    ptr, col, val = model.rows
    row = np.repeat(np.arange(model.S * model.A), np.diff(ptr))
    chosen = pi.ravel()[row] > 0
    return sp.csr_array((pi.ravel()[row[chosen]] * val[chosen], (row[chosen] // model.A, col[chosen])),
                        shape=(model.S, model.S))
