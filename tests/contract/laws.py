"""The laws of the house as checkers: each takes the root folder and gives its violations, one line each.

They read syntax trees and import nothing of what they read, so that they hold any tree to the law, planted ones too.
What can be seen only by running (`state`, `digest`, `demos`) is at the end.
"""

from __future__ import annotations

import ast
import builtins
import dataclasses
import functools
import hashlib
import io
import itertools
import re
import sys
import tokenize
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mdpkit import papers

HOUSE = papers.PACKAGES                                      # in the order in which they may import
PROGRAM = ("mdpkit.cli", "mdpkit.commands")                  # own the process and the terminal
OUTWARD = ("mdpkit.papers", *PROGRAM)                        # may look at later packages, lazily
LONGEST = 320                                                # lines; 300 is the aim
ACCESS = {"Exact", "Generative", "Episodes", "Stream", "Reset", "Comparisons"}
VERBS = {"start", "step", "reset", "ask", "reveal"}
SCORES = ("mdpkit.measure.regret", "mdpkit.measure.values")
FOREIGN_BASES = {                                            # why these few classes have a base
    ("mdpkit.jit", "_CacheLocator"): "numba calls its methods by name",
    ("mdpkit.jit", "CompileResultCacheImpl"): "numba's way to store a compiled function",
    ("mdpkit.jit", "IndexDataCacheFile"): "numba's files, with a checksum added",
    ("mdpkit.jit", "FunctionCache"): "numba's cache, in a folder of ours",
    ("mdpkit.cli", "click.Group"): "click asks a group's methods for its commands",
    ("theory_checks.engine.search", "providers.HypothesisProvider"): "hypothesis takes providers as classes",
}
COMPILERS = {"njit", "jit", "vectorize", "guvectorize", "cfunc", "stencil", "jit_module", "generated_jit"}
GENERATOR = {"random", "normal", "exponential", "gamma", "beta", "integers", "poisson", "binomial", "permutation",
             "shuffle"}
NOT_IN_KERNELS = {                                           # compiled and interpreted differ in the last bits
    *(f"numpy.{f}" for f in ("exp", "expm1", "log", "log1p", "log2", "log10", "power", "sum", "mean", "linalg.inv")),
    "math.lgamma", "numba.prange", "pow"}
BUILDERS = {"default_rng", "Generator", "SeedSequence", "PCG64", "PCG64DXSM", "Philox", "SFC64", "MT19937"}
GLOBAL_CALLS = {"numpy.seterr", "numpy.seterrcall", "numpy.set_printoptions", "locale.setlocale", "os.chdir",
                "os.putenv", "numba.set_num_threads", "matplotlib.use", "matplotlib.rc", "matplotlib.rcParams.update",
                "matplotlib.pyplot.rcParams.update", "matplotlib.pyplot.switch_backend", "matplotlib.style.use",
                "matplotlib.pyplot.style.use", "warnings.simplefilter", "warnings.filterwarnings",
                "warnings.resetwarnings"}
GLOBAL_TABLES = {"os.environ", "matplotlib.rcParams", "matplotlib.pyplot.rcParams", "numba.config",
                 "numba.core.config"}
WORDS = re.compile(r"\b(TODO|FIXME|XXX|raise NotImplementedError)\b")
FIGURES = ("figure", "fig", "ax")
FUNCTION = ast.FunctionDef | ast.AsyncFunctionDef


# ------------------------------------------------------------------------------------------- reading

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


def _at(module: Module, node: Any, what: str) -> str:
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
def _aliases(module: Module) -> dict[str, str]:
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
        return _aliases(module).get(node.id, node.id)
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
        if isinstance(node, ast.Assign) and _is_kernel_call(module, node.value):
            first = node.value.args[0] if node.value.args else None
            if isinstance(first, ast.Name) and first.id in bodies and isinstance(node.targets[0], ast.Name):
                out.append(Kernel(node.targets[0].id, bodies[first.id]))
    return out


