"""The worlds of random policy valuation: acyclic graphs drawn from bytes, and gymnasium's tables."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from hypothesis import strategies as st

from algorithms.planning import rover
from mdpkit.errors import MissingPackage
from mdpkit.interop.gymnasium import read
from mdpkit.models.tabular import EpisodicMDP
from mdpkit.models.tokens import TokenModel
from mdpkit.octets import octets
from mdpkit.rational import exact

NODES = 160
TEMPERATURES = (0.05, 0.3, 1.0, 5.0)


@st.composite
def _graphs(draw: st.DrawFn, shared: bool = False, lone: bool = False) -> dict[str, Any]:
    """Layers of nodes with one to three actions each, some of them leaves early; bytes decide which leaves are right.

    A tree, or with ``shared`` layers of four nodes with children anywhere in the next. ``lone``: one right leaf.
    """
    H, A = draw(st.integers(1, 5 if shared else 4)), draw(st.integers(1, 3))
    ragged = draw(st.booleans())
    shape = octets(draw, NODES, A + 1)
    rows, layer, n = [], [0], 1
    for h in range(H):
        after: list[int] = list(range(n, n + 4)) if shared else []
        for node in layer:
            row = np.full(A, -1)
            leaf = h > 0 and ragged and shape[node, A] % 4 == 3
            for a in range(0 if leaf else 1 + shape[node, A] // 4 % A if ragged else A):
                if not shared:
                    after.append(n + len(after))
                row[a] = after[shape[node, a] % 4] if shared else after[-1]
            rows.append(row)
        layer, n = after, n + len(after)
    child = np.array(rows + [np.full(A, -1)] * len(layer))
    return {"child": child, "luck": octets(draw, len(child)), "lone": lone, "graded": False, "shared": shared,
            "density": draw(st.sampled_from([0.4, 0.1, 0.02, 0.0])), "R": draw(st.sampled_from([1.0, 3.0, 0.375])),
            "weights": 1.0 + octets(draw, *child.shape) if draw(st.booleans()) else np.ones(child.shape)}


trees, dags, lone = _graphs, partial(_graphs, True), partial(_graphs, False, True)


@st.composite
def _winnable(draw: st.DrawFn, of: Callable = _graphs) -> dict[str, Any]:
    """A graph in which some leaf is right, and a temperature."""
    return draw(of()) | {"rho": draw(st.sampled_from(TEMPERATURES)), "winnable": True}


winnable, lonely, dag_winnable = _winnable, partial(_winnable, lone), partial(_winnable, dags)


def rewards(w: dict[str, Any]) -> np.ndarray:
    """The reward (N,) of each node: R at right leaves; graded ones are bytes in 255ths."""
    leaf = (w["child"] < 0).all(-1)
    if w["graded"]:
        return np.where(leaf, w["luck"] / 255 * w["R"], 0.0)
    reached = np.flatnonzero(leaf & (rover.visits(w["child"], w["child"] >= 0) > 0))
    first = reached[w["luck"][0] % len(reached)]
    right = (np.arange(len(leaf)) == first) if w["lone"] else leaf & (w["luck"] < 256 * w["density"])
    if w.get("winnable") and not right[reached].any():
        right[first] = True
    return np.where(right, w["R"], 0.0)


def tokens(A: int, H: int, right: Any) -> TokenModel:
    """The complete tree whose leaves ``right`` pay 1."""
    N = sum(A**h for h in range(H))
    return TokenModel(np.isin(np.arange(A**H), right)[None] * 1.0, np.full((1, N, A), 1.0 / A), [1.0], 1.0)


class Table(NamedTuple):
    """An episodic world as bare arrays; its steps share one kernel."""

    P: np.ndarray           # (H, S, A, S)
    r: np.ndarray           # (H, S, A)
    rho: np.ndarray         # (S,)
    allowed: np.ndarray     # (S, A), all


def table(name: str, H: int, *, rationals: bool = False, **settings: Any) -> Table:
    """The first H steps, undiscounted, of one of gymnasium's toy environments, by the name of its class."""
    try:
        from gymnasium.envs import toy_text
    except ImportError as e:
        raise MissingPackage("gymnasium", "gym") from e
    m = read(getattr(toy_text, name)(**settings), 0.5).model             # whose discount is not used
    P, r = (exact(m.dense), exact(m.r)) if rationals else (m.dense, m.r)
    P, r = (np.broadcast_to(x, (H, *x.shape)) for x in (P, r))
    return Table(P, r, m.rho, np.ones(m.r.shape, np.bool_))


def complete(A: int, H: int, right: Any) -> tuple[np.ndarray, np.ndarray]:
    """child (N, A) and reward (N,) of the complete tree whose leaves ``right`` pay 1."""
    N = sum(A**h for h in range(H + 1))
    inner = np.arange(N - A**H)
    child = np.full((N, A), -1)
    child[inner] = inner[:, None] * A + 1 + np.arange(A)
    return child, np.concatenate([np.zeros(len(inner)), np.isin(np.arange(A**H), right) * 1.0])


def broken(kind: str, pay: float) -> EpisodicMDP:
    """From state 0 action 0 leads to state 1, where action 0 pays 1 and action 1 nothing; action 1 is worth ``pay``:
    at a leaf ("graded"), as the chance of a leaf that pays 1 ("chance"), or at once ("on the way")."""
    P, r = np.zeros((2, 5, 2, 5)), np.zeros((2, 5, 2))
    P[:, :, :, 4] = 1.0
    P[0, 0] = np.eye(5)[[1, 2]]
    r[1, 1, 0] = 1.0
    if kind == "graded":
        r[1, 2] = pay
    elif kind == "chance":
        P[0, 0, 1] = 0.0, 0.0, 1.0 - pay, pay, 0.0
        r[1, 3] = 1.0
    else:
        r[0, 0, 1] = pay
    return EpisodicMDP(P, r, np.eye(5)[0])
