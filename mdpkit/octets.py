"""Parts of worlds drawn from bytes: one choice of the search each, so that whole arrays are drawn fast and shrink to 0.

`mdpkit.strategies` draws every number apart and shrinks further; these suit searches of hundreds of worlds. All take
hypothesis's ``draw``.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import hypothesis.strategies as st
import numpy as np

from mdpkit import validate
from mdpkit.models.tabular import TabularMDP

Draw = Callable[[st.SearchStrategy], Any]

UNEVEN = (0, 1, 1, 4, 64, 0)            # weights of successors, states and actions: some missing, some thin
GAMMAS = (0.5, 0.8, 0.9, 0.97)


def octets(draw: Draw, *shape: int) -> np.ndarray:
    """Integers 0..255 of that shape."""
    return np.frombuffer(draw(_bytes(math.prod(shape))), np.uint8).astype(np.int64).reshape(shape)


@functools.cache
def _bytes(n: int) -> st.SearchStrategy[bytes]:
    return st.binary(min_size=n, max_size=n)


def law(draw: Draw, *shape: int, weights: Sequence[float] = UNEVEN, least: float = 0) -> np.ndarray:
    """Probability rows (..., k) near these weights, each at least ``least``; an empty row is the point mass on its
    first entry."""
    return normalised(np.maximum(np.asarray(weights, float)[octets(draw, *shape) % len(weights)], least))


def normalised(weights: np.ndarray) -> np.ndarray:
    """Probability rows of weights (..., k) >= 0; an empty row becomes the point mass on its first entry."""
    w = np.array(weights, float)
    w[..., 0] += w.sum(-1) == 0
    return validate.simplex("weights", w / w.sum(-1, keepdims=True), w.shape)


def by_weight(numbers: np.ndarray, *shape: int) -> np.ndarray:
    """Probability rows of that shape from the first of these octets (n,): weights 0 to 8."""
    return normalised(numbers[: math.prod(shape)].reshape(shape) % 9)


def preference(draw: Draw, Y: int, steps: int = 16) -> np.ndarray:
    """p (Y, Y) with p + p' = 1 exactly, entries in multiples of 1/steps, 0 and 1 among them; a byte of 0 is a tie."""
    upper = np.triu((octets(draw, Y, Y) + steps // 2) % (steps + 1), 1) / steps
    return np.triu(upper, 1) + np.tril(1.0 - upper.T, -1) + np.eye(Y) / 2


def small_mdp(draw: Draw, size: int, least: float = 0, gammas: Sequence[float] = GAMMAS) -> TabularMDP:
    """Up to ``size`` states and 3 actions, rewards in sixteenths; each state starts with weight ``least`` at least."""
    S, A, gamma = draw(st.integers(1, size)), draw(st.integers(1, 3)), draw(st.sampled_from(list(gammas)))
    return TabularMDP(law(draw, S, A, S), octets(draw, S, A) % 17 / 16, gamma, law(draw, S, least=least))
