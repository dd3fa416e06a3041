"""SPO: reference values, identities on numbers, accounting, the slow reference, every claim and every control."""

import itertools
import math

import closing
import numpy as np
import pytest

from algorithms.games import spo
from algorithms.games.spo import Params
from figures.games import spo as picture
from mdpkit.access import Comparisons, Exact
from mdpkit.instances.preferences import DOMINATED_WINNER, condorcet_cycle, dominated_cycle, two_prompts
from mdpkit.losses import sigmoid
from mdpkit.measure.exploitability import preference_gap
from mdpkit.worlds.preferences import ask
from theory_checks.games import _spo_twins as twins
from theory_checks.games import spo as checks

pytestmark = pytest.mark.xdist_group("spo")

EXACT = 1e-12
ROUND = 1e-9
MODEL = dominated_cycle()
M = MODEL.p[0] - MODEL.p[0].T
MISLED = np.array(checks.MISLED)


def rng(seed=0):
    return np.random.default_rng(seed)


def close(a, b, tolerance=EXACT):
    np.testing.assert_allclose(a, b, rtol=0, atol=tolerance)


def gap(pi):
    return (M * pi).sum(1).max()


def test_reference_values_of_the_game():
    close(M, [[0, 0.4, -0.6, 0.2], [-0.4, 0, 0.8, -0.1], [0.6, -0.8, 0, 0.3], [-0.2, 0.1, -0.3, 0]])
    close(gap(np.array(DOMINATED_WINNER)), 0.0)
    average = spo.run(Exact(MODEL), spo.theory(1000, 4), rng()).output
    close(average, (0.4051884471071498, 0.33249387847185463, 0.21395491999763008, 0.04836275442336471))
    close(gap(average), 0.014297150274837)
    T = (100, 300, 1000, 3000, 10_000)
    hedge = [gap(spo.run(Exact(MODEL), spo.theory(t, 4), rng()).output) for t in T]
    fast = [gap(spo.run_optimistic(Exact(MODEL), spo.optimistic_theory(t), rng()).output) for t in T]
    close(hedge, (0.0404884364, 0.0176072817, 0.0142971503, 0.0081335785, 0.0036472340), 5e-11)    # ten digits
    close(fast, (0.0157427610, 0.0081816394, 0.0022314123, 0.0007438498, 0.0002231570), 5e-11)    # once told ..1571
    close(fast[2], 0.002231412252382)
    close([np.polyfit(np.log(T), np.log(x), 1)[0] for x in (hedge, fast)], (-0.485, -0.948), 5e-4)


def test_reference_values_of_the_reward_model():
    scores = spo.reward_model(MISLED)
    close(scores, (0.3105239705, 0.6144279235, -0.9249519038), 5e-8)     # computed once by a search, to eight digits
    s = sigmoid(scores[:, None] - scores[None, :])
    close((MISLED - s).sum(1), 2e-3 * scores)                            # stationary
    result = spo.run(Exact(checks.model(MISLED)), spo.condorcet_theory(1000, 0.2), rng())
    close(result.trace.policies[999, 0], 0.9999076611, 5e-11)
    close(((MISLED - MISLED.T) * result.output).sum(1).max(), 0.02211650386, 5e-12)
    close(preference_gap(MISLED, np.eye(3)[1]), 0.1)                     # in p; 0.2 in M


def test_reference_values_of_the_tree():
    trace = spo.run_behavioural(Exact(MODEL), Params(201, 0.1), rng()).trace
    close(trace.policies[trace.index[200]],
          (0.41744554483754803, 0.2628889508236881, 0.288455927298577, 0.03120957704018695))
    wrong = twins.averaged(Exact(MODEL), Params(201, 0.1), rng()).trace.policies
    close(np.abs(wrong - trace.policies[trace.index]).max(), 4.6e-4, 5e-6)
    pi = trace.policies[trace.index[7]].reshape(2, 2)
    close(trace.info["first"][7], pi.sum(1))


