"""CascadingVI and CascadingBPI: optimism over lists of items, of which a user looks at those up to the first click.

S states, N items and no click (item N, written 0 below), lists of 1 to m distinct items, H steps; r (S, N+1) in [0, 1]
is known, with r(s, 0) = 0. f(l, u, w) = sum_i prod_{j<i} (1 - u(l_j)) u(l_i) w(l_i) + prod_j (1 - u(l_j)) w(0) is what
a list l is worth if item a is clicked with probability u(a) and then worth w(a). L = log(14 K H S (N+1)/delta).

     1  n_q(s, a), n_p(s, c) = 0: how often item a was looked at, and c clicked, or nothing, in s
     2  for k = 1..K:
     3      up_{H+1} = low_{H+1} = 0;  for h = H..1, for all s:
     4          b_q = 2 sqrt(qhat (1-qhat) L/n_q) + 5 L/n_q;  qup = min(qhat + b_q, 1), qlow = max(qhat - b_q, 0)
     5          b_V = 2 sqrt(L Var_{Phat}(up_{h+1})/n_p) + 2 sqrt(L Phat (up_{h+1} - low_{h+1})^2/n_p) + 5 H L/n_p
                wup = r + min(Phat up_{h+1} + b_V, H-h),  wlow = r + max(Phat low_{h+1} - b_V, 0)
     6          up_h(s), l_h(s) = BestPerm(qup, wup, m);  up_h(s) = min(up_h(s), H-h+1)
     7          low_h(s) = sum_i prod_{j<i} (1 - qup(l_j)) qlow(l_i) wlow(l_i) + prod_j (1 - qup(l_j)) wlow(0)
     8      CascadingBPI: if up_1(s_1) - low_1(s_1) <= eps, return l
     9      show l_h(s_h) for h = 1..H;  count looks, clicks and moves
    BestPerm(u, w, m) = max_l f(l, u, w):
    10  a_1, .., a_J: the items with w > w(0), by falling w (lowest index on ties)
    11  J = 0: the one item a that maximises u(a) w(a) + (1-u(a)) w(0)
    12  J <= m: all of them
    13  J > m: F[J+1, .] = F[., 0] = w(0);  F[j, k] = max(F[j+1, k], u(a_j) w(a_j) + (1-u(a_j)) F[j+1, k-1]);
        F[1, m] and the list that it takes

Nothing seen: qup = 1, qlow = 0, wup = r + H-h, wlow = r. `run_mended` takes qlow for u in line 11: as no list is empty,
clicking more often on an item that is worse than no click lowers f, and up_h need not be an upper bound.

Guarantee (Theorem 1), with probability 1 - delta: Regret(K) = O~(H sqrt(H S N K)); tight up to sqrt(H) and logarithms.
CascadingBPI (Theorem 2): O~(H^3 S N/eps^2) episodes if eps < H/S^2, as recalled. Bonuses and constants as recalled,
orders as in the paper's abstract; the wording of the proofs was not at hand when this was written.

Du, Srikant, Chen. Cascading Reinforcement Learning. ICLR 2024, arXiv 2401.08961, Algorithms 1 to 3.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from mdpkit import validate
from mdpkit.access import Episodes
from mdpkit.concentration import cascading_click, cascading_log, cascading_value
from mdpkit.jit import kernel
from mdpkit.kernels.copy import copy
from mdpkit.models.cascading import CascadingMDP
from mdpkit.records import Paper, Result
from mdpkit.worlds.cascading import start, step

PAPER = Paper(
    "cascading-rl", "Cascading Reinforcement Learning", "Yihan Du, R. Srikant, Wei Chen", "ICLR 2024", "2401.08961",
    ("episodic", "exploration", "tabular", "optimism", "combinatorial actions", "best policy identification"),
    """@inproceedings{du2024cascading,
  title     = {Cascading Reinforcement Learning},
  author    = {Du, Yihan and Srikant, R. and Chen, Wei},
  booktitle = {International Conference on Learning Representations},
  year      = {2024}
}""")


@dataclass(frozen=True)
class Params:
    """K episodes, confidence delta, a factor c of the bonuses, CascadingBPI's eps; whether the log keeps the bounds."""

    K: int
    delta: float
    c: float = 1.0
    eps: float = 0.0
    keep: bool = False


