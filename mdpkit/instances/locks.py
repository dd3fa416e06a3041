"""Combination locks: one action a step is right, and a uniform explorer needs A**H episodes to see the end.

The right action of step h is (2h+1) mod A wherever no code is asked for.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from mdpkit import validate
from mdpkit.models.tabular import EpisodicMDP, TabularMDP


def lock_code(H: int, A: int) -> np.ndarray:
    """The right actions (H,) int64: (2h+1) mod A."""
    return (2 * np.arange(validate.count("H", H)) + 1) % validate.count("A", A)


def combination_lock(H: int, A: int, code: Any = None) -> EpisodicMDP:
    """Deterministic lock with two states: 0 good (the start), 1 fallen, absorbing.

    ``code[h]`` in the good state stays there, any other action falls; the right last action pays 1, all else 0.
    V* = 1, and the value of the uniform policy is A**-H.

    Parameters
    ----------
    H, A : int
    code : int array (H,), optional
        The right actions; `lock_code` where omitted.
    """
    code = _code(H, A, code)
    h = np.arange(H)
    P, r = np.zeros((H, 2, A, 2)), np.zeros((H, 2, A))
    P[:, :, :, 1] = 1.0
    P[h, 0, code] = 1.0, 0.0
    r[H - 1, 0, code[-1]] = 1.0
    return EpisodicMDP(P, r, np.array([1.0, 0.0]))


def discounted_lock(L: int, A: int, gamma: float) -> TabularMDP:
    """The lock as a discounted chain: states 0..L-1, then L (absorbing, pays 1 a step) and L+1 (trap, pays 0).

    The right action (2i+1) mod A of state i leads to i+1, any other into the trap. Starts in state 0. The known
    answer is `discounted_lock_value`.
    """
    code = lock_code(L, A)
    i = np.arange(L)
    P, r = np.zeros((L + 2, A, L + 2)), np.zeros((L + 2, A))
    P[:L, :, L + 1] = 1.0
    P[i, code, L + 1], P[i, code, i + 1] = 0.0, 1.0
    P[L, :, L] = P[L + 1, :, L + 1] = 1.0
    r[L] = 1.0
    return TabularMDP(P, r, gamma, np.eye(L + 2)[0])


def discounted_lock_value(L: int, gamma: float) -> np.ndarray:
    """V* (L+2,) of `discounted_lock`: gamma**(L-i)/(1-gamma) for i <= L, 0 in the trap."""
    return np.append(gamma ** np.arange(L, -1, -1) / (1.0 - gamma), 0.0)


def lucky_traps(H: int, A: int) -> EpisodicMDP:
    """The lock with lucky traps L(H, A): wrong turns pay often enough to fool a learner with little data.

    States: 0 is good (the start); ``1 + h (A-1) + j`` is the trap behind the j-th wrong action (counted from 0,
    the right one left out) of step h; S = 1 + H (A-1). The right action keeps the good state, any other leads to
    its own trap, which absorbs. Only the last step pays, by Bernoulli draws: mean 0.8 for the right action in the
    good state, 0.3 for everything else. Hence V* = 0.8, and any deterministic mistake on the way costs 0.5.

    References
    ----------
    Built for the separation of hybrid, offline and online Q-learning (Song et al. 2023, arXiv 2210.06718).
    """
    code = lock_code(H, A)
    S = 1 + H * (A - 1)
    P, r = np.zeros((H, S, A, S)), np.zeros((H, S, A))
    trap = np.arange(1, S)
    P[:, trap, :, trap] = 1.0
    for h in range(H):
        wrong = np.delete(np.arange(A), code[h])
        P[h, 0, code[h], 0] = 1.0
        P[h, 0, wrong, 1 + h * (A - 1) + np.arange(A - 1)] = 1.0
    r[H - 1] = 0.3
    r[H - 1, 0, code[-1]] = 0.8
    return EpisodicMDP(P, r, np.eye(S)[0], "bernoulli")


LUCKY_VALUE = 0.8      # V* of `lucky_traps`, whatever H and A


def lucky_behaviour(H: int, A: int) -> list[tuple[float, np.ndarray]]:
    """Offline behaviour for `lucky_traps`: ``[(weight, policy (H, S, A)), ..]``, one policy drawn an episode.

    With 1/2 the right action in the good state and uniform elsewhere, with 1/2 uniform everywhere. A policy alone
    reaches value 0.8 or 0.3 + A**-H / 2.
    """
    code = lock_code(H, A)
    uniform = np.full((H, 1 + H * (A - 1), A), 1.0 / A)
    guided = uniform.copy()
    guided[:, 0] = np.eye(A)[code]
    return [(0.5, guided), (0.5, uniform)]


def _code(H: int, A: int, code: Any) -> np.ndarray:
    default = lock_code(H, A)
    if code is None:
        return default
    return validate.within("code", validate.array("code", code, (H,), integer=True), 0, A - 1)
