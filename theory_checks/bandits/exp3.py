"""EXP3 held to its claims: exact expectations over all sequences, what each path obeys, and runs at scale.

Expected regret is enumerated where that can be done (no sampling), in floats; the pathwise inequality is searched over
paths; the rest is judged on runs.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from hypothesis import strategies as st

from algorithms.bandits import exp3, ucb1
from algorithms.bandits.exp3 import Params
from mdpkit.access import Episodes
from mdpkit.models.bandits import Bandit
from mdpkit.models.tabular import EpisodicMDP
from mdpkit.octets import octets
from mdpkit.solve.rounding import higham
from theory_checks.engine.claims import Check, Claim, Saboteur
from theory_checks.engine.judges import Expectation, HighProbability, Separation, Sure

TWINS = "theory_checks.bandits._exp3_twins"
DELTA = 0.1


# ------------------------------------------------------------------------------------------ worlds

def late(T: int, A: int) -> np.ndarray:
    """All lose 0.5, but the first arm 0.4, and the second 0.1 in the second half."""
    losses = np.full((T, A), 0.5)
    losses[:, 0] = 0.4
    losses[T // 2:, 1] = 0.1
    return losses


def clear(T: int, A: int) -> np.ndarray:
    """The first arm loses nothing, the others 1."""
    return np.tile(np.minimum(np.arange(A), 1.0), (T, 1))


def against_ucb1(T: int, A: int) -> np.ndarray:
    """Loss 1 at the arm that UCB1 plays, which has then seen no reward: its plays where no arm ever pays."""
    losses = np.zeros((T, A))
    losses[np.arange(T), plays_of_ucb1(T, A)] = 1.0
    return losses


def noisy(T: int, A: int) -> np.ndarray:
    """Zeros and ones, fixed once and for all: the first arm loses 0.2 of the time, the others half of it."""
    return 1.0 * (np.random.default_rng(0).random((T, A)) < np.where(np.arange(A) == 0, 0.2, 0.5))


TABLES = {"late": late, "clear": clear, "noisy": noisy, "against ucb1": against_ucb1}


@cache
def model_of(table: str, T: int, A: int) -> EpisodicMDP:
    """A table as a world; its losses are ``-model.r[:, 0]``."""
    return exp3.oblivious(TABLES[table](T, A))


def plays_of_ucb1(T: int, A: int) -> np.ndarray:
    """The arms (T,) of UCB1 where no arm ever pays."""
    return _ucb1(np.zeros(A), T, np.random.default_rng(0))


@st.composite
def tables(draw: st.DrawFn) -> dict[str, Any]:
    """Losses in sixteenths of two or three arms, or one arm that is right throughout; a step, or the tuned one."""
    A, T = draw(st.sampled_from([(2, 1), (2, 2), (2, 4), (2, 7), (2, 12), (3, 1), (3, 3), (3, 6), (1, 3)]))
    losses = octets(draw, T, A) % 17 / 16
    if draw(st.booleans()):
        losses = clear(T, A)[:, ::draw(st.sampled_from([1, -1]))]
    return {"losses": losses, "eta": draw(st.sampled_from([0.1, 0.3, 1.0, exp3.theory(T, A).eta]))}


@st.composite
def short_tables(draw: st.DrawFn) -> dict[str, Any]:
    """Up to four rounds and eta up to 0.3: no probability vanishes in floats."""
    A, T = draw(st.integers(1, 3)), draw(st.integers(1, 4))
    return {"losses": octets(draw, T, A) % 17 / 16, "eta": draw(st.sampled_from([0.05, 0.1, 0.3])),
            "gamma": draw(st.sampled_from([0.01, 0.1, 0.5]))}


@st.composite
def paths(draw: st.DrawFn) -> dict[str, Any]:
    """Losses, and the draws in 256ths: an arm that is drawn is not quite improbable."""
    A, T = draw(st.integers(1, 5)), draw(st.sampled_from([1, 2, 5, 20, 60]))
    kind = draw(st.sampled_from(["any", "clear", "late"]))
    losses = octets(draw, T, A) % 17 / 16 if kind == "any" or A == 1 else TABLES[kind](T, A)
    return {"losses": losses, "u": octets(draw, T) / 256, "eta": draw(st.sampled_from([0.02, 0.1, 0.5, 2.0])),
            "gamma": draw(st.sampled_from([0.0, 0.05]))}


def lucky_draw() -> dict[str, Any]:
    """Nothing is lost; after three draws of the first arm the second comes. Gains make that draw worth too much."""
    return {"losses": np.zeros((4, 2)), "u": np.array([0.0, 0.0, 0.0, 255 / 256]), "eta": 0.5, "gamma": 0.0}


draws = lambda: paths() | paths() | st.just(lucky_draw())


# ---------------------------------------------------------------------------------------- measures

def enumerated(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C1: expected regret by enumeration."""
    losses, eta = world["losses"], world["eta"]
    T, A = losses.shape
    paid, _ = subject(losses, eta)
    # A^T terms a round, T rounds; an exponent E errs by E u and moves its law by E exp(-E) u; an estimate that is off
    # by E u relatively was drawn with a chance of about exp(-E)
    return {"measured": paid - float(losses.sum(0).min()), "bound": exp3.regret_bound(T, A, eta),
            "slack": higham(16 * T * A**T) * T}


