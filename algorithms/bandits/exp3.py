"""EXP3 and EXP3-IX: exponential weights on estimates of losses that are seen at the arm played alone.

A arms, T rounds; losses l_t in [0, 1]^A fixed in advance (oblivious). Only l_t(a_t) is seen. The regret is that against
the best fixed arm, R_T = sum_t l_t(a_t) - min_a sum_t l_t(a).

    1  Lhat = 0 (A,)
    2  for t = 1..T:
    3      p_t proportional to exp(-eta Lhat);  a_t ~ p_t
    4      lhat_t(a) = 1{a = a_t} l_t(a)/(p_t(a) + gamma);  Lhat = Lhat + lhat_t

EXP3, in losses and without mixing: gamma = 0, eta = sqrt(2 ln A/(A T)). EXP3-IX: the same eta, gamma = eta/2. The
algorithm of 2002 is one of gains x = 1 - l, with g = min(1, sqrt(A ln A/((e-1) T))): p_t = (1-g) w/W + g/A in line 3,
xhat = 1{a = a_t} x/p_t and w = w exp(g xhat/A) in line 4.

Guarantees (Theorem 3.1 of Bubeck and Cesa-Bianchi; Theorem 1 of Neu; Corollary 3.2 of Auer et al.)
    EXP3: E R_T <= ln A/eta + eta T A/2 for any eta > 0, sqrt(2 T A ln A) with the one above. For every path that can
        be and every arm, sum_t <p_t, lhat_t> - sum_t lhat_t(a) <= ln A/eta + (eta/2) sum_t <p_t, lhat_t^2>.
    EXP3-IX: R_T <= 2 sqrt(2 A T ln A) + (sqrt(2 A T/ln A) + 1) ln(2/delta) with probability 1 - delta, since
        sum_t (lhat_t(a) - l_t(a)) <= ln(A/delta)/(2 gamma) for all arms at once.
    that of 2002: E R_T <= 2.63 sqrt(A T ln A).
The first is tight up to sqrt(ln A). Against an adversary who answers to the past it is one on pseudo-regret only. The
constants are as quoted by others and recalled: the wording of the papers was not at hand when this was written.

Bubeck, Cesa-Bianchi. Regret Analysis of Stochastic and Nonstochastic Multi-armed Bandit Problems. Foundations and
Trends in Machine Learning 5, 2012, arXiv 1204.5721. Neu. Explore no more: Improved high-probability regret bounds for
non-stochastic bandits. NeurIPS 2015, arXiv 1506.03271. Auer, Cesa-Bianchi, Freund, Schapire. The Nonstochastic
Multiarmed Bandit Problem. SIAM Journal on Computing 32, 2002.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from mdpkit import validate
from mdpkit.access import Episodes
from mdpkit.errors import MdpkitError
from mdpkit.jit import kernel
from mdpkit.models.tabular import EpisodicMDP
from mdpkit.records import Paper, Result, Trace
from mdpkit.worlds.markov import start, step

PAPER = Paper(
    "exp3", "The Nonstochastic Multiarmed Bandit Problem",
    "Peter Auer, Nicolò Cesa-Bianchi, Yoav Freund, Robert E. Schapire", "SIAM Journal on Computing 32, 2002", "",
    ("bandits", "adversarial", "exponential weights", "high probability", "baseline"),
    """@article{auer2002nonstochastic,
  title   = {The Nonstochastic Multiarmed Bandit Problem},
  author  = {Auer, Peter and Cesa-Bianchi, Nicol{\\`o} and Freund, Yoav and Schapire, Robert E.},
  journal = {SIAM Journal on Computing},
  volume  = {32},
  number  = {1},
  pages   = {48--77},
  year    = {2002}
}""")


TINY = 2.0**-1000


@dataclass(frozen=True)
class Params:
    """Step eta > 0, and gamma >= 0 of line 4; `run_2002` reads them as g/A and g."""

    eta: float
    gamma: float = 0.0


def theory(T: int, A: int) -> Params:
    """EXP3: eta = sqrt(2 ln A/(A T)), gamma = 0; with one arm there is nothing to learn, and eta is 1."""
    T, A = validate.count("T", T), validate.count("A", A)
    return Params(math.sqrt(2 * math.log(A) / (A * T)) if A > 1 else 1.0)


def run(access: Episodes, params: Params, rng: np.random.Generator) -> Result:
    """EXP3, or EXP3-IX where params.gamma > 0.

    Parameters
    ----------
    access : Episodes
        To a table of losses: one episode of `oblivious`, T steps at one state, whose rewards are the negative losses.
    params : Params
    rng : numpy.random.Generator
        Draws the arms, one number a round.

    Returns
    -------
    Result
        ``output`` is Lhat (A,); the trace holds p_t (T, A), and in its info ``a`` (T,), ``loss`` (T,) and ``estimate``
        (T,), which is lhat_t(a_t).

    Raises
    ------
    MdpkitError
        Bad parameters, more than one state, or a loss outside of [0, 1].
    """
    return _learn(access, params, rng, 0.0, 0.0)


def run_2002(access: Episodes, params: Params, rng: np.random.Generator) -> Result:
    """The algorithm in gains that mixes with the uniform law. Otherwise as `run`; Lhat holds the negative sums."""
    g = validate.interval("params.gamma", params.gamma, 0.0, 1.0)
    return _learn(access, Params(params.eta), rng, g, 1.0)


def theory_ix(T: int, A: int) -> Params:
    """EXP3-IX: the eta of `theory`, and gamma half of it."""
    eta = theory(T, A).eta
    return Params(eta, eta / 2)


def theory_2002(T: int, A: int) -> Params:
    """g = min(1, sqrt(A ln A/((e - 1) T))), and eta = g/A; with one arm g is 1."""
    T, A = validate.count("T", T), validate.count("A", A)
    g = min(1.0, math.sqrt(A * math.log(A) / ((math.e - 1) * T))) if A > 1 else 1.0
    return Params(g / A, g)


def replay(losses: Any, u: Any, eta: float, gamma: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """The laws p (T, A) and the estimates lhat (T, A) of a run on losses (T, A) whose draws are u (T,) in [0, 1)."""
    losses = validate.within("losses", validate.array("losses", losses, ("T", "A")), 0.0, 1.0)
    u = validate.within("u", validate.array("u", u, (len(losses),)), 0.0, math.nextafter(1.0, 0.0))
    return _replayed(losses, u, *_steps(eta, gamma), 0.0, 0.0)


def expected(losses: Any, eta: float, gamma: float = 0.0) -> tuple[float, np.ndarray]:
    """E sum_t l_t(a_t), and E sum_t lhat_t (A,), by all A^T sequences of arms.

    Sequences through arms whose p_t(a) vanishes in floats are left out, and estimates lose their share.
    """
    losses = validate.within("losses", validate.array("losses", losses, ("T", "A")), 0.0, 1.0)
    eta, gamma = _steps(eta, gamma)
    return _enumerated(losses, eta, lambda l, p: l / (p + gamma))


def estimates(losses: np.ndarray, p: np.ndarray, a: np.ndarray, gamma: float) -> np.ndarray:
    """lhat (T, A) of line 4, from losses (T, A), the laws p (T, A) and the arms a (T,) drawn from them."""
    out, t = np.zeros(losses.shape), np.arange(len(a))
    out[t, a] = losses[t, a] / (p[t, a] + gamma)
    return out


def regret_bound(T: int, A: int, eta: float) -> float:
    """ln A/eta + eta T A/2."""
    return math.log(A) / eta + eta * T * A / 2


def regret_bound_ix(T: int, A: int, delta: float) -> float:
    """2 sqrt(2 A T ln A) + (sqrt(2 A T/ln A) + 1) ln(2/delta), for A > 1."""
    return 2 * math.sqrt(2 * A * T * math.log(A)) + (math.sqrt(2 * A * T / math.log(A)) + 1) * math.log(2 / delta)


def oblivious(losses: Any) -> EpisodicMDP:
    """Losses (T, A) as a world: one state, T steps, rewards -losses."""
    losses = validate.array("losses", losses, ("T", "A"))
    T, A = losses.shape
    return EpisodicMDP(np.ones((T, 1, A, 1)), -losses[:, None, :], [1.0])


def demo(rng: np.random.Generator) -> Result:
    """EXP3-IX for sixty rounds on three arms."""
    losses = np.tile([0.5, 0.25, 1.0], (60, 1))
    return run(Episodes(oblivious(losses), rng), theory_ix(60, 3), rng)


def _steps(eta: float, gamma: float) -> tuple[float, float]:
    return (validate.interval("eta", eta, 0.0, math.inf, open_lo=True, open_hi=True),
            validate.interval("gamma", gamma, 0.0, math.inf, open_hi=True))


def _learn(access: Episodes, params: Params, rng: np.random.Generator, mix: float, shift: float) -> Result:
    validate.instance("access", access, Episodes)
    validate.instance("params", params, Params)
    validate.generator("rng", rng)
    if vars(access.known).get("S") != 1 or "H" not in vars(access.known):
        raise MdpkitError("access", "to one state and T steps", None, "see oblivious", came=f"it is {access.known!r}")
    eta, gamma = _steps(params.eta, params.gamma)
    return _played(access, Params(eta, gamma), rng, mix, shift)


def _played(access: Episodes, params: Params, rng: np.random.Generator, mix: float, shift: float) -> Result:
    T, A = access.known.H, access.known.A
    a, loss, estimate, p = np.zeros(T, np.int64), np.zeros(T), np.zeros(T), np.zeros((T, A))
    L = np.zeros(A)                                                                    # 1
    access.call(_loop, params.eta, params.gamma, mix, shift, L, a, loss, estimate, p, rng)
    validate.within("losses", loss, 0.0, 1.0)
    return Result(L, Trace(p, np.arange(T), {"a": a, "loss": loss, "estimate": estimate}), params, access.samples)


def _replayed(losses: np.ndarray, u: np.ndarray, eta: float, gamma: float, mix: float, shift: float,
              ) -> tuple[np.ndarray, np.ndarray]:
    p, lhat = np.zeros(losses.shape), np.zeros(losses.shape)
    _again(losses, u, eta, gamma, mix, shift, p, lhat)
    return p, lhat


def _enumerated(losses: np.ndarray, eta: float, estimate: Callable, mix: float = 0.0) -> tuple[float, np.ndarray]:
    """`expected` for any estimate(l, p) of a loss l (A,) at the laws p (n, A), and any mixing."""
    A, paid = losses.shape[1], 0.0
    chance, L = np.ones(1), np.zeros((1, A))
    for l in losses:
        z = -eta * L
        w = np.exp(z - z.max(1, keepdims=True))
        pure = w / w.sum(1, keepdims=True)
        p = (1 - mix) * pure + mix / A
        both = chance[:, None] * p
        paid += float((both * l).sum())
        live = both > TINY                  # what is left out has less than A^T times that chance
        lhat = np.where(live, estimate(l, np.where(live, np.maximum(p if mix == 0.0 else pure, TINY), 1.0)), 0.0)
        L = (L[:, None, :] + np.eye(A) * lhat[:, :, None])[live]
        chance = both[live]
    return paid, (chance[:, None] * L).sum(0)


def _law_body(L, eta, mix, p):
    A = L.shape[0]
    top, total = -math.inf, 0.0
    for a in range(A):
        top = max(top, -eta * L[a])
    for a in range(A):
        p[a] = math.exp(-eta * L[a] - top)
        total += p[a]
    for a in range(A):
        p[a] = (1.0 - mix) * (p[a] / total) + mix / A


def _pick_body(p, u):
    """The arm whose stretch of [0, 1) holds u; the last arm with p > 0 where rounding leaves a gap at 1."""
    a, last, below = 0, 0, 0.0
    for a in range(p.shape[0]):
        if p[a] > 0.0:
            last = a
            below += p[a]
            if u < below:
                return a
    return last


def _loop_body(world, eta, gamma, mix, shift, L, arms, loss, estimate, p, rng):
    start(world)
    for t in range(arms.shape[0]):                                                     # 2
        _law(L, eta, mix, p[t])                                                        # 3
        a = _pick(p[t], rng.random())                                                  # 3
        r, _ = step(world, a)
        arms[t], loss[t] = a, -r
        estimate[t] = (loss[t] - shift) / (p[t, a] + gamma)                            # 4
        L[a] += estimate[t]                                                            # 4


def _again_body(losses, u, eta, gamma, mix, shift, p, lhat):
    L = np.zeros(losses.shape[1])                                                      # 1
    for t in range(losses.shape[0]):
        _law(L, eta, mix, p[t])                                                        # 3
        a = _pick(p[t], u[t])
        lhat[t, a] = (losses[t, a] - shift) / (p[t, a] + gamma)                        # 4
        L[a] += lhat[t, a]


_law = kernel(_law_body)
_pick = kernel(_pick_body)
_loop = kernel(_loop_body)
_again = kernel(_again_body)
