"""Broken twins of MWU and of its formulas: what the checks must catch."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from algorithms.games import mwu
from mdpkit.records import Result, Trace


def leader(losses, eta, w=0.0):
    """Follow the leader: all on the least loss so far, ties to the lower index."""
    before = np.concatenate([np.zeros((1, losses.shape[1])), np.cumsum(losses, 0)[:-1]])
    return np.eye(losses.shape[1])[before.argmin(1)]


def delayed(losses, eta, w=0.0):
    """The last loss is not known yet."""
    return mwu.hedge(losses, eta, -1.0)


def untuned(losses, eta, w=0.0):
    """sqrt(8 ln A), whatever T."""
    return mwu.hedge(losses, eta * np.sqrt(len(losses)))


def delayed_run(access, params, rng):
    """Neither player knows the last round yet."""
    return _played(access, params, -1.0)


def undersized(access, params, rng):
    """An eighth of the step."""
    return mwu.run(access, replace(params, eta=params.eta / 8), rng)


def eager(access, params, rng):
    """The last loss counts three times."""
    return _played(access, params, 2.0)


def plain(access, params, rng):
    """MWU where OMWU is expected."""
    return mwu.run(access, params, rng)


def optimistic(access, params, rng):
    """OMWU where MWU is expected."""
    return mwu.run_optimistic(access, params, rng)


def last_pair(M, x, y):
    """The gap of the last iterates."""
    return mwu.gap(M, x[-1], y[-1]), *mwu.certificate(M, x, y)[1:]


def every_round(M, x, y):
    """Regret against the best action of each round."""
    losses, gains = (M * y[:, None, :]).sum(-1), (M.T * x[:, None, :]).sum(-1)
    paid = (x * losses).sum()
    return mwu.certificate(M, x, y)[0], paid - losses.min(1).sum(), gains.max(1).sum() - paid


def in_turn(M, x, y):
    """y answers x one round late: alternating play, of which each sees the other's loss."""
    late = np.concatenate([y[:1], y[:-1]])
    return mwu.certificate(M, x, y)[0], mwu.certificate(M, x, late)[1], mwu.certificate(M, x, y)[2]


def _played(access, params, w):
    log_x, log_y = mwu.self_play(access.model.r[1, 0, 0], params.eta, params.T, w, params.x, params.y)
    x, y = np.exp(log_x), np.exp(log_y)
    return Result((x.mean(0), y.mean(0)), Trace(x, np.arange(len(x)), {"y": y, "log_x": log_x, "log_y": log_y}),
                  params)
