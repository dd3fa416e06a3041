"""Enclosures of discounted optima against rationals, closed forms and worlds made to break them."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import oracles
import pytest
import scipy.sparse as sp

from mdpkit import validate
from mdpkit.errors import NotCertified
from mdpkit.instances import chains, gridworlds
from mdpkit.instances.garnet import garnet
from mdpkit.models.tabular import TabularMDP
from mdpkit.solve import discounted

EXACT = 1e-12
FLOAT = (discounted.value_iteration, discounted.modified_policy_iteration, discounted.policy_iteration)
GAMMAS = (0.5, 0.9, 0.99, 0.999)
KINDS = ("dense", "sparse", "few rewards", "twins", "flat", "constant")
RAW = Path(__file__).parents[1] / "reference" / "canonical_rows.json"


def world(rng, gamma, kind, S=None, A=None):
    """Up to eight states and three actions; rewards from 1e-3 to 1e3."""
    S, A = S or int(rng.integers(1, 9)), A or int(rng.integers(1, 4))
    P, r = rng.dirichlet(np.full(S, 0.2 if kind == "sparse" else 1.0), (S, A)), rng.normal(size=(S, A))
    if kind == "few rewards":
        r *= (rng.random((S, A)) < 0.2) | (np.arange(S * A).reshape(S, A) == 0)
    elif kind == "twins":                       # the last action is the first once more: ties in every state
        P[:, -1], r[:, -1] = P[:, 0], r[:, 0]
    elif kind == "flat":                        # no action matters, and the Q of equal actions round apart
        r[:] = r[0, 0]
    elif kind == "constant":                    # one backup, the rest is extrapolated
        r = np.where(np.arange(A) == 0, 1.0, -1.0) * np.ones((S, 1))
    return TabularMDP(P, r * 10.0 ** rng.uniform(-3, 3), gamma, rng.dirichlet(np.ones(S)), flush=True)


def best(solver, *args, **options):
    """The enclosure, certified or not."""
    try:
        return solver(*args, **options)
    except NotCertified as e:
        return e.solution


def exactly(model):
    """V* in Fractions."""
    return best(discounted.solve, model, 0.0, tier="exact").certificate.exact


def encloses(solution, values):
    return all(Fraction(a) <= v <= Fraction(b) for a, v, b in zip(solution.lo.flat, values, solution.hi.flat))


def played(model, policy):
    """The world in which the policy is all that one can do."""
    s = np.arange(model.S)
    return TabularMDP(model.dense[s, policy][:, None], model.r[s, policy][:, None], model.gamma, model.rho)


# Containment -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(26))
@pytest.mark.parametrize("kind", KINDS)
def test_rational_tier_is_the_best_of_all_policies(kind, seed):
    rng = np.random.default_rng([1, seed])
    model = world(rng, GAMMAS[seed % 4], kind, S=1 + seed % 3)
    values, optimal = oracles.rational_optimum(model.P.tolist(), model.r.tolist(), model.gamma)
    solution = discounted.solve(model, math.inf, tier="exact")
    assert list(solution.certificate.exact) == values and encloses(solution, values)
    np.testing.assert_array_equal(solution.optimal, optimal)
    np.testing.assert_array_equal(solution.policy, np.argmax(optimal, axis=1))
    assert (solution.hi <= np.nextafter(solution.lo, math.inf)).all()        # no float lies between
    assert [float(v) for v in values] == solution.value.tolist()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("gamma", GAMMAS)
def test_enclosures_contain_the_rational_optimum(gamma, kind):
    """24 cells of 128 worlds: 3072, each solved in seven ways."""
    rng = np.random.default_rng([2, GAMMAS.index(gamma), KINDS.index(kind)])
    for k in range(128):
        model = world(rng, gamma, kind)
        exact = discounted.solve(model, math.inf, tier="exact")
        for solver in FLOAT:
            with pytest.raises(NotCertified) as caught:      # floats leave a gap that zero does not allow
                solver(model, 0.0)
            default = solver(model)
            for solution in (default, caught.value.solution):
                # exact.lo is the largest float below V*, so this compares with the rational itself
                assert (solution.lo <= exact.lo).all() and (exact.hi <= solution.hi).all(), (k, solver.__name__)
                assert (solution.lo <= solution.value).all() and (solution.value <= solution.hi).all()
                assert not (exact.optimal & ~solution.optimal).any(), (k, solver.__name__)
            if k % 8 == 0:
                promised = discounted.solve(played(model, default.policy), math.inf, tier="exact")
                assert (default.lo <= promised.lo).all()
        ball = discounted.solve(model, tier="ball")
        assert (ball.lo <= exact.lo).all() and (exact.hi <= ball.hi).all() and ball.width <= default.width
        assert not (exact.optimal & ~ball.optimal).any()


def test_without_canonical_rows_an_enclosure_is_wrong(monkeypatch):
    stored = json.loads(RAW.read_text())
    P, r, gamma = stored["P"], stored["r"], stored["gamma"]
    solvers = (discounted.value_iteration, discounted.modified_policy_iteration)
    rho = np.full(len(r), 1 / len(r))
    canonical = TabularMDP(P, r, gamma, rho)
    right, _ = oracles.rational_optimum(canonical.P.tolist(), r, gamma)
    assert right == [1 / (1 - Fraction(gamma))] * len(r)                   # 1 for ever, if rows sum to 1
    for solver in solvers:
        assert encloses(best(solver, canonical, 0.0), right) and encloses(solver(canonical), right)

    monkeypatch.setattr(validate, "canonical_rows", lambda p, ptr, where, *, flush=False: p.copy())
    raw = TabularMDP(P, r, gamma, rho)
    np.testing.assert_array_equal(raw.P, P)
    true, _ = oracles.rational_optimum(P, r, gamma)
    for solver in solvers:
        assert not encloses(best(solver, raw, 0.0), true) and not encloses(solver(raw), true)


# Policy iteration ends ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("slip", [0.0, 0.25])
def test_policy_iteration_does_not_cycle_among_ties(slip):
    model, rng = gridworlds.open_grid(4, 4, 0.99, slip=slip).model, np.random.default_rng(3)
    exact = exactly(model)
    limit = model.S * (model.A - 1) * math.ceil(math.log(1 / 0.01) / 0.01)     # Scherrer 2013, theorem 3
    for _ in range(100):
        solution = discounted.policy_iteration(model, start=rng.integers(0, 4, 16))
        assert encloses(solution, exact) and solution.iterations <= limit
    assert discounted.solve(model, tier="exact").ties == 10 if slip == 0 else solution.ties > 0


@pytest.mark.parametrize("seed", range(40))
def test_policy_iteration_ends_where_only_rounding_tells_actions_apart(seed):
    rng = np.random.default_rng([4, seed])
    model = world(rng, 0.999, "flat", S=8, A=3)
    solution = discounted.policy_iteration(model, start=rng.integers(0, 3, 8))
    assert solution.iterations == 1 and solution.optimal.all()
    assert encloses(solution, [Fraction(model.r[0, 0]) / (1 - Fraction(0.999))] * 8)


@pytest.mark.parametrize("solver", FLOAT[:2])
@pytest.mark.parametrize("max_iter", [1, 2, 7])
def test_no_iteration_limit_is_silent(solver, max_iter):
    model = chains.chain(12, 0.99)                       # the reward needs eleven sweeps to reach the first state
    with pytest.raises(NotCertified, match=r"^tol must be reachable.*it is in \.solution") as caught:
        solver(model, max_iter=max_iter)
    assert caught.value.solution.iterations == max_iter and encloses(caught.value.solution, exactly(model))
    assert solver(model).iterations > max_iter


def test_an_unreachable_tolerance_ends():
    """Value iteration needs 17/(1-gamma) sweeps here: minutes, if it is not given up when the rest is rounding."""
    script = """