def _is_kernel_call(module: Module, node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and dotted(module, node.func) == "mdpkit.jit.kernel"


def _calls(tree: ast.AST) -> Iterator[ast.Call]:
    return (n for n in ast.walk(tree) if isinstance(n, ast.Call))


def _within(name: str, *prefixes: str) -> bool:
    return any(name == p or name.startswith(p + ".") for p in prefixes)


# ---------------------------------------------------------------------------------- 1  one slug, one path

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
            made = [c for c in _calls(module.tree) if ast.unparse(c.func).rpartition(".")[2] == record]
            for call in made:
                named = [k.value for k in call.keywords if k.arg == "slug"]
                slug = (call.args or named or [None])[0]
                if isinstance(slug, ast.Constant) and slug.value != slug_of(module):
                    bad.append(_at(module, call, f"{record} of {slug.value!r}, not {slug_of(module)!r}"))
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
                    bad.append(_at(module, node, f"keeps slugs by hand: {', '.join(sorted(texts & slugs))}"))
    return bad


# -------------------------------------------------------------------------------------- 2  imports

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
                bad.append(_at(module, i.line, f"imports {i.source}, which is not installed"))
            elif there not in HOUSE:
                continue
            elif here == there == "algorithms":
                bad.append(_at(module, i.line, f"an algorithm imports {i.source}"))
            elif HOUSE.index(there) > HOUSE.index(here) and not (_within(module.name, *OUTWARD) and i.lazy):
                bad.append(_at(module, i.line, f"{here} imports {i.source}"))
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
                bad.append(_at(module, i.line, f"import {i.source} reaches names through a package"))
            elif i.name == "*":
                bad.append(_at(module, i.line, f"imports * from {i.source}"))
            elif i.name and i.source in packages and whole not in house:
                bad.append(_at(module, i.line, f"imports {i.name} from the package {i.source}"))
            elif i.name and i.source not in packages and i.source in house:
                home = _home(house[i.source], i.name)
                if home != i.source:
                    bad.append(_at(module, i.line, f"imports {i.name} from {i.source}: it is defined in {home}"))
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
    return _aliases(module).get(name, "no module").rpartition(".")[0] or "no module"


def _outermost(node: ast.AST) -> Iterator[ast.AST]:
    """What runs on import: nothing inside functions and classes."""
    for child in ast.iter_child_nodes(node):
        yield child
        if not isinstance(child, FUNCTION | ast.ClassDef | ast.Lambda):
            yield from _outermost(child)


# ------------------------------------------------------------------------------------- 3  one door

def one_door(root: Path) -> list[str]:
    """Algorithms take access objects; a kernel only hands the world on to verbs."""
    classes = {n.name for m in modules(root, "mdpkit") if _within(m.name, "mdpkit.models")
               for n in m.tree.body if isinstance(n, ast.ClassDef)}
    bad = []
    for module in modules(root, "algorithms"):
        bad += _entries(module, classes)
        bad += _private(module)
        bad += _closed_world(module)
        for i in imports(module):
            whole = f"{i.source}.{i.name}"
            if _within(whole, "mdpkit.worlds") and (i.name not in VERBS or i.source == "mdpkit.worlds"):
                bad.append(_at(module, i.line, f"imports {i.name or i.source} of worlds, which is no verb"))
            if i.source == "mdpkit.drive" or (i.source == "mdpkit.access" and i.name not in ACCESS):
                bad.append(_at(module, i.line, f"imports {i.name or i.source} of {i.source}: access.drive is the door"))
    return bad


def _entries(module: Module, classes: set[str]) -> Iterator[str]:
    for name, f in functions(module).items():
        if not (name in ("init", "step") or name.startswith("run")):
            continue
        for p in parameters(f):
            named = set(re.findall(r"\w+", ast.unparse(p.annotation))) if p.annotation else set()
            if named & classes or p.arg in ("model", "mdp", "world"):
                yield _at(module, f, f"{name} takes a model: {p.arg}")
            if p.arg == "access" and not (named and named <= ACCESS):
                yield _at(module, f, f"{name} does not say which access it takes")
        if name.startswith("run") and (not parameters(f) or parameters(f)[0].arg != "access"):
            yield _at(module, f, f"{name} takes no access")


def _private(module: Module) -> list[str]:
    bad: list[str] = []

    def visit(node: ast.AST, scope: dict[str, str]) -> None:
        if isinstance(node, FUNCTION | ast.Lambda):
            scope = scope | {p.arg: ast.unparse(p.annotation) if p.annotation else "" for p in parameters(node)}
        base, name = None, ""
        if isinstance(node, ast.Attribute):
            base, name = node.value, node.attr
        elif isinstance(node, ast.Call) and dotted(module, node.func) == "getattr" and len(node.args) > 1:
            base = node.args[0]
            name = node.args[1].value if isinstance(node.args[1], ast.Constant) else "_"
        kind = scope.get(base.id, "") if isinstance(base, ast.Name) else ""
        door = isinstance(base, ast.Name) and (base.id == "access" or bool(set(re.findall(r"\w+", kind)) & ACCESS))
        if name == "_world" or (door and name.startswith("_")):
            bad.append(_at(module, node, f"reaches behind the door: {name}"))
        if name == "model" and kind != "Exact":
            bad.append(_at(module, node, "reads .model where access is not Exact"))
        for child in ast.iter_child_nodes(node):
            visit(child, scope)

    visit(module.tree, {})
    return bad


def _closed_world(module: Module) -> Iterator[str]:
    bodies = {k.name: k.body for k in kernels(module)}
    for f in (n for n in ast.walk(module.tree) if isinstance(n, FUNCTION | ast.Lambda)):
        if "world" not in [p.arg for p in parameters(f)]:
            continue
        handed = {id(a): (c, k) for c in _calls(f) for k, a in enumerate(c.args)}
        for node in (n for n in ast.walk(f) if isinstance(n, ast.Name) and n.id == "world"):
            call, k = handed.get(id(node), (None, 0))
            callee = dotted(module, call.func) if call else ""
            if not call:
                yield _at(module, node, "the world is touched, not handed to a verb")
            elif callee in bodies:
                names = [p.arg for p in parameters(bodies[callee])]
                if names[k: k + 1] != ["world"]:
                    yield _at(module, node, f"{callee} takes the world under another name")
            elif not _within(callee, "mdpkit.worlds", "mdpkit.kernels"):
                yield _at(module, node, f"the world is handed to {callee or 'an expression'}, which is no verb")
    for call in _calls(module.tree):
        if isinstance(call.func, ast.Attribute) and call.func.attr in ("drive", "call") and call.args:
            first = dotted(module, call.args[0])
            if first not in bodies and not _within(first, "mdpkit.kernels"):
                yield _at(module, call, f"lets {first or 'an expression'} into the world, which is no kernel")
            elif first in bodies and [p.arg for p in parameters(bodies[first])][:1] != ["world"]:
                yield _at(module, call, f"the first parameter of {first} is not called world")


# --------------------------------------------------------------------------- 4  the learner never scores itself

def learners_do_not_score(root: Path) -> list[str]:
    """What `run`, `init`, `step` and kernels reach uses no regret and no values."""
    bad = []
    for module in modules(root, "algorithms"):
        defined = functions(module) | {k.name: k.body for k in kernels(module)}
        todo = [n for n in defined if n in ("init", "step") or n.startswith("run")] + [k.name for k in kernels(module)]
        seen: set[str] = set()
        while todo:
            name = todo.pop()
            if name in seen:
                continue
            seen.add(name)
            for node in ast.walk(defined[name]):
                if isinstance(node, ast.Name) and node.id in defined:
                    todo.append(node.id)
                if isinstance(node, ast.Name | ast.Attribute) and _within(dotted(module, node), *SCORES):
                    bad.append(_at(module, node, f"{name} scores itself with {dotted(module, node)}"))
    return bad


# ------------------------------------------------------------------------------- 5  records and functions

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
                bad.append(_at(module, node, f"class {node.name} has the base {base}"))
        if node.keywords:
            bad.append(_at(module, node, f"class {node.name} has {ast.unparse(node.keywords[0])}"))
    return bad


# ------------------------------------------------------------------------------------ 6  one body a kernel

def one_body_a_kernel(root: Path) -> list[str]:
    """``f = kernel(_f)``, the body is used by nothing else, and only mdpkit.jit compiles."""
    house = modules(root)
    homes = {f"{m.name}.{k.body.name}" for m in house for k in kernels(m)}
    bad = []
    for module in house:
        bad += _compilers(module)
        good = {id(n.value.args[0]) for n in module.tree.body if isinstance(n, ast.Assign)
                and _is_kernel_call(module, n.value) and n.value.args}
        proper = {id(n.value.func) for n in module.tree.body if isinstance(n, ast.Assign)
                  and _is_kernel_call(module, n.value)
                  and isinstance(n.value.args[0], ast.Name) and n.value.args[0].id in functions(module)}
        own = [k.body.name for k in kernels(module)]
        bad += [_at(module, 1, f"{name} is compiled twice") for name in sorted(set(own)) if own.count(name) > 1]
        for node in ast.walk(module.tree):
            if not isinstance(node, ast.Name | ast.Attribute):
                continue
            full = dotted(module, node)
            if full == "mdpkit.jit.kernel" and id(node) not in proper:
                bad.append(_at(module, node, "kernel is used otherwise than as name = kernel(_body)"))
            local = isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id in own
            if (local or full in homes) and id(node) not in good:
                bad.append(_at(module, node, f"the body {full} is used beside its kernel"))
            if isinstance(node, ast.Attribute) and node.attr == "py_func":
                bad.append(_at(module, node, "uses the interpreted twin of a kernel"))
    return bad + _twins(house)


def _compilers(module: Module) -> Iterator[str]:
    if module.name == "mdpkit.jit":
        return
    for i in imports(module):
        if _within(i.source, "numba") and i.name in COMPILERS:
            yield _at(module, i.line, f"imports {i.name} of numba")
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Attribute) and _within(dotted(module, node), *(f"numba.{c}" for c in COMPILERS)):
            yield _at(module, node, f"compiles with {dotted(module, node)}")
        if isinstance(node, ast.Call) and any(k.arg == "fastmath" for k in node.keywords):
            yield _at(module, node, "asks for fastmath")


