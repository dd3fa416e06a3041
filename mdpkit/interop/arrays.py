"""Worlds of other libraries as their arrays, both ways: QuantEcon's DiscreteDP, pymdptoolbox, OpenSpiel's tensors.

None of these libraries is imported: the arrays are enough.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from scipy.sparse import csr_array, issparse, vstack

from mdpkit import validate
from mdpkit.errors import MdpkitError
from mdpkit.models.games import MarkovGame
from mdpkit.models.tabular import TabularMDP


class Feasible(NamedTuple):
    """A model, and which of its actions the source has; the others repeat a feasible one, which changes no value."""

    model: TabularMDP
    feasible: np.ndarray        # (S, A)


def from_quantecon(R: Any, Q: Any, beta: float, s_indices: Any = None, a_indices: Any = None, *, rho: Any = None,
                   ) -> Feasible:
    """QuantEcon's DiscreteDP: rewards of -inf mark infeasible actions.

    Parameters
    ----------
    R, Q : arrays (S, A) and (S, A, S), or (L,) and (L, S) of state-action pairs, Q dense or sparse
    beta : float
        Discount, in [0, 1).
    s_indices, a_indices : int arrays (L,)
        For pairs: the state and action of each.
    rho : array (S,), optional
        Initial law; uniform where omitted.
    """
    r = np.asarray(R, np.float64)
    if np.isnan(r).any() or (r == np.inf).any():
        raise MdpkitError("R", "finite, or -inf where infeasible", None, came="it holds nan or +inf")
    if s_indices is None:
        if r.ndim != 2:
            raise MdpkitError("R", "of shape (S, A), or given with s_indices and a_indices", None,
                              came=f"its shape is {r.shape}")
        S, A = r.shape
        rows = csr_array(np.asarray(Q, np.float64).reshape(S * A, -1))
        pairs = np.arange(S * A)
    else:
        s = validate.array("s_indices", s_indices, (len(r),), integer=True)
        a = validate.array("a_indices", a_indices, (len(r),), integer=True)
        rows = csr_array(Q)
        S, A = rows.shape[1], int(a.max()) + 1
        validate.within("s_indices", s, 0, S - 1)
        validate.within("a_indices", a, 0, A - 1)
        pairs = s * A + a
        if len(np.unique(pairs)) < len(pairs):
            raise MdpkitError("s_indices, a_indices", "each pair once", None, came="one comes twice")
    return _with_all_actions(rows, r.ravel(), pairs, S, A, beta, rho)


def to_quantecon(model: TabularMDP) -> tuple[np.ndarray, Any, float]:
    """R, Q and beta for DiscreteDP in product form (dense), or R (L,), Q (L, S) of all pairs in order where sparse."""
    validate.instance("model", model, TabularMDP)
    if model.is_sparse:
        return model.r.ravel().copy(), model.P.copy(), model.gamma
    return model.r.copy(), model.P.copy(), model.gamma


def from_mdptoolbox(P: Any, R: Any, gamma: float, *, rho: Any = None) -> TabularMDP:
    """pymdptoolbox: P (A, S, S), dense or a list of sparse matrices; R (S,), (S, A) or (A, S, S)."""
    parts = [p if issparse(p) else np.asarray(p, np.float64) for p in P]
    A, S = len(parts), parts[0].shape[0]
    for a, p in enumerate(parts):
        if p.shape != (S, S):
            raise MdpkitError(f"P[{a}]", f"of shape {(S, S)}", None, came=f"its shape is {p.shape}")
    sparse = any(issparse(p) for p in parts)
    r = _toolbox_rewards(R, parts, S, A)
    law = np.full(S, 1.0 / S) if rho is None else rho
    if not sparse:
        return TabularMDP(np.stack(parts, 1), r, gamma, law)
    stacked = vstack([csr_array(p) for p in parts]).tocsr()
    order = (np.arange(A) * S + np.arange(S)[:, None]).ravel()
    return TabularMDP(csr_array(stacked[order]), r, gamma, law)


def to_mdptoolbox(model: TabularMDP) -> tuple[Any, np.ndarray, float]:
    """P (A, S, S), or a list of A sparse matrices, R (S, A) and the discount."""
    validate.instance("model", model, TabularMDP)
    if model.is_sparse:
        return [model.P[np.arange(model.S) * model.A + a] for a in range(model.A)], model.r.copy(), model.gamma
    return np.ascontiguousarray(np.moveaxis(model.P, 1, 0)), model.r.copy(), model.gamma


def from_payoffs(payoffs: Any) -> MarkovGame:
    """A normal-form game, payoffs (n, A1, ..., An), as a game of one state and one step."""
    u = np.asarray(payoffs, np.float64)
    if u.ndim < 2 or u.shape[0] != u.ndim - 1:
        raise MdpkitError("payoffs", "of shape (n, A1, ..., An)", None, came=f"its shape is {u.shape}")
    actions = u.shape[1:]
    return MarkovGame(np.ones((1, 1, *actions, 1)), u[:, None, None], np.ones(1))


def to_payoffs(game: MarkovGame) -> np.ndarray:
    """The payoffs (n, A1, ..., An) of a game of one state and one step."""
    validate.instance("game", game, MarkovGame)
    if game.r.shape[1:3] != (1, 1):
        raise MdpkitError("game", "of one state and one step", None, came=f"it has {game.r.shape[2]} states and "
                                                                          f"{game.r.shape[1]} steps")
    return game.r[:, 0, 0].copy()


def _toolbox_rewards(R: Any, P: list, S: int, A: int) -> np.ndarray:
    r = np.asarray([x.toarray() if issparse(x) else x for x in R], np.float64) if not issparse(R) else R.toarray()
    if r.shape == (S,):
        return np.repeat(r[:, None], A, 1)
    if r.shape == (S, A):
        return r
    if r.shape == (A, S, S):
        return np.stack([np.asarray((P[a].toarray() if issparse(P[a]) else P[a]) * r[a]).sum(1) for a in range(A)], 1)
    raise MdpkitError("R", f"of shape {(S,)}, {(S, A)} or {(A, S, S)}", None, came=f"its shape is {r.shape}")


def _with_all_actions(rows: csr_array, r: np.ndarray, pairs: np.ndarray, S: int, A: int, gamma: float, rho: Any,
                      ) -> Feasible:
    good = np.isfinite(r)
    found = np.full(S * A, -1)
    found[pairs[good]] = np.flatnonzero(good)
    table = found.reshape(S, A)
    feasible = table >= 0
    if not feasible.any(1).all():
        raise MdpkitError("R", "with a feasible action in every state", None,
                          came=f"state {int((~feasible.any(1)).argmax())} has none")
    first = table[np.arange(S), feasible.argmax(1)]
    use = np.where(feasible, table, first[:, None]).ravel()
    law = np.full(S, 1.0 / S) if rho is None else rho
    P = csr_array(rows[use])
    P = P.toarray().reshape(S, A, S) if S * A * S <= 10**6 else P
    return Feasible(TabularMDP(P, r[use].reshape(S, A), gamma, law), feasible)
