"""SQIRL: a few steps of fitted Q-iteration on roll-outs that end at random, one time step after the other.

T steps (0..T-1 here), P (T, S, A, S), rewards R with means r (T, S, A), total reward in [0, 1]. Q^1 is the Q of the
uniformly random policy, Q^{i+1} = QVI(Q^i) with QVI(Q)_t(s, a) = r_t(s, a) + sum_z P_t(z|s, a) max_a' Q_{t+1}(z, a').
A model is k-QVI-solvable if every policy greedy in Q^k is optimal; the gap Delta_k is the least difference between the
best and the best non-greedy action of Q^k; the effective horizon is min over such k of k + log_A(1/Delta_k^2)
(`mdpkit.measure.structure.lookaheads` computes all three in rationals).

SQIRL(k, m):

    1  for i = 0..T-1:
    2      m episodes: follow pi_0..pi_{i-1}, then uniformly random actions to the end
    3      j = min(i + k - 1, T - 1);  Qhat_j(s, a) = mean of sum_{t >= j} R_t over episodes with (s_j, a_j) = (s, a)
    4      for j = j-1 down to i:  Qhat_j(s, a) = mean of R_j + max_a' Qhat_{j+1}(s_{j+1}, a'), again over those
    5      pi_i(s) = argmax_a Qhat_i(s, a)
    6  return pi_0..pi_{T-1}

A pair never seen gets 0. ``fresh`` repeats line 2 for every level of lines 3 and 4, so that the targets do not depend
on the data that they are averaged over. Least squares on features in place of the means: `run_linear`.

Guarantee (Theorem 3.6, recalled up to logarithms): if the model is k-QVI-solvable, and a regression oracle has
complexity D and amplifies errors by at most alpha, SQIRL returns an optimal policy with probability 1 - delta after
O~(k T^3 alpha^{2(k-1)} A^{Hbar_k} D log(1/delta)) steps. For means, derived: it does if ``fresh`` and every pair that
can be reached is seen n >= 2 k^2 Delta_k^-2 log(2 T k S A/delta) times at each level. The exponent of A is tight on
needles: on the tree with L steps whose only reward needs action A-1 at all of them it is found, for every k, with
probability prod_{i < L} (1 - (1 - A^{i-L})^m) exactly (derived).

Laidlaw, Zhu, Russell, Dragan. The Effective Horizon Explains Deep RL Performance in Stochastic Environments. ICLR 2024,
arXiv 2312.08369, Algorithm 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mdpkit import rational, validate
from mdpkit.access import Episodes
from mdpkit.instances.formula import stationary_episodic
from mdpkit.iterate import iterate
from mdpkit.jit import kernel
from mdpkit.kernels.choose import argmax, argmax_random
from mdpkit.kernels.copy import copy
from mdpkit.measure.plain import evaluate
from mdpkit.models.tabular import EpisodicMDP
from mdpkit.records import Paper, Result, Steps, Trace
from mdpkit.worlds.markov import start, step

PAPER = Paper(
    "sqirl", "The Effective Horizon Explains Deep RL Performance in Stochastic Environments",
    "Cassidy Laidlaw, Banghua Zhu, Stuart Russell, Anca Dragan", "ICLR 2024", "2312.08369",
    ("episodic", "planning", "effective horizon", "tabular", "linear"),
    """@inproceedings{laidlaw2024effective,
  title     = {The Effective Horizon Explains Deep {RL} Performance in Stochastic Environments},
  author    = {Laidlaw, Cassidy and Zhu, Banghua and Russell, Stuart and Dragan, Anca},
  booktitle = {International Conference on Learning Representations},
  year      = {2024}
}""")


@dataclass(frozen=True)
class Params:
    """k levels, m episodes a batch; a batch a level (fresh) or an iteration; ties at random or to the lowest action."""

    k: int
    m: int
    fresh: bool = False
    random_ties: bool = False


def theory(k: int, m: int) -> Params:
    """What the bound for means speaks of: a batch of m episodes for each level."""
    return Params(validate.count("k", k), validate.count("m", m), fresh=True)


def run(access: Episodes, params: Params, rng: np.random.Generator) -> Result:
    """SQIRL with means.

    Parameters
    ----------
    access : Episodes
        To an episodic model with total rewards in [0, 1].
    params : Params
    rng : numpy.random.Generator
        Random actions, and ties where they are random.

    Returns
    -------
    Result
        ``output`` (T, S) actions; the trace has the policy after each iteration.
    """
    trace = _drive(access, params, rng, 1)
    return Result(trace.policies[trace.index[-1]], trace, params, access.samples)      # 6


def run_linear(access: Episodes, params: Params, rng: np.random.Generator, *, ridge: float = 1e-8) -> Result:
    """SQIRL with least squares on <phi(s, a), w>, a batch an iteration. Needs ``known.phi`` (S, A, d); else `run`."""
    H, S, A = _sizes(access, params, rng)
    phi = access.known.phi

    def once(state: tuple[np.ndarray, int], access: Any, rng: np.random.Generator) -> tuple[np.ndarray, int]:
        policy, i = state
        seen = Steps(*(np.empty((params.m, H), kind) for kind in (np.int64, np.int64, float, np.int64)))
        access.call(_roll, policy, i, A, seen, rng)                                       # 2
        last = min(i + params.k - 1, H - 1)
        Q = phi @ _fit(phi, seen, last, seen.r[:, last:].sum(1), ridge)                # 3
        for j in range(last - 1, i - 1, -1):                                           # 4
            Q = phi @ _fit(phi, seen, j, seen.r[:, j] + Q.max(-1)[seen.s_next[:, j]], ridge)   # 4
        policy = policy.copy()
        policy[i] = Q.argmax(-1)                                                       # 5
        return policy, i + 1

    (policy, _), trace = iterate(once, (np.zeros((H, S), np.int64), 0), access, H, rng, lambda x: (x[0], {}))
    return Result(policy, trace, params, access.samples)


def repeated(access: Episodes, params: Params, rng: np.random.Generator, n: int) -> np.ndarray:
    """The policies (n, T, S) of n independent runs in one crossing, for measuring; ``access`` without a watch."""
    trace = _drive(access, params, rng, validate.count("n", n))
    last = trace.index.reshape(n, access.known.H)[:, -1]
    return trace.policies[last]


def iterates(P: np.ndarray, r: np.ndarray, pi: np.ndarray) -> np.ndarray:
    """Q^1..Q^T (T, T, S, A) from Q^1 = Q^pi, for pi (T, S, A): on floats and on rational arrays."""
    found = [evaluate(P, r, pi)[1]]
    while len(found) < len(r):
        found.append(qvi(P, r, found[-1]))
    return np.array(found)


def qvi(P: np.ndarray, r: np.ndarray, Q: np.ndarray) -> np.ndarray:
    """One step of Q-value iteration, (T, S, A)."""
    V, out = Q.max(-1), rational.zeros(r.shape, P)
    for t in range(len(r)):
        out[t] = r[t] + P[t] @ V[t + 1] if t + 1 < len(r) else r[t]
    return out


def lost(P: np.ndarray, r: np.ndarray, rho: np.ndarray, Q: np.ndarray, tolerance: float = 0) -> Any:
    """What the worst policy greedy in Q, to within ``tolerance``, loses from rho: 0 where every such is optimal."""
    best, worst = rational.zeros((r.shape[1],), P), rational.zeros((r.shape[1],), P)
    for t in range(len(r) - 1, -1, -1):
        greedy = Q[t] >= Q[t].max(-1)[:, None] - tolerance
        low = r[t] + P[t] @ worst
        best = (r[t] + P[t] @ best).max(-1)
        worst = np.array([row[g].min() for row, g in zip(low, greedy)])
    return (rho * (best - worst)).sum()


def minimal_k(P: np.ndarray, r: np.ndarray, rho: np.ndarray, tolerance: float = 0) -> int:
    """The least k for which the model is k-QVI-solvable: exactly on rational arrays, on floats with a tolerance > 0."""
    uniform = rational.zeros(r.shape, r) + 1
    Q, k = evaluate(P, r, uniform / r.shape[-1])[1], 1
    while lost(P, r, rho, Q, tolerance) > tolerance:
        Q, k = qvi(P, r, Q), k + 1
    return k


def needed(k: int, gap: float, T: int, S: int, A: int, delta: float) -> float:
    """2 k^2 gap^-2 log(2 T k S A/delta): how often each pair must be seen at each level, for means."""
    return 2.0 * k * k / gap**2 * math.log(2 * T * k * S * A / delta)


def needle_probability(A: int, L: int, m: int) -> float:
    """prod over i < L of 1 - (1 - A^{i-L})^m."""
    p = 1.0
    for i in range(L):
        p *= 1.0 - (1.0 - float(A) ** (i - L)) ** m
    return p


def demo(rng: np.random.Generator) -> Result:
    """Forty episodes a level on F(3, 2), H = 3, rewards a third, k = 2."""
    m = stationary_episodic(3, 2, 3)
    model = EpisodicMDP(m.P, m.r / 3, m.rho)
    return run(Episodes(model, rng), replace(theory(2, 40), random_ties=True), rng)


def _drive(access: Episodes, params: Params, rng: np.random.Generator, n: int) -> Trace:
    H, S, A = _sizes(access, params, rng)
    policy, Q = np.zeros((H, S), np.int64), np.zeros((H, S, A))
    tallies = (np.zeros(Q.shape), np.zeros(Q.shape), np.zeros((*Q.shape, S)), np.zeros(Q.shape))
    settings = np.array([params.k, params.m, params.fresh, params.random_ties], np.int64)
    return access.drive(_loop, (policy, Q, *tallies, settings), policy, n * H, rng)  # type: ignore[return-value]


def _fit(phi: np.ndarray, seen: Steps, j: int, y: np.ndarray, ridge: float) -> np.ndarray:
    """Weights (d,) of least squares at step j."""
    x = phi[seen.s[:, j], seen.a[:, j]]
    return np.linalg.solve(x.T @ x + ridge * np.eye(x.shape[1]), x.T @ y)


def _sizes(access: Episodes, params: Params, rng: np.random.Generator) -> tuple[int, int, int]:
    validate.instance("access", access, Episodes)
    validate.instance("params", params, Params)
    validate.generator("rng", rng)
    validate.count("params.k", params.k)
    validate.count("params.m", params.m)
    return access.known.H, access.known.S, access.known.A


def _loop_body(world, policy, Q, visits, reward, moves, togo, settings, log, first, rng):
    """A row of the log is an iteration, each H of them a run. Tallies by step: visits, rewards, successors, and sums of
    what was still to come."""
    H, S, A = Q.shape
    k, m, fresh, random_ties = settings[0], settings[1], settings[2] > 0, settings[3] > 0
    for t in range(len(log)):                                                          # 1
        i = (first + t) % H
        last = min(i + k - 1, H - 1)
        for j in range(last, i - 1, -1):                                               # 3, 4
            if fresh or j == last:
                _batch(world, policy, i, j if fresh else i, last, m, visits, reward, moves, togo, rng)   # 2
            for s in range(S):
                for a in range(A):
                    total = togo[j, s, a]                                              # 3
                    if j < last:
                        total = reward[j, s, a]                                        # 4
                        for z in range(S):
                            if moves[j, s, a, z] > 0.0:
                                total += moves[j, s, a, z] * Q[j + 1, z, argmax(Q[j + 1, z])]   # 4
                    Q[j, s, a] = total / max(visits[j, s, a], 1.0)
        for s in range(S):
            policy[i, s] = argmax_random(Q[i, s], rng) if random_ties else argmax(Q[i, s])   # 5
        copy(log[t], policy)


def _batch_body(world, policy, i, low, high, m, visits, reward, moves, togo, rng):
    """Line 2; what steps low..high saw is tallied anew."""
    H, S, A = visits.shape
    for j in range(low, high + 1):
        for s in range(S):
            for a in range(A):
                visits[j, s, a] = reward[j, s, a] = togo[j, s, a] = 0.0
                for z in range(S):
                    moves[j, s, a, z] = 0.0
    for _ in range(m):
        s, y, there, chosen = start(world), 0.0, 0, 0
        for j in range(H):
            a = policy[j, s] if j < i else int(rng.random() * A)                       # 2
            R, z = step(world, a)
            if low <= j <= high:
                visits[j, s, a] += 1.0
                reward[j, s, a] += R
                moves[j, s, a, z] += 1.0
            if j == high:
                there, chosen = s, a
            if j >= high:
                y += R
            s = z
        togo[high, there, chosen] += y


def _roll_body(world, policy, i, A, seen, rng):
    """Line 2, kept whole."""
    for n in range(seen.s.shape[0]):
        s = start(world)
        for j in range(seen.s.shape[1]):
            a = policy[j, s] if j < i else int(rng.random() * A)                       # 2
            seen.s[n, j], seen.a[n, j] = s, a
            seen.r[n, j], s = step(world, a)
            seen.s_next[n, j] = s


_batch = kernel(_batch_body)
_roll = kernel(_roll_body)
_loop = kernel(_loop_body)
