"""HAC: reference values, identities on numbers, accounting, the slow reference, every claim and every control."""

import math
from dataclasses import replace
from types import SimpleNamespace

import closing
import numpy as np
import oracles
import pytest

from algorithms.offline import hnpg
from algorithms.offline.hnpg import Params
from algorithms.policy_gradient import npg
from figures.offline import hnpg as picture
from mdpkit.access import Episodes, Exact, Generative
from mdpkit.instances.formula import stationary, stationary_episodic, stationary_policy
from mdpkit.instances.locks import discounted_lock
from mdpkit.measure.values import action_value, optimal_start_value, start_value
from mdpkit.records import Dataset, Steps
from theory_checks.offline import hnpg as checks

pytestmark = pytest.mark.xdist_group("hnpg")

EXACT = 1e-12
ROUND = 1e-9
CARD = stationary(4, 3, 0.9)
ARRAYS = (CARD.P, CARD.r, CARD.gamma, CARD.rho)
PI = stationary_policy(4, 3)
Q = action_value(CARD, PI)
ONE_HOT = np.eye(12).reshape(4, 3, 12)
LOCK = discounted_lock(3, 2, 0.8)


def rng(seed=0):
    return np.random.default_rng(seed)


def close(a, b, tolerance=EXACT):
    np.testing.assert_allclose(a, b, rtol=0, atol=tolerance)


def logged(model, times=2):
    """Each pair so often, with its most likely successor."""
    s, a = np.divmod(np.repeat(np.arange(model.S * model.A), times), model.A)
    return Dataset(Steps(*(x[:, None] for x in (s, a, model.r[s, a], model.P[s, a].argmax(-1)))), "each pair")


def test_reference_values():
    best = optimal_start_value(CARD)
    close(best, 7.740511668845084)
    ends = [hnpg.run_exact(Exact(CARD), Params(T, 0.5), rng()).output for T in (1, 10, 50, 99)]
    gaps = [best - start_value(CARD, pi) for pi in ends]
    close(gaps, (2.9953650909952004, 0.3418196837713401, 0.049315171345250874, 0.02820217421732707))


def test_reference_values_of_the_drift():
    assert checks.contraction(0.95, 0.0) == pytest.approx(1.14, abs=EXACT)
    close([checks.contraction(0.95, lam) for lam in (0.1, 1.0)], (0.985306828003457, 0.44357976653696496))
    close(checks.contraction(0.95, 0.0891719745222929), 1.0)
    ends = {name: checks.actor({"lam": lam, "complete": complete, "wins": False}, hnpg.hpe, rng())["measured"]
            for name, lam, complete in (("hybrid", 1.0, False), ("offline", 0.0, False), ("complete", 0.0, True))}
    close(optimal_start_value(checks.drift()), 0.925)
    close([ends["hybrid"], ends["complete"]], 0.925)
    assert ends["offline"] < 0.1
    w = hnpg.hpe(*ARRAYS, PI, np.full((4, 3), 1 / 12), ONE_HOT, 0.0, 400)           # 10 * 0.9**400 = 5e-18
    close(w[-1].reshape(4, 3), Q)


def test_reference_values_of_the_lock():
    rows = [checks.lock({"trapped": trapped}, hnpg.run, rng(k)) for k in range(5) for trapped in (False, True)]
    close([row["hybrid"]["bound"] for row in rows[::2]], 1.0, ROUND)
    for row in rows:
        assert row["online"]["measured"] == pytest.approx(4.0**-8, rel=ROUND)      # 1.5e-5: uniform for ever
    close([row["hybrid"]["bound"] for row in rows[1::2]], 4.0**-8)


def test_the_split_is_an_identity_on_numbers():
    policies = np.stack([PI, np.full((4, 3), 1 / 3)])
    f = rng().random((2, 4, 3)) * 10
    gap, one, two = hnpg.split(*ARRAYS, npg.softmax(3 * Q), policies, f)
    close(gap, one + two)
    close(gap / 0.1, sum(start_value(CARD, npg.softmax(3 * Q)) - start_value(CARD, p) for p in policies))
    assert abs(two) > 0.1
    close(hnpg.occupation(CARD.P, 0.9, CARD.rho, PI), oracles.discounted_occupancy(CARD.P, CARD.rho, 0.9, PI, 300))
    close(hnpg.action_values(CARD.P, CARD.r, 0.9, PI), Q)


def test_the_exact_critic_is_npg_with_another_step():
    ours = hnpg.run_exact(Exact(CARD), Params(6, 0.5), rng())
    theirs = npg.run(Exact(CARD), npg.Params(0.5 * 0.1, 6), rng())
    close(ours.output, theirs.output)
    close(ours.trace.policies, theirs.trace.policies)
    close(hnpg.mirror(np.array([action_value(CARD, p) for p in ours.trace.policies]), 0.5), ours.trace.policies)