def _twins(house: list[Module]) -> list[str]:
    seen: dict[str, str] = {}
    bad = []
    for module in house:
        for f in (n for n in ast.walk(module.tree) if isinstance(n, ast.FunctionDef)):
            body = f.body[1:] if ast.get_docstring(f) else f.body
            if sum(isinstance(n, ast.stmt) for b in body for n in ast.walk(b)) < 4:
                continue
            code = ast.dump(ast.Module(body, []), annotate_fields=False)
            code = f"{[p.arg for p in parameters(f)]} {code}"
            if code in seen:
                bad.append(_at(module, f, f"{f.name} is the twin of {seen[code]}"))
            seen[code] = f"{module.name}.{f.name}"
    return bad


def vocabulary(root: Path) -> list[str]:
    """What kernels say is the same number compiled and interpreted."""
    bad = []
    for module in modules(root, "mdpkit", "algorithms"):
        if _within(module.name, "algorithms", "mdpkit.worlds", "mdpkit.kernels"):
            bad += [_at(module, c, "reassoc is for certified solvers") for c in _calls(module.tree)
                    if _is_kernel_call(module, c) and any(k.arg == "reassoc" for k in c.keywords)]
            bad += [v for k in kernels(module) for v in _spoken(module, k)]
    return bad


def _spoken(module: Module, kernel: Kernel) -> Iterator[str]:
    for node in ast.walk(kernel.body):
        if isinstance(node, ast.BinOp | ast.AugAssign) and isinstance(node.op, ast.Pow):
            yield _at(module, node, f"{kernel.name} raises to a power")
        if not isinstance(node, ast.Call):
            continue
        full = dotted(module, node.func)
        name = node.func.attr if isinstance(node.func, ast.Attribute) else full
        if full in NOT_IN_KERNELS or _within(full, "numpy.random") or any(k.arg == "fastmath" for k in node.keywords):
            yield _at(module, node, f"{kernel.name} calls {full}")
        elif isinstance(node.func, ast.Attribute) and name in ("sum", "mean"):
            yield _at(module, node, f"{kernel.name} calls .{name}()")
        elif name == "argsort" and not any(k.arg == "kind" and ast.unparse(k.value) in ("'stable'", "'mergesort'")
                                           for k in node.keywords):
            yield _at(module, node, f"{kernel.name} sorts without kind='stable'")
        elif isinstance(node.func, ast.Attribute) and not _within(full, "numpy", "math"):
            yield from _generator(module, kernel, node, name)


