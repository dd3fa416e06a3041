"""Drawing from cumulative rows: the one sampler of the house."""

from __future__ import annotations

import math

import numpy as np

from mdpkit.jit import kernel

NOISE_CODE = {"none": 0, "bernoulli": 1, "gaussian": 2}


def cumulative(ptr: np.ndarray, val: np.ndarray) -> np.ndarray:
    """Row-wise cumulative sums of canonical rows, exact: each row ends in 1.0.

    The sums run over integers (units of 2**-52) that may wrap; differences within a row do not.
    """
    units = (val * 2.0**52).astype(np.uint64)
    total = np.cumsum(units, dtype=np.uint64)
    before = np.concatenate([np.zeros(1, np.uint64), total])[ptr[:-1]]
    return (total - np.repeat(before, np.diff(ptr))).astype(np.float64) * 2.0**-52


def _draw(cum, lo, hi, u):
    while hi - lo > 8:                      # long rows: halve first
        mid = (lo + hi) // 2
        if u < cum[mid]:
            hi = mid + 1
        else:
            lo = mid + 1
    while u >= cum[lo]:
        lo += 1
    return lo


def _normal(rng):
    """A standard normal by Marsaglia's polar method, one of its pair. Worlds use it for Gaussian noise.

    A try takes two `random`; there are 4/pi tries on average. (`rng.normal` would count references in every kernel
    that it is inlined in, drawn from or not.)
    """
    x, square = 0.0, 0.0
    while square <= 0.0 or square >= 1.0:
        x = 2.0 * rng.random() - 1.0
        y = 2.0 * rng.random() - 1.0
        square = x * x + y * y
    return x * math.sqrt(-2.0 * math.log(square) / square)


def _draw_reward(mean, noise, rng):
    if noise == 0:
        return mean
    if noise == 1:
        return 1.0 if rng.random() < mean else 0.0
    return mean + normal(rng)


draw = kernel(_draw)
normal = kernel(_normal)
draw_reward = kernel(_draw_reward)
