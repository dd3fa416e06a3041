"""Families behind lower bounds, with the constants that are proven for them, and instances on which a bound is tight.

A learner's regret, averaged or maximised over a family, exceeds the stated bound; on a tight instance a lemma holds
with equality or nearly so.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from mdpkit import validate
from mdpkit.errors import MdpkitError
from mdpkit.models.bandits import Bandit
from mdpkit.models.tabular import EpisodicMDP, TabularMDP


def bernoulli_family(A: int, gap: float) -> list[Bandit]:
    """The A bandits in which one arm has mean 1/2 + gap and every other 1/2.

    Parameters
    ----------
    A : int, >= 2
    gap : float in [0, 1/2]
        `minimax_gap` makes the family hard for T rounds.
    """
    A, gap = validate.count("A", A, 2), validate.interval("gap", gap, 0.0, 0.5)
    return [Bandit(0.5 + gap * np.eye(A)[best]) for best in range(A)]


def minimax_gap(A: int, T: int) -> float:
    """min(sqrt(A/T), 1) / 4."""
    return min(math.sqrt(A / T), 1.0) / 4


def minimax_regret(A: int, T: int) -> float:
    """min(sqrt(A T), T) / 20: any learner's regret, averaged over `bernoulli_family` at `minimax_gap`, is at least it.

    References
    ----------
    Auer, Cesa-Bianchi, Freund and Schapire (2002), theorem 5.1.
    """
    return min(math.sqrt(A * T), float(T)) / 20


def lai_robbins(mu: Any) -> float:
    """sum over worse arms of gap / kl(mu_j, mu*), Bernoulli arms.

    A learner whose regret is o(T**a) for every a > 0 on all Bernoulli bandits has liminf regret / log T at least this
    (Lai and Robbins 1985). Infinite-kl arms (mu* = 1) cost nothing.

    Parameters
    ----------
    mu : array (A,)
        Means in [0, 1].
    """
    means = validate.within("mu", validate.array("mu", mu, ("A",)), 0.0, 1.0).tolist()
    best = max(means)
    return sum((best - x) / _kl(x, best) for x in means if x < best and best < 1.0)


def jao(A: int, delta: float, epsilon: float, gamma: float, best: int = 0) -> TabularMDP:
    """Two states; state 1 pays 1, state 0 nothing (Jaksch, Ortner and Auer 2010, figure 3).

    From state 1 every action falls to state 0 with probability delta; from state 0 action ``best`` climbs with
    delta + epsilon, any other with delta. The known answers are `jao_gain` and `jao_value`. The larger family glues
    S/2 copies together at their states 0, `jao_regret` is its bound.

    Parameters
    ----------
    A : int
    delta, epsilon : float
        0 < delta, 0 <= epsilon, delta + epsilon <= 1.
    gamma : float in [0, 1)
    best : int
    """
    A, best = validate.count("A", A), validate.count("best", best, 0, A - 1)
    delta = validate.interval("delta", delta, 0.0, 1.0, open_lo=True)
    epsilon = validate.interval("epsilon", epsilon, 0.0, 1.0 - delta)
    up = np.full(A, delta)
    up[best] += epsilon
    P = np.empty((2, A, 2))
    P[0, :, 1], P[0, :, 0] = up, 1.0 - up
    P[1, :, 0], P[1, :, 1] = delta, 1.0 - delta
    return TabularMDP(P, np.repeat([[0.0], [1.0]], A, axis=1), gamma, [1.0, 0.0])


def jao_gain(delta: float, epsilon: float) -> float:
    """Best average reward of `jao`, (delta + epsilon) / (2 delta + epsilon); never playing ``best`` gives 1/2."""
    return (delta + epsilon) / (2 * delta + epsilon)


def jao_value(delta: float, epsilon: float, gamma: float) -> np.ndarray:
    """V* (2,) of `jao`: V(1) - V(0) = D = 1 / (1 - gamma (1 - 2 delta - epsilon)) and
    V(0) = gamma (delta + epsilon) D / (1-gamma).
    """
    span = 1.0 / (1.0 - gamma * (1.0 - 2 * delta - epsilon))
    low = gamma * (delta + epsilon) * span / (1.0 - gamma)
    return np.array([low, low + span])


def jao_regret(S: int, A: int, D: float, T: int) -> float:
    """0.015 sqrt(D S A T): some MDP with S states, A actions and diameter D costs any learner this in expectation.

    For S, A >= 10, D >= 20 log_A S and T >= D S A (Jaksch, Ortner and Auer 2010, theorem 5).

    Raises
    ------
    MdpkitError
        The sizes are outside the theorem.
    """
    if S < 10 or A < 10 or 20 * math.log(S, A) > D or T < D * S * A:
        raise MdpkitError("(S, A, D, T)", "S, A >= 10, D >= 20 log_A S and T >= D S A", (S, A, D, T))
    return 0.015 * math.sqrt(D * S * A * T)


def hard_tree(A: int, d: int, H: int, wait: int, h: int, leaf: int, action: int, epsilon: float) -> EpisodicMDP:
    """The episodic family of Domingues, Menard, Kaufmann and Valko (2021): wait, climb a tree, try one leaf's action.

    States: 0 waits (the start), 1.. is the complete A-ary tree of d levels in breadth-first order (root 1, the last
    A**(d-1) are the leaves), then good, then bad, both absorbing; S = 3 + (A**d - 1)/(A - 1). Steps count from 0.
    In state 0 action 0 stays at steps before ``wait``, anything else enters the root. A leaf leads to good or bad,
    1/2 each, but to good with 1/2 + epsilon for the one triple (h, leaf, action). Good pays 1 from step wait + d on.
    The known answer is `hard_tree_value`: leave at step h - d, climb to ``leaf``, play ``action``.

    Parameters
    ----------
    A, d : int, >= 2 and >= 1
    H, wait : int
        wait >= 1 and H > wait + d.
    h : int
        Special step, d <= h < d + wait.
    leaf : int
        Special leaf, from 0 to A**(d-1) - 1.
    action : int
    epsilon : float in [0, 1/2]
    """
    A, d, wait = validate.count("A", A, 2), validate.count("d", d), validate.count("wait", wait)
    H, h = validate.count("H", H, wait + d + 1), validate.count("h", h, d, d + wait - 1)
    leaf, action = validate.count("leaf", leaf, 0, A ** (d - 1) - 1), validate.count("action", action, 0, A - 1)
    epsilon = validate.interval("epsilon", epsilon, 0.0, 0.5)
    nodes = (A**d - 1) // (A - 1)
    good, bad, inner = nodes + 1, nodes + 2, nodes - A ** (d - 1)
    P, r = np.zeros((H, nodes + 3, A, nodes + 3)), np.zeros((H, nodes + 3, A))
    P[:, 0, :, 1] = 1.0
    P[:wait, 0, 0] = np.eye(nodes + 3)[0]
    for k in range(inner):
        P[:, 1 + k, np.arange(A), 2 + A * k + np.arange(A)] = 1.0
    P[:, 1 + inner: 1 + nodes, :, good] = P[:, 1 + inner: 1 + nodes, :, bad] = 0.5
    P[h, 1 + inner + leaf, action, good:] = 0.5 + epsilon, 0.5 - epsilon
    P[:, good, :, good] = P[:, bad, :, bad] = 1.0
    r[wait + d:, good] = 1.0
    return EpisodicMDP(P, r, np.eye(nodes + 3)[0])


def hard_tree_value(d: int, H: int, wait: int, epsilon: float) -> float:
    """V* of `hard_tree` at its start: (H - wait - d) (1/2 + epsilon); with a wrong triple epsilon is lost."""
    return (H - wait - d) * (0.5 + epsilon)


def hard_tree_regret(S: int, A: int, H: int, T: int) -> float:
    """sqrt(H**3 S A T) / (48 sqrt(6)): some member of the family costs any learner this in T episodes.

    For S = 3 + (A**d - 1)/(A - 1) >= 6 with an integer d, H >= 3 d and T >= H S A, at wait = H/3 (Domingues et al.
    2021, theorem 9).

    Raises
    ------
    MdpkitError
        S is no such tree or the sizes are outside the theorem.
    """
    d = next((d for d in range(1, 64) if 3 + (A**d - 1) // (A - 1) >= S), 64) if A >= 2 else 0
    if S < 6 or d == 0 or 3 + (A**d - 1) // (A - 1) != S or 3 * d > H or T < H * S * A:
        raise MdpkitError("(S, A, H, T)", "S = 3 + (A**d - 1)/(A - 1) >= 6, A >= 2, H >= 3 d and T >= H S A",
                          (S, A, H, T))
    return math.sqrt(H**3 * S * A * T) / (48 * math.sqrt(6))


def greedy_loss(gamma: float = 0.875, epsilon: float = 2.0**-7) -> TabularMDP:
    """Two states on which the greedy-loss bound ``2 gamma |V - V*| / (1 - gamma)`` is attained.

    State 1 stays and pays 1. In state 0 action 0 stays and pays gamma (1 - 2 epsilon), action 1 goes to state 1 and
    pays nothing. V* = (gamma, 1) / (1 - gamma). At V = V* + (epsilon, -epsilon) the actions tie; action 0 then loses
    2 gamma epsilon / (1 - gamma). At the defaults all numbers are dyadic, so the tie is exact.
    """
    gamma = validate.interval("gamma", gamma, 0.0, 1.0, open_hi=True)
    epsilon = validate.interval("epsilon", epsilon, 0.0, 0.5)
    P = np.zeros((2, 2, 2))
    P[0, 0, 0] = P[0, 1, 1] = 1.0
    P[1, :, 1] = 1.0
    return TabularMDP(P, [[gamma * (1.0 - 2 * epsilon), 0.0], [1.0, 1.0]], gamma, [1.0, 0.0])


def greedy_loss_estimate(gamma: float = 0.875, epsilon: float = 2.0**-7) -> np.ndarray:
    """The misleading V (2,) of `greedy_loss`, V* + (epsilon, -epsilon)."""
    return np.array([gamma / (1.0 - gamma) + epsilon, 1.0 / (1.0 - gamma) - epsilon])


def leaking(leak: float, gamma: float = 0.9) -> TabularMDP:
    """One action; state 0 pays 1 and leaks into the absorbing, unpaid state 1 with probability ``leak``.

    V(0) = 1 / (1 - gamma (1 - leak)). Taken as the estimate of ``leaking(0)``, its error comes near to the bound
    ``gamma |Phat - P|_1 / (2 (1-gamma)**2) = gamma leak / (1-gamma)**2`` of the simulation lemma: at leak 0.01, gamma
    0.9 the error is 0.82569 against 0.9.
    """
    leak = validate.interval("leak", leak, 0.0, 1.0)
    return TabularMDP([[[1.0 - leak, leak]], [[0.0, 1.0]]], [[1.0], [0.0]], gamma, [1.0, 0.0])


def _kl(p: float, q: float) -> float:
    terms = ((p, q), (1.0 - p, 1.0 - q))
    return sum(x * math.log(x / y) for x, y in terms if x > 0)
