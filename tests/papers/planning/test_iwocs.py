"""IWOCS: reference values, identities on numbers, accounting, the slow reference, every claim and every control."""

import importlib.util
import itertools

import closing
import flint
import numpy as np
import pytest

from algorithms.planning import iwocs
from algorithms.planning.iwocs import Params
from figures.planning import iwocs as picture
from mdpkit.access import Episodes, Exact
from mdpkit.instances.formula import stationary, stationary_episodic
from mdpkit.measure.values import optimal_action_value
from mdpkit.models.tabular import TabularMDP
from mdpkit.rational import exact
from mdpkit.solve import robust
from theory_checks.planning import _iwocs_twins as twins
from theory_checks.planning import iwocs as checks

pytestmark = pytest.mark.xdist_group("iwocs")
GYM = importlib.util.find_spec("gymnasium") is not None
needs_gymnasium = pytest.mark.skipif(not GYM, reason="gymnasium is not installed")

EXACT = 1e-12
ROUND = 1e-9


def rng(seed=0):
    return np.random.default_rng(seed)


def close(a, b, tolerance=EXACT):
    np.testing.assert_allclose(a, b, rtol=0, atol=tolerance)


def generated(M, S, A, o):
    """PU[m,s,a,u] prop. to 1 + ((5s + 3a + 7u + 4m + s u (m+1) + o) mod 7)^2, r = ((3s + 5a + o) mod 7)/6."""
    m, s, a, u = np.indices((M, S, A, S))
    w = 1 + ((5 * s + 3 * a + 7 * u + 4 * m + s * u * (m + 1) + o) % 7) ** 2
    s, a = np.indices((S, A))
    return w / w.sum(-1, keepdims=True), (3 * s + 5 * a + o) % 7 / 6


def drawn(seed, M=3):
    g = rng(seed)
    S, A = int(g.integers(2, 5)), int(g.integers(2, 4))
    return g.dirichlet(np.full(S, 0.5), (M, S, A)), g.random((S, A)), np.eye(S)[0]


def test_reference_values_of_the_generated_set():
    PU, r = generated(3, 4, 2, 0)
    pi, V = iwocs.robust(PU, r, 0.9, np.ones((3, 4, 2), bool))
    close(V, (6.226003826615133, 5.943473325657736, 6.192463184388152, 5.605484077924759))
    assert pi.tolist() == [1, 0, 0, 0]
    model = TabularMDP(PU[0], r, 0.9, np.eye(4)[0])
    for candidate in checks.ALL:
        found = iwocs.run(Exact(model), PU, Params(1e-9, candidate), rng()).output
        close(found.U, (6.396376088009, 6.226003826615))
        close(found.L, (6.226003826615, 6.226003826615))
        assert found.status == "certified" and found.policy.tolist() == [1, 0, 0, 0]
    certified = robust.solve_finite(model, PU)
    assert (certified.lo - V).max() <= ROUND and (V - certified.hi).max() <= ROUND


def test_reference_values_of_the_stalling_set():
    w = checks.stall()
    close(iwocs.robust(w["PU"], w["r"], 0.9, np.ones((2, 3, 2), bool))[1], (5.0, 5.275, 4.75))
    greedy, hull = (iwocs.search(w["PU"], w["r"], 0.9, np.eye(3)[0], Params(1e-9, c)) for c in checks.ALL)
    assert greedy.status == "stalled" and greedy.policy.tolist() == [1, 1, 0]
    close(greedy.U, 5.0)
    close(greedy.L, 3.425)
    assert hull.status == "certified"
    close((hull.U[-1], hull.L[-1]), 5.0)
    wrong = twins.settled(w["PU"], w["r"], 0.9, np.eye(3)[0], Params(1e-9))
    assert wrong.status == "certified"
    close(5.0 - wrong.L[-1], 1.575)


def test_two_of_the_enumerations_are_whole():
    PU, r = checks.duality_gap()
    assert len(checks.rectangles(PU)) == 2**6
    half = exact(np.full((3, 2), 0.5))
    start = exact(np.eye(3)[0])
    nine = flint.fmpq(9, 10)
    assert iwocs.static_value(PU, r, nine, start, half) == flint.fmpq(9, 2)
    assert max(iwocs.static_value(checks.rectangles(PU), r, nine, start, p) for p in (
        np.array([0, 0, 0]), np.array([1, 0, 0]))) == 0


