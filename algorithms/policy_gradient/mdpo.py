"""MDPO: mirror descent on policies with KL, step by step and state by state.

P (S, A, S), r (S, A) in [0, 1] and gamma in [0, 1); V is the sum of gamma^t r, not normalised, d the normalised
occupancy of states from rho. KL(s; p, q) = sum_a p log(p/q) at state s. With a temperature tau > 0 rewards are
r - tau log pi(a|s), with values V_tau, Q_tau = r + gamma P V_tau.

    1  pi_0 uniform, or any of full support;  for k = 0..T-1:
    2      Q of pi_k by a linear solve                                             (`run`)
    3      or with errors e(s, a) of at most eps, uniform or the caller's signs    (`run_inexact`)
    4      or at each (s, a) the mean of n returns of H steps                      (`run_sampled`)
    5      or Q_tau                                                                (`run_soft`)
    6      t_k > 0 is given; or t_k = max_s KL(s; greedy(Q), pi_k)/gamma^(2k+2)
    7      pi_{k+1} = argmax_pi E_{s ~ d_k}[<pi(.|s), Q(s, .)> - KL(s; pi, pi_k)/t_k], state by state, in closed form
           pi_{k+1}(a|s) proportional to pi_k(a|s) exp(t_k Q(s, a))
    8      or, for Q_tau, proportional to pi_k^(1/(1 + t tau)) exp(t Q_tau/(1 + t tau))
    9      or m steps of size a along the gradient of that objective in a softmax table, from pi_k  (`run_gradient`)
   10  return pi_T

Where each state has weight, the weights drop out of line 7: states may as well come from a buffer. The first step of
line 9 is that of the policy gradient. As t grows line 8 becomes soft policy iteration, exp(Q_tau/tau).

Guarantee (Theorem 16 of Agarwal et al. 2021 at a fixed step, of which line 7 is the natural gradient; no theorem of the
MDPO paper, whose analysis quotes O(1/sqrt K) and O(1/K), speaks of exact values): V*(rho) - V_k(rho) <=
(D_0/(t (1-gamma)) + 1/(1-gamma)^2)/(k+1), D_0 = E_{s ~ d*} KL(s; pi*, pi_0). Not tight: it falls linearly in the end.
Steps that grow by theta/(theta - 1), theta = max_s d*(s)/(rho(s) (1-gamma)), give `growing_bound` (form of Xiao 2022),
those of line 6 a factor gamma a step (Johnson et al. 2023), line 8 `soft_bound` (form of Cen et al. 2021). All recalled
and derived anew; exact constants are those here.

Tomar, Shani, Efroni, Ghavamzadeh. Mirror Descent Policy Optimization. ICLR 2022, arXiv 2005.09814.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from mdpkit import rational, validate
from mdpkit.access import Exact, Generative
from mdpkit.errors import MdpkitError
from mdpkit.instances.formula import stationary
from mdpkit.iterate import iterate
from mdpkit.jit import kernel
from mdpkit.kernels.draw import draw
from mdpkit.losses import log_softmax
from mdpkit.models.tabular import TabularMDP
from mdpkit.records import Paper, Result
from mdpkit.worlds.markov import ask

FLOOR = -1e12            # of log-policies: no float tells such a policy from 0

PAPER = Paper(
    "mdpo", "Mirror Descent Policy Optimization", "Manan Tomar, Lior Shani, Yonathan Efroni, Mohammad Ghavamzadeh",
    "ICLR 2022", "2005.09814", ("discounted", "planning", "tabular", "softmax", "mirror descent"),
    """@inproceedings{tomar2022mirror,
  title     = {Mirror Descent Policy Optimization},
  author    = {Tomar, Manan and Shani, Lior and Efroni, Yonathan and Ghavamzadeh, Mohammad},
  booktitle = {International Conference on Learning Representations},
  year      = {2022}
}""")


@dataclass(frozen=True)
class Params:
    """T updates; t > 0, a number or (T,), the rule of line 6 where None; pi_0 (S, A), uniform where omitted.

    Temperature tau; errors eps, their signs (S, A) or None; m inner steps of size a; n returns of H steps.
    """

    T: int
    t: Any = None
    start: Any = None
    tau: float = 0.0
    eps: float = 0.0
    signs: Any = None
    m: int = 1
    a: float = 1.0
    n: int = 1
    H: int = 1


def theory(T: int, theta: float, t_0: float = 1.0) -> Params:
    """Growing steps, t_{k+1} = t_k theta/(theta - 1); theta > 1 bounds max_s d*(s)/(rho(s) (1-gamma))."""
    theta = validate.interval("theta", theta, 1.0, math.inf, open_lo=True, open_hi=True)
    t_0 = validate.interval("t_0", t_0, 0.0, math.inf, open_lo=True, open_hi=True)
    return Params(validate.count("T", T), t_0 * (theta / (theta - 1)) ** np.arange(T))


def run(access: Exact, params: Params, rng: np.random.Generator) -> Result:
    """MDPO on exact values.

    Parameters
    ----------
    access : Exact
        To a discounted model with rewards in [0, 1]; for the rule of line 6 with gamma > 0.
    params : Params
    rng : numpy.random.Generator
        Not used.

    Returns
    -------
    Result
        ``output`` is pi_T (S, A); the trace holds pi_0..pi_{T-1}, and in its info ``log_pi``, the ``Q`` that line 7
        saw, both (T, S, A), and the steps ``t``.
    """
    m = _given(access, params, rng)
    return _descend(params, m.gamma, access, rng, m.r.shape,
                    lambda log_pi, t: exponent(m.dense, m.r, m.gamma, np.exp(log_pi), 1.0))         # 2


def run_inexact(access: Exact, params: Params, rng: np.random.Generator) -> Result:
    """With errors ``params.eps`` times ``params.signs``, or drawn from ``rng`` uniformly. As `run` else."""
    m = _given(access, params, rng)

    def seen(log_pi: np.ndarray, t: Any) -> np.ndarray:
        e = 2 * rng.random(m.r.shape) - 1 if params.signs is None else np.asarray(params.signs)
        return exponent(m.dense, m.r, m.gamma, np.exp(log_pi), 1.0) + params.eps * e                # 3

    return _descend(params, m.gamma, access, rng, m.r.shape, seen)


def run_sampled(access: Generative, params: Params, rng: np.random.Generator) -> Result:
    """On ``params.n`` returns of ``params.H`` steps from each state and action; gamma is granted, ``t`` given.

    S A n H T transitions are asked for. ``rng`` draws the actions. As `run` else.
    """
    known = validate.instance("access", access, Generative).known
    validate.instance("params", params, Params)
    shape = (known.S, known.A)

    def seen(log_pi: np.ndarray, t: Any) -> np.ndarray:
        q = np.zeros(shape)
        access.call(_returns, np.cumsum(np.exp(log_pi), -1), known.gamma, params.n, params.H, q, rng)    # 4
        return q

    result = _descend(params, 1.0, access, rng, shape, seen)
    return Result(result.output, result.trace, params, access.samples)


def run_soft(access: Exact, params: Params, rng: np.random.Generator) -> Result:
    """With a temperature ``params.tau`` > 0. As `run` else; ``Q`` is Q_tau."""
    m = _given(access, params, rng)
    validate.interval("params.tau", params.tau, 0.0, math.inf, open_lo=True)
    return _descend(params, m.gamma, access, rng, m.r.shape,
                    lambda log_pi, t: soft_values(m.dense, m.r, m.gamma, log_pi, params.tau), params.tau)   # 5


def run_gradient(access: Exact, params: Params, rng: np.random.Generator) -> Result:
    """With ``params.m`` gradient steps of size ``params.a`` in place of the closed form; ``t`` is given. As `run`."""
    m = _given(access, params, rng)

    def climb(log_pi: np.ndarray, Q: np.ndarray, t: float) -> np.ndarray:
        out = log_pi
        for _ in range(params.m):
            g = gradient(m.dense, m.gamma, m.rho, np.exp(log_pi), Q, np.exp(out), (out - log_pi) / t)
            out = log_softmax(out + params.a * g)                                      # 9
        return out

    return _descend(params, m.gamma, access, rng, m.r.shape,
                    lambda log_pi, t: exponent(m.dense, m.r, m.gamma, np.exp(log_pi), 1.0), 0.0, climb)


def exponent(P: np.ndarray, r: np.ndarray, gamma: Any, pi: np.ndarray, t: Any) -> np.ndarray:
    """t Q^pi (S, A), what line 7 adds to log pi but for a constant a state. On floats and on rational arrays."""
    flow = rational.eye(len(r), P) - gamma * (pi[:, :, None] * P).sum(1)
    return t * (r + gamma * (P @ rational.solve(flow, (pi * r).sum(1))))


def soft_values(P: np.ndarray, r: np.ndarray, gamma: float, log_pi: np.ndarray, tau: float) -> np.ndarray:
    """Q_tau (S, A) = r + gamma P V_tau, V_tau = E_pi[Q_tau - tau log pi]."""
    pi = np.exp(log_pi)
    flow = np.eye(len(r)) - gamma * np.einsum("sa,saz->sz", pi, P)
    return r + gamma * (P @ np.linalg.solve(flow, (pi * (r - tau * log_pi)).sum(-1)))


def gradient(P: np.ndarray, gamma: Any, rho: np.ndarray, pi_k: np.ndarray, Q: np.ndarray, pi: np.ndarray,
             pull: np.ndarray) -> np.ndarray:
    """Of line 7's objective in the table of pi (S, A); ``pull`` = log(pi/pi_k)/t. On floats and on rational arrays."""
    flow = rational.eye(len(rho), P) - gamma * (pi_k[:, :, None] * P).sum(1)
    d = rational.solve(flow.T, (1 - gamma) * rho)
    g = Q - pull
    return d[:, None] * pi * (g - (pi * g).sum(-1)[:, None])


