"""DPO held to its claims: on rewards and policies, on populations of comparisons, on samples of them.

A margin takes log-ratios of size up to max |log pi| + max |log pi_ref|, times beta; losses have slope 1 in margins and
weights of mass 1: `_units` is that size, and 64 roundings of it are forgiven.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
from hypothesis import strategies as st

from algorithms.preferences import dpo
from mdpkit import losses
from mdpkit.access import Comparisons, Exact
from mdpkit.instances.preferences import flipped, two_prompts
from mdpkit.models.preferences import PreferenceModel
from mdpkit.octets import normalised, octets
from mdpkit.records import Pairs
from mdpkit.solve.rounding import higham
from theory_checks.engine.claims import Check, Claim, Saboteur, marked
from theory_checks.engine.judges import Expectation, Rate, Separation, Sure
from theory_checks.engine.rows import worst

TWINS = "theory_checks.preferences._dpo_twins"
BETAS = (1.0, 0.5, 0.125, 5.0)
STEEP, SHOWN = (1, 1, 4, 64, 2**12), (0, 1, 4, 8)
SIZES = (250, 1000, 4000, 16000)
TOP, EACH, NEAR = 3.0, 8, 1e-8         # means of EACH runs of N gap/c are cut at TOP, seven standard deviations up
UNIFORM = np.full((1, 4, 4), 1 / 12) * (1 - np.eye(4))
TWO: Any = two_prompts()
ONE: Any = PreferenceModel.bradley_terry(TWO.reward[:1], [1.0], TWO.pi_ref[:1], TWO.beta)
FULL, GIVEN = ((m.reward, np.log(m.pi_ref), m.beta) for m in (TWO, ONE))                  # GIVEN: of the sampled claims


# ------------------------------------------------------------------------------------------ worlds
FIELDS: dict[str, Callable] = {           # from octets, cut to the shape that is asked for
    "pi_ref": lambda cut, X, Y: normalised(np.array(STEEP)[cut(X, Y) % 5]),
    "rho": lambda cut, X, Y: normalised(np.array(STEEP)[cut(X) % 5]),
    "beta": lambda cut, X, Y: BETAS[int(cut(1)[0]) % 4],
    "r": lambda cut, X, Y: (cut(X, Y) + 16) % 33 / 16 - 1,
    "theta": lambda cut, X, Y: (cut(X, Y) + 32) % 65 / 8 - 4,                             # the logits of a policy
    "f": lambda cut, X, Y: (cut(X, 1) + 8) % 17 / 4 - 2,                                  # a shift of rewards
    "wins": lambda cut, X, Y: (cut(X, Y, Y) % 16 + 1) * (1 - np.eye(Y)),                  # each beat every other
    "shown": lambda cut, X, Y: np.triu(np.maximum(np.array(SHOWN)[cut(X, Y, Y) % 4], np.eye(Y, k=1)), 1),
    "phi": lambda cut, X, Y: np.concatenate([np.broadcast_to(np.eye(Y - 1, Y - 2, -1), (X, Y - 1, Y - 2)), (
        cut(X, 1, Y - 2) + 4) % 9 / 4 - 1], 1),                                           # 0, e_1, .., e_d and another
    "factor": lambda cut, X, Y: (5.0, 2.0, 2.0**-12)[int(cut(1)[0]) % 3],
}


@st.composite
def worlds(draw: st.DrawFn, *fields: str, least: int = 2, reach: float = 2.0, **fixed: float) -> dict[str, Any]:
    """Up to two prompts and four responses; neighbours are among the pairs ``shown``. Cutting lets Y shrink alone."""
    X, Y = draw(st.integers(1, 2)), draw(st.integers(least, 4))
    cut = lambda *shape: octets(draw, *(2, 4, 4)[: len(shape)])[tuple(slice(n) for n in shape)]
    world = {name: FIELDS[name](cut, X, Y) for name in ("pi_ref", "rho", "beta", "r", *fields)}
    return {**world, "r": reach * world["r"], **fixed}


policies = partial(worlds, "theta", "f", each=0.0)
compared = partial(worlds, "theta", "shown", reach=1.0, bridge=1.0)
apart = partial(worlds, "theta", "wins", "factor", least=4, cross=0.0)
featured = partial(worlds, "theta", "phi", least=3, bent=0.0)


# ---------------------------------------------------------------------------------------- measures
def optimum(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C1: J(pi*) against beta E log Z, which no policy exceeds."""
    ref, beta, rho, r = np.log(world["pi_ref"]), world["beta"], world["rho"], world["r"]
    log_pi, log_Z = subject(r, ref, beta)
    best, slack = beta * float((rho * log_Z).sum()), higham(64) * _units(world)
    return worst([{"measured": abs(_J(log_pi, world) - best), "bound": 0.0, "slack": slack},
                  {"measured": _J(losses.log_softmax(world["theta"]), world) - best, "bound": 0.0, "slack": slack}])


