"""RPO: direct preference optimisation with an SFT loss, which is pessimism: the best policy against the worst reward.

Prompts x ~ rho, responses y in 0..Y-1, pi_ref (X, Y) and beta > 0 known, pi_base (X, Y) a policy to compare with: the
chosen responses of the data, where none is given. W (X, Y, Y) is the share of comparisons that the first won. Rewards
are r = <phi, theta>, lo <= theta_j <= hi; in the table phi = e_xy. With V_x(r) = beta log sum_y pi_ref exp(r/beta):

    F(pi, r) = eta E_x[ E_pi r - E_{pi_base} r - beta KL(pi || pi_ref) ] + L(r),   max over pi, min over r
    1  L(r) = sum W[x, w, l] softplus(-(r(x, w) - r(x, l)))
    2  reward form:  rhat = argmin over theta of eta E_x[ V_x(r) - E_{pi_base} r ] + L(r)
    3                return pi prop. to pi_ref exp(rhat/beta)
    4  policy form, RPO: of all pi prop. to pi_ref exp(<phi, theta>/beta), theta unbounded, return the one of least
                     L(beta log(pi/pi_ref)) + eta beta E_x E_{pi_base}[ -log pi ]
    5  either by Newton's method, steps projected on the box and halved until the objective falls

Without a box the two forms are the same function of theta, up to the constant eta beta E_{pi_base} log pi_ref.
eta = 0 is DPO (`run_dpo`).

Guarantees (Theorem 5.3; numbers, wording and constants recalled): for R = [0, R]^(X, Y), the i.i.d. data of N pairs,
eta = (1 + e^R)^-2 sqrt(24 i^2/N), beta = 1/sqrt(N), i^2 = log(N_eps/delta), N_eps the sup-norm covering number at
eps = 1/(6 (1 + e^R) N), any policy pi has with probability 1 - delta, C as below,
    E_pi r* - E_{pi_hat} r* <= (sqrt(6)/4 (1 + e^R)^2 (C^2 + 1) i + KL(pi || pi_ref))/sqrt(N).
Derived, for a whole population: J_beta(pi) - J_beta(pi_hat) <= eta C^2/(8 k^2), k = e^R/(1 + e^R)^2,
C^2 = D' Sigma^+ D, D = pi - pi_base, Sigma the second moment of e_y - e_z: D alone must be covered. Not tight.

Liu, Lu, Zhang, Liu, Guo, Yang, Blanchet, Wang. Provably Mitigating Overoptimization in RLHF: Your SFT Loss is
Implicitly an Adversarial Regularizer. NeurIPS 2024, arXiv 2405.16436, Algorithms 1 and 2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from mdpkit import losses, validate
from mdpkit.access import Comparisons
from mdpkit.data import compare
from mdpkit.errors import MdpkitError
from mdpkit.instances.preferences import two_prompts
from mdpkit.jit import kernel
from mdpkit.losses import normalise, plain_sigmoid
from mdpkit.records import Pairs, Paper, Result

PAPER = Paper(
    "rpo", "Provably Mitigating Overoptimization in RLHF: Your SFT Loss is Implicitly an Adversarial Regularizer",
    "Zhihan Liu, Miao Lu, Shenao Zhang, Boyi Liu, Hongyi Guo, Yingxiang Yang, Jose Blanchet, Zhaoran Wang",
    "NeurIPS 2024", "2405.16436", ("preferences", "offline", "pessimism", "tabular", "log-linear"),
    """@inproceedings{liu2024provably,
  title     = {Provably Mitigating Overoptimization in {RLHF}: Your {SFT} Loss is Implicitly an Adversarial
               Regularizer},
  author    = {Liu, Zhihan and Lu, Miao and Zhang, Shenao and Liu, Boyi and others},
  booktitle = {Advances in Neural Information Processing Systems},
  year      = {2024}
}""")
STEPS = 200              # of Newton's method at most: some 10 to 40 are taken
TOLERANCE = 1e-12        # on the gradient in theta, without a box


@dataclass(frozen=True)
class Params:
    """The weight eta of the adversary, pi_base (X, Y), None for that of the data, and the box of the reward form."""

    eta: float
    base: Any = None
    lo: float = 0.0
    hi: float = 1.0


class Problem(NamedTuple):
    """What is minimised over theta (d,): W (X, Y, Y), phi (X, Y, d), log_ref and base (X, Y), rho (X,), the box."""
    W: np.ndarray
    phi: np.ndarray
    log_ref: np.ndarray
    rho: np.ndarray
    base: np.ndarray
    beta: float
    eta: float
    lo: float
    hi: float


def theory(N: int, R: float, parameters: int, delta: float) -> Params:
    """eta of the theorem for rewards in [0, R] that ``parameters`` numbers of that range tell, as a table's do.

    The theorem's beta, 1/sqrt(N), belongs to the world.
    """
    return Params(math.sqrt(24 / validate.count("N", N)) * spread(N, R, parameters, delta) / (1 + math.exp(R)) ** 2,
                  hi=float(R))


def run(access: Comparisons, data: Pairs, params: Params, rng: np.random.Generator) -> Result:
    """RPO's policy form on the table of logits.

    Parameters
    ----------
    access : Comparisons
        Asked for nothing.
    data : Pairs
        Logged comparisons, or a population's (`mdpkit.losses.population`).
    params : Params
    rng : numpy.random.Generator
        Neither it nor the box is used.

    ``output`` is pi_hat (X, Y); there is no trace. An MdpkitError where there is no minimiser: some set of responses
    outside pi_base has never won against another (with eta = 0: has never won, or never lost).
    """
    problem = given(access, data, params, rng)
    _bounded_below(problem)
    return _policy(access, unbounded(problem), params)                                  # 4


def run_linear(access: Comparisons, data: Pairs, params: Params, rng: np.random.Generator) -> Result:
    """The policy form in the log-linear class. Needs ``known.phi`` (X, Y, d). Else as `run`."""
    return _policy(access, unbounded(_linear(access, given(access, data, params, rng))), params)        # 4


def run_dpo(access: Comparisons, data: Pairs, params: Params, rng: np.random.Generator) -> Result:
    """DPO: `run` with eta = 0."""
    return run(access, data, replace(params, eta=0.0), rng)


def run_reward(access: Comparisons, data: Pairs, params: Params, rng: np.random.Generator) -> Result:
    """The reward form for rewards in [lo, hi]^(X, Y). Else as `run`; a minimiser there always is."""
    return _policy(access, given(access, data, params, rng), params)                    # 2, 3


def run_reward_linear(access: Comparisons, data: Pairs, params: Params, rng: np.random.Generator) -> Result:
    """The reward form for <phi, theta>, theta in [lo, hi]^d. Needs ``known.phi`` (X, Y, d). Else as `run_reward`."""
    return _policy(access, _linear(access, given(access, data, params, rng)), params)   # 2, 3


def spread(N: int, R: float, parameters: int, delta: float) -> float:
    """i = sqrt(log(N_eps/delta)): an interval of length R takes ceil(R/(2 eps)) points, eps = 1/(6 (1 + e^R) N)."""
    validate.interval("delta", delta, 0.0, 1.0, open_lo=True, open_hi=True)
    points = math.ceil(3 * validate.interval("R", R, 0.0, math.inf, open_lo=True) * (1 + math.exp(R)) * N)
    return math.sqrt(validate.count("parameters", parameters) * math.log(points) - math.log(delta))


def given(access: Comparisons, data: Pairs, params: Params, rng: np.random.Generator) -> Problem:
    """The problem of the table."""
    known = validate.instance("access", access, Comparisons).known
    validate.instance("params", params, Params)
    validate.generator("rng", rng)
    eta = validate.interval("params.eta", params.eta, 0.0, math.inf)
    hi = validate.interval("params.hi", params.hi, validate.real("params.lo", params.lo), math.inf, open_lo=True)
    ref, W = known.pi_ref, losses.weights(data, *known.pi_ref.shape)
    wins = W.sum(2) + np.where(W.sum((1, 2))[:, None] > 0, 0.0, ref)             # pi_ref where nothing was compared
    base = wins / wins.sum(1, keepdims=True) if params.base is None else \
        validate.simplex("params.base", params.base, ref.shape, flush=True)
    phi = np.eye(ref.size).reshape(*ref.shape, ref.size)
    return Problem(W, phi, np.log(ref), known.rho, base, known.beta, eta, params.lo, hi)


def unbounded(problem: Problem) -> Problem:
    """The same without a box."""
    return problem._replace(lo=-math.inf, hi=math.inf)


def worst_reward(problem: Problem, pi: np.ndarray | None = None) -> tuple[np.ndarray, float, float]:
    """Line 2: rhat (X, Y), the objective there, and how far at most that is above the least (without a box: the slope).

    With ``pi`` (X, Y) E_pi r takes the place of V: the minimiser of F(pi, .), without eta beta KL(pi || pi_ref).
    """
    W, phi, log_ref, rho, base, beta, eta, lo, hi = problem
    theta, settings = np.full(phi.shape[2], min(max(0.0, lo), hi)), np.array([beta, lo, hi, 1.0 * (pi is None)])
    gap = _newton(*(np.array(a) for a in (W, phi, log_ref, eta * rho, base if pi is None else base - pi)), settings,
                  theta)                                                                # 2
    r = np.einsum("xyj,j->xy", problem.phi, theta)
    return r, reward_loss(problem, r, pi), gap


def reward_loss(problem: Problem, r: np.ndarray, pi: np.ndarray | None = None) -> float:
    """The objective of `worst_reward` at rewards (X, Y)."""
    ahead = problem.beta * losses.log_sum_exp(problem.log_ref + r / problem.beta) if pi is None else (pi * r).sum(1)
    penalty = float((problem.rho * (ahead - (problem.base * r).sum(1))).sum())
    return problem.eta * penalty + losses.pairwise(problem.W, r)[0]                     # 1, 2


def policy_loss(problem: Problem, log_pi: np.ndarray) -> float:
    """The objective of line 4 at a policy of full support, (X, Y): DPO's loss and eta beta times the SFT loss."""
    sft = -float((problem.rho * (problem.base * log_pi).sum(1)).sum())
    r = losses.implicit_reward(log_pi, problem.log_ref, problem.beta)
    return losses.pairwise(problem.W, r)[0] + problem.eta * problem.beta * sft          # 4