def test_q_star_of_one_kernel_is_the_house_s():
    m = stationary(4, 3, 0.9)
    close(iwocs.optimal(m.P, m.r, 0.9), optimal_action_value(m), ROUND)
    exactly = iwocs.optimal(exact(m.P), exact(m.r), flint.fmpq(9, 10))
    close(exactly.astype(float), optimal_action_value(m), ROUND)


def slow(PU, r, gamma, eps, candidate, *, least=min, worst=min, keep=True):
    """Lines 1 to 7 from the pseudo-code with value iteration and all kernels listed; states are few. Returns (U, L)."""
    M, S, A, _ = PU.shape
    space = list(itertools.product(range(M), repeat=S))
    T, Qs, models, rows = tuple([0] * (S * A)), [], [tuple([0] * (S * A))], []
    while True:
        if candidate == "greedy-min":
            Qs = [*(Qs if keep else []), _sweeps(lambda s, a, T=T: [PU[T[s * A + a], s, a]], r, gamma, min)]
            Q = np.array([[least(q[s, a] for q in Qs) for a in range(A)] for s in range(S)])
        else:
            used = [[sorted({x[s * A + a] for x in models}) for a in range(A)] for s in range(S)]
            Q = _sweeps(lambda s, a, used=used: PU[used[s][a], s, a], r, gamma, least)
        pi = [int(np.argmax(np.round(Q[s], 9))) for s in range(S)]
        values = {}
        for index in space:                                 # entries of actions not taken stay
            P = np.array([PU[index[s], s, pi[s]] for s in range(S)])
            values[index] = np.linalg.solve(np.eye(S) - gamma * P, [r[s, pi[s]] for s in range(S)])
        V = worst(values.values(), key=lambda V: V.sum())
        rows.append((Q[0].max(), V[0]))
        now = tuple(T[s * A + pi[s]] for s in range(S))
        index = now if values[now].sum() <= V.sum() + 1e-9 else next(
            i for i in space if values[i].sum() <= V.sum() + 1e-9)
        T = tuple(index[s] if a == pi[s] else T[s * A + a] for s in range(S) for a in range(A))
        if abs(rows[-1][0] - rows[-1][1]) <= eps or T in models:
            return np.array(rows).T
        models.append(T)


def _sweeps(entries, r, gamma, least):
    """Q after 400 sweeps of value iteration: gamma^400/(1 - gamma) < 1e-17 at 0.9."""
    V = np.zeros(len(r))
    for _ in range(400):
        Q = np.array([[r[s, a] + gamma * least(float(p @ V) for p in entries(s, a)) for a in range(r.shape[1])]
                      for s in range(len(r))])
        V = Q.max(1)
    return Q


@pytest.mark.parametrize("candidate", checks.ALL)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_search_agrees_with_the_pseudo_code(candidate, seed):
    """Policy iteration and 400 sweeps both err by less than 1e-13/(1 - gamma) or so."""
    PU, r, rho = drawn(seed)
    found = iwocs.search(PU, r, 0.9, rho, Params(ROUND, candidate))
    U, L = slow(PU, r, 0.9, ROUND, candidate)
    close(found.U, U, ROUND)
    close(found.L, L, ROUND)


MUTANTS = {"the largest Q": {"least": max}, "the kindest kernel": {"worst": max},
           "forgets older models": {"keep": False}}


@pytest.mark.parametrize("name", MUTANTS)
def test_each_mutant_differs_in_numbers(name):
    differs = []
    w = checks.stall()
    for PU, r, rho in ((w["PU"], w["r"], np.eye(3)[0]), *map(drawn, range(5))):
        found = iwocs.search(PU, r, 0.9, rho, Params(ROUND))
        U, L = slow(PU, r, 0.9, ROUND, "greedy-min", **MUTANTS[name])
        differs.append(len(U) != len(found.U) or np.abs(U - found.U).max() + np.abs(L - found.L).max() > 1e-6)
    assert any(differs)


def test_every_iteration_is_counted_and_untaken_entries_stay():
    for seed in range(20):
        PU, r, rho = drawn(seed)
        found = iwocs.search(PU, r, 0.9, rho, Params(ROUND, "hull"))
        assert len(found.U) == len(found.L) == len(found.models) - 1
        assert (found.models[0] == 0).all()
        changed = (np.diff(found.models, axis=0) != 0).sum(-1)
        assert (changed <= 1).all()                        # in each state the entry of one action at most
        assert found.status == "certified"
    short = iwocs.search(PU, r, 0.9, rho, Params(0.0, "greedy-min", True, 1))
    assert len(short.U) == 1


