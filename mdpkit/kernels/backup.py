"""Whole passes over the sparse rows (h*S + s)*A + a of an episodic MDP: values backward, occupancies forward.

    Q_h(s,a) = r_h(s,a) + sum_t P_h(t|s,a) V_{h+1}(t),   V_h(s) = sum_a pi_h(a|s) Q_h(s,a) or max_a Q_h(s,a),   V_H = 0
    d_h(s,a) = d_h(s) pi_h(a|s),   d_{h+1}(t) = sum_{s,a} d_h(s,a) P_h(t|s,a),   d_0 = rho

Each sum runs in the order of the stored row, so that the value of the greedy policy equals the optimal one bit for
bit. Signatures are of read-only arrays, which writable ones satisfy: one version serves all callers.
"""

from __future__ import annotations

import numpy as np
from numba import float64, int64, types

from mdpkit.jit import kernel


def _frozen(dtype, ndim):
    return types.Array(dtype, ndim, "C", readonly=True)


REALS = [_frozen(float64, n) for n in range(5)]
INTS = [_frozen(int64, n) for n in range(4)]
ROWS = (INTS[1], INTS[1], REALS[1])     # ptr, col, val


def _evaluate_episodic(ptr, col, val, r, pi):
    """V (H+1, S) and Q (H, S, A) of the policy pi (H, S, A)."""
    H, S, A = r.shape
    V = np.zeros((H + 1, S))
    Q = np.empty((H, S, A))
    for h in range(H - 1, -1, -1):
        for s in range(S):
            v = 0.0
            for a in range(A):
                k = (h * S + s) * A + a
                q = r[h, s, a]
                for j in range(ptr[k], ptr[k + 1]):
                    q += val[j] * V[h + 1, col[j]]
                Q[h, s, a] = q
                v += pi[h, s, a] * q
            V[h, s] = v
    return V, Q


def _optimise_episodic(ptr, col, val, r):
    """V* (H+1, S), Q* (H, S, A) and the greedy actions (H, S), ties to the lowest index."""
    H, S, A = r.shape
    V = np.zeros((H + 1, S))
    Q = np.empty((H, S, A))
    greedy = np.zeros((H, S), np.int64)
    for h in range(H - 1, -1, -1):
        for s in range(S):
            for a in range(A):
                k = (h * S + s) * A + a
                q = r[h, s, a]
                for j in range(ptr[k], ptr[k + 1]):
                    q += val[j] * V[h + 1, col[j]]
                Q[h, s, a] = q
                if q > Q[h, s, greedy[h, s]]:
                    greedy[h, s] = a
            V[h, s] = Q[h, s, greedy[h, s]]
    return V, Q, greedy


def _returns_of_actions(ptr, col, val, r, rho, policies):
    """rho . V_0 of each deterministic policy (n, H, S)."""
    H, S, A = r.shape
    out = np.zeros(policies.shape[0])
    V = np.zeros((2, S))
    for i in range(policies.shape[0]):
        for s in range(S):
            V[H % 2, s] = 0.0
        for h in range(H - 1, -1, -1):
            for s in range(S):
                a = policies[i, h, s]
                k = (h * S + s) * A + a
                q = r[h, s, a]
                for j in range(ptr[k], ptr[k + 1]):
                    q += val[j] * V[(h + 1) % 2, col[j]]
                V[h % 2, s] = q
        for s in range(S):
            out[i] += rho[s] * V[0, s]
    return out


def _returns_of_laws(ptr, col, val, r, rho, policies):
    """rho . V_0 of each policy (n, H, S, A) of probabilities."""
    out = np.zeros(policies.shape[0])
    for i in range(policies.shape[0]):
        V, _ = evaluate_episodic(ptr, col, val, r, policies[i])
        for s in range(rho.shape[0]):
            out[i] += rho[s] * V[0, s]
    return out


def _occupy_episodic(ptr, col, val, rho, pi):
    """d (H, S, A) of the policy pi (H, S, A)."""
    H, S, A = pi.shape
    d = np.zeros((H, S, A))
    here = rho.copy()
    for h in range(H):
        there = np.zeros(S)
        for s in range(S):
            if here[s] > 0.0:
                for a in range(A):
                    x = here[s] * pi[h, s, a]
                    d[h, s, a] = x
                    k = (h * S + s) * A + a
                    for j in range(ptr[k], ptr[k + 1]):
                        there[col[j]] += x * val[j]
        here = there
    return d


def _reach_back(ptr, col, val, A, h, W):
    """max_a sum_t P_h(t|s,a) W[t, z] for each state s and goal z: one step earlier, each goal with its own policy."""
    S, Z = W.shape
    out = np.zeros((S, Z))
    w = np.empty(Z)
    for s in range(S):
        for a in range(A):
            k = (h * S + s) * A + a
            for z in range(Z):
                w[z] = 0.0
            for j in range(ptr[k], ptr[k + 1]):
                for z in range(Z):
                    w[z] += val[j] * W[col[j], z]
            for z in range(Z):
                if w[z] > out[s, z]:
                    out[s, z] = w[z]
    return out


