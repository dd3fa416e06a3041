"""Measures against definitions, identities and the numbers of papers."""

from __future__ import annotations

import functools
import itertools
import math
from typing import NamedTuple

import numpy as np
import oracles
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from mdpkit import strategies
from mdpkit.access import Episodes
from mdpkit.errors import MdpkitError
from mdpkit.jit import kernel
from mdpkit.kernels import backup
from mdpkit.measure import coverage, divergences, occupancy, regret, values
from mdpkit.models import convert
from mdpkit.models.bandits import Bandit, ContextualBandit, LinearBandit
from mdpkit.models.preferences import PreferenceModel
from mdpkit.models.tabular import EpisodicMDP, TabularMDP
from mdpkit.records import Trace
from mdpkit.worlds.markov import start, step

EXACT, ROUND = 1e-12, 1e-9
SOLVER = 1e-6
SEEDS = range(6)


def sparse_laws(rng, *shape):
    """Laws with about a third of their entries zero."""
    weights = rng.integers(0, 3, shape) * rng.integers(1, 9, shape)
    weights[..., 0] += weights.sum(-1) == 0
    return weights / weights.sum(-1, keepdims=True)


def episodic(seed, H=3, S=3, A=2):
    rng = np.random.default_rng(seed)
    model = EpisodicMDP(sparse_laws(rng, H, S, A, S), rng.integers(-4, 9, (H, S, A)) / 8, sparse_laws(rng, S))
    return model, sparse_laws(rng, H, S, A), rng


def discounted(seed, S=5, A=3, gamma=0.75, sparse=False):
    rng = np.random.default_rng(seed)
    P = sparse_laws(rng, S, A, S)
    stored = sp.csr_array(P.reshape(S * A, S)) if sparse else P
    return TabularMDP(stored, rng.integers(-4, 9, (S, A)) / 8, gamma, sparse_laws(rng, S)), sparse_laws(rng, S, A), rng


def second_moment(squares, law):
    return (law[..., None, None] * squares).sum((-4, -3)).reshape(-1, 3, 3)


def formula():
    """The instance F(4, 3, 5) of Song et al.'s card, its pi_e and its uniform nu."""
    h, s, a, z = np.ogrid[:5, :4, :3, :4]
    P = 1.0 + (7 * h + 5 * s + 3 * a + 11 * z + s * a * z) % 13
    h, s, a = np.ogrid[:5, :4, :3]
    pi = 1.0 + (h + 2 * s + 3 * a + s * a) % 5
    model = EpisodicMDP(P / P.sum(-1, keepdims=True), (3 * h + 2 * s + 5 * a + s * a) % 7 / 6, np.full(4, 0.25))
    return model, pi / pi.sum(-1, keepdims=True), np.full((5, 4, 3), 1 / 12)


# Values -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", SEEDS)
def test_episodic_values_meet_their_definition(seed):
    model, pi, _ = episodic(seed)
    V, Q = oracles.episodic_values(model.P, model.r, pi)
    np.testing.assert_allclose(values.value(model, pi), V[:-1], atol=EXACT)
    np.testing.assert_allclose(values.action_value(model, pi), Q, atol=EXACT)
    np.testing.assert_allclose(values.advantage(model, pi), Q - V[:-1, :, None], atol=EXACT)
    assert abs(values.start_value(model, pi) - model.rho @ V[0]) < EXACT


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("seed", SEEDS)
def test_discounted_values_meet_their_definition(seed, sparse):
    model, pi, _ = discounted(seed, sparse=sparse)
    V = oracles.discounted_values(model.dense, model.r, model.gamma, pi, 120)    # 0.75**120 / 0.25 = 4e-15
    np.testing.assert_allclose(values.value(model, pi), V, atol=EXACT)
    Q = model.r + model.gamma * np.einsum("sat,t->sa", model.dense, V)
    np.testing.assert_allclose(values.action_value(model, pi), Q, atol=EXACT)
    np.testing.assert_allclose(np.einsum("sa,sa->s", pi, values.advantage(model, pi)), 0, atol=EXACT)


@pytest.mark.parametrize("seed", SEEDS)
def test_optimum_by_brute_force(seed):
    model, _, _ = episodic(seed, H=2)
    assert abs(values.optimal_start_value(model) - oracles.best_value(model.P, model.r, model.rho)) < EXACT
    np.testing.assert_array_equal(values.optimal_action_value(model).max(-1), values.optimal_value(model))


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("seed", SEEDS)
def test_discounted_optimum_satisfies_bellman(seed, sparse):
    model, _, _ = discounted(seed, gamma=0.9, sparse=sparse)
    V = values.optimal_value(model)
    Q = model.r + model.gamma * np.einsum("sat,t->sa", model.dense, V)
    np.testing.assert_allclose(Q.max(-1), V, atol=EXACT)             # so |V - V*| <= EXACT / (1 - gamma)
    np.testing.assert_allclose(values.optimal_action_value(model), Q, atol=EXACT)


