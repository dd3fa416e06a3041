"""MWU held to its claims: regret on any losses, averages and regrets, self-play, and what last iterates do."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from hypothesis import strategies as st

from algorithms.games import mwu
from algorithms.games.mwu import Params
from mdpkit.access import Exact
from mdpkit.models.games import MarkovGame
from mdpkit.octets import law, octets
from mdpkit.rational import exact
from mdpkit.solve.rounding import higham
from theory_checks.engine.claims import Check, Claim, Saboteur
from theory_checks.engine.judges import Sure
from theory_checks.engine.rows import exact_row, worst

TWINS = "theory_checks.games._mwu_twins"
PENNIES: dict[str, Any] = {"eta": 0.1, "x": [0.6, 0.4], "y": [0.55, 0.45], "T": 20_000}
STEPS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.0)


def formula_game(n: int, m: int) -> np.ndarray:
    """M[i, j] = ((3 i + 5 j + i j) mod 7)/6, indices from 0."""
    i, j = np.ogrid[:n, :m]
    return (3 * i + 5 * j + i * j) % 7 / 6


def game(M: np.ndarray) -> Exact:
    """Access to the game in which the columns get M from the rows."""
    return Exact(MarkovGame.matrix(-np.asarray(M, float)))


# ------------------------------------------------------------------------------------------ worlds

@st.composite
def sequences(draw: st.DrawFn) -> dict[str, Any]:
    """Losses in sixteenths: any, a leader that always trips, or one round for ever."""
    T, A = draw(st.sampled_from([1, 2, 3, 5, 8, 16, 40])), draw(st.integers(1, 5))
    kind = draw(st.sampled_from(["any", "binary", "trap", "constant"]))
    table = octets(draw, T, A) % 17 / 16
    if kind == "binary":
        table = np.round(table)
    if kind == "constant":
        table = np.tile(np.round(table[:1]), (T, 1))
    if kind == "trap" and A > 1:
        table = trap(T, A)
    return {"losses": table, "eta": draw(st.sampled_from(STEPS)), "scale": 1.0,
            "size": draw(st.sampled_from([1.0, 0.25, 4.0]))}


def trap(T: int, A: int) -> np.ndarray:
    """The first of two actions pays half, then the leader of both pays 1 each round; the others always pay 1."""
    losses = np.ones((T, A))
    losses[0, :2] = (0.5, 0.0)
    losses[1:, 0], losses[1:, 1] = np.arange(1, T) % 2 == 0, np.arange(1, T) % 2
    return losses


@st.composite
def _games(draw: st.DrawFn, T: int) -> dict[str, Any]:
    """Up to four by four in sixteenths, and a step up to 1/4."""
    n, m = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    return {"M": octets(draw, n, m) % 17 / 16, "eta": draw(st.sampled_from([0.05, 0.1, 0.2, 0.25])), "T": T}


games, long_games = partial(_games, 400), partial(_games, 1500)


@st.composite
def plays(draw: st.DrawFn) -> dict[str, Any]:
    """A game, and anything that two learners may have played."""
    n, m, T = draw(st.integers(1, 4)), draw(st.integers(1, 4)), draw(st.integers(1, 6))
    return {"M": octets(draw, n, m) % 17 / 16, "x": law(draw, T, n), "y": law(draw, T, m)}


# ---------------------------------------------------------------------------------------- measures

def regret(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C1: the regret, against ln A/eta + eta T/8."""
    losses, eta = world["losses"] * world["scale"], world["eta"]
    return _regret(losses, subject(losses, eta), eta, mwu.regret_bound(losses.shape[1], eta, len(losses)))


