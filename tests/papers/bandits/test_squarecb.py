"""SquareCB: reference values, identities, accounting, the pseudo-code in slow motion, logs, every claim and control."""

import math
from fractions import Fraction

import closing
import numpy as np
import pytest

from algorithms.bandits import squarecb
from figures.bandits import squarecb as picture
from mdpkit.access import Episodes, Exact
from mdpkit.errors import MissingPackage
from mdpkit.instances.formula import contextual, stationary_episodic
from mdpkit.interop import logged
from mdpkit.measure.regret import pull_gaps
from mdpkit.models.bandits import Bandit, ContextualBandit
from mdpkit.rational import exact, fraction, rational
from mdpkit.worlds.bandits import start, step
from theory_checks.bandits import squarecb as checks

pytestmark = pytest.mark.xdist_group("squarecb")

EXACT = 1e-12
F, GAMMA = np.array([0.6, 0.5, 0.1, 0.55]), 20.0
MODEL = contextual()
CHANGING, TOLD = checks.changing(MODEL.r)
PARAMS = squarecb.Params(150, c=2.0, batch=7, delay=1)
ENTRIES = {"run": squarecb.run, "run_exact": squarecb.run_exact, "run_falcon": squarecb.run_falcon,
           "run_short": squarecb.run_short}


def rng(seed=0):
    return np.random.default_rng(seed)


def access(model, seed=0, **more):
    return Episodes(model, rng(seed), **({"bounds": TOLD} if model is CHANGING else {}), **more)


def test_reference_values():
    p, q = squarecb.igw(F, GAMMA), squarecb.igw_exact(F, GAMMA)
    np.testing.assert_allclose(p, (0.5619047619048, 0.1666666666667, 0.0714285714286, 0.2), rtol=EXACT)
    np.testing.assert_allclose(q, (0.4065075947890, 0.2242163204841, 0.0802569594160, 0.2890191253109), rtol=EXACT)
    assert squarecb.supremum(F, p, GAMMA) == pytest.approx(0.0721267150928, rel=EXACT)
    assert squarecb.supremum(F, q, GAMMA) == pytest.approx(0.0952508010165, rel=EXACT)
    np.testing.assert_allclose(MODEL.r[:2], [(0.676209, 0.648180, 0.593174, 0.679374, 0.489293),
                                             (0.275096, 0.698827, 0.470760, 0.633775, 0.281769)], rtol=0, atol=5e-7)


def test_reference_regret():
    """Four runs at T = 32000, batches of 20: 909 to 956 there; the share of 2000 rounds in it 149.8/928.7."""
    ends = [checks._regret(checks.FORMULA, squarecb.run, rng(seed))[[1999, 31_999]] for seed in range(4)]
    early, late = np.mean(ends, 0)
    assert late == pytest.approx(928.7, rel=0.1) and early / late == pytest.approx(149.8 / 928.7, rel=0.1)
    uniform = MODEL.r.max(1).mean() * 32_000 - MODEL.r.mean() * 32_000          # 4678 in the contexts of one run
    assert uniform == pytest.approx(4681.7, abs=0.05)


def test_the_supremum_is_one_and_is_attained():
    """In rationals: no f* of a grid exceeds it, and f* = f - 1/(2 gamma), raised at one a, reaches it."""
    f, gamma = exact(F[:3]), rational(GAMMA)
    for p in (squarecb.igw(f, gamma), exact([0.25, 0.5, 0.25])):
        top = squarecb.supremum(f, p, gamma)
        value = lambda star, p=p: max(star) - (p * star).sum() - gamma * (p * (f - star) * (f - star)).sum()
        assert all(value(exact(np.array(i) / 8)) <= top for i in np.ndindex(9, 9, 9))
        reached = []
        for a in range(3):
            star = f - 1 / (2 * gamma)
            star[a] = f[a] + (1 - p[a]) / (2 * gamma * p[a])
            reached.append(value(star))
        assert max(reached) == top


def test_two_that_are_best_reach_the_sharp_constant():
    """Two equal best of 40, gamma = 1e6: 1.194 K/gamma."""
    f = exact([1.0, 1.0] + [0.0] * 38)
    found = squarecb.supremum(f, squarecb.igw(f, rational(1e6)), rational(1e6)) * rational(1e6) / 40
    assert float(fraction(found)) == pytest.approx(1.194, abs=5e-4) and fraction(found) < Fraction(191, 160)


