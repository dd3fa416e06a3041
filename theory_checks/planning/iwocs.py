"""IWOCS held to its claims, in rationals; sets of two and three kernels, and FrozenLake with an uncertain slip."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import flint
import numpy as np
from hypothesis import strategies as st

from algorithms.planning import iwocs
from algorithms.planning.iwocs import Params
from mdpkit.errors import MissingPackage
from mdpkit.interop.gymnasium import read
from mdpkit.models.tabular import TabularMDP
from mdpkit.octets import octets
from mdpkit.rational import exact, rational
from mdpkit.solve import robust
from mdpkit.solve.rounding import higham
from theory_checks.engine.claims import Check, Claim, Saboteur, marked
from theory_checks.engine.judges import Expectation, Sure
from theory_checks.engine.rows import worst_of

TWINS = "theory_checks.planning._iwocs_twins"
ALL = ("greedy-min", "hull")
NINE = flint.fmpq(9, 10)
STALLS: tuple[dict[str, Any], ...] = ({"candidate": "greedy-min", "loss": 63, "status": "stalled"},
                                      {"candidate": "hull", "loss": 0, "status": "certified"})
SLIPS = (1 / 3, 0.5, 0.7, 0.9, 1.0)          # how often the lake obeys
LAKES: tuple[dict[str, Any], ...] = tuple({"slips": slips, "candidate": c, "gamma": 0.97}
                                          for slips in (SLIPS, (0.9, 1 / 3)) for c in ALL)
COUPLED = {"slips": SLIPS, "gamma": 0.97, "rectangular": False}


# ------------------------------------------------------------------------------------------ worlds

def dyadic(draw: st.DrawFn, *shape: int) -> np.ndarray:
    """Rows of sixteenths, as often as not with all mass at one end."""
    raw = octets(draw, *shape[:-1], shape[-1] - 1)
    cuts = np.sort(np.where(raw % 2 == 0, raw // 2 % 17, raw // 34 * 4) % 17, -1)
    ends = np.concatenate([np.zeros((*shape[:-1], 1)), cuts, np.full((*shape[:-1], 1), 16)], -1)
    return np.diff(ends, axis=-1) / 16


@st.composite
def _sets(draw: st.DrawFn, M: int, size: int, actions: int) -> dict[str, Any]:
    S, A = draw(st.integers(2, size)), draw(st.integers(2, actions))
    return {"PU": dyadic(draw, M, S, A, S), "r": octets(draw, S, A) % 9 / 8,
            "gamma": draw(st.sampled_from([0.875, 0.5])), "candidate": draw(st.sampled_from(ALL)), "coupled": False}


def pairs() -> st.SearchStrategy[dict[str, Any]]:
    """Two candidates, two states and actions: sixteen kernels."""
    return _sets(2, 2, 2)


def sets() -> st.SearchStrategy[dict[str, Any]]:
    """Three candidates, up to three states and actions; among them the set on which greedy-min stalls."""
    return _sets(3, 3, 3) | st.sampled_from([stall() | {"candidate": c, "coupled": False} for c in ALL])


def hulls() -> st.SearchStrategy[dict[str, Any]]:
    """`sets` with the hull candidate."""
    return sets().map(lambda w: w | {"candidate": "hull"})


def stall() -> dict[str, Any]:
    """Deterministic next states by candidate, state and action; start in state 0."""
    after = np.array([[[0, 0], [1, 2], [1, 0]], [[2, 1], [1, 2], [2, 0]]])
    return {"PU": np.eye(3)[after], "r": np.array([[0.0, 0.5], [0.5, 1.0], [0.25, 0.25]]), "gamma": 0.9}


def static_above_dynamic() -> tuple[np.ndarray, np.ndarray]:
    """SEP1, in tenths: 0 -> 1 and 1 -> win with probabilities 0.9 and 0.1, or the other way round; else lose."""
    PU, r = np.zeros((2, 4, 1, 4)), np.array([[0.0], [0.0], [1.0], [0.0]])
    for m, (first, second) in enumerate(((0.9, 0.1), (0.1, 0.9))):
        PU[m, :, 0] = (0, first, 0, 1 - first), (0, 0, second, 1 - second), (0, 0, 1, 0), (0, 0, 0, 1)
    return tenths(PU), tenths(r)


def duality_gap() -> tuple[np.ndarray, np.ndarray]:
    """SEP2: one of two actions wins for ever, the other loses; which one depends on the kernel."""
    PU, r = np.zeros((2, 3, 2, 3)), np.array([[0.0, 0.0], [1.0, 1.0], [0.0, 0.0]])
    for m in range(2):
        PU[m, 0, m, 1] = PU[m, 0, 1 - m, 2] = 1.0
        PU[m, 1, :, 1] = PU[m, 2, :, 2] = 1.0
    return tenths(PU), tenths(r)


def tenths(x: Any) -> np.ndarray:
    """The nearest tenths, as rationals."""
    out = np.empty(np.shape(x), object)
    out.ravel()[:] = [flint.fmpq(round(10 * v), 10) for v in np.ravel(x).tolist()]
    return out


def rectangles(PU: np.ndarray) -> np.ndarray:
    """All M^(S A) kernels of the rectangular set."""
    M, S, A, _ = PU.shape
    return np.array([iwocs.model_of(PU, np.array(index).reshape(S, A)) for index in itertools.product(
        range(M), repeat=S * A)])


def lakes(slips: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Kernels (M, 17, 4, 17), rewards and start of gymnasium's FrozenLake for chances to go where one wants to.

    The other two directions off that one share the rest. The goal pays 1 on leaving it, for one more state without
    reward: so r is known whatever the slip, and values are gamma times the environment's.
    """
    try:
        from gymnasium.envs.toy_text import FrozenLakeEnv
    except ImportError as e:
        raise MissingPackage("gymnasium", "gym") from e
    m = read(FrozenLakeEnv(is_slippery=False), 0.5).model                # whose discount is not used
    S, at = m.S, np.argwhere(m.r > 0)[0]
    goal = int(m.dense[at[0], at[1]].argmax())
    P, r = np.zeros((S + 1, 4, S + 1)), np.zeros((S + 1, 4))
    P[:S, :, :S] = m.dense
    P[[goal, S]] = np.eye(S + 1)[S]
    r[goal] = 1.0
    aside = np.roll(P, 1, 1) + np.roll(P, -1, 1)
    return np.array([p * P + (1 - p) / 2 * aside for p in slips]), r, np.eye(S + 1)[0]


