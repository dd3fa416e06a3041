"""SPO: self-play preference optimisation, one no-regret learner against itself.

Y options (responses, policies, or trajectories of a small MDP), one prompt; p[y, z] is the probability that y is
preferred to z, p + p' = 1, transitive or not. M = p - p' = 2 p - 1 is the payoff of a symmetric zero-sum game; pi is a
minimax winner where gap(pi) = max_y (M pi)(y) >= 0 is 0.

    1  S = g = 0; for t = 1..T:
    2      pi_t proportional to exp(eta (S + w g)): w = 0 is Hedge (`run`), w = 1 optimistic Hedge (`run_optimistic`)
    3      play pi_t against itself: g = M pi_t
    4      or (`run_sampled`) n opponents z ~ pi_t: g(y) = mean of +1 where y is preferred to z, -1 where z is to y
    5      S = S + g
    6  return the mean of pi_1..pi_T
    7  (`run_duel`) two learners, the second with the gains -M' x_t in place of M y_t: the baseline

Options that are trajectories, A actions a step (`run_behavioural`), make line 2 an update of a policy with memory,

    8      V(h) = eta g(h) for whole trajectories h; for shorter ones V(h) = log sum_a pi_t(a|h) exp(V(h, a))
    9      pi_{t+1}(a|h) = pi_t(a|h) exp(V(h, a) - V(h))

Guarantees (Lemma 1 of what follows, and all constants, are derived here; the paper states O(sqrt(log Y/T)), and a
faster rate where one option leads by Delta, in wording that was not at hand)
    Lemma 1: both learners of a duel play the same, and gap(average) = Reg_T/T for any pi_1..pi_T, Reg_T the regret
        on the gains M pi_t: what a learner plays against itself earns nothing.
    Hedge, eta = sqrt(2 log Y/T): gap(average) <= sqrt(2 log Y/T). Upper bound, tight for losses chosen by an enemy.
    Optimistic, eta = 1/4: gap(average) <= (4 log Y + 1/4)/T.
    Where M[y*, y] >= Delta for all y != y*, Hedge with eta = Delta/4: sum_t (1 - pi_t(y*)) <= 8 log Y/Delta^2 for all
        T, hence gap(average) <= 8 log Y/(Delta^2 T).

Swamy, Dann, Kidambi, Wu, Agarwal. A Minimaximalist Approach to Reinforcement Learning from Human Feedback. ICML 2024,
arXiv 2401.04056.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from mdpkit import losses, validate
from mdpkit.access import Comparisons, Exact
from mdpkit.errors import MdpkitError
from mdpkit.instances.preferences import dominated_cycle
from mdpkit.iterate import iterate
from mdpkit.jit import kernel
from mdpkit.kernels.draw import draw
from mdpkit.kernels.mirror import mirror, times
from mdpkit.models.preferences import PreferenceModel
from mdpkit.records import Paper, Result, Trace
from mdpkit.worlds.preferences import ask

PAPER = Paper(
    "spo", "A Minimaximalist Approach to Reinforcement Learning from Human Feedback",
    "Gokul Swamy, Christoph Dann, Rahul Kidambi, Zhiwei Steven Wu, Alekh Agarwal", "ICML 2024", "2401.04056",
    ("games", "preferences", "self-play", "tabular"),
    """@inproceedings{swamy2024minimaximalist,
  title     = {A Minimaximalist Approach to Reinforcement Learning from Human Feedback},
  author    = {Swamy, Gokul and Dann, Christoph and Kidambi, Rahul and Wu, Zhiwei Steven and Agarwal, Alekh},
  booktitle = {International Conference on Machine Learning},
  year      = {2024}
}""")


@dataclass(frozen=True)
class Params:
    """T rounds at step eta > 0; n opponents a round (`run_sampled`); A actions a step (`run_behavioural`)."""

    T: int
    eta: float
    n: int = 1
    A: int = 2


def theory(T: int, Y: int) -> Params:
    """eta = sqrt(2 log Y/T); with one option there is nothing to learn, and eta is 1."""
    T, Y = validate.count("T", T), validate.count("Y", Y)
    return Params(T, math.sqrt(2 * math.log(Y) / T) if Y > 1 else 1.0)


def run(access: Exact, params: Params, rng: np.random.Generator) -> Result:
    """SPO with Hedge on exact preferences.

    Parameters
    ----------
    access : Exact
        To a preference model with one prompt; pi_ref and beta are not looked at.
    params : Params
    rng : numpy.random.Generator
        Not used.

    Returns
    -------
    Result
        ``output`` is the average (Y,); the trace holds pi_1..pi_T, and in its info their logarithms ``log_pi``.
    """
    return _exactly(access, params, rng, 0.0)


def run_optimistic(access: Exact, params: Params, rng: np.random.Generator) -> Result:
    """SPO with optimistic Hedge; see `optimistic_theory`. As `run` else."""
    return _exactly(access, params, rng, 1.0)


def run_duel(access: Exact, params: Params, rng: np.random.Generator) -> Result:
    """Two Hedge learners, the first for M and the second against it.

    Parameters and result as in `run`, but ``output`` is the pair of averages, and the info holds ``y`` (T, Y) alone.
    """
    x, y = (np.exp(z) for z in duel(_given(access, params, rng), params.eta, params.T))
    trace = Trace(x, np.arange(params.T), {"y": y})
    return Result((x.sum(0) / params.T, y.sum(0) / params.T), trace, params)


def run_sampled(access: Comparisons, params: Params, rng: np.random.Generator) -> Result:
    """SPO with Hedge on labels: n (Y - 1) comparisons a round, all with n opponents that ``rng`` draws.

    ``output`` is the average (Y,); the trace holds pi_1..pi_T.
    """
    known = validate.instance("access", access, Comparisons).known
    _checked(params, rng, known.X)
    S, total = np.zeros(known.Y), np.zeros(known.Y)
    settings = np.array([params.eta, params.n])
    trace = access.drive(_labels, (S, total, settings), np.zeros(known.Y), params.T, rng)
    return Result(total / params.T, trace, params, access.samples)                     # 6


def run_behavioural(access: Exact, params: Params, rng: np.random.Generator) -> Result:
    """SPO by lines 8 and 9, where option y is the trajectory of the digits of y to the base ``params.A``, first first.

    Parameters and result as in `run`, but the info holds ``first`` (T, A), the law of the first action, alone.
    """
    M, A = _given(access, params, rng), validate.count("params.A", params.A, 2)
    H = round(math.log(len(M), A))
    if len(M) != A**H:
        raise MdpkitError("params.A", f"a number of which Y = {len(M)} is a power", A)
    uniform = [np.full((A**h, A), -math.log(A)) for h in range(H)]                     # 1

    def once(tables: list[np.ndarray], access: Exact, rng: np.random.Generator) -> list[np.ndarray]:
        V = params.eta * (M * np.exp(_whole(tables))).sum(-1)                          # 3, 8
        new = []
        for log_pi in reversed(tables):
            up = log_pi + V.reshape(log_pi.shape)
            V = losses.log_sum_exp(up)                                                 # 8
            new.append(up - V[:, None])                                                # 9
        return new[::-1]

    show = lambda tables: (np.exp(_whole(tables)), {"first": np.exp(tables[0][0])})
    trace = iterate(once, uniform, access, params.T, rng, show)[1]
    return Result(trace.policies[trace.index].sum(0) / params.T, trace, params)        # 6


def optimistic_theory(T: int) -> Params:
    """eta = 1/4, for `run_optimistic`."""
    return Params(validate.count("T", T), 0.25)


def condorcet_theory(T: int, lead: float) -> Params:
    """eta = Delta/4, Delta the lead of one option over all others, in (0, 1]."""
    return Params(validate.count("T", T), validate.interval("lead", lead, 0.0, 1.0, open_lo=True) / 4)


def self_play(M: np.ndarray, eta: float, T: int, w: float = 0.0) -> np.ndarray:
    """log pi_1..log pi_T (T, Y) by lines 1 to 5, on any payoff M (Y, Y)."""
    log_pi = np.empty((validate.count("T", T), len(M)))
    _play(_square(M), validate.interval("eta", eta, 0.0, math.inf, open_lo=True), validate.real("w", w), log_pi)
    return log_pi


def duel(M: np.ndarray, eta: float, T: int) -> tuple[np.ndarray, np.ndarray]:
    """log x_1.. and log y_1.., each (T, Y), of line 7, on any payoff M (Y, Y) to the first."""
    M = _square(M)
    log_x, log_y = np.empty((validate.count("T", T), len(M))), np.empty((T, len(M)))
    _duel(M, np.ascontiguousarray(-M.T), validate.interval("eta", eta, 0.0, math.inf, open_lo=True), log_x, log_y)
    return log_x, log_y


def certificate(M: np.ndarray, pi: np.ndarray) -> tuple:
    """gap(average) and Reg_T/T of any plays pi (T, Y). On floats and on rational arrays."""
    gains = (M * pi[:, None, :]).sum(-1)
    T = len(pi)
    return (M * (pi.sum(0) / T)).sum(-1).max(), (gains.sum(0).max() - (pi * gains).sum()) / T


def reward_model(p: np.ndarray, ridge: float = 1e-3) -> np.ndarray:
    """Bradley-Terry scores (Y,) of uniform pairs: least sum over y != z of p[y, z] softplus(r_z - r_y), + ridge |r|^2.

    By Newton's method with halved steps.
    """
    p = validate.within("p", _square(p), 0.0, 1.0)
    ridge = validate.interval("ridge", ridge, 0.0, math.inf, open_lo=True)
    W, r = p * (1 - np.eye(len(p))), np.zeros(len(p))
    value = lambda r: losses.pairwise(W[None], r[None])[0] + ridge * float((r * r).sum())
    for _ in range(100):
        s = losses.sigmoid(losses.margins(r))
        push, g = (W + W.T) * s * (1 - s), ((W + W.T) * s - W).sum(1) + 2 * ridge * r
        move = np.linalg.solve(np.diag(push.sum(1) + 2 * ridge) - push, g)
        while value(r - move) > value(r) and np.abs(move).max() > 1e-12:
            move = move / 2
        r = r - move
        if np.abs(move).max() < 1e-13:
            break
    return r


def group_rewards(access: Comparisons, pi: np.ndarray, n: int, groups: int, rng: np.random.Generator,
                  ) -> tuple[np.ndarray, np.ndarray]:
    """Groups of n options drawn from pi (Y,), and the reward of each option, (groups, n) both.

    A reward is the mean label against the n - 1 others of the group. Every pair is compared once; equal options count
    0. Given the option y, its reward has mean (M pi)(y).
    """
    Y = validate.instance("access", access, Comparisons).known.Y
    r = np.zeros((validate.count("groups", groups), validate.count("n", n, 2)))
    y = np.zeros(r.shape, np.int64)
    access.call(_group, np.cumsum(validate.simplex("pi", pi, (Y,))), y, r, validate.generator("rng", rng))
    return y, r


def demo(rng: np.random.Generator) -> Result:
    """Thirty sampled rounds with two opponents each."""
    return run_sampled(Comparisons(dominated_cycle(), rng), Params(30, 0.25, n=2), rng)


def _exactly(access: Exact, params: Params, rng: np.random.Generator, w: float) -> Result:
    log_pi = self_play(_given(access, params, rng), params.eta, params.T, w)
    pi = np.exp(log_pi)
    return Result(pi.sum(0) / params.T, Trace(pi, np.arange(params.T), {"log_pi": log_pi}), params)   # 6


def _given(access: Exact, params: Params, rng: np.random.Generator) -> np.ndarray:
    validate.instance("access", access, Exact)
    model = validate.instance("access.model", access.model, PreferenceModel)
    _checked(params, rng, model.X)
    return model.p[0] - model.p[0].T            # antisymmetric to the last bit, as 2 p - 1 is not


def _checked(params: Params, rng: np.random.Generator, X: int) -> None:
    validate.instance("params", params, Params)
    validate.generator("rng", rng)
    validate.count("number of prompts", X, 1, 1)
    validate.interval("params.eta", params.eta, 0.0, math.inf, open_lo=True)
    for name in ("T", "n"):
        validate.count(f"params.{name}", getattr(params, name))


def _square(M: np.ndarray) -> np.ndarray:
    return validate.array("M", M, ("Y", len(M) if np.ndim(M) else "Y"))


def _whole(tables: list[np.ndarray]) -> np.ndarray:
    """Log-law of whole trajectories (Y,) of tables log pi(a|h), (A^h, A) each."""
    out = np.zeros(1)
    for log_pi in tables:
        out = (out[:, None] + log_pi).ravel()
    return out


def _play_body(M, eta, w, log_pi):
    Y = len(M)
    S, g, seen = np.zeros(Y), np.zeros(Y), np.zeros(Y)                                 # 1
    for t in range(len(log_pi)):
        mirror(eta, seen, 0.0, seen, 0.0, seen, log_pi[t])                             # 2
        times(M, log_pi[t], g)                                                         # 3
        for y in range(Y):
            S[y] += g[y]                                                               # 5
            seen[y] = S[y] + w * g[y]


def _duel_body(M, N, eta, log_x, log_y):
    """``N`` is -M', the payoff to the second by its own option."""
    Y = len(M)
    S, g, R, f = np.zeros(Y), np.zeros(Y), np.zeros(Y), np.zeros(Y)                    # 1
    for t in range(len(log_x)):
        mirror(eta, S, 0.0, S, 0.0, S, log_x[t])                                       # 2
        mirror(eta, R, 0.0, R, 0.0, R, log_y[t])                                       # 2, 7
        times(M, log_y[t], g)                                                          # 3
        times(N, log_x[t], f)                                                          # 7
        for y in range(Y):
            S[y] += g[y]                                                               # 5
            R[y] += f[y]


