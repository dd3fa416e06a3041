"""HAC held to its claims: the regret split, NPG, the hybrid fit in rationals, and the lock.

Identities of the population run in rationals, where nothing is forgiven. The monotony and the rate of the exact critic
are those of NPG with the step eta (1-gamma), and are measured with its tools.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import flint
import numpy as np
from hypothesis import strategies as st

from algorithms.offline import hnpg
from algorithms.offline.hnpg import Params
from mdpkit import rational
from mdpkit.access import Episodes, Exact
from mdpkit.instances.locks import discounted_lock, discounted_lock_value
from mdpkit.measure.plain import discounted_values
from mdpkit.measure.values import optimal_value
from mdpkit.models.tabular import TabularMDP
from mdpkit.octets import law, octets, small_mdp
from mdpkit.rational import exact, fraction
from mdpkit.records import Dataset, Steps
from mdpkit.solve.rounding import advantage_error, higham
from theory_checks.engine.claims import Check, Claim, Saboteur, marked
from theory_checks.engine.judges import HighProbability, Separation, Sure
from theory_checks.engine.rows import worst

TWINS = "theory_checks.offline._hnpg_twins"
L, A_LOCK, GAMMA_LOCK = 8, 4, 0.9
FITS = 3                 # fits of a searched hybrid evaluation


# ------------------------------------------------------------------------------------------ worlds

@st.composite
def mixtures(draw: st.DrawFn) -> dict[str, Any]:
    """A world, a comparator, and up to four policies with critics."""
    m, T = small_mdp(draw, 3), draw(st.integers(1, 4))
    f = octets(draw, T, m.S, m.A) % 33 / 16
    return {"model": m, "pi_e": law(draw, m.S, m.A), "pi": law(draw, T, m.S, m.A), "f": f}


@st.composite
def critics(draw: st.DrawFn) -> dict[str, Any]:
    """Critics in [0, width]: any, or one for ever with some noise; the step of `hnpg.theory`, or another."""
    T, A, width = draw(st.sampled_from([1, 4, 20, 80])), draw(st.integers(2, 4)), draw(st.sampled_from([1.0, 10.0]))
    f = octets(draw, T, 1, A)
    f = np.where(f % 8 < draw(st.integers(0, 8)), octets(draw, A), f)
    best = math.sqrt(8 * math.log(A) / T) / width
    return {"f": f / 255 * width, "eta": best * draw(st.sampled_from([1.0, 0.25, 4.0])), "width": width}


@st.composite
def steps(draw: st.DrawFn) -> dict[str, Any]:
    """A world, a number of updates and a step."""
    return {"model": small_mdp(draw, 4), "T": draw(st.sampled_from([2, 12, 40])),
            "eta": draw(st.sampled_from([0.1, 1.0, 10.0]))}


@st.composite
def factors(draw: st.DrawFn) -> dict[str, Any]:
    """A discount and a weight for two states in a row."""
    return {"gamma": draw(st.integers(0, 255)) / 256, "lam": draw(st.integers(0, 64)) / 64}


@st.composite
def fits(draw: st.DrawFn) -> dict[str, Any]:
    """A world, a policy, a data law with full support, a weight, and features to which Q^pi is added."""
    m = small_mdp(draw, 3)
    columns = octets(draw, draw(st.integers(0, 2)), m.r.size) % 4
    return {"model": m, "pi": law(draw, m.S, m.A), "nu": law(draw, 1, m.r.size, least=1).reshape(m.S, m.A),
            "lam": draw(st.sampled_from([0.125, 1.0, 8.0, 64.0])), "columns": columns,
            "room": draw(st.integers(0, 4)) / 4, "realizable": True}


# ---------------------------------------------------------------------------------------- measures

def residual(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C1 in rationals: how far the sides are apart."""
    P, r, gamma, rho = _exactly(world["model"])
    gap, one, two = subject(P, r, gamma, rho, _normal(world["pi_e"]), _normal(world["pi"]), exact(world["f"]))
    return {"measured": fraction(abs(gap - one - two)), "bound": 0}


