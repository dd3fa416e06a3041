"""How well a law nu over (s, a), or a reference policy, covers what policies do.

    concentrability                 max over policies pi and h, s, a of d_pi,h(s,a) / nu_h(s,a)
    single-policy concentrability   the same for one policy
    transfer coefficient            max(0, sup_x sum_h E_{d_pi,h} x_h / sqrt(sum_h E_{nu_h} x_h^2))
    relative condition number       max_h sup_x  x' Sigma_{d_pi,h} x / x' Sigma_{nu,h} x,   Sigma_nu = E_nu phi phi'
    KL-ball coverage                max of pi(y|x) / pi_ref(y|x) over all pi with E_x KL(pi || pi_ref) <= radius

A coefficient is math.inf, and never a large number, when nu gives no mass where the policy goes, which is decided on
supports (`mdpkit.measure.occupancy.support`). With features the question is whether a vector lies in the span of the
features that nu covers, and the rank test is this: singular values of those features (unweighted, so that small
nu does not matter) below 2**-26 of the largest count as zero, and a vector is outside the span when its distance
from it exceeds d * 2**-26 times the largest norm of a feature. 2**-26, the square root of the float unit, is where the
error of the computed span meets what is cut off.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from mdpkit import validate
from mdpkit.measure.divergences import laws, relative_entropy
from mdpkit.measure.inputs import Framed, axes, frame, law, law_over_pairs
from mdpkit.measure.occupancy import occupancy, pair_reachability, support

RANK = 2.0**-26


def concentrability(model: Any, nu: Any) -> float:
    """max over policies, steps, states and actions of d_pi(s,a) / nu(s,a); math.inf without coverage.

    Parameters
    ----------
    model
        As in `mdpkit.measure.values`; discounted ones have the normalised occupancy (an MDP solved for each pair).
    nu : array (H, S, A), one law a step, or (S, A)
        Bandits: (X, A) or (A,).

    Raises
    ------
    MdpkitError
        No Markov model, or nu is no law over its pairs.
    """
    model = frame(model)
    nu = law_over_pairs(model, nu)
    return _largest_ratio(pair_reachability(model), nu, support(model))


def single_policy_concentrability(model: Any, policy: Any, nu: Any) -> float:
    """max over steps, states and actions of d_pi(s,a) / nu(s,a); math.inf without coverage.

    Parameters and errors as in `concentrability`; ``policy`` as in `mdpkit.measure.values`.
    """
    model = frame(model)
    nu = law_over_pairs(model, nu)
    return _largest_ratio(occupancy(model, policy), nu, support(model, policy))


def transfer_coefficient(model: Any, policy: Any, nu: Any, phi: Any = None) -> float:
    """The transfer coefficient of Song et al. (2023, hybrid Q-learning) in closed form; math.inf without coverage.

    All functions of (s, a): sqrt(sum_h sum_{s,a} d_h(s,a)^2 / nu_h(s,a)). Linear ones, x_h = <phi, w_h> with w_h free:
    sqrt(sum_h mu_h' Sigma_h^+ mu_h) with mu_h = E_{d_h} phi, infinite unless each mu_h lies in the range of Sigma_h.

    Parameters
    ----------
    phi : array (S, A, d) or (H, S, A, d), optional
        Features; none means all functions.
    model, policy, nu
        As in `single_policy_concentrability`.

    Raises
    ------
    MdpkitError
        As in `single_policy_concentrability`, or features of another shape.
    """
    model = frame(model)
    nu = law_over_pairs(model, nu)
    d = occupancy(model, policy)
    if phi is None:
        goes = support(model, policy)
        if (goes & (nu == 0)).any():
            return math.inf
        return math.sqrt(float((_ratio(d, nu) * d)[goes].sum()))
    total = 0.0
    for features, d_h, nu_h in _by_step(model, phi, d, nu):
        basis, R, scale = _covered(features, nu_h)
        mu = d_h @ features
        if np.linalg.norm(mu - basis @ (basis.T @ mu)) > len(mu) * RANK * scale:
            return math.inf
        z = np.linalg.solve(R.T, basis.T @ mu)
        total += float(z @ z)
    return math.sqrt(total)


def relative_condition_number(model: Any, policy: Any, nu: Any, phi: Any, *, uniform_actions: bool = False) -> float:
    """max_h sup_x x' Sigma_{d,h} x / x' Sigma_{nu,h} x, the largest generalised eigenvalue; math.inf without coverage.

    Parameters
    ----------
    uniform_actions : bool
        Let d be the policy's state occupancy with uniform actions, as Agarwal, Kakade, Lee and Mahajan (2021) do for
        log-linear policies, instead of its occupancy of pairs.
    model, policy, nu, phi
        As in `transfer_coefficient`.

    Raises
    ------
    MdpkitError
        As in `transfer_coefficient`.
    """
    model = frame(model)
    nu = law_over_pairs(model, nu)
    d, goes = occupancy(model, policy), support(model, policy)
    if uniform_actions:
        d = np.repeat(d.sum(-1, keepdims=True) / d.shape[-1], d.shape[-1], -1)
        goes = np.repeat(goes.any(-1, keepdims=True), d.shape[-1], -1)
    worst = 0.0
    for features, d_h, nu_h, goes_h in _by_step(model, phi, d, nu, goes):
        basis, R, scale = _covered(features, nu_h)
        seen = features[goes_h > 0]
        if (np.linalg.norm(seen - seen @ basis @ basis.T, axis=1) > features.shape[1] * RANK * scale).any():
            return math.inf
        if basis.shape[1]:
            white = np.linalg.solve(R.T, (np.sqrt(d_h)[:, None] * features @ basis).T)
            worst = max(worst, float(np.linalg.norm(white, 2)) ** 2)
    return worst


def density_ratio(pi: Any, pi_ref: Any) -> float:
    """max pi(y|x) / pi_ref(y|x) over x and y; math.inf where pi_ref = 0 < pi.

    Parameters
    ----------
    pi, pi_ref : array (..., Y)
        Laws over the last axis; leading axes broadcast.

    Raises
    ------
    MdpkitError
        No laws, or shapes that do not fit.
    """
    p, q = laws(pi, pi_ref, ("pi", "pi_ref"))
    p, q = np.broadcast_arrays(p, q)
    return _largest_ratio(p, q, p > 0)


def global_coverage(pi_ref: Any) -> float:
    """max over all policies of their `density_ratio`, 1 / min pi_ref; math.inf where pi_ref has a zero.

    Parameters
    ----------
    pi_ref : array (Y,) or (X, Y)
        Reference policy, of one prompt or several.

    Raises
    ------
    MdpkitError
        No laws.
    """
    q = law("pi_ref", pi_ref, ("X", "Y") if axes(pi_ref) == 2 else ("Y",))
    return _largest_ratio(np.ones(q.shape), q, np.ones(q.shape, np.bool_))


def kl_ball_coverage(pi_ref: Any, rho: Any, radius: float) -> float:
    """max of pi(y|x) / pi_ref(y|x) over y, x with rho(x) > 0 and all pi with E_x KL(pi || pi_ref) <= radius.

    The local coverage of Song et al. (2024, the importance of online data). The maximiser spends the radius on one
    prompt and one response: p_y / pi_ref(y), where p_y >= pi_ref(y) is the root of kl(p_y || pi_ref(y)) =
    radius / rho(x), binary, or 1 where that is at least -log pi_ref(y). Responses with pi_ref = 0 are in no ball.

    Parameters
    ----------
    pi_ref : array (Y,) or (X, Y)
        Reference policy, of one prompt or several.
    rho : array (X,)
        Law of the prompts; ``[1.0]`` for one.
    radius : float
        >= 0, in nats.

    Raises
    ------
    MdpkitError
        No laws, or a negative radius.
    """
    q = np.atleast_2d(law("pi_ref", pi_ref, ("X", "Y") if axes(pi_ref) == 2 else ("Y",)))
    weight = law("rho", rho, (len(q),))[:, None]
    e = validate.interval("radius", radius, 0.0, math.inf)
    q, weight = (np.broadcast_to(part, q.shape)[(weight > 0) & (q > 0)] for part in (q, weight))
    with np.errstate(over="ignore"):
        return float(np.max(_ball_edge(np.minimum(q, 1.0), e / weight) / q))


def _ball_edge(q: np.ndarray, e: np.ndarray) -> np.ndarray:
    """The largest p with kl(p || q) <= e, binary, by bisection to the last bit."""
    lo, hi = q.copy(), np.ones(q.shape)
    while True:
        mid = lo + (hi - lo) / 2
        open_ = (lo < mid) & (mid < hi)
        if not open_.any():
            return np.where(-np.log(q) <= e, 1.0, lo)
        inside = relative_entropy(np.stack([mid, 1.0 - mid], -1), np.stack([q, 1.0 - q], -1)) <= e
        lo, hi = np.where(open_ & inside, mid, lo), np.where(open_ & ~inside, mid, hi)


def _largest_ratio(d: np.ndarray, nu: np.ndarray, goes: np.ndarray) -> float:
    if (goes & (nu == 0)).any():
        return math.inf
    return float(_ratio(d, nu)[goes].max())


def _ratio(d: np.ndarray, nu: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):           # a quotient above 1.8e308 is infinite for our purposes
        return np.divide(d, nu, out=np.zeros(d.shape), where=nu > 0)


def _by_step(model: Framed, phi: Any, *tables: np.ndarray) -> Iterator[tuple[np.ndarray, ...]]:
    """Features (S*A, d) and each table (S*A,), step by step; a discounted model has one."""
    shape = model.base.r.shape
    given = axes(phi)
    phi = validate.array("phi", phi, (*(shape if given == len(shape) + 1 else shape[-2:]), "d"))
    features = np.broadcast_to(phi, (*shape, phi.shape[-1])).reshape(-1, shape[-2] * shape[-1], phi.shape[-1])
    return zip(features, *(t.reshape(len(features), -1) for t in tables))


def _covered(features: np.ndarray, nu: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """A basis (d, k) of the span of the features that nu covers, R with R'R = basis' Sigma_nu basis, the scale."""
    seen = nu > 0
    _, size, right = np.linalg.svd(features[seen], full_matrices=False)
    basis = right[size > RANK * size[0]].T
    R = np.linalg.qr(np.sqrt(nu[seen])[:, None] * (features[seen] @ basis)).R
    return basis, R, float(np.linalg.norm(features, axis=1).max())
