"""The simplex method in rationals with Bland's rule (1977), for matrix games. It cannot cycle and does not round."""

from __future__ import annotations

from typing import Any

import flint

Row = list[Any]     # of flint.fmpq


def game(A: list[Row]) -> tuple[Any, Row, Row, int]:
    """Value, maximin x (m,), minimax y (n,) and the number of pivots of a game; rows maximise.

    With B = A + c > 0, max sum u over B u <= 1, u >= 0 has the optimum 1/value(B), y = u value(B), and its
    dual is x/value(B).
    """
    m, n = len(A), len(A[0])
    one, zero = flint.fmpq(1), flint.fmpq(0)
    shift = one - min(min(line) for line in A)
    tableau = [[a + shift for a in line] + [one if k == i else zero for k in range(m)] + [one]
               for i, line in enumerate(A)]
    cost = [-one] * n + [zero] * (m + 1)
    basis = list(range(n, n + m))
    pivots = 0
    while True:
        entering = next((j for j in range(n + m) if cost[j] < 0), None)      # Bland: lowest index
        if entering is None:
            break
        leaving = min((i for i in range(m) if tableau[i][entering] > 0),
                      key=lambda i: (tableau[i][-1] / tableau[i][entering], basis[i]))
        _pivot(tableau, cost, leaving, entering)
        basis[leaving] = entering
        pivots += 1
    value = one / cost[-1]
    u = [zero] * (n + m)
    for i, j in enumerate(basis):
        u[j] = tableau[i][-1]
    return value - shift, [c * value for c in cost[n: n + m]], [ui * value for ui in u[:n]], pivots


def _pivot(tableau: list[Row], cost: Row, i: int, j: int) -> None:
    scale = 1 / tableau[i][j]
    pivot = [a * scale for a in tableau[i]]
    tableau[i] = pivot
    for k, line in enumerate(tableau):
        if k != i and line[j] != 0:
            f = line[j]
            tableau[k] = [a - f * b for a, b in zip(line, pivot)]
    f = cost[j]
    cost[:] = [a - f * b for a, b in zip(cost, pivot)]
