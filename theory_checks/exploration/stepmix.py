"""StepMix and EpsMix held to their claims: the mixture in rationals, safety of every episode, regret, and its price.

At c = 1 the bonus keeps all lower bounds at 0 on the reference instance beyond 20000 episodes, and pi_b is played
throughout; it is left in a world of one state. Rates and the price of safety are checked at c = 0.005 to 0.02.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import strategies as st

from algorithms.exploration import stepmix
from algorithms.exploration.stepmix import Params
from mdpkit import rational, validate
from mdpkit.access import Episodes
from mdpkit.data import collect
from mdpkit.instances.formula import drifting
from mdpkit.measure import plain
from mdpkit.measure.regret import Regret, gap
from mdpkit.measure.values import optimal_action_value
from mdpkit.models.tabular import EpisodicMDP
from mdpkit.octets import law, octets
from mdpkit.rational import exact
from mdpkit.solve.rounding import higham
from theory_checks.engine.claims import Check, Claim, Saboteur
from theory_checks.engine.judges import Expectation, HighProbability, Rate, Separation, Sure
from theory_checks.engine.rows import exact_row

TWINS = "theory_checks.exploration._stepmix_twins"
DELTA = 0.1
HORIZONS = (500, 1000, 2000, 4000)
REFERENCE: dict[str, Any] = {"F": [3, 3, 3], "share": 0.9}          # gamma = share V^{pi_b}
SMALL = REFERENCE | {"c": 0.005, "K": HORIZONS[-1]}
ONE_STATE = {"F": [1, 2, 1], "share": 0.9, "c": 1.0, "K": 4000}


# ------------------------------------------------------------------------------------------ worlds

@st.composite
def pairs(draw: st.DrawFn) -> dict[str, Any]:
    """A model, a baseline, a deterministic policy, a step and a weight."""
    H, S, A = (draw(st.integers(1, 3)) for _ in range(3))
    model = EpisodicMDP(law(draw, H, S, A, S), octets(draw, H, S, A) % 17 / 16, law(draw, S))
    return {"model": model, "base": law(draw, H, S, A), "best": octets(draw, H, S) % A, "h0": draw(st.integers(1, H)),
            "p": draw(st.integers(0, 8)) / 8}


@st.composite
def believed(draw: st.DrawFn) -> dict[str, Any]:
    """The same, by how much each policy is undervalued, and gamma as a share of the baseline's value."""
    world = draw(pairs())
    noise = octets(draw, len(world["base"]) + 1) % 5 / 64
    return {**world, "noise": noise, "share": draw(st.integers(4, 8)) / 8}


@st.composite
def runs(draw: st.DrawFn) -> dict[str, Any]:
    """The same, a few episodes and a scale of the bonus."""
    return {**draw(pairs()), "K": draw(st.sampled_from([150, 40])), "c": draw(st.sampled_from([0.002, 0.02, 0.0005])),
            "share": draw(st.integers(4, 8)) / 8}


# ---------------------------------------------------------------------------------------- measures