def short(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C1-gap: the gap by its KL against the difference of two objectives."""
    ref, beta, rho, log_pi = np.log(world["pi_ref"]), world["beta"], world["rho"], losses.log_softmax(world["theta"])
    gap = beta * float((rho * dpo.closed_form(world["r"], ref, beta)[1]).sum()) - _J(log_pi, world)
    return _identity(subject(log_pi, world["r"], ref, beta, rho) - gap, higham(64) * _units(world))


def shifted(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C2: log pi* for r and for r + f(x), and how log Z moves. ``each`` lets f depend on the response."""
    ref, beta, r, slack = np.log(world["pi_ref"]), world["beta"], world["r"], higham(64) * _units(world) / world["beta"]
    f = world["f"] * (1 + world["each"] * np.arange(r.shape[1]))
    (log_pi, log_Z), (moved, moved_Z) = subject(r, ref, beta), subject(r + f, ref, beta)
    return worst(_identity(off, slack) for off in (moved - log_pi, moved_Z - log_Z - f[:, 0] / beta))


def representative(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C2-unique: rbar is beta log(pi*/pi_ref), r up to a shift, normalised, and the same from r + f(x)."""
    ref, beta, r = np.log(world["pi_ref"]), world["beta"], world["r"]
    bar, again = subject(r, ref, beta), subject(r + world["f"], ref, beta)
    off = (bar - beta * (dpo.closed_form(r, ref, beta)[0] - ref), np.ptp(bar - r, axis=-1), again - bar,
           beta * (np.exp(ref + bar / beta).sum(-1) - 1))
    return worst(_identity(x, higham(64) * _units(world)) for x in off)


def population_fit(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C3: margins of the implicit reward against those of the reward."""
    model, mu = _population(world)
    pi = subject(Exact(model), losses.population(model, mu), dpo.theory(), rng).output
    off = world["beta"] * losses.margins(np.log(pi / model.pi_ref)) - losses.margins(world["r"])
    return _identity(off, _stopped(mu * model.p, losses.margins(world["r"])) + higham(64) * _units(world))


def excess_loss(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C3-loss: L - H against the mean KL of the labels' law from the one that the policy explains."""
    model, mu = _population(world)
    W, log_pi, log_ref, beta = _faced(model, mu, world)
    P, h = model.p, beta * losses.margins(log_pi - log_ref)
    entropy = -(mu * (P * np.log(P) + (1 - P) * np.log(1 - P))).sum()
    kl = (mu * (P * (np.log(P) + losses.softplus(-h)) + (1 - P) * (np.log(1 - P) + losses.softplus(h)))).sum()
    return _identity(subject(W, log_pi, log_ref, beta)[0] - entropy - kl, higham(64) * _units(world))


def linear_fit(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C3-linear: margins of the fit against those of <phi, theta>; ``bent`` adds what no theta gives."""
    phi, beta, Y = world["phi"], world["beta"], world["phi"].shape[1]
    r = np.einsum("xyd,d->xy", phi, world["theta"][0, : Y - 2] / 4)
    r[:, 0] += world["bent"]
    model = PreferenceModel.bradley_terry(r, world["rho"], world["pi_ref"], beta)
    mu = np.broadcast_to((1 - np.eye(Y)) / (len(phi) * Y * (Y - 1)), model.p.shape)
    pi = subject(Comparisons(model, rng, bounds={"phi": phi}), losses.population(model, mu), dpo.theory(), rng).output
    h, D = losses.margins(r), float(np.abs(phi[:, :, None] - phi[:, None]).sum(-1).max())
    # H >= w sum_i e_i e_i' from the pairs {0, i}, w the least weight: as in `_stopped`, with |D| for sqrt 2
    w = float((2 * mu * losses.sigmoid(h) * losses.sigmoid(-h))[:, 0, 1:].min())
    slack = 2 * D * math.sqrt(phi.shape[2]) * (dpo.Params.tol + higham(64) * (1 + D)) / w
    off = beta * losses.margins(np.log(pi / world["pi_ref"])) - h
    return _identity(off, slack + higham(64) * _units(world))


def same_fit(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C4-two-stage: margins of both fits to the same counts."""
    beta, data = world["beta"], _pairs(world["wins"])
    access = Exact(PreferenceModel.bradley_terry(world["r"], world["rho"], world["pi_ref"], beta))
    one, two = (beta * losses.margins(np.log(run(access, data, dpo.theory(), rng).output / access.known.pi_ref))
                for run in (dpo.run, subject))
    stopped = _stopped(world["wins"] / world["wins"].sum(), one)
    return _identity(one - two, 2.02 * stopped + higham(64) * (_units(world) + float(np.abs(one).max())))


def rates(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C4: N^2 (J(pi*) - J(pi)) and N^2 max |pi - pi*|^2 over growing samples."""
    fits, N = list(_fits(_law(world), subject, SIZES, rng)), np.array(SIZES, float)
    if world["of"] == "gap":
        return {"measured": N * N * [dpo.suboptimality(np.log(pi), *GIVEN, ONE.rho) for pi in fits]}
    return {"measured": N * N * [np.abs(pi - np.exp(dpo.closed_form(*GIVEN)[0])).max() ** 2 for pi in fits]}


@marked
def scaled_gap(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C4-constant: the mean of N gap/c over runs, for both sides."""
    W, N = _law(world), world["N"]
    fits = [next(_fits(W, subject, (N,), rng)) for _ in range(EACH)]
    gap = sum(dpo.suboptimality(np.log(pi), *GIVEN, ONE.rho) for pi in fits) / EACH
    ratio = min(N * gap / dpo.asymptotic_gap(*GIVEN, ONE.rho, UNIFORM), TOP)
    return {key: {"measured": ratio, "bound": b} for key, b in (("above", 0.8), ("below", 1.25))}


def unseen(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C5: the loss before and after the mass of {2, 3} is multiplied; and what that costs in the instance."""
    W, log_ref, beta = world["wins"] * np.kron(np.eye(2), 1 - np.eye(2)), np.log(world["pi_ref"]), world["beta"]
    W[:, 1, 2] = world["cross"] * W[:, 0, 1]
    W, B, log_pi = W / W.sum(), np.array([0, 0, 1, 1]), losses.log_softmax(world["theta"])
    moved = losses.log_softmax(log_pi + math.log(world["factor"]) * B)
    off = subject(W, moved, log_ref, beta)[0] - subject(W, log_pi, log_ref, beta)[0]
    size = 10 + float(np.abs(log_pi).max() + np.abs(log_ref).max())                  # 9 > log 2^12
    worse = losses.log_softmax(dpo.closed_form(*FULL)[0] + math.log(5) * B)
    cost = dpo.suboptimality(worse, *FULL, TWO.rho)
    return worst([_identity(off, higham(64) * (1 + beta * size)), {"measured": 0.1145, "bound": cost}])


def weighted(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C6: the gradient in the logits, one pair at a time by the paper's formula."""
    W, log_pi, log_ref, beta = _faced(*_population(world), world)
    rhat, pi, g = beta * (log_pi - log_ref), np.exp(log_pi), np.zeros(log_pi.shape)
    score = np.eye(W.shape[1])[None] - pi[:, None]                  # score[x, y] = grad log pi(y|x) in the logits at x
    for x, w, l in zip(*np.nonzero(W)):
        g[x] -= beta * W[x, w, l] * float(losses.sigmoid(rhat[x, l] - rhat[x, w])) * (score[x, w] - score[x, l])
    return _identity(subject(W, log_pi, log_ref, beta)[1] - g, higham(64) * beta * _units(world))


def flow(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C7: the distance to theta* after each step of size 1/L from pi_ref, against e_k, until that is below `NEAR`."""
    log_ref, beta, r = np.log(world["pi_ref"]), world["beta"], world["r"]
    X, Y = r.shape
    alike = {**world, "shown": np.broadcast_to(np.triu(np.ones((Y, Y)), 1), (X, Y, Y)), "bridge": 1, "theta": log_ref}
    W = _faced(*_population(alike), alike)[0]
    best = log_ref + (r - r.mean(-1, keepdims=True)) / beta           # steps keep the sum of the logits of a prompt
    e = start = math.sqrt(float(((best - log_ref) ** 2).sum()))
    top, L, theta, rows = float(np.abs(losses.margins(r)).max()), beta * beta / (2 * X * (Y - 1)), log_ref, []
    share = lambda e: 4 * float(np.prod(losses.sigmoid((top + math.sqrt(2) * beta * e) * np.array([1, -1]))))
    # kappa(e)/L: a step rounds by units of theta and of the gradient over L, which then shrink as errors do
    slack = higham(64) * (1 + float(np.abs(log_ref).max()) + 2 * start + beta * (3 + beta * start) / L) / share(start)
    while e > NEAR:
        theta, e = theta - subject(W, losses.log_softmax(theta), log_ref, beta)[1] / L, e * (1 - share(e))
        rows.append({"measured": math.sqrt(float(((theta - best) ** 2).sum())), "bound": e, "slack": slack})
    return worst(rows) if rows else {"measured": start, "bound": NEAR}


def _pairs(count: np.ndarray) -> Pairs:
    x, win, lose = np.nonzero(count)
    return Pairs(x, win, lose, count[x, win, lose])


def _law(world: dict) -> np.ndarray:           # of (winner, loser) on uniform pairs, labels flipped with ``flip``
    return losses.weights(losses.population(flipped(ONE, world["flip"]), UNIFORM), 1, 4)


def _fits(W: np.ndarray, subject: Callable, sizes: tuple[int, ...], rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Policies from the first N of one run of comparisons."""
    count = np.zeros(W.shape, np.int64)
    for N in sizes:
        count = count + rng.multinomial(N - count.sum(), W.ravel()).reshape(W.shape)
        yield subject(Exact(ONE), _pairs(count), dpo.theory(), rng).output


def _population(world: dict) -> tuple[PreferenceModel, np.ndarray]:
    """The model, and the law of what is shown, in both orders."""
    shown = world["shown"].copy()
    shown[..., -1] *= world["bridge"] if shown.shape[1] > 2 else 1
    model = PreferenceModel.bradley_terry(world["r"], world["rho"], world["pi_ref"], world["beta"])
    return model, (shown + shown.transpose(0, 2, 1)) / (2 * shown.sum())


def _faced(model: PreferenceModel, mu: np.ndarray, world: dict) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """What a loss is given: the population's weights and the world's policy."""
    W = losses.weights(losses.population(model, mu), *model.pi_ref.shape)
    return W, losses.log_softmax(world["theta"]), np.log(model.pi_ref), world["beta"]


def _identity(off: Any, slack: float) -> dict:
    return {"measured": float(np.abs(off).max()), "bound": 0.0, "slack": slack}


def _stopped(W: np.ndarray, h: np.ndarray) -> float:
    """How far margins are from the minimiser's, where every derivative in the scores is at most tol.

    There the Hessian is a Laplacian of weights c, of second eigenvalue >= 4 min c/Y^2 if connected (Mohar 1991). As
    |sigma''| <= sigma', a gradient g leaves at most 2 |g|/eigenvalue, where that is below 1 (Bach 2010); and
    |g| <= sqrt(Y) tol, while margins move sqrt 2 as far.
    """
    c, Y = (W + W.transpose(0, 2, 1)) * losses.sigmoid(h) * losses.sigmoid(-h), W.shape[1]
    return 2 * math.sqrt(2 * Y) * (dpo.Params.tol + higham(64)) * Y * Y / (4 * float(c[c > 0].min()))


def _J(log_pi: np.ndarray, world: dict) -> float:
    inner = (np.exp(log_pi) * (world["r"] - world["beta"] * (log_pi - np.log(world["pi_ref"])))).sum(-1)
    return float((world["rho"] * inner).sum())


def _units(world: dict) -> float:      # |r| and |f|, at most 10 where f grows with y; |log pi| is below 8 + log 4
    return 16 + world["beta"] * (16 + float(np.abs(np.log(world["pi_ref"])).max()))


# -------------------------------------------------------------------------------------------- checks
def _check(name: str, kind: str, statement: str, source: str, status: str, entry: str, worlds: Any, measure: Callable,
           judge: Any, *broken: Saboteur, **twins: str) -> Check:
    """A check whose saboteurs are worlds, and twins by name, each with what is wrong with it."""
    return Check(Claim("dpo", name, kind, statement, source, status), entry, worlds, measure, judge, (*broken, *(
        Saboteur(twin.replace("_", " "), why, subject=f"{TWINS}:{twin}") for twin, why in twins.items())))


_BROKEN, _SMOOTH = "an assumption broken: ", "a tenth of each label goes to the loser"
_FLIPPED = Saboteur("flipped", _BROKEN + "a fifth of the labels is flipped", world={"flip": 0.2})
_REVERSED = "winner and loser change places: the sign of h"
_LOSS = {"reversed_labels": _REVERSED, "unreferenced": "no pi_ref in the loss", "unscaled": "no beta in the loss"}

CHECKS = (
    _check("C1", "identity", "pi* ~ pi_ref exp(r/beta) has J(pi*) = beta E_x log Z(x), and no policy has more.",
           "Section 4, appendix A.1", "checked", "closed_form", policies, optimum, Sure(),
           untempered="exp(r), not exp(r/beta)", flat="pi_ref is left out"),
    _check("C1-gap", "identity", "J(pi*) - J(pi) = beta E_x KL(pi(.|x) || pi*(.|x)) for every policy pi.",
           "appendix A.1", "checked", "suboptimality", policies, short, Sure(),
           turned="KL(pi* || pi)", even="the mean over prompts, not over rho"),
    _check("C2", "identity", "r and r + f(x) have the same pi*, and log Z moves by f/beta.", "Lemmas 1 and 2",
           "checked", "closed_form", policies, shifted, Sure(),
           Saboteur("each", _BROKEN + "f depends on y", world={"each": 1.0}), clipped="rewards below 0 count as 0"),
    _check("C2-unique", "identity", "{r + f(x)} holds one reward beta log(pi/pi_ref), pi a policy: rbar = r - beta "
           "log Z(x); pi = pi*, and E_ref exp(rbar/beta) = 1.", "Theorem 1", "checked", "canonical_reward", policies,
           representative, Sure(), centred="r less its mean", centred_under_reference="r less its mean under pi_ref"),
    _check("C3", "identity", "Where compared pairs connect all responses of a prompt the population loss has one "
           "minimiser, pi*.", "Section 4, for tables", "checked", "run", compared, population_fit, Sure(),
           Saboteur("cut", _BROKEN + "the last response is not compared", world={"bridge": 0.0}),
           reversed_fit=_REVERSED, flat_fit="pi_ref is left out", smoothed_fit=_SMOOTH),
    _check("C3-loss", "identity", "L(pi) = sum mu H(P) + sum mu KL(Bern(P) || Bern(sigma(h))) for every pi, H the "
           "entropy of a label.", "Section 4, for tables", "checked", "loss", compared, excess_loss, Sure(), **_LOSS),
    _check("C3-linear", "identity", "If r = <phi, theta> the log-linear fit to the population is pi*.", "Section 4, "
           "log-linear policies", "derived", "run_linear", featured, linear_fit, Sure(), Saboteur("bent", _BROKEN + "r "
           "is not linear", world={"bent": 0.5}), reversed_linear=_REVERSED, smoothed_linear=_SMOOTH),
    _check("C4", "rate", "On N uniform pairs of two_prompts' first prompt E[J(pi*) - J(pi_DPO)] = O(1/N) and "
           "E max |pi - pi*|^2 = O(1/N): N^2 times them is O(N).", "asymptotic normality", "derived", "run",
           ({"flip": 0.0, "of": "policy"}, {"flip": 0.0, "of": "gap"}), rates, Rate(
               SIZES, lambda N: N, lambda N: N**1.5, n=100, n_full=512), _FLIPPED, smoothed_fit=_SMOOTH),
    _check("C4-constant", "expectation", "There N E[J(pi*) - J(pi_DPO)] is within .8 and 1.25 times c = sum_x rho "
           "tr(S pinv(H))/(2 beta) = 4.1679.", "asymptotic normality", "derived", "run", tuple({"N": N, "flip": 0.0}
           for N in SIZES[2:]), scaled_gap, Separation((("above", Expectation(0.0, TOP, above=True)), (
               "below", Expectation(0.0, TOP)))), _FLIPPED, half_of_it="half of the labels are dropped"),
    _check("C4-two-stage", "identity", "DPO over all policies is two-stage RLHF: the fits to any counts agree.",
           "Section 4", "checked", "run_rlhf", partial(worlds, "wins"), same_fit, Sure(),
           one_sweep="the reward after one sweep", win_rates="log-odds of mean win rates for the reward"),
    _check("C5", "separation", "Where comparisons stay within {0, 1} and {2, 3}, multiplying pi on {2, 3} leaves the "
           "loss as it is; at pi* of two_prompts and 5 that costs .1145 of J.", "for tables", "derived", "loss", apart,
           unseen, Sure(), Saboteur("cross", _BROKEN + "1 and 2 are compared", world={"cross": 1.0}),
           tethered="a KL to pi_ref on top", likelihood="the likelihood of winners"),
    _check("C6", "identity", "grad L = -beta E_W[sigma(rhat_l - rhat_w) (grad log pi(y_w) - grad log pi(y_l))], in "
           "the logits.", "Section 4, gradient of the loss", "checked", "loss", compared, weighted, Sure(examples=80),
           **_LOSS, unweighted="no sigma in the gradient", in_rewards="the gradient in rhat"),
    _check("C7", "linear-rate", "All pairs alike: in steps 1/L from pi_ref gradient flow has |theta_k - theta*| <= e_k "
           "with e_0 = |theta_0 - theta*|, e_{k+1} = (1 - kappa(e_k)/L) e_k, kappa(e) the least curvature at |h| <= "
           "max |h*| + sqrt 2 beta e; so 1e-8 at t = k/L, k the first with e_k <= 1e-8.", "strong convexity", "derived",
           "loss", partial(worlds, reach=0.5), flow, Sure(examples=50), **_LOSS),
)
