"""Thompson sampling: reference values, exact laws, accounting, the slow reference, every claim and every control."""

import math
from fractions import Fraction

import closing
import flint
import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import beta as beta_law

from algorithms.bandits import thompson
from algorithms.bandits.thompson import Params
from figures.bandits import thompson as picture
from mdpkit.access import Episodes, Exact
from mdpkit.instances.chains import riverswim_episodic
from mdpkit.models.bandits import Bandit, ContextualBandit
from mdpkit.rational import fraction
from theory_checks.bandits import _thompson_twins as twins
from theory_checks.bandits import thompson as checks

pytestmark = pytest.mark.xdist_group("thompson")

EXACT = 1e-12
QUADRATURE = 1e-8        # quad's own default tolerance is 1.49e-8, of a smooth integrand it does far better
FOUR = checks.FOUR


def rng(seed=0):
    return np.random.default_rng(seed)


def played(model, params, seed=0, **more):
    return thompson.run(Episodes(model, rng(seed), **more), params, rng(seed + 50))


def arms(out):
    return out.trace.policies[out.trace.index]


def test_reference_values():
    assert thompson.best((3, 2, 1), (2, 2, 1)) == (flint.fmpq(3, 7), flint.fmpq(1, 4), flint.fmpq(9, 28))
    assert thompson.bayes_bound(4, 1000) == pytest.approx(52.655376954683184, rel=EXACT)
    for K in (1, 2, 4):
        assert thompson.largest([1] * K, [1] * K) == flint.fmpq(K, K + 1)
        assert thompson.best([1] * K, [1] * K) == (flint.fmpq(1, K),) * K


@pytest.mark.parametrize(("alpha", "beta"), [((3, 2, 1), (2, 2, 1)), ((1, 7), (4, 2)), ((12, 3, 9, 1), (1, 5, 9, 2))])
def test_exact_chances_are_the_integrals(alpha, beta):
    K = len(alpha)
    laws = [beta_law(a, b) for a, b in zip(alpha, beta)]
    for j, chance in enumerate(thompson.best(alpha, beta)):
        others = [i for i in range(K) if i != j]
        area = quad(lambda x, j=j, others=others: laws[j].pdf(x) * math.prod(laws[i].cdf(x) for i in others), 0, 1)[0]
        assert float(fraction(chance)) == pytest.approx(area, abs=QUADRATURE)
    area = quad(lambda x: 1 - math.prod(law.cdf(x) for law in laws), 0, 1)[0]
    assert float(fraction(thompson.largest(alpha, beta))) == pytest.approx(area, abs=QUADRATURE)


def test_the_chance_of_two_arms_is_the_known_sum():
    """P(theta_1 > theta_2) = sum_{i < alpha_1} B(alpha_2 + i, beta_1 + beta_2)/((beta_1 + i) B(1 + i, beta_1) B_2)."""
    def B(a, b):
        return Fraction(math.factorial(a - 1) * math.factorial(b - 1), math.factorial(a + b - 1))

    for a1, b1, a2, b2 in ((3, 2, 2, 2), (1, 1, 1, 1), (5, 4, 2, 7)):
        total = sum(B(a2 + i, b1 + b2) / ((b1 + i) * B(1 + i, b1) * B(a2, b2)) for i in range(a1))
        assert fraction(thompson.best((a1, a2), (b1, b2))[0]) == total


def test_foreseen_is_what_runs_do():
    """From the uniform prior, three arms, after two rounds: each of 1500 runs draws its means; five standard errors."""
    chances = thompson.foreseen((1, 1, 1), (1, 1, 1), 2)
    draws = rng(1)
    third = np.array([arms(thompson.run(Episodes(Bandit(draws.random(3)), rng(i)), Params(3), rng(i + 10**5)))[2]
                      for i in range(1500)])
    for j in range(3):
        p = float(fraction(chances[j]))
        assert abs((third == j).mean() - p) < 5 * math.sqrt(p * (1 - p) / 1500)
    assert twins.counts_five_times((1, 1, 1), (1, 1, 1), 2)[:3] == chances[:3]        # symmetry hides it here
    assert twins.counts_five_times((2, 1, 1), (1, 1, 1), 2) != thompson.foreseen((2, 1, 1), (1, 1, 1), 2)


def slow(model, n, seed, *, weight=1.0, order=1, one_draw=False, failures=1.0, late=False):
    """The pseudo-code, with lists."""
    world, mine = rng(seed), rng(seed + 50)
    alpha, beta, seen = [1.0] * model.A, [1.0] * model.A, []
    for _ in range(n):
        theta = [0.0] * model.A
        for j in range(model.A)[::order]:
            theta[j] = mine.beta(alpha[j], beta[j])
        if one_draw:
            theta = [a / (a + b) * theta[0] for a, b in zip(alpha, beta)]
        a = theta.index(max(theta))
        r = model.mu[a] if model.noise == "none" else 1.0 if world.random() < model.mu[a] else 0.0
        x = r if r in (0.0, 1.0) and not late else 1.0 if mine.random() < r else 0.0
        alpha[a] += weight * x
        beta[a] += failures * weight * (1 - x)
        seen.append(a)
    return np.array(seen), alpha, beta