def _generator(module: Module, kernel: Kernel, call: ast.Call, name: str) -> Iterator[str]:
    is_rng = ast.unparse(call.func.value).rpartition(".")[2] == "rng"        # type: ignore[attr-defined]
    if name in set(dir(np.random.Generator)) - GENERATOR or (is_rng and name not in GENERATOR):
        yield _at(module, call, f"{kernel.name} draws with .{name}(), which numba lacks")
    if is_rng and name == "integers" and (len(call.args) < 2 or ast.unparse(call.args[0]) != "0"):
        yield _at(module, call, f"{kernel.name} draws integers otherwise than as integers(0, n)")


# ----------------------------------------------------------------------------------- 7  rng and global state

def rng_crosses_by_argument(root: Path) -> list[str]:
    """``rng`` has no default, nothing draws from global generators, and only the judge builds them."""
    bad = []
    for module in modules(root):
        for f in (n for n in ast.walk(module.tree) if isinstance(n, FUNCTION | ast.Lambda)):
            a = f.args
            plain = [*a.posonlyargs, *a.args]
            given = plain[len(plain) - len(a.defaults):] + [p for p, d in zip(a.kwonlyargs, a.kw_defaults) if d]
            bad += [_at(module, f, "gives rng a default") for p in given if p.arg == "rng"]
        bad += [_at(module, i.line, f"imports {i.source}") for i in imports(module)
                if i.source in ("random", "secrets")]
        judge = not _within(module.name, "mdpkit", "algorithms") or _within(module.name, *PROGRAM)
        called = {id(c.func) for c in _calls(module.tree)}
        for node in ast.walk(module.tree):
            full = dotted(module, node)
            if full.startswith("numpy.random.") and full.split(".")[2] not in {*BUILDERS, "BitGenerator"}:
                bad.append(_at(module, node, f"draws from the global {full}"))
            elif full.startswith("numpy.random.") and id(node) in called and not judge:
                bad.append(_at(module, node, f"builds a generator: {full}"))
    return bad


