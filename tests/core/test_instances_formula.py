"""Worlds given by formulas, against reference values recorded to their digits."""

import itertools
import math

import numpy as np
from core.plain_planning import (
    EXACT,
    PRINTED,
    ROUND,
    backward,
    close,
    evaluate,
    gain_and_bias,
    game_value,
    occupancies,
    optimal,
    tables,
)

from mdpkit.instances import formula


def test_stationary_formula():
    m = formula.stationary(4, 3, 0.9)
    V, a = optimal(m)
    close(V, [7.859232869535019, 7.409706521944993, 7.6580632808926765, 8.035044003007998])
    assert a.tolist() == [1, 0, 2, 0]
    uniform = evaluate(m, np.full((4, 3), 1 / 3))
    close(m.rho @ uniform, 4.20464269472936)
    close(m.rho @ (evaluate(m, formula.stationary_policy(4, 3)) - uniform), 0.26378534968349876)
    e = formula.stationary_episodic(4, 3, 4)
    close(backward(*tables(e))[0][0], [3.176442592130431, 2.7348481646607365, 2.9734984220268363, 3.3528920489391325])


def test_step_dependent_formula():
    m, pi = formula.step_dependent(4, 3, 5), formula.step_dependent_policy(4, 3, 5)
    nu, f = formula.step_dependent_nu(4, 3, 5), formula.step_dependent_critic(4, 3, 5)
    greedy = np.eye(3)[f.argmax(-1)]
    value = lambda p=None: m.rho @ backward(*tables(m), p)[0][0]
    close(value(), 3.668448553320072)
    close(value(pi), 2.6335790137133457)
    close(value(pi) - value(greedy), 0.12640312958089261)
    d, d_f = occupancies(m.P, m.rho, pi), occupancies(m.P, m.rho, greedy)
    after = np.append(f.max(-1)[1:], np.zeros((1, 4)), axis=0)
    x = m.r + np.einsum("hsat,ht->hsa", m.P, after) - f
    close([(d * x).sum(), -(d_f * x).sum(), (d * (f.max(-1, keepdims=True) - f)).sum()],
          [3.422472309894883, -1.2571758841324527, 2.0388932961815374])     # their alternating sum is 0.126403...
    close((nu * x**2).sum(), 5.963159312320099)
    close(math.sqrt((d**2 / nu).sum()), 2.409251567060922)
    close(math.sqrt(5 * (d / nu).max()), 3.1260042016084895)


def test_step_dependent_formula_at_other_sizes():
    m = formula.step_dependent(3, 2, 3)
    close(m.rho @ backward(*tables(m))[0][0], 1.637029817341708)
    m, guide = formula.step_dependent(4, 3, 4), formula.step_dependent_policy(4, 3, 4)
    close(m.rho @ backward(*tables(m), guide)[0][0], 2.006261266192922)
    close(m.rho @ backward(*tables(m))[0][0], 2.8793232033215275)
    close(occupancies(m.P, m.rho, guide)[3].sum(-1),
          [0.26035441895059624, 0.2504107492994493, 0.25261892433254163, 0.23661590741741284])


def test_other_mdp_formulas():
    m = formula.drifting(3, 3, 3)
    V, Q = backward(*tables(m))
    close(V[0, 0], 2.218550106610, PRINTED)
    base = 0.6 * np.eye(3)[Q.argmax(-1)] + 0.4 / 3
    close(m.rho @ backward(*tables(m), base)[0][0], 1.858844746720, PRINTED)
    gains = {a: gain_and_bias(formula.average_reward(3, 2, 0.9), np.array(a))
             for a in itertools.product((0, 1), repeat=3)}
    best = max(gains, key=lambda a: gains[a][0])
    assert best == (0, 0, 1)
    close(gains[best][0], 0.648458476067, PRINTED)
    close(gains[best][1], [0, 0.633061753541, 0.693843162670], PRINTED)
    close(gains[(1, 0, 1)][0], 0.598721, 5e-7)                    # printed with six decimals
    close(optimal(formula.reward_process(5, 0.9))[0],
          [4.768908759626, 5.412208012650, 5.030972823206, 4.890985269417, 5.635265957600], PRINTED)
    close(optimal(formula.reward_process(6, 0.9))[0],
          [3.654225903807, 4.472365631312, 4.126466343595, 3.916918512198, 4.682327179255, 3.679818277088], PRINTED)
    close(optimal(formula.candidates(4, 3, 2, 0.9)[0])[0], [4.808592467026, 5.466137944579, 4.473258098116], PRINTED)
    assert [tuple(optimal(t)[1].tolist()) for t in formula.tasks(5, 3, 2, 0.9)] == [
        (0, 1, 0), (0, 0, 1), (0, 0, 1), (0, 1, 0), (0, 0, 1)]


