"""Nash mirror prox: reference values, identities, accounting, the slow reference, every claim and control."""

import math
from dataclasses import replace

import closing
import numpy as np
import pytest

from algorithms.games import nash_mp
from algorithms.games.nash_mp import Params
from figures.games import nash_mp as picture
from mdpkit.access import Comparisons, Exact
from mdpkit.instances.chains import chain
from mdpkit.instances.preferences import two_prompts
from mdpkit.measure.exploitability import regularised_gap
from mdpkit.models.preferences import PreferenceModel
from theory_checks.games import _nash_mp_twins as twins
from theory_checks.games import nash_mp as checks
from theory_checks.games.nash_md import divergence, log_policies, nash

pytestmark = pytest.mark.xdist_group("nash-mp")

EXACT = 1e-12
ROUND = 1e-9
MODEL = checks.reference()
STAR = (0.4927473325988286, 0.15414695958077146, 0.3531057078203999)
TABLE = {                               # KL(pi* || pi_k), SubOpt(pi_k), span(log pi_k - log pi*)
    0: (0.2457961626450246, 0.05644379177770886, 1.9274733259882972),
    1: (0.16222185906610886, 0.03272019039635665, 1.3023845536514373),
    2: (0.10793821017430466, 0.024312656087000617, 1.0767113715289818),
    5: (0.03048320041024076, 0.010103935433444677, 0.6326746675752839),
    10: (0.0034203053562028955, 0.0011902418035576456, 0.2564427182190231),
    20: (3.245763317043194e-05, 1.2041151396e-05, 0.02407752996092216),
    50: (2.75809858912e-11, 1.0155321e-11, 2.149933532580e-05),
}


def rng(seed=0):
    return np.random.default_rng(seed)


def close(a, b, tolerance=EXACT):
    np.testing.assert_allclose(a, b, rtol=0, atol=tolerance)


def test_reference_values():
    logs = log_policies(nash_mp.run(Exact(MODEL), nash_mp.theory(60), rng()))[:, 0]
    log_star = nash(MODEL.p[0], MODEL.pi_ref[0], 0.1)[0]
    close(np.exp(log_star), STAR)
    for k, wanted in TABLE.items():
        gap = regularised_gap(MODEL.p[0], logs[k], np.log(MODEL.pi_ref[0]), 0.1)
        close((divergence(log_star, logs[k]), gap, np.ptp(logs[k] - log_star)), wanted)


def worst_factor(run, params):
    """Of one step while KL > 1e-11, and KL after 400."""
    m = checks.hard()
    log_star = nash(m.p[0], m.pi_ref[0], m.beta)[0]
    kl = divergence(log_star, log_policies(run(Exact(m), params, rng()))[:, 0])
    close(kl[0], 0.3238935, 1e-7)                                                      # cut after seven digits
    return (kl[1:] / kl[:-1])[kl[:-1] > 1e-11].max(), kl[400]


def test_reference_values_of_the_hard_instance():
    close(worst_factor(nash_mp.run, Params(400))[0], 0.8538697820, 5e-10)             # digits known: ten, nine, three
    close(worst_factor(nash_mp.run, Params(400, 4.0)), (1.2488613933, 0.0367634104), 5e-10)
    factor, left = worst_factor(twins.single, Params(400))
    close(factor, 1.152, 5e-4)
    close(left, 1.9460584687, 5e-10)


def test_reference_values_of_inner_loops():
    for m, at in ((1, 7.48e-05), (3, 1.4e-11)):                                       # k = 150; two or three digits
        logs = log_policies(nash_mp.run_gradient(Exact(MODEL), Params(150, m=m), rng()))[:, 0]
        np.testing.assert_allclose(divergence(np.log(STAR), logs[150]), at, rtol=0.02)


def test_floors_of_errors():
    """Maxima over 300 iterations of one draw, recorded with another: within a factor of 3 in 40 draws."""
    for eps, wanted in ((0.1, 1.2415e-2), (0.01, 1.2603e-4), (0.001, 1.2615e-6)):
        logs = log_policies(nash_mp.run_noisy(Exact(MODEL), Params(600, eps=eps), rng(1)))[300:, 0]
        assert wanted / 3 < divergence(np.log(STAR), logs).max() < 3 * wanted


