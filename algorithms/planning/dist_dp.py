"""Distributional dynamic programming on stocks: optimise a functional K of the law of stock + return.

H steps, kernel P_h(t|s, a), rewards R_h(s, a, t), discount gamma in (0, 1]. The stock c carries the past in present
units: c' = (c + R)/gamma, so that c_0 + G = gamma^n (c_n + G_n), G the return sum_t gamma^t R_t. eta_h(s, c) is a law
of the return from there, with finitely many atoms; policies depend on (h, s, c).

Value iteration (`plan`; n sweeps from the zero law are horizon n):

    1  eta_H(s, c) = the law concentrated at 0
    2  for h = H-1..0, each (s, c) that can be reached, each action a:
    3      nu_a = law of R + gamma G',  t ~ P_h(.|s, a), R = R_h(s, a, t), G' ~ eta_{h+1}(t, (c + R)/gamma)
    4      pi_h(s, c) = argmax_a K(law of c + nu_a), ties to the lowest;  eta_h(s, c) = nu of that action

Policy iteration (`improve`):

    5  start with some pi
    6  repeat  eta = the laws of pi, exactly
    7      in EVERY (h, s, c): switch to an action of line 4 if it is better under eta of pi, else keep pi
    8      if nothing changes: return pi

Conditional value at risk, the mean of the worst share tau (`cvar`): CVaR(G) = max_b b + E min(G - b, 0)/tau.

    9  for each return b that can occur: plan with K = E min(x, 0) from the stock -b; score b + K/tau
   10  return the best

Numbers are rationals; no tolerance merges atoms.

Guarantee (the paper's theorems on value and policy iteration; the number, Theorem 1, is as counted here, the wording
was not at hand): K indifferent to mixtures and, where gamma < 1, to scaling by gamma makes line 4 optimal from every
(s, c), among all policies of the history. E U(X) is the former for every U, the latter for U positively homogeneous.
For U with Lipschitz constant L and |R| <= Rmax, n sweeps are off by at most L gamma^n Rmax/(1 - gamma): derived, tight.
Medians and variances are not indifferent, CVaR itself neither: recursion on them fails.

Pires, Rowland, Borsa, Guo, Khetarpal, Barreto, Abel, Munos, Dabney. Optimizing Return Distributions with Distributional
Dynamic Programming. JMLR 2025, arXiv 2501.13028.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import flint
import numpy as np

from mdpkit import validate
from mdpkit.access import Exact
from mdpkit.errors import MdpkitError
from mdpkit.models.tabular import EpisodicMDP
from mdpkit.rational import fraction, rational
from mdpkit.records import Paper, Result

PAPER = Paper(
    "dist-dp", "Optimizing Return Distributions with Distributional Dynamic Programming",
    "Bernardo Avila Pires, Mark Rowland, Diana Borsa, Zhaohan Daniel Guo, Khimya Khetarpal, Andre Barreto, David Abel, "
    "Remi Munos, Will Dabney", "JMLR 2025", "2501.13028",
    ("episodic", "planning", "distributional", "risk", "tabular"),
    """@article{pires2025optimizing,
  title   = {Optimizing Return Distributions with Distributional Dynamic Programming},
  author  = {Pires, Bernardo {\\'A}vila and Rowland, Mark and Borsa, Diana and Guo, Zhaohan Daniel and Khetarpal, Khimya and Barreto, Andr{\\'e} and Abel, David and Munos, R{\\'e}mi and Dabney, Will},
  journal = {Journal of Machine Learning Research},
  year    = {2025}
}""")  # noqa: E501

MOST = 200_000          # reachable (h, s, stock)
Law = list[tuple[Any, Any]]       # (value, probability), rationals, values rising
Functional = Callable[[Law], Any]
Node = tuple[int, int, Any]


@dataclass(frozen=True, eq=False)
class Params:
    """The functional, by its name in `FUNCTIONALS` or as a function of a law; stock, discount, rewards (H, S, A, S).

    Rewards None: the model's, whatever the successor. ``tau`` is `run_cvar`'s.
    """

    K: Any
    stock: float = 0.0
    gamma: float = 1.0
    rewards: Any = None
    tau: float = 1.0


class Plan(NamedTuple):
    """From one start: K of stock + return, the law of the return, and the actions by (h, s, stock)."""

    value: Any
    law: Law
    policy: dict[Node, int]


def theory(K: Any, stock: float = 0.0, gamma: float = 1.0) -> Params:
    """Nothing is tuned. The caller vouches for K: indifferent to mixtures, and to scaling by a gamma below 1."""
    _functional("K", K)
    return Params(K, validate.real("stock", stock),
                  validate.interval("gamma", gamma, 0.0, 1.0, open_lo=True))


def run(access: Exact, params: Params, rng: np.random.Generator) -> Result:
    """Value iteration.

    Parameters
    ----------
    access : Exact
        To an episodic model; its rewards are taken without noise.
    params : Params
    rng : numpy.random.Generator
        Not used.

    Returns
    -------
    Result
        ``output`` maps each start s of positive probability to its `Plan`, numbers as Fractions. More than `MOST`
        reachable stocks are refused.
    """
    K = _functional("params.K", _given(access, params, rng).K)
    P, gamma, stock = successors(access.model, params.rewards), rational(params.gamma), rational(params.stock)
    starts = np.flatnonzero(access.model.rho).tolist()
    return Result({s: _told(plan(P, gamma, K, s, stock)) for s in starts}, None, params)


def run_policy_iteration(access: Exact, params: Params, rng: np.random.Generator) -> Result:
    """Policy iteration from action 0 everywhere; as `run` else."""
    K = _functional("params.K", _given(access, params, rng).K)
    P, gamma, stock = successors(access.model, params.rewards), rational(params.gamma), rational(params.stock)
    starts = np.flatnonzero(access.model.rho).tolist()
    return Result({s: _told(improve(P, gamma, K, s, stock)[0]) for s in starts}, None, params)


def run_cvar(access: Exact, params: Params, rng: np.random.Generator) -> Result:
    """The largest CVaR of the return at level ``params.tau``, discount 1; ``output`` maps s to (CVaR, b, `Plan`)."""
    _given(access, params, rng)
    if params.gamma != 1.0:
        raise MdpkitError("params.gamma", "1 for CVaR", params.gamma)
    P = successors(access.model, params.rewards)
    tau = rational(validate.interval("params.tau", params.tau, 0.0, 1.0, open_lo=True))
    found = {s: cvar(P, tau, s) for s in np.flatnonzero(access.model.rho).tolist()}
    return Result({s: (fraction(x), fraction(b), _told(p)) for s, (x, b, p) in found.items()}, None, params)


def expected(utility: Callable[[Any], Any]) -> Functional:
    """K = E U(X)."""
    return lambda law: sum(p * utility(x) for x, p in law)


def lower_median(law: Law) -> Any:
    """The least value with half of the mass at or below: not indifferent to mixtures."""
    return _quantile(law, flint.fmpq(1, 2))


def minus_variance(law: Law) -> Any:
    """-Var X: not indifferent to mixtures."""
    mean = sum(p * x for x, p in law)
    return mean * mean - sum(p * x * x for x, p in law)


def worst_share(law: Law, tau: Any) -> Any:
    """CVaR, the mean of the worst share tau, by its maximum over b."""
    b = _quantile(law, tau)
    return b + sum(p * min(x - b, 0 * b) for x, p in law) / tau


UTILITIES: dict[str, Callable[[Any], Any]] = {
    "mean": lambda x: x,
    "at least 2": lambda x: flint.fmpq(int(x >= 2)),
    "near 0": lambda x: -abs(x),
    "squared": lambda x: -x * x,
    "exponential": lambda x: rational(-math.exp(-float(fraction(x)) / 2)),
    "shortfall": lambda x: min(x, 0 * x),
}
FUNCTIONALS: dict[str, Functional] = {
    **{name: expected(U) for name, U in UTILITIES.items()}, "median": lower_median, "-variance": minus_variance}


def successors(model: EpisodicMDP, rewards: Any = None) -> list:
    """[h][s][a] -> list of (t, probability, reward) in rationals."""
    R = np.broadcast_to(model.r[..., None], model.P.shape) if rewards is None else validate.array(
        "rewards", rewards, model.P.shape)
    return [[[[(int(t), rational(p[t]), rational(x[t])) for t in np.flatnonzero(p)] for p, x in zip(*rows)]
             for rows in zip(*step)] for step in zip(model.P, R)]


def reachable(P: list, gamma: Any, s: int, stock: Any) -> list[set]:
    """Pairs (s, c) of each step 0..H, whatever is played."""
    levels = [{(s, stock)}]
    for step in P:
        levels.append({(t, (c + x) / gamma) for s, c in levels[-1] for moves in step[s] for t, _, x in moves})
        if sum(map(len, levels)) > MOST:
            raise MdpkitError("model", f"one with at most {MOST} reachable stocks", None, "round the rewards")
    return levels


def look(moves: list, after: dict, c: Any, gamma: Any) -> Law:
    """nu_a, from the laws ``after`` of the next step's (s, c)."""
    return merged([(x + gamma * g, p * q) for t, p, x in moves for g, q in after[t, (c + x) / gamma]])   # 3


def merged(atoms: Law) -> Law:
    """The atoms in order, equal values as one."""
    law: Law = []
    for x, p in sorted(atoms, key=lambda atom: atom[0]):
        if law and law[-1][0] == x:
            law[-1] = x, law[-1][1] + p
        else:
            law.append((x, p))
    return law


def shift(law: Law, c: Any) -> Law:
    """The law of c + X."""
    return [(c + x, p) for x, p in law]


def plan(P: list, gamma: Any, K: Functional, s: int, stock: Any) -> Plan:
    """Lines 1 to 4 from one start, P of `successors`."""
    return _sweep(P, gamma, lambda h, law, c: K(shift(law, c)), s, stock)


def plan_from_the_start(P: list, gamma: Any, K: Functional, s: int, stock: Any) -> Plan:
    """The same with K of gamma^h (c + nu_a), in units of the start: optimal for every E U, at any discount."""
    return _sweep(P, gamma, lambda h, law, c: K([(gamma**h * (c + x), p) for x, p in law]), s, stock)


def evaluate(P: list, gamma: Any, policy: dict[Node, int], levels: list[set]) -> list[dict]:
    """The laws of the return of a policy at all ``levels``, steps 0..H."""
    eta: list[dict] = [{at: [(flint.fmpq(0), flint.fmpq(1))] for at in levels[-1]}]
    for h in range(len(P) - 1, -1, -1):
        eta.insert(0, {(z, c): look(P[h][z][policy[h, z, c]], eta[0], c, gamma) for z, c in levels[h]})   # 6
    return eta


def improve(P: list, gamma: Any, K: Functional, s: int, stock: Any) -> tuple[Plan, int]:
    """Lines 5 to 8 from action 0 everywhere; also how often the policy changed."""
    levels = reachable(P, gamma, s, stock)
    policy: dict[Node, int] = {(h, *at): 0 for h in range(len(P)) for at in levels[h]}          # 5
    rounds = 0
    while True:
        eta, new = evaluate(P, gamma, policy, levels), dict(policy)                    # 6
        for h, z, c in policy:
            worth = [K(shift(look(moves, eta[h + 1], c, gamma), c)) for moves in P[h][z]]
            if max(worth) > worth[policy[h, z, c]]:                                    # 7
                new[h, z, c] = worth.index(max(worth))
        if new == policy:                                                              # 8
            law = eta[0][s, stock]
            return Plan(K(shift(law, stock)), law, policy), rounds
        policy, rounds = new, rounds + 1


def cvar(P: list, tau: Any, s: int) -> tuple[Any, Any, Plan]:
    """Lines 9 and 10: the best CVaR_tau of the return, its b and the plan, whose first stock is -b."""
    one, K = flint.fmpq(1), FUNCTIONALS["shortfall"]
    best: tuple[Any, Any, Plan] | None = None
    for b in sorted({c for _, c in reachable(P, one, s, 0 * one)[-1]}):                # 9
        found = plan(P, one, K, s, -b)                                                 # 9
        score = b + found.value / tau                                                  # 9
        if best is None or score > best[0]:
            best = score, b, found
    assert best is not None
    return best                                                                        # 10


def horizon_bound(gamma: Any, n: int, m: float, top: Any, L: Any) -> Any:
    """L Rmax (gamma^n - gamma^m)/(1 - gamma) >= |F of n sweeps - F of m|, n < m; m = inf: the best of all."""
    return L * top * (gamma**n - (gamma ** int(m) if m < math.inf else 0)) / (1 - gamma)


def demo(rng: np.random.Generator) -> Result:
    """Stay near 0: E -|1 + G| on a model of two states, H = 3."""
    P = np.array([[[0.75, 0.25], [0.25, 0.75]], [[0.5, 0.5], [0.875, 0.125]]])
    model = EpisodicMDP.stationary(P, np.array([[2.0, -3.0], [0.0, 1.0]]), [1.0, 0.0], 3)
    return run(Exact(model), replace(theory("near 0"), stock=1.0), rng)


def _sweep(P: list, gamma: Any, K: Callable[[int, Law, Any], Any], s: int, stock: Any) -> Plan:
    levels, policy = reachable(P, gamma, s, stock), {}
    eta: dict = {at: [(flint.fmpq(0), flint.fmpq(1))] for at in levels[-1]}              # 1
    for h in range(len(P) - 1, -1, -1):                                                # 2
        now = {}
        for z, c in levels[h]:
            laws = [look(moves, eta, c, gamma) for moves in P[h][z]]                   # 3
            worth = [K(h, law, c) for law in laws]
            a = worth.index(max(worth))                                                # 4
            now[z, c], policy[h, z, c] = laws[a], a                                    # 4
        eta = now
    law = eta[s, stock]
    return Plan(K(0, law, stock), law, policy)


def _quantile(law: Law, tau: Any) -> Any:
    """The least value with mass tau at or below."""
    mass = itertools.accumulate(p for _, p in law)
    return next(x for (x, _), total in zip(law, mass) if total >= tau)


def _functional(name: str, K: Any) -> Functional:
    if callable(K):
        return K
    return FUNCTIONALS[validate.choice(name, K, tuple(FUNCTIONALS))]


def _told(found: Plan) -> Plan:
    """The same in Fractions."""
    law = [(fraction(x), fraction(p)) for x, p in found.law]
    return Plan(fraction(found.value), law, {(h, s, fraction(c)): a for (h, s, c), a in found.policy.items()})


def _given(access: Exact, params: Params, rng: np.random.Generator) -> Params:
    validate.instance("access", access, Exact)
    validate.instance("access.model", access.model, EpisodicMDP)
    validate.real("params.stock", validate.instance("params", params, Params).stock)
    validate.interval("params.gamma", params.gamma, 0.0, 1.0, open_lo=True)
    validate.generator("rng", rng)
    return params
