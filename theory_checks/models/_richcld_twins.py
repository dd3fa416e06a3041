"""Broken twins of bcrl.c, CRIEE and of the formulas behind them: what the checks must catch."""

from __future__ import annotations

import numpy as np

from algorithms.models import richcld


def half_distance(P, f):
    """Half of total variation."""
    return richcld.backup_bound(P, f) / 2


def any_function(P, f, code, L):
    """No Lipschitz constraint."""
    return richcld.population_loss(P, f, code, 100.0 * len(code))


def too_smooth(P, f, code, L):
    """Half the Lipschitz constant."""
    return richcld.population_loss(P, f, code, L / 2)


def unconstrained(moves, phi, tests, L):
    """No Lipschitz constraint: what ties goes to the first."""
    return richcld.bcrlc(moves, phi, tests, 100.0 * moves.shape[0])


def largest_excess(moves, phi, tests, L):
    """The decoder of the largest excess."""
    losses = richcld.bcrlc(moves, phi, tests, L).losses
    return richcld.Choice(int(losses.max(1).argmax()), losses)


def wrong_order(P, r, H, bins, weights):
    """Cells put in another order before they are binned."""
    other = bins[np.arange(len(bins)) * 5 % len(bins)] if len(bins) % 5 else bins[::-1]
    return richcld.aggregate(P, r, H, other, weights)


def sums(P, r, H, bins, weights):
    """Sums of rewards in place of means."""
    return richcld.aggregate(P, r * int(np.bincount(bins).max()), H, bins, weights)


def no_slopes(width, L_r, slopes):
    """What the values change is forgotten."""
    return richcld.aggregation_bounds(width, L_r, 0 * slopes)


def one_step(width, L_r, slopes):
    """e_h in place of their sum."""
    return (width - 1) * (slopes + L_r)


def first_decoder(access, params, rng):
    """Never chooses."""
    access.known.decoders = access.known.decoders[:1]
    return richcld.run(access, params, rng)
