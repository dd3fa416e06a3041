"""NPG held to its claims: its form in rationals; its rate, monotony and limits on searched worlds, with derived slack.

A measure sees every policy of a run, pi_0..pi_T, and evaluates them itself.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from hypothesis import strategies as st

from algorithms.policy_gradient import npg
from algorithms.policy_gradient.npg import Params
from mdpkit import rational
from mdpkit.access import Exact
from mdpkit.instances.garnet import random_mdp
from mdpkit.measure.divergences import kl
from mdpkit.measure.plain import discounted_values
from mdpkit.measure.values import optimal_action_value
from mdpkit.models.tabular import TabularMDP
from mdpkit.octets import GAMMAS, law, small_mdp
from mdpkit.rational import exact, fraction
from mdpkit.solve.rounding import advantage_error, higham
from theory_checks.engine.claims import Check, Claim, Saboteur, marked
from theory_checks.engine.judges import Sure
from theory_checks.engine.rows import worst

TWINS = "theory_checks.policy_gradient._npg_twins"
ETAS = (0.01, 0.1, 0.3, 1.0, 5.0)
STEPS = (2, 12, 40)                      # updates of a searched run; each of its policies is held to the claim
ARMS = ({"A": 100}, {"A": 1000})
WEIGHTS = np.array([0, 1, 1, 4, 64, 0], float)        # of successors, states and actions, before they are normalised
LARGE = 1e6                              # a step near infinity


# ------------------------------------------------------------------------------------------ worlds

def arms(A: int, gamma: float) -> TabularMDP:
    """One state; action 0 pays 1, the others nothing."""
    return TabularMDP(np.ones((1, A, 1)), np.eye(A)[:1], gamma, [1.0])


@st.composite
def interior(draw: st.DrawFn) -> dict[str, Any]:
    """A world whose law reaches every state, and a policy that takes every action."""
    m = small_mdp(draw, 3, least=1)
    return {"model": m, "pi": law(draw, m.S, m.A, least=1)}


@st.composite
def runs(draw: st.DrawFn, start: bool, crowd: bool) -> dict[str, Any]:
    """A small MDP, or of a crowd one state and up to 100 actions; a step, that of `npg.theory` among them; a pi_0."""
    if crowd and draw(st.booleans()):
        m = arms(draw(st.sampled_from([2, 10, 100])), draw(st.sampled_from(GAMMAS)))
    else:
        m = small_mdp(draw, 4)
    eta = draw(st.sampled_from([npg.theory(1, m.A, m.gamma).eta, *ETAS]))
    pi_0 = law(draw, m.S, m.A, least=1) if start and m.A < 10 else None
    return {"model": m, "eta": eta, "T": draw(st.sampled_from(STEPS)), "start": pi_0}


uniform_starts = partial(runs, False, True)
any_starts = partial(runs, True, True)
small_runs = partial(runs, True, False)


@st.composite
def leaps(draw: st.DrawFn) -> dict[str, Any]:
    """A step near infinity; MDPs with ties, and random ones without."""
    seeded = draw(st.integers(0, 999))
    m = random_mdp(5, 4, 0.95, np.random.default_rng(seeded)) if seeded % 2 else small_mdp(draw, 4)
    return {"model": m, "eta": LARGE, "T": draw(st.integers(1, 5)), "start": None}


# ---------------------------------------------------------------------------------------- measures

def form(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C1 in rationals: what is left of the difference after its mean over the actions of each state is taken off."""
    m = world["model"]
    P, r, gamma, rho, pi = exact(m.P), exact(m.r), rational.rational(m.gamma), exact(m.rho), exact(world["pi"])
    pi = pi / pi.sum(-1)[:, None]                       # laws in rationals too
    left = subject(P, r, gamma, rho, pi) - npg.advantage(P, r, gamma, pi) / (1 - gamma)
    return {"measured": fraction(np.abs(left - left.sum(-1)[:, None] / m.A).max()), "bound": 0}


