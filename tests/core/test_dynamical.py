"""Dynamical linear bandits: the model, its long-run rewards, and the world of one trajectory."""

from __future__ import annotations

import math
import os
import subprocess
import sys

import numpy as np
import pytest

from mdpkit import rational
from mdpkit.access import Episodes, Exact, Stream
from mdpkit.errors import AccessDenied, MdpkitError
from mdpkit.jit import kernel
from mdpkit.models.dynamical import DynamicalBandit, cumulative
from mdpkit.models.record import load
from mdpkit.worlds import dynamical, markov

EXACT = 1e-12
LEVEL = 1e-9
A, B = [[0.5, 0.25], [-0.125, 0.75]], [[1.0, 0.5], [0.0, -0.25]]
OMEGA, THETA = [0.5, -1.0], [0.25, 1.0]
ARMS, START = [[1.0, 0.0], [0.0, 1.0], [-1.0, 0.5]], [2.0, -1.0]
FIELDS = {"A": A, "B": B, "omega": OMEGA, "theta": THETA, "arms": ARMS, "x_1": START}
PLAN = np.array([0, 2, 1, 1, 0, 2, 2, 0])


def seeded(k):
    return np.random.default_rng(k)


def model(**more):
    return DynamicalBandit(**(FIELDS | more))


def _play(world, arms, out):
    for t in range(arms.shape[0]):
        out[t] = dynamical.step(world, arms[t])


def _start(world):
    return markov.start(world)


def _walk(world):
    return markov.step(world, 0)


play, begin, walk = kernel(_play), kernel(_start), kernel(_walk)


def played(m, plan, seed=0):
    access, out = Stream(m, seeded(seed)), np.zeros(len(plan))
    access.call(play, plan, out)
    return access, out


def slow(m, plan, rng):
    """The noise of the reward, then of each coordinate of the state; nothing where a level is 0."""
    x, out = np.array(m.x_1), []
    for a in plan:
        y = float(sum(m.omega * x) + sum(m.theta * m.arms[a]))
        out.append(y + (m.sigma * polar(rng) if m.sigma > 0 else 0.0))
        x = np.array([sum(row * x) + sum(b * m.arms[a]) for row, b in zip(m.A, m.B)])
        x = x + m.tau * np.array([polar(rng) for _ in x]) if m.tau > 0 else x
    return np.array(out)


def polar(rng):
    while True:
        x, y = 2 * rng.random() - 1, 2 * rng.random() - 1
        if 0 < x * x + y * y < 1:
            return x * math.sqrt(-2 * math.log(x * x + y * y) / (x * x + y * y))


@pytest.mark.parametrize("sigma, tau", [(0.0, 0.0), (0.5, 0.0), (0.0, 0.25), (0.5, 0.25)])
def test_draws_come_in_the_stated_order(sigma, tau):
    access, out = played(m := model(sigma=sigma, tau=tau), PLAN)
    np.testing.assert_allclose(out, slow(m, PLAN, seeded(0)), rtol=EXACT)
    assert access.samples == {"episodes": 1, "steps": 8}


def test_a_trajectory_goes_on_between_calls():
    m = model(sigma=0.5, tau=0.25)
    access, parts = Stream(m, seeded(0)), np.zeros(8)
    access.call(play, PLAN[:3], parts[:3])
    access.call(play, PLAN[3:], parts[3:])
    np.testing.assert_array_equal(parts, played(m, PLAN)[1])
    np.testing.assert_array_equal(m.x_1, START)                       # the model is not moved


def test_mean_rewards_are_those_without_noise():
    m = model(sigma=0.5)
    np.testing.assert_array_equal(dynamical.mean_rewards(m, PLAN), played(model(sigma=0.0), PLAN)[1])
    with pytest.raises(MdpkitError, match=r"actions\[1\] must be in \[0, 2\]"):
        dynamical.mean_rewards(m, [0, 3])


def test_noise_has_its_levels():
    """The variance of y at x_1 is sigma^2, and of the next y sigma^2 + tau^2 |omega|^2; one stream a draw of both."""
    n, m = 4000, model(sigma=0.5, tau=0.25)
    z = np.array([played(m, PLAN[:2], k)[1] for k in range(n)]) - dynamical.mean_rewards(m, PLAN[:2])
    x = math.log(4 / LEVEL)                     # chi-square: off by 2 sqrt(x/n) + 2 x/n of itself at most
    for k, wanted in enumerate((0.25, 0.25 + 0.0625 * 1.25)):
        assert abs((z[:, k] ** 2).mean() / wanted - 1) <= 2 * math.sqrt(x / n) + 2 * x / n
        assert abs(z[:, k].mean()) <= math.sqrt(2 * wanted * x / n)


