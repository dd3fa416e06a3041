"""Every method of a discounted solve proves an enclosure, each is chosen where it suits, and games end at a vertex."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse.csgraph import connected_components

from mdpkit.errors import MdpkitError, NotCertified
from mdpkit.instances.chains import cycle, riverswim
from mdpkit.instances.garnet import garnet
from mdpkit.models.tabular import EpisodicMDP, TabularMDP
from mdpkit.octets import octets, small_mdp
from mdpkit.solve import discounted, episodic, matrix_game, ordered, quick, simplex

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
            assert method in ("dense", "sweeps")
            found = e.solution
        assert (found.lo <= truth + EXACT * np.abs(truth)).all() and (truth <= found.hi + EXACT * np.abs(truth)).all()
        assert discounted.solve(model, 1e-6).width <= 1e-6
        assert found.optimal[np.arange(model.S), found.policy].all()
        best = discounted.solve(model, tier="exact").optimal
        assert (found.optimal >= best).all()                     # no optimal action is denied


def slow_line(S, gamma=0.9999, shuffled=False):
    """A walk on a line of cells of random rewards that mixes in S^2 steps; cells numbered in turn, or at random."""
    rng = np.random.default_rng(0)
    name = rng.permutation(S) if shuffled else np.arange(S)
    step, s = np.array([-1, 1]), np.arange(S)[:, None]
    to = np.stack([np.clip(s + step, 0, S - 1), np.clip(s - step, 0, S - 1)], -1)         # (S, A, 2)
    row = np.repeat(name[:, None] * 2 + np.arange(2), 2)
    P = sp.csr_array((np.tile([0.75, 0.25], 2 * S), (row, name[to].ravel())), shape=(2 * S, S))
    return TabularMDP(P, rng.random((S, 2)), gamma, np.eye(1, S)[0])


def rooms(n, size, gamma, rng, stay=0.99):
    """n rooms of ``size`` states each, in a random order; from a room play may only go on to later ones."""
    S = n * size
    P = np.zeros((S, 2, S))
    for i in range(n):
        here = slice(i * size, (i + 1) * size)
        P[here, :, here] = stay * rng.dirichlet(np.ones(size), (size, 2))
        P[here, :, i * size:] += (1 - stay) * rng.dirichlet(np.ones(S - i * size), (size, 2))
    P /= P.sum(-1, keepdims=True)
    name = rng.permutation(S)
    return TabularMDP(sp.csr_array(P[name][:, :, name].reshape(-1, S)), rng.random((S, 2)), gamma, np.full(S, 1 / S))


def test_the_method_suits_the_world_and_is_told():
    told = lambda m, **k: discounted.solve(m, **k).certificate.method
    assert told(garnet(30, 3, 4, 0.9, np.random.default_rng(0))) == "modified policy iteration (BLAS)"
    assert told(garnet(300, 3, 4, 0.9, np.random.default_rng(0), sparse=True)) == "modified policy iteration"
    assert told(slow_line(144, shuffled=True)) == "policy iteration (elimination)"
    assert told(slow_line(2000)) == "policy iteration (elimination)"
    assert told(slow_line(500, shuffled=True)) == "policy iteration (BiCGSTAB)"
    assert told(riverswim(6), method="krylov") == "policy iteration (BiCGSTAB)"
    assert told(riverswim(6), method="ordered") == "strongly connected components in order"
    with pytest.raises(MdpkitError, match="method"):
        discounted.solve(riverswim(6), method="magic")


@pytest.mark.parametrize("model", [slow_line(400), slow_line(400, shuffled=True), cycle(50, 0.9999),
                                   rooms(6, 60, 0.999, np.random.default_rng(1)),
                                   rooms(40, 1, 0.99, np.random.default_rng(2), 0.5)],
                         ids=["line", "shuffled", "cycle", "rooms", "cells"])
def test_direct_krylov_and_ordered_agree(model):
    found = [discounted.solve(model, method=m) for m in ("direct", "krylov", "ordered")]
    for one in found:
        for other in found:
            assert (one.lo <= other.hi).all()


def test_a_long_corridor_without_return_is_one_pass():
    """1e5 cells, each of which leads only onward or stays: gamma = 0.99999 asks for a million sweeps otherwise."""
    S, rng = 100_000, np.random.default_rng(4)
    on = np.minimum(np.arange(S)[:, None] + np.array([1, 2]), S - 1)
    stay = np.array([0.3, 0.9]) * (np.arange(S)[:, None] < S - 1)
    P = sp.csr_array((np.stack([stay, 1 - stay], -1).ravel(), (np.repeat(np.arange(2 * S), 2), np.stack(
        [np.broadcast_to(np.arange(S)[:, None], (S, 2)), on], -1).ravel())), shape=(2 * S, S))
    model = TabularMDP(P, rng.random((S, 2)), 0.99999, np.eye(1, S)[0])
    found = discounted.solve(model, method="ordered")
    assert found.iterations == 0 and found.width <= found.certificate.tol


def test_components_come_behind_all_that_they_reach():
    model = rooms(7, 9, 0.9, np.random.default_rng(3))
    S, A = model.r.shape
    order, begin = ordered.components(np.arange(0, S * A + 1, A), *model.rows[:2])
    assert np.diff(begin).tolist() == [9] * 7 and sorted(order) == list(range(S))
    place = np.empty(S, int)
    place[order] = np.repeat(np.arange(7), 9)
    row = np.repeat(np.arange(S * A), np.diff(model.rows.ptr))
    assert (place[model.rows.col] <= place[row // A]).all()
    graph = sp.csr_array((np.ones(len(row)), (row // A, model.rows.col)), (S, S))
    n, label = connected_components(graph, connection="strong")
    assert n == 7 and all(len(set(label[place == c])) == 1 for c in range(7))


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
