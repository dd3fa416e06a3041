"""OFUL held to its claims: coverage along the whole path, the elliptical potential, regret, its growth, one-hot arms.

Statements about the ellipsoid are about all rounds at once. What holds surely on the event that theta* is in it is
searched; the event is read with a margin MARGIN of the radius, so that regret within it is that much below its bound,
far more than rounding moves an index, and no slack is needed. Gaussian noise has R = 1, Bernoulli noise R = 1/2.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import flint
import numpy as np
from hypothesis import strategies as st

from algorithms.bandits import oful
from algorithms.bandits.oful import Log, Params
from mdpkit.access import Episodes
from mdpkit.measure.regret import pull_gaps
from mdpkit.models.bandits import ContextualBandit, LinearBandit
from mdpkit.octets import octets
from mdpkit.rational import exact, fraction, rational
from mdpkit.solve.rounding import higham
from theory_checks.engine.claims import Check, Claim, Saboteur
from theory_checks.engine.judges import HighProbability, Rate, Sure
from theory_checks.engine.rows import exact_row, worst, worst_of

TWINS = "theory_checks.bandits._oful_twins"
DELTA = 0.1
MARGIN = 1e-6
HORIZONS = (250, 500, 1000, 2000)
UNIT = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
FIVE = [*UNIT, [0.6, 0.8, 0.0], [0.0, -0.6, 0.8]]
FIXED: dict[str, Any] = {"x": FIVE, "theta": [0.6, -0.5, 0.4], "n": 400}
COINS = {"x": FIVE[:4], "theta": [0.5, 0.4, 0.3], "n": 400, "noise": "bernoulli"}
SETS = {"sets": 64, "theta": [0.6, -0.5, 0.4], "n": 400}
GAPS = {"x": UNIT, "theta": [0.25, -0.5, 0.75], "n": HORIZONS[-1]}
PAYING: dict[str, Any] = {"x": [UNIT[1], UNIT[0], UNIT[2]], "theta": [0.9, 0.1, 0.3], "noise": "bernoulli"}
LINE = {"x": [[1.0]], "theta": [0.0], "n": 1000, "S": 0.0}
SHORT: dict[str, Any] = LINE | {"n": 500, "lam": 4.0}


@st.composite
def bandits(draw: st.DrawFn) -> dict[str, Any]:
    """Arms and theta* in quarters, of norm below 1: sums of squares are exact. Silent worlds may have a small R."""
    d, A = draw(st.integers(1, 3)), draw(st.integers(2, 4))
    noise = draw(st.sampled_from(["none", "gaussian"]))
    return {"x": ((octets(draw, A, d) % 5 - 2) / 4).tolist(), "theta": ((octets(draw, d) % 5 - 2) / 4).tolist(),
            "noise": noise, "R": 0.1 if noise == "none" else 1.0, "n": draw(st.sampled_from([400, 5, 50])),
            "lam": draw(st.sampled_from([1.0, 0.25]))}


@st.composite
def lazy(draw: st.DrawFn) -> dict[str, Any]:
    """The same with C > 0."""
    return draw(bandits()) | {"C": draw(st.sampled_from([0.5, 0.1, 3.0]))}


@st.composite
def designs(draw: st.DrawFn) -> dict[str, Any]:
    """Rows of norm below 2 in quarters, and a regulariser: below, at or above max(1, L^2)."""
    d, n = draw(st.integers(1, 3)), draw(st.integers(1, 24))
    x, heavy = (octets(draw, n, d) % 9 - 4) / 4, draw(st.booleans())
    return {"x": x, "y": (octets(draw, n) % 9 - 4) / 4,
            "lam": max(1.0, float((x * x).sum(1).max())) if heavy else draw(st.sampled_from([0.25, 1.0, 3.0]))}


@st.composite
def one_hot(draw: st.DrawFn) -> dict[str, Any]:
    """Which of d orthonormal arms was played, and what it paid."""
    d, n = draw(st.integers(1, 4)), draw(st.integers(1, 24))
    return {"x": np.eye(d)[octets(draw, n) % d], "y": (octets(draw, n) % 9 - 4) / 4,
            "lam": draw(st.sampled_from([0.25, 1.0, 3.0]))}


def self_normalised(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C1: the worst of ||S_t||^2 over its boundary, on the rows that OFUL chose."""
    _, phi, params, log, _ = _played(world, oful.run, rng)
    x = phi[log.context, log.arm]
    square, log_ratio, _ = oful.martingale(x, log.y - np.einsum("ti,i->t", x, world["theta"]), params.lam)
    return {"measured": float((square / subject(log_ratio, DELTA, params.R)).max()), "bound": 1.0}


