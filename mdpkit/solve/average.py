"""Average reward: the largest long-run mean reward from each state, also where it depends on the start (multichain).

Within a maximal end component every state can be reached from every other, so the best gain g is one number there,
and any h encloses it: min_s (T h - h)(s) <= g <= max_s (T h - h)(s) over the actions that stay. Policy iteration finds
an h for which both ends nearly agree. Whoever is elsewhere chooses in which component to end up, a stopping problem
whose stops pay the components' gains. The discount of the model plays no part.

Puterman, Markov Decision Processes, 1994, sections 8.5, 9.1 and 9.5; Ashok et al. 2017 (components).
"""

from __future__ import annotations

import time
from fractions import Fraction
from typing import Any, NamedTuple

import flint
import numpy as np
from scipy.sparse import csr_array, vstack
from scipy.sparse.csgraph import connected_components

from mdpkit import validate
from mdpkit.errors import MdpkitError
from mdpkit.models.tabular import TabularMDP
from mdpkit.rational import fraction, rational
from mdpkit.solve import graph, stopping
from mdpkit.solve.precise import LARGEST, down, up
from mdpkit.solve.solution import Certificate, Solution, finish, tolerance

PATIENCE = 1_000        # policies in a component; the enclosure says what the last one is good for


class Component(NamedTuple):
    """Best gain in a component, proven: bounds, the exact value or None, and the policy of its states."""

    lo: float
    hi: float
    exact: Fraction | None
    policy: np.ndarray


def solve(model: TabularMDP, tol: float | None = None, *, tier: str = "float") -> Solution:
    """The optimal gain from each state, certified.

    Parameters
    ----------
    model : TabularMDP
    tol : float, optional
        Wanted width of the enclosure; by default ``1e-9 * max |r|``.
    tier : {"float", "exact"}

    Returns
    -------
    Solution
        ``value`` is the gain (S,); ``optimal`` marks the actions that can keep it, which does not make a policy that
        mixes them optimal; ``policy`` is. Its bias is that of `evaluate`.

    Raises
    ------
    NotCertified
        The tier cannot reach ``tol``; ``.solution`` holds the best proven enclosure.
    """
    validate.instance("model", model, TabularMDP)
    validate.choice("tier", tier, ("float", "exact"))
    top = float(np.abs(model.r).max())
    asked = tolerance(tol, max(1e-9 * top, 1e-290))
    clock = time.perf_counter()
    S, A = model.r.shape
    moves = graph.support(model.rows, S, A)
    label, staying = graph.end_components(moves, np.ones((S, A), np.bool_))
    parts = [_component(model, np.flatnonzero(label == k), staying, tier) for k in range(label.max() + 1)]
    ends = [_stops(model, staying, label, [c[i] for c in parts]) for i in (0, 1)]
    if tier == "exact":
        q = ends[0]
        found = stopping.rational(q, False, True, dict(zip(np.flatnonzero(q.origin < 0).tolist(),
                                                           [c.exact for c in parts if c.exact is not None])))
        lo, hi, choice, n = found.lo, found.hi, found.choice, found.iterations
        exact = tuple(found.exact[k] for k in q.merged)  # type: ignore[index]
    else:
        below, above = (stopping.iterate(e, False, True) for e in ends)
        q, lo, hi, choice, n, exact = ends[0], below.lo, above.hi, below.choice, below.iterations, None
    policy = _policy(moves, staying, label, parts, q, choice, S, A)
    lo, hi = lo[q.merged], hi[q.merged]
    P = csr_array((model.rows.val, model.rows.col, model.rows.ptr), (S * A, S))
    keeps = (P @ hi).reshape(S, A) + stopping.rounding(P, np.zeros(1), hi) >= lo[:, None]
    method = "end components and a stopping problem" + (" in rationals" if tier == "exact" else "")
    certificate = Certificate(tier, method, asked, time.perf_counter() - clock, exact)
    return finish(Solution(0.5 * (lo + hi), lo, hi, policy, keeps, n, certificate), "raise tol, or use tier='exact'")


