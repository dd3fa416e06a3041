"""SPO: the gap of the average against T with its bounds, and what a reward model picks where rewards do not exist.

Left, preferences with a cycle, M = 2 p - 1 = [[0, .4, -.6, .2], [., 0, .8, -.1], [., ., 0, .3], [.]]: Hedge at the
step for each T, optimistic Hedge at eta = 1/4, and Hedge from one label an option a round, the mean of 20 runs. Right,
options of which 0 beats both others: win rates less one half against the best opponent.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from algorithms.games import spo
from figures.engine import style
from mdpkit.access import Comparisons, Exact
from mdpkit.instances.preferences import dominated_cycle
from mdpkit.losses import log_softmax
from theory_checks.games.spo import MISLED, model

T = np.array([10, 30, 100, 300, 1000, 3000, 10_000])
RUNS = 20
NAMES = ("Hedge", "optimistic", "sampled")


def compute(rows: Any = None) -> dict[str, np.ndarray]:
    """Gaps over T, the bounds, and the policies on the right; no claim's rows enter."""
    m, rng = dominated_cycle(), np.random.default_rng(0)
    M, curves = m.p[0] - m.p[0].T, []
    gap = lambda pi: float((M * pi).sum(1).max())
    for t in T.tolist():
        noisy = [gap(spo.run_sampled(Comparisons(m, rng, watch=lambda first, log: None), spo.theory(t, 4), rng).output)
                 for _ in range(RUNS)]
        curves.append([gap(spo.run(Exact(m), spo.theory(t, 4), rng).output),
                       gap(spo.run_optimistic(Exact(m), spo.optimistic_theory(t), rng).output), np.mean(noisy)])
    p, out = np.array(MISLED), dict(zip(NAMES, np.array(curves).T))
    fit = spo.reward_model(p)
    pick = np.eye(3)[fit.argmax()]
    found = [pick, np.exp(log_softmax(fit)), spo.run(Exact(model(p)), spo.condorcet_theory(1000, 0.2), rng).output]
    return {"T": T, **out, "bound": np.sqrt(2 * np.log(4) / T), "fast bound": (4 * np.log(4) + 0.25) / T,
            "misled": np.array(found), "misled gap": ((p - p.T) @ np.array(found).T).max(0)}


def draw(data: Mapping[str, np.ndarray], figure: Any, verdicts: Mapping[str, str] | None = None) -> None:
    """Left log-log, right bars of three policies over three options."""
    figure.set_size_inches(1.3 * style.WIDTH, 1.1 * style.HEIGHT)
    left, right = figure.subplots(1, 2, width_ratios=(1.35, 1))
    for i, name in enumerate(NAMES):
        left.plot(data["T"], data[name], label=name, **style.line(i))
    left.plot(data["T"], data["bound"], color=style.COLOURS[0], linestyle=":", lw=1.1, label="bounds")
    left.plot(data["T"], data["fast bound"], color=style.COLOURS[1], linestyle=":", lw=1.1)
    left.set(xscale="log", yscale="log", xlabel="rounds $T$", ylabel="$\\max_y\\,(M\\bar\\pi)(y)$",
             title="gap of the average")
    left.legend(loc="lower left", frameon=False)
    shift = (-0.27, 0.0, 0.27)
    for i, name in enumerate(("reward model's best", "softmax of its scores", "SPO, average")):
        right.bar(np.arange(3) + shift[i], data["misled"][i], width=0.25, color=style.COLOURS[(2, 5, 0)[i]],
                  label=f"{name}: gap {data['misled gap'][i]:.2g}")
    right.set(xticks=[0, 1, 2], xlabel="option (0 beats both others)", ylabel="probability", ylim=(0, 1.55),
              yticks=[0, 0.5, 1], title="no rewards behind the preferences")
    right.legend(loc="upper right", frameon=False)
    for name in ("C2", "C3", "C4"):
        if verdicts and name in verdicts:
            style.note(left, f"{name}: {verdicts[name]}")
