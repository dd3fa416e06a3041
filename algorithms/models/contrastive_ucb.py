"""Contrastive UCB: representations of low-rank MDPs and zero-sum games, learnt by telling true successors from others.

Steps h = 0..H-1, known rewards r in [0, 1], P_h(s'|s, j) = psi_h(s')' phi_h(s, j) with phi and psi unknown; j is an
action, or a joint one of two players of whom the first maximises r and the second minimises it. A negative law P- is
known, P-(s') > 0 wherever some P_h(s'|s, j) > 0. What is learnt is f*_h = P_h(s'|s, j)/P-(s'), of the rank of P_h.

    1  pi^0 uniform;  for k = 1..K and each h:
    2      play pi^{k-1} before step h, then j_h uniform: (s, j) of D_h; a label y, 1 with probability 1/2; s' is the
           next state, asked for only then, if y = 1, otherwise drawn from P-
    3      the same with j_{h-1} uniform too: D~_h
    4      f_h = argmin over the class of the mean of y log(1 + 1/f) + (1 - y) log(1 + f) over D_h and D~_h
    5      P_h(s'|s, j) = P-(s') f_h(s, j, s'), normalised over s'
    6      beta_h(s, j) = min(alpha H |phi_h(s, j)|_{Sigma_h^-1}, H), Sigma_h = sum over D_h of phi phi' + lam I
    7      MDP: for h = H-1..0: Q = min(r + beta + P V, H - h);  pi^k greedy, V = max Q
    8      game: for h = H-1..0: Qu = min(r + beta + P U, H - h), Ql = max(r - beta + P L, 0);  at each state sigma is a
           coarse correlated equilibrium of the payoffs (Qu, -Ql), pi^k the product of its marginals mu and nu;
           U = E_sigma Qu, L = E_sigma Ql
    9  return the mixture of the pi^k;  game: the pi^k of the smallest <rho, U_0 - L_0>

Lines 4 and 6 in two forms. `run` and `run_game` count: the class holds every f, and the argmin is N1/N0, the counts of
s' under either label (N0 at least 1/2: the ratio stays finite; rows without label 1 are 0, so that the bonus alone
explores); beta = min(alpha H/sqrt(max(n, 1)), H), n the count in D_h. `run_low_rank` and `run_game_low_rank` take f
from a finite class of (phi, psi). Lines 4 to 8 may wait until the data have grown by a share, ``growth``.

Guarantee (Theorems 1 and 2 in our count, on MDPs and on games; the paper's numbers were not at hand; upper bounds, not
tight): with lam of order d log(|F| H K/delta) and alpha of order sqrt(d A log(|F| H K/delta)) the mixture is
eps-optimal (the pair an eps-equilibrium) with probability 1 - O(delta) after O~(1/eps^2) iterations, polynomial in d,
A, H and the bounds of f. As recalled: only the abstract and summaries (features recovered, O~(1/eps^2)) were at hand.

Line 7 is line 8 with one action for the second player: U is V, sigma a maximiser of Qu, and L comes for free.
Paper: any equilibrium will do in line 8; here it is the one of largest E_sigma(Qu - Ql), which explores the most.

Qiu, Wang, Bai, Yang, Wang. Contrastive UCB: Provably Efficient Contrastive Self-Supervised Learning in Online
Reinforcement Learning. ICML 2022, arXiv 2207.14800.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numba import float64

from mdpkit import validate
from mdpkit.access import Episodes
from mdpkit.errors import MdpkitError
from mdpkit.instances import formula
from mdpkit.iterate import iterate
from mdpkit.jit import kernel
from mdpkit.kernels.backup import INTS, REALS
from mdpkit.kernels.draw import draw
from mdpkit.records import Paper, Result, Trace
from mdpkit.solve.correlated import CUBE, equilibrium
from mdpkit.worlds.games import start as start_game
from mdpkit.worlds.games import step as step_game
from mdpkit.worlds.markov import start, step

GAIN = 1e-7              # the most that an oracle's law may leave to gain, in units of H

PAPER = Paper(
    "contrastive-ucb",
    "Contrastive UCB: Provably Efficient Contrastive Self-Supervised Learning in Online Reinforcement Learning",
    "Shuang Qiu, Lingxiao Wang, Chenjia Bai, Zhuoran Yang, Zhaoran Wang", "ICML 2022", "2207.14800",
    ("episodic", "games", "low-rank", "tabular", "representation"),
    """@inproceedings{qiu2022contrastive,
  title = {Contrastive {UCB}: Provably Efficient Contrastive Self-Supervised Learning in Online Reinforcement Learning},
  author = {Qiu, Shuang and Wang, Lingxiao and Bai, Chenjia and Yang, Zhuoran and Wang, Zhaoran},
  booktitle = {International Conference on Machine Learning},
  year = {2022}
}""")


@dataclass(frozen=True)
class Params:
    """K iterations, scale of the bonus in units of H, ridge; after k iterations a plan waits max(1, growth (k + H))."""

    K: int
    alpha: float
    lam: float = 1.0
    growth: float = 0.0


class Pair(NamedTuple):
    """Strategies of the two players and the width <rho, U_0 - L_0>."""

    mu: np.ndarray              # (H, S, A)
    nu: np.ndarray              # (H, S, B)
    width: Any


def theory(K: int, H: int, A: int, d: int, size: int, delta: float) -> Params:
    """The orders that the theorem sets, all constants 1, for a class of ``size`` pairs and A (joint) actions."""
    K, H, A, d, size = (validate.count(k, x) for k, x in (("K", K), ("H", H), ("A", A), ("d", d), ("size", size)))
    log = math.log(size * H * K / validate.interval("delta", delta, 0.0, 1.0, open_lo=True, open_hi=True))
    return Params(K, math.sqrt(d * A * log), max(d * log, 1.0))


def run(access: Episodes, params: Params, rng: np.random.Generator) -> Result:
    """The tabular form on an MDP. ``access`` grants rho and r (H, S, A) in [0, 1]; ``known.negatives`` is P- (S,).

    The trace has pi^0, .., pi^{K-1}, laws (H, S, A), whose mixture the theorem is about; the output is pi^K."""
    return _run(access, params, rng, _tabular, False)


def run_low_rank(access: Episodes, params: Params, rng: np.random.Generator) -> Result:
    """A finite class ``known.models`` = (phi (M, H, S, A, d), psi (M, H, d, S)) with psi' phi > 0; else as `run`."""
    return _run(access, params, rng, _low_rank, False)


