"""Thompson sampling: mean regret on Bernoulli arms (.9, .6, .5, .2) beside UCB1, KL-UCB, the leader; Bayesian regret.

Left, n on a logarithmic axis: Thompson sampling and KL-UCB (c = 0) grow about as fast as the line whose slope in ln n
Lai and Robbins prove least, UCB1 tenfold; the leader, by posterior means, leaves the picture. Right: four arms whose
means are uniform, below sqrt(K n ln K/2).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from algorithms.bandits import thompson, ucb1
from figures.engine import style
from mdpkit.access import Episodes
from mdpkit.measure.regret import Regret
from mdpkit.models.bandits import Bandit
from theory_checks.bandits._thompson_twins import leader
from theory_checks.bandits.thompson import FOUR

K = 4
NAMES: dict[str, tuple[Callable, Callable]] = {
    "Thompson": (thompson.run, thompson.theory), "UCB1": (ucb1.run, ucb1.theory),
    "KL-UCB": (ucb1.run_kl, lambda n: ucb1.Params(n, c=0.0)), "leader": (leader, thompson.theory)}


def compute(rows: Any, n: int = 10_000, runs: int = 100, bayes: int = 1000, priors: int = 200) -> dict[str, np.ndarray]:
    """Mean regret and its standard error (2, len(n)), for means given and, of Thompson sampling, for means drawn."""
    shown, rounds = (np.unique(np.geomspace(4, k, 40).astype(np.int64)) for k in (n, bayes))
    out = {"n": shown, "least": ucb1.lai_robbins(FOUR) * np.log(shown), "rounds": rounds,
           "bound": np.array([thompson.bayes_bound(K, int(k)) for k in rounds])}
    for name in NAMES:
        out[f"run {name}"] = _means([_path(name, Bandit(FOUR), n, seed)[shown - 1] for seed in range(runs)])
    drawn = [Bandit(np.random.default_rng(seed).random(K)) for seed in range(priors)]
    out["bayes"] = _means([_path("Thompson", model, bayes, i)[rounds - 1] for i, model in enumerate(drawn)])
    return out


def _path(name: str, model: Bandit, n: int, seed: int) -> np.ndarray:
    run, theory = NAMES[name]
    watch, rng = Regret(model), np.random.default_rng(seed)
    run(Episodes(model, rng, watch=watch), theory(n), np.random.default_rng(seed + 10**6))
    return watch.regret


def _means(curves: list[np.ndarray]) -> np.ndarray:
    return np.array([np.mean(curves, 0), np.std(curves, 0) / np.sqrt(len(curves))])


def draw(data: Mapping[str, np.ndarray], figure: Any, verdicts: Mapping[str, str] | None = None) -> None:
    """Two axes; bands of two standard errors."""
    figure.set_size_inches(1.35 * style.WIDTH, 1.1 * style.HEIGHT)
    left, right = figure.subplots(1, 2)
    for i, name in enumerate(NAMES):
        _band(left, data["n"], data[f"run {name}"], i, name)
    left.plot(data["n"], data["least"], color="k", lw=1.0, linestyle=":", label="Lai-Robbins: $2.26\\,\\ln n$")
    left.set(xscale="log", xlabel="plays $n$", ylabel="mean regret $\\mathrm{E}\\,R_n$ (sum of gaps)",
             xlim=(data["n"][0], data["n"][-1]), ylim=(0, 1.25 * data["run UCB1"][0, -1]),
             title="Bernoulli arms (.9, .6, .5, .2)")
    left.legend(frameon=False, loc="upper left")
    _band(right, data["rounds"], data["bayes"], 0, "Thompson")
    right.plot(data["rounds"], data["bound"], color="0.4", lw=1.0, linestyle=(0, (5, 2)),
               label="$\\sqrt{K n\\,\\ln K/2}$")
    right.set(xlabel="plays $n$", ylabel="mean regret over priors (sum of gaps)", ylim=(0, 1.25 * data["bound"][-1]),
              xlim=(0, data["rounds"][-1]), title=f"Bayesian, ${K}$ arms, uniform means")
    right.legend(frameon=False, loc="upper left")
    said = [f"{name}: {verdicts[name]}" for name in ("C2", "C3") if verdicts and name in verdicts]
    if said:
        style.note(left, "\n".join(said))


def _band(ax: Any, x: np.ndarray, mean_error: np.ndarray, i: int, name: str) -> None:
    mean, error = mean_error
    ax.plot(x, mean, label=name, markevery=(i * 2, 8), **style.line(i))
    ax.fill_between(x, mean - 2 * error, mean + 2 * error, color=style.COLOURS[i], alpha=0.15, lw=0)
