"""DynLin-UCB: reference values, identities, accounting, the pseudo-code in slow motion, every claim and control."""

import math
from dataclasses import replace

import closing
import numpy as np
import pytest

from algorithms.bandits import dynlin_ucb
from algorithms.bandits.dynlin_ucb import Params
from figures.bandits import dynlin_ucb as picture
from mdpkit.access import Episodes, Stream
from mdpkit.instances.chains import riverswim
from mdpkit.models.bandits import Bandit
from mdpkit.solve.rounding import higham
from mdpkit.worlds.dynamical import mean_rewards, step
from theory_checks.bandits import dynlin_ucb as checks

pytestmark = pytest.mark.xdist_group("dynlin-ucb")

EXACT = 1e-12
T = 400
BASE, PARAMS = checks.opened(checks.BASE | {"T": T, "tau": 0.05})
HARD, HARD_PARAMS = checks.opened(checks.HARD | {"T": T, "c": 0.1})


def rng(seed=0):
    return np.random.default_rng(seed)


def access(model, seed=0, **more):
    return Stream(model, rng(seed), **more)


def test_reference_values():
    np.testing.assert_allclose(BASE.h, (1.408571428571, 0.151428571429), rtol=0, atol=EXACT)
    assert BASE.values.max() == pytest.approx(1.408571428571, rel=EXACT) and BASE.values.argmax() == 0
    system = BASE.A, BASE.B, BASE.omega, BASE.theta
    for H, wanted, digits in ((1, (0.74, -0.02), 12), (5, (1.321508, 0.126712), 6),
                              (20, (1.408530479597, 0.151416871724), 12)):
        found = dynlin_ucb.markov_parameter(*system, H)
        np.testing.assert_allclose(found, wanted, rtol=0, atol=0.5 * 10.0**-digits + EXACT)
    np.testing.assert_allclose(mean_rewards(BASE, np.ones(5, int)), (
        0.238895516517, 0.676017185411, 0.946018139052, 1.110337096927, 1.209623987360), rtol=0, atol=EXACT)
    np.testing.assert_allclose(HARD.h, (0.7, -0.1), rtol=EXACT)
    myopic = [int((m.arms @ m.theta).argmax()) for m in (BASE, HARD)]
    assert myopic == [15, 6] and HARD.values.argmax() == 0


def test_reference_regret():
    """Five runs at T = 32000 with X = 0: 3876 (c = 1), 382 (c = 0.1); LinUCB 32443; the base instance 1194 (LinUCB)."""
    wanted = {("HARD", 1.0, "run"): (3876, 0.02), ("HARD", 0.1, "run"): (382, 0.1),
              ("HARD", 1.0, "run_linucb"): (32_443, 0.01), ("BASE", 1.0, "run_linucb"): (1194, 0.25)}
    for (name, c, entry), (mean, spread) in wanted.items():
        world = getattr(checks, name) | {"T": 32_000, "X": 0.0, "c": c}
        ends = [checks._regret(world, getattr(dynlin_ucb, entry), rng(seed))[-1] for seed in range(3)]
        assert np.mean(ends) == pytest.approx(mean, rel=spread)


def test_persistence():
    assert [dynlin_ucb.persistence(m, 0.5) for m in (1, 2, 3, 4, 7, 8)] == [0, 1, 1, 2, 2, 3]
    assert [dynlin_ucb.persistence(m, 0.5, up=True) for m in (1, 2, 3, 4, 5)] == [0, 1, 2, 2, 3]
    for m in (1, 2, 9, 10, 11, 99, 5000):
        H, up = dynlin_ucb.persistence(m, 0.9), dynlin_ucb.persistence(m, 0.9, up=True)
        assert 0.9**(H + 1) < 1 / m <= 0.9**H and 0.9**up <= 1 / m


def test_the_radius_is_its_formula():
    p = Params(1000, 0.1, 7.0, 0.1, 0.6, 1.2, 1.0, 0.9, 0.3, 0.8, 2.0, noisy=True)
    c1, c2 = 0.9 * 1.2 * (0.8 / 0.4 + 2.0), 0.3 + 0.9 * 0.8 * 1.2 / 0.4
    noise = 0.01 * (1 + 0.81 * 1.44 / 0.64)
    wanted = (c1 / math.sqrt(7) * math.log(math.e * 51) + c2 * math.sqrt(7)
              + math.sqrt(2 * noise * (math.log(10) + math.log(1 + 50 / 14))))
    assert dynlin_ucb.radius(50, p, 2) == pytest.approx(wanted, rel=EXACT)
    assert dynlin_ucb.radius(50, replace(p, c=0.5), 2) == pytest.approx(wanted / 2, rel=EXACT)