def run_game(access: Episodes, params: Params, rng: np.random.Generator) -> Result:
    """The tabular form on a zero-sum game. Rewards are (2, H, S, A, B), the first player's in [0, 1]; else as `run`.

    The output is line 9's `Pair`; the policies of the trace are mu and nu side by side (H, S, A + B)."""
    return _run(access, params, rng, _tabular, True)


def run_game_low_rank(access: Episodes, params: Params, rng: np.random.Generator) -> Result:
    """A finite class ``known.models`` of pairs on joint actions, the second player's fastest; else as `run_game`."""
    return _run(access, params, rng, _low_rank, True)


def fit(positives: np.ndarray, negatives: np.ndarray, smooth: Any = 0) -> np.ndarray:
    """Line 4 on counts of any shape: (N1 + smooth)/max(N0 + smooth, 1/2); on floats and on rationals."""
    below = negatives + smooth
    return (positives + smooth) / np.where(below * 2 < 1, 1 / (2 + 0 * below), below)


def transition(f: np.ndarray, law: np.ndarray) -> np.ndarray:
    """Line 5: P- f normalised over the last axis, rows without mass 0, for f (.., S) and P- (S,)."""
    mass = law * f
    total = mass.sum(-1, keepdims=True)
    return mass / np.where(total > 0, total, 1.0)


def ratio(P: np.ndarray, law: np.ndarray) -> np.ndarray:
    """f* = P(s'|..)/P-(s'), for P (.., S) and P- (S,) > 0; on floats and on rationals."""
    return P / law


def risk(f: np.ndarray, positives: np.ndarray, negatives: np.ndarray) -> float:
    """Line 4's loss, per unit of weight: ``positives`` and ``negatives``, of the shape of f > 0, weigh the labels."""
    return float((positives * np.log1p(1.0 / f) + negatives * np.log1p(f)).sum() / (positives + negatives).sum())


def excess_risk(P: np.ndarray, law: np.ndarray, f: np.ndarray) -> float:
    """sum_s' (P + P-)/2 KL(Bern(f*/(1+f*)) || Bern(f/(1+f))) = L(f) - L(f*), for laws P and P- > 0 and f > 0, (S,)."""
    g, star = f / (1 + f), P / (P + law)
    up = np.where(star > 0, star * np.log(np.where(star > 0, star, 1.0) / g), 0.0)
    return float(((P + law) / 2 * (up + (1 - star) * np.log((1 - star) * (1 + f)))).sum())


def distance_bound(f: np.ndarray, excess: float) -> float:
    """(1 + max f) sqrt(2 excess) >= ||P- f - P||_1, where ``excess`` >= 0 is L(f) - L(f*)."""
    return (1.0 + float(f.max())) * math.sqrt(2.0 * excess)


