"""MMD: magnetic mirror descent, a KL weight to a magnet in every decision, by both players at once, last iterate.

A game (n, m) of two players on one move each: x gains A and y gains B, which is -A (zero-sum) or A (common payoff).
Magnets rho_x, rho_y of full support, temperature alpha >= 0. z = (x, y); the quantal response equilibrium z* has
alpha log(x/rho_x) = A y + c and alpha log(y/rho_y) = B'x + c'. D(z*, z) = KL(x*, x) + KL(y*, y). Several games at once
are the states of a game of one step; they do not touch one another.

    1  x_0, y_0 of full support;  for t = 0..T-1:
    2      at every K-th step the magnets become (x_t, y_t)                        (K = 0: never)
    3      q_x = A y_t, q_y = B'x_t                                                (both of the old pair)
    4      x_{t+1} proportional to [x_t exp(eta q_x) rho_x^(eta alpha)]^(1/(1 + eta alpha)), y_{t+1} likewise
    5  return x_T, y_T
    6  sequential games (`run_tree`): line 4 at every infostate h, on q(h, a) = E[payoff | h, a] under the old policies
       and their posterior over what is hidden at h; where h is not reached the policy stays
    7  decision time (`search`): q(h, .) at the one infostate that is reached, of the blueprint pi; then line 4 there
    8  or q(h, a) is the mean payoff of n plays of the blueprint through (h, a)    (`rollouts`)

Mirror descent is alpha = 0. Line 7 played wherever one gets to is line 6, which never was computed: update equivalence.

Guarantee (Theorem 3.4 of Sokota et al., ICLR 2023, for entropy): in a zero-sum game of one move with 0 < eta <=
alpha/L^2, L = max |A|, D(z*, z_t) <= (1 + eta alpha)^-t D(z*, z_0) for every magnet and start. Wording recalled.
Derived here: L may be `curvature`(A), which is never larger. Upper bounds; one step can come near them, tight for whole
runs they are not known to be. For common payoffs the paper has improvement by small enough steps; `improvement` and
`signalling` are steps and constants derived here. No theorem speaks of line 6 in sequential zero-sum games.

Sokota, Farina, Wu, Hu, Wang, Kolter, Brown. The Update-Equivalence Framework for Decision-Time Planning. ICLR 2024,
arXiv 2304.13138. MMD itself: Sokota, D'Orazio, Kolter, Loizou, Lanctot, Mitliagkas, Brown, Kroer, ICLR 2023.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from mdpkit import validate
from mdpkit.access import Exact
from mdpkit.errors import MdpkitError
from mdpkit.instances.games import biased_rps
from mdpkit.jit import kernel
from mdpkit.kernels.copy import copy
from mdpkit.kernels.mirror import mirror, times
from mdpkit.losses import log_softmax
from mdpkit.models.games import MarkovGame
from mdpkit.records import Paper, Result, Trace

PAPER = Paper(
    "mmd", "The Update-Equivalence Framework for Decision-Time Planning",
    "Samuel Sokota, Gabriele Farina, David J. Wu, Hengyuan Hu, Kevin A. Wang, J. Zico Kolter, Noam Brown",
    "ICLR 2024", "2304.13138", ("games", "tabular", "last iterate", "search", "imperfect information"),
    """@inproceedings{sokota2024update,
  title     = {The Update-Equivalence Framework for Decision-Time Planning},
  author    = {Sokota, Samuel and Farina, Gabriele and Wu, David J. and Hu, Hengyuan and Wang, Kevin A. and Kolter, J. Zico and Brown, Noam},
  booktitle = {International Conference on Learning Representations},
  year      = {2024}
}""")  # noqa: E501


@dataclass(frozen=True)
class Params:
    """eta > 0 and alpha >= 0, numbers or (T,) arrays; T steps; the magnet moves every K (0: never).

    ``start`` and ``magnet`` are pairs of laws, (S, n) and (S, m), or for plays one flat table (E,); uniform where
    omitted. Every ``every``-th policy is traced (T must be a multiple).
    """

    eta: Any
    alpha: Any
    T: int
    K: int = 0
    start: Any = None
    magnet: Any = None
    every: int = 1


@dataclass(frozen=True, eq=False)
class Plays:
    """A sequential game of perfect recall as the list of its plays.

    A table of policies is flat: infostate h owns the entries first[h] to first[h+1] - 1, one an action. ``chance``
    (n,) is the probability of chance's moves in a play, ``payoff`` (n,) what it ends in, ``moves`` (n, L) the entries
    that it takes, -1 where it is shorter; whoever moves at h gains ``side[h]`` = 1 or -1 times the payoff.
    """

    chance: np.ndarray
    payoff: np.ndarray
    moves: np.ndarray
    first: np.ndarray
    side: np.ndarray


def theory(alpha: float, T: int, L: float = 1.0) -> Params:
    """eta = alpha/L^2: L is max |A|, or `curvature`."""
    alpha = validate.interval("alpha", alpha, 0.0, math.inf, open_lo=True)
    L = validate.interval("L", L, 0.0, math.inf, open_lo=True)
    return Params(alpha / (L * L), alpha, validate.count("T", T))


def run(access: Exact, params: Params, rng: np.random.Generator) -> Result:
    """MMD in games of one move.

    Parameters
    ----------
    access : Exact
        To a two-player game of one step; its S states are S games.
    params : Params
    rng : numpy.random.Generator
        Not used.

    Returns
    -------
    Result
        ``output`` is the pair x_T (S, n), y_T (S, m); the trace holds the x_t, and in its info ``y``, ``log_x``,
        ``log_y``.
    """
    A, B, etas, alphas = _given(access, params, rng)
    shapes = A.shape[:2], A.shape[::2]
    logs = [np.array(_log(f"params.{name}[{i}]", None if pair is None else pair[i], shapes[i]))
            for name, pair in (("start", params.start), ("magnet", params.magnet)) for i in range(2)]     # 1
    log_x, log_y, rho_x, rho_y = logs
    out_x, out_y = (np.empty((params.T // params.every, *shape)) for shape in shapes)
    _descend(A, B, etas, alphas, params.K, rho_x, rho_y, log_x, log_y, out_x, out_y)
    trace = Trace(np.exp(out_x), np.arange(len(out_x)), {"y": np.exp(out_y), "log_x": out_x, "log_y": out_y})
    return Result((np.exp(log_x), np.exp(log_y)), trace, params)                       # 5


def run_tree(access: Exact, params: Params, rng: np.random.Generator) -> Result:
    """MMD at every infostate at once; the magnet does not move (K = 0).

    As `run` else, with exact access to `Plays`. ``output`` is the last table (E,); the trace holds those before, and
    in its info their ``log_pi``.
    """
    validate.instance("access", access, Exact)
    plays = validate.instance("access.model", access.model, Plays)
    etas, alphas = _schedules(params, rng)
    log_pi, log_rho = _table("params.start", params.start, plays), _table("params.magnet", params.magnet, plays)
    out = np.empty((params.T // params.every, len(log_pi)))
    _everywhere(plays.chance, plays.payoff, plays.moves, plays.first, plays.side, etas, alphas, log_rho, log_pi, out)
    return Result(np.exp(log_pi), Trace(np.exp(out), np.arange(len(out)), {"log_pi": out}), params)


def search(plays: Plays, log_pi: np.ndarray, h: int, params: Params, rng: np.random.Generator, n: int = 0,
           ) -> np.ndarray:
    """One step at infostate h from the blueprint log_pi (E,): log pi'(.|h). With n > 0 on ``n`` `rollouts` an action.

    ``rng`` is used by rollouts only; eta and alpha of ``params`` are numbers. Where the blueprint never gets to h, its
    own policy is the answer.
    """
    eta, alpha = validate.real("params.eta", params.eta), validate.real("params.alpha", params.alpha)
    here = slice(plays.first[h], plays.first[h + 1])
    weights = [_through(plays, log_pi, k) for k in range(here.start, here.stop)]
    if not all(w.any() for w in weights):
        return log_pi[here]
    q = (rollouts(plays, log_pi, h, n, rng) if n > 0
         else np.array([plays.side[h] * (w * plays.payoff).sum() / w.sum() for w in weights]))      # 7
    magnet = _table("params.magnet", params.magnet, plays)[here]
    return log_softmax((log_pi[here] + eta * q + eta * alpha * magnet) / (1.0 + eta * alpha))       # 7


def rollouts(plays: Plays, log_pi: np.ndarray, h: int, n: int, rng: np.random.Generator) -> np.ndarray:
    """The mean payoff to the owner of h in n plays of log_pi through (h, a), for each a: n plays an action."""
    q = []
    for k in range(plays.first[h], plays.first[h + 1]):
        cum = np.cumsum(_through(plays, log_pi, k))
        drawn = np.searchsorted(cum, cum[-1] * rng.random(validate.count("n", n)), side="right")    # 8
        q.append(plays.side[h] * plays.payoff[drawn].sum() / n)
    return np.array(q)


def _through(plays: Plays, log_pi: np.ndarray, k: int) -> np.ndarray:
    """The probability of each play but for its move k; 0 of those without it."""
    chances = np.where((plays.moves >= 0) & (plays.moves != k), np.exp(log_pi)[plays.moves], 1.0)
    return plays.chance * chances.prod(1) * (plays.moves == k).any(1)


def curvature(A: np.ndarray) -> float:
    """max |A_ik - A_il - A_jk + A_jl|/4 <= max |A|: the largest (x - x')'A(y - y') for l1 distances of 1."""
    A = validate.array("A", A, ("n", "m"))
    rows = A[:, None] - A[None]
    return float(np.abs(rows[..., :, None] - rows[..., None, :]).max()) / 4


def improvement(R: float, eta: float) -> float:
    """1/eta - R/4: one step of MD with common payoffs of range R gains that much times ||x'-x||^2 + ||y'-y||^2, in l1.

    Each player's own gain is a Jeffreys divergence over eta, and |(x'-x)'A(y'-y)| <= (R/2) ||x'-x|| ||y'-y||.
    """
    return 1.0 / eta - R / 4.0


def signalling(R: float, eta: float) -> float:
    """1 - sqrt(eta R (e^(eta R) - 1))/4: the share of the first-order gain that a step of MD keeps, positive at
    eta R <= 2, where one player's public action follows a private card and the other answers, having his own card.

    First order is sum_h reach(h) <q_h, pi'_h - pi_h> = sum_h reach(h) Jeffreys_h/eta. What both moves add together is
    at most (R/2) sqrt(E chi2(pi'_1, pi_1)) sqrt(E ||pi'_2 - pi_2||^2); and where pi'_1/pi_1 <= w = e^(eta R), as here,
    chi2 <= (w - 1)/log w Jeffreys.
    """
    return 1.0 - math.sqrt(eta * R * math.expm1(eta * R)) / 4.0


def demo(rng: np.random.Generator) -> Result:
    """Twenty steps on rock, paper, scissors."""
    return run(Exact(biased_rps(1.0, 2.0, 1.0)), theory(0.5, 20, 2.0), rng)


def _given(access: Exact, params: Params, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """A (S, n, m) and B' (S, m, n); steps and temperatures."""
    validate.instance("access", access, Exact)
    model = validate.instance("access.model", access.model, MarkovGame)
    if (model.n, model.H) != (2, 1):
        raise MdpkitError("access.model", "a game of two players and one step", None,
                          came=f"it has {model.n} players and {model.H} steps")
    A, B = model.r[:, 0]
    return (A.copy(), np.ascontiguousarray(B.transpose(0, 2, 1)), *_schedules(params, rng))


def _schedules(params: Params, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    validate.instance("params", params, Params)
    validate.generator("rng", rng)
    T = validate.count("params.T", params.T)
    validate.count("params.K", params.K, 0)
    if T % validate.count("params.every", params.every) != 0:
        raise MdpkitError("params.every", f"a divisor of T = {T}", params.every)
    etas, alphas = (validate.array(f"params.{name}", np.full(T, x) if np.ndim(x) == 0 else x, (T,))
                    for name, x in (("eta", params.eta), ("alpha", params.alpha)))
    if (etas <= 0).any() or (alphas < 0).any():
        raise MdpkitError("params", "such that eta > 0 and alpha >= 0", None)
    return etas.copy(), alphas.copy()


def _log(name: str, law: Any, shape: tuple[int, ...]) -> np.ndarray:
    law = np.full(shape, 1.0 / shape[-1]) if law is None else validate.simplex(name, law, shape)
    if (law == 0).any():
        raise MdpkitError(name, "positive (full support)", 0.0)
    return np.log(law)


def _table(name: str, table: Any, plays: Plays) -> np.ndarray:
    """Logs of a flat table of policies; uniform by default."""
    parts = [slice(a, b) for a, b in zip(plays.first[:-1], plays.first[1:])]
    return np.concatenate([_log(f"{name}[{p.start}:{p.stop}]", None if table is None else np.asarray(table)[p],
                                (p.stop - p.start,)) for p in parts])


def _descend_body(A, B, etas, alphas, K, rho_x, rho_y, log_x, log_y, out_x, out_y):
    """All steps on A (S, n, m) and B (S, m, n), in place on log_x, log_y and magnets; ``out`` takes the traced ones."""
    every, gx, gy = len(etas) // len(out_x), np.empty(A.shape[1]), np.empty(A.shape[2])
    for t in range(len(etas)):                                                         # 1
        if t % every == 0:
            copy(out_x[t // every], log_x)
            copy(out_y[t // every], log_y)
        if K > 0 and t % K == 0 and t > 0:
            copy(rho_x, log_x)                                                         # 2
            copy(rho_y, log_y)                                                         # 2
        eta, pull = etas[t], etas[t] * alphas[t]
        keep = 1.0 / (1.0 + pull)
        for s in range(len(A)):
            times(A[s], log_y[s], gx)                                                  # 3
            times(B[s], log_x[s], gy)                                                  # 3
            mirror(keep, log_x[s], keep * pull, rho_x[s], keep * eta, gx, log_x[s])    # 4
            mirror(keep, log_y[s], keep * pull, rho_y[s], keep * eta, gy, log_y[s])    # 4


def _everywhere_body(chance, payoff, moves, first, side, etas, alphas, log_rho, log_pi, out):
    """All steps on plays, in place on log_pi (E,); ``out`` (T/every, E)."""
    n, L = moves.shape
    every, q, reach = len(etas) // len(out), np.empty(len(log_pi)), np.empty(len(log_pi))
    for t in range(len(etas)):                                                         # 1
        if t % every == 0:
            copy(out[t // every], log_pi)
        for k in range(len(q)):
            q[k] = reach[k] = 0.0
        for i in range(n):
            for j in range(L):
                if moves[i, j] >= 0:
                    weight = chance[i]
                    for l in range(L):
                        if l != j and moves[i, l] >= 0:
                            weight *= math.exp(log_pi[moves[i, l]])
                    q[moves[i, j]] += weight * payoff[i]                               # 6
                    reach[moves[i, j]] += weight                                       # 6
        eta, pull = etas[t], etas[t] * alphas[t]
        keep = 1.0 / (1.0 + pull)
        for h in range(len(side)):
            a, b = first[h], first[h + 1]
            low = math.inf
            for k in range(a, b):
                low = min(low, reach[k])
            if low > 0.0:
                for k in range(a, b):
                    q[k] = side[h] * q[k] / reach[k]                                   # 6
                mirror(keep, log_pi[a:b], keep * pull, log_rho[a:b], keep * eta, q[a:b], log_pi[a:b])   # 4


_descend = kernel(_descend_body)
_everywhere = kernel(_everywhere_body)
