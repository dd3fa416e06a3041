"""Modified policy iteration that forgets: rows that cannot be optimal are dropped and the rest moved together.

Whatever comes out is only a good V: the caller proves an enclosure with one sweep over all rows.
"""

from __future__ import annotations

import numpy as np

from mdpkit.jit import kernel
from mdpkit.kernels.rows import dot, take

FULL, INNER = 1_000, 20  # full sweeps at most; sweeps of one policy, which should settle it
PATIENCE = 26           # policies that need not
SPARE = 0.4             # rows are moved together when fewer than this share survive
SETTLED = 0.05          # sweeps of one policy end when the span has fallen to this share of the last full sweep's
SAMPLE = 100            # states that tell whether all are worth a look


def _steps(pptr, pcol, pval, pr, gamma, v, w, stop, most):
    """At most ``most`` of v <- T_pi v, until the span of the change is at most ``stop``; its least and most, count."""
    low, high, n = -np.inf, np.inf, 0
    while n < most and high - low > stop:
        low, high = np.inf, -np.inf
        for s in range(len(v)):
            x = pr[s] + gamma * dot(pcol, pval, pptr[s], pptr[s + 1], v)
            w[s] = x
            low, high = min(low, x - v[s]), max(high, x - v[s])
        for s in range(len(v)):
            v[s] = w[s]
        n += 1
    return low, high, n


def _full(first, ptr, col, val, r, gamma, v, w, Q, best, pptr, pcol, pval, pr):
    """w = T v over the rows left, ``best`` their greedy rows, Q all values; returns min and max of w - v.

    The greedy rows are gathered as well, while they are in the processor's cache.
    """
    low, high, n = np.inf, -np.inf, 0
    for s in range(len(v)):
        top, at = -np.inf, first[s]
        for k in range(first[s], first[s + 1]):
            x = r[k] + gamma * dot(col, val, ptr[k], ptr[k + 1], v)
            Q[k] = x
            if x > top:
                top, at = x, k
        w[s], best[s], pr[s] = top, at, r[at]
        n = take(col, val, ptr[at], ptr[at + 1], n, pcol, pval)
        pptr[s + 1] = n
        low, high = min(low, top - v[s]), max(high, top - v[s])
    return low, high


def _survivors(first, ptr, Q, w, room):
    """How many rows, and entries, may still be optimal: within ``room`` of the best of their state (MacQueen 1966).

    Counted up to the first states only if too many of theirs are: all rows then count as left.
    """
    n, entries = 0, 0
    for s in range(len(w)):
        if s == SAMPLE and n > SPARE * first[s]:
            return first[len(w)], 0
        for k in range(first[s], first[s + 1]):
            if Q[k] + room >= w[s]:
                n += 1
                entries += ptr[k + 1] - ptr[k]
    return n, entries


def _compact(first, ptr, col, val, r, Q, w, room, nfirst, nptr, ncol, nval, nr):
    """Copy the survivors into other arrays (or to the front of the same ones)."""
    n, entries, start = 0, 0, first[0]
    for s in range(len(w)):
        end = first[s + 1]
        nfirst[s] = n
        for k in range(start, end):
            if Q[k] + room >= w[s]:
                nr[n] = r[k]
                lo, hi = ptr[k], ptr[k + 1]
                nptr[n] = entries
                entries = take(col, val, lo, hi, entries, ncol, nval)
                n += 1
        start = end
    nfirst[len(w)] = n
    nptr[n] = entries


