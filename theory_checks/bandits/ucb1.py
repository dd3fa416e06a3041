"""UCB1 held to its claims: regret, pulls, growth, the bound without gaps, the confidence bound, and KL-UCB's index.

Regret is that of the means, sum_t (mu* - mu_{a_t}), and the bounds are on its expectation. Bounds above the largest
regret there is say nothing: worlds are registered where they say something, or the check tells that they do not.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import flint
import numpy as np
from hypothesis import strategies as st

from algorithms.bandits import ucb1
from algorithms.bandits.ucb1 import Params
from mdpkit.access import Episodes
from mdpkit.measure.regret import pull_gaps
from mdpkit.models.bandits import Bandit
from mdpkit.solve.rounding import higham
from theory_checks.engine.claims import Check, Claim, Saboteur
from theory_checks.engine.judges import Expectation, Rate, Separation, Sure
from theory_checks.engine.rows import exact_row, worst

TWINS = "theory_checks.bandits._ucb1_twins"
FOUR = [0.9, 0.6, 0.5, 0.2]
HORIZONS = (1250, 2500, 5000, 10_000, 20_000)
PULLS = 2000


# ------------------------------------------------------------------------------------------ worlds

@st.composite
def tails(draw: st.DrawFn) -> dict[str, Any]:
    """A mean in sixteenths, a number of rewards, and a time; t = 1 leaves no width at all."""
    return {"mu": draw(st.integers(0, 16)) / 16, "N": draw(st.integers(1, 40)),
            "t": draw(st.sampled_from([1, 2, 3, 5, 8, 20, 100]))}


@st.composite
def budgets(draw: st.DrawFn) -> dict[str, Any]:
    """A mean, a count, and the time whose logarithm is spent."""
    n = draw(st.integers(1, 50))
    return {"mean": draw(st.integers(0, n)) / n, "n": float(n), "budget": math.log(draw(st.integers(2, 5000)))}


@st.composite
def unpaid(draw: st.DrawFn) -> dict[str, Any]:
    """A count and a time."""
    return {"n": draw(st.integers(1, 200)), "t": draw(st.integers(2, 100_000))}


# ---------------------------------------------------------------------------------------- measures

def regret(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C1: regret after n plays, as a share of n."""
    mu, n = world["mu"], world["n"]
    return {"measured": _regret(mu, n, subject, rng) / n, "bound": ucb1.regret_bound(mu, n) / n}


