"""MDPO: reference values, identities, accounting, the slow reference, every claim and every control."""

import math

import closing
import numpy as np
import oracles
import pytest

from algorithms.policy_gradient import mdpo, npg
from algorithms.policy_gradient.mdpo import Params
from figures.policy_gradient import mdpo as picture
from mdpkit.access import Episodes, Exact, Generative
from mdpkit.instances.garnet import random_mdp
from mdpkit.losses import log_softmax
from mdpkit.measure.values import action_value, optimal_action_value, start_value
from mdpkit.models.tabular import TabularMDP
from mdpkit.solve import soft
from theory_checks.policy_gradient import _mdpo_twins as twins
from theory_checks.policy_gradient import mdpo as checks

pytestmark = pytest.mark.xdist_group("mdpo")

EXACT = 1e-12
ROUND = 1e-9
TWO = TabularMDP([[[0.9, 0.1], [0.2, 0.8]], [[0.5, 0.5], [0.05, 0.95]]], [[0, 0.3], [1, 0.2]], 0.9, [0.5, 0.5])
SMALL = random_mdp(3, 3, 0.5, np.random.default_rng(4))


def rng(seed=0):
    return np.random.default_rng(seed)


def close(a, b, tolerance=EXACT):
    np.testing.assert_allclose(a, b, rtol=0, atol=tolerance)


def followed(trace):
    return trace.policies[trace.index]


def test_reference_values():
    V = optimal_action_value(TWO).max(-1)
    close(V, (6.968503937007876, 7.51968503937008))
    pi = followed(mdpo.run(Exact(TWO), Params(101, 0.5), rng()).trace)
    gaps = [TWO.rho @ V - start_value(TWO, pi[k]) for k in (0, 1, 5, 10, 50, 100)]
    close(gaps, (3.023164255630836, 2.566159226431318, 1.0909081998324655, 0.2820924169897543, 2.156397465036e-06,
                 1.0685e-12))


def test_reference_values_of_the_other_divergence():
    values = checks.A - checks.PI @ checks.A
    for t, l1 in ((0.1, 9.296630e-4), (0.05, 2.400688e-4), (0.025, 6.095450e-5), (0.0125, 1.535426e-5)):
        other = mdpo.reverse(checks.PI, values, t)
        close(np.abs(other - np.exp(log_softmax(np.log(checks.PI) + t * values))).sum(), l1, 5e-10)
        close(other.sum(), 1.0)


def test_identities_on_numbers():
    """One update is that of NPG; Q and A give the same; the soft optimum stays, and is that of the certified solver."""
    start = rng(1).dirichlet(np.ones(3), 3)
    one = mdpo.run(Exact(SMALL), Params(1, 0.7, start), rng()).output
    close(one, npg.run(Exact(SMALL), npg.Params(0.7 * 0.5, 1, start), rng()).output)
    close(one, npg.run_fisher(Exact(SMALL), npg.Params(0.7 * 0.5, 1, start), rng()).output, ROUND)
    star, error = checks.optimum(SMALL, 0.2)
    certified = soft.solve(SMALL, 0.2)
    V = 0.2 * np.log(np.exp(star / 0.2).sum(-1))
    assert error < EXACT and (certified.lo - EXACT <= V).all() and (certified.hi + EXACT >= V).all()
    best = np.exp(log_softmax(star / 0.2))
    close(mdpo.run_soft(Exact(SMALL), Params(3, 2.0, best, tau=0.2), rng()).output, best)
    close(mdpo.theory(4, 2.0, 3.0).t, (3.0, 6.0, 12.0, 24.0), 0)
    close(mdpo.soft_bound(0.9, 2.0, 0.5, 1.0, 3.0, 0), 0.9 * (1 + 2 * 0.5 * 0.5 * 3))


def test_limits_of_large_steps():
    """t = 1e12 is policy iteration at first, and soft policy iteration at any time, but for some 1/(t tau)."""
    one = mdpo.run(Exact(SMALL), Params(1, 1e12), rng()).output
    np.testing.assert_array_equal(one.argmax(-1), action_value(SMALL, np.full((3, 3), 1 / 3)).argmax(-1))
    run = mdpo.run_soft(Exact(SMALL), Params(4, 1e12, tau=0.3), rng()).trace
    close(followed(run)[1:], np.exp(log_softmax(run.info["Q"][:-1] / 0.3)), ROUND)


