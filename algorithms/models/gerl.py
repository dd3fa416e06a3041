"""GERL_MG2: representation learning for low-rank general-sum Markov games.

n players, A joint actions j, known rewards r_i in [0, 1] and first law, steps h = 0..H-1. The kernel is
P_h(s'|s, j) = <phi_h(s, j), w_h(s')>, phi and w unknown. The learner plays episodes with joint (correlated) policies
pi_h(.|s) on all joint actions and looks for a coarse correlated (or correlated) equilibrium.

    1  pi^0 uniform;  for n = 1..N and each h:
    2      play pi^{n-1} before step h, then j_h uniform: tuple into D_h
    3      play pi^{n-1} before step h-1, then j_{h-1} and j_h uniform: tuple into D~_h
    4      learn phi_h and P_h on D_h and D~_h; beta_h = min(alpha |phi_h(s, j)|_{Sigma_h^-1}, H), where
           Sigma_h = sum over D_h of phi phi' + lam I
    5      U_H = L_H = 0;  for h = H-1..0 and each player i:
    6          Qu_i = min(r_i + beta + P U_i, H - h),  Ql_i = max(r_i - beta + P L_i, 0)
    7          pi_h(s) = oracle(Qu_1(s), .., Qu_n(s));  U_i = E_pi Qu_i,  L_i = E_pi Ql_i
    8      D_n = max_i <rho, U_i - L_i> + 2 H sqrt(A zeta/n)
    9  return the pi^n of the smallest D_n

Line 4 in four forms: `run` counts (all kernels, phi one-hot: beta = alpha/sqrt(count + lam), unseen rows uniform);
`run_model_based` takes the likeliest of a finite class of (phi, w); `run_model_free` takes from a class of phi the one
    argmin_phi max_f ( min_theta E(phi theta - f(s'))^2 - min_{phi~, theta~} E(phi~ theta~ - f(s'))^2 )
and P by ridge regression; `run_factored` learns each factor of P = prod_i P_i(s_i'|context_i) by counts, beta the sum
of the factors'. The oracle is the equilibrium of largest sum of the Qu_i, certified by its largest gain; a Nash
oracle, which the paper allows too, is left out: it has no linear program.

Guarantee (Theorem 4.1, model-based form, upper bound, not tight): with probability 1 - delta the returned policy's gap
is at most its D, and below eps after O~(H^6 d^4 A^2 log(|M|/delta)/eps^2) episodes; the model-free form has a larger
power of A, the factored one is exponential in the neighbourhood only. Stated as recalled, the number included: only
the paper's abstract, which says polynomial in H, d, A and 1/eps, was at hand.

Ni, Song, Zhang, Ding, Jin, Wang. Representation Learning for Low-Rank General-Sum Markov Games. ICLR 2023,
arXiv 2210.16976.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numba import float64

from mdpkit import rational, validate
from mdpkit.access import Episodes
from mdpkit.errors import MdpkitError
from mdpkit.instances import formula
from mdpkit.iterate import iterate
from mdpkit.jit import kernel
from mdpkit.kernels.backup import REALS
from mdpkit.records import Paper, Result
from mdpkit.solve.correlated import CUBE, sandwich
from mdpkit.worlds.games import start, step

GAIN = 1e-7              # the most that an oracle's law may leave to gain, in units of H

PAPER = Paper(
    "gerl", "Representation Learning for Low-Rank General-Sum Markov Games",
    "Chengzhuo Ni, Yuda Song, Xuezhou Zhang, Zihan Ding, Chi Jin, Mengdi Wang", "ICLR 2023", "2210.16976",
    ("episodic", "games", "low-rank", "tabular", "representation"),
    """@inproceedings{ni2023representation,
  title     = {Representation Learning for Low-Rank General-Sum Markov Games},
  author    = {Ni, Chengzhuo and Song, Yuda and Zhang, Xuezhou and Ding, Zihan and Jin, Chi and Wang, Mengdi},
  booktitle = {International Conference on Learning Representations},
  year      = {2023}
}""")


@dataclass(frozen=True)
class Params:
    """N iterations, scale of the bonus, ridge, scale of the model error in D_n, and the kind of equilibrium."""

    N: int
    alpha: float
    lam: float = 1.0
    zeta: float = 0.0
    oracle: str = "coarse"


class Proven(NamedTuple):
    """A policy, laws on joint actions with the last player fastest, and its D: what is logged and returned."""

    policy: np.ndarray          # (H, S, J)
    certificate: Any


class Factors(NamedTuple):
    """The value of each factor of a state, and the number of the context that its law depends on."""

    values: np.ndarray          # (M, S)
    contexts: np.ndarray        # (M, S, J)


def theory(N: int, H: int, A: int, d: int, size: int, delta: float) -> Params:
    """The orders that the theorem sets, all constants 1, for a class of ``size`` models and A joint actions."""
    N, H, A, d, size = (validate.count(k, x) for k, x in (("N", N), ("H", H), ("A", A), ("d", d), ("size", size)))
    log = math.log(N * H * size / validate.interval("delta", delta, 0.0, 1.0, open_lo=True, open_hi=True))
    return Params(N, H * math.sqrt(A * A * d * log), max(d * log, 1.0), log)


def run(access: Episodes, params: Params, rng: np.random.Generator) -> Result:
    """The tabular form: all kernels are in the class. ``access`` is to a Markov game and grants r and rho.

    The output is line 9, a `Proven`; the trace has pi^0..pi^{N-1}, which collect, and their D as ``certificate``."""
    r, sizes, joints, pi = _begin(access, params, rng)
    n, H, S, J = r.shape
    settings = np.array([params.alpha, params.lam, params.zeta, params.oracle == "correlated"], np.float64)
    learnt = (np.zeros((H, S, J)), np.zeros((H, S, J, S)), np.zeros((H, S, J, S)), np.zeros((H, S, J)))
    best, scores, values = pi.copy(), np.array([np.inf, float(H), 0.0]), np.zeros((2, n, H + 1, S))
    state = (sizes, joints, r, access.known.rho, settings, *learnt, pi, *values, best, scores)
    trace = access.drive(_loop, state, Proven(pi, scores[1]), params.N, rng)
    _exact_oracle(scores[2], H)
    return Result(Proven(best, float(scores[0])), trace, params, access.samples)


def run_model_based(access: Episodes, params: Params, rng: np.random.Generator) -> Result:
    """Maximum likelihood over ``known.models`` = (phi (K, H, S, J, d), w (K, H, d, S)); else as `run`."""
    phi, w = access.known.models
    P = phi @ w[:, :, None]

    def learn(visits: np.ndarray, moves: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        at = (np.array([maximum_likelihood(P[:, h], seen) for h, seen in enumerate(moves)]), np.arange(len(moves)))
        return P[at], bonuses(phi[at], visits, params)                                     # 4
    return _run(access, params, rng, learn)


def run_model_free(access: Episodes, params: Params, rng: np.random.Generator) -> Result:
    """Minimax over ``known.features`` (K, H, S, J, d) and ``known.discriminators`` (F, S); else as `run`."""
    phi, tests = access.known.features, access.known.discriminators

    def learn(visits: np.ndarray, moves: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        losses = projection_losses(np.swapaxes(phi, 0, 1), moves, tests)
        chosen = np.stack([phi[(x - x.min(0)).max(1).argmin(), h] for h, x in enumerate(losses)])
        G = np.einsum("hsji,hsj,hsjk->hik", chosen, moves.sum(-1), chosen) + params.lam * np.eye(phi.shape[-1])
        P = chosen @ np.linalg.solve(G, np.einsum("hsji,hsjt->hit", chosen, moves))[:, None]
        return P, bonuses(chosen, visits, params)                                          # 4
    return _run(access, params, rng, learn)


def run_factored(access: Episodes, params: Params, rng: np.random.Generator) -> Result:
    """Counts of each factor, whose contexts ``known.factors`` (`Factors`) tells; else as `run`."""
    parts = access.known.factors

    def learn(visits: np.ndarray, moves: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        counts = np.array([[np.bincount(c.ravel(), x.ravel())[c] for c in parts.contexts] for x in visits])
        beta = (params.alpha / np.sqrt(counts + params.lam)).sum(1)
        return np.stack([factored(x, parts) for x in moves]), np.minimum(beta, access.known.H)   # 4
    return _run(access, params, rng, learn)


def plan(P: np.ndarray, beta: np.ndarray, r: np.ndarray, rho: np.ndarray, sizes: Any,
         oracle: str = "coarse") -> tuple[Proven, np.ndarray, np.ndarray]:
    """Lines 5 to 8 (zeta = 0), U and L (n, H+1, S), on P (H, S, J, S), beta (H, S, J), r (n, H, S, J), rho (S,).

    Refuses an oracle's law that leaves more than 1e-7 H to gain."""
    n, H, S, J = r.shape
    pi, U, L = np.zeros((H, S, J)), np.zeros((n, H + 1, S)), np.zeros((n, H + 1, S))
    gain, width = sandwich(P, beta, r, rho, np.array(sizes), oracle == "correlated", pi, U, L)   # 5, 6, 7
    _exact_oracle(gain, H)
    return Proven(pi, width), U, L