def no_global_state(root: Path) -> list[str]:
    """No module sets what others read: warnings, numpy's errors, numba's flags, styles, the environment."""
    bad = []
    for module in modules(root):
        guarded = {id(n) for w in ast.walk(module.tree) if isinstance(w, ast.With)
                   and any("catch_warnings" in ast.unparse(i.context_expr) for i in w.items) for n in ast.walk(w)}
        for node in ast.walk(module.tree):
            target = node.value if isinstance(node, ast.Subscript | ast.Attribute) else node
            store = isinstance(getattr(node, "ctx", None), ast.Store | ast.Del)
            if store and dotted(module, target) in GLOBAL_TABLES and not _within(module.name, *PROGRAM):
                bad.append(_at(module, node, f"sets {dotted(module, target)}"))
            if isinstance(node, ast.Call) and id(node) not in guarded and dotted(module, node.func) in GLOBAL_CALLS:
                bad.append(_at(module, node, f"calls {dotted(module, node.func)}"))
    return bad


def silent(root: Path) -> list[str]:
    """Only the command line prints."""
    return [_at(m, c, "prints") for m in modules(root) if not _within(m.name, *PROGRAM)
            for c in _calls(m.tree) if dotted(m, c.func) in ("print", "sys.stdout.write", "sys.stderr.write")]


