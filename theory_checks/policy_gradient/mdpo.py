"""MDPO held to its claims: its form in rationals, its rates at every step of searched worlds, errors and samples.

A measure sees every policy of a run, pi_0..pi_T, and evaluates them itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from hypothesis import strategies as st

from algorithms.policy_gradient import mdpo, npg
from algorithms.policy_gradient.mdpo import Params
from mdpkit import rational
from mdpkit.access import Exact, Generative
from mdpkit.instances.garnet import random_mdp
from mdpkit.losses import log_softmax
from mdpkit.measure.plain import discounted_values
from mdpkit.measure.values import optimal_action_value
from mdpkit.models.tabular import TabularMDP
from mdpkit.octets import law, octets, small_mdp
from mdpkit.rational import exact, fraction
from mdpkit.solve.rounding import advantage_error, higham
from theory_checks.engine.claims import Check, Claim, Saboteur, marked
from theory_checks.engine.judges import HighProbability, Sure
from theory_checks.engine.rows import worst
from theory_checks.games.nash_md import worst_of

TWINS = "theory_checks.policy_gradient._mdpo_twins"
TS = (0.1, 0.5, 1.0, 10.0, 100.0)
TAUS = (0.03, 0.1, 0.3, 1.0)
GAMMAS = (0.5, 0.8, 0.9)
WEIGHTS = (1, 1, 4, 16)                  # of starts
PI, A = np.array([0.5, 0.3, 0.2]), np.array([0.4, -0.1, -0.85]) - 0.0      # C7's policy; its values
DIRECTIONS = ({"t": 0.025, "l1": 6.095450e-5}, {"t": 0.05, "l1": 2.400688e-4}, {"t": 0.1, "l1": 9.296630e-4})


# ------------------------------------------------------------------------------------------ worlds

@st.composite
def runs(draw: st.DrawFn, steps: tuple[int, ...]) -> dict[str, Any]:
    """A small MDP that may start in each state, a start, a step and a number of updates; ``of``: see the measures."""
    m = small_mdp(draw, 4, least=1, gammas=GAMMAS)
    start = law(draw, m.S, m.A, weights=WEIGHTS) if draw(st.booleans()) else np.full(m.r.shape, 1 / m.A)
    return {"model": m, "start": start, "t": draw(st.sampled_from(TS)), "T": draw(st.sampled_from(steps)), "of": 1.0}


short, whole, interior = partial(runs, (2, 6)), partial(runs, (2, 12, 40)), partial(runs, (1,))


@st.composite
def warm(draw: st.DrawFn) -> dict[str, Any]:
    """The same with a temperature."""
    return {**draw(runs((2, 12, 40))), "tau": draw(st.sampled_from(TAUS))}


@st.composite
def wrong(draw: st.DrawFn) -> dict[str, Any]:
    """The same with errors: of any signs, or against the optimal actions."""
    world = draw(runs((12, 40)))
    m = world["model"]
    signs = 1.0 - 2.0 * (octets(draw, m.S, m.A) % 2)
    if draw(st.booleans()):
        signs[np.arange(m.S), optimal_action_value(m).argmax(-1)] = -1.0
    return {**world, "signs": signs, "eps": draw(st.sampled_from([0.01, 0.1, 0.5]))}


def misled() -> dict[str, Any]:
    """One state, two actions: errors of more than half their distance would favour the worse one for ever."""
    return {"model": TabularMDP(np.ones((1, 2, 1)), np.eye(2)[:1], 0.9, np.ones(1)), "start": np.full((1, 2), 0.5),
            "t": 10.0, "T": 40, "of": 1.0, "signs": np.array([[-1.0, 1.0]]), "eps": 0.01}


mistaken = lambda: wrong() | wrong() | st.just(misled())


# ---------------------------------------------------------------------------------------- measures

def _rational(world: dict) -> tuple:
    """P, r, gamma, rho and the policy as rationals; laws sum to one in rationals too."""
    m, pi = world["model"], exact(world["start"])
    return exact(m.P), exact(m.r), rational.rational(m.gamma), exact(m.rho), pi / pi.sum(-1)[:, None]


def natural(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C1: t Q - t (1-gamma) F^+ grad V(rho), what is left after its mean over the actions of each state is off."""
    P, r, gamma, rho, pi = _rational(world)
    t = rational.rational(world["t"])
    left = subject(P, r, gamma, pi, t) - t * (1 - gamma) * npg.direction(P, r, gamma, rho, pi)
    return {"measured": fraction(np.abs(left - left.sum(-1)[:, None] / world["model"].A).max()), "bound": 0}


