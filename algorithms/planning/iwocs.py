"""IWOCS: robust MDPs as a sequence of ordinary ones, a worst model added after each.

Known r (S, A), gamma, initial law rho; an uncertainty set U of kernels, given by M candidates PU (M, S, A, S):
rectangular, every (s, a) picks an index of its own (M^(S A) kernels), or coupled, one index for all (M kernels). In the
static model the adversary fixes a kernel for ever, V_static(pi) = min_{T in U} <rho, V_T^pi>; in the dynamic one it
answers at each step, V_rob(s) = max_a r(s, a) + gamma min_m <PU[m, s, a], V_rob>.

    1  T_0 = index 0 everywhere;  for i = 0, 1, ...:
    2      Q_i = Q* of T_i
    3      greedy-min: Qmin_i = min over j <= i of Q_j, pi_i = argmax_a Qmin_i, U_i = <rho, max_a Qmin_i>
    4      or hull: pi_i, U_i by robust policy iteration over the entries (m, s, a) of T_0..T_i, their rectangular hull
    5      T_{i+1} = argmin_{T in U} <rho, V_T^{pi_i}>,  L_i its value; entries of actions not taken as in T_i
    6      if |U_i - L_i| <= eps: return pi_i, certified
    7      if T_{i+1} is among T_0..T_i: return pi_i, stalled

greedy-min is the paper's; hull, for rectangular sets, is a safe form of it (ours). Ties: the lowest action, and the
adversary's current index.

Guarantee (Theorem 1, recalled; the numbering is as counted here): for rectangular sets and stationary policies static =
dynamic and max min = min max, hence Q_rob = min_T Q*_T. Derived: L_i <= <rho, V_rob> <= U_i and U_i never rises, so
that line 6 certifies an eps-optimal robust policy. greedy-min need not get there: line 7 can come first, with a gap,
and the paper claims no convergence. hull ends with U = L after at most S A (M-1) + 1 iterations; not tight. For coupled
sets U_i of greedy-min bounds the static value of every policy that starts with one action, and no more is claimed.

Zouitine, Geist, Rachelson. Solving Robust MDPs as a Sequence of Static RL Problems. 2024, arXiv 2410.06212,
Algorithm 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from mdpkit import rational, validate
from mdpkit.access import Exact
from mdpkit.errors import MdpkitError
from mdpkit.models.tabular import TabularMDP
from mdpkit.records import Paper, Result

TIE = 1e-12             # values that near are equal, in floats and for rewards of size 1/(1 - gamma) and below
CANDIDATES = ("greedy-min", "hull")

PAPER = Paper(
    "iwocs", "Solving Robust MDPs as a Sequence of Static RL Problems",
    "Adil Zouitine, Matthieu Geist, Emmanuel Rachelson", "arXiv 2024", "2410.06212",
    ("discounted", "planning", "robust", "tabular"),
    """@misc{zouitine2024solving,
  title  = {Solving Robust {MDP}s as a Sequence of Static {RL} Problems},
  author = {Zouitine, Adil and Geist, Matthieu and Rachelson, Emmanuel},
  year   = {2024},
  note   = {arXiv:2410.06212}
}""")


@dataclass(frozen=True)
class Params:
    """The gap at which to stop, the candidate of lines 3 and 4, the kind of set, the most iterations."""

    eps: float
    candidate: str = "greedy-min"
    rectangular: bool = True
    iterations: int = 1000


class Found(NamedTuple):
    """The last policy, bounds and worst models of each iteration, and why it ended."""

    policy: np.ndarray      # (S,)
    U: np.ndarray           # (n,)
    L: np.ndarray           # (n,)
    models: np.ndarray      # (n + 1, S, A) indices, T_0 first
    status: str             # certified, stalled or out of iterations


def theory(eps: float) -> Params:
    """The paper's algorithm on a rectangular set."""
    return Params(validate.interval("eps", eps, 0.0, math.inf, open_hi=True))


