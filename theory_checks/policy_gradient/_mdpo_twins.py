"""Broken twins of MDPO: what the checks must catch."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from algorithms.policy_gradient import mdpo, npg
from mdpkit import rational
from mdpkit.losses import log_softmax
from mdpkit.records import Result, Trace


def plain(P, r, gamma, pi, t):
    """The gradient from an even start, without F^+."""
    rho = rational.eye(len(r), P).sum(0) / len(r)
    return t * (1 - gamma) * npg.gradient(P, r, gamma, rho, pi)


def eta(P, r, gamma, pi, t):
    """t in place of t (1 - gamma) in eta."""
    return mdpo.exponent(P, r, gamma, pi, t) / (1 - gamma)


def even(P, gamma, rho, pi_k, Q, pi, pull):
    """States weigh alike."""
    g = Q - pull
    return pi * (g - (pi * g).sum(-1)[:, None]) / len(rho)


def centred_badly(P, gamma, rho, pi_k, Q, pi, pull):
    """Q less its even mean, in place of its mean under pi."""
    d = npg.occupancy(P, gamma, rho, pi_k)
    return d * (Q - Q.sum(-1)[:, None] / Q.shape[1])


def stale(access, params, rng):
    """Q of two policies before, at first of pi_0."""
    return _loop(access, params, lambda log_pi, first, seen, t: log_pi + t * seen[max(len(seen) - 3, 0)])


def forgetful(access, params, rng):
    """Each update from pi_0."""
    return _loop(access, params, lambda log_pi, first, seen, t: first + t * seen[-1])


def downhill(access, params, rng):
    """The wrong sign."""
    return _loop(access, params, lambda log_pi, first, seen, t: np.maximum(log_pi - min(t, 1e3) * seen[-1], -1e6))


def downhill_inexact(access, params, rng):
    """The wrong sign."""
    return downhill(access, params, rng)


def bold(access, params, rng):
    """Twice the step."""
    return mdpo.run(access, replace(params, t=2 * params.t), rng)


def timid(access, params, rng):
    """A twentieth of the step."""
    return mdpo.run(access, replace(params, t=params.t / 20), rng)


def hundredth(access, params, rng):
    """t = .01 throughout."""
    return mdpo.run(access, replace(params, t=0.01), rng)


def timid_soft(access, params, rng):
    """A twentieth of the step."""
    return mdpo.run_soft(access, replace(params, t=params.t / 20), rng)


def cold(access, params, rng):
    """No root of pi_k, as at tau = 0."""
    m, tau = access.model, params.tau
    return _loop(access, params, lambda log_pi, first, seen, t: log_pi + t / (1 + t * tau) * mdpo.soft_values(
        m.dense, m.r, m.gamma, log_pi, tau))


def forward(pi, A, t):
    """KL(pi, pi_k) again."""
    return np.exp(log_softmax(np.log(pi) + t * A))


def unweighted(pi, A, t):
    """pi_k (1 + t A), normalised: its first order."""
    return pi * (1 + t * A) / (pi * (1 + t * A)).sum()


def careless(access, params, rng):
    """A hundred times the errors."""
    return mdpo.run_inexact(access, replace(params, eps=100 * params.eps), rng)


def few(access, params, rng):
    """One return."""
    return mdpo.run_sampled(access, replace(params, n=1), rng)


def cut_short(access, params, rng):
    """Returns of one step."""
    return mdpo.run_sampled(access, replace(params, H=1), rng)


def _loop(access, params, update):
    """The algorithm with another update of (log pi, log pi_0, all Q so far, t); t = 1 where it is not given."""
    m = access.model
    first = np.log(params.start) if params.start is not None else np.full(m.r.shape, -np.log(m.A))
    steps = np.broadcast_to(1.0 if params.t is None else params.t, (params.T,))
    log_pi, logs, seen = first, [], []
    for t in steps.tolist():
        logs.append(log_pi)
        seen.append(mdpo.exponent(m.dense, m.r, m.gamma, np.exp(log_pi), 1.0))
        log_pi = log_softmax(update(log_pi, first, seen, t))
    trace = Trace(np.exp(logs), np.arange(params.T), {"log_pi": np.array(logs), "Q": np.array(seen), "t": steps})
    return Result(np.exp(log_pi), trace, params)
