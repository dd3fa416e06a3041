"""Broken twins of RPO: what the checks must catch."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from algorithms.preferences import rpo
from mdpkit import losses
from mdpkit.records import Result


def unscaled_loss(problem, log_pi):
    """The SFT loss weighs eta."""
    return rpo.policy_loss(problem._replace(eta=problem.eta / problem.beta), log_pi)


def sft_on_reference(problem, log_pi):
    """The SFT loss is on responses of pi_ref."""
    return rpo.policy_loss(problem._replace(base=np.exp(problem.log_ref)), log_pi)


def unscaled(access, data, params, rng):
    """The SFT loss weighs eta."""
    return rpo.run(access, data, replace(params, eta=params.eta / access.known.beta), rng)


def unscaled_linear(access, data, params, rng):
    """The SFT loss weighs eta."""
    return rpo.run_linear(access, data, replace(params, eta=params.eta / access.known.beta), rng)


def on_reference(access, data, params, rng):
    """The SFT loss is on responses of pi_ref."""
    return rpo.run(access, data, replace(params, base=access.known.pi_ref), rng)


def dpo(access, data, params, rng):
    """No SFT loss."""
    return rpo.run_dpo(access, data, params, rng)


def tabular(access, data, params, rng):
    """The class of all policies."""
    return rpo.run(access, data, params, rng)


def _gibbs(access, data, params, rng, linear, factor, eta):
    problem = rpo.given(access, data, params, rng)
    if linear:
        problem = problem._replace(phi=access.known.phi)
    r = rpo.worst_reward(problem._replace(eta=eta * problem.eta))[0]
    return Result(np.exp(losses.gibbs(problem.log_ref, factor * r, problem.beta)), None, params, access.samples)


def likeliest(access, data, params, rng):
    """The most likely reward, with a millionth of the penalty."""
    return _gibbs(access, data, params, rng, False, 1.0, 1e-6)


def cold(access, data, params, rng):
    """Half of beta in the policy of rhat."""
    return _gibbs(access, data, params, rng, False, 2.0, 1.0)


def against(access, data, params, rng):
    """The policy of -rhat."""
    return _gibbs(access, data, params, rng, False, -1.0, 1.0)


def against_linear(access, data, params, rng):
    """The policy of -rhat."""
    return _gibbs(access, data, params, rng, True, -1.0, 1.0)
