"""VPO: the most likely reward plus or minus its own value: optimism to explore, pessimism on logged data.

Prompts x ~ rho, responses y in 0..Y-1, pi_ref (X, Y) and beta > 0 known, a fixed policy pi_cal (X, Y). Rewards are
r = <phi, theta>, |theta_j| <= C; in the table phi = e_xy. Bradley-Terry does not see shifts of r: those with
E_{pi_cal} r = 0 are meant, wherever they are. J*(r) = E_x beta log sum_y pi_ref exp(r/beta), and

    l(r, D) = the SUM over comparisons of softplus(-(r(x, winner) - r(x, loser)))
    1  online, for t = 1..T:  r_t = argmin l(r, D) - alpha (J*(r) - E_{pi_cal} r);  pi_t prop. to pi_ref exp(r_t/beta)
    2      x ~ rho, y1 ~ pi_t(.|x), y2 ~ pi_cal(.|x) or again pi_t(.|x); their label is added to D
    3  offline:  r = argmin l(r, D) + alpha (J*(r) - E_{pi_cal} r);  return pi prop. to pi_ref exp(r/beta)
    4  policy form of either:  l(beta log(pi/pi_ref), D) +- alpha beta E_{pi_cal} log(pi/pi_ref), + online, - offline

Line 3 is convex, line 1 is not: coordinate descent on parabolas that touch l (Jaakkola and Jordan) and V from above,
from the last theta and from the corner of the box that favours each response (`run_gradient`). As beta -> 0, pi_cal on
response 0 and r(0) = 0, both decouple (`run`): n_k(g) = l of r(k) = g against response 0, g on a grid of [-C, C],

    5  online:  play k_t = argmax_k max_g [alpha g - n_k(g)] + min_g n_k(g), which is 0 for k = 0; at alpha = 0 the
                largest argmin n_k, 0 for k = 0 and where nothing was compared; ties go to the lowest k, the lowest g
    6  offline: M >= 0 of least alpha M + sum_k min_{g <= M} n_k(g); policy -n_k'(M), where that is positive, and at
                M = 0 what is left of alpha to response 0, normalised

Guarantees (Theorems 1 and 2; wording and constants recalled): rewards linear in |phi| <= 1. Online, with alpha =
e^-(2C + C/beta) sqrt(T/(kappa d log T)), kappa = max pi_cal/pi_ref, regret is of the order of e^(2C + C/beta)
sqrt(kappa d T), tight in T up to logarithms; offline, with alpha of that of sqrt(N), the gap to a covered policy is of
that of 1/sqrt(N). Both responses are recalled to come from pi_t; with pi_cal the analysis telescopes. Both are here.

Cen, Mei, Goshvadi, Dai, Yang, Yang, Schuurmans, Chi, Dai. Value-Incentivized Preference Optimization: A Unified
Approach to Online and Offline RLHF. ICLR 2025, arXiv 2405.19320, Algorithms 1 and 2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from mdpkit import losses, validate
from mdpkit.access import Comparisons
from mdpkit.errors import MdpkitError
from mdpkit.instances.preferences import two_prompts
from mdpkit.jit import kernel
from mdpkit.kernels.draw import draw
from mdpkit.losses import normalise, plain_sigmoid
from mdpkit.records import Pairs, Paper, Result
from mdpkit.worlds.preferences import ask, start

PAPER = Paper(
    "vpo", "Value-Incentivized Preference Optimization: A Unified Approach to Online and Offline RLHF",
    "Shicong Cen, Jincheng Mei, Katayoon Goshvadi, Hanjun Dai, Tong Yang, Sherry Yang, Dale Schuurmans, Yuejie Chi, "
    "Bo Dai", "ICLR 2025", "2405.19320", ("preferences", "exploration", "offline", "optimism", "pessimism", "linear"),
    """@inproceedings{cen2025value,
  title     = {Value-Incentivized Preference Optimization: A Unified Approach to Online and Offline {RLHF}},
  author    = {Cen, Shicong and Mei, Jincheng and Goshvadi, Katayoon and Dai, Hanjun and others},
  booktitle = {International Conference on Learning Representations},
  year      = {2025}
}""")
STEPS, TOLERANCE = 20_000, 1e-12         # sweeps of a descent at most; the slope of line 3 without a box


@dataclass(frozen=True)
class Params:
    """alpha, T rounds online, the box C, pi_cal (X, Y) (None: response 0), the grid's points, whether pi_t draws both
    responses, and whether rewards are linear in ``known.phi`` (X, Y, d)."""

    alpha: float
    T: int = 0
    C: float = 2.0
    cal: Any = None
    points: int = 161
    both: bool = False
    linear: bool = False


class Fit(NamedTuple):
    """Data W (X, Y, Y), phi (X, Y, d), log_ref and cal (X, Y), rho (X,)."""
    W: np.ndarray
    phi: np.ndarray
    log_ref: np.ndarray
    rho: np.ndarray
    cal: np.ndarray
    beta: float
    C: float


def theory(T: int, d: int, C: float, beta: float, kappa: float) -> Params:
    """alpha of the online theorem, as recalled; T >= 2."""
    for name, v in (("C", C), ("beta", beta), ("kappa", kappa)):
        validate.interval(name, v, 0.0, math.inf, open_lo=True)
    per = kappa * validate.count("d", d) * math.log(validate.count("T", T, 2))
    return Params(math.exp(-2 * C - C / beta) * math.sqrt(T / per), T, C)


def run(access: Comparisons, params: Params, rng: np.random.Generator) -> Result:
    """Online VPO at beta -> 0, pi_cal on response 0, exactly on the grid, for one prompt; rng is not used.

    The trace has the response of each round as its policy, ``output`` is that of round T."""
    given(access, params, rng)
    validate.count("access.known.X", access.known.X, 1, 1)
    g, Y = np.linspace(-params.C, params.C, params.points), access.known.Y
    first = params.alpha * params.C * (np.arange(Y) > 0)
    state = (losses.softplus(g), losses.softplus(-g), g, float(params.alpha), np.zeros((Y, 2)), first)
    trace = access.drive(_choose, state, np.zeros((), np.int64), validate.count("params.T", params.T), rng)
    return Result(None if trace is None else int(trace.policies[trace.index[-1]]), trace, params, access.samples)


def run_gradient(access: Comparisons, params: Params, rng: np.random.Generator) -> Result:
    """Online VPO at the access's beta, C finite, by descent from several starts; rng draws the responses.

    The trace has the policy (X, Y) of each round, ``output`` is that of round T."""
    fit, C = given(access, params, rng), validate.interval("params.C", params.C, 0.0, math.inf)
    settings, theta = np.array([fit.beta, params.alpha, C, params.both]), np.zeros(fit.phi.shape[2])
    state = (*(np.array(part) for part in fit[:5]), settings, theta)
    trace = access.drive(_explore, state, np.zeros(fit.cal.shape), validate.count("params.T", params.T), rng)
    return Result(None if trace is None else trace.policies[trace.index[-1]], trace, params, access.samples)


def run_offline(access: Comparisons, data: Pairs, params: Params, rng: np.random.Generator) -> Result:
    """Offline VPO; C may be infinite. Asks for nothing; ``output`` is pi (X, Y)."""
    fit = given(access, params, rng, data)
    r, _, gap = solve(fit, -params.alpha)                                               # 3
    if math.isinf(fit.C) and gap > TOLERANCE:
        raise MdpkitError("data", f"such that {STEPS} sweeps reach a minimum", None, came=f"the slope is {gap:.3g}")
    return Result(np.exp(losses.gibbs(fit.log_ref, r, fit.beta)), None, params, access.samples)


def run_offline_grid(access: Comparisons, data: Pairs, params: Params, rng: np.random.Generator) -> Result:
    """Offline VPO at beta -> 0 on comparisons with response 0, for one prompt: line 6. Others are left out."""
    W = given(access, params, rng, data).W[0]
    validate.count("access.known.X", access.known.X, 1, 1)
    pi = fit_grid(np.stack([W[:, 0], W[0]], 1), np.linspace(-params.C, params.C, params.points), -params.alpha)[2]
    return Result(pi[None], None, params, access.samples)


def given(access: Comparisons, params: Params, rng: np.random.Generator, data: Pairs | None = None) -> Fit:
    """What is fitted: ``data`` counted, not averaged; none yet where it is None."""
    known = validate.instance("access", access, Comparisons).known
    validate.instance("params", params, Params)
    validate.generator("rng", rng)
    validate.interval("params.alpha", params.alpha, 0.0, math.inf)
    validate.count("params.points", params.points, 2)
    ref = known.pi_ref
    W = np.zeros((*ref.shape, ref.shape[1])) if data is None else losses.weights(data, *ref.shape) * data.count.sum()
    cal = validate.simplex("params.cal", np.eye(1, ref.shape[1]).repeat(len(ref), 0) if params.cal is None
                           else params.cal, ref.shape, flush=True)
    phi = validate.array("access.known.phi", known.phi, (*ref.shape, "d")) if params.linear else \
        np.eye(ref.size).reshape(*ref.shape, ref.size)
    return Fit(W, phi, np.log(ref), known.rho, cal, known.beta, params.C)


def fit_grid(counts: np.ndarray, g: np.ndarray, weight: float) -> tuple[float, float, np.ndarray]:
    """The minimiser of l - weight max(0, r(1), r(2), ..): its value max(0, r), its loss l, and its policy (Y,).

    ``counts`` (Y, 2): how often each response won and lost against response 0 (a row that is not used); ``g`` an
    increasing grid with 0. weight = alpha is line 5, 0 the most likely reward, -alpha line 6, whose policy is of the M
    off the grid: on it n_k'(M) errs by a step times a count, which outgrows alpha.
    """
    n = counts[:, :1] * losses.softplus(-g) + counts[:, 1:] * losses.softplus(g)
    n[0] = np.where(g == 0, 0.0, np.inf)
    low = n.min(1)
    if weight < 0:
        levels = np.flatnonzero(g >= 0)
        cost = np.minimum.accumulate(n[1:], 1).sum(0)[levels] - weight * g[levels]
        M = levels[int(np.argmin(cost))]                                                # 6
        return float(g[M]), float(cost.min() + weight * g[M]), _pulls(counts[1:].tolist(), -weight, float(g[-1]))
    score = (weight * g - n).max(1) + low if weight > 0 else g[n.argmin(1)] * (counts.sum(1) > 0)
    k = int(np.argmax(score))                                                           # 5
    at = int(np.argmax(weight * g - n[k]))
    J = float(g[n.argmin(1)].max() if weight == 0 else max(g[at], 0.0))
    return J, float(low.sum() - low[k] + n[k, at]), np.eye(len(n))[k]


def solve(fit: Fit, weight: float) -> tuple[np.ndarray, float, float]:
    """The reward (X, Y) of least l - weight (J* - E_cal r), that value, and a gap. weight = -alpha is line 3.

    The gap is how far the linear function of the gradient falls in the box, hence for weight <= 0 at most the value;
    the largest slope where C is infinite."""
    theta, settings = np.zeros(fit.phi.shape[2]), np.array([fit.beta, weight, fit.C])
    best, gap = _best(*(np.array(part) for part in fit[:5]), settings, theta)           # 1, 3
    return np.einsum("xyj,j->xy", fit.phi, theta), best, gap


def value(r: np.ndarray, fit: Fit) -> float:
    """J*(r) of rewards (X, Y)."""
    return fit.beta * float((fit.rho * losses.log_sum_exp(fit.log_ref + r / fit.beta)).sum())


def policy_loss(fit: Fit, log_pi: np.ndarray, weight: float) -> float:
    """Line 4 at a policy of full support, (X, Y); weight is alpha online and -alpha offline."""
    r = losses.implicit_reward(log_pi, fit.log_ref, fit.beta)
    return losses.pairwise(fit.W, r)[0] + weight * float((fit.rho * (fit.cal * r).sum(1)).sum())          # 4


def demo(rng: np.random.Generator) -> Result:
    """Ten rounds on two prompts."""
    return run_gradient(Comparisons(two_prompts(), rng), Params(1.0, 10, cal=two_prompts().pi_ref), rng)


def _pulls(counts: list, alpha: float, C: float) -> np.ndarray:
    """The policy of line 6: M is where the pulls -n_k'(M) add up to alpha, by bisection; 0 or C if they never do."""
    at = lambda M: [max((won - lost * math.exp(M)) / (1.0 + math.exp(M)), 0.0) for won, lost in counts]
    low, high = 0.0, C if sum(at(0.0)) > alpha else 0.0
    while low < (M := (low + high) / 2) < high:
        low, high = (M, high) if sum(at(M)) > alpha else (low, M)
    pull = np.array([max(alpha - sum(at(0.0)), 0.0), *at(low)])                         # 6
    return pull / pull.sum()


