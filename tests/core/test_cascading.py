"""Cascading MDPs: the model, the MDP over its lists, and the world that shows clicks of looked-at items only."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from mdpkit.access import Episodes
from mdpkit.errors import AccessDenied, MdpkitError
from mdpkit.jit import kernel
from mdpkit.measure.values import optimal_value
from mdpkit.models.cascading import CascadingMDP, all_lists, list_value, numbers, over_lists
from mdpkit.models.record import load
from mdpkit.worlds import bandits, cascading, markov

S, N, M, H = 3, 4, 2, 3
EXACT = 1e-12
LEVEL = 1e-9            # the chance of a false alarm of all frequencies together


def seeded(k):
    return np.random.default_rng(k)


def rows(k, *shape):
    w = seeded(k).random(shape) * (seeded(k + 99).random(shape) < 0.7)
    w[..., 0] += 0.1
    return w / w.sum(-1, keepdims=True)


def model(m=M, s_1=1):
    return CascadingMDP(seeded(0).random((S, N)), seeded(1).random((S, N + 1)), rows(2, S, N + 1, S), m, H, s_1)


def _play(world, lists, out):
    for i in range(lists.shape[0]):
        s = cascading.start(world)
        for h in range(lists.shape[1]):
            looked, c, r, t = cascading.step(world, lists[i, h])
            out[i, h, 0], out[i, h, 1], out[i, h, 2], out[i, h, 3], out[i, h, 4] = s, looked, c, r, t
            s = t


play = kernel(_play)


def played(m, n, seed=0):
    lists = all_lists(N, m)
    plan = lists[seeded(5).integers(0, len(lists), (n, H))]
    access, out = Episodes(model(m), seeded(seed)), np.zeros((n, H, 5))
    access.call(play, plan, out)
    return access, plan, out


@pytest.mark.parametrize("m", [1, 2, 4])
def test_draws_come_in_the_stated_order(m):
    """One number for each item looked at, then one for the state."""
    access, plan, out = played(m, 50)
    rng, w = seeded(0), model(m)
    for i, lists in enumerate(plan):
        s = 1
        for h, items in enumerate(lists):
            looked, c = 0, N
            for a in items[items >= 0]:
                looked += 1
                if rng.random() < w.q[s, a]:
                    c = a
                    break
            t = int(np.searchsorted(np.cumsum(w.P[s, c]), rng.random(), side="right"))
            assert out[i, h].tolist() == [s, looked, c, w.r[s, c], t]
            s = t
    assert access.samples == {"episodes": 50, "steps": 150}


def test_frequencies():
    w = model()
    _, plan, out = played(M, 20_000)
    s, looked, c, _, t = (out[..., i].astype(int).ravel() for i in range(5))
    items = plan.reshape(-1, M)
    for x, a in np.ndindex(S, N):
        seen = (s == x) & ((items[:, 0] == a) | ((items[:, 1] == a) & (looked == 2)))
        _near(c[seen] == a, w.q[x, a])
        for y in range(S):
            _near(t[(s == x) & (c == a)] == y, w.P[x, a, y])


def _near(bits, p):
    """Hoeffding, over at most 1000 frequencies of at most 60000 sizes."""
    if bits.size:
        assert abs(bits.mean() - p) <= math.sqrt(math.log(2 * 1000 * 60_000 / LEVEL) / (2 * bits.size))


def test_the_law_of_every_list_is_enumerated():
    w = model()
    plain, lists = over_lists(w)
    assert (S, len(lists), H) == (plain.S, plain.A, plain.H) and plain.is_stationary and plain.rho.tolist() == [0, 1, 0]
    for x, i in np.ndindex(S, len(lists)):
        items = lists[i][lists[i] >= 0]
        chance = [np.prod(1 - w.q[x, items[:j]]) * w.q[x, items[j]] for j in range(len(items))]
        chance, where = [*chance, 1 - sum(chance)], [*items, N]
        assert plain.r[0, x, i] == pytest.approx(sum(p * w.r[x, a] for p, a in zip(chance, where)), rel=EXACT)
        np.testing.assert_allclose(plain.P[0, x, i], sum(p * w.P[x, a] for p, a in zip(chance, where)), atol=EXACT)
        assert plain.r[0, x, i] == pytest.approx(list_value(items, w.q[x], w.r[x]), rel=EXACT)


@pytest.mark.parametrize("n, m", [(1, 1), (4, 1), (4, 2), (5, 4), (3, 3)])
def test_all_lists(n, m):
    lists = all_lists(n, m)
    wanted = {p for k in range(1, m + 1) for p in itertools.permutations(range(n), k)}
    assert {tuple(x[x >= 0]) for x in lists} == wanted and len(lists) == len(wanted)
    np.testing.assert_array_equal(numbers(lists[None, ::-1], lists), [np.arange(len(lists))[::-1]])


def test_one_item_and_sure_clicks_are_a_plain_mdp():
    P, r = rows(7, S, 2, S), seeded(8).random((S, 2))
    plain, _ = over_lists(CascadingMDP(np.ones((S, 1)), r, P, 1, H))
    V = np.zeros(S)
    for _ in range(H):
        V = r[:, 0] + P[:, 0] @ V
    np.testing.assert_allclose(optimal_value(plain)[0], V, atol=EXACT)


def test_a_model_is_saved_and_loaded(tmp_path):
    w = model()
    again = load(w.save(tmp_path / "w.npz"))
    assert all((np.asarray(getattr(w, k)) == getattr(again, k)).all() for k in ("q", "r", "P", "m", "H", "s_1"))
    assert repr(w) == "CascadingMDP(S=3, H=3)" and "CascadingMDP" in w._repr_html_() and (w.S, w.N) == (S, N)


def test_what_is_granted():
    known = Episodes(model(), seeded(0), grant=("r",)).known
    assert (known.S, known.N, known.H, known.m, known.s_1) == (S, N, H, M, 1) and known.r.shape == (S, N + 1)
    with pytest.raises(AccessDenied):
        _ = known.q


def broken(access, verb, *args, match):
    before = access.samples
    with pytest.raises(AccessDenied, match=match):
        access.call(verb, *args)
    assert access.samples == before


@pytest.mark.parametrize("items", [[-1, -1], [4, -1], [0, 4], [1, 1], [0, 1, 2], [2**40, 0]])
def test_lists_by_the_rules_only(items):
    access = Episodes(model(), seeded(0))
    access.call(cascading.start)
    broken(access, cascading.step, np.array(items), match="the action is out of range")
    assert access.call(cascading.step, np.array([2, -1]))[0] == 1
    assert access.call(cascading.step, np.array([0, 3, -1, 7]))[0] in (1, 2)      # what follows a gap is not shown


def test_steps_in_an_episode_only():
    access, items, outside = Episodes(model(), seeded(0)), np.array([0, 1]), "step outside an episode"
    broken(access, cascading.step, items, match=outside)
    access.call(cascading.start)
    for _ in range(H):
        access.call(cascading.step, items)
    broken(access, cascading.step, items, match=outside)
    assert access.call(cascading.start) == 1


def test_a_refused_list_draws_nothing():
    spared, plain = Episodes(model(), seeded(0)), Episodes(model(), seeded(0))
    for access in (spared, plain):
        access.call(cascading.start)
    broken(spared, cascading.step, np.array([0, 0]), match="out of range")
    assert spared.call(cascading.step, np.array([0, 1])) == plain.call(cascading.step, np.array([0, 1]))


@pytest.mark.parametrize("verb", [markov.step, bandits.step])
def test_verbs_of_other_worlds_do_not_compile(verb):
    with pytest.raises(AccessDenied):
        Episodes(model(), seeded(0)).call(verb, 0)


q, r, P = np.full((2, 3), 0.5), np.zeros((2, 4)), np.full((2, 4, 2), 0.5)
BAD = {
    "chances": (lambda: CascadingMDP(q + 1, r, P, 1, 1), r"q\[0, 0\] must be in \[0, 1\]"),
    "rewards": (lambda: CascadingMDP(q, r[:, :3], P, 1, 1), r"r must be of shape \(2, 4\)"),
    "kernel": (lambda: CascadingMDP(q, r, P * 2, 1, 1), r"P\[0, 0, :\].*sums to 2"),
    "no click": (lambda: CascadingMDP(q, r, P[:, :3], 1, 1), r"P must be of shape \(2, 4, 2\)"),
    "longest": (lambda: CascadingMDP(q, r, P, 4, 1), "m must be at least 1 and at most 3"),
    "horizon": (lambda: CascadingMDP(q, r, P, 1, 0), "H must be at least 1"),
    "first state": (lambda: CascadingMDP(q, r, P, 1, 1, 2), "s_1 must be at least 0 and at most 1"),
    "too many lists": (lambda: all_lists(60, 8), "m must be small enough"),
    "no such list": (lambda: numbers(np.array([[0, 0]]), all_lists(3, 2)), r"policy\[0\] must be one of the lists"),
    "no such item": (lambda: numbers(np.array([[3, -1]]), all_lists(3, 2)), r"policy\[0\] must be one of the lists"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_models(name):
    call, match = BAD[name]
    with pytest.raises(MdpkitError, match=match):
        call()
