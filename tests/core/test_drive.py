"""Learners through `drive` and `call`: logs, chunks, watchers, streams, broken rules."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import pytest
from core.small_worlds import EPISODIC, H, S, seeded

from mdpkit.access import Episodes, Generative
from mdpkit.errors import AccessDenied, MdpkitError
from mdpkit.jit import kernel
from mdpkit.models.tabular import EpisodicMDP
from mdpkit.worlds import markov


class Row(NamedTuple):
    policy: np.ndarray      # (H,) the actions of this episode
    total: np.ndarray       # ()
    seen: np.ndarray        # (H,)


ROW = Row(np.zeros(H, np.int64), np.zeros(()), np.full(H, -1))


def _wander(world, memory, log, first, rng):
    n, steps = log.policy.shape
    for i in range(n):
        s = markov.start(world)
        for h in range(steps):
            a = 1 if rng.random() * (1.0 + memory[0]) < 0.5 + memory[1] else 0
            log.policy[i, h], log.seen[i, h] = a, s
            r, s = markov.step(world, a)
            log.total[i] += r
            memory[0] += 1.0 / (first + i + 1.0)
            memory[1] += r / (1.0 + h)


wander = kernel(_wander)


class Watched:
    """Keeps a copy of what `watch` sees."""

    def __init__(self):
        self.firsts, self.chunks = [], []

    def __call__(self, first, rows):
        self.firsts.append(first)
        assert isinstance(rows, Row) and not any(field.flags.writeable for field in rows)
        self.chunks.append(Row(*(field.copy() for field in rows)))

    @property
    def rows(self):
        return Row(*(np.concatenate(parts) for parts in zip(*self.chunks)))


N = 150
CHUNKS = [1, 7, 64, None]


def wandered(chunk, watch=None, learner=5, model=EPISODIC):
    access = Episodes(model, seeded(0), watch=watch, chunk=chunk)
    memory = np.zeros(2)
    return access.drive(wander, (memory,), ROW, N, seeded(learner)), memory, access.samples


@pytest.mark.parametrize("chunk", CHUNKS)
def test_the_chunk_changes_no_bit(chunk):
    trace, memory, samples = wandered(chunk)
    whole, last, count = wandered(N)
    assert trace.policies.tobytes() == whole.policies.tobytes() and trace.index.tobytes() == whole.index.tobytes()
    assert list(trace.info) == list(whole.info) == ["total", "seen"]
    assert all(trace.info[k].tobytes() == whole.info[k].tobytes() for k in trace.info)
    assert memory.tobytes() == last.tobytes() and samples == count == {"episodes": N, "steps": N * H}


@pytest.mark.parametrize("chunk", CHUNKS)
def test_watch_sees_every_row_once_and_in_order(chunk):
    watch, plain = Watched(), Watched()
    trace, memory, _ = wandered(chunk, watch)
    assert trace is None
    size = chunk or N
    assert watch.firsts == list(range(0, N, size))
    assert [len(c.total) for c in watch.chunks] == [min(size, N - first) for first in watch.firsts]
    _, last, _ = wandered(N, plain)
    assert all(a.tobytes() == b.tobytes() for a, b in zip(watch.rows, plain.rows))
    assert memory.tobytes() == last.tobytes()


def test_the_trace_reconstructs_the_log():
    watch = Watched()
    wandered(7, watch)
    trace, _, _ = wandered(64)
    assert len(trace) == N and (trace.policies[trace.index] == watch.rows.policy).all()
    assert len(np.unique(trace.policies, axis=0)) == len(trace.policies), "distinct"
    firsts = [int(np.flatnonzero(trace.index == k)[0]) for k in range(len(trace.policies))]
    assert firsts == sorted(firsts), "in order of first appearance"
    assert (trace.info["total"] == watch.rows.total).all() and (trace.info["seen"] == watch.rows.seen).all()


def test_the_interpreted_learner_writes_the_same_log():
    """Each verb call from Python crosses into the compiled world; the bits are the same."""
    access, memory = Episodes(EPISODIC, seeded(0)), np.zeros(2)
    trace = access.drive(_wander, (memory,), ROW, N, seeded(5))
    compiled, last, _ = wandered(None)
    assert trace.policies.tobytes() == compiled.policies.tobytes() and trace.index.tobytes() == compiled.index.tobytes()
    assert memory.tobytes() == last.tobytes()


def test_two_learners_with_their_own_streams_face_one_world():
    """Without reward noise a step takes one draw of the world whatever the action: first states coincide."""
    quiet = EpisodicMDP(EPISODIC.P, EPISODIC.r, EPISODIC.rho)
    one, _, _ = wandered(None, learner=5, model=quiet)
    two, _, _ = wandered(None, learner=6, model=quiet)
    assert (one.info["seen"][:, 0] == two.info["seen"][:, 0]).all()
    assert (one.policies[one.index] != two.policies[two.index]).any(), "they act differently"
    again, _, _ = wandered(None, learner=5, model=quiet)
    assert again.info["seen"].tobytes() == one.info["seen"].tobytes()


def test_a_second_drive_goes_on_where_the_first_stopped():
    access, memory, learner = Episodes(EPISODIC, seeded(0)), np.zeros(2), seeded(5)
    firsts = [access.drive(wander, (memory,), ROW, n, learner).info["seen"] for n in (40, 60)]
    once = Episodes(EPISODIC, seeded(0)).drive(wander, (np.zeros(2),), ROW, 40, seeded(5)).info["seen"]
    assert (firsts[0] == once).all() and access.samples == {"episodes": 100, "steps": 100 * H}


def test_a_row_arrives_as_the_log_says():
    def untouched(world, log, first, rng):
        pass

    trace = Episodes(EPISODIC, seeded(0), chunk=2).drive(untouched, (), Row(ROW.policy + 7, np.array(0.5), ROW.seen), 5,
                                                        seeded(1))
    assert trace.policies.tolist() == [[7] * H] and trace.index.tolist() == [0] * 5
    assert (trace.info["total"] == 0.5).all() and (trace.info["seen"] == -1).all()


@pytest.mark.parametrize("chunk", CHUNKS)
def test_a_log_of_one_array(chunk):
    def number(world, log, first, rng):
        for i in range(len(log)):
            log[i] = (first + i) // 3 % 4

    trace = Episodes(EPISODIC, seeded(0), chunk=chunk).drive(number, (), np.zeros(()), 20, seeded(1))
    assert trace.policies.tolist() == [0.0, 1.0, 2.0, 3.0] and trace.info == {}
    assert trace.index.tolist() == [t // 3 % 4 for t in range(20)]


@pytest.mark.parametrize("chunk", CHUNKS)
def test_policies_are_told_apart_by_their_bits(chunk):
    """0.0 == -0.0: telling them apart at the border of a chunk only would let its size show."""
    def sign(world, log, first, rng):
        for i in range(len(log)):
            log[i] = 0.0 if (first + i) % 2 == 0 else -0.0

    trace = Episodes(EPISODIC, seeded(0), chunk=chunk).drive(sign, (), np.zeros(()), 20, seeded(1))
    assert np.signbit(trace.policies[trace.index]).tolist() == [t % 2 == 1 for t in range(20)]


def test_a_policy_that_is_not_a_number_is_kept_once():
    def nothing(world, log, first, rng):
        pass

    trace = Episodes(EPISODIC, seeded(0)).drive(nothing, (), np.array([math.nan, 1.0]), 5, seeded(1))
    assert len(trace.policies) == 1 and trace.index.tolist() == [0] * 5


def test_no_episodes():
    with pytest.raises(MdpkitError, match="n must be at least 1 to give a trace"):
        Episodes(EPISODIC, seeded(0)).drive(wander, (np.zeros(2),), ROW, 0, seeded(1))
    watch = Watched()
    assert Episodes(EPISODIC, seeded(0), watch=watch).drive(wander, (np.zeros(2),), ROW, 0, seeded(1)) is None
    assert watch.firsts == []


def test_errors_of_a_learner_come_through():
    def fails(world, log, first, rng):
        raise ValueError("mine")

    def reads(world, log, first, rng):
        return rng.novel

    with pytest.raises(ValueError, match=r"^mine$") as caught:
        Episodes(EPISODIC, seeded(0)).drive(fails, (), np.zeros(1), 1, seeded(1))
    assert not isinstance(caught.value, MdpkitError)
    with pytest.raises(AttributeError, match="novel"):
        Episodes(EPISODIC, seeded(0)).drive(reads, (), np.zeros(1), 1, seeded(1))


def _trips(world, wrong, log, first, rng):
    for i in range(log.shape[0]):
        markov.start(world)
        for h in range(H):
            markov.step(world, 9 if first + i == wrong[0] and h == 1 else 0)
        log[i] = first + i
    wrong[1] += 1


trips = kernel(_trips)


@pytest.mark.parametrize("learner", [trips, _trips], ids=["compiled", "interpreted"])
def test_a_broken_rule_surfaces_after_its_chunk_and_watch_does_not_see_it(learner):
    firsts, wrong = [], np.array([17, 0])
    access = Episodes(EPISODIC, seeded(0), watch=lambda first, rows: firsts.append(first), chunk=7)
    with pytest.raises(AccessDenied, match="trips must be obedient to the rules of the world; the action is out of"):
        access.drive(learner, (wrong,), np.zeros(()), 50, seeded(1))
    assert firsts == [0, 7] and wrong[1] == 3, "the third chunk was played to its end, and dropped"
    assert access.samples == {"episodes": 21, "steps": 21 * H - 1}, "what was refused is not counted"
    access.drive(learner, (np.array([-1, 0]),), np.zeros(()), 14, seeded(1))
    assert firsts == [0, 7, 0, 7], "and forgiven"


def test_a_broken_rule_explains_the_error_that_follows():
    def stumbles(world):
        markov.step(world, 0)
        raise IndexError("mine")

    access = Episodes(EPISODIC, seeded(0))
    with pytest.raises(AccessDenied, match=r"stumbles must be obedient.*call start first") as caught:
        access.call(stumbles)
    assert isinstance(caught.value.__cause__, IndexError)
    access.call(markov.start)


def test_a_denial_names_the_kernel():
    def greedy(world, log, first, rng):
        markov.ask(world, 0, 0, 0)

    with pytest.raises(AccessDenied, match=r"^greedy must be content with what Episodes access grants; it calls `ask`"):
        Episodes(EPISODIC, seeded(0)).drive(greedy, (), np.zeros(1), 1, seeded(1))


def test_call_returns_what_the_kernel_returns():
    access = Generative(EPISODIC, seeded(0))
    r, s = access.call(markov.ask, 1, 2, 0)
    assert r in (0.0, 1.0) and 0 <= s < S and access.samples == {"asks": 1}
    assert access.call(lambda world, x, y: (x, y), 1, "two") == (1, "two")
