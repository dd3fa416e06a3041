"""OFUL: reference values, identities, accounting, the pseudo-code in slow motion, every claim and every control."""

import math

import closing
import numpy as np
import pytest

from algorithms.bandits import oful
from figures.bandits import oful as picture
from mdpkit.access import Episodes, Exact
from mdpkit.measure.regret import pull_gaps
from mdpkit.models.bandits import Bandit, ContextualBandit, LinearBandit
from mdpkit.rational import exact, rational
from mdpkit.solve.rounding import higham
from mdpkit.worlds.bandits import start, step
from theory_checks.bandits import oful as checks

pytestmark = pytest.mark.xdist_group("oful")

EXACT = 1e-12
i = np.arange(3)
ROWS = np.array([((3 * t + 5 * i + t * i) % 7) - 3 + 0.5 * (i == 0) for t in range(50)])
ROWS = ROWS / np.sqrt((ROWS * ROWS).sum(1))[:, None]
MODEL = LinearBandit(checks.FIVE, [0.6, -0.5, 0.4])
PHI = np.round(np.random.default_rng(4).normal(size=(3, 4, 2)), 1) / 4
SETS = ContextualBandit(np.array([0.5, 0.25, 0.25]), PHI @ np.array([0.5, -0.75]), "gaussian")
PARAMS = oful.theory(120, 0.1, 1.0, 1.0)
RARE = oful.theory(120, 0.1, 1.0, 1.0, C=0.3)


def rng(seed=0):
    return np.random.default_rng(seed)


def access(model, seed=0, **more):
    return Episodes(model, rng(seed), **({"bounds": {"phi": PHI}} if model is SETS else {}), **more)


def test_reference_values():
    det = np.linalg.det([[3.0, 1, 0], [1, 4, 1], [0, 1, 2]])
    assert oful.radius(math.log(det), 0.1, 1.0, 0.5, 1.0) == pytest.approx(2.373827606102248, rel=EXACT)
    assert oful.loose_radius(400, 3, 0.1, 1.0, 0.5, 1.0) == pytest.approx(3.494475874853365, rel=EXACT)
    assert oful.regret_bound(400, 3, 0.1, 1.0, 0.5, 1.0) == pytest.approx(980.6120206458164, rel=EXACT)
    assert oful.regret_bound(20_000, 3, 0.1, 1.0, 0.5, 1.0) == pytest.approx(11003.8, abs=0.05)    # to its digits
    w = oful.ridge(ROWS, np.zeros(50), 1.0)[2]
    assert np.minimum(w, 1).sum() == pytest.approx(9.658156351569657, rel=EXACT)
    assert 2 * oful.martingale(ROWS, np.zeros(50), 1.0)[1][-1] == pytest.approx(16.363774140779036, rel=EXACT)
    assert 6 * math.log(1 + 50 / 3) == pytest.approx(17.230077749304073, rel=EXACT)


def test_a_thin_regulariser_breaks_the_potential_without_its_minimum():
    """One row x = 1 at lambda = 0.01: 100 > 2 ln 101 = 9.23."""
    w = oful.ridge(np.ones((1, 1)), np.zeros(1), 0.01)[2]
    assert w[0] == 100.0 and 2 * math.log(1 + w[0]) == pytest.approx(9.23, abs=5e-3)


def test_the_ridge_estimate_solves_its_equations_in_rationals():
    x, y = exact(np.round(ROWS[:12] * 8) / 8), exact(np.arange(12.0) - 5)
    theta, inverse, _ = oful.ridge(x, y, rational(0.5))
    V = x.T @ x + np.array([[rational(0.5 * (a == b)) for b in range(3)] for a in range(3)])
    assert (V @ theta == x.T @ y).all()
    assert (V @ inverse == exact(np.eye(3))).all()


