"""PEVI, VI-LCB, LCB: reference values, identities on numbers, accounting, slow references, claims and controls."""

import math

import closing
import numpy as np
import pytest

from algorithms.offline import vi_lcb
from figures.offline import vi_lcb as picture
from mdpkit.access import Episodes, Generative
from mdpkit.concentration import pevi_hoeffding, pevi_linear, union_log, vi_lcb_log
from mdpkit.concentration import vi_lcb as penalty
from mdpkit.data import collect, draw_tuples
from mdpkit.instances import formula
from mdpkit.instances.garnet import random_episodic
from mdpkit.measure.coverage import single_policy_concentrability
from mdpkit.measure.occupancy import occupancy
from mdpkit.measure.regret import gap
from mdpkit.measure.values import optimal_action_value
from mdpkit.models.bandits import Bandit
from mdpkit.models.convert import one_hot, to_episodic
from mdpkit.models.tabular import EpisodicMDP
from mdpkit.records import Dataset, Steps
from theory_checks.offline import vi_lcb as checks

pytestmark = pytest.mark.xdist_group("vi-lcb")

EXACT = 1e-12
ROUND = 1e-9
F = formula.stationary_episodic(4, 3, 3)
UNIFORM = np.full((3, 4, 3), 1 / 3)


def rng(seed=0):
    return np.random.default_rng(seed)


def reference_counts():
    h, s, a = np.indices((3, 4, 3))
    N = 50.0 * (1 + (h + 2 * s + 3 * a) % 4)
    N[:, 1, 2] = 0
    return vi_lcb.Counts(N, N * F.r, N[..., None] * F.P)


def test_reference_values():
    out = vi_lcb.pevi(reference_counts(), 0.1)
    close = lambda x, y: np.testing.assert_allclose(x, y, rtol=0, atol=EXACT)
    close(out.b[0, 0], (0.7695015328645609, 0.38475076643228046, 0.44427191714118397))
    close(out.V[0], (1.5131885068726862, 0.9902949982612277, 1.2478834156066985, 1.635509165076499))
    assert out.policy.tolist() == [[1, 0, 1, 0], [1, 0, 2, 0], [1, 0, 0, 0]]
    assert vi_lcb_log(8, 3, 2, 0.1) == pytest.approx(13969.432640236531, rel=EXACT)
    assert penalty(1e6, 2.0, vi_lcb_log(8, 3, 2, 0.1)) == pytest.approx(0.23638470881371773, rel=EXACT)


def test_the_decomposition_on_numbers():
    out, pi = vi_lcb.pevi(reference_counts(), 0.1), optimal_action_value(F).argmax(-1)
    left, one, two, three = vi_lcb.decomposition(F.P, F.r, F.rho, out.Q, pi)
    assert left == pytest.approx(one + two + three, abs=EXACT)
    assert left == pytest.approx(gap(F, out.policy), abs=EXACT)
    np.testing.assert_allclose(vi_lcb.occupancy(F.P, F.rho, pi), occupancy(F, np.eye(3)[pi]), rtol=0, atol=EXACT)


def slow(model, data, params, *, folds=True, sign=-1.0, floor=0.0, unseen=0.0):
    """Lines 1 to 4 from lists of tuples."""
    H, S, A = model.r.shape
    V, L, parts = np.zeros(S), math.log(2 * S * A * H / params.delta), data.take(params.n).steps
    Q, b = np.zeros((H, S, A)), np.zeros((H, S, A))
    for h in range(H - 1, -1, -1):
        rows = [i for i in range(params.n) if not folds or i % H == h]
        for s in range(S):
            for a in range(A):
                mine = [i for i in rows if (parts.s[i, h], parts.a[i, h]) == (s, a)]
                n = len(mine)
                mean = sum(parts.r[i, h] + V[parts.s_next[i, h]] for i in mine) / n if n else unseen
                b[h, s, a] = params.c * ((H - h) * math.sqrt(L / (2 * n)) if n else H - h)
                Q[h, s, a] = min(max(mean + sign * b[h, s, a], floor), H - h)
        V = Q[h].max(-1)
    return Q, b


@pytest.mark.parametrize("c", [1.0, 0.1])
def test_pevi_agrees_with_the_pseudo_code(c):
    """To rounding: the reference adds the tuples one by one."""
    base = random_episodic(4, 3, 3, rng(2))
    model, params = EpisodicMDP(base.P, base.r, base.rho, "bernoulli"), vi_lcb.Params(200, 0.1, c)
    data = collect(model, UNIFORM, 210, rng(3))
    out = vi_lcb.run(Episodes(model, rng()), data, params, rng())
    Q, b = slow(model, data, params)
    np.testing.assert_allclose(out.output.Q, Q, rtol=0, atol=EXACT)
    np.testing.assert_allclose(out.output.b, b, rtol=0, atol=EXACT)
    np.testing.assert_array_equal(out.output.policy, Q.argmax(-1))
    assert out.samples == {"offline": 200, "episodes": 0, "steps": 0}