def maximum_likelihood(P: np.ndarray, moves: np.ndarray) -> int:
    """The model of P (K, ..., S) under which counts ``moves`` (..., S) are likeliest; the first on ties."""
    with np.errstate(divide="ignore"):
        logs = np.log(P)
    seen = moves > 0
    return int(np.argmax([(moves[seen] * part[seen]).sum() for part in logs]))


def projection_losses(phi: np.ndarray, moves: np.ndarray, tests: np.ndarray) -> np.ndarray:
    """min_theta mean of (phi theta - f(s'))^2, (..., K, F): phi (..., K, S, J, d), counts (..., S, J, S), f (F, S)."""
    x = phi.reshape(*phi.shape[:-3], -1, phi.shape[-1])
    seen = moves.reshape(*moves.shape[:-3], 1, -1, moves.shape[-1])
    adjoint, n = np.swapaxes(x, -1, -2), seen.sum(-1, keepdims=True)
    size, axes = np.linalg.eigh(adjoint @ (n * x))               # directions without data are left out
    b = np.swapaxes(axes, -1, -2) @ (adjoint @ (seen @ tests.T))
    fitted = (b * b / np.where(size > 1e-15 * size[..., -1:], size, np.inf)[..., None]).sum(-2)
    return (seen.sum(-2) @ (tests * tests).T - fitted) / n.sum((-2, -1))[..., None]


