"""Chains with known values: deterministic, n-chain, RiverSwim, Haddad-Monmege, cycle.

Most have two actions, 0 back (left) and 1 on (right), and states numbered from left to right; the two processes
without a choice have one action. Every builder has a function beside it that returns the known answer.
"""

from __future__ import annotations

import numpy as np

from mdpkit import validate
from mdpkit.models.tabular import EpisodicMDP, TabularMDP


def chain(S: int, gamma: float) -> TabularMDP:
    """Deterministic chain: left to max(s-1, 0), right to min(s+1, S-1); right in the last state pays 1.

    Starts in state 0. The known answer is `chain_value`.
    """
    S = validate.count("S", S)
    P, r = np.zeros((S, 2, S)), np.zeros((S, 2))
    s = np.arange(S)
    P[s, 0, np.maximum(s - 1, 0)] = 1.0
    P[s, 1, np.minimum(s + 1, S - 1)] = 1.0
    r[S - 1, 1] = 1.0
    return TabularMDP(P, r, gamma, _first(S))


def chain_value(S: int, gamma: float) -> np.ndarray:
    """V* (S,) of `chain`: gamma**(S-1-s) / (1-gamma), always right."""
    return gamma ** np.arange(S - 1, -1, -1) / (1.0 - gamma)


def nchain(S: int = 5, slip: float = 0.2, small: float = 2.0, large: float = 10.0, gamma: float = 0.99) -> TabularMDP:
    """The chain of Dearden, Friedman and Russell (1998), as in Strehl and Littman (2008).

    Action 1 goes on, and in the last state stays and pays ``large``; action 0 returns to state 0 and pays ``small``.
    With probability ``slip`` the other action's move and payment happen. Rewards are the means over the slip.

    Parameters
    ----------
    S : int, >= 1
    slip : float in [0, 1]
    small, large : float
    gamma : float in [0, 1)
    """
    S, slip = validate.count("S", S), validate.interval("slip", slip, 0.0, 1.0)
    small, large = validate.real("small", small), validate.real("large", large)
    P, pays = np.zeros((S, 2, S)), np.zeros((S, 2))
    s = np.arange(S)
    P[s, 0, 0] = 1.0
    P[s, 1, np.minimum(s + 1, S - 1)] = 1.0
    pays[:, 0], pays[S - 1, 1] = small, large
    mix = lambda x: (1.0 - slip) * x + slip * x[:, ::-1]
    return TabularMDP(mix(P), mix(pays), gamma, _first(S))


def nchain_value(S: int = 5, slip: float = 0.2, small: float = 2.0, large: float = 10.0,
                 gamma: float = 0.99) -> np.ndarray:
    """Value (S,) of always going on in `nchain`, which is V* at the defaults.

    With p = 1 - slip and q = p gamma: V(0) = (q**(S-1) p large + slip small) / (1-gamma) and
    V(s) = V(0) + (q**(S-1-s) - q**(S-1)) p large / (1-q). At gamma -> 1 the gain is p**S large + slip small,
    3.6768 at the defaults.
    """
    p = 1.0 - slip
    q = p * gamma
    V0 = (q ** (S - 1) * p * large + slip * small) / (1.0 - gamma)
    return V0 + (q ** np.arange(S - 1, -1, -1) - q ** (S - 1)) * p * large / (1.0 - q)


def riverswim(S: int = 6, gamma: float = 0.99) -> TabularMDP:
    """RiverSwim (Strehl and Littman 2008), with the probabilities of Osband, Russo and Van Roy (2013).

    Left (0) is sure and pays 0.005 in state 0. Right (1): state 0 moves with 0.6 and stays with 0.4; a state between
    moves with 0.35, stays with 0.6, is swept left with 0.05; the last stays with 0.6, is swept left with 0.4 and
    pays 1. Starts in state 0. The known answer is `riverswim_gain`.

    Parameters
    ----------
    S : int, >= 2
    gamma : float in [0, 1)
    """
    return TabularMDP(*_river(S), gamma, _first(S))


def riverswim_episodic(S: int = 6, H: int = 20) -> EpisodicMDP:
    """`riverswim` over H steps, the same at each."""
    return EpisodicMDP.stationary(*_river(S), _first(S), H)


def riverswim_gain(S: int = 6) -> float:
    """Average reward of always swimming right, the best of any policy.

    Detailed balance gives the stationary law 1 : 12 : 12*7 : .. : 12*7**(S-3) : 1.5*7**(S-2), so the gain is
    1.5*7**(S-2) / (3.5*7**(S-2) - 1).
    """
    x = 7.0 ** (S - 2)
    return 1.5 * x / (3.5 * x - 1.0)


