"""HF-UCRL-RFE++: reference values, identities, accounting, the pseudo-code in slow motion, all claims and controls."""

import math
from dataclasses import replace

import closing
import numpy as np
import pytest

from algorithms.exploration import hf_rfe
from algorithms.exploration.ucrl_vtr import features
from figures.exploration import hf_rfe as picture
from mdpkit.access import Episodes, Generative
from mdpkit.instances.formula import bounded_mixture, linear_mixture, stationary_episodic
from mdpkit.kernels.play import play
from mdpkit.measure.values import optimal_value
from theory_checks.exploration import hf_rfe as checks

pytestmark = pytest.mark.xdist_group("hf-rfe")

EXACT = 1e-12
ROUNDED = 5.1e-13           # the reference values are given to 12 decimals
MODEL = bounded_mixture(8)
LAWS = MODEL.P[0]


def rng(seed=0):
    return np.random.default_rng(seed)


def small(K, **more):
    return replace(hf_rfe.Params(K, 0.1, 3.0, 4, 1.0, 0.5, 3**-0.25), **more)


def best(r):
    V, policy = np.zeros(3), np.zeros((len(r), 3), np.int64)
    for h in reversed(range(len(r))):
        Q = r[h] + LAWS @ V
        V, policy[h] = Q.max(-1), Q.argmax(-1)
    return policy


def test_reference_values():
    np.testing.assert_allclose(optimal_value(MODEL)[0], (0.794802522878, 0.760302447259, 0.818224292734), rtol=0,
                               atol=ROUNDED)
    assert hf_rfe.total_variance(LAWS, MODEL.r, best(MODEL.r), 0) == pytest.approx(0.003076601738, abs=ROUNDED)
    f = features(MODEL.base, np.array([0.0, 0.5, 1.0])).reshape(-1, 3)
    rho = hf_rfe.pseudo_reward(MODEL.base, np.linalg.inv(np.eye(3) + 10 * f.T @ f), 0.5)
    np.testing.assert_allclose(rho, [[0.117099546058, 0.144378454193], [0.154239363078, 0.141531400175],
                                     [0.121015942919, 0.177469964309]], rtol=0, atol=ROUNDED)


@pytest.mark.parametrize("H, found", [(4, 0.0850), (16, 0.4212), (64, 1.7669)])
def test_without_the_bound_on_returns_the_variance_grows(H, found):
    """Rewards ((2s + 3a) mod 5)/4 at each step."""
    r = bounded_mixture(H).r * H
    assert hf_rfe.total_variance(LAWS, r, best(r), 0) == pytest.approx(found, abs=5e-5)     # to its digits


def test_the_certificate_of_a_run():
    """One run at K = 3200, H = 4, to the digits that are known: 0.111, and 0.184 with sigma = 1."""
    world = {"H": 4, "K": 3200, "beta": 3.0}
    assert checks.final(world, hf_rfe.run, rng(1)) == pytest.approx(0.111, abs=2e-3)
    assert checks.final(world, hf_rfe.run_unweighted, rng(1)) == pytest.approx(0.184, abs=2e-3)


def slow(model, params, seed, *, weighted=True, two=2.0, least=None):
    """The pseudo-code in plain loops; corners as lists of bits, inverses by elimination."""
    base, H, (S, A), d, M = model.base, model.H, model.r.shape[1:], model.d, params.M
    world = Episodes(model, rng(seed))
    Sigma, b = [params.lam * np.eye(d) for _ in range(M + 1)], np.zeros((M + 1, d))
    out = []
    for _ in range(params.K):
        inverse = [_inverse(X) for X in Sigma]
        theta = [np.array([_dot(row, x) for row in X]) for X, x in zip(inverse, b)]
        u, phi, rho = {}, {}, np.zeros((S, A))
        for s, a in np.ndindex(S, A):
            corners = [[float(mask >> t & 1) for t in range(S)] for mask in range(2**S)]
            norms = [_square(inverse[M], _phi(base, s, a, f)) for f in corners]
            u[s, a] = corners[int(np.argmax(norms))]
            phi[s, a] = _phi(base, s, a, u[s, a])
            rho[s, a] = min(1.0, params.beta * math.sqrt(max(max(norms), 0.0)))
        V, policy = np.zeros((H + 1, S)), np.zeros((H, S), np.int64)
        for h in reversed(range(H)):
            for s in range(S):
                Q = []
                for a in range(A):
                    f = _phi(base, s, a, V[h + 1])
                    q = rho[s, a] + params.beta * math.sqrt(max(_square(inverse[0], f), 0.0))
                    for i in range(d):
                        q += f[i] * theta[0][i]
                    Q.append(min(max(q, 0.0), 1.0))
                V[h, s], policy[h, s] = max(Q), int(np.argmax(Q))
        out.append((policy, rho, np.array(theta), np.array(Sigma)))
        for h, (s, a, _, t) in enumerate(zip(*world.call(play, policy))):
            power, rows = list(V[h + 1]), []
            for m in range(M + 1):
                f = phi[s, a] if m == M else _phi(base, s, a, power)
                n, p = math.sqrt(max(_square(inverse[m], f), 0.0)), min(max(_dot(f, theta[m]), 0.0), 1.0)
                rows.append((f, n, p, u[s, a][t] if m == M else power[t]))
                power = [v * v for v in power]
            for m, (f, n, p, x) in enumerate(rows):
                if m == M:
                    doubted = p * (1.0 - p) + 3.0 * min(1.0, params.beta * n)
                elif m == M - 1:
                    doubted = 1.0
                else:
                    doubted = rows[m + 1][2] - p * p + min(1.0, two * params.beta * n) + min(
                        1.0, params.beta * rows[m + 1][1])
                floor = params.alpha * params.alpha if least is None else least
                weight = 1.0 / max(params.g * params.g * n, doubted, floor) if weighted else 1.0
                for i in range(d):
                    b[m, i] += weight * f[i] * x
                    for j in range(d):
                        Sigma[m][i, j] += weight * f[i] * f[j]
    return [np.array(field) for field in zip(*out)]


