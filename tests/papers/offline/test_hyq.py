"""Hy-Q: reference values, identities on numbers, accounting, the slow reference, every claim and every control."""

import closing
import numpy as np
import pytest

from algorithms.offline import hyq
from mdpkit import validate
from mdpkit.access import Episodes, Exact, Generative
from mdpkit.data import collect, draw_tuples
from mdpkit.instances import formula
from mdpkit.instances.garnet import random_episodic
from mdpkit.instances.locks import lucky_behaviour, lucky_traps
from mdpkit.kernels import tally
from mdpkit.kernels.play import play
from mdpkit.measure.regret import Regret, regret
from mdpkit.measure.values import start_value
from mdpkit.models.convert import one_hot
from mdpkit.records import Dataset, Steps
from mdpkit.solve import episodic
from theory_checks.offline import hyq as checks

pytestmark = pytest.mark.xdist_group("hyq")

EXACT = 1e-12
ROUND = 1e-9
CARD = formula.step_dependent(4, 3, 5)
PI_E = validate.policy("pi_e", formula.step_dependent_policy(4, 3, 5), (5, 4, 3))
NU = formula.step_dependent_nu(4, 3, 5)
F = formula.step_dependent_critic(4, 3, 5)


def rng(seed=0):
    return np.random.default_rng(seed)


def test_reference_values():
    gap, one, two, three = hyq.decomposition(CARD.P, CARD.r, CARD.rho, F, PI_E)
    x = hyq.bellman_errors(CARD.P, CARD.r, F)
    assert gap == pytest.approx(0.12640312958089261, abs=EXACT)
    assert one == pytest.approx(3.422472309894883, abs=EXACT)
    assert two == pytest.approx(-1.2571758841324527, abs=EXACT)
    assert three == pytest.approx(2.0388932961815374, abs=EXACT)
    assert (NU * x * x).sum() == pytest.approx(5.963159312320099, abs=EXACT)
    assert hyq.transfer(Exact(CARD), PI_E, NU) == pytest.approx(2.409251567060922, abs=EXACT)
    assert start_value(CARD, PI_E) == pytest.approx(2.6335790137133457, abs=EXACT)
    assert CARD.rho @ episodic.solve(CARD).value[0] == pytest.approx(3.668448553320072, abs=EXACT)
    assert np.sqrt(5 * (hyq._occupancy(CARD.P, CARD.rho, PI_E) / NU).max()) == pytest.approx(3.1260042016084895,
                                                                                             abs=EXACT)


def test_no_coverage_is_infinite():
    nu = NU.copy()
    nu[2, 1, 0] = 0.0
    nu[2] /= nu[2].sum()
    assert hyq.transfer(Exact(CARD), PI_E, nu) == np.inf
    assert hyq.certificate(Exact(CARD), PI_E, nu, F)[0] == np.inf


def test_fit_on_noiseless_counts_is_q_star():
    """With the true means as data, line 5 is the Bellman backup; dyadic rows make the counts exact."""
    model = formula.step_dependent(4, 3, 5)
    H, S, A = model.r.shape
    counts = tally.empty(H, S, A)
    for h, s, a, t in np.ndindex(*model.P.shape):
        tally.add(counts, h, s, a, 0.0, t)
    counts.moves[:] = model.P * 2.0**20
    counts.visits[:] = 2.0**20
    counts.reward[:] = model.r * 2.0**20
    f, V, policy = np.zeros((H, S, A)), np.zeros((H + 1, S)), np.zeros((H, S), np.int64)
    hyq._fit(counts, f, V, 0.0, policy, False, rng())
    best = episodic.solve(model)
    np.testing.assert_allclose(V[:H], best.value, rtol=0, atol=EXACT)
    np.testing.assert_array_equal(policy, best.policy)


