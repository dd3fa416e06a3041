"""EXP3: reference values, exact expectations, accounting, the slow reference, every claim and every control."""

import math

import closing
import numpy as np
import pytest

from algorithms.bandits import exp3
from algorithms.bandits.exp3 import Params
from figures.bandits import exp3 as picture
from mdpkit.access import Episodes, Exact
from mdpkit.instances.chains import riverswim_episodic
from mdpkit.models.bandits import Bandit
from theory_checks.bandits import exp3 as checks

pytestmark = pytest.mark.xdist_group("exp3")

EXACT = 1e-12


def rng(seed=0):
    return np.random.default_rng(seed)


def formula(k, T, A):
    """l_t(a) = ((3t + 5a + t a + k floor(t/7)) mod 11)/10, indices from 0."""
    t, a = np.ogrid[:T, :A]
    return (3 * t + 5 * a + t * a + k * (t // 7)) % 11 / 10


def played(entry, losses, params, seed=0, **more):
    return entry(Episodes(exp3.oblivious(losses), rng(99), **more), params, rng(seed))


def test_reference_values():
    losses = formula(1, 6, 3)
    best = losses.sum(0).min()
    assert exp3.expected(losses, 0.3)[0] - best == pytest.approx(0.8524510291586855, rel=EXACT)
    assert exp3.expected(losses, 0.3, 0.15)[0] - best == pytest.approx(0.8494527580008513, rel=EXACT)
    assert exp3.regret_bound(6, 3, 0.3) == pytest.approx(6.362040962227033, rel=EXACT)
    eta = exp3.theory(1000, 10).eta
    assert eta == pytest.approx(0.021459660262893473, rel=EXACT)
    assert exp3.regret_bound(1000, 10, eta) == pytest.approx(214.59660262893473, rel=EXACT)
    assert exp3.regret_bound_ix(1000, 10, 0.05) == pytest.approx(776.6787160587048, rel=EXACT)
    assert exp3.theory_ix(1000, 10) == Params(eta, eta / 2)
    assert exp3.theory(9, 1) == Params(1.0) and exp3.theory_2002(9, 1) == Params(1.0, 1.0)
    assert exp3.theory_2002(1000, 10).gamma == pytest.approx(math.sqrt(10 * math.log(10) / (1000 * (math.e - 1))))
    assert round(exp3.regret_bound(20_000, 5, exp3.theory(20_000, 5).eta), 1) == 567.4
    assert round(exp3.regret_bound(4000, 2, exp3.theory(4000, 2).eta), 1) == 105.3
    assert round(exp3.regret_bound_ix(2000, 4, 0.1), 1) == 622.7


def test_the_table_against_ucb1():
    losses = checks.against_ucb1(4000, 2)
    np.testing.assert_array_equal(losses.sum(1), 1.0)
    np.testing.assert_array_equal(losses.sum(0), 2000.0)
    row = checks.separated({"T": 4000, "A": 2}, exp3.run, rng())
    assert row["UCB1"]["measured"] * 4000 == 2000.0


def slow(losses, eta, gamma, u, *, mix=0.0, gains=False, sign=-1.0, seen=True, order=1):
    """The pseudo-code, one number after the other: laws p (T, A), arms and the estimates at them."""
    T, A = losses.shape
    L, out, arms, at = [0.0] * A, [], [], []
    for t in range(T):
        z = [sign * eta * x for x in L]
        w = [math.exp(x - max(z)) for x in z]
        total = 0.0
        for x in w:
            total += x
        p = [(1.0 - mix) * (x / total) + mix / A for x in w]
        below, a = 0.0, A - 1
        for j in range(A)[::order]:
            below += p[j]
            if u[t] < below:
                a = j
                break
        l = losses[t, a] - 1.0 if gains else losses[t, a]
        estimate = l / (p[a] + gamma) if seen else l
        L[a] += estimate
        out.append(p)
        arms.append(a)
        at.append(estimate)
    return np.array(out), np.array(arms), np.array(at)


CASES = {"run": (Params(0.3), {}), "IX": (Params(0.3, 0.15), {}), "run_2002": (Params(0.04, 0.2), {})}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("losses", [formula(1, 40, 3), formula(2, 60, 5), formula(0, 9, 1)], ids=("3", "5", "1"))
def test_the_kernel_agrees_with_the_slow_reference_bit_for_bit(name, losses):
    params, _ = CASES[name]
    out = played(exp3.run_2002 if name == "run_2002" else exp3.run, losses, params, 4)
    more = {"mix": params.gamma, "gains": True} if name == "run_2002" else {}
    p, a, estimate = slow(losses, params.eta, 0.0 if more else params.gamma, rng(4).random(len(losses)), **more)
    np.testing.assert_array_equal(out.trace.policies[out.trace.index], p)
    np.testing.assert_array_equal(out.trace.info["a"], a)
    np.testing.assert_array_equal(out.trace.info["estimate"], estimate)


MUTANTS = {
    "towards losses": {"sign": 1.0},
    "without weights": {"seen": False},
    "in gains": {"gains": True},
    "mixes": {"mix": 0.1},
    "counts arms from the end": {"order": -1},
}


@pytest.mark.parametrize("name", MUTANTS)
def test_each_mutant_differs_from_the_kernel(name):
    losses = formula(1, 40, 3)
    p = slow(losses, 0.3, 0.0, rng(4).random(40), **MUTANTS[name])[0]
    assert (p != played(exp3.run, losses, Params(0.3), 4).trace.policies).any()


def test_replay_is_the_run():
    losses, params = formula(1, 50, 4), Params(0.3, 0.1)
    out = played(exp3.run, losses, params, 6)
    p, lhat = exp3.replay(losses, rng(6).random(50), params.eta, params.gamma)
    np.testing.assert_array_equal(p, out.trace.policies)
    np.testing.assert_array_equal(lhat, exp3.estimates(losses, p, out.trace.info["a"], params.gamma))


def test_mean_loss_is_the_enumerated_one():
    """2000 runs of six rounds: five standard errors, of losses and of estimates."""
    losses, params = formula(1, 6, 3), Params(0.3, 0.15)
    paid, L = exp3.expected(losses, params.eta, params.gamma)
    draws = rng(1).random((2000, 6))
    lhat = np.array([exp3.replay(losses, u, params.eta, params.gamma)[1] for u in draws])
    lost = (losses * (lhat > 0)).sum((1, 2))
    assert (losses > 0).all(axis=1).sum() < 6          # where the loss is 0, so is its estimate, and nothing is lost
    assert abs(lost.mean() - paid) < 5 * lost.std() / math.sqrt(2000)
    assert (np.abs(lhat.sum(1).mean(0) - L) < 5 * lhat.sum(1).std(0) / math.sqrt(2000)).all()


def test_every_round_is_counted():
    losses = formula(1, 30, 4)
    access = Episodes(exp3.oblivious(losses), rng())
    out = exp3.run(access, Params(0.2), rng(3))
    a = out.trace.info["a"]
    assert access.samples == {"episodes": 1, "steps": 30} and len(out.trace) == 30
    np.testing.assert_array_equal(out.trace.info["loss"], losses[np.arange(30), a])
    sums = np.array([out.trace.info["estimate"][a == j].sum() for j in range(4)])
    np.testing.assert_allclose(out.output, sums, rtol=0, atol=EXACT * sums.max())
    np.testing.assert_allclose(out.trace.policies.sum(1), 1.0, rtol=EXACT)


def test_long_runs_and_large_steps_stay_finite():
    out = played(exp3.run, checks.clear(5000, 3), Params(1000.0), 1)
    assert np.isfinite(out.output).all() and out.trace.policies.min() == 0.0
    assert out.trace.policies[-1, 0] == 1.0


L = formula(1, 5, 2)
OPEN = Episodes(exp3.oblivious(L), rng())
BAD = {
    "not episodes": (lambda: exp3.run(Exact(Bandit([0.5])), Params(0.1), rng()), "access must be a Episodes"),
    "states": (lambda: exp3.run(Episodes(riverswim_episodic(3, 2), rng()), Params(0.1), rng()), "one state"),
    "a bandit": (lambda: exp3.run(Episodes(Bandit([0.5]), rng()), Params(0.1), rng()), "one state"),
    "tall": (lambda: exp3.run(Episodes(exp3.oblivious(2 + L), rng()), Params(0.1), rng()), r"losses\[0\]"),
    "params": (lambda: exp3.run(OPEN, 0.1, rng()), "params must be a Params"),
    "eta": (lambda: exp3.run(OPEN, Params(0.0), rng()), "eta must be"),
    "gamma": (lambda: exp3.run(OPEN, Params(0.1, -1.0), rng()), "gamma must be"),
    "g": (lambda: exp3.run_2002(OPEN, Params(0.1, 1.5), rng()), "params.gamma must be"),
    "generator": (lambda: exp3.run(OPEN, Params(0.1), 3), "rng must be"),
    "T": (lambda: exp3.theory(0, 2), "T must be at least 1"),
    "losses": (lambda: exp3.expected([[1.5]], 0.1), r"losses\[0, 0\]"),
    "u": (lambda: exp3.replay(L, np.ones(5), 0.1), r"u\[0\]"),
    "ragged": (lambda: exp3.oblivious([0.5]), "losses must be of shape"),
}


test_bad_input = closing.refusals(BAD)


def test_the_figure_draws_what_it_computes():
    from matplotlib.figure import Figure

    data, figure = picture.compute(None, most=500, runs=2, finals=4), Figure()
    picture.draw(data, figure, {"C4": "SUPPORTED"})
    assert len(figure.axes) == 2 and len(data["final EXP3"]) == 4


test_no_claim_is_refuted_and_every_control_is = closing.claims(checks.CHECKS)
