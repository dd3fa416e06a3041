"""NPG: reference values, identities on numbers, the slow reference, every claim and every control."""

import math

import closing
import numpy as np
import oracles
import pytest

from algorithms.policy_gradient import npg
from algorithms.policy_gradient.npg import Params
from figures.policy_gradient import npg as picture
from mdpkit.access import Episodes, Exact
from mdpkit.instances.formula import stationary, stationary_episodic, stationary_policy
from mdpkit.instances.garnet import random_mdp
from mdpkit.measure.values import advantage, optimal_start_value, start_value
from mdpkit.models.tabular import TabularMDP
from theory_checks.policy_gradient import _npg_twins as twins
from theory_checks.policy_gradient import npg as checks

pytestmark = pytest.mark.xdist_group("npg")

EXACT = 1e-12
ROUND = 1e-9
CARD = stationary(4, 3, 0.9)
ARRAYS = (CARD.P, CARD.r, CARD.gamma, CARD.rho)
PI = stationary_policy(4, 3)
BEST = 7.740511668845171


def rng(seed=0):
    return np.random.default_rng(seed)


def gap(eta, T, run=npg.run):
    return BEST - start_value(CARD, run(Exact(CARD), Params(eta, T), rng()).output)


def close(a, b, tolerance=EXACT):
    np.testing.assert_allclose(a, b, rtol=0, atol=tolerance)


def test_reference_values():
    close(optimal_start_value(CARD), BEST)
    close(start_value(CARD, np.full((4, 3), 1 / 3)), 4.20464269472936)
    close([gap(0.1, T) for T in (1, 10, 100)], (2.4406617894363856, 0.10642202378311261, 0.007711145206591441))
    close([gap(1.0, T) for T in (5, 10, 15)], (0.03216901378229364, 0.00901223821983943, 0.002446418077239443))
    close(npg.run(Exact(CARD), Params(0.1, 10), rng()).output[0],
          (5.9398880496617636e-05, 0.9897256210021186, 0.010214980117384798))
    wrong = twins.downhill(Exact(CARD), Params(0.01, 1), rng()).output             # theta - 0.1 A
    close(start_value(CARD, wrong) - 4.20464269472936, -0.10, 0.05)                # known to two digits: -0.10


def test_reference_values_of_the_crowd():
    ends = {A: [f(Exact(checks.arms(A, 0.5)), Params(1.0, 50), rng()).output[0, 1:].sum() / 0.5
                for f in (npg.run, npg.run_gradient)] for A in (10, 100, 1000)}
    assert max(natural for natural, _ in ends.values()) < 1e-12
    close([plain for _, plain in ends.values()], (0.0217, 1.7208, 1.9978), 5e-5)    # four digits are known
    close([npg.bound(A, 0.5, 1.0, 50) for A in ends], (0.126, 0.172, 0.218), 5e-4)  # three


def test_a_large_step_is_policy_iteration_once_and_the_leader_after():
    """Of 200 random worlds policy iteration leaves the leader in some at its second step; NPG never does."""
    apart = 0
    for k in range(200):
        m = random_mdp(5, 4, 0.95, rng(k))
        pi = npg.run(Exact(m), Params(checks.LARGE, 2), rng())
        first, second = pi.trace.policies[1], pi.output
        Q = [advantage(m, p) for p in pi.trace.policies]             # up to V, which moves no maximiser
        np.testing.assert_array_equal(first.argmax(-1), Q[0].argmax(-1))
        np.testing.assert_array_equal(second.argmax(-1), (Q[0] + Q[1]).argmax(-1))
        close(first.max(-1), 1.0)
        apart += (second.argmax(-1) != Q[1].argmax(-1)).any()
    assert 30 <= apart <= 80        # 53 in other 200 worlds: four standard deviations, sqrt(200 * .27 * .73) = 6.2


