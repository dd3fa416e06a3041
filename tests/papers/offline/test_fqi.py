"""FQI: reference values, identities on numbers, accounting, the slow reference, every claim and every control."""

import math

import closing
import numpy as np
import pytest

from algorithms.offline import fqi
from algorithms.offline.fqi import Params
from mdpkit.access import Episodes, Generative
from mdpkit.data import collect, draw_tuples
from mdpkit.instances.formula import linear, stationary, stationary_episodic
from mdpkit.instances.garnet import random_episodic, random_mdp
from mdpkit.measure.values import optimal_action_value, value
from mdpkit.models.convert import to_episodic
from mdpkit.models.tabular import TabularMDP
from mdpkit.records import Dataset, Steps
from theory_checks.offline import fqi as checks

pytestmark = pytest.mark.xdist_group("fqi")

EXACT = 1e-12
ROUND = 1e-9
CARD = stationary(4, 3, 0.8)
MU = np.full((4, 3), 1 / 12)
PHI = checks.features()
Q = optimal_action_value(CARD)


def rng(seed=0):
    return np.random.default_rng(seed)


def close(a, b, tolerance=EXACT):
    np.testing.assert_allclose(a, b, rtol=0, atol=tolerance)


def logged(model, n, seed=1):
    return draw_tuples(to_episodic(model, 1), np.full((1, *model.r.shape), 1 / model.r.size), n, rng(seed))


def errors(f):
    return np.array([f[k + 1] - CARD.r - 0.8 * (CARD.dense @ f[k].max(-1)) for k in range(len(f) - 1)])


def test_reference_values():
    f = fqi.iterates(MU, CARD.r, CARD.dense, 0.8, 8, PHI, 5.0)
    eps = errors(f)
    l2 = np.sqrt((MU * eps * eps).sum((1, 2))).max()
    C = fqi.concentrability(CARD.dense, CARD.rho, MU)
    close(Q.max(-1), (3.9575770207255294, 3.5010591985268276, 3.7591032333814436, 4.132579069390255))
    close(f[8, 0], (1.7263818883390403, 1.7363072234028702, 1.7462325584667004))
    close(f[8, 3, 2], 1.799108558130255)
    close(CARD.rho @ (Q.max(-1) - value(CARD, f[8].argmax(-1))), 2.2138594939872425)
    close(l2, 0.337790109712559)                                 # the largest error in L2(mu); in sup norm 0.5747
    close(C, 5.048462577536894)
    close(fqi.l2_bound(C[0], l2, 0.8, 8), 46.33727318693242, ROUND)
    close(np.abs(Q - f[8]).max(), 2.35332118138766)
    close(fqi.sup_bound(np.abs(eps).max((1, 2)), 0.8, Q.max())[0], 3.082866178927838)


def test_reference_values_of_the_divergence():
    P, r, phi = np.array([[[0, 1.0]], [[0, 1.0]]]), np.zeros((2, 1)), np.array([[[1.0]], [[2.0]]])
    ends = [fqi.iterates(np.full((2, 1), 0.5), r, P, gamma, 50, phi, None, phi[..., 0])[-1, 0, 0]
            for gamma in (0.8, 0.9, 0.99)]
    close(ends, (0.12989, 46.9016, 5505.82), 5e-3)             # all digits that are known
    close(ends, [(1.2 * g) ** 50 for g in (0.8, 0.9, 0.99)], ROUND)


def test_reversed_weights_fail_where_the_last_error_is_large():
    """Exact value iteration, noise 1e-3 in steps 1 to 5 and 2 in the last, gamma = 1/2, K = 6: in all of 200 runs."""
    for k in range(200):
        g = rng(k)
        m = random_mdp(3, 2, 0.5, g)
        best, f, eps = optimal_action_value(m), np.zeros((3, 2)), []
        for j in range(6):
            noise = g.choice([-1, 1], (3, 2)) * (2.0 if j == 5 else 1e-3)
            f = m.r + 0.5 * (m.dense @ f.max(-1)) + noise
            eps.append(np.abs(noise).max())
        error, start = np.abs(best - f).max(), best.max()
        assert fqi.sup_bound(eps[::-1], 0.5, start)[0] < error <= fqi.sup_bound(eps, 0.5, start)[0] + ROUND


