"""Value iteration, policy iteration, and the lemmas that proofs about discounted MDPs rest on.

P (S, A, S), r (S, A) in [0, 1] and gamma in [0, 1) are known; T V(s) = max_a r(s, a) + gamma sum_z P(z|s, a) V(z) has
the one fixed point V*. Values are not normalised: V lies in [0, 1/(1 - gamma)].

Value iteration with the span stop (`run`):

    1  V = 0
    2  repeat  D = T V - V
    3      if gamma (max D - min D)/(1 - gamma) <= eps:
    4          return greedy(V) and T V + gamma/(1 - gamma) (max D + min D)/2
    5      V = T V

Howard's policy iteration (`run_policy_iteration`):

    6  start with some pi
    7  repeat  solve (I - gamma P_pi) V = r_pi
    8      in EVERY state with an action that improves on pi(s), strictly: switch to the best; keep pi(s) on ties
    9      if nothing changes: return pi and V

Strictly means by more than 1e-11 in floats and by anything in rationals. Without "keep on ties" line 9 may never be
true: equal policies can follow one another for ever.

Guarantees (Theorems 6.3.1 and 6.4.2 of Puterman 1994, and the lemmas below; the numbers are as recalled)
    bounds (MacQueen 1966, Porteus 1971): T V + gamma/(1-gamma) min D <= V* <= T V + gamma/(1-gamma) max D; line 4 is
        an eps-optimal policy and a value off by at most eps/2. Not tight but for D constant, where both are V*.
    greedy loss: V* - V^{greedy(V)} <= 2 gamma |V - V*|/(1-gamma), and <= gamma/(1-gamma) (max D - min D). Tight.
    policy iteration: V^{pi'} >= T V^pi >= V^pi, hence a contraction by gamma; at most
        S (A-1) (1 + log(1/(1-gamma))/(1-gamma)) switches of policy (Ye 2011, Hansen, Miltersen and Zwick 2013; this
        form Scherrer 2013, up to rounding). Not tight, nor known to be of the right order.
    performance difference (Kakade and Langford 2002, Lemma 6.1): an identity.
    simulation (Kearns and Singh 2002): an identity, and eps_r/(1-gamma) + gamma eps_P/(2 (1-gamma)^2). Tight in the
        limit of a small eps_P.

Howard. Dynamic Programming and Markov Processes. MIT Press, 1960.
MacQueen. A Modified Dynamic Programming Method for Markovian Decision Problems. J. Math. Anal. Appl. 14, 1966.
Porteus. Some Bounds for Discounted Sequential Decision Processes. Management Science 18, 1971.
Puterman. Markov Decision Processes. Wiley, 1994.
Kakade, Langford. Approximately Optimal Approximate Reinforcement Learning. ICML 2002.
Kearns, Singh. Near-Optimal Reinforcement Learning in Polynomial Time. Machine Learning 49, 2002.
Ye. The Simplex and Policy-Iteration Methods Are Strongly Polynomial [..]. Math. of Operations Research 36, 2011.
Hansen, Miltersen, Zwick. Strategy Iteration Is Strongly Polynomial [..]. Journal of the ACM 60, 2013.
Scherrer. Improved and Generalized Upper Bounds on the Complexity of Policy Iteration. NIPS 2013.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import flint
import numpy as np

from mdpkit import rational, validate
from mdpkit.access import Exact
from mdpkit.instances.formula import stationary
from mdpkit.models.tabular import TabularMDP
from mdpkit.records import Paper, Result, Trace
from mdpkit.solve.precise import down

TOLERANCE = 1e-11        # what counts as an improvement in floats, for rewards in [0, 1]

PAPER = Paper(
    "planning-basics", "Value iteration, policy iteration, and the lemmas that proofs use",
    "Ronald A. Howard, James MacQueen, Evan L. Porteus, Martin L. Puterman, Sham Kakade, John Langford, "
    "Michael Kearns, Satinder Singh, Yinyu Ye, Bruno Scherrer", "1960 to 2013", "",
    ("discounted", "planning", "tabular", "baseline"),
    """@book{puterman1994markov,
  title     = {Markov Decision Processes: Discrete Stochastic Dynamic Programming},
  author    = {Puterman, Martin L.},
  publisher = {Wiley},
  year      = {1994}
}
@inproceedings{scherrer2013improved,
  title     = {Improved and Generalized Upper Bounds on the Complexity of Policy Iteration},
  author    = {Scherrer, Bruno},
  booktitle = {Advances in Neural Information Processing Systems},
  year      = {2013}
}""")


@dataclass(frozen=True)
class Params:
    """How far value iteration may be from optimal, and what policy iteration counts as an improvement."""

    eps: float
    tolerance: float = TOLERANCE


class Plan(NamedTuple):
    """What both algorithms return."""

    policy: np.ndarray      # (S,) actions
    value: np.ndarray       # (S,)


class Iterates(NamedTuple):
    """The policies of policy iteration, the first and the last included, and their values."""

    policies: np.ndarray    # (n, S) actions
    values: np.ndarray      # (n, S)


def theory(eps: float) -> Params:
    """The span stop for an eps-optimal policy."""
    return Params(eps=validate.interval("eps", eps, 0.0, math.inf, open_lo=True, open_hi=True))


def run(access: Exact, params: Params, rng: np.random.Generator) -> Result:
    """Value iteration from 0 with the span stop.

    Parameters
    ----------
    access : Exact
        To a discounted model with rewards in [0, 1].
    params : Params
    rng : numpy.random.Generator
        Not used.

    Returns
    -------
    Result
        ``output`` is a `Plan`; the trace holds greedy(V_k), and in its info V_k as ``V``, the ``span`` of D_k and its
        largest absolute entry, ``residual``. For any ``eps`` there is an end, since sweeps from 0 rise, rounded too,
        until D = 0 in floats; but their rounding, of the order of 1e-16/(1 - gamma)^2, is not in the span.
    """
    P, r, gamma = _given(access, params, rng)
    V = np.zeros(len(r))                                                               # 1
    policies: list[np.ndarray] = []
    index, rows = [], []
    while True:
        Q = action_values(P, r, gamma, V)
        D, policy = Q.max(-1) - V, Q.argmax(-1)                                        # 2
        span = float(D.max() - D.min())
        if not policies or (policies[-1] != policy).any():
            policies.append(policy)
        index.append(len(policies) - 1)
        rows.append((V, span, float(np.abs(D).max())))
        if gamma * span / (1 - gamma) <= params.eps:                                   # 3
            break
        V = Q.max(-1)                                                                  # 5
    lo, hi = bounds(P, r, gamma, V)
    info = {k: np.array(column) for k, column in zip(("V", "span", "residual"), zip(*rows))}
    return Result(Plan(policy, lo + (hi - lo) / 2), Trace(np.array(policies), np.array(index), info), params)   # 4


def run_policy_iteration(access: Exact, params: Params, rng: np.random.Generator) -> Result:
    """Howard's policy iteration from action 0 everywhere; ``output`` is a `Plan`, the trace has V^{pi_k} as ``V``."""
    P, r, gamma = _given(access, params, rng)
    policies, values = policy_iteration(P, r, gamma, np.zeros(len(r), np.int64), params.tolerance)   # 6
    return Result(Plan(policies[-1], values[-1]), Trace(policies, np.arange(len(policies)), {"V": values}), params)


