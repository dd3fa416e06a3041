"""CascadingVI and CascadingBPI held to their claims: the oracle, coverage of the bounds, regret, and stopping.

Claims about the oracle are checked in numbers of at most 16 bits, in which floats do not round: evidence EXACT. Values
are those of the MDP whose actions are all lists. Theorem 1 has no constants to hold a run to; slopes are replaced by
the judge's rate rule.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
from hypothesis import strategies as st

from algorithms.exploration.cascading_rl import Params
from mdpkit.access import Episodes
from mdpkit.measure.regret import Regret
from mdpkit.measure.values import optimal_value, value
from mdpkit.models.cascading import CascadingMDP, all_lists, list_value, numbers, over_lists
from mdpkit.octets import law, octets
from mdpkit.solve.rounding import higham
from theory_checks.engine.claims import Check, Claim, Saboteur
from theory_checks.engine.judges import Expectation, HighProbability, Rate, Sure
from theory_checks.engine.rows import worst

TWINS = "theory_checks.exploration._cascading_rl_twins"
DELTA, EPS = 0.1, 0.3
HORIZONS = (1000, 2000, 4000, 8000)
REFERENCE = [3, 4, 3, 2]                 # S, N, H, m
FORCED = [[0.3], [0.5], [1.0]]           # one item, which leads to state 1 and no click to state 2, where items pay 1


def formula(S: int, N: int, H: int, m: int) -> CascadingMDP:
    """q[s,a] = (1 + ((3s + 5a + s a) mod 9))/11, r[s,a] = ((5s + 7a + 2) mod 10)/10, P[s,a,t] prop. over t to
    1 + ((3s + 5a + 7t + s a t) mod 11)."""
    s, a, t = np.indices((S, N + 1, S))
    weights = 1 + (3 * s + 5 * a + 7 * t + s * a * t) % 11
    s, a = np.indices((S, N + 1))
    q, r = (1 + (3 * s + 5 * a + s * a) % 9) / 11, np.where(a < N, (5 * s + 7 * a + 2) % 10 / 10, 0.0)
    return CascadingMDP(q[:, :N], r, weights / weights.sum(-1, keepdims=True), m, H)


def poor_items(q: list) -> CascadingMDP:
    """Two steps, from state 0: an item leads to state 1, where nothing pays, no click to state 2, where items pay 1."""
    S, N = np.shape(q)
    r, P = np.zeros((S, N + 1)), np.zeros((S, N + 1, S))
    r[2, :N] = P[0, :N, 1] = P[0, N, 2] = P[1, :, 1] = P[2, :, 2] = 1.0
    return CascadingMDP(q, r, P, 1, 2)


# ------------------------------------------------------------------------------------------ worlds

@st.composite
def weights(draw: st.DrawFn, most: int = 5, longest: int = 4) -> dict[str, Any]:
    """Chances and weights of up to five items in sixteenths, larger ones, and a longest list."""
    N = draw(st.integers(1, most))
    numbers = octets(draw, 4, N + 1)
    u, w = numbers[0, :N] % 17 / 16, numbers[1] % 33 / 16
    return {"u": u, "w": w, "m": draw(st.integers(1, min(N, longest))), "w2": w + numbers[3] % 17 / 16,
            "u2": u + (1 - u) * (numbers[2, :N] % 3 / 2)}


@st.composite
def paying(draw: st.DrawFn) -> dict[str, Any]:
    """The same where some item is worth no less than no click."""
    world = draw(weights())
    world["w"][-1] = min(world["w"][-1], world["w"][:-1].max())
    return world


@st.composite
def long_menus(draw: st.DrawFn) -> dict[str, Any]:
    """Up to twelve items."""
    return draw(weights(12))


@st.composite
def small(draw: st.DrawFn) -> dict[str, Any]:
    """A cascading MDP of up to three states and items, episodes, a scale of the bonuses and an accuracy."""
    S, N, H = draw(st.integers(1, 3)), draw(st.integers(2, 3)), draw(st.integers(1, 2))
    r = np.append(octets(draw, S, N) % 9 / 8, np.zeros((S, 1)), 1)
    model = CascadingMDP(octets(draw, S, N) % 17 / 16, r, law(draw, S, N + 1, S), draw(st.integers(1, N)), H)
    return {"model": model, "K": draw(st.sampled_from([2000, 200])), "c": draw(st.sampled_from([0.1, 0.02, 0.5])),
            "eps": draw(st.sampled_from([0.1, 0.3])), "seed": draw(st.integers(0, 99))}


# ---------------------------------------------------------------------------------------- measures

def best_list(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C1: the value against the largest f, and against f of the list, which must be one."""
    u, w, m = world["u"], world["w"], world["m"]
    found, items, _ = subject(u, w, m)
    most = max(list_value(line[line >= 0], u, w) for line in all_lists(len(u), m))
    if not 1 <= len(set(items)) == len(items) <= m:
        return {"measured": 1, "bound": 0}
    rows = ({"measured": abs(Fraction(found) - Fraction(x)), "bound": 0} for x in (most, list_value(items, u, w)))
    return worst(rows)


