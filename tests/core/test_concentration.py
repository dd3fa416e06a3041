"""Bonuses and widths against their formulas in 40 digits, at their edges, and on bad input."""

import math

import mpmath
import pytest

from mdpkit import concentration as c
from mdpkit.errors import MdpkitError

REL = 1e-14         # some ten roundings of 1.1e-16
mp = mpmath.mp.clone()
mp.dps = 40


def _hf_rfe(K, H, d, delta, B):
    alpha, g, lam = mp.mpf(H) ** -0.5, mp.mpf(d) ** -0.25, mp.mpf(1) / B**2
    ell = mp.log(32 * (max(mp.log(g**2 / alpha), 0) + 1) * K**2 * H**2 / delta)
    return 12 * mp.sqrt(d * mp.log(1 + K * H / (alpha**2 * d * lam)) * ell) + 30 * ell / g**2 + mp.sqrt(lam) * B


LOGS = {
    "ucbvi": (c.ucbvi_log(4, 3, 16000, 0.1), mp.log(5 * 4 * 3 * 16000 / mp.mpf(0.1))),
    "union": (c.union_log(36, 0.05), mp.log(72 / mp.mpf(0.05))),
    "vi-lcb": (c.vi_lcb_log(8, 3, 2, 0.1), 2000 * mp.log(2 * 9 * 6 / mp.mpf(0.1))),
    "cascading": (c.cascading_log(100, 3, 4, 5, 0.1), mp.log(14 * 100 * 3 * 4 * 6 / mp.mpf(0.1))),
    "bpi-ucbvi": (c.bpi_ucbvi_log(3, 2, 4, 0.1), mp.log(72 / mp.mpf(0.1))),
    "lmdp": (c.lmdp_log(2, 3, 4, 5, 100, 0.1), 2 * mp.log(2 * 2 * 3 * 4 * 5 * 100 / mp.mpf(0.1))),
}
L = mp.mpf(16)
FORMULAS = {
    "ucbvi_hoeffding": (c.ucbvi_hoeffding(100.0, 4.0, 16.0), 7 * 4 * L * mp.sqrt(mp.mpf(1) / 100)),
    "ucbvi_bernstein": (c.ucbvi_bernstein(100.0, 0.3, 16.0, 4.0, 16.0),
                        mp.sqrt(8 * L * mp.mpf(0.3) / 100) + 14 * 4 * L / 300 + mp.sqrt(mp.mpf(8) * 16 / 100)),
    "ucbvi_distrust": (c.ucbvi_distrust(1e12, 4.0, 3.0, 2.0, 16.0), 100**2 * 4**3 * 3**2 * 2 * L**2 / mp.mpf(10)**12),
    "hoeffding": (c.hoeffding(50.0, 3.0, 16.0), 3 * mp.sqrt(L / 100)),
    "pevi_hoeffding": (c.pevi_hoeffding(50.0, 3.0, 16.0), 3 * mp.sqrt(L / 100)),
    "pevi_linear": (c.pevi_linear(3, 4, 100, 0.1, 0.5), 6 * mp.sqrt(mp.log(2400 / mp.mpf(0.1)))),
    "vi_lcb": (c.vi_lcb(1e6, 2.0, 16.0), 2 * mp.sqrt(L / 10**6)),
    "self_normalised": (c.self_normalised(3.5, 2.0, 16.0, 0.7), 2 * mp.sqrt(mp.mpf(3.5) + L) + mp.mpf(0.7)),
    "lsvi_ucb": (c.lsvi_ucb(3, 3, 300, 0.1), 9 * mp.sqrt(mp.log(2 * 3 * 900 / mp.mpf(0.1)))),
    "dynlin_ucb": (c.dynlin_ucb(50, 3.0, 2.0, 0.5, 2, 1.5, 4.0, 16.0), mp.mpf(3) / 2 * mp.log(mp.e * 51) + 4
                   + mp.sqrt(L + mp.log(1 + 50 * mp.mpf(1.5) ** 2 / 8))),
    "cascading_click": (c.cascading_click(50.0, 0.3, 16.0),
                        2 * mp.sqrt(mp.mpf(0.3) * (1 - mp.mpf(0.3)) * L / 50) + 80 / mp.mpf(50)),
    "cascading_value": (c.cascading_value(50.0, 0.3, 0.7, 3.0, 16.0),
                        2 * mp.sqrt(mp.mpf(0.3) * L / 50) + 2 * mp.sqrt(mp.mpf(0.7) * L / 50) + 240 / mp.mpf(50)),
    "bpi_ucbvi": (c.bpi_ucbvi(50.0, 0.3, 3.0, 4.0, 16.0),
                  3 * mp.sqrt(mp.mpf(0.3) * (L + mp.log(8 * mp.e * 51)) / 50)
                  + 14 * 9 * (L + 4 * mp.log(8 * mp.e * 51)) / 50),
    "lmdp_entry": (c.lmdp_entry(50.0, 0.3, 16.0), 2 * mp.sqrt(mp.mpf(0.3) * L / 50) + 80 / mp.mpf(50)),
    "lmdp_value": (c.lmdp_value(50.0, 0.3, 4.0, 16.0), 2 * mp.sqrt(4 * mp.mpf(0.3) * L / 50) + 320 / mp.mpf(50)),
    "hf_rfe": (c.hf_rfe(120, 8, 3, 0.1, 2.0), _hf_rfe(120, 8, 3, mp.mpf(0.1), 2)),
    "hf_rfe, long": (c.hf_rfe(120, 2, 9, 0.1), _hf_rfe(120, 2, 9, mp.mpf(0.1), 1)),
    "dirichlet_l1": (c.dirichlet_l1(12.5, 4, 0.1), mp.sqrt(2 * (4 * mp.log(2) - mp.log(mp.mpf(0.1))) / mp.mpf(13.5))),
}