def choose(f: np.ndarray, positives: np.ndarray, negatives: np.ndarray) -> int:
    """Line 4 over a class f (M, ..) > 0: the number of the smallest loss, the first on ties."""
    return int(np.argmin([risk(part, positives, negatives) for part in f]))


def bonuses(phi: np.ndarray, visits: np.ndarray, params: Params) -> np.ndarray:
    """Line 6, (H, S, J), for features (H, S, J, d) and the counts of D (H, S, J)."""
    H, d, x = len(phi), phi.shape[-1], phi.reshape(len(phi), -1, phi.shape[-1])
    Sigma = np.swapaxes(x, 1, 2) @ (x * visits.reshape(H, -1, 1)) + params.lam * np.eye(d)
    square = (x * np.swapaxes(np.linalg.solve(Sigma, np.swapaxes(x, 1, 2)), 1, 2)).sum(-1)
    return np.minimum(params.alpha * H * np.sqrt(square), H).reshape(visits.shape)


def plan(P: np.ndarray, beta: np.ndarray, r: np.ndarray, rho: np.ndarray,
         sizes: Any) -> tuple[Pair, np.ndarray, np.ndarray]:
    """Lines 7 and 8, and U and L (H+1, S), on P (H, S, J, S), beta and r (H, S, J), rho (S,), J = A B joint actions.

    Refuses an oracle's law that leaves more than 1e-7 H to gain."""
    H, S, _ = r.shape
    mu, nu = (np.zeros((H, S, int(n))) for n in sizes)
    U, L = np.zeros((H + 1, S)), np.zeros((H + 1, S))
    gain = _backward(P, beta, r, np.array(sizes), mu, nu, U, L)
    if not gain <= GAIN * H:
        raise MdpkitError("oracle", f"exact to {GAIN:g} H", None, came=f"a law leaves {gain:.3g} to gain")
    return Pair(mu, nu, float((rho * (U[0] - L[0])).sum())), U, L


def demo(rng: np.random.Generator) -> Result:
    """Twelve iterations on the zero-sum formula game with three states, H = 3, uniform negatives."""
    access = Episodes(formula.game(3, 2, 2, 3), rng, grant=("r", "rho"), bounds={"negatives": np.full(3, 1 / 3)})
    return run_game(access, Params(12, 0.1), rng)


def _run(access: Episodes, params: Params, rng: np.random.Generator, learn: Callable, game: bool) -> Result:
    r, law, sizes = _begin(access, params, rng, game)
    (H, S, J), cum, kind = r.shape, _stairs(law), (None, 1) if game else (1, None)
    visits, pairs = np.zeros((H, S, J)), np.zeros((2, H, S, J, S))
    first = Pair(np.full((H, S, sizes[0]), 1 / sizes[0]), np.full((H, S, sizes[1]), 1 / sizes[1]), math.inf)    # 1

    cuts = [0]
    while cuts[-1] < params.K:
        cuts.append(min(params.K, cuts[-1] + max(1, int(params.growth * (cuts[-1] + H)))))

    def once(state: tuple, access: Any, rng: np.random.Generator) -> tuple:
        i, last, best = state
        n = cuts[i + 1] - cuts[i]
        access.call(_collect, n, *kind, cum, _stairs(last.mu), _stairs(last.nu), visits, pairs, rng)    # 2, 3
        P, beta = learn(access.known, params, law, visits, pairs)                          # 4, 5, 6
        new = plan(P, beta, r, access.known.rho, sizes)[0]                                 # 7, 8
        return i + 1, new, new if new.width < best.width else best                         # 9

    record = lambda x: (np.concatenate(x[1][:1 + game], axis=2), {"width": x[1].width})
    (_, last, best), trace = iterate(once, (0, first, first), access, len(cuts) - 1, rng, record)
    index, width = (np.repeat(x, np.diff(cuts)) for x in (trace.index, trace.info["width"]))
    trace = Trace(trace.policies, index, {"width": width})
    return Result(best if game else last.mu, trace, params, access.samples)


