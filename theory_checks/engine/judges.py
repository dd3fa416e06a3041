"""The judges: what the rows of one world say about a claim.

A sure claim is SUPPORTED when no registered world violates it, REFUTED by one that does. A statistical claim is
SUPPORTED when "the claim is violated" was rejected at the level fixed before the run, REFUTED when "the claim holds"
was rejected at the full level; otherwise INCONCLUSIVE. Rows come in fixed batches and are read in index order, so
that neither workers nor luck with the order can move a verdict.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.special import stdtrit

from theory_checks.engine.claims import INCONCLUSIVE, REFUTED, SUPPORTED, Decision
from theory_checks.engine.rows import excess, tightness
from theory_checks.engine.statistics import Slope, bet, failure_evidence, increments, slope, window_slopes

BATCH = 32


@dataclass(frozen=True)
class Sure:
    """Identities, bounds and monotone sequences that hold in every world.

    Each row gives ``measured``, ``bound`` and ``slack``: a violation is measured > bound + slack. Slack is the
    rounding of the measurement, c n u scale conditioning, derived beside the check; in evidence EXACT (rationals)
    and CERTIFIED (enclosures: measured from below, bound from above) it is 0. ``examples`` is the size of the
    search where worlds come from a strategy.
    """

    evidence: str = "SEARCHED"
    examples: int = 100

    @property
    def statistical(self) -> bool:
        return False

    def more(self, n: int, rigor: str) -> int:
        return 1 if n == 0 else 0

    def decide(self, rows: list[dict], alpha: float, alpha_refute: float) -> Decision:
        if not rows:
            return Decision(INCONCLUSIVE, 0, "no rows", math.nan, math.inf)
        worst = max(rows, key=excess)
        n = sum(int(row.get("examples", 1)) for row in rows)
        violated = excess(worst) > 0
        slack = max(float(row.get("slack", 0)) for row in rows)
        text = f"worst measured {float(worst['measured']):.6g} against {float(worst['bound']):.6g}" + (
            f" + {float(worst['slack']):.2g} for rounding" if worst.get("slack") else "")
        effect = max((tightness(row) for row in rows), default=math.nan)
        return Decision(REFUTED if violated else SUPPORTED, n, text, effect, slack, where=worst)


@dataclass(frozen=True)
class HighProbability:
    """Fails with probability at most ``delta``: one bit a run, ``failed``, or measured > bound.

    Mixture e-process: may stop or be extended at any run.
    """

    delta: float
    cap: int = 2048
    evidence: str = "STATISTICAL"

    @property
    def statistical(self) -> bool:
        return True

    def more(self, n: int, rigor: str) -> int:
        return min(BATCH, self.cap - n)

    def decide(self, rows: list[dict], alpha: float, alpha_refute: float) -> Decision:
        failed = np.array([bool(r["failed"]) if "failed" in r else excess(r) > 0 for r in rows])
        against_violation, against_claim = failure_evidence(failed, self.delta)
        verdict, n = _first(against_violation >= 1 / alpha, against_claim >= 1 / alpha_refute)
        k = int(failed[:n].sum())
        ratios = [tightness(r) for r in rows[:n] if "bound" in r and float(r["bound"]) > 0]
        text = f"{k} of {n} runs failed (delta {self.delta:g}; e {against_violation[n - 1]:.3g} for, " \
               f"{against_claim[n - 1]:.3g} against)"
        needs = None
        if verdict == INCONCLUSIVE and k < self.delta * n:
            rate = math.log(against_violation[n - 1]) / n if against_violation[n - 1] > 1 else 0.0
            needs = math.ceil(math.log(1 / alpha) / rate) if rate > 0 else None
        where = rows[int(np.argmax(failed))] if k else None
        return Decision(verdict, n, text, max(ratios) if ratios else k / n / self.delta, 1 - alpha ** (1 / n), needs,
                        where)


@dataclass(frozen=True)
class Expectation:
    """E[measured] <= bound, for ``measured`` in [low, high]: betting e-process on the rescaled quantity.

    ``bound`` is the same in every row of a world. With ``above=True`` the claim is E[measured] >= bound.
    """

    low: float
    high: float
    above: bool = False
    cap: int = 2048
    evidence: str = "STATISTICAL"

    @property
    def statistical(self) -> bool:
        return True

    def more(self, n: int, rigor: str) -> int:
        return min(BATCH, self.cap - n)

    def decide(self, rows: list[dict], alpha: float, alpha_refute: float) -> Decision:
        x = np.array([float(r["measured"]) for r in rows])
        bound = float(rows[0]["bound"])
        if (x < self.low).any() or (x > self.high).any() or not self.low < bound < self.high:
            raise ValueError(f"measured must lie in [{self.low}, {self.high}] and the bound inside; they are "
                             f"{x.min():g} to {x.max():g} and {bound:g}")
        unit, at = (x - self.low) / (self.high - self.low), (bound - self.low) / (self.high - self.low)
        low_side, high_side = bet(unit, at)
        supports, refutes = (high_side, low_side) if self.above else (low_side, high_side)
        verdict, n = _first(supports >= 1 / alpha, refutes >= 1 / alpha_refute)
        mean = float(x[:n].mean())
        text = f"mean {mean:.4g} of {n} runs against {bound:.4g} (e {supports[n - 1]:.3g} for, " \
               f"{refutes[n - 1]:.3g} against)"
        return Decision(verdict, n, text, mean / bound if bound else math.inf, 1 - alpha ** (1 / n))


@dataclass(frozen=True)
class Rate:
    """E[R_T] = O(claimed(T)): trajectories with ``measured`` an array over the registered ``horizons``.

    Level test and increment test, each against half the log-slope to the rival, the next faster rate. ``resolution``
    times the claimed curve is added to what is measured: a run without further regret has a logarithm, and growth
    below that share of the curve is not seen. Student's t is asymptotic, hence half the level.
    """

    horizons: tuple[int, ...]
    claimed: Callable[[np.ndarray], np.ndarray]
    rival: Callable[[np.ndarray], np.ndarray]
    n: int = 128
    n_full: int = 256
    resolution: float = 1e-3
    evidence: str = "ASYMPTOTIC"

    @property
    def statistical(self) -> bool:
        return True

    def more(self, n: int, rigor: str) -> int:
        return max((self.n_full if rigor == "full" else self.n) - n, 0)

    def slopes(self, rows: list[dict]) -> tuple[Slope, Slope]:
        """The level test's and the increment test's."""
        T = np.array(self.horizons, float)
        R = np.array([np.asarray(r["measured"], float) for r in rows])
        claimed, rival = self.claimed(T), self.rival(T)
        steps = np.maximum(increments(R), 0.0) + self.resolution * np.diff(claimed)
        return (slope(R + self.resolution * claimed, T, claimed, rival),
                slope(steps, T[1:], np.diff(claimed), np.diff(rival)))

    def decide(self, rows: list[dict], alpha: float, alpha_refute: float) -> Decision:
        if not all(np.isfinite(np.asarray(r["measured"], float)).all() for r in rows):
            return Decision(REFUTED, len(rows), "some run's regret is not finite", math.inf, 0.0)
        level, step = self.slopes(rows)
        upper = max(s.limits(alpha / 2)[1] - s.margin for s in (level, step))
        # both must support, but either may refute: the level of refuting is divided
        lower = max(s.limits(alpha_refute / 4)[0] - s.margin for s in (level, step))
        verdict = SUPPORTED if upper < 0 else REFUTED if lower > 0 else INCONCLUSIVE
        text = "; ".join(f"{name}: log-slope over the claimed {s.estimate:+.3f} +- {s.error:.3f}, margin "
                         f"{s.margin:.3f}" for name, s in (("levels", level), ("increments", step)))
        effect = max(s.estimate / s.margin for s in (level, step))
        needs = [s.needs(alpha / 2) for s in (level, step)]
        wanted = max((k for k in needs if k), default=None) if verdict == INCONCLUSIVE else None
        return Decision(verdict, len(rows), text, effect, 1 - alpha ** (1 / len(rows)), wanted)


@dataclass(frozen=True)
class LinearRate:
    """error_k <= C rho^k for noisy iterations: ``measured`` holds the errors of one run.

    Sure linear rates, step by step, are bounds: use `Sure`.
    """

    rho: float
    rival: float
    floor: float
    n: int = 64
    evidence: str = "ASYMPTOTIC"

    @property
    def statistical(self) -> bool:
        return True

    def more(self, n: int, rigor: str) -> int:
        return max((2 if rigor == "full" else 1) * self.n - n, 0)

    def decide(self, rows: list[dict], alpha: float, alpha_refute: float) -> Decision:
        per_run = window_slopes(np.array([np.asarray(r["measured"], float) for r in rows]), self.floor)
        n = len(per_run)
        margin = 0.5 * math.log(self.rival / self.rho)
        excess = per_run.mean(0) - math.log(self.rho) - margin
        error = per_run.std(0, ddof=1) / math.sqrt(n)
        # all windows must support, but any may refute: only the level of refuting is divided among them
        reach = float(stdtrit(n - 1, 1 - alpha / 2)), float(stdtrit(n - 1, 1 - alpha_refute / 6))
        upper, lower = (excess + reach[0] * error).max(), (excess - reach[1] * error).max()
        verdict = SUPPORTED if upper < 0 else REFUTED if lower > 0 else INCONCLUSIVE
        text = "slopes over all, second half, last quarter: " + ", ".join(
            f"{math.exp(s):.4f}" for s in per_run.mean(0)) + f" a step against {self.rho:.4f}"
        return Decision(verdict, n, text, float((excess.max() + margin) / margin), 1 - alpha ** (1 / n))


@dataclass(frozen=True)
class Separation:
    """Several statements about paired runs at once: supported when each is, each at the full level.

    ``parts`` maps a key to a judge; row[key] is that judge's row.
    """

    parts: tuple[tuple[str, Any], ...]

    @property
    def evidence(self) -> str:
        kinds = {judge.evidence for _, judge in self.parts}
        return "ASYMPTOTIC" if "ASYMPTOTIC" in kinds else "STATISTICAL"

    @property
    def statistical(self) -> bool:
        return True

    def more(self, n: int, rigor: str) -> int:
        return min(BATCH, max(judge.more(n, rigor) for _, judge in self.parts))

    def decide(self, rows: list[dict], alpha: float, alpha_refute: float) -> Decision:
        share = alpha_refute / len(self.parts)       # any part may refute, so the level of refuting is divided
        said = []
        for key, judge in self.parts:
            mine = [r[key] for r in rows]
            wanted = getattr(judge, "n", None)       # a test at a registered number of runs is read there, and once
            mine = mine[:wanted]
            d = judge.decide(mine, alpha, share)
            said.append((key, replace(d, verdict=INCONCLUSIVE) if wanted and len(mine) < wanted else d))
        verdicts = {d.verdict for _, d in said}
        verdict = REFUTED if REFUTED in verdicts else SUPPORTED if verdicts == {SUPPORTED} else INCONCLUSIVE
        text = "; ".join(f"{key}: {d.verdict.lower()}, {d.statistic}" for key, d in said)
        needs = [d.needs for _, d in said if d.needs]
        return Decision(verdict, max(d.n for _, d in said), text, max(d.effect for _, d in said),
                        max(d.visible for _, d in said), max(needs) if needs else None)


def _first(supports: np.ndarray, refutes: np.ndarray) -> tuple[str, int]:
    """The first decision in index order, and the number of runs that it took."""
    s = int(np.argmax(supports)) if supports.any() else len(supports)
    r = int(np.argmax(refutes)) if refutes.any() else len(refutes)
    if s == r:                                        # neither: they cannot both be the first
        return INCONCLUSIVE, len(supports)
    return (SUPPORTED, s + 1) if s < r else (REFUTED, r + 1)