def slow(model, data, params, seed, *, keep=True, backup=np.max):
    """Algorithm 1 from its pseudo-code: every tuple in a list, every mean taken anew."""
    H, S, A = model.r.shape
    access, policies, fs = Episodes(model, rng(seed)), [], []
    lists = [[(s, a, r, t) for s, a, r, t in zip(*(part[: params.m_off, h] for part in data.steps))] for h in range(H)]
    f = np.zeros((H, S, A))
    for _ in range(params.T):
        pi = np.array([[int(np.argmax(f[h, s])) for s in range(S)] for h in range(H)])
        policies.append(pi)
        fs.append(f)
        fresh = [access.call(play, pi) for _ in range(params.m_on)]
        latest = [[(e[0][h], e[1][h], e[2][h], e[3][h]) for e in fresh] for h in range(H)]
        lists = [old + new for old, new in zip(lists, latest)]
        f = np.zeros((H, S, A))
        V = np.zeros(S)
        for h in range(H - 1, -1, -1):
            for s in range(S):
                for a in range(A):
                    f[h, s, a] = _mean([(r, t) for x, b, r, t in lists[h] if (x, b) == (s, a)], V, params.default)
            V = np.array([backup(f[h, s]) for s in range(S)])
        if not keep:
            lists = [old[: params.m_off] for old in lists]
    return np.array(policies), np.array(fs), f


def _mean(found, V, default):
    """Rewards first, then successors in order of their first coming: the order of the kernel's sums."""
    if not found:
        return default
    total = 0.0
    for r, _ in found:
        total += r
    for t in dict.fromkeys(t for _, t in found):
        total += sum(1.0 for _, u in found if u == t) * V[t]
    return total / len(found)


@pytest.mark.parametrize(("H", "A", "m_off", "m_on"), [(3, 3, 5, 1), (3, 2, 0, 1), (2, 3, 4, 3), (4, 2, 6, 0)])
def test_the_kernel_agrees_with_the_pseudo_code_bit_for_bit(H, A, m_off, m_on):
    model = random_episodic(4, A, H, rng(H))
    model = type(model)(model.P, model.r, model.rho, "bernoulli")
    data = draw_tuples(model, np.full((H, 4, A), 1 / (4 * A)), 8, rng(1))
    params = hyq.Params(12, m_off, m_on, default=0.25)
    policies, fs, last = slow(model, data, params, 7)
    out = hyq.run(Episodes(model, rng(7)), data, params, rng())
    np.testing.assert_array_equal(out.trace.policies[out.trace.index], policies)
    np.testing.assert_array_equal(out.trace.info["f"], fs)
    np.testing.assert_array_equal(out.output, last)


