"""Drawing logged data from a model that the caller holds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mdpkit import validate
from mdpkit.errors import MdpkitError
from mdpkit.kernels.rollout import rollouts, tuples
from mdpkit.models.convert import to_episodic
from mdpkit.models.preferences import PreferenceModel
from mdpkit.records import Dataset, Pairs, StateOnlyDataset, Steps, own
from mdpkit.worlds.markov import episodes, law_of


def collect(model: Any, policy: Any, n: int, rng: np.random.Generator, behaviour: str = "") -> Dataset:
    """n episodes of a policy, or of a mixture that draws one policy an episode.

    Parameters
    ----------
    model
        Episodic, or convertible by ``mdpkit.models.convert.to_episodic``.
    policy : array (H, S, A) of probabilities, int array (H, S), or sequence of (weight, policy)
    n : int
    rng : numpy.random.Generator
    """
    base = to_episodic(model)
    n, rng = validate.count("n", n, 0), validate.generator("rng", rng)
    mixed = isinstance(policy, Sequence) and len(policy) > 0 and isinstance(policy[0], tuple)
    if mixed and any(not isinstance(m, tuple) or len(m) != 2 for m in policy):
        raise MdpkitError("policy", "a policy, or pairs (weight, policy)", None, came="not all of it are pairs")
    weights = validate.simplex("policy weights", [w for w, _ in policy], (len(policy),)) if mixed else np.ones(1)
    members = [pi for _, pi in policy] if mixed else [policy]
    cum = np.cumsum(np.stack([validate.policy(f"policy[{i}]" if mixed else "policy", pi, base.r.shape)
                              for i, pi in enumerate(members)]), axis=-1)
    out = _empty(n, base.H)
    rollouts(episodes(base, rng), np.cumsum(weights), cum, *out)
    return own(out, behaviour or ("mixture" if mixed else "policy"), joint=True)


def draw_tuples(model: Any, nu: Any, n: int, rng: np.random.Generator, behaviour: str = "") -> Dataset:
    """n independent tuples a step: (s, a) ~ nu[h] (H, S, A), then a reward and a successor. Not trajectories."""
    base = to_episodic(model)
    nu = validate.array("nu", nu, base.r.shape)
    nu = validate.simplex("nu", nu.reshape(base.H, -1), (base.H, base.S * base.A), flush=True)
    out = _empty(validate.count("n", n, 0), base.H)
    tuples(law_of(base), np.cumsum(nu, axis=-1), validate.generator("rng", rng), *out)
    return own(out, behaviour or "nu", joint=False)


def draw_states(mu: Any, n: int, rng: np.random.Generator, behaviour: str = "mu") -> StateOnlyDataset:
    """n independent states a step, s[:, h] ~ mu[h] (H, S)."""
    mu = validate.simplex("mu", mu, ("H", "S"), flush=True)
    u = validate.generator("rng", rng).random((validate.count("n", n, 0), mu.shape[0]))
    s = (u[..., None] >= np.cumsum(mu, axis=-1)).sum(-1)
    return StateOnlyDataset(s.astype(np.int64), behaviour)


def compare(model: PreferenceModel, pairs: Any, n: int, rng: np.random.Generator) -> Pairs:
    """n comparisons: x ~ rho, (y, z) ~ pairs[x] (X, Y, Y), the winner from p."""
    validate.instance("model", model, PreferenceModel)
    X, Y = model.pi_ref.shape
    pairs = validate.array("pairs", pairs, (X, Y, Y))
    law = validate.simplex("pairs", pairs.reshape(X, Y * Y), (X, Y * Y), flush=True)
    if (np.diagonal(law.reshape(X, Y, Y), axis1=1, axis2=2) > 0).any():
        raise MdpkitError("pairs", "zero on pairs of equal responses", None, came="it is not")
    n, rng = validate.count("n", n, 0), validate.generator("rng", rng)
    x = (rng.random(n)[:, None] >= np.cumsum(model.rho)).sum(-1)
    k = (rng.random(n)[:, None] >= np.cumsum(law, axis=-1)[x]).sum(-1)
    y, z = k // Y, k % Y
    first = rng.random(n) < model.p[x, y, z]
    return Pairs(x, np.where(first, y, z), np.where(first, z, y), np.ones(n, np.int64))


def _empty(n: int, H: int) -> Steps:
    whole = lambda: np.zeros((n, H), np.int64)
    return Steps(whole(), whole(), np.zeros((n, H)), whole())