def tuned(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C1-tuned: the same at the step of theory, against sqrt(T ln A/2)."""
    T, A = world["T"], world["A"]
    losses = trap(T, A) if world["kind"] == "trap" else 1.0 * (rng.random((T, A)) < 0.5)
    eta = mwu.theory(T, A).eta
    return _regret(world["scale"] * losses, subject(world["scale"] * losses, eta), eta,
                   math.sqrt(T * math.log(A) / 2))


def second_order(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C1-second: the same, against ln A/eta + (eta/2) sum <p, l^2>, for losses up to 4."""
    losses, eta = world["losses"] * world["size"], world["eta"]
    p = subject(losses, eta)
    return _regret(losses, p, eta, math.log(losses.shape[1]) / eta + eta / 2 * float((p * losses * losses).sum()))


def _regret(losses: np.ndarray, p: np.ndarray, eta: float, bound: float) -> dict:
    T, A = losses.shape
    # exponents are eta L <= eta T top, and a p errs by units of its exponent; T A terms are added
    top = float(np.abs(losses).max())
    slack = higham(T * A + 64) * T * (1 + top) * (1 + top) * (1 + eta * T * top)
    return {"measured": float((p * losses).sum() - losses.sum(0).min()), "bound": bound, "slack": slack}


def averaged(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C2: the gap as it is defined, of the averages, and (R_x + R_y)/T, both against the gap returned."""
    M, x, y = (exact(world[k]) for k in ("M", "x", "y"))
    got, R_x, R_y = subject(M, x, y)
    own = mwu.gap(M, x.sum(0) / len(x), y.sum(0) / len(y))
    return worst([exact_row(abs(got - (R_x + R_y) / len(x)), 0), exact_row(abs(got - own), 0), exact_row(0, own)])


def own_regrets(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C3: R_x and R_y of MWU, each against its bound, at every t up to T."""
    M, eta = world["M"], world["eta"]
    R_x, R_y, slack = _regrets(M, eta, subject(game(M), Params(eta, world["T"]), rng).trace)
    t = np.arange(1, len(R_x) + 1)
    return worst({"measured": float(R[k]), "bound": float(bound[k]), "slack": slack}
                 for R, A in ((R_x, M.shape[0]), (R_y, M.shape[1])) for bound in [mwu.regret_bound(A, eta, t)]
                 for k in [int((R - bound).argmax())])


def joint_regret(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C3-optimistic: the largest R_x + R_y at any t, against (ln n + ln m)/eta."""
    M, eta = world["M"], world["eta"]
    R_x, R_y, slack = _regrets(M, eta, subject(game(M), Params(eta, world["T"]), rng).trace)
    return {"measured": float((R_x + R_y).max()), "bound": math.log(M.size) / eta, "slack": slack}


def _regrets(M: np.ndarray, eta: float, trace: Any) -> tuple[np.ndarray, np.ndarray, float]:
    """R_x and R_y (T,) after each round, and what their rounding may be."""
    x, y = trace.policies[trace.index], trace.info["y"]
    losses, gains = np.einsum("ij,tj->ti", M, y), np.einsum("ij,ti->tj", M, x)
    paid = np.cumsum((x * losses).sum(1))
    T = len(x)
    # an exponent is at most eta T, each play errs by units of it, and T of them are added
    return (paid - np.cumsum(losses, 0).min(1), np.cumsum(gains, 0).max(1) - paid,
            higham(T + 64) * T + higham(64) * T * (1 + eta * T))


def outward(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C4: KL at every step up to 5000, beyond rounding; the gap of the last pair and of the average."""
    x, y, average, D, slack = _pennies(world, subject, rng)
    k = int((D[:5000] - D[1:5001]).argmax())
    gaps = np.maximum(x, 1 - x) - np.minimum(y, 1 - y)
    pairs = (float(D[k]) + slack, float(D[k + 1])), (3.0, float(D[5000])), (0.985, float(gaps[-1])), (average, 0.005)
    return worst({"measured": a, "bound": b} for a, b in pairs)


def inward(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C4-optimistic: the gap of x_t, y_t at four t, to the digits told."""
    x, y, average, _, _ = _pennies(world, subject, rng)
    gaps = np.maximum(x, 1 - x) - np.minimum(y, 1 - y)
    told = [{"measured": abs(float(gaps[t]) - value), "bound": half}
            for t, value, half in ((0, 0.15, 1e-12), (1000, 0.0356, 5e-5), (5000, 3.04e-4, 5e-7))]
    return worst([*told, {"measured": float(gaps[19_999]), "bound": 1e-11}, {"measured": average, "bound": 2e-4}])


def decay(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C4-rate: the mean fall of log |(u, v)| a step, t = 5000 to 15000, over log cos(asin(eta)/2)."""
    result = subject(game(np.eye(2)), Params(world["eta"], 15_001, world["x"], world["y"]), rng)
    log_x, log_y = result.trace.info["log_x"], result.trace.info["log_y"]
    size = np.log(np.hypot(log_x[:, 0] - log_x[:, 1], log_y[:, 0] - log_y[:, 1]))
    rate = math.log(math.cos(math.asin(world["eta"]) / 2))
    return {"measured": abs(float(size[15_000] - size[5000]) / 1e4 / rate - 1), "bound": 1e-3}


def slow_last(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C5: at T = 1000 the last gap is above .199 and the average one below .0198."""
    M = np.array(world["M"])
    result = subject(game(M), Params(0.1, 1000), rng)
    last = mwu.gap(M, result.trace.policies[-1], result.trace.info["y"][-1])
    return worst([{"measured": 0.199, "bound": float(last)},
                  {"measured": float(mwu.gap(M, *result.output)), "bound": 0.0198}])


def _pennies(world: dict, subject: Callable, rng: np.random.Generator) -> tuple[Any, ...]:
    """Chances of the first action (T,), the gap of the averages, the KLs from equilibrium, and their rounding."""
    result = subject(game(np.eye(2)), Params(world["eta"], world["T"], world["x"], world["y"]), rng)
    log_x, log_y = result.trace.info["log_x"], result.trace.info["log_y"]
    D = -0.5 * (log_x.sum(1) + log_y.sum(1)) - math.log(4)
    x, y = np.exp(log_x[:, 0]), np.exp(log_y[:, 0])
    average = float(mwu.gap(np.eye(2), *result.output))
    # sums of t losses below t: each of two exponents errs by eta t u a step taken, those of D by units of D
    return x, y, average, D, higham(16) * (1 + 2 * world["eta"] * 5000 + float(D[:5001].max()))


# -------------------------------------------------------------------------------------------- checks

def _check(name: str, kind: str, statement: str, source: str, status: str, entry: str, worlds: Any, measure: Callable,
           judge: Any, *broken: Saboteur, finding: str = "", **twins: str) -> Check:
    """A check whose saboteurs are worlds, and twins by name, each with what is wrong with it."""
    claim = Claim("mwu", name, kind, statement, source, status, finding)
    return Check(claim, entry, worlds, measure, judge, (*broken, *(
        Saboteur(twin.replace("_", " "), why, subject=f"{TWINS}:{twin}") for twin, why in twins.items())))


_RANGE = Saboteur("range 3", "an assumption broken: losses in [0, 3]", world={"scale": 3.0})
_STILL = Saboteur("at equilibrium", "it starts where nothing moves", world={"x": [0.5, 0.5], "y": [0.5, 0.5]})
_AT = "M = I_2, x_1 = (.6, .4), y_1 = (.55, .45), eta = .1: "

CHECKS = (
    _check("C1", "bound", "sum <p_t, l_t> - min_a sum l_t(a) <= ln A/eta + eta T/8, for all l_t in [0, 1]^A, eta > 0.",
           "Cesa-Bianchi and Lugosi 2006, theorem 2.2 (Freund and Schapire 1997)", "checked", "hedge", sequences,
           regret, Sure("SEARCHED", 200), _RANGE, leader="follow the leader", delayed="the last loss is not known yet"),
    _check("C1-tuned", "bound", "With eta = sqrt(8 ln A/T) the regret is at most sqrt(T ln A/2).",
           "Cesa-Bianchi and Lugosi 2006, theorem 2.2", "checked", "hedge",
           ({"kind": "coins", "A": 16, "T": 4000, "scale": 1.0}, {"kind": "trap", "A": 2, "T": 1000, "scale": 1.0}),
           tuned, Sure(), leader="follow the leader: regret T/2 where leaders trip", untuned="eta without T"),
    _check("C1-second", "bound", "For l_t >= 0 of any size the regret is at most ln A/eta + (eta/2) sum <p_t, l_t^2>.",
           "second-order bound, exp(-z) <= 1 - z + z^2/2", "checked", "hedge", sequences, second_order,
           Sure("SEARCHED", 200), leader="follow the leader", delayed="the last loss is not known yet"),
    _check("C2", "identity", "gap of the averages = (R_x + R_y)/T >= 0, for any plays of any two learners.",
           "Freund and Schapire 1999", "checked", "certificate", plays, averaged, Sure("EXACT", 150),
           last_pair="the gap of the last iterates", every_round="regret against each round's best action",
           in_turn="x is charged for the y of the round before"),
    _check("C3", "bound", "MWU against itself, at every t up to 400: R_x <= ln n/eta + eta t/8, and R_y with m.",
           "C1, the other player being the environment", "checked", "run", games, own_regrets, Sure("SEARCHED", 100),
           delayed_run="neither player knows the last round yet", undersized="eta/8"),
    _check("C3-optimistic", "bound", "OMWU against itself, eta <= 1/4: R_x + R_y <= (ln n + ln m)/eta at every t, so "
           "that the average gap is O(1/T); here up to t = 1500.", "Rakhlin and Sridharan 2013, Syrgkanis et al. 2015 "
           "(regret bounded by variation in utilities)", "checked", "run_optimistic", long_games, joint_regret,
           Sure("SEARCHED", 150), Saboteur("eta = 4", "an assumption broken: the step is 4", world={"eta": 4.0}),
           plain="MWU", delayed_run="neither player knows the last round yet"),
    _check("C4", "separation", _AT + "the sum of KL(x*||x_t) and KL(y*||y_t) rises at each of the first 5000 steps of "
           "MWU, to above 3; at t = 19999 the gap of (x_t, y_t) is above .985, that of the averages below .005.",
           "Bailey and Piliouras 2018, this instance", "checked", "run", (PENNIES,), outward, Sure(), _STILL,
           finding="The gap of the last iterate does not tend to 1: whenever a player changes sides, with the other "
                   "near a vertex, it falls to 1/2 (.50021 at t = 14007, and below .9 at 27 % of the rounds from "
                   "10000 on). 1 is its upper limit, and the value at most rounds.",
           optimistic="OMWU"),
    _check("C4-optimistic", "separation", _AT + "OMWU's gap of (x_t, y_t) is .15, .0356 and 3.04e-4 at t = 0, 1000 and "
           "5000 and below 1e-11 at t = 19999, that of the averages below 2e-4.",
           "Daskalakis and Panageas 2019, this instance", "checked", "run_optimistic", (PENNIES,), inward, Sure(),
           _STILL, finding="At t = 19999 the gap is 1.8143e-12 (200 bits). 2.0e-12, as once computed, is rounding: "
                    "sums of 10^4 carry 2e-12.",
           plain="MWU"),
    _check("C4-rate", "linear-rate", "On M = I_2 the log-odds of OMWU shrink by cos(asin(eta)/2) a step near the "
           "equilibrium (and grow by sqrt(1 + eta^2/4) under MWU): within 0.1 % over t = 5000..15000 at eta = .1.",
           "linearised: z' = z + (i eta/2)(2 z - z_before)", "derived", "run_optimistic", (PENNIES,), decay, Sure(),
           plain="MWU", eager="the last loss counts three times"),
    _check("C5", "separation", "M[i, j] = ((3i + 5j + ij) mod 7)/6, 3 by 4, eta = .1: at T = 1000 OMWU's last gap is "
           "above .199, its average gap below .0198.", "this instance; no uniform last-iterate rate may be asserted",
           "checked", "run_optimistic", ({"M": formula_game(3, 4).tolist()},), slow_last, Sure(),
           Saboteur("interior equilibrium", "matching pennies, entries 1 and 1/2", world={"M": [[1, 0.5], [0.5, 1]]}),
           plain="MWU: average gap .0205"),
)
