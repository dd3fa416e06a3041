"""Gaps and regret against differences of values, of traces and while watching."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
from core.models_given import EXACT, SEEDS, discounted, episodic, sparse_laws

from mdpkit.access import Episodes
from mdpkit.jit import kernel
from mdpkit.measure import regret, values
from mdpkit.models.bandits import Bandit, ContextualBandit
from mdpkit.models.tabular import EpisodicMDP
from mdpkit.records import Trace
from mdpkit.worlds.markov import start, step


@pytest.mark.parametrize("seed", SEEDS)
def test_gap_is_a_difference_of_values(seed):
    for model, pi, rng in (episodic(seed), discounted(seed)):
        other = sparse_laws(rng, *model.r.shape)
        J = values.start_value
        assert abs(regret.gap(model, pi, other) - (J(model, other) - J(model, pi))) < EXACT
        assert abs(regret.gap(model, pi) - (values.optimal_start_value(model) - J(model, pi))) < EXACT
        assert regret.gap(model, values.optimal_action_value(model).argmax(-1)) == 0.0
        assert regret.gap(model, pi) >= 0.0


def test_tiny_gaps_are_seen():
    model = EpisodicMDP(np.ones((1, 1, 2, 1)), [[[1.0, 0.0]]], [1.0])
    assert regret.gap(model, [[[1.0, 1e-30]]]) == 1e-30


@pytest.mark.parametrize("seed", SEEDS)
def test_gaps_of_many_policies(seed):
    for model, pi, rng in (episodic(seed), discounted(seed)):
        shape = model.r.shape
        actions = rng.integers(0, shape[-1], (4, *shape[:-1]))
        laws = np.stack([pi, *sparse_laws(rng, 3, *shape)])
        index = rng.integers(0, 4, 30)
        for policies in (actions, laws):
            each = np.array([regret.gap(model, p, pi) for p in policies])
            np.testing.assert_array_equal(regret.gaps(model, Trace(policies, index), pi), each[index])
            np.testing.assert_array_equal(regret.gaps(model, policies[index], pi), each[index])
            np.testing.assert_array_equal(regret.regret(model, policies[index], pi), np.cumsum(each[index]))
        as_laws = np.eye(shape[-1])[actions]
        np.testing.assert_allclose(regret.gaps(model, actions), regret.gaps(model, as_laws), atol=EXACT)
        assert (regret.gaps(model, actions) >= 0).all()
        assert regret.gaps(model, actions[:0]).shape == regret.gaps(model, as_laws[:0]).shape == (0,)


class Log(NamedTuple):
    policy: np.ndarray
    total: np.ndarray


def _play(world, seen, log, first, rng):
    """Changes an action now and then, and plays."""
    n, H, S = log.policy.shape
    for i in range(n):
        if rng.random() < 0.3:
            seen[rng.integers(0, H), rng.integers(0, S)] = rng.integers(0, 2)
        s = start(world)
        for h in range(H):
            for z in range(S):
                log.policy[i, h, z] = seen[h, z]
            reward, s = step(world, seen[h, s])
            log.total[i] += reward


play = kernel(_play)


@pytest.mark.parametrize("chunk", [1, 7, 64, None])
def test_watcher_equals_the_gaps_of_the_trace(chunk):
    model, comparator, _ = episodic(1)
    row = Log(np.zeros((3, 3), np.int64), np.float64(0))

    def run(watch):
        rng = np.random.default_rng(5)
        access = Episodes(model, np.random.default_rng(4), watch=watch, chunk=chunk)
        return access.drive(play, (np.zeros((3, 3), np.int64),), row, 100, rng)

    trace = run(None)
    for c in (None, comparator):
        watch = regret.Regret(model, c)
        assert watch.total == 0.0 and watch.gaps.shape == (0,)
        run(watch)
        np.testing.assert_array_equal(watch.gaps, regret.gaps(model, trace, c))
        np.testing.assert_array_equal(watch.regret, regret.regret(model, trace, c))
        assert watch.total == watch.regret[-1]
    assert len(trace.policies) < 100


def test_watcher_evaluates_a_run_once(monkeypatch):
    model, _, rng = discounted(2)
    asked = []
    count = regret.occupancy
    monkeypatch.setattr(regret, "occupancy", lambda *args: asked.append(1) or count(*args))
    two = rng.integers(0, 3, (2, 5))
    two[1, 0] = (two[0, 0] + 1) % 3
    watch = regret.Regret(model)
    for first in range(0, 40, 10):
        watch(first, np.repeat(two[[first // 20]], 10, 0))
    assert len(asked) == 2 and watch.gaps.shape == (40,)


def test_bandit_regret():
    model = Bandit([0.25, 0.75, 0.5])
    arms = np.array([0, 2, 1, 1])
    for got in (regret.gaps(model, arms), regret.pull_gaps(model, arms), model.gaps[arms]):
        np.testing.assert_array_equal(got, [0.5, 0.25, 0.0, 0.0])
    np.testing.assert_array_equal(regret.gaps(model, Trace(np.array([1, 0]), np.array([1, 0, 1]))), [0.5, 0, 0.5])
    assert regret.gaps(model, [[0.5, 0.5, 0.0]])[0] == 0.25
    watch = regret.Regret(model)
    watch(0, arms[:3])
    watch(3, arms[3:])
    assert watch.total == 0.75
    context = ContextualBandit([0.25, 0.75], [[0.0, 1.0], [0.5, 0.0]])
    np.testing.assert_array_equal(regret.pull_gaps(context, [0, 0, 1], [0, 1, 1]), [1.0, 0.0, 0.5])
    assert regret.gaps(context, [[0, 0]])[0] == 0.25
