"""DNO held to its claims: what its loss finds, how each policy beats the last, and how near to Nash the average is."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from hypothesis import strategies as st

from algorithms.games import dno
from algorithms.games.dno import Params
from mdpkit.access import Exact
from mdpkit.instances.preferences import dominated_cycle, weighted_cycle
from mdpkit.losses import log_softmax, margins, sigmoid
from mdpkit.models.preferences import PreferenceModel
from mdpkit.octets import law, octets, preference
from mdpkit.solve.rounding import higham
from theory_checks.engine.claims import Check, Claim, Saboteur, marked
from theory_checks.engine.judges import Rate, Sure
from theory_checks.engine.rows import worst

TWINS = "theory_checks.games._dno_twins"
SIZES = (500, 2000, 8000, 32_000)
CYCLE = weighted_cycle(0.4, 0.3, 0.3, [0.6, 0.3, 0.1])
SEEN = np.log([0.4, 0.3, 0.2, 0.1])                       # the policy of C5
ETAS = (0.25, 0.5, 1.0, 4.0)
# win rates against pi_1 on the cycle, eta = 1/2, of pi_1..pi_10
AGAINST_FIRST = (0.5, 0.532875, 0.555796, 0.569650, 0.577280, 0.581159, 0.582818, 0.582989, 0.581822, 0.578981)


def model(p: np.ndarray, start: np.ndarray) -> PreferenceModel:
    """One prompt, with pi_1 for pi_ref."""
    return PreferenceModel(np.asarray(p)[None], [1.0], np.asarray(start)[None], 1.0)


# ------------------------------------------------------------------------------------------ worlds

@st.composite
def _worlds(draw: st.DrawFn, least: int = 1, **fields: Any) -> dict[str, Any]:
    """Preferences and a start of full support; fields are values, or functions of draw and Y."""
    Y = draw(st.integers(least, 5))
    start = law(draw, Y, weights=(1, 1, 4, 64), least=1)
    return {"p": preference(draw, Y), "start": start, "eta": draw(st.sampled_from(ETAS)),
            **{k: f(draw, Y) if callable(f) else f for k, f in fields.items()}}


def _pairs(draw: st.DrawFn, Y: int) -> np.ndarray:
    """A law of pairs with full support."""
    D = 1.0 + octets(draw, Y, Y) % 16
    return D / D.sum()


def _ladder(draw: st.DrawFn, Y: int) -> np.ndarray:
    """Preferences with ordered rows: Bradley-Terry, or linear in a score."""
    score = octets(draw, Y) % 17 / 16
    if draw(st.booleans()):
        return sigmoid(4 * margins(score))
    return 0.5 + margins(score) / 2


@st.composite
def bilinear(draw: st.DrawFn) -> dict[str, Any]:
    """p = 1/2 + <phi(y), A phi(z)>, A antisymmetric, with phi of one column less than responses, or two."""
    Y = draw(st.integers(3, 5))
    d = Y - draw(st.integers(1, 2))
    phi, A = octets(draw, Y, d) % 5 / 4, np.triu(octets(draw, d, d) % 9 / 8 - 0.5, 1) / (2 * d * d)
    phi[:2, -1] = 0.0, 1.0
    A[0, -1] += d > 1
    M = np.einsum("yi,ij,zj->yz", phi, A - A.T, phi)
    M = M / max(2 * float(np.abs(M).max()), 1.0)          # then A holds that much less
    start = law(draw, Y, weights=(1, 2, 3, 4), least=1)
    return {"p": 0.5 + M, "phi": phi, "start": start, "eta": draw(st.sampled_from([0.5, 1.0, 4.0])), "bent": 0.0}


objectives = partial(_worlds, 2, D=_pairs, other=lambda draw, Y: (octets(draw, 3, Y) % 33 - 16) / 8)
runs = partial(_worlds, T=6)
budgets = partial(_worlds, T=lambda draw, Y: draw(st.sampled_from([300, 1, 2, 5, 20, 100])))
ladders = partial(_worlds, p=_ladder, T=8, cycle=False)


# ---------------------------------------------------------------------------------------- measures

def stationary(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C1: the gradient at pi_t exp(r/eta)/Z, and the loss there against the loss at three other policies."""
    p, eta, old = world["p"], world["eta"], np.log(world["start"])
    r = (p * world["start"]).sum(1)
    new = log_softmax(old + r / eta)
    value, g = subject(world["D"], r, new, old, eta)
    # h = eta (log new - log old) errs by units of the logarithms, and D has mass 1
    slack = higham(64 + len(p) ** 2) * (1 + eta) * (1 + eta * float(np.abs(new).max() + np.abs(old).max()))
    rows = [{"measured": float(np.abs(g).max()), "bound": 0.0, "slack": slack}]
    for moved in world["other"]:
        rows.append({"measured": value, "bound": subject(world["D"], r, log_softmax(new + moved), old, eta)[0],
                     "slack": 4 * slack})
    return worst(rows)


