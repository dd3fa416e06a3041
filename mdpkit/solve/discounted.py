"""Discounted MDPs: value iteration, policy iteration, modified policy iteration; certified in three tiers.

T V(s) = max_a r(s, a) + gamma sum_t P(t | s, a) V(t). Any V gives an enclosure of V* = T V* by the MacQueen-Porteus
bounds; the methods differ in the V that they end with. Tier "float" adds a bound on every rounding, "ball" and
"exact" take the policy of a float run and prove it in arbitrary precision or in rationals.

Puterman, Markov Decision Processes, 1994, chapter 6; MacQueen 1966; Porteus 1971.
"""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np

from mdpkit import validate
from mdpkit.errors import MdpkitError, NotCertified
from mdpkit.models.tabular import TabularMDP
from mdpkit.solve import fast_sweeps, quick, sweeps
from mdpkit.solve.rounding import backup_error, macqueen_porteus, size
from mdpkit.solve.solution import TIERS, Certificate, Solution, finish, tolerance

DENSE = 1500             # states up to which a dense solve beats a sparse one
RELATIVE_TOL = 1e-9      # default width, as a share of the largest value that rewards of this size can have
INNER = 100              # sweeps of one policy in modified policy iteration, at most
PATIENCE = 20_000        # full sweeps before `solve` turns to policy iteration
DIRECT = 20_000          # states up to which that is tried
LEAN, SHORT = 4_000_000, 60  # entries from which rows are not copied, and full sweeps that then must do
HINT = "raise tol, or use tier='ball' or 'exact'"
CHUNK = 5_000            # sweeps between two looks at the enclosure: compiled code cannot be interrupted


def solve(model: TabularMDP, tol: float | None = None, *, tier: str = "float", method: str | None = None) -> Solution:
    """Certified optimal values of a discounted MDP.

    Parameters
    ----------
    model : TabularMDP
    tol : float, optional
        Wanted width of the enclosure, in units of value; by default ``1e-9 * max |r| / (1 - gamma)``.
    tier : {"float", "ball", "exact"}
        "ball" and "exact" solve dense systems in arbitrary precision: for at most a few hundred states.
    method : {"dense", "sweeps", "direct", "krylov", "ordered"}, optional
        How tier "float" looks for the values; chosen by the world's rows and by how fast its sweeps settle, and told
        in the certificate. Whatever is chosen, the enclosure is proven by one sweep over all rows.

    Raises
    ------
    NotCertified
        The tier cannot reach ``tol``; ``.solution`` holds the best proven enclosure.
    """
    validate.choice("tier", tier, TIERS)
    if method is not None:
        validate.choice("method", method, quick.METHODS)
    model = _checked(model)
    if tier != "float":
        from mdpkit.solve import precise

        tol = _tol(model, tol)
        if model.S > precise.LARGEST:
            raise MdpkitError("tier", f"'float' beyond {precise.LARGEST} states", tier)
        return precise.discounted(model, policy_iteration(model, math.inf).policy, tol, tier)
    begin = method
    if method is None and model.is_sparse and len(model.rows.val) >= LEAN:
        try:
            return modified_policy_iteration(model, tol, max_iter=SHORT)
        except NotCertified:
            begin = "krylov"
    found = _quickly(model, tol, begin)
    if found.width <= found.certificate.tol or method is not None:
        return finish(found, HINT)
    try:
        return modified_policy_iteration(model, tol, max_iter=PATIENCE)
    except NotCertified as e:
        if model.S > DIRECT:
            raise
        swept: Any = e
    try:                    # sweeps stall near gamma = 1 and on periodic chains; a direct solve does not
        return policy_iteration(model, tol)
    except NotCertified as e:
        raise (e if e.solution.width < swept.solution.width else swept) from None


