"""``mdpkit solve``: what it prints, what it draws, what it refuses and with which exit code."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from click.testing import CliRunner
from matplotlib.image import imread

from mdpkit.commands.solve import command
from mdpkit.models.bandits import Bandit
from mdpkit.models.games import MarkovGame
from mdpkit.models.preferences import PreferenceModel
from mdpkit.models.tabular import EpisodicMDP, TabularMDP
from mdpkit.solve import discounted, episodic

ROUND = 1e-9
ROCK_PAPER_SCISSORS = [[0.0, -1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 1.0, 0.0]]
LAKE = ["gym:FrozenLake-v1", "--gamma", "0.99"]


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """An empty folder to run in, for pictures go to the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def solve(*arguments, code: int = 0, **kwargs):
    result = CliRunner(**kwargs).invoke(command, [str(a) for a in arguments])
    assert result.exit_code == code, result.output
    return result


def facts(*arguments, code: int = 0) -> dict:
    return json.loads(solve(*arguments, "--json", code=code).stdout)


def random_mdp(S: int = 5, A: int = 3, gamma: float = 0.9) -> TabularMDP:
    rng = np.random.default_rng(S)
    return TabularMDP(rng.dirichlet(np.ones(S), (S, A)), rng.random((S, A)), gamma, rng.dirichlet(np.ones(S)))


def newest(name: str) -> str:
    """The id of the newest version that is installed."""
    versions = [key.removeprefix(f"{name}-v") for key in gymnasium.registry if key.startswith(f"{name}-v")]
    return f"{name}-v{max(map(int, versions))}"


def not_blank(path: Path) -> bool:
    return len(np.unique(imread(path)[..., :3] @ [1.0, 3.0, 9.0])) > 10


# --- environments

def test_a_grid(here):
    out = solve(*LAKE, "--set", "is_slippery=false").stdout
    lines = out.splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("policy"))
    assert [line.split() for line in lines[at + 1 :]] == [
        ["↓→", "→", "↓", "←"], ["↓", ".", "↓", "."], ["→", "↓→", "↓", "."], [".", "→", "→", "."]]
    assert "certified in [0.9509" in out and "at the initial law" in out and "compiling included" in out
    assert "ties     in 2 of 11 states (5 where episodes end left out)" in out
    assert "picture  FrozenLake-v1.png" in out and not_blank(here / "FrozenLake-v1.png")
    assert "\x1b" not in out, "no colours but on terminals"


def test_colours_on_a_terminal(here):
    result = CliRunner().invoke(command, [*LAKE, "--no-picture"], color=True)
    assert "\x1b[32mcertified" in result.output
    assert not list(here.iterdir())


def test_arrows_of_a_terminal_without_unicode(here):
    out = solve(*LAKE, "--set", "is_slippery=false", "--no-picture", charset="ascii").stdout
    assert out.splitlines()[-4].split() == ["v>", ">", "v", "<"]


def test_the_cliff(here):
    cliff = newest("CliffWalking")
    out = solve(f"gym:{cliff}", "--gamma", 0.99, "--tier", "exact").stdout
    assert out.splitlines()[-1].split() == ["↑", *"#" * 10, "."] and out.splitlines()[-2].split() == ["→"] * 11 + ["↓"]
    assert "tier exact" in out and not_blank(here / f"{cliff}.png")


def test_json_of_a_grid(here):
    told = facts(*LAKE, "--set", "is_slippery=false", "--tol", "1e-10", "--out", "lake.svg")
    assert told["lo"] - ROUND <= 0.99**5 <= told["hi"] + ROUND and told["width"] <= 1e-10
    assert told["certified"] and told["seconds_include_compiling"] and told["seconds"] > 0 and told["iterations"] > 0
    assert told["ties"] == 2 and told["ends"] == [5, 7, 11, 12, 15] and len(told["policy"]) == 16
    assert told["picture"] == "lake.svg" and (here / "lake.svg").read_text().startswith("<?xml")
    lo, hi = (np.array(told["values"][k]) for k in ("lo", "hi"))
    assert lo.shape == (16,) and (lo <= hi).all()


