"""Policy search by dynamic programming: each step's policy is chosen on a baseline law, the last step first.

Episodic MDP, steps h = 0..H-1, rewards in [0, 1]. Given are baseline state laws mu_h, a guess at where a good policy
goes, and a class Pi of maps from states to actions for each step: all maps that are constant on the blocks of a
partition of the states (blocks of one state: all maps).

    1  V_H = 0;  for h = H-1..0:
    2      Q_h(s, a) = r_h(s, a) + sum_t P_h(t|s, a) V_{h+1}(t)
    3      pi_h = argmax over pi in Pi of E_{s ~ mu_h}[Q_h(s, pi(s))], in each block the lowest action on ties
    4      V_h(s) = Q_h(s, pi_h(s)), the value of the policies already chosen, not V*
    5  return the non-stationary policy pi_0..pi_{H-1}

By roll-outs, n of them a step; the start is drawn from mu_h, either by a reset to a logged state or by rolling in:

    6  for h = H-1..0, n times:
    7      reset to (h, s), s a row of the data; or start and follow a roll-in policy for h steps, to s
    8      take a uniform in [A], then follow pi_{h+1}..pi_{H-1}; y = return from step h on
    9  f_h(block, a) = mean of y, 0 where nothing was seen;  pi_h = greedy(f_h)

Guarantee (Theorem 1, recalled): for ref in Pi^H and search to within eps at each step, V_pi >= V_ref - H eps -
H d_var(mu, mu_ref), values normalised to [0, 1] and d_var the mean over h of the L1 distance. Stated here for sums of
rewards, as derived: V_ref - V_pi <= sum_h [e_h + (H-h) |d_ref,h - mu_h|_1], e_h the slack of step h. It is tight; half
the L1 distance is not enough. For all maps V_ref - V_pi <= sum_h max_s d_ref,h(s)/mu_h(s) e_h, for every ref, tight
too. The wording of the theorem was not at hand when this was written.

Bagnell, Kakade, Ng, Schneider. Policy Search by Dynamic Programming. NIPS 2003.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from mdpkit import rational, validate
from mdpkit.access import Episodes, Exact, Reset
from mdpkit.data import draw_states
from mdpkit.errors import MdpkitError
from mdpkit.instances.formula import stationary_episodic
from mdpkit.kernels import backward
from mdpkit.measure.plain import evaluate, probabilities, state_law
from mdpkit.models.tabular import EpisodicMDP
from mdpkit.records import Paper, Result, StateOnlyDataset

PAPER = Paper(
    "psdp", "Policy Search by Dynamic Programming",
    "J. Andrew Bagnell, Sham Kakade, Andrew Y. Ng, Jeff Schneider", "NIPS 2003", "",
    ("episodic", "policy search", "baseline distribution", "tabular"),
    """@inproceedings{bagnell2003policy,
  title     = {Policy Search by Dynamic Programming},
  author    = {Bagnell, J. Andrew and Kakade, Sham and Ng, Andrew Y. and Schneider, Jeff},
  booktitle = {Advances in Neural Information Processing Systems 16},
  year      = {2003}
}""")


@dataclass(frozen=True, eq=False)
class Params:
    """The class Pi by the block (S,) of each state, numbered from 0 (None: all maps); roll-outs a step."""

    blocks: np.ndarray | None = None
    n: int = 0


class Plan(NamedTuple):
    """The policy of line 5, and its own values."""

    policy: np.ndarray      # (H, S) actions
    V: np.ndarray           # (H+1, S)
    Q: np.ndarray           # (H, S, A)


def theory(blocks: Any = None) -> Params:
    """Theorem 1 with exact search: the class alone, no roll-outs, every slack zero."""
    return Params(None if blocks is None else _numbered(validate.array("blocks", blocks, ("S",), integer=True)))


def run(access: Exact, data: Any, params: Params, rng: np.random.Generator) -> Result:
    """PSDP with exact evaluation and exact search.

    Parameters
    ----------
    access : Exact
        To an episodic model with rewards in [0, 1].
    data : array (H, S)
        The baseline laws mu_h.
    params : Params
    rng : numpy.random.Generator
        Not used.

    Returns
    -------
    Result
        ``output`` is a `Plan`.
    """
    validate.instance("access", access, Exact)
    model = validate.instance("access.model", access.model, EpisodicMDP)
    validate.within("access.model.r", model.r, 0.0, 1.0)
    validate.generator("rng", rng)
    mu = validate.simplex("data", data, (model.H, model.S), flush=True)
    return Result(plan(model.P, model.r, mu, _blocks(params, model.S)), None, params)


def run_reset(access: Reset, data: StateOnlyDataset, params: Params, rng: np.random.Generator) -> Result:
    """PSDP by roll-outs from resets to logged states, mu_h the law of the column h of the data.

    Parameters
    ----------
    access : Reset
    data : StateOnlyDataset (m, H)
        Line 7 draws its rows with replacement.
    params : Params
        With n >= 1.
    rng : numpy.random.Generator
        Rows and uniform actions.

    Returns
    -------
    Result
        ``output`` is `mdpkit.kernels.backward.Rollouts`. Data of another horizon, without rows or with unknown states
        are refused.
    """
    blocks, n = _prepared(access, Reset, params, rng)
    validate.instance("data", data, StateOnlyDataset)
    states = validate.array("data.s", data.s, ("m", access.known.H), integer=True)
    validate.within("data.s", states, 0, access.known.S - 1)
    out = backward.from_resets(access, states, blocks, n, rng)                         # 6, 7, 8, 9
    return Result(out, None, params, {"offline": len(states), **access.samples})


def run_trace(access: Episodes, data: Any, params: Params, rng: np.random.Generator) -> Result:
    """PSDP by roll-outs in whole episodes, mu_h the law of s_h under a roll-in policy.

    ``data`` is that policy: (H, S, A) probabilities, or int (H, S). All else is as in `run_reset`.
    """
    blocks, n = _prepared(access, Episodes, params, rng)
    roll_in = validate.policy("data", data, (access.known.H, access.known.S, access.known.A))
    out = backward.from_roll_in(access, np.cumsum(roll_in, axis=-1), blocks, n, rng)   # 6, 7, 8, 9
    return Result(out, None, params, access.samples)


def plan(P: np.ndarray, r: np.ndarray, mu: np.ndarray, blocks: np.ndarray) -> Plan:
    """Lines 1 to 5, for P (H, S, A, S), r (H, S, A), mu (H, S), blocks (S,): on floats and on rational arrays."""
    H, S, _ = r.shape
    policy = np.zeros((H, S), np.int64)
    V, Q = rational.zeros((H + 1, S), P), rational.zeros(r.shape, P)                   # 1
    for h in range(H - 1, -1, -1):                                                     # 1
        Q[h] = r[h] + P[h] @ V[h + 1]                                                  # 2
        policy[h] = _by_block(mu[h], Q[h], blocks).argmax(-1)[blocks]                  # 3
        V[h] = Q[h][np.arange(S), policy[h]]                                           # 4
    return Plan(policy, V, Q)                                                          # 5


def slacks(P: np.ndarray, r: np.ndarray, mu: np.ndarray, blocks: np.ndarray, pi: np.ndarray) -> np.ndarray:
    """e_h (H,): by how much E_{mu_h} Q_h(s, pi_h) of a policy pi (H, S, A) stays below the best of the class."""
    _, Q = evaluate(P, r, pi)
    e = rational.zeros((len(r),), P)
    for h in range(len(r)):
        e[h] = _by_block(mu[h], Q[h], blocks).max(-1).sum() - (mu[h][:, None] * pi[h] * Q[h]).sum()
    return e


def bound(P: np.ndarray, r: np.ndarray, rho: np.ndarray, mu: np.ndarray, blocks: np.ndarray, ref: np.ndarray,
          pi: np.ndarray) -> Any:
    """sum_h [e_h + (H-h) |d_ref,h - mu_h|_1] >= V_ref(rho) - V_pi(rho), for ref (H, S, A) in the class."""
    apart = np.abs(state_law(P, rho, ref) - mu).sum(-1)
    return (slacks(P, r, mu, blocks, pi) + (len(r) - np.arange(len(r))) * apart).sum()


def ratio_bound(P: np.ndarray, r: np.ndarray, rho: np.ndarray, mu: np.ndarray, ref: np.ndarray, pi: np.ndarray) -> Any:
    """sum_h max_s d_ref,h(s)/mu_h(s) e_h, e_h the slack among all maps; math.inf where mu misses what ref visits."""
    d = state_law(P, rho, ref)
    if ((mu == 0) & (d > 0)).any():
        return math.inf
    e = slacks(P, r, mu, np.arange(r.shape[1]), pi)
    return sum((d[h][mu[h] > 0] / mu[h][mu[h] > 0]).max() * e[h] for h in range(len(r)))


def difference(P: np.ndarray, r: np.ndarray, rho: np.ndarray, ref: np.ndarray, pi: np.ndarray) -> Any:
    """V_ref(rho) - V_pi(rho) as sum_h E_{s ~ d_ref,h}[Q_h(s, ref) - V_h(s)], Q and V those of pi (H, S, A)."""
    d, (V, Q) = state_law(P, rho, ref), evaluate(P, r, pi)
    return (d * ((ref * Q).sum(-1) - V[:-1])).sum()


def sweeps(P: np.ndarray, r: np.ndarray, rho: np.ndarray, blocks: np.ndarray, ref: np.ndarray, n: int) -> list:
    """``ref`` and the n policies (H, S, A) that follow when each is searched for on the occupancy of the last."""
    found = [ref]
    for _ in range(n):
        chosen = plan(P, r, state_law(P, rho, found[-1]), blocks).policy
        found.append(probabilities(chosen, r))
    return found


def demo(rng: np.random.Generator) -> Result:
    """Sixty roll-outs a step from resets on F(4, 3), H = 3, two blocks, 20 logged states a step."""
    model, data = stationary_episodic(4, 3, 3), draw_states(np.full((3, 4), 0.25), 20, rng)
    return run_reset(Reset(model, rng, to=data), data, replace(theory([0, 0, 1, 1]), n=60), rng)


def _numbered(blocks: np.ndarray) -> np.ndarray:
    if set(blocks.tolist()) != set(range(int(blocks.max()) + 1)):
        raise MdpkitError("blocks", "numbered from 0, none of them empty", blocks.tolist())
    return blocks


def _blocks(params: Params, S: int) -> np.ndarray:
    validate.instance("params", params, Params)
    if params.blocks is None:
        return np.arange(S)
    return _numbered(validate.array("params.blocks", params.blocks, (S,), integer=True)).copy()


def _by_block(mu: np.ndarray, Q: np.ndarray, blocks: np.ndarray) -> np.ndarray:
    """sum over the states of each block of mu(s) Q(s, a), (B, A)."""
    weighted = mu[:, None] * Q
    return np.stack([weighted[blocks == b].sum(0) for b in range(blocks.max() + 1)])


def _prepared(access: Any, kind: type, params: Params, rng: np.random.Generator) -> tuple[np.ndarray, int]:
    """The blocks, and n."""
    validate.instance("access", access, kind)
    validate.generator("rng", rng)
    return _blocks(params, access.known.S), validate.count("params.n", params.n)
