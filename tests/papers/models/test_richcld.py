"""RichCLD: reference values, identities on numbers, accounting, the slow reference, every claim and every control."""

from fractions import Fraction

import closing
import numpy as np
import pytest

from algorithms.models import richcld
from algorithms.models.richcld import Params
from mdpkit.access import Episodes, Generative
from mdpkit.errors import AccessDenied, MdpkitError
from mdpkit.kernels.choose import argmax_random
from mdpkit.models.convert import to_episodic
from mdpkit.models.tabular import EpisodicMDP
from mdpkit.rational import exact, fraction
from mdpkit.solve import episodic
from mdpkit.worlds.hidden import start, step
from theory_checks.models import richcld as checks

pytestmark = pytest.mark.xdist_group("richcld")

EXACT = 1e-12
ROUND = 1e-9
LABELS = np.random.default_rng(3).permutation(24)
MODEL, LATENT = checks.rich_walk(LABELS)
PHI = checks.codes(("5k", "identity", "7k+3"), LATENT)


def rng(seed=0):
    return np.random.default_rng(seed)


def opened(seed=1, phi=PHI, **more):
    return Episodes(MODEL, rng(seed), bounds={"decoders": phi, "L": 0.25} | more)


def test_reference_values():
    P = checks.walk(12, 4)
    assert max(np.abs(P[1:] - P[:-1]).sum(-1).max() / 2, 0.0) == 0.25
    tests = richcld.discriminators(checks.codes(checks.ORDERS), [2, 5, 8, 11])
    worst = [max(richcld.population_loss(P, f, code, 0.25) for f in tests) for code in checks.codes(checks.ORDERS)]
    np.testing.assert_allclose(worst, [0, 0, 31 / 384, 161 / 1920], rtol=0, atol=EXACT)
    assert worst[2:] == pytest.approx([0.080729166, 0.083854166], abs=1e-6)      # the digits recorded elsewhere
    odd, evens = np.arange(12) % 2 * 1.0, np.argsort(np.r_[0:12:2, 1:12:2])
    losses = [richcld.population_loss(checks.still(12), odd, code, 0.25) for code in (np.arange(12), evens)]
    assert losses == pytest.approx([0.140625, 5 / 192], abs=EXACT)
    assert richcld.population_loss(P, odd, np.arange(12), 0.25) <= EXACT


def test_the_fit_satisfies_its_optimality_conditions():
    """The multiplier of each step constraint is a cumulated gradient: zero inside, of one sign at either end."""
    for seed in range(200):
        g0 = rng(seed)
        K = int(g0.integers(1, 12))
        y, n, c = g0.normal(size=K), g0.integers(1, 9, K).astype(float), float(g0.choice([0.0, 0.1, 0.5, 2.0]))
        g = richcld.lipschitz_fit(y, n, c)
        push, steps = np.cumsum(2 * n * (g - y)), np.diff(g)
        assert (np.abs(steps) <= c + ROUND).all() and abs(push[-1]) <= ROUND * 100
        for z in range(K - 1):
            if abs(steps[z]) < c - ROUND:
                assert abs(push[z]) <= ROUND * 100              # sums of up to 12 gradients of size 60
            elif c > 0:
                assert push[z] * np.sign(steps[z]) >= -ROUND * 100      # the step would like to be longer


def test_the_population_objective_is_the_objective_on_the_law():
    P, phi = checks.walk(12, 4), checks.codes(checks.ORDERS)
    tests = richcld.discriminators(phi, [2, 5, 8, 11])
    losses = np.array([[richcld.population_loss(P, f, code, 0.25) for f in tests] for code in phi])
    out = richcld.bcrlc(P / 24, phi, tests, 0.25)
    np.testing.assert_allclose(out.losses, losses - losses.min(0), rtol=0, atol=EXACT)


