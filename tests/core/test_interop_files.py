"""Worlds of other tools, read and written: PRISM's explicit files, arrays of three libraries, Gambit's games."""

from fractions import Fraction

import numpy as np
import pytest
import scipy.sparse as sp

from mdpkit.errors import MdpkitError
from mdpkit.instances.garnet import garnet
from mdpkit.interop import arrays, nfg, prism
from mdpkit.models.tabular import TabularMDP
from mdpkit.solve import average, discounted, matrix_game, undiscounted

ROUND = 1e-9

# a die thrown with a fair coin, Knuth and Yao's: each of six ends has probability 1/6
DIE = """13 20
0 1 0.5
0 2 0.5
1 3 0.5
1 4 0.5
2 5 0.5
2 6 0.5
3 1 0.5
3 7 0.5
4 8 0.5
4 9 0.5
5 10 0.5
5 11 0.5
6 2 0.5
6 12 0.5
7 7 1
8 8 1
9 9 1
10 10 1
11 11 1
12 12 1
"""
# two choices in state 0, named; one in the others
CHOOSE = """3 4 5
0 0 1 0.5 safe
0 0 0 0.5 safe
0 1 2 1 risky
1 0 1 1
2 0 2 1
"""


def put(folder, **files):
    for name, text in files.items():
        (folder / f"m.{name}").write_text(text)
    return folder / "m.tra"


# PRISM

def test_knuth_and_yao(tmp_path):
    path = put(tmp_path, tra=DIE, sta="(s,d)\n" + "".join(f"{i}:({i},0)\n" for i in range(13)),
               lab='0="init" 1="one" 2="done"\n0: 0\n7: 1 2\n' + "".join(f"{i}: 2\n" for i in range(8, 13)),
               srew="13 7\n" + "".join(f"{i} 1\n" for i in range(7)))
    found = prism.read(path)
    assert found.states[3] == "(3,0)" and found.model.rho[0] == 1.0 and found.choices.tolist() == [1] * 13
    s = undiscounted.reach(found.model, found.target("one"), tier="exact")
    assert s.certificate.exact[0] == Fraction(1, 6)
    flips = undiscounted.total_reward(found.model, found.target("done"), tier="exact")
    assert flips.certificate.exact[0] == Fraction(11, 3), "three and two thirds throws on average"
    with pytest.raises(MdpkitError, match="label must be one of"):
        found.target("two")


def test_choices_of_different_number(tmp_path):
    found = prism.read(put(tmp_path, tra=CHOOSE, srew="# Reward structure\n3 1\n0 2\n",
                           trew="3 4 1\n0 1 2 3.5\n"))
    assert found.choices.tolist() == [2, 1, 1] and found.model.A == 2
    np.testing.assert_array_equal(found.model.r, [[2.0, 5.5], [0.0, 0.0], [0.0, 0.0]])
    np.testing.assert_array_equal(found.model.dense[1, 0], found.model.dense[1, 1])
    most = undiscounted.total_reward(found.model, [1, 2], tier="exact")
    least = undiscounted.total_reward(found.model, [1, 2], minimise=True, tier="exact")
    assert (most.certificate.exact[0], least.certificate.exact[0]) == (Fraction(11, 2), 4)
    assert undiscounted.reach(found.model, [2]).value[0] == 1.0
    assert undiscounted.reach(found.model, [2], minimise=True).value[0] == 0.0


@pytest.mark.parametrize("A", [1, 3])
def test_what_is_written_is_read_again(tmp_path, A):
    model = garnet(7, A, 3, 0.9, np.random.default_rng(1))
    written = prism.write(model, tmp_path / "m.tra", {"even": np.arange(0, 7, 2)})
    assert {p.suffix for p in written} == {".tra", ".trew", ".lab"}
    again = prism.read(tmp_path / "m.tra", 0.9)
    np.testing.assert_array_equal(again.model.dense, model.dense)
    np.testing.assert_allclose(again.model.r, model.r, rtol=1e-15)
    assert again.target("even").tolist() == [0, 2, 4, 6]


