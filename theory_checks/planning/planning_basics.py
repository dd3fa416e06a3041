"""Value iteration, policy iteration and their lemmas held to their claims, in rationals wherever no logarithm enters.

Nothing is forgiven in evidence EXACT: the worlds are the rationals that their floats are, rows of P sum to exactly 1,
and the sides of an identity must be the same rational. V* is that of policy iteration in rationals, accepted only if
T V* = V*.

Against the card: its tight instance of C3 is tight in real numbers, not in the floats nearest to .9, .882, 9.01 and
9.99, which break the tie; C5 counts changes of policy (with A = 1 the bound is 0); its control there, value iteration,
says nothing on worlds so large that the bound exceeds log(1/eps)/(1-gamma), so the search must find small ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from hypothesis import strategies as st

from algorithms.planning import planning_basics as pb
from mdpkit import rational, validate
from mdpkit.access import Exact
from mdpkit.instances.lower_bounds import greedy_loss, greedy_loss_estimate, leaking
from mdpkit.models.tabular import EpisodicMDP, TabularMDP
from mdpkit.rational import exact, fraction
from mdpkit.records import Result
from mdpkit.solve.rounding import U, backup_error
from theory_checks.engine.claims import Check, Claim, Saboteur
from theory_checks.engine.judges import Sure
from theory_checks.engine.rows import excess, tightness

HERE = "theory_checks.planning.planning_basics"
GAMMAS = (0.5, 0.9, 0.97)
WEIGHTS = np.array([0, 0, 0, 1, 1, 2, 4, 8])             # of successors, before they are normalised
TIES = ({"gamma": 0.875, "epsilon": 2.0**-7}, {"gamma": 0.5, "epsilon": 0.125}, {"gamma": 0.96875, "epsilon": 2.0**-10})
LEAKS = ({"leak": 0.01, "gamma": 0.9}, {"leak": 2.0**-20, "gamma": 0.97}, {"leak": 0.5, "gamma": 0.5})
SURE = Sure("EXACT", 200)
BETA = 16.55                                             # inverse temperature of the control of C1


# ------------------------------------------------------------------------------------------ worlds

def _bytes(draw: st.DrawFn, *shape: int) -> np.ndarray:
    """Integers 0..255, one choice of the search for all of them: they shrink to 0 and are drawn fast."""
    n = math.prod(shape)
    return np.frombuffer(draw(st.binary(min_size=n, max_size=n)), np.uint8).astype(np.int64).reshape(shape)


def _law(draw: st.DrawFn, *shape: int) -> np.ndarray:
    """Probability rows, one byte each: point masses on k for even bytes 2k, some pattern of weights for odd ones."""
    raw, i = _bytes(draw, *shape[:-1], 1), np.arange(shape[-1])
    k = raw // 2
    weights = WEIGHTS[(k // 2 ** (i % 5) + 3 * i * k) % 8] * (raw % 2)
    weights = np.where(weights.sum(-1, keepdims=True) > 0, weights, i == k % shape[-1])
    return weights / weights.sum(-1, keepdims=True)


def _model(draw: st.DrawFn, gammas: tuple[float, ...] = GAMMAS) -> TabularMDP:
    S, A = draw(st.integers(1, 6)), draw(st.integers(1, 4))
    return TabularMDP(_law(draw, S, A, S), _bytes(draw, S, A) % 17 / 16, draw(st.sampled_from(gammas)), _law(draw, S))


def _guess(draw: st.DrawFn, m: TabularMDP) -> np.ndarray:
    """Any V, or one near V*, where bounds are tight."""
    scale = draw(st.sampled_from([1.0, 0.125, 4.0]))
    centre = _float_optimum(m)[1] if draw(st.booleans()) else 0.0
    return centre + scale * (_bytes(draw, m.S) % 17 - 8) / 8


def _near(draw: st.DrawFn, m: TabularMDP) -> np.ndarray:
    return (_bytes(draw, m.S) % 3 - 1) / 64


def _policy(draw: st.DrawFn, m: TabularMDP | EpisodicMDP) -> np.ndarray:
    return validate.simplex("pi", _law(draw, *m.r.shape), m.r.shape)


def _start(draw: st.DrawFn, m: TabularMDP) -> np.ndarray:
    return _bytes(draw, m.S) % m.A


def _P_hat(draw: st.DrawFn, m: TabularMDP) -> np.ndarray:
    rows = np.where((_bytes(draw, *m.r.shape) % 2 == 1)[..., None], _law(draw, *m.P.shape), m.P)
    return validate.simplex("P_hat", rows, m.P.shape)


def _r_hat(draw: st.DrawFn, m: TabularMDP) -> np.ndarray:
    return np.where(_bytes(draw, *m.r.shape) % 2 == 1, _bytes(draw, *m.r.shape) % 17 / 16, m.r)


@st.composite
def _worlds(draw: st.DrawFn, gammas: tuple[float, ...] = GAMMAS, **fields: Any) -> dict[str, Any]:
    """A model, and what the fields draw for it: a function of (draw, model), or a strategy."""
    m = _model(draw, gammas)
    return {"model": m, **{k: f(draw, m) if callable(f) else draw(f) for k, f in fields.items()}}


def losses() -> st.SearchStrategy[dict[str, Any]]:
    """A model and a V, among them the instances on which the greedy loss is as large as it can be."""
    tight = [{"model": greedy_loss(**w), "V": greedy_loss_estimate(**w)} for w in TIES]
    return st.one_of(values(), st.sampled_from(tight))


def errors() -> st.SearchStrategy[dict[str, Any]]:
    """A model and its estimate, among them the leak that nearly attains the bound."""
    tight = [{"model": leaking(0.0, w["gamma"]), "pi": np.ones((2, 1)), "P_hat": leaking(**w).P,
              "r_hat": leaking(**w).r} for w in LEAKS]
    return st.one_of(estimates(), st.sampled_from(tight))


@st.composite
def horizons(draw: st.DrawFn) -> dict[str, Any]:
    """An episodic model and two policies."""
    H, S, A = (draw(st.integers(1, 4)) for _ in range(3))
    m = EpisodicMDP(_law(draw, H, S, A, S), _bytes(draw, H, S, A) % 17 / 16, _law(draw, S))
    return {"model": m, "pi": _policy(draw, m), "pi_ref": _policy(draw, m)}


values = partial(_worlds, V=_guess)
pairs = partial(_worlds, (*GAMMAS, 0.98), V=_guess, step=_near, shift=st.sampled_from([1.0, -0.125, 8.0]))
targets = partial(_worlds, eps=st.sampled_from([1.0, 0.125, 2.0**-6, 2.0**-10]))
starts = partial(_worlds, (*GAMMAS, 0.99), start=_start)
policies = partial(_worlds, pi=_policy, pi_ref=_policy)
estimates = partial(_worlds, pi=_policy, P_hat=_P_hat, r_hat=_r_hat)


# ---------------------------------------------------------------------------------------- measures

def contraction(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C1: |T V - T W| against gamma |V - W|, unless T(V + c) differs from T V + gamma c."""
    P, r, g = _exactly(world["model"])
    V, W, c = exact(world["V"]), exact(world["V"] + world["step"]), rational.rational(world["shift"])
    TV = subject(P, r, g, V)
    shifted = np.abs(subject(P, r, g, V + c) - TV - g * c).max()
    return _worst((np.abs(TV - subject(P, r, g, W)).max(), g * np.abs(V - W).max()), (shifted, 0))


