"""Random worlds follow their generator, keep their ranges, and are exact in the last bit."""

import itertools
from fractions import Fraction

import numpy as np
import pytest
from core.plain_planning import close

from mdpkit.errors import MdpkitError
from mdpkit.instances import chains, formula, games, garnet


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
