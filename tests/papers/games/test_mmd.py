"""MMD: reference values, identities, accounting, the slow reference, every claim and every control."""

import math

import closing
import numpy as np
import pytest

from algorithms.games import mmd
from algorithms.games.mmd import Params, Plays
from figures.games import mmd as picture
from mdpkit.access import Episodes, Exact
from mdpkit.instances.games import inspection_game, matching_pennies
from mdpkit.measure.exploitability import duality_gap
from mdpkit.models.games import MarkovGame
from mdpkit.octets import normalised
from mdpkit.solve.regularised_game import solve
from theory_checks.games import _mmd_plays as plays
from theory_checks.games import mmd as checks

pytestmark = pytest.mark.xdist_group("mmd")

EXACT = 1e-12
ROUND = 1e-9
GAME = MarkovGame.matrix(checks.REFERENCE)
START = (np.array([[1, 2, 3]]) / 6, np.array([[3, 2, 1]]) / 6)
EVEN = (np.full(3, 1 / 3), np.full(3, 1 / 3))
TWO = MarkovGame.matrix(np.eye(2), np.eye(2))


def rng(seed=0):
    return np.random.default_rng(seed)


def close(a, b, tolerance=EXACT):
    np.testing.assert_allclose(a, b, rtol=0, atol=tolerance)


def followed(params):
    """D(z*, z_t) on the reference game."""
    log_x, log_y = (z[:, 0] for z in checks.paths(mmd.run(Exact(GAME), params, rng())))
    return checks.distances(checks.REFERENCE, params, log_x, log_y, EVEN)[0]


def test_reference_values_of_the_matrix_game():
    star = solve(checks.REFERENCE, 0.5)
    close(star.x, (0.31991343418036977, 0.3128341830965356, 0.36725238272309463))
    close(star.y, (0.3600626698912052, 0.23275014224549717, 0.40718718786329755))
    assert mmd.theory(0.5, 100, 2.0) == Params(0.125, 0.5, 100)
    D = followed(Params(0.125, 0.5, 100, start=START))
    close(D[[0, 1, 10, 50, 100]], (0.23733963542704495, 0.21312410927600106, 0.07904410870271875,
                                   0.0008403928195065743, 2.8580181759896e-06))


def test_reference_values_of_a_step_too_long():
    close(followed(Params(0.0125, 0.05, 2000, start=START))[[0, 2000]], (0.2058240028, 0.0200823692), 1e-10)
    close(followed(Params(1.0, 0.05, 2000, start=START))[2000], 4.14, 0.005)
    log_x, log_y = (z[:, 0] for z in checks.paths(mmd.run(Exact(GAME), Params(0.1, 0.0, 2000, start=START), rng())))
    far = (checks.divergence(np.log([1 / 4, 1 / 3, 5 / 12]), log_x)
           + checks.divergence(np.log([1 / 3, 1 / 4, 5 / 12]), log_y))
    assert (np.diff(far) > 0).all()                           # without alpha: away from the Nash equilibrium


def test_reference_values_of_common_payoffs():
    wanted = {0.5: 0.488515401168, 1: 0.494759919146, 2: 0.499996266593, 4: 0.481036645689, 8: 0.356832769896,
              16: 0.108600252534, 50: 0.000136181241}
    for eta, u in wanted.items():
        x, y = mmd.run(Exact(TWO), Params(eta, 0.0, 1, start=([[0.6, 0.4]], [[0.4, 0.6]])), rng()).output
        close((x * y).sum(), u)
    game = plays.signals(rng(3).random((2, 2, 3, 3)))
    close(plays.value(game, np.full(24, 1 / 3)), 0.477828540945)
    close(plays.value(game, mmd.run_tree(Exact(game), Params(1.0, 0.0, 1), rng()).output), 0.521060436574)


def test_reference_values_of_kuhn_poker():
    game, even = plays.kuhn(), np.full(24, 0.5)
    close(plays.value(game, even), 0.125)
    close(plays.exploitability(game, even), 0.916666666667)
    trace = mmd.run_tree(Exact(game), Params(0.05, 0.0, 6000, every=1000), rng()).trace
    close([plays.exploitability(game, trace.policies[k]) for k in (1, 5)], (0.157178, 0.243718), 5e-7)
    t = np.arange(1.0, 5001)
    ends = mmd.run_tree(Exact(game), Params(0.5 / np.sqrt(t), 1 / np.sqrt(t), 5000, every=5000), rng()).output
    close(plays.value(game, ends), -1 / 18, 1e-3)


