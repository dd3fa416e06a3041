"""UCRL with value-targeted regression, for linear mixture MDPs.

Episodic, H steps, one kernel P(. | s, a) = sum_i theta*_i B_i(. | s, a) for all of them; the kernels B_i and r in
[0, 1] are known, theta* in R^d is not. X_V(s, a)_i = sum_z B_i(z | s, a) V(z), so that (P V)(s, a) = <X_V(s, a),
theta*>: what V is worth after (s, a) is a linear measurement of theta*. ||x||_M = sqrt(x' M x).

     1  M = lambda I, w = 0
     2  for k = 1..K:
     3      thetahat = M^-1 w,  radius = (H/2) sqrt(ln(det M/lambda^d) + 2 ln(1/delta)) + sqrt(lambda) B
     4      V_{H+1} = 0;  for h = H..1, for all (s, a):
     5          Q_h = min( max( r + <X_{V_{h+1}}, thetahat> + c radius ||X_{V_{h+1}}||_{M^-1}, 0 ), H - h + 1 )
     6      V_h(s) = max_a Q_h(s, a)
     7      play greedily in Q (lowest index on ties); at each step, with the V just planned:
     8          x = X_{V_{h+1}}(s_h, a_h),  M += x x',  w += x V_{h+1}(s_{h+1})

c = 1 in theory, c = 0 is greedy. The target V_{h+1}(s') excludes the reward. For a finite class of theta (`run_class`),
G = sum of all x x', the ellipsoid is replaced by what is left of the class, and planning is done in one of its members:

     9      thetahat = argmin over the class of the sum of (V(s') - <x, theta>)^2 (lowest index on ties)
    10      theta = argmax of V_theta,1(s_1) over members with (theta - thetahat)' G (theta - thetahat) <= width,
            where width = 8 (H/2)^2 ln(2 N/delta)
    11      play the optimal policy of theta, and measure with V = V_theta

Guarantees, with probability 1 - delta, B >= ||theta*||:
    Theorem 2 of the self-normalised bound (Abbasi-Yadkori et al. 2011): ||theta* - thetahat_k||_M <= radius for all k,
        as V <= H makes the noise H/2-sub-Gaussian; then V_k >= V*. The radius is derived from there; the papers' own is
        larger. With probability 1 - 2 delta, derived:
        Regret(K) <= sum_{k,h} min(H, 2 radius_k ||x_{k,h}||_{M_k^-1}) + H sqrt(2 K H ln(1/delta)).
    Theorem 1, as recalled: Regret(K) = O~(d H^2 sqrt K); not tight in H: the lower bound is Omega(H sqrt(d K H)).
    A class of N: theta* stays in it; 8 (H/2)^2 ln(2 N/delta) is the paper's width without its covering terms, recalled.
The ellipsoid with a bonus is that of Jia et al.; there theta may differ at each (h, s, a), which is at least as
optimistic as planning in one model. The papers' wording was not at hand when this was written.

Ayoub, Jia, Szepesvari, Wang, Yang. Model-Based Reinforcement Learning with Value-Targeted Regression. ICML 2020, arXiv
2006.01107. Jia, Yang, Szepesvari, Wang. The same for linear mixtures. L4DC 2020.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from mdpkit import rational, validate
from mdpkit.access import Episodes
from mdpkit.concentration import self_normalised
from mdpkit.instances.formula import linear_mixture
from mdpkit.jit import kernel
from mdpkit.kernels.copy import copy
from mdpkit.kernels.ellipsoid import absorb, square, times
from mdpkit.records import Paper, Result
from mdpkit.worlds.markov import start, step

PAPER = Paper(
    "ucrl-vtr", "Model-Based Reinforcement Learning with Value-Targeted Regression",
    "Alex Ayoub, Zeyu Jia, Csaba Szepesvari, Mengdi Wang, Lin F. Yang", "ICML 2020", "2006.01107",
    ("episodic", "exploration", "linear mixture", "optimism", "confidence sets"),
    """@inproceedings{ayoub2020model,
  title     = {Model-Based Reinforcement Learning with Value-Targeted Regression},
  author    = {Ayoub, Alex and Jia, Zeyu and Szepesvari, Csaba and Wang, Mengdi and Yang, Lin F.},
  booktitle = {International Conference on Machine Learning},
  year      = {2020}
}""")


@dataclass(frozen=True)
class Params:
    """K episodes, confidence delta, regulariser lam, norm bound B, factor c of the bonus (the theorem's is 1)."""

    K: int
    delta: float
    lam: float = 1.0
    B: float = 1.0
    c: float = 1.0


class Log(NamedTuple):
    """One row an episode: the policy, the confidence set that it was planned in, and where it led."""

    policy: np.ndarray      # (H, S)
    V: np.ndarray           # (H+1, S) line 6
    theta: np.ndarray       # (d,) thetahat
    inverse: np.ndarray     # (d, d) M^-1
    radius: np.ndarray      # () line 3, without c
    path: np.ndarray        # (H+1,) states


class ClassLog(NamedTuple):
    """One row an episode of `run_class`."""

    policy: np.ndarray      # (H, S)
    member: np.ndarray      # () line 10
    left: np.ndarray        # (N,) 1 for members that are left
    path: np.ndarray        # (H+1,)


class Memory(NamedTuple):
    """What lasts between episodes."""

    base: np.ndarray        # (d, S, A, S)
    r: np.ndarray           # (H, S, A)
    X: np.ndarray           # (H, S, A, d)
    inverse: np.ndarray     # (d, d)
    w: np.ndarray           # (d,)
    theta: np.ndarray       # (d,)
    V: np.ndarray           # (H+1, S)
    policy: np.ndarray      # (H, S)
    u: np.ndarray           # (d,) room
    log_ratio: np.ndarray   # (1,) ln(det M/lambda^d)


def theory(K: int, delta: float, lam: float = 1.0, B: float = 1.0) -> Params:
    """K and delta are free, lam too; B >= ||theta*||, which is 1 for weights on the simplex."""
    bounds = {"open_lo": True, "open_hi": True}
    return Params(validate.count("K", K), validate.interval("delta", delta, 0.0, 1.0, **bounds),
                  validate.interval("lam", lam, 0.0, math.inf, **bounds),
                  validate.interval("B", B, 0.0, math.inf, open_hi=True))


def run(access: Episodes, params: Params, rng: np.random.Generator) -> Result:
    """UCRL-VTR with an ellipsoid and a bonus.

    Parameters
    ----------
    access : Episodes
        With the rewards granted, to a linear mixture: ``Episodes(model, rng, grant=("r",))``; or to any episodic model
        whose kernel is a combination of measures that are granted: ``bounds={"base": base}``, (d, S, A, S).
    params : Params
    rng : numpy.random.Generator
        Not used.

    Returns
    -------
    Result
        ``output`` is thetahat (d,) after the last episode; the log is a `Log`.

    Raises
    ------
    MdpkitError
        Bad parameters, or what the theorem grants is missing.
    """
    base, r, delta = _granted(access, params)
    (H, S, A), d = r.shape, len(base)
    lam = validate.interval("params.lam", params.lam, 0.0, math.inf, open_lo=True, open_hi=True)
    B, c = (validate.interval(f"params.{k}", getattr(params, k), 0.0, math.inf, open_hi=True) for k in "Bc")
    mind = Memory(base, r, np.zeros((H, S, A, d)), np.eye(d) / lam, np.zeros(d), np.zeros(d), np.zeros((H + 1, S)),
                  np.zeros((H, S), np.int64), np.zeros(d), np.zeros(1))                # 1
    row = Log(mind.policy, mind.V, mind.theta, mind.inverse, np.zeros(()), np.zeros(H + 1, np.int64))
    trace = access.drive(_loop, (mind, 2.0 * math.log(1.0 / delta), math.sqrt(lam) * B, c), row, params.K, rng)
    times(mind.inverse, mind.w, mind.theta)
    return Result(mind.theta, trace, params, access.samples)


def run_class(access: Episodes, params: Params, rng: np.random.Generator) -> Result:
    """UCRL-VTR over a finite class, ``bounds={"thetas": (N, d)}``; otherwise as `run`. c scales the square root of
    the width; lam and B play no part. ``output`` says which members are left (N,).
    """
    base, r, delta = _granted(access, params)
    thetas = validate.array("access.known.thetas", access.known.thetas, ("N", len(base)))
    c = validate.interval("params.c", params.c, 0.0, math.inf, open_hi=True)
    (H, S, _), (N, d) = r.shape, thetas.shape
    V, policy = np.zeros((N, H + 1, S)), np.zeros((N, H, S), np.int64)
    for h in range(H - 1, -1, -1):                      # what each member is worth, once and for all
        Q = np.stack([r[h] + expected(base, theta, v) for theta, v in zip(thetas, V[:, h + 1])])
        V[:, h], policy[:, h] = Q.max(-1), Q.argmax(-1)
    loss, G, left = np.zeros(N), np.zeros((d, d)), np.ones(N, np.int64)
    width = c * c * (8.0 * (H / 2.0) * (H / 2.0) * math.log(2.0 * N / delta))          # 10
    row = ClassLog(policy[0], np.zeros((), np.int64), left, np.zeros(H + 1, np.int64))
    trace = access.drive(_class_loop, (base, thetas.copy(), V, policy, loss, G, left, np.zeros((2, d)), width), row,
                         params.K, rng)
    return Result(left, trace, params, access.samples)


def features(base: np.ndarray, V: np.ndarray) -> np.ndarray:
    """X_V (S, A, d) of measures base (d, S, A, S) and a function V (S,), floats or rationals."""
    return np.moveaxis((base * V).sum(-1), 0, -1)


def expected(base: np.ndarray, theta: np.ndarray, V: np.ndarray) -> np.ndarray:
    """<X_V, theta> (S, A): the mean of V after (s, a) under theta (d,). Floats or rationals."""
    return (features(base, V) * theta).sum(-1)


def regression(base: np.ndarray, V: np.ndarray, s: np.ndarray, a: np.ndarray, z: np.ndarray, lam: Any
               ) -> tuple[np.ndarray, np.ndarray]:
    """M (d, d) and w (d,) of line 8 after n moves from (s, a) to z, each (n,), measured with V (n, S)."""
    d = len(base)
    M, w = rational.eye(d, base) * lam, rational.zeros((d,), base)
    for v, one, act, to in zip(V, s, a, z):
        x = features(base, v)[one, act]
        M, w = M + x[:, None] * x, w + x * v[to]
    return M, w


def optimistic(base: np.ndarray, r: np.ndarray, V: np.ndarray, theta: np.ndarray, inverse: np.ndarray, radius: float,
               top: float) -> np.ndarray:
    """Q (S, A) of line 5 from rewards r (S, A) and the next values V (S,), clipped at ``top``."""
    x = features(base, V)
    width = np.sqrt(np.maximum(np.einsum("sai,ij,saj->sa", x, inverse, x), 0.0))
    return np.clip(r + (x * theta).sum(-1) + radius * width, 0.0, top)


def demo(rng: np.random.Generator) -> Result:
    """Forty episodes on the formula-defined mixture of three kernels."""
    return run(Episodes(linear_mixture(4, 2, 3, 3), rng, grant=("r",)), theory(40, 0.1), rng)


def _granted(access: Episodes, params: Params) -> tuple[np.ndarray, np.ndarray, float]:
    validate.instance("access", access, Episodes)
    validate.instance("params", params, Params)
    r = validate.within("access.known.r", access.known.r, 0.0, 1.0)
    base = validate.array("access.known.base", access.known.base, ("d", *r.shape[1:], r.shape[1]))
    validate.count("params.K", params.K)
    return base.copy(), r, validate.interval("params.delta", params.delta, 0.0, 1.0, open_lo=True, open_hi=True)


def _plan_body(base, r, X, inverse, theta, V, policy, reach):
    H, S, A, d = X.shape
    for h in range(H - 1, -1, -1):                                                     # 4
        for s in range(S):
            best = -1.0
            for a in range(A):
                x, q = X[h, s, a], r[h, s, a]
                for i in range(d):
                    x[i] = 0.0
                    for z in range(S):
                        x[i] += base[i, s, a, z] * V[h + 1, z]
                    q += x[i] * theta[i]
                q += reach * math.sqrt(max(square(inverse, x), 0.0))
                q = min(max(q, 0.0), 1.0 * (H - h))                                    # 5
                if q > best:
                    best = q
                    policy[h, s] = a
            V[h, s] = best                                                             # 6


def _loop_body(world, mind, slack, bias, c, log, first, rng):
    base, r, X, inverse, w, theta, V, policy, u, log_ratio = mind
    H, d = policy.shape[0], theta.shape[0]
    for k in range(len(log.policy)):                                                   # 2
        times(inverse, w, theta)
        radius = self_normalised(log_ratio[0], 0.5 * H, slack, bias)                   # 3
        _plan(base, r, X, inverse, theta, V, policy, c * radius)
        copy(log.policy[k], policy)
        copy(log.V[k], V)
        copy(log.theta[k], theta)
        copy(log.inverse[k], inverse)
        log.radius[k] = radius
        s = start(world)
        log.path[k, 0] = s
        for h in range(H):
            x = X[h, s, policy[h, s]]
            _, s = step(world, policy[h, s])                                           # 7
            log_ratio[0] += math.log(1.0 + absorb(inverse, x, u))
            for i in range(d):
                w[i] += x[i] * V[h + 1, s]                                             # 8
            log.path[k, h + 1] = s


def _class_loop_body(world, base, thetas, V, policy, loss, G, left, room, width, log, first, rng):
    H, S, N, d = policy.shape[1], policy.shape[2], thetas.shape[0], thetas.shape[1]
    x, off = room[0], room[1]
    for k in range(len(log.policy)):                                                   # 2
        s, hat, m = start(world), 0, -1
        for n in range(N):
            if loss[n] < loss[hat]:
                hat = n                                                                # 9
        for n in range(N):
            for i in range(d):
                off[i] = thetas[n, i] - thetas[hat, i]
            left[n] = 1 if square(G, off) <= width else 0
            if left[n] == 1 and (m < 0 or V[n, 0, s] > V[m, 0, s]):
                m = n                                                                  # 10
        copy(log.policy[k], policy[m])
        copy(log.left[k], left)
        log.member[k], log.path[k, 0] = m, s
        for h in range(H):
            a = policy[m, h, s]
            for i in range(d):
                x[i] = 0.0
                for z in range(S):
                    x[i] += base[i, s, a, z] * V[m, h + 1, z]
            _, s = step(world, a)                                                      # 11
            for n in range(N):
                miss = V[m, h + 1, s]
                for i in range(d):
                    miss -= x[i] * thetas[n, i]
                loss[n] += miss * miss
            for i in range(d):
                for j in range(d):
                    G[i, j] += x[i] * x[j]                                             # 8
            log.path[k, h + 1] = s


_plan = kernel(_plan_body)
_loop = kernel(_loop_body)
_class_loop = kernel(_class_loop_body)
