"""Malformed models: each is refused within a second, by a message that names the argument, and compiles nothing."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest
import scipy.sparse as sp
from core.refusals import EPISODIC, FINE, GAME, LATENT, PREFERENCES, RHO, TOKENS, A, H, P, R, S, bad, changed, refused

from mdpkit.errors import MdpkitError
from mdpkit.models import convert
from mdpkit.models.bandits import Bandit, ContextualBandit, LinearBandit
from mdpkit.models.games import MarkovGame
from mdpkit.models.latent import LatentMDP, RichMDP
from mdpkit.models.linear import LinearMDP, LinearMixtureMDP
from mdpkit.models.preferences import PreferenceModel
from mdpkit.models.tabular import EpisodicMDP, TabularMDP
from mdpkit.models.tokens import TokenModel

BLURRED = RichMDP(EPISODIC.P, EPISODIC.r, RHO, np.full((S, 4), 0.25))


def sparse(at=None, value=0.0):
    dense = P.reshape(S * A, S)
    return sp.csr_array(dense if at is None else changed(dense, at, value))


TABLE = [
    # tabular
    bad("row sums to 1/2", lambda: TabularMDP(changed(P, (1, 0), [0.5, 0, 0]), R, 0.9, RHO),
        r"^P\[1, 0, :\] must be a probability vector; it sums to 0\.5$"),
    bad("row sums to 1.5", lambda: TabularMDP(changed(P, (2, 1), 0.5), R, 0.9, RHO), r"P\[2, 1, :\].*sums to 1\.5"),
    bad("row of zeros", lambda: TabularMDP(changed(P, (0, 1), 0.0), R, 0.9, RHO), r"P\[0, 1, :\].*sums to 0$"),
    bad("negative entry", lambda: TabularMDP(changed(P, (1, 1), [1.5, -0.5, 0]), R, 0.9, RHO),
        r"P\[1, 1, :\].*entry 1 is -0\.5"),
    bad("nan in P", lambda: TabularMDP(changed(P, (2, 0, 1), math.nan), R, 0.9, RHO),
        r"P\[2, 0, 1\] must be finite.*nan"),
    bad("inf in P", lambda: TabularMDP(changed(P, (2, 0, 1), math.inf), R, 0.9, RHO),
        r"P\[2, 0, 1\] must be finite.*inf"),
    bad("float32 rows", lambda: TabularMDP(changed(P, (0, 0), [0.3333333, 0.3333333, 0.3333333]), R, 0.9, RHO),
        r"P\[0, 0, :\].*float32"),
    bad("tiny entry", lambda: TabularMDP(changed(P, (0, 0), [1, 1e-17, 0]), R, 0.9, RHO),
        r"P\[0, 0, :\] must be free of positive entries below 2\*\*-53; entry 1 .*flush=True"),
    bad("P transposed", lambda: TabularMDP(P.transpose(1, 0, 2), R, 0.9, RHO),
        r"P must be of shape \(3, 2, 3\).*\(2, 3, 3\)"),
    bad("P flat", lambda: TabularMDP(P.reshape(6, 3), R, 0.9, RHO), r"P must be of shape \(3, 2, 3\)"),
    bad("P ragged", lambda: TabularMDP([[[1.0], [0.5, 0.5]]], R, 0.9, RHO), r"P must be an array of numbers.*ragged"),
    bad("P complex", lambda: TabularMDP(P + 0j, R, 0.9, RHO), r"P must be an array of real numbers.*complex128"),
    bad("P of text", lambda: TabularMDP(P.astype(str), R, 0.9, RHO), r"P must be an array of real numbers"),
    bad("P of objects", lambda: TabularMDP([[[Fraction(1)] * 3] * 2] * 3, R, 0.9, RHO), r"P must be .*object"),
    bad("P boolean", lambda: TabularMDP(P > 2, R, 0.9, RHO), r"P must be an array of real numbers.*bool"),
    bad("P None", lambda: TabularMDP(None, R, 0.9, RHO), r"P must be an array of real numbers"),
    bad("r empty", lambda: TabularMDP(np.zeros((0, 2, 0)), np.zeros((0, 2)), 0.9, []),
        r"r must be non-empty along axis 0"),
    bad("r transposed", lambda: TabularMDP(P, R.T, 0.9, RHO),
        r"P must be of shape \(2, 3, 2\); its shape is \(3, 2, 3\)"),
    bad("nan in r", lambda: TabularMDP(P, changed(R, (1, 1), math.nan), 0.9, RHO), r"r\[1, 1\] must be finite"),
    bad("inf in r", lambda: TabularMDP(P, changed(R, (1, 1), -math.inf), 0.9, RHO),
        r"r\[1, 1\] must be finite; it is -inf"),
    bad("r beyond float64", lambda: TabularMDP(P, np.full((S, A), np.longdouble("1e4000")), 0.9, RHO), r"r\b"),
    bad("bernoulli mean above 1", lambda: TabularMDP(P, changed(R, (2, 1), 1.5), 0.9, RHO, "bernoulli"),
        r"r\[2, 1\] must be in \[0, 1\]; it is 1\.5"),
    bad("gamma 1", lambda: TabularMDP(P, R, 1.0, RHO), r"gamma must be in \[0, 1\); it is 1\.0"),
    bad("gamma negative", lambda: TabularMDP(P, R, -0.5, RHO), r"gamma must be in \[0, 1\)"),
    bad("gamma nan", lambda: TabularMDP(P, R, math.nan, RHO), r"gamma must be finite"),
    bad("gamma text", lambda: TabularMDP(P, R, "0.9", RHO), r"gamma must be a real number; it is '0\.9'"),
    bad("gamma bytes", lambda: TabularMDP(P, R, b"0.9", RHO), r"gamma must be a real number"),
    bad("gamma boolean", lambda: TabularMDP(P, R, False, RHO), r"gamma must be a real number"),
    bad("gamma numpy boolean", lambda: TabularMDP(P, R, np.False_, RHO), r"gamma must be a real number"),
    bad("gamma array", lambda: TabularMDP(P, R, np.array([0.9]), RHO), r"gamma must be a real number"),
    bad("gamma complex", lambda: TabularMDP(P, R, 0.9j, RHO), r"gamma must be a real number"),
    bad("gamma complex64", lambda: TabularMDP(P, R, np.complex64(0.5), RHO), r"gamma must be a real number"),
    bad("gamma too large to be a float", lambda: TabularMDP(P, R, 10**400, RHO), r"gamma\b"),
    bad("gamma a date", lambda: TabularMDP(P, R, np.datetime64("2026-11-21"), RHO), r"gamma must be a real number"),
    bad("rho a matrix", lambda: TabularMDP(P, R, 0.9, RHO[None]),
        r"rho must be of shape \(3,\); its shape is \(1, 3\)"),
    bad("rho not normalised", lambda: TabularMDP(P, R, 0.9, [1, 1, 0]),
        r"rho\[:\] must be a probability vector; it sums to 2"),
    bad("noise unknown", lambda: TabularMDP(P, R, 0.9, RHO, "cauchy"),
        r"noise must be one of 'none', 'bernoulli', 'gaussian'"),
    bad("noise None", lambda: TabularMDP(P, R, 0.9, RHO, None), r"noise must be one of"),
    bad("sparse of a wrong shape", lambda: TabularMDP(sparse().T, R, 0.9, RHO),
        r"P must be of shape \(S\*A, S\) = \(6, 3\)"),
    bad("sparse with nan", lambda: TabularMDP(sparse((3, 1), math.nan), R, 0.9, RHO), r"P\[1, 1, 1\] must be finite"),
    bad("sparse with an empty row", lambda: TabularMDP(sparse(4, 0.0), R, 0.9, RHO), r"P\[2, 0, :\].*no entries"),
    bad("sparse with a bad sum", lambda: TabularMDP(sparse((5, 0), 1.0), R, 0.9, RHO), r"P\[2, 1, :\].*sums to 1\.66"),
    bad("sparse with a negative entry", lambda: TabularMDP(sparse((5, 0), -1.0), R, 0.9, RHO),
        r"P\[2, 1, :\].*entry 0 is -1"),
    bad("sparse complex", lambda: TabularMDP(sparse().astype(complex), R, 0.9, RHO),
        r"P must be an array of real numbers"),
    bad("sparse rewards", lambda: TabularMDP(P, sparse(), 0.9, RHO), r"r must be a dense array; .*\.toarray\(\)"),
    # episodic
    bad("episodic row", lambda: EpisodicMDP(changed(EPISODIC.P, (1, 2, 0), 0.0), EPISODIC.r, RHO), r"P\[1, 2, 0, :\]"),
    bad("kernel of one step", lambda: EpisodicMDP(P, EPISODIC.r, RHO), r"P must be of shape \(2, 3, 2, 3\)"),
    bad("no steps", lambda: EpisodicMDP.stationary(P, R, RHO, 0), r"H must be at least 1; it is 0"),
    bad("half a step", lambda: EpisodicMDP.stationary(P, R, RHO, 2.5), r"H must be an integer; it is 2\.5"),
    bad("H boolean", lambda: EpisodicMDP.stationary(P, R, RHO, True), r"H must be an integer"),
    bad("a horizon of 10**12", lambda: EpisodicMDP.stationary(P, R, RHO, 10**12), r"H must be small enough"),
    # linear
    bad("phi @ mu no law", lambda: LinearMDP(np.ones((1, 1, 2)), np.ones((1, 2, 1)), [[0, 0]], [1.0]),
        r"\(phi @ mu\)\[0, 0, 0, :\] must be a probability vector; it sums to 2"),
    bad("phi @ mu not a number", lambda: LinearMDP([[[1e200, 1e200]]], [[[1e200], [-1e200]]], [[0, 0]], [1.0]),
        r"phi @ mu"),
    bad("phi @ theta infinite", lambda: LinearMDP([[[1e200]]], [[[1e-200]]], [[1e200]], [1.0]), r"phi @ theta"),
    bad("mu of other features", lambda: LinearMDP(np.ones((1, 1, 1)), np.ones((1, 2, 1)), [[0]], [1.0]),
        r"mu must be of shape \(H, 1, 1\)"),
    bad("theta of other steps", lambda: LinearMDP(np.ones((1, 1, 1)), np.ones((2, 1, 1)), [[0]], [1.0]),
        r"theta must be of shape \(2, 1\)"),
    bad("linear bernoulli mean", lambda: LinearMDP([[[1.0]]], [[[1.0]]], [[2.0]], [1.0], "bernoulli"),
        r"\(phi @ theta\)\[0, 0, 0\] must be in \[0, 1\]"),
    bad("mixture weights", lambda: LinearMixtureMDP(P[None], [[0.5], [1.0]], EPISODIC.r, RHO),
        r"theta\[0, :\].*sums to 0\.5"),
    bad("features of a value of another size",
        lambda: LinearMixtureMDP(P[None], [[1.0]], R[None], RHO).value_features([0.0]),
        r"V must be of shape \(3,\)"),
    # hidden
    bad("contexts", lambda: LatentMDP([0.5, 0.6], LATENT.nu, LATENT.P, LATENT.r, H), r"w\[:\].*sums to 1\.1"),
    bad("latent kernel", lambda: LatentMDP(LATENT.w, LATENT.nu, changed(LATENT.P, (1, 0, 1), 1.0), LATENT.r, H),
        r"P\[1, 0, 1, :\].*sums to 3"),
    bad("emission", lambda: RichMDP(EPISODIC.P, EPISODIC.r, RHO, np.ones((S, 2))), r"q\[0, :\].*sums to 2"),
    bad("no decoder", lambda: BLURRED.decoder(), r"q\[:, 0\] must be positive for one state only \(a block MDP\)"),
    # bandits
    bad("no arms", lambda: Bandit([]), r"mu must be non-empty along axis 0"),
    bad("bernoulli arm", lambda: Bandit([0.5, -0.1]), r"mu\[1\] must be in \[0, 1\]; it is -0\.1"),
    bad("theta of another dimension", lambda: LinearBandit(np.ones((2, 3)), [1.0]), r"theta must be of shape \(3,\)"),
    bad("linear bandit with infinite means", lambda: LinearBandit([[1e200]], [1e200]), r"x @ theta"),
    bad("contexts of another number", lambda: ContextualBandit([1.0], np.zeros((2, 2))),
        r"rho must be of shape \(2,\)"),
    # games
    bad("rewards of one player", lambda: MarkovGame(np.ones((1, 1, 2, 2, 1)), np.zeros((1, 1, 1, 2, 2)), [1.0]),
        r"r must be of shape \(n, H, S, A1, \.\.\., An\) with n = 2"),
    bad("rewards too flat", lambda: MarkovGame(np.ones((1, 1, 1)), np.zeros((1, 1, 1)), [1.0]),
        r"r must be of shape \(n, H"),
    bad("rewards ragged", lambda: MarkovGame(np.ones((1, 1, 1)), [[1.0], [1.0, 2.0]], [1.0]), r"r must be"),
    bad("no payoffs", lambda: MarkovGame.matrix(), r"payoffs must be one matrix or one tensor a player"),
    bad("payoffs of two shapes", lambda: MarkovGame.matrix(np.ones((2, 2)), np.ones((2, 3))),
        r"payoffs\[1\] must be of shape \(2, 2\)"),
    bad("payoffs ragged", lambda: MarkovGame.matrix([[1.0], [1.0, 2.0]]), r"payoffs\[0\] must be"),
    bad("payoffs of text", lambda: MarkovGame.matrix([["a", "b"]]), r"payoffs\[0\] must be an array of real numbers"),
    bad("payoffs boolean", lambda: MarkovGame.matrix([[True, False]]),
        r"payoffs\[0\] must be an array of real numbers"),
    # preferences and tokens
    bad("p not complementary", lambda: PreferenceModel([[[0.5, 0.7], [0.7, 0.5]]], [1.0], [[0.5, 0.5]], 1.0),
        r"p\[0, 0, 1\] \+ p\[0, 1, 0\] must be 1; it is 1\.4 \(symmetrise=True"),
    bad("p above 1", lambda: PreferenceModel([[[0.5, 1.2], [-0.2, 0.5]]], [1.0], [[0.5, 0.5]], 1.0),
        r"p\[0, 0, 1\] must be in \[0, 1\]"),
    bad("p not square", lambda: PreferenceModel(np.full((1, 2, 3), 0.5), [1.0], [[0.5, 0.5]], 1.0),
        r"p must be of shape \(X, Y, Y\)"),
    bad("reference without support", lambda: PreferenceModel(PREFERENCES.p, [1.0], [[1.0, 0.0]], 1.0),
        r"pi_ref\[0, 1\] must be positive \(full support\)"),
    bad("beta 0", lambda: PreferenceModel(PREFERENCES.p, [1.0], [[0.5, 0.5]], 0), r"beta must be in \(0, inf\]"),
    bad("beta inf", lambda: PreferenceModel(PREFERENCES.p, [1.0], [[0.5, 0.5]], math.inf), r"beta must be finite"),
    bad("a tree that is not complete", lambda: TokenModel(np.zeros((1, 4)), np.full((1, 4, 2), 0.5), [1.0], 1.0),
        r"pi_ref must be of shape \(X, \(V\*\*H - 1\)/\(V - 1\), V\); 4 prefixes"),
    bad("rewards of other responses", lambda: TokenModel(np.zeros((1, 8)), TOKENS.pi_ref, [1.0], 1.0),
        r"reward must be of shape \(1, 4\)"),
    bad("next-token law without support",
        lambda: TokenModel(np.zeros((1, 4)), changed(TOKENS.pi_ref, (0, 2), [1, 0]), [1.0], 1.0),
        r"pi_ref\[0, 2, 1\] must be positive"),
    # conversions
    bad("H missing", lambda: convert.to_episodic(FINE), r"H must be given to cut a discounted MDP"),
    bad("H superfluous", lambda: convert.to_episodic(EPISODIC, 5), r"H must be left out.*it is 5"),
    bad("a cut at 10**12", lambda: convert.to_episodic(FINE, 10**12), r"H\b"),
    bad("not a model", lambda: convert.to_episodic("model"), r"model must be one that is an episodic MDP; it is a str"),
    bad("a game is not episodic", lambda: convert.to_episodic(GAME), r"model must be .*MarkovGame"),
    bad("one hot of a discounted model", lambda: convert.one_hot(FINE),
        r"model must be a EpisodicMDP; it is a TabularMDP"),
    bad("context out of range", lambda: convert.context(LATENT, 2), r"m must be at least 0 and at most 1; it is 2"),
    bad("player out of range", lambda: convert.best_response_mdp(GAME, 2, [[[1, 0]]]),
        r"player must be at least 0 and at most 1"),
    bad("opponent of a wrong shape", lambda: convert.best_response_mdp(GAME, 0, [[1.0, 0.0]]),
        r"others must be of shape"),
    bad("prompt out of range", lambda: convert.preference_game(PREFERENCES, -1),
        r"x must be at least 0 and at most 0; it is -1"),
]


@pytest.mark.parametrize(("thunk", "message"), TABLE)
def test_a_malformed_call_is_refused(thunk, message):
    refused(thunk, message)


def test_an_error_says_where_what_and_how():
    with pytest.raises(MdpkitError) as caught:
        TabularMDP(changed(P, (1, 0), [0.3333333, 0.3333333, 0.3333333]), R, 0.9, RHO)
    assert caught.value.where == "P[1, 0, :]" and "normalise" in caught.value.hint
    assert isinstance(caught.value, ValueError)


def test_a_long_value_is_cut_in_the_message():
    with pytest.raises(MdpkitError) as caught:
        TabularMDP(P, R, 0.9, RHO, "x" * 10_000)
    assert len(str(caught.value)) < 200


def test_model_validation_loads_no_compiler():
    script = """
import sys
from mdpkit.errors import MdpkitError
from mdpkit.models import bandits, convert, games, latent, linear, preferences, tabular, tokens
from mdpkit.records import Dataset
try:
    tabular.TabularMDP([[[0.5]]], [[0.0]], 0.9, [1.0])
except MdpkitError as e:
    print(e)
print(*(m for m in ("numba", "scipy", "cvxpy", "matplotlib") if m in sys.modules))
"""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("NUMBA_")}
    done = subprocess.run([sys.executable, "-W", "error", "-c", script], env=environment, capture_output=True,
                          text=True)
    assert done.stdout == "P[0, 0, :] must be a probability vector; it sums to 0.5\n\n" and done.stderr == ""
