"""Worlds: every verb draws what its model says, in the order it says, and keeps its rules, compiled or not.

Run as a script, this file prints a digest of every world's draws; with NUMBA_DISABLE_JIT=1 it must print the same.
"""

from __future__ import annotations

import hashlib
import math
import os
import subprocess
import sys

import numpy as np
import pytest

from mdpkit.access import Comparisons, Episodes, Generative, Reset, Stream
from mdpkit.errors import AccessDenied
from mdpkit.jit import kernel
from mdpkit.kernels.draw import cumulative, draw
from mdpkit.models.bandits import Bandit, ContextualBandit, LinearBandit
from mdpkit.models.convert import response_preferences, to_episodic
from mdpkit.models.games import MarkovGame
from mdpkit.models.latent import LatentMDP, RichMDP
from mdpkit.models.linear import LinearMDP, LinearMixtureMDP
from mdpkit.models.preferences import PreferenceModel
from mdpkit.models.tabular import EpisodicMDP, TabularMDP
from mdpkit.models.tokens import TokenModel
from mdpkit.records import Dataset, StateOnlyDataset, Steps
from mdpkit.worlds import bandits, games, hidden, markov, preferences

# Hoeffding: a frequency over m draws misses its probability by t with probability at most 2 exp(-2 m t**2). This file
# has at most 10**5 frequencies; where m is a random number of visits, each of at most 2 * 10**4 possible m counts as
# one of its own. So t = sqrt(log(2 * CELLS / 1e-9) / (2 m)) keeps all of them together below 1e-9. A standard normal
# mean misses by t with probability at most 2 exp(-m t**2 / 2): twice that t is enough.
LEVEL, CELLS = 1e-9, 10**5 * 2 * 10**4


def margin(m):
    return math.sqrt(math.log(2 * CELLS / LEVEL) / (2 * m))


def seeded(k):
    return np.random.default_rng(k)


def law(k, *shape):
    w = seeded(k).random(shape) * (seeded(k + 1000).random(shape) < 0.7)
    w[..., -1] += 0.1
    return w / w.sum(-1, keepdims=True)


def full(k, *shape):
    w = seeded(k).random(shape) + 0.1
    return w / w.sum(-1, keepdims=True)


def unit(k, *shape):
    return seeded(k).random(shape)


H, S, A = 3, 4, 2
TABULAR = TabularMDP(law(1, S, A, S), unit(2, S, A), 0.9, law(3, S), "bernoulli")
WIDE = TabularMDP(full(4, 30, A, 30), unit(5, 30, A), 0.9, full(6, 30), "gaussian")          # rows longer than 8
EPISODIC = EpisodicMDP(law(7, H, S, A, S), unit(8, H, S, A), law(9, S), "bernoulli")
GAUSSIAN = EpisodicMDP(law(10, H, S, A, S), unit(11, H, S, A), law(12, S), "gaussian")
LINEAR = LinearMDP(full(13, S, A, 3), full(14, H, 3, S), unit(15, H, 3), full(16, S))
MIXTURE = LinearMixtureMDP(full(17, 2, S, A, S), full(18, H, 2), unit(19, H, S, A), full(20, S))
TOKENS = TokenModel(unit(21, 2, 8), full(22, 2, 7, 2), [0.3, 0.7], 1.0)
LATENT = LatentMDP([0.3, 0.7], law(23, 2, S), law(24, 2, S, A, S), unit(25, 2, S, A), H, "bernoulli")
RICH = RichMDP(law(26, H, S, A, S), unit(27, H, S, A), law(28, S), law(29, S, 5), "bernoulli")
BANDIT = Bandit([0.2, 0.9], "bernoulli")
LINBANDIT = LinearBandit(unit(30, 2, 3), unit(31, 3))
CONTEXTUAL = ContextualBandit(law(32, 3), unit(33, 3, A))
GAME = MarkovGame(law(34, H, S, 2, 3, S), unit(35, 2, H, S, 2, 3), law(36, S), "bernoulli")
THREE = MarkovGame(law(37, 2, 2, 2, 3, 2, 2), unit(38, 3, 2, 2, 2, 3, 2), law(39, 2))
PREFERENCES = PreferenceModel.bradley_terry(unit(40, 3, 4) * 4, law(41, 3), full(42, 3, 4), 1.0)


# --- players: row i holds episode i: first state, then action, reward, next state of each step

