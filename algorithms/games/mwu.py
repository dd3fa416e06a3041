"""MWU: Hedge against any losses, and in zero-sum games against itself, plain and optimistic.

Experts: losses l_t in [0, 1]^A, all of them seen after each round. Games: M (n, m) with entries in [0, 1]; x in the
n-simplex minimises x'My, y in the m-simplex maximises it, and
    gap(x, y) = max_j (M'x)_j - min_i (My)_i >= 0,
which is 0 at equilibrium alone. R_x and R_y are the regrets against fixed actions.

    1  L = l = 0 (losses of x), G = g = 0 (gains of y); x_1, y_1 with full support, uniform where nothing is said
    2  for t = 1..T:  x_t proportional to x_1 exp(-eta (L + w l)),  y_t to y_1 exp(eta (G + w g)), both at once
    3      l = M y_t (`hedge`: the next losses),  g = M' x_t
    4      L = L + l,  G = G + g
    5  return the averages of x_1..x_T and y_1..y_T

w = 0 is MWU; w = 1 is OMWU, to which the last loss counts twice.

Guarantees (Theorem 2.2 of Cesa-Bianchi and Lugosi for the constants; the others as recalled, without their wording)
    Hedge: sum <p_t, l_t> - min_a sum l_t(a) <= ln A/eta + eta T/8 for every sequence, sqrt(T ln A/2) with the step of
        `theory`: tight in its order, and in its constant as A and T grow. <= ln A/eta + (eta/2) sum <p_t, l_t^2> for
        l_t >= 0.
    games: gap of the averages = (R_x + R_y)/T, exactly, whatever the learners.
    OMWU with eta <= 1/4 against itself: R_x + R_y <= (ln n + ln m)/eta for all T, so that the average gap is O(1/T);
        MWU only has O(1/sqrt(T)).
    last iterates, at an interior equilibrium: KL(x*||x_t) + KL(y*||y_t) rises at every step of MWU; OMWU converges
        if eta is small and the equilibrium unique, but at no uniform rate.

Freund, Schapire. A Decision-Theoretic Generalization of On-Line Learning. JCSS 55, 1997; Adaptive Game Playing Using
Multiplicative Weights. GEB 29, 1999. Cesa-Bianchi, Lugosi. Prediction, Learning, and Games. 2006. Rakhlin, Sridharan.
Optimization, Learning, and Games with Predictable Sequences. NeurIPS 2013, arXiv 1311.1869. Syrgkanis, Agarwal, Luo,
Schapire. Fast Convergence of Regularized Learning in Games. NeurIPS 2015, arXiv 1507.00407. Bailey, Piliouras.
Multiplicative Weights Update in Zero-Sum Games. EC 2018. Daskalakis, Panageas. Last-Iterate Convergence: Zero-Sum
Games and Constrained Min-Max Optimization. ITCS 2019, arXiv 1807.04252.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from mdpkit import validate
from mdpkit.access import Exact
from mdpkit.errors import MdpkitError
from mdpkit.jit import kernel
from mdpkit.kernels.mirror import mirror, times
from mdpkit.models.games import MarkovGame
from mdpkit.records import Paper, Result, Trace

PAPER = Paper(
    "mwu", "A Decision-Theoretic Generalization of On-Line Learning and an Application to Boosting",
    "Yoav Freund, Robert E. Schapire", "JCSS 1997", "",
    ("games", "zero-sum", "online learning", "experts", "full information"),
    """@article{freund1997decision,
  title   = {A Decision-Theoretic Generalization of On-Line Learning and an Application to Boosting},
  author  = {Freund, Yoav and Schapire, Robert E.},
  journal = {Journal of Computer and System Sciences},
  volume  = {55},
  number  = {1},
  pages   = {119--139},
  year    = {1997}
}""")


@dataclass(frozen=True)
class Params:
    """Step size eta > 0, T rounds, and x_1 (n,), y_1 (m,) with full support; uniform where omitted."""

    eta: float
    T: int
    x: Any = None
    y: Any = None


def theory(T: int, A: int) -> Params:
    """eta = sqrt(8 ln A/T), for T known and A actions; with one action there is nothing to learn, and eta is 1."""
    T, A = validate.count("T", T), validate.count("A", A)
    return Params(math.sqrt(8 * math.log(A) / T) if A > 1 else 1.0, T)


def run(access: Exact, params: Params, rng: np.random.Generator) -> Result:
    """MWU against itself.

    Parameters
    ----------
    access : Exact
        To a zero-sum game of one state and one step. M is what the second player, who owns the columns, gets; its
        entries must be in [0, 1].
    params : Params
    rng : numpy.random.Generator
        Not used.

    Returns
    -------
    Result
        ``output`` is the pair of averages, (n,) and (m,); the trace holds x_1..x_T, and in its info ``y`` (T, m),
        and the logarithms ``log_x`` and ``log_y`` of both, which do not underflow.
    """
    return _against_itself(access, params, rng, 0.0)


def run_optimistic(access: Exact, params: Params, rng: np.random.Generator) -> Result:
    """OMWU against itself. As `run` else."""
    return _against_itself(access, params, rng, 1.0)


def hedge(losses: np.ndarray, eta: float, w: float = 0.0) -> np.ndarray:
    """The plays p_1..p_T (T, A) on losses (T, A), from uniform: row t is a function of the rows before it.

    Parameters
    ----------
    losses : array (T, A)
        Any finite numbers; the first bound is about [0, 1].
    eta : float, > 0
    w : float
        0 for MWU, 1 for OMWU: how many times more the last loss counts.

    Raises
    ------
    MdpkitError
        Losses that are no finite table, eta <= 0 or w not finite.
    """
    losses = validate.array("losses", losses, ("T", "A"))
    eta = validate.interval("eta", eta, 0.0, math.inf, open_lo=True)
    log_p = np.empty(losses.shape)
    _experts(losses, eta, validate.real("w", w), log_p)
    return np.exp(log_p)


def self_play(M: np.ndarray, eta: float, T: int, w: float, x: Any = None, y: Any = None,
              ) -> tuple[np.ndarray, np.ndarray]:
    """log x_1..log x_T (T, n) and log y_1..log y_T (T, m) of any game M (n, m), with w as in `hedge`."""
    M = validate.array("M", M, ("n", "m"))
    eta = validate.interval("eta", eta, 0.0, math.inf, open_lo=True)
    log_x, log_y = np.empty((validate.count("T", T), M.shape[0])), np.empty((T, M.shape[1]))
    _play(M, np.ascontiguousarray(M.T), _start("x", x, M.shape[0]), _start("y", y, M.shape[1]), eta,
          validate.real("w", w), log_x, log_y)
    return log_x, log_y


def certificate(M: np.ndarray, x: np.ndarray, y: np.ndarray) -> tuple[Any, Any, Any]:
    """The gap of the averages, R_x and R_y, of any plays x (T, n), y (T, m). On floats and on rational arrays."""
    losses, gains = (M * y[:, None, :]).sum(-1), (M.T * x[:, None, :]).sum(-1)
    paid = (x * losses).sum()
    return gap(M, x.sum(0) / len(x), y.sum(0) / len(y)), paid - losses.sum(0).min(), gains.sum(0).max() - paid


def gap(M: np.ndarray, x: np.ndarray, y: np.ndarray) -> Any:
    """max_j (M'x)_j - min_i (My)_i, for x (..., n), y (..., m). On floats and on rational arrays."""
    return (M.T * x[..., None, :]).sum(-1).max(-1) - (M * y[..., None, :]).sum(-1).min(-1)


def regret_bound(A: int, eta: float, T: Any) -> Any:
    """ln A/eta + eta T/8; an array for an array of T."""
    return math.log(A) / eta + eta * T / 8


def demo(rng: np.random.Generator) -> Result:
    """Twenty rounds of OMWU on a game of two by three."""
    M = np.array([[0.0, 0.5, 1.0], [1.0, 0.25, 0.0]])
    return run_optimistic(Exact(MarkovGame.matrix(-M)), Params(0.25, 20), rng)


def _against_itself(access: Exact, params: Params, rng: np.random.Generator, w: float) -> Result:
    validate.instance("access", access, Exact)
    model = validate.instance("access.model", access.model, MarkovGame)
    validate.instance("params", params, Params)
    validate.generator("rng", rng)
    if (model.H, model.S) != (1, 1) or not model.is_zero_sum:
        raise MdpkitError("access.model", "a zero-sum game of one state and one step", None,
                          came=f"it has {model.S} states, {model.H} steps and {model.n} players")
    M = validate.within("access.model.r[1]", model.r[1, 0, 0], 0.0, 1.0)
    for name in ("eta", "T"):
        validate.real(f"params.{name}", getattr(params, name))
    log_x, log_y = self_play(M, params.eta, params.T, w, params.x, params.y)
    x, y = np.exp(log_x), np.exp(log_y)
    trace = Trace(x, np.arange(params.T), {"y": y, "log_x": log_x, "log_y": log_y})
    return Result((x.sum(0) / params.T, y.sum(0) / params.T), trace, params)           # 5


def _start(name: str, law: Any, n: int) -> np.ndarray:
    if law is None:
        return np.full(n, -math.log(n))
    law = validate.simplex(name, law, (n,))
    if (law == 0).any():
        raise MdpkitError(f"{name}[{int(np.argmin(law))}]", "positive: the start has full support", 0.0)
    return np.log(law)


def _experts_body(losses, eta, w, log_p):
    T, A = losses.shape
    start, L, seen = np.empty(A), np.zeros(A), np.zeros(A)
    for a in range(A):
        start[a] = -math.log(A)                                                        # 1
    for t in range(T):
        mirror(1.0, start, 0.0, start, -eta, seen, log_p[t])                           # 2
        for a in range(A):
            L[a] += losses[t, a]                                                       # 3, 4
            seen[a] = L[a] + w * losses[t, a]


def _play_body(M, Mt, log_x1, log_y1, eta, w, log_x, log_y):
    n, m = M.shape
    L, l, seen_x = np.zeros(n), np.zeros(n), np.zeros(n)                               # 1
    G, g, seen_y = np.zeros(m), np.zeros(m), np.zeros(m)
    for t in range(len(log_x)):
        mirror(1.0, log_x1, 0.0, log_x1, -eta, seen_x, log_x[t])                       # 2
        mirror(1.0, log_y1, 0.0, log_y1, eta, seen_y, log_y[t])                        # 2
        times(M, log_y[t], l)                                                          # 3
        times(Mt, log_x[t], g)                                                         # 3
        for i in range(n):
            L[i] += l[i]                                                               # 4
            seen_x[i] = L[i] + w * l[i]
        for j in range(m):
            G[j] += g[j]                                                               # 4
            seen_y[j] = G[j] + w * g[j]


_experts = kernel(_experts_body)
_play = kernel(_play_body)
