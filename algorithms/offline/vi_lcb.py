"""Pessimistic value iteration from logged data: PEVI (episodic; tabular, linear), VI-LCB (discounted), LCB (bandit).

PEVI, n trajectories, rewards in [0, 1]; Phat_h, rhat_h and N_h from the trajectories i = h mod H alone (`run`):

    1  V_H = 0;  for h = H-1..0, for all (s, a):
    2      b_h = (H-h) sqrt( log(2 S A H/delta)/(2 N_h) ); where N_h = 0: b_h = H-h, rhat_h = 0, Phat_h = 0
    3      Q_h = clip( rhat_h + Phat_h V_{h+1} - b_h, 0, H-h )
    4      V_h = max_a Q_h, pi_h greedy (lowest index)

Linear, lambda = 1, no folds (`run_linear`): line 2 with b_h = beta |phi|_{Lambda_h^-1}, Lambda_h = I + sum phi phi',
beta = c d H sqrt(log(2 d H n/xi)); line 3 with <phi, Lambda_h^-1 sum phi (r + V_{h+1}(s'))>.

VI-LCB, n tuples, T = ceil(log n/(1-gamma)), T+1 equal folds, Vmax = 1/(1-gamma) (`run_discounted`):

    5  L = 2000 log(2 (T+1) S A/delta);  V_0 = 0, pi_0 = argmax_a N_0(s, a)
    6  for t = 1..T, from fold t:  b_t = Vmax sqrt(L/max(N_t, 1)); where N_t = 0: b_t = Vmax, rhat_t = 0, Phat_t = 0
    7      Q_t = rhat_t - b_t + gamma Phat_t V_{t-1}
    8      where max_a Q_t > V_{t-1}: V_t = max_a Q_t, pi_t = argmax_a Q_t; elsewhere V_t = V_{t-1}, pi_t = pi_{t-1}

LCB for bandits (`run_bandit`):

    9  argmax over a with N(a) > 0 of muhat(a) - sqrt( log(2 A/delta)/(2 N(a)) )

Guarantee (Theorem 4.2 of PEVI, upper bound, tight up to logarithms and factors of d and H): on the event |rhat_h +
Phat_h V_{h+1} - r_h - P_h V_{h+1}| <= b_h for all h, s, a, of probability 1 - delta, V*(rho) - V^pi(rho) is at most
2 sum_h E_{d*_h} b_h.
VI-LCB (Theorem 6): E[V*(rho) - V^{pi_T}(rho)] <= min( Vmax, sqrt( S C* log/((1-gamma)^5 n) ) ) up to constants, with
C* = max d*/mu. Line 2 is derived from Hoeffding's inequality; the rest is as recalled, the wording was not at hand.

Jin, Yang, Wang. Is Pessimism Provably Efficient for Offline RL? ICML 2021, arXiv 2012.15085, Algorithms 1 and 2.
Rashidinejad, Zhu, Ma, Jiao, Russell. Bridging Offline RL and Imitation Learning. NeurIPS 2021, Algorithms 1 and 3.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from mdpkit import rational, validate
from mdpkit.access import Episodes
from mdpkit.concentration import hoeffding, pevi_hoeffding, pevi_linear, union_log, vi_lcb, vi_lcb_log
from mdpkit.data import collect
from mdpkit.errors import MdpkitError
from mdpkit.instances.formula import step_dependent
from mdpkit.records import Dataset, Paper, Result, Steps

PAPER = Paper(
    "vi-lcb", "Bridging Offline Reinforcement Learning and Imitation Learning: A Tale of Pessimism (with PEVI)",
    "Paria Rashidinejad, Banghua Zhu, Cong Ma, Jiantao Jiao, Stuart Russell, Ying Jin, Zhuoran Yang, Zhaoran Wang",
    "NeurIPS 2021, ICML 2021", "2103.12021", ("episodic", "discounted", "offline", "pessimism", "tabular", "linear"),
    """@inproceedings{rashidinejad2021bridging,
  title     = {Bridging Offline Reinforcement Learning and Imitation Learning: A Tale of Pessimism},
  author    = {Rashidinejad, Paria and Zhu, Banghua and Ma, Cong and Jiao, Jiantao and Russell, Stuart},
  booktitle = {Advances in Neural Information Processing Systems},
  year      = {2021}
}
@inproceedings{jin2021pessimism,
  title     = {Is Pessimism Provably Efficient for Offline {RL}?},
  author    = {Jin, Ying and Yang, Zhuoran and Wang, Zhaoran},
  booktitle = {International Conference on Machine Learning},
  year      = {2021}
}""")


@dataclass(frozen=True)
class Params:
    """n rows of data, confidence delta (xi for linear PEVI), a factor c of the penalty (1 but for linear PEVI free)."""

    n: int
    delta: float
    c: float = 1.0


class Plan(NamedTuple):
    """What PEVI returns."""

    policy: np.ndarray      # (H, S) actions
    V: np.ndarray           # (H+1, S)
    Q: np.ndarray           # (H, S, A)
    b: np.ndarray           # (H, S, A) the penalty
    fitted: np.ndarray      # (H, S, A) rhat + Phat V, before the penalty


class Counts(NamedTuple):
    """Tallies of tuples; the first axis is the step, or the fold."""

    N: np.ndarray           # (H, S, A)
    R: np.ndarray           # (H, S, A) summed rewards
    M: np.ndarray           # (H, S, A, S) successors


class Iterates(NamedTuple):
    """What VI-LCB goes through."""

    policies: np.ndarray    # (T+1, S) actions
    values: np.ndarray      # (T+1, S)


def theory(n: int, delta: float) -> Params:
    """Nothing is free but n and delta."""
    return Params(validate.count("n", n), validate.interval("delta", delta, 0.0, 1.0, open_lo=True, open_hi=True))


def run(access: Episodes, data: Dataset, params: Params, rng: np.random.Generator) -> Result:
    """Tabular PEVI with folds.

    Parameters
    ----------
    access : Episodes
        Tells the sizes; nothing is played.
    data : Dataset (at least params.n, H)
    params : Params
    rng : numpy.random.Generator
        Not used.

    Returns
    -------
    Result
        ``output`` is a `Plan`.
    """
    known = _known(access)
    H, S, A = known.H, known.S, known.A
    steps = _given(data, params, rng, (H, S, A)).steps
    folds = [tally(Steps(*(part[h::H, h: h + 1] for part in steps)), S, A) for h in range(H)]
    counts = Counts(*(np.concatenate(part) for part in zip(*folds)))
    return Result(pevi(counts, params.delta, params.c), None, params, {"offline": params.n, **access.samples})


def run_linear(access: Episodes, data: Dataset, params: Params, rng: np.random.Generator) -> Result:
    """PEVI with features ``known.phi`` (S, A, d), which the theorem grants. Otherwise as `run`."""
    known = _known(access)
    H, phi = known.H, known.phi
    S, A, d = phi.shape
    steps = _given(data, params, rng, (H, S, A)).steps
    beta, x = pevi_linear(d, H, params.n, params.delta, params.c), phi.reshape(S * A, d)
    targets, widths = [], []
    for h in range(H):
        f = phi[steps.s[:, h], steps.a[:, h]]
        inverse = np.linalg.inv(np.eye(d) + f.T @ f)
        after = np.zeros((d, S))
        np.add.at(after.T, steps.s_next[:, h], f)
        targets.append((inverse @ (f.T @ steps.r[:, h]), inverse @ after))
        widths.append(beta * np.sqrt(np.einsum("ki,ij,kj->k", x, inverse, x)).reshape(S, A))          # 2
    fit = lambda h, V: (x @ (targets[h][0] + targets[h][1] @ V)).reshape(S, A)
    return Result(plan(fit, lambda h, fitted, V: widths[h], (H, S, A), phi), None, params,
                  {"offline": params.n, **access.samples})


def run_discounted(access: Episodes, data: Dataset, params: Params, rng: np.random.Generator) -> Result:
    """VI-LCB from independent tuples (n, 1); ``output`` is an `Iterates`, whose last rows are its answer."""
    known = _known(access)
    S, A, gamma = known.S, known.A, known.gamma
    steps = _given(data, params, rng, (1, S, A)).steps
    T = math.ceil(math.log(max(params.n, 2)) / (1 - gamma))
    m = params.n // (T + 1)
    if m == 0:
        raise MdpkitError("params.n", f"at least T + 1 = {T + 1}, a tuple a fold", params.n)
    counts = tally(Steps(*(part[: m * (T + 1), 0].reshape(T + 1, m).T for part in steps)), S, A)
    L = params.c * params.c * vi_lcb_log(T, S, A, params.delta)                                       # 5
    return Result(lcb_iteration(counts, gamma, L), None, params, {"offline": params.n, **access.samples})


def run_bandit(access: Episodes, data: Dataset, params: Params, rng: np.random.Generator) -> Result:
    """LCB from logged pulls (n, 1); ``output`` is an arm."""
    A = _known(access).A
    steps = _given(data, params, rng, (1, 1, A)).steps
    N, total = (np.bincount(steps.a[:, 0], w, A) for w in (None, steps.r[:, 0]))
    L, bound = union_log(A, params.delta), np.full(A, -math.inf)
    for a in np.flatnonzero(N):
        bound[a] = total[a] / N[a] - params.c * hoeffding(float(N[a]), 1.0, L)                        # 9
    return Result(int(bound.argmax()), None, params, {"offline": params.n, **access.samples})


def tally(steps: Steps, S: int, A: int) -> Counts:
    """Counts of tuples (n, H)."""
    s, a, r, s_next = steps
    H = s.shape[1]
    pair = (np.arange(H) * S + s) * A + a
    cells = H * S * A
    return Counts(np.bincount(pair.ravel(), minlength=cells).reshape(H, S, A).astype(float),
                  np.bincount(pair.ravel(), r.ravel(), cells).reshape(H, S, A),
                  np.bincount((pair * S + s_next).ravel(), minlength=cells * S).reshape(H, S, A, S).astype(float))


def pevi(counts: Counts, delta: float, c: float = 1.0) -> Plan:
    """Lines 1 to 4 from the counts of each step."""
    N, R, M = counts
    H, S, A = N.shape
    L, seen = union_log(S * A * H, delta), np.maximum(N, 1.0)
    width = [np.array([pevi_hoeffding(float(n), float(H - h), L) for n in N[h].ravel()]).reshape(S, A)
             for h in range(H)]                                                                       # 2
    return plan(lambda h, V: (R[h] + M[h] @ V) / seen[h], lambda h, fitted, V: c * width[h], (H, S, A), N)


def plan(fit: Callable, penalty: Callable, shape: tuple[int, int, int], like: np.ndarray) -> Plan:
    """Lines 1 to 4 with ``fit(h, V_{h+1})`` (S, A) less ``penalty(h, fitted, V_{h+1})``, in the numbers of ``like``."""
    H, S, _ = shape
    V, Q, b, fitted = (rational.zeros(k, like) for k in ((H + 1, S), shape, shape, shape))            # 1
    for h in range(H - 1, -1, -1):
        fitted[h] = fit(h, V[h + 1])
        b[h] = penalty(h, fitted[h], V[h + 1])                                                        # 2
        Q[h] = np.minimum(np.maximum(fitted[h] - b[h], 0), H - h)                                     # 3
        V[h] = Q[h].max(-1)                                                                           # 4
    return Plan(Q.argmax(-1), V, Q, b, fitted)


def lcb_iteration(counts: Counts, gamma: float, L: float) -> Iterates:
    """Lines 5 to 8 from the counts of each fold, the first axis of each array (T+1)."""
    N, R, M = counts
    top, V, policy = 1.0 / (1.0 - gamma), np.zeros(N.shape[1]), N[0].argmax(-1)                       # 5
    policies, values = [policy], [V]
    for t in range(1, len(N)):
        seen = np.maximum(N[t], 1.0)
        b = np.array([vi_lcb(float(n), top, L) if n > 0 else top for n in N[t].ravel()]).reshape(seen.shape)   # 6
        Q = R[t] / seen - b + gamma * (M[t] @ V) / seen                                               # 7
        better = Q.max(-1) > V
        V, policy = np.where(better, Q.max(-1), V), np.where(better, Q.argmax(-1), policy)            # 8
        policies.append(policy)
        values.append(V)
    return Iterates(np.array(policies), np.array(values))


def decomposition(P: np.ndarray, r: np.ndarray, rho: np.ndarray, Q: np.ndarray, pi: np.ndarray) -> tuple[Any, ...]:
    """V^pi(rho) - V^pihat(rho) for actions pi (H, S) and pihat greedy in Q (H, S, A), and the sums that it equals.

    With iota_h = r_h + P_h V_{h+1} - Q_h: E_{d^pi} sum iota, -E_{d^pihat} sum iota, and E_{d^pi} sum (Q_h - V_h) <= 0.
    """
    V, d, d_hat = Q.max(-1), occupancy(P, rho, pi), occupancy(P, rho, Q.argmax(-1))
    iota = model_errors(P, r, Q)
    return (d * r).sum() - (d_hat * r).sum(), (d * iota).sum(), -(d_hat * iota).sum(), (d * (Q - V[..., None])).sum()


def model_errors(P: np.ndarray, r: np.ndarray, Q: np.ndarray) -> np.ndarray:
    """iota (H, S, A)."""
    iota = r - Q
    for h in range(len(r) - 1):
        iota[h] = iota[h] + P[h] @ Q[h + 1].max(-1)
    return iota


def occupancy(P: np.ndarray, rho: np.ndarray, pi: np.ndarray) -> np.ndarray:
    """d (H, S, A) of actions pi (H, S), in floats or rationals."""
    d, here, s = rational.zeros(P.shape[:3], P), rho, np.arange(len(rho))
    for h in range(len(pi)):
        d[h, s, pi[h]] = here
        here = here @ P[h, s, pi[h]]
    return d


def coverage_sum(d: np.ndarray, mu: np.ndarray) -> tuple[float, float]:
    """sum_h E_{d_h}[1/sqrt(mu_h)] and its bound H sqrt(S C), C = max d/mu; d (H, S, A) of a deterministic policy."""
    goes = d > 0
    C = float((d[goes] / mu[goes]).max())
    return float((d[goes] / np.sqrt(mu[goes])).sum()), len(d) * math.sqrt(d.shape[1] * C)


def demo(rng: np.random.Generator) -> Result:
    """Tabular PEVI from 300 trajectories of the uniform policy on F(4, 3, 3)."""
    model = step_dependent(4, 3, 3)
    data = collect(model, np.full(model.r.shape, 1 / 3), 300, rng)
    return run(Episodes(model, rng), data, theory(300, 0.1), rng)


def _known(access: Episodes) -> Any:
    return validate.instance("access", access, Episodes).known


def _given(data: Dataset, params: Params, rng: np.random.Generator, sizes: tuple[int, int, int]) -> Dataset:
    H, S, A = sizes
    validate.instance("data", data, Dataset)
    validate.instance("params", params, Params)
    validate.generator("rng", rng)
    validate.count("params.n", params.n)
    validate.interval("params.c", params.c, 0.0, math.inf, open_hi=True)
    if data.H != H or data.n < params.n:
        raise MdpkitError("data", f"of {H} steps and at least params.n = {params.n} rows", None,
                          came=f"it has {data.H} steps and {data.n} rows")
    validate.within("data.steps.r", data.steps.r, 0.0, 1.0)
    return data.fits(S, A).take(params.n)
