"""SQIRL and the stochastic effective horizon held to their claims; statements about iterates in rationals.

Success frequencies that read 0.00, 0.13, 0.70, 1.00 for m = 200, 1000, 5000, 20000 (GEN(4, 3, 4, 1), k = 1) belong to
Bernoulli rewards with the means of the instance; without noise they are 0.73, 1, 1, 1. Both are within the theorem's
reach only up to the scale of a total reward in [0, T]. Reference value corrected: Delta_5 of GEN(4, 3, 5, 0) is
0.04172637668368396, not 0.04172637368368395.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import flint
import numpy as np
from hypothesis import strategies as st

from algorithms.planning import sqirl
from algorithms.planning.sqirl import Params
from mdpkit.access import Episodes
from mdpkit.errors import MissingPackage
from mdpkit.interop.gymnasium import read
from mdpkit.kernels.backup import returns_of_actions
from mdpkit.measure.values import optimal_start_value
from mdpkit.models.tabular import EpisodicMDP
from mdpkit.octets import law, octets
from mdpkit.rational import exact
from theory_checks.engine.claims import Check, Claim, Saboteur, marked
from theory_checks.engine.judges import Expectation, HighProbability, Separation, Sure
from theory_checks.engine.rows import worst_of

TWINS = "theory_checks.planning._sqirl_twins"
NEAR = 0.03                                  # of the needle's probability, on either side
RUNS = 64                                    # behind each row of the needle
NEEDLES: tuple[dict[str, Any], ...] = tuple({"A": A, "L": L, "m": m, "k": k}
                                            for A, L, m, k in ((2, 4, 20, 1), (2, 4, 60, 3), (3, 3, 40, 2)))
TRAPPED: tuple[dict[str, Any], ...] = tuple({"k": k, "m": 2000, "value": v, "pay": 0.6}
                                            for k, v in ((1, 0.64), (2, 0.96)))
NOISY: tuple[dict[str, Any], ...] = ({"k": 1}, {"k": 2})
MET = {"k": 2, "delta": 0.05}                # the bound's n is met on TRAP
LAKES: tuple[dict[str, Any], ...] = ({"T": 8, "is_slippery": False, "k": 1}, {"T": 12, "is_slippery": True, "k": 1},
                                     {"T": 20, "is_slippery": True, "k": 11})
SPREAD = 0.75                                # no two policies of GEN(4, 3, 4, 1) are further apart
DRY = {"T": 8, "m": 3000, "is_slippery": False}


# ------------------------------------------------------------------------------------------ worlds

@st.composite
def worlds(draw: st.DrawFn) -> dict[str, Any]:
    """Up to four steps, three states and actions, and any policy to start from."""
    T, S, A = draw(st.integers(1, 4)), draw(st.integers(1, 3)), draw(st.integers(1, 3))
    m = EpisodicMDP(law(draw, T, S, A, S, weights=(0, 1, 1, 2, 4)), octets(draw, T, S, A) % 17 / (16 * T), law(draw, S))
    pi = np.full((T, S, A), 1.0 / A) if draw(st.booleans()) else law(draw, T, S, A)
    return {"model": m, "pi": pi}


def trap(pay: float = 0.6) -> EpisodicMDP:
    """Action 0 leads to state 1, which pays 1 or 0, with probability 0.9, else to state 2, which pays ``pay``;
    action 1 the other way round: 2- and not 1-QVI-solvable at 0.6."""
    P, r = np.zeros((2, 3, 2, 3)), np.zeros((2, 3, 2))
    P[0, :, 0], P[0, :, 1] = (0.0, 0.9, 0.1), (0.0, 0.1, 0.9)
    P[1] = np.eye(3)[:, None]
    r[1, 1], r[1, 2] = (1.0, 0.0), pay
    return EpisodicMDP(P, r, [1.0, 0.0, 0.0])


def generated(S: int, A: int, T: int, o: int, noise: str = "none") -> EpisodicMDP:
    """GEN: P[t,s,a,u] prop. to 1 + ((5s + 3a + 7u + 2t + s a u + o) mod 6)^2, starts in state 0,
    r[t,s,a] = ((7s + 4a + 3t + o) mod 11)/(10 T)."""
    t, s, a, u = np.indices((T, S, A, S))
    w = 1 + ((5 * s + 3 * a + 7 * u + 2 * t + s * a * u + o) % 6) ** 2
    t, s, a = np.indices((T, S, A))
    return EpisodicMDP(w / w.sum(-1, keepdims=True), ((7 * s + 4 * a + 3 * t + o) % 11) / (10 * T), np.eye(S)[0], noise)


def needle(A: int, L: int) -> EpisodicMDP:
    """State 0 stays by action A-1 alone, and pays 1 if it does so at all L steps; state 1 is lost."""
    P, r = np.zeros((L, 2, A, 2)), np.zeros((L, 2, A))
    P[..., 1] = 1.0
    P[:, 0, A - 1] = 1.0, 0.0
    r[L - 1, 0, A - 1] = 1.0
    return EpisodicMDP(P, r, [1.0, 0.0])


def lake(is_slippery: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """P (S, A, S), r (S, A) and rho of gymnasium's FrozenLake."""
    try:
        from gymnasium.envs.toy_text import FrozenLakeEnv
    except ImportError as e:
        raise MissingPackage("gymnasium", "gym") from e
    m = read(FrozenLakeEnv(is_slippery=is_slippery), 0.5).model          # whose discount is not used
    return m.dense, m.r, m.rho