def test_ties_go_to_the_lowest_action():
    ptr, col, val = EpisodicMDP(np.ones((1, 1, 4, 1)), [[[0.0, 1.0, 0.5, 1.0]]], [1.0]).rows
    V, Q, greedy = backup.optimise_episodic(ptr, col, val, np.array([[[0.0, 1.0, 0.5, 1.0]]]))
    assert greedy.tolist() == [[1]] and V.tolist() == [[1.0], [0.0]] and Q.tolist() == [[[0.0, 1.0, 0.5, 1.0]]]


def test_integer_policies_and_bandits():
    model, _, rng = episodic(0)
    actions = rng.integers(0, 2, (3, 3))
    np.testing.assert_array_equal(values.value(model, actions), values.value(model, np.eye(2)[actions]))
    assert values.start_value(Bandit([0.25, 0.75]), 1) == 0.75
    assert values.start_value(LinearBandit(np.eye(2), [0.25, 0.75]), [0.5, 0.5]) == 0.5
    context = ContextualBandit([0.25, 0.75], [[0.0, 1.0], [0.5, 0.0]])
    assert values.start_value(context, [1, 0]) == values.optimal_start_value(context) == 0.625
    assert values.start_value(context, [[0.5, 0.5], [1.0, 0.0]]) == 0.5


def test_large_models_solve_sparsely():
    S, gamma = values.LARGEST_DENSE + 1, 0.5                            # a ring: one goes round for 1 a step
    P = sp.csr_array((np.ones(S), (np.arange(S), (np.arange(S) + 1) % S)), shape=(S, S))
    ring = TabularMDP(P, np.ones((S, 1)), gamma, np.eye(S)[0])
    np.testing.assert_allclose(values.value(ring, np.zeros(S, int)), 2.0, atol=EXACT)
    d = occupancy.state_occupancy(ring, np.zeros(S, int))
    np.testing.assert_allclose(d[:40], 0.5 ** np.arange(1, 41), atol=EXACT)
    assert occupancy.support(ring).all()


# Occupancy --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", SEEDS)
def test_episodic_occupancy(seed):
    model, pi, _ = episodic(seed)
    d = occupancy.occupancy(model, pi)
    np.testing.assert_allclose(d, oracles.path_occupancy(model.P, model.rho, pi), atol=EXACT)
    flow = np.einsum("hsa,hsat->ht", d[:-1], model.P[:-1])
    np.testing.assert_allclose(occupancy.state_occupancy(model, pi), np.vstack([model.rho, flow]), atol=EXACT)
    np.testing.assert_array_equal(occupancy.support(model, pi), d > 0)
    assert abs((d * model.r).sum() - values.start_value(model, pi)) < EXACT


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("seed", SEEDS)
def test_discounted_occupancy(seed, sparse):
    model, pi, _ = discounted(seed, sparse=sparse)
    d = occupancy.occupancy(model, pi)
    reference = oracles.discounted_occupancy(model.dense, model.rho, model.gamma, pi, 120)    # lacks 0.75**120 = 1e-15
    np.testing.assert_allclose(d, reference, atol=EXACT)
    np.testing.assert_array_equal(occupancy.support(model, pi), reference > 0)
    np.testing.assert_array_equal(d > 0, reference > 0)
    flow = (1 - model.gamma) * model.rho + model.gamma * np.einsum("sa,sat->t", d, model.dense)
    np.testing.assert_allclose(d.sum(-1), flow, atol=EXACT)
    assert abs((d * model.r).sum() / (1 - model.gamma) - values.start_value(model, pi)) < EXACT


@pytest.mark.parametrize("seed", SEEDS)
def test_reachability_by_enumeration(seed):
    model, _, rng = episodic(seed)
    best = oracles.reachable(model.P, model.rho, model.A)
    np.testing.assert_allclose(occupancy.reachability(model), best, atol=EXACT)
    np.testing.assert_array_equal(occupancy.support(model).any(-1), best > 0)
    np.testing.assert_array_equal(occupancy.pair_reachability(model)[..., 1], occupancy.reachability(model))
    still = EpisodicMDP.stationary(model.P[0], model.r[0], model.rho, 3)
    assert still.is_stationary
    moving = EpisodicMDP(still.P, rng.random((3, 3, 2)), still.rho)      # the same kernel by the general route
    best = oracles.reachable(still.P, still.rho, 2)
    np.testing.assert_allclose(occupancy.reachability(still), best, atol=EXACT)
    np.testing.assert_allclose(occupancy.reachability(moving), best, atol=EXACT)