def test_taxi_has_no_grid(here):
    taxi = newest("Taxi")
    out = solve(f"gym:{taxi}", "--gamma", 0.99, "--tol", ROUND).stdout
    assert "first 20 of 501 states" in out and "\n   16: 5\n" in out, "the passenger is in at R and wants to get out"
    assert not_blank(here / f"{taxi}.png")


def test_entropy(here):
    told = facts(*LAKE, "--tau", 0.1, "--no-picture")
    assert told["tau"] == 0.1 and told["ties"] is None and told["picture"] is None
    assert "after an episode's end" in told["note"]
    assert np.abs(np.array(told["policy"]).sum(-1) - 1).max() < ROUND
    out = solve(*LAKE, "--tau", 0.1).stdout
    assert "likeliest actions" in out and "entropy regularised by tau = 0.1" in out and "ties" not in out


def test_settings(here):
    lake = ["gym:FrozenLake-v1", "--gamma", "0.9", "--no-picture"]
    assert facts(*lake, "--set", "map_name=8x8", "--set", "is_slippery=false")["states"] == 64
    assert facts(*lake, "--set", 'desc=["SFG"]')["states"] == 3


# --- stored models

def test_a_discounted_model(here):
    model = random_mdp()
    model.save("world.npz")
    told, solution = facts("world.npz"), discounted.solve(model)
    assert (told["lo"], told["hi"]) == solution.at(model.rho) and told["policy"] == solution.policy.tolist()
    assert told["picture"] == "world.png" and not_blank(here / "world.png")
    assert "first 5 of 5 states, optimal actions" in solve("world.npz").stdout
    out = solve("world.npz", "--tau", 0.5, "--no-picture").stdout
    assert "first 5 of 5 states, probabilities" in out


def test_an_episodic_model_and_one_that_converts(here):
    base = random_mdp()
    model = EpisodicMDP.stationary(base.P, base.r, base.rho, 4)
    model.save("episodes.npz")
    told, solution = facts("episodes.npz"), episodic.solve(model)
    assert (told["lo"], told["hi"]) == solution.at(model.rho) and np.shape(told["policy"]) == (4, 5)
    out = solve("episodes.npz").stdout
    assert "at the first step, optimal actions" in out and "pairs of step and state" in out
    assert not_blank(here / "episodes.png")
    Bandit([0.25, 0.75, 0.75]).save("arms.npz")
    told = facts("arms.npz", "--tier", "exact")
    assert told["lo"] <= 0.75 <= told["hi"] and told["ties"] == 1 and told["model"].startswith("Bandit")


def test_a_matrix_game(here):
    MarkovGame.matrix(ROCK_PAPER_SCISSORS).save("game.npz")
    told = facts("game.npz", "--tier", "exact")
    assert told["lo"] == told["hi"] == 0.0 and np.abs(np.array([told["x"], told["y"]]) - 1 / 3).max() < ROUND
    assert not_blank(here / "game.png")
    out = solve("game.npz", "--no-picture").stdout
    assert "row      0.333 0.333 0.333" in out and "initial law" not in out


# --- what is out of reach, and what is refused

def test_out_of_reach(here):
    told = facts(*LAKE, "--tol", "1e-20", code=1)
    V = discounted_start()
    assert not told["certified"] and told["lo"] - ROUND <= V <= told["hi"] + ROUND and 1e-20 < told["width"] < ROUND
    out = solve(*LAKE, "--tol", "1e-20", code=1).stdout
    assert "NOT CERTIFIED within the tolerance; the best proven enclosure is in [0.542" in out
    assert "(asked 1e-20)" in out and not list(here.iterdir()), "nothing unproven is drawn"
    MarkovGame.matrix(np.random.default_rng(0).normal(size=(4, 5))).save("game.npz")
    assert not facts("game.npz", "--tol", "1e-30", code=1)["certified"]


