"""PSRL: posterior sampling for reinforcement learning. One model is drawn an episode, and its optimal policy played.

Episodic MDP with one kernel P (S, A, S) for all of H steps, drawn from a prior that the learner shares: rows
P(. | s, a) ~ Dirichlet(alpha0, .., alpha0), independent. r (H, S, A) in [0, 1] is known, T = K H.

    1  N(s, a, t) = 0
    2  for k = 1..K:
    3      P_k(. | s, a) ~ Dirichlet(alpha0 + N(s, a, .)) for all s, a
    4      V_{H+1} = 0;  for h = H..1:  Q_h = r_h + P_k V_{h+1},  pi_k = argmax_a Q_h (lowest index),  V_h = max_a Q_h
    5      play pi_k for the whole episode;  count

Given what was seen, P_k and P have one law: E g(P_k) = E g(P) for every g that the past fixes, such as the optimal
value, and the Bayesian regret is E sum_k (V^{P_k}_{pi_k} - V^P_{pi_k}).

Guarantee (Theorem 1), in expectation over prior, learner and transitions: E Regret(K) = O(H S sqrt(A T log(S A T))),
without its constants; it is not tight, by sqrt(H S) and logarithms. The explicit form derived here,
    E Regret(K) <= H (2 H S A + beta 2 sqrt(2) sqrt(S A T)) + 2 H,  beta = sqrt(2 (S ln 2 + ln(S A T K))),
comes from L1 deviations of both P and P_k, a union over pairs, counts and 1/K, and a pigeonhole over counts >= H. The
order is that of the paper's abstract; the wording of its proof was not at hand.

Paper: the prior may be any, and rewards are drawn from a posterior too.

Osband, Russo, Van Roy. (More) Efficient Reinforcement Learning via Posterior Sampling. NeurIPS 2013, arXiv 1306.0940.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import flint
import numpy as np

from mdpkit import validate
from mdpkit.access import Episodes
from mdpkit.concentration import dirichlet_l1
from mdpkit.instances.formula import stationary_episodic
from mdpkit.jit import kernel
from mdpkit.kernels.copy import copy
from mdpkit.records import Paper, Result
from mdpkit.worlds.markov import start, step

PAPER = Paper(
    "psrl", "(More) Efficient Reinforcement Learning via Posterior Sampling",
    "Ian Osband, Daniel Russo, Benjamin Van Roy", "NeurIPS 2013", "1306.0940",
    ("episodic", "exploration", "tabular", "Bayesian", "posterior sampling", "baseline"),
    """@inproceedings{osband2013more,
  title     = {(More) Efficient Reinforcement Learning via Posterior Sampling},
  author    = {Osband, Ian and Russo, Daniel and Van Roy, Benjamin},
  booktitle = {Advances in Neural Information Processing Systems},
  year      = {2013}
}""")

LEAST = 0.01     # of alpha0: here all gammas of a row of two fall below 1e-300 with probability 1e-6, below more often


@dataclass(frozen=True)
class Params:
    """K episodes, the prior's alpha0, and how often each observation counts in line 5 (the theorem: once)."""

    K: int
    alpha0: float
    weight: float = 1.0


class Log(NamedTuple):
    """One row an episode."""

    policy: np.ndarray      # (H, S) pi_k
    V: np.ndarray           # (H+1, S) of line 4


class Memory(NamedTuple):
    """What lasts between episodes, and room for a sample."""

    belief: np.ndarray      # (S, A, S) alpha0 + N
    P: np.ndarray           # (S, A, S)
    r: np.ndarray           # (H, S, A)
    policy: np.ndarray      # (H, S)
    V: np.ndarray           # (H+1, S)


def theory(K: int, alpha0: float) -> Params:
    """Theorem 1: the learner's prior is that of the world; nothing else is free."""
    return Params(validate.count("K", K),
                  validate.interval("alpha0", alpha0, LEAST, math.inf, open_hi=True))


def run(access: Episodes, params: Params, rng: np.random.Generator) -> Result:
    """PSRL.

    Parameters
    ----------
    access : Episodes
        With the rewards granted: ``Episodes(model, rng, grant=("r",))``.
    params : Params
    rng : numpy.random.Generator
        Draws the samples.

    ``output`` is the last belief, Dirichlet parameters (S, A, S); the trace has the samples' optimal values.
    """
    mind = opened(access, params)
    weight = validate.interval("params.weight", params.weight, 0.0, math.inf, open_hi=True)
    trace = access.drive(_loop, (mind, weight), Log(mind.policy, mind.V), params.K, rng)
    return Result(mind.belief, trace, params, access.samples)


def opened(access: Episodes, params: Params) -> Memory:
    """The state before the first episode. Errors as in `run`."""
    validate.instance("access", access, Episodes)
    validate.instance("params", params, Params)
    r = validate.within("access.known.r", access.known.r, 0.0, 1.0)
    H, S, A = r.shape
    alpha0 = validate.interval("params.alpha0", params.alpha0, LEAST, math.inf, open_hi=True)
    return Memory(np.full((S, A, S), alpha0), np.zeros((S, A, S)), r, np.zeros((H, S), np.int64),   # 1
                  np.zeros((H + 1, S)))