@pytest.mark.parametrize("model", [Bandit(FOUR), Bandit([0.0, 1.0]), Bandit([0.4]), Bandit([0.3, 0.6], "none")],
                         ids=("four", "certain", "alone", "no noise"))
@pytest.mark.parametrize("weight", [1.0, 50.0])
def test_the_kernel_agrees_with_the_slow_reference_bit_for_bit(model, weight):
    out = played(model, Params(300, weight), 3)
    seen, alpha, beta = slow(model, 300, 3, weight=weight)
    np.testing.assert_array_equal(arms(out), seen)
    np.testing.assert_array_equal(out.output.alpha, alpha)
    np.testing.assert_array_equal(out.output.beta, beta)


MUTANTS = {
    "counts twice": {"weight": 2.0},
    "draws from the last arm on": {"order": -1},
    "draws one theta": {"one_draw": True},
    "forgets failures": {"failures": 0.0},
    "draws x always": {"late": True},
}


@pytest.mark.parametrize("name", MUTANTS)
def test_each_mutant_differs_from_the_kernel(name):
    assert (slow(Bandit(FOUR), 300, 3, **MUTANTS[name])[0] != arms(played(Bandit(FOUR), Params(300), 3))).any()


def test_every_play_is_counted():
    access = Episodes(Bandit(FOUR), rng(2))
    out = thompson.run(access, Params(500), rng())
    plays = out.output.alpha + out.output.beta - 2
    np.testing.assert_array_equal(plays, np.bincount(arms(out), minlength=4))
    assert access.samples["steps"] == len(out.trace) == 500
    assert (out.output.alpha % 1 == 0).all()


def test_rewards_between_0_and_1_count_as_draws():
    out = played(Bandit([0.25], "none"), Params(20_000))
    share = (out.output.alpha[0] - 1) / 20_000
    assert abs(share - 0.25) < 5 * math.sqrt(0.25 * 0.75 / 20_000)


@pytest.mark.parametrize("chunk", [1, 7])
def test_the_size_of_a_chunk_changes_no_bit(chunk):
    np.testing.assert_array_equal(arms(played(Bandit(FOUR), Params(90), 4, chunk=chunk)),
                                  arms(played(Bandit(FOUR), Params(90), 4)))


BANDIT = Bandit([0.2, 0.8])
BAD = {
    "not episodes": (lambda: thompson.run(Exact(BANDIT), Params(9), rng()), "access must be a Episodes"),
    "states": (lambda: thompson.run(Episodes(riverswim_episodic(3, 2), rng()), Params(9), rng()), "without contexts"),
    "contexts": (lambda: thompson.run(Episodes(ContextualBandit([1.0], [[0.5]]), rng()), Params(9), rng()), "contexts"),
    "tall": (lambda: thompson.run(Episodes(Bandit([1.0, 2.0], "none"), rng()), Params(99), rng()), "the rewards"),
    "no params": (lambda: thompson.run(Episodes(BANDIT, rng()), 9, rng()), "params must be a Params"),
    "n": (lambda: thompson.theory(0), "n must be at least 1"),
    "weight": (lambda: thompson.run(Episodes(BANDIT, rng()), Params(9, 0.0), rng()), "params.weight must be"),
    "generator": (lambda: thompson.run(Episodes(BANDIT, rng()), Params(9), 3), "rng must be"),
    "alpha": (lambda: thompson.best((0, 1), (1, 1)), "alpha must be at least 1"),
    "lengths": (lambda: thompson.best((1, 1), (1,)), "beta must be as many"),
    "choices": (lambda: thompson.choices([1.0], [0.0], 3, rng()), r"beta\[0\]"),
    "t": (lambda: thompson.foreseen((1,), (1,), -1), "t must be at least 0"),
}


test_bad_input = closing.refusals(BAD)


def test_the_figure_draws_what_it_computes():
    from matplotlib.figure import Figure

    data, figure = picture.compute(None, n=200, runs=2, bayes=100, priors=2), Figure()
    picture.draw(data, figure, {"C2": "SUPPORTED"})
    assert len(figure.axes) == 2
    assert all((np.diff(data[f"run {name}"][0]) >= 0).all() for name in picture.NAMES)


test_no_claim_is_refuted_and_every_control_is = closing.claims(checks.CHECKS)
