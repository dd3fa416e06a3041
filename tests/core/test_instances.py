"""Known answers of the named worlds, each against an independent computation in plain numpy."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from scipy.optimize import linprog

from mdpkit.errors import MdpkitError
from mdpkit.instances import chains, formula, games, garnet, gridworlds, locks, lower_bounds, preferences

EXACT = 1e-12      # a handful of operations on numbers of order one
ROUND = 1e-9       # linear solves, backups and linear programs; reference values of at least ten digits
PRINTED = 1e-11    # reference values printed with twelve decimals, and a few roundings


def close(got, wanted, tol=EXACT):
    """Error relative to the largest wanted entry, or absolute where that is below one."""
    got, wanted = np.asarray(got, float), np.asarray(wanted, float)
    assert got.shape == wanted.shape
    assert np.abs(got - wanted).max() <= tol * max(1.0, np.abs(wanted).max())


def evaluate(m, pi):
    """Values of a policy (S, A) of a discounted MDP."""
    P = np.einsum("sa,sat->st", pi, m.dense)
    return np.linalg.solve(np.eye(m.S) - m.gamma * P, (pi * m.r).sum(-1))


def optimal(m):
    """Howard's policy iteration: (V*, greedy actions)."""
    a = np.zeros(m.S, int)
    while True:
        V = evaluate(m, np.eye(m.A)[a])
        Q = m.r + m.gamma * m.dense @ V
        better = Q.max(-1) > Q[np.arange(m.S), a] + EXACT * max(1.0, np.abs(Q).max())
        if not better.any():
            return V, a
        a = np.where(better, Q.argmax(-1), a)


def backward(P, r, pi=None, last=None):
    """Values (H+1, S) of the best policy or of ``pi`` (H, S, A), and Q (H, S, A)."""
    H, S, _ = r.shape
    V, Q = np.zeros((H + 1, S)), np.zeros(r.shape)
    for h in range(H - 1, -1, -1):
        Q[h] = r[h] + P[h] @ V[h + 1]
        V[h] = Q[h].max(-1) if pi is None else (pi[h] * Q[h]).sum(-1)
    return V, Q


def occupancies(P, rho, pi):
    """State-action laws (H, S, A)."""
    d, out = np.asarray(rho), []
    for h in range(len(P)):
        out.append(d[:, None] * pi[h])
        d = np.einsum("sa,sat->t", out[-1], P[h])
    return np.array(out)


def gain_and_bias(m, a):
    """Average reward and bias (bias 0 in state 0) of a deterministic unichain policy."""
    s = np.arange(m.S)
    M = np.eye(m.S) - m.dense[s, a]
    M[:, 0] = 1.0
    x = np.linalg.solve(M, m.r[s, a])
    return x[0], np.append(0.0, x[1:])


def game_value(M):
    """Value to the rows of a matrix game, by linear programming."""
    n, k = M.shape
    out = linprog(np.append(np.zeros(n), -1.0), A_ub=np.column_stack([-M.T, np.ones(k)]), b_ub=np.zeros(k),
                  A_eq=[[1.0] * n + [0.0]], b_eq=[1.0], bounds=[(0, None)] * n + [(None, None)])
    return -out.fun


def is_nash(game, *sides):
    """Whether no player of a matrix game gains by deviating from independent play."""
    for i, table in enumerate(game.r[:, 0, 0]):
        u = table
        for j in range(game.n - 1, -1, -1):
            u = np.moveaxis(u, j, -1) @ sides[j] if j != i else u
        if u.max() > u @ sides[i] + EXACT:
            return False
    return True


GAMMAS = (0.0, 0.5, 0.9, 0.99)


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
    iterates = backward(*_of(chains.haddad_monmege_episodic(n, H)))[0][::-1]
    moves = np.abs(np.diff(iterates, axis=0)).max(-1)
    k = np.arange(1, H + 1)
    assert (moves <= 2.0 ** -np.minimum(k, n)).all()
    assert (iterates[1:, n] <= k * 2.0**-n).all()
    m = chains.haddad_monmege(n, 0.0)
    inner = slice(1, 2 * n)
    limit = np.linalg.solve(np.eye(2 * n - 1) - m.P[inner, 0, inner], m.r[inner, 0])
    close(chains.haddad_monmege_value(n)[inner], limit)
    assert chains.haddad_monmege_value(n)[n] == 0.5


def _of(m):
    return m.P, m.r


