"""DR-PO held to the steps of its proof, in rationals and balls, and to the instance that resets are needed for."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable
from typing import Any

import flint
import numpy as np
from hypothesis import strategies as st

from algorithms.offline import drpo
from algorithms.offline.drpo import BITS, Params
from mdpkit import rational, validate
from mdpkit.access import Episodes, Reset
from mdpkit.data import collect
from mdpkit.measure import plain
from mdpkit.measure.regret import gaps
from mdpkit.measure.values import optimal_start_value
from mdpkit.models.tabular import EpisodicMDP
from mdpkit.octets import law, octets
from mdpkit.rational import exact
from mdpkit.records import Result
from mdpkit.solve.precise import down, up
from theory_checks.engine.claims import Check, Claim, Saboteur, marked
from theory_checks.engine.judges import Expectation, Separation, Sure
from theory_checks.engine.rows import exact_row, worst

rows = functools.partial(law, weights=range(9))
TWINS = "theory_checks.offline._drpo_twins"
LOGGED = 2000                            # trajectories of pi_SFT
SHOWN = np.arange(0, 151, 10)            # iterations that the figure draws; the last is pi^{T+1}


# ------------------------------------------------------------------------------------------ worlds

@st.composite
def ascents(draw: st.DrawFn) -> dict[str, Any]:
    """A model, a comparator, pi_SFT of full support, T policies, and T critics out of two."""
    H, S, A, T = (draw(st.integers(1, n)) for n in (3, 3, 3, 8))
    m = EpisodicMDP(rows(draw, H, S, A, S), octets(draw, H, S, A) % 17 / 16, rows(draw, S))
    ref = rows(draw, H, S, A) if draw(st.booleans()) else np.eye(A)[octets(draw, H, S) % A]
    critics = octets(draw, 2, H, S, A) % 17 / 16 * (H - np.arange(H))[:, None, None]
    return {"model": m, "ref": ref, "sft": rows(draw, H, S, A, least=1), "pi": rows(draw, T, H, S, A),
            "f": critics[octets(draw, T) % 4 // 3], "eta": draw(st.sampled_from([0.125, 0.5, 2.0]))}


@st.composite
def answers(draw: st.DrawFn) -> dict[str, Any]:
    """One prompt: laws of pi*, pi_SFT, which may miss an answer, and a g."""
    n = draw(st.integers(1, 5))
    return {"p": rows(draw, n), "q": rows(draw, n, least=draw(st.integers(0, 1))), "g": octets(draw, n) % 17 - 8.0}


@st.composite
def critics(draw: st.DrawFn) -> dict[str, Any]:
    """One step: state laws and policies, some of pi_SFT without full support, and an error."""
    S, A = (draw(st.integers(1, n)) for n in (3, 3))
    least = draw(st.integers(0, 1))
    return {"d_ref": rows(draw, S), "d_sft": rows(draw, S, least=least), "ref": rows(draw, S, A),
            "sft": rows(draw, S, A, least=least), "pi": rows(draw, S, A), "e": octets(draw, S, A) % 17 / 8 - 1}


def unseen() -> dict[str, Any]:
    """The learner's action is one that pi_SFT hardly takes, and the critic is wrong about it alone."""
    one, sft = np.ones(1), validate.simplex("sft", [[0.99, 0.01]], (1, 2))
    return {"d_ref": one, "d_sft": one, "ref": np.array([[1.0, 0.0]]), "sft": sft, "pi": np.array([[0.0, 1.0]]),
            "e": np.array([[0.0, -1.0]])}


@st.composite
def prompts(draw: st.DrawFn) -> dict[str, Any]:
    """Up to three prompts, four answers, a reward and a learned one, and a constant for each prompt."""
    X, Y = (draw(st.integers(1, n)) for n in (3, 4))
    return {"rho": rows(draw, X), "p": rows(draw, X, Y), "pi": rows(draw, X, Y), "q": rows(draw, X, Y, least=1),
            "r": octets(draw, X, Y) % 17 / 16, "r_hat": octets(draw, X, Y) % 17 / 16, "shift": octets(draw, X) % 5 / 4}


def flattered() -> dict[str, Any]:
    """A bad answer that pi_SFT hardly gives is learned to be the best, and pi gives it always."""
    q = validate.simplex("q", [[0.49, 0.25, 0.25, 0.0099, 0.0001]], (1, 5))
    r = np.array([[0.5, 0.25, 0.125, 0.25, 0.0]])
    return {"rho": np.ones(1), "p": q, "pi": np.eye(5)[4:], "q": q, "r": r, "r_hat": r + np.eye(5)[4:],
            "shift": np.ones(1)}


def rare() -> dict[str, Any]:
    """The comparator's action is one that pi_SFT hardly takes, and the critic is wrong about it alone."""
    return unseen() | {"sft": unseen()["sft"][:, ::-1], "e": np.array([[1.0, 0.0]])}


