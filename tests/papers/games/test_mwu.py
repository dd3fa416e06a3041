"""MWU: reference values, identities on numbers, accounting, the slow reference, every claim and every control."""

import math

import closing
import numpy as np
import pytest

from algorithms.games import mwu
from algorithms.games.mwu import Params
from figures.games import mwu as picture
from mdpkit.access import Episodes, Exact
from mdpkit.instances.games import prisoners_dilemma, rock_paper_scissors
from mdpkit.measure.exploitability import duality_gap
from mdpkit.models.games import MarkovGame
from theory_checks.games import _mwu_twins as twins
from theory_checks.games import mwu as checks

pytestmark = pytest.mark.xdist_group("mwu")

EXACT = 1e-12
ROUND = 1e-9
M = checks.formula_game(3, 4)
PENNIES = [checks.PENNIES[k] for k in ("x", "y")]


def rng(seed=0):
    return np.random.default_rng(seed)


def close(a, b, tolerance=EXACT):
    np.testing.assert_allclose(a, b, rtol=0, atol=tolerance)


def played(run, M, *params):
    result = run(checks.game(M), Params(*params), rng())
    return result, result.trace.policies, result.trace.info["y"]


def test_reference_values_on_the_formula_game():
    result, x, y = played(mwu.run, M, 0.1, 1000)
    average, R_x, R_y = mwu.certificate(M, x, y)
    # 1000 rounds: exponents up to 100 err by units of themselves, and regrets by 1000 of those
    close([R_x, R_y], (11.080658796473017, 9.446323477241435), 1e-11)
    close(average, 0.020526982273714356)
    close(x[999], (0.025772753739922327, 0.9742272462600777, 1.1407773936598773e-26))
    close(x[999, 2] / 1.1407773936598773e-26, 1.0, 1e-11)
    result, x, y = played(mwu.run_optimistic, M, 0.1, 1000)
    close(mwu.gap(M, x[-1], y[-1]), 0.199324552871612, 1e-11)
    close(mwu.gap(M, *result.output), 0.019729379077467635)
    close([np.sum(mwu.certificate(M, *played(run, M, 0.1, 20_000)[1:])[1:]) for run in (mwu.run, mwu.run_optimistic)],
          (43.9, 14.4), 0.05)


def test_reference_values_of_the_rates():
    """Known to four digits."""
    T = (100, 400, 1600, 6400)
    gaps = [mwu.gap(M, *played(mwu.run, M, mwu.theory(t, 3).eta, t)[0].output) for t in T]
    close(gaps, (0.0739, 0.0328, 0.0142, 0.0084), 5e-5)
    fast = [mwu.gap(M, *played(mwu.run_optimistic, M, 0.1, t)[0].output) for t in T]
    close(np.polyfit(np.log(T), np.log(fast), 1)[0], -1.06, 0.04)         # a slope by eye: other T give -1.09


def test_reference_values_on_matching_pennies():
    for run, x10 in ((mwu.run, (0.5657529588104238, 0.43424704118957624)),
                     (mwu.run_optimistic, (0.5597723448325583, 0.44022765516744167))):
        close(played(run, np.eye(2), 0.1, 11, *PENNIES)[1][10], x10)
    _, x, y = played(mwu.run, np.eye(2), 0.1, 20_000, *PENNIES)
    D = [-0.5 * np.log(4 * x[t].prod()) - 0.5 * np.log(4 * y[t].prod()) for t in (0, 5000)]
    close(D, (0.0254, 3.02), 5e-3)
    close(mwu.gap(np.eye(2), x, y)[[14_007, 19_999]], (0.50021334230893949, 0.98524131385567064), ROUND)    # 200 bits
    _, x, y = played(mwu.run_optimistic, np.eye(2), 0.1, 20_000, *PENNIES)
    # sums of 10^4 carry 2e-12
    close(mwu.gap(np.eye(2), x, y)[[0, 1000, 5000, 19_999]],
          (0.15, 0.035555351942212546, 0.00030428058571064234, 1.8143407116758882e-12), 5e-12)


