"""SquareCB held to its claims. What one round can lose has a closed supremum over f*, rational where f and gamma are.

Regret is that of the laws played, not of the arms drawn from them, which cuts noise.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import flint
import numpy as np
from hypothesis import strategies as st

from algorithms.bandits import squarecb
from algorithms.bandits.squarecb import Log, Params
from mdpkit.access import Episodes
from mdpkit.instances.formula import contextual
from mdpkit.interop.logged import LoggedBandit
from mdpkit.models.bandits import ContextualBandit
from mdpkit.octets import octets
from mdpkit.rational import exact, fraction, of_fraction, rational
from mdpkit.solve.rounding import higham
from theory_checks.engine.claims import Check, Claim, Saboteur
from theory_checks.engine.judges import Expectation, HighProbability, Rate, Separation, Sure
from theory_checks.engine.rows import exact_row, worst_of

TWINS = "theory_checks.bandits._squarecb_twins"
DELTA = 0.1
LONG = (2000, 4000, 8000, 16_000, 32_000)
SHORT = (1000, 2000, 4000, 8000)
FORMULA = {"r": np.round(contextual().r, 6).tolist(), "T": LONG[-1], "batch": 20}
# greedy stays with the first arm of the first context for ever: 0.6 is above what it predicts of the others
WIDE = {"r": [[0.6, 0.9, 0.3], [0.2, 0.3, 0.8]], "T": SHORT[-1], "batch": 20}
PAIR = {"r": [[0.1, 0.9]], "T": 20_000, "theory": True}
LOGGED = {"n": 400, "r": [[0.2, 0.7, 0.4, 0.9], [0.8, 0.1, 0.6, 0.3]]}
MISSPECIFIED: dict[str, Any] = {"R": ["-0.1", "-0.3"], "owner": [0, 0], "phi": [1, -1], "theta": ["0.05"]}
FREE: dict[str, Any] = {"R": ["-0.1", "-0.3"], "owner": [0, 1], "phi": [1, 1], "theta": ["0.05", "-0.05"]}


@st.composite
def rounds(draw: st.DrawFn) -> dict[str, Any]:
    """Predictions in 64ths, many ties among them, gamma, and which actions there are."""
    K = draw(st.integers(1, 40 if draw(st.booleans()) else 5))
    available = octets(draw, K) % 4 > 0
    available[draw(st.integers(0, K - 1))] = True
    fine = draw(st.sampled_from([64, 1, 4]))
    return {"f": (octets(draw, K) % (fine + 1)) / fine, "available": available,
            "gamma": draw(st.sampled_from([100.0, 1.0, 1e4, 1e6]))}


@st.composite
def barriers(draw: st.DrawFn) -> dict[str, Any]:
    """A law p of full support in rationals, gamma: the predictions -1/(gamma p) have it as their exact form."""
    return {"weight": octets(draw, draw(st.integers(1, 6))) % 9 + 1, "gamma": draw(st.sampled_from([4.0, 1.0, 64.0]))}


@st.composite
def runs(draw: st.DrawFn) -> dict[str, Any]:
    """A small world and a run in it."""
    X, A = draw(st.integers(1, 2)), draw(st.integers(2, 4))
    return {"r": (octets(draw, X, A) % 5 / 4).tolist(), "noise": draw(st.sampled_from(["none", "bernoulli"])),
            "T": draw(st.sampled_from([2000, 40])), "gamma": draw(st.sampled_from([100.0, 1.0, 1e4])),
            "batch": draw(st.sampled_from([1, 7])), "delay": draw(st.integers(0, 2))}


@st.composite
def rewards(draw: st.DrawFn) -> dict[str, Any]:
    """Rewards in [0, 1] of one action in one context: mixed, coins, or all the same."""
    r = octets(draw, draw(st.integers(1, 24))) % draw(st.sampled_from([9, 2]))
    return {"r": (np.repeat(r[:1], len(r)) if draw(st.booleans()) else r) / max(int(r.max()), 1)}


def one_round(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C1 in rationals: the supremum; 2^60 where p is no law of full support."""
    f, p, gamma = _law(world, subject)
    top = squarecb.supremum(f, p, gamma) if min(p) > 0 and sum(p) == 1 else flint.fmpq(2**60)
    return exact_row(top, max(flint.fmpq(len(f) - 1), flint.fmpq(5 * len(f) - 9, 4)) / gamma)


