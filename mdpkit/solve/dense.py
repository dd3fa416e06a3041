"""Modified policy iteration over dense rows: products of BLAS over all of them, loops over those that may be optimal.

Rows are never copied: lists say which are left. Whatever comes out is only a good V: the caller proves an enclosure
with one sweep over all rows.
"""

from __future__ import annotations

import numpy as np

from mdpkit.jit import kernel
from mdpkit.models.tabular import TabularMDP
from mdpkit.solve.fast_sweeps import FULL, INNER, PATIENCE
from mdpkit.solve.few_rows import dots

EARLY = 8                       # sweeps of the first policy, that of the best rewards
SETTLED = 0.02                  # share of the last full sweep's span at which sweeps of one policy end
FEWER = 0.6                     # share of the rows up to which loops over those left beat BLAS over all


def search(model: TabularMDP, span: float) -> tuple[np.ndarray, int, bool]:
    """v (S,) for which T v - v should have that span, the number of full sweeps, and whether they settled."""
    S, A = model.r.shape
    P, r, gamma = model.P.reshape(S * A, S), model.r.ravel(), model.gamma
    begin, left, rate = np.arange(0, S * A + 1, A), np.arange(S * A), gamma / (1 - gamma)
    best, Q = begin[:-1] + model.r.argmax(1), np.empty(S * A)
    v, w, reach, unsettled = np.zeros(S), np.empty(S), 0.0, 0
    for n in range(1, FULL + 1):
        low, high, used = settle(P, best, r, gamma, v, w, max(SETTLED * reach, 0.3 * span), INNER if n > 1 else EARLY)
        if used == INNER:
            unsettled += 1
            if unsettled >= PATIENCE:
                break
        v += 0.5 * rate * (low + high)
        if begin[S] <= FEWER * S * A:
            dots(P, left, begin[S], v, Q)
        else:
            Q[: begin[S]] = (P @ v)[left[: begin[S]]] if begin[S] < S * A else P @ v
        low, high = greedy(left, begin, r, gamma, v, w, Q, best)
        reach = high - low
        if reach <= span:
            return v, n, True
        drop(left, begin, w, Q, rate * reach)
        v[:] = w
    return v, n, False


def _settle(P, best, r, gamma, v, w, stop, most):
    """At most ``most`` of v <- T_pi v, until the span of the change is at most ``stop``; its least and most, count."""
    low, high, n = -np.inf, np.inf, 0
    while n < most and high - low > stop:
        dots(P, best, len(v), v, w)
        low, high = np.inf, -np.inf
        for s in range(len(v)):
            x = r[best[s]] + gamma * w[s]
            low, high = min(low, x - v[s]), max(high, x - v[s])
            v[s] = x
        n += 1
    return low, high, n


def _greedy(left, begin, r, gamma, v, w, Q, best):
    """From Q = P v of the rows left: Q = r + gamma P v, w its maxima, ``best`` their rows; min and max of w - v."""
    low, high = np.inf, -np.inf
    for s in range(len(v)):
        w[s] = -np.inf
        for k in range(begin[s], begin[s + 1]):
            Q[k] = r[left[k]] + gamma * Q[k]
            if Q[k] > w[s]:
                w[s], best[s] = Q[k], left[k]
        low, high = min(low, w[s] - v[s]), max(high, w[s] - v[s])
    return low, high


def _drop(left, begin, w, Q, room):
    """Leave those within ``room`` of the best of their state (MacQueen 1966)."""
    n, start = 0, begin[0]
    for s in range(len(w)):
        end = begin[s + 1]
        for k in range(start, end):
            if Q[k] + room >= w[s]:
                left[n] = left[k]
                n += 1
        start, begin[s + 1] = end, n


settle = kernel(_settle)
greedy = kernel(_greedy)
drop = kernel(_drop)
