"""`verify`: from a check to a verdict. Rows are fetched or run in fixed batches until each case is decided."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mdpkit import papers, validate
from mdpkit.errors import MdpkitError
from theory_checks.engine import codec, subjects
from theory_checks.engine.claims import (
    INCONCLUSIVE,
    REFUTED,
    SUPPORTED,
    Check,
    Control,
    Decision,
    Saboteur,
    Verdict,
)
from theory_checks.engine.engines import Engine, Serial
from theory_checks.engine.store import Store
from theory_checks.engine.tasks import Task, is_registered, name_of, run

QUICK_ALPHA = 0.05
FAMILY_ALPHA = 0.05
PAPERS = 256                # each paper owns FAMILY_ALPHA/PAPERS for ever: a new one changes no old verdict

Progress = Callable[[int, int, float], None]


@dataclass
class _Case:
    """One subject in one world: the rows so far."""

    check: Check
    subject: str | Callable
    world: str
    saboteur: Saboteur | None
    rows: list[dict] = field(default_factory=list)
    decision: Decision | None = None


def full_alpha(check: Check) -> float:
    """The share of one statistical claim in the family-wise 0.05: 0.05/256 over those of its paper."""
    ours = papers.get(check.claim.slug).checks if subjects.is_ours(check) else ()
    peers = [c for c in ours if c.judge.statistical]
    return FAMILY_ALPHA / PAPERS / max(len(peers), 1)


def verify(check: Check, subject: str | Callable | None = None, rigor: str = "quick", *, store: Store | None = None,
           engine: Engine | None = None) -> Verdict:
    """Judge one claim.

    Parameters
    ----------
    check : Check
    subject : function or "pkg.mod:function", optional
        Held to the claim in place of the house's own entry; same signature. Closures and notebook functions run in
        this process and are not stored.
    rigor : {"quick", "full"}
        alpha 0.05 for this claim, or its share of a family-wise 0.05. Both read the same rows.
    store, engine : optional
        Where rows are kept (in memory), and where tasks run (here).

    Returns
    -------
    Verdict

    Raises
    ------
    MdpkitError
        The subject's signature does not fit the entry; the message prints the one expected.
    """
    return verify_all([check], {check.entry: subject} if subject is not None else {}, rigor, store=store,
                      engine=engine)[0]


def verify_all(checks: Sequence[Check], subjects_by_entry: Mapping[str, str | Callable] | None = None,
               rigor: str = "quick", *, store: Store | None = None, engine: Engine | None = None,
               progress: Progress | None = None, controls: bool = True) -> list[Verdict]:
    """`verify` for many checks at once, so that an engine is kept busy. Checks about other entries are left out."""
    validate.choice("rigor", rigor, ("quick", "full"))
    given = dict(subjects_by_entry or {})
    for entry, function in given.items():
        for check in checks:
            if check.entry == entry:
                subjects.fit(check, function)
    chosen = [c for c in checks if not given or c.entry in given]
    store, engine = store or Store(), engine or Serial()
    cases = [case for check in chosen for case in _cases(check, given.get(check.entry), controls)]
    clock = time.perf_counter()
    _decide_all(cases, rigor, store, engine, progress)
    seconds = time.perf_counter() - clock
    return [_verdict(check, [c for c in cases if c.check is check], rigor, seconds) for check in chosen]


def rows_of(check: Check, n: int, *, world: int = 0, subject: str | None = None, store: Store | None = None,
            engine: Engine | None = None) -> list[dict]:
    """The first n rows of one world of a check, for figures: the judge's own, run only where they are missing."""
    if callable(check.worlds):
        raise MdpkitError("check", "one with registered worlds", check.name)
    setting = codec.canonical(check.worlds[validate.count("world", world, 0, len(check.worlds) - 1)])
    case = _Case(check, subject or subjects.own(check), setting, None)
    batch = [(case, _task(case, i)) for i in range(validate.count("n", n))]
    rows = [codec.decode(row) for row in _rows(batch, store or Store(), engine or Serial(), 0, None)]
    for row in rows:
        if "error" in row:
            raise MdpkitError("check", "one whose rows can be run", row["error"])
    return rows


def _cases(check: Check, subject: str | Callable | None, controls: bool) -> list[_Case]:
    if subject is None and not subjects.is_ours(check):
        raise MdpkitError("subject", f"given: {check.claim.slug} is no paper here", None)
    named = subject if subject is None or isinstance(subject, str) else (name_of(subject) or subject)
    own: str | Callable = subjects.own(check) if subjects.is_ours(check) else named  # type: ignore[assignment]
    worlds = ["{}"] if callable(check.worlds) else [codec.canonical(w) for w in check.worlds]
    cases = [_Case(check, named or own, w, None) for w in worlds]
    for saboteur in check.saboteurs if controls else ():
        for w in worlds:
            setting = codec.canonical({**codec.decode(_loads(w)), **(saboteur.world or {})})
            cases.append(_Case(check, saboteur.subject or own, setting, saboteur))
    return cases


