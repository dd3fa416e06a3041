"""Distributional DP: reference values, identities, accounting, the slow reference, every claim and every control."""

import itertools
from fractions import Fraction

import closing
import flint
import numpy as np
import pytest

from algorithms.planning import dist_dp as dd
from figures.planning import dist_dp as picture
from mdpkit.access import Episodes, Exact
from mdpkit.instances.formula import stationary, stationary_episodic
from mdpkit.models.tabular import EpisodicMDP
from mdpkit.rational import rational
from mdpkit.solve import distributional, episodic
from theory_checks.planning import _dist_dp_twins as twins
from theory_checks.planning import dist_dp as checks

pytestmark = pytest.mark.xdist_group("dist-dp")

EXACT = 1e-12
ONE = flint.fmpq(1)
K = dd.FUNCTIONALS
TENTHS = [[[(t, flint.fmpq(round(10 * p), 10), flint.fmpq(int(x))) for t, (p, x) in enumerate(zip(law, pay))]
           for law, pay in zip(*rows)] for rows in zip(checks.KERNEL_D, checks.REWARDS_D)]


def rng(seed=0):
    return np.random.default_rng(seed)


def instance(H):
    """D with probabilities in exact tenths."""
    return [TENTHS] * H


def number(x):
    return float(Fraction(int(x.p), int(x.q)))


def test_reference_values_of_expected_utilities():
    table = {"mean": (3.084, 0.084, 4.584), "at least 2": (0.868, 0.343, 0.940), "near 0": (-0.886, -1.974, -1.188),
             "squared": (-2.880, -5.964, -3.130),
             "exponential": (-0.458688359614, -2.055698607972, -0.216669039213)}
    for name, row in table.items():
        for c, want in zip((0.0, -3.0, 1.5), row):
            found = dd.plan(instance(3), ONE, K[name], 0, rational(c)).value
            assert number(found) == pytest.approx(want, abs=EXACT)
            assert found == checks.best_of_all(instance(3), ONE, K[name], rational(c))
    assert len(checks.histories(instance(3), ONE, 0)) == 128


def test_reference_values_of_risk():
    for tau, *row in ((flint.fmpq(1, 10), -0.8, -0.9, -0.9), (flint.fmpq(1, 4), 0.28, 0.26, 0.16),
                      (flint.fmpq(1, 2), 1.13, 1.13, 0.914), (ONE, 3.084, 3.084, 3.084)):
        methods = (dd.cvar, twins.markov_risk, twins.greedy_on_risk)
        found = [number(method(instance(3), tau, 0)[0]) for method in methods]
        assert found == pytest.approx(row, abs=EXACT)
    assert dd.cvar(instance(3), flint.fmpq(1, 10), 0)[1] == 1              # the first stock is -1


def test_reference_values_of_what_is_not_indifferent():
    for name, recursion, best in (("median", 2.0, 3.0), ("-variance", -6.122784, -2.813436)):
        assert number(dd.plan(instance(3), ONE, K[name], 0, 0 * ONE).value) == pytest.approx(recursion, abs=EXACT)
        assert number(checks.best_of_all(instance(3), ONE, K[name], 0 * ONE)) == pytest.approx(best, abs=EXACT)


def test_reference_values_with_a_discount():
    gamma, near = flint.fmpq(7, 10), K["near 0"]
    for n, want in enumerate((-2.1, -1.323, -1.3444, -1.1285862, -1.066168592), 1):
        found = number(dd.plan(instance(n), gamma, near, 0, ONE).value)
        assert found == pytest.approx(want, abs=EXACT)
    for c, right, wrong in ((0, -0.69362, -0.81346), (1, -1.3444, -1.49842), (-1, -1.03162, -1.22097)):
        assert number(dd.plan(instance(3), gamma, near, 0, c * ONE).value) == pytest.approx(right, abs=EXACT)
        law = twins.undivided(instance(3), gamma, near, 0, c * ONE)
        assert number(law.value) == pytest.approx(wrong, abs=EXACT)
    for name, c, loss in (("at least 2", 1, 0.054), ("at least 2", 2, 0.114), ("exponential", 0, 0.01760016)):
        P, c = instance(3), c * ONE
        gap = checks.best_of_all(P, gamma, K[name], c) - dd.plan(P, gamma, K[name], 0, c).value
        assert number(gap) == pytest.approx(loss, abs=5e-9)                             # given in eight digits


