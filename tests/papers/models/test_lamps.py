"""LAMPS: reference values, identities on numbers, accounting, the slow reference, every claim and every control."""

import math

import closing
import numpy as np
import pytest

from algorithms.models import lamps
from algorithms.models.lamps import Params
from figures.models import lamps as picture
from mdpkit.access import Episodes, Generative
from mdpkit.data import draw_tuples
from mdpkit.instances.formula import stationary, stationary_policy, step_dependent
from mdpkit.instances.garnet import random_mdp
from mdpkit.measure.occupancy import occupancy
from mdpkit.measure.values import optimal_start_value, start_value, value
from mdpkit.models.convert import to_episodic
from mdpkit.models.tabular import TabularMDP
from mdpkit.records import Dataset, Steps
from mdpkit.worlds.markov import start, step
from theory_checks.models import lamps as checks

pytestmark = pytest.mark.xdist_group("lamps")

EXACT = 1e-12
ROUND = 1e-9
CARD = stationary(4, 3, 0.9)
M = step_dependent(4, 3, 2).P[1]
PI = stationary_policy(4, 3)
BEST = checks.expert(CARD)
ARRAYS = (CARD.P, M, CARD.r, 0.9, CARD.rho)
SMALL = random_mdp(3, 2, 0.5, np.random.default_rng(4))


def rng(seed=0):
    return np.random.default_rng(seed)


def close(a, b, tolerance=EXACT):
    np.testing.assert_allclose(a, b, rtol=0, atol=tolerance)


def logged(model, n, seed=1):
    return draw_tuples(to_episodic(model, 1), np.full((1, *model.r.shape), 1 / model.r.size), n, rng(seed))


def test_reference_values():
    close(lamps.advantage_terms(*ARRAYS, BEST, PI),
          (3.2720836244324123, 3.0154463311801716, 0.22717320833837296, 0.029464084913765034))
    close(lamps.simulation_terms(*ARRAYS, BEST, PI),
          (3.2720836244324123, 0.9790261485874318, 2.2635933909311117, -0.02946408491376503))
    greedy = checks.expert(TabularMDP(M, CARD.r, 0.9, CARD.rho))
    close(lamps.advantage_terms(*ARRAYS, BEST, greedy),
          (0.14710321406909066, -0.6561678266588467, 1.2544025747841967, -0.4511315340562526))
    close(optimal_start_value(CARD), 7.740511668845171)


def test_reference_values_of_the_mismatch():
    P, models, *_ = checks.two_models()
    nu = np.zeros((5, 2))
    nu[0, 1] = 1.0
    V = np.array([[0, 10, 0, 0, 0.5]] * 2)               # G is worth 10 to every policy, N1 and N2 nothing
    likelihood, moment = lamps.class_losses(P.astype(float), models.astype(float), nu, V)
    close(likelihood, (0.14447934747551233, 0.4179209633427206))
    close(np.sqrt(moment), (0.9, 0.0))


def test_reference_values_of_runs():
    """Single runs; others had slopes 0.19 and 0.24, and 1e-12, 0.791 and 0.791 on the lock."""
    for run, slope in ((lamps.run, 0.19), (lamps.run_mm, 0.24)):
        gaps, best, _ = checks.gaps_of("formula", run, Params(300, 20, 0.1), rng())
        t = np.arange(30, 301)
        assert np.polyfit(np.log(t), np.log(np.cumsum(gaps)[t - 1]), 1)[0] == pytest.approx(slope, abs=0.1)
        assert gaps[-50:].mean() < 0.15 * best
    ends = [checks.gaps_of("lock", lamps.run, Params(100, 20, 0.5, share), rng())[0][-20:].mean()
            for share in (0.5, 0.0, 1.0)]
    close(np.array(ends) / optimal_start_value(checks.lock(8, 3, 0.9)), (0.0, 0.791, 0.791), 5e-4)   # three digits


