"""PRISM's explicit files: .tra transitions, .sta states, .lab labels, .srew and .trew rewards; chains and MDPs.

`read` takes ``model.tra`` and whatever lies beside it under the same name. Rewards of transitions become expected
rewards of their choice, correctly rounded. PRISM lets each state have its own number of choices; where a state has
fewer than another its last choice is repeated, which changes no value.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from mdpkit import validate
from mdpkit.errors import MdpkitError
from mdpkit.models.tabular import TabularMDP


@dataclass(frozen=True, eq=False)
class PrismModel:
    """What the files say.

    Attributes
    ----------
    model : TabularMDP
    labels : mapping of str to int array
        The states of each label.
    states : tuple of str
        What .sta says of each state, or its number.
    choices : int array (S,)
        How many choices each state has; actions from there on repeat the last one.
    """

    model: TabularMDP
    labels: Mapping[str, np.ndarray]
    states: tuple[str, ...]
    choices: np.ndarray

    def target(self, label: str) -> np.ndarray:
        """The states of a label.

        Raises
        ------
        MdpkitError
            No such label; the message lists those there are.
        """
        validate.choice("label", label, tuple(self.labels))
        return self.labels[label]


def read(path: str | Path, gamma: float = 0.0) -> PrismModel:
    """The model in ``path`` (.tra) and the files beside it.

    Parameters
    ----------
    path : path that ends in .tra
    gamma : float in [0, 1)
        The files know of none. It plays no part in reachability, total and average rewards.

    Raises
    ------
    MdpkitError
        A file is malformed; the message names the file and the line.
    """
    path = Path(path)
    if path.suffix != ".tra" or not path.is_file():
        raise MdpkitError("path", "a .tra file", str(path))
    entries, S, choices = _transitions(path)
    A = int(choices.max())
    r = np.zeros((S, A))
    _state_rewards(path.with_suffix(".srew"), r)
    _transition_rewards(path.with_suffix(".trew"), r, entries)
    ptr, col, val = [0], [], []
    for s in range(S):
        for a in range(A):
            c = min(a, int(choices[s]) - 1)
            r[s, a] = r[s, c]
            found = entries[s, c]
            col += [t for t, _ in found]
            val += [p for _, p in found]
            ptr.append(len(col))
    labels = _labels(path.with_suffix(".lab"), S)
    rho = np.zeros(S)
    begin = labels.get("init", np.array([0]))
    rho[begin if len(begin) else [0]] = 1.0 / max(len(begin), 1)
    model = TabularMDP(csr_array((val, col, ptr), shape=(S * A, S)), r, gamma, rho)
    return PrismModel(model, labels, _states(path.with_suffix(".sta"), S), choices)


def write(model: TabularMDP, path: str | Path, labels: Mapping[str, Any] | None = None) -> list[Path]:
    """Write ``path`` (.tra), a .srew or .trew where there are rewards, and a .lab.

    Probabilities are written in 17 digits, so that `read` gives back the same world. The states with positive
    initial probability are labelled ``init``.
    """
    validate.instance("model", model, TabularMDP)
    path = Path(path)
    if path.suffix != ".tra":
        raise MdpkitError("path", "a path that ends in .tra", str(path))
    S, A, rows = model.S, model.A, model.rows
    owner = np.repeat(np.arange(S * A), np.diff(rows.ptr))
    single = A == 1
    lines = [f"{S} {len(rows.col)}" if single else f"{S} {S * A} {len(rows.col)}"]
    place = (lambda k: f"{k}") if single else (lambda k: f"{k // A} {k % A}")
    lines += [f"{place(k)} {t} {p!r}" for k, t, p in zip(owner.tolist(), rows.col.tolist(), rows.val.tolist())]
    written = [_put(path, lines)]
    if model.r.any():
        paying = [(k, t) for k, t in zip(owner.tolist(), rows.col.tolist()) if model.r.ravel()[k]]
        head = f"{S} {len(paying)}" if single else f"{S} {S * A} {len(paying)}"
        body = [f"{place(k)} {t} {float(model.r.ravel()[k])!r}" for k, t in paying]
        written.append(_put(path.with_suffix(".trew"), [head, *body]))
    named = {"init": np.flatnonzero(model.rho), **(labels or {})}
    sets = [set(np.asarray(states).tolist()) for states in named.values()]
    of_state = [[i for i, states in enumerate(sets) if s in states] for s in range(S)]
    head = " ".join(f'{i}="{name}"' for i, name in enumerate(named))
    body = [f"{s}: {' '.join(map(str, found))}" for s, found in enumerate(of_state) if found]
    written.append(_put(path.with_suffix(".lab"), [head, *body]))
    return written


def _put(path: Path, lines: list[str]) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def _lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Numbered lines as words, without comments and blank ones."""
    for i, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        words = line.split("#")[0].split()
        if words:
            yield i, words