def _decide_all(cases: list[_Case], rigor: str, store: Store, engine: Engine, progress: Progress | None) -> None:
    done = 0
    while True:
        batch: list[tuple[_Case, Task]] = []
        for case in _next(cases):
            if case.decision is None:
                more = case.check.judge.more(len(case.rows), rigor)
                batch += [(case, _task(case, len(case.rows) + i)) for i in range(more)]
        if not batch:
            return
        rows = _rows(batch, store, engine, done, progress)
        done += len(rows)
        for (case, _), row in zip(batch, rows):
            case.rows.append(codec.decode(row))
        for case in cases:
            if case.decision is None and case.rows:
                case.decision = _judged(case, rigor)


def _next(cases: list[_Case]) -> list[_Case]:
    """Every case of a subject; of a saboteur the last undecided world, until it is caught in one."""
    out, waiting = [], set()
    for case in reversed(cases):
        twin = (id(case.check), id(case.saboteur))
        if case.saboteur is None:
            out.append(case)
        elif case.decision is None and twin not in waiting:
            out.append(case)
            waiting.add(twin)
        elif case.decision is not None and case.decision.verdict == REFUTED:
            waiting.add(twin)
    return out[::-1]


def _judged(case: _Case, rigor: str) -> Decision | None:
    """A decision, or None while more rows may come."""
    errors = [r["error"] for r in case.rows if "error" in r]
    if errors:
        return Decision(INCONCLUSIVE, len(case.rows), f"it raised {errors[0]}", math.nan, math.inf)
    judge = case.check.judge
    refuting = full_alpha(case.check) if judge.statistical else 0.0
    said = judge.decide(case.rows, QUICK_ALPHA if rigor == "quick" else refuting, refuting)
    if said.verdict == INCONCLUSIVE and judge.more(len(case.rows), rigor) > 0:
        return None
    return said


def _task(case: _Case, replicate: int) -> Task:
    name = case.subject if isinstance(case.subject, str) else "local:subject"
    return Task(case.check.claim.slug, case.check.claim.id, case.world, replicate, name)


def _rows(batch: list[tuple[_Case, Task]], store: Store, engine: Engine, before: int,
          progress: Progress | None) -> list[dict]:
    found: dict[int, dict] = {}
    keys: dict[int, str] = {}
    missing: list[int] = []
    for i, (case, task) in enumerate(batch):
        if callable(case.subject) or not is_registered(case.check):
            found[i] = run(task, case.subject if callable(case.subject) else None, case.check)
            continue
        keys[i] = task.key
        row = store.get(keys[i])
        if row is None:
            missing.append(i)
        else:
            found[i] = row
    ahead = Counter((batch[i][1].slug, batch[i][1].claim) for i in missing)
    eta = sum(n * (store.typical_seconds(*claim) or 0.1) for claim, n in ahead.items())
    for j, row, seconds, status in engine.map([batch[i][1] for i in missing]):
        i = missing[j]
        store.put(batch[i][1], keys[i], row, seconds, status)
        found[i] = row
        eta -= seconds
        if progress:
            progress(before + len(found), before + len(batch), max(eta, 0.0))
    return [found[i] for i in range(len(batch))]


def _verdict(check: Check, cases: list[_Case], rigor: str, seconds: float) -> Verdict:
    mine = [c.decision for c in cases if c.saboteur is None and c.decision]
    controls = []
    for saboteur in check.saboteurs:
        theirs = [c.decision for c in cases if c.saboteur is saboteur and c.decision]
        if theirs:
            controls.append(Control(saboteur, _over_worlds(theirs, any_refutes=True)))
    first = next(c for c in cases if c.saboteur is None)
    name = first.subject if isinstance(first.subject, str) else getattr(first.subject, "__qualname__", "local")
    alpha = None if not check.judge.statistical else QUICK_ALPHA if rigor == "quick" else full_alpha(check)
    return Verdict(check, name, rigor, alpha, _over_worlds(mine), tuple(controls), subjects.note(check),
                   sum(len(c.rows) for c in cases), seconds, tuple(mine))


def _over_worlds(said: Iterable[Decision], any_refutes: bool = True) -> Decision:
    """A claim about several worlds holds when it holds in each (intersection-union: no level is split)."""
    said = list(said)
    for verdict in (REFUTED, INCONCLUSIVE):
        these = [d for d in said if d.verdict == verdict]
        if these:
            worst = max(these, key=lambda d: d.effect if not math.isnan(d.effect) else -math.inf)
            return worst
    worst = max(said, key=lambda d: d.effect if not math.isnan(d.effect) else -math.inf)
    return Decision(SUPPORTED, sum(d.n for d in said), worst.statistic, worst.effect, max(d.visible for d in said),
                    None, worst.where)


def _loads(text: str) -> Any:
    import json

    return json.loads(text)


def checks_of(slugs: Iterable[str]) -> list[Check]:
    """The checks named by ``SLUG`` or ``SLUG/C1``; of all papers where none is named."""
    wanted = list(slugs) or list(papers.find())
    out = []
    for name in wanted:
        slug, _, claim = name.partition("/")
        checks = papers.get(slug).checks
        picked = [c for c in checks if not claim or c.claim.id == claim]
        if not picked:
            raise MdpkitError("claim", f"one of {', '.join(c.claim.id for c in checks)} of {slug}", claim)
        out += picked
    return out
