"""Random policy valuation held to its claims: in rationals but where the softmax enters.

Worlds are acyclic graphs; a tree is one in which nothing is shared. Gymnasium's tables come last: cut to H steps, the
lake without slipping is such a graph in (step, cell), and the other tables violate one assumption or another.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from algorithms.planning import rover
from mdpkit import rational
from mdpkit.access import Episodes
from mdpkit.rational import exact
from mdpkit.solve.rounding import higham
from theory_checks.engine.claims import Check, Claim, Saboteur, marked
from theory_checks.engine.judges import HighProbability, Sure
from theory_checks.engine.rows import worst as worst_row
from theory_checks.engine.rows import worst_of
from theory_checks.planning import _rover_worlds as worlds

TWINS = "theory_checks.planning._rover_twins"
SWEEP = tuple(float(x) for x in np.geomspace(0.02, 5.0, 10))
I1 = {"A": 2, "H": 4, "right": (3, 8, 9, 14)}
ALL_ACTIONS = {"rho": 0.2, "n": 6000, **I1}
BROKEN: tuple[dict[str, Any], ...] = tuple({"kind": kind, "pay": 0.625} for kind in ("graded", "chance", "on the way"))
LAKES: tuple[dict[str, Any], ...] = tuple({"map_name": name, "H": H, "is_slippery": False}
                                          for name, H in (("4x4", 6), ("4x4", 9), ("8x8", 16)))
TABLES: tuple[dict[str, Any], ...] = (
    {"table": "FrozenLakeEnv", "H": 100, "loses": 0.014}, {"table": "CliffWalkingEnv", "H": 20, "loses": 7.0},
    {"table": "TaxiEnv", "H": 20, "loses": 27.5})


# ---------------------------------------------------------------------------------------- measures

def recovered(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C1: nodes at which {Q > 0} is not {Q* = R}; and what the worst greedy policy loses, at any node."""
    child, reward = world["child"], exact(worlds.rewards(world))
    Q, _ = subject(child, reward, exact(world["weights"]))
    best, worst = _dynamic(child, reward, Q)
    R, wrong = rational.rational(world["R"]), 0
    for n, row in enumerate(child):
        wrong += sum((Q[n, a] > 0) != (best[c] == R) for a, c in enumerate(row) if c >= 0)
    return worst_of((wrong, 0), *((best[n] - worst[n], 0) for n in range(len(child))))


