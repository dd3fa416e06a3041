"""HyPO: direct preference optimisation on logged comparisons, held to the reference policy by samples of its own.

Prompts x ~ rho, responses y in 0..Y-1, pi_ref (X, Y) and beta > 0 known; J(pi) = E_pi r* - beta KL(pi || pi_ref).
Logged comparisons are weights W (X, Y, Y), W[x, w, l] the share in which w beat l. The learner draws prompts and its
own responses, and asks for no label. pi_theta is a softmax of logits theta (X, Y), or proportional to
pi_ref exp(<phi(x, y), theta>/beta); rhat = beta log(pi_theta/pi_ref).

    1  start from given logits, or from pi_ref; for t = 1..T:
    2      g = gradient of sum W[x, w, l] softplus(-(rhat(x, w) - rhat(x, l)))                       (DPO's loss)
    3      g += lam * gradient of E_x KL(pi_theta || pi_ref), in full (n_on = 0), or from n_on fresh pairs x ~ rho,
           y ~ pi_theta(.|x): the mean of grad log pi_theta(y|x) * s, s = log(pi_theta/pi_ref)(y|x) held constant
    4      theta = theta - a g
    5  return pi_theta

lam = 0 is DPO (`run_dpo`). The theorem's form (`run_constrained`) has the least DPO loss among pi_theta with
E_x KL(pi_theta || pi_ref) <= radius; lam is its multiplier, found by bisection. Two-stage RLHF (`run_rlhf`):

    6  rhat = the most likely reward of the comparisons with values in [0, R]
    7  return pi proportional to pi_ref exp(rhat/beta)

Guarantees (Proposition 4.1, Theorem 4.1 and after; numbers and wording recalled): with
eps(rhat) = E_x E_{y,y' ~ pi_ref}[((r*(y)-r*(y')) - (rhat(y)-rhat(y')))^2], J(pi*) - J(pi_hat) = O(C sqrt(eps)), where
C is the largest pi/pi_ref over all policies for DPO, but only over those with KL(pi || pi_ref) <= e for a policy in
that ball, where RLHF with bounded rewards and HyPO stay. Checked is a derived form with constants:
J(pi*) - J(pi_hat) <= sqrt(C(pi*) C(pi_hat) eps), C(pi) = max pi/pi_ref, and e = min(R/beta, R^2/(8 beta^2)). Upper
bounds, not tight. Without coverage a minimiser of DPO's loss can be arbitrarily bad.

Song, Swamy, Singh, Bagnell, Sun. The Importance of Online Data: Understanding Preference Fine-tuning via Coverage.
NeurIPS 2024, arXiv 2406.01462, Algorithm 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mdpkit import losses, validate
from mdpkit.access import Comparisons
from mdpkit.data import compare
from mdpkit.errors import MdpkitError
from mdpkit.instances.preferences import two_prompts
from mdpkit.jit import kernel
from mdpkit.kernels.draw import draw
from mdpkit.losses import add_logistic, add_reverse_kl, normalise
from mdpkit.records import Pairs, Paper, Result
from mdpkit.worlds.preferences import start

PAPER = Paper(
    "hypo", "The Importance of Online Data: Understanding Preference Fine-tuning via Coverage",
    "Yuda Song, Gokul Swamy, Aarti Singh, J. Andrew Bagnell, Wen Sun", "NeurIPS 2024", "2406.01462",
    ("preferences", "offline", "hybrid", "tabular", "log-linear"),
    """@inproceedings{song2024importance,
  title     = {The Importance of Online Data: Understanding Preference Fine-tuning via Coverage},
  author    = {Song, Yuda and Swamy, Gokul and Singh, Aarti and Bagnell, J. Andrew and Sun, Wen},
  booktitle = {Advances in Neural Information Processing Systems},
  year      = {2024}
}""")

@dataclass(frozen=True)
class Params:
    """T steps of size a, the weight lam of the KL term and its n_on samples a step; R, radius; and where to start.

    ``start`` holds logits (X, Y); every ``every``-th policy is traced (T must be a multiple).
    """

    T: int
    a: float = 1.0
    lam: float = 0.01
    n_on: int = 0
    R: float = 1.0
    radius: float = math.inf
    start: Any = None
    every: int = 1


def theory(T: int, R: float, beta: float) -> Params:
    """Rewards within a range R, and the KL ball in which the policy of such a reward lies."""
    return Params(validate.count("T", T), R=R, radius=radius(R, beta))


def run(access: Comparisons, data: Pairs, params: Params, rng: np.random.Generator) -> Result:
    """HyPO on the table of logits.

    Parameters
    ----------
    access : Comparisons
        Asked for prompts only.
    data : Pairs
    params : Params
    rng : numpy.random.Generator
        Draws the learner's own responses.

    Returns
    -------
    Result
        ``output`` is pi_theta (X, Y) after T steps; the trace holds those before steps 0, every, 2 every, ..
    """
    return _play(access, data, params, rng, np.zeros((*access.known.pi_ref.shape, 0)))


def run_linear(access: Comparisons, data: Pairs, params: Params, rng: np.random.Generator) -> Result:
    """HyPO in the log-linear class, from theta = 0. Needs ``known.phi`` (X, Y, d). Else as `run`."""
    if params.start is not None:
        raise MdpkitError("params.start", "None for the log-linear class, which starts from pi_ref", None,
                          came="logits are given")
    phi = validate.array("access.known.phi", access.known.phi, (*access.known.pi_ref.shape, "d"))
    return _play(access, data, params, rng, phi.copy())       # writable, as the table's: one compiled version


def run_dpo(access: Comparisons, data: Pairs, params: Params, rng: np.random.Generator) -> Result:
    """DPO on the table: `run` with lam = 0."""
    return run(access, data, replace(params, lam=0.0), rng)


def run_constrained(access: Comparisons, data: Pairs, params: Params, rng: np.random.Generator) -> Result:
    """The theorem's form: `run` at the least lam in [0, 1], to 2**-40, with E_x KL(pi || pi_ref) <= params.radius.

    The KL term is exact; each lam gets T steps from the same start. At lam = 0 this is DPO, where that stays in the
    ball; an MdpkitError where not even lam = 1 leads into it. As `run` else.
    """
    def tried(lam: float) -> tuple[Result, bool]:
        result = run(access, data, replace(params, n_on=0, lam=lam), rng)
        kl = losses.reverse_kl(np.log(result.output), np.log(access.known.pi_ref), access.known.rho)[0]
        return result, kl <= params.radius

    best, inside = tried(0.0)
    if inside:
        return best
    low, high, (best, inside) = 0.0, 1.0, tried(1.0)
    if not inside:
        raise MdpkitError("params.radius", "reached by T steps at lam = 1", params.radius, "give more steps")
    for _ in range(40):
        middle = (low + high) / 2
        result, inside = tried(middle)
        low, high, best = (low, middle, result) if inside else (middle, high, best)
    return best


def run_rlhf(access: Comparisons, data: Pairs, params: Params, rng: np.random.Generator) -> Result:
    """Two-stage RLHF: T projected steps on the Bradley-Terry likelihood in [0, R]^(X, Y), from 0; then Gibbs.

    No prompt is drawn: line 7 is exact. ``output`` is pi (X, Y); there is no trace.
    """
    known, W = _given(access, data, params, rng)
    rhat = np.zeros(known.pi_ref.shape)
    _fit_reward(W, params.R, params.a, params.T, rhat)                                 # 6
    return Result(np.exp(losses.gibbs(np.log(known.pi_ref), rhat, known.beta)), None, params, access.samples)   # 7


def loss(W: np.ndarray, pi: np.ndarray, pi_ref: np.ndarray, beta: float) -> float:
    """DPO's loss of a policy of full support, (X, Y), on weights (X, Y, Y)."""
    return losses.pairwise(W, losses.implicit_reward(np.log(pi), np.log(pi_ref), beta))[0]


