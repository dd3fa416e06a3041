"""Broken twins of LAMPS: what the checks must catch."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from algorithms.models import lamps


def model_occupancy(P, M, r, gamma, rho, pi_star, pi):
    """Occupancies in the model, all else as it should be."""
    V = lamps.evaluate(M, r, gamma, pi)
    d_star, d = _laws(M, gamma, rho, pi_star, pi)
    return _terms(P, M, r, gamma, d_star, d, V, V, M)


def expert_value(P, M, r, gamma, rho, pi_star, pi):
    """V^ of pi* in the third term."""
    V, V_star = lamps.evaluate(M, r, gamma, pi), lamps.evaluate(M, r, gamma, pi_star)
    d_star, d = _laws(P, gamma, rho, pi_star, pi)
    return _terms(P, M, r, gamma, d_star, d, V, V_star, M)


def true_advantage(P, M, r, gamma, rho, pi_star, pi):
    """The advantage of V^ under the true kernel."""
    V = lamps.evaluate(M, r, gamma, pi)
    d_star, d = _laws(P, gamma, rho, pi_star, pi)
    return _terms(P, M, r, gamma, d_star, d, V, V, P)


def true_values(P, M, r, gamma, rho, pi_star, pi):
    """Values in the true MDP in all three parts."""
    d_star, d = _laws(P, gamma, rho, pi_star, pi)
    V_star, V = lamps.evaluate(P, r, gamma, pi_star), lamps.evaluate(P, r, gamma, pi)
    scale = gamma / (1 - gamma)
    return 0, scale * (d_star * ((P - M) @ V_star)).sum(), (rho * (V_star - V)).sum(), scale * (d * ((P - M) @ V)).sum()


def one_value(P, M, r, gamma, rho, pi_star, pi):
    """V^ of pi in the term of pi* too."""
    gap, _, planning, own = lamps.simulation_terms(P, M, r, gamma, rho, pi_star, pi)
    d_star, V = lamps.occupancy(P, gamma, rho, pi_star), lamps.evaluate(M, r, gamma, pi)
    return gap, gamma / (1 - gamma) * (d_star * ((P - M) @ V)).sum(), planning, own


def half_distance(P, M, V):
    """Half of total variation."""
    return lamps.moment_bound(P, M, V) / 2


def squared(P, M, V):
    """The square of the distance in place of the distance."""
    return np.abs(P - M).sum(-1) ** 2 * (V.max() - V.min()) / 2


def total_variation(P, models, nu, V):
    """Total variation in place of the moment."""
    return lamps.class_losses(P, models, nu, V)[0], np.array([(nu * np.abs(P - M).sum(-1)).sum() for M in models])


def downhill(access, data, params, rng):
    """The wrong sign."""
    return lamps._play(access, lamps._begin(access, data, params), replace(params, eta=-params.eta), rng)


def downhill_mm(access, data, params, rng):
    """The wrong sign."""
    return lamps._play(access, lamps._begin(access, data, params), replace(params, eta=-params.eta), rng, moments=1.0)


def asleep(access, data, params, rng):
    """A policy that never moves."""
    return lamps.run(access, data, replace(params, eta=1e-12), rng)


def asleep_mm(access, data, params, rng):
    """A policy that never moves."""
    return lamps.run_mm(access, data, replace(params, eta=1e-12), rng)


def own_data(access, data, params, rng):
    """Never looks at the data from nu."""
    return lamps.run(access, data, replace(params, share=0.0), rng)


def nu_data(access, data, params, rng):
    """Never plays."""
    return lamps.run(access, data, replace(params, share=1.0), rng)


def _laws(P, gamma, rho, pi_star, pi):
    return lamps.occupancy(P, gamma, rho, pi_star), lamps.occupancy(P, gamma, rho, pi)


def _terms(P, M, r, gamma, d_star, d, V, V_third, kernel):
    """The three terms with the advantage of V under ``kernel`` and ``V_third`` in the last."""
    parts = ((d_star * (r + gamma * (kernel @ V) - V[:, None])).sum(), gamma * (d_star * ((P - M) @ V)).sum(),
             -gamma * (d * ((P - M) @ V_third)).sum())
    return (0, *(x / (1 - gamma) for x in parts))