# ------------------------------------------------------------------------------------------- 8  plain files

def light_root(root: Path) -> list[str]:
    """mdpkit/__init__.py imports the standard library and numpy; algorithms load cvxpy and matplotlib on use."""
    bad = []
    for module in modules(root, "mdpkit", "algorithms"):
        for i in imports(module):
            package = i.source.partition(".")[0]
            if module.name == "mdpkit" and package not in {"numpy", *sys.stdlib_module_names}:
                bad.append(_at(module, i.line, f"the root loads {package}"))
            if package in ("cvxpy", "matplotlib") and not i.lazy and not _type_only(module, i.line):
                bad.append(_at(module, i.line, f"loads {package} on import"))
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
            bad.append(_at(module, 1, "the module has no docstring"))
        bad += [_at(module, n, f"{n.name} has no docstring") for n in module.tree.body
                if isinstance(n, FUNCTION | ast.ClassDef) and not n.name.startswith("_") and not ast.get_docstring(n)]
    return bad


def finished(root: Path) -> list[str]:
    """No notes to oneself are left, and no functions to be written later."""
    return [_at(m, k, f"says {found[0]}") for m in modules(root)
            for k, line in enumerate(m.text.splitlines(), 1) if (found := WORDS.search(line))]


def tests_are_no_package(root: Path) -> list[str]:
    """tests/mdpkit/__init__.py would hide the package."""
    return [f"{p.relative_to(root).as_posix()}: makes tests a package" for p in (root / "tests").rglob("__init__.py")]


# ------------------------------------------------------------------------------------- the papers' files

def order_of_papers(root: Path) -> list[str]:
    """Docstring, PAPER, Params, theory, run and other entries, demo, kernels."""
    bad = []
    for module in of_papers(root, "algorithms"):
        kinds = [(n, _kind(module, n)) for n in module.tree.body]
        kinds = [(n, k) for n, k in kinds if k]
        order = ("PAPER", "Params", "theory", "entry", "demo", "kernel")
        bad += [f"{module.where}: has no {k if k != 'entry' else 'run'}" for k in order[:-1]
                if k not in [kind for _, kind in kinds]]
        for (_, before), (node, after) in itertools.pairwise(kinds):
            if order.index(after) < order.index(before):
                bad.append(_at(module, node, f"{after} comes after {before}"))
        first = next((n for n, k in kinds if k == "entry"), None)
        if first is not None and not first.name.startswith("run"):
            bad.append(_at(module, first, "the first entry is not run"))
    return bad


def _kind(module: Module, node: ast.stmt) -> str:
    bodies = [k.body.name for k in kernels(module)]
    if isinstance(node, ast.Assign) and _is_kernel_call(module, node.value):
        return "kernel"
    if isinstance(node, ast.Assign | ast.AnnAssign) and "PAPER" in ast.unparse(node).partition("=")[0]:
        return "PAPER"
    name = getattr(node, "name", "")
    if name in bodies:
        return "kernel"
    if name in ("Params", "theory", "demo"):
        return name
    return "entry" if isinstance(node, ast.FunctionDef) and not name.startswith("_") else ""


