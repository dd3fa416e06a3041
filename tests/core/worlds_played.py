"""A world of every kind, players for each, and what they draw.

Run as a script, this file prints a digest of every world's draws; with NUMBA_DISABLE_JIT=1 it must print the same.
"""

from __future__ import annotations

import hashlib
import math

import numpy as np

from mdpkit.access import Comparisons, Episodes, Generative, Reset, Stream
from mdpkit.jit import kernel
from mdpkit.kernels.draw import draw
from mdpkit.models.bandits import Bandit, ContextualBandit, LinearBandit
from mdpkit.models.games import MarkovGame
from mdpkit.models.latent import LatentMDP, RichMDP
from mdpkit.models.linear import LinearMDP, LinearMixtureMDP
from mdpkit.models.preferences import PreferenceModel
from mdpkit.models.tabular import EpisodicMDP, TabularMDP
from mdpkit.models.tokens import TokenModel
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


if __name__ == "__main__":
    print("interpreted" if play_markov is _play_markov else "compiled", digest())