def enclosure(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C2: of lo <= V* <= hi and lo <= V^{greedy(V)} in each state, as distances against the width hi - lo."""
    P, r, g = _exactly(world["model"])
    V = exact(world["V"])
    best, mine = _optimum(world["model"]), pb.evaluate(P, r, g, pb.greedy(P, r, g, V))
    lo, hi = subject(P, r, g, V)
    return _worst(*((far, width) for x in zip(lo, hi, best, mine)
                    for far, width in ((x[1] - x[2], x[1] - x[0]), (x[2] - x[0], x[1] - x[0]),
                                       (x[1] - x[3], x[1] - x[0]))))


def greedy_gap(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C3: the loss of greedy(V) in its worst state against both bounds."""
    P, r, g = _exactly(world["model"])
    V, best = exact(world["V"]), _optimum(world["model"])
    loss = (best - pb.evaluate(P, r, g, pb.greedy(P, r, g, V))).max()
    return _worst(*((loss, bound) for bound in subject(P, r, g, V, best)))


def greedy_tie(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C3-tight: how far the loss is from both bounds on the instance that attains them."""
    m = greedy_loss(world["gamma"], world["epsilon"])
    P, r, g = _exactly(m)
    V, best = exact(greedy_loss_estimate(world["gamma"], world["epsilon"])), _optimum(m)
    loss = (best - pb.evaluate(P, r, g, pb.greedy(P, r, g, V))).max()
    return _worst(*((abs(bound - loss), 0) for bound in subject(P, r, g, V, best)))


def stopped(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C3-stop: the exact loss of the policy returned, and twice the error of the value, against eps."""
    m, eps = world["model"], world["eps"]
    plan = subject(Exact(m), pb.theory(eps), rng).output
    best = _optimum(m)
    loss = (best - pb.evaluate(*_exactly(m), plan.policy)).max()
    error = np.abs(exact(plan.value) - best).max()
    # each backup errs by at most e, a difference by 2 u top, and 1/(1 - gamma) multiplies both, twice
    top = 1.0 / (1.0 - m.gamma)
    e = backup_error(m.S, 1.0, m.gamma, top)
    return {"measured": float(max(loss, 2 * error)), "bound": eps, "slack": (4 * e + 32 * U * top) * top + 8 * U * eps}


def improvement(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C4: the contraction at every step, unless V falls, is no value of its policy, or ends below V*."""
    P, r, g = _exactly(world["model"])
    best, visited = _optimum(world["model"]), subject(P, r, g, world["start"])
    found = [(np.abs(best - visited.values[-1]).max(), 0)]
    for pi, V in zip(*visited):
        found.append((np.abs(pb.evaluate(P, r, g, pi) - V).max(), 0))
    for V, after in zip(visited.values, visited.values[1:]):
        TV = pb.backup(P, r, g, V)
        found += [(max((TV - after).max(), (V - TV).max(), 0), 0),
                  (np.abs(best - after).max(), g * np.abs(best - V).max())]
    return _worst(*found)


def changes(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C5: how often the policy changed, against the bound rounded down."""
    m = world["model"]
    visited = subject(*_exactly(m), world["start"])
    return {"measured": len(visited.policies) - 1, "bound": pb.iteration_bound(m.S, m.A, m.gamma)}


def difference(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C6: the lemma's side against the difference of two linear solves."""
    P, r, g = _exactly(world["model"])
    rho, pi, ref = exact(world["model"].rho), exact(world["pi"]), exact(world["pi_ref"])
    direct = rho @ (pb.evaluate(P, r, g, pi) - pb.evaluate(P, r, g, ref))
    return _worst((abs(subject(P, r, g, rho, pi, ref) - direct), 0))


def two_models(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C7: the lemma's side against the difference of two linear solves."""
    m = world["model"]
    P, r, g = _exactly(m)
    rho, pi, P_hat, r_hat = exact(m.rho), exact(world["pi"]), exact(world["P_hat"]), exact(world["r_hat"])
    direct = rho @ (pb.evaluate(P_hat, r_hat, g, pi) - pb.evaluate(P, r, g, pi))
    return _worst((abs(subject(P, r, g, rho, pi, P_hat, r_hat) - direct), 0))


def model_error(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C7-bound: |Vhat^pi - V^pi| against the bound."""
    P, r, g = _exactly(world["model"])
    pi, P_hat, r_hat = exact(world["pi"]), exact(world["P_hat"]), exact(world["r_hat"])
    error = np.abs(pb.evaluate(P_hat, r_hat, g, pi) - pb.evaluate(P, r, g, pi)).max()
    return _worst((error, subject(P, r, g, P_hat, r_hat)))


def leak(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C7-tight: bound (1 - gamma) against error (1 - gamma + gamma leak), which must agree."""
    (P, r, g), (P_hat, _, _) = (_exactly(leaking(x, world["gamma"])) for x in (0.0, world["leak"]))
    pi = np.zeros(2, np.int64)
    error = np.abs(pb.evaluate(P_hat, r, g, pi) - pb.evaluate(P, r, g, pi)).max()
    return _worst((abs(subject(P, r, g, P_hat, r) * (1 - g) - error * (1 - g + g * P_hat[0, 0, 1])), 0))


def flow(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C8: the total, the value and the flow of an occupancy."""
    P, r, g = _exactly(world["model"])
    rho, pi = exact(world["model"].rho), exact(world["pi"])
    d = subject(P, g, rho, pi)
    into = (1 - g) * rho + g * (d[:, :, None] * P).sum((0, 1))
    value = (d * r).sum() / (1 - g) - rho @ pb.evaluate(P, r, g, pi)
    return _worst((abs(d.sum() - 1), 0), (abs(value), 0), (np.abs(d.sum(1) - into).max(), 0))


def horizon_difference(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C9: the lemma's side against the difference of two backward inductions."""
    m = world["model"]
    P, r, rho, pi, ref = (exact(x) for x in (m.P, m.r, m.rho, world["pi"], world["pi_ref"]))
    direct = rho @ (pb.finite_horizon_values(P, r, pi)[0] - pb.finite_horizon_values(P, r, ref)[0])
    return _worst((abs(subject(P, r, rho, pi, ref) - direct), 0))


def _exactly(m: TabularMDP) -> tuple[np.ndarray, np.ndarray, Any]:
    return exact(m.P), exact(m.r), rational.rational(m.gamma)


def _float_optimum(m: TabularMDP) -> tuple[np.ndarray, np.ndarray]:
    visited = pb.policy_iteration(m.P, m.r, m.gamma, np.zeros(m.S, np.int64))
    return visited.policies[-1], visited.values[-1]


def _optimum(m: TabularMDP) -> np.ndarray:
    P, r, g = _exactly(m)
    best = pb.policy_iteration(P, r, g, _float_optimum(m)[0]).values[-1]
    if (pb.backup(P, r, g, best) != best).any():
        raise ArithmeticError("policy iteration in rationals ended in no fixed point of T")
    return best


def _worst(*pairs: tuple[Any, Any]) -> dict:
    """Of (measured, bound): the one that violates most, or else the tightest."""
    rows = [{"measured": fraction(measured), "bound": fraction(bound)} for measured, bound in pairs]
    return max(rows, key=lambda row: (max(excess(row), 0), tightness(row)))


# ----------------------------------------------------------------------------------------- saboteurs

def boltzmann(P, r, gamma, V):
    """The mean of Q under weights exp(BETA Q), in place of the maximum; the weights are floats, the mean is exact."""
    Q = pb.action_values(P, r, gamma, V)
    weights = exact(np.exp(BETA * (Q - Q.max(-1)[:, None]).astype(float)))
    return (weights * Q).sum(-1) / weights.sum(-1)


def clipped(P, r, gamma, V):
    """T V cut off at the largest value that there can be: a contraction still."""
    return np.minimum(pb.backup(P, r, gamma, V), 1 / (1 - gamma))


def one_step_bounds(P, r, gamma, V):
    """gamma in place of gamma/(1 - gamma)."""
    W = pb.backup(P, r, gamma, V)
    return W + gamma * (W - V).min(), W + gamma * (W - V).max()


def bounds_around_V(P, r, gamma, V):
    """The same distances, from V in place of T V."""
    lo, hi = pb.bounds(P, r, gamma, V)
    W = pb.backup(P, r, gamma, V)
    return V + (lo - W), V + (hi - W)


def one_step_loss(P, r, gamma, V, best):
    """Without 1/(1 - gamma)."""
    return tuple(x * (1 - gamma) for x in pb.loss_bounds(P, r, gamma, V, best))


def halved_loss(P, r, gamma, V, best):
    """Without the factor 2, as if V* were the greedy policy's value too."""
    by_error, by_span = pb.loss_bounds(P, r, gamma, V, best)
    return by_error / 2, by_span


def small_change(access, params, rng):
    """Stops at |D| <= eps and returns T V."""
    return _sweeps(access, params, lambda D, gamma: np.abs(D).max() <= params.eps)


def small_span(access, params, rng):
    """Stops at gamma (max D - min D) <= eps, without 1/(1 - gamma)."""
    return _sweeps(access, params, lambda D, gamma: gamma * (D.max() - D.min()) <= params.eps)


def _sweeps(access, params, stop):
    P, r, gamma = access.model.P, access.model.r, access.model.gamma
    V = np.zeros(len(r))
    while not stop(pb.backup(P, r, gamma, V) - V, gamma):
        V = pb.backup(P, r, gamma, V)
    return Result(pb.Plan(pb.greedy(P, r, gamma, V), pb.backup(P, r, gamma, V)), None, params)


def blind(P, r, gamma, start):
    """Every state takes its next action, whether that improves or not."""
    return _visit(P, r, gamma, start, lambda Q, pi: (pi + 1) % Q.shape[1], 2 + r.shape[1])


def one_state(P, r, gamma, start):
    """Switches in the first state that improves, and in no other."""
    def change(Q, pi):
        better = Q.max(-1) > Q[np.arange(len(pi)), pi]
        return np.where(better & (np.cumsum(better) == 1), Q.argmax(-1), pi)
    return _visit(P, r, gamma, start, change, math.inf)


def restless(P, r, gamma, start):
    """Does not keep on ties: takes another best action where there is one. Given up soon after the bound."""
    def change(Q, pi):
        best = Q == Q.max(-1)[:, None]
        best[np.arange(len(pi)), pi] &= best.sum(-1) == 1
        return best.argmax(-1)
    return _visit(P, r, gamma, start, change, pb.iteration_bound(*r.shape, gamma) + 2)


def sweeping(P, r, gamma, start):
    """Value iteration, one policy a sweep, until the floats rest."""
    P, r, gamma = P.astype(float), r.astype(float), float(gamma)
    V, rows = pb.evaluate(P, r, gamma, start), [(start, pb.evaluate(P, r, gamma, start))]
    while (pb.backup(P, r, gamma, V) != V).any() and len(rows) < pb.iteration_bound(*r.shape, gamma) + 2:
        V = pb.backup(P, r, gamma, V)
        rows.append((pb.greedy(P, r, gamma, V), V))
    return pb.Iterates(*(np.array(column) for column in zip(*rows)))


def _visit(P, r, gamma, start, change, limit):
    pi, rows, known = start, [], {}
    while (not rows or (rows[-1][0] != pi).any()) and len(rows) < limit:
        key = pi.tobytes()
        if key not in known:
            V = pb.evaluate(P, r, gamma, pi)
            known[key] = V, change(pb.action_values(P, r, gamma, V), pi)
        rows.append((pi, known[key][0]))
        pi = known[key][1]
    return pb.Iterates(*(np.array(column) for column in zip(*rows)))


def reference_occupancy(P, r, gamma, rho, pi, pi_ref):
    """d^{pi_ref} in place of d^pi."""
    return pb.performance_difference(P, r, gamma, rho, pi_ref, pi_ref)


def unscaled(P, r, gamma, rho, pi, pi_ref):
    """Without 1/(1 - gamma), as over a finite horizon."""
    return (1 - gamma) * pb.performance_difference(P, r, gamma, rho, pi, pi_ref)


def mixed_up(P, r, gamma, rho, pi, P_hat, r_hat):
    """The model's occupancy with the model's value."""
    wrong = r_hat - r + gamma * ((P_hat - P) @ pb.evaluate(P_hat, r_hat, gamma, pi))
    return (pb.occupancy(P_hat, gamma, rho, pi) * wrong).sum() / (1 - gamma)


def true_value(P, r, gamma, rho, pi, P_hat, r_hat):
    """The true occupancy with the true value."""
    wrong = r_hat - r + gamma * ((P_hat - P) @ pb.evaluate(P, r, gamma, pi))
    return (pb.occupancy(P, gamma, rho, pi) * wrong).sum() / (1 - gamma)


def one_factor_less(P, r, gamma, P_hat, r_hat):
    """gamma eps_P/(2 (1 - gamma))."""
    rewards = pb.simulation_bound(P, r, gamma, P, r_hat)
    return rewards + (pb.simulation_bound(P, r, gamma, P_hat, r_hat) - rewards) * (1 - gamma)


def whole_norm(P, r, gamma, P_hat, r_hat):
    """eps_P in place of eps_P/2: true, but not tight."""
    return 2 * pb.simulation_bound(P, r, gamma, P_hat, r_hat) - pb.simulation_bound(P, r, gamma, P, r_hat)


def rewards_alone(P, r, gamma, P_hat, r_hat):
    """eps_r/(1 - gamma)."""
    return pb.simulation_bound(P, r, gamma, P, r_hat)


def from_step_one(P, gamma, rho, pi):
    """Discounts from t = 1: the first pair is left out."""
    return pb.occupancy(P, gamma, (pi[:, :, None] * P * rho[:, None, None]).sum((0, 1)), pi)


def unnormalised(P, gamma, rho, pi):
    """Without 1 - gamma."""
    return pb.occupancy(P, gamma, rho, pi) / (1 - gamma)


def reference_path(P, r, rho, pi, pi_ref):
    """The occupancy of pi_ref, under which its own advantages vanish."""
    return pb.finite_horizon_difference(P, r, rho, pi_ref, pi_ref)


def stationary_path(P, r, rho, pi, pi_ref):
    """Forgets that the kernel changes with the step."""
    return pb.finite_horizon_difference(np.repeat(P[:1], len(P), 0), r, rho, pi, pi_ref)


def _bad(name: str, why: str) -> Saboteur:
    return Saboteur(name.replace("_", " "), why, subject=f"{HERE}:{name}")


def _claim(name: str, kind: str, statement: str, source: str, status: str, finding: str = "") -> Claim:
    return Claim("planning-basics", name, kind, statement, source, status, finding)


# -------------------------------------------------------------------------------------------- checks

CHECKS = (
    Check(
        _claim("C1", "bound", "|T U - T W| <= gamma |U - W| in the sup norm, and T(U + c) = T U + gamma c.",
               "Puterman 1994, proposition 6.2.4", "derived"),
        "backup", pairs, contraction, SURE,
        (_bad("boltzmann", "a softmax-weighted mean, which is no contraction (Littman 1996)"),
         _bad("clipped", "contracts, but does not commute with shifts"))),
    Check(
        _claim("C2", "bound", "For every V, with D = T V - V: T V + gamma/(1-gamma) min D <= V* <= "
               "T V + gamma/(1-gamma) max D; the lower bound is one on V^{greedy(V)} too.",
               "MacQueen 1966, Porteus 1971", "derived"),
        "bounds", values, enclosure, SURE,
        (_bad("one_step_bounds", "gamma in place of gamma/(1-gamma)"),
         _bad("bounds_around_V", "centred at V in place of T V"))),
    Check(
        _claim("C3", "bound", "V* - V^{greedy(V)} <= 2 gamma |V - V*|/(1-gamma) and <= gamma/(1-gamma) (max D - min D).",
               "Singh and Yee 1994; Porteus 1971", "derived"),
        "loss_bounds", losses, greedy_gap, SURE,
        (_bad("one_step_loss", "without 1/(1-gamma)"), _bad("halved_loss", "without the factor 2"))),
    Check(
        _claim("C3-tight", "identity", "Both bounds of C3 are attained: state 1 stays and pays 1, state 0 stays for "
               "gamma (1 - 2 eps) or goes to state 1 for nothing, V = V* + (eps, -eps), the tie broken to staying.",
               "the instance of the card, with dyadic numbers", "derived",
               "With gamma = .9, V = (9.01, 9.99) and r = .882 the two actions tie in real numbers only. In the floats "
               "nearest to these numbers they do not tie, and the greedy policy can be optimal."),
        "loss_bounds", TIES, greedy_tie, Sure("EXACT"),
        (_bad("one_step_loss", "without 1/(1-gamma)"), _bad("halved_loss", "without the factor 2"))),
    Check(
        _claim("C3-stop", "bound", "Value iteration stopped at gamma (max D - min D)/(1-gamma) <= eps returns a policy "
               "that loses at most eps and a value that is off by at most eps/2.", "C2 and C3", "derived"),
        "run", targets, stopped, Sure("SEARCHED", 100),
        (_bad("small_change", "stops at |D| <= eps: off by 1/(1-gamma)"),
         _bad("small_span", "stops at a span without 1/(1-gamma)"))),
    Check(
        _claim("C4", "monotone", "V^{pi_{k+1}} >= T V^{pi_k} >= V^{pi_k} in every state, |V^{pi_{k+1}} - V*| <= "
               "gamma |V^{pi_k} - V*|, and the last policy is optimal.", "Howard 1960; Puterman 1994, section 6.4",
               "derived"),
        "policy_iteration", starts, improvement, SURE,
        (_bad("blind", "switches whether it improves or not"), _bad("one_state", "switches in one state alone"))),
    Check(
        _claim("C5", "bound", "Howard's policy iteration changes its policy at most "
               "S (A-1) (1 + log(1/(1-gamma))/(1-gamma)) times.",
               "Scherrer 2013 (Ye 2011; Hansen, Miltersen and Zwick 2013), up to rounding", "derived",
               "It counts changes of policy: the evaluation that finds none is one more, and with A = 1 the bound is 0. "
               "S (A-1) ceil(log(1/(1-gamma))/(1-gamma)), as sometimes quoted, is 0 at gamma = 0, where one change may "
               "be needed. Value iteration as a control exceeds the bound in small worlds only."),
        "policy_iteration", starts, changes, Sure("CERTIFIED", 200),
        (_bad("sweeping", "value iteration: its sweeps grow with the digits wanted"),
         _bad("restless", "leaves an action that ties: equal policies follow one another for ever"))),
    Check(
        _claim("C6", "identity", "V^pi(rho) - V^{pi'}(rho) = E_{(s,a) ~ d^pi_rho}[A^{pi'}(s, a)]/(1-gamma).",
               "Kakade and Langford 2002, lemma 6.1", "derived"),
        "performance_difference", policies, difference, SURE,
        (_bad("reference_occupancy", "the occupancy of pi'"),
         _bad("unscaled", "without 1/(1-gamma)"))),
    Check(
        _claim("C7", "identity", "Vhat^pi(rho) - V^pi(rho) = E_{d^pi_rho}[rhat - r + gamma (Phat - P) Vhat^pi]/(1-gamma), "
               "d^pi_rho the true occupancy.", "Kearns and Singh 2002, in its exact form", "derived"),
        "simulation", estimates, two_models, SURE,
        (_bad("mixed_up", "the model's occupancy with the model's value"),
         _bad("true_value", "the true occupancy with the true value"))),
    Check(
        _claim("C7-bound", "bound", "|Vhat^pi - V^pi| <= eps_r/(1-gamma) + gamma eps_P/(2 (1-gamma)^2), "
               "eps_P = max |Phat - P|_1, for rhat in [0, 1].", "Kearns and Singh 2002", "derived"),
        "simulation_bound", errors, model_error, SURE,
        (_bad("one_factor_less", "gamma eps_P/(2 (1-gamma))"), _bad("rewards_alone", "eps_r/(1-gamma)"))),
    Check(
        _claim("C7-tight", "identity", "State 0 pays 1 and stays, its model leaks with probability e to a state that "
               "pays nothing: bound/error = 1 + gamma e/(1-gamma), which tends to 1.", "the instance of the card",
               "derived"),
        "simulation_bound", LEAKS, leak, Sure("EXACT"),
        (_bad("one_factor_less", "gamma eps_P/(2 (1-gamma))"), _bad("whole_norm", "eps_P in place of eps_P/2"))),
    Check(
        _claim("C8", "identity", "sum d = 1, <d, r>/(1-gamma) = V(rho), and sum_a d(z, a) = (1-gamma) rho(z) + "
               "gamma sum_{s,a} d(s, a) P(z|s, a).", "Puterman 1994, section 6.9", "derived"),
        "occupancy", policies, flow, SURE,
        (_bad("from_step_one", "discounting from t = 1"), _bad("unnormalised", "without 1-gamma"))),
    Check(
        _claim("C9", "identity", "Over H steps V^pi(rho) - V^{pi'}(rho) = sum_h E_{d^pi_h}[A^{pi'}_h], without "
               "1/(1-gamma).", "Kakade and Langford 2002, lemma 6.1, over H steps", "derived"),
        "finite_horizon_difference", horizons, horizon_difference, SURE,
        (_bad("reference_path", "the occupancy of pi'"), _bad("stationary_path", "the first kernel at every step"))),
)
