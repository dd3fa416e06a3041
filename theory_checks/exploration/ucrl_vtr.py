"""UCRL-VTR held to its claims: closure, coverage, optimism, regret by widths, its growth, and two reductions.

Coverage and optimism are about all episodes at once. What holds surely on the event that theta* is in every ellipsoid
is searched there; the event is read with a margin MARGIN of the radius. Distances and widths are computed here from
the states of the log, in a matrix of their own, not from the learner's inverse.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from hypothesis import strategies as st

from algorithms.exploration import ucrl_vtr
from algorithms.exploration.ucrl_vtr import ClassLog, Log, Params
from mdpkit.access import Episodes
from mdpkit.instances.formula import linear_mixture, stationary_episodic
from mdpkit.measure.regret import Regret
from mdpkit.measure.values import optimal_value
from mdpkit.models.convert import to_episodic
from mdpkit.models.linear import LinearMixtureMDP
from mdpkit.models.tabular import EpisodicMDP
from mdpkit.octets import law, octets
from mdpkit.rational import exact, rational
from mdpkit.solve.rounding import higham
from theory_checks.engine.claims import Check, Claim, Saboteur
from theory_checks.engine.judges import HighProbability, Rate, Sure
from theory_checks.engine.rows import worst, worst_of

TWINS = "theory_checks.exploration._ucrl_vtr_twins"
DELTA = 0.1
MARGIN = 1e-6
HORIZONS = (250, 500, 1000, 2000)
MIX: dict[str, Any] = {"sizes": [5, 3, 3, 4], "K": 400}
TABLE: dict[str, Any] = {"sizes": [3, 2, 0, 3], "K": 60}              # every (s, a, z) a basis measure of its own


class Run(NamedTuple):
    """A run and what its holder knows of it; K episodes, H steps."""

    model: EpisodicMDP
    base: np.ndarray        # (d, S, A, S)
    theta: np.ndarray       # (d,) theta*
    params: Params
    log: Log
    gaps: np.ndarray        # (K,)


def slow_root(T: np.ndarray) -> np.ndarray:
    """sqrt(K) with the logarithm that the widths carry, 4 K steps."""
    return np.sqrt(T) * np.log(4.0 * T)


@st.composite
def mixtures(draw: st.DrawFn) -> dict[str, Any]:
    """Measures base (d, S, A, S) near 1/256, weights theta and a function V in quarters, of either sign."""
    d, S, A = draw(st.integers(1, 3)), draw(st.integers(1, 3)), draw(st.integers(1, 2))
    return {"base": octets(draw, d, S, A, S) / 256, "theta": octets(draw, d) / 256, "V": octets(draw, S) % 17 / 4 - 2}


@st.composite
def moves(draw: st.DrawFn) -> dict[str, Any]:
    """Laws in multiples of 2**-8, n moves, and the functions that they are measured with."""
    d, S, A, n = draw(st.integers(1, 3)), draw(st.integers(2, 3)), draw(st.integers(1, 2)), draw(st.integers(1, 8))
    first = octets(draw, d, S, A, S - 1) // S / 256
    base = np.concatenate([1.0 - first.sum(-1, keepdims=True), first], -1)
    s, a, z = (octets(draw, n) % size for size in (S, A, S))
    return {"base": base, "s": s, "a": a, "z": z, "V": octets(draw, n, S) % 17 / 4,
            "lam": draw(st.sampled_from([1.0, 0.25]))}


@st.composite
def learners(draw: st.DrawFn) -> dict[str, Any]:
    """A small mixture and some episodes; rewards in sixteenths."""
    d, S, A, H = (draw(st.integers(1, 3)) for _ in range(4))
    model = LinearMixtureMDP(law(draw, d, S, A, S), np.tile(law(draw, 1, d), (H, 1)),
                             np.tile(octets(draw, S, A) % 17 / 16, (H, 1, 1)), law(draw, S))
    return {"model": model, "K": draw(st.sampled_from([200, 3, 30])), "lam": draw(st.sampled_from([1.0, 0.25]))}


def closure(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C1 in rationals: <X_V, theta> against the mean of V under the mixed kernel, term by term."""
    base, theta, V = exact(world["base"]), exact(world["theta"]), exact(world["V"])
    found, pairs = subject(base, theta, V), []
    for s, a in np.ndindex(found.shape):
        mixed = [sum(t * b for t, b in zip(theta, base[:, s, a, z])) for z in range(len(V))]
        pairs.append((abs(found[s, a] - sum(p * v for p, v in zip(mixed, V))), 0))
    return worst_of(*pairs)


