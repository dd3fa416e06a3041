"""Losses against mpmath at log-ratios up to 40, slopes against exact derivatives, and what is refused."""

import mpmath
import numpy as np
import pytest

from mdpkit import losses
from mdpkit.data import compare
from mdpkit.errors import MdpkitError
from mdpkit.instances.preferences import two_prompts
from mdpkit.records import Pairs

FEW = 16 * 2.0**-53      # exp and log1p to two units, a product, a sum and a quotient
EXACT = 1e-12
H = [-40.0, -36.5, -20.0, -3.0, -1e-3, -1e-17, 0.0, 1e-17, 0.5, 7.0, 36.5, 40.0]
MODEL = two_prompts()
LOG_REF = np.log(MODEL.pi_ref)
UNIFORM = np.full((2, 4, 4), 1 / 24) * (1 - np.eye(4))


def high(x):
    return mpmath.mpf(float(x))


def near(got, wanted):
    assert abs(high(got) - wanted) <= FEW * abs(wanted), (got, wanted)


@pytest.fixture(autouse=True)
def _digits():
    with mpmath.workdps(60):
        yield


@pytest.mark.parametrize("h", H)
def test_softplus_and_sigmoid_keep_their_digits(h):
    near(losses.softplus(h), mpmath.log1p(mpmath.exp(high(h))))
    near(losses.sigmoid(h), 1 / (1 + mpmath.exp(-high(h))))


@pytest.mark.parametrize("h", H)
@pytest.mark.parametrize("q", [0.0, 0.125, 0.5, 1.0])
def test_logistic_with_smooth_labels(h, q):
    value, slope = losses.logistic(h, q)
    near(value, high(q) * mpmath.log1p(mpmath.exp(-high(h))) + (1 - high(q)) * mpmath.log1p(mpmath.exp(high(h))))
    wanted = 1 / (1 + mpmath.exp(-high(h))) - high(q)
    # a difference of two numbers below 1 where labels are smooth, one number where they are not
    assert abs(high(slope) - wanted) <= FEW * (1 if 0 < q < 1 else abs(wanted))


@pytest.mark.parametrize("h", [-40.0, -1.0, 2.0, 40.0])
def test_slopes_are_derivatives(h):
    for loss, true in ((lambda x: losses.logistic(x, 1.25), lambda x: 1.25 * mpmath.log1p(mpmath.exp(-x))
                        - 0.25 * mpmath.log1p(mpmath.exp(x))),
                       (lambda x: losses.squared(x, 2.5), lambda x: (x - 2.5) ** 2)):
        assert abs(high(loss(h)[1]) - mpmath.diff(true, high(h))) < FEW * 100     # slopes of at most 85


@pytest.mark.parametrize("h", H)
@pytest.mark.parametrize("e", [1e-3, 0.25, 0.5])
def test_exo_is_a_divergence_of_two_coins(h, e):
    value, slope = losses.exo(h, e)
    s, e_ = 1 / (1 + mpmath.exp(-high(h))), high(e)
    true = s * mpmath.log(s / (1 - e_)) + (1 - s) * mpmath.log((1 - s) / e_)
    assert abs(high(value) - true) <= FEW * (abs(high(h)) + abs(mpmath.log(e_)))      # sums of terms of that size
    wanted = s * (1 - s) * (high(h) - mpmath.log((1 - e_) / e_))
    assert abs(high(slope) - wanted) <= FEW * s * (1 - s) * (abs(high(h)) + abs(mpmath.log(e_)))


def test_exo_and_hinge_have_their_minima_and_slopes():
    for e in (1e-3, 0.25):
        best = np.log((1 - e) / e)
        assert abs(losses.exo(best, e)[0]) < FEW * best and abs(losses.exo(best, e)[1]) < FEW * best
    for h, e in ((-3.0, 0.1), (0.5, 0.25), (9.0, 0.01)):
        true = mpmath.diff(lambda x, e=e: (lambda s: s * mpmath.log(s / (1 - high(e))) + (1 - s) * mpmath.log(
            (1 - s) / high(e)))(1 / (1 + mpmath.exp(-x))), high(h))
        assert abs(high(losses.exo(h, e)[1]) - true) < FEW * 10
    value, slope = losses.hinge(np.array([-1.0, 0.5, 1.0, 3.0]), 1.0)
    assert value.tolist() == [2.0, 0.5, 0.0, 0.0] and slope.tolist() == [-1.0, -1.0, 0.0, 0.0]


