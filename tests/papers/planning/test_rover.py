"""ROVER: reference values, identities on numbers, accounting, the slow reference, every claim and every control."""

import importlib.util
import math
from dataclasses import replace

import closing
import numpy as np
import pytest

from algorithms.planning import rover
from figures.planning import rover as picture
from mdpkit.access import Episodes, Exact, Generative
from mdpkit.instances.formula import stationary_episodic, tokens
from mdpkit.measure.values import optimal_start_value, start_value, value
from mdpkit.models.convert import to_episodic
from mdpkit.rational import exact
from theory_checks.planning import _rover_twins as twins
from theory_checks.planning import _rover_worlds as worlds
from theory_checks.planning import rover as checks

pytestmark = pytest.mark.xdist_group("rover")
GYM = importlib.util.find_spec("gymnasium") is not None
needs_gymnasium = pytest.mark.skipif(not GYM, reason="gymnasium is not installed")

EXACT = 1e-12
I1, I2 = (2, 4, (3, 8, 9, 14)), (3, 3, (2, 4, 10, 11, 12, 24))


def rng(seed=0):
    return np.random.default_rng(seed)


def close(a, b, tolerance=EXACT):
    np.testing.assert_allclose(a, b, rtol=0, atol=tolerance)


def valued(instance):
    child, reward = worlds.complete(*instance)
    return child, reward, *rover.values(child, reward, np.ones(child.shape))


def test_reference_values_of_the_binary_tree():
    child, reward, Q, V = valued(I1)
    close(Q[0], (0.125, 0.375))
    close(V[0], 0.25)
    for rho, want in ((1, 0.455054233923), (0.2, 0.917956676545), (0.05, 0.999954600070), (0.02, 0.999999999986)):
        close(rover.identity(child, Q, rho, 1.0), want)
        close(rover.bound(child, Q, rho, 1.0), want)                # one good action in every key state
    for rho, want in ((1, 1.386174793824), (0.2, 1.338215767650), (0.05, 0.763797485501)):
        close(checks.entropy(checks.I1, rover.sampling, rho), want)
    p = rover.visits(child, rover.sampling(child, Q, 0.2))[reward > 0]
    close(p / p.sum(), (0.17310479, 0.32689521, 0.32689521, 0.17310479), 1e-8)      # given in eight digits
    best = twins._backward(child, reward, max)[0]
    close(np.abs(best[0] - Q[0]).max(), 0.875)                      # what the maximum does at the root
    assert 1.0 - rover.identity(child, Q, 0.02, 1.0) < 1e-9
    assert abs(rover.identity(child, Q, 1e6, 1.0) - V[0]) < 1e-5


def test_reference_values_of_the_ternary_tree():
    child, _, Q, V = valued(I2)
    close(Q[0], (2 / 9, 1 / 3, 1 / 9))
    close(V[0], 2 / 9)
    for rho, value_, low in ((1, 0.420334788372, 0.309989793931), (0.2, 0.903392186586, 0.877285502884),
                             (0.05, 0.999910413922, 0.999848966429)):
        close(rover.identity(child, Q, rho, 1.0), value_)
        close(rover.bound(child, Q, rho, 1.0), low)


@pytest.mark.parametrize("instance", [I1, I2])
def test_the_model_and_the_graph_have_the_same_values(instance):
    child, _, Q, V = valued(instance)
    model = worlds.tokens(*instance)
    plan = rover.run(Exact(model), rover.theory(0.2), rng()).output
    A, H, _ = instance
    n = 0
    for h in range(H):
        for _ in range(A**h):
            close(plan.Q[h, n], Q[n])
            close(plan.pi[h, n], rover.sampling(child, Q, 0.2)[n])
            n += 1
    close(plan.V[0, 0], V[0])
    tree = to_episodic(model)
    close(start_value(tree, plan.pi), rover.identity(child, Q, 0.2, 1.0))
    assert start_value(tree, plan.greedy) == optimal_start_value(tree) == 1.0
    close(value(tree, np.full(tree.r.shape, 1.0 / A))[0], plan.V[0])
    assert rover.assumptions(tree.P, tree.r, tree.rho) == (True, True, True)
    close(rover.visits(child, rover.sampling(child, Q, 0.3))[(child < 0).all(-1)].sum(), 1.0)


