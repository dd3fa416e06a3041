"""DPO: reference values, identities on numbers, accounting, the slow reference, every claim and every control."""

import itertools
import math

import closing
import numpy as np
import pytest

from algorithms.preferences import dpo
from algorithms.preferences.dpo import Params
from figures.engine.export import Rows
from figures.preferences import dpo as picture
from mdpkit import losses
from mdpkit.access import Comparisons, Exact, Generative
from mdpkit.data import compare
from mdpkit.instances.chains import riverswim
from mdpkit.instances.preferences import two_prompts
from mdpkit.records import Pairs
from theory_checks.engine.claims import REFUTED
from theory_checks.engine.engines import Serial
from theory_checks.engine.runner import verify_all
from theory_checks.engine.store import Store
from theory_checks.preferences import dpo as checks

pytestmark = pytest.mark.xdist_group("dpo")

EXACT = 1e-12
ROUND = 1e-9
MODEL = two_prompts()
REF = np.log(MODEL.pi_ref)
MU = MODEL.rho[:, None, None] * MODEL.pi_ref[:, :, None] * MODEL.pi_ref[:, None] * (1 - np.eye(4))
POPULATION = losses.population(MODEL, MU / MU.sum())
THETA = np.array([[0.5, -0.25, 0.0, -1.0], [1.0, 0.0, 0.25, -0.5]])
BEST = np.array([[0.1399497911388, 0.2853172306119, 0.5170484288791, 0.0576845493701],
                 [0.2444638153659, 0.2965495984195, 0.0992537390809, 0.3597328471337]])


def rng(seed=0):
    return np.random.default_rng(seed)


def close(a, b, tolerance=EXACT):
    np.testing.assert_allclose(a, b, rtol=0, atol=tolerance)


def log_best():
    return dpo.closed_form(MODEL.reward, REF, MODEL.beta)[0]


def test_reference_values():
    log_pi, log_Z = dpo.closed_form(MODEL.reward, REF, MODEL.beta)
    close(np.exp(log_pi), BEST)
    close(0.5 * (MODEL.rho * log_Z).sum(), 0.5362748235517)
    close(losses.objective(log_pi, MODEL.reward, REF, 0.5, MODEL.rho), 0.5362748235517)
    close(losses.objective(REF, MODEL.reward, REF, 0.5, MODEL.rho), 0.405)
    close(losses.reverse_kl(log_pi, REF, MODEL.rho)[0], 0.2537981209276)
    W = losses.weights(POPULATION, 2, 4)
    close(dpo.loss(W, REF, REF, 0.5)[0], math.log(2))
    close(dpo.loss(W, log_pi, REF, 0.5)[0], 0.6506682023806)
    close(dpo.loss(W, log_pi, REF, 0.5)[1], 0.0)
    close(dpo.asymptotic_gap(*checks.GIVEN, np.ones(1), checks.UNIFORM), 4.1678928654, 1e-10)     # to its last digit


def test_reference_values_of_two_components():
    """{2, 3} times 5 at the optimum; with pairs (1, 2) in a population of pairs alike the loss sees it."""
    B = np.array([0, 0, 1, 1])
    moved = losses.log_softmax(log_best() + math.log(5) * B)
    close(dpo.suboptimality(moved, MODEL.reward, REF, 0.5, MODEL.rho), 0.1145156638, 5e-11)          # known to ten
    inside = np.kron(np.eye(2), 1 - np.eye(2))[None]

    def rise(mu):
        W = losses.weights(losses.population(MODEL, np.broadcast_to(mu / mu.sum() / 2, (2, 4, 4))), 2, 4)
        return dpo.loss(W, moved, REF, 0.5)[0] - dpo.loss(W, log_best(), REF, 0.5)[0]

    close(rise(inside), 0.0)
    bridged = inside.copy()
    bridged[0, 1, 2] = bridged[0, 2, 1] = 1
    assert rise(bridged) > 1e-2                                          # a few hundredths, by the weight of (1, 2)


