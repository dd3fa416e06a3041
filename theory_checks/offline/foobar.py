"""FOOBAR held to its claims: bounds for any critics, forward matching, the fading lock and the needle.

Sums run in rationals, square roots of them in balls, linear programmes under the certificate of their duals. The
instances on which a bound is nearly attained lie among the searched worlds.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import strategies as st

from algorithms.offline import foobar
from mdpkit.access import Episodes, Reset
from mdpkit.data import draw_states
from mdpkit.instances.locks import combination_lock
from mdpkit.measure import plain
from mdpkit.models.tabular import EpisodicMDP
from mdpkit.octets import by_weight
from mdpkit.rational import exact, fraction
from mdpkit.records import StateOnlyDataset
from mdpkit.solve.matching import least_distance
from mdpkit.solve.rounding import higham
from theory_checks.engine.claims import Check, Claim, Saboteur, marked
from theory_checks.engine.judges import Expectation, HighProbability, Separation, Sure
from theory_checks.engine.rows import excess, tightness

TWINS = "theory_checks.offline._foobar_twins"
NEEDLES = tuple({"A": A, "H": H, "n": n} for A, H, n in ((2, 6, 1), (2, 6, 4), (3, 4, 5)))
HALVES = StateOnlyDataset(np.array([[0] * 12, [1] * 12]), "good and bad, half each")


# ------------------------------------------------------------------------------------------ worlds

@st.composite
def worlds(draw: st.DrawFn) -> dict[str, Any]:
    """A model, a baseline, errors of the critic, and policies: comparator, the data's own, a noisy roll-in."""
    H, S, A = (draw(st.integers(1, 3)) for _ in range(3))
    numbers = np.frombuffer(draw(st.binary(min_size=282, max_size=282)), np.uint8).astype(np.int64)
    P, r, rho, mu, noise, pi_e, pi_mu, other, m, g = np.split(
        numbers, np.cumsum([81, 27, 3, 9, 27, 27, 27, 27, 27]))
    model = EpisodicMDP(by_weight(P, H, S, A, S), r[: H * S * A].reshape(H, S, A) % 17 / 16, by_weight(rho, S))
    return {"model": model, "mu": by_weight(mu, H, S), "pi_e": by_weight(pi_e, H, S, A),
            "pi_mu": by_weight(pi_mu, H, S, A), "other": by_weight(other, H, S, A),
            "share": draw(st.sampled_from([0.0, 0.125, 1.0])),
            "noise": np.array([0, 0, 0, 1, -1, 2, -2, 8, -8])[noise[: H * S * A].reshape(H, S, A) % 9] / 8,
            "m": by_weight(m, H, S), "g": g[: H * S].reshape(H, S) % 2}


def critics() -> st.SearchStrategy[dict[str, Any]]:
    """With the instances on which the bound is within sqrt 2, or rests on one term alone."""
    return worlds() | st.sampled_from([tied(), misled(2.0**-10), misled(0.0), fork(1.0)])


def tied() -> dict[str, Any]:
    """One state, two actions; errors of 1/2 each way make them tie, and the wrong one is lower."""
    r, one = np.array([[[0.0, 1.0]]]), np.ones((1, 1))
    right = np.array([[[0.0, 1.0]]])
    return {"model": EpisodicMDP(np.ones((1, 1, 2, 1)), r, np.ones(1)), "mu": one, "m": one, "pi_e": right,
            "pi_mu": right, "other": right, "share": 0.0, "noise": np.array([[[0.5, -0.5]]]), "g": one}


