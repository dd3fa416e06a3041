"""UCRL-VTR: reference values, identities, accounting, the pseudo-code in slow motion, every claim and every control."""

import math

import closing
import numpy as np
import pytest

from algorithms.exploration import ucrl_vtr
from figures.exploration import ucrl_vtr as picture
from mdpkit.access import Episodes, Generative
from mdpkit.concentration import self_normalised
from mdpkit.instances.formula import linear_mixture, stationary_episodic
from mdpkit.kernels.play import play
from mdpkit.measure.values import optimal_value
from mdpkit.models.linear import LinearMixtureMDP
from mdpkit.models.tabular import EpisodicMDP
from mdpkit.rational import exact, rational
from theory_checks.exploration import ucrl_vtr as checks

pytestmark = pytest.mark.xdist_group("ucrl-vtr")

EXACT = 1e-12
MODEL = linear_mixture(5, 3, 3, 4)
THETAS = np.array([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [0.5, 0.5, 0], [1 / 6, 1 / 3, 1 / 2]])


def rng(seed=0):
    return np.random.default_rng(seed)


def access(model, seed=0, **more):
    return Episodes(model, rng(seed), grant=("r",), **more)


def test_reference_values():
    np.testing.assert_allclose(optimal_value(MODEL)[0], (3.103144125484424, 2.560998638085382, 2.9396385768028885,
                                                         3.2441980138839335, 3.094084361952781), rtol=0, atol=EXACT)
    s, a = (x.ravel() for x in np.indices((5, 3)))
    V = np.arange(5) / 2
    M, w = ucrl_vtr.regression(MODEL.base, np.tile(V, (15, 1)), s, a, (2 * s + a + 1) % 5, 1.0)
    theta = np.linalg.solve(M, w)
    np.testing.assert_allclose(theta, (0.515615906468218, 0.5816322806876429, -0.1566833358494948), rtol=0, atol=EXACT)
    bound = math.sqrt(float((MODEL.theta[0] ** 2).sum()))
    radius = self_normalised(math.log(np.linalg.det(M)), 2.0, 2 * math.log(10), bound)
    assert radius == pytest.approx(7.095930918729264, rel=EXACT)
    Q = ucrl_vtr.optimistic(MODEL.base, MODEL.r[0], V, theta, np.linalg.inv(M), radius, 4.0)
    np.testing.assert_allclose(Q[0], (3.4233350036364203, 4.0, 4.0), rtol=0, atol=EXACT)


def slow(model, base, params, seed, *, reward=False, stale=False, clip=True):
    """The pseudo-code with a list of all measurements, and a plan in plain loops; the learner's inverse is rank-one."""
    (H, S, A), d, world = model.r.shape, len(base), access(model, seed)
    inverse, w, log_ratio, rows = np.eye(d) / params.lam, np.zeros(d), 0.0, []
    V = np.zeros((H + 1, S))
    for _ in range(params.K):
        theta = np.array([sum(inverse[i, j] * w[j] for j in range(d)) for i in range(d)])
        radius = H / 2 * math.sqrt(log_ratio + 2 * math.log(1 / params.delta)) + math.sqrt(params.lam) * params.B
        before, V, policy, X = V, np.zeros((H + 1, S)), np.zeros((H, S), np.int64), np.zeros((H, S, A, d))
        for h in reversed(range(H)):
            for s in range(S):
                Q = []
                for a in range(A):
                    for i in range(d):
                        X[h, s, a, i] = sum(base[i, s, a, z] * V[h + 1, z] for z in range(S))
                    x, q = X[h, s, a], model.r[h, s, a]
                    for i in range(d):
                        q += x[i] * theta[i]
                    q += params.c * radius * math.sqrt(max(_square(inverse, x), 0.0))
                    Q.append(min(max(q, 0.0), H - h if clip else H))
                V[h, s], policy[h, s] = max(Q), int(np.argmax(Q))
        s, a, r, z = world.call(play, policy)
        rows.append((policy, V, theta, inverse.copy(), radius, np.append(s, z[-1])))
        for h in range(H):
            x, u = X[h, s[h], a[h]], np.zeros(d)
            for i in range(d):
                for j in range(d):
                    u[i] += inverse[i, j] * x[j]
            width = 0.0
            for i in range(d):
                width += x[i] * u[i]
            for i in range(d):
                for j in range(d):
                    inverse[i, j] -= u[i] * u[j] / (1.0 + width)
            log_ratio += math.log(1.0 + width)
            target = (before if stale else V)[h + 1, z[h]] + (r[h] if reward else 0.0)
            for i in range(d):
                w[i] += x[i] * target
    return [np.array(field) for field in zip(*rows)]