def test_fits_to_the_population_are_the_optimum():
    eye = {"phi": np.eye(8).reshape(2, 4, 8)}
    for access in (Exact(MODEL), Comparisons(MODEL, rng(), bounds=eye)):
        for entry in (dpo.run, dpo.run_rlhf, *([dpo.run_linear] if isinstance(access, Comparisons) else [])):
            out = entry(access, POPULATION, Params(), rng())
            close(out.output, BEST, ROUND)
            assert out.trace is None and out.params == dpo.theory()


def test_the_gap_is_a_kl_and_the_loss_a_likelihood():
    log_pi = losses.log_softmax(THETA)
    J = [losses.objective(p, MODEL.reward, REF, 0.5, MODEL.rho) for p in (log_best(), log_pi)]
    close(dpo.suboptimality(log_pi, MODEL.reward, REF, 0.5, MODEL.rho), J[0] - J[1])
    data = compare(MODEL, np.full((2, 4, 4), 1 / 12) * (1 - np.eye(4)), 50, rng(1))
    ratio = log_pi - REF
    each = [-math.log(1 / (1 + math.exp(-0.5 * (ratio[x, w] - ratio[x, l])))) for x, w, l, _ in zip(*data)]
    close(dpo.loss(losses.weights(data, 2, 4), log_pi, REF, 0.5)[0], sum(each) / 50)


def test_the_gradient_is_that_of_the_value():
    W, step = losses.weights(POPULATION, 2, 4), 1e-6
    g = dpo.loss(W, losses.log_softmax(THETA), REF, 0.5)[1]
    for at in np.ndindex(2, 4):
        E = np.zeros((2, 4))
        E[at] = step
        up, down = (dpo.loss(W, losses.log_softmax(THETA + s * E), REF, 0.5)[0] for s in (1, -1))
        close((up - down) / (2 * step), g[at], ROUND)              # u/step = 1e-10, and step^2 of a third derivative


def test_every_comparison_counts_and_no_label_is_asked_for():
    """A sample, its rows in another order and with counts gathered: one fit; and nothing is drawn."""
    data = compare(MODEL, np.full((2, 4, 4), 1 / 12) * (1 - np.eye(4)), 400, rng(2))
    table = np.zeros((2, 4, 4))
    np.add.at(table, (data.x, data.win, data.lose), 1)
    assert table.sum() == 400
    gathered = Pairs(*np.nonzero(table), table[table > 0])
    access = Comparisons(MODEL, rng())
    out = dpo.run(access, data, Params(), rng())
    np.testing.assert_array_equal(out.output, dpo.run(access, gathered, Params(), rng()).output)
    assert out.samples == {"prompts": 0, "asks": 0}
    less = dpo.run(access, Pairs(*(part[:-1] for part in data)), Params(), rng()).output
    assert np.abs(less - out.output).max() > 1e-6                 # one of 400 moves the fit by about 1/400


def test_what_is_not_compared_stays_and_what_always_wins_goes_far():
    """Prompt 1 has no data; {0, 1} and {2, 3} keep the means of rhat; an only win drives h to log 1/tol."""
    W = np.zeros((2, 4, 4))
    W[0, 0, 1], W[0, 1, 0], W[0, 2, 3], W[0, 3, 2] = 3, 1, 1, 1
    pi = dpo.run(Exact(MODEL), Pairs(*np.nonzero(W), W[W > 0]), Params(), rng()).output
    close(pi[1], MODEL.pi_ref[1])
    rhat = 0.5 * np.log(pi[0] / MODEL.pi_ref[0])
    close(rhat - rhat[2], [math.log(3) / 2, -math.log(3) / 2, 0, 0], ROUND)
    only = Pairs(*(np.array([v]) for v in (0, 0, 1, 1)))
    pi = dpo.run(Exact(MODEL), only, Params(1e-8), rng()).output
    h = 0.5 * math.log(pi[0, 0] / pi[0, 1] * 0.3 / 0.4)
    assert math.log(1e8) - 0.01 < h < math.log(1e8) + 1.01        # steps of at most 1 until sigma(-h) <= tol


DATA = compare(MODEL, np.full((2, 4, 4), 1 / 12) * (1 - np.eye(4)), 60, rng(3))
PHI = rng(9).integers(-4, 5, (2, 4, 3)) / 4