# locks -------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("H, A", [(1, 1), (3, 2), (5, 4)])
def test_combination_lock(H, A):
    m = locks.combination_lock(H, A)
    assert m.rho @ backward(*_of(m))[0][0] == 1.0
    uniform = np.full(m.r.shape, 1.0 / A)
    close(m.rho @ backward(*_of(m), uniform)[0][0], A**-H)
    other = locks.combination_lock(H, A, np.zeros(H, int))
    zeros = np.eye(A)[np.zeros((H, 2), int)]
    assert other.rho @ backward(*_of(other), zeros)[0][0] == 1.0


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
    best = backward(*_of(m))
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
    close(m.rho @ backward(*_of(m), guided)[0][0], 0.8)
    close(m.rho @ backward(*_of(m), uniform)[0][0], 0.3 + 4.0**-3 / 2)
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


# random worlds -----------------------------------------------------------------------------------------------------

def rng(seed=0):
    return np.random.default_rng(seed)


BUILDERS = {
    "garnet": lambda g: garnet.garnet(6, 2, 3, 0.9, g), "sparse": lambda g: garnet.garnet(6, 2, 3, 0.9, g, sparse=True),
    "mdp": lambda g: garnet.random_mdp(3, 2, 0.9, g), "episodic": lambda g: garnet.random_episodic(3, 2, 4, g),
    "linear": lambda g: garnet.random_linear(4, 2, 3, 2, g),
    "mixture": lambda g: garnet.random_linear_mixture(3, 2, 2, 2, g),
    "latent": lambda g: garnet.random_latent(2, 3, 2, 4, g), "block": lambda g: garnet.random_block(3, 2, 7, 2, g),
    "bandit": lambda g: garnet.random_bandit(3, g), "linear bandit": lambda g: garnet.random_linear_bandit(5, 2, g),
    "contextual": lambda g: garnet.random_contextual(2, 3, g),
    "game": lambda g: garnet.random_game(2, (2, 3, 2), 2, g),
    "zero-sum": lambda g: garnet.random_zero_sum(2, (2, 3), 2, g),
    "preferences": lambda g: garnet.random_preferences(2, 4, 0.5, g),
    "bradley-terry": lambda g: garnet.random_bradley_terry(2, 4, 0.5, g, scale=3.0),
}


def parts(m):
    """All arrays of a model, as bytes."""
    return [x.toarray().tobytes() if hasattr(x, "toarray") else np.asarray(x).tobytes()
            for x in vars(m).values() if x is not None]


@pytest.mark.parametrize("name", BUILDERS)
def test_random_worlds_follow_their_generator(name):
    build = BUILDERS[name]
    assert parts(build(rng(3))) == parts(build(rng(3))) != parts(build(rng(4)))
    with pytest.raises(MdpkitError, match="rng"):
        build(3)


@pytest.mark.parametrize("build, message", [
    (lambda g: garnet.random_episodic(2, 0, 3, g), "A must be at least 1; it is 0"),
    (lambda g: garnet.random_game(2, (2, 0), 3, g), r"A\[1\] must be at least 1"),
    (lambda g: garnet.random_block(3, 2, 2, 1, g), "X must be at least 3"),
    (lambda g: formula.step_dependent(3, 2, 0), "H must be at least 1"),
    (lambda g: formula.tokens(2.5), "V must be an integer"),
    (lambda g: chains.riverswim(1), "S must be at least 2"),
    (lambda g: games.biased_rps(1, 0, 1), "scissors must be in"),
])
def test_bad_sizes_name_the_argument(build, message):
    with pytest.raises(MdpkitError, match=message):
        build(rng())


@pytest.mark.parametrize("name", ["garnet", "mdp", "episodic", "latent", "game"])
def test_random_probabilities_are_dyadic(name):
    m = BUILDERS[name](rng())
    assert (m.P * 2.0**26 % 1 == 0).all()
    assert name == "latent" or (m.r * 2.0**26 % 1 == 0).all()     # there rewards are divided by H


def test_garnet_has_b_successors_and_one_world_sparse_or_dense():
    dense, sparse = garnet.garnet(9, 3, 4, 0.9, rng(1)), garnet.garnet(9, 3, 4, 0.9, rng(1), sparse=True)
    assert sparse.is_sparse and (sparse.dense == dense.P).all() and (sparse.r == dense.r).all()
    assert ((dense.P > 0).sum(-1) == 4).all()
    with pytest.raises(MdpkitError, match="b must be"):
        garnet.garnet(3, 1, 4, 0.9, rng())