@pytest.mark.parametrize("seed", SEEDS)
def test_discounted_reachability_by_enumeration(seed):
    model, _, _ = discounted(seed, S=3, A=2)
    all_d = np.array([occupancy.occupancy(model, pi[0]) for pi in oracles.deterministic_policies(1, 3, 2)])
    np.testing.assert_allclose(occupancy.reachability(model), all_d.sum(-1).max(0), atol=EXACT)
    np.testing.assert_allclose(occupancy.pair_reachability(model), all_d.max(0), atol=EXACT)


def test_support_survives_underflow():
    H, tiny = 25, 2.0**-50                    # (2**-50)**24 is below the smallest float
    P = np.zeros((2, 1, 2))
    P[0, 0], P[1, 0, 1] = [1 - tiny, tiny], 1.0
    wait = np.broadcast_to(P, (H, 2, 1, 2))
    chain = np.zeros((H + 1, 1, H + 1))
    chain[np.arange(H), 0, np.arange(H) + 1], chain[np.arange(H), 0, np.arange(H)] = tiny, 1 - tiny
    chain[H, 0, H] = 1.0
    late = EpisodicMDP.stationary(chain, np.zeros((H + 1, 1)), np.eye(H + 1)[0], H)
    assert occupancy.occupancy(late, np.zeros((H, H + 1), int))[-1, H - 1, 0] == 0.0
    assert occupancy.support(late)[-1, H - 1, 0]
    assert occupancy.support(EpisodicMDP(wait, np.zeros((H, 2, 1)), [1.0, 0.0]))[1:].all()
    discounted_chain = TabularMDP(chain, np.zeros((H + 1, 1)), 0.5, np.eye(H + 1)[0])
    assert occupancy.support(discounted_chain).all()
    nowhere = np.zeros((H + 1, 1))
    nowhere[0] = 1.0
    assert coverage.concentrability(discounted_chain, nowhere) == math.inf
    rare = np.array([[1.0, 5e-324]] * 2)                # times 2**-50 it is 0 in floats
    P = np.array([[[1.0, 0.0], [1 - tiny, tiny]], [[0.0, 1.0], [0.0, 1.0]]])
    for stored in (P, sp.csr_array(P.reshape(4, 2))):
        assert occupancy.support(TabularMDP(stored, np.zeros((2, 2)), 0.5, [1.0, 0.0]), rare).all()


# Regret -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", SEEDS)
def test_gap_is_a_difference_of_values(seed):
    for model, pi, rng in (episodic(seed), discounted(seed)):
        other = sparse_laws(rng, *model.r.shape)
        J = values.start_value
        assert abs(regret.gap(model, pi, other) - (J(model, other) - J(model, pi))) < EXACT
        assert abs(regret.gap(model, pi) - (values.optimal_start_value(model) - J(model, pi))) < EXACT
        assert regret.gap(model, values.optimal_action_value(model).argmax(-1)) == 0.0
        assert regret.gap(model, pi) >= 0.0


def test_tiny_gaps_are_seen():
    model = EpisodicMDP(np.ones((1, 1, 2, 1)), [[[1.0, 0.0]]], [1.0])
    assert regret.gap(model, [[[1.0, 1e-30]]]) == 1e-30


@pytest.mark.parametrize("seed", SEEDS)
def test_gaps_of_many_policies(seed):
    for model, pi, rng in (episodic(seed), discounted(seed)):
        shape = model.r.shape
        actions = rng.integers(0, shape[-1], (4, *shape[:-1]))
        laws = np.stack([pi, *sparse_laws(rng, 3, *shape)])
        index = rng.integers(0, 4, 30)
        for policies in (actions, laws):
            each = np.array([regret.gap(model, p, pi) for p in policies])
            np.testing.assert_array_equal(regret.gaps(model, Trace(policies, index), pi), each[index])
            np.testing.assert_array_equal(regret.gaps(model, policies[index], pi), each[index])
            np.testing.assert_array_equal(regret.regret(model, policies[index], pi), np.cumsum(each[index]))
        as_laws = np.eye(shape[-1])[actions]
        np.testing.assert_allclose(regret.gaps(model, actions), regret.gaps(model, as_laws), atol=EXACT)
        assert (regret.gaps(model, actions) >= 0).all()
        assert regret.gaps(model, actions[:0]).shape == regret.gaps(model, as_laws[:0]).shape == (0,)


class Log(NamedTuple):
    policy: np.ndarray
    total: np.ndarray