def _labels_body(world, S, total, settings, log, first, rng):
    """``settings``: eta, opponents a round."""
    eta, n, Y = settings[0], int(settings[1]), len(S)
    log_pi, cum = np.empty(Y), np.empty(Y)
    for t in range(len(log)):
        mirror(eta, S, 0.0, S, 0.0, S, log_pi)                                         # 2
        mass = 0.0
        for y in range(Y):
            log[t, y] = math.exp(log_pi[y])
            total[y] += log[t, y]
            mass += log[t, y]
            cum[y] = mass
        for _ in range(n):
            z = draw(cum, 0, Y, rng.random() * mass)                                   # 4
            for y in range(Y):
                if y != z:                         # Paper: an option is not compared with itself, which counts 0
                    S[y] += (1.0 if ask(world, 0, y, z) else -1.0) / n                 # 4, 5


def _group_body(world, cum, y, r, rng):
    groups, n = y.shape
    for k in range(groups):
        for i in range(n):
            y[k, i] = draw(cum, 0, len(cum), rng.random())
            for j in range(i):
                if y[k, i] != y[k, j]:
                    won = (1.0 if ask(world, 0, y[k, i], y[k, j]) else -1.0) / (n - 1)
                    r[k, i] += won
                    r[k, j] -= won


_play = kernel(_play_body)
_duel = kernel(_duel_body)
_labels = kernel(_labels_body)
_group = kernel(_group_body)