def bonuses(phi: np.ndarray, visits: np.ndarray, params: Params) -> np.ndarray:
    """min(alpha |phi|_{Sigma^-1}, H), (H, S, J), for features (H, S, J, d) and the counts of D (H, S, J)."""
    H, S, J, d = phi.shape
    x = phi.reshape(H, S * J, d)
    Sigma = np.swapaxes(x, 1, 2) @ (x * visits.reshape(H, -1, 1)) + params.lam * np.eye(d)
    square = (x * np.swapaxes(np.linalg.solve(Sigma, np.swapaxes(x, 1, 2)), 1, 2)).sum(-1)
    return np.minimum(params.alpha * np.sqrt(square), H).reshape(H, S, J)


def factored(moves: np.ndarray, parts: Factors, pooled: bool = False) -> np.ndarray:
    """prod_i P_i (S, J, S) from counts (S, J, S); unseen contexts uniform. ``pooled``: one P_i for all factors."""
    k, v, M = int(parts.contexts.max()) + 1, int(parts.values.max()) + 1, len(parts.values)
    cells = ((np.arange(M)[:, None, None] * k + parts.contexts)[..., None] * v + parts.values[:, None, None]).ravel()
    counts = np.bincount(cells, np.broadcast_to(moves, (M, *moves.shape)).ravel(), M * k * v).reshape(M, k, v)
    counts = np.broadcast_to(counts.sum(0), counts.shape) if pooled else counts
    n, sizes = counts.sum(-1, keepdims=True), parts.values.max(1)[:, None, None] + 1
    laws = np.where(n > 0, counts / np.maximum(n, 1), np.where(np.arange(v) < sizes, 1 / sizes, 0.0))
    return laws.take(cells).reshape(M, *moves.shape).prod(0)


def factor_bound(p: np.ndarray, q: np.ndarray) -> Any:
    """sum_i TV(p_i, q_i) >= TV(prod p_i, prod q_i), for laws (M, v); on floats and on rationals."""
    return np.abs(p - q).sum() / 2


def one_step_back(phi: np.ndarray, w: np.ndarray, q: np.ndarray, g: np.ndarray, n: Any, lam: Any) -> np.ndarray:
    """The square of |phi(s, j)|_{Sigma^-1} sqrt(n A E[g^2] + lam d max g^2), (S, J); on floats and on rationals.

    Sigma = n E_q phi phi' + lam I, and E is over (s, j) ~ q, s' ~ P(s, j), j' uniform. phi (S, J, d) in the simplex,
    w (d, S) laws, q (S, J) a law, g (S, J) >= 0, n and lam > 0."""
    d = phi.shape[2]
    x, rows = phi.reshape(-1, d), q.reshape(-1)
    Sigma = n * (x.T @ (rows[:, None] * x)) + lam * rational.eye(d, phi)
    squares = (g * g).sum(-1)                            # A times the mean over a uniform joint action
    inside = n * (rows @ x @ w @ squares) + lam * d * (g * g).max()
    return np.array([part @ rational.solve(Sigma, part) * inside for part in x]).reshape(q.shape)


def demo(rng: np.random.Generator) -> Result:
    """Twelve iterations on the formula game with three states, H = 3."""
    return run(Episodes(formula.game(3, 2, 2, 3, zero_sum=False), rng, grant=("r", "rho")), Params(12, 0.5), rng)


