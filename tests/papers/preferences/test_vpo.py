"""VPO: reference values, identities on numbers, accounting, the slow reference, every claim and every control."""

import itertools
import math
from dataclasses import replace

import closing
import numpy as np
import pytest

from algorithms.preferences import rpo, vpo
from algorithms.preferences.vpo import Params
from figures.preferences import vpo as picture
from mdpkit import losses
from mdpkit.access import Comparisons, Exact
from mdpkit.data import compare
from mdpkit.instances.preferences import two_prompts
from mdpkit.models.preferences import PreferenceModel
from mdpkit.worlds.preferences import ask, start
from theory_checks.preferences import vpo as checks

pytestmark = pytest.mark.xdist_group("vpo")

EXACT = 1e-12
ROUND = 1e-9
CAL = np.array([[0.4, 0.3, 0.2, 0.05, 0.05]])
FIVE = PreferenceModel.bradley_terry([[1.0, 0.6, 0.3, 0.1, 0.0]], [1.0], [[0.3, 0.3, 0.2, 0.1, 0.1]], 0.2)
MU = np.zeros((1, 5, 5))
MU[0, [0, 0, 1, 2, 1], [1, 2, 2, 3, 4]] = 0.4, 0.25, 0.25, 0.05, 0.05
POPULATION = losses.population(FIVE, MU)
SIX = PreferenceModel.bradley_terry(checks.ARMS, [1.0], np.full((1, 6), 1 / 6), 1.0)
TWO = two_prompts()
PAIRS = compare(TWO, np.full((2, 4, 4), 1 / 12) * (1 - np.eye(4)), 60, np.random.default_rng(3))


def rng(seed=0):
    return np.random.default_rng(seed)


def close(a, b, tolerance=EXACT):
    np.testing.assert_allclose(a, b, rtol=0, atol=tolerance)


def test_reference_values():
    """J* - E_cal r and the loss at alpha = 0, 0.05 offline and online; once computed to 5e-6 and 1e-7 of these."""
    fit = vpo.given(Comparisons(FIVE, rng()), Params(0.05, C=3.0, cal=CAL), rng(), POPULATION)
    for weight, (J, loss), (once, loss_once) in (
            (0.0, (0.144133404, 0.66569866162), (0.1441379, 0.6656986616)),
            (-0.05, (0.076457931, 0.66720392352), (0.0764568, 0.6672039782)),
            (0.05, (5.040876126, 0.80153261897), (5.0408755, 0.8015325867))):
        r, least, gap = vpo.solve(fit, weight)
        close(vpo.value(r, fit) - (CAL * r).sum(), J, 1e-9 if weight <= 0 else 1e-7)     # online to 1e-8 in theta
        close(losses.pairwise(fit.W, r)[0], loss, 1e-10 if weight <= 0 else 1e-8)
        close([J, loss], [once, loss_once], 5e-6)
        assert gap < 1e-7 * (weight > 0) + 1e-14
        assert least <= loss_once - weight * once + 6e-8 * abs(weight) + 6e-11      # last digits, rounded
    assert r[0].argmax() == 3 and r[0, 3] == 3.0
    close(vpo.solve(fit, -0.05)[1], 0.67102682008158)
    wide = Params(0.05, C=math.inf, cal=CAL)
    close(vpo.run_offline(Comparisons(FIVE, rng()), POPULATION, wide, rng()).output,
          rpo.run(Comparisons(FIVE, rng()), POPULATION, rpo.Params(0.05, CAL), rng()).output, ROUND)


def test_reference_values_of_regret():
    """Means over 64 runs, within four standard errors of those of 256 others: 68.1, 146.6, 235.5."""
    for T, mean, error in ((400, 68.1, 4.1), (1600, 146.6, 10.7), (6400, 235.5, 13.4)):
        total = [checks.curve(vpo.run, Params(0.3 * math.sqrt(T), T), rng(seed))[-1] for seed in range(64)]
        close(np.mean(total), mean, 4 * math.sqrt(1.25) * error)
    assert checks.curve(vpo.run, Params(0.0, 400), rng())[-1] == 200.0


def test_reference_values_offline():
    for N, mean, tolerance in ((100, 0.095, 0.03), (400, 0.051, 0.018), (1600, 0.023, 0.01), (6400, 0.012, 0.005)):
        close(np.mean([checks.logged_gap(N, vpo.run_offline_grid, rng([s, N])) for s in range(100)]), mean, tolerance)
    close(np.mean([checks.logged_gap(100, picture.SIGNS["most likely"], rng(s)) for s in range(100)]), 0.6, 0.26)
    # one of four others wins both comparisons with probability 1 - (1 - sigmoid(-1/2)^2)^4, and costs 1.3
    close(1.3 * (1 - (1 - losses.sigmoid(-0.5) ** 2) ** 4), 0.597, 5e-4)


