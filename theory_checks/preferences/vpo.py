"""VPO held to its claims: its sign, its calibration, its kinship with RPO, and what optimism and pessimism buy."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import strategies as st

from algorithms.preferences import rpo, vpo
from algorithms.preferences.vpo import Params
from mdpkit import losses
from mdpkit.access import Comparisons
from mdpkit.measure.divergences import kl
from mdpkit.models.preferences import PreferenceModel
from mdpkit.octets import law, octets
from mdpkit.records import Pairs
from mdpkit.solve.rounding import higham
from theory_checks.engine.claims import Check, Claim, Saboteur
from theory_checks.engine.judges import Expectation, HighProbability, Rate, Separation, Sure
from theory_checks.engine.rows import worst

TWINS = "theory_checks.preferences._vpo_twins"
BETAS = (1.0, 0.5, 0.125)
WEIGHTS = (1 / 64, 0.125, 1.0, 4.0)
ROUNDS = (400, 1600, 6400, 25_600)
SIZES = tuple(100 * 4**i for i in range(7))
ARMS = np.array([[0.0, 0.5, 0.3, 0.1, -0.1, -0.3]])
LOGGED = np.array([[0.0, 0.8, -0.5, -0.5, -0.5, -0.5]])
ONLINE, OFFLINE = (PreferenceModel.bradley_terry(r, [1.0], np.full((1, 6), 1 / 6), 1.0) for r in (ARMS, LOGGED))


def faster(T: np.ndarray) -> np.ndarray:
    """The rate next to sqrt(T) on the ladder."""
    return T ** (2 / 3)


# ------------------------------------------------------------------------------------------ worlds

@st.composite
def versus(draw: st.DrawFn) -> dict[str, Any]:
    """Counts of up to four responses against the first, weights of the value, a grid."""
    Y = draw(st.integers(2, 5))
    return {"counts": 1.0 * (octets(draw, Y, 2) % draw(st.sampled_from([2, 8, 64]))),
            "pi_ref": law(draw, 1, Y, least=1),
            "weights": sorted({0.0, *draw(st.lists(st.sampled_from(WEIGHTS), min_size=1, max_size=3))}),
            "points": draw(st.sampled_from([5, 41, 161])), "beta": draw(st.sampled_from([2.0**-5, 2.0**-8]))}


@st.composite
def logs(draw: st.DrawFn) -> dict[str, Any]:
    """Counts in which neighbours have beaten one another both ways; policies, rewards, features; up to two prompts."""
    X, Y, d = draw(st.integers(1, 2)), draw(st.integers(2, 3)), draw(st.integers(1, 3))
    near = np.eye(Y, k=1) + np.eye(Y, k=-1)
    return {"wins": octets(draw, X, Y, Y) % 4 * (1 - np.eye(Y)) + near, "pi_ref": law(draw, X, Y, least=1),
            "cal": law(draw, X, Y, least=1), "rho": law(draw, X, least=1), "r": octets(draw, X, Y) % 33 / 8,
            "phi": (octets(draw, X, Y, d) % 5 - 2) / 2, "beta": draw(st.sampled_from(BETAS)), "shift": 0.0,
            "alpha": draw(st.sampled_from(WEIGHTS)), "C": draw(st.sampled_from([0.5, 2.0]))}


# ---------------------------------------------------------------------------------------- measures

def given(world: dict) -> tuple[Comparisons, Pairs]:
    """Access to a world, and its comparisons with mass 1 in all, which makes sums of losses means."""
    x, win, lose = np.nonzero(world["wins"])
    mass = world["wins"][x, win, lose] / world["wins"].sum()
    model = PreferenceModel.bradley_terry(np.zeros(world["pi_ref"].shape), world["rho"], world["pi_ref"], world["beta"])
    return Comparisons(model, np.random.default_rng(0), bounds={"phi": world["phi"]}), Pairs(x, win, lose, mass)


def signs_on_the_grid(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C1: value and loss of the exact minimisers as the weight of the value grows from -max to max."""
    g, up = np.linspace(-2.0, 2.0, world["points"]), world["weights"]
    weights = [*(-w for w in reversed(up[1:])), *up]
    return _ordered(weights, [subject(world["counts"], g, w)[:2] for w in weights],
                    [higham(64) * (3 * float(world["counts"].sum()) + 2 * up[-1])] * len(weights))


