"""SQIRL: reference values, identities on numbers, accounting, the slow reference, every claim and every control."""

import importlib.util
import itertools
import math

import closing
import numpy as np
import pytest

from algorithms.planning import sqirl
from algorithms.planning.sqirl import Params
from figures.planning import sqirl as picture
from mdpkit.access import Episodes, Exact
from mdpkit.instances.garnet import random_episodic
from mdpkit.kernels.draw import cumulative
from mdpkit.measure.structure import lookaheads
from mdpkit.measure.values import action_value, optimal_action_value, optimal_start_value, start_value
from mdpkit.models.convert import one_hot
from mdpkit.models.tabular import EpisodicMDP
from mdpkit.rational import exact
from theory_checks.planning import _sqirl_twins as twins
from theory_checks.planning import sqirl as checks

pytestmark = pytest.mark.xdist_group("sqirl")
GYM = importlib.util.find_spec("gymnasium") is not None
needs_gymnasium = pytest.mark.skipif(not GYM, reason="gymnasium is not installed")

EXACT = 1e-12


def rng(seed=0):
    return np.random.default_rng(seed)


def close(a, b, tolerance=EXACT):
    np.testing.assert_allclose(a, b, rtol=0, atol=tolerance)


def test_reference_values_of_the_trap():
    m = checks.trap()
    one, two = lookaheads(m)
    assert (one.solvable, two.solvable) == (False, True)
    close((one.gap, two.gap, two.horizon), (0.08, 0.32, 5.2877123795), 1e-10)        # given in eleven digits
    close(optimal_start_value(m), 0.96)
    Q = sqirl.iterates(m.P, m.r, np.full(m.r.shape, 0.5))
    close(optimal_start_value(m) - sqirl.lost(m.P, m.r, m.rho, Q[0]), 0.64)
    assert sqirl.minimal_k(m.P, m.r, m.rho, 1e-10) == 2              # the tolerance of the authors' code
    less = checks.trap(0.4)
    close(action_value(less, np.full(less.r.shape, 0.5))[0, 0], (0.49, 0.41))
    assert lookaheads(less)[0].solvable
    close(sqirl.needed(2, 0.32, 2, 3, 2, 0.05), 78.125 * math.log(960))


def test_reference_values_of_generated_models():
    big, small = checks.generated(4, 3, 5, 0), checks.generated(4, 3, 4, 1)
    close(optimal_start_value(big), 0.8854236153383562)
    close(optimal_start_value(small), 0.8806247467543029)
    first = sqirl.iterates(big.P, big.r, np.full(big.r.shape, 1 / 3))[0, 0, 0]
    close(first, (0.43196007, 0.50578507, 0.59196007), 1e-8)                         # given in eight digits
    for m, gaps in ((big, (0.03927813574532535, 0.04168838156199417, 0.04186888325733751, 0.041748969409415526,
                           0.04172637668368396)),
                    (small, (0.06184388045609496, 0.06404926303428445, 0.06303784271239044, 0.06303784271239044))):
        found = lookaheads(m)
        close([x.gap for x in found], gaps)
        assert all(x.solvable for x in found)
    assert math.ceil(sqirl.needed(1, 0.06184388045609496, 4, 4, 3, 0.05)) == 3954


def test_reference_values_of_the_needle():
    for (A, L, m), want in (((2, 4, 20), 0.6726284520), ((2, 4, 60), 0.9788651518), ((3, 3, 40), 0.7719989706)):
        close(sqirl.needle_probability(A, L, m), want, 1e-10)                        # given in ten digits
    for A, first, last, top in ((2, 2.115, 2.003, 10), (3, 3.061, 3.000, 10)):
        needed = [math.log(2) * A**L for L in (3, 4, top - 1, top)]                  # to leading order
        assert needed[1] / needed[0] == pytest.approx(first, rel=0.1)
        assert needed[3] / needed[2] == pytest.approx(last, rel=0.01)


def test_iterates_agree_with_the_house_and_reach_the_optimum():
    m = random_episodic(3, 2, 4, rng(1))
    Q = sqirl.iterates(m.P, m.r, np.full(m.r.shape, 0.5))
    close(Q[0], action_value(m, np.full(m.r.shape, 0.5)))
    close(Q[-1], optimal_action_value(m))
    found = lookaheads(m)
    least = next(x.k for x in found if x.solvable)
    assert sqirl.minimal_k(exact(m.P), exact(m.r), exact(m.rho)) == least


