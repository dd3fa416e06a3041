"""Whole passes over the sparse rows (h*S + s)*A + a of an episodic MDP: values backward, occupancies forward.

    Q_h(s,a) = r_h(s,a) + sum_t P_h(t|s,a) V_{h+1}(t),   V_h(s) = sum_a pi_h(a|s) Q_h(s,a) or max_a Q_h(s,a),   V_H = 0
    d_h(s,a) = d_h(s) pi_h(a|s),   d_{h+1}(t) = sum_{s,a} d_h(s,a) P_h(t|s,a),   d_0 = rho

Each sum runs in the order of the stored row, so that the value of the greedy policy equals the optimal one bit for
bit; indices are taken without a sign, `mdpkit.kernels.rows` says why. Signatures are of read-only arrays, which
writable ones satisfy: one version serves all callers.
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
        after = V[h + 1]
        for s in range(S):
            v = 0.0
            for a in range(A):
                k = (h * S + s) * A + a
                q = r[h, s, a]
                for j in range(np.uint64(ptr[k]), np.uint64(ptr[k + 1])):
                    q += val[j] * after[np.uint64(col[j])]
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
        after = V[h + 1]
        for s in range(S):
            for a in range(A):
                k = (h * S + s) * A + a
                q = r[h, s, a]
                for j in range(np.uint64(ptr[k]), np.uint64(ptr[k + 1])):
                    q += val[j] * after[np.uint64(col[j])]
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
            after = V[(h + 1) % 2]
            for s in range(S):
                a = policies[i, h, s]
                k = (h * S + s) * A + a
                q = r[h, s, a]
                for j in range(np.uint64(ptr[k]), np.uint64(ptr[k + 1])):
                    q += val[j] * after[np.uint64(col[j])]
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
                    for j in range(np.uint64(ptr[k]), np.uint64(ptr[k + 1])):
                        there[np.uint64(col[j])] += x * val[j]
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
            for j in range(np.uint64(ptr[k]), np.uint64(ptr[k + 1])):
                for z in range(Z):
                    w[z] += val[j] * W[np.uint64(col[j]), z]
            for z in range(Z):
                if w[z] > out[s, z]:
                    out[s, z] = w[z]
    return out


def _choices(Q, floor):
    """The greedy actions (H, S) of Q (H, S, A), ties to the lowest index, and which values reach ``floor`` (H, S)."""
    H, S, A = Q.shape
    greedy, near = np.zeros((H, S), np.int64), np.empty((H, S, A), np.bool_)
    for h in range(H):
        for s in range(S):
            for a in range(A):
                near[h, s, a] = Q[h, s, a] >= floor[h, s]
                if Q[h, s, a] > Q[h, s, greedy[h, s]]:
                    greedy[h, s] = a
    return greedy, near


evaluate_episodic = kernel(_evaluate_episodic, (*ROWS, REALS[3], REALS[3]))
optimise_episodic = kernel(_optimise_episodic, (*ROWS, REALS[3]))
returns_of_actions = kernel(_returns_of_actions, (*ROWS, REALS[3], REALS[1], INTS[3]))
returns_of_laws = kernel(_returns_of_laws, (*ROWS, REALS[3], REALS[1], REALS[4]))
occupy_episodic = kernel(_occupy_episodic, (*ROWS, REALS[1], REALS[3]))
reach_back = kernel(_reach_back, (*ROWS, int64, int64, REALS[2]))
choices = kernel(_choices, (REALS[3], REALS[2]))
