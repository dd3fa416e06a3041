"""Latent MDPs: reference values, the planner against all policies, accounting, recursion over histories, all claims."""

import itertools
import math

import closing
import numpy as np
import pytest

from algorithms.exploration import lmdp
from figures.exploration import lmdp as picture
from mdpkit.access import Episodes, Generative
from mdpkit.concentration import lmdp_value
from mdpkit.errors import AccessDenied
from mdpkit.instances.formula import latent, stationary_episodic
from mdpkit.models.latent import LatentMDP
from mdpkit.rational import exact
from theory_checks.exploration import _lmdp_twins as twins
from theory_checks.exploration import lmdp as checks

pytestmark = pytest.mark.xdist_group("lmdp")

EXACT = 1e-12
SMALL = latent(2, 2, 2, 3)
ROUNDED = 5.1e-13           # the reference values are given to 12 decimals


def rng(seed=0):
    return np.random.default_rng(seed)


def access(model, seed=0, **more):
    return Episodes(model, rng(seed), grant=("w", "nu", "r"), hindsight=True, **more)


def parts(model):
    return model.w, model.nu, model.P, model.r


REFERENCE = {
    (2, 2, 2, 4): (0.596415333968, 0.726654462892, 0.848228520781, 0.014621245160, 0.033271620837, 0.047892865997),
    (2, 3, 2, 3): (0.656004910279, 0.709722426567, 0.788385027900, 0.016810454254, 0.011755950891, 0.028566405145),
}


@pytest.mark.parametrize("sizes", REFERENCE)
def test_reference_values(sizes):
    model, H = latent(*sizes), sizes[-1]
    V, policy = lmdp.plan(*parts(model), H)
    inner, initial = lmdp.variances(*parts(model), policy, H)
    found = (checks.memoryless(*parts(model), H), V, checks.context_known(*parts(model), H), inner, initial)
    np.testing.assert_allclose((*found, inner + initial), REFERENCE[sizes], rtol=0, atol=ROUNDED)
    assert lmdp.plan(*parts(SMALL), 3)[0] == pytest.approx(0.697214319258, abs=ROUNDED)


def test_the_belief_averaged_value_has_less_variance():
    model = latent(2, 2, 2, 4)
    policy = lmdp.plan(*parts(model), 4)[1]
    assert twins.averaged(*parts(model), policy, 4)[0] == pytest.approx(0.001735, abs=5e-7)      # to its digits


def test_the_planner_beats_every_policy_of_the_history():
    """All 2^10 policies of L(2, 2, 2, 2), in floats; and the value is that of the policy."""
    model = latent(2, 2, 2, 2)
    V, policy = lmdp.plan(*parts(model), 2)
    first = (model.w[:, None] * model.nu).T
    worth = {pi: (first * lmdp.alpha_vectors(model.P, model.r, np.array(pi), 2)[0]).sum()
             for pi in itertools.product(range(2), repeat=10)}
    assert max(worth.values()) == pytest.approx(V, rel=EXACT) == worth[tuple(policy)]


def test_rationals_and_floats_agree():
    V, policy = lmdp.plan(*(exact(x) for x in parts(SMALL)), 3)
    assert float(V) == pytest.approx(lmdp.plan(*parts(SMALL), 3)[0], rel=EXACT)
    np.testing.assert_array_equal(policy, lmdp.plan(*parts(SMALL), 3)[1])


