"""UCBVI: reference values, identities on numbers, accounting, full replanning, every claim and every control."""

import closing
import numpy as np
import pytest

from algorithms.exploration import ucbvi
from figures.exploration import ucbvi as picture
from mdpkit.access import Episodes, Generative
from mdpkit.concentration import ucbvi_bernstein, ucbvi_distrust, ucbvi_hoeffding, ucbvi_log, ucbvi_regret
from mdpkit.instances import formula
from mdpkit.instances.chains import riverswim_episodic
from mdpkit.instances.garnet import random_episodic
from mdpkit.kernels.play import play
from mdpkit.measure.regret import Regret, regret
from mdpkit.measure.values import optimal_value
from mdpkit.models.tabular import EpisodicMDP
from theory_checks.exploration import ucbvi as checks

pytestmark = pytest.mark.xdist_group("ucbvi")

EXACT = 1e-12
F = formula.stationary_episodic(4, 3, 4)
BEST = optimal_value(F)
SIZES = (4, 3, 4, 4000, 0.1)                # S, A, H, K, delta


def rng(seed=0):
    return np.random.default_rng(seed)


def access(model, seed=0, **more):
    return Episodes(model, rng(seed), grant=("r",), **more)


def test_reference_values():
    assert ucbvi_log(4, 3, 16000, 0.1) == pytest.approx(16.077273656438063, rel=EXACT)
    np.testing.assert_allclose(BEST[0], (3.176442592130431, 2.7348481646607365, 2.9734984220268363,
                                         3.3528920489391325), rtol=0, atol=EXACT)
    small = ucbvi.bonuses(F.P[0, 1, 2], BEST[1], 100.0, np.array([10, 20, 30, 40]), *SIZES)
    large = ucbvi.bonuses(F.P[0, 1, 2], BEST[1], 1e8, np.full(4, 1e9), *SIZES)
    assert small == pytest.approx((45.01636623802658, 4.393083583797004), rel=EXACT)
    assert large[1] == pytest.approx(0.0010606405104306477, rel=EXACT)
    V = ucbvi.optimistic(F.P[0], F.r[0], 1e8, *SIZES[2:])
    np.testing.assert_allclose(V[0], (3.3565080570825367, 2.9149136296128426, 3.153563886978942, 3.5329575138912386),
                               rtol=0, atol=EXACT)
    assert ucbvi_regret(*SIZES) == pytest.approx((50191492.487475626, 496709955.6475501), rel=EXACT)


def slow(model, params, seed, bernstein, each, *, keep_least=True, biased=True, clip_left=False):
    """The pseudo-code: every triple in a list, every quantity taken anew, full replanning after each episode."""
    (H, S, A), world = model.r.shape, access(model, seed)
    L = ucbvi_log(H * S if each else S, A, params.K * H, params.delta)
    triples = [[] for _ in range(H if each else 1)]
    arrivals = np.zeros((H + 1, S))
    Q, Qs = np.full((H, S, A), float(H)), []
    for _ in range(params.K):
        Qs.append(Q)
        s, a, _, t = world.call(play, Q.argmax(-1))
        for h in range(H):
            triples[h if each else 0].append((s[h], a[h], t[h]))
            arrivals[h + 1, t[h]] += 1.0
        new, V = Q.copy() if keep_least else np.full((H, S, A), float(H)), np.zeros(S)
        for h in range(H - 1, -1, -1):
            for x, b in np.ndindex(S, A):
                after = [z for y, c, z in triples[h if each else 0] if (y, c) == (x, b)]
                if after:
                    width = _bonus(after, V, arrivals[h + 1], H, H * S if each else S, A, L, bernstein, biased)
                    q = model.r[h, x, b] + _mean(after, V) + params.c * width
                    new[h, x, b] = min(new[h, x, b], H - h if clip_left else H, q)
            V = new[h].max(-1)
        Q = new
    return np.array(Qs), Q


def _mean(after, V, lost=0.0):
    """Successors in order of their first coming: the order of the kernel's sums."""
    total = 0.0
    for z in dict.fromkeys(after):
        total += sum(1.0 for y in after if y == z) * V[z]
    return total / (len(after) - lost)