def _begin(access: Episodes, params: Params, rng: np.random.Generator, game: bool) -> tuple[Any, ...]:
    """r (H, S, J) of the first player, P- and the numbers of actions."""
    validate.instance("access", access, Episodes)
    validate.instance("params", params, Params)
    validate.count("params.K", params.K)
    for name in ("alpha", "lam", "growth"):
        validate.interval(f"params.{name}", getattr(params, name), 0.0, math.inf, open_lo=name == "lam")
    validate.generator("rng", rng)
    law, r = validate.simplex("access.known.negatives", access.known.negatives, (access.known.S,)), access.known.r
    if r.ndim != (5 if game else 3) or (game and (r.sum(0) != 0).any()):
        raise MdpkitError("access", "to a zero-sum game of two players" if game else "to an MDP", access)
    r = validate.within("access.known.r", r[0] if game else r, 0.0, 1.0)
    return np.ascontiguousarray(r.reshape(*r.shape[:2], -1)), law, r.shape[2:] if game else (r.shape[2], 1)


def _tabular(known: Any, params: Params, law: np.ndarray, visits: np.ndarray,
             pairs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """P (H, S, J, S) and beta (H, S, J) from the counts of D and those of (y, h, s, j, s')."""
    beta = np.minimum(params.alpha * known.H / np.sqrt(np.maximum(visits, 1.0)), known.H)  # 6
    return transition(fit(pairs[1], pairs[0]), law), beta                                  # 4, 5


def _low_rank(known: Any, params: Params, law: np.ndarray, visits: np.ndarray,
              pairs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    phi, psi = known.models
    f = validate.within("access.known.models", phi @ psi[:, :, None], 1e-300, math.inf)
    at = (np.array([choose(f[:, h], pairs[1, h], pairs[0, h]) for h in range(known.H)]), np.arange(known.H))    # 4
    return transition(f[at], law), bonuses(phi[at], visits, params)                        # 5, 6


def _stairs(law: np.ndarray) -> np.ndarray:
    """Cumulative laws that end in 1."""
    out = np.cumsum(law, axis=-1)
    out[..., -1] = 1.0
    return out


def _start_body(world, solo, duel):
    """One of ``solo`` and ``duel`` is None: its branch, of the verbs of another world, compiles to nothing."""
    if solo is not None:
        return start(world)
    if duel is not None:
        return start_game(world)
    return 0


def _step_body(world, solo, duel, a, b):
    """The next state."""
    if solo is not None:
        return step(world, a)[1]
    if duel is not None:
        both = np.zeros(2, np.int64)
        both[0], both[1] = a, b
        return step_game(world, both)[1]
    return 0


def _collect_body(world, n, solo, duel, cum, mu, nu, visits, pairs, rng):
    """n times one tuple of D and one of D~ at each step, with cumulative laws ``cum``, ``mu``, ``nu``."""
    H, S, A = mu.shape
    B = nu.shape[2]
    for i in range(n * H):
        h = i % H
        for back in range(min(h, 1) + 1):
            s = _start(world, solo, duel)
            for k in range(h + 1):
                u, v = rng.random(), rng.random()
                a, b = int(u * A), int(v * B)                                              # 2, 3
                if k < h - back:
                    a, b = draw(mu[k, s], 0, A, u), draw(nu[k, s], 0, B, v)
                if k < h:
                    s = _step(world, solo, duel, a, b)
            y = int(rng.random() * 2)
            t = _step(world, solo, duel, a, b) if y == 1 else draw(cum, 0, S, rng.random())    # 2
            visits[h, s, a * B + b] += 1.0 - back
            pairs[y, h, s, a * B + b, t] += 1.0


def _backward_body(P, beta, r, sizes, mu, nu, U, L):
    """Line 8, from zeros; returns the largest gain that an oracle left."""
    H, S, J = r.shape
    payoffs, sigma, worst = np.zeros((2, J)), np.zeros(J), 0.0
    for h in range(H - 1, -1, -1):
        for s in range(S):
            for j in range(J):
                up, down = r[h, s, j] + beta[h, s, j], r[h, s, j] - beta[h, s, j]
                for t in range(S):
                    up += P[h, s, j, t] * U[h + 1, t]
                    down += P[h, s, j, t] * L[h + 1, t]
                payoffs[0, j], payoffs[1, j] = min(up, H - h), -max(down, 0.0)
            worst = max(worst, equilibrium(payoffs, sizes, False, sigma))
            for j in range(J):
                mu[h, s, j // sizes[1]] += sigma[j]
                nu[h, s, j % sizes[1]] += sigma[j]
                U[h, s] += sigma[j] * payoffs[0, j]
                L[h, s] -= sigma[j] * payoffs[1, j]
    return worst


_start = kernel(_start_body)
_step = kernel(_step_body)
_collect = kernel(_collect_body)
_backward = kernel(_backward_body, (REALS[4], REALS[3], REALS[3], INTS[1], CUBE, CUBE) + 2 * (float64[:, ::1],))