def _dynamic(child: np.ndarray, reward: np.ndarray, Q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """V* and the value of the greedy policy of Q whose ties go wrong, at each node."""
    best, worst = reward.copy(), reward.copy()
    for n in range(len(child) - 1, -1, -1):
        a = np.flatnonzero(child[n] >= 0)
        if len(a):
            best[n] = max(best[c] for c in child[n, a])
            top = max(Q[n, b] for b in a)
            worst[n] = min(worst[child[n, b]] for b in a if Q[n, b] == top)
    return best, worst


def _valued(child: np.ndarray, reward: np.ndarray, pi: np.ndarray) -> float:
    """V^pi of node 0 in floats, by a backward sweep."""
    V = reward.copy()
    for n in range(len(child) - 1, -1, -1):
        if (child[n] >= 0).any():
            V[n] = sum(pi[n, a] * V[c] for a, c in enumerate(child[n]) if c >= 0)
    return float(V[0])


def _softly(world: dict) -> tuple[np.ndarray, np.ndarray, np.ndarray, float, float, float]:
    """child, reward, Q^u, R, rho and the rounding of a value: sums of N terms, H levels of a softmax of Q/rho.

    A probability errs by A + 8 roundings and by R/rho of its exponent, at each of at most 5 levels, both ways of
    computing a value alike; Q enters both as it is stored.
    """
    child, reward = world["child"], worlds.rewards(world)
    Q, _ = rover.values(child, reward, np.ones(child.shape))
    R, rho = world["R"], world["rho"]
    return child, reward, Q, R, rho, higham(2 * len(child) + 64 * (child.shape[1] + 8 + math.ceil(R / rho))) * 2 * R


def identity(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C2: the sum over key states against a backward sweep of pi_rho."""
    child, reward, Q, R, rho, slack = _softly(world)
    V = _valued(child, reward, rover.sampling(child, Q, rho))
    return {"measured": abs(subject(child, Q, rho, R) - V), "bound": 0.0, "slack": slack}


def softmax_value(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C2-bound: the loss R - V^{pi_rho} against what the bound allows."""
    child, reward, Q, R, rho, slack = _softly(world)
    return {"measured": R - _valued(child, reward, rover.sampling(child, Q, rho)),
            "bound": R - subject(child, Q, rho, R), "slack": slack}


def strictly(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C2-tight: bound = V^{pi_rho} where each key state that is visited has one good action, bound < V where not."""
    child, reward, Q, R, rho, slack = _softly({**world, "rho": 1.0})
    pi, there = rover.sampling(child, Q, rho), child >= 0
    V, low = _valued(child, reward, pi), subject(child, Q, rho, R)
    good = (there & (Q > 0)).sum(-1)
    key = (good > 0) & (good < there.sum(-1)) & (rover.visits(child, pi) > 0)
    if (good[key] <= 1).all():
        return {"measured": abs(V - low), "bound": 0.0, "slack": slack}
    return {"measured": low, "bound": V - slack}             # strictly, and by more than rounding


def cold(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C3: R - V of the subject's sampler against the exponential bound, at each temperature of the sweep."""
    rows = []
    for rho in SWEEP:
        child, reward, Q, R, rho, slack = _softly({**world, "rho": rho})
        loss = _valued(child, R - reward, subject(child, Q, rho))        # of terms >= 0: nothing cancels
        rows.append({"measured": loss, "bound": rover.error_bound(child, Q, rho, R), "slack": slack / R * loss})
    return worst_row(rows)


def everywhere(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C3-support: each leaf's log-probability stays within H R/rho of its own under pi_u."""
    child, _, Q, R, rho, slack = _softly(world)
    leaf = (child < 0).all(-1)
    there = 1.0 * (child >= 0)
    uniform = rover.visits(child, there / np.maximum(there.sum(-1, keepdims=True), 1.0))[leaf]
    soft = rover.visits(child, subject(child, Q, rho))[leaf]
    depth = 5
    with np.errstate(divide="ignore"):
        apart = np.abs(np.log(soft[uniform > 0]) - np.log(uniform[uniform > 0])).max()
    # a relative error of the values above, and that of two logarithms as large as depth log 3 + depth R/rho
    return {"measured": float(apart), "bound": depth * R / rho, "slack": slack / R * (8 + depth * R / rho)}


def diversity(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C3-diversity: by how much the entropy over right leaves, given success, fails to fall by 0.01 or more."""
    entropies = [entropy(world, subject, rho) for rho in world["rhos"]]
    rise = [colder - warmer for warmer, colder in itertools.pairwise(entropies)]
    return {"measured": max(rise), "bound": -0.01, "slack": higham(4096)}     # some hundred operations on numbers < 2


def entropy(world: dict, sampler: Callable, rho: float) -> float:
    """Of the right leaves of a complete tree, given that one is reached."""
    child, reward = worlds.complete(world["A"], world["H"], world["right"])
    Q, _ = rover.values(child, reward, np.ones(child.shape))
    p = rover.visits(child, sampler(child, Q, rho))[reward > 0]
    p = p[p > 0] / p.sum()
    return float(-(p * np.log(p)).sum())


def separated(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C4: greedy on the subject's Q is worth 5/8, the optimum 1, exactly."""
    m = worlds.broken(world["kind"], world["pay"])
    P, r = exact(m.P), exact(m.r)
    greedy = subject(P, r, np.ones(m.r.shape[1:], np.bool_))[0].argmax(-1)
    value, best = (_horizon(P, r, pi)[0] for pi in (greedy, None))
    return worst_of((abs(value - rational.rational(0.625)), 0), (abs(best - 1), 0))


def _horizon(P: np.ndarray, r: np.ndarray, policy: np.ndarray | None) -> np.ndarray:
    """V_0 (S,) of actions (H, S), or V*_0."""
    V = 0 * r[0, :, 0]
    for h in range(len(r) - 1, -1, -1):
        Q = r[h] + P[h] @ V
        V = Q.max(-1) if policy is None else Q[np.arange(len(V)), policy[h]]
    return V


def looping(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C4-cycle: Q^u of two states, each with "to the other" and "win": 1 for all, while always moving wins nothing.

    The mean operator's fixed point by two linear equations; ``subject`` is asked for H steps of it, which err by 2^-H.
    """
    H = world["H"]
    P, r = np.zeros((H, 3, 2, 3)), np.zeros((H, 3, 2))
    P[:, [0, 1], 0, [1, 0]] = P[:, [0, 1], 1, 2] = P[:, 2, :, 2] = 1.0
    r[:, :2, 1] = 1.0
    P, r = exact(P), exact(r)
    Q = subject(P, r, np.ones((3, 2), np.bool_))[0][0, :2]
    moves = _horizon(P, r, np.zeros((H, 3), np.int64))[0]
    return worst_of((abs(1 - Q).max() * 2 ** (H - 1), 1), (moves, 0), (1 - _horizon(P, r, None)[0], 0))


def learned(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C5: whether Q is not Q^u to the bit, or some pair was never visited."""
    model = worlds.tokens(world["A"], world["H"], world["right"])
    first, second = (np.random.default_rng(int(s)) for s in rng.integers(0, 2**62, 2))
    params = replace(rover.theory(world["rho"]), n=world["n"])
    out = subject(Episodes(model, first), params, second)
    child, reward = worlds.complete(world["A"], world["H"], world["right"])
    Q, _ = rover.values(child, reward, np.ones(child.shape))
    level = np.floor(np.log2(np.arange(len(out.output[0]) - 1) + 1)).astype(int)     # A = 2
    found = out.output[level, np.arange(len(level))]
    paths = out.trace.policies                                 # the distinct sequences of actions
    error = float(np.abs(found - Q[: len(level)]).max())
    return {"failed": error > 0 or len(paths) < world["A"] ** world["H"], "off": error}


def lake(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C6: pairs (step, cell) at which {Q > 0} is not {Q* = 1}, and what the worst greedy policy loses from anywhere."""
    settings = {k: world[k] for k in ("map_name", "is_slippery")}
    P, r, _, allowed = worlds.table("FrozenLakeEnv", world["H"], rationals=True, **settings)
    Q, best, worst, wrong = subject(P, r, allowed)[0], 0 * r[0, :, 0], 0 * r[0, :, 0], 0
    for h in range(world["H"] - 1, -1, -1):
        optimal = r[h] + P[h] @ best
        greedy = r[h] + P[h] @ worst
        wrong += int(((Q[h] > 0) != (optimal == 1)).sum())
        top = Q[h] == Q[h].max(-1)[:, None]
        best, worst = optimal.max(-1), np.array([row[keep].min() for row, keep in zip(greedy, top)])
    return worst_of((wrong, 0), ((best - worst).max(), 0))


@marked
def uncovered(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C6-tables: what greedy on Q^u must lose on a table that the theorem does not cover, against what it does."""
    P, r, rho, allowed = worlds.table(world["table"], world["H"])
    greedy = subject(P, r, allowed)[0].argmax(-1)
    loss = float((rho * (_horizon(P, r, None) - _horizon(P, r, greedy))).sum())
    # H backups of sums of S terms of size at most 100 H, twice
    return {"measured": world["loses"], "bound": loss, "slack": higham(4 * len(r) * (len(rho) + 8)) * 100 * len(r)}


# -------------------------------------------------------------------------------------------- checks

def _check(name: str, kind: str, statement: str, source: str, status: str, entry: str, where: Any, measure: Callable,
           judge: Any, finding: str = "", more: tuple[Saboteur, ...] = (), **twins: str) -> Check:
    return Check(Claim("rover", name, kind, statement, source, status, finding), entry, where, measure, judge, (
        *(Saboteur(twin.replace("_", " "), why, subject=f"{TWINS}:{twin}") for twin, why in twins.items()), *more))


GRADED = Saboteur("graded rewards", "an assumption broken: leaves pay anything in [0, R]", world={"graded": True})
SLIPS = Saboteur("slippery", "an assumption broken: chance", world={"is_slippery": True})
NAUGHT, ALL = (Saboteur(f"worth {pay:g}", "greedy is optimal again", world={"pay": pay}) for pay in (0.0, 1.0))

CHECKS = (
    _check("C1", "identity", "On every tree with rewards in {0, R}, also ragged, for every policy of full support, at "
           "every state: {a : Q > 0} = {a : Q* = R}, and greedy on Q has value V*, however ties are broken.",
           "Theorem 3.1", "checked", "values", worlds.trees, recovered, Sure("EXACT", 100), more=(GRADED,),
           one_sided="a policy without full support", pessimist="the minimum in place of the mean",
           short_sighted="grandchildren are not looked at"),
    _check("C2", "identity", "If V*(root) = R: V^{pi_rho} = R (1 - sum over key states of Pr(s) N(s)/(N(s) + sum over "
           "good actions of exp(Q^u/rho))).", "the second theorem, its exact form", "derived", "identity",
           worlds.winnable, identity, Sure("SEARCHED", 100), all_alike="Pr(s) = 1",
           best_alone="the bound taken for the identity", all_actions="A(s) in place of N(s)"),
    _check("C2-bound", "bound", "If V*(root) = R: V^{pi_rho} >= R (1 - sum over key states of Pr(s) N(s)/(N(s) + "
           "exp(max_a Q^u(s, a)/rho))).", "the second theorem", "recalled", "bound", worlds.winnable, softmax_value,
           Sure("SEARCHED", 100), as_if_all_were_best="A(s) times the best action", first_key="the root alone"),
    _check("C2-tight", "identity", "The bound of C2 is V^{pi_rho} if each key state has one good action, and else "
           "smaller (here at rho = 1).", "C2", "derived", "bound", worlds.winnable, strictly, Sure("SEARCHED", 100),
           all_good="the identity: not smaller", all_alike_best="Pr(s) = 1"),
    _check("C3", "bound", "R - V^{pi_rho} <= R sum over key states of Pr(s) N(s) exp(-max_a Q^u(s, a)/rho), which "
           "tends to 0 with rho; at ten temperatures in [0.02, 5].", "C2", "derived", "sampling", worlds.winnable, cold,
           Sure("SEARCHED", 50),
           negated="softmax(-Q/rho): its limit is 0", lukewarm="never colder than 1", uniform="rho = infinity"),
    _check("C3-support", "bound", "Every leaf: |log Pr_rho - log Pr_u| <= H R/rho. So all right leaves keep a chance, "
           "and V^{pi_rho} -> V^u as rho -> infinity.", "definition of the softmax", "derived", "sampling",
           worlds.winnable, everywhere, Sure("SEARCHED", 100), greedy="one leaf only", frozen="eight times colder"),
    _check("C3-diversity", "monotone", "On the binary tree of depth 4 with right leaves 3, 8, 9, 14 the entropy over "
           "right leaves given success falls, by more than 0.01 each time, from rho = 1 to 0.2 to 0.05.",
           "section 5 (diversity), this instance", "checked", "sampling", ({**I1, "rhos": (1.0, 0.2, 0.05)},),
           diversity, Sure("SEARCHED"), uniform="rho = infinity", inverted="1/rho in place of rho"),
    _check("C4", "separation", "One assumption broken: root with L -> leaves (1, 0) and R worth 5/8 by a graded leaf, "
           "by chance, or on the way: greedy on Q^u has 5/8, the optimum is 1.", "derived by hand, these instances",
           "derived", "valuation", BROKEN, separated, Sure("EXACT"), more=(NAUGHT, ALL),
           maximum="Q* in place of Q^u"),
    _check("C4-graph", "identity", "C1 on acyclic graphs with shared children: the tree can be weakened to this.",
           "the proof of Theorem 3.1", "derived", "values", worlds.dags, recovered, Sure("EXACT", 100), more=(GRADED,),
           one_sided="a policy without full support", pessimist="the minimum in place of the mean"),
    _check("C4-cycle", "separation", "Two states, each with \"to the other\" and \"win\": after H steps 1 - Q^u <= "
           "2^{1-H}, so that all of Q^u is 1 in the limit, and the greedy policy that always moves wins nothing.",
           "derived by hand, this instance", "derived", "valuation", ({"H": 12}, {"H": 40}), looping, Sure("EXACT"),
           discounted="gamma = 1/2, which breaks the tie"),
    _check("C5", "high-probability", "The learner with eta = 1 on that binary tree, rho = 0.2: after 6000 episodes all "
           "pairs were visited and Q = Q^u to the bit, with probability 0.95.", "deterministic transitions", "checked",
           "run_episodes", (ALL_ACTIONS,), learned, HighProbability(0.05),
           "After 3000 episodes 16 of 600 runs had not seen all pairs as often as it takes; five seeds do not show it.",
           maximising="max in place of the mean: Q*", on_policy="the mean under pi_rho"),
    _check("C6", "identity", "FrozenLake without slipping, cut to H steps (4x4: 6 and 9, 8x8: 16), is an acyclic graph "
           "and pays once: C1 at every (step, cell).", "Theorem 3.1 by C4-graph, on gymnasium's table", "derived",
           "valuation", LAKES, lake, Sure("EXACT"), more=(SLIPS,), never_down="a policy without full support"),
    _check("C6-tables", "separation", "Tables that the theorem does not cover: greedy on Q^u loses 0.014 of 0.744 on "
           "slippery FrozenLake (H = 100, chance), 7 on CliffWalking (H = 20, rewards on the way: it stays at -20), "
           "27.5 on Taxi (H = 20, rewards on the way).", "gymnasium's tables", "checked", "valuation", TABLES,
           uncovered, Sure("SEARCHED"), maximum="Q* in place of Q^u"),
)
