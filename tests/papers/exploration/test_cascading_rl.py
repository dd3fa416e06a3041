"""Cascading RL: reference values, identities on numbers, accounting, the slow reference, every claim and control."""

import math

import closing
import numpy as np
import pytest

from algorithms.exploration import cascading_rl
from algorithms.exploration.cascading_rl import Params
from figures.exploration import cascading_rl as picture
from mdpkit.access import Episodes
from mdpkit.concentration import cascading_click, cascading_log, cascading_value
from mdpkit.errors import AccessDenied
from mdpkit.instances.formula import stationary_episodic
from mdpkit.measure.values import optimal_value
from mdpkit.models.cascading import CascadingMDP, all_lists, list_value, over_lists
from mdpkit.solve.episodic import solve
from mdpkit.worlds.cascading import start, step
from theory_checks.exploration import _cascading_rl_twins as twins
from theory_checks.exploration import cascading_rl as checks

pytestmark = pytest.mark.xdist_group("cascading-rl")

EXACT = 1e-12
REFERENCE = checks.formula(*checks.REFERENCE)


def rng(seed=0):
    return np.random.default_rng(seed)


def access(model=REFERENCE, seed=0, **more):
    return Episodes(model, rng(seed), grant=("r",), **more)


def test_reference_values():
    plain, lists = over_lists(REFERENCE)
    np.testing.assert_allclose(optimal_value(plain), (
        (1.605777973410, 1.466068186530, 1.494210356168), (1.100428088727, 0.959373472644, 0.989090837195),
        (0.577685950413, 0.452892561983, 0.498347107438)), rtol=0, atol=6e-13)
    np.testing.assert_array_equal(lists[solve(plain).policy], [[[1, 3], [3, 0], [1, 2]]] * 3)
    assert cascading_log(32_000, 3, 3, 4, 0.1) == pytest.approx(math.log(14 * 32_000 * 3 * 3 * 5 * 10), rel=EXACT)


def test_the_oracle_solves_the_reference_instance():
    V = np.zeros(3)
    for h in (2, 1, 0):
        w = REFERENCE.r + np.einsum("sct,t->sc", REFERENCE.P, V)
        found = [cascading_rl.oracle(REFERENCE.q[s], w[s], 2) for s in range(3)]
        V = np.array([value for value, _, _ in found])
        assert [items.tolist() for _, items, _ in found] == [[1, 3], [3, 0], [1, 2]]
        assert optimal_value(over_lists(REFERENCE)[0])[h] == pytest.approx(V, rel=EXACT)


def test_the_oracle_on_numbers():
    value, items, _ = cascading_rl.oracle(np.array([0.3]), np.array([0.1, 1.0]), 1)
    assert (round(value, 12), items.tolist()) == (0.73, [0])
    assert round(cascading_rl.oracle(np.array([0.6]), np.array([0.1, 1.0]), 1)[0], 12) == 0.46
    generator = rng(4)
    for _ in range(60):
        N = int(generator.integers(1, 6))
        m, u, w = int(generator.integers(1, min(N, 4) + 1)), generator.random(N), generator.random(N + 1)
        value, items, _ = cascading_rl.oracle(u, w, m)
        assert value == pytest.approx(max(list_value(x[x >= 0], u, w) for x in all_lists(N, m)), rel=EXACT)
        assert value == pytest.approx(list_value(items, u, w), rel=EXACT)
    assert cascading_rl.oracle(np.full(12, 0.5), np.append(np.arange(1.0, 13), 0.0), 4)[2] == 48
    assert len(all_lists(12, 4)) == 13_344
    assert cascading_rl.oracle(np.zeros(3), np.array([1.0, 1.0, 1.0, 0.0]), 2)[1].tolist() == [0, 1]


def best(u, forced, w, m):
    """Lines 10 to 13."""
    good = sorted((a for a in range(len(u)) if w[a] > w[-1]), key=lambda a: -w[a])
    if not good:
        values = [forced[a] * w[a] + (1.0 - forced[a]) * w[-1] for a in range(len(u))]
        return max(values), (int(np.argmax(values)),)
    if len(good) <= m:
        return list_value(np.array(good), u, w), tuple(good)
    return _taken(good, m, u, w)


def _taken(good, k, u, w):
    """Line 13 by recursion, without a table: the first item is taken or not, and taken on ties."""
    if not good or k == 0:
        return w[-1], ()
    (skipped, others), (rest, more) = _taken(good[1:], k, u, w), _taken(good[1:], k - 1, u, w)
    taken = u[good[0]] * w[good[0]] + (1.0 - u[good[0]]) * rest
    return (taken, (good[0], *more)) if taken >= skipped else (skipped, others)


