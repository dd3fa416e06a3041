"""Broken twins of HyPO and of the formulas around it: what the checks must catch."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from algorithms.preferences import hypo
from mdpkit import losses
from mdpkit.records import Result


def unreferenced(W, pi, pi_ref, beta):
    """The implicit reward is beta log pi."""
    return losses.pairwise(W, beta * np.log(pi))[0]


def unscaled(W, pi, pi_ref, beta):
    """beta = 1."""
    return hypo.loss(W, pi, pi_ref, 1.0)


def hybrid(access, data, params, rng):
    """HyPO where DPO is expected to fail."""
    return hypo.run(access, data, replace(params, lam=0.05), rng)


def pure_dpo(access, data, params, rng):
    """No KL term."""
    return hypo.run_dpo(access, data, replace(params, T=2000, every=1), rng)


def compared_only(r, rhat, pi_ref, rho, beta):
    """eps from the first two responses."""
    own, local, everywhere = hypo.gap_bounds(r, rhat, pi_ref, rho, beta)
    D = (r - rhat)[:, :2]
    mass = 2 * pi_ref[:, 0] * pi_ref[:, 1]
    seen = float(rho @ (mass * (D[:, 0] - D[:, 1]) ** 2))
    all_of_it = max(hypo.reward_error(r, rhat, pi_ref, rho), 1e-300)
    shrink = math.sqrt(seen / all_of_it)
    return own * shrink, local * shrink, everywhere * shrink


def bare(r, rhat, pi_ref, rho, beta):
    """sqrt(eps) alone."""
    return (math.sqrt(hypo.reward_error(r, rhat, pi_ref, rho)), *hypo.gap_bounds(r, rhat, pi_ref, rho, beta)[1:])


def unrooted(r, rhat, pi_ref, rho, beta):
    """eps in place of its root."""
    root = math.sqrt(hypo.reward_error(r, rhat, pi_ref, rho))
    return tuple(root * b for b in hypo.gap_bounds(r, rhat, pi_ref, rho, beta))


def half_ball(r, rhat, pi_ref, rho, beta):
    """The local coefficient of a ball half as large."""
    own, _, everywhere = hypo.gap_bounds(r, rhat, pi_ref, rho, beta)
    e = max(losses.reverse_kl(losses.gibbs(np.log(pi_ref), x, beta), np.log(pi_ref), rho)[0] for x in (r, rhat))
    root = math.sqrt(hypo.reward_error(r, rhat, pi_ref, rho))
    return own, hypo.local_coverage(pi_ref, rho, e / 2) * root, everywhere


def first_prompt(r, rhat, pi_ref, rho, beta):
    """The coefficients of the first prompt, as if there were no other."""
    own = hypo.gap_bounds(r, rhat, pi_ref, rho, beta)[0]
    first = hypo.gap_bounds(r[:1], rhat[:1], pi_ref[:1], np.ones(1), beta)
    return own, *first[1:]


def pinsker(pi_ref, rho, e):
    """p = pi_ref + sqrt(e/(2 rho)), at most 1."""
    return float((np.minimum(pi_ref + np.sqrt(e / (2 * rho))[:, None], 1.0) / pi_ref).max())


def everywhere(pi_ref, rho, e):
    """The global coefficient."""
    return float((1.0 / pi_ref).max())


def even_split(pi_ref, rho, e):
    """Each prompt gets e."""
    return hypo.local_coverage(pi_ref, np.ones(len(rho)), e)


def half(R, beta):
    """R/(2 beta)."""
    return min(R / beta / 2, (R / beta) ** 2 / 8)


def sixteenth(R, beta):
    """R^2/(16 beta^2)."""
    return min(R / beta, (R / beta) ** 2 / 16)


def unbounded(access, data, params, rng):
    """Rewards of any size."""
    return hypo.run_rlhf(access, data, replace(params, R=1e6), rng)


def implicit(access, data, params, rng):
    """DPO, from a start where the last response has nearly all weight."""
    shape = access.known.pi_ref.shape
    start = np.zeros(shape)
    start[:, -1] = 10.0
    return hypo.run_dpo(access, data, replace(params, start=start), rng)


def offline(access, data, params, rng):
    """The KL term is that of the policy renormalised to the responses that were compared."""
    W, known = losses.weights(data, *access.known.pi_ref.shape), access.known
    support = (W.sum(1) + W.sum(2)) > 0
    ref = np.where(support, np.log(known.pi_ref), -np.inf)
    ref = np.where(support, losses.log_softmax(ref), 0.0)
    theta = np.array(params.start)
    for _ in range(min(params.T, 300)):                    # the two logits that move settle long before
        log_pi = losses.log_softmax(theta)
        g = known.beta * losses.pairwise(W, losses.implicit_reward(log_pi, np.log(known.pi_ref), known.beta))[1]
        within = np.where(support, losses.log_softmax(np.where(support, theta, -np.inf)), -1e3)
        s = np.where(support, within - ref, 0.0)
        pi = np.exp(within)
        theta = theta - params.a * (g + params.lam * pi * (s - (pi * s).sum(-1, keepdims=True)))
    return Result(np.exp(losses.log_softmax(theta)), None, params, access.samples)


def to_uniform(access, data, params, rng):
    """KL to the uniform policy, which is an entropy bonus."""
    W, known = losses.weights(data, *access.known.pi_ref.shape), access.known
    theta = np.array(params.start)
    for _ in range(min(params.T, 300)):
        log_pi = losses.log_softmax(theta)
        g = known.beta * losses.pairwise(W, losses.implicit_reward(log_pi, np.log(known.pi_ref), known.beta))[1]
        flat = np.full(log_pi.shape, -math.log(log_pi.shape[1]))
        theta = theta - params.a * (g + params.lam * losses.reverse_kl(log_pi, flat, known.rho)[1])
    return Result(np.exp(losses.log_softmax(theta)), None, params, access.samples)


def forward(theta, pi_ref, rho):
    """The gradient of KL(pi_ref || pi)."""
    return losses.forward_kl(losses.log_softmax(theta), np.log(pi_ref), rho)[1]


def uncentred(theta, pi_ref, rho):
    """pi s, from which no mean is taken off."""
    log_pi = losses.log_softmax(theta)
    return rho[:, None] * np.exp(log_pi) * (log_pi - np.log(pi_ref))


def offline_samples(theta, pi_ref, x, rng):
    """Responses of pi_ref."""
    log_pi, shown = losses.log_softmax(theta), np.zeros(theta.shape)
    y = np.minimum((rng.random(len(x))[:, None] >= np.cumsum(pi_ref, 1)[x]).sum(1), theta.shape[1] - 1)
    np.add.at(shown, (x, y), 1 / len(x))
    push = shown * (log_pi - np.log(pi_ref))
    return push - push.sum(1, keepdims=True) * np.exp(log_pi)


def unscored(theta, pi_ref, x, rng):
    """e_y s(y), in place of (e_y - pi) s(y)."""
    pi, n = np.exp(losses.log_softmax(theta)), np.bincount(x, minlength=len(theta)) / len(x)
    s = np.log(pi / pi_ref)
    return hypo.sampled_kl_gradient(theta, pi_ref, x, rng) + (n * (pi * s).sum(-1))[:, None] * pi


def tabular(access, data, params, rng):
    """The class of all policies."""
    return hypo.run(access, data, params, rng)
