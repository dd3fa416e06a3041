"""Broken twins of GERL_MG2 and of the formulas in its proof: what the checks must catch."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from algorithms.models import gerl
from algorithms.models.gerl import Proven
from mdpkit.records import Result, Trace


def _with_law(law, P, beta, r, rho):
    """Lines 5 to 8 with ``law`` in place of the oracle."""
    n, H, S, J = r.shape
    pi, U, L = np.zeros((H, S, J)), np.zeros((n, H + 1, S)), np.zeros((n, H + 1, S))
    for h in range(H - 1, -1, -1):
        high = np.minimum(r[:, h] + beta[h] + np.einsum("sjt,nt->nsj", P[h], U[:, h + 1]), H - h)
        low = np.maximum(r[:, h] - beta[h] + np.einsum("sjt,nt->nsj", P[h], L[:, h + 1]), 0.0)
        pi[h] = law(high)
        U[:, h], L[:, h] = (pi[h] * high).sum(-1), (pi[h] * low).sum(-1)
    return Proven(pi, float(((U - L)[:, 0] @ rho).max())), U, L


def uniform_law(P, beta, r, rho, sizes, oracle="coarse"):
    """The uniform joint law at each state."""
    return _with_law(lambda high: np.full(high.shape[1:], 1 / high.shape[2]), P, beta, r, rho)


def largest_sum(P, beta, r, rho, sizes, oracle="coarse"):
    """The joint action of largest sum, whoever would leave it."""
    return _with_law(lambda high: np.eye(high.shape[2])[high.sum(0).argmax(-1)], P, beta, r, rho)


def no_factor_A(phi, w, q, g, n, lam):
    """The number of joint actions left out of the first term."""
    whole = gerl.one_step_back(phi, w, q, g, n, lam)
    rest = no_ridge_term(phi, w, q, g, n, lam)
    return whole - rest + rest / g.shape[1]


def no_ridge_term(phi, w, q, g, n, lam):
    """The second term left out: what is left of the bound is the first one's share."""
    inside = n * (q.reshape(-1) @ phi.reshape(-1, phi.shape[2]) @ w @ (g * g).sum(-1))
    ridge = lam * phi.shape[2] * (g * g).max()
    whole = gerl.one_step_back(phi, w, q, g, n, lam)
    return whole * (inside / (inside + ridge)) if inside + ridge > 0 else whole


def unlikeliest(P, moves):
    """The model of smallest likelihood."""
    return int(np.argmin((moves * np.log(P)).reshape(len(P), -1).sum(1)))


def small_bonus(access, params, rng):
    """A bonus of one hundredth."""
    return gerl.run(access, replace(params, alpha=params.alpha / 100), rng)


def wrong_contexts(access, params, rng):
    """Each factor is learnt in its neighbour's context."""
    parts = access.known.factors
    access.known.factors = parts._replace(contexts=np.roll(parts.contexts, 1, axis=0))
    return gerl.run_factored(access, params, rng)


def lasting_bonus(access, params, rng):
    """alpha at every count: the ridge drowns the data."""
    return gerl.run(access, replace(params, alpha=1e3 * params.alpha, lam=1e6), rng)


def uniform_policy(access, params, rng):
    """Plays uniformly whatever it finds."""
    out = gerl.run(access, params, rng)
    pi = np.full_like(out.output.policy, 1 / out.output.policy.shape[2])
    trace = Trace(pi[None], 0 * out.trace.index, out.trace.info)  # type: ignore[union-attr]
    return Result(Proven(pi, out.output.certificate), trace, params, out.samples)


def wrong_class(access, params, rng):
    """A class without the true model: the first one is dropped."""
    access.known.models = tuple(x[1:] for x in access.known.models)
    return gerl.run_model_based(access, params, rng)


def wrong_features(access, params, rng):
    """A class without the true features: the first one is dropped."""
    access.known.features = access.known.features[1:]
    return gerl.run_model_free(access, params, rng)


def largest_factor(p, q):
    """The largest of the factors' distances."""
    return np.abs(p - q).sum(-1).max() / 2


def halved(p, q):
    """Half the sum."""
    return gerl.factor_bound(p, q) / 2


def joint_counts(moves, parts, pooled=False):
    """Counts of whole states and joint actions."""
    seen = moves.sum(-1, keepdims=True)
    return np.where(seen > 0, moves / np.maximum(seen, 1), 1 / moves.shape[2])