def hindsight(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C1-regret: the first sum for the best action in hindsight of the worst state, against its bound."""
    f, eta, width = world["f"], world["eta"], world["width"]
    T, _, A = f.shape
    pi = subject(f, eta)
    lost = (f.sum(0).max(-1) - (pi * f).sum((0, 2))).max()
    # tables of at most eta T width, summed in T steps, move laws by 2 (exp(delta) - 1); the softmax itself; the sums
    delta = 2 * eta * T * width * higham(T + 4)
    slack = T * width * (2 * math.expm1(delta) + higham(4 * T + 4 * A + 64))
    return {"measured": float(lost), "bound": hindsight_bound(A, T, eta, width), "slack": slack}


def hindsight_bound(A: int, T: int, eta: float, width: float) -> float:
    """log A/eta + eta T width^2/8."""
    return math.log(A) / eta + eta * T * width * width / 8


@marked
def natural(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C2: that no value falls, and the gap of each policy after t >= 1 updates."""
    m, T, eta = world["model"], world["T"], world["eta"]
    out = subject(Exact(m), Params(T, eta), rng)
    V = discounted_values(m.P, m.r, m.gamma, np.concatenate([out.trace.policies[out.trace.index], out.output[None]]))[0]
    gaps = m.rho @ optimal_value(m) - V[1:] @ m.rho
    # critics off by e cost a step of V 2 e/(1-gamma), and the gap 3 e/(1-gamma)^2 and a step's cost for each t
    e = advantage_error(m.S, m.A, m.gamma, T)
    falls = {"measured": float(-np.diff(V, axis=0).min()), "bound": 0.0, "slack": 4 * e / (1 - m.gamma)}
    bounds = (math.log(m.A) / (eta * (1 - m.gamma)) + (1 - m.gamma) ** -2) / np.arange(1, T + 1)
    slack = (5 + 2 * T) * e / (1 - m.gamma) ** 2 + higham(64) * float(bounds.max())
    return worst([falls, *({"measured": float(g), "bound": float(b), "slack": slack} for g, b in zip(gaps, bounds))])


def factor(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C3 in rationals: w_k - m w_{k-1} from w_0 = 1, and whether m < 1 just where lam exceeds the threshold."""
    gamma, lam = rational.rational(world["gamma"]), rational.rational(world["lam"])
    half, one = exact([0.5, 0.5]), exact([[1.0], [1.0]])
    P, zero = exact([[[0.0, 1.0]], [[0.0, 1.0]]]), exact([[0.0], [0.0]])
    phi, first, m = exact([[[1.0]], [[2.0]]]), exact([1.0]), contraction(gamma, lam)
    w = [1, *subject(P, zero, gamma, half, one, half[:, None], phi, lam, FITS, first=first)[:, 0]]
    apart = max(abs(b - m * a) for a, b in itertools.pairwise(w))
    threshold = (3 * gamma - flint.fmpq(5, 2)) / (4 - 3 * (1 - gamma) / 2)
    return {"measured": fraction(apart) + (abs(w[1]) < 1) - (lam > threshold), "bound": 0}


def contraction(gamma: Any, lam: Any) -> Any:
    """m = 3 gamma/(5/2 + lam (d_1 + 4 d_2)), d_1 = (1-gamma)/2: w_k = m w_{k-1} on two states in a row."""
    d_1 = (1 - gamma) / 2
    return 3 * gamma / ((d_1 * 0 + 5) / 2 + lam * (d_1 + 4 * (1 - d_1)))


def drift() -> TabularMDP:
    """s0 stays for .1, or goes for nothing to s1, which pays .09 and leads to s2, which pays -.01 for ever."""
    P = np.zeros((3, 2, 3))
    P[0, 0, 0] = P[0, 1, 1] = 1.0
    P[1:, :, 2] = 1.0
    return TabularMDP(P, [[0.1, 0.0], [0.09, 0.09], [-0.01, -0.01]], 0.95, [0.5, 0.25, 0.25])


def drift_features(complete: bool) -> np.ndarray:
    """phi (3, 2, d): Q^pi is in its span for every pi, its backups are not; or one-hot, which is complete."""
    if complete:
        return np.eye(6).reshape(3, 2, 6)
    phi = np.zeros((3, 2, 3))
    phi[1, :, 0], phi[2, :, 0], phi[0, 0, 1], phi[0, 1, 2] = 1.0, 2.0, 1.0, 1.0
    return phi


DRIFT_LAW = np.array([[0.1, 0.1], [0.2, 0.2], [0.2, 0.2]])


@marked
def actor(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C3-actor, C3-alone: V(rho) after 30 steps with the last of 400 fits, cut to [-20, 20]; which side is named."""
    m, phi, theta = drift(), drift_features(world["complete"]), np.zeros((3, 2))
    for _ in range(30):
        w = subject(m.P, m.r, m.gamma, m.rho, hnpg.softmax(theta), DRIFT_LAW, phi, world["lam"], 400)[-1]
        theta = theta + np.clip(phi @ w, -20.0, 20.0)
    V = float(discounted_values(m.P, m.r, m.gamma, hnpg.softmax(theta)[None])[0][0] @ m.rho)
    return {"measured": 0.9, "bound": V} if world["wins"] else {"measured": V, "bound": 0.1}


def energies(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C4 in rationals: the four errors of each fit against E_nu (Q - g)^2, over all linear classes that hold Q."""
    (P, r, gamma, rho), pi, nu, lam, d, Q = _fitted(world)
    columns = [*exact(world["columns"]), *([Q.reshape(-1)] if world["realizable"] else [])]
    phi = _independent(columns)
    f = [0 * Q]
    if phi.shape[1]:
        phi = phi.reshape(*Q.shape, -1)
        f += [phi @ w for w in subject(P, r, gamma, rho, pi, nu, phi, lam, FITS)]
    sides = _energies(f, P, r, gamma, pi, nu, lam, d, Q)
    return worst({"measured": fraction(abs(a - b)), "bound": 0} for a, b in sides)


def stable(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C4-convex in rationals: the same as an inequality, and E_d (f_k - Q)^2, where F is a segment in [0, Vmax]."""
    (P, r, gamma, rho), pi, nu, lam, d, Q = _fitted(world)
    if Q.max() == 0:
        return {"measured": 0, "bound": 0}
    top = 1 / (1 - gamma)
    most = 1 + rational.rational(world["room"]) * (top / Q.max() - 1)                  # w = 1 is Q
    f = [0 * Q, *(w[0] * Q for w in subject(P, r, gamma, rho, pi, nu, Q[..., None], lam, FITS, most=most))]
    rows = [*_energies(f, P, r, gamma, pi, nu, lam, d, Q),
            *(((d * (x - Q) * (x - Q)).sum(), gamma * gamma * top * top / (2 * lam)) for x in f[1:])]
    return worst({"measured": fraction(a), "bound": fraction(b)} for a, b in rows)


def _energies(f: list, P: np.ndarray, r: np.ndarray, gamma: Any, pi: np.ndarray, nu: np.ndarray, lam: Any,
              d: np.ndarray, Q: np.ndarray) -> list[tuple[Any, Any]]:
    out = []
    for before, x in itertools.pairwise(f):
        g = r + gamma * (P @ (pi * before).sum(-1))
        left = (nu * ((x - g) * (x - g) + (x - Q) * (x - Q)) + 2 * lam * d * (x - Q) * (x - Q)).sum()
        out.append((left, (nu * (Q - g) * (Q - g)).sum()))
    return out or [(0, 0)]


def _fitted(world: dict) -> tuple[Any, ...]:
    given = P, r, gamma, rho = _exactly(world["model"])
    pi, nu = _normal(world["pi"]), exact(world["nu"])
    return (given, pi, nu, rational.rational(world["lam"]), hnpg.occupation(P, gamma, rho, pi),
            hnpg.action_values(P, r, gamma, pi))


def _independent(columns: list) -> np.ndarray:
    """A basis of the span, (n, d), in the order given."""
    kept: list = []
    for c in columns:
        if flint.fmpq_mat([list(x) for x in (*kept, c)]).rank() > len(kept):
            kept.append(c)
    return np.array(kept, object).T if kept else np.zeros((0, 0), object)


def _exactly(m: TabularMDP) -> tuple[np.ndarray, np.ndarray, Any, np.ndarray]:
    return exact(m.P), exact(m.r), rational.rational(m.gamma), exact(m.rho)


def _normal(pi: np.ndarray) -> np.ndarray:
    return exact(pi) / exact(pi).sum(-1)[..., None]


@marked
def lock(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C5: V/V* of the last policy with logged data and without, and of all policies, for the figure."""
    m, data = discounted_lock(L, A_LOCK, GAMMA_LOCK), lock_data(world["trapped"])
    curves = {}
    for name, m_off in (("hybrid", data.n), ("online", 0)):
        seeds = [np.random.default_rng(int(k)) for k in rng.integers(0, 2**62, 2)]
        out = subject(Episodes(m, seeds[0]), data, lock_params(m_off), seeds[1])
        pi = np.concatenate([out.trace.policies[out.trace.index], out.output[None]])
        curves[name] = discounted_values(m.P, m.r, m.gamma, pi)[0][:, 0] / discounted_lock_value(L, GAMMA_LOCK)[0]
    return {"hybrid": {"measured": 0.9, "bound": float(curves["hybrid"][-1])},
            "online": {"measured": float(curves["online"][-1]), "bound": 0.1}, "curves": curves}


def lock_params(m_off: int, m_on: int = 60) -> Params:
    """Every tuple of either kind weighs the same: lam = m_on/m_off."""
    return Params(40, 1.0, m_off, m_on, m_on / m_off if m_off else 1.0, 30, 60, 0.0, 1 / (1 - GAMMA_LOCK))


def lock_data(trapped: bool = False) -> Dataset:
    """Each pair 20 times; or as many tuples of the trap alone."""
    m = discounted_lock(L, A_LOCK, GAMMA_LOCK)
    s, a = np.divmod(np.repeat(np.arange(m.S * m.A), 20), m.A)
    s = np.full_like(s, L + 1) if trapped else s
    return Dataset(Steps(*(x[:, None] for x in (s, a, m.r[s, a], m.P[s, a].argmax(-1)))), "each pair 20 times", False)


# -------------------------------------------------------------------------------------------- checks

def _check(name: str, kind: str, statement: str, source: str, status: str, entry: str, worlds: Any, measure: Callable,
           judge: Any, *broken: Saboteur, finding: str = "", **twins: str) -> Check:
    """A check whose saboteurs are broken worlds, and twins by name, each with what is wrong with it."""
    claim = Claim("hnpg", name, kind, statement, source, status, finding)
    return Check(claim, entry, worlds, measure, judge, (*broken, *(
        Saboteur(twin.replace("_", " "), why, subject=f"{TWINS}:{twin}") for twin, why in twins.items())))


def _worse(name: str, why: str, **world: Any) -> Saboteur:
    return Saboteur(name, f"an assumption broken: {why}", world=world)


CHECKS = (
    _check("C1", "identity", "For any policies, critics and comparator: (1-gamma) sum_t V^{pi_e} - V^{pi^t} = "
           "sum_t E_{d_e}<pi_e - pi^t, f^t> + sum_t E_{d_e}<pi_e - pi^t, Q^{pi^t} - f^t>.", "proof of Theorem 1",
           "checked", "split", mixtures, residual, Sure("EXACT", 60),
           own_occupancy="both sums under d of pi^t", unscaled="without 1-gamma"),
    _check("C1-regret", "bound", "Line 7 from uniform, for any critics of range Vmax and any pi_e: "
           "sum_t <pi_e - pi^t, f^t> <= log A/eta + eta T Vmax^2/8 in each state; Vmax sqrt(T log A/2) at "
           "eta = sqrt(8 log A/T)/Vmax.",
           "proof of Theorem 1", "checked", "mirror", critics, hindsight, Sure("SEARCHED", 150),
           downhill="exp(-eta f)", resting="uniform for ever", forgetful="the last critic alone"),
    _check("C2", "bound", "With f^t = Q^{pi^t} no V^{pi^t}(s) falls, and after t >= 1 updates V*(rho) - V(rho) <= "
           "(log A/(eta (1-gamma)) + 1/(1-gamma)^2)/t, for every eta > 0.", "Agarwal et al. 2021, Theorem 16",
           "checked", "run_exact", steps, natural, Sure("SEARCHED", 80),
           finding="Plain ascent on the exact gradient of a softmax table lets no value fall either, whatever its "
           "step: the table moves by d pi A, of the sign of A. It is no control of the monotony, though named as one.",
           uncentred="ascent by d Q, not by the gradient, step 50",
           flipped_state="the critic of state 0 has the wrong sign"),
    _check("C3", "identity", "Two states, one action, both lead to the second, r = 0, phi = (1, 2), nu = rho = "
           "(1/2, 1/2): the hybrid fit is w_k = m w_{k-1}, m = 3 gamma/(5/2 + lam (d_1 + 4 d_2)), "
           "d_1 = (1-gamma)/2 = 1 - d_2. At gamma = .95, lam = 0 it diverges, m = 1.14; m < 1 "
           "iff lam > .35/3.925.", "this instance", "checked",
           "hpe", factors, factor, Sure("EXACT", 100),
           on_logged_pairs="rollouts under nu", all_bootstrapped="rollouts bootstrap too"),
    _check("C3-actor", "separation", "Three states, Q^pi in the class for every pi, no completeness: with lam = 1 the "
           "actor ends above .9, V* = .925.", "this instance", "checked", "hpe",
           ({"lam": 1.0, "complete": False, "wins": True},), actor, Sure("SEARCHED"),
           Saboteur("no rollouts", "lam = 0", world={"lam": 0.0}), all_bootstrapped="rollouts bootstrap too"),
    _check("C3-alone", "separation", "On the same instance with lam = 0 the critic diverges and the actor ends below "
           ".1.", "this instance", "checked", "hpe", ({"lam": 0.0, "complete": False, "wins": False},), actor,
           Sure("SEARCHED"), _worse("complete", "one-hot features are complete, lam = 0 is enough", complete=True),
           Saboteur("rollouts", "lam = 1", world={"lam": 1.0})),
    _check("C4", "identity", "F linear, Q = Q^pi in F, g = T^pi f_{k-1}: E_nu (f_k - g)^2 + E_nu (f_k - Q)^2 + "
           "2 lam E_d (f_k - Q)^2 = E_nu (Q - g)^2.", "first-order condition of line 5", "checked",
           "hpe", fits, energies, Sure("EXACT", 60),
           _worse("misspecified", "Q is left out of the span", realizable=False),
           without_rollouts="lam = 0", one_step="y is one reward"),
    _check("C4-convex", "bound", "F convex in [0, Vmax], Q in F: the left side of C4 is at most its right side, hence "
           "E_d (f_k - Q)^2 <= gamma^2 Vmax^2/(2 lam) for all k, with no completeness.",
           "first-order condition of line 5", "derived", "hpe", fits, stable, Sure("EXACT", 80),
           without_rollouts="lam = 0", one_step="y is one reward"),
    _check("C5", "separation", "Lock with L = 8, A = 4, gamma = .9: with 20 tuples of each pair, 60 rollouts an "
           "iteration and T = 40 the last policy has V/V* > .9, without logged data V/V* < .1, each with "
           "probability .95.",
           "this instance (combination lock)", "checked", "run", ({"trapped": False},), lock,
           Separation((("hybrid", HighProbability(0.05)), ("online", HighProbability(0.05)))),
           _worse("trapped", "the data show the trap alone", trapped=True),
           no_data="no logged data"),
)
