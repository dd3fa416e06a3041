"""Behaviour cloning: reference values, identities on numbers, accounting, slow references, every claim and control."""

import itertools
import math

import closing
import numpy as np
import pytest

from algorithms.offline import bc
from algorithms.offline.bc import Params
from mdpkit import validate
from mdpkit.access import Episodes, Generative
from mdpkit.data import collect
from mdpkit.instances.formula import stationary_episodic, stationary_policy, step_dependent, step_dependent_policy
from mdpkit.measure.regret import gap
from mdpkit.measure.values import start_value
from mdpkit.records import Dataset, Steps
from mdpkit.solve import episodic
from theory_checks.offline import bc as checks

pytestmark = pytest.mark.xdist_group("bc")

EXACT = 1e-12
ROUND = 1e-9
F = stationary_episodic(4, 3, 4)
BEST = np.eye(3)[episodic.solve(F).policy]
LEARNER = 0.9 * BEST + 0.1 * stationary_policy(4, 3)
G = step_dependent(4, 3, 4)
RANDOM = step_dependent_policy(4, 3, 4)


def rng(seed=0):
    return np.random.default_rng(seed)


def logged(n, seed=0, policy=RANDOM):
    return collect(G, policy, n, rng(seed))


# ------------------------------------------------------------------------------- reference values, identities

def test_reference_values():
    fine, coarse = bc.propagation_bound(F.P, F.rho, BEST, LEARNER)
    assert bc.gap(F.P, F.r, F.rho, BEST, LEARNER) == pytest.approx(0.13801696296423072, abs=EXACT)
    np.testing.assert_allclose(bc.errors(F.P, F.rho, BEST, LEARNER), (
        0.0593253968253968, 0.06543313564742134, 0.06573476263421055, 0.06561798600175146), rtol=0, atol=EXACT)
    assert fine == pytest.approx(0.6306885055140238, abs=EXACT)
    assert coarse == pytest.approx(1.0244451244351207, abs=EXACT)
    assert bc.hellinger(F.P, F.rho, BEST, LEARNER) == pytest.approx(0.24808645648808336, abs=EXACT)
    assert bc.gap(F.P, F.r, F.rho, BEST, LEARNER) == pytest.approx(gap(F, LEARNER), abs=EXACT)


def test_the_bound_without_the_horizon_is_false():
    m, expert = checks.cliff(20, False), np.tile([1.0, 0.0], (20, 2, 1))
    learner = 0.99 * expert + 0.01 * expert[..., ::-1]
    loss = bc.gap(m.P, m.r, m.rho, expert, learner)
    assert loss == pytest.approx(1.973, abs=5e-4) and loss > 20 * 0.01            # four digits
    assert loss == pytest.approx(bc.cliff_loss(20, 0.01), abs=EXACT)


@pytest.mark.parametrize(("back", "slope"), [(False, 1.94), (True, 1.03)])
def test_slopes_in_the_horizon(back, slope):
    H = np.array([8, 16, 32, 64])
    losses = [float(checks._erring(bc.gap, h, 0.001, back)) for h in H.tolist()]
    assert np.polyfit(np.log(H), np.log(losses), 1)[0] == pytest.approx(slope, abs=5e-3)     # three digits


def test_a_random_expert_breaks_the_fast_route():
    """Loss 1e-3, 4 D^2 = 4e-6 to one digit."""
    P, rho = np.ones((1, 1, 2, 1)), np.ones(1)
    expert, learner = np.array([[[0.5, 0.5]]]), np.array([[[0.499, 0.501]]])
    assert bc.gap(P, np.array([[[1.0, 0.0]]]), rho, expert, learner) == pytest.approx(1e-3, abs=EXACT)
    assert 4 * bc.hellinger(P, rho, expert, learner) == pytest.approx(4e-6, rel=0.01)


def test_the_mean_loss_on_redrawn_states():
    """Its formula to all digits; 500 runs within four standard errors of it."""
    mean = bc.cliff_loss(8, 0.5 * bc.missing_mass(checks.NU, 20))
    assert mean == pytest.approx(1.0462334727988134, abs=EXACT)
    assert 8 * 9 / 2 * 6 / (math.e * 20) == pytest.approx(3.973, abs=5e-4)         # four digits
    m, own, losses = checks.redrawn(8), rng(1), []
    for _ in range(500):
        data = collect(m, np.zeros((8, 7), np.int64), 20, own)
        losses.append(8 - start_value(m, bc.run(Episodes(m, own), data, Params(), own).output))
    assert abs(np.mean(losses) - mean) < 4 * np.std(losses) / math.sqrt(500)
    lucky = bc.run(Episodes(m, own), data, Params(unseen=0), own).output
    assert start_value(m, lucky) == pytest.approx(8, abs=EXACT)


def test_hellinger_by_enumeration():
    m, p, q = step_dependent(2, 2, 3), step_dependent_policy(2, 2, 3), np.full((3, 2, 2), 0.5)
    total = 0.0
    for s in itertools.product(range(2), repeat=3):
        for a in itertools.product(range(2), repeat=3):
            world = m.rho[s[0]] * m.P[0, s[0], a[0], s[1]] * m.P[1, s[1], a[1], s[2]]
            ours, theirs = (math.prod(pi[h, s[h], a[h]] for h in range(3)) for pi in (p, q))
            total += world * (math.sqrt(ours) - math.sqrt(theirs)) ** 2
    assert bc.hellinger(m.P, m.rho, p, q) == pytest.approx(total, abs=EXACT)
    assert bc.hellinger(m.P, m.rho, p, p) == pytest.approx(0.0, abs=EXACT)


