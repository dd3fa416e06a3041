"""Constrained discounted MDPs: the largest reward with costs within limits, by a mixture of deterministic policies.

    max over mixtures of V_r(rho)   subject to   V_{c_i}(rho) <= b_i,  i = 1..m

The linear programme over occupancies, solved by its columns: each is a deterministic policy, and the next one is
optimal for the reward r - sum_i lam_i c_i at the present prices lam >= 0. Nothing is trusted: the prices prove a bound
from above through the certified solution of that MDP, and the mixture one from below through its own policies'
certified values, moved towards a policy with room to spare where it oversteps a limit by a rounding.

Altman, Constrained Markov Decision Processes, 1999, chapter 3; Dantzig and Wolfe 1960.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import linprog

from mdpkit import validate
from mdpkit.errors import MdpkitError, NotCertified
from mdpkit.models.tabular import TabularMDP
from mdpkit.rational import of_fraction
from mdpkit.solve import discounted
from mdpkit.solve.constrained_exact import exactly
from mdpkit.solve.precise import down, up
from mdpkit.solve.rounding import backup_error
from mdpkit.solve.solution import Certificate, tolerance

ROUNDS = 500             # columns, at most
RELATIVE_TOL = 1e-8


@dataclass(frozen=True, eq=False)
class ConstrainedSolution:
    """``lo <= optimal value <= hi`` at the initial law.

    Attributes
    ----------
    lo, hi : float
        The mixture's value is at least ``lo``, and its costs are within the limits, roundings included.
    weights : array (k,)
        Of the mixture: one policy is drawn before the start and kept.
    policies : int array (k, S)
    policy : array (S, A)
        The stationary policy with the mixture's occupancy, and so its values.
    costs : array (m,)
        Upper bounds on the mixture's costs.
    prices : array (m,)
        Multipliers of the limits.
    iterations : int
    certificate : Certificate
    """

    lo: float
    hi: float
    weights: np.ndarray
    policies: np.ndarray
    policy: np.ndarray
    costs: np.ndarray
    prices: np.ndarray
    iterations: int
    certificate: Certificate

    @property
    def width(self) -> float:
        """hi - lo."""
        return self.hi - self.lo

    def __repr__(self) -> str:
        return (f"ConstrainedSolution([{self.lo:.9g}, {self.hi:.9g}], a mixture of {len(self.weights)} policies, "
                f"prices {np.round(self.prices, 6).tolist()})")


def solve(model: TabularMDP, costs: Any, limits: Any, tol: float | None = None, *,
          tier: str = "float") -> ConstrainedSolution:
    """The best mixture within the limits, certified.

    Parameters
    ----------
    model : TabularMDP
    costs : array (m, S, A)
        Discounted like the rewards.
    limits : array (m,)
        Bounds b on the costs at the initial law.
    tol : float, optional
        Wanted width; by default ``1e-8 * max |r| / (1 - gamma)``.
    tier : {"float", "exact"}
        "exact" evaluates, weighs and prices the policies in rationals: ``certificate.exact`` holds the optimal value
        and then the weights, of which ``weights`` are the roundings.

    Raises
    ------
    MdpkitError
        No policy keeps the limits with room to spare; the message says how near the best one comes.
    NotCertified
        The width stays above ``tol``.
    """
    validate.instance("model", model, TabularMDP)
    validate.choice("tier", tier, ("float", "exact"))
    c = validate.array("costs", costs, ("m", model.S, model.A))
    b = validate.array("limits", limits, (len(c),))
    top = max(float(np.abs(model.r).max()), 1e-290)
    asked = tolerance(tol, RELATIVE_TOL * top / (1 - model.gamma))
    clock = time.perf_counter()
    columns = _Columns(model, c)
    safe, n = _room_to_spare(columns, b, asked)
    hi, prices = math.inf, np.zeros(len(c))
    while True:
        n += 1
        weights, lam = _master(columns, b)
        above = columns.add(model.r - np.tensordot(lam, c, 1), lam) + float(lam @ b)
        above += (len(b) + 4) * 2.0**-52 * (abs(above) + float(lam @ np.abs(b)))       # two sums, rounded up
        if above < hi:
            hi, prices = above, lam
        lo, mixed, spent = _within(columns, weights, safe, b)
        if hi - lo <= asked or n >= ROUNDS or not columns.is_new:
            break
    if tier == "exact":
        return _in_rationals(model, c, b, columns.policies, asked, clock)
    keep = mixed > 0
    policies, mixed = np.array(columns.policies)[: len(mixed)][keep], mixed[keep]
    policy = _stationary(model, policies, mixed)
    certificate = Certificate("float", "column generation", asked, time.perf_counter() - clock)
    found = ConstrainedSolution(lo, hi, mixed, policies, policy, spent, prices, n, certificate)
    if not found.width <= asked:
        raise NotCertified(found, asked, "raise tol")
    return found


def _in_rationals(model: TabularMDP, c: np.ndarray, b: np.ndarray, policies: list[np.ndarray], asked: float,
                  clock: float) -> ConstrainedSolution:
    found = exactly(model, c, b, policies)
    assert found is not None                # the columns hold a mixture with room to spare
    weights = np.array([float(w) for w in found.weights])
    certificate = Certificate("exact", "column generation", asked, time.perf_counter() - clock,
                              (found.value, *found.weights))
    return ConstrainedSolution(down(of_fraction(found.value)), up(of_fraction(found.value)), weights, found.policies,
                               _stationary(model, found.policies, weights),
                               np.array([up(of_fraction(x)) for x in found.costs]),
                               np.array([float(p) for p in found.prices]), found.rounds, certificate)


class _Columns:
    """Deterministic policies with enclosures of their reward (first) and costs at the initial law."""

    def __init__(self, model: TabularMDP, c: np.ndarray):
        self._model, self._every = model, np.concatenate([model.r[None], c])
        self.policies: list[np.ndarray] = []
        self.lo: list[np.ndarray] = []
        self.hi: list[np.ndarray] = []
        self.is_new = True

    def add(self, r: np.ndarray, lam: np.ndarray) -> float:
        """A policy that is optimal for r joins; returns an upper bound on its value."""
        m = self._model
        found = discounted.policy_iteration(TabularMDP(m.P, r, m.gamma, m.rho), math.inf)
        self.is_new = not any((found.policy == p).all() for p in self.policies)
        if self.is_new:
            lo, hi = _values(m, self._every, found.policy)
            self.policies.append(found.policy)
            self.lo.append(lo)
            self.hi.append(hi)
        # r itself was rounded: a sum of m + 1 terms
        size = float(np.abs(m.r).max() + lam @ np.abs(self._every[1:]).max((1, 2)))
        return found.at(m.rho)[1] + (len(lam) + 2) * 2.0**-52 * size / (1 - m.gamma)


def _values(model: TabularMDP, every: np.ndarray, policy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Enclosures (m+1,) of the values of a policy at the initial law: a solve, and its residual."""
    states, gamma = np.arange(model.S), model.gamma
    P = model.dense[states, policy]
    R = every[:, states, policy].T
    V = np.linalg.solve(np.eye(model.S) - gamma * P, R)
    off = np.abs(R + gamma * P @ V - V).max(0)
    error = np.array([backup_error(model.S, float(np.abs(R[:, i]).max()), gamma, float(np.abs(V[:, i]).max()))
                      for i in range(len(every))])
    reach = (off + 2 * error) / (1 - gamma) * (1 + 1e-14) + model.S * 2.0**-52 * np.abs(V).max(0)
    middle = model.rho @ V
    return middle - reach, middle + reach