def demo(rng: np.random.Generator) -> Result:
    """Fifty logged comparisons on two prompts."""
    model = two_prompts()
    data = compare(model, np.full((2, 4, 4), 1 / 12) * (1 - np.eye(4)), 50, rng)
    return run(Comparisons(model, rng), data, Params(0.1, model.pi_ref), rng)


def _linear(access: Comparisons, problem: Problem) -> Problem:
    return problem._replace(phi=validate.array("access.known.phi", access.known.phi, (*problem.base.shape, "d")))


def _policy(access: Comparisons, problem: Problem, params: Params) -> Result:
    r, _, gap = worst_reward(problem)
    if math.isinf(problem.hi) and gap > TOLERANCE:
        raise MdpkitError("data", f"such that {STEPS} Newton steps reach the minimiser", None, came=f"slope {gap:.3g}")
    return Result(np.exp(losses.gibbs(problem.log_ref, r, problem.beta)), None, params, access.samples)


def _bounded_below(problem: Problem) -> None:
    """Paper: silent about it. Along a direction that no loss and no SFT term resists there is no minimiser."""
    beats, first = problem.W > 0, np.zeros(problem.base.shape, np.bool_)
    first[:, 0] = True
    for ahead, reached in ((beats, problem.base > 0),) if problem.eta > 0 else (
            (beats, first), (beats.transpose(0, 2, 1), first)):
        for _ in range(beats.shape[1]):
            reached = reached | (ahead & reached[:, None]).any(2)
        if not reached.all():
            raise MdpkitError("data", "such that the loss has a minimiser", None, "give pi_base full support",
                              came=f"at {np.argwhere(~reached)[0].tolist()} pi may go to 0 or 1 for free")


