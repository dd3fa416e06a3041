"""Writing figures: data first (.npz and .csv), then pdf, png and svg with fixed metadata."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from figures.engine import style
from mdpkit import papers
from mdpkit.errors import MdpkitError
from theory_checks.engine.engines import Engine
from theory_checks.engine.runner import rows_of
from theory_checks.engine.store import Store

FORMATS = ("pdf", "png", "svg")
METADATA: Mapping[str, dict] = {"pdf": {"CreationDate": None, "ModDate": None}, "png": {"Software": None},
                                "svg": {"Date": None}}
EPOCH = (1980, 1, 1, 0, 0, 0)


class Rows:
    """What ``compute`` of a figure asks for rows: the judge's own, by claim."""

    def __init__(self, slug: str, store: Store, engine: Engine):
        self._slug, self._store, self._engine = slug, store, engine

    def of(self, claim: str, n: int, *, world: int = 0, subject: str | None = None) -> list[dict]:
        """The first n rows of a world of ``claim``, for the house's entry or for ``subject`` (pkg.mod:function)."""
        checks = {c.claim.id: c for c in papers.get(self._slug).checks}
        if claim not in checks:
            raise MdpkitError("claim", f"one of {', '.join(checks)}", claim)
        return rows_of(checks[claim], n, world=world, subject=subject, store=self._store, engine=self._engine)


def render(slug: str, folder: Path, store: Store, engine: Engine, verdicts: Mapping[str, str] | None = None,
           venue: str | None = None) -> list[Path]:
    """Compute and draw the figure of a paper; returns the files written.

    Parameters
    ----------
    folder : Path
        Gets ``<slug>.npz``, ``.csv``, ``.pdf``, ``.png`` and ``.svg``.
    verdicts : mapping of claim id to badge, optional
        Printed beside the curves.
    venue : str, optional
        One of `style.venues`.
    """
    module = papers.get(slug).module("figures")
    folder.mkdir(parents=True, exist_ok=True)
    data = {k: np.asarray(v) for k, v in module.compute(Rows(slug, store, engine)).items()}
    written = [save_npz(folder / f"{slug}.npz", data), save_csv(folder / f"{slug}.csv", data)]
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with style.house(venue):
        figure = Figure(layout="constrained")
        FigureCanvasAgg(figure)
        module.draw(data, figure, verdicts)
        for ax in figure.axes:
            ax.title.set_wrap(True)
        for kind in FORMATS:
            path = folder / f"{slug}.{kind}"
            figure.savefig(path, metadata=METADATA[kind])
            written.append(path)
    return written


def save_npz(path: Path, data: Mapping[str, np.ndarray]) -> Path:
    """A .npz whose bytes depend on the arrays alone: no time stamps, keys in order."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(data):
            buffer = io.BytesIO()
            np.lib.format.write_array(buffer, data[name], allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy", EPOCH), buffer.getvalue())
    return path


def save_csv(path: Path, data: Mapping[str, np.ndarray]) -> Path:
    """Long form: array, index, value."""
    with path.open("w", newline="") as f:
        out = csv.writer(f, lineterminator="\n")
        out.writerow(("array", "index", "value"))
        for name in sorted(data):
            for at, value in np.ndenumerate(data[name]):
                out.writerow((name, " ".join(map(str, at)), repr(value.item())))
    return path