def slow(model, params, seed, mended=False, *, behind=False, steady=True, own=True, stop=None):
    """The pseudo-code: every look and click in a list, every mean taken anew."""
    S, N, H, m, world = model.S, model.N, model.H, model.m, access(model, seed)
    L = cascading_log(params.K, H, S, N, params.delta)
    looks, picks, out = [[[] for _ in range(N)] for _ in range(S)], [[[] for _ in range(N + 1)] for _ in range(S)], []
    for k in range(params.K + (stop is not None)):
        qup, qlow = np.ones((S, N)), np.zeros((S, N))
        for s, a in np.ndindex(S, N):
            if looks[s][a]:
                n = float(len(looks[s][a]))
                q = sum(looks[s][a]) / n
                b = params.c * cascading_click(n, q, L)
                qup[s, a], qlow[s, a] = min(q + b, 1.0), max(q - b, 0.0)
        up, low, policy = np.zeros((H + 1, S)), np.zeros((H + 1, S)), np.full((H, S, m), -1)
        for h in range(H - 1, -1, -1):
            for s in range(S):
                w = np.array([_weights(picks[s][a], model.r[s, a], up[h + 1], low[h + 1], H - 1.0 - h, H, L, params.c,
                                       steady) for a in range(N + 1)]).T
                value, items = best(qup[s], qlow[s] if mended else qup[s], w[0], m)
                policy[h, s, :len(items)] = items
                up[h, s], low[h, s] = min(value, H - h), w[1, N]
                for a in reversed(items):
                    low[h, s] = qlow[s, a] * w[1, a] + (1.0 - (qup if own else qlow)[s, a]) * low[h, s]
        out.append((policy, up, low))
        if stop is not None and (k == params.K or up[0, model.s_1] - low[0, model.s_1] <= stop):
            return k, *out[-1]
        s = world.call(start)
        for h in range(H):
            looked, c, _, t = world.call(step, policy[h, s])
            for a in policy[h, s][:m if behind else looked]:
                if a >= 0:
                    looks[s][a].append(float(a == c))
            picks[s][c].append(t)
            s = t
    return tuple(np.array(x) for x in zip(*out))


def _weights(after, r, up, low, left, H, L, c, steady):
    n = float(len(after))
    if n == 0 or left == 0:
        return r + left, r + 0.0
    P = [sum(float(t == y) for y in after) * (1.0 / n) for t in range(len(up))]
    mean, floor, spread, variance = 0.0, 0.0, 0.0, 0.0
    for t, p in enumerate(P):
        mean, floor, spread = mean + p * up[t], floor + p * low[t], spread + p * ((up[t] - low[t]) * (up[t] - low[t]))
    for t, p in enumerate(P):
        variance += p * ((up[t] - mean) * (up[t] - mean))
    b = c * cascading_value(n, variance, spread if steady else 0.0, float(H), L)
    return r + min(mean + b, left), r + max(floor - b, 0.0)


POOR = checks.poor_items([[0.4, 0.6], [0.5, 0.5], [1.0, 1.0]])
ONE = checks.formula(2, 3, 2, 3)


@pytest.mark.parametrize("mended", [False, True])
@pytest.mark.parametrize("c", [0.01, 0.1, 1.0])
def test_the_kernel_agrees_with_the_slow_reference_bit_for_bit(c, mended):
    for model, K in ((REFERENCE, 60), (POOR, 120), (ONE, 40)):
        params = Params(K, 0.3, c, keep=True)
        trace = (cascading_rl.run_mended if mended else cascading_rl.run)(access(model, 7), params, rng()).trace
        policy, up, low = slow(model, params, 7, mended)
        np.testing.assert_array_equal(trace.policies[trace.index], policy)
        np.testing.assert_array_equal(trace.info["up"], up)
        np.testing.assert_array_equal(trace.info["low"], low)


@pytest.mark.parametrize("eps", [0.3, 1e-3])
def test_stopping_agrees_with_the_slow_reference_bit_for_bit(eps):
    model = checks.formula(2, 2, 2, 1)
    params = Params(150, 0.3, 0.01, eps)
    out = cascading_rl.run_bpi(access(model, 3), params, rng()).output
    k, policy, up, low = slow(model, params, 3, stop=eps)
    assert (out.episodes, out.stopped) == (k, eps == 0.3) and 0 < k <= 150
    for mine, theirs in zip((out.policy, out.up, out.low), (policy, up, low)):
        np.testing.assert_array_equal(mine, theirs)


MUTANTS = {
    "counts items behind the click as looked at": {"behind": True},
    "leaves out the spread of the bounds": {"steady": False},
    "takes qlow for the survival below": {"own": False},
}


@pytest.mark.parametrize("name", MUTANTS)
def test_each_mutant_differs_from_the_kernel(name):
    params = Params(60, 0.3, 0.01, keep=True)
    trace = cascading_rl.run(access(seed=7), params, rng()).trace
    _, up, low = slow(REFERENCE, params, 7, **MUTANTS[name])
    assert (up != trace.info["up"]).any() or (low != trace.info["low"]).any()


