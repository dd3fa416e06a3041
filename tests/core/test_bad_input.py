"""Malformed calls: each is refused within a second, by a message that names the argument, and compiles nothing."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import time
import warnings
from fractions import Fraction

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from mdpkit import validate
from mdpkit.access import Comparisons, Episodes, Generative, Reset, Stream
from mdpkit.data import collect, compare, draw_states, draw_tuples
from mdpkit.errors import MdpkitError
from mdpkit.models import convert
from mdpkit.models.bandits import Bandit, ContextualBandit, LinearBandit
from mdpkit.models.games import MarkovGame
from mdpkit.models.latent import LatentMDP, RichMDP
from mdpkit.models.linear import LinearMDP, LinearMixtureMDP
from mdpkit.models.preferences import PreferenceModel
from mdpkit.models.record import load
from mdpkit.models.tabular import EpisodicMDP, TabularMDP
from mdpkit.models.tokens import TokenModel
from mdpkit.records import Dataset, StateOnlyDataset, Steps

S, A, H = 3, 2, 2
P, R, RHO = np.full((S, A, S), 1 / S), np.zeros((S, A)), np.array([1.0, 0.0, 0.0])
PI = np.full((H, S, A), 1 / A)
FINE = TabularMDP(P, R, 0.9, RHO)
EPISODIC = EpisodicMDP.stationary(P, R, RHO, H)
PREFERENCES = PreferenceModel.bradley_terry([[0.0, 1.0]], [1.0], [[0.5, 0.5]], 1.0)
TOKENS = TokenModel(np.zeros((1, 4)), np.full((1, 3, 2), 0.5), [1.0], 1.0)
GAME = MarkovGame.matrix([[0.0, 1.0], [1.0, 0.0]])
LATENT = LatentMDP([0.5, 0.5], np.full((2, S), 1 / S), np.full((2, S, A, S), 1 / S), np.zeros((2, S, A)), H)
BLURRED = RichMDP(EPISODIC.P, EPISODIC.r, RHO, np.full((S, 4), 0.25))


def rng():
    return np.random.default_rng(0)


def changed(array, at, value):
    out = np.array(array, float)
    out[at] = value
    return out


def sparse(at=None, value=0.0):
    dense = P.reshape(S * A, S)
    return sp.csr_array(dense if at is None else changed(dense, at, value))


def idle(world, log, first, rng):
    pass


def play(log=R, n=1, learner=None, **access):
    return Episodes(EPISODIC, rng(), **access).drive(idle, (), log, n, rng() if learner is None else learner)


def steps(**parts):
    whole = np.zeros((4, H), int)
    return Steps(**({"s": whole, "a": whole, "r": whole.astype(float), "s_next": whole} | parts))


def bad(name, thunk, message):
    return pytest.param(thunk, message, id=name)


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
    # validate
    bad("a seed for a generator", lambda: validate.generator("rng", 0),
        r"rng must be a numpy\.random\.Generator; it is 0 \(pass"),
    bad("a legacy state", lambda: validate.generator("rng", np.random.RandomState(0)), r"rng must be"),
    bad("floats for integers", lambda: validate.array("s", [0.0, 1.0], ("n",), integer=True),
        r"s must be an array of integers"),
    bad("integers beyond int64", lambda: validate.array("s", np.array([2**63], np.uint64), ("n",), integer=True),
        r"s\b"),
    bad("policy ragged", lambda: validate.policy("policy", [[1.0], [0.5, 0.5]], (S, A)), r"policy must be"),
    bad("policy of actions out of range", lambda: validate.policy("policy", [0, 2, 0], (S, A)),
        r"policy\[1\] must be in \[0, 1\]; it is 2"),
    bad("policy that sums to 2", lambda: validate.policy("policy", np.ones((S, A)), (S, A)),
        r"policy\[0, :\].*sums to 2"),
    # access
    bad("a seed for the world", lambda: Episodes(EPISODIC, 0), r"rng must be a numpy\.random\.Generator; it is 0"),
    bad("generative bandit", lambda: Generative(Bandit([0.5]), rng()),
        r"model must be tabular, episodic or linear for Generative"),
    bad("episodes of text", lambda: Episodes("model", rng()), r"model must be .*Episodes access; it is a str"),
    bad("stream of an episodic", lambda: Stream(EPISODIC, rng()), r"model must be a TabularMDP; it is a EpisodicMDP"),
    bad("comparisons of a tabular", lambda: Comparisons(FINE, rng()), r"model must be a PreferenceModel or TokenModel"),
    bad("reset of a game", lambda: Reset(GAME, rng()), r"model must be .*Reset access; it is a MarkovGame"),
    bad("hindsight without contexts", lambda: Episodes(EPISODIC, rng(), hindsight=True), r"hindsight must be False"),
    bad("grant of no field", lambda: Episodes(EPISODIC, rng(), grant=("q",)),
        r"grant must be names of fields of EpisodicMDP; it is 'q'"),
    bad("grant of a method", lambda: Episodes(EPISODIC, rng(), grant=("save",)), r"grant must be names of fields"),
    bad("grant that is no sequence", lambda: Episodes(EPISODIC, rng(), grant=5), r"grant must be"),
    bad("grant one string", lambda: Episodes(LATENT, rng(), grant="nu"), r"grant must be"),
    bad("bound that hides a size", lambda: Episodes(EPISODIC, rng(), bounds={"H": 99}), r"bounds"),
    bad("bounds no mapping", lambda: Episodes(EPISODIC, rng(), bounds=3), r"bounds must be"),
    bad("watch not callable", lambda: Episodes(EPISODIC, rng(), watch=3), r"watch must be a callable"),
    bad("chunk 0", lambda: Episodes(EPISODIC, rng(), chunk=0), r"chunk must be at least 1; it is 0"),
    bad("chunk half", lambda: Episodes(EPISODIC, rng(), chunk=0.5), r"chunk must be an integer"),
    bad("reset to nowhere", lambda: Reset(EPISODIC, rng(), to="everywhere"), r"to must be one of 'visited', 'any'"),
    bad("reset mask of numbers", lambda: Reset(EPISODIC, rng(), to=np.ones((H, S))), r"to must be .*float64"),
    bad("reset mask of a wrong shape", lambda: Reset(EPISODIC, rng(), to=np.ones((S, H), bool)),
        r"to must be .*\(3, 2\)"),
    bad("reset mask ragged", lambda: Reset(EPISODIC, rng(), to=[[True], [True, False]]), r"to must be"),

           bad("reset to a data set of other steps",
        lambda: Reset(EPISODIC, rng(), to=StateOnlyDataset(np.zeros((2, 5), int), "")),
        r"to must be a data set of 2 steps over 3 states; it has shape \(2, 5\)"),

           bad("reset to a data set of other states",
        lambda: Reset(EPISODIC, rng(), to=Dataset(steps(s=np.full((4, H), 7)), "")),
        r"to must be a data set .*largest state 7"),
    # drive
    bad("n negative", lambda: play(n=-1), r"n must be at least 0; it is -1"),
    bad("n a float", lambda: play(n=3.0), r"n must be an integer; it is 3\.0"),
    bad("n 0 without a watch", lambda: play(n=0), r"n must be at least 1 to give a trace"),
    bad("a seed for the learner", lambda: play(learner=7), r"rng must be a numpy\.random\.Generator; it is 7"),
    bad("log a plain tuple", lambda: play(log=(R, R)), r"log must be"),
    bad("log None", lambda: play(log=None), r"log must be"),
    bad("state no tuple", lambda: Episodes(EPISODIC, rng()).drive(idle, 5, R, 1, rng()), r"state must be"),
    bad("kernel None", lambda: Episodes(EPISODIC, rng()).drive(None, (), R, 1, rng()), r"kernel must be"),
    # data and records
    bad("n of data negative", lambda: collect(EPISODIC, PI, -1, rng()), r"n must be at least 0"),
    bad("data from a seed", lambda: collect(EPISODIC, PI, 1, 0), r"rng must be a numpy\.random\.Generator"),
    bad("data of a discounted model", lambda: collect(FINE, PI, 1, rng()), r"H must be given"),
    bad("policy of other steps", lambda: collect(EPISODIC, PI[:1], 1, rng()), r"policy must be of shape \(2, 3, 2\)"),
    bad("policy out of range", lambda: collect(EPISODIC, np.full((H, S), A), 1, rng()),
        r"policy\[0, 0\] must be in \[0, 1\]"),
    bad("no policies", lambda: collect(EPISODIC, [], 1, rng()), r"policy must be"),
    bad("weights of a mixture", lambda: collect(EPISODIC, [(0.5, PI), (0.4, PI)], 1, rng()),
        r"policy weights\[:\].*sums to 0\.9"),
    bad("member of a mixture", lambda: collect(EPISODIC, [(0.5, PI), (0.5, PI[0])], 1, rng()),
        r"policy\[1\] must be of shape"),
    bad("mixture of triples", lambda: collect(EPISODIC, [(0.5, PI, 1), (0.5, PI, 1)], 1, rng()), r"policy\b"),
    bad("nu that sums to H", lambda: draw_tuples(EPISODIC, np.ones((H, S, A)), 1, rng()), r"nu\[0, :\].*sums to 6"),
    bad("nu of a wrong shape", lambda: draw_tuples(EPISODIC, np.ones((S, A)), 1, rng()), r"nu must be of shape"),
    bad("mu flat", lambda: draw_states(RHO, 1, rng()), r"mu must be of shape \(H, S\)"),
    bad("pairs of equals", lambda: compare(PREFERENCES, [[[1.0, 0.0], [0.0, 0.0]]], 1, rng()),
        r"pairs must be zero on pairs of equal"),
    bad("pairs no law", lambda: compare(PREFERENCES, [[[0.0, 1.0], [1.0, 0.0]]], 1, rng()),
        r"pairs\[0, :\].*sums to 2"),
    bad("pairs of a game", lambda: compare(GAME, [[[0.0, 1.0], [0.0, 0.0]]], 1, rng()),
        r"model must be a PreferenceModel"),
    bad("states negative", lambda: Dataset(steps(s=np.full((4, H), -1)), ""),
        r"steps\.s must be non-negative indices; it is -1"),
    bad("states as floats", lambda: Dataset(steps(s=np.zeros((4, H))), ""), r"steps\.s must be an array of integers"),
    bad("actions of another shape", lambda: Dataset(steps(a=np.zeros((4, 1), int)), ""),
        r"steps\.a must be of shape \(4, 2\)"),
    bad("nan among rewards", lambda: Dataset(steps(r=changed(np.zeros((4, H)), (3, 1), math.nan)), ""),
        r"steps\.r\[3, 1\] must be finite"),
    bad("steps that are no steps", lambda: Dataset(None, ""), r"steps must be"),
    bad("steps a plain tuple", lambda: Dataset(tuple(steps()), ""), r"steps must be"),
    bad("data that do not fit", lambda: Dataset(steps(s=np.full((4, H), 7)), "").fits(S, A),
        r"data\.steps\.s\[0, 0\] must be below 3; it is 7"),
    bad("more rows than there are", lambda: Dataset(steps(), "").take(5),
        r"n must be at least 0 and at most 4; it is 5"),
    bad("state-only data negative", lambda: StateOnlyDataset([[-2]], ""), r"s must be non-negative"),
    # files
    bad("save without .npz", lambda: FINE.save("model.pickle"),
        r"path must be a path that ends in \.npz; it is 'model\.pickle'"),
    bad("save to a number", lambda: FINE.save(3), r"path must be a path that ends in \.npz"),
    bad("save to a folder that is not there", lambda: FINE.save("/nowhere/at/all/model.npz"), r"path must be"),
    bad("load what is not there", lambda: load("nowhere.npz"), r"path must be an existing file; it is 'nowhere\.npz'"),
    bad("load without .npz", lambda: load("model.pickle"), r"path must be a path that ends in \.npz"),
]

# Entries for solvers, measures and the command line go here, in the same form.
LATER: list = []


def compiled_versions():
    """How many versions every dispatcher of the house has compiled."""
    every = {id(f): f for name, module in list(sys.modules.items()) if name.startswith("mdpkit.")
             for f in vars(module).values() if hasattr(f, "nopython_signatures")}
    return sum(len(f.nopython_signatures) for f in every.values())


def refused(thunk, message):
    before, began = compiled_versions(), time.perf_counter()
    with pytest.raises(MdpkitError, match=message):
        thunk()
    assert time.perf_counter() - began < 1.0
    assert compiled_versions() == before


@pytest.mark.parametrize(("thunk", "message"), TABLE + LATER)
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


# --- files that are damaged or foreign

def stored(**content):
    fine = {"__model__": "mdpkit.models.bandits:Bandit", "__format__": 1, "mu": np.array([0.5]), "noise": "none"}
    return {k: v for k, v in (fine | content).items() if v is not None}


FILES = {
    "another's": ({"x": np.zeros(3)}, r"path must be a \.npz written by save\(\).*it holds \['x'\]"),
    "of a newer format": (stored(__format__=99), r"path must be of format 1 or older"),
    "without a format": (stored(__format__=None), r"path must be"),
    "of a model elsewhere": (stored(__model__="os:system"), r"path must be a model of mdpkit; it is 'os'"),
    "of a model that is not there": (stored(__model__="mdpkit.models.bandits:Novel"), r"path must be"),
    "of a module that is not there": (stored(__model__="mdpkit.models.novel:Novel"), r"path must be"),
    "of a function": (stored(__model__="mdpkit.models.record:save"), r"path must be"),
    "without a field": (stored(mu=None), r"path must be"),
    "with a field too many": (stored(novel=np.zeros(2)), r"path must be"),
    "with bad values": (stored(mu=np.array([math.nan])), r"mu\[0\] must be finite"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_foreign_file_is_refused(name, tmp_path):
    content, message = FILES[name]
    np.savez(tmp_path / "model.npz", **content)
    refused(lambda: load(tmp_path / "model.npz"), message)


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04", b"\x93NUMPY", b"\x80\x04K\x01."],
                         ids=["empty", "text", "start of a zip", "start of an array", "pickle"])
def test_a_file_that_is_no_npz_is_refused(content, tmp_path):
    (tmp_path / "model.npz").write_bytes(content)
    refused(lambda: load(tmp_path / "model.npz"), "path must be a readable")


def test_a_single_array_is_no_model(tmp_path):
    with open(tmp_path / "model.npz", "wb") as f:
        np.save(f, np.zeros(3))
    refused(lambda: load(tmp_path / "model.npz"), "path must be")


def test_a_file_of_objects_is_refused(tmp_path):
    np.savez(tmp_path / "model.npz", **stored(mu=np.array([None, {}], object)))
    refused(lambda: load(tmp_path / "model.npz"), "path must be a readable")


def test_a_folder_is_no_file(tmp_path):
    (tmp_path / "model.npz").mkdir()
    refused(lambda: load(tmp_path / "model.npz"), "path must be an existing file")


@pytest.mark.parametrize("how", ["truncated", "flipped"])
def test_a_damaged_file_is_refused_or_unharmed(how, tmp_path):
    """Bytes between the members carry nothing: a file that still loads must give the same model."""
    path = FINE.save(tmp_path / "model.npz")
    whole = path.read_bytes()
    failures = []
    for at in range(0, len(whole), 7):               # every seventh byte: some two hundred files in under a second
        path.write_bytes(whole[:at] if how == "truncated" else whole[:at] + bytes([whole[at] ^ 16]) + whole[at + 1:])
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")      # zipfile warns of duplicate names
                again = load(path)
            assert again.P.tobytes() == FINE.P.tobytes() and again.gamma == FINE.gamma
        except MdpkitError:
            pass
        except Exception as e:
            failures.append((at, repr(e)))
    assert not failures, failures[:5]


# --- generated

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
                     spoiled.map(lambda x: x.astype(np.longdouble)), spoiled.map(lambda x: x.astype(np.float32)))


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
