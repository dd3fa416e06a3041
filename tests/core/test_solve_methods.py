"""Every method of a discounted solve proves an enclosure, each is chosen where it suits, and games end at a vertex."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdpkit.errors import MdpkitError, NotCertified
from mdpkit.instances.chains import cycle, riverswim
from mdpkit.instances.garnet import garnet
from mdpkit.models.tabular import EpisodicMDP, TabularMDP
from mdpkit.octets import octets, small_mdp
from mdpkit.solve import discounted, episodic, matrix_game, quick, simplex

EXACT = 1e-12


@given(st.data())
@settings(max_examples=40)
def test_every_method_encloses_the_exact_values(data):
    model = small_mdp(data.draw, 4)
    truth = np.array([float(x) for x in discounted.solve(model, tier="exact").certificate.exact])
    for method in quick.METHODS:
        try:
            found = discounted.solve(model, 1e-6, method=method)
        except NotCertified as e:                   # sweeps alone may stall; what they have is proven all the same
            assert method != "krylov"
            found = e.solution
        assert (found.lo <= truth + EXACT * np.abs(truth)).all() and (truth <= found.hi + EXACT * np.abs(truth)).all()
        assert discounted.solve(model, 1e-6).width <= 1e-6
        assert found.optimal[np.arange(model.S), found.policy].all()
        best = discounted.solve(model, tier="exact").optimal
        assert (found.optimal >= best).all()                     # no optimal action is denied


def slow_grid(n=12, gamma=0.9999):
    """A walk on a line of cells of random rewards that mixes in n^2 steps."""
    r = np.random.default_rng(0).random((n * n, 2))
    P = np.zeros((n * n, 2, n * n))
    for s in range(n * n):
        for a, step in enumerate((-1, 1)):
            P[s, a, np.clip(s + step, 0, n * n - 1)] += 0.75
            P[s, a, np.clip(s - step, 0, n * n - 1)] += 0.25
    import scipy.sparse as sp

    return TabularMDP(sp.csr_array(P.reshape(-1, n * n)), r, gamma, np.eye(1, n * n)[0])


def test_the_method_suits_the_world_and_is_told():
    told = lambda m, **k: discounted.solve(m, **k).certificate.method
    assert told(garnet(30, 3, 4, 0.9, np.random.default_rng(0))) == "modified policy iteration (BLAS)"
    assert told(garnet(300, 3, 4, 0.9, np.random.default_rng(0), sparse=True)) == "modified policy iteration"
    assert told(slow_grid()) == "policy iteration (BiCGSTAB)"
    assert told(riverswim(6), method="krylov") == "policy iteration (BiCGSTAB)"
    with pytest.raises(MdpkitError, match="method"):
        discounted.solve(riverswim(6), method="magic")


def test_a_named_method_that_falls_short_says_so():
    with pytest.raises(NotCertified):
        discounted.solve(cycle(5, 1 - 1e-8), method="sweeps")


def test_rows_that_cannot_be_optimal_are_dropped_and_nothing_changes():
    model = garnet(400, 12, 6, 0.95, np.random.default_rng(3), sparse=True)
    one, two = (discounted.solve(model, 1e-9, method=m) for m in ("sweeps", "krylov"))
    assert np.abs(one.value - two.value).max() <= 1e-9 and (one.policy == two.policy).all()


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
@pytest.mark.parametrize("gamma", [0.0, 0.5, 0.9999])
def test_scales_and_discounts(scale, gamma):
    base = garnet(40, 3, 3, 0.5, np.random.default_rng(4), sparse=True)
    model = TabularMDP(base.P, scale * base.r, gamma, base.rho)
    found = discounted.solve(model)
    again = discounted.policy_iteration(model)
    assert (found.lo <= again.hi).all() and (again.lo <= found.hi).all()
    assert found.width <= 1e-9 * scale * np.abs(base.r).max() / (1 - gamma)


@pytest.mark.parametrize("rewards", ["one", "varying", "twins", "none"])
@pytest.mark.parametrize("stay", [0.0, 0.9, 1.0])
def test_backward_induction_that_reads_few_rows(rewards, stay):
    """The same values, policies and optimal actions as from all rows, by BLAS and by loops; some rows stay unread."""
    rng, S, A, H = np.random.default_rng(5), 80, 8, 40
    P = (1 - stay) * rng.dirichlet(np.ones(S), (S, A)) + stay * rng.dirichlet(np.ones(S))
    if stay == 0.9:         # lazy: the values of states draw near to one another slowly
        P = 0.1 * rng.dirichlet(np.ones(S), (S, A)) + 0.9 * np.eye(S)[:, None]
    r = np.broadcast_to(rng.random((S, A)), (H, S, A)) * (rewards != "none") if rewards != "varying" else \
        rng.random((H, S, A))
    if rewards == "twins":
        P[:, 1], r = P[:, 0], np.where(np.arange(A) == 1, r[..., :1], r)
    P = P / P.sum(-1, keepdims=True)
    model = EpisodicMDP.stationary(P, r, np.full(S, 1 / S), H)
    assert episodic._is_full(model) and model.one_kernel
    found, loops = episodic.solve(model), episodic.optimise_episodic(*model.rows, model.r)
    other = EpisodicMDP(np.array(model.P), model.r, model.rho)
    assert "one_kernel" not in other.__dict__
    whole = episodic.solve(other)
    np.testing.assert_allclose(found.value, loops[0][:H], rtol=1e-13, atol=1e-13)
    np.testing.assert_allclose(whole.value, loops[0][:H], rtol=1e-13, atol=1e-13)
    assert (found.optimal == whole.optimal).all()
    assert found.optimal[np.arange(H)[:, None], np.arange(S), loops[2]].all()
    read = np.isfinite(episodic._with_blas(model)[1]).mean()
    assert read < 1.0 or rewards == "none"
    assert np.isfinite(episodic._with_blas(other)[1]).all()


@given(st.data())
@settings(max_examples=60)
def test_the_simplex_ends_at_an_equilibrium(data):
    m, n = (data.draw(st.integers(1, 6)) for _ in range(2))
    A = octets(data.draw, m, n) % 5 - 2.0
    found = matrix_game.solve(A)
    exact = matrix_game.solve(A, tier="exact")
    assert found.lo <= exact.value + EXACT and exact.value <= found.hi + EXACT and found.width < 1e-9


def test_highs_takes_over_where_pivots_run_out(monkeypatch):
    A = np.random.default_rng(6).normal(size=(12, 9))
    value = matrix_game.solve(A).value
    monkeypatch.setattr(matrix_game, "PIVOTS", 0)
    assert abs(matrix_game.solve(A).value - value) < 1e-9
    assert simplex.game(1 + np.eye(2), 0)[2] == -1
