"""Robust DPO: reference values, identities on numbers, accounting, the slow reference, all claims and controls."""

import math
from dataclasses import replace

import closing
import numpy as np
import pytest
from scipy.optimize import minimize

from algorithms.preferences import rdpo
from algorithms.preferences.rdpo import Params
from figures.engine.export import Rows
from figures.preferences import rdpo as picture
from mdpkit import losses
from mdpkit.access import Comparisons, Exact
from mdpkit.data import compare
from mdpkit.errors import MdpkitError
from mdpkit.instances.preferences import flipped
from mdpkit.records import Pairs
from theory_checks.engine.claims import REFUTED
from theory_checks.engine.engines import Serial
from theory_checks.engine.runner import verify_all
from theory_checks.engine.store import Store
from theory_checks.preferences import rdpo as checks
from theory_checks.preferences.rdpo import ONE, PHI, THETA, UNIFORM

pytestmark = pytest.mark.xdist_group("rdpo")

EXACT = 1e-12
ROUND = 1e-9
SOLVER = 1e-6
V = {0.0: 55.8560057622, 0.1: 91.9994986243, 0.2: 170.0872918450, 0.3: 393.1952724754, 0.4: 1597.9783678798}
LEAST = {0.1: 91.8072962305, 0.2: 169.0782617654, 0.3: 389.4556465377, 0.4: 1578.9343708393}
GIVEN = (PHI, THETA, 1.0, UNIFORM)


def rng(seed=0):
    return np.random.default_rng(seed)


def close(a, b, tolerance=EXACT):
    np.testing.assert_allclose(a, b, rtol=0, atol=tolerance)


def access(phi=PHI):
    return Comparisons(ONE, rng(), bounds={"phi": phi})


def noisy(eps):
    return losses.population(flipped(ONE, eps), UNIFORM)


@pytest.mark.parametrize("eps", V)
def test_reference_values_of_the_errors(eps):
    close(rdpo.asymptotic_error(*GIVEN, eps) / V[eps], 1.0, 1e-11)                     # ten decimals of 56 or more
    if eps:
        close(rdpo.information_bound(*GIVEN, eps) / LEAST[eps], 1.0, 1e-11)
    else:
        close(rdpo.information_bound(*GIVEN, 0.0), rdpo.asymptotic_error(*GIVEN, 0.0), ROUND)


def test_reference_values_of_the_fits():
    close(math.sqrt(V[0.4] / V[0.0]), 5.349, 5e-4)
    close(rdpo.run(access(), noisy(0.2), Params(0.2), rng()).output.theta, THETA, 1e-8)        # tol over curvature
    plain = rdpo.run_dpo(access(), noisy(0.2), Params(0.2), rng()).output
    close(plain.theta, [0.4519401508, -0.2835386808, 0.1707174798], SOLVER)                    # they were solved for
    close(((plain.theta - THETA) ** 2).sum(), 0.18472, 5e-6)
    best = np.exp(losses.gibbs(np.log(ONE.pi_ref), ONE.reward, 1.0))
    close(abs(((plain.pi - best) * ONE.reward).sum()), 0.092, 5e-4)
    smooth = rdpo.run_conservative(access(), noisy(0.2), Params(0.2), rng()).output
    close(smooth.theta, [0.2657957856, -0.1669384233, 0.1007260199], SOLVER)
    close(rdpo.run_mle(access(), noisy(0.2), Params(0.2), rng()).output.theta, THETA, 1e-7)


def test_margins_of_single_pairs():
    logit = lambda p: math.log(p / (1 - p))
    q = 0.8 * float(losses.sigmoid(1.5)) + 0.2 * float(losses.sigmoid(-1.5))
    close(rdpo.pair_limit(1.5, 0.2, *rdpo.robust(0.2)), 1.5)
    close(rdpo.pair_limit(1.5, 0.2, 1.0, 0.0), logit(q))
    close(rdpo.pair_limit(1.5, 0.2, 0.8, 0.2), logit(0.8 * q + 0.2 * (1 - q)))


