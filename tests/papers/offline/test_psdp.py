"""Policy search by dynamic programming: reference values, identities, accounting, slow references, claims, controls."""

from dataclasses import replace

import closing
import numpy as np
import pytest

from algorithms.offline import psdp
from mdpkit import validate
from mdpkit.access import Episodes, Exact, Generative, Reset
from mdpkit.data import draw_states
from mdpkit.instances.formula import stationary_episodic, stationary_policy
from mdpkit.instances.garnet import random_episodic
from mdpkit.measure import plain
from mdpkit.measure.occupancy import state_occupancy
from mdpkit.measure.values import action_value, start_value, value
from mdpkit.models.tabular import EpisodicMDP
from mdpkit.records import StateOnlyDataset
from mdpkit.solve import episodic
from mdpkit.worlds.markov import reset, start, step
from theory_checks.offline import psdp as checks

pytestmark = pytest.mark.xdist_group("psdp")

EXACT = 1e-12
ROUND = 1e-9
F = stationary_episodic(4, 3, 3)
MU = np.tile((1 + np.arange(4)) / 10, (3, 1))
BLOCKS = np.array([0, 0, 1, 1])


def rng(seed=0):
    return np.random.default_rng(seed)


def noisy(S, A, H, seed):
    m = random_episodic(S, A, H, rng(seed))
    return EpisodicMDP(m.P, m.r, m.rho, "bernoulli")


# ------------------------------------------------------------------------------- reference values, identities

def test_reference_values():
    out = psdp.run(Exact(F), MU, psdp.theory(BLOCKS), rng()).output
    np.testing.assert_allclose(out.V[0], (2.324948361823362, 1.5305715811965814, 2.0154530582264956,
                                          2.508604536489152), rtol=0, atol=EXACT)
    np.testing.assert_array_equal(out.policy, [[1, 1, 0, 0]] * 3)
    best = (2.396163207163207, 1.9573142857142856, 2.191659689516832, 2.5729473091011554)
    np.testing.assert_allclose(episodic.solve(F).value[0], best, rtol=0, atol=EXACT)
    np.testing.assert_allclose(psdp.run(Exact(F), MU, psdp.theory(), rng()).output.V[0], best, rtol=0, atol=EXACT)


def test_the_tight_instances():
    """A point mass misses the chain: loss 4, slack 0; a uniform mu repairs. One wrong state: ratio 10, then 1."""
    w = checks.missed_chain(5)
    m, uniform = w["model"], np.full((5, 3), 1 / 3)
    assert start_value(m, w["ref"]) - start_value(m, w["pi"]) == 4.0
    assert psdp.slacks(m.P, m.r, w["mu"], w["blocks"], w["pi"]).tolist() == [0.0] * 5
    assert psdp.ratio_bound(m.P, m.r, m.rho, w["mu"], w["ref"], w["pi"]) == np.inf
    assert psdp.run(Exact(m), uniform, psdp.theory(), rng()).output.V[0, 0] == 4.0
    w = checks.wrong(0.1)
    m = w["model"]
    assert psdp.slacks(m.P, m.r, w["mu"], w["blocks"], w["pi"])[0] == pytest.approx(0.1, abs=EXACT)
    for rho, gap in ((m.rho, 1.0), (w["mu"][0], 0.1)):
        assert psdp.ratio_bound(m.P, m.r, rho, w["mu"], w["ref"], w["pi"]) == pytest.approx(gap, abs=EXACT)
        assert psdp.difference(m.P, m.r, rho, w["ref"], w["pi"]) == pytest.approx(gap, abs=EXACT)


def test_half_the_distance_is_not_enough():
    w = checks.blind(1, 1e-9)
    m = w["model"]
    assert psdp.plan(m.P, m.r, w["mu"], w["blocks"]).policy[0, 1] == 0
    gap = psdp.difference(m.P, m.r, m.rho, w["ref"], w["pi"])
    whole = psdp.bound(m.P, m.r, m.rho, w["mu"], w["blocks"], w["ref"], w["pi"])
    assert gap == 1.0 and whole == pytest.approx(1 + 2e-9, abs=EXACT) and whole / 2 < gap


def test_values_and_laws_are_those_of_the_house():
    pi = np.tile(stationary_policy(4, 3), (3, 1, 1))
    V, Q = plain.evaluate(F.P, F.r, pi)
    np.testing.assert_allclose(V[:-1], value(F, pi), rtol=0, atol=EXACT)
    np.testing.assert_allclose(Q, action_value(F, pi), rtol=0, atol=EXACT)
    np.testing.assert_allclose(plain.state_law(F.P, F.rho, pi), state_occupancy(F, pi), rtol=0, atol=EXACT)
    other = plain.probabilities(np.ones((3, 4), np.int64), F.r)
    assert psdp.difference(F.P, F.r, F.rho, pi, other) == pytest.approx(
        start_value(F, pi) - start_value(F, other), abs=EXACT)


