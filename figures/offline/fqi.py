"""FQI: the error of each iterate with and without completeness, and the error and loss against the number of tuples.

Left, population form on F(4, 3), gamma = 0.8, mu uniform: |f_k - Q*|_inf with all functions and with three features,
each with its bound b dotted. Right: means and quartiles over the rows of claim C6; the three features leave a floor.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from algorithms.offline import fqi
from figures.engine import style
from mdpkit.instances.formula import stationary
from mdpkit.measure.values import optimal_action_value
from theory_checks.offline.fqi import SIZES, TWINS, features

RUNS, K = 32, 40
CLASSES = {"all functions": None, "three features": "restricted"}


def compute(rows: Any) -> dict[str, np.ndarray]:
    """Errors and bounds (K+1,) of both classes, and quartiles (3, len(n)) of the sampled errors and losses."""
    m = stationary(4, 3, 0.8)
    Q, out = optimal_action_value(m), {"n": np.array(SIZES), "k": np.arange(K + 1)}
    for name, twin in CLASSES.items():
        phi = features() if twin else None
        f = fqi.iterates(np.full((4, 3), 1 / 12), m.r, m.dense, 0.8, K, phi, 5.0)
        eps = [float(np.abs(f[k + 1] - m.r - 0.8 * (m.dense @ f[k].max(-1))).max()) for k in range(K)]
        out[name] = np.abs(f - Q).max((1, 2))
        out[f"{name} bound"] = np.array([fqi.sup_bound(eps[:k], 0.8, out[name][0])[0] for k in range(K + 1)])
        found = rows.of("C6", RUNS, subject=f"{TWINS}:{twin}" if twin else None)
        for curve in ("error", "loss"):
            out[f"{name} {curve}"] = np.percentile([r["curves"][curve] for r in found], (25, 50, 75), axis=0)
    return out


def draw(data: Mapping[str, np.ndarray], figure: Any, verdicts: Mapping[str, str] | None = None) -> None:
    """A logarithmic axis on the left, two on the right; a loss of 0 is drawn at the foot."""
    figure.set_size_inches(1.3 * style.WIDTH, 1.15 * style.HEIGHT)
    left, right = figure.subplots(1, 2)
    n, foot = data["n"], 1e-3
    for i, name in enumerate(CLASSES):
        left.plot(data["k"], data[name], label=name, markevery=(3 * i, 8), **style.line(i))
        left.plot(data["k"], data[f"{name} bound"], color=style.COLOURS[i], linestyle=":", lw=1.1,
                  label="bound $b$" if i == 0 else None)
        for j, (curve, label) in enumerate((("error", r"$\|f_K-Q^*\|_\infty$"), ("loss", r"$V^*-V^{\pi_K}$"))):
            low, middle, high = np.maximum(data[f"{name} {curve}"], foot)
            look = style.line(i + 2 * j)
            right.plot(n, middle, label=f"{label}, {name}", **look)
            right.fill_between(n, low, high, color=look["color"], alpha=0.15, lw=0)
    right.plot(n, 0.9 * np.sqrt(n[0] / n), color="0.5", linestyle=(0, (1, 3)), lw=1.2, label="slope $-1/2$")
    left.set(yscale="log", xlabel="iteration $k$", ylabel=r"error $\|f_k-Q^*\|_\infty$", ylim=(2e-4, 20),
             title=r"population, $F(4,3)$, $\gamma=0.8$")
    right.set(xscale="log", yscale="log", xlabel="tuples $n$", ylabel="error and loss", title="sampled, $K=40$",
              ylim=(foot / 1.3, 6))
    left.legend(loc="lower left", frameon=False)
    handles, labels = right.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=3, frameon=False, columnspacing=1.0)
    for ax, names in ((left, ("C2",)), (right, ("C6",))):
        said = [f"{k}: {verdicts[k]}" for k in names if verdicts and k in verdicts]
        if said:
            style.note(ax, "\n".join(said))
