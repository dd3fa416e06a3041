"""Each judge where the truth lies exactly at the boundary, and where it lies well inside.

A judge keeps its level when the one-sided 95 % Clopper-Pearson lower limit of the rate of false verdicts is not above
it. The seeds are fixed; the power is printed beside the number that is derived for it.
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from scipy.stats import norm
from scipy.stats import t as student

from benchmarks import calibration as truth
from theory_checks.engine.claims import INCONCLUSIVE, REFUTED, SUPPORTED
from theory_checks.engine.judges import Expectation, HighProbability, LinearRate, Rate, Separation, Sure
from theory_checks.engine.rows import excess, tightness
from theory_checks.engine.statistics import BELOW, bet, failure_evidence, slope, window_slopes

QUICK, FULL = 0.05, 0.05 / 256 / 2
N = 2000
EPS = np.finfo(float).eps


def kept(what: str, k: int, alpha: float, n: int = N) -> None:
    low = truth.lower_limit(int(k), n)
    print(f"{what}: {k} of {n} false, at least {low:.2g} a run, level {alpha:.2g}")
    assert low <= alpha, f"{what}: {k} of {n} false verdicts at level {alpha:g}"


def powerful(what: str, k: int, n: int, derived: float, room: float = 0.05) -> None:
    print(f"{what}: power {k / n:.3f}, derived {derived:.3f}")
    assert k / n >= derived - room


# ---------------------------------------------------------------------------------------- e-processes

@pytest.mark.parametrize("delta", [0.05, 0.3])
def test_high_probability_at_the_boundary(delta):
    against_violation, against_claim = truth.evidence_of_failures(delta, delta, N, 2048, np.random.default_rng(1))
    for alpha in (QUICK, FULL):
        said, _ = truth.first_crossings(against_violation, against_claim, alpha, alpha)
        kept(f"failures at {delta}, supported", (said > 0).sum(), alpha)
        kept(f"failures at {delta}, refuted", (said < 0).sum(), alpha)


@pytest.mark.parametrize("draw", [truth.disasters, truth.spread, truth.coins])
@pytest.mark.parametrize("bound", [0.05, 0.5])
def test_expectation_at_the_boundary(draw, bound):
    rng = np.random.default_rng(2)
    wrong = {QUICK: np.zeros(2, int), FULL: np.zeros(2, int)}
    for _ in range(5):                                       # ten thousand: few are expected at the full level
        supports, refutes = truth.bets(draw(bound, (N, 512), rng), bound)
        for alpha in wrong:
            said, _ = truth.first_crossings(supports, refutes, alpha, alpha)
            wrong[alpha] += (said > 0).sum(), (said < 0).sum()
    for alpha, (supported, refuted) in wrong.items():
        kept(f"{draw.__name__} at {bound}, supported", supported, alpha, 5 * N)
        kept(f"{draw.__name__} at {bound}, refuted", refuted, alpha, 5 * N)


def test_expectation_from_below_at_the_boundary():
    supports, refutes = truth.bets(1 - truth.disasters(0.1, (N, 1024), np.random.default_rng(3)), 0.9)
    said, _ = truth.first_crossings(refutes, supports, QUICK, QUICK)
    kept("mean at least 0.9, supported", (said > 0).sum(), QUICK)
    kept("mean at least 0.9, refuted", (said < 0).sum(), QUICK)


def test_the_judges_read_what_was_calibrated():
    """`decide` gives the verdict and the number of runs of the vectorised paths above."""
    rng = np.random.default_rng(4)
    seen = set()
    for p in (0.0, 0.02, 0.05, 0.1, 0.3):
        failed = rng.random((6, 300)) < p
        pair = [np.array(e) for e in zip(*(failure_evidence(f, 0.05) for f in failed))]
        for f, said, n in zip(failed, *truth.first_crossings(*pair, QUICK, FULL)):
            d = HighProbability(0.05).decide([{"failed": bool(b)} for b in f], QUICK, FULL)
            assert (d.verdict, d.n) == ((REFUTED, INCONCLUSIVE, SUPPORTED)[said + 1], n)
            seen.add(d.verdict)
        x = truth.spread(0.05 + p, (6, 300), rng)
        fast = truth.bets(x, 0.1)
        for i, (row, said, n) in enumerate(zip(x, *truth.first_crossings(*fast, QUICK, FULL))):
            for slow, quick in zip(bet(row, 0.1), fast):
                np.testing.assert_allclose(quick[i], slow, rtol=1e-9)
            d = Expectation(-1.0, 1.0).decide([{"measured": 2 * v - 1, "bound": -0.8} for v in row], QUICK, FULL)
            assert (d.verdict, d.n) == ((REFUTED, INCONCLUSIVE, SUPPORTED)[said + 1], n)
            seen.add(d.verdict)
    assert seen == {SUPPORTED, REFUTED, INCONCLUSIVE}


def test_clean_runs_that_support():
    """Without a failure the evidence is mean_p ((1-p)/(1-delta))^n: the registered cap is far above what it needs."""
    for delta in (0.05, 0.1, 0.01):
        for alpha in (QUICK, FULL):
            n = np.arange(1, 2049)
            e = (((1 - BELOW * delta) / (1 - delta))[None] ** n[:, None]).mean(1)
            derived = int(n[np.argmax(e >= 1 / alpha)])
            d = HighProbability(delta).decide([{"failed": False}] * 2048, alpha, alpha)
            print(f"delta {delta}, level {alpha:.2g}: {d.n} clean runs support, derived {derived}")
            assert (d.verdict, d.n) == (SUPPORTED, derived)


def test_power_of_high_probability():
    """At p = delta/5 the one term p itself grows by KL(delta/5, delta) a run; the mixture loses at most log(10)."""
    delta, p = 0.05, 0.01
    pair = truth.evidence_of_failures(p, delta, 500, 2048, np.random.default_rng(5))
    ratio = np.log([p / delta, (1 - p) / (1 - delta)])
    drift, spread = p * ratio[0] + (1 - p) * ratio[1], math.sqrt(p * (1 - p)) * abs(ratio[0] - ratio[1])
    for alpha, cap in ((QUICK, 512), (FULL, 1024)):
        said, n = truth.first_crossings(pair[0][:, :cap], pair[1][:, :cap], alpha, alpha)
        derived = norm.cdf((cap * drift - math.log(10 / alpha)) / (spread * math.sqrt(cap)))
        powerful(f"failures at delta/5, level {alpha:.2g}, {n.mean():.0f} runs", (said > 0).sum(), 500, derived)
        assert not (said < 0).any()


def test_power_of_expectation():
    """A bettor who stakes half the cap on a mean at half the bound wins log(1 + stake (bound - x)) a run."""
    bound = 0.1
    for draw in (truth.disasters, truth.spread, truth.coins):
        x = draw(bound / 2, (500, 2048), np.random.default_rng(6))
        gain = np.log1p(0.3 * (bound - x))
        for alpha in (QUICK, FULL):
            said, n = truth.first_crossings(*truth.bets(x, bound), alpha, alpha)
            derived = norm.cdf((2048 * gain.mean() - math.log(1 / alpha)) / (gain.std() * math.sqrt(2048)))
            powerful(f"{draw.__name__} at half the bound, level {alpha:.2g}, {n.mean():.0f} runs", (said > 0).sum(),
                     500, derived, 0.1)              # the stake has to be learned


# --------------------------------------------------------------------------------------------- rates

BOUNDARIES = {which: truth.rate_boundary(truth.RATE, which) for which in ("levels", "increments", "both")}


def test_the_boundaries_are_exact():
    """Without noise each slope lies at its margin."""
    for name, mean in BOUNDARIES.items():
        gaps = [s.estimate - s.margin for s in truth.RATE.slopes([{"measured": mean}] * 2)]
        at = [abs(g) < 1e-9 for g in gaps]
        assert at == [name != "increments", name != "levels"] and max(gaps) < 1e-9, (name, gaps)


@pytest.mark.parametrize("noise", [truth.gamma_noise, truth.lognormal_noise])
@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_rate_at_the_margin(boundary, noise):
    rng = np.random.default_rng(7)
    mean = BOUNDARIES[boundary]
    supported, refuted = truth.shares(truth.RATE, lambda: truth.trajectories(mean, truth.RATE.n, rng, noise), N)
    kept(f"{boundary} at the margin, {noise.__name__}, supported", supported, QUICK)
    kept(f"{boundary} at the margin, {noise.__name__}, refuted", refuted, QUICK)


@pytest.mark.parametrize("noise", [truth.gamma_noise, truth.lognormal_noise])
def test_power_of_rate(noise):
    """The power of the weaker of both tests is Phi(margin/error - z); Student's t has 127 degrees of freedom."""
    rng = np.random.default_rng(8)
    T = np.array(truth.EIGHT, float)
    for claimed, mean in ((np.sqrt, np.sqrt(T)), (truth.root_log, truth.root_log(T))):
        judge = Rate(truth.EIGHT, claimed, truth.two_thirds)
        large = [{"measured": r} for r in truth.trajectories(mean, 20_000, rng, noise)]
        z = student.ppf(1 - QUICK / 2, judge.n - 1)
        derived = 1 - sum(norm.cdf(z - s.margin / (s.error * math.sqrt(20_000 / judge.n)))
                          for s in judge.slopes(large))
        supported, refuted = truth.shares(judge, lambda mean=mean, n=judge.n: truth.trajectories(mean, n, rng, noise),
                                          200)
        powerful(f"{claimed.__name__}, n = {judge.n}", supported, 200, derived, 0.08)
        assert not refuted


