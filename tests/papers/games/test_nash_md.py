"""Nash-MD: reference values, identities on numbers, accounting, the slow reference, every claim and every control."""

import math
from dataclasses import replace

import closing
import numpy as np
import pytest

from algorithms.games import nash_md
from algorithms.games.nash_md import Params
from figures.games import nash_md as picture
from mdpkit.access import Comparisons, Episodes, Exact
from mdpkit.instances.chains import chain
from mdpkit.instances.preferences import condorcet_cycle, two_prompts
from mdpkit.losses import log_softmax
from mdpkit.measure.exploitability import preference_gap
from mdpkit.models.preferences import PreferenceModel
from theory_checks.games import nash_md as checks

pytestmark = pytest.mark.xdist_group("nash-md")

EXACT = 1e-12
ROUND = 1e-9
MODEL = checks.reference(0.2)
STAR = (0.6270209176787251, 0.13763075067521327, 0.23534833164606161)


def rng(seed=0):
    return np.random.default_rng(seed)


def close(a, b, tolerance=EXACT):
    np.testing.assert_allclose(a, b, rtol=0, atol=tolerance)


def distances(result):
    return checks.divergence(np.log(STAR), checks.log_policies(result)[:, 0])


def test_reference_values_of_the_equilibrium():
    log_star, error = checks.nash(MODEL.p[0], MODEL.pi_ref[0], 0.2)
    close(np.exp(log_star), STAR)
    assert error < EXACT
    left = 0.2 * (log_star - np.log(MODEL.pi_ref[0])) - MODEL.p[0] @ np.exp(log_star)
    assert np.ptp(left) < EXACT


def test_reference_values_of_the_last_iterate():
    kl = distances(nash_md.run(Exact(MODEL), nash_md.theory(10_000), rng()))
    wanted = {1: 0.0629094197489041, 2: 0.0337524474011418, 10: 0.00362799860231465, 100: 3.1999549257980e-05,
              1000: 3.250178227949e-07, 10_000: 3.2469137352e-09}
    np.testing.assert_allclose(kl[list(wanted)], list(wanted.values()), rtol=1e-6)      # six digits are known
    t = np.arange(100, 10_001)
    assert abs(np.polyfit(np.log(t), np.log(kl[100:]), 1)[0] + 2.0) < 0.05      # twice as steep as the bound
    assert (kl[1:] < nash_md.bound(0.2, np.arange(1, 10_001))).all()
    close(nash_md.paper_bound(0.2, 9) / nash_md.bound(0.2, 9), 16.0)


def test_reference_values_of_a_constant_step():
    wanted = {1.0: 0.00166869984174836, 0.5: 0.000413152135469259, 0.25: 0.000102705858679688, 0.1: 1.63691721119e-05,
              0.05: 4.0865903170e-06}
    for eta, limit in wanted.items():
        params = Params(4000, eta, every=4000)
        np.testing.assert_allclose(distances(nash_md.run(Exact(MODEL), params, rng()))[-1], limit, rtol=1e-6)
        assert abs(distances(nash_md.run_self(Exact(MODEL), params, rng()))[-1]) < 1e-14      # 0, to some roundings
        assert limit < nash_md.plateau(0.2, eta)


def test_reference_values_of_hedge():
    cycle = condorcet_cycle(3, 1.0)
    result = nash_md.run_hedge(Exact(cycle), Params(2000, 0.1, [[0.4, 0.35, 0.25]]), rng())
    kl = checks.divergence(np.full(3, -math.log(3)), checks.log_policies(result)[:, 0])
    close(kl[[0, 100, 1000, 2000]], (0.018856783829, 0.020427880079, 0.041530685627, 0.087445350886))
    close(preference_gap(cycle.p[0], result.output[0]), 0.1483093051, 5e-11)            # ten digits are known
    close(preference_gap(cycle.p[0], nash_md.average(result.trace)[0]), 0.0017338433, 5e-11)


