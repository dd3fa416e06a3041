"""Matching a law over states after one step: the policy of least L1 distance, by a linear programme and its dual."""

from __future__ import annotations

from typing import Any

import numpy as np

from mdpkit import validate


def by_program(P: np.ndarray, m: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The policy (S, A) of least |sum_{s,a} m(s) pi(a|s) P(.|s, a) - target|_1, and its dual g (S,)."""
    from scipy.optimize import linprog

    S, A = P.shape[:2]
    push = (m[:, None, None] * P).reshape(S * A, S).T
    # pi and the two parts of the difference: push pi - target = plus - minus
    equal = np.block([[push, -np.eye(S), np.eye(S)], [np.kron(np.eye(S), np.ones(A)), np.zeros((S, 2 * S))]])
    cost, right = np.append(np.zeros(S * A), np.ones(2 * S)), np.append(target, np.ones(S))
    answer = linprog(cost, A_eq=equal, b_eq=right, method="highs-ds")
    pi = np.maximum(answer.x[: S * A].reshape(S, A), 0.0)
    g = -np.clip(answer.eqlin.marginals[:S], -1.0, 1.0)
    return validate.simplex("pi", pi / pi.sum(-1, keepdims=True), (S, A), flush=True), g


def least_distance(P: np.ndarray, m: np.ndarray, target: np.ndarray, g: np.ndarray) -> Any:
    """A lower bound on that minimum from any g in [-1, 1]: sum_s m(s) min_a E[g(s')|s, a] - <target, g>."""
    return (m * (P @ g).min(-1)).sum() - (target * g).sum()
