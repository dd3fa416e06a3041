"""What every model shares: freezing, saving, loading and a picture of itself. Functions, no base class."""

from __future__ import annotations

import dataclasses
import importlib
import os
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from mdpkit import validate
from mdpkit.errors import MdpkitError

FORMAT = 1


def put(model: Any, **fields: Any) -> None:
    """Set fields of a frozen record during its construction."""
    for name, value in fields.items():
        object.__setattr__(model, name, value)


def save(model: Any, path: str | os.PathLike) -> Path:
    """Write the model to a .npz that `load` reads back bit for bit.

    Raises
    ------
    MdpkitError
        The path does not end in .npz.
    """
    path = _npz(path)
    kind = f"{type(model).__module__}:{type(model).__qualname__}"
    payload: dict[str, Any] = {"__model__": kind, "__format__": FORMAT}
    for field in dataclasses.fields(model):
        value = getattr(model, field.name)
        if hasattr(value, "tocsr"):
            payload |= {f"{field.name}.{part}": getattr(value, part) for part in ("data", "indices", "indptr", "shape")}
        elif value is not None:
            payload[field.name] = value
    if not path.parent.is_dir():
        raise MdpkitError("path", "in a folder that exists", str(path))
    temporary = path.with_suffix(".tmp.npz")
    np.savez_compressed(temporary, **payload)
    os.replace(temporary, path)
    return path


def load(path: str | os.PathLike) -> Any:
    """The model that `save` wrote; it is validated again.

    Raises
    ------
    MdpkitError
        No such file, not a .npz, not one of ours, or a newer format.
    """
    path = _npz(path)
    if not path.is_file():
        raise MdpkitError("path", "an existing file", str(path))
    content = _read(path)
    if "__model__" not in content or "__format__" not in content:
        raise MdpkitError("path", "a .npz written by save()", None, "expected keys __model__ and the model's fields",
                          came=f"it holds {sorted(content)}")
    if int(content.pop("__format__")) > FORMAT:
        raise MdpkitError("path", f"of format {FORMAT} or older", str(path), "a newer mdpkit wrote it")
    kind = model_class(str(content.pop("__model__")))
    fields = {k: _field(k, content) for k in dict.fromkeys(key.partition(".")[0] for key in content)}
    try:
        return kind(**fields)
    except TypeError as e:
        raise MdpkitError("path", f"the fields of a {kind.__name__}", None, came=str(e)) from e


def model_class(name: str, where: str = "path") -> type:
    """The model class that ``module:name`` names, and nothing else that could be called."""
    module, _, cls = name.partition(":")
    try:
        kind = getattr(importlib.import_module(module), cls) if module.startswith("mdpkit.models.") else None
    except (ImportError, AttributeError):
        kind = None
    if not (isinstance(kind, type) and dataclasses.is_dataclass(kind) and kind.__module__ == module):
        raise MdpkitError(where, "a model of mdpkit", cls if module.startswith("mdpkit.models.") else module)
    return kind


def _read(path: Path) -> dict[str, np.ndarray]:
    try:
        found = np.load(path, allow_pickle=False)
        if isinstance(found, np.ndarray):
            raise ValueError("a bare array")
        with found as data:
            return {k: data[k] for k in data.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error, RuntimeError) as e:
        raise MdpkitError("path", "a readable .npz", str(path)) from e


def _field(name: str, content: dict[str, np.ndarray]) -> Any:
    if f"{name}.indptr" in content:
        import scipy.sparse as sp

        data, indices, indptr, shape = (content[f"{name}.{p}"] for p in ("data", "indices", "indptr", "shape"))
        return sp.csr_array((data, indices, indptr), shape=tuple(int(n) for n in shape))
    value = content[name]
    return value.item() if value.ndim == 0 else value


def _npz(path: str | os.PathLike) -> Path:
    if not isinstance(path, str | os.PathLike) or Path(path).suffix != ".npz":
        raise MdpkitError("path", "a path that ends in .npz", path)
    return Path(path)


def html(model: Any, picture: str = "") -> str:
    """A small table of a model for notebooks: sizes, ranges and a shaded picture of each small array; one of all."""
    rows = []
    for field in dataclasses.fields(model):
        value = getattr(model, field.name)
        if value is not None:
            rows.append(f"<tr><th style='text-align:left'>{field.name}</th><td>{describe(value)}</td>"
                        f"<td>{_shaded(value)}</td></tr>")
    if picture:
        rows.append(f"<tr><td colspan='3'>{picture}</td></tr>")
    return f"<table><caption><b>{type(model).__name__}</b> {summary(model)}</caption>{''.join(rows)}</table>"


def describe(value: Any) -> str:
    """Shape and range of a field, in words."""
    if hasattr(value, "tocsr"):
        return f"sparse {value.shape}, {value.nnz} entries"
    if isinstance(value, np.ndarray):
        return f"{value.shape}, {value.min():.4g} to {value.max():.4g}" if value.size else f"{value.shape}"
    return str(value)


def summary(model: Any) -> str:
    """``S=4, A=2, gamma=0.9`` from whichever of these the model has."""
    names = ("S", "A", "H", "d", "M", "X", "Y", "n", "V", "gamma", "beta", "noise")
    found = ((k, getattr(model, k)) for k in names if hasattr(model, k))
    return ", ".join(f"{k}={size}" for k, size in found if not isinstance(size, np.ndarray))     # A may be a matrix


def text(model: Any) -> str:
    """The plain repr: name and sizes."""
    return f"{type(model).__name__}({summary(model)})"


def _shaded(value: Any) -> str:
    if not isinstance(value, np.ndarray) or value.ndim == 0 or value.size == 0 or value.size > 4096:
        return ""
    grid = value.reshape(-1, value.shape[-1])[:12, :24]
    lo, hi = float(grid.min()), float(grid.max())
    shade = (grid - lo) / (hi - lo) if hi > lo else np.zeros_like(grid)
    cells = ["".join(f"<td style='width:9px;height:9px;padding:0;background:rgba(31,90,166,{x:.2f})' "
                     f"title='{v:.4g}'></td>" for x, v in zip(s, g)) for s, g in zip(shade, grid)]
    return "<table style='border-collapse:collapse'>" + "".join(f"<tr>{c}</tr>" for c in cells) + "</table>"


def rewards(name: str, value: Any, shape: tuple, noise: str) -> np.ndarray:
    """Mean rewards; Bernoulli means must lie in [0, 1]."""
    r = validate.array(name, value, shape)
    return validate.within(name, r, 0.0, 1.0) if noise == "bernoulli" else r


NOISES = ("none", "bernoulli", "gaussian")