@marked
def closed_form(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C2: each policy against pi_0 exp(eta/(1-gamma) sum of Q), normalised."""
    m, T = world["model"], world["T"]
    pi = _policies(world, subject, rng)
    Q = discounted_values(m.P, m.r, m.gamma, pi[:-1])[1]
    wanted = npg.softmax(np.log(pi[0]) + world["eta"] / (1 - m.gamma) * np.cumsum(Q, 0))
    # tables of the two differ by delta, one error of Q a step on either side, and laws then by exp(2 delta) - 1
    delta = 2 * T * world["eta"] / (1 - m.gamma) * advantage_error(m.S, m.A, m.gamma, T)
    return {"measured": float(np.abs(pi[1:] - wanted).max()), "bound": 0.0,
            "slack": float(np.expm1(2 * delta)) + higham(4 * m.A + 64)}


@marked
def rate(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C3: V*(rho) - V^{pi_t}(rho) against the bound for every t >= 1."""
    m = world["model"]
    return _gaps(world, subject, rng, npg.bound(m.A, m.gamma, world["eta"], np.arange(1, world["T"] + 1)))


@marked
def rate_from(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C3-start: the same, with E_{s ~ d*} KL(pi*, pi_0) in place of log A."""
    m = world["model"]
    best = np.eye(m.A)[optimal_action_value(m).argmax(-1)]
    pi_0 = np.full(m.r.shape, 1 / m.A) if world["start"] is None else world["start"]
    far = float(npg.occupancy(m.P, m.gamma, m.rho, best).sum(-1) @ kl(best, pi_0))
    t = np.arange(1, world["T"] + 1)
    return _gaps(world, subject, rng, (far / world["eta"] + (1 - m.gamma) ** -2) / t)


def _gaps(world: dict, subject: Callable, rng: np.random.Generator, bounds: np.ndarray) -> dict:
    m, T = world["model"], world["T"]
    V = discounted_values(m.P, m.r, m.gamma, _policies(world, subject, rng))[0]
    gaps = m.rho @ optimal_action_value(m).max(-1) - V[1:] @ m.rho
    # NPG with errors e of its advantages: the mean over t of the gap grows by 3 e/(1-gamma)^2, and a last policy is
    # worse than one before it by 2 e/(1-gamma) a step at most; then two evaluations. A KL and a log round too.
    e = advantage_error(m.S, m.A, m.gamma, T)
    slack = (3 + 2 * T + 2) * e / (1 - m.gamma) ** 2 + higham(64) * float(bounds.max())
    return worst({"measured": float(g), "bound": float(b), "slack": slack} for g, b in zip(gaps, bounds))


@marked
def climbing(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C4: (1-gamma)/eta log Z_t(s), and 0, against V_{t+1}(s) - V_t(s): in each state, hence for each start."""
    m, T, k = world["model"], world["T"], (1 - world["model"].gamma) / world["eta"]
    pi = _policies(world, subject, rng)
    V, Q = discounted_values(m.P, m.r, m.gamma, pi)
    x = (Q - V[..., None])[:-1] / k
    top = x.max(-1)
    least = k * (top + np.log((pi[:-1] * np.exp(x - top[..., None])).sum(-1)))
    # errors e of the advantage cost V_{t+1} - V_t and log Z each at most 4 e/(1-gamma); log, exp and a sum of A terms
    slack = 8 * advantage_error(m.S, m.A, m.gamma, T) / (1 - m.gamma) + k * higham(4 * m.A + 64)
    steps, floor = np.diff(V, axis=0).ravel(), least.ravel()
    rows = [{"measured": float(a), "bound": float(b), "slack": slack}
            for a, b in [*zip(floor, steps), *zip(-floor, 0 * steps)]]
    return worst(rows)


@marked
def crowd(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C5: twice the bound, which NPG obeys, against the gap of the subject; NPG ends within 1e-12."""
    T, gamma, eta = 50, 0.5, 1.0
    m, ends = arms(world["A"], gamma), []
    for f in (npg.run, subject):
        pi = f(Exact(m), Params(eta, T), rng).output
        ends.append(float(pi[0, 1:].sum()) / (1 - gamma))       # V* - V: what the other arms lose
    # a sum of A terms, and tables off by at most e a step
    slack = higham(16 * m.A) + 2 * T * advantage_error(m.S, m.A, m.gamma, T)
    return worst([{"measured": ends[0], "bound": 1e-12, "slack": 0.0},
                   {"measured": 2 * npg.bound(m.A, gamma, eta, T), "bound": ends[1], "slack": slack}])


@marked
def leader(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C6: pi_t(a) against exp(-eta/(1-gamma) D), D what a falls short of the leader's sum of Q over s < t."""
    m, T = world["model"], world["T"]
    pi = _policies(world, subject, rng)
    total = np.cumsum(discounted_values(m.P, m.r, m.gamma, pi[:-1])[1], 0)
    off = 2 * T * advantage_error(m.S, m.A, m.gamma, T)                             # rounding, on either side
    short = total.max(-1, keepdims=True) - total - 2 * off
    over = pi[1:] - np.exp(-world["eta"] / (1 - m.gamma) * np.maximum(short, 0.0))
    return {"measured": float(over.max()), "bound": 0.0, "slack": higham(4 * m.A + 64)}


def _policies(world: dict, subject: Callable, rng: np.random.Generator) -> np.ndarray:
    """pi_0..pi_T of a run, (T+1, S, A)."""
    params = Params(world["eta"], world["T"], world["start"])
    result = subject(Exact(world["model"]), params, rng)
    return np.concatenate([result.trace.policies[result.trace.index], result.output[None]])


# -------------------------------------------------------------------------------------------- checks

def _check(name: str, kind: str, statement: str, source: str, status: str, entry: str, worlds: Any, measure: Callable,
           judge: Sure, finding: str = "", **twins: str) -> Check:
    """A check whose saboteurs are twins by name, each with what is wrong with it."""
    claim = Claim("npg", name, kind, statement, source, status, finding)
    return Check(claim, entry, worlds, measure, judge, tuple(
        Saboteur(twin.replace("_", " "), why, subject=f"{TWINS}:{twin}") for twin, why in twins.items()))


_CROWD = _check(
    "C5", "separation", "One state, A actions, one of which pays, gamma = 0.5, eta = 1, T = 50, A = 100 and 1000: "
    "NPG ends within 1e-12 of the optimum, plain gradient ascent further than twice the bound of C3.",
    "this instance", "checked", "run_gradient", ARMS, crowd, Sure("SEARCHED"),
    natural="NPG itself: nothing lags behind")

CHECKS = (
    _check("C1", "identity", "F^+ grad V(rho) = A^pi/(1-gamma) + c(s), where d(s) pi(a|s) > 0 everywhere.", "Lemma 15",
           "checked", "direction", interior, form, Sure("EXACT", 60),
           unscaled_direction="A in place of A/(1-gamma)", plain_direction="no F^+",
           even_fisher="F weighs states evenly"),
    _check("C2", "identity", "pi_T(a|s) is proportional to pi_0(a|s) exp(eta/(1-gamma) sum_{t<T} Q^{pi_t}(s, a)): "
           "mirror ascent with KL.", "Lemma 15", "checked", "run", small_runs, closed_form, Sure("SEARCHED", 120),
           forgetful="the last Q alone", unscaled="A in place of A/(1-gamma)", fading="forgets by halves"),
    _check("C3", "bound", "From uniform pi_0, V*(rho) - V^{pi_T}(rho) <= log A/(eta T) + 1/((1-gamma)^2 T) for all "
           "eta > 0, T >= 1 and rho; at eta = (1-gamma)^2 log A this is 2/((1-gamma)^2 T).", "Theorem 16", "checked",
           "run", uniform_starts, rate, Sure("SEARCHED", 200),
           plain="plain gradient ascent at the same step", unscaled="A in place of A/(1-gamma)",
           biased="an assumption broken: pi_0 is far from uniform"),
    _check("C3-start", "bound", "From any pi_0 of full support, V*(rho) - V^{pi_T}(rho) <= "
           "E_{s ~ d*}[KL(pi*(.|s), pi_0(.|s))]/(eta T) + 1/((1-gamma)^2 T).", "proof of Theorem 16", "checked",
           "run", any_starts, rate_from, Sure("SEARCHED", 200),
           plain="plain gradient ascent at the same step", unscaled="A in place of A/(1-gamma)"),
    _check("C4", "monotone", "V^{pi_{t+1}}(s) - V^{pi_t}(s) >= (1-gamma)/eta log Z_t(s) >= 0 in every state.",
           "improvement lemma of Theorem 16", "checked", "run", small_runs, climbing, Sure("SEARCHED", 120),
           downhill="the wrong sign", stale="the advantage of the policy before"),
    Check(_CROWD.claim, _CROWD.entry, _CROWD.worlds, _CROWD.measure, _CROWD.judge, (
        *_CROWD.saboteurs, Saboteur("two actions", "an assumption broken: there is no crowd", world={"A": 2}))),
    _check("C6", "identity", "As eta grows pi_1 is greedy in Q^{pi_0}, Howard's step, but pi_t follows the leader: "
           "it is on argmax_a sum_{s<t} Q^{pi_s}(s, a), every other action having weight at most "
           "exp(-eta D/(1-gamma)), D its shortfall. It is "
           "not greedy in Q^{pi_{t-1}}: policy iteration breaks this claim.", "Lemma 15, this limit",
           "derived", "run", leaps, leader, Sure("SEARCHED", 150),
           howard="policy iteration", fading="forgets by halves"),
)
