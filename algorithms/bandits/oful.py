"""OFUL, also known as LinUCB: optimism over an ellipsoid around the ridge estimate, for linear bandits.

In round t the learner sees arms D_t in R^d, of norm at most L, plays x_t and is paid y_t = <x_t, theta*> + eta_t, where
eta_t is R-sub-Gaussian given the past and ||theta*|| <= S. V_t = lambda I + sum_{s <= t} x_s x_s', det ratio
D_t = det V_t/lambda^d, ||x||_M = sqrt(x' M x).

    1  b = 0, V = lambda I
    2  for t = 1..n:
    3      if C = 0, or ln D_{t-1} > ln D at the last update + ln(1+C):  update
    4          thetahat = V^-1 b,  radius = R sqrt(ln D_{t-1} + 2 ln(1/delta)) + sqrt(lambda) S
    5      play argmax_{x in D_t} <x, thetahat> + c radius ||x||_{V^-1}, V as updated (lowest index on ties)
    6      V += x_t x_t',  ln D += ln(1 + ||x_t||^2_{V_{t-1}^-1}),  b += y_t x_t

C = 0 is OFUL, C > 0 its rarely switching variant; c = 1 in theory, c = 0 is greedy. Line 5 is the maximum over arms and
over the ellipsoid ||theta - thetahat||_V <= radius.

Guarantees, each with probability 1 - delta for all t at once:
    Theorem 1: ||sum_{s<=t} eta_s x_s||^2_{V_t^-1} <= R^2 (ln D_t + 2 ln(1/delta)). Tight: Gaussian noise fails with
        probability delta in the limit of many small steps.
    Theorem 2: theta* is in the ellipsoid; also with R sqrt(d ln((1 + t L^2/lambda)/delta)) + sqrt(lambda) S, which is
        larger for d >= 2. For d = 1 it is smaller and fails more often, up to sqrt(delta): see the checks.
    Theorem 3, lambda >= max(1, L^2): regret <= 4 sqrt(n d ln(lambda + n L/d)) (sqrt(lambda) S +
        R sqrt(2 ln(1/delta) + d ln(1 + n L/(lambda d)))); d sqrt(n) is tight up to logarithms.
    Direct form, derived: regret <= 2 max(1, radius_n) sqrt((1+C) 2 n ln D_n) where |<x, theta*>| <= 1; without the 1
        where lambda >= L^2.
Theorems as recalled: the wording of the paper was not at hand when this was written.

Abbasi-Yadkori, Pal, Szepesvari. Improved Algorithms for Linear Stochastic Bandits. NIPS 2011, Figures 1 and 3.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from mdpkit import rational, validate
from mdpkit.access import Episodes
from mdpkit.concentration import self_normalised
from mdpkit.errors import MdpkitError
from mdpkit.jit import kernel
from mdpkit.kernels.copy import copy
from mdpkit.kernels.ellipsoid import absorb, square, times
from mdpkit.models.bandits import LinearBandit
from mdpkit.records import Paper, Result
from mdpkit.worlds.bandits import start, step

PAPER = Paper(
    "oful", "Improved Algorithms for Linear Stochastic Bandits",
    "Yasin Abbasi-Yadkori, Dávid Pál, Csaba Szepesvári", "NIPS 2011", "",
    ("bandits", "linear", "optimism", "confidence sets", "baseline"),
    """@inproceedings{abbasi2011improved,
  title     = {Improved Algorithms for Linear Stochastic Bandits},
  author    = {Abbasi-Yadkori, Yasin and P{\\'a}l, D{\\'a}vid and Szepesv{\\'a}ri, Csaba},
  booktitle = {Advances in Neural Information Processing Systems},
  volume    = {24},
  year      = {2011}
}""")


@dataclass(frozen=True)
class Params:
    """n rounds, confidence delta, regulariser lam, noise R, norm bound S, C of line 3, factor c of the bonus (1)."""

    n: int
    delta: float
    lam: float
    R: float
    S: float
    C: float = 0.0
    c: float = 1.0


class Log(NamedTuple):
    """One row a round: what was played, and the confidence set of line 4 from all the data before."""

    arm: np.ndarray         # ()
    context: np.ndarray     # () which set of arms was shown
    y: np.ndarray           # () what it paid
    theta: np.ndarray       # (d,) thetahat_{t-1}
    radius: np.ndarray      # () of the ellipsoid around it in the norm of V_{t-1}
    log_ratio: np.ndarray   # () ln D_{t-1}
    updated: np.ndarray     # () 1 where line 3 held


class Ellipsoid(NamedTuple):
    """The confidence set at the end: ||theta - thetahat||_V <= radius."""

    theta: np.ndarray       # (d,)
    inverse: np.ndarray     # (d, d) V^-1
    radius: float
    log_ratio: float


class Memory(NamedTuple):
    """What lasts between rounds. Index 0 is as of all data, index 1 as of the last update."""

    phi: np.ndarray         # (X, A, d) the sets of arms
    inverse: np.ndarray     # (2, d, d) V^-1
    theta: np.ndarray       # (2, d)
    log_ratio: np.ndarray   # (2,)
    radius: np.ndarray      # (2,)
    b: np.ndarray           # (d,)
    u: np.ndarray           # (d,) room for V^-1 x


def theory(n: int, delta: float, R: float, S: float, L: float = 1.0, C: float = 0.0) -> Params:
    """Theorem 3: lambda = max(1, L^2). R, S and L are bounds that the learner is told."""
    n, delta = validate.count("n", n), validate.interval("delta", delta, 0.0, 1.0, open_lo=True, open_hi=True)
    R, S, L, C = (validate.interval(k, v, 0.0, math.inf, open_hi=True) for k, v in zip("RSLC", (R, S, L, C)))
    return Params(n, delta, max(1.0, L * L), R, S, C)


def run(access: Episodes, params: Params, rng: np.random.Generator) -> Result:
    """OFUL.

    Parameters
    ----------
    access : Episodes
        To a linear bandit; or, for sets of arms that change, to a contextual one whose features phi (X, A, d) are
        granted: ``Episodes(model, rng, bounds={"phi": phi})``.
    params : Params
        With C = 0.
    rng : numpy.random.Generator
        Not used.

    Returns
    -------
    Result
        ``output`` is an `Ellipsoid`; the log is a `Log`, its arms the policies.

    Raises
    ------
    MdpkitError
        Bad parameters, or no features.
    """
    validate.interval("params.C", validate.instance("params", params, Params).C, 0.0, 0.0)
    return _learn(access, params, rng)


def run_rarely(access: Episodes, params: Params, rng: np.random.Generator) -> Result:
    """Rarely switching OFUL, C > 0. Otherwise as `run`."""
    C = validate.instance("params", params, Params).C
    validate.interval("params.C", C, 0.0, math.inf, open_lo=True, open_hi=True)
    return _learn(access, params, rng)


def boundary(log_ratio: Any, delta: float, R: float) -> Any:
    """R^2 (ln D_t + 2 ln(1/delta)) of Theorem 1, for a number or an array ``log_ratio``."""
    return R * R * (log_ratio + 2.0 * math.log(1.0 / delta))


def radius(log_ratio: float, delta: float, lam: float, R: float, S: float) -> float:
    """R sqrt(ln D_t + 2 ln(1/delta)) + sqrt(lam) S of Theorem 2."""
    return self_normalised(float(log_ratio), float(R), 2.0 * math.log(1.0 / delta), math.sqrt(lam) * S)


def loose_radius(t: Any, d: int, delta: float, lam: float, R: float, S: float, L: float = 1.0) -> Any:
    """R sqrt(d ln((1 + t L^2/lam)/delta)) + sqrt(lam) S, the second form in Theorem 2, for a number or an array t."""
    return R * np.sqrt(d * np.log((1.0 + t * L * L / lam) / delta)) + math.sqrt(lam) * S


def direct_bound(n: int, log_ratio: float, delta: float, lam: float, R: float, S: float, L: float, C: float = 0.0
                 ) -> float:
    """2 max(1, radius_n) sqrt((1+C) 2 n ln D_n), without the 1 where lam >= L^2."""
    most = max(radius(log_ratio, delta, lam, R, S), 0.0 if lam >= L * L else 1.0)
    return 2.0 * most * math.sqrt((1.0 + C) * 2.0 * n * log_ratio)


def regret_bound(n: int, d: int, delta: float, lam: float, R: float, S: float, L: float = 1.0) -> float:
    """Theorem 3."""
    inner = 2.0 * math.log(1.0 / delta) + d * math.log(1.0 + n * L / (lam * d))
    return 4.0 * math.sqrt(n * d * math.log(lam + n * L / d)) * (math.sqrt(lam) * S + R * math.sqrt(inner))


def ridge(x: np.ndarray, y: np.ndarray, lam: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """thetahat_n (d,), V_n^-1 (d, d) and ||x_t||^2_{V_{t-1}^-1} (n,) after playing x (n, d) for y (n,), by line 6.

    Floats or rationals.
    """
    inverse, w = rational.eye(x.shape[1], x) / lam, rational.zeros((len(x),), x)
    b = rational.zeros(x.shape[1:], x)
    for t, row in enumerate(x):
        u = (inverse * row).sum(1)
        w[t] = (row * u).sum()
        inverse, b = inverse - u[:, None] * u / (1 + w[t]), b + row * y[t]             # 6
    return (inverse * b).sum(1), inverse, w


def martingale(x: np.ndarray, eta: np.ndarray, lam: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """||S_t||^2_{V_t^-1}, ln D_t and ||x_t||^2_{V_{t-1}^-1}, each (n,), along x (n, d) and noise eta (n,)."""
    d, out = x.shape[1], np.zeros((3, len(x)))
    _follow(np.ascontiguousarray(x), eta, np.eye(d) / lam, np.zeros(d), np.zeros(d), out)
    return out[0], out[1], out[2]


def demo(rng: np.random.Generator) -> Result:
    """Two hundred rounds of the rarely switching variant with three arms."""
    model = LinearBandit([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]], [0.3, -0.5])
    return run_rarely(Episodes(model, rng), theory(200, 0.1, 1.0, 1.0, C=0.5), rng)


def _learn(access: Episodes, params: Params, rng: np.random.Generator) -> Result:
    validate.instance("access", access, Episodes)
    n, phi = validate.count("params.n", params.n), _features(access)
    delta = validate.interval("params.delta", params.delta, 0.0, 1.0, open_lo=True, open_hi=True)
    lam = validate.interval("params.lam", params.lam, 0.0, math.inf, open_lo=True, open_hi=True)
    R, S, c = (validate.interval(f"params.{k}", getattr(params, k), 0.0, math.inf, open_hi=True) for k in "RSc")
    switch, slack, bias, d = math.log(1.0 + params.C), 2.0 * math.log(1.0 / delta), math.sqrt(lam) * S, phi.shape[2]
    mind = Memory(phi, np.stack([np.eye(d) / lam] * 2), np.zeros((2, d)), np.array([0.0, -math.inf]), np.zeros(2),
                  np.zeros(d), np.zeros(d))                                            # 1
    zero, none = np.zeros(()), np.zeros((), np.int64)
    row = Log(none, none, zero, np.zeros(d), zero, zero, none)
    trace = access.drive(_loop, (mind, switch, c, R, slack, bias), row, n, rng)
    last = float(mind.log_ratio[0])
    end = Ellipsoid(mind.theta[0], mind.inverse[0], self_normalised(last, R, slack, bias), last)
    return Result(end, trace, params, access.samples)


def _features(access: Episodes) -> np.ndarray:
    known = vars(access.known)
    if "x" in known:
        return known["x"][None].copy()
    if "phi" not in known or "X" not in known:
        raise MdpkitError("access", "to a linear bandit, or to a contextual one with phi (X, A, d) granted", None,
                          'pass bounds={"phi": phi}', came=f"it knows {access.known!r}")
    return validate.array("access.known.phi", known["phi"], (known["X"], known["A"], "d")).copy()


def _follow_body(x, eta, inverse, b, u, out):
    d, total = x.shape[1], 0.0
    for t in range(len(x)):
        w = absorb(inverse, x[t], u)
        total += math.log(1.0 + w)
        for i in range(d):
            b[i] += eta[t] * x[t, i]
        out[0, t], out[1, t], out[2, t] = square(inverse, b), total, w


def _loop_body(world, mind, switch, c, R, slack, bias, log, first, rng):
    phi, inverse, theta, log_ratio, radius, b, u = mind
    A, d = phi.shape[1], phi.shape[2]
    for k in range(len(log.arm)):                                                      # 2
        x = start(world)
        radius[0] = self_normalised(log_ratio[0], R, slack, bias)                      # 4
        log.radius[k], log.log_ratio[k] = radius[0], log_ratio[0]
        copy(log.theta[k], theta[0])
        # Paper: the rarely switching variant keeps an optimistic theta; keeping the ellipsoid is the same for one set
        # of arms, and stays optimistic where sets change
        if switch == 0.0 or log_ratio[0] > log_ratio[1] + switch:            # 3
            copy(inverse[1], inverse[0])
            copy(theta[1], theta[0])
            log_ratio[1], radius[1] = log_ratio[0], radius[0]
            log.updated[k] = 1
        best, arm = -math.inf, 0
        for a in range(A):
            mean = 0.0
            for i in range(d):
                mean += phi[x, a, i] * theta[1, i]
            index = mean + c * radius[1] * math.sqrt(max(square(inverse[1], phi[x, a]), 0.0))
            if index > best:
                best, arm = index, a                                                   # 5
        y = step(world, arm)
        log.arm[k], log.context[k], log.y[k] = arm, x, y
        log_ratio[0] += math.log(1.0 + absorb(inverse[0], phi[x, arm], u))            # 6
        for i in range(d):
            b[i] += y * phi[x, arm, i]
        times(inverse[0], b, theta[0])                                                 # 4


_follow = kernel(_follow_body)
_loop = kernel(_loop_body)
