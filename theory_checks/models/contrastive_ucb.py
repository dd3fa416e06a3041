"""Contrastive UCB held to its claims: the contrastive risk, the ratio's rank, the game's bounds, and runs.

The chain of six: a = 0 goes left with 0.9, right with 0.1, a = 1 left with 0.2, right with 0.8, staying at the ends;
0.05 for a = 0 in state 0, 1 for a = 1 in the last; six steps from state 0. Runs plan anew when data have doubled.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import flint
import numpy as np
from hypothesis import strategies as st

from algorithms.models import contrastive_ucb
from algorithms.models.contrastive_ucb import Params
from mdpkit.access import Episodes
from mdpkit.instances import formula
from mdpkit.kernels.backup import returns_of_laws
from mdpkit.measure.values import optimal_start_value
from mdpkit.models.games import MarkovGame
from mdpkit.models.tabular import EpisodicMDP
from mdpkit.octets import law, normalised, octets
from mdpkit.rational import exact, fraction
from mdpkit.solve.rounding import higham
from theory_checks.engine.claims import Check, Claim, Saboteur, marked
from theory_checks.engine.judges import HighProbability, Rate, Separation, Sure

TWINS = "theory_checks.models._contrastive_ucb_twins"
HORIZONS = (500, 2000, 8000, 32000)
DRAWN = np.unique(np.geomspace(5, 1500, 40).astype(np.int64))      # iterations that the figure draws


@cache
def chain() -> EpisodicMDP:
    """The chain of the module's docstring."""
    P, s, r = np.zeros((6, 2, 6)), np.arange(6), np.zeros((6, 2))
    for a, left in enumerate((0.9, 0.2)):
        P[s, a, np.maximum(s - 1, 0)] += left
        P[s, a, np.minimum(s + 1, 5)] += 1 - left
    r[0, 0], r[-1, 1] = 0.05, 1.0
    return EpisodicMDP.stationary(P, r, np.eye(6)[0], 6)


def on_first(S: int, n: int) -> np.ndarray:
    """The law (S,) uniform on the first n states."""
    return (np.arange(S) < n) / n


def two_factors() -> tuple[np.ndarray, np.ndarray]:
    """phi (12, 2) and W (2, 6): rank two, phi[i] prop. to (1 + 5i mod 7, 1 + 3i mod 5), W[0, z] prop. to
    1 + 4z mod 7, W[1, z] prop. to 1 + (2z+1) mod 5."""
    i, z = np.arange(12), np.arange(6)
    phi = np.stack([1 + 5 * i % 7, 1 + 3 * i % 5], axis=1).astype(float)
    W = np.stack([1 + 4 * z % 7, 1 + (2 * z + 1) % 5]).astype(float)
    return phi / phi.sum(1, keepdims=True), W / W.sum(1, keepdims=True)


