"""How hard a world is: ranks, span, diameter, mixing time, effective horizon."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import flint
import numpy as np

from mdpkit import validate
from mdpkit.errors import MdpkitError
from mdpkit.measure import plain
from mdpkit.measure.inputs import frame as framed
from mdpkit.measure.inputs import policy_on
from mdpkit.models.tabular import EpisodicMDP, TabularMDP
from mdpkit.rational import exact, is_exact
from mdpkit.solve import average, undiscounted

LONGEST = 2**40             # mixing times beyond this are told as infinite


def rank(matrix: Any) -> int:
    """The rank of a matrix (n, m) of floats or of rationals (`mdpkit.rational`), by elimination in integers."""
    M = np.asarray(matrix)
    if M.ndim != 2:
        raise MdpkitError("matrix", "of two axes", None, came=f"its shape is {M.shape}")
    if 0 in M.shape:
        return 0
    return int(flint.fmpq_mat((M if is_exact(M) else exact(M)).tolist()).rank())


def transition_rank(model: TabularMDP | EpisodicMDP) -> int:
    """The largest rank over steps of P_h as a matrix (S A, S): the smallest d of a linear MDP with these transitions.

    Of the model as stored: rounding of a product phi mu to canonical rows can raise it.
    """
    validate.instance("model", model, (TabularMDP, EpisodicMDP))
    P = model.dense[None] if isinstance(model, TabularMDP) else model.P
    return max(rank(step.reshape(-1, model.S)) for step in P)


def bilinear_rank(model: EpisodicMDP, critics: Any) -> int:
    """The largest rank over steps of E_{d_h of greedy(f)}[f'_h - T f'_{h+1}], a matrix over pairs (f, f') of critics.

    Exact, in rationals; greedy takes the lowest index among ties. At most S A for any class.

    Parameters
    ----------
    model : EpisodicMDP
    critics : array (n, H, S, A)
    """
    validate.instance("model", model, EpisodicMDP)
    F = exact(validate.array("critics", critics, ("n", *model.r.shape)))
    P, r, rho = exact(model.P), exact(model.r), exact(model.rho)
    laws = [plain.occupancy(P, rho, plain.probabilities(f.argmax(-1), r)) for f in F]
    errors = []
    for f in F:
        V = f.max(-1)
        after = [P[h] @ V[h + 1] if h + 1 < model.H else 0 * r[h] for h in range(model.H)]
        errors.append(np.array([f[h] - r[h] - after[h] for h in range(model.H)]))
    return max(rank(np.array([[(d[h] * x[h]).sum() for x in errors] for d in laws])) for h in range(model.H))


def bias_span(model: TabularMDP) -> float:
    """max h - min h of the bias of the average-optimal policy that `mdpkit.solve.average` finds; math.inf where the
    optimal gain depends on the state. At most the diameter times max r - min r for an optimal h of a communicating
    world; the discount plays no part."""
    gain = average.solve(model)
    if gain.lo.max() > gain.hi.min():
        return math.inf
    h = average.evaluate(model, gain.policy)[1]
    return float(np.ptp(h))


def diameter(model: TabularMDP) -> float:
    """max over s, s' of the least expected number of steps from s to s' (Jaksch et al. 2010); math.inf unless every
    state can be reached from every other. The discount plays no part.

    An upper end of certified enclosures of S stopping problems.
    """
    validate.instance("model", model, TabularMDP)
    clock = TabularMDP(model.P, np.ones_like(model.r), model.gamma, model.rho)
    return max(float(undiscounted.total_reward(clock, [s], minimise=True).hi.max()) for s in range(model.S))


def mixing_time(model: TabularMDP, policy: Any, distance: float = 0.25) -> float:
    """The least t with max_s TV(P_pi^t(s, .), stationary law) <= distance; math.inf where the chain is periodic or has
    several recurrent classes.

    Parameters
    ----------
    model : TabularMDP
    policy : array (S,) or (S, A)
    distance : float in (0, 1)
    """
    validate.instance("model", model, TabularMDP)
    distance = validate.interval("distance", distance, 0.0, 1.0, open_lo=True, open_hi=True)
    pi = policy_on(framed(model), policy)
    P = np.einsum("sa,sat->st", pi, model.dense)
    # distance to stationarity never rises with t: double until the rows agree, then bisect on the powers kept
    powers = [P]
    while _spread(powers[-1]) > 2.0**-50:
        if 2 ** len(powers) > LONGEST:
            return math.inf
        square = powers[-1] @ powers[-1]
        powers.append(square / square.sum(1, keepdims=True))       # or rounding would double with every power
    law = powers[-1].mean(0)
    off = lambda M: float(np.abs(M - law).sum(1).max()) / 2
    if off(np.eye(model.S)) <= distance:
        return 0
    t, M = 0, np.eye(model.S)
    for k in range(len(powers) - 1, -1, -1):
        if off(M @ powers[k]) > distance:
            t, M = t + 2**k, M @ powers[k]
    return t + 1


def _spread(M: np.ndarray) -> float:
    return float((M.max(0) - M.min(0)).max())


class Lookahead(NamedTuple):
    """Of k steps of value iteration on the uniform policy's Q: whether every greedy policy is optimal, the gap, and
    k + log_A(1/gap^2) (math.inf where some greedy policy is not optimal)."""

    k: int
    solvable: bool
    gap: float
    horizon: float


def lookaheads(model: EpisodicMDP) -> list[Lookahead]:
    """`Lookahead` for k = 1..H, in rationals; total rewards are taken to lie in [0, 1], as the bound wants.

    The gap is the least difference between the best and the best non-greedy action over all (h, s) that have one
    (over states that matter it could only be larger). Laidlaw et al. 2024, definitions 3.1 to 3.3.
    """
    validate.instance("model", model, EpisodicMDP)
    P, r = exact(model.P), exact(model.r)
    uniform = exact(np.ones(model.r.shape)) / model.A
    Q, best = plain.evaluate(P, r, uniform)[1], _optimal(P, r)
    out = []
    for k in range(1, model.H + 1):
        if k > 1:
            V = Q.max(-1)
            Q = np.array([r[h] + (P[h] @ V[h + 1] if h + 1 < model.H else 0 * r[h]) for h in range(model.H)])
        greedy = Q.max(-1)[..., None] == Q
        worst = _worst_greedy(P, r, greedy)
        lost = (exact(model.rho) * (best - worst)).sum()
        solvable = not lost
        pairs = zip(Q.reshape(-1, model.A), greedy.reshape(-1, model.A))
        rest = [q.max() - q[~g].max() for q, g in pairs if not g.all()]
        gap = float(min(rest)) if rest else math.inf
        price = 0.0 if model.A == 1 or math.isinf(gap) else -2 * math.log(gap) / math.log(model.A)
        out.append(Lookahead(k, solvable, gap, k + price if solvable else math.inf))
    return out


def effective_horizon(model: EpisodicMDP) -> float:
    """The least k + log_A(1/gap_k^2) over k, the stochastic effective horizon of `lookaheads`."""
    return min(found.horizon for found in lookaheads(model))


def _optimal(P: np.ndarray, r: np.ndarray) -> np.ndarray:
    return _backwards(P, r, lambda q, h: q.max(-1))


def _worst_greedy(P: np.ndarray, r: np.ndarray, greedy: np.ndarray) -> np.ndarray:
    return _backwards(P, r, lambda q, h: np.array([row[g].min() for row, g in zip(q, greedy[h])]))


def _backwards(P: np.ndarray, r: np.ndarray, choose: Any) -> np.ndarray:
    """V_1 (S,) when the value of a row of Q_h is what ``choose`` takes of it."""
    V = 0 * r[0, :, 0]
    for h in range(len(r) - 1, -1, -1):
        V = choose(r[h] + P[h] @ V, h)
    return V
