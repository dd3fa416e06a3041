"""PSRL: reference values, identities on numbers, accounting, the slow reference, every claim and every control."""

import math

import closing
import numpy as np
import pytest

from algorithms.exploration import psrl
from algorithms.exploration.psrl import Params
from figures.exploration import psrl as picture
from mdpkit.access import Episodes, Generative
from mdpkit.concentration import dirichlet_l1
from mdpkit.instances.formula import stationary_episodic
from mdpkit.instances.garnet import random_episodic
from mdpkit.kernels.play import play
from mdpkit.measure.regret import Regret, regret
from mdpkit.measure.values import optimal_value
from mdpkit.models.tabular import EpisodicMDP
from theory_checks.exploration import _psrl_twins as twins
from theory_checks.exploration import psrl as checks

pytestmark = pytest.mark.xdist_group("psrl")

EXACT = 1e-12
MODEL = stationary_episodic(3, 2, 4)
PARAMS = psrl.theory(60, 0.5)


def rng(seed=0):
    return np.random.default_rng(seed)


def access(model=MODEL, seed=0, **more):
    return Episodes(model, rng(seed), grant=("r",), **more)


def far(m):
    """How far a mean of m numbers in [0, 1] is from its expectation with probability 1e-9 at most (Hoeffding)."""
    return math.sqrt(math.log(2 / 1e-9) / (2 * m))


def test_reference_values():
    assert psrl.bayes_bound(3, 2, 4, 500) == pytest.approx(7571.131388028251, rel=EXACT)
    assert psrl.bayes_bound(3, 2, 4, 40_000) == pytest.approx(80825.92614439187, rel=EXACT)
    assert psrl.bayes_bound(3, 2, 4, 500) > 4 * 500 and psrl.bayes_bound(3, 2, 4, 40_000) < 4 * 40_000
    assert psrl.width(np.array([1.0, 2.0, 3.0, 4.0]), 0.1) == dirichlet_l1(10.0, 4, 0.1)


def test_the_closed_form_on_draws():
    """Two arms of Beta(1, 1): E max = 2/3, and a choice that knows nothing gets 1/2."""
    m = 60_000
    U = psrl.draws(np.ones(2), 2 * m, rng(1))[:, 1].reshape(m, 2)
    assert abs(U.max(1).mean() - 2 / 3) < far(m)
    mine = psrl.draws(np.ones(2), 2 * m, rng(2))[:, 1].reshape(m, 2).argmax(1)
    assert abs((U.max(1) - U[np.arange(m), mine]).mean() - 1 / 6) < far(m)


def test_a_row_has_the_moments_of_its_law():
    alpha, m = np.array([0.5, 2.0, 3.5]), 80_000
    p = psrl.draws(alpha, m, rng(3))
    np.testing.assert_allclose(p.sum(1), 1.0, rtol=0, atol=EXACT)
    n = alpha.sum()
    wanted = (np.outer(alpha, alpha) + np.diag(alpha)) / (n * (n + 1))
    np.testing.assert_allclose(np.einsum("mi,mj->ij", p, p) / m, wanted, rtol=0, atol=far(m))
    np.testing.assert_array_equal(psrl.foreseen([1, 2], 0, [False] * 2), psrl.foreseen([1, 2], 4, [True, False]))
    assert [str(x) for x in psrl.foreseen([1, 2], 3, [False] * 2).ravel()] == ["1/6", "1/6", "1/6", "1/2"]


def test_tiny_parameters_leave_a_law():
    p = psrl.draws(np.full(4, 0.01), 4000, rng(4))
    assert np.abs(p.sum(1) - 1).max() < EXACT and np.abs((p > 0.5).mean(0) - 0.25).max() < far(4000)


def slow(model, params, seed, *, pooled=True, fresh=True, last=False):
    """The pseudo-code: all transitions in a list, counted anew before each sample."""
    (H, S, A), world, mine = model.r.shape, access(model, seed), rng(seed + 1)
    seen, policies, values = [], [], []
    for k in range(params.K):
        if fresh or k == 0:
            P = np.empty((S, A, S))
            for s, a in np.ndindex(S, A):
                total = 0.0
                for t in range(S):
                    N = sum(z == (s, a, t) for z in seen)
                    P[s, a, t] = max(mine.gamma(params.alpha0 + params.weight * N, 1.0), 1e-300)
                    total += P[s, a, t]
                P[s, a] /= total
        V, pi = np.zeros((H + 1, S)), np.zeros((H, S), np.int64)
        for h in range(H - 1, -1, -1):
            Q = model.r[h].copy()
            for t in range(S):
                Q += P[:, :, t] * V[h + 1, t]
            pi[h] = A - 1 - Q[:, ::-1].argmax(1) if last else Q.argmax(1)
            V[h] = Q.max(1)
        policies.append(pi)
        values.append(V)
        s, a, _, t = world.call(play, pi)
        seen += list(zip(s, a, t))[:None if pooled else 1]
    return np.array(policies), np.array(values)


