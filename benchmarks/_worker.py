"""What runs inside a peer's own environment: it knows numpy, scipy and the peer, and nothing of ours.

Reads a line of JSON, {"peer", "job", "file", ..}; prepares the peer's own model of the arrays in the file once, times
solves for a burst, one at least, and answers with a line of JSON: the median of their seconds, and the value
where there is one.
"""

import contextlib
import io
import json
import os
import statistics
import sys
import tempfile
import time
import warnings

import numpy as np
import scipy.sparse as sp

warnings.filterwarnings("ignore")
CLOCK = time.perf_counter
BURST = 0.2              # seconds that each side is asked for in a round: short solves are repeated


def timed(call, burst=BURST):
    """Median seconds and the answer; what a call needs anew each time is prepared before the clock starts."""
    spent = []
    while not spent or sum(spent) < burst:
        getattr(call, "fresh", lambda: None)()
        with contextlib.redirect_stdout(io.StringIO()):
            clock = CLOCK()
            found = call()
            spent.append(CLOCK() - clock)
    return statistics.median(spent), found


def rows_of(m):
    S, A = m["r"].shape
    return sp.csr_matrix((m["val"], m["col"], m["ptr"]), shape=(S * A, S))


def quantecon_discounted(m, tol):
    from quantecon.markov import DiscreteDP

    S, A = m["r"].shape
    if "P" in m:
        ddp = DiscreteDP(m["r"], m["P"], float(m["gamma"]))
    else:
        s, a = (x.ravel() for x in np.indices((S, A)))
        ddp = DiscreteDP(m["r"].ravel(), rows_of(m), float(m["gamma"]), s, a)
    return lambda: ddp.solve(method="modified_policy_iteration", epsilon=tol, max_iter=10**6).v


def toolbox_discounted(m, tol):
    import mdptoolbox.mdp as mt

    A, P = m["r"].shape[1], rows_of(m)

    def call():
        solver = mt.PolicyIterationModified([P[a::A] for a in range(A)], m["r"], float(m["gamma"]), epsilon=tol)
        solver.max_iter = 10**6
        solver.run()
        return np.asarray(solver.V)
    return call


def mdpsolver_discounted(m, tol):
    import mdpsolver

    (S, A), (ptr, col, val) = m["r"].shape, (m[k].tolist() for k in ("ptr", "col", "val"))
    cut = lambda x: [[x[ptr[s * A + a]: ptr[s * A + a + 1]] for a in range(A)] for s in range(S)]
    rewards, probs, columns, new = m["r"].tolist(), cut(val), cut(col), {}

    def fresh():                                        # a model that was solved starts from its solution
        new["model"] = mdpsolver.model()
        new["model"].mdp(discount=float(m["gamma"]), rewards=rewards, tranMatProbs=probs, tranMatColumns=columns)

    def call():
        new["model"].solve(algorithm="mpi", tolerance=tol)
        return np.asarray(new["model"].getValueVector())
    call.fresh = fresh
    return call


def stormpy_discounted(m, tol):
    import stormpy

    (S, A), (ptr, col, val) = m["r"].shape, (m[k].tolist() for k in ("ptr", "col", "val"))
    sign = -1.0 if m["r"].min() < 0 else 1.0
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "m.drn")
        with open(path, "w") as f:
            f.write(f"@type: MDP\n@parameters\n\n@reward_models\nr\n@nr_states\n{S}\n@nr_choices\n{S * A}\n@model\n")
            for s in range(S):
                f.write(f"state {s}{' init' if s == 0 else ''}\n")
                for a in range(A):
                    f.write(f"\taction {a} [{sign * float(m['r'][s, a])!r}]\n")
                    f.writelines(f"\t\t{col[j]} : {val[j]!r}\n" for j in range(ptr[s * A + a], ptr[s * A + a + 1]))
        model = stormpy.build_model_from_drn(path)
    goal = "min" if sign < 0 else "max"
    formula = stormpy.parse_properties(f'R{{"r"}}{goal}=? [ Cdiscount={float(m["gamma"])!r} ]')[0]
    env = stormpy.Environment()
    env.solver().min_max().precision = stormpy.Rational(f"{tol:.12f}")
    env.solver().min_max().relative_termination_criterion = False
    env.solver().min_max().maximal_number_of_iterations = 10**7

    def call():
        found = stormpy.model_checking(model, formula, environment=env)
        return sign * np.array([found.get_value(s) for s in range(S)])
    return call


