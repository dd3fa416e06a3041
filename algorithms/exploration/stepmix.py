"""StepMix and EpsMix: exploration that is never worse than a safe baseline, in any episode.

Episodic MDP, P (H, S, A, S) unknown, r (H, S, A) in [0, 1] and the first-state law rho known. The baseline pi_b has
value V^{pi_b} >= gamma, which is known too; every episode has to be worth gamma. n_h(s, a) counts visits, Phat is the
empirical law, L = log(3 S A H/delta), beta* = L + log(8e(n+1)), beta = L + S log(8e(n+1)).

     1  n = 0
     2  for k = 1..K:
     3      U_{H+1} = W_{H+1} = 0;  for h = H..1, for all s, a (QU = H-h+1 and QW = 0 where n = 0):
                b = 3 sqrt(Var_{Phat}(U_{h+1}) beta*/n) + 14 H^2 beta/n + Phat (U_{h+1} - W_{h+1})/H
                QU = min(H-h+1, r + Phat U_{h+1} + b),  QW = max(0, r + Phat W_{h+1} - b)
     4          pibar_h(s) = argmax_a QU (lowest index on ties);  U_h(s), W_h(s) = QU, QW at this action
     5      for h0 = 0, 1, .., H until LCB(h0) >= gamma: pi^{h0} = pi_b at steps 1..h0, then pibar;
                LCB(h0) = rho W_1 of line 3 with U_h = sum_a pi^{h0} QU and W_h = sum_a pi^{h0} QW in place of line 4
     6      StepMix: h0 = 0: pi = pibar;  no such h0: pi = pi_b
     7          else pi = pi^{h0}, but for step h0 (1-p) pi_b + p pibar, p = (LCB(h0)-gamma)/(LCB(h0)-LCB(h0-1))
     8      EpsMix: p = 1 if LCB(0) >= gamma, 0 if LCB(H) < gamma, else (LCB(H)-gamma)/(LCB(H)-LCB(0));
                pi = pibar with probability p, else pi_b, for the whole episode
     9      play pi;  count
    10  Learned baseline: counts start from n_off logged episodes; pi_b = argmax_a QW in place of line 4

pi^{h0} and pi^{h0-1} differ at one step only: the value of line 7 is (1-p) V(pi^{h0}) + p V(pi^{h0-1}), at least gamma
where LCB <= V for both.

Guarantee (Theorem 1 for StepMix, 2 for EpsMix), with probability 1 - delta: no episode is worth less than gamma, and
Regret(K) = O~(sqrt(H^3 S A K) + H^3 S^2 A + H^3 S A D (1/kappa^2 + S/kappa)), kappa = V^{pi_b} - gamma,
D = V* - V^{pi_b}; the first term is tight up to logarithms. Some H^3 S C/kappa^2 logged episodes suffice for line 10, C
their concentrability. Recalled: the wording was not at hand. The bonus is BPI-UCBVI's (Menard et al. 2021).

Li, Huang, Shen, Yang. Near-optimal Conservative Exploration in Reinforcement Learning under Episode-wise Constraints.
AISTATS 2023, arXiv 2306.06265, Algorithms 1 to 3.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from mdpkit import rational, validate
from mdpkit.access import Episodes
from mdpkit.concentration import bpi_ucbvi, bpi_ucbvi_log
from mdpkit.errors import MdpkitError
from mdpkit.instances.formula import drifting
from mdpkit.jit import kernel
from mdpkit.kernels.copy import copy
from mdpkit.kernels.tally import Tally, add, empty, of
from mdpkit.records import Dataset, Paper, Result
from mdpkit.worlds.markov import start, step

PAPER = Paper(
    "stepmix", "Near-optimal Conservative Exploration in Reinforcement Learning under Episode-wise Constraints",
    "Donghao Li, Ruiquan Huang, Cong Shen, Jing Yang", "AISTATS 2023", "2306.06265",
    ("episodic", "exploration", "tabular", "optimism", "safety"),
    """@inproceedings{li2023near,
  title     = {Near-optimal Conservative Exploration in Reinforcement Learning under Episode-wise Constraints},
  author    = {Li, Donghao and Huang, Ruiquan and Shen, Cong and Yang, Jing},
  booktitle = {International Conference on Artificial Intelligence and Statistics},
  year      = {2023}
}""")

STEP, EPISODE, FREE = range(3)


@dataclass(frozen=True)
class Params:
    """K episodes, confidence delta, the threshold gamma; a factor c of the first two terms of b."""

    K: int
    delta: float
    gamma: float
    c: float = 1.0


class Log(NamedTuple):
    """One row an episode."""

    policy: np.ndarray      # (H, S, A) of line 6 or 7; EpsMix: pibar, which is played with probability p
    h0: np.ndarray          # () of line 5; H + 1 where there is none; EpsMix: 0 or H, by what was played
    p: np.ndarray           # () of line 7 or 8; 1 for pibar, 0 for pi_b
    lcb: np.ndarray         # (H+1,) LCB as far as computed, else nan
    best: np.ndarray        # (H, S) pibar


class Memory(NamedTuple):
    """Bounds and policies; r (H, S, A) and rho (S,)."""

    r: np.ndarray
    rho: np.ndarray
    base: np.ndarray        # (H, S, A) pi_b
    best: np.ndarray        # (H, S) pibar
    policy: np.ndarray      # (H, S, A)
    V: np.ndarray           # (2, H+1, S) U and W of line 4
    Vpi: np.ndarray         # (2, H+1, S) U and W of line 5
    Q: np.ndarray           # (2, S, A)
    lcb: np.ndarray         # (H+1,)


def theory(K: int, delta: float, gamma: float) -> Params:
    """Theorems 1 and 2: nothing is free but K, delta and gamma."""
    return Params(validate.count("K", K), validate.interval("delta", delta, 0.0, 1.0, open_lo=True, open_hi=True),
                  validate.interval("gamma", gamma, 0.0, math.inf, open_hi=True))


def run(access: Episodes, params: Params, rng: np.random.Generator) -> Result:
    """StepMix.

    Parameters
    ----------
    access : Episodes
        ``Episodes(model, rng, grant=("r", "rho"), bounds={"baseline": pi_b})``, pi_b (H, S, A).
    params : Params
    rng : numpy.random.Generator
        One number a step, for the action.

    ``output`` is the last `Memory`; the trace has the fields of `Log`.
    """
    return _learn(access, params, rng, STEP, None)


def run_epsmix(access: Episodes, params: Params, rng: np.random.Generator) -> Result:
    """EpsMix: an episode is worth p V(pibar) + (1-p) V(pi_b). Otherwise as `run`, one number more an episode."""
    return _learn(access, params, rng, EPISODE, None)


def run_free(access: Episodes, params: Params, rng: np.random.Generator) -> Result:
    """The same learner without constraint: always pibar. Otherwise as `run`."""
    return _learn(access, params, rng, FREE, None)


def run_learned(access: Episodes, data: Dataset, params: Params, rng: np.random.Generator) -> Result:
    """StepMix whose baseline is learned from logged episodes (line 10). Otherwise as `run`, without ``baseline``.

    Raises
    ------
    MdpkitError
        ``params.gamma`` exceeds the lower bound on the learned baseline's value.
    """
    return _learn(access, params, rng, STEP, validate.instance("data", data, Dataset))


def mixture(base: np.ndarray, best: np.ndarray, h0: int, p: Any) -> np.ndarray:
    """pi^{h0} (H, S, A), but for its step h0 >= 1, which is (1-p) base + p best; floats or rationals."""
    pi = base.copy()
    pi[h0:] = best[h0:]
    pi[h0 - 1] = (1 - p) * base[h0 - 1] + p * best[h0 - 1]
    return pi


def safe_mixture(base: np.ndarray, best: np.ndarray, lcb: np.ndarray, gamma: Any) -> np.ndarray:
    """Lines 5 to 7 given LCB (H+1,); floats or rationals."""
    h0 = next((h for h in range(len(lcb)) if lcb[h] >= gamma), None)                         # 5
    if h0 is None or h0 == 0:
        return base if h0 is None else best                                                 # 6
    return mixture(base, best, h0, (lcb[h0] - gamma) / (lcb[h0] - lcb[h0 - 1]))              # 7


def demo(rng: np.random.Generator) -> Result:
    """StepMix with a thousandth of the bonus and a baseline that is uniform, for 150 episodes."""
    access = Episodes(drifting(3, 3, 3), rng, grant=("r", "rho"), bounds={"baseline": np.full((3, 3, 3), 1 / 3)})
    return run(access, Params(150, 0.1, 0.8, c=0.001), rng)


def _learn(access: Episodes, params: Params, rng: np.random.Generator, kind: int, data: Dataset | None) -> Result:
    validate.instance("access", access, Episodes)
    validate.instance("params", params, Params)
    r = validate.within("access.known.r", access.known.r, 0.0, 1.0)
    H, S, A = r.shape
    c = validate.interval("params.c", params.c, 0.0, math.inf, open_hi=True)
    gamma = validate.interval("params.gamma", params.gamma, 0.0, math.inf, open_hi=True)
    rule = (bpi_ucbvi_log(S, A, H, params.delta), c)
    V = np.zeros((2, 2, H + 1, S))
    base = np.zeros(r.shape)
    if data is None:
        base += validate.policy("access.known.baseline", access.known.baseline, r.shape)
    mind = Memory(r, access.known.rho, base, np.zeros((H, S), np.int64), np.zeros((H, S, A)), V[0], V[1],
                  np.zeros((2, S, A)), np.full(H + 1, np.nan))
    counts = empty(H, S, A)                                                                 # 1
    if data is not None:
        counts = _pessimistic(data, mind, rule, gamma)
    log = Log(mind.policy, np.zeros((), np.int64), np.zeros(()), mind.lcb, mind.best)
    trace = access.drive(_loop, (counts, mind, rule, gamma, kind), log, params.K, rng)
    return Result(mind, trace, params, access.samples)


def _pessimistic(data: Dataset, mind: Memory, rule: tuple[float, float], gamma: float) -> Tally:
    """Fills the baseline; the counts."""
    H, S, A = mind.r.shape
    if data.H != H:
        raise MdpkitError("data", f"of {H} steps", data.H)
    counts = of(data.fits(S, A).steps, S, A)
    plan(counts, mind, rule, 1)                                                             # 10
    mind.base[...] = rational.eye(A, mind.r)[mind.best]
    lcb = float((mind.rho * mind.V[1, 0]).sum())
    if gamma > lcb:
        raise MdpkitError("params.gamma", f"at most {lcb:.6g}, the lower bound on the learned baseline", gamma)
    return counts


def _back_up_body(counts, r, h, V, Q, rule):
    """Line 3 at step h: fills Q (2, S, A) from V (2, H+1, S)."""
    visits, _, moves, _, _, _, _ = counts
    L, c = rule
    H, S, A = r.shape
    left = 1.0 * (H - h)
    for s in range(S):
        for a in range(A):
            n = visits[h, s, a]
            Q[0, s, a], Q[1, s, a] = left, 0.0
            if n > 0.0:
                up, low, variance, share = 0.0, 0.0, 0.0, 1.0 / n
                for t in range(S):
                    p = moves[h, s, a, t] * share
                    up += p * V[0, h + 1, t]
                    low += p * V[1, h + 1, t]
                for t in range(S):
                    off = V[0, h + 1, t] - up
                    variance += moves[h, s, a, t] * share * (off * off)
                b = c * bpi_ucbvi(n, variance, 1.0 * H, 1.0 * S, L) + (up - low) / H         # 3
                Q[0, s, a] = min(left, r[h, s, a] + up + b)
                Q[1, s, a] = max(0.0, r[h, s, a] + low - b)


def _plan_body(counts, mind, rule, side):
    """Lines 3 and 4, greedy in QU (side 0) or in QW (side 1)."""
    H, S, A = mind.r.shape
    V, Q = mind.V, mind.Q
    for h in range(H - 1, -1, -1):
        back_up(counts, mind.r, h, V, Q, rule)
        for s in range(S):
            best = 0
            for a in range(1, A):
                if Q[side, s, a] > Q[side, s, best]:                                        # 4, 10
                    best = a
            mind.best[h, s] = best
            V[0, h, s], V[1, h, s] = Q[0, s, best], Q[1, s, best]


def _lower_body(counts, mind, rule, h0):
    """LCB(h0), after `plan`."""
    S, A = mind.r.shape[1:]
    V, Q, base = mind.Vpi, mind.Q, mind.base
    if h0 > 0:
        for s in range(S):
            V[0, h0, s], V[1, h0, s] = mind.V[0, h0, s], mind.V[1, h0, s]
        for h in range(h0 - 1, -1, -1):                                                     # 5
            back_up(counts, mind.r, h, V, Q, rule)
            for s in range(S):
                V[0, h, s], V[1, h, s] = 0.0, 0.0
                for a in range(A):
                    V[0, h, s] += base[h, s, a] * Q[0, s, a]
                    V[1, h, s] += base[h, s, a] * Q[1, s, a]
    total = 0.0
    for s in range(S):
        total += mind.rho[s] * (V if h0 > 0 else mind.V)[1, 0, s]
    return total


def _compose_body(mind, h0, p):
    """Line 6 or 7: the policy pi^{h0} with step h0 mixed."""
    H, S, A = mind.r.shape
    for h in range(H):
        share = 1.0 if h >= h0 else p if h == h0 - 1 else 0.0
        for s in range(S):
            for a in range(A):
                mind.policy[h, s, a] = (1.0 - share) * mind.base[h, s, a]
            mind.policy[h, s, mind.best[h, s]] += share


def _play_body(world, counts, policy, rng):
    H, _, A = policy.shape
    s = start(world)
    for h in range(H):                                                                      # 9
        u, a = rng.random(), 0
        total = policy[h, s, 0]
        while u >= total and a < A - 1:
            a += 1
            total += policy[h, s, a]
        _, t = step(world, a)
        add(counts, h, s, a, 0.0, t)
        s = t


def _loop_body(world, counts, mind, rule, gamma, kind, log, first, rng):
    H, lcb = mind.r.shape[0], mind.lcb
    for k in range(len(log.policy)):                                                        # 2
        plan(counts, mind, rule, 0)
        for h in range(H + 1):
            lcb[h] = math.nan
        h, searching = 0, True
        while searching:
            lcb[h] = lower(counts, mind, rule, h)                                           # 5
            searching = kind < 2 and lcb[h] < gamma and h < H
            if searching:
                h = h + 1 if kind == 0 else H
        h0, p = h, 1.0
        if h > 0:
            p = (lcb[h] - gamma) / (lcb[h] - lcb[h - 1 if kind == 0 else 0]) if lcb[h] >= gamma else 0.0    # 7, 8
        if kind == 1:
            h0 = 0 if rng.random() < p else H
        elif kind == 0 and lcb[h] < gamma:
            h0 = H + 1                                                                      # 6
        compose(mind, h0 if kind == 0 else 0, p if kind == 0 else 1.0)
        copy(log.policy[k], mind.policy)
        copy(log.lcb[k], lcb)
        copy(log.best[k], mind.best)
        log.h0[k], log.p[k] = h0, p
        play(world, counts, mind.base if h0 == H and kind == 1 else mind.policy, rng)


back_up = kernel(_back_up_body)
plan = kernel(_plan_body)
lower = kernel(_lower_body)
compose = kernel(_compose_body)
play = kernel(_play_body)
_loop = kernel(_loop_body)
