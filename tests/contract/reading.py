"""What the laws read: modules, their imports, names, functions and kernels, as syntax trees."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from mdpkit import papers

HOUSE = papers.PACKAGES                                      # in the order in which they may import
PROGRAM = ("mdpkit.cli", "mdpkit.commands")                  # own the process and the terminal
LONGEST = 320                                                # lines; 300 is the aim
FUNCTION = ast.FunctionDef | ast.AsyncFunctionDef


class Module(NamedTuple):
    name: str           # dotted
    where: str          # relative path
    text: str
    tree: ast.Module


class Import(NamedTuple):
    line: int
    source: str
    name: str           # "" for `import source`
    bound: str          # "" for importlib.import_module
    lazy: bool          # inside a function


class Kernel(NamedTuple):
    name: str
    body: ast.FunctionDef


@functools.lru_cache(maxsize=2048)
def _parsed(text: str) -> ast.Module:
    return ast.parse(text)


def modules(root: Path, *packages: str) -> list[Module]:
    """The modules of some packages (of all four where none is named), sorted."""
    out = []
    for package in packages or HOUSE:
        for path in sorted((root / package).rglob("*.py")):
            where = path.relative_to(root)
            name = ".".join(where.with_suffix("").parts).removesuffix(".__init__")
            text = path.read_text(encoding="utf-8")
            out.append(Module(name, where.as_posix(), text, _parsed(text)))
    return out


def of_papers(root: Path, package: str) -> list[Module]:
    """The modules of one package that stand for papers."""
    parts = [(m, m.name.split(".")) for m in modules(root, package)]
    return [m for m, p in parts if len(p) == 3 and p[1] in papers.FAMILIES and not p[2].startswith("_")]


def slug_of(module: Module) -> str:
    return module.name.rpartition(".")[2].replace("_", "-")


def at(module: Module, node: Any, what: str) -> str:
    return f"{module.where}:{getattr(node, 'lineno', node if isinstance(node, int) else 1)}: {what}"


@functools.lru_cache(maxsize=2048)
def imports(module: Module) -> tuple[Import, ...]:
    """Every import, by statement or by importlib with a literal name."""
    package = module.name if module.where.endswith("__init__.py") else module.name.rpartition(".")[0]
    out: list[Import] = []

    def visit(node: ast.AST, lazy: bool) -> None:
        if isinstance(node, ast.Import):
            out.extend(Import(node.lineno, a.name, "", a.asname or a.name.partition(".")[0], lazy) for a in node.names)
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".")
            base = ".".join(parts[: len(parts) - node.level + 1]) if node.level else ""
            source = ".".join(p for p in (base, node.module or "") if p)
            out.extend(Import(node.lineno, source, a.name, a.asname or a.name, lazy) for a in node.names)
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant) \
                and ast.unparse(node.func).rpartition(".")[2] in ("import_module", "__import__"):
            out.append(Import(node.lineno, str(node.args[0].value), "", "", True))
        for child in ast.iter_child_nodes(node):
            visit(child, lazy or isinstance(node, FUNCTION | ast.Lambda))

    visit(module.tree, False)
    return tuple(out)


@functools.lru_cache(maxsize=2048)
def aliases(module: Module) -> dict[str, str]:
    out = {}
    for i in imports(module):
        if i.name:
            out[i.bound] = f"{i.source}.{i.name}"
        elif i.bound:
            out[i.bound] = i.source if i.bound != i.source.partition(".")[0] else i.bound
    return out


def dotted(module: Module, node: ast.AST) -> str:
    """The full name that an expression such as ``np.random.seed`` leads to; "" where it is no name."""
    if isinstance(node, ast.Name):
        return aliases(module).get(node.id, node.id)
    if isinstance(node, ast.Attribute):
        base = dotted(module, node.value)
        return f"{base}.{node.attr}" if base else ""
    return ""


def functions(module: Module) -> dict[str, ast.FunctionDef]:
    """The functions at module level."""
    return {n.name: n for n in module.tree.body if isinstance(n, ast.FunctionDef)}


def parameters(f: FUNCTION | ast.Lambda) -> list[ast.arg]:
    a = f.args
    return [*a.posonlyargs, *a.args, *([a.vararg] if a.vararg else []), *a.kwonlyargs, *([a.kwarg] if a.kwarg else [])]


def kernels(module: Module) -> list[Kernel]:
    """``name = kernel(_body)`` at module level."""
    out, bodies = [], functions(module)
    for node in module.tree.body:
        if isinstance(node, ast.Assign) and is_kernel_call(module, node.value):
            first = node.value.args[0] if node.value.args else None
            if isinstance(first, ast.Name) and first.id in bodies and isinstance(node.targets[0], ast.Name):
                out.append(Kernel(node.targets[0].id, bodies[first.id]))
    return out


def is_kernel_call(module: Module, node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and dotted(module, node.func) == "mdpkit.jit.kernel"


def calls(tree: ast.AST) -> Iterator[ast.Call]:
    return (n for n in ast.walk(tree) if isinstance(n, ast.Call))


def within(name: str, *prefixes: str) -> bool:
    return any(name == p or name.startswith(p + ".") for p in prefixes)
