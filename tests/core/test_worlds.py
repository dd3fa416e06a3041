"""Worlds: every verb draws what its model says, in the order it says, compiled or not, and counts it."""

from __future__ import annotations

import math
import os
import subprocess
import sys

import numpy as np
import pytest
from core import worlds_played
from core.worlds_played import (
    GAUSSIAN,
    LATENT,
    LEVEL,
    LONG,
    RICH,
    RUNS,
    SHORT,
    TABULAR,
    A,
    H,
    digest,
    margin,
    played,
    seeded,
)
from core.worlds_slow import SLOW

from mdpkit.models.convert import to_episodic
from mdpkit.models.tabular import TabularMDP


def test_compiled_and_interpreted_worlds_agree_bit_for_bit():
    environment = {k: v for k, v in os.environ.items() if not k.startswith("NUMBA_")} | {"NUMBA_DISABLE_JIT": "1"}
    done = subprocess.run([sys.executable, "-W", "error", worlds_played.__file__], env=environment, capture_output=True,
                          text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["interpreted", digest()]


@pytest.mark.parametrize("name", RUNS)
def test_draws_come_in_the_stated_order(name):
    out, _ = played(name, SHORT)
    slow, model = SLOW[name]
    wanted = np.array([line[: out.shape[1]] for line in slow(model, RUNS[name][2](SHORT), seeded(0))], float)
    assert (out == wanted).all()


# --- frequencies

def check_law(drawn, p):
    """Frequencies of integers 0..len(p)-1 against p; nothing outside the support."""
    counts = np.bincount(np.asarray(drawn).astype(int), minlength=len(p))
    assert len(counts) == len(p) and (counts[p == 0] == 0).all()
    if counts.sum():
        assert np.abs(counts / counts.sum() - p).max() <= margin(counts.sum())


def check_mean(rewards, mean, noise):
    if noise == "none":
        assert (rewards == mean).all()
        return
    if noise == "bernoulli":
        assert np.isin(rewards, (0.0, 1.0)).all()
    if len(rewards):
        assert abs(rewards.mean() - mean) <= margin(len(rewards)) * (2 if noise == "gaussian" else 1)


def check_transitions(s, a, r, t, P, mean, noise):
    for u in range(P.shape[0]):
        for b in range(P.shape[1]):
            here = (s == u) & (a == b)
            check_law(t[here], P[u, b])
            check_mean(r[here], mean[u, b], noise)


@pytest.mark.parametrize("name", ["tabular", "wide", "episodic", "gaussian", "linear", "mixture", "tokens", "reset"])
def test_frequencies_of_episodes(name):
    out, _ = played(name, LONG)
    model = SLOW[name][1]
    model = model if isinstance(model, TabularMDP) else to_episodic(model)
    check_law(out[:, 0], model.rho)
    for h in range((out.shape[1] - 1) // 3):
        P, r = (model.P, model.r) if isinstance(model, TabularMDP) else (model.P[h], model.r[h])
        s, a, reward, t = out[:, 3 * h: 3 * h + 4].T
        check_transitions(s, a, reward, t, P, r, model.noise)


def test_frequencies_of_a_stream():
    out, _ = played("stream", LONG)
    assert (out[1:, 0] == out[:-1, 3]).all(), "one trajectory"
    check_transitions(*out.T, TABULAR.P, TABULAR.r, TABULAR.noise)


def test_frequencies_of_asks():
    out, _ = played("generative", LONG)
    for h in range(H):
        _, s, a, r, t = out[out[:, 0] == h].T
        check_transitions(s, a, r, t, GAUSSIAN.P[h], GAUSSIAN.r[h], "gaussian")


def test_gaussian_rewards_have_unit_variance():
    out, _ = played("generative", LONG)
    z = out[:, 3] - GAUSSIAN.r[tuple(out[:, :3].astype(int).T)]
    # chi-square (Laurent and Massart): |mean of z**2 - 1| <= 2 sqrt(x/m) + 2 x/m but for probability 2 exp(-x)
    x = math.log(2 / LEVEL)
    assert abs((z * z).mean() - 1) <= 2 * math.sqrt(x / LONG) + 2 * x / LONG
    for at in (-1.0, 0.0, 1.0):
        assert abs((z <= at).mean() - 0.5 * (1 + math.erf(at / math.sqrt(2)))) <= margin(LONG)


def test_frequencies_of_a_latent_world():
    out, _ = played("hindsight", LONG)
    m = out[:, -1].astype(int)
    check_law(m, LATENT.w)
    for c in range(2):
        mine = out[m == c]
        check_law(mine[:, 0], LATENT.nu[c])
        for h in range(H):
            check_transitions(*mine[:, 3 * h: 3 * h + 4].T, LATENT.P[c], LATENT.r[c], LATENT.noise)


def test_hindsight_changes_no_draw():
    assert (played("latent", SHORT)[0] == played("hindsight", SHORT)[0][:, :-1]).all()


def test_frequencies_of_a_rich_world():
    """The law of (x0, x1) and the mean reward given x0, by enumeration of the hidden states."""
    out, _ = played("rich", LONG)
    joint = RICH.rho[:, None] * RICH.q                                  # (S, X)
    check_law(out[:, 0], joint.sum(0))
    for a in range(A):
        mine = out[out[:, 1] == a]
        pairs = np.einsum("sx,st,ty->xy", joint, RICH.P[0][:, a], RICH.q)
        check_law(mine[:, 0] * RICH.X + mine[:, 3], pairs.ravel())
        for x in np.flatnonzero(joint.sum(0)):
            wanted = joint[:, x] @ RICH.r[0][:, a] / joint[:, x].sum()
            check_mean(mine[mine[:, 0] == x, 2], wanted, "bernoulli")


@pytest.mark.parametrize("name", ["bandit", "linear bandit", "contextual"])
def test_frequencies_of_bandits(name):
    out, _ = played(name, LONG)
    model = SLOW[name][1]
    rho, mean = (model.rho, model.r) if name == "contextual" else (np.ones(1), model.mu[None])
    check_law(out[:, 0], rho)
    for x in range(len(rho)):
        for a in range(A):
            check_mean(out[(out[:, 0] == x) & (out[:, 1] == a), 2], mean[x, a], model.noise)


@pytest.mark.parametrize("name", ["game", "three players"])
def test_frequencies_of_games(name):
    out, _ = played(name, LONG)
    model = SLOW[name][1]
    n = model.n
    check_law(out[:, 0], model.rho)
    for h in range(model.H):
        block = out[:, h * (2 * n + 1): (h + 1) * (2 * n + 1) + 1]          # s, n actions, n rewards, next state
        joint = np.ravel_multi_index(tuple(block[:, 1: n + 1].astype(int).T), model.A)
        for i in range(n):
            check_transitions(block[:, 0], joint, block[:, n + 1 + i], block[:, -1],
                              model.P[h].reshape(model.S, -1, model.S), model.r[i, h].reshape(model.S, -1), model.noise)


@pytest.mark.parametrize("name", ["preferences", "responses"])
def test_frequencies_of_comparisons(name):
    out, _ = played(name, LONG)
    model = SLOW[name][1]
    check_law(out[:, 0], model.rho)
    for x, y, z in np.ndindex(model.p.shape):
        check_mean(out[(out[:, :3] == (x, y, z)).all(1), 3], model.p[x, y, z], "bernoulli")


# --- counts

@pytest.mark.parametrize(("name", "wanted"), [
    ("tabular", {"episodes": 60, "steps": 360}),
    ("episodic", {"episodes": 60, "steps": 180}),
    ("stream", {"episodes": 1, "steps": 60}),
    ("reset", {"episodes": 60, "steps": 360, "resets": 180}),
    ("generative", {"asks": 60}),
    ("latent", {"episodes": 60, "steps": 180}),
    ("hindsight", {"episodes": 60, "steps": 180}),
    ("rich", {"episodes": 60, "steps": 180}),
    ("bandit", {"episodes": 60, "steps": 60}),
    ("contextual", {"episodes": 60, "steps": 60}),
    ("game", {"episodes": 60, "steps": 180}),
    ("preferences", {"prompts": 60, "asks": 60}),
])
def test_counts(name, wanted):
    assert played(name, SHORT)[1] == wanted