def test_identities_on_numbers():
    """With all functions the iterates are those of value iteration; tuples, counts and features agree."""
    f = fqi.iterates(MU, CARD.r, CARD.dense, 0.8, 30)
    close(errors(f), 0.0)
    assert np.abs(f[-1] - Q).max() <= 0.8**30 * Q.max() + EXACT
    data = logged(CARD, 300)
    tuples = Steps(*(part[:, 0] for part in data.steps))
    for phi, run, bounds in ((np.eye(12).reshape(4, 3, 12), fqi.run, {}), (PHI, fqi.run_linear, {"phi": PHI})):
        g = np.zeros((4, 3))
        for _ in range(6):
            g = np.clip(fqi.regress(tuples, g, 0.8, phi), 0, 5)
        close(run(Episodes(CARD, rng(), bounds=bounds), data, Params(6), rng()).output, g, ROUND)


def test_concentrability_against_a_search_over_policies():
    m = random_mdp(3, 2, 0.5, rng(3))
    mu = np.array([[0.1, 0.2], [0.3, 0.1], [0.2, 0.1]])
    low, high = fqi.concentrability(m.dense, m.rho, mu)
    best, laws = m.rho.copy(), [m.rho]
    for _ in range(3):
        laws = [law @ m.dense[np.arange(3), pi] for law in laws for pi in np.indices((2, 2, 2)).reshape(3, -1).T]
        best = np.maximum(best, np.max(laws, axis=0))
    assert (best / mu.min(-1)).max() <= low + EXACT
    assert low <= high
    close(high, low, ROUND)
    assert fqi.concentrability(m.dense, m.rho, mu * (mu > 0.1))[0] == math.inf
    alone = np.array([[0.5, 0.5], [0, 0]])
    still = np.tile(np.eye(2)[:, None], (1, 2, 1))
    close(fqi.concentrability(still, np.array([1.0, 0]), alone), 2.0)                # what is not reached needs no data


def slow(data, gamma, K, S, A, default=0.0, top=math.inf, backup=max, fresh=False, last=False):
    """Lines 1 to 4 from lists of tuples."""
    rows = list(zip(*(part[:, 0].tolist() for part in data.steps)))
    f = [[0.0] * A for _ in range(S)]
    for k in range(K):
        batch = rows[k::K] if fresh else rows
        new = [[default] * A for _ in range(S)]
        for s in range(S):
            for a in range(A):
                y = [r + gamma * backup(f[t]) for x, b, r, t in batch if (x, b) == (s, a)]
                if y:
                    new[s][a] = min(max(y[-1] if last else sum(y) / len(y), 0.0), top)
        f = new
    return np.array(f)


@pytest.mark.parametrize("fresh", [False, True])
def test_run_agrees_with_the_slow_reference(fresh):
    """Means are summed in another order: some n u Vmax, far below 1e-12."""
    m = TabularMDP(CARD.P, CARD.r, 0.8, CARD.rho, "bernoulli")
    data = logged(m, 50)                                             # some pairs of some batches stay unseen
    out = fqi.run(Episodes(m, rng()), data, Params(5, 0.25, fresh), rng())
    close(out.output, slow(data, 0.8, 5, 4, 3, 0.25, 5.0, fresh=fresh))
    np.testing.assert_array_equal(out.trace.policies[out.trace.index], out.trace.info["f"].argmax(-1))


MUTANTS = {"mean over actions": {"backup": lambda x: sum(x) / len(x)}, "worst action": {"backup": min},
           "the last tuple": {"last": True}, "another default": {"default": 1.0}}


