"""The statistics behind the judges. Each rejects a null at a level fixed before the run.

=================  ==============================================================================================
high probability   mixture of likelihood ratios, a supermartingale under the null (Ville 1939)
expectation        capital of a bettor with aGRAPA bets (Waudby-Smith & Ramdas, JRSS B 2024, section 4.4)
rate               log of the ratio of the mean to the claimed curve, its slope by least squares, Student's t over
                   the influence of each run; on levels and on increments
linear rate        slope of the log error over three windows, Student's t over runs
=================  ==============================================================================================
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri, stdtrit

BELOW = np.array([0.01, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9])                # shares of delta
ABOVE = np.array([1.1, 1.25, 1.5, 2.0, 3.0, 5.0, 10.0, 20.0, 50.0])                 # multiples of delta
TRUNCATION = 0.75


def failure_evidence(failed: np.ndarray, delta: float) -> tuple[np.ndarray, np.ndarray]:
    """Running e-values after each run: against "fails with probability >= delta", and against "<= delta".

    Parameters
    ----------
    failed : bool array (n,)
        In index order.
    delta : float
        In (0, 1).
    """
    below = BELOW * delta
    above = np.append(np.minimum(ABOVE * delta, (1 + delta) / 2), (3 + delta) / 4)
    return _mixture(failed, below, delta), _mixture(failed, above, delta)


def _mixture(failed: np.ndarray, p: np.ndarray, delta: float) -> np.ndarray:
    k = np.cumsum(failed.astype(float))
    n = np.arange(1, failed.size + 1)
    log_ratio = np.outer(k, np.log(p / delta)) + np.outer(n - k, np.log((1 - p) / (1 - delta)))
    top = log_ratio.max(1)
    with np.errstate(under="ignore", over="ignore"):
        return np.exp(np.minimum(top, 700.0)) * np.exp(log_ratio - top[:, None]).mean(1)


def bet(x: np.ndarray, bound: float) -> tuple[np.ndarray, np.ndarray]:
    """Running capital against "mean >= bound", and against "mean <= bound", for x in [0, 1], 0 < bound < 1."""
    n = x.size
    capital = np.ones((2, n))
    wealth = np.ones(2)
    mean, square, t = 0.5, 0.5, 1                           # a half-observation to start from
    caps = (TRUNCATION / (1 - bound), TRUNCATION / bound)
    for i in range(n):
        variance = max(square / t - (mean / t) ** 2, 1e-6)
        edge = bound - mean / t
        tilt = edge / (variance + edge * edge)
        for side, sign in ((0, 1.0), (1, -1.0)):
            stake = min(max(sign * tilt, 0.0), caps[side])
            wealth[side] *= 1.0 + stake * sign * (bound - x[i])
            capital[side, i] = wealth[side]
        mean, square, t = mean + x[i], square + x[i] * x[i], t + 1
    return capital[0], capital[1]


@dataclass(frozen=True)
class Slope:
    """Slope of a log ratio with its standard error over n runs, and the margin that separates it from the rival."""

    estimate: float
    error: float
    margin: float
    n: int

    def limits(self, alpha: float) -> tuple[float, float]:
        """Lower and upper one-sided limits, each at level alpha (Student's t, n - 1)."""
        reach = float(stdtrit(self.n - 1, 1 - alpha)) * self.error if self.error > 0 else 0.0
        return self.estimate - reach, self.estimate + reach

    def needs(self, alpha: float) -> int | None:
        """Runs at which the upper limit would clear the margin nine times in ten, were the estimate true."""
        room = self.margin - self.estimate
        if room <= 0 or self.error == 0:
            return None
        spread = self.error * math.sqrt(self.n)
        return max(self.n + 1, math.ceil(((float(ndtri(1 - alpha)) + float(ndtri(0.9))) * spread / room) ** 2))


def slope(values: np.ndarray, T: np.ndarray, claimed: np.ndarray, rival: np.ndarray) -> Slope:
    """Least-squares slope in log T of log(mean over runs / claimed), with the half-way margin to the rival.

    Parameters
    ----------
    values : array (n, J)
        One row a run, one column a horizon; the means must be positive.
    T, claimed, rival : arrays (J,)
        Horizons, the claimed curve and the next faster one.
    """
    w = np.log(T) - np.log(T).mean()
    w /= (w * w).sum()
    mean = values.mean(0)
    influence = (values / mean) @ w
    error = float(influence.std(ddof=1)) / math.sqrt(len(values)) if len(values) > 1 else math.inf
    return Slope(float(w @ np.log(mean / claimed)), error, 0.5 * float(w @ np.log(rival / claimed)), len(values))


def increments(values: np.ndarray) -> np.ndarray:
    """Differences over doubled horizons: they lose what is added once, such as a burn-in."""
    return np.diff(values, axis=-1)


def window_slopes(errors: np.ndarray, floor: float) -> np.ndarray:
    """Slope of log error per step of each run (n, K) on the whole, second half and last quarter above the floor.

    Only steps before the mean error first falls below 1000 floors count. Returns (n, 3).
    """
    mean = errors.mean(0)
    low = np.flatnonzero(mean < 1e3 * floor)
    K = int(low[0]) if low.size else errors.shape[1]
    starts = (0, K // 2, K - max(K // 4, 2))
    out = np.empty((len(errors), 3))
    for j, start in enumerate(starts):
        k = np.arange(start, K, dtype=float)
        w = (k - k.mean()) / ((k - k.mean()) ** 2).sum()
        out[:, j] = np.log(np.maximum(errors[:, start:K], np.finfo(float).tiny)) @ w
    return out
