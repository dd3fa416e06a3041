"""Robust DPO held to its claims: the loss on any weights, fits to populations and to samples, and what noise costs.

A margin takes log-ratios of size up to max |log pi| + max |log pi_ref|, times beta; the robust loss weighs it by at
most 1/(1 - 2 eps): `_units` is that size, and 64 roundings of it are forgiven.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from hypothesis import strategies as st

from algorithms.preferences import rdpo
from mdpkit import losses
from mdpkit.access import Comparisons
from mdpkit.instances.preferences import flipped
from mdpkit.models.preferences import PreferenceModel
from mdpkit.octets import normalised, octets
from mdpkit.records import Pairs
from mdpkit.solve.rounding import higham
from theory_checks.engine.claims import Check, Claim, Saboteur, marked
from theory_checks.engine.judges import Expectation, Rate, Separation, Sure
from theory_checks.engine.rows import worst

TWINS = "theory_checks.preferences._rdpo_twins"
BETAS, EPS = (1.0, 0.5, 2.0, 0.125), (0.25, 0.125, 0.4375, 0.03125, 0.0)
STEEP = np.array((1, 1, 4, 64, 2**12))
SIZES = (1000, 4000, 16000, 64000)
TOP, EACH = 4.0, 8                   # means of EACH runs of N |error|^2/V are cut at TOP, six deviations up
PHI = np.array([[[1, 0, 0], [0, 1, 0], [0, 0, 1], [0.5, 0.5, 0], [0.3, -0.4, 0.6], [-0.6, 0.2, 0.2]]])
THETA = np.array([0.8, -0.5, 0.3])
UNIFORM = np.full((1, 6, 6), 1 / 30) * (1 - np.eye(6))
ONE: Any = PreferenceModel.bradley_terry(np.einsum("xyd,d->xy", PHI, THETA), [1.0], np.full((1, 6), 1 / 6), 1.0)


# ------------------------------------------------------------------------------------------ worlds
@st.composite
def weights(draw: st.DrawFn) -> dict[str, Any]:
    """Any logged comparisons, any policy; up to two prompts and four responses, cut from one shape."""
    X, Y = draw(st.integers(1, 2)), draw(st.integers(2, 4))
    cut = lambda *shape: octets(draw, *(2, 4, 4)[: len(shape)])[tuple(slice(n) for n in shape)]
    W = (cut(X, Y, Y) % 9 + np.eye(Y, k=1)) * (1 - np.eye(Y))
    return {"W": W / W.sum(), "theta": (cut(X, Y) + 32) % 65 / 8 - 4, "pi_ref": normalised(STEEP[cut(X, Y) % 5]),
            "beta": draw(st.sampled_from(BETAS)), "eps": draw(st.sampled_from(EPS))}


@st.composite
def linear(draw: st.DrawFn) -> dict[str, Any]:
    """One prompt, all pairs alike; features 0, e_1, .., e_d and up to two others; theta*."""
    d, more = draw(st.integers(1, 3)), draw(st.integers(0, 2))
    phi = np.concatenate([np.eye(d + 1, d, -1), (octets(draw, 2, 3)[:more, :d] + 4) % 9 / 4 - 1])
    return {"phi": phi[None], "theta": (octets(draw, 3)[:d] + 8) % 17 / 8 - 1, "beta": draw(st.sampled_from(BETAS)),
            "pi_ref": normalised(STEEP[octets(draw, 6)[: d + 1 + more] % 5])[None], "eps": draw(st.sampled_from(EPS))}


@st.composite
def pairs(draw: st.DrawFn) -> dict[str, Any]:
    """Two responses, compared with clean margin h."""
    return {"h": (int(octets(draw, 1)[0]) + 16) % 33 / 4 - 4, "beta": draw(st.sampled_from(BETAS)),
            "pi_ref": np.full((1, 2), 0.5), "eps": draw(st.sampled_from(EPS))}


# ---------------------------------------------------------------------------------------- measures
def unbiased(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C1: the mean over flips of the logged labels against DPO's loss of the labels as they are; gradients too."""
    W, log_pi, ref, beta, eps = _faced(world)
    logged, turned = subject(W, log_pi, ref, beta, eps), subject(W.transpose(0, 2, 1), log_pi, ref, beta, eps)
    clean, slope = losses.pairwise(W, beta * (log_pi - ref))
    off = ((1 - eps) * logged[0] + eps * turned[0] - clean, (1 - eps) * logged[1] + eps * turned[1] - beta * slope)
    return worst(_identity(x, higham(64) * _units(world)) for x in off)


