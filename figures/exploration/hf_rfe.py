"""HF-UCRL-RFE++: the certificate max_pi V^pi(P, rho) from state 0 against episodes, log-log, H = 4, 8, 16, 32.

Medians with quartiles on the instance of three states, beta = 3, four moments: as in the paper (with markers), and with
sigma = 1 (thin, the same colour). The dotted line has slope -1/2; at 1 the certificate says nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from algorithms.exploration import hf_rfe
from figures.engine import style
from theory_checks.exploration.hf_rfe import BETA, explored

LENGTHS = (4, 8, 16, 32)
ENTRIES = {"weighted": hf_rfe.run, "plain": hf_rfe.run_unweighted}


def compute(rows: Any, K: int = 3200, runs: int = 8, lengths: tuple[int, ...] = LENGTHS) -> dict[str, np.ndarray]:
    """Quartiles (3, points) ``weighted 4`` and so on, after the episodes ``k``."""
    k = np.unique(np.geomspace(min(K / 32, K - 1), K - 1, 24).astype(np.int64))
    out: dict[str, Any] = {"k": k, "H": np.array(lengths)}
    for H in lengths:
        for name, run in ENTRIES.items():
            curves = []
            for seed in range(runs):
                log, _, model = explored({"H": H, "K": K, "beta": BETA}, run, np.random.default_rng(seed))
                curves.append([hf_rfe.certificate(model.P[0], rho, H)[0] for rho in log.rho[k]])
            out[f"{name} {H}"] = np.quantile(curves, [0.25, 0.5, 0.75], axis=0)
    return out


def draw(data: Mapping[str, np.ndarray], figure: Any, verdicts: Mapping[str, str] | None = None) -> None:
    """One axis; the legend stands beside it."""
    ax, k = figure.add_subplot(), data["k"]
    for i, H in enumerate(data["H"]):
        low, middle, high = data[f"weighted {H}"]
        ax.plot(k, middle, label=f"$H={H}$", markevery=(i + 2, 5), **style.line(i))
        ax.fill_between(k, low, high, color=style.COLOURS[i], alpha=0.2, lw=0)
        ax.plot(k, data[f"plain {H}"][1], color=style.COLOURS[i], lw=0.8, alpha=0.8)
    ax.plot([], [], color="0.4", lw=0.8, label="$\\sigma=1$")
    ax.plot(k, 4.5 / np.sqrt(k), color="k", linestyle=":", lw=1.0, label="slope $-1/2$")
    ax.set(xscale="log", yscale="log", xlabel="episodes of exploration $K$", xlim=(k[0], k[-1]),
           ylabel="certificate $\\max_\\pi V^\\pi(P,\\rho)$", title="Three states, $d=3$, $\\beta=3$")
    figure.legend(*ax.get_legend_handles_labels(), loc="outside right upper", frameon=False)
    said = [f"{name}: {verdicts[name]}" for name in ("C5", "C5-weights", "C5-horizon") if verdicts and name in verdicts]
    if said:
        style.note(ax, "\n".join(said))
