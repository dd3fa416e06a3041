"""Slow references, written from the definitions in plain loops over dense arrays. They share no code with the package.

Arguments are bare arrays: P (H, S, A, S) or (S, A, S), r (H, S, A) or (S, A), pi like r, rho (S,).
"""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np

# Policies ---------------------------------------------------------------------------------------------------------


def deterministic_policies(H, S, A):
    """Every deterministic policy (H, S, A), A**(H*S) of them."""
    for actions in itertools.product(range(A), repeat=H * S):
        yield np.eye(A)[np.array(actions).reshape(H, S)]


# Values -----------------------------------------------------------------------------------------------------------


def episodic_values(P, r, pi):
    """V (H+1, S) and Q (H, S, A) of a policy."""
    H, S, A = r.shape
    V, Q = np.zeros((H + 1, S)), np.zeros((H, S, A))
    for h in reversed(range(H)):
        for s in range(S):
            for a in range(A):
                Q[h, s, a] = r[h, s, a] + sum(P[h, s, a, t] * V[h + 1, t] for t in range(S))
            V[h, s] = sum(pi[h, s, a] * Q[h, s, a] for a in range(A))
    return V, Q


def discounted_values(P, r, gamma, pi, steps):
    """V (S,) of a policy by ``steps`` sweeps from zero; off by at most gamma**steps max|r| / (1 - gamma)."""
    S, A = r.shape
    V = np.zeros(S)
    for _ in range(steps):
        V = np.array([sum(pi[s, a] * (r[s, a] + gamma * sum(P[s, a, t] * V[t] for t in range(S))) for a in range(A))
                      for s in range(S)])
    return V


def best_value(P, r, rho):
    """max <rho, V_0> over all deterministic policies."""
    return max(float(rho @ episodic_values(P, r, pi)[0][0]) for pi in deterministic_policies(*r.shape))


# Occupancy --------------------------------------------------------------------------------------------------------


def path_occupancy(P, rho, pi):
    """d (H, S, A) by summing the probabilities of all paths, (S*A)**H of them."""
    H, S, A = pi.shape
    d = np.zeros((H, S, A))
    for path in itertools.product(itertools.product(range(S), range(A)), repeat=H):
        p = rho[path[0][0]]
        for h, (s, a) in enumerate(path):
            p *= pi[h, s, a] * (P[h, s, a, path[h + 1][0]] if h + 1 < H else 1.0)
        for h, (s, a) in enumerate(path):
            d[h, s, a] += p
    return d


def forward_occupancy(P, rho, pi):
    """d (H, S, A), step by step."""
    H, S, A = pi.shape
    d, here = np.zeros((H, S, A)), list(rho)
    for h in range(H):
        there = [0.0] * S
        for s, a in itertools.product(range(S), range(A)):
            d[h, s, a] = here[s] * pi[h, s, a]
            for t in range(S):
                there[t] += d[h, s, a] * P[h, s, a, t]
        here = there
    return d


def discounted_occupancy(P, rho, gamma, pi, steps):
    """(1 - gamma) sum over ``steps`` steps of gamma^t Pr(s_t, a_t), (S, A); it lacks gamma**steps of its mass."""
    S, A = pi.shape
    d, here = np.zeros((S, A)), np.array(rho)
    for t in range(steps):
        joint = here[:, None] * pi
        d += (1 - gamma) * gamma**t * joint
        here = np.array([sum(joint[s, a] * P[s, a, z] for s in range(S) for a in range(A)) for z in range(S)])
    return d


def reachable(P, rho, A):
    """max over all deterministic policies of d_h(s), (H, S)."""
    H, S = P.shape[:2]
    return np.max([forward_occupancy(P, rho, pi).sum(-1) for pi in deterministic_policies(H, S, A)], axis=0)


# Divergences ------------------------------------------------------------------------------------------------------


def kl(p, q):
    """sum p log(p/q) with 0 log 0 = 0."""
    return sum(0.0 if a == 0 else math.inf if b == 0 else a * math.log(a / b) for a, b in zip(p, q))


def renyi(p, q, alpha):
    """log(sum p^alpha q^(1-alpha)) / (alpha - 1), for laws of full support."""
    return math.log(sum(a**alpha * b ** (1 - alpha) for a, b in zip(p, q))) / (alpha - 1)


