"""How often each judge errs where the truth lies exactly at the boundary, and how often it sees a claim that holds.

`main` writes docs/calibration.md and .json. Beside each judge stand the rules of thumb that it replaces. Every number
follows from the seeds below.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import brentq
from scipy.stats import beta, binomtest, t

from theory_checks.engine.claims import REFUTED, SUPPORTED
from theory_checks.engine.judges import HighProbability, LinearRate, Rate
from theory_checks.engine.statistics import TRUNCATION, failure_evidence

QUICK = 0.05
FULL = 0.05 / 256 / 2               # a paper with two statistical claims
REPETITIONS = 2000
BOUND = 0.1                         # of the expectations below
EIGHT = tuple(2 ** k for k in range(9, 17))


def root_log(T: np.ndarray) -> np.ndarray:
    """sqrt(T log T)."""
    return np.sqrt(T * np.log(T))


def two_thirds(T: np.ndarray) -> np.ndarray:
    """T^(2/3)."""
    return T ** (2 / 3)


RATE = Rate(EIGHT, np.sqrt, two_thirds)
LINEAR = LinearRate(0.9, 0.92, floor=1e-16)


def lower_limit(k: int, n: int) -> float:
    """Clopper-Pearson's one-sided 95 % lower limit of a probability, from k of n."""
    return float(binomtest(k, n, alternative="greater").proportion_ci(0.95, method="exact").low)


# -------------------------------------------------------------------------------- high probability

def first_crossings(supports: np.ndarray, refutes: np.ndarray, alpha: float, alpha_refute: float
                    ) -> tuple[np.ndarray, np.ndarray]:
    """For e-values (repetitions, n): +1 for SUPPORTED, -1 for REFUTED, 0; and the runs that it took."""
    n = supports.shape[1]
    s, r = (np.where(hit.any(1), hit.argmax(1), n) for hit in (supports >= 1 / alpha, refutes >= 1 / alpha_refute))
    return np.sign(r - s), np.minimum(np.minimum(s, r) + 1, n)


def evidence_of_failures(p: float, delta: float, repetitions: int, cap: int, rng: np.random.Generator
                         ) -> tuple[np.ndarray, np.ndarray]:
    """Running e-values for and against a claim at ``delta`` whose runs fail with probability p."""
    both = [failure_evidence(rng.random(cap) < p, delta) for _ in range(repetitions)]
    return np.array([e[0] for e in both]), np.array([e[1] for e in both])


# ------------------------------------------------------------------------------------- expectation

def bets(x: np.ndarray, bound: float) -> tuple[np.ndarray, np.ndarray]:
    """`statistics.bet` for all repetitions at once: x (repetitions, n) in [0, 1]."""
    capital = np.empty((2, *x.shape))
    wealth = np.ones((2, len(x)))
    mean, square, n = np.full(len(x), 0.5), np.full(len(x), 0.5), 1
    for i in range(x.shape[1]):
        variance = np.maximum(square / n - (mean / n) ** 2, 1e-6)
        edge = bound - mean / n
        tilt = edge / (variance + edge * edge)
        for side, sign, cap in ((0, 1.0, TRUNCATION / (1 - bound)), (1, -1.0, TRUNCATION / bound)):
            with np.errstate(over="ignore"):
                wealth[side] = wealth[side] * (1.0 + np.clip(sign * tilt, 0.0, cap) * sign * (bound - x[:, i]))
            capital[side, :, i] = wealth[side]
        mean, square, n = mean + x[:, i], square + x[:, i] * x[:, i], n + 1
    return capital[0], capital[1]