def falls(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C2: by how much the value falls where u and w rise."""
    before, after = (Fraction(subject(u, w, world["m"])[0]) for u, w in (
        (world["u"], world["w"]), (world["u2"], world["w2"])))
    return {"measured": max(before - after, Fraction(0)), "bound": 0}


def cells(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C5-work: how many numbers the oracle computed, against N m."""
    return {"measured": subject(world["u"], world["w"], world["m"])[2], "bound": len(world["u"]) * world["m"]}


def covered(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C3: how far V* exceeds up, or low V^{pi_k}, at worst over all states, steps and episodes of a run."""
    model = _model(world)
    plain, lists = over_lists(model)
    best, gaps = optimal_value(plain), []

    def watch(first: int, rows: Any) -> None:
        which = numbers(rows.policy, lists)
        new = np.append(True, (which[1:] != which[:-1]).any((1, 2)))
        V = np.stack([value(plain, each) for each in which[new]])[np.cumsum(new) - 1]
        gaps.append(max(float((best - rows.up[:, :-1]).max()), float((rows.low[:, :-1] - V).max())))

    subject(_access(model, rng, watch), Params(world["K"], DELTA, keep=True), _other(rng))
    return {"measured": max(gaps), "bound": 0.0, "slack": _rounding(model)}


def growth(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C4: regret at the horizons."""
    T = np.array(world["horizons"])
    return {"measured": _regret(world, int(T[-1]), subject, rng)[T - 1]}


def last_half(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C4-half: the share of the regret that falls into the second half."""
    regret = _regret(world, world["K"], subject, rng)
    return {"measured": float(1 - regret[world["K"] // 2 - 1] / regret[-1]), "bound": 0.25}


def identified(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C5: the gap of the lists returned; infinite where it did not stop."""
    found = _stopped(_model(world), Params(world["K"], DELTA, world["c"], world["eps"]), subject, rng)
    return {"measured": found["gap"] if found["stopped"] else np.inf, "bound": world["eps"],
            "episodes": found["episodes"]}


def bracketed(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C5-bounds: whether it did not stop, or a bound does not hold."""
    found = _stopped(_model(world), Params(world["K"], DELTA, world["c"], world["eps"]), subject, rng)
    return {"failed": not (found["stopped"] and found["held"]), "episodes": found["episodes"]}


def surely(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C5-sure: the same gap where it stopped and the bounds hold, else 0."""
    model, params = world["model"], Params(world["K"], DELTA, world["c"], world["eps"])
    found = _stopped(model, params, subject, np.random.default_rng(world["seed"]))
    return {"measured": found["gap"] * (found["stopped"] and found["held"]), "bound": world["eps"],
            "slack": 3 * _rounding(model)}


def _stopped(model: CascadingMDP, params: Params, subject: Callable, rng: np.random.Generator) -> dict:
    found = subject(_access(model, rng), params, _other(rng)).output
    plain, lists = over_lists(model)
    best, mine = optimal_value(plain), value(plain, numbers(found.policy, lists))
    slack = _rounding(model)
    held = (best <= found.up[:-1] + slack).all() and (mine >= found.low[:-1] - slack).all()
    return {"gap": float(best[0, model.s_1] - mine[0, model.s_1]), "held": bool(held), "stopped": found.stopped,
            "episodes": found.episodes}


def _regret(world: dict, K: int, subject: Callable, rng: np.random.Generator) -> np.ndarray:
    model = _model(world)
    plain, lists = over_lists(model)
    watch = Regret(plain)
    seen = lambda first, rows: watch(first, numbers(rows.policy, lists))
    subject(_access(model, rng, seen), Params(K, DELTA, world["c"]), _other(rng))
    return watch.regret


def _rounding(model: CascadingMDP) -> float:
    """Four times H backups of values up to H: S + 1 products a click, as many clicks as a list has items, and one."""
    return 4 * model.H * model.H * higham((model.S + 8) * (model.m + 2))


def _model(world: dict) -> CascadingMDP:
    return poor_items(world["poor"]) if "poor" in world else formula(*world["F"])


def _access(model: CascadingMDP, rng: np.random.Generator, watch: Any = None) -> Episodes:
    return Episodes(model, rng, grant=("r",), watch=watch)


def _other(rng: np.random.Generator) -> np.random.Generator:
    return np.random.default_rng(int(rng.integers(2**62)))


# -------------------------------------------------------------------------------------------- checks

def _check(name: str, kind: str, statement: str, source: str, status: str, entry: str, worlds: Any, measure: Callable,
           judge: Any, finding: str = "", **twins: str) -> Check:
    """A check whose saboteurs are twins by name, each with what is wrong with it."""
    claim = Claim("cascading-rl", name, kind, statement, source, status, finding)
    return Check(claim, entry, worlds, measure, judge, tuple(
        Saboteur(twin.replace("_", " "), why, subject=f"{TWINS}:{twin}") for twin, why in twins.items()))


COVERED = "With probability 1 - delta, for all k, h, s at once: low <= V^{pi_k}_h(s) and V*_h(s) <= up; delta = 0.1, "
POOR = "two steps, one item of q = 0.3 that leads to a state where nothing pays, no click to one that pays 1, K = 2500."
CHECKS = (
    _check("C1", "identity", "BestPerm returns max f(l, u, w) over all lists of 1 to m items, and a list that has it.",
           "Lemma on BestPerm", "checked", "oracle", weights, best_list, Sure("EXACT", 200),
           by_product="the m items of largest u w, by falling w", rising="the items by rising w",
           heaviest="the m items of largest w"),
    _check("C2", "monotone", "If u' >= u, w' >= w and max_a w(a) >= w(0): BestPerm(u', w') >= BestPerm(u, w).",
           "optimism of the oracle", "derived", "oracle", paying, falls, Sure("EXACT", 200),
           fixed="f of a fixed list", forced="no click is worth more than any item"),
    _check("C2-always", "monotone", "If u' >= u and w' >= w: BestPerm(u', w') >= BestPerm(u, w).",
           "optimism of the oracle, read for all w", "derived", "oracle", weights, falls, Sure("EXACT", 200),
           "FALSE. A list must not be empty: N = 1, w = (0.1; 1), u = 0.3 gives 0.73, u' = 0.6 gives 0.46.",
           fixed="f of a fixed list"),
    _check("C3", "high-probability", COVERED + "on the reference instance, K = 1000, and with S, N, H, m = 2, 3, 1, 2, "
           "K = 1500.", "good event of Theorem 1", "recalled", "run",
           ({"F": REFERENCE, "K": 1000}, {"F": [2, 3, 1, 2], "K": 1500}), covered, HighProbability(DELTA),
           timid="a fiftieth of the bonuses"),
    _check("C3-forced", "high-probability", COVERED + POOR, "good event of Theorem 1, read for all cascading MDPs",
           "recalled", "run", ({"poor": FORCED, "K": 2500},), covered, HighProbability(DELTA),
           "FALSE. Every item is worse than no click, and one must be shown: f falls as u rises, qup is too large by "
           "2 sqrt(q (1-q) L/n), and wup by O(L/n) only; V* exceeds up by 0.01 to 0.04 in each run. Of two such items, "
           "q = 0.5 and 0.52, whichever is shown looks better the more it is shown: one run in 24 kept the worse one "
           "for 160000 episodes.", timid="a fiftieth of the bonuses"),
    _check("C3-mended", "high-probability", COVERED + "with qlow for a forced item: " + POOR, "derived", "derived",
           "run_mended", ({"F": [2, 3, 1, 2], "K": 1500}, {"poor": FORCED, "K": 2500}), covered,
           HighProbability(DELTA), timid_mended="a fiftieth of the bonuses", not_mended="qup for a forced item"),
    _check("C4", "rate", "Regret(K) = O(sqrt K) on the reference instance between K = 1000 and 8000, with a tenth of "
           "the bonuses.", "Theorem 1, which is about c = 1; this instance", "checked", "run",
           ({"F": REFERENCE, "c": 0.1, "horizons": list(HORIZONS)},), growth,
           Rate(HORIZONS, np.sqrt, lambda T: T ** (2 / 3), n=100),
           "Theorem 1 names no constants. At c = 1 regret grows like K^0.98 between K = 9000 and 32000.",
           exploring="a random list with probability 1/10, no bonus"),
    _check("C4-half", "expectation", "On the reference instance, K = 8000, with a tenth of the bonuses, the second "
           "half of the episodes has at most a quarter of the regret, on average (sqrt K has 29%).", "this instance",
           "checked", "run", ({"F": REFERENCE, "c": 0.1, "K": 8000},), last_half, Expectation(0.0, 1.0),
           still="the same list for ever"),
    _check("C5", "high-probability", "CascadingBPI with a tenth of the bonuses, eps = 0.3, on the reference instance "
           "stops before K = 8000 with eps-optimal lists; here with delta = 0.1.",
           "Theorem 2, which is about c = 1; this instance", "checked", "run_bpi",
           ({"F": REFERENCE, "c": 0.1, "K": 8000, "eps": EPS},), identified, HighProbability(DELTA),
           "At c = 1 it does not stop in 8000 episodes. At c = 0.1 a bound at some (h, s) fails at the stop in 13% of "
           "the runs, at (1, s_1) in none of 300.",
           other_lists="returns the item that pays least"),
    _check("C5-bounds", "high-probability", "CascadingBPI with a quarter of the bonuses, eps = 0.3, on the reference "
           "instance stops before K = 16000, and then low <= V^pi, V* <= up at all h, s; here with delta = 0.1.",
           "Theorem 2, which is about c = 1; this instance", "checked", "run_bpi",
           ({"F": REFERENCE, "c": 0.25, "K": 16_000, "eps": EPS},), bracketed, HighProbability(DELTA),
           hasty="c = 0.02: stops within some 500 episodes"),
    _check("C5-sure", "bound", "If low <= V^pi and V* <= up when CascadingBPI stops, its lists are eps-optimal.",
           "proof of Theorem 2", "derived", "run_bpi", small, surely, Sure("SEARCHED", 80),
           at_once="stops before it has seen anything", tenfold="stops at 10 eps"),
    _check("C5-work", "bound", "BestPerm computes at most N m numbers; there are sum_n N!/(N-n)! lists: at N = 12, "
           "m = 4, 48 against 13344.", "section on BestPerm", "checked", "oracle", long_menus, cells, Sure("EXACT", 60),
           enumeration="visits all lists"),
)
