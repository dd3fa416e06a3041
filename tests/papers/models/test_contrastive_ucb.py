"""Contrastive UCB: reference values, identities, accounting, the slow reference, every claim and every control."""

import closing
import numpy as np
import pytest

from algorithms.models import contrastive_ucb as paper
from algorithms.models.contrastive_ucb import Params
from mdpkit.access import Episodes, Generative
from mdpkit.errors import AccessDenied, MdpkitError
from mdpkit.instances import formula
from mdpkit.kernels.backup import optimise_episodic
from mdpkit.solve import correlated
from mdpkit.worlds import games, markov
from theory_checks.models import contrastive_ucb as checks

pytestmark = pytest.mark.xdist_group("contrastive-ucb")

EXACT = 1e-12
ROUND = 1e-9
SOLVER = 1e-6
GAME = formula.game(3, 2, 2, 3)
MDP = formula.step_dependent(3, 2, 3)


def rng(seed=0):
    return np.random.default_rng(seed)


def opened(model=GAME, seed=1, **bounds):
    bounds = {"negatives": np.full(model.S, 1 / model.S)} | bounds
    return Episodes(model, rng(seed), grant=("r", "rho"), bounds=bounds)


def test_reference_values_of_the_risk():
    P, law = np.array([0.4, 0.3, 0.2, 0.1]), np.full(4, 0.25)
    best, one = paper.risk(P / law, P, law), paper.risk(np.ones(4), P, law)
    assert best == pytest.approx(0.6652815671026686, abs=EXACT)
    assert one == pytest.approx(0.6931471805599453, abs=EXACT)
    assert one - best == pytest.approx(0.027865613457276672, abs=EXACT)
    assert paper.excess_risk(P, law, np.ones(4)) == pytest.approx(0.027865613457276672, abs=EXACT)
    assert paper.distance_bound(np.ones(4), one - best) == pytest.approx(2 * np.sqrt(0.055731226914553344), abs=EXACT)
    assert np.abs(law - P).sum() == pytest.approx(0.4, abs=EXACT)


def test_reference_values_of_the_rank_two_kernel():
    phi, W = checks.two_factors()
    f = paper.ratio(phi @ W, np.full(6, 1 / 6))
    values = np.linalg.svd(f, compute_uv=False)
    np.testing.assert_allclose(values[:2], [9.128281055265427, 0.8331583625030377], rtol=0, atol=EXACT)
    assert values[2] < 1e-14                            # the reference's own figure
    blind = paper.transition(paper.ratio(phi @ W, np.array([1, 1, 1, 1, np.inf, np.inf]) / 4), checks.on_first(6, 4))
    assert np.abs(blind - phi @ W).sum(1).mean() == pytest.approx(0.8290584415584417, abs=EXACT)


def test_reference_values_of_the_game():
    r, P = GAME.r[0].reshape(3, 3, 4), GAME.P.reshape(3, 3, 4, 3)
    (mu, nu, width), U, L = paper.plan(P, np.zeros((3, 3, 4)), r, GAME.rho, (2, 2))
    assert width == pytest.approx(0.0, abs=SOLVER)
    np.testing.assert_allclose(U[0], [1.4099058515120406, 1.1777932266690168, 1.3175964548151524], rtol=0, atol=SOLVER)
    assert U[0] @ GAME.rho == pytest.approx(1.3017651776654033, abs=SOLVER)
    high, low = checks.best_responses(GAME.P, GAME.r[0], mu, nu)
    np.testing.assert_allclose([high[0], low[0]], [U[0], L[0]], rtol=0, atol=SOLVER)


def test_one_action_for_the_second_player_is_greedy_planning():
    m = checks.chain()
    (mu, _, width), U, _ = paper.plan(m.P, np.zeros(m.r.shape), m.r, m.rho, (2, 1))
    V, Q, greedy = optimise_episodic(*m.rows, m.r)
    np.testing.assert_allclose(U, V, rtol=0, atol=ROUND)
    assert abs(width) <= ROUND
    np.testing.assert_allclose((mu * Q).sum(-1), V[:-1], rtol=0, atol=ROUND)
    assert (mu.argmax(-1) == greedy).mean() > 0.5       # the rest are ties


def choose(law, u):
    """The first action whose cumulative probability exceeds u."""
    total = 0.0
    for a in range(len(law) - 1):
        total += law[a]
        if u < total:
            return a
    return len(law) - 1