def alternating(first: tuple[float, float], eta: float) -> dict[str, Any]:
    """One state, two critics in turn, the second for the comparator's action: mirror descent may be late each time."""
    P, f = np.ones((2, 1, 2, 1)), np.tile([[[first]], [[(1.0, 0.0)]]], (4, 2, 1, 1))
    f[:, 0] *= 2
    ref = np.tile([1.0, 0.0], (2, 1, 1))
    return {"model": EpisodicMDP(P, np.zeros((2, 1, 2)), [1.0]), "ref": ref, "sft": np.full(ref.shape, 0.5),
            "pi": np.full(f.shape, 0.5), "f": f, "eta": eta}


paths = lambda: ascents() | ascents() | st.sampled_from([alternating((0.0, 1.0), 2.0), alternating((1.0, 0.0), 0.5)])
transfers = lambda: critics() | critics() | st.sampled_from([unseen(), rare()])
learned = lambda: prompts() | prompts() | st.just(flattered())


def two(L: int) -> EpisodicMDP:
    """H = L+1. Start 0: action 0 to the easy state 1, which pays 0.3 in the end; action 1 to the first of L states in a
    chain 3, 4, ..., where action 1 goes on, and pays 1 in the end, and action 0 leads to the dead state 2.
    """
    P, r = np.zeros((L + 1, L + 3, 2, L + 3)), np.zeros((L + 1, L + 3, 2))
    chain = 3 + np.arange(L)
    P[:, 0, 0, 1] = P[:, 0, 1, 3] = P[:, 1, :, 1] = P[:, 2, :, 2] = P[:, chain, 0, 2] = 1.0
    P[:, chain, 1, np.minimum(chain + 1, L + 2)] = 1.0
    r[L, 1], r[L, L + 2, 1] = 0.3, 1.0
    return EpisodicMDP(P, r, np.eye(L + 3)[0])


# ---------------------------------------------------------------------------------------- measures