def discounted_start() -> float:
    """The slippery lake's value at the start at gamma 0.99, by plain sweeps of its table, off by 0.99**3000 < 1e-13."""
    P = gymnasium.make("FrozenLake-v1").unwrapped.P
    V = np.zeros(16)
    for _ in range(3000):
        V = np.array([max(sum(p * (r + 0.99 * V[t] * (not end)) for p, t, r, end in P[s][a]) for a in range(4))
                      for s in range(16)])
    return float(V[0])


@pytest.mark.parametrize(("arguments", "message"), [
    (["lake"], "SOURCE must be gym:ID or a path that ends in .npz"),
    ([], "Missing argument 'SOURCE'"),
    (["gym:FrozenLake-v1"], "--gamma must be given for an environment"),
    (["gym:FrozenLake-v1", "--gamma", "1"], "gamma must be in [0, 1)"),
    (["gym:FrozenLake-v1", "--gamma", "nan"], "gamma must be finite"),
    (["gym:FrozenLake-v1", "--gamma", "high"], "is not a valid float"),
    (["gym:Blackjack-v1", "--gamma", "0.9"], "publishes its table"),
    (["gym:NoSuchLake-v0", "--gamma", "0.9"], "env_or_id must be"),
    (["gym:", "--gamma", "0.9"], "env_or_id must be"),
    ([*LAKE, "--set", "map_name"], "--set must be KEY=VALUE"),
    ([*LAKE, "--set", "=8x8"], "--set must be KEY=VALUE"),
    ([*LAKE, "--set", "rho=[1]"], "--set must be an argument of the environment"),
    ([*LAKE, "--set", "map_name=9x9"], "KeyError"),
    ([*LAKE, "--tol", "-1"], "tol must be in [0, inf]"),
    ([*LAKE, "--tier", "rough"], "'rough' is not one of"),
    ([*LAKE, "--tau", "0"], "tau must be in (0, inf]"),
    ([*LAKE, "--tau", "1", "--tier", "exact"], "tier must be 'float' or 'ball'"),
    ([*LAKE, "--out", "lake.txt"], "--out must be a path that ends in .png, .pdf, .svg"),
    ([*LAKE, "--out", "no/such/folder.png"], "--out must be in a folder that exists"),
    ([*LAKE, "--out", "lake.png", "--no-picture"], "--out must be left out with --no-picture"),
    (["nothing.npz"], "path must be an existing file"),
    (["text.npz"], "path must be a readable .npz"),
    (["other.npz"], "path must be a .npz written by save()"),
    (["mdp.npz", "--gamma", "0.5"], "--gamma must be left out: a stored model has its own"),
    (["mdp.npz", "--set", "a=1"], "--set must be left out"),
    (["game.npz", "--tau", "1"], "--tau must be left out for a game"),
    (["general.npz"], "payoff must be a zero-sum game of one state and one step"),
    (["preferences.npz"], "model must be one that is an episodic MDP"),
])
def test_bad_input(here, arguments, message):
    random_mdp().save("mdp.npz")
    MarkovGame.matrix(ROCK_PAPER_SCISSORS).save("game.npz")
    MarkovGame.matrix(np.eye(2), np.eye(2)).save("general.npz")
    PreferenceModel(np.full((1, 2, 2), 0.5), [1.0], [[0.5, 0.5]], 1.0).save("preferences.npz")
    np.savez("other.npz", P=np.eye(2))
    Path("text.npz").write_text("not a zip")
    result = solve(*arguments, code=2)
    assert message in " ".join(result.stderr.split()) and "Usage:" in result.stderr and not result.stdout
    assert not list(here.glob("*.png")), "refused before anything is drawn"


def test_an_unwritable_picture(here):
    Path("taken.png").mkdir()
    assert "is a directory" in solve(*LAKE, "--out", "taken.png", code=2).stderr


def test_help_loads_neither_numba_nor_matplotlib():
    code = ("import sys; from mdpkit.commands.solve import command\n"
            "try: command(['--help'])\nexcept SystemExit: pass\n"
            "print([m for m in ('numba', 'matplotlib', 'gymnasium', 'scipy') if m in sys.modules])")
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=240).stdout
    assert out.rstrip().endswith("[]") and "gym:ID" in out
