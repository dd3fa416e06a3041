"""GERL_MG2: reference values, identities on numbers, accounting, the slow reference, every claim and every control."""

import closing
import numpy as np
import pytest

from algorithms.models import gerl
from algorithms.models.gerl import Params
from mdpkit.access import Episodes, Generative
from mdpkit.errors import AccessDenied, MdpkitError
from mdpkit.instances import formula
from mdpkit.models.convert import to_episodic
from mdpkit.solve import correlated
from mdpkit.worlds.games import start, step
from theory_checks.models import gerl as checks

pytestmark = pytest.mark.xdist_group("gerl")

EXACT = 1e-12
ROUND = 1e-9
SOLVER = 1e-6
GAME = formula.game(3, 2, 2, 3, zero_sum=False)
P, R = GAME.P.reshape(3, 3, 4, 3), GAME.r.reshape(2, 3, 3, 4)


def rng(seed=0):
    return np.random.default_rng(seed)


def opened(model=GAME, seed=1, **bounds):
    return Episodes(model, rng(seed), grant=("r", "rho"), bounds=bounds)


def test_reference_values():
    (pi, width), U, L = gerl.plan(P, np.zeros((3, 3, 4)), R, GAME.rho, (2, 2))
    assert width <= EXACT
    np.testing.assert_allclose(U[:, 0] @ GAME.rho, [1.8900323570510231, 2.205626645729987], rtol=0, atol=SOLVER)
    np.testing.assert_allclose(L, U, rtol=0, atol=EXACT)
    V, _ = checks.best_responses(GAME, pi[None])
    np.testing.assert_allclose(V[0, :, 0] @ GAME.rho, [1.8900323570510231, 2.205626645729987], rtol=0, atol=SOLVER)
    uniform = np.full((1, 3, 3, 4), 0.25)
    V, _ = checks.best_responses(GAME, uniform)
    np.testing.assert_allclose(V[0, :, 0] @ GAME.rho, [1.4040393985258874, 1.5120966713427428], rtol=0, atol=EXACT)
    np.testing.assert_allclose(checks.gaps(GAME, np.concatenate([pi[None], uniform])), [0.0, 0.3948365524549076],
                               rtol=0, atol=SOLVER)


def test_every_law_is_an_equilibrium_of_largest_sum():
    """Each (h, s) against the certified linear program; a correlated one has at most the coarse one's sum."""
    for oracle in correlated.KINDS:
        (pi, _), U, _ = gerl.plan(P, np.zeros((3, 3, 4)), R, GAME.rho, (2, 2), oracle)
        for h, s in np.ndindex(3, 3):
            Q = R[:, h, s] + (P[h, s] @ U[:, h + 1].T).T
            out = correlated.solve(Q.reshape(2, 2, 2), kind=oracle)
            assert float(Q.sum(0) @ pi[h, s]) == pytest.approx(out.objective, abs=SOLVER)


def split(j, sizes):
    return np.array(np.unravel_index(j, sizes))


def slow(model, params, world_seed, seed, *, back=True, both=False, cut=True, follow=True):
    """Lines 1 to 9 from their text: lists of tuples, every count anew."""
    H, S, sizes = model.H, model.S, model.A
    J, n = int(np.prod(sizes)), model.n
    r, own, access = model.r.reshape(n, H, S, J), rng(seed), opened(model, world_seed)
    pi, D, near, far = np.full((H, S, J), 1 / J), float(H), [[] for _ in range(H)], [[] for _ in range(H)]
    best, played, widths = (None, np.inf), [], []
    for _ in range(params.N):
        played.append(pi)
        widths.append(D)
        for h in range(H):
            for late in range(min(h, 1) + 1):
                s = access.call(start)
                for k in range(h + 1):
                    u = own.random()
                    j = int(u * J) if k >= h - late or not follow else _pick(pi[k, s], u)
                    t = access.call(step, split(j, sizes))[1]
                    if k == h:
                        (far if late else near)[h].append((s, j, t))
                    s = t
        U, L, pi = np.zeros((n, H + 1, S)), np.zeros((n, H + 1, S)), np.zeros((H, S, J))
        for h in reversed(range(H)):
            data = near[h] + (far[h] if back else [])
            for s in range(S):
                high, low = np.zeros((n, J)), np.zeros((n, J))
                for j in range(J):
                    after = [t for x, y, t in data if (x, y) == (s, j)]
                    count = len([1 for x, y, _ in near[h] + (far[h] if both else []) if (x, y) == (s, j)])
                    beta = min(params.alpha / np.sqrt(count + params.lam), H)
                    for i in range(n):
                        up, down = r[i, h, s, j] + beta, r[i, h, s, j] - beta
                        for t in range(S):
                            p = after.count(t) / len(after) if after else 1 / S
                            up, down = up + p * U[i, h + 1, t], down + p * L[i, h + 1, t]
                        high[i, j], low[i, j] = min(up, H - h) if cut else up, max(down, 0.0)
                correlated.equilibrium(high, np.array(sizes), params.oracle == "correlated", pi[h, s])
                for i in range(n):
                    for j in range(J):
                        U[i, h, s] += pi[h, s, j] * high[i, j]
                        L[i, h, s] += pi[h, s, j] * low[i, j]
        D = 0.0
        for i in range(n):
            D = max(D, sum(model.rho[s] * (U[i, 0, s] - L[i, 0, s]) for s in range(S)))
        if best[1] > D:
            best = (pi, D)
    return np.array(played), np.array(widths), best, near, far