def _play_markov(world, plan, out):
    for i in range(plan.shape[0]):
        out[i, 0] = markov.start(world)
        for h in range(plan.shape[1]):
            r, s = markov.step(world, plan[i, h])
            out[i, 3 * h + 1], out[i, 3 * h + 2], out[i, 3 * h + 3] = plan[i, h], r, s


def _play_stream(world, plan, out):
    s = markov.start(world)
    for i in range(plan.shape[0]):
        out[i, 0] = s
        r, s = markov.step(world, plan[i, 0])
        out[i, 1], out[i, 2], out[i, 3] = plan[i, 0], r, s


def _play_resets(world, plan, out):
    for i in range(plan.shape[0]):
        out[i, 0] = markov.start(world)
        for h in range(plan.shape[1]):
            r, s = markov.step(world, plan[i, h])
            markov.reset(world, h, int(out[i, 3 * h]))           # back, and once more
            r, s = markov.step(world, plan[i, h])
            out[i, 3 * h + 1], out[i, 3 * h + 2], out[i, 3 * h + 3] = plan[i, h], r, s


def _play_asks(world, plan, out):
    for i in range(plan.shape[0]):
        h, s, a = plan[i, 0], plan[i, 1], plan[i, 2]
        r, t = markov.ask(world, h, s, a)
        out[i, 0], out[i, 1], out[i, 2], out[i, 3], out[i, 4] = h, s, a, r, t


def _play_hidden(world, plan, out):
    for i in range(plan.shape[0]):
        out[i, 0] = hidden.start(world)
        for h in range(plan.shape[1]):
            r, x = hidden.step(world, plan[i, h])
            out[i, 3 * h + 1], out[i, 3 * h + 2], out[i, 3 * h + 3] = plan[i, h], r, x


def _play_hindsight(world, plan, out):
    for i in range(plan.shape[0]):
        out[i, 0] = hidden.start(world)
        for h in range(plan.shape[1]):
            r, x = hidden.step(world, plan[i, h])
            out[i, 3 * h + 1], out[i, 3 * h + 2], out[i, 3 * h + 3] = plan[i, h], r, x
        out[i, 3 * plan.shape[1] + 1] = hidden.reveal(world)


def _play_bandit(world, plan, out):
    for i in range(plan.shape[0]):
        out[i, 0] = bandits.start(world)
        out[i, 1], out[i, 2] = plan[i, 0], bandits.step(world, plan[i, 0])


def _play_game(world, plan, out):
    H, n = plan.shape[1], plan.shape[2]
    for i in range(plan.shape[0]):
        out[i, 0] = games.start(world)
        for h in range(H):
            r, s = games.step(world, plan[i, h])
            k = 1 + h * (2 * n + 1)
            for j in range(n):
                out[i, k + j], out[i, k + n + j] = plan[i, h, j], r[j]
            out[i, k + 2 * n] = s


def _play_preferences(world, plan, out):
    for i in range(plan.shape[0]):
        x = preferences.start(world)
        out[i, 0], out[i, 1], out[i, 2] = x, plan[i, 0], plan[i, 1]
        out[i, 3] = preferences.ask(world, x, plan[i, 0], plan[i, 1])


def _many_draws(cum, lo, hi, u, out):
    for i in range(u.shape[0]):
        out[i] = draw(cum, lo, hi, u[i])


play_markov, play_stream, play_resets = kernel(_play_markov), kernel(_play_stream), kernel(_play_resets)
play_asks, play_hidden, play_hindsight = kernel(_play_asks), kernel(_play_hidden), kernel(_play_hindsight)
play_bandit, play_game, play_preferences = kernel(_play_bandit), kernel(_play_game), kernel(_play_preferences)
many_draws = kernel(_many_draws)


def actions(n, steps, *tops):
    """Actions of n episodes (n, steps), or (n, steps, players)."""
    every = [seeded(99 + i).integers(0, top, (n, steps)) for i, top in enumerate(tops)]
    return every[0] if len(tops) == 1 else np.stack(every, -1)


def places(n, *tops):
    return np.stack([seeded(199 + i).integers(0, top, n) for i, top in enumerate(tops)], -1)


