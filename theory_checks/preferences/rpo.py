"""RPO held to its claims: two forms of one objective, the saddle point, what coverage buys, and what DPO loses."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from typing import Any

import numpy as np
from hypothesis import strategies as st

from algorithms.preferences import rpo
from algorithms.preferences.rpo import Params
from mdpkit import losses
from mdpkit.access import Comparisons
from mdpkit.measure.divergences import kl
from mdpkit.models.preferences import PreferenceModel
from mdpkit.octets import law, octets
from mdpkit.records import Pairs
from mdpkit.solve.rounding import higham
from theory_checks.engine.claims import Check, Claim, Saboteur, marked
from theory_checks.engine.judges import Expectation, HighProbability, Rate, Separation, Sure
from theory_checks.engine.rows import worst

TWINS = "theory_checks.preferences._rpo_twins"
BETAS = (1.0, 0.5, 0.125, 1 / 32)
ETAS = (1.0, 0.25, 1 / 64, 2.0**-10)
RANGES = (0.5, 1.0, 4.0)
SIZES = (200, 800, 3200, 12_800)
SEEN = ((0, 1), (0, 2), (1, 2), (2, 3), (0, 3))           # the pairs that are compared; the fifth response twice only
REWARD = np.array([[1.0, 0.8, 0.6, 0.4, 0.0]])
MANY, DELTA = 10**6, 0.05


# ------------------------------------------------------------------------------------------ worlds

@st.composite
def logs(draw: st.DrawFn, both: bool = False) -> dict[str, Any]:
    """Counts, policies, rewards in [0, R], a comparator ``pi`` and others; up to two prompts and four responses.

    With ``both`` neighbours have beaten one another both ways, and pi_base has full support.
    """
    X, Y = draw(st.integers(1, 2)), draw(st.integers(2, 4))
    wins = octets(draw, X, Y, Y) % 4 * (1 - np.eye(Y)) + (np.eye(Y, k=1) + np.eye(Y, k=-1) if both else 0.0)
    wins[0, 0, 1] += 1
    return {"wins": wins, "pi_ref": law(draw, X, Y, least=1), "base": law(draw, X, Y, least=int(both)),
            "rho": law(draw, X, least=1), "share": octets(draw, X, Y) % 9 / 8, "R": draw(st.sampled_from(RANGES)),
            "reach": 1.0, "pi": law(draw, X, Y), "others": law(draw, 3, X, Y), "beta": draw(st.sampled_from(BETAS)),
            "eta": draw(st.sampled_from(ETAS))}


both_ways = partial(logs, True)


@st.composite
def featured(draw: st.DrawFn) -> dict[str, Any]:
    """The same with features, theta and the half-width of its box, and a law of pairs."""
    world, d = draw(both_ways()), draw(st.integers(1, 3))
    X, Y = world["base"].shape
    return world | {"phi": (octets(draw, X, Y, d) % 5 - 2) / 2, "B": draw(st.sampled_from([0.25, 1.0])),
                    "theta": octets(draw, d) % 17 / 8 - 1, "mu": np.triu(octets(draw, X, Y, Y) % 3, 1) + np.eye(Y, k=1)}


@st.composite
def covered(draw: st.DrawFn) -> dict[str, Any]:
    """`logs`, with a law mu of pairs that may leave responses out; then the comparator has pi_base's mass there."""
    world = draw(logs())
    X, Y = world["base"].shape
    seen = draw(st.integers(2, Y))
    mu = np.triu(octets(draw, X, Y, Y) % 3, 1) + np.eye(Y, k=1)
    mu[:, :, seen:] = 0.0
    mass = world["base"][:, :seen].sum(1, keepdims=True)
    return world | {"mu": mu, "pi": np.concatenate([mass * law(draw, X, seen), world["base"][:, seen:]], 1)}


# ---------------------------------------------------------------------------------------- measures

def given(world: dict, reward: Any = None, **known: Any) -> tuple[Comparisons, Pairs]:
    """Access to a world, and its logged comparisons; with a reward its population under the world's mu."""
    shape = world["pi_ref"].shape
    model = PreferenceModel.bradley_terry(np.zeros(shape) if reward is None else reward, world["rho"], world["pi_ref"],
                                          world["beta"])
    x, win, lose = np.nonzero(world["wins"])
    data = Pairs(x, win, lose, world["wins"][x, win, lose]) if reward is None else losses.population(model, world["mu"])
    return Comparisons(model, np.random.default_rng(0), bounds=known), data


