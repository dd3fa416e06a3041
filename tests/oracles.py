"""Slow references, written from the definitions in plain loops over dense arrays. They share no code with the package.

Arguments are bare arrays: P (H, S, A, S) or (S, A, S), r (H, S, A) or (S, A), pi like r, rho (S,).
"""

from __future__ import annotations

import itertools
import math

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