def test_reference_values_of_labels():
    """300 runs, twice: the spread of KL is about its mean, and 0.25 of it three standard errors of a difference."""
    runs, T = checks.reference(0.2, 300), np.array([30, 100, 300, 1000, 3000])
    result = nash_md.run_sampled(Comparisons(runs, rng(1)), Params(3000, every=10), rng(2))
    kl = checks.divergence(np.log(STAR), checks.log_policies(result)[T // 10]).mean(1)
    np.testing.assert_allclose(kl, (0.0781, 0.0231, 0.00789, 0.00222, 0.000655), rtol=0.25)
    assert -1.2 < np.polyfit(np.log(T), np.log(kl), 1)[0] < -0.85
    assert (kl < nash_md.bound(0.2, T)).all()


def test_identities_on_numbers():
    """The theorem's step forgets pi_0 at once; self-play rests at pi*; pi_T is mu exp(G/tau), G in [0, 1]."""
    start = [[0.1, 0.2, 0.7]]
    one, two = (nash_md.run(Exact(MODEL), replace(nash_md.theory(5), start=s), rng()) for s in (None, start))
    close(one.output, two.output)
    close(two.trace.policies[0], start)
    close(nash_md.run_self(Exact(MODEL), Params(3, 1.0, [STAR]), rng()).output, [STAR])
    G = 0.2 * np.log(one.output[0] / MODEL.pi_ref[0])
    assert np.ptp(G) <= 1.0
    first = nash_md.run(Exact(MODEL), nash_md.theory(1), rng()).output[0]
    close(first, np.exp(log_softmax(np.log(MODEL.pi_ref[0]) + 5.0 * MODEL.p[0] @ MODEL.pi_ref[0])))


def softmax(logits):
    top, total = max(logits), 0.0
    for v in logits:
        total += math.exp(v - top)
    return [v - (top + math.log(total)) for v in logits]


def slow(model, params, kind="run", seed=0, *, arithmetic=False, shift=2, before=False):
    """Lines 1 to 6 in plain Python, one response and one label at a time."""
    tau, world, own = (0.0 if kind == "run_hedge" else model.beta), rng(seed), rng(seed + 1)
    log_mu = np.log(model.pi_ref)
    log_pi = np.log(model.pi_ref if params.start is None else params.start)
    seen = [log_pi.copy()]
    for t in range(params.T):
        eta = 2.0 / (tau * (t + shift)) if params.eta is None else params.eta
        for x in range(model.X):
            w = eta * tau
            mix = [(1.0 - w) * log_pi[x, y] + w * log_mu[x, y] + 0.0 for y in range(model.Y)]
            if arithmetic:
                mix = np.log((1.0 - w) * np.exp(log_pi[x]) + w * np.exp(log_mu[x])).tolist()
            m = softmax(mix)
            foe = [math.exp(v) for v in (log_pi[x] if before or kind in ("run_self", "run_hedge") else m)]
            g = np.zeros(model.Y)
            if kind == "run_sampled":
                cum = np.cumsum(foe)
                u = own.random() * cum[-1]
                z = next(i for i in range(model.Y) if u < cum[i])
                for y in range(model.Y):
                    g[y] = 1.0 if world.random() < model.p[x, y, z] else 0.0
            else:
                for z in range(model.Y):
                    for y in range(model.Y):
                        g[y] += model.p[x, y, z] * foe[z]
            log_pi[x] = softmax([1.0 * m[y] + 0.0 * log_mu[x, y] + eta * g[y] for y in range(model.Y)])
        seen.append(log_pi.copy())
    return np.array(seen)


RANDOM = PreferenceModel(rng(4).random((2, 4, 4)), [0.5, 0.5], rng(5).dirichlet(np.ones(4), 2), 0.3, symmetrise=True)


def played(model, params, kind, seed=0):
    access = Comparisons(model, rng(seed)) if kind == "run_sampled" else Exact(model)
    return getattr(nash_md, kind)(access, params, rng(seed + 1))


@pytest.mark.parametrize("kind", ["run", "run_self", "run_hedge", "run_sampled"])
@pytest.mark.parametrize("eta", [None, 0.7])
def test_the_kernel_agrees_with_the_pseudo_code_bit_for_bit(kind, eta):
    if kind == "run_hedge" and eta is None:
        return
    params = Params(20, eta, [[0.125, 0.25, 0.375, 0.25], [0.5, 0.25, 0.125, 0.125]] if eta else None)
    out, wanted = played(RANDOM, params, kind), slow(RANDOM, params, kind)
    np.testing.assert_array_equal(out.trace.info["log_pi"], wanted[:-1])
    np.testing.assert_array_equal(out.output, np.exp(wanted[-1]))
    thin = played(RANDOM, replace(params, every=5), kind)
    np.testing.assert_array_equal(thin.trace.info["log_pi"], wanted[:-1:5])
    np.testing.assert_array_equal(thin.output, out.output)


MUTANTS = {"arithmetic mixture": {"arithmetic": True}, "t + 3": {"shift": 3}, "against pi_t": {"before": True}}


@pytest.mark.parametrize("name", MUTANTS)
@pytest.mark.parametrize("kind", ["run", "run_sampled"])
def test_each_mutant_differs_from_the_kernel(name, kind):
    params = nash_md.theory(20)
    wrong = slow(RANDOM, params, kind, **MUTANTS[name])[-1]
    assert np.abs(np.exp(wrong) - played(RANDOM, params, kind).output).max() > ROUND


def test_every_comparison_is_counted():
    model = two_prompts()
    sampled = nash_md.run_sampled(Comparisons(model, rng()), Params(30, every=3), rng())
    assert sampled.samples == {"prompts": 0, "asks": 2 * 4 * 30}
    assert len(sampled.trace) == 10
    close(sampled.trace.policies.sum(-1), 1.0)
    exact = nash_md.run(Exact(model), Params(30, every=3), rng())
    assert exact.samples == {} and len(exact.trace) == 10
    # prompts do not touch one another
    alone = PreferenceModel(model.p[1:], [1.0], model.pi_ref[1:], model.beta)
    np.testing.assert_array_equal(nash_md.run(Exact(alone), Params(30), rng()).output, exact.output[1:])


def test_the_average_is_that_of_the_trace():
    trace = nash_md.run_hedge(Exact(MODEL), Params(3, 1.0), rng()).trace
    close(nash_md.average(trace), sum(trace.policies[i] for i in trace.index) / 3)


BAD = {
    "a model": (lambda: nash_md.run(MODEL, Params(3), rng()), "access must be a Exact"),
    "exact": (lambda: nash_md.run_sampled(Exact(MODEL), Params(3), rng()), "access must be a Comparisons"),
    "chain": (lambda: nash_md.run(Exact(chain(3, 0.9)), Params(3), rng()), "access.model must be a PreferenceModel"),
    "episodes": (lambda: nash_md.run_self(Episodes(chain(3, 0.9), rng()), Params(3), rng()), "access must be a Exact"),
    "T": (lambda: nash_md.theory(0), "T must be at least 1"),
    "every": (lambda: nash_md.run(Exact(MODEL), Params(5, every=2), rng()), "params.every must be a divisor"),
    "large": (lambda: nash_md.run(Exact(MODEL), Params(5, 5.1), rng()), r"params.eta must be in \(0, 5\]"),
    "none": (lambda: nash_md.run_hedge(Exact(MODEL), Params(5), rng()), "params.eta must be a number"),
    "start": (lambda: nash_md.run(Exact(MODEL), Params(5, start=[[0.5, 0.5, 0]]), rng()), r"params.start\[0, 2\]"),
    "shape": (lambda: nash_md.run(Exact(MODEL), Params(5, start=[0.5, 0.5]), rng()), "params.start must be of shape"),
    "generator": (lambda: nash_md.run(Exact(MODEL), Params(5), 3), "rng must be"),
    "params": (lambda: nash_md.run(Exact(MODEL), 5, rng()), "params must be a Params"),
    "trace": (lambda: nash_md.average(5), "trace must be a Trace"),
}


test_bad_input = closing.refusals(BAD)


def test_the_figure_draws_what_it_computes():
    from matplotlib.figure import Figure

    data, figure = picture.compute(), Figure()
    picture.draw(data, figure, {"C2": "SUPPORTED"})
    md, constant, itself, hedge = (data[name] for name in picture.RUNS)
    assert len(figure.axes) == 2
    assert (md < data["bound"] / 16).all()
    close(constant[-1], 0.000413152135469259)
    assert abs(itself[-1]) < 1e-14 < md[-1] < constant[-1] < hedge[-1]


test_no_claim_is_refuted_and_every_control_is = closing.claims(checks.CHECKS)