def test_half_a_bound_is_not_enough_after_other_actions():
    """A = rho, B = omega = 1: after -1 for ever, H + 1 plays of 1 miss by twice rho^H/(1 - rho); X is needed."""
    rho, H = 0.5, 3
    off = rho**H * (1 / (1 - rho) - (-1 / (1 - rho)))
    assert off == 2 * dynlin_ucb.bias_bound(H, rho, 1.0, 1.0, 1.0, 1.0, 0.0)
    assert off == dynlin_ucb.bias_bound(H, rho, 1.0, 1.0, 1.0, 1.0, 1 / (1 - rho))


def slow(model, params, seed, kind="run", *, every=False, theory_t=True, first=False, no_bonus=False, forget=False):
    """The pseudo-code, everything solved anew in each epoch; arm, m, hhat and radius of each round."""
    world, out, x, y = access(model, seed), [], [], []
    d, m = model.d, 1
    while len(out) < params.T:
        V = params.lam * np.eye(d) + np.array(x).reshape(-1, d).T @ np.array(x).reshape(-1, d)
        h = np.linalg.solve(V, np.array(x).reshape(-1, d).T @ np.array(y))                      # 2
        wide = dynlin_ucb.radius(len(out) + 1 if theory_t else m, params, d)
        norms = np.sqrt(np.einsum("ai,ai->a", model.arms, np.linalg.solve(V, model.arms.T).T))
        arm = int((model.arms @ h + (0.0 if no_bonus else wide) * norms).argmax())              # 3
        H = 0 if kind == "run_linucb" else dynlin_ucb.persistence(m, params.rhobar, kind == "run_up")
        for k in range(H + 1):                                                                  # 4
            if len(out) < params.T:
                paid = float(world.call(step, arm))
                out.append((arm, m, *h, wide))
                if every or k == (0 if first else H):                                           # 5
                    x.append(model.arms[arm])
                    y.append(paid)
        m += 1
        if forget:
            x, y = x[-3:], y[-3:]
    return np.array(out)


def played(model, params, seed, kind="run"):
    trace = getattr(dynlin_ucb, kind)(access(model, seed), params, rng()).trace
    log = trace.info
    return np.column_stack([trace.policies[trace.index], log["m"], log["h"], log["radius"]])


# the condition number of V is at most 1 + T/lambda; T rank-one updates of d = 2, each some ten roundings an entry
CLOSE = (1 + T / math.log(T)) * higham(40 * T)


@pytest.mark.parametrize("kind", ["run", "run_up", "run_linucb"])
@pytest.mark.parametrize("model, params", [(BASE, PARAMS), (HARD, HARD_PARAMS)], ids=["base", "hard"])
def test_the_kernel_agrees_with_solving_anew(kind, model, params):
    """The same arms in every round; numbers within the rounding of the updates of V^-1."""
    mine, theirs = played(model, params, 1, kind), slow(model, params, 1, kind)
    np.testing.assert_array_equal(mine[:, :2], theirs[:, :2])
    np.testing.assert_allclose(mine, theirs, rtol=CLOSE, atol=CLOSE)


@pytest.mark.parametrize("name", ["every", "first", "no_bonus", "forget"])
def test_each_mutant_differs_from_the_kernel(name):
    assert (slow(HARD, HARD_PARAMS, 1, **{name: True})[:, 0] != played(HARD, HARD_PARAMS, 1)[:, 0]).any()


def test_epochs_in_place_of_rounds_give_another_radius():
    mine, theirs = played(HARD, HARD_PARAMS, 1), slow(HARD, HARD_PARAMS, 1, theory_t=False)
    assert np.abs(mine[:, -1] - theirs[:, -1]).max() > 0.01


