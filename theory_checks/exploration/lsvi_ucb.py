"""LSVI-UCB held to its claims: closure, one-hot features, optimism, the elliptical potential, norms, regret, copies.

The theorem's c is not given; c = 1 here. Its beta exceeds H sqrt(N) for long: what it says at such sizes and what a
smaller beta does are different claims. Lin(6, 3, 3, 3) begins in state 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import flint
import numpy as np
from hypothesis import strategies as st

from algorithms.exploration import lsvi_ucb
from algorithms.exploration.lsvi_ucb import Params
from mdpkit import strategies
from mdpkit.access import Episodes
from mdpkit.instances.formula import linear
from mdpkit.measure.regret import Regret
from mdpkit.measure.values import optimal_action_value
from mdpkit.models.linear import LinearMDP
from mdpkit.octets import octets
from mdpkit.rational import exact, rational
from mdpkit.solve.rounding import higham
from theory_checks.engine.claims import Check, Claim, Saboteur
from theory_checks.engine.judges import HighProbability, Rate, Sure
from theory_checks.engine.rows import worst_of

TWINS = "theory_checks.exploration._lsvi_ucb_twins"
P = 0.1
HORIZONS = (250, 500, 1000, 2000)
LIN = {"lin": [6, 3, 3, 3]}


@st.composite
def closed(draw: st.DrawFn) -> dict[str, Any]:
    """A linear MDP whose kernel is phi mu exactly, and next values."""
    model = draw(strategies.linear_mdps(max_states=4, max_actions=2))
    return {"model": model, "V": octets(draw, model.S) % 65 / 16 - 2, "mix": 0.0}


@st.composite
def seen(draw: st.DrawFn) -> dict[str, Any]:
    """Counts, rewards, next values and simplex features of a step, and how often each state is copied."""
    S, A, d = draw(st.integers(1, 3)), draw(st.integers(1, 2)), draw(st.integers(1, 3))
    return {"phi": strategies.dyadic_rows((octets(draw, S, A, d) % 8 + 1) / (octets(draw, S, A, 1) * 0 + 8.0 * d)),
            "counts": octets(draw, 3, S, A, S) % 4, "r": octets(draw, S, A) % 17 / 16, "V": octets(draw, S) % 33 / 8,
            "lam": draw(st.sampled_from([1.0, 0.25, 2.0])), "copies": draw(st.integers(2, 3))}


@st.composite
def designs(draw: st.DrawFn) -> dict[str, Any]:
    """Rows of norm at most 1, targets in [0, 2H], H = 3, and lambda >= 1."""
    d, n = draw(st.integers(1, 3)), draw(st.integers(1, 24))
    x = (octets(draw, n, d) % 9 - 4) / 4
    x = x / np.maximum(np.ceil(np.sqrt((x * x).sum(1, keepdims=True))), 1)
    y = octets(draw, n) % 97 / 16
    return {"x": x, "y": np.where(draw(st.booleans()), 6.0, y), "lam": draw(st.sampled_from([1.0, 2.0])), "scale": 1.0}


def linear_values(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C1 in rationals: r + P V against phi times the weights, P mixed with a move to the first state from the first."""
    m, V, pairs = world["model"], exact(world["V"]), []
    other = exact(np.eye(m.S)[np.arange(m.S) // 2])[:, None]
    for h in range(m.H):
        P = exact(m.P[h]) * (1 - rational(world["mix"])) + other * rational(world["mix"])
        r = (exact(m.phi) * exact(m.theta[h])).sum(2)
        found = (exact(m.phi) * subject(exact(m.theta[h]), exact(m.mu[h]), V)).sum(2)
        pairs.append((abs(r + (P * V).sum(2) - found).max(), 0))
    return worst_of(*pairs)


def counted(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C2 in rationals: one-hot features."""
    r, V, lam = exact(world["r"]), exact(world["V"]), rational(world["lam"])
    counts = exact(world["counts"].sum(0))
    S, A = r.shape
    phi = exact(np.eye(S * A).reshape(S, A, S * A))
    w, mean, square = subject(phi, counts, r, V, lam)
    N, total = counts.sum(2) + lam, r * counts.sum(2) + (counts * V).sum(2)
    return worst_of((abs(mean - total / N).max(), 0), (abs(square - 1 / N).max(), 0),
                    (abs(w.reshape(S, A) - total / N).max(), 0))


def copied(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C7 in rationals: what was seen of S states, dealt out to copies of them at will."""
    r, V, lam, phi = exact(world["r"]), exact(world["V"]), rational(world["lam"]), exact(world["phi"])
    c, (S, A) = world["copies"], r.shape
    shares = world["counts"][:c]                                   # which copy what came from; all lead to the first
    many = np.zeros((c, S, A, c, S))
    many[:, :, :, 0] = shares
    more = lambda x: np.concatenate([x] * c)
    _, mean, square = subject(more(phi), exact(many.reshape(c * S, A, c * S)), more(r), more(V), lam)
    _, mean_1, square_1 = lsvi_ucb.backup(phi, exact(shares.sum(0)), r, V, lam)
    return worst_of((abs(mean - more(mean_1)).max(), 0), (abs(square - more(square_1)).max(), 0))


def potential(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C4: the chain of bounds, rationals against balls."""
    x = exact(world["x"]) * rational(world["scale"])
    lam, (n, d) = rational(world["lam"]), x.shape
    _, norms, _ = subject(x, exact(world["y"]), lam)
    ratio = _determinant(x, lam)
    above = (2 * flint.arb(ratio).log()).upper()
    return worst_of((sum(norms), rational(math.nextafter(float(above), math.inf))), (ratio, (1 + n / (lam * d)) ** d))


def norm(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C5 in rationals: |w|^2 against 4 H^2 d k/lambda, H = 3."""
    x, y = exact(world["x"]), exact(world["y"]) * rational(world["scale"])
    w = subject(x, y, rational(world["lam"]))[0]
    return worst_of(((w * w).sum(), flint.fmpq(36) * x.shape[1] * len(x) / rational(world["lam"])))


def optimism(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C3: how far Q* exceeds Q at worst, over all episodes; and how much of Q is below H at the end."""
    model, K = from_0(world), world["K"]
    best, gaps = optimal_action_value(model), []
    access = Episodes(model, rng, watch=lambda first, log: gaps.append(float((best - log.Q).max())))
    params = lsvi_ucb.theory(K, model.H, model.d, P)
    last = subject(access, Params(K, params.beta, keep=True), np.random.default_rng(0)).output
    # Q* is H backups of S + 4 roundings on values up to H; Q carries the rounding of 1000 updates of Lambda^-1, of
    # condition K + 1 at most, times sums of K targets
    slack = model.H * model.H * (higham(model.S + 8) + (K + 1) * higham(40 * 1000 * model.d))
    return {"measured": max(*gaps, float((best - last).max())), "bound": 0.0, "slack": slack,
            "below": float((last < model.H).mean())}


def spread(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C7-sum: the norms of what a run played, over all steps, against 2 d H ln(1 + K/d), d that of the features."""
    base = from_0(world)
    model, norms = copies(base, world["copies"], world.get("one_hot", False)), []
    access = Episodes(model, rng, watch=lambda first, log: norms.append(float(log.norms.sum())))
    subject(access, Params(world["K"], world["beta"]), np.random.default_rng(0))
    bound = 2 * base.d * base.H * math.log(1 + world["K"] / base.d)
    # K updates of the inverse, of condition K + 1 at most
    return {"measured": sum(norms), "bound": bound, "slack": (world["K"] + 1) * higham(40 * 1000 * base.d) * bound}


def growth(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C6: regret at the horizons."""
    model, K = from_0(world), np.array(HORIZONS)
    watch = Regret(model)
    subject(Episodes(model, rng, watch=watch), Params(HORIZONS[-1], world["beta"]), np.random.default_rng(0))
    return {"measured": watch.regret[K - 1]}


def from_0(world: dict) -> LinearMDP:
    """The instance, begun in state 0."""
    m = linear(*world["lin"])
    return LinearMDP(m.phi, m.mu, m.theta, np.eye(m.S)[0])


def copies(base: LinearMDP, c: int, one_hot: bool = False) -> LinearMDP:
    """Each state c times, with its features, its mass split; or that world with one feature a pair."""
    phi = np.concatenate([base.phi] * c)
    wide = LinearMDP(phi, np.tile(base.mu, (1, 1, c)) / c, base.theta, np.tile(base.rho, c) / c)
    if not one_hot:
        return wide
    S, A, _ = phi.shape
    flat = wide.P.reshape(base.H, S * A, S), wide.r.reshape(base.H, S * A)
    return LinearMDP(np.eye(S * A).reshape(S, A, S * A), *flat, wide.rho)


def _determinant(x: np.ndarray, lam: flint.fmpq) -> flint.fmpq:
    d = x.shape[1]
    V = [[(x[:, i] * x[:, j]).sum() + (lam if i == j else 0) for j in range(d)] for i in range(d)]
    return flint.fmpq_mat(V).det() / lam**d


def _check(name: str, kind: str, statement: str, source: str, status: str, entry: str, worlds: Any, measure: Callable,
           judge: Any, finding: str = "", more: tuple = (), **twins: str) -> Check:
    """A check whose saboteurs are twins by name, each with what is wrong with it."""
    claim = Claim("lsvi-ucb", name, kind, statement, source, status, finding)
    return Check(claim, entry, worlds, measure, judge, tuple(
        Saboteur(twin.replace("_", " "), why, subject=f"{TWINS}:{twin}") for twin, why in twins.items()) + more)


THIN = Saboteur("thin", "lambda = 0.1, |phi| up to 2", world={"lam": 0.1, "scale": 2.0})
TALL = Saboteur("tall", "targets up to 200 H", world={"scale": 100.0})
HOT = Saboteur("one hot", "one feature a pair: d = 72", world={"one_hot": True, "copies": 4})
MIXED = Saboteur("not linear", "a tenth of another kernel", world={"mix": 0.1})
CHECKS = (
    _check("C1", "identity", "For every V: r_h + P_h V = phi (theta_h + mu_h V).", "Proposition 2.3", "checked",
           "closure", closed, linear_values, Sure("EXACT", 60), "", (MIXED,), without_rewards="mu V",
           halved="theta + mu V/2"),
    _check("C2", "identity", "One-hot features: w' phi = (sum of r + V(s'))/(N + lambda), phi' Lambda^-1 phi = 1/(N + "
           "lambda): lambda phantom samples of value 0, bonus beta/sqrt(N + lambda).", "definition", "checked",
           "backup", seen, counted, Sure("EXACT", 60), plain_counts="a sixteenth of lambda",
           old_targets="rewards alone"),
    _check("C3", "high-probability", "With probability 1 - p: Q_h >= Q*_h at all k, h, s, a, c = 1; here p = 0.1, "
           "Lin(6, 3, 3, 3), K = 300, and Lin(4, 2, 2, 2), K = 2000.", "Lemma B.5", "recalled", "run",
           (LIN | {"K": 300}, {"lin": [4, 2, 2, 2], "K": 2000}), optimism, HighProbability(P),
           "On the first nearly all Q are clipped at H, and say nothing; on the second more than half are not.",
           timid="beta = 0.02"),
    _check("C4", "bound", "|phi| <= 1 and lambda >= 1: sum_k phi_k' Lambda_k^-1 phi_k <= 2 ln(det Lambda_{K+1}/"
           "lambda^d) <= 2 d ln(1 + K/(lambda d)) <= 2 d ln(1 + K/lambda).", "Lemma D.2", "checked", "ridge", designs,
           potential, Sure("CERTIFIED", 80), "", (THIN,), frozen="norms by lambda I"),
    _check("C5", "bound", "|w| <= 2 H sqrt(d k/lambda), k targets in [0, 2H].", "Lemma B.2", "checked", "ridge",
           designs, norm, Sure("EXACT", 80), "Loose: 0.31 of it at worst in the search.", (TALL,),
           unregularised="lambda/1000"),
    _check("C6", "rate", "Regret O(sqrt K) between K = 250 and 2000 on Lin(6, 3, 3, 3), beta = 0.1.",
           "Theorem 3.1, which is about a beta of 30; this instance", "checked", "run", (LIN | {"beta": 0.1},), growth,
           Rate(HORIZONS, np.sqrt, lambda K: K ** (2 / 3), n=100), "It stops growing: 4.2 in the mean of 30 runs, 0.3 "
           "to 34. With the theorem's beta, c = 1, p = 0.1, it is linear there, 400 at K = 1000.",
           bold="the theorem's beta, c = 1", never_updated="the first action, for ever"),
    _check("C7", "identity", "Copies of states with their features change neither w' phi nor phi' Lambda^-1 phi, "
           "however the data are dealt out to them.", "definition", "derived", "backup", seen, copied,
           Sure("EXACT", 60), one_hot="one feature a pair", old_targets="rewards alone"),
    _check("C7-sum", "bound", "Hence sum_k sum_h phi' Lambda^-1 phi <= 2 d H ln(1 + K/d) along a run, d = 3, H = 3, "
           "K = 300, beta = 0.1, whether each state of Lin(6, 3, 3, 3) is there once or four times.", "Lemma D.2",
           "derived", "run", tuple(LIN | {"K": 300, "beta": 0.1, "copies": c} for c in (1, 4)), spread, Sure(), "",
           (HOT,), greedy_norms="norms by lambda I"),
)