def _begin(access: Episodes, params: Params, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    validate.instance("access", access, Episodes)
    validate.instance("params", params, Params)
    validate.count("params.N", params.N)
    validate.choice("params.oracle", params.oracle, ("coarse", "correlated"))
    for name in ("alpha", "lam", "zeta"):
        validate.interval(f"params.{name}", getattr(params, name), 0.0, math.inf, open_lo=name == "lam")
    validate.generator("rng", rng)
    r = validate.within("access.known.r", access.known.r, 0.0, 1.0)
    sizes = r.shape[3:]
    joints = np.ascontiguousarray(np.indices(sizes).reshape(len(sizes), -1).T)
    return r.reshape(*r.shape[:3], -1), np.array(sizes), joints, np.full((*r.shape[1:3], len(joints)), 1 / len(joints))


def _exact_oracle(gain: float, H: int) -> None:
    if not gain <= GAIN * H:
        raise MdpkitError("oracle", f"exact to {GAIN:g} H", None, came=f"a law leaves {gain:.3g} to gain")


def _run(access: Episodes, params: Params, rng: np.random.Generator, learn: Callable) -> Result:
    r, sizes, joints, pi = _begin(access, params, rng)
    _, H, S, J = r.shape
    visits, moves, best = np.zeros((H, S, J)), np.zeros((H, S, J, S)), Proven(pi, math.inf)

    def once(state: tuple, access: Any, rng: np.random.Generator) -> tuple:
        n, last, best = state
        access.call(_explore, joints, last.policy, visits, moves, rng)                     # 2, 3
        P, beta = learn(visits, moves)                                                     # 4
        (pi, D), *_ = plan(P, beta, r, access.known.rho, sizes, params.oracle)             # 5, 6, 7
        new = Proven(pi, D + 2 * H * math.sqrt(J * params.zeta / n))                       # 8
        return n + 1, new, new if new.certificate < best.certificate else best             # 9

    record = lambda state: (state[1].policy, {"certificate": state[1].certificate})
    (_, _, best), trace = iterate(once, (1, Proven(pi, float(H)), best), access, params.N, rng, record)
    return Result(best, trace, params, access.samples)


def _explore_body(world, joints, pi, visits, moves, rng):
    """Both kinds of tuples at each step; ``visits`` counts D alone."""
    H, _, J = pi.shape
    for h in range(H):
        for back in range(min(h, 1) + 1):
            s = start(world)
            for k in range(h + 1):
                u, j = rng.random(), 0
                if k >= h - back:
                    j = int(u * J)                                                         # 2, 3
                else:
                    for i in range(J):
                        if pi[k, s, i] > 0.0 and u >= 0.0:
                            j = i
                            u -= pi[k, s, i]
                _, t = step(world, joints[j])
                if k == h:
                    visits[h, s, j] += 1.0 - back
                    moves[h, s, j, t] += 1.0
                s = t


def _count_body(visits, moves, settings, P, beta):
    """Line 4 of the tabular form."""
    H, S, _ = visits.shape
    for h, s, j in np.ndindex(visits.shape):
        count = 0.0
        for t in range(S):
            count += moves[h, s, j, t]
        for t in range(S):
            P[h, s, j, t] = moves[h, s, j, t] / count if count > 0.0 else 1.0 / S
        beta[h, s, j] = min(settings[0] / math.sqrt(visits[h, s, j] + settings[1]), H)     # 4


def _copy_body(pi, out):             # assigning a whole array takes seconds to compile, for the words of its error
    for h, s, j in np.ndindex(pi.shape):
        out[h, s, j] = pi[h, s, j]


def _loop_body(world, sizes, joints, r, rho, settings, visits, moves, P, beta, pi, U, L, best, scores, log, first, rng):
    """``scores``: the smallest D, the last one, and the largest gain that an oracle left."""
    H, _, J = pi.shape
    for m in range(len(log.policy)):
        _copy(pi, log.policy[m])
        log.certificate[m] = scores[1]
        _explore(world, joints, pi, visits, moves, rng)                                    # 2, 3
        _count(visits, moves, settings, P, beta)                                           # 4
        gain, D = sandwich(P, beta, r, rho, sizes, settings[3] > 0.0, pi, U, L)            # 5, 6, 7
        scores[1] = D + 2.0 * H * math.sqrt(J * settings[2] / (first + m + 1.0))           # 8
        scores[2] = max(scores[2], gain)
        if scores[0] > scores[1]:
            scores[0] = scores[1]
            _copy(pi, best)                                                                # 9


_explore = kernel(_explore_body)
_count = kernel(_count_body, (REALS[3], REALS[4], REALS[1], float64[:, :, :, ::1], CUBE))
_copy = kernel(_copy_body, (REALS[3], CUBE))
_loop = kernel(_loop_body)