def test_identities_on_numbers():
    """The equilibrium stays; L may be sharper; rows and columns that are added move nothing; reaches sum to one."""
    star = solve(checks.REFERENCE, 0.5)
    x, y = mmd.run(Exact(GAME), Params(0.125, 0.5, 50, start=(star.x[None], star.y[None])), rng()).output
    close(x[0], star.x)
    close(y[0], star.y)
    A = rng(1).uniform(-1, 1, (4, 3))
    assert mmd.curvature(A) <= np.abs(A).max()
    close(mmd.curvature(A + rng(2).random((4, 1)) + rng(3).random(3)), mmd.curvature(A))
    close(mmd.curvature(np.array([[1.0, -1.0], [-1.0, 1.0]])), 1.0)
    assert mmd.signalling(1.0, 2.0) > 0 > mmd.signalling(1.0, 2.2)
    close(mmd.improvement(1.0, 4.0), 0.0)
    _, reach = plays.action_values(plays.kuhn(), np.full(24, 0.5))
    close(reach.reshape(2, 3, 2, 2)[0, :, 0], 1 / 3)
    close(reach.reshape(2, 3, 2, 2)[1].sum((0, 1))[0], 1.0)
    close(duality_gap(checks.REFERENCE, [1 / 4, 1 / 3, 5 / 12], [1 / 3, 1 / 4, 5 / 12]), 0.0)


def softmax(logits):
    top, total = max(logits), 0.0
    for v in logits:
        total += math.exp(v - top)
    return [v - (top + math.log(total)) for v in logits]


def slow(A, B, params, *, turns=False, root=True, sign=1.0):
    """Lines 1 to 5 in plain Python for one game, B' (m, n)."""
    logs = [np.log(z[0]) for z in (*params.start, *params.magnet)]
    x, y, rho_x, rho_y = (list(z) for z in logs)
    pull = params.eta * params.alpha
    keep, seen = 1.0 / (1.0 + pull), []

    def values(M, law):
        q = [0.0] * len(M)
        for j, v in enumerate(law):
            for i in range(len(M)):
                q[i] += M[i, j] * math.exp(v)
        return q

    def step(law, q, rho):
        weight = keep * pull if root else pull
        return softmax([keep * law[i] + weight * rho[i] + keep * params.eta * q[i] for i in range(len(law))])

    for t in range(params.T):
        seen.append((x, y))
        if params.K and t and t % params.K == 0:
            rho_x, rho_y = x, y
        new = step(x, values(A, y), rho_x)
        y = step(y, [sign * v for v in values(B, new if turns else x)], rho_y)
        x = new
    return np.array([z for z, _ in seen] + [x]), np.array([z for _, z in seen] + [y])


GIVEN = {"start": [normalised(rng(5).integers(1, 9, (2, k))) for k in (3, 4)],
         "magnet": [normalised(rng(6).integers(1, 9, (2, k))) for k in (3, 4)]}
A = rng(7).uniform(-1, 1, (2, 3, 4))
MUTANTS = {"in turn": {"turns": True}, "no root": {"root": False}, "both maximise": {"sign": -1.0}}


def one(s, K):
    return Params(0.3, 0.7, 12, K=K, **{k: [z[s: s + 1] for z in v] for k, v in GIVEN.items()})


@pytest.mark.parametrize("K", [0, 5])
def test_the_kernel_agrees_with_the_pseudo_code_bit_for_bit(K):
    log_x, log_y = checks.paths(mmd.run(Exact(checks.stack(A)), Params(0.3, 0.7, 12, K=K, **GIVEN), rng()))
    for s in range(2):
        x, y = slow(A[s], -A[s].T, one(s, K))
        np.testing.assert_array_equal(log_x[:-1, s], x[:-1])
        np.testing.assert_array_equal(log_y[:-1, s], y[:-1])
        close(log_x[-1, s], x[-1])                            # the last is stored as a law


@pytest.mark.parametrize("name", MUTANTS)
def test_each_mutant_differs_from_the_kernel(name):
    x, y = mmd.run(Exact(checks.stack(A)), Params(0.3, 0.7, 12, **GIVEN), rng()).output
    wrong = slow(A[0], -A[0].T, one(0, 0), **MUTANTS[name])
    assert max(np.abs(np.exp(wrong[0][-1]) - x[0]).max(), np.abs(np.exp(wrong[1][-1]) - y[0]).max()) > ROUND


def test_plays_of_one_move_are_the_matrix_game():
    n, m = 3, 4
    moves = np.array([(i, n + j) for i in range(n) for j in range(m)])
    game = Plays(np.ones(12), A[0].ravel(), moves, np.array([0, n, n + m]), np.array([1.0, -1.0]))
    start, magnet = (np.concatenate([z[0] for z in GIVEN[k]]) for k in ("start", "magnet"))
    tree = mmd.run_tree(Exact(game), Params(0.3, 0.7, 12, start=start, magnet=magnet), rng()).output
    x, y = mmd.run(Exact(checks.stack(A)), Params(0.3, 0.7, 12, **GIVEN), rng()).output
    close(tree, np.concatenate([x[0], y[0]]))