def test_linear_formulas():
    m = formula.linear(6, 3, 3, 3)
    assert m.misfit < EXACT
    close(backward(*tables(m))[0][0, :3], [1.8661701410885159, 1.799990093953185, 1.8151647454482545])
    m = formula.linear_mixture(5, 3, 3, 4)
    close(backward(*tables(m))[0][0], [3.103144125484424, 2.560998638085382, 2.9396385768028885, 3.2441980138839335,
                                    3.094084361952781])
    m = formula.bounded_mixture()
    close(backward(*tables(m))[0][0], [0.794802522878, 0.760302447259, 0.818224292734], PRINTED)
    assert m.r.max() * m.H <= 1.0


def history_value(m):
    """Best value over policies of the state-action history, by the tree of unnormalised beliefs."""
    def best(b, s, h):
        return 0.0 if h == m.H else max(
            b @ m.r[:, s, a] + sum(best(b * m.P[:, s, a, t], t, h + 1) for t in range(m.S)) for a in range(m.A))
    return sum(best(m.w * m.nu[:, s], s, 0) for s in range(m.S))


def test_latent_formula():
    for sizes, V, known in (((2, 2, 2, 4), 0.726654462892, 0.848228520781),
                            ((2, 3, 2, 3), 0.709722426567, 0.788385027900), ((2, 2, 2, 3), 0.697214319258, None)):
        m = formula.latent(*sizes)
        close(history_value(m), V, PRINTED)
        told = sum(m.w[i] * m.nu[i] @ backward(np.repeat(m.P[i][None], m.H, 0), np.repeat(m.r[i][None], m.H, 0))[0][0]
                   for i in range(m.M))
        assert known is None or abs(told - known) <= PRINTED


def test_game_formulas():
    m = formula.game(3, 2, 2, 3)
    V = np.zeros(3)
    for h in (2, 1, 0):
        V = np.array([game_value(m.r[0, h, s] + m.P[h, s] @ V) for s in range(3)])
    close(V, [1.4099058515120406, 1.1777932266690168, 1.3175964548151524], ROUND)
    close(m.rho @ V, 1.3017651776654033, ROUND)
    g = formula.game(3, 2, 2, 3, zero_sum=False)
    for table, value in zip(g.r, (1.4040393985258874, 1.5120966713427428)):
        V = np.zeros(3)
        for h in (2, 1, 0):
            V = (table[h] + g.P[h] @ V).mean((1, 2))
        close(g.rho @ V, value)
    assert (formula.matrix_game(3, 4).r[0, 0, 0] * 6).round().tolist() == [[0, 5, 3, 1], [3, 2, 1, 0], [6, 6, 6, 6]]


def test_token_and_contextual_formulas():
    m = formula.tokens(beta=0.5)
    digits = "088373446397026533828991842"
    assert "".join(str(int(x)) for x in (m.reward[0] * 9).round()) == digits
    law = m.response_law()[0]
    close(law @ m.reward[0], 0.508971995083, PRINTED)
    close(0.5 * math.log(law @ np.exp(m.reward[0] / 0.5)), 0.608503163722, PRINTED)
    r = formula.contextual().r
    close(r[0], [0.676209, 0.648180, 0.593174, 0.679374, 0.489293], 5e-7)      # printed with six decimals
    close(r[1], [0.275096, 0.698827, 0.470760, 0.633775, 0.281769], 5e-7)