@pytest.mark.parametrize("divergence", losses.F_DIVERGENCES)
@pytest.mark.parametrize("log_u", [-40.0, -1.0, 0.0, 0.5, 40.0])
def test_rewards_of_other_divergences_are_derivatives(divergence, log_u):
    f = {"reverse-kl": lambda u: u * mpmath.log(u), "forward-kl": lambda u: -mpmath.log(u),
         "jensen-shannon": lambda u: u * mpmath.log(u) - (1 + u) * mpmath.log((1 + u) / 2),
         "chi2": lambda u: (u - 1) ** 2 / 2}[divergence]
    slope_of_f = lambda x: mpmath.diff(f, mpmath.exp(x))
    value, slope = losses.f_reward(log_u, divergence, 0.5)
    value_at_one = losses.f_reward(0.0, divergence, 0.5)[0]
    true = (slope_of_f(high(log_u)) - slope_of_f(high(0))) / 2           # constants cancel in margins
    size = max(abs(true), abs(high(value)), abs(high(log_u)), 1)
    assert abs(high(value) - high(value_at_one) - true) <= 4 * FEW * size
    true_slope = mpmath.diff(slope_of_f, high(log_u)) / 2
    assert abs(high(slope) - true_slope) <= 4 * FEW * max(abs(high(slope)), mpmath.mpf(10) ** -20)
    with pytest.raises(MdpkitError, match="divergence"):
        losses.f_reward(0.0, "renyi", 1.0)


def tilted(scale):
    return losses.log_softmax(scale * np.array([[1.0, -1.0, 0.25, 0.0], [0.0, 0.5, -1.0, 0.75]]))


@pytest.mark.parametrize("scale", [0.1, 1.0, 20.0])
def test_kl_terms_and_the_log_softmax(scale):
    """Log-ratios up to 40; a log-law of logits up to 20 is off by some units of 40."""
    log_pi = tilted(scale)
    rows = [[high(v) for v in row] for row in log_pi]
    assert max(abs(mpmath.log(sum(mpmath.exp(v) for v in row))) for row in rows) < 8 * 40 * FEW
    for f, sign in ((losses.reverse_kl, 1), (losses.forward_kl, -1)):
        wanted = sum(high(MODEL.rho[x]) * mpmath.exp(rows[x][y] if sign > 0 else high(LOG_REF[x, y]))
                     * sign * (rows[x][y] - high(LOG_REF[x, y])) for x in range(2) for y in range(4))
        assert abs(high(f(log_pi, LOG_REF, MODEL.rho)[0]) - wanted) < 40 * FEW


@pytest.mark.parametrize("scale", [0.1, 1.0, 20.0])
def test_gradients_in_logits_are_derivatives(scale):
    """Complex steps: (f(x + i t) - f(x - i t))/(2 i t) at t = 1e-20 loses no digits."""
    def mean_kl(theta, reverse):
        low = theta - np.log(np.exp(theta).sum(-1, keepdims=True))
        terms = np.exp(low) * (low - LOG_REF) if reverse else np.exp(LOG_REF) * (LOG_REF - low)
        return (MODEL.rho * terms.sum(-1)).sum()

    theta = tilted(scale)
    for f, reverse in ((losses.reverse_kl, True), (losses.forward_kl, False)):
        gradient = f(theta, LOG_REF, MODEL.rho)[1]
        for at in np.ndindex(2, 4):
            moved = theta.astype(complex)
            moved[at] += 1e-20j
            assert gradient[at] == pytest.approx(mean_kl(moved, reverse).imag / 1e-20, abs=EXACT)


def test_pairwise_is_the_sum_over_comparisons():
    W = losses.weights(losses.population(MODEL, UNIFORM), 2, 4)
    scores = np.random.default_rng(0).normal(size=(2, 4))
    value, gradient = losses.pairwise(W, scores)
    total, slow = 0.0, np.zeros((2, 4))
    for x, w, l in np.ndindex(2, 4, 4):
        loss, slope = losses.logistic(scores[x, w] - scores[x, l])
        total += W[x, w, l] * loss
        slow[x, w] += W[x, w, l] * slope
        slow[x, l] -= W[x, w, l] * slope
    assert value == pytest.approx(total, abs=EXACT)
    np.testing.assert_allclose(gradient, slow, rtol=0, atol=EXACT)
    np.testing.assert_allclose(gradient.sum(1), 0.0, rtol=0, atol=EXACT)


