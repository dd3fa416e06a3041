"""What can be reached whatever the probabilities: end components, avoidable and certain targets, quotients.

All sets are found on the support of the stored rows, without a number being rounded. Actions are given as a mask
(S, A) of those that may be played.

Baier and Katoen, Principles of Model Checking, 2008, sections 10.6.1 and 10.6.3; de Alfaro, thesis, 1997, section 3.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from mdpkit.models.tabular import Rows


class Support(NamedTuple):
    """The possible moves: row k = s*A + a leads to ``col[ptr[k]:ptr[k+1]]``."""

    row: np.ndarray     # (nnz,) the row of each entry
    col: np.ndarray     # (nnz,)
    S: int
    A: int

    @property
    def state(self) -> np.ndarray:
        return self.row // self.A

    def some(self, inside: np.ndarray) -> np.ndarray:
        """(S, A): which actions can lead into a set (S,)."""
        out = np.zeros(self.S * self.A, np.bool_)
        out[self.row[inside[self.col]]] = True
        return out.reshape(self.S, self.A)

    def all(self, inside: np.ndarray) -> np.ndarray:
        """(S, A): which actions surely lead into a set (S,)."""
        return ~self.some(~inside)


def support(rows: Rows, S: int, A: int) -> Support:
    """The support of a model's rows."""
    return Support(np.repeat(np.arange(S * A), np.diff(rows.ptr)), rows.col, S, A)


def can_reach(moves: Support, target: np.ndarray, allowed: np.ndarray | None = None) -> np.ndarray:
    """(S,): states from which some allowed play reaches the target with positive probability."""
    found, new = target.copy(), target
    while new.any():
        step = moves.some(new) if allowed is None else moves.some(new) & allowed
        new = step.any(1) & ~found
        found |= new
    return found


def can_avoid(moves: Support, target: np.ndarray) -> np.ndarray:
    """(S,): states from which some play never reaches the target: the largest set that can be kept."""
    safe = ~target
    while True:
        kept = safe & moves.all(safe).any(1)
        if (kept == safe).all():
            return safe
        safe = kept


def surely_reach_some(moves: Support, target: np.ndarray) -> np.ndarray:
    """(S,): states from which some play reaches the target with probability one."""
    inside = np.ones(moves.S, np.bool_)
    while True:
        staying = moves.all(inside)
        smaller = can_reach(moves, target, staying) & inside
        if (smaller == inside).all():
            return inside
        inside = smaller


def surely_reach_all(moves: Support, target: np.ndarray) -> np.ndarray:
    """(S,): states from which every play reaches the target with probability one."""
    stop = Support(moves.row[~target[moves.state]], moves.col[~target[moves.state]], moves.S, moves.A)
    return ~can_reach(stop, can_avoid(moves, target))


def end_components(moves: Support, allowed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The maximal end components within the allowed actions.

    Returns
    -------
    label : int array (S,)
        The component of each state; -1 for states in none.
    staying : bool array (S, A)
        The actions that stay in their state's component.
    """
    staying = allowed.copy()
    while True:
        used = staying.ravel()[moves.row]
        graph = csr_array((np.ones(used.sum(), np.int8), (moves.state[used], moves.col[used])), (moves.S, moves.S))
        _, part = connected_components(graph, connection="strong")
        kept = staying.ravel().copy()
        kept[moves.row[part[moves.state] != part[moves.col]]] = False
        gone = ~np.asarray(kept.reshape(staying.shape).any(1))      # nothing left to play: in no component
        kept[moves.row[gone[moves.col]]] = False
        if (kept == staying.ravel()).all():
            break
        staying = kept.reshape(staying.shape)
    alive = staying.any(1)
    label = np.full(moves.S, -1)
    label[alive] = np.unique(part[alive], return_inverse=True)[1]
    return label, staying


def towards(moves: Support, goal: np.ndarray, allowed: np.ndarray) -> np.ndarray:
    """(S,): an allowed action that leads nearer to the goal with positive probability; 0 in the goal."""
    action, found = np.zeros(moves.S, np.int64), goal.copy()
    new = goal
    while new.any():
        step = moves.some(new) & allowed
        new = step.any(1) & ~found
        action[new] = step[new].argmax(1)
        found |= new
    return action
