"""ROVER: value the uniformly random policy once, then sample from the softmax of its Q.

Horizon H, no discount, deterministic transitions, a tree: a state is a prefix of tokens and has one parent. The only
reward is r(leaf) in {0, R}, R > 0. State s has A(s) actions; pi_u(a|s) = 1/A(s) has values Q^u and V^u.

Population form (`run` on models with kernel P_h(t|s, a), `values` on graphs, where P is a table of children):

    1  V_H = 0;  for h = H-1..0:
    2      Q_h(s, a) = r_h(s, a) + sum_t P_h(t|s, a) V_{h+1}(t);   V_h(s) = mean over a of Q_h(s, a)
    3  greedy: any argmax_a Q_h(s, a)
    4  sampling: pi_rho(a|s) = exp(Q_h(s, a)/rho) / sum_b exp(Q_h(s, b)/rho)

Tabular learner (`run_episodes`), step size eta:

    5  Q = 0;  for each of n episodes:
    6      roll out pi_rho of the current Q
    7      for the visited (h, s, a), the last first:  Q_h(s, a) = (1-eta) Q_h(s, a) + eta (r + mean_a' Q_{h+1}(s', a'))

The version for language models (Q as rho log pi_theta/pi_old, rewards centred within a group) is not modelled.

Guarantee (Theorem 3.1): greedy on Q^u is optimal, however ties are broken. Behind it is {a : Q^u > 0} = {a : Q* = R} at
each state, for every policy of full support in place of pi_u, and the tree can be any acyclic graph (derived). Wrong
for graded rewards, for chance, for rewards on the way and on cycles.
(Second theorem, recalled.) With N(s) = #{a : Q^u(s, a) = 0}, key states K = {s : 1 <= N(s) < A(s)}, Pr(s) the chance
that pi_rho visits s, and V*(root) = R:  V^{pi_rho} >= R (1 - sum_K Pr(s) N(s)/(N(s) + exp(max_a Q^u(s, a)/rho))). It is
tight: with the sum of exp(Q^u/rho) over the good actions in place of the largest it is an identity (derived). That
V^{pi_rho} never rises with rho was seen on ten thousand random trees; no proof is known to us.

He, Ye, Cai, Hu, Jiao, Jiang, Pan. Random Policy Valuation Is Enough for LLM Reasoning with Verifiable Rewards. 2025,
arXiv 2509.24981.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from mdpkit import rational, validate
from mdpkit.access import Episodes, Exact
from mdpkit.errors import MdpkitError
from mdpkit.jit import kernel
from mdpkit.models.convert import to_episodic
from mdpkit.models.tokens import TokenModel
from mdpkit.records import Paper, Result
from mdpkit.worlds.markov import start, step

PAPER = Paper(
    "rover", "Random Policy Valuation Is Enough for LLM Reasoning with Verifiable Rewards",
    "Haoran He, Yuxiao Ye, Qingpeng Cai, Chen Hu, Binxing Jiao, Daxin Jiang, Ling Pan", "arXiv 2025", "2509.24981",
    ("episodic", "planning", "language models", "tabular"),
    """@misc{he2025random,
  title  = {Random Policy Valuation Is Enough for {LLM} Reasoning with Verifiable Rewards},
  author = {He, Haoran and Ye, Yuxiao and Cai, Qingpeng and Hu, Chen and Jiao, Binxing and Jiang, Daxin and Pan, Ling},
  year   = {2025},
  note   = {arXiv:2509.24981}
}""")


@dataclass(frozen=True, eq=False)
class Params:
    """The temperature; the actions (S, A) that there are (None: all); n episodes with steps eta of the learner."""

    rho: float
    allowed: Any = None
    n: int = 0
    eta: float = 1.0


class Plan(NamedTuple):
    """What lines 1 to 4 give."""

    Q: np.ndarray           # (H, S, A)
    V: np.ndarray           # (H+1, S)
    greedy: np.ndarray      # (H, S), ties to the lowest action
    pi: np.ndarray          # (H, S, A) of line 4


class Log(NamedTuple):
    """An episode of the learner."""

    actions: np.ndarray     # (H,)
    reward: np.ndarray      # its total


class Assumptions(NamedTuple):
    """What Theorem 3.1 asks of a model, and whether it holds where some policy comes."""

    deterministic: bool
    tree: bool              # one parent and one action into each (h, s), h < H
    terminal: bool          # a path is paid at most once, at its end, and always the same


def theory(rho: float) -> Params:
    """The temperature of the second theorem; Theorem 3.1 needs none. Deterministic transitions make eta = 1 right."""
    return Params(validate.interval("rho", rho, 0.0, math.inf, open_lo=True, open_hi=True))


def run(access: Exact, params: Params, rng: np.random.Generator) -> Result:
    """Lines 1 to 4 on a model.

    Parameters
    ----------
    access : Exact
        To an episodic or a token model. Whether the theorem covers it, `assumptions` tells.
    params : Params
    rng : numpy.random.Generator
        Not used.

    Returns
    -------
    Result
        ``output`` is a `Plan`.
    """
    validate.instance("access", access, Exact)
    model = to_episodic(access.model)
    allowed = _checked(params, model.S, model.A, rng)
    Q, V = valuation(model.P, model.r, allowed)
    Q_open = np.where(allowed, Q, -math.inf)
    return Result(Plan(Q, V, Q_open.argmax(-1), softmax(Q, allowed, params.rho)), None, params)   # 3, 4


def run_episodes(access: Episodes, params: Params, rng: np.random.Generator) -> Result:
    """Lines 5 to 7.

    Parameters
    ----------
    access : Episodes
        To an episodic or a token model.
    params : Params
        With n >= 1 and eta in (0, 1].
    rng : numpy.random.Generator
        Draws the actions.

    Returns
    -------
    Result
        ``output`` is Q (H, S, A); the trace holds the actions of each episode, and in its info the ``reward``.
    """
    validate.instance("access", access, Episodes)
    H, S, A = _sizes(access.known)
    allowed = _checked(params, S, A, rng)
    validate.interval("params.eta", params.eta, 0.0, 1.0, open_lo=True)
    Q = np.zeros((H, S, A))                                                            # 5
    state = (Q, allowed, np.array([params.rho, params.eta]))
    log = Log(np.zeros(H, np.int64), np.zeros(()))
    trace = access.drive(_loop, state, log, validate.count("params.n", params.n), rng)
    return Result(Q, trace, params, access.samples)


def valuation(P: np.ndarray, r: np.ndarray, allowed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Q^u (H, S, A) and V^u (H+1, S) for P (H, S, A, S), r (H, S, A), allowed (S, A): on floats and on rationals."""
    H, S, _ = r.shape
    Q, V = rational.zeros(r.shape, P), rational.zeros((H + 1, S), P)                   # 1
    n = allowed.sum(-1)
    for h in range(H - 1, -1, -1):                                                     # 1
        Q[h] = r[h] + P[h] @ V[h + 1]                                                  # 2
        V[h] = (allowed * Q[h]).sum(-1) / n                                            # 2
    return Q, V