def _quickly(model: TabularMDP, tol: float | None, method: str | None) -> Solution:
    """The method that suits the world, and one sweep over all rows to prove what came out of it."""
    clock = time.perf_counter()
    tol, gamma = _tol(model, tol), model.gamma
    bound = size(model.r) / (1 - gamma)
    longest = model.S if not model.is_sparse else model.longest_row
    error = backup_error(longest, size(model.r), gamma, bound)
    span = max((0.9 * tol - 4 * error) * (1 - gamma) / max(gamma, 1e-300), 8 * error)
    v, n, used = quick.search(model, span, method)
    Q = _action_values(model, v)
    w, policy = fast_sweeps.greedy(Q)
    error = backup_error(longest, size(model.r), gamma, size(v))
    lo, hi = macqueen_porteus(w, v, gamma, error)
    # V* <= hi, so that no Q* is above Q by more than gamma max (hi - v)
    above = gamma * float((hi - v).max())
    most = Q + (above + 1e-15 * abs(above) + 2 * error)
    names = {"dense": "modified policy iteration (BLAS)", "sweeps": "modified policy iteration",
             "krylov": "policy iteration (BiCGSTAB)", "direct": "policy iteration (elimination)",
             "ordered": "strongly connected components in order"}
    certificate = Certificate("float", names[used], tol, time.perf_counter() - clock)
    return Solution(0.5 * (lo + hi), lo, hi, policy, most >= lo[:, None], n, certificate)


def _action_values(model: TabularMDP, v: np.ndarray) -> np.ndarray:
    if model.is_sparse:
        return sweeps.action_values(*model.rows, model.r, model.gamma, v)
    return model.r + model.gamma * (model.P.reshape(-1, model.S) @ v).reshape(model.r.shape)


def value_iteration(model: TabularMDP, tol: float | None = None, *, max_iter: int | None = None) -> Solution:
    """V <- T V until the enclosure is narrow enough.

    Without ``max_iter`` it stops when the span of T V - V, which exact arithmetic halves every log 2/(1 - gamma)
    sweeps, has stopped to do so: rounding is then all that is left.
    """
    return _sweep(model, tol, max_iter, 0, "value iteration")


def modified_policy_iteration(model: TabularMDP, tol: float | None = None, *, max_iter: int | None = None) -> Solution:
    """`value_iteration` with sweeps of the greedy policy alone between full ones (Puterman & Shin 1978)."""
    return _sweep(model, tol, max_iter, INNER, "modified policy iteration")


def policy_iteration(model: TabularMDP, tol: float | None = None, *, start: Any = None) -> Solution:
    """Howard's policy iteration: evaluate by a linear solve, switch in every state that improves.

    An action is switched only when its gain exceeds what the solve and rounding can feign, so that every switch is
    a true improvement and no policy comes twice.

    Parameters
    ----------
    start : int array (S,), optional
        First policy; all zeros where omitted.
    """
    clock = time.perf_counter()
    model = _checked(model)
    policy = np.zeros(model.S, np.int64)
    if start is not None:
        start = validate.array("start", start, (model.S,), integer=True)
        policy = validate.within("start", start, 0, model.A - 1).copy()
    rows, states, iterations = model.rows, np.arange(model.S), 0
    while True:
        v = _evaluate(model, policy)
        iterations += 1
        Q = sweeps.action_values(*rows, model.r, model.gamma, v)
        e = _error(model, v)
        residual = float(np.abs(Q[states, policy] - v).max()) + e
        feigned = 2 * (e + model.gamma * residual / (1 - model.gamma))
        better = Q.max(1) - Q[states, policy] > feigned
        if not better.any():
            break
        policy = np.where(better, Q.argmax(1), policy)
    greedy = np.empty_like(policy)
    w = np.empty_like(v)
    sweeps.bellman(*rows, model.r, model.gamma, v, w, greedy)
    return _certify(model, v, w, greedy, iterations, "policy iteration", _tol(model, tol), clock)


def policy_value(model: TabularMDP, policy: Any) -> np.ndarray:
    """V of a deterministic policy (S,) by a linear solve, in floats and uncertified."""
    model = _checked(model)
    policy = validate.within("policy", validate.array("policy", policy, (model.S,), integer=True), 0, model.A - 1)
    return _evaluate(model, policy)


