"""DR-PO: reference values, identities on numbers, accounting, the slow reference, every claim and every control."""

import math
from dataclasses import replace

import closing
import numpy as np
import pytest

from algorithms.offline import drpo
from algorithms.offline.drpo import Feedback, Params
from mdpkit import validate
from mdpkit.access import Episodes, Generative, Reset
from mdpkit.data import collect
from mdpkit.instances.formula import step_dependent, step_dependent_policy
from mdpkit.instances.garnet import random_episodic
from mdpkit.measure import plain
from mdpkit.measure.values import start_value
from mdpkit.rational import exact
from mdpkit.records import Dataset, Segments, Steps
from mdpkit.solve import episodic
from mdpkit.worlds.markov import reset, start, step
from theory_checks.offline import drpo as checks

pytestmark = pytest.mark.xdist_group("drpo")

EXACT = 1e-12
ROUND = 1e-9
F = step_dependent(3, 2, 3)
SFT = step_dependent_policy(3, 2, 3)


def rng(seed=0):
    return np.random.default_rng(seed)


# ------------------------------------------------------------------------------- reference values, identities

def test_reference_values():
    best = episodic.solve(F)
    ref, top = plain.probabilities(best.policy, F.r), F.rho @ best.value[0]
    kl = drpo.trajectory_kl(F.P, F.rho, ref, SFT)
    pi, gaps = SFT, []
    for _ in range(41):
        V, Q = plain.evaluate(F.P, F.r, pi)
        gaps.append(top - F.rho @ V[0])
        pi = drpo.ascend(pi, Q[None], 0.2)[-1]
    assert top == pytest.approx(1.637029817341708, abs=EXACT)
    assert sum(gaps[:40]) == pytest.approx(5.645878722607102, abs=40 * EXACT)
    assert gaps[40] == pytest.approx(0.06285395760509727, abs=EXACT)
    assert kl == pytest.approx(1.8094497906333742, abs=EXACT)
    assert drpo.mirror_bound(3, kl, 0.2, 40) == pytest.approx(23.04724895316687, abs=10 * EXACT)
    assert drpo.trajectory_kl(F.P, F.rho, SFT[..., ::-1], SFT) == pytest.approx(0.6863608828091043, abs=EXACT)


def test_reward_coverage():
    p, q = (0.4, 0.3, 0.2, 0.1), (0.1, 0.2, 0.3, 0.4)
    assert drpo.reward_coverage(p, q) == pytest.approx(2.3378651961417964, abs=EXACT)
    assert drpo.reward_coverage(p, p) == pytest.approx(1.0, abs=EXACT)
    assert drpo.reward_coverage((0.5, 0.5), (1.0, 0.0)) == math.inf
    assert drpo.reward_coverage((1.0,), (1.0,)) == 0.0
    root = np.sqrt(q)
    off = np.eye(4) - np.outer(root, root)
    largest = np.linalg.eigvalsh(off @ np.diag(np.divide(p, q)) @ off)[-1]
    assert (1 + largest) / 2 == pytest.approx(2.3378651961417964, abs=EXACT)


def test_the_error_of_actions_that_were_not_logged():
    """Loss 1 a step, and 2 sqrt(2 0.01) = 0.283 times the ratios if only logged actions are looked at."""
    w = {k: exact(v) for k, v in checks.unseen().items()}
    assert drpo.critic_bound(**w) == pytest.approx(math.sqrt(1.01 / 0.99) + math.sqrt(1.01), abs=EXACT)
    assert 2 * math.sqrt(2 * 0.01) == pytest.approx(0.283, abs=5e-4)        # three digits


def test_the_step_of_the_theorem_is_the_best():
    params, bound = drpo.theory(40, 10, 1.8, SFT), lambda eta: drpo.mirror_bound(3, 1.8, eta, 40)
    assert bound(params.eta) == pytest.approx(2 * math.sqrt(1.8 * 40 * 14 / 8), abs=ROUND)
    assert bound(params.eta) < min(bound(0.99 * params.eta), bound(1.01 * params.eta))


def pairs(n, seed):
    """n pairs of trajectories of SFT on F, judged by their true rewards."""
    own, sides = rng(seed), []
    for _ in range(2):
        d = collect(F, SFT, n, own)
        sides.append((Segments(d.steps.s, d.steps.a), d.steps.r.sum(1)))
    o = own.random(n) < 1 / (1 + np.exp(sides[0][1] - sides[1][1]))
    return Feedback(collect(F, SFT, 50, own), sides[0][0], sides[1][0], o.astype(np.int64))