# name: access, player, plan of n episodes, columns
RUNS = {
    "tabular": (lambda: Episodes(TABULAR, seeded(0)), play_markov, lambda n: actions(n, 6, A), 19),
    "wide": (lambda: Episodes(WIDE, seeded(0)), play_markov, lambda n: actions(n, 6, A), 19),
    "episodic": (lambda: Episodes(EPISODIC, seeded(0)), play_markov, lambda n: actions(n, H, A), 10),
    "gaussian": (lambda: Episodes(GAUSSIAN, seeded(0)), play_markov, lambda n: actions(n, H, A), 10),
    "linear": (lambda: Episodes(LINEAR, seeded(0)), play_markov, lambda n: actions(n, H, A), 10),
    "mixture": (lambda: Episodes(MIXTURE, seeded(0)), play_markov, lambda n: actions(n, H, A), 10),
    "tokens": (lambda: Episodes(TOKENS, seeded(0)), play_markov, lambda n: actions(n, H, 2), 10),
    "stream": (lambda: Stream(TABULAR, seeded(0)), play_stream, lambda n: actions(n, 1, A), 4),
    "reset": (lambda: Reset(EPISODIC, seeded(0)), play_resets, lambda n: actions(n, H, A), 10),
    "generative": (lambda: Generative(GAUSSIAN, seeded(0)), play_asks, lambda n: places(n, H, S, A), 5),
    "generative discounted": (lambda: Generative(TABULAR, seeded(0)), play_asks, lambda n: places(n, 1, S, A), 5),
    "latent": (lambda: Episodes(LATENT, seeded(0)), play_hidden, lambda n: actions(n, H, A), 10),
    "hindsight": (lambda: Episodes(LATENT, seeded(0), hindsight=True), play_hindsight, lambda n: actions(n, H, A), 11),
    "rich": (lambda: Episodes(RICH, seeded(0)), play_hidden, lambda n: actions(n, H, A), 10),
    "bandit": (lambda: Episodes(BANDIT, seeded(0)), play_bandit, lambda n: actions(n, 1, A), 3),
    "linear bandit": (lambda: Episodes(LINBANDIT, seeded(0)), play_bandit, lambda n: actions(n, 1, A), 3),
    "contextual": (lambda: Episodes(CONTEXTUAL, seeded(0)), play_bandit, lambda n: actions(n, 1, A), 3),
    "game": (lambda: Episodes(GAME, seeded(0)), play_game, lambda n: actions(n, H, 2, 3), 16),
    "three players": (lambda: Episodes(THREE, seeded(0)), play_game, lambda n: actions(n, 2, 2, 3, 2), 15),
    "preferences": (lambda: Comparisons(PREFERENCES, seeded(0)), play_preferences, lambda n: places(n, 4, 4), 4),
    "responses": (lambda: Comparisons(TOKENS, seeded(0)), play_preferences, lambda n: places(n, 8, 8), 4),
}
SHORT, LONG = 60, 20_000


def played(name, n):
    access, player, plan, columns = RUNS[name]
    world, out = access(), np.zeros((n, columns))
    world.call(player, plan(n), out)
    return out, world.samples


def digest():
    whole = hashlib.sha256()
    for name in RUNS:
        whole.update(played(name, SHORT)[0].tobytes())
    return whole.hexdigest()


# --- compiled = interpreted