def test_identities_on_numbers():
    A = npg.advantage(*ARRAYS[:3], PI)
    close((PI * A).sum(-1), 0.0)
    close(A, advantage(CARD, PI))
    g = npg.gradient(*ARRAYS, PI)
    close(g.sum(-1), 0.0)                                                        # orthogonal to shifts
    close(g, npg.occupancy(CARD.P, 0.9, CARD.rho, PI) * A / 0.1)
    w = npg.direction(*ARRAYS, PI)
    close(w, (np.linalg.pinv(npg.fisher(CARD.P, 0.9, CARD.rho, PI)) @ g.ravel()).reshape(4, 3), ROUND)
    close(w, (A - A.mean(-1, keepdims=True)) / 0.1, ROUND)


def test_the_gradient_is_the_derivative_of_the_value():
    theta, h = np.log(PI), 1e-5
    for s, a in np.ndindex(4, 3):
        e = np.zeros((4, 3))
        e[s, a] = h
        slope = (start_value(CARD, npg.softmax(theta + e)) - start_value(CARD, npg.softmax(theta - e))) / (2 * h)
        # third derivatives of V are at most some 6/(1-gamma)^4: h^2 6e4/6 = 1e-6; rounding 10 u/h = 1e-10
        close(slope, npg.gradient(*ARRAYS, PI)[s, a], 1e-6)


def test_occupancy_accounts_for_all_mass_and_nothing_is_sampled():
    d = npg.occupancy(CARD.P, 0.9, CARD.rho, PI)
    close(d.sum(), 1.0)
    close(d, oracles.discounted_occupancy(CARD.P, CARD.rho, 0.9, PI, 300))         # 0.9**300 = 2e-14
    result = npg.run(Exact(CARD), Params(0.3, 7), rng())
    assert result.samples == {}
    assert len(result.trace) == 7
    close(result.trace.info["theta"][0], 0.0)
    close(npg.softmax(result.trace.info["theta"]), result.trace.policies[result.trace.index], 0)


def slow(m, eta, T, *, scale=True, sign=1, fresh=False):
    """Lines 1, 2, 3, 6 and 7 in loops: pi is multiplied, not the table added to; V by sweeps."""
    pi = np.full(m.r.shape, 1 / m.A)
    seen = [pi]
    for _ in range(T):
        V = oracles.discounted_values(m.P, m.r, m.gamma, pi, 60)                   # 2 * 0.5**60 = 2e-18
        new = np.zeros(m.r.shape)
        for s in range(m.S):
            for a in range(m.A):
                A = m.r[s, a] + m.gamma * sum(m.P[s, a, t] * V[t] for t in range(m.S)) - V[s]
                new[s, a] = (1 if fresh else pi[s, a]) * math.exp(sign * eta * A / ((1 - m.gamma) if scale else 1))
            new[s] /= sum(new[s])
        pi = new
        seen.append(pi)
    return np.array(seen)


SMALL = random_mdp(3, 2, 0.5, rng(4))


def test_run_agrees_with_the_slow_reference():
    """Tables err by at most 8 eta/(1-gamma) = 16 errors of an advantage, each below 1e-14: 1e-12 is not reached."""
    result = npg.run(Exact(SMALL), Params(1.0, 8), rng())
    close(np.concatenate([result.trace.policies, result.output[None]]), slow(SMALL, 1.0, 8))
    other = npg.run_fisher(Exact(SMALL), Params(1.0, 8), rng())
    close(other.output, result.output, ROUND)          # F is inverted: its least eigenvalue is d(s) pi(a|s)
    close(gap(0.1, 10, npg.run_fisher), gap(0.1, 10), ROUND)


MUTANTS = {"unscaled": {"scale": False}, "downhill": {"sign": -1}, "forgetful": {"fresh": True}}


