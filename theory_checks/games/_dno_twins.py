"""Broken twins of DNO and of its formulas: what the checks must catch."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from algorithms.games import dno
from mdpkit import losses
from mdpkit.records import Result, Trace


def hard_labels(D, r, log_new, log_old, eta):
    """1[r(y) > r(z)] in place of s."""
    return dno.contrastive(D, 1e6 * r, log_new, log_old, eta)


def unscaled(D, r, log_new, log_old, eta):
    """No eta in d."""
    value, slope = dno.contrastive(D, r, log_new, log_old, 1.0)
    return value, slope


def unanchored(D, r, log_new, log_old, eta):
    """log pi in place of log pi/pi_t."""
    return dno.contrastive(D, r, log_new, 0.0 * log_old, eta)


def flipped(access, params, rng):
    """The sign of r is changed."""
    return _result(access, params, lambda p, log_pi, seen: -(p * np.exp(log_pi)).sum(1))


def first_opponent(access, params, rng):
    """Win rates against pi_1 for ever."""
    return _result(access, params, lambda p, log_pi, seen: (p * np.exp(seen[0])).sum(1))


def uniform_opponent(access, params, rng):
    """Win rates against the uniform policy."""
    return _result(access, params, lambda p, log_pi, seen: p.mean(1))


def half_steps(access, params, rng):
    """2 eta in place of eta."""
    return dno.run(access, replace(params, eta=2 * params.eta), rng)


def last_policy(access, params, rng):
    """The last policy in place of the average."""
    result = dno.run(access, params, rng)
    return replace(result, output=(result.output[1],) * 2)


def own_pairs(access, params, rng):
    """Labels by p(y, z) itself, not by the difference of win rates: a fit of rewards, not of r_t."""
    def fit(p, log_pi, seen):
        pi = np.exp(log_pi)
        return dno.bradley_terry(pi[:, None] * pi * p, params.phi)

    return _result(access, params, fit)


def uneven(access, params, rng):
    """The features lose their last column."""
    return dno.run_linear(access, replace(params, phi=np.asarray(params.phi)[:, :-1]), rng)


def direct_labels(p, log_pi, N, rng):
    """Labels by p(y, z), which is not averaged over an opponent."""
    pi = np.exp(log_pi)
    D = (pi[:, None] * pi).ravel()
    shown = rng.multinomial(N, D / D.sum()).reshape(len(pi), len(pi))
    won = rng.binomial(shown, p)
    return dno.bradley_terry((won + (shown - won).T) / N)


def few_pairs(p, log_pi, N, rng):
    """500 of the pairs are looked at."""
    return dno.regress(p, log_pi, min(N, 500), rng)


def _result(access, params, fit):
    p, seen = access.model.p[0], [np.log(access.model.pi_ref[0])]
    for _ in range(params.T):
        seen.append(losses.log_softmax(seen[-1] + fit(p, seen[-1], seen) / params.eta))
    log_pi = np.array(seen)
    pi = np.exp(log_pi)
    return Result((pi[:-1].mean(0), pi[-1]), Trace(pi[:-1], np.arange(params.T), {"log_pi": log_pi}), params)