def _bonus(after, V, arrivals, H, S, A, L, bernstein, biased):
    n = float(len(after))
    if not bernstein:
        return ucbvi_hoeffding(n, float(H), L)
    mean = _mean(after, V)
    variance = _mean(after, (V - mean) * (V - mean), 0.0 if biased or n == 1 else 1.0)
    doubt = _mean(after, [ucbvi_distrust(m, float(H), float(S), float(A), L) for m in arrivals])
    return ucbvi_bernstein(n, variance, doubt, float(H), L)


ENTRIES = {"run": (False, False), "run_bf": (True, False), "run_stepwise": (False, True),
           "run_stepwise_bf": (True, True)}


@pytest.mark.parametrize("entry", ENTRIES)
@pytest.mark.parametrize("c", [0.0, 0.01, 1.0])
def test_the_kernel_agrees_with_full_replanning_bit_for_bit(entry, c):
    """Few states and a long horizon, then many states: lists of touched pairs of either kind."""
    for model, K in ((random_episodic(2, 2, 5, rng(1)), 20), (riverswim_episodic(4, 6), 20), (F, 25)):
        params = ucbvi.Params(K, 0.3, c, keep=True)
        Qs, last = slow(model, params, 7, *ENTRIES[entry])
        out = getattr(ucbvi, entry)(access(model, 7), params, rng())
        np.testing.assert_array_equal(out.trace.info["Q"], Qs)
        np.testing.assert_array_equal(out.output, last)
        np.testing.assert_array_equal(out.trace.policies[out.trace.index], Qs.argmax(-1))


def test_distrust_ends():
    """D of line 6 falls below H^2 after 100^2 H S^2 A L^2 arrivals only: 2.8 million where S = A = H = 1."""
    model, K, c = EpisodicMDP(np.ones((1, 1, 1, 1)), [[[0.5]]], [1.0]), 3_000_000, 0.1
    Q = ucbvi.run_bf(access(model, watch=lambda first, rows: None), ucbvi.Params(K, 0.99, c), rng()).output
    L = ucbvi_log(1, 1, K, 0.99)
    D = ucbvi_distrust(float(K), 1.0, 1.0, 1.0, L)
    assert D < 0.95
    assert Q[0, 0, 0] == 0.5 + c * ucbvi_bernstein(float(K), 0.0, D, 1.0, L)


MUTANTS = {
    "forgets Q of the episode before": {"keep_least": False},
    "takes the unbiased variance": {"biased": False},
    "clips at the steps left": {"clip_left": True},
}


@pytest.mark.parametrize("name", MUTANTS)
def test_each_mutant_differs_from_the_kernel(name):
    params = ucbvi.Params(60, 0.3, 0.01, keep=True)
    out = ucbvi.run_bf(access(F, 7), params, rng())
    assert (slow(F, params, 7, True, False, **MUTANTS[name])[0] != out.trace.info["Q"]).any()


def test_pooled_counts_are_not_counts_of_each_step():
    params = ucbvi.Params(60, 0.3, 0.01, keep=True)
    assert (slow(F, params, 7, True, True)[0] != ucbvi.run_bf(access(F, 7), params, rng()).trace.info["Q"]).any()


def layered(model):
    """The stationary MDP over the pairs (h, s), from the last step back to the first."""
    H, S, A = model.r.shape
    P, r = np.zeros((H * S, A, H * S)), model.r.reshape(H * S, A)
    for h in range(H):
        to = (h + 1) % H * S
        P[h * S: h * S + S, :, to: to + S] = model.P[h]
    return EpisodicMDP.stationary(P, r, np.append(model.rho, np.zeros(H * S - S)), H)


@pytest.mark.parametrize("bernstein", [False, True])
def test_counts_of_each_step_are_the_layered_world_bit_for_bit(bernstein):
    model = formula.step_dependent(3, 2, 4)
    one, other = (ucbvi.run_stepwise_bf, ucbvi.run_bf) if bernstein else (ucbvi.run_stepwise, ucbvi.run)
    params = ucbvi.Params(300, 0.1, 0.005)
    Q, whole = one(access(model, 3), params, rng()).output, other(access(layered(model), 3), params, rng()).output
    for h in range(4):
        np.testing.assert_array_equal(Q[h], whole[h, h * 3: h * 3 + 3])


