"""RPO: reference values, identities on numbers, accounting, the slow reference, every claim and every control."""

import math
from dataclasses import replace

import closing
import numpy as np
import pytest

from algorithms.preferences import rpo
from algorithms.preferences.rpo import Params
from figures.preferences import rpo as picture
from mdpkit import losses
from mdpkit.access import Comparisons, Exact
from mdpkit.data import compare
from mdpkit.instances.preferences import two_prompts
from mdpkit.models.preferences import PreferenceModel
from mdpkit.records import Pairs
from mdpkit.solve.rounding import higham
from theory_checks.preferences import rpo as checks

pytestmark = pytest.mark.xdist_group("rpo")

EXACT = 1e-12
ROUND = 1e-9
BASE = np.array([[0.4, 0.3, 0.2, 0.05, 0.05]])
FIVE = PreferenceModel.bradley_terry([[1.0, 0.6, 0.3, 0.1, 0.0]], [1.0], [[0.3, 0.3, 0.2, 0.1, 0.1]], 0.2)
MU = np.zeros((1, 5, 5))
MU[0, [0, 0, 1, 2, 1], [1, 2, 2, 3, 4]] = 0.4, 0.25, 0.25, 0.05, 0.05
POPULATION = losses.population(FIVE, MU)
TWO = two_prompts()
PAIRS = compare(TWO, np.full((2, 4, 4), 1 / 12) * (1 - np.eye(4)), 60, np.random.default_rng(3))


def rng(seed=0):
    return np.random.default_rng(seed)


def close(a, b, tolerance=EXACT):
    np.testing.assert_allclose(a, b, rtol=0, atol=tolerance)


def problem(model, data, params):
    return rpo.given(Comparisons(model, rng()), data, params, rng())


def distance(p, log_pi):
    """A bound on max |log(pi/pi_hat)| over the table without a box, from the slope g of the reward form at pi.

    V is convex and its Bregman divergence is a KL: with l = log(pi/pi_hat), sum g l >= eta rho sum (pi - pi_hat) l
    >= eta rho e^-M sum pi l^2, M = max |l|, at each prompt. By Cauchy and Schwarz M e^-M <= c = sqrt(sum g^2/pi) /
    (eta rho sqrt(min pi)), all the way from pi to pi_hat, so that M <= 1.12 c where c <= 1/10.
    """
    pi, Y = np.exp(log_pi), log_pi.shape[1]
    g = losses.pairwise(p.W, losses.implicit_reward(log_pi, p.log_ref, p.beta))[1] + p.eta * p.rho[:, None] * (
        pi - p.base)
    g = np.abs(g) + higham(4 * Y + 64) * (p.W.sum(2) + p.W.sum(1) + p.eta) * (1 + np.abs(log_pi).max())
    c = np.sqrt((g * g / pi).sum(1) / pi.min(1)) / (p.eta * p.rho)
    assert (c <= 0.1).all()
    return float(1.12 * c.max())


def test_reference_values():
    """The policy to the digits that its own slope certifies: another solver was once off by 3e-9."""
    p = problem(FIVE, POPULATION, Params(0.05, BASE))
    pi = rpo.run(Comparisons(FIVE, rng()), POPULATION, Params(0.05, BASE), rng()).output
    assert distance(p, np.log(pi)) < 1e-10
    close(pi, [[0.7703084071126, 0.1782388124018, 0.0316975760089, 0.0124066354847, 0.0073485689920]], 1e-10)
    close(pi, [[0.7703084100774, 0.1782388131283, 0.0316975751144, 0.0124066328931, 0.0073485687868]], 5e-9)
    close(rpo.policy_loss(p, np.log(pi)), 0.6849760906297)
    constant = 0.05 * 0.2 * float((BASE * p.log_ref).sum())
    close(constant, -0.0139492705481)
    _, value, gap = rpo.worst_reward(rpo.unbounded(p))
    close(value, 0.6710268200816)
    assert value + 9e-12 < 0.6710268200911 and gap < EXACT
    close(value, rpo.policy_loss(p, np.log(pi)) + constant)
    unscaled = rpo.run(Comparisons(FIVE, rng()), POPULATION, Params(0.25, BASE), rng()).output
    close(np.abs(unscaled - pi).max(), 0.186, 5e-4)