@pytest.mark.parametrize("name", MUTANTS)
def test_each_mutant_differs_from_the_algorithm(name):
    right = npg.run(Exact(SMALL), Params(1.0, 3), rng()).output
    wrong = slow(SMALL, 1.0, 3, **MUTANTS[name])[-1]
    assert np.abs(wrong - right).max() > ROUND
    close(wrong, getattr(twins, name)(Exact(SMALL), Params(1.0, 3), rng()).output)     # the control does what it says


@pytest.mark.parametrize("eta", [1.0, 50.0, 1000.0])
def test_plain_ascent_never_falls_either(eta):
    """Its table moves by d pi A/(1-gamma), of the sign of A: pi' gains on pi in every state."""
    trace = npg.run_gradient(Exact(CARD), Params(eta, 20), rng()).trace
    V = np.array([npg.evaluate(*ARRAYS[:3], trace.policies[t]) for t in trace.index])
    assert (np.diff(V, axis=0) > -EXACT).all()
    assert (V[-1] > V[0]).all()


def test_theory_gives_the_bound_of_the_corollary():
    params = npg.theory(50, 4, 0.9)
    close(npg.bound(4, 0.9, params.eta, params.T), 2 / (0.01 * 50), ROUND)
    assert npg.theory(5, 1, 0.9).eta == 1.0
    result = npg.run(Exact(CARD), npg.theory(50, 3, 0.9), rng())
    assert BEST - start_value(CARD, result.output) < 4.0


def test_another_start_and_huge_steps():
    start = np.tile([0.5, 0.25, 0.25], (4, 1))
    result = npg.run(Exact(CARD), Params(0.1, 1, start), rng())
    close(result.trace.policies[0], start)
    huge = npg.run(Exact(CARD), Params(1e300, 3), rng()).output
    assert np.isfinite(huge).all()
    close(huge.sum(-1), 1.0)


TALL = TabularMDP(CARD.P, 2 * CARD.r, 0.9, CARD.rho)
BAD = {
    "a model": (lambda: npg.run(CARD, Params(0.1, 2), rng()), "access must be a Exact"),
    "episodes": (lambda: npg.run_fisher(Episodes(CARD, rng()), Params(0.1, 2), rng()), "access must be a Exact"),
    "episodic": (lambda: npg.run(Exact(stationary_episodic(4, 3, 2)), Params(0.1, 2), rng()), "access.model"),
    "tall": (lambda: npg.run_gradient(Exact(TALL), Params(0.1, 2), rng()), r"access.model.r\[.*in \[0, 1\]"),
    "eta": (lambda: npg.run(Exact(CARD), Params(0.0, 2), rng()), "params.eta must be in"),
    "T": (lambda: npg.run(Exact(CARD), Params(0.1, 0), rng()), "params.T must be at least 1"),
    "start": (lambda: npg.run(Exact(CARD), Params(0.1, 2, np.eye(3)[[0, 1, 2, 0]]), rng()), r"params.start\[0, 1\]"),
    "shape": (lambda: npg.run(Exact(CARD), Params(0.1, 2, np.full((3, 3), 1 / 3)), rng()), "params.start must be of"),
    "generator": (lambda: npg.run(Exact(CARD), Params(0.1, 2), 0), "rng must be"),
    "gamma": (lambda: npg.theory(5, 3, 1.0), "gamma must be in"),
}


test_bad_input = closing.refusals(BAD)


def test_the_figure_draws_what_it_computes():
    from matplotlib.figure import Figure

    data, figure = picture.compute(), Figure()
    picture.draw(data, figure, {"C3": "SUPPORTED"})
    assert len(figure.axes) == 2
    for eta in picture.ETAS:
        assert (data[f"npg {eta:g}"] < data[f"bound {eta:g}"]).all()
    close(data["npg 0.1"][list(picture.T).index(10)], 0.10642202378311261)
    assert (data["plain by A"] > data["bound by A"]).tolist() == [False] * 4 + [True] * 3


test_no_claim_is_refuted_and_every_control_is = closing.claims(checks.CHECKS)
