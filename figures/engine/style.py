"""The house style: sizes in inches, colours that differ in hue, lightness and line style; other sizes for venues."""

from __future__ import annotations

import textwrap
from contextlib import AbstractContextManager
from typing import Any

from mdpkit import validate

WIDTH = 5.5
HEIGHT = 3.4
NOTE = 7                 # points
# Okabe and Ito's palette without its yellow, ordered so that neighbours differ in lightness too
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#000000", "#CC79A7", "#56B4E9")
LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 1)))
MARKERS = ("o", "s", "^", "D", "v", "x")
RC: dict[Any, Any] = {
    "font.size": 9, "axes.labelsize": 9, "axes.titlesize": 9, "legend.fontsize": 8, "xtick.labelsize": 8,
    "ytick.labelsize": 8, "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True,
    "grid.alpha": 0.25, "grid.linewidth": 0.5, "lines.linewidth": 1.4, "savefig.dpi": 200, "figure.dpi": 100,
    "svg.hashsalt": "mdpkit", "pdf.fonttype": 42,
}


def house(venue: str | None = None) -> AbstractContextManager:
    """The style as a context: nothing global stays changed.

    Parameters
    ----------
    venue : one of `venues()`, optional
        Takes the width and the font sizes that the venue's template asks for: ``neurips2024``, ``icml2024_half``.
        A half column is narrow for figures of several panels.
    """
    import matplotlib

    return matplotlib.rc_context(RC | {"figure.figsize": (WIDTH, HEIGHT)} | (_of(venue) if venue else {}))


def venues() -> tuple[str, ...]:
    """The names that `house` knows."""
    from tueplots import figsizes

    return tuple(name for name in dir(figsizes) if name[-1].isdigit() or name.endswith(("_full", "_half")))


def _of(venue: str) -> dict[Any, Any]:
    from tueplots import figsizes, fontsizes

    validate.choice("venue", venue, venues())
    year = venue.removesuffix("_full").removesuffix("_half")
    size = getattr(figsizes, venue)()["figure.figsize"]
    fonts = getattr(fontsizes, year)() if hasattr(fontsizes, year) else {}
    return {"figure.figsize": (size[0], HEIGHT), **fonts}      # the golden ratio leaves no room for a verdict


def line(i: int) -> dict[str, Any]:
    """Colour, line style and marker of series i; pass ``markevery`` to thin the markers out."""
    return {"color": COLOURS[i % len(COLOURS)], "linestyle": LINES[i % len(LINES)],
            "marker": MARKERS[i % len(MARKERS)], "markersize": 4, "markerfacecolor": "white"}


def note(ax: Any, text: str) -> None:
    """The verdict beside the curve: small, boxed, at the foot of the figure, as wide as the figure allows.

    A second note goes below the first.
    """
    figure = ax.figure
    room = int(figure.get_figwidth() * 72 / (NOTE * 0.52)) - 4          # characters, at half an em each
    wrapped = [part for line in text.split("\n") for part in textwrap.wrap(line, room)]
    lines = [*figure.get_supxlabel().split("\n"), *wrapped]
    figure.supxlabel("\n".join(line for line in lines if line), fontsize=NOTE, x=0.015, ha="left",
                     bbox={"boxstyle": "round,pad=0.3", "fc": "white", "ec": "0.6", "lw": 0.6})
