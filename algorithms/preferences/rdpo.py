"""Robust DPO: comparisons whose labels were flipped at a known rate, and a loss that is not biased by it.

Prompts x ~ rho, responses y in 0..Y-1, pi_ref (X, Y) of full support, beta > 0 and features phi (X, Y, d) known;
pi_theta is proportional to pi_ref exp(<phi(x, y), theta>), theta counted from that of pi_ref, so that the margin of a
comparison is h = beta <phi_w - phi_l, theta>. Clean labels are Bradley-Terry in the margins of theta*; each label is
flipped independently with probability eps in [0, 1/2). W (X, Y, Y) of mass 1 holds the share of "w beat l" as logged.

    1  L = sum W[x, w, l] {a softplus(-h) + b softplus(h)} + ridge |theta|^2/2, where
           a = (1 - eps)/(1 - 2 eps), b = -eps/(1 - 2 eps)      robust DPO
           a = 1, b = 0                                         DPO (`run_dpo`)
           a = 1 - eps, b = eps                                 conservative DPO, label smoothing (`run_conservative`)
    2  or the likelihood of noisy labels, -log((1 - eps) sigma(h) + eps sigma(-h)), in its place (`run_mle`)
    3  g = sum W slope(h) D + ridge theta, H = sum W curvature(h) D D' + ridge, D = beta (phi_w - phi_l); the curvature
       in line 1 is sigma(h) sigma(-h), for all a and b with a + b = 1; in line 2 what is expected of a label (scoring)
    4  from theta = 0, until max |g| <= tol: solve H p = g and move by -p, cut where some h would change by more than 1
    5  return theta and pi_theta

The robust loss is convex though b < 0. It has no minimiser where the log shows a pair more clearly than labels of that
noise could; a ridge, or the ball |theta| <= B of the theorem (`run_ball`, ridge as its multiplier), gives it one.

Guarantees (Lemma 3.1: given the clean label the noisy robust loss has the clean DPO loss as its mean; Theorem 4.2 and
after: with |theta|, |phi| bounded and E_ref[D D'] of least eigenvalue > 0 the error in theta and the sub-optimality
are O(sqrt(d/n)/(1 - 2 eps)); numbers recalled, the rate as in the abstract). Checked is a sharper derived form: for N
labels N E|theta_hat - theta*|^2 tends to `asymptotic_error`, V(eps), and (1 - 2 eps)^2 V(eps) stays between two
constants free of eps: the rate is tight, and V(eps) is not, but near, the least that any estimator could have.

Ray Chowdhury, Kini, Natarajan. Provably Robust DPO: Aligning Language Models with Noisy Feedback. ICML 2024,
arXiv 2403.00409.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from mdpkit import losses, validate
from mdpkit.access import Comparisons
from mdpkit.data import compare
from mdpkit.errors import MdpkitError
from mdpkit.instances.preferences import flipped
from mdpkit.jit import kernel
from mdpkit.losses import plain_sigmoid
from mdpkit.models.preferences import PreferenceModel
from mdpkit.records import Pairs, Paper, Result

PAPER = Paper(
    "rdpo", "Provably Robust DPO: Aligning Language Models with Noisy Feedback",
    "Sayak Ray Chowdhury, Anush Kini, Nagarajan Natarajan", "ICML 2024", "2403.00409",
    ("preferences", "offline", "noise", "log-linear"),
    """@inproceedings{raychowdhury2024provably,
  title     = {Provably Robust {DPO}: Aligning Language Models with Noisy Feedback},
  author    = {Ray Chowdhury, Sayak and Kini, Anush and Natarajan, Nagarajan},
  booktitle = {International Conference on Machine Learning},
  year      = {2024}
}""")
# Paper: theta - theta_ref for theta, and stochastic gradients; here Newton, with H damped, as it may be singular
DAMPING = 2.0**-20


@dataclass(frozen=True)
class Params:
    """The rate eps of flips, a ridge, the bound B on |theta| (`run_ball`); when to stop, and to give up."""

    eps: float
    ridge: float = 0.0
    B: float = math.inf
    tol: float = 1e-10
    steps: int = 1000


class Fit(NamedTuple):
    """theta (d,), counted from pi_ref's, and pi_theta (X, Y)."""

    theta: np.ndarray
    pi: np.ndarray