def disasters(mean: float, shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """In one run of a hundred all is lost; the others lose always the same."""
    return np.where(rng.random(shape) < 0.01, 1.0, (mean - 0.01) / 0.99)


def spread(mean: float, shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Beta, ten pseudo-observations."""
    return rng.beta(10 * mean, 10 * (1 - mean), shape)


def coins(mean: float, shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """All or nothing."""
    return (rng.random(shape) < mean).astype(float)


# ------------------------------------------------------------------------------------------- rates

def gamma_noise(cv: float, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Mean 1, coefficient of variation cv."""
    return rng.gamma(1 / cv**2, cv**2, shape)


def lognormal_noise(cv: float, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Mean 1, coefficient of variation cv."""
    s = math.sqrt(math.log1p(cv**2))
    return rng.lognormal(-s * s / 2, s, shape)


def trajectories(mean: np.ndarray, n: int, rng: np.random.Generator, noise: Callable = gamma_noise, cv: float = 0.6
                 ) -> np.ndarray:
    """Regret of n runs (n, J) with this mean: what each stretch adds is noisy on its own, and stays."""
    return np.cumsum(np.diff(mean, prepend=0.0) * noise(cv, (n, len(mean)), rng), axis=1)


def rate_boundary(judge: Rate, which: str = "both") -> np.ndarray:
    """Mean regret whose "levels", "increments", or "both" lie exactly at the margin; the other well inside.

    The resolution that the judge adds is taken off. What is added at the first horizon moves the levels only.
    """
    T = np.array(judge.horizons, float)
    claimed, rival = judge.claimed(T), judge.rival(T)
    m = _slope(T, rival / claimed) / 2
    if which == "both":                              # for powers of T
        return claimed * ((T / T[0]) ** m - judge.resolution)
    steps, fast = np.diff(claimed), np.diff(rival)
    if which == "increments":
        steps = steps * ((T[1:] / T[1]) ** (_slope(T[1:], fast / steps) / 2) - judge.resolution)
        return np.cumsum(np.append(steps.sum(), steps))

    def after(start: float) -> np.ndarray:
        return np.cumsum(np.append(start, steps))

    return after(brentq(lambda start: _slope(T, after(start) / claimed + judge.resolution) - m, 1e-3 * steps[0],
                        claimed[0], xtol=1e-13))


def _slope(T: np.ndarray, y: np.ndarray) -> float:
    return float(np.polyfit(np.log(T), np.log(y), 1)[0])


def errors_of_iterations(rate: float, n: int, K: int, rng: np.random.Generator, late: float | None = None
                         ) -> np.ndarray:
    """Errors rate^k of n runs (n, K), moved by 2 % a step; from three quarters on ``late`` a step."""
    steps = np.full(K, math.log(rate))
    if late is not None:
        steps[K - K // 4:] = math.log(late)
    return np.exp(np.cumsum(steps + 0.02 * rng.standard_normal((n, K)), axis=1))


def shares(judge: Any, runs: Callable[[], np.ndarray], repetitions: int, alpha: float = QUICK,
           alpha_refute: float = QUICK) -> tuple[int, int]:
    """How many of the repetitions are SUPPORTED, and REFUTED."""
    said = [judge.decide([{"measured": r} for r in runs()], alpha, alpha_refute).verdict for _ in range(repetitions)]
    return said.count(SUPPORTED), said.count(REFUTED)


# ------------------------------------------------------------------------------------------ tables

def _percent(k: float, n: int) -> str:
    return f"{100 * k / n:.3g} %"


def failures_table(repetitions: int = REPETITIONS) -> tuple[list[str], list[list[str]]]:
    """High probability, delta 0.05: SUPPORTED / REFUTED, by the true probability of failing."""
    truths, delta, cap = (0.0, 0.01, 0.025, 0.04, 0.05, 0.06, 0.075, 0.1), 0.05, HighProbability(0.05).cap
    rows: dict[str, list[str]] = {name: [] for name in (
        "k/n <= delta, n = 20", "k/n <= delta, n = 100", "Clopper-Pearson, n = 200",
        f"Clopper-Pearson looked at every 10 runs to {cap}", "judge, alpha 0.05", "judge, full level")}
    looks = np.arange(10, cap + 1, 10)
    limits = [_clopper_pearson(int(n), delta) for n in looks]
    passes, fails = (np.array([pair[side] for pair in limits]) for side in (0, 1))
    few, many = _clopper_pearson(200, delta)
    for j, p in enumerate(truths):
        rng = np.random.default_rng([1, j])
        for n in (20, 100):
            k = rng.binomial(n, p, repetitions)
            rows[f"k/n <= delta, n = {n}"].append(_both(k <= delta * n, k > delta * n))
        k = rng.binomial(200, p, repetitions)
        rows["Clopper-Pearson, n = 200"].append(_both(k <= few, k >= many))
        seen = np.cumsum(rng.random((repetitions, cap)) < p, axis=1)[:, looks - 1]
        said, _ = first_crossings(1.0 * (seen <= passes), 1.0 * (seen >= fails), 1.0, 1.0)
        rows[f"Clopper-Pearson looked at every 10 runs to {cap}"].append(_both(said > 0, said < 0))
        pair = evidence_of_failures(p, delta, repetitions, cap, rng)
        for name, alpha in (("judge, alpha 0.05", QUICK), ("judge, full level", FULL)):
            said, n = first_crossings(*pair, alpha, alpha)
            rows[name].append(_both(said > 0, said < 0) + f", {n.mean():.0f}")
    return ["rule", *(f"p = {p:g}" for p in truths)], [[k, *v] for k, v in rows.items()]


def expectation_table(repetitions: int = REPETITIONS) -> tuple[list[str], list[list[str]]]:
    """E[X] <= 0.1 for X in [0, 1]."""
    truths, cap = (0.05, 0.08, 0.1, 0.105, 0.12, 0.2), 2048
    out = []
    for i, (name, draw) in enumerate((("1 % disasters", disasters), ("beta", spread), ("all or nothing", coins))):
        judged: dict[str, list[str]] = {f"{name}: t-interval, n = 20": [], f"{name}: t-interval, n = 100": [],
                                        f"{name}: judge, alpha 0.05": [], f"{name}: judge, full level": []}
        for j, mean in enumerate(truths):
            x = draw(mean, (repetitions, cap), np.random.default_rng([2, i, j]))
            for n in (20, 100):
                m, reach = x[:, :n].mean(1), t.ppf(0.95, n - 1) * x[:, :n].std(1, ddof=1) / math.sqrt(n)
                judged[f"{name}: t-interval, n = {n}"].append(_both(m + reach < BOUND, m - reach > BOUND))
            pair = bets(x, BOUND)
            for label, alpha in (("alpha 0.05", QUICK), ("full level", FULL)):
                said, n = first_crossings(*pair, alpha, alpha)
                judged[f"{name}: judge, {label}"].append(_both(said > 0, said < 0) + f", {n.mean():.0f}")
        out += [[k, *v] for k, v in judged.items()]
    return ["rule", *(f"mean {m:g}" for m in truths)], out


def rate_table(repetitions: int = REPETITIONS) -> tuple[list[str], list[list[str]]]:
    """Trajectories at T = 2^9 .. 2^16, every stretch with noise of cv 0.6; the judges' n = 128."""
    T = np.array(EIGHT, float)
    by_root, by_log = RATE, Rate(EIGHT, root_log, two_thirds)
    cases: list[tuple[str, Rate, np.ndarray]] = [
        ("sqrt(T) claimed, sqrt(T) true", by_root, np.sqrt(T)),
        ("sqrt(T log T) claimed, sqrt(T) true", by_log, np.sqrt(T)),
        ("sqrt(T log T) claimed and true", by_log, root_log(T)),
        ("sqrt(T log T) claimed, 200 + sqrt(T) true", by_log, 200 + np.sqrt(T)),
        ("sqrt(T) claimed, T^(2/3) true", by_root, two_thirds(T)),
        ("sqrt(T log T) claimed, T^(2/3) true", by_log, two_thirds(T)),
        ("sqrt(T log T) claimed, 200 + T^(2/3) true", by_log, 200 + two_thirds(T)),
        *((f"sqrt(T) claimed, {w} at the margin", by_root, rate_boundary(by_root, w))
          for w in ("levels", "increments", "both")),
    ]
    out = []
    for i, (name, judge, mean) in enumerate(cases):
        line = [name]
        rng = np.random.default_rng([3, i])
        eye = np.array([_slope(T, trajectories(mean, 20, rng).mean(0)) for _ in range(repetitions)])
        line.append(_both(eye <= 0.55, eye > 0.55))
        for noise in (gamma_noise, lognormal_noise):
            s, r = shares(judge, lambda mean=mean, noise=noise, rng=rng: trajectories(mean, 128, rng, noise),
                          repetitions)
            line.append(f"{_percent(s, repetitions)} / {_percent(r, repetitions)}")
        out.append(line)
    return ["claim and truth", "slope by eye <= 0.55, n = 20", "judge, gamma noise", "judge, log-normal noise"], out


def linear_table(repetitions: int = REPETITIONS) -> tuple[list[str], list[list[str]]]:
    """Claim 0.9 a step against the rival 0.92; 120 steps, 64 runs, 2 % noise a step."""
    margin = math.sqrt(0.9 * 0.92)
    cases = (("0.9", 0.9, None), ("at the margin", margin, None), ("0.92", 0.92, None),
             ("0.9, late at the margin", 0.9, margin), ("0.85, the last quarter 0.95", 0.85, 0.95))
    out = []
    for i, (name, rate, late) in enumerate(cases):
        rng = np.random.default_rng([4, i])
        eye = np.array([math.exp(np.polyfit(np.arange(60), np.log(errors_of_iterations(rate, 5, 120, rng, late)
                                                                  .mean(0)[:60]), 1)[0]) for _ in range(repetitions)])
        s, r = shares(LINEAR, lambda rate=rate, late=late, rng=rng: errors_of_iterations(rate, 64, 120, rng, late),
                      repetitions)
        out.append([name, _both(eye <= 0.91, eye > 0.91), f"{_percent(s, repetitions)} / {_percent(r, repetitions)}"])
    return ["truth", "first 60 steps by eye <= 0.91, n = 5", "judge"], out


def _clopper_pearson(n: int, delta: float) -> tuple[int, int]:
    """The most failures of n whose upper 95 % limit is at most delta, and the fewest whose lower limit is above."""
    k = np.arange(n)
    upper, lower = beta.ppf(0.95, k + 1, n - k), beta.ppf(0.05, k + 1, n - k)     # lower: of k + 1 failures
    return int((upper <= delta).sum()) - 1, int((lower <= delta).sum()) + 1


def _both(supported: np.ndarray, refuted: np.ndarray) -> str:
    n = len(supported)
    return f"{_percent(supported.sum(), n)} / {_percent(refuted.sum(), n)}"


SECTIONS = (
    ("High probability: a run fails with probability at most 0.05", failures_table,
     "SUPPORTED / REFUTED, and for the judge the mean number of runs, at most 2048. The claim is false to the right "
     "of 0.05 and at its boundary there."),
    ("Expectation: the mean is at most 0.1, for a quantity in [0, 1]", expectation_table,
     "SUPPORTED / REFUTED, and the judge's mean number of runs. The boundary is 0.1."),
    ("Rates: regret grows as claimed", rate_table,
     "SUPPORTED / REFUTED. The rival is T^(2/3). At the margin the judge works at half its level."),
    ("Linear rates: errors shrink by 0.9 a step", linear_table,
     "SUPPORTED / REFUTED. The rival is 0.92, the margin half-way on the log scale."),
)


def table() -> tuple[str, list[str], list[list[str]]]:
    """For ``python -m benchmarks``: the first of the tables."""
    return SECTIONS[0][0], *failures_table(500)


def content() -> dict[str, Any]:
    """All tables."""
    tables = []
    for title, make, note in SECTIONS:
        header, rows = make()
        tables.append({"title": title, "note": note, "header": header, "rows": rows})
    return {"title": "How often the judges err",
            "note": f"{REPETITIONS} repetitions a cell; quick level {QUICK:g}, full level {FULL:.3g} (a paper with two "
                    "statistical claims). Written by `python -m benchmarks.calibration`; the seeds are fixed.",
            "tables": tables}


def markdown(found: dict[str, Any]) -> str:
    """The same as a page of the documentation."""
    text = [f"# {found['title']}", "", found["note"], ""]
    for part in found["tables"]:
        text += [f"## {part['title']}", "", part["note"], "", "| " + " | ".join(part["header"]) + " |",
                 "|" + " --- |" * len(part["header"]), *("| " + " | ".join(row) + " |" for row in part["rows"]), ""]
    return "\n".join(text)


def main(folder: str | Path = Path(__file__).parents[1] / "docs") -> None:
    """Write calibration.json, which the report shows, and calibration.md."""
    found = content()
    (Path(folder) / "calibration.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    (Path(folder) / "calibration.md").write_text(markdown(found), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
