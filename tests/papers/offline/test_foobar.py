"""FOOBAR: reference values, identities on numbers, accounting, slow references, every claim and every control."""

import math

import closing
import numpy as np
import pytest

from algorithms.offline import foobar, psdp
from mdpkit import validate
from mdpkit.access import Episodes, Generative, Reset
from mdpkit.data import draw_states
from mdpkit.instances.formula import step_dependent, step_dependent_policy
from mdpkit.instances.garnet import random_episodic
from mdpkit.instances.locks import combination_lock
from mdpkit.measure import plain
from mdpkit.models.tabular import EpisodicMDP
from mdpkit.rational import exact
from mdpkit.records import StateOnlyDataset
from mdpkit.solve import matching
from mdpkit.worlds.markov import start, step
from theory_checks.offline import foobar as checks

pytestmark = pytest.mark.xdist_group("foobar")

EXACT = 1e-12
ROUND = 1e-9
SOLVER = 1e-6
F = step_dependent(4, 3, 4)
MU = plain.state_law(F.P, F.rho, step_dependent_policy(4, 3, 4))
DATA = StateOnlyDataset(np.tile(np.arange(4)[:, None], (1, 4)), "each state once")


def rng(seed=0):
    return np.random.default_rng(seed)


def pushed(P, m, pi):
    return ((m[:, None] * pi)[..., None] * P).sum((0, 1))


def noisy(S, A, H, seed):
    m = random_episodic(S, A, H, rng(seed))
    return EpisodicMDP(m.P, m.r, m.rho, "bernoulli")


# ------------------------------------------------------------------------------- reference values, identities

def test_reference_values():
    np.testing.assert_allclose(MU[3], (0.26035441895059624, 0.2504107492994493, 0.25261892433254163,
                                       0.23661590741741284), rtol=0, atol=EXACT)
    target = np.array([0.7, 0.1, 0.1, 0.1])
    pi, g = foobar.match_by_program(F.P[0], F.rho, target)
    assert np.abs(pushed(F.P[0], F.rho, pi) - target).sum() == pytest.approx(0.7270220588235294, abs=ROUND)
    assert matching.least_distance(F.P[0], F.rho, target, g) == pytest.approx(0.7270220588235294, abs=ROUND)


def test_the_game_ends_near_the_target():
    """2000 rounds at step 0.1 end within 0.002 at each step; the programme ends at the target itself."""
    d = F.rho
    for h in range(3):
        pi = foobar._play_game(d[:, None, None] * F.P[h], MU[h + 1].copy(), 2000, 0.1)
        np.testing.assert_allclose(pi.sum(-1), 1.0, rtol=0, atol=ROUND)
        d = pushed(F.P[h], d, pi)
        assert np.abs(d - MU[h + 1]).sum() < 0.002
    np.testing.assert_allclose(plain.state_law(F.P, F.rho, foobar.forward(F.P, F.rho, MU)[0]), MU, rtol=0, atol=SOLVER)


def test_the_game_keeps_the_promise_of_its_parameters():
    """Theory's N and eta: the L1 distance is twice the value of the game, which ends within eps/H."""
    params = foobar.theory(4, 3, 0.2, 1)
    assert math.ceil(2 * 16 * math.log(3) / 0.04) == params.N
    pi = foobar._play_game(F.rho[:, None, None] * F.P[0], MU[1].copy(), params.N, params.eta)
    assert np.abs(pushed(F.P[0], F.rho, pi) - MU[1]).sum() <= 2 * 0.2 / 4


def test_root_two_is_attained():
    w = checks.tied()
    P, r, rho, pi_e = checks._exactly(w)
    f = checks._critics(P, r, w["noise"])
    pi = plain.probabilities(f.argmax(-1), r)
    assert float(psdp.difference(P, r, rho, pi_e, pi)) == 1.0
    assert foobar.reset_bound(P, r, rho, exact(w["mu"]), f, pi_e) == pytest.approx(math.sqrt(2), abs=EXACT)


def test_a_hole_in_the_data_makes_the_bounds_infinite():
    w = checks.misled(0.0)
    P, r, rho, pi_e = checks._exactly(w)
    mu, f = exact(w["mu"]), checks._critics(P, r, w["noise"])
    assert plain.state_coverage(P, rho, mu, pi_e) == [1, math.inf]
    assert foobar.reset_bound(P, r, rho, mu, f, pi_e) == math.inf
    assert foobar.trace_bound(P, r, rho, mu, exact(w["pi_mu"]), f, pi_e) == math.inf


