"""Latent MDPs with the context told in hindsight: an exact planner over histories, and a value-optimistic learner.

Each episode draws a context m ~ w and s_1 ~ nu_m, and is then played for H steps in MDP m, whose kernel P_m (S, A, S)
is unknown; w, nu and r_m (S, A) >= 0 are known, and the rewards of an episode sum to 1 at most. The policy sees the
history tau_h = (s_1, a_1, .., s_h) alone; m is told when the episode is over. alpha_m(tau) is what a policy still earns
after tau if the context is m, b_m(tau) = w_m nu_m(s_1) prod P_m(s_{i+1} | s_i, a_i), and V = sum_{m,s} w_m nu_m(s)
alpha_m(s). Histories form a tree, whose nodes are numbered step by step: child (a, t) of node j of a step is node
(j A + a) S + t of the next.

     1  plan(P):  for each tau, from the last step back, for each a, all m at once (alpha = 0 after H steps):
     2      alpha_m(tau, a) = r_m(s, a) + sum_t P_m(t | s, a) alpha_m(tau a t)
     3      play argmax_a sum_m b_m(tau) alpha_m(tau, a) (first action on ties), with b of P
     4  learn:  n = 0, iota = 2 ln(2 M S A H K/delta)
     5  for k = 1..K:
     6      at k = 1, or once some n(m, s, a) >= max(1, twice its value at the last plan):
     7          plan(Phat) with min(1, . + c bonus) in line 2,
                bonus = 2 sqrt(S Var_{Phat_m}(alpha_m(tau a .)) iota/n) + 5 S iota/n
     8      play it;  m is told;  count the H moves in n(m, ., ., .)

Phat is uniform and n counts as 1 where nothing was seen; S stands for Gamma, the largest number of successors. c = 1 is
theory, c = 0 plans in Phat. The bonus is not linear: that V~ >= V* is measured, not granted. The model-optimistic twin
maximises over policies and kernels in the box |P - Phat| <= 2 sqrt(Phat iota/n) + 5 iota/n, entry by entry (`box`); it
needs an oracle, and is not implemented.

Guarantee, with probability 1 - delta:
    Theorem 1, as recalled: Regret(K) = O~(sqrt(Var* M Gamma S A K) + M S^2 A), Var* <= 1 a variance of what the
        optimal policy earns; no polynomial of H; tight for Gamma = 2: Omega(sqrt(Var* M S A K)).
    At most 1 + M S A (1 + log2(H K)) plans.
    For every policy: E sum_h Var_{P_m}(alpha_m(tau_{h+1})) + Var(alpha_m(s_1)) = Var(return) <= 1/4.
iota is the paper's; the constants of line 7 and of the box are as recalled, the wording was not at hand.

Zhou, Wang, Du. Horizon-Free and Variance-Dependent Reinforcement Learning for Latent Markov Decision Processes. ICML
2023, arXiv 2210.11604.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from mdpkit import rational, validate
from mdpkit.access import Episodes
from mdpkit.concentration import lmdp_entry, lmdp_log, lmdp_value
from mdpkit.instances.formula import latent
from mdpkit.jit import kernel
from mdpkit.kernels.copy import copy
from mdpkit.records import Paper, Result
from mdpkit.worlds.hidden import reveal, start, step

PAPER = Paper(
    "lmdp", "Horizon-Free and Variance-Dependent Reinforcement Learning for Latent Markov Decision Processes",
    "Runlong Zhou, Ruosong Wang, Simon S. Du", "ICML 2023", "2210.11604",
    ("episodic", "exploration", "latent", "optimism", "horizon-free"),
    """@inproceedings{zhou2023horizon,
  title     = {Horizon-Free and Variance-Dependent Reinforcement Learning for Latent {M}arkov Decision Processes},
  author    = {Zhou, Runlong and Wang, Ruosong and Du, Simon S.},
  booktitle = {International Conference on Machine Learning},
  year      = {2023}
}""")


@dataclass(frozen=True)
class Params:
    """K episodes, confidence delta, a factor c of the bonus (the theorem's is 1)."""

    K: int
    delta: float
    c: float = 1.0


class Log(NamedTuple):
    """One row an episode."""

    policy: np.ndarray      # (N,) an action for each history
    value: np.ndarray       # () V~ of the last plan
    planned: np.ndarray     # () 1 where the episode began with a plan
    context: np.ndarray     # () as told
    path: np.ndarray        # (H, 3) s, a, next s


class Memory(NamedTuple):
    """What lasts between episodes; step h has the nodes level[h] .. level[h+1]."""

    w: np.ndarray           # (M,)
    nu: np.ndarray          # (M, S)
    r: np.ndarray           # (M, S, A)
    level: np.ndarray       # (H+1,)
    b: np.ndarray           # (N, M) beliefs, not normalised
    alpha: np.ndarray       # (N, M)
    policy: np.ndarray      # (N,)
    room: np.ndarray        # (M,)
    n: np.ndarray           # (M, S, A)
    moves: np.ndarray       # (M, S, A, S)
    at_plan: np.ndarray     # (M, S, A) n at the last plan
    P_hat: np.ndarray       # (M, S, A, S)
    path: np.ndarray        # (H, 3) s, a, next s
    due: np.ndarray         # (1,) whether the next episode begins with a plan
    value: np.ndarray       # (1,)


def theory(K: int, delta: float) -> Params:
    """Nothing is free but K and delta."""
    return Params(validate.count("K", K), validate.interval("delta", delta, 0.0, 1.0, open_lo=True, open_hi=True))


def run(access: Episodes, params: Params, rng: np.random.Generator) -> Result:
    """The value-optimistic learner.

    Parameters
    ----------
    access : Episodes
        To a latent MDP that tells: ``Episodes(model, rng, grant=("w", "nu", "r"), hindsight=True)``; r in [0, 1/H].
    params : Params
    rng : numpy.random.Generator
        Not used.

    ``output`` is Phat (M, S, A, S) after the last episode; the log is a `Log`. Raises MdpkitError for bad parameters,
    rewards that do not fit, or a tree of more than 2^20 histories; AccessDenied where contexts are not told.
    """
    mind = memory(access, params)
    c = validate.interval("params.c", params.c, 0.0, math.inf, open_hi=True)
    row = Log(mind.policy, np.zeros(()), np.zeros((), np.int64), np.zeros((), np.int64), mind.path)
    M, S, A = mind.n.shape
    L = lmdp_log(M, S, A, len(mind.path), params.K, params.delta)
    trace = access.drive(_loop, (mind, L, c), row, params.K, rng)
    return Result(estimate(mind.n, mind.moves), trace, params, access.samples)


def estimate(n: np.ndarray, moves: np.ndarray) -> np.ndarray:
    """Phat (M, S, A, S) from n (M, S, A) and the moves behind it (M, S, A, S)."""
    return np.where(n[..., None] > 0, moves / np.maximum(n, 1.0)[..., None], 1.0 / moves.shape[-1])


def box(P_hat: np.ndarray, n: np.ndarray, H: int, K: int, delta: float) -> np.ndarray:
    """Half-widths of the box of kernels around P_hat (M, S, A, S), n (M, S, A)."""
    M, S, A = n.shape
    L = lmdp_log(M, S, A, H, K, delta)
    return np.array([lmdp_entry(max(float(n[i[:3]]), 1.0), float(p), L) for i, p in np.ndenumerate(P_hat)]
                    ).reshape(P_hat.shape)


def plan(w: np.ndarray, nu: np.ndarray, P: np.ndarray, r: np.ndarray, H: int) -> tuple[Any, np.ndarray]:
    """V* and an optimal policy (N,), lines 1 to 3; w (M,), nu (M, S), P (M, S, A, S), r (M, S, A), floats or rationals.

    Exact: the sum weighed by b is linear in alpha, so that what is best at a history does not depend on the others.
    """
    (_, S, A), policy = r.shape, []
    levels = beliefs(w, nu, P, H)
    after = rational.zeros((len(levels[-1]) * A * S, len(w)), P)
    for b in reversed(levels):
        s = np.arange(len(b)) % S
        Q = np.moveaxis(r, 0, -1)[s] + (np.moveaxis(P, 0, -1)[s] * after.reshape(len(b), A, S, -1)).sum(2)     # 2
        act = (b[:, None] * Q).sum(-1).argmax(-1)                                      # 3
        after = Q[np.arange(len(b)), act]
        policy.append(act)
    return (levels[0] * after).sum(), np.concatenate(policy[::-1])


def beliefs(w: np.ndarray, nu: np.ndarray, P: np.ndarray, H: int) -> list[np.ndarray]:
    """b (nodes, M) of each step under the kernels P. Floats or rationals."""
    out = [(w[:, None] * nu).T]
    for _ in range(H - 1):
        b = out[-1]
        out.append((b[:, None, None] * np.moveaxis(P, 0, -1)[np.arange(len(b)) % nu.shape[1]]).reshape(-1, len(w)))
    return out


def alpha_vectors(P: np.ndarray, r: np.ndarray, policy: np.ndarray, H: int) -> list[np.ndarray]:
    """alpha (nodes, M) of a policy (N,), step by step, and the zeros after the last. Floats or rationals."""
    M, S, A = r.shape
    first = layout(S, A, H)
    out = [rational.zeros((S * (A * S) ** H, M), P)]
    for h in range(H - 1, -1, -1):
        act = policy[first[h]: first[h + 1]]
        j = np.arange(len(act))
        after = out[-1].reshape(len(act), A, S, M)[j, act]
        out.append(np.moveaxis(r, 0, -1)[j % S, act] + (np.moveaxis(P, 0, -1)[j % S, act] * after).sum(1))
    return out[::-1]


def variances(w: np.ndarray, nu: np.ndarray, P: np.ndarray, r: np.ndarray, policy: np.ndarray, H: int
              ) -> tuple[Any, Any]:
    """E sum_h Var_{P_m}(alpha_m(tau_{h+1})) of a policy (N,), and Var(alpha_m(s_1)). Floats or rationals."""
    _, S, A = r.shape
    first, alpha, d, total = layout(S, A, H), alpha_vectors(P, r, policy, H), (w[:, None] * nu).T, 0
    mean = (d * alpha[0]).sum()
    initial = (d * (alpha[0] - mean) * (alpha[0] - mean)).sum()
    for h in range(H):
        j, act = np.arange(len(d)), policy[first[h]: first[h + 1]]
        p, after = np.moveaxis(P, 0, -1)[j % S, act], alpha[h + 1].reshape(len(d), A, S, -1)[j, act]     # (nodes, S, M)
        middle = (p * after).sum(1)
        off = after - middle[:, None]
        total = total + (d * (p * off * off).sum(1)).sum()
        there = rational.zeros((len(d), A, S, d.shape[1]), P)
        there[j, act] = d[:, None] * p
        d = there.reshape(-1, d.shape[1])
    return total, initial


def layout(S: int, A: int, H: int) -> np.ndarray:
    """The first node of each step, and at last their number (H+1,)."""
    return np.cumsum([0] + [S * (A * S) ** h for h in range(H)])


def memory(access: Episodes, params: Params) -> Memory:
    """What the theorem grants, and a learner that has seen nothing."""
    validate.instance("access", access, Episodes)
    validate.instance("params", params, Params)
    validate.count("params.K", params.K)
    validate.interval("params.delta", params.delta, 0.0, 1.0, open_lo=True, open_hi=True)
    M, S, A, H = (validate.count(f"access.known.{k}", getattr(access.known, k)) for k in "MSAH")
    r = validate.within("access.known.r", access.known.r, 0.0, 1.0 / H)
    validate.count("(S A)^H", (S * A) ** H, 1, 2**20)
    level = layout(S, A, H)
    by_node, seen = np.zeros((2, level[-1], M)), np.zeros((2, M, S, A))
    return Memory(access.known.w, access.known.nu, r, level, by_node[0], by_node[1], np.zeros(level[-1], np.int64),
                  np.zeros(M), seen[0], np.zeros((M, S, A, S)), seen[1], np.zeros((M, S, A, S)),
                  np.zeros((H, 3), np.int64), np.ones(1, np.int64), np.zeros(1))


def demo(rng: np.random.Generator) -> Result:
    """Sixty episodes with two contexts, two states, two actions and three steps."""
    access = Episodes(latent(2, 2, 2, 3), rng, grant=("w", "nu", "r"), hindsight=True)
    return run(access, Params(60, 0.1, c=0.05), rng)


def _replan_body(mind, L, c):
    """Lines 6 and 7, whatever the counts say."""
    w, nu, r, level, b, alpha, policy, room, n, moves, at_plan, P, path, due, value = mind
    M, S, A = r.shape
    H = path.shape[0]
    copy(at_plan, n)
    for m in range(M):
        for s in range(S):
            b[s, m] = w[m] * nu[m, s]
            for a in range(A):
                for t in range(S):
                    P[m, s, a, t] = moves[m, s, a, t] / n[m, s, a] if n[m, s, a] > 0.0 else 1.0 / S
    for h in range(H - 1):
        for j in range(level[h + 1] - level[h]):
            for a in range(A):
                for t in range(S):
                    for m in range(M):
                        b[level[h + 1] + (j * A + a) * S + t, m] = b[level[h] + j, m] * P[m, j % S, a, t]
    for h in range(H - 1, -1, -1):                                                     # 1
        for j in range(level[h + 1] - level[h]):
            best, s, node = -1.0, j % S, level[h] + j
            for a in range(A):
                score, child = 0.0, level[h + 1] + (j * A + a) * S
                for m in range(M):
                    mean, variance = 0.0, 0.0
                    if h < H - 1:
                        for t in range(S):
                            mean += P[m, s, a, t] * alpha[child + t, m]
                        for t in range(S):
                            off = alpha[child + t, m] - mean
                            variance += P[m, s, a, t] * (off * off)
                    width = lmdp_value(max(n[m, s, a], 1.0), variance, 1.0 * S, L)
                    room[m] = min(1.0, r[m, s, a] + mean + c * width)                  # 2, 7
                    score += b[node, m] * room[m]
                if score > best:
                    best = score
                    policy[node] = a                                                   # 3
                    for m in range(M):
                        alpha[node, m] = room[m]
    value[0], due[0] = 0.0, 0
    for s in range(S):
        for m in range(M):
            value[0] += b[s, m] * alpha[s, m]


def _record_body(n, moves, at_plan, path, due, m):
    """Lines 8 and 6: count an episode in context m, and see whether a plan is due."""
    for h in range(path.shape[0]):
        s, a = path[h, 0], path[h, 1]
        n[m, s, a] += 1.0
        moves[m, s, a, path[h, 2]] += 1.0
        if n[m, s, a] >= max(1.0, 2.0 * at_plan[m, s, a]):
            due[0] = 1


def _play_body(world, level, policy, path, S, A):
    """One episode along the tree."""
    s = start(world)
    j = s
    for h in range(path.shape[0]):
        a = policy[level[h] + j]
        path[h, 0], path[h, 1] = s, a
        _, s = step(world, a)
        path[h, 2] = s
        j = (j * A + a) * S + s


def _loop_body(world, mind, L, c, log, first, rng):
    level, policy, path, due, value = mind.level, mind.policy, mind.path, mind.due, mind.value
    n, moves, at_plan = mind.n, mind.moves, mind.at_plan
    S, A = n.shape[1], n.shape[2]
    for k in range(len(log.policy)):                                                   # 5
        log.planned[k] = due[0]
        if due[0] == 1:
            replan(mind, L, c)                                                         # 6, 7
        copy(log.policy[k], policy)
        log.value[k] = value[0]
        play(world, level, policy, path, S, A)                                         # 8
        m = reveal(world)
        record(n, moves, at_plan, path, due, m)
        copy(log.path[k], path)
        log.context[k] = m


replan = kernel(_replan_body)
record = kernel(_record_body)
play = kernel(_play_body)
_loop = kernel(_loop_body)