def _play(world, seen, log, first, rng):
    """Changes an action now and then, and plays."""
    n, H, S = log.policy.shape
    for i in range(n):
        if rng.random() < 0.3:
            seen[rng.integers(0, H), rng.integers(0, S)] = rng.integers(0, 2)
        s = start(world)
        for h in range(H):
            for z in range(S):
                log.policy[i, h, z] = seen[h, z]
            reward, s = step(world, seen[h, s])
            log.total[i] += reward


play = kernel(_play)


@pytest.mark.parametrize("chunk", [1, 7, 64, None])
def test_watcher_equals_the_gaps_of_the_trace(chunk):
    model, comparator, _ = episodic(1)
    row = Log(np.zeros((3, 3), np.int64), np.float64(0))

    def run(watch):
        rng = np.random.default_rng(5)
        access = Episodes(model, np.random.default_rng(4), watch=watch, chunk=chunk)
        return access.drive(play, (np.zeros((3, 3), np.int64),), row, 100, rng)

    trace = run(None)
    for c in (None, comparator):
        watch = regret.Regret(model, c)
        assert watch.total == 0.0 and watch.gaps.shape == (0,)
        run(watch)
        np.testing.assert_array_equal(watch.gaps, regret.gaps(model, trace, c))
        np.testing.assert_array_equal(watch.regret, regret.regret(model, trace, c))
        assert watch.total == watch.regret[-1]
    assert len(trace.policies) < 100


