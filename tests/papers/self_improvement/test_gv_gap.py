"""The generation-verification gap: reference values, identities, accounting, slow references, claims and controls."""

import itertools
import math
from dataclasses import replace

import closing
import numpy as np
import pytest

from algorithms.self_improvement import gv_gap
from algorithms.self_improvement.gv_gap import Params
from figures.self_improvement import gv_gap as picture
from mdpkit.access import Episodes, Exact
from mdpkit.models.bandits import ContextualBandit
from theory_checks.self_improvement import gv_gap as checks

pytestmark = pytest.mark.xdist_group("gv-gap")

EXACT = 1e-12
ROUND = 1e-9
U = np.array([[1.0, 0.0, 0.0], [0.0, 0.5, 1.0]])
F = np.array([[0.25, 0.5, 0.25], [0.5, 0.375, 0.125]])
V = np.array([[0.75, 0.25, 0.5], [0.125, 0.625, 0.875]])
RHO = np.array([0.5, 0.5])
MODEL = ContextualBandit(RHO, U)


def rng(seed=0):
    return np.random.default_rng(seed)


def close(a, b, tolerance=EXACT):
    np.testing.assert_allclose(a, b, rtol=0, atol=tolerance)


def utilities(world, T):
    f, w, u = (np.array(world[k], float) for k in ("f", "w", "u"))
    return np.array([gv_gap.utility(g, u, np.ones(1)) for g in gv_gap.improve(f, w, T)])


def test_reference_values_of_a_fixed_verifier():
    left = 1 - utilities(picture.GOOD, 59)
    close(left[[0, 1, 5, 20]], (0.75, 0.6272727272727273, 0.20026506562769453, 0.0011940915083581416))
    close(left[59] / left[58], 0.7, 1e-6)
    J = utilities(checks.HUMP, 59)
    close(J[[0, 1, 5, 10, 30, 59]], (0.3, 0.525164113785558, 0.8938295537307909, 0.7630283211724578,
                                     0.03580834370613155, 5.7465280334251e-05))
    assert J.argmax() == 5
    tame = utilities({**checks.HUMP, "w": [[0.8, 0.3, 0.79]]}, 300)
    # rounding of J is a few units of 1; the third response loses by (.79/.8)^t
    assert (np.diff(tame) > -EXACT).all() and tame[-1] > 0.999


def test_reference_values_of_pass_at_k():
    f, w, u = (np.array(checks.TWO[k], float) for k in ("f", "w", "u"))
    fs = gv_gap.improve(f, w, 5)
    found = [[gv_gap.pass_at_k(fs[t], u, RHO, k) for k in (1, 2, 4, 8, 16, 32)] for t in (0, 3, 5)]
    close(found[0], (0.2, 0.36, 0.5904, 0.83222784, 0.9718525023, 0.9992077184), 5e-11)        # ten digits are known
    close(found[1], (0.4506353861, 0.5215192317, 0.5577678710, 0.6091065848, 0.6944047360, 0.8132230693), 5e-11)
    close([found[2][0], found[2][-1]], (0.4957788030, 0.6102211199), 5e-11)


def test_reference_values_of_a_noisy_verifier():
    f, u = np.array([[0.3, 0.7]]), np.array([[1.0, 0.0]])
    gaps = [float(gv_gap.gap_by_rates(f, np.array([gv_gap.noisy_rates(s)]), u)[1][0]) for s in (0.25, 0.5, 1.0, 2.0)]
    close(gaps, (0.6484791664688019, 0.3944422065698046, 0.1899182381190488, 0.09002189821684548))
    close(gv_gap.noisy_rates(1.0, 4), gv_gap.noisy_rates(0.5))
    close(gv_gap.gap_by_rates(f, np.array([[0.8, 0.3]]), u)[0], 0.5333333333333333)