def test_the_fit_is_stationary():
    """Inside the box preferred features balance with expected ones; at its faces they push outwards."""
    x = rng(1).integers(-1, 2, (400, 5)).astype(float)
    x[rng(2).random(400) > 1 / (1 + np.exp(-x @ [0.1, 0.9, 0.3, 0.5, 0.7]))] *= -1
    theta = drpo.fit_reward(x, 1.0)
    slope = (1 / (1 + np.exp(x @ theta))) @ x
    inside = (theta > 0) & (theta < 1)
    assert inside.any()
    assert np.abs(slope[inside]).max() < 1e-4         # loss 280 to 2^-50, curvature below 100: sqrt(2 100 280 2^-50)
    assert (slope[theta == 0] <= 0).all() and (slope[theta == 1] >= 0).all()


def test_one_comparison_of_answers_is_the_log_odds():
    """Answer 0 wins 30 of 40 times: r(0) - r(1) = log 3, whatever the constant."""
    x = np.array([[1.0, -1.0]] * 30 + [[-1.0, 1.0]] * 10)
    theta = drpo.fit_reward(x, 4.0)
    assert theta[0] - theta[1] == pytest.approx(math.log(3), abs=1e-6)


def test_learned_rewards_tell_trajectories_apart():
    data = pairs(4000, 3)
    out = drpo.run_learned(Reset(F, rng(1), to=data.logged), data, Params(20, 60, 0.5, SFT), rng(2))
    assert out.params.r.min() >= 0 and out.params.r.max() <= 1
    a, b = (collect(F, SFT, 300, rng(k)).steps for k in (4, 5))
    total = lambda d, r: r[np.arange(3), d.s, d.a].sum(1)
    D = (total(a, F.r) - total(b, F.r)) - (total(a, out.params.r) - total(b, out.params.r))
    # 17 free numbers, 4000 answers of which each has variance at least 0.05: some sqrt(17/4000/0.05) = 0.29
    assert math.sqrt((D * D).mean()) < 0.3
    assert start_value(F, out.output) > start_value(F, SFT)
    assert out.samples["preferences"] == 4000


# ------------------------------------------------------------------------------------------- accounting

def test_every_step_is_counted():
    data = collect(F, SFT, 30, rng())
    for result, starts in ((drpo.run(Reset(F, rng(1), to=data), data, Params(7, 40, 0.5, SFT, F.r), rng(2)), 0),
                           (drpo.run_roll_in(Episodes(F, rng(1)), Params(7, 40, 0.5, SFT, F.r), rng(2)), 280)):
        seen = result.trace.info["seen"]
        np.testing.assert_array_equal(seen[:, -1].sum(-1), 40)          # every roll-out gets to the last step
        assert result.samples["steps"] == seen.sum() and result.samples["episodes"] == starts
        assert result.samples.get("resets", 280) == 280
    np.testing.assert_array_equal(seen.sum(-1), 40)                       # rolling in passes every step
    np.testing.assert_allclose(result.trace.policies[0], SFT, rtol=0, atol=EXACT)


# --------------------------------------------------------------------------------------- slow reference

def slow(access, params, own, data=None, *, own_actions=False, sft_after=False, flat=False, partial=False):
    """The pseudo-code with lists of returns. The flags are mutants."""
    H, S, A = params.sft.shape
    theta, pi = np.log(params.sft), params.sft.copy()
    cum, out = np.cumsum(pi, -1), []
    cum[..., -1] = 1.0
    sft = cum.copy()
    pick = lambda row: int(np.flatnonzero(own.random() < row)[0])

    def one(world):
        h = int(own.random() * H)
        if data is None:
            s = start(world)
            for k in range(h):
                s = step(world, pick(cum[k, s]))[1]
            a = pick(sft[h, s])
        else:
            i = int(own.random() * data.n)
            s, a = data.steps.s[i, h], data.steps.a[i, h]
            reset(world, h, s)
        if own.random() < 0.5 or own_actions:
            a = pick(cum[h, s])
        y, z = params.r[h, s, a], step(world, a)[1]
        for k in range(h + 1, H):
            b = pick((sft if sft_after else cum)[k, z])
            y += params.r[k, z, b]
            z = step(world, b)[1]
        return (0 if flat else h), s, a, y

    for _ in range(params.T):
        out.append(pi.copy())
        found = [access.call(one) for _ in range(params.m)]
        for h, s in np.ndindex(H, S):
            at = 0 if flat else h
            y = [[y for k, x, b, y in found if (k, x, b) == (at, s, a)] for a in range(A)]
            if all(y) or (partial and any(y)):
                for a in range(A):
                    theta[h, s, a] += params.eta * (sum(y[a]) / len(y[a])) if y[a] else 0.0
                theta[h, s] -= theta[h, s].max()
                weights = [math.exp(x) for x in theta[h, s]]
                pi[h, s] = np.array(weights) / sum(weights)
                cum[h, s] = [sum(pi[h, s, : a + 1]) for a in range(A)]
                cum[h, s, -1] = 1.0
    return np.array(out), pi