def linear(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C1 in rationals."""
    arrays, base, best = _exactly(world)
    h0, p = world["h0"], rational.rational(world["p"])
    ends = [_value(arrays, np.concatenate([base[:h], best[h:]])) for h in (h0, h0 - 1)]
    mixed = _value(arrays, subject(base, best, h0, p))
    return exact_row(abs(mixed - (1 - p) * ends[0] - p * ends[1]), 0)


def undervalued(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C5 in rationals: by how much the mixture falls short of gamma."""
    arrays, base, best = _exactly(world)
    values = [_value(arrays, np.concatenate([base[:h], best[h:]])) for h in range(len(base) + 1)]
    lcb = exact(np.zeros(len(values))) + np.array(values) - exact(world["noise"])
    gamma = values[-1] * rational.rational(world["share"])
    short = gamma - _value(arrays, subject(base, best, lcb, gamma))
    return exact_row(max(short, 0), 0)


def replayed(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C5-run: by how much an episode falls short of gamma in which no tested policy was overvalued."""
    model, base = world["model"], world["base"]
    gamma = world["share"] * _start(model, base)
    trace: Any = subject(_access(model, base, rng), Params(world["K"], DELTA, gamma, world["c"]), _other(rng)).trace
    short, slack = 0.0, _rounding(model)
    for i, (h0, lcb, best) in enumerate(zip(*(trace.info[name] for name in ("h0", "lcb", "best")))):
        if h0 <= model.H and _overvalued(model, base, best, lcb) <= 0.0:
            short = max(short, gamma - _start(model, trace.policies[trace.index[i]]))
    return {"measured": short, "bound": 0.0, "slack": 2 * slack}


def safe(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C2: by how much the worst episode falls short of gamma."""
    found = _played(world, subject, rng)
    return {"measured": world["share"] * found["base"] - (found["best"] - found["gaps"].max()), "bound": 0.0,
            "slack": _rounding(found["model"])}


def safe_learned(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C2-learned: the same with a baseline learned from uniform episodes, and a fixed gamma."""
    model = drifting(*world["F"])
    data = collect(model, np.full(model.r.shape, 1 / model.A), world["n"], rng)
    watch = Regret(model)
    door = Episodes(model, rng, grant=("r", "rho"), watch=watch)
    subject(door, data, Params(world["K"], DELTA, world["gamma"], world["c"]), _other(rng))
    best = float(np.einsum("s,s->", model.rho, optimal_action_value(model)[0].max(-1)))
    return {"measured": world["gamma"] - (best - watch.gaps.max()), "bound": 0.0, "slack": _rounding(model)}


def bounded(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C2-bounds: by how much LCB exceeds the value of a policy tested, at worst over every eighth episode."""
    model, base, _ = _opened(world)
    found: list[float] = []

    def watch(first: int, rows: Any) -> None:
        found.extend(_overvalued(model, base, rows.best[i], rows.lcb[i]) for i in range(0, len(rows.p), 8))

    subject(_access(model, base, rng, watch), Params(world["K"], DELTA, world["share"] * _start(model, base),
                                                     world["c"]), _other(rng))
    return {"measured": max(found), "bound": 0.0, "slack": _rounding(model)}


def learned(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C3: regret at the horizons; the share of the second half's episodes that do not play pibar; and the share of the
    regret beyond that without constraint that the second half adds, at most 1."""
    found = _played(world, subject, rng)
    half = len(found["gaps"]) // 2
    extra = np.cumsum(found["gaps"] - _played(world, stepmix.run_free, rng)["gaps"])
    added = min(abs(extra[-1] - extra[half - 1]) / abs(extra[-1]), 1.0)
    return {"rate": {"measured": np.cumsum(found["gaps"])[np.array(HORIZONS) - 1]},
            "detours": {"measured": float((found["h0"][half:] > 0).mean()), "bound": 0.05},
            "price": {"measured": float(added), "bound": 0.1}}


def alike(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C4: regret of EpsMix over that of StepMix, or its inverse."""
    ratio = _played(world, subject, rng)["gaps"].sum() / _played(world, stepmix.run, rng)["gaps"].sum()
    return {"measured": float(max(ratio, 1 / ratio)), "bound": 2.0}


def _played(world: dict, run: Callable, rng: np.random.Generator) -> dict[str, Any]:
    """Gaps of each episode, EpsMix's by the mean over its coin, and what else is known of a run."""
    model, base, mine = _opened(world)
    watch, rest = Regret(model), []

    def see(first: int, rows: Any) -> None:
        watch(first, rows.policy)
        rest.append((rows.h0.copy(), rows.p.copy()))

    run(_access(model, base, rng, see), Params(world["K"], DELTA, world["share"] * mine, world["c"]), _other(rng))
    h0, p = (np.concatenate(x) for x in zip(*rest))
    gaps, off = watch.gaps, gap(model, base)
    if run.__name__.endswith("epsmix"):
        gaps = p * gaps + (1 - p) * off
    best = float(np.einsum("s,s->", model.rho, optimal_action_value(model)[0].max(-1)))
    return {"gaps": gaps, "h0": h0, "base": mine, "best": best, "model": model}


def _opened(world: dict) -> tuple[EpisodicMDP, np.ndarray, float]:
    """The model, 0.6 of its greedy policy and 0.4 of the uniform one, and that baseline's value."""
    model = drifting(*world["F"])
    greedy = np.eye(model.A)[optimal_action_value(model).argmax(-1)]
    base = validate.policy("base", 0.6 * greedy + 0.4 / model.A, model.r.shape)
    return model, base, _start(model, base)


def _exactly(world: dict) -> tuple[tuple, np.ndarray, np.ndarray]:
    m = world["model"]
    return (exact(m.P), exact(m.r), exact(m.rho)), exact(world["base"]), rational.eye(m.A, exact(m.r))[world["best"]]


def _value(arrays: tuple, pi: np.ndarray) -> Any:
    P, r, rho = arrays
    return rho @ plain.evaluate(P, r, pi)[0][0]


def _overvalued(model: EpisodicMDP, base: np.ndarray, best: np.ndarray, lcb: np.ndarray) -> float:
    """The largest LCB(h) - V(pi^h) over those computed."""
    greedy = np.eye(model.A)[best]
    return max(lcb[h] - _start(model, np.concatenate([base[:h], greedy[h:]])) for h in np.flatnonzero(~np.isnan(lcb)))


def _start(model: EpisodicMDP, pi: np.ndarray) -> float:
    V = np.zeros(model.S)
    for h in range(model.H - 1, -1, -1):
        V = np.einsum("sa,sa->s", pi[h], model.r[h] + np.einsum("sat,t->sa", model.P[h], V))
    return float(np.einsum("s,s->", model.rho, V))


def _rounding(model: EpisodicMDP) -> float:
    """Of a difference of two values: H backups of values up to H, of S A + S + 8 roundings each, four times."""
    return 4 * model.H * model.H * higham((model.S + 1) * model.A + 8)


def _access(model: EpisodicMDP, base: np.ndarray, rng: np.random.Generator, watch: Any = None) -> Episodes:
    return Episodes(model, rng, grant=("r", "rho"), bounds={"baseline": base}, watch=watch)


def _other(rng: np.random.Generator) -> np.random.Generator:
    return np.random.default_rng(int(rng.integers(2**62)))


# -------------------------------------------------------------------------------------------- checks

def _check(name: str, kind: str, statement: str, source: str, status: str, entry: str, worlds: Any, measure: Callable,
           judge: Any, finding: str = "", **twins: str) -> Check:
    """A check whose saboteurs are twins by name, each with what is wrong with it."""
    claim = Claim("stepmix", name, kind, statement, source, status, finding)
    return Check(claim, entry, worlds, measure, judge, tuple(
        Saboteur(twin.replace("_", " "), why, subject=f"{TWINS}:{twin}") for twin, why in twins.items()))


ALWAYS = "With probability 1 - delta no episode is worth less than gamma; delta = 0.1, "
WHERE = "the reference instance, gamma = 0.9 V^{pi_b}, "
FAST = WHERE + "c = 0.005, K = 4000"
WEAK = "At c = 1 pi_b is played beyond K = 20000 on the reference instance; in the world of one state it is left. At " \
    "gamma = 0.9 V^{pi_b} all episodes play pi_b or pibar, with half of it some 5% play a mixture. U exceeds gamma " \
    "throughout: a test of U in place of LCB is no constraint."
CHECKS = (
    _check("C1", "identity", "V(pi^{h0} with (1-p) pi_b + p pibar at step h0) = (1-p) V(pi^{h0}) + p V(pi^{h0-1}), for "
           "all policies, h0 and p.", "step mixture", "derived", "mixture", pairs, linear, Sure("EXACT", 150),
           all_steps="both policies mixed at all steps", next_step="step h0+1 is mixed", turned="p for 1-p"),
    _check("C2", "high-probability", ALWAYS + "StepMix on " + WHERE + "c = 1 and K = 1000, c = 0.01 and K = 4000; with "
           "gamma = V^{pi_b}/2, c = 0.001, K = 1000; and in a world of one state, c = 1, K = 4000.",
           "Theorem 1; c = 1 there", "recalled", "run",
           (ONE_STATE, REFERENCE | {"c": 1.0, "K": 1000}, REFERENCE | {"share": 0.5, "c": 0.001, "K": 1000},
            REFERENCE | {"c": 0.01, "K": 4000}), safe, HighProbability(DELTA), WEAK, free="no constraint"),
    _check("C2-epsmix", "high-probability", ALWAYS + "EpsMix, by the mean over its coin, on " + WHERE + "c = 0.005 and "
           "K = 2000, and in a world of one state, c = 1, K = 4000.", "Theorem 2; c = 1 there", "recalled",
           "run_epsmix", (ONE_STATE, SMALL | {"K": 2000}), safe, HighProbability(DELTA), free="no constraint"),
    _check("C2-learned", "high-probability", ALWAYS + "StepMix with a baseline learned from 4000 uniform episodes, "
           "reference instance, gamma = 1.5, c = 0.005, K = 1000.", "section on offline baselines", "recalled",
           "run_learned", ({"F": [3, 3, 3], "n": 4000, "gamma": 1.5, "c": 0.005, "K": 1000},), safe_learned,
           HighProbability(DELTA), forgets_the_data="learns from nothing, without constraint"),
    _check("C2-bounds", "high-probability", "With probability 1 - delta, for all k: LCB <= V of each policy tested; "
           "delta = 0.1, reference instance, K = 400, and a world of one state, K = 1200.", "good event of Theorem 1",
           "recalled", "run", (ONE_STATE | {"K": 1200}, REFERENCE | {"c": 1.0, "K": 400}), bounded,
           HighProbability(DELTA), no_bonus="c = 0"),
    _check("C3", "separation", "Regret(K) = O(sqrt K) between K = 500 and 4000; of the second half of the episodes at "
           "most 5% play another policy than pibar, on average; and it adds at most 10% of the regret beyond that of "
           "the learner without constraint, on average; " + FAST + ".", "Theorem 1, about c = 1; this instance",
           "checked", "run", (SMALL,), learned,
           Separation((("rate", Rate(HORIZONS, np.sqrt, lambda T: T ** (2 / 3), n=100)),
                       ("detours", Expectation(0.0, 1.0)), ("price", Expectation(0.0, 1.0)))),
           "They do not end for good at first: at c = 0.02, where LCB(0) reaches gamma near k = 6300, 5 of 30 runs "
           "have 55 to 558 more between k = 7000 and 14000, when pibar turns to an action that is little known.",
           cautious="always pi_b"),
    _check("C4", "high-probability", "Regret of EpsMix over that of StepMix lies in [1/2, 2]; " + FAST + "; here with "
           "delta = 0.1.", "Theorem 2; this instance", "checked", "run_epsmix", (SMALL,), alike,
           HighProbability(DELTA), cautious_epsmix="always pi_b"),
    _check("C5", "bound", "If LCB(h) <= V(pi^h) for all h, then the policy of StepMix is worth gamma; here LCB is "
           "V less anything, gamma <= V(pi_b).", "proof of Theorem 1", "derived", "safe_mixture", believed, undervalued,
           Sure("EXACT", 200), bold="LCB is V + 0.05", unmixed="pi^{h0-1}", turned_safe="p for 1-p"),
    _check("C5-run", "bound", "In every episode in which LCB <= V for the policies tested, what is played is worth "
           "gamma.", "proof of Theorem 1", "derived", "run", runs, replayed, Sure("SEARCHED", 60),
           skips_the_mixture="plays pi^{h0-1}"),
)