def pushes(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C1-weight: the gradient against DPO's with eps/(1 - 2 eps) added to every weight."""
    W, log_pi, ref, beta, eps = _faced(world)
    rhat, g = beta * (log_pi - ref), np.zeros(ref.shape)
    for x, w, l in zip(*np.nonzero(W)):
        push = beta * W[x, w, l] * (float(losses.sigmoid(rhat[x, l] - rhat[x, w])) + eps / (1 - 2 * eps))
        g[x, w] -= push
        g[x, l] += push
    return _identity(subject(W, log_pi, ref, beta, eps)[1] - g, higham(64) * beta * _units(world))


def recovered(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C2: margins of the fit to a noisy population against the clean ones."""
    phi, beta, eps = world["phi"], world["beta"], world["eps"]
    Y, d = phi.shape[1:]
    model = PreferenceModel.bradley_terry(np.einsum("xyd,d->xy", beta * phi, world["theta"]), [1.0], world["pi_ref"],
                                          beta)
    mu = (1 - np.eye(Y))[None] / (Y * (Y - 1))
    theta = _run(subject, model, phi, losses.population(flipped(model, eps), mu), eps, rng).theta
    h, D = losses.margins(model.reward), beta * float(np.abs(phi[:, :, None] - phi[:, None]).sum(-1).max())
    # H >= w beta^2 from the pairs {0, i}, w the least weight; as |sigma''| <= sigma', a gradient g leaves at most
    # 2 |g|/(w beta^2) of theta where |D| times that is below 1 (Bach 2010)
    w = beta * beta * float((2 * mu * losses.sigmoid(h) * losses.sigmoid(-h))[:, 0, 1:].min())
    left = math.sqrt(d) * (rdpo.Params.tol + higham(64) * (1 + D) / (1 - 2 * eps))
    return _identity(beta * losses.margins(np.einsum("xyd,d->xy", phi, theta)) - h, 2 * D * left / w + higham(64) * 8)


def plain_pair(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C2-dpo: the margin that DPO finds on one pair, against the log-odds of noisy labels."""
    return _pair(world, subject, 1.0, 0.0, rng)


def smoothed_pair(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C2-conservative: the same for the conservative loss."""
    return _pair(world, subject, 1 - world["eps"], world["eps"], rng)


def rates(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C3: N^2 |theta - theta*|^2, or N^2 times the squared error of the expected reward, over growing samples."""
    fits, N = list(_fits(world, subject, SIZES, rng)), np.array(SIZES, float)
    if world["of"] == "theta":
        return {"measured": N * N * [((f.theta - THETA) ** 2).sum() for f in fits]}
    best = np.exp(losses.gibbs(np.log(ONE.pi_ref), ONE.reward, 1.0))
    return {"measured": N * N * [((f.pi - best) * ONE.reward).sum() ** 2 for f in fits]}


@marked
def scaled_error(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C3-constant: the mean of N |theta - theta*|^2/V over runs, for both sides."""
    N, V = world["N"], rdpo.asymptotic_error(PHI, THETA, 1.0, UNIFORM, world["eps"])
    fits = list(_fits(world, subject, (N,) * EACH, rng, afresh=True))
    ratio = min(N * sum(float(((f.theta - THETA) ** 2).sum()) for f in fits) / EACH / V, TOP)
    return {key: {"measured": ratio, "bound": b} for key, b in (("above", 0.8), ("below", 1.25))}


@marked
def between(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C3-factor: (1 - 2 eps)^2 V between V(0), which is tr H^-1, and that over four times the least s (1 - s)."""
    given, slack = _shown(world)
    V, clean = (1 - 2 * world["eps"]) ** 2 * subject(*given, world["eps"]), rdpo.asymptotic_error(*given, 0.0)
    h = world["beta"] * losses.margins(np.einsum("xyd,d->xy", world["phi"], world["theta"]))
    top = clean / (4 * float((losses.sigmoid(h) * losses.sigmoid(-h)).min()))
    return worst([{"measured": clean, "bound": V, "slack": slack * clean},
                  {"measured": V, "bound": top, "slack": slack * top}])


@marked
def optimal(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C4: what information allows against V; both are the same without noise."""
    given, slack = _shown(world)
    least, V = rdpo.information_bound(*given, world["eps"]), subject(*given, world["eps"])
    clean = rdpo.information_bound(*given, 0.0)
    return worst([{"measured": least, "bound": V, "slack": slack * least},
                  _identity(subject(*given, 0.0) - clean, slack * clean)])


def _faced(world: dict) -> tuple:
    return world["W"], losses.log_softmax(world["theta"]), np.log(world["pi_ref"]), world["beta"], world["eps"]


def _identity(off: Any, slack: float) -> dict:
    return {"measured": float(np.abs(off).max()), "bound": 0.0, "slack": slack}


def _units(world: dict) -> float:
    """|log pi| is below 8 + log 4."""
    return (1 + world["beta"] * (20 + 2 * float(np.abs(np.log(world["pi_ref"])).max()))) / (1 - 2 * world["eps"])


def _run(subject: Callable, model: PreferenceModel, phi: np.ndarray, data: Pairs, eps: float,
         rng: np.random.Generator) -> rdpo.Fit:
    return subject(Comparisons(model, rng, bounds={"phi": phi}), data, rdpo.theory(eps), rng).output


def _pair(world: dict, subject: Callable, a: float, b: float, rng: np.random.Generator) -> dict:
    h, beta, eps = world["h"], world["beta"], world["eps"]
    model = PreferenceModel.bradley_terry([[h, 0.0]], [1.0], world["pi_ref"], beta)
    data = losses.population(flipped(model, eps), np.array([[[0.0, 1.0], [0.0, 0.0]]]))
    found = beta * float(_run(subject, model, np.array([[[1.0], [0.0]]]), data, eps, rng).theta[0])
    limit = rdpo.pair_limit(h, eps, a, b)
    curved = float(losses.sigmoid(limit) * losses.sigmoid(-limit))
    return _identity(found - limit, (2 * rdpo.Params.tol / beta + higham(64) * (1 + abs(h))) / curved)


def _fits(world: dict, subject: Callable, sizes: tuple[int, ...], rng: np.random.Generator, afresh: bool = False,
          ) -> Iterator[rdpo.Fit]:
    """Fits to the first N of one run of noisy comparisons of uniform pairs, or of a run of its own each."""
    W = losses.weights(losses.population(flipped(ONE, world["eps"]), UNIFORM), 1, 6)
    access, params = Comparisons(ONE, rng, bounds={"phi": PHI}), rdpo.theory(world.get("told", world["eps"]))
    count = np.zeros(W.shape, np.int64)
    for N in sizes:
        count = 0 * count if afresh else count
        count = count + rng.multinomial(N - count.sum(), W.ravel()).reshape(W.shape)
        x, win, lose = np.nonzero(count)
        yield subject(access, Pairs(x, win, lose, count[x, win, lose]), params, rng).output


def _shown(world: dict) -> tuple[tuple[np.ndarray, np.ndarray, float, np.ndarray], float]:
    """What V is given on uniform pairs; and how far, relatively, it may be off.

    An inverse of size d errs by some d^3 roundings times the condition, which is below tr H tr H^-1: by the weights
    of the pairs {0, i} H^-1 is at most d/w, and H at most D^2/4; the moments of noisy labels differ by noise alone.
    """
    phi, beta, Y = world["phi"], world["beta"], world["phi"].shape[1]
    mu, h = (1 - np.eye(Y))[None] / (Y * (Y - 1)), beta * losses.margins(np.einsum("xyd,d->xy", phi, world["theta"]))
    d, D = phi.shape[2], beta * float(np.abs(phi[:, :, None] - phi[:, None]).sum(-1).max())
    v, eps = losses.sigmoid(h) * losses.sigmoid(-h), world["eps"]
    w = 2 * beta * beta * float((mu * v * v)[:, 0, 1:].min()) * 4 * (1 - 2 * eps) ** 2     # of I, below those of H
    return (phi, world["theta"], beta, mu), higham(64 * d**3) * (1 + D) * d * D * D / 4 / w


# -------------------------------------------------------------------------------------------- checks
def _check(name: str, kind: str, statement: str, source: str, status: str, entry: str, worlds: Any, measure: Callable,
           judge: Any, *broken: Saboteur, **twins: str) -> Check:
    """A check whose saboteurs are worlds, and twins by name, each with what is wrong with it."""
    return Check(Claim("rdpo", name, kind, statement, source, status), entry, worlds, measure, judge, (*broken, *(
        Saboteur(twin.replace("_", " "), why, subject=f"{TWINS}:{twin}") for twin, why in twins.items())))


_LOSS = {"conservative_loss": "labels smoothed by eps: + for -", "misjudged_loss": "half of eps",
         "unscaled_loss": "without 1/(1 - 2 eps)"}
_FITS = {"vanilla": "DPO: noise is not looked at", "conservative": "labels smoothed by eps on top",
         "misjudged": "half of eps"}

CHECKS = (
    _check("C1", "identity", "(1 - eps) L(W) + eps L(W') = DPO's L(W), for any W, policy and eps < 1/2, and so for "
           "gradients: the noisy robust loss has the clean loss as its mean.", "Lemma 3.1", "checked", "loss", weights,
           unbiased, Sure(), **_LOSS),
    _check("C1-weight", "identity", "The robust gradient is DPO's with weight sigma(-h) + eps/(1 - 2 eps) in place of "
           "sigma(-h).", "Section 3, gradients", "checked", "loss", weights, pushes, Sure(), **_LOSS,
           uphill="winner and loser change places: a wrong sign"),
    _check("C2", "identity", "Fitted to a population of labels flipped at rate eps < 1/2 robust DPO is theta*.",
           "from Lemma 3.1", "checked", "run", linear, recovered, Sure(), **_FITS),
    _check("C2-dpo", "identity", "On one pair DPO tends to logit(q), q = (1 - eps) sigma(h) + eps sigma(-h).",
           "Section 3, bias of DPO", "checked", "run_dpo", pairs, plain_pair, Sure(),
           unbiased_fit="robust DPO, which is not biased", conservative="labels smoothed by eps on top"),
    _check("C2-conservative", "identity", "On one pair conservative DPO tends to logit((1 - eps) q + eps (1 - q)).",
           "Section 3, conservative DPO", "checked", "run_conservative", pairs, smoothed_pair, Sure(),
           unbiased_fit="robust DPO, which is not biased", vanilla="DPO: noise is not looked at"),
    _check("C3", "rate", "On N labels of uniform pairs among six responses with three features, eps = 0 and .2, "
           "E|theta_hat - theta*|^2 and the mean squared error of E_pi r are O(1/N): N^2 times them is O(N).",
           "Theorem 4.2 and its corollary, squared", "checked", "run", (
               {"eps": 0.0, "of": "theta"}, {"eps": 0.2, "of": "theta"}, {"eps": 0.2, "of": "value"}), rates,
           Rate(SIZES, lambda N: N, lambda N: N**1.5, n=100, n_full=512), vanilla=_FITS["vanilla"],
           conservative=_FITS["conservative"]),
    _check("C3-constant", "expectation", "There N E|theta_hat - theta*|^2 is within .8 and 1.25 times V(eps) = "
           "tr(H^-1 G H^-1)/(1 - 2 eps)^2: V(0) = 55.9 at N = 4000, V(.2) = 170.1 at N = 16000.",
           "asymptotic normality", "derived", "run", ({"eps": 0.0, "N": 4000}, {"eps": 0.2, "N": 16000}), scaled_error,
           Separation((("above", Expectation(0.0, TOP, above=True)), ("below", Expectation(0.0, TOP)))), Saboteur(
               "misled", "an assumption broken: the learner is told eps = .1", world={"told": 0.1}),
           half_of_it="half of the labels are dropped"),
    _check("C3-factor", "bound", "tr H^-1 <= (1 - 2 eps)^2 V(eps) <= tr H^-1/(4 min s (1 - s)): noise costs 1/(1 - 2 "
           "eps), up to constants.", "Theorem 4.2, exact asymptotics", "derived", "asymptotic_error", linear, between,
           Sure(), unscaled_error="without 1/(1 - 2 eps)^2", squared_twice="1/(1 - 2 eps)^4"),
    _check("C4", "bound", "V(eps) >= tr I^-1, the least asymptotic error given labels of that noise, with equality at "
           "eps = 0.", "Cauchy-Schwarz", "derived", "asymptotic_error", linear, optimal, Sure(),
           clean_variance="labels vary by s (1 - s), not q (1 - q)", unscaled_error="without 1/(1 - 2 eps)^2"),
)