@pytest.mark.parametrize("kind", ["run", "run_up", "run_linucb"])
def test_every_round_is_counted(kind):
    """One reward an epoch is used, the last; V holds these alone; epochs are as long as line 4 says."""
    door = access(BASE, 3)
    result = getattr(dynlin_ucb, kind)(door, PARAMS, rng())
    log, arm = result.trace.info, result.trace.policies[result.trace.index]
    assert result.samples == {"episodes": 1, "steps": T} and result.output.used == log["used"].sum()
    lengths = np.bincount(log["m"])[1:]
    wanted = [1 if kind == "run_linucb" else 1 + dynlin_ucb.persistence(m, 0.6, kind == "run_up")
              for m in range(1, len(lengths) + 1)]
    np.testing.assert_array_equal(lengths[:-1], wanted[:-1])
    assert lengths.sum() == T and lengths[-1] <= wanted[-1]
    np.testing.assert_array_equal(log["used"][:-1], np.diff(log["m"]))       # used where the next epoch begins
    assert all(len(set(arm[log["m"] == m])) == 1 for m in range(1, len(lengths) + 1))
    x = BASE.arms[arm[log["used"] == 1]]
    V = PARAMS.lam * np.eye(2) + x.T @ x
    np.testing.assert_allclose(result.output.inverse @ V, np.eye(2), rtol=0, atol=CLOSE)
    np.testing.assert_allclose(V @ result.output.h, x.T @ log["y"][log["used"] == 1], rtol=0, atol=T * CLOSE)


@pytest.mark.parametrize("chunk", [1, 7])
def test_the_size_of_a_chunk_changes_no_bit(chunk):
    whole, parts = (dynlin_ucb.run(access(BASE, 5, chunk=c), PARAMS, rng()) for c in (None, chunk))
    np.testing.assert_array_equal(whole.output.h, parts.output.h)
    for name, field in whole.trace.info.items():
        np.testing.assert_array_equal(field, parts.trace.info[name])


def test_the_counterexample():
    """Silent, rhobar = 0.01: H_m = 0 up to m = 99, and hhat is 1.51 radii from h at the worst."""
    row = checks.covered_surely(checks.SILENT, dynlin_ucb.run, rng())
    assert row["measured"] == pytest.approx(1.514, abs=5e-4) and dynlin_ucb.persistence(99, 0.01) == 0
    assert checks.covered_surely(checks.SILENT, dynlin_ucb.run_up, rng())["measured"] < 0.7


BAD = {
    "access": (lambda: dynlin_ucb.run(Episodes(Bandit([0.5, 0.2]), rng()), PARAMS, rng()), "access must be a Stream"),
    "world": (lambda: dynlin_ucb.run(Stream(riverswim(4, 0.9), rng()), PARAMS, rng()), "to a dynamical linear bandit"),
    "params": (lambda: dynlin_ucb.run(access(BASE), 8, rng()), "params must be a Params"),
    "lambda": (lambda: dynlin_ucb.run(access(BASE), replace(PARAMS, lam=0.0), rng()), "params.lam must be"),
    "rhobar": (lambda: dynlin_ucb.run(access(BASE), replace(PARAMS, rhobar=1.0), rng()), "params.rhobar must be"),
    "bound": (lambda: dynlin_ucb.run(access(BASE), replace(PARAMS, Om=-1.0), rng()), "params.Om must be"),
    "delta": (lambda: dynlin_ucb.run(access(BASE), replace(PARAMS, delta=0.0), rng()), "params.delta must be"),
    "generator": (lambda: dynlin_ucb.run(access(BASE), PARAMS, 3), "rng must be"),
    "T": (lambda: dynlin_ucb.theory(1, 0.1, 0.1, 0.6, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0), "T must be at least 2"),
    "m": (lambda: dynlin_ucb.persistence(0, 0.5), "m must be at least 1"),
}


test_bad_input = closing.refusals(BAD)


def test_the_figure_draws_what_it_computes():
    from matplotlib.figure import Figure

    data, figure = picture.compute(None, T=600, runs=2), Figure()
    picture.draw(data, figure, {"C4": "SUPPORTED"})
    assert len(figure.axes) == 2 and (data["bias"] <= data["bound"] * (1 + EXACT)).all()
    assert data["run DynLin-UCB 0.9"][-1] < data["run LinUCB 0.9"][-1]


test_no_claim_is_refuted_and_every_control_is = closing.claims(checks.CHECKS, refuted=("C3-silent", "C5-tenth"))