def test_the_pessimistic_policy_is_the_limit_of_small_beta():
    """lam/alpha: the slope of line 3 in r(k) is alpha (pi(k) - 0) + n_k'(r(k)) = 0."""
    counts = np.array([[0.0, 0.0], [40.0, 20.0], [2.0, 0.0], [1.0, 3.0]])
    fit = vpo.Fit(np.zeros((1, 4, 4)), np.eye(4)[None, :, 1:], np.log(np.full((1, 4), 0.25)), np.ones(1),
                  np.eye(4)[:1], 1e-3, 2.0)
    fit.W[0, 1:, 0], fit.W[0, 0, 1:] = counts[1:].T
    for alpha in (3.0, 30.0):
        r = vpo.solve(fit, -alpha)[0]
        close(vpo.fit_grid(counts, np.linspace(-2, 2, 161), -alpha)[2], np.exp(losses.gibbs(fit.log_ref, r, 1e-3))[0],
              2e-3)                                           # of the order of beta: M moves by beta log(pi/pi_ref)


def slow(T, alpha, seed, *, readd=True, flipped=False, forgets=False, points=161):
    """Lines 2 and 5 in plain Python: every score from scratch in every round."""
    access, counts, played = Comparisons(SIX, rng(seed)), [[0, 0] for _ in range(6)], []
    g = np.linspace(-2, 2, points)
    up, down = losses.softplus(g).tolist(), losses.softplus(-g).tolist()
    for _ in range(T):
        scores = [0.0]
        for won, lost in counts[1:]:
            n = [won * d + lost * u for d, u in zip(down, up)]
            best = max(alpha * v - m for v, m in zip(g.tolist(), n))
            mle = g[n.index(min(n))] if won + lost else 0.0
            scores.append(mle if alpha == 0 else best + (min(n) if readd else 0.0))
        k = scores.index(max(scores))
        played.append(k)
        assert access.call(start) == 0
        win = access.call(ask, 0, k, 0)
        if forgets:
            counts[k] = [0, 0]
        counts[k][(0 if win else 1) if not flipped else (1 if win else 0)] += 1
    return played


@pytest.mark.parametrize("alpha", [0.0, 0.7, 6.0])
def test_the_kernel_agrees_with_the_pseudo_code_bit_for_bit(alpha):
    out = vpo.run(Comparisons(SIX, rng(5)), Params(alpha, 200), rng())
    assert out.trace.policies[out.trace.index].tolist() == slow(200, alpha, 5)
    assert out.output == slow(200, alpha, 5)[-1] and out.samples == {"prompts": 200, "asks": 200}


MUTANTS = {"least loss left out": {"readd": False}, "labels flipped": {"flipped": True},
           "the last label alone": {"forgets": True}, "a coarse grid": {"points": 3}}


@pytest.mark.parametrize("name", MUTANTS)
def test_each_mutant_differs_from_the_kernel(name):
    out = vpo.run(Comparisons(SIX, rng(5)), Params(6.0, 200), rng())
    assert out.trace.policies[out.trace.index].tolist() != slow(200, 6.0, 5, **MUTANTS[name])


@pytest.mark.parametrize("both", [False, True])
def test_the_rounds_of_the_gradient_form_are_those_of_the_pseudo_code(both):
    """Lines 1 and 2 but for the descent itself, one draw at a time."""
    params, T = Params(1.0, 12, cal=TWO.pi_ref[::-1].copy(), both=both), 12
    out = vpo.run_gradient(Comparisons(TWO, rng(7)), params, rng(8))
    access, learner, theta = Comparisons(TWO, rng(7)), rng(8), np.zeros(8)
    fit = vpo.given(access, params, rng())
    W, settings = fit.W.copy(), np.array([0.5, 1.0, 2.0, float(both)])
    for t in range(T):
        vpo._best(W, *(np.array(part) for part in fit[1:5]), settings, theta)
        pi = []
        for x in range(2):
            logits = [fit.log_ref[x, y] + theta[4 * x + y] / 0.5 for y in range(4)]
            top, total = max(logits), 0.0
            for v in logits:
                total += math.exp(v - top)
            pi.append([math.exp(v - top - math.log(total)) for v in logits])
        np.testing.assert_array_equal(out.trace.policies[out.trace.index[t]], pi)
        x, pair = access.call(start), []
        for law in (pi[x], pi[x] if both else fit.cal[x].tolist()):
            cum = list(itertools.accumulate(law))
            u = learner.random() * cum[-1]
            pair.append(next(y for y in range(4) if u < cum[y]))
        win, lose = pair if access.call(ask, x, *pair) else pair[::-1]
        W[x, win, lose] += 1
    assert out.samples == {"prompts": T, "asks": T}
    np.testing.assert_array_equal(out.output, pi)


def test_no_point_of_a_grid_is_better_than_the_descents():
    """r(0) = 0 by a shift: 21^2 points of the two other rewards, online, where descents may stop at a local minimum."""
    fit = vpo.Fit(np.zeros((1, 3, 3)), np.eye(3)[None, :, 1:], np.log(np.full((1, 3), 1 / 3)), np.ones(1),
                  np.array([[0.5, 0.25, 0.25]]), 0.25, 2.0)
    for seed in range(8):
        fit.W[0] = rng(seed).integers(0, 5, (3, 3)) * (1 - np.eye(3))
        alpha = rng(seed).exponential() * 3
        least = vpo.solve(fit, alpha)[1]
        for a, b in itertools.product(np.linspace(-2, 2, 21), repeat=2):
            assert checks._loss(fit, np.array([[0.0, a, b]]), alpha) >= least - EXACT * (1 + abs(least))


