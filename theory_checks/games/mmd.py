"""MMD held to its claims: its factor at every step of searched games, its fixed points, and search at decision time.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from hypothesis import strategies as st

from algorithms.games import mmd
from algorithms.games.mmd import Params
from mdpkit.access import Exact
from mdpkit.instances.games import biased_rps, biased_rps_equilibrium
from mdpkit.losses import log_softmax
from mdpkit.measure.exploitability import duality_gap
from mdpkit.models.games import MarkovGame
from mdpkit.octets import law, normalised, octets
from mdpkit.records import Result
from mdpkit.solve.regularised_game import solve
from theory_checks.engine.claims import Check, Claim, Saboteur, marked
from theory_checks.engine.judges import HighProbability, Sure
from theory_checks.engine.rows import worst
from theory_checks.games import _mmd_plays as plays
from theory_checks.games.nash_md import divergence, rounding, worst_of

TWINS = "theory_checks.games._mmd_twins"
ALPHAS = (0.03, 0.1, 0.3, 1.0, 3.0)
SHARES = (1.0, 1.0, 0.5, 0.1)           # of the largest step
WEIGHTS = (1, 1, 2, 8, 64)              # of magnets and starts, before they are normalised
BLOCKS = tuple({"alpha": alpha, "n": n, "m": m} for alpha, n, m in (
    (0.05, 2, 2), (0.1, 3, 3), (0.2, 2, 5), (0.3, 8, 8), (0.5, 5, 3), (1.0, 2, 2), (1.0, 4, 4), (3.0, 3, 7)))
BLOCK = 128                             # games: 1024 in all
STEPS = 30
PHASES = ((1, 0.134390), (5, 0.0300499), (10, 0.00177283), (20, 1.23478e-05), (40, 1.08523e-09))


# ------------------------------------------------------------------------------------------ worlds

REFERENCE = np.array([[0.0, 2.0, -1.0], [-1.0, 0.0, 1.0], [1.0, -1.0, 0.0]])


def stack(A: np.ndarray) -> MarkovGame:
    """Zero-sum games A (S, n, m), each of them a state."""
    S, n, m = A.shape
    P = np.zeros((1, S, n, m, S))
    P[..., 0] = 1.0
    return MarkovGame(P, np.stack([A, -A])[:, None], np.full(S, 1 / S))


@st.composite
def games(draw: st.DrawFn, sharp: bool) -> dict[str, Any]:
    """Any zero-sum game of up to 5 by 5, magnets, start, alpha, and a share of the largest step, by L or sharper."""
    n, m, top = draw(st.integers(2, 5)), draw(st.integers(2, 5)), draw(st.sampled_from([1, 8]))
    A = ((octets(draw, n, m) + top) % (2 * top + 1) - top) / top
    L = max(mmd.curvature(A) if sharp else float(np.abs(A).max()), 0.125)
    magnet, start = ([law(draw, 1, k, weights=WEIGHTS) for k in (n, m)] for _ in range(2))
    alpha = draw(st.sampled_from(ALPHAS))
    if draw(st.booleans()):                       # near the equilibrium the step does most harm
        log_x, log_y, _ = qre(A, alpha, *magnet)
        start = [normalised(np.exp(0.9 * u + 0.1 * np.log(v)) + 2.0**-40) for u, v in zip((log_x, log_y), start)]
    return {"A": A, "L": L, "magnet": magnet, "start": start, "alpha": alpha, "share": draw(st.sampled_from(SHARES))}


by_size, by_curvature = partial(games, False), partial(games, True)


@st.composite
def cycles(draw: st.DrawFn) -> dict[str, Any]:
    """Rock, paper, scissors with prizes, whose equilibrium is known; alpha."""
    prizes = [draw(st.integers(1, 8)) / 8 for _ in range(3)]
    return {"prizes": prizes, "alpha": draw(st.sampled_from(ALPHAS[2:])), "start": [law(draw, 1, 3, least=1)] * 2}


@st.composite
def teams(draw: st.DrawFn) -> dict[str, Any]:
    """A common payoff in [0, 1] of up to 4 by 4, a pair of policies, and a step, 4/R and more among them."""
    n, m = draw(st.integers(2, 4)), draw(st.integers(2, 4))
    A = octets(draw, n, m) % 17 / 16
    return {"A": A, "start": [law(draw, 1, k, weights=WEIGHTS) for k in (n, m)],
            "eta": draw(st.sampled_from([0.01, 0.1, 0.5, 1.0, 2.0, 4.0]))}


# ---------------------------------------------------------------------------------------- measures

def qre(A: np.ndarray, alpha: float, rho_x: np.ndarray, rho_y: np.ndarray, guess: np.ndarray | None = None,
        ) -> tuple[np.ndarray, np.ndarray, float]:
    """log x*, log y* and s, which bounds how far they are in l1, and the error of either KL in units of 1 + span.

    ``guess``: both log-laws, from where Newton steps begin; whatever it is, s is proven.
    With a residual (r, r') of the two conditions KL(z, z*) + KL(z*, z) = <r, x* - x> + <r', y* - y>, as A is skew
    between the players; by Pinsker's inequality that is at least the sum of the squares of the l1 distances.
    """
    n, rho = len(A), np.log(np.concatenate([np.ravel(rho_x), np.ravel(rho_y)]))
    M = np.zeros((len(rho), len(rho)))
    M[:n, n:], M[n:, :n] = A / alpha, -A.T / alpha

    def residual(z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        logits, B = rho + M @ np.exp(z), M * np.exp(z)
        answer = np.concatenate([log_softmax(logits[:n]), log_softmax(logits[n:])])
        mean = np.zeros(M.shape)
        mean[:n], mean[n:] = np.exp(answer[:n]) @ B[:n], np.exp(answer[n:]) @ B[n:]
        return z - answer, np.eye(len(z)) - B + mean

    def size(r: np.ndarray) -> float:
        return float(np.hypot(np.ptp(r[:n]), np.ptp(r[n:])))

    if guess is None:
        found = solve(A, alpha, np.ravel(rho_x), np.ravel(rho_y))
        guess = np.concatenate([found.log_x, found.log_y])
    z = guess
    for _ in range(6):
        r, slope = residual(z)
        better = z - np.linalg.solve(slope, r)
        better = np.concatenate([log_softmax(better[:n]), log_softmax(better[n:])])
        if not size(residual(better)[0]) < size(r):
            break
        z = better
    return z[:n], z[n:], size(residual(z)[0]) + 2 * rounding(len(z), z, rho, M)


def paths(result: Result) -> tuple[np.ndarray, np.ndarray]:
    """log x_0..log x_T (T+1, S, n) and log y_0..log y_T (T+1, S, m)."""
    assert result.trace is not None
    x, y = (np.concatenate([result.trace.info[k], np.log(z)[None]]) for k, z in zip(("log_x", "log_y"), result.output))
    return x, y


def distances(A: np.ndarray, params: Params, log_x: np.ndarray, log_y: np.ndarray, magnet: Any,
              guess: np.ndarray | None = None) -> tuple[Any, float]:
    """D(z*, z_t) of one game, and what rounding does to it in a step."""
    x, y, s = qre(A, params.alpha, magnet[0], magnet[1], guess)
    span = max(float(np.ptp(u - logs, axis=-1).max()) for u, logs in ((x, log_x), (y, log_y)))
    one = rounding(sum(A.shape), x, y, log_x, log_y, params.eta * np.abs(A).max())
    return divergence(x, log_x) + divergence(y, log_y), 4 * s * (1 + span) + 8 * one


@marked
def one_step(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C1: (1 + eta alpha) D(z*, z_{t+1}) against D(z*, z_t) for six steps."""
    A, alpha = world["A"], world["alpha"]
    params = Params(world["share"] * alpha / world["L"] ** 2, alpha, 6, start=world["start"], magnet=world["magnet"])
    log_x, log_y = (z[:, 0] for z in paths(subject(Exact(MarkovGame.matrix(A)), params, rng)))
    D, slack = distances(A, params, log_x, log_y, world["magnet"])
    grown = 1 + params.eta * alpha
    return worst_of(grown * D[1:], D[:-1], (1 + grown) * slack)


@marked
def every_game(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C1-many: the same for all steps of each game of a block, uniform payoffs and payoffs of 1 and -1 in turn."""
    rows, n, m, alpha = [], world["n"], world["m"], world["alpha"]
    A = np.where((np.arange(BLOCK) % 2 == 0)[:, None, None], rng.uniform(-1, 1, (BLOCK, n, m)),
                 rng.integers(0, 2, (BLOCK, n, m)) * 2.0 - 1.0)
    A /= np.abs(A).max((1, 2), keepdims=True)
    magnet, start = ([rng.dirichlet(np.full(k, 2.0), BLOCK) for k in (n, m)] for _ in range(2))
    params = Params(alpha, alpha, STEPS, start=start, magnet=magnet)             # L = 1
    log_x, log_y = paths(subject(Exact(stack(A)), params, rng))
    grown, far = 1 + alpha * alpha, math.ceil(40 / math.log1p(alpha * alpha))
    far = far if far < 5000 else 1                       # steps to a guess, where they are not too many
    near = mmd.run(Exact(stack(A)), Params(alpha, alpha, far, magnet=magnet, every=far), rng).output
    for i in range(BLOCK):
        guess = np.log(np.concatenate([near[0][i], near[1][i]])) if far > 1 else None
        D, slack = distances(A[i], params, log_x[:, i], log_y[:, i], [rho[i] for rho in magnet], guess)
        rows.append(worst_of(grown * D[1:], D[:-1], (1 + grown) * slack))
    return {**worst(rows), "examples": BLOCK}


@marked
def fixed(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C2: span(log z' - log z) (1 + eta alpha)/eta against span(q - alpha log z/rho), for each player."""
    A, alpha = world["A"], world["alpha"]
    eta = world["share"] * alpha / world["L"] ** 2
    params, rows = Params(eta, alpha, 1, start=world["start"], magnet=world["magnet"]), []
    (x, u), (y, v) = ((z[0, 0], z[1, 0]) for z in paths(subject(Exact(MarkovGame.matrix(A)), params, rng)))
    one = rounding(sum(A.shape), x, y, u, v, eta * np.abs(A).max(), np.log(world["magnet"][0]).min(),
                   np.log(world["magnet"][1]).min())
    for old, new, q, rho in ((x, u, np.einsum("ij,j->i", A, np.exp(y)), world["magnet"][0]),
                             (y, v, -np.einsum("ij,i->j", A, np.exp(x)), world["magnet"][1])):
        moved, left = np.ptp(new - old) * (1 + eta * alpha) / eta, np.ptp(q - alpha * (old - np.log(rho[0])))
        rows.append({"measured": float(abs(moved - left)), "bound": 0.0, "slack": 4 * (1 + alpha + 1 / eta) * one})
    return worst(rows)


def phases(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C3: exploitability after the listed phases of 200 steps against its values, and 1e-8 after 45."""
    result = subject(Exact(MarkovGame.matrix(REFERENCE)), Params(0.125, 0.5, 9000, K=200, every=200), rng)
    x, y = (np.exp(z[:, 0]) for z in paths(result))
    gap = duality_gap(REFERENCE, x, y)
    rows = [{"measured": float(abs(gap[k] / known - 1)), "bound": 1e-5} for k, known in PHASES]        # six digits
    return worst([*rows, {"measured": float(gap[45]), "bound": 1e-8}])


def proximal(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C3-prox: KL(N, z) + KL(z, rho) against KL(N, rho), for each phase from rho to z; both players together."""
    A, alpha = biased_rps(*world["prizes"]).r[0, 0, 0], world["alpha"]
    K = math.ceil(80 / math.log1p(alpha * alpha))        # logs come nearer by sqrt(1 + alpha^2) a step: by e^40 in all
    best = np.log(biased_rps_equilibrium(*world["prizes"]))
    params = Params(alpha, alpha, 5 * K, K=K, start=world["start"], magnet=world["start"], every=K)
    logs = [z[:, 0] for z in paths(subject(Exact(MarkovGame.matrix(A)), params, rng))]
    far = divergence(best, logs[0]) + divergence(best, logs[1])
    moved = divergence(logs[0][1:], logs[0][:-1]) + divergence(logs[1][1:], logs[1][:-1])
    left = [q - alpha * (z[1:] - z[:-1]) for z, q in zip(logs, (np.einsum("ij,tj->ti", A, np.exp(logs[1][1:])),
                                                               -np.einsum("ij,ti->tj", A, np.exp(logs[0][1:]))))]
    off = max(float(np.ptp(r, axis=-1).max()) for r in left)
    one = rounding(3, *logs, best, 1 / alpha)            # of a step; they add up to 1 + 1/alpha^2 of it
    return worst([{"measured": off, "bound": 0.0, "slack": 16 * (1 + 1 / alpha ** 2) * one},
                  worst_of(far[1:] + moved, far[:-1], 2 * off / alpha + 8 * one)])


def gain(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C4: (1/eta - R/4) (||x'-x||^2 + ||y'-y||^2) against u(x', y') - u(x, y)."""
    A, eta = world["A"], world["eta"]
    (x, u), (y, v) = (np.exp(z[:, 0]) for z in paths(subject(
        Exact(MarkovGame.matrix(A, A)), Params(eta, 0.0, 1, start=world["start"]), rng)))
    much = mmd.improvement(float(np.ptp(A)), eta)
    won = float(np.einsum("i,ij,j->", u, A, v) - np.einsum("i,ij,j->", x, A, y))
    # laws are off by `one` in l1, which the square of a distance of at most 2 takes four times
    one = rounding(sum(A.shape), np.log(x), np.log(y), eta)
    return {"measured": much * float(np.abs(u - x).sum() ** 2 + np.abs(v - y).sum() ** 2), "bound": won,
            "slack": (8 * abs(much) + 4) * one}


# -------------------------------------------------------------------------------------------- checks

def _check(name: str, kind: str, statement: str, source: str, status: str, entry: str, worlds: Any, measure: Callable,
           judge: Any, *broken: Saboteur, finding: str = "", **twins: str) -> Check:
    """A check whose saboteurs are worlds, and twins by name, each with what is wrong with it."""
    claim = Claim("mmd", name, kind, statement, source, status, finding)
    return Check(claim, entry, worlds, measure, judge, (*broken, *(
        Saboteur(twin.replace("_", " "), why, subject=f"{TWINS}:{twin}") for twin, why in twins.items())))


_FREE = "alpha = 0: mirror descent"
_BOLD = Saboteur("bold", "eta = 20 alpha/L^2", world={"share": 20.0})

CHECKS = (
    _check("C1", "linear-rate", "(1 + eta alpha) D(z*, z_{t+1}) <= D(z*, z_t) for any zero-sum game, magnets, z_t of "
           "full support and 0 < eta <= alpha/L^2, L = max |A|.", "Theorem 3.4 (MMD), entropy", "checked", "run",
           by_size, one_step, Sure("SEARCHED", 80), _BOLD, free=_FREE, unrooted="no root of the magnet's share"),
    _check("C1-sharp", "linear-rate", "The same with L = max |A_ik - A_il - A_jk + A_jl|/4 <= max |A|.",
           "Theorem 3.4 (MMD), sharper constant", "derived", "run", by_curvature, one_step, Sure("SEARCHED", 80),
           _BOLD, free=_FREE, unrooted="no root of the magnet's share"),
    _check("C1-many", "linear-rate", "(1 + eta alpha) D(z*, z_{t+1}) <= D(z*, z_t) at each of 30 steps of 1024 random "
           "games of 2 to 8 actions, max |A| = 1, eta = alpha from .05 to 3.", "Theorem 3.4 (MMD), entropy", "checked",
           "run", BLOCKS, every_game, Sure("SEARCHED"), free=_FREE, faster="20 times the step"),
    _check("C2", "identity", "span(log z' - log z) = eta/(1 + eta alpha) span(q - alpha log(z/rho)) for each player: "
           "fixed points of MMD, for whatever eta, are quantal response equilibria, and conversely.",
           "fixed points", "derived", "run", by_size, fixed, Sure("SEARCHED", 80), doubled="alpha doubled",
           unrooted="no root of the magnet's share", in_turn="y sees the new x"),
    _check("C3", "monotone", "With a magnet that moves every 200 steps, alpha = .5, eta = .125, exploitability after "
           "1, 5, 10, 20, 40 phases is .134390, .0300499, .00177283, 1.23478e-5, 1.08523e-9, and below 1e-8 after 45.",
           "moving magnet, this instance", "checked", "run", ({},), phases, Sure("SEARCHED"),
           still="the magnet stays", seldom="a fifth of the phases"),
    _check("C3-prox", "monotone", "Phases that end at the equilibrium of their magnet rho are proximal steps: "
           "KL(N, z) + KL(z, rho) <= KL(N, rho) for a Nash equilibrium N, summed over both players.",
           "moving magnet", "derived", "run", cycles, proximal, Sure("SEARCHED", 60), still="the magnet stays",
           free=_FREE),
    _check("C4", "bound", "With common payoffs u(x, y) of range R one step of MD by both players at once has "
           "u(x', y') - u(x, y) >= (1/eta - R/4) (||x'-x||_1^2 + ||y'-y||_1^2) for every eta: no loss at eta <= 4/R.",
           "improvement by small steps", "derived", "run", teams, gain, Sure("SEARCHED", 100),
           best_response="both play best responses", twice="twice the step", downhill="y goes down"),
    _check("C5", "bound", "In signalling games with payoffs in [0, 1] a step of MD at all infostates at once gains at "
           "least 1 - sqrt(eta (e^eta - 1))/4 of its first-order gain; the payoff does not fall at eta <= 2.",
           "improvement by small steps", "derived", "run_tree", plays.signalling_games, plays.together,
           Sure("SEARCHED", 100),
           half="half the step", deaf="player 2 stays", huge="500 times the step"),
    _check("C6", "identity", "Agents that search at each infostate that is reached, from the blueprint and its "
           "posterior, play the policy of the global update: law by law, and in payoff.", "update equivalence",
           "checked", "search", plays.equivalences, plays.equivalent, Sure("SEARCHED", 80),
           ahead="player 2's posterior is that of the searched player 1", prior="no posterior: player 1 is not heard"),
    _check("C6-rollouts", "high-probability", "With n rollouts an action all 24 estimates of q are within "
           "sqrt(log(48/delta)/(2n)), probability 1 - delta; random signalling games, n = 2000, delta = .05.",
           "Hoeffding's inequality", "derived", "rollouts", ({"n": 2000, "delta": 0.05},), plays.sampled,
           HighProbability(0.05), few="a sixteenth of the rollouts", uniform="the others' replies are uniform"),
    _check("C7", "identity", "Kuhn poker, uniform magnet: the last iterate is where alpha log pi - q is constant at "
           "each infostate, to 1e-9, with exploitability .224819753056 at alpha = .5 and .037790045953 at alpha = .1.",
           "sequential zero-sum games, this instance", "checked", "run_tree", plays.KUHN, plays.settled,
           Sure("SEARCHED"), free_tree=_FREE,
           counterfactual="q times the probability that the others let h be reached"),
    _check("C7-annealed", "identity", "With alpha_t = 1/sqrt t and eta_t = .5/sqrt t exploitability is .328306, "
           ".096026, .030553, .008832 at t = 10, 100, 1000, 5000.", "sequential zero-sum games, this instance",
           "checked", "run_tree", ({},), plays.annealed, Sure("SEARCHED"), free_tree=_FREE,
           constant="alpha = .5 throughout"),
)
