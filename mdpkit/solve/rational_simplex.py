"""The simplex method in rationals with Bland's rule (1977), for matrix games and for cones cut by a mass of 1.

It cannot cycle and does not round: what it returns is optimal, and its prices prove it.
"""

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
    u, pivots = _run(tableau, cost, n)
    value = one / cost[-1]
    return value - shift, [c * value for c in cost[n: n + m]], [ui * value for ui in u], pivots


def cone(c: Row, A: list[Row]) -> tuple[Any, Row, Row, int] | None:
    """Value, x (n,), prices (m,) >= 0 and pivots of max c'x over A x <= 0, sum x = 1, x >= 0; None if that is empty.

    c'x <= value on the feasible set because c <= value + prices'A at each index.
    """
    m, n = len(A), len(c)
    one, zero = flint.fmpq(1), flint.fmpq(0)
    shift = one - min(c)                             # all gains positive: the whole mass is used, or none of it can be
    unit = lambda i: [one if k == i else zero for k in range(m + 1)]
    tableau = [[*line, *unit(i), zero] for i, line in enumerate(A)] + [[one] * n + unit(m) + [one]]
    cost = [-(a + shift) for a in c] + [zero] * (m + 2)
    x, pivots = _run(tableau, cost, n)
    if cost[-1] == 0:
        return None
    return cost[-1] - shift, x, cost[n: n + m], pivots


def _run(tableau: list[Row], cost: Row, n: int) -> tuple[Row, int]:
    """Pivot to the optimum from the basis of the slacks n, n+1, ..; the n variables and the number of pivots."""
    m = len(tableau)
    basis, pivots = list(range(n, n + m)), 0
    while (entering := next((j for j in range(n + m) if cost[j] < 0), None)) is not None:      # Bland: lowest index
        leaving = min((i for i in range(m) if tableau[i][entering] > 0),
                      key=lambda i: (tableau[i][-1] / tableau[i][entering], basis[i]))
        _pivot(tableau, cost, leaving, entering)
        basis[leaving] = entering
        pivots += 1
    u = [flint.fmpq(0)] * (n + m)
    for i, j in enumerate(basis):
        u[j] = tableau[i][-1]
    return u[:n], pivots


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