def quantecon_game(m, tol):
    from quantecon.optimize import minmax

    return lambda: float(minmax(m["A"])[0])


def highs_game(m, tol):
    from scipy.optimize import linprog

    A = m["A"]
    n, k = A.shape
    given = {"A_ub": np.hstack([-A.T, np.ones((k, 1))]), "b_ub": np.zeros(k), "b_eq": [1.0],
             "A_eq": np.append(np.ones(n), 0.0)[None], "bounds": [(0, None)] * n + [(None, None)]}
    return lambda: float(linprog(np.append(np.zeros(n), -1.0), **given).x[-1])


def nashpy_game(m, tol):
    import nashpy

    A = m["A"]

    def call():
        x, y = nashpy.Game(A).linear_program()
        return float(x @ A @ y)
    return call


def quantecon_backward(m, tol):
    from quantecon.markov import DiscreteDP, backward_induction

    ddp = DiscreteDP(m["r"], m["P"], 1.0 - 1e-12)          # of one kernel and reward: it has no others
    return lambda: backward_induction(ddp, int(m["H"]))[0][0]


def numpy_mmd(m, tol):
    A, alpha, eta, n = m["A"], float(m["alpha"]), float(m["eta"]), int(m["n"])

    def call():
        u, v = (np.full(k, -np.log(k)) for k in A.shape)
        x, y, keep = np.exp(u), np.exp(v), 1 / (1 + eta * alpha)
        for _ in range(n):
            up, down = A @ y, A.T @ x
            u, v = keep * (u + eta * up), keep * (v - eta * down)
            u, v = u - u.max(), v - v.max()
            x, y = np.exp(u), np.exp(v)
            x, y = x / x.sum(), y / y.sum()
        return x
    return call


def spiel_mmd(m, tol):
    import pyspiel
    from open_spiel.python.algorithms import mmd_dilated

    game = pyspiel.convert_to_turn_based(pyspiel.create_matrix_game(m["A"], -m["A"]))
    solver = mmd_dilated.MMDDilatedEnt(game, float(m["alpha"]), float(m["eta"]))

    def call():
        for _ in range(int(m["n"])):
            solver.update_sequences()
    return call


def rlberry_ucbvi(m, tol):
    import logging

    from rlberry.envs.finite_mdp import FiniteMDP
    from rlberry_scool.agents.ucbvi import UCBVIAgent

    logging.disable(logging.CRITICAL)
    agent = UCBVIAgent(FiniteMDP(m["r"], m["P"], initial_state_distribution=m["rho"]), horizon=int(m["H"]), gamma=1.0)
    agent.fit(3)
    return lambda: agent.fit(int(m["n"]))


def main():
    ready, answer_to = {}, os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)                                       # whatever a peer prints is no answer
    for line in sys.stdin:
        ask = json.loads(line)
        try:
            name = ask["peer"] + "_" + ask["job"]
            if (name, ask["file"]) not in ready:
                with np.load(ask["file"]) as data:
                    m = {k: data[k] for k in data.files}
                call = globals()[name](m, ask["tol"])
                timed(call, 0.0)                        # compiles
                ready[name, ask["file"]] = call
            seconds, found = timed(ready[name, ask["file"]])
            reply = {"seconds": seconds, "value": None if found is None else np.asarray(found).tolist()}
        except BaseException as e:                      # of a peer: told, never ours to mend
            reply = {"error": f"{type(e).__name__}: {e}"[:200]}
        answer_to.write(json.dumps(reply) + "\n")
        answer_to.flush()


if __name__ == "__main__":
    main()