def test_the_loss_on_numbers():
    """One comparison by the formula; its mean over flips is clean; the curvature in h is that of DPO."""
    W, ref = np.zeros((1, 2, 2)), np.log([[0.5, 0.5]])
    W[0, 0, 1] = 1.0
    l = lambda h: math.log(1 + math.exp(-h))
    at = lambda h, eps: rdpo.loss(W, np.array([[h, 0.0]]), ref, 1.0, eps)
    for h in (-3.0, 0.0, 0.5, 4.0):
        value, g = at(h, 0.2)
        close(value, (0.8 * l(h) - 0.2 * l(-h)) / 0.6)
        close(g, np.array([[-1.0, 1.0]]) * (1 / (1 + math.exp(h)) + 0.2 / 0.6))
        close(0.8 * value + 0.2 * at(-h, 0.2)[0], l(h))
        s = 1 / (1 + math.exp(-h))
        close((at(h + 1e-4, 0.4)[1][0, 0] - at(h - 1e-4, 0.4)[1][0, 0]) / 2e-4, s * (1 - s), 1e-8)   # 1e-4 squared


def test_fits_are_least_among_their_neighbours_and_by_another_solver():
    data = compare(flipped(ONE, 0.1), UNIFORM, 800, rng(4))
    W = losses.weights(data, 1, 6)
    D = PHI[:, :, None] - PHI[:, None]

    def value(theta, a, b):
        h = np.einsum("xyzd,d->xyz", D, theta)
        return float((W * (a * losses.softplus(-h) + b * losses.softplus(h))).sum())

    for run, (a, b) in ((rdpo.run, rdpo.robust(0.1)), (rdpo.run_dpo, (1, 0)), (rdpo.run_conservative, (0.9, 0.1))):
        found = run(access(), data, Params(0.1), rng()).output.theta
        close(found, minimize(value, np.zeros(3), (a, b), method="BFGS", options={"gtol": 1e-9}).x, 1e-5)
    up = lambda theta: -float((W * np.log(0.1 + 0.8 * losses.sigmoid(np.einsum("xyzd,d->xyz", D, theta)))).sum())
    found = rdpo.run_mle(access(), data, Params(0.1), rng()).output.theta
    close(found, minimize(up, np.zeros(3), method="BFGS", options={"gtol": 1e-9}).x, 1e-5)


def test_every_comparison_counts_and_no_label_is_asked_for():
    data = compare(flipped(ONE, 0.1), UNIFORM, 400, rng(2))
    out, table = rdpo.run(access(), data, Params(0.1), rng()), np.zeros((1, 6, 6))
    np.add.at(table, (data.x, data.win, data.lose), 1)
    assert table.sum() == 400 and out.samples == {"prompts": 0, "asks": 0}
    gathered = rdpo.run(access(), Pairs(*np.nonzero(table), table[table > 0]), Params(0.1), rng()).output
    np.testing.assert_array_equal(out.output.theta, gathered.theta)
    less = rdpo.run(access(), Pairs(*(part[:-1] for part in data)), Params(0.1), rng()).output
    assert np.abs(less.theta - out.output.theta).max() > 1e-4                  # one of 400 moves theta by about 1/400
    close(out.output.pi, np.exp(losses.gibbs(np.log(ONE.pi_ref), np.einsum("xyd,d->xy", PHI, out.output.theta), 1.0)))


def test_without_noise_all_four_are_dpo():
    data = compare(ONE, UNIFORM, 300, rng(5))
    fits = [run(access(), data, Params(0.0), rng()).output.theta for run in (
        rdpo.run, rdpo.run_dpo, rdpo.run_conservative, rdpo.run_mle)]
    for fit in fits[1:]:
        close(fit, fits[0], 1e-7)                                              # tol over the least curvature


