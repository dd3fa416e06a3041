"""StepMix: reference values, identities on numbers, accounting, the slow reference, every claim and every control."""

import math

import closing
import numpy as np
import pytest

from algorithms.exploration import stepmix
from algorithms.exploration.stepmix import Params
from figures.exploration import stepmix as picture
from mdpkit.access import Episodes, Generative
from mdpkit.concentration import bpi_ucbvi, bpi_ucbvi_log
from mdpkit.data import collect
from mdpkit.instances.formula import drifting
from mdpkit.instances.garnet import random_episodic
from mdpkit.measure.values import optimal_action_value, optimal_value, start_value
from mdpkit.models.tabular import EpisodicMDP
from mdpkit.worlds.markov import start, step
from theory_checks.exploration import _stepmix_twins as twins
from theory_checks.exploration import stepmix as checks

pytestmark = pytest.mark.xdist_group("stepmix")

EXACT = 1e-12
PRINTED = 6e-13
MODEL, BASE, VALUE = checks._opened(checks.REFERENCE)
GAMMA = 0.9 * VALUE


def rng(seed=0):
    return np.random.default_rng(seed)


def access(model=MODEL, seed=0, base=BASE, **more):
    return Episodes(model, rng(seed), grant=("r", "rho"), bounds={"baseline": base}, **more)


def test_reference_values():
    assert optimal_value(MODEL)[0, 0] == pytest.approx(2.218550106610, abs=PRINTED)
    np.testing.assert_allclose((VALUE, GAMMA), (1.858844746720, 1.672960272048), rtol=0, atol=PRINTED)
    worst = np.eye(3)[optimal_action_value(MODEL).argmin(-1)]
    values = [start_value(MODEL, stepmix.mixture(BASE, worst, h0, 0.0)) for h0 in (1, 2, 3)]
    values = [start_value(MODEL, stepmix.mixture(BASE, worst, 1, 1.0)), *values]
    assert values == pytest.approx([0.354473482557, 0.844281690992, 1.306781242515, 1.858844746720], abs=PRINTED)
    assert bpi_ucbvi_log(3, 3, 3, 0.1) == pytest.approx(math.log(810), rel=EXACT)


def test_mixtures_on_numbers():
    worst = np.eye(3)[optimal_action_value(MODEL).argmin(-1)]
    lcb = np.array([0.3, 0.8, 1.3, 1.8])
    pi = stepmix.safe_mixture(BASE, worst, lcb, 1.6)                 # h0 = 3, p = 0.4
    assert pi == pytest.approx(np.concatenate([BASE[:2], 0.6 * BASE[2:] + 0.4 * worst[2:]]), abs=EXACT)
    assert start_value(MODEL, pi) == pytest.approx(0.6 * 1.858844746720 + 0.4 * 1.306781242515, abs=2 * PRINTED)
    assert (stepmix.safe_mixture(BASE, worst, lcb, 0.2) == worst).all()
    assert (stepmix.safe_mixture(BASE, worst, lcb, 1.9) == BASE).all()
    assert (stepmix.safe_mixture(BASE, worst, lcb, 1.3) == stepmix.mixture(BASE, worst, 2, 0.0)).all()
    both = [start_value(MODEL, twins.all_steps(BASE, worst, 3, p)) for p in (0.0, 0.5, 1.0)]
    assert abs(both[1] - (both[0] + both[2]) / 2) > 1e-3             # mixing at all steps is not linear in p