def test_watcher_evaluates_a_run_once(monkeypatch):
    model, _, rng = discounted(2)
    asked = []
    count = regret.occupancy
    monkeypatch.setattr(regret, "occupancy", lambda *args: asked.append(1) or count(*args))
    two = rng.integers(0, 3, (2, 5))
    two[1, 0] = (two[0, 0] + 1) % 3
    watch = regret.Regret(model)
    for first in range(0, 40, 10):
        watch(first, np.repeat(two[[first // 20]], 10, 0))
    assert len(asked) == 2 and watch.gaps.shape == (40,)


def test_bandit_regret():
    model = Bandit([0.25, 0.75, 0.5])
    arms = np.array([0, 2, 1, 1])
    for got in (regret.gaps(model, arms), regret.pull_gaps(model, arms), model.gaps[arms]):
        np.testing.assert_array_equal(got, [0.5, 0.25, 0.0, 0.0])
    np.testing.assert_array_equal(regret.gaps(model, Trace(np.array([1, 0]), np.array([1, 0, 1]))), [0.5, 0, 0.5])
    assert regret.gaps(model, [[0.5, 0.5, 0.0]])[0] == 0.25
    watch = regret.Regret(model)
    watch(0, arms[:3])
    watch(3, arms[3:])
    assert watch.total == 0.75
    context = ContextualBandit([0.25, 0.75], [[0.0, 1.0], [0.5, 0.0]])
    np.testing.assert_array_equal(regret.pull_gaps(context, [0, 0, 1], [0, 1, 1]), [1.0, 0.0, 0.5])
    assert regret.gaps(context, [[0, 0]])[0] == 0.25


PLAYED = st.one_of(strategies.with_policies(kind(), 2) for kind in (
    strategies.tabular_mdps, strategies.episodic_mdps, strategies.linear_mdps, strategies.linear_mixture_mdps,
    strategies.rich_mdps, strategies.bandits, strategies.linear_bandits, strategies.contextual_bandits))


@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(PLAYED)
def test_identities_on_any_world(case):
    model, pi, comparator = case
    J, best = values.start_value(model, pi), values.optimal_start_value(model)
    d, Q = occupancy.occupancy(model, pi), values.action_value(model, pi)
    r = model.r if isinstance(model, TabularMDP) else convert.to_episodic(model).r
    steps = 1 / (1 - model.gamma) if isinstance(model, TabularMDP) else 1
    # values up to 100 of systems with condition number up to 200: 2e4 ulp = 4e-12
    assert abs((d * r).sum() * steps - J) < ROUND
    assert abs(regret.gap(model, pi) - (best - J)) < ROUND
    assert abs(regret.gap(model, pi, comparator) - (values.start_value(model, comparator) - J)) < ROUND
    assert regret.gap(model, pi) >= 0.0
    np.testing.assert_allclose((np.reshape(pi, Q.shape) * values.advantage(model, pi)).sum(-1), 0, atol=ROUND)
    np.testing.assert_array_equal(d > 0, occupancy.support(model, pi))
    # the largest occupancy is good to the same 4e-12
    assert (d <= occupancy.pair_reachability(model) + ROUND).all()
    nu = np.full(d.shape, 1 / (d.shape[-1] * d.shape[-2])).reshape(np.shape(pi))
    one = coverage.single_policy_concentrability(model, pi, nu)
    assert one <= coverage.concentrability(model, nu) * (1 + ROUND)
    sharp = coverage.transfer_coefficient(model, pi, nu)
    assert sharp**2 <= np.prod(d.shape[:-2]) * one * (1 + ROUND)


# Divergences ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", SEEDS)
def test_divergences_meet_their_definitions(seed):
    rng = np.random.default_rng(seed)
    p, q = sparse_laws(rng, 5), rng.dirichlet(np.ones(5))
    assert abs(divergences.kl(p, q) - oracles.kl(p, q)) < EXACT
    assert divergences.kl(q, [0.0, 0.25, 0.25, 0.25, 0.25]) == math.inf
    assert divergences.kl(p, p) == divergences.tv(p, p) == divergences.hellinger2(p, p) == divergences.chi2(p, p) == 0
    assert abs(divergences.tv(p, q) - max((p - q)[list(k)].sum() for n in range(6)
                                          for k in itertools.combinations(range(5), n))) < EXACT
    assert abs(divergences.hellinger2(p, q) - (1 - np.sqrt(p * q).sum())) < EXACT
    # chi2 + 1 is at most 1/min q: its rounding error is EXACT times that
    assert abs(divergences.chi2(p, q) - ((p**2 / q).sum() - 1)) < EXACT / q.min()
    u = rng.dirichlet(np.ones(5))
    for alpha in (0.25, 0.5, 2.0, 7.0):
        # the logarithm of a sum good to some ulp, divided by alpha - 1
        assert abs(divergences.renyi(u, q, alpha) - oracles.renyi(u, q, alpha)) < EXACT / min(1.0, abs(alpha - 1))
    assert abs(divergences.renyi(p, q, 0.5) + 2 * math.log(1 - divergences.hellinger2(p, q))) < EXACT
    assert abs(divergences.renyi(p, q, 2) - math.log1p(divergences.chi2(p, q))) < EXACT
    x = rng.integers(-5, 6, 5).astype(float)
    assert abs(divergences.wasserstein_line(p, q, x) - oracles.transport(p, q, x)) < SOLVER


def test_renyi_at_its_limits():
    p, q = [0.5, 0.5, 0.0], [0.25, 0.5, 0.25]
    kl = math.log(2) / 2
    assert divergences.renyi(p, q, 1) == divergences.kl(p, q)
    assert abs(divergences.kl(p, q) - kl) < EXACT
    # |d renyi / d alpha| is half the variance of the log ratio, at most (log 2)**2 / 8 = 0.06 here
    assert abs(divergences.renyi(p, q, 1 + 1e-9) - kl) < 1e-9
    assert abs(divergences.renyi(p, q, 1 - 1e-9) - kl) < 1e-9
    assert abs(divergences.renyi(p, q, math.inf) - math.log(2)) < EXACT
    # sum p (p/q)**(alpha-1) is within [1/2, 1] of 2**(alpha-1): log 2 / (alpha - 1)
    assert abs(divergences.renyi(p, q, 1e6) - math.log(2)) < math.log(2) / (1e6 - 1) + EXACT
    assert abs(divergences.renyi(p, q, 0) - math.log(4 / 3)) < EXACT
    assert divergences.renyi([1.0, 0], [0, 1.0], 0.5) == divergences.renyi([1.0, 0], [0, 1.0], 0) == math.inf
    assert divergences.renyi(q, p, 2) == divergences.renyi(q, p, math.inf) == divergences.chi2(q, p) == math.inf
    assert math.isfinite(divergences.renyi(q, p, 0.5))


def test_divergences_are_stable_and_broadcast():
    e = 2.0**-30
    p, q = np.array([0.5, 0.5]), np.array([0.5 + e, 0.5 - e])
    # KL = 2 e^2 (1 + O(e^2)) and its rounding is relative: e^2 = 1e-18
    assert abs(divergences.kl(p, q) / (2 * e * e) - 1) < ROUND
    assert abs(divergences.kl([1.0, 1e-300], [1.0, 1e-30]) - 1e-30) < 1e-30 * ROUND
    # the second entries stand for 1 - 1e-30 and 1 - 1e-300: they add -1e-30
    assert abs(divergences.kl([1e-30, 1.0], [1e-300, 1.0]) / (1e-30 * (270 * math.log(10) - 1)) - 1) < ROUND
    rng = np.random.default_rng(0)
    P, Q = rng.dirichlet(np.ones(4), (3, 1)), rng.dirichlet(np.ones(4), 2)
    table = [[oracles.kl(a, b) for b in Q] for a in P[:, 0]]
    np.testing.assert_allclose(divergences.kl(P, Q), table, atol=EXACT)
    assert divergences.wasserstein_line(P, Q, np.arange(4.0)).shape == (3, 2)


# Coverage ---------------------------------------------------------------------------------------------------------


def test_reference_values_of_hybrid_q_learning():
    model, pi, nu = formula()
    assert abs(values.optimal_start_value(model) - 3.668448553320072) < EXACT
    assert abs(values.start_value(model, pi) - 2.6335790137133457) < EXACT
    assert abs(coverage.transfer_coefficient(model, pi, nu) - 2.409251567060922) < EXACT
    assert abs(math.sqrt(5 * coverage.single_policy_concentrability(model, pi, nu)) - 3.1260042016084895) < EXACT


def test_transfer_coefficient_when_the_policy_made_the_data():
    model, pi, _ = episodic(3)
    assert abs(coverage.transfer_coefficient(model, pi, occupancy.occupancy(model, pi)) - math.sqrt(3)) < EXACT
    model, pi, _ = discounted(3)
    assert abs(coverage.transfer_coefficient(model, pi, occupancy.occupancy(model, pi)) - 1) < EXACT


@pytest.mark.parametrize("seed", SEEDS)
def test_concentrability_by_enumeration(seed):
    model, pi, rng = episodic(seed)
    nu = rng.dirichlet(np.ones(6), 3).reshape(3, 3, 2)
    every = [coverage.single_policy_concentrability(model, p, nu) for p in oracles.deterministic_policies(3, 3, 2)]
    # ratios of size max(every): relative
    assert abs(coverage.concentrability(model, nu) / max(every) - 1) < EXACT
    d = occupancy.occupancy(model, pi)
    assert abs(coverage.single_policy_concentrability(model, pi, nu) / (d / nu).max() - 1) < EXACT
    cut = np.where(d > 0, 0.0, nu)
    if (cut.sum((1, 2)) > 0).all():
        cut /= cut.sum((1, 2), keepdims=True)
        for c in (coverage.concentrability(model, cut), coverage.single_policy_concentrability(model, pi, cut),
                  coverage.transfer_coefficient(model, pi, cut)):
            assert c == math.inf
    away = np.where(d > 0, nu, 0.0)
    away /= away.sum((1, 2), keepdims=True)
    assert math.isfinite(coverage.single_policy_concentrability(model, pi, away))
    model, pi, _ = discounted(seed, S=3, A=2)
    nu = rng.dirichlet(np.ones(6)).reshape(3, 2)
    every = [coverage.single_policy_concentrability(model, p[0], nu) for p in oracles.deterministic_policies(1, 3, 2)]
    assert abs(coverage.concentrability(model, nu) / max(every) - 1) < EXACT


@pytest.mark.parametrize("seed", SEEDS)
def test_linear_coverage(seed):
    for model, pi, rng in (episodic(seed), discounted(seed)):
        shape = model.r.shape
        pairs = shape[-2] * shape[-1]
        nu = rng.dirichlet(np.ones(pairs), shape[:-2]).reshape(shape)
        one_hot = np.eye(pairs).reshape(*shape[-2:], pairs)
        d = occupancy.occupancy(model, pi)
        C = coverage.transfer_coefficient(model, pi, nu)
        assert abs(coverage.transfer_coefficient(model, pi, nu, one_hot) / C - 1) < ROUND
        # with one-hot features both second moments are diagonal
        ratio = coverage.relative_condition_number(model, pi, nu, one_hot)
        assert abs(ratio / coverage.single_policy_concentrability(model, pi, nu) - 1) < ROUND
        phi = rng.normal(size=(*shape, 3))
        squares = phi[..., :, None] * phi[..., None, :]
        sigma = functools.partial(second_moment, squares)
        mu = np.einsum("...sa,...sai->...i", d, phi).reshape(-1, 3)
        # normal equations square the condition number of the features, here below 1e3: 1e6 ulp are below ROUND
        square = sum(m @ np.linalg.solve(M, m) for m, M in zip(mu, sigma(nu)))
        assert abs(coverage.transfer_coefficient(model, pi, nu, phi) ** 2 / square - 1) < ROUND
        top = max(np.linalg.eigvals(np.linalg.solve(N, D)).real.max() for N, D in zip(sigma(nu), sigma(d)))
        assert abs(coverage.relative_condition_number(model, pi, nu, phi) / top - 1) < ROUND
        # a linear image changes neither
        mixed = phi @ rng.normal(size=(3, 3))
        assert abs(coverage.relative_condition_number(model, pi, nu, mixed) / top - 1) < ROUND
        even = np.repeat(d.sum(-1, keepdims=True) / shape[-1], shape[-1], -1)
        top = max(np.linalg.eigvals(np.linalg.solve(N, D)).real.max() for N, D in zip(sigma(nu), sigma(even)))
        got = coverage.relative_condition_number(model, pi, nu, phi, uniform_actions=True)
        assert abs(got / top - 1) < ROUND


def test_linear_coverage_is_decided_by_rank():
    model = EpisodicMDP(np.ones((1, 1, 3, 1)), np.zeros((1, 1, 3)), [1.0])
    phi = np.array([[[1.0, 0.0, 0.0], [2.0, 0.0, 0.0], [0.0, 1.0, 0.0]]])
    first, even = [[[1.0, 0.0, 0.0]]], [[[0.5, 0.5, 0.0]]]
    for measure in (coverage.transfer_coefficient, coverage.relative_condition_number):
        assert measure(model, [[2]], first, phi) == math.inf           # a direction that nu never sees
        assert measure(model, [[1]], even, phi) < 2                    # the third coordinate is idle everywhere
    assert coverage.transfer_coefficient(model, [[1]], first, phi) == 2.0     # pair 1 is unseen, its feature is not
    assert coverage.relative_condition_number(model, [[1]], first, phi) == 4.0
    assert coverage.relative_condition_number(model, [[0]], [[[0, 0, 1.0]]], phi * 0) == 0.0
    rare = [[[1.0, 0.0, 1e-20]]]                                       # rare is not never
    assert abs(coverage.transfer_coefficient(model, [[2]], rare, phi) / 1e10 - 1) < ROUND


def test_reference_values_of_local_coverage():
    for d, e, wanted in ((1e-2, 0.05, 5.511428526262), (1e-2, 1, 35.729057273969), (1e-4, 0.05, 129.053643422),
                         (1e-4, 1, 1554.786588417)):
        ref = np.array([(1 - d) / 2, (1 - d) / 2, d])
        # ten or more digits are given
        assert abs(coverage.kl_ball_coverage(ref, [1.0], e) / wanted - 1) < ROUND
        assert abs(coverage.global_coverage(ref) * d - 1) < EXACT


@pytest.mark.parametrize("seed", SEEDS)
def test_kl_ball_bounds_every_policy_in_it(seed):
    rng = np.random.default_rng(seed)
    ref, rho = rng.dirichlet(np.ones(4), 3), np.append(rng.dirichlet(np.ones(2)), 0.0)
    best = 0.0
    for _ in range(40):
        pi = ref.copy()
        x = rng.integers(0, 2)
        pi[x] = rng.dirichlet(np.full(4, 0.3))
        e = float(rho @ divergences.kl(pi, ref))
        local = coverage.kl_ball_coverage(ref, rho, e)
        assert coverage.density_ratio(pi[:2], ref[:2]) <= local * (1 + ROUND)
        # the extreme policy: q conditioned on one response and its complement
        y = int(np.argmax(pi[x] / ref[x]))
        tilt = np.where(np.arange(4) == y, pi[x, y], ref[x] * (1 - pi[x, y]) / (1 - ref[x, y]))
        spent = rho[x] * divergences.kl(tilt, ref[x])
        reached = coverage.kl_ball_coverage(ref, rho, spent)
        assert reached >= pi[x, y] / ref[x, y] * (1 - ROUND)
        best = max(best, pi[x, y] / ref[x, y] / reached)
    assert best > 1 - ROUND                                              # the bound is attained
    assert coverage.kl_ball_coverage(ref, rho, 0) == pytest.approx(1, abs=ROUND)
    assert coverage.kl_ball_coverage(ref, rho, 1e6) == coverage.global_coverage(ref[:2])


def test_coverage_without_support():
    ref = [[0.5, 0.5, 0.0]]
    assert coverage.global_coverage(ref) == math.inf
    assert coverage.kl_ball_coverage(ref, [1.0], 10.0) == 2.0
    assert coverage.density_ratio([[0.5, 0.25, 0.25]], ref) == math.inf
    assert coverage.density_ratio([[1.0, 0.0, 0.0]], ref) == 2.0
    assert coverage.single_policy_concentrability(Bandit([0.5, 0.5]), 0, [0.25, 0.75]) == 4.0
    assert coverage.concentrability(ContextualBandit([1.0, 0.0], np.zeros((2, 2))), [[0.5, 0.5], [0, 0]]) == 2.0


# Bad input --------------------------------------------------------------------------------------------------------

MODEL, PI, _ = episodic(0)
NU = np.full((3, 3, 2), 1 / 6)
PREFERENCES = PreferenceModel([[[0.5]]], [1.0], [[1.0]], 1.0)
BAD = PI.copy()
BAD[1, 2] = [0.5, 0.25]
OUT = np.zeros((3, 3), int)
OUT[2, 1] = 2
PHI = np.ones((3, 2, 2))


@pytest.mark.parametrize("f", [values.value, values.action_value, values.advantage, values.start_value,
                               occupancy.occupancy, occupancy.state_occupancy, occupancy.support, regret.gap])
@pytest.mark.parametrize("policy, where", [(BAD, "policy[1, 2, :]"), (OUT, "policy[2, 1]"), (PI[0], "policy"),
                                           (PI - 1.0, "policy[0, 0, :]"), (PI * np.nan, "policy[0, 0, 0]"),
                                           ("best", "policy")])
def test_bad_policies(f, policy, where):
    with pytest.raises(MdpkitError) as e:
        f(MODEL, policy)
    assert e.value.where == where
    with pytest.raises(MdpkitError, match="one that is an episodic MDP"):
        f(PREFERENCES, PI)


@pytest.mark.parametrize("f", [values.optimal_value, values.optimal_action_value, values.optimal_start_value,
                               occupancy.reachability, occupancy.pair_reachability, regret.Regret])
def test_bad_models(f):
    for model in (PREFERENCES, None):
        with pytest.raises(MdpkitError, match="one that is an episodic MDP"):
            f(model)


@pytest.mark.parametrize("call, where", [
    (lambda: values.value(MODEL, [[1], [1, 2]]), "policy"),
    (lambda: divergences.kl([[1.0], [0.5, 0.5]], [1.0]), "p"),
    (lambda: coverage.global_coverage([[1.0], [0.5, 0.5]]), "pi_ref"),
    (lambda: regret.gap(MODEL, PI, BAD), "comparator[1, 2, :]"),
    (lambda: regret.gaps(MODEL, PI), "policies"),
    (lambda: regret.gaps(MODEL, OUT[None]), "policies[0, 2, 1]"),
    (lambda: regret.regret(MODEL, np.stack([PI, BAD])), "policies[1, 1, 2, :]"),
    (lambda: regret.gaps(MODEL, Trace(PI[None], np.array([0, 1]))), "policies.index[1]"),
    (lambda: regret.gaps(MODEL, Trace(PI, np.array([0]))), "policies.policies"),
    (lambda: regret.Regret(MODEL)(3, PI[None]), "first"),
    (lambda: regret.Regret(MODEL)(0, OUT[None]), "rows[0, 2, 1]"),
    (lambda: regret.Regret(MODEL)(0, Log(BAD[None], np.zeros(1))), "rows[0, 1, 2, :]"),
    (lambda: regret.pull_gaps(Bandit([0.5]), [0, 1]), "a[1]"),
    (lambda: regret.pull_gaps(Bandit([0.5]), [0], [0]), "x"),
    (lambda: regret.pull_gaps(ContextualBandit([1.0], [[0.5]]), [0]), "x"),
    (lambda: regret.pull_gaps(MODEL, [0]), "model"),
    (lambda: divergences.kl([0.5, 0.25], [0.5, 0.5]), "p[:]"),
    (lambda: divergences.kl([0.5, 0.5], [[1.5, -0.5]]), "q[0, :]"),
    (lambda: divergences.tv([0.5, 0.5], [1.0]), "q"),
    (lambda: divergences.hellinger2(0.5, [1.0]), "p"),
    (lambda: divergences.chi2(np.full((2, 2), 0.5), np.full((3, 2), 0.5)), "q"),
    (lambda: divergences.renyi([1.0], [1.0], -1), "alpha"),
    (lambda: divergences.renyi([1.0], [1.0], math.nan), "alpha"),
    (lambda: divergences.wasserstein_line([1.0], [1.0], [0, 1]), "x"),
    (lambda: coverage.concentrability(MODEL, NU / 2), "nu[0, :, :]"),
    (lambda: coverage.concentrability(MODEL, NU[0]), "nu"),
    (lambda: coverage.single_policy_concentrability(MODEL, BAD, NU), "policy[1, 2, :]"),
    (lambda: coverage.transfer_coefficient(MODEL, PI, -NU), "nu[0, :, :]"),
    (lambda: coverage.transfer_coefficient(MODEL, PI, NU, PHI[:2]), "phi"),
    (lambda: coverage.relative_condition_number(MODEL, PI, NU, PHI * np.inf), "phi[0, 0, 0]"),
    (lambda: coverage.density_ratio([0.5, 0.5], [0.5, 0.25]), "pi_ref[:]"),
    (lambda: coverage.global_coverage([0.5, 0.25]), "pi_ref[:]"),
    (lambda: coverage.kl_ball_coverage([0.5, 0.5], [0.5, 0.5], 1), "rho"),
    (lambda: coverage.kl_ball_coverage([0.5, 0.5], [1.0], -1), "radius"),
])
def test_bad_input_is_named(call, where):
    with pytest.raises(MdpkitError) as e:
        call()
    assert e.value.where == where
