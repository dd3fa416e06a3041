"""LSVI-UCB: reference values, identities, accounting, regression from lists of tuples, every claim and control."""

import math

import closing
import numpy as np
import pytest

from algorithms.exploration import lsvi_ucb
from algorithms.exploration.lsvi_ucb import Params
from figures.exploration import lsvi_ucb as picture
from mdpkit.access import Episodes, Generative
from mdpkit.instances.formula import linear, stationary_episodic
from mdpkit.kernels.play import play
from mdpkit.measure.regret import Regret
from mdpkit.measure.values import optimal_value
from mdpkit.models.bandits import Bandit
from mdpkit.models.linear import LinearMDP
from mdpkit.rational import exact, rational
from mdpkit.solve.rounding import higham
from theory_checks.exploration import lsvi_ucb as checks

pytestmark = pytest.mark.xdist_group("lsvi-ucb")

EXACT = 1e-12
LIN = linear(6, 3, 3, 3)
SMALL = linear(4, 2, 2, 3)
ONE_HOT = checks.copies(SMALL, 1, one_hot=True)
PARAMS = Params(60, 0.3, keep=True)


def rng(seed=0):
    return np.random.default_rng(seed)


def access(model, seed=0, **more):
    return Episodes(model, rng(seed), **more)


def test_reference_values():
    np.testing.assert_allclose(optimal_value(LIN)[0, :3], (1.8661701410885159, 1.799990093953185, 1.8151647454482545),
                               rtol=EXACT)
    assert lsvi_ucb.theory(300, 3, 3, 0.1).beta == pytest.approx(29.70918856800467, rel=EXACT)
    s, a, z = np.indices((6, 3, 6))
    w, mean, square = lsvi_ucb.backup(LIN.phi, (s + 2 * a + 3 * z) % 4 * 1.0, LIN.r[0], np.arange(6) / 2, 1.0)
    np.testing.assert_allclose(w, (1.15443330580781, 2.0966203418453833, 1.7397552307482185), rtol=EXACT)
    np.testing.assert_allclose(lsvi_ucb.optimistic(mean, square, 1.0, 3.0)[0],
                               (2.1799707003048088, 1.7251669226029458, 1.5614206950679053), rtol=EXACT)


def test_reference_regret():
    """The theorem's beta loses 400 in 1000 episodes from state 0, exponent 0.93; beta = 0.1 loses little."""
    model, ends = checks.from_0(checks.LIN), []
    beta = lsvi_ucb.theory(300, 3, 3, 0.1).beta
    for seed in range(3):
        watch = Regret(model)
        lsvi_ucb.run(access(model, seed, watch=watch), Params(1000, beta), rng())
        ends.append(watch.regret[[124, 999]])
    early, late = np.mean(ends, 0)
    assert late == pytest.approx(400, rel=0.03) and math.log(late / early, 8) == pytest.approx(0.93, abs=0.02)
    watch = Regret(model)
    lsvi_ucb.run(access(model, 2, watch=watch), Params(2000, 0.1), rng())
    assert watch.regret[249] == watch.total < 10