def slow(model, params, world_seed, seed, *, back=True, both=False, cut=True, follow=True, labels=2):
    """Lines 1 to 9 from their text: lists of tuples, every count anew."""
    duel = model is GAME
    H, S, sizes = model.H, model.S, model.A if duel else (model.A, 1)
    J, law, own, access = sizes[0] * sizes[1], np.full(model.S, 1 / model.S), rng(seed), opened(model, world_seed)
    r = model.r[0].reshape(H, S, J) if duel else model.r
    verbs = games if duel else markov
    move = lambda a, b: access.call(verbs.step, np.array([a, b]) if duel else a)[1]
    mu, nu, width = np.full((H, S, sizes[0]), 1 / sizes[0]), np.full((H, S, sizes[1]), 1 / sizes[1]), np.inf
    D, far, played, widths = [], [], [], []
    for _ in range(params.K):
        played.append(np.concatenate([mu, nu], axis=2) if duel else mu)
        widths.append(width)
        for h in range(H):
            for late in range(min(h, 1) + 1):
                s = access.call(verbs.start)
                for k in range(h + 1):
                    u, v = own.random(), own.random()
                    a, b = int(u * sizes[0]), int(v * sizes[1])
                    if k < h - late and follow:
                        a, b = choose(mu[k, s], u), choose(nu[k, s], v)
                    s = move(a, b) if k < h else s
                y = min(int(own.random() * labels), 1)
                t = move(a, b) if y else choose(law, own.random())
                (far if late else D).append((h, s, a * sizes[1] + b, y, t))
        mu, nu, width = backward(r, model.rho, sizes, law, D, far, params, back, both, cut)
    return np.array(played), np.array(widths), len(D) + len(far), sum(x[3] for x in D + far)