def _river(S: int) -> tuple[np.ndarray, np.ndarray]:
    S = validate.count("S", S, 2)
    P, r = np.zeros((S, 2, S)), np.zeros((S, 2))
    s = np.arange(S)
    P[s, 0, np.maximum(s - 1, 0)] = 1.0
    P[0, 1, :2] = 0.4, 0.6
    P[s[1:-1], 1, s[:-2]] = 0.05
    P[s[1:-1], 1, s[1:-1]] = 0.6
    P[s[1:-1], 1, s[2:]] = 0.35
    P[S - 1, 1, S - 2:] = 0.4, 0.6
    r[0, 0], r[S - 1, 1] = 0.005, 1.0
    return P, r


def haddad_monmege(n: int, gamma: float) -> TabularMDP:
    """The chain on which stopping value iteration at a small change goes wrong (Haddad and Monmege 2014).

    2n+1 states -n..n, stored as i + n; one action. From the centre one step to either side, each with 1/2; from
    another inner state outwards with 1/2, else back to the centre; -n and n absorb. Entering n pays 1. All numbers
    are dyadic. Without discount V(centre) = 1/2, yet the k-th backup from 0 moves no state by more than
    2**-min(k, n) and leaves the centre at most at k 2**-n: the change is tiny long before the value is right.
    """
    P, r = _two_sided(n)
    return TabularMDP(P, r, gamma, np.eye(2 * n + 1)[n])


def haddad_monmege_episodic(n: int, H: int) -> EpisodicMDP:
    """`haddad_monmege` over H steps; its values are the iterates of value iteration from 0 without discount."""
    P, r = _two_sided(n)
    return EpisodicMDP.stationary(P, r, np.eye(2 * n + 1)[n], H)


def haddad_monmege_value(n: int, gamma: float = 1.0) -> np.ndarray:
    """V (2n+1,) of `haddad_monmege`, also at gamma = 1, where ``V(i) = 1/2 + sign(i) 2**-(n-|i|) / 2`` inside.

    With q = gamma/2 and x = V(centre) = q**n / (gamma (1 - 2 q**2 (1 - q**(n-1))/(1-q))): a state i >= 1 has
    V = q**(n-i) / gamma + x q (1 - q**(n-i)) / (1-q), a state i <= -1 the second term only; the ends have 0.
    """
    q = gamma / 2
    x = q**n / (gamma * (1.0 - 2 * q * q * (1.0 - q ** (n - 1)) / (1.0 - q))) if gamma > 0 else float(n == 1) / 2
    i = np.arange(-n, n + 1)
    left = np.abs(n - np.abs(i))
    back = x * q * (1.0 - q**left) / (1.0 - q)
    direct = q ** np.maximum(left - 1, 0) / 2
    out = back + np.where(i > 0, direct, 0.0)
    out[n], out[0], out[-1] = x, 0.0, 0.0
    return out


def _two_sided(n: int) -> tuple[np.ndarray, np.ndarray]:
    n = validate.count("n", n)
    S = 2 * n + 1
    P, r = np.zeros((S, 1, S)), np.zeros((S, 1))
    for i in range(1, n):
        for s, out in ((n + i, n + i + 1), (n - i, n - i - 1)):
            P[s, 0, out] = P[s, 0, n] = 0.5
    P[n, 0, n - 1] = P[n, 0, n + 1] = 0.5
    P[0, 0, 0] = P[S - 1, 0, S - 1] = 1.0
    r[S - 2, 0] = 0.5
    return P, r


def cycle(S: int, gamma: float) -> TabularMDP:
    """The periodic cycle s -> s+1 mod S with one action; state 0 pays 1. Value iteration without discount oscillates.

    The known answers are `cycle_value` and the gain 1/S.
    """
    S = validate.count("S", S)
    return TabularMDP(np.roll(np.eye(S), 1, axis=1)[:, None], np.eye(S)[:, :1], gamma, _first(S))


def cycle_value(S: int, gamma: float) -> np.ndarray:
    """V (S,) of `cycle`: gamma**((S-s) mod S) / (1 - gamma**S)."""
    return gamma ** (-np.arange(S) % S) / (1.0 - gamma**S)


def _first(S: int) -> np.ndarray:
    rho = np.zeros(S)
    rho[0] = 1.0
    return rho