def predicted(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C2 in rationals."""
    f, p, gamma = _law(world, subject)
    K, lost = len(f), (p * (max(f) - f)).sum()
    return worst_of((abs(lost - (K * p[int(f.argmax())] - 1) / gamma), 0), (lost, (K - 1) / gamma))


def barrier(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C1-exact in rationals."""
    p, f, gamma = _barrier(world)
    K, top = len(p), subject(f, p, gamma)
    return worst_of((abs(top - (K - flint.fmpq(1, 4) - flint.fmpq(3, 4) / max(p)) / gamma), 0), (top, (K - 1) / gamma))


def root(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C1-root: the law in floats against the rational one."""
    p, f, gamma = _barrier(world)
    p = np.array([float(fraction(v)) for v in p])
    found = subject(np.array([float(fraction(v)) for v in f]), float(fraction(gamma)))
    # predictions are rounded by u max(1/p)/gamma, which moves the denominators 1/p, and lam with them, by a few
    # u max(1/p), and p by p^2 times that; the sum that Newton's steps end on is off by K u, hence lam by K^2 u
    slack = higham(64) * (len(p) * len(p) + 1.0 / float(p.min()))
    return {"measured": float(np.abs(found - p).max()), "bound": 0.0, "slack": slack}


def each_round(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C1-run: every round of a run."""
    chunks: list[Log] = []
    model = _played(world, subject, rng, lambda model, log: chunks.append(Log(*(field.copy() for field in log))))
    log = Log(*(np.concatenate(fields) for fields in zip(*chunks)))
    r, K = model.r[log.context], model.A
    lost = r.max(1) - np.einsum("ta,ta->t", log.law, r)
    error = np.einsum("ta,ta->t", log.law, (log.f - r) * (log.f - r))
    bound = 1.25 * K / log.gamma + log.gamma * error
    # laws, predictions and both sums have K terms of a few roundings each
    i = int((lost - bound).argmax())
    return {"measured": lost[i], "bound": bound[i], "slack": higham(8 * K + 32) * (1 + bound[i])}


def theorem(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C3-theorem: regret against Theorem 1, on one context and two arms."""
    n = world["T"]
    bound = 4 * math.sqrt(2 * n * squarecb.oracle_bound(n, 1, 2)) + 8 * math.sqrt(2 * n * math.log(2 / DELTA))
    return {"measured": _regret(world, subject, rng)[-1], "bound": bound}


def growth(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C3, C4-sets: regret at the horizons."""
    horizons = LONG if world["T"] == LONG[-1] else SHORT
    return {"measured": _regret(world, subject, rng)[np.array(horizons) - 1]}


def steady(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C3-spread: how far the regret is from its middle."""
    return {"measured": abs(_regret(world, subject, rng)[-1] - 920.0), "bound": 184.0}


def late(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C4: the share of the late run in what it and the prompt one lose, in all and after T = 2000."""
    slow, fast = _regret(world | {"batch": 500, "delay": 1}, subject, rng), _regret(world, squarecb.run, rng)
    after = slow[-1] - slow[1999], fast[-1] - fast[1999]
    return {"all": {"measured": slow[-1] / (slow[-1] + fast[-1]), "bound": 1.3 / 2.3},
            "after": {"measured": after[0] / (after[0] + after[1]), "bound": 1.2 / 2.2}}


def orbit(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C5 in balls of 400 bits: values of the generations 200, 201, .. against those that are told, to half a digit."""
    with flint.ctx.workprec(400):
        *arrays, told = (np.array([flint.arb(of_fraction(Fraction(v))) for v in world[k]], object)
                         for k in ("R", "phi", "theta", "values"))
        gamma = flint.arb(world["gamma"]) if world["gamma"] else math.inf
        n = 200 + len(told)
        found = subject(arrays[0], np.array(world["owner"]), *arrays[1:], gamma, n)
        off = [abs(flint.arb(v) - w) for v, w in zip(found[200:], told)]
        return worst_of(*((rational(math.nextafter(float(o.lower()), 0.0)), flint.fmpq(1, 2 * 10**8)) for o in off))


def settled(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C5-free in rationals: greedy from the third generation on."""
    r, phi, theta = (np.array([of_fraction(Fraction(v)) for v in world[k]], object) for k in ("R", "phi", "theta"))
    values = subject(r, np.array(world["owner"]), phi, theta, math.inf, 40, False)
    return exact_row(max(abs(v - max(r) - flint.fmpq(1, 2)) for v in values[2:]), 0)


def squares(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C6: the oracle's regret in squares against 1/4 + ln(n + 1), n rewards."""
    r, f = exact(world["r"]), subject(exact(world["r"]))
    mean = sum(r) / len(r)
    lost = sum((r - f[:-1]) * (r - f[:-1])) - sum((r - mean) * (r - mean))
    above = (flint.arb(1) / 4 + flint.arb(len(r) + 1).log()).upper()
    return worst_of((lost, rational(math.nextafter(float(above), math.inf))))


def weighed(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C7: the value of IGW on the truth against the interval; 0 inside, 1 outside."""
    r, n = np.array(world["r"]), world["n"]
    X, K = r.shape
    behaviour = np.array([squarecb.igw(1.0 - row, 4.0) for row in r])
    x = rng.integers(0, X, n)
    a = (rng.random(n)[:, None] > np.cumsum(behaviour[x], 1)).sum(1)
    paid = (rng.random(n) < r[x, a]) * 1.0
    log = LoggedBandit(x, a, paid, behaviour[x, a], None, tuple((str(i),) for i in range(X)), tuple(map(str, range(K))))
    law = np.array([squarecb.igw(row, 10.0) for row in r])
    _, lo, hi = subject(log, law[x], DELTA)
    value = float(np.einsum("xa,xa->", law, r)) / X
    return {"measured": abs(value - (lo + hi) / 2) / ((hi - lo) / 2), "bound": 1.0}


def changing(r: np.ndarray, absent: float = 0.3) -> tuple[ContextualBandit, dict]:
    """Each action absent with that probability, but not all: one context a set, groups told; X uniform contexts r."""
    X, A = r.shape
    masks = (np.arange(1, 2**A)[:, None] >> np.arange(A)) % 2 > 0
    weight = np.prod(np.where(masks, 1 - absent, absent), 1)
    available = np.tile(masks, (X, 1))
    many = np.where(available, np.repeat(r, len(masks), axis=0), 0.0)         # what is absent is never best
    return (ContextualBandit(np.tile(weight / weight.sum() / X, X), many),
            {"group": np.repeat(np.arange(X), len(masks)), "available": available})


def _played(world: dict, run: Callable, rng: np.random.Generator, watch: Callable) -> ContextualBandit:
    r = np.array(world["r"])
    model, bounds = changing(r) if world.get("changing") else (
        ContextualBandit(np.full(len(r), 1 / len(r)), r, world.get("noise", "bernoulli")), None)
    params = Params(world["T"], world.get("gamma", 0.0), 0.0 if "gamma" in world else 2.0, world.get("batch", 1),
                    world.get("delay", 0))
    if "theory" in world:
        params = squarecb.theory(world["T"], model.X, model.A, DELTA)
    own = np.random.default_rng(int(rng.integers(2**62)))
    run(Episodes(model, own, bounds=bounds, watch=lambda first, log: watch(model, log)), params, rng)
    return model


def _regret(world: dict, run: Callable, rng: np.random.Generator) -> np.ndarray:
    """Cumulative, of the laws played."""
    lost: list[np.ndarray] = []

    def look(model: ContextualBandit, log: Log) -> None:
        r = model.r[log.context]
        lost.append(model.r.max(1)[log.context] - np.einsum("ta,ta->t", log.law, r))

    _played(world, run, rng, look)
    return np.cumsum(np.concatenate(lost))


def _law(world: dict, igw: Callable) -> tuple[np.ndarray, np.ndarray, flint.fmpq]:
    """Predictions and law of the actions that there are."""
    here, gamma = np.array(world["available"], bool), rational(world["gamma"])
    f = exact(world["f"])
    return f[here], igw(f, gamma, here)[here], gamma


def _barrier(world: dict) -> tuple[np.ndarray, np.ndarray, flint.fmpq]:
    weight, gamma = np.array(world["weight"]), rational(world["gamma"])
    p = np.array([flint.fmpq(int(w), int(weight.sum())) for w in weight], object)
    return p, np.array([-1 / (gamma * v) for v in p], object), gamma


def _check(name: str, kind: str, statement: str, source: str, status: str, entry: str, worlds: Any, measure: Callable,
           judge: Any, finding: str = "", more: tuple = (), **twins: str) -> Check:
    """A check whose saboteurs are twins by name, each with what is wrong with it."""
    claim = Claim("squarecb", name, kind, statement, source, status, finding)
    return Check(claim, entry, worlds, measure, judge, tuple(
        Saboteur(twin.replace("_", " "), why, subject=f"{TWINS}:{twin}") for twin, why in twins.items()) + more)


MISS = "sup over f* of E_p[max f* - f*_a] - gamma E_p[(f_a - f*_a)^2] "
TWO_THIRDS, LINEAR = (lambda n: n ** (2 / 3)), (lambda n: n)
HERE = "on 4 contexts and 5 actions, means by formula to 6 digits, gamma = 2 sqrt(N/4), batches of 20"
SQRT = Rate(SHORT, np.sqrt, TWO_THIRDS, n=100)
CHECKS = (
    _check("C1", "bound", "IGW: " + MISS + "<= 1.25 K/gamma, K actions that are there, up to 40; sharply, <= "
           "max(K - 1, (5K - 9)/4)/gamma.", "Foster and Rakhlin, lemma behind Theorem 1; the sharp form derived",
           "derived", "igw", rounds, one_round, Sure("EXACT", 200), "The sharp constant is what is searched: K - 1 in "
           "the limit of large gaps, (5K - 9)/4 with two that are best.", law_eps_greedy="an eighth uniform",
           inflated="the others' weight doubled", counts_absent="K counts actions that are not there"),
    _check("C1-exact", "identity", "Exact form: " + MISS + "= (K - 1/4 - 3/(4 max p))/gamma <= (K - 1)/gamma.",
           "this instance", "derived", "supremum", barriers, barrier, Sure("EXACT", 80),
           "Better than line 5, whose constant is 1.25 where K is large.", no_own_term="without q^2/(4 gamma p_a)",
           half_penalty="gamma/2"),
    _check("C1-root", "identity", "Line 6 finds the law of -1/(gamma p), which is p.", "line 6", "derived",
           "igw_exact", barriers, root, Sure("SEARCHED", 80), line_5="line 5"),
    _check("C1-run", "bound", "Every round of a run, whatever it saw: the gap of its law is at most 1.25 K/gamma + "
           "gamma E_p[(f - f*)^2].", "proof of Theorem 1", "derived", "run", runs, each_round, Sure("SEARCHED", 60),
           eps_greedy="a tenth uniform", uniform="does not learn"),
    _check("C2", "bound", "IGW: sum_a p_a (f_b - f_a) = (K p_b - 1)/gamma <= (K-1)/gamma.",
           "Foster and Rakhlin; the equality derived", "derived", "igw", rounds, predicted, Sure("EXACT", 80),
           law_uniform="uniform", counts_absent="K counts actions that are not there"),
    _check("C3", "rate", f"Regret O(T^(2/3)) between T = 2000 and 32000 {HERE}.", "this instance", "checked", "run",
           (FORMULA,), growth, Rate(LONG, TWO_THIRDS, LINEAR, n=100), "Its slope is 0.73 at first and 0.60 at last: "
           "sqrt T up to a logarithm, as in Theorem 1, sets in beyond, where gamma exceeds K over the smallest gaps. "
           "See C3-root.", uniform="uniform choice"),
    _check("C3-spread", "high-probability", f"Regret at T = 32000 {HERE}, is within a fifth of 920 in 9 of 10 runs; "
           "that of greedy varies by a factor of 2.", "this instance", "checked", "run", (FORMULA,), steady,
           HighProbability(0.1), greedy="no exploration", eps_greedy="a tenth uniform"),
    _check("C3-root", "rate", "Regret O(sqrt T) between T = 1000 and 8000 on two contexts with gaps of 0.3 to 0.6, "
           "gamma = 2 sqrt(N/2).", "Theorem 1 without its logarithm; this instance", "derived", "run", (WIDE,), growth,
           SQRT, greedy="stays with the first arm", fixed_gamma="gamma = 10"),
    _check("C3-exact", "rate", "The same of the exact form.", "this instance", "derived", "run_exact", (WIDE,), growth,
           SQRT, fixed_gamma_exact="gamma = 10"),
    _check("C3-falcon", "rate", "The same where batches double.", "FALCON, Theorem 1, without its logarithm",
           "recalled", "run_falcon", (WIDE,), growth, SQRT, fixed_gamma_falcon="gamma = 10"),
    _check("C3-theorem", "high-probability", "With probability 1 - delta: regret <= 4 sqrt(K T Reg_Sq) + 8 sqrt(K T "
           "ln(2/delta)), gamma = sqrt(K T/(Reg_Sq + ln(2/delta))); here delta = 0.1, two arms of means 0.1 and 0.9, "
           "T = 20000.", "Foster and Rakhlin, Theorem 1", "recalled", "run", (PAIR,), theorem, HighProbability(DELTA),
           "It is 6247 of 16000 that can be lost; on the world of C3, where uniform play loses 4682, it is 25307.",
           uniform="uniform choice", never_updated="a delay longer than the run"),
    _check("C4", "separation", f"Regret {HERE}: with batches of 500, one of them late, at most 1.3 times as much "
           "by T = 16000, and at most 1.2 times as much after T = 2000: E slow/(slow + prompt) <= c/(1 + c).",
           "this instance", "checked", "run", (FORMULA | {"T": LONG[-2]},), late,
           Separation((("all", Expectation(0.0, 1.0)), ("after", Expectation(0.0, 1.0)))),
           never_updated="a delay longer than the run", bad_share="half of the rounds uniform"),
    _check("C4-sets", "rate", f"Regret O(T^(2/3)) between T = 1000 and 8000 {HERE}, each action absent with "
           "probability 0.3, but not all.", "this instance", "checked", "run",
           (FORMULA | {"changing": True, "T": SHORT[-1]},), growth,
           Rate(SHORT, TWO_THIRDS, LINEAR, n=100), uniform="uniform choice", fixed_gamma="gamma = 10"),
    _check("C5", "separation", "One context, r = (0.4, 0.2), class theta (1, -1) fitted to r - 1/2 on the last "
           "generation, theta_0 = 0.05. Greedy: 0.4, 0.2, 0.4, .. for ever. IGW, gamma = 5: tends to 0.32192236; gamma "
           "= 100: to the cycle 0.3965589, 0.20969765. After 200 generations.", "exact case of the paper's oscillation",
           "checked", "generations", (
               MISSPECIFIED | {"gamma": 0, "values": ["0.4", "0.2", "0.4", "0.2"]},
               MISSPECIFIED | {"gamma": 5, "values": ["0.32192236", "0.32192236"]},
               MISSPECIFIED | {"gamma": 100, "values": ["0.3965589", "0.20969765"]}), orbit, Sure("CERTIFIED"),
           more=(Saboteur("one parameter an action", "a realizable class", world=FREE),),
           long_memory="fitted on all generations"),
    _check("C5-free", "identity", "With one parameter an action, fitted on all data, greedy is optimal from the third "
           "generation on.", "this instance", "checked", "generations", (FREE,), settled, Sure("EXACT"),
           more=(Saboteur("one parameter in all", "the class of C5", world=MISSPECIFIED),),
           forgetful="parameters without data fall to 1"),
    _check("C6", "bound", "f = (s + 1/2)/(n + 1): sum (r - f)^2 - min_q sum (r - q)^2 <= 1/4 + ln(n + 1).",
           "identity of online ridge regression", "derived", "predictions", rewards, squares, Sure("CERTIFIED", 60),
           never="1/2 for ever", last_reward="the last reward"),
    _check("C7", "high-probability", "The interval of inverse propensity weights holds the value of a policy with "
           "probability 1 - delta; here delta = 0.1, 400 rows of a law that prefers the worst.",
           "Maurer, Pontil 2009, Theorem 4, on both sides", "recalled", "ips", (LOGGED,), weighed,
           HighProbability(DELTA), unweighted="mean reward of the log", even_propensities="as if it were uniform"),
)