def test_the_oracle_is_online_ridge_regression():
    """In rationals: sum (r - f)^2 n/(n+1) = min over q of sum (r - q)^2 + (q - 1/2)^2."""
    r = exact(np.array([1, 0, 0, 1, 1, 0.25, 1, 0]))
    f = squarecb.predictions(r)
    paid = sum((v - g) * (v - g) * (n + 1) / (n + 2) for n, (v, g) in enumerate(zip(r, f)))
    assert paid == sum((r - f[-1]) * (r - f[-1])) + (f[-1] - f[0]) * (f[-1] - f[0])


def slow(model, params, seed, kind="run", *, late=False, all_K=False, last=False, early=False):
    """The pseudo-code: batches as lists, sums taken anew; the law, the arm and the reward of each round."""
    world, own, batches, out = access(model, seed), rng(seed + 50), [], []
    known = vars(world.known)
    group = known.get("group", np.arange(known["X"]))
    here = known.get("available", np.ones((known["X"], known["A"]), bool))
    ends = 0
    for t in range(params.T):
        if t == ends:                                                                           # 3
            batches.append([])
            ends += t if kind == "run_falcon" and t > 0 else params.batch
            done = batches[: max(len(batches) - 1 - params.delay + late, 0)]
            data = [row for batch in (done[-1:] if kind == "run_short" else done) for row in batch]
        gamma = params.c * math.sqrt(len(data) / (max(group) + 1)) if params.c > 0 else params.gamma
        x = int(world.call(start))
        f = np.zeros(here.shape[1])
        for a in range(len(f)):
            r = [row[2] for row in data if row[:2] == (group[x], a)]
            f[a] = (sum(r) + (0.0 if early else 0.5)) / (len(r) + 1.0)
        if last:
            f = np.where(f == f[here[x]].max(), f + 1e-12 * np.arange(len(f)), f)
        p = squarecb.igw(f, gamma, here[x])                                                     # 4, 5
        if all_K:
            p = squarecb.igw(np.where(here[x], f, -1e9), gamma)
        if kind == "run_exact":
            p = barrier(f, gamma)
        u, arm = own.random(), -1
        for a in np.flatnonzero(here[x]):
            if arm < 0 or u >= 0.0:
                arm, u = int(a), u - p[a]
        r = float(world.call(step, arm))                                                        # 7
        batches[-1].append((group[x], arm, r))
        out.append((*p, arm, r))
    return np.array(out)


def barrier(f, gamma):
    """Line 6 by bisection."""
    lo, hi = 0.0, float(len(f))
    for _ in range(200):
        lam = (lo + hi) / 2
        lo, hi = (lam, hi) if (1 / (lam + gamma * (f.max() - f))).sum() > 1 else (lo, lam)
    return 1 / (hi + gamma * (f.max() - f))


def played(model, params, seed, kind="run"):
    trace = ENTRIES[kind](access(model, seed), params, rng(seed + 50)).trace
    return np.column_stack([trace.policies[trace.index], trace.info["arm"], trace.info["r"]])


@pytest.mark.parametrize("kind", ["run", "run_falcon", "run_short"])
@pytest.mark.parametrize("model", [MODEL, CHANGING], ids=["formula", "changing"])
def test_the_kernel_agrees_with_the_pseudo_code_bit_for_bit(kind, model):
    for params in (PARAMS, squarecb.Params(60, gamma=12.5, batch=1, delay=3)):
        np.testing.assert_array_equal(played(model, params, 3, kind), slow(model, params, 3, kind))


def test_the_exact_form_agrees_with_bisection():
    """Two ways to a root whose sum is flat to 5 u in lam: laws to 1e-12, arms and rewards the same."""
    mine, theirs = played(MODEL, PARAMS, 3, "run_exact"), slow(MODEL, PARAMS, 3, "run_exact")
    np.testing.assert_allclose(mine, theirs, rtol=0, atol=EXACT)


MUTANTS = {"a batch that is late is seen": "late", "K counts absent actions": "all_K", "ties to the last": "last",
           "no half sample": "early"}