def test_a_coupled_response_is_one_index():
    PU, r, rho = drawn(3)
    pi = np.zeros(len(r), np.int64)
    index, V = iwocs.respond(PU, r, 0.9, rho, pi, np.zeros(r.shape, np.int64), False)
    assert len(np.unique(index)) == 1
    assert rho @ V == pytest.approx(iwocs.static_value(PU, r, 0.9, rho, pi), abs=EXACT)
    free = iwocs.respond(PU, r, 0.9, rho, pi, np.zeros(r.shape, np.int64), True)[1]
    assert (free <= V + EXACT).all()


@needs_gymnasium
def test_the_uncertain_lake():
    """At 1/3 and gamma = 0.99 the lake is the environment's own, values gamma times as large."""
    from gymnasium.envs.toy_text import FrozenLakeEnv

    from mdpkit.interop.gymnasium import read

    PU, r, rho = checks.lakes(checks.SLIPS)
    own = read(FrozenLakeEnv(is_slippery=True), 0.99).model
    close(PU[0, :16, :, :16][:15], own.dense[:15])
    close(iwocs.optimal(PU[0], r, 0.99)[0].max(), 0.99 * optimal_action_value(own)[0].max(), ROUND)
    coupled = iwocs.search(PU, r, 0.97, rho, Params(ROUND, "greedy-min", False))
    hull = iwocs.search(PU, r, 0.97, rho, Params(ROUND, "hull"))
    assert coupled.status == "stalled" and hull.status == "certified"
    assert coupled.U[-1] > hull.U[-1] > coupled.L[-1] + 0.03
    assert iwocs.static_value(PU, r, 0.97, rho, hull.policy) >= hull.L[-1] - ROUND


def test_the_figure_draws_what_it_computes(monkeypatch):
    from matplotlib.figure import Figure

    monkeypatch.setattr(picture, "SETS", 3)
    data, figure = picture.compute(None), Figure()
    picture.draw(data, figure, {"C2": "SUPPORTED"})
    assert len(figure.axes) == 3
    for name in (key for key in data if key.endswith(" U")):
        assert (data[name] >= -ROUND).all() and (data[name.replace(" U", " L")] <= ROUND).all()
        assert (np.diff(data[name]) <= ROUND).all()
    assert (data["n hull"].max(1) <= 2 * data["size"] + 1).all()


MODEL = stationary(3, 2, 0.9)
PU = np.stack([MODEL.P, MODEL.P[:, ::-1]])
BAD = {
    "a model": (lambda: iwocs.run(MODEL, PU, iwocs.theory(0.1), rng()), "access must be a Exact"),
    "episodes": (lambda: iwocs.run(Episodes(MODEL, rng()), PU, iwocs.theory(0.1), rng()), "access must be a Exact"),
    "episodic": (lambda: iwocs.run(Exact(stationary_episodic(3, 2, 2)), PU, iwocs.theory(0.1), rng()), "access.model"),
    "one kernel": (lambda: iwocs.run(Exact(MODEL), MODEL.P, iwocs.theory(0.1), rng()), "data must be of shape"),
    "eps": (lambda: iwocs.theory(-1.0), "eps must be in"),
    "candidate": (lambda: iwocs.run(Exact(MODEL), PU, Params(0.1, "best"), rng()), "params.candidate must be one of"),
    "coupled hull": (lambda: iwocs.run(Exact(MODEL), PU, Params(0.1, "hull", False), rng()), "for a coupled set"),
    "iterations": (lambda: iwocs.run(Exact(MODEL), PU, Params(0.1, iterations=0), rng()), "params.iterations"),
    "no params": (lambda: iwocs.run(Exact(MODEL), PU, 0.1, rng()), "params must be a Params"),
    "no generator": (lambda: iwocs.run(Exact(MODEL), PU, iwocs.theory(0.1), 1), "rng must be"),
}


test_bad_input = closing.refusals(BAD)

ON_TABLES = ("C6", "C6-coupled")
test_no_claim_is_refuted_and_every_control_is = closing.claims(
    [c for c in checks.CHECKS if c.claim.id not in ON_TABLES])
test_no_claim_on_tables_is_refuted_and_every_control_is = needs_gymnasium(closing.claims(
    [c for c in checks.CHECKS if c.claim.id in ON_TABLES]))
