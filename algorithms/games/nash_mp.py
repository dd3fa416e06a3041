"""Nash mirror prox: two proximal steps an iteration to the Nash policy of a preference model with a KL weight.

p[x, y, z] is the probability that y is preferred to z at prompt x; policies play P_beta(a > b) = a'p b -
beta KL(a || pi_ref) + beta KL(b || pi_ref) at each prompt, a symmetric game of value 1/2 with one equilibrium pi*.
Prompts do not touch one another; below is one of them. span(v) = max v - min v, ||.||_1 is without a half.

    1  pi_0 = pi_ref, or any policy of full support;  for k = 0..K-1:
    2      h = prox(pi_k, p pi_k)
    3      pi_{k+1} = prox(pi_k, p h)                          (the same centre pi_k, another opponent)
    4  return pi_K
    5  prox(c, g) = argmax_pi <pi, g> - beta KL(pi || pi_ref) - KL(pi || c)/gam, in closed form
       log prox = (log c + gam beta log pi_ref + gam g)/(1 + gam beta) + const      (`run`)
    6  or prox(c, g) with errors: the same logs + e, e(y) uniform in [-eps, eps]    (`run_noisy`)
    7  or m gradient steps of size a on that objective in the logits, from c        (`run_gradient`)
    8  or g(y) the mean of n labels Bernoulli(p[y, z_i]), z_i ~ the opponent        (`run_sampled`)

One query is one vector p pi: N = 2 K of them in K iterations. gam = 2 is the largest value that the proof allows; where
the weight of the proximal term is written beta/eta, eta is gam beta.

Guarantee (Theorem 1, its number recalled; the rate is that of the abstract): KL(pi* || pi_K) <= (1 + 2 beta)^(-N/2)
KL(pi* || pi_0), by a factor 1 + 2 beta at each iteration; exploitability and span(log pi_K - log pi*) fall linearly
too, at rates that do not know the number of responses. The forms with constants in `sandwich`, `exploitability_bound`
and `span_bound` are derived here. Upper bounds, not known to be tight.

Tiapkin, Calandriello, Belomestny, Moulines, Naumov, Rasul, Valko, Menard. Accelerating Nash Learning from Human
Feedback via Mirror Prox. 2025, arXiv 2505.19731.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from mdpkit import validate
from mdpkit.access import Comparisons, Exact
from mdpkit.errors import MdpkitError
from mdpkit.instances.preferences import weighted_cycle
from mdpkit.jit import kernel
from mdpkit.kernels.draw import draw
from mdpkit.kernels.mirror import mirror, times
from mdpkit.models.preferences import PreferenceModel
from mdpkit.records import Paper, Result, Trace
from mdpkit.worlds.preferences import ask

PAPER = Paper(
    "nash-mp", "Accelerating Nash Learning from Human Feedback via Mirror Prox",
    "Daniil Tiapkin, Daniele Calandriello, Denis Belomestny, Eric Moulines, Alexey Naumov, Kashif Rasul, Michal Valko, "
    "Pierre Menard", "arXiv 2025", "2505.19731", ("preferences", "games", "tabular", "last iterate"),
    """@article{tiapkin2025accelerating,
  title   = {Accelerating Nash Learning from Human Feedback via Mirror Prox},
  author  = {Tiapkin, Daniil and Calandriello, Daniele and Belomestny, Denis and Moulines, Eric and Naumov, Alexey and Rasul, Kashif and Valko, Michal and Menard, Pierre},
  journal = {arXiv preprint arXiv:2505.19731},
  year    = {2025}
}""")  # noqa: E501


@dataclass(frozen=True)
class Params:
    """K iterations, gam > 0, pi_0 (X, Y) (pi_ref where omitted); errors eps; m inner steps of size a; n labels."""

    K: int
    gam: float = 2.0
    start: Any = None
    eps: float = 0.0
    m: int = 1
    a: float = 1.0
    n: int = 1


class Log(NamedTuple):
    """pi_k, its logs, and those of h, each (X, Y)."""

    policy: np.ndarray
    log_pi: np.ndarray
    log_half: np.ndarray


def theory(K: int) -> Params:
    """gam = 2."""
    return Params(validate.count("K", K))


def run(access: Exact, params: Params, rng: np.random.Generator) -> Result:
    """Nash mirror prox on exact preferences and with exact proximal steps.

    Parameters
    ----------
    access : Exact
        To a preference model with its ``beta`` and ``pi_ref``.
    params : Params
    rng : numpy.random.Generator
        Not used.

    Returns
    -------
    Result
        ``output`` is pi_K (X, Y); the trace holds pi_0..pi_{K-1} and, in its info, ``log_pi`` and ``log_half``.
    """
    return _play(access, params, 0.0, 0, rng)                                          # 5


def run_noisy(access: Exact, params: Params, rng: np.random.Generator) -> Result:
    """With an error of ``params.eps`` in each proximal step, drawn from ``rng``. As `run` else."""
    return _play(access, params, params.eps, 0, rng)                                   # 6


def run_gradient(access: Exact, params: Params, rng: np.random.Generator) -> Result:
    """With ``params.m`` gradient steps of size ``params.a`` for a proximal step. As `run` else."""
    return _play(access, params, 0.0, params.m, rng)                                   # 7


def run_sampled(access: Comparisons, params: Params, rng: np.random.Generator) -> Result:
    """On labels: ``params.n`` opponents a query and prompt, and one comparison of each response with each.

    Parameters
    ----------
    access : Comparisons
    params : Params
    rng : numpy.random.Generator
        Draws the opponents.

    Returns
    -------
    Result
        As in `run`; 2 n X Y K comparisons are asked for.
    """
    known = validate.instance("access", access, Comparisons).known
    log_pi, log_ref = _start(params, known.pi_ref, rng), np.log(known.pi_ref)           # 1
    settings, zero = np.array([known.beta, params.gam, 0.0, 0.0, params.n]), np.zeros(log_pi.shape)
    trace = access.drive(_sample, (log_ref, settings, log_pi), Log(zero, zero, zero), params.K, rng)
    return Result(np.exp(log_pi), trace, params, access.samples)                       # 4


def sandwich(log_pi: np.ndarray, log_star: np.ndarray, beta: float) -> tuple[Any, Any]:
    """beta KL(pi || pi*) <= SubOpt(pi) <= beta KL(pi || pi*) + min(KL(pi* || pi), KL(pi || pi*))/(4 beta).

    SubOpt(pi) = max_pi' P_beta(pi' > pi) - 1/2 (`mdpkit.measure.exploitability.regularised_gap`). What lies between it
    and the left side is the Bregman divergence of log-sum-exp, at most span(p pi - p pi*)^2/(8 beta), and that span is
    at most ||pi - pi*||_1.

    Parameters
    ----------
    log_pi, log_star : arrays (..., Y)
        Log-laws of full support.
    """
    log_pi, log_star = np.asarray(log_pi, float), np.asarray(log_star, float)
    ahead = (np.exp(log_pi) * (log_pi - log_star)).sum(-1)
    behind = (np.exp(log_star) * (log_star - log_pi)).sum(-1)
    return beta * ahead, beta * ahead + np.minimum(ahead, behind) / (4 * beta)


def exploitability_bound(beta: float, span: Any, kl: Any) -> Any:
    """(beta e^span + 1/(4 beta)) kl: of a policy whose log-ratios to pi* span that much, with KL(pi* || pi) <= kl.

    By `sandwich`, as KL(pi || pi*) <= e^span KL(pi* || pi): at a ratio e^t their terms e^t t - e^t + 1 and e^t - 1 - t
    are at most e^|t| apart.
    """
    return (beta * np.exp(span) + 0.25 / beta) * kl


def span_bound(beta: float, k: Any, span: float, kl: float) -> Any:
    """Of span(log pi_k - log pi*) at gam = 2, from its value and KL(pi* || pi) at k = 0: of order (1+2beta)^(-k/2).

    With q = 1/(1 + 2 beta): q^k span + 2 sqrt(kl/beta) q^((k+1)/2)/(1 - sqrt(q)). It sums the contraction of the span,
    in which ||h - pi*||_1 <= sqrt(2 KL(pi* || h)) and 2 beta KL(pi* || h) <= KL(pi* || pi_k).
    """
    q = 1.0 / (1.0 + 2.0 * beta)
    return q ** k * span + 2.0 * math.sqrt(kl / beta) * q ** ((k + 1) / 2) / (1.0 - math.sqrt(q))


def demo(rng: np.random.Generator) -> Result:
    """Twenty sampled iterations on the weighted cycle."""
    model = weighted_cycle(0.4, 0.3, 0.3, (0.6, 0.3, 0.1), 0.1)
    return run_sampled(Comparisons(model, rng), Params(20, n=2), rng)


def _start(params: Params, pi_ref: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    validate.instance("params", params, Params)
    for name in ("K", "n"):
        validate.count(f"params.{name}", getattr(params, name))
    validate.count("params.m", params.m)
    for name in ("gam", "a", "eps"):
        validate.interval(f"params.{name}", getattr(params, name), 0.0, math.inf, open_lo=name != "eps")
    validate.generator("rng", rng)
    start = pi_ref if params.start is None else validate.simplex("params.start", params.start, pi_ref.shape)
    if (start == 0).any():
        x, y = (int(i) for i in np.argwhere(start == 0)[0])
        raise MdpkitError(f"params.start[{x}, {y}]", "positive (full support)", 0.0)
    return np.log(start)


def _play(access: Exact, params: Params, eps: float, m: int, rng: np.random.Generator) -> Result:
    validate.instance("access", access, Exact)
    model = validate.instance("access.model", access.model, PreferenceModel)
    log_pi = _start(params, model.pi_ref, rng)                                         # 1
    log, half = np.empty((params.K, *log_pi.shape)), np.empty((params.K, *log_pi.shape))
    errors = eps * (2.0 * rng.random((params.K if eps > 0 else 0, model.X, 2, model.Y)) - 1.0)
    settings = np.array([model.beta, params.gam, m, params.a])
    _iterate(model.p.copy(), np.log(model.pi_ref), settings, errors, log_pi, log, half)
    trace = Trace(np.exp(log), np.arange(params.K), {"log_pi": log, "log_half": half})
    return Result(np.exp(log_pi), trace, params)                                       # 4


def _iterate_body(p, log_ref, settings, errors, log_pi, log, half):
    """All iterations on p (X, Y, Y), in place on log_pi (X, Y); ``log``, ``half`` (K, X, Y); errors
    (K, X, 2, Y), or none."""
    X, Y = log_pi.shape
    g, new = np.zeros(Y), np.empty(Y)
    for k in range(len(log)):                                                          # 1
        for x in range(X):
            for step in range(2):                                                      # 2, 3
                times(p[x], log_pi[x] if step == 0 else new, g)
                _answer(log_pi[x], g, log_ref[x], settings, new)
                if len(errors) > 0:
                    mirror(1.0, new, 0.0, log_ref[x], 1.0, errors[k, x, step], new)    # 6
                if step == 0:
                    for y in range(Y):
                        half[k, x, y] = new[y]
            for y in range(Y):
                log[k, x, y], log_pi[x, y] = log_pi[x, y], new[y]


def _answer_body(c, g, log_ref, settings, out):
    """``out`` = log prox(c, g), line 5 or 7; ``settings``: beta, gam, inner steps (0: exact), their size."""
    beta, gam, m, a = settings[0], settings[1], int(settings[2]), settings[3]
    keep = 1.0 / (1.0 + gam * beta)
    if m == 0:
        mirror(keep, c, keep * gam * beta, log_ref, keep * gam, g, out)                # 5
    else:
        for y in range(len(out)):
            out[y] = c[y]
        _ascend(c, g, log_ref, beta, gam, m, a, out)                                   # 7


def _ascend_body(c, g, log_ref, beta, gam, m, a, out):
    """``m`` gradient steps in the logits from ``out``; the gradient is pi (s - E_pi s), s as below."""
    Y = len(out)
    s = np.empty(Y)
    for _ in range(m):
        mean = 0.0
        for y in range(Y):
            s[y] = g[y] - beta * (out[y] - log_ref[y]) - (out[y] - c[y]) / gam
            mean += math.exp(out[y]) * s[y]
        for y in range(Y):
            s[y] = math.exp(out[y]) * (s[y] - mean)
        mirror(1.0, out, 0.0, log_ref, a, s, out)                                      # 7


def _sample_body(world, log_ref, settings, log_pi, log, first, rng):
    """Iterations on labels; ``settings``: those of `_answer`, and labels a response and query."""
    X, Y = log_pi.shape
    n, g, new, cum = int(settings[4]), np.zeros(Y), np.empty(Y), np.empty(Y)
    for k in range(len(log.policy)):                                                   # 1
        for x in range(X):
            for step in range(2):                                                      # 2, 3
                _labels(world, x, log_pi[x] if step == 0 else new, n, cum, g, rng)     # 8
                _answer(log_pi[x], g, log_ref[x], settings, new)
                if step == 0:
                    for y in range(Y):
                        log.log_half[k, x, y] = new[y]
            for y in range(Y):
                log.policy[k, x, y] = math.exp(log_pi[x, y])
                log.log_pi[k, x, y], log_pi[x, y] = log_pi[x, y], new[y]


def _labels_body(world, x, law, n, cum, g, rng):
    """``g`` = the mean of n labels a response, each against a draw of the log-law ``law``."""
    Y, total = len(g), 0.0
    for y in range(Y):
        total += math.exp(law[y])
        cum[y] = total
        g[y] = 0.0
    for _ in range(n):
        z = draw(cum, 0, Y, rng.random() * total)                                      # 8
        for y in range(Y):
            g[y] += 1.0 / n if ask(world, x, y, z) else 0.0                            # 8


_ascend = kernel(_ascend_body)
_answer = kernel(_answer_body)
_iterate = kernel(_iterate_body)
_labels = kernel(_labels_body)
_sample = kernel(_sample_body)