@pytest.mark.parametrize("entry", ENTRIES)
def test_every_step_is_counted(entry):
    door = access(F, 5)
    N = getattr(ucbvi, entry)(door, ucbvi.Params(50, 0.1, 0.01, keep=True), rng()).trace.info["N"]
    k = np.arange(50)
    np.testing.assert_array_equal(N.sum((1, 2, 3)), 4 * k)
    if N.shape[1] == 4:
        np.testing.assert_array_equal(N.sum((2, 3)), np.repeat(k[:, None], 4, 1))
    assert door.samples == {"episodes": 50, "steps": 200}


@pytest.mark.parametrize("chunk", [1, 7])
def test_the_size_of_a_chunk_changes_no_bit(chunk):
    params = ucbvi.Params(60, 0.1, 0.01)
    whole = ucbvi.run_bf(access(F, 5), params, rng()).output
    np.testing.assert_array_equal(ucbvi.run_bf(access(F, 5, chunk=chunk), params, rng()).output, whole)


def test_one_pass_of_the_kernel_is_the_optimistic_pass():
    """Deterministic moves: after each pair was seen n times, Phat = P and one more pass gives `optimistic`."""
    P = np.array([[[0.0, 1.0]], [[1.0, 0.0]]])
    model, params = EpisodicMDP.stationary(P, [[1.0], [0.0]], [1.0, 0.0], 2), ucbvi.Params(9, 0.9, keep=True)
    out = ucbvi.run(access(model), params, rng())
    np.testing.assert_array_equal(out.trace.info["N"][-1], 8.0)
    np.testing.assert_array_equal(out.output[:, :, 0], ucbvi.optimistic(P, model.r[0], 9.0, 2, 9, 0.9)[:2])


def test_watching_is_the_regret_of_the_trace():
    model, params = riverswim_episodic(4, 8), ucbvi.Params(400, 0.1, 0.002)
    watch = Regret(model)
    ucbvi.run(access(model, 2, watch=watch), params, rng(3))
    np.testing.assert_array_equal(watch.regret, regret(model, ucbvi.run(access(model, 2), params, rng(3)).trace))


def test_optimism_on_the_way():
    """F(4, 3), 4000 episodes: the bonus of the paper never fails, a tenth of sqrt(1/n) does."""
    for c, fails in ((1.0, False), (0.1 / (7 * 4 * ucbvi_log(4, 3, 16000, 0.1)), True)):
        Q = ucbvi.run(access(F, 1), ucbvi.Params(4000, 0.1, c), rng()).output
        assert (Q.max(-1) < BEST - 1e-9).any() == fails          # the tolerance of the reference run


TALL = EpisodicMDP(F.P, 2 * F.r, F.rho)
BAD = {
    "not episodes": (lambda: ucbvi.run(Generative(F, rng()), ucbvi.theory(8, 0.1), rng()), "access must be a Episodes"),
    "no rewards": (lambda: ucbvi.run(Episodes(F, rng()), ucbvi.theory(8, 0.1), rng()), "known.r"),
    "tall": (lambda: ucbvi.run(access(TALL), ucbvi.theory(8, 0.1), rng()), "access.known.r"),
    "no params": (lambda: ucbvi.run(access(F), 8, rng()), "params must be a Params"),
    "no generator": (lambda: ucbvi.run(access(F), ucbvi.theory(8, 0.1), 3), "rng must be"),
    "c": (lambda: ucbvi.run(access(F), ucbvi.Params(8, 0.1, -1.0), rng()), "params.c must be"),
    "K": (lambda: ucbvi.theory(0, 0.1), "K must be at least 1"),
    "delta": (lambda: ucbvi.theory(8, 1.0), "delta must be in"),
}


test_bad_input = closing.refusals(BAD)


def test_the_figure_draws_what_it_computes():
    from matplotlib.figure import Figure

    data, figure = picture.compute(None, K=300, runs=2), Figure()
    picture.draw(data, figure, {"C3": "SUPPORTED"})
    assert all((np.diff(data[name], axis=-1) >= 0).all() for name in data if name.startswith("run"))
    assert len(figure.axes) == 1


test_no_claim_is_refuted_and_every_control_is = closing.claims(checks.CHECKS)