def _wrong(path: Path, line: int, wanted: str, came: str) -> MdpkitError:
    return MdpkitError(f"{path.name}, line {line}", wanted, came)


def _numbers(path: Path, line: int, words: list[str], kinds: str) -> list[Any]:
    """Words as integers (i) and reals (f); more words (action names) are let pass."""
    try:
        found = [int(w) if kind == "i" else float(w) for kind, w in zip(kinds, words)]
    except ValueError:
        found = []
    if len(found) < len(kinds) or not all(math.isfinite(x) for x in found):
        raise _wrong(path, line, f"{len(kinds)} numbers", " ".join(words))
    return found


def _transitions(path: Path) -> tuple[dict[tuple[int, int], list[tuple[int, float]]], int, np.ndarray]:
    """Successors of each (state, choice), the number of states, and of choices in each."""
    lines = _lines(path)
    first, head = next(lines, (1, []))
    if len(head) not in (2, 3):
        raise _wrong(path, first, "'states transitions' of a chain or 'states choices transitions' of an MDP",
                     " ".join(head))
    is_mdp = len(head) == 3
    S = _numbers(path, first, head, "i")[0]
    found: dict[tuple[int, int], list[tuple[int, float]]] = {}
    n = 0
    for i, words in lines:
        s, *rest = _numbers(path, i, words, "iiif" if is_mdp else "iif")
        c, t, p = rest if is_mdp else (0, *rest)
        if not (0 <= s < S and 0 <= t < S and c >= 0):
            raise _wrong(path, i, f"states 0..{S - 1}", " ".join(words))
        found.setdefault((s, c), []).append((t, p))
        n += 1
    if n != int(head[-1]):
        raise _wrong(path, first, f"{n} transitions, as many as follow", head[-1])
    choices = np.zeros(S, np.int64)
    for s, _ in found:
        choices[s] += 1
    for s in range(S):
        for c in range(max(int(choices[s]), 1)):
            if (s, c) not in found:
                raise MdpkitError(path.name, f"with transitions of choice {c} of state {s}", None, "export models with "
                                  "deadlocks fixed", came="there are none")
    return found, S, choices


def _state_rewards(path: Path, r: np.ndarray) -> None:
    if path.is_file():
        lines = _lines(path)
        next(lines, None)
        for i, words in lines:
            s, x = _numbers(path, i, words, "if")
            if not 0 <= s < len(r):
                raise _wrong(path, i, f"a state 0..{len(r) - 1}", str(s))
            r[s] += x


def _transition_rewards(path: Path, r: np.ndarray, rows: Mapping[tuple[int, int], list[tuple[int, float]]]) -> None:
    if not path.is_file():
        return
    lines = _lines(path)
    _, head = next(lines, (1, []))
    is_mdp = len(head) == 3
    parts: dict[tuple[int, int], list[float]] = {}
    for i, words in lines:
        s, *rest = _numbers(path, i, words, "iiif" if is_mdp else "iif")
        c, t, x = rest if is_mdp else (0, *rest)
        p = [q for u, q in rows.get((s, c), []) if u == t]
        if not p:
            raise _wrong(path, i, "a transition of the .tra file", " ".join(words))
        parts.setdefault((s, c), []).append(p[0] * x)
    for (s, c), terms in parts.items():
        r[s, c] += math.fsum(terms)


def _labels(path: Path, S: int) -> dict[str, np.ndarray]:
    if not path.is_file():
        return {}
    lines = path.read_text(encoding="utf-8").splitlines()
    names = {int(i): name for i, name in re.findall(r'(\d+)="([^"]*)"', lines[0] if lines else "")}
    found: dict[int, list[int]] = {i: [] for i in names}
    for n, line in enumerate(lines[1:], 2):
        s, colon, rest = line.partition(":")
        if not line.strip():
            continue
        known = {str(i) for i in names}
        if not colon or not s.strip().isdigit() or int(s) >= S or not set(rest.split()) <= known:
            raise _wrong(path, n, "'state: labels' with labels of the first line", line)
        for i in rest.split():
            found[int(i)].append(int(s))
    return {names[i]: np.array(states, np.int64) for i, states in found.items()}


def _states(path: Path, S: int) -> tuple[str, ...]:
    out = [str(s) for s in range(S)]
    if path.is_file():
        for line in path.read_text(encoding="utf-8").splitlines()[1:]:
            s, colon, rest = line.partition(":")
            if colon and s.strip().isdigit() and int(s) < S:
                out[int(s)] = rest.strip()
    return tuple(out)