@pytest.mark.parametrize("seed", range(5))
def test_random_linear_worlds_are_linear_to_the_last_bit(seed):
    m = garnet.random_linear(5, 3, 4, 2, rng(seed))
    assert m.misfit == 0.0
    exact = lambda x: [Fraction(float(v)) for v in x]
    for h, s, a in itertools.product(range(2), range(5), range(3)):
        row = [sum(p * q for p, q in zip(exact(m.phi[s, a]), exact(m.mu[h, :, t]))) for t in range(5)]
        assert row == exact(m.P[h, s, a]) and sum(row) == 1
        assert Fraction(float(m.r[h, s, a])) == sum(p * q for p, q in zip(exact(m.phi[s, a]), exact(m.theta[h])))


def test_random_mixtures_are_exact():
    m = garnet.random_linear_mixture(4, 2, 3, 2, rng())
    assert (np.einsum("hi,isat->hsat", m.theta, m.base) == m.P).all()


@pytest.mark.parametrize("seed", range(5))
def test_random_blocks_decode(seed):
    m = garnet.random_block(4, 2, 6, 2, rng(seed))
    assert m.is_block and set(m.decoder().tolist()) == {0, 1, 2, 3}


def test_ranges_of_random_worlds():
    assert garnet.random_zero_sum(2, (2, 3), 2, rng()).is_zero_sum
    assert garnet.random_game(2, (2, 3, 2), 2, rng()).A == (2, 3, 2)
    assert garnet.random_latent(2, 3, 2, 5, rng()).r.max() <= 0.2
    x = garnet.random_linear_bandit(6, 3, rng())
    close((x.x**2).sum(-1), np.ones(6))
    assert (x.theta**2).sum() <= 1.0
    bt = garnet.random_bradley_terry(2, 3, 0.5, rng(), scale=3.0)
    close(bt.p, 1 / (1 + np.exp(bt.reward[:, None, :] - bt.reward[:, :, None])))


def test_dyadic_rows():
    w = np.array([[1e-300, 1.0, 0.0, 2.0], [0.0, 0.0, 5.0, 0.0], [1.0, 1.0, 1.0, 1e18]])
    rows = garnet.dyadic_rows(w)
    assert (rows.sum(-1) == 1.0).all() and ((rows > 0) == (w > 0)).all() and (rows * 2.0**26 % 1 == 0).all()
    assert np.abs(rows - w / w.sum(-1, keepdims=True)).max() <= 4 * 2.0**-26
    for bad in ([0.0, 0.0], [-1.0, 2.0], [np.nan, 1.0], [np.inf, 1.0]):
        with pytest.raises(MdpkitError, match="weights"):
            garnet.dyadic_rows(bad)


# lower bounds ------------------------------------------------------------------------------------------------------

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
        V, Q = backward(*_of(m))
        close(V[0, 0], lower_bounds.hard_tree_value(d, H, wait, 0.125))
        first_leaf = m.S - 2 - leaves
        assert Q[h, first_leaf + leaf].argmax() == action
        assert (m.P != lower_bounds.hard_tree(A, d, H, wait, h, leaf, action, 0.0).P).sum() == 2
    blind = lower_bounds.hard_tree(A, d, H, wait, d, 0, 0, 0.0)
    close(backward(*_of(blind))[0][0, 0], (H - wait - d) / 2)


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


# formulas: reference values recorded to their digits ----------------------------------------------------------------

def test_stationary_formula():
    m = formula.stationary(4, 3, 0.9)
    V, a = optimal(m)
    close(V, [7.859232869535019, 7.409706521944993, 7.6580632808926765, 8.035044003007998])
    assert a.tolist() == [1, 0, 2, 0]
    uniform = evaluate(m, np.full((4, 3), 1 / 3))
    close(m.rho @ uniform, 4.20464269472936)
    close(m.rho @ (evaluate(m, formula.stationary_policy(4, 3)) - uniform), 0.26378534968349876)
    e = formula.stationary_episodic(4, 3, 4)
    close(backward(*_of(e))[0][0], [3.176442592130431, 2.7348481646607365, 2.9734984220268363, 3.3528920489391325])


