"""Broken twins of Nash mirror prox: what the checks must catch."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from algorithms.games import nash_md, nash_mp
from mdpkit.losses import log_softmax
from mdpkit.records import Result, Trace


def single(access, params, rng):
    """h is the next policy: one call of p an iteration. It is self-play at the step gam/(1 + gam beta)."""
    eta = params.gam / (1 + params.gam * access.model.beta)
    result = nash_md.run_self(access, nash_md.Params(params.K, eta, params.start), rng)
    return Result(result.output, result.trace, params)


def wrong_centre(access, params, rng):
    """Step 3 starts from h."""
    return _loop(access, params, lambda prox, c, h, p: prox(h, p(h)))


def one_opponent(access, params, rng):
    """Step 3 against pi_k again, by gradient steps: both answers are the same."""
    out = [np.log(access.model.pi_ref)]
    for _ in range(params.K):
        one = nash_mp.run_gradient(access, replace(params, K=1, start=np.exp(out[-1])), rng)
        out.append(one.trace.info["log_half"][0])  # type: ignore[union-attr]
    return _result(out, params)


def undivided(access, params, rng):
    """Step 3 without the division by 1 + gam beta."""
    def last(prox, c, h, p):
        beta, ref = access.model.beta, np.log(access.model.pi_ref)
        return log_softmax(c + params.gam * beta * ref + params.gam * p(h))

    return _loop(access, params, last)


def gam_four(access, params, rng):
    """gam = 4."""
    return nash_mp.run(access, replace(params, gam=4.0), rng)


def timid(access, params, rng):
    """gam = .05."""
    return nash_mp.run(access, replace(params, gam=0.05), rng)


def slow(access, params, rng):
    """Nash-MD at the step of its theorem."""
    result = nash_md.run(access, nash_md.Params(params.K, start=params.start), rng)
    return Result(result.output, result.trace, params)


def backward(log_pi, log_star, beta):
    """KL(pi* || pi) on the left."""
    return nash_mp.sandwich(log_star, log_pi, beta)[0], nash_mp.sandwich(log_pi, log_star, beta)[1]


def sixteenth(log_pi, log_star, beta):
    """1/(16 beta)."""
    low, high = nash_mp.sandwich(log_pi, log_star, beta)
    return low, low + (high - low) / 4


def root(access, params, rng):
    """Errors of sqrt(eps)."""
    return nash_mp.run_noisy(access, replace(params, eps=np.sqrt(params.eps)), rng)


def one_label(access, params, rng):
    """One label, whatever n."""
    return nash_mp.run_sampled(access, replace(params, n=1), rng)


def root_labels(access, params, rng):
    """The root of n labels."""
    return nash_mp.run_sampled(access, replace(params, n=int(np.sqrt(params.n))), rng)


def fresh(access, params, rng):
    """Inner loops start at pi_ref."""
    model, a = access.model, params.a
    ref = np.log(model.pi_ref)

    def prox(c, g):
        out = ref
        for _ in range(params.m):
            s = g - model.beta * (out - ref) - (out - c) / params.gam
            pi = np.exp(out)
            out = log_softmax(out + a * pi * (s - (pi * s).sum(-1, keepdims=True)))
        return out

    logs = [ref]
    for _ in range(params.K):
        h = prox(logs[-1], np.einsum("xyz,xz->xy", model.p, np.exp(logs[-1])))
        logs.append(prox(logs[-1], np.einsum("xyz,xz->xy", model.p, np.exp(h))))
    return _result(logs, params)


def _loop(access, params, last):
    """The algorithm in numpy, with another second step: ``last`` gets prox, its centre, h and the query."""
    model, gam = access.model, params.gam
    ref = np.log(model.pi_ref)
    logs = [ref if params.start is None else np.log(params.start)]
    halves = []

    def query(log_pi):
        return np.einsum("xyz,xz->xy", model.p, np.exp(log_pi))

    def prox(c, g):
        return log_softmax((c + gam * model.beta * ref + gam * g) / (1 + gam * model.beta))

    for _ in range(params.K):
        halves.append(prox(logs[-1], query(logs[-1])))
        logs.append(last(prox, logs[-1], halves[-1], query))
    return _result(logs, params, halves)


def _result(logs, params, halves=None):
    logs = np.array(logs)
    info = {"log_pi": logs[:-1], "log_half": logs[1:] if halves is None else np.array(halves)}
    return Result(np.exp(logs[-1]), Trace(np.exp(logs[:-1]), np.arange(params.K), info), params)
