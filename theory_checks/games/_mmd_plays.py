"""Sequential games as lists of plays: Kuhn poker and signalling games, and the measures of the claims about them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from hypothesis import strategies as st

from algorithms.games import mmd
from algorithms.games.mmd import Params, Plays
from mdpkit.access import Exact
from mdpkit.octets import law, octets
from theory_checks.engine.rows import worst
from theory_checks.games.nash_md import rounding

WEIGHTS = (1, 1, 2, 8, 64)              # of policies, before they are normalised
KUHN = ({"alpha": 0.1, "eta": 0.05, "T": 5000, "gap": 0.037790045953},
        {"alpha": 0.5, "eta": 0.1, "T": 1000, "gap": 0.224819753056})
ANNEALED = ((10, 0.328306), (100, 0.096026), (1000, 0.030553), (5000, 0.008832))


@cache
def kuhn() -> Plays:
    """Kuhn poker with three cards, ante 1, bet 1: pass 0 and bet 1 at each of 6 infostates a player."""
    rows = []
    for i, j in itertools.permutations(range(3), 2):
        won, one, two = (1 if i > j else -1), 4 * i, 12 + 4 * j
        rows += [(won, one, two, -1), (-1, one, two + 1, one + 2), (2 * won, one, two + 1, one + 3),
                 (1, one + 1, two + 2, -1), (2 * won, one + 1, two + 3, -1)]
    table = np.array(rows)
    return Plays(np.full(30, 1 / 6), table[:, 0] * 1.0, np.ascontiguousarray(table[:, 1:]), np.arange(0, 25, 2),
                 np.repeat([1.0, -1.0], 6))


def signals(u: np.ndarray) -> Plays:
    """u (2, 2, n, n): private cards c1, c2, then a public a1 and an answer a2; both players gain u[c1, c2, a1, a2]."""
    n = u.shape[-1]
    cards = list(np.ndindex(u.shape))
    moves = np.array([(c * n + a, 2 * n + (d * n + a) * n + b) for c, d, a, b in cards])
    return Plays(np.full(len(cards), 0.25), np.array([u[i] for i in cards]), moves,
                 np.arange(0, 2 * n * (n + 1) + 1, n), np.ones(2 + 2 * n))


def value(plays: Plays, pi: np.ndarray) -> float:
    """The expected payoff of a table of policies (E,)."""
    return float((plays.chance * plays.payoff * np.where(plays.moves >= 0, pi[plays.moves], 1.0).prod(1)).sum())


def action_values(plays: Plays, pi: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """q (E,), to whoever moves, and the probability (E,) that the infostate of each entry is reached."""
    total, reach = np.zeros(len(pi)), np.zeros(len(pi))
    p = np.where(plays.moves >= 0, pi[plays.moves], 1.0)
    for j in range(plays.moves.shape[1]):
        weight, seen = plays.chance * np.delete(p, j, 1).prod(1), plays.moves[:, j] >= 0
        np.add.at(total, plays.moves[seen, j], (weight * plays.payoff)[seen])
        np.add.at(reach, plays.moves[seen, j], weight[seen])
    return np.repeat(plays.side, np.diff(plays.first)) * total / reach, reach


def exploitability(plays: Plays, pi: np.ndarray) -> float:
    """What both players together gain by best responses, over all their deterministic policies."""
    best = []
    for side in (1.0, -1.0):
        own = [range(a, b) for a, b, s in zip(plays.first[:-1], plays.first[1:], plays.side) if s == side]
        top = -np.inf
        for choice in itertools.product(*own):
            other = pi.copy()
            for r, k in zip(own, choice):
                other[list(r)] = 0.0
                other[k] = 1.0
            top = max(top, side * value(plays, other))
        best.append(top)
    return float(sum(best))


@st.composite
def signalling_games(draw: st.DrawFn) -> dict[str, Any]:
    """Payoffs in [0, 1], n = 2 or 3, a table of policies, and a step of at most 2."""
    n = draw(st.integers(2, 3))
    u = octets(draw, 2, 2, n, n) % 17 / 16
    table = law(draw, 2 + 2 * n, n, weights=WEIGHTS).ravel()
    return {"u": u, "start": table, "eta": draw(st.sampled_from([0.01, 0.1, 0.5, 1.0, 2.0]))}


@st.composite
def equivalences(draw: st.DrawFn) -> dict[str, Any]:
    """The same with a temperature."""
    return {**draw(signalling_games()), "alpha": draw(st.sampled_from([0.0, 0.1, 1.0]))}


def together(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C5: the share of the first-order gain that is sure, against the gain of a step at all infostates at once."""
    plays, pi, eta = signals(world["u"]), world["start"], world["eta"]
    new = subject(Exact(plays), Params(eta, 0.0, 1, start=pi), rng).output
    q, reach = action_values(plays, pi)
    claimed = mmd.run_tree(Exact(plays), Params(eta, 0.0, 1, start=pi), rng).output      # its first-order gain
    first = float((reach * q * (claimed - pi)).sum())
    one = rounding(len(plays.chance), np.log(pi), eta)
    return {"measured": mmd.signalling(1.0, eta) * first, "bound": value(plays, new) - value(plays, pi),
            "slack": 8 * one}


def equivalent(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C6: payoff of agents that search wherever they get to against that of the updated table, and their laws."""
    plays, params = signals(world["u"]), Params(world["eta"], world["alpha"], 1)
    log_pi = np.log(world["start"])
    searched = np.exp(np.concatenate([subject(plays, log_pi, h, params, rng) for h in range(len(plays.side))]))
    whole = mmd.run_tree(Exact(plays), Params(world["eta"], world["alpha"], 1, start=world["start"]), rng).output
    slack = 8 * rounding(len(plays.chance), log_pi, world["eta"])
    return worst([{"measured": abs(value(plays, searched) - value(plays, whole)), "bound": 0.0, "slack": slack},
                  {"measured": float(np.abs(searched - whole).max()), "bound": 0.0, "slack": slack}])


def sampled(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C6-rollouts: the largest error of q over all infostates and actions against Hoeffding's width."""
    plays, n = signals(rng.random((2, 2, 3, 3))), world["n"]
    pi = rng.dirichlet(np.ones(3), 8).ravel()
    q = np.concatenate([subject(plays, np.log(pi), h, n, rng) for h in range(8)])
    return {"measured": float(np.abs(q - action_values(plays, pi)[0]).max()),
            "bound": math.sqrt(math.log(2 * 24 / world["delta"]) / (2 * n))}


def settled(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C7: how far alpha log pi - q is from constant at the infostates of Kuhn poker, and exploitability."""
    T = world["T"]
    pi = subject(Exact(kuhn()), Params(world["eta"], world["alpha"], T, every=T), rng).output
    left = (world["alpha"] * np.log(np.maximum(pi, 1e-300)) - action_values(kuhn(), pi)[0]).reshape(-1, 2)
    return worst([{"measured": float(np.abs(np.diff(left)).max()), "bound": 1e-9},
                  {"measured": abs(exploitability(kuhn(), pi) - world["gap"]), "bound": 1e-9}])


def annealed(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C7-annealed: exploitability at the listed t against its values, alpha_t = 1/sqrt t and eta_t = .5/sqrt t."""
    t = np.arange(1.0, 5001)
    result = subject(Exact(kuhn()), Params(0.5 / np.sqrt(t), 1 / np.sqrt(t), 5000), rng)
    pi = np.concatenate([result.trace.policies, result.output[None]])
    return worst({"measured": abs(exploitability(kuhn(), pi[k]) - known), "bound": 1e-6} for k, known in ANNEALED)
