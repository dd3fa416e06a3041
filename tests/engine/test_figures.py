"""Figures: their data are the same bits each time, drawing needs no new rows, and venues change sizes alone."""

import time
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from figures.engine import style
from figures.engine.export import FORMATS, render, save_csv, save_npz
from mdpkit.cli import group
from mdpkit.errors import MdpkitError
from theory_checks.engine.engines import Serial
from theory_checks.engine.store import Store

pytestmark = pytest.mark.xdist_group("figures")
SLUG = "planning-basics"


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    path = tmp_path_factory.mktemp("rows") / "rows.sqlite"
    with Store(path) as store:
        render(SLUG, path.parent, store, Serial())
    return path


def contents(folder):
    return {p.name: p.read_bytes() for p in sorted(Path(folder).iterdir()) if p.suffix != ".sqlite"}


def test_two_runs_give_identical_files(tmp_path, rows):
    """From rows run anew and from stored ones: data and drawings alike."""
    for name, store in (("one", Store()), ("two", Store(rows))):
        with store:
            render(SLUG, tmp_path / name, store, Serial(), {"C2": "SUPPORTED"})
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    assert set(contents(tmp_path / "one")) == {f"{SLUG}.{kind}" for kind in (*FORMATS, "npz", "csv")}


def test_drawing_again_runs_nothing(tmp_path, rows):
    class Idle(Serial):
        def map(self, tasks):
            assert not tasks, "a stored row was run again"
            return iter(())

    with Store(rows) as store:
        clock = time.perf_counter()
        render(SLUG, tmp_path, store, Idle())
        print(f"drawn again in {time.perf_counter() - clock:.2f} s")


def test_data_say_what_they_hold(tmp_path):
    data = {"b": np.array([[1, 2], [3, 4]]), "a": np.array([0.1, 1 / 3])}
    with np.load(save_npz(tmp_path / "x.npz", data)) as found:
        assert list(found) == ["a", "b"] and all((found[k] == data[k]).all() for k in data)
    lines = save_csv(tmp_path / "x.csv", data).read_text().splitlines()
    assert lines[:3] == ["array,index,value", "a,0,0.1", f"a,1,{1 / 3!r}"] and "b,1 0,3" in lines


def width(path):
    return float(path.read_text().split('width="')[1].split("pt")[0]) / 72


@pytest.mark.parametrize("venue", ["neurips2024", "icml2024_half"])
def test_venues(tmp_path, rows, venue):
    import matplotlib

    before = dict(matplotlib.rcParams)
    with Store(rows) as store:
        render(SLUG, tmp_path, store, Serial(), venue=venue)
    assert dict(matplotlib.rcParams) == before, "nothing global stays changed"
    with style.house(venue):
        asked = matplotlib.rcParams["figure.figsize"][0]
    assert width(tmp_path / f"{SLUG}.svg") == pytest.approx(asked, abs=1e-3)


def test_an_unknown_venue_is_refused():
    with pytest.raises(MdpkitError, match="venue must be one of"):
        style.house("nature1887")


def grey(colour):
    r, g, b = (int(colour[i:i + 2], 16) / 255 for i in (1, 3, 5))
    return 0.299 * r + 0.587 * g + 0.114 * b


def test_series_stay_apart_in_grey():
    """Neighbours differ in lightness, or in line style and marker, which all do."""
    assert len(set(map(str, style.LINES))) == len(style.LINES) == len(style.COLOURS) == len(set(style.MARKERS))
    assert abs(grey(style.COLOURS[0]) - grey(style.COLOURS[1])) > 0.1


def test_the_command_draws_for_a_venue(tmp_path, rows):
    said = CliRunner().invoke(group, ["figure", SLUG, "--out", str(tmp_path), "--store", str(rows), "--workers", "0",
                                      "--no-verdicts", "--venue", "neurips2024"])
    assert said.exit_code == 0, said.output
    assert f"{SLUG}.pdf" in said.output