MUTANTS = {"no folds": {"folds": False}, "a bonus": {"sign": 1.0}, "no clip at 0": {"floor": -9.0},
           "optimism where nothing was seen": {"unseen": 3.0}}


@pytest.mark.parametrize("name", MUTANTS)
def test_each_mutant_differs(name):
    data, params = collect(F, UNIFORM, 40, rng(3)), vi_lcb.Params(40, 0.1, 0.5)
    out = vi_lcb.run(Episodes(F, rng()), data, params, rng()).output
    assert np.abs(slow(F, data, params, **MUTANTS[name])[0] - out.Q).max() > ROUND


def test_every_tuple_is_counted_once_and_in_its_fold():
    data = collect(F, UNIFORM, 30, rng(1))
    whole = vi_lcb.tally(data.steps, 4, 3)
    np.testing.assert_array_equal(whole.N.sum((1, 2)), 30)
    np.testing.assert_array_equal(whole.M.sum(-1), whole.N)
    assert whole.R.sum() == pytest.approx(data.steps.r.sum(), abs=ROUND)
    for i, h in np.ndindex(30, 3):
        assert whole.M[h, data.steps.s[i, h], data.steps.a[i, h], data.steps.s_next[i, h]] >= 1
    folds = [vi_lcb.tally(Steps(*(part[h::3, h: h + 1] for part in data.steps)), 4, 3) for h in range(3)]
    out = vi_lcb.run(Episodes(F, rng()), data, vi_lcb.theory(30, 0.1), rng()).output
    again = vi_lcb.pevi(vi_lcb.Counts(*(np.concatenate(x) for x in zip(*folds))), 0.1)
    np.testing.assert_array_equal(out.Q, again.Q)
    assert [f.N.sum() for f in folds] == [10, 10, 10]


def test_linear_with_one_hot_features_shrinks_means_by_one_count():
    """Lambda is diagonal: the fit is the sum of targets over N + 1, the penalty beta/sqrt(N + 1)."""
    model, params = one_hot(F), vi_lcb.Params(60, 0.1, 0.02)
    data = collect(F, UNIFORM, 60, rng(4))
    out = vi_lcb.run_linear(Episodes(model, rng()), data, params, rng()).output
    N, R, M = vi_lcb.tally(data.steps, 4, 3)
    beta, V = pevi_linear(12, 3, 60, 0.1, 0.02), np.zeros(4)
    for h in (2, 1, 0):
        Q = np.clip((R[h] + M[h] @ V) / (N[h] + 1) - beta / np.sqrt(N[h] + 1), 0, 3 - h)
        np.testing.assert_allclose(out.Q[h], Q, rtol=0, atol=EXACT)
        V = Q.max(-1)


def slow_discounted(N, R, M, gamma, L):
    """Lines 5 to 8, state by state."""
    folds, S, A = N.shape
    top, V, pi = 1 / (1 - gamma), [0.0] * S, [int(np.argmax(N[0, s])) for s in range(S)]
    for t in range(1, folds):
        new, chosen = list(V), list(pi)
        for s in range(S):
            Q = []
            for a in range(A):
                n = N[t, s, a]
                mean = R[t, s, a] / n + gamma * sum(M[t, s, a, z] * V[z] for z in range(S)) / n if n else 0.0
                Q.append(mean - (top * math.sqrt(L / n) if n else top))
            if max(Q) > V[s]:
                new[s], chosen[s] = max(Q), int(np.argmax(Q))
        V, pi = new, chosen
    return np.array(V), np.array(pi)


@pytest.mark.parametrize("L", [0.0, 0.5, 20.0])
def test_vi_lcb_agrees_with_the_pseudo_code(L):
    model = formula.stationary(3, 2, 0.5)
    N = rng(1).multinomial(400, np.full(6, 1 / 6), 6).reshape(6, 3, 2)
    N[2, 1] = 0
    M = rng(2).multinomial(N, model.P)
    counts = vi_lcb.Counts(*(np.asarray(x, float) for x in (N, N * model.r, M)))
    out = vi_lcb.lcb_iteration(counts, 0.5, L)
    V, pi = slow_discounted(*counts, 0.5, L)
    np.testing.assert_allclose(out.values[-1], V, rtol=0, atol=EXACT)
    np.testing.assert_array_equal(out.policies[-1], pi)


def test_vi_lcb_from_tuples_is_vi_lcb_from_counts():
    model, n = formula.stationary(3, 2, 0.5), 410
    data = draw_tuples(to_episodic(model, 1), np.full((1, 3, 2), 1 / 6), n, rng(3))
    T = math.ceil(2 * math.log(n))
    params = vi_lcb.Params(n, 0.1, 0.01)
    out = vi_lcb.run_discounted(Episodes(model, rng()), data, params, rng()).output
    m = n // (T + 1)
    rows = [Steps(*(part[t * m: t * m + m] for part in data.steps)) for t in range(T + 1)]
    counts = vi_lcb.Counts(*(np.concatenate(x) for x in zip(*(vi_lcb.tally(row, 3, 2) for row in rows))))
    again = vi_lcb.lcb_iteration(counts, 0.5, 1e-4 * vi_lcb_log(T, 3, 2, 0.1))
    np.testing.assert_array_equal(out.values, again.values)
    np.testing.assert_array_equal(out.policies, again.policies)
    assert len(out.values) == T + 1


