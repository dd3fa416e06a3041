"""Models: what they store, what they refuse to share, what survives a file, and what each kind adds."""

from __future__ import annotations

import dataclasses
import itertools
import math

import numpy as np
import pytest
from core.models_built import BUILD, EXACT, A, D, H, S, arrays_of, bits_of, build, exact_sum, full, law, parts_of, unit

from mdpkit import validate
from mdpkit.errors import MdpkitError
from mdpkit.models.games import MarkovGame
from mdpkit.models.latent import RichMDP
from mdpkit.models.preferences import PreferenceModel
from mdpkit.models.record import load
from mdpkit.models.tabular import EpisodicMDP
from mdpkit.models.tokens import TokenModel

# --- every model

every_model = pytest.mark.parametrize("name", BUILD)


@every_model
def test_arrays_are_plain_and_read_only(name):
    model = build(name)
    assert arrays_of(model)
    for a in arrays_of(model):
        assert not a.flags.writeable and a.flags.c_contiguous
        assert name == "tabular sparse" or a.dtype == np.float64
        with pytest.raises(ValueError, match="read-only"):
            a[...] = 0


@every_model
def test_arrays_that_are_worked_out_once_are_read_only_too(name):
    model = build(name)
    derived = [getattr(model, k) for k in ("P", "r", "dense") if hasattr(model, k)]
    derived += list(getattr(model, "rows", ()))
    assert [a.flags.writeable for a in derived if isinstance(a, np.ndarray)].count(True) == 0


@every_model
def test_a_model_does_not_share_its_input(name):
    kind, arguments = BUILD[name]
    given_ = arguments()
    model = kind(**given_)
    before = bits_of(model)
    for value in given_.values():
        for a in parts_of(value):
            assert not any(np.shares_memory(a, b) for b in arrays_of(model))
            a[...] = 0
    assert bits_of(model) == before


@every_model
def test_a_model_does_not_share_read_only_or_canonical_input(name):
    kind, _ = BUILD[name]
    model = build(name)
    again = kind(**{f.name: getattr(model, f.name) for f in dataclasses.fields(model)})
    assert bits_of(again) == bits_of(model)
    assert not any(np.shares_memory(a, b) for a in arrays_of(model) for b in arrays_of(again))


@every_model
def test_lists_and_other_layouts_give_the_same_model(name):
    kind, arguments = BUILD[name]
    other = {k: np.asfortranarray(v) if isinstance(v, np.ndarray) else v for k, v in arguments().items()}
    lists = {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in arguments().items()}
    assert bits_of(kind(**other)) == bits_of(kind(**lists)) == bits_of(build(name))


@every_model
def test_a_file_keeps_every_bit(name, tmp_path):
    model = build(name)
    path = model.save(tmp_path / "model.v1.npz")
    assert path == tmp_path / "model.v1.npz"
    again = load(str(path))
    assert type(again) is type(model) and bits_of(again) == bits_of(model)
    model.save(path)
    assert [p.name for p in tmp_path.iterdir()] == ["model.v1.npz"], "nothing else is left behind"


@every_model
def test_a_model_is_frozen(name):
    model = build(name)
    for field in (*(f.name for f in dataclasses.fields(model)), "novel"):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(model, field, 0)


@every_model
def test_a_model_shows_itself(name):
    model = build(name)
    assert repr(model).startswith(type(model).__name__ + "(") and "\n" not in repr(model) and len(repr(model)) < 120
    page = model._repr_html_()
    assert page.startswith("<table>") and page.endswith("</table>") and type(model).__name__ in page
    assert all(f"<th style='text-align:left'>{f.name}</th>" in page
               for f in dataclasses.fields(model) if getattr(model, f.name) is not None)


def test_a_repr_names_the_sizes():
    assert repr(build("tabular")) == "TabularMDP(S=4, A=2, gamma=0.9, noise=none)"
    assert repr(build("game")) == "MarkovGame(S=4, A=(2, 3), H=3, n=2, noise=none)"


# --- what single models add

def test_stationary_repeats_one_kernel():
    P, r = law(1, S, A, S), unit(2, S, A)
    model = EpisodicMDP.stationary(P, r, law(3, S), 5)
    assert model.H == 5 and model.is_stationary and not build("episodic").is_stationary
    assert all((model.P[h] == validate.simplex("P", P, P.shape)).all() and (model.r[h] == r).all() for h in range(5))