def test_without_noise_roll_outs_are_the_exact_search():
    """One successor and one reward each: every mean is Q exactly up to the rounding of sums of equal terms."""
    H, S, A = 4, 3, 2
    P = np.eye(S)[rng(3).integers(0, S, (H, S, A))]
    m = EpisodicMDP(P, rng(4).integers(0, 9, (H, S, A)) / 8, np.full(S, 1 / S))
    mu = np.full((H, S), 1 / S)
    data = StateOnlyDataset(np.tile(np.arange(S)[:, None], (1, H)), "all states")
    out = psdp.run_reset(Reset(m, rng(1), to=data), data, psdp.Params(n=200), rng(2)).output
    exact = psdp.run(Exact(m), mu, psdp.theory(), rng()).output
    assert (out.visits > 0).all()
    np.testing.assert_allclose(out.f, exact.Q, rtol=0, atol=EXACT)
    np.testing.assert_array_equal(out.policy, exact.policy)


def test_roll_ins_draw_from_the_occupancy():
    """Ten standard errors of a share of 1/4 among 4000: 10 sqrt(3/16/4000) = 0.07."""
    pi = np.tile(stationary_policy(4, 3), (3, 1, 1))
    out = psdp.run_trace(Episodes(F, rng(1)), pi, psdp.Params(n=4000), rng(2)).output
    np.testing.assert_allclose(out.visits.sum(-1) / 4000, state_occupancy(F, pi), rtol=0, atol=0.07)


# ------------------------------------------------------------------------------------------- accounting

def test_every_roll_out_is_counted():
    data = draw_states(np.full((3, 4), 0.25), 7, rng())
    result = psdp.run_reset(Reset(F, rng(1), to=data), data, psdp.Params(BLOCKS, 30), rng(2))
    np.testing.assert_array_equal(result.output.visits.sum((1, 2)), [30] * 3)
    assert result.samples == {"offline": 7, "episodes": 0, "resets": 90, "steps": 30 * (1 + 2 + 3)}
    result = psdp.run_trace(Episodes(F, rng(1)), np.ones((3, 4), np.int64), psdp.Params(n=30), rng(2))
    np.testing.assert_array_equal(result.output.visits.sum((1, 2)), [30] * 3)
    assert result.samples == {"episodes": 90, "steps": 270}


# --------------------------------------------------------------------------------------- slow references

def slow_plan(m, mu, blocks, best=False):
    """Lines 1 to 5, sums written out; ``best`` backs up V* instead."""
    H, S, A = m.r.shape
    policy, V = np.zeros((H, S), np.int64), np.zeros((H + 1, S))
    for h in reversed(range(H)):
        Q = [[m.r[h, s, a] + sum(m.P[h, s, a, t] * V[h + 1, t] for t in range(S)) for a in range(A)] for s in range(S)]
        for b in set(blocks.tolist()):
            inside = [s for s in range(S) if blocks[s] == b]
            score = [sum(mu[h, s] * Q[s][a] for s in inside) for a in range(A)]
            for s in inside:
                policy[h, s] = score.index(max(score))
        V[h] = [max(Q[s]) if best else Q[s][policy[h, s]] for s in range(S)]
    return policy, V


def slow_rollouts(m, access, params, own, roll_in=None, data=None, *, everywhere=False, late=False, forward=False):
    """Lines 6 to 9: every return in a list. The flags are mutants."""
    H, S, A = m.r.shape
    blocks = np.arange(S) if params.blocks is None else params.blocks
    policy, f = np.zeros((H, S), np.int64), np.zeros((H, blocks.max() + 1, A))
    cum = None if roll_in is None else np.cumsum(roll_in, -1)

    def one(world, h):
        if data is None:
            s = start(world)
            for k in range(h):
                u = own.random()
                s = step(world, int(np.flatnonzero(u < cum[k, s])[0]))[1]
        else:
            s = data.s[int(own.random() * len(data.s)), h]
            reset(world, h, s)
        a = int(own.random() * A)
        total, t = step(world, a)
        for k in range(h + 1, H):
            reward, t = step(world, int(own.random() * A) if everywhere else policy[k, t])
            total = reward if late else total + reward
        return blocks[s], a, total

    for h in range(H) if forward else reversed(range(H)):
        seen = [access.call(one, h) for _ in range(params.n)]
        for b in range(len(f[h])):
            for a in range(A):
                y = [total for x, c, total in seen if (x, c) == (b, a)]
                f[h, b, a] = sum(y) / len(y) if y else 0.0
        policy[h] = f[h].argmax(-1)[blocks]
    return policy, f