def _choose_body(world, up, down, grid, alpha, counts, score, log, first, rng):
    """``up`` and ``down`` are softplus(g), softplus(-g); only the score of what was compared can change."""
    for t in range(len(log)):
        k = 0
        for j in range(1, len(score)):
            k = j if score[j] > score[k] else k                                         # 5
        log[t] = k
        counts[k, 0 if ask(world, start(world), k, 0) else 1] += 1.0                    # 2
        low, top, at = math.inf, -math.inf, 0.0
        for i in range(len(grid) if k > 0 else 0):
            n = counts[k, 0] * down[i] + counts[k, 1] * up[i]
            top = max(top, alpha * grid[i] - n)
            if n < low:
                low, at = n, grid[i]
        if k > 0:
            score[k] = top + low if alpha > 0.0 else at                                 # 5


def _slope_body(W, phi, log_ref, rho, cal, settings, theta, j):
    """l - weight (J* - E_cal r), its slope in theta_j, and the curvature of a parabola above it that touches it."""
    (X, Y, d), beta, total, g, c = phi.shape, settings[0], 0.0, 0.0, 0.0
    r, logits, log_pi = np.empty(Y), np.empty((1, Y)), np.empty((1, Y))
    for x in range(X):
        pull, low, high = -settings[1] * rho[x], math.inf, -math.inf
        for y in range(Y):
            r[y] = 0.0
            for k in range(d):
                r[y] += phi[x, y, k] * theta[k]
            logits[0, y] = log_ref[x, y] + r[y] / beta
            low, high = min(low, phi[x, y, j]), max(high, phi[x, y, j])
        normalise(logits, log_pi)
        total += pull * beta * (logits[0, 0] - log_pi[0, 0])
        c += max(pull, 0.0) / beta * (high - low) * (high - low) / 4.0
        for y in range(Y):
            total -= pull * cal[x, y] * r[y]
            g += pull * (math.exp(log_pi[0, y]) - cal[x, y]) * phi[x, y, j]
            for z in range(Y):
                if W[x, y, z] > 0.0 and y != z:
                    h, s, D = r[y] - r[z], plain_sigmoid(r[z] - r[y]), phi[x, y, j] - phi[x, z, j]
                    total += W[x, y, z] * (max(-h, 0.0) + math.log(1.0 + math.exp(-abs(h))))
                    g -= W[x, y, z] * s * D
                    c += W[x, y, z] * D * D * (0.25 if abs(h) < 1e-3 else (0.5 - s) / h)
    return total, g, c


