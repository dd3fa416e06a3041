"""Gymnasium's toy-text environments as discounted MDPs, and back.

They publish ``env.unwrapped.P[s][a] = [(p, t, r, terminated), ...]``. What it means, where care is needed:

* successors repeat (FrozenLake, CliffWalking), each with a reward of its own: r(s, a) = sum p r is taken before the
  repeated successors are merged;
* ``terminated`` ends the episode, so that nothing is earned afterwards even where t has rows of its own (Taxi,
  CliffWalking): such a transition leads to one more state, absorbing and unpaid, unless t already is both (FrozenLake);
* time limits and other wrappers are not in P: the model is that of ``env.unwrapped``, which runs on for ever.

Towers et al., Gymnasium: A Standard Interface for Reinforcement Learning Environments, 2024.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from mdpkit import validate
from mdpkit.errors import MdpkitError, MissingPackage
from mdpkit.models.tabular import TabularMDP

LAWS = ("initial_state_distrib", "isd")      # where environments keep their initial law, newer name first


@dataclass(frozen=True, eq=False)
class GymModel:
    """An environment's MDP and what it knows besides.

    Attributes
    ----------
    model : TabularMDP
        Sparse. State s is the environment's; the last one is new if some transition needed it (see the module).
    id : str
        The id it was registered under, else the name of its class.
    shape : (height, width) or None
        Of the grid, where state row*width + column is a cell.
    terminal_states : int array
        States that are entered only to end the episode, among those that some policy visits; the new state is one.
    """

    model: TabularMDP
    id: str
    shape: tuple[int, int] | None
    terminal_states: np.ndarray


class Transitions(NamedTuple):
    """``P`` flat, rows in order: (s, a) leads to t with probability p > 0 and reward r."""

    S: int
    A: int
    s: np.ndarray
    a: np.ndarray
    p: np.ndarray
    t: np.ndarray
    r: np.ndarray
    terminated: np.ndarray


def from_gymnasium(env_or_id: Any, gamma: float, *, rho: Any = None, **make_kwargs: Any) -> TabularMDP:
    """The discounted MDP of an environment that publishes its table; `read` tells its grid and ends too.

    Parameters
    ----------
    env_or_id : str or environment
        ``gymnasium.make(env_or_id, **make_kwargs)``, or an environment that is made already.
    gamma : float in [0, 1)
    rho : array (S,), optional
        Initial law over the environment's states; its own where omitted.

    Raises
    ------
    MdpkitError
        There is no such environment, it has no table, or the table is not one.
    MissingPackage
        An id was given and gymnasium is not installed.
    """
    return read(env_or_id, gamma, rho=rho, **make_kwargs).model


def read(env_or_id: Any, gamma: float, *, rho: Any = None, **make_kwargs: Any) -> GymModel:
    """`from_gymnasium` with what a picture needs: the grid's shape and where episodes end."""
    gamma = validate.interval("gamma", gamma, 0.0, 1.0, open_hi=True)
    if isinstance(env_or_id, str):
        env = _make(env_or_id, make_kwargs)
        try:
            return _read(env.unwrapped, gamma, rho)
        finally:
            env.close()
    if make_kwargs:
        raise MdpkitError("make_kwargs", "left out: the environment is made already", make_kwargs)
    return _read(getattr(env_or_id, "unwrapped", env_or_id), gamma, rho)