def first_step(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C1-deep: the gradient of line 7's objective at pi_k against (1-gamma) grad V(rho)."""
    P, r, gamma, rho, pi = _rational(world)
    Q = mdpo.exponent(P, r, gamma, pi, 1)
    left = subject(P, gamma, rho, pi, Q, pi, 0 * Q) - (1 - gamma) * npg.gradient(P, r, gamma, rho, pi)
    return {"measured": fraction(np.abs(left).max()), "bound": 0}


def policies(world: dict, subject: Callable, rng: np.random.Generator, **more: Any) -> tuple[np.ndarray, Any]:
    """pi_0..pi_T, (T+1, S, A), and what was traced."""
    result = subject(Exact(world["model"]), Params(**{"T": world["T"], "t": world["t"], "start": world["start"]}
                                                   | more), rng)
    return np.concatenate([result.trace.policies[result.trace.index], result.output[None]]), result.trace.info


def slack(m: TabularMDP, T: int) -> float:
    """T updates with advantages off by e each move a value, or a mean of values, by 8 e (T+1)/(1-gamma)^2 at most."""
    return 8 * (T + 1) * advantage_error(m.S, m.A, m.gamma, T) / (1 - m.gamma) ** 2


def gaps(m: TabularMDP, pi: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """V* - V, (n, S), and the V."""
    V = discounted_values(m.P, m.r, m.gamma, pi)[0]
    return optimal_action_value(m).max(-1) - V, V


def distance(m: TabularMDP, start: np.ndarray) -> tuple[float, np.ndarray]:
    """D_0 of an optimal policy, and its occupancy of states (S,)."""
    best = optimal_action_value(m).argmax(-1)
    d = npg.occupancy(m.P, m.gamma, m.rho, np.eye(m.A)[best]).sum(-1)
    return -float((d * np.log(start[np.arange(m.S), best])).sum()), d


@marked
def climbing(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C2: (KL(s; pi_{k+1}, pi_k) + KL(s; pi_k, pi_{k+1}))/t against V_{k+1}(s) - V_k(s)."""
    m, T, t = world["model"], world["T"], world["t"]
    pi, info = policies(world, subject, rng)
    V, logs = discounted_values(m.P, m.r, m.gamma, pi)[0], info["log_pi"]
    both = (np.diff(pi[:T], axis=0) * np.diff(logs, axis=0)).sum(-1) / t
    log_error = higham(4 * m.A + 64) * (2 + float(np.abs(logs).max())) / t
    return worst_of(both.ravel(), np.diff(V[:T], axis=0).ravel(), slack(m, T) + log_error)


@marked
def fixed(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C3: V*(rho) - V_k(rho) against the bound for k = 0..T; ``of``: the bound is that of so much gamma."""
    m, T = world["model"], world["T"]
    pi, _ = policies(world, subject, rng)
    bound = mdpo.fixed_bound(world["of"] * m.gamma, world["t"], distance(m, world["start"])[0], np.arange(T + 1))
    return worst_of(gaps(m, pi)[0] @ m.rho, bound, slack(m, T))


@marked
def growing(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C4: V*(rho) - V_k(rho) against the bound for k = 0..T, with steps that grow from t_0 = t."""
    m, T = world["model"], world["T"]
    D_0, d = distance(m, world["start"])
    theta = float((d / m.rho).max()) / (1 - m.gamma)
    pi, _ = policies(world, subject, rng, t=mdpo.theory(T, theta, world["t"]).t)
    far = gaps(m, pi)[0] @ m.rho
    bound = mdpo.growing_bound(m.gamma, world["t"], theta, far[0], D_0, np.arange(T + 1))
    return worst_of(far, bound, slack(m, T + math.ceil(theta)))      # logs are as large as theta steps, not T


@marked
def one_step(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C5: |V* - V_{k+1}| against gamma |V* - V_k| + max_s KL(s; greedy(Q_k), pi_k)/t."""
    m, T = world["model"], world["T"]
    pi, info = policies(world, subject, rng)
    far, Q = np.abs(gaps(m, pi)[0]).max(-1), discounted_values(m.P, m.r, m.gamma, pi[:T])[1]
    kl = -np.take_along_axis(info["log_pi"], Q.argmax(-1)[..., None], -1).min((1, 2))
    forgiven = slack(m, T) + higham(4 * m.A + 64) * (2 + float(np.abs(info["log_pi"]).max())) / world["t"]
    return worst_of(far[1:], m.gamma * far[:-1] + kl / world["t"], forgiven)


@marked
def adaptive(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C5-run: |V* - V_k| against gamma^k (|V* - V_0| + gamma/(1-gamma)), with the steps of line 6."""
    m, T = world["model"], world["T"]
    far = np.abs(gaps(m, policies(world, subject, rng, t=None)[0])[0]).max(-1)
    return worst_of(far, m.gamma ** np.arange(T + 1) * (far[0] + m.gamma / (1 - m.gamma)), slack(m, T))


@marked
def soft(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C6: |Q*_tau - Q_{tau,k+1}| against the bound; ``of``: kappa is that share of itself, and gamma of the rest."""
    m, T, t, tau = world["model"], world["T"], world["t"], world["tau"]
    logs = policies(world, subject, rng, tau=tau)[1]["log_pi"]
    star, error = optimum(m, tau)
    Q = m.r + m.gamma * np.einsum("saz,kz->ksa", m.P, discounted_values(m.P, m.r - tau * logs, m.gamma,
                                                                       np.exp(logs))[0])
    off = np.abs(Q - star).max((1, 2))
    bound = mdpo.soft_bound(m.gamma, t, tau, off[0], float(np.abs(log_softmax(star / tau) - logs[0]).max()),
                            np.arange(T - 1))
    if world["of"] != 1.0:                               # kappa = gamma
        bound = bound[0] * m.gamma ** np.arange(T - 1)
    # entropies and their logs are as large as tau A, or tau log pi_0; what an update rounds, later ones shrink
    size = 1 + tau * (m.A + float(np.abs(logs[0]).max()))
    return worst_of(off[1:], bound, 2 * error + slack(m, T) * size)


def optimum(m: TabularMDP, tau: float) -> tuple[np.ndarray, float]:
    """Q*_tau by soft policy iteration, and a bound on its error: its residual over 1 - gamma."""
    Q = m.r
    for _ in range(40):
        before, Q = Q, mdpo.soft_values(m.P, m.r, m.gamma, log_softmax(Q / tau), tau)
        if not (before < Q).any():                       # it rises, up to rounding
            break
    V = tau * np.log(np.exp((Q - Q.max(-1, keepdims=True)) / tau).sum(-1)) + Q.max(-1)
    return Q, float(np.abs(m.r + m.gamma * np.einsum("saz,z->sa", m.P, V) - Q).max()) / (1 - m.gamma)


def directions(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C7: the l1 distance of the two updates against its known value, and what doubling t does to it."""
    values = A - (PI * A).sum()
    one, half = (float(np.abs(subject(PI, values, t) - np.exp(log_softmax(np.log(PI) + t * values))).sum())
                 for t in (world["t"], world["t"] / 2))
    return worst([{"measured": abs(one / world["l1"] - 1), "bound": 1e-6},
                  {"measured": abs(one / max(half, 1e-300) - 4), "bound": 2 * world["t"]}])


@marked
def inexact(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C8: the mean of V*(rho) - V_k(rho) over k < K against the bound for K = 1..T; ``of`` the errors' share in it."""
    m, T, eps = world["model"], world["T"], world["eps"]
    pi, _ = policies(world, subject, rng, eps=eps, signs=world["signs"])
    K = np.arange(1, T + 1)
    bound = mdpo.fixed_bound(m.gamma, world["t"], distance(m, world["start"])[0], K - 1)
    return worst_of(np.cumsum(gaps(m, pi[:T])[0] @ m.rho) / K, bound + world["of"] * 2 * eps / (1 - m.gamma) ** 2,
                slack(m, T))


@marked
def sampled(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C8-sampled: the largest error of Q over all updates against Hoeffding's width and what H cuts off."""
    m = random_mdp(3, 2, 0.7, rng)
    S, A, T, n, H, left = m.S, m.A, world["T"], world["n"], world["H"], m.gamma ** world["H"]
    access = Generative(m, np.random.default_rng(rng.integers(0, 2**62)), grant=("gamma",))
    trace = subject(access, Params(T, 1.0, n=n, H=H), rng).trace
    Q = discounted_values(m.P, m.r, m.gamma, trace.policies[trace.index])[1]
    width = math.sqrt(math.log(2 * S * A * T / world["delta"]) / (2 * n)) * (1 - left) + left
    return {"measured": float(np.abs(trace.info["Q"] - Q).max()), "bound": width / (1 - m.gamma)}


# -------------------------------------------------------------------------------------------- checks

def _check(name: str, kind: str, statement: str, source: str, status: str, entry: str, worlds: Any, measure: Callable,
           judge: Any, *broken: Saboteur, finding: str = "", **twins: str) -> Check:
    """A check whose saboteurs are worlds, and twins by name, each with what is wrong with it."""
    claim = Claim("mdpo", name, kind, statement, source, status, finding)
    return Check(claim, entry, worlds, measure, judge, (*broken, *(
        Saboteur(twin.replace("_", " "), why, subject=f"{TWINS}:{twin}") for twin, why in twins.items())))


_TIMID = "a twentieth of the step"

CHECKS = (
    _check("C1", "identity", "t Q^pi = t (1-gamma) F^+ grad V(rho) + c(s), where d(s) pi(a|s) > 0 everywhere: MDPO is "
           "the natural gradient with eta = t (1-gamma).", "closed form of the update", "derived", "exponent", interior,
           natural, Sure("EXACT", 40), plain="no F^+", eta="t in place of t (1-gamma) in eta"),
    _check("C1-deep", "identity", "At pi_k the gradient of the objective of line 7 is (1-gamma) grad V(rho): the first "
           "inner step is that of the policy gradient.", "inner steps", "derived", "gradient", interior, first_step,
           Sure("EXACT", 40), even="states weigh alike", centred_badly="Q less its even mean"),
    _check("C2", "monotone", "V_{k+1}(s) >= V_k(s) + (KL(s; pi_{k+1}, pi_k) + KL(s; pi_k, pi_{k+1}))/t in every state, "
           "for every t.", "monotone improvement", "derived", "run", short, climbing, Sure("SEARCHED", 60),
           stale="Q of two policies before", bold="twice the step"),
    _check("C3", "bound", "At a fixed t > 0, from any pi_0, V*(rho) - V_k(rho) <= (D_0/(t (1-gamma)) + 1/(1-gamma)^2)/"
           "(k+1) for every k.", "Theorem 16 of Agarwal et al. 2021", "derived", "run", whole, fixed,
           Sure("SEARCHED", 60), Saboteur("undiscounted", "gamma = 0 in the bound", world={"of": 0.0}), timid=_TIMID,
           forgetful="each update from pi_0", downhill="the wrong sign"),
    _check("C4", "linear-rate", "With t_{k+1} = t_k theta/(theta-1), theta = max d*/rho/(1-gamma), V*(rho) - V_k(rho) "
           "<= (1 - 1/theta)^k (delta_0 + D_0/((theta-1) t_0 (1-gamma))) for every k.", "form of Xiao 2022", "derived",
           "run", whole, growing, Sure("SEARCHED", 60), hundredth="t = .01 throughout", downhill="the wrong sign"),
    _check("C5", "bound", "|V* - V_{k+1}| <= gamma |V* - V_k| + max_s KL(s; greedy(Q_k), pi_k)/t_k, largest entries, "
           "for every t_k.", "form of Johnson et al. 2023", "derived", "run", short, one_step, Sure("SEARCHED", 60),
           timid=_TIMID, stale="Q of two policies before"),
    _check("C5-run", "linear-rate", "With t_k = max_s KL(s; greedy(Q_k), pi_k)/gamma^(2k+2): |V* - V_k| <= gamma^k "
           "(|V* - V_0| + gamma/(1-gamma)) for every k.", "form of Johnson et al. 2023", "derived", "run", whole,
           adaptive, Sure("SEARCHED", 60), hundredth="t = .01 throughout", downhill="the wrong sign"),
    _check("C6", "linear-rate", "With a temperature and any fixed t, |Q*_tau - Q_{tau,k+1}| <= gamma kappa^k "
           "(|Q*_tau - Q_{tau,0}| + 2 alpha tau |log pi*_tau - log pi_0|), alpha = 1/(1 + t tau), kappa = alpha + "
           "(1 - alpha) gamma.", "form of Cen et al. 2021", "checked", "run_soft", warm, soft, Sure("SEARCHED", 60),
           Saboteur("faster", "kappa = gamma in the bound", world={"of": 0.0}), timid_soft=_TIMID,
           cold="no root of pi_k, as at tau = 0"),
    _check("C7", "separation", "With KL(pi_k, pi) the update is pi_k(a)/(lambda - t A(a)), at l1 distance 9.296630e-4, "
           "2.400688e-4, 6.095450e-5 from MDPO at t = .1, .05, .025: of order t^2, halves of t divide it by 4 -+ 2t.",
           "direction of the KL, this instance", "checked", "reverse", DIRECTIONS, directions, Sure("SEARCHED"),
           forward="KL(pi, pi_k) again", unweighted="pi_k (1 + t A), normalised: its first order"),
    _check("C8", "bound", "With errors of at most eps in each Q the mean of V*(rho) - V_k(rho) over k < K is at most "
           "(D_0/(t (1-gamma)) + 1/(1-gamma)^2)/K + 2 eps/(1-gamma)^2.", "inexact evaluation", "derived",
           "run_inexact", mistaken, inexact, Sure("SEARCHED", 60),
           Saboteur("no errors", "no eps in the bound", world={"of": 0.0}), careless="a hundred times the errors",
           downhill_inexact="the wrong sign"),
    _check("C8-sampled", "high-probability", "With n returns of H steps at each (s, a) all errors of Q over T updates "
           "are at most (sqrt(log(2 S A T/delta)/(2n)) (1 - gamma^H) + gamma^H)/(1-gamma), probability 1 - delta.",
           "Hoeffding's inequality", "derived", "run_sampled", ({"n": 100, "H": 20, "T": 5, "delta": 0.05},), sampled,
           HighProbability(0.05), few="one return", cut_short="returns of one step"),
)
