"""Stopping problems: choices that lead on or stop, every play stopping for sure or paying for it.

The engine behind `mdpkit.solve.undiscounted` and `mdpkit.solve.average`: policy iteration on a quotient, and the
proof of what it finds, in floats with every rounding bounded or in rationals.
"""

from __future__ import annotations

from fractions import Fraction
from typing import NamedTuple

import flint
import numpy as np
from scipy.sparse import csr_array, eye_array
from scipy.sparse.linalg import spsolve

from mdpkit.errors import MdpkitError
from mdpkit.models.tabular import Rows
from mdpkit.rational import fraction, of_fraction
from mdpkit.rational import rational as exactly
from mdpkit.solve.precise import LARGEST, down, up
from mdpkit.solve.rounding import backup_error

DENSE = 1500            # merged states up to which a dense solve beats a sparse one
TRIES = 40              # doublings of the drift before the proof is given up


class Quotient(NamedTuple):
    """Sparse choices of merged states: choice i belongs to merged state ``owner[i]`` and is row ``origin[i]``."""

    P: csr_array            # (n, K): where each choice leads among the merged states; what is missing stops
    gain: np.ndarray        # (n,): reward, and the known values of where it stops
    first: np.ndarray       # (K+1,): the choices of merged state k are first[k]..first[k+1]
    owner: np.ndarray       # (n,)
    origin: np.ndarray      # (n,) s*A + a in the model
    merged: np.ndarray      # (S,) the merged state of each state, -1 where the value is known

    @property
    def K(self) -> int:
        return len(self.first) - 1


class Found(NamedTuple):
    """Proven bounds (K,), the choice of each merged state, and the exact values where they are."""

    lo: np.ndarray
    hi: np.ndarray
    choice: np.ndarray
    iterations: int
    method: str
    exact: list | None