def test_reference_value_of_the_failing_leader():
    losses = checks.trap(1000, 2)
    followed = twins.leader(losses, 1.0)
    close((followed * losses).sum() - losses.sum(0).min(), 500.0, 0.5)     # to the half of the first round
    close(math.sqrt(1000 * math.log(2) / 2), 18.6, 0.05)
    assert (mwu.hedge(losses, mwu.theory(1000, 2).eta) * losses).sum() - losses.sum(0).min() < 18.6


def test_identities_on_numbers():
    x, y = rng(1).dirichlet(np.ones(3), 7), rng(2).dirichlet(np.ones(4), 7)
    average, R_x, R_y = mwu.certificate(M, x, y)
    close(average, (R_x + R_y) / 7)
    close(mwu.gap(M, x, y), [duality_gap(-M, a, b) for a, b in zip(x, y)])
    value = 0.4                                           # of [[1, 0], [.25, .5]]: x* = (.2, .8), y* = (.4, .6)
    small = np.array([[1.0, 0.0], [0.25, 0.5]])
    close(mwu.gap(small, np.array([0.2, 0.8]), np.array([0.4, 0.6])), 0.0)
    close(small @ [0.4, 0.6], value)


def test_no_play_looks_ahead():
    losses = rng(3).random((30, 4))
    for w in (0.0, 1.0):
        whole = mwu.hedge(losses, 0.7, w)
        for t in (1, 2, 17):
            np.testing.assert_array_equal(mwu.hedge(losses[:t], 0.7, w), whole[:t])
        other = losses.copy()
        other[16:] = 0.0
        np.testing.assert_array_equal(mwu.hedge(other, 0.7, w)[:17], whole[:17])
    close(mwu.hedge(losses + 5.0, 0.7), mwu.hedge(losses, 0.7))


def slow(M, eta, T, w, x1, y1, *, in_turn=False, own=False, sign=1.0):
    """Lines 1 to 4 in plain Python."""
    n, m = M.shape
    L, l, G, g, xs, ys = [0.0] * n, [0.0] * n, [0.0] * m, [0.0] * m, [], []

    def law(start, step, sums, last):
        logits = [s + step * (a + w * b) for s, a, b in zip(start, sums, last)]
        top, total = max(logits), 0.0
        for v in logits:
            total += math.exp(v - top)
        shift = top + math.log(total)
        return [v - shift for v in logits]

    for _ in range(T):
        x = law(x1, -sign * eta, L, l)
        l_now = [0.0] * n
        if not in_turn:
            y = law(y1, eta, G, g)
        g_now = [0.0] * m
        for i in range(n):
            for j in range(m):
                g_now[j] += M[i, j] * math.exp(x[i])
        if in_turn:                                       # y answers the x of the same round
            G, g = [a + b for a, b in zip(G, g_now)], g_now
            y = law(y1, eta, G, g)
        for j in range(m):
            for i in range(n):
                l_now[i] += M[i, j] * math.exp(x[i] if own and n == m else y[j])
        L, l = [a + b for a, b in zip(L, l_now)], l_now
        if not in_turn:
            G, g = [a + b for a, b in zip(G, g_now)], g_now
        xs.append(x)
        ys.append(y)
    return np.array(xs), np.array(ys)


X1, Y1 = [0.5, 0.375, 0.125], [0.125, 0.25, 0.25, 0.375]


@pytest.mark.parametrize("w", [0.0, 1.0])
def test_the_kernel_agrees_with_the_pseudo_code_bit_for_bit(w):
    run = mwu.run_optimistic if w else mwu.run
    trace = run(checks.game(M), Params(0.3, 40, X1, Y1), rng()).trace
    x, y = slow(M, 0.3, 40, w, np.log(X1), np.log(Y1))
    np.testing.assert_array_equal(trace.info["log_x"], x)
    np.testing.assert_array_equal(trace.info["log_y"], y)
    losses = rng(4).random((40, 3))
    one_row = slow(losses.T, 0.3, 1, w, np.zeros(3), np.zeros(40))[0]      # the start alone
    close(mwu.hedge(losses, 0.3, w)[0], np.exp(one_row[0]))
    L = np.concatenate([np.zeros((1, 3)), np.cumsum(losses, 0)[:-1]])
    last = np.concatenate([np.zeros((1, 3)), losses[:-1]])
    weights = np.exp(-0.3 * (L + w * last))
    close(mwu.hedge(losses, 0.3, w), weights / weights.sum(1, keepdims=True))


