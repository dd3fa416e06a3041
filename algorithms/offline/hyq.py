"""Hy-Q: fitted Q-iteration on offline and online data together.

Episodic MDP, steps h = 0..H-1, total reward in [0, Vmax]. The learner has m_off logged tuples a step and plays
episodes; F_h is all functions (tabular) or <phi(s, a), w> (linear). No bonus, no pessimism.

    1  f^1 = 0;  for t = 1..T:
    2      pi^t = greedy(f^t)
    3      play m_on episodes of pi^t; at each step h add their tuple to D_h, keeping all earlier ones
    4      f_H = 0;  for h = H-1..0:
    5          f_h = argmin over F_h of sum over D_off,h and D_h of (f(s, a) - r - max_a' f_{h+1}(s', a'))^2
    6  return the uniform mixture of pi^1..pi^T (the trace)

In the tabular class line 5 is the mean of the targets of each (s, a); a pair without data keeps ``default``.

Guarantee (Theorem 1, upper bound, not tight): with probability 1 - delta,
    sum_t V^{pi_e} - V^{pi^t} = O~( max(C_{pi_e}, 1) Vmax sqrt(d H^2 T log(|F|/delta)) ),
with m_off = T, m_on = 1, transfer coefficient C_{pi_e} and bilinear rank d (tabular: d <= S A). Stated here as
recalled: the wording of the theorem was not at hand when this was written.

Song, Zhou, Sekhari, Bagnell, Krishnamurthy, Sun. Hybrid RL: Using Both Offline and Online Data Can Make RL
Efficient. ICLR 2023, arXiv 2210.06718, Algorithm 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from mdpkit import rational, validate
from mdpkit.access import Episodes, Exact
from mdpkit.data import collect
from mdpkit.errors import MdpkitError
from mdpkit.instances.locks import lucky_behaviour, lucky_traps
from mdpkit.iterate import iterate
from mdpkit.jit import kernel
from mdpkit.kernels import tally as tallies
from mdpkit.kernels.choose import argmax, argmax_random
from mdpkit.kernels.play import play
from mdpkit.kernels.tally import add, mean_targets, update_values
from mdpkit.measure.coverage import transfer_coefficient
from mdpkit.records import Dataset, Paper, Result
from mdpkit.worlds.markov import start, step

PAPER = Paper(
    "hyq", "Hybrid RL: Using Both Offline and Online Data Can Make RL Efficient",
    "Yuda Song, Yifei Zhou, Ayush Sekhari, J. Andrew Bagnell, Akshay Krishnamurthy, Wen Sun", "ICLR 2023",
    "2210.06718", ("episodic", "hybrid", "tabular", "linear"),
    """@inproceedings{song2023hybrid,
  title     = {Hybrid {RL}: Using Both Offline and Online Data Can Make {RL} Efficient},
  author    = {Song, Yuda and Zhou, Yifei and Sekhari, Ayush and Bagnell, J. Andrew and Krishnamurthy, Akshay and Sun, Wen},
  booktitle = {International Conference on Learning Representations},
  year      = {2023}
}""")  # noqa: E501


@dataclass(frozen=True)
class Params:
    """T iterations, m_off offline tuples a step, m_on online episodes an iteration; the value of an unseen pair."""

    T: int
    m_off: int
    m_on: int = 1
    default: float = 0.0
    random_ties: bool = False


class Log(NamedTuple):
    """One row an iteration: the policy played and the critic that it is greedy in."""

    policy: np.ndarray      # (H, S)
    f: np.ndarray           # (H, S, A)


class Linear(NamedTuple):
    """What linear Hy-Q remembers: sums over all tuples of each step, and the weights fitted to them."""

    G: np.ndarray           # (H, d, d) sum of phi phi'
    b: np.ndarray           # (H, d) sum of phi r
    M: np.ndarray           # (H, d, S) sum of phi at each successor
    f: np.ndarray           # (H, S, A)


def theory(T: int) -> Params:
    """Theorem 1: as many offline tuples a step as iterations, one episode an iteration."""
    return Params(T=validate.count("T", T), m_off=T)


def run(access: Episodes, data: Dataset, params: Params, rng: np.random.Generator) -> Result:
    """Tabular Hy-Q.

    Parameters
    ----------
    access : Episodes
    data : Dataset (at least params.m_off, H)
    params : Params
    rng : numpy.random.Generator
        Used for random ties only.

    Returns
    -------
    Result
        ``output`` is the last critic f^{T+1} (H, S, A); the mixture of line 6 is the trace, whose info holds every
        f^t; a watch sees the policies only.
    """
    H, S, A = _sizes(access)
    counts = tallies.of(_offline(data, params, H, S, A).steps, S, A)
    f, V = np.zeros((H, S, A)), np.zeros((H + 1, S))                                    # 1
    policy = rng.integers(0, A, (H, S)) if params.random_ties else np.zeros((H, S), np.int64)
    settings = np.array([params.default, params.random_ties, params.m_on, 0.0])
    kept = f if access.watch is None else f[:0]           # a watch sees the policies; f would be most of the work
    trace = access.drive(_loop, (counts, f, V, policy, settings), Log(policy, kept), params.T, rng)
    return Result(f, trace, params, {"offline": params.m_off, **access.samples})


def run_linear(access: Episodes, data: Dataset, params: Params, rng: np.random.Generator, *, vmax: float | None = None,
               ridge: float = 1e-8) -> Result:
    """Hy-Q with F_h = {<phi(s, a), w>}, clipped to [0, vmax] (H where omitted). Needs ``known.phi``."""
    H, S, A = _sizes(access)
    phi = access.known.phi
    d = phi.shape[2]
    steps = _offline(data, params, H, S, A).steps
    state = Linear(np.zeros((H, d, d)), np.zeros((H, d)), np.zeros((H, d, S)), np.zeros((H, S, A)))
    for i in range(len(steps.s)):
        _accumulate(state, phi, *(part[i] for part in steps))
    top = float(H) if vmax is None else validate.interval("vmax", vmax, 0.0, np.inf)

    def once(state: Linear, access: Any, rng: np.random.Generator) -> Linear:
        policy = np.ascontiguousarray(state.f.argmax(-1))                              # 2
        for _ in range(params.m_on):
            _accumulate(state, phi, *access.call(play, policy))                    # 3
        return _fit_linear(state, phi, top, ridge)                                     # 4, 5

    state, trace = iterate(once, state, access, params.T, rng, lambda x: (x.f.argmax(-1), {"f": x.f}))
    return Result(state.f, trace, params, {"offline": params.m_off, **access.samples})


def decomposition(P: np.ndarray, r: np.ndarray, rho: np.ndarray, f: np.ndarray, pi_e: np.ndarray,
                  ) -> tuple[Any, Any, Any, Any]:
    """V^{pi_e} - V^{pi_f}, and the three sums that it equals (Lemma 4 and its exact form): gap = I + II - III.

    I = sum_h E_{d_e}[T f_{h+1} - f_h], II = sum_h E_{d_f}[f_h - T f_{h+1}], III = sum_h E_{d_e}[max_a f_h - f_h] >= 0.
    The paper drops III. Works on floats and on rational arrays.

    Parameters
    ----------
    P (H, S, A, S), r (H, S, A), rho (S,), f (H, S, A), pi_e (H, S, A)
    """
    pi_f = _greedy(f)
    d_e, d_f = _occupancy(P, rho, pi_e), _occupancy(P, rho, pi_f)
    x = bellman_errors(P, r, f)
    gap = (d_e * r).sum() - (d_f * r).sum()
    return gap, (d_e * x).sum(), -(d_f * x).sum(), (d_e * (f.max(-1)[..., None] - f)).sum()


def bellman_errors(P: np.ndarray, r: np.ndarray, f: np.ndarray) -> np.ndarray:
    """x_h = T f_{h+1} - f_h, (..., H, S, A)."""
    V = f.max(-1)
    out = r - f
    for h in range(len(r) - 1):
        out[..., h, :, :] = out[..., h, :, :] + (P[h] @ V[..., h + 1, None, :, None])[..., 0]
    return out


def transfer(access: Exact, policy: Any, nu: Any, phi: Any = None) -> float:
    """The transfer coefficient C_pi over all functions, or over <phi, w>: closed form, math.inf without coverage."""
    return transfer_coefficient(access.model, policy, nu, phi)


def certificate(access: Exact, policy: Any, nu: np.ndarray, f: np.ndarray) -> tuple[Any, Any]:
    """The two parts of the bound on V^{pi_e} - V^{pi_f}: C_{pi_e} sqrt(sum_h E_nu x_h^2), and sum_h |<X_h, W_h>|.

    Floats for a critic f (H, S, A), arrays (n,) for several, f (n, H, S, A).
    """
    model = access.model
    C = transfer(access, policy, nu)
    x = bellman_errors(model.P, model.r, f)
    d = np.array([_occupancy(model.P, model.rho, pi) for pi in _greedy(f).reshape(-1, *model.r.shape)])
    return (C * np.sqrt((nu * x * x).sum((-3, -2, -1))),
            np.abs((d.reshape(f.shape) * x).sum((-2, -1))).sum(-1))


def potential(X: np.ndarray, W: np.ndarray, lam: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The potential argument along a run, X and W (T, d), Sigma_t = lam I + sum_{tau<t} X_tau X_tau'.

    Returns
    -------
    |<X_t, W_t>| (T,), its bound ||X_t||_{Sigma_t^-1} sqrt(sum_{tau<t} <X_tau, W_t>^2 + lam ||W_t||^2) (T,), and the
    squared norms ||X_t||^2_{Sigma_t^-1} (T,).
    """
    T, d = X.shape
    norms, bounds = np.empty(T), np.empty(T)
    for t in range(T):
        past = X[:t]
        Sigma = lam * np.eye(d) + past.T @ past
        norms[t] = X[t] @ np.linalg.solve(Sigma, X[t])
        bounds[t] = np.sqrt(norms[t] * (W[t] @ Sigma @ W[t]))
    return np.abs((X * W).sum(1)), bounds, norms


