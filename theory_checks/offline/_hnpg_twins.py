"""Broken twins of HAC and of the pieces of its proof: what the checks must catch."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from algorithms.offline import hnpg
from mdpkit import rational
from mdpkit.records import Result, Trace


def own_occupancy(P, r, gamma, rho, pi_e, pi, f):
    """Both sums under the occupancy of each pi^t."""
    gap = hnpg.split(P, r, gamma, rho, pi_e, pi, f)[0]
    d = np.array([hnpg.occupation(P, gamma, rho, p).sum(-1)[:, None] for p in pi])
    Q = np.array([hnpg.action_values(P, r, gamma, p) for p in pi])
    return gap, (d * (pi_e - pi) * f).sum(), (d * (pi_e - pi) * (Q - f)).sum()


def unscaled(P, r, gamma, rho, pi_e, pi, f):
    """Without 1 - gamma."""
    gap, one, two = hnpg.split(P, r, gamma, rho, pi_e, pi, f)
    return gap / (1 - gamma), one, two


def downhill(f, eta):
    """exp(-eta f)."""
    return hnpg.mirror(-f, eta)


def resting(f, eta):
    """Uniform for ever."""
    return hnpg.mirror(0.0 * f, eta)


def forgetful(f, eta):
    """The last critic alone."""
    return hnpg.softmax(eta * np.concatenate([np.zeros((1, *f.shape[1:])), f[:-1]]))


def flipped_state(access, params, rng):
    """The sign of the critic is wrong in state 0."""
    m = access.model
    sign = np.where(np.arange(m.S) == 0, -1.0, 1.0)[:, None]
    return _actor(m, params, lambda pi: sign * hnpg.action_values(m.P, m.r, m.gamma, pi))


def uncentred(access, params, rng):
    """Ascent by d(s, a) Q(s, a), with step 50: the gradient without the mean that the scores take off."""
    m = access.model
    return _actor(m, replace(params, eta=50.0), lambda pi: hnpg.occupation(m.P, m.gamma, m.rho, pi)
                  * hnpg.action_values(m.P, m.r, m.gamma, pi))


def _actor(m, params, move):
    theta, visited = np.zeros(m.r.shape), []
    for _ in range(params.T):
        visited.append(hnpg.softmax(theta))
        theta = theta + params.eta * move(visited[-1])
    return Result(hnpg.softmax(theta), Trace(np.array(visited), np.arange(params.T)), params)


def on_logged_pairs(P, r, gamma, rho, pi, nu, phi, lam, K, *, first=None, most=None):
    """The loss of the rollouts under nu, not under d_pi."""
    return _fits(P, r, gamma, pi, nu, lam * nu, hnpg.action_values(P, r, gamma, pi), phi, K, first, most)


def all_bootstrapped(P, r, gamma, rho, pi, nu, phi, lam, K, *, first=None, most=None):
    """Rollouts regress on the bootstrapped target too."""
    both = nu + lam * hnpg.occupation(P, gamma, rho, pi)
    return _fits(P, r, gamma, pi, both, 0 * both, r, phi, K, first, most)


def without_rollouts(P, r, gamma, rho, pi, nu, phi, lam, K, *, first=None, most=None):
    """lam = 0, whatever it is told."""
    return _fits(P, r, gamma, pi, nu, 0 * nu, r, phi, K, first, most)


def one_step(P, r, gamma, rho, pi, nu, phi, lam, K, *, first=None, most=None):
    """Rollouts end after one reward: y is no estimate of Q."""
    return _fits(P, r, gamma, pi, nu, lam * hnpg.occupation(P, gamma, rho, pi), r, phi, K, first, most)


def _fits(P, r, gamma, pi, off, on, target, phi, K, first, most):
    X = phi.reshape(-1, phi.shape[2])
    G = X.T @ ((off + on).reshape(-1)[:, None] * X)
    w = rational.zeros((len(G),), P) if first is None else first
    found = []
    for _ in range(K):
        g = r + gamma * (P @ (pi * (phi @ w)).sum(-1))
        w = rational.solve(G, X.T @ (off * g + on * target).reshape(-1))
        w = w if most is None else np.minimum(np.maximum(w, 0 * most), most)
        found.append(w)
    return np.array(found)


def no_data(access, data, params, rng):
    """Never looks at the logged data."""
    return hnpg.run(access, data, replace(params, m_off=0), rng)