def test_offline_agrees_with_plain_descent():
    """Line 3 by projected gradient steps in numpy: values within the certified gap, hence laws within its root."""
    fit = vpo.given(Comparisons(TWO, rng()), Params(6.0, C=0.4, cal=TWO.pi_ref), rng(), PAIRS)
    r, least, gap = vpo.solve(fit, -6.0)
    assert gap < EXACT and np.abs(r).max() == 0.4
    s = np.zeros((2, 4))
    for _ in range(4000):
        g = losses.pairwise(fit.W, s)[1] + 6 * fit.rho[:, None] * (np.exp(losses.gibbs(fit.log_ref, s, 0.5)) - fit.cal)
        s = np.clip(s - 0.03 * g, -0.4, 0.4)                  # curvature at most 60/2 + 6/0.5/2
    close(checks._loss(fit, s, -6.0), least, 1e-11)           # 60 losses and alpha J*, 4000 times rounded and forgotten
    wide = vpo.run_offline(Comparisons(TWO, rng()), PAIRS, Params(6.0, C=0.4, cal=TWO.pi_ref), rng()).output
    close(wide, np.exp(losses.gibbs(fit.log_ref, s, 0.5)), 1e-5)


def test_features_of_a_table_are_the_table():
    access = Comparisons(TWO, rng(4), bounds={"phi": np.eye(8).reshape(2, 4, 8)})
    params = Params(1.0, 6, cal=TWO.pi_ref)
    close(vpo.run_offline(access, PAIRS, replace(params, linear=True), rng()).output,
          vpo.run_offline(access, PAIRS, params, rng()).output, 0)
    other = Comparisons(TWO, rng(4))
    close(vpo.run_gradient(access, replace(params, linear=True), rng(1)).output,
          vpo.run_gradient(other, params, rng(1)).output, 0)


def test_offline_nothing_is_asked_for_and_every_comparison_counts():
    access = Comparisons(TWO, rng())
    assert vpo.run_offline(access, PAIRS, Params(1.0), rng()).samples == {"prompts": 0, "asks": 0}
    close(vpo.given(access, Params(1.0), rng(), PAIRS).W.sum(), 60.0)


def test_theory():
    close(vpo.theory(1000, 4, 1.0, 0.5, 2.0).alpha, math.exp(-4) * math.sqrt(1000 / (8 * math.log(1000))))


def test_the_figure_draws_what_it_computes():
    from matplotlib.figure import Figure

    from figures.engine.export import Rows
    from theory_checks.engine.engines import Serial
    from theory_checks.engine.store import Store

    data = picture.compute(Rows("vpo", Store(), Serial()), 8)
    picture.draw(data, Figure(), {"C5": "SUPPORTED"})
    assert data["c 0"][-1] == 3200 and data["c 0.3"][-1] < 800
    assert data["pessimism"][-1] < 0.02 < data["most likely"][-1] < data["optimism"][-1] == 1.3


BAD = {
    "exact": (lambda: vpo.run(Exact(SIX), Params(1.0, 5), rng()), "access must be a Comparisons"),
    "prompts": (lambda: vpo.run(Comparisons(TWO, rng()), Params(1.0, 5), rng()), r"access\.known\.X must be"),
    "alpha": (lambda: vpo.run(Comparisons(SIX, rng()), Params(-1.0, 5), rng()), r"params\.alpha must be in"),
    "T": (lambda: vpo.run(Comparisons(SIX, rng()), Params(1.0), rng()), r"params\.T must be at least 1"),
    "C": (lambda: vpo.run_gradient(Comparisons(SIX, rng()), Params(1.0, 5, math.inf), rng()), r"params\.C must be"),
    "cal": (lambda: vpo.run_gradient(Comparisons(SIX, rng()), Params(1.0, 5, cal=CAL), rng()), r"params\.cal must be"),
    "points": (lambda: vpo.run(Comparisons(SIX, rng()), Params(1.0, 5, points=1), rng()), r"params\.points must be"),
    "pairs": (lambda: vpo.run_offline(Comparisons(TWO, rng()), MU, Params(1.0), rng()), "pairs must be a Pairs"),
    "features": (lambda: vpo.run_gradient(Comparisons(SIX, rng()), Params(1.0, 5, linear=True), rng()), r"known\.phi"),
    "generator": (lambda: vpo.run(Comparisons(SIX, rng()), Params(1.0, 5), 3), "rng must be"),
    "theory": (lambda: vpo.theory(1000, 4, 0.0, 1.0, 1.0), "C must be in"),
}


test_bad_input = closing.refusals(BAD)


test_no_claim_is_refuted_and_every_control_is = closing.claims(checks.CHECKS)
