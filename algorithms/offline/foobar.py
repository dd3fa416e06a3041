"""FOOBAR: match the logged observations forward, then learn backward from where the matching policy goes.

Episodic MDP, steps h = 0..H-1, rewards in [0, 1]. Offline data are states alone, s ~ mu_h at each step, mu_0 = rho; no
action, no reward. mu is admissible if one policy has the law mu_h at every h. In the reset model the learner may put
the world at (h, s) for logged s; in the trace model it plays episodes from rho. F_h is all functions of (s, a).

Reset model (PSDP, `run_reset`):

    1  for h = H-1..0:  n times reset to a logged (h, s), a uniform in [A], then pi_{h+1}..pi_{H-1}; y = return from h
    2      f_h = mean of y at each (s, a), 0 where unseen;  pi_h = greedy(f_h)

Trace model (`run`), forward phase:

    3  for h = 0..H-2:  n times roll in with pi^f_0..pi^f_{h-1} to s, a uniform in [A], see s'
    4      target = the share of each state among the logged states of step h+1
    5      N rounds:  f in {0,1}^S maximises |sum over (s, a, s') A pi(a|s) f(s')/n - sum over s' of f target|
    6                 exponential weights in each s with step eta, loss +- A f(s') on its own action, + where the
                       left sum is the larger
    7      pi^f_h = the mean of the N policies

Backward phase:

    8  for h = H-1..0:  as lines 1 and 2, but s is where pi^f arrives after h steps
    9  return the greedy pi_0..pi_{H-1}, not pi^f

Guarantee (the main theorem, recalled: neither its wording nor its number were at hand; what is judged here is derived
from Lemma 6.1 of Kakade and Langford 2002, performance differences): if mu is admissible and F complete, N of order
H^2 log|Pi|/eps^2 and samples polynomial in H, A, C, log|F| and 1/eps give V^{pi_e} - V^pi <= eps, C the largest
C_h = max_s d_{pi_e,h}(s)/mu_h(s): in order as many as with resets. Derived: V^{pi_e} - V^pi <= sum_h 2 sqrt(C_h A e_h)
for the greedy policy of any f, e_h = E_{mu_h, a uniform}(f_h - Q_h)^2, and with d^f_h in place of mu_h the same with
e^f_h + (H^2/2) |d^f_h - mu_h|_1. The 2 is not tight: sqrt 2 holds and is attained.

Song, Bagnell, Singh. Hybrid Reinforcement Learning from Offline Observation Alone, arXiv 2406.07253. ICML 2024.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import flint
import numpy as np

from mdpkit import validate
from mdpkit.access import Episodes, Reset
from mdpkit.data import draw_states
from mdpkit.instances.formula import stationary_episodic
from mdpkit.jit import kernel
from mdpkit.kernels import backward
from mdpkit.kernels.draw import draw
from mdpkit.measure.plain import evaluate, probabilities, state_coverage, state_law
from mdpkit.records import Paper, Result, StateOnlyDataset
from mdpkit.solve import matching
from mdpkit.solve.precise import up
from mdpkit.worlds.markov import start, step

PAPER = Paper(
    "foobar", "Hybrid Reinforcement Learning from Offline Observation Alone",
    "Yuda Song, J. Andrew Bagnell, Aarti Singh", "ICML 2024", "2406.07253",
    ("episodic", "hybrid", "observations alone", "tabular"),
    """@inproceedings{song2024observation,
  title     = {Hybrid Reinforcement Learning from Offline Observation Alone},
  author    = {Song, Yuda and Bagnell, J. Andrew and Singh, Aarti},
  booktitle = {International Conference on Machine Learning},
  year      = {2024}
}""")


@dataclass(frozen=True, eq=False)
class Params:
    """n samples a step in each phase; N rounds of the matching game with step eta; blocks that f cannot tell apart."""

    n: int
    N: int = 0
    eta: float = 0.0
    blocks: np.ndarray | None = None


class Found(NamedTuple):
    """The answer of the trace model: PSDP's, and where it rolled in."""

    policy: np.ndarray      # (H, S) actions
    f: np.ndarray           # (H, S, A) mean returns
    visits: np.ndarray      # (H, S, A) roll-outs behind each mean
    roll_in: np.ndarray     # (H, S, A) pi^f