def to_gymnasium(model: TabularMDP) -> dict[int, dict[int, list[tuple[float, int, float, bool]]]]:
    """The table ``P[s][a] = [(p, t, r, terminated), ...]`` of an MDP, in plain Python numbers.

    Every successor carries the mean reward r(s, a), also where the model draws rewards with noise; the discount and
    the initial law are not part of a table. ``terminated`` marks the entry of states that absorb and pay nothing, so
    that values stay as they are and `from_gymnasium` reads the same kernel and rewards back, bit for bit.
    """
    validate.instance("model", model, TabularMDP)
    ptr, col, val = model.rows
    k = np.repeat(np.arange(model.S * model.A), np.diff(ptr))
    over = _absorbing(model.S, k // model.A, col, model.r.ravel()[k])
    entries = list(zip(val.tolist(), col.tolist(), model.r.ravel()[k].tolist(), over[col].tolist()))
    row = lambda j: entries[ptr[j] : ptr[j + 1]]
    return {s: {a: row(s * model.A + a) for a in range(model.A)} for s in range(model.S)}


def reached(start: np.ndarray, s: np.ndarray, t: np.ndarray) -> np.ndarray:
    """Which states (S,) the moves s[i] -> t[i] reach from those marked in ``start``, these included."""
    seen = np.array(start, np.bool_)
    while True:
        more = seen.copy()
        more[t[seen[s]]] = True
        if (more == seen).all():
            return seen
        seen = more


def _make(name: str, make_kwargs: dict[str, Any]) -> Any:
    try:
        import gymnasium
    except ImportError as e:
        raise MissingPackage("gymnasium", "gym") from e
    try:
        return gymnasium.make(name, **make_kwargs)
    except Exception as e:      # the constructors of strangers raise anything: KeyError for a map, TypeError, their own
        raise MdpkitError("env_or_id", "an environment that gymnasium.make builds with these arguments", None,
                          came=f"{name!r} raised {type(e).__name__}: {e}") from e


def _read(env: Any, gamma: float, rho: Any) -> GymModel:
    spec = getattr(env, "spec", None)
    name = spec.id if spec is not None else type(env).__name__
    if not hasattr(env, "P"):
        raise MdpkitError("env_or_id", "an environment that publishes its table env.unwrapped.P", None,
                          "only toy-text environments such as FrozenLake, CliffWalking and Taxi do",
                          came=f"{name} does not")
    if getattr(env, "fickle_passenger", False):       # Taxi moves the destination outside of P
        raise MdpkitError("fickle_passenger", "False: P does not know that the passenger's mind may change", True)
    moves = _transitions(env.P)
    rho = _initial(env, rho, moves.S)
    model, extra = _model(moves, gamma, rho)
    return GymModel(model, name, _shape(env, moves.S), _terminal(moves, rho, extra))


def _transitions(P: Any) -> Transitions:
    table = [_level(f"P[{s}]", row) for s, row in enumerate(_level("P", P))]
    S, A = len(table), len(table[0])
    flat: list[tuple] = []
    for s, row in enumerate(table):
        if len(row) != A:
            raise MdpkitError(f"P[{s}]", f"of {A} actions like P[0]", None, came=f"it has {len(row)}")
        for a, entries in enumerate(row):
            flat.extend(_entries(f"P[{s}][{a}]", s, a, entries, S))
    return Transitions(S, A, *(np.array(column) for column in zip(*flat)))


def _level(name: str, table: Any) -> list:
    """``[table[0], table[1], ...]`` of a dict or a list."""
    if not isinstance(table, Mapping | Sequence) or isinstance(table, str) or len(table) == 0:
        raise MdpkitError(f"env.unwrapped.{name}", "a non-empty dict or list", table)
    if isinstance(table, Mapping) and set(table) != set(range(len(table))):
        raise MdpkitError(f"env.unwrapped.{name}", f"indexed by 0 to {len(table) - 1}", None,
                          came=f"its keys are {sorted(map(str, table))[:8]}")
    return [table[i] for i in range(len(table))]


def _entries(name: str, s: int, a: int, entries: Any, S: int) -> list[tuple]:
    """The entries of positive probability, checked: a negative one must not hide behind a repeated successor."""
    out, total = [], 0.0
    for i, entry in enumerate(_level(name, entries)):
        where = f"env.unwrapped.{name}[{i}]"
        if not isinstance(entry, Sequence) or len(entry) != 4 or not isinstance(entry[3], bool | np.bool_):
            raise MdpkitError(where, "(probability, next state, reward, terminated)", entry)
        p = validate.interval(f"{where}[0]", entry[0], 0.0, 1.0 + validate.SUM_TOLERANCE)
        t = validate.count(f"{where}[1]", entry[1], 0, S - 1)
        total += p
        if p > 0:
            out.append((s, a, p, t, validate.real(f"{where}[2]", entry[2]), bool(entry[3])))
    if abs(total - 1.0) > validate.SUM_TOLERANCE:
        raise MdpkitError(f"env.unwrapped.{name}", "a list whose probabilities sum to 1", None,
                          came=f"they sum to {total:.10g}")
    return out


def _model(moves: Transitions, gamma: float, rho: np.ndarray) -> tuple[TabularMDP, bool]:
    """The model, and whether it has one state more than the table."""
    import scipy.sparse as sp

    S, A, s, a, p, t, r, terminated = moves
    outside = terminated & ~_absorbing(S, s, t, r)[t]
    extra = bool(outside.any())
    n, row = S + extra, s * A + a
    new = np.arange(S * A, n * A)           # the rows of the new state
    rows = np.concatenate([row, new]), np.concatenate([np.where(outside, S, t), np.full(new.size, S)])
    # duplicates are summed by the model, after the rewards were averaged
    P = sp.coo_array((np.concatenate([p, np.ones(new.size)]), rows), shape=(n * A, n))
    mean = np.concatenate([_mean_rewards(row, p, r), np.zeros(new.size)]).reshape(n, A)
    return TabularMDP(P, mean, gamma, np.concatenate([rho, np.zeros(int(extra))])), extra


def _mean_rewards(row: np.ndarray, p: np.ndarray, r: np.ndarray) -> np.ndarray:
    """sum p r / sum p of each row, as a deviation from its first reward: exact where all rewards of a row agree."""
    first = r[np.unique(row, return_index=True)[1]]
    return first + np.bincount(row, p * (r - first[row])) / np.bincount(row, p)


def _absorbing(S: int, s: np.ndarray, t: np.ndarray, r: np.ndarray) -> np.ndarray:
    """States (S,) that no action leaves and in which none pays."""
    out = np.ones(S, np.bool_)
    out[s[(s != t) | (r != 0)]] = False
    return out


def _terminal(moves: Transitions, rho: np.ndarray, extra: bool) -> np.ndarray:
    on = ~moves.terminated
    seen = reached(rho > 0, moves.s[on], moves.t[on])
    ended = np.unique(moves.t[moves.terminated & seen[moves.s]])
    out = np.concatenate([ended[~seen[ended]], np.full(int(extra), moves.S)])
    out.flags.writeable = False
    return out


def _initial(env: Any, rho: Any, S: int) -> np.ndarray:
    if rho is not None:
        return validate.simplex("rho", rho, (S,))
    for name in LAWS:
        if hasattr(env, name):
            return validate.simplex(f"env.unwrapped.{name}", getattr(env, name), (S,))
    raise MdpkitError("rho", "given for an environment without initial_state_distrib", None)


def _shape(env: Any, S: int) -> tuple[int, int] | None:
    """The grid's shape, from ``shape`` (CliffWalking) or ``desc`` (FrozenLake), if its cells are the states."""
    for shape in (getattr(env, "shape", None), np.shape(getattr(env, "desc", 0))):
        if isinstance(shape, tuple) and len(shape) == 2 and shape[0] * shape[1] == S:
            return int(shape[0]), int(shape[1])
    return None
