"""DynLin-UCB: optimism for dynamical linear bandits, whose actions pay through a hidden linear system.

x_{t+1} = A x_t + B u_t (+ noise), y_t = <omega, x_t> + <theta, u_t> + noise; u_t is one of K arms in R^d, only y_t is
seen. A constant u pays <h, u> in the long run, h = theta + B' (I - A)^-T omega, and no sequence pays more on average
than J* = max <h, u>. Regret: sum_t (J* - E y_t). The learner knows rhobar, Phi with ||A^k|| <= Phi rhobar^k, bounds
U, Om, Th, Bb, X on the norms of arms, omega, theta, B and of all states, and that the noise is sigma-sub-Gaussian.

    1  V = lambda I, b = 0, m = 1
    2  hhat = V^-1 b,  beta = c (c1/sqrt(lambda) ln(e(t+1)) + c2 sqrt(lambda) + sqrt(2 s^2 (ln(1/delta) + (d/2)
           ln(1 + t U^2/(d lambda))))),  t the round that begins
    3  u = the arm of largest <hhat, u> + beta ||u||_{V^-1} (lowest index on ties)
    4  play u for H_m + 1 rounds, H_m = floor(ln m/ln(1/rhobar))
    5  V += u u',  b += y u with the last y alone,  m += 1;  go to 2

c1 = U Om Phi (U Bb/(1 - rhobar) + X), c2 = Th + Om Bb Phi/(1 - rhobar); s^2 = sigma^2, where the state is noisy too
sigma^2 (1 + Om^2 Phi^2/(1 - rhobar^2)). Without line 4 (H_m = 0) it is LinUCB.

Guarantees
    Theorem 3.1: ||hhat - h||_V <= beta (c = 1) at all m with probability 1 - delta. With H_m rounded down, as here and
        in the authors' code, this fails where rhobar is small (see the checks); rounded up (`run_up`) it holds.
    Expected regret, lambda = ln T, delta = 1/T: O~(d sigma sqrt(T)/(1-rhobar)^1.5 + sqrt(d T)/(1-rhobar)^2 +
        1/(1-rhobar)^2). Not known to be tight: the lower bound is of order d sqrt(T)/(1-rhobar)^0.5.
As recalled, and as others quote the paper and its code reads; of its own wording only the abstract was at hand.

Mussi, Metelli, Restelli. Dynamical Linear Bandits. ICML 2023, arXiv 2211.08997, Algorithm 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from mdpkit import validate
from mdpkit.access import Stream
from mdpkit.concentration import dynlin_ucb
from mdpkit.errors import MdpkitError
from mdpkit.jit import kernel
from mdpkit.kernels.ellipsoid import absorb, square, times
from mdpkit.models import dynamical
from mdpkit.records import Paper, Result
from mdpkit.worlds.dynamical import step

PAPER = Paper(
    "dynlin-ucb", "Dynamical Linear Bandits", "Marco Mussi, Alberto Maria Metelli, Marcello Restelli", "ICML 2023",
    "2211.08997", ("bandits", "linear", "hidden state", "optimism", "delayed effects"),
    """@inproceedings{mussi2023dynamical,
  title     = {Dynamical Linear Bandits},
  author    = {Mussi, Marco and Metelli, Alberto Maria and Restelli, Marcello},
  booktitle = {International Conference on Machine Learning},
  year      = {2023}
}""")


@dataclass(frozen=True)
class Params:
    """T rounds, confidence delta, lam, noise sigma (``noisy``: of the state too), the bounds, the factor c (1)."""

    T: int
    delta: float
    lam: float
    sigma: float
    rhobar: float
    Phi: float
    U: float
    Om: float
    Th: float
    Bb: float
    X: float = 0.0
    noisy: bool = False
    c: float = 1.0


class Log(NamedTuple):
    """One row a round; h, radius and m are those of lines 2 and 4 that the round belongs to."""

    arm: np.ndarray         # ()
    y: np.ndarray           # ()
    m: np.ndarray           # ()
    used: np.ndarray        # () 1 in the round of line 5
    h: np.ndarray           # (d,) hhat
    radius: np.ndarray      # () beta


class Ellipsoid(NamedTuple):
    """What was learned by the end: hhat (d,) and V^-1 (d, d) of all used rewards, and how many these are."""

    h: np.ndarray
    inverse: np.ndarray
    used: int


def theory(T: int, delta: float, sigma: float, rhobar: float, Phi: float, U: float, Om: float, Th: float, Bb: float,
           X: float = 0.0, noisy: bool = False) -> Params:
    """The theorem: lam = ln T, T >= 2."""
    return Params(T, delta, math.log(validate.count("T", T, 2)), sigma, rhobar, Phi, U, Om, Th, Bb, X, noisy)


def run(access: Stream, params: Params, rng: np.random.Generator) -> Result:
    """DynLin-UCB.

    Parameters
    ----------
    access : Stream
        To a dynamical linear bandit.
    params : Params
    rng : numpy.random.Generator
        Not used.

    Returns
    -------
    Result
        ``output`` is an `Ellipsoid`; the log is a `Log`, its arms the policies.

    Raises
    ------
    MdpkitError
        Bad parameters, or another world.
    """
    return _learn(access, params, rng, True)


def run_up(access: Stream, params: Params, rng: np.random.Generator) -> Result:
    """With H_m = ceil(ln m/ln(1/rhobar)), so that rhobar^H_m <= 1/m. Otherwise as `run`."""
    return _learn(access, params, rng, True, up=True)


def run_linucb(access: Stream, params: Params, rng: np.random.Generator) -> Result:
    """The same without persistence, H_m = 0. Otherwise as `run`."""
    return _learn(access, params, rng, False)


def markov_parameter(A: np.ndarray, B: np.ndarray, omega: np.ndarray, theta: np.ndarray, H: int | None = None,
                     ) -> np.ndarray:
    """h (d,), or its first terms h^H = theta + sum_{i < H} B' (A^i)' omega; floats or rationals."""
    return dynamical.cumulative(A, B, omega, theta, H)


def bias_bound(H: int, rhobar: float, Phi: float, U: float, Om: float, Bb: float, X: float) -> float:
    """Om Phi rhobar^H (U Bb/(1 - rhobar) + X): how far E y may be from <h, u> after H + 1 plays of u, from any state of
    norm at most X.
    """
    return Om * Phi * rhobar**H * (U * Bb / (1.0 - rhobar) + X)


def persistence(m: int, rhobar: float, up: bool = False) -> int:
    """H_m of line 4, or that of `run_up`."""
    return int(_persistence(validate.count("m", m), math.log(1.0 / rhobar), up))


def radius(t: int, params: Params, d: int) -> float:
    """beta of line 2."""
    return float(dynlin_ucb(float(t), *_constants(params), d, params.U, params.lam, math.log(1.0 / params.delta))
                 * params.c)


def demo(rng: np.random.Generator) -> Result:
    """Two hundred rounds with three arms."""
    arms = [[1.0, 0.0], [0.0, 1.0], [-0.6, 0.8]]
    model = dynamical.DynamicalBandit([[0.5, 0.1], [0.0, 0.4]], [[0.5, 0.0], [0.2, 0.3]], [0.6, 0.8], [0.0, 0.3], arms,
                                      tau=0.05)
    return run(Stream(model, rng), theory(200, 0.1, 0.1, 0.6, 1.1, 1.0, 1.0, 0.3, 0.6, noisy=True), rng)


def _learn(access: Stream, params: Params, rng: np.random.Generator, persist: bool,
           up: bool = False) -> Result:
    validate.instance("access", access, Stream)
    validate.instance("params", params, Params)
    if "arms" not in (known := vars(access.known)):
        raise MdpkitError("access", "to a dynamical linear bandit", None, came=f"it knows {access.known!r}")
    arms = known["arms"].copy()
    d, lam = arms.shape[1], validate.interval("params.lam", params.lam, 0.0, math.inf, open_lo=True, open_hi=True)
    L = -math.log(validate.interval("params.delta", params.delta, 0.0, 1.0, open_lo=True, open_hi=True))
    inverse, h, b = np.eye(d) / lam, np.zeros(d), np.zeros(d)                          # 1
    clock, zero, none = np.array([1, 0, 0]), np.zeros(()), np.zeros((), np.int64)
    rule = (params.c, *_constants(params), params.U, lam, L, -math.log(params.rhobar) if persist else math.inf, up)
    row = Log(none, zero, none, none, np.zeros(d), zero)
    trace = access.drive(_loop, (arms, inverse, h, b, np.zeros(d), np.zeros(1), clock, rule), row, params.T, rng)
    times(inverse, b, h)
    return Result(Ellipsoid(h, inverse, int(clock[0]) - 1), trace, params, access.samples)


def _constants(p: Params) -> tuple[float, float, float]:
    """c1, c2 and s^2."""
    for name in ("sigma", "Phi", "U", "Om", "Th", "Bb", "X", "c"):
        validate.interval(f"params.{name}", getattr(p, name), 0.0, math.inf, open_hi=True)
    rest = 1.0 - validate.interval("params.rhobar", p.rhobar, 0.0, 1.0, open_lo=True, open_hi=True)
    noise = 1.0 + p.Om * p.Om * p.Phi * p.Phi / (1.0 - p.rhobar * p.rhobar) if p.noisy else 1.0
    return (p.U * p.Om * p.Phi * (p.U * p.Bb / rest + p.X), p.Th + p.Om * p.Bb * p.Phi / rest,
            p.sigma * p.sigma * noise)


def _persistence_body(m, rate, up):
    return math.ceil(math.log(m) / rate) if up else math.floor(math.log(m) / rate)


def _loop_body(world, arms, inverse, h, b, u, radius, clock, rule, log, first, rng):
    # clock: m, rounds left to play, the arm
    c, c1, c2, noise, U, lam, L, rate, up = rule
    K, d = arms.shape
    for k in range(len(log.arm)):
        if clock[1] == 0:
            times(inverse, b, h)
            radius[0] = c * dynlin_ucb(first + k + 1.0, c1, c2, noise, d, U, lam, L)   # 2
            best = -math.inf
            for a in range(K):
                index = 0.0
                for i in range(d):
                    index += h[i] * arms[a, i]
                index += radius[0] * math.sqrt(max(square(inverse, arms[a]), 0.0))
                if index > best:
                    best, clock[2] = index, a                                          # 3
            clock[1] = 1 + _persistence(clock[0], rate, up)                            # 4
        y = step(world, clock[2])
        log.arm[k], log.y[k], log.m[k], log.radius[k] = clock[2], y, clock[0], radius[0]
        for i in range(d):
            log.h[k, i] = h[i]
        clock[1] -= 1
        if clock[1] == 0:
            log.used[k] = 1
            absorb(inverse, arms[clock[2]], u)                                         # 5
            for i in range(d):
                b[i] += y * arms[clock[2], i]                                          # 5
            clock[0] += 1


_persistence = kernel(_persistence_body)
_loop = kernel(_loop_body)