def theory(H: int, A: int, eps: float, n: int) -> Params:
    """N = ceil(2 H^2 log A/eps^2), eta = sqrt(2 log A/N): each step's game ends within eps/H, in expectation.

    Exponential weights on losses in [-1, 1] regret at most sqrt(2 N log A) in N rounds (derived). n is the caller's.
    """
    H, A, n = validate.count("H", H), validate.count("A", A), validate.count("n", n)
    eps = validate.interval("eps", eps, 0.0, math.inf, open_lo=True)
    N = max(1, math.ceil(2 * H * H * math.log(A) / (eps * eps)))
    return Params(n, N, math.sqrt(2 * math.log(A) / N))


def run(access: Episodes, data: StateOnlyDataset, params: Params, rng: np.random.Generator) -> Result:
    """FOOBAR in the trace model.

    Parameters
    ----------
    access : Episodes
    data : StateOnlyDataset (m, H)
    params : Params
        With n, N >= 1 and eta > 0; ``blocks`` are for the backward phase.
    rng : numpy.random.Generator

    Returns
    -------
    Result
        ``output`` is `Found`. Data of another horizon, without rows or with unknown states are refused.
    """
    validate.instance("access", access, Episodes)
    validate.instance("params", params, Params)
    validate.instance("data", data, StateOnlyDataset)
    validate.generator("rng", rng)
    H, S, A = access.known.H, access.known.S, access.known.A
    n, N = validate.count("params.n", params.n), validate.count("params.N", params.N)
    validate.interval("params.eta", params.eta, 0.0, math.inf, open_lo=True)
    states = validate.array("data.s", data.s, ("m", H), integer=True)
    validate.within("data.s", states, 0, S - 1)
    roll_in, cum = np.full((H, S, A), 1.0 / A), np.empty((H, S, A))
    for h in range(H - 1):                                                             # 3
        counts = np.zeros((S, A, S))
        access.call(_one_step_on, h, n, cum, counts, rng)                              # 3
        target = np.bincount(states[:, h + 1], minlength=S) / len(states)              # 4
        roll_in[h] = _play_game(A * counts / n, target, N, params.eta)                 # 5, 6, 7
        cum[h] = np.cumsum(roll_in[h], axis=-1)
    out = run_backward(access, roll_in, params, rng).output                            # 8
    found = Found(out.policy, out.f, out.visits, roll_in)                              # 9
    return Result(found, None, params, {"offline": len(states), **access.samples})


def run_reset(access: Reset, data: StateOnlyDataset, params: Params, rng: np.random.Generator) -> Result:
    """Lines 1 and 2, PSDP with resets to logged states; ``output`` is `mdpkit.kernels.backward.Rollouts`."""
    validate.instance("access", access, Reset)
    validate.instance("data", data, StateOnlyDataset)
    validate.generator("rng", rng)
    states = validate.array("data.s", data.s, ("m", access.known.H), integer=True)
    validate.within("data.s", states, 0, access.known.S - 1)
    blocks, n = _class(params, access.known.S)
    out = backward.from_resets(access, states, blocks, n, rng)                         # 1, 2
    return Result(out, None, params, {"offline": len(states), **access.samples})


def run_backward(access: Episodes, data: Any, params: Params, rng: np.random.Generator) -> Result:
    """Line 8 alone, from a given roll-in policy: ``data`` (H, S, A). ``output`` as in `run_reset`."""
    validate.instance("access", access, Episodes)
    validate.generator("rng", rng)
    roll_in = validate.policy("data", data, (access.known.H, access.known.S, access.known.A))
    blocks, n = _class(params, access.known.S)
    out = backward.from_roll_in(access, np.cumsum(roll_in, axis=-1), blocks, n, rng)   # 8
    return Result(out, None, params, access.samples)