def test_what_the_rate_judge_says_it_needs():
    judge = Rate(truth.EIGHT, truth.root_log, truth.two_thirds)
    T = np.array(truth.EIGHT, float)
    few = truth.trajectories(truth.root_log(T), 24, np.random.default_rng(9))
    d = judge.decide([{"measured": r} for r in few], QUICK, QUICK)
    assert d.verdict == INCONCLUSIVE and 24 < d.needs < 1000


def test_burn_in_does_not_hide_a_faster_rate():
    T = np.array(truth.EIGHT, float)
    judge = Rate(truth.EIGHT, truth.root_log, truth.two_thirds)
    rng = np.random.default_rng(10)
    supported, refuted = truth.shares(judge, lambda: truth.trajectories(200 + T ** (2 / 3), judge.n, rng), 200)
    assert supported == 0 and refuted >= 180


@pytest.mark.parametrize("late", [False, True])
def test_linear_rate_at_the_margin(late):
    margin = math.sqrt(truth.LINEAR.rho * truth.LINEAR.rival)
    rng = np.random.default_rng(11)
    start = truth.LINEAR.rho if late else margin
    supported, refuted = truth.shares(
        truth.LINEAR, lambda: truth.errors_of_iterations(start, truth.LINEAR.n, 120, rng, margin), N)
    where = "last quarter" if late else "all windows"
    kept(f"{where} at the margin, supported", supported, QUICK)
    kept(f"{where} at the margin, refuted", refuted, QUICK)