def slow(model, base, params, seed, kind, *, own=True, spread=True, first=True, data=None):
    """The pseudo-code: all transitions in lists, every quantity taken anew."""
    (H, S, A), world, mine = model.r.shape, access(model, seed, base), rng(seed + 1)
    L, seen, out = bpi_ucbvi_log(S, A, H, params.delta), {}, []
    for row in range(0 if data is None else data.n):
        for h, (s, a, _, t) in enumerate(zip(*(x[row] for x in data.steps))):
            seen.setdefault((h, s, a), []).append(t)

    def back_up(h, U, W):
        Q = np.zeros((2, S, A))
        for s, a in np.ndindex(S, A):
            after = seen.get((h, s, a), [])
            Q[0, s, a] = H - h
            if after:
                n, up, low, variance = float(len(after)), 0.0, 0.0, 0.0
                P = np.bincount(after, minlength=S) * (1.0 / n)
                for t in range(S):
                    up, low = up + P[t] * U[t], low + P[t] * W[t]
                for t in range(S):
                    variance += P[t] * ((U[t] - up) * (U[t] - up))
                b = params.c * bpi_ucbvi(n, variance, float(H), float(S), L) + (up - low) / H * spread
                Q[:, s, a] = min(H - h, model.r[h, s, a] + up + b), max(0.0, model.r[h, s, a] + low - b)
        return Q

    for _ in range(params.K):
        best, UW = np.zeros((H, S), np.int64), np.zeros((H + 1, 2, S))
        for h in range(H - 1, -1, -1):
            Q = back_up(h, *UW[h + 1])
            best[h] = Q[0].argmax(-1)
            UW[h] = Q[:, np.arange(S), best[h]]

        def lower(h0, best=best, UW=UW):
            now = UW[h0]
            for h in range(h0 - 1, -1, -1):
                Q = back_up(h, *(now if own else (UW[h + 1][0], now[1])))
                after = np.zeros((2, S))
                for a in range(A):
                    after += base[h, :, a] * Q[:, :, a]
                now = after
            return sum(model.rho[s] * now[1, s] for s in range(S))

        lcb, greedy, p = np.full(H + 1, np.nan), np.eye(A)[best], 1.0
        lcb[0] = lower(0)
        if kind == stepmix.STEP:
            while lcb[~np.isnan(lcb)][-1] < params.gamma and np.isnan(lcb[-1]):
                lcb[np.isnan(lcb).argmax()] = lower(int(np.isnan(lcb).argmax()))
            pi = stepmix.safe_mixture(base, greedy, lcb if first else lcb[::-1], params.gamma)
            played = pi
        else:
            if kind == stepmix.EPISODE and lcb[0] < params.gamma:
                lcb[H] = lower(H)
                p = max((lcb[H] - params.gamma) / (lcb[H] - lcb[0]), 0.0) if lcb[H] > lcb[0] else 0.0
            pi = greedy
            played = base if kind == stepmix.EPISODE and mine.random() >= p else pi
        out.append((pi, lcb, best, p))
        s = world.call(start)
        for h in range(H):
            u, a, total = mine.random(), 0, played[h, s, 0]
            while u >= total and a < A - 1:
                a += 1
                total += played[h, s, a]
            _, t = world.call(step, a)
            seen.setdefault((h, s, a), []).append(t)
            s = t
    return tuple(np.array(x) for x in zip(*out))


ENTRIES = {"run": stepmix.STEP, "run_epsmix": stepmix.EPISODE, "run_free": stepmix.FREE}
CASES = ((MODEL, BASE, GAMMA, 70), (random_episodic(2, 2, 4, rng(1)), np.full((4, 2, 2), 0.5), 1.2, 60))


def played(entry, model, base, params, seed):
    trace = getattr(stepmix, entry)(access(model, seed, base), params, rng(seed + 1)).trace
    return trace.policies[trace.index], trace.info["lcb"], trace.info["best"], trace.info["p"]


@pytest.mark.parametrize("entry", ENTRIES)
@pytest.mark.parametrize("c", [0.0, 0.0005, 0.01])
def test_the_kernel_agrees_with_the_slow_reference_bit_for_bit(entry, c):
    for model, base, gamma, K in CASES:
        params = Params(K, 0.3, gamma, c)
        found, wanted = played(entry, model, base, params, 7), slow(model, base, params, 7, ENTRIES[entry])
        for mine, theirs in zip(found[:3 if entry == "run" else 4], wanted):
            np.testing.assert_array_equal(mine, theirs)


def test_a_learned_baseline_agrees_with_the_slow_reference_bit_for_bit():
    data = collect(MODEL, np.full((3, 3, 3), 1 / 3), 200, rng(2))
    params = Params(20, 0.3, 0.9, 0.002)
    out = stepmix.run_learned(Episodes(MODEL, rng(7), grant=("r", "rho")), data, params, rng(8))
    np.testing.assert_array_equal(out.output.base.sum(-1), 1.0)
    policies, lcb, best, _ = slow(MODEL, out.output.base, params, 7, stepmix.STEP, data=data)
    np.testing.assert_array_equal(out.trace.policies[out.trace.index], policies)
    np.testing.assert_array_equal(out.trace.info["lcb"], lcb)
    np.testing.assert_array_equal(out.trace.info["best"], best)


MUTANTS = {
    "uses U of pibar for every policy": {"own": False},
    "leaves out the spread of the bounds": {"spread": False},
    "looks for the last h0": {"first": False},
}


@pytest.mark.parametrize("name", MUTANTS)
def test_each_mutant_differs_from_the_kernel(name):
    model, base, gamma, _ = CASES[1]
    params = Params(60, 0.3, gamma, 0.0005)
    found, wrong = played("run", model, base, params, 7), slow(model, base, params, 7, stepmix.STEP, **MUTANTS[name])
    assert any((mine != theirs)[~np.isnan(mine)].any() for mine, theirs in zip(found, wrong))


def test_what_is_logged_is_the_mixture():
    trace = stepmix.run(access(seed=3), Params(900, 0.1, 1.2, 0.002), rng(4)).trace
    kinds = set()
    for i in range(900):
        h0, p, lcb, best = (trace.info[name][i] for name in ("h0", "p", "lcb", "best"))
        pi, greedy = trace.policies[trace.index[i]], np.eye(3)[best]
        np.testing.assert_array_equal(pi, stepmix.safe_mixture(BASE, greedy, lcb, 1.2))
        assert pi.sum(-1) == pytest.approx(1.0, abs=EXACT)
        assert np.isnan(lcb[min(h0, 3) + 1:]).all() and 0.0 <= p <= 1.0
        if 0 < h0 <= 3:
            assert (1 - p) * lcb[h0] + p * lcb[h0 - 1] == pytest.approx(1.2, abs=EXACT)
        kinds.add(int(h0))
    assert {0, 4} < kinds


