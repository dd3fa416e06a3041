"""Fronts of several objectives, all to be maximised."""

from __future__ import annotations

from typing import Any

import numpy as np

from mdpkit import validate


def nondominated(points: Any) -> np.ndarray:
    """Which points (n, d) no other point beats: at least as good everywhere and better somewhere. Bool (n,).

    Equal points do not beat each other.
    """
    X = validate.array("points", points, ("n", "d"))
    weakly = (X[:, None] >= X[None]).all(-1)
    strictly = (X[:, None] > X[None]).any(-1)
    return np.logical_not((weakly & strictly).any(0))


def hypervolume(points: Any, reference: Any) -> float:
    """The volume of all that some point dominates and that dominates the reference.

    Parameters
    ----------
    points : array (n, d)
        Points that are not better than the reference in each objective count with what they have beyond it, none.
    reference : array (d,)

    Notes
    -----
    Slices along the last objective: exact but for rounding, n^(d-1) log n at worst.
    """
    X = validate.array("points", points, ("n", "d"))
    z = validate.array("reference", reference, (X.shape[1],))
    beyond = (X - z).min(1) > 0
    Y = X[beyond] - z
    return _volume(Y[nondominated(Y)]) if len(Y) else 0.0


def _volume(X: np.ndarray) -> float:
    """Volume of the union of boxes [0, x], x > 0."""
    if X.shape[1] == 1:
        return float(X.max())
    X = X[np.argsort(-X[:, -1], kind="stable")]
    if X.shape[1] == 2:
        widths = np.maximum.accumulate(X[:, 0])
        return float((widths * (X[:, 1] - np.append(X[1:, 1], 0.0))).sum())
    total, depths = 0.0, X[:, -1] - np.append(X[1:, -1], 0.0)
    for i, depth in enumerate(depths):
        if depth > 0:
            front = X[: i + 1, :-1]
            total += depth * _volume(front[nondominated(front)])
    return total
