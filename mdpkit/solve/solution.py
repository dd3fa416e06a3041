"""What an exact solver returns: an enclosure, proven for the world as stored, and the policy that it comes from."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from mdpkit import validate
from mdpkit.errors import MdpkitError, NotCertified

TIERS = ("float", "ball", "exact")


def tolerance(tol: Any, default: float) -> float:
    """``tol`` as a width, or the default; math.inf asks for whatever can be proven."""
    if tol is None:
        return default
    if isinstance(tol, float) and tol == math.inf:
        return tol
    return validate.interval("tol", tol, 0.0, math.inf)


@dataclass(frozen=True, eq=False)
class Certificate:
    """How an enclosure was proven.

    Attributes
    ----------
    tier : {"float", "ball", "exact"}
        Floats with a bound on every rounding, balls of arbitrary precision, or rationals.
    method : str
    tol : float
        The width that was asked for.
    seconds : float
        Wall time, compiling included.
    exact : tuple of Fraction or None
        The exact optimal values in the rational tier, flat.
    note : str
    """

    tier: str
    method: str
    tol: float
    seconds: float
    exact: tuple[Fraction, ...] | None = None
    note: str = ""


@dataclass(frozen=True, eq=False)
class Solution:
    """Certified values: ``lo <= V* <= hi`` entrywise.

    Attributes
    ----------
    value : array (S,) or (H, S)
        A point of the enclosure.
    lo, hi : arrays like ``value``
        The value of ``policy`` is at least ``lo`` too.
    policy : int array like ``value``, or probabilities
        The lowest-numbered action that attains the computed maximum; probabilities for regularised problems.
    optimal : bool array (..., A)
        Which actions may be optimal: all whose enclosure reaches ``lo``. Exactly the optimal ones in tier "exact".
    iterations : int
    certificate : Certificate
    """

    value: np.ndarray
    lo: np.ndarray
    hi: np.ndarray
    policy: np.ndarray
    optimal: np.ndarray
    iterations: int
    certificate: Certificate

    @property
    def width(self) -> float:
        """max(hi - lo); states whose value is known to be infinite do not count."""
        lo, hi, widest = self.lo.ravel(), self.hi.ravel(), 0.0
        for i in range(0, lo.size, 2**16):          # block by block: no array of the widths
            a, b = lo[i : i + 2**16], hi[i : i + 2**16]
            widest = max(widest, float(np.subtract(b, a, out=np.zeros(len(a)), where=b != a).max()))
        return widest

    @property
    def ties(self) -> int:
        """States in which more than one action may be optimal."""
        return int((self.optimal.sum(-1) > 1).sum())

    def at(self, rho: Any) -> tuple[float, float]:
        """Enclosure of the mean of the first-step values under the law rho."""
        lo, hi = (x[0] if x.ndim == 2 else x for x in (self.lo, self.hi))
        rho = validate.simplex("rho", rho, lo.shape, flush=True)
        slack = lo.size * 2.0**-52 * float(np.abs(np.concatenate([lo, hi])).max())
        return float(np.dot(rho, lo)) - slack, float(np.dot(rho, hi)) + slack

    def __repr__(self) -> str:
        c = self.certificate
        return (f"Solution({c.tier}, {c.method}: width {self.width:.2g} (asked {c.tol:.2g}), "
                f"{self.iterations} iterations, {c.seconds:.3g} s, {self.ties} states with ties)")

    def _repr_html_(self) -> str:
        c = self.certificate
        head = f"<b>{c.method}</b>, tier {c.tier}: width {self.width:.2g} where {c.tol:.2g} was asked, " \
               f"{self.iterations} iterations, {c.seconds:.3g} s"
        first = self.value[0] if self.value.ndim == 2 else self.value
        lo, hi = (x[0] if x.ndim == 2 else x for x in (self.lo, self.hi))
        body = "".join(f"<tr><td>{s}</td><td>{v:.8g}</td><td>[{a:.17g}, {b:.17g}]</td></tr>"
                       for s, (v, a, b) in enumerate(zip(first[:12], lo, hi)))
        more = f"<tr><td colspan=3>and {first.size - 12} more states</td></tr>" if first.size > 12 else ""
        return f"<table><caption>{head}</caption><tr><th>state<th>value<th>proven</tr>{body}{more}</table>"


def finish(solution: Solution, hint: str, *, infinite: bool = False) -> Solution:
    """The solution, if its enclosure is as narrow as asked; NotCertified carries it otherwise.

    With ``infinite`` values may be, as long as both bounds say so.
    """
    for part in (solution.value, solution.lo, solution.hi, solution.policy, solution.optimal):
        part.flags.writeable = False
    tol = solution.certificate.tol
    if not (infinite or (np.isfinite(solution.lo).all() and np.isfinite(solution.hi).all())):
        raise MdpkitError("r", "small enough for float64 values", None, "rescale the rewards", came="values overflow")
    if solution.width > tol:
        raise NotCertified(solution, tol, hint)
    return solution