def _improve(first, ptr, col, val, r, gamma, v, span, most, inner, patience, longest):
    """Modified policy iteration, v its result; returns the number of full sweeps, and whether the span was reached.

    It gives up after ``most`` of them, or when ``inner`` sweeps of one policy have not settled it ``patience`` times.
    It starts from the best reward of each state, T 0, for which no row is read. At the end T v - v has the span that
    was asked, if reached.
    """
    S = len(v)
    w, best, Q = np.empty(S), np.empty(S, np.int64), np.empty(len(r))
    pptr, pr = np.zeros(S + 1, np.int64), np.empty(S)
    pcol, pval = np.empty(S * longest, np.int64), np.empty(S * longest)
    nfirst, nptr, nr = np.empty(S + 1, np.int64), np.empty(len(r) + 1, np.int64), np.empty(len(r))
    ncol, nval = np.empty(0, np.int64), np.empty(0)
    rate = gamma / (1.0 - gamma)
    n, moved, unsettled = 0, False, 0
    for s in range(S):
        v[s] = r[first[s]]
        for k in range(first[s], first[s + 1]):
            v[s] = max(v[s], r[k])
    while n < most:
        if moved:
            low, high = full(nfirst, nptr, ncol, nval, nr, gamma, v, w, Q, best, pptr, pcol, pval, pr)
        else:
            low, high = full(first, ptr, col, val, r, gamma, v, w, Q, best, pptr, pcol, pval, pr)
        n += 1
        reach = high - low
        if reach <= span:
            return n, True
        room = rate * reach
        if moved:
            left, entries = survivors(nfirst, nptr, Q, w, room)
            if left < SPARE * nfirst[S]:
                compact(nfirst, nptr, ncol, nval, nr, Q, w, room, nfirst, nptr, ncol, nval, nr)
        else:
            left, entries = survivors(first, ptr, Q, w, room)
            if left < SPARE * first[S]:
                ncol, nval, moved = np.empty(entries, np.int64), np.empty(entries), True
                compact(first, ptr, col, val, r, Q, w, room, nfirst, nptr, ncol, nval, nr)
        for s in range(S):
            v[s] = w[s]
        low, high, used = steps(pptr, pcol, pval, pr, gamma, v, w, max(SETTLED * reach, 0.3 * span), inner)
        shift = 0.5 * rate * (low + high)
        for s in range(S):
            v[s] += shift
        unsettled += used == inner
        if unsettled >= patience:
            break
    return n, False


def _greedy(Q):
    """max_a Q (S,) and where it is first reached, without numpy's cost for each short row."""
    S, A = Q.shape
    w, policy = np.empty(S), np.zeros(S, np.int64)
    for s in range(S):
        w[s] = Q[s, 0]
        for a in range(1, A):
            if Q[s, a] > w[s]:
                w[s], policy[s] = Q[s, a], a
    return w, policy


def _krylov(pptr, pcol, pval, pr, gamma, x, tol, most):
    """(I - gamma P_pi) x = r in place from x by BiCGSTAB (van der Vorst 1992), to a residual of ``tol``; the steps."""
    S = len(x)
    res, p, q, t = np.empty(S), np.zeros(S), np.zeros(S), np.empty(S)
    for s in range(S):
        y = dot(pcol, pval, pptr[s], pptr[s + 1], x)
        res[s] = pr[s] + gamma * y - x[s]
    shadow = res.copy()
    rho, alpha, omega, n = 1.0, 1.0, 1.0, 0
    while n < most:
        top, now = 0.0, 0.0
        for s in range(S):
            top = max(top, abs(res[s]))
            now += shadow[s] * res[s]
        if top <= tol or abs(now) < 1e-290 or omega == 0.0:
            break
        beta, rho, n = now / rho * (alpha / omega), now, n + 1
        for s in range(S):
            p[s] = res[s] + beta * (p[s] - omega * q[s])
        along = 0.0
        for s in range(S):
            y = dot(pcol, pval, pptr[s], pptr[s + 1], p)
            q[s] = p[s] - gamma * y
            along += shadow[s] * q[s]
        if along == 0.0:
            break
        alpha = rho / along
        for s in range(S):
            res[s] -= alpha * q[s]
        tt, ts = 0.0, 0.0
        for s in range(S):
            y = dot(pcol, pval, pptr[s], pptr[s + 1], res)
            t[s] = res[s] - gamma * y
            tt += t[s] * t[s]
            ts += t[s] * res[s]
        omega = ts / tt if tt > 0.0 else 0.0
        for s in range(S):
            x[s] += alpha * p[s] + omega * res[s]
            res[s] -= omega * t[s]
    return n


steps = kernel(_steps)
full = kernel(_full)
survivors = kernel(_survivors)
compact = kernel(_compact)
greedy = kernel(_greedy)
improve = kernel(_improve)
krylov = kernel(_krylov)