class Slow:
    """The pseudo-code by recursion over histories; counts by lists of moves."""

    def __init__(self, model, params, *, clip=True, past=True, hindsight=True, floor=True):
        self.model, self.c, self.H = model, params.c, model.H
        self.M, self.S, self.A = model.r.shape
        self.L = 2 * math.log(2 * self.M * self.S * self.A * self.H * params.K / params.delta)
        self.clip, self.past, self.hindsight, self.floor = clip, past, hindsight, floor
        self.moves, self.at_plan, self.due = [], {}, True

    def count(self, m, s, a):
        return sum(1.0 for move in self.moves if move[:3] == (m, s, a))

    def P(self, m, s, a, t):
        n = self.count(m, s, a)
        return sum(1.0 for move in self.moves if move == (m, s, a, t)) / n if n else 1.0 / self.S

    def plan(self):
        self.policy = {}
        self.kernel = {i: self.P(*i) for i in np.ndindex(self.M, self.S, self.A, self.S)}
        self.n = {i: self.count(*i) for i in np.ndindex(self.M, self.S, self.A)}
        self.at_plan, self.due, self.value = dict(self.n), False, 0.0
        for s in range(self.S):
            b = [self.model.w[m] * self.model.nu[m, s] for m in range(self.M)]
            alpha = self.down((s,), b)
            for m in range(self.M):
                self.value += b[m] * alpha[m]

    def down(self, tau, b):
        s, best, out = tau[-1], -1.0, None
        last = len(tau) == 2 * self.H - 1
        for a in range(self.A):
            after = [] if last else [self.down((*tau, a, t), [b[m] * (self.kernel[m, s, a, t] if self.past else 1.0)
                                                             for m in range(self.M)]) for t in range(self.S)]
            here, score = [], 0.0
            for m in range(self.M):
                mean = variance = 0.0
                for t, alpha in enumerate(after):
                    mean += self.kernel[m, s, a, t] * alpha[m]
                for t, alpha in enumerate(after):
                    variance += self.kernel[m, s, a, t] * ((alpha[m] - mean) * (alpha[m] - mean))
                n = max(self.n[m, s, a], 1.0) if self.floor else self.n[m, s, a] + 1.0
                q = self.model.r[m, s, a] + mean + self.c * lmdp_value(n, variance, float(self.S), self.L)
                here.append(min(1.0, q) if self.clip else q)
                score += b[m] * here[m]
            if score > best:
                best, out, self.policy[tau] = score, here, a
        return out

    def record(self, m, path):
        m = m if self.hindsight else 0
        for s, a, t in path:
            self.moves.append((m, int(s), int(a), int(t)))
            n = self.count(m, s, a)
            self.due |= n >= max(1, 2 * self.at_plan[m, s, a])


def histories(S, A, H):
    """In the order of the tree."""
    level = [(s,) for s in range(S)]
    for _ in range(H):
        yield from level
        level = [(*tau, a, t) for tau in level for a in range(A) for t in range(S)]


def follow(model, params, seed, **mutant):
    """Replays the contexts and moves of a run into the slow learner: policies, values and plans of each episode."""
    out = lmdp.run(access(model, seed), params, rng()).trace
    learner, found = Slow(model, params, **mutant), []
    order = list(histories(*model.r.shape[1:], model.H))
    for m, path in zip(out.info["context"], out.info["path"]):
        planned = learner.due
        if planned:
            learner.plan()
        found.append(([learner.policy[tau] for tau in order], learner.value, planned))
        learner.record(int(m), path)
    policies, values, planned = (np.array(x) for x in zip(*found))
    return out, policies, values, planned


@pytest.mark.parametrize("sizes, c", [
    ((2, 2, 2, 3), 0.005), ((2, 3, 2, 2), 1.0), ((3, 2, 1, 3), 0.0), ((1, 2, 2, 1), 0.02)])
def test_the_kernel_agrees_with_recursion_over_histories_bit_for_bit(sizes, c):
    out, policies, values, planned = follow(latent(*sizes), lmdp.Params(40, 0.1, c), 7)
    np.testing.assert_array_equal(out.policies[out.index], policies)
    np.testing.assert_array_equal(out.info["value"], values)
    np.testing.assert_array_equal(out.info["planned"], planned)


MUTANTS = {"does not clip": {"clip": False}, "forgets the kernel in the belief": {"past": False},
           "books on context 0": {"hindsight": False}, "floors n at n + 1": {"floor": False}}


@pytest.mark.parametrize("name", MUTANTS)
def test_each_mutant_differs_from_the_kernel(name):
    out, _, values, _ = follow(SMALL, lmdp.Params(40, 0.1, 0.005), 7, **MUTANTS[name])
    assert (out.info["value"] != values).any()


