"""Divergences between finite laws, over the last axis; the other axes broadcast::

    kl         sum p log(p/q)                       renyi       log(sum p^alpha q^(1-alpha)) / (alpha - 1)
    tv         1/2 sum |p - q|                      hellinger2  1/2 sum (sqrt p - sqrt q)^2
    chi2       sum (p - q)^2 / q                    wasserstein_line   integral |F_p - F_q|

with 0 log 0 = 0 and 0^2/0 = 0. Where q = 0 < p, `kl`, `chi2` and `renyi` with alpha >= 1 are infinite. Laws must sum to
1 within 1e-9 and are used as they are. Answers are arrays of the broadcast shape without the last axis; floats if that
is empty. Laws that are close lose no digits: `kl` sums p (t - log(1 + t)), t = (q - p)/p, whose terms are >= 0.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from mdpkit import validate
from mdpkit.errors import MdpkitError
from mdpkit.measure.inputs import axes, law


def kl(p: Any, q: Any) -> Any:
    """KL(p || q), in nats; infinite where q = 0 < p.

    Parameters
    ----------
    p, q : array (..., n)
        Laws; leading axes broadcast.

    Raises
    ------
    MdpkitError
        No laws, or shapes that do not fit.
    """
    return _plain(relative_entropy(*laws(p, q)))


def tv(p: Any, q: Any) -> Any:
    """Total variation, in [0, 1]. Parameters and errors as in `kl`."""
    p, q = laws(p, q)
    return _plain(np.abs(p - q).sum(-1) / 2)


def hellinger2(p: Any, q: Any) -> Any:
    """Squared Hellinger distance with the factor 1/2, in [0, 1]. Parameters and errors as in `kl`."""
    p, q = laws(p, q)
    return _plain(((np.sqrt(p) - np.sqrt(q)) ** 2).sum(-1) / 2)


def chi2(p: Any, q: Any) -> Any:
    """chi^2(p || q) = sum p^2/q - 1; infinite where q = 0 < p. Parameters and errors as in `kl`."""
    p, q = laws(p, q)
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        return _plain(np.where(p == q, 0.0, (p - q) * ((p - q) / q)).sum(-1))


def renyi(p: Any, q: Any, alpha: float) -> Any:
    """Renyi divergence of order alpha (van Erven and Harremoes 2014).

    Parameters
    ----------
    p, q : array (..., n)
        As in `kl`.
    alpha : float
        In [0, inf]: 1 is KL, inf the largest log ratio, 0 is -log q(p > 0). Below 1 infinite only for laws with
        disjoint supports.

    Raises
    ------
    MdpkitError
        As in `kl`, or a negative order.
    """
    if alpha != math.inf:
        alpha = validate.interval("alpha", alpha, 0.0, math.inf)
    p, q = laws(p, q)
    if alpha == 1.0:
        return _plain(relative_entropy(p, q))
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        ratio = np.where(p > 0, np.log(p) - np.log(q), -np.inf)
        if alpha == math.inf:
            return _plain(ratio.max(-1))
        if alpha == 0.0:
            return _plain(np.abs(np.log(np.minimum(np.where(p > 0, q, 0.0).sum(-1), 1.0))))
        power = np.where(p > 0, (alpha - 1.0) * ratio, 0.0)
        near = np.log1p((p * np.expm1(np.minimum(power, 1.0))).sum(-1))     # keeps its digits as alpha -> 1
        far = _log_mean_exp(p, power)
        wide = (np.abs(power) > 1.0).any(-1)
        return _plain(np.maximum(np.where(wide, far, near) / (alpha - 1.0), 0.0))


def wasserstein_line(p: Any, q: Any, x: Any) -> Any:
    """W_1 of two laws on the same points of the line, exactly, by their distribution functions.

    Parameters
    ----------
    p, q : array (..., n)
        As in `kl`.
    x : array (n,)
        The points, in any order; repeats are allowed.

    Raises
    ------
    MdpkitError
        As in `kl`, or points that are not n finite numbers.
    """
    p, q = laws(p, q)
    x = validate.array("x", x, (p.shape[-1],))
    order = np.argsort(x, kind="stable")
    excess = np.cumsum((p - q)[..., order], axis=-1)[..., :-1]
    return _plain((np.abs(excess) * np.diff(x[order])).sum(-1))


def relative_entropy(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """KL over the last axis, of arrays that are known to hold laws."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        t = (q - p) / p
        close = p * (t - np.log1p(t))
        apart = p * (np.log(p) - np.log(q)) + (q - p)
        terms = np.where(np.abs(t) < 0.5, close, apart)
    return np.where(p > 0, np.maximum(terms, 0.0), q).sum(-1)


def _log_mean_exp(p: np.ndarray, power: np.ndarray) -> np.ndarray:
    """log sum p exp(power) over p > 0, where powers may be infinite."""
    top = np.where(p > 0, power, -np.inf).max(-1, keepdims=True)
    shift = np.where(np.isfinite(top), top, 0.0)
    return np.log(np.where(p > 0, p * np.exp(power - shift), 0.0).sum(-1)) + shift[..., 0]


def laws(p: Any, q: Any, names: tuple[str, str] = ("p", "q")) -> tuple[np.ndarray, np.ndarray]:
    """Two arrays of laws (..., n) that broadcast."""
    p, q = (law(name, x, (*(None,) * (axes(x) - 1), "n")) for name, x in zip(names, (p, q)))
    if p.shape[-1] != q.shape[-1] or any(m != n and 1 not in (m, n) for m, n in zip(p.shape[-2::-1], q.shape[-2::-1])):
        raise MdpkitError(names[1], f"of a shape that broadcasts with {names[0]}'s {p.shape}", None,
                          came=f"its shape is {q.shape}")
    return p, q


def _plain(x: np.ndarray) -> Any:
    return float(x) if np.ndim(x) == 0 else x
