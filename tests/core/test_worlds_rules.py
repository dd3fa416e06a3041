"""The rules of worlds: what may be asked when, and what a refused question leaves behind."""

from __future__ import annotations

import numpy as np
import pytest
from core.worlds_played import EPISODIC, LATENT, RUNS, TABULAR, A, H, S, seeded

from mdpkit.access import Episodes, Reset, Stream
from mdpkit.errors import AccessDenied
from mdpkit.jit import kernel
from mdpkit.records import Dataset, StateOnlyDataset, Steps
from mdpkit.worlds import bandits, games, hidden, markov, preferences


def broken(access, verb, *args, match):
    before = access.samples
    with pytest.raises(AccessDenied, match=match):
        access.call(verb, *args)
    assert access.samples == before, "what was refused is not counted"


OUTSIDE, ACTION = "step outside an episode; call start first", "the action is out of range"
STEPS = {"tabular": (markov, 0), "episodic": (markov, 0), "reset": (markov, 0), "stream": (markov, 0),
         "latent": (hidden, 0), "hindsight": (hidden, 0), "rich": (hidden, 0), "contextual": (bandits, 0),
         "game": (games, np.array([0, 0])), "three players": (games, np.array([0, 0, 0]))}


@pytest.mark.parametrize("name", STEPS)
def test_no_step_before_the_start(name):
    module, action = STEPS[name]
    broken(RUNS[name][0](), module.step, action, match=OUTSIDE)


@pytest.mark.parametrize("name", sorted(set(STEPS) - {"tabular", "stream"}))
def test_no_step_after_the_end(name):
    module, action = STEPS[name]
    access = RUNS[name][0]()
    access.call(module.start)
    for _ in range({"contextual": 1, "three players": 2}.get(name, H)):
        access.call(module.step, action)
    broken(access, module.step, action, match=OUTSIDE)
    access.call(module.start)
    access.call(module.step, action)


@pytest.mark.parametrize("bad", [-1, A, 2**40])
@pytest.mark.parametrize("name", [n for n in STEPS if n not in ("game", "three players")] + ["bandit"])
def test_actions_in_range_only(name, bad):
    access, module = RUNS[name][0](), STEPS.get(name, (bandits,))[0]
    access.call(module.start)
    broken(access, module.step, bad, match=ACTION)


@pytest.mark.parametrize("bad", [(-1, 0), (2, 0), (0, 3), (0, -1), (1, 2**40)])
def test_joint_actions_in_range_only(bad):
    access = RUNS["game"][0]()
    access.call(games.start)
    broken(access, games.step, np.array(bad), match=ACTION)


@pytest.mark.parametrize("at", [(0, 0, -1), (0, 0, A), (0, S, 0), (0, -1, 0), (H, 0, 0), (-1, 0, 0)])
def test_asks_at_places_that_exist_only(at):
    broken(RUNS["generative"][0](), markov.ask, *at, match="out of range|does not exist")


@pytest.mark.parametrize("at", [(3, 0, 0), (-1, 0, 0), (0, 4, 0), (0, 0, 4), (0, -1, 0), (0, 0, -1)])
def test_questions_about_responses_that_exist_only(at):
    broken(RUNS["preferences"][0](), preferences.ask, *at, match="a prompt or response that does not exist")


def test_a_refused_action_draws_nothing():
    spared, plain = Episodes(EPISODIC, seeded(0)), Episodes(EPISODIC, seeded(0))
    assert spared.call(markov.start) == plain.call(markov.start)
    broken(spared, markov.step, A, match=ACTION)
    assert spared.call(markov.step, 0) == plain.call(markov.step, 0)


def _against_every_rule(world, out):
    out[0], out[1] = markov.step(world, 0)                       # before the start
    out[2] = markov.start(world)
    out[3], out[4] = markov.step(world, -1)
    markov.reset(world, 99, 0)
    out[5], out[6] = markov.step(world, 1)


against_every_rule = kernel(_against_every_rule)


def test_what_is_against_the_rules_does_nothing_and_is_all_reported():
    access, plain, out = Reset(EPISODIC, seeded(0)), Reset(EPISODIC, seeded(0)), np.full(7, 9.0)
    with pytest.raises(AccessDenied, match=rf"against_every_rule must be obedient.*{OUTSIDE}, and {ACTION}, and reset"):
        access.call(against_every_rule, out)
    s = plain.call(markov.start)
    assert out.tolist() == [0.0, 0.0, s, 0.0, 0.0, *plain.call(markov.step, 1)]
    assert access.samples == plain.samples == {"episodes": 1, "steps": 1, "resets": 0}
    assert access.call(markov.step, 0) == plain.call(markov.step, 0), "the marks are gone"


def test_a_stream_starts_once():
    access = Stream(TABULAR, seeded(0))
    access.call(markov.start)
    for _ in range(3):
        access.call(markov.step, 0)
        broken(access, markov.start, match="start may be called once only on a stream")


def test_contexts_are_told_after_an_episode_only():
    access = Episodes(LATENT, seeded(0), hindsight=True)
    early = "the context is told after an episode only"
    broken(access, hidden.reveal, match=early)
    access.call(hidden.start)
    for _ in range(H):
        broken(access, hidden.reveal, match=early)
        access.call(hidden.step, 0)
    assert access.call(hidden.reveal) == access.call(hidden.reveal)
    access.call(hidden.start)
    broken(access, hidden.reveal, match=early)


# --- resets

NOT_ALLOWED = "reset to a step and state that are not allowed"


def test_resets_go_to_visited_places_only():
    access, been = Reset(EPISODIC, seeded(0)), set()

    def only_there():
        for h in range(H):
            for s in range(S):
                if (h, s) not in been:
                    broken(access, markov.reset, h, s, match=NOT_ALLOWED)

    only_there()
    for _ in range(3):
        been.add((0, access.call(markov.start)))
        for h in range(H):
            _, s = access.call(markov.step, h % A)
            if h + 1 < H:
                been.add((h + 1, s))
        only_there()
    for h, s in sorted(been):
        access.call(markov.reset, h, s)


@pytest.mark.parametrize("at", [(-1, 0), (H, 0), (0, -1), (0, S), (2**40, 0)])
def test_resets_to_places_that_do_not_exist_are_refused(at):
    broken(Reset(EPISODIC, seeded(0), to="any"), markov.reset, *at, match=NOT_ALLOWED)


def test_a_reset_puts_the_world_where_it_says():
    access = Reset(EPISODIC, seeded(0), to="any")
    for h in range(H):
        for s in range(S):
            access.call(markov.reset, h, s)
            _, t = access.call(markov.step, 1)
            assert EPISODIC.P[h, s, 1, t] > 0
    broken(access, markov.step, 0, match=OUTSIDE)
    assert access.samples == {"episodes": 0, "steps": H * S, "resets": H * S}


def test_resets_to_a_data_set_or_a_mask():
    s = np.array([[0, 1, 2], [0, 3, 2]])
    mask = np.zeros((H, S), bool)
    mask[0, 0] = mask[1, 1] = mask[1, 3] = mask[2, 2] = True
    zeros = np.zeros_like(s)
    for to in (Dataset(Steps(s, zeros, zeros.astype(float), zeros), "test"), StateOnlyDataset(s, "test"), mask):
        access = Reset(EPISODIC, seeded(0), to=to)
        access.call(markov.start)
        for h in range(H):
            for u in range(S):
                if mask[h, u]:
                    access.call(markov.reset, h, u)
                else:
                    broken(access, markov.reset, h, u, match=NOT_ALLOWED)
