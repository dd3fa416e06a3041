"""Nash-MD: mirror descent to the Nash policy of a preference model with a KL weight, last iterate.

p[x, y, z] is the probability that y is preferred to z at prompt x, mu = pi_ref the reference policy, tau = beta > 0.
Policies play P_tau(a > b) = a'p b - tau KL(a || mu) + tau KL(b || mu) at each prompt, a symmetric game of value 1/2;
pi* is its one equilibrium: tau log(pi*/mu) = p pi* + const. Prompts do not touch one another; below is one of them.

    1  pi_0 = mu, or any policy of full support;  for t = 0..T-1, with eta_t tau <= 1:
    2      m(y) proportional to pi_t(y)^(1 - eta_t tau) mu(y)^(eta_t tau)           (the geometric mixture)
    3      g = p m                                                                 (`run`: against the mixture)
    4      g = p pi_t                                                              (`run_self`, `run_hedge`)
    5      z ~ m and, for each y on its own, a label g(y) ~ Bernoulli(p[y, z])     (`run_sampled`)
    6      pi_{t+1}(y) proportional to m(y) exp(eta_t g(y))
    7  return pi_T

Line 6 maximises eta_t <pi, g> - KL(pi || m). The theorem's step is eta_t = 2/(tau (t + 2)); it forgets pi_0 at once, as
eta_0 tau = 1. `run_self` is mirror descent of the regularised game against itself; `run_hedge` has no regularisation
(tau = 0 in line 2), and its mean over t, not its last policy, approaches a Nash policy of p: `average`.

Guarantee (Theorem 1): with the theorem's step KL(pi* || pi_T) <= 8/(tau^2 (T + 1)) for every T >= 1. It rests on the
one-step contraction KL(pi* || pi_{t+1}) <= (1 - eta tau) KL(pi* || pi_t) + 2 eta^2. Wording recalled. Derived here, by
Hoeffding's lemma as g lies in [0, 1]: eta^2/8 in place of 2 eta^2, and hence 1/(2 tau^2 (T + 1)), in the mean with
labels too. An upper bound whose constant is not tight; with exact g a fixed game falls as 1/T^2 in the end.

Munos, Valko, Calandriello, Gheshlaghi Azar, Rowland, Guo, Tang, Geist, Mesnard, Fiegel, Michi, Selvi, Girgin, Momchev,
Bachem, Mankowitz, Precup, Piot. Nash Learning from Human Feedback. ICML 2024, arXiv 2312.00886.
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
from mdpkit.kernels.copy import copy
from mdpkit.kernels.draw import draw
from mdpkit.kernels.mirror import mirror, times
from mdpkit.models.preferences import PreferenceModel
from mdpkit.records import Paper, Result, Trace
from mdpkit.worlds.preferences import ask

PAPER = Paper(
    "nash-md", "Nash Learning from Human Feedback",
    "Remi Munos, Michal Valko, Daniele Calandriello, Mohammad Gheshlaghi Azar, Mark Rowland, Zhaohan Daniel Guo, "
    "Yunhao Tang, Matthieu Geist, Thomas Mesnard, Come Fiegel, Andrea Michi, Marco Selvi, Sertan Girgin, "
    "Nikola Momchev, Olivier Bachem, Daniel J. Mankowitz, Doina Precup, Bilal Piot", "ICML 2024", "2312.00886",
    ("preferences", "games", "tabular", "last iterate"),
    """@inproceedings{munos2024nash,
  title     = {Nash Learning from Human Feedback},
  author    = {Munos, Remi and Valko, Michal and Calandriello, Daniele and Gheshlaghi Azar, Mohammad and Rowland, Mark and Guo, Zhaohan Daniel and Tang, Yunhao and Geist, Matthieu and Mesnard, Thomas and Fiegel, Come and Michi, Andrea and Selvi, Marco and Girgin, Sertan and Momchev, Nikola and Bachem, Olivier and Mankowitz, Daniel J. and Precup, Doina and Piot, Bilal},
  booktitle = {International Conference on Machine Learning},
  year      = {2024}
}""")  # noqa: E501


@dataclass(frozen=True)
class Params:
    """T steps; their size, the theorem's where ``eta`` is None; pi_0 (X, Y), pi_ref where omitted.

    Every ``every``-th policy is traced (T must be a multiple).
    """

    T: int
    eta: float | None = None
    start: Any = None
    every: int = 1


class Log(NamedTuple):
    """A policy and its logs, both (X, Y)."""

    policy: np.ndarray
    log_pi: np.ndarray


def theory(T: int) -> Params:
    """eta_t = 2/(tau (t + 2))."""
    return Params(validate.count("T", T))


def run(access: Exact, params: Params, rng: np.random.Generator) -> Result:
    """Nash-MD on exact preferences.

    Parameters
    ----------
    access : Exact
        To a preference model; its ``beta`` is tau and its ``pi_ref`` mu.
    params : Params
        A constant ``eta`` must be at most 1/tau.
    rng : numpy.random.Generator
        Not used.

    Returns
    -------
    Result
        ``output`` is pi_T (X, Y); the trace holds pi_0, pi_every, .. and, in its info, their ``log_pi``.
    """
    model = _model(access)
    return _play(model, _steps(params, model.beta), model.beta, False, params, rng)     # 3


def run_self(access: Exact, params: Params, rng: np.random.Generator) -> Result:
    """Self-play on the regularised game: the opponent is pi_t, not the mixture. Parameters and result as in `run`."""
    model = _model(access)
    return _play(model, _steps(params, model.beta), model.beta, True, params, rng)      # 4


def run_hedge(access: Exact, params: Params, rng: np.random.Generator) -> Result:
    """Self-play without regularisation, at a constant step ``params.eta`` > 0 of any size. As `run` else."""
    model = _model(access)
    if params.eta is None:
        raise MdpkitError("params.eta", "a number: without tau there is no step of the theorem", None)
    return _play(model, _steps(params, 0.0), 0.0, True, params, rng)                    # 4


def run_sampled(access: Comparisons, params: Params, rng: np.random.Generator) -> Result:
    """Nash-MD on labels: at each step and prompt one opponent, and one comparison of each response with it.

    Parameters
    ----------
    access : Comparisons
    params : Params
        As in `run`.
    rng : numpy.random.Generator
        Draws the opponents.

    Returns
    -------
    Result
        As in `run`; X Y T comparisons are asked for.
    """
    known = validate.instance("access", access, Comparisons).known
    etas, log_pi = _steps(params, known.beta), _start(params, known.pi_ref, rng)        # 1
    settings, log_mu = np.array([known.beta, params.every]), np.log(known.pi_ref)
    trace = access.drive(_sample, (log_mu, etas, settings, log_pi), Log(np.zeros(log_pi.shape), np.zeros(log_pi.shape)),
                         params.T // params.every, rng)
    return Result(np.exp(log_pi), trace, params, access.samples)                        # 7


def average(trace: Trace) -> np.ndarray:
    """The mean of pi_0..pi_{T-1}, (X, Y), of a run that traced all of them."""
    trace = validate.instance("trace", trace, Trace)
    return trace.policies[trace.index].sum(0) / len(trace)


def paper_bound(tau: float, T: Any) -> Any:
    """Theorem 1: 8/(tau^2 (T + 1)); an array for an array of T."""
    return 8.0 / (tau * tau * (T + 1))


def bound(tau: float, T: Any) -> Any:
    """What the contraction with eta^2/8 gives: 1/(2 tau^2 (T + 1)), by induction; with labels, in the mean."""
    return 0.5 / (tau * tau * (T + 1))


def plateau(tau: float, eta: float) -> float:
    """eta/(8 tau), which the KL divergence ends below at a constant step: the contraction's fixed point."""
    return eta / (8.0 * tau)