def demo(rng: np.random.Generator) -> Result:
    """Eight iterations on the lock with lucky traps, H = 3, A = 3."""
    model = lucky_traps(3, 3)
    data = collect(model, lucky_behaviour(3, 3), 8, rng)
    return run(Episodes(model, rng), data, theory(8), rng)


def _sizes(access: Episodes) -> tuple[int, int, int]:
    validate.instance("access", access, Episodes)
    return access.known.H, access.known.S, access.known.A


def _offline(data: Dataset, params: Params, H: int, S: int, A: int) -> Dataset:
    validate.instance("data", data, Dataset)
    validate.instance("params", params, Params)
    if data.H != H or data.n < params.m_off:
        raise MdpkitError("data", f"of {H} steps and at least m_off = {params.m_off} rows", None,
                          came=f"it has {data.H} steps and {data.n} rows")
    return data.fits(S, A).take(params.m_off)


def _greedy(f: np.ndarray) -> np.ndarray:
    pi = rational.zeros(f.shape, f)
    np.put_along_axis(pi, f.argmax(-1)[..., None], rational.eye(1, f)[0, 0], axis=-1)
    return pi


def _occupancy(P: np.ndarray, rho: np.ndarray, pi: np.ndarray) -> np.ndarray:
    d, here = rational.zeros(pi.shape, P), rho
    for h in range(len(pi)):
        d[h] = here[:, None] * pi[h]
        here = d[h].ravel() @ P[h].reshape(-1, P.shape[-1])
    return d


