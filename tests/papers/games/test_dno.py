"""DNO: reference values, identities on numbers, accounting, the slow reference, every claim and every control."""

import math

import closing
import numpy as np
import pytest
from scipy.optimize import minimize

from algorithms.games import dno
from algorithms.games.dno import Params
from figures.games import dno as picture
from mdpkit import losses
from mdpkit.access import Comparisons, Exact
from mdpkit.instances.preferences import condorcet_cycle, dominated_cycle, two_prompts
from mdpkit.measure.exploitability import preference_gap
from theory_checks.games import _dno_twins as twins
from theory_checks.games import dno as checks

pytestmark = pytest.mark.xdist_group("dno")

EXACT = 1e-12
ROUND = 1e-9
CYCLE = checks.CYCLE
P, PI = CYCLE.p[0], CYCLE.pi_ref[0]


def rng(seed=0):
    return np.random.default_rng(seed)


def close(a, b, tolerance=EXACT):
    np.testing.assert_allclose(a, b, rtol=0, atol=tolerance)


def wins(a, b):
    return (a * (P * b).sum(1)).sum()


def test_reference_values():
    close(P, [[0.5, 0.9, 0.2], [0.1, 0.5, 0.8], [0.8, 0.2, 0.5]])
    close(PI, (0.6, 0.3, 0.1))
    result = dno.run(Exact(CYCLE), Params(50, 0.5), rng())
    pi = result.trace.policies
    close(pi[1], (0.6939276203019624, 0.19041777631437715, 0.11565460338366043))
    close([wins(pi[t + 1], pi[t]) for t in range(5)],
          (0.5328746671056869, 0.5257361504578377, 0.5232355889839598, 0.5266083372644549, 0.5325263634516689))
    close(result.output[0], (0.2991461459720897, 0.2233881068313394, 0.47746574719657076))
    close(preference_gap(P, result.output[0]), 0.023581265770134)
    close(result.output[1], (0.0006614351324476, 0.765159399558929, 0.2341791653086236))
    close([wins(x, pi[0]) for x in pi[:10]], checks.AGAINST_FIRST, 5e-7)                   # six digits


def test_reference_values_of_the_regression():
    """Uniform pi on 4 responses near a tie: each pair tells 1/4, so that the error is 4 (Y - 1)/N = 12/N."""
    p, flat = 0.5 + (dominated_cycle().p[0] - 0.5) / 100, np.full(4, -math.log(4))
    for N, known in ((500, 0.0277), (2000, 0.00606)):          # of 60 runs, on an instance that is not told
        errors = [((losses.margins(dno.regress(p, flat, N, rng(k)) - p.mean(1))) ** 2).mean() for k in range(200)]
        # a sum of three squared normals, over 200 runs: four deviations of sqrt(2/3/200) and an eighth for large N
        close(np.mean(errors) * N / 12, 1.0, 4 * math.sqrt(2 / 3 / 200) + 0.05)
        close(known * N / 12, 1.0, 4 * math.sqrt(2 / 3 / 60))


def test_the_last_policy_of_a_cycle_stays_exploitable():
    """Known: above .1 for T = 200, here at any T from 20 on."""
    m = condorcet_cycle(3, 1.0, [0.6, 0.3, 0.1])
    gaps = [preference_gap(m.p[0], dno.run(Exact(m), Params(T, 0.5), rng()).output[1]) for T in range(20, 200, 20)]
    assert min(gaps) > 0.1


