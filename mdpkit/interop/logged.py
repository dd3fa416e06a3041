"""Logged bandit data in a CSV file: who was shown what, what came of it, and with which probability it was shown.

One row a decision, one header line. Columns by their names, in any order; all others are left alone:

=====================  ===========================================================================================
``item_id``            the action, an integer or any text
``click``              the reward, a number
``propensity_score``   the probability, in (0, 1], with which the logging policy chose the action
``user_feature_*``     the context: rows that agree in all of these columns have one context. None: one context
``position``           optional, a slot of a page; becomes part of the context if ``by_position``
``available``          optional, the actions that could be chosen, separated by spaces; all where it is missing
=====================  ===========================================================================================

This is the layout of the Open Bandit Data (Saito, Aihara, Matsutani, Narita 2021), whose samples lie in the wheel
of ``obp``; ``available`` is ours, for action sets that change.
"""

from __future__ import annotations

import csv
import hashlib
import os
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mdpkit import validate
from mdpkit.errors import MdpkitError, MissingPackage

NEEDED = ("item_id", "click", "propensity_score")
SAMPLE = "obp/dataset/obd/random/all/all.csv"
SAMPLE_SHA256 = "7168295b6e0a9eabcf3392320a5dd434e542b68e705d5cd9491499af589812f1"      # of obp 0.4.1
HOW = "pip install --no-deps obp==0.4.1"        # only its data are read, not its code


class LoggedBandit(NamedTuple):
    """n logged decisions over X contexts and K actions."""

    x: np.ndarray                   # (n,) context
    a: np.ndarray                   # (n,) action
    r: np.ndarray                   # (n,) reward
    p: np.ndarray                   # (n,) propensity of the logged action
    available: np.ndarray | None    # (n, K) bool, or None: all
    contexts: tuple                 # X tuples of the values that make a context
    actions: tuple                  # K names


def read(path: str | os.PathLike, by_position: bool = False) -> LoggedBandit:
    """The decisions in a CSV file of the layout above.

    Parameters
    ----------
    path : path
    by_position : bool
        Whether the column ``position`` is part of the context.

    Returns
    -------
    LoggedBandit
        Contexts and actions are numbered in the order of their names, numbers before text.

    Raises
    ------
    MdpkitError
        No such file, a missing column, a row that is too short, a reward that is no number, a propensity outside of
        (0, 1], an action that was not available: each with its line.
    """
    path = Path(path)
    if not path.is_file():
        raise MdpkitError("path", "an existing CSV file", None, came=str(path))
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    head = rows[0] if rows else []
    wanted = (*NEEDED, "position") if by_position else NEEDED
    for name in wanted:
        if name not in head:
            raise MdpkitError(f"{path.name}", f"with a column {name!r}", None, came=f"its columns are {head}")
    if len(rows) < 2:
        raise MdpkitError(f"{path.name}", "with a row below its header", None, came="it has none")
    for line, row in enumerate(rows[1:], 2):
        if len(row) != len(head):
            raise MdpkitError(f"{path.name}, line {line}", f"of {len(head)} fields", None, came=f"it has {len(row)}")
    return _decisions(path.name, head, rows[1:], by_position)


def obp_sample(by_position: bool = False) -> LoggedBandit:
    """The 10000 decisions of the uniformly random policy, all items, in the wheel of ``obp`` 0.4.1.

    Raises
    ------
    MissingPackage
        No obp is installed. Nothing of it is imported.
    MdpkitError
        Its file is not the one that is known here, by its SHA-256.
    """
    path = obp_file()
    came = hashlib.sha256(path.read_bytes()).hexdigest()
    if came != SAMPLE_SHA256:
        raise MdpkitError("the sample of obp", f"the file whose SHA-256 is {SAMPLE_SHA256}", None, came=came)
    return read(path, by_position)


def obp_file() -> Path:
    """Where the sample lies in an installed ``obp``. Errors as in `obp_sample`."""
    try:
        path = Path(str(metadata.distribution("obp").locate_file(SAMPLE)))
    except metadata.PackageNotFoundError:
        raise MissingPackage("obp", how=HOW) from None
    if not path.is_file():
        raise MissingPackage("obp", how=HOW)
    return path


def _decisions(name: str, head: list[str], rows: list[list[str]], by_position: bool) -> LoggedBandit:
    at = {column: i for i, column in enumerate(head)}
    keys = [i for i, column in enumerate(head) if column.startswith("user_feature_")]
    keys += [at["position"]] if by_position else []
    shown = [tuple(row[i] for i in keys) for row in rows]
    items = [row[at["item_id"]] for row in rows]
    sets = [row[at["available"]].split() for row in rows] if "available" in at else None
    contexts = sorted(set(shown), key=lambda key: [_order(part) for part in key])
    actions = sorted(set(items).union(*(sets or ())), key=_order)
    number, action = {key: i for i, key in enumerate(contexts)}, {key: i for i, key in enumerate(actions)}
    r, p = _column(name, rows, at, "click"), _column(name, rows, at, "propensity_score")
    for line in np.flatnonzero(~((p > 0) & (p <= 1)))[:1]:
        raise MdpkitError(f"{name}, line {line + 2}, propensity_score", "in (0, 1]", None, came=f"{p[line]}")
    out = LoggedBandit(np.array([number[key] for key in shown]), np.array([action[key] for key in items]), r, p, None,
                       tuple(contexts), tuple(actions))
    if sets is None:
        return out
    available = np.zeros((len(rows), len(actions)), bool)
    for i, choices in enumerate(sets):
        available[i, [action[key] for key in choices]] = True
    for line in np.flatnonzero(~available[np.arange(len(rows)), out.a])[:1]:
        raise MdpkitError(f"{name}, line {line + 2}, item_id", "among the available ones", None, came=items[line])
    return out._replace(available=available)


def _column(name: str, rows: list[list[str]], at: dict[str, int], column: str) -> np.ndarray:
    out = np.zeros(len(rows))
    for i, row in enumerate(rows):
        try:
            out[i] = float(row[at[column]])
        except ValueError:
            out[i] = np.nan
        if not np.isfinite(out[i]):
            raise MdpkitError(f"{name}, line {i + 2}, {column}", "a finite number", None, came=repr(row[at[column]]))
    return out


def _order(text: str) -> tuple:
    """Whole numbers by size, before all else by its letters."""
    return (0, int(text), "") if text.isascii() and text.isdigit() else (1, 0, text)


def write(path: str | os.PathLike, log: LoggedBandit) -> Path:
    """A log as such a file; what `read` gives back is the log again.

    Parameters
    ----------
    path : path
        Replaced if it is there.
    log : LoggedBandit
        Its contexts of one length; its actions without spaces where sets of available ones are written.
    """
    validate.instance("log", log, LoggedBandit)
    width = len(log.contexts[0])
    with Path(path).open("w", newline="", encoding="utf-8") as file:
        out = csv.writer(file)
        out.writerow([*NEEDED, *(f"user_feature_{i}" for i in range(width)),
                      *(["available"] if log.available is not None else [])])
        for i in range(len(log.a)):
            row = [log.actions[log.a[i]], repr(float(log.r[i])), repr(float(log.p[i])), *log.contexts[log.x[i]]]
            if log.available is not None:
                row.append(" ".join(str(log.actions[k]) for k in np.flatnonzero(log.available[i])))
            out.writerow(row)
    return Path(path)
