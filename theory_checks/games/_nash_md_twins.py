"""Broken twins of Nash-MD: what the checks must catch."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from algorithms.games import nash_md
from mdpkit.losses import log_softmax
from mdpkit.records import Result, Trace


def swapped(access, params, rng):
    """(eta tau) on pi_t and (1 - eta tau) on mu; the share 1, where nothing would be left of pi_t, becomes 3/4."""
    return _loop(access, params, lambda w, a, b: np.minimum(w, 0.75) * a + (1 - np.minimum(w, 0.75)) * b)


def swapped_exactly(access, params, rng):
    """(eta tau) on pi_t and (1 - eta tau) on mu."""
    return _loop(access, replace(params, T=params.T // 20, every=params.T // 20),
                 lambda w, a, b: w * a + (1 - w) * b)          # by 1 - eta tau a step: settled long before


def unregularised(access, params, rng):
    """No mixture: Hedge with the steps of Nash-MD."""
    model = access.model
    return nash_md._play(model, nash_md._steps(params, model.beta), 0.0, False, params, rng)


def twice(access, params, rng):
    """Twice the step in line 6, the mixture as it was."""
    model = access.model
    return nash_md._play(model, 2 * nash_md._steps(params, model.beta), model.beta / 2, False, params, rng)


def constant(access, params, rng):
    """The constant step 1/(2 tau)."""
    return nash_md.run(access, replace(params, eta=0.5 / access.model.beta), rng)


def itself(access, params, rng):
    """The opponent is pi_t."""
    return nash_md.run_self(access, params, rng)


def mixed(access, params, rng):
    """The opponent is the mixture."""
    return nash_md.run(access, params, rng)


def half_weight(access, params, rng):
    """Half of tau in the mixture, self-play."""
    model = access.model
    return nash_md._play(model, nash_md._steps(params, model.beta), model.beta / 2, True, params, rng)


def half_weight_mixed(access, params, rng):
    """Half of tau in the mixture."""
    model = access.model
    return nash_md._play(model, nash_md._steps(params, model.beta), model.beta / 2, False, params, rng)


def regularised(access, params, rng):
    """Nash-MD with tau = .1 and no larger step than that allows."""
    model, etas = access.model, np.full(params.T, min(params.eta, 10.0))
    return nash_md._play(model, etas, 0.1, False, params, rng)


def optimistic(access, params, rng):
    """2 g_t - g_{t-1} in place of g_t."""
    return _loop(access, params, lambda w, a, b: a, lambda g, last: 2 * g - last)


def frozen(access, params, rng):
    """The first g for ever."""
    return _loop(access, params, lambda w, a, b: a, lambda g, last: last, keep=True)


def sluggish(access, params, rng):
    """A sixteenth of the step."""
    return nash_md.run_hedge(access, replace(params, eta=params.eta / 16), rng)


def constant_half(access, params, rng):
    """The constant step .5."""
    return nash_md.run_sampled(access, replace(params, eta=0.5), rng)


def bold(access, params, rng):
    """The constant step 1/tau: nothing is remembered."""
    return nash_md.run_sampled(access, replace(params, eta=1 / access.known.beta), rng)


def slow(access, params, rng):
    """Steps 1/(tau sqrt(t + 1))."""
    known, etas = access.known, 1 / (access.known.beta * np.sqrt(np.arange(1.0, params.T + 1)))
    log_pi, settings = np.log(known.pi_ref), np.array([known.beta, params.every])
    row = nash_md.Log(np.zeros(log_pi.shape), np.zeros(log_pi.shape))
    trace = access.drive(nash_md._sample, (np.log(known.pi_ref), etas, settings, log_pi), row,
                         params.T // params.every, rng)
    return Result(np.exp(log_pi), trace, params, access.samples)


def deaf(access, params, rng):
    """The first labels for ever: one step of Nash-MD from mu says them all."""
    first = nash_md.run_sampled(access, nash_md.Params(1), rng)
    logs = np.log(first.output)
    n = params.T // params.every
    return Result(first.output, Trace(np.exp(logs)[None], np.zeros(n, np.int64), {"log_pi": np.stack([logs] * n)}),
                  params, access.samples)


def _loop(access, params, mix, feedback=lambda g, last: g, keep=False):
    """Nash-MD in numpy, with another mixture of share w of mu, and another feedback from g and the one before."""
    model = access.model
    log_mu, start = np.log(model.pi_ref), model.pi_ref if params.start is None else params.start
    log_pi, last, logs = np.log(start), None, []
    for t in range(params.T):
        if t % params.every == 0:
            logs.append(log_pi)
        eta = 2 / (model.beta * (t + 2)) if params.eta is None else params.eta
        m = log_softmax(mix(eta * model.beta, log_pi, log_mu))
        g = np.einsum("xyz,xz->xy", model.p, np.exp(m))
        last = g if last is None else last
        log_pi = log_softmax(m + eta * feedback(g, last))
        last = last if keep else g
    return Result(np.exp(log_pi), Trace(np.exp(logs), np.arange(len(logs)), {"log_pi": np.array(logs)}), params)