def _phi(base, s, a, V):
    return [_dot(base[i, s, a], V) for i in range(len(base))]


def _dot(x, y):
    total = 0.0
    for a, b in zip(x, y):
        total += a * b
    return total


def _square(X, f):
    total = 0.0
    for i in range(len(f)):
        for j in range(len(f)):
            total += f[i] * X[i, j] * f[j]
    return total


def _inverse(Sigma):
    X = Sigma.copy()
    for i in range(len(X)):
        pivot, X[i, i] = X[i, i], 1.0
        X[i] = [x / pivot for x in X[i]]
        for k in range(len(X)):
            if k != i:
                factor, X[k, i] = X[k, i], 0.0
                X[k] = [x - factor * y for x, y in zip(X[k], X[i])]
    return X


WORLDS = {"three": (bounded_mixture(4), {}), "two": (linear_mixture(4, 2, 2, 3), {"M": 3, "beta": 0.4, "lam": 0.5}),
          "theory": (bounded_mixture(3), {"M": 6, "beta": 0.7, "alpha": 0.05})}


@pytest.mark.parametrize("name", WORLDS)
@pytest.mark.parametrize("entry", ["run", "run_unweighted"])
def test_the_kernel_agrees_with_the_pseudo_code_bit_for_bit(name, entry):
    model, more = WORLDS[name]
    params = small(8, **more)
    out = getattr(hf_rfe, entry)(Episodes(model, rng(7)), params, rng()).trace
    policy, rho, theta, Sigma = slow(model, params, 7, weighted=entry == "run")
    np.testing.assert_array_equal(out.policies[out.index], policy)
    for found, want in zip((out.info[k] for k in ("rho", "theta", "Sigma")), (rho, theta, Sigma)):
        np.testing.assert_array_equal(found, want)


MUTANTS = {"does not weigh": ({"weighted": False}, {}), "has a lower least variance": ({"least": 0.01}, {"beta": 0.02}),
           "takes beta n in place of 2 beta n": ({"two": 1.0}, {"beta": 0.3, "alpha": 0.01})}


@pytest.mark.parametrize("name", MUTANTS)
def test_each_mutant_differs_from_the_kernel(name):
    mutant, more = MUTANTS[name]
    out = hf_rfe.run(Episodes(WORLDS["three"][0], rng(7)), small(8, **more), rng()).trace
    assert (slow(WORLDS["three"][0], small(8, **more), 7, **mutant)[3] != out.info["Sigma"]).any()


def test_the_inverse_and_the_estimate_solve_their_equations():
    _, result, _ = checks.explored({"H": 8, "K": 300, "beta": 3.0}, hf_rfe.run, rng(2))
    Sigma, theta = result.output.Sigma[None].copy(), np.zeros((1, 3))
    b, X = np.array([[1.0, 2.0, 3.0]]), np.zeros((1, 3, 3))
    hf_rfe.estimate(Sigma, b, X, theta)
    # elimination errs by d^3 u cond(Sigma), which is below 1e6 here
    np.testing.assert_allclose(X[0] @ Sigma[0], np.eye(3), rtol=0, atol=1e-8)
    np.testing.assert_allclose(Sigma[0] @ theta[0], b[0], rtol=1e-8)


def test_projection():
    np.testing.assert_allclose(hf_rfe.project(np.array([0.5, 0.3, 0.2])), (0.5, 0.3, 0.2), rtol=EXACT)
    np.testing.assert_allclose(hf_rfe.project(np.array([2.0, 0.0, -1.0])), (1.0, 0.0, 0.0), rtol=EXACT)
    np.testing.assert_allclose(hf_rfe.project(np.array([0.6, 0.6, -0.5])), (0.5, 0.5, 0.0), rtol=EXACT)