def match_by_program(P: np.ndarray, m: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The policy (S, A) of least |sum_{s,a} m(s) pi(a|s) P(.|s, a) - target|_1, and its dual g (S,)."""
    return matching.by_program(P, m, target)


def forward(P: np.ndarray, rho: np.ndarray, mu: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Exact greedy matching: pi^f (H, S, A) and the duals (H, S), for known P (H, S, A, S) and laws mu (H, S)."""
    H, S, A, _ = P.shape
    roll_in, duals, d = np.full((H, S, A), 1.0 / A), np.zeros((H, S)), rho
    for h in range(H - 1):
        roll_in[h], duals[h] = match_by_program(P[h], d, mu[h + 1])
        d = ((d[:, None] * roll_in[h])[..., None] * P[h]).sum((0, 1))
    return roll_in, duals


def forward_by_squares(P: np.ndarray, rho: np.ndarray, mu: np.ndarray, steps: int = 4000, eta: float = 1.0,
                       ) -> np.ndarray:
    """Greedy matching in the squared L2 distance: pi^f (H, S, A) by exponentiated gradient from uniform."""
    H, S, A, _ = P.shape
    roll_in, d = np.full((H, S, A), 1.0 / A), rho
    for h in range(H - 1):
        roll_in[h] = _descend(d[:, None, None] * P[h], mu[h + 1].copy(), steps, eta)
        d = ((d[:, None] * roll_in[h])[..., None] * P[h]).sum((0, 1))
    return roll_in


def transfer(P: np.ndarray, rho: np.ndarray, mu: np.ndarray, roll_in: np.ndarray, pi_e: np.ndarray, g: np.ndarray,
             top: Any) -> list:
    """C_h (E_{d^f_h}[g_h] + (G/2) |d^f_h - mu_h|_1) >= E_{d_{pi_e},h}[g_h], for g (H, S) in [0, G], G = ``top``."""
    d, C = state_law(P, rho, roll_in), state_coverage(P, rho, mu, pi_e)
    return [C[h] if C[h] == math.inf else C[h] * ((d[h] * g[h]).sum() + top * np.abs(d[h] - mu[h]).sum() / 2)
            for h in range(len(mu))]


def reset_bound(P: np.ndarray, r: np.ndarray, rho: np.ndarray, mu: np.ndarray, f: np.ndarray,
                pi_e: np.ndarray) -> float:
    """sum_h 2 sqrt(C_h A eps_h) >= V^{pi_e} - V^{greedy(f)}, rounded up; f (H, S, A), rational arrays."""
    return _roots(state_coverage(P, rho, mu, pi_e), critic_errors(P, r, mu, f), r.shape[-1])


def trace_bound(P: np.ndarray, r: np.ndarray, rho: np.ndarray, mu: np.ndarray, roll_in: np.ndarray, f: np.ndarray,
                pi_e: np.ndarray) -> float:
    """sum_h 2 sqrt(C_h A (eps^f_h + (H^2/2) |d^f_h - mu_h|_1)), f in [0, H]; otherwise as `reset_bound`."""
    H, d = len(r), state_law(P, rho, roll_in)
    errors = critic_errors(P, r, d, f) + H * H * np.abs(d - mu).sum(-1) / 2
    return _roots(state_coverage(P, rho, mu, pi_e), errors, r.shape[-1])


def critic_errors(P: np.ndarray, r: np.ndarray, law: np.ndarray, f: np.ndarray) -> np.ndarray:
    """eps_h (H,): the mean over law_h and uniform actions of (f_h - Q_h)^2, Q that of the greedy policy of f."""
    x = f - evaluate(P, r, probabilities(f.argmax(-1), r))[1]
    return (law[..., None] * x * x).sum((1, 2)) / r.shape[-1]


def demo(rng: np.random.Generator) -> Result:
    """FOOBAR on F(4, 3), H = 3, from 60 logged states a step of the uniform law."""
    model = stationary_episodic(4, 3, 3)
    return run(Episodes(model, rng), draw_states(np.full((3, 4), 0.25), 60, rng), theory(3, 3, 0.5, 80), rng)


def _class(params: Params, S: int) -> tuple[np.ndarray, int]:
    """The blocks (S,) of the critic's class, and n."""
    validate.instance("params", params, Params)
    n = validate.count("params.n", params.n)
    if params.blocks is None:
        return np.arange(S), n
    return validate.within("params.blocks", validate.array("params.blocks", params.blocks, (S,), integer=True), 0,
                           S - 1).copy(), n


def _roots(C: list, errors: np.ndarray, A: int) -> float:
    """sum_h 2 sqrt(C_h A errors_h), rounded up."""
    if any(c == math.inf for c in C):
        return math.inf
    with flint.ctx.workprec(128):
        return up(2 * sum((flint.arb(c * e * A).sqrt() for c, e in zip(C, errors)), flint.arb(0)))


def _one_step_on_body(world, h, n, cum, counts, rng):
    # Paper: traces are whole episodes; here one is left after the step that is to be matched
    A = counts.shape[1]
    for _ in range(n):                                                                 # 3
        s = start(world)                                                               # 3
        for k in range(h):
            s = step(world, draw(cum[k, s], 0, A, rng.random()))[1]                    # 3
        a = int(rng.random() * A)                                                      # 3
        counts[s, a, step(world, a)[1]] += 1.0                                         # 3


def _miss_body(pi, push, target, gap):
    """gap = sum_{s,a} pi(a|s) push[s, a] - target."""
    S, A, _ = push.shape
    for t in range(S):
        gap[t] = -target[t]
        for s in range(S):
            for a in range(A):
                gap[t] += pi[s, a] * push[s, a, t]


def _tilt_body(pi, s, eta, loss):
    """pi(.|s) prop. to pi(.|s) exp(-eta loss); the loss is least somewhere, where the factor is 1."""
    least, total = loss[0], 0.0
    for a in range(1, loss.shape[0]):
        least = min(least, loss[a])
    for a in range(loss.shape[0]):
        pi[s, a] *= math.exp(-eta * (loss[a] - least))
        total += pi[s, a]
    for a in range(loss.shape[0]):
        pi[s, a] /= total


def _play_game_body(push, target, N, eta):
    """Lines 5 to 7 for push (S, A, S), A counts/n or m(s) P(s'|s, a); without visits a state stays uniform."""
    # Paper: losses are those of single samples (recalled); here they are means over the visits of each state
    S, A, _ = push.shape
    visits, loss = np.zeros(S), np.empty(A)
    pi, mean, gap = np.full((S, A), 1.0 / A), np.zeros((S, A)), np.empty(S)
    for s in range(S):
        for a in range(A):
            for t in range(S):
                visits[s] += push[s, a, t] / A
    for _ in range(N):                                                                 # 5
        _miss(pi, push, target, gap)                                                   # 5
        above, below = 0.0, 0.0
        for t in range(S):
            above += max(gap[t], 0.0)
            below += max(-gap[t], 0.0)
        sign = 1.0 if above >= below else -1.0                                         # 5
        for s in range(S):
            for a in range(A):
                mean[s, a] += pi[s, a] / N                                             # 7
                loss[a] = 0.0
                for t in range(S):
                    if visits[s] > 0.0 and sign * gap[t] > 0.0:
                        loss[a] += sign * push[s, a, t] / visits[s]                    # 6
            _tilt(pi, s, eta, loss)                                                    # 6
    return mean


def _descend_body(push, target, steps, eta):
    """Exponentiated gradient on |sum_{s,a} pi(a|s) push[s, a] - target|_2^2."""
    S, A, _ = push.shape
    pi, gap, slope = np.full((S, A), 1.0 / A), np.empty(S), np.empty(A)
    for _ in range(steps):
        _miss(pi, push, target, gap)
        for s in range(S):
            for a in range(A):
                slope[a] = 0.0
                for t in range(S):
                    slope[a] += 2.0 * gap[t] * push[s, a, t]
            _tilt(pi, s, eta, slope)
    return pi


_one_step_on = kernel(_one_step_on_body)
_miss = kernel(_miss_body)
_tilt = kernel(_tilt_body)
_play_game = kernel(_play_game_body)
_descend = kernel(_descend_body)
