"""PEVI, VI-LCB and LCB held to their claims: the decomposition, pessimism on its event and the event, rates.

Sure claims run in rationals. VI-LCB is held to its claims on multinomial counts of independent tuples, since its
constants want some ten million of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import strategies as st

from algorithms.offline import vi_lcb
from algorithms.offline.vi_lcb import Counts, Params
from mdpkit.access import Episodes
from mdpkit.concentration import vi_lcb_log
from mdpkit.data import collect
from mdpkit.instances.formula import linear, stationary, step_dependent
from mdpkit.measure.occupancy import occupancy
from mdpkit.measure.regret import gap, pull_gaps
from mdpkit.measure.values import optimal_action_value, value
from mdpkit.models.bandits import Bandit
from mdpkit.models.tabular import EpisodicMDP
from mdpkit.octets import law, octets
from mdpkit.rational import exact, fraction
from mdpkit.records import Dataset, Steps
from mdpkit.solve.rounding import higham
from theory_checks.engine.claims import Check, Claim, Saboteur, marked
from theory_checks.engine.judges import Expectation, HighProbability, Rate, Separation, Sure
from theory_checks.engine.rows import worst_of

TWINS = "theory_checks.offline._vi_lcb_twins"
DELTA = 0.1
SIZES = (450, 900, 1800, 3600)
ARMS = 50


def two_thirds(n: np.ndarray) -> np.ndarray:
    """The rate next to sqrt(n) on the ladder."""
    return n ** (2 / 3)


# ------------------------------------------------------------------------------------------ worlds

@st.composite
def estimates(draw: st.DrawFn) -> dict[str, Any]:
    """An episodic MDP, an estimate of it, and how many times its error the penalty is, in quarters from 1 on."""
    H, S, A = (draw(st.integers(1, n)) for n in (3, 3, 2))
    kernel = lambda: law(draw, H, S, A, S, weights=range(9))
    m = EpisodicMDP(kernel(), octets(draw, H, S, A) % 17 / 16, law(draw, S))
    return {"model": m, "P_hat": kernel(), "r_hat": octets(draw, H, S, A) % 17 / 16,
            "times": 1 + octets(draw, H, S, A) % 9 / 4}


@st.composite
def laws(draw: st.DrawFn) -> dict[str, Any]:
    """State laws, deterministic actions and a law of data with full support."""
    H, S, A = (draw(st.integers(1, 3)) for _ in range(3))
    return {"d": law(draw, H, S, weights=range(9)), "actions": octets(draw, H, S) % A,
            "mu": law(draw, H, S * A, weights=(1, 8, 64)).reshape(H, S, A), "matched": draw(st.booleans())}


# ---------------------------------------------------------------------------------------- measures

def residual(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C1 in rationals: how far the sides are apart, or how positive the third sum is."""
    m, pi = world["model"], optimal_action_value(world["model"]).argmax(-1)
    left, one, two, three = subject(exact(m.P), exact(m.r), exact(m.rho), _replay(world, vi_lcb.plan).Q, pi)
    return {"measured": fraction(max(abs(left - (one + two + three)), three)), "bound": 0}


