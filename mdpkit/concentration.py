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
bernoulli_index      max{ q : n kl(mean, q) <= L }                   Garivier, Cappé 2011
self_normalised      R sqrt(ln(det V/det V_0) + L) + bias            Abbasi-Yadkori, Pal, Szepesvari 2011
lsvi_ucb             c d H sqrt(log(2 d T/p))                        Jin, Yang, Wang, Jordan 2020
dynlin_ucb           see there                                       Mussi, Metelli, Restelli 2023
cascading_click      2 sqrt(q (1-q) L/n) + 5 L/n                     Du, Srikant, Chen 2024
cascading_value      2 sqrt(L Var/n) + 2 sqrt(L D/n) + 5 H L/n       ibid., D the mean square of upper minus lower
bpi_ucbvi            3 sqrt(Var beta*/n) + 14 H^2 beta/n             Ménard et al. 2021, in StepMix (Li et al. 2023)
lmdp_entry           2 sqrt(p L/n) + 5 L/n                           Zhou, Wang, Du 2023, of one entry of a kernel
lmdp_value           2 sqrt(G Var L/n) + 5 G L/n                     ibid., G successors at most
hf_rfe               see there                                       Zhang, Zhang, Gu 2023
dirichlet_l1         sqrt(2 (S ln 2 + ln(1/delta))/(n + 1))          derived, of a Dirichlet row with n = sum alpha
===================  ==============================================  ==========================================
"""

from __future__ import annotations

import math

from mdpkit import validate
from mdpkit.jit import kernel

HALVINGS = 60           # of [mean, 1] in `bernoulli_index`: below the spacing of floats there

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


def cascading_log(K: int, H: int, S: int, N: int, delta: float) -> float:
    """L = log(14 K H S (N+1)/delta) of CascadingVI, N items. Errors as in `ucbvi_log`."""
    return math.log(14 * _sizes(K=K, H=H, S=S) * (validate.count("N", N) + 1) / _delta(delta))


def bpi_ucbvi_log(S: int, A: int, H: int, delta: float) -> float:
    """log(3 S A H/delta), to which `bpi_ucbvi` adds what depends on n. Errors as in `ucbvi_log`."""
    return math.log(3 * _sizes(S=S, A=A, H=H) / _delta(delta))


def lmdp_log(M: int, S: int, A: int, H: int, K: int, delta: float) -> float:
    """L = 2 log(2 M S A H K/delta) of latent MDPs with M contexts. Errors as in `ucbvi_log`."""
    return 2.0 * math.log(2 * _sizes(M=M, S=S, A=A, H=H, K=K) / _delta(delta))


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


def lsvi_ucb(d: int, H: int, K: int, p: float, c: float = 1.0) -> float:
    """beta = c d H sqrt(log(2 d T/p)) of LSVI-UCB, T = K H; c as in `pevi_linear`."""
    return pevi_linear(d, H, K, p, c)


def hf_rfe(K: int, H: int, d: int, delta: float, B: float = 1.0) -> float:
    """beta = 12 sqrt(d log(1 + K H/(alpha^2 d lambda)) l) + 30 l/g^2 + sqrt(lambda) B, as recalled.

    alpha = H^-1/2, g = d^-1/4, lambda = 1/B^2, l = log(32 (log(g^2/alpha) + 1) K^2 H^2/delta), where log(g^2/alpha)
    counts as 0 if it is negative. Errors as in `ucbvi_log`, and B not positive.
    """
    size, d = _sizes(K=K, H=H), validate.count("d", d)
    B = validate.interval("B", B, 0.0, math.inf, open_lo=True, open_hi=True)
    square, alpha = 1.0 / math.sqrt(d), 1.0 / math.sqrt(H)
    ell = math.log(32 * (max(math.log(square / alpha), 0.0) + 1.0) * size * size / _delta(delta))
    return 12.0 * math.sqrt(d * math.log(1.0 + size * H * B * B / d) * ell) + 30.0 * ell / square + 1.0


def dirichlet_l1(n: float, S: int, delta: float) -> float:
    """sqrt(2 (S ln 2 + ln(1/delta))/(n + 1)): how far, in L1, a row of Dirichlet(alpha), n = sum alpha, is from its
    mean, with probability 1 - delta at least.
    """
    n = validate.interval("n", n, 0.0, math.inf, open_lo=True)
    return math.sqrt(2.0 * (_sizes(S=S) * math.log(2.0) - math.log(_delta(delta))) / (n + 1.0))


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


def _bernoulli_kl(p, q):
    """kl of Bernoulli laws, 0 <= p < 1 and 0 < q < 1."""
    kl = (1.0 - p) * math.log((1.0 - p) / (1.0 - q))
    if p > 0.0:
        kl += p * math.log(p / q)
    return kl


def _bernoulli_index(mean, n, L):
    """By bisection of [mean, 1], down to the spacing of floats."""
    lo, hi = mean, 1.0
    if mean >= 1.0:
        return 1.0
    for _ in range(HALVINGS):
        q = 0.5 * (lo + hi)
        if q <= lo or q >= hi:
            break
        if n * bernoulli_kl(mean, q) <= L:
            lo = q
        else:
            hi = q
    return lo


def _self_normalised(log_ratio, R, L, bias):
    """The radius around a ridge estimate in the norm of V: L = 2 ln(1/delta), bias = sqrt(lambda) times the norm bound,
    ``log_ratio`` = ln det V - ln det V_0.
    """
    return R * math.sqrt(log_ratio + L) + bias


def _dynlin_ucb(t, c1, c2, square, d, U, lam, L):
    """c1 log(e(t+1))/sqrt(lam) + c2 sqrt(lam) + sqrt(2 square (L + (d/2) log(1 + t U^2/(d lam)))), L = log(1/delta)."""
    noise = 2.0 * square * (L + 0.5 * d * math.log(1.0 + t * U * U / (d * lam)))
    return c1 / math.sqrt(lam) * (1.0 + math.log(t + 1.0)) + c2 * math.sqrt(lam) + math.sqrt(noise)


def _cascading_click(n, q, L):
    """Of an attraction probability; n >= 1."""
    return 2.0 * math.sqrt(q * (1.0 - q) * L / n) + 5.0 * L / n


def _cascading_value(n, variance, spread, H, L):
    """``variance`` of the upper value and mean ``spread`` of (upper - lower)^2 under the empirical law; n >= 1."""
    return 2.0 * math.sqrt(variance * L / n) + 2.0 * math.sqrt(spread * L / n) + 5.0 * H * L / n


def _bpi_ucbvi(n, variance, H, S, L):
    """beta* = L + log(8e(n+1)), beta = L + S log(8e(n+1)), L of `bpi_ucbvi_log`; n >= 1."""
    grown = math.log(8.0 * (n + 1.0)) + 1.0
    return 3.0 * math.sqrt(variance * (L + grown) / n) + 14.0 * H * H * (L + S * grown) / n


def _lmdp_entry(n, p, L):
    """n >= 1."""
    return 2.0 * math.sqrt(p * L / n) + 5.0 * L / n


def _lmdp_value(n, variance, G, L):
    """n >= 1."""
    return 2.0 * math.sqrt(G * variance * L / n) + 5.0 * G * L / n


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


ucbvi_hoeffding = kernel(_ucbvi_hoeffding, checked=False)
ucbvi_bernstein = kernel(_ucbvi_bernstein, checked=False)
ucbvi_distrust = kernel(_ucbvi_distrust, checked=False)
hoeffding = kernel(_hoeffding)
pevi_hoeffding = kernel(_pevi_hoeffding)
vi_lcb = kernel(_vi_lcb)
bernoulli_kl = kernel(_bernoulli_kl)
bernoulli_index = kernel(_bernoulli_index)
self_normalised = kernel(_self_normalised)
dynlin_ucb = kernel(_dynlin_ucb)
cascading_click = kernel(_cascading_click)
cascading_value = kernel(_cascading_value)
bpi_ucbvi = kernel(_bpi_ucbvi)
lmdp_entry = kernel(_lmdp_entry)
lmdp_value = kernel(_lmdp_value)