def shape_of_papers(root: Path) -> list[str]:
    """Frozen Params, theory -> Params, run(access, [data,] params, rng) -> Result, demo(rng)."""
    bad = []
    for module in of_papers(root, "algorithms"):
        here = functions(module)
        params = [n for n in module.tree.body if isinstance(n, ast.ClassDef) and n.name == "Params"]
        if params and not any("frozen=True" in ast.unparse(d) for d in params[0].decorator_list):
            bad.append(_at(module, params[0], "Params is not frozen"))
        if "theory" in here and _returns(here["theory"]) != "Params":
            bad.append(_at(module, here["theory"], "theory does not return Params"))
        if "demo" in here and [p.arg for p in parameters(here["demo"])] != ["rng"]:
            bad.append(_at(module, here["demo"], "demo takes something else than rng"))
        for name, f in here.items():
            if name.startswith("run"):
                if " ".join(p.arg for p in f.args.args) not in ("access params rng", "access data params rng"):
                    bad.append(_at(module, f, f"{name} is not called as (access, [data,] params, rng)"))
                if _returns(f) != "Result":
                    bad.append(_at(module, f, f"{name} does not return a Result"))
    return bad


def _returns(f: ast.FunctionDef) -> str:
    return ast.unparse(f.returns) if f.returns else ""


def told_papers(root: Path) -> list[str]:
    """The docstring has numbered pseudo-code, which the code cites, a guarantee and a reference."""
    bad = []
    for module in of_papers(root, "algorithms"):
        text = ast.get_docstring(module.tree) or ""
        numbers = [int(n) for n in re.findall(r"^ +(\d+)\b[.:]? +\S", text, re.M)]
        if not numbers or any(b not in (a + 1, 1) for a, b in zip([0, *numbers], numbers)):
            bad.append(f"{module.where}: no pseudo-code numbered from 1 (found {numbers})")
        if not re.search(r"Guarantees?\b[^\n]*\n?[^\n]*\b(Theorem|Lemma|Proposition|Corollary)s? [A-Z]?\.?\d", text):
            bad.append(f"{module.where}: no guarantee with the number of its theorem")
        if "tight" not in text:
            bad.append(f"{module.where}: does not say whether the guarantee is tight")
        if not re.search(r"\b(1[89]|20)\d\d\b[^\n]*\.?$", text.rstrip().rpartition("\n\n")[2], re.M):
            bad.append(f"{module.where}: does not end in a reference with its year")
        bad += _citations(module, set(numbers))
    return bad


def _citations(module: Module, numbers: set[int]) -> Iterator[str]:
    cited: dict[int, list[int]] = {}
    for token in tokenize.generate_tokens(io.StringIO(module.text).readline):
        trailing = token.type == tokenize.COMMENT and token.line[: token.start[1]].strip()
        if trailing and re.fullmatch(r"# *\d+( *[,-] *\d+)*", token.string):
            cited[token.start[0]] = [int(n) for n in re.findall(r"\d+", token.string)]
    if not cited:
        yield f"{module.where}: no line of code cites the pseudo-code"
    for line, lines in cited.items():
        if not set(lines) <= numbers:
            yield _at(module, line, f"cites line {max(lines)} of the pseudo-code, which there is not")
    bodies = {k.name: k.body for k in kernels(module)}
    for call in _calls(module.tree):
        if isinstance(call.func, ast.Attribute) and call.func.attr == "drive" and call.args:
            body = bodies.get(dotted(module, call.args[0]))
            if body and not any(body.lineno <= line <= body.end_lineno for line in cited):
                yield _at(module, body, f"{body.name} cites no line of the pseudo-code")


