"""Policy search by dynamic programming: the loss and both bounds on it, against the share of the right law in mu.

On the drifting formula world with four states, three actions and three steps, for three classes of policies: a map
for each state, for two pairs of states, and one action for all. The reference is the best policy of the class, and
mu_h = w d_ref,h + (1 - w) uniform. The bound by distance has the slack within the class, which is zero, the bound by
ratio the slack among all maps: with coarse blocks it does not vanish.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np

from algorithms.offline import psdp
from figures.engine import style
from mdpkit.instances.formula import drifting
from mdpkit.measure import plain
from mdpkit.measure.values import start_value

CLASSES = {"four": ("one state a block", (0, 1, 2, 3)), "two": ("two states a block", (0, 0, 1, 1)),
           "one": ("one block", (0, 0, 0, 0))}
CURVES = {"loss": "loss", "distance": r"by $L_1$ distance", "ratio": r"by ratio"}
SHARES = np.linspace(0.0, 1.0, 101)
FOOT = 2e-3


def compute(rows: Any = None) -> dict[str, np.ndarray]:
    """Curves by class and name against the shares ``w``; everything is exact to rounding, no claim's rows enter."""
    m = drifting(4, 3, 3)
    out = {"w": SHARES}
    for key, (_, labels) in CLASSES.items():
        blocks = np.array(labels)
        ref = plain.probabilities(_best(m, blocks), m.r)
        d, curve = plain.state_law(m.P, m.rho, ref), []
        for w in SHARES:
            mu = w * d + (1 - w) / m.S
            pi = plain.probabilities(psdp.plan(m.P, m.r, mu, blocks).policy, m.r)
            curve.append((start_value(m, ref) - start_value(m, pi), psdp.bound(m.P, m.r, m.rho, mu, blocks, ref, pi),
                          psdp.ratio_bound(m.P, m.r, m.rho, mu, ref, pi)))
        out |= {f"{key} {name}": column for name, column in zip(CURVES, np.array(curve).T)}
    return out


def _best(m: Any, blocks: np.ndarray) -> np.ndarray:
    """The best policy (H, S) of a class: by search where all maps are allowed, otherwise among all there are."""
    B = int(blocks.max()) + 1
    if B == m.S:
        return psdp.plan(m.P, m.r, np.full((m.H, m.S), 1.0 / m.S), blocks).policy
    found = (np.array(a).reshape(m.H, B)[:, blocks] for a in itertools.product(range(m.A), repeat=m.H * B))
    return max(found, key=lambda pi: start_value(m, pi))


def draw(data: Mapping[str, np.ndarray], figure: Any, verdicts: Mapping[str, str] | None = None) -> None:
    """A panel a class, logarithmic; zero is drawn at the foot."""
    axes = figure.subplots(1, len(CLASSES), sharey=True)
    for ax, (key, (title, _)) in zip(axes, CLASSES.items()):
        for i, (name, label) in enumerate(CURVES.items()):
            ax.plot(data["w"], np.maximum(data[f"{key} {name}"], FOOT), label=label, clip_on=False,
                    markevery=(8 * i, 25), **style.line(i))
        ax.set(yscale="log", xlim=(0, 1), ylim=(FOOT, 20), xlabel="share $w$ of $d_{\\mathrm{ref}}$ in $\\mu$",
               title=title, xticks=[0, 0.5, 1], xticklabels=["0", "1/2", "1"],
               yticks=[FOOT, 0.01, 0.1, 1, 10], yticklabels=["0", "0.01", "0.1", "1", "10"])
    axes[0].set_ylabel("loss $V_{\\mathrm{ref}}-V_\\pi$ and its bounds")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=3, frameon=False)
    for ax, claim in zip(axes, ("C3", "C4", "C6")):
        if verdicts and claim in verdicts:
            style.note(ax, f"{claim}: {verdicts[claim]}".replace(" (", "\n("))
