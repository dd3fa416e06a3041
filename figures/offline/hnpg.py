"""HAC: the value of each policy over the best, on two worlds where logged data or rollouts alone fail.

Left, the lock, L = 8, A = 4, each pair logged 20 times: rollouts alone never see the reward (medians and quartiles over
runs of claim C5; data alone need no draw). Right, three states whose features are not complete, with 400 logged tuples
and rollouts: data alone diverge. HAC is at 1 on both.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from algorithms.offline import hnpg
from algorithms.offline.hnpg import Params
from figures.engine import style
from mdpkit.access import Episodes
from mdpkit.data import draw_tuples
from mdpkit.instances.locks import discounted_lock, discounted_lock_value
from mdpkit.measure.plain import discounted_values
from mdpkit.measure.values import optimal_start_value
from mdpkit.models.tabular import EpisodicMDP
from theory_checks.offline.hnpg import (
    A_LOCK,
    DRIFT_LAW,
    GAMMA_LOCK,
    L,
    drift,
    drift_features,
    lock_data,
    lock_params,
)

RUNS, SEEDS, SAMPLE = 32, 16, 400
NAMES = {"hybrid": "HAC: both", "online": r"rollouts alone ($m_{\rm off}=0$)", "offline": r"data alone ($\lambda=0$)"}


def compute(rows: Any) -> dict[str, np.ndarray]:
    """Quartiles (3, T+1) of V(pi^t)/V* by world and method; on the lock from the rows of C5."""
    found = rows.of("C5", RUNS)
    out = {f"lock {name}": np.percentile([r["curves"][name] for r in found], (25, 50, 75), axis=0)
           for name in ("hybrid", "online")}
    m, data = discounted_lock(L, A_LOCK, GAMMA_LOCK), lock_data()
    alone = hnpg.run(Episodes(m, np.random.default_rng(0)), data, lock_params(data.n, 0), np.random.default_rng(1))
    share = discounted_values(m.P, m.r, m.gamma, _policies(alone))[0][:, 0] / discounted_lock_value(L, GAMMA_LOCK)[0]
    out["lock offline"] = np.repeat(share[None], 3, 0)
    for name, sizes in (("hybrid", (SAMPLE, SAMPLE)), ("online", (0, SAMPLE)), ("offline", (SAMPLE, 0))):
        out[f"drift {name}"] = np.percentile([_drift(seed, *sizes) for seed in range(SEEDS)], (25, 50, 75), axis=0)
    return out


def _drift(seed: int, m_off: int, m_on: int) -> np.ndarray:
    m, (world, own, logged) = drift(), (np.random.default_rng([seed, k]) for k in range(3))
    data = draw_tuples(EpisodicMDP.stationary(m.P, m.r, m.rho, 1), DRIFT_LAW[None], SAMPLE, logged)
    access = Episodes(m, world, bounds={"phi": drift_features(False)})
    params = Params(30, 1.0, m_off, m_on, 1.0, 50, 100, -20.0, 20.0)
    pi = _policies(hnpg.run_linear(access, data, params, own))
    return discounted_values(m.P, m.r, m.gamma, pi)[0] @ m.rho / optimal_start_value(m)


def _policies(result: Any) -> np.ndarray:
    return np.concatenate([result.trace.policies[result.trace.index], result.output[None]])


def draw(data: Mapping[str, np.ndarray], figure: Any, verdicts: Mapping[str, str] | None = None) -> None:
    """Two axes that share V/V*; the legend stands above both."""
    figure.set_size_inches(1.2 * style.WIDTH, 1.05 * style.HEIGHT)
    axes = dict(zip(("lock", "drift"), figure.subplots(1, 2, sharey=True)))
    for key, title in (("lock", "lock, $L=8$, $A=4$"), ("drift", "three states, $\\Phi$ not complete")):
        ax = axes[key]
        for i, (name, label) in enumerate(NAMES.items()):
            low, middle, high = data[f"{key} {name}"]
            t = np.arange(1, len(middle) + 1)
            ax.plot(t, middle, label=label, markevery=(2 * i, 6), clip_on=False, zorder=3, **style.line(i))
            ax.fill_between(t, low, high, color=style.COLOURS[i], alpha=0.15, lw=0)
        ax.set(xlabel="policy $t$", title=title, ylim=(-0.15, 1.05))
    axes["lock"].set_ylabel("$V^{\\pi^t}(\\rho)/V^*(\\rho)$")
    figure.legend(*axes["lock"].get_legend_handles_labels(), loc="outside upper center", ncols=3, frameon=False)
    for key, names in (("lock", ("C5",)), ("drift", ("C3-actor", "C3-alone"))):
        said = [f"{k}: {verdicts[k]}" for k in names if verdicts and k in verdicts]
        if said:
            style.note(axes[key], "\n".join(said))
