"""The rules of worlds, and how a broken one comes to light.

A verb used against a rule draws nothing, moves nothing, counts nothing, returns zeros and leaves the mark
``world.fault[rule] = 1``. It does not raise: a kernel with a raise in it counts references at every verb, at several
times the cost of the verb. `mdpkit.drive` reads the marks when the kernel returns and lets nothing of its answer out.
The store of the mark is unconditional (slot `FINE` is never read), for a store under a condition costs as much.
"""

from __future__ import annotations

import numpy as np

FINE, OUTSIDE, ACTION, STARTED, RESET, PLACE, QUESTION, EARLY = range(8)
SENTENCES = {
    OUTSIDE: "step outside an episode; call start first",
    ACTION: "the action is out of range",
    STARTED: "start may be called once only on a stream",
    RESET: "reset to a step and state that are not allowed",
    PLACE: "ask at a step or state that does not exist",
    QUESTION: "ask about a prompt or response that does not exist",
    EARLY: "the context is told after an episode only",
}


def unbroken() -> np.ndarray:
    """One mark for each kind of fault, none set."""
    return np.zeros(1 + len(SENTENCES), np.int64)


def broken(fault: np.ndarray) -> str:
    """The sentences of the rules broken since the last look, or an empty string; forgets them."""
    said = ", and ".join(sentence for rule, sentence in SENTENCES.items() if fault[rule])
    fault[:] = 0
    return said