from mdpkit.errors import NotCertified
from mdpkit.instances.chains import cycle
from mdpkit.solve.discounted import solve
try:
    solution = solve(cycle(5, 1 - 1e-8))
except NotCertified as e:
    solution = e.solution
print(bool((solution.lo <= 2e7).all() and (solution.hi >= 2e7 - 1).all()))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=240)
    assert done.stdout == "True\n"                       # V = gamma**k / (1 - gamma**5), within 1 of 2e7


# Ill-conditioned worlds ----------------------------------------------------------------------------------------------


def near_ties(gap):
    """Two ways to 1 a step, one of them better by ``gap`` once."""
    return TabularMDP(np.ones((1, 2, 1)), [[1.0, 1.0 - gap]], 0.9999, [1.0])


HARD = {
    "Haddad-Monmege": chains.haddad_monmege(7, 0.9999),
    "cycle of 2": chains.cycle(2, 0.9999),
    "cycle of 7": chains.cycle(7, 0.9999),
    "RiverSwim": chains.riverswim(6, 0.9999),
    "slippery grid": gridworlds.open_grid(3, 3, 0.9999, slip=0.5).model,
    "near ties at 1e-9": near_ties(1e-9),
    "near ties at one ulp": near_ties(2.0**-53),
    "one state, one action": TabularMDP([[[1.0]]], [[0.3]], 0.9999, [1.0]),
    "no rewards": TabularMDP(np.full((3, 2, 3), 1 / 3), np.zeros((3, 2)), 0.9999, [1, 0, 0]),
    "gamma 0": TabularMDP(np.full((3, 2, 3), 1 / 3), np.arange(6.0).reshape(3, 2) / 7, 0.0, [1, 0, 0]),
    "gamma one ulp above 0": TabularMDP(np.full((3, 2, 3), 1 / 3), np.arange(6.0).reshape(3, 2) / 7, 5e-324, [1, 0, 0]),
    "uniform rows": TabularMDP(np.full((3, 2, 3), 1 / 3), np.arange(6.0).reshape(3, 2) / 7, 0.9999, [1, 0, 0]),
}