def test_planning_with_the_true_theta_is_optimal():
    np.testing.assert_array_equal(hf_rfe.plan(MODEL.base, MODEL.theta[0], MODEL.r), best(MODEL.r))
    policy, V = hf_rfe.plan_optimistic(MODEL.base, MODEL.theta[0], MODEL.r, np.eye(3), 0.0)
    np.testing.assert_allclose(V[0], optimal_value(MODEL)[0], rtol=EXACT)
    np.testing.assert_array_equal(policy, best(MODEL.r))


def test_what_was_explored_serves_any_reward():
    """K = 400, H = 8: ten random rewards, of which each policy loses far less than the certificate promises."""
    _, result, model = checks.explored({"H": 8, "K": 400, "beta": 3.0}, hf_rfe.run, rng(5))
    promise = 2 * hf_rfe.certificate(LAWS, result.output.rho, 8)[0]
    for seed in range(10):
        r = rng(seed).random((8, 3, 2)) / 8
        V = np.zeros(3)
        policy = hf_rfe.plan(model.base, result.output.theta, r)
        for h in reversed(range(8)):
            V = r[h, np.arange(3), policy[h]] + (LAWS[np.arange(3), policy[h]] * V).sum(-1)
        top = np.zeros(3)
        for h in reversed(range(8)):
            top = (r[h] + LAWS @ top).max(-1)
        assert -EXACT <= (top - V)[0] <= 2e-3 < promise


def test_theory():
    params = hf_rfe.theory(120, 0.1, 8, 3)
    assert (params.M, params.lam, params.alpha, params.g) == (12, 1.0, pytest.approx(8**-0.5), 3**-0.25)
    assert params.beta == pytest.approx(1294.85492863296, rel=EXACT)


def test_every_step_is_counted():
    door = Episodes(bounded_mixture(4), rng(5))
    out = hf_rfe.run(door, small(50, lam=2.0), rng())
    assert door.samples == {"episodes": 50, "steps": 200} == dict(out.samples)
    plain = hf_rfe.run_unweighted(Episodes(bounded_mixture(4), rng(5)), small(50), rng()).output
    ones = np.ones(3) @ plain.Sigma @ np.ones(3)         # with sigma = 1 each corner adds (1'phi_u)^2 <= d^2
    assert 3 <= ones <= 3 + 200 * 9


def test_the_size_of_a_chunk_changes_no_bit():
    one, other = (hf_rfe.run(Episodes(bounded_mixture(4), rng(5), **more), small(40), rng())
                  for more in ({}, {"chunk": 7}))
    np.testing.assert_array_equal(one.output.Sigma, other.output.Sigma)
    np.testing.assert_array_equal(one.trace.info["rho"], other.trace.info["rho"])


WIDE = linear_mixture(11, 2, 2, 2)
BAD = {
    "not episodes": (lambda: hf_rfe.run(Generative(MODEL, rng()), small(8), rng()), "access must be a Episodes"),
    "no base": (lambda: hf_rfe.run(Episodes(stationary_episodic(3, 2, 3), rng()), small(8), rng()), "known.base"),
    "wide": (lambda: hf_rfe.run(Episodes(WIDE, rng()), small(8), rng()), "known.S must be"),
    "no params": (lambda: hf_rfe.run(Episodes(MODEL, rng()), 8, rng()), "params must be a Params"),
    "no generator": (lambda: hf_rfe.run(Episodes(MODEL, rng()), small(8), 3), "rng must be"),
    "beta": (lambda: hf_rfe.run(Episodes(MODEL, rng()), small(8, beta=0.0), rng()), "params.beta must be"),
    "alpha": (lambda: hf_rfe.run(Episodes(MODEL, rng()), small(8, alpha=-1.0), rng()), "params.alpha must be"),
    "M": (lambda: hf_rfe.run(Episodes(MODEL, rng()), small(8, M=0), rng()), "params.M must be"),
    "K": (lambda: hf_rfe.theory(0, 0.1, 4, 3), "K must be at least 1"),
    "delta": (lambda: hf_rfe.theory(8, 1.0, 4, 3), "delta must be in"),
}


test_bad_input = closing.refusals(BAD)


def test_the_figure_draws_what_it_computes():
    from matplotlib.figure import Figure

    data, figure = picture.compute(None, K=60, runs=2, lengths=(4, 8)), Figure()
    picture.draw(data, figure, {"C5": "SUPPORTED"})
    assert all((data[name] <= 1.0).all() for name in data if name.startswith(("weighted", "plain")))
    assert len(figure.axes) == 1


test_no_claim_is_refuted_and_every_control_is = closing.claims(checks.CHECKS)