def pessimism(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C2 in rationals: 0 <= iota <= 2 b, V <= V^pihat, and the gap against 2 sum E_{d*} b."""
    m, out = world["model"], _replay(world, subject)
    P, r, rho = exact(m.P), exact(m.r), exact(m.rho)
    iota, mine, s = vi_lcb.model_errors(P, r, out.Q), exact(np.zeros((m.H + 1, m.S))), np.arange(m.S)
    for h in range(m.H - 1, -1, -1):
        mine[h] = r[h, s, out.policy[h]] + P[h, s, out.policy[h]] @ mine[h + 1]
    pi = optimal_action_value(m).argmax(-1)
    d = vi_lcb.occupancy(P, rho, pi)
    left = vi_lcb.decomposition(P, r, rho, out.Q, pi)[0]
    worst = np.unravel_index((iota - 2 * out.b).argmax(), iota.shape)
    return worst_of((max((-iota).max(), 0), 0), (max((out.V - mine).max(), 0), 0), (left, 2 * (d * out.b).sum()),
                  (iota[worst], 2 * out.b[worst]))


def _replay(world: dict, subject: Callable) -> Any:
    """The penalty is the exact model error times something, so that the event is sure."""
    m = world["model"]
    P, r, P_hat, r_hat, times = (exact(x) for x in (m.P, m.r, world["P_hat"], world["r_hat"], world["times"]))
    return subject(lambda h, V: r_hat[h] + P_hat[h] @ V,
                   lambda h, fitted, V: times[h] * np.abs(r_hat[h] + P_hat[h] @ V - r[h] - P[h] @ V), m.r.shape, P)


@marked
def coverage(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C3: the worst model error at V_{h+1} less its penalty, in one run on fresh data."""
    S, A, H = world["F"]
    base: Any = linear(S, A, world["d"], H) if "d" in world else step_dependent(S, A, H)
    parts = (base.phi, base.mu, base.theta) if "d" in world else (base.P, base.r)
    model = type(base)(*parts, base.rho, "bernoulli")
    data = collect(model, np.full(model.r.shape, 1.0 / model.A), world["n"], rng)
    out = subject(Episodes(model, rng), data, Params(world["n"], DELTA), rng).output
    truth = model.r + np.einsum("hsat,ht->hsa", model.P, out.V[1:])
    # both sides are sums of fewer than n + S terms of size at most H, and solves with condition at most 1 + n
    slack = higham(world["n"] * 64) * model.H * (1 + world["n"])
    return {"measured": float((np.abs(out.fitted - truth) - out.b).max()), "bound": 0.0, "slack": slack}


def bandit(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C4: the arm chosen with the penalty, and without."""
    model = Bandit(np.append(0.7, np.full(ARMS - 1, 0.5)))
    arms = np.repeat(np.arange(ARMS), [world["best"]] + [world["others"]] * (ARMS - 1))
    pulls = (rng.random(len(arms)) < model.mu[arms]).astype(float)
    nowhere = np.zeros((len(arms), 1), np.int64)
    data = Dataset(Steps(nowhere, arms[:, None], pulls[:, None], nowhere), "fixed counts", joint=False)
    loss = {name: float(pull_gaps(model, np.array([entry(
        Episodes(model, rng), data, Params(len(arms), 0.05, c), rng).output]))[0])
        for name, c, entry in (("lcb", 1.0, subject), ("greedy", 0.0, vi_lcb.run_bandit))}
    return {"lcb": {"measured": loss["lcb"], "bound": 0.02}, "greedy": {"measured": loss["greedy"], "bound": 0.15}}


@marked
def bound(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C5: n times 2 sum E_{d*} b at growing n, and whether the loss ever exceeds 2 sum E_{d*} b."""
    model = step_dependent(4, 3, 3)
    data, d = logged(model, world["best"], SIZES[-1], rng)
    values, losses = [], []
    for n in SIZES:
        out = subject(Episodes(model, rng), data, Params(n, DELTA), rng).output
        values.append(2 * float((d * out.b).sum()))
        losses.append(gap(model, out.policy))
    return {"rate": {"measured": np.array(SIZES) * values},
            "above": {"failed": bool((np.array(losses) > np.array(values) * (1 + higham(200))).any())}}


def logged(model: EpisodicMDP, best: float, n: int, rng: np.random.Generator) -> tuple[Dataset, np.ndarray]:
    """n trajectories that play pi* or a uniform action, half and half at each step, and the occupancy of pi*.

    With ``best=0`` the uniform action is never that of pi*: where it goes nothing is known.
    """
    pi = np.eye(model.A)[optimal_action_value(model).argmax(-1)]
    law = 0.5 * pi + 0.5 / model.A if best else (1.0 - pi) / (model.A - 1)
    return collect(model, law, n, rng), occupancy(model, pi)


@marked
def iterates(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C6: the largest excess of V_T over the value of pi_T."""
    model, found = _discounted(world, subject, rng)
    # rounding of T backups, and of a linear solve with condition at most (1 + gamma)/(1 - gamma)
    return {"measured": float((found.values[-1] - value(model, _one_hot(found.policies[-1], model.A))).max()),
            "bound": 0.0, "slack": higham(400) * 4 / (1 - model.gamma) ** 2}


def falls(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C6-monotone: the largest V_{t-1} - V_t; the sign of a difference of floats is exact."""
    _, found = _discounted(world, subject, rng)
    return {"measured": max(0.0, float((-np.diff(found.values, axis=0)).max())), "bound": 0}


@marked
def final_loss(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C6-optimal: V*(rho) - V^{pi_T}(rho)."""
    model, found = _discounted(world, subject, rng)
    return {"measured": gap(model, _one_hot(found.policies[-1], model.A)), "bound": 0.0,
            "slack": higham(400) * 4 / (1 - model.gamma) ** 2}


def _discounted(world: dict, subject: Callable, rng: np.random.Generator) -> tuple[Any, Any]:
    """Counts of T + 1 folds of independent tuples, (s, a) uniform: T = 8 as for n = 40."""
    model, T = stationary(3, 2, 0.5), 8
    N = rng.multinomial(world["fold"], np.full(6, 1 / 6), T + 1).reshape(T + 1, 3, 2)
    M = rng.multinomial(N, model.P)
    L = vi_lcb_log(T, 3, 2, DELTA)
    return model, subject(Counts(N.astype(float), N * model.r, M.astype(float)), model.gamma, L)


def sums(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C7: the sum against its bound. With ``stochastic`` the policy mixes all actions, which the claim excludes."""
    d, mu = world["d"], world["mu"]
    pi = np.eye(mu.shape[-1])[world["actions"]]
    if world.get("stochastic"):
        pi = np.full(pi.shape, 1.0 / mu.shape[-1])
    d = d[..., None] * pi
    if world["matched"]:                          # data from the policy itself: the case of equality
        mu = np.where(d > 0, d, mu)
    total, most = subject(d, mu)
    return {"measured": total, "bound": most, "slack": higham(4 * d.size + 16) * most}


def _one_hot(policy: np.ndarray, A: int) -> np.ndarray:
    return np.eye(A)[policy]


# -------------------------------------------------------------------------------------------- checks

def _check(name: str, kind: str, statement: str, source: str, status: str, entry: str, worlds: Any, measure: Callable,
           judge: Any, finding: str = "", world: tuple[str, str, dict] | None = None, **twins: str) -> Check:
    """A check whose saboteurs are one world (name, why, settings) and twins by name, each with what is wrong."""
    claim = Claim("vi-lcb", name, kind, statement, source, status, finding)
    broken = [Saboteur(world[0], world[1], world=world[2])] if world else []
    return Check(claim, entry, worlds, measure, judge, (*broken, *(
        Saboteur(twin.replace("_", " "), why, subject=f"{TWINS}:{twin}") for twin, why in twins.items())))


CHECKS = (
    _check("C1", "identity", "V*(rho) - V^pihat(rho) = E_{d*} sum iota - E_{d^pihat} sum iota + "
           "sum_h E_{d*}[Q_h(s, a) - V_h(s)], iota_h = r + P V_{h+1} - Q_h, and the last sum is not positive.",
           "PEVI, lemma 3.1", "checked", "decomposition", estimates, residual, Sure("EXACT", 100),
           exchanged="d* and d^pihat change places", dropped_third="without the last sum"),
    _check("C2", "bound", "Where |rhat + Phat V_{h+1} - r - P V_{h+1}| <= b_h everywhere: 0 <= iota_h <= 2 b_h, "
           "V <= V^pihat, and V*(rho) - V^pihat(rho) <= 2 sum_h E_{d*_h} b_h.", "PEVI, Theorem 4.2", "checked", "plan",
           estimates, pessimism, Sure("EXACT", 150),
           small_penalty="a quarter of the penalty", added_penalty="optimism"),
    _check("C3", "high-probability", "The event of C2 has probability >= 1 - delta for the Hoeffding penalty with "
           "folds; here on F(4, 3, 3), 300 trajectories, delta = 0.1.", "PEVI, definition 4.1", "derived", "run",
           ({"F": [4, 3, 3], "n": 300},), coverage, HighProbability(DELTA), fifth="a fifth of the penalty"),
    _check("C3-linear", "high-probability", "The event of C2 has probability >= 1 - xi for beta = c d H "
           "sqrt(log(2 d H n/xi)) without folds, at c = 1; here on Lin(6, 3, 3, 3), n = 200, xi = 0.1.",
           "PEVI, Theorem 4.4", "recalled", "run_linear", ({"F": [6, 3, 3], "d": 3, "n": 200},), coverage,
           HighProbability(DELTA), "The paper leaves the absolute constant c open; c = 1 is this instance's.",
           hundredth_linear="a hundredth of beta"),
    _check("C4", "separation", "Bandit with 50 arms, means 0.7, 0.5, .., 0.5, pulled 2000, 1, .., 1 times: LCB at "
           "delta = 0.05 loses at most 0.02 in expectation, the largest empirical mean at least 0.15.",
           "section on bandits, this instance", "checked", "run_bandit", ({"best": 2000, "others": 1},), bandit,
           Separation((("lcb", Expectation(0.0, 0.2)), ("greedy", Expectation(0.0, 0.2, above=True)))),
           world=("equal counts", "an assumption broken: both find the arm", {"others": 2000}),
           empirical="no penalty"),
    _check("C5", "rate", "Behaviour half pi*, half uniform on F(4, 3, 3): 2 sum E_{d*} b = O(n^-1/2), and it is above "
           "the loss with probability >= 1 - delta.", "PEVI, corollary 4.5 in its tabular form; this instance",
           "checked", "run", ({"best": 1.0},), bound,
           Separation((("rate", Rate(SIZES, np.sqrt, two_thirds, n=100)), ("above", HighProbability(DELTA)))),
           "The rate is that of the bound; the loss itself is far below. The rule sees n times the bound grow like "
           "the root of n.",
           world=("no coverage", "an assumption broken: the data never show pi*", {"best": 0.0})),
    _check("C6", "high-probability", "V_T <= V^{pi_T} in every state with probability >= 1 - delta; here on F(3, 2), "
           "gamma = 0.5, T = 8, with 300, 10^5 and 10^7 tuples a fold.", "VI-LCB, lemma on pessimism", "recalled",
           "lcb_iteration", tuple({"fold": n} for n in (10**7, 10**5, 300)), iterates, HighProbability(DELTA),
           "With 300 and 10^5 a fold the penalty exceeds every reward and V_T = 0: pi_0 is all that is learned.",
           tiny_penalty="L = 1e-4"),
    _check("C6-monotone", "monotone", "V_t >= V_{t-1} in every state, surely.", "VI-LCB, line 8", "recalled",
           "lcb_iteration", tuple({"fold": n} for n in (300, 10**7)), falls, Sure("EXACT"),
           forgetful="V_t = max_a Q_t throughout"),
    _check("C6-optimal", "high-probability", "With 10^8 tuples a fold pi_T is optimal with probability >= 1 - delta, "
           "on that instance.", "VI-LCB, Theorem 6, this instance", "checked", "lcb_iteration", ({"fold": 10**8},),
           final_loss, HighProbability(DELTA), world=("few tuples", "the penalty leaves pi_0 as it is", {"fold": 100}),
           worst_first="the rarest actions for ever"),
    _check("C7", "bound", "sum_h E_{d*_h}[1/sqrt(mu_h n)] <= H sqrt(S C*/n) for deterministic pi*.", "Cauchy-Schwarz",
           "derived", "coverage_sum", laws, sums, Sure("SEARCHED", 200), "Attained by mu = d* uniform over states.",
           world=("stochastic", "an assumption broken: pi* mixes, which takes S A in place of S", {"stochastic": True}),
           without_states="without sqrt(S)"),
)
