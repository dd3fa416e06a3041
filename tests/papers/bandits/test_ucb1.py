"""UCB1: reference values, exact expectations, accounting, the slow reference, every claim and every control."""

import math
from fractions import Fraction

import closing
import numpy as np
import pytest

from algorithms.bandits import ucb1
from algorithms.bandits.ucb1 import Params
from figures.bandits import ucb1 as picture
from mdpkit import rational
from mdpkit.access import Episodes, Exact
from mdpkit.instances.chains import riverswim_episodic
from mdpkit.measure.regret import Regret, regret
from mdpkit.models.bandits import Bandit, ContextualBandit
from theory_checks.bandits import ucb1 as checks

pytestmark = pytest.mark.xdist_group("ucb1")

EXACT = 1e-12
FOUR = checks.FOUR


def rng(seed=0):
    return np.random.default_rng(seed)


def arms(entry, model, params, seed=0, **more):
    trace = entry(Episodes(model, rng(seed), **more), params, rng()).trace
    return trace.policies[trace.index]


def test_reference_values():
    assert ucb1.regret_bound(FOUR, 20_000) == pytest.approx(581.3512827249882, rel=EXACT)
    assert ucb1.lai_robbins(FOUR) == pytest.approx(2.2606083877675345, rel=EXACT)
    found = ucb1.indices([5.0, 3.0, 2.0], [8, 6, 6], 20)
    np.testing.assert_allclose(found, (1.4904091913011426, 1.499288459113782, 1.3326217924471153), rtol=EXACT)
    assert ucb1.kl_index(0.5, 8, math.log(20)) == pytest.approx(0.863018317546929, rel=EXACT)
    assert ucb1.kl_index(0.0, 5, math.log(20)) == pytest.approx(0.4507197283469605, rel=EXACT)
    assert [round(ucb1.regret_bound(FOUR, n), 1) for n in (100, 1000)] == [273.5, 407.3]
    assert [round(b, 1) for b in ucb1.pull_bounds(FOUR, 20_000)[1:]] == [884.6, 499.5, 166.0]
    assert ucb1.gap_free([0.9, 0.6], 20_000) == pytest.approx(2 * math.sqrt(16 * 20_000 * math.log(20_000))
                                                              + 0.3 * (1 + math.pi**2 / 3), rel=EXACT)
    assert ucb1.tail(0.5, 8, 8) == 0                 # the width, 0.72, is more than a mean can be off
    assert rational.fraction(ucb1.tail(0.5, 8, 2)) == Fraction(1, 2**8)       # 0.4163: eight ones alone


def slow(model, n, seed, index, *, first=0, strict=True):
    """The pseudo-code with lists of rewards; ``index(rewards, t)``."""
    draws, seen, played = rng(seed), [[] for _ in model.mu], []
    for t in range(n):
        u = [index(x, t + first) if x else math.inf for x in seen]
        a = max(range(len(u)), key=lambda j: (u[j], -j if strict else j))
        played.append(a)
        seen[a].append(1.0 if draws.random() < model.mu[a] else 0.0)
    return np.array(played)


def upper(x, t, alpha=2.0):
    return sum(x) / len(x) + math.sqrt(alpha * math.log(t) / len(x))


def upper_kl(x, t, c=0.0):
    """The largest of ever finer guesses that keep to the budget."""
    mean, budget = sum(x) / len(x), max(math.log(t) + c * math.log(math.log(max(t, 2))), 0.0)
    q, width = mean, 1.0 - mean
    lo, hi = mean, 1.0
    while width > 2.0**-60 and lo < (q := (lo + hi) / 2) < hi:
        kl = (1 - mean) * math.log((1 - mean) / (1 - q)) + (mean * math.log(mean / q) if mean else 0.0)
        lo, hi = (q, hi) if len(x) * kl <= budget else (lo, q)
        width /= 2
    return lo


@pytest.mark.parametrize("mu", [FOUR, [0.5, 0.5], [0.0, 1.0, 1.0], [0.3]])
def test_the_kernel_agrees_with_the_slow_reference_bit_for_bit(mu):
    for alpha in (2.0, 0.5, 0.0):
        params, model = Params(600, alpha), Bandit(mu)
        played = slow(model, 600, 3, lambda x, t, alpha=alpha: upper(x, t, alpha))
        np.testing.assert_array_equal(arms(ucb1.run, model, params, 3), played)


@pytest.mark.parametrize("c", [0.0, 3.0])
@pytest.mark.parametrize("mu", [[0.83, 0.61, 0.37], [1.0, 0.0], [0.3]])
def test_kl_ucb_agrees_with_the_slow_reference_bit_for_bit(mu, c):
    played = slow(Bandit(mu), 300, 5, lambda x, t: upper_kl(x, t, c))
    np.testing.assert_array_equal(arms(ucb1.run_kl, Bandit(mu), Params(300, c=c), 5), played)


MUTANTS = {
    "counts the play that comes": {"first": 1},
    "gives ties to the highest index": {"strict": False},
}


@pytest.mark.parametrize("name", MUTANTS)
def test_each_mutant_differs_from_the_kernel(name):
    model = Bandit([0.6, 0.6, 0.6, 0.5, 0.5])
    assert any((slow(model, 600, seed, upper, **MUTANTS[name]) != arms(ucb1.run, model, Params(600), seed)).any()
               for seed in range(5))


def test_more_mutants_differ_from_the_kernel():
    """One divided by the wrong count, one with a constant time, one with the range of the rewards forgotten."""
    model = Bandit([0.6, 0.6, 0.5])
    right = arms(ucb1.run, model, Params(600), 3)
    for wrong in (lambda x, t: sum(x) / len(x) + math.sqrt(2 * math.log(t)) / len(x),
                  lambda x, t: sum(x) / len(x) + math.sqrt(2 * math.log(600) / len(x)),
                  lambda x, t: sum(x) / len(x) + 0.5 * math.sqrt(2 * math.log(t) / len(x))):
        assert (slow(model, 600, 3, wrong) != right).any()