def test_the_longest_horizons_on_the_tree_of_histories():
    """V_n(s, c) = gamma max_a E V_{n-1}(t, (c + R)/gamma), V_0 = -|c|: floats, nothing merged."""
    def tree(n, s, c):
        return -abs(c) if n == 0 else 0.7 * max(
            sum(p * tree(n - 1, t, (c + x) / 0.7) for t, (p, x) in enumerate(zip(law, pay)))
            for law, pay in zip(checks.KERNEL_D[s].tolist(), checks.REWARDS_D[s].tolist()))

    for n, want in ((6, -1.0107677723), (7, -0.9400884039), (8, -0.8879570195)):
        assert tree(n, 0, 1.0) == pytest.approx(want, abs=1e-10)            # given in ten digits


def test_mean_is_ordinary_dynamic_programming():
    m = stationary_episodic(3, 2, 3)
    out = dd.run(Exact(m), dd.theory("mean"), rng()).output
    assert [float(out[s].value) for s in range(3)] == pytest.approx(episodic.solve(m).value[0].tolist(), abs=EXACT)


def test_every_atom_and_every_stock_is_counted():
    P = instance(3)
    found = dd.plan(P, flint.fmpq(7, 10), K["near 0"], 0, ONE)
    assert sum(p for _, p in found.law) == 1
    levels = dd.reachable(P, flint.fmpq(7, 10), 0, ONE)
    assert sorted(found.policy) == sorted((h, *at) for h in range(3) for at in levels[h])
    assert dd.evaluate(P, flint.fmpq(7, 10), found.policy, levels)[0][0, ONE] == found.law


def slow(P, gamma, U, s, c, *, divide=True, shifted=True):
    """Lines 1 to 4 on the tree of histories: nothing merged or remembered, Fractions; returns atoms with repetition."""
    if not P:
        return [(Fraction(0), Fraction(1))]
    laws = []
    for moves in P[0][s]:
        law = []
        for t, p, x in moves:
            p, x = (Fraction(int(y.p), int(y.q)) for y in (p, x))
            after = (c + x) / gamma if divide else c + x
            law += [(x + gamma * g, p * q) for g, q in slow(P[1:], gamma, U, t, after, divide=divide, shifted=shifted)]
        laws.append(law)
    return max(laws, key=lambda law: sum(q * U(c * shifted + g) for g, q in law))


@pytest.mark.parametrize(("name", "U"), [("near 0", lambda x: -abs(x)), ("squared", lambda x: -x * x),
                                         ("shortfall", lambda x: min(x, 0))])
def test_the_plan_agrees_with_the_pseudo_code_exactly(name, U):
    for gamma, c in itertools.product((Fraction(1), Fraction(7, 10)), (Fraction(0), Fraction(-3), Fraction(3, 2))):
        law = slow(instance(3), gamma, U, 0, c)
        found = dd.plan(instance(3), flint.fmpq(gamma.numerator, gamma.denominator), K[name], 0,
                        flint.fmpq(c.numerator, c.denominator))
        assert Fraction(int(found.value.p), int(found.value.q)) == sum(q * U(c + g) for g, q in law)


@pytest.mark.parametrize("mutant", [{"divide": False}, {"shifted": False}])
def test_each_mutant_differs_in_numbers(mutant):
    U, gamma = (lambda x: -abs(x)), Fraction(7, 10)
    right, wrong = (sum(q * U(1 + g) for g, q in slow(instance(3), gamma, U, 0, Fraction(1), **options))
                    for options in ({}, mutant))
    assert right - wrong > Fraction(1, 100)