CASES = [(3, 2, 3, 40, 0.5), (4, 3, 2, 25, 2.0), (2, 2, 4, 60, 8.0)]


def case(S, A, H, m, eta):
    model = random_episodic(S, A, H, rng(S))
    sft = rng(9).dirichlet(np.ones(A), (H, S))
    return model, collect(model, sft, 20, rng(1)), Params(6, m, eta, validate.policy("sft", sft, sft.shape), model.r)


@pytest.mark.parametrize("given", CASES)
def test_the_kernel_agrees_with_the_pseudo_code_bit_for_bit(given):
    model, data, params = case(*given)
    out = drpo.run(Reset(model, rng(5), to=data), data, params, rng(6))
    policies, last = slow(Reset(model, rng(5), to=data), params, rng(6), data)
    np.testing.assert_array_equal(out.trace.policies[out.trace.index], policies)
    np.testing.assert_array_equal(out.output, last)
    out = drpo.run_roll_in(Episodes(model, rng(5)), params, rng(6))
    policies, last = slow(Episodes(model, rng(5)), params, rng(6))
    np.testing.assert_array_equal(out.trace.policies[out.trace.index], policies)
    np.testing.assert_array_equal(out.output, last)


@pytest.mark.parametrize("mutant", ["own_actions", "sft_after", "flat", "partial"])
def test_each_mutant_of_the_kernel_differs(mutant):
    """All actions the learner's own, roll-outs by pi_SFT, one critic for all steps, updates with an action untried."""
    model, data, params = case(3, 2, 3, 40, 2.0)
    out = drpo.run(Reset(model, rng(5), to=data), data, params, rng(6))
    _, last = slow(Reset(model, rng(5), to=data), params, rng(6), data, **{mutant: True})
    assert np.abs(out.output - last).max() > ROUND


# ------------------------------------------------------------------------------------- errors, claims, controls

DATA = collect(F, SFT, 10, rng())
GOOD = Params(2, 3, 0.5, SFT, F.r)
FAR = Dataset(Steps(*(np.full((4, 3), 9) for _ in range(2)), np.zeros((4, 3)), np.zeros((4, 3), np.int64)), "x")
BAD = {
    "no resets": (lambda: drpo.run(Episodes(F, rng()), DATA, GOOD, rng()), "access must be a Reset"),
    "no episodes": (lambda: drpo.run_roll_in(Generative(F, rng()), GOOD, rng()), "access must be a Episodes or Reset"),
    "no data": (lambda: drpo.run(Reset(F, rng()), DATA.take(0), GOOD, rng()), "data.n must be at least 1"),
    "unknown states": (lambda: drpo.run(Reset(F, rng()), FAR, GOOD, rng()), "data.steps"),
    "no reward": (lambda: drpo.run(Reset(F, rng()), DATA, replace(GOOD, r=None), rng()), "params.r"),
    "no policy": (lambda: drpo.run(Reset(F, rng()), DATA, replace(GOOD, sft=2 * SFT), rng()), "params.sft"),
    "no step": (lambda: drpo.run(Reset(F, rng()), DATA, replace(GOOD, eta=0.0), rng()), "params.eta"),
    "not among the data": (lambda: drpo.run(Reset(F, rng()), DATA, replace(GOOD, m=200), rng()), "obedient to the"),
    "no answers": (lambda: drpo.run_learned(Reset(F, rng()), pairs(5, 1)._replace(o=np.ones(4, int)), GOOD, rng()),
                   "data.s must"),
    "no divergence": (lambda: drpo.theory(10, 3, 0.0, SFT), "kl must be in"),
}


test_bad_input = closing.refusals(BAD)


test_no_claim_is_refuted_and_every_control_is = closing.claims(checks.CHECKS)
