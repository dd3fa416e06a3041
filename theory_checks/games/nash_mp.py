"""Nash mirror prox held to its claims: its factor at every step of searched games, and floors of its noisy forms.

Slopes, often read off for exploitability and span, are replaced by bounds at every step that have the claimed rate.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache, partial
from typing import Any

import numpy as np
from hypothesis import strategies as st

from algorithms.games import nash_mp
from algorithms.games.nash_mp import Params
from mdpkit.access import Comparisons, Exact
from mdpkit.instances.preferences import condorcet_cycle, weighted_cycle
from mdpkit.losses import log_softmax
from mdpkit.measure.exploitability import regularised_gap
from mdpkit.models.preferences import PreferenceModel
from mdpkit.octets import law, preference
from theory_checks.engine.claims import Check, Claim, Saboteur, marked
from theory_checks.engine.judges import HighProbability, Sure
from theory_checks.engine.rows import worst
from theory_checks.games.nash_md import divergence, log_policies, nash, rounding, worst_of

TWINS = "theory_checks.games._nash_mp_twins"
BETAS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
GAMS = (2.0, 2.0, 1.0, 0.25)
WEIGHTS = (1, 1, 2, 8, 64)              # of references and starts, before they are normalised
SIZES = tuple({"Y": Y} for Y in (256, 64, 16, 4))
BLOCKS = tuple({"beta": beta, "Y": Y} for beta, Y in ((0.01, 3), (0.02, 5), (0.05, 8), (0.1, 2), (0.1, 4), (0.3, 6),
                                                      (1.0, 3), (3.0, 8)))
BLOCK = 128                             # games: 1024 in all
INNER = (                               # m; KL(pi* || pi_k) at k = 5, 20, 50, to the digits that are known
    {"m": 1, "kl": [0.23398, 0.20113, 0.032023]}, {"m": 3, "kl": [0.20840, 0.020383, 1.66e-4]},
    {"m": 10, "kl": [0.082606, 5.445e-4, 8.16e-9]}, {"m": 30, "kl": [0.033388, 4.157e-5, 4.48e-11]},
    {"m": 100, "kl": [0.0304862, 3.2464e-5, 2.7587e-11]})


# ------------------------------------------------------------------------------------------ worlds

@cache
def reference() -> PreferenceModel:
    """The weighted cycle with pi_ref (.6, .3, .1), beta = .1."""
    return weighted_cycle(0.4, 0.3, 0.3, (0.6, 0.3, 0.1), 0.1)


@cache
def hard() -> PreferenceModel:
    """Rock, paper, scissors with pi_ref (.7, .2, .1) and beta = .01."""
    return condorcet_cycle(3, 1.0, (0.7, 0.2, 0.1), 0.01)


@st.composite
def games(draw: st.DrawFn, K: int, home: bool) -> dict[str, Any]:
    """Any preferences of up to 6 responses, certain ones and cycles among them; beta, pi_ref, pi_0, K steps of gam.

    With ``home`` the start is the reference, and gam = 2.
    """
    Y, kind = draw(st.integers(2, 6)), draw(st.sampled_from([2, 16, 0]))
    Y = Y if kind else 3 + 2 * (Y // 4)
    p = preference(draw, Y, kind) if kind else condorcet_cycle(Y, 1.0).p[0]
    ref = law(draw, 1, Y, weights=WEIGHTS)
    model = PreferenceModel(p[None], [1.0], ref, draw(st.sampled_from(BETAS)))
    start = ref if home else law(draw, 1, Y, weights=WEIGHTS)
    return {"model": model, "start": start, "gam": 2.0 if home else draw(st.sampled_from(GAMS)), "K": K}


steps = partial(games, 8, False)
whole_runs = partial(games, 60, True)


@st.composite
def policies(draw: st.DrawFn) -> dict[str, Any]:
    """The same games with any policy, or with one near pi*; ``of``: pi* is that of so many beta."""
    world = draw(games(1, False))
    m, log_pi = world["model"], np.log(world["start"][0])
    if draw(st.booleans()):
        log_pi = log_softmax(0.9 * nash(m.p[0], m.pi_ref[0], m.beta)[0] + 0.1 * log_pi)
    return {"model": m, "log_pi": log_pi, "of": 1.0}


# ---------------------------------------------------------------------------------------- measures

def _run(world: dict, subject: Callable, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """log pi*, log pi_0..pi_K, log h_0.., and what rounding does to a KL divergence, twice, and to a step."""
    m = world["model"]
    log_star, s = nash(m.p[0], m.pi_ref[0], m.beta)
    result = subject(Exact(m), Params(world["K"], world["gam"], world["start"]), rng)
    logs = log_policies(result)[:, 0]
    half = result.trace.info["log_half"][:, 0] if "log_half" in result.trace.info else logs
    span = float(np.ptp(log_star - logs, axis=-1).max())
    return log_star, logs, half, 2 * s * (1 + span) + 4 * rounding(m.Y, log_star, logs, world["gam"])


@marked
def one_step(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C1: (1 + gam beta) KL(pi* || pi_{k+1}) against KL(pi* || pi_k), each k."""
    log_star, logs, _, slack = _run(world, subject, rng)
    kl, grown = divergence(log_star, logs), 1 + world["gam"] * world["model"].beta
    return worst_of(grown * kl[1:], kl[:-1], (1 + grown) * slack)


