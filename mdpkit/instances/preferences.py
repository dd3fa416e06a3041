"""Preference models whose von Neumann winner is known: the policy that no other beats with more than 1/2.

One prompt, the uniform reference policy and beta = 1 unless said otherwise.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from mdpkit import validate
from mdpkit.errors import MdpkitError
from mdpkit.models.preferences import PreferenceModel


def condorcet_cycle(Y: int = 3, strength: float = 0.5, pi_ref: Any = None, beta: float = 1.0) -> PreferenceModel:
    """Each response beats the (Y-1)/2 that follow it, around the circle, with probability (1 + strength) / 2.

    The uniform policy is the only von Neumann winner (strength > 0); no response is a Condorcet winner.
    At Y = 3 this is rock, paper, scissors.

    Parameters
    ----------
    Y : int
        Odd.
    strength : float in [0, 1]
    pi_ref : array (Y,), optional
    beta : float, > 0
    """
    if validate.count("Y", Y) % 2 == 0:
        raise MdpkitError("Y", "odd", Y)
    strength = validate.interval("strength", strength, 0.0, 1.0)
    ahead = (np.arange(Y) - np.arange(Y)[:, None]) % Y
    sign = np.where(ahead == 0, 0.0, np.where(ahead <= Y // 2, 1.0, -1.0))
    return _single(0.5 + strength * sign / 2, pi_ref, beta)


def weighted_cycle(a: float, b: float, c: float, pi_ref: Any = None, beta: float = 1.0) -> PreferenceModel:
    """Three responses: 0 beats 1 by a, 1 beats 2 by b, 2 beats 0 by c (margins p - 1/2, in (0, 1/2]).

    The only von Neumann winner is `weighted_cycle_winner`. The margins (.4, .3, .3) with pi_ref (.6, .3, .1) are
    the instance on which the Nash learners are compared: p = [[.5, .9, .2], [.1, .5, .8], [.8, .2, .5]].
    """
    a, b, c = (validate.interval(name, x, 0.0, 0.5, open_lo=True) for name, x in (("a", a), ("b", b), ("c", c)))
    return _single([[0.5, 0.5 + a, 0.5 - c], [0.5 - a, 0.5, 0.5 + b], [0.5 + c, 0.5 - b, 0.5]], pi_ref, beta)


def weighted_cycle_winner(a: float, b: float, c: float) -> np.ndarray:
    """(b, c, a) / (a + b + c): each response as often as the comparison that it is not part of is decided."""
    x = np.array([b, c, a], np.float64)
    return x / x.sum()


def dominated_cycle() -> PreferenceModel:
    """A cycle of three and a fourth response that loses to it: von Neumann winner (4/9, 1/3, 2/9, 0).

    ``2 p - 1 = [[0, .4, -.6, .2], [-.4, 0, .8, -.1], [.6, -.8, 0, .3], [-.2, .1, -.3, 0]]``.
    """
    M = np.array([[0.0, 0.4, -0.6, 0.2], [-0.4, 0.0, 0.8, -0.1], [0.6, -0.8, 0.0, 0.3], [-0.2, 0.1, -0.3, 0.0]])
    return _single((1.0 + M) / 2, None, 1.0)


DOMINATED_WINNER = (4 / 9, 1 / 3, 2 / 9, 0.0)


def bradley_terry_ladder(Y: int, step: float = 1.0, pi_ref: Any = None, beta: float = 1.0) -> PreferenceModel:
    """Bradley-Terry with rewards 0, step, 2 step, ..: p[y, z] = sigmoid((y - z) step).

    The last response is the Condorcet winner, so the von Neumann winner is its point mass (step > 0). The policy
    that maximises reward - beta KL(., pi_ref) is `ladder_policy`.
    """
    step = validate.interval("step", step, 0.0, math.inf)
    reward = step * np.arange(validate.count("Y", Y))
    return PreferenceModel.bradley_terry(reward[None], [1.0], _reference(pi_ref, Y)[None], beta)


def ladder_policy(Y: int, step: float = 1.0, beta: float = 1.0) -> np.ndarray:
    """KL-regularised optimum of `bradley_terry_ladder` at uniform pi_ref: geometric, ratio q = exp(step / beta).

    pi[y] = q**y (q - 1) / (q**Y - 1), written with q**-1 to stay finite.
    """
    x = math.exp(-step / beta) ** np.arange(Y - 1, -1, -1)
    return x / x.sum()


def two_prompts() -> PreferenceModel:
    """Bradley-Terry with two prompts and four responses, the reference instance for direct preference losses.

    rho = (.6, .4), beta = 1/2, pi_ref = (.4, .3, .2, .1) and its reverse, rewards (0, .5, 1, .25) and
    (1, .75, 0, .5). The regularised optimum is pi_ref exp(2 r), normalised; its objective is
    sum_x rho[x] log(sum_y pi_ref exp(2 r)) / 2 = 0.5362748235517, that of pi_ref 0.405.
    """
    reward = [[0.0, 0.5, 1.0, 0.25], [1.0, 0.75, 0.0, 0.5]]
    return PreferenceModel.bradley_terry(reward, [0.6, 0.4], [[0.4, 0.3, 0.2, 0.1], [0.1, 0.2, 0.3, 0.4]], 0.5)


def flipped(model: PreferenceModel, epsilon: float) -> PreferenceModel:
    """Labels flipped with probability epsilon: p' = (1 - epsilon) p + epsilon (1 - p).

    Margins p - 1/2 shrink by 1 - 2 epsilon, so von Neumann winners stay for epsilon < 1/2 and everything is one at
    1/2. The rewards are dropped: the result is not Bradley-Terry in general.

    Parameters
    ----------
    model : PreferenceModel
    epsilon : float in [0, 1/2]
    """
    validate.instance("model", model, PreferenceModel)
    epsilon = validate.interval("epsilon", epsilon, 0.0, 0.5)
    p = (1.0 - epsilon) * model.p + epsilon * (1.0 - model.p)
    return PreferenceModel(p, model.rho, model.pi_ref, model.beta)


def _single(p: Any, pi_ref: Any, beta: float) -> PreferenceModel:
    p = np.asarray(p, np.float64)
    return PreferenceModel(p[None], [1.0], _reference(pi_ref, p.shape[0])[None], beta)


def _reference(pi_ref: Any, Y: int) -> np.ndarray:
    return np.full(Y, 1.0 / Y) if pi_ref is None else validate.simplex("pi_ref", pi_ref, (Y,))
