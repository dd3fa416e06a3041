"""The generation-verification gap held to its claims, in rationals where no Gaussian enters.

All statements are derived for models that are tables, and instances are this file's; the paper measures language
models and its scaling with compute is not modelled.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import flint
import numpy as np
from hypothesis import strategies as st

from algorithms.self_improvement import gv_gap
from algorithms.self_improvement.gv_gap import Params
from mdpkit.access import Episodes
from mdpkit.models.bandits import ContextualBandit
from mdpkit.octets import law, octets
from mdpkit.rational import exact, rational
from mdpkit.solve.rounding import higham
from theory_checks.engine.claims import Check, Claim, Saboteur
from theory_checks.engine.judges import HighProbability, Sure
from theory_checks.engine.rows import exact_row, worst

steep = functools.partial(law, weights=(0, 1, 4, 64))
TWINS = "theory_checks.self_improvement._gv_gap_twins"
ROUNDS = 6
P, ODD = 0.3, 0.3125 + 2.0**-30          # accuracies; the second is stored as it is
PASSES = (1, 2, 8, 32)
HUMP = {"f": [[0.3, 0.69, 0.01]], "u": [[1, 0, 0]], "w": [[0.8, 0.3, 1.0]]}
TWO = {"f": [[0.2, 0.8], [0.2, 0.8]], "u": [[1, 0], [1, 0]], "w": [[0.9, 0.3], [0.3, 0.6]]}


# ------------------------------------------------------------------------------------------ worlds

def sizes(draw: st.DrawFn) -> tuple[int, int]:
    """Up to two prompts, two to four responses."""
    return draw(st.integers(1, 2)), draw(st.integers(2, 4))


@st.composite
def models(draw: st.DrawFn) -> dict[str, Any]:
    """Any model, weight and utility; weights may vanish."""
    X, Y = sizes(draw)
    return {"f": steep(draw, X, Y), "w": octets(draw, X, Y) % 9 / 8, "u": octets(draw, X, Y) % 5 / 4}


@st.composite
def binary(draw: st.DrawFn, right: bool) -> dict[str, Any]:
    """Utilities 0 and 1, both possible at each prompt; with ``right`` every 1 weighs more than every 0."""
    X, Y = sizes(draw)
    u = octets(draw, X, Y) % 2
    u[:, 0], u[:, 1] = 1, 0
    w = (octets(draw, X, Y) % 8 + 1 + (8 * u if right else 0)) / 8
    return {"f": steep(draw, X, Y, least=1), "w": w, "u": 1.0 * u, "rho": steep(draw, X)}


any_binary, right_binary = partial(binary, False), partial(binary, True)


@st.composite
def aligned(draw: st.DrawFn) -> dict[str, Any]:
    """One prompt, full support, and weights that grow with the utility."""
    u = octets(draw, draw(st.integers(2, 4))) % 5
    table = np.cumsum(octets(draw, 5) % 4 + 1)
    return {"f": steep(draw, 1, len(u), least=1), "w": table[u][None] / 4, "u": u[None] / 4}


@st.composite
def sequences(draw: st.DrawFn) -> dict[str, Any]:
    """Models that follow one another anyhow, so that each is a distillation with some error of the one before."""
    X, Y = sizes(draw)
    return {"fs": steep(draw, draw(st.integers(2, 4)), X, Y), "w": octets(draw, X, Y) % 5 / 4,
            "u": octets(draw, X, Y) % 5 / 4, "rho": steep(draw, X), "scale": 1.0}


@st.composite
def noises(draw: st.DrawFn) -> dict[str, Any]:
    """A standard deviation between 1/8 and 16, and how many verdicts are averaged."""
    return {"sigma": draw(st.integers(8, 15)) * 2.0 ** draw(st.integers(-6, 1)), "m": draw(st.integers(1, 9))}


# ---------------------------------------------------------------------------------------- measures

def covariance(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C1: how far the gap of a prompt is from Cov(u, w)/E w; 0 where nothing passes."""
    f, w, u = (exact(world[k]) for k in "fwu")
    got, rows = subject(f, w, u), []
    for x in range(len(f)):
        mean = (f[x] * w[x]).sum()
        cov = (f[x] * u[x] * w[x]).sum() - (f[x] * u[x]).sum() * mean
        rows.append(exact_row(abs(got[x] - (cov / mean if mean != 0 else 0)), 0))
    return worst(rows)