def _room_to_spare(columns: _Columns, b: np.ndarray, tol: float) -> tuple[np.ndarray, int]:
    """A mixture that keeps every limit with room, by column generation on the largest excess."""
    m, lam = len(b), np.full(len(b), 1.0 / len(b))
    shape = columns._every.shape[1:]
    for n in range(1, ROUNDS + 1):
        bound = -columns.add(-np.tensordot(lam, columns._every[1:], 1).reshape(shape), lam) - float(lam @ b)
        H = np.array(columns.hi)[:, 1:] - b                             # (k, m) excess of each policy
        k = len(H)
        # least t with sum_k w_k H_k <= t in every limit
        lp = linprog(np.append(np.zeros(k), 1.0), A_ub=np.hstack([H.T, -np.ones((m, 1))]), b_ub=np.zeros(m),
                     A_eq=np.append(np.ones(k), 0.0)[None], b_eq=[1.0], bounds=[(0, None)] * k + [(None, None)],
                     method="highs-ds")
        t, lam = float(lp.x[-1]), np.maximum(-lp.ineqlin.marginals, 0.0)
        lam = lam / lam.sum() if lam.sum() > 0 else np.full(m, 1.0 / m)
        if t < 0 and (not columns.is_new or bound >= t - 1e-3 * abs(t)):
            return np.maximum(lp.x[:-1], 0.0), n
        if bound > 0 or not columns.is_new:
            break
    raise MdpkitError("limits", "kept by some policy, with room to spare", None,
                      came=f"the best mixture found oversteps one by {max(t, 0.0):.6g} (at least {bound:.6g})")


def _master(columns: _Columns, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weights of the columns and prices of the limits, from a linear programme of a few variables."""
    value, C = np.array(columns.lo)[:, 0], np.array(columns.hi)[:, 1:]
    lp = linprog(-value, A_ub=C.T, b_ub=b, A_eq=np.ones((1, len(value))), b_eq=[1.0], method="highs-ds")
    if lp.x is None:
        raise MdpkitError("limits", "solvable by HiGHS", lp.message)
    return np.maximum(lp.x, 0.0), np.maximum(-lp.ineqlin.marginals, 0.0)


def _within(columns: _Columns, weights: np.ndarray, safe: np.ndarray, b: np.ndarray,
            ) -> tuple[float, np.ndarray, np.ndarray]:
    """Value from below, weights and costs of the mixture, moved towards the safe one as far as a limit needs."""
    k = len(weights)
    V, C = np.array(columns.lo)[:k, 0], np.array(columns.hi)[:k, 1:]
    w = weights / weights.sum()
    s = np.zeros(k)
    s[: len(safe)] = safe / safe.sum()
    pad = (k + 4) * 2.0**-52 * float(np.abs(C).max() + np.abs(b).max())
    over = float((w @ C - b).max()) + pad
    if over > 0:
        spare = float((b - s @ C).min()) - pad
        theta = min(1.0, over / (over + spare) * (1 + 1e-9)) if spare > 0 else 1.0
        w = (1 - theta) * w + theta * s
    return float(w @ V) - (k + 4) * 2.0**-52 * float(np.abs(V).max()), w, w @ C + pad


def _stationary(model: TabularMDP, policies: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The policy (S, A) with the occupancy of the mixture; uniform where that never comes."""
    S, A, states = model.S, model.A, np.arange(model.S)
    d = np.zeros((S, A))
    for w, policy in zip(weights, policies):
        P = model.dense[states, policy]
        d[states, policy] += w * np.linalg.solve(np.eye(S) - model.gamma * P.T, (1 - model.gamma) * model.rho)
    total = d.sum(1, keepdims=True)
    pi = np.where(total > 0, d / np.where(total > 0, total, 1.0), 1.0 / A)
    return validate.simplex("policy", pi, (S, A), flush=True)