def misled(thin: float) -> dict[str, Any]:
    """Action 1 leads to state 2, where action 0 would pay 1; the critic's errors there make action 1 win.

    So step 0 sees no gain in going there, and the policy learned never meets those errors. mu has the weight ``thin``
    on state 2.
    """
    P, r, noise = np.zeros((2, 3, 2, 3)), np.zeros((2, 3, 2)), np.zeros((2, 3, 2))
    P[:, 0, 0, 1] = P[:, 0, 1, 2] = P[:, 1, :, 1] = P[:, 2, :, 2] = 1.0
    r[1, 2, 0], noise[1, 2] = 1.0, (-1.0, 1.0)
    model = EpisodicMDP(P, r, np.eye(3)[0])
    pi_e, pi_mu = np.tile([0.0, 1.0], (2, 3, 1)), np.tile([1.0 - thin, thin], (2, 3, 1))
    pi_e[1] = 1.0, 0.0
    mu = plain.state_law(P, model.rho, pi_mu)
    return {"model": model, "mu": mu, "m": mu, "pi_e": pi_e, "pi_mu": pi_mu, "other": pi_mu, "share": 0.0,
            "noise": noise, "g": np.array([[0, 0, 0], [0, 0, 1]])}


def fork(share: float) -> dict[str, Any]:
    """`misled` with mu half on state 2, which the roll-in misses."""
    world, left = misled(0.5), np.tile([1.0, 0.0], (2, 3, 1))
    return world | {"other": left, "share": share}


def fading_lock(H: int, leak: bool) -> tuple[EpisodicMDP, np.ndarray, np.ndarray]:
    """Good, errant and junk: the right action (h+1) mod 2 keeps the good state, the other one errs; the last right one
    pays 1. With ``leak`` the errant state goes to junk, and no policy has the law mu, half good and half errant.

    Returns
    -------
    model, mu (H, 3), code (H,)
    """
    code, P, r = (np.arange(H) + 1) % 2, np.zeros((H, 3, 2, 3)), np.zeros((H, 3, 2))
    P[:, 0, :, 1] = 1.0
    P[np.arange(H), 0, code] = 1.0, 0.0, 0.0
    P[:, 1, :, 2 if leak else 1] = P[:, 2, :, 2] = 1.0
    r[H - 1, 0, code[-1]] = 1.0
    mu = np.tile([0.5, 0.5, 0.0], (H, 1))
    mu[0] = 1.0, 0.0, 0.0
    return EpisodicMDP(P, r, np.eye(3)[0]), mu, code


# ---------------------------------------------------------------------------------------- measures

