"""The house style: sizes in inches, colours that differ in hue, lightness and line style."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

WIDTH = 5.5
HEIGHT = 3.4
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


def house() -> AbstractContextManager:
    """The style as a context: nothing global stays changed."""
    import matplotlib

    return matplotlib.rc_context(dict(RC))


def line(i: int) -> dict[str, Any]:
    """Colour, line style and marker of series i; pass ``markevery`` to thin the markers out."""
    return {"color": COLOURS[i % len(COLOURS)], "linestyle": LINES[i % len(LINES)],
            "marker": MARKERS[i % len(MARKERS)], "markersize": 4, "markerfacecolor": "white"}


def note(ax: Any, text: str) -> None:
    """The verdict beside the curve: small, boxed, under the axes."""
    ax.annotate(text, (0, 0), xytext=(0, -34), xycoords="axes fraction", textcoords="offset points", fontsize=7,
                va="top", ha="left", annotation_clip=False,
                bbox={"boxstyle": "round,pad=0.3", "fc": "white", "ec": "0.6", "lw": 0.6})
