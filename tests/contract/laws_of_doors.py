"""Laws of doors: what an algorithm may reach, what it may not score, and what no module does behind another's back."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from contract.reading import (
    FUNCTION,
    PROGRAM,
    Module,
    at,
    calls,
    dotted,
    functions,
    imports,
    kernels,
    modules,
    parameters,
    within,
)

ACCESS = {"Exact", "Generative", "Episodes", "Stream", "Reset", "Comparisons"}
VERBS = {"start", "step", "reset", "ask", "reveal"}
SCORES = ("mdpkit.measure.regret", "mdpkit.measure.values")
BUILDERS = {"default_rng", "Generator", "SeedSequence", "PCG64", "PCG64DXSM", "Philox", "SFC64", "MT19937"}
GLOBAL_CALLS = {"numpy.seterr", "numpy.seterrcall", "numpy.set_printoptions", "locale.setlocale", "os.chdir",
                "os.putenv", "numba.set_num_threads", "matplotlib.use", "matplotlib.rc", "matplotlib.rcParams.update",
                "matplotlib.pyplot.rcParams.update", "matplotlib.pyplot.switch_backend", "matplotlib.style.use",
                "matplotlib.pyplot.style.use", "warnings.simplefilter", "warnings.filterwarnings",
                "warnings.resetwarnings"}
GLOBAL_TABLES = {"os.environ", "matplotlib.rcParams", "matplotlib.pyplot.rcParams", "numba.config",
                 "numba.core.config"}


# ------------------------------------------------------------------------------------- one door

def one_door(root: Path) -> list[str]:
    """Algorithms take access objects; a kernel only hands the world on to verbs."""
    classes = {n.name for m in modules(root, "mdpkit") if within(m.name, "mdpkit.models")
               for n in m.tree.body if isinstance(n, ast.ClassDef)}
    bad = []
    for module in modules(root, "algorithms"):
        bad += _entries(module, classes)
        bad += _private(module)
        bad += _closed_world(module)
        for i in imports(module):
            whole = f"{i.source}.{i.name}"
            if within(whole, "mdpkit.worlds") and (i.name not in VERBS or i.source == "mdpkit.worlds"):
                bad.append(at(module, i.line, f"imports {i.name or i.source} of worlds, which is no verb"))
            if i.source == "mdpkit.drive" or (i.source == "mdpkit.access" and i.name not in ACCESS):
                bad.append(at(module, i.line, f"imports {i.name or i.source} of {i.source}: access.drive is the door"))
    return bad


def _entries(module: Module, classes: set[str]) -> Iterator[str]:
    for name, f in functions(module).items():
        if not (name in ("init", "step") or name.startswith("run")):
            continue
        for p in parameters(f):
            named = set(re.findall(r"\w+", ast.unparse(p.annotation))) if p.annotation else set()
            if named & classes or p.arg in ("model", "mdp", "world"):
                yield at(module, f, f"{name} takes a model: {p.arg}")
            if p.arg == "access" and not (named and named <= ACCESS):
                yield at(module, f, f"{name} does not say which access it takes")
        if name.startswith("run") and (not parameters(f) or parameters(f)[0].arg != "access"):
            yield at(module, f, f"{name} takes no access")


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
            bad.append(at(module, node, f"reaches behind the door: {name}"))
        if name == "model" and kind != "Exact":
            bad.append(at(module, node, "reads .model where access is not Exact"))
        for child in ast.iter_child_nodes(node):
            visit(child, scope)

    visit(module.tree, {})
    return bad


def _closed_world(module: Module) -> Iterator[str]:
    bodies = {k.name: k.body for k in kernels(module)}
    for f in (n for n in ast.walk(module.tree) if isinstance(n, FUNCTION | ast.Lambda)):
        if "world" not in [p.arg for p in parameters(f)]:
            continue
        handed = {id(a): (c, k) for c in calls(f) for k, a in enumerate(c.args)}
        for node in (n for n in ast.walk(f) if isinstance(n, ast.Name) and n.id == "world"):
            call, k = handed.get(id(node), (None, 0))
            callee = dotted(module, call.func) if call else ""
            if not call:
                yield at(module, node, "the world is touched, not handed to a verb")
            elif callee in bodies:
                names = [p.arg for p in parameters(bodies[callee])]
                if names[k: k + 1] != ["world"]:
                    yield at(module, node, f"{callee} takes the world under another name")
            elif not within(callee, "mdpkit.worlds", "mdpkit.kernels"):
                yield at(module, node, f"the world is handed to {callee or 'an expression'}, which is no verb")
    for call in calls(module.tree):
        if isinstance(call.func, ast.Attribute) and call.func.attr in ("drive", "call") and call.args:
            first = dotted(module, call.args[0])
            if first not in bodies and not within(first, "mdpkit.kernels"):
                yield at(module, call, f"lets {first or 'an expression'} into the world, which is no kernel")
            elif first in bodies and [p.arg for p in parameters(bodies[first])][:1] != ["world"]:
                yield at(module, call, f"the first parameter of {first} is not called world")


# --------------------------------------------------------------------------- the learner never scores itself

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
                if isinstance(node, ast.Name | ast.Attribute) and within(dotted(module, node), *SCORES):
                    bad.append(at(module, node, f"{name} scores itself with {dotted(module, node)}"))
    return bad


# ----------------------------------------------------------------------------------- rng and global state

def rng_crosses_by_argument(root: Path) -> list[str]:
    """``rng`` has no default, nothing draws from global generators, and only the judge builds them."""
    bad = []
    for module in modules(root):
        for f in (n for n in ast.walk(module.tree) if isinstance(n, FUNCTION | ast.Lambda)):
            a = f.args
            plain = [*a.posonlyargs, *a.args]
            given = plain[len(plain) - len(a.defaults):] + [p for p, d in zip(a.kwonlyargs, a.kw_defaults) if d]
            bad += [at(module, f, "gives rng a default") for p in given if p.arg == "rng"]
        bad += [at(module, i.line, f"imports {i.source}") for i in imports(module)
                if i.source in ("random", "secrets")]
        judge = not within(module.name, "mdpkit", "algorithms") or within(module.name, *PROGRAM)
        called = {id(c.func) for c in calls(module.tree)}
        for node in ast.walk(module.tree):
            full = dotted(module, node)
            if full.startswith("numpy.random.") and full.split(".")[2] not in {*BUILDERS, "BitGenerator"}:
                bad.append(at(module, node, f"draws from the global {full}"))
            elif full.startswith("numpy.random.") and id(node) in called and not judge:
                bad.append(at(module, node, f"builds a generator: {full}"))
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
            if store and dotted(module, target) in GLOBAL_TABLES and not within(module.name, *PROGRAM):
                bad.append(at(module, node, f"sets {dotted(module, target)}"))
            if isinstance(node, ast.Call) and id(node) not in guarded and dotted(module, node.func) in GLOBAL_CALLS:
                bad.append(at(module, node, f"calls {dotted(module, node.func)}"))
    return bad


def silent(root: Path) -> list[str]:
    """Only the command line prints."""
    return [at(m, c, "prints") for m in modules(root) if not within(m.name, *PROGRAM)
            for c in calls(m.tree) if dotted(m, c.func) in ("print", "sys.stdout.write", "sys.stderr.write")]
