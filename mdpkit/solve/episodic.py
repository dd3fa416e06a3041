"""Finite horizon: backward induction, certified.

V_h(s) = max_a r_h(s, a) + sum_t P_h(t | s, a) V_{h+1}(t), V_H = 0. A max and an average pass errors on without
growth, so the rounding errors of the steps add up (Puterman 1994, chapter 4).
"""

from __future__ import annotations

import time

import numpy as np

from mdpkit import validate
from mdpkit.kernels.backup import back, distances, optimise_episodic
from mdpkit.models.convert import to_episodic
from mdpkit.models.tabular import EpisodicMDP
from mdpkit.solve.rounding import backup_error, outward
from mdpkit.solve.solution import TIERS, Certificate, Solution, finish, tolerance

LARGE, FULL = 50_000, 0.3  # entries of a step, and the share that is not 0, from which BLAS is used
PAYS = 0.2               # of all rows: beyond, BLAS on all of them is as fast as loops over those that may matter
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
    V, Q, policy = _with_blas(model) if _is_full(model) else optimise_episodic(*model.rows, model.r)
    longest = model.S if _is_full(model) else int(np.diff(model.rows.ptr).max())
    error = np.zeros(model.H + 1)
    for h in range(model.H - 1, -1, -1):
        step = backup_error(longest, float(np.abs(model.r[h]).max()), 1.0, float(np.abs(V[h + 1]).max()))
        error[h] = (error[h + 1] + step) * (1 + 2.0**-50)
    bounds = [outward(V[h], V[h], error[h]) for h in range(model.H)]
    lo, hi = (np.stack(x) for x in zip(*bounds))
    if tol is None:
        asked = max(asked, float((hi - lo).max()))
    optimal = Q + error[: model.H, None, None] * 1.01 >= lo[:, :, None]
    certificate = Certificate("float", "backward induction", asked, time.perf_counter() - clock)
    return finish(Solution(V[: model.H].copy(), lo, hi, policy, optimal, model.H, certificate),
                  "raise tol, or use tier='ball' or 'exact'")


def _is_full(model: EpisodicMDP) -> bool:
    """Whether BLAS on all entries beats loops over those that are not 0."""
    step = model.P[0]
    return step.size >= LARGE and np.count_nonzero(step) > FULL * step.size


def _with_blas(model: EpisodicMDP) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """V* (H+1, S), Q* (H, S, A) and the greedy actions (H, S); sums in an order of the library's.

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
    return V, Q, Q.argmax(-1)


def _one_kernel(model: EpisodicMDP, V: np.ndarray, Q: np.ndarray) -> None:
    """Fill V and Q where all steps share P: rows are read only if their action may be the best.

    Once P V_k is known, P V_{h+1} is that plus P d, d = V_{h+1} - V_k, and every row p has p d between the least and
    the largest of d, and within |p - q| |d - c| of q d, q the mean row, c any constant. What lies below the best of
    its state by that is not read (as MacQueen 1966 does between sweeps). In worlds that mix, d is soon almost
    constant, and one row a state is left.
    """
    H, S, A = model.r.shape
    P, top = model.P[0].reshape(S * A, S), float(np.abs(model.r).max())
    room = 4 * H * backup_error(S, top, 1.0, H * top)        # beyond all rounding from here to the last step
    q = P.mean(0)
    far = distances(P, q).reshape(S, A)
    known, at = np.zeros((S, A)), V[H]                       # P V_k and V_k
    usual, spent = 0, 0                                      # rows read right after all were, and beyond that since
    for h in range(H - 1, -1, -1):
        if spent > S * A or usual > PAYS * S * A:
            known, at, spent = (P @ V[h + 1]).reshape(S, A), V[h + 1], 0
            usual = usual if usual > PAYS * S * A else -1
            np.add(model.r[h], known, out=Q[h])
            Q[h].max(-1, out=V[h])
            continue
        d = V[h + 1] - at
        n = back(P, model.r[h], known, far, q @ d, np.linalg.norm(d - d.mean()), d.min(), d.max(), room, V[h + 1], Q[h],
                 V[h])
        usual = n if usual < 0 else usual
        spent += n - usual