@marked
def realised(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C1-linear: the last of three log-linear policies against that of soft policy iteration."""
    p, start, eta = world["p"].copy(), world["start"], world["eta"]
    p[0, 1] += world["bent"]
    p[1, 0] = 1.0 - p[0, 1]
    log_pi = dno.soft_iteration(p, np.log(start), eta, 3)
    found = subject(Exact(model(p, start)), Params(3, eta, phi=world["phi"]), rng).output[1]
    # a gradient errs by units; the least curvature is Y times the least weight of a pair times sigma' >= .19
    least = 0.19 * len(p) * float(np.exp(2 * log_pi.min()))
    return {"measured": float(np.abs(found - np.exp(log_pi[-1])).max()), "bound": 0.0,
            "slack": 3 * (1 + 1 / eta) * (1e-13 + higham(64 + len(p) ** 2) / least)}


def improvement(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C2: the win rate of each policy against the one before, less 1/2 + eta J."""
    eta, rows = world["eta"], []
    log_pi = subject(Exact(model(world["p"], world["start"])), Params(world["T"], eta), rng).trace.info["log_pi"]
    pi = np.exp(log_pi)
    for t in range(len(pi) - 1):
        win = float((pi[t + 1] * (world["p"] * pi[t]).sum(1)).sum())
        off = abs(win - 0.5 - eta * float(dno.symmetric_kl(log_pi[t + 1], log_pi[t])))
        # logarithms err by units of their size and of 1/eta; eta multiplies them
        rows.append({"measured": off, "bound": 0.0,
                     "slack": higham(64) * (4 + eta * (4 + 4 * float(np.abs(log_pi[t: t + 2]).max())))})
    return worst(rows)


def near_nash(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C3: the exploitability of the average, at the weight of theory."""
    p, start, T = world["p"], world["start"], world["T"]
    params = dno.theory(T, start)
    average = subject(Exact(model(p, start)), params, rng).output[0]
    # T steps round logarithms of size c + T/eta by units
    c = -math.log(start.min())
    return {"measured": float((p * average).sum(1).max()) - 0.5, "bound": math.sqrt(c / (2 * T)),
            "slack": higham(64) * T * (1 + c + T / params.eta)}


def every_opponent(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C4: the largest loss of win rate of a step, over all opponents."""
    p, start, eta = (CYCLE.p[0], CYCLE.pi_ref[0], 0.5) if world["cycle"] else (world["p"], world["start"], world["eta"])
    log_pi = subject(Exact(model(p, start)), Params(world["T"], eta), rng).trace.info["log_pi"]
    rates = np.einsum("ty,yz->tz", np.exp(log_pi), p)
    return {"measured": float((rates[:-1] - rates[1:]).max()), "bound": 0.0,
            "slack": higham(64) * (4 + 2 * float(np.abs(log_pi).max()))}


def rise_and_fall(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C4-cyclic: the win rates of pi_1..pi_10 against pi_1, to six digits."""
    access = Exact(model(world["p"], CYCLE.pi_ref[0]))
    pi = subject(access, Params(9, 0.5), rng).trace.info["log_pi"]
    wins = (np.exp(pi) * (np.array(world["p"]) * np.exp(pi[0])).sum(1)).sum(1)
    return {"measured": float(np.abs(wins - AGAINST_FIRST).max()), "bound": 5e-7}


@marked
def regression(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C5: N^2 times the squared error of differences of theta under pi x pi, over N."""
    p, pi = dominated_cycle().p[0], np.exp(SEEN)
    r, out = (p * pi).sum(1), []
    for N in world["N"]:
        off = subject(p, SEEN, N, rng) - r
        out.append(float(N) ** 2 * float((pi[:, None] * pi * margins(off) ** 2).sum()))
    return {"measured": np.array(out)}


# -------------------------------------------------------------------------------------------- checks

def _check(name: str, kind: str, statement: str, source: str, status: str, entry: str, worlds: Any, measure: Callable,
           judge: Any, *broken: Saboteur, finding: str = "", **twins: str) -> Check:
    """A check whose saboteurs are worlds, and twins by name, each with what is wrong with it."""
    claim = Claim("dno", name, kind, statement, source, status, finding)
    return Check(claim, entry, worlds, measure, judge, (*broken, *(
        Saboteur(twin.replace("_", " "), why, subject=f"{TWINS}:{twin}") for twin, why in twins.items())))


_CYCLE = Saboteur("cycle", "an assumption broken: the preferences are cyclic", world={"cycle": True})
_FLIP = "the sign of r is changed"

CHECKS = (
    _check("C1", "identity", "For every law D of full support on pairs the contrastive objective has its maximum over "
           "policies at pi_t exp(r_t/eta)/Z.", "section on the objective: soft policy iteration", "checked",
           "contrastive", objectives, stationary, Sure("SEARCHED", 120), hard_labels="1[r(y) > r(z)] for s",
           unscaled="no eta in d", unanchored="log pi in place of log pi/pi_t"),
    _check("C1-linear", "identity", "Where p = 1/2 + <phi(y), A phi(z)>, A antisymmetric, the log-linear class gives "
           "the policies of soft policy iteration.", "realizability, here of r_t", "derived", "run_linear", bilinear,
           realised, Sure("SEARCHED", 60), Saboteur("bent", "an assumption broken: one comparison is not bilinear",
                                                    world={"bent": 0.25}),
           uneven="without the last feature", own_pairs="labels by p(y, z) itself"),
    _check("C2", "identity", "The win rate of pi_{t+1} against pi_t is 1/2 + eta (KL(pi_{t+1}, pi_t) + "
           "KL(pi_t, pi_{t+1})): above 1/2 unless they are the same.", "monotone improvement, in its exact form",
           "derived", "run", runs, improvement, Sure("SEARCHED", 120), flipped=_FLIP, half_steps="2 eta for eta",
           first_opponent="win rates against pi_1 for ever"),
    _check("C3", "bound", "With eta = sqrt(T/(8 c)), c = max_y log(1/pi_1(y)): max_y (p average)(y) - 1/2 <= "
           "sqrt(c/(2 T)), for every p, pi_1, T.", "O(1/sqrt(T)); regret of exponential weights with gains in [0, 1]",
           "derived", "run", budgets, near_nash, Sure("SEARCHED", 200), last_policy="the last policy for the average",
           uniform_opponent="win rates against the uniform policy"),
    _check("C4", "monotone", "Where p is Bradley-Terry, or has ordered rows at all, pi_{t+1} has at least the win rate "
           "of pi_t against every opponent.", "stochastic dominance", "derived", "run", ladders, every_opponent,
           Sure("SEARCHED", 120), _CYCLE, flipped=_FLIP),
    _check("C4-cyclic", "separation", "Not in general: p = [[.5, .9, .2], [.1, .5, .8], [.8, .2, .5]], pi_1 = (.6, .3, "
           ".1), eta = .5: the win rate against pi_1 rises from .5 to .582989 at pi_8 and falls, .581822 and .578981, "
           "from there on.", "this instance", "checked", "run", ({"p": CYCLE.p[0].tolist()},), rise_and_fall, Sure(),
           Saboteur("ladder", "Bradley-Terry preferences: it does not fall",
                    world={"p": sigmoid(margins(np.array([0.5, 0.0, -0.5]))).tolist()}),
           uniform_opponent="win rates against the uniform policy"),
    _check("C5", "rate", "From N on-policy pairs with labels sigma(r(y) - r(z)) the squared error of differences of "
           "theta under pi x pi is O(1/N): N^2 times it is O(N). 2 p - 1 = [[0, .4, -.6, .2], [., 0, .8, -.1], "
           "[., ., 0, .3], [.]], pi = (.4, .3, .2, .1).", "Theorem on regression error (there by log|Pi|/N), this "
           "instance", "checked", "regress", ({"N": list(SIZES)},), regression,
           Rate(SIZES, lambda N: N, lambda N: N**1.5, n=100, n_full=512),
           direct_labels="labels by p(y, z), which is not averaged over opponents", few_pairs="500 pairs for all N"),
)