def shape_of_figures(root: Path) -> list[str]:
    """figures: compute(rows) and draw(data, figure, ...); theory_checks: CHECKS."""
    bad = []
    for module in of_papers(root, "figures"):
        here = {n: [p.arg for p in parameters(f)] for n, f in functions(module).items()}
        if here.get("compute", [])[:1] != ["rows"]:
            bad.append(f"{module.where}: has no compute(rows)")
        if here.get("draw", [])[:2] not in [["data", n] for n in FIGURES]:
            bad.append(f"{module.where}: has no draw(data, {' or '.join(FIGURES)})")
    for module in of_papers(root, "theory_checks"):
        if not any(isinstance(n, ast.Assign | ast.AnnAssign) and ast.unparse(n).startswith("CHECKS")
                   for n in module.tree.body):
            bad.append(f"{module.where}: has no CHECKS")
    return bad


LAWS = {law.__name__: law for law in (
    one_slug_one_path, slugs_agree, no_list_of_slugs, imports_run_one_way, names_come_from_their_module,
    imports_have_no_circle, one_door, learners_do_not_score, records_and_functions, one_body_a_kernel, vocabulary,
    rng_crosses_by_argument, no_global_state, silent, light_root, short_files, docstrings, finished,
    tests_are_no_package, order_of_papers, shape_of_papers, told_papers, shape_of_figures)}


# -------------------------------------------------------------------------------------------- running

def digest(value: Any) -> str:
    """sha256 over a value, bit for bit: 0.0 and -0.0 differ, and so do 1 and 1.0."""
    total = hashlib.sha256()
    _feed(total, value)
    return total.hexdigest()


def _feed(total: Any, value: Any) -> None:
    total.update(f"\0{type(value).__name__}\0".encode())
    if isinstance(value, np.ndarray | np.generic):
        value = np.asarray(value)
        total.update(f"{value.dtype}{value.shape}".encode())
        if value.dtype == object:
            _feed(total, value.tolist())
        else:
            total.update(np.ascontiguousarray(value).tobytes())
    elif isinstance(value, float):
        total.update(np.float64(value).tobytes())
    elif value is None or isinstance(value, bool | int | str | bytes | Fraction):
        total.update(repr(value).encode())
    elif isinstance(value, dict):
        _feed(total, sorted(value.items()))
    elif isinstance(value, list | tuple):
        total.update(str(len(value)).encode())
        for part in value:
            _feed(total, part)
    elif dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            _feed(total, getattr(value, field.name))
    else:
        raise TypeError(f"no digest of {type(value).__name__}")


def state() -> dict[str, str]:
    """The global state that nothing may touch."""
    import locale
    import os
    import random
    import warnings

    import matplotlib
    import numba

    flags = {k: getattr(numba.config, k) for k in dir(numba.config) if k.isupper()}
    legacy = np.random.get_state()[1:]                                                   # noqa: NPY002
    return {"numpy.random": digest(legacy), "random": digest(random.getstate()),
            "errors": str(np.geterr()), "warnings": str(warnings.filters), "numba": str(flags),
            "locale": locale.setlocale(locale.LC_ALL), "style": str(sorted(map(str, matplotlib.rcParams.items()))),
            "environment": str(sorted(os.environ.items())), "folder": os.getcwd(),
            "printing": str(np.get_printoptions())}


def changes(act: Any) -> list[str]:
    """What of the global state a call changes."""
    before = state()
    act()
    after = state()
    return [k for k in before if before[k] != after[k]]


def demos() -> dict[str, dict[str, Any]]:
    """Each paper's demo, run twice from the same seed: digests of all parts, and what the second run changed."""
    out = {}
    for slug, entry in papers.find().items():
        module = entry.module("algorithms")
        results = [module.demo(np.random.default_rng(7))]            # libraries that load on first use are in now
        touched = changes(lambda module=module, results=results: results.append(module.demo(np.random.default_rng(7))))
        parts = ("output", "trace", "params", "samples")
        first, second = ({p: digest(getattr(r, p)) for p in parts} for r in results)
        out[slug] = {"digest": first, "again": second, "touched": touched, "params": type(results[0].params).__module__}
    return out