def test_the_objective_is_greatest_at_the_closed_form():
    r, old, D = (P * PI).sum(1), np.log(PI), PI[:, None] * PI
    best = minimize(lambda x: dno.contrastive(D, r, losses.log_softmax(x), old, 0.5), np.zeros(3), jac=True,
                    method="BFGS", options={"gtol": 1e-12})
    close(np.exp(losses.log_softmax(best.x)), np.exp(losses.log_softmax(old + r / 0.5)), 1e-7)    # of a search
    x = np.array([0.3, -0.2, 0.1])
    _, g = dno.contrastive(D, r, losses.log_softmax(x), old, 0.5)
    for y in range(3):
        h = 1e-6 * np.eye(3)[y]
        up, down = (dno.contrastive(D, r, losses.log_softmax(x + sign * h), old, 0.5)[0] for sign in (1, -1))
        close((up - down) / 2e-6, g[y], 1e-9)              # rounding u/1e-6 = 1e-10, third derivatives 1e-12
    by_hand, s = 0.0, losses.sigmoid(r[:, None] - r[None, :])
    d = 0.5 * (losses.log_softmax(x) - old)
    for y in range(3):
        for z in range(3):
            h = d[y] - d[z]
            by_hand += D[y, z] * (s[y, z] * math.log1p(math.exp(-h)) + (1 - s[y, z]) * math.log1p(math.exp(h)))
    close(dno.contrastive(D, r, losses.log_softmax(x), old, 0.5)[0], by_hand)


def test_the_fit_is_stationary_and_leaves_unseen_responses():
    W = rng(1).random((4, 4)) * (1 - np.eye(4))
    theta = dno.bradley_terry(W)
    close((((W + W.T) * losses.sigmoid(losses.margins(theta))) - W).sum(1), 0.0)
    W[3], W[:, 3] = 0.0, 0.0
    assert abs(dno.bradley_terry(W)[3]) < ROUND
    one_sided = np.array([[0.0, 1.0], [0.0, 0.0]])          # no most likely score: it stops, and is finite
    assert 5.0 < np.ptp(dno.bradley_terry(one_sided)) < 200.0


def slow(p, start, eta, T, *, sign=1.0, frozen=False, fresh=False, scale=1.0):
    """Lines 1 to 4 over all policies, in plain Python."""
    Y, out = len(p), [list(start)]
    for _ in range(T):
        seen, r = out[0] if frozen else out[-1], [0.0] * Y
        for z in range(Y):
            weight = math.exp(seen[z])
            for y in range(Y):
                r[y] += p[y, z] * weight
        c = sign * scale * (1.0 / eta)
        logits = [(start[y] if fresh else out[-1][y]) + c * r[y] for y in range(Y)]
        top, total = max(logits), 0.0
        for v in logits:
            total += math.exp(v - top)
        shift = top + math.log(total)
        out.append([v - shift for v in logits])
    return np.array(out)


def test_the_kernel_agrees_with_the_pseudo_code_bit_for_bit():
    found = dno.run(Exact(CYCLE), Params(40, 0.7), rng()).trace.info["log_pi"]
    np.testing.assert_array_equal(found, slow(P, np.log(PI), 0.7, 40))


MUTANTS = {"downhill": {"sign": -1.0}, "first opponent": {"frozen": True}, "from the start": {"fresh": True},
           "twice the step": {"scale": 2.0}}


@pytest.mark.parametrize("name", MUTANTS)
def test_each_mutant_differs_from_the_kernel(name):
    right = dno.soft_iteration(P, np.log(PI), 0.7, 5)
    assert np.abs(slow(P, np.log(PI), 0.7, 5, **MUTANTS[name]) - right).max() > ROUND


def test_the_population_fit_is_soft_policy_iteration():
    linear = dno.run_linear(Exact(CYCLE), Params(4, 0.7, phi=np.eye(3)), rng())
    exact = dno.run(Exact(CYCLE), Params(4, 0.7), rng())
    for a, b in zip(linear.output, exact.output):
        close(a, b, ROUND)                                  # Newton stops at 1e-13, the curvature is some 1e-3
    other = twins.own_pairs(Exact(CYCLE), Params(4, 0.7), rng()).output[1]
    assert np.abs(other - exact.output[1]).max() > 1e-3


