"""Broken twins of the planners and of their lemmas: what the checks must catch."""

from __future__ import annotations

import math

import numpy as np

from algorithms.planning import planning_basics as pb
from mdpkit.rational import exact
from mdpkit.records import Result

BETA = 16.55             # inverse temperature of the softmax


def boltzmann(P, r, gamma, V):
    """The mean of Q under weights exp(BETA Q), in place of the maximum; the weights are floats, the mean is exact."""
    Q = pb.action_values(P, r, gamma, V)
    weights = exact(np.exp(BETA * (Q - Q.max(-1)[:, None]).astype(float)))
    return (weights * Q).sum(-1) / weights.sum(-1)


def clipped(P, r, gamma, V):
    """T V cut off at the largest value that there can be: a contraction still."""
    return np.minimum(pb.backup(P, r, gamma, V), 1 / (1 - gamma))


def one_step_bounds(P, r, gamma, V):
    """gamma in place of gamma/(1 - gamma)."""
    W = pb.backup(P, r, gamma, V)
    return W + gamma * (W - V).min(), W + gamma * (W - V).max()


def bounds_around_V(P, r, gamma, V):
    """The same distances, from V in place of T V."""
    lo, hi = pb.bounds(P, r, gamma, V)
    W = pb.backup(P, r, gamma, V)
    return V + (lo - W), V + (hi - W)


def one_step_loss(P, r, gamma, V, best):
    """Without 1/(1 - gamma)."""
    return tuple(x * (1 - gamma) for x in pb.loss_bounds(P, r, gamma, V, best))


def halved_loss(P, r, gamma, V, best):
    """Without the factor 2, as if V* were the greedy policy's value too."""
    by_error, by_span = pb.loss_bounds(P, r, gamma, V, best)
    return by_error / 2, by_span


def small_change(access, params, rng):
    """Stops at |D| <= eps and returns T V."""
    return _sweeps(access, params, lambda D, gamma: np.abs(D).max() <= params.eps)


def small_span(access, params, rng):
    """Stops at gamma (max D - min D) <= eps, without 1/(1 - gamma)."""
    return _sweeps(access, params, lambda D, gamma: gamma * (D.max() - D.min()) <= params.eps)


def _sweeps(access, params, stop):
    P, r, gamma = access.model.P, access.model.r, access.model.gamma
    V = np.zeros(len(r))
    while not stop(pb.backup(P, r, gamma, V) - V, gamma):
        V = pb.backup(P, r, gamma, V)
    return Result(pb.Plan(pb.greedy(P, r, gamma, V), pb.backup(P, r, gamma, V)), None, params)


def blind(P, r, gamma, start):
    """Every state takes its next action, whether that improves or not."""
    return _visit(P, r, gamma, start, lambda Q, pi: (pi + 1) % Q.shape[1], 2 + r.shape[1])


def one_state(P, r, gamma, start):
    """Switches in the first state that improves, and in no other."""
    def change(Q, pi):
        better = Q.max(-1) > Q[np.arange(len(pi)), pi]
        return np.where(better & (np.cumsum(better) == 1), Q.argmax(-1), pi)
    return _visit(P, r, gamma, start, change, math.inf)


def restless(P, r, gamma, start):
    """Does not keep on ties: takes another best action where there is one. Given up soon after the bound."""
    def change(Q, pi):
        best = Q.max(-1)[:, None] == Q
        best[np.arange(len(pi)), pi] &= best.sum(-1) == 1
        return best.argmax(-1)
    return _visit(P, r, gamma, start, change, pb.iteration_bound(r.shape[0], r.shape[1], gamma) + 2)


def sweeping(P, r, gamma, start):
    """Value iteration, one policy a sweep, until the floats rest."""
    P, r, gamma = P.astype(float), r.astype(float), float(gamma)
    V, rows = pb.evaluate(P, r, gamma, start), [(start, pb.evaluate(P, r, gamma, start))]
    while (pb.backup(P, r, gamma, V) != V).any() and len(rows) < pb.iteration_bound(r.shape[0], r.shape[1], gamma) + 2:
        V = pb.backup(P, r, gamma, V)
        rows.append((pb.greedy(P, r, gamma, V), V))
    return pb.Iterates(*(np.array(column) for column in zip(*rows)))


def _visit(P, r, gamma, start, change, limit):
    pi, known = start, {}
    rows: list[tuple[np.ndarray, np.ndarray]] = []
    while (not rows or (rows[-1][0] != pi).any()) and len(rows) < limit:
        key = pi.tobytes()
        if key not in known:
            V = pb.evaluate(P, r, gamma, pi)
            known[key] = V, change(pb.action_values(P, r, gamma, V), pi)
        rows.append((pi, known[key][0]))
        pi = known[key][1]
    return pb.Iterates(*(np.array(column) for column in zip(*rows)))


def reference_occupancy(P, r, gamma, rho, pi, pi_ref):
    """d^{pi_ref} in place of d^pi."""
    return pb.performance_difference(P, r, gamma, rho, pi_ref, pi_ref)


def unscaled(P, r, gamma, rho, pi, pi_ref):
    """Without 1/(1 - gamma), as over a finite horizon."""
    return (1 - gamma) * pb.performance_difference(P, r, gamma, rho, pi, pi_ref)


def mixed_up(P, r, gamma, rho, pi, P_hat, r_hat):
    """The model's occupancy with the model's value."""
    wrong = r_hat - r + gamma * ((P_hat - P) @ pb.evaluate(P_hat, r_hat, gamma, pi))
    return (pb.occupancy(P_hat, gamma, rho, pi) * wrong).sum() / (1 - gamma)


def true_value(P, r, gamma, rho, pi, P_hat, r_hat):
    """The true occupancy with the true value."""
    wrong = r_hat - r + gamma * ((P_hat - P) @ pb.evaluate(P, r, gamma, pi))
    return (pb.occupancy(P, gamma, rho, pi) * wrong).sum() / (1 - gamma)


def one_factor_less(P, r, gamma, P_hat, r_hat):
    """gamma eps_P/(2 (1 - gamma))."""
    rewards = pb.simulation_bound(P, r, gamma, P, r_hat)
    return rewards + (pb.simulation_bound(P, r, gamma, P_hat, r_hat) - rewards) * (1 - gamma)


def whole_norm(P, r, gamma, P_hat, r_hat):
    """eps_P in place of eps_P/2: true, but not tight."""
    return 2 * pb.simulation_bound(P, r, gamma, P_hat, r_hat) - pb.simulation_bound(P, r, gamma, P, r_hat)


def rewards_alone(P, r, gamma, P_hat, r_hat):
    """eps_r/(1 - gamma)."""
    return pb.simulation_bound(P, r, gamma, P, r_hat)


def from_step_one(P, gamma, rho, pi):
    """Discounts from t = 1: the first pair is left out."""
    return pb.occupancy(P, gamma, (pi[:, :, None] * P * rho[:, None, None]).sum((0, 1)), pi)


def unnormalised(P, gamma, rho, pi):
    """Without 1 - gamma."""
    return pb.occupancy(P, gamma, rho, pi) / (1 - gamma)


def reference_path(P, r, rho, pi, pi_ref):
    """The occupancy of pi_ref, under which its own advantages vanish."""
    return pb.finite_horizon_difference(P, r, rho, pi_ref, pi_ref)


def stationary_path(P, r, rho, pi, pi_ref):
    """Forgets that the kernel changes with the step."""
    return pb.finite_horizon_difference(np.repeat(P[:1], len(P), 0), r, rho, pi, pi_ref)
