"""Behaviour cloning: a policy fitted to an expert's actions, without rewards and without interaction.

Episodic MDP, steps h = 0..H-1, rewards in [0, 1]; N trajectories of the expert pe. J is the expected sum of rewards,
d_h the expert's law of states, eps_h = E_{s ~ d_h} TV(pe_h(.|s), ph_h(.|s)), eps its mean over h.

    1  log loss: ph = argmax over Pi of sum_i sum_h log pi_h(a_h^i|s_h^i)
    2      all policies: ph_h(a|s) = the share of a among the actions seen at (h, s)
    3      a finite class: compare the sums, the first of several
    4  indicator loss: ph = argmin over maps of the number of (i, h) with pi_h(s_h^i) != a_h^i: the most frequent action
    5  where (h, s) was never seen: uniform, or a given action

Guarantees
    error propagation (Theorem 2.1 of Ross and Bagnell, second form): J(pe) - J(ph) <= sum_h (H-h) eps_h <= H^2 eps, for
        any expert. Tight: attained on a cliff.
    missing mass (in the way of Rajaraman et al.; derived): for a deterministic expert and all policies,
        E[J(pe) - J(ph)] <= sum_h (H-h) E[mass unseen at h] <= H (H+1)/2 S/(e N).
    log loss (Foster et al., constants as recalled): with D^2 = sum over trajectories of (sqrt pe - sqrt ph)^2, a
        deterministic expert and a total reward in [0, R]: J(pe) - J(ph) <= 4 R D^2, where R D^2 is enough (derived)
        and tight; and D^2 <= 2 log(|Pi|/delta)/N with probability 1 - delta for line 3 with pe in Pi (derived).

Ross, Bagnell. Efficient Reductions for Imitation Learning. AISTATS 2010.
Rajaraman, Yang, Jiao, Ramchandran. Toward the Fundamental Limits of Imitation Learning. NeurIPS 2020, arXiv 2009.05990.
Foster, Block, Misra. Is Behavior Cloning All You Need? Understanding Horizon in Imitation Learning. NeurIPS 2024,
arXiv 2407.15007.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from mdpkit import validate
from mdpkit.access import Episodes
from mdpkit.data import collect
from mdpkit.instances.formula import stationary_episodic
from mdpkit.measure.plain import evaluate, state_law
from mdpkit.records import Dataset, Paper, Result

PAPER = Paper(
    "bc", "Efficient Reductions for Imitation Learning", "St\u00e9phane Ross, J. Andrew Bagnell", "AISTATS 2010", "",
    ("episodic", "offline", "imitation", "tabular"),
    """@inproceedings{ross2010efficient,
  title     = {Efficient Reductions for Imitation Learning},
  author    = {Ross, St\\'ephane and Bagnell, J. Andrew},
  booktitle = {International Conference on Artificial Intelligence and Statistics},
  year      = {2010}
}
@inproceedings{rajaraman2020toward,
  title     = {Toward the Fundamental Limits of Imitation Learning},
  author    = {Rajaraman, Nived and Yang, Lin F. and Jiao, Jiantao and Ramchandran, Kannan},
  booktitle = {Advances in Neural Information Processing Systems},
  year      = {2020}
}
@inproceedings{foster2024behavior,
  title     = {Is Behavior Cloning All You Need? {Understanding} Horizon in Imitation Learning},
  author    = {Foster, Dylan J. and Block, Adam and Misra, Dipendra},
  booktitle = {Advances in Neural Information Processing Systems},
  year      = {2024}
}""")


@dataclass(frozen=True, eq=False)
class Params:
    """The action of states never seen (None: uniform), and for `run_class` the policies Pi (n, H, S, A)."""

    unseen: int | None = None
    policies: np.ndarray | None = None


def theory(policies: Any = None) -> Params:
    """The theorems leave nothing to choose but the class; nobody knows an action for states never seen."""
    return Params(None, policies)


def run(access: Episodes, data: Dataset, params: Params, rng: np.random.Generator) -> Result:
    """Log loss over all policies.

    Parameters
    ----------
    access : Episodes
        Gives the sizes; no episode is played.
    data : Dataset (N, H)
        Trajectories of the expert, of which states and actions count.
    params : Params
    rng : numpy.random.Generator
        Not used.

    Returns
    -------
    Result
        ``output`` is ph (H, S, A). Data of another horizon or with unknown indices are refused.
    """
    n = _tally(access, data, params, rng)
    seen = n.sum(-1, keepdims=True)
    return Result(np.where(seen > 0, n / np.maximum(seen, 1.0), _unseen(params, n)), None, params,   # 2, 5
                  {"offline": data.n})


def run_indicator(access: Episodes, data: Dataset, params: Params, rng: np.random.Generator) -> Result:
    """Indicator loss over all maps, the lowest action on ties. As `run` else."""
    n = _tally(access, data, params, rng)
    most = np.eye(n.shape[-1])[n.argmax(-1)]
    return Result(np.where(n.sum(-1, keepdims=True) > 0, most, _unseen(params, n)), None, params,   # 4, 5
                  {"offline": data.n})


def run_class(access: Episodes, data: Dataset, params: Params, rng: np.random.Generator) -> Result:
    """Log loss over the finite class params.policies (n, H, S, A). As `run` else."""
    n = _tally(access, data, params, rng)
    policies = validate.simplex("params.policies", params.policies, ("n", *n.shape))
    with np.errstate(divide="ignore"):
        scores = (n * np.where(n > 0, np.log(policies), 0.0)).sum((1, 2, 3))           # 3
    return Result(policies[int(scores.argmax())], None, params, {"offline": data.n})   # 1, 3


def gap(P: np.ndarray, r: np.ndarray, rho: np.ndarray, expert: np.ndarray, learner: np.ndarray) -> Any:
    """J(pe) - J(ph). On floats and on rational arrays, as all entries below."""
    return rho @ (evaluate(P, r, expert)[0][0] - evaluate(P, r, learner)[0][0])


def errors(P: np.ndarray, rho: np.ndarray, expert: np.ndarray, learner: np.ndarray) -> np.ndarray:
    """eps_h (H,): the mean over the expert's states of the total variation."""
    return (state_law(P, rho, expert) * np.abs(expert - learner).sum(-1)).sum(-1) / 2


def propagation_bound(P: np.ndarray, rho: np.ndarray, expert: np.ndarray, learner: np.ndarray) -> tuple[Any, Any]:
    """sum_h (H-h) eps_h and H^2 eps, bounds on J(pe) - J(ph) for rewards in [0, 1]."""
    H, eps = len(P), errors(P, rho, expert, learner)
    return ((H - np.arange(H)) * eps).sum(), H * eps.sum()


def cliff_loss(H: int, eps: Any) -> Any:
    """J(pe) - J(ph) on the cliff for a learner that errs with chance eps at each step: H - sum_{t=1}^H (1 - eps)^t."""
    return H - sum((1 - eps) ** t for t in range(1, H + 1))


def hellinger(P: np.ndarray, rho: np.ndarray, expert: np.ndarray, learner: np.ndarray) -> Any:
    """D^2 = sum over trajectories of (sqrt pe - sqrt ph)^2 = 2 - 2 sum sqrt(pe ph), in [0, 2]; on floats and balls."""
    weight, root = rho, np.sqrt(expert * learner)
    for h in range(len(P)):
        flow = weight[:, None] * root[h]
        weight = (flow[..., None] * P[h]).sum((0, 1))
    return 2 - 2 * weight.sum()


def missing_mass(d: np.ndarray, n: int) -> Any:
    """The expected chance of what n draws from d (S,) have not shown: sum_s d(s) (1 - d(s))^n, at most S/(e n)."""
    return (d * (1 - d) ** validate.count("n", n, 0)).sum()


def demo(rng: np.random.Generator) -> Result:
    """Thirty trajectories of the uniform policy on F(4, 3), H = 3."""
    model = stationary_episodic(4, 3, 3)
    data = collect(model, np.full((3, 4, 3), 1 / 3), 30, rng)
    return run(Episodes(model, rng), data, theory(), rng)


def _tally(access: Episodes, data: Dataset, params: Params, rng: np.random.Generator) -> np.ndarray:
    """How often each action was seen, (H, S, A)."""
    validate.instance("access", access, Episodes)
    validate.instance("params", params, Params)
    validate.generator("rng", rng)
    H, S, A = access.known.H, access.known.S, access.known.A
    validate.count("data.H", validate.instance("data", data, Dataset).H, H, H)
    steps, n = data.fits(S, A).steps, np.zeros((H, S, A))
    np.add.at(n, (np.arange(H), steps.s, steps.a), 1.0)
    return n


def _unseen(params: Params, n: np.ndarray) -> np.ndarray:
    """The law (A,) of states never seen."""
    A = n.shape[-1]
    if params.unseen is None:
        return np.full(A, 1.0 / A)
    return np.eye(A)[validate.count("params.unseen", params.unseen, 0, A - 1)]
