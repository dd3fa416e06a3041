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
from mdpkit.validate import UNIT

Draw = Callable[[st.SearchStrategy], Any]

UNEVEN = (0, 1, 1, 4, 64, 0)            # weights of successors, states and actions: some missing, some thin
GAMMAS = (0.5, 0.8, 0.9, 0.97)
NUMBERS = 12                            # of a `Pool`


class Pool:
    """A ``draw`` whose octets were drawn at once, for a choice of the search costs as much as a small model.

    Made at the head of a strategy: ``pool = Pool(draw, 48, 4)`` has places for an array of at most 48 octets, one of at
    most 4, and some numbers; what goes beyond that is drawn as ever. With a place of its own each array begins as
    before while a dimension shrinks. A few hundred octets are no longer cheap.
    """

    def __init__(self, draw: Draw, *places: int):
        self._draw = draw
        numbers, *arrays = np.split(octets(draw, NUMBERS + sum(places)), np.cumsum((NUMBERS, *places))[:-1])
        self._numbers, self._places = iter(numbers.tolist()), iter(arrays)

    def __call__(self, strategy: st.SearchStrategy) -> Any:
        return self._draw(strategy)

    def take(self, n: int) -> np.ndarray:
        """The first n octets of the next place."""
        place = next(self._places, np.zeros(0, np.int64))
        return place[:n] if n <= len(place) else octets(self._draw, n)

    def integer(self, lo: int, hi: int) -> int:
        """An integer in lo..hi, of at most 256."""
        found = next(self._numbers, None)
        return lo + (octets(self._draw, 1)[0].item() if found is None else found) % (hi - lo + 1)

    def one_of(self, options: Sequence[Any]) -> Any:
        """One of at most 256."""
        return options[self.integer(0, len(options) - 1)]


def octets(draw: Draw, *shape: int) -> np.ndarray:
    """Integers 0..255 of that shape."""
    n = math.prod(shape)
    flat = draw.take(n) if isinstance(draw, Pool) else np.frombuffer(draw(_bytes(n)), np.uint8).astype(np.int64)
    return flat.reshape(shape)


@functools.cache
def _bytes(n: int) -> st.SearchStrategy[bytes]:
    return st.binary(min_size=n, max_size=n)


def law(draw: Draw, *shape: int, weights: Sequence[float] = UNEVEN, least: float = 0) -> np.ndarray:
    """Probability rows (..., k) near these weights, each at least ``least``; an empty row is the point mass on its
    first entry."""
    return normalised(np.maximum(np.asarray(weights, float)[octets(draw, *shape) % len(weights)], least))


def normalised(weights: np.ndarray) -> np.ndarray:
    """Canonical probability rows of weights (..., k) in [0, 2**52]; an empty row becomes the point mass on its first
    entry.

    What rounding leaves over goes to the largest entry: the tenth of the time of `validate.simplex`, of which a search
    draws five in each world. Positive stays positive.
    """
    w = validate.within("weights", np.array(weights, float), 0.0, UNIT)
    w[..., 0] += w.sum(-1) == 0
    units = np.maximum(np.floor(w * (UNIT / w.sum(-1, keepdims=True))), w > 0).reshape(-1, w.shape[-1])
    units[np.arange(len(units)), units.argmax(-1)] += UNIT - units.sum(-1)
    out = (units / UNIT).reshape(w.shape)
    out.flags.writeable = False
    return out


def by_weight(numbers: np.ndarray, *shape: int) -> np.ndarray:
    """Probability rows of that shape from the first of these octets (n,): weights 0 to 8."""
    return normalised(numbers[: math.prod(shape)].reshape(shape) % 9)


def preference(draw: Draw, Y: int, steps: int = 16) -> np.ndarray:
    """p (Y, Y) with p + p' = 1 exactly, entries in multiples of 1/steps, 0 and 1 among them; a byte of 0 is a tie."""
    upper = np.triu((octets(draw, Y, Y) + steps // 2) % (steps + 1), 1) / steps
    return np.triu(upper, 1) + np.tril(1.0 - upper.T, -1) + np.eye(Y) / 2


def small_mdp(draw: Draw, size: int, least: float = 0, gammas: Sequence[float] = GAMMAS) -> TabularMDP:
    """Up to ``size`` states and 3 actions, rewards in sixteenths; each state starts with weight ``least`` at least."""
    pool = Pool(draw, 3 * size * size, 3 * size, size)
    S, A, gamma = pool.integer(1, size), pool.integer(1, 3), pool.one_of(gammas)
    return TabularMDP(law(pool, S, A, S), octets(pool, S, A) % 17 / 16, gamma, law(pool, S, least=least))