def test_identities_along_runs():
    """Both decompositions at each iteration; the model of planning is planned in."""
    for run in (lamps.run, lamps.run_mm, lamps.run_planning):
        out = run(Episodes(CARD, rng(1), grant=("r",)), logged(CARD, 200), Params(20, 10, 0.3), rng(2))
        for t, k in enumerate(out.trace.index):
            pi, model = out.trace.policies[k], out.trace.info["learnt"][t]
            given = (CARD.P, model, CARD.r, 0.9, CARD.rho, BEST, pi)
            gap, *terms = lamps.advantage_terms(*given)
            close(gap, sum(terms), ROUND)
            close(gap, optimal_start_value(CARD) - start_value(CARD, pi), ROUND)
            _, star, planning, own = lamps.simulation_terms(*given)
            close(gap, star + planning - own, ROUND)
            close(model.sum(-1), 1.0)
            if run is lamps.run_planning and t:
                close(lamps.evaluate(model, CARD.r, 0.9, pi), value(
                    TabularMDP(model, CARD.r, 0.9, CARD.rho), checks.expert(TabularMDP(model, CARD.r, 0.9, CARD.rho))),
                    1e-8)                                  # no action gains 1e-10, and 1/(1-gamma) of it is 1e-9


def slow(m, data, params, seeds, *, moments=False, planning=False, start_over=False, moving=False):
    """Lines 1 to 8 with lists of tuples: (policies, models). Draws as the kernel does."""
    world, own = Episodes(m, rng(seeds[0])), rng(seeds[1])
    S, A = m.r.shape
    pi, model, theta = np.full((S, A), 1 / A), np.full((S, A, S), 1 / S), np.zeros((S, A))
    D, row, seen = [], 0, []
    for t in range(params.T):
        V = lamps.evaluate(model, m.r, m.gamma, pi)
        if planning and t:
            pi = checks.expert(TabularMDP(model, m.r, m.gamma, m.rho))
        seen.append((pi, model.copy()))
        for _ in range(params.m):
            if own.random() < params.share:
                new = tuple(int(x[row, 0]) for x in (data.steps.s, data.steps.a, data.steps.s_next))
                row += 1
            else:
                s = world.call(start)
                while True:
                    a = min(int((own.random() >= np.cumsum(pi[s])).sum()), A - 1)
                    z = world.call(step, a)[1]
                    new = (s, a, z)
                    if own.random() >= m.gamma:
                        break
                    s = z
            D.append(new)
            s, a, z = new
            if moments:
                value_ = lamps.evaluate(model, m.r, m.gamma, pi) if moving else V
                x = model[s, a] - 2 * params.alpha * (1 - m.gamma) ** 2 * (model[s, a] @ value_ - value_[z]) * value_
                model[s, a] = project(x)
            else:
                counts = np.array([sum(new == (s, a, u) for new in D) for u in range(S)])
                model[s, a] = (params.prior / S + counts) / (params.prior + counts.sum())
        theta = params.eta * (m.r + m.gamma * seen[-1][1] @ V) + (0 if start_over else theta)
        pi = np.exp(theta) / np.exp(theta).sum(-1, keepdims=True)
    return np.array([p for p, _ in seen]), np.array([k for _, k in seen])


def project(x):
    """The nearest law, by sorting."""
    u = np.sort(x)[::-1]
    shift = (np.cumsum(u) - 1) / np.arange(1, len(x) + 1)
    return np.maximum(x - shift[np.flatnonzero(u > shift)[-1]], 0)


RUNS = {"run": {}, "run_mm": {"moments": True}, "run_planning": {"planning": True}}


@pytest.mark.parametrize("name", RUNS)
def test_the_kernel_agrees_with_the_pseudo_code(name):
    """V by another solver, hence not to the bit: errors of 1e-15 an iteration, 1/(1-gamma) = 2."""
    for share in (0.5, 0.0, 1.0):
        params, data = Params(12, 5, 0.7, share, alpha=1.0), logged(SMALL, 60)
        out = getattr(lamps, name)(Episodes(SMALL, rng(5), grant=("r",)), data, params, rng(6))
        policies, models = slow(SMALL, data, params, (5, 6), **RUNS[name])
        close(out.trace.policies[out.trace.index], policies)
        close(out.trace.info["learnt"], models)


MUTANTS = {"starts over": ("run", {"start_over": True}), "moments for counts": ("run", {"moments": True}),
           "V moves": ("run_mm", {"moments": True, "moving": True}), "never plans": ("run_planning", {})}


@pytest.mark.parametrize("name", MUTANTS)
def test_each_mutant_differs_from_the_kernel(name):
    entry, change = MUTANTS[name]
    params, data = Params(12, 5, 0.7, alpha=1.0), logged(SMALL, 60)
    out = getattr(lamps, entry)(Episodes(SMALL, rng(5), grant=("r",)), data, params, rng(6))
    policies, models = slow(SMALL, data, params, (5, 6), **change)
    assert max(np.abs(models - out.trace.info["learnt"]).max(),
               np.abs(policies - out.trace.policies[out.trace.index]).max()) > ROUND


