"""Cascading decision processes: an action is a list of items, which the user looks through up to the first click."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from mdpkit import validate
from mdpkit.errors import MdpkitError
from mdpkit.models import record
from mdpkit.models.tabular import EpisodicMDP, check_size


@dataclass(frozen=True, eq=False, repr=False)
class CascadingMDP:
    """An episodic cascading MDP with N items, stationary, from a fixed first state.

    In state s the learner shows 1 to m distinct items. The user looks at them in turn; item a is clicked with
    probability q[s, a], and what stands behind a click is not looked at. The clicked item c, or c = N where there was
    no click, pays r[s, c] and leads to a state drawn from P[s, c].

    Parameters
    ----------
    q : array (S, N)
        In [0, 1].
    r : array (S, N+1)
        Rewards, not drawn; the last column is of no click.
    P : array (S, N+1, S)
        Canonicalised (see `mdpkit.validate`).
    m : int
        Longest list, at most N.
    H : int
        Steps in an episode.
    s_1 : int
        First state.
    """

    q: np.ndarray
    r: np.ndarray
    P: np.ndarray
    m: int
    H: int
    s_1: int = 0

    def __init__(self, q: Any, r: Any, P: Any, m: int, H: int, s_1: int = 0):
        q = validate.within("q", validate.array("q", q, ("S", "N")), 0.0, 1.0)
        S, N = q.shape
        record.put(self, q=q, r=validate.array("r", r, (S, N + 1)), P=validate.simplex("P", P, (S, N + 1, S)),
                   m=validate.count("m", m, 1, N), H=validate.count("H", H), s_1=validate.count("s_1", s_1, 0, S - 1))

    @property
    def S(self) -> int:
        return self.q.shape[0]

    @property
    def N(self) -> int:
        return self.q.shape[1]

    __repr__ = record.text
    _repr_html_ = record.html
    save = record.save


def list_value(items: np.ndarray, u: np.ndarray, w: np.ndarray) -> float:
    """f(l, u, w), what a list of items (n,) is worth: clicked with probabilities u (N,), worth w (N+1,) then."""
    total = w[-1]
    for a in items[::-1]:
        total = u[a] * w[a] + (1.0 - u[a]) * total
    return float(total)


def all_lists(N: int, m: int) -> np.ndarray:
    """All lists of 1 to m distinct items out of N, (L, m), filled up with -1: the short ones first, in rising order."""
    N, m = validate.count("N", N), validate.count("m", m, 1, N)
    check_size("m", m, m * sum(math.perm(N, n) for n in range(1, m + 1)))
    rows = [[*items, *[-1] * (m - n)] for n in range(1, m + 1) for items in itertools.permutations(range(N), n)]
    return np.array(rows, np.int64)


def over_lists(model: CascadingMDP) -> tuple[EpisodicMDP, np.ndarray]:
    """The episodic MDP whose actions are all lists, and these, (L, m)."""
    lists = all_lists(model.N, model.m)
    check_size("m", model.m, model.H * model.S * len(lists) * model.S)
    clicked, still = np.zeros((model.S, len(lists), model.N + 1)), np.ones((model.S, len(lists)))
    each = np.arange(len(lists))
    for a in lists.T:
        q = np.where(a >= 0, model.q[:, a], 0.0)
        clicked[:, each, a] += still * q             # a = -1 adds 0 to the last column
        still *= 1.0 - q
    clicked[..., model.N] += still
    P, r = np.einsum("slc,sct->slt", clicked, model.P), np.einsum("slc,sc->sl", clicked, model.r)
    return EpisodicMDP.stationary(P / P.sum(-1, keepdims=True), r, np.eye(model.S)[model.s_1], model.H), lists


def numbers(policy: np.ndarray, lists: np.ndarray) -> np.ndarray:
    """The rows of ``lists`` (L, m) at which the lists of ``policy`` (..., m) stand."""
    base = int(lists.max()) + 2
    weights = base ** np.arange(lists.shape[1])
    codes, wanted = (((x + 1) * weights).sum(-1) for x in (lists, policy))
    order = np.argsort(codes, kind="stable")
    at = order[np.minimum(np.searchsorted(codes, wanted, sorter=order), len(codes) - 1)]
    if (codes[at] != wanted).any():
        where = tuple(int(i) for i in np.argwhere(codes[at] != wanted)[0])
        raise MdpkitError(validate.index("policy", where), "one of the lists", policy[where].tolist())
    return at
