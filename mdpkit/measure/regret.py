"""Exact gaps and regret, computed by whoever holds the model.

The gap of a policy is J(comparator) - J(policy); the regret after T episodes is the sum of the gaps of the policies
that played them. Gaps come from the performance difference lemma (Kakade and Langford 2002),

    J(c) - J(pi) = sum_h E_{d_pi,h} [V^c_h(s) - Q^c_h(s,a)]     (discounted: E_{d_pi} [V^c(s) - Q^c(s,a)] / (1-gamma)),

and not from a difference of values: against the optimum every term is then non-negative, so that a gap of 1e-20 is
seen as such and no gap is negative.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from mdpkit import validate
from mdpkit.errors import MdpkitError
from mdpkit.kernels.backup import returns_of_actions, returns_of_laws
from mdpkit.measure.inputs import Framed, frame, policies_on, policy_on
from mdpkit.measure.occupancy import occupancy
from mdpkit.measure.values import advantage, optimal_action_value
from mdpkit.models.bandits import Bandit, ContextualBandit, LinearBandit
from mdpkit.models.tabular import TabularMDP
from mdpkit.records import Trace


def gap(model: Any, policy: Any, comparator: Any = None) -> float:
    """J(comparator) - J(policy).

    Parameters
    ----------
    model, policy
        As in `mdpkit.measure.values`.
    comparator : policy, optional
        The optimal one where omitted; the gap is then >= 0.

    Raises
    ------
    MdpkitError
        No Markov model, or no policies on it.
    """
    model = frame(model)
    pi = policy_on(model, policy)
    return float(_gaps(model, pi[None], shortfall(model, comparator))[0])


def gaps(model: Any, policies: Any, comparator: Any = None) -> np.ndarray:
    """The gap of each episode, (T,).

    Parameters
    ----------
    policies : Trace, or array
        A trace; or one policy an episode, stacked: int (T, H, S) or probabilities (T, H, S, A); for a discounted
        model without H; for a bandit arms (T,) or laws (T, A). Each distinct policy of a trace, and each run of equal
        ones in an array, is evaluated once.
    model, comparator
        As in `gap`.

    Raises
    ------
    MdpkitError
        As in `gap`, or a trace whose index points nowhere.
    """
    model = frame(model)
    if isinstance(policies, Trace):
        each = policies_on(model, policies.policies, "policies.policies")
        index = validate.array("policies.index", policies.index, (None,), integer=True)
        validate.within("policies.index", index, 0, len(each) - 1)
        return _gaps(model, each, shortfall(model, comparator))[index]
    rows = policies_on(model, policies)
    loss = shortfall(model, comparator)
    new = _changes(rows)
    return _gaps(model, rows[new], loss)[np.cumsum(new) - 1]


def regret(model: Any, policies: Any, comparator: Any = None) -> np.ndarray:
    """Cumulative regret (T,): the running sum of `gaps`, with its parameters and errors."""
    return np.cumsum(gaps(model, policies, comparator))


def pull_gaps(model: Bandit | LinearBandit | ContextualBandit, a: Any, x: Any = None) -> np.ndarray:
    """max mu - mu[a] of each pull, (T,); for a contextual bandit max r[x] - r[x, a] in the contexts that came up.

    Parameters
    ----------
    a : int array (T,)
        Arms.
    x : int array (T,), optional
        Contexts, for a contextual bandit only.

    Raises
    ------
    MdpkitError
        No bandit, an arm or context that does not exist, contexts missing or superfluous.
    """
    validate.instance("model", model, (Bandit, LinearBandit, ContextualBandit))
    a = validate.within("a", validate.array("a", a, (None,), integer=True), 0, model.A - 1)
    if isinstance(model, ContextualBandit):
        if x is None:
            raise MdpkitError("x", "given for a contextual bandit", None)
        x = validate.within("x", validate.array("x", x, a.shape, integer=True), 0, model.X - 1)
        return model.r.max(1)[x] - model.r[x, a]
    if x is not None:
        raise MdpkitError("x", "left out: the model has no contexts", None, came="it is given")
    return model.mu.max() - model.mu[a]


def shortfall(model: Any, comparator: Any = None) -> np.ndarray:
    """V^c - Q^c of the comparator, (H, S, A) or (S, A): what an action loses to it. Parameters and errors of `gap`."""
    model = frame(model)
    if comparator is None:
        Q = optimal_action_value(model)
        return Q.max(-1, keepdims=True) - Q
    return -advantage(model.base, policy_on(model, comparator, "comparator"))


class Regret:
    """Watches a run and computes the gap of each episode as it comes: ``Episodes(model, rng, watch=Regret(model))``.

    A run of equal policies is evaluated once, across chunks too; the size of a chunk changes no bit. One object watches
    one run.

    Parameters
    ----------
    model, comparator
        As in `gap`.

    Attributes
    ----------
    gaps : array (T,)
    regret : array (T,)
        Their running sum.
    total : float
        The regret so far.
    """

    def __init__(self, model: Any, comparator: Any = None):
        self._model = frame(model)
        self._loss = shortfall(self._model, comparator)
        self._last: np.ndarray | None = None         # (1, ...) the policy of the last row, and its gap
        self._gap = 0.0
        self._chunks: list[np.ndarray] = []
        self._seen = 0

    def __call__(self, first: int, rows: Any) -> None:
        """Take the rows from episode ``first`` on: policies, or a NamedTuple whose first field holds them.

        Raises
        ------
        MdpkitError
            Rows that are no policies of the model, or that do not follow those seen before.
        """
        if first != self._seen:
            raise MdpkitError("first", f"{self._seen}, the number of episodes seen", first,
                              "use a fresh Regret for each run")
        field = rows[0] if isinstance(rows, tuple) else rows
        policies = policies_on(self._model, field, "rows", copy=False)
        if len(policies):
            self._take(policies)

    def _take(self, policies: np.ndarray) -> None:
        new = _changes(policies)
        if self._last is not None and self._last.dtype == policies.dtype:
            new[0] = bool((policies[0] != self._last).any())
        known = np.concatenate([[self._gap], _gaps(self._model, policies[new], self._loss)])
        chunk = known[np.cumsum(new)]
        self._last, self._gap = policies[-1].copy(), float(chunk[-1])
        self._chunks.append(chunk)
        self._seen += len(chunk)

    @property
    def gaps(self) -> np.ndarray:
        return np.concatenate([np.zeros(0), *self._chunks])

    @property
    def regret(self) -> np.ndarray:
        return np.cumsum(self.gaps)

    @property
    def total(self) -> float:
        return float(self.regret[-1]) if self._seen else 0.0

    def __repr__(self) -> str:
        return f"Regret({self._seen} episodes, total {self.total:.6g})"


def _gaps(model: Framed, policies: np.ndarray, loss: np.ndarray) -> np.ndarray:
    base = model.base
    if isinstance(base, TabularMDP):
        return np.array([(occupancy(base, pi) * loss).sum() / (1.0 - base.gamma) for pi in policies])
    returns = returns_of_actions if policies.ndim == 3 else returns_of_laws
    return returns(*base.rows, loss, base.rho, policies)


def _changes(rows: np.ndarray) -> np.ndarray:
    """Where a row differs from the one before; the first does."""
    new = np.ones(len(rows), np.bool_)
    new[1:] = (rows[1:] != rows[:-1]).reshape(len(rows[1:]), math.prod(rows.shape[1:])).any(1)
    return new