def slow_objective(samples, phi, tests, L):
    """Line 2 from lists of (x, a, x'): the residuals summed one by one."""
    losses = np.zeros((len(phi), len(tests)))
    for d, code in enumerate(phi):
        for j, f in enumerate(tests):
            for a in (0, 1):
                cells = sorted({code[x] for x, b, _ in samples if b == a})
                groups = [[f[t] for x, b, t in samples if b == a and code[x] == z] for z in cells]
                if groups:
                    gaps = np.append(np.diff(cells), 0) * L * (f.max() - f.min())
                    g = np.zeros(len(cells))
                    means, sizes = np.array([np.mean(v) for v in groups]), np.array([float(len(v)) for v in groups])
                    richcld._fit(means, sizes, gaps, g)
                    losses[d, j] += sum((g[i] - v) ** 2 for i, group in enumerate(groups) for v in group)
    return (losses - losses.min(0)) / len(samples)


def test_counts_give_the_residuals_of_samples():
    P, phi = checks.walk(12, 4), checks.codes(checks.ORDERS)
    tests, g0 = richcld.discriminators(phi, [2, 5, 8]), rng(4)
    samples = [(x, a, int(g0.choice(12, p=P[x, a]))) for x, a in g0.integers(0, (12, 2), (40, 2))]
    moves = np.zeros((12, 2, 12))
    for x, a, t in samples:
        moves[x, a, t] += 1
    out = richcld.bcrlc(moves, phi, tests, 0.25)
    np.testing.assert_allclose(out.losses, slow_objective(samples, phi, tests, 0.25), rtol=0, atol=EXACT)
    assert out.decoder == out.losses.max(1).argmin()


def test_no_data_choose_the_first():
    out = richcld.bcrlc(np.zeros((12, 2, 12)), checks.codes(checks.ORDERS), np.eye(12), 0.25)
    assert out.decoder == 0 and (out.losses == 0).all()


def slow(params, phi, world_seed, seed, *, bonus=True, pooled=False, cut=True):
    """Lines 1 to 6 from their text: tuples in lists, every count anew, sums in the kernel's order."""
    access, own, H, data = opened(world_seed, phi), rng(seed), MODEL.H, []
    tests, policies, decoders, d = richcld.discriminators(phi), [], [], 0
    B = int(phi.max()) // params.width + 1
    for n in range(params.N):
        if n % params.refit == 0:
            moves = np.zeros((24, 2, 24))
            for _, x, a, _, t in data:
                moves[x, a, t] += 1
            d = richcld.bcrlc(moves, phi, tests, 0.25).decoder
        z = phi[d] // params.width
        Q, V = np.zeros((H, B, 2)), np.zeros(B)
        for h in reversed(range(H)):
            for b, a in np.ndindex(B, 2):
                known, count = 0.0, 0
                for x in np.flatnonzero(z == b):
                    rows = [(r, t) for k, y, c, r, t in data if (pooled or k == h) and (y, c) == (x, a)]
                    known, count = known + sum(r for r, _ in rows), count + len(rows)
                    for t in range(24):
                        known += len([1 for _, u in rows if u == t]) * V[z[t]]
                known = known / count if count else sum(v / B for v in V)
                more = min(params.alpha / np.sqrt(max(count, 1)), H) if bonus else 0.0
                Q[h, b, a] = min(known + more, H - h) if cut else known + more
            V = Q[h].max(-1)
        policies.append(np.zeros((H, 24), int))
        for h, b in np.ndindex(H, B):
            policies[-1][h, z == b] = argmax_random(Q[h, b], own)
        decoders.append(d)
        x = access.call(start)
        for h in range(H):
            a = policies[-1][h, x]
            r, t = access.call(step, a)
            data.append((h, x, a, r, t))
            x = t
    return np.array(policies), np.array(decoders)


def test_the_kernel_agrees_with_the_pseudo_code_bit_for_bit():
    params = Params(24, 0.3, 2, 8)
    policies, decoders = slow(params, PHI, 5, 7)
    out = richcld.run(opened(5), params, rng(7))
    np.testing.assert_array_equal(out.trace.policies[out.trace.index], policies)
    np.testing.assert_array_equal(out.trace.info["decoder"], decoders)


MUTANTS = {"no bonus": {"bonus": False}, "counts of all steps together": {"pooled": True}, "no cut": {"cut": False}}


