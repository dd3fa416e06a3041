"""Gambit's .nfg files of games in normal form, payoffs as exact rationals; both the payoff and the outcome version."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import product
from pathlib import Path

import numpy as np

from mdpkit.errors import MdpkitError

TOKEN = re.compile(r'"((?:[^"\\]|\\.)*)"|([{}])|([^\s{}",]+)')


@dataclass(frozen=True, eq=False)
class NormalForm:
    """A game in normal form.

    Attributes
    ----------
    title : str
    players : tuple of str
    strategies : tuple of tuples of str
    exact : object array (n, A1, ..., An) of Fraction
    """

    title: str
    players: tuple[str, ...]
    strategies: tuple[tuple[str, ...], ...]
    exact: np.ndarray

    @property
    def payoffs(self) -> np.ndarray:
        """(n, A1, ..., An), the nearest floats."""
        return self.exact.astype(np.float64)

    @property
    def is_zero_sum(self) -> bool:
        """Two players whose payoffs sum to exactly the same everywhere."""
        return len(self.players) == 2 and len(set((self.exact[0] + self.exact[1]).ravel().tolist())) == 1


def read(path: str | Path) -> NormalForm:
    """The game in an .nfg file.

    Raises
    ------
    MdpkitError
        The file is malformed; the message says where.
    """
    path = Path(path)
    if not path.is_file():
        raise MdpkitError("path", "an .nfg file", str(path))
    words = _Words(path.name, path.read_text(encoding="utf-8"))
    if words.take() != "NFG" or words.take() != "1" or words.take() not in ("R", "D"):
        raise MdpkitError(path.name, "an .nfg file: NFG 1 R or NFG 1 D", None)
    title = words.take()
    players = tuple(words.group())
    if words.peek(2)[1] == "{":
        strategies = tuple(tuple(group) for group in words.groups())
    else:
        strategies = tuple(tuple(str(i + 1) for i in range(int(k))) for k in words.group())
    if len(strategies) != len(players):
        raise MdpkitError(path.name, f"with strategies of {len(players)} players", len(strategies))
    shape = tuple(len(s) for s in strategies)
    if words.kind() == "text":
        words.take()                                   # a comment
    cells = int(np.prod(shape))
    outcomes = _outcomes(words) if words.peek(1)[0] == "{" else None
    given = [words.fraction() for _ in range(cells * (1 if outcomes else len(players)))]
    if words.left():
        raise MdpkitError(path.name, f"with {len(given)} numbers for its {cells} cells", None, came="more follow")
    exact = np.empty((len(players), *shape), object)
    for i, reverse in enumerate(product(*(range(k) for k in reversed(shape)))):      # the first player moves fastest
        cell = reverse[::-1]
        payoff: Sequence[Fraction]
        if outcomes is not None:
            payoff = outcomes.get(int(given[i]), [Fraction(0)] * len(players))
        else:
            payoff = given[i * len(players): (i + 1) * len(players)]
        for n, x in enumerate(payoff):
            exact[(n, *cell)] = x
    return NormalForm(title, players, strategies, exact)


def write(game: NormalForm, path: str | Path) -> Path:
    """Write the payoff version, rationals as they are."""
    quoted = lambda names: "{ " + " ".join('"' + n.replace('"', '\\"') + '"' for n in names) + " }"
    strategies = "{ " + " ".join(quoted(s) for s in game.strategies) + " }"
    cells = product(*(range(k) for k in reversed(game.exact.shape[1:])))
    body = " ".join(str(game.exact[(n, *cell[::-1])]) for cell in cells for n in range(len(game.players)))
    path = Path(path)
    title = game.title.replace('"', '\\"')
    path.write_text(f'NFG 1 R "{title}" {quoted(game.players)}\n\n{strategies}\n""\n\n{body}\n', encoding="utf-8")
    return path


def _outcomes(words: _Words) -> dict[int, list[Fraction]]:
    """Numbered from 1: a name and a payoff for each player; 0 is no outcome and pays nothing."""
    words.expect("{")
    out: dict[int, list[Fraction]] = {}
    while words.peek(1)[0] == "{":
        words.expect("{")
        words.take()                                   # its name
        payoff = []
        while words.peek(1)[0] != "}":
            payoff.append(words.fraction())
        words.expect("}")
        out[len(out) + 1] = payoff
    words.expect("}")
    return out


class _Words:
    """The words of a file, taken one by one; quoted ones are texts, commas between numbers do not count."""

    def __init__(self, name: str, text: str):
        self._name, self._at = name, 0
        self._words = [(m.group(1), "text") if m.group(1) is not None else (m.group(2) or m.group(3), "word")
                       for m in TOKEN.finditer(text)]

    def left(self) -> bool:
        return self._at < len(self._words)

    def kind(self) -> str:
        return self._words[self._at][1] if self.left() else ""

    def peek(self, n: int) -> list[str]:
        found = [w if kind == "word" else '"' for w, kind in self._words[self._at: self._at + n]]
        return found + [""] * (n - len(found))

    def take(self) -> str:
        if not self.left():
            raise MdpkitError(self._name, "whole", None, came="it ends too early")
        self._at += 1
        return self._words[self._at - 1][0].replace('\\"', '"')

    def expect(self, sign: str) -> None:
        if self.peek(1)[0] != sign:
            raise MdpkitError(self._name, f"{sign!r} as word {self._at + 1}", self.peek(1)[0])
        self._at += 1

    def group(self) -> list[str]:
        """The words between two braces."""
        self.expect("{")
        out = []
        while self.peek(1)[0] != "}":
            out.append(self.take())
        self.expect("}")
        return out

    def groups(self) -> list[list[str]]:
        self.expect("{")
        out = []
        while self.peek(1)[0] == "{":
            out.append(self.group())
        self.expect("}")
        return out

    def fraction(self) -> Fraction:
        word = self.take()
        try:
            return Fraction(word)
        except (ValueError, ZeroDivisionError):
            raise MdpkitError(self._name, f"a number as word {self._at}", word) from None
