"""One hash of code: `code_key` changes when a module, or anything of ours that it imports, changes its meaning.

Syntax trees are hashed, without docstrings and positions, so a comment or a reworded docstring keeps the key. Ours
are the four packages of the house, the package of the module itself, and whatever it imports that is neither in the
standard library nor installed by a package manager.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.util
import sysconfig
from pathlib import Path

HOUSE = ("mdpkit", "algorithms", "theory_checks", "figures")
UNSAID = ("ctx", "kind", "type_comment")     # follow from the rest of a tree, or mean nothing


def code_key(module: str, salt: str = "", without: tuple[str, ...] = ()) -> str:
    """64 hexadecimal digits over the code of ``module`` and of all of ours that it imports, directly or not.

    Parameters
    ----------
    module : str
        Dotted name; it need not be imported, but must be found.
    salt : str
        Versions and flags that belong to the key.
    without : tuple of str
        Packages whose code does not belong to it, nor what only they import.
    """
    digest = hashlib.sha256(salt.encode())
    for name, tree in sorted(_closure(module, without).items()):
        digest.update(f"\0{name}\0".encode())
        digest.update(tree.encode())
    return digest.hexdigest()


def sources(module: str) -> tuple[str, ...]:
    """The names of the modules that `code_key` hashes, sorted."""
    return tuple(sorted(_closure(module)))


def _closure(module: str, without: tuple[str, ...] = ()) -> dict[str, str]:
    seen: dict[str, str] = {}
    todo, met = [module], {module}
    ours = (*HOUSE, module.partition(".")[0])
    while todo:
        name = todo.pop()
        path = _source(name, ours)
        if path is None or any(name == w or name.startswith(w + ".") for w in without):
            continue
        tree, imports = _parse(path.read_text(encoding="utf-8"), name, path.name == "__init__.py")
        seen[name] = tree
        parents = [name.rpartition(".")[0]] if "." in name else []      # importing a.b runs a/__init__.py too
        new = {*imports, *parents} - met                                # each name is looked for once
        todo += new
        met |= new
    return seen


def _source(name: str, ours: tuple[str, ...]) -> Path | None:
    """The file of a module of ours, or None. Only the root is looked up: nothing is imported on the way."""
    root, *parts = name.split(".")
    try:
        spec = importlib.util.find_spec(root)
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    if spec.origin and spec.origin.endswith(".py"):
        path = Path(spec.origin)
    elif spec.submodule_search_locations:                    # a folder without __init__.py
        path = Path(next(iter(spec.submodule_search_locations))) / "__init__.py"
    else:
        return None
    for part in parts:
        folder = path.parent / part
        path = folder / "__init__.py" if folder.is_dir() else path.parent / f"{part}.py"
    if not path.is_file():
        return None
    return path if root in ours or not _installed(path) else None


def _installed(path: Path) -> bool:
    return any(path.is_relative_to(d) for d in _library_folders())


@functools.cache
def _library_folders() -> tuple[Path, ...]:
    paths = sysconfig.get_paths()
    return tuple({Path(paths[k]) for k in ("stdlib", "platstdlib", "purelib", "platlib")})


@functools.lru_cache(maxsize=1024)
def _parse(source: str, name: str, is_package: bool) -> tuple[str, tuple[str, ...]]:
    tree = ast.parse(source)
    package = name if is_package else name.rpartition(".")[0]
    imports: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imports += [a.name for a in node.names]
        elif isinstance(node, ast.ImportFrom):
            imports += _from(node, package)
        elif isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Module | ast.AsyncFunctionDef):
            _drop_docstring(node)
    return _text(tree), tuple(imports)


def _text(node: object) -> str:
    """A tree as text that is the same for every Python: what a version adds is empty where it is not used."""
    if isinstance(node, ast.AST):
        fields = (f"{name}={_text(value)}" for name, value in ast.iter_fields(node)
                  if value is not None and value != [] and name not in UNSAID)
        return f"{type(node).__name__}({','.join(fields)})"
    return f"[{','.join(map(_text, node))}]" if isinstance(node, list) else repr(node)


def _from(node: ast.ImportFrom, package: str) -> list[str]:
    parts = package.split(".")
    base = ".".join(parts[: len(parts) - node.level + 1]) if node.level else ""
    module = ".".join(p for p in (base, node.module or "") if p)
    return [module, *(f"{module}.{a.name}" for a in node.names)]


def _drop_docstring(node: ast.FunctionDef | ast.ClassDef | ast.Module | ast.AsyncFunctionDef) -> None:
    body = node.body
    if body and isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant) \
            and isinstance(body[0].value.value, str):
        node.body = body[1:] or [ast.Pass()]