def covered(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C2: the worst of ||thetahat_t - theta*||_{V_t} over the radius of that time, t = 0..n."""
    return {"measured": float(_distance(world, subject, rng)[-2].max()), "bound": 1.0}


def covered_loosely(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C2-loose: the same with the second form of the radius."""
    _, phi, params, _, ratio, radius = _distance(world, oful.run, rng)
    wide = subject(np.arange(params.n + 1.0), phi.shape[2], DELTA, params.lam, params.R, params.S, 1.0)
    return {"measured": float((ratio * radius / wide).max()), "bound": 1.0}


def forms(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C2-forms: the radius against its second form, after each row of a design with d >= 2."""
    x = np.concatenate([world["x"], world["x"][:, :1]], 1)          # a second coordinate where there was one
    L, S, R, lam = float(np.sqrt((x * x).sum(1).max())), 1.0, 0.5, world["lam"]
    ratios = np.cumprod(1 + oful.ridge(exact(x), exact(world["y"]), rational(lam))[2])
    found = [oful.radius(float(flint.arb(ratio).log()), DELTA, lam, R, S) for ratio in ratios]
    bounds = [float(subject(t + 1.0, x.shape[1], DELTA, lam, R, S, L)) for t in range(len(x))]
    # each side has some ten roundings, of which the logarithms carry an absolute error below the size of the whole
    return worst({"measured": m, "bound": b, "slack": higham(64) * (b + 1.0)} for m, b in zip(found, bounds))


def determinant(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C3-det in rationals."""
    _, ratio, w = _designed(world, subject)
    return exact_row(abs(math.prod((1 + v for v in w), start=flint.fmpq(1)) - ratio), 0)


def potential(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C3: the sum against 2 ln D_n, with its minimum where lambda is small; D_n against (1 + n L^2/(lambda d))^d."""
    x, ratio, w = _designed(world, subject)
    (n, d), L2, lam = x.shape, max((x * x).sum(1)), rational(world["lam"])
    total = sum(w) if lam >= max(L2, 1) else sum(min(v, flint.fmpq(1)) for v in w)
    above = math.nextafter(float((2 * flint.arb(ratio).log()).upper()), math.inf)
    return worst_of((total, rational(above)), (ratio, (1 + n * L2 / (lam * d)) ** d))


def rounds(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C4-round: on the event, each gap against 2 sqrt(1+C) radius_{t-1} ||x_t||_{V_{t-1}^-1}."""
    model, phi, params, arm, ratio, radius = _distance(world, subject, rng)
    if (ratio > 1 - MARGIN).any():
        return {"measured": 0.0, "bound": 0.0}
    w = oful.martingale(phi[0, arm], np.zeros(params.n), params.lam)[2]
    gaps, bounds = pull_gaps(model, arm), 2 * np.sqrt((1 + params.C) * w) * radius[:-1]
    return worst({"measured": float(g), "bound": float(b)} for g, b in zip(gaps, bounds))


def direct(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C4: on the event, regret against the direct form at a quarter, a half and the whole of the rounds."""
    model, phi, params, arm, ratio, _ = _distance(world, subject, rng)
    if not (ratio <= 1 - MARGIN).all():
        return {"measured": 0.0, "bound": 0.0}
    regret, rows = np.cumsum(pull_gaps(model, arm)), []
    for n in (max(params.n // 4, 1), params.n // 2, params.n):
        log_ratio = float(flint.arb(_ratio(exact(phi[0, arm[:n]]), rational(params.lam))).log())
        bound = oful.direct_bound(n, log_ratio, DELTA, params.lam, params.R, params.S, 1.0, params.C)
        rows.append({"measured": float(regret[n - 1]), "bound": bound})
    return worst(rows)


def updates(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C7-count: the number of updates."""
    _, phi, params, log, _ = _played(world, subject, rng)
    log_ratio = float(oful.martingale(phi[0, log.arm], np.zeros(params.n), params.lam)[1][-1])
    bound = 1 + log_ratio / math.log(1 + params.C)
    # the logarithms are those that the learner compared, to the bit; each comparison rounds its sum once
    return {"measured": float(log.updated.sum()), "bound": bound, "slack": higham(params.n + 4) * bound}


def theorem(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C4-theorem: regret at n against Theorem 3, d = 3."""
    p = _opened(world)[2]
    return {"measured": float(_gaps(world, subject, rng).sum()),
            "bound": oful.regret_bound(p.n, 3, DELTA, p.lam, p.R, p.S)}


def growth(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C5: regret at the horizons."""
    return {"measured": np.cumsum(_gaps(world, subject, rng))[np.array(HORIZONS) - 1]}


def phantoms(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C6 in rationals: estimates and squared widths of one-hot arms."""
    x, y, lam = exact(world["x"]), exact(world["y"]), rational(world["lam"])
    theta, inverse, _ = subject(x, y, lam)
    pairs = []
    for i in range(x.shape[1]):
        N, total = sum(x[:, i]), sum(x[:, i] * y)
        pairs += [(fraction(abs(theta[i] - total / (N + lam))), 0), (fraction(abs(inverse[i, i] - 1 / (N + lam))), 0)]
    return worst_of(*pairs)


def _opened(world: dict) -> tuple[Any, np.ndarray, Params]:
    """The model, the arms (X, A, d) and what the theorems set."""
    noise, theta = world.get("noise", "gaussian"), np.array(world["theta"])
    if "sets" in world:
        raw = np.random.default_rng(0).normal(size=(world["sets"], 10, 3))
        phi = raw / (np.sqrt((raw * raw).sum(-1, keepdims=True)) * (1 + 2.0**-50))       # of norm 1 at most
        model: Any = ContextualBandit(np.full(len(phi), 1 / len(phi)), np.einsum("xai,i->xa", phi, theta), noise)
    else:
        model, phi = LinearBandit(world["x"], theta, noise), np.array([world["x"]])
    R = world.get("R", 0.5 if noise == "bernoulli" else 1.0)
    return model, phi, Params(world["n"], DELTA, world.get("lam", 1.0), R, world.get("S", 1.0), world.get("C", 0.0))


def _played(world: dict, run: Callable, rng: np.random.Generator) -> tuple[Any, np.ndarray, Params, Log, Any]:
    """What `_opened` gives, the log, and the ellipsoid at the end."""
    model, phi, params = _opened(world)
    chunks: list[Log] = []
    bounds = {"phi": phi} if isinstance(model, ContextualBandit) else None
    keep = lambda first, log: chunks.append(Log(*(f.copy() for f in log)))
    access = Episodes(model, rng, bounds=bounds, watch=keep)
    end = run(access, params, np.random.default_rng(0)).output
    return model, phi, params, Log(*(np.concatenate(fields) for fields in zip(*chunks))), end


def _distance(world: dict, run: Callable, rng: np.random.Generator) -> tuple:
    """What `_opened` gives, arms (n,), the distance of theta* over the radius of the time (n+1,), and that radius."""
    model, phi, params, log, end = _played(world, run, rng)
    x, d = phi[log.context, log.arm], phi.shape[2]
    V = np.cumsum(np.concatenate([params.lam * np.eye(d)[None], np.einsum("ti,tj->tij", x, x)]), 0)
    off = np.concatenate([log.theta, end.theta[None]]) - world["theta"]
    radius = np.append(log.radius, end.radius)
    return model, phi, params, log.arm, np.sqrt(np.einsum("ti,tij,tj->t", off, V, off)) / radius, radius


def _gaps(world: dict, run: Callable, rng: np.random.Generator) -> np.ndarray:
    model, _, _, log, _ = _played(world, run, rng)
    return pull_gaps(model, log.arm, log.context if isinstance(model, ContextualBandit) else None)


def _ratio(x: np.ndarray, lam: flint.fmpq) -> flint.fmpq:
    """D_n of rows x (n, d), by a determinant of its own."""
    d = x.shape[1]
    V = [[sum(x[:, i] * x[:, j]) + (lam if i == j else 0) for j in range(d)] for i in range(d)]
    return flint.fmpq_mat(V).det() / lam**d


def _designed(world: dict, subject: Callable) -> tuple[np.ndarray, flint.fmpq, np.ndarray]:
    x, lam = exact(world["x"]), rational(world["lam"])
    return x, _ratio(x, lam), subject(x, exact(world["y"]), lam)[2]


def _check(name: str, kind: str, statement: str, source: str, status: str, entry: str, worlds: Any, measure: Callable,
           judge: Any, finding: str = "", more: tuple = (), **twins: str) -> Check:
    """A check whose saboteurs are twins by name, each with what is wrong with it."""
    claim = Claim("oful", name, kind, statement, source, status, finding)
    return Check(claim, entry, worlds, measure, judge, tuple(
        Saboteur(twin.replace("_", " "), why, subject=f"{TWINS}:{twin}") for twin, why in twins.items()) + more)


ALWAYS = "With probability 1 - delta, for all t at once: "
EVENT = "Where theta* is in every ellipsoid, surely: "
LOOSE = "theta* in the ellipsoid with R sqrt(d ln((1 + t L^2/lambda)/delta)) + sqrt(lambda) S; here delta = 0.1 "
FAR = Saboteur("far", "||theta*|| = 8.8 > S", world={"theta": [6.0, -5.0, 4.0]})
CHECKS = (
    _check("C1", "high-probability", ALWAYS + "||S_t||^2_{V_t^-1} <= R^2 (ln D_t + 2 ln(1/delta)), S_t = sum eta_s x_s;"
           " here delta = 0.1, the arms that OFUL plays, d = 3, n = 400; and d = 1, x = 1, n = 1000.", "Theorem 1",
           "recalled", "boundary", (FIXED, COINS, LINE), self_normalised, HighProbability(DELTA),
           "Hardly loose: over 1500 runs each of the first two, 3.5 and 2.3 would do for 2 ln(1/delta) = 4.6, a radius "
           "3 and 6% smaller; over 500 runs at d = 1, n = 20000, 4.0.",
           third_of_the_radius="0.35", fixed_time="a quantile for one time", no_determinant="without ln D_t"),
    _check("C2", "high-probability", ALWAYS + "||thetahat_t - theta*||_{V_t} <= R sqrt(ln D_t + 2 ln(1/delta)) + "
           "sqrt(lambda) S; here delta = 0.1, n = 400, d = 3: fixed arms with Gaussian and Bernoulli noise, and sets "
           "of ten arms that change.", "Theorem 2", "recalled", "run", (FIXED, COINS, SETS), covered,
           HighProbability(DELTA), "Theorem 1 is left in 0.02 to 0.05 of them, this in 0.001: sqrt(lambda) S is "
           "what is loose. An exact radius would be 1.3 to 1.7 times smaller.", (FAR,), narrow="0.35 of the radius",
           thinks_it_quiet="a quarter of R"),
    _check("C2-loose", "high-probability", ALWAYS + LOOSE + "and d = 3.", "Theorem 2, second form", "recalled",
           "loose_radius", (FIXED, SETS), covered_loosely, HighProbability(DELTA), loose_third="0.35 of it"),
    _check("C2-line", "high-probability", ALWAYS + LOOSE + "and d = 1, x = 1, theta* = 0, S = 0, lambda = 4, n = 500.",
           "Theorem 2, second form, read for every d", "recalled", "loose_radius", (SHORT,), covered_loosely,
           HighProbability(DELTA), "FALSE. For d = 1 the second form has ln(1/delta) once where the first has it "
           "twice: it is the first form at sqrt(delta) = 0.316, and is left here in about 0.23 of the runs. For d >= 2 "
           "see C2-forms.", loose_third="0.35 of the radius"),
    _check("C2-forms", "bound", "R sqrt(ln D_t + 2 ln(1/delta)) <= R sqrt(d ln((1 + t L^2/lambda)/delta)) for d >= 2.",
           "Theorem 2; determinant and trace", "derived", "loose_radius", designs, forms, Sure("SEARCHED", 80),
           "The paper does not ask for d >= 2. For d = 1: x = 1, lambda = 1, t = 1, delta = 0.1: 5.30 > 3.00 under "
           "the roots.", no_dimension="d = 1 throughout", loose_third="0.35 of the radius"),
    _check("C3", "bound", "sum_t min(1, ||x_t||^2_{V_{t-1}^-1}) <= 2 ln D_n, also without the minimum if lambda >= "
           "max(1, L^2); D_n <= (1 + n L^2/(lambda d))^d.", "Lemma 11", "recalled", "ridge", designs, potential,
           Sure("CERTIFIED", 80), frozen="norms by V_0 throughout", thin_regulariser="lambda/100, below L^2"),
    _check("C3-det", "identity", "det V_n = lambda^d prod_t (1 + ||x_t||^2_{V_{t-1}^-1}).", "proof of Lemma 11",
           "derived", "ridge", designs, determinant, Sure("EXACT", 80), after="norms by V_t", frozen="norms by V_0"),
    _check("C4", "bound", EVENT + "R_n <= 2 max(1, radius_n) sqrt(2 n ln D_n) if |<x, theta*>| <= 1, without the 1 if "
           "lambda >= L^2.", "proof of Theorem 3", "derived", "run", bandits, direct, Sure("SEARCHED", 60),
           stubborn="the first arm, for ever"),
    _check("C4-round", "bound", EVENT + "the gap of round t is at most 2 radius_{t-1} ||x_t||_{V_{t-1}^-1}.",
           "proof of Theorem 3", "recalled", "run", bandits, rounds, Sure("SEARCHED", 60), greedy="no bonus",
           stubborn="the first arm, for ever"),
    _check("C4-theorem", "high-probability", "With probability 1 - delta: R_n <= 4 sqrt(n d ln(lambda + n L/d)) "
           "(sqrt(lambda) S + R sqrt(2 ln(1/delta) + d ln(1 + n L/(lambda d)))); here delta = 0.1, d = 3, one-hot arms "
           "of means (.1, .9, .3), Bernoulli, n = 400 and 20000.", "Theorem 3", "recalled", "run",
           (PAYING | {"n": 400}, PAYING | {"n": 20_000}), theorem, HighProbability(DELTA),
           "At n = 400 the bound, 980.6, exceeds 800, the largest regret if |<x, theta*>| <= 1; at n = 20000 it is "
           "11003.8 of 40000. The L in its logarithms should be L^2; here L = 1.", stubborn="the first arm, for ever"),
    _check("C5", "rate", "R_n = O(sqrt n) between n = 250 and 2000, d = 3: one-hot arms of means (.25, -.5, .75), and "
           "sets of ten arms that change; Gaussian noise.", "Theorem 3 without its logarithm; these instances",
           "checked", "run", (GAPS, SETS | {"n": HORIZONS[-1]}), growth,
           Rate(HORIZONS, np.sqrt, lambda T: T ** (2 / 3), n=100), greedy="no bonus",
           explorer="a hundred times the bonus"),
    _check("C6", "identity", "One-hot arms: thetahat_i = (sum of what arm i paid)/(N_i + lambda), squared width "
           "1/(N_i + lambda): lambda phantom samples that pay 0.", "definition", "derived", "ridge", one_hot, phantoms,
           Sure("EXACT", 60), plain_mean="N_i in place of N_i + lambda", late="the width before the last play",
           half_a_phantom="lambda/2"),
    _check("C7", "bound", "Rarely switching. " + EVENT + "R_n <= 2 max(1, radius_n) sqrt((1+C) 2 n ln D_n).",
           "Theorem 4, in a direct form", "derived", "run_rarely", lazy, direct, Sure("SEARCHED", 60),
           stubborn="the first arm, for ever"),
    _check("C7-round", "bound", "Rarely switching. " + EVENT + "the gap of round t is at most 2 sqrt(1+C) radius_{t-1} "
           "||x_t||_{V_{t-1}^-1}.", "Lemma 12", "derived", "run_rarely", lazy, rounds, Sure("SEARCHED", 60),
           greedy_rarely="no bonus", never_again="updates once"),
    _check("C7-count", "bound", "Rarely switching: at most 1 + ln D_n/ln(1+C) updates.", "section 5.1", "derived",
           "run_rarely", lazy, updates, Sure("SEARCHED", 40), always="updates in each round"),
)