def run(access: Exact, data: Any, params: Params, rng: np.random.Generator) -> Result:
    """IWOCS.

    Parameters
    ----------
    access : Exact
        To a discounted model; its kernel plays no part.
    data : array (M, S, A, S)
        The candidates, the first of them T_0.
    params : Params
        "hull" is for rectangular sets: that of a coupled one is larger than the set.
    rng : numpy.random.Generator
        Not used.

    Returns
    -------
    Result
        ``output`` is a `Found`.
    """
    validate.instance("access", access, Exact)
    model = validate.instance("access.model", access.model, TabularMDP)
    validate.instance("params", params, Params)
    validate.interval("params.eps", params.eps, 0.0, math.inf, open_hi=True)
    validate.count("params.iterations", params.iterations)
    validate.choice("params.candidate", params.candidate, CANDIDATES)
    if params.candidate == "hull" and not params.rectangular:
        raise MdpkitError("params.candidate", "'greedy-min' for a coupled set", params.candidate)
    validate.generator("rng", rng)
    PU = validate.simplex("data", data, ("M", model.S, model.A, model.S))
    return Result(search(PU, model.r, model.gamma, model.rho, params), None, params)


def search(PU: np.ndarray, r: np.ndarray, gamma: Any, rho: np.ndarray, params: Params) -> Found:
    """Lines 1 to 7 for PU (M, S, A, S), r (S, A), rho (S,): on floats and on rational arrays."""
    models = [np.zeros(r.shape, np.int64)]                                             # 1
    Q_min, U, L, status = None, [], [], "out of iterations"
    for _ in range(params.iterations):                                                 # 1
        if params.candidate == "greedy-min":
            Q = optimal(model_of(PU, models[-1]), r, gamma)                            # 2
            Q_min = Q if Q_min is None else np.minimum(Q_min, Q)                       # 3
            pi = first_best(Q_min)                                                     # 3
            U.append((rho * Q_min.max(-1)).sum())                                      # 3
        else:
            pi, V = robust(PU, r, gamma, seen(models, len(PU)))                        # 4
            U.append((rho * V).sum())                                                  # 4
        worst, V = respond(PU, r, gamma, rho, pi, models[-1], params.rectangular)      # 5
        L.append((rho * V).sum())                                                      # 5
        repeated = bool((np.array(models) == worst).all((1, 2)).any())
        models.append(worst)
        if abs(U[-1] - L[-1]) <= params.eps:                                           # 6
            status = "certified"
            break
        if repeated:                                                                   # 7
            status = "stalled"
            break
    return Found(pi, np.array(U), np.array(L), np.array(models), status)


def model_of(PU: np.ndarray, index: np.ndarray) -> np.ndarray:
    """The kernel (S, A, S) of indices (S, A)."""
    s, a = np.indices(index.shape)
    return PU[index, s, a]


def seen(models: Any, M: int) -> np.ndarray:
    """Which entries (M, S, A) some of the models (n, S, A) use."""
    return np.array([(np.array(models) == m).any(0) for m in range(M)])


def first_best(Q: np.ndarray) -> np.ndarray:
    """The lowest of the best actions (S,)."""
    return (Q.max(-1)[:, None] - Q <= _tie(Q)).argmax(-1)


def value(P: np.ndarray, r: np.ndarray, gamma: Any, pi: np.ndarray) -> np.ndarray:
    """V^pi (S,) for actions (S,) or probabilities (S, A)."""
    s = np.arange(len(r))
    if pi.ndim == 1:
        return rational.solve(rational.eye(len(r), P) - gamma * P[s, pi], r[s, pi])
    return rational.solve(rational.eye(len(r), P) - gamma * (pi[:, :, None] * P).sum(1), (pi * r).sum(1))


