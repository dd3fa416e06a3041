"""Values and occupancies against definitions, enumerations and identities."""

from __future__ import annotations

import math

import numpy as np
import oracles
import pytest
import scipy.sparse as sp
from core.models_given import EXACT, ROUND, SEEDS, discounted, episodic
from hypothesis import given, settings
from hypothesis import strategies as st

from mdpkit import strategies
from mdpkit.kernels import backup
from mdpkit.measure import coverage, occupancy, regret, values
from mdpkit.models import convert
from mdpkit.models.bandits import Bandit, ContextualBandit, LinearBandit
from mdpkit.models.tabular import EpisodicMDP, TabularMDP

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


# Identities --------------------------------------------------------------------------------------------------------

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