@marked
def every_game(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C1-many: the same at gam = 2 for 30 steps of each game of a block, half of them with certain preferences."""
    rows = []
    for certain in (False, True):
        m = _random(BLOCK // 2, world["Y"], world["beta"], certain, 1.0, rng)
        logs = log_policies(subject(Exact(m), Params(30), rng))
        near = np.log(nash_mp.run(Exact(m), Params(300), rng).output)
        stars = [nash(p, ref, m.beta, guess) for p, ref, guess in zip(m.p, m.pi_ref, near)]
        for x, (log_star, s) in enumerate(stars):
            kl, span = divergence(log_star, logs[:, x]), float(np.ptp(log_star - logs[:, x], axis=-1).max())
            slack = (2 + 2 * m.beta) * (2 * s * (1 + span) + 4 * rounding(m.Y, log_star, logs[:, x], 2.0))
            rows.append(worst_of((1 + 2 * m.beta) * kl[1:], kl[:-1], slack))
    return {**worst(rows), "examples": BLOCK}


def _random(X: int, Y: int, beta: float, certain: bool, even: float, rng: np.random.Generator) -> PreferenceModel:
    """Uniform or certain preferences, and references of Dirichlet's law with this parameter."""
    p = rng.integers(0, 2, (X, Y, Y)) * 1.0 if certain else rng.random((X, Y, Y))
    ref = np.maximum(rng.dirichlet(np.full(Y, even), X), 1e-12)
    p = np.triu(p, 1) + np.tril(1 - p.transpose(0, 2, 1), -1) + np.eye(Y) / 2
    return PreferenceModel(p, np.full(X, 1 / X), ref / ref.sum(-1, keepdims=True), beta)


@marked
def all_steps(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C1-run: KL(pi* || pi_k) against (1 + 2 beta)^-k/(2 beta) from pi_ref, k = 0 included."""
    log_star, logs, _, slack = _run(world, subject, rng)
    beta, k = world["model"].beta, np.arange(world["K"] + 1)
    return worst_of(divergence(log_star, logs), (1 + 2 * beta) ** -k / (2 * beta), (world["K"] + 1) * slack)


@marked
def sandwiched(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C2: the exploitability of a policy between its bounds; ``of``: pi* is that of so many beta."""
    m, beta = world["model"], world["model"].beta
    log_star, s = nash(m.p[0], m.pi_ref[0], world["of"] * beta)
    log_ref, log_pi = np.log(m.pi_ref[0]), world["log_pi"]
    low, high = subject(log_pi, log_star, beta)
    value = float(regularised_gap(m.p[0], log_pi, log_ref, beta))
    # log pi* is off by r + p (pi - pi*)/beta, of span 2 s (1 + 1/beta) at most; the gap is a sum of parts of size `one`
    off = 4 * s * (1 + 1 / beta) * (1 + float(np.ptp(log_pi - log_star)))
    one = 4 * beta * rounding(m.Y, log_pi, log_star, log_ref, 1 / beta)
    return worst([{"measured": float(low) - value, "bound": 0.0, "slack": beta * off + one},
                  worst_of(np.array([value - low]), np.array([high - low]), (beta + 0.25 / beta) * (off + one / beta))])


@marked
def exploited(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C2-run: the exploitability of pi_k against a bound of rate 1/(1 + 2 beta), each k."""
    log_star, logs, _, slack = _run(world, subject, rng)
    m, beta = world["model"], world["model"].beta
    span, kl = np.ptp(logs - log_star, axis=-1), max(float(divergence(log_star, logs[0])), 0.0)
    bound = nash_mp.exploitability_bound(beta, span, kl * (1 + 2 * beta) ** -np.arange(len(logs)))
    gap = regularised_gap(m.p[0], logs, np.log(m.pi_ref[0]), beta)
    return worst_of(gap, bound, (1 + beta + 1 / beta) * (world["K"] + 1) * slack)


@marked
def span_step(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C3: (1 + gam beta) span(log pi_{k+1} - log pi*) against span(log pi_k - log pi*) + gam ||h - pi*||_1, each k."""
    log_star, logs, half, slack = _run(world, subject, rng)
    beta, gam = world["model"].beta, world["gam"]
    span, far = np.ptp(logs - log_star, axis=-1), np.abs(np.exp(half) - np.exp(log_star)).sum(-1)[:len(logs) - 1]
    # log pi* is off as in C2, and cancels but for its share beta
    return worst_of((1 + gam * beta) * span[1:], span[:-1] + gam * far, 4 * (1 + gam * beta) * (1 + 1 / beta) * slack)


@marked
def span_run(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C3-run: span(log pi_k - log pi*) against a bound of rate (1 + 2 beta)^(-1/2), each k."""
    log_star, logs, _, slack = _run(world, subject, rng)
    beta, span = world["model"].beta, np.ptp(logs - log_star, axis=-1)
    kl = max(float(divergence(log_star, logs[0])), 0.0) + slack
    bound = nash_mp.span_bound(beta, np.arange(len(logs)), float(span[0]), kl)
    return worst_of(span, bound, 4 * (1 + 1 / beta) ** 2 * slack)      # rounding of a step, 1 + 1/(2 beta) times


@marked
def crowd(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C4: iterations to KL <= 1e-8 on two random games: uniform preferences, and certain ones with skewed pi_ref."""
    Y, beta, limit = world["Y"], 0.1, math.log(1e8 / 0.2) / math.log(1.2)
    most = 0.0
    for certain in (False, True):
        m = _random(1, Y, beta, certain, 0.1 if certain else 1.0, rng)
        log_star, logs, *_ = _run({"model": m, "K": math.ceil(limit), "gam": 2.0, "start": m.pi_ref}, subject, rng)
        near = divergence(log_star, logs) <= 1e-8
        most = max(most, float(np.argmax(near)) if near.any() else math.inf)
    return {"measured": most, "bound": limit, "slack": 0.0}


@marked
def floors(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C5: log10 of the ratio of two floors, of errors eps and eps/10, against 2; the same draws for both."""
    m, seed = hard() if world["hard"] else reference(), rng.integers(0, 2**62)
    log_star = nash(m.p[0], m.pi_ref[0], m.beta)[0]
    high, low = (divergence(log_star, log_policies(subject(Exact(m), Params(600, eps=eps),
                                                           np.random.default_rng(seed)))[300:, 0]).max()
                 for eps in (world["eps"], world["eps"] / 10))
    return {"measured": abs(math.log10(high / low) - 2), "bound": math.log10(2), "slack": 0.0}


@marked
def label_floors(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C5-sampled: log10 of the ratio of mean KL of two runs with n labels and with 10 n, against 1."""
    one, seeds = reference(), rng.integers(0, 2**62, (2, 2))
    m = PreferenceModel(np.repeat(one.p, 2, 0), [0.5, 0.5], np.repeat(one.pi_ref, 2, 0), one.beta)
    log_star = nash(m.p[0], m.pi_ref[0], m.beta)[0]
    high, low = (divergence(log_star, log_policies(subject(Comparisons(m, np.random.default_rng(a)), Params(120, n=n),
                                                           np.random.default_rng(b)))[30:]).mean()
                 for n, (a, b) in zip((world["n"], 10 * world["n"]), seeds))
    return {"measured": abs(math.log10(high / low) - 1), "bound": math.log10(2), "slack": 0.0}


@marked
def inner_loops(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C6: KL(pi* || pi_k) over the known values, and with many inner steps over that of exact proximal steps."""
    m, k = reference(), [5, 20, 50]
    log_star = nash(m.p[0], m.pi_ref[0], m.beta)[0]
    kl, exact = (divergence(log_star, log_policies(f(Exact(m), Params(50, m=world["m"]), rng))[k, 0])
                 for f in (subject, nash_mp.run))
    rows = [{"measured": float(abs(a / b - 1)), "bound": 0.01, "slack": 0.0} for a, b in zip(kl, world["kl"])]
    return worst([*rows, {"measured": float(abs(kl[0] / exact[0] - 1)) if world["m"] == 100 else 0.0, "bound": 1e-3}])


# -------------------------------------------------------------------------------------------- checks

def _check(name: str, kind: str, statement: str, source: str, status: str, entry: str, worlds: Any, measure: Callable,
           judge: Any, *broken: Saboteur, finding: str = "", **twins: str) -> Check:
    """A check whose saboteurs are worlds, and twins by name, each with what is wrong with it."""
    claim = Claim("nash-mp", name, kind, statement, source, status, finding)
    return Check(claim, entry, worlds, measure, judge, (*broken, *(
        Saboteur(twin.replace("_", " "), why, subject=f"{TWINS}:{twin}") for twin, why in twins.items())))


_SINGLE = "step 2 alone: h is the next policy"
_SLOW = "Nash-MD at the step of its theorem"

CHECKS = (
    _check("C1", "linear-rate", "(1 + gam beta) KL(pi* || pi_{k+1}) <= KL(pi* || pi_k) for any game, reference, beta, "
           "pi_k of full support and gam <= 2; at gam = 2 the factor of the paper.", "Theorem 1, one iteration",
           "derived", "run", steps, one_step, Sure("SEARCHED", 120), single=_SINGLE, gam_four="gam = 4",
           wrong_centre="step 3 starts from h"),
    _check("C1-many", "linear-rate", "(1 + 2 beta) KL(pi* || pi_{k+1}) <= KL(pi* || pi_k) at each of 30 steps of 1024 "
           "random games of 2 to 8 responses, beta from .01 to 3, from pi_ref.", "Theorem 1, one iteration", "derived",
           "run", BLOCKS, every_game, Sure("SEARCHED"), slow=_SLOW, single=_SINGLE),
    _check("C1-run", "linear-rate", "From pi_ref KL(pi* || pi_k) <= (1 + 2 beta)^-k/(2 beta) for every k >= 0.",
           "Theorem 1", "derived", "run", whole_runs, all_steps, Sure("SEARCHED", 80), slow=_SLOW, single=_SINGLE),
    _check("C2", "bound", "beta KL(pi || pi*) <= SubOpt(pi) <= beta KL(pi || pi*) + min(KL(pi* || pi), KL(pi || pi*))"
           "/(4 beta) for every pi of full support.", "exploitability of the last iterate", "derived", "sandwich",
           policies, sandwiched, Sure("SEARCHED", 120),
           Saboteur("another equilibrium", "pi* is that of 2 beta", world={"of": 2.0}),
           backward="KL(pi* || pi) on the left", sixteenth="1/(16 beta)"),
    _check("C2-run", "linear-rate", "SubOpt(pi_k) <= (beta e^span + 1/(4 beta)) (1 + 2 beta)^-k KL(pi* || pi_0), span "
           "that of log pi_k - log pi*: from pi_ref, for every k.", "exploitability of the last iterate", "derived",
           "run", whole_runs, exploited, Sure("SEARCHED", 80), slow=_SLOW, single=_SINGLE),
    _check("C3", "linear-rate", "span(log pi_{k+1} - log pi*) <= (span(log pi_k - log pi*) + gam ||h - pi*||_1)/"
           "(1 + gam beta), each step.", "span of log-probabilities", "derived", "run", steps, span_step,
           Sure("SEARCHED", 120),
           undivided="step 3 without the division by 1 + gam beta", wrong_centre="step 3 starts from h"),
    _check("C3-run", "linear-rate", "From pi_ref span(log pi_k - log pi*) <= q^k span_0 + 2 sqrt(KL_0/beta) "
           "q^((k+1)/2)/(1 - sqrt q), q = 1/(1 + 2 beta), for every k: the number of responses does not enter.",
           "span of log-probabilities", "derived", "run", whole_runs, span_run, Sure("SEARCHED", 80), slow=_SLOW,
           timid="gam = .05"),
    _check("C4", "bound", "At beta = .1 KL(pi* || pi_K) <= 1e-8 for a K <= log(1e8/(2 beta))/log(1 + 2 beta) = 109.9 "
           "on random games of 4, 16, 64 and 256 responses.", "Theorem 1", "derived", "run", SIZES, crowd,
           Sure("SEARCHED"), slow=_SLOW, timid="gam = .05"),
    _check("C5", "high-probability", "With independent errors uniform in [-eps, eps] on both log-policies max "
           "KL(pi* || pi_k) over k = 300..600 falls by 50 to 200 when eps falls by 10: a floor of order eps^2.",
           "approximate version, these instances", "checked", "run_noisy",
           ({"hard": False, "eps": 0.1}, {"hard": True, "eps": 0.01}), floors,
           HighProbability(0.05), single=_SINGLE, root="errors of sqrt(eps)"),
    _check("C5-sampled", "high-probability", "With n labels a query the mean of KL(pi* || pi_k) over k = 30..120 and "
           "two runs falls by 5 to 20 from n = 20 to 200: a floor of order 1/n.", "this instance", "derived",
           "run_sampled", ({"n": 20},), label_floors, HighProbability(0.05), one_label="one label, whatever n",
           root_labels="the root of n labels"),
    _check("C6", "identity", "With m gradient steps of size 1 for a proximal step KL(pi* || pi_k) at k = 5, 20, 50 is "
           "as recorded, to 1 %; at m = 100 and k = 5 that of exact steps, to .1 %.",
           "policy-gradient inner loops, this instance", "checked", "run_gradient", INNER, inner_loops,
           Sure("SEARCHED"), fresh="inner loops start at pi_ref", one_opponent="step 3 against pi_k again",
           finding="At m = 30, k = 50 the value is 4.479e-11; 4.5e-10, as once computed, is a slip of the exponent."),
)