def test_without_a_bonus_and_with_all_counts_it_is_the_exact_planner():
    mind = lmdp.memory(access(SMALL), lmdp.Params(1, 0.1))
    mind.n[...] = 2.0**52
    mind.moves[...] = SMALL.P * 2.0**52
    lmdp.replan(mind, 1.0, 0.0)
    V, policy = lmdp.plan(*parts(SMALL), 3)
    assert mind.value[0] == pytest.approx(V, rel=EXACT)
    np.testing.assert_array_equal(mind.policy, policy)


def test_every_step_is_counted():
    door = access(SMALL, 5)
    out = lmdp.run(door, lmdp.Params(50, 0.1, 0.05), rng())
    assert door.samples == {"episodes": 50, "steps": 150} == dict(out.samples)
    path, m = out.trace.info["path"], out.trace.info["context"]
    n = np.zeros((2, 2, 2, 2))
    np.add.at(n, (m[:, None], path[:, :, 0], path[:, :, 1], path[:, :, 2]), 1.0)
    np.testing.assert_array_equal(out.output, lmdp.estimate(n.sum(-1), n))
    np.testing.assert_array_equal(path[:, 1:, 0], path[:, :-1, 2])


def test_the_size_of_a_chunk_changes_no_bit():
    params = lmdp.Params(60, 0.1, 0.05)
    one, other = (lmdp.run(access(SMALL, 5, **more), params, rng()).trace for more in ({}, {"chunk": 7}))
    np.testing.assert_array_equal(one.info["value"], other.info["value"])
    np.testing.assert_array_equal(one.policies[one.index], other.policies[other.index])


def test_gaps_are_those_of_the_alpha_vectors():
    model, log, _ = checks.played({"sizes": [2, 2, 2, 3], "K": 200, "c": 0.05}, lmdp.run, rng(3))
    V, first = lmdp.plan(*parts(model), 3)[0], (model.w[:, None] * model.nu).T
    slow = [V - (first * lmdp.alpha_vectors(model.P, model.r, pi, 3)[0]).sum() for pi in log.policy]
    np.testing.assert_allclose(checks.gaps(model, log), slow, rtol=0, atol=EXACT)


OK = lmdp.theory(8, 0.1)
TALL = LatentMDP(SMALL.w, SMALL.nu, SMALL.P, 2 * SMALL.r, 3)
DEEP = latent(2, 2, 2, 11)
BAD = {
    "not episodes": (lambda: lmdp.run(Generative(stationary_episodic(3, 2, 3), rng()), OK, rng()), "must be a Ep"),
    "no rewards": (lambda: lmdp.run(Episodes(SMALL, rng(), hindsight=True), OK, rng()), "known.r"),
    "tall": (lambda: lmdp.run(access(TALL), OK, rng()), "access.known.r"),
    "not told": (lambda: lmdp.run(Episodes(SMALL, rng(), grant=("w", "nu", "r")), OK, rng()), AccessDenied, "reveal"),
    "deep": (lambda: lmdp.run(access(DEEP), OK, rng()), r"\(S A\)\^H must be"),
    "no params": (lambda: lmdp.run(access(SMALL), 8, rng()), "params must be a Params"),
    "no generator": (lambda: lmdp.run(access(SMALL), OK, 3), "rng must be"),
    "c": (lambda: lmdp.run(access(SMALL), lmdp.Params(8, 0.1, -1.0), rng()), "params.c must be"),
    "K": (lambda: lmdp.theory(0, 0.1), "K must be at least 1"),
    "delta": (lambda: lmdp.theory(8, 1.0), "delta must be in"),
}


test_bad_input = closing.refusals(BAD)


def test_the_figure_draws_what_it_computes():
    from matplotlib.figure import Figure

    data, figure = picture.compute(None, K=60, runs=2, last=3), Figure()
    picture.draw(data, figure, {"C4": "SUPPORTED"})
    assert all((np.diff(data[name], axis=-1) >= 0).all() for name in data if name.startswith("run"))
    assert len(figure.axes) == 2 and (data["bounded"] <= 0.25).all()


test_no_claim_is_refuted_and_every_control_is = closing.claims(checks.CHECKS)