BAD = {
    "no header": ({"tra": "\n"}, "m.tra, line 1 must be 'states transitions'"),
    "a word": ({"tra": "2 1\n0 x 1\n"}, "m.tra, line 2 must be 3 numbers"),
    "a state too far": ({"tra": "2 1\n0 5 1\n"}, r"m.tra, line 2 must be states 0..1"),
    "count": ({"tra": "1 3\n0 0 1\n"}, "1 transitions, as many as follow"),
    "deadlock": ({"tra": "2 1\n0 1 1\n"}, "transitions of choice 0 of state 1"),
    "gap": ({"tra": "1 2 2\n0 0 0 1\n0 2 0 1\n"}, "choice 1 of state 0"),
    "half": ({"tra": "1 1\n0 0 0.5\n"}, "sums to 0.5"),
    "reward of none": ({"tra": "1 1\n0 0 1\n", "trew": "1 1\n0 3 1\n"}, "m.trew, line 2 must be a transition"),
    "reward of nobody": ({"tra": "1 1\n0 0 1\n", "srew": "1 1\n9 1\n"}, "m.srew, line 2 must be a state"),
    "label": ({"tra": "1 1\n0 0 1\n", "lab": '0="init"\n0: 7\n'}, "m.lab, line 2"),
}


@pytest.mark.parametrize("name", BAD)
def test_malformed_files_name_the_line(tmp_path, name):
    files, message = BAD[name]
    with pytest.raises(MdpkitError, match=message):
        prism.read(put(tmp_path, **files))


def test_no_file():
    with pytest.raises(MdpkitError, match=r"path must be a \.tra file"):
        prism.read("nowhere.tra")


# arrays

@pytest.mark.xdist_group("quantecon")
@pytest.mark.parametrize("pairs", [False, True])
def test_quantecon_both_ways(pairs):
    ddp = pytest.importorskip("quantecon.markov").DiscreteDP
    rng = np.random.default_rng(2)
    R = rng.normal(size=(5, 3))
    R[rng.random(R.shape) < 0.3] = -np.inf
    R[:, 0] = np.where(np.isinf(R).all(1), 0.0, R[:, 0])
    Q = rng.dirichlet(np.ones(5), (5, 3))
    s, a = np.nonzero(np.isfinite(R))
    given = (R[s, a], sp.csr_matrix(Q[s, a]), 0.9, s, a) if pairs else (R, Q, 0.9)
    found = arrays.from_quantecon(*given)
    np.testing.assert_array_equal(found.feasible, np.isfinite(R))
    v = ddp(*given).solve(method="policy_iteration").v
    solved = discounted.solve(found.model)
    assert (solved.lo - ROUND <= v).all() and (v <= solved.hi + ROUND).all()
    again = ddp(*arrays.to_quantecon(found.model)).solve(method="policy_iteration").v
    np.testing.assert_allclose(again, v, rtol=0, atol=ROUND)


@pytest.mark.parametrize("sparse", [False, True])
def test_mdptoolbox_both_ways(sparse):
    model = garnet(6, 3, 2, 0.9, np.random.default_rng(3))
    if sparse:
        model = TabularMDP(sp.csr_array(model.dense.reshape(18, 6)), model.r, model.gamma, model.rho)
    P, R, gamma = arrays.to_mdptoolbox(model)
    again = arrays.from_mdptoolbox(P, R, gamma, rho=model.rho)
    assert again.is_sparse == sparse
    np.testing.assert_array_equal(again.dense, model.dense)
    np.testing.assert_array_equal(again.r, model.r)
    full = np.broadcast_to(np.arange(6.0), (3, 6, 6))
    expected = np.einsum("sat,t->sa", model.dense, np.arange(6.0))
    np.testing.assert_allclose(arrays.from_mdptoolbox(P, full, 0.5).r, expected, rtol=1e-12)
    of_states = np.repeat(np.arange(6.0)[:, None], 3, 1)
    np.testing.assert_array_equal(arrays.from_mdptoolbox(P, np.arange(6.0), 0.5).r, of_states)


def test_payoff_tensors_both_ways():
    u = np.random.default_rng(4).normal(size=(3, 2, 3, 2))
    game = arrays.from_payoffs(u)
    np.testing.assert_array_equal(arrays.to_payoffs(game), u)


