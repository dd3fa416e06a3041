"""Broken twins of Contrastive UCB and of the formulas in its proof: what the checks must catch."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from algorithms.models import contrastive_ucb
from algorithms.models.contrastive_ucb import Pair
from mdpkit.records import Result
from mdpkit.solve.correlated import equilibrium


def true_law_alone(P, law, f):
    """mu = P."""
    return float((P * _divergence(P, law, f)).sum())


def _divergence(P, law, f):
    """KL(Bern(f*/(1+f*)) || Bern(f/(1+f))) at each s'."""
    g, star = f / (1 + f), P / (P + law)
    up = np.where(star > 0, star * np.log(np.where(star > 0, star, 1.0) / g), 0.0)
    return up + (1 - star) * np.log((1 - star) / (1 - g))


def reversed_divergence(P, law, f):
    """The two Bernoulli laws change places."""
    star = np.maximum(P / law, 2.0**-200)
    return float(((P + law) / 2 * _divergence(f * law, law, star)).sum())


def shares(positives, negatives, smooth=0):
    """The share of label 1 in place of its odds."""
    return contrastive_ucb.fit(positives, positives + negatives, smooth)


def no_maximum(f, excess):
    """Without 1 + max f."""
    return math.sqrt(2 * excess)


def smaller_root(f, excess):
    """The root of the excess."""
    return contrastive_ucb.distance_bound(f, excess / 2)


def own_negatives(P, law):
    """The first row is compared with itself."""
    out = contrastive_ucb.ratio(P, law)
    out[0, 0] = P[0, 0] / np.where(P[0, 0] == 0, 1, P[0, 0])
    return out


def probabilities(P, law):
    """The probability of label 1."""
    return P / (P + law)


def largest_risk(f, positives, negatives):
    """The number of the largest loss."""
    return int(np.argmax([contrastive_ucb.risk(part, positives, negatives) for part in f]))


def _with_law(law, P, beta, r, rho, sizes):
    """Line 8 with ``law`` in place of the oracle."""
    H, S, J = r.shape
    U, L, sigma = np.zeros((H + 1, S)), np.zeros((H + 1, S)), np.zeros((H, S, J))
    for h in range(H - 1, -1, -1):
        high = np.minimum(r[h] + beta[h] + P[h] @ U[h + 1], H - h)
        low = np.maximum(r[h] - beta[h] + P[h] @ L[h + 1], 0.0)
        for s in range(S):
            law(high[s], sizes, sigma[h, s])
        U[h], L[h] = (sigma[h] * high).sum(-1), (sigma[h] * low).sum(-1)
    joint = sigma.reshape(H, S, *sizes)
    return Pair(joint.sum(3), joint.sum(2), float(rho @ (U[0] - L[0]))), U, L


def uniform_law(P, beta, r, rho, sizes):
    """The uniform joint law at each state."""
    def law(high, sizes, sigma):
        sigma[:] = 1 / len(sigma)
    return _with_law(law, P, beta, r, rho, sizes)


def one_sided(P, beta, r, rho, sizes):
    """An equilibrium of (Qu, -Qu)."""
    return _with_law(lambda high, sizes, sigma: equilibrium(np.stack([high, -high]), np.array(sizes), False, sigma),
                     P, beta, r, rho, sizes)


def no_bonus_in_games(access, params, rng):
    """alpha = 0."""
    return contrastive_ucb.run_game(access, replace(params, alpha=0.0), rng)


def uniform_pair(access, params, rng):
    """Uniform play, whatever is found."""
    out = contrastive_ucb.run_game(access, params, rng)
    mu, nu, width = out.output
    return Result(Pair(np.full_like(mu, 1 / mu.shape[2]), np.full_like(nu, 1 / nu.shape[2]), width), out.trace, params,
                  out.samples)


def _without_truth(access):
    access.known.models = tuple(x[1:] for x in access.known.models)
    return access


def wrong_class(access, params, rng):
    """A class without the true pair: the first one is dropped."""
    return contrastive_ucb.run_low_rank(_without_truth(access), params, rng)


def wrong_class_in_games(access, params, rng):
    """The same in games."""
    return contrastive_ucb.run_game_low_rank(_without_truth(access), params, rng)


def no_bonus(access, params, rng):
    """alpha = 0."""
    return contrastive_ucb.run(access, replace(params, alpha=0.0), rng)


def always_bonus(access, params, rng):
    """alpha = 0.1, whatever is asked for."""
    return contrastive_ucb.run(access, replace(params, alpha=0.1), rng)