def pulls(arms, rewards):
    zero = np.zeros((len(arms), 1), np.int64)
    return Dataset(Steps(zero, np.array(arms)[:, None], np.array(rewards, float)[:, None], zero), "pulls", joint=False)


def test_lcb_on_numbers():
    """Arm 1: 0.9 - sqrt(log(60)/200) = 0.757; arm 2 looks better, 1 - sqrt(log(60)/4) < 0; arm 0 was never pulled."""
    data, model = pulls([1] * 100 + [2] * 2, [1] * 90 + [0] * 10 + [1, 1]), Bandit([0.5, 0.9, 0.8])
    pick = lambda c: vi_lcb.run_bandit(Episodes(model, rng()), data, vi_lcb.Params(102, 0.1, c), rng()).output
    assert (pick(1.0), pick(0.0)) == (1, 2)
    few = vi_lcb.Params(100, 0.1, 1.0)
    assert vi_lcb.run_bandit(Episodes(model, rng()), data, few, rng()).output == 1


def test_the_coverage_sum_is_the_measured_concentrability():
    pi = np.eye(3)[optimal_action_value(F).argmax(-1)]
    d, mu = occupancy(F, pi), occupancy(F, UNIFORM)
    total, bound = vi_lcb.coverage_sum(d, mu)
    assert bound == pytest.approx(3 * math.sqrt(4 * single_policy_concentrability(F, pi, mu)), abs=ROUND)
    assert total == pytest.approx(sum(d[k] / math.sqrt(mu[k]) for k in np.ndindex(d.shape)), abs=ROUND)


def test_the_width_without_data_is_the_range():
    out = vi_lcb.pevi(vi_lcb.Counts(np.zeros((3, 4, 3)), np.zeros((3, 4, 3)), np.zeros((3, 4, 3, 4))), 0.1)
    np.testing.assert_array_equal(out.b, np.broadcast_to(np.arange(3.0, 0.0, -1.0)[:, None, None], (3, 4, 3)))
    assert not out.V.any()
    assert pevi_hoeffding(8.0, 3.0, union_log(36, 0.1)) > 1


DATA = collect(F, UNIFORM, 30, rng())
RIVER = formula.stationary(3, 2, 0.5)
BAD = {
    "no data": (lambda: vi_lcb.run(Episodes(F, rng()), None, vi_lcb.theory(9, 0.1), rng()), "data must be a Dataset"),
    "not episodes": (lambda: vi_lcb.run(Generative(F, rng()), DATA, vi_lcb.theory(9, 0.1), rng()), "access must be"),
    "few rows": (lambda: vi_lcb.run(Episodes(F, rng()), DATA, vi_lcb.theory(31, 0.1), rng()), "data must be of 3"),
    "no features": (lambda: vi_lcb.run_linear(Episodes(F, rng()), DATA, vi_lcb.theory(9, 0.1), rng()), "known.phi"),
    "no tuples": (lambda: vi_lcb.run_discounted(Episodes(RIVER, rng()), DATA, vi_lcb.theory(9, 0.1), rng()), "data mu"),
    "too few": (lambda: vi_lcb.run_discounted(Episodes(RIVER, rng()), pulls([0, 1], [0, 1]), vi_lcb.theory(2, 0.1),
                                              rng()), "params.n must be at least"),
    "no such arm": (lambda: vi_lcb.run_bandit(Episodes(Bandit([0.5]), rng()), pulls([1], [0]), vi_lcb.theory(1, 0.1),
                                              rng()), r"data.steps.a\[0, 0\]"),
    "rewards": (lambda: vi_lcb.run_bandit(Episodes(Bandit([0.5]), rng()), pulls([0], [2]), vi_lcb.theory(1, 0.1),
                                          rng()), r"data.steps.r\[0, 0\]"),
    "no generator": (lambda: vi_lcb.run(Episodes(F, rng()), DATA, vi_lcb.theory(9, 0.1), 0), "rng must be"),
    "c": (lambda: vi_lcb.run(Episodes(F, rng()), DATA, vi_lcb.Params(9, 0.1, -1.0), rng()), "params.c must be"),
    "delta": (lambda: vi_lcb.theory(9, 0.0), "delta must be in"),
}


test_bad_input = closing.refusals(BAD)


def test_the_figure_draws_what_it_computes():
    from matplotlib.figure import Figure

    data, figure = picture.compute(None, largest=300, runs=2), Figure()
    picture.draw(data, figure, {"C5": "SUPPORTED"})
    for name in picture.SHARES:
        assert (data[f"{name} loss"] <= data[f"{name} bound"]).all()
    assert len(figure.axes) == 1


test_no_claim_is_refuted_and_every_control_is = closing.claims(checks.CHECKS)