def test_the_mend_matters_where_an_item_is_forced_only():
    params = Params(800, 0.3, 0.05, keep=True)
    for model, differs in ((POOR, True), (REFERENCE, False)):
        up = [run(access(model, 1), params, rng()).trace.info["up"] for run in (cascading_rl.run,
                                                                               cascading_rl.run_mended)]
        assert (up[0] != up[1]).any() == differs


@pytest.mark.parametrize("run", [cascading_rl.run, cascading_rl.run_mended])
def test_every_look_click_and_move_is_counted(run):
    door = access(seed=5)
    counts = run(door, Params(70, 0.1, 0.05), rng()).output
    assert counts.picks.sum() == 210 and counts.looks.sum() > counts.clicks.sum()
    np.testing.assert_array_equal(counts.moves.sum(-1), counts.picks)
    np.testing.assert_array_equal(counts.clicks, counts.picks[:, :-1])
    assert door.samples == {"episodes": 70, "steps": 210}
    door = access(seed=5)
    out = cascading_rl.run_bpi(door, Params(40, 0.1, 0.05, 1e-6), rng())
    assert out.samples == {"episodes": 40, "steps": 120} and not out.output.stopped


@pytest.mark.parametrize("chunk", [1, 7])
def test_the_size_of_a_chunk_changes_no_bit(chunk):
    params = Params(60, 0.1, 0.01, keep=True)
    whole, parts = (cascading_rl.run(access(seed=5, chunk=n), params, rng()).trace for n in (None, chunk))
    np.testing.assert_array_equal(whole.info["low"], parts.info["low"])


def test_bounds_meet_in_the_end():
    """One step: after 20000 episodes at c = 1 both bounds are within 2 (4 sqrt(L/(4n)) + 10 L/n) of V*."""
    model, K = checks.formula(2, 3, 1, 2), 20_000
    trace = cascading_rl.run(access(model, 1), Params(K, 0.1, keep=True), rng()).trace
    V, L, n = optimal_value(over_lists(model)[0])[0, 0], cascading_log(K, 1, 2, 3, 0.1), K / 8
    up, low = (trace.info[name][-1, 0, 0] for name in ("up", "low"))
    assert low < V < up < low + 2 * (4 * math.sqrt(L / (4 * n)) + 10 * L / n)


def test_twins_play_lists():
    for twin in (twins.exploring, twins.still):
        trace = twin(access(seed=2), Params(50, 0.1, 0.1), rng()).trace
        assert trace.policies.min() >= -1 and trace.policies.max() <= 3


TALL = CascadingMDP(REFERENCE.q, 2 * REFERENCE.r, REFERENCE.P, 2, 3)
PAID = CascadingMDP(REFERENCE.q, np.full((3, 5), 0.5), REFERENCE.P, 2, 3)
PARAMS = cascading_rl.theory(8, 0.1)
BAD = {
    "no access": (lambda: cascading_rl.run(REFERENCE, PARAMS, rng()), "access must be a Episodes"),
    "no lists": (lambda: cascading_rl.run(access(stationary_episodic(2, 2, 2)), PARAMS, rng()), AccessDenied,
                 "known.N"),
    "no rewards": (lambda: cascading_rl.run(Episodes(REFERENCE, rng()), PARAMS, rng()), "known.r"),
    "tall": (lambda: cascading_rl.run(access(TALL), PARAMS, rng()), "access.known.r"),
    "paid for nothing": (lambda: cascading_rl.run(access(PAID), PARAMS, rng()), "N"),
    "no params": (lambda: cascading_rl.run(access(), 8, rng()), "params must be a Params"),
    "no generator": (lambda: cascading_rl.run(access(), PARAMS, 3), "rng must be"),
    "no generator to stop": (lambda: cascading_rl.run_bpi(access(), PARAMS, 3), "rng must be"),
    "c": (lambda: cascading_rl.run(access(), Params(8, 0.1, -1.0), rng()), "params.c must be"),
    "eps": (lambda: cascading_rl.run_bpi(access(), PARAMS, rng()), "params.eps must be"),
    "K": (lambda: cascading_rl.theory(0, 0.1), "K must be at least 1"),
    "delta": (lambda: cascading_rl.theory(8, 1.0), "delta must be in"),
    "long list": (lambda: cascading_rl.oracle(np.ones(2), np.ones(3), 3), "m must be at least 1 and at most 2"),
    "weights": (lambda: cascading_rl.oracle(np.ones(2), np.ones(2), 1), "w must be of shape"),
}


test_bad_input = closing.refusals(BAD)


def test_the_figure_draws_what_it_computes():
    from matplotlib.figure import Figure

    data, figure = picture.compute(None, K=300, runs=2), Figure()
    picture.draw(data, figure, {"C4": "SUPPORTED"})
    assert all((np.diff(data[name], axis=-1) >= 0).all() for name in data if name.startswith("run"))
    assert len(figure.axes) == 2 and (data["cells"] <= 4 * data["N"]).all()


test_no_claim_is_refuted_and_every_control_is = closing.claims(checks.CHECKS, refuted=("C2-always", "C3-forced"))
