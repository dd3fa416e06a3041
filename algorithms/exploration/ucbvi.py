"""UCBVI: value iteration on counts with upper confidence bonuses, Chernoff-Hoeffding (CH) or Bernstein-Freedman (BF).

Episodic MDP, H steps, one kernel P (S, A, S) for all of them; r in [0, 1] is known and deterministic, P is not. N(s, a)
and N(s, a, y) count over all steps, N'_h(y) counts arrivals in y at step h, T = K H, L = ln(5 S A T/delta).

     1  Q_h(s, a) = H for all h, s, a
     2  for k = 1..K:
     3      play greedily in Q (lowest index on ties); count
     4      V_{H+1} = 0;  for h = H..1, for all (s, a) with N(s, a) > 0, Phat = N(s, a, .)/N(s, a):
     5          b = 7 H L sqrt(1/N(s, a))                                                        (CH)
     6          D = sum_y Phat(y) min(100^2 H^3 S^2 A L^2/N'_{h+1}(y), H^2)                      (BF)
     7          b = sqrt(8 L Var_{y ~ Phat}(V_{h+1}(y))/N) + 14 H L/(3 N) + sqrt(8 D/N)          (BF)
     8          Q_h(s, a) = min( Q_h(s, a), H, r(s, a) + Phat V_{h+1} + b )
     9      V_h(s) = max_a Q_h(s, a)

The code lowers Q only where line 8 can: at pairs whose count changed, and at those seen to lead to a state whose V or
D changed, but where b >= H. Full replanning gives the same bits.

Where P changes with the step (`run_stepwise`, `run_stepwise_bf`), the H S pairs (h, s) are the states of a stationary
MDP: counts are kept for each step, and S is H S in L, in D and in the bounds. That follows from the theorems.

Guarantee (Theorems 1 and 2; BF tight up to logarithms where T >= H^3 S^3 A, S A >= H), with probability 1 - delta:
    CH: Regret(K) <= 20 H^1.5 L sqrt(SAK) + 250 H^2 S^2 A L^2
    BF: Regret(K) <= 30 H L sqrt(SAK) + 2500 H^2 S^2 A L^2 + 4 H^1.5 sqrt(KL)
Bonuses and constants as recalled: the wording of the paper was not at hand when this was written.

Azar, Osband, Munos. Minimax Regret Bounds for Reinforcement Learning. ICML 2017, arXiv 1703.05449, Algorithms 1 to 4.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from mdpkit import rational, validate
from mdpkit.access import Episodes
from mdpkit.concentration import ucbvi_bernstein, ucbvi_distrust, ucbvi_hoeffding, ucbvi_log
from mdpkit.instances.chains import riverswim_episodic
from mdpkit.jit import kernel
from mdpkit.kernels.copy import copy
from mdpkit.kernels.tally import add, empty
from mdpkit.records import Paper, Result
from mdpkit.worlds.markov import start, step

PAPER = Paper(
    "ucbvi", "Minimax Regret Bounds for Reinforcement Learning",
    "Mohammad Gheshlaghi Azar, Ian Osband, Rémi Munos", "ICML 2017", "1703.05449",
    ("episodic", "exploration", "tabular", "optimism", "baseline"),
    """@inproceedings{azar2017minimax,
  title     = {Minimax Regret Bounds for Reinforcement Learning},
  author    = {Azar, Mohammad Gheshlaghi and Osband, Ian and Munos, R{\\'e}mi},
  booktitle = {International Conference on Machine Learning},
  year      = {2017}
}""")


@dataclass(frozen=True)
class Params:
    """K episodes, confidence delta, a factor c of the bonus (the paper's is 1); whether the log keeps Q_k and N_k."""

    K: int
    delta: float
    c: float = 1.0
    keep: bool = False


class Log(NamedTuple):
    """One row an episode: the policy played, and where kept the Q it is greedy in and the counts behind it."""

    policy: np.ndarray      # (H, S)
    Q: np.ndarray           # (H, S, A), or (0, S, A)
    N: np.ndarray           # (W, S, A), or (0, S, A); W = 1, or H for counts of each step


class Memory(NamedTuple):
    """What lasts between episodes, besides the counts."""

    arrivals: np.ndarray    # (H+1, S) N'
    D: np.ndarray           # (H+1, S) the minimum in line 6, by successor
    b: np.ndarray           # (W, S, A) line 5
    r: np.ndarray           # (H, S, A)
    Q: np.ndarray           # (H, S, A)
    V: np.ndarray           # (H+1, S)
    policy: np.ndarray      # (H, S)
    path: np.ndarray        # (H+1,) the states of the episode
    stamp: np.ndarray       # (S*A,) the round of listing that a pair s*A + a was listed in last
    touched: np.ndarray     # (S*A,) pairs whose count changed
    pairs: np.ndarray       # (S*A,) pairs to back up
    changed: np.ndarray     # (S*A + 1,) states whose V or D changed, perhaps more than once


class Rule(NamedTuple):
    """Which bonus, and its constants."""

    bernstein: bool
    each: int               # 1 for counts of each step, 0 for pooled ones
    S: float                # S, or H S
    L: float
    c: float


def theory(K: int, delta: float) -> Params:
    """Theorems 1 and 2: nothing is free but K and delta."""
    return Params(validate.count("K", K), validate.interval("delta", delta, 0.0, 1.0, open_lo=True, open_hi=True))


def run(access: Episodes, params: Params, rng: np.random.Generator) -> Result:
    """UCBVI-CH, for one kernel at all steps.

    Parameters
    ----------
    access : Episodes
        With the rewards granted: ``Episodes(model, rng, grant=("r",))``.
    params : Params
    rng : numpy.random.Generator
        Not used.

    ``output`` is Q (H, S, A) after the last episode; with ``params.keep`` the trace has Q_k and N_k (1, S, A).
    """
    return _learn(access, params, rng, False, False)


def run_bf(access: Episodes, params: Params, rng: np.random.Generator) -> Result:
    """UCBVI-BF. Otherwise as `run`."""
    return _learn(access, params, rng, True, False)


def run_stepwise(access: Episodes, params: Params, rng: np.random.Generator) -> Result:
    """UCBVI-CH where the kernel may change with the step: counts N (H, S, A). Otherwise as `run`."""
    return _learn(access, params, rng, False, True)


def run_stepwise_bf(access: Episodes, params: Params, rng: np.random.Generator) -> Result:
    """UCBVI-BF where the kernel may change with the step. Otherwise as `run_stepwise`."""
    return _learn(access, params, rng, True, True)


def bonuses(P_hat: np.ndarray, V: np.ndarray, n: float, arrivals: np.ndarray, S: int, A: int, H: int, K: int,
            delta: float) -> tuple[float, float]:
    """Both bonuses of a pair (lines 5 to 7) from its empirical law and the next values, P_hat and V (S,), its count
    n >= 1 and the ``arrivals`` N'_{h+1} (S,).
    """
    L = ucbvi_log(S, A, K * H, delta)
    D = sum(p * ucbvi_distrust(float(m), H, S, A, L) for p, m in zip(P_hat, arrivals))                      # 6
    mean = sum(p * v for p, v in zip(P_hat, V))
    variance = sum(p * ((v - mean) * (v - mean)) for p, v in zip(P_hat, V))
    return ucbvi_hoeffding(n, H, L), ucbvi_bernstein(n, variance, D, H, L)                                  # 5, 7


def optimistic(P: np.ndarray, r: np.ndarray, n: float, H: int, K: int, delta: float) -> np.ndarray:
    """V (H+1, S) of one pass of lines 4 to 9 (CH) with Phat = P (S, A, S) and N = n at all pairs, in floats or
    rationals; the bonus is a float, read as the rational that it is.
    """
    S, A = r.shape
    b: Any = ucbvi_hoeffding(n, H, ucbvi_log(S, A, K * H, delta))                           # 5
    b = rational.rational(b) if rational.is_exact(P) else b
    V = rational.zeros((H + 1, S), P)
    for h in range(H - 1, -1, -1):
        V[h] = np.minimum(H, r + P @ V[h + 1] + b).max(-1)                                  # 8, 9
    return V


def decomposition(P: np.ndarray, r: np.ndarray, rho: np.ndarray, Q: np.ndarray) -> tuple[Any, Any]:
    """V_1(rho) - V^pi_1(rho) for the greedy pi, and sum_h E_{d^pi_h}[Q_h - r_h - P_h V_{h+1}], which equals it.

    P (H, S, A, S), r (H, S, A), rho (S,), Q (H, S, A), floats or rationals.
    """
    H, S, _ = r.shape
    pi, s = Q.argmax(-1), np.arange(S)
    V, mine = rational.zeros((H + 1, S), Q), rational.zeros((H + 1, S), Q)
    V[:H] = Q.max(-1)
    r_pi, P_pi = (np.stack([x[h, s, pi[h]] for h in range(H)]) for x in (r, P))
    for h in range(H - 1, -1, -1):
        mine[h] = r_pi[h] + P_pi[h] @ mine[h + 1]
    here, total = rho, 0
    for h in range(H):
        total, here = total + here @ (V[h] - r_pi[h] - P_pi[h] @ V[h + 1]), here @ P_pi[h]
    return rho @ (V[0] - mine[0]), total


def pigeonhole(N: np.ndarray, H: int) -> tuple[float, float]:
    """sum of 1/sqrt(N_k(s_h, a_h)) over all (k, h) with N_k(s_h, a_h) >= H, and its bound 2 sqrt(2 S A K H).

    N (K+1, S, A) are the counts before each episode, and at last.
    """
    new, old = np.diff(N, axis=0), np.maximum(N[:-1], 1)
    return float((new * (old >= H) / np.sqrt(old)).sum()), 2 * math.sqrt(2.0 * old.size * H)


def demo(rng: np.random.Generator) -> Result:
    """UCBVI-BF with a hundredth of the bonus on RiverSwim, H = 5, for 60 episodes."""
    return run_bf(Episodes(riverswim_episodic(4, 5), rng, grant=("r",)), Params(60, 0.1, c=0.01, keep=True), rng)


def _learn(access: Episodes, params: Params, rng: np.random.Generator, bernstein: bool, each: bool) -> Result:
    validate.instance("access", access, Episodes)
    validate.instance("params", params, Params)
    r = validate.within("access.known.r", access.known.r, 0.0, 1.0)     # Paper: r is the same at all steps
    H, S, A = r.shape
    W, states = (H, H * S) if each else (1, S)
    c = validate.interval("params.c", params.c, 0.0, math.inf, open_hi=True)
    rule = Rule(bernstein, int(each), float(states), ucbvi_log(states, A, params.K * H, params.delta), c)
    V = np.repeat([[H] * S, [0.0] * S], (H, 1), axis=0)
    mind = Memory(np.zeros((H + 1, S)), np.full((H + 1, S), 1.0 * H * H), np.full((W, S, A), math.inf), r,
                  np.full(r.shape, float(H)), V, np.zeros((H, S), np.int64),             # 1
                  *(np.full(n, -1) for n in (H + 1, S * A, S * A, S * A, S * A + 1)))
    counts, kept = empty(W, S, A), None if params.keep else 0
    log = Log(mind.policy, mind.Q[:kept], counts.visits[:kept])
    trace = access.drive(_loop, (counts, mind, rule), log, params.K, rng)
    return Result(mind.Q, trace, params, access.samples)


def _loop_body(world, counts, mind, rule, log, first, rng):
    policy, path = mind.policy, mind.path
    H = policy.shape[0]
    for k in range(len(log.policy)):                                                   # 2
        copy(log.policy[k], policy)
        if log.Q.shape[1] > 0:
            copy(log.Q[k], mind.Q)
            copy(log.N[k], counts.visits)
        s = start(world)
        for h in range(H):
            path[h] = s
            _, t = step(world, policy[h, s])                                           # 3
            add(counts, h * rule.each, s, policy[h, s], 0.0, t)
            s = t
        path[H] = s
        _replan(counts, mind, rule, (first + k) * (H + 1))


def _replan_body(counts, mind, rule, rounds):
    """Lines 4 to 9 where they can change something. ``rounds``: how many lists were made before.

    One function, put into the loop: handing the arrays over at each step would double its time.
    """
    visits, _, moves, seen, kinds, origins, ways = counts
    arrivals, D, bonus, r, Q, V, policy, path, stamp, touched, pairs, changed = mind
    H, A, n_touched = Q.shape[0], Q.shape[2], 0
    for h in range(H):
        s, w = path[h], h * rule.each
        pair = s * A + policy[h, s]
        arrivals[h + 1, path[h + 1]] += 1.0
        if rule.each == 1 or stamp[pair] != rounds:
            stamp[pair] = rounds
            b = rule.c * ucbvi_hoeffding(visits[w, s, policy[h, s]], 1.0 * H, rule.L)  # 5
            bonus[w, s, policy[h, s]] = b
            if rule.each == 0 and (rule.bernstein or b < H):
                touched[n_touched] = pair
                n_touched += 1
    m = 0
    for h in range(H - 1, -1, -1):                                                     # 4
        w, y, now, n = h * rule.each, path[h + 1], rounds + 1 + h, n_touched
        if rule.bernstein:
            least = ucbvi_distrust(arrivals[h + 1, y], 1.0 * H, rule.S, 1.0 * A, rule.L)   # 6
            if least != D[h + 1, y]:
                D[h + 1, y] = least
                changed[m] = y
                m += 1
        if rule.each == 1:
            touched[0], n = path[h] * A + policy[h, path[h]], 1
        for i in range(n):
            pairs[i] = touched[i]
            stamp[touched[i]] = now
        for i in range(m):
            for j in range(ways[w, changed[i]]):
                pair = origins[w, changed[i], j]
                if stamp[pair] != now:
                    stamp[pair] = now
                    pairs[n] = pair
                    n += 1
        m = 0
        for i in range(n):
            s, a = pairs[i] // A, pairs[i] % A
            N, b = visits[w, s, a], bonus[w, s, a]
            if rule.bernstein:
                b = rule.c * (14.0 * H * rule.L / (3.0 * N))                           # at least that in 7
            if b >= H:
                continue
            total = 0.0
            for j in range(kinds[w, s, a]):
                t = seen[w, s, a, j]
                total += moves[w, s, a, t] * V[h + 1, t]
            mean = total / N
            if rule.bernstein:
                square, doubt = 0.0, 0.0
                for j in range(kinds[w, s, a]):
                    t = seen[w, s, a, j]
                    square += moves[w, s, a, t] * ((V[h + 1, t] - mean) * (V[h + 1, t] - mean))
                    doubt += moves[w, s, a, t] * D[h + 1, t]
                b = rule.c * ucbvi_bernstein(N, square / N, doubt / N, 1.0 * H, rule.L)   # 6, 7
            q = r[h, s, a] + mean + b
            if q < Q[h, s, a]:
                Q[h, s, a] = q                                                         # 8
                if a == policy[h, s]:           # a fall elsewhere moves neither V nor the lowest maximiser
                    best = 0
                    for a in range(1, A):
                        if Q[h, s, a] > Q[h, s, best]:
                            best = a
                    policy[h, s] = best
                    if Q[h, s, best] != V[h, s]:
                        V[h, s] = Q[h, s, best]                                        # 9
                        changed[m] = s
                        m += 1


_replan = kernel(_replan_body, inline=True)
_loop = kernel(_loop_body, checked=False)             # divisors: A, and N of pairs that were played
