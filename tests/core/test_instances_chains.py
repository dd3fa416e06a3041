"""Known answers of chains, locks and gridworlds, each against an independent computation in plain numpy."""

import itertools

import numpy as np
import pytest
from core.plain_planning import GAMMAS, PRINTED, ROUND, backward, close, evaluate, gain_and_bias, optimal, tables

from mdpkit.errors import MdpkitError
from mdpkit.instances import chains, gridworlds, locks

# chains ------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("gamma", GAMMAS)
@pytest.mark.parametrize("S", [1, 2, 7])
def test_chain_cycle_and_two_sided_chain_values(S, gamma):
    close(optimal(chains.chain(S, gamma))[0], chains.chain_value(S, gamma))
    close(optimal(chains.cycle(S, gamma))[0], chains.cycle_value(S, gamma))
    close(optimal(chains.haddad_monmege(S, gamma))[0], chains.haddad_monmege_value(S, gamma))


def test_cycle_is_periodic_with_gain_one_over_S():
    P = chains.cycle(5, 0.5).P[:, 0]
    assert (np.linalg.matrix_power(P, 5) == np.eye(5)).all()
    close(gain_and_bias(chains.cycle(5, 0.5), np.zeros(5, int))[0], 0.2)


def test_nchain_always_on_is_optimal_at_the_defaults():
    m = chains.nchain()
    V, a = optimal(m)
    assert (a == 1).all()
    close(V, chains.nchain_value(), ROUND)
    close(gain_and_bias(m, a)[0], 3.6768)
    assert m.r[4].tolist() == [0.8 * 2.0 + 0.2 * 10.0, 0.8 * 10.0 + 0.2 * 2.0]


@pytest.mark.parametrize("args", [(1, 0.3, 1.0, 5.0, 0.9), (4, 0.0, 3.0, 4.0, 0.5), (6, 1.0, 2.0, 7.0, 0.95)])
def test_nchain_value_is_that_of_going_on(args):
    m = chains.nchain(*args)
    close(evaluate(m, np.eye(2)[np.ones(m.S, int)]), chains.nchain_value(*args), ROUND)


@pytest.mark.parametrize("S", [2, 3, 4, 6])
def test_riverswim_gain_is_the_best_of_all_policies(S):
    m = chains.riverswim(S)
    gains = {a: gain_and_bias(m, np.array(a))[0] for a in itertools.product((0, 1), repeat=S)}
    assert max(gains, key=gains.get) == (1,) * S
    close(gains[(1,) * S], chains.riverswim_gain(S), ROUND)


def test_riverswim_of_four_states_has_the_recorded_gain_and_bias():
    gain, bias = gain_and_bias(chains.riverswim(4), np.ones(4, int))
    close(gain, 0.431085043988, PRINTED)
    close(bias, [0, 0.718475073313, 2.052785923753, 3.475073313783], PRINTED)
    e = chains.riverswim_episodic(4, 3)
    assert e.H == 3 and e.is_stationary and (e.P[0] == chains.riverswim(4).P).all()


@pytest.mark.parametrize("n", [1, 2, 6])
def test_haddad_monmege_stops_long_before_it_is_right(n):
    H = 4 * n
    iterates = backward(*tables(chains.haddad_monmege_episodic(n, H)))[0][::-1]
    moves = np.abs(np.diff(iterates, axis=0)).max(-1)
    k = np.arange(1, H + 1)
    assert (moves <= 2.0 ** -np.minimum(k, n)).all()
    assert (iterates[1:, n] <= k * 2.0**-n).all()
    m = chains.haddad_monmege(n, 0.0)
    inner = slice(1, 2 * n)
    limit = np.linalg.solve(np.eye(2 * n - 1) - m.P[inner, 0, inner], m.r[inner, 0])
    close(chains.haddad_monmege_value(n)[inner], limit)
    assert chains.haddad_monmege_value(n)[n] == 0.5


# locks -------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("H, A", [(1, 1), (3, 2), (5, 4)])
def test_combination_lock(H, A):
    m = locks.combination_lock(H, A)
    assert m.rho @ backward(*tables(m))[0][0] == 1.0
    uniform = np.full(m.r.shape, 1.0 / A)
    close(m.rho @ backward(*tables(m), uniform)[0][0], A**-H)
    other = locks.combination_lock(H, A, np.zeros(H, int))
    zeros = np.eye(A)[np.zeros((H, 2), int)]
    assert other.rho @ backward(*tables(other), zeros)[0][0] == 1.0


def test_a_code_outside_the_actions_is_refused():
    with pytest.raises(MdpkitError, match=r"code\[1\]"):
        locks.combination_lock(2, 3, [0, 3])