def action_values(P: np.ndarray, r: np.ndarray, gamma: Any, V: np.ndarray) -> np.ndarray:
    """r + gamma P V, (S, A). Like all entries below it works on floats and on rational arrays."""
    return r + gamma * (P @ V)


def backup(P: np.ndarray, r: np.ndarray, gamma: Any, V: np.ndarray) -> np.ndarray:
    """T V (S,)."""
    return action_values(P, r, gamma, V).max(-1)


def greedy(P: np.ndarray, r: np.ndarray, gamma: Any, V: np.ndarray) -> np.ndarray:
    """The greedy actions (S,) of V, the lowest on ties."""
    return action_values(P, r, gamma, V).argmax(-1)


def bounds(P: np.ndarray, r: np.ndarray, gamma: Any, V: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The bounds of MacQueen and Porteus, lo <= V* <= hi, each (S,), from any V."""
    W = backup(P, r, gamma, V)
    D, k = W - V, gamma / (1 - gamma)
    return W + k * D.min(), W + k * D.max()


def loss_bounds(P: np.ndarray, r: np.ndarray, gamma: Any, V: np.ndarray, best: np.ndarray) -> tuple[Any, Any]:
    """Two bounds on V* - V^{greedy(V)}, in every state: by the error |V - V*|, V* = ``best``, and by the span of D."""
    D, k = backup(P, r, gamma, V) - V, gamma / (1 - gamma)
    return 2 * k * np.abs(V - best).max(), k * (D.max() - D.min())


def evaluate(P: np.ndarray, r: np.ndarray, gamma: Any, pi: np.ndarray) -> np.ndarray:
    """V^pi (S,) by a linear solve, for actions (S,) or probabilities (S, A)."""
    P_pi, r_pi = _chain(P, r, pi)
    return rational.solve(rational.eye(len(r), P) - gamma * P_pi, r_pi)


def improve(P: np.ndarray, r: np.ndarray, gamma: Any, V: np.ndarray, pi: np.ndarray,
            tolerance: float = TOLERANCE) -> np.ndarray:
    """The best action (S,) wherever it beats pi by more than ``tolerance`` (in rationals: 0), else pi's."""
    Q = action_values(P, r, gamma, V)
    gain = Q.max(-1) - Q[np.arange(len(pi)), pi]
    return np.where(gain > (0 if rational.is_exact(P) else tolerance), Q.argmax(-1), pi)


def policy_iteration(P: np.ndarray, r: np.ndarray, gamma: Any, start: np.ndarray,
                     tolerance: float = TOLERANCE) -> Iterates:
    """Howard's policy iteration from the actions ``start`` (S,), until a policy comes for the second time.

    That is the current one, nothing changed; or an older one, which takes rounding beyond ``tolerance``.
    """
    pi, policies, values, seen = start, [], [], set()
    while pi.tobytes() not in seen:                                                    # 9
        seen.add(pi.tobytes())
        policies.append(pi)
        values.append(evaluate(P, r, gamma, pi))                                       # 7
        pi = improve(P, r, gamma, values[-1], pi, tolerance)                           # 8
    return Iterates(np.array(policies), np.array(values))


def iteration_bound(S: int, A: int, gamma: Any) -> float:
    """S (A-1) (1 + log(1/(1-gamma))/(1-gamma)), rounded down: how often policy iteration can change its policy."""
    with flint.ctx.workprec(128):
        left = 1 - flint.arb(gamma)
        return down(S * (A - 1) * (1 - left.log() / left)) if A > 1 else 0.0


def occupancy(P: np.ndarray, gamma: Any, rho: np.ndarray, pi: np.ndarray) -> np.ndarray:
    """d (S, A) = (1 - gamma) sum over t >= 0 of gamma^t Pr(s_t, a_t), for probabilities pi (S, A)."""
    P_pi = (pi[:, :, None] * P).sum(1)
    state = rational.solve((rational.eye(len(pi), P) - gamma * P_pi).T, (1 - gamma) * rho)
    return state[:, None] * pi


def performance_difference(P: np.ndarray, r: np.ndarray, gamma: Any, rho: np.ndarray, pi: np.ndarray,
                           pi_ref: np.ndarray) -> Any:
    """V^pi(rho) - V^{pi_ref}(rho) by the lemma: E_{d^pi}[A^{pi_ref}]/(1 - gamma); policies are (S, A)."""
    V = evaluate(P, r, gamma, pi_ref)
    advantage = action_values(P, r, gamma, V) - V[:, None]
    return (occupancy(P, gamma, rho, pi) * advantage).sum() / (1 - gamma)


def simulation(P: np.ndarray, r: np.ndarray, gamma: Any, rho: np.ndarray, pi: np.ndarray, P_hat: np.ndarray,
               r_hat: np.ndarray) -> Any:
    """Vhat^pi(rho) - V^pi(rho) by the lemma: E_d[rhat - r + gamma (Phat - P) Vhat]/(1 - gamma), d the true law."""
    wrong = r_hat - r + gamma * ((P_hat - P) @ evaluate(P_hat, r_hat, gamma, pi))
    return (occupancy(P, gamma, rho, pi) * wrong).sum() / (1 - gamma)


def simulation_bound(P: np.ndarray, r: np.ndarray, gamma: Any, P_hat: np.ndarray, r_hat: np.ndarray) -> Any:
    """eps_r/(1 - gamma) + gamma eps_P/(2 (1 - gamma)^2) >= |Vhat^pi - V^pi| for all pi, with rhat in [0, 1]."""
    eps_r, eps_P = np.abs(r_hat - r).max(), np.abs(P_hat - P).sum(-1).max()
    return eps_r / (1 - gamma) + gamma * eps_P / (2 * (1 - gamma) * (1 - gamma))


def finite_horizon_difference(P: np.ndarray, r: np.ndarray, rho: np.ndarray, pi: np.ndarray,
                              pi_ref: np.ndarray) -> Any:
    """V^pi(rho) - V^{pi_ref}(rho) over H steps: sum_h E_{d^pi_h}[A^{pi_ref}_h], all arrays with H in front."""
    V = finite_horizon_values(P, r, pi_ref)
    here, total = rho, 0
    for h in range(len(r)):
        d = here[:, None] * pi[h]
        total = total + (d * (r[h] + P[h] @ V[h + 1] - V[h][:, None])).sum()
        here = (d[:, :, None] * P[h]).sum((0, 1))
    return total


def finite_horizon_values(P: np.ndarray, r: np.ndarray, pi: np.ndarray) -> np.ndarray:
    """V (H+1, S) of a policy (H, S, A); the last row is 0."""
    V = rational.zeros((len(r) + 1, r.shape[1]), P)
    for h in range(len(r) - 1, -1, -1):
        V[h] = (pi[h] * (r[h] + P[h] @ V[h + 1])).sum(-1)
    return V


def demo(rng: np.random.Generator) -> Result:
    """Value iteration on F(4, 3), gamma = 0.9, to 1e-6."""
    return run(Exact(stationary(4, 3, 0.9)), theory(1e-6), rng)


def _given(access: Exact, params: Params, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, float]:
    validate.instance("access", access, Exact)
    model = validate.instance("access.model", access.model, TabularMDP)
    validate.instance("params", params, Params)
    validate.interval("params.eps", params.eps, 0.0, math.inf, open_lo=True, open_hi=True)
    validate.interval("params.tolerance", params.tolerance, 0.0, math.inf)
    validate.generator("rng", rng)
    return model.dense, validate.within("access.model.r", model.r, 0.0, 1.0), model.gamma


def _chain(P: np.ndarray, r: np.ndarray, pi: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if pi.ndim == 1:
        s = np.arange(len(pi))
        return P[s, pi], r[s, pi]
    return (pi[:, :, None] * P).sum(1), (pi * r).sum(1)