def theory(eps: float, B: float | None = None) -> Params:
    """The true rate of flips, and the ball that is known to hold theta*, if any is."""
    validate.interval("eps", eps, 0.0, 0.5, open_hi=True)
    return Params(eps, B=math.inf if B is None else validate.interval("B", B, 0.0, math.inf))


def run(access: Comparisons, data: Pairs, params: Params, rng: np.random.Generator) -> Result:
    """Robust DPO.

    Parameters
    ----------
    access : Comparisons
        Asked for nothing but what is known: pi_ref, beta, and ``known.phi`` (X, Y, d).
    data : Pairs
        Noisy labels: a sample, or ``mdpkit.losses.population`` of the flipped model.
    params : Params
    rng : numpy.random.Generator
        Not used.

    Returns
    -------
    Result
        ``output`` is a `Fit`; there is no trace.

    Raises
    ------
    MdpkitError
        ``params.steps`` do not bring the derivatives below ``params.tol``: there may be no minimiser.
    """
    return _fit(access, data, params, *robust(_eps(params)), params.eps, rng)


def run_ball(access: Comparisons, data: Pairs, params: Params, rng: np.random.Generator) -> Result:
    """Robust DPO over |theta| <= params.B, a finite bound: `run`, or its ridge raised until |theta| = B, to 2**-40.

    params.ridge must be positive: it is the least that is tried. Its params tell the ridge that was taken.
    """
    validate.interval("params.B", params.B, 0.0, 1e300, open_lo=True)
    validate.interval("params.ridge", params.ridge, 0.0, math.inf, open_lo=True)
    low, high, best = math.log(params.ridge), math.log(params.ridge), run(access, data, params, rng)
    while np.einsum("d,d->", best.output.theta, best.output.theta) > params.B * params.B:
        low, high = high, high + 2.0
        best = run(access, data, replace(params, ridge=math.exp(high)), rng)
    for _ in range(40 if high > low else 0):
        middle = (low + high) / 2
        tried = run(access, data, replace(params, ridge=math.exp(middle)), rng)
        inside = np.einsum("d,d->", tried.output.theta, tried.output.theta) <= params.B * params.B
        low, high, best = (low, middle, tried) if inside else (middle, high, best)
    return best


def run_dpo(access: Comparisons, data: Pairs, params: Params, rng: np.random.Generator) -> Result:
    """DPO, which takes labels as they are. As `run`."""
    return _fit(access, data, params, 1.0, 0.0, params.eps, rng)


def run_conservative(access: Comparisons, data: Pairs, params: Params, rng: np.random.Generator) -> Result:
    """Conservative DPO: labels smoothed by eps, on top of the noise. As `run`."""
    return _fit(access, data, params, 1.0 - params.eps, params.eps, params.eps, rng)


def run_mle(access: Comparisons, data: Pairs, params: Params, rng: np.random.Generator) -> Result:
    """The most likely theta given noisy labels, by scoring: not convex, a stationary point. As `run`."""
    return _fit(access, data, params, 0.0, 0.0, params.eps, rng)


def robust(eps: float) -> tuple[float, float]:
    """a and b of line 1."""
    return (1.0 - eps) / (1.0 - 2.0 * eps), -eps / (1.0 - 2.0 * eps)