def quotient(rows: Rows, known: np.ndarray, r: np.ndarray, usable: np.ndarray, label: np.ndarray) -> Quotient:
    """Merge the components of ``label`` (S,), -1 for none; keep the usable choices (S, A) of states without a value.

    Sums of stored probabilities are exact: they are multiples of 2**-52 and at most 1.
    """
    S, A = r.shape
    free = np.isnan(known)
    merged, single = np.full(S, -1), free & (label < 0)
    merged[single] = np.arange(single.sum())
    together = free & ~single
    merged[together] = single.sum() + np.unique(label[together], return_inverse=True)[1]
    K = int(merged.max(initial=-1)) + 1
    origin = np.flatnonzero((usable & free[:, None]).ravel())
    origin = origin[np.argsort(merged[origin // A], kind="stable")]
    owner = merged[origin // A]
    whole = csr_array((rows.val, rows.col, rows.ptr), (S * A, S))[origin]
    into = csr_array((np.ones(free.sum()), (np.flatnonzero(free), merged[free])), (S, max(K, 1)))
    stops = np.where(np.isfinite(known), known, 0.0)
    return Quotient((whole @ into).tocsr(), r.ravel()[origin] + whole @ stops, np.searchsorted(owner, np.arange(K + 1)),
                    owner, origin, merged)


def rounding(P: csr_array, gain: np.ndarray, v: np.ndarray) -> float:
    """Bound on the rounding of gain + P v, row by row."""
    longest = int(np.diff(P.indptr).max(initial=0))
    return backup_error(longest, float(np.abs(gain).max(initial=0.0)), 1.0, float(np.abs(v).max(initial=0.0)))


def iterate(q: Quotient, minimise: bool, proper: bool) -> Found:
    """Policy iteration in floats, and its proof by a drift. ``proper``: every policy stops with probability one."""
    if q.K == 0:
        return Found(np.zeros(0), np.zeros(0), np.zeros(0, np.int64), 0, "graph alone", None)
    v, choice, n = _improve(q, q.gain, minimise)
    every, chosen = np.arange(len(q.gain)), choice
    one = np.ones(len(q.gain))
    x = _improve(q, one, False)[0] if proper else _evaluate(q, one, choice)
    # from above: no choice (or, for a smallest value, not the one that was found) may lead further up
    hi = _drifted(q, v, x, chosen if minimise else every)
    lo = (_drifted(q, v, -x, every if minimise else chosen) if proper else _below(q, v))
    return Found(lo, hi, choice, n, "policy iteration, proven by a drift", None)


def _improve(q: Quotient, gain: np.ndarray, minimise: bool) -> tuple[np.ndarray, np.ndarray, int]:
    """Values and choices of policy iteration from a policy that stops; switches are true improvements."""
    choice, n, sign = _stopping_policy(q), 0, -1.0 if minimise else 1.0
    while True:
        v = _evaluate(q, gain, choice)
        n += 1
        Q = sign * (gain + q.P @ v)
        best = np.maximum.reduceat(Q, q.first[:-1])
        feigned = 1e-12 * (1e-300 + np.abs(best)) + 64 * rounding(q.P, gain, v)
        better = best > Q[choice] + feigned
        if not better.any() or n > 10_000:
            return v, choice, n
        hit = np.flatnonzero(best[q.owner] == Q)
        choice = np.where(better, hit[np.searchsorted(q.owner[hit], np.arange(q.K))], choice)


def _evaluate(q: Quotient, gain: np.ndarray, choice: np.ndarray) -> np.ndarray:
    P = q.P[choice]
    if q.K <= DENSE:
        return np.linalg.solve(np.eye(q.K) - P.toarray(), gain[choice])
    return np.atleast_1d(spsolve((eye_array(q.K) - P).tocsc(), gain[choice]))


def _stopping_policy(q: Quotient) -> np.ndarray:
    """A choice for each merged state with which play stops from everywhere: nearer to stopping, step by step."""
    choice = np.full(q.K, -1)
    near = np.asarray(q.P.sum(1)).ravel() < 1.0
    while True:
        rows = np.flatnonzero(near & (choice[q.owner] < 0))
        if len(rows) == 0:
            return choice
        owners, at = np.unique(q.owner[rows], return_index=True)
        choice[owners] = rows[at]
        near = q.P @ (choice >= 0) > 0


def _drifted(q: Quotient, v: np.ndarray, x: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """v + d x with a small d for which a sweep of every given row points back: proven above (x > 0) or below."""
    P, gain, owner = q.P[rows], q.gain[rows], q.owner[rows]
    side = 1.0 if x.max() > 0 else -1.0
    d = 2 * (float(np.maximum(side * (gain + P @ v - v[owner]), 0.0).max()) + rounding(P, gain, v))
    for _ in range(TRIES):
        bound = v + d * x
        if (side * (bound[owner] - gain - P @ bound) >= 2 * rounding(P, gain, bound)).all():
            return bound
        d *= 2
    return np.full(q.K, side * np.inf)


def _below(q: Quotient, v: np.ndarray) -> np.ndarray:
    """For a smallest value: no choice may fall below v (1 - t) - d y.

    Choices that pay have the slack t times their reward; y is the longest stay among those that do not.
    """
    pays = q.gain > 0
    free = np.where(pays[:, None], 0.0, 1.0)
    idle = q._replace(P=csr_array(q.P.multiply(free)), gain=np.where(pays, 0.0, 1.0))
    y = _improve(idle, np.maximum(idle.gain, 0.0), False)[0]
    e = rounding(q.P, q.gain, v)
    d = 2 * (e + float(np.maximum(v[q.owner] - q.gain - q.P @ v, 0.0).max()))
    for _ in range(TRIES):
        need = e + d * np.maximum(q.P @ y - y[q.owner], 0.0)
        t = min(1.0, 2 * float((need[pays] / q.gain[pays]).max(initial=0.0)))
        bound = (1 - t) * v - d * y
        if (q.gain + q.P @ bound - rounding(q.P, q.gain, bound) >= bound[q.owner]).all():
            return np.maximum(bound, 0.0)
        d *= 2
    return np.zeros(q.K)


def rational(q: Quotient, minimise: bool, proper: bool, gains: dict[int, Fraction] | None = None) -> Found:
    """Policy iteration in rationals: strict improvements over finitely many policies end.

    ``gains`` replaces those of some choices, which no float may be able to hold.
    """
    if q.K == 0:
        return Found(np.zeros(0), np.zeros(0), np.zeros(0, np.int64), 0, "graph alone", [])
    if q.K > LARGEST:
        raise MdpkitError("tier", f"'float' beyond {LARGEST} undecided states", "exact")
    P = [[(int(j), exactly(p)) for j, p in zip(q.P.indices[a:b], q.P.data[a:b])]
         for a, b in zip(q.P.indptr[:-1], q.P.indptr[1:])]
    gain = [exactly(x) for x in q.gain]
    for i, x in (gains or {}).items():
        gain[i] = of_fraction(x)
    choice, n = _improve(q, q.gain, minimise)[1], 0
    while True:
        M = [[exactly(float(i == j)) for j in range(q.K)] for i in range(q.K)]
        for k, i in enumerate(choice):
            for j, p in P[i]:
                M[k][j] -= p
        v = [x[0] for x in flint.fmpq_mat(M).solve(flint.fmpq_mat([[gain[i]] for i in choice])).tolist()]
        n += 1
        better = False
        for k in range(q.K):
            value = {i: gain[i] + sum((p * v[j] for j, p in P[i]), exactly(0.0))
                     for i in range(q.first[k], q.first[k + 1])}
            best = (min if minimise else max)(value, key=lambda i: value[i])
            if (value[best] < v[k]) if minimise else (value[best] > v[k]):
                choice[k], better = best, True
        if not better:
            lo, hi = np.array([down(x) for x in v]), np.array([up(x) for x in v])
            return Found(lo, hi, choice, n, "policy iteration in rationals", [fraction(x) for x in v])