def test_a_weight_that_knows_nothing_has_no_gap_on_average():
    """Over all orders of w under an even model E[w] is one number and the covariances cancel."""
    f, u = np.full((1, 4), 0.25), np.array([[1.0, 0.5, 0.25, 0.0]])
    gaps = [gv_gap.gap(f, np.array([w]), u)[0] for w in itertools.permutations((0.1, 0.4, 0.5, 1.0))]
    close(sum(gaps), 0.0)
    assert max(gaps) > 0.1


def test_identities_on_numbers():
    close(gv_gap.gap(F, V, U).mean(), gv_gap.utility(gv_gap.reweight(F, V), U, RHO) - gv_gap.utility(F, U, RHO))
    close(gv_gap.improve(F, V, 7)[-1], gv_gap.far(F, V, 7))
    close(gv_gap.far(F, V, 1e6), [[1, 0, 0], [0, 0, 1]])                     # V**1e6 underflows
    close(gv_gap.reweight(F, np.zeros((2, 3))), F, 0)
    done = np.array([[1.0, 0.0, 0.0], [0.5, 0.375, 0.125]])
    close(gv_gap.relative_gap(done, V, U), gv_gap.gap(F, V, U)[1] / (1 - F[1] @ U[1]))
    assert gv_gap.relative_gap(np.eye(3)[[0, 2]], V, U) == 0.0
    close(gv_gap.weigh(V, F, "quantile", 0.5) * F, [[0.25, 0.0, 0.25], [0.0, 0.375, 0.125]])
    close((gv_gap.weigh(V, F, "quantile", 0.3) * F).sum(1), 0.3)


def slow(params, seed, *, wrong=""):
    """Lines 1 to 7 of the sampled form, one sample at a time."""
    learner, f, trace = rng(seed), np.array(params.f), []
    for _ in range(params.T):
        trace.append(f)
        draws, noise = learner.random((2, params.n)), learner.normal(size=(2, params.n))
        new = np.zeros((2, 3))
        for x in range(2):
            seen = []
            for i in range(params.n):
                y = sum(draws[x, i] >= c for c in np.cumsum(params.f[x] if wrong == "stale" else f[x]))
                score = params.v[x, y] + params.sigma * noise[x, i] * (wrong != "noiseless")
                seen.append((y, score))
            order = sorted(range(params.n), key=lambda i: (-seen[i][1], i))
            top = max(s for _, s in seen)
            for i, (y, score) in enumerate(seen):
                if params.rule == "threshold":
                    passed = float(score < params.level if wrong == "failures" else score >= params.level)
                elif params.rule == "exponential":
                    passed = math.exp((score - top) / params.level)
                else:
                    passed = min(max(params.level * params.n - order.index(i), 0.0), 1.0)
                new[x, y] += passed
            new[x] = new[x] / new[x].sum() if new[x].sum() > 0 else (1 / 3 if wrong == "forgetful" else f[x])
        f = new
    return np.array([*trace, f])


def played(run, params, seed):
    out = run(Episodes(MODEL, rng()), params, rng(seed))
    return np.concatenate([out.trace.policies[out.trace.index], out.output[None]])


@pytest.mark.parametrize("n", [1, 5, 40])
def test_the_sampled_form_agrees_with_the_pseudo_code(n):
    params = Params(6, F, V, n=n, sigma=0.5)
    np.testing.assert_array_equal(played(gv_gap.run_sampled, params, 3), slow(params, 3))      # counts: bit for bit
    for rule, level in (("exponential", 0.25), ("quantile", 0.4)):
        other = replace(params, rule=rule, level=level)
        close(played(gv_gap.run_sampled, other, 3), slow(other, 3))


@pytest.mark.parametrize("wrong", ["stale", "noiseless", "failures", "forgetful"])
def test_each_mutant_differs_from_the_algorithm(wrong):
    params = Params(6, F, V, n=1, sigma=1.0)
    assert np.abs(played(gv_gap.run_sampled, params, 3) - slow(params, 3, wrong=wrong)).max() > ROUND