def test_identities_on_numbers():
    """pi* is a fixed point of both steps; the bounds meet at pi*, and bracket what is known."""
    out = nash_mp.run(Exact(MODEL), Params(3, 0.7, [STAR]), rng())
    close(out.output, [STAR])
    close(np.exp(out.trace.info["log_half"]), [[STAR]] * 3)
    close(nash_mp.sandwich(np.log(STAR), np.log(STAR), 0.1), (0.0, 0.0))
    low, high = nash_mp.sandwich(np.log([0.6, 0.3, 0.1]), np.log(STAR), 0.1)
    assert low < TABLE[0][1] < high
    close(nash_mp.exploitability_bound(0.1, 0.0, 2.0), 2 * (0.1 + 2.5))
    k = np.arange(6)
    assert (np.diff(nash_mp.span_bound(0.1, k, 1.0, 0.2)) < 0).all()


def softmax(logits):
    top, total = max(logits), 0.0
    for v in logits:
        total += math.exp(v - top)
    return [v - (top + math.log(total)) for v in logits]


def slow(model, params, kind="run", seed=0, *, centre="pi", foe="half", weight=1.0):
    """Lines 1 to 8 in plain Python, one response and one label at a time."""
    world, own, log_ref = rng(seed), rng(seed + 1), np.log(model.pi_ref)
    Y, beta, gam = model.Y, model.beta, params.gam
    errors = own.random((params.K, model.X, 2, Y)) if kind == "run_noisy" else None
    log_pi, seen, halves = np.log(model.pi_ref if params.start is None else params.start), [], []

    def query(x, law):
        if kind != "run_sampled":
            g = np.zeros(Y)
            for z in range(Y):
                for y in range(Y):
                    g[y] += model.p[x, y, z] * math.exp(law[z])
            return g
        g, cum = np.zeros(Y), np.cumsum([math.exp(v) for v in law])
        for _ in range(params.n):
            u = own.random() * cum[-1]
            z = next(i for i in range(Y) if u < cum[i])
            for y in range(Y):
                g[y] += 1.0 / params.n if world.random() < model.p[x, y, z] else 0.0
        return g

    def prox(x, c, g):
        keep = 1.0 / (1.0 + gam * beta)
        if kind != "run_gradient":
            return softmax([keep * c[y] + weight * keep * gam * beta * log_ref[x, y] + keep * gam * g[y]
                            for y in range(Y)])
        out = list(c)
        for _ in range(params.m):
            s = [g[y] - weight * beta * (out[y] - log_ref[x, y]) - (out[y] - c[y]) / gam for y in range(Y)]
            mean = 0.0
            for y in range(Y):
                mean += math.exp(out[y]) * s[y]
            out = softmax([1.0 * out[y] + 0.0 * log_ref[x, y] + params.a * (math.exp(out[y]) * (s[y] - mean))
                           for y in range(Y)])
        return out

    for k in range(params.K):
        seen.append(log_pi.copy())
        half = np.empty_like(log_pi)
        for x in range(model.X):
            law = c = log_pi[x].copy()
            for step in range(2):
                law = np.array(prox(x, c, query(x, law if foe == "half" else log_pi[x])))
                if errors is not None:
                    e = params.eps * (2.0 * errors[k, x, step] - 1.0)
                    law = np.array(softmax([1.0 * law[y] + 0.0 * log_ref[x, y] + 1.0 * e[y] for y in range(Y)]))
                if step == 0:
                    half[x], c = law, law if centre == "half" else c
            log_pi[x] = law
        halves.append(half)
    return np.array([*seen, log_pi]), np.array(halves)


RANDOM = PreferenceModel(rng(4).random((2, 4, 4)), [0.5, 0.5], rng(5).dirichlet(np.ones(4), 2), 0.3, symmetrise=True)
KINDS = {"run": {}, "run_noisy": {"eps": 0.1}, "run_gradient": {"m": 3, "a": 0.7}, "run_sampled": {"n": 3}}


def played(kind, params, seed=0):
    access = Comparisons(RANDOM, rng(seed)) if kind == "run_sampled" else Exact(RANDOM)
    return getattr(nash_mp, kind)(access, params, rng(seed + 1))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("start", [None, [[0.125, 0.25, 0.375, 0.25], [0.5, 0.25, 0.125, 0.125]]])
def test_the_kernel_agrees_with_the_pseudo_code_bit_for_bit(kind, start):
    params = Params(12, 1.5, start, **KINDS[kind])
    out, (wanted, halves) = played(kind, params), slow(RANDOM, params, kind)
    np.testing.assert_array_equal(out.trace.info["log_pi"], wanted[:-1])
    np.testing.assert_array_equal(out.trace.info["log_half"], halves)
    np.testing.assert_array_equal(out.output, np.exp(wanted[-1]))


