"""Value iteration, policy iteration and their lemmas held to their claims, in rationals wherever no logarithm enters.

In evidence EXACT nothing is forgiven: worlds are the rationals that their floats are. The tight instances
are checks of their own, and lie among the searched worlds of the bounds that they are tight for.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from hypothesis import strategies as st

from algorithms.planning import planning_basics as pb
from mdpkit import rational
from mdpkit.access import Exact
from mdpkit.instances.lower_bounds import greedy_loss, greedy_loss_estimate, leaking
from mdpkit.measure.values import optimal_value
from mdpkit.models.tabular import EpisodicMDP, TabularMDP
from mdpkit.octets import Pool, normalised, octets
from mdpkit.rational import exact
from mdpkit.solve.rounding import U, backup_error
from theory_checks.engine.claims import Check, Claim, Saboteur, marked
from theory_checks.engine.judges import Sure
from theory_checks.engine.rows import worst_of

TWINS = "theory_checks.planning._planning_basics_twins"
GAMMAS = (0.5, 0.9, 0.97)
WEIGHTS = np.array([0, 0, 0, 1, 1, 2, 4, 8])             # of successors, before they are normalised
TIES = ({"gamma": 0.875, "epsilon": 2.0**-7}, {"gamma": 0.5, "epsilon": 0.125}, {"gamma": 0.96875, "epsilon": 2.0**-10})
LEAKS = ({"leak": 0.01, "gamma": 0.9}, {"leak": 2.0**-20, "gamma": 0.97}, {"leak": 0.5, "gamma": 0.5})
SURE = Sure("EXACT", 200)


# ------------------------------------------------------------------------------------------ worlds

def _law(draw: Pool, *shape: int) -> np.ndarray:
    """Probability rows, one byte each: point masses on k for even bytes 2k, some pattern of weights for odd ones."""
    raw, i = octets(draw, *shape[:-1], 1), np.arange(shape[-1])
    k = raw // 2
    weights = WEIGHTS[(k // 2 ** (i % 5) + 3 * i * k) % 8] * (raw % 2)
    return normalised(np.where(weights.sum(-1, keepdims=True) > 0, weights, i == k % shape[-1]))


def _guess(draw: Pool, m: TabularMDP) -> np.ndarray:
    """Any V, or one near V*, where bounds are tight."""
    scale = draw.one_of([1.0, 0.125, 4.0])
    centre = optimal_value(m) if draw.integer(0, 1) else 0.0
    return centre + scale * (octets(draw, m.S) % 17 - 8) / 8


def _policy(draw: Pool, m: TabularMDP | EpisodicMDP) -> np.ndarray:
    return _law(draw, *m.r.shape)


def _P_hat(draw: Pool, m: TabularMDP) -> np.ndarray:
    return np.where((octets(draw, *m.r.shape) % 2 == 1)[..., None], _law(draw, *m.P.shape), m.P)


@st.composite
def _worlds(draw: st.DrawFn, gammas: tuple[float, ...] = GAMMAS, **fields: Any) -> dict[str, Any]:
    """A model, and what the fields, functions of (draw, model), draw for it."""
    pool = Pool(draw, 24, 24, 6, 24, 24, 24)
    S, A = pool.integer(1, 6), pool.integer(1, 4)
    m = TabularMDP(_law(pool, S, A, S), octets(pool, S, A) % 17 / 16, pool.one_of(gammas), _law(pool, S))
    return {"model": m, **{k: f(pool, m) for k, f in fields.items()}}


def _leak(w: dict[str, float]) -> dict[str, Any]:
    stays, leaks = leaking(0.0, w["gamma"]), leaking(**w)
    return {"model": stays, "pi": np.ones((2, 1)), "P_hat": leaks.P, "r_hat": leaks.r}


@st.composite
def horizons(draw: st.DrawFn) -> dict[str, Any]:
    """An episodic model and two policies."""
    pool = Pool(draw, 64, 64, 4, 16, 16)
    H, S, A = (pool.integer(1, 4) for _ in range(3))
    m = EpisodicMDP(_law(pool, H, S, A, S), octets(pool, H, S, A) % 17 / 16, _law(pool, S))
    return {"model": m, "pi": _policy(pool, m), "pi_ref": _policy(pool, m)}


values = partial(_worlds, V=_guess)
pairs = partial(_worlds, (*GAMMAS, 0.98), V=_guess, step=lambda draw, m: (octets(draw, m.S) % 3 - 1) / 64,
                shift=lambda draw, m: draw.one_of([1.0, -0.125, 8.0]))
targets = partial(_worlds, eps=lambda draw, m: draw.one_of([1.0, 0.125, 2.0**-6, 2.0**-10]))
starts = partial(_worlds, (*GAMMAS, 0.99), start=lambda draw, m: octets(draw, m.S) % m.A)
policies = partial(_worlds, pi=_policy, pi_ref=_policy)
estimates = partial(_worlds, pi=_policy, P_hat=_P_hat, r_hat=lambda draw, m: np.where(
    octets(draw, m.S, 1) % 2 == 1, octets(draw, *m.r.shape) % 17 / 16, m.r))
losses = lambda: values() | st.sampled_from(       # among them those on which the greedy loss is as large as it can be
    [{"model": greedy_loss(**w), "V": greedy_loss_estimate(**w)} for w in TIES])
errors = lambda: estimates() | st.sampled_from([_leak(w) for w in LEAKS])       # the leaks nearly attain the bound


# ---------------------------------------------------------------------------------------- measures

def contraction(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C1: |T V - T W| against gamma |V - W|, unless T(V + c) differs from T V + gamma c."""
    P, r, g = _exactly(world["model"])
    V, W, c = exact(world["V"]), exact(world["V"] + world["step"]), rational.rational(world["shift"])
    TV = subject(P, r, g, V)
    shifted = np.abs(subject(P, r, g, V + c) - TV - g * c).max()
    return worst_of((np.abs(TV - subject(P, r, g, W)).max(), g * np.abs(V - W).max()), (shifted, 0))