def _accumulate(state: Linear, phi: np.ndarray, s: np.ndarray, a: np.ndarray, r: np.ndarray,
                s_next: np.ndarray) -> None:
    for h in range(len(s)):
        x = phi[s[h], a[h]]
        state.G[h] += np.outer(x, x)
        state.b[h] += x * r[h]
        state.M[h, :, s_next[h]] += x


def _fit_linear(state: Linear, phi: np.ndarray, top: float, ridge: float) -> Linear:
    H, d, _ = state.G.shape
    f = np.zeros_like(state.f)
    V = np.zeros(f.shape[1])
    for h in range(H - 1, -1, -1):                                                     # 4
        w = np.linalg.solve(state.G[h] + ridge * np.eye(d), state.b[h] + state.M[h] @ V)   # 5
        f[h] = np.clip(phi @ w, 0.0, top)
        V = f[h].max(-1)
    return state._replace(f=f)


def _loop_body(world, counts, f, V, policy, settings, log, first, rng):
    """``settings``: value of unseen pairs, whether ties are random, episodes an iteration, whether f was ever fitted.

    A tie is drawn again whenever the data of its state changed.
    """
    H, S, A = f.shape
    default, random_ties, m_on = settings[0], settings[1] > 0.0, int(settings[2])
    played, new, changed = np.empty((H, S * A), np.int64), np.zeros(H, np.int64), np.empty(S, np.int64)
    for t in range(len(log.policy)):                                                   # 1
        for h in range(H):                                                             # 2
            new[h] = 0
            for s in range(S):
                log.policy[t, h, s] = policy[h, s]
        for h in range(log.f.shape[1]):                        # none where a watch sees the policies alone
            for s in range(S):
                for a in range(A):
                    log.f[t, h, s, a] = f[h, s, a]
        for _ in range(m_on):                                                          # 3
            s = start(world)
            for h in range(H):
                a = policy[h, s]
                reward, s_next = step(world, a)
                add(counts, h, s, a, reward, s_next)
                known = False
                for i in range(new[h]):
                    known = known or played[h, i] == s * A + a
                if not known:
                    played[h, new[h]] = s * A + a
                    new[h] += 1
                s = s_next
        if settings[3] == 0.0:
            _fit(counts, f, V, default, policy, random_ties, rng)                      # 4, 5
            settings[3] = 1.0
        else:
            update_values(counts, played, new, f, V, policy, random_ties, changed, rng)    # 4, 5, 2


def _fit_body(counts, f, V, default, policy, random_ties, rng):
    """Lines 4 and 5 in full, and line 2 of the next iteration."""
    H, S, _ = f.shape
    for h in range(H - 1, -1, -1):                                                     # 4
        mean_targets(counts, h, V[h + 1], default, f[h])                               # 5
        for s in range(S):
            policy[h, s] = argmax_random(f[h, s], rng) if random_ties else argmax(f[h, s])   # 2
            V[h, s] = f[h, s, policy[h, s]]


_fit = kernel(_fit_body)
_loop = kernel(_loop_body, checked=False)             # divisors: A, and visits of pairs that have some