@cache
def guarded(game: bool, H: int = 3) -> tuple[EpisodicMDP | MarkovGame, tuple[np.ndarray, np.ndarray]]:
    """A world of two states, and a class phi (4, H, 2, J, 2) and psi for P- = 1/2, the truth first.

    The first player keeps state 0 with 0.9 by action 1 and with 0.1 by 0, which tempts; from state 1 it comes back with
    0.1. State 0 pays 1 for action 1 in the last step; in the game that is matching pennies."""
    j = np.arange(4)
    keeps = np.array([j // 2 == 1, j // 2 == 0, j % 2 == 1, j % 2 == 0] if game else [[0, 1], [1, 0], [1, 1], [0, 0]])
    stays = np.stack([np.where(keeps, 0.9, 0.1), np.full(keeps.shape, 0.1)], axis=1)
    phi = np.repeat(np.stack([stays, 1 - stays], axis=-1)[:, None], H, axis=1)
    r = np.zeros((H, 2, keeps.shape[1]))
    r[:-1, 0] = 0.1 * (j // 2 == 0) if game else [0.1, 0.0]
    r[-1, 0] = j // 2 == j % 2 if game else [0.0, 1.0]
    models = phi, np.broadcast_to(2 * np.eye(2), (4, H, 2, 2))
    if not game:
        return EpisodicMDP(phi[0], r, [1.0, 0.0]), models
    pay = r.reshape(H, 2, 2, 2)
    return MarkovGame(phi[0].reshape(H, 2, 2, 2, 2), np.stack([pay, -pay]), [1.0, 0.0]), models


@st.composite
def labelled(draw: st.DrawFn) -> dict[str, Any]:
    """A law P, a negative law, and f > 0, not normalised; labels are 1 with probability 1/2."""
    S = draw(st.integers(1, 5))
    x = octets(draw, 3, S)
    return {"P": normalised(x[0] % 9), "law": normalised(1 + x[1] % 9), "f": (1 + x[2] % 64) / 16, "positive": 0.5}


@st.composite
def low_ranks(draw: st.DrawFn) -> dict[str, Any]:
    """Weights of P (S, A, S) = phi W of rank at most d, and of a negative law."""
    S, A, d = (draw(st.integers(*ends)) for ends in ((3, 5), (1, 3), (1, 3)))
    W, law = octets(draw, d, S) % 5 + np.eye(d, S), 1.0 * octets(draw, S) % 7 + 1
    return {"phi": octets(draw, S, A, d) % 4 + 1, "W": W, "law": law}


@st.composite
def models(draw: st.DrawFn) -> dict[str, Any]:
    """A zero-sum game with rewards in [0, 1], and a model of it that is wrong by a mixture."""
    shape = tuple(draw(st.integers(1, n)) for n in (3, 3, 2, 2))                     # (H, S, A, B)
    S = shape[1]
    return {"P": law(draw, *shape, S, weights=range(9)), "r": octets(draw, *shape) % 33 / 32, "rho": law(draw, S),
            "noise": law(draw, *shape, S, weights=range(1, 10)),
            "mix": draw(st.sampled_from([0.0, 0.125, 0.5, 1.0])), "scale": 1.0}


def excess(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C1: L(f) - L(f*) from the risks against the sum of divergences."""
    P, law, f = world["P"], world["law"], world["f"]
    star = np.maximum(P / law, 2.0**-200)                # its logarithm has weight 0 where P is 0
    gap = contrastive_ucb.risk(f, P, law) - contrastive_ucb.risk(star, P, law)
    # three sums of 2 S terms, weights that sum to 1, logarithms below 12 of arguments that are some ten roundings off
    return {"measured": abs(gap - subject(P, law, f)), "bound": 0.0, "slack": 3 * 14 * higham(2 * len(f) + 20)}


def minimiser(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C1-minimiser in rationals: N1/N0 of a million samples of the population against P/P-."""
    P, law, p = exact(world["P"]), exact(world["law"]), exact([world["positive"]])[0]
    off = np.abs(subject(P * (10**6 * p), law * (10**6 * (1 - p))) - P / law).max()
    return {"measured": fraction(off), "bound": 0}


def distance(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C1-distance: ||P- f - P||_1 against its bound."""
    P, law, f = world["P"], world["law"], world["f"]
    lost = max(contrastive_ucb.excess_risk(P, law, f), 0.0)
    off = 14 * higham(2 * len(f) + 20)                   # of the excess, as in C1; then a root, and S terms up to max f
    root, top = np.sqrt(2 * lost), 1 + f.max()
    slack = top * (np.sqrt(2 * (lost + off)) - root + higham(len(f) + 8) * (1 + root))
    return {"measured": float(np.abs(law * f - P).sum()), "bound": subject(f, lost), "slack": float(slack)}


def ranks(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C2 in rationals: the ranks of f* and of (P, f*) side by side against that of P."""
    phi, W, law = (exact(world[k]) for k in ("phi", "W", "law"))
    P = (phi / phi.sum(-1)[..., None]) @ (W / W.sum(-1)[:, None])
    f = subject(P, law / law.sum())
    P, f = P.reshape(-1, len(law)), f.reshape(-1, len(law))
    rank = lambda x: flint.fmpq_mat(x.tolist()).rank()
    return {"measured": max(abs(rank(f) - rank(P)), rank(np.concatenate([P, f], axis=1)) - rank(P)), "bound": 0}


@marked
def errors(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C3: n times the mean L1 error of a row at each of `HORIZONS`, negatives uniform on some first states."""
    phi, W = two_factors()
    P, law, N, out = phi @ W, on_first(6, world["seen"]), np.zeros((2, 12, 6)), []
    weights = np.stack([P, np.broadcast_to(law, P.shape)]).ravel() / 24
    for n in np.diff(HORIZONS, prepend=0):
        N += rng.multinomial(n, weights).reshape(N.shape)
        out.append(np.abs(contrastive_ucb.transition(subject(N[0], N[1], 0.5), law) - P).sum(1).mean())
    return {"measured": np.array(HORIZONS) * out}


def class_fit(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C3-class: sum_i (g^ - g*)^2 at the (s, a, s') drawn, for ratios that are off by factors 1, 1.01 .. 2."""
    X, M, n = 24, world["M"], world["n"]
    spread = np.append(0.0, np.geomspace(0.01, np.log(2), M - 1))[:, None]
    star = np.exp(rng.uniform(-1, 1, X))
    f = star * np.exp(spread * rng.choice([-1.0, 1.0], (M, X)))
    f = f if world["truth"] else f[spread[:, 0] > 0.3]
    drawn = rng.multinomial(n, np.full(X, 1 / X))
    ones = rng.binomial(drawn, star / (1 + star))
    g = f[subject(f, ones, drawn - ones)]
    off = g / (1 + g) - star / (1 + star)
    return {"measured": float((drawn * off * off).sum()), "bound": 2 * np.log(M / world["delta"])}


def best_responses(P: np.ndarray, r: np.ndarray, mu: np.ndarray, nu: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """V^{best, nu} and V^{mu, best}, each (H+1, S), for P (H, S, A, B, S) and r (H, S, A, B)."""
    H, S = r.shape[:2]
    high, low = np.zeros((H + 1, S)), np.zeros((H + 1, S))
    for h in range(H - 1, -1, -1):
        high[h] = ((r[h] + P[h] @ high[h + 1]) * nu[h][:, None]).sum(2).max(1)
        low[h] = ((r[h] + P[h] @ low[h + 1]) * mu[h][..., None]).sum(1).min(1)
    return high, low


@marked
def sandwich(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C4 at all (h, s): best responses to either marginal against U and L, and the gap against the width."""
    P, r, rho, mix = (world[k] for k in ("P", "r", "rho", "mix"))
    H, S, A, B = r.shape
    model = (1 - mix) * P + mix * world["noise"]
    beta = world["scale"] * np.abs(model - P).sum(-1) / 2 * np.arange(H - 1, -1, -1)[:, None, None, None]
    flat = (H, S, A * B)
    (mu, nu, width), U, L = subject(model.reshape(*flat, S), beta.reshape(flat), r.reshape(flat), rho, (A, B))
    high, low = best_responses(P, r, mu, nu)
    sides = ((high, U), (L, low), ((high - low)[:1] @ rho, np.array([width])))
    _, k, at = max(((a - b).max(), k, int((a - b).argmax())) for k, (a, b) in enumerate(sides))
    # an oracle may leave GAIN H at each of H steps; beta, backups, averages: H (3 S + 2 A B + 16) roundings of H, twice
    slack = contrastive_ucb.GAIN * H * H + 2 * higham(H * (3 * S + 2 * A * B + 16)) * H
    return {"measured": float(sides[k][0].flat[at]), "bound": float(sides[k][1].flat[at]), "slack": slack}


def _opened(m: Any, rng: np.random.Generator, **bounds: Any) -> tuple[Episodes, np.random.Generator]:
    return Episodes(m, rng, grant=("r", "rho"), bounds=bounds), np.random.default_rng(int(rng.integers(0, 2**62)))


@marked
def game_run(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C4-run, C4-low-rank: is the gap of the pair returned at most its width, and below 0.1?"""
    m, pairs = guarded(True) if world["low_rank"] else (formula.game(3, 2, 2, 3), None)
    access, own = _opened(m, rng, negatives=on_first(m.S, m.S), models=pairs)
    pair = subject(access, Params(world["K"], world["alpha"], growth=1.0), own).output
    high, low = best_responses(m.P, m.r[0], pair.mu, pair.nu)
    gap = float((high - low)[0] @ m.rho)
    return {"failed": not gap <= pair.width + contrastive_ucb.GAIN * m.H * m.H or gap >= 0.1}


def _gaps(m: Any, laws: np.ndarray) -> np.ndarray:
    return 1 - returns_of_laws(*m.rows, m.r, m.rho, np.ascontiguousarray(laws)) / optimal_start_value(m)


@marked
def low_rank_run(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C5-low-rank: is the gap of the last policy below 0.05?"""
    m, pairs = guarded(False)
    access, own = _opened(m, rng, negatives=on_first(2, 2), models=pairs)
    out = subject(access, Params(world["K"], world["alpha"], growth=1.0), own).output
    return {"failed": bool(_gaps(m, out[None])[0] >= 0.05)}


def gap_curve(K: int, alpha: float, seen: int, subject: Callable, rng: np.random.Generator) -> np.ndarray:
    """(V* - V^{pi^k})/V* (K,) on the chain, negatives uniform on its first ``seen`` states."""
    access, own = _opened(chain(), rng, negatives=on_first(6, seen))
    trace = subject(access, Params(K, alpha, growth=1.0), own).trace
    return _gaps(chain(), trace.policies)[trace.index]


@marked
def two_runs(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C5, C5-bonus: is the mean last gap below the first limit in one run, above the second in the other?"""
    curves = [gap_curve(world["K"], *of, subject, rng) for of in zip(world["alphas"], world["seen"])]
    low, high = (float(c[-50:].mean()) for c in curves)
    return {"low": {"failed": low >= world["limits"][0]}, "high": {"failed": high <= world["limits"][1]},
            "curves": [c[np.minimum(DRAWN, world["K"]) - 1] for c in curves]}


def _bad(name: str, why: str) -> Saboteur:
    return Saboteur(name.replace("_", " "), why, subject=f"{TWINS}:{name}")


def _claim(name: str, *parts: str) -> Claim:
    return Claim("contrastive-ucb", name, *parts)


CHECKS = (
    Check(_claim("C1", "identity", "With mu = (P + P-)/2 and g = f/(1+f): L(f) - L(f*) = sum_s' mu(s') KL(Bern(g*) || "
                 "Bern(g)) for every f > 0, normalised or not.", "contrastive risk", "derived"),
          "excess_risk", labelled, excess, Sure("SEARCHED", 100),
          (_bad("true_law_alone", "mu = P"), _bad("reversed_divergence", "KL(Bern(g) || Bern(g*))"))),
    Check(_claim("C1-minimiser", "identity", "On the population with labels of probability 1/2 N1/N0 is P/P-; with "
                 "labels of probability p it is p/(1-p) P/P-.", "contrastive risk", "derived"),
          "fit", labelled, minimiser, Sure("EXACT", 100),
          (Saboteur("more positives", "an assumption broken: 0.7 of the labels are 1", world={"positive": 0.7}),
           _bad("shares", "the share of label 1 in place of its odds"))),
    Check(_claim("C1-distance", "bound", "||P- f - P||_1 <= (1 + max f) sqrt(2 (L(f) - L(f*))).",
                 "contrastive risk and total variation", "derived"),
          "distance_bound", labelled, distance, Sure("SEARCHED", 100),
          (_bad("no_maximum", "without 1 + max f"), _bad("smaller_root", "the root of the excess alone"))),
    Check(_claim("C2", "identity", "For every P- > 0 the (S A, S) matrices f* and P have one rank and one column "
                 "space: the factors of f* give phi up to an invertible map where phi has full rank.",
                 "identification of the representation", "derived"),
          "ratio", low_ranks, ranks, Sure("EXACT", 100),
          (_bad("own_negatives", "an assumption broken: the first row has negatives of its own"),
           _bad("probabilities", "the probability of label 1 in place of its odds"))),
    Check(_claim("C3", "rate", "Rank-two kernel of 12 rows and 6 states, uniform negatives, n labelled samples, f^ = "
                 "(N1 + 1/2)/(N0 + 1/2): the mean L1 error of the normalised rows is O(1/sqrt(n)), that is, n times it "
                 "is O(sqrt(n)).", "estimation lemma, this instance", "checked"),
          "fit", ({"seen": 6},), errors, Rate(HORIZONS, np.sqrt, lambda n: n ** (2 / 3), n=128),
          (Saboteur("negatives without support", "an assumption broken: two states are never drawn", world={"seen": 4}),
           _bad("shares", "the share of label 1 in place of its odds"))),
    Check(_claim("C3-class", "high-probability", "The smallest contrastive risk of a finite class that holds f*: "
                 "sum_i (g^ - g*)^2 over the samples is at most 2 log(|F|/delta) with probability 1 - delta.",
                 "estimation lemma for finite classes, derived here", "derived"),
          "choose", ({"M": 16, "n": 2000, "truth": True, "delta": 0.2},), class_fit, HighProbability(0.2),
          (_bad("largest_risk", "the ratio of largest risk"),
           Saboteur("no truth", "an assumption broken: no ratio of the class is near", world={"truth": False}))),
    Check(_claim("C4", "bound", "If beta_h(s, j) >= |(P^ - P) V| for all V in [0, H-h-1], line 8 with an exact oracle "
                 "gives V^{best,nu} <= U and V^{mu,best} >= L at all (h, s), and the duality gap of (mu, nu) is at "
                 "most <rho, U_0 - L_0>.", "optimism lemma for games, recalled", "derived"),
          "plan", models, sandwich, Sure("SEARCHED", 100),
          (Saboteur("no bonus", "an assumption broken: beta = 0 does not cover the error", world={"scale": 0.0}),
           _bad("uniform_law", "no equilibrium: the uniform joint law"),
           _bad("one_sided", "an equilibrium of (Qu, -Qu): the second player takes Qu for Ql"))),
    Check(_claim("C4-run", "high-probability", "Counts on the zero-sum formula game with three states, H = 3, alpha = "
                 "0.3, K = 1000: the duality gap of the pair returned is at most its width and below 0.1, with "
                 "probability 0.8.", "main theorem on games, this instance", "derived"),
          "run_game", ({"K": 1000, "alpha": 0.3, "low_rank": False},), game_run, HighProbability(0.2),
          (_bad("no_bonus_in_games", "alpha = 0: no width"), _bad("uniform_pair", "returns uniform play"))),
    Check(_claim("C4-low-rank", "high-probability", "The best of four pairs on the guarded game with H = 3, alpha = "
                 "0.2, K = 300: the same.", "main theorem on games, this instance", "derived"),
          "run_game_low_rank", ({"K": 300, "alpha": 0.2, "low_rank": True},), game_run, HighProbability(0.2),
          (_bad("wrong_class_in_games", "an assumption broken: no true pair"),)),
    Check(_claim("C5", "separation", "Chain of six states, alpha = 0.1, K = 1500: the mean of (V* - V^{pi^k})/V* over "
                 "the last 50 has a median below 0.05; with negatives on the first four states, above 0.3.",
                 "why P- must cover P, this instance", "checked"),
          "run", ({"K": 1500, "alphas": [0.1, 0.1], "seen": [6, 4], "limits": [0.05, 0.3]},), two_runs,
          Separation((("low", HighProbability(0.5)), ("high", HighProbability(0.5)))),
          (Saboteur("negatives without support", "an assumption broken in the first run", world={"seen": [4, 4]}),
           Saboteur("support restored", "no assumption broken in the second run", world={"seen": [6, 6]}))),
    Check(_claim("C5-bonus", "separation", "The same chain, K = 600: the last gap has a median below 0.1, without a "
                 "bonus above 0.25.", "what the bonus is for, this instance",
                 "checked", "This needs f^ = 0 where no true successor was seen: were such rows uniform, they would "
                 "promise the far end, and 23 of 40 runs without a bonus found it, not 6."),
          "run", ({"K": 600, "alphas": [0.1, 0.0], "seen": [6, 6], "limits": [0.1, 0.25]},), two_runs,
          Separation((("low", HighProbability(0.5)), ("high", HighProbability(0.5)))),
          (_bad("no_bonus", "alpha = 0 throughout"), _bad("always_bonus", "alpha = 0.1 throughout"))),
    Check(_claim("C5-low-rank", "high-probability", "The best of four pairs on the guarded chain with H = 3, alpha = "
                 "0.2, K = 100: the last gap is below 0.05, with probability 0.8.", "main theorem, this instance",
                 "derived"),
          "run_low_rank", ({"K": 100, "alpha": 0.2},), low_rank_run, HighProbability(0.2),
          (_bad("wrong_class", "an assumption broken: no true pair"),)),
)