def test_many_inner_steps_are_the_closed_form():
    """Steps of .5 shrink the distance by 1 - .5 d(s) pi(a|s)/t or so: at t = .5 some .97, and 1500 leave rounding."""
    inner = mdpo.run_gradient(Exact(SMALL), Params(1, 0.5, m=1500, a=0.5), rng()).output
    close(inner, mdpo.run(Exact(SMALL), Params(1, 0.5), rng()).output, ROUND)


def slow(m, params, *, tau=0.0, root=True, sign=1.0, fresh=False):
    """Lines 1, 2, 5, 7 and 8 in loops: laws are multiplied; V by sweeps."""
    pi = np.full(m.r.shape, 1 / m.A) if params.start is None else np.array(params.start)
    first, seen = pi, [pi]
    for _ in range(params.T):
        V = oracles.discounted_values(m.P, m.r - tau * np.log(pi), m.gamma, pi, 60)     # 0.5**60 = 1e-18
        keep, new = 1 / (1 + params.t * tau) if root else 1.0, np.zeros(m.r.shape)
        for s in range(m.S):
            for a in range(m.A):
                Q = m.r[s, a] + m.gamma * sum(m.P[s, a, z] * V[z] for z in range(m.S))
                old = (first if fresh else pi)[s, a]
                new[s, a] = old ** keep * math.exp(sign * params.t * Q / (1 + params.t * tau))
            new[s] /= sum(new[s])
        pi = new
        seen.append(pi)
    return np.array(seen)


@pytest.mark.parametrize("tau", [0.0, 0.4])
@pytest.mark.parametrize("start", [None, [[0.25, 0.5, 0.25], [0.5, 0.25, 0.25], [0.125, 0.125, 0.75]]])
def test_run_agrees_with_the_slow_reference(tau, start):
    """Logits err by at most 8 t errors of Q, each below 1e-14."""
    params = Params(8, 0.9, start, tau=tau)
    result = (mdpo.run_soft if tau else mdpo.run)(Exact(SMALL), params, rng())
    close(np.concatenate([followed(result.trace), result.output[None]]), slow(SMALL, params, tau=tau))


MUTANTS = {"no root": {"root": False, "tau": 0.4}, "downhill": {"sign": -1.0}, "forgetful": {"fresh": True}}


@pytest.mark.parametrize("name", MUTANTS)
def test_each_mutant_differs_from_the_algorithm(name):
    params = Params(3, 0.9, tau=MUTANTS[name].get("tau", 0.0))
    wrong = slow(SMALL, params, **MUTANTS[name])[-1]
    right = (mdpo.run_soft if params.tau else mdpo.run)(Exact(SMALL), params, rng()).output
    assert np.abs(wrong - right).max() > ROUND
    if name != "no root":
        close(wrong, getattr(twins, name)(Exact(SMALL), params, rng()).output)       # the control does what it says


def returns(m, pi, n, H, world, own):
    """Line 4, one transition at a time, from the same two generators."""
    q = np.zeros(m.r.shape)
    for s, a in np.ndindex(m.r.shape):
        total = 0.0
        for _ in range(n):
            z, b, weight = s, a, 1.0
            for _ in range(H):
                total += weight * m.r[z, b]
                weight *= m.gamma
                u, row = world.random(), np.cumsum(m.P[z, b])
                z = next(i for i in range(m.S) if u < row[i])
                cum = np.cumsum(pi[z])
                u = own.random() * cum[-1]
                b = next(i for i in range(m.A) if u < cum[i])
        q[s, a] = total / n
    return q


def test_the_kernel_agrees_with_the_pseudo_code_bit_for_bit():
    access = Generative(SMALL, rng(1), grant=("gamma",))
    trace = mdpo.run_sampled(access, Params(3, 0.8, n=4, H=6), rng(2)).trace
    world, own = rng(1), rng(2)
    for pi, q in zip(np.exp(trace.info["log_pi"]), trace.info["Q"]):
        np.testing.assert_array_equal(q, returns(SMALL, pi, 4, 6, world, own))


