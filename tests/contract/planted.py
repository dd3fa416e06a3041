"""A small house that keeps every law, and the violations that are planted into it."""

from __future__ import annotations

from contract.reading import LONGEST

PAPER = '''"""Toy: plays.

    1  for t = 1..T:
    2      play

Guarantee (Theorem 1, upper bound, not tight): it plays.

Someone. Toy. 2020.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mdpkit.access import Episodes
from mdpkit.jit import kernel
from mdpkit.records import Paper, Result
from mdpkit.worlds.markov import start, step

from contract.reading import LONGEST

PAPER = Paper("toy")


@dataclass(frozen=True)
class Params:
    """T rounds."""

    T: int


def theory(T: int) -> Params:
    """Theorem 1."""
    return Params(T)


def run(access: Episodes, params: Params, rng: np.random.Generator) -> Result:
    """Plays."""
    return _play(access, params, rng)


def demo(rng: np.random.Generator) -> Result:
    """One round."""
    return run(Episodes(rng), theory(1), rng)


def _play(access, params, rng):
    return access.drive(_loop, (), params.T, rng)


def _loop_body(world, log, first, rng):
    for t in range(len(log)):             # 1
        s = start(world)
        log[t] = step(world, s)           # 2


_loop = kernel(_loop_body)
'''
TREE = {
    "mdpkit/__init__.py": '"""The root."""\nimport numpy as np\n',
    "mdpkit/access.py": '"""Doors."""\n\n\nclass Episodes:\n    """Plays."""\n',
    "mdpkit/records.py": '"""Records."""\n\n\nclass Paper:\n    """A paper."""\n\n\n'
                         'class Result:\n    """A result."""\n',
    "mdpkit/jit.py": '"""Compiles."""\nimport numba\n\n\ndef kernel(body):\n    """Compiles."""\n'
                     '    return numba.njit(body, fastmath=False)\n',
    "mdpkit/papers.py": '"""Looks outward."""\n\n\n'
                        'def find():\n    """Lazily."""\n    from algorithms.bandits import toy\n',
    "mdpkit/models/__init__.py": "",
    "mdpkit/models/tabular.py": '"""Models."""\n\n\nclass TabularMDP:\n    """A model."""\n',
    "mdpkit/worlds/__init__.py": "",
    "mdpkit/worlds/markov.py": '"""Verbs."""\nfrom mdpkit.jit import kernel\n\n\n'
                               'def _start(world):\n    return world.here\n'
                               '\n\ndef _step(world, a):\n    return world.here + a\n\n\nstart = kernel(_start)\n'
                               'step = kernel(_step)\n',
    "mdpkit/measure/__init__.py": "",
    "mdpkit/measure/regret.py": '"""Scores."""\n\n\ndef regret(model):\n    """Scores."""\n',
    "algorithms/__init__.py": "", "algorithms/bandits/__init__.py": "", "algorithms/bandits/toy.py": PAPER,
    "theory_checks/__init__.py": "", "theory_checks/bandits/__init__.py": "",
    "theory_checks/bandits/toy.py": '"""Claims."""\n\nCHECKS = (Claim("toy", "C1"),)\n',
    "figures/__init__.py": "", "figures/bandits/__init__.py": "",
    "figures/bandits/toy.py": '"""Figure."""\n\n\ndef compute(rows):\n    """Numbers."""\n\n\ndef draw(data, fig):\n'
                              '    """Picture."""\n',
    "tests/papers/bandits/test_toy.py": "",
    "tests/oracles.py": "",
}
TOY, CHECK, FIGURE = (f"{p}/bandits/toy.py" for p in ("algorithms", "theory_checks", "figures"))
WORLD, LOW, DRAW, LINE = "mdpkit/worlds/markov.py", "mdpkit/low.py", "log[t] = step(world, s) ", "log[t] = "
BODY = PAPER[PAPER.index("    for t in range"):PAPER.index("\n\n_loop =")]
IMPORTS = "from mdpkit.jit import kernel\n"
BESIDE = {"no_list_of_slugs": {f"algorithms/bandits/{s}_a.py": "" for s in ("one", "two", "three")}}
# law: (file, what is replaced there by what; "" appends, a new file is written whole; what the violation says)
PLANTED = {
    "one_slug_one_path": [
        ("figures/bandits/other.py", "", '"""Alone."""', "algorithms: has no bandits/other"),
        ("tests/papers/bandits/toy.py", "", "", "not named test_"),
        ("algorithms/misc/__init__.py", "", "", "no family"),
        ("algorithms/loose.py", "", "", "into a family"),
        ("algorithms/games/toy.py", "", "", "two families"),
    ],
    "slugs_agree": [(TOY, 'Paper("toy")', 'Paper(slug="boy")', "'boy'"),
                    (CHECK, 'Claim("toy"', 'Claim("boy"', "'boy'")],
    "no_list_of_slugs": [
        (LOW, "", 'ALL = ["one-a", "two_a", "three-a"]', "by hand"),
        (LOW, "", 'ALL = {"one-a": 1, "two_a": 2, "three-a": 3}', "by hand"),
    ],
    "imports_run_one_way": [
        (LOW, "", "def f():\n    from figures.bandits import toy\n", "mdpkit imports"),
        ("mdpkit/papers.py", '"""Looks outward."""', '"""Looks."""\nimport algorithms\n', "mdpkit imports"),
        (LOW, "", 'import importlib\nimportlib.import_module("algorithms.bandits.toy")', "mdpkit imports"),
        (TOY, IMPORTS, IMPORTS + "from theory_checks.bandits import toy\n", "algorithms imports"),
        (TOY, IMPORTS, IMPORTS + "from algorithms.games import other\n", "an algorithm imports"),
        (TOY, IMPORTS, IMPORTS + "from . import other\n", "an algorithm imports"),
        (CHECK, "", "from oracles import slow\n", "not installed"),
    ],
    "names_come_from_their_module": [
        (TOY, "mdpkit.jit import", "mdpkit import", "from the package"),
        (TOY, IMPORTS, "import mdpkit\n", "through a package"),
        (TOY, IMPORTS, "import mdpkit as m\n", "through a package"),
        (TOY, IMPORTS, "import mdpkit.jit\n", "through a package"),
        (TOY, IMPORTS, "from mdpkit.jit import *\n", "imports *"),
        (TOY, IMPORTS, "from mdpkit.worlds.markov import kernel\n", "defined in mdpkit.jit"),
        (TOY, IMPORTS, "from mdpkit.jit import colonel\n", "defined in no module"),
    ],
    "imports_have_no_circle": [
        ("mdpkit/jit.py", "", "from mdpkit.worlds import markov\n", "in a circle, with mdpkit.worlds.markov"),
        ("mdpkit/jit.py", "", "from mdpkit.jit import kernel\n", "in a circle"),
    ],
    "one_door": [
        (TOY, "access: Episodes,", "access: TabularMDP,", "takes a model"),
        (TOY, "access: Episodes,", "access: Episodes | TabularMDP,", "takes a model"),
        (TOY, "access: Episodes,", "access,", "which access"),
        (TOY, "run(access: Episodes,", "run(door: Episodes,", "takes no access"),
        (TOY, "", "def step(state, model, rng): ...\n", "takes a model"),
        (TOY, "return _play(", "access.model; return _play(", "not Exact"),
        (TOY, "return _play(", "f = lambda a: a.model; return _play(", "not Exact"),
        (TOY, "return _play(", "access._world; return _play(", "behind the door"),
        (TOY, "return _play(", "access.__dict__; return _play(", "behind the door"),
        (TOY, "return _play(", "getattr(access, '_world'); return _play(", "behind the door"),
        (TOY, "access.drive(_loop,", "access.drive(start,", "no kernel"),
        (TOY, "access.drive(_loop,", "access.drive(_loop_body,", "no kernel"),
        (TOY, "_loop_body(world, log", "_loop_body(w, log", "not called world"),
        (TOY, LINE, "log[t] = world.here + ", "touched"),
        (TOY, LINE, "alias = world; log[t] = ", "touched"),
        (TOY, LINE, "a, b = world; log[t] = ", "touched"),
        (TOY, LINE, "log[t] = world[0] + ", "touched"),
        (TOY, DRAW, "log[t] = peek(world)", "no verb"),
        (TOY, "", "def _peek(w):\n    return w.here\n\n\npeek = kernel(_peek)\n\n\n"
                  "def _through(world):\n    return peek(world)\n", "another name"),
        (TOY, "markov import start, step", "markov import law_of, start, step", "no verb"),
        (TOY, IMPORTS, IMPORTS + "from mdpkit.worlds import markov\n", "no verb"),
        (TOY, IMPORTS, IMPORTS + "from mdpkit.drive import drive\n", "the door"),
    ],
    "learners_do_not_score": [
        (TOY, "return _play(", "from mdpkit.measure.regret import regret; regret(0); return _play(", "run scores"),
        (TOY, "return access.drive", "from mdpkit.measure import regret; regret.regret(0); return access.drive",
         "_play scores"),
    ],
    "records_and_functions": [
        (LOW, "", "from abc import ABC\nclass Base(ABC): ...\n", "base ABC"),
        (LOW, "", "class Base: ...\nclass Mixed(Base): ...\n", "base Base"),
        (LOW, "", "class Base(metaclass=type): ...\n", "metaclass"),
        (LOW, "", "def f():\n    class Inner(dict): ...\n", "base dict"),
    ],
    "one_body_a_kernel": [
        (TOY, "def _loop_body", "@kernel\ndef _loop_body", "otherwise"),
        (TOY, "_loop = kernel(_loop_body)", "_loop = kernel(lambda world: 0)", "otherwise"),
        (TOY, "_loop = kernel(_loop_body)", "_loop = _again = [kernel(_loop_body)]", "otherwise"),
        (TOY, "", "_again = kernel(_loop_body)\n", "compiled twice"),
        (TOY, "return _play(", "_loop_body(0, 0, 0, 0); return _play(", "beside its kernel"),
        (CHECK, "", "from algorithms.bandits import toy\ntoy._loop_body(0, 0, 0, 0)\n", "beside its kernel"),
        (CHECK, "", "from algorithms.bandits import toy\ntoy._loop.py_func(0, 0, 0, 0)\n", "interpreted twin"),
        (LOW, "", "import numba\n\n\n@numba.njit\ndef f(x): ...\n", "compiles with"),
        (LOW, "", "from numba import njit\n", "imports njit"),
        (LOW, "", "from numba.core.decorators import jit\n", "imports jit"),
        (LOW, "", "f = g(fastmath=True)\n", "fastmath"),
        (CHECK, "", "def _slow(world, log, first, rng):\n    for t in range(len(log)):\n        s = start(world)\n"
                    "        log[t] = step(world, s)\n    return log\n\n\n"
                    "def _fast(world, log, first, rng):\n    for t in range(len(log)):\n        s = start(world)\n"
                    "        log[t] = step(world, s)\n    return log\n", "twin of"),
    ],
    "vocabulary": [
        *((TOY, LINE, f"{said}; log[t] = ", f"_loop {how}") for said, how in (
            ("log.sum()", "calls .sum()"), ("log.mean(0)", "calls .mean()"), ("np.sum(log)", "calls numpy.sum"),
            ("np.exp(s)", "calls numpy.exp"), ("np.log(s)", "calls numpy.log"), ("s**2", "raises"),
            ("pow(s, 2)", "calls"), ("math.lgamma(s)", "calls math.lgamma"),
            ("np.linalg.inv(log)", "calls numpy.linalg.inv"),
            ("np.argsort(log)", "sorts"), ("log.argsort()", "sorts"), ("np.argsort(log, kind='quicksort')", "sorts"),
            ("np.random.random()", "calls numpy.random"), ("rng.choice(3)", "draws"), ("rng.uniform()", "draws"),
            ("g.dirichlet(log)", "draws"), ("rng.integers(3)", "draws integers"),
            ("rng.integers(1, 3)", "draws integers"))),
        (TOY, LINE, "s **= 2; log[t] = ", "raises"),
        (TOY, "for t in range", "for t in numba.prange", "numba.prange"),
        (TOY, "kernel(_loop_body)", "kernel(_loop_body, reassoc=True)", "reassoc"),
        (WORLD, "world.here + a", "world.rng.multinomial(a)", "draws"),
    ],
    "rng_crosses_by_argument": [
        (LOW, "", "def f(x, rng=None): ...\n", "default"),
        (LOW, "", "def f(x, *, rng=None): ...\n", "default"),
        (LOW, "", "f = lambda rng=0: 0\n", "default"),
        (CHECK, "", "import numpy as np\nnp.random.seed(0)\n", "global numpy.random.seed"),
        (CHECK, "", "from numpy.random import rand\nrand()\n", "global numpy.random.rand"),
        (CHECK, "", "import random\n", "imports random"),
        (LOW, "", "import numpy as np\nx = np.random.default_rng()\n", "builds"),
        (TOY, "run(Episodes(rng)", "run(Episodes(np.random.Generator(np.random.PCG64(0)))", "builds"),
    ],
    "no_global_state": [
        (LOW, "", "import numpy as np\nnp.seterr(all='raise')\n", "numpy.seterr"),
        (LOW, "", "import warnings\nwarnings.simplefilter('ignore')\n", "warnings.simplefilter"),
        (LOW, "", "import locale\nlocale.setlocale(locale.LC_ALL, '')\n", "locale.setlocale"),
        (LOW, "", "import os\nos.environ['X'] = '1'\n", "os.environ"),
        (LOW, "", "from numba import config\nconfig.DISABLE_JIT = 1\n", "numba.config"),
        (FIGURE, "", "import matplotlib.pyplot as plt\nplt.rcParams['font.size'] = 3\n", "rcParams"),
        (FIGURE, "", "import matplotlib.pyplot as plt\nplt.style.use('x')\n", "style.use"),
    ],
    "silent": [(LOW, "", "def f():\n    print(1)\n", "prints"),
               (TOY, "return _play(", "print(1); return _play(", "prints")],
    "light_root": [
        ("mdpkit/__init__.py", "", "import scipy\n", "scipy"),
        ("mdpkit/__init__.py", "", "def f():\n    from mdpkit.jit import kernel\n", "mdpkit"),
        (TOY, IMPORTS, IMPORTS + "import cvxpy\n", "cvxpy"),
        (LOW, "", "from matplotlib import pyplot\n", "matplotlib"),
    ],
    "short_files": [(LOW, "", "x = 1\n" * (LONGEST + 1), "lines")],
    "docstrings": [(LOW, "", "x = 1\n", "module"), (LOW, "", '"""A."""\ndef f(): ...\n', "f has"),
                   (LOW, "", '"""A."""\nclass F: ...\n', "F has")],
    "finished": [(LOW, "", f"x = 1  # {word}\n", word) for word in ("TO" + "DO", "FIX" + "ME", "X" * 3)]
                + [(LOW, "", "def f():\n    raise NotImplementedError\n", "raise")],
    "tests_are_no_package": [("tests/papers/__init__.py", "", "", "a package")],
    "order_of_papers": [
        (TOY, "PAPER =", "NOTE =", "no PAPER"),
        (TOY, "def demo", "def _demo", "no demo"),
        (TOY, "", "def late(x): ...\n", "entry comes after kernel"),
        (TOY, "def theory", "def early(x): ...\n\n\ndef theory", "theory comes after entry"),
        (TOY, "def run", "def loss(x): ...\n\n\ndef run", "first entry is not run"),
        (TOY, "def demo", "def _one(x): ...\n\n\n_uno = kernel(_one)\n\n\ndef demo", "demo comes after kernel"),
    ],
    "shape_of_papers": [
        (TOY, "(frozen=True)", "", "not frozen"),
        (TOY, "-> Params", "-> dict", "theory does not"),
        (TOY, "demo(rng:", "demo(n, rng:", "demo takes"),
        (TOY, "params: Params, rng: np.random.Generator) -> R", "rng: object, params: Params) -> R", "called as"),
        (TOY, "params: Params, rng: np.random.Generator) -> Result", "params: Params, rng: object) -> dict",
         "a Result"),
    ],
    "told_papers": [
        (TOY, "    1  for", "    for", "pseudo-code numbered"),
        (TOY, "    2      play", "    3      play", "pseudo-code numbered"),
        (TOY, "Theorem 1,", "a theorem,", "guarantee"),
        (TOY, ", not tight", "", "tight"),
        (TOY, "Toy. 2020.", "Toy.", "reference"),
        (TOY, "# 2", "# 4", "cites line 4"),
        (TOY, BODY, BODY.replace("# 1", "").replace("# 2", ""), "no line of code cites"),
        (TOY, BODY, BODY.replace("# 1", "").replace("# 2", "") + "\n\nX = 1  # 1\n", "_loop_body cites no line"),
    ],
    "shape_of_figures": [(FIGURE, "compute(rows", "compute(data", "compute"),
                         (FIGURE, "(data, fig", "(fig, data", "draw"),
                         (CHECK, "CHECKS =", "TESTS =", "CHECKS")],
}
