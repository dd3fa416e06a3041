"""``python -m benchmarks``: all of them; ``python -m benchmarks door``: one. Each prints a table.

A run of all writes docs/benchmarks.json, which the report shows.
"""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
import platform
import sys
from pathlib import Path

import numba

import benchmarks


def main(names: list[str]) -> int:
    known = sorted(m.name for m in pkgutil.iter_modules(benchmarks.__path__) if not m.name.startswith("_"))
    for name in names:
        if name not in known:
            print(f"there is no benchmark {name!r}; there are {', '.join(known)}", file=sys.stderr)
            return 2
    tables = []
    for name in names or [name for name in known if name != "calibration"]:
        title, header, rows = importlib.import_module(f"benchmarks.{name}").table()
        print(f"\n{name}: {title}\n")
        _print([header, *rows])
        tables.append({"title": name, "note": title, "header": header, "rows": rows})
    if not names:
        note = f"{os.cpu_count()} cores, Python {platform.python_version()}, numba {numba.__version__}; `make bench`."
        found = {"title": "How fast", "note": note, "tables": tables}
        (Path(__file__).parents[1] / "docs" / "benchmarks.json").write_text(json.dumps(found, indent=1) + "\n")
    return 0


def _print(lines: list[tuple[str, ...]]) -> None:
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    for k, line in enumerate(lines):
        first, *rest = line
        print("  " + "  ".join([first.ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(rest, widths[1:]))]))
        if k == 0:
            print("  " + "  ".join("-" * w for w in widths))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
