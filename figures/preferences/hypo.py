"""HyPO: the gap against log(1/d), d the reference probability of a response that was never compared.

One prompt, r* = (1, 1/2, 0), beta = 1/2, comparisons of y1 and y2 alone. DPO, from a start that loves y3, stays there:
its gap grows linearly, dotted beta pi(y3) log(1/d) below it. HyPO from the same start, and two-stage RLHF, do not:
what is left of HyPO is the bias of lambda, and what finitely many steps leave on y3.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from algorithms.preferences import hypo
from algorithms.preferences.hypo import Params
from figures.engine import style
from mdpkit import losses
from mdpkit.access import Comparisons
from mdpkit.measure.divergences import kl
from theory_checks.preferences.hypo import BAD_START, thin

K = np.arange(4, 41, 6)                                   # d = 2^-k
RUNS = {                                                  # entry and parameters; steps below 2/L as in the checks
    "DPO, bad start": (hypo.run_dpo, Params(2000, 8.0, start=BAD_START)),
    "HyPO, $\\lambda=0.1$": (hypo.run, Params(50_000, 1.5, 0.1, start=BAD_START, every=50_000)),
    "HyPO, $\\lambda=0.01$": (hypo.run, Params(50_000, 5.0, 0.01, start=BAD_START, every=50_000)),
    "HyPO, $\\lambda=0.001$": (hypo.run, Params(400_000, 12.0, 0.001, start=BAD_START, every=400_000)),
    "RLHF, rewards in $[0, 1]$": (hypo.run_rlhf, Params(1000, 2.0)),
}


def compute(rows: Any = None) -> dict[str, np.ndarray]:
    """Gaps by name over K, and pi(y3) of DPO; no claim's rows enter, everything is exact to rounding."""
    rng = np.random.default_rng(0)                        # nothing is sampled
    out: dict[str, Any] = {"k": K, **{name: [] for name in RUNS}}
    for k in K.tolist():
        model, data = thin(2.0**-k)
        best = np.exp(losses.gibbs(np.log(model.pi_ref), model.reward, model.beta))
        for name, (run, params) in RUNS.items():
            pi = run(Comparisons(model, rng), data, params, rng).output
            out[name].append(float(model.beta * kl(pi, best)[0]))
            if run is hypo.run_dpo:
                out["m"] = float(pi[0, 2])
    return {name: np.asarray(value) for name, value in out.items()}


def draw(data: Mapping[str, np.ndarray], figure: Any, verdicts: Mapping[str, str] | None = None) -> None:
    """Left the gaps as they are, right their small ones on a log axis."""
    figure.set_size_inches(1.3 * style.WIDTH, 1.15 * style.HEIGHT)
    x, (left, right) = data["k"] * np.log(2), figure.subplots(1, 2, width_ratios=(1.25, 1))
    for i, name in enumerate(RUNS):
        left.plot(x, data[name], label=name, markevery=(i % 2, 2), **style.line(i))
        right.plot(x, data[name], markevery=(i % 2, 2), **style.line(i))
    left.plot(x, 0.5 * data["m"] * x - 0.5, color="0.5", linestyle=":", lw=1.2, label="slope $\\beta\\,\\pi(y_3)$")
    for ax in (left, right):
        ax.set(xlabel="$\\log(1/d)$, $d=\\pi_{\\mathrm{ref}}(y_3)$ (nats)")
    left.set(ylabel="gap $J(\\pi^*)-J(\\hat\\pi)$", title="only $y_1$ and $y_2$ compared")
    right.set(yscale="log", ylabel="gap, log scale", title="the same gaps")
    left.legend(loc="upper left", frameon=False, fontsize=7)
    for name in ("C1-descent", "C4"):
        if verdicts and name in verdicts:
            style.note(left, f"{name}: {verdicts[name]}")