def backward(r, rho, sizes, law, D, far, params, back, both, cut):
    """Lines 4 to 8."""
    H, S, J = r.shape
    mu, nu, U, L = np.zeros((H, S, sizes[0])), np.zeros((H, S, sizes[1])), np.zeros((H + 1, S)), np.zeros((H + 1, S))
    data = D + far if back else D
    for h in reversed(range(H)):
        for s in range(S):
            payoffs, sigma = np.zeros((2, J)), np.zeros(J)
            for j in range(J):
                seen = [(y, t) for *at, y, t in data if at == [h, s, j]]
                n = len([1 for *at, _, _ in (D + far if both else D) if at == [h, s, j]])
                mass = [law[t] * (seen.count((1, t)) / max(seen.count((0, t)), 0.5)) for t in range(S)]
                total = sum(mass)
                beta = min(params.alpha * H / np.sqrt(max(n, 1)), H)
                up, down = r[h, s, j] + beta, r[h, s, j] - beta
                for t in range(S):
                    p = mass[t] / total if total > 0 else 0.0
                    up, down = up + p * U[h + 1, t], down + p * L[h + 1, t]
                payoffs[:, j] = min(up, H - h) if cut else up, -max(down, 0.0)
            correlated.equilibrium(payoffs, np.array(sizes), False, sigma)
            for j in range(J):
                mu[h, s, j // sizes[1]] += sigma[j]
                nu[h, s, j % sizes[1]] += sigma[j]
                U[h, s] += sigma[j] * payoffs[0, j]
                L[h, s] -= sigma[j] * payoffs[1, j]
    return mu, nu, (rho * (U[0] - L[0])).sum()


@pytest.mark.parametrize("model", [GAME, MDP], ids=["game", "mdp"])
def test_the_kernels_agree_with_the_pseudo_code_bit_for_bit(model):
    params = Params(12, 0.2)
    played, widths, tuples, ones = slow(model, params, 5, 7)
    out = (paper.run_game if model is GAME else paper.run)(opened(model, 5), params, rng(7))
    np.testing.assert_array_equal(out.trace.policies[out.trace.index], played)
    np.testing.assert_array_equal(out.trace.info["width"], widths)
    walked = params.K * sum(h * (1 + (h > 0)) for h in range(model.H))
    assert out.samples == {"episodes": tuples, "steps": walked + ones}
    if model is GAME:
        assert out.output.width <= widths.min()


MUTANTS = {"forgets D~": {"back": False}, "counts D~ in the bonus": {"both": True}, "does not cut U": {"cut": False},
           "explores uniformly": {"follow": False}, "draws two positives for a negative": {"labels": 3}}


@pytest.mark.parametrize("name", MUTANTS)
def test_each_mutant_differs_from_the_kernels(name):
    params = Params(12, 0.2)
    out = paper.run_game(opened(GAME, 5), params, rng(7))
    other = slow(GAME, params, 5, 7, **MUTANTS[name])[1]
    assert np.abs(other[1:] - out.trace.info["width"][1:]).max() > ROUND


def test_every_tuple_is_counted():
    n, H = 50, GAME.H
    visits, pairs, access = np.zeros((H, 3, 4)), np.zeros((2, H, 3, 4, 3)), opened()
    laws = paper._stairs(np.full((H, 3, 2), 0.5))
    access.call(paper._collect, n, None, 1, paper._stairs(np.full(3, 1 / 3)), laws, laws, visits, pairs, rng())
    np.testing.assert_array_equal(visits.sum((1, 2)), [n] * H)
    np.testing.assert_array_equal(pairs.sum((0, 2, 3, 4)), [n, 2 * n, 2 * n])
    assert access.samples == {"episodes": n * (2 * H - 1), "steps": n * H * (H - 1) + pairs[1].sum()}


def test_growth_plans_less_often_and_plays_as_much():
    every, some = (paper.run_game(opened(), Params(40, 0.2, growth=g), rng()) for g in (0.0, 0.5))
    assert len(every.trace) == len(some.trace) == 40
    assert len(some.trace.policies) < 12 < len(every.trace.policies)      # after 1, 3, 6, 10, 16, 25, 39, 40
    assert every.samples["episodes"] == some.samples["episodes"]


def test_one_hot_bonuses_are_inverse_roots_of_counts():
    visits = rng().integers(0, 9, (2, 3, 4)).astype(float)
    phi = np.broadcast_to(np.eye(12).reshape(3, 4, 12), (2, 3, 4, 12))
    np.testing.assert_allclose(paper.bonuses(phi, visits, Params(1, 0.7, 0.5)),
                               np.minimum(1.4 / np.sqrt(visits + 0.5), 2), rtol=0, atol=EXACT)


def test_counts_minimise_the_risk():
    ones, zeros = rng(1).integers(1, 9, (3, 4)), rng(2).integers(1, 9, (3, 4))
    f = paper.fit(ones, zeros)
    for other in (f * 1.01, f / 1.01, np.ones((3, 4))):
        assert paper.risk(f, ones, zeros) < paper.risk(other, ones, zeros)
    assert paper.choose(np.stack([f * 2, f, f / 2]), ones, zeros) == 1


def test_empty_counts_are_clipped():
    np.testing.assert_array_equal(paper.fit(np.array([3.0, 0.0]), np.zeros(2)), [6.0, 0.0])
    np.testing.assert_array_equal(paper.transition(np.array([[6.0, 0.0], [0.0, 0.0]]), np.array([0.5, 0.5])),
                                  [[1.0, 0.0], [0.0, 0.0]])


def test_theory_grows_as_the_theorem_says():
    one, more = paper.theory(100, 4, 4, 2, 10, 0.1), paper.theory(100, 4, 16, 2, 10, 0.1)
    assert one.alpha == pytest.approx(np.sqrt(8 * np.log(40000)), rel=EXACT)
    assert one.lam == pytest.approx(2 * np.log(40000), rel=EXACT)
    assert more.alpha == pytest.approx(2 * one.alpha, rel=EXACT)


BAD = {
    "not episodes": (lambda: paper.run(Generative(MDP, rng()), Params(1, 0.1), rng()), MdpkitError, "access must be"),
    "rewards unknown": (lambda: paper.run(Episodes(MDP, rng(), bounds={"negatives": [1, 0, 0]}), Params(1, 0.1), rng()),
                        AccessDenied, "known.r"),
    "no negatives": (lambda: paper.run(Episodes(MDP, rng()), Params(1, 0.1), rng()), AccessDenied, "known.negatives"),
    "a game": (lambda: paper.run(opened(), Params(1, 0.1), rng()), MdpkitError, "to an MDP"),
    "an MDP": (lambda: paper.run_game(opened(MDP), Params(1, 0.1), rng()), MdpkitError, "zero-sum"),
    "not zero-sum": (lambda: paper.run_game(opened(formula.game(3, 2, 2, 3, zero_sum=False)), Params(1, 0.1), rng()),
                     MdpkitError, "zero-sum"),
    "negatives": (lambda: paper.run(opened(MDP, negatives=[0.5, 0.1, 0.1]), Params(1, 0.1), rng()), MdpkitError,
                  "negatives"),
    "lam": (lambda: paper.run(opened(MDP), Params(1, 0.1, 0.0), rng()), MdpkitError, "params.lam"),
    "growth": (lambda: paper.run(opened(MDP), Params(1, 0.1, growth=-1.0), rng()), MdpkitError, "params.growth"),
    "no generator": (lambda: paper.run(opened(MDP), Params(1, 0.1), 3), MdpkitError, "rng must be"),
    "no models": (lambda: paper.run_low_rank(opened(MDP), Params(1, 0.1), rng()), AccessDenied, "known.models"),
    "delta": (lambda: paper.theory(1, 1, 1, 1, 1, 0.0), MdpkitError, "delta"),
}


test_bad_input = closing.refusals(BAD)


test_no_claim_is_refuted_and_every_control_is = closing.claims(checks.CHECKS)
