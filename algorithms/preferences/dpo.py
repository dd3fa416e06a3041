"""DPO: the policy that explains logged comparisons best, as if its log-ratios to the reference were rewards.

Prompts x ~ rho, responses y in 0..Y-1, pi_ref (X, Y) of full support and beta > 0 known;
J(pi) = sum_x rho {E_pi r - beta KL(pi || pi_ref)}. Comparisons are weights W (X, Y, Y) of mass 1, W[x, w, l] the share
in which w was shown with l and won: counts of a sample, or masses of a population, whose labels are Bradley-Terry,
P(w beats l | x) = sigma(r(x, w) - r(x, l)). The class is every policy, or the log-linear one,
pi_theta proportional to pi_ref exp(<phi(x, y), theta>/beta), phi (X, Y, d).

    1  rhat(x, y) = beta log(pi(y|x)/pi_ref(y|x)), the implicit reward; start from rhat = 0, which is pi_ref
    2  L = sum W[x, w, l] softplus(-h), h = rhat(x, w) - rhat(x, l): the normaliser of pi cancels in h
    3  g = -sum W sigma(-h) D, H = sum W sigma(h) sigma(-h) D D', with D = e_w - e_l (of one prompt), or phi_w - phi_l
    4  until max |g| <= tol: solve H p = g and move by -p, cut where it would change some h by more than 1
    5  return pi proportional to pi_ref exp(rhat/beta)

A step of line 4 never raises L, since the curvature of softplus changes by a factor e at most within a distance of 1.
Two-stage RLHF, by another way to the same fit (`run_rlhf`):

    6  r = 0; sweep: for each x, y: a Newton step in r(x, y) on the Bradley-Terry likelihood, of size 1 at most,
       wherever the derivative exceeds tol, until none does
    7  return pi proportional to pi_ref exp(r/beta), the maximiser of J for that reward (`closed_form`)

Guarantees (Theorem 1, with Lemmas 1 and 2: rewards that differ by f(x) alone have the same preferences and the same
optimum, and each class of them holds exactly one reward beta log(pi/pi_ref), pi its optimum). Derived from it: where
the graph of compared pairs connects the responses of each prompt, the population loss has the one minimiser
pi* ~ pi_ref exp(r/beta); from N comparisons N E[J(pi*) - J(pi_DPO)] tends to `asymptotic_gap`, which is exact, so the
rate 1/N is tight. Where the graph falls apart the loss says nothing about J: the fit from pi_ref then leaves the mean
of rhat on each component as it was. Where a response won all its comparisons there is no minimiser: |h| grows to
about log(1/tol). Statements are quoted from memory; their wording was not at hand.

Rafailov, Sharma, Mitchell, Ermon, Manning, Finn. Direct Preference Optimization: Your Language Model is Secretly a
Reward Model. NeurIPS 2023, arXiv 2305.18290.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from mdpkit import losses, validate
from mdpkit.access import Comparisons, Exact
from mdpkit.data import compare
from mdpkit.errors import MdpkitError
from mdpkit.instances.preferences import two_prompts
from mdpkit.jit import kernel
from mdpkit.losses import plain_sigmoid
from mdpkit.records import Pairs, Paper, Result

PAPER = Paper(
    "dpo", "Direct Preference Optimization: Your Language Model is Secretly a Reward Model",
    "Rafael Rafailov, Archit Sharma, Eric Mitchell, Stefano Ermon, Christopher D. Manning, Chelsea Finn",
    "NeurIPS 2023", "2305.18290", ("preferences", "offline", "tabular", "log-linear"),
    """@inproceedings{rafailov2023direct,
  title     = {Direct Preference Optimization: Your Language Model is Secretly a Reward Model},
  author    = {Rafailov, Rafael and Sharma, Archit and Mitchell, Eric and Ermon, Stefano and Manning, Christopher D.
               and Finn, Chelsea},
  booktitle = {Advances in Neural Information Processing Systems},
  year      = {2023}
}""")
# Paper: stochastic gradients; here Newton, with H damped by a share of its largest entry, as it may be singular
DAMPING = 2.0**-20


@dataclass(frozen=True)
class Params:
    """The largest derivative of the loss that is left at the end, and after how many steps or sweeps to give up."""

    tol: float = 1e-10
    steps: int = 10_000


def theory() -> Params:
    """The theorem speaks of the minimiser and sets nothing: beta belongs to the objective."""
    return Params()


def run(access: Comparisons | Exact, data: Pairs, params: Params, rng: np.random.Generator) -> Result:
    """DPO over all policies.

    Parameters
    ----------
    access : Comparisons or Exact
        Asked for nothing but what is known: pi_ref and beta.
    data : Pairs
        A sample, or ``mdpkit.losses.population``.
    params : Params
    rng : numpy.random.Generator
        Not used.

    Returns
    -------
    Result
        ``output`` is pi (X, Y); there is no trace.

    Raises
    ------
    MdpkitError
        ``params.steps`` do not bring the derivatives below ``params.tol``.
    """
    W, log_ref, beta = _given(access, data, params, rng)
    rhat, table = np.zeros(log_ref.shape), np.eye(log_ref.shape[1])[None]
    for x in range(len(W)):
        _ended(_newton(W[x:x + 1], table, rhat[x], params.tol, params.steps), params)
    return _gibbs(log_ref, rhat, beta, params, access)


def run_linear(access: Comparisons | Exact, data: Pairs, params: Params, rng: np.random.Generator) -> Result:
    """DPO in the log-linear class. Needs ``known.phi`` (X, Y, d). Else as `run`."""
    W, log_ref, beta = _given(access, data, params, rng)
    phi = validate.array("access.known.phi", access.known.phi, (*log_ref.shape, "d"))
    theta = np.zeros(phi.shape[2])
    _ended(_newton(W, phi.copy(), theta, params.tol, params.steps), params)   # writable, as the table: one version
    return _gibbs(log_ref, np.einsum("xyd,d->xy", phi, theta), beta, params, access)


def run_rlhf(access: Comparisons | Exact, data: Pairs, params: Params, rng: np.random.Generator) -> Result:
    """Two-stage RLHF: the most likely reward, then the closed form. As `run`."""
    W, log_ref, beta = _given(access, data, params, rng)
    r = np.zeros(log_ref.shape)
    _ended(_sweeps(W, r, params.tol, params.steps), params)
    return _gibbs(log_ref, r, beta, params, access)                                     # 7


def loss(W: np.ndarray, log_pi: np.ndarray, log_ref: np.ndarray, beta: float) -> tuple[float, np.ndarray]:
    """The DPO loss, and its gradient in the logits of pi (in log_pi, as if it were free).

    In the log-linear class the gradient in theta is the sum of that times phi(x, y)/beta.

    Parameters
    ----------
    W : array (X, Y, Y)
        Mass of "w beat l".
    log_pi, log_ref : arrays (X, Y)
    beta : float, > 0
    """
    value, g = losses.pairwise(W, losses.implicit_reward(log_pi, log_ref, beta))        # 1, 2
    return value, beta * g


def closed_form(r: np.ndarray, log_ref: np.ndarray, beta: float) -> tuple[np.ndarray, np.ndarray]:
    """log pi* (X, Y) and log Z (X,): pi* = pi_ref exp(r/beta)/Z, for rewards (X, Y) of any size."""
    tilted = log_ref + r / beta
    log_Z = losses.log_sum_exp(tilted)
    return tilted - log_Z[:, None], log_Z


def suboptimality(log_pi: np.ndarray, r: np.ndarray, log_ref: np.ndarray, beta: float, rho: np.ndarray) -> float:
    """J(pi*) - J(pi) = beta sum_x rho KL(pi || pi*), without the cancellation of taking one J from another."""
    best = closed_form(r, log_ref, beta)[0]
    return beta * float(np.einsum("x,xy,xy->", rho, np.exp(log_pi), log_pi - best))


def canonical_reward(r: np.ndarray, log_ref: np.ndarray, beta: float) -> np.ndarray:
    """The one reward r + f(x) that is beta log(pi/pi_ref) of a policy: r - beta log Z(x), (X, Y)."""
    return r - beta * closed_form(r, log_ref, beta)[1][:, None]


def asymptotic_gap(r: np.ndarray, log_ref: np.ndarray, beta: float, rho: np.ndarray, mu: np.ndarray) -> float:
    """The limit of N E[J(pi*) - J(pi_DPO)] over N comparisons of pairs drawn from mu, over all policies.

    The sum over x of rho trace(S pinv(H))/(2 beta), with S = diag(pi*) - pi* pi*' and H the expected Hessian of the
    loss in the scores of prompt x: the gap is beta KL, half beta times the variance of (rhat - r)/beta under pi*, and
    rhat - r tends to a normal law of covariance pinv(H)/N.

    Parameters
    ----------
    r, log_ref : arrays (X, Y)
    beta : float, > 0
    rho : array (X,)
    mu : array (X, Y, Y)
        Law of what is shown, prompts included, 0 on y = y'; it must connect the responses of each prompt.
    """
    pi, total = np.exp(closed_form(r, log_ref, beta)[0]), 0.0
    h = losses.margins(r)
    curved = (mu + mu.transpose(0, 2, 1)) * losses.sigmoid(h) * losses.sigmoid(-h)
    for x in range(len(r)):
        H = np.diag(curved[x].sum(1)) - curved[x]
        S = np.diag(pi[x]) - np.outer(pi[x], pi[x])
        total += float(rho[x] * np.trace(S @ np.linalg.pinv(H, hermitian=True)))
    return total / (2 * beta)


def demo(rng: np.random.Generator) -> Result:
    """The fit to five hundred comparisons of two prompts with four responses."""
    model = two_prompts()
    data = compare(model, np.full((2, 4, 4), 1 / 12) * (1 - np.eye(4)), 500, rng)
    return run(Comparisons(model, rng), data, theory(), rng)


def _given(access: Any, data: Pairs, params: Params, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, float]:
    known = validate.instance("access", access, (Comparisons, Exact)).known
    validate.instance("params", params, Params)
    validate.generator("rng", rng)
    validate.interval("params.tol", params.tol, 0.0, 1.0, open_lo=True)
    validate.count("params.steps", params.steps)
    return losses.weights(data, *known.pi_ref.shape), np.log(known.pi_ref), known.beta


def _ended(left: float, params: Params) -> None:
    if not left <= params.tol:
        raise MdpkitError("params.steps", f"enough to bring the derivatives below {params.tol:g}", params.steps,
                          came=f"{left:g} is left")


def _gibbs(log_ref: np.ndarray, r: np.ndarray, beta: float, params: Params, access: Any) -> Result:
    return Result(np.exp(closed_form(r, log_ref, beta)[0]), None, params, getattr(access, "samples", {}))      # 5


def _newton_body(W, phi, theta, tol, steps):
    """Lines 3 and 4 from ``theta`` (d,), which moves. Returns the largest derivative that is left."""
    X, Y, d = phi.shape
    s, g, D, p, H = np.empty((X, Y)), np.empty(d), np.empty(d), np.empty(d), np.empty((d, d))
    for k in range(steps + 1):
        for j in range(d):
            g[j] = 0.0
            for i in range(d):
                H[j, i] = 0.0
        for x in range(X):
            for y in range(Y):
                s[x, y] = 0.0
                for j in range(d):
                    s[x, y] += phi[x, y, j] * theta[j]                                 # 2
        for x in range(X):
            for w in range(Y):
                for l in range(Y):
                    if W[x, w, l] > 0.0:
                        up = plain_sigmoid(s[x, l] - s[x, w])
                        for j in range(d):
                            D[j] = phi[x, w, j] - phi[x, l, j]
                        for j in range(d):
                            g[j] -= W[x, w, l] * up * D[j]                             # 3
                            for i in range(j + 1):
                                H[j, i] += W[x, w, l] * up * (1.0 - up) * D[j] * D[i]  # 3
        left = 0.0
        for j in range(d):
            left = max(left, abs(g[j]))
        if left <= tol or k == steps:
            break
        _solve(H, g, p)                                                                # 4
        far = 1.0
        for x in range(X):
            for y in range(Y):
                s[x, y] = 0.0
                for j in range(d):
                    s[x, y] += phi[x, y, j] * p[j]
            for w in range(Y):
                for l in range(Y):
                    if W[x, w, l] > 0.0:
                        far = max(far, abs(s[x, w] - s[x, l]))
        for j in range(d):
            theta[j] -= p[j] / far                                                     # 4
    return left


def _solve_body(H, g, p):
    """p with (H + damping) p = g by Cholesky, from the lower triangle of H, which is overwritten."""
    d, top = len(g), 0.0
    for j in range(d):
        top = max(top, H[j, j])
    for j in range(d):
        H[j, j] += DAMPING * top
        for i in range(j + 1):
            for k in range(i):
                H[j, i] -= H[j, k] * H[i, k]
            H[j, i] = math.sqrt(H[j, j]) if i == j else H[j, i] / H[i, i]
    for j in range(d):
        p[j] = g[j]
        for k in range(j):
            p[j] -= H[j, k] * p[k]
        p[j] /= H[j, j]
    for j in range(d - 1, -1, -1):
        for k in range(j + 1, d):
            p[j] -= H[k, j] * p[k]
        p[j] /= H[j, j]


def _sweeps_body(W, r, tol, steps):
    """Line 6 from ``r`` (X, Y), which moves. Returns the largest derivative that a last look finds."""
    X, Y = r.shape
    for k in range(steps + 1):
        left = 0.0
        for x in range(X):
            for y in range(Y):
                g, h = 0.0, 0.0
                for z in range(Y):
                    up = plain_sigmoid(r[x, z] - r[x, y])
                    g += W[x, z, y] * (1.0 - up) - W[x, y, z] * up
                    h += (W[x, y, z] + W[x, z, y]) * up * (1.0 - up)
                left = max(left, abs(g))
                if abs(g) > tol and h > 0.0 and k < steps:
                    r[x, y] -= min(max(g / h, -1.0), 1.0)                              # 6
        if left <= tol:
            break
    return left


_solve = kernel(_solve_body)
_newton = kernel(_newton_body)
_sweeps = kernel(_sweeps_body)