@pytest.mark.parametrize("gamma", GAMMAS)
def test_discounted_lock(gamma):
    close(optimal(locks.discounted_lock(8, 4, gamma))[0], locks.discounted_lock_value(8, gamma))


@pytest.mark.parametrize("H, A", [(1, 3), (4, 3), (8, 4)])
def test_lucky_traps(H, A):
    m = locks.lucky_traps(H, A)
    assert m.S == 1 + H * (A - 1) and m.noise == "bernoulli"
    best = backward(*tables(m))
    close(m.rho @ best[0][0], locks.LUCKY_VALUE)
    code = locks.lock_code(H, A)
    assert code.tolist() == [(2 * h + 1) % A for h in range(H)]
    path = best[1][np.arange(H), 0]
    close(np.sort(path, axis=-1), np.tile([0.3] * (A - 1) + [0.8], (H, 1)))   # any mistake costs 0.5
    assert (path.argmax(-1) == code).all()
    for h in range(H):                                                       # each wrong action has a trap of its own
        wrong = [a for a in range(A) if a != code[h]]
        assert [int(m.P[h, 0, a].argmax()) for a in wrong] == list(range(1 + h * (A - 1), 1 + (h + 1) * (A - 1)))


def test_lucky_behaviour_is_a_mixture_of_the_two_policies():
    m, ((half, guided), (other, uniform)) = locks.lucky_traps(3, 4), locks.lucky_behaviour(3, 4)
    assert half == other == 0.5 and guided.shape == uniform.shape == m.r.shape
    close(m.rho @ backward(*tables(m), guided)[0][0], 0.8)
    close(m.rho @ backward(*tables(m), uniform)[0][0], 0.3 + 4.0**-3 / 2)
    assert (guided[:, 1:] == 0.25).all()


# gridworlds --------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("absorbing", [True, False])
@pytest.mark.parametrize("gamma", GAMMAS)
def test_open_grid_with_walls(gamma, absorbing):
    walls = np.zeros((4, 5), bool)
    walls[1, :4] = walls[3, 1] = walls[2, 0] = True          # cell (3, 0) is cut off
    grid = gridworlds.open_grid(4, 5, gamma, walls=walls, absorbing=absorbing, goal=17)
    close(optimal(grid.model)[0], gridworlds.grid_value(grid))
    assert gridworlds.distances(walls, 17)[3, 0] == -1 and gridworlds.distances(walls, 17)[0, 0] == 9


@pytest.mark.parametrize("absorbing", [True, False])
def test_a_start_that_never_sees_the_goal(absorbing):
    grid = gridworlds.open_grid(1, 4, 0.9, walls=np.array([[False, True, False, False]]), absorbing=absorbing)
    close(optimal(grid.model)[0], gridworlds.grid_value(grid))


def test_slip_goes_to_the_sides():
    P = gridworlds.open_grid(3, 3, 0.9, slip=0.25, goal=8).model.P
    assert P[4, 0, [1, 3, 5]].tolist() == [0.75, 0.125, 0.125]       # up from the centre
    assert P[0, 3, [0, 3]].tolist() == [0.875, 0.125]                # left in the corner: two ways to stay


def test_four_rooms():
    grid = gridworlds.four_rooms(0.9)
    assert grid.walls.shape == (11, 11) and (~grid.walls).sum() == 104
    assert gridworlds.distances(grid.walls, grid.goal).flat[0] == 20
    close(optimal(grid.model)[0], gridworlds.grid_value(grid))
    assert (gridworlds.distances(grid.walls, 120)[~grid.walls] >= 0).all()


@pytest.mark.parametrize("gamma", GAMMAS)
def test_cliff(gamma):
    grid = gridworlds.cliff(gamma)
    close(optimal(grid.model)[0], gridworlds.cliff_value(grid), ROUND)
    assert grid.model.r[36, 1] == -100.0 and grid.model.P[36, 1, 36] == 1.0
    assert gridworlds.distances(grid.walls, grid.goal)[3, 0] == 13
    small = gridworlds.cliff(gamma, 2, 3, penalty=1.0)
    close(optimal(small.model)[0], gridworlds.cliff_value(small))


@pytest.mark.parametrize("bad", [{"start": 1}, {"goal": 1}, {"goal": 0}, {"walls": np.zeros((2, 2))}, {"slip": 1.5}])
def test_bad_grids_are_refused(bad):
    walls = np.zeros((2, 2), bool)
    walls[0, 1] = True
    with pytest.raises(MdpkitError):
        gridworlds.open_grid(2, 2, 0.9, **({"walls": walls} | bad))
