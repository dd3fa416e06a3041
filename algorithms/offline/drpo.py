"""DR-PO: policy optimisation from preferences, with resets to states of the logged data.

Episodic MDP, steps h = 0..H-1, as a model of text: a state is a prompt and a partial answer. Given are triples
(tau0, tau1, o), both trajectories from pi_SFT, Pr(o = 1) = sigmoid(r*(tau1) - r*(tau0)), and logged trajectories of
pi_SFT. d_h is the state law of pi_SFT, d*_h that of a comparator pi*.

    1  r^ = argmax over R of the likelihood of the preferences
    2  pi^1 = pi_SFT;  for t = 1..T:
    3      m times: h uniform; reset to step h of a uniform logged trajectory, s; a = its action, or with chance 1/2
           a ~ pi^t_h(.|s); follow pi^t from h+1 to the end; y = the sum of r^ from h on
    4      f_h(s, .) = the mean of y for each action; 0 in a state of which some action was not tried
    5      pi^{t+1}_h(a|s) proportional to pi^t_h(a|s) exp(eta f_h(s, a))
    6  return the uniform mixture of pi^1..pi^T (the trace); pi^{T+1} is the last iterate
    7  Without resets, for comparison: follow pi^t from the start to step h, a ~ pi_SFT(.|s) or pi^t_h(.|s); else as 3

Guarantee (Theorem 1; number and form as recalled, its wording was not at hand): T of order H^2 KL/eps^2, and the
mixture loses to pi* at most
    O( C_TR err(r^) + H sqrt(C_ST err(f)) + H sqrt(KL/T) ),      KL = E_{tau ~ pi*} log(pi*(tau)/pi_SFT(tau)),
C_ST the largest ratio of occupancies d*/d over h, s, a, and C_TR^2 the supremum over g of E (g(tau0) - g(tau1))^2 with
tau0 ~ pi*, tau1 ~ pi_SFT over the same with both from pi_SFT. An upper bound, not tight. Checked are the steps of its
proof, with derived constants; they need the logged half of the actions of line 3.

Chang, Zhan, Oertell, Brantley, Misra, Lee, Sun. Dataset Reset Policy Optimization for RLHF. 2024, arXiv 2404.08495.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import flint
import numpy as np

from mdpkit import rational, validate
from mdpkit.access import Episodes, Reset
from mdpkit.data import collect
from mdpkit.instances.formula import step_dependent, step_dependent_policy
from mdpkit.jit import kernel
from mdpkit.kernels.draw import draw
from mdpkit.measure.plain import occupancy, state_law
from mdpkit.records import Dataset, Paper, Result, Segments
from mdpkit.solve.precise import up
from mdpkit.worlds.markov import reset, start, step

PAPER = Paper(
    "drpo", "Dataset Reset Policy Optimization for RLHF",
    "Jonathan D. Chang, Wenhao Zhan, Owen Oertell, Kiant\u00e9 Brantley, Dipendra Misra, Jason D. Lee, Wen Sun", "2024",
    "2404.08495", ("episodic", "offline", "preferences", "resets", "tabular"),
    """@article{chang2024dataset,
  title = {Dataset Reset Policy Optimization for {RLHF}},
  year = {2024}, journal = {arXiv preprint arXiv:2404.08495},
  author = {Chang, Jonathan D. and Zhan, Wenhao and Oertell, Owen and Brantley, Kiant\\'e and Misra, Dipendra and
            Lee, Jason D. and Sun, Wen}
}""")
BITS = 128                  # of roots of rationals


@dataclass(frozen=True, eq=False)
class Params:
    """T iterations of m roll-outs, step eta, pi_SFT (H, S, A), r^ (H, S, A) or None where it is to be learned."""

    T: int
    m: int
    eta: float
    sft: np.ndarray
    r: np.ndarray | None = None


class Log(NamedTuple):
    """One row an iteration."""

    policy: np.ndarray      # (H, S, A) pi^t
    seen: np.ndarray        # (H, S) how often its roll-outs stood in each state


class Feedback(NamedTuple):
    """Logged trajectories, and pairs (n, H) of trajectories; o (n,) is 1 where the second is preferred."""

    logged: Dataset
    first: Segments
    second: Segments
    o: np.ndarray


def theory(T: int, m: int, kl: float, sft: Any, r: Any = None) -> Params:
    """The step that makes `mirror_bound` least: eta = sqrt(8 KL/(T sum_h (H-h)^2)), for rewards of a step in [0, 1]."""
    sft, kl = validate.simplex("sft", sft, ("H", "S", "A")), validate.interval("kl", kl, 0.0, math.inf, open_lo=True)
    T, m = validate.count("T", T), validate.count("m", m)
    return Params(T, m, math.sqrt(8 * kl / (T * int((np.arange(1, len(sft) + 1) ** 2).sum()))), sft, r)


def run(access: Reset, data: Dataset, params: Params, rng: np.random.Generator) -> Result:
    """DR-PO under a known reward table r^ = params.r, lines 2 to 6.

    Parameters
    ----------
    access : Reset
    data : Dataset (n, H)
        Trajectories of pi_SFT, of which states and actions count; another horizon or none at all is refused.
    params : Params
    rng : numpy.random.Generator

    Returns
    -------
    Result
        ``output`` is pi^{T+1} (H, S, A); the trace holds pi^1..pi^T and the states ``seen`` (T, H, S).
    """
    validate.instance("access", access, Reset)
    validate.count("data.n", validate.instance("data", data, Dataset).n)
    validate.count("data.H", data.H, access.known.H, access.known.H)
    logged = data.fits(access.known.S, access.known.A).steps
    found = _optimise(access, logged.s, logged.a, params, rng)                         # 2, 3, 4, 5
    return replace(found, samples={"offline": data.n, **access.samples})               # 6


def run_learned(access: Reset, data: Feedback, params: Params, rng: np.random.Generator) -> Result:
    """DR-PO in full: r^ is a table with entries in [0, 1]; params.r is not looked at. As `run` else."""
    # Paper: R is a class of rewards of whole trajectories; here they are sums over the steps of a table
    H, S, A = shape = access.known.H, access.known.S, access.known.A
    o = validate.within("data.o", validate.array("data.o", data.o, ("n",), integer=True), 0, 1)
    x = np.zeros((len(o), *shape))
    for tau, sign in ((data.second, 2 * o - 1), (data.first, 1 - 2 * o)):
        s, a = (validate.within(f"data.{k}", validate.array(f"data.{k}", y, (len(o), H), integer=True), 0, n - 1)
                for k, y, n in zip("sa", tau, (S, A)))
        x[np.arange(len(o))[:, None], np.arange(H), s, a] += sign[:, None]
    r = fit_reward(x.reshape(len(o), -1), 1.0).reshape(shape)                          # 1
    found = run(access, data.logged, replace(params, r=r), rng)                        # 2, 3, 4, 5
    return replace(found, samples={"preferences": len(o), **found.samples})


def run_roll_in(access: Episodes | Reset, params: Params, rng: np.random.Generator) -> Result:
    """Line 7 in place of line 3: nothing is reset. As `run` else."""
    return _optimise(validate.instance("access", access, (Episodes, Reset)), None, None, params, rng)   # 7


def fit_reward(x: np.ndarray, top: float) -> np.ndarray:
    """Line 1: theta (d,) in [0, top]^d that maximises sum_i log sigmoid(<theta, x_i>).

    Row i of x (n, d) is the preferred trajectory's features less the other's; what no row sees stays near top/2.
    """
    from scipy.optimize import minimize

    x, top = validate.array("x", x, ("n", "d")), validate.interval("top", top, 0.0, math.inf, open_lo=True)

    def loss(theta: np.ndarray) -> tuple[float, np.ndarray]:
        margin = x @ theta
        return float(np.logaddexp(0.0, -margin).sum()), -(1.0 / (1.0 + np.exp(margin))) @ x

    return minimize(loss, np.full(x.shape[1], top / 2), jac=True, method="L-BFGS-B", bounds=[(0.0, top)] * x.shape[1],
                    options={"ftol": 2.0**-50, "gtol": 1e-9, "maxiter": 10000}).x


def ascend(start: np.ndarray, f: np.ndarray, eta: Any) -> np.ndarray:
    """pi^1..pi^{T+1} (T+1, H, S, A), lines 2 and 5 on given critics f (T, H, S, A); on floats and on balls."""
    out = [start]
    for f_t in f:
        weights = out[-1] * np.exp(eta * (f_t - f_t.max(-1)[..., None]))               # 5
        out.append(weights / weights.sum(-1)[..., None])
    return np.stack(out)


def mirror_bound(H: int, kl: Any, eta: Any, T: int) -> Any:
    """KL/eta + eta T/8 sum_h (H-h)^2 >= `against` of the policies of `ascend`, 0 <= f^t_h <= H-h."""
    return kl / eta + eta * T * sum((H - h) ** 2 for h in range(H)) / 8


def against(P: np.ndarray, rho: np.ndarray, ref: np.ndarray, pi: np.ndarray, f: np.ndarray) -> Any:
    """sum_{t,h} E_{s ~ d_ref,h}<ref_h - pi^t_h, f^t_h>, pi and f (T, H, S, A), on floats, rationals and balls."""
    return (state_law(P, rho, ref)[..., None] * (ref - pi) * f).sum()


def trajectory_kl(P: np.ndarray, rho: np.ndarray, pi: np.ndarray, ref: np.ndarray) -> Any:
    """KL of the laws of trajectories, sum_h E_{d_pi,h} KL(pi_h(.|s), ref_h(.|s)): a float, or a ball of rationals."""
    d = occupancy(P, rho, pi)
    if ((ref == 0) & (d > 0)).any():
        return math.inf
    weight, ratio = d[d > 0], pi[d > 0] / ref[d > 0]
    if not rational.is_exact(P):
        return float((weight * np.log(ratio)).sum())
    return sum((flint.arb(x) * flint.arb(y).log() for x, y in zip(weight, ratio)), flint.arb(0))


def critic_bound(d_ref: np.ndarray, d_sft: np.ndarray, ref: np.ndarray, sft: np.ndarray, pi: np.ndarray,
                 e: np.ndarray) -> float:
    """sqrt(2 C_sa eps) + sqrt(2 C_s eps) >= E_{s ~ d_ref}<ref - pi, e>, rounded up, for rational arrays.

    eps = E e^2 with s ~ d_sft (S,), a ~ (sft + pi)/2 (S, A); C_s and C_sa are the largest ratios of states and pairs.
    """
    eps = (d_sft[:, None] * (sft + pi) * e * e).sum() / 2
    C = [math.inf if ((nu == 0) & (d > 0)).any() else (d[nu > 0] / nu[nu > 0]).max()
         for d, nu in ((d_ref[:, None] * ref, d_sft[:, None] * sft), (d_ref, d_sft))]
    with flint.ctx.workprec(BITS):
        return math.inf if math.inf in C else up(sum((flint.arb(2 * c * eps).sqrt() for c in C), flint.arb(0)))


def reward_coverage(p: Any, q: Any) -> float:
    """C_TR^2 for one prompt, p = pi* and q = pi_SFT (Y,), rounded up: (1 + lambda)/2.

    lambda is the largest root of sum_y q(y)/(p(y)/q(y) - lambda) = 0, or the largest ratio where two answers share it.
    math.inf where q misses what p takes, 0 where there is but one answer.
    """
    p, q = rational.exact(validate.simplex("p", p, ("Y",))), rational.exact(validate.simplex("q", q, (len(p),)))
    if ((q == 0) & (p > 0)).any() or (q > 0).sum() == 1:
        return 0.0 if (q > 0).sum() == 1 and p[q > 0][0] == 1 else math.inf
    w, mass = p[q > 0] / q[q > 0], q[q > 0]
    *_, low, high = sorted(w.tolist())
    for _ in range(80 if low < high else 0):
        middle = (low + high) / 2
        low, high = (low, middle) if (mass / (w - middle)).sum() >= 0 else (middle, high)
    return up((1 + high) / 2)


def transfer(rho: np.ndarray, p: np.ndarray, pi: np.ndarray, q: np.ndarray, r_hat: np.ndarray, r: np.ndarray,
             ) -> tuple[Any, Any, float]:
    """V^p - V^pi under r^, error = E (D(y) - D(y'))^2 under q with D = r - r^, and a bound on V^p - V^pi under r.

    The last is the first plus (C_TR(p) + C_TR(pi)) sqrt(error), rounded up. Tables (X, Y), rho (X,); the laws are
    floats, r and r^ rational. C_TR of several prompts is that of the worst.
    """
    x, laws, D = rational.exact(rho), rational.exact(q), r - r_hat
    error = 2 * (x * ((laws * D * D).sum(-1) - (laws * D).sum(-1) * (laws * D).sum(-1))).sum()
    drift = (x[:, None] * (rational.exact(p) - rational.exact(pi)) * r_hat).sum()
    C = [max(reward_coverage(law[k], q[k]) for k in np.flatnonzero(rho > 0)) for law in (p, pi)]
    with flint.ctx.workprec(BITS):
        gain = sum((flint.arb(c).sqrt() for c in C), flint.arb(0)) * flint.arb(error).sqrt()
        return drift, error, math.inf if math.inf in C else up(drift + gain)


def demo(rng: np.random.Generator) -> Result:
    """Six iterations of 40 roll-outs on the formula world with three states, two actions and three steps."""
    model, sft = step_dependent(3, 2, 3), step_dependent_policy(3, 2, 3)
    data = collect(model, sft, 50, rng)
    return run(Reset(model, rng, to=data), data, Params(6, 40, 0.5, sft, model.r), rng)


def _optimise(access: Any, s: Any, a: Any, params: Params, rng: np.random.Generator) -> Result:
    """Lines 2 to 6 with logged states and actions, or without (None)."""
    shape = (access.known.H, access.known.S, access.known.A)
    sft = validate.policy("params.sft", validate.instance("params", params, Params).sft, shape)
    r, m = validate.array("params.r", params.r, shape), validate.count("params.m", params.m)
    eta, T = validate.interval("params.eta", params.eta, 0, np.inf, open_lo=True), validate.count("params.T", params.T)
    with np.errstate(divide="ignore"):
        theta, pi, cum = np.log(sft), sft.copy(), np.cumsum(sft, axis=-1)              # 2
    cum[..., -1] = 1.0
    state = (s, a, cum.copy(), r, theta, pi, cum, np.zeros(shape), np.zeros(shape), np.array([eta, float(m)]))
    trace = access.drive(_loop, state, Log(pi, np.zeros(shape[:2])), T, rng)
    return Result(pi, trace, params, access.samples)


def _begin_body(pi, policy, seen, total, count):
    for h in range(pi.shape[0]):
        for s in range(pi.shape[1]):
            seen[h, s] = 0.0
            for a in range(pi.shape[2]):
                policy[h, s, a], total[h, s, a], count[h, s, a] = pi[h, s, a], 0.0, 0.0


def _follow_body(world, h, s, a, r, cum, total, count, seen, rng):
    """One roll-out from (h, s, a), where the world stands."""
    H, _, A = cum.shape
    y, z = r[h, s, a], step(world, a)[1]                                               # 3
    seen[h, s] += 1.0
    for k in range(h + 1, H):
        b = draw(cum[k, z], 0, A, rng.random())                                        # 3
        y += r[k, z, b]                                                                # 3
        seen[k, z] += 1.0
        z = step(world, b)[1]                                                          # 3
    total[h, s, a] += y
    count[h, s, a] += 1.0


def _improve_body(total, count, eta, theta, pi, cum):
    """Lines 4 and 5, in log space."""
    H, S, A = pi.shape
    for h in range(H):
        for s in range(S):
            least, top, mass, run = count[h, s, 0], -math.inf, 0.0, 0.0
            for a in range(A):
                least = min(least, count[h, s, a])
            for a in range(A if least > 0.0 else 0):
                theta[h, s, a] += eta * (total[h, s, a] / count[h, s, a])              # 4, 5
                top = max(top, theta[h, s, a])
            for a in range(A if least > 0.0 else 0):
                theta[h, s, a] -= top
                pi[h, s, a] = math.exp(theta[h, s, a])                                 # 5
                mass += pi[h, s, a]
            for a in range(A if least > 0.0 else 0):
                pi[h, s, a] /= mass                                                    # 5
                run += pi[h, s, a]
                cum[h, s, a] = run if a < A - 1 else 1.0


def _loop_body(world, logged, action, sft, r, theta, pi, cum, total, count, settings, log, first, rng):
    """``sft`` and ``cum`` (H, S, A): cumulative probabilities. Without logged states (None) only line 7 is compiled."""
    H, _, A = pi.shape
    for t in range(len(log.policy)):                                                   # 2
        seen = log.seen[t]
        _begin(pi, log.policy[t], seen, total, count)
        for _ in range(int(settings[1])):                                              # 3
            h = int(rng.random() * H)                                                  # 3
            if logged is None:
                s = start(world)                                                       # 7
                for k in range(h):
                    seen[k, s] += 1.0
                    s = step(world, draw(cum[k, s], 0, A, rng.random()))[1]            # 7
                a = draw(sft[h, s], 0, A, rng.random())                                # 7
            else:
                i = int(rng.random() * logged.shape[0])                                # 3
                s, a = logged[i, h], action[i, h]                                      # 3
                reset(world, h, s)                                                     # 3
            a = draw(cum[h, s], 0, A, rng.random()) if rng.random() < 0.5 else a       # 3, 7
            _follow(world, h, s, a, r, cum, total, count, seen, rng)                   # 3
        _improve(total, count, settings[0], theta, pi, cum)                            # 4, 5


_begin = kernel(_begin_body)
_follow = kernel(_follow_body, inline=True)
_improve = kernel(_improve_body, checked=False)         # divisors: counts above 0, and a sum of which one term is 1
_loop = kernel(_loop_body, checked=False)
