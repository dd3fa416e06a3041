"""The progress bar of long commands: rows done, and how long the rest of the batch takes by stored timings."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def bar(title: str = "", wanted: bool = True) -> Iterator[Callable[[int, int, float], None] | None]:
    """A `progress` for `verify_all`; None where no person looks on."""
    if not wanted or not sys.stderr.isatty():
        yield None
        return
    from tqdm import tqdm

    with tqdm(total=0, desc=title or None, unit="row", dynamic_ncols=True, leave=False) as inner:
        def update(done: int, total: int, eta: float) -> None:
            inner.total, inner.n = total, done
            inner.set_postfix_str(f"about {eta:.0f} s of this batch left")

        yield update
