"""What notebooks show of models and traces."""

import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from mdpkit.instances.chains import chain, riverswim
from mdpkit.models.convert import to_episodic
from mdpkit.models.sketch import LARGEST, chain_svg
from mdpkit.models.tabular import EpisodicMDP
from mdpkit.records import Trace


def test_an_arc_for_each_possible_move():
    model = riverswim(5)
    tree = ET.fromstring(chain_svg(model.dense, model.r, model.rho))
    arcs = [e for e in tree.iter() if e.tag.endswith("path")]
    assert len(arcs) == (model.dense > 0).sum()
    said = {e[0].text for e in arcs}
    s, a, t = (int(x) for x in np.argwhere(model.dense > 0)[3])
    assert f"{s}, action {a}, to {t}: {model.dense[s, a, t]:.4g}, pays {model.r[s, a]:.4g}" in said
    assert [e.text for e in tree.iter() if e.tag.endswith("text")] == list("01234")


def test_arcs_stay_within_the_drawing():
    model = chain(LARGEST, 0.9)
    svg = chain_svg(model.dense, model.r, model.rho)
    wide, high = (float(x) for x in re.search(r"width='([\d.]+)' height='([\d.]+)'", svg).groups())
    for path in re.findall(r" d='([^']+)'", svg):
        points = [tuple(map(float, xy)) for xy in re.findall(r"(-?[\d.]+),(-?[\d.]+)", path)]
        assert all(0 <= x <= wide and -high / 2 <= y <= 1.5 * high for x, y in points)


def test_models_show_it_and_large_ones_do_not():
    model = chain(4, 0.9)
    assert "<svg" in model._repr_html_()
    same = EpisodicMDP.stationary(model.dense, model.r, model.rho, 3)
    assert "<svg" in same._repr_html_() and "<svg" not in to_episodic(model, 3)._repr_html_(), "rewards shrink with h"
    assert "<svg" not in chain(LARGEST + 1, 0.9)._repr_html_()


def test_traces():
    trace = Trace(np.zeros((2, 3, 4)), np.array([0, 1, 1]), {"x": np.arange(3.0), "v": np.ones((3, 2)),
                                                             "f": np.zeros((3, 2, 2))})
    assert "Trace" in trace._repr_html_() and "(2, 3, 4)" in trace._repr_html_()
    pytest.importorskip("pandas")
    frame = trace.frame()
    assert list(frame.columns) == ["policy", "v[0]", "v[1]", "x"] and list(frame["policy"]) == [0, 1, 1]