def signs(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C1-box: the same at beta > 0, by descent in a box."""
    access, data = given(world)
    fit = vpo.given(access, Params(0.0, C=world["C"], cal=world["cal"]), rng, data)
    weights, found, off = [w * world["alpha"] for w in (-1.0, -0.25, 0.0, 0.25, 1.0)], [], []
    for w in weights:
        r, _, gap = subject(fit, w)
        found.append((vpo.value(r, fit) - _shift(r, fit), losses.pairwise(fit.W, r)[0]))
        off.append(max(gap, 0.0) * (w <= 0) + higham(256) * _size(fit, w))
    return _ordered(weights, found, off)


def _ordered(weights: list, found: list, off: list) -> dict:
    """Minimisers of l - w J to within ``off``: (w' - w)(J' - J) >= -off - off' for any two, and l is least at w = 0."""
    both = list(zip(weights, found, off))
    rows = [{"measured": a[0] - b[0], "bound": 0.0, "slack": (e + f) / (w - v)}
            for (v, a, e), (w, b, f) in itertools.pairwise(both)]
    likeliest, least = next((a[1], e) for w, a, e in both if w == 0)
    return worst([*rows, *({"measured": likeliest - a[1], "bound": 0.0, "slack": e + least} for _, a, e in both)])


def calibrated(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C2: J*(r) against -beta E_cal log(pi_r/pi_ref), for r less its mean under pi_cal."""
    access, data = given(world)
    fit = vpo.given(access, Params(0.0, cal=world["cal"]), rng, data)
    r = world["r"] - (fit.cal * world["r"]).sum(1, keepdims=True) + world["shift"]
    log_pi = losses.gibbs(fit.log_ref, r, fit.beta)
    other = -fit.beta * float((fit.rho * (fit.cal * (log_pi - fit.log_ref)).sum(1)).sum())
    return {"measured": abs(subject(r, fit) - other), "bound": 0.0, "slack": higham(128) * _size(fit, 1.0)}


def policy_form(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C2-policy: line 4 at pi_r against line 1 or 3 at r, for both signs and any r."""
    access, data = given(world)
    fit, r = vpo.given(access, Params(0.0, cal=world["cal"]), rng, data), world["r"]
    log_pi = losses.gibbs(fit.log_ref, r, fit.beta)
    return worst({"measured": abs(subject(fit, log_pi, w) - _loss(fit, r, w)), "bound": 0.0,
                  "slack": higham(128) * _size(fit, w)} for w in (world["alpha"], -world["alpha"]))


def same_as_rpo(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C3, on the table."""
    return _as_rpo(world, subject, rng, rpo.run, False)


def same_as_linear_rpo(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C3-linear, in the log-linear class."""
    return _as_rpo(world, subject, rng, rpo.run_linear, True)


def _as_rpo(world: dict, subject: Callable, rng: np.random.Generator, other: Callable, linear: bool) -> dict:
    """sum (g - g')(r - r') of both optima, g the slopes: at least alpha beta (KL(pi || pi') + KL(pi' || pi)), as the
    convex objective is l + alpha V, and 0 where both slopes are, in theta."""
    access, data = given(world)
    cal, alpha = world["cal"], world["alpha"]
    pis = (subject(access, data, Params(alpha, C=math.inf, cal=cal, linear=linear), rng).output,
           other(access, data, rpo.Params(alpha, cal), rng).output)
    fit, rs, gs, big = vpo.given(access, Params(alpha, cal=cal), rng, data), [], [], 0.0
    for pi in pis:
        rs.append(losses.implicit_reward(np.log(pi), fit.log_ref, fit.beta))
        gs.append(losses.pairwise(fit.W, rs[-1])[1] + alpha * fit.rho[:, None] * (pi - fit.cal))
        big = max(big, float(np.abs(np.log(pi)).max()))
    # slopes in theta are below a tolerance; theta is below r over the least singular value, of halves: over 2^-10
    left = 2 * vpo.TOLERANCE + higham(128) * (1 + alpha) * (1 + big)
    return {"measured": float(((gs[0] - gs[1]) * (rs[0] - rs[1])).sum()), "bound": 0.0,
            "slack": left * float(np.abs(rs[0] - rs[1]).sum()) * (2.0**10 if linear else 1.0) + left * higham(2**20)}


def regret(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C4: regret at ROUNDS, each a run of its own, alpha = c sqrt(T)."""
    total = [_regret(subject, Params(world["c"] * math.sqrt(T), T), rng) for T in ROUNDS]
    return {"measured": np.array(total)}


def often(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C4-often: regret at T against T/10."""
    return {"measured": _regret(subject, Params(world["c"] * math.sqrt(world["T"]), world["T"]), rng),
            "bound": 0.1 * world["T"]}


def stays(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C4-greedy: how far regret is from T/2; both are halves of integers."""
    return {"measured": abs(_regret(subject, Params(0.0, world["T"]), rng) - world["T"] / 2), "bound": 0}


def curve(subject: Callable, params: Params, rng: np.random.Generator) -> np.ndarray:
    """The regret of a run on ARMS after each round, (T,)."""
    trace: Any = subject(Comparisons(ONLINE, rng), params, rng).trace
    return np.cumsum(0.5 - ARMS[0][trace.policies][trace.index])


def _regret(subject: Callable, params: Params, rng: np.random.Generator) -> float:
    return float(curve(subject, params, rng)[-1])


def limit(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C4-limit: the least value found at small beta against the grid's, both signs; r(0) = 0 has no feature."""
    counts, Y, beta = world["counts"], len(world["counts"]), world["beta"]
    g, h = np.linspace(-2.0, 2.0, 4097), 4 / 4096
    W = np.zeros((1, Y, Y))
    W[0, 1:, 0], W[0, 0, 1:] = counts[1:].T
    fit = vpo.Fit(W, np.eye(Y)[None, :, 1:], np.log(world["pi_ref"]), np.ones(1), np.eye(Y)[:1], beta, 2.0)
    soft, rows = beta * float(-fit.log_ref.min()), []
    for w in (world["weights"][-1], -world["weights"][-1]):
        _, found, gap = subject(fit, w)
        J, loss, _ = vpo.fit_grid(counts, g, w)
        # J* is the largest reward less at most soft; n'' is at most n/4, twice met at h/2 from the foot of a parabola
        over = float(counts[1:].sum()) / 16 * h * h
        pad = higham(256) * _size(fit, w) + (max(gap, 0.0) if w < 0 else 0.0)
        low, high = (0.0, w * soft) if w > 0 else (w * soft, 0.0)
        rows += [{"measured": found - (loss - w * J) - high, "bound": 0.0, "slack": pad},
                 {"measured": loss - w * J - found + low, "bound": 0.0, "slack": pad + over}]
    return worst(rows)


def gradient_regret(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C4-gradient: the mean regret, in J, of the subject and of alpha = 0."""
    model = PreferenceModel.bradley_terry([[0.0, 0.5, 0.2]], [1.0], np.full((1, 3), 1 / 3), 0.05)
    best, T = np.exp(losses.gibbs(np.log(model.pi_ref), model.reward, model.beta)), world["T"]
    out = []
    for run, c in ((subject, world["c"]), (vpo.run_gradient, 0.0)):
        params = Params(c * math.sqrt(T), T, both=world["both"])
        trace: Any = run(Comparisons(model, rng), params, rng).trace
        out.append(float((model.beta * kl(trace.policies[:, 0], best[0]))[trace.index].mean()))
    return {"vpo": {"measured": out[0], "bound": 0.2}, "greedy": {"measured": out[1], "bound": 0.2}}


def logged_gap(N: int, run: Callable, rng: np.random.Generator) -> float:
    """.8 - E_pi r* after N comparisons of the second response with the first, and two of each other."""
    seen = np.array([N, 2, 2, 2, 2])
    won, k, zero = rng.binomial(seen, OFFLINE.p[0, 1:, 0]), np.arange(1, 6), np.zeros(5, int)
    data = Pairs(np.zeros(10, int), np.append(k, zero), np.append(zero, k), 1.0 * np.append(won, seen - won))
    return 0.8 - float((run(Comparisons(OFFLINE, rng), data, Params(0.5 * math.sqrt(N)), rng).output * LOGGED).sum())


def offline(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C5: the gaps of pessimism, of the likeliest reward and of optimism at one N."""
    from theory_checks.preferences._vpo_twins import likeliest, optimist

    pessimism, most, plus = (logged_gap(world["N"], run, rng) for run in (subject, likeliest, optimist))
    return {"pessimism": {"measured": pessimism, "bound": 0.05}, "likeliest": {"measured": most, "bound": 0.3},
            "optimist": {"measured": plus, "bound": 0.9}}


def falling(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C5-rate: N times the gap."""
    return {"measured": np.array([N * logged_gap(N, subject, rng) for N in SIZES])}


def _shift(r: np.ndarray, fit: vpo.Fit) -> float:
    return float((fit.rho * (fit.cal * r).sum(1)).sum())


def _loss(fit: vpo.Fit, r: np.ndarray, weight: float) -> float:
    """l - weight (J* - E_cal r)."""
    return losses.pairwise(fit.W, r)[0] - weight * (vpo.value(r, fit) - _shift(r, fit))


def _size(fit: vpo.Fit, weight: float) -> float:
    """Of terms of an objective: rewards up to 4, margins up to 8, beta log pi_ref."""
    top = 9.0 + fit.beta * float(np.abs(fit.log_ref).max())
    return (float(fit.W.sum()) + abs(weight)) * top


# -------------------------------------------------------------------------------------------- checks

def _check(name: str, kind: str, statement: str, source: str, status: str, entry: str, worlds: Any, measure: Callable,
           judge: Any, *broken: Saboteur, finding: str = "", **twins: str) -> Check:
    """A check whose saboteurs are worlds, and twins by name, each with what is wrong with it."""
    claim = Claim("vpo", name, kind, statement, source, status, finding)
    return Check(claim, entry, worlds, measure, judge, (*broken, *(
        Saboteur(twin.replace("_", " "), why, subject=f"{TWINS}:{twin}") for twin, why in twins.items())))


_SHIFTED = Saboteur("uncalibrated", "an assumption broken: E_cal r = 1", world={"shift": 1.0})
_SIGNS = ("J* - E_cal r of the exact minimiser grows with the weight of the value: offline <= likeliest <= online, "
          "falling in alpha offline and rising online; its loss is least at alpha = 0")
_ONLINE = ("beta -> 0, r = (0, .5, .3, .1, -.1, -.3), C = 2, 161 points: at alpha = ")
_OFFLINE = ("beta -> 0, r = (0, .8, -.5, -.5, -.5, -.5), N comparisons of the second response, two of each other: at "
            "alpha = .5 sqrt(N) ")
CHECKS = (
    _check("C1", "monotone", _SIGNS + ": beta -> 0, on the grid.", "Section 3", "checked", "fit_grid", versus,
           signs_on_the_grid, Sure("SEARCHED", 150), swapped_grid="the signs change places",
           biased_grid="the score of a response leaves out the loss that it had anyway"),
    _check("C1-box", "monotone", _SIGNS + ": beta > 0, in a box.", "Section 3", "checked", "solve", logs, signs,
           Sure("SEARCHED", 60), swapped="the signs change places"),
    _check("C2", "identity", "If E_cal r = 0 at every prompt, J*(r) = -beta E_cal log(pi_r/pi_ref).", "Section 3",
           "checked", "value", logs, calibrated, Sure("SEARCHED", 80), _SHIFTED, hard="the largest reward for J*"),
    _check("C2-policy", "identity", "For every r, l(r) -+ alpha (J*(r) - E_cal r) = l(beta log(pi_r/pi_ref)) +- alpha "
           "beta E_cal log(pi_r/pi_ref): the policy form has the same optima.", "Section 3", "derived", "policy_loss",
           logs, policy_form, Sure("SEARCHED", 80), unscaled_loss="alpha, not alpha beta",
           on_policy="E under pi, not pi_cal"),
    _check("C3", "identity", "Offline, without a box, with losses averaged, alpha = eta, pi_cal = pi_base: the policy "
           "is RPO's.", "both objectives", "checked", "run_offline", logs, same_as_rpo, Sure("SEARCHED", 40),
           elsewhere="pi_cal = pi_ref", counted="alpha/7, as if losses were summed"),
    _check("C3-linear", "identity", "So it is in the log-linear class.", "both objectives", "derived", "run_offline",
           logs, same_as_linear_rpo, Sure("SEARCHED", 40), elsewhere="pi_cal = pi_ref", tabular="all policies"),
    _check("C4", "rate", _ONLINE + ".3 sqrt(T) regret is O(sqrt T), T = 400, 1600, 6400, 25600.", "Theorem 1, this "
           "instance", "checked", "run", ({"c": 0.3},), regret, Rate(ROUNDS, np.sqrt, faster, n=128),
           greedy="alpha = 0"),
    _check("C4-often", "high-probability", _ONLINE + ".3 sqrt(T) regret is below T/10 at T = 6400 with probability "
           ".95.", "Theorem 1, this instance", "checked", "run", ({"c": 0.3, "T": 6400},), often, HighProbability(0.05),
           finding="Not in every run: of 256 two had more than T/10, one 1411.6.", greedy="alpha = 0",
           timid="a thousandth of alpha"),
    _check("C4-greedy", "separation", _ONLINE + "0 it plays response 0 for ever, and regret is exactly T/2.",
           "Section 3, this instance", "checked", "run", ({"T": 1}, {"T": 1600}), stays, Sure("EXACT"),
           eager="alpha = .3 sqrt(T)"),
    _check("C4-limit", "bound", "On comparisons with response 0, r(0) = 0, the least l - w (J* - E_cal r) at beta > 0 "
           "is that at beta -> 0 plus at most |w| beta log(1/min pi_ref) (w > 0; minus, w < 0): the descents find it.",
           "definition of J*", "derived", "solve", versus, limit, Sure("SEARCHED", 80),
           one_start="a single descent, from 0", swapped="the signs change places"),
    _check("C4-gradient", "separation", "r = (0, .5, .2), beta = .05, T = 64: by descent at alpha = .3 sqrt(T) the "
           "mean regret a round is below .2, at alpha = 0 above; y2 from pi_cal, and from pi_t.", "Theorem 1, this "
           "instance", "derived", "run_gradient",
           tuple({"T": 64, "c": 0.3, "both": b} for b in (False, True)), gradient_regret,
           Separation((("vpo", Expectation(-1e-9, 0.75)), ("greedy", Expectation(-1e-9, 0.75, above=True)))),
           likeliest_online="alpha = 0"),
    _check("C5", "separation", _OFFLINE + "at N = 6400 its mean gap is below .05, that of the likeliest reward above "
           ".3, that of optimism above .9.", "Theorem 2, this instance", "checked", "run_offline_grid", ({"N": 6400},),
           offline, Separation((("pessimism", Expectation(-1e-9, 1.4)),
                                ("likeliest", Expectation(-1e-9, 1.4, above=True)),
                                ("optimist", Expectation(-1e-9, 1.4, above=True)))),
           likeliest="alpha = 0", optimist="the sign of line 1"),
    _check("C5-rate", "rate", _OFFLINE + "the mean gap is O(N^-1/2), N = 100 to 409600.", "Theorem 2, this instance",
           "checked", "run_offline_grid", ({},), falling, Rate(SIZES, np.sqrt, faster, n=128),
           finding="With the level on a grid of 161 points the gap rises again, to .5 at N = 409600: off by a step, "
                   "the pull of a response compared N times errs by more than alpha. The level is found by bisection.",
           likeliest="alpha = 0", optimist="the sign of line 1"),
)
