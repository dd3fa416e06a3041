"""Distributional dynamic programming held to its claims, all in rationals, against every policy of the history.

A deterministic policy is a function of the states so far; with H = 3 and two states and actions there are 128.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import flint
import numpy as np
from hypothesis import strategies as st

from algorithms.planning import dist_dp as dd
from algorithms.planning.dist_dp import FUNCTIONALS, UTILITIES
from mdpkit.models.tabular import EpisodicMDP
from mdpkit.octets import octets
from mdpkit.rational import fraction, of_fraction, rational
from mdpkit.solve import distributional
from theory_checks.engine.claims import Check, Claim, Saboteur
from theory_checks.engine.judges import Sure
from theory_checks.engine.rows import worst_of

TWINS = "theory_checks.planning._dist_dp_twins"
ANY = ("mean", "at least 2", "near 0", "squared", "exponential")
HOMOGENEOUS = ("mean", "near 0", "squared", "shortfall")
LIPSCHITZ = ("mean", "near 0", "shortfall")
TAUS = (0.1, 0.25, 0.5, 1.0)
KERNEL_D = np.array([[[0.7, 0.3], [0.2, 0.8]], [[0.5, 0.5], [0.9, 0.1]]])
REWARDS_D = np.array([[[2.0, -1.0], [3.0, -3.0]], [[0.0, 1.0], [1.0, -2.0]]])
D = {"P": KERNEL_D, "R": REWARDS_D, "H": 3, "gamma": 0.7}
GAPS: tuple[dict[str, Any], ...] = tuple({"K": K, "stock": c, "loses": loss} for K, c, loss in (
    ("at least 2", 1.0, 0.0539), ("at least 2", 2.0, 0.1139), ("exponential", 0.0, 0.0176)))


# ------------------------------------------------------------------------------------------ worlds

@st.composite
def _worlds(draw: st.DrawFn, functionals: tuple[str, ...], stocks: tuple[float, ...],
            gammas: tuple[float, ...] = (1.0,)) -> dict[str, Any]:
    """Two states and actions, up to three steps, rewards -3..3 of (s, a, t); often the instance D."""
    P = octets(draw, 2, 2) % 17 / 16
    world = {"P": np.stack([P, 1 - P], -1), "R": (octets(draw, 2, 2, 2) + 3) % 7 - 3.0,
             "H": draw(st.integers(1, 3)), "gamma": draw(st.sampled_from(gammas))}
    if draw(st.integers(0, 3)) == 3:
        world = {**D, "gamma": 1.0 if gammas == (1.0,) else 0.7}
    return world | {"K": draw(st.sampled_from(functionals)), "stock": draw(st.sampled_from(stocks)),
                    "tau": draw(st.sampled_from(TAUS))}


undiscounted = partial(_worlds, ANY, (0.0, -3.0, 1.5))
scaled = partial(_worlds, HOMOGENEOUS, (0.0, 1.0, -1.0, -2.3, 2.0), (0.75, 0.5))
repaired = partial(_worlds, (*ANY, "shortfall"), (0.0, 1.0, 2.0), (0.75, 0.5))
both = partial(_worlds, HOMOGENEOUS, (0.0, -2.3), (1.0, 0.75))


@st.composite
def horizons(draw: st.DrawFn) -> dict[str, Any]:
    """Two horizons n < m <= 4; among the worlds constant rewards, for which the bound is attained."""
    world = draw(_worlds(LIPSCHITZ, (-2.0, 0.0, 1.0), (0.5, 0.875, 0.75)))
    if draw(st.booleans()):
        world["R"] = np.full((2, 2, 2), world["R"][0, 0, 0])
    n = draw(st.integers(1, 3))
    return world | {"n": n, "m": draw(st.integers(n + 1, 4))}


def moves(world: dict, H: int | None = None) -> list:
    """The world as `successors`."""
    H = world["H"] if H is None else H
    m = EpisodicMDP.stationary(world["P"], np.zeros((2, 2)), [1.0, 0.0], H)
    return dd.successors(m, np.broadcast_to(world["R"], (H, 2, 2, 2)))


# ---------------------------------------------------------------------------------------- measures

def histories(P: list, gamma: Any, s: int, h: int = 0) -> list[dd.Law]:
    """The law of the return of every deterministic policy of the history, from (h, s)."""
    if h == len(P):
        return [[(flint.fmpq(0), flint.fmpq(1))]]
    laws = []
    for branch in P[h][s]:
        below = [[[(x + gamma * g, p * q) for g, q in law] for law in histories(P, gamma, t, h + 1)]
                 for t, p, x in branch]
        laws += [dd.merged(list(itertools.chain(*chosen))) for chosen in itertools.product(*below)]
    return laws


def best_of_all(P: list, gamma: Any, K: dd.Functional, stock: Any, s: int = 0) -> Any:
    """max of K(stock + return) over `histories`."""
    return max(K(dd.shift(law, stock)) for law in histories(P, gamma, s))


def optimal(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C1, C4: the plan's K against all policies; and its law against that of its own policy."""
    P, gamma, K, stock = moves(world), rational(world["gamma"]), FUNCTIONALS[world["K"]], rational(world["stock"])
    found = subject(P, gamma, K, 0, stock)
    return worst_of((abs(best_of_all(P, gamma, K, stock) - found.value), 0),
                    (abs(K(dd.shift(found.law, stock)) - found.value), 0))