def evaluate(model: TabularMDP, policy: Any) -> tuple[np.ndarray, np.ndarray]:
    """Gain and bias (S,) of a policy, in floats and uncertified; the bias has mean 0 in every recurrent class.

    Parameters
    ----------
    model : TabularMDP
    policy : int array (S,) or probabilities (S, A)
    """
    validate.instance("model", model, TabularMDP)
    pi = validate.policy("policy", policy, model.r.shape)
    P, r = np.einsum("sa,sat->st", pi, model.dense), (pi * model.r).sum(1)
    S = model.S
    limit, classes = np.zeros((S, S)), _recurrent(P)
    for inside in classes:
        m = len(inside)
        M = np.vstack([np.eye(m) - P[np.ix_(inside, inside)].T, np.ones(m)])
        limit[np.ix_(inside, inside)] = np.linalg.lstsq(M, np.eye(m + 1)[m], rcond=None)[0]
    inner = np.concatenate(classes)
    outer = np.setdiff1d(np.arange(S), inner)
    into = np.linalg.solve(np.eye(len(outer)) - P[np.ix_(outer, outer)], P[np.ix_(outer, inner)])
    limit[np.ix_(outer, inner)] = into @ limit[np.ix_(inner, inner)]
    g = limit @ r
    return g, np.linalg.solve(np.eye(S) - P + limit, r - g) - limit @ (r - g)


def _recurrent(P: np.ndarray) -> list[np.ndarray]:
    """The closed classes of a chain (S, S)."""
    n, part = connected_components(csr_array(P > 0), connection="strong")
    return [inside for inside in (np.flatnonzero(part == k) for k in range(n))
            if not (P[inside] > 0)[:, part != part[inside[0]]].any()]


def _component(model: TabularMDP, states: np.ndarray, staying: np.ndarray, tier: str) -> Component:
    """Policy iteration among policies with one recurrent class, then the enclosure that its h gives."""
    P, r = _rows_of(model, states, staying[states])
    m, s0 = len(states), 0
    policy = _lead_to(P, np.arange(m) == 0)
    policy[0] = np.flatnonzero(staying[states[0]])[0]
    for _ in range(PATIENCE):
        policy, s0 = _one_class(P, r, policy, s0)
        h = _gain_and_h(P, r, policy, s0)[1]
        Q = np.where(staying[states], r + P @ h, -np.inf)
        better = Q.max(1) > Q[np.arange(m), policy] + 1e-11 * (1 + np.abs(Q.max(1)))
        if not better.any():
            break
        policy = np.where(better, Q.argmax(1), policy)
    if tier == "exact":
        return _exactly(P, r, staying[states], policy, s0)
    top, n = float(np.abs(h).max()), int((P > 0).sum(-1).max())
    error = stopping.backup_error(n, float(np.abs(r).max()), 1.0, top) + 2.0**-51 * top
    D = Q.max(1) - h
    return Component(float(D.min()) - error, float(D.max()) + error, None, policy)


