"""`mdpkit solve` on the files of PRISM and Gambit."""

import json

import pytest
from click.testing import CliRunner
from core.test_interop_files import CHOOSE, DIE, OUTCOMES, PENNIES, put

from mdpkit.cli import group

LABELS = '0="init" 1="one"\n0: 0\n7: 1\n'


def call(*args):
    return CliRunner().invoke(group, ["solve", *map(str, args)])


def test_a_die(tmp_path):
    path = put(tmp_path, tra=DIE, lab=LABELS)
    said = call(path, "--objective", "reach:one", "--tier", "exact")
    assert said.exit_code == 0 and "exact    1/6" in said.output
    facts = json.loads(call(path, "--objective", "reach:one", "--json").output)
    assert facts["certified"] and facts["lo"] <= 1 / 6 <= facts["hi"] and facts["width"] < 1e-9


@pytest.mark.parametrize(("objective", "value"), [("reward:end", "5.5"), ("min-reward:end", "4.0"),
                                                  ("reach:two", "1.0"), ("min-reach:two", "0.0"), ("average", "0.0")])
def test_objectives(tmp_path, objective, value):
    path = put(tmp_path, tra=CHOOSE, lab='0="init" 1="end" 2="two"\n0: 0\n1: 1\n2: 1 2\n', srew="3 1\n0 2\n",
               trew="3 4 1\n0 1 2 3.5\n")
    facts = json.loads(call(path, "--objective", objective, "--tier", "exact", "--json").output)
    assert facts["lo"] == facts["hi"] == float(value) or abs(facts["lo"] - float(value)) < 1e-15


def test_infinite_values_are_said(tmp_path):
    path = put(tmp_path, tra="2 2\n0 0 1\n1 1 1\n", lab='0="init" 1="goal"\n0: 0\n1: 1\n', srew="2 1\n0 1\n")
    facts = json.loads(call(path, "--objective", "reward:goal", "--json").output)
    assert facts["lo"] == facts["hi"] == "inf" and facts["certified"]
    assert "inf" in call(path, "--objective", "reward:goal").output


def test_discounted_needs_gamma(tmp_path):
    path = put(tmp_path, tra="1 1\n0 0 1\n", srew="1 1\n0 1\n")
    assert json.loads(call(path, "--objective", "discounted", "--gamma", 0.5, "--json").output)["lo"] <= 2.0
    for args in (("--objective", "discounted"), ("--objective", "average", "--gamma", 0.5), (),
                 ("--objective", "reach:nowhere"), ("--objective", "sideways"), ("--objective", "average", "--tau", 1)):
        said = call(path, *args)
        assert said.exit_code == 2 and "must be" in said.output, args


def test_games(tmp_path):
    (tmp_path / "g.nfg").write_text(PENNIES.replace("1/3 -1/3  -1/3", "2/3 -2/3  -1/3", 1))
    said = call(tmp_path / "g.nfg")
    assert said.exit_code == 0 and "certified 1/15 to Even" in said.output and "heads: 0.4" in said.output
    (tmp_path / "g.nfg").write_text(OUTCOMES)
    said = call(tmp_path / "g.nfg")
    assert said.exit_code == 0 and "coarse" in said.output and "correlated" in said.output
    facts = json.loads(call(tmp_path / "g.nfg", "--json").output)
    assert facts["correlated"]["gap"] < 1e-8 and sum(facts["coarse"]["values"]) <= facts["coarse"]["ceiling"] + 1e-9
