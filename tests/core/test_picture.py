"""Pictures of values, policies and strategies: nothing blank, cut off or printed narrower than proven."""

from __future__ import annotations

import io
import math

import matplotlib
import numpy as np
import pytest
from core.environments import EXACT, GAMMA, ROUND, newest
from matplotlib.image import imread
from matplotlib.quiver import Quiver

from mdpkit import picture
from mdpkit.errors import MdpkitError
from mdpkit.interop.gymnasium import from_gymnasium, read
from mdpkit.solve import discounted, matrix_game, soft

LAKE, CLIFF = ("left", "down", "right", "up"), ("up", "right", "down", "left")


def pixels(figure) -> np.ndarray:
    data = io.BytesIO()
    figure.savefig(data, format="png", dpi=50)             # enough to tell a picture from a blank
    data.seek(0)
    return imread(data)[..., :3]


def check_picture(figure) -> None:
    """Not blank, nothing cut off, nothing left in pyplot."""
    assert len(np.unique(pixels(figure) @ [1.0, 3.0, 9.0])) > 10
    tight, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
    assert tight.x0 >= 0 and tight.y0 >= 0 and tight.x1 <= width and tight.y1 <= height
    import matplotlib.pyplot as plt

    assert plt.get_fignums() == []


def arrows(figure) -> Quiver:
    return next(c for c in figure.axes[0].collections if isinstance(c, Quiver))


@pytest.mark.parametrize(("name", "kwargs", "directions"), [("FrozenLake", {"map_name": "8x8"}, LAKE),
                                                            ("CliffWalking", {}, CLIFF)])
def test_grid_picture(name, kwargs, directions):
    source = read(newest(name), GAMMA, **kwargs)
    solution = discounted.solve(source.model, ROUND)
    n = math.prod(source.shape)
    ends = [s for s in source.terminal_states.tolist() if s < n]
    walls = list(range(37, 47)) if name == "CliffWalking" else []
    figure = picture.grid_picture(solution.value[:n], solution.optimal[:n], source.shape, directions=directions,
                                  walls=walls, terminal=ends, marks={0: "start"}, title="a title")
    check_picture(figure)
    shown = np.setdiff1d(np.arange(n), [*ends, *walls])
    assert solution.optimal[shown].sum() == arrows(figure).N, "an arrow for every optimal action"
    texts = [t.get_text() for t in figure.axes[0].texts]
    assert texts.count("end") == len(ends) and "start" in texts
    assert len(texts) == len(ends) + 1 + shown.size, "and a number in every other cell"
    assert figure.axes[1].get_ylabel() == "value"
    lines = [axis.get_minorticklocs().size for axis in (figure.axes[0].yaxis, figure.axes[0].xaxis)]
    assert lines == [k + 1 for k in source.shape], "a line between any two cells"


def test_arrows_point_where_actions_lead():
    """One action a cell in the order up, right, down, left; image rows count downwards."""
    figure = picture.grid_picture([0.0, 1.0, 2.0, 3.0], [0, 1, 2, 3], (2, 2), directions=CLIFF)
    q = arrows(figure)
    assert np.sign(q.U).tolist() == [0, 1, 0, -1] and np.sign(q.V).tolist() == [-1, 0, 1, 0]
    assert figure.axes[0].get_ylim() == (1.5, -0.5)
    mixed = picture.grid_picture([0.0, 1.0], [[0.75, 0.25, 0, 0], [0, 0, 0, 1]], (1, 2), directions=CLIFF)
    lengths = np.hypot(arrows(mixed).U, arrows(mixed).V)
    assert np.abs(lengths / lengths.max() - [1, 1 / 3, 1]).max() < EXACT, "proportional within a cell"


@pytest.mark.parametrize(("values", "expected"), [
    ([0.05, 0.878], ["0.050", "0.878"]), ([-13.12, -1.0], ["−13.1", "−1.0"]), ([0.0, 0.0], ["0.00", "0.00"]),
    ([-0.0001, 5.0], ["0.00", "5.00"]), ([123456.0, 123456.5], ["1.23e+05", "1.23e+05"])])
def test_numbers_of_a_grid(values, expected):
    figure = picture.grid_picture(values, None, (1, 2))
    assert [t.get_text() for t in figure.axes[0].texts] == expected


def test_small_cells_lose_their_numbers_not_their_arrows():
    figure = picture.grid_picture(np.arange(2500.0), np.zeros(2500, int), (50, 50), directions=LAKE)
    assert not figure.axes[0].texts and arrows(figure).N == 2500


def test_colours_survive_a_grey_printer():
    lightness = matplotlib.colormaps[picture.MAP](np.linspace(0, 1, 256))[:, :3] @ [0.299, 0.587, 0.114]
    assert (np.diff(lightness) < 0).all()


def test_bars():
    small = discounted.solve(from_gymnasium("FrozenLake-v1", GAMMA))
    figure = picture.value_bars(small)
    check_picture(figure)
    assert len(figure.axes[0].patches) == 16 and "certified within" in figure.axes[0].get_title()
    large = picture.value_bars(discounted.solve(from_gymnasium(newest("Taxi"), GAMMA)))
    check_picture(large)
    curve = large.axes[0].lines[0].get_ydata()
    assert curve.size == 501 and (np.diff(curve) <= 0).all()
    check_picture(picture.strategy_bars(matrix_game.solve(np.array([[0.0, 1, -1], [-1, 0, 1], [1, -1, 0]]))))
    check_picture(picture.value_bars(soft.solve(from_gymnasium("FrozenLake-v1", 0.9), 0.1)))


def test_printed_widths_stay_proven():
    widths = np.random.default_rng(0).random(200) * 10.0 ** np.random.default_rng(1).integers(-300, 9, 200)
    for w in [*widths.tolist(), 0.0, 9.96e-7]:
        assert w <= float(picture.at_most(w)) <= 1.1 * w, "two digits, up: by at most a tenth"


@pytest.mark.parametrize(("change", "message"), [
    ({"values": [1.0]}, r"values must be of shape \(2,\)"),
    ({"shape": 2}, r"shape must be \(height, width\)"),
    ({"shape": (0, 2)}, r"shape\[0\] must be at least 1"),
    ({"directions": None}, "directions must be given"),
    ({"directions": ("north", "south")}, r"directions\[0\] must be one of 'up'"),
    ({"actions": np.ones((2, 3), bool)}, r"actions must be of shape \(2, 2\)"),
    ({"actions": [0, 2]}, r"actions\[1\] must be in \[0, 1\]"),
    ({"actions": [[0.5, 0.5], [2.0, 0.0]]}, r"actions\[1, 0\] must be in"),
    ({"walls": [2]}, r"walls\[0\] must be at least 0 and at most 1"),
    ({"terminal": [-1]}, r"terminal\[0\] must be at least 0"),
])
def test_pictures_refuse(change, message):
    good = {"values": [0.0, 1.0], "actions": [0, 1], "shape": (1, 2), "directions": ("left", "right")}
    with pytest.raises(MdpkitError, match=message):
        picture.grid_picture(**(good | change))


def test_value_bars_refuse_what_is_no_solution():
    with pytest.raises(MdpkitError, match="solution must be a Solution"):
        picture.value_bars([1.0, 2.0])