def kl_gradient(theta: np.ndarray, pi_ref: np.ndarray, rho: np.ndarray) -> np.ndarray:
    """The gradient of E_x KL(pi_theta || pi_ref) in the logits, (X, Y)."""
    return losses.reverse_kl(losses.log_softmax(theta), np.log(pi_ref), rho)[1]


def sampled_kl_gradient(theta: np.ndarray, pi_ref: np.ndarray, x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Line 3's estimate of `kl_gradient` from prompts x (n,), one response each, (X, Y)."""
    x, g = validate.within("x", validate.array("x", x, ("n",), integer=True), 0, len(theta) - 1), np.zeros(theta.shape)
    _kl_samples(x.copy(), losses.log_softmax(theta), np.log(pi_ref), 1.0, g, rng)
    return g


def local_coverage(pi_ref: np.ndarray, rho: np.ndarray, e: float) -> float:
    """The largest C(pi) over policies with E_x KL(pi || pi_ref) <= e; at e = infinity the global coefficient.

    All of e may go to one prompt, and there it goes furthest on one response: the maximum over x, y of p/pi_ref(y|x),
    p >= pi_ref(y|x) the root of kl(p || pi_ref(y|x)) = e/rho(x), binary; p = 1 where -log pi_ref(y|x) is less.
    """
    return max(_stretch(q, e / m) / q for row, m in zip(pi_ref.tolist(), rho.tolist()) if m > 0 for q in row)


def reward_error(r: np.ndarray, rhat: np.ndarray, pi_ref: np.ndarray, rho: np.ndarray) -> float:
    """eps(rhat): twice the variance of r - rhat under pi_ref, averaged over prompts."""
    D = r - rhat
    off = D - (pi_ref * D).sum(-1, keepdims=True)
    return 2.0 * float(rho @ (pi_ref * off * off).sum(-1))


def gap_bounds(r: np.ndarray, rhat: np.ndarray, pi_ref: np.ndarray, rho: np.ndarray, beta: float,
               ) -> tuple[float, float, float]:
    """Bounds on J(pi*) - J(pi_hat), each weaker than the one before: by C(pi*) and C(pi_hat), local, global coverage.

    The ball of the second is the smaller one that holds both policies.
    """
    log_ref, seen = np.log(pi_ref), np.sqrt(reward_error(r, rhat, pi_ref, rho))
    both = [losses.gibbs(log_ref, x, beta) for x in (r, rhat)]
    own = [float(np.exp(p - log_ref).max()) for p in both]        # C(pi) = max pi/pi_ref
    e = max(losses.reverse_kl(p, log_ref, rho)[0] for p in both)
    return (float(np.sqrt(own[0] * own[1]) * seen), local_coverage(pi_ref, rho, e) * float(seen),
            local_coverage(pi_ref, rho, math.inf) * float(seen))


def radius(R: float, beta: float) -> float:
    """min(R/beta, R^2/(8 beta^2)): the largest KL(pi || pi_ref) of pi ~ pi_ref exp(rhat/beta), rhat of range R.

    Derived, where the paper has 2 R'/beta for |rhat| <= R': KL = E_pi rhat/beta - log E_ref exp(rhat/beta), which is
    at most the range of rhat/beta, and by Hoeffding's lemma under pi an eighth of its square.
    """
    x = validate.interval("R", R, 0.0, math.inf) / validate.interval("beta", beta, 0.0, math.inf, open_lo=True)
    return min(x, x * x / 8)


def demo(rng: np.random.Generator) -> Result:
    """Thirty steps with two samples each on two prompts and fifty logged comparisons."""
    model = two_prompts()
    data = compare(model, np.full((2, 4, 4), 1 / 12) * (1 - np.eye(4)), 50, rng)
    return run(Comparisons(model, rng), data, Params(30, lam=0.1, n_on=2), rng)


def _given(access: Comparisons, data: Pairs, params: Params, rng: np.random.Generator) -> tuple[Any, np.ndarray]:
    known = validate.instance("access", access, Comparisons).known
    validate.instance("params", params, Params)
    validate.generator("rng", rng)
    validate.count("params.n_on", params.n_on, 0)
    if validate.count("params.T", params.T) % validate.count("params.every", params.every) != 0:
        raise MdpkitError("params.every", f"a divisor of T = {params.T}", params.every)
    for name in ("a", "lam", "R"):
        validate.interval(f"params.{name}", getattr(params, name), 0.0, math.inf, open_lo=name == "a")
    return known, losses.weights(data, *known.pi_ref.shape)


def _play(access: Comparisons, data: Pairs, params: Params, rng: np.random.Generator, phi: np.ndarray) -> Result:
    known, W = _given(access, data, params, rng)
    log_ref = np.log(known.pi_ref)
    logits = log_ref.copy() if params.start is None else np.array(validate.array("params.start", params.start,
                                                                                 log_ref.shape))   # 1
    settings = np.array([known.beta, params.lam, params.a, params.n_on, params.every])
    state = (W, phi, log_ref, known.rho, settings, np.zeros(phi.shape[2]), logits)
    trace = access.drive(_descend, state, np.zeros(log_ref.shape), params.T // params.every, rng)
    return Result(np.exp(losses.log_softmax(logits)), trace, params, access.samples)    # 5


def _stretch(q: float, e: float) -> float:
    """The p >= q with binary kl(p || q) = e, by bisection to the last bit; 1 where there is none."""
    low, high = (1.0 if e >= -math.log(q) else q), 1.0
    while low < (middle := (low + high) / 2) < high:
        rest = (1 - middle) * (math.log1p(-middle) - math.log1p(-q))
        low, high = (middle, high) if middle * math.log(middle / q) + rest <= e else (low, middle)
    return low


def _descend_body(world, W, phi, log_ref, rho, settings, theta, logits, log, first, rng):
    """``settings``: beta, lam, a, samples a step (0: exact), steps a row of the log. No features: a table."""
    beta, lam, a, n_on, every = settings[0], settings[1], settings[2], int(settings[3]), int(settings[4])
    X, Y = logits.shape
    log_pi, rhat, g, prompts = np.empty((X, Y)), np.empty((X, Y)), np.empty((X, Y)), np.empty(n_on, np.int64)
    for t in range(len(log)):
        for k in range(every):
            normalise(logits, log_pi)
            for x in range(X):
                for y in range(Y):
                    rhat[x, y] = beta * (log_pi[x, y] - log_ref[x, y])
                    g[x, y] = 0.0
                    if k == 0:
                        log[t, x, y] = math.exp(log_pi[x, y])
            add_logistic(W, rhat, beta, g)                                             # 2
            if lam > 0.0 and n_on == 0:
                add_reverse_kl(log_pi, log_ref, rho, lam, g)                           # 3
            elif lam > 0.0:
                for i in range(n_on):
                    prompts[i] = start(world)
                _kl_samples(prompts, log_pi, log_ref, lam, g, rng)                     # 3
            _move(a, g, phi, beta, log_ref, theta, logits)                             # 4


def _kl_samples_body(prompts, log_pi, log_ref, scale, g, rng):
    """g += scale times the mean of (e_y - pi) s(y), y ~ pi. Paper: s is held constant, and no baseline is taken."""
    n, Y = len(prompts), g.shape[1]
    cum = np.empty(Y)
    for i in range(n):
        x, total = prompts[i], 0.0
        for y in range(Y):
            total += math.exp(log_pi[x, y])
            cum[y] = total
        chosen = draw(cum, 0, Y, rng.random() * total)
        push = scale / n * (log_pi[x, chosen] - log_ref[x, chosen])
        for y in range(Y):
            g[x, y] -= push * math.exp(log_pi[x, y])
        g[x, chosen] += push


def _move_body(a, g, phi, beta, log_ref, theta, logits):
    X, Y, d = phi.shape
    for x in range(X):
        for y in range(Y):
            if d == 0:
                logits[x, y] -= a * g[x, y]
            for j in range(d):
                theta[j] -= a * g[x, y] * phi[x, y, j] / beta
    for x in range(X if d > 0 else 0):
        for y in range(Y):
            logits[x, y] = log_ref[x, y]
            for j in range(d):
                logits[x, y] += phi[x, y, j] * theta[j] / beta


def _fit_reward_body(W, R, a, T, r):
    """T steps of line 6, projected on [0, R]."""
    X, Y = r.shape
    g = np.empty((X, Y))
    for _ in range(T):
        g[:] = 0.0
        add_logistic(W, r, 1.0, g)
        for x in range(X):
            for y in range(Y):
                r[x, y] = min(max(r[x, y] - a * g[x, y], 0.0), R)                      # 6


_kl_samples = kernel(_kl_samples_body)
_move = kernel(_move_body)
_descend = kernel(_descend_body)
_fit_reward = kernel(_fit_reward_body)