def sigmoid(x):
    e = math.exp(-abs(x))
    return 1.0 / (1.0 + e) if x >= 0 else e / (1.0 + e)


def newton(phi, W, steps, *, sign=1.0, curved=True, cut=True, damp=2.0**-20):
    """Lines 2 to 4 in plain Python, one pair at a time."""
    X, Y, d = phi.shape
    theta = [0.0] * d
    score = lambda x, y, v: sum((phi[x, y, j] * v[j] for j in range(d)), 0.0)
    pairs = [(x, w, l) for x, w, l in np.ndindex(X, Y, Y) if W[x, w, l] > 0]
    for _ in range(steps):
        g, H = [0.0] * d, [[0.0] * d for _ in range(d)]
        for x, w, l in pairs:
            up = sigmoid(sign * (score(x, l, theta) - score(x, w, theta)))
            D = [phi[x, w, j] - phi[x, l, j] for j in range(d)]
            for j in range(d):
                g[j] -= W[x, w, l] * up * D[j]
                for i in range(j + 1):
                    H[j][i] += W[x, w, l] * up * (1.0 - up if curved else 1.0) * D[j] * D[i]
        top = max(0.0, *(H[j][j] for j in range(d)))
        for j in range(d):                                         # the factor of H + damp top, row by row
            H[j][j] += damp * top
            for i in range(j + 1):
                for k in range(i):
                    H[j][i] -= H[j][k] * H[i][k]
                H[j][i] = math.sqrt(H[j][j]) if i == j else H[j][i] / H[i][i]
        p = g[:]
        for j in range(d):
            for k in range(j):
                p[j] -= H[j][k] * p[k]
            p[j] /= H[j][j]
        for j in reversed(range(d)):
            for k in range(j + 1, d):
                p[j] -= H[k][j] * p[k]
            p[j] /= H[j][j]
        far = max(1.0, *(abs(score(x, w, p) - score(x, l, p)) for x, w, l in pairs)) if cut else 1.0
        theta = [a - b / far for a, b in zip(theta, p)]
    return np.array(theta)


def fitted(phi, W, steps):
    theta = np.zeros(phi.shape[2])
    dpo._newton(W, phi.copy(), theta, 1e-300, steps)
    return theta


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_newton_agrees_with_the_pseudo_code_bit_for_bit(steps):
    W = losses.weights(DATA, 2, 4)
    np.testing.assert_array_equal(fitted(PHI, W, steps), newton(PHI, W, steps))
    np.testing.assert_array_equal(fitted(np.eye(4)[None], W[:1], steps), newton(np.eye(4)[None], W[:1], steps))


ONLY = np.zeros((1, 2, 2))
ONLY[0, 0, 1] = 1.0                                                # where full steps overshoot: a response always wins
MUTANTS = {"sign": {"sign": -1.0}, "flat": {"curved": False}, "long steps": {"cut": False}, "damped": {"damp": 0.01}}


@pytest.mark.parametrize("name", MUTANTS)
def test_each_mutant_differs_from_the_kernel(name):
    W, phi = (ONLY, np.eye(2)[None]) if name == "long steps" else (losses.weights(DATA, 2, 4), PHI)
    assert np.abs(newton(phi, W, 3, **MUTANTS[name]) - fitted(phi, W, 3)).max() > 1e-6


def test_steps_never_raise_the_loss():
    for W, phi in ((losses.weights(DATA, 2, 4), PHI), (ONLY, np.eye(2)[None])):
        L = [losses.pairwise(W, np.einsum("xyd,d->xy", phi, fitted(phi, W, k)))[0] for k in range(12)]
        assert all(b <= a + EXACT for a, b in itertools.pairwise(L)) and L[3] < L[0]


def sweeps(W, steps):
    """Line 6 in plain Python."""
    r = np.zeros(W.shape[:2])
    for _ in range(steps):
        for x, y in np.ndindex(*r.shape):
            g = h = 0.0
            for z in range(r.shape[1]):
                up = sigmoid(r[x, z] - r[x, y])
                g += W[x, z, y] * (1.0 - up) - W[x, y, z] * up
                h += (W[x, y, z] + W[x, z, y]) * up * (1.0 - up)
            if abs(g) > 1e-300:
                r[x, y] -= min(max(g / h, -1.0), 1.0)
    return r


