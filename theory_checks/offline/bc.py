"""Behaviour cloning held to its claims: sure ones in rationals and balls, those about samples on independent runs.

The claim about growth in the horizon is about known numbers, so that no sample and no slope test enter: it bounds the
ratio of the losses at each doubling of H, more narrowly than log-log slopes of 1.85 and 1.15 would.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import flint
import numpy as np
from hypothesis import strategies as st

from algorithms.offline import bc
from algorithms.offline.bc import Params
from mdpkit import rational
from mdpkit.access import Episodes
from mdpkit.data import collect
from mdpkit.instances.formula import step_dependent, step_dependent_policy
from mdpkit.measure import plain
from mdpkit.measure.values import start_value
from mdpkit.models.tabular import EpisodicMDP
from mdpkit.octets import law, octets
from mdpkit.rational import exact, fraction
from mdpkit.solve.precise import up
from theory_checks.engine.claims import Check, Claim, Saboteur, marked
from theory_checks.engine.judges import Expectation, HighProbability, Sure
from theory_checks.engine.rows import exact_row, worst

rows = functools.partial(law, weights=range(9))
TWINS = "theory_checks.offline._bc_twins"
BITS = 128
NU = np.array([0.5, 0.2, 0.1, 0.1, 0.05, 0.05])
SIZES = (10, 20, 40, 80)                 # logged trajectories on the instance redrawn from NU
CLIFFS: tuple[dict[str, Any], ...] = tuple({"H": H, "eps": eps, "back": False}
                                           for H, eps in ((5, 2.0**-6), (20, 2.0**-7), (80, 2.0**-9)))
DOUBLINGS: tuple[dict[str, Any], ...] = tuple({"H": H, "eps": 0.001, "back": False} for H in (8, 16, 32))
RECOVERS: tuple[dict[str, Any], ...] = tuple({**w, "back": True} for w in DOUBLINGS)


# ------------------------------------------------------------------------------------------ worlds

@st.composite
def clones(draw: st.DrawFn, deterministic: bool = False) -> dict[str, Any]:
    """A model, an expert, a learner, which is near the expert in half of the worlds; rewards at the last step alone."""
    H, S, A = (draw(st.integers(1, 3)) for _ in range(3))
    r = octets(draw, H, S, A) % 17 / 16
    r[:-1] *= draw(st.integers(0, 1))
    m = EpisodicMDP(rows(draw, H, S, A, S), r, rows(draw, S))
    maps = np.eye(A)[octets(draw, H, S) % A]
    expert = maps if deterministic or draw(st.booleans()) else rows(draw, H, S, A)
    near, other = draw(st.integers(0, 1)), rows(draw, H, S, A)
    return {"model": m, "expert": expert, "learner": (other + 15 * near * expert) / (1 + 15 * near), "N":
            draw(st.integers(0, 6)), "seed": draw(st.integers(0, 255))}


def cliff(H: int, back: bool) -> EpisodicMDP:
    """State 0: action 0 stays and pays 1, action 1 falls to state 1, which pays nothing; with ``back`` action 0 leads
    back from there.
    """
    P, r = np.zeros((H, 2, 2, 2)), np.zeros((H, 2, 2))
    P[:, 0, 0, 0] = P[:, 0, 1, 1] = P[:, 1, 1, 1] = P[:, 1, 0, 0 if back else 1] = 1.0
    r[:, 0, 0] = 1.0
    return EpisodicMDP(P, r, [1.0, 0.0])


def redrawn(H: int) -> EpisodicMDP:
    """Six states redrawn from `NU` at each step while action 0, which pays 1, is played; action 1 leads to nothing."""
    P, r = np.zeros((H, 7, 2, 7)), np.zeros((H, 7, 2))
    P[:, :6, 0, :6], P[:, :6, 1, 6], P[:, 6, :, 6] = NU, 1.0, 1.0
    r[:, :6, 0] = 1.0
    return EpisodicMDP(P, r, np.append(NU, 0.0))


def slip() -> dict[str, Any]:
    """One step, one state: the expert's action pays 1, and the learner fails it with chance 1/64."""
    expert = np.array([[[1.0, 0.0]]])
    return {"model": EpisodicMDP(np.ones((1, 1, 2, 1)), expert, [1.0]), "expert": expert,
            "learner": np.array([[[1.0, 0.0]]]) - np.array([[[1.0, -1.0]]]) / 64, "N": 0, "seed": 0}


