"""Slow readings of the worlds' docstrings: on the same stream they give the same bits."""

from __future__ import annotations

import math

import numpy as np
from core.worlds_played import (
    BANDIT,
    CONTEXTUAL,
    EPISODIC,
    GAME,
    GAUSSIAN,
    LATENT,
    LINBANDIT,
    LINEAR,
    MIXTURE,
    PREFERENCES,
    RICH,
    TABULAR,
    THREE,
    TOKENS,
    WIDE,
)

from mdpkit.models.bandits import ContextualBandit
from mdpkit.models.convert import response_preferences, to_episodic
from mdpkit.models.tabular import TabularMDP

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