def test_the_law_itself_is_what_many_samples_tend_to():
    exact = played(gv_gap.run, Params(3, F, V, "exponential", 0.5), 0)
    close(exact, gv_gap.improve(F, np.exp((V - V.max(1, keepdims=True)) / 0.5), 3))
    many = played(gv_gap.run_sampled, Params(1, F, V, "exponential", 0.5, n=100_000), 0)
    # each entry is a mean of 10^5 terms in [0, 1] over one of at least exp(-1.5): six deviations are 0.0095/0.22
    close(many[1], exact[1], 0.043)
    cut = played(gv_gap.run, Params(2, F, V), 0)
    close(cut[1:], [[[0.5, 0, 0.5], [0, 0.75, 0.25]]] * 2)                    # a filter improves once
    best = played(gv_gap.run, Params(2, F, V, "quantile", 0.5), 0)
    close(best[1], [[0.5, 0, 0.5], [0, 0.75, 0.25]])
    close(best[2], [[1, 0, 0], [0, 0.5, 0.5]])


def test_inexact_steps_are_off_by_their_error():
    fs = played(gv_gap.run_inexact, Params(5, F, V, "exponential", 0.5, error=0.1), 0)
    J, gaps, errors = gv_gap.accounting(fs, np.exp((V - V.max(1, keepdims=True)) / 0.5), U, RHO)
    assert (errors > 0.001).all() and (errors <= 0.1 + EXACT).all()
    assert (np.abs(np.diff(J) - gaps) <= errors + EXACT).all()
    close(played(gv_gap.run_inexact, Params(5, F, V), 0), played(gv_gap.run, Params(5, F, V), 0), 0)


def test_every_sample_is_counted_and_no_utility_is_seen():
    out = gv_gap.run_sampled(Episodes(MODEL, rng()), Params(6, F, V, n=5), rng())
    assert out.samples == {"generated": 60, "episodes": 0, "steps": 0}
    close(out.output.sum(1), 1.0)
    close(60 * out.output, np.round(60 * out.output))                         # shares of at most five samples
    assert gv_gap.run(Episodes(MODEL, rng()), gv_gap.theory(4, F, V), rng()).samples["generated"] == 0


def test_the_figure_draws_what_it_computes():
    from matplotlib.figure import Figure

    data, figure = picture.compute(), Figure()
    picture.draw(data, figure, {"C3": "SUPPORTED"})
    assert len(figure.axes) == 3
    assert data["hump"].argmax() == 5
    assert (np.diff(data["pass"][:, 0]) > 0).all() and (np.diff(data["pass"][:, -1]) < 0).all()
    assert (np.diff(data["gap"]) < 0).all()
    close(data["relative"], data["gap"] / 0.7)


def call(run=gv_gap.run, access=None, seed=0, **changed):
    return run(access or Episodes(MODEL, rng()), replace(Params(3, F, V), **changed), rng() if seed == 0 else seed)


BAD = {
    "exact": (lambda: call(access=Exact(MODEL)), "access must be a Episodes"),
    "law": (lambda: call(f=V), r"params\.f\[0, :\] must be a probability vector"),
    "shape": (lambda: call(v=V[:1]), r"params\.v must be of shape"),
    "T": (lambda: call(T=0), r"params\.T must be at least 1"),
    "n": (lambda: call(gv_gap.run_sampled, n=0), r"params\.n must be at least 1"),
    "rule": (lambda: call(rule="best"), r"params\.rule must be one of"),
    "share": (lambda: call(rule="quantile", level=1.5), r"params\.level must be in"),
    "temperature": (lambda: call(rule="exponential", level=0.0), r"params\.level must be in"),
    "sigma": (lambda: call(gv_gap.run_sampled, sigma=-1.0), r"params\.sigma must be in"),
    "error": (lambda: call(gv_gap.run_inexact, error=1.5), r"params\.error must be in"),
    "generator": (lambda: call(seed=3), "rng must be"),
}


test_bad_input = closing.refusals(BAD)


test_no_claim_is_refuted_and_every_control_is = closing.claims(checks.CHECKS)