def expected_plays(mu, n):
    """E n_j(n), exactly, by all counts and sums that can be."""
    law = {((0,) * len(mu), (0,) * len(mu)): Fraction(1)}
    for t in range(n):
        after = {}
        for (plays, paid), p in law.items():
            a = t if t < len(mu) else int(np.argmax(ucb1.indices(np.array(paid, float), plays, t)))
            for x, q in ((1, Fraction(mu[a])), (0, 1 - Fraction(mu[a]))):
                key = (plays[:a] + (plays[a] + 1,) + plays[a + 1:], paid[:a] + (paid[a] + x,) + paid[a + 1:])
                after[key] = after.get(key, 0) + p * q
        law = after
    return [float(sum(p * plays[j] for (plays, _), p in law.items())) for j in range(len(mu))]


def test_mean_plays_are_the_exact_ones():
    """All sequences of rewards of 14 plays against 1500 runs: five standard errors."""
    mu, n, runs = [0.75, 0.25], 14, 1500
    exactly = expected_plays(mu, n)
    assert sum(exactly) == pytest.approx(n, rel=EXACT)
    found = [ucb1.run(Episodes(Bandit(mu), rng(i)), Params(n), rng()).output.plays[0] for i in range(runs)]
    assert abs(np.mean(found) - exactly[0]) < 5 * np.std(found) / math.sqrt(runs)


@pytest.mark.parametrize("entry", [ucb1.run, ucb1.run_kl])
def test_every_play_is_counted(entry):
    access = Episodes(Bandit(FOUR), rng(2))
    out = entry(access, Params(500), rng())
    played = out.trace.policies[out.trace.index]
    np.testing.assert_array_equal(out.output.plays, np.bincount(played, minlength=4))
    np.testing.assert_array_equal(played[:4], range(4))
    assert access.samples["steps"] == len(out.trace) == 500
    assert (out.output.paid <= out.output.plays).all() and (out.output.paid % 1 == 0).all()


def test_regret_is_that_of_the_counts():
    model, watch = Bandit(FOUR), Regret(Bandit(FOUR))
    plays = ucb1.run(Episodes(model, rng(1), watch=watch), Params(300), rng()).output.plays
    assert watch.total == pytest.approx(float((plays * model.gaps).sum()), rel=EXACT)
    np.testing.assert_array_equal(watch.regret, regret(model, arms(ucb1.run, model, Params(300), 1)))


def test_without_noise_it_is_certain():
    """Rewards are the means: n_j <= 8 ln n/Delta_j^2 + 1, by the part of the proof that is not about chance."""
    model = Bandit([0.9, 0.7, 0.1], "none")
    plays = ucb1.run(Episodes(model, rng()), Params(5000), rng()).output.plays
    assert (plays <= ucb1.pull_bounds(model.mu, 5000) - math.pi**2 / 3).all()


@pytest.mark.parametrize("chunk", [1, 7])
def test_the_size_of_a_chunk_changes_no_bit(chunk):
    for entry in (ucb1.run, ucb1.run_kl):
        np.testing.assert_array_equal(arms(entry, Bandit(FOUR), Params(90), 4, chunk=chunk),
                                      arms(entry, Bandit(FOUR), Params(90), 4))


BANDIT = Bandit([0.2, 0.8])
BAD = {
    "not episodes": (lambda: ucb1.run(Exact(BANDIT), Params(9), rng()), "access must be a Episodes"),
    "states": (lambda: ucb1.run(Episodes(riverswim_episodic(3, 2), rng()), Params(9), rng()), "without contexts"),
    "contexts": (lambda: ucb1.run(Episodes(ContextualBandit([1.0], [[0.5]]), rng()), Params(9), rng()), "contexts"),
    "tall": (lambda: ucb1.run(Episodes(Bandit([2.0], "none"), rng()), Params(9), rng()), r"the rewards.*\[0, 1\]"),
    "negative": (lambda: ucb1.run(Episodes(Bandit([-1.0], "none"), rng()), Params(9), rng()), r"the rewards"),
    "no params": (lambda: ucb1.run(Episodes(BANDIT, rng()), 9, rng()), "params must be a Params"),
    "n": (lambda: ucb1.theory(0), "n must be at least 1"),
    "alpha": (lambda: ucb1.run(Episodes(BANDIT, rng()), Params(9, -1.0), rng()), "params.alpha must be"),
    "c": (lambda: ucb1.run_kl(Episodes(BANDIT, rng()), Params(9, c=math.nan), rng()), "params.c must be"),
    "generator": (lambda: ucb1.run(Episodes(BANDIT, rng()), Params(9), 3), "rng must be"),
    "plays": (lambda: ucb1.indices([0.0], [0.0], 3), r"plays\[0\]"),
    "mean": (lambda: ucb1.kl_index(1.5, 2, 1.0), "mean must be in"),
    "mu": (lambda: ucb1.regret_bound([1.5], 3), r"mu\[0\]"),
}


test_bad_input = closing.refusals(BAD)


def test_the_figure_draws_what_it_computes():
    from matplotlib.figure import Figure

    data, figure = picture.compute(None, n=300, runs=2), Figure()
    picture.draw(data, figure, {"C1": "SUPPORTED"})
    assert all((np.diff(data[f"run {name}"][0]) >= 0).all() for name in picture.NAMES)
    assert len(figure.axes) == 1


test_no_claim_is_refuted_and_every_control_is = closing.claims(checks.CHECKS)
