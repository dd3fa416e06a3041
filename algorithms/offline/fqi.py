"""Fitted Q-iteration: value iteration by regression on logged tuples.

Discounted MDP, rewards in [0, 1], Vmax = 1/(1-gamma); n tuples (s, a, r, s'), (s, a) ~ mu, which need not be one
trajectory. F is all functions on S x A (tabular) or <phi(s, a), w> (linear). Episodic: n tuples a step.

    1  f_0 = 0;  for k = 0..K-1:
    2      f_{k+1} = argmin over F of sum_i (f(s_i, a_i) - r_i - gamma max_a' f_k(s'_i, a'))^2
    3      clip f_{k+1} to [0, Vmax]
    4  return f_K; its policy is greedy, lowest index
    5  episodic: f_H = 0;  for h = H-1..0:
           f_h = argmin over F of sum_i (f(s_ih, a_ih) - r_ih - max_a' f_{h+1}(s'_ih, a'))^2, clipped to [0, H - h]

Line 2 takes the same batch each time, or with ``fresh`` the k-th of K equal ones. In the tabular class it is the mean
of the targets of each pair, and a pair without data has ``default``; in the linear one it is the least squares solution
of least norm. `iterates` is the population form: projection in L2(mu) of the true backup T f_k.

Guarantee (error propagation, Lemma 4 of the 2008 paper with one C; upper bounds), eps_k = f_{k+1} - T f_k:
    |Q* - f_K|_inf <= b = sum_k gamma^{K-1-k} |eps_k|_inf + gamma^K |Q* - f_0|_inf,  V* - V^{pi_K} <= 2 b/(1-gamma);
    V*(rho) - V^{pi_K}(rho) <= 2 sqrt(C) max_k |eps_k|_{2,mu}/(1-gamma)^2 + 2 gamma^K Vmax/(1-gamma),
C the largest Pr(s_t = s, a_t = a)/mu(s, a) over all t and policies. The first is tight, the second loose: the L_p form
of Munos and Szepesvari has a discounted mean of C's over t. Derived; that lemma and its number are recalled, wordings
were not at hand.

Ernst, Geurts, Wehenkel. Tree-Based Batch Mode Reinforcement Learning. JMLR 6, 2005. Munos. Error Bounds for
Approximate Policy Iteration. ICML 2003. Munos, Szepesvari. Finite-Time Bounds for Fitted Value Iteration. JMLR 9, 2008.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from mdpkit import rational, validate
from mdpkit.access import Episodes
from mdpkit.data import draw_tuples
from mdpkit.errors import MdpkitError
from mdpkit.instances.formula import stationary
from mdpkit.iterate import iterate
from mdpkit.models.convert import to_episodic
from mdpkit.records import Dataset, Paper, Result, Steps

PAPER = Paper(
    "fqi", "Tree-Based Batch Mode Reinforcement Learning (with Finite-Time Bounds for Fitted Value Iteration)",
    "Damien Ernst, Pierre Geurts, Louis Wehenkel, Rémi Munos, Csaba Szepesvári", "JMLR 2005, JMLR 2008", "",
    ("discounted", "episodic", "offline", "tabular", "linear"),
    """@article{ernst2005tree,
  title   = {Tree-Based Batch Mode Reinforcement Learning},
  author  = {Ernst, Damien and Geurts, Pierre and Wehenkel, Louis},
  journal = {Journal of Machine Learning Research},
  volume  = {6},
  year    = {2005}
}
@article{munos2008finite,
  title   = {Finite-Time Bounds for Fitted Value Iteration},
  author  = {Munos, R{\\'e}mi and Szepesv{\\'a}ri, Csaba},
  journal = {Journal of Machine Learning Research},
  volume  = {9},
  year    = {2008}
}""")


@dataclass(frozen=True)
class Params:
    """K iterations (episodic: H, and K is not used), the value of an unseen pair, and whether batches are fresh."""

    K: int
    default: float = 0.0
    fresh: bool = False


def theory(eps: float, gamma: float) -> Params:
    """The least K for which the last term of the L2 bound, 2 gamma^K/(1-gamma)^2, is at most eps."""
    gamma = validate.interval("gamma", gamma, 0.0, 1.0, open_hi=True)
    eps = validate.interval("eps", eps, 0.0, math.inf, open_lo=True)
    K = math.log(2 / ((1 - gamma) ** 2 * eps)) / -math.log(gamma) if gamma > 0 else 1.0
    return Params(max(1, math.ceil(K)))


def run(access: Episodes, data: Dataset, params: Params, rng: np.random.Generator) -> Result:
    """Tabular FQI.

    Parameters
    ----------
    access : Episodes
        To a discounted model. Tells the sizes; nothing is played.
    data : Dataset (n, 1)
    params : Params
    rng : numpy.random.Generator
        Not used.

    Returns
    -------
    Result
        ``output`` is f_K (S, A); the trace holds the greedy policies (S,) of f_0..f_{K-1} and, in its info, each ``f``.
    """
    return _discounted(access, data, params, rng, None)


def run_linear(access: Episodes, data: Dataset, params: Params, rng: np.random.Generator) -> Result:
    """FQI with F = {<phi(s, a), w>}, phi (S, A, d) from ``known.phi``; the default is not used. As `run` else."""
    return _discounted(access, data, params, rng, access.known.phi)


def run_episodic(access: Episodes, data: Dataset, params: Params, rng: np.random.Generator) -> Result:
    """Lines 5 and 4 with all functions, for an episodic model and data (n, H); ``output`` is f (H, S, A)."""
    return _episodic(access, data, params, rng, None)


def run_episodic_linear(access: Episodes, data: Dataset, params: Params, rng: np.random.Generator) -> Result:
    """Lines 5 and 4 with F_h = {<phi(s, a), w>}, phi (S, A, d) from ``known.phi``. As `run_episodic` else."""
    return _episodic(access, data, params, rng, access.known.phi)


def regress(steps: Steps, f: np.ndarray, gamma: Any, phi: np.ndarray) -> np.ndarray:
    """Line 2, tuple by tuple: the fit (S, A) to tuples (n,), for f (S, A) and phi (S, A, d).

    On floats and on rational arrays; there the features of the data must have full rank.
    """
    s, a, r, s_next = steps
    x = phi[s, a]
    return phi @ least_squares(x, rational.zeros((len(s),), x) + 1, r + gamma * f[s_next].max(-1))      # 2


def least_squares(x: np.ndarray, weight: np.ndarray, y: np.ndarray) -> np.ndarray:
    """w (d,) that minimises sum_i weight_i (<x_i, w> - y_i)^2; of least norm for floats, unique for rationals.

    For the identity in place of y the matrix (d, n) that takes y to w.
    """
    if rational.is_exact(x):
        return rational.solve(x.T @ (weight[:, None] * x), x.T @ (weight * y))
    root = np.sqrt(weight)
    return np.linalg.lstsq(root[:, None] * x, root * y, rcond=None)[0]


def projection(weight: np.ndarray, phi: np.ndarray | None, default: Any) -> Callable[[np.ndarray], np.ndarray]:
    """From y (S, A) to the element of F nearest to it in L2(weight), all (S, A); without phi that is y itself, and
    ``default`` off the support. What only the weights decide is computed once.
    """
    seen = weight > 0
    if phi is None:
        return lambda y: np.where(seen, y, default)
    onto = phi @ least_squares(phi[seen], weight[seen], rational.eye(int(seen.sum()), phi))            # (S, A, seen)
    return lambda y: onto @ y[seen]


def iterates(mu: np.ndarray, r: np.ndarray, P: np.ndarray, gamma: Any, K: int, phi: np.ndarray | None = None,
             top: Any = None, start: np.ndarray | None = None) -> np.ndarray:
    """f_0..f_K (K+1, S, A) of the population form; of the empirical one with its counts, means and frequencies.

    On floats and on rational arrays. mu, r (S, A), P (S, A, S); clipped to [0, top] unless ``top`` is None; f_0 is
    ``start`` or 0; without phi F is all functions, 0 where mu is.
    """
    out = [rational.zeros(r.shape, r) if start is None else start]                                      # 1
    nearest = projection(mu, phi, out[0].flat[0] * 0)
    for _ in range(K):                                                                                  # 1
        out.append(_clip(nearest(r + gamma * (P @ out[-1].max(-1))), top))                              # 2, 3
    return np.array(out)


def sup_bound(eps: Any, gamma: Any, start: Any) -> tuple[Any, Any]:
    """b from the sup norms of eps_0..eps_{K-1} and of Q* - f_0, and 2 b/(1-gamma)."""
    K = len(eps)
    b = sum((gamma ** (K - 1 - k) * eps[k] for k in range(K)), gamma**K * start)
    return b, 2 * b / (1 - gamma)


def l2_bound(C: float, eps: float, gamma: float, K: int) -> float:
    """The second bound, from C and the largest |eps_k|_{2,mu}; math.inf where C is."""
    if math.isinf(C):
        return math.inf
    return 2 * math.sqrt(C) * eps / (1 - gamma) ** 2 + 2 * gamma**K / (1 - gamma) ** 2


def concentrability(P: np.ndarray, rho: np.ndarray, mu: np.ndarray, T: int = 200) -> tuple[float, float]:
    """C from below, over t <= T, and from above: P (S, A, S), rho (S,), mu (S, A). math.inf where mu misses a pair.

    max over policies and starts of Pr(s_t = s) does not grow with t, hence bounds what comes after T.
    """
    W, reached = np.eye(len(rho)), rho.copy()
    for _ in range(T):
        before, W = W, (P @ W).max(1)
        if (before == W).all():                 # for good
            break
        reached = np.maximum(reached, rho @ W)
    later = np.where(reached > 0, np.maximum(reached, W[reached > 0].max(0)), 0.0)
    least = mu.min(-1)
    if ((least == 0) & (reached > 0)).any():
        return math.inf, math.inf
    live = reached > 0
    return float((reached[live] / least[live]).max()), float((later[live] / least[live]).max())


def episodic_bound(P: np.ndarray, r: np.ndarray, f: np.ndarray, d_star: np.ndarray, d: np.ndarray) -> Any:
    """sum_h E_{d*_h} |f_h - T f_{h+1}| + E_{d_h} |f_h - T f_{h+1}|, all (H, S, A) but P (H, S, A, S)."""
    error = r - f
    for h in range(len(f) - 1):
        error[h] = error[h] + P[h] @ f[h + 1].max(-1)
    return ((d_star + d) * np.abs(error)).sum()


def demo(rng: np.random.Generator) -> Result:
    """Ten iterations on 200 tuples of F(4, 3), gamma = 0.8."""
    model = stationary(4, 3, 0.8)
    data = draw_tuples(to_episodic(model, 1), np.full((1, 4, 3), 1 / 12), 200, rng)
    return run(Episodes(model, rng), data, Params(10), rng)


def _clip(f: np.ndarray, top: Any) -> np.ndarray:
    return f if top is None else np.minimum(np.maximum(f, 0 * top), top)


def _discounted(access: Episodes, data: Dataset, params: Params, rng: np.random.Generator,
                phi: np.ndarray | None) -> Result:
    S, A, steps = _given(access, data, params, rng, 1)
    gamma, K = access.known.gamma, params.K
    parts = [Steps(*(x[k::K, 0] for x in steps)) for k in range(K)] if params.fresh else \
        [Steps(*(x[:, 0] for x in steps))]
    means = [_means(part, S, A) for part in parts]
    batches = [(projection(N, phi, params.default), r, P) for N, r, P in means] * (K // len(parts))

    def once(state: tuple, access: Any, rng: np.random.Generator) -> tuple:
        k, f = state
        nearest, r, P = batches[k]
        return k + 1, _clip(nearest(r + gamma * (P @ f.max(-1))), 1 / (1 - gamma))                     # 2, 3

    record = lambda state: (state[1].argmax(-1), {"f": state[1]})
    (_, f), trace = iterate(once, (0, np.zeros((S, A))), access, K, rng, record)                       # 1
    return Result(f, trace, params, {"offline": data.n, **access.samples})                             # 4


def _episodic(access: Episodes, data: Dataset, params: Params, rng: np.random.Generator,
              phi: np.ndarray | None) -> Result:
    H = access.known.H
    S, A, steps = _given(access, data, params, rng, H)
    f, V = np.zeros((H, S, A)), np.zeros(S)
    for h in range(H - 1, -1, -1):                                                                     # 5
        N, r, P = _means(Steps(*(part[:, h] for part in steps)), S, A)
        f[h] = _clip(projection(N, phi, params.default)(r + P @ V), float(H - h))                      # 5
        V = f[h].max(-1)
    return Result(f, None, params, {"offline": data.n, **access.samples})                              # 4


def _means(steps: Steps, S: int, A: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Visits (S, A), mean rewards (S, A) and frequencies of successors (S, A, S) of tuples (n,); 0 where unseen."""
    s, a, r, s_next = steps
    pair = s * A + a
    N = np.bincount(pair, minlength=S * A).reshape(S, A).astype(float)
    many = np.maximum(N, 1.0)
    moves = np.bincount(pair * S + s_next, minlength=S * A * S).reshape(S, A, S)
    return N, np.bincount(pair, r, S * A).reshape(S, A) / many, moves / many[..., None]


def _given(access: Episodes, data: Dataset, params: Params, rng: np.random.Generator,
           H: int) -> tuple[int, int, Steps]:
    for name, value, kind in (("access", access, Episodes), ("data", data, Dataset), ("params", params, Params)):
        validate.instance(name, value, kind)
    K = validate.count("params.K", params.K)
    validate.real("params.default", params.default)
    validate.generator("rng", rng)
    if data.H != H or data.n < (K if params.fresh else 1):
        raise MdpkitError("data", f"of {H} steps and at least {K if params.fresh else 1} rows", None,
                          came=f"it has {data.H} steps and {data.n} rows")
    return access.known.S, access.known.A, data.fits(access.known.S, access.known.A).steps
