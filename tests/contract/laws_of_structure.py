"""Laws of structure: where files stand, what they import, which classes there are, and how plain a file is."""

from __future__ import annotations

import ast
import builtins
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from contract.reading import (
    FUNCTION,
    HOUSE,
    LONGEST,
    PROGRAM,
    Module,
    aliases,
    at,
    calls,
    imports,
    modules,
    of_papers,
    slug_of,
    within,
)

from mdpkit import papers

OUTWARD = ("mdpkit.papers", *PROGRAM)                        # may look at later packages, lazily
FOREIGN_BASES = {                                            # why these few classes have a base
    ("mdpkit.jit", "_CacheLocator"): "numba calls its methods by name",
    ("mdpkit.jit", "CompileResultCacheImpl"): "numba's way to store a compiled function",
    ("mdpkit.jit", "IndexDataCacheFile"): "numba's files, with a checksum added",
    ("mdpkit.jit", "FunctionCache"): "numba's cache, in a folder of ours",
    ("mdpkit.cli", "click.Group"): "click asks a group's methods for its commands",
    ("theory_checks.engine.search", "providers.HypothesisProvider"): "hypothesis takes providers as classes",
}
WORDS = re.compile(r"\b(TODO|FIXME|XXX|raise NotImplementedError)\b")


# ---------------------------------------------------------------------------------- one slug, one path

def one_slug_one_path(root: Path) -> list[str]:
    """algorithms, theory_checks, figures and tests/papers have the same families and slugs."""
    found = {p: {tuple(m.name.split(".")[1:]) for m in of_papers(root, p)} for p in HOUSE[1:]}
    tests = sorted((root / "tests/papers").glob("*/*.py"))
    found["tests/papers"] = {(f.parent.name, f.stem.removeprefix("test_")) for f in tests}
    bad = [f"{f.relative_to(root)}: is not named test_<slug>.py" for f in tests if not f.stem.startswith("test_")]
    for family, slug in sorted(set().union(*found.values())):
        bad += [f"{p}: has no {family}/{slug}" for p in found if (family, slug) not in found[p]]
    for package in (*HOUSE[1:], "tests/papers"):
        for child in sorted((root / package).iterdir()) if (root / package).is_dir() else []:
            if child.is_dir() and child.name not in (*papers.FAMILIES, "engine", "__pycache__"):
                bad.append(f"{package}/{child.name}: is no family")
            if child.suffix == ".py" and child.name != "__init__.py":
                bad.append(f"{package}/{child.name}: belongs into a family")
    slugs = [slug for _, slug in found["algorithms"]]
    return bad + [f"algorithms: {s} is in two families" for s in sorted(set(slugs)) if slugs.count(s) > 1]


def slugs_agree(root: Path) -> list[str]:
    """PAPER and every claim carry the slug of their file."""
    bad = []
    for package, record in (("algorithms", "Paper"), ("theory_checks", "Claim")):
        for module in of_papers(root, package):
            made = [c for c in calls(module.tree) if ast.unparse(c.func).rpartition(".")[2] == record]
            for call in made:
                named = [k.value for k in call.keywords if k.arg == "slug"]
                slug = (call.args or named or [None])[0]
                if isinstance(slug, ast.Constant) and slug.value != slug_of(module):
                    bad.append(at(module, call, f"{record} of {slug.value!r}, not {slug_of(module)!r}"))
    return bad


def no_list_of_slugs(root: Path) -> list[str]:
    """Three slugs in one literal are a list kept by hand."""
    files = [m.name.rpartition(".")[2] for m in of_papers(root, "algorithms")]
    slugs = {f.replace("_", "-") for f in files}
    bad = []
    for module in modules(root):
        for node in ast.walk(module.tree):
            if isinstance(node, ast.List | ast.Tuple | ast.Set | ast.Dict):
                texts = {c.value.replace("_", "-") for c in ast.iter_child_nodes(node)
                         if isinstance(c, ast.Constant) and isinstance(c.value, str)}
                if len(texts & slugs) >= 3:
                    bad.append(at(module, node, f"keeps slugs by hand: {', '.join(sorted(texts & slugs))}"))
    return bad


# -------------------------------------------------------------------------------------- imports

def imports_run_one_way(root: Path) -> list[str]:
    """mdpkit <- algorithms <- theory_checks <- figures <- tests, and algorithms do not know one another."""
    tests = {p.stem for p in (root / "tests").iterdir()} if (root / "tests").is_dir() else set()
    outside = {"tests", "benchmarks", "docs", *tests} - {"__pycache__"}
    bad = []
    for module in modules(root):
        here = module.name.partition(".")[0]
        for i in imports(module):
            there = i.source.partition(".")[0]
            if there in outside:
                bad.append(at(module, i.line, f"imports {i.source}, which is not installed"))
            elif there not in HOUSE:
                continue
            elif here == there == "algorithms":
                bad.append(at(module, i.line, f"an algorithm imports {i.source}"))
            elif HOUSE.index(there) > HOUSE.index(here) and not (within(module.name, *OUTWARD) and i.lazy):
                bad.append(at(module, i.line, f"{here} imports {i.source}"))
    return bad