def test_the_fit_of_noiseless_data_is_the_action_value():
    theta = np.zeros((4, 3))
    settings = np.array([0.5, 0.9, 0, 1.0, 0.0, 10.0, 300, 310])                   # 10 * 0.9**300 = 2e-13
    hnpg._fit(CARD.P / 12, CARD.r / 12, np.zeros((4, 3)), np.zeros((4, 3)), PI, settings, theta)
    close(theta, 0.5 * Q)
    d, theta = hnpg.occupation(CARD.P, 0.9, CARD.rho, PI), np.zeros((4, 3))
    hnpg._fit(np.zeros((4, 3, 4)), np.zeros((4, 3)), d, d * Q, PI, settings, theta)
    close(theta, 0.5 * Q)                                                           # from rollouts alone


def test_every_tuple_is_counted():
    access = Episodes(LOCK, rng(1))
    result = hnpg.run(access, logged(LOCK), Params(7, 1.0, 20, 11, high=5.0), rng(2))
    assert result.samples["offline"] == 20
    assert result.samples["episodes"] == 77
    assert result.samples["steps"] >= 77
    moves, reward, gamma = hnpg._given(access, logged(LOCK), Params(1, 1.0, 20))
    close((moves.sum(), reward.sum(), gamma), (1.0, 4 / 20, 0.8))
    close(result.trace.policies.sum(-1), 1.0)


def test_rollouts_stop_where_the_occupancy_is_and_their_returns_are_unbiased():
    n = 20_000
    visits, total = Episodes(CARD, rng(3)).call(hnpg._roll, PI, 0.9, n, rng(4))
    d = hnpg.occupation(CARD.P, 0.9, CARD.rho, PI)
    close(visits.sum(), 1.0)
    close(visits, d, 5 * 0.5 / math.sqrt(n))                  # five standard deviations of a share
    close(total.sum(), (d * Q).sum(), 5 * 11 / math.sqrt(n))  # y < a geometric variable of mean 10, deviation 9.5


def slow(model, data, params, seed, *, discount=False, explore=False, sign=1.0, last=False):
    """The pseudo-code over lists of tuples, for worlds whose moves are certain: only the learner draws."""
    S, A, gamma, own = model.S, model.A, model.gamma, rng(seed)
    move = lambda s, a: (float(model.r[s, a]), int(model.P[s, a].argmax()))
    theta, seen = np.zeros((S, A)), []
    off = list(zip(*(x[: params.m_off, 0].tolist() for x in data.steps)))
    for _ in range(params.T):
        pi = np.array([[math.exp(x - max(row)) for x in row] for row in theta.tolist()])
        pi /= pi.sum(-1, keepdims=True)
        seen.append(pi)
        law = np.full((S, A), 1 / A) if explore else pi
        on = [_rollout(move, law, pi, gamma, own, int(model.rho.argmax()), discount) for _ in range(params.m_on)]
        f, fits = np.zeros((S, A)), []
        for _ in range(params.K2):
            V = [sum(pi[s, a] * f[s, a] for a in range(A)) for s in range(S)]
            f = np.zeros((S, A))
            for s, a in np.ndindex(S, A):
                targets = [r + gamma * V[z] for x, b, r, z in off if (x, b) == (s, a)]
                f[s, a] = _mean(targets, [y for x, b, y in on if (x, b) == (s, a)], params)
            fits.append(f)
        theta = theta + sign * params.eta * (f if last else sum(fits[params.K1:]) / (params.K2 - params.K1))
    return np.array(seen)


def _pick(law, own):
    u, a = own.random(), 0
    while a < len(law) - 1 and u >= sum(law[: a + 1]):
        a += 1
    return a


def _rollout(move, law, pi, gamma, own, s, discount):
    a = _pick(law[s], own)
    while own.random() < gamma:
        s = move(s, a)[1]
        a = _pick(law[s], own)
    first, (y, z), power = (s, a), move(s, a), 1.0
    while own.random() < gamma:
        r, z = move(z, _pick(pi[z], own))
        power *= gamma if discount else 1.0
        y += power * r
    return (*first, y)


def _mean(targets, returns, params):
    w_off, w_on = 1 / max(params.m_off, 1), params.lam / max(params.m_on, 1)
    mass = w_off * len(targets) + w_on * len(returns)
    return min(max((w_off * sum(targets) + w_on * sum(returns)) / mass, params.low), params.high) if mass else 0.0


SETTINGS = Params(6, 1.0, 20, 15, 0.5, 3, 8, 0.0, 5.0)