def test_three_tenths_and_six_tenths():
    """Greedy takes 0.6 and could have 1, where one assumption is broken; with 0 or 1 in its place it is optimal."""
    for kind, held in (("graded", (True, True, False)), ("chance", (False, True, True)),
                       ("on the way", (True, True, False))):
        for pay, greedy in ((0.6, 0.6), (0.0, 1.0), (1.0, 1.0)):
            m = worlds.broken(kind, pay)
            plan = rover.run(Exact(m), rover.theory(1.0), rng()).output
            close(start_value(m, plan.greedy), greedy)
            close(optimal_start_value(m), 1.0)
        m = worlds.broken(kind, 0.6)
        found = rover.assumptions(m.P, m.r, m.rho)
        assert not all(found)
        assert found.deterministic == held[0] and found.terminal == held[2]


def test_only_allowed_actions_count():
    """Without action 1 at the root Q^u(root) = 1/8 alone; the learner never plays it."""
    allowed = np.ones((16, 2), bool)
    allowed[0, 1] = False
    params = replace(rover.theory(0.2), allowed=allowed, n=200)
    plan = rover.run(Exact(worlds.tokens(*I1)), params, rng()).output
    assert plan.V[0, 0] == 0.125 and plan.greedy[0, 0] == 0 and plan.pi[0, 0].tolist() == [1.0, 0.0]
    out = rover.run_episodes(Episodes(worlds.tokens(*I1), rng()), params, rng(1))
    assert (out.trace.policies[:, 0] == 0).all() and out.output[0, 0, 1] == 0.0


def slow(model, params, seed, *, combine="mean", backwards=True, act=None):
    """Lines 5 to 7 from the pseudo-code, on dictionaries, in the order of the kernel's additions."""
    m = to_episodic(model)
    uniforms, Q, total = rng(seed), {}, []
    q = lambda h, s: [Q.get((h, s, a), 0.0) for a in range(m.A)]
    for _ in range(params.n):
        s, visited = int(m.rho.argmax()), []
        for h in range(m.H):
            weight = [math.exp((x - max(q(h, s))) / params.rho) for x in q(h, s)]
            left, a = uniforms.random() * sum(weight), m.A - 1
            for b in range(m.A - 1):
                left -= weight[b]
                if left < 0:
                    a = b
                    break
            after = int(m.P[h, s, a].argmax())
            visited.append((h, s, a, m.r[h, s, a], after))
            s = after
        total.append(sum(r for *_, r, _ in visited))
        for h, s, a, r, after in visited[::-1] if backwards else visited:
            there = q(h + 1, after) if h + 1 < m.H else [0.0]
            target = r + (sum(there) / len(there) if combine == "mean" else max(there))
            Q[h, s, a] = (1.0 - params.eta) * Q.get((h, s, a), 0.0) + params.eta * target
    out = np.zeros((m.H, m.S, m.A))
    for at, x in Q.items():
        out[at] = x
    return out, total


@pytest.mark.parametrize(("instance", "eta"), [(I1, 1.0), (I2, 1.0), (I1, 0.25)])
def test_the_kernel_agrees_with_the_pseudo_code_bit_for_bit(instance, eta):
    model, params = worlds.tokens(*instance), replace(rover.theory(0.2), n=60, eta=eta)
    out = rover.run_episodes(Episodes(model, rng(1)), params, rng(7))
    table, total = slow(model, params, 7)
    np.testing.assert_array_equal(out.output, table)
    np.testing.assert_array_equal(out.trace.info["reward"], total)
    assert sum(total) > 0


MUTANTS = {"regresses on the maximum": {"combine": "max"}, "goes forwards": {"backwards": False}}


@pytest.mark.parametrize("name", MUTANTS)
def test_each_mutant_differs_from_the_kernel(name):
    model, params = worlds.tokens(*I1), replace(rover.theory(0.2), n=60)
    out = rover.run_episodes(Episodes(model, rng(1)), params, rng(7))
    assert np.abs(slow(model, params, 7, **MUTANTS[name])[0] - out.output).max() > 0.01     # far above rounding


def test_a_wrong_step_is_seen():
    model, params = worlds.tokens(*I1), replace(rover.theory(0.2), n=60)
    out = rover.run_episodes(Episodes(model, rng(1)), params, rng(7)).output
    assert np.abs(slow(model, replace(params, eta=0.5), 7)[0] - out).max() > 0.001