def unbiased(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C2 at gamma = 0: E sum lhat_t(a) against sum l_t(a), at the worst arm. It holds whatever the laws."""
    losses = world["losses"]
    _, L = subject(losses, world["eta"])
    return {"measured": float(np.abs(L - losses.sum(0)).max()), "bound": 0.0, "slack": _rounds(losses)}


def from_below(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C2 at gamma > 0."""
    losses = world["losses"]
    _, L = subject(losses, world["eta"], world["gamma"])
    return {"measured": max(float((L - losses.sum(0)).max()), 0.0), "bound": 0.0, "slack": _rounds(losses)}


def _rounds(losses: np.ndarray) -> float:
    # each of A^T terms is a product of T laws times a quotient; laws sum to 1 but for A roundings each
    T, A = losses.shape
    return higham(A**T + T * (A + 8)) * T


def pathwise(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C3: at the arm with the least sum of estimates."""
    losses, eta = world["losses"], world["eta"]
    T, A = losses.shape
    p, lhat = subject(losses, world["u"], eta, world["gamma"])
    paid, least, square = float((p * lhat).sum()), float(lhat.sum(0).min()), float((p * lhat * lhat).sum())
    top = float(np.abs(lhat).sum(0).max())
    bound = math.log(A) / eta + eta / 2 * square
    # exponents eta L, of sums of T terms, move the laws by as much; then sums of T A terms
    slack = higham(2 * eta * top * (T + 4) + T * A + 2 * A + 32) * (float((p * np.abs(lhat)).sum()) + top + bound)
    return {"measured": paid - least, "bound": bound, "slack": slack}


def at_scale(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C4: realised regret, whose mean is the expected one."""
    T, A = world["T"], world["A"]
    params = exp3.theory(T, A)
    return _in_range(world["table"], T, A, subject, params, rng, exp3.regret_bound(T, A, params.eta))


def at_scale_2002(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C4-2002: the same against 2.63 sqrt(A T ln A)."""
    T, A = world["T"], world["A"]
    bound = 2.63 * math.sqrt(A * T * math.log(A))
    return _in_range(world["table"], T, A, subject, exp3.theory_2002(T, A), rng, bound)


def _in_range(table: str, T: int, A: int, subject: Callable, params: Params, rng: np.random.Generator, bound: float,
              ) -> dict:
    """Regret and bound on the scale from 0, the least regret there is on these losses, to 1, the largest."""
    losses = -model_of(table, T, A).r[:, 0]
    least, most = (float(extreme.sum() - losses.sum(0).min()) for extreme in (losses.min(1), losses.max(1)))
    regret = _regret(model_of(table, T, A), subject, params, rng)
    return {"measured": (regret - least) / (most - least), "bound": (bound - least) / (most - least),
            "regret over bound": regret / bound}


def separated(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C5: both on one table, regret a round."""
    T, A = world["T"], world["A"]
    params, model, rewards = exp3.theory(T, A), model_of("against ucb1", T, A), np.zeros(A)
    if world.get("iid"):
        rewards = np.linspace(0.8, 0.2, A)
        model = exp3.oblivious(1.0 * (rng.random((T, A)) >= rewards))
    losses = -model.r[:, 0]
    theirs = float(losses[np.arange(T), _ucb1(rewards, T, rng)].sum() - losses.sum(0).min())
    return {"EXP3": {"measured": _regret(model, subject, params, rng) / T,
                     "bound": exp3.regret_bound(T, A, params.eta) / T},
            "UCB1": {"measured": theirs / T, "bound": 0.25}}


def confident(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C6: realised regret of EXP3-IX."""
    T, A = world["T"], world["A"]
    regret = _regret(model_of(world["table"], T, A), subject, exp3.theory_ix(T, A), rng)
    return {"measured": max(regret, 0.0), "bound": exp3.regret_bound_ix(T, A, DELTA)}


def overestimates(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C7: the largest sum of lhat - l, under a fixed law or that of EXP3-IX's own run."""
    T, A, gamma = world["T"], world["A"], world["gamma"]
    if "law" in world:
        losses, p = np.ones((T, A)), np.tile(world["law"], (T, 1))
        a = (rng.random(T) >= world["law"][0]).astype(np.int64)
    else:
        model = model_of("late", T, A)
        losses = -model.r[:, 0]
        trace = exp3.run(Episodes(model, rng), Params(2 * gamma, gamma), _other(rng)).trace
        p, a = trace.policies, trace.info["a"]                      # type: ignore[union-attr]
    measured = float((subject(losses, p, a, gamma) - losses).sum(0).max())
    return {"measured": max(measured, 0.0), "bound": math.log(A / DELTA) / (2 * gamma)}


def _regret(model: EpisodicMDP, subject: Callable, params: Params, rng: np.random.Generator) -> float:
    losses = -model.r[:, 0]
    trace = subject(Episodes(model, rng), params, _other(rng)).trace
    return float(losses[np.arange(len(losses)), trace.info["a"]].sum() - losses.sum(0).min())


def _other(rng: np.random.Generator) -> np.random.Generator:
    return np.random.default_rng(int(rng.integers(2**62)))


def _ucb1(mu: np.ndarray, T: int, rng: np.random.Generator) -> np.ndarray:
    seen: list[np.ndarray] = []
    watch = lambda first, arms: seen.append(arms.copy())
    ucb1.run(Episodes(Bandit(mu), rng, watch=watch), ucb1.theory(T), rng)
    return np.concatenate(seen)


# -------------------------------------------------------------------------------------------- checks

def _check(name: str, kind: str, statement: str, source: str, status: str, entry: str, worlds: Any, measure: Callable,
           judge: Any, finding: str = "", *more: Saboteur, **twins: str) -> Check:
    """A check whose saboteurs are twins by name, each with what is wrong with it."""
    claim = Claim("exp3", name, kind, statement, source, status, finding)
    return Check(claim, entry, worlds, measure, judge, (*more, *(
        Saboteur(twin.replace("_", " "), why, subject=f"{TWINS}:{twin}") for twin, why in twins.items())))


AT_SCALE = ({"table": "late", "T": 20_000, "A": 5}, {"table": "noisy", "T": 2000, "A": 3})
FOR_IX = {"T": 2000, "A": 4}
CHECKS = (
    _check("C1", "bound", "E sum_t l_t(a_t) - min_a sum_t l_t(a) <= ln A/eta + eta T A/2 for every eta > 0, oblivious "
           "losses; sqrt(2 T A ln A) at the tuned eta. By enumeration of all sequences.", "Bubeck, Cesa-Bianchi 2012, "
           "Theorem 3.1", "recalled", "expected", tables, enumerated, Sure("SEARCHED", 120),
           flipped="exp(+eta Lhat)", never_learns="uniform throughout"),
    _check("C2", "identity", "E sum_t lhat_t(a) = sum_t l_t(a) for each a (gamma = 0).", "definition of lhat",
           "checked", "expected", short_tables, unbiased, Sure("SEARCHED", 120),
           unweighted="lhat = 1{a = a_t} l, without 1/p", mixed_up="draws with mixing, divides by the law without it"),
    _check("C2-ix", "bound", "E sum_t lhat_t(a) <= sum_t l_t(a) for each a (gamma > 0).", "definition of lhat",
           "checked", "expected", short_tables, from_below, Sure("SEARCHED", 120),
           gamma_above="(l + gamma)/p in place of l/(p + gamma)",
           mixed_up="draws with mixing, divides by the law without it"),
    _check("C3", "bound", "For every path and every arm: sum_t <p_t, lhat_t> - sum_t lhat_t(a) <= ln A/eta + (eta/2) "
           "sum_t <p_t, lhat_t^2>, as lhat >= 0.", "proof of Theorem 3.1", "recalled", "replay", draws, pathwise,
           Sure("SEARCHED", 120), negative="(l - 1)/p: gains, of estimates below 0", slow_step="a tenth of eta",
           flipped_path="exp(+eta Lhat)"),
    _check("C4", "expectation", "E R_T <= sqrt(2 T A ln A); here A = 5, T = 20000, an arm that becomes the best "
           "half-way, and A = 3, T = 2000, zeros and ones at rates .2, .5, .5.", "Theorem 3.1", "recalled", "run",
           AT_SCALE, at_scale, Expectation(0.0, 1.0), reckless="eta = 10", indifferent="uniform throughout"),
    _check("C4-2002", "expectation", "E G_max - E G <= 2.63 sqrt(A T ln A) of the algorithm of 2002; the same losses.",
           "Auer et al. 2002, Corollary 3.2", "recalled", "run_2002", AT_SCALE, at_scale_2002, Expectation(0.0, 1.0),
           towards_losses="exp(-eta) of gains", indifferent="uniform throughout"),
    _check("C5", "separation", "On the table that gives loss 1 to UCB1's arm (A = 2, T = 4000), UCB1's regret is at "
           "least T/4, EXP3's at most sqrt(2 T A ln A).", "construction", "checked", "run", ({"T": 4000, "A": 2},),
           separated, Separation((("EXP3", Expectation(-0.5, 0.5)), ("UCB1", Expectation(-0.5, 0.5, above=True)))), "",
           Saboteur("independent losses", "means .2 and .8: UCB1 wins there", world={"iid": True}),
           upper_bounds="UCB1 in EXP3's place"),
    _check("C6", "high-probability", "EXP3-IX: R_T <= 2 sqrt(2 A T ln A) + (sqrt(2 A T/ln A) + 1) ln(2/delta) with "
           "probability 1 - delta; here delta = 0.1, A = 4, T = 2000.", "Neu 2015, Theorem 1", "recalled", "run",
           ({**FOR_IX, "table": "late"}, {**FOR_IX, "table": "clear"}), confident, HighProbability(DELTA),
           indifferent="uniform throughout", flipped_run="exp(+eta Lhat)"),
    _check("C7", "high-probability", "sum_t (lhat_t(a) - l_t(a)) <= ln(A/delta)/(2 gamma) for all arms at once with "
           "probability 1 - delta, whatever the laws; here delta = 0.1, EXP3-IX's own and (.999, .001).",
           "Neu 2015, Corollary 1", "recalled", "estimates",
           ({**FOR_IX, "gamma": exp3.theory_ix(2000, 4).gamma},
            {"T": 2000, "A": 2, "gamma": 0.025, "law": [0.999, 0.001]}), overestimates, HighProbability(DELTA),
           no_gamma="l/p, with gamma in the bound alone", gamma_on_top="(l + gamma)/p"),
)
