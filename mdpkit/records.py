"""The records that cross borders: what a paper is, what a run returns, what data look like."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from mdpkit import validate
from mdpkit.errors import MdpkitError, MissingPackage


@dataclass(frozen=True)
class Paper:
    """A paper, as the index and the reports print it."""

    slug: str
    title: str
    authors: str
    venue: str
    arxiv: str
    tags: tuple[str, ...] = ()
    bibtex: str = ""


@dataclass(frozen=True, eq=False)
class Trace:
    """What a run did, one entry an episode or iteration.

    Attributes
    ----------
    policies : array (n, ...)
        The distinct policies, in order of first appearance.
    index : int array (T,)
        Episode t played ``policies[index[t]]``.
    info : mapping of str to array
        Whatever else was logged, a row an episode.
    """

    policies: np.ndarray
    index: np.ndarray
    info: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.index)

    def __repr__(self) -> str:
        return f"Trace({len(self.index)} rows, {len(self.policies)} distinct policies, info: {sorted(self.info)})"

    def _repr_html_(self) -> str:
        fields = "".join(f"<tr><th style='text-align:left'>{k}</th><td>{np.shape(v)}</td></tr>"
                         for k, v in (("policies", self.policies), *sorted(self.info.items())))
        return f"<table><caption><b>Trace</b> of {len(self.index)} rows</caption>{fields}</table>"

    def frame(self) -> Any:
        """A pandas frame, one row an episode: which policy was played, and every logged number or vector of numbers.

        A vector field ``x`` becomes columns ``x[0]``, ``x[1]``, ...; arrays of more axes stay in `info`.

        Raises
        ------
        MissingPackage
            pandas is not installed.
        """
        try:
            import pandas
        except ImportError as e:
            raise MissingPackage("pandas", "frames") from e
        columns: dict[str, Any] = {"policy": self.index}
        for name, field_ in sorted(self.info.items()):
            if field_.ndim == 1:
                columns[name] = field_
            elif field_.ndim == 2:
                columns |= {f"{name}[{i}]": field_[:, i] for i in range(field_.shape[1])}
        return pandas.DataFrame(columns)


@dataclass(frozen=True, eq=False)
class Result:
    """What ``run`` returns: its output, the trace, the parameters that it ran with and the samples that it drew."""

    output: Any
    trace: Trace | None
    params: Any
    samples: Mapping[str, int] = field(default_factory=dict)


class Steps(NamedTuple):
    """Transitions by episode and step, each array (n, H)."""

    s: np.ndarray
    a: np.ndarray
    r: np.ndarray
    s_next: np.ndarray


@dataclass(frozen=True, eq=False)
class Dataset:
    """Logged transitions (n, H).

    With ``joint=True`` row i is one trajectory; otherwise the columns are separate draws and only
    (s, a, r, s_next) of one cell belong together. ``behaviour`` says where they come from.
    """

    steps: Steps
    behaviour: str
    joint: bool = True

    def __post_init__(self) -> None:
        if not isinstance(self.steps, Steps):
            raise MdpkitError("steps", "Steps(s, a, r, s_next)", None, came=f"it is a {type(self.steps).__name__}")
        s = validate.array("steps.s", self.steps.s, (None, "H"), integer=True)
        parts = (s, validate.array("steps.a", self.steps.a, s.shape, integer=True),
                 validate.array("steps.r", self.steps.r, s.shape),
                 validate.array("steps.s_next", self.steps.s_next, s.shape, integer=True))
        for name, part in zip(("s", "a", None, "s_next"), parts):
            if name and part.size and part.min() < 0:
                raise MdpkitError(f"steps.{name}", "non-negative indices", int(part.min()))
        object.__setattr__(self, "steps", Steps(*parts))

    @property
    def n(self) -> int:
        return self.steps.s.shape[0]

    @property
    def H(self) -> int:
        return self.steps.s.shape[1]

    def fits(self, S: int, A: int) -> Dataset:
        """Itself, if every index lies within S states and A actions."""
        for name, part, top in (("s", self.steps.s, S), ("a", self.steps.a, A), ("s_next", self.steps.s_next, S)):
            if part.size and part.max() >= top:
                i, h = (int(k) for k in np.argwhere(part >= top)[0])
                raise MdpkitError(f"data.steps.{name}[{i}, {h}]", f"below {top}", int(part[i, h]))
        return self

    def take(self, n: int) -> Dataset:
        """The first n rows."""
        n = validate.count("n", n, 0, self.n)
        return own(Steps(*(part[:n] for part in self.steps)), self.behaviour, self.joint)


def own(steps: Steps, behaviour: str, joint: bool) -> Dataset:
    """A dataset of arrays that fit and that nobody else writes to: neither checked again nor copied."""
    data = object.__new__(Dataset)
    for part in steps:
        part.flags.writeable = False
    for name, value in (("steps", steps), ("behaviour", behaviour), ("joint", joint)):
        object.__setattr__(data, name, value)
    return data


@dataclass(frozen=True, eq=False)
class StateOnlyDataset:
    """Logged states (n, H) without actions and rewards: s[:, h] ~ mu_h."""

    s: np.ndarray
    behaviour: str

    def __post_init__(self) -> None:
        s = validate.array("s", self.s, (None, "H"), integer=True)
        if s.size and s.min() < 0:
            raise MdpkitError("s", "non-negative indices", int(s.min()))
        object.__setattr__(self, "s", s)


class Pairs(NamedTuple):
    """Weighted comparisons: at prompt x, ``win`` was preferred to ``lose``, ``count`` times. Each (n,)."""

    x: np.ndarray
    win: np.ndarray
    lose: np.ndarray
    count: np.ndarray  # type: ignore[assignment]  # the field shadows tuple.count on purpose


class Segments(NamedTuple):
    """Trajectory segments, each (n, L)."""

    s: np.ndarray
    a: np.ndarray


class Atoms(NamedTuple):
    """Finite return distributions, one after the other: law k is ``value, prob [start[k]:start[k+1]]``."""

    value: np.ndarray
    prob: np.ndarray
    start: np.ndarray