def test_power_of_linear_rate():
    """Slopes of a walk with 2 % a step: the last quarter has the widest error, and the margin is 0.011."""
    rng = np.random.default_rng(12)
    many = window_slopes(truth.errors_of_iterations(0.905, 5000, 120, rng), 1e-16)
    margin = 0.5 * math.log(0.92 / 0.9)
    room = margin + math.log(0.9) - many.mean(0)
    z = student.ppf(1 - QUICK / 2, 63)
    derived = 1 - norm.cdf(z - room / (many.std(0) / 8)).sum()
    supported, refuted = truth.shares(truth.LINEAR, lambda: truth.errors_of_iterations(0.905, 64, 120, rng), 300)
    powerful("0.905 a step", supported, 300, derived)
    assert not refuted
    assert truth.shares(truth.LINEAR, lambda: truth.errors_of_iterations(0.92, 64, 120, rng), 50) == (0, 50)


def test_a_noise_floor_is_no_rate():
    """Errors that stop at a floor are read above it only."""
    rng = np.random.default_rng(13)
    judge = LinearRate(0.9, 0.92, floor=1e-9)
    errors = truth.errors_of_iterations(0.9, 64, 300, rng) + 1e-9
    assert judge.decide([{"measured": e} for e in errors], QUICK, QUICK).verdict == SUPPORTED


def test_an_infinite_regret_is_never_supported():
    T = np.array(truth.EIGHT, float)
    for bad in (math.inf, math.nan):
        R = truth.trajectories(np.sqrt(T), 128, np.random.default_rng(14))
        R[5, -3:] = bad
        with np.errstate(all="ignore"):                      # decided, not raised
            assert truth.RATE.decide([{"measured": r} for r in R], QUICK, QUICK).verdict != SUPPORTED


# ---------------------------------------------------------------------------------------- separation

PARTS = Separation((("fails", HighProbability(0.2)), ("loses", Expectation(0.0, 1.0))))


def test_separation_at_the_boundary_of_one_part():
    """Neither level is split for support: both parts must hold; both are divided for refusal: either may."""
    rng = np.random.default_rng(15)
    said = []
    for _ in range(N):
        fails, loses = rng.random(128) < 0.2, truth.spread(0.1, (128,), rng)
        rows = [{"fails": {"failed": bool(f)}, "loses": {"measured": x, "bound": 0.5}} for f, x in zip(fails, loses)]
        said.append(PARTS.decide(rows, QUICK, QUICK).verdict)
    kept("failures at the boundary, supported", said.count(SUPPORTED), QUICK)
    kept("failures at the boundary, refuted", said.count(REFUTED), QUICK)