def fallen() -> dict[str, Any]:
    """The cliff of six steps, and a learner that errs at the first of them alone."""
    expert = np.tile([1.0, 0.0], (6, 2, 1))
    learner = expert.copy()
    learner[0, 0] = 0.75, 0.25
    return {"model": cliff(6, False), "expert": expert, "learner": learner, "N": 0, "seed": 0}


any_expert = lambda: clones() | clones() | st.sampled_from([slip(), fallen()])
maps = lambda: clones(True) | clones(True) | st.sampled_from([slip(), fallen()])


# ---------------------------------------------------------------------------------------- measures

def propagation(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C1: the loss against the first bound, and that against the second."""
    P, r, rho, expert, learner = _exactly(world)
    fine, coarse = subject(P, rho, expert, learner)
    return worst([exact_row(max(bc.gap(P, r, rho, expert, learner), 0), fine), exact_row(fine, coarse)])


def first_error(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C2: on the cliff, for a learner that errs at step 0 with chance H eps: both bounds less the loss, H^2 eps."""
    H, m = world["H"], cliff(world["H"], world["back"])
    expert = np.tile([1.0, 0.0], (H, 2, 1))
    learner, share = exact(expert), rational.rational(H * world["eps"])
    learner[0, 0, 0], learner[0, 0, 1] = 1 - share, share
    bounds = subject(exact(m.P), exact(m.rho), exact(expert), learner)
    loss = bc.gap(exact(m.P), exact(m.r), exact(m.rho), exact(expert), learner)
    return exact_row(max(abs(b - loss) for b in (*bounds, H * share)), 0)


def each_step(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C2-each: the formula for a learner that errs at every step against its loss."""
    return exact_row(abs(subject(world["H"], rational.rational(world["eps"])) - _erring(bc.gap, **world)), 0)


def quadratic(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C3-cliff: 3.61 times the loss at H against the loss at 2H."""
    once, twice = _erring(subject, **world), _erring(subject, **(world | {"H": 2 * world["H"]}))
    return exact_row(rational.rational(3.61) * once, twice)


def linear(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C3-back: the loss at 2H against 2.21 times the loss at H."""
    once, twice = _erring(subject, **world), _erring(subject, **(world | {"H": 2 * world["H"]}))
    return exact_row(twice, rational.rational(2.21) * once)


def _erring(gap: Callable, H: int, eps: float, back: bool) -> Any:
    """The loss on the cliff of a learner that errs with chance eps everywhere."""
    m, share = cliff(H, back), rational.rational(eps)
    expert = exact(np.tile([1.0, 0.0], (H, 2, 1)))
    return gap(exact(m.P), exact(m.r), exact(m.rho), expert, (1 - share) * expert + share * expert[..., ::-1])


@marked
def fast(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C4: the loss against 4 R D^2."""
    return _against(world, subject, 4)


@marked
def sharp(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C4-sharp: the loss against R D^2."""
    return _against(world, subject, 1)


def _against(world: dict, subject: Callable, factor: int) -> dict:
    if world.get("stochastic"):          # one state, a fair coin, and a learner whose coin is a little unfair
        expert = np.array([[[0.5, 0.5]]])
        world = slip() | {"expert": expert, "learner": expert + np.array([[[-1.0, 1.0]]]) / 1024}
    P, r, rho, expert, learner = _exactly(world)
    most, top = r[-1] * 0, (r * 0)[0, :, 0]
    for h in range(len(P) - 1, -1, -1):  # the largest total reward of any trajectory
        most = r[h] + np.where(P[h] > 0, top, 0 * top).max(-1)
        top = most.max(-1)
    with flint.ctx.workprec(BITS):
        balls = [np.vectorize(flint.arb, otypes=[object])(x) for x in (P, rho, expert, learner)]
        bound = up(factor * max(top[rho > 0]) * subject(*balls))
    return {"measured": fraction(max(bc.gap(P, r, rho, expert, learner), 0)), "bound": bound}


def likelihood(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C4-mle: D^2 of the most likely policy of a class with the expert in it against 2 log(|Pi|/delta)/N."""
    m, expert = step_dependent(4, 3, 4), step_dependent_policy(4, 3, 4)
    n = world["policies"]
    moved = np.random.default_rng(1).dirichlet(np.ones(3), (n - 1, 4, 4))
    weight = np.arange(1, n)[:, None, None, None] / (n - 1)
    policies = np.concatenate([(1 - weight) * expert + weight * moved, expert[None]])
    data = collect(m, expert, world["N"], rng)
    found = subject(Episodes(m, rng), data, Params(policies=policies), rng).output
    return {"measured": float(bc.hellinger(m.P, m.rho, expert, found)),
            "bound": 2 * math.log(n / world["delta"]) / world["N"]}


def unseen_mass(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C5: the loss after any data of a deterministic expert against the weighted mass that they left unseen."""
    m, expert, own = world["model"], world["expert"], np.random.default_rng(world["seed"])
    data = collect(m, expert, world["N"], own)
    P, r, rho, pi, _ = _exactly(world)
    learner = subject(Episodes(m, own), data, Params(), own).output
    seen = np.zeros(pi.shape[:2], np.bool_)
    seen[np.broadcast_to(np.arange(m.H), data.steps.s.shape), data.steps.s] = True
    mass = np.where(seen, 0 * rho, plain.state_law(P, rho, pi)).sum(-1)
    return exact_row(max(bc.gap(P, r, rho, pi, exact(learner)), 0), ((m.H - np.arange(m.H)) * mass).sum())


def mass_bound(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C5-mass: the expected mass unseen at each step against S/(e N)."""
    m, n = world["model"], world["N"] + 1
    d = plain.state_law(*(exact(x) for x in (m.P, m.rho, world["expert"])))
    with flint.ctx.workprec(BITS):
        bound = up(flint.arb(m.S) / (n * flint.arb(1).exp()))
    return exact_row(max(subject(x, n) for x in d), bound)


@marked
def mean_loss(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C5-mean: the loss after one draw of the data."""
    H, n = world["H"], world["N"]
    m, expert = redrawn(H), np.zeros((H, 7), np.int64)
    found = subject(Episodes(m, rng), collect(m, expert, n, rng), Params(), rng).output
    return {"measured": H - start_value(m, found), "bound": H * (H + 1) / 2 * 6 / (math.e * n)}


def _exactly(world: dict) -> tuple[np.ndarray, ...]:
    """P, r, rho and both policies, whose rows are made to sum to 1 in rationals."""
    m = world["model"]
    laws = [exact(world[k]) for k in ("expert", "learner")]
    return exact(m.P), exact(m.r), exact(m.rho), *(x / x.sum(-1)[..., None] for x in laws)


# -------------------------------------------------------------------------------------------- checks

def _check(name: str, kind: str, statement: str, source: str, status: str, entry: str, worlds: Any, measure: Callable,
           judge: Any, *more: Saboteur, finding: str = "", **twins: str) -> Check:
    """A check whose saboteurs are twins by name, each with what is wrong with it, and perhaps worlds."""
    bad = (Saboteur(twin.replace("_", " "), why, subject=f"{TWINS}:{twin}") for twin, why in twins.items())
    return Check(Claim("bc", name, kind, statement, source, status, finding), entry, worlds, measure, judge,
                 (*more, *bad))


_BACK = Saboteur("a way back", "an assumption broken: a fall is forgiven", world={"back": True})
_COIN = Saboteur("random expert", "an assumption broken: only the root of D^2 is a bound", world={"stochastic": True})
_NO_WAY = Saboteur("no way back", "an assumption broken: a fall is for ever", world={"back": False})

CHECKS = (
    _check("C1", "bound", "J(pe) - J(ph) <= sum_h (H-h) eps_h <= H^2 eps for any expert, rewards in [0, 1].",
           "Ross and Bagnell 2010, theorem 2.1; the first form derived", "derived", "propagation_bound", any_expert,
           propagation, Sure("EXACT", 150), no_horizon="H eps: each error counted once",
           upside_down="h+1 in place of the steps to go",
           finding="The same formula holds with eps_h on the learner's own states, roles exchanged: where errors are "
           "measured makes no difference to the inequality, only to the size of eps."),
    _check("C2", "identity", "On the cliff both bounds of C1 are attained by a learner that errs at step 0 alone, with "
           "chance H eps: it loses H^2 eps.", "this instance", "derived", "propagation_bound", CLIFFS, first_error,
           Sure("EXACT"), _BACK, no_horizon="H eps: each error counted once"),
    _check("C2-each", "identity", "On the cliff a learner that errs with chance eps at each step loses "
           "H - sum_{t=1}^H (1-eps)^t, about eps H (H+1)/2.", "this instance", "derived", "cliff_loss", CLIFFS,
           each_step, Sure("EXACT"), _BACK, first_order="eps H (H+1)/2 itself"),
    _check("C3-cliff", "rate", "eps = 0.001 at each step: on the cliff the loss grows by 3.61 = 2^1.852 or more at "
           "each doubling of H from 8 to 64.", "this instance", "checked", "gap", DOUBLINGS, quadratic,
           Sure("EXACT"), _BACK),
    _check("C3-back", "rate", "The same with a way back: by 2.21 = 2^1.144 or less.", "this instance", "checked",
           "gap", RECOVERS, linear, Sure("EXACT"), _NO_WAY),
    _check("C4", "bound", "A deterministic expert, total reward in [0, R]: J(pe) - J(ph) <= 4 R D^2.",
           "Foster, Block and Misra 2024, constant recalled", "recalled", "hellinger", maps, fast,
           Sure("CERTIFIED", 120), _COIN, squared="D^4", last_step="the last step alone",
           finding="4 is loose: with x the chance that the learner takes the expert's actions along a trajectory of "
           "the expert, TV = E(1 - x) and D^2 = 2 E(1 - sqrt x) >= TV, so that R D^2 is enough."),
    _check("C4-sharp", "bound", "A deterministic expert: J(pe) - J(ph) <= R D^2; the ratio tends to 1 for one "
           "step, one state and a rare error.", "in the way of Foster, Block and Misra 2024", "derived", "hellinger",
           maps, sharp, Sure("CERTIFIED", 120), _COIN,
           halved="the convention with 1/2", last_step="the last step alone"),
    _check("C4-mle", "high-probability", "Maximum likelihood over a finite Pi with the expert in it, here random: "
           "D^2 <= 2 log(|Pi|/delta)/N with probability 1 - delta.", "Foster, Block and Misra 2024, constants derived",
           "derived", "run_class", tuple({"N": N, "policies": 16, "delta": 0.05} for N in (20, 100)), likelihood,
           HighProbability(0.05), least_likely="the least likely policy", first_named="no look at the data"),
    _check("C5", "bound", "A deterministic expert, all policies: after any data J(pe) - J(ph) <= sum_h (H-h) times the "
           "mass of states at h that were not seen.", "in the way of Rajaraman et al. 2020", "derived", "run", maps,
           unseen_mass, Sure("EXACT", 120), smoothed="a pseudo-count for each action",
           pooled="one policy for all steps"),
    _check("C5-mass", "bound", "The expected mass of what N draws did not show is at most S/(e N).",
           "p (1-p)^N <= 1/(e N)", "derived", "missing_mass", maps, mass_bound, Sure("CERTIFIED", 100),
           one_draw_less="after N - 1 draws", one_draw="after one draw"),
    _check("C5-mean", "expectation", "Six states redrawn at each step, H = 8, N = 10 to 80: the expected loss is at "
           "most H (H+1)/2 S/(e N).", "C5 and C5-mass, this instance", "checked", "run",
           tuple({"H": 8, "N": N} for N in SIZES), mean_loss, Expectation(0.0, 8.0),
           wasteful="looks at a tenth of the data", never_seen="uniform everywhere",
           finding="The exact mean at N = 20 is 1.0462334727988134, a quarter of the bound. What is played in states "
           "never seen decides: with the expert's action as the default the loss is 0. For one law of states the "
           "mean falls faster than 1/N in the end: the slope -1 is that of the bound."),
)
