"""Thompson sampling for Bernoulli arms: play each arm as often as it is believed to be the best.

K arms with rewards in [0, 1] of means mu_j; mu* is the largest, Delta_j = mu* - mu_j. The prior is Beta(1, 1) for each
arm. The regret of n plays is R_n = sum_t (mu* - mu_{a_t}); frequentist for mu given, Bayesian for mu drawn from the
prior.

    1  alpha_j = beta_j = 1
    2  for t = 1..n:  theta_j ~ Beta(alpha_j, beta_j) for each arm, independently
    3      a = argmax_j theta_j;  play a for a reward r
    4      x = r, or for 0 < r < 1 a draw from Bernoulli(r)
    5      alpha_a = alpha_a + x,  beta_a = beta_a + 1 - x

Guarantees (Proposition 1 of Russo and Van Roy 2016; Theorem 1 of Kaufmann, Korda, Munos; Theorem 1 of Agrawal, Goyal)
    Bayesian, for any prior that the learner shares: given the past, a_t and the best arm a* have one law, so that
        E[max_j theta_j] = E[max_j mu_j] at every t; and E R_n <= sqrt(H(a*) K n/2) <= sqrt(K n ln K/2), H the entropy.
    Frequentist, Bernoulli: limsup E R_n/ln n <= sum_j Delta_j/kl(mu_j, mu*), which is least possible (Lai, Robbins);
        E R_n <= (1 + eps) sum_j Delta_j ln n/kl(mu_j, mu*) + O(K/eps^2).
The second is tight as n grows, and fixes no ratio at any finite n; the first is loose by sqrt(ln K) at least. The
wording of the papers was not at hand when this was written.

Thompson. On the Likelihood that One Unknown Probability Exceeds Another in View of the Evidence of Two Samples.
Biometrika 25, 1933. Agrawal, Goyal. Analysis of Thompson Sampling for the Multi-armed Bandit Problem. COLT 2012, arXiv
1111.1797; Further Optimal Regret Bounds for Thompson Sampling. AISTATS 2013, arXiv 1209.3353. Kaufmann, Korda, Munos.
Thompson Sampling: An Asymptotically Optimal Finite-Time Analysis. ALT 2012, arXiv 1205.4217. Russo, Van Roy. An
Information-Theoretic Analysis of Thompson Sampling. JMLR 17, 2016, arXiv 1403.5341.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import flint
import numpy as np

from mdpkit import validate
from mdpkit.access import Episodes
from mdpkit.errors import MdpkitError
from mdpkit.jit import kernel
from mdpkit.models.bandits import Bandit
from mdpkit.records import Paper, Result
from mdpkit.worlds.bandits import step

PAPER = Paper(
    "thompson", "On the Likelihood that One Unknown Probability Exceeds Another in View of the Evidence of Two Samples",
    "William R. Thompson", "Biometrika 25, 1933", "",
    ("bandits", "stochastic", "Bayesian", "posterior sampling", "baseline"),
    """@article{thompson1933likelihood,
  title   = {On the Likelihood that One Unknown Probability Exceeds Another in View of the Evidence of Two Samples},
  author  = {Thompson, William R.},
  journal = {Biometrika},
  volume  = {25},
  pages   = {285--294},
  year    = {1933}
}""")


@dataclass(frozen=True)
class Params:
    """n plays; how many times each observation counts in line 5 (the theorems: once)."""

    n: int
    weight: float = 1.0


class Posterior(NamedTuple):
    """Beta(alpha_j, beta_j) for each arm, arrays (K,)."""

    alpha: np.ndarray
    beta: np.ndarray


def theory(n: int) -> Params:
    """Nothing is free but n, and the algorithm does not know it."""
    return Params(validate.count("n", n))


def run(access: Episodes, params: Params, rng: np.random.Generator) -> Result:
    """Thompson sampling.

    Parameters
    ----------
    access : Episodes
        To a bandit without contexts whose rewards are in [0, 1].
    params : Params
    rng : numpy.random.Generator
        Draws theta, and x where a reward is neither 0 nor 1.

    Returns
    -------
    Result
        ``output`` is the `Posterior` after the last play; the log has the arm of each play.

    Raises
    ------
    MdpkitError
        Bad parameters, no bandit, or a reward outside of [0, 1].
    """
    validate.instance("access", access, Episodes)
    validate.instance("params", params, Params)
    if {"S", "X"} & set(vars(access.known)):
        raise MdpkitError("access", "to a bandit without contexts", None, came=f"it knows {access.known!r}")
    n, weight = validate.count("params.n", params.n), params.weight
    validate.interval("params.weight", weight, 0.0, math.inf, open_lo=True, open_hi=True)
    belief, extent = Posterior(np.ones(access.known.A), np.ones(access.known.A)), np.array([0.0, 1.0])      # 1
    trace = access.drive(_loop, (*belief, float(weight), extent), np.int64(0), n, rng)
    validate.within("the rewards", extent, 0.0, 1.0)
    return Result(belief, trace, params, access.samples)


def choices(alpha: Any, beta: Any, m: int, rng: np.random.Generator) -> np.ndarray:
    """The arms (m,) of lines 2 and 3 in m rounds from one posterior, alpha and beta (K,) > 0."""
    alpha, beta = (validate.array(name, x, ("K",)) for name, x in (("alpha", alpha), ("beta", beta)))
    validate.within("alpha", alpha, 0.5, math.inf)
    validate.within("beta", validate.array("beta", beta, alpha.shape), 0.5, math.inf)
    arms = np.empty(validate.count("m", m), np.int64)
    _many(alpha, beta, arms, validate.generator("rng", rng))
    return arms


def best(alpha: Sequence[int], beta: Sequence[int]) -> tuple[flint.fmpq, ...]:
    """P(theta_j is the largest) for each arm, exactly: integral of pdf_j prod_{i != j} cdf_i, all of them polynomials.

    Parameters
    ----------
    alpha, beta : sequences of K integers, >= 1

    Raises
    ------
    MdpkitError
        Parameters that are no integers, below 1, or of different number.
    """
    pdf, cdf = _laws(alpha, beta)
    return tuple(_over_unit(_product([p, *cdf[:j], *cdf[j + 1:]])) for j, p in enumerate(pdf))


def largest(alpha: Sequence[int], beta: Sequence[int]) -> flint.fmpq:
    """E max_j theta_j, exactly: 1 - integral of prod_j cdf_j. Parameters and errors of `best`."""
    return 1 - _over_unit(_product(_laws(alpha, beta)[1]))


def foreseen(alpha: Sequence[int], beta: Sequence[int], t: int) -> tuple[flint.fmpq, ...]:
    """P(a_{t+1} = j) for each arm, and E max_j theta_j in round t+1 as the last entry, where mu comes from the prior
    Beta(alpha_j, beta_j): exactly, by all sequences of t arms and rewards. Parameters and errors of `best`.
    """
    return _foreseen(alpha, beta, validate.count("t", t, 0), lambda j, x: (x, 1 - x))


def bayes_bound(K: int, n: int) -> float:
    """sqrt(K n ln K/2)."""
    return math.sqrt(validate.count("K", K) * validate.count("n", n) * math.log(K) / 2)


def demo(rng: np.random.Generator) -> Result:
    """Two hundred plays of three arms."""
    return run(Episodes(Bandit([0.3, 0.7, 0.5]), rng), Params(200), rng)


def _laws(alpha: Sequence[int], beta: Sequence[int]) -> tuple[list[flint.fmpq_poly], list[flint.fmpq_poly]]:
    """Densities and distribution functions on [0, 1]."""
    if len(alpha) != len(beta) or not len(alpha):
        raise MdpkitError("beta", "as many as alpha, and at least one", None, came=f"{len(alpha)} and {len(beta)}")
    x, pdf = flint.fmpq_poly([0, 1]), []
    for a, b in zip(alpha, beta):
        a, b = validate.count("alpha", a), validate.count("beta", b)
        scale = flint.fmpq(math.factorial(a + b - 1), math.factorial(a - 1) * math.factorial(b - 1))
        pdf.append(scale * x ** (a - 1) * (1 - x) ** (b - 1))
    return pdf, [p.integral() for p in pdf]


def _product(factors: Sequence[flint.fmpq_poly]) -> flint.fmpq_poly:
    return math.prod(factors, start=flint.fmpq_poly([1]))


def _over_unit(p: flint.fmpq_poly) -> flint.fmpq:
    return p.integral()(flint.fmpq(1))


def _foreseen(alpha: Sequence[int], beta: Sequence[int], t: int, update: Callable) -> tuple[flint.fmpq, ...]:
    """`foreseen` for a learner who adds ``update(j, x)`` to alpha_j and beta_j; nature keeps to the posterior."""
    K = len(alpha)
    start = (*(int(x) for x in alpha), *(int(x) for x in beta))
    law = {(start, start): flint.fmpq(1)}                    # what nature knows, and what the learner believes
    for _ in range(t):
        after: dict[Any, flint.fmpq] = {}
        for (true, mind), p in law.items():
            for j, q in enumerate(best(mind[:K], mind[K:])):                                                # 2, 3
                for x in (0, 1):
                    chance = flint.fmpq(true[j] if x else true[K + j], true[j] + true[K + j])
                    key = _added(true, j, x, 1 - x), _added(mind, j, *update(j, x))                         # 5
                    after[key] = after.get(key, flint.fmpq(0)) + p * q * chance
        law = after
    ends = [(p, mind[:K], mind[K:]) for (_, mind), p in law.items()]
    arms = [sum((p * best(a, b)[j] for p, a, b in ends), flint.fmpq(0)) for j in range(K)]
    return (*arms, sum((p * largest(a, b) for p, a, b in ends), flint.fmpq(0)))


def _added(counts: tuple[int, ...], j: int, up: int, down: int) -> tuple[int, ...]:
    out = list(counts)
    out[j] += up
    out[len(out) // 2 + j] += down
    return tuple(out)


def _choose_body(alpha, beta, rng):
    arm, most = 0, -1.0
    for j in range(alpha.shape[0]):
        theta = rng.beta(alpha[j], beta[j])                                            # 2
        if theta > most:
            arm, most = j, theta                                                       # 3
    return arm


def _many_body(alpha, beta, arms, rng):
    for i in range(arms.shape[0]):
        arms[i] = _choose(alpha, beta, rng)


def _loop_body(world, alpha, beta, weight, extent, log, first, rng):
    for k in range(log.shape[0]):
        a = _choose(alpha, beta, rng)                                                  # 2, 3
        r = step(world, a)
        extent[0] = min(extent[0], r)
        extent[1] = max(extent[1], r)
        x = r
        if 0.0 < r < 1.0:
            x = 1.0 if rng.random() < r else 0.0                                       # 4
        log[k] = a
        alpha[a] += weight * x                                                         # 5
        beta[a] += weight * (1.0 - x)


_choose = kernel(_choose_body)
_many = kernel(_many_body)
_loop = kernel(_loop_body)
