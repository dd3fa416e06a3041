"""What a call passes through that adds in an order of its own: BLAS, LAPACK, programmes of scipy and highspy."""

from __future__ import annotations

import dis
import functools
import sys
from collections.abc import Callable
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

ROOT = str(Path(__file__).resolve().parents[2])
OURS = tuple(f"{ROOT}/{name}/" for name in ("mdpkit", "algorithms", "theory_checks", "tests"))      # not .venv
FOREIGN = ("/numpy/linalg/", "/scipy/linalg/", "/scipy/optimize/", "/scipy/sparse/linalg/", "/highspy/", "/cvxpy/")
PRODUCTS = frozenset({"dot", "vdot", "inner", "matmul", "tensordot"})


def passed(call: Callable[[], Any]) -> set[str]:
    """Where ``call`` enters such a library: foreign functions, and ours with a product of arrays (floats or not)."""
    seen: set[str] = set()

    def look(frame: FrameType, event: str, arg: Any) -> None:
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(OURS) and has_product(code):
            seen.add(f"{code.co_filename.removeprefix(ROOT)}:{code.co_name}")
        elif event == "call" and any(part in code.co_filename for part in FOREIGN):
            seen.add(f"{Path(code.co_filename).stem}.{code.co_name}")

    before = sys.getprofile()
    sys.setprofile(look)
    try:
        call()
    finally:
        sys.setprofile(before)
    return seen


@functools.cache
def has_product(code: CodeType) -> bool:
    """Whether this body, not those inside it, has the operator ``@`` or names one of `PRODUCTS`."""
    operators = any(step.opname == "BINARY_OP" and "@" in step.argrepr for step in dis.get_instructions(code))
    return operators or not PRODUCTS.isdisjoint(code.co_names)
