"""RichCLD: rich observations of a continuous latent state; the objective bcrl.c and the algorithm CRIEE.

Episodes of H steps. The latent state s is one of S cells on a line; the learner sees x ~ q(.|s) of disjoint supports,
so that some phi* of a finite class Phi (D maps X -> cells) tells s. Transitions are Lipschitz in total variation,
TV(P(.|s, a), P(.|s', a)) <= L |s - s'|, TV half the L1 norm; rewards are L_r-Lipschitz.

    1  for n = 1..N:
    2      every ``refit`` episodes, on all data: phi_n = bcrl.c, that is
               argmin_phi max_f ( min_g E[(g(phi(x), a) - f(x'))^2] - min_{phi~, g~} E[(g~(phi~(x), a) - f(x'))^2] )
           over f(x) = 1[phi'(x) >= k], phi' in Phi, and g that are L span(f)-Lipschitz in the cell
    3      z = floor(phi_n(x)/width)
    4      counts, empirical model and mean reward on (h, z, a); unseen rows uniform
    5      b = min(alpha/sqrt(max(N_h(z, a), 1)), H);  Q_h = min(r + b + P V_{h+1}, H - h),  V_h = max_a Q_h
    6      play an episode greedily (random ties) and add its tuples

Paper: data of step h are collected by a roll-in and a uniform action; here whole greedy episodes give all steps.
Paper: g ranges over a parametric Lipschitz class; here the least squares over all Lipschitz g are solved exactly, by
dynamic programming over the cells (`lipschitz_fit`). The minimum over phi~ removes the noise of f(x').

Guarantee (Theorem 3.1, upper bound, not tight): with N and 1/width polynomial in 1/eps, of an exponent that grows with
the latent dimension, and N in log|Phi|, the output is eps-optimal with high probability. Stated as recalled, the number
included: only the abstract (efficient; weaker Lipschitz notions do not do with rich observations) was at hand. `theory`
takes the width from `aggregation_bounds` and the bonus from Hoeffding's inequality.

Song, Wu, Foster, Krishnamurthy. Rich-Observation Reinforcement Learning with Continuous Latent Dynamics. ICML 2024,
arXiv 2405.19269.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numba import float64

from mdpkit import rational, validate
from mdpkit.access import Episodes
from mdpkit.errors import MdpkitError
from mdpkit.jit import kernel
from mdpkit.kernels.backup import INTS, REALS
from mdpkit.kernels.choose import argmax_random
from mdpkit.models.latent import RichMDP
from mdpkit.records import Paper, Result
from mdpkit.worlds.hidden import start, step

PAPER = Paper(
    "richcld", "Rich-Observation Reinforcement Learning with Continuous Latent Dynamics",
    "Yuda Song, Lili Wu, Dylan J. Foster, Akshay Krishnamurthy", "ICML 2024", "2405.19269",
    ("episodic", "rich observations", "representation", "Lipschitz"),
    """@inproceedings{song2024rich,
  title     = {Rich-Observation Reinforcement Learning with Continuous Latent Dynamics},
  author    = {Song, Yuda and Wu, Lili and Foster, Dylan J. and Krishnamurthy, Akshay},
  booktitle = {International Conference on Machine Learning},
  year      = {2024}
}""")


@dataclass(frozen=True)
class Params:
    """N episodes, scale of the bonus, cells a bin, and episodes between two choices of the decoder."""

    N: int
    alpha: float
    width: int
    refit: int = 50


class Log(NamedTuple):
    """One row an episode: the policy played and the decoder that it is a function of."""

    policy: np.ndarray          # (H, X)
    decoder: np.ndarray         # ()


class Choice(NamedTuple):
    """Line 2."""

    decoder: int
    losses: np.ndarray          # (D, F) the excess of each decoder on each test function


def theory(N: int, S: int, A: int, H: int, L: float, L_r: float, eps: float, delta: float) -> Params:
    """The largest width whose bias 2 sum_h E_h is at most eps/2, and alpha = H sqrt(2 log(2 S A H N/delta))."""
    N, S, A, H = (validate.count(k, x) for k, x in (("N", N), ("S", S), ("A", A), ("H", H)))
    validate.interval("delta", delta, 0.0, 1.0, open_lo=True, open_hi=True)
    steep = validate.interval("L_r", L_r, 0.0, math.inf) + validate.interval("L", L, 0.0, math.inf) * H
    room = validate.interval("eps", eps, 0.0, math.inf, open_lo=True) / (2 * H * (H + 1))
    width = S if steep * (S - 1) <= room else 1 + int(room / steep)
    return Params(N, H * math.sqrt(2 * math.log(2 * S * A * H * N / delta)), width)


def run(access: Episodes, params: Params, rng: np.random.Generator) -> Result:
    """CRIEE on a rich-observation MDP with rewards in [0, 1]. ``known.decoders`` is Phi, int (D, X); ``known.L`` is L.

    ``output`` is the last decoder's number; the trace has the policies (H, X) and each episode's ``decoder``.
    """
    phi, tests, L = _begin(access, params, rng)
    H, X, A = access.known.H, access.known.X, access.known.A
    seen = (np.zeros((H, X, A, X)), np.zeros((H, X, A, 2)), np.zeros((X, A, X)))
    policy, chosen = np.zeros((H, X), np.int64), np.zeros(1, np.int64)
    settings = np.array([params.alpha, L, params.width, params.refit], np.float64)
    state = (phi, tests, settings, *seen, np.zeros((len(phi), len(tests))), policy, chosen)
    trace = access.drive(_loop, state, Log(policy, chosen[0]), params.N, rng)
    return Result(int(chosen[0]), trace, params, access.samples)


def discriminators(phi: np.ndarray, thresholds: Any = None) -> np.ndarray:
    """1[phi_j(x) >= k], (F, X), for decoders phi (D, X) and ``thresholds`` k, by default 1 to the largest cell."""
    ks = np.arange(1, int(phi.max()) + 1) if thresholds is None else np.asarray(thresholds)
    return (phi[:, None] >= ks[:, None]).reshape(-1, phi.shape[1]).astype(float)


def bcrlc(moves: np.ndarray, phi: np.ndarray, tests: np.ndarray, L: float) -> Choice:
    """Line 2 on counts, or a law, of (x, a, x') (X, A, X), for decoders (D, X) and test functions (F, X)."""
    losses = np.zeros((len(phi), len(tests)))
    best = _objective(moves, phi, tests, L, losses)
    return Choice(int(best), losses)


def lipschitz_fit(y: np.ndarray, n: np.ndarray, c: float) -> np.ndarray:
    """The g (K,) with |g_{z+1} - g_z| <= c of least sum_z n_z (g_z - y_z)^2, for weights n > 0; exact to rounding."""
    g = np.zeros(len(y))
    _fit(y, n, np.full(len(y), float(c)), g)
    return g


def population_loss(P: np.ndarray, f: np.ndarray, code: np.ndarray, L: float) -> float:
    """min over L span(f)-Lipschitz g of the mean over (s, a) of (g(code(s), a) - P f(s, a))^2.

    P (S, A, S), f (S,), and code, int (S,), a permutation of the cells."""
    y, order = (P @ f).T, np.argsort(code, kind="stable")
    c, one = L * float(f.max() - f.min()), np.ones(len(code))
    return float(np.mean([(lipschitz_fit(row[order], one, c) - row[order]) ** 2 for row in np.ascontiguousarray(y)]))


def backup_bound(P: np.ndarray, f: np.ndarray) -> np.ndarray:
    """TV(P(.|s, a), P(.|s', a)) span(f) >= |P f(s, a) - P f(s', a)|, (S, S, A); on floats and on rationals."""
    return np.abs(P[:, None] - P).sum(-1) * (f.max() - f.min()) / 2


def aggregate(P: np.ndarray, r: np.ndarray, H: int, bins: np.ndarray,
              weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Optimal values (H, B, A) over bins of cells, and their greedy policy on cells (H, S); floats or rationals.

    P (S, A, S), r (S, A), bins, int (S,), and weights (S,) > 0, by which a bin is the mean of its cells."""
    B = int(bins.max()) + 1
    share, inside = rational.zeros((B, len(bins)), P), rational.zeros((len(bins), B), P)
    for s, b in enumerate(bins):
        share[b, s] = weights[s] / sum(w for w, k in zip(weights, bins) if k == b)
        inside[s, b] = 1 + inside[s, b]
    coarse = (share @ (P.swapaxes(0, 1) @ inside)).swapaxes(0, 1)                          # 3, 4
    means, Q = share @ r, rational.zeros((H, B, r.shape[1]), P)
    for h in range(H - 1, -1, -1):
        Q[h] = means if h == H - 1 else means + coarse @ Q[h + 1].max(-1)                  # 5
    return Q, Q.argmax(-1)[:, bins]


def aggregation_bounds(width: int, L_r: Any, slopes: np.ndarray) -> np.ndarray:
    """E_h = sum_{k >= h} (width - 1)(L_r + slopes_k), (H,): how far the values of bins are from those of cells.

    ``slopes`` (H,) bound what P V*_{h+1} changes from a cell to the next: L span(V*_{h+1}), or, where the kernel is
    1-Lipschitz in W_1, the Lipschitz constant of V*_{h+1}."""
    return (width - 1) * np.cumsum((slopes + L_r)[::-1])[::-1]


def demo(rng: np.random.Generator) -> Result:
    """Thirty episodes of a walk on six cells with two observations each, against one wrong decoder."""
    s, x = np.arange(6), np.arange(12)
    P = np.zeros((4, 6, 2, 6))
    for a, move in ((0, -1), (1, 1)):
        for j in (0, 1):
            P[:, s, a, np.clip(s + move + j, 0, 5)] += 0.5
    model = RichMDP(P, np.broadcast_to((s == 5)[:, None] * 1.0, (4, 6, 2)), np.eye(6)[1], (x % 6 == s[:, None]) / 2)
    bounds = {"decoders": np.stack([x % 6 * 5 % 7 % 6, x % 6]), "L": 0.5}
    return run(Episodes(model, rng, bounds=bounds), Params(30, 0.3, 2, 10), rng)


def _begin(access: Episodes, params: Params, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, float]:
    validate.instance("access", access, Episodes)
    validate.instance("params", params, Params)
    for name in ("N", "width", "refit"):
        validate.count(f"params.{name}", getattr(params, name))
    validate.interval("params.alpha", params.alpha, 0.0, math.inf)
    validate.generator("rng", rng)
    phi = validate.array("access.known.decoders", access.known.decoders, ("D", access.known.X), integer=True)
    if phi.min() < 0 or phi.max() < 1:
        raise MdpkitError("access.known.decoders", "cells from 0, at least two", phi)
    return phi, discriminators(phi), validate.interval("access.known.L", access.known.L, 0.0, math.inf)


def _fit_body(y, n, c, g):
    """Fill g (K,): least squares under |g_{z+1} - g_z| <= c_z, from means y, weights n > 0 and steps c (K,).

    D(u), the derivative of the least cost of cells 0..z with g_z = u, is piecewise linear and rises. To pass to the
    next cell, what lies left of its root moves by -c and what lies right of it by c, with 0 between.
    """
    K = y.shape[0]
    knots, turns, roots = np.zeros(2 * K), np.zeros(2 * K), np.zeros(K)
    slope, level, m = 0.0, 0.0, 0                    # D = slope u + level left of all knots; turns: changes of slope
    for z in range(K):
        slope, level = slope + 2.0 * n[z], level - 2.0 * n[z] * y[z]
        a, b, k = slope, level, 0
        while k < m and a * knots[k] + b < 0.0:
            a, b, k = a + turns[k], b - turns[k] * knots[k], k + 1
        roots[z] = -b / a
        if z < K - 1:
            for i in range(m - 1, k - 1, -1):
                knots[i + 2], turns[i + 2] = knots[i] + c[z], turns[i]
            for i in range(k):
                knots[i] -= c[z]
            knots[k], turns[k] = roots[z] - c[z], -a
            knots[k + 1], turns[k + 1] = roots[z] + c[z], a
            level, m = level + slope * c[z], m + 2
    g[K - 1] = roots[K - 1]
    for z in range(K - 2, -1, -1):
        g[z] = min(max(roots[z], g[z + 1] - c[z]), g[z + 1] + c[z])


def _objective_body(moves, phi, tests, L, losses):
    """Line 2: the excess of each decoder on each test function, and the decoder of the smallest largest one."""
    X, A, _ = moves.shape
    D, F = losses.shape
    mass, gain, n, total = np.zeros((A, X)), np.zeros((A, X)), np.zeros((A, X)), np.zeros((A, X))   # cells <= X
    y, weight, gap, g = np.zeros(X), np.zeros(X), np.zeros(X), np.zeros(X)
    everything, best, smallest = 0.0, 0, np.inf
    for x, a, t in np.ndindex(moves.shape):
        mass[a, x] += moves[x, a, t]
        everything += moves[x, a, t]
    for f in range(F):
        span, least = np.max(tests[f]) - np.min(tests[f]), np.inf
        gain[:] = 0.0
        for x, a, t in np.ndindex(moves.shape):
            gain[a, x] += moves[x, a, t] * tests[f, t]
        for d in range(D):
            losses[d, f] = 0.0                               # less the sum of f(x')^2, which cancels
            n[:], total[:] = 0.0, 0.0
            for a, x in np.ndindex(mass.shape):
                n[a, phi[d, x]] += mass[a, x]
                total[a, phi[d, x]] += gain[a, x]
            for a in range(A):
                m, before = 0, 0
                for z in range(X):                           # cells without data leave a wider step
                    if n[a, z] > 0.0:
                        if m > 0:
                            gap[m - 1] = L * span * (z - before)
                        y[m], weight[m], before = total[a, z] / n[a, z], n[a, z], z
                        m += 1
                if m > 0:
                    _fit(y[:m], weight[:m], gap[:m], g[:m])
                for i in range(m):
                    losses[d, f] += weight[i] * (g[i] - 2.0 * y[i]) * g[i]
            least = min(least, losses[d, f])
        for d in range(D):
            losses[d, f] = (losses[d, f] - least) / max(everything, 1e-300)
    for d in range(D):
        if np.max(losses[d]) < smallest:
            best, smallest = d, np.max(losses[d])
    return best


def _plan_body(raw, paid, cell, settings, Q):
    """Lines 4 and 5: Q (H, B, A) from counts (H, X, A, X), sums of rewards and visits (H, X, A, 2), and bins (X,)."""
    H, B, A = Q.shape
    V = np.zeros(B)
    for h in range(H - 1, -1, -1):
        n, known = np.zeros((B, A)), np.zeros((B, A))
        for x in range(raw.shape[1]):
            for a in range(A):
                if paid[h, x, a, 1] > 0.0:
                    n[cell[x], a] += paid[h, x, a, 1]
                    total = known[cell[x], a] + paid[h, x, a, 0]
                    for t in range(raw.shape[3]):
                        total += raw[h, x, a, t] * V[cell[t]]                              # 4
                    known[cell[x], a] = total
        mean = 0.0
        for z in range(B):
            mean += V[z] / B
        for z, a in np.ndindex(n.shape):
            value = known[z, a] / n[z, a] if n[z, a] > 0.0 else mean
            Q[h, z, a] = min(value + min(settings[0] / math.sqrt(n[z, a] if n[z, a] > 1.0 else 1.0), H), H - h)   # 5
        for z in range(B):
            V[z] = np.max(Q[h, z])


def _loop_body(world, phi, tests, settings, raw, paid, moves, losses, policy, chosen, log, first, rng):
    """``chosen``: the decoder in use; ``moves`` are the counts of all steps together."""
    H, X = policy.shape
    cell = np.zeros(X, np.int64)
    Q = np.zeros((H, int(np.max(phi)) // int(settings[2]) + 1, raw.shape[2]))
    for m in range(len(log.policy)):                                                       # 1
        if (first + m) % int(settings[3]) == 0:
            chosen[0] = _objective(moves, phi, tests, settings[1], losses)                 # 2
        for x in range(X):
            cell[x] = phi[chosen[0], x] // int(settings[2])                                # 3
        _plan(raw, paid, cell, settings, Q)                                                # 4, 5
        log.decoder[m] = chosen[0]
        for h in range(H):
            for z in range(Q.shape[1]):
                a = argmax_random(Q[h, z], rng)                                            # 6
                for x in range(X):
                    if cell[x] == z:
                        policy[h, x] = log.policy[m, h, x] = a
        x = start(world)
        for h in range(H):                                                                 # 6
            a = policy[h, x]
            gain, t = step(world, a)
            raw[h, x, a, t] += 1.0
            moves[x, a, t] += 1.0
            paid[h, x, a, 0] += gain
            paid[h, x, a, 1] += 1.0
            x = t


LINE = float64[::1]
_fit = kernel(_fit_body, (REALS[1], REALS[1], REALS[1], LINE))
_objective = kernel(_objective_body, (REALS[3], INTS[2], REALS[2], float64, float64[:, ::1]))
_plan = kernel(_plan_body, (REALS[4], REALS[4], INTS[1], REALS[1], float64[:, :, ::1]))
_loop = kernel(_loop_body)
