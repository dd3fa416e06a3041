"""Known answers of the lower-bound families, and regret that no learner beats."""

import itertools
import math

import numpy as np
import pytest
from core.plain_planning import ROUND, backward, close, evaluate, gain_and_bias, optimal, tables

from mdpkit.errors import MdpkitError
from mdpkit.instances import lower_bounds


def bayes_regret(A, T, gap):
    """Least average regret over the family, by dynamic programming over successes and failures of each arm."""
    memo = {}

    def best(n):
        if sum(map(sum, n)) == T:
            return 0.0
        if n not in memo:
            like = [math.prod((0.5 + gap * (j == k)) ** w * (0.5 - gap * (j == k)) ** f
                              for j, (w, f) in enumerate(n)) for k in range(A)]
            post = [x / sum(like) for x in like]
            values = []
            for a, (w, f) in enumerate(n):
                win = 0.5 + gap * post[a]
                won, lost = (n[:a] + (x,) + n[a + 1:] for x in ((w + 1, f), (w, f + 1)))
                values.append(win + win * best(won) + (1 - win) * best(lost))
            memo[n] = max(values)
        return memo[n]

    return T * (0.5 + gap) - best(((0, 0),) * A)


@pytest.mark.parametrize("A, T", [(2, 2), (2, 12), (3, 6), (4, 4)])
def test_no_learner_beats_the_minimax_bound(A, T):
    gap = lower_bounds.minimax_gap(A, T)
    assert gap == min(math.sqrt(A / T), 1) / 4
    assert bayes_regret(A, T, gap) >= lower_bounds.minimax_regret(A, T)
    family = lower_bounds.bernoulli_family(A, gap)
    assert [int(b.mu.argmax()) for b in family] == list(range(A)) and (np.sort(family[0].mu)[:-1] == 0.5).all()


def test_lai_robbins():
    close(lower_bounds.lai_robbins([0.9, 0.6, 0.5, 0.2]), 2.2606083877675345)
    assert lower_bounds.lai_robbins([1.0, 0.5]) == lower_bounds.lai_robbins([0.5, 0.5]) == 0.0
    close(lower_bounds.lai_robbins([0.5, 0.0]), 0.5 / math.log(2))


@pytest.mark.parametrize("best", [0, 2])
@pytest.mark.parametrize("delta, epsilon", [(0.25, 0.125), (0.1, 0.0), (0.5, 0.5)])
def test_jao(delta, epsilon, best):
    m = lower_bounds.jao(3, delta, epsilon, 0.9, best)
    gains = {a: gain_and_bias(m, np.array([a, 0]))[0] for a in range(3)}
    close(max(gains.values()), lower_bounds.jao_gain(delta, epsilon))
    close(gains[(best + 1) % 3], 0.5)
    close(optimal(m)[0], lower_bounds.jao_value(delta, epsilon, 0.9))


def test_regret_bounds_hold_within_their_theorems_only():
    assert lower_bounds.jao_regret(10, 10, 20, 2000) == 0.015 * math.sqrt(20 * 10 * 10 * 2000)
    assert lower_bounds.hard_tree_regret(6, 2, 6, 72) == math.sqrt(216 * 12 * 72) / (48 * math.sqrt(6))
    for sizes in ((9, 10, 20, 2000), (10, 10, 19, 2000), (10, 10, 20, 1999)):
        with pytest.raises(MdpkitError):
            lower_bounds.jao_regret(*sizes)
    for sizes in ((7, 2, 6, 1000), (4, 2, 6, 1000), (6, 2, 5, 1000), (6, 2, 6, 71), (6, 1, 6, 1000)):
        with pytest.raises(MdpkitError):
            lower_bounds.hard_tree_regret(*sizes)


@pytest.mark.parametrize("A, d, wait, H", [(2, 2, 2, 6), (3, 1, 3, 7), (2, 3, 1, 5)])
def test_hard_tree(A, d, wait, H):
    leaves = A ** (d - 1)
    for h, leaf, action in itertools.product(range(d, d + wait), range(leaves), range(A)):
        m = lower_bounds.hard_tree(A, d, H, wait, h, leaf, action, 0.125)
        assert 3 + (A**d - 1) // (A - 1) == m.S
        V, Q = backward(*tables(m))
        close(V[0, 0], lower_bounds.hard_tree_value(d, H, wait, 0.125))
        first_leaf = m.S - 2 - leaves
        assert Q[h, first_leaf + leaf].argmax() == action
        assert (m.P != lower_bounds.hard_tree(A, d, H, wait, h, leaf, action, 0.0).P).sum() == 2
    blind = lower_bounds.hard_tree(A, d, H, wait, d, 0, 0, 0.0)
    close(backward(*tables(blind))[0][0, 0], (H - wait - d) / 2)


def test_hard_tree_refuses_a_triple_outside_the_family():
    for bad in ({"h": 1}, {"h": 4}, {"leaf": 2}, {"action": 2}, {"H": 4}):
        with pytest.raises(MdpkitError):
            lower_bounds.hard_tree(**({"A": 2, "d": 2, "H": 6, "wait": 2, "h": 2, "leaf": 0, "action": 0,
                                       "epsilon": 0.1} | bad))


def test_greedy_loss_is_attained():
    m, V = lower_bounds.greedy_loss(), lower_bounds.greedy_loss_estimate()
    Q = m.r + m.gamma * m.P @ V
    assert Q[0, 0] == Q[0, 1]                                     # dyadic: the tie is exact
    best = optimal(m)[0]
    loss = best - evaluate(m, np.eye(2)[[0, 0]])
    close(loss.max(), 2 * 0.875 * 2.0**-7 / 0.125)
    assert np.abs(V - best).max() == 2.0**-7
    card = lower_bounds.greedy_loss(0.9, 0.01)
    close(card.r[0, 0], 0.882)
    close(lower_bounds.greedy_loss_estimate(0.9, 0.01), [9.01, 9.99])
    close((optimal(card)[0] - evaluate(card, np.eye(2)[[0, 0]]))[0], 0.18, ROUND)


def test_leaking_comes_near_to_the_simulation_bound():
    true, estimate = lower_bounds.leaking(0.0), lower_bounds.leaking(0.01)
    error = optimal(true)[0][0] - optimal(estimate)[0][0]
    close(error, 1 / 0.1 - 1 / (1 - 0.9 * 0.99))
    close(error, 0.82569, 5e-6)                                   # the value is printed with five decimals
    assert error <= 0.9 * np.abs(true.P - estimate.P).sum(-1).max() / (2 * 0.1**2) <= 0.9 + ROUND
