"""mdpo: reference values, an identity on numbers, accounting, the slow reference, every claim and every control."""

import numpy as np
import pytest
from algorithms.policy_gradient import mdpo as paper
from theory_checks.policy_gradient import mdpo as checks
from theory_checks.engine.claims import REFUTED
from theory_checks.engine.runner import verify

pytestmark = pytest.mark.xdist_group("mdpo")


def test_every_episode_is_counted():
    out = paper.demo(np.random.default_rng(0))
    assert out.samples["episodes"] == out.params.T


@pytest.mark.parametrize("check", checks.CHECKS, ids=lambda c: c.claim.id)
def test_no_claim_is_refuted_and_every_control_is(check):
    verdict = verify(check)
    assert verdict.decision.verdict != REFUTED, verdict
    assert verdict.proven, verdict