def test_reference_values_of_the_flukes():
    """Both flukes have probability sigmoid(-1)^2; what is left at fixed beta is what pi_ref exp(r*/beta) loses."""
    close(losses.sigmoid(-1.0) ** 2, 0.0723, 5e-5)
    best = np.exp(losses.gibbs(np.log(np.full((1, 5), 0.2)), checks.REWARD, 0.05))
    close(1 - (best * checks.REWARD).sum(), 0.0037, 5e-5)
    gaps = [[], []]
    for seed in range(100):
        access, data = checks.few(3200, rng(seed))
        for k, (entry, eta) in enumerate(((rpo.run, 0.5 / math.sqrt(3200)), (rpo.run_dpo, 0.0))):
            gaps[k].append(1 - (entry(access, data, Params(eta), rng()).output * checks.REWARD).sum())
    close(np.mean(gaps[0]), 0.0154, 0.006)            # four standard errors of about 0.0015
    assert max(gaps[0]) < 0.5 < max(gaps[1])
    close(np.mean(gaps[1]), 0.205, 0.12)              # four of 0.03


def test_theory():
    params = rpo.theory(1000, 1.0, 5, 0.05)
    points = math.ceil(1 / (2 / (6 * (1 + math.e) * 1000)))
    close(rpo.spread(1000, 1.0, 5, 0.05) ** 2, 5 * math.log(points) - math.log(0.05))
    close(params.eta, math.sqrt(24 * (5 * math.log(points) - math.log(0.05)) / 1000) / (1 + math.e) ** 2)
    bound = lambda N: (math.sqrt(6) / 4 * (1 + math.e) ** 2 * 2.6 * rpo.spread(N, 1.0, 5, 0.05) + math.log(
        5)) / math.sqrt(N)
    assert bound(33_000) > 1 > bound(34_000)
    close(bound(10**6), 0.204, 5e-4)


def plain(model, data, params, *, eta=None, base=None, flat=False, box=False, steps=4000):
    """Lines 1 to 4 in plain Python: gradient descent on logits, or on rewards in their box, pair by pair."""
    beta, W, X, Y = model.beta, losses.weights(data, *model.pi_ref.shape), *model.pi_ref.shape
    eta, base = params.eta if eta is None else eta, params.base if base is None else base
    ref = [[1 / Y] * Y if flat else row for row in model.pi_ref.tolist()]
    r = [[0.0] * Y for _ in range(X)]
    cells = [(x, w, l, float(W[x, w, l])) for x, w, l in zip(*np.nonzero(W))]
    step = 1 / (0.5 * max(W.sum((1, 2))) + eta / beta)
    for _ in range(steps):
        pi = []
        for x in range(X):
            weights = [q * math.exp(v / beta) for q, v in zip(ref[x], r[x])]
            pi.append([v / sum(weights) for v in weights])
        g = [[eta * model.rho[x] * (pi[x][y] - base[x][y]) for y in range(Y)] for x in range(X)]
        for x, w, l, mass in cells:
            push = mass / (1 + math.exp(r[x][w] - r[x][l]))
            g[x][w] -= push
            g[x][l] += push
        r = [[r[x][y] - step * g[x][y] for y in range(Y)] for x in range(X)]
        if box:
            r = [[min(max(v, params.lo), params.hi) for v in row] for row in r]
    return np.array(pi)


PLAIN = Params(0.5, TWO.pi_ref[::-1].copy())


def test_the_kernel_agrees_with_the_pseudo_code():
    """Each is within its certified distance of the one minimiser."""
    slow, fast = plain(TWO, PAIRS, PLAIN), rpo.run(Comparisons(TWO, rng()), PAIRS, PLAIN, rng()).output
    p = problem(TWO, PAIRS, PLAIN)
    reach = [distance(p, np.log(pi)) for pi in (slow, fast)]
    assert reach[1] < ROUND and reach[0] < 1e-6
    assert np.abs(np.log(slow / fast)).max() <= sum(reach)


def test_the_kernel_agrees_with_the_pseudo_code_in_a_box():
    """The reward form at R = 0.4: eta beta KL(pi* || pi) is at most the certified distance of the value."""
    params = replace(PLAIN, lo=0.0, hi=0.4)
    slow = plain(TWO, PAIRS, params, box=True)
    fast = rpo.run_reward(Comparisons(TWO, rng()), PAIRS, params, rng()).output
    r, _, gap = rpo.worst_reward(problem(TWO, PAIRS, params))
    assert gap < 1e-14 and r.min() == 0.0 and r.max() == 0.4
    close(slow, fast, 1e-7)                                # KL below 1e-14/(eta beta): laws within sqrt of half of that


MUTANTS = {"eta for eta beta": {"eta": PLAIN.eta / TWO.beta}, "SFT on pi_ref": {"base": TWO.pi_ref.tolist()},
           "pi_ref forgotten": {"flat": True}, "no SFT": {"eta": 1e-3}}


