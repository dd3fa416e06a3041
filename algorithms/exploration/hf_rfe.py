"""HF-UCRL-RFE++: reward-free exploration of linear mixture MDPs at a cost that hardly knows the horizon.

One kernel P(t | s, a) = <phi(t | s, a), theta*> for all H steps, phi(t | s, a)_i = B_i(t | s, a) known, theta* in R^d
is not, ||theta*|| <= B. phi_V(s, a) = sum_t phi(t | s, a) V(t), so that (P V)(s, a) = <phi_V(s, a), theta*>. First K
episodes without rewards; then r >= 0, whose sum along any trajectory is 1 at most, and a policy is wanted for it.
||x||_A = sqrt(x' A x). M+1 weighted regressions: one for each moment V^(2^m), m = 0..M-1, and one, row M, for u.

     1  Sigma_m = lambda I, b_m = 0 for m = 0..M-1, and the same for u
     2  for k = 1..K:  theta = Sigma^-1 b for all of them, frozen for the episode
     3      u(s, a) = argmax over f in {0,1}^S of ||phi_f(s, a)||_{Sigma_u^-1} (first on ties)
     4      rho(s, a) = min(1, beta ||phi_{u(s, a)}(s, a)||_{Sigma_u^-1})
     5      V_{H+1} = 0;  for h = H..1:
     6          Q_h = clip(rho + <phi_{V_{h+1}}, theta_0> + beta ||phi_{V_{h+1}}||_{Sigma_0^-1}, 0, 1), V_h = max Q_h
     7      play greedily in Q (lowest index on ties); after each move (s, a, t):
     8          f = phi_{u(s, a)}(s, a), n = ||f||_{Sigma_u^-1}, p = clip(<f, theta_u>, 0, 1):
     9          sigma^2 = max(g^2 n, p(1-p) + 3 min(1, beta n), alpha^2), Sigma_u += f f'/sigma^2, b_u += f u(t)/sigma^2
    10          f_m = phi_{V_{h+1}^(2^m)}(s, a), n_m = ||f_m||_{Sigma_m^-1}, p_m = clip(<f_m, theta_m>, 0, 1):
    11          E_m = min(1, 2 beta n_m) + min(1, beta n_{m+1}), Vhat_m = p_{m+1} - p_m^2; for m = M-1 the sum is 1
    12          sigma^2 = max(g^2 n_m, Vhat_m + E_m, alpha^2), and the same with f_m, V_{h+1}(t)^(2^m)
    13  given r:  theta = theta_u projected on the simplex; return the optimal policy of sum_i theta_i B_i and r
    14  or, with optimism, plan as in lines 5 and 6 with r, theta_u and Sigma_u in place of rho, theta_0 and Sigma_0
alpha = H^-1/2, g = d^-1/4, lambda = 1/B^2, M = ceil(log2(3 K H)). `run_unweighted` has sigma = 1 throughout.

Guarantees, with probability 1 - delta: ||theta - theta*||_Sigma <= beta for all rows, and
    Theorem 1, as recalled: K = O~(d^2/eps^2) episodes give V* - V^pi <= eps for every r, H in logarithms only; tight.
    Derived: if ||theta - theta*||_{Sigma_u} <= beta in line 13, |V^pi(sum theta_i B_i, r) - V^pi(P, r)| <= V^pi(P, rho)
        for every pi and r, where V_h = min(1, rho + P V_{h+1}); so that V* - V^pi <= 2 max_pi V^pi(P, rho).
    The variance behind it: E sum_h Var(V_{h+1}(s_{h+1})) = Var(sum_h r_h) <= 1/4 whatever H, for every policy.
beta of `theory` is as recalled; a run with less is another claim. In the paper the norms of g^2 n are of the running
matrix, and a plan is cut where a determinant has grown fourfold.

Zhang, Zhang, Gu. Optimal Horizon-Free Reward-Free Exploration for Linear Mixture MDPs. ICML 2023, arXiv 2303.10165.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from mdpkit import rational, validate
from mdpkit.access import Episodes
from mdpkit.concentration import hf_rfe
from mdpkit.instances.formula import bounded_mixture
from mdpkit.jit import kernel
from mdpkit.kernels.copy import copy
from mdpkit.kernels.ellipsoid import square, times
from mdpkit.records import Paper, Result
from mdpkit.worlds.markov import start, step

PAPER = Paper(
    "hf-rfe", "Optimal Horizon-Free Reward-Free Exploration for Linear Mixture MDPs",
    "Junkai Zhang, Weitong Zhang, Quanquan Gu", "ICML 2023", "2303.10165",
    ("episodic", "exploration", "reward-free", "linear mixture", "horizon-free"),
    """@inproceedings{zhang2023optimal,
  title     = {Optimal Horizon-Free Reward-Free Exploration for Linear Mixture {MDP}s},
  author    = {Zhang, Junkai and Zhang, Weitong and Gu, Quanquan},
  booktitle = {International Conference on Machine Learning},
  year      = {2023}
}""")


@dataclass(frozen=True)
class Params:
    """K episodes, confidence delta, radius beta, M moments, lam, alpha, g."""

    K: int
    delta: float
    beta: float
    M: int
    lam: float
    alpha: float
    g: float


class Log(NamedTuple):
    """One row an episode, as of its beginning. Row M of theta and Sigma is that of u."""

    policy: np.ndarray      # (H, S)
    rho: np.ndarray         # (S, A)
    theta: np.ndarray       # (M+1, d)
    Sigma: np.ndarray       # (M+1, d, d)


class Explored(NamedTuple):
    """What exploration leaves for planning."""

    theta: np.ndarray       # (d,) theta_u
    Sigma: np.ndarray       # (d, d) Sigma_u
    rho: np.ndarray         # (S, A)


class Memory(NamedTuple):
    """What lasts between episodes; Sigma and b run on within one, the others do not."""

    base: np.ndarray        # (S, A, d, S)
    Sigma: np.ndarray       # (M+1, d, d)
    inverse: np.ndarray     # (M+1, d, d)
    b: np.ndarray           # (M+1, d)
    theta: np.ndarray       # (M+1, d)
    u: np.ndarray           # (S, A) bit t is u(t)
    phi: np.ndarray         # (S, A, d) phi_u
    rho: np.ndarray         # (S, A)
    V: np.ndarray           # (H+1, S)
    policy: np.ndarray      # (H, S)
    f: np.ndarray           # (M+1, d) room
    moments: np.ndarray     # (M+1, 3) n, p and the target of a move, room
    power: np.ndarray       # (S,) room


def theory(K: int, delta: float, H: int, d: int, B: float = 1.0) -> Params:
    """All of it, for H steps, d features and ||theta*|| <= B."""
    beta = hf_rfe(K, H, d, delta, B)
    return Params(K, delta, beta, math.ceil(math.log2(3 * K * H)), 1.0 / (B * B), 1.0 / math.sqrt(H), d**-0.25)


def run(access: Episodes, params: Params, rng: np.random.Generator) -> Result:
    """Exploration, without rewards, of a linear mixture MDP of at most 10 states; rng is not used. Gives `Explored`."""
    return explore(access, params, rng)


def run_unweighted(access: Episodes, params: Params, rng: np.random.Generator) -> Result:
    """Exploration with sigma = 1 throughout, which is ridge regression. Otherwise as `run`."""
    return explore(access, params, rng, weighted=False)


def explore(access: Episodes, params: Params, rng: np.random.Generator, weighted: bool = True, active: bool = True
            ) -> Result:
    """As `run`; without weights, or with the first action in place of a plan."""
    mind = memory(access, params)
    scales = np.array([params.beta, params.alpha * params.alpha, params.g * params.g])
    trace = access.drive(_loop, (mind, scales, weighted, active), Log(mind.policy, mind.rho, mind.theta, mind.Sigma),
                         validate.count("params.K", params.K), rng)
    estimate(mind.Sigma, mind.b, mind.inverse, mind.theta)
    doubt(mind.base, mind.inverse[-1], params.beta, mind.u, mind.phi, mind.rho)
    return Result(Explored(mind.theta[-1], mind.Sigma[-1], mind.rho), trace, params, access.samples)


def pseudo_reward(base: np.ndarray, inverse: np.ndarray, beta: float) -> np.ndarray:
    """rho (S, A) of lines 3 and 4, for base (d, S, A, S) and Sigma_u^-1 (d, d)."""
    by_pair, rho = np.ascontiguousarray(base.transpose(1, 2, 0, 3)), np.zeros(base.shape[1:3])
    doubt(by_pair, inverse, beta, np.zeros(rho.shape, np.int64), np.zeros(by_pair.shape[:3]), rho)
    return rho


def certificate(P: np.ndarray, rho: np.ndarray, H: int) -> np.ndarray:
    """max_pi V^pi(P, rho) (S,), for P (S, A, S), truncated at 1 in each step."""
    V = np.zeros(P.shape[0])
    for _ in range(H):
        V = np.minimum(1.0, rho + (P * V).sum(-1)).max(-1)
    return V


def uncertainty(f: np.ndarray, theta: np.ndarray, inverse: np.ndarray, beta: float) -> tuple[float, float]:
    """Vhat_m and E_m of line 11, from rows m and m+1 of f (2, d), theta (2, d) and the inverses (2, d, d)."""
    p = np.clip((f * theta).sum(-1), 0.0, 1.0)
    n = np.sqrt(np.maximum(np.einsum("mi,mij,mj->m", f, inverse, f), 0.0))
    return float(p[1] - p[0] * p[0]), float(min(1.0, 2 * beta * n[0]) + min(1.0, beta * n[1]))


def project(theta: np.ndarray) -> np.ndarray:
    """The nearest point (d,) of the simplex."""
    ordered = np.sort(theta)[::-1]
    level = (np.cumsum(ordered) - 1.0) / np.arange(1, len(theta) + 1)
    return np.maximum(theta - level[np.flatnonzero(ordered > level)[-1]], 0.0)


def plan(base: np.ndarray, theta: np.ndarray, r: np.ndarray) -> np.ndarray:
    """The policy (H, S) of line 13 for rewards r (H, S, A), theta (d,) as explored."""
    return plan_optimistic(base, project(theta), r, np.zeros((len(base), len(base))), 0.0)[0]


def plan_optimistic(base: np.ndarray, theta: np.ndarray, r: np.ndarray, inverse: np.ndarray, beta: float
                    ) -> tuple[np.ndarray, np.ndarray]:
    """The policy (H, S) of line 14 and its optimistic values V (H+1, S), with Sigma_u^-1 (d, d)."""
    V, policy = np.zeros((len(r) + 1, r.shape[1])), np.zeros(r.shape[:2], np.int64)
    optimise(np.ascontiguousarray(base.transpose(1, 2, 0, 3)), r, inverse, theta, beta, V, policy, np.zeros(len(base)))
    return policy, V


def total_variance(P: np.ndarray, r: np.ndarray, policy: np.ndarray, s: int) -> Any:
    """E sum_h Var(V_{h+1}(s_{h+1})) from s, for P (S, A, S), r (H, S, A) and actions (H, S); rationals too."""
    at, (later, V) = np.arange(len(P)), rational.zeros((2, len(P)), P)
    for h in range(len(r) - 1, -1, -1):
        p = P[at, policy[h]]
        mean = (p * V).sum(-1)
        off = V - mean[:, None]
        later, V = (p * (off * off + later)).sum(-1), r[h][at, policy[h]] + mean
    return later[s]


def memory(access: Episodes, params: Params) -> Memory:
    """What the theorem grants, and an explorer that has seen nothing."""
    validate.instance("access", access, Episodes)
    validate.instance("params", params, Params)
    for name in ("lam", "alpha", "g", "beta"):
        validate.interval(f"params.{name}", getattr(params, name), 0.0, math.inf, open_lo=True, open_hi=True)
    S, A, H = validate.count("access.known.S", access.known.S, 1, 10), access.known.A, access.known.H
    base = validate.array("access.known.base", access.known.base, ("d", S, A, S))
    d, m = len(base), validate.count("params.M", params.M) + 1
    Sigma = np.tile(params.lam * np.eye(d), (m, 1, 1))                                 # 1
    return Memory(np.ascontiguousarray(base.transpose(1, 2, 0, 3)), Sigma, np.zeros((m, d, d)), np.zeros((m, d)),
                  np.zeros((m, d)), np.zeros((S, A), np.int64), np.zeros((S, A, d)), np.zeros((S, A)),
                  np.zeros((H + 1, S)), np.zeros((H, S), np.int64), np.zeros((m, d)), np.zeros((m, 3)), np.zeros(S))


def demo(rng: np.random.Generator) -> Result:
    """Thirty episodes of exploration with beta = 3 and four moments."""
    return run(Episodes(bounded_mixture(4), rng), Params(30, 0.1, 3.0, 4, 1.0, 0.5, 3**-0.25), rng)


def _estimate_body(Sigma, b, inverse, theta):
    """By elimination in place, without a choice of pivots, which positive definite matrices do not need."""
    d = Sigma.shape[1]
    copy(inverse, Sigma)
    for m in range(Sigma.shape[0]):
        X = inverse[m]
        for i in range(d):
            pivot = X[i, i]
            X[i, i] = 1.0
            for j in range(d):
                X[i, j] /= pivot
            for k in range(d):
                factor = X[k, i]
                if k != i:
                    X[k, i] = 0.0
                    for j in range(d):
                        X[k, j] -= factor * X[i, j]
        times(X, b[m], theta[m])                                                       # 2


def _doubt_body(base, inverse, beta, u, phi, rho):
    S, A, d, _ = base.shape
    corner, f = np.zeros(S), np.zeros(d)
    for s in range(S):
        for a in range(A):
            most = -1.0
            for mask in range(1 << S):
                for t in range(S):
                    corner[t] = 1.0 * ((mask >> t) & 1)
                times(base[s, a], corner, f)
                n = square(inverse, f)
                if n > most:
                    most, u[s, a] = n, mask                                            # 3
                    copy(phi[s, a], f)
            rho[s, a] = min(1.0, beta * math.sqrt(max(most, 0.0)))                     # 4


def _optimise_body(base, r, inverse, theta, beta, V, policy, f):
    """Lines 5 and 6 for rewards r (H, S, A), or (1, S, A) that stay."""
    H, (R, S, A) = policy.shape[0], r.shape
    for h in range(H - 1, -1, -1):                                                     # 5
        for s in range(S):
            V[h, s] = -1.0
            for a in range(A):
                times(base[s, a], V[h + 1], f)
                q = r[h % R, s, a] + beta * math.sqrt(max(square(inverse, f), 0.0))
                for i in range(f.shape[0]):
                    q += f[i] * theta[i]
                q = min(max(q, 0.0), 1.0)                                              # 6
                if q > V[h, s]:
                    V[h, s], policy[h, s] = q, a


def _regress_body(base, Sigma, inverse, b, theta, scales, weighted, s, a, t, V, mask, f, moments, power):
    """Lines 8 to 12 after a move; row -1 of f is phi_u."""
    M, d, (beta, floor, least) = f.shape[0] - 1, f.shape[1], scales
    copy(power, V)
    for m in range(M + 1):
        if m < M:
            times(base[s, a], power, f[m])                                             # 10
        p = 0.0
        for i in range(d):
            p += f[m, i] * theta[m, i]
        moments[m, 0], moments[m, 1] = math.sqrt(max(square(inverse[m], f[m]), 0.0)), min(max(p, 0.0), 1.0)
        moments[m, 2] = power[t] if m < M else 1.0 * ((mask >> t) & 1)
        for z in range(power.shape[0]):
            power[z] *= power[z]
    for m in range(M + 1):
        n, p, x = moments[m, 0], moments[m, 1], moments[m, 2]
        doubted = 1.0
        if m == M:
            doubted = p * (1.0 - p) + 3.0 * min(1.0, beta * n)                         # 9
        elif m < M - 1:
            doubted = moments[m + 1, 1] - p * p + min(1.0, 2.0 * beta * n) + min(1.0, beta * moments[m + 1, 0])   # 11
        weight = 1.0 / max(least * n, doubted, floor) if weighted else 1.0
        for i in range(d):
            b[m, i] += weight * f[m, i] * x
            for j in range(d):
                Sigma[m, i, j] += weight * f[m, i] * f[m, j]                           # 9, 12


def _loop_body(world, mind, scales, weighted, active, log, first, rng):
    base, Sigma, inverse, b, theta, u, phi, rho, V, policy, f, moments, power = mind
    M, H, every = f.shape[0] - 1, policy.shape[0], rho.reshape(1, rho.shape[0], rho.shape[1])
    for k in range(len(log.policy)):                                                   # 2
        estimate(Sigma, b, inverse, theta)
        doubt(base, inverse[M], scales[0], u, phi, rho)
        if active:
            optimise(base, every, inverse[0], theta[0], scales[0], V, policy, f[0])
        copy(log.policy[k], policy)
        copy(log.rho[k], rho)
        copy(log.theta[k], theta)
        copy(log.Sigma[k], Sigma)
        s = start(world)
        for h in range(H):
            a = policy[h, s]
            _, t = step(world, a)                                                      # 7
            copy(f[M], phi[s, a])
            regress(base, Sigma, inverse, b, theta, scales, weighted, s, a, t, V[h + 1], u[s, a], f, moments, power)
            s = t


estimate = kernel(_estimate_body)
doubt = kernel(_doubt_body)
optimise = kernel(_optimise_body)
regress = kernel(_regress_body)
_loop = kernel(_loop_body)