def _curve_body(W, phi, log_ref, weight, base, settings, theta, g, H):
    """The objective of line 2 at theta, V times settings[3], with its gradient g and its Hessian H."""
    (X, Y, d), beta, on, total = phi.shape, settings[0], settings[3], 0.0
    r, logits, log_pi, push, bend = np.empty(Y), np.empty((1, Y)), np.empty((1, Y)), np.empty(Y), np.empty((Y, Y))
    for j in range(d):
        g[j] = 0.0
        for k in range(d):
            H[j, k] = 0.0
    for x in range(X):
        for y in range(Y):
            r[y] = 0.0
            for j in range(d):
                r[y] += phi[x, y, j] * theta[j]
            logits[0, y] = log_ref[x, y] + r[y] / beta
        normalise(logits, log_pi)
        total += on * weight[x] * beta * (logits[0, 0] - log_pi[0, 0])                  # 2
        for y in range(Y):
            p = math.exp(log_pi[0, y])
            push[y] = weight[x] * (on * p - base[x, y])
            total -= weight[x] * base[x, y] * r[y]                                      # 2
            for z in range(Y):
                bend[y, z] = on * weight[x] / beta * p * ((1.0 if y == z else 0.0) - math.exp(log_pi[0, z]))
        for w in range(Y):
            for l in range(Y):
                if W[x, w, l] > 0.0:
                    h, s = r[w] - r[l], plain_sigmoid(r[l] - r[w])
                    total += W[x, w, l] * (max(-h, 0.0) + math.log(1.0 + math.exp(-abs(h))))      # 1
                    for y, z, sign in ((w, l, -1.0), (l, w, 1.0)):
                        push[y] += sign * W[x, w, l] * s
                        bend[y, y] += W[x, w, l] * s * (1.0 - s)
                        bend[y, z] -= W[x, w, l] * s * (1.0 - s)
        for y in range(Y):
            for j in range(d):
                g[j] += phi[x, y, j] * push[y]
                for z in range(Y if phi[x, y, j] != 0.0 else 0):
                    for k in range(d):
                        H[j, k] += phi[x, y, j] * bend[y, z] * phi[x, z, k]
    return total


