"""Strongly connected components one after the other, those that lead nowhere first.

Within the order the values of all later components are known, and become rewards: a component is then a world of its
own, whose rows may sum to less than 1. A component of one state needs no iteration at all.

Tarjan, Depth-first search and linear graph algorithms, SIAM Journal on Computing 1972.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from mdpkit.jit import kernel

LARGEST_SHARE = 0.5      # of the states in one component, from which the order is of no use


def components(first: np.ndarray, ptr: np.ndarray, col: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """States (S,) by component, each component behind all that it can reach, and where each begins (C+1,).

    Parameters
    ----------
    first : int array (S+1,)
        State s has the rows ``first[s]:first[s+1]``.
    ptr, col : int arrays
        The successors of each row.
    """
    order, begin, count = tarjan(first, ptr, col)
    return order, begin[: count + 1]


def solve(rows: Any, r: np.ndarray, gamma: float, v: np.ndarray, order: np.ndarray, begin: np.ndarray,
          inside: Callable) -> int:
    """Fill v (S,) component by component; the number of policies that ``inside`` took for those of several states.

    ``inside(rows, r, v)`` improves v, that of one component, in place, and returns its number of policies.
    """
    ptr, col, val = rows
    A, n, c, C = (len(ptr) - 1) // len(v), 0, 0, len(begin) - 1
    sizes = np.diff(begin)
    place = np.full(len(v), -1)
    while c < C:
        d = c
        while d < C and sizes[d] == 1:
            d += 1
        if d > c:
            singles(order[begin[c] : begin[d]], ptr, col, val, r, A, gamma, v)
            c = d
            continue
        states = np.sort(order[begin[c] : begin[c + 1]])
        place[states] = np.arange(len(states))
        own, pay = _world(states, place, ptr, col, val, r, A, gamma, v)
        part = v[states]
        n += inside(own, pay, part)
        v[states], place[states] = part, -1
        c += 1
    return n


def _world(states: np.ndarray, place: np.ndarray, ptr: np.ndarray, col: np.ndarray, val: np.ndarray, r: np.ndarray,
           A: int, gamma: float, v: np.ndarray) -> tuple[tuple, np.ndarray]:
    """The rows within a component, and rewards (m*A,) to which what leaves it is added."""
    chosen = (states[:, None] * A + np.arange(A)).ravel()
    length = np.diff(ptr)[chosen]
    at = np.repeat(ptr[chosen] - np.append(0, np.cumsum(length)[:-1]), length) + np.arange(length.sum())
    row, to, weight = np.repeat(np.arange(len(chosen)), length), place[col[at]], val[at]
    within = to >= 0
    pay = r[chosen] + gamma * np.bincount(row[~within], weight[~within] * v[col[at][~within]], len(chosen))
    begins = np.append(0, np.cumsum(np.bincount(row[within], minlength=len(chosen))))
    return (begins, to[within], weight[within]), pay


def _tarjan(first, ptr, col):
    """By an explicit stack; an edge is (row, entry) of the state on top."""
    S = len(first) - 1
    index, low = np.full(S, -1), np.zeros(S, np.int64)
    on, stack, calls = np.zeros(S, np.bool_), np.empty(S, np.int64), np.empty(S, np.int64)
    row, entry = np.empty(S, np.int64), np.empty(S, np.int64)
    order, begin = np.empty(S, np.int64), np.zeros(S + 1, np.int64)
    n, done, count, top = 0, 0, 0, 0
    for root in range(S):
        if index[root] >= 0:
            continue
        depth = 1
        calls[0] = root
        while depth > 0:
            s = calls[depth - 1]
            if index[s] < 0:
                index[s], low[s], on[s], stack[top] = n, n, True, s
                row[s], entry[s] = first[s], ptr[first[s]]
                n, top = n + 1, top + 1
            child = -1
            while row[s] < first[s + 1] and child < 0:
                if entry[s] == ptr[row[s] + 1]:
                    row[s] += 1
                    if row[s] < first[s + 1]:
                        entry[s] = ptr[row[s]]
                    continue
                t = col[entry[s]]
                entry[s] += 1
                if index[t] < 0:
                    child = t
                elif on[t]:
                    low[s] = min(low[s], index[t])
            if child >= 0:
                calls[depth] = child
                depth += 1
                continue
            depth -= 1
            if depth > 0:
                low[calls[depth - 1]] = min(low[calls[depth - 1]], low[s])
            if low[s] == index[s]:
                while True:
                    top -= 1
                    t = stack[top]
                    on[t], order[done] = False, t
                    done += 1
                    if t == s:
                        break
                count += 1
                begin[count] = done
    return order, begin, count


def _singles(states, ptr, col, val, r, A, gamma, v):
    """v(s) = max_a (r + gamma sum_{t != s} p v(t)) / (1 - gamma p(s)), state by state."""
    for i in range(len(states)):
        s, best = states[i], -np.inf
        for k in range(s * A, s * A + A):
            x, stay = r[k], 0.0
            for j in range(np.uint64(ptr[k]), np.uint64(ptr[k + 1])):
                if col[j] == s:
                    stay += val[j]
                else:
                    x += gamma * val[j] * v[np.uint64(col[j])]
            best = max(best, x / (1.0 - gamma * stay))
        v[s] = best


tarjan = kernel(_tarjan)
singles = kernel(_singles)