def without_gaps(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C4: UCB1's regret after n plays against a bound, as shares of n."""
    mu, n = world["mu"], world["n"]
    return {"measured": _regret(mu, n, ucb1.run, rng) / n, "bound": subject(mu, n) / n}


def pulls(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C2: plays of each suboptimal arm, as shares of n."""
    mu, n = world["mu"], world["n"]
    plays = subject(_access(mu, rng), Params(n), np.random.default_rng(0)).output.plays
    bounds = ucb1.pull_bounds(mu, n)
    return {f"arm {j}": {"measured": plays[j] / n, "bound": bounds[j] / n} for j in range(len(mu))
            if math.isfinite(bounds[j])}


def growth(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C3: regret at the horizons."""
    gaps = _path(world["mu"], world["horizons"][-1], subject, rng)
    return {"measured": np.cumsum(gaps)[np.array(world["horizons"]) - 1]}


def deviation(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C5 in rationals."""
    return exact_row(subject(world["mu"], world["N"], world["t"]), Fraction(1, world["t"] ** 4))


def index_of_kl(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C6: mean <= u <= mean + sqrt(budget/(2 n)), and n kl(mean, u) = budget below u = 1."""
    mean, n, budget = world["mean"], world["n"], world["budget"]
    u = subject(mean, n, budget)
    level, width = budget / n, math.sqrt(budget / (2 * n))
    rows = [{"measured": mean, "bound": u, "slack": 0.0},
            {"measured": u, "bound": min(mean + width, 1.0), "slack": higham(8)}]
    if mean < 1.0 <= u:
        rows.append({"measured": math.inf, "bound": 0.0, "slack": 0.0})
    elif mean < 1.0:
        spent = -(1 - mean) * math.log1p((mean - u) / (1 - mean)) + (mean * math.log(mean / u) if mean > 0 else 0.0)
        # the terms are below level + 1, the mean is rounded too; kl moves by (u - mean)/(u (1 - u)) of an error of u
        slope = (u - mean) / (u * (1 - u)) if u > 0 else math.inf
        rows.append({"measured": abs(spent - level), "bound": 0.0,
                     "slack": higham(16) * (level + 1) / (1 - mean) + 4 * higham(1) * slope})
    return worst(rows)


def closed_form(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C7: the index where nothing was ever paid, in 100 bits."""
    n, t = world["n"], world["t"]
    with flint.ctx.workprec(100):
        exactly = 1 - (-flint.arb(t).log() / n).exp()
        error = float(abs(flint.arb(subject(0.0, float(n), math.log(t))) - exactly))
    # kl errs by 4 roundings of itself and the budget by one of its own; 1 - u is exp(-budget/n); and bisection ends
    return {"measured": error, "bound": 0.0, "slack": higham(8) * (1 + math.log(t) / n)}


def _regret(mu: list[float], n: int, subject: Callable, rng: np.random.Generator) -> float:
    plays = subject(_access(mu, rng), Params(n), np.random.default_rng(0)).output.plays
    return float((plays * Bandit(mu).gaps).sum())


def _path(mu: list[float], n: int, subject: Callable, rng: np.random.Generator) -> np.ndarray:
    model, seen = Bandit(mu), []
    subject(_access(mu, rng, lambda first, arms: seen.append(pull_gaps(model, arms))), Params(n),
            np.random.default_rng(0))
    return np.concatenate(seen)


def _access(mu: list[float], rng: np.random.Generator, watch: Any = None) -> Episodes:
    return Episodes(Bandit(mu), rng, watch=watch or (lambda first, arms: None))


# -------------------------------------------------------------------------------------------- checks

def _check(name: str, kind: str, statement: str, source: str, status: str, entry: str, worlds: Any, measure: Callable,
           judge: Any, finding: str = "", **twins: str) -> Check:
    """A check whose saboteurs are twins by name, each with what is wrong with it."""
    claim = Claim("ucb1", name, kind, statement, source, status, finding)
    return Check(claim, entry, worlds, measure, judge, tuple(
        Saboteur(twin.replace("_", " "), why, subject=f"{TWINS}:{twin}") for twin, why in twins.items()))


SHARE = Expectation(0.0, 1.0)
CHECKS = (
    _check("C1", "expectation", "E R_n <= 8 sum_{j: Delta_j > 0} ln n/Delta_j + (1 + pi^2/3) sum_j Delta_j for every "
           "n; here Bernoulli arms (.9, .6, .5, .2) at n = 1000 and 20000, (.4, .6) at n = 10000.", "Theorem 1",
           "recalled", "run", ({"mu": FOUR, "n": 1000}, {"mu": FOUR, "n": 20_000}, {"mu": [0.4, 0.6], "n": 10_000}),
           regret, SHARE,
           "At n = 100 the bound, 273.5, exceeds 70, the largest regret there is. The leader's regret passes at n = "
           "20000 on (.9, .6, .5, .2), so that it is caught on (.4, .6).",
           leader="exploration constant 0", pessimist="the bonus is subtracted", rewards_to_ten="a bonus for [0, 10]"),
    _check("C2", "expectation", "E n_j(n) <= 8 ln n/Delta_j^2 + 1 + pi^2/3 for each suboptimal arm; here (.9, .6, .5, "
           ".2) at n = 2000.", "proof of Theorem 1", "recalled", "run", ({"mu": FOUR, "n": PULLS},), pulls,
           Separation(tuple((f"arm {j}", SHARE) for j in (1, 2, 3))),
           swapped="reports the counts of the arms in reverse", rewards_to_ten="a bonus for [0, 10]"),
    _check("C3", "rate", "E R_n = O(ln n): between n = 1250 and 20000 on (.9, .6, .5, .2), against sqrt(n).",
           "Theorem 1; this instance", "checked", "run", ({"mu": FOUR, "horizons": list(HORIZONS)},), growth,
           Rate(HORIZONS, np.log, np.sqrt, n=100), leader="exploration constant 0",
           round_robin="each arm in its turn, for ever"),
    _check("C4", "expectation", "E R_n <= 2 sqrt(8 K n ln n) + (1 + pi^2/3) sum_j Delta_j on every instance; here "
           "(.9, .6) at n = 20000, and one arm of .5 among five with gaps of .1 and .4 at n = 5000.",
           "Theorem 1, split at Delta = sqrt(8 K ln n/n)", "derived", "gap_free",
           ({"mu": [0.9, 0.6], "n": 20_000}, {"mu": [0.5, 0.1, 0.1, 0.1, 0.1], "n": 5000},
            {"mu": [0.5, 0.4, 0.4, 0.4, 0.4], "n": 5000}), without_gaps, SHARE,
           "Among five arms the bound exceeds the largest regret, 2000 and 500; on (.9, .6) it is 3563 of 6000.",
           eight_logarithms="8 ln n, without gaps", asymptotic="the Lai-Robbins constant times ln n"),
    _check("C5", "bound", "P( xbar_N - mu > sqrt(2 ln t/N) ) <= t^-4 for fixed N and t, rewards Bernoulli; from below "
           "by symmetry.", "Hoeffding's inequality, in the proof of Theorem 1", "recalled", "tail", tails, deviation,
           Sure("EXACT", 150), quarter="0.25 in place of 2", without_two="ln t/N under the root"),
    _check("C6", "bound", "KL-UCB's u: n kl(xbar, u) = budget where u < 1, and xbar <= u <= xbar + sqrt(budget/(2 n)).",
           "definition; Pinsker's inequality", "derived", "kl_index", budgets, index_of_kl, Sure("SEARCHED", 200),
           turned="kl(q, xbar) in place of kl(xbar, q)", hoeffding_index="the Hoeffding index, cut at 1"),
    _check("C7", "identity", "KL-UCB's u at xbar = 0 and c = 0 is 1 - t^(-1/n).", "definition", "derived", "kl_index",
           unpaid, closed_form, Sure("SEARCHED", 150), hoeffding_index="the Hoeffding index, cut at 1",
           last_time="ln(t - 1) in place of ln t"),
)
