"""Latent MDPs held to their claims: variances of alpha vectors, what memory and the context are worth, and the learner.

Variances and values are compared in rationals; regret is that of the policies of the log, each evaluated exactly over
the tree of histories. The learner's claims are about L(2, 2, 2, 3), the formula-defined instance with two contexts,
two states, two actions and three steps.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import strategies as st

from algorithms.exploration import lmdp
from algorithms.exploration.lmdp import Log, Params
from mdpkit.access import Episodes
from mdpkit.instances.formula import latent
from mdpkit.models.latent import LatentMDP
from mdpkit.octets import law, octets
from mdpkit.rational import exact, zeros
from mdpkit.solve.rounding import higham
from theory_checks.engine.claims import Check, Claim, Saboteur
from theory_checks.engine.judges import HighProbability, Rate, Sure
from theory_checks.engine.rows import exact_row, worst_of

TWINS = "theory_checks.exploration._lmdp_twins"
DELTA = 0.1
HORIZONS = (250, 500, 1000, 2000)
REWARDS = (0.0, 0.25, 0.0, 0.25, 0.0625, 0.1875)
SMALL: dict[str, Any] = {"sizes": [2, 2, 2, 3]}


@st.composite
def worlds(draw: st.DrawFn) -> dict[str, Any]:
    """A latent MDP whose returns lie in [0, 1], a policy of the history, some episodes, a scale of the bonus."""
    M, S, A = (draw(st.sampled_from([2, 1, 2])) for _ in range(3))
    H = draw(st.integers(1, 3))
    r = np.array(REWARDS)[octets(draw, M, S, A) % len(REWARDS)]
    model = LatentMDP(law(draw, M), law(draw, M, S), law(draw, M, S, A, S), r, H)
    return {"model": model, "policy": octets(draw, int(lmdp.layout(S, A, H)[-1])) % A,
            "K": draw(st.sampled_from([300, 1, 17])), "c": draw(st.sampled_from([0.05, 0.0, 1.0]))}


def total_variance(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C1 in rationals, against the variance of the return summed over all paths."""
    parts = _rationals(world)
    inner, initial = subject(*parts)
    return exact_row(abs(inner + initial - _variance_of_return(*parts)), 0)


