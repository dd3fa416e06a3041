"""PSRL held to its claims: the law of the sample, Bayesian regret, its growth, a closed form, and the width of a row.

All statements average over worlds drawn from the prior; on one world nothing is claimed. A world is drawn anew in each
run, by the generator that plays it; rewards are those of F(3, 2) unless said otherwise, and state 0 is the first.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
from hypothesis import strategies as st

from algorithms.exploration import psrl
from algorithms.exploration.psrl import Params
from mdpkit import validate
from mdpkit.access import Episodes
from mdpkit.instances.formula import stationary_episodic
from mdpkit.measure.regret import Regret
from mdpkit.measure.values import optimal_value
from mdpkit.models.tabular import EpisodicMDP
from mdpkit.octets import octets
from mdpkit.rational import fraction, of_fraction
from theory_checks.engine.claims import Check, Claim, Saboteur
from theory_checks.engine.judges import Expectation, HighProbability, Rate, Separation, Sure
from theory_checks.engine.rows import worst_of

TWINS = "theory_checks.exploration._psrl_twins"
DELTA = 0.1
HORIZONS = (250, 500, 1000, 2000)
EPISODES = (1, 4, 12)
NEAR = 0.05                                 # how near two expectations are shown to be
PAIRED: dict[str, Any] = {"pays": [0.0, 1.0], "A": 4, "alpha0": 0.5, "K": EPISODES[-1]}
FOUR_ARMS: dict[str, Any] = {"pays": [0.0, 1.0], "A": 4, "alpha0": 0.1, "K": 50_000}
TWO_ARMS: dict[str, Any] = {"pays": [0.0, 1.0], "A": 2, "alpha0": 1.0, "K": 1}


@st.composite
def rows(draw: st.DrawFn) -> dict[str, Any]:
    """Parameters of a row in halves, a number of observations, and outcomes that end them."""
    S = draw(st.integers(1, 3))
    return {"alpha": [int(x) % 6 + 1 for x in octets(draw, S)], "n": draw(st.integers(0, 5)),
            "stop": [bool(x % 3 == 1) for x in octets(draw, S)]}


# ---------------------------------------------------------------------------------------- measures

def matched(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C1 in rationals: second moments under the posterior, averaged over what may be seen, against the prior's."""
    alpha = [of_fraction(Fraction(a, 2)) for a in world["alpha"]]
    found, total = subject(alpha, world["n"], world["stop"]), sum(alpha)
    prior = [[a * (b + (i == j)) / (total * (total + 1)) for j, b in enumerate(alpha)] for i, a in enumerate(alpha)]
    return worst_of(*((fraction(abs(x - y)), 0) for left, right in zip(found, prior) for x, y in zip(left, right)))