def _dots(P, rows, n, v, out):
    """out[k] = P[rows[k]] . v for k < n, four rows at once: rows far apart come from memory slowly one by one."""
    for k in range(0, n - n % 4, 4):
        p, q, r, s = P[rows[k]], P[rows[k + 1]], P[rows[k + 2]], P[rows[k + 3]]
        w = x = y = z = 0.0
        for t in range(v.shape[0]):
            w += p[t] * v[t]
            x += q[t] * v[t]
            y += r[t] * v[t]
            z += s[t] * v[t]
        out[k], out[k + 1], out[k + 2], out[k + 3] = w, x, y, z
    for k in range(n - n % 4, n):
        p, w = P[rows[k]], 0.0
        for t in range(v.shape[0]):
            w += p[t] * v[t]
        out[k] = w


def _spread(v, at, q):
    """Of d = v - at: the least, the largest, q . d, and how far it is from its mean in the Euclidean norm."""
    low, high, middle, mean, norm = np.inf, -np.inf, 0.0, 0.0, 0.0
    for t in range(v.shape[0]):
        d = v[t] - at[t]
        low, high = min(low, d), max(high, d)
        middle += q[t] * d
        mean += d / v.shape[0]
    for t in range(v.shape[0]):
        d = v[t] - at[t] - mean
        norm += d * d
    return low, high, middle, np.sqrt(norm)


def _back(P, r, known, at, far, q, room, next_V, Q, V):
    """One step over dense P (S*A, S) that reads only what `mdpkit.solve.episodic` cannot rule out; the rows read.

    V (S,) and, where read, Q (S, A) are filled: r + P next_V. ``known`` (S, A) is P at, ``far`` the distances of the
    rows from ``q``: with d = next_V - at, both known + [min d, max d] and known + q d +- far |d - mean| enclose
    P next_V; at and known may be taken as 0. Of each state the row of the best lower bound is read first: what it has
    rules out others.
    """
    S, A = r.shape
    low, high, middle, norm = spread(next_V, at, q)
    alone = spread(next_V, np.zeros(S), q)
    share = 1.0
    if alone[3] < norm:
        share, low, high, middle, norm = 0.0, alone[0], alone[1], alone[2], alone[3]
    rows, more, found, n = np.empty(S, np.int64), np.empty(S * A, np.int64), np.empty(S * A), 0
    for s in range(S):
        V[s] = -np.inf                                    # until a row is read, the best lower bound
        for i in range(A):
            floor = r[s, i] + share * known[s, i] + max(low, middle - far[s, i] * norm)
            if floor > V[s]:
                V[s], rows[s] = floor, s * A + i
    dots(P, rows, S, next_V, found)
    for s in range(S):
        first = rows[s] - s * A
        Q[s, first] = r[s, first] + found[s]
        floor, V[s] = max(V[s], Q[s, first]) - room, Q[s, first]
        for i in range(A):
            if i != first and r[s, i] + share * known[s, i] + min(high, middle + far[s, i] * norm) >= floor:
                more[n] = s * A + i
                n += 1
    dots(P, more, n, next_V, found)
    for k in range(n):
        s, i = more[k] // A, more[k] % A
        Q[s, i] = r[s, i] + found[k]
        V[s] = max(V[s], Q[s, i])
    return S + n


def _distances(P, q):
    """|p - q| in the Euclidean norm, of each row p of dense P (n, S) from q (S,): (n,)."""
    out = np.empty(P.shape[0])
    for i in range(P.shape[0]):
        total = 0.0
        for j in range(q.shape[0]):
            total += (P[i, j] - q[j]) * (P[i, j] - q[j])
        out[i] = np.sqrt(total)
    return out


evaluate_episodic = kernel(_evaluate_episodic, (*ROWS, REALS[3], REALS[3]))
optimise_episodic = kernel(_optimise_episodic, (*ROWS, REALS[3]))
returns_of_actions = kernel(_returns_of_actions, (*ROWS, REALS[3], REALS[1], INTS[3]))
returns_of_laws = kernel(_returns_of_laws, (*ROWS, REALS[3], REALS[1], REALS[4]))
occupy_episodic = kernel(_occupy_episodic, (*ROWS, REALS[1], REALS[3]))
reach_back = kernel(_reach_back, (*ROWS, int64, int64, REALS[2]))
dots = kernel(_dots, (REALS[2], types.Array(int64, 1, "C"), int64, REALS[1], float64[::1]), reassoc=True)
spread = kernel(_spread, (REALS[1], REALS[1], REALS[1]), reassoc=True)
back = kernel(_back, (*[REALS[2]] * 3, REALS[1], REALS[2], REALS[1], float64, REALS[1], float64[:, ::1], float64[::1]))
distances = kernel(_distances, (REALS[2], REALS[1]), reassoc=True)