@pytest.mark.parametrize("name", MUTANTS)
def test_each_mutant_differs_from_the_kernel(name):
    fast = rpo.run(Comparisons(TWO, rng()), PAIRS, PLAIN, rng()).output
    assert np.abs(plain(TWO, PAIRS, PLAIN, steps=400, **MUTANTS[name]) - fast).max() > 1e-2


def test_features_of_a_table_are_the_table():
    phi = np.eye(8).reshape(2, 4, 8)
    access = Comparisons(TWO, rng(), bounds={"phi": phi})
    close(rpo.run_linear(access, PAIRS, PLAIN, rng()).output, rpo.run(access, PAIRS, PLAIN, rng()).output, ROUND)
    close(rpo.run_reward_linear(access, PAIRS, PLAIN, rng()).output, rpo.run_reward(access, PAIRS, PLAIN, rng()).output)


def test_a_wide_box_changes_nothing():
    access = Comparisons(TWO, rng())
    wide = rpo.run_reward(access, PAIRS, replace(PLAIN, lo=-50.0, hi=50.0), rng()).output
    close(wide, rpo.run(access, PAIRS, PLAIN, rng()).output, ROUND)


def test_the_winners_are_the_baseline_by_default_and_nothing_is_asked_for():
    p = problem(TWO, Pairs(*(np.array(a) for a in ([0, 0, 0], [1, 1, 2], [0, 2, 1], [3.0, 1.0, 4.0]))), Params(0.1))
    close(p.base, [[0.0, 0.5, 0.5, 0.0], TWO.pi_ref[1]])
    close(p.W.sum(), 1.0)
    for entry in (rpo.run, rpo.run_dpo, rpo.run_reward):
        out = entry(Comparisons(TWO, rng()), PAIRS, Params(0.1, TWO.pi_ref), rng())
        assert out.samples == {"prompts": 0, "asks": 0} and out.trace is None
        close(out.output.sum(1), 1.0)


def test_coverage_sees_the_direction_alone():
    mu = np.zeros((1, 3, 3))
    mu[0, 0, 1] = 1.0
    phi = np.eye(3).reshape(1, 3, 3)
    close(checks.coverage(mu, phi, np.array([[0.3, -0.3, 0.0]])), 0.09)           # Sigma = uu', D = 0.3 u
    assert checks.coverage(mu, phi, np.array([[0.3, 0.0, -0.3]])) == math.inf


def test_the_figure_draws_what_it_computes():
    from matplotlib.figure import Figure

    from figures.engine.export import Rows
    from theory_checks.engine.engines import Serial
    from theory_checks.engine.store import Store

    data = picture.compute(Rows("rpo", Store(), Serial()), 16)
    picture.draw(data, Figure(), {"C4": "SUPPORTED"})
    assert data["RPO"][-1] < 0.03 < 0.1 < data["DPO"][-1] and data["fluke DPO"][4] > 0.99
    assert data["fluke RPO"][4] < 0.2


NEVER = Pairs(*(np.array(a) for a in ([0, 0, 1], [0, 1, 1], [1, 0, 2], [1.0, 1.0, 1.0])))
BAD = {
    "exact": (lambda: rpo.run(Exact(TWO), PAIRS, PLAIN, rng()), "access must be a Comparisons"),
    "pairs": (lambda: rpo.run(Comparisons(TWO, rng()), MU, PLAIN, rng()), "pairs must be a Pairs"),
    "eta": (lambda: rpo.run(Comparisons(TWO, rng()), PAIRS, Params(-1.0), rng()), r"params\.eta must be in"),
    "hi": (lambda: rpo.run_reward(Comparisons(TWO, rng()), PAIRS, Params(1.0, hi=0.0), rng()), r"params\.hi must be"),
    "base": (lambda: rpo.run(Comparisons(TWO, rng()), PAIRS, Params(1.0, BASE), rng()), r"params\.base must be of"),
    "no minimiser": (lambda: rpo.run(Comparisons(TWO, rng()), NEVER, Params(0.1), rng()), "has a minimiser"),
    "dpo": (lambda: rpo.run_dpo(Comparisons(TWO, rng()), NEVER, PLAIN, rng()), "has a minimiser"),
    "no features": (lambda: rpo.run_linear(Comparisons(TWO, rng()), PAIRS, PLAIN, rng()), r"known\.phi"),
    "generator": (lambda: rpo.run(Comparisons(TWO, rng()), PAIRS, PLAIN, 3), "rng must be"),
    "delta": (lambda: rpo.theory(5, 1.0, 3, 0.0), "delta must be in"),
    "R": (lambda: rpo.theory(5, 0.0, 3, 0.1), "R must be in"),
}


test_bad_input = closing.refusals(BAD)


test_no_claim_is_refuted_and_every_control_is = closing.claims(checks.CHECKS)