@pytest.mark.parametrize("name", MUTANTS)
def test_each_mutant_plays_otherwise(name):
    params = Params(24, 3.0, 2, 8)
    out = richcld.run(opened(5), params, rng(7))
    assert (slow(params, PHI, 5, 7, **MUTANTS[name])[0] != out.trace.policies[out.trace.index]).any()


def test_every_tuple_is_counted():
    H, X, A, N = 6, 24, 2, 37
    raw, paid, moves = np.zeros((H, X, A, X)), np.zeros((H, X, A, 2)), np.zeros((X, A, X))
    tests, policy, chosen = richcld.discriminators(PHI), np.zeros((H, X), np.int64), np.zeros(1, np.int64)
    state = (PHI, tests, np.array([0.3, 0.25, 2.0, 10.0]), raw, paid, moves, np.zeros((3, len(tests))), policy, chosen)
    access = opened()
    trace = access.drive(richcld._loop, state, richcld.Log(policy, chosen[0]), N, rng())
    np.testing.assert_array_equal(raw.sum((1, 2, 3)), [N] * H)
    np.testing.assert_array_equal(raw.sum(-1), paid[..., 1])
    np.testing.assert_array_equal(raw.sum(0), moves)
    s, x, a = np.nonzero(paid[..., 1])
    np.testing.assert_allclose(paid[s, x, a, 0], paid[s, x, a, 1] * MODEL.r[s, LATENT[x], a], rtol=0, atol=ROUND)
    assert access.samples == {"episodes": N, "steps": N * H} and len(trace) == N


def test_bins_of_one_cell_plan_exactly():
    model = EpisodicMDP(MODEL.P, MODEL.r, MODEL.rho)
    Q, policy = richcld.aggregate(model.P[0], model.r[0], 6, np.arange(12), np.ones(12))
    best = episodic.solve(model)
    np.testing.assert_allclose(Q.max(-1), best.value, rtol=0, atol=EXACT)
    rows, _ = richcld.aggregate(exact(model.P[0]), exact(model.r[0]), 6, np.arange(12), exact(np.ones(12)))
    assert fraction(rows[0, 1].max()) == Fraction(1663, 1024)
    assert best.value[0, 1] == pytest.approx(1663 / 1024, abs=EXACT)
    assert (policy == best.policy).all()


def test_theory_keeps_the_bias_below_half_of_eps():
    p = richcld.theory(1000, 200, 2, 3, 0.005, 0.001, 1.0, 0.05)
    E = richcld.aggregation_bounds(p.width, 0.001, np.full(3, 0.005 * 3))
    more = richcld.aggregation_bounds(p.width + 1, 0.001, np.full(3, 0.005 * 3))
    assert p.width > 1 and 2 * E.sum() <= 0.5 < 2 * more.sum()
    assert richcld.theory(10, 5, 2, 3, 0.0, 0.0, 1.0, 0.05).width == 5


BAD = {
    "not episodes": (lambda: richcld.run(Generative(to_episodic(EpisodicMDP(MODEL.P, MODEL.r, MODEL.rho)), rng()),
                                         Params(1, 0.1, 2), rng()), MdpkitError, "access must be a Episodes"),
    "no decoders": (lambda: richcld.run(Episodes(MODEL, rng()), Params(1, 0.1, 2), rng()), AccessDenied, "decoders"),
    "negative cells": (lambda: richcld.run(opened(phi=PHI - 1), Params(1, 0.1, 2), rng()), MdpkitError, "decoders"),
    "width": (lambda: richcld.run(opened(), Params(1, 0.1, 0), rng()), MdpkitError, "params.width"),
    "alpha": (lambda: richcld.run(opened(), Params(1, -0.1, 2), rng()), MdpkitError, "params.alpha"),
    "no generator": (lambda: richcld.run(opened(), Params(1, 0.1, 2), 3), MdpkitError, "rng must be"),
    "eps": (lambda: richcld.theory(1, 2, 2, 1, 0.1, 0.1, 0.0, 0.1), MdpkitError, "eps"),
}


test_bad_input = closing.refusals(BAD)


test_no_claim_is_refuted_and_every_control_is = closing.claims(checks.CHECKS)