def _square(inverse, x):
    total = 0.0
    for i in range(len(x)):
        for j in range(len(x)):
            total += x[i] * inverse[i, j] * x[j]
    return total


WORLDS = {
    "mixture": (MODEL, MODEL.base, {}),
    "table": (stationary_episodic(3, 2, 3), checks.unit_masses(3, 2), {"base": checks.unit_masses(3, 2)}),
    "signed": (EpisodicMDP.stationary([[[0.25, 0.75]], [[1.0, 0.0]]], [[0.5], [1.0]], [0.5, 0.5], 3),
               np.array([[[[0.5, 1.5]], [[2.0, 0.0]]], [[[-0.25, 0.25]], [[0.0, 0.0]]]]),
               {"base": np.array([[[[0.5, 1.5]], [[2.0, 0.0]]], [[[-0.25, 0.25]], [[0.0, 0.0]]]])}),
}


@pytest.mark.parametrize("name", WORLDS)
@pytest.mark.parametrize("c", [0.0, 1.0])
def test_the_kernel_agrees_with_the_pseudo_code_bit_for_bit(name, c):
    model, base, bounds = WORLDS[name]
    params = ucrl_vtr.Params(4 if name == "table" else 15, 0.1, 0.5, 2.0, c)
    out = ucrl_vtr.run(access(model, 7, bounds=bounds), params, rng())
    policy, V, theta, inverse, radius, path = slow(model, base, params, 7)
    trace = out.trace
    np.testing.assert_array_equal(trace.policies[trace.index], policy)
    for found, want in zip((trace.info[k] for k in ("V", "theta", "inverse", "radius", "path")),
                           (V, theta, inverse, radius, path)):
        np.testing.assert_array_equal(found, want)


MUTANTS = {"counts the reward into the target": {"reward": True}, "measures with the V of before": {"stale": True},
           "clips at H": {"clip": False}}


@pytest.mark.parametrize("name", MUTANTS)
def test_each_mutant_differs_from_the_kernel(name):
    params = ucrl_vtr.theory(8, 0.1)
    out = ucrl_vtr.run(access(MODEL, 7), params, rng())
    _, V, theta, *_ = slow(MODEL, MODEL.base, params, 7, **MUTANTS[name])
    assert (theta != out.trace.info["theta"]).any() or (out.trace.info["V"] != V).any()


def test_the_inverse_is_that_of_what_was_measured():
    """Rank-one updates of 9000 rows: the residual stays below 9000 d u cond(M), here 1e-8."""
    run = checks.played(checks.MIX | {"K": 3000}, ucrl_vtr.run, rng(1))
    x = checks.measured(run)[:-1].reshape(-1, 3)
    M = np.eye(3) + x.T @ x
    assert np.abs(run.log.inverse[-1] @ M - np.eye(3)).max() < 1e-8
    log_det = np.linalg.slogdet(M)[1]
    assert run.log.radius[-1] == pytest.approx(2 * math.sqrt(log_det + 2 * math.log(10)) + 1, rel=1e-9)


def test_one_episode_is_the_plan_and_the_regression():
    params = ucrl_vtr.theory(2, 0.1)
    out = ucrl_vtr.run(access(MODEL, 3), params, rng()).trace
    V, s = out.info["V"][0], out.info["path"][0]
    a = out.policies[out.index[0]][np.arange(4), s[:-1]]
    M, w = ucrl_vtr.regression(MODEL.base, V[1:], s[:-1], a, s[1:], 1.0)
    np.testing.assert_allclose(out.info["inverse"][1] @ M, np.eye(3), rtol=0, atol=EXACT)
    np.testing.assert_allclose(M @ out.info["theta"][1], w, rtol=EXACT)
    Q = ucrl_vtr.optimistic(MODEL.base, MODEL.r[1], V[2], np.zeros(3), np.eye(3), out.info["radius"][0], 3.0)
    np.testing.assert_allclose(V[1], Q.max(-1), rtol=EXACT)


def test_without_rewards_nothing_is_learnt():
    silent = LinearMixtureMDP(MODEL.base, MODEL.theta, 0 * MODEL.r, MODEL.rho)
    out = ucrl_vtr.run(access(silent), ucrl_vtr.theory(50, 0.1), rng())
    assert (out.trace.info["inverse"] == np.eye(3)).all() and (out.output == 0).all()


def test_rationals_and_floats_agree():
    s, a, z = np.array([0, 3]), np.array([1, 2]), np.array([2, 4])
    V = np.arange(10.0).reshape(2, 5) / 4
    M, w = ucrl_vtr.regression(MODEL.base, V, s, a, z, 0.5)
    M2, w2 = ucrl_vtr.regression(exact(MODEL.base), exact(V), s, a, z, rational(0.5))
    np.testing.assert_allclose(M, M2.astype(float), rtol=EXACT)
    np.testing.assert_allclose(w, w2.astype(float), rtol=EXACT)