MUTANTS = {"step 3 from h": {"centre": "half"}, "step 3 against pi_k": {"foe": "pi"}, "pi_ref half": {"weight": 0.5}}


@pytest.mark.parametrize("name", MUTANTS)
@pytest.mark.parametrize("kind", KINDS)
def test_each_mutant_differs_from_the_kernel(name, kind):
    if kind == "run_sampled" and "foe" in MUTANTS[name]:
        kind = "run"                                         # other labels anyway
    params = Params(12, **KINDS[kind])
    wrong = slow(RANDOM, params, kind, **MUTANTS[name])[0][-1]
    assert np.abs(np.exp(wrong) - played(kind, params).output).max() > ROUND


def test_many_inner_steps_are_a_proximal_step():
    """Steps of size 1 shrink the distance by 1 - pi(y) (beta + 1/gam) or so, pi > .02 here: 3000 leave exp(-40)."""
    inner = nash_mp.run_gradient(Exact(RANDOM), Params(5, m=3000), rng()).output
    close(inner, nash_mp.run(Exact(RANDOM), Params(5), rng()).output, ROUND)


def test_every_comparison_is_counted():
    model = two_prompts()
    sampled = nash_mp.run_sampled(Comparisons(model, rng()), Params(30, n=5), rng())
    assert sampled.samples == {"prompts": 0, "asks": 2 * 5 * 2 * 4 * 30}
    assert len(sampled.trace) == 30
    exact = nash_mp.run(Exact(model), Params(30), rng())
    assert exact.samples == {} and exact.trace.info["log_half"].shape == (30, 2, 4)
    np.testing.assert_array_equal(nash_mp.run_noisy(Exact(model), Params(30), rng()).output, exact.output)    # eps = 0
    alone = PreferenceModel(model.p[1:], [1.0], model.pi_ref[1:], model.beta)
    np.testing.assert_array_equal(nash_mp.run(Exact(alone), Params(30), rng()).output, exact.output[1:])


BAD = {
    "a model": (lambda: nash_mp.run(MODEL, Params(3), rng()), "access must be a Exact"),
    "exact": (lambda: nash_mp.run_sampled(Exact(MODEL), Params(3), rng()), "access must be a Comparisons"),
    "chain": (lambda: nash_mp.run_noisy(Exact(chain(3, 0.9)), Params(3), rng()), "access.model must be a Preference"),
    "K": (lambda: nash_mp.theory(0), "K must be at least 1"),
    "gam": (lambda: nash_mp.run(Exact(MODEL), Params(5, 0.0), rng()), r"params.gam must be in \(0, inf\]"),
    "eps": (lambda: nash_mp.run_noisy(Exact(MODEL), Params(5, eps=-0.1), rng()), r"params.eps must be in \[0, inf\]"),
    "m": (lambda: nash_mp.run_gradient(Exact(MODEL), Params(5, m=0), rng()), "params.m must be at least 1"),
    "n": (lambda: nash_mp.run_sampled(Comparisons(MODEL, rng()), Params(5, n=0), rng()), "params.n must be at least 1"),
    "start": (lambda: nash_mp.run(Exact(MODEL), Params(5, start=[[0.5, 0.5, 0]]), rng()), r"params.start\[0, 2\]"),
    "generator": (lambda: nash_mp.run(Exact(MODEL), Params(5), 3), "rng must be"),
    "params": (lambda: nash_mp.run(Exact(MODEL), 5, rng()), "params must be a Params"),
}


test_bad_input = closing.refusals(BAD)


def test_the_figure_draws_what_it_computes():
    from matplotlib.figure import Figure

    data, figure = picture.compute(), Figure()
    picture.draw(data, figure, {"C1": "SUPPORTED"})
    assert len(figure.axes) == 2
    close(data["mp KL"][:3], [TABLE[k][0] for k in range(3)])
    above = data["rate"] > ROUND
    assert (data["mp KL"] <= data["rate"] + EXACT)[above].all()
    finals = [data[name][-1] for name in picture.LEARNERS]
    assert finals[1] > 1e-7 > max(abs(finals[0]), abs(finals[2]))                     # Nash-MD is the slow one
    assert all(data[f"{name} N"][-1] == picture.LONG for name in picture.LEARNERS)


test_no_claim_is_refuted_and_every_control_is = closing.claims(checks.CHECKS)


def test_the_factor_is_held_to_a_thousand_games():
    assert len(checks.BLOCKS) * checks.BLOCK >= 1000
    assert replace(Params(1), K=2) == nash_mp.theory(2)
