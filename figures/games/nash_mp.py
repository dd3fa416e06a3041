"""Nash mirror prox: KL, exploitability and span against queries, and last iterates of the Nash learners beside it.

The weighted cycle with pi_ref = (.6, .3, .1), beta = .1, from pi_ref. A query is one vector p pi: two an iteration of
mirror prox, one a step of the others. Left the dotted line is (1 + 2 beta)^(-N/2) from the first KL divergence.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from algorithms.games import nash_md, nash_mp, spo
from figures.engine import style
from figures.games import mmd
from mdpkit.access import Exact
from mdpkit.measure.exploitability import regularised_gap
from mdpkit.models.preferences import PreferenceModel
from theory_checks.games.nash_md import divergence, log_policies, nash
from theory_checks.games.nash_mp import reference

QUERIES, LONG = 120, 2000                                # on the left, and on the right
FOOT = 1e-15                                             # below it is rounding
ETA = 0.5                                                # step of self-play
Learner = Callable[[PreferenceModel, int], tuple[np.ndarray, np.ndarray]]


def _md(model: PreferenceModel, N: int) -> tuple[np.ndarray, np.ndarray]:
    return _seen(nash_md.run(Exact(model), nash_md.theory(N), np.random.default_rng(0)), 1)


def _self_play(model: PreferenceModel, N: int) -> tuple[np.ndarray, np.ndarray]:
    return _seen(nash_md.run_self(Exact(model), nash_md.Params(N, ETA), np.random.default_rng(0)), 1)


def _mp(model: PreferenceModel, N: int) -> tuple[np.ndarray, np.ndarray]:
    return _seen(nash_mp.run(Exact(model), nash_mp.theory(N // 2), np.random.default_rng(0)), 2)


def _spo(model: PreferenceModel, N: int) -> tuple[np.ndarray, np.ndarray]:
    """Without the KL weight: what SPO returns is an average, and its last policy circles the winner of p itself."""
    result = spo.run(Exact(model), spo.theory(N + 1, model.Y), np.random.default_rng(0))
    return np.arange(N + 1), result.trace.info["log_pi"]  # type: ignore[union-attr]


def _seen(result: Any, each: int) -> tuple[np.ndarray, np.ndarray]:
    """Queries made before each policy, and log-policies (., Y) of the first prompt."""
    logs = log_policies(result)[:, 0]
    return each * np.arange(len(logs)), logs


# name: (model, queries) -> queries before each policy, log-policies; one line here adds a learner to the right panel
LEARNERS: dict[str, Learner] = {
    f"mirror descent, $\\eta={ETA:g}$": _self_play,
    "Nash-MD": _md,
    "Nash mirror prox": _mp,
    "SPO (no KL weight)": _spo,
    "MMD, $\\eta=\\beta/L^2$": mmd.learner,
}


def compute(rows: Any = None) -> dict[str, np.ndarray]:
    """KL, exploitability and span of mirror prox and Nash-MD, and KL of all learners; no claim's rows enter."""
    m = reference()
    log_star = nash(m.p[0], m.pi_ref[0], m.beta)[0]
    out: dict[str, np.ndarray] = {}
    both: dict[str, Learner] = {"mp": _mp, "md": _md}
    for name, learner in both.items():
        N, logs = learner(m, QUERIES)
        out |= {f"{name} N": N, f"{name} KL": divergence(log_star, logs),
                f"{name} span": np.ptp(logs - log_star, axis=-1),
                f"{name} gap": regularised_gap(m.p[0], logs, np.log(m.pi_ref[0]), m.beta)}
    out["rate"] = out["mp KL"][0] * (1 + 2 * m.beta) ** (-out["mp N"] / 2)
    for name, learner in LEARNERS.items():
        N, logs = learner(m, LONG)
        kept = np.unique(np.concatenate([np.arange(min(40, len(N))), np.geomspace(1, len(N) - 1, 200).astype(int)]))
        out[f"{name} N"], out[name] = N[kept], divergence(log_star, logs[kept])
    return out


def draw(data: Mapping[str, np.ndarray], figure: Any, verdicts: Mapping[str, str] | None = None) -> None:
    """Left on a log axis against queries, right log-log, cut at rounding."""
    figure.set_size_inches(1.4 * style.WIDTH, 1.35 * style.HEIGHT)
    left, right = figure.subplots(1, 2)
    for i, (part, label) in enumerate((("KL", "$\\mathrm{KL}(\\pi^*\\,\\|\\,\\pi)$"), ("gap", "SubOpt$(\\pi)$"),
                                       ("span", "span$(\\log\\pi-\\log\\pi^*)$"))):
        left.plot(data["mp N"], _cut(data[f"mp {part}"]), label=label, markevery=(2 * i, 8), **style.line(i))
    left.plot(data["md N"], data["md KL"], label="KL of Nash-MD", markevery=(5, 16), **style.line(4))
    left.plot(data["mp N"], data["rate"], color="0.4", linestyle=":", lw=1.2, label="$\\propto(1+2\\beta)^{-N/2}$")
    left.set(yscale="log", xlabel="queries $N$ ($N=2K$)", ylabel="distance to $\\pi^*$", ylim=(1e-16, 10),
             title="Nash mirror prox, $\\beta=0.1$")
    for i, name in enumerate(LEARNERS):
        right.plot(data[f"{name} N"][1:], _cut(data[name])[1:], label=name, markevery=(4 * i, 24), **style.line(i))
    right.set(xscale="log", yscale="log", xlabel="queries $N$", ylabel="$\\mathrm{KL}(\\pi^*\\,\\|\\,\\pi)$",
              ylim=(1e-16, 10), title="last iterates, the same instance")
    for ax in (left, right):
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.17), ncols=2, frameon=False, fontsize=7)
    for name in ("C1", "C1-many", "C2-run", "C3-run"):
        if verdicts and name in verdicts:
            style.note(left, f"{name}: {verdicts[name]}")


def _cut(values: np.ndarray) -> np.ndarray:
    return np.where(values > FOOT, values, np.nan)
