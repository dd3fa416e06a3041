"""Control of utilities of the return against every policy on histories, laws against samples of all paths."""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdpkit.errors import MdpkitError
from mdpkit.measure.values import start_value
from mdpkit.models.tabular import EpisodicMDP
from mdpkit.octets import law, octets
from mdpkit.solve import distributional, episodic

EXACT, ROUND = 1e-12, 1e-9
UTILITIES = {"mean": lambda x: x, "threshold": lambda x: 1 if x >= 2 else 0, "distance": lambda x: -abs(x),
             "square": lambda x: -x * x, "shortfall": lambda x: min(x, 0 * x)}


@st.composite
def worlds(draw):
    """H = 3, S = A = 2, start in state 0, integer rewards that depend on the next state."""
    P = law(draw, 3, 2, 2, 2, weights=range(9))
    return EpisodicMDP(P, np.zeros((3, 2, 2)), [1.0, 0.0]), octets(draw, 3, 2, 2, 2) % 7 - 3.0


def histories(model, R, gamma=1.0):
    """The law of the return of each of the 2^7 functions from histories of states to actions."""
    nodes = [h for n in range(3) for h in itertools.product(range(2), repeat=n)]        # states after the first
    for choice in itertools.product(range(2), repeat=len(nodes)):
        act = dict(zip(nodes, choice))
        out = {}
        for path in itertools.product(range(2), repeat=3):
            p, total, s = Fraction(1), Fraction(0), 0
            for h, t in enumerate(path):
                a = act[path[:h]]
                p *= Fraction(float(model.P[h, s, a, t]))
                total += Fraction(gamma) ** h * Fraction(float(R[h, s, a, t]))
                s = t
            if p:
                out[total] = out.get(total, 0) + p
        yield out


@given(worlds(), st.sampled_from(sorted(UTILITIES)), st.sampled_from([0.0, -3.0, 1.5]), st.sampled_from([1.0, 0.75]))
@settings(max_examples=40)
def test_no_policy_on_histories_does_better(world, name, stock, gamma):
    model, R = world
    U = UTILITIES[name]
    best = max(sum(p * U(Fraction(stock) + x) for x, p in out.items()) for out in histories(model, R, gamma))
    exact = distributional.solve(model, U, stock, rewards=R, gamma=gamma, tier="exact")
    assert exact.certificate.exact == (best,) and exact.lo <= float(best) <= exact.hi
    rough = distributional.solve(model, U, stock, rewards=R, gamma=gamma)
    assert rough.lo <= best <= rough.hi and rough.width < ROUND
    assert abs(sum(p * U(x) for x, p in zip(rough.atoms, rough.prob)) - float(best)) < ROUND


@given(worlds(), st.sampled_from([0.1, 0.25, 0.5, 1.0]))
@settings(max_examples=25)
def test_conditional_value_at_risk_of_all_policies(world, tau):
    model, R = world

    def of(out):
        left, total = Fraction(tau), Fraction(0)
        for x in sorted(out):
            share = min(left, out[x])
            total, left = total + share * x, left - share
        return total / Fraction(tau)

    best = max(of(out) for out in histories(model, R))
    found, b = distributional.cvar(model, tau, rewards=R, tier="exact")
    assert found.lo <= best <= found.hi and found.width < EXACT
    assert b in {float(x) for out in histories(model, R) for x in out}
    rough = distributional.cvar(model, tau, rewards=R)[0]
    assert rough.lo <= best <= rough.hi and rough.width < ROUND


@given(worlds(), st.data())
@settings(max_examples=25)
def test_the_law_of_a_policy_is_that_of_its_paths(world, data):
    model, R = world
    pi = law(data.draw, 3, 2, 2)
    values, prob = distributional.return_law(model, pi, rewards=R)
    out = {}
    for path in itertools.product(range(2), repeat=6):
        p, total, s = 1.0, 0.0, 0
        for h in range(3):
            a, t = path[2 * h], path[2 * h + 1]
            p, total, s = p * pi[h, s, a] * model.P[h, s, a, t], total + R[h, s, a, t], t
        if p:
            out[total] = out.get(total, 0) + p
    assert sorted(out) == values.tolist()
    np.testing.assert_allclose(prob, [out[v] for v in sorted(out)], atol=EXACT)
    own = EpisodicMDP(model.P, np.einsum("hsat,hsat->hsa", model.P, R), model.rho)
    assert abs((values * prob).sum() - start_value(own, pi)) < ROUND


@given(worlds())
@settings(max_examples=15)
def test_the_mean_is_the_classic_solution(world):
    model, R = world
    own = EpisodicMDP(model.P, np.einsum("hsat,hsat->hsa", model.P, R), model.rho)
    classic = episodic.solve(own).value
    found = distributional.solve(own, lambda x: x)
    assert abs(found.value - float(np.ravel(classic[0] if np.ndim(classic) > 1 else classic)[0])) < ROUND
    assert found.nodes >= 4 and "StockSolution(float" in repr(found)


def test_the_policy_is_keyed_by_stocks_of_its_own_step():
    """One state, rewards 1 or 0, gamma 1/2: the stock 1 after a reward of 1 is 2 in units of the next step."""
    model = EpisodicMDP(np.ones((2, 1, 2, 1)), np.array([[[0.0, 1.0]], [[0.0, 1.0]]]), [1.0])
    found = distributional.solve(model, lambda x: -abs(x - 1.5), gamma=0.5, tier="exact")
    assert found.value == 0 and set(found.policy) == {(0, 0, 0), (1, 0, 0), (1, 0, 2)}
    assert found.atoms.tolist() == [1.5] and found.prob.tolist() == [1.0]


def test_refusals(monkeypatch):
    model = EpisodicMDP(np.ones((2, 1, 2, 1)), np.array([[[0.0, 1.0]], [[0.0, 1.0]]]), [1.0])
    with pytest.raises(MdpkitError, match="utility"):
        distributional.solve(model, lambda x: np.inf)
    with pytest.raises(MdpkitError, match="gamma"):
        distributional.solve(model, lambda x: x, gamma=1.5)
    with pytest.raises(MdpkitError, match="tau"):
        distributional.cvar(model, 0.0)
    with pytest.raises(MdpkitError, match="rewards"):
        distributional.return_law(model, np.zeros((2, 1), int), rewards=np.zeros((2, 1, 2)))
    monkeypatch.setattr(distributional, "MOST", 2)
    with pytest.raises(MdpkitError, match="reachable stocks"):
        distributional.solve(model, lambda x: x)