def draws(alpha: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """n rows (n, S) of line 3 from Dirichlet(alpha), alpha (S,) >= 0.01."""
    alpha = validate.within("alpha", validate.array("alpha", alpha, ("S",)), LEAST, math.inf)
    belief = np.tile(alpha, (validate.count("n", n), 1, 1))
    out = np.zeros_like(belief)
    sample(belief, out, validate.generator("rng", rng))
    return out[:, 0]


def width(alpha: np.ndarray, delta: float) -> float:
    """How far, in L1, a row of Dirichlet(alpha), alpha (S,), is from its mean, with probability 1 - delta at least."""
    alpha = validate.array("alpha", alpha, ("S",))
    return dirichlet_l1(float(alpha.sum()), len(alpha), delta)


def bayes_bound(S: int, A: int, H: int, K: int) -> float:
    """The explicit bound on the Bayesian regret."""
    S, A, H, K = (validate.count(name, x) for name, x in (("S", S), ("A", A), ("H", H), ("K", K)))
    beta = math.sqrt(2.0 * (S * math.log(2.0) + math.log(S * A * H * K * K)))
    return H * (2.0 * H * S * A + beta * 2.0 * math.sqrt(2.0) * math.sqrt(S * A * H * K)) + 2.0 * H


def foreseen(alpha: Sequence[Any], n: int, stop: Sequence[bool]) -> np.ndarray:
    """E[p_i p_j] (S, S) for p from the posterior after up to n observations of a row of Dirichlet(alpha), which end
    early after an outcome t with stop[t]: exactly, by all sequences. alpha (S,) are rationals.
    """
    return _foreseen(alpha, validate.count("n", n, 0), stop, lambda mind, t: _raised(mind, t, 1))


def demo(rng: np.random.Generator) -> Result:
    """PSRL on F(3, 2), H = 4, for 60 episodes."""
    return run(Episodes(stationary_episodic(3, 2, 4), rng, grant=("r",)), Params(60, 0.5), rng)


def _foreseen(alpha: Sequence[Any], n: int, stop: Sequence[bool], update: Callable) -> np.ndarray:
    """`foreseen` for a learner who learns by ``update(belief, t)``; nature keeps to the posterior."""
    begin = tuple(flint.fmpq(a) for a in alpha)
    law, done = {(begin, begin): flint.fmpq(1)}, []
    for _ in range(n):
        after: dict[Any, flint.fmpq] = {}
        for (true, mind), p in law.items():
            for t, a in enumerate(true):
                key, chance = (_raised(true, t, 1), update(mind, t)), p * a / sum(true)
                if stop[t]:
                    done.append((chance, key[1]))
                else:
                    after[key] = after.get(key, flint.fmpq(0)) + chance
        law = after
    done += [(p, mind) for (_, mind), p in law.items()]
    out = np.full((len(begin), len(begin)), flint.fmpq(0), object)
    for p, mind in done:
        total = sum(mind)
        for i, a in enumerate(mind):
            for j, b in enumerate(mind):
                out[i, j] += p * a * (b + (i == j)) / (total * (total + 1))
    return out


def _raised(belief: tuple, t: int, by: Any) -> tuple:
    return (*belief[:t], belief[t] + by, *belief[t + 1:])


def _sample_body(belief, P, rng):
    S, A, Z = belief.shape
    for s in range(S):
        for a in range(A):
            total = 0.0
            for t in range(Z):
                P[s, a, t] = max(rng.gamma(belief[s, a, t], 1.0), 1e-300)              # 3
                total += P[s, a, t]
            for t in range(Z):
                P[s, a, t] /= total


def _plan_body(P, r, policy, V):
    H, S, A = r.shape
    for h in range(H - 1, -1, -1):                                                     # 4
        for s in range(S):
            best, top = 0, -math.inf
            for a in range(A):
                q = r[h, s, a]
                for t in range(S):
                    q += P[s, a, t] * V[h + 1, t]
                if q > top:
                    best, top = a, q
            policy[h, s], V[h, s] = best, top


def _play_body(world, policy, belief, weight):
    s = start(world)
    for h in range(policy.shape[0]):                                                   # 5
        a = policy[h, s]
        _, t = step(world, a)
        belief[s, a, t] += weight
        s = t


def _loop_body(world, mind, weight, log, first, rng):
    for k in range(len(log.policy)):                                                   # 2
        sample(mind.belief, mind.P, rng)
        plan(mind.P, mind.r, mind.policy, mind.V)
        copy(log.policy[k], mind.policy)
        copy(log.V[k], mind.V)
        play(world, mind.policy, mind.belief, weight)


sample = kernel(_sample_body)
plan = kernel(_plan_body)
play = kernel(_play_body)
_loop = kernel(_loop_body)