def test_a_maximum_in_place_of_an_argmax_of_k_differs():
    """Third mutant: the law with the largest mean, kept whatever K says."""
    P = instance(3)
    greedy = dd.plan(P, ONE, K["mean"], 0, 0 * ONE).law
    assert K["near 0"](greedy) < dd.plan(P, ONE, K["near 0"], 0, 0 * ONE).value


def test_the_three_entries_agree_where_they_must():
    m = EpisodicMDP.stationary(checks.KERNEL_D, np.zeros((2, 2)), [0.5, 0.5], 3)
    R = np.broadcast_to(checks.REWARDS_D, (3, 2, 2, 2))
    params = dd.Params("near 0", 1.5, 1.0, R, 0.25)
    first, second = (run(Exact(m), params, rng()).output for run in (dd.run, dd.run_policy_iteration))
    assert {s: p.value for s, p in first.items()} == {s: p.value for s, p in second.items()}
    assert float(first[0].value) == pytest.approx(-1.188, abs=EXACT)
    risk, b, plan = dd.run_cvar(Exact(m), params, rng()).output[0]
    house, at = distributional.cvar(EpisodicMDP(m.P, m.r, [1.0, 0.0]), 0.25, rewards=R, tier="exact")
    assert house.lo <= float(risk) <= house.hi and float(b) == at
    assert sum(p for _, p in plan.law) == 1
    mine = dd.Params(lambda law: -law[-1][0], 0.0, 1.0, R)          # a functional of one's own
    own = dd.run(Exact(m), mine, rng()).output
    assert own[0].value == -own[0].law[-1][0]


def test_the_figure_draws_what_it_computes():
    from matplotlib.figure import Figure

    data, figure = picture.compute(None), Figure()
    picture.draw(data, figure, {"C2": "SUPPORTED"})
    assert len(figure.axes) == 2
    assert (data["risk stock"] >= data["risk markov"] - EXACT).all()
    assert (data["risk markov"] >= data["risk mean"] - EXACT).all()
    assert data["risk stock"][1] == pytest.approx(-0.8, abs=EXACT) and data["tau"][1] == 0.1
    assert (data["home stock"] <= data["home markov"] + EXACT).all()


MODEL = stationary_episodic(2, 2, 2)
BAD = {
    "a model": (lambda: dd.run(MODEL, dd.theory("mean"), rng()), "access must be a Exact"),
    "episodes": (lambda: dd.run(Episodes(MODEL, rng()), dd.theory("mean"), rng()), "access must be a Exact"),
    "discounted": (lambda: dd.run(Exact(stationary(2, 2, 0.5)), dd.theory("mean"), rng()), "access.model"),
    "K": (lambda: dd.theory("mode"), "K must be one of"),
    "K of run": (lambda: dd.run(Exact(MODEL), dd.Params("mode"), rng()), "params.K must be one of"),
    "gamma": (lambda: dd.theory("mean", 0.0, 0.0), r"gamma must be in \(0, 1\]"),
    "stock": (lambda: dd.run(Exact(MODEL), dd.Params("mean", np.nan), rng()), "params.stock"),
    "rewards": (lambda: dd.run(Exact(MODEL), dd.Params("mean", rewards=np.zeros((2, 2))), rng()), "rewards must be"),
    "tau": (lambda: dd.run_cvar(Exact(MODEL), dd.Params("mean", tau=0.0), rng()), "params.tau"),
    "discounted risk": (lambda: dd.run_cvar(Exact(MODEL), dd.Params("mean", gamma=0.5), rng()), "params.gamma must"),
    "no params": (lambda: dd.run(Exact(MODEL), "mean", rng()), "params must be a Params"),
    "no generator": (lambda: dd.run(Exact(MODEL), dd.theory("mean"), 3), "rng must be"),
}


test_bad_input = closing.refusals(BAD)


test_no_claim_is_refuted_and_every_control_is = closing.claims(checks.CHECKS)