def forms(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C1-form: the objective of the reward form at r, that of the policy form at pi_r."""
    access, data = given(world)
    p, r = rpo.given(access, data, Params(world["eta"], world["base"]), rng), world["share"] * world["R"]
    log_pi = losses.gibbs(p.log_ref, r, p.beta)
    constant = p.eta * p.beta * float((p.rho * (p.base * p.log_ref).sum(1)).sum())
    # logs of policies err by units of their size, which beta brings back to that of r
    size = (1 + p.eta) * (1 + float(np.abs(r).max()) + p.beta * float(np.abs(p.log_ref).max() + np.abs(log_pi).max()))
    return {"measured": abs(subject(p, log_pi) + constant - rpo.reward_loss(p, r)), "bound": 0.0,
            "slack": higham(128) * size}


def stationary(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C1: the slope of the reward form, in theta, at the implicit reward of the policy."""
    access, data = given(world, **({"phi": world["phi"]} if "phi" in world else {}))
    params = Params(world["eta"], world["base"])
    p = rpo.given(access, data, params, rng)
    pi = subject(access, data, params, rng).output
    r = losses.implicit_reward(np.log(pi), p.log_ref, p.beta)
    g = losses.pairwise(p.W, r)[1] + p.eta * p.rho[:, None] * (pi - p.base)
    phi = world.get("phi", p.phi)
    # what Newton's method leaves, and log pi, which errs by units of its size
    size = (1 + p.eta) * (1 + float(np.abs(np.log(pi)).max())) * float(np.abs(phi).sum((0, 1)).max())
    return {"measured": float(np.abs(np.einsum("xyj,xy->j", phi, g)).max()), "bound": 0.0,
            "slack": rpo.TOLERANCE + higham(128) * size}


@marked
def in_class(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C1-linear: the same; and the implicit reward is <phi, theta> for some theta, up to a shift a prompt."""
    access, data = given(world, phi=world["phi"])
    pi = subject(access, data, Params(world["eta"], world["base"]), rng).output
    r = world["beta"] * np.log(pi / world["pi_ref"]).ravel()
    X, Y, d = world["phi"].shape
    A = np.concatenate([world["phi"].reshape(X * Y, d), np.kron(np.eye(X), np.ones((Y, 1)))], 1)
    off = float(np.abs(r - A @ np.linalg.lstsq(A, r, rcond=1e-10)[0]).max())
    # entries of A are halves up to 1: singular values that are not 0 are above 2^-10
    slack = higham(2**16) * (1 + float(np.abs(r).max()))
    return worst([stationary(world, subject, rng), {"measured": off, "bound": 0.0, "slack": slack}])


def saddle_point(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C2: min F(pi_hat, .) against max min F, and that of others against it, less eta beta KL(pi || pi_hat)."""
    access, data = given(world)
    params = Params(world["eta"], world["base"], 0.0, world["R"])
    p = rpo.given(access, data, params, rng)
    best, room = _room(p)
    pi_hat = subject(access, data, params, rng).output
    rows = []
    for pi in (pi_hat, *world["others"]):
        _, low, gap = rpo.worst_reward(p, pi)
        least = low - p.eta * p.beta * float((p.rho * kl(pi, world["pi_ref"])).sum())
        far = p.eta * p.beta * float((p.rho * kl(pi, pi_hat)).sum())
        rows.append({"measured": least + far - best, "bound": 0.0, "slack": room + _rounding(p, best)})
        if pi is pi_hat:
            rows.append({"measured": best - least, "bound": 0.0, "slack": room + gap + _rounding(p, best)})
    return worst(rows)


def short(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C3: J(pi) - J(pi_hat) on logged data against what the worst reward for pi says."""
    truth = world["share"] * world["R"] * world["reach"]
    access, data = given(world)
    params = Params(world["eta"], world["base"], 0.0, world["R"])
    p = rpo.given(access, data, params, rng)
    gap = _gap(p, truth, world["pi"], subject(access, data, params, rng).output)
    r, _, left = rpo.worst_reward(p, world["pi"])
    found = float((p.rho * ((world["pi"] - p.base) * (truth - r)).sum(1)).sum())
    found += (losses.pairwise(p.W, truth)[0] - losses.pairwise(p.W, r)[0]) / p.eta
    return {"measured": gap, "bound": found, "slack": (left + _room(p)[1] + _rounding(p, 1.0)) / p.eta}


@marked
def short_of_covered(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C3-population: J(pi) - J(pi_hat) on the whole population against eta C^2/(8 k^2). With features C3-linear."""
    lo, hi, phi, truth = 0.0, world["R"], None, world["share"] * world["R"] * world["reach"]
    if "phi" in world:
        lo, hi, phi = -world["B"], world["B"], world["phi"]
        truth = np.einsum("xyj,j->xy", phi, world["theta"] * hi)
    access, data = given(world, reward=truth, phi=phi)
    params = Params(world["eta"], world["base"], lo, hi)
    p = rpo.given(access, data, params, rng)
    p = p if phi is None else p._replace(phi=phi)
    gap = _gap(p, truth, world["pi"], subject(access, data, params, rng).output)
    R = hi * (1.0 if phi is None else float(np.abs(phi[:, :, None] - phi[:, None]).sum(-1).max()))
    C2 = coverage(world["mu"] / world["mu"].sum(), p.phi, p.rho[:, None] * (world["pi"] - p.base))
    bound = p.eta * C2 / 8 * ((1 + math.exp(R)) ** 2 / math.exp(R)) ** 2
    return {"measured": gap, "bound": bound, "slack": 1e-9 * min(bound, R) + (_room(p)[1] + _rounding(p, 1.0)) / p.eta}


def coverage(mu: np.ndarray, phi: np.ndarray, D: np.ndarray) -> float:
    """C^2 = v' Sigma^+ v, v = sum D phi, Sigma = sum mu (phi_y - phi_z)(phi_y - phi_z)', mu (X, Y, Y), phi (X, Y, d),
    D (X, Y) = rho (pi - pi_base); inf where Sigma does not see v. Good to nine digits."""
    step = phi[:, :, None] - phi[:, None]
    sigma, v = np.einsum("xyz,xyzi,xyzj->ij", mu, step, step), np.einsum("xy,xyj->j", D, phi)
    solved = np.linalg.pinv(sigma, rcond=1e-11, hermitian=True) @ v
    return float(v @ solved) if np.abs(sigma @ solved - v).max() <= 1e-9 else math.inf


def certain(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C3-theory: the gap to the best response at the theorem's eta and beta, against its bound."""
    N, Y, model = world["N"], 5, five(1 / math.sqrt(world["N"]))
    pairs = np.array([(y, z) for y in range(Y) for z in range(y)])
    data = _compared(model, pairs, rng.multinomial(N, np.full(10, 0.1)), rng)
    pi = subject(Comparisons(model, rng), data, replace(rpo.theory(N, 1.0, Y, DELTA), base=model.pi_ref), rng).output
    # Sigma = (5 - ee')/10, and so C^2 = 2 |pi - pi_base|^2 = 8/5
    factor = math.sqrt(6) / 4 * (1 + math.e) ** 2 * (1.6 + 1) * rpo.spread(N, 1.0, Y, DELTA) + math.log(Y)
    return {"measured": 1.0 - float((pi * REWARD).sum()), "bound": factor / math.sqrt(N)}


def flukes(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C4: gaps of RPO and of DPO in one run, at fixed beta."""
    access, data = few(world["N"], rng)
    gaps = [1.0 - float((f(access, data, Params(eta, world["base"]), rng).output * REWARD).sum())
            for f, eta in ((subject, 0.5 / math.sqrt(world["N"])), (rpo.run_dpo, 0.0))]
    return {"rpo": {"measured": gaps[0], "bound": 0.03}, "dpo": {"measured": gaps[1], "bound": 0.1}}


def falling(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C4-rate: N times the gap, at the theorem's beta."""
    gaps = []
    for N in SIZES:
        access, data = few(N, rng, 1 / math.sqrt(N))
        pi = subject(access, data, Params(0.5 / math.sqrt(N), world["base"]), rng).output
        gaps.append(1.0 - float((pi * REWARD).sum()))
    return {"measured": np.array(SIZES) * gaps}


@cache
def five(beta: float) -> PreferenceModel:
    """Five responses with REWARD, and the uniform reference."""
    return PreferenceModel.bradley_terry(REWARD, [1.0], np.full((1, 5), 0.2), beta)


def few(N: int, rng: np.random.Generator, beta: float = 0.05) -> tuple[Comparisons, Pairs]:
    """N comparisons on the pairs SEEN, two of the fifth response with the first, and 1e-9 (N + 2) of everything."""
    model = five(beta)
    counts = np.append(rng.multinomial(N, np.full(5, 0.2)), 2)
    data = _compared(model, np.array([*SEEN, (4, 0)]), counts, rng)
    y, z = np.nonzero(1 - np.eye(5))
    more = (np.zeros(20, int), y, z, np.full(20, 1e-9 * (N + 2)))
    return Comparisons(model, rng), Pairs(*(np.append(a, b) for a, b in zip(
        (data.x, data.win, data.lose, data.count), more)))


def _compared(model: PreferenceModel, pairs: np.ndarray, counts: np.ndarray, rng: np.random.Generator) -> Pairs:
    y, z = pairs.T
    won = rng.binomial(counts, model.p[0, y, z])
    return Pairs(np.zeros(2 * len(y), int), np.append(y, z), np.append(z, y), 1.0 * np.append(won, counts - won))


def _gap(p: rpo.Problem, truth: np.ndarray, pi: np.ndarray, other: np.ndarray) -> float:
    """J_beta(pi) - J_beta(other)."""
    far = [kl(law_, np.exp(p.log_ref)) for law_ in (pi, other)]
    return float((p.rho * (((pi - other) * truth).sum(1) - p.beta * (far[0] - far[1]))).sum())


def _room(p: rpo.Problem) -> tuple[float, float]:
    """max min F as computed, and how far off it and min F(pi_hat, .) may be.

    With values within g of the least, both eta beta KL(pi* || pi_hat) and its converse are at most g, and F(pi_hat, r)
    is at least F(pi*, r) - g - eta R TV(pi*, pi_hat), TV^2 <= g/(2 eta beta).
    """
    _, value, gap = rpo.worst_reward(p)
    R = (p.hi - p.lo) * float(np.abs(p.phi[:, :, None] - p.phi[:, None]).sum(-1).max())
    g = gap + _rounding(p, R)
    return value, 2 * g + R * math.sqrt(p.eta * g / (2 * p.beta))


def _rounding(p: rpo.Problem, size: float) -> float:
    """Of an objective: some dozens of sums of terms up to 1 + eta times rewards and beta log pi_ref."""
    top = max(abs(p.lo), abs(p.hi)) * float(np.abs(p.phi).sum(-1).max())
    return higham(128) * (1 + p.eta) * (1 + abs(size) + top + p.beta * float(np.abs(p.log_ref).max()))


# -------------------------------------------------------------------------------------------- checks

def _check(name: str, kind: str, statement: str, source: str, status: str, entry: str, worlds: Any, measure: Callable,
           judge: Any, *broken: Saboteur, finding: str = "", **twins: str) -> Check:
    """A check whose saboteurs are worlds, and twins by name, each with what is wrong with it."""
    claim = Claim("rpo", name, kind, statement, source, status, finding)
    return Check(claim, entry, worlds, measure, judge, (*broken, *(
        Saboteur(twin.replace("_", " "), why, subject=f"{TWINS}:{twin}") for twin, why in twins.items())))


_REACH = Saboteur("r* outside R", "an assumption broken: r* is four times as large", world={"reach": 4.0})
_BAD = Saboteur("a bad baseline", "an assumption broken: pi_base plays the fifth response, and pi - pi_base is seen "
                "twice", world={"base": [[0.0, 0.0, 0.0, 0.0, 1.0]]})
CHECKS = (
    _check("C1-form", "identity", "For every r, with pi_r prop. to pi_ref exp(r/beta): eta E[V - E_base r] + L(r) = "
           "L(beta log(pi_r/pi_ref)) + eta beta E_base[-log pi_r] + eta beta E_base log pi_ref.",
           "Section 4, equivalence", "checked", "policy_loss", both_ways, forms, Sure("SEARCHED", 80),
           unscaled_loss="weight eta, not eta beta", sft_on_reference="SFT on responses of pi_ref"),
    _check("C1", "identity", "Without a box the policy form returns the policy of the reward form's minimiser: there "
           "the latter's slope, and at a convex function's minimiser alone, is 0.", "Section 4, equivalence", "checked",
           "run", both_ways, stationary, Sure("SEARCHED", 80),
           finding="On the instance of reference the minimum is 0.67102682008158; 0.67102682009110, as once computed, "
                   "is above it, and the policy that goes with it off by 3e-9.",
           unscaled="weight eta, not eta beta", on_reference="SFT on responses of pi_ref", dpo="no SFT loss"),
    _check("C1-linear", "identity", "So it does in the log-linear class, with rewards <phi, theta>.",
           "Section 4, equivalence", "derived", "run_linear", featured, in_class, Sure("SEARCHED", 80),
           unscaled_linear="weight eta, not eta beta", tabular="the class of all policies"),
    _check("C2", "identity", "For R = [0, R]^(X, Y): min_r F(pi_hat, r) = max_pi min_r F(pi, r), and min_r F(pi, r) <= "
           "that - eta beta E_x KL(pi || pi_hat) for every pi.", "Section 4, minimax", "checked", "run_reward", logs,
           saddle_point, Sure("SEARCHED", 80), likeliest="the policy of the most likely reward", cold="beta/2"),
    _check("C3", "bound", "J_beta(pi) - J_beta(pi_hat) <= E_pi[r* - r] - E_base[r* - r] + (L(r*) - L(r))/eta for every "
           "pi, r = argmin F(pi, .), if r* is in R = [0, R]^(X, Y): on any data.", "proof of Theorem 5.3", "derived",
           "run_reward", logs, short, Sure("SEARCHED", 80), _REACH, against="the policy of -rhat"),
    _check("C3-population", "bound", "On the population J_beta(pi) - J_beta(pi_hat) <= eta C^2/(8 k^2), k = e^R/(1 + "
           "e^R)^2, C^2 = (pi - pi_base)' Sigma^+ (pi - pi_base): responses may be left out, if pi and pi_base agree "
           "there.", "proof of Theorem 5.3", "derived", "run_reward", covered, short_of_covered,
           Sure("SEARCHED", 80), _REACH, against="the policy of -rhat"),
    _check("C3-linear", "bound", "The same for <phi, theta>, theta in a box: Sigma from phi_y - phi_z, R the largest "
           "difference of rewards in the class.", "proof of Theorem 5.3", "derived", "run_reward_linear", featured,
           short_of_covered, Sure("SEARCHED", 80), against_linear="the policy of -rhat"),
    _check("C3-theory", "high-probability", "At eta, beta of the theorem E_pi r* - E_{pi_hat} r* <= (sqrt(6)/4 (1 + "
           "e^R)^2 (C^2 + 1) i + KL(pi || pi_ref))/sqrt(N) with probability 1 - delta: here pi the best of five "
           "responses, all pairs compared, R = 1, N = 10^6, delta = 0.05.", "Theorem 5.3", "recalled", "run_reward",
           ({"N": MANY},), certain, HighProbability(DELTA), against="the policy of -rhat",
           finding="The bound is 0.2 there; for this instance it is above R, the largest gap, up to N = 33000."),
    _check("C4", "separation", "Y = 5, r* = (1, .8, .6, .4, 0), beta = .05; N = 3200 comparisons of the first four and "
           "two of the fifth with the first; pi_base the winners, eta = .5/sqrt(N): 1 - E_{pi_hat} r* < .03 on "
           "average, where DPO has above .1.", "Section 6, this instance", "checked", "run",
           ({"N": 3200, "base": None},), flukes,
           Separation((("rpo", Expectation(-1e-9, 1.0)), ("dpo", Expectation(-1e-9, 1.0, above=True)))), _BAD,
           finding="At fixed beta the gap does not vanish: .0037 is left, what pi_ref exp(r*/beta) itself loses.",
           dpo="no SFT loss"),
    _check("C4-rate", "rate", "There at beta = 1/sqrt(N), the theorem's: the mean gap is O(N^-1/2), N = 200 to 12800.",
           "Theorem 5.3, this instance", "checked", "run", ({"base": None},), falling,
           Rate(SIZES, np.sqrt, lambda N: N ** (2 / 3), n=128), _BAD, dpo="no SFT loss"),
)