def reverse(pi: np.ndarray, A: np.ndarray, t: float) -> np.ndarray:
    """The update with KL(pi_k, pi) in place of KL(pi, pi_k), at one state: pi(a)/(lambda - t A(a)), lambda for sum 1.

    Parameters
    ----------
    pi, A : arrays (A,)
        Of full support; values or advantages.
    t : float, > 0
    """
    t = validate.interval("t", t, 0.0, math.inf, open_lo=True)
    lo, hi = float((t * A + pi).max()), float((t * A).max()) + 1.0        # the sum is at least 1, and at most 1
    while lo < (at := (lo + hi) / 2) < hi:
        lo, hi = (at, hi) if (pi / (at - t * A)).sum() > 1 else (lo, at)
    return pi / (hi - t * A)


def fixed_bound(gamma: float, t: float, D_0: float, k: Any) -> Any:
    """(D_0/(t (1-gamma)) + 1/(1-gamma)^2)/(k + 1); an array for an array of k."""
    return (D_0 / (t * (1 - gamma)) + (1 - gamma) ** -2) / (k + 1)


def growing_bound(gamma: float, t_0: float, theta: float, delta_0: float, D_0: float, k: Any) -> Any:
    """(1 - 1/theta)^k (delta_0 + D_0/((theta - 1) t_0 (1-gamma))) with the steps of `theory`."""
    return (1 - 1 / theta) ** k * (delta_0 + D_0 / ((theta - 1) * t_0 * (1 - gamma)))