class Log(NamedTuple):
    """One row an episode: the lists shown (H, S, m), filled up with -1; up and low (H+1, S), or (0, S) if not kept."""

    policy: np.ndarray
    up: np.ndarray
    low: np.ndarray


class Counts(NamedTuple):
    """Line 1, clicks and moves."""

    looks: np.ndarray       # (S, N) n_q
    clicks: np.ndarray      # (S, N)
    picks: np.ndarray       # (S, N+1) n_p
    moves: np.ndarray       # (S, N+1, S)


class Memory(NamedTuple):
    """Bounds, lists, room for an oracle call."""

    r: np.ndarray           # (S, N+1)
    qup: np.ndarray         # (S, N), and qlow
    qlow: np.ndarray
    up: np.ndarray          # (H+1, S), and low
    low: np.ndarray
    policy: np.ndarray      # (H, S, m)
    w: np.ndarray           # (2, N+1)
    F: np.ndarray           # (N+1, m+1)
    order: np.ndarray       # (N,)


class Identified(NamedTuple):
    """What CascadingBPI returns: lists (H, S, m), the episodes that it played, whether it stopped by itself, bounds."""

    policy: np.ndarray
    episodes: int
    stopped: bool
    up: np.ndarray
    low: np.ndarray


def theory(K: int, delta: float, eps: float = 0.0) -> Params:
    """Theorems 1 and 2: nothing is free but K, delta and, for CascadingBPI, eps."""
    return Params(validate.count("K", K), validate.interval("delta", delta, 0.0, 1.0, open_lo=True, open_hi=True),
                  eps=validate.interval("eps", eps, 0.0, math.inf, open_hi=True))


def run(access: Episodes, params: Params, rng: np.random.Generator) -> Result:
    """CascadingVI.

    Parameters
    ----------
    access : Episodes
        To a cascading MDP, with the rewards granted: ``Episodes(model, rng, grant=("r",))``.
    params : Params
    rng : numpy.random.Generator
        Not used.

    ``output`` is the `Counts`; the trace holds lists (H, S, m), with ``params.keep`` also ``up`` and ``low`` (H+1, S).
    """
    return _learn(access, params, rng, False)


def run_mended(access: Episodes, params: Params, rng: np.random.Generator) -> Result:
    """CascadingVI with qlow in line 11. Otherwise as `run`."""
    return _learn(access, params, rng, True)


def run_bpi(access: Episodes, params: Params, rng: np.random.Generator) -> Result:
    """CascadingBPI, for ``params.K`` episodes at most; ``output`` is `Identified`. Otherwise as `run`, without trace.

    Paper: bounds of KL type on q, a recursion of its own for the gap, and log terms that grow with the episodes. Here
    the bounds are CascadingVI's, L is that of ``params.K``, and up - low bounds the gap on the same event.
    """
    counts, mind, rule = _opened(access, params, False)
    validate.generator("rng", rng)
    eps, s_1 = validate.interval("params.eps", params.eps, 0.0, math.inf, open_lo=True), access.known.s_1
    k = access.call(_identify, counts, mind, rule, s_1, eps, params.K)
    stopped = bool(mind.up[0, s_1] - mind.low[0, s_1] <= eps)
    return Result(Identified(mind.policy, k, stopped, mind.up, mind.low), None, params, access.samples)


