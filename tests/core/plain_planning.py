"""Values, occupancies, gains and game values in plain numpy, to hold the named worlds against."""

import numpy as np
from scipy.optimize import linprog

EXACT = 1e-12      # a handful of operations on numbers of order one
ROUND = 1e-9       # linear solves, backups and linear programs; reference values of at least ten digits
PRINTED = 1e-11    # reference values printed with twelve decimals, and a few roundings


def close(got, wanted, tol=EXACT):
    """Error relative to the largest wanted entry, or absolute where that is below one."""
    got, wanted = np.asarray(got, float), np.asarray(wanted, float)
    assert got.shape == wanted.shape
    assert np.abs(got - wanted).max() <= tol * max(1.0, np.abs(wanted).max())


def evaluate(m, pi):
    """Values of a policy (S, A) of a discounted MDP."""
    P = np.einsum("sa,sat->st", pi, m.dense)
    return np.linalg.solve(np.eye(m.S) - m.gamma * P, (pi * m.r).sum(-1))


def optimal(m):
    """Howard's policy iteration: (V*, greedy actions)."""
    a = np.zeros(m.S, int)
    while True:
        V = evaluate(m, np.eye(m.A)[a])
        Q = m.r + m.gamma * m.dense @ V
        better = Q.max(-1) > Q[np.arange(m.S), a] + EXACT * max(1.0, np.abs(Q).max())
        if not better.any():
            return V, a
        a = np.where(better, Q.argmax(-1), a)


def backward(P, r, pi=None, last=None):
    """Values (H+1, S) of the best policy or of ``pi`` (H, S, A), and Q (H, S, A)."""
    H, S, _ = r.shape
    V, Q = np.zeros((H + 1, S)), np.zeros(r.shape)
    for h in range(H - 1, -1, -1):
        Q[h] = r[h] + P[h] @ V[h + 1]
        V[h] = Q[h].max(-1) if pi is None else (pi[h] * Q[h]).sum(-1)
    return V, Q


def occupancies(P, rho, pi):
    """State-action laws (H, S, A)."""
    d, out = np.asarray(rho), []
    for h in range(len(P)):
        out.append(d[:, None] * pi[h])
        d = np.einsum("sa,sat->t", out[-1], P[h])
    return np.array(out)


def gain_and_bias(m, a):
    """Average reward and bias (bias 0 in state 0) of a deterministic unichain policy."""
    s = np.arange(m.S)
    M = np.eye(m.S) - m.dense[s, a]
    M[:, 0] = 1.0
    x = np.linalg.solve(M, m.r[s, a])
    return x[0], np.append(0.0, x[1:])


def game_value(M):
    """Value to the rows of a matrix game, by linear programming."""
    n, k = M.shape
    out = linprog(np.append(np.zeros(n), -1.0), A_ub=np.column_stack([-M.T, np.ones(k)]), b_ub=np.zeros(k),
                  A_eq=[[1.0] * n + [0.0]], b_eq=[1.0], bounds=[(0, None)] * n + [(None, None)])
    return -out.fun


GAMMAS = (0.0, 0.5, 0.9, 0.99)


def tables(m):
    return m.P, m.r