def test_separation_reads_a_registered_number_of_runs_once():
    """A test that is valid at 128 runs may not be tried again at 160, 192, ...: the level would be spent each time."""
    horizons, T = (375, 750, 1500, 3000), np.array((375, 750, 1500, 3000), float)
    rate = Rate(horizons, np.sqrt, truth.two_thirds)
    judge = Separation((("fails", HighProbability(0.05)), ("rate", rate)))
    between = np.sqrt(T) * T ** 0.083                               # just inside the margin
    R = truth.trajectories(between, 2048, np.random.default_rng(16), cv=0.2)
    calm = truth.trajectories(np.sqrt(T), 1920, np.random.default_rng(17), cv=0.2)
    R[128:] = calm                                                  # what comes later would turn the verdict
    rows = [{"fails": {"failed": False}, "rate": {"measured": r}} for r in R]
    assert judge.decide(rows[:128], QUICK, QUICK).verdict == INCONCLUSIVE
    verdicts = [judge.decide(rows[:n], QUICK, QUICK).verdict for n in range(160, 2049, 32)]
    assert set(verdicts) == {INCONCLUSIVE}, f"{verdicts.count(SUPPORTED)} of {len(verdicts)} later looks support"


def test_separation_waits_for_the_registered_number():
    T = np.array(truth.EIGHT, float)
    judge = Separation((("fails", HighProbability(0.2)), ("rate", truth.RATE)))
    R = truth.trajectories(np.sqrt(T), 128, np.random.default_rng(18))
    rows = [{"fails": {"failed": False}, "rate": {"measured": r}} for r in R]
    assert judge.decide(rows[:96], QUICK, FULL).verdict == INCONCLUSIVE
    assert judge.decide(rows, QUICK, FULL).verdict == SUPPORTED


# -------------------------------------------------------------------------------------------- sure

def row(measured, bound, slack=0):
    return {"measured": measured, "bound": bound, "slack": slack}


@pytest.mark.parametrize("bad", [
    row(math.nan, 1.0), row(math.inf, 1.0), row(0.0, math.nan), row(0.0, -math.inf), row(math.inf, math.nan),
    row(math.inf, -math.inf), row(math.inf, 1.0, 1.0), row(np.float64("nan"), 1.0),
    row(math.inf, 0.0, math.inf), row(1.0, 0.0, math.nan), row(math.nan, 0.0, math.inf),
    row(Fraction(1), math.nan), row(Fraction(1), Fraction(1) - Fraction(1, 10**40)), row(Fraction(1, 3), 1 / 3),
], ids=str)
def test_not_a_number_is_a_violation(bad):
    """What cannot be compared is never in order; rationals are compared as such."""
    assert Sure().decide([row(0.0, 1.0), bad, row(0.0, 1.0)], 0.05, 0.0).verdict == REFUTED


@pytest.mark.parametrize("good", [
    row(1.0, 1.0), row(-math.inf, 0.0), row(0.0, math.inf), row(math.inf, math.inf), row(-math.inf, -math.inf),
    row(Fraction(1, 3), Fraction(1, 3)), row(Fraction(1, 3), math.inf), row(1.0 + 4 * EPS, 1.0, 4 * EPS),
], ids=str)
def test_what_holds_is_supported(good):
    assert Sure().decide([good], 0.05, 0.0).verdict == SUPPORTED


def test_fractions_stay_exact():
    tiny = Fraction(1, 10**400)
    assert excess(row(1 + tiny, Fraction(1))) == tiny
    assert excess(row(Fraction(1), 1 + tiny)) == -tiny
    assert Sure("EXACT").decide([row(1 + tiny, Fraction(1))], 0.05, 0.0).verdict == REFUTED


def test_slack_is_violable():
    slack = 64 * EPS
    for times, verdict in ((0.5, SUPPORTED), (1.0, SUPPORTED), (2.0, REFUTED), (10.0, REFUTED)):
        d = Sure().decide([row(times * slack, 0.0, slack)], 0.05, 0.0)
        assert d.verdict == verdict and d.visible == slack and d.effect == pytest.approx(times)


def test_tightness():
    assert tightness(row(1.0, 2.0)) == 0.5 and tightness(row(0.0, 0.0)) == 0.0
    assert tightness(row(1.0, 0.0)) == math.inf and tightness(row(3.0, math.inf)) == 0.0
    assert tightness(row(1e-16, 0.0, 4e-16)) == 0.25


def test_slope_of_an_exact_law():
    T = np.array(truth.EIGHT, float)
    s = slope(np.tile(7 * T**0.6, (3, 1)), T, np.sqrt(T), truth.two_thirds(T))
    assert s.estimate == pytest.approx(0.1) and s.error < 1e-15 and s.margin == pytest.approx(1 / 12)
    assert s.limits(0.01) == pytest.approx((0.1, 0.1))
