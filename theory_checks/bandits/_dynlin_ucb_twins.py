"""Broken twins of DynLin-UCB and of its formulas: what the checks must catch."""

from __future__ import annotations

from dataclasses import replace

from algorithms.bandits import dynlin_ucb


def _scaled(access, params, rng, run, share):
    """The run, with that share of its radius in the log."""
    watch = access.watch
    access.watch = lambda first, log: watch(first, log._replace(radius=share * log.radius))
    return run(access, params, rng)


def narrow(access, params, rng):
    """A tenth of the radius."""
    return _scaled(access, params, rng, dynlin_ucb.run, 0.1)


def narrow_up(access, params, rng):
    """A tenth of the radius, H_m rounded up."""
    return _scaled(access, params, rng, dynlin_ucb.run_up, 0.1)


def not_up(access, params, rng):
    """H_m rounded down."""
    return dynlin_ucb.run(access, params, rng)


def no_persistence(access, params, rng):
    """H_m = 0."""
    return dynlin_ucb.run_linucb(access, params, rng)


def last_of_the_first(access, params, rng):
    """Trusts a rhobar of its fifth power: a fifth of the persistence."""
    return dynlin_ucb.run(access, replace(params, rhobar=params.rhobar**5), rng)


def no_state(A, B, omega, theta, H=None):
    """theta: what pays at once."""
    return theta


def truncated(A, B, omega, theta, H=None):
    """h^20 in place of h."""
    return dynlin_ucb.markov_parameter(A, B, omega, theta, 20)


def untransposed(A, B, omega, theta, H=None):
    """A' in place of A."""
    return dynlin_ucb.markov_parameter(A.T.copy(), B, omega, theta, H)


def no_transient(H, rhobar, Phi, U, Om, Bb, X):
    """Phi = 1."""
    return dynlin_ucb.bias_bound(H, rhobar, 1.0, U, Om, Bb, X)


def twice_as_fast(H, rhobar, Phi, U, Om, Bb, X):
    """rhobar^(2H)."""
    return dynlin_ucb.bias_bound(2 * H, rhobar, Phi, U, Om, Bb, X)


def from_zero(H, rhobar, Phi, U, Om, Bb, X):
    """As if the state were 0."""
    return dynlin_ucb.bias_bound(H, rhobar, Phi, U, Om, Bb, 0.0)