@pytest.mark.parametrize("name", MUTANTS)
def test_each_mutant_differs_from_the_kernel(name):
    mutant = slow(CHANGING, PARAMS, 3, **{MUTANTS[name]: True})
    assert (mutant != played(CHANGING, PARAMS, 3)).any()


@pytest.mark.parametrize("kind", ENTRIES)
def test_every_sample_is_counted(kind):
    """What is in use at the end: all batches but the open one and the one that is late."""
    door = access(CHANGING, 4)
    result = ENTRIES[kind](door, PARAMS, rng())
    log = result.trace.info
    assert result.samples == {"episodes": 150, "steps": 150}
    cuts = [0, 7, 14, 28, 56, 112] if kind == "run_falcon" else list(range(0, 150, 7))
    first = cuts[-3] if kind == "run_short" else 0
    used = slice(first, cuts[-2])                       # rounds before the late batch
    s, n = np.zeros((2, *result.output.shape))
    np.add.at(s, (TOLD["group"][log["context"][used]], log["arm"][used]), log["r"][used])
    np.add.at(n, (TOLD["group"][log["context"][used]], log["arm"][used]), 1.0)
    np.testing.assert_array_equal(result.output, (s + 0.5) / (n + 1))
    N = cuts[-2] - first
    assert log["gamma"][-1] == 2 * math.sqrt(N / 4)
    assert TOLD["available"][log["context"], log["arm"]].all()
    np.testing.assert_array_equal(result.trace.policies[result.trace.index][~TOLD["available"][log["context"]]], 0.0)


@pytest.mark.parametrize("chunk", [1, 11])
def test_the_size_of_a_chunk_changes_no_bit(chunk):
    whole, parts = (squarecb.run_falcon(access(CHANGING, 5, chunk=c), PARAMS, rng()) for c in (None, chunk))
    np.testing.assert_array_equal(whole.output, parts.output)
    for name, field in whole.trace.info.items():
        np.testing.assert_array_equal(field, parts.trace.info[name])


def test_theory_is_the_gamma_of_the_theorem():
    reg = 20 * (0.25 + math.log(1 + 32_000 / 20))
    assert squarecb.oracle_bound(32_000, 4, 5) == pytest.approx(reg, rel=EXACT)
    gamma = squarecb.theory(32_000, 4, 5, 0.1).gamma
    assert gamma == pytest.approx(math.sqrt(160_000 / (reg + math.log(20))), rel=EXACT)


def test_a_bandit_without_contexts():
    model = Bandit([0.2, 0.9])
    result = squarecb.run(Episodes(model, rng()), squarecb.Params(3000, c=2.0), rng(1))
    assert pull_gaps(model, result.trace.info["arm"]).sum() < 150       # of 2100; some 2 sqrt(3000)/2 = 55 expected


# ------------------------------------------------------------------------------------------------ logs

def a_log(n=3000, seed=0, sets=False):
    """Decisions of a law that prefers the worst, as a record."""
    draw, r = rng(seed), MODEL.r
    x = draw.integers(0, 4, n)
    available = draw.random((n, 5)) < 0.7
    available[np.arange(n), draw.integers(0, 5, n)] = True
    law = np.array([squarecb.igw(1 - r[x[i]], 10.0, available[i] if sets else None) for i in range(n)])
    a = (draw.random(n)[:, None] > np.cumsum(law, 1)).sum(1)
    paid = (draw.random(n) < r[x, a]) * 1.0
    return logged.LoggedBandit(x, a, paid, law[np.arange(n), a], available if sets else None,
                               tuple((f"c{i}",) for i in range(4)), tuple("01234"))


@pytest.mark.parametrize("sets", [False, True])
def test_generations_on_a_file(tmp_path, sets):
    """Written, read back, fitted by pieces; a slow reading gives the same values, and intervals hold the truth."""
    log = logged.read(logged.write(tmp_path / "log.csv", a_log(sets=sets)))
    for gamma in (50.0, math.inf):
        out = squarecb.generations_on(log, gamma, 3, 0.01)
        for k in range(2):
            fit, judged, total, truth = range(1000 * k, 1000 * k + 1000), range(1000 * k + 1000, 1000 * k + 2000), 0, 0
            f = np.array([[_mean([log.r[i] for i in fit if (log.x[i], log.a[i]) == (x, a)]) for a in range(5)]
                          for x in range(4)])
            for i in judged:
                p = squarecb.igw(f[log.x[i]], gamma, log.available[i] if sets else None)
                total += p[log.a[i]] / log.p[i] * log.r[i]
                truth += float((p * MODEL.r[log.x[i]]).sum()) / 1000
            assert out[k, 0] == pytest.approx(total / 1000, rel=EXACT) and out[k, 1] < truth < out[k, 2]