def test_every_tuple_is_counted():
    params, data = Params(30, 7, 0.3, prior=1.5), logged(CARD, 210)
    access = Episodes(CARD, rng(1), grant=("r",))
    out = lamps.run(access, data, params, rng(2))
    assert out.samples["offline"] + out.samples["episodes"] == 210
    assert out.samples["steps"] == access.samples["steps"] >= out.samples["episodes"]
    # 1.5/4 + n over 1.5 + N: the odd entries of a row tell N
    rows = out.output.reshape(-1, 4)
    N = [next(n for n in range(211) if np.abs(((1.5 + n) * x - 0.375) % 1 - 0.5).min() > 0.5 - ROUND) for x in rows]
    assert sum(N) <= 210
    close(out.trace.info["evaluations"], 1.0)


def test_data_are_half_from_nu_and_own_tuples_follow_the_occupancy():
    m, n = stationary(4, 3, 0.5), 20000
    out = lamps.run_mm(Episodes(m, rng(1), grant=("r",)), logged(m, n), Params(1, n, 0.3, alpha=1e-9), rng(2))
    assert abs(out.samples["offline"] - n / 2) < 5 * math.sqrt(n / 4)                    # five standard deviations
    mean = out.samples["steps"] / out.samples["episodes"]
    assert abs(mean - 2) < 5 * math.sqrt(2 / out.samples["episodes"])                    # geometric, variance 2
    pure = lamps.run(Episodes(m, rng(1), grant=("r",)), logged(m, 0), Params(1, n, 0.3, 0.0, 1e6), rng(2)).output
    x = (pure - 0.25).reshape(12, 4)
    d = occupancy(m, np.full((4, 3), 1 / 3))
    # with a heavy prior a row moves by (n(s,a,z) - n(s,a)/4)/1e6 or so
    expected = (d[..., None] * (m.P - 0.25)).reshape(12, 4) * n / 1e6
    assert np.abs(x - expected).max() < 5 * math.sqrt(n / 4) / 1e6 + 1e-3 * np.abs(expected).max()


def test_theory_makes_the_bound_least():
    params = lamps.theory(50, 5, 3, 0.9)
    close(lamps.bound(3, 0.9, params.eta, 50), 10 * math.sqrt(50 * math.log(3) / 2), ROUND)
    assert lamps.theory(5, 1, 1, 0.9).eta == 1.0


def bad(model=CARD, data=None, params=None, access=None, generator=None):
    access = access or Episodes(model, rng(), grant=("r",))
    return lamps.run(access, data or logged(CARD, 10), params or Params(2, 5, 0.1), generator or rng())


TALL = TabularMDP(CARD.P, 2 * CARD.r, 0.9, CARD.rho)
FAR = Dataset(Steps(*(np.full((10, 1), 9) for _ in range(2)), np.zeros((10, 1)), np.zeros((10, 1), np.int64)), "x")
BAD = {
    "generative": (lambda: bad(access=Generative(CARD, rng())), "access must be a Episodes"),
    "tall": (lambda: bad(TALL), r"access.known.r\[.*in \[0, 1\]"),
    "eta": (lambda: bad(params=Params(2, 5, 0.0)), "params.eta must be in"),
    "alpha": (lambda: bad(params=Params(2, 5, 0.1, alpha=2.0)), "params.alpha must be in"),
    "share": (lambda: bad(params=Params(2, 5, 0.1, 1.5)), "params.share must be in"),
    "rows": (lambda: bad(params=Params(3, 5, 0.1)), "data must be of 1 step and at least 15 rows"),
    "states": (lambda: bad(data=FAR), r"data.steps.s\[0, 0\]"),
    "reward": (lambda: bad(access=Episodes(CARD, rng())), "known.r"),
    "T": (lambda: lamps.theory(0, 1, 2, 0.9), "T must be at least 1"),
    "generator": (lambda: bad(generator=3), "rng must be"),
}


test_bad_input = closing.refusals(BAD)


def test_the_figure_draws_what_it_computes():
    from matplotlib.figure import Figure

    data, figure = picture.compute(None), Figure()
    picture.draw(data, figure, {"C4-rate": "SUPPORTED"})
    assert len(figure.axes) == 3
    close(data["terms"].sum(0), data["gap"], ROUND)


test_no_claim_is_refuted_and_every_control_is = closing.claims(checks.CHECKS)
