"""Laws of kernels: one body each, and only words that mean the same compiled and interpreted."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from contract.reading import (
    Kernel,
    Module,
    at,
    calls,
    dotted,
    functions,
    imports,
    is_kernel_call,
    kernels,
    modules,
    parameters,
    within,
)

COMPILERS = {"njit", "jit", "vectorize", "guvectorize", "cfunc", "stencil", "jit_module", "generated_jit"}
GENERATOR = {"random", "normal", "exponential", "gamma", "beta", "integers", "poisson", "binomial", "permutation",
             "shuffle"}
NOT_IN_KERNELS = {                                           # compiled and interpreted differ in the last bits
    *(f"numpy.{f}" for f in ("exp", "expm1", "log", "log1p", "log2", "log10", "power", "sum", "mean", "linalg.inv")),
    "math.lgamma", "numba.prange", "pow"}


def one_body_a_kernel(root: Path) -> list[str]:
    """``f = kernel(_f)``, the body is used by nothing else, and only mdpkit.jit compiles."""
    house = modules(root)
    homes = {f"{m.name}.{k.body.name}" for m in house for k in kernels(m)}
    bad = []
    for module in house:
        bad += _compilers(module)
        good = {id(n.value.args[0]) for n in module.tree.body if isinstance(n, ast.Assign)
                and is_kernel_call(module, n.value) and n.value.args}
        proper = {id(n.value.func) for n in module.tree.body if isinstance(n, ast.Assign)
                  and is_kernel_call(module, n.value)
                  and isinstance(n.value.args[0], ast.Name) and n.value.args[0].id in functions(module)}
        own = [k.body.name for k in kernels(module)]
        bad += [at(module, 1, f"{name} is compiled twice") for name in sorted(set(own)) if own.count(name) > 1]
        for node in ast.walk(module.tree):
            if not isinstance(node, ast.Name | ast.Attribute):
                continue
            full = dotted(module, node)
            if full == "mdpkit.jit.kernel" and id(node) not in proper:
                bad.append(at(module, node, "kernel is used otherwise than as name = kernel(_body)"))
            local = isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id in own
            if (local or full in homes) and id(node) not in good:
                bad.append(at(module, node, f"the body {full} is used beside its kernel"))
            if isinstance(node, ast.Attribute) and node.attr == "py_func":
                bad.append(at(module, node, "uses the interpreted twin of a kernel"))
    return bad + _twins(house)


def _compilers(module: Module) -> Iterator[str]:
    if module.name == "mdpkit.jit":
        return
    for i in imports(module):
        if within(i.source, "numba") and i.name in COMPILERS:
            yield at(module, i.line, f"imports {i.name} of numba")
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Attribute) and within(dotted(module, node), *(f"numba.{c}" for c in COMPILERS)):
            yield at(module, node, f"compiles with {dotted(module, node)}")
        if isinstance(node, ast.Call) and any(k.arg == "fastmath" for k in node.keywords):
            yield at(module, node, "asks for fastmath")


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
                bad.append(at(module, f, f"{f.name} is the twin of {seen[code]}"))
            seen[code] = f"{module.name}.{f.name}"
    return bad


def vocabulary(root: Path) -> list[str]:
    """What kernels say is the same number compiled and interpreted."""
    bad = []
    for module in modules(root, "mdpkit", "algorithms"):
        if within(module.name, "algorithms", "mdpkit.worlds", "mdpkit.kernels"):
            bad += [at(module, c, "reassoc is for certified solvers") for c in calls(module.tree)
                    if is_kernel_call(module, c) and any(k.arg == "reassoc" for k in c.keywords)]
            bad += [v for k in kernels(module) for v in _spoken(module, k)]
    return bad


def _spoken(module: Module, kernel: Kernel) -> Iterator[str]:
    for node in ast.walk(kernel.body):
        if isinstance(node, ast.BinOp | ast.AugAssign) and isinstance(node.op, ast.Pow):
            yield at(module, node, f"{kernel.name} raises to a power")
        if not isinstance(node, ast.Call):
            continue
        full = dotted(module, node.func)
        name = node.func.attr if isinstance(node.func, ast.Attribute) else full
        if full in NOT_IN_KERNELS or within(full, "numpy.random") or any(k.arg == "fastmath" for k in node.keywords):
            yield at(module, node, f"{kernel.name} calls {full}")
        elif isinstance(node.func, ast.Attribute) and name in ("sum", "mean"):
            yield at(module, node, f"{kernel.name} calls .{name}()")
        elif name == "argsort" and not any(k.arg == "kind" and ast.unparse(k.value) in ("'stable'", "'mergesort'")
                                           for k in node.keywords):
            yield at(module, node, f"{kernel.name} sorts without kind='stable'")
        elif isinstance(node.func, ast.Attribute) and not within(full, "numpy", "math"):
            yield from _generator(module, kernel, node, name)


def _generator(module: Module, kernel: Kernel, call: ast.Call, name: str) -> Iterator[str]:
    is_rng = ast.unparse(call.func.value).rpartition(".")[2] == "rng"        # type: ignore[attr-defined]
    if name in set(dir(np.random.Generator)) - GENERATOR or (is_rng and name not in GENERATOR):
        yield at(module, call, f"{kernel.name} draws with .{name}(), which numba lacks")
    if is_rng and name == "integers" and (len(call.args) < 2 or ast.unparse(call.args[0]) != "0"):
        yield at(module, call, f"{kernel.name} draws integers otherwise than as integers(0, n)")