def slow(model, params, seed, world_seed, *, best=max, drop=0, tail=True):
    """Algorithm 1 from its pseudo-code: episodes as lists, every mean taken anew in the order of the kernel's sums."""
    H, S, A = model.r.shape
    own, world = rng(seed), rng(world_seed)
    ptr, col, val = model.rows
    cum, begin = cumulative(ptr, val), np.cumsum(model.rho)

    def episodes(pi):
        batch = []
        for _ in range(params.m):
            s, rows = int(np.searchsorted(begin, world.random(), "right")), []
            for t in range(H):
                a = int(pi[t, s]) if t < len(pi) else int(own.random() * A)
                k = (t * S + s) * A + a
                R = model.r[t, s, a] if model.noise == "none" else float(world.random() < model.r[t, s, a])
                z = int(col[ptr[k] + np.searchsorted(cum[ptr[k]: ptr[k + 1]], world.random(), "right")])
                rows.append((s, a, R, z))
                s = z
            batch.append(rows)
        return batch

    pi = np.zeros((0, S), np.int64)
    for i in range(H):
        last = min(i + params.k - 1 - drop, H - 1)
        Q = {}
        batch = [] if params.fresh else episodes(pi)
        for j in range(last, i - 1, -1):
            batch = episodes(pi) if params.fresh else batch
            for s, a in itertools.product(range(S), range(A)):
                seen = [rows for rows in batch if rows[j][:2] == (s, a)]
                n = max(len(seen), 1)
                if j == last:
                    Q[j, s, a] = _in_order(_in_order(row[2] for row in rows[j:]) for rows in seen) / n
                else:
                    total = _in_order(rows[j][2] for rows in seen)
                    for z in range(S):
                        count = sum(1.0 for rows in seen if rows[j][3] == z)
                        total += count * best(Q[j + 1, z, b] for b in range(A)) if count else 0.0
                    Q[j, s, a] = total / n
        pi = np.vstack([pi, [[int(np.argmax([Q[i, s, a] for a in range(A)])) for s in range(S)]]])
    return pi


def _in_order(numbers):
    total = 0.0
    for x in numbers:
        total += x
    return total


@pytest.mark.parametrize(("k", "m", "fresh", "noise"), [(1, 9, False, "bernoulli"), (2, 12, False, "none"),
                                                        (2, 12, True, "bernoulli"), (3, 7, True, "none")])
def test_the_kernel_agrees_with_the_pseudo_code_bit_for_bit(k, m, fresh, noise):
    base = random_episodic(3, 2, 4, rng(k + m))
    model, params = EpisodicMDP(base.P, base.r, base.rho, noise), Params(k, m, fresh)
    for seed in range(6):
        out = sqirl.run(Episodes(model, rng(50 + seed)), params, rng(seed))
        np.testing.assert_array_equal(out.output, slow(model, params, seed, 50 + seed))


MUTANTS = {"averages over actions": {"best": lambda q: sum(q) / 2}, "one level less": {"drop": 1},
           "the worst action": {"best": min}}


@pytest.mark.parametrize("name", MUTANTS)
def test_each_mutant_differs_from_the_kernel(name):
    base = random_episodic(4, 2, 4, rng(2))
    params = Params(3, 12)
    differs = [(slow(base, params, s, 50 + s, **MUTANTS[name]) != sqirl.run(
        Episodes(base, rng(50 + s)), params, rng(s)).output).any() for s in range(6)]
    assert any(differs)


def test_every_episode_is_counted():
    m = checks.generated(4, 3, 4, 1)
    for params, batches in ((Params(1, 10), 4), (Params(3, 10), 4), (Params(3, 10, True), 3 + 3 + 2 + 1)):
        out = sqirl.run(Episodes(m, rng()), params, rng(1))
        assert out.samples == {"episodes": 10 * batches, "steps": 40 * batches}
        assert len(out.trace) == 4
        assert (out.trace.policies[out.trace.index[0]][1:] == 0).all()


