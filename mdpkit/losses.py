"""Losses on preferences, each with its slope in closed form, stable where log-ratios are large.

Scores (X, Y) are real numbers of which only differences at one prompt matter: rewards, or the implicit rewards
beta log(pi/pi_ref) of a policy. h = score(winner) - score(loser) is the margin of a comparison, W (X, Y, Y) the mass
of "y, z were shown at x and y won"; log pi and log pi_ref are (X, Y), rho (X,)::

    logistic    q softplus(-h) + (1 - q) softplus(h)      Bradley-Terry likelihood, DPO; q < 1 smooths labels, and
                                                          q = (1 - e)/(1 - 2 e) corrects flips of probability e
    squared     (h - target)^2                            IPO, with scores log(pi/pi_ref), target 1/(2 tau)
    hinge       max(0, margin - h)                        SLiC
    exo         KL((sigmoid(h), sigmoid(-h)) || (1 - e, e))   EXO on pairs, labels softened by e
    reverse_kl  sum_x rho KL(pi(.|x) || pi_ref(.|x))
    forward_kl  sum_x rho KL(pi_ref(.|x) || pi(.|x))

Slopes of the first four are in h, and `pairwise` carries them to the scores; those of the others are in the logits of
pi. A gradient in scores sums to 0 at each prompt: the same numbers, times beta, are the gradient in the logits of a
policy whose implicit rewards the scores are, since its normaliser cancels in h.

Under another divergence, sum_y pi_ref f(pi/pi_ref) in place of the KL, the implicit reward is beta f'(pi/pi_ref): see
`f_reward`.

`normalise`, `add_logistic` and `add_reverse_kl` are the same for loops of many small steps, compiled.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from mdpkit import validate
from mdpkit.errors import MdpkitError
from mdpkit.jit import kernel
from mdpkit.models.preferences import PreferenceModel
from mdpkit.records import Pairs


def softplus(x: Any) -> Any:
    """log(1 + exp(x)), to a few units in the last place for every float."""
    return np.logaddexp(0.0, x)


def sigmoid(x: Any) -> Any:
    """1/(1 + exp(-x)), to a few units in the last place for every float."""
    e = np.exp(-np.abs(x))
    return np.where(np.asarray(x) >= 0, 1.0, e) / (1.0 + e)


def logistic(h: Any, q: Any = 1.0) -> tuple[Any, Any]:
    """The logistic loss of margins, and its slope sigmoid(h) - q.

    Parameters
    ----------
    h : array
    q : float or array that broadcasts with h
        Weight of the label as logged; any real number.
    """
    return q * softplus(-h) + (1.0 - q) * softplus(h), (1.0 - q) * sigmoid(h) - q * sigmoid(-h)


def squared(h: Any, target: Any) -> tuple[Any, Any]:
    """(h - target)^2 and its slope 2 (h - target)."""
    off = h - target
    return off * off, 2.0 * off


def hinge(h: Any, margin: float = 1.0) -> tuple[Any, Any]:
    """max(0, margin - h) and its slope, -1 below the margin and 0 from there on."""
    short = margin - h
    return np.maximum(short, 0.0), np.where(short > 0, -1.0, 0.0)


def exo(h: Any, e: float) -> tuple[Any, Any]:
    """KL of Bernoulli(sigmoid(h)) from Bernoulli(1 - e), and its slope s (1 - s) (h - log((1 - e)/e)), s = sigmoid(h).

    Parameters
    ----------
    h : array
    e : float in (0, 1)
        Softening of the label; the minimiser is h = log((1 - e)/e).
    """
    s, low = sigmoid(h), sigmoid(-h)
    value = -s * (softplus(-h) + math.log1p(-e)) - low * (softplus(h) + math.log(e))
    return value, s * low * (h - (math.log1p(-e) - math.log(e)))


F_DIVERGENCES = ("reverse-kl", "forward-kl", "jensen-shannon", "chi2")


def f_reward(log_u: Any, divergence: str, beta: float) -> tuple[Any, Any]:
    """beta f'(u) of log-ratios log u = log(pi/pi_ref), and its slope in log u.

    f is u log u (reverse KL), -log u (forward), u log u - (1 + u) log((1 + u)/2) (Jensen-Shannon) and (u - 1)^2 / 2;
    constants of f' cancel in margins and are left out.

    Raises
    ------
    MdpkitError
        No such divergence.
    """
    validate.choice("divergence", divergence, F_DIVERGENCES)
    if divergence == "reverse-kl":
        return beta * log_u, beta * np.ones_like(log_u)
    if divergence == "forward-kl":
        return -beta * np.exp(-log_u), beta * np.exp(-log_u)
    if divergence == "jensen-shannon":
        return -beta * softplus(-log_u), beta * sigmoid(-log_u)
    return beta * np.exp(log_u), beta * np.exp(log_u)


def margins(scores: Any) -> Any:
    """h[..., y, z] = scores[..., y] - scores[..., z]."""
    return scores[..., :, None] - scores[..., None, :]


def pairwise(W: np.ndarray, scores: np.ndarray, loss: Callable[[Any], tuple[Any, Any]] = logistic,
             ) -> tuple[float, np.ndarray]:
    """sum W loss(h) and its gradient in the scores, (X, Y).

    Parameters
    ----------
    W : array (X, Y, Y)
    scores : array (X, Y)
    loss : function of margins
        Returns value and slope: `logistic`, or another with its constants bound.

    Raises
    ------
    MdpkitError
        Shapes that do not fit.
    """
    scores = validate.array("scores", scores, ("X", "Y"))
    W = validate.array("W", W, (*scores.shape, scores.shape[1]))
    value, slope = loss(margins(scores))
    push = W * slope
    return float((W * value).sum()), push.sum(2) - push.sum(1)


def log_softmax(theta: Any) -> Any:
    """log of the softmax over the last axis."""
    low = theta - theta.max(-1, keepdims=True)
    return low - np.log(np.exp(low).sum(-1, keepdims=True))


def log_sum_exp(theta: Any) -> Any:
    """log sum exp over the last axis."""
    top = theta.max(-1)
    return top + np.log(np.exp(theta - top[..., None]).sum(-1))


def gibbs(log_ref: Any, r: Any, beta: float) -> Any:
    """log of pi_ref exp(r/beta)/Z, the maximiser of E_pi r - beta KL(pi || pi_ref)."""
    return log_softmax(log_ref + r / beta)


def implicit_reward(log_pi: Any, log_ref: Any, beta: float) -> Any:
    """beta log(pi/pi_ref): the reward, up to a shift a prompt, of which pi is the `gibbs` policy."""
    return beta * (log_pi - log_ref)


def reverse_kl(log_pi: Any, log_ref: Any, rho: Any) -> tuple[float, Any]:
    """Mean KL(pi || pi_ref), and its gradient in the logits of pi: rho pi (s - E_pi s), s = log(pi/pi_ref)."""
    pi, s = np.exp(log_pi), log_pi - log_ref
    mean = (pi * s).sum(-1, keepdims=True)
    return float(rho @ mean[..., 0]), rho[:, None] * pi * (s - mean)


def forward_kl(log_pi: Any, log_ref: Any, rho: Any) -> tuple[float, Any]:
    """Mean KL(pi_ref || pi), and its gradient in the logits of pi: rho (pi - pi_ref)."""
    ref = np.exp(log_ref)
    return float(rho @ (ref * (log_ref - log_pi)).sum(-1)), rho[:, None] * (np.exp(log_pi) - ref)


def objective(log_pi: Any, r: Any, log_ref: Any, beta: float, rho: Any) -> float:
    """J(pi) = sum_x rho (E_pi r - beta KL(pi || pi_ref))."""
    return float(rho @ (np.exp(log_pi) * r).sum(-1)) - beta * reverse_kl(log_pi, log_ref, rho)[0]


def weights(pairs: Pairs, X: int, Y: int) -> np.ndarray:
    """W (X, Y, Y) of logged comparisons, normalised to mass 1.

    Parameters
    ----------
    pairs : Pairs
        Its counts are non-negative and may be fractions, as those of `population` are.
    X, Y : int

    Raises
    ------
    MdpkitError
        An index out of range, a response against itself, a negative count, or no comparison at all.
    """
    validate.instance("pairs", pairs, Pairs)
    x = validate.array("pairs.x", pairs.x, (None,), integer=True)
    win = validate.array("pairs.win", pairs.win, x.shape, integer=True)
    lose = validate.array("pairs.lose", pairs.lose, x.shape, integer=True)
    count = validate.within("pairs.count", validate.array("pairs.count", pairs.count, x.shape), 0.0, math.inf)
    for name, part, top in (("x", x, X), ("win", win, Y), ("lose", lose, Y)):
        validate.within(f"pairs.{name}", part, 0, top - 1)
    if (win == lose).any():
        raise MdpkitError("pairs", "comparisons of two responses", None,
                          came=f"row {int(np.argmax(win == lose))} compares one with itself")
    W = np.zeros((X, Y, Y))
    np.add.at(W, (x, win, lose), count)
    if not W.sum() > 0:
        raise MdpkitError("pairs", "at least one comparison", None, came="there is none")
    return W / W.sum()


def population(model: PreferenceModel, mu: Any) -> Pairs:
    """What infinitely many comparisons would tell: each with its mass, in place of a count.

    Parameters
    ----------
    model : PreferenceModel
    mu : array (X, Y, Y)
        Mass of "y and z are shown at x", the law of x included; 0 on the diagonal. Any positive total.

    Returns
    -------
    Pairs
        Mass mu[x, y, z] p[x, y, z] + mu[x, z, y] p[x, y, z] of "y beat z", where it is positive.

    Raises
    ------
    MdpkitError
        A shape that does not fit, a negative mass, or mass on the diagonal.
    """
    validate.instance("model", model, PreferenceModel)
    mu = validate.within("mu", validate.array("mu", mu, model.p.shape), 0.0, math.inf)
    if (np.diagonal(mu, axis1=1, axis2=2) > 0).any():
        raise MdpkitError("mu", "zero on pairs of equal responses", None, came="it is not")
    W = (mu + mu.transpose(0, 2, 1)) * model.p
    x, win, lose = np.nonzero(W)
    return Pairs(x, win, lose, W[x, win, lose])


def _sigmoid(x):
    e = math.exp(-abs(x))
    return 1.0 / (1.0 + e) if x >= 0.0 else e / (1.0 + e)


def _normalise(logits, log_pi):
    """``log_pi`` = log softmax of ``logits``, (X, Y)."""
    X, Y = logits.shape
    for x in range(X):
        top = logits[x, 0]
        for y in range(1, Y):
            top = max(top, logits[x, y])
        total = 0.0
        for y in range(Y):
            total += math.exp(logits[x, y] - top)
        for y in range(Y):
            log_pi[x, y] = logits[x, y] - top - math.log(total)


def _add_logistic(W, scores, scale, g):
    """g += scale times the gradient of sum W softplus(-h) in the scores."""
    X, Y = scores.shape
    for x in range(X):
        for w in range(Y):
            for l in range(Y):
                if W[x, w, l] > 0.0:
                    push = scale * W[x, w, l] * plain_sigmoid(scores[x, l] - scores[x, w])
                    g[x, w] -= push
                    g[x, l] += push


def _add_reverse_kl(log_pi, log_ref, rho, scale, g):
    """g += scale times the gradient of `reverse_kl`."""
    X, Y = log_pi.shape
    for x in range(X):
        mean = 0.0
        for y in range(Y):
            mean += math.exp(log_pi[x, y]) * (log_pi[x, y] - log_ref[x, y])
        for y in range(Y):
            g[x, y] += scale * rho[x] * math.exp(log_pi[x, y]) * (log_pi[x, y] - log_ref[x, y] - mean)


plain_sigmoid = kernel(_sigmoid)
normalise = kernel(_normalise)
add_logistic = kernel(_add_logistic)
add_reverse_kl = kernel(_add_reverse_kl)