@pytest.mark.parametrize("name", MUTANTS)
def test_each_mutant_differs_from_run(name):
    m = TabularMDP(CARD.P, CARD.r, 0.8, CARD.rho, "bernoulli")
    data = logged(m, 20)
    out = fqi.run(Episodes(m, rng()), data, Params(5), rng()).output
    assert np.abs(slow(data, 0.8, 5, 4, 3, **{"top": 5.0} | MUTANTS[name]) - out).max() > ROUND


def test_episodic_forms():
    """Plenty of data give Q*; with one-hot features both forms agree; every step uses its own tuples."""
    m = random_episodic(3, 2, 3, rng(1))
    data = draw_tuples(m, np.full((3, 3, 2), 1 / 6), 60000, rng(2))
    f = fqi.run_episodic(Episodes(m, rng()), data, Params(1), rng())
    # 10000 tuples a pair, targets within 3: five standard deviations of a step, three steps
    assert np.abs(f.output - optimal_action_value(m)).max() < 3 * 5 * 1.5 / 100
    hot = np.eye(6).reshape(3, 2, 6)
    few = draw_tuples(m, np.full((3, 3, 2), 1 / 6), 100, rng(3))
    one = fqi.run_episodic_linear(Episodes(m, rng(), bounds={"phi": hot}), few, Params(1), rng()).output
    close(one, fqi.run_episodic(Episodes(m, rng()), few, Params(1), rng()).output, ROUND)
    lin = linear(6, 3, 3, 3)
    many = draw_tuples(lin, np.full((3, 6, 3), 1 / 18), 100000, rng(4))
    close(fqi.run_episodic_linear(Episodes(lin, rng()), many, Params(1), rng()).output, optimal_action_value(lin), 0.05)


def test_every_tuple_is_counted():
    data = logged(CARD, 77)
    N, r, P = fqi._means(Steps(*(part[:, 0] for part in data.steps)), 4, 3)
    assert N.sum() == 77
    close((N[..., None] * P).sum(), 77, ROUND)
    close(P.sum(-1), N > 0)
    close(r, np.where(N > 0, CARD.r, 0.0))
    assert fqi.run(Episodes(CARD, rng()), data, Params(2), rng()).samples == {"offline": 77, "episodes": 0, "steps": 0}
    K = fqi.theory(0.1, 0.8).K
    assert 2 * 0.8**K / 0.04 <= 0.1 < 2 * 0.8 ** (K - 1) / 0.04
    assert fqi.theory(0.1, 0.0).K == 1


EPISODIC = stationary_episodic(4, 3, 3)
BAD = {
    "generative": (lambda: fqi.run(Generative(CARD, rng()), logged(CARD, 5), Params(2), rng()), "access must be a Ep"),
    "K": (lambda: fqi.run(Episodes(CARD, rng()), logged(CARD, 5), Params(0), rng()), "params.K must be at least 1"),
    "batches": (lambda: fqi.run(Episodes(CARD, rng()), logged(CARD, 5), Params(6, 0.0, True), rng()), "least 6 rows"),
    "steps": (lambda: fqi.run_episodic(Episodes(EPISODIC, rng()), logged(CARD, 5), Params(1), rng()), "of 3 steps"),
    "columns": (lambda: fqi.run(Episodes(CARD, rng()), collect(EPISODIC, np.zeros((3, 4), np.int64), 5, rng()),
                                Params(1), rng()), "of 1 steps"),
    "features": (lambda: fqi.run_linear(Episodes(CARD, rng()), logged(CARD, 5), Params(1), rng()), "known.phi"),
    "states": (lambda: fqi.run(Episodes(CARD, rng()), Dataset(Steps(*(np.full((2, 1), 9) for _ in range(2)),
               np.zeros((2, 1)), np.zeros((2, 1), np.int64)), "x"), Params(1), rng()), "data.steps.s"),
    "generator": (lambda: fqi.run(Episodes(CARD, rng()), logged(CARD, 5), Params(2), 1), "rng must be"),
    "gamma": (lambda: fqi.theory(0.1, 1.0), "gamma must be in"),
}


test_bad_input = closing.refusals(BAD)


test_no_claim_is_refuted_and_every_control_is = closing.claims(checks.CHECKS)
