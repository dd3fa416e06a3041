"""Whatever numbers and oddities a model is given, it is sound or refused."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
import scipy.sparse as sp
from core.refusals import RHO, P, R
from hypothesis import given, settings
from hypothesis import strategies as st

from mdpkit.errors import MdpkitError
from mdpkit.models.tabular import EpisodicMDP, TabularMDP

numbers = st.one_of(
    st.sampled_from([0.0, 1.0, 0.5, -0.0, -1.0, math.nan, math.inf, -math.inf, 5e-324, 1e-17, 1e308, 2.0**-53]),
    st.floats(), st.integers(-3, 3))
ODDITIES = [
    None, "", "text", b"0.9", 1j, np.complex64(0.5), True, np.False_, (), {}, [[]], object(), 10**400, Fraction(1, 2),
    np.datetime64("2026-11-21"), np.zeros((2, 0)), [[1.0], [1.0, 2.0]], sp.csr_array((2, 2)), np.array(["a"]),
    np.longdouble("1e4000"), np.array(["2026"], "M8[Y]"), np.zeros(2, [("x", float)])]
oddities = st.sampled_from(ODDITIES)


def laws(*shape):
    weights = st.lists(st.integers(0, 3), min_size=math.prod(shape), max_size=math.prod(shape))
    return weights.map(lambda w: _rows(np.array(w, float).reshape(shape)))


def anything(*shape):
    """Arrays of the right shape with laws, one number spoiled or all of them, and things of other shapes and kinds."""
    size = math.prod(shape)
    wild = st.lists(numbers, min_size=size, max_size=size).map(lambda x: np.array(x, float).reshape(shape))
    spoiled = st.tuples(laws(*shape), st.integers(0, size - 1), numbers).map(lambda t: _spoil(*t))
    wrong = st.lists(st.integers(0, 3), max_size=4).map(np.ones)
    return st.one_of(spoiled, wild, wrong, oddities, spoiled.map(np.ndarray.tolist),
                     spoiled.map(lambda x: x.astype(np.longdouble)), spoiled.map(_single))


def _single(x):
    with np.errstate(over="ignore"):        # what is too large for float32 becomes infinite: one more malformed array
        return x.astype(np.float32)


def _rows(w):
    w = w + (w.sum(-1, keepdims=True) == 0)
    return w / w.sum(-1, keepdims=True)


def _spoil(p, at, value):
    p = p.copy()
    p.flat[at] = value
    return p


def one_spoiled(**arguments):
    """Sound arguments but for one, and sometimes for all; each is given as (sound, malformed)."""
    sound = {name: fine for name, (fine, _) in arguments.items()}
    calls = [st.fixed_dictionaries(sound | {name: malformed}) for name, (_, malformed) in arguments.items()]
    return st.one_of(*calls, st.fixed_dictionaries({name: malformed for name, (_, malformed) in arguments.items()}))


SCALAR = (st.floats(0, 0.99), st.one_of(numbers, oddities))
NOISE = (st.just("none"), st.one_of(st.sampled_from(["bernoulli", "gaussian", "cauchy"]), oddities))
FLUSH = (st.just(False), st.booleans())


def tame(build):
    """A sound model or an MdpkitError; nothing else, and no NaN."""
    try:
        model = build()
    except MdpkitError as e:
        assert e.where and str(e)
        return
    P = model.dense if isinstance(model, TabularMDP) else model.P
    assert np.isfinite(P).all() and np.isfinite(model.r).all() and np.isfinite(model.rho).all()
    assert (P >= 0).all() and (P.sum(-1) == 1).all() and (model.rho >= 0).all() and model.rho.sum() == 1
    assert not isinstance(model, TabularMDP) or 0 <= model.gamma < 1
    assert model.noise != "bernoulli" or ((model.r >= 0) & (model.r <= 1)).all()


SOUND = {"P": P, "r": R, "gamma": 0.9, "rho": RHO, "noise": "none"}


@pytest.mark.parametrize("argument", SOUND)
@pytest.mark.parametrize("k", range(len(ODDITIES)), ids=lambda k: f"{type(ODDITIES[k]).__name__} {k}")
def test_no_argument_takes_an_oddity(argument, k):
    tame(lambda: TabularMDP(**SOUND | {argument: ODDITIES[k]}))


generated = settings(derandomize=True, deadline=None, max_examples=200)


@generated
@given(one_spoiled(P=(laws(2, 2, 2), anything(2, 2, 2)), r=(laws(2, 2), anything(2, 2)), gamma=SCALAR,
                   rho=(laws(2), anything(2)), noise=NOISE, flush=FLUSH))
def test_no_tabular_model_holds_nonsense(arguments):
    tame(lambda: TabularMDP(**arguments))


@generated
@given(one_spoiled(P=(laws(4, 2), anything(4, 2)), r=(laws(2, 2), anything(2, 2)), gamma=SCALAR,
                   rho=(laws(2), anything(2)), noise=NOISE, flush=FLUSH))
def test_no_sparse_model_holds_nonsense(arguments):
    P = arguments["P"]
    if isinstance(P, np.ndarray) and P.ndim == 2 and P.dtype in (np.float32, np.float64):
        arguments = arguments | {"P": sp.csr_array(P)}
    tame(lambda: TabularMDP(**arguments))


@generated
@given(one_spoiled(P=(laws(2, 2, 1, 2), anything(2, 2, 1, 2)), r=(laws(2, 2, 1), anything(2, 2, 1)),
                   rho=(laws(2), anything(2)), noise=NOISE, flush=FLUSH))
def test_no_episodic_model_holds_nonsense(arguments):
    tame(lambda: EpisodicMDP(**arguments))
