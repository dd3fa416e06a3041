"""What every measure reads: a model as a Markov process, policies on it, and laws taken as they are.

Unlike `mdpkit.validate.simplex`, a law is not moved to canonical multiples of 2**-52: a probability of 1e-30 stays,
because whether it is zero decides whether a ratio is finite.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from mdpkit import validate
from mdpkit.errors import MdpkitError
from mdpkit.models.bandits import Bandit, ContextualBandit, LinearBandit
from mdpkit.models.convert import to_episodic
from mdpkit.models.tabular import EpisodicMDP, TabularMDP


class Framed(NamedTuple):
    """A model read once. Every measure takes one in place of its model, which saves the conversion."""

    base: TabularMDP | EpisodicMDP
    shape: tuple[int, ...]      # of a policy's probabilities: (A,) arms, (X, A) contexts, (S, A) or (H, S, A)


def frame(model: Any) -> Framed:
    """A discounted MDP as it is, anything else as its episodic MDP (`mdpkit.models.convert.to_episodic`)."""
    if isinstance(model, Framed):
        return model
    if isinstance(model, TabularMDP):
        return Framed(model, model.r.shape)
    base = to_episodic(model)
    if isinstance(model, Bandit | LinearBandit):
        return Framed(base, base.r.shape[2:])
    return Framed(base, base.r.shape[1:] if isinstance(model, ContextualBandit) else base.r.shape)


def law(name: str, value: Any, shape: Sequence[int | str | None], axes: int = 1, *, copy: bool = True) -> np.ndarray:
    """Probabilities whose last ``axes`` axes sum to 1 within 1e-9; not moved.

    Raises
    ------
    MdpkitError
        A negative entry, or a sum off by more than 1e-9.
    """
    p = validate.array(name, value, shape, copy=copy)
    where = lambda at: validate.index(name, (*(int(i) for i in at), *":" * axes))
    if (p < 0).any():
        at = np.argwhere(p < 0)[0]
        raise MdpkitError(where(at[: p.ndim - axes]), "a probability vector", None,
                          came=f"entry {', '.join(str(i) for i in at[p.ndim - axes:])} is {p[tuple(at)]:g}")
    total = p.sum(axis=tuple(range(p.ndim - axes, p.ndim)))
    off = np.abs(total - 1.0) > validate.SUM_TOLERANCE
    if off.any():
        at = np.argwhere(off)[0]
        raise MdpkitError(where(at), "a probability vector", None, came=f"it sums to {total[tuple(at)]:.10g}")
    return p


def policy_on(model: Framed, policy: Any, name: str = "policy") -> np.ndarray:
    """The probabilities of a policy in the shape of the base's rewards; integers are read as actions."""
    base, shape = model
    if is_actions(policy, len(shape) - 1):
        return validate.policy(name, policy, shape).reshape(base.r.shape)
    return law(name, policy, shape).reshape(base.r.shape)


def policies_on(model: Framed, policies: Any, name: str = "policies", *, copy: bool = True) -> np.ndarray:
    """Several policies, stacked: int (n, H, S) (discounted: (n, S)) or probabilities with a last axis A."""
    base, shape = model
    if is_actions(policies, len(shape)):
        actions = validate.array(name, policies, (None, *shape[:-1]), integer=True, copy=copy)
        return validate.within(name, actions, 0, shape[-1] - 1).reshape(len(actions), *base.r.shape[:-1])
    laws = law(name, policies, (None, *shape), copy=copy)
    return laws.reshape(len(laws), *base.r.shape)


def is_actions(policy: Any, ndim: int) -> bool:
    """Whether a policy, or policies, of that many axes are given by actions."""
    return axes(policy) == ndim and np.asarray(policy).dtype.kind in "iu"


def axes(value: Any) -> int:
    """Number of axes; 0 for what is no array, which `mdpkit.validate.array` then refuses by name."""
    try:
        return np.ndim(value)
    except ValueError:
        return 0


def law_over_pairs(model: Framed, nu: Any, name: str = "nu") -> np.ndarray:
    """A law over (s, a), one a step in an episodic model, in the shape of the base's rewards."""
    base, shape = model
    return law(name, nu, shape, axes=min(2, len(shape))).reshape(base.r.shape)
