"""Every bonus and confidence width, once, in its paper's form: scale, log term and confidence.

Scalar widths are kernels, which compiled learners and plain Python call alike; the log terms that they take are
functions beside them. A width at n = 0 is what its paper says there; where it says nothing, n must be positive.

===================  ==============================================  ==========================================
name                 width                                           source
===================  ==============================================  ==========================================
ucbvi_hoeffding      7 H L / sqrt(n)                                 Azar, Osband, Munos 2017, bonus_1
ucbvi_bernstein      sqrt(8 L Var/n) + 14 H L/(3n) + sqrt(8 D/n)     ibid., bonus_2
ucbvi_distrust       min(100^2 H^3 S^2 A L^2/n', H^2)                ibid., whose mean over successors is D
hoeffding            span sqrt(L/(2n))                               Hoeffding 1963, of a mean with L = log(2 m/delta)
pevi_hoeffding       the same; span at n = 0                         Jin, Yang, Wang 2021, Definition 4.1, derived
pevi_linear          c d H sqrt(log(2 d H n/xi))                     ibid., Theorem 4.4
vi_lcb               Vmax sqrt(L/max(n, 1))                          Rashidinejad et al. 2021, Algorithm 3
===================  ==============================================  ==========================================
"""

from __future__ import annotations

import math

from mdpkit import validate
from mdpkit.jit import kernel

# ---------------------------------------------------------------------------------------------- log terms


def ucbvi_log(S: int, A: int, T: int, delta: float) -> float:
    """L = ln(5 S A T/delta) of UCBVI, T = K H steps in all.

    Parameters
    ----------
    S, A, T : int, >= 1
    delta : float in (0, 1)

    Raises
    ------
    MdpkitError
        A size below 1, or delta outside of (0, 1).
    """
    return math.log(5 * _sizes(S=S, A=A, T=T) / _delta(delta))


def union_log(m: int, delta: float) -> float:
    """log(2 m/delta): two-sided bounds on m means at once. Errors as in `ucbvi_log`."""
    return math.log(2 * _sizes(m=m) / _delta(delta))


def vi_lcb_log(T: int, S: int, A: int, delta: float) -> float:
    """L = 2000 log(2 (T+1) S A/delta) of VI-LCB, T iterations. Errors as in `ucbvi_log`."""
    return 2000.0 * union_log((validate.count("T", T) + 1) * _sizes(S=S, A=A), delta)


# ------------------------------------------------------------------------------------------------- widths

def pevi_linear(d: int, H: int, n: int, xi: float, c: float = 1.0) -> float:
    """beta = c d H sqrt(log(2 d H n/xi)) of linear PEVI, the factor of |phi| in the norm of Lambda^-1.

    Parameters
    ----------
    d, H, n : int, >= 1
        Features, steps, trajectories.
    xi : float in (0, 1)
    c : float
        An absolute constant, which the paper does not give.
    """
    scale = validate.interval("c", c, 0.0, math.inf, open_hi=True) * _sizes(d=d, H=H)
    return scale * math.sqrt(math.log(2 * _sizes(d=d, H=H, n=n) / _delta(xi, "xi")))


def _ucbvi_hoeffding(n, H, L):
    """L stands outside of the root; n >= 1."""
    return 7.0 * H * L * math.sqrt(1.0 / n)


def _ucbvi_bernstein(n, variance, distrust, H, L):
    """``variance`` of the next value and mean of `ucbvi_distrust` under the empirical law; n >= 1."""
    return math.sqrt(8.0 * L * variance / n) + 14.0 * H * L / (3.0 * n) + math.sqrt(8.0 * distrust / n)


def _ucbvi_distrust(n, H, S, A, L):
    """How little the value of a state is trusted that was reached n times at the step; H^2 where it never was."""
    most = 1.0 * H * H
    if n <= 0.0:
        return most
    return min(10000.0 * H * H * H * S * S * A * L * L / n, most)


def _hoeffding(n, span, L):
    """Of the mean of n independent terms in an interval of length ``span``; n >= 1."""
    return span * math.sqrt(L / (2.0 * n))


def _pevi_hoeffding(n, span, L):
    """Where nothing was seen the whole span is in doubt."""
    if n <= 0.0:
        return span
    return span * math.sqrt(L / (2.0 * n))


def _vi_lcb(n, top, L):
    """``top`` is Vmax = 1/(1 - gamma); nothing seen counts as seen once."""
    return top * math.sqrt(L / max(n, 1.0))


# ------------------------------------------------------------------------------------------ regret bounds

def ucbvi_regret(S: int, A: int, H: int, K: int, delta: float) -> tuple[float, float]:
    """Theorems 1 and 2 of Azar, Osband and Munos (2017): what UCBVI-CH and UCBVI-BF lose over K episodes at most.

    20 H^1.5 L sqrt(SAK) + 250 H^2 S^2 A L^2, and 30 H L sqrt(SAK) + 2500 H^2 S^2 A L^2 + 4 H^1.5 sqrt(KL), each with
    probability 1 - delta; as recalled. Errors as in `ucbvi_log`.
    """
    L, root = ucbvi_log(S, A, _sizes(K=K, H=H), delta), math.sqrt(S * A * K)
    lower = H * H * S * S * A * L * L
    return (20 * H * math.sqrt(H) * L * root + 250 * lower,
            30 * H * L * root + 2500 * lower + 4 * H * math.sqrt(H * K * L))


def _sizes(**sizes: int) -> int:
    return math.prod(validate.count(name, size) for name, size in sizes.items())


def _delta(delta: float, name: str = "delta") -> float:
    return validate.interval(name, delta, 0.0, 1.0, open_lo=True, open_hi=True)


ucbvi_hoeffding = kernel(_ucbvi_hoeffding)
ucbvi_bernstein = kernel(_ucbvi_bernstein)
ucbvi_distrust = kernel(_ucbvi_distrust)
hoeffding = kernel(_hoeffding)
pevi_hoeffding = kernel(_pevi_hoeffding)
vi_lcb = kernel(_vi_lcb)
