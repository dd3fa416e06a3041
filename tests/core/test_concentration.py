"""Bonuses and widths against their formulas in 40 digits, at their edges, and on bad input."""

import mpmath
import pytest

from mdpkit import concentration as c
from mdpkit.errors import MdpkitError

REL = 1e-14         # some ten roundings of 1.1e-16
mp = mpmath.mp.clone()
mp.dps = 40

LOGS = {
    "ucbvi": (c.ucbvi_log(4, 3, 16000, 0.1), mp.log(5 * 4 * 3 * 16000 / mp.mpf(0.1))),
    "union": (c.union_log(36, 0.05), mp.log(72 / mp.mpf(0.05))),
    "vi-lcb": (c.vi_lcb_log(8, 3, 2, 0.1), 2000 * mp.log(2 * 9 * 6 / mp.mpf(0.1))),
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


BAD = {
    "S": (lambda: c.ucbvi_log(0, 3, 10, 0.1), "S must be at least 1"),
    "T": (lambda: c.ucbvi_log(4, 3, 1.5, 0.1), "T must be an integer"),
    "delta": (lambda: c.union_log(3, 0.0), "delta must be in"),
    "one": (lambda: c.vi_lcb_log(3, 2, 2, 1.0), "delta must be in"),
    "xi": (lambda: c.pevi_linear(3, 4, 100, -0.1), "xi must be in"),
    "c": (lambda: c.pevi_linear(3, 4, 100, 0.1, -1.0), "c must be in"),
    "K": (lambda: c.ucbvi_regret(4, 3, 4, 0, 0.1), "K must be at least 1"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input(name):
    call, message = BAD[name]
    with pytest.raises(MdpkitError, match=message):
        call()
