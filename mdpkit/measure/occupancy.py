"""Where a policy goes, and where any policy can go.

Episodic: d_h(s,a) = Pr(s_h = s, a_h = a), one law a step. Discounted: d(s,a) = (1 - gamma) sum_t gamma^t
Pr(s_t = s, a_t = a), a law. Reachability is the largest d over all policies, one optimal control problem for each goal:

    w_h = e_s,   w_k(x) = max_a sum_t P_k(t|x,a) w_{k+1}(t),   max_pi d_h(s) = <rho, w_0>;

a stationary kernel needs one sweep, since w then depends on h - k alone. Models and policies are those of
`mdpkit.measure.values`. Zeros are exact: they are decided on the graph, not by a tolerance.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from mdpkit.kernels.backup import occupy_episodic, reach_back
from mdpkit.measure.inputs import frame, policy_on
from mdpkit.measure.values import policy_iteration, resolvent, sparse_chain
from mdpkit.models.tabular import EpisodicMDP, TabularMDP


def occupancy(model: Any, policy: Any) -> np.ndarray:
    """d of a policy: (H, S, A), each step a law, or the normalised discounted law (S, A).

    Raises
    ------
    MdpkitError
        No Markov model, or no policy on it.
    """
    model = frame(model)
    base, pi = model.base, policy_on(model, policy)
    if isinstance(base, EpisodicMDP):
        return occupy_episodic(*base.rows, base.rho, pi)
    d = (1.0 - base.gamma) * resolvent(base, pi, base.rho, adjoint=True)
    return np.where(_discounted_support(base, pi), np.maximum(d, 0.0), 0.0)[:, None] * pi


def state_occupancy(model: Any, policy: Any) -> np.ndarray:
    """d of a policy over states: (H, S), or (S,) if discounted. Errors as in `occupancy`."""
    return occupancy(model, policy).sum(-1)


def support(model: Any, policy: Any = None) -> np.ndarray:
    """Whether d(s, a) > 0, exactly: bool (H, S, A) or (S, A). Without a policy: for some policy.

    `occupancy` itself may underflow to 0 at the end of long chains; this does not. Errors as in `occupancy`.
    """
    model = frame(model)
    base = model.base
    pi = np.ones(base.r.shape) if policy is None else policy_on(model, policy)
    if isinstance(base, EpisodicMDP):
        return _episodic_support(base, pi)
    return _discounted_support(base, pi)[:, None] & (pi > 0)


def reachability(model: Any) -> np.ndarray:
    """max over policies of d(s): (H, S), or (S,) if discounted (an MDP solved for each state: small worlds).

    Raises
    ------
    MdpkitError
        No Markov model.
    """
    base = frame(model).base
    if isinstance(base, TabularMDP):
        return _discounted_reach(base, np.repeat(np.eye(base.S)[:, :, None], base.A, 2))
    out = np.empty((base.H, base.S))
    W = np.eye(base.S)
    out[0] = base.rho
    for h in range(1, base.H):
        if base.is_stationary:
            W = reach_back(*base.rows, base.A, 0, W)
        else:
            W = np.eye(base.S)
            for k in range(h - 1, -1, -1):
                W = reach_back(*base.rows, base.A, k, W)
        out[h] = base.rho @ W
    return out


def pair_reachability(model: Any) -> np.ndarray:
    """max over policies of d(s, a): (H, S, A), or (S, A) if discounted. Errors as in `reachability`.

    Episodic: that of the state. Discounted it is less or equal, for the action also decides how soon one returns.
    """
    base = frame(model).base
    if isinstance(base, TabularMDP):
        n = base.S * base.A
        return _discounted_reach(base, np.eye(n).reshape(n, base.S, base.A)).reshape(base.S, base.A)
    return np.repeat(reachability(base)[:, :, None], base.A, 2)


def _discounted_reach(model: TabularMDP, goals: np.ndarray) -> np.ndarray:
    """(1 - gamma) max_pi J under each of the indicator rewards (n, S, A)."""
    can = support(model)
    out = np.zeros(len(goals))
    for i, goal in enumerate(goals):
        if (can & (goal > 0)).any():
            out[i] = (1.0 - model.gamma) * (model.rho @ policy_iteration(model, goal).max(-1))
    return out


def _episodic_support(model: EpisodicMDP, pi: np.ndarray) -> np.ndarray:
    ptr, col, _ = model.rows
    out = np.zeros(pi.shape, np.bool_)
    here = model.rho > 0
    n = model.S * model.A
    for h in range(model.H):
        out[h] = here[:, None] & (pi[h] > 0)
        ends = ptr[h * n: (h + 1) * n + 1]
        here = np.zeros(model.S, np.bool_)
        here[col[ends[0]: ends[-1]][np.repeat(out[h].ravel(), np.diff(ends))]] = True
    return out


def _discounted_support(model: TabularMDP, pi: np.ndarray) -> np.ndarray:
    """States (S,) that a policy meets, by breadth-first search from a source in front of rho."""
    import scipy.sparse as sp
    from scipy.sparse.csgraph import breadth_first_order

    first = model.rho > 0
    if model.gamma == 0.0:
        return first
    source = sp.csr_array(np.append(first, False)[None].astype(np.float64))
    chain = sparse_chain(model, pi)
    chain.data[:] = 1.0                      # a product of small probabilities may underflow; an edge does not
    graph = sp.vstack([sp.hstack([chain, sp.csr_array((model.S, 1))]), source], format="csr")
    out = np.zeros(model.S + 1, np.bool_)
    out[breadth_first_order(graph, model.S, return_predecessors=False)] = True
    return out[:-1]