def test_compiled_and_interpreted_worlds_agree_bit_for_bit():
    environment = {k: v for k, v in os.environ.items() if not k.startswith("NUMBA_")} | {"NUMBA_DISABLE_JIT": "1"}
    done = subprocess.run([sys.executable, "-W", "error", __file__], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["interpreted", digest()]


# --- the order of draws: a slow reading of the docstrings, on the same stream, gives the same bits

def pick(p, rng):
    return int(np.searchsorted(np.cumsum(p), rng.random(), side="right"))


def pay(mean, noise, rng):
    if noise == "none":
        return mean
    return float(rng.random() < mean) if noise == "bernoulli" else mean + polar(rng)


def polar(rng):
    """Marsaglia: a uniform point of the disc, its direction and its squared radius being independent."""
    while True:
        x, y = 2 * rng.random() - 1, 2 * rng.random() - 1
        if 0 < x * x + y * y < 1:
            return x * math.sqrt(-2 * math.log(x * x + y * y) / (x * x + y * y))


def slow_markov(model, plan, rng):
    model = model if isinstance(model, TabularMDP) else to_episodic(model)
    for row in plan:
        s = pick(model.rho, rng)
        line = [s]
        for h, a in enumerate(row):
            P, r = (model.P, model.r) if isinstance(model, TabularMDP) else (model.P[h], model.r[h])
            reward = pay(r[s, a], model.noise, rng)
            s = pick(P[s, a], rng)
            line += [a, reward, s]
        yield line


def slow_stream(model, plan, rng):
    s = pick(model.rho, rng)
    for (a,) in plan:
        line = [s, a, pay(model.r[s, a], model.noise, rng)]
        s = pick(model.P[s, a], rng)
        yield [*line, s]


def slow_resets(model, plan, rng):
    for row in plan:
        s = pick(model.rho, rng)
        line = [s]
        for h, a in enumerate(row):
            for _ in range(2):
                reward, t = pay(model.r[h, s, a], model.noise, rng), pick(model.P[h, s, a], rng)
            s = t
            line += [a, reward, s]
        yield line


def slow_asks(model, plan, rng):
    P, r = (model.P[None], model.r[None]) if isinstance(model, TabularMDP) else (model.P, model.r)
    for h, s, a in plan:
        yield [h, s, a, pay(r[h, s, a], model.noise, rng), pick(P[h, s, a], rng)]


def slow_latent(model, plan, rng):
    for row in plan:
        m, s = divmod(pick((model.w[:, None] * model.nu).ravel(), rng), model.S)
        rng.random()                                  # the emission draws too, though it has one outcome
        line = [s]
        for a in row:
            reward, s = pay(model.r[m, s, a], model.noise, rng), pick(model.P[m, s, a], rng)
            rng.random()
            line += [a, reward, s]
        yield [*line, m]


def slow_rich(model, plan, rng):
    for row in plan:
        s = pick(model.rho, rng)
        line = [pick(model.q[s], rng)]
        for h, a in enumerate(row):
            reward, s = pay(model.r[h, s, a], model.noise, rng), pick(model.P[h, s, a], rng)
            line += [a, reward, pick(model.q[s], rng)]
        yield line


def slow_bandit(model, plan, rng):
    for (a,) in plan:
        x = pick(model.rho, rng) if isinstance(model, ContextualBandit) else 0
        mean = model.r[x, a] if isinstance(model, ContextualBandit) else model.mu[a]
        yield [x, a, pay(mean, model.noise, rng)]


def slow_game(model, plan, rng):
    for row in plan:
        s = pick(model.rho, rng)
        line = [s]
        for h, joint in enumerate(row):
            rewards = [pay(model.r[(i, h, s, *joint)], model.noise, rng) for i in range(model.n)]
            s = pick(model.P[(h, s, *joint)], rng)
            line += [*joint, *rewards, s]
        yield line


def slow_preferences(model, plan, rng):
    for y, z in plan:
        x = pick(model.rho, rng)
        yield [x, y, z, rng.random() < model.p[x, y, z]]


SLOW = {
    "tabular": (slow_markov, TABULAR), "wide": (slow_markov, WIDE), "episodic": (slow_markov, EPISODIC),
    "gaussian": (slow_markov, GAUSSIAN), "linear": (slow_markov, LINEAR), "mixture": (slow_markov, MIXTURE),
    "tokens": (slow_markov, TOKENS), "stream": (slow_stream, TABULAR), "reset": (slow_resets, EPISODIC),
    "generative": (slow_asks, GAUSSIAN), "generative discounted": (slow_asks, TABULAR), "latent": (slow_latent, LATENT),
    "hindsight": (slow_latent, LATENT), "rich": (slow_rich, RICH), "bandit": (slow_bandit, BANDIT),
    "linear bandit": (slow_bandit, LINBANDIT), "contextual": (slow_bandit, CONTEXTUAL), "game": (slow_game, GAME),
    "three players": (slow_game, THREE), "preferences": (slow_preferences, PREFERENCES),
    "responses": (slow_preferences, response_preferences(TOKENS)),
}


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


# --- rules

def broken(access, verb, *args, match):
    before = access.samples
    with pytest.raises(AccessDenied, match=match):
        access.call(verb, *args)
    assert access.samples == before, "what was refused is not counted"


OUTSIDE, ACTION = "step outside an episode; call start first", "the action is out of range"
STEPS = {"tabular": (markov, 0), "episodic": (markov, 0), "reset": (markov, 0), "stream": (markov, 0),
         "latent": (hidden, 0), "hindsight": (hidden, 0), "rich": (hidden, 0), "contextual": (bandits, 0),
         "game": (games, np.array([0, 0])), "three players": (games, np.array([0, 0, 0]))}


@pytest.mark.parametrize("name", STEPS)
def test_no_step_before_the_start(name):
    module, action = STEPS[name]
    broken(RUNS[name][0](), module.step, action, match=OUTSIDE)


@pytest.mark.parametrize("name", sorted(set(STEPS) - {"tabular", "stream"}))
def test_no_step_after_the_end(name):
    module, action = STEPS[name]
    access = RUNS[name][0]()
    access.call(module.start)
    for _ in range({"contextual": 1, "three players": 2}.get(name, H)):
        access.call(module.step, action)
    broken(access, module.step, action, match=OUTSIDE)
    access.call(module.start)
    access.call(module.step, action)


@pytest.mark.parametrize("bad", [-1, A, 2**40])
@pytest.mark.parametrize("name", [n for n in STEPS if n not in ("game", "three players")] + ["bandit"])
def test_actions_in_range_only(name, bad):
    access, module = RUNS[name][0](), STEPS.get(name, (bandits,))[0]
    access.call(module.start)
    broken(access, module.step, bad, match=ACTION)


@pytest.mark.parametrize("bad", [(-1, 0), (2, 0), (0, 3), (0, -1), (1, 2**40)])
def test_joint_actions_in_range_only(bad):
    access = RUNS["game"][0]()
    access.call(games.start)
    broken(access, games.step, np.array(bad), match=ACTION)


@pytest.mark.parametrize("at", [(0, 0, -1), (0, 0, A), (0, S, 0), (0, -1, 0), (H, 0, 0), (-1, 0, 0)])
def test_asks_at_places_that_exist_only(at):
    broken(RUNS["generative"][0](), markov.ask, *at, match="out of range|does not exist")


@pytest.mark.parametrize("at", [(3, 0, 0), (-1, 0, 0), (0, 4, 0), (0, 0, 4), (0, -1, 0), (0, 0, -1)])
def test_questions_about_responses_that_exist_only(at):
    broken(RUNS["preferences"][0](), preferences.ask, *at, match="a prompt or response that does not exist")


def test_a_refused_action_draws_nothing():
    spared, plain = Episodes(EPISODIC, seeded(0)), Episodes(EPISODIC, seeded(0))
    assert spared.call(markov.start) == plain.call(markov.start)
    broken(spared, markov.step, A, match=ACTION)
    assert spared.call(markov.step, 0) == plain.call(markov.step, 0)


def _against_every_rule(world, out):
    out[0], out[1] = markov.step(world, 0)                       # before the start
    out[2] = markov.start(world)
    out[3], out[4] = markov.step(world, -1)
    markov.reset(world, 99, 0)
    out[5], out[6] = markov.step(world, 1)


against_every_rule = kernel(_against_every_rule)


def test_what_is_against_the_rules_does_nothing_and_is_all_reported():
    access, plain, out = Reset(EPISODIC, seeded(0)), Reset(EPISODIC, seeded(0)), np.full(7, 9.0)
    with pytest.raises(AccessDenied, match=rf"against_every_rule must be obedient.*{OUTSIDE}, and {ACTION}, and reset"):
        access.call(against_every_rule, out)
    s = plain.call(markov.start)
    assert out.tolist() == [0.0, 0.0, s, 0.0, 0.0, *plain.call(markov.step, 1)]
    assert access.samples == plain.samples == {"episodes": 1, "steps": 1, "resets": 0}
    assert access.call(markov.step, 0) == plain.call(markov.step, 0), "the marks are gone"


def test_a_stream_starts_once():
    access = Stream(TABULAR, seeded(0))
    access.call(markov.start)
    for _ in range(3):
        access.call(markov.step, 0)
        broken(access, markov.start, match="start may be called once only on a stream")


def test_contexts_are_told_after_an_episode_only():
    access = Episodes(LATENT, seeded(0), hindsight=True)
    early = "the context is told after an episode only"
    broken(access, hidden.reveal, match=early)
    access.call(hidden.start)
    for _ in range(H):
        broken(access, hidden.reveal, match=early)
        access.call(hidden.step, 0)
    assert access.call(hidden.reveal) == access.call(hidden.reveal)
    access.call(hidden.start)
    broken(access, hidden.reveal, match=early)


# --- resets

NOT_ALLOWED = "reset to a step and state that are not allowed"


def test_resets_go_to_visited_places_only():
    access, been = Reset(EPISODIC, seeded(0)), set()

    def only_there():
        for h in range(H):
            for s in range(S):
                if (h, s) not in been:
                    broken(access, markov.reset, h, s, match=NOT_ALLOWED)

    only_there()
    for _ in range(3):
        been.add((0, access.call(markov.start)))
        for h in range(H):
            _, s = access.call(markov.step, h % A)
            if h + 1 < H:
                been.add((h + 1, s))
        only_there()
    for h, s in sorted(been):
        access.call(markov.reset, h, s)


@pytest.mark.parametrize("at", [(-1, 0), (H, 0), (0, -1), (0, S), (2**40, 0)])
def test_resets_to_places_that_do_not_exist_are_refused(at):
    broken(Reset(EPISODIC, seeded(0), to="any"), markov.reset, *at, match=NOT_ALLOWED)


def test_a_reset_puts_the_world_where_it_says():
    access = Reset(EPISODIC, seeded(0), to="any")
    for h in range(H):
        for s in range(S):
            access.call(markov.reset, h, s)
            _, t = access.call(markov.step, 1)
            assert EPISODIC.P[h, s, 1, t] > 0
    broken(access, markov.step, 0, match=OUTSIDE)
    assert access.samples == {"episodes": 0, "steps": H * S, "resets": H * S}


def test_resets_to_a_data_set_or_a_mask():
    s = np.array([[0, 1, 2], [0, 3, 2]])
    mask = np.zeros((H, S), bool)
    mask[0, 0] = mask[1, 1] = mask[1, 3] = mask[2, 2] = True
    zeros = np.zeros_like(s)
    for to in (Dataset(Steps(s, zeros, zeros.astype(float), zeros), "test"), StateOnlyDataset(s, "test"), mask):
        access = Reset(EPISODIC, seeded(0), to=to)
        access.call(markov.start)
        for h in range(H):
            for u in range(S):
                if mask[h, u]:
                    access.call(markov.reset, h, u)
                else:
                    broken(access, markov.reset, h, u, match=NOT_ALLOWED)


# --- the sampler

@pytest.mark.parametrize("n", [1, 2, 7, 8, 9, 10, 16, 17, 33, 1000])
def test_the_sampler_is_searchsorted(n):
    w = seeded(n).random(n) * (seeded(n + 1).random(n) < 0.6)
    w[seeded(n + 2).integers(n)] += 1.0
    cum = np.cumsum(TabularMDP(np.tile(w / w.sum(), (n, 1, 1)).reshape(n, 1, n), np.zeros((n, 1)), 0.0,
                               w / w.sum()).rho)
    edges = np.concatenate([cum, np.nextafter(cum, 0), np.nextafter(cum, 1), [0.0, 1 - 2.0**-53], unit(0, 200)])
    edges = edges[(edges >= 0) & (edges < 1)]
    for lo in (0, 5):                                            # a row of its own, and one in the middle of others
        row = np.concatenate([np.full(lo, 0.7), cum, [0.1, 1.0]])
        out = np.zeros(len(edges), np.int64)
        many_draws(row, lo, lo + n, edges, out)
        assert (out - lo == np.searchsorted(cum, edges, side="right")).all()


def test_cumulative_rows_end_in_one_exactly():
    for model in (TABULAR, WIDE, EPISODIC):
        rows = model.rows
        cum = cumulative(rows.ptr, rows.val)
        for k in range(len(rows.ptr) - 1):
            part = slice(rows.ptr[k], rows.ptr[k + 1])
            assert cum[part].tolist() == np.cumsum(rows.val[part]).tolist() and cum[part][-1] == 1.0


def test_cumulative_rows_survive_a_wrap_of_their_integers():
    n = 5000                                                     # 5000 rows of 2**52 units exceed 2**64
    ptr = np.arange(0, 2 * n + 1, 2)
    cum = cumulative(ptr, np.tile([0.25, 0.75], n))
    assert (cum == np.tile([0.25, 1.0], n)).all()


if __name__ == "__main__":
    print("interpreted" if play_markov is _play_markov else "compiled", digest())
