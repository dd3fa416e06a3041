"""The generation-verification gap: a model improves itself on what its own verifier lets pass.

X prompts x ~ rho, Y responses. A model is f (X, Y), its verifier a score v (X, Y), the true utility u (X, Y) in [0, 1]
is what the learner never sees; J(f) = E_x E_{y ~ f(.|x)} u. With a weight w = w(v) >= 0 the reweighted model is
f[w](y|x) = f(y|x) w(x, y) / sum_z f(z|x) w(x, z), f itself at a prompt without mass, and gap = J(f[w]) - J(f).

    1  f_0 = f; for t = 0..T-1:
    2      generate: the law f_t itself (`run`), or n samples of it a prompt (`run_sampled`)
    3      verify: v, or v + sigma N(0, 1) drawn anew for each sample
    4      w = 1[v >= level] ("threshold"), the top share `level` a prompt ("quantile"), or exp(v/level) ("exponential")
    5      distil: f_{t+1} = f_t[w], or the weights of the samples by response, normalised
    6      (`run_inexact`) f_{t+1} = (1 - error) f_{t+1} + error q, with a random law q at each prompt
    7  return f_T

A fixed w gives f_t proportional to f_0 w^t.

Guarantee (Lemma 1, derived here; the paper defines the gap and measures it, in its Section 2, and the wording was not
at hand): gap = E_x Cov_{f}(u, w)/E_f[w]. For binary u with p = E u, al = E[w | u = 1] and be = E[w | u = 0] under f
the accuracy becomes p al/(p al + (1-p) be): it rises if and only if al > be, by p (al - be)/(p al + (1-p) be) of what
is left. E_{f_t}[w] rises by Var/E a step; f_t tends to f_0 restricted to argmax w, linearly at the rate w_2/w_1 of
the two largest weights, which is tight; with errors e_t of distillation in total variation,
sum_t gap_t <= 1 - J(f_0) + sum_t e_t.

Song, Zhang, Eisenach, Kakade, Foster, Ghai. Mind the Gap: Examining the Self-Improvement Capabilities of Large
Language Models. ICLR 2025, arXiv 2412.02674.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from mdpkit import rational, validate
from mdpkit.access import Episodes
from mdpkit.iterate import iterate
from mdpkit.models.bandits import ContextualBandit
from mdpkit.records import Paper, Result

PAPER = Paper(
    "gv-gap", "Mind the Gap: Examining the Self-Improvement Capabilities of Large Language Models",
    "Yuda Song, Hanlin Zhang, Carson Eisenach, Sham M. Kakade, Dean Foster, Udaya Ghai", "ICLR 2025", "2412.02674",
    ("self-improvement", "tabular", "verifier"),
    """@inproceedings{song2025mind,
  title     = {Mind the Gap: Examining the Self-Improvement Capabilities of Large Language Models},
  author    = {Song, Yuda and Zhang, Hanlin and Eisenach, Carson and Kakade, Sham M. and Foster, Dean and Ghai, Udaya},
  booktitle = {International Conference on Learning Representations},
  year      = {2025}
}""")

RULES = ("threshold", "quantile", "exponential")


@dataclass(frozen=True)
class Params:
    """T rounds from the model f (X, Y) with the score v (X, Y); the rule of line 4, and its level.

    ``n`` samples a prompt with noise ``sigma`` are `run_sampled`'s, ``error`` is `run_inexact`'s. A level is a
    threshold, a share in (0, 1] or a temperature > 0.
    """

    T: int
    f: Any
    v: Any
    rule: str = "threshold"
    level: float = 0.5
    n: int = 16
    sigma: float = 0.0
    error: float = 0.0


def theory(T: int, f: Any, v: Any) -> Params:
    """The filter at 1/2: nothing is tuned by theory."""
    return Params(T, f, v)


def run(access: Episodes, params: Params, rng: np.random.Generator) -> Result:
    """Self-improvement on the law itself.

    Parameters
    ----------
    access : Episodes
        To a contextual bandit whose mean rewards are u; neither prompts nor rewards are asked for.
    params : Params
    rng : numpy.random.Generator
        Not used.

    Returns
    -------
    Result
        ``output`` is f_T (X, Y); the trace holds f_0..f_{T-1}, and its info their weights ``w``.
    """
    f, v = _given(access, params, rng)

    def once(f: np.ndarray, access: Any, rng: np.random.Generator) -> np.ndarray:
        return reweight(f, weigh(v, f, params.rule, params.level))                     # 2, 3, 5

    f, trace = iterate(once, f, access, params.T, rng, lambda f: (f, {"w": weigh(v, f, params.rule, params.level)}))
    return Result(f, trace, params, {"generated": 0, **access.samples})                # 7


def run_sampled(access: Episodes, params: Params, rng: np.random.Generator) -> Result:
    """Self-improvement on n samples a prompt and round, which the generator draws, as it does the verifier's noise.

    A prompt of which no sample passes keeps its law. Of others the samples that a threshold lets pass are right with
    mean p al/(p al + (1-p) be), for every n. As `run` else.
    """
    f, v = _given(access, params, rng)
    X, Y = f.shape
    rows = np.arange(X)[:, None]

    def once(f: np.ndarray, access: Any, rng: np.random.Generator) -> np.ndarray:
        u = rng.random((X, params.n))
        y = np.minimum((u[:, :, None] >= np.cumsum(f, 1)[:, None, :]).sum(-1), Y - 1)  # 2
        score = v[rows, y] + params.sigma * rng.normal(size=y.shape)                   # 3
        w = weigh(score, np.full(y.shape, 1.0 / params.n), params.rule, params.level)
        kept = np.zeros((X, Y))
        np.add.at(kept, (np.broadcast_to(rows, y.shape), y), w)                        # 4
        total = kept.sum(1, keepdims=True)
        return np.where(total > 0, kept / np.where(total > 0, total, 1.0), f)          # 5

    f, trace = iterate(once, f, access, params.T, rng, lambda f: (f, {}))
    return Result(f, trace, params, {"generated": params.T * X * params.n, **access.samples})


def run_inexact(access: Episodes, params: Params, rng: np.random.Generator) -> Result:
    """`run`, each step mixed with the share ``params.error`` of a law drawn uniformly. As `run` else."""
    f, v = _given(access, params, rng)

    def once(f: np.ndarray, access: Any, rng: np.random.Generator) -> np.ndarray:
        q = rng.exponential(size=f.shape)
        q = q / q.sum(1, keepdims=True)
        return (1 - params.error) * reweight(f, weigh(v, f, params.rule, params.level)) + params.error * q   # 6

    f, trace = iterate(once, f, access, params.T, rng, lambda f: (f, {}))
    return Result(f, trace, params, {"generated": 0, **access.samples})


def weigh(v: np.ndarray, f: np.ndarray, rule: str, level: float) -> np.ndarray:
    """Weights (X, Y) of line 4 for scores v under f, each 0..1.

    The quantile keeps the best responses up to the mass ``level``, a share of the last; ties go to the lower index.
    """
    if rule == "threshold":
        return 1.0 * (v >= level)                                                      # 4
    if rule == "exponential":
        return np.exp((v - v.max(-1, keepdims=True)) / level)                          # 4
    order = np.argsort(-v, axis=-1, kind="stable")
    mass = np.take_along_axis(f, order, -1)
    room = level - (np.cumsum(mass, -1) - mass)
    share = np.where(mass > 0, np.clip(room / np.where(mass > 0, mass, 1.0), 0.0, 1.0), 1.0 * (room > 0))
    out = np.empty(v.shape)
    np.put_along_axis(out, order, share, -1)
    return out                                                                         # 4


def reweight(f: np.ndarray, w: np.ndarray) -> np.ndarray:
    """f[w] (X, Y); a prompt without mass keeps f. On floats and on rational arrays, as all below but `far`."""
    out, mass = f.copy(), (f * w).sum(-1)
    for x in range(len(f)):
        if mass[x] != 0:
            out[x] = f[x] * w[x] / mass[x]
    return out


def improve(f: np.ndarray, w: np.ndarray, T: int) -> np.ndarray:
    """f_0..f_T (T+1, X, Y) under a fixed weight."""
    out = rational.zeros((T + 1, *f.shape), f)
    out[0] = f
    for t in range(T):
        out[t + 1] = reweight(out[t], w)
    return out


def far(f: np.ndarray, w: np.ndarray, t: float) -> np.ndarray:
    """f_t (X, Y) in one step, by logarithms: nothing underflows at large t. Each prompt must have mass."""
    with np.errstate(divide="ignore"):
        low = np.log(f) + (t * np.log(w) if t > 0 else 0.0)
    weights = np.exp(low - low.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True)


def utility(f: np.ndarray, u: np.ndarray, rho: np.ndarray) -> Any:
    """J(f)."""
    return (rho * (f * u).sum(-1)).sum()


def gap(f: np.ndarray, w: np.ndarray, u: np.ndarray) -> np.ndarray:
    """J_x(f[w]) - J_x(f) of each prompt (X,)."""
    return (reweight(f, w) * u).sum(-1) - (f * u).sum(-1)


def relative_gap(f: np.ndarray, w: np.ndarray, u: np.ndarray) -> Any:
    """The mean of gap/(1 - J_x) over the prompts with J_x < 1, each counted once; 0 where there is none."""
    left = 1 - (f * u).sum(-1)
    open_ = [g / rest for g, rest in zip(gap(f, w, u), left) if rest > 0]
    return sum(open_) / len(open_) if open_ else 0.0


def gap_by_rates(f: np.ndarray, w: np.ndarray, u: np.ndarray) -> tuple[Any, Any, Any]:
    """For binary u: the new accuracy, the gap and the relative gap of each prompt (X,), from p, al and be.

    Accuracies must be in (0, 1), and some mass must pass.
    """
    p = (f * u).sum(-1)
    al, be = (f * w * u).sum(-1) / p, (f * w * (1 - u)).sum(-1) / (1 - p)
    passed = p * al + (1 - p) * be
    return p * al / passed, p * (1 - p) * (al - be) / passed, p * (al - be) / passed


def accounting(fs: np.ndarray, w: np.ndarray, u: np.ndarray, rho: np.ndarray) -> tuple[Any, Any, Any]:
    """Of any models f_0..f_T: J (T+1,), gap_t (T,), and e_t (T,), the mean TV distance of f_{t+1} from f_t[w]."""
    J = np.array([utility(f, u, rho) for f in fs])
    step = [reweight(f, w) for f in fs[:-1]]
    gaps = np.array([utility(g, u, rho) for g in step]) - J[:-1]
    return J, gaps, np.array([(rho * abs(f - g).sum(-1)).sum() / 2 for f, g in zip(fs[1:], step)])


def pass_at_k(f: np.ndarray, u: np.ndarray, rho: np.ndarray, k: int) -> Any:
    """Mean probability that one of k samples has u = 1, u binary."""
    return (rho * (1 - (1 - (f * u).sum(-1)) ** k)).sum()


def noisy_rates(sigma: float, m: int = 1) -> tuple[float, float]:
    """al and be of the threshold 1/2 on the mean of m scores u + sigma N(0, 1): Phi(+-sqrt(m)/(2 sigma))."""
    x = math.sqrt(m / 8) / sigma
    return math.erfc(-x) / 2, math.erfc(x) / 2


def demo(rng: np.random.Generator) -> Result:
    """Five rounds of 32 noisily verified samples on two prompts."""
    u = np.array([[1.0, 0.0, 0.0], [0.0, 0.5, 1.0]])
    f = np.array([[0.25, 0.5, 0.25], [0.5, 0.375, 0.125]])
    access = Episodes(ContextualBandit([0.5, 0.5], u), rng)
    return run_sampled(access, Params(5, f, u, n=32, sigma=0.5), rng)


def _given(access: Episodes, params: Params, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    validate.instance("access", access, Episodes)
    validate.instance("params", params, Params)
    validate.generator("rng", rng)
    shape = (access.known.X, access.known.A)
    f, v = validate.simplex("params.f", params.f, shape), validate.array("params.v", params.v, shape)
    for name in ("T", "n"):
        validate.count(f"params.{name}", getattr(params, name))
    validate.choice("params.rule", params.rule, RULES)
    if params.rule != "threshold":
        top = 1.0 if params.rule == "quantile" else math.inf
        validate.interval("params.level", params.level, 0.0, top, open_lo=True)
    validate.interval("params.sigma", params.sigma, 0.0, math.inf)
    validate.interval("params.error", params.error, 0.0, 1.0)
    return f, v
