"""The errors of the house: every one says where, what was wanted, what came, and how to mend it."""

from __future__ import annotations

from typing import Any


class MdpkitError(ValueError):
    """A call that cannot be served.

    Attributes
    ----------
    where : str
        The argument and the index at fault, such as ``P[1, 0, :]``.
    value : object
        What came.
    hint : str
        How to mend it, or an empty string.
    """

    def __init__(self, where: str, wanted: str, value: Any = None, hint: str = "", *, came: str | None = None):
        self.where, self.value, self.hint = where, value, hint
        got = came if came is not None else f"it is {_short(value)}"
        super().__init__(f"{where} must be {wanted}; {got}" + (f" ({hint})" if hint else ""))


class NotCertified(MdpkitError):
    """An exact solver could not reach the tolerance. ``solution`` holds the best proven enclosure."""

    def __init__(self, solution: Any, tol: float, hint: str):
        self.solution = solution
        width = solution.width
        super().__init__("tol", "reachable in this tier", tol, hint,
                         came=f"the best proven enclosure is {width:.3g} wide where {tol:.3g} was asked; "
                              "it is in .solution")


class AccessDenied(MdpkitError):
    """A learner asked for what its access does not grant."""


class CoverageError(MdpkitError):
    """A ratio or a logarithm needs mass where the reference law has none. ``value`` lists the index tuples."""


class MissingPackage(MdpkitError):
    """An optional package is not installed: an extra of ours brings it, or the command that is named."""

    def __init__(self, package: str, extra: str = "", how: str = ""):
        super().__init__(package, "installed for this call", None, how or f"pip install 'mdpkit[{extra}]'",
                         came="it is not")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
