"""Finite horizon: backward induction, certified.

V_h(s) = max_a r_h(s, a) + sum_t P_h(t | s, a) V_{h+1}(t), V_H = 0. A max and an average pass errors on without
growth, so the rounding errors of the steps add up (Puterman 1994, chapter 4).
"""

from __future__ import annotations

import time

import numpy as np

from mdpkit import validate
from mdpkit.kernels.backup import optimise_episodic
from mdpkit.models.convert import to_episodic
from mdpkit.solve.rounding import backup_error, outward
from mdpkit.solve.solution import TIERS, Certificate, Solution, finish, tolerance

RELATIVE_TOL = 1e-12     # default width, as a share of H max |r|


def solve(model: object, tol: float | None = None, *, tier: str = "float") -> Solution:
    """Certified optimal values (H, S), policy and optimal action sets of an episodic MDP.

    Parameters
    ----------
    model : EpisodicMDP, or a model that ``to_episodic`` converts
    tol : float, optional
        Wanted width; by default ``1e-12 * H * max |r|``.
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
    tol = tolerance(tol, max(RELATIVE_TOL * model.H * top, 1e-290))
    if tier != "float":
        from mdpkit.solve import precise

        return precise.episodic(model, tol, tier)
    clock = time.perf_counter()
    V, Q, policy = optimise_episodic(*model.rows, model.r)
    longest = int(np.diff(model.rows.ptr).max())
    error = np.zeros(model.H + 1)
    for h in range(model.H - 1, -1, -1):
        step = backup_error(longest, float(np.abs(model.r[h]).max()), 1.0, float(np.abs(V[h + 1]).max()))
        error[h] = (error[h + 1] + step) * (1 + 2.0**-50)
    bounds = [outward(V[h], V[h], error[h]) for h in range(model.H)]
    lo, hi = (np.stack(x) for x in zip(*bounds))
    optimal = Q + error[: model.H, None, None] * 1.01 >= lo[:, :, None]
    certificate = Certificate("float", "backward induction", tol, time.perf_counter() - clock)
    return finish(Solution(V[: model.H].copy(), lo, hi, policy, optimal, model.H, certificate),
                  "raise tol, or use tier='ball' or 'exact'")