def loss(W: np.ndarray, log_pi: np.ndarray, log_ref: np.ndarray, beta: float, eps: float) -> tuple[float, np.ndarray]:
    """The robust loss without ridge, and its gradient in the logits of pi.

    Parameters
    ----------
    W : array (X, Y, Y)
        Mass of "w beat l", as logged.
    log_pi, log_ref : arrays (X, Y)
    beta : float, > 0
    eps : float in [0, 1/2)
    """
    q = robust(validate.interval("eps", eps, 0.0, 0.5, open_hi=True))[0]
    value, g = losses.pairwise(W, losses.implicit_reward(log_pi, log_ref, beta), lambda h: losses.logistic(h, q))   # 1
    return value, beta * g


def pair_limit(h: float, eps: float, a: float, b: float) -> float:
    """The margin to which line 1 takes a single pair of clean margin h: logit of a q + b (1 - q), a + b = 1.

    q = (1 - eps) sigma(h) + eps sigma(-h). That is h for the robust a and b; DPO and conservative DPO shrink it.
    """
    up, down = (float(losses.sigmoid(x)) for x in (h, -h))
    q, other = (1 - eps) * up + eps * down, (1 - eps) * down + eps * up
    return math.log(a * q + b * other) - math.log(a * other + b * q)


def asymptotic_error(phi: np.ndarray, theta: np.ndarray, beta: float, mu: np.ndarray, eps: float) -> float:
    """V(eps), the limit of N E|theta_hat - theta*|^2: tr(H^-1 G H^-1)/(1 - 2 eps)^2.

    H = E[s (1 - s) D D'], G = E[q (1 - q) D D'], s and q the chances of a clean and of a noisy label; the slope of the
    robust loss has variance q (1 - q)/(1 - 2 eps)^2 at theta*.

    Parameters
    ----------
    phi : array (X, Y, d)
    theta : array (d,)
        theta*, from pi_ref.
    beta : float, > 0
    mu : array (X, Y, Y)
        Law of what is shown, prompts included; H must be invertible.
    eps : float in [0, 1/2)
    """
    H, G, _ = _moments(phi, theta, beta, mu, eps)
    inverse = np.linalg.inv(H)
    return float(np.trace(inverse @ G @ inverse)) / (1 - 2 * eps) ** 2


def information_bound(phi: np.ndarray, theta: np.ndarray, beta: float, mu: np.ndarray, eps: float) -> float:
    """tr(I^-1), I = E[(1 - 2 eps)^2 s^2 (1 - s)^2/(q (1 - q)) D D'], the limit for `run_mle`; as `asymptotic_error`."""
    return float(np.trace(np.linalg.inv(_moments(phi, theta, beta, mu, eps)[2])))


def demo(rng: np.random.Generator) -> Result:
    """Four responses with two features, three hundred labels of which a tenth is flipped."""
    phi = np.array([[[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.5, -0.5]]])
    clean = PreferenceModel.bradley_terry(np.einsum("xyd,d->xy", phi, [0.5, -0.5]), [1.0], np.full((1, 4), 0.25), 1.0)
    data = compare(flipped(clean, 0.1), np.full((1, 4, 4), 1 / 12) * (1 - np.eye(4)), 300, rng)
    return run(Comparisons(clean, rng, bounds={"phi": phi}), data, Params(0.1, ridge=1e-3), rng)


def _moments(phi: np.ndarray, theta: np.ndarray, beta: float, mu: np.ndarray, eps: float) -> list[np.ndarray]:
    D = beta * (phi[:, :, None] - phi[:, None])
    h = np.einsum("xyzd,d->xyz", D, theta)
    v = losses.sigmoid(h) * losses.sigmoid(-h)
    noisy = (1 - 2 * eps) ** 2 * v + eps * (1 - eps)                     # q (1 - q), without cancellation
    return [np.einsum("xyz,xyzd,xyze->de", mu * w, D, D) for w in (v, noisy, (1 - 2 * eps) ** 2 * v * v / noisy)]


def _eps(params: Params) -> float:
    return validate.interval("params.eps", params.eps, 0.0, 0.5, open_hi=True)


