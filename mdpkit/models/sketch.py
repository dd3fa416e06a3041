"""A small drawing of a chain for notebooks: states on a line, an arc for each possible move."""

from __future__ import annotations

import numpy as np

LARGEST = 12                # states beyond which arcs are a tangle
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")
GAP, TOP = 56, 0.75         # pixels between states; arc height as a share of its width


def chain_svg(P: np.ndarray, r: np.ndarray, rho: np.ndarray) -> str:
    """States left to right, moves on above and moves back below the line; an action a colour, a likelier arc darker.

    Parameters
    ----------
    P (S, A, S), r (S, A), rho (S,)

    Returns
    -------
    str
        An SVG element; empty where there are too many states or actions to see anything.
    """
    S, A, _ = P.shape
    if S > LARGEST or len(COLOURS) < A:
        return ""
    reach = max((abs(t - s) for s, _, t in np.argwhere(P > 0)), default=0)
    half = 26 + TOP * GAP * max(reach, 1) / 2
    place = lambda s: GAP * (s + 0.7)
    arcs = "".join(_arc(place(s), place(t), a, P[s, a, t], r[s, a], half, (s, t)) for s, a, t in np.argwhere(P > 0))
    dots = "".join(f"<circle cx='{place(s):g}' cy='{half:g}' r='11' fill='white' stroke='#333' "
                   f"stroke-width='{2.5 if rho[s] > 0 else 1}'/><text x='{place(s):g}' y='{half + 4:g}' "
                   f"font-size='11' text-anchor='middle' fill='#111'>{s}</text>" for s in range(S))
    width = GAP * (S + 0.4)
    return (f"<svg xmlns='http://www.w3.org/2000/svg' width='{width:g}' height='{2 * half:g}' role='img' "
            f"aria-label='{S} states, {A} actions' style='background:white'>{arcs}{dots}</svg>")


def _arc(x: float, y: float, a: int, p: float, reward: float, middle: float, ends: tuple[int, int]) -> str:
    s, t = ends
    bow = 4.0 * a
    if s == t:
        lift = middle - 30 - bow
        path = f"M{x - 7:g},{middle - 9:g} C{x - 16:g},{lift:g} {x + 16:g},{lift:g} {x + 7:g},{middle - 9:g}"
    else:
        side = -1 if t > s else 1
        peak = middle + side * (TOP * abs(y - x) + 8 + bow)
        path = f"M{x:g},{middle + side * 11:g} Q{(x + y) / 2:g},{peak:g} {y:g},{middle + side * 11:g}"
    return (f"<path d='{path}' fill='none' stroke='{COLOURS[a]}' stroke-width='1.6' stroke-opacity='"
            f"{0.2 + 0.8 * p:.2f}'><title>{s}, action {a}, to {t}: {p:.4g}, pays {reward:.4g}</title></path>")