@pytest.mark.parametrize("leak", [True, False])
def test_the_fading_lock(leak):
    """mu covers the right actions with C = 2; the matched roll-in halves at each step, or stays within 0.02 of 1/2."""
    m, mu, code = checks.fading_lock(10, leak)
    right = plain.probabilities(np.repeat(code[:, None], 3, 1), m.r)
    assert max(plain.state_coverage(m.P, m.rho, mu, right)) == 2.0
    assert plain.evaluate(m.P, m.r, right)[0][0, 0] == 1.0
    good = plain.state_law(m.P, m.rho, foobar.forward_by_squares(m.P, m.rho, mu))[:, 0]
    np.testing.assert_allclose(good, 2.0 ** -np.arange(10) if leak else mu[:, 0], rtol=0, atol=EXACT if leak else 0.02)


def test_the_needle_is_found_as_often_as_the_formula_says():
    """A = 2, H = 12, six resets: 0.0952; within five standard errors of 1000 runs. With 40 resets: 0.99988."""
    chance = lambda m: (1 - 0.75**m) ** 12
    assert chance(40) == pytest.approx(0.9998793276527406, abs=EXACT)
    assert 1000 / 2**12 == 0.244140625
    lock, own, found = combination_lock(12, 2), rng(1), 0
    params = foobar.Params(6, blocks=np.array([0, 0]))
    for _ in range(1000):
        out = foobar.run_reset(Reset(lock, own, to="any"), checks.HALVES, params, own).output
        found += bool((out.f.max((1, 2)) > 0).all())
    assert abs(found / 1000 - chance(6)) < 5 * math.sqrt(chance(6) * (1 - chance(6)) / 1000)


# ------------------------------------------------------------------------------------------- accounting

def test_every_episode_is_counted():
    """Forward: n episodes of h + 1 steps for h < H-1; backward: n whole episodes for each h."""
    result = foobar.run(Episodes(F, rng(1)), DATA, foobar.Params(30, 50, 0.1), rng(2))
    assert result.samples == {"offline": 4, "episodes": 30 * 3 + 30 * 4, "steps": 30 * (1 + 2 + 3) + 30 * 4 * 4}
    np.testing.assert_array_equal(result.output.visits.sum((1, 2)), [30] * 4)
    np.testing.assert_allclose(result.output.roll_in.sum(-1), 1.0, rtol=0, atol=ROUND)


def test_one_step_on_counts_each_transition():
    counts = np.zeros((4, 3, 4))
    Episodes(F, rng(1)).call(foobar._one_step_on, 2, 70, np.cumsum(np.full((4, 4, 3), 1 / 3), -1), counts, rng(2))
    assert counts.sum() == 70


# --------------------------------------------------------------------------------------- slow references

def slow(m, data, params, seed, *, last=False, unweighted=False, own_data=False, one_sided=False):
    """Lines 3 to 9 from the pseudo-code; the flags are mutants. The backward phase is PSDP's, tested there."""
    H, S, A = m.r.shape
    access, own = Episodes(m, rng(seed)), rng(seed + 1)
    roll_in = np.full((H, S, A), 1 / A)

    def one(world, h):
        s = start(world)
        for k in range(h):
            u = own.random()
            s = step(world, int(np.flatnonzero(u < np.cumsum(roll_in[k, s]))[0]))[1]
        a = int(own.random() * A)
        return s, a, step(world, a)[1]

    for h in range(H - 1):
        counts = np.zeros((S, A, S))
        for _ in range(params.n):
            counts[access.call(one, h)] += 1
        weight = 1 if unweighted else A
        logged = data.s[:, h if own_data else h + 1]
        target = [sum(1 for s in logged if s == t) / len(logged) for t in range(S)]
        roll_in[h] = slow_game(weight * counts / params.n, target, params, last, one_sided)
    back = psdp.run_trace(access, roll_in, psdp.Params(n=params.n), own)
    return roll_in, back.output.f


def slow_game(push, target, params, last, one_sided):
    S, A, _ = push.shape
    pi, mean = [[1 / A] * A for _ in range(S)], [[0.0] * A for _ in range(S)]
    visits = [0.0] * S
    for s, a, t in np.ndindex(S, A, S):
        visits[s] += push[s, a, t] / A
    for _ in range(params.N):
        gap = []
        for t in range(S):
            total = -target[t]
            for s, a in np.ndindex(S, A):
                total += pi[s][a] * push[s, a, t]
            gap.append(total)
        over, under = 0.0, 0.0
        for x in gap:
            over, under = over + max(x, 0.0), under + max(-x, 0.0)
        sign = 1.0 if one_sided or over >= under else -1.0
        chosen = [t for t in range(S) if sign * gap[t] > 0]
        for s in range(S):
            loss = [0.0] * A
            for a in range(A):
                mean[s][a] += pi[s][a] / params.N
                for t in chosen:
                    if visits[s] > 0:
                        loss[a] += sign * push[s, a, t] / visits[s]
            tilted = [p * math.exp(-params.eta * (x - min(loss))) for p, x in zip(pi[s], loss)]
            total = 0.0
            for x in tilted:
                total += x
            pi[s] = [x / total for x in tilted]
    return np.array(pi if last else mean)


