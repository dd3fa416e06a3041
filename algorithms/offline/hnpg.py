"""HAC and HNPG: an on-policy actor-critic whose critic is fitted to logged data and its own rollouts together.

Discounted MDP, S states, A actions. The learner has m_off logged tuples (s, a, r, s'), (s, a) ~ nu, and starts and
stops episodes at will. The critic class F is all tables in [low, high], or <phi(s, a), w>; f(s, pi) is the mean of
f(s, a) over a ~ pi.

    1  pi^1 uniform;  for t = 1..T:
    2      m_on times: follow pi^t from rho, stopping with chance 1 - gamma before each step, at (s, a)
    3          y = the sum of the rewards from (s, a) on, stopping with chance 1 - gamma after each: E y = Q(s, a)
    4      f_0 = 0;  for k = 1..K2:
    5          f_k = argmin over F of mean_off (f(s,a) - r - gamma f_{k-1}(s', pi^t))^2 + lam mean_on (f(s,a) - y)^2
    6      f^t = the mean of f_k over k = K1+1..K2
    7      HAC: pi^{t+1}(a|s) proportional to pi^t(a|s) exp(eta f^t(s, a))
    8      HNPG, pi_theta(a|s) proportional to exp <phi(s, a), theta>: theta = theta + eta w, w the least-squares fit of
           f^t(s, a) - f^t(s, pi) by <phi(s, a) - phi(s, pi), w> over the states of line 2, a ~ pi^t
    9  return the uniform mixture of pi^1..pi^T (the trace), one of them drawn an episode

With all tables line 5 is a weighted mean for each (s, a), cut to [low, high]; a pair without data keeps 0. With one-hot
features line 8 is line 7 at the states of the fit.

Guarantee (Theorem 1; its number and form as recalled, its wording was not at hand): the mixture loses to pi_e at most
    O( Vmax/(1-gamma) sqrt(log A/T) + 1/(1-gamma) min(sqrt(C_npg eps), sqrt(C_off eps')) ),
where the first branch of the minimum wants Q^pi in F and no completeness, the second completeness and coverage by nu
and no C_npg. An upper bound, not tight. What is checked are the steps of its proof, with derived constants.

Zhou, Sekhari, Song, Sun. Offline Data Enhanced On-Policy Policy Gradient with Provable Guarantees. ICLR 2024,
arXiv 2311.08384.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from mdpkit import rational, validate
from mdpkit.access import Episodes, Exact
from mdpkit.data import draw_tuples
from mdpkit.instances.formula import stationary
from mdpkit.iterate import iterate
from mdpkit.jit import kernel
from mdpkit.kernels.choose import argmax
from mdpkit.kernels.draw import draw
from mdpkit.models.tabular import EpisodicMDP, TabularMDP
from mdpkit.records import Dataset, Paper, Result
from mdpkit.worlds.markov import start, step

PAPER = Paper(
    "hnpg", "Offline Data Enhanced On-Policy Policy Gradient with Provable Guarantees",
    "Yifei Zhou, Ayush Sekhari, Yuda Song, Wen Sun", "ICLR 2024", "2311.08384",
    ("discounted", "hybrid", "tabular", "linear", "actor-critic"),
    """@inproceedings{zhou2024offline,
  title     = {Offline Data Enhanced On-Policy Policy Gradient with Provable Guarantees},
  author    = {Zhou, Yifei and Sekhari, Ayush and Song, Yuda and Sun, Wen},
  booktitle = {International Conference on Learning Representations},
  year      = {2024}
}""")


@dataclass(frozen=True)
class Params:
    """T policies, step eta, sizes of both samples, weight lam of the on-policy loss, K1 < K2, the range of F."""

    T: int
    eta: float
    m_off: int = 0
    m_on: int = 0
    lam: float = 1.0
    K1: int = 20
    K2: int = 40
    low: float = 0.0
    high: float = math.inf


def theory(T: int, A: int, gamma: float, m: int) -> Params:
    """eta = sqrt(8 log A/T)/Vmax, Vmax = 1/(1-gamma) for rewards in [0, 1], m tuples each, K2 ~ log(m)/(1-gamma)."""
    T, A, m = validate.count("T", T), validate.count("A", A, 2), validate.count("m", m)
    top = 1.0 / (1.0 - validate.interval("gamma", gamma, 0.0, 1.0, open_hi=True))
    K = math.ceil(math.log(m + 1) * top)
    return Params(T, math.sqrt(8 * math.log(A) / T) / top, m, m, 1.0, K, 2 * K, 0.0, top)


def run(access: Episodes, data: Dataset, params: Params, rng: np.random.Generator) -> Result:
    """HAC with all tables as its critics.

    Parameters
    ----------
    access : Episodes
        To a discounted model.
    data : Dataset (at least params.m_off, 1)
    params : Params
        With m_off = 0 it is on-policy, with m_on = 0 offline.
    rng : numpy.random.Generator
        Draws actions and stops rollouts.

    Returns
    -------
    Result
        ``output`` is pi^{T+1} (S, A); the mixture of line 9 is the trace.
    """
    moves, reward, gamma = _given(access, data, params)
    theta = np.zeros(reward.shape)
    settings = np.array([params.eta, gamma, params.m_on, params.lam, params.low, params.high, params.K1, params.K2])
    trace = access.drive(_loop, (moves, reward, theta, settings), theta, params.T, rng)
    return Result(softmax(theta), trace, params, {"offline": params.m_off, **access.samples})   # 9


def run_linear(access: Episodes, data: Dataset, params: Params, rng: np.random.Generator) -> Result:
    """HAC with critics <phi(s, a), w>, f^t cut to [low, high]; needs ``known.phi`` (S, A, d). As `run` else."""
    phi, critic = _linear(access, data, params)
    return _ascend(access, params, rng, phi.shape[:2], softmax, lambda pi, rng: critic(pi, rng)[0])


def run_hnpg(access: Episodes, data: Dataset, params: Params, rng: np.random.Generator) -> Result:
    """HNPG: critic and policy both linear in ``known.phi``. As `run_linear`, but ``theta`` is (d,)."""
    phi, critic = _linear(access, data, params)

    # Paper: its published code fits line 8 to logged states too; here they are those of line 2 alone, as recalled
    def direction(pi: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        f, visits = critic(pi, rng)
        weight = np.sqrt(visits.sum(1, keepdims=True) * pi)                            # a ~ pi^t is summed out
        X = weight[..., None] * (phi - (pi[..., None] * phi).sum(1, keepdims=True))
        y = weight * (f - (pi * f).sum(1, keepdims=True))
        return np.linalg.lstsq(X.reshape(-1, phi.shape[2]), y.ravel())[0]              # 8

    return _ascend(access, params, rng, phi.shape[2:], lambda theta: softmax(phi @ theta), direction)


def run_exact(access: Exact, params: Params, rng: np.random.Generator) -> Result:
    """HAC with the exact critic, f^t = Q^{pi^t}: NPG with the step eta (1-gamma). ``rng`` is not used."""
    _check(access, Exact, params)
    m = validate.instance("access.model", access.model, TabularMDP)
    return _ascend(access, params, rng, m.r.shape, softmax, lambda pi, rng: action_values(m.dense, m.r, m.gamma, pi))


def hpe(P: np.ndarray, r: np.ndarray, gamma: Any, rho: np.ndarray, pi: np.ndarray, nu: np.ndarray, phi: np.ndarray,
        lam: Any, K: int, *, first: Any = None, most: Any = None) -> np.ndarray:
    """The weights of f_1..f_K (K, d), lines 4 and 5 with expectations, from f_0 = <phi, first> (0 where omitted).

    Works on floats and on rational arrays, as all entries below do but `mirror`. phi (S, A, d) must have rank d where
    nu + lam d_pi is positive. With ``most`` F is a segment, d = 1 and 0 <= w <= most: convex, not linear.
    """
    X = phi.reshape(-1, phi.shape[2])
    on, Q = lam * occupation(P, gamma, rho, pi), action_values(P, r, gamma, pi)
    G = X.T @ ((nu + on).reshape(-1)[:, None] * X)
    given = rational.solve(G, X.T @ (nu * r + on * Q).reshape(-1))
    ahead = gamma * nu[..., None] * (P @ (pi[..., None] * phi).sum(1))                 # (S, A, d)
    back = np.array([rational.solve(G, X.T @ x) for x in ahead.reshape(X.shape).T]).T
    out = rational.zeros((K, len(G)), P)
    w = out[0] if first is None else first
    for k in range(K):                                                                 # 4
        w = given + back @ w                                                           # 5
        out[k] = w = w if most is None else np.minimum(np.maximum(w, 0 * most), most)
    return out


def split(P: np.ndarray, r: np.ndarray, gamma: Any, rho: np.ndarray, pi_e: np.ndarray, pi: np.ndarray,
          f: np.ndarray) -> tuple[Any, Any, Any]:
    """(1-gamma) sum_t V^{pi_e} - V^{pi^t}, and the two sums that it equals, under the occupancy of pi_e.

    They are sum_t E<pi_e - pi^t, f^t> and sum_t E<pi_e - pi^t, Q^{pi^t} - f^t>, for policies and critics (T, S, A).
    """
    d = occupation(P, gamma, rho, pi_e).sum(-1)[:, None]
    Q = np.array([action_values(P, r, gamma, p) for p in pi])
    best = (rho[:, None] * pi_e * action_values(P, r, gamma, pi_e)).sum()
    gap = (1 - gamma) * (len(pi) * best - (rho[:, None] * pi * Q).sum())
    return gap, (d * (pi_e - pi) * f).sum(), (d * (pi_e - pi) * (Q - f)).sum()


def mirror(f: np.ndarray, eta: float) -> np.ndarray:
    """pi^1..pi^T (T, S, A), line 7 against given critics f^1..f^T; the last one is not looked at."""
    return softmax(eta * np.concatenate([np.zeros((1, *f.shape[1:])), np.cumsum(f[:-1], 0)]))


def action_values(P: np.ndarray, r: np.ndarray, gamma: Any, pi: np.ndarray) -> np.ndarray:
    """Q^pi (S, A)."""
    flow = rational.eye(len(r), P) - gamma * (pi[:, :, None] * P).sum(1)
    return r + gamma * (P @ rational.solve(flow, (pi * r).sum(-1)))


def occupation(P: np.ndarray, gamma: Any, rho: np.ndarray, pi: np.ndarray) -> np.ndarray:
    """d_pi (S, A), normalised: where line 2 stops."""
    back = (rational.eye(len(pi), P) - gamma * (pi[:, :, None] * P).sum(1)).T
    return pi * rational.solve(back, (1 - gamma) * rho)[:, None]


def softmax(theta: np.ndarray) -> np.ndarray:
    """pi (.., A) of a table, in log space."""
    weights = np.exp(theta - theta.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True)


def demo(rng: np.random.Generator) -> Result:
    """Five iterations on F(4, 3), gamma = 0.9, with 200 uniform tuples and 50 rollouts each."""
    model = stationary(4, 3, 0.9)
    data = draw_tuples(EpisodicMDP.stationary(model.P, model.r, model.rho, 1), np.full((1, 4, 3), 1 / 12), 200, rng)
    return run(Episodes(model, rng), data, Params(5, 0.5, 200, 50, high=10.0), rng)


def _ascend(access: Any, params: Params, rng: np.random.Generator, shape: tuple[int, ...], policy: Callable,
            move: Callable) -> Result:
    def once(theta: np.ndarray, access: Any, rng: np.random.Generator) -> np.ndarray:
        return theta + params.eta * move(policy(theta), rng)                           # 7

    theta, trace = iterate(once, np.zeros(shape), access, params.T, rng, lambda x: (policy(x), {"theta": x}))   # 1
    samples = {} if isinstance(access, Exact) else {"offline": params.m_off, **access.samples}
    return Result(policy(theta), trace, params, samples)                               # 9


def _linear(access: Episodes, data: Dataset, params: Params) -> tuple[np.ndarray, Callable]:
    """The features, and a function of a policy that gives f^t (S, A) and where its rollouts stopped."""
    moves, reward, gamma = _given(access, data, params)
    phi = validate.array("access.known.phi", access.known.phi, (*reward.shape, "d"))
    X, lam = phi.reshape(-1, phi.shape[2]), params.lam

    def critic(pi: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        visits, total = access.call(_roll, pi, gamma, params.m_on, rng)                # 2, 3
        # Paper: the least squares of line 5 may have many solutions; this is the smallest
        inverse = np.linalg.pinv(X.T @ ((moves.sum(-1) + lam * visits).reshape(-1, 1) * X), hermitian=True)
        given = inverse @ (X.T @ (reward + lam * total).ravel())
        back = gamma * inverse @ (X.T @ (moves @ (pi[..., None] * phi).sum(1)).reshape(X.shape))
        w, mean = np.zeros(len(given)), np.zeros(len(given))                           # 4
        for k in range(params.K2):
            w = given + back @ w                                                       # 5
            mean = mean + w / (params.K2 - params.K1) if k >= params.K1 else mean
        return np.clip(phi @ mean, params.low, params.high), visits                    # 6

    return phi, critic


def _given(access: Episodes, data: Dataset, params: Params) -> tuple[np.ndarray, np.ndarray, float]:
    """The share of each move in the log (S, A, S), of the rewards of each pair (S, A), and gamma."""
    _check(access, Episodes, params)
    S, A = access.known.S, access.known.A
    validate.count("data.H", validate.instance("data", data, Dataset).H, 1, 1)
    validate.count("data.n", data.n, params.m_off)
    s, a, r, s_next = (x[:, 0] for x in data.fits(S, A).take(params.m_off).steps)
    moves, reward = np.zeros((S, A, S)), np.zeros((S, A))
    np.add.at(moves, (s, a, s_next), 1.0 / max(params.m_off, 1))
    np.add.at(reward, (s, a), r / max(params.m_off, 1))
    return moves, reward, access.known.gamma


def _check(access: Any, kind: type, params: Params) -> None:
    validate.instance("access", access, kind)
    validate.instance("params", params, Params)
    for name, least in (("T", 1), ("m_off", 0), ("m_on", 0), ("K1", 0), ("K2", params.K1 + 1)):
        validate.count(f"params.{name}", getattr(params, name), least)
    validate.interval("params.eta", params.eta, 0.0, math.inf, open_lo=True)
    validate.interval("params.lam", params.lam, 0.0, math.inf)
    validate.interval("params.low", params.low, -math.inf, params.high, open_hi=True)


def _loop_body(world, moves, reward, theta, settings, log, first, rng):
    """``settings``: eta, gamma, m_on, lam, the range of F, K1, K2."""
    S, A = theta.shape
    for t in range(len(log)):                                                          # 1
        for s in range(S):
            top, mass = theta[s, argmax(theta[s])], 0.0
            for a in range(A):
                log[t, s, a] = math.exp(theta[s, a] - top)                             # 7
                mass += log[t, s, a]
            for a in range(A):
                log[t, s, a] /= mass
        visits, total = _roll(world, log[t], settings[1], int(settings[2]), rng)       # 2, 3
        _fit(moves, reward, visits, total, log[t], settings, theta)                    # 4, 5, 6, 7


def _roll_body(world, pi, gamma, n, rng):
    """n tuples (s, a, y), each from an episode of its own: the share of each pair, and of its y, (S, A)."""
    S, A = pi.shape
    visits, total, cum = np.zeros((S, A)), np.zeros((S, A)), np.ones((S, A))
    for s in range(S):                      # the last stays 1: rounding must not let a draw fall beyond the end
        mass = 0.0
        for a in range(A - 1):
            mass += pi[s, a]
            cum[s, a] = mass
    for _ in range(n):
        s, s_0, a_0, going = start(world), -1, -1, True
        while going:
            a = draw(cum[s], 0, A, rng.random())
            if s_0 < 0 and rng.random() >= gamma:                                      # 2
                s_0, a_0 = s, a
                visits[s, a] += 1.0 / n
            reward, s = step(world, a)
            if s_0 >= 0:                                                               # 3
                total[s_0, a_0] += reward / n
                going = rng.random() < gamma
    return visits, total


def _fit_body(moves, reward, visits, total, pi, settings, theta):
    """Adds eta f^t to ``theta``. Logged: ``moves`` (S, A, S), ``reward`` (S, A); rolled: ``visits``, ``total`` of y."""
    S, A = visits.shape
    eta, gamma, lam, low, high = settings[0], settings[1], settings[3], settings[4], settings[5]
    K1, K2 = int(settings[6]), int(settings[7])
    f, V = np.zeros((S, A)), np.zeros(S)                                               # 4
    for k in range(K2):
        for s in range(S):
            V[s] = 0.0
            for a in range(A):
                V[s] += pi[s, a] * f[s, a]
        for s in range(S):
            for a in range(A):
                mass, best = lam * visits[s, a], reward[s, a] + lam * total[s, a]
                for t in range(S):
                    if moves[s, a, t] > 0.0:
                        mass += moves[s, a, t]
                        best += gamma * moves[s, a, t] * V[t]
                f[s, a] = min(max(best / mass if mass > 0.0 else 0.0, low), high)      # 5
                if k >= K1:
                    theta[s, a] += eta * f[s, a] / (K2 - K1)                           # 6, 7


_roll = kernel(_roll_body)
_fit = kernel(_fit_body)
_loop = kernel(_loop_body)