def _direction_body(H, g, free, step):
    """step = -H^-1 g on the free coordinates, 0 on others. Cholesky, in place; tiny pivots are raised."""
    d, floor = len(g), 1e-16
    for j in range(d):
        floor += 1e-14 / d * H[j, j]
    for j in range(d):
        step[j] = -g[j] if free[j] else 0.0
        for k in range(j + 1):
            if not (free[j] and free[k]):
                H[j, k] = 1.0 if j == k else 0.0
            for i in range(k):
                H[j, k] -= H[j, i] * H[k, i]
            H[j, k] = math.sqrt(max(H[j, j], floor)) if j == k else H[j, k] / H[k, k]
        for k in range(j):
            step[j] -= H[j, k] * step[k]
        step[j] /= H[j, j]
    for j in range(d - 1, -1, -1):
        for k in range(j + 1, d):
            step[j] -= H[k, j] * step[k]
        step[j] /= H[j, j]


def _newton_body(W, phi, log_ref, weight, base, settings, theta):
    """Moves theta to the minimiser; ``settings``: beta, lo, hi, and 0 where V is left out. Returns how far the linear
    function of its gradient falls in the box, hence at most the value; without a box, the largest slope."""
    d, lo, hi, last, gap = len(theta), settings[1], settings[2], math.inf, math.inf
    g, H, step, trial, free = np.empty(d), np.empty((d, d)), np.empty(d), np.empty(d), np.empty(d, np.bool_)
    value = _curve(W, phi, log_ref, weight, base, settings, theta, g, H)
    for _ in range(STEPS):
        gap, fall, t = 0.0, 0.0, 1.0
        before = g.copy()
        for j in range(d):
            end = lo if g[j] > 0.0 else hi
            gap = max(gap, abs(g[j])) if math.isinf(end) else gap + g[j] * (theta[j] - end)
            free[j] = theta[j] != end
        _direction(H, g, free, step)                                                    # 5
        for j in range(d):
            fall -= g[j] * step[j]
        if fall <= 1e-26 or (fall <= 1e-18 and fall >= last):
            break
        for _ in range(60):
            wanted = 0.0
            for j in range(d):
                trial[j] = min(max(theta[j] + t * step[j], lo), hi)
                wanted += 1e-4 * before[j] * (trial[j] - theta[j])
            new = _curve(W, phi, log_ref, weight, base, settings, trial, g, H)
            if new <= value + min(wanted, 0.0) + 1e-15 * (1.0 + abs(value)):
                break
            t /= 2.0                                                                    # 5
        value, last = new, fall
        for j in range(d):
            theta[j] = trial[j]
    return gap


_curve = kernel(_curve_body)
_direction = kernel(_direction_body)
_newton = kernel(_newton_body)