def _sweep(model: TabularMDP, tol: float | None, max_iter: int | None, inner: int, method: str) -> Solution:
    clock = time.perf_counter()
    model = _checked(model)
    tol = _tol(model, tol)
    limit = math.inf if max_iter is None else validate.count("max_iter", max_iter)
    v, w, policy = np.zeros(model.S), np.empty(model.S), np.empty(model.S, np.int64)
    v += 0.5 * (model.r.max() + model.r.min()) / (1 - model.gamma)      # the midpoint of all possible values
    gamma, rows = model.gamma, model.rows
    halving = 2 + math.ceil(math.log(2) / (1 - gamma))
    iterations, since, reach, target = 0, 0, math.inf, tol * (1 - gamma) / max(gamma, 1e-300)
    best = None
    while True:
        error = _error(model, v)
        span = max(target - 4 * error, error)           # below the rounding of one sweep nothing is gained
        n = int(min(halving - since, CHUNK, limit - iterations))
        if inner:
            done, now = sweeps.modified(*rows, model.r, gamma, v, w, policy, span, n, inner)
        else:
            done, now = sweeps.iterate_values(*rows, model.r, gamma, v, w, policy, span, n)
        iterations, since = iterations + done, since + done
        lo, hi = macqueen_porteus(w, v, gamma, _error(model, v))
        width = float(np.subtract(hi, lo, out=lo).max())
        del lo, hi
        stuck = since >= halving and not now < 0.6 * reach
        if width <= tol or iterations >= limit or now <= error or stuck:
            break
        if best is None or width < best[0]:
            best = width, w.copy(), v.copy(), policy.copy()
        if since >= halving:
            reach, since = now, 0
        v[:] = w
    if best is not None and best[0] < width:
        _, w, v, policy = best
    return _certify(model, v, w, policy, iterations, method, tol, clock)


def _certify(model: TabularMDP, v: np.ndarray, w: np.ndarray, policy: np.ndarray, iterations: int, method: str,
             tol: float, clock: float) -> Solution:
    lo, hi = macqueen_porteus(w, v, model.gamma, _error(model, v))
    reach = backup_error(model.longest_row, size(model.r), model.gamma, size(hi))
    optimal = sweeps.near(*model.rows, model.r, model.gamma, hi, reach, lo)
    certificate = Certificate("float", method, tol, time.perf_counter() - clock)
    middle = lo + hi
    middle *= 0.5
    return finish(Solution(middle, lo, hi, policy, optimal, iterations, certificate), HINT)


def _evaluate(model: TabularMDP, policy: np.ndarray) -> np.ndarray:
    rows = np.arange(model.S) * model.A + policy
    r = model.r.ravel()[rows]
    if model.S <= DENSE:
        P = model.P[rows].toarray() if model.is_sparse else model.P.reshape(-1, model.S)[rows]
        return np.linalg.solve(np.eye(model.S) - model.gamma * P, r)
    import scipy.sparse as sp
    from scipy.sparse.linalg import spsolve

    all_rows = model.P if model.is_sparse else sp.csr_array(model.P.reshape(-1, model.S))
    return spsolve((sp.eye_array(model.S) - model.gamma * all_rows[rows]).tocsc(), r)


def _checked(model: Any) -> TabularMDP:
    validate.instance("model", model, TabularMDP)
    top = size(model.r) / (1 - model.gamma)
    if not top < 1e300:
        raise MdpkitError("r", "small enough for float64 values (max |r|/(1 - gamma) below 1e300)", top)
    return model


def _tol(model: TabularMDP, tol: float | None) -> float:
    return tolerance(tol, max(RELATIVE_TOL * size(model.r), 1e-290) / (1 - model.gamma))


def _error(model: TabularMDP, v: np.ndarray) -> float:
    return backup_error(model.longest_row, size(model.r), model.gamma, size(v))
