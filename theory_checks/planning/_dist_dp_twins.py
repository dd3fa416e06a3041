"""Broken twins of distributional dynamic programming: what the checks must catch."""

from __future__ import annotations

import itertools

import flint

from algorithms.planning import dist_dp as dd
from algorithms.planning.dist_dp import FUNCTIONALS, Plan


def stockless(P, gamma, K, s, stock):
    """Chooses by K of the return alone."""
    found = dd._sweep(P, gamma, lambda h, law, c: K(law), s, stock)
    return Plan(K(dd.shift(found.law, stock)), found.law, found.policy)


def markov(P, gamma, K, s, stock):
    """The best deterministic policy of (h, s)."""
    levels = dd.reachable(P, gamma, s, stock)
    places = sorted({(h, z) for h, level in enumerate(levels[:-1]) for z, _ in level})
    best = None
    for actions in itertools.product(*(range(len(P[h][z])) for h, z in places)):
        at = dict(zip(places, actions))
        policy = {(h, z, c): at[h, z] for h, level in enumerate(levels[:-1]) for z, c in level}
        law = dd.evaluate(P, gamma, policy, levels)[0][s, stock]
        if best is None or K(dd.shift(law, stock)) > best.value:
            best = Plan(K(dd.shift(law, stock)), law, policy)
    return best


def undivided(P, gamma, K, s, stock):
    """c' = c + R: the stock stays in units of the start, the return is in present ones."""
    levels = dd.reachable(P, flint.fmpq(1), s, stock)
    eta = {at: [(flint.fmpq(0), flint.fmpq(1))] for at in levels[-1]}
    for h in range(len(P) - 1, -1, -1):
        now = {}
        for z, c in levels[h]:
            laws = [dd.merged([(x + gamma * g, p * q) for t, p, x in moves for g, q in eta[t, c + x]])
                    for moves in P[h][z]]
            now[z, c] = max(laws, key=lambda law: K(dd.shift(law, c)))
        eta = now
    law = eta[s, stock]
    return Plan(K(dd.shift(law, stock)), law, {})


def from_the_start(P, gamma, K, s, stock):
    """In units of the start."""
    return dd.plan_from_the_start(P, gamma, K, s, stock)


def present(P, gamma, K, s, stock):
    """In present units."""
    return dd.plan(P, gamma, K, s, stock)


def greedy_on_risk(P, tau, s):
    """The same recursion on CVaR itself."""
    zero = flint.fmpq(0)
    found = dd.plan(P, zero + 1, lambda law: dd.worst_share(law, tau), s, zero)
    return found.value, zero, found


def wrong_sign(P, tau, s):
    """Starts from the stock +b."""
    one, K = flint.fmpq(1), FUNCTIONALS["shortfall"]
    ends = sorted({c for _, c in dd.reachable(P, one, s, 0 * one)[-1]})
    found = [(b + dd.plan(P, one, K, s, b).value / tau, b) for b in ends]
    value, b = max(found)
    return value, b, dd.plan(P, one, K, s, b)


def markov_risk(P, tau, s):
    """The best policy of (h, s)."""
    zero = flint.fmpq(0)
    found = markov(P, zero + 1, lambda law: dd.worst_share(law, tau), s, zero)
    return found.value, zero, found


def one_sweep_more(gamma, n, m, top, L):
    """gamma^{n+1}."""
    return dd.horizon_bound(gamma, n + 1, m, top, L)


def one_step(gamma, n, m, top, L):
    """Without 1/(1 - gamma)."""
    return dd.horizon_bound(gamma, n, m, top, L) * (1 - gamma)


def once(P, gamma, K, s, stock):
    """Changes the policy once."""
    return _improve(P, gamma, K, s, stock, everywhere=True, limit=1)


def one_node(P, gamma, K, s, stock):
    """Changes it at one (h, s, c) at a time."""
    return _improve(P, gamma, K, s, stock, everywhere=False, limit=99)


def _improve(P, gamma, K, s, stock, everywhere, limit):
    levels = dd.reachable(P, gamma, s, stock)
    policy = {(h, *at): 0 for h in range(len(P)) for at in levels[h]}
    for rounds in range(limit + 1):
        eta, new = dd.evaluate(P, gamma, policy, levels), dict(policy)
        for h, z, c in policy:
            worth = [K(dd.shift(dd.look(moves, eta[h + 1], c, gamma), c)) for moves in P[h][z]]
            if max(worth) > worth[policy[h, z, c]] and (everywhere or new == policy):
                new[h, z, c] = worth.index(max(worth))
        if new == policy or rounds == limit:
            law = eta[0][s, stock]
            return Plan(K(dd.shift(law, stock)), law, policy), rounds
        policy = new
    return None