def values(child: np.ndarray, reward: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Q (N, A) and V (N,) of the policy with probabilities proportional to ``weights`` (N, A), on an acyclic graph.

    Node n leads to ``child[n, a] > n``, -1 where there is no such action; nodes without any are leaves and pay
    ``reward[n]``. Equal weights give Q^u. Works on floats and on rational arrays; Q is 0 where there is no action.
    """
    Q, V = rational.zeros(child.shape, reward), reward.copy()                          # 1
    for n in range(len(child) - 1, -1, -1):                                            # 1
        a = np.flatnonzero(child[n] >= 0)
        if len(a):
            Q[n, a] = V[child[n, a]]                                                   # 2
            V[n] = (weights[n, a] * Q[n, a]).sum() / weights[n, a].sum()               # 2
    return Q, V


def sampling(child: np.ndarray, Q: np.ndarray, rho: float) -> np.ndarray:
    """pi_rho (N, A) on a graph; rows of leaves are 0."""
    return softmax(Q, child >= 0, rho)                                                 # 4


def softmax(Q: np.ndarray, allowed: np.ndarray, rho: float) -> np.ndarray:
    """exp(Q/rho) normalised over the allowed actions, the last axis; 0 in rows without any."""
    Q = np.where(allowed, Q, -math.inf)
    top = Q.max(-1, keepdims=True)
    weight = np.exp((Q - np.where(np.isfinite(top), top, 0.0)) / rho)
    total = weight.sum(-1, keepdims=True)
    return weight / np.where(total > 0, total, 1.0)


def visits(child: np.ndarray, pi: np.ndarray) -> np.ndarray:
    """Pr(n) (N,): how often pi (N, A) comes to each node from node 0."""
    Pr = np.zeros(len(child))
    Pr[0] = 1.0
    for n, a in np.argwhere(child >= 0):
        Pr[child[n, a]] += Pr[n] * pi[n, a]
    return Pr


def identity(child: np.ndarray, Q: np.ndarray, rho: float, R: float) -> float:
    """R (1 - sum over key states of Pr N/(N + sum over good actions of exp(Q/rho))), which is V^{pi_rho}(root)."""
    N, good = _scaled(child, Q, rho)
    return R * (1.0 - float((visits(child, sampling(child, Q, rho)) * N / (N + good)).sum()))


def bound(child: np.ndarray, Q: np.ndarray, rho: float, R: float) -> float:
    """The same with the best action alone: the bound of the second theorem."""
    N, _ = _scaled(child, Q, rho)
    return R * (1.0 - float((visits(child, sampling(child, Q, rho)) * N / (N + 1.0)).sum()))


def error_bound(child: np.ndarray, Q: np.ndarray, rho: float, R: float) -> float:
    """R sum over key states of Pr N exp(-max_a Q/rho), from above on R - V^{pi_rho}."""
    return R * float((visits(child, sampling(child, Q, rho)) * _scaled(child, Q, rho)[0]).sum())


def assumptions(P: np.ndarray, r: np.ndarray, rho: np.ndarray) -> Assumptions:
    """Which assumptions of Theorem 3.1 a model P (H, S, A, S), r (H, S, A) with initial law rho (S,) meets."""
    deterministic, tree, once = True, True, True
    here, paid = rho > 0, np.zeros(len(rho), np.bool_)       # paid: some path into s was paid already
    sizes = set(np.unique(r[r != 0]).tolist())
    for h, (p, reward) in enumerate(zip(P, r)):
        edges, pays = (p > 0) & here[:, None, None], (reward != 0) & here[:, None]
        deterministic &= bool((edges.sum(-1) <= 1).all())
        tree &= h + 1 == len(r) or bool((edges.sum((0, 1)) <= 1).all())
        once &= not (pays & paid[:, None]).any()
        after = paid[:, None] | pays
        here, paid = edges.any((0, 1)), (edges & after[..., None]).any((0, 1))
    return Assumptions(deterministic, tree, once and len(sizes) <= 1 and min(sizes, default=1.0) > 0)


def demo(rng: np.random.Generator) -> Result:
    """Forty episodes on the binary tree of depth 4 whose leaves 3, 8, 9 and 14 are right."""
    reward = np.isin(np.arange(16), (3, 8, 9, 14))[None] * 1.0
    model = TokenModel(reward, np.full((1, 15, 2), 0.5), [1.0], 1.0)
    return run_episodes(Episodes(model, rng), replace(theory(0.2), n=40), rng)


def _scaled(child: np.ndarray, Q: np.ndarray, rho: float) -> tuple[np.ndarray, np.ndarray]:
    """N, 0 but at key states, and the sum of exp(Q/rho) over good actions, all times exp(-max Q/rho)."""
    there, top = child >= 0, Q.max(-1)
    N = (there & (Q == 0)).sum(-1)
    key = (N >= 1) & (there.sum(-1) > N)
    good = np.where(there & (Q > 0), np.exp((Q - top[:, None]) / rho), 0.0).sum(-1)
    return np.where(key, N * np.exp(-top / rho), 0.0), np.where(key, good, 1.0)


def _sizes(known: Any) -> tuple[int, int, int]:
    """H, S and A of an episodic model, or of the prefixes of a token model."""
    if hasattr(known, "pi_ref"):
        X, N, V = known.pi_ref.shape
        return known.H, X * (N + 1), V
    return known.H, known.S, known.A


def _checked(params: Params, S: int, A: int, rng: np.random.Generator) -> np.ndarray:
    """The allowed actions (S, A)."""
    validate.instance("params", params, Params)
    validate.interval("params.rho", params.rho, 0.0, math.inf, open_lo=True, open_hi=True)
    validate.generator("rng", rng)
    allowed = np.ones((S, A), np.bool_) if params.allowed is None else np.asarray(params.allowed)
    if allowed.dtype != np.bool_ or allowed.shape != (S, A) or not allowed.any(-1).all():
        raise MdpkitError("params.allowed", f"a bool array of shape ({S}, {A}), an action in each row", None,
                          came=f"its dtype is {allowed.dtype}, its shape {allowed.shape}")
    return allowed


def _loop_body(world, Q, allowed, settings, log, first, rng):
    H = Q.shape[0]
    rho, eta = settings[0], settings[1]
    s, reward = np.empty(H + 1, np.int64), np.empty(H)
    for t in range(len(log.reward)):                                                   # 5
        s[0] = start(world)
        for h in range(H):
            a = _sample(Q[h, s[h]], allowed[s[h]], rho, rng.random())                  # 6
            reward[h], s[h + 1] = step(world, a)
            log.actions[t, h] = a
            log.reward[t] += reward[h]
        for h in range(H - 1, -1, -1):                                                 # 7
            target = reward[h]
            if h + 1 < H:
                target += _mean(Q[h + 1, s[h + 1]], allowed[s[h + 1]])
            a = log.actions[t, h]
            Q[h, s[h], a] = (1.0 - eta) * Q[h, s[h], a] + eta * target                 # 7


def _sample_body(q, allowed, rho, u):
    """An action drawn from softmax(q/rho) over the allowed ones, by u in [0, 1)."""
    top, last = -math.inf, 0
    for a in range(q.shape[0]):
        if allowed[a]:
            top, last = max(top, q[a]), a
    total = 0.0
    for a in range(q.shape[0]):
        if allowed[a]:
            total += math.exp((q[a] - top) / rho)
    left = u * total
    for a in range(last):
        if allowed[a]:
            left -= math.exp((q[a] - top) / rho)
            if left < 0.0:
                return a
    return last


def _mean_body(q, allowed):
    total, n = 0.0, 0
    for a in range(q.shape[0]):
        if allowed[a]:
            total += q[a]
            n += 1
    return total / n


_sample = kernel(_sample_body)
_mean = kernel(_mean_body)
_loop = kernel(_loop_body)
