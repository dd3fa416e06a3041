"""A good V, fast, by the method that suits the world; what it is good for is proven elsewhere.

- dense rows: modified policy iteration with BLAS, and rows that cannot be optimal forgotten;
- sparse rows: the same in compiled loops (`mdpkit.solve.fast_sweeps`), as long as sweeps of one policy settle it;
- where they do not (gamma near 1 in worlds that mix slowly): policy iteration whose evaluations are Krylov solves, each
  kept only if the Bellman residual falls, and replaced by sweeps if it does not.
"""

from __future__ import annotations

import numpy as np

from mdpkit.models.tabular import TabularMDP
from mdpkit.solve import fast_sweeps

METHODS = ("dense", "sweeps", "krylov")
LARGEST_DENSE = 4_000_000       # entries that BLAS reads from the processor's cache
FULL, INNER = 1_000, 20         # full sweeps at most; sweeps of one policy, which should settle it
PATIENCE = 26                   # policies that need not
ROUNDS, STEPS = 400, 4_000      # Krylov: policies, and steps for each
FORCING = 1e-2                  # of the Bellman residual, that a solve must reach
SETTLED = 0.02


def choose(model: TabularMDP) -> str:
    """The method to try first."""
    return "sweeps" if model.is_sparse or model.P.size > LARGEST_DENSE else "dense"


def search(model: TabularMDP, span: float, method: str | None = None) -> tuple[np.ndarray, int, str]:
    """v (S,) for which T v - v should have that span, the number of full sweeps or policies, and the method."""
    first = method or choose(model)
    v, n, settled = {"dense": _dense, "sweeps": _sweeps, "krylov": _krylov}[first](model, span)
    if settled or method is not None:
        return v, n, first
    v, more, _ = _krylov(model, span, v)
    return v, n + more, "krylov"


def _sweeps(model: TabularMDP, span: float) -> tuple[np.ndarray, int, bool]:
    S, A = model.r.shape
    v, ptr = np.zeros(S), model.rows.ptr
    n, settled = fast_sweeps.improve(np.arange(0, S * A + 1, A), *model.rows, model.r.ravel(), model.gamma, v, span,
                                     FULL, INNER, PATIENCE, int(np.diff(ptr).max()))
    return v, n, settled


def _dense(model: TabularMDP, span: float) -> tuple[np.ndarray, int, bool]:
    """As `fast_sweeps.improve`, with products of BLAS."""
    S, A = model.r.shape
    P, r, gamma = model.P.reshape(S * A, S), model.r.ravel(), model.gamma
    first, rate = np.arange(0, S * A, A), gamma / (1 - gamma)
    rows = first + model.r.argmax(1)
    v, reach, unsettled = np.zeros(S), np.inf, 0
    for n in range(1, FULL + 1):
        chain, pay = P[rows], r[rows]
        for used in range(INNER):
            w = pay + gamma * (chain @ v)
            change = w - v
            low, high = change.min(), change.max()
            v = w
            if high - low <= max(SETTLED * reach if n > 1 else 0.0, 0.3 * span) or (n == 1 and used == 7):
                break
        else:
            unsettled += 1
            if unsettled >= PATIENCE:
                break
        v = v + 0.5 * rate * (low + high)
        Q = r + gamma * (P @ v)
        w = np.maximum.reduceat(Q, first)
        change = w - v
        reach = change.max() - change.min()
        if reach <= span:
            return v, n, True
        counts = np.diff(np.append(first, len(Q)))
        keep = Q + rate * reach >= np.repeat(w, counts)
        if keep.mean() < 0.7:
            P, r, Q = P[keep], r[keep], Q[keep]
            counts = np.add.reduceat(keep, first)
            first = np.append(0, np.cumsum(counts)[:-1])
        ties = np.flatnonzero(np.repeat(w, counts) == Q)
        rows = ties[np.searchsorted(ties, first)]
        v = w
    return v, n, False


def _krylov(model: TabularMDP, span: float, v: np.ndarray | None = None) -> tuple[np.ndarray, int, bool]:
    S, A = model.r.shape
    rows, r, gamma = model.rows, model.r.ravel(), model.gamma
    first, longest = np.arange(0, S * A + 1, A), int(np.diff(rows.ptr).max())
    best, Q, rate = np.empty(S, np.int64), np.empty(S * A), gamma / (1 - gamma)
    chain = np.zeros(S + 1, np.int64), np.empty(S * longest, np.int64), np.empty(S * longest), np.empty(S)
    v, w = np.zeros(S) if v is None else v.copy(), np.empty(S)
    low, high = fast_sweeps.full(first, *rows, r, gamma, v, w, Q, best, *chain)
    for n in range(1, ROUNDS + 1):
        if high - low <= span:
            return v, n, True
        residual = max(abs(low), abs(high))
        x, y = w.copy(), np.empty(S)
        fast_sweeps.krylov(*chain, gamma, x, max(FORCING * residual, 0.2 * span), STEPS)
        below, above, _ = fast_sweeps.steps(*chain, gamma, x, y, 0.0, 1)
        if max(abs(below), abs(above)) < residual:              # the policy's own residual, computed afresh
            v = x
        else:
            v = w.copy()
            low, high, _ = fast_sweeps.steps(*chain, gamma, v, y, SETTLED * (high - low), INNER)
            v += 0.5 * rate * (low + high)
        low, high = fast_sweeps.full(first, *rows, r, gamma, v, w, Q, best, *chain)
    return v, n, False