def at_risk(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C2: CVaR of the subject, as it says and by its law, against the best CVaR of all policies."""
    P, tau, one = moves(world), rational(world["tau"]), flint.fmpq(1)
    value, _, found = subject(P, tau, 0)
    best = max(dd.worst_share(law, tau) for law in histories(P, one, 0))
    return worst_of((abs(best - value), 0), (abs(dd.worst_share(found.law, tau) - value), 0))


def truncated(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C3: how far the values of horizons n and m are apart, against the bound for n and m."""
    gamma, K, stock = rational(world["gamma"]), FUNCTIONALS[world["K"]], rational(world["stock"])
    short, long = (dd.plan(moves(world, H), gamma, K, 0, stock).value for H in (world["n"], world["m"]))
    top = rational(float(np.abs(world["R"]).max()))
    finite, whole = (subject(gamma, world["n"], m, top, 1) for m in (world["m"], math.inf))
    return worst_of((abs(short - long), finite), (abs(short - long), whole))


def gap(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C4-gap: what the recursion must lose on D at gamma = 0.7, against what it does."""
    P, gamma, K, stock = moves(D), rational(0.7), FUNCTIONALS[world["K"]], rational(world["stock"])
    loss = best_of_all(P, gamma, K, stock) - subject(P, gamma, K, 0, stock).value
    return worst_of((rational(world["loses"]), loss))


def classic(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C5: against dynamic programming on (h, s, stock) whose only reward is U of the last stock, in rationals."""
    U, H = UTILITIES[world["K"]], world["H"]
    m = EpisodicMDP.stationary(world["P"], np.zeros((2, 2)), [1.0, 0.0], H)
    solved = distributional.solve(m, lambda x: fraction(U(of_fraction(x))), world["stock"], tier="exact",
                                  rewards=np.broadcast_to(world["R"], (H, 2, 2, 2)))
    value = subject(moves(world), flint.fmpq(1), FUNCTIONALS[world["K"]], 0, rational(world["stock"])).value
    exact, = solved.certificate.exact or ()
    return worst_of((abs(of_fraction(exact) - value), 0))


def alternated(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C6: policy iteration's K against value iteration's, and its rounds against H."""
    P, gamma, K, stock = moves(world), rational(world["gamma"]), FUNCTIONALS[world["K"]], rational(world["stock"])
    found, rounds = subject(P, gamma, K, 0, stock)
    return worst_of((abs(dd.plan(P, gamma, K, 0, stock).value - found.value), 0), (rounds, world["H"]))


# -------------------------------------------------------------------------------------------- checks

def _check(name: str, kind: str, statement: str, source: str, status: str, entry: str, worlds: Any, measure: Callable,
           examples: int, more: tuple[str, ...] = (), **twins: str) -> Check:
    """``more``: functionals that break an assumption."""
    broken = (Saboteur(K, "an assumption broken: another functional", world={"K": K}) for K in more)
    return Check(Claim("dist-dp", name, kind, statement, source, status), entry, worlds, measure,
                 Sure("EXACT", examples), (*(Saboteur(twin.replace("_", " "), why, subject=f"{TWINS}:{twin}")
                                             for twin, why in twins.items()), *broken))


CHECKS = (
    _check("C1", "identity", "gamma = 1: for K = E U (mean, threshold, -|x|, -x^2, exponential) value iteration on "
           "stocks attains the maximum over all policies of the history.", "the theorem on value iteration", "checked",
           "plan", undiscounted, optimal, 40, ("median", "-variance"),
           stockless="K of the return alone", markov="the best policy of (h, s)"),
    _check("C2", "identity", "The stock method attains the largest CVaR_tau over all policies of the history, tau = "
           "0.1, 0.25, 0.5, 1.", "section on conditional value at risk", "checked", "cvar", undiscounted, at_risk, 16,
           greedy_on_risk="the same recursion on CVaR itself", wrong_sign="starts from +b",
           markov_risk="the best policy of (h, s)"),
    _check("C3", "bound", "gamma < 1, U with constant L and positively homogeneous, n sweeps from the zero law: "
           "|F eta_n - F eta_m| <= L Rmax (gamma^n - gamma^m)/(1 - gamma) for n < m, hence |F eta_n - F*| <= "
           "L gamma^n Rmax/(1 - gamma).", "the theorem on value iteration, in this form derived", "derived",
           "horizon_bound", horizons, truncated, 40,
           one_sweep_more="gamma^{n+1}", one_step="without 1/(1 - gamma)"),
    _check("C4", "identity", "gamma < 1, H <= 3: for U positively homogeneous (x, -|x|, -x^2, min(x, 0)) value "
           "iteration attains the maximum over all policies of the history.", "indifference to gamma", "checked",
           "plan", scaled, optimal, 40, ("at least 2", "exponential"), undivided="the stock is not divided by gamma"),
    _check("C4-gap", "separation", "For U that is not homogeneous it does not: on D with gamma = 0.7 it loses 0.054 "
           "(threshold, c = 1), 0.114 (threshold, c = 2) and 0.0176 (exponential, c = 0).", "this instance", "checked",
           "plan", GAPS, gap, 1, from_the_start="K in units of the start"),
    _check("C4-repair", "identity", "With U(gamma^h x) at step h, in units of the start, it is optimal for every U.",
           "the remark that the step index repairs it", "derived", "plan_from_the_start", repaired, optimal, 30,
           present="K in present units", undivided="the stock is not divided by gamma"),
    _check("C5", "identity", "gamma = 1, K = E U: the same value as classic dynamic programming on (h, s, c) with U of "
           "the last stock as the only reward.", "reduction to classic dynamic programming", "checked", "plan",
           undiscounted, classic, 20, stockless="K of the return alone", markov="the best policy of (h, s)"),
    _check("C6", "identity", "Policy iteration ends after at most H changes with the K of value iteration.",
           "the theorem on policy iteration", "derived", "improve", both, alternated, 20,
           once="a single change", one_node="one (h, s, c) at a time"),
)