def optimal(P: np.ndarray, r: np.ndarray, gamma: Any) -> np.ndarray:
    """Q* (S, A) of one kernel, by policy iteration."""
    pi, s = np.zeros(len(r), np.int64), np.arange(len(r))
    while True:
        Q = r + gamma * (P @ value(P, r, gamma, pi))                                   # 2
        better = Q.max(-1) > Q[s, pi] + _tie(Q)
        if not better.any():
            return Q
        pi = np.where(better, first_best(Q), pi)


def respond(PU: np.ndarray, r: np.ndarray, gamma: Any, rho: np.ndarray, pi: np.ndarray, now: np.ndarray,
            rectangular: bool, allowed: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """The worst model (S, A) for actions pi (S,) and its values (S,), by the adversary's policy iteration from ``now``.

    ``allowed`` (M, S, A) restricts a rectangular set to some of its entries, those of ``now`` among them.
    """
    s = np.arange(len(r))
    if not rectangular:
        values = [value(P, r, gamma, pi) for P in PU]                                  # 5
        totals = np.array([(rho * V).sum() for V in values])
        m = int(now[0, 0]) if totals[now[0, 0]] <= totals.min() + _tie(totals) else int(totals.argmin())
        return np.full(r.shape, m), values[m]
    index = now.copy()
    while True:
        V = value(model_of(PU, index), r, gamma, pi)                                   # 5
        after = PU[:, s, pi] @ V
        if allowed is not None:
            after = np.where(allowed[:, s, pi], after, after.max() + 1)
        better = after.min(0) < after[index[s, pi], s] - _tie(after)
        if not better.any():
            return index, V
        index[s[better], pi[better]] = after.argmin(0)[better]                         # 5


def robust(PU: np.ndarray, r: np.ndarray, gamma: Any, allowed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A robust policy (S,) and V_rob (S,) of the rectangular set of allowed entries (M, S, A), by policy iteration."""
    pi, s, index = np.zeros(len(r), np.int64), np.arange(len(r)), allowed.argmax(0)
    while True:
        index, V = respond(PU, r, gamma, 0 * r[:, 0], pi, index, True, allowed)        # 4
        after = PU @ V
        Q = r + gamma * np.where(allowed, after, after.max() + 1).min(0)               # 4
        better = Q.max(-1) > Q[s, pi] + _tie(Q)
        if not better.any():
            return pi, V
        pi = np.where(better, first_best(Q), pi)


def tables(PU: np.ndarray, r: np.ndarray, gamma: Any, models: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Qmin_i and the Q of the hull of T_0..T_i, each (n, S, A), for indices ``models`` (n, S, A)."""
    Q = np.array([optimal(model_of(PU, T), r, gamma) for T in models])
    hulls = []
    for i in range(len(models)):
        allowed = seen(models[: i + 1], len(PU))
        after = PU @ robust(PU, r, gamma, allowed)[1]
        hulls.append(r + gamma * np.where(allowed, after, after.max() + 1).min(0))
    return np.minimum.accumulate(Q, 0), np.array(hulls)


def static_value(kernels: np.ndarray, r: np.ndarray, gamma: Any, rho: np.ndarray, pi: np.ndarray) -> Any:
    """min over whole kernels (M, S, A, S) of <rho, V^pi>, for actions (S,) or probabilities (S, A)."""
    return min((rho * value(P, r, gamma, pi)).sum() for P in kernels)


def demo(rng: np.random.Generator) -> Result:
    """Two states, two actions, two candidates."""
    PU = np.array([[[[0.75, 0.25], [0.5, 0.5]], [[0.25, 0.75], [1.0, 0.0]]],
                   [[[0.5, 0.5], [0.75, 0.25]], [[0.5, 0.5], [0.0, 1.0]]]])
    model = TabularMDP(PU[0], np.array([[1.0, 0.5], [0.0, 0.25]]), 0.75, [1.0, 0.0])
    return run(Exact(model), PU, theory(1e-9), rng)


def _tie(x: np.ndarray) -> float:
    return 0 if rational.is_exact(x) else TIE