def _rows_of(model: TabularMDP, states: np.ndarray, staying: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """P (m, A, m) and r (m, A) within a component; rows that leave it are zero."""
    rows, A, m = model.rows, model.A, len(states)
    whole = csr_array((rows.val, rows.col, rows.ptr), (model.S * A, model.S))
    inner = whole[(states[:, None] * A + np.arange(A)).ravel()][:, states]
    if m * A * m > 10**8:
        raise MdpkitError("model", "with end components of a few thousand states", None, came=f"one has {m}")
    return np.where(staying[..., None], inner.toarray().reshape(m, A, m), 0.0), model.r[states]


def _lead_to(P: np.ndarray, goal: np.ndarray) -> np.ndarray:
    """For each state an action that leads nearer to the goal."""
    action, found = np.zeros(len(P), np.int64), goal.copy()
    while not found.all():
        step = P[:, :, found].sum(-1) > 0
        new = step.any(1) & ~found
        action[new] = step[new].argmax(1)
        found |= new
    return action


def _one_class(P: np.ndarray, r: np.ndarray, policy: np.ndarray, s0: int) -> tuple[np.ndarray, int]:
    """The policy, all states led to its best recurrent class where it has several; and a state of that class."""
    every = np.arange(len(P))
    chain = P[every, policy]
    classes = _recurrent(chain)
    if len(classes) == 1:
        return policy, s0 if s0 in classes[0] else int(classes[0][0])
    gains = [_gain_and_h(P[np.ix_(c, np.arange(P.shape[1]), c)], r[c], policy[c], 0)[0] for c in classes]
    best = classes[int(np.argmax(gains))]
    goal = np.isin(every, best)
    return np.where(goal, policy, _lead_to(P, goal)), int(best[0])


def _gain_and_h(P: np.ndarray, r: np.ndarray, policy: np.ndarray, s0: int) -> tuple[float, np.ndarray]:
    """g and h with h(s0) = 0 of a policy with one recurrent class, s0 in it."""
    every = np.arange(len(P))
    M = np.eye(len(P)) - P[every, policy]
    M[:, s0] = 1.0                                    # h(s0) = 0 leaves room for g
    x = np.linalg.solve(M, r[every, policy])
    g, x[s0] = float(x[s0]), 0.0
    return g, x


def _exactly(P: np.ndarray, r: np.ndarray, staying: np.ndarray, policy: np.ndarray, s0: int) -> Component:
    """The same in rationals, from the policy of the floats: proven when no staying action improves on g and h."""
    m = len(P)
    if m > LARGEST:
        raise MdpkitError("tier", f"'float' beyond {LARGEST} states in a component", "exact")
    zero, one = rational(0.0), rational(1.0)
    p = {(s, a): [(int(t), rational(P[s, a, t])) for t in np.flatnonzero(P[s, a])] for s, a in np.argwhere(staying)}
    for _ in range(PATIENCE):
        policy, s0 = _one_class(P, r, policy, s0)
        M = [[one if t == s0 else zero for t in range(m)] for _ in range(m)]
        for s in range(m):
            if s != s0:
                M[s][s] += one
            for t, x in p[s, int(policy[s])]:
                if t != s0:
                    M[s][t] -= x
        h = [x[0] for x in flint.fmpq_mat(M).solve(
            flint.fmpq_mat([[rational(r[s, policy[s]])] for s in range(m)])).tolist()]
        g, h[s0] = h[s0], zero
        better = False
        for s in range(m):
            for a in np.flatnonzero(staying[s]):
                if rational(r[s, a]) + sum((x * h[t] for t, x in p[s, int(a)]), zero) > g + h[s]:
                    policy[s], better = a, True
                    break
        if not better:
            return Component(down(g), up(g), fraction(g), policy)
    raise MdpkitError("tier", "'float': policies of equal gain came round again", "exact")


def _stops(model: TabularMDP, staying: np.ndarray, label: np.ndarray, gains: list) -> stopping.Quotient:
    """The stopping problem: leave a component by a choice that leads out, or stay for its gain (the last rows)."""
    S, A = model.r.shape
    q = stopping.quotient(model.rows, np.full(S, np.nan), np.zeros((S, A)), ~staying, label)
    single = int((label < 0).sum())
    owner = np.concatenate([q.owner, single + np.arange(len(gains))])
    order = np.argsort(owner, kind="stable")
    P = vstack([q.P, csr_array((len(gains), q.P.shape[1]))]).tocsr()[order]
    origin = np.concatenate([q.origin, np.full(len(gains), -1)])[order]
    return stopping.Quotient(csr_array(P), np.concatenate([q.gain, gains])[order],
                             np.searchsorted(owner[order], np.arange(q.P.shape[1] + 1)), owner[order], origin, q.merged)


def _policy(moves: graph.Support, staying: np.ndarray, label: np.ndarray, parts: list[Component],
            q: stopping.Quotient, choice: np.ndarray, S: int, A: int) -> np.ndarray:
    """Stay in the components that stop; elsewhere lead to the chosen way out."""
    exits = q.origin[choice][q.origin[choice] >= 0]
    policy = graph.towards(moves, np.isin(np.arange(S), exits // A), staying)
    policy[exits // A] = exits % A
    for k, part in enumerate(parts):
        inside = np.flatnonzero(label == k)
        if q.origin[choice[q.merged[inside[0]]]] < 0:
            policy[inside] = part.policy
    return policy
