"""Finite horizon: backward induction, certified.

V_h(s) = max_a r_h(s, a) + sum_t P_h(t | s, a) V_{h+1}(t), V_H = 0. A max and an average pass errors on without
growth, so the rounding errors of the steps add up (Puterman 1994, chapter 4).
"""

from __future__ import annotations

import time

import numpy as np

from mdpkit import validate
from mdpkit.kernels.backup import choices, optimise_episodic
from mdpkit.models.convert import to_episodic
from mdpkit.models.tabular import EpisodicMDP
from mdpkit.solve.few_rows import back, distances
from mdpkit.solve.rounding import backup_error, outward
from mdpkit.solve.solution import TIERS, Certificate, Solution, finish, tolerance

LARGE, FULL = 50_000, 0.3  # entries of a step, and the share that is not 0, from which BLAS is used
PAYS = 0.3               # of all rows: beyond, BLAS on all of them is as fast as loops over those that may matter
HELPS = 0.9              # reading all rows once must leave fewer than this share of those that mattered before
RELATIVE_TOL = 1e-12     # default width, as a share of H max |r|


def solve(model: object, tol: float | None = None, *, tier: str = "float") -> Solution:
    """Certified optimal values (H, S), policy and optimal action sets of an episodic MDP.

    Parameters
    ----------
    model : EpisodicMDP, or a model that ``to_episodic`` converts
    tol : float, optional
        Wanted width; by default ``1e-12 * H * max |r|``, or what rounding allows in long rows.
    tier : {"float", "ball", "exact"}

    Raises
    ------
    NotCertified
        The tier cannot reach ``tol``.
    """
    validate.choice("tier", tier, TIERS)
    model = to_episodic(model)
    top = float(np.abs(model.r).max())
    if not model.H * top < 1e300:
        raise validate.MdpkitError("r", "small enough for float64 values (H max |r| below 1e300)", model.H * top)
    asked = tolerance(tol, max(RELATIVE_TOL * model.H * top, 1e-290))
    if tier != "float":
        from mdpkit.solve import precise

        return precise.episodic(model, asked, tier)
    clock = time.perf_counter()
    full = _is_full(model)
    V, Q = _with_blas(model) if full else optimise_episodic(*model.rows, model.r)[:2]
    longest = model.S if full else int(np.diff(model.rows.ptr).max())
    rewards, values = np.maximum(model.r.max((1, 2)), -model.r.min((1, 2))), np.abs(V).max(1)
    error = np.zeros(model.H + 1)
    for h in range(model.H - 1, -1, -1):
        error[h] = (error[h + 1] + backup_error(longest, rewards[h], 1.0, values[h + 1])) * (1 + 2.0**-50)
    lo, hi = outward(V[:-1], V[:-1], error[:-1, None])
    if tol is None:
        asked = max(asked, float((hi - lo).max()))
    # Q* <= Q + error: what stays below lo by more cannot be optimal
    policy, optimal = choices(Q, np.nextafter(lo - 1.01 * error[:-1, None], -np.inf))
    certificate = Certificate("float", "backward induction", asked, time.perf_counter() - clock)
    return finish(Solution(V[: model.H].copy(), lo, hi, policy, optimal, model.H, certificate),
                  "raise tol, or use tier='ball' or 'exact'")


def _is_full(model: EpisodicMDP) -> bool:
    """Whether BLAS on all entries beats loops over those that are not 0: by one state in sixteen."""
    some = model.P[0, ::16]
    return model.P[0].size >= LARGE and bool(np.count_nonzero(some) > FULL * some.size)


def _with_blas(model: EpisodicMDP) -> tuple[np.ndarray, np.ndarray]:
    """V* (H+1, S) and Q* (H, S, A); sums in an order of the library's.

    Q* is -inf where `_one_kernel` has proven an action worse without reading its row.
    """
    H, S, A = model.r.shape
    V, Q = np.zeros((H + 1, S)), np.full((H, S, A), -np.inf)
    if model.__dict__.get("one_kernel", False):             # known without reading P
        _one_kernel(model, V, Q)
    else:
        for h in range(H - 1, -1, -1):
            np.add(model.r[h], (model.P[h].reshape(S * A, S) @ V[h + 1]).reshape(S, A), out=Q[h])
            Q[h].max(-1, out=V[h])
    return V, Q


def _one_kernel(model: EpisodicMDP, V: np.ndarray, Q: np.ndarray) -> None:
    """Fill V and Q where all steps share P: rows are read only if their action may be the best.

    Once P V_k is known, P V_{h+1} is that plus P d, d = V_{h+1} - V_k, and every row p has p d between the least and
    the largest of d, and within |p - q| |d - c| of q d, q any law (a mean of rows), c any constant. What lies below
    the best of its state by that is not read (as MacQueen 1966 does between sweeps). In worlds that mix, d is soon
    almost constant, and one row a state is left. Where rewards are new at each step V_{h+1} itself, V_k = 0, may be
    nearer to a constant than d, and reading all rows now and then does not help.
    """
    H, S, A = model.r.shape
    P, top = model.P[0].reshape(S * A, S), float(np.abs(model.r).max())
    room = 4 * H * backup_error(S, top, 1.0, H * top)        # beyond all rounding from here to the last step
    q = P[::8].mean(0)
    far = distances(P, q).reshape(S, A)
    known, at = np.zeros((S, A)), V[H]                       # P V_k and V_k
    n, least, spent = 0, 0, 0.0             # rows read, those read right after all were, and beyond these since
    for h in range(H - 1, -1, -1):
        if spent > S * A or least > PAYS * S * A:
            known, at = (P @ V[h + 1]).reshape(S, A), V[h + 1]
            np.add(model.r[h], known, out=Q[h])
            Q[h].max(-1, out=V[h])
            if spent > S * A:
                before, least, spent = n, -1, 0.0
            continue
        n = back(P, model.r[h], known, at, far, q, room, V[h + 1], Q[h], V[h])
        if least < 0:
            least, spent = n, 0.0 if n < HELPS * before else -np.inf
        spent += n - least
