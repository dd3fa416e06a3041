"""Broken twins of PSRL and of its formulas: what the checks must catch."""

from __future__ import annotations

from dataclasses import replace

import flint

from algorithms.exploration import psrl
from algorithms.exploration.psrl import Log, plan, play, sample
from mdpkit.jit import kernel
from mdpkit.kernels.copy import copy
from mdpkit.records import Result


def counts_twenty_times(alpha, n, stop):
    """Each observation counts 20 times."""
    return psrl._foreseen(alpha, n, stop, lambda mind, t: psrl._raised(mind, t, 20))


def forgets_the_first(alpha, n, stop):
    """Outcomes 0 are not counted."""
    return psrl._foreseen(alpha, n, stop, lambda mind, t: psrl._raised(mind, t, 1) if t else mind)


def other_prior(alpha, n, stop):
    """A learner whose prior is 1 larger everywhere."""
    return psrl.foreseen([flint.fmpq(a) + 1 for a in alpha], n, stop)


def greedy(access, params, rng):
    """Optimal for the posterior mean."""
    return _drive(access, params, rng, 1.0, 0, 1)


def contrarian(access, params, rng):
    """The worst policy of a sample, drawn every hundredth episode."""
    return _drive(access, params, rng, -1.0, 1, 100)


def prior_of_another_world(access, params, rng):
    """alpha0 = 5."""
    return psrl.run(access, replace(params, alpha0=5.0), rng)


def quarter(alpha, delta):
    """A quarter of the radius."""
    return psrl.width(alpha, delta) / 4


def _drive(access, params, rng, sign, samples, every):
    mind = psrl.opened(access, params)
    mind = mind._replace(r=sign * mind.r)
    trace = access.drive(_other, (mind, samples, every), Log(mind.policy, mind.V), params.K, rng)
    return Result(mind.belief, trace, params, access.samples)


def _other_body(world, mind, samples, every, log, first, rng):
    belief, P = mind.belief, mind.P
    S, A, _ = P.shape
    for k in range(len(log.policy)):
        if (first + k) % every == 0:
            if samples == 1:
                sample(belief, P, rng)
            else:
                for s in range(S):
                    for a in range(A):
                        total = 0.0
                        for t in range(S):
                            total += belief[s, a, t]
                        for t in range(S):
                            P[s, a, t] = belief[s, a, t] / total
            plan(P, mind.r, mind.policy, mind.V)
        copy(log.policy[k], mind.policy)
        copy(log.V[k], mind.V)
        play(world, mind.policy, belief, 1.0)


_other = kernel(_other_body)
