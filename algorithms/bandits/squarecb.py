"""SquareCB: contextual bandits by inverse gap weighting (IGW) of a regression oracle's predictions, in generations.

A context x comes with actions A_t, K = |A_t| of them; r in [0, 1] has mean f*(x, a), larger is better. Contexts of one
group share predictions (sets of actions that change are contexts of one group). The oracle here is tabular: f(x, a) =
(s + 1/2)/(n + 1) from n samples of (group, a) whose rewards sum to s.

    1  no data in use
    2  for t = 1..T:
    3      if a batch of m rounds begins (doubling: m as long as all before): the batches before the last `delay` ones
           are in use (short memory: the newest of them alone), N samples; gamma fixed, or c sqrt(N/groups)
    4      b = argmax_{a in A_t} f(x_t, a), the first
    5      p_a = 1/(K + gamma (f_b - f_a)) for a != b,  p_b = 1 - the rest
    6      (exact form: p_a = 1/(lam + gamma (f_b - f_a)) for all a, lam in (0, K] such that they sum to 1)
    7      play a_t ~ p, see r_t, which joins the batch

Guarantees, derived here but for Theorem 1
    Any f, any f* in R^K: E_p[max f* - f*_a] <= 1.25 K/gamma + gamma E_p[(f_a - f*_a)^2]. Is tight with max(K - 1,
        (5K - 9)/4) in place of 1.25 K; with K - 1/4 - 3/(4 max p) for line 6. Both derived here.
    Theorem 1 of Foster and Rakhlin, gamma = sqrt(K T/(Reg_Sq + ln(2/delta))): with probability 1 - delta the regret is
        at most 4 sqrt(K T Reg_Sq) + 8 sqrt(K T ln(2/delta)). Reg_Sq bounds the oracle's regret in squares; the one
        above has X K (1/4 + ln(1 + T/(X K))), derived.
Theorem 1 as recalled: its wording was not at hand. `generations` is the smallest exact case of what the paper saw on
its logs of payments and calls oscillation.

Vangara, Egg. Contextual Bandits in Payment Processing: Non-uniform Exploration and Supervised Learning. OARS at KDD
2025, arXiv 2412.00569. Foster, Rakhlin. Beyond UCB: Optimal and Efficient Contextual Bandits with Regression Oracles.
ICML 2020, Algorithm 1. Simchi-Levi, Xu. Bypassing the Monster (FALCON). Mathematics of Operations Research 2022.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from mdpkit import rational, validate
from mdpkit.access import Episodes
from mdpkit.errors import MdpkitError
from mdpkit.instances.formula import contextual
from mdpkit.interop.logged import LoggedBandit
from mdpkit.jit import kernel
from mdpkit.records import Paper, Result
from mdpkit.worlds.bandits import start, step

PAPER = Paper(
    "squarecb", "Contextual Bandits in Payment Processing: Non-uniform Exploration and Supervised Learning",
    "Akhila Vangara, Alex Egg", "OARS at KDD 2025", "2412.00569",
    ("bandits", "contextual", "regression oracle", "inverse gap weighting", "logged data"),
    """@inproceedings{vangara2025contextual,
  title     = {Contextual Bandits in Payment Processing: Non-uniform Exploration and Supervised Learning},
  author    = {Vangara, Akhila and Egg, Alex},
  booktitle = {5th International Workshop on Online and Adaptive Recommender Systems, KDD},
  year      = {2025}
}""")

@dataclass(frozen=True)
class Params:
    """T rounds; gamma, or where c > 0 the rule c sqrt(N/groups); batches of ``batch`` rounds, ``delay`` of them."""

    T: int
    gamma: float = 0.0
    c: float = 0.0
    batch: int = 1
    delay: int = 0


class Log(NamedTuple):
    """One row a round."""

    law: np.ndarray         # (A,) p
    f: np.ndarray           # (A,) the predictions
    gamma: np.ndarray       # (), as all below
    context: np.ndarray
    arm: np.ndarray
    r: np.ndarray


def theory(T: int, X: int, A: int, delta: float) -> Params:
    """Theorem 1: gamma = sqrt(A T/(Reg_Sq + ln(2/delta))), Reg_Sq that of the tabular oracle."""
    L = math.log(2.0 / validate.interval("delta", delta, 0.0, 1.0, open_lo=True, open_hi=True))
    return Params(T, math.sqrt(A * T / (oracle_bound(T, X, A) + L)))


def run(access: Episodes, params: Params, rng: np.random.Generator) -> Result:
    """SquareCB. ``output`` is f (G, A) of what is in use at the end; the log is a `Log`, its laws the policies.

    Parameters
    ----------
    access : Episodes
        To a bandit. With contexts, ``bounds`` may hold ``group`` (X,), integers from 0 up, and ``available`` (X, A),
        bools with one true in each row; otherwise each context is its own group and all actions are there.
    params : Params
    rng : numpy.random.Generator
        Draws the arms, one number a round.
    """
    return _learn(access, params, rng)


def run_exact(access: Episodes, params: Params, rng: np.random.Generator) -> Result:
    """With line 6 in place of line 5. Otherwise as `run`."""
    return _learn(access, params, rng, exact=True)


def run_falcon(access: Episodes, params: Params, rng: np.random.Generator) -> Result:
    """Batches double (FALCON) from ``params.batch`` rounds on. Otherwise as `run`."""
    return _learn(access, params, rng, doubling=True)


def run_short(access: Episodes, params: Params, rng: np.random.Generator) -> Result:
    """Generations: fitted on the newest batch in use alone. Otherwise as `run`."""
    return _learn(access, params, rng, short=True)


def igw(f: np.ndarray, gamma: Any, available: np.ndarray | None = None) -> np.ndarray:
    """The law (K,) of lines 4 and 5, from predictions f (K,), in floats, rationals or balls.

    gamma = inf is greedy. ``available`` (K,) is bool.
    """
    choices = range(len(f)) if available is None else np.flatnonzero(available).tolist()
    b = max(choices, key=lambda a: (f[a], -a))                                         # 4
    p, rest = rational.zeros(f.shape, f), rational.zeros((1,), f)[0]
    for a in choices:
        if a != b and gamma != math.inf:
            p[a] = 1 / (len(choices) + gamma * (f[b] - f[a]))                          # 5
            rest += p[a]
    p[b] = 1 - rest
    return p


def igw_exact(f: np.ndarray, gamma: float) -> np.ndarray:
    """The law (K,) of line 6, in floats."""
    _weigh(f, np.ones(len(f), np.bool_), float(gamma), True, p := np.zeros(len(f)))
    return p


def supremum(f: np.ndarray, p: np.ndarray, gamma: Any) -> Any:
    """sup over f* in R^K of E_p[max f* - f*_a] - gamma E_p[(f_a - f*_a)^2], p > 0: floats or rationals."""
    return (f - (p * f).sum() + (1 - p) * (1 - p) / (4 * gamma * p) + (1 - p) / (4 * gamma)).max()


def predictions(r: np.ndarray) -> np.ndarray:
    """f before each of the rewards r (n,) of one (g, a), and after the last (n+1,): floats or rationals."""
    half = 1 / (rational.zeros((1,), r)[0] + 2)
    return np.array([(half + sum(r[:n])) / (n + 1) for n in range(len(r) + 1)], r.dtype)


def oracle_bound(T: int, X: int, A: int) -> float:
    """X A (1/4 + ln(1 + T/(X A))): the regret in squares of the tabular oracle on T rewards in [0, 1], at most."""
    cells = validate.count("X", X) * validate.count("A", A)
    return cells * (0.25 + math.log(1.0 + validate.count("T", T) / cells))


def generations(r: np.ndarray, owner: np.ndarray, phi: np.ndarray, theta: np.ndarray, gamma: Any, n: int,
                short: bool = True) -> np.ndarray:
    """Values (n,) of n generations on infinite data: one context, mean rewards 1/2 + r (K,).

    The class is f(a) = theta[owner[a]] phi[a], fitted to r by least squares under the law of the last generation, or of
    all with ``short=False``; a parameter without data stays. The laws are `igw`. Floats, rationals or balls.
    """
    theta, weight = theta.copy(), rational.zeros(r.shape, r)
    out = rational.zeros((n,), r)
    for k in range(n):
        p = igw(theta[owner] * phi, gamma)
        out[k] = predictions(r)[0] + (p * r).sum()
        weight = p if short else weight + p
        for i in range(len(theta)):
            mass = (weight * phi * phi)[owner == i].sum()
            theta[i] = (weight * phi * r)[owner == i].sum() / mass if mass > 0 else theta[i]
    return out


def laws(f: np.ndarray, log: LoggedBandit, gamma: float) -> np.ndarray:
    """The laws (n, K) of `igw` on f (X, K) in each row of a log, over the actions that were available there."""
    keys = log.x[:, None] if log.available is None else np.column_stack([log.x, log.available])
    rows, which = np.unique(keys, axis=0, return_inverse=True)
    known = [igw(f[row[0]], gamma, None if log.available is None else row[1:] > 0) for row in rows]
    return np.array(known)[which.ravel()]


def ips(log: LoggedBandit, law: np.ndarray, delta: float) -> tuple[float, float, float]:
    """The value of laws (n, K) on independent rows of a log, rewards in [0, 1], by inverse propensity weights, and an
    interval that holds it with probability 1 - delta: empirical Bernstein on both sides, of range 1/min p in the log.
    """
    y = law[np.arange(n := validate.count("rows", len(log.r), 2)), log.a] / log.p * log.r
    mean, L = float(y.mean()), math.log(4.0 / delta)
    spread = float(((y - mean) * (y - mean)).sum()) / (n - 1)
    reach = math.sqrt(2 * spread * L / n) + 7 * L / (3 * (n - 1) * float(log.p.min()))
    return mean, mean - reach, mean + reach


def generations_on(log: LoggedBandit, gamma: float, parts: int, delta: float = 0.05) -> np.ndarray:
    """Value, lower, upper end (parts - 1, 3) by `ips` of policies fitted on one piece of a log alone, on the next."""
    validate.within("log.r", validate.instance("log", log, LoggedBandit).r, 0.0, 1.0)
    cuts = np.linspace(0, len(log.r), validate.count("parts", parts, 2, len(log.r) // 2) + 1).astype(int)
    out = np.zeros((parts - 1, 3))
    for k, (i, j, end) in enumerate(zip(cuts, cuts[1:], cuts[2:])):
        seen, here, after = np.zeros((2, len(log.contexts), len(log.actions))), _rows(log, i, j), _rows(log, j, end)
        np.add.at(seen[0], (here.x, here.a), here.r)
        np.add.at(seen[1], (here.x, here.a), 1.0)
        out[k] = ips(after, laws((seen[0] + 0.5) / (seen[1] + 1.0), after, gamma), delta)
    return out


def demo(rng: np.random.Generator) -> Result:
    """The exact form on four contexts for 60 rounds, in batches of 5 of which one is late."""
    return run_exact(Episodes(contextual(), rng), Params(60, c=2.0, batch=5, delay=1), rng)


def _learn(access: Episodes, params: Params, rng: np.random.Generator, exact: bool = False, doubling: bool = False,
           short: bool = False) -> Result:
    validate.instance("access", access, Episodes)
    validate.instance("params", params, Params)
    gamma, c = (validate.interval(f"params.{k}", v, 0.0, math.inf, open_hi=True)
                for k, v in (("gamma", params.gamma), ("c", params.c)))
    batch, late = validate.count("params.batch", params.batch), validate.count("params.delay", params.delay, 0) + 1
    group, available = _contexts(access)
    X, A, G = *available.shape, int(group.max()) + 1
    seen = np.zeros((2, G, A))                                                         # 1
    room = (np.zeros((late, 2, G, A)), *np.zeros((2, X, A)), np.zeros(X, np.int64), np.zeros(3, np.int64))
    zero, none = np.zeros(()), np.zeros((), np.int64)
    row = Log(np.zeros(A), np.zeros(A), zero, none, none, zero)
    state = (group, available, seen, *room, gamma, c, batch, exact, doubling, short)
    trace = access.drive(_loop, state, row, params.T, rng)
    return Result((seen[0] + 0.5) / (seen[1] + 1.0), trace, params, access.samples)


def _rows(log: LoggedBandit, i: int, j: int) -> LoggedBandit:
    sets = None if log.available is None else log.available[i:j]
    return log._replace(x=log.x[i:j], a=log.a[i:j], r=log.r[i:j], p=log.p[i:j], available=sets)


def _contexts(access: Episodes) -> tuple[np.ndarray, np.ndarray]:
    if "A" not in (known := vars(access.known)) or "S" in known:
        raise MdpkitError("access", "to a bandit", None, came=f"it knows {access.known!r}")
    X, A = known.get("X", 1), known["A"]
    group = validate.array("access.known.group", known.get("group", np.arange(X)), (X,), integer=True)
    available = np.array(known.get("available", np.ones((X, A), bool)))
    if available.shape != (X, A) or available.dtype != bool or not available.any(1).all():
        raise MdpkitError("access.known.available", f"bools of shape ({X}, {A}), one true in each row", available)
    return validate.within("access.known.group", group, 0, X - 1).copy(), available


def _weigh_body(f, here, gamma, exact, p):
    A, b, K, rest = f.shape[0], -1, 0, 0.0
    for a in range(A):
        p[a] = 0.0
        if here[a]:
            K += 1
            if b < 0 or f[a] > f[b]:
                b = a                                                                  # 4
    lam = 1.0 * K
    if exact:
        lam = 1.0
        for _ in range(64):
            total, slope = -1.0, 0.0
            for a in range(A):
                if here[a]:
                    w = 1.0 / (lam + gamma * (f[b] - f[a]))
                    total += w
                    slope += w * w
            if total <= 0.0:
                break
            lam += total / slope                                                       # 6
    for a in range(A):
        if here[a] and a != b:
            p[a] = 1.0 / (lam + gamma * (f[b] - f[a]))                                 # 5
            rest += p[a]
    p[b] = 1.0 - rest


def _renew_body(seen, waiting, clock, batch, doubling, short):
    """A batch begins."""
    slot = clock[0] % waiting.shape[0]                # held the batch that comes into use; holds the new one
    clock[2] = 0
    for i in range(2):
        for g in range(seen.shape[1]):
            for a in range(seen.shape[2]):
                if short:
                    seen[i, g, a] = 0.0
                seen[i, g, a] += waiting[slot, i, g, a]
                waiting[slot, i, g, a] = 0.0
                clock[2] += i * int(seen[i, g, a])
    clock[0] += 1
    clock[1] += clock[1] if doubling and clock[1] > 0 else batch


def _loop_body(world, group, here, seen, waiting, law, f, fresh, clock, fixed, c, batch, exact, doubling, short, log,
               first, rng):
    # s, n (2, G, A) in use; waiting (late, 2, G, A) in batches; clock: batches begun, the round of the next one, N
    G, A = seen.shape[1], seen.shape[2]
    for k in range(len(log.arm)):                                                      # 2
        if first + k == clock[1]:
            _renew(seen, waiting, clock, batch, doubling, short)                       # 3
        gamma = c * math.sqrt(clock[2] / G) if c > 0.0 else fixed                      # 3
        x = start(world)
        g = group[x]
        if fresh[x] != clock[0]:
            for a in range(A):
                f[x, a] = (seen[0, g, a] + 0.5) / (seen[1, g, a] + 1.0)
            _weigh(f[x], here[x], gamma, exact, law[x])                                # 4, 5, 6
            fresh[x] = clock[0]
        u, arm = rng.random(), -1
        for a in range(A):
            if here[x, a] and (arm < 0 or u >= 0.0):
                arm = a
                u -= law[x, a]
        r = step(world, arm)                                                           # 7
        slot = (clock[0] - 1) % waiting.shape[0]
        waiting[slot, 0, g, arm] += r
        waiting[slot, 1, g, arm] += 1.0
        for a in range(A):
            log.law[k, a], log.f[k, a] = law[x, a], f[x, a]
        log.gamma[k], log.context[k], log.arm[k], log.r[k] = gamma, x, arm, r


_weigh = kernel(_weigh_body)
_renew = kernel(_renew_body)
_loop = kernel(_loop_body)