def test_a_tenth_of_another_kernel_is_not_linear():
    """P mixed with moves that are not: what least squares leaves of P V is above 1e-3."""
    V, other = np.arange(6.0) % 2, np.tile(np.eye(6)[np.arange(6) // 2][:, None], (1, 3, 1))
    rows = LIN.phi.reshape(-1, 3)
    for mix, small in ((0.0, True), (0.1, False)):
        target = ((1 - mix) * LIN.P[0] + mix * other).reshape(18, 6) @ V
        left = target - rows @ np.linalg.lstsq(rows, target, rcond=None)[0]
        assert (np.abs(left).max() < EXACT) if small else (np.abs(left).max() > 1e-3)


def test_the_backup_solves_its_equations_in_rationals():
    counts = exact(np.arange(4 * 2 * 4).reshape(4, 2, 4) % 3)
    phi, r, V = exact(SMALL.phi), exact(np.round(SMALL.r[0], 3)), exact(np.arange(4.0))
    w, mean, _ = lsvi_ucb.backup(phi, counts, r, V, rational(1.0))
    left, right = w, 0 * w
    for s, a, z in np.ndindex(4, 2, 4):
        left = left + counts[s, a, z] * phi[s, a] * mean[s, a]
        right = right + counts[s, a, z] * phi[s, a] * (r[s, a] + V[z])
    assert (left == right).all()


def slow(model, params, seed, *, stale=False, shared=False, above=True, last=False, no_phantom=False):
    """The pseudo-code on lists of tuples: each regression solved anew. Policies, Q and w of each episode."""
    (H, S, A), world, d = model.r.shape, access(model, seed), model.d
    data, out, old = [[] for _ in range(H)], [], np.zeros((H + 1, S))
    for _ in range(params.K):
        Q, w, V = np.zeros((H, S, A)), np.zeros((H, d)), np.zeros((H + 1, S))
        for h in range(H - 1, -1, -1):
            rows = [row for step in data for row in step] if shared else data[h]
            x = np.array([model.phi[s, a] for s, a, _, _ in rows]).reshape(-1, d)
            target = np.array([r + (old if stale else V)[h + 1, t] for _, _, r, t in rows])      # 4
            Lambda = params.lam * (1e-6 if no_phantom else 1.0) * np.eye(d) + x.T @ x             # 3
            w[h] = np.linalg.solve(Lambda, x.T @ target)
            square = np.einsum("sai,ij,saj->sa", model.phi, np.linalg.inv(Lambda), model.phi)
            Q[h] = model.phi @ w[h] + params.beta * np.sqrt(square)
            Q[h] = np.minimum(Q[h], H if above else H - h)                                       # 5
            V[h] = Q[h].max(1)
        policy = A - 1 - Q[..., ::-1].argmax(-1) if last else Q.argmax(-1)                       # 6
        out.append((policy, Q, w))
        s, a, r, t = world.call(play, policy)
        for h in range(H):
            data[h].append((int(s[h]), int(a[h]), float(r[h]), int(t[h])))
        old = V
    return [np.array(part) for part in zip(*out)]


# Lambda has condition K + 1 at most; K updates of its inverse of ten roundings an entry, sums of K targets up to 2H
CLOSE = 61 * 2 * 3 * higham(40 * 60 * 8)


@pytest.mark.parametrize("model", [SMALL, ONE_HOT, LIN], ids=["features", "one-hot", "reference"])
def test_the_kernel_agrees_with_solving_anew(model):
    """The same policies in every episode; numbers within the rounding of the updates of Lambda^-1."""
    for beta in (0.0, 0.3, 5.0):
        params = Params(60, beta, keep=True)
        trace = lsvi_ucb.run(access(model, 7), params, rng()).trace
        policy, Q, w = slow(model, params, 7)
        np.testing.assert_array_equal(trace.policies[trace.index], policy)
        np.testing.assert_allclose(trace.info["Q"], Q, rtol=0, atol=CLOSE)
        np.testing.assert_allclose(trace.info["w"], w, rtol=0, atol=CLOSE)


@pytest.mark.parametrize("name, value", [("stale", True), ("shared", True), ("above", False), ("no_phantom", True)])
def test_each_mutant_differs_from_the_kernel(name, value):
    params = Params(60, 3.0, keep=True)
    Q = lsvi_ucb.run(access(SMALL, 7), params, rng()).trace.info["Q"]
    assert np.abs(slow(SMALL, params, 7, **{name: value})[1] - Q).max() > 1e-3


def test_ties_go_to_the_lowest_action():
    model = LinearMDP(np.ones((2, 3, 1)), np.full((2, 1, 2), 0.5), np.full((2, 1), 0.5), [0.5, 0.5])
    trace = lsvi_ucb.run(access(model), Params(9, 1.0), rng()).trace
    assert (trace.policies == 0).all() and (slow(model, Params(9, 1.0), 0, last=True)[0] == 2).all()


def test_every_step_is_counted():
    """Trace of Lambda, one tuple a step and episode; the norms are those of the rows in their order."""
    door = access(LIN, 5)
    result = lsvi_ucb.run(door, Params(200, 0.1), rng())
    path, policy = result.trace.info["path"], result.trace.policies[result.trace.index]
    assert result.samples == {"episodes": 200, "steps": 600} and path.shape == (200, 4)
    for h in range(3):
        a = policy[np.arange(200), h, path[:, h]]
        x = LIN.phi[path[:, h], a]
        _, norms, ratio = lsvi_ucb.ridge(x, np.zeros(200), 1.0)
        np.testing.assert_allclose(result.trace.info["norms"][:, h], norms, rtol=0, atol=CLOSE)
        assert ratio == pytest.approx(np.linalg.det(np.eye(3) + x.T @ x), rel=1e-9)      # ROUND: 200 factors


def test_the_inverse_is_computed_anew():
    """2500 episodes cross two inversions: Q at the end is that of solving once."""
    trace_of = lsvi_ucb.run(access(SMALL, 1), Params(2500, 0.05), rng())
    path, policy = trace_of.trace.info["path"], trace_of.trace.policies[trace_of.trace.index]
    V, close = np.zeros(4), 2501 * 6 * higham(40 * 1000 * 2)          # as CLOSE, 1000 updates, d = 2
    for h in (2, 1, 0):
        counts = np.zeros((4, 2, 4))
        np.add.at(counts, (path[:, h], policy[np.arange(2500), h, path[:, h]], path[:, h + 1]), 1.0)
        _, mean, square = lsvi_ucb.backup(SMALL.phi, counts, SMALL.r[h], V, 1.0)
        Q = lsvi_ucb.optimistic(mean, square, 0.05, 3.0)
        np.testing.assert_allclose(trace_of.output[h], Q, rtol=0, atol=close)
        V = Q.max(1)


@pytest.mark.parametrize("chunk", [1, 7])
def test_the_size_of_a_chunk_changes_no_bit(chunk):
    whole = lsvi_ucb.run(access(SMALL, 5), Params(1100, 0.1), rng()).output
    np.testing.assert_array_equal(lsvi_ucb.run(access(SMALL, 5, chunk=chunk), Params(1100, 0.1), rng()).output, whole)


def test_the_second_world_of_optimism_is_not_empty():
    row = checks.optimism({"lin": [4, 2, 2, 2], "K": 2000}, lsvi_ucb.run, rng())
    assert row["below"] > 0.5 and row["measured"] < 0
    assert checks.optimism(checks.LIN | {"K": 300}, lsvi_ucb.run, rng())["below"] < 0.25


def test_copies_are_the_same_world():
    many = checks.copies(LIN, 4)
    np.testing.assert_allclose(optimal_value(many), np.tile(optimal_value(LIN), 4), rtol=0, atol=EXACT)
    hot = checks.copies(LIN, 4, one_hot=True)
    np.testing.assert_allclose(hot.P, many.P, rtol=0, atol=EXACT)
    assert (hot.d, many.d) == (72, 3)


def test_thin_regulariser():
    """lambda = 0.1, phi of norm 2, three times: 41.47 > 9.59."""
    norms, ratio = lsvi_ucb.ridge(np.full((3, 1), 2.0), np.zeros(3), 0.1)[1:]
    assert norms.sum() == pytest.approx(41.47, abs=5e-3) and 2 * math.log(ratio) == pytest.approx(9.59, abs=5e-3)


BAD = {
    "not episodes": (lambda: lsvi_ucb.run(Generative(LIN, rng()), PARAMS, rng()), "access must be a Episodes"),
    "no features": (lambda: lsvi_ucb.run(access(stationary_episodic(2, 2, 2)), PARAMS, rng()), "to a linear MDP"),
    "no steps": (lambda: lsvi_ucb.run(access(Bandit([0.5])), PARAMS, rng()), "to a linear MDP"),
    "shape": (lambda: lsvi_ucb.run(access(stationary_episodic(2, 2, 2), bounds={"phi": np.ones((2, 3, 1))}), PARAMS,
                                   rng()), "access.known.phi"),
    "params": (lambda: lsvi_ucb.run(access(LIN), 8, rng()), "params must be a Params"),
    "beta": (lambda: lsvi_ucb.run(access(LIN), Params(9, -1.0), rng()), "params.beta must be"),
    "lambda": (lambda: lsvi_ucb.run(access(LIN), Params(9, 1.0, 0.0), rng()), "params.lam must be"),
    "generator": (lambda: lsvi_ucb.run(access(LIN), PARAMS, 3), "rng must be"),
    "K": (lambda: lsvi_ucb.theory(0, 3, 3, 0.1), "K must be at least 1"),
    "p": (lambda: lsvi_ucb.theory(9, 3, 3, 1.0), "must be in"),
}


test_bad_input = closing.refusals(BAD)


def test_the_figure_draws_what_it_computes():
    from matplotlib.figure import Figure

    data, figure = picture.compute(None, K=120, runs=3), Figure()
    picture.draw(data, figure, {"C6": "SUPPORTED"})
    assert len(figure.axes) == 2 and (data["sum $d=3$"] <= data["bound"]).all()
    assert all((np.diff(data[k], axis=-1) >= 0).all() for k in data if k.startswith(("run", "sum")))


test_no_claim_is_refuted_and_every_control_is = closing.claims(checks.CHECKS)