@pytest.mark.parametrize(("call", "message"), [
    (lambda: arrays.from_quantecon([[np.nan]], [[[1.0]]], 0.9), "R must be finite"),
    (lambda: arrays.from_quantecon([[-np.inf]], [[[1.0]]], 0.9), "feasible action in every state"),
    (lambda: arrays.from_quantecon([1.0], [[1.0]], 0.9), "R must be of shape"),
    (lambda: arrays.from_quantecon([1.0, 1.0], [[1.0], [1.0]], 0.9, [0, 0], [0, 0]), "each pair once"),
    (lambda: arrays.from_mdptoolbox(np.zeros((2, 3, 4)), [0.0] * 3, 0.9), r"P\[0\]"),
    (lambda: arrays.from_mdptoolbox([np.eye(2)], np.zeros((5, 5)), 0.9), "R must be of shape"),
    (lambda: arrays.from_payoffs(np.zeros((2, 3))), "payoffs must be of shape"),
])
def test_bad_arrays(call, message):
    with pytest.raises(MdpkitError, match=message):
        call()


# Gambit

PENNIES = 'NFG 1 R "Matching pennies" { "Even" "Odd" }\n{ { "heads" "tails" } { "heads" "tails" } }\n""\n\n' \
          "1/3 -1/3  -1/3 1/3  -1/3 1/3  1/3 -1/3\n"
OUTCOMES = 'NFG 1 R "Two" { "A" "B" } { 2 3 }\n{\n{ "one" 1, 2 }\n{ "two" 1/2, -0.25 }\n}\n1 2 0 1 2 2\n'


def test_rational_payoffs(tmp_path):
    (tmp_path / "g.nfg").write_text(PENNIES)
    game = nfg.read(tmp_path / "g.nfg")
    assert game.players == ("Even", "Odd") and game.strategies[1] == ("heads", "tails") and game.is_zero_sum
    assert game.exact[0].tolist() == [[Fraction(1, 3), Fraction(-1, 3)], [Fraction(-1, 3), Fraction(1, 3)]]
    assert abs(matrix_game.solve(game.payoffs[0]).value) < ROUND


def test_outcomes_and_the_order_of_cells(tmp_path):
    """The first player moves fastest; outcome 0 pays nothing."""
    (tmp_path / "g.nfg").write_text(OUTCOMES)
    game = nfg.read(tmp_path / "g.nfg")
    assert game.exact.shape == (2, 2, 3) and not game.is_zero_sum
    assert game.exact[0].tolist() == [[1, 0, Fraction(1, 2)], [Fraction(1, 2), 1, Fraction(1, 2)]]
    assert game.exact[1, 0, 2] == Fraction(-1, 4)


def test_nfg_is_written_as_it_was_read(tmp_path):
    rng = np.random.default_rng(5)
    exact = np.array([Fraction(int(x), int(y)) for x, y in zip(rng.integers(-9, 9, 36), rng.integers(1, 9, 36))],
                     object).reshape(3, 2, 3, 2)
    game = nfg.NormalForm('odd "title"', ("a", "b", "c"), (("x", "y"), ("1", "2", "3"), ("l", "r")), exact)
    again = nfg.read(nfg.write(game, tmp_path / "g.nfg"))
    assert (again.exact == exact).all() and again.title == game.title and again.strategies == game.strategies


@pytest.mark.parametrize(("text", "message"), [
    ("EFG 2 R", "g.nfg must be an .nfg file"),
    ('NFG 1 R "t" { "a" "b" } { 2 2 }\n1 2 3', "ends too early"),
    ('NFG 1 R "t" { "a" "b" } { 1 1 }\n1 2 3', "more follow"),
    ('NFG 1 R "t" { "a" "b" } { 1 1 }\n1 x', "a number as word"),
    ('NFG 1 R "t" { "a" "b" } { 1 }\n1 1', "strategies of 2 players"),
])
def test_malformed_games(tmp_path, text, message):
    (tmp_path / "g.nfg").write_text(text)
    with pytest.raises(MdpkitError, match=message):
        nfg.read(tmp_path / "g.nfg")


def test_average_reward_of_a_read_chain(tmp_path):
    found = prism.read(put(tmp_path, tra="2 2\n0 1 1\n1 0 1\n", srew="2 1\n1 3\n"))
    assert average.solve(found.model, tier="exact").certificate.exact == (Fraction(3, 2), Fraction(3, 2))