@pytest.mark.parametrize("params", [SETTINGS, replace(SETTINGS, m_off=0), replace(SETTINGS, m_on=0)])
def test_the_kernel_agrees_with_the_pseudo_code(params):
    """Means of some thirty terms below 5, six times: an error of 1e-13 at most, unless a draw fell on the edge."""
    out = hnpg.run(Episodes(LOCK, rng(1)), logged(LOCK), params, rng(5))
    close(out.trace.policies[out.trace.index], slow(LOCK, logged(LOCK), params, 5))


MUTANTS = {"discounts y too": {"discount": True}, "explores uniformly": {"explore": True},
           "wrong sign": {"sign": -1.0}, "last fit alone": {"last": True}}


@pytest.mark.parametrize("name", MUTANTS)
def test_each_mutant_differs_from_the_kernel(name):
    out = hnpg.run(Episodes(LOCK, rng(1)), logged(LOCK), SETTINGS, rng(5))
    wrong = slow(LOCK, logged(LOCK), SETTINGS, 5, **MUTANTS[name])
    assert np.abs(out.trace.policies[out.trace.index] - wrong).max() > ROUND


def test_linear_with_one_hot_features_is_tabular_and_so_is_hnpg():
    """All four states are met by 300 rollouts, where line 8 is line 7; its least squares lose some digits."""
    data, params = logged(CARD), Params(4, 0.3, 24, 300, 1.0, 20, 40, 0.0, 50.0)
    runs = [f(Episodes(CARD, rng(6), bounds={"phi": ONE_HOT}), data, params, rng(7))
            for f in (hnpg.run, hnpg.run_linear, hnpg.run_hnpg)]
    close(runs[1].output, runs[0].output, ROUND)
    close(runs[2].output, runs[0].output, ROUND)
    assert runs[0].samples == runs[1].samples == runs[2].samples


def test_theory_sets_the_step_of_the_regret_bound():
    params = hnpg.theory(100, 3, 0.9, 50)
    close(checks.hindsight_bound(3, 100, params.eta, 10.0), 10 * math.sqrt(100 * math.log(3) / 2), ROUND)
    assert (params.K2, params.m_on, params.m_off, params.high) == (2 * params.K1, 50, 50, pytest.approx(10.0))


def run(access=None, data=None, f=hnpg.run, **changed):
    return f(access or Episodes(LOCK, rng()), data or logged(LOCK), replace(SETTINGS, **changed), rng())


BAD = {
    "not episodes": (lambda: run(Generative(LOCK, rng())), "access must be a Episodes"),
    "no discount": (lambda: run(Episodes(stationary_episodic(5, 2, 1), rng())), "known.gamma"),
    "too few rows": (lambda: run(m_off=21), "data.n must be at least 21"),
    "two steps": (lambda: run(data=Dataset(Steps(*np.zeros((4, 30, 2), np.int64)), "x")), "data.H must be at least 1"),
    "no such state": (lambda: run(data=Dataset(Steps(*np.full((4, 30, 1), 9)), "x")), "data.steps.s"),
    "no data set": (lambda: run(data=1), "data must be a Dataset"),
    "eta": (lambda: run(eta=0.0), "params.eta must be in"),
    "lam": (lambda: run(lam=-1.0), "params.lam must be in"),
    "K2": (lambda: run(K2=3), "params.K2 must be at least 4"),
    "range": (lambda: run(low=5.0), "params.low must be in"),
    "no features": (lambda: run(f=hnpg.run_linear), "known.phi"),
    "features": (lambda: run(Episodes(LOCK, rng(), bounds={"phi": np.ones((2, 2, 1))}), f=hnpg.run_hnpg), "known.phi"),
    "exact": (lambda: hnpg.run_exact(Episodes(LOCK, rng()), SETTINGS, rng()), "access must be a Exact"),
    "episodic": (lambda: hnpg.run_exact(Exact(stationary_episodic(5, 2, 1)), SETTINGS, rng()), "access.model"),
    "T": (lambda: hnpg.theory(0, 2, 0.9, 5), "T must be at least 1"),
    "one action": (lambda: hnpg.theory(5, 1, 0.9, 5), "A must be at least 2"),
}


test_bad_input = closing.refusals(BAD)


def test_the_figure_draws_what_it_computes(monkeypatch):
    from matplotlib.figure import Figure

    monkeypatch.setattr(picture, "SEEDS", 2)
    rows = [checks.lock({"trapped": False}, hnpg.run, rng(k)) for k in range(2)]
    data, figure = picture.compute(SimpleNamespace(of=lambda claim, n: rows)), Figure()
    picture.draw(data, figure, {"C5": "SUPPORTED"})
    assert len(figure.axes) == 2
    ends = {name: round(float(curve[1, -1]), 2) for name, curve in data.items()}
    assert ends == {"lock hybrid": 1, "lock online": 0, "lock offline": 1, "drift hybrid": 1, "drift online": 1,
                    "drift offline": -0.08}


test_no_claim_is_refuted_and_every_control_is = closing.claims(checks.CHECKS)