def test_rows_of_an_episodic_model_are_its_kernel():
    model = build("episodic")
    back = np.zeros((H * S * A, S))
    for k in range(H * S * A):
        part = slice(model.rows.ptr[k], model.rows.ptr[k + 1])
        assert (np.diff(model.rows.col[part]) > 0).all() and (model.rows.val[part] > 0).all()
        back[k, model.rows.col[part]] = model.rows.val[part]
    assert (back == model.P.reshape(-1, S)).all()


def test_a_linear_model_is_linear():
    model = build("linear")
    for h, s, a in itertools.product(range(H), range(S), range(A)):
        wanted = sum(model.phi[s, a, i] * model.mu[h, i] for i in range(D))
        assert np.abs(model.P[h, s, a] - wanted).max() <= model.misfit <= EXACT
        assert exact_sum(model.P[h, s, a]) == 1
        assert abs(model.r[h, s, a] - sum(model.phi[s, a] * model.theta[h])) <= EXACT


def test_a_mixture_mixes():
    model = build("mixture")
    V = unit(0, S)
    for h, s, a in itertools.product(range(H), range(S), range(A)):
        wanted = sum(model.theta[h, i] * model.base[i, s, a] for i in range(D))
        assert np.abs(model.P[h, s, a] - wanted).max() <= EXACT
        assert abs(model.value_features(V)[s, a] @ model.theta[h] - model.P[h, s, a] @ V) <= EXACT


def test_preferences_are_complementary_to_the_bit():
    model = build("preferences")
    assert (model.p + model.p.transpose(0, 2, 1) == 1.0).all()
    assert (np.diagonal(model.p, axis1=1, axis2=2) == 0.5).all()
    raw = unit(0, 1, 3, 3)
    mended = PreferenceModel(raw, [1.0], full(1, 1, 3), 1.0, symmetrise=True)
    assert np.abs(mended.p - (raw + 1 - raw.transpose(0, 2, 1)) / 2).max() <= EXACT


def test_bradley_terry_is_the_sigmoid_of_the_gap():
    reward = np.array([[0.0, 1.0, -2.0], [800.0, 0.0, 0.5]])     # exp(800) overflows: the formula must not
    model = PreferenceModel.bradley_terry(reward, [0.5, 0.5], full(1, 2, 3), 1.0)
    for x, y, z in itertools.product(range(2), range(3), range(3)):
        gap = reward[x, y] - reward[x, z]
        wanted = 1 / (1 + math.exp(-gap)) if gap > -700 else 0.0
        assert abs(model.p[x, y, z] - wanted) <= EXACT
    assert (model.reward == reward).all()


def test_a_matrix_game_of_one_payoff_is_zero_sum():
    game = MarkovGame.matrix([[1, 2, 3], [4, 5, 6]])
    assert game.is_zero_sum and game.A == (2, 3) and (game.H, game.S, game.n) == (1, 1, 2)
    assert not MarkovGame.matrix([[1, 0]], [[1, 0]]).is_zero_sum


@pytest.mark.parametrize("dtype", ["int8", "int64", "uint8", "uint64", "float32"])
def test_a_payoff_of_any_number_type_is_negated_exactly(dtype):
    game = MarkovGame.matrix(np.array([[1, 2]], dtype))
    assert game.r[0].ravel().tolist() == [1, 2] and game.r[1].ravel().tolist() == [-1, -2]


def test_a_decoder_names_the_one_state_of_an_observation():
    q = [[0.5, 0.5, 0, 0], [0, 0, 1, 0]]
    rich = RichMDP(law(0, 1, 2, 1, 2), np.zeros((1, 2, 1)), [1, 0], q)
    assert rich.is_block and rich.decoder().tolist() == [0, 0, 1, -1]
    assert not build("rich").is_block
    with pytest.raises(MdpkitError, match=r"q\[:, \d\] must be positive for one state only"):
        build("rich").decoder()


@pytest.mark.parametrize(("V", "depth"), [(1, 1), (1, 4), (2, 1), (2, 3), (3, 2)])
def test_the_response_law_is_the_product_along_each_path(V, depth):
    N = sum(V**h for h in range(depth))
    pi = full(3, 2, N, V)
    model = TokenModel(unit(0, 2, V**depth), pi, [0.5, 0.5], 1.0)
    assert (depth, V**depth, V) == (model.H, model.Y, model.V)
    for other in (None, full(4, 2, N, V)):
        tokens = pi if other is None else other
        for x, response in itertools.product(range(2), itertools.product(range(V), repeat=depth)):
            prob, node, number = 1.0, 0, 0
            for t in response:                     # breadth first: the children of a node are V*node + 1 + t
                prob, node, number = prob * tokens[x, node, t], V * node + 1 + t, V * number + t
            assert abs(model.response_law(other)[x, number] - prob) <= EXACT