@marked
def any_critics(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C1: the loss against its bound, unless the loss is not the sum that it should equal."""
    P, r, rho, pi_e = _exactly(world)
    f = _critics(P, r, world["noise"])
    pi = plain.probabilities(f.argmax(-1), r)
    gap = rho @ (plain.evaluate(P, r, pi_e)[0][0] - plain.evaluate(P, r, pi)[0][0])
    Q = plain.evaluate(P, r, pi)[1]
    total = (plain.state_law(P, rho, pi_e)[..., None] * (pi_e - pi) * Q).sum()
    if gap != total:
        return {"measured": math.inf, "bound": 0.0}
    return {"measured": fraction(max(gap, 0)), "bound": subject(P, r, rho, exact(world["mu"]), f, pi_e)}


@marked
def trace(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C3: the same with the roll-in's law, mu that of ``pi_mu``, critics in [0, H]."""
    P, r, rho, pi_e = _exactly(world)
    f = _critics(P, r, world["noise"], len(r))
    pi = plain.probabilities(f.argmax(-1), r)
    gap = rho @ (plain.evaluate(P, r, pi_e)[0][0] - plain.evaluate(P, r, pi)[0][0])
    mu = plain.state_law(P, rho, exact(world["pi_mu"]))
    return {"measured": fraction(max(gap, 0)), "bound": subject(P, r, rho, mu, _roll_in(world), f, pi_e)}


def change_of_law(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C3-transfer: the mean of g under the comparator's law against its bound, in the worst step."""
    P, _, rho, pi_e = _exactly(world)
    G = len(P)
    g, mu = exact(world["g"]) * G, plain.state_law(P, rho, exact(world["pi_mu"]))
    bounds, means = subject(P, rho, mu, _roll_in(world), pi_e, g, G), (plain.state_law(P, rho, pi_e) * g).sum(-1)
    rows = [{"measured": fraction(x), "bound": fraction(b)} for x, b in zip(means, bounds)]
    return max(rows, key=lambda row: (excess(row), tightness(row)))


@marked
def matching(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C2: one step from any law, the chain of exact steps, and the chain of inexact ones; the worst of them.

    A programme's dual bounds its value from below; the gap to its own answer is forgiven where the answer should be
    exact. For inexact steps it is part of their excess.
    """
    m, pi_mu = world["model"], world["pi_mu"]
    mu = plain.state_law(m.P, m.rho, pi_mu)
    if world.get("shuffled"):
        mu = np.roll(mu, 1, axis=-1)
    rounding = higham(8 * m.P.size) * 2 * m.H
    rows = [{"measured": 0.0, "bound": 0.0, "slack": rounding}]
    d, off, forgiven, excess = m.rho, m.rho, 0.0, 0.0
    for h in range(m.H - 1):
        pi, low, high = _step(m.P[h], world["m"][h], mu[h + 1], subject)
        rows.append({"measured": _apart(m.P[h], world["m"][h], pi, mu[h + 1]),
                     "bound": float(np.abs(world["m"][h] - mu[h]).sum()), "slack": rounding + high - low})
        pi, low, high = _step(m.P[h], d, mu[h + 1], subject)
        forgiven += high - low
        d = _pushed(m.P[h], d, pi)
        rows.append({"measured": float(np.abs(d - mu[h + 1]).sum()), "bound": 0.0, "slack": rounding + forgiven})
        pi, low, _ = _step(m.P[h], off, mu[h + 1], subject)
        noisy = pi + (world["other"][h] - pi) / 8
        excess += _apart(m.P[h], off, noisy, mu[h + 1]) - low
        off = _pushed(m.P[h], off, noisy)
        rows.append({"measured": float(np.abs(off - mu[h + 1]).sum()), "bound": excess, "slack": rounding})
    return max(rows, key=lambda row: row["measured"] - row["bound"] - row["slack"])


def fade(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C4-fade: how far the roll-in's weight on the good state is from 2^-h."""
    m, mu, _ = fading_lock(world["H"], world["leak"])
    good = plain.state_law(m.P, m.rho, subject(m.P, m.rho, mu))[:, 0]
    # mean policies and laws are sums and products of powers of two; a few roundings a step are forgiven
    return {"measured": float(np.abs(good - 2.0 ** -np.arange(m.H)).max()), "bound": 0.0, "slack": higham(16 * m.H)}


def locks(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C4: whether the right action is learned at every step, with resets, by traces, and by traces without the leak."""
    params = foobar.Params(world["n"])
    m, mu, code = fading_lock(world["H"], world["leak"])
    data = draw_states(mu, world["n"], rng)
    reset = foobar.run_reset(Reset(m, rng, to=data), data, params, rng).output.policy
    found = {"reset": (reset, 0.9)}
    for name, leak, bound in (("trace", world["leak"], 0.35), ("repaired", False, 0.9)):
        m, roll_in = _matched(world["H"], leak)
        found[name] = subject(Episodes(m, rng), roll_in, params, rng).output.policy, bound
    return {k: {"measured": float((pi[:, 0] == code).all()), "bound": b} for k, (pi, b) in found.items()}


@functools.cache
def _matched(H: int, leak: bool) -> tuple[EpisodicMDP, np.ndarray]:
    m, mu, _ = fading_lock(H, leak)
    return m, foobar.forward_by_squares(m.P, m.rho, mu)


def needle(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C5-trace: of all codes, each with the same seeds, those for which a reward was seen, against the episodes."""
    H, A = world["H"], world["A"]
    seeds, blind = rng.integers(0, 2**62, 2), foobar.Params(world["n"], blocks=np.array([0, 0]))
    roll_in, seen, played = np.full((H, 2, A), 1.0 / A), 0, 0
    for code in itertools.product(range(A), repeat=H):
        theirs, own = (np.random.default_rng(int(s)) for s in seeds)
        result = subject(Episodes(combination_lock(H, A, list(code)), theirs), roll_in, blind, own)
        seen += bool(result.output.f.max() > 0)
        played = max(played, result.samples["episodes"])
    return {"measured": seen, "bound": played}


def needle_by_resets(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C5-reset: whether some step of a random lock saw no reward; good and bad state half each, and unseen."""
    H, A = world["H"], world["A"]
    lock = combination_lock(H, A, rng.integers(0, A, H))
    result = subject(Reset(lock, rng, to="any"), HALVES, foobar.Params(world["m"], blocks=np.array([0, 0])), rng)
    return {"failed": bool((result.output.f.max((1, 2)) == 0).any())}


def _exactly(world: dict) -> tuple[np.ndarray, ...]:
    m = world["model"]
    return exact(m.P), exact(m.r), exact(m.rho), exact(world["pi_e"])


def _critics(P: np.ndarray, r: np.ndarray, noise: np.ndarray, top: int | None = None) -> np.ndarray:
    """f_h = Q_h + noise, cut to [0, top] if given; Q_h that of the greedy policy of the later ones."""
    f, V = r * 0, r[0, :, 0] * 0
    for h in range(len(r) - 1, -1, -1):
        Q = r[h] + P[h] @ V
        f[h] = Q + exact(noise[h])
        f[h] = f[h] if top is None else np.minimum(np.maximum(f[h], 0), top)
        V = Q[np.arange(len(Q)), f[h].argmax(-1)]
    return f


def _roll_in(world: dict) -> np.ndarray:
    share = exact(world["share"])[()]
    return exact(world["pi_mu"]) * (1 - share) + exact(world["other"]) * share


def _pushed(P: np.ndarray, m: np.ndarray, pi: np.ndarray) -> np.ndarray:
    return ((m[:, None] * pi)[..., None] * P).sum((0, 1))


def _apart(P: np.ndarray, m: np.ndarray, pi: np.ndarray, target: np.ndarray) -> float:
    return float(np.abs(_pushed(P, m, pi) - target).sum())


def _step(P: np.ndarray, m: np.ndarray, target: np.ndarray, subject: Callable) -> tuple[np.ndarray, float, float]:
    """The subject's policy; the house's dual bound on the least distance, and the distance that the house reaches."""
    pi, g = foobar.match_by_program(P, m, target)
    return (subject(P, m, target)[0], float(least_distance(P, m, target, g)), _apart(P, m, pi, target))


# -------------------------------------------------------------------------------------------- checks

def _check(name: str, kind: str, statement: str, source: str, status: str, entry: str, cases: Any, measure: Callable,
           judge: Any, *more: Saboteur, finding: str = "", **twins: str) -> Check:
    claim = Claim("foobar", name, kind, statement, source, status, finding)
    named = [Saboteur(k.replace("_", " "), why, subject=f"{TWINS}:{k}") for k, why in twins.items()]
    return Check(claim, entry, cases, measure, judge, (*more, *named))


ROOTS = Sure("CERTIFIED", 120)
CHANCE = Expectation(0.0, 1.0, above=True)

CHECKS = (
    _check("C1", "bound", "pi greedy in any f, Q_h the value of (s, a) and then pi: V^{pi_e} - V^pi = sum_h "
           "E_{d_pi_e,h} <pi_e - pi, Q_h> <= sum_h 2 sqrt(C_h A eps_h), eps_h = E_{mu_h, a uniform}(f_h - Q_h)^2.",
           "the analysis of PSDP with resets", "derived", "reset_bound", critics, any_critics, ROOTS,
           finding="sqrt 2 in place of 2 holds, since |pi_e - 1_pi|_2 <= sqrt 2, and is attained: one state, rewards "
           "(0, 1), f = (1/2, 1/2), the tie to the lower action.",
           own_law="eps under the learner's own law", one_root="1 in place of 2", no_coverage="C_h = 1",
           skips_holes="the ratio among the states that mu meets"),
    _check("C2", "bound", "mu admissible: from any law m the least |sum m(s) pi(a|s) P_h(.|s, a) - mu_{h+1}|_1 is at "
           "most |m - mu_h|_1; greedy matching from rho has d^f_h = mu_h, and with excess e_h at each step "
           "|d^f_h - mu_h|_1 <= sum_{k<h} e_k.", "the analysis of the forward phase", "derived", "match_by_program",
           worlds, matching, Sure("SEARCHED", 25),
           Saboteur("shuffled", "an assumption broken: the states of mu are renamed", world={"shuffled": True}),
           uniform_actions="does not match", deterministic="the best policy, rounded to its likeliest actions"),
    _check("C3-transfer", "bound", "E_{d_pi_e,h}[g] <= C_h (E_{d^f_h}[g] + (G/2) |d^f_h - mu_h|_1) for g in [0, G].",
           "the analysis of the backward phase", "derived", "transfer", critics, change_of_law, Sure("EXACT", 120),
           no_distance="as if the roll-in had the law mu", half_weight="G/4 in place of G/2"),
    _check("C3", "bound", "mu admissible, rolling in with any pi^f, f in [0, H]: V^{pi_e} - V^pi <= sum_h 2 sqrt(C_h A "
           "(eps^f_h + (H^2/2) |d^f_h - mu_h|_1)), eps^f_h under d^f_h and uniform actions.",
           "the analysis of FOOBAR", "derived", "trace_bound", critics, trace, ROOTS,
           traces_own_law="eps under the learner's own law", traces_no_distance="as if the roll-in had the law mu"),
    _check("C4-fade", "identity", "On the fading lock, matching half good and half errant in squared L2, exponentiated "
           "gradient from uniform: d^f_h(good) = 2^-h, though C = 2.", "this instance", "derived",
           "forward_by_squares", tuple({"H": H, "leak": True} for H in (4, 10)), fade, Sure("SEARCHED"),
           Saboteur("no leak", "an assumption broken: errant states stay, mu is admissible", world={"leak": False}),
           by_distance="in L1, where any split of the mass is optimal"),
    _check("C4", "separation", "The fading lock with H = 10, 64 samples a step: resets learn every right action with "
           "probability above 0.9, traces from the matched roll-in below 0.35; without the leak above 0.9.",
           "this instance", "checked", "run_backward", ({"H": 10, "n": 64, "leak": True},), locks,
           Separation((("reset", CHANCE), ("trace", Expectation(0.0, 1.0)), ("repaired", CHANCE))),
           Saboteur("no leak", "an assumption broken: the data are admissible", world={"leak": False}),
           rolls_in_at_random="does not use the matched policy", hasty="two samples a step"),
    _check("C5-trace", "lower-bound", "Latent lock whose observations say nothing, prior uniform over A^H codes: a "
           "trace learner sees a reward in n episodes with probability at most n/A^H.",
           "evidence of hardness, this instance", "derived", "run_backward", NEEDLES,
           needle, Sure("EXACT"),
           sighted="an assumption broken: it sees the latent state, and needs A H episodes"),
    _check("C5-reset", "high-probability", "On it, A = 2, H = 12, mu half good and half bad, 40 resets a step: every "
           "step sees a reward with probability (1 - (1 - 1/(2A))^m)^H = 0.99988 > 0.95, in 480 samples.",
           "evidence of hardness, this instance", "checked", "run_reset", ({"A": 2, "H": 12, "m": 40},),
           needle_by_resets, HighProbability(0.05),
           Saboteur("six resets", "too few: the formula gives 0.095", world={"m": 6}),
           from_the_bad="an assumption broken: the data show the bad state alone"),
)
