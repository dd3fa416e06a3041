"""Planning basics: reference values, identities on numbers, the slow references, every claim and every control."""

import itertools
from fractions import Fraction

import closing
import numpy as np
import oracles
import pytest

from algorithms.planning import planning_basics as pb
from figures.planning import planning_basics as picture
from mdpkit.access import Exact
from mdpkit.instances import chains, formula, lower_bounds
from mdpkit.instances.garnet import random_episodic
from mdpkit.models.tabular import TabularMDP
from mdpkit.rational import exact, fraction, rational
from mdpkit.solve import discounted
from theory_checks.planning import _planning_basics_twins as twins
from theory_checks.planning import planning_basics as checks

pytestmark = pytest.mark.xdist_group("planning-basics")

EXACT = 1e-12
ROUND = 1e-9
CARD = formula.stationary(4, 3, 0.9)
ARRAYS = (CARD.P, CARD.r, CARD.gamma)
PI = formula.stationary_policy(4, 3)
UNIFORM = np.full((4, 3), 1 / 3)
BEST = (7.859232869535019, 7.409706521944993, 7.6580632808926765, 8.035044003007998)


def rng(seed=0):
    return np.random.default_rng(seed)


def close(a, b, tolerance=EXACT):
    np.testing.assert_allclose(a, b, rtol=0, atol=tolerance)


def test_reference_values_of_value_iteration():
    V = np.zeros(4)
    for _ in range(20):
        V = pb.backup(*ARRAYS, V)
    D = pb.backup(*ARRAYS, V) - V
    close(V, (6.910484249766714, 6.460957902176687, 6.709314661124373, 7.086295383239694))
    close(np.abs(D).max(), 0.09487486197683204)
    assert np.ptp(D) < EXACT
    for side in pb.bounds(*ARRAYS, V):
        close(side, BEST)
    result = pb.run(Exact(CARD), pb.theory(1e-6), rng())
    close(result.output.value, BEST, 0.5e-6)                # half of eps, the guarantee
    assert result.output.policy.tolist() == [1, 0, 2, 0]


def test_reference_values_of_policy_iteration():
    result = pb.run_policy_iteration(Exact(CARD), pb.theory(1e-6), rng())
    assert result.trace.policies.tolist() == [[0, 0, 0, 0], [1, 0, 2, 0]]
    close(result.trace.info["V"][0], (5.246017955990556, 5.641496547315183, 5.732662226132089, 6.303196906822633))
    close(result.output.value, BEST)
    close(discounted.solve(CARD).value, BEST, ROUND)


def test_reference_values_of_the_lemmas():
    close(pb.performance_difference(*ARRAYS, CARD.rho, PI, UNIFORM), 0.26378534968349876)
    close(pb.iteration_bound(4, 3, 0.9), 192.20680743952371)
    assert pb.iteration_bound(6, 3, 0.99) == pytest.approx(5538, abs=0.5)       # given in four digits
    stay, leaks = lower_bounds.leaking(0.0), lower_bounds.leaking(0.01)
    one = np.ones((2, 1))
    assert pb.simulation(stay.P, stay.r, 0.9, stay.rho, one, leaks.P, leaks.r) == pytest.approx(-0.82569, abs=5e-6)
    close(pb.simulation_bound(stay.P, stay.r, 0.9, leaks.P, leaks.r), 0.9)


def test_the_greedy_loss_of_the_card_ties_in_floats_and_not_in_their_rationals():
    m, V = lower_bounds.greedy_loss(0.9, 0.01), np.array([9.01, 9.99])
    best = discounted.solve(m).value
    assert m.r[0, 0] == 0.882
    close((best - pb.evaluate(m.P, m.r, 0.9, pb.greedy(m.P, m.r, 0.9, V))).max(), 0.18, ROUND)
    close(pb.loss_bounds(m.P, m.r, 0.9, V, best), 0.18, ROUND)
    assert pb.greedy(exact(m.P), exact(m.r), rational(0.9), exact(V))[0] == 1       # the optimal action


