"""Policy search by dynamic programming held to its claims, all of them in rationals.

The instances that attain the bounds are checks of their own, and lie among the searched worlds of those bounds.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
from hypothesis import strategies as st

from algorithms.offline import psdp
from mdpkit.measure import plain
from mdpkit.models.tabular import EpisodicMDP
from mdpkit.octets import by_weight
from mdpkit.rational import exact, fraction
from theory_checks.engine.claims import Check, Claim, Saboteur
from theory_checks.engine.judges import Sure
from theory_checks.engine.rows import exact_row

TWINS = "theory_checks.offline._psdp_twins"
SWEEPS = 10
SURE = Sure("EXACT", 120)
BLIND: tuple[dict[str, Any], ...] = tuple({"H": H, "eps": eps} for H, eps in ((1, 2.0**-30), (1, 0.25), (4, 2.0**-20)))
WRONG: tuple[dict[str, Any], ...] = tuple({"first": first} for first in (0.125, 0.1, 2.0**-20))


# ------------------------------------------------------------------------------------------ worlds

@st.composite
def _worlds(draw: st.DrawFn, least: int = 0, stochastic: bool = False) -> dict[str, Any]:
    """A model, a baseline with weights ``least``, 1 or 8, a partition, and two policies constant on its blocks.

    Where ``own``, the baseline is the law of ``ref`` instead, and the bound is the slack alone. With ``stochastic`` the
    blocks are single states and ``ref`` is any policy.
    """
    H, S, A = (draw(st.integers(1, 3)) for _ in range(3))
    # one choice of the search for all numbers: drawn fast, and they shrink to 0
    numbers = np.frombuffer(draw(st.binary(min_size=180, max_size=180)), np.uint8).astype(np.int64)
    P, r, rho, mu, labels, ref, pi, law = np.split(numbers, np.cumsum([81, 27, 3, 9, 3, 9, 9]))
    m = EpisodicMDP(by_weight(P, H, S, A, S), r[: H * S * A].reshape(H, S, A) % 17 / 16, by_weight(rho, S))
    weights = np.array([least, 1, 8])[mu[: H * S].reshape(H, S) % 3]
    blocks = np.arange(S) if stochastic else np.unique(labels[:S] % 3, return_inverse=True)[1]
    ref, pi = (plain.probabilities(half.reshape(3, 3)[:H][:, blocks] % A, m.r) for half in (ref, pi))
    return {"model": m, "mu": by_weight(weights.ravel(), H, S), "own": draw(st.booleans()), "blocks": blocks,
            "ref": by_weight(law, H, S, A) if stochastic else ref, "pi": pi}


def positive() -> st.SearchStrategy[dict[str, Any]]:
    """A baseline that meets every state."""
    return _worlds(1).map(lambda w: w | {"own": False})


def classes() -> st.SearchStrategy[dict[str, Any]]:
    """Baselines with holes, restricted classes; among them the instance on which the bound is attained."""
    return _worlds() | st.sampled_from([blind(**w) for w in BLIND])


def free() -> st.SearchStrategy[dict[str, Any]]:
    """The reference is any policy, also outside the class."""
    return _worlds(stochastic=True)


def ratios() -> st.SearchStrategy[dict[str, Any]]:
    """`free`, with the chain that a point mass misses and the instance on which the ratio is attained."""
    return free() | st.sampled_from([missed_chain(5), *(wrong(**w) for w in WRONG)])


def starts() -> st.SearchStrategy[dict[str, Any]]:
    """A class and a first policy in it; among them one whose class cannot have what V* promises, and a blind one."""
    return _worlds() | _worlds() | st.sampled_from([lured(), moved()])


def blind(H: int, eps: float) -> dict[str, Any]:
    """States 0 and 1 look alike; the one's right action is the other's wrong one. Right: state 2, which pays 1 a step.

    Nearly half of mu_0 lies on state 1, where the reference starts, but the larger half decides.
    """
    P, r = np.zeros((H, 4, 2, 4)), np.zeros((H, 4, 2))
    P[:, [0, 1], [0, 1], 2] = P[:, [0, 1], [1, 0], 3] = P[:, 2, :, 2] = P[:, 3, :, 3] = 1.0
    r[:, [0, 1], [0, 1]] = r[:, 2] = 1.0
    mu = np.tile([0.0, 0.0, 1.0, 0.0], (H, 1))
    mu[0] = 0.5 + eps, 0.5 - eps, 0.0, 0.0
    m = EpisodicMDP(P, r, np.eye(4)[1])
    blocks = np.array([0, 0, 1, 1])
    first = np.zeros((H, 4), np.int64)
    return {"model": m, "mu": mu, "own": False, "blocks": blocks,
            "ref": plain.probabilities(first + (blocks == 0), m.r),
            "pi": plain.probabilities(first, m.r)}


def missed_chain(H: int) -> dict[str, Any]:
    """Action 0 leads from state 0 to state 1, which pays 1 a step on action 1; all of mu lies on state 0.

    With ties to the lowest action the search is content with nothing at all, and its slack is zero.
    """
    P, r = np.zeros((H, 3, 2, 3)), np.zeros((H, 3, 2))
    P[:, 0, 0, 1] = P[:, 0, 1, 2] = P[:, 1, :, 1] = P[:, 2, :, 2] = 1.0
    r[:, 1, 1] = 1.0
    m = EpisodicMDP(P, r, np.eye(3)[0])
    mu, blocks = np.tile(np.eye(3)[0], (H, 1)), np.arange(3)
    best = np.tile([0, 1, 0], (H, 1))
    return {"model": m, "mu": mu, "own": False, "blocks": blocks, "ref": plain.probabilities(best, m.r),
            "pi": plain.probabilities(psdp.plan(m.P, m.r, mu, blocks).policy, m.r)}


def lured() -> dict[str, Any]:
    """State 0 pays 3/4 on action 0; action 1 leads to states 1 and 2, whose right actions differ in one block.

    V* promises 1 there, the class has 1/2: who plans with V* leaves the safe action that ``ref`` plays.
    """
    P, r = np.zeros((2, 3, 2, 3)), np.zeros((2, 3, 2))
    P[:, :, :, 0] = 1.0
    P[0, 0, 1] = 0.0, 0.5, 0.5
    r[0, 0, 0], r[1, 1, 0], r[1, 2, 1] = 0.75, 1.0, 1.0
    m = EpisodicMDP(P, r, np.eye(3)[0])
    return {"model": m, "mu": np.tile(np.eye(3)[0], (2, 1)), "own": True, "blocks": np.array([0, 1, 1]),
            "ref": plain.probabilities(np.zeros((2, 3), np.int64), r),
            "pi": plain.probabilities(np.zeros((2, 3), np.int64), r)}


def moved() -> dict[str, Any]:
    """Two states that look alike: from state 0 to state 1, where action 1 pays 1; action 0 pays 1 in state 0."""
    r = np.stack([np.zeros((2, 2)), np.eye(2)])
    P = np.broadcast_to(np.array([0.0, 1.0]), (2, 2, 2, 2))
    m = EpisodicMDP(P, r, np.eye(2)[0])
    return {"model": m, "mu": np.tile(np.eye(2)[0], (2, 1)), "own": True, "blocks": np.array([0, 0]),
            "ref": plain.probabilities(np.ones((2, 2), np.int64), r),
            "pi": plain.probabilities(np.zeros((2, 2), np.int64), r)}


def wrong(first: float) -> dict[str, Any]:
    """One step, two states, action 0 pays 1; the start has the weight ``first``, and pi is wrong there alone."""
    r = np.tile([1.0, 0.0], (1, 2, 1))
    m = EpisodicMDP(np.full((1, 2, 2, 2), 0.5), r, np.eye(2)[0])
    return {"model": m, "mu": np.array([[first, 1.0 - first]]), "own": False, "blocks": np.arange(2),
            "ref": plain.probabilities(np.array([[0, 0]]), r), "pi": plain.probabilities(np.array([[1, 0]]), r)}


# ---------------------------------------------------------------------------------------- measures

def optimal(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C1: the loss of the policy found in its worst step and state, unless it misstates its own values."""
    P, r, _ = _exactly(world)
    S = world["model"].S
    mu = np.tile(exact(np.eye(S)[0]), (len(r), 1)) if world.get("missed") else _baseline(world)
    found = subject(P, r, mu, np.arange(S))
    V = plain.evaluate(P, r, plain.probabilities(found.policy, r))[0]
    best = V * 0
    for h in range(len(r) - 1, -1, -1):
        best[h] = (r[h] + P[h] @ best[h + 1]).max(-1)
    return exact_row(max((best - V).max(), np.abs(found.V - V).max()), 0)


