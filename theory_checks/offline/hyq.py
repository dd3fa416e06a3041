"""Hy-Q held to its claims: the decomposition, the transfer coefficient, the sure bounds, and the lock.

Log-log slopes, often read off for C4 and C5, are replaced by the judge's rate rule and by bounds that hold with high
probability. Reference value corrected: the third term of C1 on the formula instance is 2.0388932961815374, not
2.0388931961815374 (the identity itself decides between them).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from hypothesis import strategies as st

from algorithms.offline import hyq
from algorithms.offline.hyq import Params
from mdpkit import validate
from mdpkit.access import Episodes, Exact
from mdpkit.data import collect, draw_tuples
from mdpkit.instances.locks import lucky_behaviour, lucky_traps
from mdpkit.measure.regret import Regret, gaps
from mdpkit.measure.values import optimal_action_value
from mdpkit.models.tabular import EpisodicMDP
from mdpkit.octets import Pool, law, octets
from mdpkit.rational import exact, fraction
from mdpkit.records import Dataset, Result
from mdpkit.solve.rounding import higham
from theory_checks.engine.claims import Check, Claim, Saboteur, marked
from theory_checks.engine.judges import Expectation, HighProbability, Rate, Separation, Sure

TWINS = "theory_checks.offline._hyq_twins"
LOSS = 0.5                               # the most that any policy of the lock can lose
TAIL = 500                               # iterates that count as the last ones
DATA = 300                               # logged episodes
DOUBLING = (375, 750, 1500, 3000)
DRAWN = np.unique(np.geomspace(1, 3000, 60).astype(np.int64))      # iterations that the figure draws


def two_thirds(T: np.ndarray) -> np.ndarray:
    """The rate next to sqrt(T) on the ladder."""
    return T ** (2 / 3)


# ------------------------------------------------------------------------------------------ worlds

@st.composite
def _worlds(draw: st.DrawFn, states: int, horizon: int) -> dict[str, Any]:
    """An episodic MDP, a comparator, a critic and an offline law with full support, here and there very thin.

    The critic is zero or Q*, moved by some quarters at some pairs, the comparator often optimal: bounds are tight
    where few errors matter.
    """
    pool = Pool(draw, states * (n := 3 * horizon * states), n, states, n, n, n)
    H, S, A = pool.integer(1, horizon), pool.integer(1, states), pool.integer(1, 3)
    model = EpisodicMDP(law(pool, H, S, A, S, weights=range(9)), octets(pool, H, S, A) % 17 / 16, law(pool, S))
    Q = optimal_action_value(model)
    pi_e = Q.argmax(-1) if pool.integer(0, 1) else law(pool, H, S, A)
    f = np.array([0, 0, 0, 1, -1, 2, -2, 8])[octets(pool, H, S, A) % 8] / 4 + (Q if pool.integer(0, 1) else 0.0)
    return {"model": model, "pi_e": validate.policy("pi_e", pi_e, (H, S, A)), "f": f,
            "nu": law(pool, H, S * A, weights=(1, 8, 64)).reshape(H, S, A)}


def worlds() -> st.SearchStrategy[dict[str, Any]]:
    """Up to four states and steps."""
    return _worlds(4, 4)


def few_states() -> st.SearchStrategy[dict[str, Any]]:
    """Up to two states and steps: where a bound can be tight, a search finds it sooner in little worlds."""
    return _worlds(2, 2)


# ---------------------------------------------------------------------------------------- measures

def residual(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C1 in rationals: how far the sides are apart, or how negative the third sum is."""
    m = world["model"]
    gap, one, two, three = subject(exact(m.P), exact(m.r), exact(m.rho), exact(world["f"]), exact(world["pi_e"]))
    return {"measured": fraction(max(abs(gap - (one + two - three)), -three)), "bound": 0}


