"""Broken twins of DPO and of the formulas around it: what the checks must catch."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from algorithms.preferences import dpo
from mdpkit import losses
from mdpkit.records import Pairs, Result


def untempered(r, log_ref, beta):
    """exp(r), whatever beta."""
    return dpo.closed_form(r, log_ref, 1.0)


def flat(r, log_ref, beta):
    """The uniform policy for pi_ref."""
    return dpo.closed_form(r, np.full(r.shape, -math.log(r.shape[1])), beta)


def clipped(r, log_ref, beta):
    """Rewards below 0 count as 0."""
    return dpo.closed_form(np.maximum(r, 0.0), log_ref, beta)


def turned(log_pi, r, log_ref, beta, rho):
    """KL(pi* || pi)."""
    best = dpo.closed_form(r, log_ref, beta)[0]
    return beta * float((rho * (np.exp(best) * (best - log_pi)).sum(-1)).sum())


def even(log_pi, r, log_ref, beta, rho):
    """All prompts alike."""
    return dpo.suboptimality(log_pi, r, log_ref, beta, np.full(len(rho), 1 / len(rho)))


def centred(r, log_ref, beta):
    """r less its mean."""
    return r - r.mean(-1, keepdims=True)


def centred_under_reference(r, log_ref, beta):
    """r less its mean under pi_ref."""
    return r - (np.exp(log_ref) * r).sum(-1, keepdims=True)


def reversed_labels(W, log_pi, log_ref, beta):
    """softplus(h) for softplus(-h)."""
    return dpo.loss(W.transpose(0, 2, 1), log_pi, log_ref, beta)


def unreferenced(W, log_pi, log_ref, beta):
    """The implicit reward is beta log pi."""
    return dpo.loss(W, log_pi, np.zeros(log_pi.shape), beta)


def unscaled(W, log_pi, log_ref, beta):
    """beta = 1."""
    return dpo.loss(W, log_pi, log_ref, 1.0)


def unweighted(W, log_pi, log_ref, beta):
    """Every pair pushes alike."""
    return dpo.loss(W, log_pi, log_ref, beta)[0], beta * (W.sum(1) - W.sum(2))


def in_rewards(W, log_pi, log_ref, beta):
    """The chain rule's beta is forgotten."""
    value, g = dpo.loss(W, log_pi, log_ref, beta)
    return value, g / beta


def tethered(W, log_pi, log_ref, beta):
    """A hundredth of KL(pi || pi_ref) on top."""
    value, g = dpo.loss(W, log_pi, log_ref, beta)
    more, slope = losses.reverse_kl(log_pi, log_ref, np.full(len(W), 1 / len(W)))
    return value + 0.01 * more, g + 0.01 * slope


def likelihood(W, log_pi, log_ref, beta):
    """Supervised fine-tuning on winners."""
    won = W.sum(2)
    return -float((won * log_pi).sum()), np.exp(log_pi) * won.sum(-1, keepdims=True) - won


def reversed_fit(access, data, params, rng):
    """Winner and loser change places."""
    return dpo.run(access, data._replace(win=data.lose, lose=data.win), params, rng)


def reversed_linear(access, data, params, rng):
    """Winner and loser change places."""
    return dpo.run_linear(access, data._replace(win=data.lose, lose=data.win), params, rng)


def smoothed_fit(access, data, params, rng):
    """A tenth of each comparison counts for the loser."""
    return dpo.run(access, _smoothed(data), params, rng)


def smoothed_linear(access, data, params, rng):
    """A tenth of each comparison counts for the loser."""
    return dpo.run_linear(access, _smoothed(data), params, rng)


def flat_fit(access, data, params, rng):
    """pi ~ exp(rhat/beta)."""
    pi = dpo.run(access, data, params, rng).output / access.known.pi_ref
    return Result(pi / pi.sum(-1, keepdims=True), None, params)


def half_of_it(access, data, params, rng):
    """Each comparison is dropped with probability 1/2."""
    return dpo.run(access, data._replace(count=rng.binomial(data.count, 0.5)), params, rng)


def one_sweep(access, data, params, rng):
    """The loosest tolerance: what one sweep from 0 may leave."""
    return dpo.run_rlhf(access, data, replace(params, tol=0.02), rng)


def win_rates(access, data, params, rng):
    """The log-odds of each response's share of wins, in place of Bradley-Terry's likelihood."""
    W = losses.weights(data, *access.known.pi_ref.shape)
    r = np.log(W.sum(2)) - np.log(W.sum(1))
    return Result(np.exp(dpo.closed_form(r, np.log(access.known.pi_ref), access.known.beta)[0]), None, params)


def _smoothed(data):
    part = np.asarray(data.count, float)
    return Pairs(np.tile(data.x, 2), np.append(data.win, data.lose), np.append(data.lose, data.win),
                 np.append(0.9 * part, 0.1 * part))