def test_reference_values_of_sampled_play():
    """Means of 200 runs, known with errors of their own: four standard errors of both."""
    for T, mean, last in ((100, 0.1338, 0.303), (400, 0.0677, 0.313)):
        results = [spo.run_sampled(Comparisons(MODEL, rng(i)), spo.theory(T, 4), rng(1000 + i)) for i in range(100)]
        gaps = np.array([gap(r.output) for r in results])
        ends = np.array([gap(r.trace.policies[-1]) for r in results])
        close(gaps.mean(), mean, 4 * gaps.std() * math.sqrt(1 / 100 + 1 / 200))
        close(ends.mean(), last, 4 * ends.std() * math.sqrt(1 / 100 + 1 / 200))


def test_identities_on_numbers():
    pi = rng(1).dirichlet(np.ones(4), 9)
    average, regret = spo.certificate(M, pi)
    close(average, regret)
    close(average, 2 * preference_gap(MODEL.p[0], pi.mean(0)))
    close((pi * (M * pi[:, None, :]).sum(-1)).sum(-1), 0.0)              # nobody beats itself
    one, two = (np.exp(z) for z in spo.duel(M, 0.3, 50))
    np.testing.assert_array_equal(one, two)
    np.testing.assert_array_equal(one, np.exp(spo.self_play(M, 0.3, 50)))
    flat = spo.run(Exact(condorcet_cycle()), Params(20, 0.5), rng()).output
    close(flat, 1 / 3)                                                   # already a winner: nothing moves


def slow(M, eta, T, *, w=0.0, sign=1.0, borda=False, fresh=False):
    """Lines 1 to 5 in plain Python."""
    Y = len(M)
    S, g, out = [0.0] * Y, [0.0] * Y, []
    for _ in range(T):
        logits = [eta * (a + w * b) for a, b in zip(S, g)]
        top, total = max(logits), 0.0
        for v in logits:
            total += math.exp(v - top)
        shift = top + math.log(total)
        out.append([v - shift for v in logits])
        g = [0.0] * Y
        for z in range(Y):
            for y in range(Y):
                g[y] += sign * M[y, z] * (1 / Y if borda else math.exp(out[-1][z]))
        S = list(g) if fresh else [a + b for a, b in zip(S, g)]
    return np.array(out)


@pytest.mark.parametrize("w", [0.0, 1.0])
def test_the_kernel_agrees_with_the_pseudo_code_bit_for_bit(w):
    run = spo.run_optimistic if w else spo.run
    trace = run(Exact(MODEL), Params(60, 0.7), rng()).trace
    np.testing.assert_array_equal(trace.info["log_pi"], slow(M, 0.7, 60, w=w))


MUTANTS = {"downhill": {"sign": -1.0}, "against the uniform law": {"borda": True}, "forgetful": {"fresh": True},
           "optimistic": {"w": 1.0}}


@pytest.mark.parametrize("name", MUTANTS)
def test_each_mutant_differs_from_the_kernel(name):
    assert np.abs(slow(M, 0.7, 5, **MUTANTS[name]) - spo.self_play(M, 0.7, 5)).max() > ROUND


def test_sampled_play_agrees_with_the_pseudo_code_bit_for_bit():
    n, eta = 3, 0.4
    access, learner, S = Comparisons(MODEL, rng(5)), rng(6), np.zeros(4)
    trace = spo.run_sampled(Comparisons(MODEL, rng(5)), Params(40, eta, n=n), rng(6)).trace
    for pi in trace.policies[trace.index]:
        logits = [eta * v for v in S]
        total = 0.0
        for v in logits:
            total += math.exp(v - max(logits))
        shift = max(logits) + math.log(total)
        mine = [math.exp(v - shift) for v in logits]
        np.testing.assert_array_equal(pi, mine)
        cum = list(itertools.accumulate(mine))
        for _ in range(n):
            u = learner.random() * cum[-1]
            z = next(y for y in range(4) if u < cum[y])
            for y in range(4):
                if y != z:
                    S[y] += (1.0 if access.call(ask, 0, y, z) else -1.0) / n