def slow(model, params, seed, *, squared=False, late=False, unbonused=False, own_norm=False, highest=False):
    """The pseudo-code, everything solved anew in each round; the arm, ln D and the estimate before it."""
    world, out, data = access(model, seed), [], []
    phi = PHI if model is SETS else model.x[None]
    d, last = phi.shape[2], -math.inf
    for _ in range(params.n):
        x, y = (np.array([row[j] for row in data]) for j in (0, 1)) if data else (np.zeros((0, d)), np.zeros(0))
        V = params.lam * np.eye(d) + x.T @ x
        log_ratio = np.linalg.slogdet(V)[1] - d * math.log(params.lam)
        theta = np.linalg.solve(V, x.T @ y)
        if params.C == 0 or log_ratio > last + math.log(1 + params.C):                           # 3
            last, seen, centre = log_ratio, V, theta
            wide = params.R * math.sqrt(log_ratio + 2 * math.log(1 / params.delta)) + math.sqrt(params.lam) * params.S
            wide = wide * wide if squared else 0.0 if unbonused else wide
        context = int(world.call(start))
        arms = phi[context]
        norms = np.einsum("ai,ai->a", arms, np.linalg.solve(np.eye(d) if own_norm else seen, arms.T).T)
        index = arms @ centre + wide * np.sqrt(norms)                                           # 5
        arm = len(index) - 1 - int(index[::-1].argmax()) if highest else int(index.argmax())
        out.append((arm, log_ratio, *theta))
        data.append((arms[arm], float(world.call(step, arm))))                                  # 6
        if late and len(data) > 1:
            data[-1] = (data[-1][0], data[-2][1])
    return np.array(out)


def played(model, params, seed):
    entry = oful.run_rarely if params.C > 0 else oful.run
    trace = entry(access(model, seed), params, rng()).trace
    return np.column_stack([trace.policies[trace.index], trace.info["log_ratio"], trace.info["theta"]])


# the condition number of V is at most 1 + 120; twice 120 rank-one updates of d <= 3, each some ten roundings
CLOSE = 121 * higham(120 * 2 * 10 * 9)


@pytest.mark.parametrize("model", [MODEL, SETS], ids=["one set", "three sets"])
@pytest.mark.parametrize("params", [PARAMS, RARE], ids=["each round", "rarely"])
def test_the_kernel_agrees_with_solving_anew(model, params):
    """The same arms in every round; numbers within the rounding of the updates of V^-1."""
    for seed in range(2):
        mine, theirs = played(model, params, seed), slow(model, params, seed)
        np.testing.assert_array_equal(mine[:, 0], theirs[:, 0])
        np.testing.assert_allclose(mine, theirs, rtol=CLOSE, atol=CLOSE)


@pytest.mark.parametrize("name", ["squared", "late", "unbonused", "own_norm", "highest"])
def test_each_mutant_differs_from_the_kernel(name):
    assert (slow(MODEL, PARAMS, 0, **{name: True})[:, 0] != played(MODEL, PARAMS, 0)[:, 0]).any()


@pytest.mark.parametrize("model", [MODEL, SETS], ids=["one set", "three sets"])
def test_every_pull_is_counted(model):
    door = access(model, 3)
    result = oful.run(door, PARAMS, rng())
    assert result.samples == {"episodes": 120, "steps": 120}
    log, arm = result.trace.info, result.trace.policies[result.trace.index]
    x = (PHI if model is SETS else model.x[None])[log["context"], arm]
    V = np.eye(x.shape[1]) + x.T @ x
    assert np.trace(V) == pytest.approx(x.shape[1] + (x * x).sum(), rel=EXACT)
    np.testing.assert_allclose(result.output.inverse @ V, np.eye(x.shape[1]), rtol=0, atol=CLOSE)
    np.testing.assert_allclose(V @ result.output.theta, x.T @ log["y"], rtol=0, atol=121 * CLOSE)
    assert result.output.log_ratio == pytest.approx(np.linalg.slogdet(V)[1], rel=CLOSE)
    assert log["updated"].sum() == 120


@pytest.mark.parametrize("chunk", [1, 7])
def test_the_size_of_a_chunk_changes_no_bit(chunk):
    whole, parts = (oful.run_rarely(access(SETS, 5, chunk=c), RARE, rng()) for c in (None, chunk))
    np.testing.assert_array_equal(whole.output.theta, parts.output.theta)
    for name, field in whole.trace.info.items():
        np.testing.assert_array_equal(field, parts.trace.info[name])