def test_occupancy_accounts_for_all_mass():
    d = pb.occupancy(CARD.P, 0.9, CARD.rho, PI)
    close(d.sum(), 1.0)
    close((d * CARD.r).sum() / 0.1, CARD.rho @ pb.evaluate(*ARRAYS, PI))
    close(d.sum(1), 0.1 * CARD.rho + 0.9 * np.einsum("sa,saz->z", d, CARD.P))
    close(d, oracles.discounted_occupancy(CARD.P, CARD.rho, 0.9, PI, 300))         # 0.9**300 = 2e-14


@pytest.mark.parametrize("model", [CARD, chains.riverswim(5, 0.97), formula.average_reward(3, 2, 0.5)], ids=repr)
def test_rationals_agree_with_the_slow_reference_exactly(model):
    V, optimal = oracles.rational_optimum(model.P, model.r, model.gamma)
    P, r, gamma = exact(model.P), exact(model.r), rational(model.gamma)
    policies, values = pb.policy_iteration(P, r, gamma, np.zeros(model.S, np.int64))
    assert [fraction(x) for x in values[-1]] == V
    assert all(optimal[s][a] for s, a in enumerate(policies[-1]))
    assert [fraction(x) for x in values[0]] == oracles.rational_value(model.P, model.r, model.gamma, policies[0])
    slow = [max(Fraction(x) + Fraction(model.gamma) * sum(Fraction(p) * v for p, v in zip(law, V))
                for x, law in zip(*s)) for s in zip(model.r, model.P)]
    assert [fraction(x) for x in pb.backup(P, r, gamma, values[-1])] == slow == V


def test_floats_agree_with_the_slow_reference():
    close(pb.evaluate(*ARRAYS, PI), oracles.discounted_values(*ARRAYS, PI, 300))    # 10 * 0.9**300 = 2e-13
    m = random_episodic(3, 2, 3, rng(1))
    pi, ref = (rng(k).dirichlet(np.ones(2), (3, 3)) for k in (2, 3))
    values = [oracles.episodic_values(m.P, m.r, p)[0] for p in (pi, ref)]
    close(pb.finite_horizon_values(m.P, m.r, pi), values[0])
    A = oracles.episodic_values(m.P, m.r, ref)[1] - values[1][:-1, :, None]
    lemma = (oracles.forward_occupancy(m.P, m.rho, pi) * A).sum()
    close(pb.finite_horizon_difference(m.P, m.r, m.rho, pi, ref), lemma)
    close(lemma, m.rho @ (values[0][0] - values[1][0]))


def test_the_trace_is_value_iteration_up_to_its_stop():
    model, eps = chains.riverswim(6, 0.99), 1e-3
    result = pb.run(Exact(model), pb.theory(eps), rng())
    V, span = result.trace.info["V"], result.trace.info["span"]
    assert len(V) == len(span) == len(result.trace.index)
    for before, after in itertools.pairwise(V):
        np.testing.assert_array_equal(pb.backup(model.P, model.r, 0.99, before), after)
    assert (99 * span[:-1] > eps).all()
    assert 99 * span[-1] <= eps
    for k, at in enumerate(result.trace.index):
        np.testing.assert_array_equal(result.trace.policies[at], pb.greedy(model.P, model.r, 0.99, V[k]))
    assert np.abs(V[-1] - discounted.solve(model).value).max() > 1       # the span stops long before V arrives


TWINS = TabularMDP(np.full((2, 2, 2), 0.5), np.ones((2, 2)), 0.9, [1.0, 0.0])       # all policies are equal


def test_ties_keep_the_old_action():
    for P, r, gamma in ((TWINS.P, TWINS.r, 0.9), (exact(TWINS.P), exact(TWINS.r), rational(0.9))):
        for start in ([0, 0], [1, 0], [1, 1]):
            assert pb.policy_iteration(P, r, gamma, np.array(start)).policies.tolist() == [start]
    cycle = twins.restless(exact(TWINS.P), exact(TWINS.r), rational(0.9), np.array([0, 0])).policies
    assert cycle[:4].tolist() == [[0, 0], [1, 1], [0, 0], [1, 1]]
    assert len(cycle) > pb.iteration_bound(2, 2, 0.9) + 1