@pytest.mark.parametrize("name", HARD)
def test_hard_worlds(name):
    for scale in (1e-6, 1.0, 1e6):
        base = HARD[name]
        model = TabularMDP(base.P, base.r * scale, base.gamma, base.rho)
        exact = discounted.solve(model, math.inf, tier="exact")
        for tol in (None, 0.0):
            for solution in (*(best(solver, model, tol) for solver in FLOAT),
                             best(discounted.solve, model, tol), best(discounted.solve, model, tol, tier="ball")):
                assert encloses(solution, exact.certificate.exact), solution
                assert not (exact.optimal & ~solution.optimal).any(), solution


@pytest.mark.parametrize("name", HARD)
def test_hard_worlds_reach_the_default_tolerance(name):
    for solve in (discounted.solve, discounted.policy_iteration, lambda m: discounted.solve(m, tier="ball")):
        solution = solve(HARD[name])
        assert solution.width <= solution.certificate.tol


@pytest.mark.parametrize(("model", "value"), [
    (chains.haddad_monmege(20, 0.9999), chains.haddad_monmege_value(20, 0.9999)),
    (chains.cycle(7, 0.9999), chains.cycle_value(7, 0.9999)),
    (chains.chain(60, 0.99), chains.chain_value(60, 0.99)),
    (chains.nchain(), chains.nchain_value()),
], ids=["Haddad-Monmege", "cycle", "chain", "n-chain"])
def test_closed_forms(model, value):
    ball = discounted.solve(model, tier="ball")
    # gamma**k and 1 - gamma in the formulas lose up to 1/(1-gamma) of their digits
    np.testing.assert_allclose(ball.value, value, rtol=EXACT / (1 - model.gamma), atol=EXACT)


def test_a_near_tie_is_told_apart_in_balls():
    assert near_ties(2.0**-53).r[0, 1] < 1
    assert discounted.solve(near_ties(2.0**-53)).ties == 1             # floats cannot tell, and say so
    assert discounted.solve(near_ties(2.0**-53), tier="exact").ties == 0
    assert discounted.solve(near_ties(1e-9), tier="ball").ties == 0


def test_a_large_dense_world():
    rng, S = np.random.default_rng(5), 300
    model = TabularMDP(rng.dirichlet(np.ones(S), (S, 2)), rng.normal(size=(S, 2)), 0.999, np.eye(S)[0], flush=True)
    ball = discounted.solve(model, tier="ball")
    for solver in FLOAT:
        solution = solver(model)
        assert (solution.lo <= ball.lo).all() and (ball.hi <= solution.hi).all()
        assert not (ball.optimal & ~solution.optimal).any()


@pytest.mark.parametrize("solver", [*FLOAT, lambda m: discounted.solve(m, tier="ball"),
                                    lambda m: discounted.solve(m, tier="exact")])
def test_sparse_and_dense_storage_give_the_same_bits(solver):
    dense, sparse = (garnet(12, 3, 4, 0.99, np.random.default_rng(6), sparse=s) for s in (False, True))
    assert sp.issparse(sparse.P) and not sp.issparse(dense.P)
    a, b = solver(dense), solver(sparse)
    for part in ("value", "lo", "hi", "policy", "optimal"):
        np.testing.assert_array_equal(getattr(a, part), getattr(b, part))
    assert a.iterations == b.iterations


def test_policy_value_and_the_sparse_solve(monkeypatch):
    model, policy = garnet(12, 3, 4, 0.9, np.random.default_rng(7), sparse=True), np.arange(12) % 3
    true = [float(v) for v in exactly(played(model, policy))]
    np.testing.assert_allclose(discounted.policy_value(model, policy), true, rtol=EXACT)
    monkeypatch.setattr(discounted, "DENSE", 0)
    np.testing.assert_allclose(discounted.policy_value(model, policy), true, rtol=EXACT)
    assert encloses(discounted.policy_iteration(model), exactly(model))