def soft_bound(gamma: float, t: float, tau: float, off: float, far: float, k: Any) -> Any:
    """Of |Q*_tau - Q_{tau,k+1}|: gamma kappa^k (off + 2 alpha tau far), alpha = 1/(1 + t tau), kappa = alpha +
    (1 - alpha) gamma; off = |Q*_tau - Q_{tau,0}|, far = |log pi* - log pi_0|, largest entries."""
    alpha = 1 / (1 + t * tau)
    return gamma * (alpha + (1 - alpha) * gamma) ** k * (off + 2 * alpha * tau * far)


def demo(rng: np.random.Generator) -> Result:
    """Five sampled updates on F(4, 3), gamma = 0.9."""
    return run_sampled(Generative(stationary(4, 3, 0.9), rng, grant=("gamma",)), Params(5, 0.5, n=3, H=10), rng)


def _given(access: Exact, params: Params, rng: np.random.Generator) -> TabularMDP:
    validate.instance("access", access, Exact)
    model = validate.instance("access.model", access.model, TabularMDP)
    validate.within("access.model.r", model.r, 0.0, 1.0)
    validate.instance("params", params, Params)
    if params.t is None:
        validate.interval("access.model.gamma", model.gamma, 0.0, 1.0, open_lo=True)
    return model