def test_sampled_iterations_come_near_and_every_pair_is_counted():
    result = dno.run_sampled(Exact(CYCLE), Params(6, 1.0, N=200_000), rng(1))
    exact = dno.run(Exact(CYCLE), Params(6, 1.0), rng())
    # an iteration's theta is off by some sqrt(12/N) = .008; six of them, and what they do to one another
    close(result.output[1], exact.output[1], 0.05)
    assert result.samples == {"pairs": 1_200_000} and len(result.trace) == 6
    assert exact.samples == {} and len(exact.trace) == 6
    close(exact.output[0], exact.trace.policies.mean(0))
    assert dno.run_linear(Exact(CYCLE), Params(2, 1.0, phi=np.eye(3)), rng()).samples == {"pairs": 0}


class Counting:
    """A generator that tells what it was asked for."""

    def __init__(self):
        self.drawn, self.rng = [], rng(2)

    def multinomial(self, n, pvals):
        self.drawn.append((n, pvals))
        return self.rng.multinomial(n, pvals)

    def binomial(self, n, q):
        self.drawn.append((n, q))
        return self.rng.binomial(n, q)


def test_the_draws_of_a_regression():
    """N pairs by pi x pi; a label each, by sigma of the difference of win rates."""
    told = Counting()
    theta = dno.regress(P, np.log(PI), 5000, told)
    (N, D), (shown, s) = told.drawn
    assert N == 5000 == shown.sum()
    close(D.reshape(3, 3), PI[:, None] * PI)
    r = (P * PI).sum(1)
    close(s, losses.sigmoid(r[:, None] - r[None, :]))
    close(theta.sum(), 0.0)


def test_theory():
    params = dno.theory(50, PI)
    close(params.eta, math.sqrt(50 / (8 * math.log(10))))
    assert dno.theory(5, [1.0]).eta == 1.0
    close(dno.theory(32, np.full(4, 0.25)).eta, math.sqrt(4 / math.log(4)))


def test_the_figure_draws_what_it_computes():
    from matplotlib.figure import Figure

    data, figure = picture.compute(), Figure()
    picture.draw(data, figure, {"C2": "SUPPORTED"})
    assert len(figure.axes) == 3
    close(data["win"], data["bound of win"])
    assert (data["average"] < data["bound"]).all() and data["last"].min() > 0.05
    assert data["direct fit"][-1] > 1e-3 > data["fit"][-1]


BAD = {
    "a model": (lambda: dno.run(CYCLE, Params(2, 0.1), rng()), "access must be a Exact"),
    "comparisons": (lambda: dno.run_sampled(Comparisons(CYCLE, rng()), Params(2, 0.1), rng()), "access must be a Ex"),
    "prompts": (lambda: dno.run(Exact(two_prompts()), Params(2, 0.1), rng()), "access.model must be of one prompt"),
    "eta": (lambda: dno.run(Exact(CYCLE), Params(2, 0.0), rng()), "params.eta must be in"),
    "T": (lambda: dno.run(Exact(CYCLE), Params(0, 0.1), rng()), "params.T must be at least 1"),
    "N": (lambda: dno.run_sampled(Exact(CYCLE), Params(2, 0.1, N=0), rng()), "params.N must be at least 1"),
    "phi": (lambda: dno.run_linear(Exact(CYCLE), Params(2, 0.1), rng()), "params.phi must be"),
    "start": (lambda: dno.theory(5, [0.5, 0.6]), "pi_1.* must be a probability vector"),
    "thin start": (lambda: dno.theory(5, [1.0, 0.0]), r"pi_1\[1\] must be positive"),
    "p": (lambda: dno.soft_iteration(np.ones((2, 2)), np.log(PI), 1.0, 3), r"p must be of shape \(3, 3\)"),
    "generator": (lambda: dno.run(Exact(CYCLE), Params(2, 0.1), 3), "rng must be"),
}


test_bad_input = closing.refusals(BAD)


test_no_claim_is_refuted_and_every_control_is = closing.claims(checks.CHECKS)