def oracle(u: np.ndarray, w: np.ndarray, m: int) -> tuple[float, np.ndarray, int]:
    """BestPerm: the value, the list, and how many numbers it computed; u (N,), w (N+1,), floats."""
    u = validate.within("u", validate.array("u", u, ("N",)), 0.0, 1.0)
    w = validate.array("w", w, (len(u) + 1,))
    items = np.full(validate.count("m", m, 1, len(u)), -1)
    value, cells = best_perm(u, u, w, m, np.zeros((len(u) + 1, m + 1)), np.zeros(len(u), np.int64), items)
    return float(value), items[items >= 0], cells


def demo(rng: np.random.Generator) -> Result:
    """CascadingVI with a fiftieth of the bonuses, two states, three items, lists of two, for 60 episodes."""
    P = np.array([[[3, 1], [1, 3], [2, 2], [2, 2]], [[1, 3], [2, 2], [4, 0], [3, 1]]]) / 4
    model = CascadingMDP([[0.2, 0.7, 0.5], [0.6, 0.3, 0.9]], [[1.0, 0.2, 0.5, 0.0], [0.1, 0.8, 0.3, 0.0]], P, 2, 3)
    return run(Episodes(model, rng, grant=("r",)), Params(60, 0.1, c=0.02, keep=True), rng)


def _opened(access: Episodes, params: Params, mended: bool) -> tuple[Counts, Memory, tuple]:
    """Counts, memory and rule: L, c, and whether a forced item has qlow."""
    validate.instance("access", access, Episodes)
    validate.instance("params", params, Params)
    S, N, m, H = (getattr(access.known, name) for name in "SNmH")
    r = validate.within("access.known.r", access.known.r, 0.0, 1.0)
    validate.within("access.known.r[:, N]", r[:, N], 0.0, 0.0)
    c = validate.interval("params.c", params.c, 0.0, math.inf, open_hi=True)
    counts = Counts(np.zeros((S, N)), np.zeros((S, N)), np.zeros((S, N + 1)), np.zeros((S, N + 1, S)))     # 1
    mind = Memory(r, np.ones((S, N)), np.zeros((S, N)), np.zeros((H + 1, S)), np.zeros((H + 1, S)),
                  np.full((H, S, m), -1), np.zeros((2, N + 1)), np.zeros((N + 1, m + 1)), np.zeros(N, np.int64))
    return counts, mind, (cascading_log(params.K, H, S, N, params.delta), c, mended)


def _learn(access: Episodes, params: Params, rng: np.random.Generator, mended: bool) -> Result:
    counts, mind, rule = _opened(access, params, mended)
    kept = None if params.keep else 0
    log = Log(mind.policy, mind.up[:kept], mind.low[:kept])
    trace = access.drive(_loop, (counts, mind, rule), log, params.K, rng)
    return Result(counts, trace, params, access.samples)


def _best_perm_body(u, forced, w, m, F, order, items):
    """The value and the number of cells; the list goes to ``items``. ``forced`` stands for u in line 11."""
    N, J, cells = u.shape[0], 0, 0
    none = w[N]
    for a in range(N):                                                                 # 10
        if w[a] > none:
            j = J
            while j > 0 and w[order[j - 1]] < w[a]:
                order[j] = order[j - 1]
                j -= 1
            order[j] = a
            J += 1
    for i in range(m):
        items[i] = -1
    if J == 0:                                                                         # 11
        value = -math.inf
        for a in range(N):
            x = forced[a] * w[a] + (1.0 - forced[a]) * none
            if x > value:
                value = x
                items[0] = a
        return value, N
    if m >= J:                                                                         # 12
        value = none
        for j in range(J - 1, -1, -1):
            a = order[j]
            items[j] = a
            value = u[a] * w[a] + (1.0 - u[a]) * value
        return value, J
    for k in range(m + 1):                                                             # 13
        F[J, k] = none
    for j in range(J - 1, -1, -1):
        a = order[j]
        F[j, 0] = none
        for k in range(1, m + 1):
            x = u[a] * w[a] + (1.0 - u[a]) * F[j + 1, k - 1]
            F[j, k] = max(F[j + 1, k], x)
            cells += 1
    j, k = 0, m
    while k > 0 and j < J:                   # taken on ties, or no list might be left where u = 0
        a = order[j]
        if u[a] * w[a] + (1.0 - u[a]) * F[j + 1, k - 1] >= F[j + 1, k]:
            items[m - k] = a
            k -= 1
        j += 1
    return F[0, m], cells


