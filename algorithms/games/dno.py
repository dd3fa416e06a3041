"""DNO: direct Nash optimisation, self-play by regression on win rates against oneself.

One prompt, Y responses; p[y, z] is the probability that y is preferred to z, p + p' = 1, transitive or not. The goal is
a policy that no other beats: max_y (p pi)(y) - 1/2 = 0. There is no KL to a reference; eta > 0 weighs the KL to the
current policy, so that large eta means small steps. sigma is the logistic function.

    1  given pi_1 with full support (pi_ref of the model); for t = 1..T:
    2      r_t = p pi_t
    3      (y, z) ~ D_t, a law of full support on pairs; here pi_t x pi_t
    4      pi_{t+1} = argmax over the class of E_{D_t}[s log sigma(d) + (1 - s) log sigma(-d)],
           s = sigma(r_t(y) - r_t(z)),  d = eta log (pi/pi_t)(y) - eta log (pi/pi_t)(z)
    5  return the mean of pi_1..pi_T, and pi_{T+1}

Over all policies line 4 is soft policy iteration, pi_{t+1} proportional to pi_t exp(r_t/eta) (`run`). The class may be
log-linear, log (pi/pi_t) = <phi(y), w>/eta + constant (`run_linear`). With N pairs (`run_sampled`)

    6      N pairs of D_t, for each a label: y with probability s, else z
    7      theta = the most likely scores of these labels, sigma(theta(y) - theta(z)) being the chance of y
    8      pi_{t+1} proportional to pi_t exp(theta/eta)

Guarantees (Proposition 1 of what follows is derived here; the paper's bound is on the error of line 7, in the order
1/N, and O(1/sqrt(T)) to Nash, both recalled: the wording was not at hand)
    Proposition 1: the win rate of pi_{t+1} against pi_t is 1/2 + eta (KL(pi_{t+1}, pi_t) + KL(pi_t, pi_{t+1})).
    With eta = sqrt(T/(8 c)), c = max_y log(1/pi_1(y)), the average has max_y (p pi)(y) - 1/2 <= sqrt(c/(2 T)). Not
        tight: gains that are chosen by no enemy. The last policy may cycle.

Rosset, Cheng, Mitra, Santacroce, Awadallah, Xie. Direct Nash Optimization: Teaching Language Models to Self-Improve
with General Preferences. 2024, arXiv 2404.03715, Algorithm 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from mdpkit import losses, validate
from mdpkit.access import Exact
from mdpkit.errors import MdpkitError
from mdpkit.instances.preferences import weighted_cycle
from mdpkit.iterate import iterate
from mdpkit.jit import kernel
from mdpkit.kernels.mirror import mirror, times
from mdpkit.models.preferences import PreferenceModel
from mdpkit.records import Paper, Result, Trace

PAPER = Paper(
    "dno", "Direct Nash Optimization: Teaching Language Models to Self-Improve with General Preferences",
    "Corby Rosset, Ching-An Cheng, Arindam Mitra, Michael Santacroce, Ahmed Awadallah, Tengyang Xie", "arXiv 2024",
    "2404.03715", ("games", "preferences", "self-play", "tabular", "log-linear"),
    """@article{rosset2024direct,
  title   = {Direct {N}ash Optimization: Teaching Language Models to Self-Improve with General Preferences},
  author  = {Rosset, Corby and Cheng, Ching-An and Mitra, Arindam and Santacroce, Michael and Awadallah, Ahmed and
             Xie, Tengyang},
  journal = {arXiv preprint arXiv:2404.03715},
  year    = {2024}
}""")

STEPS = 100              # of Newton's method: where labels separate responses there is no most likely score


@dataclass(frozen=True)
class Params:
    """T iterations with weight eta > 0 on the KL; N pairs each (`run_sampled`); phi (Y, d) (`run_linear`)."""

    T: int
    eta: float
    N: int = 1000
    phi: Any = None


def theory(T: int, pi_1: Any) -> Params:
    """eta = sqrt(T/(8 c)), c = max_y log(1/pi_1(y)); with one response there is nothing to learn, and eta is 1."""
    pi_1 = validate.simplex("pi_1", pi_1, ("Y",))
    if pi_1.min() == 0:
        raise MdpkitError(f"pi_1[{int(pi_1.argmin())}]", "positive (full support)", 0.0)
    c = -math.log(pi_1.min())
    return Params(validate.count("T", T), math.sqrt(T / (8 * c)) if c > 0 else 1.0)


def run(access: Exact, params: Params, rng: np.random.Generator) -> Result:
    """DNO over all policies, as soft policy iteration.

    Parameters
    ----------
    access : Exact
        To a preference model with one prompt; its pi_ref is pi_1, its beta is not looked at.
    params : Params
    rng : numpy.random.Generator
        Not used.

    Returns
    -------
    Result
        ``output`` is the pair of the average and pi_{T+1}, (Y,) each; the trace holds pi_1..pi_T, and in its info the
        logarithms ``log_pi`` of pi_1..pi_{T+1}, one row more.
    """
    model = _given(access, params, rng)
    log_pi = soft_iteration(model.p[0], np.log(model.pi_ref[0]), params.eta, params.T)
    pi = np.exp(log_pi)
    return Result((pi[:-1].sum(0) / params.T, pi[-1]), Trace(pi[:-1], np.arange(params.T), {"log_pi": log_pi}),
                  params)                                                              # 5


def run_linear(access: Exact, params: Params, rng: np.random.Generator) -> Result:
    """DNO over log-linear policies: line 4 by Newton's method on the population of pairs. Needs ``params.phi``.

    Parameters and result as in `run`, without ``log_pi``.
    """
    phi = validate.array("params.phi", params.phi, (_given(access, params, rng).Y, "d"))

    def fit(p: np.ndarray, log_pi: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        pi = np.exp(log_pi)                                                            # 3
        return bradley_terry(pi[:, None] * pi * losses.sigmoid(losses.margins(_rates(p, pi))), phi)   # 2, 4

    return _by_fits(access, params, rng, fit)


def run_sampled(access: Exact, params: Params, rng: np.random.Generator) -> Result:
    """DNO on N pairs an iteration, by `regress`. ``samples`` counts them. As `run_linear` else, without phi."""
    _given(access, params, rng)
    return _by_fits(access, params, rng, lambda p, log_pi, rng: regress(p, log_pi, params.N, rng))


def soft_iteration(p: np.ndarray, log_pi: np.ndarray, eta: float, T: int) -> np.ndarray:
    """log pi_1..log pi_{T+1} (T+1, Y) from log pi_1 (Y,), for any p (Y, Y)."""
    log_pi = validate.array("log_pi", log_pi, ("Y",))
    p, out = validate.array("p", p, (len(log_pi), len(log_pi))), np.empty((validate.count("T", T) + 1, len(log_pi)))
    _iterate(p, validate.interval("eta", eta, 0.0, math.inf, open_lo=True), log_pi, out)
    return out


def contrastive(D: np.ndarray, r: np.ndarray, log_new: np.ndarray, log_old: np.ndarray, eta: float,
                ) -> tuple[float, np.ndarray]:
    """Line 4's objective with its sign changed, and its gradient in the logits of the new policy, (Y,).

    Parameters
    ----------
    D : array (Y, Y)
        Law of the pairs.
    r, log_new, log_old : arrays (Y,)
        r_t, log pi and log pi_t.
    eta : float
    """
    W = (D + D.T) * losses.sigmoid(losses.margins(r))          # the share in which y is shown and labelled better
    value, slope = losses.pairwise(W[None], eta * (log_new - log_old)[None])
    return value, eta * slope[0]                                                       # 4


def regress(p: np.ndarray, log_pi: np.ndarray, N: int, rng: np.random.Generator) -> np.ndarray:
    """theta (Y,) of lines 6 and 7 at the policy pi (Y,): known up to a constant, here of mean 0.

    Only counts are drawn, of pairs and of labels: the law is that of N pairs one after the other.
    """
    pi = np.exp(log_pi)
    D = (pi[:, None] * pi).ravel()
    shown = rng.multinomial(validate.count("N", N), D / D.sum()).reshape(len(pi), len(pi))       # 3, 6
    won = rng.binomial(shown, losses.sigmoid(losses.margins(_rates(p, pi))))                     # 6
    theta = bradley_terry((won + (shown - won).T) / N)                                           # 7
    return theta - theta.mean()


def bradley_terry(W: np.ndarray, phi: np.ndarray | None = None) -> np.ndarray:
    """The most likely scores (Y,) of weights W[y, z] of "y beat z", among <phi, w> for phi (Y, d).

    Newton's method with halved steps, at most ``STEPS``. Scores that no comparison tells apart stay equal.
    """
    phi, both = np.eye(len(W)) if phi is None else phi, W + W.T
    value = lambda w: losses.pairwise(W[None], (phi @ w)[None])[0]
    w = np.zeros(phi.shape[1])
    for _ in range(STEPS):
        s = losses.sigmoid(losses.margins(phi @ w))
        curve = both * s * (1 - s)
        # the last term only makes the system solvable: it moves no stationary point
        H = phi.T @ (np.diag(curve.sum(1)) - curve) @ phi + 1e-10 * np.eye(len(w))
        move = np.linalg.solve(H, phi.T @ (both * s - W).sum(1))
        while value(w - move) > value(w) and np.ptp(phi @ move) > 1e-13:
            move = move / 2
        w = w - move
        if np.ptp(phi @ move) < 1e-13:
            break
    return phi @ w


def symmetric_kl(log_a: np.ndarray, log_b: np.ndarray) -> Any:
    """KL(a, b) + KL(b, a) of log-laws (..., Y)."""
    return ((np.exp(log_a) - np.exp(log_b)) * (log_a - log_b)).sum(-1)


def demo(rng: np.random.Generator) -> Result:
    """Twenty iterations of soft policy iteration on a cycle of three."""
    return run(Exact(weighted_cycle(0.4, 0.3, 0.3, [0.6, 0.3, 0.1])), Params(20, 0.5), rng)


def _by_fits(access: Exact, params: Params, rng: np.random.Generator, fit: Callable) -> Result:
    p, start = access.model.p[0], np.log(access.model.pi_ref[0])

    def once(log_pi: np.ndarray, access: Exact, rng: np.random.Generator) -> np.ndarray:
        return losses.log_softmax(log_pi + fit(p, log_pi, rng) / params.eta)           # 8

    last, trace = iterate(once, start, access, params.T, rng, lambda log_pi: (np.exp(log_pi), {}))
    return Result((trace.policies[trace.index].sum(0) / params.T, np.exp(last)), trace, params,
                  {"pairs": params.T * params.N if params.phi is None else 0})         # 5


def _rates(p: np.ndarray, pi: np.ndarray) -> np.ndarray:
    return (p * pi).sum(1)                                                             # 2


def _given(access: Exact, params: Params, rng: np.random.Generator) -> PreferenceModel:
    validate.instance("access", access, Exact)
    model = validate.instance("access.model", access.model, PreferenceModel)
    validate.instance("params", params, Params)
    validate.generator("rng", rng)
    if model.X != 1:
        raise MdpkitError("access.model", "of one prompt", None, came=f"it has {model.X}")
    validate.interval("params.eta", params.eta, 0.0, math.inf, open_lo=True)
    for name in ("T", "N"):
        validate.count(f"params.{name}", getattr(params, name))
    return model


def _iterate_body(p, eta, start, log_pi):
    r = np.empty(len(p))
    for y in range(len(p)):
        log_pi[0, y] = start[y]                                                        # 1
    for t in range(len(log_pi) - 1):
        times(p, log_pi[t], r)                                                         # 2
        mirror(1.0, log_pi[t], 0.0, log_pi[t], 1.0 / eta, r, log_pi[t + 1])            # 4


_iterate = kernel(_iterate_body)
