"""HyPO held to its claims: what comparisons cannot tell DPO, what coverage costs, and what the KL term repairs.

The rates of failure are read from worlds whose thin response has probability d = 2^-k, which is stored as it is:
stored laws are multiples of 2^-52, and d = 1e-12 would be off by one part in 10^4.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import strategies as st

from algorithms.preferences import hypo
from algorithms.preferences.hypo import Params
from mdpkit import losses, validate
from mdpkit.access import Comparisons
from mdpkit.instances.preferences import two_prompts
from mdpkit.measure.divergences import kl
from mdpkit.models.preferences import PreferenceModel
from mdpkit.octets import octets
from mdpkit.records import Pairs
from mdpkit.solve.rounding import higham
from theory_checks.engine.claims import Check, Claim, Saboteur, marked
from theory_checks.engine.judges import HighProbability, Sure
from theory_checks.engine.rows import worst

TWINS = "theory_checks.preferences._hypo_twins"
WEIGHTS = np.array([1, 1, 4, 64, 2**14, 2**20], float)        # of responses, before they are normalised
BETAS = (1.0, 0.5, 0.125, 1 / 32)
BAD_START = np.log([[0.05, 0.05, 0.9]])
STARTS = ([0.45, 0.45, 0.1], [0.01, 0.9, 0.09])
# lam, a and T: a < 2/(beta^2/2 + 9 lam), since log(pi/pi_ref) is below 9; larger steps overshoot, and may strand pi
LADDER = ((0.1, 1.5, 200_000), (0.01, 8.0, 150_000), (0.001, 14.0, 1_000_000))
THETA = np.array([[0.5, -0.25, 0.0, -1.0], [1.0, 0.0, 0.25, -0.5]])      # of the sampled gradient
RANGES = (1 / 64, 0.25, 1.0, 4.0, 16.0)


# ------------------------------------------------------------------------------------------ worlds

def thin(d: float, third: float = 0.0) -> tuple[PreferenceModel, Pairs]:
    """r* = (1, 1/2, 0), beta = 1/2, pi_ref = ((1-d)/2, (1-d)/2, d); {y1, y2} compared, {y1, y3} with weight third."""
    model = PreferenceModel.bradley_terry([[1.0, 0.5, 0.0]], [1.0], [[(1 - d) / 2, (1 - d) / 2, d]], 0.5)
    mu = np.zeros((1, 3, 3))
    mu[0, 0, 1], mu[0, 0, 2] = 1.0 - third, third
    return model, losses.population(model, mu)


def law(draw: st.DrawFn, *shape: int) -> np.ndarray:
    """Rows of full support, here and there very thin."""
    w = WEIGHTS[octets(draw, *shape) % len(WEIGHTS)]
    return validate.simplex("law", w / w.sum(-1, keepdims=True), shape)


@st.composite
def rewards(draw: st.DrawFn) -> dict[str, Any]:
    """A reference, a true reward and an estimate that is near it or anywhere; up to two prompts, four responses."""
    X, Y = draw(st.integers(1, 2)), draw(st.integers(2, 4))
    r = octets(draw, X, Y) % 33 / 16
    moved = (octets(draw, X, Y) % 33 / 16 - 1) * draw(st.sampled_from([2.0, 1.0, 2.0**-6]))
    return {"pi_ref": law(draw, X, Y), "rho": law(draw, X), "beta": draw(st.sampled_from(BETAS)), "r": r,
            "rhat": r + moved}


@st.composite
def minimisers(draw: st.DrawFn) -> dict[str, Any]:
    """Three responses of which two are compared, and the weight m that goes to the third."""
    return {"pi_ref": law(draw, 1, 3), "r": octets(draw, 1, 3) % 33 / 16, "beta": draw(st.sampled_from(BETAS)),
            "m": draw(st.sampled_from([0.5, 0.9, 2.0**-30, 1 - 2.0**-10])), "third": 0.0}


@st.composite
def balls(draw: st.DrawFn) -> dict[str, Any]:
    """A reference, prompts, and the radius of a KL ball."""
    X, Y = draw(st.integers(1, 2)), draw(st.integers(2, 4))
    return {"pi_ref": law(draw, X, Y), "rho": law(draw, X), "e": 2.0 ** draw(st.integers(-12, 4))}


@st.composite
def logs(draw: st.DrawFn) -> dict[str, Any]:
    """Up to twenty logged comparisons, which may all agree, and a range for rewards."""
    X, Y, n = draw(st.integers(1, 2)), draw(st.integers(2, 4)), draw(st.integers(1, 20))
    x, win, off = octets(draw, n) % X, octets(draw, n) % Y, 1 + octets(draw, n) % (Y - 1)
    return {"pi_ref": law(draw, X, Y), "beta": draw(st.sampled_from(BETAS)), "R": draw(st.sampled_from(RANGES)),
            "pairs": [x, win, (win + off) % Y, np.ones(n)]}


# ---------------------------------------------------------------------------------------- measures

def equally_good(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C1: DPO's loss of [(1-m) a, m], less the entropy of the labels of {y1, y2}."""
    ref, r, beta, m = world["pi_ref"], world["r"], world["beta"], world["m"]
    model = PreferenceModel.bradley_terry(r, [1.0], ref, beta)
    mu = np.zeros((1, 3, 3))
    mu[0, 0, 1], mu[0, 0, 2] = 1.0 - world["third"], world["third"]
    a = np.exp(losses.log_softmax(np.log(ref[:, :2]) + r[:, :2] / beta))
    pi = np.concatenate([(1 - m) * a, [[m]]], 1)
    h = float(r[0, 0] - r[0, 1])
    entropy = float(losses.logistic(h, losses.sigmoid(h))[0])
    off = subject(losses.weights(losses.population(model, mu), 1, 3), pi, ref, beta) - entropy
    # logs of four numbers and r/beta make a margin of slope 1 in the loss; labels and their entropy round by units
    size = 1.0 + abs(h) + beta * float(np.abs(np.log(pi)).max() + np.abs(np.log(ref)).max()) + float(np.abs(r).max())
    return {"measured": abs(float(off)), "bound": 0.0, "slack": higham(64) * size}