def quarter(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C1-quarter in rationals: the sum over the steps alone against 1/4, rewards scaled to a largest return of 1."""
    w, nu, P, r, policy, H = _rationals(world)
    most = r[..., 0] * 0
    for _ in range(H):                              # what could still be earned, whatever the law of the successors
        most = (r + np.where(P > 0, most[:, None, None], 0 * P).max(-1)).max(-1)
    if most.max() == 0:
        return exact_row(0, 1)
    scale = 4 if world.get("tall") else 1
    return exact_row(4 * subject(w, nu, P, scale * r / most.max(), policy, H)[0], 1)


def ordered(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C2 in rationals: V_memoryless <= V* <= V_context_known."""
    w, nu, P, r, _, H = _rationals(world)
    V, _ = subject(w, nu, P, r, H)
    return worst_of((memoryless(w, nu, P, r, H), V), (V, context_known(w, nu, P, r, H)))


def apart(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C2-strict in rationals: both differences are 1/20 at least."""
    model = latent(*world["sizes"])
    w, nu, P, r = (exact(x) for x in (model.w, model.nu, model.P, model.r))
    if world.get("same"):
        nu, P, r = (np.stack([x[0]] * len(w)) for x in (nu, P, r))
    V, _ = subject(w, nu, P, r, model.H)
    return worst_of((1, 20 * (V - memoryless(w, nu, P, r, model.H))),
                    (1, 20 * (context_known(w, nu, P, r, model.H) - V)))


def optimism(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C3: how far V* exceeds V~ at worst, over all plans of a run."""
    model, log, _ = played(world, subject, rng)
    best = _best(model)[0]
    # values of at most 1: H steps of M S products each, on either side
    slack = 2 * model.H * higham(4 * model.M * model.S + 16)
    return {"measured": float(best - log.value.min()), "bound": 0.0, "slack": slack,
            "plans below the clip": int((log.value[log.planned == 1] < 1).sum())}


def boxed(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C3-box: the worst of |P - Phat| over the half-width, at the plans of a run."""
    model, log, params = played(world, lmdp.run, rng)
    n, moves = _counts(model, log)
    worst = 0.0
    for k in np.flatnonzero(log.planned[:-1])[1:]:
        P_hat = lmdp.estimate(n[k], moves[k])
        width = subject(P_hat, n[k], model.H, params.K, params.delta)
        worst = max(worst, float((np.abs(model.P - P_hat) / width).max()))
    return {"measured": worst, "bound": 1.0}


def growth(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C4: regret at the horizons."""
    model, log, _ = played(world, subject, rng)
    return {"measured": np.cumsum(gaps(model, log))[np.array(HORIZONS) - 1]}


def plans(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C5: the number of plans."""
    model, log, params = played(world, subject, rng)
    bound = 1 + model.M * model.S * model.A * (1 + math.log2(model.H * params.K))
    return {"measured": float(log.planned.sum()), "bound": bound, "slack": higham(8) * bound}


def memoryless(w: np.ndarray, nu: np.ndarray, P: np.ndarray, r: np.ndarray, H: int) -> Any:
    """The best value of a deterministic policy of step and state, by trying all; randomising does not help."""
    M, S, A = r.shape
    pi = np.array(np.unravel_index(np.arange(A ** (S * H)), (A,) * (S * H))).T.reshape(-1, H, S)
    alpha, s = zeros((len(pi), S, M), P), np.arange(S)
    for h in range(H - 1, -1, -1):
        act = pi[:, h]
        p = np.moveaxis(P, 0, -1)[s, act]                                       # (n, S, S, M)
        alpha = np.moveaxis(r, 0, -1)[s, act] + (p * alpha[:, None]).sum(2)
    return (alpha * (w[:, None] * nu).T).sum((1, 2)).max()


def context_known(w: np.ndarray, nu: np.ndarray, P: np.ndarray, r: np.ndarray, H: int) -> Any:
    """What the best policy of each context earns."""
    V = zeros(nu.shape, P)
    for _ in range(H):
        V = (r + (P * V[:, None, None]).sum(-1)).max(-1)
    return (w[:, None] * nu * V).sum()


def played(world: dict, run: Callable, rng: np.random.Generator) -> tuple[LatentMDP, Log, Params]:
    """One run in a world."""
    model = world["model"] if "model" in world else latent(*world["sizes"])
    params = Params(world["K"], DELTA, world.get("c", 1.0))
    chunks: list[Log] = []
    keep = lambda first, log: chunks.append(Log(*(f.copy() for f in log)))
    access = Episodes(model, rng, grant=("w", "nu", "r"), hindsight=True, watch=keep)
    run(access, params, np.random.default_rng(int(rng.integers(2**62))))
    return model, Log(*(np.concatenate(fields) for fields in zip(*chunks))), params


def gaps(model: LatentMDP, log: Log) -> np.ndarray:
    """V* - V^{pi_k} of each episode, each run of equal policies evaluated once, all of them together."""
    new = np.append(True, (log.policy[1:] != log.policy[:-1]).any(1))
    pi, (M, S, A), level = log.policy[new], model.r.shape, lmdp.layout(model.S, model.A, model.H)
    P, r = np.moveaxis(model.P, 0, -1), np.moveaxis(model.r, 0, -1)
    i, alpha = np.arange(len(pi))[:, None], np.zeros((len(pi), S * (A * S) ** model.H, M))
    for h in range(model.H - 1, -1, -1):
        act = pi[:, level[h]: level[h + 1]]
        j = np.arange(act.shape[1])
        alpha = r[j % S, act] + (P[j % S, act] * alpha.reshape(len(pi), len(j), A, S, M)[i, j, act]).sum(2)
    found = _best(model)[0] - (alpha * (model.w[:, None] * model.nu).T).sum((1, 2))
    return np.maximum(found, 0.0)[np.cumsum(new) - 1]


def _best(model: LatentMDP) -> tuple[Any, np.ndarray]:
    return lmdp.plan(model.w, model.nu, model.P, model.r, model.H)


def _counts(model: LatentMDP, log: Log) -> tuple[np.ndarray, np.ndarray]:
    """n (K, M, S, A) and the moves (K, M, S, A, S) before each episode."""
    moves = np.zeros((len(log.context) + 1, model.M, model.S, model.A, model.S))
    for h in range(model.H):
        np.add.at(moves, (np.arange(1, len(moves)), log.context, *log.path[:, h].T), 1.0)
    moves = np.cumsum(moves, 0)[:-1]
    return moves.sum(-1), moves


def _rationals(world: dict) -> tuple:
    model = world["model"]
    return exact(model.w), exact(model.nu), exact(model.P), exact(model.r), world["policy"], model.H


def _variance_of_return(w: np.ndarray, nu: np.ndarray, P: np.ndarray, r: np.ndarray, policy: np.ndarray, H: int) -> Any:
    """Of all paths (m, s_1, .., s_{H+1}) that the policy can take."""
    M, S, A = r.shape
    first, mean = lmdp.layout(S, A, H), w[0] * 0
    square = w[0] * 0
    for m in range(M):
        paths = [(w[m] * nu[m, s], s, s, w[0] * 0) for s in range(S)]           # probability, node, state, return
        for h in range(H):
            onward = []
            for p, j, s, total in paths:
                a = int(policy[first[h] + j])
                onward += [(p * P[m, s, a, t], (j * A + a) * S + t, t, total + r[m, s, a]) for t in range(S)]
            paths = onward
        mean = mean + sum(p * total for p, _, _, total in paths)
        square = square + sum(p * total * total for p, _, _, total in paths)
    return square - mean * mean


def _check(name: str, kind: str, statement: str, source: str, status: str, entry: str, worlds: Any, measure: Callable,
           judge: Any, finding: str = "", more: tuple = (), **twins: str) -> Check:
    """A check whose saboteurs are twins by name, each with what is wrong with it."""
    claim = Claim("lmdp", name, kind, statement, source, status, finding)
    return Check(claim, entry, worlds, measure, judge, tuple(
        Saboteur(twin.replace("_", " "), why, subject=f"{TWINS}:{twin}") for twin, why in twins.items()) + more)


TALL = Saboteur("tall", "returns up to 4", world={"tall": True})
SAME = Saboteur("same", "contexts that are all the same", world={"same": True})
CHECKS = (
    _check("C1", "identity", "For every deterministic policy of the history: E sum_h Var_{P_m}(alpha_m(tau_{h+1})) + "
           "Var(alpha_m(s_1)) = Var(return).", "total variance of alpha vectors", "derived", "variances", worlds,
           total_variance, Sure("EXACT", 60), averaged="the belief's mean of alpha at the next history",
           no_initial="without Var(alpha_m(s_1))"),
    _check("C1-quarter", "bound", "Hence E sum_h Var_{P_m}(alpha_m(tau_{h+1})) <= 1/4 for every H, if returns lie in "
           "[0, 1].", "total variance of alpha vectors", "derived", "variances", worlds, quarter, Sure("EXACT", 100),
           more=(TALL,)),
    _check("C2", "bound", "V_memoryless <= V* <= V_context_known.", "definition", "derived", "plan", worlds, ordered,
           Sure("EXACT", 60), myopic="the action that pays most at once", prior_belief="weights w at every history"),
    _check("C2-strict", "separation", "Both differences are 1/20 at least on L(2, 2, 2, 4) and L(2, 3, 2, 3).",
           "these instances", "checked", "plan", ({"sizes": [2, 2, 2, 4]}, {"sizes": [2, 3, 2, 3]}), apart,
           Sure("EXACT"), "0.7267 between 0.5964 and 0.8482; 0.7097 between 0.6560 and 0.7884.", more=(SAME,)),
    _check("C3", "high-probability", "With probability 1 - delta, V~ >= V* at all plans; here delta = 0.1, L(2, 2, 2, "
           "3): c = 1 and K = 12000, and also c = 0.05 and K = 2000.", "lemma on optimism", "recalled", "run",
           (SMALL | {"K": 12_000}, SMALL | {"K": 2000, "c": 0.05}), optimism, HighProbability(DELTA),
           "At c = 1 the claim is empty up to K = 6000: V~ = 1, where the clip binds.", no_bonus="c = 0"),
    _check("C3-box", "high-probability", "With probability 1 - delta, at all plans, for all (m, s, a, t): |P - Phat| "
           "<= 2 sqrt(Phat iota/n) + 5 iota/n; same instance, K = 3000.", "confidence set of the model-optimistic "
           "learner", "recalled", "box", (SMALL | {"K": 3000},), boxed, HighProbability(DELTA),
           "Loose: over 200 runs the 0.9-quantile of the largest ratio is 0.10, a box ten times smaller would do.",
           thin_box="0.03 of it", no_floor="without 5 iota/n"),
    _check("C4", "rate", "Regret(K) = O(sqrt K) on L(2, 2, 2, 3) between K = 250 and 2000, with 0.05 of the bonus.",
           "Theorem 1, which is about c = 1; this instance", "checked", "run",
           (SMALL | {"K": HORIZONS[-1], "c": 0.05},), growth, Rate(HORIZONS, np.sqrt, lambda T: T ** (2 / 3), n=100),
           "At c = 1 the clip binds everywhere, V~ = 1, and regret is 0.107 K, up to K = 3000 and more.",
           mislabelled="counts booked on a random context"),
    _check("C5", "bound", "At most 1 + M S A (1 + log2(H K)) plans.", "doubling of counts", "derived", "run", worlds,
           plans, Sure("SEARCHED", 60), always="a plan in each episode"),
)