def test_every_transition_is_counted():
    access = Generative(SMALL, rng(), grant=("gamma",))
    result = mdpo.run_sampled(access, Params(5, 0.8, n=4, H=6), rng())
    assert result.samples == {"asks": 9 * 4 * 6 * 5} and len(result.trace) == 5
    exact = mdpo.run(Exact(SMALL), Params(5, 0.8), rng())
    assert exact.samples == {} and exact.trace.info["log_pi"].shape == (5, 3, 3)
    np.testing.assert_array_equal(mdpo.run_inexact(Exact(SMALL), Params(5, 0.8), rng()).output, exact.output)  # eps = 0
    eager = mdpo.run(Exact(SMALL), Params(40), rng()).trace
    short = -np.take_along_axis(eager.info["log_pi"], eager.info["Q"].argmax(-1)[..., None], -1).min((1, 2))
    close(np.maximum(short, 1e-300) / 0.5 ** (2 * np.arange(40) + 2) / eager.info["t"], 1.0)
    assert np.isfinite(eager.info["log_pi"]).all()


BAD = {
    "a model": (lambda: mdpo.run(TWO, Params(2, 0.5), rng()), "access must be a Exact"),
    "episodes": (lambda: mdpo.run_soft(Episodes(TWO, rng()), Params(2, 0.5, tau=1.0), rng()), "access must be a Exact"),
    "exact": (lambda: mdpo.run_sampled(Exact(TWO), Params(2, 0.5), rng()), "access must be a Generative"),
    "tall": (lambda: mdpo.run(Exact(TabularMDP(TWO.P, 2 * TWO.r, 0.9, TWO.rho)), Params(2, 0.5), rng()),
             r"access.model.r\[.*in \[0, 1\]"),
    "t": (lambda: mdpo.run(Exact(TWO), Params(2, 0.0), rng()), "params.t must be positive"),
    "no t": (lambda: mdpo.run_soft(Exact(TWO), Params(2, tau=0.1), rng()), "params.t must be given"),
    "ts": (lambda: mdpo.run(Exact(TWO), Params(2, [0.1] * 3), rng()), "params.t"),
    "T": (lambda: mdpo.run(Exact(TWO), Params(0, 0.5), rng()), "params.T must be at least 1"),
    "n": (lambda: mdpo.run(Exact(TWO), Params(2, 0.5, n=0), rng()), "params.n must be at least 1"),
    "tau": (lambda: mdpo.run_soft(Exact(TWO), Params(2, 0.5), rng()), r"params.tau must be in \(0"),
    "start": (lambda: mdpo.run(Exact(TWO), Params(2, 0.5, np.eye(2)), rng()), "params.start must be positive"),
    "generator": (lambda: mdpo.run(Exact(TWO), Params(2, 0.5), 0), "rng must be"),
    "theta": (lambda: mdpo.theory(3, 1.0), "theta must be in"),
    "reverse": (lambda: mdpo.reverse(checks.PI, checks.A, 0.0), "t must be in"),
}


test_bad_input = closing.refusals(BAD)


def test_the_figure_draws_what_it_computes():
    from matplotlib.figure import Figure

    data, figure = picture.compute(), Figure()
    picture.draw(data, figure, {"C3": "SUPPORTED"})
    assert len(figure.axes) == 3
    for t in picture.FIXED:
        assert (data[f"t {t:g}"] < data[f"bound {t:g}"]).all()
    for name in ("growing", "adaptive"):
        assert (data[name] <= data[f"{name} bound"] + ROUND).all()
    assert max(abs(data["adaptive"][-1]), abs(data["growing"][-1])) < ROUND
    for t in picture.SOFT:
        assert (data[f"soft {t:g}"][1:] <= data[f"soft bound {t:g}"][1:] + ROUND).all()


test_no_claim_is_refuted_and_every_control_is = closing.claims(checks.CHECKS)
