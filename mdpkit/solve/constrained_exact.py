"""Constrained discounted MDPs in rationals: the columns of a float run, weighed and priced without rounding.

A basis of floats is only a guess. Here each deterministic policy is evaluated in rationals, the master programme is
solved by the simplex method in rationals, and its prices are tested by policy iteration in rationals: an improving
policy joins the columns, and when there is none the prices prove that no mixture does better.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any, NamedTuple

import flint
import numpy as np

from mdpkit.errors import MdpkitError
from mdpkit.models.tabular import TabularMDP
from mdpkit.rational import exact, fraction, rational
from mdpkit.solve.rational_simplex import cone

LARGEST = 60             # states: a rational solve for each column grows like S**4


class Exact(NamedTuple):
    """The optimal value, the mixture that has it, what it spends, and the prices of the limits."""

    value: Fraction
    weights: tuple[Fraction, ...]
    policies: np.ndarray
    costs: tuple[Fraction, ...]
    prices: tuple[Fraction, ...]
    rounds: int


def exactly(model: TabularMDP, c: np.ndarray, b: np.ndarray, policies: list[np.ndarray]) -> Exact | None:
    """The best mixture within the limits, from some columns (k, S) that keep them; None if these do not."""
    if model.S > LARGEST:
        raise MdpkitError("model", f"of at most {LARGEST} states in tier \"exact\"", model.S)
    world = _World(model, c)
    limits, columns, rounds = [rational(x) for x in b], [p.copy() for p in policies], 0
    values = [world.values(p) for p in columns]                    # rows of reward, then costs
    while True:
        rounds += 1
        found = cone([v[0] for v in values], [[v[i + 1] - limit for v in values] for i, limit in enumerate(limits)])
        if found is None:
            return None
        value, weights, prices, _ = found
        policy = world.best(prices, columns[max(range(len(weights)), key=lambda j: weights[j])])
        gained = world.values(policy)
        priced = gained[0] - sum((p * (x - limit) for p, x, limit in zip(prices, gained[1:], limits)), flint.fmpq(0))
        if priced <= value:
            break
        columns.append(policy)
        values.append(gained)
    used = [j for j, w in enumerate(weights) if w > 0]
    spent = tuple(fraction(sum((weights[j] * v[i + 1] for j, v in enumerate(values[: len(weights)])), flint.fmpq(0)))
                  for i in range(len(b)))
    mixture = tuple(fraction(weights[j]) for j in used)
    return Exact(fraction(value), mixture, np.array([columns[j] for j in used]), spent,
                 tuple(fraction(p) for p in prices), rounds)


class _World:
    """The model in rationals."""

    def __init__(self, model: TabularMDP, c: np.ndarray):
        self.P, self.gamma = exact(model.dense), rational(model.gamma)
        self.rho, self.every = exact(model.rho), exact(np.concatenate([model.r[None], c]))
        self.S = model.S

    def values(self, policy: np.ndarray) -> list[Any]:
        """Reward and costs of a policy at the initial law."""
        return [(self.rho * x).sum() for x in self._solve(policy, self.every)]

    def best(self, prices: list[Any], policy: np.ndarray) -> np.ndarray:
        """A policy that is optimal everywhere for the reward less the priced costs, by policy iteration."""
        r = self.every[0] - sum((p * x for p, x in zip(prices, self.every[1:])), 0 * self.every[0])
        while True:
            V = self._solve(policy, r[None])[0]
            Q = r + self.gamma * (self.P @ V)
            better = Q.max(1) > Q[np.arange(self.S), policy]
            if not better.any():
                return policy
            policy = np.where(better, Q.argmax(1), policy)

    def _solve(self, policy: np.ndarray, tables: np.ndarray) -> np.ndarray:
        """Values (k, S) of the policy for each table (k, S, A)."""
        states = np.arange(self.S)
        M = [[flint.fmpq(int(i == j)) - self.gamma * p for j, p in enumerate(row)]
             for i, row in enumerate(self.P[states, policy])]
        R = tables[:, states, policy].T.tolist()
        return np.array(flint.fmpq_mat(M).solve(flint.fmpq_mat(R)).tolist(), object).T