def test_the_population_loss_is_least_at_the_rewards():
    W = losses.weights(losses.population(MODEL, UNIFORM), 2, 4)
    np.testing.assert_allclose(losses.pairwise(W, MODEL.reward)[1], 0.0, rtol=0, atol=EXACT)
    best = losses.gibbs(LOG_REF, MODEL.reward, MODEL.beta)
    implied = losses.implicit_reward(best, LOG_REF, MODEL.beta)
    np.testing.assert_allclose(losses.margins(implied), losses.margins(MODEL.reward), rtol=0, atol=EXACT)
    assert losses.objective(best, MODEL.reward, LOG_REF, 0.5, MODEL.rho) == pytest.approx(0.5362748235517, abs=EXACT)
    assert losses.objective(LOG_REF, MODEL.reward, LOG_REF, 0.5, MODEL.rho) == pytest.approx(0.405, abs=EXACT)


def test_every_comparison_has_its_weight():
    mu = np.full((2, 4, 4), 1 / 12) * (1 - np.eye(4))
    pairs = compare(MODEL, mu, 500, np.random.default_rng(1))
    W = losses.weights(pairs, 2, 4)
    assert W.sum() == pytest.approx(1.0, abs=EXACT)
    x, y, z = 0, 1, 2
    assert W[x, y, z] * 500 == pytest.approx(((pairs.x == x) & (pairs.win == y) & (pairs.lose == z)).sum(), abs=EXACT)
    assert losses.weights(losses.population(MODEL, UNIFORM), 2, 4).sum() == pytest.approx(1.0, abs=EXACT)


@pytest.mark.parametrize("scale", [0.1, 1.0, 20.0])
def test_the_compiled_forms_add_the_same_gradients(scale):
    theta, W = scale * np.array([[1.0, -1.0, 0.25, 0.0], [0.0, 0.5, -1.0, 0.75]]), losses.weights(
        losses.population(MODEL, UNIFORM), 2, 4)
    log_pi, g = np.empty((2, 4)), np.ones((2, 4))
    losses.normalise(theta, log_pi)
    np.testing.assert_allclose(log_pi, losses.log_softmax(theta), rtol=0, atol=EXACT)
    losses.add_logistic(W, theta, 0.5, g)
    losses.add_reverse_kl(log_pi, LOG_REF, MODEL.rho, 2.0, g)
    wanted = 1 + 0.5 * losses.pairwise(W, theta)[1] + 2 * losses.reverse_kl(log_pi, LOG_REF, MODEL.rho)[1]
    np.testing.assert_allclose(g, wanted, rtol=0, atol=EXACT)
    for h in H:
        near(losses.plain_sigmoid(h), 1 / (1 + mpmath.exp(-high(h))))