@pytest.mark.parametrize("blocks", [None, (0, 1, 1, 2), (0, 0, 0, 0)])
def test_the_search_agrees_with_the_pseudo_code(blocks):
    for seed in range(5):
        m = noisy(4, 3, 4, seed)
        mu = rng(seed).dirichlet(np.ones(4), 4)
        given = psdp.theory(blocks)
        out = psdp.run(Exact(m), mu, given, rng()).output
        policy, V = slow_plan(m, mu, np.arange(4) if blocks is None else np.array(blocks))
        np.testing.assert_array_equal(out.policy, policy)
        np.testing.assert_allclose(out.V, V, rtol=0, atol=EXACT)


CASES = [(3, 3, 3, None, 40), (4, 2, 4, (0, 1, 1, 0), 25), (2, 4, 2, None, 3)]


@pytest.mark.parametrize(("S", "A", "H", "blocks", "n"), CASES)
def test_the_roll_outs_agree_with_the_pseudo_code_bit_for_bit(S, A, H, blocks, n):
    m, params = noisy(S, A, H, S), replace(psdp.theory(blocks), n=n)
    data = draw_states(np.full((H, S), 1 / S), 12, rng(1))
    out = psdp.run_reset(Reset(m, rng(5), to=data), data, params, rng(6)).output
    policy, f = slow_rollouts(m, Reset(m, rng(5), to=data), params, rng(6), data=data)
    np.testing.assert_array_equal(out.policy, policy)
    np.testing.assert_array_equal(out.f, f)
    roll_in = validate.policy("roll_in", np.full((H, S, A), 1 / A), m.r.shape)
    out = psdp.run_trace(Episodes(m, rng(5)), roll_in, params, rng(6)).output
    policy, f = slow_rollouts(m, Episodes(m, rng(5)), params, rng(6), roll_in=roll_in)
    np.testing.assert_array_equal(out.policy, policy)
    np.testing.assert_array_equal(out.f, f)


@pytest.mark.parametrize("mutant", ["everywhere", "late", "forward"])
def test_each_mutant_of_the_roll_outs_differs(mutant):
    """Uniform actions at every step, the last reward alone, steps in the wrong order."""
    m, params = noisy(3, 3, 3, 3), psdp.Params(n=40)
    data = draw_states(np.full((3, 3), 1 / 3), 12, rng(1))
    out = psdp.run_reset(Reset(m, rng(5), to=data), data, params, rng(6)).output
    _, f = slow_rollouts(m, Reset(m, rng(5), to=data), params, rng(6), data=data, **{mutant: True})
    assert np.abs(f - out.f).max() > ROUND


def test_backing_up_the_optimum_differs():
    w = checks.lured()
    d = plain.state_law(w["model"].P, w["model"].rho, w["ref"])
    out = psdp.run(Exact(w["model"]), d, psdp.theory(w["blocks"]), rng()).output
    assert out.V[0, 0] == 0.75 and slow_plan(w["model"], d, w["blocks"])[1][0, 0] == 0.75
    assert slow_plan(w["model"], d, w["blocks"], best=True)[0][0, 0] == 1 != out.policy[0, 0]


# ------------------------------------------------------------------------------------- errors, claims, controls

DATA = StateOnlyDataset(np.zeros((4, 3), np.int64), "state 0")
FAR = StateOnlyDataset(np.full((4, 3), 9), "no such state")
BAD = {
    "not exact": (lambda: psdp.run(Generative(F, rng()), MU, psdp.theory(), rng()), "access must be a Exact"),
    "no laws": (lambda: psdp.run(Exact(F), 2 * MU, psdp.theory(), rng()), "data"),
    "blocks skipped": (lambda: psdp.theory([0, 2, 2]), "blocks must be numbered from 0"),
    "blocks of others": (lambda: psdp.run(Exact(F), MU, psdp.theory([0, 1]), rng()), "params.blocks"),
    "rewards": (lambda: psdp.run(Exact(EpisodicMDP(F.P, 2 * F.r, F.rho)), MU, psdp.theory(), rng()), "access.model.r"),
    "no roll-outs": (lambda: psdp.run_trace(Episodes(F, rng()), np.zeros((3, 4), int), psdp.theory(), rng()),
                     "params.n must be at least 1"),
    "no resets": (lambda: psdp.run_reset(Episodes(F, rng()), DATA, psdp.Params(n=1), rng()), "access must be a Reset"),
    "no such state": (lambda: psdp.run_reset(Reset(F, rng(), to="any"), FAR, psdp.Params(n=1), rng()), "data.s"),
    "empty": (lambda: psdp.run_reset(Reset(F, rng()), StateOnlyDataset(np.zeros((0, 3), int), ""), psdp.Params(n=1),
                                     rng()), "data.s must be non-empty"),
    "no policy": (lambda: psdp.run_trace(Episodes(F, rng()), MU, psdp.Params(n=1), rng()), "data"),
}


test_bad_input = closing.refusals(BAD)


test_no_claim_is_refuted_and_every_control_is = closing.claims(checks.CHECKS)
