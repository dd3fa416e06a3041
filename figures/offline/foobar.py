"""FOOBAR: the weight of the matched roll-in on the good state, and who learns the fading lock from how many samples.

Left: the law mu of the data is half good and half errant. Matching it reaches the good state half of the time where
errant states stay (admissible), and fades as 2^-h where they leak. Right: the share of runs that learn all ten
right actions, with intervals of Wilson at 95 %; the online learner rolls in with uniform actions, without the leak.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from algorithms.offline import foobar
from figures.engine import style
from mdpkit.access import Episodes, Reset
from mdpkit.data import draw_states
from mdpkit.measure import plain
from theory_checks.offline.foobar import fading_lock

H = 10
RUNS = 100
SAMPLES = (4, 8, 16, 32, 64, 128, 256)
SEED = 20
NAMES = {"reset": "PSDP with resets", "admissible": "FOOBAR, admissible", "inadmissible": "FOOBAR, inadmissible",
         "online": "online alone"}


def compute(rows: Any = None) -> dict[str, np.ndarray]:
    """Weights on the good state by step, and the share of runs that succeed (len(SAMPLES),), by name."""
    rng = np.random.default_rng(SEED)
    out = {"h": np.arange(H), "n": np.array(SAMPLES)}
    models, roll_ins = {}, {}
    for name, leak in (("admissible", False), ("inadmissible", True)):
        m, mu, code = fading_lock(H, leak)
        models[name], roll_ins[name] = m, foobar.forward_by_squares(m.P, m.rho, mu)
        out[f"good {name}"] = plain.state_law(m.P, m.rho, roll_ins[name])[:, 0]
    out["mu"] = mu[:, 0]
    models["online"], roll_ins["online"] = models["admissible"], np.full((H, 3, 2), 0.5)
    models["reset"] = models["inadmissible"]
    for name, m in models.items():
        shares = []
        for n in SAMPLES:
            params, found = foobar.Params(n), 0
            for _ in range(RUNS):
                if name == "reset":
                    data = draw_states(mu, n, rng)
                    result = foobar.run_reset(Reset(m, rng, to=data), data, params, rng)
                else:
                    result = foobar.run_backward(Episodes(m, rng), roll_ins[name], params, rng)
                found += bool((result.output.policy[:, 0] == code).all())
            shares.append(found / RUNS)
        out[name] = np.array(shares)
    return out


def draw(data: Mapping[str, np.ndarray], figure: Any, verdicts: Mapping[str, str] | None = None) -> None:
    """Weights on a logarithmic axis against the step; shares against the samples a step."""
    left, right = figure.subplots(1, 2)
    left.plot(data["h"], data["mu"], color="0.5", lw=3, alpha=0.5, label=r"$\mu_h$ of the data")
    for i, name in ((1, "admissible"), (2, "inadmissible")):
        left.plot(data["h"], data[f"good {name}"], label=f"$d^f_h$, {name}", **style.line(i))
    left.set(yscale="log", xlabel="step $h$", ylabel="weight on the good state", ylim=(1e-3, 1.5))
    left.legend(loc="lower left", frameon=False)
    z = 1.96
    for i, (name, label) in enumerate(NAMES.items()):
        p = data[name]
        middle = (p + z * z / 2 / RUNS) / (1 + z * z / RUNS)
        reach = z * np.sqrt(p * (1 - p) / RUNS + z * z / 4 / RUNS / RUNS) / (1 + z * z / RUNS)
        right.plot(data["n"], p, label=label, clip_on=False, zorder=3, **style.line(i))
        right.fill_between(data["n"], middle - reach, middle + reach, color=style.COLOURS[i], alpha=0.15, lw=0)
    right.set(xscale="log", xlabel="samples a step $n$", ylabel="share of runs that learn the lock", ylim=(0, 1.02),
              xticks=SAMPLES, xticklabels=SAMPLES)
    right.minorticks_off()
    figure.legend(*right.get_legend_handles_labels(), loc="outside upper center", ncols=2, frameon=False)
    for ax, claim in ((left, "C4-fade"), (right, "C4")):
        if verdicts and claim in verdicts:
            style.note(ax, f"{claim}: {verdicts[claim]}")
