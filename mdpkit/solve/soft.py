"""Entropy-regularised MDPs, discounted and episodic, certified.

T V(s) = tau log sum_a mu(a | s) exp(Q(s, a)/tau), Q = r + gamma P V (gamma = 1 when episodic), maximised by
pi(a | s) = mu(a | s) exp((Q - V)/tau). With mu = 1 the bonus is tau times the entropy; with mu a policy it is
-tau KL(pi || mu). T is monotone and T(V + c) = T V + gamma c, so the MacQueen-Porteus bounds hold as they stand.

There is no exact tier: exp and log leave the rationals. Tier "float" trusts exp and log to 2 units in the last place.
"""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np

from mdpkit import validate
from mdpkit.errors import MdpkitError
from mdpkit.models.tabular import EpisodicMDP, TabularMDP
from mdpkit.solve.rounding import U, backup_error, macqueen_porteus, outward
from mdpkit.solve.soft_sweeps import policy_of, soft_backward, soft_sweep
from mdpkit.solve.solution import Certificate, Solution, finish, tolerance

RELATIVE_TOL = 1e-9      # default width, as a share of the largest value
CHUNK = 5_000            # sweeps between two looks at the enclosure: compiled code cannot be interrupted
PATIENCE = 200_000       # sweeps after which the best enclosure is what there is; balls take Newton steps


def solve(model: TabularMDP | EpisodicMDP, tau: float, tol: float | None = None, *, prior: Any = None,
          tier: str = "float") -> Solution:
    """Certified regularised values; ``policy`` holds probabilities.

    Parameters
    ----------
    model : TabularMDP or EpisodicMDP
    tau : float
        Temperature, > 0.
    prior : policy like the model's, optional
        mu, with full support; the counting measure (plain entropy) where omitted.
    tol : float, optional
        Wanted width; by default 1e-9 times the largest value that the rewards allow.
    tier : {"float", "ball"}

    Raises
    ------
    NotCertified
        The tier cannot reach ``tol``.
    """
    validate.instance("model", model, (TabularMDP, EpisodicMDP))
    if isinstance(tier, str) and tier == "exact":
        raise MdpkitError("tier", "'float' or 'ball': exp and log leave the rationals", tier)
    validate.choice("tier", tier, ("float", "ball"))
    tau = validate.interval("tau", tau, 0.0, math.inf, open_lo=True)
    mu = _prior(prior, model.r.shape)
    log_mu = np.log(mu)
    # what the rounding grows with: rewards, and tau times the logarithms that are summed
    top = float(np.abs(model.r).max()) + tau * (1.0 + float(np.abs(log_mu).max()) + math.log(model.A))
    length = model.H if isinstance(model, EpisodicMDP) else 1 / (1 - model.gamma)
    if not top * length < 1e300:
        raise MdpkitError("r", "small enough for float64 values", top * length)
    if not top * length / tau < 1e300:
        raise MdpkitError("tau", f"large enough for values of size {top * length:.3g} to be divided by it", tau)
    tol = tolerance(tol, max(RELATIVE_TOL * top * length, 1e-290 * length))
    if tier == "ball":
        from mdpkit.solve import soft_precise

        return soft_precise.solve(model, tau, mu, tol)
    if isinstance(model, EpisodicMDP):
        return _episodic(model, tau, log_mu, tol)
    return _discounted(model, tau, log_mu, tol)


def _prior(prior: Any, shape: tuple[int, ...]) -> np.ndarray:
    if prior is None:
        return np.ones(shape)
    mu = validate.policy("prior", prior, shape)
    if (mu == 0).any():
        at = tuple(int(i) for i in np.argwhere(mu == 0)[0])
        raise MdpkitError(validate.index("prior", at), "positive (full support)", 0.0)
    return mu


def _lse_error(A: int, tau: float, log_mu: float, v: float) -> float:
    """Bound on the error of fl(m + tau log sum exp(x - m)) besides that of Q.

    A term exp(x) has relative error (|x| + 4) 2u, and |x| exp(x) <= 1/e for x <= 0, so the sum, which is at least 1,
    errs by 6 A u and its accumulation by A u; log and the products and sums around it add a few units of what they
    return, and log mu is itself rounded.
    """
    return (tau * (7 * A + 16 + 4 * log_mu + 4 * math.log(A + 1)) + 8 * v) * U * 1.01


def _discounted(model: TabularMDP, tau: float, log_mu: np.ndarray, tol: float) -> Solution:
    clock = time.perf_counter()
    gamma, longest = model.gamma, int(np.diff(model.rows.ptr).max())
    r, m = float(np.abs(model.r).max()), float(np.abs(log_mu).max())
    v, w, Q = np.zeros(model.S), np.empty(model.S), np.empty((model.S, model.A))
    halving = 2 + math.ceil(math.log(2) / (1 - gamma))
    reach, since, iterations, best = math.inf, 0, 0, None
    while True:
        size = float(np.abs(v).max())
        error = backup_error(longest, r, gamma, size) + _lse_error(model.A, tau, m, size + r + tau * (m + model.A))
        span = max(tol * (1 - gamma) / max(gamma, 1e-300) - 4 * error, error)
        n, now = soft_sweep(*model.rows, model.r, gamma, tau, log_mu, v, w, Q, span, min(halving - since, CHUNK))
        iterations, since = iterations + n, since + n
        size = float(np.abs(v).max())
        error = backup_error(longest, r, gamma, size) + _lse_error(model.A, tau, m, float(np.abs(w).max()) + size)
        lo, hi = macqueen_porteus(w, v, gamma, error)
        if best is None or (hi - lo).max() < (best[1] - best[0]).max():
            best = lo, hi, policy_of(Q, tau, log_mu)
        if (hi - lo).max() <= tol or now <= span or iterations >= PATIENCE:
            break
        if since >= halving:
            if not now < 0.6 * reach:
                break
            reach, since = now, 0
        v[:] = w
    lo, hi, policy = best
    certificate = Certificate("float", "soft value iteration", tol, time.perf_counter() - clock)
    return finish(Solution(0.5 * (lo + hi), lo, hi, policy, np.ones(Q.shape, np.bool_), iterations, certificate),
                  "raise tol, or use tier='ball'")


def _episodic(model: EpisodicMDP, tau: float, log_mu: np.ndarray, tol: float) -> Solution:
    clock = time.perf_counter()
    V, Q = soft_backward(*model.rows, model.r, tau, log_mu)
    longest, m = int(np.diff(model.rows.ptr).max()), float(np.abs(log_mu).max())
    lo, hi, error = np.empty((model.H, model.S)), np.empty((model.H, model.S)), 0.0
    for h in range(model.H - 1, -1, -1):
        size = float(np.abs(V[h + 1]).max())
        error += backup_error(longest, float(np.abs(model.r[h]).max()), 1.0, size)
        error = (error + _lse_error(model.A, tau, m, float(np.abs(V[h]).max()) + size)) * (1 + 2.0**-50)
        lo[h], hi[h] = outward(V[h], V[h], error)
    certificate = Certificate("float", "soft backward induction", tol, time.perf_counter() - clock)
    return finish(Solution(V[: model.H].copy(), lo, hi, policy_of(Q, tau, log_mu), np.ones(Q.shape, np.bool_), model.H,
                           certificate), "raise tol, or use tier='ball'")
