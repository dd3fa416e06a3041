"""Broken twins of DR-PO and of the formulas in its proof: what the checks must catch."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from algorithms.offline import drpo
from mdpkit import rational
from mdpkit.measure import plain


def learners_law(P, rho, ref, pi, f):
    """States from the learner's own law."""
    return sum((plain.state_law(P, rho, x)[..., None] * (ref - x) * y).sum() for x, y in zip(pi, f))


def start_law(P, rho, ref, pi, f):
    """The law of the first state at every step."""
    return (rho[:, None] * (ref - pi) * f).sum()


def downhill(start, f, eta):
    """exp(-eta f)."""
    return drpo.ascend(start, -f, eta)


def resting(start, f, eta):
    """pi_SFT for ever."""
    return drpo.ascend(start, 0 * f, eta)


def no_step(H, kl, eta, T):
    """Without the term in eta T."""
    return kl / eta


def no_divergence(H, kl, eta, T):
    """Without KL."""
    return drpo.mirror_bound(H, 0 * kl, eta, T)


def one_step(H, kl, eta, T):
    """Critics in [0, 1] at every step."""
    return kl / eta + eta * T * H / 8 / H


def reversed_kl(P, rho, pi, ref):
    """KL of pi_SFT from the comparator, where both take an action."""
    both = np.where(pi > 0, pi, ref)
    return drpo.trajectory_kl(P, rho, ref, both)


def worst_state(P, rho, pi, ref):
    """The worst state of each step in place of the mean."""
    H, S = pi.shape[:2]
    one = rational.eye(S, P)
    return sum(max((drpo.trajectory_kl(P[:1], one[s], pi[h: h + 1], ref[h: h + 1]) for s in range(S)), key=float)
               for h in range(H))


def skips_holes(p, q):
    """The prompt without the answers that pi_SFT never gives."""
    seen = q > 0
    kept = np.where(seen, p, 0.0)
    return drpo.reward_coverage(kept / kept.sum() if kept.sum() > 0 else q, q)


def by_ratio(p, q):
    """max p/q in place of lambda."""
    if (p[q == 0] > 0).any() or (q > 0).sum() == 1:
        return drpo.reward_coverage(p, q)
    return (1 + float((p[q > 0] / q[q > 0]).max())) / 2


def not_halved(p, q):
    """lambda in place of (1 + lambda)/2."""
    return max(2 * drpo.reward_coverage(p, q) - 1, 0.0)


def logged_actions(d_ref, d_sft, ref, sft, pi, e):
    """The error on logged actions alone."""
    eps = float((d_sft[:, None] * sft * e * e).sum())
    C = [float((x[y > 0] / y[y > 0]).max()) if not ((y == 0) & (x > 0)).any() else math.inf
         for x, y in ((d_ref[:, None] * ref, d_sft[:, None] * sft), (d_ref, d_sft))]
    return math.inf if math.inf in C else sum(math.sqrt(2 * c * eps) for c in C)


def no_coverage(d_ref, d_sft, ref, sft, pi, e):
    """Without the ratios."""
    return drpo.critic_bound(d_sft, d_sft, sft, sft, pi, e)


def one_root(d_ref, d_sft, ref, sft, pi, e):
    """Without the learner's part of the error."""
    return drpo.critic_bound(d_ref, d_sft, ref, sft, pi, e) / 2


def comparator_alone(rho, p, pi, q, r_hat, r):
    """Without C_TR of the learner."""
    drift, error, _ = drpo.transfer(rho, p, pi, q, r_hat, r)
    C = max(drpo.reward_coverage(x, y) for x, y, weight in zip(p, q, rho) if weight > 0)
    return drift, error, float(drift) + math.sqrt(C * float(error))


def uncentred(rho, p, pi, q, r_hat, r):
    """E D^2 in place of the mean square of differences: constants count."""
    drift, _, bound = drpo.transfer(rho, p, pi, q, r_hat, r)
    D = r - r_hat
    return drift, (rational.exact(rho)[:, None] * rational.exact(q) * D * D).sum(), bound


def trusting(rho, p, pi, q, r_hat, r):
    """Takes the learned reward for the true one."""
    drift, error, _ = drpo.transfer(rho, p, pi, q, r_hat, r)
    return drift, error, float(drift)


def roll_in(access, data, params, rng):
    """Never resets."""
    return drpo.run_roll_in(access, params, rng)


def forgetful(access, data, params, rng):
    """Each iteration starts from pi_SFT again: T iterations of which the last counts alone."""
    found = drpo.run(access, data, params, rng)
    last = drpo.run(access, data, replace(params, T=1), rng).output
    return replace(found, output=last)
