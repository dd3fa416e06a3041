"""Deterministic worlds from modular formulas: the instances on which reference values are stated to many digits.

All indices count from 0. ``prop. over z to w`` means divided by the sum over z, so that anyone can rebuild an
instance in any language from its line here. The initial law is uniform unless said otherwise.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from mdpkit import validate
from mdpkit.models.bandits import ContextualBandit
from mdpkit.models.games import MarkovGame
from mdpkit.models.latent import LatentMDP
from mdpkit.models.linear import LinearMDP, LinearMixtureMDP
from mdpkit.models.tabular import EpisodicMDP, TabularMDP
from mdpkit.models.tokens import TokenModel


def stationary(S: int, A: int, gamma: float) -> TabularMDP:
    """F(S, A): P[s,a,z] prop. over z to 1 + ((5s + 3a + 11z + s a z) mod 13), r[s,a] = ((2s + 5a + s a) mod 7)/6.

    F(4, 3) at gamma = 0.9: V* = (7.859232869535, 7.409706521945, 7.658063280893, 8.035044003008), greedy (1,0,2,0).
    """
    return TabularMDP(*_stationary(S, A), gamma, _uniform(S))


def stationary_episodic(S: int, A: int, H: int) -> EpisodicMDP:
    """F(S, A) at each of H steps.

    F(4, 3), H = 4: V*_0 = (3.176442592130, 2.734848164661, 2.973498422027, 3.352892048939).
    """
    return EpisodicMDP.stationary(*_stationary(S, A), _uniform(S), H)


def stationary_policy(S: int, A: int) -> np.ndarray:
    """pi[s,a] (S, A) prop. over a to 1 + ((2s + 3a + s a) mod 5)."""
    s, a = _grid(S=S, A=A)
    return _rows(1 + (2 * s + 3 * a + s * a) % 5)


def step_dependent(S: int, A: int, H: int) -> EpisodicMDP:
    """F(S, A, H): P[h,s,a,z] prop. over z to 1 + ((7h + 5s + 3a + 11z + s a z) mod 13),
    r[h,s,a] = ((3h + 2s + 5a + s a) mod 7)/6.

    F(4, 3, 5): V*(rho) = 3.668448553320072.
    """
    h, s, a, z = _grid(H=H, S=S, A=A, next_S=S)
    h3, s3, a3 = _grid(H=H, S=S, A=A)
    return EpisodicMDP(_rows(1 + (7 * h + 5 * s + 3 * a + 11 * z + s * a * z) % 13),
                       (3 * h3 + 2 * s3 + 5 * a3 + s3 * a3) % 7 / 6, _uniform(S))


def step_dependent_policy(S: int, A: int, H: int) -> np.ndarray:
    """pi_e[h,s,a] (H, S, A) prop. over a to 1 + ((h + 2s + 3a + s a) mod 5)."""
    h, s, a = _grid(H=H, S=S, A=A)
    return _rows(1 + (h + 2 * s + 3 * a + s * a) % 5)


def step_dependent_nu(S: int, A: int, H: int) -> np.ndarray:
    """The uniform data law nu (H, S, A), 1/(S A)."""
    return np.full(_sizes(H=H, S=S, A=A), 1.0 / (S * A))


def step_dependent_critic(S: int, A: int, H: int) -> np.ndarray:
    """f[h,s,a] (H, S, A) = ((h + s + 2a + s a) mod 4)/2."""
    h, s, a = _grid(H=H, S=S, A=A)
    return (h + s + 2 * a + s * a) % 4 / 2


def drifting(S: int, A: int, H: int, power: int = 2) -> EpisodicMDP:
    """P[h,s,a,t] prop. over t to (1 + ((3s + 5a + 7t + h(t+a) + s a t) mod 8))**power,
    r[h,s,a] = ((7s + 3a + 2h + s a) mod 10)/10.

    Starts in state 0. (3, 3, 3) at power 2: V* = 2.218550106610.
    """
    h, s, a, t = _grid(H=H, S=S, A=A, next_S=S)
    h3, s3, a3 = _grid(H=H, S=S, A=A)
    P = _rows((1 + (3 * s + 5 * a + 7 * t + h * (t + a) + s * a * t) % 8) ** validate.count("power", power))
    return EpisodicMDP(P, (7 * s3 + 3 * a3 + 2 * h3 + s3 * a3) % 10 / 10, np.eye(S)[0])


def average_reward(S: int, A: int, gamma: float) -> TabularMDP:
    """P[s,a,t] prop. over t to (1 + ((3s + 5a + 7t + s a t) mod 9))**2, r[s,a] = ((7s + 3a + s a) mod 10)/10.

    (3, 2) has gain 0.648458476067, bias (0, 0.633061753541, 0.693843162670), greedy (0, 0, 1).
    """
    s, a, t = _grid(S=S, A=A, next_S=S)
    s2, a2 = _grid(S=S, A=A)
    P = _rows((1 + (3 * s + 5 * a + 7 * t + s * a * t) % 9) ** 2)
    return TabularMDP(P, (7 * s2 + 3 * a2 + s2 * a2) % 10 / 10, gamma, _uniform(S))


def reward_process(S: int, gamma: float) -> TabularMDP:
    """One action: P[s,u] prop. over u to 1 + ((5s + 7u + s u) mod 6)**2, r[s] = ((7s + 3 s**2) mod 11)/10.

    S = 5, gamma = 0.9: V = (4.768908759626, 5.412208012650, 5.030972823206, 4.890985269417, 5.635265957600).
    """
    s, u = _grid(S=S, next_S=S)
    r = (7 * s[:, :1] + 3 * s[:, :1] ** 2) % 11 / 10
    return TabularMDP(_rows(1 + ((5 * s + 7 * u + s * u) % 6) ** 2)[:, None], r, gamma, _uniform(S))


def linear(S: int, A: int, d: int, H: int) -> LinearMDP:
    """Lin(S, A, d, H): phi[s,a,i] prop. over i to 1 + ((3s + 5a + 7i + s a i) mod 11)**2, mu[h,i,z] prop. over z to
    1 + ((h + 4i + 3z + i z) mod 7)**2, theta[h,i] = ((2h + 5i) mod 7)/6.

    Lin(6, 3, 3, 3): V*_0 = (1.866170141089, 1.799990093953, 1.815164745448, ..).
    """
    s, a, i = _grid(S=S, A=A, d=d)
    h, j, z = _grid(H=H, d=d, S=S)
    h2, i2 = _grid(H=H, d=d)
    phi = _rows(1 + ((3 * s + 5 * a + 7 * i + s * a * i) % 11) ** 2)
    mu = _rows(1 + ((h + 4 * j + 3 * z + j * z) % 7) ** 2)
    return LinearMDP(phi, mu, (2 * h2 + 5 * i2) % 7 / 6, _uniform(S))


def linear_mixture(S: int, A: int, d: int, H: int) -> LinearMixtureMDP:
    """base[j,s,a,z] prop. over z to 1 + ((5s + 3a + 11z + s a z + 7j(z+1) + j s) mod 13)**2, theta prop. to (1, .., d)
    at each step, r that of F(S, A).

    (5, 3, 3), H = 4: V*_0 = (3.103144125484, 2.560998638085, 2.939638576803, 3.244198013884, 3.094084361953).
    """
    j, s, a, z = _grid(d=d, S=S, A=A, next_S=S)
    base = _rows(1 + ((5 * s + 3 * a + 11 * z + s * a * z + 7 * j * (z + 1) + j * s) % 13) ** 2)
    theta = np.broadcast_to(_rows(np.arange(1, d + 1)), (H, d))
    r = np.broadcast_to(_stationary(S, A)[1], (H, S, A))
    return LinearMixtureMDP(base, theta, r, _uniform(S))


def bounded_mixture(H: int = 8) -> LinearMixtureMDP:
    """S, A, d = 3, 2, 3, theta = (.5, .3, .2): base[i,s,a,t] prop. over t to
    (1 + ((2s + 3a + 5t(i+1) + i(s+a)) mod 7))**2, r[s,a] = ((2s + 3a) mod 5)/(4H): returns lie in [0, 1].

    Starts in state 0. H = 8: V*_0 = (0.794802522878, 0.760302447259, 0.818224292734).
    """
    i, s, a, t = np.indices((3, 3, 2, 3))
    base = _rows((1 + (2 * s + 3 * a + 5 * t * (i + 1) + i * (s + a)) % 7) ** 2)
    s2, a2 = np.indices((3, 2))
    r = np.broadcast_to((2 * s2 + 3 * a2) % 5 / (4 * validate.count("H", H)), (H, 3, 2))
    return LinearMixtureMDP(base, np.broadcast_to([0.5, 0.3, 0.2], (H, 3)), r, [1.0, 0.0, 0.0])


def latent(M: int, S: int, A: int, H: int) -> LatentMDP:
    """w prop. to 4 + (m mod 3), nu[m,s] prop. over s to 1 + ((m + s) mod 3), P[m,s,a,t] prop. over t to
    (1 + ((3s + 5a + 7t + m(s + 2a + 3t)) mod 7))**3, r[m,s,a] = ((3s + 5((a+m) mod A) + s m) mod 6)/(5H).

    (M, S, A, H) = (2, 2, 2, 4): the best policy of the history has 0.726654462892, knowing the context 0.848228520781.
    """
    m, s, a, t = _grid(M=M, S=S, A=A, next_S=S)
    m3, s3, a3 = _grid(M=M, S=S, A=A)
    m2, s2 = _grid(M=M, S=S)
    P = _rows((1 + (3 * s + 5 * a + 7 * t + m * (s + 2 * a + 3 * t)) % 7) ** 3)
    r = (3 * s3 + 5 * ((a3 + m3) % A) + s3 * m3) % 6 / (5 * validate.count("H", H))
    return LatentMDP(_rows(4 + np.arange(M) % 3), _rows(1 + (m2 + s2) % 3), P, r, H)


def candidates(n: int, S: int, A: int, gamma: float) -> list[TabularMDP]:
    """n models: P_i[s,a,t] prop. over t to (1 + ((3s + 5a + 7t + i(2s + 3a + 5t + 1)) mod 9))**2,
    r[s,a] = ((2s + a) mod 4)/3.

    (4, 3, 2) at gamma = 0.9: V* of the first is (4.808592467026, 5.466137944579, 4.473258098116).
    """
    i, s, a, t = _grid(n=n, S=S, A=A, next_S=S)
    s2, a2 = _grid(S=S, A=A)
    P = _rows((1 + (3 * s + 5 * a + 7 * t + i * (2 * s + 3 * a + 5 * t + 1)) % 9) ** 2)
    return [TabularMDP(p, (2 * s2 + a2) % 4 / 3, gamma, _uniform(S)) for p in P]


def tasks(n: int, S: int, A: int, gamma: float) -> list[TabularMDP]:
    """n tasks: P_i[s,a,t] prop. over t to (1 + ((3s + 5a + 7t + i(2s + 3a + t + 1)) mod 6))**2; the last state
    pays 1.

    (5, 3, 2) at gamma = 0.9 has the optimal policies (0,1,0), (0,0,1), (0,0,1), (0,1,0), (0,0,1).
    """
    i, s, a, t = _grid(n=n, S=S, A=A, next_S=S)
    P = _rows((1 + (3 * s + 5 * a + 7 * t + i * (2 * s + 3 * a + t + 1)) % 6) ** 2)
    return [TabularMDP(p, np.repeat(np.eye(S)[:, -1:], A, axis=1), gamma, _uniform(S)) for p in P]


def game(S: int, A: int, B: int, H: int, *, zero_sum: bool = True) -> MarkovGame:
    """P[h,s,a,b,z] prop. over z to 1 + ((7h + 5s + 3a + 4b + 11z + s a z + b z) mod 13), first player's rewards
    ((3h + 2s + 5a + 4b + a b s) mod 7)/6, second's their negatives or ((h + 4s + 3a + 6b + 2 a b) mod 7)/6.

    (3, 2, 2, 3): the zero-sum value is 1.301765177665; the CCE of largest sum gives 1.890032357051, 2.205626645730.
    """
    h, s, a, b, z = _grid(H=H, S=S, A=A, B=B, next_S=S)
    P = _rows(1 + (7 * h + 5 * s + 3 * a + 4 * b + 11 * z + s * a * z + b * z) % 13)
    h, s, a, b = _grid(H=H, S=S, A=A, B=B)
    first = (3 * h + 2 * s + 5 * a + 4 * b + a * b * s) % 7 / 6
    second = -first if zero_sum else (h + 4 * s + 3 * a + 6 * b + 2 * a * b) % 7 / 6
    return MarkovGame(P, np.stack([first, second]), _uniform(S))


def matrix_game(n: int, m: int) -> MarkovGame:
    """Zero-sum, payoff ((3i + 5j + i j) mod 7)/6 (n, m) to the rows."""
    i, j = _grid(n=n, m=m)
    return MarkovGame.matrix((3 * i + 5 * j + i * j) % 7 / 6)


def tokens(V: int = 3, H: int = 3, beta: float = 1.0, offset: int = 0) -> TokenModel:
    """Level h, node n of the level: pi_ref prop. over a to 1 + ((5n + 3a + 2h + n a + offset) mod 5); the reward of
    response i is ((7i + 3 floor(i/V) + i**2 + offset) mod 10)/9.

    (3, 3): the mean reward under pi_ref is 0.508971995083; at beta = 1/2 the soft value is 0.608503163722.
    """
    V, H = _sizes(V=V, H=H)
    levels = [np.indices((V**h, V)) for h in range(H)]
    pi = np.concatenate([_rows(1 + (5 * n + 3 * a + 2 * h + n * a + offset) % 5) for h, (n, a) in enumerate(levels)])
    i = np.arange(V**H)
    return TokenModel((7 * i + 3 * (i // V) + i**2 + offset)[None] % 10 / 9, pi[None], [1.0], beta)


def contextual(X: int = 4, A: int = 5, d: int = 3) -> ContextualBandit:
    """Means 0.5 + 0.4 tanh(<x, w_a> / sqrt(d)), x[i,j] = cos(1.3i + 0.7j), w[a,j] = sin(0.9a + 1.1j(a+1))."""
    i, j = _grid(X=X, d=d)
    a, k = _grid(A=A, d=d)
    x, w = np.cos(1.3 * i + 0.7 * j), np.sin(0.9 * a + 1.1 * k * (a + 1))
    return ContextualBandit(_uniform(X), 0.5 + 0.4 * np.tanh(x @ w.T / np.sqrt(d)))


def _stationary(S: int, A: int) -> tuple[np.ndarray, np.ndarray]:
    s, a, z = _grid(S=S, A=A, next_S=S)
    s2, a2 = _grid(S=S, A=A)
    return _rows(1 + (5 * s + 3 * a + 11 * z + s * a * z) % 13), (2 * s2 + 5 * a2 + s2 * a2) % 7 / 6


def _grid(**sizes: int) -> np.ndarray:
    return np.indices(_sizes(**sizes))


def _sizes(**sizes: int) -> tuple[int, ...]:
    return tuple(validate.count(name, n) for name, n in sizes.items())


def _rows(weights: Any) -> np.ndarray:
    return weights / weights.sum(-1, keepdims=True)


def _uniform(S: int) -> np.ndarray:
    return np.full(S, 1.0 / S)
