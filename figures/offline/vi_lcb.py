"""PEVI: loss and its bound 2 sum E_{d*} b on F(4, 3, 3) against n, log-log, for three behaviours.

Medians over runs: solid for the bound, dashed for the loss of PEVI, dotted for the empirical learner (b = 0). A loss of
zero is drawn at the foot. Claim C5 judges the bound of the mixed behaviour.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from algorithms.offline import vi_lcb
from figures.engine import style
from mdpkit.access import Episodes
from mdpkit.data import collect
from mdpkit.instances.formula import step_dependent
from mdpkit.measure.occupancy import occupancy
from mdpkit.measure.regret import gap
from mdpkit.measure.values import optimal_action_value

DELTA = 0.1
FOOT = 1e-3
SHARES = {"expert": 1.0, "mixed": 0.5, "uniform": 0.0}           # of pi* in the behaviour
PARTS = {"bound": ("$2\\sum E_{d^*} b$", "-"), "loss": ("loss of PEVI", "--"), "empirical": ("loss with $b=0$", ":")}


def compute(rows: Any, largest: int = 64_000, runs: int = 15) -> dict[str, np.ndarray]:
    """Medians by behaviour and part, at the sizes ``n``; the claim's own runs have fewer sizes."""
    model = step_dependent(4, 3, 3)
    pi = np.eye(model.A)[optimal_action_value(model).argmax(-1)]
    d, n = occupancy(model, pi), np.unique(np.geomspace(12, largest, 14).astype(np.int64))
    out = {"n": n}
    for name, share in SHARES.items():
        found = np.empty((runs, 3, len(n)))
        for seed in range(runs):
            rng = np.random.default_rng(seed)
            data, door = collect(model, share * pi + (1 - share) / model.A, largest, rng), Episodes(model, rng)
            for i, size in enumerate(n.tolist()):
                safe, plain = (vi_lcb.run(door, data, vi_lcb.Params(size, DELTA, c), rng).output for c in (1.0, 0.0))
                found[seed, :, i] = 2 * (d * safe.b).sum(), gap(model, safe.policy), gap(model, plain.policy)
        out |= {f"{name} {part}": column for part, column in zip(PARTS, np.median(found, axis=0))}
    return out


def draw(data: Mapping[str, np.ndarray], figure: Any, verdicts: Mapping[str, str] | None = None) -> None:
    """One axis; colours tell the behaviour, lines the part."""
    ax = figure.add_subplot()
    n = data["n"]
    for i, name in enumerate(SHARES):
        for j, (part, (label, line)) in enumerate(PARTS.items()):
            ax.plot(n, np.maximum(data[f"{name} {part}"], FOOT), label=f"{name}: {label}", markevery=(i, 3),
                    clip_on=False, **(style.line(i) | {"linestyle": line, "marker": style.MARKERS[j]}))
    ax.plot(n, 60 / np.sqrt(n), color="0.5", lw=0.9, linestyle=(0, (1, 2)), label="slope $-1/2$")
    ax.set(xscale="log", yscale="log", xlabel="trajectories $n$", ylabel="loss and its bound (0 at the foot)",
           title="Pessimistic value iteration on $F(4,3,3)$, $\\delta=0.1$", ylim=(FOOT, None))
    figure.legend(*ax.get_legend_handles_labels(), loc="outside right upper", frameon=False)
    if verdicts and "C5" in verdicts:
        style.note(ax, f"C5 (rate of the bound): {verdicts['C5']}")