@pytest.mark.parametrize("entry", [*ENTRIES, "run_learned"])
def test_every_step_is_counted(entry):
    data = (collect(MODEL, np.full((3, 3, 3), 1 / 3), 5, rng(2)),) if entry == "run_learned" else ()
    door = access(seed=5) if not data else Episodes(MODEL, rng(5), grant=("r", "rho"))
    out = getattr(stepmix, entry)(door, *data, Params(50, 0.1, 0.0, 0.01), rng())
    assert door.samples == out.samples == {"episodes": 50, "steps": 150} and len(out.trace.index) == 50


@pytest.mark.parametrize("chunk", [1, 7])
def test_the_size_of_a_chunk_changes_no_bit(chunk):
    whole, parts = (stepmix.run(access(seed=5, chunk=n), Params(90, 0.1, 0.8, 0.001), rng(3)).trace
                    for n in (None, chunk))
    np.testing.assert_array_equal(whole.info["lcb"], parts.info["lcb"])
    np.testing.assert_array_equal(whole.policies[whole.index], parts.policies[parts.index])


def test_bounds_close_in_on_the_truth():
    """One state: rewards are known, and after n visits each bound is off by the bonus alone, 14 beta/n."""
    model = EpisodicMDP(np.ones((1, 1, 2, 1)), [[[0.2, 0.9]]], [1.0])
    trace = stepmix.run_free(access(model, base=np.full((1, 1, 2), 0.5)), Params(500, 0.1, 0.1), rng()).trace
    n = 499 - int((trace.info["best"][:499] == 0).sum())
    assert trace.info["lcb"][-1, 0] == pytest.approx(0.9 - bpi_ucbvi(float(n), 0.0, 1.0, 1.0, math.log(60)), rel=EXACT)


TALL = EpisodicMDP(MODEL.P, 2 * MODEL.r, MODEL.rho)
PARAMS = stepmix.theory(8, 0.1, GAMMA)
DATA = collect(MODEL, BASE, 4, rng())
BARE = lambda: Episodes(MODEL, rng(), grant=("r", "rho"))
BAD = {
    "access": (lambda: stepmix.run(Generative(MODEL, rng()), PARAMS, rng()), "access must be a Episodes"),
    "no baseline": (lambda: stepmix.run(BARE(), PARAMS, rng()), "known.baseline"),
    "no policy": (lambda: stepmix.run(access(base=BASE * 2), PARAMS, rng()), "access.known.baseline"),
    "no rewards": (lambda: stepmix.run(Episodes(MODEL, rng(), bounds={"baseline": BASE}), PARAMS, rng()), "known.r"),
    "tall": (lambda: stepmix.run(access(TALL), PARAMS, rng()), "access.known.r"),
    "params": (lambda: stepmix.run(access(), 8, rng()), "params must be a Params"),
    "generator": (lambda: stepmix.run(access(), PARAMS, 3), "rng must be"),
    "c": (lambda: stepmix.run_epsmix(access(), Params(8, 0.1, 1.0, -1.0), rng()), "params.c must be"),
    "gamma": (lambda: stepmix.run(access(), Params(8, 0.1, -1.0), rng()), "params.gamma must be"),
    "no data": (lambda: stepmix.run_learned(BARE(), BASE, PARAMS, rng()), "data must be a Dataset"),
    "too little data": (lambda: stepmix.run_learned(BARE(), DATA, PARAMS, rng()), "params.gamma must be at most 0"),
    "other data": (lambda: stepmix.run_learned(BARE(), collect(drifting(3, 3, 2), np.full((2, 3, 3), 1 / 3), 4, rng()),
                                               PARAMS, rng()), "data must be of 3 steps"),
    "K": (lambda: stepmix.theory(0, 0.1, 1.0), "K must be at least 1"),
    "delta": (lambda: stepmix.theory(8, 0.0, 1.0), "delta must be in"),
    "theory": (lambda: stepmix.theory(8, 0.1, -1.0), "gamma must be in"),
}


test_bad_input = closing.refusals(BAD)


def test_the_figure_draws_what_it_computes():
    from matplotlib.figure import Figure

    data, figure = picture.compute(None, K=300, runs=2), Figure()
    picture.draw(data, figure, {"C2": "SUPPORTED"})
    assert len(figure.axes) == 2 and data["value StepMix"].min() > GAMMA - 1e-9    # the tolerance of the reference runs
    assert data["value no constraint"].min() < GAMMA


test_no_claim_is_refuted_and_every_control_is = closing.claims(checks.CHECKS)
