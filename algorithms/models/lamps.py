"""LAMPS and LAMPS-MM: lazy model-based policy search. One policy evaluation in the learnt model an iteration.

Discounted MDP, kernel P unknown, rewards r in [0, 1], gamma and rho's sampler given; Vmax = 1/(1-gamma). The learner
has a law nu of (s, a) by samples (such as the occupancy of an expert), and plays. d_pi is the normalised occupancy in
the true MDP; V^_pi, Q^_pi and A^_pi = Q^_pi - V^_pi are those of pi in the learnt model.

    1  pi_1 and every row of M_1 uniform; D empty
    2  for t = 1..T:  V_t, Q_t = V^, Q^ of pi_t in M_t
    3      m times: with probability ``share`` the next tuple (s, a, s') of the data from nu, else one from d_{pi_t}:
           follow pi_t from a start and stop at each step with probability 1 - gamma
    4      M_{t+1}(s'|s, a) = (prior/S + count of (s, a, s') in D)/(prior + count of (s, a))
    5      or, for each tuple in turn, row = Proj(row - 2 alpha (<row, V_t> - V_t(s')) V_t/Vmax^2), row = M(.|s, a)
    6      pi_{t+1}(a|s) prop. to pi_t(a|s) exp(eta Q_t(s, a))
    7      or pi_{t+1} optimal in M_{t+1}, by policy iteration
    8  return the uniform mixture of pi_1..pi_T (the trace)

`run` is LAMPS (lines 4 and 6: likelihood), `run_mm` LAMPS-MM (5 and 6: a gradient step on the squared value moment
(E_M V_t - E_P V_t)^2, V_t held fixed, Proj on the simplex), `run_planning` the usual system identification (4 and 7).

Guarantee (Lemma 3.1 and Theorem 4.1; upper bounds, the lemma an identity, the regret not tight), for every pi*:
    V_{pi*}(rho) - V_pi(rho) = ( E_{d_pi*} A^_pi + gamma E_{d_pi*}(P-M)V^_pi - gamma E_{d_pi}(P-M)V^_pi )/(1-gamma),
and along lines 2 and 6, whatever the models: sum_t E_{d_pi*} A^_{pi_t} <= log(A)/eta + eta T Vmax^2/8. With
eta = sqrt(8 log A/T)/Vmax and a model of no regret on nu/2 + d_{pi_t}/2 the mean gap vanishes like 1/sqrt(T). Stated as
recalled, the numbers included (the paper writes costs); only its abstract was at hand. The sure bound is derived.

Vemula, Song, Singh, Bagnell, Choudhury. The Virtues of Laziness in Model-based RL: A Unified Objective and Algorithms.
ICML 2023, arXiv 2303.00694.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from mdpkit import rational, validate
from mdpkit.access import Episodes
from mdpkit.data import draw_tuples
from mdpkit.errors import MdpkitError
from mdpkit.instances.formula import stationary
from mdpkit.jit import kernel
from mdpkit.kernels.choose import argmax
from mdpkit.measure.divergences import kl
from mdpkit.models.convert import to_episodic
from mdpkit.records import Dataset, Paper, Result
from mdpkit.worlds.markov import start, step

PAPER = Paper(
    "lamps", "The Virtues of Laziness in Model-based RL: A Unified Objective and Algorithms",
    "Anirudh Vemula, Yuda Song, Aarti Singh, J. Andrew Bagnell, Sanjiban Choudhury", "ICML 2023", "2303.00694",
    ("discounted", "hybrid", "model-based", "tabular"),
    """@inproceedings{vemula2023virtues,
  title     = {The Virtues of Laziness in Model-based {RL}: A Unified Objective and Algorithms},
  author    = {Vemula, Anirudh and Song, Yuda and Singh, Aarti and Bagnell, J. Andrew and Choudhury, Sanjiban},
  booktitle = {International Conference on Machine Learning},
  year      = {2023}
}""")

GAIN = 1e-10             # an action that gains less is not changed in line 7


@dataclass(frozen=True)
class Params:
    """T iterations of m tuples, step eta of the policy, share of nu, prior weight of a row, step alpha of line 5."""

    T: int
    m: int
    eta: float
    share: float = 0.5
    prior: float = 1.0
    alpha: float = 0.2


class Log(NamedTuple):
    """One row an iteration: pi_t, M_t, and the policy evaluations that the next policy took."""

    policy: np.ndarray      # (S, A)
    learnt: np.ndarray      # (S, A, S)
    evaluations: np.ndarray


def theory(T: int, m: int, A: int, gamma: float) -> Params:
    """The step that makes the sure bound least: eta = sqrt(8 log A/T)/Vmax; 1 with one action, where any will do."""
    T, m, A = validate.count("T", T), validate.count("m", m), validate.count("A", A)
    gamma = validate.interval("gamma", gamma, 0.0, 1.0, open_hi=True)
    return Params(T, m, (1 - gamma) * math.sqrt(8 * math.log(A) / T) if A > 1 else 1.0)


def run(access: Episodes, data: Dataset, params: Params, rng: np.random.Generator) -> Result:
    """LAMPS, by maximum likelihood.

    ``access`` is to a discounted model and grants r in [0, 1]; ``data`` holds T m independent tuples (n, 1) from nu or
    more (none are needed if the share is 0), of which each is used once at most and rewards not at all.

    Returns
    -------
    Result
        ``output`` is M_{T+1} (S, A, S); the mixture of line 8 is the trace, whose info holds each ``learnt`` model and
        how many policy ``evaluations`` each iteration took.
    """
    return _play(access, _begin(access, data, params), params, rng)


def run_mm(access: Episodes, data: Dataset, params: Params, rng: np.random.Generator) -> Result:
    """LAMPS-MM, by value moments. As `run` else."""
    return _play(access, _begin(access, data, params), params, rng, moments=1.0)


def run_planning(access: Episodes, data: Dataset, params: Params, rng: np.random.Generator) -> Result:
    """System identification: the policy of line 7, by policy iteration in the model. As `run` else; eta is not used."""
    return _play(access, _begin(access, data, params), params, rng, planning=1.0)


def advantage_terms(P: np.ndarray, M: np.ndarray, r: np.ndarray, gamma: Any, rho: np.ndarray, pi_star: np.ndarray,
                    pi: np.ndarray) -> tuple[Any, Any, Any, Any]:
    """The gap V_{pi*}(rho) - V_pi(rho) and the three terms whose sum it is, signs and 1/(1-gamma) included.

    On floats and on rational arrays, as all below. P, M (S, A, S), r (S, A), rho (S,), pi_star and pi (S, A).
    """
    d_star, d, V = occupancy(P, gamma, rho, pi_star), occupancy(P, gamma, rho, pi), evaluate(M, r, gamma, pi)
    A, wrong = r + gamma * (M @ V) - V[:, None], (P - M) @ V
    parts = (d_star * A).sum(), gamma * (d_star * wrong).sum(), -gamma * (d * wrong).sum()
    return ((d_star - d) * r).sum() / (1 - gamma), *(x / (1 - gamma) for x in parts)


def simulation_terms(P: np.ndarray, M: np.ndarray, r: np.ndarray, gamma: Any, rho: np.ndarray, pi_star: np.ndarray,
                     pi: np.ndarray) -> tuple[Any, Any, Any, Any]:
    """The gap, and the three parts of (V_{pi*} - V^_{pi*}) + (V^_{pi*} - V^_pi) - (V_pi - V^_pi) at rho: its equal."""
    (d_star, V_star), (d, V) = ((occupancy(P, gamma, rho, x), evaluate(M, r, gamma, x)) for x in (pi_star, pi))
    own = [gamma * (x * ((P - M) @ v)).sum() / (1 - gamma) for x, v in ((d_star, V_star), (d, V))]
    return ((d_star - d) * r).sum() / (1 - gamma), own[0], (rho * (V_star - V)).sum(), own[1]


def moment_bound(P: np.ndarray, M: np.ndarray, V: np.ndarray) -> np.ndarray:
    """|P - M|_1 (max V - min V)/2, (S, A): at least |(P - M) V|."""
    return np.abs(P - M).sum(-1) * (V.max() - V.min()) / 2


def class_losses(P: np.ndarray, models: np.ndarray, nu: np.ndarray, V: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """E_nu KL(P, M) as floats, and E_nu ((P - M) V_M)^2, (K,), of models (K, S, A, S) with values V_M (K, S)."""
    p, q, weight = (x.astype(np.float64) for x in (P[nu > 0], models[:, nu > 0], nu[nu > 0]))
    wrong = np.array([(P - M) @ v for M, v in zip(models, V)])
    return np.array([weight @ kl(p, rows) for rows in q]), (nu * wrong * wrong).sum((1, 2))


def bound(A: int, gamma: float, eta: float, T: Any) -> Any:
    """log(A)/eta + eta T Vmax^2/8; an array for an array of T."""
    return math.log(A) / eta + eta * T / (8 * (1 - gamma) ** 2)


def evaluate(P: np.ndarray, r: np.ndarray, gamma: Any, pi: np.ndarray) -> np.ndarray:
    """V (S,) of pi in the kernel P, by a linear solve."""
    return rational.solve(rational.eye(len(r), P) - gamma * (pi[..., None] * P).sum(1), (pi * r).sum(1))


def occupancy(P: np.ndarray, gamma: Any, rho: np.ndarray, pi: np.ndarray) -> np.ndarray:
    """d (S, A) of pi in the kernel P, normalised."""
    flow = (rational.eye(len(pi), P) - gamma * (pi[..., None] * P).sum(1)).T
    return rational.solve(flow, (1 - gamma) * rho)[:, None] * pi


def demo(rng: np.random.Generator) -> Result:
    """Ten iterations on F(4, 3), gamma = 0.9, with a uniform nu."""
    model = stationary(4, 3, 0.9)
    data = draw_tuples(to_episodic(model, 1), np.full((1, 4, 3), 1 / 12), 100, rng)
    return run(Episodes(model, rng, grant=("r",)), data, theory(10, 10, 3, 0.9), rng)


def _misfit(P: np.ndarray, M: np.ndarray, r: np.ndarray, gamma: Any, rho: np.ndarray, pi: np.ndarray) -> Any:
    """V_pi(rho) - V^_pi(rho) by the simulation lemma."""
    wrong = (P - M) @ evaluate(M, r, gamma, pi)
    return gamma * (occupancy(P, gamma, rho, pi) * wrong).sum() / (1 - gamma)


def _begin(access: Episodes, data: Dataset, params: Params) -> np.ndarray:
    """The tuples (s, a, s') of the data, (n, 3)."""
    for name, value, kind in (("access", access, Episodes), ("params", params, Params), ("data", data, Dataset)):
        validate.instance(name, value, kind)
    for name, hi in (("eta", math.inf), ("prior", math.inf), ("alpha", 1.0)):
        validate.interval(f"params.{name}", getattr(params, name), 0.0, hi, open_lo=True, open_hi=hi > 1)
    needed = validate.count("params.T", params.T) * validate.count("params.m", params.m)
    needed = needed if validate.interval("params.share", params.share, 0.0, 1.0) else 0
    validate.within("access.known.r", access.known.r, 0.0, 1.0)
    if data.H != 1 or data.n < needed:
        raise MdpkitError("data", f"of 1 step and at least {needed} rows", None,
                          came=f"it has {data.H} steps and {data.n} rows")
    s, a, _, s_next = data.fits(access.known.S, access.known.A).steps
    return np.stack([s[:, 0], a[:, 0], s_next[:, 0]], axis=1)


def _play(access: Episodes, data: np.ndarray, params: Params, rng: np.random.Generator, moments: float = 0.0,
          planning: float = 0.0) -> Result:
    S, A, r = access.known.S, access.known.A, access.known.r
    gamma, room = access.known.gamma, (np.zeros(S), np.zeros((S, A)), np.zeros((S, S)))
    settings = np.array([params.m, params.eta, params.share, params.prior, 2 * params.alpha * (1 - gamma) ** 2, gamma,
                         moments, planning])
    pi, M, used = np.full((S, A), 1.0 / A), np.full((S, A, S), 1.0 / S), np.zeros(1, np.int64)   # 1
    state = (data, used, r, settings, np.zeros((S, A, S)), M, np.zeros((S, A)), pi, *room)
    trace = access.drive(_loop, state, Log(pi, M, np.zeros(())), params.T, rng)
    return Result(M, trace, params, {"offline": int(used[0]), **access.samples})


def _evaluate_body(M, r, gamma, pi, flow, V, Q):
    """V and Q of pi in M by elimination. I - gamma M_pi is diagonally dominant: no pivoting."""
    S, A = r.shape
    for s in range(S):
        V[s] = 0.0
        for t in range(S):
            flow[s, t] = 1.0 if s == t else 0.0
        for a in range(A):
            V[s] += pi[s, a] * r[s, a]
            for t in range(S):
                flow[s, t] -= gamma * pi[s, a] * M[s, a, t]
    for k in range(S):
        for s in range(S):
            x = flow[s, k] / flow[k, k] if s != k else 0.0
            for t in range(k, S):
                flow[s, t] -= x * flow[k, t]
            V[s] -= x * V[k]
    for s in range(S):
        V[s] /= flow[s, s]
    for s in range(S):
        for a in range(A):
            x = 0.0
            for t in range(S):
                x += M[s, a, t] * V[t]
            Q[s, a] = r[s, a] + gamma * x


def _moment_body(M, s, a, t, V, scale):
    """Line 5: a gradient step, then the projection by dropping entries below the threshold until none is."""
    S = V.shape[0]
    x, n, before = -V[t], S, S + 1
    for z in range(S):
        x += M[s, a, z] * V[z]
    for z in range(S):
        M[s, a, z] -= scale * x * V[z]
    low = -np.inf
    while n < before:
        total, before, n = -1.0, n, 0
        for z in range(S):
            total += M[s, a, z] if M[s, a, z] > low else 0.0
        low = total / before
        for z in range(S):
            n += 1 if M[s, a, z] > low else 0
    for z in range(S):
        M[s, a, z] = max(M[s, a, z] - low, 0.0)


def _loop_body(world, data, used, r, settings, counts, M, theta, pi, V, Q, flow, log, first, rng):
    """``settings``: m, eta, share, prior, step of line 5, gamma, whether line 5 replaces 4, whether 7 replaces 6."""
    S, A = r.shape
    m, eta, share, prior, gamma = int(settings[0]), settings[1], settings[2], settings[3], settings[5]
    for i in range(log.evaluations.shape[0]):                                          # 2
        gained = True
        while gained:
            _evaluate(M, r, gamma, pi, flow, V, Q)                                     # 2
            log.evaluations[i] += 1.0
            gained = settings[7] > 0.0 and first + i > 0 and _improve(Q, V, pi)        # 7
        for s in range(S):
            for a in range(A):
                log.policy[i, s, a] = pi[s, a]
                for t in range(S):
                    log.learnt[i, s, a, t] = M[s, a, t]
        for _ in range(m):                                                             # 3
            nu = rng.random() < share
            if nu:
                s, a, t = data[used[0], 0], data[used[0], 1], data[used[0], 2]         # 3
                used[0] += 1
            else:
                s, a, t = start(world), 0, 0
            while not nu:                                                              # 3
                u, a = rng.random(), 0
                while a < A - 1 and u >= pi[s, a]:
                    u -= pi[s, a]
                    a += 1
                t = step(world, a)[1]
                if rng.random() >= gamma:
                    break
                s = t
            counts[s, a, t] += 1.0
            if settings[6] > 0.0:
                _moment(M, s, a, t, V, settings[4])                                     # 5
            else:
                total = prior
                for z in range(S):
                    total += counts[s, a, z]
                for z in range(S):
                    M[s, a, z] = (prior / S + counts[s, a, z]) / total                 # 4
        if settings[7] == 0.0:
            for s in range(S):
                top, total = theta[s, 0] + eta * Q[s, 0], 0.0
                for a in range(A):
                    theta[s, a] += eta * Q[s, a]                                       # 6
                    top = max(top, theta[s, a])
                for a in range(A):
                    pi[s, a] = math.exp(theta[s, a] - top)
                    total += pi[s, a]
                for a in range(A):
                    pi[s, a] /= total                                                  # 6


def _improve_body(Q, V, pi):
    """A step of policy iteration for line 7, ties to the lowest index; whether it gained anything."""
    gained = False
    for s in range(Q.shape[0]):
        best = argmax(Q[s])
        if Q[s, best] > V[s] + GAIN:
            gained = True
            for a in range(Q.shape[1]):
                pi[s, a] = 1.0 if a == best else 0.0
    return gained


_evaluate = kernel(_evaluate_body)
_moment = kernel(_moment_body)
_improve = kernel(_improve_body)
_loop = kernel(_loop_body)