PARAMS = foobar.Params(40, 30, 0.2)


@pytest.mark.parametrize(("S", "A", "H"), [(3, 3, 3), (4, 2, 4)])
def test_the_kernels_agree_with_the_pseudo_code_bit_for_bit(S, A, H):
    m = noisy(S, A, H, S)
    data = draw_states(np.full((H, S), 1 / S), 12, rng(1))
    out = foobar.run(Episodes(m, rng(5)), data, PARAMS, rng(6)).output
    roll_in, f = slow(m, data, PARAMS, 5)
    np.testing.assert_array_equal(out.roll_in, roll_in)
    np.testing.assert_array_equal(out.f, f)
    np.testing.assert_array_equal(out.policy, f.argmax(-1))


@pytest.mark.parametrize("mutant", ["last", "unweighted", "own_data", "one_sided"])
def test_each_mutant_differs(mutant):
    """The last policy, no weight A, the data of the step itself, a critic of one sign."""
    m = noisy(3, 3, 3, 3)
    data = draw_states(rng(2).dirichlet(np.ones(3), 3), 12, rng(1))
    out = foobar.run(Episodes(m, rng(5)), data, PARAMS, rng(6)).output
    assert np.abs(slow(m, data, PARAMS, 5, **{mutant: True})[0] - out.roll_in).max() > ROUND


def test_squares_descend_to_the_target_of_an_admissible_step():
    """Each step of exponentiated gradient written out, and the distance that 4000 of them leave."""
    push, target, pi = F.rho[:, None, None] * F.P[0], MU[1].copy(), np.full((4, 3), 1 / 3)
    for _ in range(20):
        gap = np.einsum("sa,sat->t", pi, push) - target
        pi = pi * np.exp(-2 * push @ gap)
        pi /= pi.sum(-1, keepdims=True)
    np.testing.assert_allclose(foobar._descend(push, target, 20, 1.0), pi, rtol=0, atol=EXACT)
    assert np.abs(pushed(F.P[0], F.rho, foobar._descend(push, target, 4000, 1.0)) - target).sum() < 0.01


def test_reset_and_backward_are_those_of_psdp():
    data, uniform = draw_states(MU, 9, rng()), validate.policy("uniform", np.full((4, 4, 3), 1 / 3), (4, 4, 3))
    mine = foobar.run_reset(Reset(F, rng(1), to=data), data, foobar.Params(20), rng(2))
    theirs = psdp.run_reset(Reset(F, rng(1), to=data), data, psdp.Params(n=20), rng(2))
    np.testing.assert_array_equal(mine.output.f, theirs.output.f)
    assert mine.samples == theirs.samples
    mine = foobar.run_backward(Episodes(F, rng(1)), uniform, foobar.Params(20), rng(2))
    theirs = psdp.run_trace(Episodes(F, rng(1)), uniform, psdp.Params(n=20), rng(2))
    np.testing.assert_array_equal(mine.output.f, theirs.output.f)


# ------------------------------------------------------------------------------------- errors, claims, controls

SHORT = StateOnlyDataset(np.zeros((4, 3), np.int64), "three steps")
FAR = StateOnlyDataset(np.full((4, 4), 9), "no such state")
GOOD = foobar.Params(5, 5, 0.1)
BAD = {
    "not episodes": (lambda: foobar.run(Generative(F, rng()), DATA, GOOD, rng()), "access must be a Episodes"),
    "horizon": (lambda: foobar.run(Episodes(F, rng()), SHORT, GOOD, rng()), "data.s must be of shape"),
    "no such state": (lambda: foobar.run(Episodes(F, rng()), FAR, GOOD, rng()), "data.s"),
    "no rounds": (lambda: foobar.run(Episodes(F, rng()), DATA, foobar.Params(5), rng()), "params.N must be at least 1"),
    "no step": (lambda: foobar.run(Episodes(F, rng()), DATA, foobar.Params(5, 5), rng()), "params.eta"),
    "no samples": (lambda: foobar.run_reset(Reset(F, rng(), to="any"), DATA, foobar.Params(0), rng()), "params.n"),
    "no roll-in": (lambda: foobar.run_backward(Episodes(F, rng()), MU, GOOD, rng()), "data"),
    "no generator": (lambda: foobar.run(Episodes(F, rng()), DATA, GOOD, 3), "rng must be"),
    "eps": (lambda: foobar.theory(3, 2, 0.0, 5), "eps must be"),
}


test_bad_input = closing.refusals(BAD)


test_no_claim_is_refuted_and_every_control_is = closing.claims(checks.CHECKS)