@pytest.mark.parametrize("alpha0, weight", [(0.5, 1.0), (3.0, 1.0), (0.05, 4.0)])
def test_the_kernel_agrees_with_the_slow_reference_bit_for_bit(alpha0, weight):
    for model, K in ((MODEL, 40), (random_episodic(2, 3, 5, rng(1)), 25)):
        params = Params(K, alpha0, weight)
        trace = psrl.run(access(model, 7), params, rng(8)).trace
        policies, values = slow(model, params, 7)
        np.testing.assert_array_equal(trace.policies[trace.index], policies)
        np.testing.assert_array_equal(trace.info["V"], values)


TIED = EpisodicMDP.stationary(np.full((2, 2, 2), 0.5), [[0.5, 0.5], [0.2, 0.2]], [1.0, 0.0], 1)
MUTANTS = {
    "counts the first step only": (MODEL, {"pooled": False}),
    "never draws again": (MODEL, {"fresh": False}),
    "takes the last of tied actions": (TIED, {"last": True}),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_each_mutant_differs_from_the_kernel(name):
    model, wrong = MUTANTS[name]
    trace = psrl.run(access(model, 7), Params(30, 0.5), rng(8)).trace
    policies, values = slow(model, Params(30, 0.5), 7, **wrong)
    assert (policies != trace.policies[trace.index]).any() or (values != trace.info["V"]).any()


def test_every_step_is_counted():
    door = access(seed=5)
    out = psrl.run(door, PARAMS, rng())
    assert door.samples == out.samples == {"episodes": 60, "steps": 240}
    assert (out.output - 0.5).sum() == 240 and ((out.output - 0.5) % 1 == 0).all()


@pytest.mark.parametrize("chunk", [1, 7])
def test_the_size_of_a_chunk_changes_no_bit(chunk):
    for run in (psrl.run, twins.contrarian):
        whole, parts = (run(access(seed=5, chunk=n), PARAMS, rng(3)).output for n in (None, chunk))
        np.testing.assert_array_equal(whole, parts)


def test_the_sample_is_the_world_in_the_end():
    V = psrl.run(access(seed=2), Params(20_000, 0.5), rng(3)).trace.info["V"]
    assert np.abs(V[-1, 0] - optimal_value(MODEL)[0]).max() < 0.1 < np.abs(V[0, 0] - optimal_value(MODEL)[0]).max()


def test_watching_is_the_regret_of_the_trace():
    watch = Regret(MODEL)
    psrl.run(access(seed=2, watch=watch), PARAMS, rng(3))
    np.testing.assert_array_equal(watch.regret, regret(MODEL, psrl.run(access(seed=2), PARAMS, rng(3)).trace))


TALL = EpisodicMDP(MODEL.P, 2 * MODEL.r, MODEL.rho)
BAD = {
    "access": (lambda: psrl.run(Generative(MODEL, rng()), PARAMS, rng()), "access must be a Episodes"),
    "no rewards": (lambda: psrl.run(Episodes(MODEL, rng()), PARAMS, rng()), "known.r"),
    "tall": (lambda: psrl.run(access(TALL), PARAMS, rng()), "access.known.r"),
    "params": (lambda: psrl.run(access(), 8, rng()), "params must be a Params"),
    "generator": (lambda: psrl.run(access(), PARAMS, 3), "rng must be"),
    "alpha0": (lambda: psrl.run(access(), Params(8, 0.0), rng()), "params.alpha0 must be"),
    "weight": (lambda: psrl.run(access(), Params(8, 1.0, -1.0), rng()), "params.weight must be"),
    "K": (lambda: psrl.theory(0, 0.5), "K must be at least 1"),
    "prior": (lambda: psrl.theory(8, -1.0), "alpha0 must be in"),
    "sizes": (lambda: psrl.bayes_bound(3, 2, 4, 0), "K must be at least 1"),
    "row": (lambda: psrl.draws(np.array([1.0, 0.0]), 3, rng()), r"alpha\[1\] must be in"),
    "observations": (lambda: psrl.foreseen([1, 2], -1, [False, False]), "n must be at least 0"),
    "delta": (lambda: psrl.width(np.ones(2), 0.0), "delta must be in"),
}


test_bad_input = closing.refusals(BAD)


def test_the_figure_draws_what_it_computes():
    from matplotlib.figure import Figure

    data, figure = picture.compute(None, K=200, runs=3), Figure()
    picture.draw(data, figure, {"C3": "SUPPORTED"})
    assert all((np.diff(data[name][0]) >= 0).all() for name in data if name.startswith("run"))
    assert len(figure.axes) == 1


test_no_claim_is_refuted_and_every_control_is = closing.claims(checks.CHECKS)