def _fit(access: Comparisons, data: Pairs, params: Params, a: float, b: float, eps: float,
         rng: np.random.Generator) -> Result:
    known = validate.instance("access", access, Comparisons).known
    validate.instance("params", params, Params)
    validate.generator("rng", rng)
    _eps(params)
    validate.interval("params.ridge", params.ridge, 0.0, math.inf)
    validate.interval("params.tol", params.tol, 0.0, 1.0, open_lo=True)
    validate.count("params.steps", params.steps)
    W = losses.weights(data, *known.pi_ref.shape)
    phi = validate.array("access.known.phi", known.phi, (*known.pi_ref.shape, "d"))
    theta = np.zeros(phi.shape[2])
    left = _descend(W, known.beta * phi, np.array([a, b, eps, params.ridge, params.tol]), params.steps, theta)
    if not left <= params.tol:
        raise MdpkitError("params.steps", f"enough to bring the derivatives below {params.tol:g}", params.steps,
                          "a ridge gives every loss a minimiser", came=f"{left:g} is left")
    log_pi = losses.log_softmax(np.log(known.pi_ref) + np.einsum("xyd,d->xy", phi, theta))
    return Result(Fit(theta, np.exp(log_pi)), None, params, access.samples)            # 5


def _descend_body(W, phi, settings, steps, theta):
    """Lines 3 and 4 from ``theta`` (d,), which moves. ``settings``: a, b, eps, ridge, tol; a = 0: line 2.

    Returns the largest derivative that is left.
    """
    a, b, eps, ridge, tol = settings[0], settings[1], settings[2], settings[3], settings[4]
    X, Y, d = phi.shape
    g, D, p, H, left = np.empty(d), np.empty(d), np.empty(d), np.empty((d, d)), math.inf
    for k in range(steps + 1):
        top, far, left = 0.0, 1.0, 0.0
        for j in range(d):
            g[j] = ridge * theta[j]
            for i in range(d):
                H[j, i] = 0.0
        for x in range(X):
            for w in range(Y):
                for l in range(Y):
                    if W[x, w, l] > 0.0:
                        h = 0.0
                        for j in range(d):
                            D[j] = phi[x, w, j] - phi[x, l, j]
                            h += D[j] * theta[j]
                        down, up = plain_sigmoid(-h), plain_sigmoid(h)
                        slope, curve = b * up - a * down, up * down                    # 1
                        if a == 0.0:
                            q = (1.0 - eps) * up + eps * down
                            push = (1.0 - 2.0 * eps) * up * down
                            slope, curve = -push / q, push * push / (q * (1.0 - q))    # 2
                        for j in range(d):
                            g[j] += W[x, w, l] * slope * D[j]                          # 3
                            for i in range(d):
                                H[j, i] += W[x, w, l] * curve * D[j] * D[i]            # 3
        for j in range(d):
            left, top = max(left, abs(g[j])), max(top, H[j, j])
        if left <= tol or k == steps:
            break
        for j in range(d):
            H[j, j] += ridge + DAMPING * top
        _eliminate(H, g, p)                                                            # 4
        for x in range(X):
            for w in range(Y):
                for l in range(Y):
                    if W[x, w, l] > 0.0:
                        h = 0.0
                        for j in range(d):
                            h += (phi[x, w, j] - phi[x, l, j]) * p[j]
                        far = max(far, abs(h))
        for j in range(d):
            theta[j] -= p[j] / far                                                     # 4
    return left


def _eliminate_body(H, g, p):
    """p with H p = g for a positive definite H, which is overwritten."""
    d = len(g)
    for j in range(d):
        p[j] = g[j]
    for k in range(d):
        for i in range(k + 1, d):
            share = H[i, k] / H[k, k]
            for j in range(k + 1, d):
                H[i, j] -= share * H[k, j]
            p[i] -= share * p[k]
    for i in range(d - 1, -1, -1):
        for j in range(i + 1, d):
            p[i] -= H[i, j] * p[j]
        p[i] /= H[i, i]


_eliminate = kernel(_eliminate_body)
_descend = kernel(_descend_body)