def _mean(r):
    return (sum(r) + 0.5) / (len(r) + 1)


def test_generations_on_the_open_bandit_sample():
    """10000 decisions among 80 items, uniform, 38 clicks: too few to tell IGW from greedy or the log."""
    try:
        log = logged.obp_sample()
    except MissingPackage as e:
        pytest.skip(str(e))
    igw, greedy = (squarecb.generations_on(log, gamma, 4, 0.05) for gamma in (1000.0, math.inf))
    assert log.r.sum() == 38 and (log.p == 1 / 80).all()
    for out in (igw, greedy):
        assert (out[:, 1] < log.r.mean()).all() and (log.r.mean() < out[:, 2]).all()     # nothing that they could tell
    assert (igw[:, 0] > 0).all() and (greedy[:, 0] == 0).all()      # no click on the one item that greedy would show


BAD = {
    "access": (lambda: squarecb.run(Exact(MODEL), PARAMS, rng()), "access must be a Episodes"),
    "no bandit": (lambda: squarecb.run(Episodes(stationary_episodic(2, 2, 2), rng()), PARAMS, rng()), "to a bandit"),
    "params": (lambda: squarecb.run(access(MODEL), 8, rng()), "params must be a Params"),
    "gamma": (lambda: squarecb.run(access(MODEL), squarecb.Params(9, gamma=-1.0), rng()), "params.gamma must be"),
    "c": (lambda: squarecb.run(access(MODEL), squarecb.Params(9, c=math.inf), rng()), "params.c must be"),
    "batch": (lambda: squarecb.run(access(MODEL), squarecb.Params(9, batch=0), rng()), "params.batch must be"),
    "delay": (lambda: squarecb.run(access(MODEL), squarecb.Params(9, delay=-1), rng()), "params.delay must be"),
    "generator": (lambda: squarecb.run(access(MODEL), PARAMS, 3), "rng must be"),
    "groups": (lambda: squarecb.run(Episodes(MODEL, rng(), bounds={"group": [0, 1, 2, 4]}), PARAMS, rng()),
               "access.known.group"),
    "sets": (lambda: squarecb.run(Episodes(MODEL, rng(), bounds={"available": np.zeros((4, 5), bool)}), PARAMS, rng()),
             "access.known.available"),
    "delta": (lambda: squarecb.theory(9, 1, 2, 1.0), "delta must be in"),
    "T": (lambda: squarecb.theory(0, 1, 2, 0.1), "T must be at least 1"),
    "log": (lambda: squarecb.generations_on(3, 1.0, 2), "log must be a LoggedBandit"),
    "pieces": (lambda: squarecb.generations_on(a_log(8), 1.0, 5), "parts must be at least 2 and at most 4"),
    "rewards": (lambda: squarecb.generations_on(a_log(8)._replace(r=np.full(8, 2.0)), 1.0, 2), r"log.r\[0\] must be"),
}


test_bad_input = closing.refusals(BAD)


def test_a_context_alone():
    model = ContextualBandit([1.0], [[0.5, 0.5]])
    trace = squarecb.run(Episodes(model, rng()), squarecb.Params(5, gamma=8.0), rng()).trace
    np.testing.assert_array_equal(trace.policies[0], [0.5, 0.5])


def test_the_figure_draws_what_it_computes():
    from matplotlib.figure import Figure

    data, figure = picture.compute(None, T=400, runs=3, n=1200), Figure()
    picture.draw(data, figure, {"C3": "SUPPORTED"})
    assert len(figure.axes) == 3
    assert all((np.diff(data[k], axis=-1) >= 0).all() for k in data if k.startswith("run"))
    assert data["generation greedy"][:4] == pytest.approx([0.4, 0.2, 0.4, 0.2], rel=EXACT)


test_no_claim_is_refuted_and_every_control_is = closing.claims(checks.CHECKS)