def test_step_dependent_formula():
    m, pi = formula.step_dependent(4, 3, 5), formula.step_dependent_policy(4, 3, 5)
    nu, f = formula.step_dependent_nu(4, 3, 5), formula.step_dependent_critic(4, 3, 5)
    greedy = np.eye(3)[f.argmax(-1)]
    value = lambda p=None: m.rho @ backward(*_of(m), p)[0][0]
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
    close(m.rho @ backward(*_of(m))[0][0], 1.637029817341708)
    m, guide = formula.step_dependent(4, 3, 4), formula.step_dependent_policy(4, 3, 4)
    close(m.rho @ backward(*_of(m), guide)[0][0], 2.006261266192922)
    close(m.rho @ backward(*_of(m))[0][0], 2.8793232033215275)
    close(occupancies(m.P, m.rho, guide)[3].sum(-1),
          [0.26035441895059624, 0.2504107492994493, 0.25261892433254163, 0.23661590741741284])


def test_other_mdp_formulas():
    m = formula.drifting(3, 3, 3)
    V, Q = backward(*_of(m))
    close(V[0, 0], 2.218550106610, PRINTED)
    base = 0.6 * np.eye(3)[Q.argmax(-1)] + 0.4 / 3
    close(m.rho @ backward(*_of(m), base)[0][0], 1.858844746720, PRINTED)
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
    close(backward(*_of(m))[0][0, :3], [1.8661701410885159, 1.799990093953185, 1.8151647454482545])
    m = formula.linear_mixture(5, 3, 3, 4)
    close(backward(*_of(m))[0][0], [3.103144125484424, 2.560998638085382, 2.9396385768028885, 3.2441980138839335,
                                    3.094084361952781])
    m = formula.bounded_mixture()
    close(backward(*_of(m))[0][0], [0.794802522878, 0.760302447259, 0.818224292734], PRINTED)
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


# games -------------------------------------------------------------------------------------------------------------

def test_symmetric_zero_sum_games():
    third = np.full(3, 1 / 3)
    assert is_nash(games.matching_pennies(), np.full(2, 0.5), np.full(2, 0.5))
    assert is_nash(games.rock_paper_scissors(), third, third)
    assert not is_nash(games.rock_paper_scissors(), np.array([0.5, 0.25, 0.25]), third)
    for g in (games.matching_pennies(), games.rock_paper_scissors()):
        assert g.is_zero_sum
        close(game_value(g.r[0, 0, 0]), 0.0)


@pytest.mark.parametrize("wins", [(1.0, 1.0, 1.0), (2.0, 1.0, 0.5), (1.0, 3.0, 7.0)])
def test_biased_rps(wins):
    g, x = games.biased_rps(*wins), games.biased_rps_equilibrium(*wins)
    assert is_nash(g, x, x)
    null = np.linalg.svd(g.r[0, 0, 0])                            # rank 2 and full support: the only equilibrium
    assert null.S[1] > 0.1 and (x > 0).all()                      # the smallest gap of these three is 1.1
    close(np.abs(null.Vh[2]) / np.abs(null.Vh[2]).sum(), x)


def test_dilemma_chicken_and_shapley():
    g = games.prisoners_dilemma()
    assert is_nash(g, np.eye(2)[1], np.eye(2)[1]) and (g.r[0, 0, 0, 1] > g.r[0, 0, 0, 0]).all()
    g, mixed = games.chicken(), np.array([1 / 3, 2 / 3])
    assert is_nash(g, np.eye(2)[0], np.eye(2)[1]) and is_nash(g, mixed, mixed)
    close(mixed @ g.r[0, 0, 0] @ mixed, 14 / 3)
    g, third = games.shapley_game(), np.full(3, 1 / 3)
    assert is_nash(g, third, third) and not g.is_zero_sum
    close([third @ t @ third for t in g.r[:, 0, 0]], [1 / 3, 1 / 3])
    paying = (g.r[:, 0, 0].sum(0) > 0) / 6
    assert deviations(g, paying).max() <= EXACT
    close((g.r[:, 0, 0] * paying).sum((1, 2)), [0.5, 0.5])


def deviations(g, law):
    """Gains (2, A, A) from following "play b when told a" under a joint law."""
    rows, cols = g.r[:, 0, 0]
    return np.stack([law @ rows.T - (law * rows).sum(1)[:, None], law.T @ cols - (law * cols).sum(0)[:, None]])


def test_chickens_best_correlated_equilibrium():
    g = games.chicken()
    signals = np.eye(4).reshape(4, 2, 2)
    A = np.stack([deviations(g, s).ravel() for s in signals], axis=1)
    out = linprog(-g.r[:, 0, 0].sum(0).ravel(), A_ub=A, b_ub=np.zeros(len(A)), A_eq=np.ones((1, 4)), b_eq=[1.0])
    close(-out.fun, 21 / 2, ROUND)
    for law, payoff in (([0, 1 / 3, 1 / 3, 1 / 3], 5.0), ([0, 0.25, 0.25, 0.5], 21 / 4)):
        law = np.reshape(law, (2, 2))
        assert deviations(g, law).max() <= EXACT
        close((g.r[:, 0, 0] * law).sum((1, 2)), [payoff, payoff])


