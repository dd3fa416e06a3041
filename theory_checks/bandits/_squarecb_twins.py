"""Broken twins of SquareCB, of its laws and of its oracle: what the checks must catch."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from algorithms.bandits import squarecb
from mdpkit import rational
from mdpkit.jit import kernel
from mdpkit.records import Result
from mdpkit.worlds.bandits import start, step

# -------------------------------------------------------------------------------------------- runs


def greedy(access, params, rng):
    """Plays the best prediction."""
    return _mixed(access, params, rng, 0.0)


def eps_greedy(access, params, rng):
    """A tenth of the rounds uniform, the others greedy."""
    return _mixed(access, params, rng, 0.1)


def uniform(access, params, rng):
    """Uniform over the actions that there are."""
    return _mixed(access, params, rng, 1.0)


def fixed_gamma(access, params, rng):
    """gamma = 10 for ever."""
    return squarecb.run(access, replace(params, gamma=10.0, c=0.0), rng)


def fixed_gamma_exact(access, params, rng):
    """gamma = 10 for ever, exact form."""
    return squarecb.run_exact(access, replace(params, gamma=10.0, c=0.0), rng)


def fixed_gamma_falcon(access, params, rng):
    """gamma = 10 for ever, batches that double."""
    return squarecb.run_falcon(access, replace(params, gamma=10.0, c=0.0), rng)


def never_updated(access, params, rng):
    """A delay longer than the run."""
    return squarecb.run(access, replace(params, delay=params.T // params.batch + 1), rng)


def bad_share(access, params, rng):
    """Half of the rounds uniform."""
    return _mixed(access, params, rng, 0.5)


# -------------------------------------------------------------------------------------------- laws

def law_eps_greedy(f, gamma, available=None):
    """Greedy with a tenth uniform."""
    return _blend(f, available, rational.rational(0.125) if rational.is_exact(f) else 0.125)


def law_uniform(f, gamma, available=None):
    """Uniform."""
    return _blend(f, available, rational.rational(1.0) if rational.is_exact(f) else 1.0)


def counts_absent(f, gamma, available=None):
    """K counts the actions that are not there too."""
    choices = np.arange(len(f)) if available is None else np.flatnonzero(available)
    b = choices[int(f[choices].argmax())]
    p = rational.zeros(f.shape, f)
    for a in choices:
        p[a] = 1 / (len(f) + gamma * (f[b] - f[a]))
    p[b] = p[b] + 1 - p.sum()
    return p


def inflated(f, gamma, available=None):
    """The weight of the others doubled, where the best can spare it."""
    p = squarecb.igw(f, gamma, available)
    b = int(p.argmax())
    if p[b] + p[b] > 1:
        top = p[b] + p[b] - 1
        p = p + p
        p[b] = top
    return p


def line_5(f, gamma):
    """Line 5 in place of line 6."""
    return squarecb.igw(f, gamma)


def no_own_term(f, p, gamma):
    """Without the gain from a* itself."""
    return max(f[a] - (p * f).sum() + (1 - p[a]) / (4 * gamma) for a in range(len(f)))


def half_penalty(f, p, gamma):
    """gamma/2 in place of gamma."""
    return squarecb.supremum(f, p, gamma / 2)


# ------------------------------------------------------------------------------------------ oracles

def last_reward(r):
    """The last reward."""
    return np.concatenate([squarecb.predictions(r)[:1], r])


def never(r):
    """1/2 for ever."""
    f = squarecb.predictions(r)
    return np.repeat(f[:1], len(f))


def unweighted(log, law, delta):
    """The mean reward of the log, without weights."""
    return squarecb.ips(log._replace(p=law[np.arange(len(log.a)), log.a]), law, delta)


def even_propensities(log, law, delta):
    """As if the log were uniform."""
    return squarecb.ips(log._replace(p=np.full(len(log.p), 1.0 / law.shape[1])), law, delta)


def long_memory(r, owner, phi, theta, gamma, n, short=True):
    """All generations' data."""
    return squarecb.generations(r, owner, phi, theta, gamma, n, short=False)


def forgetful(r, owner, phi, theta, gamma, n, short=True):
    """Parameters without data fall to 1, above all rewards."""
    out, theta = rational.zeros((n,), r), theta.copy()
    for k in range(n):
        p = squarecb.igw(theta[owner] * phi, gamma)
        out[k] = squarecb.generations(r, owner, phi, theta, gamma, 1)[0]
        for i in range(len(theta)):
            mass = (p * phi * phi)[owner == i].sum()
            theta[i] = (p * phi * r)[owner == i].sum() / mass if mass > 0 else mass + 1
    return out


def _blend(f, available, eps):
    choices = np.arange(len(f)) if available is None else np.flatnonzero(available)
    p = rational.zeros(f.shape, f)
    for a in choices:
        p[a] = eps / len(choices)
    b = choices[int(f[choices].argmax())]
    p[b] = p[b] + 1 - eps
    return p


def _mixed(access, params, rng, eps):
    known = vars(access.known)
    X, A = known.get("X", 1), known["A"]
    group, here = known.get("group", np.arange(X)), known.get("available", np.ones((X, A), bool))
    G = int(group.max()) + 1
    seen, waiting = np.zeros((2, 2, G, A))
    zero, none = np.zeros(()), np.zeros((), np.int64)
    row = squarecb.Log(np.zeros(A), np.zeros(A), zero, none, none, zero)
    state = np.array(group), np.array(here), seen, waiting, params.gamma, params.c, params.batch, eps
    trace = access.drive(_mix, state, row, params.T, rng)
    return Result((seen[0] + 0.5) / (seen[1] + 1.0), trace, params, access.samples)


def _mix_body(world, group, here, seen, waiting, gamma, c, batch, eps, log, first, rng):
    G, A = seen.shape[1], seen.shape[2]
    for k in range(len(log.arm)):
        t = first + k
        if t % batch == 0:
            for i in range(2):
                for g in range(G):
                    for a in range(A):
                        seen[i, g, a] += waiting[i, g, a]
                        waiting[i, g, a] = 0.0
        x = start(world)
        g, best, K = group[x], -1, 0
        for a in range(A):
            log.f[k, a] = (seen[0, g, a] + 0.5) / (seen[1, g, a] + 1.0)
            if here[x, a]:
                K += 1
                if best < 0 or log.f[k, a] > log.f[k, best]:
                    best = a
        u, arm = rng.random(), best
        for a in range(A):
            log.law[k, a] = 0.0
            if here[x, a]:
                log.law[k, a] = eps / K
                if 0.0 <= u < eps / K:
                    arm = a
                u -= eps / K
        log.law[k, best] += 1.0 - eps
        log.gamma[k] = gamma
        if c > 0.0:
            log.gamma[k] = c * math.sqrt((t - t % batch) / G)
        r = step(world, arm)
        waiting[0, g, arm] += r
        waiting[1, g, arm] += 1.0
        log.context[k], log.arm[k], log.r[k] = x, arm, r


_mix = kernel(_mix_body)
