"""``mdpkit solve model.tra --objective ...`` and ``mdpkit solve game.nfg``: models and games of other tools."""

from __future__ import annotations

import json
import math
from fractions import Fraction
from typing import Any

import click
import numpy as np

from mdpkit.errors import MdpkitError, NotCertified

FIRST = 20                   # states that are printed
OBJECTIVES = ("reach:LABEL", "min-reach:LABEL", "reward:LABEL", "min-reward:LABEL", "average", "discounted")


def tell(source: str, objective: str | None, gamma: float | None, tol: float | None, tier: str, as_json: bool) -> bool:
    """Solve, print, and say whether it was certified."""
    made = _game(source, tol) if source.endswith(".nfg") else _chain(source, objective, gamma, tol, tier)
    facts, lines = made
    if as_json:
        click.echo(json.dumps(facts, allow_nan=False))
    else:
        click.echo("\n".join(click.style(f"{label:<9}", bold=True) + text for label, text in lines))
    return bool(facts["certified"])


def _chain(source: str, objective: str | None, gamma: float | None, tol: float | None, tier: str) -> tuple:
    from mdpkit.interop.prism import read

    if objective is None:
        raise MdpkitError("--objective", f"one of {', '.join(OBJECTIVES)} for a .tra file", None)
    kind, _, label = objective.partition(":")
    if (kind == "discounted") != (gamma is not None):
        raise MdpkitError("--gamma", "given for the objective `discounted`, and for no other", gamma)
    found = read(source, gamma or 0.0)
    try:
        solution, certified = _solver(kind, label, found)(tol, tier), True
    except NotCertified as e:
        solution, certified = e.solution, False
    at = np.flatnonzero(found.model.rho)
    if np.isfinite(solution.value[at]).all():
        lo, hi = solution.at(found.model.rho) if len(at) > 1 else (solution.lo[at[0]], solution.hi[at[0]])
    else:
        lo = hi = math.inf
    c = solution.certificate
    plain = lambda x: [v if math.isfinite(v) else "inf" for v in x.tolist()]
    facts = {"source": source, "model": repr(found.model), "objective": objective, "certified": certified,
             "tier": c.tier, "method": c.method, "lo": _plain(lo), "hi": _plain(hi), "width": solution.width,
             "iterations": solution.iterations, "seconds": c.seconds, "policy": solution.policy.tolist(),
             "exact": None if c.exact is None else str(c.exact[at[0]]),
             "values": {"lo": plain(solution.lo), "hi": plain(solution.hi)}}
    state = "certified" if certified else "NOT CERTIFIED within the tolerance; the best proven enclosure is"
    lines = [("model", f"{facts['model']}, {objective}"),
             ("value", f"{state} in [{float(lo)!r}, {float(hi)!r}] at the initial law"),
             ("width", f"{solution.width:.2g}, the largest of all states"),
             ("method", f"{c.method}, tier {c.tier}, {solution.iterations} iterations")]
    if facts["exact"] is not None:
        lines.append(("exact", f"{facts['exact']} in the first initial state"))
    for s in range(min(FIRST, found.model.S)):
        lines.append(("policy" if s == 0 else "", f"{found.states[s]}: choice {solution.policy[s]}, "
                      f"value {solution.value[s]:.10g}"))
    return facts, lines


def _plain(x: float) -> float | str:
    return float(x) if math.isfinite(x) else "inf"


def _solver(kind: str, label: str, found: Any) -> Any:
    from mdpkit.solve import average, discounted, undiscounted

    solvers = {"reach": (undiscounted.reach, False), "min-reach": (undiscounted.reach, True),
               "reward": (undiscounted.total_reward, False), "min-reward": (undiscounted.total_reward, True)}
    if kind in solvers:
        solve, minimise = solvers[kind]
        target = found.target(label)
        return lambda tol, tier: solve(found.model, target, minimise=minimise, tol=tol, tier=tier)
    if label or kind not in ("average", "discounted"):
        raise MdpkitError("--objective", f"one of {', '.join(OBJECTIVES)}", f"{kind}:{label}" if label else kind)
    solver = average if kind == "average" else discounted
    return lambda tol, tier: solver.solve(found.model, tol, tier=tier)


def _game(source: str, tol: float | None) -> tuple:
    """A zero-sum game by its value, in rationals where it is small; another by its best correlated equilibria."""
    from mdpkit.interop.nfg import read

    game = read(source)
    facts: dict[str, Any] = {"source": source, "title": game.title, "players": game.players,
                             "strategies": game.strategies}
    size = " x ".join(str(len(s)) for s in game.strategies)
    lines = [("game", f"{game.title or source}: {', '.join(game.players)}; {size}")]
    if game.is_zero_sum:
        return _zero_sum(game, tol, facts, lines)
    from mdpkit.solve import correlated

    facts |= {"certified": True}
    for kind in correlated.KINDS:
        try:
            found, certified = correlated.solve(game.payoffs, kind=kind, tol=tol), True
        except NotCertified as e:
            found, certified = e.solution, False
        facts |= {"certified": facts["certified"] and certified, kind: {
            "sigma": found.sigma.tolist(), "values": found.values.tolist(), "gap": found.gap,
            "ceiling": found.ceiling}}
        lines.append((kind, "payoffs " + " ".join(f"{v:.8g}" for v in found.values) + f" (sum at most "
                      f"{found.ceiling:.10g} in any), nobody gains more than {found.gap:.2g}"))
        lines += [("", f"{' '.join(game.strategies[i][a] for i, a in enumerate(cell))}: {found.sigma[cell]:.6g}")
                  for cell in map(tuple, np.argwhere(found.sigma > 1e-9)[:FIRST].tolist())]
    return facts, lines


def _zero_sum(game: Any, tol: float | None, facts: dict, lines: list) -> tuple:
    """Payoffs times their common denominator are whole numbers, so that the rationals stay exact."""
    from mdpkit.solve import matrix_game

    A = game.exact[0]
    common = math.lcm(*(x.denominator for x in A.ravel()))
    whole = max(abs(x) for x in A.ravel()) * common < 2**53
    tier = "exact" if whole and A.size <= matrix_game.LARGEST_EXACT else "float"
    scaled = (A * common).astype(np.float64) if whole else game.payoffs[0]
    unit = common if whole else 1
    s = matrix_game.solve(scaled, None if tol is None else tol * unit, tier=tier)
    exact = None if s.certificate.exact is None else Fraction(s.certificate.exact[0]) / unit
    facts |= {"certified": True, "tier": tier, "lo": s.lo / unit, "hi": s.hi / unit,
              "exact": None if exact is None else str(exact), "x": s.x.tolist(), "y": s.y.tolist()}
    value = f"{exact}" if exact is not None else f"in [{s.lo / unit!r}, {s.hi / unit!r}]"
    lines.append(("value", f"certified {value} to {game.players[0]}"))
    for player, names, law in zip(game.players, game.strategies, (s.x, s.y)):
        lines.append((player[:8], " ".join(f"{n}: {p:.6g}" for n, p in zip(names, law) if p > 0)))
    return facts, lines