@pytest.mark.parametrize("n, m", [(1, 0), (1, 1), (2, 1), (4, 2), (5, 1), (3, 4)])
def test_inspection_game(n, m):
    g = games.inspection_game(n, m)
    assert g.is_zero_sum and m + 2 == g.S
    V = np.zeros(g.S)
    for h in range(n - 1, -1, -1):
        V = np.array([game_value(g.r[0, h, s] + g.P[h, s] @ V) for s in range(g.S)])
        close(V[:-1], [games.inspection_value(n - h, k) for k in range(m + 1)], ROUND)
    close(g.rho @ V, games.inspection_value(n, m), ROUND)


# preferences -------------------------------------------------------------------------------------------------------

def wins(model, pi):
    """Least chance that ``pi`` is preferred to a response."""
    return (pi @ model.p[0]).min()


@pytest.mark.parametrize("Y", [1, 3, 5])
@pytest.mark.parametrize("strength", [0.0, 0.5, 1.0])
def test_condorcet_cycle(Y, strength):
    m = preferences.condorcet_cycle(Y, strength)
    close(wins(m, np.full(Y, 1 / Y)), 0.5)
    beaten = (m.p[0] == (1 + strength) / 2).sum(1)
    assert strength == 0 or (beaten == Y // 2).all()


def test_an_even_cycle_is_refused():
    with pytest.raises(MdpkitError, match="Y must be odd"):
        preferences.condorcet_cycle(4)


@pytest.mark.parametrize("margins", [(0.4, 0.3, 0.3), (0.5, 0.25, 0.125)])
def test_weighted_cycle(margins):
    m, w = preferences.weighted_cycle(*margins), preferences.weighted_cycle_winner(*margins)
    close(w @ m.p[0], np.full(3, 0.5))
    if margins == (0.4, 0.3, 0.3):
        close(m.p[0], [[0.5, 0.9, 0.2], [0.1, 0.5, 0.8], [0.8, 0.2, 0.5]])


def test_dominated_cycle():
    m, w = preferences.dominated_cycle(), np.array(preferences.DOMINATED_WINNER)
    close(w @ m.p[0, :, :3], np.full(3, 0.5))
    assert w @ m.p[0, :, 3] > 0.5 and abs(w.sum() - 1.0) <= EXACT


def test_ladder():
    m = preferences.bradley_terry_ladder(4, 0.5, beta=0.25)
    close(wins(m, np.eye(4)[3]), 0.5)
    tilted = m.pi_ref[0] * np.exp(m.reward[0] / 0.25)
    close(preferences.ladder_policy(4, 0.5, 0.25), tilted / tilted.sum())
    q = math.exp(2.0)
    close(preferences.ladder_policy(4, 0.5, 0.25), q ** np.arange(4) * (q - 1) / (q**4 - 1))
    assert np.isfinite(preferences.ladder_policy(9, 1e3, 1e-3)).all()
    close(m.p[0, 3, 1], 1 / (1 + math.exp(-1.0)))


def test_two_prompts():
    m = preferences.two_prompts()
    tilted = m.pi_ref * np.exp(m.reward / m.beta)
    close(tilted / tilted.sum(1, keepdims=True),
          [[0.1399497911388, 0.2853172306119, 0.5170484288791, 0.0576845493701],
           [0.2444638153659, 0.2965495984195, 0.0992537390809, 0.3597328471337]], PRINTED)
    close(m.rho @ (m.beta * np.log(tilted.sum(1))), 0.5362748235517, PRINTED)
    close((m.rho[:, None] * m.pi_ref * m.reward).sum(), 0.405)


def test_flipped_labels_keep_the_winner():
    m = preferences.weighted_cycle(0.4, 0.3, 0.3)
    w = preferences.weighted_cycle_winner(0.4, 0.3, 0.3)
    for epsilon in (0.0, 0.25, 0.5):
        f = preferences.flipped(m, epsilon)
        close(f.p - 0.5, (1 - 2 * epsilon) * (m.p - 0.5))
        close(w @ f.p[0], np.full(3, 0.5))
    assert preferences.flipped(preferences.bradley_terry_ladder(3), 0.1).reward is None
    with pytest.raises(MdpkitError, match="epsilon"):
        preferences.flipped(m, 0.6)