def test_every_step_is_counted():
    door = access(MODEL, 5)
    out = ucrl_vtr.run(door, ucrl_vtr.theory(50, 0.1), rng())
    assert door.samples == {"episodes": 50, "steps": 200} == dict(out.samples)
    assert (out.trace.info["path"] < 5).all() and len(out.trace) == 50


@pytest.mark.parametrize("entry", ["run", "run_class"])
def test_the_size_of_a_chunk_changes_no_bit(entry):
    def go(**more):
        return getattr(ucrl_vtr, entry)(access(MODEL, 5, bounds={"thetas": THETAS}, **more), ucrl_vtr.theory(60, 0.1),
                                        rng()).trace

    one, other = go(), go(chunk=7)
    np.testing.assert_array_equal(one.info["path"], other.info["path"])
    np.testing.assert_array_equal(one.policies[one.index], other.policies[other.index])


def test_the_class_in_slow_motion():
    """Losses and widths from lists of all measurements: same members, same leavers. c is small, so that some leave."""
    params = ucrl_vtr.Params(150, 0.1, c=0.05)
    out = ucrl_vtr.run_class(access(MODEL, 2, bounds={"thetas": THETAS}), params, rng()).trace
    models = [LinearMixtureMDP(MODEL.base, np.tile(t, (4, 1)), MODEL.r, MODEL.rho) for t in THETAS]
    values, x, y = [np.vstack([optimal_value(m)[:4], np.zeros(5)]) for m in models], [], []
    width = 0.05**2 * 8 * 4 * math.log(2 * 5 / 0.1)
    for k in range(150):
        loss = [sum((t - row @ theta) ** 2 for row, t in zip(x, y)) for theta in THETAS]
        hat = int(np.argmin(np.round(loss, 9)))                      # ties in rounding only
        left = [sum((row @ (theta - THETAS[hat])) ** 2 for row in x) <= width for theta in THETAS]
        np.testing.assert_array_equal(out.info["left"][k], left)
        s = out.info["path"][k]
        m = max(np.flatnonzero(left), key=lambda n: values[n][0, s[0]])
        assert out.info["member"][k] == m
        policy = out.policies[out.index[k]]
        for h in range(4):
            x.append(ucrl_vtr.features(MODEL.base, values[m][h + 1])[s[h], policy[h, s[h]]])
            y.append(values[m][h + 1, s[h + 1]])
    assert out.info["left"][-1].sum() < 5


TALL = EpisodicMDP(MODEL.P, 2 * MODEL.r, MODEL.rho)
OK = ucrl_vtr.theory(8, 0.1)
BAD = {
    "not episodes": (lambda: ucrl_vtr.run(Generative(MODEL, rng()), OK, rng()), "access must be a Episodes"),
    "no rewards": (lambda: ucrl_vtr.run(Episodes(MODEL, rng()), OK, rng()), "known.r"),
    "no base": (lambda: ucrl_vtr.run(access(stationary_episodic(3, 2, 3)), OK, rng()), "known.base"),
    "tall": (lambda: ucrl_vtr.run(access(TALL, bounds={"base": MODEL.base}), OK, rng()), "access.known.r"),
    "shape": (lambda: ucrl_vtr.run(access(stationary_episodic(3, 2, 3), bounds={"base": MODEL.base}), OK, rng()),
              "access.known.base"),
    "no params": (lambda: ucrl_vtr.run(access(MODEL), 8, rng()), "params must be a Params"),
    "no generator": (lambda: ucrl_vtr.run(access(MODEL), OK, 3), "rng must be"),
    "no class": (lambda: ucrl_vtr.run_class(access(MODEL), OK, rng()), "known.thetas"),
    "c": (lambda: ucrl_vtr.run(access(MODEL), ucrl_vtr.Params(8, 0.1, c=-1.0), rng()), "params.c must be"),
    "K": (lambda: ucrl_vtr.theory(0, 0.1), "K must be at least 1"),
    "delta": (lambda: ucrl_vtr.theory(8, 1.0), "delta must be in"),
    "lam": (lambda: ucrl_vtr.theory(8, 0.5, lam=0.0), "lam must be in"),
}


test_bad_input = closing.refusals(BAD)


def test_the_figure_draws_what_it_computes():
    from matplotlib.figure import Figure

    data, figure = picture.compute(None, K=60, runs=3), Figure()
    picture.draw(data, figure, {"C5": "SUPPORTED"})
    assert (np.diff(data["regret"], axis=-1) >= 0).all() and (data["distance"] <= data["radius"]).all()
    assert len(figure.axes) == 2


test_no_claim_is_refuted_and_every_control_is = closing.claims(checks.CHECKS)