def identity(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C1: sum of the gaps against the two sums."""
    P, r, rho, ref = _exactly(world)
    pi, f = exact(world["pi"]), exact(world["f"])
    found = [plain.evaluate(P, r, x) for x in pi]
    gap = sum(rho @ (plain.evaluate(P, r, ref)[0][0] - V[0]) for V, _ in found)
    Q = np.stack([Q for _, Q in found])
    return exact_row(abs(subject(P, rho, ref, pi, f) + subject(P, rho, ref, pi, Q - f) - gap), 0)


def ascent(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C1-bound: the first sum along mirror descent, by the subject, against the bound."""
    return _ascent(world, subject, drpo.mirror_bound)


def constants(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C1-constants: the same with the subject's bound."""
    return _ascent(world, drpo.ascend, subject)


def _ascent(world: dict, ascend: Callable, bound: Callable) -> dict:
    P, r, rho, ref = _exactly(world)
    sft, f, eta = exact(world["sft"]), exact(world["f"]), flint.arb(world["eta"])
    start = sft
    if world.get("far"):                 # KL against one policy, start from another
        favourite = rational.eye(r.shape[-1], P)[world["ref"].argmax(-1)]
        thin = rational.rational(2.0**-20)
        sft, start = thin * sft + (1 - thin) * favourite, thin * sft + (1 - thin) * favourite[..., ::-1]
    with flint.ctx.workprec(BITS):
        total = drpo.against(P, rho, ref, ascend(start, f, eta)[:-1], f)
        most = bound(len(r), drpo.trajectory_kl(P, rho, ref, sft), eta, len(f))
    return {"measured": max(down(total), 0.0) if isinstance(total, flint.arb) else float(total), "bound": up(most)}


def divergence(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C1-kl: against the sum over all trajectories."""
    P, _, rho, pi = _exactly(world)
    sft, (H, S, A) = exact(world["sft"]), world["sft"].shape
    with flint.ctx.workprec(BITS):
        total = flint.arb(0)
        for path in itertools.product(range(S), *[range(S * A)] * (H - 1), range(A)):
            s, chance, p, q = path[0], rho[path[0]], flint.fmpq(1), flint.fmpq(1)
            for h, k in enumerate(path[1:]):
                a = k % A
                p, q = p * pi[h, s, a], q * sft[h, s, a]
                if h < H - 1:
                    chance, s = chance * P[h, s, a, k // A], k // A
            if p * chance > 0:
                total += flint.arb(p * chance) * flint.arb(p / q).log()
        return {"measured": max(down(abs(subject(P, rho, pi, sft) - total)), 0.0), "bound": 0.0}


def coverage(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C2: any g against C_TR^2, that against its maximiser's value, and against (1 + max p/q)/2."""
    p, q = exact(world["p"]), exact(world["q"])
    value = subject(world["p"], world["q"])
    seen = q > 0
    if (p[~seen] > 0).any():
        return exact_row(0 if value == math.inf else math.inf, 0)
    p, q, g = p[seen], q[seen], exact(world["g"])[seen]
    if len(q) == 1 or value == math.inf:
        return exact_row(value, 0)
    w, c = p / q, rational.rational(value)
    i, j = np.argsort([float(x) for x in w], kind="stable")[-2:]
    one = rational.eye(len(q), q)
    tried = [one[i] / q[i] - one[j] / q[j]] + ([] if (w == 2 * c - 1).any() else [1 / (w - (2 * c - 1))])
    best = max(_ratio(p, q, x) for x in tried)
    shrunk = c * (1 - rational.rational(2.0**-50))      # the float is at most 2^-51 of itself above the number
    found = [exact_row(shrunk, best), exact_row(shrunk, (1 + w.max()) / 2)]
    return worst(found if (g == g[0]).all() else [exact_row(_ratio(p, q, g), c), *found])


def _ratio(p: np.ndarray, q: np.ndarray, g: np.ndarray) -> Any:
    """E (g(y) - g(y'))^2 with y ~ p and y' ~ q over the same with both from q."""
    mean = (q * g).sum()
    spread = (q * g * g).sum() - mean * mean
    return ((p * g * g).sum() + (q * g * g).sum() - 2 * (p * g).sum() * mean) / (2 * spread)


def errors(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C3: the error as the comparator meets it against the bound."""
    d_ref, d_sft, ref, sft, pi, e = (exact(world[k]) for k in ("d_ref", "d_sft", "ref", "sft", "pi", "e"))
    return exact_row(max((d_ref[:, None] * (ref - pi) * e).sum(), 0), subject(d_ref, d_sft, ref, sft, pi, e))


def decomposition(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C5: the gap against its bound, of which a constant for each prompt changes no part."""
    rho, p, pi, q = (world[k] for k in ("rho", "p", "pi", "q"))
    r, r_hat = exact(world["r"]), exact(world["r_hat"])
    drift, error, bound = subject(rho, p, pi, q, r_hat, r)
    moved = subject(rho, p, pi, q, r_hat + exact(world["shift"])[:, None], r)
    gap = (exact(rho)[:, None] * (exact(p) - exact(pi)) * r).sum()
    return worst([exact_row(max(gap - drift, 0), rational.rational(bound) - drift),
                   exact_row(abs(drift - moved[0]) + abs(error - moved[1]), 0)])


@marked
def learning(world: dict, subject: Callable, rng: np.random.Generator) -> dict:
    """C4: the last policy's value, by resets to logged states and by rolling in from the start."""
    model = two(world["L"])
    sft, behaviour = np.full((2, *model.r.shape), 0.5)
    behaviour[0, 0] = (0.5, 0.5) if world["covered"] else (1.0, 0.0)
    data = collect(model, behaviour, LOGGED, rng)
    params = Params(world["T"], world["m"], world["eta"], sft, model.r)
    own, *other = (int(seed) for seed in rng.integers(0, 2**62, 3))
    resets = subject(Reset(model, rng, to=data), data, params, np.random.default_rng(own))
    out: dict[str, Any] = {}
    without = _rolled_in(world["L"], world["T"], world["m"], world["eta"], *other)
    for name, bound, (value, visits) in (("reset", 0.9, _curves(model, resets)), ("roll_in", 0.35, without)):
        out |= {name: {"measured": value[-1], "bound": bound}, f"{name} value": value, f"{name} visits": visits}
    return out


@functools.lru_cache(256)
def _rolled_in(L: int, T: int, m: int, eta: float, seed: int, own: int) -> tuple[np.ndarray, np.ndarray]:
    """Without resets: no subject enters, so that subjects of one replicate share it."""
    model = two(L)
    params = Params(T, m, eta, np.full(model.r.shape, 0.5), model.r)
    return _curves(model, drpo.run_roll_in(Episodes(model, np.random.default_rng(seed)), params,
                                           np.random.default_rng(own)))


def _curves(model: EpisodicMDP, result: Result) -> tuple[np.ndarray, np.ndarray]:
    """Values at `SHOWN`, and visits to the end of the chain between them."""
    played = result.trace.policies[result.trace.index[SHOWN[:-1]]]  # type: ignore[union-attr]
    return (optimal_start_value(model) - gaps(model, np.array([*played, result.output])),
            result.trace.info["seen"][:, -1, -1].reshape(-1, 10).mean(1))  # type: ignore[union-attr]


def _exactly(world: dict) -> tuple[np.ndarray, ...]:
    m = world["model"]
    return exact(m.P), exact(m.r), exact(m.rho), exact(world["ref"])


# -------------------------------------------------------------------------------------------- checks

def _check(name: str, kind: str, statement: str, source: str, entry: str, worlds: Any, measure: Callable, judge: Any,
           *more: Saboteur, finding: str = "", **twins: str) -> Check:
    """A check whose saboteurs are twins by name, each with what is wrong with it, and perhaps worlds."""
    bad = (Saboteur(twin.replace("_", " "), why, subject=f"{TWINS}:{twin}") for twin, why in twins.items())
    status = "checked" if name == "C4" else "derived"
    return Check(Claim("drpo", name, kind, statement, source, status, finding), entry, worlds, measure, judge,
                 (*more, *bad))


CHECKS = (
    _check("C1", "identity", "sum_t V^{pi*} - V^{pi^t} = sum_{t,h} E_{s ~ d*_h}<pi*_h - pi^t_h, f^t_h> + the same with "
           "Q^t_h - f^t_h, for any critics.", "performance differences, in the proof of Theorem 1", "against", ascents,
           identity, Sure("EXACT", 40), learners_law="under the learner's law of states",
           start_law="under the law of the first state at every step"),
    _check("C1-bound", "bound", "From pi^1 = pi_SFT the first sum of C1 is at most KL/eta + (eta T/8) sum_h (H-h)^2 "
           "for any critics in [0, H-h] and any pi*, KL that of trajectories.", "mirror descent, same proof",
           "ascend", paths, ascent, Sure("CERTIFIED", 100),
           Saboteur("another start", "an assumption broken: KL is not that to the first policy", world={"far": True}),
           downhill="exp(-eta f)", resting="pi_SFT for ever"),
    _check("C1-constants", "bound", "The same, about the two terms of the bound: neither can be left out.",
           "mirror descent, same proof", "mirror_bound", paths, constants, Sure("CERTIFIED", 100),
           no_step="without the term in eta T", no_divergence="without KL", one_step="critics in [0, 1]"),
    _check("C1-kl", "identity", "E_{tau ~ pi*} log(pi*(tau)/pi_SFT(tau)) = sum_h E_{s ~ d*_h} KL(pi*_h(.|s), "
           "pi_SFT,h(.|s)).", "chain rule", "trajectory_kl", ascents, divergence, Sure("CERTIFIED", 40),
           reversed_kl="KL of pi_SFT from pi*", worst_state="the worst state of each step in place of the mean"),
    _check("C2", "bound", "One prompt: C_TR^2 = (1 + lambda)/2, lambda the largest eigenvalue of diag(p) against "
           "diag(q) on the g of mean 0 under q; so C_TR^2 <= (1 + max p/q)/2. Infinite without coverage.",
           "C_TR, in closed form", "reward_coverage", answers, coverage, Sure("EXACT", 150),
           skips_holes="forgets the answers that pi_SFT never gives", by_ratio="max p/q in place of lambda",
           not_halved="lambda in place of (1 + lambda)/2"),
    _check("C3", "bound", "E_{s ~ d*_h}<pi*_h - pi^t_h, e> <= sqrt(2 C_sa eps) + sqrt(2 C_s eps) for any e, eps the "
           "mean of e^2 over s ~ d_SFT,h and actions half of pi_SFT, half of pi^t.", "change of law, same proof",
           "critic_bound", transfers, errors, Sure("CERTIFIED", 200),
           logged_actions="the error on logged actions alone", no_coverage="without the ratios",
           one_root="without the learner's part"),
    _check("C4", "separation", "On the chain with an easy way out, L = 6, pi_SFT uniform, 2000 logged trajectories, "
           "T = m = 150, eta = 3: the last policy of DR-PO is worth at least 0.9 in expectation, without resets at "
           "most 0.35.", "section 1 (why resets), this instance", "run",
           ({"L": 6, "T": 150, "m": 150, "eta": 3.0, "covered": True},), learning,
           Separation((("reset", Expectation(0.0, 1.0, above=True)), ("roll_in", Expectation(0.0, 1.0)))),
           Saboteur("no coverage", "an assumption broken: the data never enter the chain", world={"covered": False}),
           finding="Not on each seed, as four seeds suggest: of 60 runs one of DR-PO ended at 0.5 (no iteration "
           "tried both actions at the end of the chain), and one without resets found that end.",
           roll_in="without resets", forgetful="pi_SFT exp(eta f) of the last critic alone"),
    _check("C5", "bound", "V^{pi*} - V^{pi} under r* is at most the same under r^ plus (C_TR(pi*) + C_TR(pi)) "
           "sqrt(E2), E2 = E (D(y) - D(y'))^2 under pi_SFT, D = r* - r^; a constant a prompt changes nothing.",
           "decomposition in the proof of Theorem 1", "transfer", learned, decomposition, Sure("CERTIFIED", 80),
           comparator_alone="without C_TR(pi)", uncentred="E D^2 in place of that of differences",
           trusting="without the error of the reward"),
)