def identity(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C2: the lemma's side against the difference of two backward inductions."""
    P, r, rho = _exactly(world)
    ref, pi = exact(world["ref"]), exact(world["pi"])
    return exact_row(abs(subject(P, r, rho, ref, pi) - _gap(P, r, rho, ref, pi)), 0)


def restricted(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C3: the loss against the bound, for a policy that was found and for one that was drawn."""
    gaps = _against(world, subject, exact(world["pi"]))
    P, r, _ = _exactly(world)
    found = psdp.plan(P, r, _baseline(world), world["blocks"]).policy
    also = _against(world, subject, plain.probabilities(found, r))
    return max(gaps, also, key=lambda row: row["measured"] - row["bound"])


def attained(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C3-tight: bound less loss, which must be 2 H eps."""
    row = _against(blind(**world), subject, exact(blind(**world)["pi"]))
    return exact_row(abs(row["bound"] - row["measured"] - fraction(exact(2 * world["H"] * world["eps"])[()])), 0)


def by_ratio(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C4: the loss against the bound by the density ratio."""
    P, r, rho = _exactly(world)
    ref, pi = exact(world["ref"]), exact(world["pi"])
    return exact_row(max(_gap(P, r, rho, ref, pi), 0), subject(P, r, rho, _baseline(world), ref, pi))


def ratio_attained(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C5: bound less loss, which must be 0."""
    row = by_ratio(wrong(**world), subject, rng)
    return exact_row(abs(row["bound"] - row["measured"]), 0)


def one_sweep(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C6: the largest fall of the value from one sweep to the next, in ten of them from ``ref``."""
    P, r, rho = _exactly(world)
    found = subject(P, r, rho, world["blocks"], exact(world["ref"]), SWEEPS)
    J = [rho @ plain.evaluate(P, r, pi)[0][0] for pi in (exact(world["ref"]), *found[1:])]
    return exact_row(max(before - after for before, after in pairwise(J)), 0)


def _against(world: dict, subject: Callable, pi: np.ndarray) -> dict:
    P, r, rho = _exactly(world)
    ref = exact(world["ref"])
    return exact_row(max(_gap(P, r, rho, ref, pi), 0), subject(P, r, rho, _baseline(world), world["blocks"], ref, pi))


def _exactly(world: dict) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    m = world["model"]
    return exact(m.P), exact(m.r), exact(m.rho)


def _baseline(world: dict) -> np.ndarray:
    P, _, rho = _exactly(world)
    return plain.state_law(P, rho, exact(world["ref"])) if world["own"] else exact(world["mu"])


def _gap(P: np.ndarray, r: np.ndarray, rho: np.ndarray, ref: np.ndarray, pi: np.ndarray) -> Any:
    return rho @ (plain.evaluate(P, r, ref)[0][0] - plain.evaluate(P, r, pi)[0][0])


# -------------------------------------------------------------------------------------------- checks

def _check(name: str, kind: str, statement: str, source: str, status: str, entry: str, worlds: Any, measure: Callable,
           judge: Sure, *more: Saboteur, finding: str = "", **twins: str) -> Check:
    """A check whose saboteurs are twins by name, each with what is wrong with it, and perhaps worlds."""
    bad = (Saboteur(twin.replace("_", " "), why, subject=f"{TWINS}:{twin}") for twin, why in twins.items())
    return Check(Claim("psdp", name, kind, statement, source, status, finding), entry, worlds, measure, judge,
                 (*more, *bad))


CHECKS = (
    _check("C1", "identity", "All maps, mu_h > 0 everywhere, exact search: V_pi = V* in every step and state.",
           "dynamic programming; a case of Theorem 1", "checked", "plan", positive, optimal, SURE,
           Saboteur("missed states", "an assumption broken: all of mu lies on state 0", world={"missed": True}),
           myopic="forgets the values of later steps", averaging="backs up the mean over actions"),
    _check("C2", "identity", "V_ref(rho) - V_pi(rho) = sum_h E_{s ~ d_ref,h}[Q_h(s, ref) - V_h(s)], Q and V those of "
           "pi.", "performance difference, in the proof of Theorem 1", "checked", "difference", free, identity, SURE,
           learners_law="under d_pi in place of d_ref", values_of_reference="with Q and V of ref"),
    _check("C3", "bound", "For ref and pi constant on the blocks: V_ref(rho) - V_pi(rho) <= sum_h [e_h + (H-h) "
           "sum_s |d_ref,h(s) - mu_h(s)|], rewards in [0, 1].", "Theorem 1, its weights derived", "derived", "bound",
           classes, restricted, SURE,
           finding="With half the L1 distance (total variation) it is false: one step, two states in one block, "
           "r = identity, mu = (1/2 + eps, 1/2 - eps), the start in state 1, ref = action 1: loss 1, distance "
           "1 + 2 eps, total variation 1/2 + eps.",
           half_distance="total variation in place of L1", no_slack="without the slack of the search",
           no_weights="without the steps to go"),
    _check("C3-tight", "identity", "On two states that look alike, mu_0 = (1/2 + eps, 1/2 - eps), H steps, the bound "
           "of C3 is H (1 + 2 eps) and the loss H.", "this instance, derived", "derived", "bound", BLIND, attained,
           Sure("EXACT"), half_distance="total variation in place of L1", no_distance="the slack alone"),
    _check("C4", "bound", "All maps, any ref: V_ref(rho) - V_pi(rho) <= sum_h max_s d_ref,h(s)/mu_h(s) e_h, infinite "
           "where mu misses a state that ref visits.", "derived in the way of Theorem 1", "derived", "ratio_bound",
           ratios, by_ratio, SURE,
           no_ratio="the slack alone", skips_holes="the largest ratio among the states that mu meets"),
    _check("C5", "identity", "One step, two states, the start with weight p in mu, action 0 pays 1 and pi is wrong at "
           "the start: e = p, ratio 1/p, and the bound of C4 is the loss, 1.", "this instance, derived", "checked",
           "ratio_bound", WRONG, ratio_attained, Sure("EXACT"),
           no_ratio="the slack alone", upside_down="mu/d in place of d/mu"),
    _check("C6", "monotone", "One sweep on mu_h = d_ref,h, ref constant on the blocks, gives V_pi(rho) >= V_ref(rho): "
           "no sweep on the policy's own occupancy ever lowers the value (ten in a row).", "C3 with distance 0",
           "derived", "sweeps", starts, one_sweep, SURE,
           on_uniform="mu uniform", on_start="mu the first law at every step",
           optimistic="Q* in place of the values of the policies already chosen"),
)