def _plan_body(counts, mind, rule):
    _, _, picks, moves = counts
    r, qup, qlow, up, low, policy, w, F, order = mind
    L, c, mended = rule
    (H, S, m), N = policy.shape, qup.shape[1]
    wup, wlow = w[0], w[1]
    for h in range(H - 1, -1, -1):                                                     # 3
        left = H - 1.0 - h
        for s in range(S):
            for a in range(N + 1):
                n, above, below = picks[s, a], left, 0.0
                if n > 0.0 and left > 0.0 and c * (5.0 * H * L / n) < left:            # else b_V is too large to tell
                    mean, spread, square, floor, share = 0.0, 0.0, 0.0, 0.0, 1.0 / n
                    for t in range(S):
                        p = moves[s, a, t] * share
                        gap = up[h + 1, t] - low[h + 1, t]
                        mean += p * up[h + 1, t]
                        floor += p * low[h + 1, t]
                        spread += p * (gap * gap)
                    for t in range(S):
                        off = up[h + 1, t] - mean
                        square += moves[s, a, t] * share * (off * off)
                    b = c * cascading_value(n, square, spread, 1.0 * H, L)             # 5
                    above, below = min(mean + b, left), max(floor - b, 0.0)
                wup[a], wlow[a] = r[s, a] + above, r[s, a] + below
            items = policy[h, s]
            value, _ = best_perm(qup[s], qlow[s] if mended else qup[s], wup, m, F, order, items)   # 6
            up[h, s] = min(value, left + 1.0)
            total = wlow[N]
            for i in range(m - 1, -1, -1):                                             # 7
                a = items[i]
                if a >= 0:
                    total = qlow[s, a] * wlow[a] + (1.0 - qup[s, a]) * total
            low[h, s] = total


def _play_body(world, counts, mind, rule):
    L, scale, _ = rule
    s = start(world)
    for h in range(mind.policy.shape[0]):                                              # 9
        items = mind.policy[h, s]
        looked, c, _, t = step(world, items)
        for i in range(looked):
            a = items[i]
            counts.looks[s, a] += 1.0
            counts.clicks[s, a] += 1.0 if a == c else 0.0
            n = counts.looks[s, a]
            q = counts.clicks[s, a] / n
            b = scale * cascading_click(n, q, L)                                       # 4
            mind.qup[s, a], mind.qlow[s, a] = min(q + b, 1.0), max(q - b, 0.0)
        counts.picks[s, c] += 1.0
        counts.moves[s, c, t] += 1.0
        s = t


def _loop_body(world, counts, mind, rule, log, first, rng):
    for k in range(len(log.policy)):                                                   # 2
        plan(counts, mind, rule)
        copy(log.policy[k], mind.policy)
        if log.up.shape[1] > 0:
            copy(log.up[k], mind.up)
            copy(log.low[k], mind.low)
        play(world, counts, mind, rule)


def _identify_body(world, counts, mind, rule, s_1, eps, K):
    for k in range(K):                                                                 # 2
        plan(counts, mind, rule)
        if mind.up[0, s_1] - mind.low[0, s_1] <= eps:                                  # 8
            return k
        play(world, counts, mind, rule)
    plan(counts, mind, rule)
    return K


best_perm = kernel(_best_perm_body)
plan = kernel(_plan_body)
play = kernel(_play_body)
_loop = kernel(_loop_body)
_identify = kernel(_identify_body)