def test_a_log_too_clear_for_its_noise_has_no_minimiser_but_in_a_ball():
    """One pair, always won by one: q = 1 lies outside [eps, 1 - eps]. DPO stops where its derivative is below tol."""
    phi = np.eye(6)[None]
    clear = Pairs(*(np.array([v]) for v in (0, 0, 1, 1)))
    with pytest.raises(MdpkitError, match="a ridge gives every loss a minimiser"):
        rdpo.run(access(phi), clear, Params(0.2, steps=50), rng())
    params = Params(0.2, ridge=1e-2, B=3.0)
    free, ball = (run(access(phi), clear, params, rng()) for run in (rdpo.run, rdpo.run_ball))
    assert np.linalg.norm(free.output.theta) > 3.0 >= np.linalg.norm(ball.output.theta) > 3.0 - ROUND
    assert ball.params.ridge > 1e-2
    wide = rdpo.run_ball(access(phi), clear, replace(params, B=1e3), rng())
    np.testing.assert_array_equal(wide.output.theta, free.output.theta)


DATA = compare(flipped(ONE, 0.1), UNIFORM, 500, rng(3))
W = losses.weights(DATA, 1, 6)


def sigmoid(x):
    e = math.exp(-abs(x))
    return 1.0 / (1.0 + e) if x >= 0 else e / (1.0 + e)


def newton(a, b, eps, ridge, steps, *, phi=PHI, W=W, sign=1.0, flat=False, free=False, own=True):
    """Lines 1 to 4 in plain Python, one pair at a time."""
    X, Y, d = phi.shape
    theta = [0.0] * d
    seen = [(x, w, l, [phi[x, w, j] - phi[x, l, j] for j in range(d)]) for x, w, l in np.ndindex(X, Y, Y)
            if W[x, w, l] > 0]
    dot = lambda u, v: sum((p * q for p, q in zip(u, v)), 0.0)
    for _ in range(steps):
        g, H = [ridge * t if own else 0.0 for t in theta], [[0.0] * d for _ in range(d)]
        for x, w, l, D in seen:
            h = dot(D, theta)
            down, up = sigmoid(-h), sigmoid(h)
            slope, curve = sign * b * up - a * down, up * down
            if a == 0.0:
                q, push = (1.0 - eps) * up + eps * down, (1.0 - 2.0 * eps) * up * down
                slope, curve = -push / q, push * push / (q * (1.0 - q))
            for j in range(d):
                g[j] += W[x, w, l] * slope * D[j]
                for i in range(d):
                    H[j][i] += W[x, w, l] * (0.25 if flat else curve) * D[j] * D[i]
        top = max(0.0, *(H[j][j] for j in range(d)))
        for j in range(d):
            H[j][j] += ridge + 2.0**-20 * top
        p = g[:]
        for k in range(d):
            for i in range(k + 1, d):
                share = H[i][k] / H[k][k]
                for j in range(k + 1, d):
                    H[i][j] -= share * H[k][j]
                p[i] -= share * p[k]
        for i in reversed(range(d)):
            for j in range(i + 1, d):
                p[i] -= H[i][j] * p[j]
            p[i] /= H[i][i]
        far = 1.0 if free else max(1.0, *(abs(dot(D, p)) for *_, D in seen))
        theta = [t - v / far for t, v in zip(theta, p)]
    return np.array(theta)


def fitted(a, b, eps, ridge, steps, phi=PHI, W=W):
    theta = np.zeros(phi.shape[2])
    rdpo._descend(W, 1.0 * phi, np.array([a, b, eps, ridge, 1e-300]), steps, theta)
    return theta


SETTINGS = {"robust": (*rdpo.robust(0.1), 0.1, 1e-3), "dpo": (1.0, 0.0, 0.1, 0.0), "conservative": (0.9, 0.1, 0.1, 0.0),
            "mle": (0.0, 0.0, 0.1, 0.0)}


