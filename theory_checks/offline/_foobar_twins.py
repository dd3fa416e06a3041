"""Broken twins of FOOBAR and of the bounds in its analysis: what the checks must catch."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from algorithms.offline import foobar
from mdpkit.kernels.backward import Rollouts
from mdpkit.kernels.play import play
from mdpkit.measure import plain
from mdpkit.records import Result, StateOnlyDataset


def own_law(P, r, rho, mu, f, pi_e):
    """The errors under the law of the policy that is learned."""
    d = plain.state_law(P, rho, plain.probabilities(f.argmax(-1), r))
    return foobar._roots(plain.state_coverage(P, rho, mu, pi_e), foobar.critic_errors(P, r, d, f), r.shape[-1])


def one_root(P, r, rho, mu, f, pi_e):
    """1 in place of 2."""
    return foobar.reset_bound(P, r, rho, mu, f, pi_e) / 2


def no_coverage(P, r, rho, mu, f, pi_e):
    """As if the data had the comparator's law."""
    return foobar._roots([1] * len(r), foobar.critic_errors(P, r, mu, f), r.shape[-1])


def skips_holes(P, r, rho, mu, f, pi_e):
    """Finite where mu misses a state that the comparator visits."""
    d = plain.state_law(P, rho, pi_e)
    C = [(d[h][mu[h] > 0] / mu[h][mu[h] > 0]).max() for h in range(len(r))]
    return foobar._roots(C, foobar.critic_errors(P, r, mu, f), r.shape[-1])


def uniform_actions(P, m, target):
    """Does not look at the target."""
    S, A = P.shape[:2]
    return np.full((S, A), 1.0 / A), np.zeros(S)


def deterministic(P, m, target):
    """The likeliest action of the best policy."""
    pi, g = foobar.match_by_program(P, m, target)
    return np.eye(P.shape[1])[pi.argmax(-1)], g


def no_distance(P, rho, mu, roll_in, pi_e, g, top):
    """As if the roll-in had the law mu."""
    return foobar.transfer(P, rho, mu, roll_in, pi_e, g, 0)


def half_weight(P, rho, mu, roll_in, pi_e, g, top):
    """G/4 in place of G/2."""
    whole, none = (foobar.transfer(P, rho, mu, roll_in, pi_e, g, x) for x in (top, 0))
    return [math.inf if x == math.inf else (x + y) / 2 for x, y in zip(whole, none)]


def traces_own_law(P, r, rho, mu, roll_in, f, pi_e):
    """The errors under the law of the policy that is learned, the distance as it is."""
    d, own = (plain.state_law(P, rho, pi) for pi in (roll_in, plain.probabilities(f.argmax(-1), r)))
    errors = foobar.critic_errors(P, r, own, f) + len(r) * len(r) * np.abs(d - mu).sum(-1) / 2
    return foobar._roots(plain.state_coverage(P, rho, mu, pi_e), errors, r.shape[-1])


def traces_no_distance(P, r, rho, mu, roll_in, f, pi_e):
    """As if the roll-in had the law mu."""
    errors = foobar.critic_errors(P, r, plain.state_law(P, rho, roll_in), f)
    return foobar._roots(plain.state_coverage(P, rho, mu, pi_e), errors, r.shape[-1])


def by_distance(P, rho, mu, steps=0, eta=0.0):
    """Linear programmes in L1."""
    return foobar.forward(P, rho, mu)[0]


def rolls_in_at_random(access, data, params, rng):
    """Uniform actions on the way in."""
    return foobar.run_backward(access, np.full(data.shape, 1.0 / data.shape[-1]), params, rng)


def hasty(access, data, params, rng):
    """Two samples a step."""
    return foobar.run_backward(access, data, replace(params, n=2), rng)


def sighted(access, data, params, rng):
    """Sees whether the lock is still good, and tries one action after the other, step by step."""
    H, S, A = data.shape
    policy, f = np.zeros((H, S), np.int64), np.zeros((H, 1, A))
    for h in range(H):
        for a in range(A):
            policy[h] = a
            _, _, r, after = access.call(play, policy)
            if (r[h] > 0) if h == H - 1 else (after[h] == 0):
                f[h, 0, a] = 1.0
                break
    return Result(Rollouts(policy, f * (r[H - 1] > 0), f), None, params, access.samples)


def from_the_bad(access, data, params, rng):
    """Only rows of the second state."""
    return foobar.run_reset(access, StateOnlyDataset(data.s[1:], data.behaviour), params, rng)