@pytest.mark.parametrize("name", [*LOGS, *FORMULAS])
def test_the_formula(name):
    ours, exact = (LOGS | FORMULAS)[name]
    assert abs(ours - exact) <= REL * exact


def test_nothing_seen():
    assert c.ucbvi_distrust(0.0, 4.0, 3.0, 2.0, 16.0) == c.ucbvi_distrust(1.0, 4.0, 3.0, 2.0, 16.0) == 16.0
    assert c.pevi_hoeffding(0.0, 3.0, 16.0) == 3.0
    assert c.vi_lcb(0.0, 2.0, 16.0) == c.vi_lcb(1.0, 2.0, 16.0) == 8.0


def test_the_regret_bounds_are_their_terms():
    S, A, H, K, delta = 4, 3, 4, 4000, 0.1
    L = mp.log(5 * S * A * K * H / mp.mpf(delta))
    both = (20 * mp.mpf(H) ** 1.5 * L * mp.sqrt(S * A * K) + 250 * H**2 * S**2 * A * L**2,
            30 * H * L * mp.sqrt(S * A * K) + 2500 * H**2 * S**2 * A * L**2 + 4 * mp.mpf(H) ** 1.5 * mp.sqrt(K * L))
    for ours, exact in zip(c.ucbvi_regret(S, A, H, K, delta), both):
        assert abs(ours - exact) <= REL * exact


@pytest.mark.parametrize("mean", [0.0, 0.3, 0.9999])
def test_the_bernoulli_index_is_where_the_divergence_meets_the_level(mean):
    def kl(q):
        p, q = mp.mpf(mean), mp.mpf(q)
        return (p * mp.log(p / q) if p else 0) + (1 - p) * mp.log((1 - p) / (1 - q))
    u = c.bernoulli_index(mean, 7.0, 2.5)
    ulps = 8 * math.ulp(u)       # what rounding the divergence may move the end of the bisection
    assert 7 * kl(u - ulps) <= 2.5 and (u + ulps >= 1.0 or 7 * kl(u + ulps) >= 2.5)
    assert c.bernoulli_index(1.0, 7.0, 2.5) == 1.0


BAD = {
    "S": (lambda: c.ucbvi_log(0, 3, 10, 0.1), "S must be at least 1"),
    "T": (lambda: c.ucbvi_log(4, 3, 1.5, 0.1), "T must be an integer"),
    "delta": (lambda: c.union_log(3, 0.0), "delta must be in"),
    "one": (lambda: c.vi_lcb_log(3, 2, 2, 1.0), "delta must be in"),
    "xi": (lambda: c.pevi_linear(3, 4, 100, -0.1), "xi must be in"),
    "c": (lambda: c.pevi_linear(3, 4, 100, 0.1, -1.0), "c must be in"),
    "N": (lambda: c.cascading_log(3, 3, 3, 0, 0.1), "N must be at least 1"),
    "B": (lambda: c.hf_rfe(3, 3, 3, 0.1, 0.0), "B must be in"),
    "n": (lambda: c.dirichlet_l1(0.0, 3, 0.1), "n must be in"),
    "K": (lambda: c.ucbvi_regret(4, 3, 4, 0, 0.1), "K must be at least 1"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input(name):
    call, message = BAD[name]
    with pytest.raises(MdpkitError, match=message):
        call()