def test_what_an_action_pays_in_the_long_run():
    m = model()
    paid = dynamical.mean_rewards(m, np.repeat([0, 1, 2], 400))
    np.testing.assert_allclose(paid[[399, 799, 1199]], m.values, rtol=EXACT)
    wanted = THETA + np.array(B).T @ np.linalg.solve(np.eye(2) - np.array(A).T, OMEGA)
    np.testing.assert_allclose(m.h, wanted, rtol=EXACT)
    exactly = [rational.exact(x) for x in (A, B, OMEGA, THETA)]
    assert m.h.tolist() == [float(rational.fraction(v)) for v in cumulative(*exactly)]
    np.testing.assert_allclose(cumulative(m.A, m.B, m.omega, m.theta, 400), m.h, rtol=EXACT)
    assert cumulative(*exactly, 0).tolist() == exactly[3].tolist()


@pytest.mark.parametrize("matrix", [[[0.0, 5.0], [0.0, 0.0]], [[0.0, -1.0], [0.9801, 0.0]], [[1 - 1e-9]]])
def test_stable_systems_are_taken(matrix):
    n = len(matrix)
    DynamicalBandit(matrix, np.eye(n), np.ones(n), np.ones(n), np.eye(n))


@pytest.mark.parametrize("matrix", [[[1.0]], [[-1.5]], [[0.0, -1.0], [1.0, 0.0]], [[1e300]], [[0.5, 1.0], [1.0, 0.5]]])
def test_others_are_refused(matrix):
    n = len(matrix)
    with pytest.raises(MdpkitError, match="A must be of spectral radius below 1"):
        DynamicalBandit(matrix, np.eye(n), np.ones(n), np.ones(n), np.eye(n))


@pytest.mark.parametrize("field, value, says", [
    ("A", [[0.5]], "A must be of shape"), ("B", [[1.0, 0.0]], "B must be of shape"), ("arms", [[1.0]], "arms must be"),
    ("x_1", [0.0], "x_1 must be of shape"), ("sigma", -1.0, "sigma must be in"), ("tau", math.inf, "tau must be"),
    ("omega", [], "omega must be non-empty"), ("theta", [[1.0]], "theta must be of shape")])
def test_bad_fields(field, value, says):
    with pytest.raises(MdpkitError, match=says):
        model(**{field: value})


def test_the_model_is_a_record(tmp_path):
    m = model(tau=0.5)
    again = load(m.save(tmp_path / "m.npz"))
    for name in (*FIELDS, "sigma", "tau"):
        np.testing.assert_array_equal(getattr(again, name), getattr(m, name))
    assert not m.A.flags.writeable and repr(m) == "DynamicalBandit(n=2, d=2, arms=3)" and "omega" in m._repr_html_()
    assert model(x_1=None).x_1.tolist() == [0.0, 0.0]


def test_what_is_known():
    known = vars(Stream(model(), seeded(0)).known)
    assert set(known) == {"d", "arms"} and known["d"] == 2 and known["arms"].tolist() == ARMS
    assert Exact(model()).model.d == 2


def test_rules():
    access = Stream(model(), seeded(0))
    for bad in (3, -1):
        with pytest.raises(AccessDenied, match="the action is out of range"):
            access.call(play, np.array([0, bad]), np.zeros(2))
    assert access.samples["steps"] == 2                              # what was played by the rules
    for other in (begin, walk):
        with pytest.raises(AccessDenied):
            access.call(other)
    with pytest.raises(MdpkitError, match="model must be"):
        Episodes(model(), seeded(0))


def test_compiled_and_interpreted_agree_bit_for_bit():
    text = ("import numpy as np; from core import test_dynamical as t; "
            "print(t.played(t.model(sigma=0.5, tau=0.25), np.tile(t.PLAN, 9))[1].tobytes().hex())")
    said = []
    for flag in ("0", "1"):
        env = os.environ | {"NUMBA_DISABLE_JIT": flag, "PYTHONPATH": os.path.dirname(os.path.dirname(__file__))}
        done = subprocess.run([sys.executable, "-W", "error", "-c", text], env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        said.append(done.stdout)
    assert said[0] == said[1]