def _descend(params: Params, gamma: float, access: Any, rng: np.random.Generator, shape: tuple[int, int],
             seen: Callable, tau: float = 0.0, climb: Callable | None = None) -> Result:
    """``seen`` gives Q of a log-policy; ``climb`` another line 7."""
    T = validate.count("params.T", params.T)
    validate.generator("rng", rng)
    for name in ("m", "n", "H"):
        validate.count(f"params.{name}", getattr(params, name))
    steps = None if params.t is None else validate.array(
        "params.t", np.full(T, params.t) if np.ndim(params.t) == 0 else params.t, (T,))
    if (steps is None and (gamma == 1.0 or climb or tau > 0)) or (steps is not None and (steps <= 0).any()):
        raise MdpkitError("params.t", "positive" if steps is not None else "given: line 6 is about line 2", params.t)

    def look(k: int, log_pi: np.ndarray) -> tuple[int, np.ndarray, np.ndarray, float]:
        Q = seen(log_pi, None)
        if steps is not None:
            return k, log_pi, Q, float(steps[k])
        short = -log_pi[np.arange(len(Q)), Q.argmax(-1)].min()
        return k, log_pi, Q, max(float(short), 1e-300) / gamma ** (2 * k + 2)           # 6

    def once(state: tuple, access: Any, rng: np.random.Generator) -> tuple:
        k, log_pi, Q, t = state
        keep = 1.0 / (1.0 + t * tau)
        new = climb(log_pi, Q, t) if climb else log_softmax(keep * log_pi + keep * t * (Q - Q.max(-1)[:, None]))  # 7, 8
        new = np.maximum(new, FLOOR)                     # Paper: no floor; where it acts, the policy is 0 anyway
        return look(k + 1, new) if k + 1 < T else (T, new, Q, t)

    state, trace = iterate(once, look(0, _start(params, shape)), access, T, rng, lambda state: (np.exp(state[1]), {
        "log_pi": state[1], "Q": state[2], "t": np.array(state[3])}))                   # 1
    return Result(np.exp(state[1]), trace, params)                                     # 10


def _start(params: Params, shape: tuple[int, int]) -> np.ndarray:
    if params.start is None:
        return np.full(shape, -math.log(shape[1]))
    start = validate.policy("params.start", params.start, shape)
    if (start == 0).any():
        raise MdpkitError("params.start", "positive: a softmax has full support", 0.0)
    return np.log(start)


def _returns_body(world, cum, gamma, n, H, q, rng):
    """``q`` (S, A) = means of n returns of H steps of the policy with cumulative rows ``cum``."""
    S, A = q.shape
    for s in range(S):
        for a in range(A):
            total = 0.0
            for _ in range(n):
                z, b, weight = s, a, 1.0
                for _ in range(H):
                    gain, z = ask(world, 0, z, b)                                      # 4
                    total += weight * gain
                    weight *= gamma
                    b = draw(cum[z], 0, A, rng.random() * cum[z, A - 1])
            q[s, a] = total / n                                                        # 4


_returns = kernel(_returns_body)