def in_parts(x: np.ndarray, n: int) -> np.ndarray:
    """The multiples of 1/n that these numbers are near, as rationals."""
    out = np.empty(x.shape, object)
    out.ravel()[:] = [flint.fmpq(round(n * v), n) for v in x.ravel().tolist()]
    return out


# ---------------------------------------------------------------------------------------- measures

def rising(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C1: by how much some iterate falls, how far the last is from Q*, and Q^i from Q* in its last i steps."""
    m = world["model"]
    P, r = exact(m.P), exact(m.r)
    Q = subject(P, r, exact(world["pi"]))
    best = _optimal(P, r)
    late = [np.abs(q[m.H - i:] - best[m.H - i:]).max() for i, q in enumerate(Q, 1)]
    falls = [(a - b).max() for a, b in itertools.pairwise(Q)]
    return worst_of((max(late), 0), *((max(x, 0), 0) for x in falls))


def _optimal(P: np.ndarray, r: np.ndarray) -> np.ndarray:
    Q = 1 * r
    for t in range(len(r) - 2, -1, -1):
        Q[t] = r[t] + P[t] @ Q[t + 1].max(-1)
    return Q


def trapped(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C2: losses of the worst greedy policy, gaps, and the optimum, in tenths, against what is stated."""
    m = trap(world["pay"])
    P, r, rho = (in_parts(x, 10) for x in (m.P, m.r, m.rho))
    Q = subject(P, r, exact(np.ones(r.shape)) / 2)
    loses = [sqirl.lost(P, r, rho, q) for q in Q]
    gaps = [min(abs(x[0] - x[1]) for x in q.reshape(-1, 2) if x[0] != x[1]) for q in Q]
    stated = (_optimal(P, r)[0, 0].max(), 24), (loses[0], 8), (loses[1], 0), (gaps[0], 2), (gaps[1], 8)
    return worst_of(*((abs(x - flint.fmpq(want, 25)), 0) for x, want in stated))


def _values(m: EpisodicMDP, policies: np.ndarray) -> np.ndarray:
    """rho . V of each policy (n, H, S)."""
    return returns_of_actions(*m.rows, m.r, m.rho, policies)


def _played(m: EpisodicMDP, params: Params, subject: Callable, rng: np.random.Generator, n: int = 1) -> np.ndarray:
    """Values of n runs."""
    first, second = (np.random.default_rng(int(s)) for s in rng.integers(0, 2**62, 2))
    return _values(m, subject(Episodes(m, first), params, second, n))


def sampled_trap(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C2-sampled: whether a run ends in another value than stated."""
    value = _played(trap(world["pay"]), Params(world["k"], world["m"]), subject, rng)[0]
    return {"failed": abs(value - world["value"]) > 1e-9}       # policies of TRAP are 0.04 apart at least


def found(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C3: the share of runs that find the needle, against its probability from both sides."""
    p = sqirl.needle_probability(world["A"], world["L"], world["m"])
    params = Params(world["k"], world["m"])
    share = float(_played(needle(world["A"], world["L"]), params, subject, rng, RUNS).mean())
    return {"above": {"measured": share, "bound": p - NEAR},
            "below": {"measured": share, "bound": min(p + NEAR, 0.999)}}


def growth(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C3-growth: m for probability 1/2, from L steps to L + 1, over A: at least 0.8 and at most 1.25."""
    A, rows = world["A"], []
    needed = [next(m for m in range(1, 10**6) if subject(A, L, m) >= 0.5) for L in range(3, world["longest"] + 1)]
    for few, many in itertools.pairwise(needed):
        rows += [(flint.fmpq(8 * A * few, 10), many), (many, flint.fmpq(5 * A * few, 4))]
    return worst_of(*rows)


@marked
def sufficient(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C4: whether a run loses although every pair is expected 1.2 n times at each level, on TRAP."""
    m, k = trap(), world["k"]
    n = sqirl.needed(2, 0.32, 2, 3, 2, world["delta"])
    value = _played(m, sqirl.theory(k, int(1.2 * n / 0.05) + 1), subject, rng)[0]
    return {"failed": value < optimal_start_value(m) - 1e-9}


def improving(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C4-trend: what more data loses less, from 200 to 800 to 3200 episodes a batch; negative is better."""
    m = generated(4, 3, 4, 1, "bernoulli")
    values = [_played(m, Params(world["k"], size), subject, rng)[0] for size in (200, 800, 3200)]
    return {name: {"measured": float(a - b), "bound": 0.0}
            for name, a, b in (("800", values[0], values[1]), ("3200", values[1], values[2]))}


@marked
def enough(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C4-enough: success with 20000 episodes a batch, or as many as the world says."""
    m = generated(4, 3, 4, 1, "bernoulli")
    value = _played(m, Params(world["k"], world.get("m", 20000)), subject, rng)[0]
    return {"measured": float(value > optimal_start_value(m) - 1e-9), "bound": 0.9}


@marked
def shallow(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C5: whether k <= 2 suffices for a sparse random MDP, drawn in sixteenths; k beyond 1..T raises."""
    S, A, T = (int(rng.integers(lo, hi)) for lo, hi in ((2, 5), (2, 4), (2, 6)))
    P = rng.multinomial(16, np.full(S, 1.0 / S), (T, S, A)) / 16
    r = (rng.random((T, S, A)) < world["density"]) / T
    k = subject(exact(P), in_parts(r, T), in_parts(np.eye(S)[0], 1))
    if not 1 <= k <= T:
        raise ArithmeticError(f"the minimal k is {k} for T = {T}")
    return {"measured": float(k <= 2), "bound": 0.5}


def on_the_lake(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C6: the minimal k of FrozenLake cut to T steps, its probabilities read as thirds, against what is stated."""
    P, r, rho = (in_parts(x, 3) for x in lake(world["is_slippery"]))
    P, r = (np.broadcast_to(x, (world["T"], *x.shape)) for x in (P, r))
    return worst_of((abs(subject(P, r, rho) - world["k"]), 0))


def crossing(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C6-sampled: whether a run on FrozenLake without slipping does not reach the goal."""
    P, r, rho = lake(world["is_slippery"])
    m = EpisodicMDP.stationary(P, r, rho, world["T"])
    return {"failed": _played(m, Params(1, world["m"]), subject, rng)[0] < 1.0}


# -------------------------------------------------------------------------------------------- checks

def _check(name: str, kind: str, statement: str, source: str, status: str, entry: str, where: Any, measure: Callable,
           judge: Any, finding: str = "", more: tuple[Saboteur, ...] = (), **twins: str) -> Check:
    return Check(Claim("sqirl", name, kind, statement, source, status, finding), entry, where, measure, judge, (
        *(Saboteur(twin.replace("_", " "), why, subject=f"{TWINS}:{twin}") for twin, why in twins.items()), *more))


def _world(name: str, why: str, **settings: Any) -> tuple[Saboteur, ...]:
    return (Saboteur(name, why, world=settings),)


CHECKS = (
    _check("C1", "monotone", "From the Q of any policy: Q^1 <= Q^2 <= .. <= Q^T = Q*, and Q^i_t = Q*_t in the last "
           "i steps. Hence every model is T-QVI-solvable.", "definition of Q-value iteration", "checked", "iterates",
           worlds, rising, Sure("EXACT", 80), from_ones="starts from Q = 1, no policy's", mean="no maximum"),
    _check("C2", "separation", "TRAP is 2- and not 1-QVI-solvable: V* = 0.96, the worst greedy policy of Q^1 has 0.64, "
           "Delta_1 = 0.08, Delta_2 = 0.32.", "this instance", "checked", "iterates", ({"pay": 0.6},), trapped,
           Sure("EXACT"), more=_world("less to win", "state 2 pays 0.4: 1-QVI-solvable", pay=0.4), mean="no maximum"),
    _check("C2-sampled", "high-probability", "On TRAP with m = 2000 a run ends in 0.64 for k = 1 and in 0.96 for k = "
           "2, with probability 0.95.", "this instance", "checked", "repeated", TRAPPED, sampled_trap,
           HighProbability(0.05), more=_world("less to win", "state 2 pays 0.4", pay=0.4),
           one_level_more="k + 1 in place of k"),
    _check("C3", "separation", "A run finds the needle with probability prod_{i < L} (1 - (1 - A^{i-L})^m), for every "
           "k (here to within 0.03).", "this instance", "derived", "repeated", NEEDLES, found,
           Separation((("above", Expectation(0.0, 1.0, above=True)), ("below", Expectation(0.0, 1.0)))),
           idle="a tail of action 0", coin_flips="ties at random", half="m/2 episodes"),
    _check("C3-growth", "bound", "The m for which that probability is 1/2 grows by a factor in [0.8 A, 1.25 A] with L, "
           "L = 3..9: the exponent of A^Hbar with Delta = 1 and k = L cannot be smaller.", "C3", "derived",
           "needle_probability", ({"A": 2, "longest": 9}, {"A": 3, "longest": 8}), growth, Sure("EXACT"),
           one_shot="the first factor with A^{-1}", root="A^{-(L-i)/2}"),
    _check("C4", "high-probability", "If each pair is seen n >= 2 k^2 Delta_k^-2 log(2 T k S A/delta) times at each "
           "level (fresh batches), a run loses nothing with probability 1 - delta: TRAP, k = 2, delta = 0.05, n = 537.",
           "Hoeffding, level by level", "derived", "repeated", (MET,), sufficient, HighProbability(0.05),
           "The bound is loose: m/500 episodes, some 26 a batch, lost in none of 83 runs. GEN(4, 3, 4, 1) would take "
           "n = 3954, some 10^6 episodes a batch: not run.",
           more=_world("k = 1", "an assumption broken: not 1-QVI-solvable", k=1), pair="two episodes a batch"),
    _check("C4-trend", "separation", "On GEN(4, 3, 4, 1) with Bernoulli rewards, k = 1 and 2, a run loses less in "
           "expectation with 800 than with 200 episodes a batch, and with 3200 than with 800.", "the bound",
           "checked", "repeated", NOISY, improving,
           Separation(tuple((size, Expectation(-SPREAD, SPREAD)) for size in ("800", "3200"))),
           backwards="the more data, the fewer are used"),
    _check("C4-enough", "expectation", "There a run with 20000 episodes a batch is optimal with probability 0.9 at "
           "least.", "this instance", "checked", "repeated", NOISY, enough, Expectation(0.0, 1.0, above=True),
           more=_world("200 episodes", "too few", m=200), scarce="m/500 episodes"),
    _check("C5", "expectation", "At least half of sparse random MDPs (S 2..4, A 2..3, T 2..5, a fifth of the pairs "
           "pays) have minimal k <= 2; k lies in 1..T.", "figure of minimal k", "checked", "minimal_k",
           ({"density": 0.2},), shallow, Expectation(0.0, 1.0, above=True), last="always T"),
    _check("C6", "identity", "FrozenLake (gymnasium's, in thirds) cut to T steps has minimal k = 1 without slipping "
           "(T = 8) and for T = 12, and 11 for T = 20.", "gymnasium's table", "derived", "minimal_k", LAKES,
           on_the_lake, Sure("EXACT"),
           "Thirds as stored are not equal: actions that tie by symmetry differ by 2^-64 or so, gaps become that "
           "small, and at T = 12 some k > 1 then lose. The model is read as thirds.", late="one too many"),
    _check("C6-sampled", "high-probability", "Without slipping, T = 8: a run with k = 1, m = 3000 walks to the goal "
           "with probability 0.95.", "gymnasium's table", "derived", "repeated", (DRY,), crossing,
           HighProbability(0.05), more=_world("slippery", "no policy arrives surely", is_slippery=True),
           scarce="m/500 episodes"),
)
