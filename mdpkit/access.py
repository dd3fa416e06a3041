"""What a learner may do. An algorithm gets one of these, never a model.

============  ==================================  ============================================
access        verbs                               over
============  ==================================  ============================================
Exact         the model itself (``.model``)       anything
Generative    ask at any (h, s, a)                tabular, episodic, linear
Episodes      start, step                         every model with episodes; bandits; games
Stream        start once, step                    tabular; dynamical bandits (step alone)
Reset         start, step, reset                  tabular, episodic, linear
Comparisons   start, ask                          preferences, tokens (by whole response)
============  ==================================  ============================================

Logged data are records: `Dataset` and `StateOnlyDataset` (``mdpkit.records``), drawn by ``mdpkit.data``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from mdpkit import validate
from mdpkit.drive import call, drive
from mdpkit.errors import AccessDenied, MdpkitError
from mdpkit.models.bandits import Bandit, ContextualBandit, LinearBandit
from mdpkit.models.cascading import CascadingMDP
from mdpkit.models.convert import response_preferences, to_episodic
from mdpkit.models.dynamical import DynamicalBandit
from mdpkit.models.games import MarkovGame
from mdpkit.models.latent import LatentMDP, RichMDP
from mdpkit.models.linear import LinearMDP, LinearMixtureMDP
from mdpkit.models.preferences import PreferenceModel
from mdpkit.models.tabular import EpisodicMDP, TabularMDP
from mdpkit.models.tokens import TokenModel
from mdpkit.records import Dataset, StateOnlyDataset
from mdpkit.worlds import bandits, cascading, dynamical, games, hidden, markov, preferences

SIZES = ("S", "A", "H", "d", "M", "X", "Y", "n", "V", "gamma")
GRANTED = {CascadingMDP: ("N", "m", "s_1"), DynamicalBandit: ("arms",), LinearMDP: ("phi",),
           LinearMixtureMDP: ("base",), LinearBandit: ("x",),
           PreferenceModel: ("pi_ref", "beta", "rho"), TokenModel: ("pi_ref", "beta", "rho")}
Watch = Callable[[int, Any], None]


class Known:
    """What the theorem grants: sizes always, features where the model is about them, the rest by ``grant``."""

    def __init__(self, **known: Any):
        self.__dict__.update(known)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise AccessDenied(f"known.{name}", f"granted ({', '.join(sorted(self.__dict__))} are)", None,
                           f"pass grant=({name!r},) if the theorem grants it", came="it is not")

    def __repr__(self) -> str:
        return f"Known({', '.join(sorted(self.__dict__))})"


class Exact:
    """The learner knows the model: planning, and gradients of populations. The only access that shows it."""

    def __init__(self, model: Any):
        self.model = model
        self.known = _known(model, (), None)

    def __repr__(self) -> str:
        return f"Exact({self.model!r})"


class Generative:
    """Draws (r, s') at any (h, s, a)."""

    def __init__(self, model: Any, rng: np.random.Generator, *, grant: Sequence[str] = (),
                 bounds: Mapping[str, Any] | None = None, watch: Watch | None = None, chunk: int | None = None):
        world = markov.generative(_markov(model, "Generative"), validate.generator("rng", rng))
        _open(self, model, world, grant, bounds, watch, chunk)

    known: Known
    drive, call = drive, call

    @property
    def samples(self) -> dict[str, int]:
        return {"asks": int(self._world.asks[0])}  # type: ignore[attr-defined]


class Episodes:
    """Whole episodes from the initial law; for bandits, rounds.

    Parameters
    ----------
    model
        Tabular (no end: start again at will), episodic, linear, latent, rich, bandit, cascading, game or token model.
    rng : numpy.random.Generator
        The world's own randomness.
    grant : names of model fields
        What the theorem lets the learner know besides sizes, such as ``("r",)``.
    bounds : mapping
        Further facts, such as a norm bound.
    watch : callable (first, rows), optional
        Sees each chunk of the log, whose first row is episode ``first``; the rows are only valid during the call.
        Without it the trace is kept in the result of `drive`.
    chunk : int, optional
        Episodes a crossing. Changes no bit of any answer.
    hindsight : bool
        Latent MDPs: `reveal` tells the context after each episode.
    """

    def __init__(self, model: Any, rng: np.random.Generator, *, grant: Sequence[str] = (),
                 bounds: Mapping[str, Any] | None = None, watch: Watch | None = None, chunk: int | None = None,
                 hindsight: bool = False):
        _open(self, model, _episodes(model, validate.generator("rng", rng), hindsight), grant, bounds, watch, chunk)

    known: Known
    watch: Watch | None
    drive, call = drive, call

    @property
    def samples(self) -> dict[str, int]:
        return _counts(self)


class Stream:
    """One trajectory of a discounted or average-reward MDP, or of a dynamical bandit, that never starts again."""

    def __init__(self, model: TabularMDP | DynamicalBandit, rng: np.random.Generator, *, grant: Sequence[str] = (),
                 bounds: Mapping[str, Any] | None = None, watch: Watch | None = None, chunk: int | None = None):
        validate.instance("model", model, (TabularMDP, DynamicalBandit))
        validate.generator("rng", rng)
        world: Any = (dynamical.dynamical(model, rng) if isinstance(model, DynamicalBandit)
                      else markov.episodes(model, rng, lives=1))
        _open(self, model, world, grant, bounds, watch, chunk)

    known: Known
    drive, call = drive, call

    @property
    def samples(self) -> dict[str, int]:
        return _counts(self)


class Reset:
    """Episodes, and resets to the steps and states that ``to`` allows.

    Parameters
    ----------
    to : "visited", "any", Dataset, StateOnlyDataset or bool array (H, S)
        Visited: wherever this access has been. A data set: the (h, s) in it. Others as in `Episodes`.
    """

    def __init__(self, model: Any, rng: np.random.Generator, *, to: Any = "visited", grant: Sequence[str] = (),
                 bounds: Mapping[str, Any] | None = None, watch: Watch | None = None, chunk: int | None = None):
        base = _markov(model, "Reset")
        H, S = (base.H, base.S) if isinstance(base, EpisodicMDP) else (1, base.S)
        world = markov.resets(base, validate.generator("rng", rng), _allowed(to, H, S))
        _open(self, model, world, grant, bounds, watch, chunk)

    known: Known
    drive, call = drive, call

    @property
    def samples(self) -> dict[str, int]:
        return _counts(self)


class Comparisons:
    """Asks which of two responses is preferred."""

    def __init__(self, model: PreferenceModel | TokenModel, rng: np.random.Generator, *, grant: Sequence[str] = (),
                 bounds: Mapping[str, Any] | None = None, watch: Watch | None = None, chunk: int | None = None):
        validate.instance("model", model, (PreferenceModel, TokenModel))
        pairwise = response_preferences(model) if isinstance(model, TokenModel) else model
        world = preferences.comparisons(pairwise, validate.generator("rng", rng))
        _open(self, model, world, grant, bounds, watch, chunk)

    known: Known
    drive, call = drive, call

    @property
    def samples(self) -> dict[str, int]:
        world = self._world  # type: ignore[attr-defined]
        return {"prompts": int(world.counts[0]), "asks": int(world.asks[0])}


def _open(access: Any, model: Any, world: Any, grant: Sequence[str], bounds: Mapping[str, Any] | None,
          watch: Watch | None, chunk: int | None) -> None:
    if watch is not None and not callable(watch):
        raise MdpkitError("watch", "a callable (first, rows)", watch)
    access._world = world
    access.known = _known(model, grant, bounds)
    access.watch = watch
    access.chunk = None if chunk is None else validate.count("chunk", chunk)


def _known(model: Any, grant: Sequence[str], bounds: Mapping[str, Any] | None) -> Known:
    known = {k: getattr(model, k) for k in SIZES if hasattr(model, k)}
    known = {k: size for k, size in known.items() if not isinstance(size, np.ndarray)}      # A may be a matrix
    if isinstance(grant, str) or not isinstance(grant, Sequence):
        raise MdpkitError("grant", "a sequence of names", grant)
    for name in (*GRANTED.get(type(model), ()), *grant):
        if not isinstance(name, str) or not hasattr(model, name) or callable(getattr(model, name)):
            raise MdpkitError("grant", f"names of fields of {type(model).__name__}", name)
        known[name] = getattr(model, name)
    if not isinstance(bounds or {}, Mapping):
        raise MdpkitError("bounds", "a mapping of names to facts", bounds)
    for name in bounds or {}:
        if not isinstance(name, str) or name in known:
            raise MdpkitError("bounds", "names that are not known otherwise", name)
    return Known(**known, **(bounds or {}))


def _counts(access: Any) -> dict[str, int]:
    return dict(zip(("episodes", "steps", "resets"), (int(n) for n in access._world.counts)))


def _markov(model: Any, kind: str) -> TabularMDP | EpisodicMDP:
    if isinstance(model, TabularMDP | EpisodicMDP):
        return model
    if isinstance(model, LinearMDP | LinearMixtureMDP):
        return to_episodic(model)
    raise MdpkitError("model", f"tabular, episodic or linear for {kind} access", None,
                      came=f"it is a {type(model).__name__}")


def _episodes(model: Any, rng: np.random.Generator, hindsight: bool) -> Any:
    if hindsight and not isinstance(model, LatentMDP):
        raise MdpkitError("hindsight", "False for a model without contexts", hindsight)
    if isinstance(model, Bandit | LinearBandit | ContextualBandit):
        return bandits.bandit(model, rng)
    if isinstance(model, CascadingMDP):
        return cascading.cascading(model, rng)
    if isinstance(model, MarkovGame):
        return games.game(model, rng)
    if isinstance(model, LatentMDP):
        return hidden.latent(model, rng, hindsight=hindsight)
    if isinstance(model, RichMDP):
        return hidden.rich(model, rng)
    if isinstance(model, TokenModel):
        return markov.episodes(to_episodic(model), rng)
    return markov.episodes(_markov(model, "Episodes"), rng)


def _allowed(to: Any, H: int, S: int) -> np.ndarray | None:
    if isinstance(to, str):
        validate.choice("to", to, ("visited", "any"))
        return None if to == "visited" else np.ones((H, S), np.bool_)
    if isinstance(to, Dataset | StateOnlyDataset):
        s = to.steps.s if isinstance(to, Dataset) else to.s
        if s.shape[1] != H or (s.size and s.max() >= S):
            raise MdpkitError("to", f"a data set of {H} steps over {S} states", None,
                              came=f"it has shape {s.shape} and largest state {s.max() if s.size else None}")
        mask = np.zeros((H, S), np.bool_)
        mask[np.broadcast_to(np.arange(H), s.shape), s] = True
        return mask
    try:
        mask = np.asarray(to)
    except ValueError as e:
        raise MdpkitError("to", f"a bool array of shape ({H}, {S})", to, "is it ragged?") from e
    if mask.dtype != np.bool_ or mask.shape != (H, S):
        raise MdpkitError("to", f"'visited', 'any', a data set or a bool array of shape ({H}, {S})", None,
                          came=f"its dtype is {mask.dtype}, its shape {mask.shape}")
    return mask.copy()
