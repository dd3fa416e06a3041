"""Pictures of exact answers: values and every optimal action on a grid, values with their enclosures elsewhere.

Each function returns a matplotlib Figure that belongs to nobody else: no pyplot, no global state, any backend.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from decimal import ROUND_CEILING, Context
from typing import TYPE_CHECKING, Any

import numpy as np

from mdpkit import validate
from mdpkit.errors import MdpkitError
from mdpkit.solve.solution import Solution

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from mdpkit.solve.matrix_game import GameSolution

OFFSETS = {"up": (0, -1), "right": (1, 0), "down": (0, 1), "left": (-1, 0)}      # x to the right, y down
MAP = "YlGnBu"            # its lightness falls monotonically, so that it survives a grey printer
INK, PAPER, BLOCKED = "#1a1a2e", "#ffffff", "#d9d9d9"
DPI = 160
BARS = 60                 # states up to which each has a bar
LARGEST_CELL, WIDEST, TALLEST = 0.85, 11.0, 8.0       # inches: one cell, the whole grid
LARGEST_FONT, SMALLEST_FONT = 9.0, 5.0                # points
ARROW_CELL = 0.12         # inches: arrows in smaller cells are noise
LONGEST_NUMBER = 8        # characters
GLYPH = 0.62              # width of a digit, as a share of the font size


def grid_picture(values: Any, actions: Any, shape: tuple[int, int], *, directions: Sequence[str] | None = None,
                 walls: Any = (), terminal: Any = (), marks: Mapping[int, str] | None = None,
                 title: str = "") -> Figure:
    """Values as colours, with numbers where they fit, and an arrow for each optimal action.

    Parameters
    ----------
    values : array (S,)
        State row*width + column is a cell.
    actions : bool array (S, A), int array (S,), float array (S, A) or None
        Sets of optimal actions (`Solution.optimal`), one action a state, or probabilities, to which the lengths of
        a cell's arrows are proportional. None draws no arrows.
    shape : (height, width)
    directions : sequence of A of "up", "right", "down", "left"
        What the actions do; needed with ``actions``.
    walls, terminal : sequences of states
        Cells that are never visited (hatched), and where an episode ends ("end"): their values are not shown.
    marks : mapping of states to text, optional
        Notes in the corners of cells.
    title : str
    """
    shape = _grid_shape(shape)
    n = shape[0] * shape[1]
    values = validate.array("values", values, (n,))
    wall, end = _marked("walls", walls, n), _marked("terminal", terminal, n)
    shown, cell = ~(wall | end), min(LARGEST_CELL, WIDEST / shape[1], TALLEST / shape[0])
    low, high = _limits(values[shown])
    figure, ax, bar = _grid_figure(cell * shape[1], cell * shape[0], title)
    image = ax.imshow(np.where(shown, values, np.nan).reshape(shape), cmap=MAP, vmin=low, vmax=high)
    figure.colorbar(image, cax=bar).set_label("value", color=INK)
    bar.ticklabel_format(useOffset=False)
    bar.tick_params(labelsize=8)
    ink = [INK if light else PAPER for light in _is_light(image.to_rgba(values))]
    numbers = _numbers(values, shown)
    font = _font(numbers, cell)
    _blocks(ax, wall, end, shape, cell)
    _notes(ax, marks or {}, ~shown, ink, shape, cell)
    for s in np.flatnonzero(shown).tolist() if font else ():
        ax.text(s % shape[1], s // shape[1] + 0.34, numbers[s], color=ink[s], size=font, ha="center", va="center")
    if actions is not None and cell >= ARROW_CELL:
        _arrows(ax, _weights(actions, n, directions) * shown[:, None], directions or (), ink, shape, bool(font))
    _lines(ax, shape)
    ax.set_xlabel("hatched cells are never visited" if wall.any() else "", size=8, color=INK)
    return figure


def value_bars(solution: Solution, *, title: str = "") -> Figure:
    """Values of all states with their certified intervals as whiskers; sorted as a curve beyond 60 states.

    Of an episodic problem the values of the first step.
    """
    validate.instance("solution", solution, Solution)
    value, lo, hi = (x[0] if x.ndim == 2 else x for x in (solution.value, solution.lo, solution.hi))
    figure, ax = _figure(7.5, 3.6)
    if value.size <= BARS:
        states = np.arange(value.size)
        around = [np.maximum(value - lo, 0.0), np.maximum(hi - value, 0.0)]
        ax.bar(states, value, color="#41b6c4", edgecolor=INK, linewidth=0.5, width=0.8)
        ax.errorbar(states, value, around, fmt="none", ecolor=INK, elinewidth=1.2, capsize=min(3.0, 90 / value.size))
        ax.set_xlabel("state")
        ax.set_xlim(-0.7, value.size - 0.3)
        ax.xaxis.get_major_locator().set_params(integer=True)
    else:
        order = np.argsort(-value, kind="stable")
        ax.fill_between(np.arange(value.size), lo[order], hi[order], color="#41b6c4", linewidth=0)
        ax.plot(value[order], color=INK, linewidth=1.4)
        ax.set_xlabel(f"{value.size} states, best first")
        ax.margins(x=0.01)
    ax.axhline(0.0, color=INK, linewidth=0.6)
    ax.set_ylabel("value" if solution.value.ndim == 1 else "value at the first step")
    ax.set_title(title or f"certified within {at_most(float((hi - lo).max()))}", size=10, color=INK)
    _bare(ax)
    return figure


def strategy_bars(solution: GameSolution, *, title: str = "") -> Figure:
    """The certified strategies of both players of a zero-sum matrix game."""
    figure, axes = _figure(7.5, 3.4, columns=2)
    top = 1.05 * float(max(solution.x.max(), solution.y.max()))
    for ax, law, name in zip(axes, (solution.x, solution.y), ("row", "column")):
        ax.bar(np.arange(law.size), law, color="#41b6c4", edgecolor=INK, linewidth=0.5 if law.size <= BARS else 0.0)
        ax.set(xlabel=f"action of the {name} player", ylim=(0.0, top), xlim=(-0.7, law.size - 0.3))
        ax.xaxis.get_major_locator().set_params(integer=True)
        _bare(ax)
    axes[0].set_ylabel("probability")
    title = title or f"value {solution.value:.6g}, certified within {at_most(solution.width)}"
    figure.suptitle(title, size=10, color=INK)
    return figure


def at_most(width: float) -> str:
    """A proven width in two digits, rounded up so that it stays proven."""
    return f"{float(Context(prec=2, rounding=ROUND_CEILING).create_decimal_from_float(width)):.2g}"


def _figure(width: float, height: float, columns: int = 1) -> tuple[Figure, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained", facecolor=PAPER)
    return figure, figure.subplots(1, columns, sharey=True)


def _grid_figure(width: float, height: float, title: str) -> tuple[Figure, Axes, Axes]:
    """Axes of a grid of this size in inches and of its colour bar, placed by hand: cells stay square, labels whole."""
    from matplotlib.figure import Figure

    left, bottom, gap, thick, right, top = 0.15, 0.3, 0.12, 0.2, 0.9, 0.4
    full = max(left + width + gap + thick + right, 2 * left + 0.085 * len(title)), bottom + height + top
    figure = Figure(figsize=full, dpi=DPI, facecolor=PAPER)
    place = lambda x, w: figure.add_axes((x / full[0], bottom / full[1], w / full[0], height / full[1]))
    figure.text(left / full[0], 1 - 0.15 / full[1], title, size=10, color=INK, va="top")
    return figure, place(left, width), place(left + width + gap, thick)


def _bare(ax: Axes) -> None:
    ax.spines[["top", "right"]].set_visible(False)
    ax.tick_params(labelsize=8)


def _grid_shape(shape: Any) -> tuple[int, int]:
    if not isinstance(shape, tuple | list) or len(shape) != 2:
        raise MdpkitError("shape", "(height, width)", shape)
    return validate.count("shape[0]", shape[0]), validate.count("shape[1]", shape[1])


def _marked(name: str, states: Any, n: int) -> np.ndarray:
    out = np.zeros(n, np.bool_)
    for i, s in enumerate(states):
        out[validate.count(f"{name}[{i}]", s, 0, n - 1)] = True
    return out


def _weights(actions: Any, n: int, directions: Sequence[str] | None) -> np.ndarray:
    """Lengths (n, A) in [0, 1] of the arrows."""
    if directions is None:
        raise MdpkitError("directions", "given to draw actions", None)
    for i, direction in enumerate(directions):
        validate.choice(f"directions[{i}]", direction, tuple(OFFSETS))
    shape = (n, len(directions))
    raw = np.asarray(actions)
    if raw.dtype.kind == "b":
        if raw.shape != shape:
            raise MdpkitError("actions", f"of shape {shape}", None, came=f"its shape is {raw.shape}")
        return raw.astype(np.float64)
    if raw.dtype.kind in "iu":
        chosen = validate.within("actions", validate.array("actions", raw, (n,), integer=True), 0, shape[1] - 1)
        return np.eye(shape[1])[chosen]
    return validate.within("actions", validate.array("actions", raw, shape), 0.0, 1.0)


def _limits(shown: np.ndarray) -> tuple[float, float]:
    """Ends of the colour scale; a single value gets a scale around it."""
    if shown.size == 0:
        return 0.0, 1.0
    lo, hi = float(shown.min()), float(shown.max())
    pad = 0.0 if hi > lo else max(1.0, abs(lo)) / 2
    return lo - pad, hi + pad


def _is_light(rgba: np.ndarray) -> np.ndarray:
    """Whether dark ink reads better than white: the lightness that a grey printer sees."""
    return rgba[:, :3] @ np.array([0.299, 0.587, 0.114]) > 0.5


def _numbers(values: np.ndarray, shown: np.ndarray) -> list[str]:
    """Texts with as many decimals as tell the values of a grid apart."""
    lo, hi = (float(f(values[shown])) if shown.any() else 0.0 for f in (np.min, np.max))
    spread = hi - lo if hi > lo else abs(hi) or 1.0
    decimals = min(max(2 - math.floor(math.log10(spread)), 0), 5)
    texts = [f"{round(v, decimals) + 0.0:.{decimals}f}" for v in values.tolist()]      # + 0.0: no minus zero
    if max(map(len, texts)) > LONGEST_NUMBER:
        texts = [f"{v:.3g}" for v in values.tolist()]
    return [text.replace("-", "\N{MINUS SIGN}") for text in texts]


def _font(numbers: list[str], cell: float) -> float:
    """The size in points at which the longest number fills most of a cell; 0 if none is legible."""
    size = min(LARGEST_FONT, 0.9 * cell * 72 / (GLYPH * max(map(len, numbers))), 0.2 * cell * 72)
    return size if size >= SMALLEST_FONT else 0.0


def _blocks(ax: Axes, wall: np.ndarray, end: np.ndarray, shape: tuple[int, int], cell: float) -> None:
    from matplotlib.patches import Rectangle

    for s in np.flatnonzero(wall | end).tolist():
        row, column = divmod(s, shape[1])
        hatch = "////" if wall[s] else None
        ax.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, facecolor=BLOCKED, edgecolor="#a0a0a0", linewidth=0,
                               hatch=hatch))
        if end[s] and not wall[s] and cell >= 0.3:
            ax.text(column, row, "end", size=min(LARGEST_FONT, 16 * cell), ha="center", va="center", color=INK)


def _notes(ax: Axes, marks: Mapping[int, str], blocked: np.ndarray, ink: list[str], shape: tuple[int, int],
           cell: float) -> None:
    for s, text in marks.items():
        row, column = divmod(s, shape[1])
        if cell >= 0.3:
            ax.text(column - 0.45, row - 0.44, text, size=min(7.0, 10 * cell), ha="left", va="top", style="italic",
                    color=INK if blocked[s] else ink[s])


def _arrows(ax: Axes, weights: np.ndarray, directions: Sequence[str], ink: list[str], shape: tuple[int, int],
            numbered: bool) -> None:
    """Arrows from the middle of a cell, above its number; a lone one has its own middle there."""
    s, a = np.nonzero(weights)
    if s.size == 0:
        return
    share = weights[s, a] / weights.max(1)[s]
    step = np.array([OFFSETS[directions[k]] for k in a.tolist()]) * ((0.28 if numbered else 0.38) * share)[:, None]
    lone = ((weights > 0).sum(1) == 1)[s, None]
    x, y = (np.stack([s % shape[1], s // shape[1] - (0.1 if numbered else 0.0)], 1) - lone * step / 2).T
    ax.quiver(x, y, step[:, 0], step[:, 1], color=[ink[k] for k in s.tolist()], angles="xy", scale_units="xy", scale=1,
              units="xy", width=0.028, headwidth=5, headlength=5, headaxislength=4.5, minlength=0, zorder=3)


def _lines(ax: Axes, shape: tuple[int, int]) -> None:
    """White lines between cells; no ticks, since cells count from the upper left corner like states."""
    ax.set(xticks=[], yticks=[])      # a major tick at the same place would take the minor line away
    ax.set_xticks(np.arange(-0.5, shape[1]), minor=True)
    ax.set_yticks(np.arange(-0.5, shape[0]), minor=True)
    ax.grid(which="minor", color=PAPER, linewidth=1.0 if max(shape) <= 40 else 0.0)
    ax.set_axisbelow(False)           # the lines part ends and walls too
    ax.tick_params(which="both", bottom=False, left=False, labelbottom=False, labelleft=False)
    ax.set(xlim=(-0.5, shape[1] - 0.5), ylim=(shape[0] - 0.5, -0.5))
    ax.spines[:].set_visible(False)
