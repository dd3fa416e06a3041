"""A good V, fast, by the method that suits the world; what it is good for is proven elsewhere.

- dense rows: modified policy iteration with BLAS, and rows that cannot be optimal forgotten;
- sparse rows: the same in compiled loops (`mdpkit.solve.fast_sweeps`), as long as sweeps of one policy settle it;
- where they do not (gamma near 1 in worlds that mix slowly): policy iteration whose evaluations are solves, each kept
  only if the policy's residual falls, and replaced by sweeps if it does not. They are direct in worlds of few states or
  whose rows reach only near ones, and Krylov's otherwise;
- component by component where no strongly connected component holds most of the states (`mdpkit.solve.ordered`).
"""

from __future__ import annotations

import numpy as np

from mdpkit.models.tabular import TabularMDP
from mdpkit.solve import dense, fast_sweeps, ordered
from mdpkit.solve.fast_sweeps import FULL, INNER, PATIENCE

METHODS = ("dense", "sweeps", "direct", "krylov", "ordered")
LARGEST_DENSE = 4_000_000       # entries that BLAS reads from the processor's cache
ROUNDS, STEPS = 400, 4_000      # Krylov: policies, and steps for each
FEW, NEAR = 300, 24             # states, or distance of the successors, up to which solves are direct
FORCING = 1e-2                  # of the Bellman residual, that a solve must reach
SETTLED = 0.02


def choose(model: TabularMDP) -> str:
    """The method to try first."""
    return "sweeps" if model.is_sparse or model.P.size > LARGEST_DENSE else "dense"


def search(model: TabularMDP, span: float, method: str | None = None) -> tuple[np.ndarray, int, str]:
    """v (S,) for which T v - v should have that span, the number of full sweeps or policies, and the method."""
    first = method or choose(model)
    if first in ("dense", "sweeps"):
        v, n, settled = (dense.search if first == "dense" else _sweeps)(model, span)
        if settled or method is not None:
            return v, n, first
    else:
        v, n = np.zeros(model.S), 0
    at, rows, r = np.arange(0, model.S * model.A + 1, model.A), model.rows, model.r.ravel()
    if method in (None, "ordered"):
        order, begin = ordered.components(at, rows.ptr, rows.col)
        if method == "ordered" or np.diff(begin).max() <= ordered.LARGEST_SHARE * model.S:
            inside = lambda own, pay, part: policies(own, pay, model.gamma, part, 0.4 * span, True)
            return v, n + ordered.solve(rows, r, model.gamma, v, order, begin, inside), "ordered"
    direct = {"direct": True, "krylov": False}.get(method or "")
    kind = "direct" if direct or (direct is None and _is_direct(rows, model.S)) else "krylov"
    return v, n + policies(rows, r, model.gamma, v, span, False, kind == "direct"), kind


def _sweeps(model: TabularMDP, span: float) -> tuple[np.ndarray, int, bool]:
    S, A = model.r.shape
    v, ptr = np.zeros(S), model.rows.ptr
    n, settled = fast_sweeps.improve(np.arange(0, S * A + 1, A), *model.rows, model.r.ravel(), model.gamma, v, span,
                                     FULL, INNER, PATIENCE, int(np.diff(ptr).max()))
    return v, n, settled


def policies(rows: tuple, r: np.ndarray, gamma: float, v: np.ndarray, span: float, level: bool,
             direct: bool | None = None) -> int:
    """Policy iteration from v (S,), in place, until T v - v has the span (with ``level``, the size) asked; how many.

    ``rows`` are ptr, col, val of the pairs s*A + a, and may sum to less than 1; r is (S*A,).
    """
    S, A = len(v), len(r) // len(v)
    first, longest, rate = np.arange(0, S * A + 1, A), int(np.diff(rows[0]).max()), gamma / (1 - gamma)
    best, Q = np.empty(S, np.int64), np.empty(S * A)
    chain = np.zeros(S + 1, np.int64), np.empty(S * longest, np.int64), np.empty(S * longest), np.empty(S)
    w, y = np.empty(S), np.empty(S)
    direct = _is_direct(rows, S) if direct is None else direct
    low, high = fast_sweeps.full(first, *rows, r, gamma, v, w, Q, best, *chain)
    for n in range(1, ROUNDS + 1):
        residual = max(abs(low), abs(high))
        if (residual if level else high - low) <= span:
            return n
        if direct:
            x = _solved(chain, gamma)
        else:
            x = w.copy()
            fast_sweeps.krylov(*chain, gamma, x, max(FORCING * residual, 0.2 * span), STEPS)
        below, above, _ = fast_sweeps.steps(*chain, gamma, x, y, 0.0, 1)
        if max(abs(below), abs(above)) < residual:              # the policy's own residual, computed afresh
            v[:] = x
        else:
            v[:] = w
            low, high, _ = fast_sweeps.steps(*chain, gamma, v, y, SETTLED * (high - low), INNER)
            if not level:
                v += 0.5 * rate * (low + high)
        low, high = fast_sweeps.full(first, *rows, r, gamma, v, w, Q, best, *chain)
    return n


def _is_direct(rows: tuple, S: int) -> bool:
    return S <= FEW or _reach(rows, S) <= NEAR


def _reach(rows: tuple, S: int) -> int:
    """How far a state's successors are from it in number at most."""
    ptr, col = rows[0], rows[1]
    state = np.repeat(np.arange(S), np.diff(ptr[:: (len(ptr) - 1) // S]))
    return int(np.abs(col - state).max(initial=0))


def _solved(chain: tuple, gamma: float) -> np.ndarray:
    """V (S,) of a policy's chain by elimination, banded where that is smaller."""
    ptr, col, val, pay = chain
    S, n = len(pay), ptr[-1]
    col, val, state = col[:n], val[:n], np.repeat(np.arange(S), np.diff(ptr))
    band = int(np.abs(col - state).max(initial=0))
    if 3 * band >= S:
        M = np.eye(S)
        np.subtract.at(M, (state, col), gamma * val)
        return np.linalg.solve(M, pay)
    from scipy.linalg import solve_banded

    M = np.zeros((2 * band + 1, S))
    M[band] = 1.0
    np.subtract.at(M, (band + state - col, col), gamma * val)
    return solve_banded((band, band), M, pay)