def enclosure(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C2: of lo <= V* <= hi and lo <= V^{greedy(V)} in each state, as distances against the width hi - lo."""
    P, r, g = _exactly(world["model"])
    V = exact(world["V"])
    best, mine = _optimum(world["model"]), pb.evaluate(P, r, g, pb.greedy(P, r, g, V))
    lo, hi = subject(P, r, g, V)
    return worst_of(*(row for a, b, x, y in zip(lo, hi, best, mine)
                    for row in ((b - x, b - a), (x - a, b - a), (b - y, b - a))))


def greedy_gap(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C3: the loss of greedy(V) in its worst state against both bounds."""
    loss, both = _greedy_gap(world["model"], world["V"], subject)
    return worst_of(*((loss, bound) for bound in both))


def greedy_tie(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C3-tight: how far the loss is from both bounds on the instance that attains them."""
    loss, both = _greedy_gap(greedy_loss(**world), greedy_loss_estimate(**world), subject)
    return worst_of(*((abs(bound - loss), 0) for bound in both))


def _greedy_gap(m: TabularMDP, estimate: np.ndarray, subject: Callable) -> tuple[Any, tuple[Any, Any]]:
    P, r, g = _exactly(m)
    V, best = exact(estimate), _optimum(m)
    return (best - pb.evaluate(P, r, g, pb.greedy(P, r, g, V))).max(), subject(P, r, g, V, best)


@marked
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
    found += [(np.abs(pb.evaluate(P, r, g, pi) - V).max(), 0) for pi, V in zip(*visited)]
    for V, after in zip(visited.values, visited.values[1:]):
        TV = pb.backup(P, r, g, V)
        found += [(max((TV - after).max(), (V - TV).max(), 0), 0),
                  (np.abs(best - after).max(), g * np.abs(best - V).max())]
    return worst_of(*found)


@marked
def changes(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C5: how often the policy changed, against the bound rounded down."""
    m = world["model"]
    policies, _ = subject(*_exactly(m), world["start"])
    return {"measured": len(policies) - 1, "bound": pb.iteration_bound(m.S, m.A, m.gamma)}


def difference(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C6: the lemma's side against the difference of two linear solves."""
    P, r, g = _exactly(world["model"])
    rho, pi, ref = exact(world["model"].rho), exact(world["pi"]), exact(world["pi_ref"])
    direct = rho @ (pb.evaluate(P, r, g, pi) - pb.evaluate(P, r, g, ref))
    return worst_of((abs(subject(P, r, g, rho, pi, ref) - direct), 0))


def two_models(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C7: the lemma's side against the difference of two linear solves."""
    P, r, g, pi, P_hat, r_hat, error = _two_models(world)
    rho = exact(world["model"].rho)
    return worst_of((abs(subject(P, r, g, rho, pi, P_hat, r_hat) - rho @ error), 0))


def model_error(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C7-bound: |Vhat^pi - V^pi| against the bound."""
    P, r, g, _, P_hat, r_hat, error = _two_models(world)
    return worst_of((np.abs(error).max(), subject(P, r, g, P_hat, r_hat)))


def leak(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C7-tight: bound (1 - gamma) against error (1 - gamma + gamma leak), which must agree."""
    P, r, g, _, P_hat, r_hat, error = _two_models(_leak(world))
    bound = subject(P, r, g, P_hat, r_hat)
    return worst_of((abs(bound * (1 - g) - np.abs(error).max() * (1 - g + g * P_hat[0, 0, 1])), 0))


def _two_models(world: dict) -> tuple[Any, ...]:
    P, r, g = _exactly(world["model"])
    pi, P_hat, r_hat = exact(world["pi"]), exact(world["P_hat"]), exact(world["r_hat"])
    return P, r, g, pi, P_hat, r_hat, pb.evaluate(P_hat, r_hat, g, pi) - pb.evaluate(P, r, g, pi)


def flow(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C8: the total, the value and the flow of an occupancy."""
    P, r, g = _exactly(world["model"])
    rho, pi = exact(world["model"].rho), exact(world["pi"])
    d = subject(P, g, rho, pi)
    into = (1 - g) * rho + g * (d[:, :, None] * P).sum((0, 1))
    value = (d * r).sum() / (1 - g) - rho @ pb.evaluate(P, r, g, pi)
    return worst_of((abs(d.sum() - 1), 0), (abs(value), 0), (np.abs(d.sum(1) - into).max(), 0))


def horizon_difference(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C9: the lemma's side against the difference of two backward inductions."""
    m = world["model"]
    P, r, rho, pi, ref = (exact(x) for x in (m.P, m.r, m.rho, world["pi"], world["pi_ref"]))
    direct = rho @ (pb.finite_horizon_values(P, r, pi)[0] - pb.finite_horizon_values(P, r, ref)[0])
    return worst_of((abs(subject(P, r, rho, pi, ref) - direct), 0))


def _exactly(m: TabularMDP) -> tuple[np.ndarray, np.ndarray, Any]:
    return exact(m.P), exact(m.r), rational.rational(m.gamma)


def _optimum(m: TabularMDP) -> np.ndarray:
    """V* in rationals, by policy iteration from where floats end; accepted only if T V* = V*."""
    P, r, g = _exactly(m)
    start = pb.policy_iteration(m.P, m.r, m.gamma, np.zeros(m.S, np.int64)).policies[-1]
    best = pb.policy_iteration(P, r, g, start).values[-1]
    if (pb.backup(P, r, g, best) != best).any():
        raise ArithmeticError("policy iteration in rationals ended in no fixed point of T")
    return best


# -------------------------------------------------------------------------------------------- checks

def _check(name: str, kind: str, statement: str, source: str, status: str, entry: str, worlds: Any, measure: Callable,
           judge: Sure, finding: str = "", **twins: str) -> Check:
    """A check whose saboteurs are twins by name, each with what is wrong with it."""
    claim = Claim("planning-basics", name, kind, statement, source, status, finding)
    return Check(claim, entry, worlds, measure, judge, tuple(
        Saboteur(twin.replace("_", " "), why, subject=f"{TWINS}:{twin}") for twin, why in twins.items()))


CHECKS = (
    _check("C1", "bound", "|T U - T W| <= gamma |U - W| in the sup norm, and T(U + c) = T U + gamma c.",
           "Puterman 1994, proposition 6.2.4", "checked", "backup", pairs, contraction, SURE,
           boltzmann="a softmax-weighted mean, which is no contraction (Littman 1996)",
           clipped="contracts, but does not commute with shifts"),
    _check("C2", "bound", "For every V, with D = T V - V: T V + gamma/(1-gamma) min D <= V* <= "
           "T V + gamma/(1-gamma) max D; the lower bound is one on V^{greedy(V)} too.",
           "MacQueen 1966, Porteus 1971", "checked", "bounds", values, enclosure, SURE,
           one_step_bounds="gamma in place of gamma/(1-gamma)", bounds_around_V="centred at V in place of T V"),
    _check("C3", "bound", "V* - V^{greedy(V)} <= 2 gamma |V - V*|/(1-gamma), and <= "
           "gamma/(1-gamma) (max D - min D).", "Singh and Yee 1994; Porteus 1971", "checked",
           "loss_bounds", losses, greedy_gap, SURE,
           one_step_loss="without 1/(1-gamma)", halved_loss="without the factor 2"),
    _check("C3-tight", "identity", "Both bounds of C3 are attained: state 1 stays and pays 1, state 0 stays for "
           "gamma (1 - 2 eps) or goes to state 1 for nothing, V = V* + (eps, -eps), the tie broken to staying.",
           "this instance, in dyadic numbers", "derived", "loss_bounds", TIES, greedy_tie, Sure("EXACT"),
           "With gamma = .9, r = .882 and V = (9.01, 9.99) the actions tie in real numbers only: read as the "
           "rationals that the nearest floats are, the other action is ahead by 4e-16, and greedy loses nothing.",
           one_step_loss="without 1/(1-gamma)", halved_loss="without the factor 2"),
    _check("C3-stop", "bound", "Value iteration stopped at gamma (max D - min D)/(1-gamma) <= eps returns a policy "
           "that loses at most eps and a value that is off by at most eps/2.", "C2 and C3", "derived",
           "run", targets, stopped, Sure("SEARCHED", 100),
           small_change="stops at |D| <= eps: off by 1/(1-gamma)", small_span="stops at a span without 1/(1-gamma)"),
    _check("C4", "monotone", "V^{pi_{k+1}} >= T V^{pi_k} >= V^{pi_k} in every state, |V^{pi_{k+1}} - V*| <= "
           "gamma |V^{pi_k} - V*|, and the last policy is optimal.", "Howard 1960; Puterman 1994, section 6.4",
           "checked", "policy_iteration", starts, improvement, SURE,
           blind="switches whether it improves or not", one_state="switches in one state alone"),
    _check("C5", "bound", "Howard's policy iteration changes its policy at most "
           "S (A-1) (1 + log(1/(1-gamma))/(1-gamma)) times.",
           "Scherrer 2013 (Ye 2011; Hansen, Miltersen and Zwick 2013), up to rounding", "derived",
           "policy_iteration", starts, changes, Sure("CERTIFIED", 200),
           "It counts changes of policy: the evaluation that finds none is one more, and with A = 1 the bound is 0. "
           "S (A-1) ceil(log(1/(1-gamma))/(1-gamma)), as sometimes quoted, is 0 at gamma = 0, where a change may be "
           "needed. Value iteration, as a control, exceeds the bound in small worlds only.",
           sweeping="value iteration: its sweeps grow with the digits wanted",
           restless="leaves an action that ties: equal policies follow one another for ever"),
    _check("C6", "identity", "V^pi(rho) - V^{pi'}(rho) = E_{(s,a) ~ d^pi_rho}[A^{pi'}(s, a)]/(1-gamma).",
           "Kakade and Langford 2002, lemma 6.1", "checked", "performance_difference", policies, difference, SURE,
           reference_occupancy="the occupancy of pi'", unscaled="without 1/(1-gamma)"),
    _check("C7", "identity", "Vhat^pi(rho) - V^pi(rho) = E_d[rhat - r + gamma (Phat - P) Vhat^pi]/(1-gamma), d the "
           "occupancy of pi from rho under the true P.", "Kearns and Singh 2002, in its exact form", "checked",
           "simulation", estimates, two_models, SURE,
           mixed_up="the model's occupancy with the model's value",
           true_value="the true occupancy with the true value"),
    _check("C7-bound", "bound", "|Vhat^pi - V^pi| <= eps_r/(1-gamma) + gamma eps_P/(2 (1-gamma)^2), "
           "eps_P = max |Phat - P|_1, for rhat in [0, 1].", "Kearns and Singh 2002", "checked",
           "simulation_bound", errors, model_error, SURE,
           one_factor_less="gamma eps_P/(2 (1-gamma))", rewards_alone="eps_r/(1-gamma)"),
    _check("C7-tight", "identity", "State 0 pays 1 and stays, its model leaks with probability e to a state that "
           "pays nothing: bound/error = 1 + gamma e/(1-gamma), which tends to 1.", "this instance",
           "derived", "simulation_bound", LEAKS, leak, Sure("EXACT"),
           one_factor_less="gamma eps_P/(2 (1-gamma))", whole_norm="eps_P in place of eps_P/2"),
    _check("C8", "identity", "sum d = 1, <d, r>/(1-gamma) = V(rho), and sum_a d(z, a) = (1-gamma) rho(z) + "
           "gamma sum_{s,a} d(s, a) P(z|s, a).", "Puterman 1994, section 6.9", "checked",
           "occupancy", policies, flow, SURE,
           from_step_one="discounting from t = 1", unnormalised="without 1-gamma"),
    _check("C9", "identity", "Over H steps V^pi(rho) - V^{pi'}(rho) = sum_h E_{d^pi_h}[A^{pi'}_h], without "
           "1/(1-gamma).", "Kakade and Langford 2002, lemma 6.1, over H steps", "derived",
           "finite_horizon_difference", horizons, horizon_difference, SURE,
           reference_path="the occupancy of pi'", stationary_path="the first kernel at every step"),
)