def paired(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C1-run: the optimal value of the sample less that of the world, before episodes 1, 4 and 12."""
    model = _model(world, rng)
    trace = subject(Episodes(model, rng, grant=("r",)), Params(world["K"], world["alpha0"]), _other(rng)).trace
    return _near({f"k = {k}": (float(trace.info["V"][k - 1, 0, 0] - optimal_value(model)[0, 0]), 0.0)
                  for k in EPISODES})


def bayesian(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C2: regret over H K, the largest there is."""
    model = _model(world, rng)
    regret = _regret(model, world, subject, rng)
    most = model.H * world["K"]
    return {"measured": float(regret[-1]) / most,
            "bound": psrl.bayes_bound(model.S, model.A, model.H, world["K"]) / most}


def growth(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C3: regret at the horizons."""
    return {"measured": _regret(_model(world, rng), world, subject, rng)[np.array(HORIZONS) - 1]}


def first_episode(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C4: V*_1 against 2/3, and the first episode's regret against 1/6."""
    model = _model(world, rng)
    regret = float(_regret(model, world, subject, rng)[0])
    return _near({"V*": (float(optimal_value(model)[0, 0]), 2 / 3), "regret": (regret, 1 / 6)})


def concentrated(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C5: the distance of one row from its mean, against the radius."""
    alpha = 1.0 + world["N"] * np.array(world["seen"])
    row = psrl.draws(alpha, 1, rng)[0]
    return {"measured": float(np.abs(row - alpha / alpha.sum()).sum()), "bound": subject(alpha, DELTA)}


def _near(pairs: dict[str, tuple[float, float]]) -> dict[str, dict]:
    """Two rows for each number and the value that its mean is near to."""
    return {f"{name} {side}": {"measured": x, "bound": y + sign * NEAR} for name, (x, y) in pairs.items()
            for side, sign in (("at most", 1), ("at least", -1))}


def _both(low: float, high: float, *names: str) -> Separation:
    """Each mean within NEAR of its value, from above and from below."""
    return Separation(tuple((f"{name} {side}", Expectation(low, high, above=side == "at least"))
                            for name in names for side in ("at most", "at least")))


def _regret(model: EpisodicMDP, world: dict, run: Callable, rng: np.random.Generator) -> np.ndarray:
    watch = Regret(model)
    run(Episodes(model, rng, grant=("r",), watch=watch), Params(world["K"], world["alpha0"]), _other(rng))
    return watch.regret


def _model(world: dict, rng: np.random.Generator) -> EpisodicMDP:
    """A draw from the prior. Gammas below 2**-53 of their sum are dropped."""
    if "pays" in world:                                             # two steps, by the state alone
        r = np.broadcast_to(np.array(world["pays"])[:, None], (2, len(world["pays"]), world["A"]))
    else:
        r = stationary_episodic(*world["F"]).r
    H, S, A = r.shape
    weights = np.maximum(rng.standard_gamma(world["alpha0"], (S, A, S)), 1e-300)
    P = validate.simplex("P", weights / weights.sum(-1, keepdims=True), (S, A, S), flush=True)
    return EpisodicMDP.stationary(P, r, np.eye(S)[0], H)


def _other(rng: np.random.Generator) -> np.random.Generator:
    return np.random.default_rng(int(rng.integers(2**62)))


# -------------------------------------------------------------------------------------------- checks

def _check(name: str, kind: str, statement: str, source: str, status: str, entry: str, worlds: Any, measure: Callable,
           judge: Any, finding: str = "", more: tuple = (), **twins: str) -> Check:
    """A check whose saboteurs are twins by name, each with what is wrong with it."""
    claim = Claim("psrl", name, kind, statement, source, status, finding)
    return Check(claim, entry, worlds, measure, judge, tuple(
        Saboteur(twin.replace("_", " "), why, subject=f"{TWINS}:{twin}") for twin, why in twins.items()) + more)


PAID_BOTH = Saboteur("both states pay", "r = 1 in state 0 too: V* = 2, no regret", world={"pays": [1.0, 1.0]})
CHECKS = (
    _check("C1", "identity", "E[E[p_i p_j | what was seen]] = E[p_i p_j] for a row p of the prior, and the posterior "
           "after any number of observations, also one that what is seen decides.", "Lemma 1, posterior sampling",
           "derived", "foreseen", rows, matched, Sure("EXACT", 100),
           counts_twenty_times="each observation counts 20 times",
           forgets_the_first="outcomes 0 are not counted", other_prior="another prior"),
    _check("C1-run", "separation", f"|E V*_1(P_k) - E V*_1(P)| <= {NEAR} for k = 1, 4, 12, where the theorem has 0; "
           "S, A, H = 2, 4, 2, only state 1 pays, alpha0 = 1/2.", "Lemma 1, posterior sampling", "checked", "run",
           (PAIRED,), paired, _both(-1.0, 1.0, *(f"k = {k}" for k in EPISODES)),
           "20000 worlds tell a learner that counts each observation 20 times by |z| = 8; see C1 for that.",
           prior_of_another_world="alpha0 = 5", greedy="the posterior mean"),
    _check("C2", "expectation", "E Regret(K) <= H (2 H S A + beta 2 sqrt(2) sqrt(S A T)) + 2 H, beta = "
           "sqrt(2 (S ln 2 + ln(S A T K))); here S, A, H = 2, 4, 2, only state 1 pays, alpha0 = 0.1, K = 50000.",
           "Theorem 1, in an explicit form", "derived", "run", (FOUR_ARMS,), bayesian, Expectation(0.0, 1.0),
           "Very loose: 36412 of the 100000 that can be lost, against some 6. For S, A, H = 3, 2, 4 it is 7571.1 of "
           "2000 at K = 500, which says nothing, and 80825.9 of 160000 at K = 40000, against some 7.",
           contrarian="the worst policy of a sample"),
    _check("C3", "rate", "E Regret(K) = O(sqrt K) between K = 250 and 2000; S, A, H = 3, 2, 4, alpha0 = 0.3.",
           "Theorem 1 without its logarithm; this instance", "checked", "run",
           ({"F": [3, 2, 4], "alpha0": 0.3, "K": HORIZONS[-1]},), growth,
           Rate(HORIZONS, np.sqrt, lambda T: T ** (2 / 3), n=128),
           "On the same worlds the greedy learner loses in proportion to K: it stays with a wrong policy in some.",
           greedy="the posterior mean"),
    _check("C4", "separation", f"One step to choose, arms of Beta(1, 1): E V*_1 = E max(U_1, U_2) = 2/3, and the first "
           f"episode of PSRL loses 2/3 - 1/2 = 1/6 on average; both within {NEAR}.", "integration", "derived", "run",
           (TWO_ARMS,), first_episode, _both(0.0, 2.0, "V*", "regret"), more=(PAID_BOTH,)),
    _check("C5", "high-probability", "A row of Dirichlet(alpha), n = sum alpha, is within sqrt(2 (S ln 2 + ln(1/delta))"
           "/(n+1)) of alpha/n in L1 with probability 1 - delta; delta = 0.1, S = 4, 10, 100 and 1000 observations.",
           "entries are 1/(4 (n+1))-sub-Gaussian", "derived", "width",
           tuple({"N": N, "seen": [0.4, 0.3, 0.2, 0.1]} for N in (10, 100, 1000)), concentrated,
           HighProbability(DELTA), "1.5 times the exact 90% quantile; missed by 0.4 to 0.5% of 20000 draws.",
           quarter="a quarter of the radius"),
)