def test_repeated_runs_are_runs():
    """The first of several is the single one; chunks of the crossing change no bit."""
    m, params = checks.generated(4, 3, 4, 1, "bernoulli"), Params(2, 30, True, True)
    one = sqirl.run(Episodes(m, rng(3)), params, rng(4)).output
    many = sqirl.repeated(Episodes(m, rng(3)), params, rng(4), 5)
    small = sqirl.repeated(Episodes(m, rng(3), chunk=3), params, rng(4), 5)
    np.testing.assert_array_equal(many[0], one)
    np.testing.assert_array_equal(many, small)
    assert len(np.unique(many, axis=0)) > 1
    assert (twins.idle(Episodes(m, rng()), params, rng(), 2) == 0).all()


def test_ties_go_to_the_lowest_action_or_anywhere():
    m = checks.needle(3, 2)
    assert (sqirl.repeated(Episodes(m, rng()), Params(1, 1), rng(1), 50)[:, :, 1] == 0).all()
    coins = sqirl.repeated(Episodes(m, rng()), Params(1, 1, False, True), rng(1), 200)[:, :, 1]
    assert set(np.unique(coins)) == {0, 1, 2}


def test_linear_with_one_hot_features_is_tabular():
    """Ridge 1e-8 moves a mean by 1e-8 of its size, far below the gaps of this model."""
    base = random_episodic(3, 2, 3, rng(5))
    m = EpisodicMDP(base.P, base.r / 3, base.rho)
    linear = sqirl.run_linear(Episodes(one_hot(m), rng(8)), Params(2, 200), rng(9))
    tabular = sqirl.run(Episodes(m, rng(8)), Params(2, 200), rng(9))
    np.testing.assert_array_equal(linear.output, tabular.output)
    assert linear.samples == tabular.samples
    assert start_value(m, linear.output) <= optimal_start_value(m) + EXACT


@needs_gymnasium
def test_the_lake_is_read_as_thirds():
    P, r, rho = checks.lake(True)
    close(checks.in_parts(P, 3).astype(float), P)
    assert (checks.in_parts(P, 3).sum(-1) == 1).all()
    m = EpisodicMDP.stationary(P, r, rho, 12)
    assert any(not x.solvable for x in lookaheads(m)[1:])            # ties that rounding broke


def test_the_figure_draws_what_it_computes(monkeypatch):
    from matplotlib.figure import Figure

    for name, value in (("RUNS", 4), ("POINTS", 4), ("SIZES", np.array([8, 128, 512])), ("STEPS", np.array([6, 8]))):
        monkeypatch.setattr(picture, name, value)
    data, figure = picture.compute(None), Figure()
    picture.draw(data, figure, {"C2": "SUPPORTED"})
    assert len(figure.axes) == 4
    assert data["k"].sum() == 300 and data["trap, $k=2$"][-1] == 1.0 and data["trap, $k=1$"][-1] == 0.0


SMALL = checks.trap()
BAD = {
    "a model": (lambda: sqirl.run(SMALL, Params(1, 2), rng()), "access must be a Episodes"),
    "exact": (lambda: sqirl.run(Exact(SMALL), Params(1, 2), rng()), "access must be a Episodes"),
    "k": (lambda: sqirl.theory(0, 5), "k must be at least 1"),
    "m": (lambda: sqirl.run(Episodes(SMALL, rng()), Params(1, 0), rng()), "params.m must be at least 1"),
    "no params": (lambda: sqirl.run(Episodes(SMALL, rng()), 2, rng()), "params must be a Params"),
    "no generator": (lambda: sqirl.run(Episodes(SMALL, rng()), Params(1, 2), 1), "rng must be"),
    "no features": (lambda: sqirl.run_linear(Episodes(SMALL, rng()), Params(1, 2), rng()), "known.phi"),
    "no runs": (lambda: sqirl.repeated(Episodes(SMALL, rng()), Params(1, 2), rng(), 0), "n must be at least 1"),
}


test_bad_input = closing.refusals(BAD)

ON_TABLES = ("C6", "C6-sampled")
test_no_claim_is_refuted_and_every_control_is = closing.claims(
    [c for c in checks.CHECKS if c.claim.id not in ON_TABLES])
test_no_claim_on_tables_is_refuted_and_every_control_is = needs_gymnasium(closing.claims(
    [c for c in checks.CHECKS if c.claim.id in ON_TABLES]))