def _pick(law, u):
    chosen = 0
    for j, p in enumerate(law):
        if p > 0.0 and u >= 0.0:
            chosen, u = j, u - p
    return chosen


@pytest.mark.parametrize(("model", "oracle"), [(GAME, "coarse"), (GAME, "correlated"), (checks.lock(3), "coarse")])
def test_the_kernel_agrees_with_the_pseudo_code_bit_for_bit(model, oracle):
    params = Params(6, 0.3, oracle=oracle)
    played, widths, best, *_ = slow(model, params, 5, 7)
    out = gerl.run(opened(model, 5), params, rng(7))
    np.testing.assert_array_equal(out.trace.policies[out.trace.index], played)
    np.testing.assert_array_equal(out.trace.info["certificate"], widths)
    np.testing.assert_array_equal(out.output.policy, best[0])
    assert out.output.certificate == best[1]


MUTANTS = {"forgets D~": {"back": False}, "counts D~ in the bonus": {"both": True}, "does not cut U": {"cut": False},
           "explores uniformly": {"follow": False}}


@pytest.mark.parametrize("name", MUTANTS)
def test_each_mutant_differs_from_the_kernel(name):
    params = Params(8, 0.5)
    out = gerl.run(opened(GAME, 5), params, rng(7))
    assert np.abs(slow(GAME, params, 5, 7, **MUTANTS[name])[1] - out.trace.info["certificate"]).max() > ROUND


def test_every_tuple_is_counted():
    N, H = 11, GAME.H
    visits, moves = np.zeros((H, 3, 4)), np.zeros((H, 3, 4, 3))
    access, joints = opened(), np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    for _ in range(N):
        access.call(gerl._explore, joints, np.full((H, 3, 4), 0.25), visits, moves, rng())
    np.testing.assert_array_equal(visits.sum((1, 2)), [N] * H)
    np.testing.assert_array_equal(moves.sum((1, 2, 3)), [N] + [2 * N] * (H - 1))
    paid = {"episodes": N * (2 * H - 1), "steps": N * (H * (H + 1) - 1)}
    assert {k: access.samples[k] for k in paid} == paid
    out = gerl.run(opened(), Params(N, 0.3), rng())
    assert {k: out.samples[k] for k in paid} == paid


def test_the_model_error_is_added():
    plain = gerl.run(opened(), Params(5, 0.3), rng()).trace.info["certificate"]
    more = gerl.run(opened(), Params(5, 0.3, zeta=0.01), rng()).trace.info["certificate"]
    np.testing.assert_allclose((more - plain)[1:], 2 * 3 * np.sqrt(4 * 0.01 / np.arange(1, 5)), rtol=0, atol=EXACT)


def test_one_factor_is_the_tabular_form():
    """Contexts that are whole (s, j), values that are whole states: the same counts, up to the order of sums."""
    parts = gerl.Factors(np.arange(3)[None], np.arange(12).reshape(1, 3, 4))
    tabular = gerl.run(opened(), Params(6, 0.3), rng())
    other = gerl.run_factored(opened(factors=parts), Params(6, 0.3), rng())
    np.testing.assert_allclose(other.trace.info["certificate"], tabular.trace.info["certificate"], rtol=0, atol=ROUND)
    assert other.samples == tabular.samples


