"""Laws of the papers' files: their order, their shape, and what their docstrings tell."""

from __future__ import annotations

import ast
import io
import itertools
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

from contract.reading import Module, at, calls, dotted, functions, is_kernel_call, kernels, of_papers, parameters

FIGURES = ("figure", "fig", "ax")


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
                bad.append(at(module, node, f"{after} comes after {before}"))
        first = next((n for n, k in kinds if k == "entry"), None)
        if first is not None and not first.name.startswith("run"):
            bad.append(at(module, first, "the first entry is not run"))
    return bad


def _kind(module: Module, node: ast.stmt) -> str:
    bodies = [k.body.name for k in kernels(module)]
    if isinstance(node, ast.Assign) and is_kernel_call(module, node.value):
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
            bad.append(at(module, params[0], "Params is not frozen"))
        if "theory" in here and _returns(here["theory"]) != "Params":
            bad.append(at(module, here["theory"], "theory does not return Params"))
        if "demo" in here and [p.arg for p in parameters(here["demo"])] != ["rng"]:
            bad.append(at(module, here["demo"], "demo takes something else than rng"))
        for name, f in here.items():
            if name.startswith("run"):
                if " ".join(p.arg for p in f.args.args) not in ("access params rng", "access data params rng"):
                    bad.append(at(module, f, f"{name} is not called as (access, [data,] params, rng)"))
                if _returns(f) != "Result":
                    bad.append(at(module, f, f"{name} does not return a Result"))
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
            yield at(module, line, f"cites line {max(lines)} of the pseudo-code, which there is not")
    bodies = {k.name: k.body for k in kernels(module)}
    for call in calls(module.tree):
        if isinstance(call.func, ast.Attribute) and call.func.attr == "drive" and call.args:
            body = bodies.get(dotted(module, call.args[0]))
            if body and not any(body.lineno <= line <= body.end_lineno for line in cited):
                yield at(module, body, f"{body.name} cites no line of the pseudo-code")


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