def transport(p, q, x):
    """The cheapest plan that moves p to q at cost |x_i - x_j|, as a linear program."""
    from scipy.optimize import linprog

    n = len(p)
    leaves, arrives = np.kron(np.eye(n), np.ones(n)), np.kron(np.ones(n), np.eye(n))
    cost = np.abs(np.subtract.outer(x, x)).ravel()
    return linprog(cost, A_eq=np.vstack([leaves, arrives]), b_eq=np.concatenate([p, q])).fun


# Exact optima ------------------------------------------------------------------------------------------------------
# In rationals: floats are read as the numbers that they are, and rows are not asked to sum to 1.


def rational_solve(M, b):
    """x with M x = b by Gauss-Jordan elimination over Fractions."""
    rows = [[Fraction(x) for x in line] + [Fraction(y)] for line, y in zip(M, b)]
    for i in range(len(rows)):
        k = next(k for k in range(i, len(rows)) if rows[k][i] != 0)
        rows[i], rows[k] = rows[k], rows[i]
        rows[i] = [x / rows[i][i] for x in rows[i]]
        for k in range(len(rows)):
            if k != i:
                rows[k] = [x - rows[k][i] * y for x, y in zip(rows[k], rows[i])]
    return [line[-1] for line in rows]


def rational_value(P, r, gamma, actions):
    """V of a deterministic policy of a discounted MDP."""
    S, g = len(r), Fraction(gamma)
    M = [[int(s == t) - g * Fraction(P[s][actions[s]][t]) for t in range(S)] for s in range(S)]
    return rational_solve(M, [r[s][actions[s]] for s in range(S)])


def rational_optimum(P, r, gamma):
    """V* and the sets of optimal actions of a discounted MDP: the best of all A**S policies."""
    S, A, g = len(r), len(r[0]), Fraction(gamma)
    each = [rational_value(P, r, gamma, actions) for actions in itertools.product(range(A), repeat=S)]
    V = [max(v[s] for v in each) for s in range(S)]
    Q = [[Fraction(r[s][a]) + g * sum(Fraction(P[s][a][t]) * V[t] for t in range(S)) for a in range(A)]
         for s in range(S)]
    return V, [[q == V[s] for q in Q[s]] for s in range(S)]


def rational_induction(P, r):
    """V* (H, S) and the sets of optimal actions (H, S, A) of an episodic MDP."""
    H, S, A = len(r), len(r[0]), len(r[0][0])
    after, values, optimal = [Fraction(0)] * S, [], []
    for h in reversed(range(H)):
        Q = [[Fraction(r[h][s][a]) + sum(Fraction(P[h][s][a][t]) * after[t] for t in range(S)) for a in range(A)]
             for s in range(S)]
        after = [max(q) for q in Q]
        values.insert(0, after)
        optimal.insert(0, [[x == v for x in q] for q, v in zip(Q, after)])
    return values, optimal


# Entropy-regularised optima ------------------------------------------------------------------------------------------


def soft_optimum(P, r, gamma, tau, mu, sweeps):
    """V by ``sweeps`` of V(s) = tau log sum_a mu(a|s) exp(Q(s,a)/tau) from zero, to 40 digits.

    Off by at most gamma**sweeps max|V|.
    """
    import mpmath

    with mpmath.workdps(40):
        tau, gamma, V = mpmath.mpf(tau), mpmath.mpf(gamma), [mpmath.mpf(0)] * len(r)
        for _ in range(sweeps):
            V = _soft_backup(P, r, gamma, tau, mu, V)
        return V


def soft_induction(P, r, tau, mu):
    """V (H, S) of an episodic MDP, to 40 digits."""
    import mpmath

    with mpmath.workdps(40):
        after, values = [mpmath.mpf(0)] * len(r[0]), []
        for h in reversed(range(len(r))):
            after = _soft_backup(P[h], r[h], mpmath.mpf(1), mpmath.mpf(tau), mu[h], after)
            values.insert(0, after)
        return values


def _soft_backup(P, r, gamma, tau, mu, V):
    import mpmath

    def soft_max(q, m):
        top = max(q)
        return top + tau * mpmath.log(mpmath.fsum(mpmath.mpf(w) * mpmath.exp((x - top) / tau) for x, w in zip(q, m)))

    Q = [[mpmath.mpf(x) + gamma * mpmath.fsum(mpmath.mpf(p) * v for p, v in zip(law, V)) for x, law in zip(*s)]
         for s in zip(r, P)]
    return [soft_max(q, m) for q, m in zip(Q, mu)]