def test_one_hot_bonuses_are_inverse_roots_of_counts():
    visits = rng().integers(0, 9, (2, 3, 4)).astype(float)
    phi = np.broadcast_to(np.eye(12).reshape(3, 4, 12), (2, 3, 4, 12))
    np.testing.assert_allclose(gerl.bonuses(phi, visits, Params(1, 0.7, 0.5)),
                               np.minimum(0.7 / np.sqrt(visits + 0.5), 2), rtol=0, atol=EXACT)


def test_factors_of_a_population_give_it_back():
    model, parts = checks.ring(3)
    np.testing.assert_allclose(gerl.factored(model * 64, parts), model, rtol=0, atol=EXACT)
    np.testing.assert_allclose(gerl.factored(model * 64, parts, True), model, rtol=0, atol=EXACT)
    np.testing.assert_array_equal(gerl.factored(np.zeros((8, 8, 8)), parts), np.full((8, 8, 8), 1 / 8))


def test_losses_are_least_squares_over_tuples():
    moves, phi = rng(1).integers(0, 3, (3, 4, 3)).astype(float), rng(2).random((2, 3, 4, 2))
    tests = rng(3).random((3, 3))
    rows = [(s, j, t) for s, j, t in np.ndindex(3, 4, 3) for _ in range(int(moves[s, j, t]))]
    for k in range(2):
        X = np.array([phi[k, s, j] for s, j, _ in rows])
        for f in range(3):
            y = np.array([tests[f, t] for *_, t in rows])
            rest = y - X @ np.linalg.lstsq(X, y, rcond=None)[0]
            assert gerl.projection_losses(phi, moves, tests)[k, f] == pytest.approx((rest**2).mean(), abs=ROUND)


def test_the_likeliest_model_gives_no_impossible_move():
    kernels = np.array([[[1.0, 0.0]], [[0.5, 0.5]], [[0.25, 0.75]]])
    assert gerl.maximum_likelihood(kernels, np.array([[3.0, 0.0]])) == 0
    assert gerl.maximum_likelihood(kernels, np.array([[3.0, 1.0]])) == 1


def test_known_classes_find_the_lock():
    model = checks.lock(4)
    phi, w = checks.lock_class(4)
    np.testing.assert_array_equal((phi @ w[:, :, None])[0], model.P.reshape(4, 2, 4, 2))
    out = gerl.run_model_based(opened(model, models=(phi, w)), Params(30, 0.2), rng())
    assert checks.gaps(model, out.output.policy[None])[0] <= SOLVER
    assert out.samples["episodes"] == 30 * 7


def test_theory_grows_as_the_theorem_says():
    one, more = gerl.theory(100, 4, 4, 2, 10, 0.1), gerl.theory(100, 8, 8, 2, 10, 0.1)
    assert one.alpha == pytest.approx(4 * np.sqrt(16 * 2 * np.log(40000)), rel=EXACT)
    assert one.lam == pytest.approx(2 * np.log(40000), rel=EXACT) and more.alpha > 4 * one.alpha


BAD = {
    "not episodes": (lambda: gerl.run(Generative(to_episodic(formula.stationary_episodic(2, 2, 2)), rng()),
                                      Params(1, 0.1), rng()), MdpkitError, "access must be a Episodes"),
    "rewards unknown": (lambda: gerl.run(Episodes(GAME, rng()), Params(1, 0.1), rng()), AccessDenied, "known.r"),
    "rewards below 0": (lambda: gerl.run(opened(formula.game(3, 2, 2, 3)), Params(1, 0.1), rng()), MdpkitError,
                        "access.known.r"),
    "oracle": (lambda: gerl.run(opened(), Params(1, 0.1, oracle="nash"), rng()), MdpkitError, "params.oracle"),
    "lam": (lambda: gerl.run(opened(), Params(1, 0.1, 0.0), rng()), MdpkitError, "params.lam"),
    "no generator": (lambda: gerl.run(opened(), Params(1, 0.1), 3), MdpkitError, "rng must be"),
    "no models": (lambda: gerl.run_model_based(opened(), Params(1, 0.1), rng()), AccessDenied, "known.models"),
    "delta": (lambda: gerl.theory(1, 1, 1, 1, 1, 0.0), MdpkitError, "delta"),
}


test_bad_input = closing.refusals(BAD)


test_no_claim_is_refuted_and_every_control_is = closing.claims(checks.CHECKS)