# ------------------------------------------------------------------------------------------- accounting

def test_every_pair_is_counted_and_nothing_is_played():
    data, access = logged(40), Episodes(G, rng())
    n = bc._tally(access, data, Params(), rng())
    np.testing.assert_array_equal(n.sum((1, 2)), 40)
    result = bc.run(access, data, Params(), rng())
    assert result.samples == {"offline": 40} and access.samples["steps"] == 0
    seen = n.sum(-1)
    np.testing.assert_allclose(result.output * np.maximum(seen, 1)[..., None], np.where(
        seen[..., None] > 0, n, 1 / 3), rtol=0, atol=40 * EXACT)


# --------------------------------------------------------------------------------------- slow references

def slow(data, H, S, A, unseen=None, *, shift=0, pool=False, smooth=0.0):
    """Line 2 and 5, by lists of actions. The flags are mutants."""
    out = np.zeros((H, S, A))
    for h in range(H):
        for s in range(S):
            steps = range(H) if pool else [(h + shift) % H]
            found = [int(data.steps.a[i, k]) for k in steps for i in range(data.n) if data.steps.s[i, k] == s]
            for a in range(A):
                if found:
                    out[h, s, a] = (found.count(a) + smooth) / (len(found) + A * smooth)
                else:
                    out[h, s, a] = 1 / A if unseen is None else float(a == unseen)
    return out


@pytest.mark.parametrize(("n", "unseen"), [(0, None), (3, None), (3, 1), (60, 2)])
def test_the_shares_agree_with_the_pseudo_code_bit_for_bit(n, unseen):
    data = logged(n, n)
    out = bc.run(Episodes(G, rng()), data, Params(unseen), rng()).output
    np.testing.assert_array_equal(out, slow(data, 4, 4, 3, unseen))
    best = bc.run_indicator(Episodes(G, rng()), data, Params(unseen), rng()).output
    for h, s in np.ndindex(4, 4):
        found = data.steps.a[:, h][data.steps.s[:, h] == s]
        misses = [int((found != a).sum()) for a in range(3)]
        law = np.eye(3)[misses.index(min(misses))] if len(found) else slow(data, 4, 4, 3, unseen)[h, s]
        np.testing.assert_array_equal(best[h, s], law)


@pytest.mark.parametrize("mutant", [{"shift": 1}, {"pool": True}, {"smooth": 1.0}, {"unseen": 0}])
def test_each_mutant_differs(mutant):
    """The next step's data, those of all steps, a pseudo-count, another action where nothing was seen."""
    data = logged(6, 2)
    out = bc.run(Episodes(G, rng()), data, Params(), rng()).output
    assert np.abs(slow(data, 4, 4, 3, **mutant) - out).max() > ROUND


def test_the_shares_are_most_likely_and_the_class_is_searched():
    data = logged(50, 3)
    mine = bc.run(Episodes(G, rng()), data, Params(), rng()).output
    policies = np.stack([np.full(RANDOM.shape, 1 / 3), RANDOM, mine, 0.5 * mine + 0.5 * RANDOM])
    likely = [sum(math.log(pi[h, data.steps.s[i, h], data.steps.a[i, h]]) for i in range(50) for h in range(4))
              for pi in policies]
    assert int(np.argmax(likely)) == 2
    for some in ([0, 1], [1, 0], [0, 3, 1], [0, 1, 2, 3]):
        given = bc.theory(validate.simplex("policies", policies[some], (len(some), 4, 4, 3)))
        found = bc.run_class(Episodes(G, rng()), data, given, rng()).output
        best = policies[max(some, key=lambda k: likely[k])]
        np.testing.assert_allclose(found, best, rtol=0, atol=EXACT)


def test_a_policy_that_forbids_a_logged_action_is_never_most_likely():
    data = logged(50, 3)
    policies = np.stack([np.eye(3)[np.zeros((4, 4), int)], RANDOM])
    found = bc.run_class(Episodes(G, rng()), data, bc.theory(policies), rng()).output
    np.testing.assert_allclose(found, RANDOM, rtol=0, atol=EXACT)


# ------------------------------------------------------------------------------------- errors, claims, controls

FAR = Dataset(Steps(*(np.full((4, 4), 9) for _ in range(2)), np.zeros((4, 4)), np.zeros((4, 4), np.int64)), "x")
BAD = {
    "no sizes": (lambda: bc.run(Generative(G, rng()), logged(3), Params(), rng()), "access must be a Episodes"),
    "horizon": (lambda: bc.run(Episodes(checks.cliff(3, False), rng()), logged(3), Params(), rng()), "data.H"),
    "unknown states": (lambda: bc.run(Episodes(G, rng()), FAR, Params(), rng()), "data.steps"),
    "no action": (lambda: bc.run(Episodes(G, rng()), logged(3), Params(3), rng()), "params.unseen"),
    "no class": (lambda: bc.run_class(Episodes(G, rng()), logged(3), Params(), rng()), "params.policies"),
    "no generator": (lambda: bc.run(Episodes(G, rng()), logged(3), Params(), 3), "rng must be"),
    "draws": (lambda: bc.missing_mass(checks.NU, -1), "n must be at least 0"),
}


test_bad_input = closing.refusals(BAD)


test_no_claim_is_refuted_and_every_control_is = closing.claims(checks.CHECKS)
