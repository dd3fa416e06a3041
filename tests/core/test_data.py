"""Logged data: what is collected, and what fits."""

from __future__ import annotations

import numpy as np
import pytest
from core.small_worlds import (
    BANDIT,
    CONTEXTUAL,
    EPISODIC,
    LINBANDIT,
    LINEAR,
    MIXTURE,
    PREFERENCES,
    TOKENS,
    A,
    H,
    S,
    full,
    margin,
    seeded,
)

from mdpkit.data import collect, compare, draw_states, draw_tuples
from mdpkit.errors import MdpkitError
from mdpkit.records import Dataset, Steps

LONG = 20_000


def frequencies(drawn, size):
    return np.bincount(drawn, minlength=size) / max(len(drawn), 1)


def check_transitions(data, model):
    for h in range(model.H):
        for s, a in np.ndindex(model.S, model.A):
            here = (data.steps.s[:, h] == s) & (data.steps.a[:, h] == a)
            m = int(here.sum())
            if m:
                assert np.abs(frequencies(data.steps.s_next[here, h], model.S) - model.P[h, s, a]).max() <= margin(m)
                assert abs(data.steps.r[here, h].mean() - model.r[h, s, a]) <= margin(m)


def test_collect_plays_the_policy():
    pi = full(50, H, S, A)
    data = collect(EPISODIC, pi, LONG, seeded(0))
    assert data.joint and data.behaviour == "policy" and (data.n, data.H) == (LONG, H)
    assert (data.steps.s[:, 1:] == data.steps.s_next[:, :-1]).all(), "trajectories"
    assert np.abs(frequencies(data.steps.s[:, 0], S) - EPISODIC.rho).max() <= margin(LONG)
    for h in range(H):
        for s in range(S):
            here = data.steps.s[:, h] == s
            assert np.abs(frequencies(data.steps.a[here, h], A) - pi[h, s]).max() <= margin(int(here.sum()))
    check_transitions(data, EPISODIC)


def test_collect_plays_actions():
    actions = np.arange(H * S).reshape(H, S) % A
    data = collect(EPISODIC, actions, 200, seeded(0), behaviour="mine")
    assert (data.steps.a == actions[np.arange(H), data.steps.s]).all() and data.behaviour == "mine"


def test_collect_draws_one_policy_an_episode_from_a_mixture():
    zero, one = np.zeros((H, S), int), np.ones((H, S), int)
    data = collect(EPISODIC, [(0.25, zero), (0.75, one)], LONG, seeded(0))
    assert data.behaviour == "mixture" and (data.steps.a == data.steps.a[:, :1]).all()
    assert abs(data.steps.a[:, 0].mean() - 0.75) <= margin(LONG)


@pytest.mark.parametrize(("model", "shape"), [
    (LINEAR, (H, S)), (MIXTURE, (H, S)), (TOKENS, (3, 16)), (BANDIT, (1, 1)), (LINBANDIT, (1, 1)), (CONTEXTUAL, (1, 3)),
], ids=lambda m: type(m).__name__)
def test_collect_takes_every_model_that_is_episodic(model, shape):
    assert collect(model, np.zeros(shape, int), 5, seeded(0)).steps.s.shape == (5, shape[0])


def test_draw_tuples_follows_nu():
    nu = full(51, H, S * A).reshape(H, S, A)
    data = draw_tuples(EPISODIC, nu, LONG, seeded(0))
    assert not data.joint and data.behaviour == "nu" and data.steps.r.shape == (LONG, H)
    for h in range(H):
        cells = data.steps.s[:, h] * A + data.steps.a[:, h]
        assert np.abs(frequencies(cells, S * A) - nu[h].ravel()).max() <= margin(LONG)
    check_transitions(data, EPISODIC)


def test_draw_states_follows_mu():
    mu = full(52, H, S)
    data = draw_states(mu, LONG, seeded(0))
    assert data.s.shape == (LONG, H) and data.behaviour == "mu"
    assert all(np.abs(frequencies(data.s[:, h], S) - mu[h]).max() <= margin(LONG) for h in range(H))


def test_compare_draws_pairs_and_winners():
    X, Y = 3, 4
    pairs = full(53, X, Y, Y) * (1 - np.eye(Y))
    pairs /= pairs.sum((1, 2), keepdims=True)
    data = compare(PREFERENCES, pairs, LONG, seeded(0))
    assert (data.count == 1).all() and (data.win != data.lose).all() and len(data.x) == LONG
    assert np.abs(frequencies(data.x, X) - PREFERENCES.rho).max() <= margin(LONG)
    for x in range(X):
        here = data.x == x
        m = int(here.sum())
        for y, z in np.ndindex(Y, Y):
            if y == z:
                continue
            won = here & (data.win == y) & (data.lose == z)
            wanted = (pairs[x, y, z] + pairs[x, z, y]) * PREFERENCES.p[x, y, z]
            assert abs(won.sum() / m - wanted) <= margin(m)


@pytest.mark.parametrize("draw", [
    lambda n: collect(EPISODIC, full(50, H, S, A), n, seeded(0)).steps.s,
    lambda n: draw_tuples(EPISODIC, np.full((H, S, A), 1 / (S * A)), n, seeded(0)).steps.s,
    lambda n: draw_states(full(52, H, S), n, seeded(0)).s,
], ids=["collect", "draw_tuples", "draw_states"])
def test_more_rows_begin_with_the_fewer(draw):
    assert draw(0).shape == (0, H)
    assert (draw(50)[:20] == draw(20)).all()


def test_data_are_read_only_and_apart_from_their_source():
    s, r = np.zeros((2, H), int), np.zeros((2, H))
    data = Dataset(Steps(s, s, r, s), "test")
    s[0, 0] = 3
    assert data.steps.s[0, 0] == 0 and not any(part.flags.writeable for part in data.steps)


@pytest.mark.parametrize(("field", "at", "message"), [
    ("s", (1, 2), r"data\.steps\.s\[1, 2\] must be below 4; it is 9"),
    ("a", (0, 1), r"data\.steps\.a\[0, 1\] must be below 2; it is 9"),
    ("s_next", (1, 0), r"data\.steps\.s_next\[1, 0\] must be below 4; it is 9"),
])
def test_data_that_fit_and_data_that_do_not(field, at, message):
    parts = {"s": np.full((2, H), S - 1), "a": np.full((2, H), A - 1), "r": np.zeros((2, H)),
             "s_next": np.full((2, H), S - 1)}
    fine = Dataset(Steps(**parts), "test")
    assert fine.fits(S, A) is fine
    parts[field][at] = 9
    with pytest.raises(MdpkitError, match=message):
        Dataset(Steps(**parts), "test").fits(S, A)


def test_the_first_rows_of_data():
    data = collect(EPISODIC, full(50, H, S, A), 10, seeded(0), behaviour="mine")
    few = data.take(4)
    assert few.n == 4 and few.behaviour == "mine" and (few.steps.s == data.steps.s[:4]).all()
    for part in (*data.steps, *few.steps):
        with pytest.raises(ValueError, match="read-only"):
            part[0, 0] = 0
