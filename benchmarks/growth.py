"""Time and memory against S, H and K, each size in a process of its own; draws docs/growth.svg."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

SIZES = {"states": (100, 300, 1000, 3000, 10_000, 30_000, 100_000, 300_000, 1_000_000),
         "horizon": (10, 30, 100, 300, 1000, 3000, 10_000),
         "episodes": (1000, 3000, 10_000, 30_000, 100_000, 300_000)}
HEADER = ("against", "size", "build s", "seconds", "peak MB", "arrays + 10 vectors MB", "width")
COLUMNS = (("build", 1.0), ("seconds", 1.0), ("bytes", 1e-6), ("allowed", 1e-6), ("width", 1.0))
PICTURE = Path(__file__).parents[1] / "docs" / "growth.svg"
INK = ("#0b5394", "#b45f06", "#38761d", "#7f7f7f")


def table() -> tuple[str, tuple[str, ...], list[tuple[str, ...]]]:
    """Title, header and rows."""
    found = {job: [(size, _ask(job, size)) for size in sizes] for job, sizes in SIZES.items()}
    _draw(found).savefig(PICTURE, metadata={"Date": None})
    rows = []
    for job, runs in found.items():
        for size, run in runs:
            cells = (f"{run[name] * scale:.3g}" if name in run else "" for name, scale in COLUMNS)
            rows.append((job, str(size), *cells))
    return "sparse worlds of 10 S transitions; backward induction, S=20; UCBVI, regret watched", HEADER, rows


def _ask(job: str, size: int) -> dict[str, Any]:
    done = subprocess.run([sys.executable, "-m", "benchmarks._growth", job, str(size)], check=True, text=True,
                          capture_output=True, cwd=PICTURE.parents[1])
    return json.loads(done.stdout)


def _draw(found: dict[str, list[tuple[int, dict[str, Any]]]]) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.4, 6.2), layout="constrained")
    (left, right), (left_bytes, right_bytes) = figure.subplots(2, 2)
    sizes, runs = zip(*found["states"])
    left.plot(sizes, [run["build"] for run in runs], "s--", color=INK[1], ms=4, label="building")
    left.plot(sizes, [run["seconds"] for run in runs], "o-", color=INK[0], ms=4, label="solving to 1e-8")
    left_bytes.plot(sizes, [run["bytes"] * 1e-6 for run in runs], "o-", color=INK[0], ms=4,
                    label="most, building and solving")
    left_bytes.plot(sizes, [run["allowed"] * 1e-6 for run in runs], ":", color=INK[3], label="CSR arrays + 10 vectors")
    for job, mark, ink, label in (("horizon", "o-", INK[2], "backward induction, H steps"),
                                  ("episodes", "s-", INK[0], "UCBVI, K episodes")):
        sizes = [n for n, _ in found[job]]
        right.plot(sizes, [run["seconds"] for _, run in found[job]], mark, color=ink, ms=4, label=label)
        right_bytes.plot(sizes, [run["bytes"] * 1e-6 for _, run in found[job]], mark, color=ink, ms=4, label=label)
    for ax, x, y in ((left, "", "seconds"), (right, "", "seconds"), (right_bytes, "steps $H$, or episodes $K$",
                     "megabytes"), (left_bytes, "states $S$ (10 $S$ transitions)", "megabytes")):
        ax.set(xscale="log", yscale="log", xlabel=x, ylabel=y)
        ax.grid(alpha=0.3, which="major")
        lo, hi = ax.get_xlim()
        bottom = ax.get_ylim()[0]
        ax.plot([lo * 3, hi / 3], [bottom * 1.5, bottom * 1.5 * hi / lo / 9], color=INK[3], lw=0.8, label="slope 1")
        ax.legend(fontsize=7, loc="upper left")
    return figure