@pytest.mark.parametrize("steps", [1, 3, 8])
def test_sweeps_agree_with_the_pseudo_code_bit_for_bit(steps):
    W, r = losses.weights(DATA, 2, 4), np.zeros((2, 4))
    dpo._sweeps(W, r, 1e-300, steps)
    np.testing.assert_array_equal(r, sweeps(W, steps))
    assert np.abs(sweeps(W.transpose(0, 2, 1), steps) - r).max() > 0.1


def test_gradient_descent_of_the_loss_reaches_the_optimum_by_the_stated_time():
    world = {"pi_ref": MODEL.pi_ref, "rho": MODEL.rho, "beta": 0.5, "r": MODEL.reward}
    row = checks.flow(world, dpo.loss, rng())
    assert row["measured"] <= row["bound"] + row["slack"]
    theta, W = REF, losses.weights(losses.population(MODEL, np.full((2, 4, 4), 1 / 24) * (1 - np.eye(4))), 2, 4)
    for _ in range(60):                                    # L = 1/48; the least curvature, at |h| = 1, is 0.79 of it
        theta = theta - 48 * dpo.loss(W, losses.log_softmax(theta), REF, 0.5)[1]
    close(losses.log_softmax(theta), log_best(), 1e-8)


def test_a_users_loss_with_a_wrong_sign_is_refuted_by_a_small_world():
    def mine(W, log_pi, log_ref, beta):
        h = beta * losses.margins(log_pi - log_ref)
        push = beta * W * losses.sigmoid(h)                              # should be sigmoid(-h), and downwards
        return float((W * losses.softplus(h)).sum()), push.sum(2) - push.sum(1)

    found = {v.check.claim.id: v for v in verify_all(checks.CHECKS, {"loss": mine}, controls=False)}
    assert {name for name, v in found.items() if v.decision.verdict == REFUTED} == {"C3-loss", "C6", "C7"}
    world = found["C3-loss"].decision.where["world"]
    assert world["r"].shape == (1, 2)                                    # one prompt, two responses


def test_the_figure_draws_what_it_computes():
    from matplotlib.figure import Figure

    data = picture.compute(Rows("dpo", Store(), Serial()), 24)
    picture.draw(data, Figure(), {"C4": "SUPPORTED"})
    close(data["rlhf"], data["dpo"], 1e-6)
    assert (np.abs(data["N"] * data["dpo"] / data["c"] - 1) < 0.7).all()        # 24 runs: 17 % a standard error


BAD = {
    "access": (lambda: dpo.run(Generative(riverswim(), rng()), DATA, Params(), rng()), "access must be a Comparisons"),
    "pairs": (lambda: dpo.run(Exact(MODEL), MU, Params(), rng()), "pairs must be a Pairs"),
    "tol": (lambda: dpo.run(Exact(MODEL), DATA, Params(0.0), rng()), "params.tol must be in"),
    "steps": (lambda: dpo.run(Exact(MODEL), DATA, Params(steps=0), rng()), "params.steps must be at least 1"),
    "few": (lambda: dpo.run(Exact(MODEL), DATA, Params(steps=1), rng()), "params.steps must be enough"),
    "few sweeps": (lambda: dpo.run_rlhf(Exact(MODEL), DATA, Params(steps=1), rng()), "params.steps must be enough"),
    "features": (lambda: dpo.run_linear(Comparisons(MODEL, rng()), DATA, Params(), rng()), "known.phi"),
    "generator": (lambda: dpo.run(Exact(MODEL), DATA, Params(), 3), "rng must be"),
    "W": (lambda: dpo.loss(np.ones((2, 4)), REF, REF, 0.5), "W must be of shape"),
}


test_bad_input = closing.refusals(BAD)


test_no_claim_is_refuted_and_every_control_is = closing.claims(checks.CHECKS)