ONE = np.array([1])
BAD = {
    "no pairs": (lambda: losses.weights((ONE, ONE, ONE, ONE), 2, 4), "pairs must be a Pairs"),
    "prompt": (lambda: losses.weights(Pairs(2 * ONE, ONE, 0 * ONE, ONE), 2, 4), r"pairs.x\[0\] must be in \[0, 1\]"),
    "itself": (lambda: losses.weights(Pairs(ONE, ONE, ONE, ONE), 2, 4), "compares one with itself"),
    "count": (lambda: losses.weights(Pairs(ONE, ONE, 0 * ONE, -ONE), 2, 4), r"pairs.count\[0\]"),
    "nothing": (lambda: losses.weights(Pairs(ONE, ONE, 0 * ONE, 0 * ONE), 2, 4), "at least one comparison"),
    "diagonal": (lambda: losses.population(MODEL, np.ones((2, 4, 4))), "mu must be zero on pairs of equal"),
    "negative": (lambda: losses.population(MODEL, -UNIFORM), r"mu\[0, 0, 1\]"),
    "shape": (lambda: losses.pairwise(UNIFORM, np.zeros((2, 3))), "W must be of shape"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input(name):
    call, message = BAD[name]
    with pytest.raises(MdpkitError, match=message):
        call()


# ------------------------------------------------------------------------------------ gradient flow

P_WIN, NEAR = 0.8125, 1e-8
TARGET, SOFT, FLIP, LABEL = 2.5, 0.125, 0.25, 0.9
ODDS = float(np.log(P_WIN / (1 - P_WIN)))
SMOOTH = LABEL * P_WIN + (1 - LABEL) * (1 - P_WIN)
NOISY = (1 - FLIP) * P_WIN + FLIP * (1 - P_WIN)            # what is logged when labels are flipped
LEAST = lambda h: float(losses.sigmoid(h) * losses.sigmoid(-h))
# the loss; how often the first wins; the margin of the optimum in closed form; the least slope towards it on the way
FLOWS = {
    "logistic": (losses.logistic, P_WIN, ODDS, LEAST(ODDS)),
    "smoothed": (lambda h: losses.logistic(h, LABEL), P_WIN, float(np.log(SMOOTH / (1 - SMOOTH))),
                 LEAST(np.log(SMOOTH / (1 - SMOOTH)))),
    "robust": (lambda h: losses.logistic(h, (1 - FLIP) / (1 - 2 * FLIP)), NOISY, ODDS, LEAST(ODDS)),
    "squared": (lambda h: losses.squared(h, TARGET), P_WIN, TARGET * (2 * P_WIN - 1), 2.0),
    "exo": (lambda h: losses.exo(h, SOFT), P_WIN, np.log((1 - SOFT) / SOFT) * (2 * P_WIN - 1),
            LEAST(np.log((1 - SOFT) / SOFT) * (2 * P_WIN - 1))),
}


@pytest.mark.parametrize("name", FLOWS)
def test_gradient_flow_reaches_the_closed_form_by_a_stated_time(name):
    """Two responses: dh/dt = -2 L'(h), and |L'| >= least |h - h*| between 0 and h*: 1e-8 by log(h*/1e-8)/(2 least)."""
    loss, wins, best, least = FLOWS[name]
    W, scores, step = np.array([[[0.0, wins], [1 - wins, 0.0]]]), np.zeros((1, 2)), 0.01
    for _ in range(int(np.log(best / NEAR) / (2 * least) / step) + 1):
        scores = scores - step * losses.pairwise(W, scores, loss)[1]
    assert abs(float(scores[0, 0] - scores[0, 1]) - best) <= NEAR


def test_hinge_flows_to_its_kink_in_finite_time_and_stays():
    """dh/dt = 2 (2 p - 1) up to the margin 1, which is reached at 1/(2 (2 p - 1)); there the slope turns."""
    W, scores = np.array([[[0.0, 0.75], [0.25, 0.0]]]), np.zeros((1, 2))
    for _ in range(1024):                                              # time 1 = 1/(2 (1.5 - 1)), in dyadic steps
        scores = scores - losses.pairwise(W, scores, losses.hinge)[1] / 1024
    assert abs(float(scores[0, 0] - scores[0, 1]) - 1.0) <= NEAR
    assert losses.pairwise(W, scores, losses.hinge)[1][0, 0] > 0


@pytest.mark.parametrize("divergence", losses.F_DIVERGENCES)
def test_the_optimum_under_another_divergence_explains_the_labels(divergence):
    """beta f'(pi/pi_ref) of the maximiser of E r - beta D_f has the margins of r: no pair pulls any more."""
    beta, r, ref = 2.0, np.array([[0.5, 0.0, -0.25]]), np.array([[0.5, 0.25, 0.25]])
    lo, hi = -10.0, 10.0
    for _ in range(200):                            # the c with sum pi_ref (f')^-1((r - c)/beta) = 1, by bisection
        c = (lo + hi) / 2
        log_u = np.array([[inverse(divergence, (x - c) / beta) for x in r[0]]])
        lo, hi = (c, hi) if (ref * np.exp(log_u)).sum() > 1 else (lo, c)
    h = losses.margins(losses.f_reward(log_u, divergence, beta)[0])
    W = losses.sigmoid(losses.margins(r)) * (1 - np.eye(3))
    np.testing.assert_allclose(h, losses.margins(r), atol=NEAR)
    assert np.abs(losses.pairwise(W / W.sum(), losses.f_reward(log_u, divergence, beta)[0])[1]).max() < NEAR


def inverse(divergence, x):
    """log u with f'(u) = x, constants of f' left out as in `losses.f_reward`."""
    if divergence == "reverse-kl":
        return x
    if divergence == "forward-kl":
        return -np.log(max(-x, 1e-300))
    if divergence == "jensen-shannon":
        return -np.log(np.expm1(max(-x, 1e-12)))
    return np.log(max(x, 1e-300))
