"""Measures name the argument that they refuse."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import pytest
from core.models_given import episodic

from mdpkit.errors import MdpkitError
from mdpkit.measure import coverage, divergences, occupancy, regret, values
from mdpkit.models.bandits import Bandit, ContextualBandit
from mdpkit.models.preferences import PreferenceModel
from mdpkit.records import Trace


class Log(NamedTuple):
    policy: np.ndarray
    total: np.ndarray


MODEL, PI, _ = episodic(0)
NU = np.full((3, 3, 2), 1 / 6)
PREFERENCES = PreferenceModel([[[0.5]]], [1.0], [[1.0]], 1.0)
BAD = PI.copy()
BAD[1, 2] = [0.5, 0.25]
OUT = np.zeros((3, 3), int)
OUT[2, 1] = 2
PHI = np.ones((3, 2, 2))


@pytest.mark.parametrize("f", [values.value, values.action_value, values.advantage, values.start_value,
                               occupancy.occupancy, occupancy.state_occupancy, occupancy.support, regret.gap])
@pytest.mark.parametrize("policy, where", [(BAD, "policy[1, 2, :]"), (OUT, "policy[2, 1]"), (PI[0], "policy"),
                                           (PI - 1.0, "policy[0, 0, :]"), (PI * np.nan, "policy[0, 0, 0]"),
                                           ("best", "policy")])
def test_bad_policies(f, policy, where):
    with pytest.raises(MdpkitError) as e:
        f(MODEL, policy)
    assert e.value.where == where
    with pytest.raises(MdpkitError, match="one that is an episodic MDP"):
        f(PREFERENCES, PI)


@pytest.mark.parametrize("f", [values.optimal_value, values.optimal_action_value, values.optimal_start_value,
                               occupancy.reachability, occupancy.pair_reachability, regret.Regret])
def test_bad_models(f):
    for model in (PREFERENCES, None):
        with pytest.raises(MdpkitError, match="one that is an episodic MDP"):
            f(model)


@pytest.mark.parametrize("call, where", [
    (lambda: values.value(MODEL, [[1], [1, 2]]), "policy"),
    (lambda: divergences.kl([[1.0], [0.5, 0.5]], [1.0]), "p"),
    (lambda: coverage.global_coverage([[1.0], [0.5, 0.5]]), "pi_ref"),
    (lambda: regret.gap(MODEL, PI, BAD), "comparator[1, 2, :]"),
    (lambda: regret.gaps(MODEL, PI), "policies"),
    (lambda: regret.gaps(MODEL, OUT[None]), "policies[0, 2, 1]"),
    (lambda: regret.regret(MODEL, np.stack([PI, BAD])), "policies[1, 1, 2, :]"),
    (lambda: regret.gaps(MODEL, Trace(PI[None], np.array([0, 1]))), "policies.index[1]"),
    (lambda: regret.gaps(MODEL, Trace(PI, np.array([0]))), "policies.policies"),
    (lambda: regret.Regret(MODEL)(3, PI[None]), "first"),
    (lambda: regret.Regret(MODEL)(0, OUT[None]), "rows[0, 2, 1]"),
    (lambda: regret.Regret(MODEL)(0, Log(BAD[None], np.zeros(1))), "rows[0, 1, 2, :]"),
    (lambda: regret.pull_gaps(Bandit([0.5]), [0, 1]), "a[1]"),
    (lambda: regret.pull_gaps(Bandit([0.5]), [0], [0]), "x"),
    (lambda: regret.pull_gaps(ContextualBandit([1.0], [[0.5]]), [0]), "x"),
    (lambda: regret.pull_gaps(MODEL, [0]), "model"),
    (lambda: divergences.kl([0.5, 0.25], [0.5, 0.5]), "p[:]"),
    (lambda: divergences.kl([0.5, 0.5], [[1.5, -0.5]]), "q[0, :]"),
    (lambda: divergences.tv([0.5, 0.5], [1.0]), "q"),
    (lambda: divergences.hellinger2(0.5, [1.0]), "p"),
    (lambda: divergences.chi2(np.full((2, 2), 0.5), np.full((3, 2), 0.5)), "q"),
    (lambda: divergences.renyi([1.0], [1.0], -1), "alpha"),
    (lambda: divergences.renyi([1.0], [1.0], math.nan), "alpha"),
    (lambda: divergences.wasserstein_line([1.0], [1.0], [0, 1]), "x"),
    (lambda: coverage.concentrability(MODEL, NU / 2), "nu[0, :, :]"),
    (lambda: coverage.concentrability(MODEL, NU[0]), "nu"),
    (lambda: coverage.single_policy_concentrability(MODEL, BAD, NU), "policy[1, 2, :]"),
    (lambda: coverage.transfer_coefficient(MODEL, PI, -NU), "nu[0, :, :]"),
    (lambda: coverage.transfer_coefficient(MODEL, PI, NU, PHI[:2]), "phi"),
    (lambda: coverage.relative_condition_number(MODEL, PI, NU, PHI * np.inf), "phi[0, 0, 0]"),
    (lambda: coverage.density_ratio([0.5, 0.5], [0.5, 0.25]), "pi_ref[:]"),
    (lambda: coverage.global_coverage([0.5, 0.25]), "pi_ref[:]"),
    (lambda: coverage.kl_ball_coverage([0.5, 0.5], [0.5, 0.5], 1), "rho"),
    (lambda: coverage.kl_ball_coverage([0.5, 0.5], [1.0], -1), "radius"),
])
def test_bad_input_is_named(call, where):
    with pytest.raises(MdpkitError) as e:
        call()
    assert e.value.where == where
