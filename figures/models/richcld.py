"""RichCLD: the value of CRIEE's policies against episodes, and what bcrl.c sees of each decoder against samples.

Left: medians and quartiles of V^pi/V* over runs on W(12, 4), of CRIEE and of CRIEE with a wrong decoder (claim C5,
whose rows they are), and of CRIEE that knows the decoder. Right: the largest excess loss of four decoders on n uniform
samples, means over data sets; the truth and its mirror image tend to 0, the others to their population values.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from algorithms.models.richcld import Params, bcrlc
from figures.engine import style
from theory_checks.models.richcld import DRAWN, ORDERS, criee_curve, sampled_choice

RUNS = 32
SAMPLES = (30, 100, 300, 1000, 3000, 10000)
SETS = 40
NAMES = {"criee": "CRIEE", "oracle": "decoder known", "wrong": "wrong decoder"}


def compute(rows: Any) -> dict[str, np.ndarray]:
    """Quartiles (3, len(n)) of each curve, and excess losses (decoders, sample sizes)."""
    rng = np.random.default_rng(0)
    found = rows.of("C5", RUNS)
    curves = {name: [r["curves"][name] for r in found] for name in ("criee", "wrong")}
    curves["oracle"] = [criee_curve(("identity",), Params(300, 1.0, 2), rng)[DRAWN - 1] for _ in range(RUNS)]
    excess = np.zeros((len(ORDERS), len(SAMPLES)))
    for j, n in enumerate(SAMPLES):
        for _ in range(SETS):
            losses = sampled_choice(n, bcrlc, rng)[1]
            excess[:, j] += [losses[name] / SETS for name in ORDERS]
    return {"n": DRAWN, "samples": np.array(SAMPLES), "excess": excess,
            **{name: np.percentile(curves[name], (25, 50, 75), axis=0) for name in NAMES}}


def draw(data: Mapping[str, np.ndarray], figure: Any, verdicts: Mapping[str, str] | None = None) -> None:
    """Curves on the left, the heat map on the right, on a logarithmic scale of colours, with its numbers."""
    from matplotlib.colors import LogNorm

    ax, heat = figure.subplots(1, 2, width_ratios=(5, 4))
    for i, (name, label) in enumerate(NAMES.items()):
        low, middle, high = data[name]
        ax.plot(data["n"], middle, label=label, markevery=(2 * i, 8), **style.line(i))
        ax.fill_between(data["n"], low, high, color=style.COLOURS[i], alpha=0.15, lw=0)
    ax.axhline(0.9, color="0.5", linestyle=":", lw=1.0)
    ax.set(xlabel="episode", ylabel=r"$V^{\pi}/V^*$", ylim=(0, 1.04))
    figure.legend(*ax.get_legend_handles_labels(), loc="outside upper center", ncols=3, frameon=False)
    excess = np.maximum(data["excess"], 1e-4)
    heat.imshow(excess, norm=LogNorm(1e-4, 0.3), cmap="cividis", aspect="auto")
    for i, j in np.ndindex(excess.shape):
        dark = excess[i, j] < 1e-2
        heat.text(j, i, f"{data['excess'][i, j]:.3f}".lstrip("0") if excess[i, j] >= 5e-4 else "<.001", ha="center",
                  va="center", fontsize=6.5, color="white" if dark else "black")
    heat.set(xticks=range(len(data["samples"])), xticklabels=[f"{n:g}" for n in data["samples"]], xlabel="samples $n$",
             yticks=range(len(ORDERS)), yticklabels=["$k$", "$11-k$", "$5k$", "$7k+3$"],
             title="largest excess loss")
    heat.tick_params(axis="x", rotation=45)
    heat.grid(visible=False)
    said = [f"{k}: {verdicts[k]}" for k in ("C2-sampled", "C5") if verdicts and k in verdicts]
    if said:
        style.note(ax, "\n".join(said))