def test_every_step_is_counted_and_every_pair_learned():
    model, params = worlds.tokens(*I1), replace(rover.theory(0.2), n=3000)
    access = Episodes(model, rng(1))
    out = rover.run_episodes(access, params, rng(2))
    assert out.samples == {"episodes": 3000, "steps": 12000}
    assert len(out.trace.policies) == 16 and len(out.trace) == 3000
    np.testing.assert_array_equal(out.output, rover.run(Exact(model), params, rng()).output.Q)


def test_graded_rewards_mislead_often():
    """Leaves uniform on [0, 1]: greedy on Q^u is suboptimal on a large share of the trees of depth 2 to 5."""
    lost = 0
    for seed in range(200):
        g = rng(seed)
        child, reward = worlds.complete(int(g.integers(2, 4)), int(g.integers(2, 6)), ())
        reward[(child < 0).all(-1)] = g.random(int((child < 0).all(-1).sum()))
        best, worst = checks._dynamic(child, reward, rover.values(child, reward, np.ones(child.shape))[0])
        lost += best[0] > worst[0]
    assert lost > 80                            # of 200; with depth 1 among them 47 % were seen


def test_a_graph_of_rationals_is_that_of_floats():
    child, reward, Q, _ = valued(I2)
    exactly, _ = rover.values(child, exact(reward), exact(np.ones(child.shape)))
    close(Q, exactly.astype(float))


@needs_gymnasium
def test_what_gymnasium_s_tables_assume():
    told = {}
    for name, H, settings in picture.TABLES.values():
        m = worlds.table(name, H, **settings)
        told[name, H] = rover.assumptions(m.P, m.r, m.rho)
    assert told["FrozenLakeEnv", 20] == (True, False, True)          # shared cells: a graph, not a tree
    assert not told["FrozenLakeEnv", 100].deterministic
    for name in ("CliffWalkingEnv", "TaxiEnv"):
        assert told[name, 20].deterministic and not told[name, 20].terminal


def test_the_figure_draws_what_it_computes():
    from matplotlib.figure import Figure

    data, figure = picture.compute(None), Figure()
    picture.draw(data, figure, {"C1": "SUPPORTED"})
    assert len(figure.axes) == 3
    assert (data["bound"] <= data["V"] + EXACT).all() and (np.diff(data["V"]) <= EXACT).all()
    if GYM:
        assert data["greedy"][0] == pytest.approx(1.0) and (data["greedy"][1:] < 0.99).all()


SMALL = worlds.tokens(*I1)
BAD = {
    "a model": (lambda: rover.run(SMALL, rover.theory(1.0), rng()), "access must be a Exact"),
    "generative": (lambda: rover.run_episodes(Generative(stationary_episodic(3, 2, 2), rng()), rover.theory(1.0),
                                              rng()), "access must be a Episodes"),
    "rho": (lambda: rover.theory(0.0), r"rho must be in \(0, inf\)"),
    "rho of run": (lambda: rover.run(Exact(SMALL), rover.Params(-1.0), rng()), "params.rho must be in"),
    "no params": (lambda: rover.run(Exact(SMALL), 0.2, rng()), "params must be a Params"),
    "no generator": (lambda: rover.run(Exact(SMALL), rover.theory(1.0), 3), "rng must be"),
    "no episodes": (lambda: rover.run_episodes(Episodes(SMALL, rng()), rover.theory(1.0), rng()), "params.n must be"),
    "eta": (lambda: rover.run_episodes(Episodes(SMALL, rng()), rover.Params(1.0, None, 3, 0.0), rng()), "params.eta"),
    "allowed": (lambda: rover.run(Exact(SMALL), rover.Params(1.0, np.ones((3, 2), bool)), rng()), "params.allowed"),
    "nothing allowed": (lambda: rover.run(Exact(tokens()), rover.Params(1.0, np.zeros((14, 3), bool)), rng()),
                        "an action in each row"),
}


test_bad_input = closing.refusals(BAD)

ON_TABLES = ("C6", "C6-tables")
test_no_claim_is_refuted_and_every_control_is = closing.claims(
    [c for c in checks.CHECKS if c.claim.id not in ON_TABLES])
test_no_claim_on_tables_is_refuted_and_every_control_is = needs_gymnasium(closing.claims(
    [c for c in checks.CHECKS if c.claim.id in ON_TABLES]))