@marked
def supremum(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C2: sup over x of E_d x / sqrt(E_nu x^2), from random x and from the maximiser d/nu, against the closed form."""
    m, nu = world["model"], world["nu"]
    d = hyq._occupancy(m.P, m.rho, world["pi_e"])
    tried = [d / nu, *rng.normal(size=(40, *d.shape)), np.ones(d.shape), 1.0 * (d > 0)]
    reached = max(float((d * x).sum() / np.sqrt((nu * x * x).sum())) for x in tried)
    C = subject(Exact(m), world["pi_e"], nu)
    ceiling = float(np.sqrt(m.H * (d / nu).max()))
    # three sums over d.size non-negative terms and a root: 4 d.size + 16 roundings, forgiven on both sides
    slack = higham(4 * d.size + 16) * max(C, ceiling)
    return {"measured": max(abs(reached - C), C - ceiling), "bound": 0.0, "slack": slack}


@marked
def own_coverage(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C2, tightness of the factor H: nu = d_pi of a policy with full support gives exactly sqrt(H)."""
    m = world["model"]
    pi = validate.policy("uniform", np.full(m.r.shape, 1.0 / m.A), m.r.shape)
    full = EpisodicMDP((m.P + 1.0 / m.S) / 2, m.r, np.full(m.S, 1.0 / m.S))
    d = hyq._occupancy(full.P, full.rho, pi)
    C = subject(Exact(full), pi, d)
    return {"measured": abs(C - np.sqrt(m.H)), "bound": 0.0, "slack": higham(4 * d.size + 16) * np.sqrt(m.H)}


@marked
def sure_gap(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C3 along a run: the gap of every iterate against the two parts of its certificate."""
    m = world["model"]
    f = np.array([world["f"], *_short_run(world, rng).trace.info["f"]])  # type: ignore[union-attr]
    gap = gaps(m, f.argmax(-1), world["pi_e"])
    bound = sum(subject(Exact(m), world["pi_e"], world["nu"], f))
    t = int((gap - bound).argmax())
    # the gap is a sum of H S A terms of size at most H; x likewise
    return {"measured": float(gap[t]), "bound": float(bound[t]), "slack": higham(8 * m.P.size) * m.H}


@marked
def potential_gap(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C3 along a run, second part: |<X_t, W_t>| against the elliptical norm, and the sum of the squared norms."""
    m = world["model"]
    f = _short_run(world, rng).trace.info["f"]  # type: ignore[union-attr]
    d_f = np.array([hyq._occupancy(m.P, m.rho, pi) for pi in hyq._greedy(f)])
    errors = -hyq.bellman_errors(m.P, m.r, f)
    lam, worst = 1.0, {"measured": -np.inf, "bound": 0.0, "slack": 0.0}
    T, d = len(f), m.S * m.A
    for h in range(m.H):
        realised, bounds, norms = subject(d_f[:, h].reshape(T, d), errors[:, h].reshape(T, d), lam)
        whole = 2 * d * np.log1p(T / (lam * d))                   # B = 1 bounds the norm of an occupancy
        # a solve with condition number at most 1 + T, in d dimensions
        slack = higham(16 * d * d) * (1 + T) * (1 + float(bounds.max()))
        t = int((realised - bounds).argmax())
        for measured, bound in ((realised[t], bounds[t]), (np.minimum(1, norms).sum(), whole)):
            if measured - bound > worst["measured"] - worst["bound"]:
                worst = {"measured": float(measured), "bound": float(bound), "slack": slack}
    return worst


def lock(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C4: one run on L(H, A) with data and episodes, one without episodes, one without data."""
    model, data = _lock(world, rng)
    T, m_off = world["T"], world["m_off"]
    seeds = rng.integers(0, 2**62, (3, 2))
    hybrid = _gaps(model, subject, data, Params(T, m_off, random_ties=True), seeds[0])
    offline = _gaps(model, subject, data, Params(2, m_off, m_on=0, random_ties=True), seeds[1])
    online = _gaps(model, subject, data, Params(T, 0, random_ties=True), seeds[2])
    return {"hybrid": {"measured": float(hybrid[-TAIL:].mean()), "bound": 0.02},
            "offline": {"measured": float(offline[-1]), "bound": 0.4},
            "online": {"measured": float(online[-TAIL:].mean()), "bound": 0.4},
            "rate": {"measured": np.cumsum(hybrid)[np.array(DOUBLING) - 1]},
            "curves": {"hybrid": np.cumsum(hybrid)[DRAWN - 1], "online": np.cumsum(online)[DRAWN - 1],
                       "offline": float(offline[-1]) * DRAWN}}


def lock_total(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C5: total regret on L(H, A)."""
    model, data = _lock(world, rng)
    gaps = _gaps(model, subject, data, Params(world["T"], world["m_off"], random_ties=True), rng.integers(0, 2**62, 2))
    return {"measured": float(gaps.sum()), "bound": 10.0}


_traps, _behaviour = lru_cache(lucky_traps), lru_cache(lucky_behaviour)      # the same for every row


def _lock(world: dict, rng: np.random.Generator) -> tuple[EpisodicMDP, Dataset]:
    model = _traps(world["H"], world["A"])
    return model, collect(model, _behaviour(world["H"], world["A"]), DATA, rng)


def _gaps(model: EpisodicMDP, subject: Callable, data: Dataset, params: Params, seeds: np.ndarray) -> np.ndarray:
    """The exact gap of each iterate, computed by the holder of the model."""
    watch = Regret(model)
    world, own = (np.random.default_rng(int(s)) for s in seeds)
    subject(Episodes(model, world, watch=watch), data, params, own)
    return watch.gaps


def _short_run(world: dict, rng: np.random.Generator) -> Result:
    """Some iterations of the house's own Hy-Q on a little data from nu."""
    data = draw_tuples(world["model"], world["nu"], 4, rng)
    return hyq.run(Episodes(world["model"], rng), data, Params(8, 4), rng)


def _bad(name: str, why: str) -> Saboteur:
    return Saboteur(name.replace("_", " "), why, subject=f"{TWINS}:{name}")


# -------------------------------------------------------------------------------------------- checks

CHECKS = (
    Check(
        Claim("hyq", "C1", "identity",
              "For any critic f and any comparator: V^{pi_e} - V^{pi_f} = sum_h E_{d_e}[T f_{h+1} - f_h] + "
              "sum_h E_{d_f}[f_h - T f_{h+1}] - sum_h E_{d_e}[max_a f_h - f_h], and the last sum is not negative.",
              "Lemma 4, with the term that it drops", "derived",
              "The third term of the reference instance is 2.0388932961815374; 2.0388931961815374, as sometimes "
              "copied, breaks the identity by 1e-7."),
        "decomposition", worlds, residual, Sure("EXACT", 150),
        (_bad("wrong_occupancy", "the learner's sum under the comparator's occupancy"),
         _bad("not_greedy", "an assumption broken: the learner is not greedy in f"),
         _bad("dropped_third", "the inequality taken for an equality"))),
    Check(
        Claim("hyq", "C2", "identity",
              "Over all functions C_pi = sqrt(sum_{h,s,a} d_pi^2/nu), attained at x = d_pi/nu, and "
              "C_pi <= sqrt(H max d_pi/nu).", "Definition 1, in closed form", "derived"),
        "transfer", worlds, supremum, Sure("SEARCHED", 120),
        (_bad("per_step_maximum", "the worst step in place of the sum"),
         _bad("density_ratio", "the bound without H"))),
    Check(
        Claim("hyq", "C2-tight", "identity",
              "With nu = d_pi the coefficient is sqrt(H) while the largest density ratio is 1: H cannot be dropped.",
              "Definition 1", "derived",
              "C_pi <= sqrt(max d_pi/nu), as sometimes quoted, is false under this definition whenever H >= 2."),
        "transfer", worlds, own_coverage, Sure("SEARCHED", 60),
        (_bad("per_step_maximum", "the worst step in place of the sum"),
         _bad("density_ratio", "the bound without H"))),
    Check(
        Claim("hyq", "C3", "bound",
              "V^{pi_e} - V^{pi_f} <= C_{pi_e} sqrt(sum_h E_nu x_h^2) + sum_h |<X_h(f), W_h(f)>| for every f, here for "
              "all iterates of a run.", "proof of Theorem 1", "derived"),
        "certificate", few_states, sure_gap, Sure("SEARCHED", 500),
        (_bad("no_online_part", "the bilinear terms are missing"),
         _bad("no_coefficient", "the transfer coefficient is missing"))),
    Check(
        Claim("hyq", "C3-potential", "bound",
              "Along a run |<X_t, W_t>| <= ||X_t||_{Sigma_t^-1} sqrt(sum_{tau<t} <X_tau, W_t>^2 + lam ||W_t||^2), and "
              "sum_t min(1, ||X_t||^2_{Sigma_t^-1}) <= 2 d log(1 + T B^2/(lam d)).", "elliptical potential lemma",
              "derived"),
        "potential", few_states, potential_gap, Sure("SEARCHED", 200),
        (_bad("fixed_direction", "Sigma from other vectors"),
         _bad("no_past", "Sigma that never grows"))),
    Check(
        Claim("hyq", "C4", "separation",
              "On the lock with lucky traps L(8, 4), 300 logged episodes, T = 3000: the mean gap of the last 500 "
              "iterates is below 0.02 in expectation and the regret is O(sqrt T); offline data alone and episodes "
              "alone end above 0.4.", "section 6 (combination lock), this instance", "checked",
              "Offline data alone do not fail always: one data set in sixteen or so shows no lucky trap that matters, "
              "and FQI then finds the lock."),
        "run", ({"H": 8, "A": 4, "T": 3000, "m_off": 300},), lock,
        Separation((("hybrid", Expectation(0.0, LOSS)), ("offline", Expectation(0.0, LOSS, above=True)),
                    ("online", Expectation(0.0, LOSS, above=True)),
                    ("rate", Rate(DOUBLING, np.sqrt, two_thirds, n=128, resolution=0.02)))),
        (_bad("offline_only", "no online episodes"), _bad("no_data", "no logged data"),
         _bad("optimistic", "a bonus by the back door: it must not be needed"))),
    Check(
        Claim("hyq", "C5", "high-probability",
              "On L(H, 3) with 300 logged episodes and T = 600 the total regret is below 10 with probability 0.95, for "
              "each of H = 4, 8, 16, 24: it does not blow up with 3^H.", "section 6, this instance", "checked"),
        # a control begins with the last world: one that fails on a short lock need not be played on a long one
        "run", tuple({"H": H, "A": 3, "T": 600, "m_off": 300} for H in (24, 16, 8, 4)), lock_total,
        HighProbability(0.05),
        (Saboteur("no logged data", "an assumption broken: nothing covers the comparator", world={"m_off": 0}),
         _bad("averaging", "the mean over actions in place of the maximum"))),
)
