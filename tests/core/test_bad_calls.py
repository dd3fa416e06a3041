"""Malformed calls of access, data and records are refused by a message that names the argument."""

from __future__ import annotations

import math

import numpy as np
import pytest
from core.refusals import EPISODIC, FINE, GAME, LATENT, PI, PREFERENCES, RHO, A, H, R, S, bad, changed, refused, rng

from mdpkit import validate
from mdpkit.access import Comparisons, Episodes, Generative, Reset, Stream
from mdpkit.data import collect, compare, draw_states, draw_tuples
from mdpkit.models.bandits import Bandit
from mdpkit.models.record import load
from mdpkit.records import Dataset, StateOnlyDataset, Steps


def idle(world, log, first, rng):
    pass


def play(log=R, n=1, learner=None, **access):
    return Episodes(EPISODIC, rng(), **access).drive(idle, (), log, n, rng() if learner is None else learner)


def steps(**parts):
    whole = np.zeros((4, H), int)
    return Steps(**({"s": whole, "a": whole, "r": whole.astype(float), "s_next": whole} | parts))


CALLS = [
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
    bad("stream of an episodic", lambda: Stream(EPISODIC, rng()), r"model must be a TabularMDP or DynamicalBandit"),
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


@pytest.mark.parametrize(("thunk", "message"), CALLS)
def test_a_malformed_call_is_refused(thunk, message):
    refused(thunk, message)