@marked
def stranded(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C1-descent: DPO from the bad start over falling d: the weight of y3, the bound on J, the slope of the gap."""
    rows, gaps, ks = [], [], np.array(world["k"])
    for k in ks.tolist():
        model, data = thin(2.0**-k, world["third"])
        pi = subject(Comparisons(model, rng), data, Params(world["T"], 8.0, start=BAD_START), rng).output
        m, J = float(pi[0, 2]), losses.objective(np.log(pi), model.reward, np.log(model.pi_ref), 0.5, model.rho)
        gaps.append(_gap(model, pi))
        rows += [{"measured": 0.88, "bound": m},
                 {"measured": J, "bound": 1 - 0.5 * (m * (math.log(m) + k * math.log(2)) - math.log(2)),
                  "slack": higham(64) * k}]
    slopes = np.diff(gaps) / (np.diff(ks) * math.log(2) * 0.5 * m)
    return worst([*rows, *({"measured": abs(float(s) - 1), "bound": 0.02} for s in slopes)])


@marked
def covered(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C2: the gap against the first of the bounds."""
    ref, rho, beta, r, rhat = (world[k] for k in ("pi_ref", "rho", "beta", "r", "rhat"))
    log_ref = np.log(ref)
    best, mine = (losses.gibbs(log_ref, x, beta) for x in (r, rhat))
    gap = losses.objective(best, r, log_ref, beta, rho) - losses.objective(mine, r, log_ref, beta, rho)
    # |r| <= 4, and the KL terms
    return {"measured": gap, "bound": subject(r, rhat, ref, rho, beta)[0],
            "slack": higham(64) * (4.0 + beta * float(np.abs(log_ref).max()))}


@marked
def ordered(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C2-order: the three bounds, each below the next."""
    ref, rho, beta, r, rhat = (world[k] for k in ("pi_ref", "rho", "beta", "r", "rhat"))
    log_ref = np.log(ref)
    own, local, everywhere = subject(r, rhat, ref, rho, beta)
    # the ball is known to `more` only, as are the binary KLs in it: what a ball larger by that would add
    e = max(losses.reverse_kl(losses.gibbs(log_ref, x, beta), log_ref, rho)[0] for x in (r, rhat))
    more = higham(256) * (1 + float(np.abs(log_ref).max()) + 4 / beta)
    wider = hypo.local_coverage(ref, rho, e + more) - hypo.local_coverage(ref, rho, e)
    seen = math.sqrt(hypo.reward_error(r, rhat, ref, rho))
    # a C errs by units of its exponent, which is at most 4/beta and log pi_ref
    return worst([{"measured": own, "bound": local, "slack": wider * seen + 4 * more * max(own, local)},
                  {"measured": local, "bound": everywhere, "slack": higham(16) * everywhere}])


def attained(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C2-local: the least KL that any policy with largest ratio C needs is at most e, and above e for a larger C."""
    ref, rho, e = world["pi_ref"], world["rho"], world["e"]
    C = subject(ref, rho, e)

    def cost(C: float) -> float:
        return min((m * kl([min(C * q, 1.0), max(1 - C * q, 0.0)], [q, 1 - q]) for row, m in zip(ref.tolist(), rho)
                    for q in row if C * q <= 1 + higham(4)), default=math.inf)

    # C moves p by its own rounding, and the KL by up to log(1/min pi_ref) + 36 times that
    slack = higham(64) * (40 + float(np.abs(np.log(ref)).max()))
    return worst([{"measured": cost(C), "bound": e, "slack": slack},
                  {"measured": e, "bound": cost(C * (1 + 2.0**-20)), "slack": slack}])


def narrow(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C3: KL(pi || pi_ref) at each prompt against the bound for the range of rhat there."""
    ref, beta, rows = world["pi_ref"], world["beta"], []
    log_pi = losses.gibbs(np.log(ref), world["rhat"], beta)
    for x in range(len(ref)):
        R = float(np.ptp(world["rhat"][x]))
        # log pi errs by units of its size; KL has slope log(pi/pi_ref), at most R/beta, and a second-order term
        off = higham(64) * (1 + R / beta + float(np.abs(np.log(ref[x])).max()))
        rows.append({"measured": float((np.exp(log_pi[x]) * (log_pi[x] - np.log(ref[x]))).sum()),
                     "bound": subject(R, beta), "slack": off * (1 + R / beta)})
    return worst(rows)


def bounded_fit(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C3-run: the same for the policy that two-stage RLHF returns."""
    ref, beta, R = world["pi_ref"], world["beta"], world["R"]
    X, Y = ref.shape
    model = PreferenceModel.bradley_terry(np.zeros((X, Y)), np.full(X, 1 / X), ref, beta)
    pi = subject(Comparisons(model, rng), Pairs(*world["pairs"]), Params(200, 2.0, R=R), rng).output
    off = higham(64) * (1 + R / beta + float(np.abs(np.log(ref)).max()))
    return {"measured": float((pi * np.log(np.maximum(pi, 1e-300) / ref)).sum(-1).max()),
            "bound": hypo.radius(R, beta), "slack": off * (1 + R / beta)}


@marked
def repaired(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C4: the gap falls with lam and ends below 1e-3, from the bad start; and at lam = 0.1 from others too."""
    model, data = thin(world["d"])
    runs = [(BAD_START, *rung) for rung in LADDER] + [(np.log([pi]), *LADDER[0]) for pi in STARTS]
    gaps = [_gap(model, subject(Comparisons(model, rng), data, Params(T, a, lam, start=start, every=T), rng).output)
            for start, lam, a, T in runs]
    ladder, others = gaps[:len(LADDER)], gaps[len(LADDER):]
    falls = [{"measured": b, "bound": a} for a, b in itertools.pairwise(ladder)]
    same = [{"measured": abs(b - ladder[0]), "bound": 1e-5} for b in others]
    return worst([*falls, {"measured": ladder[-1], "bound": 1e-3}, *same])


@marked
def derivative(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C5: the gradient against complex steps, which lose no digits: Im f(theta + i t)/t at t = 1e-20."""
    ref, rho, theta = world["pi_ref"], world["rho"], world["rhat"] / world["beta"]
    g, off = subject(theta, ref, rho), 0.0
    for at in np.ndindex(*theta.shape):
        moved = theta.astype(complex)
        moved[at] += 1e-20j
        low = moved - theta.max(-1, keepdims=True)
        low = low - np.log(np.exp(low).sum(-1, keepdims=True))
        off = max(off, abs(float((rho * (np.exp(low) * (low - np.log(ref))).sum(-1)).sum().imag) / 1e-20 - g[at]))
    # pi and s err by units of log pi and log pi_ref; products of the two, twice
    size = 1.0 + float(np.abs(theta).max() + np.abs(np.log(ref)).max())
    return {"measured": off, "bound": 0.0, "slack": higham(64) * size * size}


@marked
def sampled(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C5-sampled: n draws against Hoeffding's width at delta = 0.05, for the worst of the X Y coordinates."""
    model, n = two_prompts(), world["n"]
    x = (rng.random(n) >= model.rho[0]).astype(np.int64)
    g = subject(THETA, model.pi_ref, x, rng)
    # a draw is (e_y - pi) s(y), between -max|s| and max|s|
    top = float(np.abs(losses.log_softmax(THETA) - np.log(model.pi_ref)).max())
    return {"measured": float(np.abs(g - hypo.kl_gradient(THETA, model.pi_ref, model.rho)).max()),
            "bound": 2 * top * math.sqrt(math.log(2 * THETA.size / 0.05) / (2 * n))}


def extrapolated(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C6: the policy against pi*, and what it does to the compared responses and to y3."""
    ref = np.array([[0.5, 0.49, 0.01]])
    model = PreferenceModel.bradley_terry([[0.0, 0.5, 1.0]], [1.0], ref, 0.05)
    mu = np.zeros((1, 3, 3))
    mu[0, 0, 1] = 1.0
    access = Comparisons(model, rng, bounds={"phi": np.array([world["phi"]], float)})
    pi = subject(access, losses.population(model, mu), Params(100, 8.0, 0.0), rng).output
    best = np.exp(losses.gibbs(np.log(ref), model.reward, 0.05))
    return worst([{"measured": float(np.abs(pi - best).max()), "bound": 1e-9},
                  {"measured": float(pi[0, 0]), "bound": 0.5}, {"measured": float(pi[0, 1]), "bound": 0.49},
                  {"measured": 0.99, "bound": float(pi[0, 2])}])


def _gap(model: PreferenceModel, pi: np.ndarray) -> float:
    """J(pi*) - J(pi), which is exactly beta KL(pi || pi*)."""
    best = np.exp(losses.gibbs(np.log(model.pi_ref), model.reward, model.beta))
    return model.beta * float(model.rho @ kl(pi, best))


# -------------------------------------------------------------------------------------------- checks

def _check(name: str, kind: str, statement: str, source: str, status: str, entry: str, worlds: Any, measure: Callable,
           judge: Any, *broken: Saboteur, finding: str = "", **twins: str) -> Check:
    """A check whose saboteurs are worlds, and twins by name, each with what is wrong with it."""
    claim = Claim("hypo", name, kind, statement, source, status, finding)
    return Check(claim, entry, worlds, measure, judge, (*broken, *(
        Saboteur(twin.replace("_", " "), why, subject=f"{TWINS}:{twin}") for twin, why in twins.items())))


_THIRD = Saboteur("y3 is compared", "an assumption broken: {y1, y3} is compared too", world={"third": 0.1})
_GAP = "J(pi*) - J(pi_hat)"

CHECKS = (
    _check("C1", "identity", "With {y1, y2} alone compared, every [(1-m) a, m], a ~ pi_ref exp(r*/beta) on y1, y2, "
           "0 < m < 1, has the least DPO loss, the entropy of the labels.", "Proposition 4.1, full support", "checked",
           "loss", minimisers, equally_good, Sure("SEARCHED", 120), _THIRD, unreferenced="no pi_ref in the loss",
           unscaled="no beta in the loss"),
    _check("C1-descent", "separation", "r* = (1, .5, 0), beta = .5, pi_ref = ((1-d)/2, (1-d)/2, d), {y1, y2} compared: "
           "DPO from (.05, .05, .9) ends with m = pi(y3) > .88, J <= 1 - beta (m log(m/d) - log 2), and a gap of slope "
           "m beta, within 2 %, in log(1/d), d = 2^-7 to 2^-40.", "Proposition 4.1, instance", "checked", "run_dpo",
           ({"k": [7, 14, 27, 40], "third": 0.0, "T": 2000},), stranded, Sure("SEARCHED"), _THIRD,
           hybrid="HyPO: it does not fail"),
    _check("C2", "bound", f"{_GAP} <= sqrt(C(pi*) C(pi_hat) eps(rhat)) for pi_hat ~ pi_ref exp(rhat/beta), any r* and "
           "rhat.", "theorems on local and global coverage", "derived", "gap_bounds", rewards, covered,
           Sure("SEARCHED", 300), compared_only="eps on {y1, y2} alone", bare="no coverage coefficients",
           unrooted="eps for its root"),
    _check("C2-order", "bound", "That bound is at most C_loc(e) sqrt(eps), e the least whose ball holds both policies, "
           "which is at most C_glo sqrt(eps).", "theorems on local and global coverage", "derived", "gap_bounds",
           rewards, ordered, Sure("SEARCHED", 120), half_ball="C_loc(e/2)", first_prompt="both of the first prompt"),
    _check("C2-local", "identity", "The largest pi/pi_ref in E_x KL(pi || pi_ref) <= e is the largest p/pi_ref(y|x), "
           "p the root above of kl(p || pi_ref(y|x)) = e/rho(x), or 1.", "assumption of local coverage, closed form",
           "derived", "local_coverage", balls, attained, Sure("SEARCHED", 120),
           finding="At pi_ref = (.495, .495, .01) C_loc(1) = 35.729057273946; 35.729057273969, once computed, is off.",
           pinsker="p by Pinsker's inequality", everywhere="the global coefficient",
           even_split="each prompt gets e, whatever its probability"),
    _check("C3", "bound", "pi ~ pi_ref exp(rhat/beta) has KL(pi || pi_ref) <= min(R/beta, R^2/(8 beta^2)), R the range "
           "of rhat at the prompt.", "lemma on bounded rewards (there 2 R'/beta, |rhat| <= R')", "derived", "radius",
           rewards, narrow, Sure("SEARCHED", 150), half="R/(2 beta)", sixteenth="R^2/(16 beta^2)"),
    _check("C3-run", "bound", "Two-stage RLHF with rewards in [0, R] stays in that ball, whatever was logged.",
           "lemma on bounded rewards", "derived", "run_rlhf", logs, bounded_fit, Sure("SEARCHED", 120),
           unbounded="rewards of any size", implicit="DPO from a bad start: its implicit reward is not bounded"),
    _check("C4", "separation", "On C1-descent's instance at d = 2^-13 HyPO's gap falls with lam = .1, .01, .001, to "
           "below 1e-3 from the start that DPO does not leave; at lam = .1 it ends the same, to 1e-5, from others.",
           "Section 5, this instance", "checked", "run", ({"d": 2.0**-13},), repaired, Sure("SEARCHED"),
           offline="KL of the policy renormalised to the compared responses", pure_dpo="no KL term",
           to_uniform="KL to the uniform policy",
           finding="At d = 1e-4 and lam = .001 the exact minimiser has gap 5.1218e-5; 5.4e-5, as once computed, is a "
                   "descent that had not ended."),
    _check("C5", "identity", "d E_x KL(pi || pi_ref)/d theta(x, y) = rho(x) pi(y|x) (s - E_pi s), s = log(pi/pi_ref).",
           "Algorithm 1", "checked", "kl_gradient", rewards, derivative, Sure("SEARCHED", 120),
           forward="KL(pi_ref || pi)", uncentred="no mean is taken off"),
    _check("C5-sampled", "high-probability", "The estimate from n = 20000 prompts and own responses is in Hoeffding's "
           "width of that gradient with probability .95.", "Algorithm 1, unbiased", "derived", "sampled_kl_gradient",
           ({"n": 20_000},), sampled, HighProbability(0.05), offline_samples="responses of pi_ref, not of pi",
           unscored="e_y in place of e_y - pi"),
    _check("C6", "separation", "phi = (1, 0), (.5, .5), (0, 1), r* = phi_2, beta = .05, pi_ref = (.5, .49, .01), y1, "
           "y2 compared: log-linear DPO is pi*, to 1e-9; both compared responses lose weight and y3 has over .99.",
           "section on extrapolation, this instance", "checked", "run_linear",
           ({"phi": [[1, 0], [0.5, 0.5], [0, 1]]},), extrapolated, Sure("SEARCHED"),
           Saboteur("y3 stands alone", "an assumption broken: y3 has a feature of its own",
                    world={"phi": [[1, 0, 0], [0.5, 0.5, 0], [0, 0, 1]]}), tabular="the class of all policies"),
)
