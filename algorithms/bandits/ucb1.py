"""UCB1 and KL-UCB: play the arm whose upper confidence bound is the largest.

K arms with i.i.d. rewards in [0, 1] of means mu_j; mu* is the largest, Delta_j = mu* - mu_j. After t plays, n_j are the
plays of arm j, s_j the sum of what they paid, and xbar_j = s_j/n_j.

    1  play each arm once, in order
    2  for t = K, K+1, .., n-1 (the plays so far):
    3      UCB1:    u_j = xbar_j + sqrt(2 ln t/n_j)
    4      KL-UCB:  u_j = max{ q : n_j kl(xbar_j, q) <= ln t + c ln ln t },  kl that of Bernoulli laws, by bisection
    5      play the arm with the largest u_j (lowest index on ties); count

A factor other than 2 in line 3 is another algorithm, UCB(alpha), about which Theorem 1 says nothing. In line 4, c = 3
in theory; 0 is usual in practice.

Guarantee (Theorem 1), for every n, with R_n = sum_t (mu* - mu_{a_t}):
    E R_n <= 8 sum_{j: Delta_j > 0} ln n/Delta_j + (1 + pi^2/3) sum_j Delta_j, through
    E n_j(n) <= 8 ln n/Delta_j^2 + 1 + pi^2/3 for each suboptimal arm (its proof), and so
    E R_n <= 2 sqrt(8 K n ln n) + (1 + pi^2/3) sum_j Delta_j on every instance (derived: arms with Delta_j below
        sqrt(8 K ln n/n) lose n times that at most, the others 8 K ln n/Delta in all).
The order ln n is tight, the constant is not: for Bernoulli rewards sum Delta_j/kl(mu_j, mu*) is the least that a
consistent learner can reach (Lai, Robbins), and KL-UCB reaches it. Constants as quoted by others and
recalled: the wording of the papers was not at hand when this was written.

Auer, Cesa-Bianchi, Fischer. Finite-time Analysis of the Multiarmed Bandit Problem. Machine Learning 47, 2002. Lai,
Robbins. Asymptotically Efficient Adaptive Allocation Rules. Advances in Applied Mathematics 6, 1985. Garivier, Cappé.
The KL-UCB Algorithm for Bounded Stochastic Bandits and Beyond. COLT 2011, arXiv 1102.2490.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import flint
import numpy as np

from mdpkit import validate
from mdpkit.access import Episodes
from mdpkit.concentration import bernoulli_index, bernoulli_kl
from mdpkit.errors import MdpkitError
from mdpkit.jit import kernel
from mdpkit.models.bandits import Bandit
from mdpkit.rational import rational
from mdpkit.records import Paper, Result
from mdpkit.worlds.bandits import step

PAPER = Paper(
    "ucb1", "Finite-time Analysis of the Multiarmed Bandit Problem",
    "Peter Auer, Nicolò Cesa-Bianchi, Paul Fischer", "Machine Learning 47, 2002", "",
    ("bandits", "stochastic", "optimism", "baseline"),
    """@article{auer2002finite,
  title   = {Finite-time Analysis of the Multiarmed Bandit Problem},
  author  = {Auer, Peter and Cesa-Bianchi, Nicol{\\`o} and Fischer, Paul},
  journal = {Machine Learning},
  volume  = {47},
  pages   = {235--256},
  year    = {2002}
}""")


@dataclass(frozen=True)
class Params:
    """n plays; alpha, the factor in line 3 (Theorem 1: 2); c of line 4 (theory: 3)."""

    n: int
    alpha: float = 2.0
    c: float = 3.0


class Tally(NamedTuple):
    """What is known of each arm."""

    plays: np.ndarray       # (K,) n_j
    paid: np.ndarray        # (K,) s_j
    extent: np.ndarray      # (2,) least and largest reward, 0 and 1 at least


def theory(n: int) -> Params:
    """Theorem 1: nothing is free but n, and the algorithm does not know it."""
    return Params(validate.count("n", n))


def run(access: Episodes, params: Params, rng: np.random.Generator) -> Result:
    """UCB1, and with another alpha UCB(alpha); alpha = 0 follows the leader.

    Parameters
    ----------
    access : Episodes
        To a bandit without contexts whose rewards are in [0, 1].
    params : Params
    rng : numpy.random.Generator
        Not used.

    Returns
    -------
    Result
        ``output`` is a `Tally`; the log has the arm of each play.

    Raises
    ------
    MdpkitError
        Bad parameters, no bandit, or a reward outside of [0, 1].
    """
    return _play(access, params, rng, False)


def run_kl(access: Episodes, params: Params, rng: np.random.Generator) -> Result:
    """KL-UCB. Otherwise as `run`."""
    return _play(access, params, rng, True)


def indices(paid: Any, plays: Any, t: int, alpha: float = 2.0) -> np.ndarray:
    """u (K,) of line 3 after t plays, from sums paid (K,) and counts plays (K,) >= 1."""
    paid, plays = validate.array("paid", paid, ("K",)), validate.array("plays", plays, ("K",))
    level = validate.interval("alpha", alpha, 0.0, math.inf, open_hi=True) * math.log(validate.count("t", t))
    validate.within("plays", plays, 1.0, math.inf)
    return np.array([_index(s, n, level, False) for s, n in zip(paid, plays)])


def kl_index(mean: float, n: float, budget: float) -> float:
    """max{ q : n kl(mean, q) <= budget } of line 4, for mean in [0, 1], n > 0 and budget >= 0, by bisection."""
    mean, n = validate.interval("mean", mean, 0.0, 1.0), validate.interval("n", n, 0.0, math.inf, open_lo=True)
    return _index(mean * n, n, validate.interval("budget", budget, 0.0, math.inf), True)


def tail(mu: float, N: int, t: int) -> flint.fmpq:
    """P( xbar_N - mu > sqrt(2 ln t/N) ) for N Bernoulli rewards of mean mu, exactly: mu a float, read as the rational
    that it is. At most t^-4.
    """
    return _tail(mu, N, 2 * flint.arb(validate.count("t", t)).log())


def regret_bound(mu: Any, n: int) -> float:
    """8 sum ln n/Delta_j + (1 + pi^2/3) sum Delta_j of Theorem 1, for means mu (K,) and n plays."""
    gaps = _gaps(mu)
    return 8 * math.log(n) * float((1 / gaps[gaps > 0]).sum()) + (1 + math.pi**2 / 3) * float(gaps.sum())


def pull_bounds(mu: Any, n: int) -> np.ndarray:
    """8 ln n/Delta_j^2 + 1 + pi^2/3 (K,); infinite for the best arms."""
    gaps = _gaps(mu)
    squares = np.where(gaps > 0, gaps * gaps, 1.0)
    return np.where(gaps > 0, 8 * math.log(n) / squares + 1 + math.pi**2 / 3, math.inf)


def gap_free(mu: Any, n: int) -> float:
    """2 sqrt(8 K n ln n) + (1 + pi^2/3) sum Delta_j."""
    gaps = _gaps(mu)
    return 2 * math.sqrt(8 * len(gaps) * n * math.log(n)) + (1 + math.pi**2 / 3) * float(gaps.sum())


def lai_robbins(mu: Any) -> float:
    """sum Delta_j/kl(mu_j, mu*), for Bernoulli means mu (K,) in (0, 1)."""
    gaps, best = _gaps(mu), float(np.max(mu))
    return sum(float(g) / bernoulli_kl(best - float(g), best) for g in gaps if g > 0)


def demo(rng: np.random.Generator) -> Result:
    """Two hundred plays of KL-UCB with three arms."""
    return run_kl(Episodes(Bandit([0.3, 0.7, 0.5]), rng), Params(200, c=0.0), rng)


def _gaps(mu: Any) -> np.ndarray:
    mu = validate.within("mu", validate.array("mu", mu, ("K",)), 0.0, 1.0)
    return mu.max() - mu


def _tail(mu: float, N: int, level: flint.arb) -> flint.fmpq:
    """P(S > N mu and (S - N mu)^2 > N level), S binomial; the comparison must be certain in balls."""
    p, N, total = rational(validate.interval("mu", mu, 0.0, 1.0)), validate.count("N", N), flint.fmpq(0)
    for k in range(N + 1):
        past, wanted = flint.fmpq(k) - N * p, N * level
        if past <= 0:
            continue
        square = flint.arb(past * past)
        if square > wanted:
            total += math.comb(N, k) * p**k * (1 - p) ** (N - k)
        elif not square <= wanted:
            raise MdpkitError("t", "such that the threshold is no possible mean", None)
    return total


def _play(access: Episodes, params: Params, rng: np.random.Generator, divergence: bool) -> Result:
    validate.instance("access", access, Episodes)
    validate.instance("params", params, Params)
    if {"S", "X"} & set(vars(access.known)):
        raise MdpkitError("access", "to a bandit without contexts", None, came=f"it knows {access.known!r}")
    n = validate.count("params.n", params.n)
    factor = validate.interval("params.alpha", params.alpha, 0.0, math.inf, open_hi=True)
    if divergence:
        factor = validate.interval("params.c", params.c, 0.0, math.inf, open_hi=True)
    tally = Tally(np.zeros(access.known.A), np.zeros(access.known.A), np.array([0.0, 1.0]))
    trace = access.drive(_loop, (*tally, factor, divergence), np.int64(0), n, rng)
    validate.within("the rewards", tally.extent, 0.0, 1.0)
    return Result(tally, trace, params, access.samples)


def _index_body(paid, n, level, divergence):
    mean = paid / n
    if not divergence:
        return mean + math.sqrt(level / n)                                             # 3
    return bernoulli_index(mean, n, level)                                             # 4


def _loop_body(world, plays, paid, extent, factor, divergence, log, first, rng):
    K = plays.shape[0]
    for k in range(log.shape[0]):
        t, a = first + k, 0
        if t < K:
            a = t                                                                      # 1
        else:
            level = factor * math.log(t)                                               # 2
            if divergence:                  # Paper: ln ln t from t = 2 on; a negative level counts as 0, no exploring
                level = max(math.log(t) + factor * math.log(math.log(max(t, 2))), 0.0)
            best = -math.inf
            for j in range(K):
                u = _index(paid[j], plays[j], level, divergence)
                if u > best:
                    best, a = u, j                                                     # 5
        x = step(world, a)
        log[k] = a
        plays[a] += 1.0
        paid[a] += x
        extent[0] = min(extent[0], x)
        extent[1] = max(extent[1], x)


_index = kernel(_index_body)
_loop = kernel(_loop_body)