def covered(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C2: the worst of ||theta* - thetahat_k||_{M_k} over the radius of that episode."""
    return {"measured": float(distances(played(world, subject, rng)).max()), "bound": 1.0}


def optimism(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C3: how far V* exceeds V_k at worst, over all states, steps and episodes."""
    run = played(world, subject, rng)
    H, S = run.model.H, run.model.S
    # the optimal values err by H backups; the learner's are compared as they are
    return {"measured": float((optimal_value(run.model) - run.log.V[:, :H]).max()), "bound": 0.0,
            "slack": 4 * H * H * higham(S + len(run.theta) + 8)}


def regret_by_widths(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C4: regret against the widths met on the way and the deviation of a martingale."""
    run = played(world, subject, rng)
    bound = widths(run).sum() + _azuma(run)
    return {"measured": float(run.gaps.sum()), "bound": float(bound), "bound over KH": bound / run.log.path[:, 1:].size}


def surplus(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C4-step: on the event, V_{k,h} - r - P V_{k,h+1} at the states of the run against 0 and 2 radius ||x||."""
    run = played(world, subject, rng)
    if (distances(run) > 1 - MARGIN).any():
        return {"measured": 0.0, "bound": 0.0}
    H, s = run.model.H, run.log.path[:, :-1]
    k, h = np.arange(len(s))[:, None], np.arange(H)
    over = run.log.V[k, h, s] - run.model.r[h, s, run.log.policy[k, h, s]] - (measured(run) * run.theta).sum(-1)
    width = 2 * run.log.radius[:, None] * _norms(run)
    # three sums of at most S + d + 3 terms, of values up to H
    slack = 3 * H * higham(run.model.S + len(run.theta) + 8)
    at = np.unravel_index(int((over - width).argmax()), over.shape)
    return worst([{"measured": float(over[at]), "bound": float(width[at]), "slack": slack},
                  {"measured": float(-over.min()), "bound": 0.0, "slack": slack}])


def growth(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C5: regret at the horizons."""
    return {"measured": np.cumsum(played(world, subject, rng).gaps)[np.array(HORIZONS) - 1]}


def growth_of_widths(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C5-widths: the sum of min(H, 2 radius ||x||) at the horizons."""
    return {"measured": np.cumsum(widths(played(world, subject, rng)).sum(1))[np.array(HORIZONS) - 1]}


def blocks(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C6 in rationals: M of the tabular base against lambda I + the sum of V V' over the visits of each pair."""
    _, S, A, _ = world["base"].shape
    base, V, lam = exact(unit_masses(S, A)), exact(world["V"]), rational(world["lam"])
    M, w = subject(base, V, world["s"], world["a"], world["z"], lam)
    want, right = exact(np.zeros(M.shape)), exact(np.zeros(len(M)))
    for i in range(len(M)):
        want[i, i] = want[i, i] + lam
    for v, s, a, z in zip(V, world["s"], world["a"], world["z"]):
        at = slice((s * A + a) * S, (s * A + a + 1) * S)
        want[at, at], right[at] = want[at, at] + v[:, None] * v, right[at] + v * v[z]
    return worst_of(*((abs(x - y), 0) for x, y in zip([*M.ravel(), *w], [*want.ravel(), *right])))


def constant_targets(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C7 in rationals: with V constant, M = lambda I + (sum of V^2) 1 1': nothing is learnt beside the sum of theta."""
    base, lam, n = exact(world["base"]), rational(world["lam"]), len(world["s"])
    V = exact(np.repeat(world["V"][:, :1], world["V"].shape[1], 1))
    M, _ = subject(base, V, world["s"], world["a"], world["z"], lam)
    total = sum(V[t, 0] * V[t, 0] for t in range(n))
    return worst_of(*((abs(M[i, j] - total - (lam if i == j else 0)), 0) for i, j in np.ndindex(M.shape)))


def class_kept(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C8: whether theta*, the last member, was ever left out."""
    _, log, _ = _class_played(world, subject, rng)
    return {"failed": bool((log.left[:, -1] == 0).any()), "members at the end": int(log.left[-1].sum())}


def class_optimism(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C8-optimism: where theta* is left, the member that is played is worth V*_1(s_1) at least."""
    model, log, thetas = _class_played(world, subject, rng)
    values = [optimal_value(LinearMixtureMDP(model.base, np.tile(t, (model.H, 1)), model.r, model.rho))[0]
              for t in thetas]
    there = log.left[:, -1] == 1
    short = [float(values[-1][s] - values[m][s]) for m, s in zip(log.member[there], log.path[there, 0])]
    # both values are H backups of S d terms up to H
    slack = 4 * model.H * model.H * higham(3 * model.S + model.d + 8)
    return {"measured": max([0.0, *short]), "bound": 0.0, "slack": slack}


def _opened(world: dict) -> tuple[Any, np.ndarray, np.ndarray]:
    """The model, its base and theta*."""
    if "model" in world:
        return world["model"], world["model"].base, world["model"].theta[0]
    S, A, d, H = world["sizes"]
    if d == 0:
        table = stationary_episodic(S, A, H)
        return table, unit_masses(S, A), table.P[0].ravel()
    model = linear_mixture(S, A, d, H)
    return model, model.base, model.theta[0]


def unit_masses(S: int, A: int) -> np.ndarray:
    """base (S A S, S, A, S): the mass 1 at z from (s, a), and nothing elsewhere."""
    return np.eye(S * A * S).reshape(S * A * S, S, A, S)


def played(world: dict, run: Callable, rng: np.random.Generator) -> Run:
    """One run in a world."""
    given, base, theta = _opened(world)
    model, chunks = to_episodic(given), []
    watch = Regret(model)

    def keep(first: int, log: Log) -> None:
        watch(first, log)
        chunks.append(Log(*(f.copy() for f in log)))

    bounds = None if isinstance(given, LinearMixtureMDP) else {"base": base}
    B = math.sqrt(model.S * model.A) if bounds else 1.0
    params = ucrl_vtr.theory(world["K"], DELTA, world.get("lam", 1.0), B)
    run(Episodes(given, rng, grant=("r",), bounds=bounds, watch=keep), params, np.random.default_rng(0))
    log = Log(*(np.concatenate(fields) for fields in zip(*chunks)))
    return Run(model, base, theta, params, log, watch.gaps)


def measured(run: Run) -> np.ndarray:
    """x (K, H, d), from the states of the log."""
    s, steps = run.log.path[:, :-1], np.arange(run.model.H)
    a = run.log.policy[np.arange(len(s))[:, None], steps, s]
    return np.einsum("khiz,khz->khi", run.base.transpose(1, 2, 0, 3)[s, a], run.log.V[:, 1:])


def distances(run: Run) -> np.ndarray:
    """||theta* - thetahat_k||_{M_k} over the radius (K,)."""
    x, lam = measured(run), run.params.lam * np.eye(len(run.theta))
    M = lam + np.cumsum(np.einsum("khi,khj->kij", x, x), 0)
    off = run.log.theta - run.theta
    return np.sqrt(np.einsum("ki,kij,kj->k", off, np.concatenate([lam[None], M[:-1]]), off)) / run.log.radius


def _norms(run: Run) -> np.ndarray:
    """||x_{k,h}||_{M_k^-1} (K, H)."""
    x = measured(run)
    return np.sqrt(np.maximum(np.einsum("khi,kij,khj->kh", x, run.log.inverse, x), 0.0))


def widths(run: Run) -> np.ndarray:
    """min(H, 2 radius_k ||x_{k,h}||_{M_k^-1}) (K, H)."""
    return np.minimum(run.model.H, 2 * run.log.radius[:, None] * _norms(run))


def _azuma(run: Run) -> float:
    H = run.model.H
    return H * math.sqrt(2 * run.params.K * H * math.log(1 / DELTA))


def _class_played(world: dict, run: Callable, rng: np.random.Generator
                  ) -> tuple[LinearMixtureMDP, ClassLog, np.ndarray]:
    model, chunks = linear_mixture(*world["sizes"]), []
    m = world["grid"]
    grid = np.array([[i, j, m - i - j] for i in range(m + 1) for j in range(m + 1 - i)]) / m
    thetas = np.concatenate([grid, model.theta[:1]])
    access = Episodes(model, rng, grant=("r",), bounds={"thetas": thetas},
                      watch=lambda first, log: chunks.append(ClassLog(*(f.copy() for f in log))))
    run(access, ucrl_vtr.theory(world["K"], DELTA), np.random.default_rng(0))
    return model, ClassLog(*(np.concatenate(fields) for fields in zip(*chunks))), thetas


def _check(name: str, kind: str, statement: str, source: str, status: str, entry: str, worlds: Any, measure: Callable,
           judge: Any, finding: str = "", **twins: str) -> Check:
    """A check whose saboteurs are twins by name, each with what is wrong with it."""
    claim = Claim("ucrl-vtr", name, kind, statement, source, status, finding)
    return Check(claim, entry, worlds, measure, judge, tuple(
        Saboteur(twin.replace("_", " "), why, subject=f"{TWINS}:{twin}") for twin, why in twins.items()))


LONG = MIX | {"K": HORIZONS[-1]}
CLASS = {"sizes": [5, 3, 3, 2], "grid": 2, "K": 6000}
HERE = "here delta = 0.1, base(5, 3, 3), H = 4, K = 400, and all unit masses of F(3, 2), H = 3, K = 60."
EVENT = "Where theta* is in every ellipsoid, surely: "
CHECKS = (
    _check("C1", "identity", "P V = <X_V, theta> for P = sum_i theta_i B_i, signed weights and any V.", "definition",
           "derived", "expected", mixtures, closure, Sure("EXACT", 80), other_theta="equal weights",
           moved_values="V of the next state"),
    _check("C2", "high-probability", "With probability 1 - delta, for all k at once: ||theta* - thetahat_k||_{M_k} <= "
           "(H/2) sqrt(ln(det M_k/lambda^d) + 2 ln(1/delta)) + sqrt(lambda) B; " + HERE,
           "self-normalised bound with V in [0, H]", "derived", "run", (MIX, TABLE), covered, HighProbability(DELTA),
           "Loose: from k = 2 on the 0.9-quantile of the largest distance is 0.067 and 0.22 of the radius over 400 "
           "runs, so that a radius 15 and 4.5 times smaller would do; at k = 1 it is ||theta*||, as thetahat = 0.",
           narrow="0.05 of the radius", pays_into_target="r + V(s') in place of V(s')"),
    _check("C3", "high-probability", "With probability 1 - delta: V_{k,h} >= V*_h everywhere, for all k, h at once; "
           + HERE, "optimism of line 5", "derived", "run", (MIX, TABLE), optimism, HighProbability(DELTA),
           narrow="0.05 of the radius", greedy="no bonus"),
    _check("C4", "high-probability", "With probability 1 - 2 delta: Regret(K) <= sum_{k,h} min(H, 2 radius_k "
           "||x_{k,h}||_{M_k^-1}) + H sqrt(2 K H ln(1/delta)), the sum along the run; here delta = 0.1, base(5, 3, 3), "
           "H = 4, K = 2000.", "regret decomposition", "derived", "run", (LONG,), regret_by_widths,
           HighProbability(2 * DELTA),
           "At K = 400 the bound exceeds KH, the largest regret there is.", blind="V = 0, hence no widths"),
    _check("C4-step", "bound", EVENT + "0 <= V_{k,h} - r - P V_{k,h+1} <= 2 radius_k ||x_{k,h}||_{M_k^-1} at each step "
           "of the run.", "proof of the regret bound", "derived", "run", learners, surplus, Sure("SEARCHED", 60),
           greedy="no bonus", generous="three times the bonus"),
    _check("C5", "rate", "Regret(K) = O(sqrt K) on base(5, 3, 3), H = 4, between K = 250 and 2000 (c = 1).",
           "Theorem 1; this instance", "checked", "run", (LONG,), growth,
           Rate(HORIZONS, np.sqrt, lambda T: T ** (2 / 3), n=100), never_updates="M = lambda I for ever"),
    _check("C5-widths", "rate", "The sum of min(H, 2 radius_k ||x_{k,h}||_{M_k^-1}) is O(sqrt K ln(K H)) there.",
           "elliptical potential; this instance", "derived", "run", (LONG,), growth_of_widths,
           Rate(HORIZONS, slow_root, lambda T: T ** (2 / 3) * np.log(4.0 * T), n=100),
           never_updates="M = lambda I for ever"),
    _check("C6", "identity", "Tabular base, d = S A S, B_(s,a,z) the unit mass at z from (s, a): M is block diagonal, "
           "with blocks lambda I + sum V V' over the visits of (s, a), and w collects V V(s') there.", "definition",
           "derived", "regression", moves, blocks, Sure("EXACT", 40), other_pair="X of another pair",
           no_regulariser="lambda = 0"),
    _check("C7", "identity", "Mixtures of laws: with V constant in the state, M = lambda I + (sum of V^2) 1 1', so "
           "that no direction orthogonal to 1 is ever learnt.", "section on why values are the targets", "derived",
           "regression", moves, constant_targets, Sure("EXACT", 60), other_values="V that is not constant",
           no_regulariser="lambda = 0"),
    _check("C8", "high-probability", "A finite class of N: with probability 1 - delta, theta* is left for all k at "
           "once, with the width 8 (H/2)^2 ln(2 N/delta); here delta = 0.1, N = 7, base(5, 3, 3), H = 2, K = 6000.",
           "confidence sets of a general class, at covering scale 0", "recalled", "run_class", (CLASS,), class_kept,
           HighProbability(DELTA), "Two of seven members are ruled out by then, none before K = 4000.",
           narrow_class="0.05 of its root"),
    _check("C8-optimism", "bound", "Where theta* is left, the member that is played is worth V*_1(s_1) at least; same "
           "instance.", "line 10", "derived", "run_class", (CLASS,), class_optimism, Sure("SEARCHED"),
           pessimist="the member of least value"),
)
