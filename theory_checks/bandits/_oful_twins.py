"""Broken twins of OFUL and of its formulas: what the checks must catch."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from scipy.special import gammaincinv

from algorithms.bandits import oful
from mdpkit import rational
from mdpkit.jit import kernel
from mdpkit.records import Result
from mdpkit.worlds.bandits import start, step


class Played(NamedTuple):
    """What a round leaves."""

    arm: np.ndarray
    context: np.ndarray
    y: np.ndarray


def narrow(access, params, rng):
    """0.35 of the radius."""
    watch = access.watch
    access.watch = lambda first, log: watch(first, log._replace(radius=0.35 * log.radius))
    result = oful.run(access, params, rng)
    return replace(result, output=result.output._replace(radius=0.35 * result.output.radius))


def thinks_it_quiet(access, params, rng):
    """A quarter of R."""
    return oful.run(access, replace(params, R=params.R / 4), rng)


def greedy(access, params, rng):
    """No bonus."""
    return oful.run(access, replace(params, c=0.0), rng)


def explorer(access, params, rng):
    """A hundred times the bonus."""
    return oful.run(access, replace(params, c=100.0), rng)


def stubborn(access, params, rng):
    """The first arm for ever, with the honest ellipsoid of what it paid."""
    watch, access.watch = access.watch, None
    trace = access.drive(_first, (), Played(np.zeros((), int), np.zeros((), int), np.zeros(())), params.n, rng)
    x, paid = vars(access.known)["x"][0], np.append(0.0, np.cumsum(trace.info["y"]))
    weight = np.arange(params.n + 1.0) * float(np.einsum("i,i->", x, x))
    log_ratio = np.log1p(weight / params.lam)
    theta = (paid / (params.lam + weight))[:, None] * x
    radius = np.array([oful.radius(v, params.delta, params.lam, params.R, params.S) for v in log_ratio])
    watch(0, oful.Log(trace.index, trace.info["context"], trace.info["y"], theta[:-1], radius[:-1], log_ratio[:-1],
                      np.ones(params.n, np.int64)))
    return Result(oful.Ellipsoid(theta[-1], np.eye(len(x)), radius[-1], log_ratio[-1]), trace, params, access.samples)


def never_again(access, params, rng):
    """Updates once and never again."""
    return oful.run_rarely(access, replace(params, C=1e300), rng)


def always(access, params, rng):
    """Updates in each round."""
    return oful.run(access, replace(params, C=0.0), rng)


def greedy_rarely(access, params, rng):
    """No bonus."""
    return oful.run_rarely(access, replace(params, c=0.0), rng)


def third_of_the_radius(log_ratio, delta, R):
    """0.35 of the radius, squared."""
    return 0.35 * 0.35 * oful.boundary(log_ratio, delta, R)


def fixed_time(log_ratio, delta, R):
    """The quantile of chi-square with one degree of freedom: right at one time, for d = 1."""
    return R * R * 2.0 * float(gammaincinv(0.5, 1.0 - delta)) + 0.0 * log_ratio


def no_determinant(log_ratio, delta, R):
    """2 R^2 ln(1/delta)."""
    return oful.boundary(0.0 * log_ratio, delta, R)


def loose_third(t, d, delta, lam, R, S, L=1.0):
    """0.35 of the radius."""
    return 0.35 * oful.loose_radius(t, d, delta, lam, R, S, L)


def no_dimension(t, d, delta, lam, R, S, L=1.0):
    """d = 1 throughout."""
    return oful.loose_radius(t, 1, delta, lam, R, S, L)


def frozen(x, y, lam):
    """Norms by V_0 throughout."""
    theta, inverse, w = oful.ridge(x, y, lam)
    for t in range(len(x)):
        w[t] = sum(x[t] * x[t]) / lam
    return theta, inverse, w


def after(x, y, lam):
    """Norms by V_t in place of V_{t-1}."""
    theta, inverse, w = oful.ridge(x, y, lam)
    return theta, inverse, w / (1 + w)


def thin_regulariser(x, y, lam):
    """lambda/100, below L^2."""
    return oful.ridge(x, y, lam / 100)


def plain_mean(x, y, lam):
    """N_i in place of N_i + lambda in the estimate."""
    theta, inverse, w = oful.ridge(x, y, lam)
    counts = [sum(column) for column in (x * x).T]
    return np.array([t * (n + lam) / n if n > 0 else t for t, n in zip(theta, counts)], x.dtype), inverse, w


def late(x, y, lam):
    """The width before the last play."""
    _, inverse, _ = oful.ridge(x[:-1], y[:-1], lam)
    theta, _, w = oful.ridge(x, y, lam)
    return theta, inverse, w


def half_a_phantom(x, y, lam):
    """lambda/2 phantom samples."""
    return oful.ridge(x, y, lam / rational.rational(2.0))


def _first_body(world, log, first, rng):
    for k in range(len(log.arm)):
        log.context[k] = start(world)
        log.y[k] = step(world, 0)
        log.arm[k] = 0


_first = kernel(_first_body)
