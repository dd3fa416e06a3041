"""NPG: the natural policy gradient with a softmax table, on exact values.

P (S, A, S), r (S, A) in [0, 1] and gamma in [0, 1) are known; V is the sum of gamma^t r, not normalised, and d the
normalised occupancy from rho. pi_theta(a|s) is proportional to exp(theta[s, a]), with the score
grad log pi(a|s) = e_sa - sum_b pi(b|s) e_sb, and F = E_{s ~ d, a ~ pi}[grad log pi grad log pi'].

    1  theta = 0, or log pi_0
    2  for t = 0..T-1:  pi_t(a|s) = exp(theta[s, a]) / sum_b exp(theta[s, b])
    3      w = A^{pi_t}/(1 - gamma)                                (`run`)
    4      w = F(theta)^+ grad V^{pi_t}(rho)                       (`run_fisher`: the same up to a constant a state)
    5      w = grad V^{pi_t}(rho)                                  (`run_gradient`: plain ascent, for comparison)
    6      theta = theta + eta w
    7  return pi_T

Line 3 is mirror ascent with KL: pi_{t+1}(a|s) = pi_t(a|s) exp(eta A^{pi_t}(s, a)/(1 - gamma))/Z_t(s). It does not
look at rho; the factor 1/(1 - gamma) belongs to it.

Guarantee (Theorem 16, and Lemma 15 for line 3, by the numbers of the JMLR version): from uniform pi_0, for every
eta > 0, T >= 1 and rho,
    V*(rho) - V^{pi_T}(rho) <= log A/(eta T) + 1/((1-gamma)^2 T);
from another pi_0 the mean of KL(pi*(.|s), pi_0(.|s)) over s ~ d* takes the place of log A. Values never fall. An upper
bound, not tight: the gap of a finite MDP falls linearly in the end. Stated as recalled: the wording of the theorem was
not at hand when this was written.

Agarwal, Kakade, Lee, Mahajan. On the Theory of Policy Gradient Methods: Optimality, Approximation, and Distribution
Shift. JMLR 22(98), 2021, arXiv 1908.00261.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from mdpkit import rational, validate
from mdpkit.access import Exact
from mdpkit.errors import MdpkitError
from mdpkit.instances.formula import stationary
from mdpkit.iterate import iterate
from mdpkit.models.tabular import TabularMDP
from mdpkit.records import Paper, Result

PAPER = Paper(
    "npg", "On the Theory of Policy Gradient Methods: Optimality, Approximation, and Distribution Shift",
    "Alekh Agarwal, Sham M. Kakade, Jason D. Lee, Gaurav Mahajan", "JMLR 2021", "1908.00261",
    ("discounted", "planning", "tabular", "softmax"),
    """@article{agarwal2021theory,
  title   = {On the Theory of Policy Gradient Methods: Optimality, Approximation, and Distribution Shift},
  author  = {Agarwal, Alekh and Kakade, Sham M. and Lee, Jason D. and Mahajan, Gaurav},
  journal = {Journal of Machine Learning Research},
  volume  = {22},
  number  = {98},
  year    = {2021}
}""")


@dataclass(frozen=True)
class Params:
    """Step size eta > 0, T updates, and pi_0 (S, A) with full support; uniform where omitted."""

    eta: float
    T: int
    start: Any = None


def theory(T: int, A: int, gamma: float) -> Params:
    """The smallest step for which the bound is 2/((1-gamma)^2 T): eta = (1-gamma)^2 log A, from uniform.

    Any eta > 0 has the guarantee; with one action there is nothing to learn, and eta is 1.
    """
    A, gamma = validate.count("A", A), validate.interval("gamma", gamma, 0.0, 1.0, open_hi=True)
    return Params((1 - gamma) ** 2 * math.log(A) if A > 1 else 1.0, validate.count("T", T))


def run(access: Exact, params: Params, rng: np.random.Generator) -> Result:
    """NPG by Lemma 15: T steps of the advantage.

    Parameters
    ----------
    access : Exact
        To a discounted model with rewards in [0, 1].
    params : Params
    rng : numpy.random.Generator
        Not used.

    Returns
    -------
    Result
        ``output`` is pi_T (S, A); the trace holds pi_0..pi_{T-1} and, in its info, their ``theta`` (T, S, A).
    """
    def natural(P: np.ndarray, r: np.ndarray, gamma: float, rho: np.ndarray, pi: np.ndarray) -> np.ndarray:
        return advantage(P, r, gamma, pi) / (1 - gamma)                                # 3

    return _climb(access, params, rng, natural)


def run_fisher(access: Exact, params: Params, rng: np.random.Generator) -> Result:
    """NPG as it is defined, by `direction`: for rho that lets every state be visited, and pi that stays off 0.

    Parameters and result as in `run`. It raises numpy's LinAlgError, or loses its digits, where some d(s) pi(a|s)
    vanishes: F then has less rank than S (A - 1).
    """
    return _climb(access, params, rng, direction)                                      # 4


def run_gradient(access: Exact, params: Params, rng: np.random.Generator) -> Result:
    """Plain ascent on the softmax table, by `gradient`: it depends on rho and slows down with A. As `run` else."""
    return _climb(access, params, rng, gradient)                                       # 5


def direction(P: np.ndarray, r: np.ndarray, gamma: Any, rho: np.ndarray, pi: np.ndarray) -> np.ndarray:
    """F^+ grad V(rho), (S, A), where d(s) pi(a|s) > 0 everywhere. On floats and on rational arrays, as all below.

    The null space of F is then spanned by the shifts, theta[s, .] + c; F plus the projections on them is invertible
    and agrees with F^+ on gradients, which are orthogonal to shifts.
    """
    S, A = r.shape
    shifts = rational.zeros((S * A, S * A), P)
    for s in range(S):
        shifts[s * A: (s + 1) * A, s * A: (s + 1) * A] = rational.eye(1, P)[0, 0]
    g = gradient(P, r, gamma, rho, pi).reshape(-1)
    return rational.solve(fisher(P, gamma, rho, pi) + shifts, g).reshape(S, A)


def gradient(P: np.ndarray, r: np.ndarray, gamma: Any, rho: np.ndarray, pi: np.ndarray) -> np.ndarray:
    """grad V^pi(rho) = E_{(s,a) ~ d}[Q(s, a) grad log pi(a|s)]/(1-gamma), (S, A): the policy gradient theorem."""
    x = occupancy(P, gamma, rho, pi) * (r + gamma * (P @ evaluate(P, r, gamma, pi))) / (1 - gamma)
    return x - pi * x.sum(-1)[:, None]


def fisher(P: np.ndarray, gamma: Any, rho: np.ndarray, pi: np.ndarray) -> np.ndarray:
    """F (S*A, S*A) of the softmax table, from its definition."""
    G = scores(pi)
    return G.T @ (occupancy(P, gamma, rho, pi).reshape(-1)[:, None] * G)


def scores(pi: np.ndarray) -> np.ndarray:
    """Row s*A + a: grad log pi(a|s) with respect to the table, (S*A, S*A)."""
    S, A = pi.shape
    out = rational.eye(S * A, pi)
    for s in range(S):
        block = slice(s * A, (s + 1) * A)
        out[block, block] = out[block, block] - pi[s]
    return out


def advantage(P: np.ndarray, r: np.ndarray, gamma: Any, pi: np.ndarray) -> np.ndarray:
    """A^pi = Q^pi - V^pi, (S, A)."""
    V = evaluate(P, r, gamma, pi)
    return r + gamma * (P @ V) - V[:, None]


def evaluate(P: np.ndarray, r: np.ndarray, gamma: Any, pi: np.ndarray) -> np.ndarray:
    """V^pi (S,) by a linear solve."""
    P_pi = (pi[:, :, None] * P).sum(1)
    return rational.solve(rational.eye(len(r), P) - gamma * P_pi, (pi * r).sum(1))


def occupancy(P: np.ndarray, gamma: Any, rho: np.ndarray, pi: np.ndarray) -> np.ndarray:
    """d (S, A), normalised, from rho."""
    flow = rational.eye(len(pi), P) - gamma * (pi[:, :, None] * P).sum(1)
    return rational.solve(flow.T, (1 - gamma) * rho)[:, None] * pi


def softmax(theta: np.ndarray) -> np.ndarray:
    """pi (S, A) of a table; the largest entry of each state is moved to 0, so that nothing overflows."""
    weights = np.exp(theta - theta.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True)


def bound(A: int, gamma: float, eta: float, T: Any) -> Any:
    """log A/(eta T) + 1/((1-gamma)^2 T); an array for an array of T."""
    return (math.log(A) / eta + (1 - gamma) ** -2) / T


def demo(rng: np.random.Generator) -> Result:
    """Ten steps on F(4, 3), gamma = 0.9, eta = 0.1."""
    return run(Exact(stationary(4, 3, 0.9)), Params(0.1, 10), rng)


def _climb(access: Exact, params: Params, rng: np.random.Generator, way: Callable) -> Result:
    m, theta = _given(access, params, rng)                                             # 1

    def once(theta: np.ndarray, access: Exact, rng: np.random.Generator) -> np.ndarray:
        return theta + params.eta * way(m.dense, m.r, m.gamma, m.rho, softmax(theta))   # 6

    theta, trace = iterate(once, theta, access, params.T, rng, lambda theta: (softmax(theta), {"theta": theta}))   # 2
    return Result(softmax(theta), trace, params)                                       # 7


def _given(access: Exact, params: Params, rng: np.random.Generator) -> tuple[TabularMDP, np.ndarray]:
    validate.instance("access", access, Exact)
    model = validate.instance("access.model", access.model, TabularMDP)
    validate.within("access.model.r", model.r, 0.0, 1.0)
    validate.instance("params", params, Params)
    validate.interval("params.eta", params.eta, 0.0, math.inf, open_lo=True, open_hi=True)
    validate.count("params.T", params.T)
    validate.generator("rng", rng)
    if params.start is None:
        return model, np.zeros(model.r.shape)
    start = validate.policy("params.start", params.start, model.r.shape)
    if (start == 0).any():
        at = tuple(int(i) for i in np.argwhere(start == 0)[0])
        raise MdpkitError(validate.index("params.start", at), "positive: a softmax has full support", 0.0)
    return model, np.log(start)