def _descend_body(W, phi, log_ref, rho, cal, settings, theta):
    """Coordinate after coordinate to the foot of its parabola, or the end of the box. Moves theta; value and gap."""
    C, gap, now, far = settings[2], 0.0, 0.0, 0.0
    for _ in range(STEPS):
        for j in range(len(theta)):
            _, g, c = _slope(W, phi, log_ref, rho, cal, settings, theta, j)
            to = theta[j] if c == 0.0 and math.isinf(C) else min(max(theta[j] - g / max(c, 1e-300), -C), C)
            far, theta[j] = max(far, abs(to - theta[j]) / (1.0 + abs(to))), to
        if far <= (1e-8 if settings[1] > 0.0 else 4e-15):        # the value is then as good as its rounding
            break
        far = 0.0
    for j in range(len(theta)):
        now, g, _ = _slope(W, phi, log_ref, rho, cal, settings, theta, j)
        gap = max(gap, abs(g)) if math.isinf(C) else gap + g * theta[j] + abs(g) * C
    return now, gap


def _best_body(W, phi, log_ref, rho, cal, settings, theta):
    """The best of the descents from theta and, where the objective is not convex, from each response's corner."""
    X, Y, d = phi.shape
    best, gap = _descend(W, phi, log_ref, rho, cal, settings, theta)
    for i in range(X * Y if settings[1] > 0.0 else 0):
        other = np.empty(d)
        for j in range(d):
            lead = phi[i // Y, i % Y, j]
            for z in range(Y):
                lead -= cal[i // Y, z] * phi[i // Y, z, j]
            other[j] = settings[2] * (1.0 if lead > 0.0 else -1.0 if lead < 0.0 else 0.0)
        found, its = _descend(W, phi, log_ref, rho, cal, settings, other)
        if found < best:
            best, gap = found, its
            for j in range(d):
                theta[j] = other[j]
    return best, gap


def _explore_body(world, W, phi, log_ref, rho, cal, settings, theta, log, first, rng):
    """``settings``: beta, alpha, C, whether pi_t draws both responses."""
    X, Y, d = phi.shape
    logits, cum, pair = np.empty((X, Y)), np.empty(Y), np.empty(2, np.int64)
    for t in range(len(log)):
        _best(W, phi, log_ref, rho, cal, settings, theta)                               # 1
        for i in range(X * Y):
            x, y = i // Y, i % Y
            logits[x, y] = log_ref[x, y]
            for j in range(d):
                logits[x, y] += phi[x, y, j] * theta[j] / settings[0]
        normalise(logits, log[t])
        for i in range(X * Y):
            log[t, i // Y, i % Y] = math.exp(log[t, i // Y, i % Y])                     # 1
        x = start(world)
        for i in range(2):
            total = 0.0
            for y in range(Y):
                total += log[t, x, y] if i == 0 or settings[3] > 0.0 else cal[x, y]
                cum[y] = total
            pair[i] = draw(cum, 0, Y, rng.random() * total)                             # 2
        won = ask(world, x, pair[0], pair[1])
        W[x, pair[0 if won else 1], pair[1 if won else 0]] += 1.0                       # 2


_choose = kernel(_choose_body)
_slope = kernel(_slope_body)
_descend = kernel(_descend_body)
_best = kernel(_best_body)
_explore = kernel(_explore_body)