def by_rates(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C1-binary: new accuracy, gap, relative gap, odds and the sign of al - be, against the reweighted model."""
    f, w, u = (exact(world[k]) for k in "fwu")
    p, new = (f * u).sum(-1), (gv_gap.reweight(f, w) * u).sum(-1)
    after, gap, relative = subject(f, w, u)
    al, be = (f * w * u).sum(-1) / p, (f * w * (1 - u)).sum(-1) / (1 - p)
    off = [abs(after - new), abs(gap - (new - p)), abs(relative - (new - p) / (1 - p)),
           abs(after / (1 - after) - p / (1 - p) * al / be)]
    signs = [exact_row(1 if (a > b) != (g > 0) else 0, 0) for a, b, g in zip(al, be, gap)]
    return worst([*signs, *(exact_row(v, 0) for part in off for v in part)])


def steps(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C2: E_{f_t}[w] rises by exactly Var/E, which is not negative, and J does not fall."""
    f, w, u = (exact(world[k]) for k in "fwu")
    fs, rows = subject(f, w, ROUNDS), []
    for g, h in itertools.pairwise(fs[:, 0]):
        mean = (g * w[0]).sum()
        rise, var = (h * w[0]).sum() - mean, (g * w[0] * w[0]).sum() - mean * mean
        rows += [exact_row(abs(rise - var / mean), 0), exact_row(-rise, 0),
                 exact_row((g * u[0]).sum(), (h * u[0]).sum())]
    return worst(rows)


def saturation(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C2-limit: J_inf - J_t between two multiples of (w_2/w_1)^t; zero where all responses are equally good."""
    f, w, u = (exact(world[k])[0] for k in "fwu")
    top, low = u.max(), u.min()
    second = max((v for v in u if v < top), default=None)
    fs, rows = subject(f[None], w[None], ROUNDS)[:, 0], []
    F1 = f[u == top].sum()
    for t, g in enumerate(fs):
        left = top - (g * u).sum()
        if second is None:
            rows.append(exact_row(abs(left), 0))
            continue
        rate = (w[u == second][0] / w.max()) ** t
        rows += [exact_row(left, (1 - F1) / F1 * (top - low) * rate),
                 exact_row(f[u == second].sum() * (top - second) * rate, left)]
    return worst(rows)


def hump(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C3: J_t rises up to t = 5 and falls from there to below 0.001 at t = 59."""
    f, w, u = (exact(world[k]) for k in "fwu")
    J = [(g[0] * u[0]).sum() for g in subject(f / f.sum(), w, 59)]
    rising = [exact_row(a, b) for a, b in itertools.pairwise(J[:6])]
    return worst([*rising, *(exact_row(b, a) for a, b in itertools.pairwise(J[5:])), exact_row(J[-1], rational(0.001))])


def balance(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C4: each step against its error, the sum of the gaps and the least gap against what there was to gain."""
    fs, w, u, rho = exact(world["fs"]), exact(world["w"]), exact(world["u"]), exact(world["rho"])
    J, gaps, errors = subject(fs, w, u * rational(world["scale"]), rho)
    T, room = len(gaps), 1 - J[0] + errors.sum()
    return worst([*(exact_row(abs(J[t + 1] - J[t] - gaps[t]), errors[t]) for t in range(T)),
                  exact_row(gaps.sum(), room), exact_row(gaps.min(), room / T)])


def diversity(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C5: pass@1 rises with every round and pass@32 falls."""
    f, w, u = (exact(world[k]) for k in "fwu")
    half = exact([0.5, 0.5])
    fs = subject(f / f.sum(-1)[:, None], w, 5)
    few, many = ([gv_gap.pass_at_k(g, u, half, k) for g in fs] for k in (1, 32))
    falls = [exact_row(b, a) for a, b in itertools.pairwise(many)]
    return worst([*falls, *(exact_row(a, b) for a, b in itertools.pairwise(few))])


def every_pass(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C5-right: pass@k of successive models, for all of PASSES."""
    f, w, u, rho = (exact(world[k]) for k in ("f", "w", "u", "rho"))
    fs = subject(f, w, 3)
    return worst([exact_row(gv_gap.pass_at_k(g, u, rho, k), gv_gap.pass_at_k(h, u, rho, k))
                  for g, h in itertools.pairwise(fs) for k in PASSES])


def gaussian(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C6: both rates against balls at sigma/sqrt(m); al/be and the gap at p = .3 fall as sigma grows."""
    sigma, m = world["sigma"], world["m"]
    al, be = subject(sigma, m)
    al_more, be_more = subject(sigma * (1 + 2.0**-4), m)
    x = (flint.arb(m) / 8).sqrt() / flint.arb(sigma)
    # erfc has relative condition 1 + 2 x^2 at most, its argument errs by four units and it by eight
    slack = higham(16 * (2 + 2 * float(x) ** 2) + 16)
    rows = [{"measured": abs(float(got - (ball.erfc() / 2).mid())), "bound": 0.0, "slack": slack * got}
            for got, ball in ((al, -x), (be, x))]
    gap, less = (P * a / (P * a + (1 - P) * b) - P for a, b in ((al, be), (al_more, be_more)))
    return worst([*rows, {"measured": al_more / be_more, "bound": al / be, "slack": 4 * slack * al / be},
                  {"measured": less, "bound": gap, "slack": 4 * slack}])


def kept_mean(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C6-sampled: one round on 1000 prompts alike; the mean share of right ones where some pass, by Hoeffding."""
    u = np.tile([1.0, 0.0], (1000, 1))
    f = np.abs(u - (1 - ODD))                             # a share of samples is never ODD
    access = Episodes(ContextualBandit(np.full(1000, 1e-3), u), rng)
    shares = subject(access, Params(1, f, u, n=world["N"], sigma=0.5), rng).output[:, 0]
    shares, (al, be) = shares[shares != f[:, 0]], gv_gap.noisy_rates(0.5)
    return {"measured": abs(float(shares.mean()) - ODD * al / (ODD * al + (1 - ODD) * be)),
            "bound": math.sqrt(math.log(2 / 0.05) / (2 * len(shares)))}


# -------------------------------------------------------------------------------------------- checks

def _check(name: str, kind: str, statement: str, entry: str, worlds: Any, measure: Callable, judge: Any,
           *broken: Saboteur, **twins: str) -> Check:
    """A check whose saboteurs are worlds, and twins by name, each with what is wrong with it."""
    claim = Claim("gv-gap", name, kind, statement, "definition of the gap (section 2), for tables", "derived")
    return Check(claim, entry, worlds, measure, judge, (*broken, *(
        Saboteur(twin.replace("_", " "), why, subject=f"{TWINS}:{twin}") for twin, why in twins.items())))


CHECKS = (
    _check("C1", "identity", "J_x(f[w]) - J_x(f) = Cov_f(u, w)/E_f[w], and 0 where nothing passes.", "gap", models,
           covariance, Sure("EXACT", 150), unnormalised="f w without its normaliser",
           elsewhere="w is met with an even model, not with f"),
    _check("C1-binary", "identity", "For binary u: p' = p al/(p al + (1-p) be), odds times al/be; the gap is "
           "p (1-p) (al-be)/(p al + (1-p) be), positive iff al > be, and relative to 1 - p it loses the factor 1 - p.",
           "gap_by_rates", any_binary, by_rates, Sure("EXACT", 100),
           stale_rates="al and be of an even model", swapped="al and be change places", to_p="the gap relative to p"),
    _check("C2", "monotone", "Under a fixed w, E_{f_t}[w] rises by exactly Var_{f_t}(w)/E_{f_t}[w]; where w grows with "
           "u, J(f_t) never falls.", "improve", aligned, steps, Sure("EXACT", 100),
           redrawn="w is another at every other round", against="w falls with u", squared="w^2 in place of w"),
    _check("C2-limit", "linear-rate", "Where w grows with u, F_2 (u_1 - u_2) (w_2/w_1)^t <= J_inf - J_t <= "
           "(1/F_1 - 1) (u_1 - u_min) (w_2/w_1)^t, F_i the mass of f_0 at the i-th best utility: the gap goes to 0 "
           "geometrically, at the rate w_2/w_1.", "improve", aligned, saturation, Sure("EXACT", 100),
           redrawn="w is another at every other round", lazy="half a step", squared="w^2 in place of w"),
    _check("C3", "separation", "f_0 = (.3, .69, .01), u = (1, 0, 0), w = (.8, .3, 1): J_t rises up to t = 5, then "
           "falls, to below .001 at t = 59: the false positive has the largest weight.", "improve", (HUMP,), hump,
           Sure("EXACT"), Saboteur("no false positive", "an assumption broken: the third weighs .79",
                                   world={"w": [[0.8, 0.3, 0.79]]}), clipped="weights above .8 count as .8"),
    _check("C4", "bound", "|J(f_{t+1}) - J(f_t) - gap_t| <= e_t, sum_t gap_t <= 1 - J(f_0) + sum_t e_t, and "
           "min_t gap_t <= (1 - J(f_0) + sum_t e_t)/T, for any f_t, e_t the mean TV of f_{t+1} and f_t[w].",
           "accounting", sequences, balance, Sure("EXACT", 200),
           Saboteur("range 2", "an assumption broken: u in [0, 2]", world={"scale": 2.0}),
           half_errors="half the TV distance", late_gap="the gap of f_{t+1}"),
    _check("C5", "separation", "Two prompts, f_0 = (.2, .8), u = (1, 0), w = (.9, .3) and (.3, .6): over five rounds "
           "pass@1 rises and pass@32 falls.", "improve", (TWO,), diversity, Sure("EXACT"),
           Saboteur("right everywhere", "an assumption broken: al > be at both prompts", world={
               "w": [[0.9, 0.3], [0.6, 0.3]]}), one_verifier="the first prompt's verifier at both"),
    _check("C5-right", "monotone", "Where every right response weighs more than every wrong one pass@k never falls.",
           "improve", right_binary, every_pass, Sure("EXACT", 80), against="w falls with u",
           redrawn="w is another at every other round"),
    _check("C6", "monotone", "The mean of m scores u + sigma N(0, 1), cut at 1/2, passes right ones with "
           "Phi(sqrt(m)/(2 sigma)), wrong ones with Phi(-sqrt(m)/(2 sigma)); al/be and the gap fall as sigma grows.",
           "noisy_rates", noises, gaussian, Sure("SEARCHED", 150), unhalved="the cut is 1 away, not 1/2",
           variance="sigma^2 for sigma", unaveraged="m is ignored"),
    _check("C6-sampled", "high-probability", "Of N noisily verified samples those that pass are right with mean "
           "p al/(p al + (1-p) be), given that some pass, for N = 1, 4, 16: the mean over 1000 prompts is within "
           "Hoeffding's width with probability .95.", "run_sampled", tuple({"N": N} for N in (1, 4, 16)), kept_mean,
           HighProbability(0.05), top_one="the best ranked sample alone", shared_noise="one noise for all N samples"),
)