MUTANTS = {"alternating": {"in_turn": True}, "towards losses": {"sign": -1.0}}


@pytest.mark.parametrize("name", MUTANTS)
def test_each_mutant_differs_from_the_kernel(name):
    log_x, _ = mwu.self_play(M, 0.3, 5, 0.0, X1, Y1)
    assert np.abs(slow(M, 0.3, 5, 0.0, np.log(X1), np.log(Y1), **MUTANTS[name])[0] - log_x).max() > ROUND


def test_more_mutants_differ_from_the_kernel():
    """Its own play in place of the other's; the last loss counted or not; and the sum of all but the last."""
    square = checks.formula_game(3, 3)
    start = np.log(X1)
    right = mwu.self_play(square, 0.3, 5, 0.0, X1, Y1[:2] + [0.625])[0]
    assert np.abs(slow(square, 0.3, 5, 0.0, start, np.log(Y1[:2] + [0.625]), own=True)[0] - right).max() > ROUND
    for w in (1.0, -1.0):
        assert np.abs(mwu.self_play(square, 0.3, 5, w, X1, Y1[:2] + [0.625])[0] - right).max() > ROUND


def test_all_rounds_are_accounted_for_and_nothing_is_sampled():
    result, x, y = played(mwu.run, M, 0.2, 50)
    assert result.samples == {} and len(result.trace) == len(y) == 50
    close(result.output[0], x.mean(0))
    close(result.output[1], y.mean(0))
    close([*x.sum(1), *y.sum(1)], 1.0)
    close(mwu.regret_bound(3, *(lambda p: (p.eta, p.T))(mwu.theory(50, 3))), math.sqrt(50 * math.log(3) / 2))
    assert mwu.theory(9, 1).eta == 1.0


def test_long_runs_do_not_underflow():
    log_x, _ = mwu.self_play(M, 5.0, 2000, 0.0)
    assert np.isfinite(log_x).all() and log_x.min() < -745.0


def test_the_figure_draws_what_it_computes():
    from matplotlib.figure import Figure

    data, figure = picture.compute(), Figure()
    picture.draw(data, figure, {"C4": "SUPPORTED"})
    assert len(figure.axes) == 2
    assert data["MWU last"][-1] > 0.98 and data["OMWU last"][-1] < 1e-11
    assert data["MWU average"][-1] < 0.005 and data["OMWU average"][-1] < 2e-4


GAME = checks.game(M)
BAD = {
    "a model": (lambda: mwu.run(GAME.model, Params(0.1, 2), rng()), "access must be a Exact"),
    "episodes": (lambda: mwu.run(Episodes(GAME.model, rng()), Params(0.1, 2), rng()), "access must be a Exact"),
    "general sum": (lambda: mwu.run(Exact(prisoners_dilemma()), Params(0.1, 2), rng()), "access.model must be a zero"),
    "range": (lambda: mwu.run(Exact(rock_paper_scissors()), Params(0.1, 2), rng()), r"r\[1\].* must be in \[0, 1\]"),
    "tall": (lambda: mwu.run(Exact(MarkovGame.matrix(-3 * M)), Params(0.1, 2), rng()), r"in \[0, 1\]"),
    "eta": (lambda: mwu.run_optimistic(GAME, Params(0.0, 2), rng()), "eta must be in"),
    "T": (lambda: mwu.run(GAME, Params(0.1, 0), rng()), "T must be at least 1"),
    "x": (lambda: mwu.run(GAME, Params(0.1, 2, [0.5, 0.5, 0.0]), rng()), r"x\[2\] must be positive"),
    "y": (lambda: mwu.run(GAME, Params(0.1, 2, None, [1.0]), rng()), "y must be of shape"),
    "generator": (lambda: mwu.run(GAME, Params(0.1, 2), 3), "rng must be"),
    "losses": (lambda: mwu.hedge([[0.0, math.nan]], 1.0), r"losses\[0, 1\] must be finite"),
    "w": (lambda: mwu.hedge([[0.0, 1.0]], 1.0, math.inf), "w must be finite"),
}


test_bad_input = closing.refusals(BAD)


test_no_claim_is_refuted_and_every_control_is = closing.claims(checks.CHECKS)