def test_policy_iteration_ends_where_rounding_exceeds_the_tolerance():
    model = formula.stationary(6, 3, 1 - 2.0**-40)
    twice = TabularMDP(np.repeat(model.P, 2, 1), np.repeat(model.r, 2, 1), model.gamma, model.rho)
    policies = pb.run_policy_iteration(Exact(twice), pb.Params(1e-6, 0.0), rng()).trace.policies
    assert len(np.unique(policies, axis=0)) == len(policies)


def test_a_small_change_is_no_small_error():
    """|D| <= eps leaves up to gamma eps/(1 - gamma), and on a constant reward just that."""
    access, eps = Exact(TWINS), 0.01
    wrong = twins.small_change(access, pb.theory(eps), rng()).output.value
    assert np.abs(wrong - 10.0).max() > 5 * eps
    close(pb.run(access, pb.theory(eps), rng()).output.value, 10.0)


TRUE = (*ARRAYS, CARD.rho, PI)
MODEL = (np.roll(CARD.P, 1, -1), CARD.r[:, ::-1])
MUTANTS = {
    "bounds": (pb.bounds, twins.one_step_bounds, (*ARRAYS, np.zeros(4))),
    "bounds around V": (pb.bounds, twins.bounds_around_V, (*ARRAYS, np.zeros(4))),
    "softmax": (pb.backup, twins.boltzmann, (*(exact(x) for x in ARRAYS[:2]), rational(0.9), exact(np.zeros(4)))),
    "difference": (pb.performance_difference, twins.reference_occupancy, (*TRUE, UNIFORM)),
    "simulation": (pb.simulation, twins.mixed_up, (*TRUE, *MODEL)),
    "model bound": (pb.simulation_bound, twins.one_factor_less, (*ARRAYS, *MODEL)),
    "occupancy": (pb.occupancy, twins.from_step_one, (CARD.P, 0.9, np.eye(4)[0], PI)),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_each_mutant_differs_in_numbers(name):
    right, wrong, arguments = MUTANTS[name]
    a, b = (np.asarray(f(*arguments), float) for f in (right, wrong))
    assert np.abs(a - b).max() > ROUND


TALL = TabularMDP(CARD.P, 2 * CARD.r, 0.9, CARD.rho)
BAD = {
    "a model": (lambda: pb.run(CARD, pb.theory(0.1), rng()), "access must be a Exact"),
    "episodic": (lambda: pb.run(Exact(formula.stationary_episodic(4, 3, 2)), pb.theory(0.1), rng()), "access.model"),
    "tall": (lambda: pb.run_policy_iteration(Exact(TALL), pb.theory(0.1), rng()), r"access.model.r\[.*in \[0, 1\]"),
    "eps": (lambda: pb.theory(0.0), "eps must be in"),
    "eps of run": (lambda: pb.run(Exact(CARD), pb.Params(-1.0), rng()), "params.eps must be in"),
    "no eps": (lambda: pb.run(Exact(CARD), 0.1, rng()), "params must be a Params"),
    "no generator": (lambda: pb.run(Exact(CARD), pb.theory(0.1), 0), "rng must be"),
}


test_bad_input = closing.refusals(BAD)


def test_sweeps_end_for_every_eps():
    for model in (CARD, chains.riverswim(4, 0.97), chains.chain(1, 0.0)):
        trace = pb.run(Exact(model), pb.theory(1e-300), rng()).trace
        assert trace.info["span"][-1] == 0
        assert (np.diff(trace.info["V"], axis=0) >= 0).all()        # rounding is monotone, so the sweeps are


def test_the_figure_draws_what_it_computes():
    from matplotlib.figure import Figure

    data, figure = picture.compute(), Figure()
    picture.draw(data, figure, {"C2": "SUPPORTED"})
    assert len(figure.axes) == 3
    assert data["F policy"][-1] == data["river policy"][-1] == 0
    for key, (_, gamma) in picture.WORLDS.items():
        k = int(data[f"{key} stop"])
        assert data[f"{key} span"][k] < 1e-3 * data[f"{key} span"][0] * gamma**k     # far below its worst rate


test_no_claim_is_refuted_and_every_control_is = closing.claims(checks.CHECKS)