MUTANTS = {
    "forgets old episodes": lambda *a: slow(*a, keep=False),
    "averages over actions": lambda *a: slow(*a, backup=np.mean),
    "takes the worst action": lambda *a: slow(*a, backup=np.min),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_each_mutant_differs_from_the_kernel(name):
    model = random_episodic(4, 3, 3, rng(3))
    data = draw_tuples(model, np.full((3, 4, 3), 1 / 12), 8, rng(1))
    params = hyq.Params(12, 5)
    out = hyq.run(Episodes(model, rng(7)), data, params, rng())
    assert np.abs(MUTANTS[name](model, data, params, 7)[2] - out.output).max() > ROUND


def test_every_tuple_is_counted():
    model = lucky_traps(4, 3)
    data = collect(model, lucky_behaviour(4, 3), 20, rng(1))
    access = Episodes(model, rng(2))
    counts, params = tally.of(data.take(20).steps, model.S, model.A), hyq.Params(30, 20, m_on=2)
    state = (counts, np.zeros(model.r.shape), np.zeros((5, model.S)), np.zeros((4, model.S), np.int64),
             np.array([0.0, 0.0, 2.0, 0.0]))
    access.drive(hyq._loop, state, hyq.Log(state[3], state[1]), params.T, rng())
    np.testing.assert_array_equal(counts.visits.sum((1, 2)), 20 + 2 * 30)
    np.testing.assert_array_equal(counts.moves.sum(-1), counts.visits)
    np.testing.assert_array_equal((counts.moves > 0).sum(-1), counts.kinds)
    assert access.samples == {"episodes": 60, "steps": 240}


def test_random_ties_are_drawn_among_the_maximisers():
    model = lucky_traps(4, 3)
    data = collect(model, lucky_behaviour(4, 3), 20, rng(1))
    out = hyq.run(Episodes(model, rng(2)), data, hyq.Params(40, 20, random_ties=True), rng(3))
    f, pi = out.trace.info["f"], out.trace.policies[out.trace.index]
    np.testing.assert_array_equal(np.take_along_axis(f, pi[..., None], -1)[..., 0], f.max(-1))


def test_linear_with_one_hot_features_is_tabular():
    """Ridge 1e-8 moves a mean of n >= 1 targets below H by at most H 1e-8 a step, H^2 1e-8 in all."""
    model = random_episodic(3, 2, 3, rng(5))
    data = draw_tuples(model, np.full((3, 3, 2), 1 / 6), 60, rng(6))
    params = hyq.Params(6, 60)
    tabular = hyq.run(Episodes(model, rng(8)), data, params, rng())
    linear = hyq.run_linear(Episodes(one_hot(model), rng(8)), data, params, rng())
    np.testing.assert_allclose(linear.output, tabular.output, rtol=0, atol=9e-8)


def test_pessimism_repairs_offline_data_alone():
    """The control of C4: subtracting c/sqrt(N), clipped at 0, finds the lock; so the failure is over-estimation."""
    model, found = lucky_traps(8, 4), {0.0: 0, 0.5: 0}
    for seed in range(20):
        data = collect(model, lucky_behaviour(8, 4), 300, rng(seed))
        counts = tally.of(data.steps, model.S, model.A)
        for c in found:
            V, policy = np.zeros(model.S), np.zeros((8, model.S), np.int64)
            for h in range(7, -1, -1):
                n = np.maximum(counts.visits[h], 1.0)
                Q = (counts.reward[h] + counts.moves[h] @ V) / n - c / np.sqrt(n)
                Q = np.where(counts.visits[h] > 0, np.maximum(Q, 0.0), 0.0)
                policy[h], V = Q.argmax(-1), Q.max(-1)
            found[c] += start_value(model, policy) > 0.8 - EXACT
    assert found[0.5] == 20
    assert found[0.0] <= 6      # about one data set in 16 shows no trap that matters: P(Bin(20, 1/16) > 6) < 1e-4


def test_watching_is_the_regret_of_the_trace():
    model = lucky_traps(4, 3)
    data = collect(model, lucky_behaviour(4, 3), 20, rng(1))
    watch = Regret(model)
    hyq.run(Episodes(model, rng(2), watch=watch), data, hyq.Params(50, 20), rng(3))
    out = hyq.run(Episodes(model, rng(2)), data, hyq.Params(50, 20), rng(3))
    np.testing.assert_array_equal(watch.regret, regret(model, out.trace))


MODEL = lucky_traps(3, 3)
DATA = collect(MODEL, lucky_behaviour(3, 3), 8, rng())
BAD = {
    "not episodes": (lambda: hyq.run(Generative(MODEL, rng()), DATA, hyq.theory(8), rng()), "access must be a Epis"),
    "too few rows": (lambda: hyq.run(Episodes(MODEL, rng()), DATA, hyq.theory(9), rng()), "data must be of 3 steps"),
    "other horizon": (lambda: hyq.run(Episodes(lucky_traps(4, 3), rng()), DATA, hyq.theory(8), rng()), "data must b"),
    "no generator": (lambda: hyq.run(Episodes(MODEL, rng()), DATA, hyq.theory(8), 3), "rng must be"),
    "no such state": (lambda: hyq.run(Episodes(MODEL, rng()), Dataset(Steps(*(np.full((8, 3), 99) for _ in range(2)),
                      np.zeros((8, 3)), np.zeros((8, 3), np.int64)), "x"), hyq.theory(8), rng()), "data.steps.s"),
    "no features": (lambda: hyq.run_linear(Episodes(MODEL, rng()), DATA, hyq.theory(8), rng()), "known.phi"),
    "T": (lambda: hyq.theory(0), "T must be at least 1"),
}


test_bad_input = closing.refusals(BAD)


test_no_claim_is_refuted_and_every_control_is = closing.claims(checks.CHECKS)