# ---------------------------------------------------------------------------------------- measures

def _exactly(world: dict) -> tuple[np.ndarray, np.ndarray, Any, np.ndarray]:
    """PU, r, gamma and the start in state 0."""
    r = exact(world["r"])
    return exact(world["PU"]), r, rational(world["gamma"]), exact(np.eye(len(r))[0])


def four_numbers(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C1: the subject's V against max min and min max at each state, and its Q against min_T Q*_T."""
    PU, r, gamma, _ = _exactly(world)
    kernels = PU if world["coupled"] else rectangles(PU)
    pi, V = subject(PU, r, gamma, np.ones(PU.shape[:3], np.bool_))
    policies = [np.array(p) for p in itertools.product(range(r.shape[1]), repeat=len(r))]
    of = np.array([[iwocs.value(P, r, gamma, p) for P in kernels] for p in policies])
    best = np.array([iwocs.optimal(P, r, gamma) for P in kernels])
    own = np.array([iwocs.value(P, r, gamma, pi) for P in kernels]).min(0)
    Q = r + gamma * (PU @ V).min(0)
    pairs = (of.min(1).max(0), V), (best.max(-1).min(0), V), (own, V), (best.min(0), Q)
    return worst_of(*((np.abs(x - y).max(), 0) for x, y in pairs))


def bracketed(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C2: L_i <= V_rob <= U_i, U never rises, and what is called certified is."""
    PU, r, gamma, rho = _exactly(world)
    found = subject(PU, r, gamma, rho, Params(0, world["candidate"]))
    every = np.ones(PU.shape[:3], np.bool_)
    V = (rho * iwocs.robust(PU, r, gamma, every)[1]).sum()
    rows = [(max(L - V, V - U, 0), 0) for U, L in zip(found.U, found.L)]
    rows += [(max(b - a, 0), 0) for a, b in itertools.pairwise(found.U)]
    if found.status == "certified":
        own = iwocs.respond(PU, r, gamma, rho, found.policy, found.models[0], True)[1]
        rows.append((V - (rho * own).sum(), 0))
    return worst_of(*rows)


def ordered(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C2-order: Qmin_i >= Q of the hull >= Q_rob, and Qmin_{i+1} <= Qmin_i, everywhere."""
    PU, r, gamma, rho = _exactly(world)
    models = iwocs.search(PU, r, gamma, rho, Params(0, world["candidate"])).models
    least, hull = subject(PU, r, gamma, models)
    Q = r + gamma * (PU @ iwocs.robust(PU, r, gamma, np.ones(PU.shape[:3], np.bool_))[1]).min(0)
    wrong = [(hull - least).max(), (Q - hull).max(), *((b - a).max() for a, b in itertools.pairwise(least))]
    return worst_of(*((max(x, 0), 0) for x in wrong))


def finite(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C3: iterations of the hull candidate against S A (M-1) + 1, unless it ends with a gap or off V_rob."""
    PU, r, gamma, rho = _exactly(world)
    found = subject(PU, r, gamma, rho, Params(0, world["candidate"]))
    M, S, A, _ = PU.shape
    V = (rho * iwocs.robust(PU, r, gamma, np.ones((M, S, A), np.bool_))[1]).sum()
    return worst_of((len(found.U), S * A * (M - 1) + 1), (abs(found.U[-1] - found.L[-1]), 0), (abs(found.U[-1] - V), 0))


def stalled(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C4: U = 5 and what the final policy loses, in fortieths, on the set in which greedy-min stalls."""
    w = stall()
    PU, r, rho = exact(w["PU"]), exact(w["r"]), exact(np.eye(3)[0])
    found = subject(PU, r, NINE, rho, Params(0, world["candidate"]))
    return worst_of((abs(found.U[-1] - 5), 0), (abs(5 - found.L[-1] - flint.fmpq(world["loss"], 40)), 0),
                    (int(found.status != world["status"]), 0))


@marked
def rarely(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C4-rare: whether greedy-min certifies a random rectangular set, in floats, to 1e-9."""
    S, A = int(rng.integers(2, 5)), int(rng.integers(2, 4))
    PU, r = rng.dirichlet(np.full(S, 0.5), (3, S, A)), rng.random((S, A))
    if world["stall"]:
        PU, r = stall()["PU"], stall()["r"]
    found = subject(PU, r, 0.9, np.eye(len(r))[0], Params(1e-9))
    return {"measured": float(found.status == "certified"), "bound": 0.9}


def one_kernel(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C5: the static value 0.729 and the robust value 0.081 of SEP1."""
    PU, r = static_above_dynamic()
    kernels, rho = rectangles(PU) if world["hull"] else PU, exact(np.eye(4)[0])
    static = subject(kernels, r, NINE, rho, np.zeros(4, np.int64))
    V = iwocs.robust(PU, r, NINE, np.ones(PU.shape[:3], np.bool_))[1]
    return worst_of((abs(static - flint.fmpq(729, 1000)), 0), (abs(V[0] - flint.fmpq(81, 1000)), 0))


def orders(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C5-gap: min max, max min over actions and the static value of 1/2-1/2 on SEP2: 9, 0 and 4.5."""
    PU, r = duality_gap()
    kernels, rho = rectangles(PU) if world["hull"] else PU, exact(np.eye(3)[0])
    policies = [np.array([a, 0, 0]) for a in range(2)]
    half = exact(np.full((3, 2), 0.5))
    values = (min(iwocs.optimal(P, r, NINE)[0].max() for P in kernels),
              max(subject(kernels, r, NINE, rho, pi) for pi in policies), subject(kernels, r, NINE, rho, half))
    return worst_of(*((abs(2 * x - want), 0) for x, want in zip(values, (18, 0, 9))))


@marked
def on_the_lake(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C6: how far the last U and L are from the certified robust optimum, and from one another."""
    found, lo, hi, slack = _lake(world, subject)
    U, L = found.U[-1], found.L[-1]
    return {"measured": max(lo - U, L - hi, U - L), "bound": 1e-9 if found.status == "certified" else -1.0,
            "slack": slack}


@marked
def coupled_lake(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C6-coupled: L of the stalled search against half of the certified robust optimum of the hull."""
    found, lo, _, slack = _lake(world | {"candidate": "greedy-min"}, subject)
    return {"measured": float(found.L[-1]), "bound": lo / 2, "slack": slack}


def _lake(world: dict, subject: Callable) -> tuple[iwocs.Found, float, float, float]:
    """The search, the certified enclosure of the robust optimum at the start, and the rounding of a value."""
    PU, r, rho = lakes(tuple(world["slips"]))
    gamma, m = world["gamma"], TabularMDP(PU[0], r, world["gamma"], rho)
    solved = robust.solve_finite(m, PU, tier="exact")
    kernels = np.array([TabularMDP(P, r, gamma, rho).P for P in PU])
    found = subject(kernels, r, gamma, rho, Params(1e-9, world["candidate"], world.get("rectangular", True)))
    lo, hi = (float((rho * x).sum()) for x in (solved.lo, solved.hi))
    # a linear system of S equations with condition number at most 2/(1 - gamma), and ties of TIE passed over as often
    S = len(r)
    return found, lo, hi, (higham(16 * S**3) * 2 + iwocs.TIE) / (1 - gamma) ** 2


# -------------------------------------------------------------------------------------------- checks

def _check(name: str, kind: str, statement: str, source: str, status: str, entry: str, where: Any, measure: Callable,
           judge: Any, finding: str = "", more: tuple[Saboteur, ...] = (), **twins: str) -> Check:
    return Check(Claim("iwocs", name, kind, statement, source, status, finding), entry, where, measure, judge, (
        *(Saboteur(twin.replace("_", " "), why, subject=f"{TWINS}:{twin}") for twin, why in twins.items()), *more))


HULL = (Saboteur("its hull", "the rectangular hull in place of the coupled set", world={"hull": True}),)

CHECKS = (
    _check("C1", "identity", "Rectangular sets, stationary policies: max_pi min_T V = min_T max_pi V = V_rob at "
           "each state, Q_rob = min_T Q*_T everywhere, and the greedy policy of Q_rob has worst value V_rob.",
           "Theorem 1", "checked", "robust", pairs, four_numbers, Sure("EXACT", 60),
           more=(Saboteur("coupled", "an assumption broken: one index for all", world={"coupled": True}),),
           hopeful="the best candidate", averaging="the mean of the candidates"),
    _check("C2", "bound", "L_i <= V_rob <= U_i at every iteration, U_i never rises, and what line 6 certifies is an "
           "optimal robust policy; both candidates, eps = 0.", "Properties 1 and 2", "derived", "search", sets,
           bracketed, Sure("EXACT", 100), settled="stops when L does not change",
           kindly="the adversary picks the best kernel", newest="plans for the last model alone"),
    _check("C2-order", "monotone", "Qmin_i >= Q of the hull of T_0..T_i >= Q_rob, and Qmin_{i+1} <= Qmin_i, at every "
           "(s, a).", "Properties 1 and 2", "checked", "tables", sets, ordered, Sure("EXACT", 60),
           no_minimum="Q_i in place of Qmin_i", hull_of_the_last="the hull of T_i alone"),
    _check("C3", "bound", "The hull candidate ends with U = L = V_rob after at most S A (M-1) + 1 iterations.",
           "each iteration that does not end adds an entry", "derived", "search", hulls, finite, Sure("EXACT", 80),
           closed_hull="worst entries are not added"),
    _check("C4", "separation", "On STALL, gamma = 0.9: greedy-min repeats T_1 with U = 5, L = 3.425; hull ends with "
           "U = L = V_rob = 5.", "this instance", "derived", "search", STALLS, stalled, Sure("EXACT"),
           "greedy-min alone does not converge: policy (1, 1, 0) is 1.575 worse than the best.",
           more=(Saboteur("the other candidate", "hull where greedy-min is claimed", world={"candidate": "hull"}),),
           newest="plans for the last model alone"),
    _check("C4-rare", "expectation", "greedy-min certifies at least nine in ten random rectangular sets (M = 3, S "
           "2..4, A 2..3, gamma = 0.9, rows Dirichlet(1/2)).", "random instances", "checked", "search",
           ({"stall": False},), rarely, Expectation(0.0, 1.0, above=True),
           more=(Saboteur("the set that stalls", "no random set", world={"stall": True}),)),
    _check("C5", "separation", "Coupled sets: SEP1 has static value 0.729 and robust value 0.081.", "this instance",
           "checked", "static_value", ({"hull": False},), one_kernel, Sure("EXACT"), more=HULL,
           dynamic="the adversary changes the kernel on the way"),
    _check("C5-gap", "separation", "SEP2: min_T max_pi V = 9, no policy of one action has more than 0, and 1/2-1/2 has "
           "4.5.", "this instance", "checked", "static_value", ({"hull": False},), orders, Sure("EXACT"), more=HULL,
           mean_kernel="the mean over kernels"),
    _check("C6", "bound", "FrozenLake whose slip may be any of a finite set at each (s, a): both candidates end "
           "certified, U and L at the certified robust optimum to 1e-9.", "gymnasium's table", "derived", "search",
           LAKES, on_the_lake, Sure("SEARCHED"), closed_hull="worst entries are not added",
           settled="stops when L does not change"),
    _check("C6-coupled", "separation", "With one slip for the whole lake, of five, greedy-min stalls with a policy "
           "whose static value is below half of the robust optimum of the rectangular hull, itself below the best "
           "static value.", "gymnasium's table", "derived", "search", (COUPLED,), coupled_lake, Sure("SEARCHED"),
           "greedy-min mixes actions that are best under different slips: a policy worth 0 without slipping. Nothing "
           "is claimed for coupled sets, but the rectangular hull gives 0.032 there.",
           more=(Saboteur("rectangular", "each (s, a) has its own slip", world={"rectangular": True}),),
           from_the_hull="plans for the rectangular hull"),
)
