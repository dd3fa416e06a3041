"""Broken twins of MMD: what the checks must catch."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from algorithms.games import mmd
from mdpkit.access import Exact
from mdpkit.losses import log_softmax
from mdpkit.models.games import MarkovGame
from mdpkit.records import Result, Trace
from theory_checks.games._mmd_plays import action_values


def free(access, params, rng):
    """alpha = 0: mirror descent."""
    return mmd.run(access, replace(params, alpha=0.0), rng)


def doubled(access, params, rng):
    """alpha doubled."""
    return mmd.run(access, replace(params, alpha=2 * params.alpha), rng)


def faster(access, params, rng):
    """20 times the step."""
    return mmd.run(access, replace(params, eta=20 * params.eta), rng)


def twice(access, params, rng):
    """Twice the step."""
    return mmd.run(access, replace(params, eta=2 * params.eta), rng)


def still(access, params, rng):
    """The magnet stays."""
    return mmd.run(access, replace(params, K=0), rng)


def seldom(access, params, rng):
    """A fifth of the phases."""
    return mmd.run(access, replace(params, K=5 * params.K), rng)


def unrooted(access, params, rng):
    """The root is taken of what is learnt, not of the magnet's share."""
    def step(u, q, rho):
        pull = params.eta * params.alpha
        return log_softmax((u + params.eta * q) / (1 + pull) + pull * rho)

    return _loop(access, params, step)


def in_turn(access, params, rng):
    """y sees the new x."""
    return _loop(access, params, None, turns=True)


def downhill(access, params, rng):
    """y goes down."""
    A = access.model.r[0, 0, 0]
    return mmd.run(Exact(MarkovGame.matrix(A, -A)), params, rng)


def best_response(access, params, rng):
    """Both play best responses, but for a millionth."""
    def step(u, q, rho):
        return log_softmax(np.where(q == q.max(-1, keepdims=True), 0.0, np.log(1e-6)))

    return _loop(access, params, step)


def half(access, params, rng):
    """Half the step."""
    return mmd.run_tree(access, replace(params, eta=params.eta / 2), rng)


def huge(access, params, rng):
    """500 times the step."""
    return mmd.run_tree(access, replace(params, eta=500 * params.eta), rng)


def free_tree(access, params, rng):
    """alpha = 0: mirror descent."""
    return mmd.run_tree(access, replace(params, alpha=0.0), rng)


def constant(access, params, rng):
    """alpha = .5 throughout."""
    return mmd.run_tree(access, replace(params, alpha=0.5), rng)


def deaf(access, params, rng):
    """Player 2 stays."""
    result = mmd.run_tree(access, params, rng)
    n = access.model.first[2]
    return Result(np.concatenate([result.output[:n], params.start[n:]]), result.trace, params)


def counterfactual(access, params, rng):
    """q times the probability that chance and the other let h be reached: counterfactual values."""
    plays, eta, alpha, log_pi = access.model, params.eta, params.alpha, np.full(24, np.log(0.5))
    for _ in range(params.T):
        pi = np.exp(log_pi)
        q, reach = action_values(plays, pi)
        own = np.ones(24)
        for root in (0, 4, 8):                               # a second move of player 1 follows his pass
            own[root + 2: root + 4] = pi[root]
        logits = (log_pi + eta * q * reach / own) / (1 + eta * alpha)
        log_pi = log_softmax(logits.reshape(-1, 2)).ravel()
    return Result(np.exp(log_pi), None, params)


def ahead(plays, log_pi, h, params, rng):
    """Player 2's posterior is that of the searched player 1."""
    if h >= 2:
        mine = [mmd.search(plays, log_pi, k, params, rng) for k in range(2)]
        log_pi = np.concatenate([*mine, log_pi[plays.first[2]:]])
    return mmd.search(plays, log_pi, h, params, rng)


def prior(plays, log_pi, h, params, rng):
    """No posterior: player 1 is not heard."""
    n = plays.first[2]
    return mmd.search(plays, np.concatenate([np.full(n, np.log(2 / n)), log_pi[n:]]) if h >= 2 else log_pi, h, params,
                      rng)


def few(plays, log_pi, h, n, rng):
    """A sixteenth of the rollouts."""
    return mmd.rollouts(plays, log_pi, h, n // 16, rng)


def uniform(plays, log_pi, h, n, rng):
    """The others' replies are uniform."""
    return mmd.rollouts(plays, np.full(len(log_pi), -np.log(3)), h, n, rng)


def _loop(access, params, step, turns=False):
    """The algorithm in numpy for one game, with another step on (log-policy, values, log-magnet)."""
    A, B = access.model.r[:, 0, 0]
    starts = params.start or [np.full(k, 1 / k) for k in A.shape]
    x, y = (np.log(np.atleast_2d(z)[0]) for z in starts)
    rho_x, rho_y = (np.log(np.atleast_2d(z)[0]) for z in params.magnet or starts)
    pull = params.eta * params.alpha

    def own(u, q, rho):
        return log_softmax((u + params.eta * q + pull * rho) / (1 + pull))

    step, xs, ys = step or own, [x], [y]
    for _ in range(params.T):
        new = step(x, A @ np.exp(y), rho_x)
        y = step(y, B.T @ np.exp(new if turns else x), rho_y)
        x = new
        xs.append(x)
        ys.append(y)
    u, v = np.array(xs)[:, None], np.array(ys)[:, None]
    info = {"y": np.exp(v[:-1]), "log_x": u[:-1], "log_y": v[:-1]}
    return Result((np.exp(u[-1]), np.exp(v[-1])), Trace(np.exp(u[:-1]), np.arange(params.T), info), params)
