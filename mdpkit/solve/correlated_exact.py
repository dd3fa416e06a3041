"""The best correlated equilibrium of a small game in rationals: its linear programme by the simplex method."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from mdpkit.errors import MdpkitError
from mdpkit.rational import exact, fraction
from mdpkit.solve.rational_simplex import cone

LARGEST = 2_000          # entries of the programme: bits and steps grow fast beyond


def exactly(Q: np.ndarray, w: np.ndarray, fine: bool) -> tuple[tuple[Fraction, ...], np.ndarray]:
    """The law (J,) of largest w-weighted payoff that nobody gains by leaving, and prices of the deviations.

    Parameters
    ----------
    Q : array (n, A1, ..., An)
    w : array (n,)
    fine : bool
        Deviations after a recommendation, or before any. A row a player and action b "always b", or a player and
        pair a != b "b where a is recommended", b outermost.
    """
    size = Q[0].size * sum(k * (k - 1) if fine else k for k in Q.shape[1:])
    if size > LARGEST:
        raise MdpkitError("payoffs", f"of at most {LARGEST} joint actions times deviations in tier \"exact\"", size)
    u, rows = exact(Q.reshape(len(Q), -1)).reshape(Q.shape), []
    for i, own in enumerate(u):
        mine = np.moveaxis(own, i, 0)
        for b in range(len(mine)):
            for a in (a for a in range(len(mine)) if a != b) if fine else (slice(None),):
                gain = 0 * mine
                gain[a] = mine[b] - mine[a]
                rows.append(np.moveaxis(gain, 0, i).ravel().tolist())
    best = cone((exact(w) @ u.reshape(len(u), -1)).tolist(), rows)
    assert best is not None                         # there always is one (Nash 1951)
    return tuple(fraction(x) for x in best[1]), np.array([float(y) for y in best[2]])