def test_every_comparison_is_counted():
    result = spo.run_sampled(Comparisons(MODEL, rng()), Params(50, 0.1, n=2), rng(1))
    assert result.samples == {"prompts": 0, "asks": 50 * 2 * 3} and len(result.trace) == 50
    close(result.output, result.trace.policies[result.trace.index].mean(0))
    access = Comparisons(MODEL, rng())
    y, r = spo.group_rewards(access, np.full(4, 0.25), 5, 7, rng(1))
    unequal = sum(int(a != b) for row in y for a, b in itertools.combinations(row, 2))
    assert access.samples["asks"] == unequal
    close(r.sum(1), 0.0)                                                 # what one wins another loses
    close(np.round(r * 4), r * 4)
    assert spo.run(Exact(MODEL), Params(9, 0.1), rng()).samples == {}


def test_a_longer_tree_is_hedge_too():
    p = condorcet_cycle(27, 0.5)
    tree = spo.run_behavioural(Exact(p), Params(12, 0.8, A=3), rng())
    close(tree.output, spo.run(Exact(p), Params(12, 0.8), rng()).output)
    close(tree.trace.info["first"].sum(1), 1.0)


def test_theory():
    close(spo.theory(50, 4).eta, math.sqrt(2 * math.log(4) / 50))
    assert spo.theory(5, 1).eta == 1.0 and spo.optimistic_theory(7) == Params(7, 0.25)
    assert spo.condorcet_theory(7, 0.5) == Params(7, 0.125)
    pair = spo.run_duel(Exact(MODEL), spo.theory(1000, 4), rng()).output
    close(pair[0], spo.run(Exact(MODEL), spo.theory(1000, 4), rng()).output)
    close(pair[0], pair[1], 0)


def test_the_figure_draws_what_it_computes():
    from matplotlib.figure import Figure

    data, figure = picture.compute(), Figure()
    picture.draw(data, figure, {"C2": "SUPPORTED"})
    assert len(figure.axes) == 2
    assert (data["Hedge"] < data["bound"]).all() and (data["optimistic"] < data["fast bound"]).all()
    close(data["misled gap"][[0, 2]], (0.2, 0.02211650386), ROUND)


TWO = Exact(two_prompts())
BAD = {
    "a model": (lambda: spo.run(MODEL, Params(2, 0.1), rng()), "access must be a Exact"),
    "comparisons": (lambda: spo.run(Comparisons(MODEL, rng()), Params(2, 0.1), rng()), "access must be a Exact"),
    "exact": (lambda: spo.run_sampled(Exact(MODEL), Params(2, 0.1), rng()), "access must be a Comparisons"),
    "prompts": (lambda: spo.run_optimistic(TWO, Params(2, 0.1), rng()), "number of prompts must be"),
    "eta": (lambda: spo.run(Exact(MODEL), Params(2, 0.0), rng()), "params.eta must be in"),
    "T": (lambda: spo.run_duel(Exact(MODEL), Params(0, 0.1), rng()), "params.T must be at least 1"),
    "n": (lambda: spo.run_sampled(Comparisons(MODEL, rng()), Params(2, 0.1, n=0), rng()), "params.n must be"),
    "A": (lambda: spo.run_behavioural(Exact(MODEL), Params(2, 0.1, A=3), rng()), "params.A must be a number of which"),
    "lead": (lambda: spo.condorcet_theory(5, 0.0), "lead must be in"),
    "square": (lambda: spo.self_play(np.ones((2, 3)), 0.1, 5), r"M must be of shape \(Y, 2\)"),
    "ridge": (lambda: spo.reward_model(MISLED, 0.0), "ridge must be in"),
    "group": (lambda: spo.group_rewards(Comparisons(MODEL, rng()), np.full(4, 0.25), 1, 5, rng()), "n must be at"),
    "generator": (lambda: spo.run(Exact(MODEL), Params(2, 0.1), 3), "rng must be"),
}


test_bad_input = closing.refusals(BAD)


test_no_claim_is_refuted_and_every_control_is = closing.claims(checks.CHECKS)