@pytest.mark.parametrize("name", SETTINGS)
def test_the_kernel_agrees_with_the_pseudo_code_bit_for_bit(name):
    for steps in (1, 3, 6):
        np.testing.assert_array_equal(fitted(*SETTINGS[name], steps), newton(*SETTINGS[name], steps))


ONLY = np.zeros((1, 2, 2))
ONLY[0, 0, 1] = 1.0
MUTANTS = {"plus for minus": {"sign": -1.0}, "flat": {"flat": True}, "long steps": {"free": True},
           "ridge": {"own": False}}


@pytest.mark.parametrize("name", MUTANTS)
def test_each_mutant_differs_from_the_kernel(name):
    where = {"phi": np.eye(2)[None], "W": ONLY} if name == "long steps" else {}
    assert np.abs(newton(*SETTINGS["robust"], 3, **where, **MUTANTS[name]) - fitted(
        *SETTINGS["robust"], 3, **where)).max() > 1e-6


def test_a_users_loss_with_a_wrong_sign_is_refuted_by_a_small_world():
    def mine(W, log_pi, log_ref, beta, eps):
        h = beta * losses.margins(log_pi - log_ref)
        value = ((1 - eps) * losses.softplus(-h) + eps * losses.softplus(h)) / (1 - 2 * eps)     # + should be -
        slope = ((1 - eps) * losses.sigmoid(-h) - eps * losses.sigmoid(h)) / (1 - 2 * eps)       # and - should be +
        push = beta * W * slope
        return float((W * value).sum()), push.sum(1) - push.sum(2)

    found = {v.check.claim.id: v for v in verify_all(checks.CHECKS, {"loss": mine}, controls=False)}
    assert {name for name, v in found.items() if v.decision.verdict == REFUTED} == {"C1", "C1-weight"}
    assert found["C1"].decision.where["world"]["W"].shape == (1, 2, 2)


def test_the_figure_draws_what_it_computes():
    from matplotlib.figure import Figure

    data = picture.compute(Rows("rdpo", Store(), Serial()), 8)
    picture.draw(data, Figure(), {"C3": "SUPPORTED"})
    assert (data["mse"][:, -1] < data["mse"][:, 0] / 8).all()          # 64 times the labels; 8 runs are within a factor
    assert data["dpo"][-1] > 0.15 and np.ptp(data["error"]) < 9


BAD = {
    "access": (lambda: rdpo.run(Exact(ONE), DATA, Params(0.1), rng()), "access must be a Comparisons"),
    "pairs": (lambda: rdpo.run(access(), W, Params(0.1), rng()), "pairs must be a Pairs"),
    "eps": (lambda: rdpo.run(access(), DATA, Params(0.5), rng()), "params.eps must be in"),
    "theory": (lambda: rdpo.theory(0.5), "eps must be in"),
    "ridge": (lambda: rdpo.run_dpo(access(), DATA, Params(0.1, -1.0), rng()), "params.ridge must be"),
    "ball": (lambda: rdpo.run_ball(access(), DATA, Params(0.1, 1e-3), rng()), "params.B must be"),
    "tol": (lambda: rdpo.run_mle(access(), DATA, Params(0.1, tol=0.0), rng()), "params.tol must be in"),
    "steps": (lambda: rdpo.run(access(), DATA, Params(0.1, steps=1), rng()), "params.steps must be enough"),
    "features": (lambda: rdpo.run(Comparisons(ONE, rng()), DATA, Params(0.1), rng()), "known.phi"),
    "generator": (lambda: rdpo.run(access(), DATA, Params(0.1), 3), "rng must be"),
    "half": (lambda: rdpo.loss(ONLY, np.zeros((1, 2)), np.zeros((1, 2)), 1.0, 0.5), "eps must be in"),
}


test_bad_input = closing.refusals(BAD)


test_no_claim_is_refuted_and_every_control_is = closing.claims(checks.CHECKS)
