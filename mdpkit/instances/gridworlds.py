"""Gridworlds: open grids, four rooms, the cliff.

Cell (row, column) is state row*width + column, walls included; a wall is a state of its own that nothing enters.
Actions are 0 up, 1 right, 2 down, 3 left; a move into a wall or over the edge stays. With probability ``slip`` the
move goes to one of the two sides instead, each with slip/2.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np

from mdpkit import validate
from mdpkit.errors import MdpkitError
from mdpkit.models.tabular import TabularMDP

MOVES = ((-1, 0), (0, 1), (1, 0), (0, -1))

FOUR_ROOMS = ("     #     ",
              "     #     ",
              "           ",
              "     #     ",
              "     #     ",
              "# ####     ",
              "     ### ##",
              "     #     ",
              "     #     ",
              "           ",
              "     #     ")


@dataclass(frozen=True, eq=False)
class Grid:
    """A gridworld and where its cells lie.

    Attributes
    ----------
    model : TabularMDP
    shape : (height, width)
    walls : bool array (height, width)
        Cells that are never occupied.
    goal : int
        State of the goal.
    """

    model: TabularMDP
    shape: tuple[int, int]
    walls: np.ndarray
    goal: int


def open_grid(height: int, width: int, gamma: float, *, slip: float = 0.0, start: int = 0, goal: int | None = None,
              walls: Any = None, absorbing: bool = True) -> Grid:
    """A grid in which entering the goal pays 1 and nothing else pays.

    Parameters
    ----------
    height, width : int
    gamma : float in [0, 1)
    slip : float in [0, 1]
    start, goal : int
        States; the goal is the last cell where omitted. They must differ and be free of walls.
    walls : bool array (height, width), optional
    absorbing : bool
        The goal keeps the agent and pays nothing more; otherwise any action in it leads back to the start.

    Returns
    -------
    Grid
        The known answer, without slip, is `grid_value`.
    """
    shape = validate.count("height", height), validate.count("width", width)
    wall = _walls(walls, shape)
    last = height * width - 1
    start = validate.count("start", start, 0, last)
    goal = last if goal is None else validate.count("goal", goal, 0, last)
    for name, s in (("start", start), ("goal", goal)):
        if wall.flat[s]:
            raise MdpkitError(name, "a cell without a wall", s)
    if start == goal:
        raise MdpkitError("goal", "another cell than the start", goal)
    P = _kernel(wall, validate.interval("slip", slip, 0.0, 1.0))
    P[goal] = np.eye(last + 1)[goal if absorbing else start]
    r = P[:, :, goal].copy()
    r[goal] = 0.0
    return Grid(TabularMDP(P, r, gamma, np.eye(last + 1)[start]), shape, wall, goal)


def four_rooms(gamma: float, *, slip: float = 0.0, start: int = 0, goal: int = 120) -> Grid:
    """The four rooms of Sutton, Precup and Singh (1999): 11 by 11 cells without the outer wall, 104 of them free.

    Starts in the upper left corner, the goal is the lower right one and absorbs. The known answer, without slip, is
    `grid_value`; the shortest path has 20 moves.
    """
    wall = np.array([[c == "#" for c in row] for row in FOUR_ROOMS])
    return open_grid(11, 11, gamma, slip=slip, start=start, goal=goal, walls=wall)


def cliff(gamma: float, height: int = 4, width: int = 12, penalty: float = 100.0) -> Grid:
    """The cliff walk (Sutton and Barto 2018, example 6.6): -1 a move, ``-penalty`` and back to the start for a fall.

    The start is the lower left cell, the goal (absorbing, free) the lower right one, the cells between are the cliff:
    nothing ever stays on it, so ``walls`` marks it. The known answer is `cliff_value`; without discount it is
    -(width + 1) at the start, -13 at the defaults.

    Parameters
    ----------
    gamma : float in [0, 1)
    height, width : int, >= 2 and >= 3
    penalty : float, >= 1
    """
    height, width = validate.count("height", height, 2), validate.count("width", width, 3)
    penalty = validate.interval("penalty", penalty, 1.0, np.inf)
    S = height * width
    start, goal = S - width, S - 1
    falls = np.arange(start + 1, goal)
    P = _kernel(np.zeros((height, width), np.bool_), 0.0)
    off = P[:, :, falls].sum(-1)
    P[:, :, falls] = 0.0
    P[:, :, start] += off
    P[goal] = np.eye(S)[goal]
    P[falls] = np.eye(S)[falls][:, None]
    r = -1.0 - (penalty - 1.0) * off
    r[goal] = r[falls] = 0.0
    wall = np.zeros(S, np.bool_)
    wall[falls] = True
    return Grid(TabularMDP(P, r, gamma, np.eye(S)[start]), (height, width), _frozen(wall.reshape(height, width)), goal)


def distances(walls: Any, goal: int) -> np.ndarray:
    """Moves (height, width) on a shortest path to the goal; -1 for walls and cells that cannot reach it."""
    wall = np.asarray(walls, np.bool_)
    height, width = wall.shape
    out = np.full(wall.shape, -1, np.int64)
    out.flat[goal] = 0
    todo = deque([divmod(goal, width)])
    while todo:
        row, col = todo.popleft()
        for down, right in MOVES:
            i, j = row + down, col + right
            if 0 <= i < height and 0 <= j < width and not wall[i, j] and out[i, j] < 0:
                out[i, j] = out[row, col] + 1
                todo.append((i, j))
    return out


def grid_value(grid: Grid) -> np.ndarray:
    """V* (S,) of `open_grid` and `four_rooms` without slip.

    gamma**(d-1) with d moves to the goal, and 0 in an absorbing goal. If the goal leads back to a start that is D
    moves away: gamma**(d-1) / (1 - gamma**(D+1)), and gamma**D / (1 - gamma**(D+1)) in the goal. 0 where the goal
    cannot be reached.
    """
    d = distances(grid.walls, grid.goal).ravel()
    gamma, start = grid.model.gamma, int(np.argmax(grid.model.rho))
    out = np.where(d > 0, gamma ** np.maximum(d - 1.0, 0.0), 0.0)
    if grid.model.dense[grid.goal, 0, grid.goal] == 1.0:
        return out
    if d[start] < 0:
        return out                    # from the goal one never comes back to it
    out[grid.goal] = gamma ** float(d[start])
    return out / (1.0 - gamma ** (d[start] + 1.0))


def cliff_value(grid: Grid) -> np.ndarray:
    """V* (S,) of `cliff`: -(1 - gamma**d) / (1 - gamma) with d moves to the goal around the cliff, 0 on it.

    A fall never helps: it costs at least a move, and the cells beside the cliff are nearer to the goal than the start.
    """
    d = np.maximum(distances(grid.walls, grid.goal).ravel(), 0.0)
    return -(1.0 - grid.model.gamma**d) / (1.0 - grid.model.gamma)


def _kernel(wall: np.ndarray, slip: float) -> np.ndarray:
    height, width = wall.shape
    S = height * width
    s = np.arange(S)
    row, col = np.divmod(s, width)
    P = np.zeros((S, 4, S))
    for a in range(4):
        for direction, weight in ((a, 1.0 - slip), ((a + 1) % 4, slip / 2), ((a - 1) % 4, slip / 2)):
            i, j = row + MOVES[direction][0], col + MOVES[direction][1]
            inside = (i >= 0) & (i < height) & (j >= 0) & (j < width)
            t = np.where(inside, i * width + j, s)
            t = np.where(wall.flat[t] | wall.flat[s], s, t)
            P[s, a, t] += weight
    return P


def _walls(walls: Any, shape: tuple[int, int]) -> np.ndarray:
    wall = np.zeros(shape, np.bool_) if walls is None else np.array(walls)
    if wall.dtype != np.bool_ or wall.shape != shape:
        raise MdpkitError("walls", f"a bool array of shape {shape}", None,
                          came=f"its dtype is {wall.dtype}, its shape {wall.shape}")
    return _frozen(wall)


def _frozen(x: np.ndarray) -> np.ndarray:
    x.flags.writeable = False
    return x
