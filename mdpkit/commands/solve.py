"""``mdpkit solve SOURCE``: certified values of an environment or a stored model, its policy and a picture.

Reading (`read_source`), computing (`answer`), gathering what is to be told (`facts_of`), telling (`told`) and drawing
(`draw`) are apart; `command` calls them in this order. Solvers are imported where they run: they load numba, and
``--help`` must not wait for it.
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click
import numpy as np

from mdpkit.errors import MdpkitError, NotCertified
from mdpkit.solve.solution import TIERS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from mdpkit.interop.gymnasium import GymModel

# what the actions of gymnasium's grids do, by id without its version
LAKE, CLIFF = ("left", "down", "right", "up"), ("up", "right", "down", "left")
DIRECTIONS = {"FrozenLake": LAKE, "FrozenLake8x8": LAKE, "CliffWalking": CLIFF, "CliffWalkingSlippery": CLIFF}
ARROWS = {"left": "←", "up": "↑", "right": "→", "down": "↓"}
PLAIN = {"left": "<", "up": "^", "right": ">", "down": "v"}      # for terminals that know ASCII only
PICTURES = (".png", ".pdf", ".svg")
AFTER_THE_END = "the bonus is earned after an episode's end too: its last state lasts for ever and has all actions"
FIRST = 20                # states whose policy is printed where there is no grid
WIDEST_GRID = 60          # columns of a grid in a terminal


class Grid(NamedTuple):
    """Where the cells of a problem lie, and which of them are never visited, end an episode or start one."""

    shape: tuple[int, int]
    directions: tuple[str, ...] | None
    walls: list[int]
    terminal: list[int]
    starts: list[int]


class Problem(NamedTuple):
    """What is solved."""

    name: str
    label: str             # of the model as it came, for people
    model: Any             # a TabularMDP, an EpisodicMDP or a MarkovGame
    ends: list[int]        # states in which nothing is left to decide
    grid: Grid | None


@click.command("solve", short_help="Certified values, policy and a picture of an MDP.")
@click.argument("source")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE",
              help="An argument of the environment, such as map_name=8x8 or is_slippery=false; may be repeated.")
@click.option("--gamma", type=float, help="Discount, in [0, 1); needed for gym: sources, stored models have their own.")
@click.option("--objective", metavar="KIND[:LABEL]",
              help="Of a .tra file: reach:LABEL, min-reach:LABEL, reward:LABEL, min-reward:LABEL, average, discounted.")
@click.option("--tol", type=float, help="Wanted width of the enclosure, in units of value.")
@click.option("--tier", type=click.Choice(TIERS), default="float", show_default=True,
              help="Arithmetic of the proof: floats with rounding bounds, balls, or rationals.")
@click.option("--tau", type=float, help="Regularise by tau times the policy's entropy.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path),
              help="Where the picture goes (.png, .pdf or .svg); the source's name in this folder where omitted.")
@click.option("--no-picture", is_flag=True, help="Draw nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, with the values of all states.")
@click.pass_context
def command(ctx: click.Context, source: str, settings: tuple[str, ...], gamma: float | None, objective: str | None,
            tol: float | None, tier: str, tau: float | None, out: Path | None, no_picture: bool, as_json: bool) -> None:
    """Solve SOURCE exactly and prove it: gym:ID, a model.npz that save() wrote, PRISM's model.tra, Gambit's game.nfg.

    \b
    mdpkit solve gym:Taxi --gamma 0.99
    mdpkit solve die.tra --objective reach:six --tier exact
    mdpkit solve pennies.nfg

    Exits with 1, after printing the best proven enclosure, if the tolerance is out of the tier's reach.
    """
    try:
        if source.endswith((".tra", ".nfg")):
            from mdpkit.commands.solve_files import tell

            for name, value in (("--set", settings or None), ("--tau", tau), ("--out", out)):
                if value is not None:
                    raise MdpkitError(name, "left out for such a file", value)
            ctx.exit(0 if tell(source, objective, gamma, tol, tier, as_json) else 1)
        if objective is not None:
            raise MdpkitError("--objective", "left out but for a .tra file", objective)
        problem = read_source(source, gamma, settings)
        target = None if no_picture and out is None else picture_path(problem.name, out, no_picture)
        solution, certified = answer(problem.model, tol, tier, tau)
        facts = facts_of(source, problem, solution, certified, tau)
        if certified and target is not None:
            draw(problem, solution, tau).savefig(target)
            facts["picture"] = str(target)
    except (MdpkitError, OSError) as e:
        raise click.UsageError(str(e)) from e
    click.echo(json.dumps(facts, allow_nan=False) if as_json else told(facts, problem, solution, tau, _glyphs()))
    if not certified:
        ctx.exit(1)


def read_source(source: str, gamma: float | None, settings: tuple[str, ...]) -> Problem:
    """The problem that SOURCE names."""
    if source.startswith("gym:"):
        from mdpkit.interop.gymnasium import read

        if gamma is None:
            raise MdpkitError("--gamma", "given for an environment", None)
        return _from_gym(read(source[4:], gamma, **dict(_setting(s) for s in settings)))
    if not source.endswith(".npz"):
        raise MdpkitError("SOURCE", "gym:ID or a path that ends in .npz, .tra or .nfg", source)
    for name, value in (("--gamma", gamma), ("--set", settings)):
        if value not in (None, ()):
            raise MdpkitError(name, "left out: a stored model has its own", value)
    from mdpkit.models.convert import to_episodic
    from mdpkit.models.games import MarkovGame
    from mdpkit.models.record import load
    from mdpkit.models.tabular import TabularMDP

    model = load(source)
    base = model if isinstance(model, TabularMDP | MarkovGame) else to_episodic(model)
    return Problem(Path(source).stem, repr(model), base, [], None)


def picture_path(name: str, out: Path | None, no_picture: bool) -> Path:
    """Where the picture goes, checked before anything is solved."""
    if no_picture:
        raise MdpkitError("--out", "left out with --no-picture", str(out))
    path = Path(f"{name.replace('/', '-')}.png") if out is None else out
    if path.suffix.lower() not in PICTURES:
        raise MdpkitError("--out", "a path that ends in " + ", ".join(PICTURES), str(path))
    if not path.parent.is_dir():
        raise MdpkitError("--out", "in a folder that exists", str(path))
    return path


def answer(model: Any, tol: float | None, tier: str, tau: float | None) -> tuple[Any, bool]:
    """The solution, or the best enclosure and False where the tolerance is out of reach."""
    from mdpkit.models.games import MarkovGame
    from mdpkit.models.tabular import TabularMDP
    from mdpkit.solve import discounted, episodic, matrix_game, soft

    if tau is not None and isinstance(model, MarkovGame):
        raise MdpkitError("--tau", "left out for a game", tau)
    try:
        if tau is not None:
            return soft.solve(model, tau, tol, tier=tier), True
        if isinstance(model, MarkovGame):
            return matrix_game.solve(model, tol, tier=tier), True
        return (discounted if isinstance(model, TabularMDP) else episodic).solve(model, tol, tier=tier), True
    except NotCertified as e:
        return e.solution, False


def facts_of(source: str, problem: Problem, solution: Any, certified: bool, tau: float | None) -> dict[str, Any]:
    """What there is to tell, as JSON."""
    c = solution.certificate
    # + 0.0 turns a minus zero, which reads like a mistake, into zero
    facts = {"source": source, "model": problem.label, "certified": certified, "tier": c.tier,
             "method": c.method, "tol": c.tol if math.isfinite(c.tol) else None, "tau": tau,
             "width": solution.width + 0.0, "iterations": solution.iterations,
             "seconds": c.seconds, "seconds_include_compiling": True, "picture": None,
             "note": AFTER_THE_END if tau is not None and problem.ends else c.note}
    if hasattr(solution, "x"):
        return facts | {"lo": solution.lo + 0.0, "hi": solution.hi + 0.0,
                        "x": solution.x.tolist(), "y": solution.y.tolist()}
    lo, hi = solution.at(problem.model.rho)
    choices = np.delete(solution.optimal, problem.ends, axis=-2)
    return facts | {"lo": lo, "hi": hi, "states": solution.optimal.shape[-2], "ends": problem.ends,
                    "ties": int((choices.sum(-1) > 1).sum()) if tau is None else None,
                    "policy": solution.policy.tolist(),
                    "values": {"lo": solution.lo.tolist(), "hi": solution.hi.tolist()}}


def told(facts: dict[str, Any], problem: Problem, solution: Any, tau: float | None, glyphs: dict[str, str]) -> str:
    """The facts for a person: lines of a label and a text, then the policy."""
    from mdpkit.picture import at_most

    asked = "any" if facts["tol"] is None else f"{facts['tol']:.2g}"
    state = click.style("certified", fg="green") if facts["certified"] else \
        click.style("NOT CERTIFIED within the tolerance; the best proven enclosure is", fg="red", bold=True)
    game = "x" in facts
    lines = [("model", facts["model"] + (f", entropy regularised by tau = {tau:g}" if tau is not None else "")),
             # all digits: fewer would round the proof away
             ("value", f"{state} in [{facts['lo']!r}, {facts['hi']!r}]" + ("" if game else " at the initial law")),
             ("width", at_most(facts["width"]) + ("" if game else ", the largest of all states") + f" (asked {asked})"),
             ("method", f"{facts['method']}, tier {facts['tier']}, {facts['iterations']} iterations"),
             ("time", f"{facts['seconds']:.3g} s, compiling included")]
    if facts.get("ties") is not None:
        ends = f" ({len(problem.ends)} where episodes end left out)" if problem.ends else ""
        lines.append(("ties", f"in {facts['ties']} of {_pairs(solution) - len(problem.ends)} {_unit(solution)}{ends}"))
    lines += [(key, facts[key]) for key in ("note", "picture") if facts[key]]
    head = "\n".join(click.style(f"{label:<9}", bold=True) + text for label, text in lines)
    return head + "\n" + "\n".join(_strategies(solution) if game else _policy(problem, solution, tau, glyphs))


def draw(problem: Problem, solution: Any, tau: float | None) -> Figure:
    """The picture: a grid where there is one, bars of values or of strategies elsewhere."""
    from mdpkit.picture import at_most, grid_picture, strategy_bars, value_bars

    size = f", gamma = {problem.model.gamma:g}" if hasattr(problem.model, "gamma") else ""
    size += f", tau = {tau:g}" if tau is not None else ""
    title = f"{problem.name}{size}, certified within {at_most(solution.width)}"
    if hasattr(solution, "x"):
        return strategy_bars(solution, title=title)
    if problem.grid is None:
        return value_bars(solution, title=title)
    grid = problem.grid
    n = grid.shape[0] * grid.shape[1]
    actions = solution.optimal if tau is None else np.minimum(solution.policy, 1.0)     # 1 + a rounding otherwise
    return grid_picture(solution.value[:n], None if grid.directions is None else actions[:n], grid.shape,
                        directions=grid.directions, walls=grid.walls, terminal=grid.terminal,
                        marks=dict.fromkeys(grid.starts, "start"), title=title)


def _from_gym(source: GymModel) -> Problem:
    from mdpkit.interop.gymnasium import reached

    model, ends = source.model, source.terminal_states.tolist()
    if source.shape is None:
        return Problem(source.id, repr(model), model, ends, None)
    n = source.shape[0] * source.shape[1]
    moves = np.repeat(np.arange(model.S * model.A) // model.A, np.diff(model.rows.ptr))
    unseen = np.flatnonzero(~reached(model.rho > 0, moves, model.rows.col)[:n])
    kind = source.id.rpartition("/")[2].partition("-v")[0]
    return Problem(source.id, repr(model), model, ends,
                   Grid(source.shape, DIRECTIONS.get(kind), np.setdiff1d(unseen, ends).tolist(),
                        [s for s in ends if s < n], np.flatnonzero(model.rho[:n]).tolist()))


def _setting(text: str) -> tuple[str, Any]:
    """KEY=VALUE; the value is read as JSON (false, 3, ["SF", "FG"]) and is text otherwise."""
    key, equals, value = text.partition("=")
    if not key.isidentifier() or not equals:
        raise MdpkitError("--set", "KEY=VALUE", text)
    if key in ("rho", "gamma", "env_or_id"):
        raise MdpkitError("--set", "an argument of the environment", key)
    try:
        return key, json.loads(value)
    except json.JSONDecodeError:
        return key, value


def _pairs(solution: Any) -> int:
    return int(np.prod(solution.optimal.shape[:-1]))


def _unit(solution: Any) -> str:
    return "states" if solution.value.ndim == 1 else "pairs of step and state"


def _glyphs() -> dict[str, str]:
    try:
        "".join(ARROWS.values()).encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return PLAIN
    return ARROWS


def _policy(problem: Problem, solution: Any, tau: float | None, glyphs: dict[str, str]) -> list[str]:
    first = solution.value.ndim == 2
    policy, optimal = (x[0] if first else x for x in (solution.policy, solution.optimal))
    best = optimal if tau is None else policy == policy.max(-1, keepdims=True)
    grid = problem.grid
    if grid is not None and grid.directions is not None and grid.shape[1] <= WIDEST_GRID:
        what = "optimal actions" if tau is None else "likeliest actions"
        return [click.style(f"policy   {what} (. end, # never visited)", bold=True), *_arrows(grid, best, glyphs)]
    count = min(FIRST, len(policy))
    label = f"policy   first {count} of {len(policy)} states" + (" at the first step" if first else "")
    if tau is None:
        body = [f"  {s:>3}: " + " ".join(map(str, np.flatnonzero(best[s]))) for s in range(count)]
        return [click.style(f"{label}, optimal actions", bold=True), *body]
    return [click.style(f"{label}, probabilities", bold=True), *(f"  {s:>3}: {_row(policy[s])}" for s in range(count))]


def _arrows(grid: Grid, best: np.ndarray, glyphs: dict[str, str]) -> list[str]:
    assert grid.directions is not None
    cells = ["".join(glyphs[d] for d, on in zip(grid.directions, best[s]) if on)
             for s in range(grid.shape[0] * grid.shape[1])]
    for states, glyph in ((grid.terminal, "."), (grid.walls, "#")):
        for s in states:
            cells[s] = glyph
    width = max(map(len, cells)) + 1
    return ["  " + "".join(f"{c:<{width}}" for c in cells[i : i + grid.shape[1]]).rstrip()
            for i in range(0, len(cells), grid.shape[1])]


def _strategies(solution: Any) -> list[str]:
    both = ("row", solution.x), ("column", solution.y)
    return [click.style(f"{name:<9}", bold=True) + _row(law) for name, law in both]


def _row(law: np.ndarray) -> str:
    return " ".join(f"{p:.3f}" for p in law[:FIRST]) + (f" and {law.size - FIRST} more" if law.size > FIRST else "")