def names_come_from_their_module(root: Path) -> list[str]:
    """Inside the house a name is imported from the module that defines it, never from a package."""
    house = {m.name: m for m in modules(root)}
    packages = {n for n, m in house.items() if m.where.endswith("__init__.py")}
    bad = []
    for module in house.values():
        for i in imports(module):
            if i.source.partition(".")[0] not in HOUSE or not i.bound:
                continue
            whole = f"{i.source}.{i.name}"
            if not i.name and (i.source in packages or i.bound == i.source.partition(".")[0]):
                bad.append(at(module, i.line, f"import {i.source} reaches names through a package"))
            elif i.name == "*":
                bad.append(at(module, i.line, f"imports * from {i.source}"))
            elif i.name and i.source in packages and whole not in house:
                bad.append(at(module, i.line, f"imports {i.name} from the package {i.source}"))
            elif i.name and i.source not in packages and i.source in house:
                home = _home(house[i.source], i.name)
                if home != i.source:
                    bad.append(at(module, i.line, f"imports {i.name} from {i.source}: it is defined in {home}"))
    return bad


def imports_have_no_circle(root: Path) -> list[str]:
    """Then any module can be the first to be imported, and the order of imports changes nothing."""
    house = {m.name: m for m in modules(root)}
    edges = {name: [whole if (whole := f"{i.source}.{i.name}") in house else i.source for i in imports(m) if not i.lazy
                    and not _type_only(m, i.line)] for name, m in house.items()}
    left = {name: {t for t in there if t in house} for name, there in edges.items()}
    while free := [name for name, there in left.items() if not there]:
        left = {name: there - set(free) for name, there in left.items() if name not in free}
    return [f"{house[n].where}: imports in a circle, with {', '.join(sorted(there))}" for n, there in left.items()]


def _home(module: Module, name: str) -> str:
    for node in _outermost(module.tree):
        if isinstance(node, FUNCTION | ast.ClassDef) and node.name == name:
            return module.name
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and node.id == name:
            return module.name
    return aliases(module).get(name, "no module").rpartition(".")[0] or "no module"


def _outermost(node: ast.AST) -> Iterator[ast.AST]:
    """What runs on import: nothing inside functions and classes."""
    for child in ast.iter_child_nodes(node):
        yield child
        if not isinstance(child, FUNCTION | ast.ClassDef | ast.Lambda):
            yield from _outermost(child)


# ------------------------------------------------------------------------------- records and functions

def records_and_functions(root: Path) -> list[str]:
    """No class has a base, but for named tuples, protocols, exceptions and what libraries ask for."""
    house = modules(root)
    errors = {n for n in dir(builtins) if isinstance(getattr(builtins, n), type)
              and issubclass(getattr(builtins, n), BaseException)}
    classes = [(m, n) for m in house for n in ast.walk(m.tree) if isinstance(n, ast.ClassDef)]
    for _ in classes:                                        # an error of ours may derive from another
        errors |= {n.name for _, n in classes if n.bases and all(ast.unparse(b) in errors for b in n.bases)}
    bad = []
    for module, node in classes:
        for base in map(ast.unparse, node.bases):
            if base not in {"NamedTuple", "Protocol", *errors} and (module.name, base) not in FOREIGN_BASES:
                bad.append(at(module, node, f"class {node.name} has the base {base}"))
        if node.keywords:
            bad.append(at(module, node, f"class {node.name} has {ast.unparse(node.keywords[0])}"))
    return bad


# ------------------------------------------------------------------------------------------- plain files

def light_root(root: Path) -> list[str]:
    """mdpkit/__init__.py imports the standard library and numpy; algorithms load cvxpy and matplotlib on use."""
    bad = []
    for module in modules(root, "mdpkit", "algorithms"):
        for i in imports(module):
            package = i.source.partition(".")[0]
            if module.name == "mdpkit" and package not in {"numpy", *sys.stdlib_module_names}:
                bad.append(at(module, i.line, f"the root loads {package}"))
            if package in ("cvxpy", "matplotlib") and not i.lazy and not _type_only(module, i.line):
                bad.append(at(module, i.line, f"loads {package} on import"))
    return bad


def _type_only(module: Module, line: int) -> bool:
    return any(isinstance(n, ast.If) and ast.unparse(n.test) == "TYPE_CHECKING" and n.lineno < line <= n.end_lineno
               for n in module.tree.body)


def short_files(root: Path) -> list[str]:
    counts = ((m, len(m.text.splitlines())) for m in modules(root))
    return [f"{m.where}: has {n} lines, {LONGEST} are the most" for m, n in counts if n > LONGEST]


def docstrings(root: Path) -> list[str]:
    """Every module, and every public function and class of it, says what it is."""
    bad = []
    for module in modules(root):
        if module.tree.body and not ast.get_docstring(module.tree):
            bad.append(at(module, 1, "the module has no docstring"))
        bad += [at(module, n, f"{n.name} has no docstring") for n in module.tree.body
                if isinstance(n, FUNCTION | ast.ClassDef) and not n.name.startswith("_") and not ast.get_docstring(n)]
    return bad


def finished(root: Path) -> list[str]:
    """No notes to oneself are left, and no functions to be written later."""
    return [at(m, k, f"says {found[0]}") for m in modules(root)
            for k, line in enumerate(m.text.splitlines(), 1) if (found := WORDS.search(line))]


def tests_are_no_package(root: Path) -> list[str]:
    """tests/mdpkit/__init__.py would hide the package."""
    return [f"{p.relative_to(root).as_posix()}: makes tests a package" for p in (root / "tests").rglob("__init__.py")]