def demo(rng: np.random.Generator) -> Result:
    """Forty sampled steps on the weighted cycle."""
    model = weighted_cycle(0.4, 0.3, 0.3, (0.6, 0.3, 0.1), 0.2)
    return run_sampled(Comparisons(model, rng), theory(40), rng)


def _model(access: Exact) -> PreferenceModel:
    validate.instance("access", access, Exact)
    return validate.instance("access.model", access.model, PreferenceModel)


def _steps(params: Params, tau: float) -> np.ndarray:
    """eta_0..eta_{T-1}."""
    validate.instance("params", params, Params)
    if validate.count("params.T", params.T) % validate.count("params.every", params.every) != 0:
        raise MdpkitError("params.every", f"a divisor of T = {params.T}", params.every)
    if params.eta is None:
        return 2.0 / (tau * (np.arange(params.T) + 2.0))
    top = 1.0 / tau if tau > 0 else math.inf
    return np.full(params.T, validate.interval("params.eta", params.eta, 0.0, top, open_lo=True))


def _start(params: Params, pi_ref: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    validate.generator("rng", rng)
    start = pi_ref if params.start is None else validate.simplex("params.start", params.start, pi_ref.shape)
    if (start == 0).any():
        x, y = (int(i) for i in np.argwhere(start == 0)[0])
        raise MdpkitError(f"params.start[{x}, {y}]", "positive (full support)", 0.0)
    return np.log(start)


def _play(model: PreferenceModel, etas: np.ndarray, tau: float, own: bool, params: Params,
          rng: np.random.Generator) -> Result:
    log_pi, n = _start(params, model.pi_ref, rng), params.T // params.every             # 1
    log = np.empty((n, *log_pi.shape))
    _descend(model.p.copy(), np.log(model.pi_ref), etas, tau, own, params.every, log_pi, log)
    return Result(np.exp(log_pi), Trace(np.exp(log), np.arange(n), {"log_pi": log}), params)   # 7


def _descend_body(p, log_mu, etas, tau, own, every, log_pi, log):
    """All steps on p (X, Y, Y), in place on log_pi (X, Y); ``log`` (n, X, Y) takes every ``every``-th log-policy."""
    X, Y = log_pi.shape
    g, m = np.zeros(Y), np.empty(Y)
    for t in range(len(etas)):                                                         # 1
        if t % every == 0:
            copy(log[t // every], log_pi)
        eta = etas[t]
        for x in range(X):
            mirror(1.0 - eta * tau, log_pi[x], eta * tau, log_mu[x], 0.0, g, m)         # 2
            times(p[x], log_pi[x] if own else m, g)                                    # 3, 4
            mirror(1.0, m, 0.0, log_mu[x], eta, g, log_pi[x])                          # 6


def _sample_body(world, log_mu, etas, settings, log_pi, log, first, rng):
    """The same on labels; ``settings``: tau, steps a row of the log."""
    X, Y = log_pi.shape
    tau, every = settings[0], int(settings[1])
    g, m, cum = np.zeros(Y), np.empty(Y), np.empty(Y)
    for k in range(len(log.policy) * every):                                           # 1
        if k % every == 0:
            copy(log.log_pi[k // every], log_pi)
            for x in range(X):
                for y in range(Y):
                    log.policy[k // every, x, y] = math.exp(log_pi[x, y])
        eta = etas[first * every + k]
        for x in range(X):
            mirror(1.0 - eta * tau, log_pi[x], eta * tau, log_mu[x], 0.0, g, m)         # 2
            total = 0.0
            for y in range(Y):
                total += math.exp(m[y])
                cum[y] = total
            z = draw(cum, 0, Y, rng.random() * total)                                  # 5
            for y in range(Y):
                g[y] = 1.0 if ask(world, x, y, z) else 0.0                             # 5
            mirror(1.0, m, 0.0, log_mu[x], eta, g, log_pi[x])                          # 6


_descend = kernel(_descend_body)
_sample = kernel(_sample_body)
