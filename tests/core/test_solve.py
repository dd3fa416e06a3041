"""Backward induction against rationals; what a Solution shows; input that the solvers refuse."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import oracles
import pytest

from mdpkit.errors import MdpkitError, NotCertified
from mdpkit.instances import chains, games
from mdpkit.models.bandits import Bandit
from mdpkit.models.games import MarkovGame
from mdpkit.models.tabular import EpisodicMDP, TabularMDP
from mdpkit.solve import discounted, episodic, soft
from mdpkit.solve.solution import TIERS

EXACT = 1e-12


def best(solver, *args, **options):
    try:
        return solver(*args, **options)
    except NotCertified as e:
        return e.solution


def world(rng, ties=False):
    """Up to four steps, states and actions; with ties, numbers so coarse that many sums coincide."""
    H, S, A = rng.integers(1, 5, 3)
    if ties:
        P = np.eye(S)[rng.integers(0, S, (H, S, A))] / 2 + np.eye(S)[rng.integers(0, S, (H, S, A))] / 2
        return EpisodicMDP(P, rng.integers(0, 3, (H, S, A)) / 2, np.eye(S)[0])
    return EpisodicMDP(rng.dirichlet(np.ones(S), (H, S, A)), rng.normal(size=(H, S, A)) * 10.0 ** rng.uniform(-3, 3),
                       np.eye(S)[0], flush=True)


# Backward induction --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", range(60))
def test_floats_contain_balls_contain_rationals(seed, ties):
    model = world(np.random.default_rng([1, seed]), ties)
    values, optimal = oracles.rational_induction(model.P.tolist(), model.r.tolist())
    exact, balls, floats = (episodic.solve(model, tier=tier) for tier in ("exact", "ball", "float"))
    flat = [v for step in values for v in step]
    assert list(exact.certificate.exact) == flat
    for s in (exact, balls, floats):
        assert all(Fraction(a) <= v <= Fraction(b) for a, v, b in zip(s.lo.flat, flat, s.hi.flat))
    assert (floats.lo <= balls.lo).all() and (balls.lo <= exact.lo).all()
    assert (floats.hi >= balls.hi).all() and (balls.hi >= exact.hi).all()
    np.testing.assert_array_equal(exact.optimal, optimal)
    np.testing.assert_array_equal(exact.policy, np.argmax(optimal, axis=2))
    assert not (exact.optimal & ~balls.optimal).any() and not (exact.optimal & ~floats.optimal).any()
    if ties:                                       # sums of a few dyadic numbers: the ties are ties in floats too
        np.testing.assert_array_equal(floats.policy, exact.policy)
        np.testing.assert_array_equal(floats.optimal, exact.optimal)


def test_ties_that_floats_round_apart_are_kept():
    """One law in three orders over states of equal value: Q is the same number, summed differently."""
    law = EpisodicMDP(np.array([[[[0.1, 0.3, 0.6]]]]).repeat(3, 1), np.zeros((1, 3, 1)), [1, 0, 0]).P[0, 0, 0]
    P = np.stack([np.roll(law, k) for k in range(3)])
    model = EpisodicMDP(np.broadcast_to(P, (12, 3, 3, 3)), np.full((12, 3, 3), 0.1), [1, 0, 0])
    exact = episodic.solve(model, tier="exact")
    assert exact.optimal.all() and exact.ties == 36
    for tier in ("float", "ball"):
        assert episodic.solve(model, tier=tier).optimal.all()


def test_haddad_monmege_step_by_step():
    model = chains.haddad_monmege_episodic(6, 40)           # dyadic: every iterate of 40 sweeps fits a rational exactly
    for tier in TIERS:
        s = episodic.solve(model, tier=tier)
        once = discounted.solve(chains.haddad_monmege(6, 0.0), math.inf, tier="exact")
        np.testing.assert_allclose(s.value[-1], once.value, atol=EXACT)
        assert s.value[0, 6] < 0.5 - 0.01 < chains.haddad_monmege_value(6)[6]     # forty sweeps are far from enough


def test_other_models_are_converted():
    s = episodic.solve(Bandit([0.25, 0.75, 0.75]), tier="exact")
    assert s.value.tolist() == [[0.75]] and s.optimal.tolist() == [[[False, True, True]]] and s.policy.tolist() == [[1]]


def test_an_unreachable_tolerance_keeps_its_enclosure():
    model = world(np.random.default_rng(2))
    truth = episodic.solve(model, tier="exact")
    for tier in TIERS:
        with pytest.raises(NotCertified) as caught:
            episodic.solve(model, 0.0, tier=tier)
        kept = caught.value.solution
        assert (kept.lo <= truth.lo).all() and (truth.hi <= kept.hi).all()
        assert episodic.solve(model, math.inf, tier=tier).width == kept.width


@pytest.mark.parametrize("shape", [(50, 100, 2), (200, 20, 2), (10, 200, 2)])
def test_the_default_tolerance_is_reached_in_worlds_of_a_few_hundred_states(shape):
    rng, (H, S, A) = np.random.default_rng(3), shape
    P = rng.dirichlet(np.ones(S), (S, A))
    episodic.solve(EpisodicMDP.stationary(np.maximum(P, 2.0**-50) / np.maximum(P, 2.0**-50).sum(-1, keepdims=True),
                                          rng.random((S, A)), np.eye(S)[0], H))


# What a Solution shows ---------------------------------------------------------------------------------------------

FINE = TabularMDP([[[0.5, 0.5], [0.5, 0.5]], [[0.0, 1.0], [1.0, 0.0]]], [[1.0, 1.0], [0.0, 0.5]], 0.9, [0.25, 0.75])
STEPS = EpisodicMDP.stationary(FINE.P, FINE.r, FINE.rho, 3)
SOLVED = {"discounted": lambda tier: discounted.solve(FINE, tier=tier),
          "episodic": lambda tier: episodic.solve(STEPS, tier=tier)}


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("name", SOLVED)
def test_mean_over_the_first_state(name, tier):
    solution, exact = SOLVED[name](tier), SOLVED[name]("exact").certificate.exact[:2]
    for rho in ([0.25, 0.75], [1.0, 0.0], np.array([1, 2]) / 3):
        lo, hi = solution.at(rho)
        assert Fraction(lo) <= sum(Fraction(p) * v for p, v in zip(rho, exact)) <= Fraction(hi)
        assert hi - lo <= solution.width + 1e-13           # two states: 8 roundings of values up to 10


@pytest.mark.parametrize("seed", range(30))
def test_mean_over_many_states(seed):
    rng = np.random.default_rng([4, seed])
    S = int(rng.integers(1, 40))
    model = TabularMDP(np.full((S, 1, S), 1 / S), rng.normal(size=(S, 1)) * 10.0 ** rng.uniform(-300, 3), 0.0,
                       rng.dirichlet(np.ones(S)), flush=True)
    solution = best(discounted.solve, model, 0.0, tier="exact")
    lo, hi = solution.at(model.rho)
    truth = sum(Fraction(p) * v for p, v in zip(model.rho, solution.certificate.exact))
    assert Fraction(lo) <= truth <= Fraction(hi)


@pytest.mark.parametrize("name", SOLVED)
def test_pictures(name):
    for tier in TIERS:
        solution = SOLVED[name](tier)
        assert repr(solution).startswith(f"Solution({tier}, ") and "states with ties)" in repr(solution)
        html = solution._repr_html_()
        assert html.count("<tr><td>") == 2 and f"tier {tier}" in html and "more" not in html
    assert repr(SOLVED["discounted"]("exact")).endswith(" 1 states with ties)")
    assert "and 3 more states" in discounted.solve(chains.chain(15, 0.5))._repr_html_()


def test_ties_and_the_lowest_action():
    for tier in TIERS:
        solution = SOLVED["discounted"](tier)
        assert solution.optimal[0].tolist() == [True, True] and solution.policy[0] == 0 and solution.ties == 1


@pytest.mark.parametrize("tier", TIERS)
def test_solutions_cannot_be_changed(tier):
    for solution in [SOLVED[name](tier) for name in SOLVED] + [soft.solve(FINE, 1.0)]:
        for part in (solution.value, solution.lo, solution.hi, solution.policy, solution.optimal):
            with pytest.raises(ValueError, match="read-only"):
                part[0] = 0
        with pytest.raises(AttributeError):
            solution.lo = solution.hi


def test_a_certificate_names_its_method():
    tried = {discounted.value_iteration: "value iteration", discounted.policy_iteration: "policy iteration",
             discounted.modified_policy_iteration: "modified policy iteration"}
    for solver, name in tried.items():
        c = solver(FINE, 1e-6).certificate
        assert (c.tier, c.method, c.tol, c.exact) == ("float", name, 1e-6, None) and c.seconds > 0


# Input ---------------------------------------------------------------------------------------------------------------

HUGE = TabularMDP(np.ones((1, 1, 1)), [[1e299]], 0.999, [1.0])
GAME = games.matching_pennies()
ENTRIES = {"solve": discounted.solve, "balls": lambda m, tol=None: discounted.solve(m, tol, tier="ball"),
           "rationals": lambda m, tol=None: discounted.solve(m, tol, tier="exact"),
           "value iteration": discounted.value_iteration, "modified": discounted.modified_policy_iteration,
           "policy iteration": discounted.policy_iteration,
           "soft": lambda m, tol=None: soft.solve(m, 1.0, tol),
           "soft balls": lambda m, tol=None: soft.solve(m, 1.0, tol, tier="ball")}
TOLS = {"negative": (-1.0, r"in \[0, inf\]; it is -1"), "nan": (math.nan, "finite; it is nan"),
        "minus inf": (-math.inf, "finite; it is -inf"), "text": ("small", "a real number; it is 'small'"),
        "boolean": (True, "a real number; it is True"), "an array": (np.ones(2), "a real number"),
        "complex": (1j, "a real number; it is 1j"), "too large": (10**400, "")}
MODELS = {"episodic": STEPS, "game": GAME, "text": "model", "none": None, "array": np.ones((2, 2))}
POLICY = [(r" must be of shape \(2,\); its shape is \(3,\)", [0, 0, 0]), (r" must be an array of integers", [0.0, 1.0]),
          (r"\[1\] must be in \[0, 1\]; it is 2", [0, 2]), (r"\[0\] must be in \[0, 1\]; it is -1", [-1, 0])]
OTHERS = {
    "tier": (lambda: discounted.solve(FINE, tier="proof"), r"^tier must be one of 'float', 'ball', 'exact'; it is 'p"),
    "tier none": (lambda: episodic.solve(STEPS, tier=None), r"^tier must be one of"),
    "soft tier": (lambda: soft.solve(FINE, 1.0, tier="proof"), r"^tier must be one of 'float', 'ball'; it is 'proof'"),
    "soft tier an array": (lambda: soft.solve(FINE, 1.0, tier=np.zeros(2)), r"^tier must be"),
    "max_iter 0": (lambda: discounted.value_iteration(FINE, max_iter=0), r"^max_iter must be at least 1; it is 0"),
    "max_iter half": (lambda: discounted.value_iteration(FINE, max_iter=0.5), r"^max_iter must be an integer"),
    "max_iter boolean": (lambda: discounted.modified_policy_iteration(FINE, max_iter=True), r"^max_iter must be an"),
    "rewards of 1e299": (lambda: discounted.solve(HUGE), r"^r must be small enough .*below 1e300\); it is 9\.99"),
    "rewards of 1e299 in balls": (lambda: discounted.solve(HUGE, 1.0, tier="ball"), r"^r must be small enough"),
    "rewards of 1e299 in rationals": (lambda: discounted.solve(HUGE, 1.0, tier="exact"), r"^r must be small enough"),
    "soft rewards of 1e299": (lambda: soft.solve(HUGE, 1.0), r"^r must be small enough"),
    "episodic rewards": (lambda: episodic.solve(EpisodicMDP.stationary([[[1.0]]], [[1e299]], [1.0], 20)),
                         r"^r must be small enough"),
    "episodic of a game": (lambda: episodic.solve(GAME), r"^model must be one that is an episodic MDP"),
    "episodic of a discounted": (lambda: episodic.solve(FINE), r"^H must be given to cut a discounted MDP"),
    "soft of a bandit": (lambda: soft.solve(Bandit([0.5]), 1.0), r"^model must be a TabularMDP or EpisodicMDP; it is"),
    "tau 0": (lambda: soft.solve(FINE, 0.0), r"^tau must be in \(0, inf\]; it is 0"),
    "tau negative": (lambda: soft.solve(FINE, -1.0, tier="ball"), r"^tau must be in \(0, inf\]; it is -1"),
    "tau inf": (lambda: soft.solve(STEPS, math.inf), r"^tau must be finite; it is inf"),
    "tau nan": (lambda: soft.solve(STEPS, math.nan), r"^tau must be finite; it is nan"),
    "tau huge": (lambda: soft.solve(FINE, 1e300), r" must be small enough"),
    "tau subnormal": (lambda: soft.solve(FINE, 1e-320), r"^tau must be"),
    "tau subnormal in balls": (lambda: soft.solve(FINE, 1e-320, tier="ball"), r"^tau must be"),
    "prior without support": (lambda: soft.solve(FINE, 1.0, prior=[[1.0, 0.0], [0.5, 0.5]]),
                              r"^prior\[0, 1\] must be positive \(full support\); it is 0"),
    "prior of actions": (lambda: soft.solve(FINE, 1.0, prior=[0, 1]), r"^prior\[0, 1\] must be positive"),
    "prior that sums to 2": (lambda: soft.solve(FINE, 1.0, prior=np.ones((2, 2))), r"^prior\[0, :\] .*sums to 2"),
    "prior of another shape": (lambda: soft.solve(FINE, 1.0, prior=np.ones((2, 1))), r"^prior must be of shape"),
    "too many states for balls": (lambda: discounted.solve(chains.cycle(401, 0.5), tier="ball"),
                                  r"^tier must be 'float' beyond 400 states; it is 'ball'"),
    "too many states for soft balls": (lambda: soft.solve(chains.cycle(401, 0.5), 1.0, tier="ball"),
                                       r"^tier must be 'float' beyond 400 states"),
    "a mean over nan": (lambda: discounted.solve(FINE).at([math.nan, 1.0]), r"^rho\[0\] must be finite"),
    "a mean over half a law": (lambda: discounted.solve(FINE).at([0.5, 0.0]), r"^rho\[:\] .*sums to 0\.5"),
    "a mean over other states": (lambda: discounted.solve(FINE).at([1.0]), r"^rho must be of shape \(2,\)"),
}


@pytest.mark.parametrize("tol", TOLS)
@pytest.mark.parametrize("entry", [*ENTRIES, "episodic"])
def test_a_bad_tolerance_is_refused(entry, tol):
    value, message = TOLS[tol]
    with pytest.raises(MdpkitError, match=rf"^tol must be {message}"):
        episodic.solve(STEPS, value) if entry == "episodic" else ENTRIES[entry](FINE, value)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("entry", ENTRIES)
def test_what_is_no_discounted_model_is_refused(entry, model):
    if entry.startswith("soft") and model == "episodic":
        return                                               # soft solvers take both
    for tol in (None, 1.0):
        with pytest.raises(MdpkitError, match=r"^model must be a TabularMDP.*it is a"):
            ENTRIES[entry](MODELS[model], tol)


@pytest.mark.parametrize(("message", "policy"), POLICY)
def test_a_bad_policy_is_refused(message, policy):
    with pytest.raises(MdpkitError, match="^start" + message):
        discounted.policy_iteration(FINE, start=policy)
    with pytest.raises(MdpkitError, match="^policy" + message):
        discounted.policy_value(FINE, policy)


@pytest.mark.parametrize("name", OTHERS)
def test_bad_input_is_refused(name):
    thunk, message = OTHERS[name]
    with pytest.raises(MdpkitError, match=message):
        thunk()


def test_a_game_of_states_is_no_matrix_game():
    from mdpkit.solve import matrix_game

    with pytest.raises(MdpkitError, match=r"^payoff must be a zero-sum game of one state"):
        matrix_game.solve(MarkovGame(np.full((1, 2, 1, 1, 2), 0.5), np.zeros((2, 1, 2, 1, 1)), [0.5, 0.5]))