def test_one_hot_arms_are_ucb_with_phantom_samples():
    model = LinearBandit(checks.UNIT, [0.25, -0.5, 0.75])
    result = oful.run(access(model, 2), PARAMS, rng())
    arm, y = result.trace.policies[result.trace.index], result.trace.info["y"]
    N, total = np.bincount(arm, minlength=3), np.bincount(arm, y, 3)
    np.testing.assert_allclose(result.output.theta, total / (N + 1), rtol=0, atol=CLOSE)
    np.testing.assert_allclose(np.diag(result.output.inverse), 1 / (N + 1.0), rtol=CLOSE)
    assert result.output.log_ratio == pytest.approx(np.log(N + 1.0).sum(), rel=CLOSE)


def test_greedy_locks_in_and_oful_does_not():
    """One-hot arms, the first of them second best: greedy stays with it, or never comes back to it."""
    model, ends = LinearBandit(checks.UNIT, [0.25, -0.5, 0.75]), {0.0: [], 1.0: []}
    for c, totals in ends.items():
        for seed in range(8):
            trace = oful.run(access(model, seed), oful.Params(4000, 0.1, 1.0, 1.0, 1.0, c=c), rng()).trace
            totals.append(pull_gaps(model, trace.policies[trace.index]).sum())
    assert max(ends[0.0]) > 1900 and min(ends[0.0]) < 100          # a gap of 0.5 in nearly all of 4000 rounds
    assert max(ends[1.0]) < 1000


def test_the_second_form_of_the_radius_is_the_smaller_one_in_one_dimension():
    """d = 1, x = 1, lambda = 1: ln 2 + 2 ln 10 = 5.30 against ln 20 = 3.00 after one round."""
    tight, second = oful.radius(math.log(2), 0.1, 1.0, 1.0, 0.0), oful.loose_radius(1, 1, 0.1, 1.0, 1.0, 0.0)
    assert tight**2 == pytest.approx(math.log(200), rel=EXACT) and second**2 == pytest.approx(math.log(20), rel=EXACT)
    assert second == pytest.approx(oful.radius(math.log(2), math.sqrt(0.1), 1.0, 1.0, 0.0), rel=EXACT)


BAD = {
    "access": (lambda: oful.run(Exact(MODEL), PARAMS, rng()), "access must be a Episodes"),
    "arms": (lambda: oful.run(Episodes(Bandit([0.5, 0.2]), rng()), PARAMS, rng()), "access must be to a linear bandit"),
    "features": (lambda: oful.run(Episodes(SETS, rng()), PARAMS, rng()), "access must be to a linear bandit"),
    "shape": (lambda: oful.run(Episodes(SETS, rng(), bounds={"phi": PHI[0]}), PARAMS, rng()), "access.known.phi"),
    "params": (lambda: oful.run(access(MODEL), 8, rng()), "params must be a Params"),
    "rarely": (lambda: oful.run(access(MODEL), RARE, rng()), "params.C must be"),
    "each": (lambda: oful.run_rarely(access(MODEL), PARAMS, rng()), "params.C must be"),
    "lambda": (lambda: oful.run(access(MODEL), oful.Params(9, 0.1, 0.0, 1.0, 1.0), rng()), "params.lam must be"),
    "R": (lambda: oful.run(access(MODEL), oful.Params(9, 0.1, 1.0, -1.0, 1.0), rng()), "params.R must be"),
    "generator": (lambda: oful.run(access(MODEL), PARAMS, 3), "rng must be"),
    "delta": (lambda: oful.theory(9, 1.0, 1.0, 1.0), "delta must be in"),
    "n": (lambda: oful.theory(0, 0.1, 1.0, 1.0), "n must be at least 1"),
}


test_bad_input = closing.refusals(BAD)


def test_the_figure_draws_what_it_computes():
    from matplotlib.figure import Figure

    data, figure = picture.compute(None, n=300, runs=3, paths=60), Figure()
    picture.draw(data, figure, {"C1": "SUPPORTED"})
    assert len(figure.axes) == 2 and (data["theorem"] >= data["direct"]).all()
    assert data["level"] < 2 * math.log(10) and data["fails"] < 0.2        # 60 runs: 12 would be far beyond delta


test_no_claim_is_refuted_and_every_control_is = closing.claims(checks.CHECKS, refuted=("C2-line",))
