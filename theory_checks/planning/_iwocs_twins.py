"""Broken twins of IWOCS: what the checks must catch."""

from __future__ import annotations

import numpy as np

from algorithms.planning import iwocs
from algorithms.planning.iwocs import Found


def hopeful(PU, r, gamma, allowed):
    """Nature picks the best candidate."""
    return _plan(PU, r, gamma, lambda after: after.argmax(0))


def averaging(PU, r, gamma, allowed):
    """The mean of the candidates."""
    Q = iwocs.optimal(PU.sum(0) / len(PU), r, gamma)
    return iwocs.first_best(Q), Q.max(-1)


def _plan(PU, r, gamma, choose):
    index = np.zeros(r.shape, np.int64)
    while True:
        Q = iwocs.optimal(iwocs.model_of(PU, index), r, gamma)
        new = choose(PU @ Q.max(-1))
        if (new == index).all():
            return iwocs.first_best(Q), Q.max(-1)
        index = new


def settled(PU, r, gamma, rho, params):
    """Stops when L does not change, and calls that certified."""
    return _search(PU, r, gamma, rho, params, stop=lambda U, L: len(L) > 1 and abs(L[-1] - L[-2]) <= params.eps)


def kindly(PU, r, gamma, rho, params):
    """The adversary picks the best kernel."""
    def respond(pi, now):
        index, V = now.copy(), None
        while True:
            V, s = iwocs.value(iwocs.model_of(PU, index), r, gamma, pi), np.arange(len(r))
            after = PU[:, s, pi] @ V
            better = after.max(0) > after[index[s, pi], s]
            if not better.any():
                return index, V
            index[s[better], pi[better]] = after.argmax(0)[better]
    return _search(PU, r, gamma, rho, params, respond=respond)


def newest(PU, r, gamma, rho, params):
    """Plans for the last model alone, and takes its value for U."""
    def plan(models):
        Q = iwocs.optimal(iwocs.model_of(PU, models[-1]), r, gamma)
        return iwocs.first_best(Q), Q.max(-1)
    return _search(PU, r, gamma, rho, params, plan=plan)


def closed_hull(PU, r, gamma, rho, params):
    """The hull of T_0 alone, whatever is found."""
    allowed = iwocs.seen([np.zeros(r.shape, np.int64)], len(PU))
    return _search(PU, r, gamma, rho, params, plan=lambda models: iwocs.robust(PU, r, gamma, allowed))


def from_the_hull(PU, r, gamma, rho, params):
    """Plans for the rectangular hull of the whole set."""
    every = np.ones(PU.shape[:3], np.bool_)
    return _search(PU, r, gamma, rho, params, plan=lambda models: iwocs.robust(PU, r, gamma, every))


def _search(PU, r, gamma, rho, params, plan=None, respond=None, stop=None):
    models, U, L, status = [np.zeros(r.shape, np.int64)], [], [], "out of iterations"
    for _ in range(50):
        pi, V = (plan or (lambda models: _own(PU, r, gamma, models, params)))(models)
        U.append((rho * V).sum())
        worst, V = respond(pi, models[-1]) if respond else iwocs.respond(PU, r, gamma, rho, pi, models[-1],
                                                                         params.rectangular)
        L.append((rho * V).sum())
        repeated = any((worst == T).all() for T in models)
        models.append(worst)
        if stop(U, L) if stop else abs(U[-1] - L[-1]) <= params.eps:
            status = "certified"
            break
        if repeated and not stop:
            status = "stalled"
            break
    return Found(pi, np.array(U), np.array(L), np.array(models), status)


def _own(PU, r, gamma, models, params):
    """Lines 2 to 4."""
    least, _ = iwocs.tables(PU, r, gamma, np.array(models))
    if params.candidate == "hull":
        return iwocs.robust(PU, r, gamma, iwocs.seen(models, len(PU)))
    return iwocs.first_best(least[-1]), least[-1].max(-1)


def no_minimum(PU, r, gamma, models):
    """Q_i in place of Qmin_i."""
    Q = np.array([iwocs.optimal(iwocs.model_of(PU, T), r, gamma) for T in models])
    return Q, iwocs.tables(PU, r, gamma, models)[1]


def hull_of_the_last(PU, r, gamma, models):
    """The hull of T_i alone."""
    Q = np.array([iwocs.optimal(iwocs.model_of(PU, T), r, gamma) for T in models])
    return iwocs.tables(PU, r, gamma, models)[0], Q


def mean_kernel(kernels, r, gamma, rho, pi):
    """The mean over kernels in place of the worst."""
    values = [iwocs.static_value(np.array([P]), r, gamma, rho, pi) for P in kernels]
    return sum(values) / len(values)


def dynamic(kernels, r, gamma, rho, pi):
    """The adversary changes the kernel on the way."""
    return (rho * iwocs.respond(kernels, r, gamma, rho, pi, np.zeros(r.shape, np.int64), True)[1]).sum()
