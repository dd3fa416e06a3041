"""LSVI-UCB: least-squares value iteration with an elliptical bonus, for linear MDPs.

H steps, K episodes, T = K H; P_h(.|s, a) = <phi(s, a), mu_h(.)>, r_h = <phi, theta_h> in [0, 1], deterministic and seen
when played; phi (S, A, d) is known, |phi| <= 1, |mu_h(S)|, |theta_h| <= sqrt(d). Step h keeps data of its own, and all
of it is regressed again on the new Q_{h+1} in every episode.

    1  for k = 1..K:
    2      Q_{H+1} = 0;  for h = H..1:
    3          Lambda = lambda I + sum_{tau < k} phi phi',  phi = phi(s_h^tau, a_h^tau)
    4          w = Lambda^-1 sum_{tau < k} phi (r_h^tau + max_a Q_{h+1}(s_{h+1}^tau, a))
    5          Q_h(s, a) = min(w' phi(s, a) + beta sqrt(phi(s, a)' Lambda^-1 phi(s, a)), H)
    6      play greedily in Q (lowest index on ties)

lambda = 1, beta = c d H sqrt(iota), iota = ln(2 d T/p). The code keeps sums of phi by next state for line 4, updates
Lambda^-1 by one row at a time, and computes it anew from Lambda every thousand episodes. One-hot phi, d = S A, is value
iteration on counts: N + lambda in place of N, bonus beta/sqrt(N + lambda).

Guarantee (Theorem 3.1): for some absolute constant c, which is not given, with probability 1 - p
    Regret(K) <= O(sqrt(d^3 H^3 T iota^2)), on the way Q_h >= Q*_h at all k, h, s, a.
Not tight: sqrt(d) below, the lower bound has d^2. As recalled: the wording of the paper was not at hand.

Jin, Yang, Wang, Jordan. Provably Efficient Reinforcement Learning with Linear Function Approximation. COLT 2020, arXiv
1907.05388, Algorithm 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from mdpkit import concentration, rational, validate
from mdpkit.access import Episodes
from mdpkit.errors import MdpkitError
from mdpkit.instances.formula import linear
from mdpkit.jit import kernel
from mdpkit.kernels.copy import copy
from mdpkit.kernels.ellipsoid import absorb, times
from mdpkit.records import Paper, Result
from mdpkit.worlds.markov import start, step

PAPER = Paper(
    "lsvi-ucb", "Provably Efficient Reinforcement Learning with Linear Function Approximation",
    "Chi Jin, Zhuoran Yang, Zhaoran Wang, Michael I. Jordan", "COLT 2020", "1907.05388",
    ("episodic", "exploration", "linear MDP", "optimism", "regression", "baseline"),
    """@inproceedings{jin2020provably,
  title     = {Provably Efficient Reinforcement Learning with Linear Function Approximation},
  author    = {Jin, Chi and Yang, Zhuoran and Wang, Zhaoran and Jordan, Michael I.},
  booktitle = {Conference on Learning Theory},
  year      = {2020}
}""")

ANEW = 1000             # episodes between two inversions of Lambda


@dataclass(frozen=True)
class Params:
    """K episodes, beta, lam; whether the log keeps Q and w of each episode."""

    K: int
    beta: float
    lam: float = 1.0
    keep: bool = False


class Log(NamedTuple):
    """One row an episode."""

    policy: np.ndarray      # (H, S)
    norms: np.ndarray       # (H,) phi' Lambda^-1 phi of what was played, Lambda without it
    path: np.ndarray        # (H+1,) states
    Q: np.ndarray           # (H, S, A), or (0, S, A)
    w: np.ndarray           # (H, d), or (0, d)


class Memory(NamedTuple):
    """What lasts between episodes."""

    phi: np.ndarray         # (S, A, d)
    Lambda: np.ndarray      # (H, d, d)
    inverse: np.ndarray     # (H, d, d)
    paid: np.ndarray        # (H, d) sum of phi r
    led: np.ndarray         # (H, S, d) sum of phi by next state
    w: np.ndarray           # (H, d)
    Q: np.ndarray           # (H, S, A)
    V: np.ndarray           # (H+1, S)
    policy: np.ndarray      # (H, S)
    path: np.ndarray        # (H+1,)
    norms: np.ndarray       # (H,)
    room: np.ndarray        # (d, d)
    u: np.ndarray           # (d,)


def theory(K: int, H: int, d: int, p: float, c: float = 1.0) -> Params:
    """Theorem 3.1: lambda = 1, beta = c d H sqrt(ln(2 d K H/p))."""
    return Params(validate.count("K", K), concentration.lsvi_ucb(d, H, K, p, c))


def run(access: Episodes, params: Params, rng: np.random.Generator) -> Result:
    """LSVI-UCB.

    Parameters
    ----------
    access : Episodes
        To a linear MDP, whose features are granted; or to another with ``bounds={"phi": phi}``, phi (S, A, d), where
        the guarantee asks that its kernel be linear in them.
    params : Params
    rng : numpy.random.Generator
        Not used.

    Returns
    -------
    Result
        ``output`` is Q (H, S, A) of line 5 after the last episode; the log is a `Log`.

    Raises
    ------
    MdpkitError
        Bad parameters, no steps or no features.
    """
    validate.instance("access", access, Episodes)
    validate.instance("params", params, Params)
    beta = validate.interval("params.beta", params.beta, 0.0, math.inf, open_hi=True)
    lam = validate.interval("params.lam", params.lam, 0.0, math.inf, open_lo=True, open_hi=True)
    known = vars(access.known)
    if "H" not in known or "phi" not in known:
        raise MdpkitError("access", "to a linear MDP, or to an episodic one with phi (S, A, d) granted", None,
                          came=f"it knows {access.known!r}")
    H, S, A = known["H"], known["S"], known["A"]
    phi = validate.array("access.known.phi", known["phi"], (S, A, "d")).copy()
    d = phi.shape[2]
    Lambda = np.tile(lam * np.eye(d), (H, 1, 1))                                       # 3
    mind = Memory(phi, Lambda, np.tile(np.eye(d) / lam, (H, 1, 1)), np.zeros((H, d)), np.zeros((H, S, d)),
                  np.zeros((H, d)), np.zeros((H, S, A)), np.zeros((H + 1, S)), np.zeros((H, S), np.int64),
                  np.zeros(H + 1, np.int64), np.zeros(H), np.zeros((d, d)), np.zeros(d))
    kept = None if params.keep else 0
    row = Log(mind.policy, mind.norms, mind.path, mind.Q[:kept], mind.w[:kept])
    trace = access.drive(_loop, (mind, beta), row, params.K, rng)
    _replan(mind, beta)
    return Result(mind.Q, trace, params, access.samples)


def backup(phi: np.ndarray, counts: np.ndarray, r: np.ndarray, V: np.ndarray, lam: Any) -> tuple:
    """Lines 3 to 5 from counts (S, A, S) of what was seen at a step: w (d,), and for each pair w' phi and
    phi' Lambda^-1 phi, (S, A). Rewards r (S, A), next values V (S,). Floats or rationals.
    """
    d, N = phi.shape[2], counts.sum(2)
    rows = phi.reshape(-1, d)
    Lambda = (rows[:, :, None] * rows[:, None] * N.reshape(-1, 1, 1)).sum(0) + lam * rational.eye(d, phi)
    target = (N * r + (counts * V).sum(2))[..., None] * phi
    w = rational.solve(Lambda, target.sum((0, 1)))                                     # 4
    half = np.array([rational.solve(Lambda, x) for x in rows], phi.dtype).reshape(phi.shape)
    return w, (phi * w).sum(2), (phi * half).sum(2)


def optimistic(mean: np.ndarray, square: np.ndarray, beta: float, H: float) -> np.ndarray:
    """Q of line 5 from what `backup` gives."""
    return np.minimum(mean + beta * np.sqrt(np.maximum(square, 0.0)), H)


def closure(theta: np.ndarray, mu: np.ndarray, V: np.ndarray) -> np.ndarray:
    """theta + mu V (d,): the weights that give r + P V, theta (d,), mu (d, S); floats or rationals."""
    return theta + (mu * V).sum(1)


def ridge(x: np.ndarray, y: np.ndarray, lam: Any) -> tuple[np.ndarray, np.ndarray, Any]:
    """w (d,), x_k' Lambda_k^-1 x_k (n,), Lambda_k without x_k, and det Lambda_n/lam^d, of rows x (n, d) with targets
    y (n,); floats or rationals.
    """
    inverse, norms = rational.eye(x.shape[1], x) / lam, rational.zeros((len(x),), x)
    ratio = 1
    for k, row in enumerate(x):
        u = (inverse * row).sum(1)
        norms[k] = (row * u).sum()
        inverse, ratio = inverse - u[:, None] * u / (1 + norms[k]), ratio * (1 + norms[k])
    return (inverse * (x * y[:, None]).sum(0)).sum(1), norms, ratio


def demo(rng: np.random.Generator) -> Result:
    """Sixty episodes with a small bonus, Q and w kept."""
    return run(Episodes(linear(4, 2, 2, 3), rng), Params(60, 0.2, keep=True), rng)


def _invert_body(matrix, work, out):
    """Gauss and Jordan, without pivots: for a positive definite matrix."""
    d = matrix.shape[0]
    for i in range(d):
        for j in range(d):
            work[i, j], out[i, j] = matrix[i, j], 0.0
        out[i, i] = 1.0
    for i in range(d):
        pivot = work[i, i]
        for j in range(d):
            work[i, j] /= pivot
            out[i, j] /= pivot
        for k in range(d):
            if k != i:
                factor = work[k, i]
                for j in range(d):
                    work[k, j] -= factor * work[i, j]
                    out[k, j] -= factor * out[i, j]


def _replan_body(mind, beta):
    phi, _, inverse, paid, led, w, Q, V, policy, _, _, _, u = mind
    H, S, A = Q.shape
    d = phi.shape[2]
    for h in range(H - 1, -1, -1):                                                     # 2
        for i in range(d):
            total = paid[h, i]
            for t in range(S):
                total += led[h, t, i] * V[h + 1, t]
            u[i] = total
        times(inverse[h], u, w[h])                                                     # 4
        for s in range(S):
            for a in range(A):
                q, square = 0.0, 0.0
                for i in range(d):
                    q += w[h, i] * phi[s, a, i]
                    for j in range(d):
                        square += phi[s, a, i] * inverse[h, i, j] * phi[s, a, j]
                q = min(q + beta * math.sqrt(max(square, 0.0)), 1.0 * H)               # 5
                Q[h, s, a] = q
                if a == 0 or q > V[h, s]:
                    V[h, s], policy[h, s] = q, a                                       # 6


def _loop_body(world, mind, beta, log, first, rng):
    phi, Lambda, inverse, paid, led, w, Q, _, policy, path, norms, room, u = mind
    H, d = policy.shape[0], phi.shape[2]
    for k in range(len(log.policy)):                                                   # 1
        _replan(mind, beta)
        if (first + k) % ANEW == ANEW - 1:
            for h in range(H):
                _invert(Lambda[h], room, inverse[h])                                   # 3
        s = start(world)
        path[0] = s
        for h in range(H):
            a = policy[h, s]
            r, t = step(world, a)                                                      # 6
            norms[h] = absorb(inverse[h], phi[s, a], u)                                # 3
            for i in range(d):
                paid[h, i] += phi[s, a, i] * r
                led[h, t, i] += phi[s, a, i]
                for j in range(d):
                    Lambda[h, i, j] += phi[s, a, i] * phi[s, a, j]                     # 3
            s = t
            path[h + 1] = s
        copy(log.policy[k], policy)
        copy(log.norms[k], norms)
        copy(log.path[k], path)
        if log.Q.shape[1] > 0:
            copy(log.Q[k], Q)
            copy(log.w[k], w)


_invert = kernel(_invert_body)
_replan = kernel(_replan_body)
_loop = kernel(_loop_body)