def test_where_nothing_is_reached_the_policy_stays():
    """A card of chance 0: player 1 is never asked with it, player 2 still is with his own."""
    game = plays.signals(rng(3).random((2, 2, 2, 2)))
    game = Plays(np.where(game.moves[:, 0] < 2, 0.0, 0.5), game.payoff, game.moves, game.first, game.side)
    start = np.tile([0.25, 0.75], 6)
    out = mmd.run_tree(Exact(game), Params(1.0, 0.0, 3, start=start), rng()).output
    close(out[:2], start[:2])
    assert (np.abs(out[2:] - start[2:]) > 1e-3).all()
    close(mmd.search(game, np.log(start), 0, Params(1.0, 0.0, 1), rng()), np.log(start[:2]))


def test_every_step_and_rollout_is_counted():
    result = mmd.run(Exact(GAME), Params(0.1, 0.5, 30, every=3), rng())
    assert result.samples == {} and len(result.trace) == 10 and result.trace.info["log_y"].shape == (10, 1, 3)
    game, used = plays.kuhn(), rng(1)
    mmd.search(game, np.full(24, np.log(0.5)), 3, Params(0.1, 0.5, 1), used, n=50)
    fresh = rng(1)
    fresh.random(2 * 50)                                       # n a rollout and action
    assert used.random() == fresh.random()
    sure = Plays(game.chance, np.ones(30), game.moves, game.first, game.side)
    close(mmd.rollouts(sure, np.full(24, np.log(0.5)), 8, 7, rng()), -1.0)


BAD = {
    "a model": (lambda: mmd.run(GAME, Params(0.1, 0.5, 3), rng()), "access must be a Exact"),
    "access": (lambda: mmd.run(Episodes(GAME, rng()), Params(0.1, 0.5, 3), rng()), "access must be a Exact"),
    "steps": (lambda: mmd.run(Exact(inspection_game(3, 1)), Params(0.1, 0.5, 3), rng()), "access.model must be a game"),
    "plays": (lambda: mmd.run_tree(Exact(GAME), Params(0.1, 0.5, 3), rng()), "access.model must be a Plays"),
    "eta": (lambda: mmd.run(Exact(GAME), Params(0.0, 0.5, 3), rng()), "params must be such that eta > 0"),
    "etas": (lambda: mmd.run(Exact(GAME), Params([0.1, 0.1], 0.5, 3), rng()), "params.eta"),
    "T": (lambda: mmd.run(Exact(GAME), Params(0.1, 0.5, 0), rng()), "params.T must be at least 1"),
    "K": (lambda: mmd.run(Exact(GAME), Params(0.1, 0.5, 3, K=-1), rng()), "params.K must be"),
    "every": (lambda: mmd.run(Exact(GAME), Params(0.1, 0.5, 3, every=2), rng()), "params.every must be a divisor"),
    "start": (lambda: mmd.run(Exact(matching_pennies()), Params(0.1, 0.5, 3, start=([[1.0, 0]], [[0.5, 0.5]])), rng()),
              r"params.start\[0\] must be positive"),
    "generator": (lambda: mmd.run(Exact(GAME), Params(0.1, 0.5, 3), 3), "rng must be"),
    "alpha": (lambda: mmd.theory(0.0, 3), r"alpha must be in \(0"),
    "n": (lambda: mmd.rollouts(plays.kuhn(), np.zeros(24), 0, 0, rng()), "n must be at least 1"),
}


test_bad_input = closing.refusals(BAD)


def test_the_figure_draws_what_it_computes():
    from matplotlib.figure import Figure

    data, figure = picture.compute(), Figure()
    picture.draw(data, figure, {"C1": "SUPPORTED"})
    assert len(figure.axes) == 3
    close(data["D 0.5"][1], 0.21312410927600106)
    for alpha in picture.ALPHAS:
        assert (data[f"D {alpha:g}"] <= data[f"rate {alpha:g}"] + EXACT).all()
    close(data["still"][-1], 0.134392, 1e-6)
    assert data["moving"][-1] < 1e-8 and (data["bound"] <= data["pair"] + EXACT).all()


test_no_claim_is_refuted_and_every_control_is = closing.claims(checks.CHECKS)


def test_the_factor_is_held_to_a_thousand_games():
    assert len(checks.BLOCKS) * checks.BLOCK >= 1000
