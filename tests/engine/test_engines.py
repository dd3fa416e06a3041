"""The same rows from every engine, whoever is killed on the way."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from engine.samples import other_pythons

from theory_checks.engine import codec
from theory_checks.engine.engines import KILLED, Dask, Pool, Serial
from theory_checks.engine.store import Store
from theory_checks.engine.tasks import Task

ROOT = Path(__file__).resolve().parents[2]
WORLD = codec.canonical({"H": 4, "A": 3, "T": 20, "m_off": 30})
HOUSE = "algorithms.offline.hyq:run"

SUBJECTS = '''
import os, signal, sys, time
from algorithms.offline import hyq


def told(access, data, params, rng):
    """The house's, which writes down who runs it, and takes its time."""
    with open(os.environ["WHO"], "a") as f:
        f.write(f"{os.getpid()}\\n")
    time.sleep(float(os.environ.get("NAP", "0")))
    return hyq.run(access, data, params, rng)


def killer(access, data, params, rng):
    with open(os.environ["WHO"], "a") as f:
        f.write("killer\\n")
    time.sleep(float(os.environ.get("NAP", "0")))
    os.kill(os.getpid(), signal.SIGKILL)


def leaves(access, data, params, rng):
    sys.exit(3)
'''


def tasks(n: int = 24, subject: str = HOUSE) -> list[Task]:
    return [Task("hyq", "C5", WORLD, i, subject) for i in range(n)]


def sweep(engine, todo: list[Task], store: Store | None = None, after=lambda n: None) -> Store:
    """All rows in a store; ``after`` sees how many there are."""
    store = store or Store()
    for n, (i, row, seconds, status) in enumerate(engine.map(todo), 1):
        store.put(todo[i], todo[i].key, row, seconds, status)
        after(n)
    engine.close()
    assert store.status()["rows"] == len(todo)
    return store


@pytest.fixture(scope="module")
def module(tmp_path_factory):
    """A folder with the module of the subjects above, importable here and in every process started from here."""
    folder = tmp_path_factory.mktemp("subjects")
    (folder / "told_subjects.py").write_text(SUBJECTS)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        patch.setenv("PYTHONPATH", os.pathsep.join([str(folder), str(ROOT)]))
        yield folder
    sys.modules.pop("told_subjects", None)


@pytest.fixture
def who(module, tmp_path, monkeypatch):
    """The file in which `told` writes down its process, once an execution."""
    path = tmp_path / "who"
    path.touch()
    monkeypatch.setenv("WHO", str(path))
    return path


@pytest.fixture(scope="module")
def digest():
    return sweep(Serial(), tasks()).digest()


def undisturbed(subject: str, n: int = 24) -> str:
    return sweep(Serial(), tasks(n, subject)).digest()


def local_dask(workers: int) -> Dask:
    pytest.importorskip("distributed")
    return Dask("local", workers)


# dask's own: sockets and loops that it leaves to the garbage collector, and its notes about busy ports
dasks_own = [pytest.mark.filterwarnings("ignore::ResourceWarning"),
             pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
             pytest.mark.filterwarnings("ignore::DeprecationWarning:(distributed|tornado|dask)")]
ENGINES = [
    pytest.param(Serial, id="serial"),
    *(pytest.param(lambda n=n: Pool(n), id=f"pool-{n}", marks=pytest.mark.xdist_group("pool")) for n in (1, 2, 4)),
    *(pytest.param(lambda n=n: local_dask(n), id=f"dask-{n}", marks=[pytest.mark.xdist_group("dask"), *dasks_own])
      for n in (1, 2)),
]
TWO = [ENGINES[2], ENGINES[-1]]


@pytest.mark.parametrize("engine", ENGINES)
def test_every_engine_gives_the_same_digest(engine, digest):
    todo = tasks()
    random.Random(1).shuffle(todo)
    assert sweep(engine(), todo).digest() == digest


def test_rows_do_not_depend_on_what_ran_before(digest):
    """One engine for each task, last task first."""
    store = Store()
    for task in tasks()[::-1]:
        for _, row, seconds, status in Serial().map([task]):
            store.put(task, task.key, row, seconds, status)
    assert store.digest() == digest


OTHER = """
import json, sys
from dataclasses import asdict
sys.path.insert(0, {here!r})
from test_engines import tasks
from theory_checks.engine.engines import execute
print(json.dumps([execute(asdict(t))[0] for t in tasks()]))
"""


def test_another_python_gives_the_same_rows():
    """The keys differ, for they name the versions of numpy and numba; the rows may not."""
    found = other_pythons()
    if not found:
        pytest.skip("no other Python with numpy, scipy, numba, hypothesis and flint; name one in MDPKIT_OTHER_PYTHON")
    pytest_too = f"import sys; sys.modules.setdefault('pytest', __import__('unittest.mock').mock.MagicMock())\n{OTHER}"
    done = subprocess.run([found[0], "-c", pytest_too.format(here=str(Path(__file__).parent))], capture_output=True,
                          text=True, env=os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])})
    assert done.returncode == 0, done.stderr
    here = {i: row for i, row, _, _ in Serial().map(tasks())}
    assert json.loads(done.stdout) == [here[i] for i in range(len(here))]


# ------------------------------------------------------------------------------------ dying workers

@pytest.mark.parametrize("engine", TWO)
def test_a_worker_killed_from_outside(engine, who, monkeypatch):
    expected = undisturbed("told_subjects:told")
    who.write_text("")
    monkeypatch.setenv("NAP", "0.1")

    def after(n: int) -> None:
        if n in (4, 12):
            os.kill(int(who.read_text().split()[-1]), signal.SIGKILL)

    store = sweep(engine(), tasks(24, "told_subjects:told"), after=after)
    assert store.digest() == expected and store.status()["failed"] == 0
    again = len(who.read_text().split()) - 24
    print(f"{again} executions more than tasks after two kills")
    assert again <= 2 * 2, f"{again} tasks were run again after two kills of one of two workers"


@pytest.mark.xdist_group("pool")
def test_all_workers_killed_between_two_tasks(who, monkeypatch):
    """The pool is found broken when the next task is handed to it."""
    expected = undisturbed("told_subjects:told", 8)
    who.write_text("")
    monkeypatch.setenv("NAP", "0.3")

    def after(n: int) -> None:
        if n == 2:
            for pid in set(who.read_text().split()):
                os.kill(int(pid), signal.SIGKILL)
            time.sleep(0.5)

    assert sweep(Pool(2), tasks(8, "told_subjects:told"), after=after).digest() == expected


@pytest.mark.parametrize("engine, killers", [pytest.param(*p.values, k, id=p.id, marks=p.marks)
                                             for p, k in zip(TWO, [(5,), (4, 5, 6, 7)])])
def test_a_task_that_kills_its_worker_fails_alone(engine, killers, who, monkeypatch):
    """It is run twice and given up; what ran or waited beside it is not."""
    monkeypatch.setenv("NAP", "0.05")
    todo = [Task("hyq", "C5", WORLD, i, f"told_subjects:{'killer' if i in killers else 'told'}") for i in range(12)]
    store = sweep(engine(), todo)
    failed = [r for r in store.records() if r["status"] == "failed"]
    assert {r["replicate"] for r in failed} == set(killers), "others were given up with it"
    assert all(json.loads(r["row"]) == KILLED for r in failed)
    if killers == (5,):
        assert Counter(who.read_text().split())["killer"] == 2
    monkeypatch.setenv("NAP", "0")
    healthy = [t for t in todo if t.replicate not in killers]
    alone = sweep(Serial(), healthy)
    assert all(store.get(t.key) == alone.get(t.key) for t in healthy)


def test_a_subject_that_exits_is_an_error_of_its_row(module):
    todo = tasks(3)
    todo[1] = Task("hyq", "C5", WORLD, 1, "told_subjects:leaves")
    store = sweep(Serial(), todo)
    assert "SystemExit" in store.get(todo[1].key)["error"]


# -------------------------------------------------------------------------------------- killed runs

DRIVER = """
import json, os, random, signal, sys, time
from theory_checks.engine.engines import Pool, Serial, execute
from theory_checks.engine.store import Store
from theory_checks.engine.tasks import Task

N = 260


def sweep(folder, workers, tasks):
    store = Store(f"{folder}/rows.sqlite")
    assert store.damage == [], store.damage
    todo = [(key, task) for key, task in tasks.items() if store.get(key) is None]
    engine = Pool(workers) if workers else Serial()
    for i, row, seconds, status in engine.map([task for _, task in todo]):
        key, task = todo[i]
        store.put(task, key, row, seconds, status)
        with open(f"{folder}/acknowledged", "a") as f:
            f.write(key + "\\n")
    engine.close()
    digest = store.digest()
    store.close()
    return digest


def life(folder, workers, tasks, seconds, rows):       # one run in its own process group: was it killed in the midst?
    acknowledged = f"{folder}/acknowledged"
    size = os.path.getsize(acknowledged)
    pid = os.fork()
    if pid == 0:
        os.setsid()
        sweep(folder, workers, tasks)
        os._exit(0)
    deadline = time.monotonic() + 60
    while os.path.getsize(acknowledged) < size + 65 * rows and time.monotonic() < deadline:
        time.sleep(0.005)
    time.sleep(seconds)
    os.killpg(pid, signal.SIGKILL)
    return os.waitpid(pid, 0)[1] == signal.SIGKILL


if __name__ == "__main__":
    folder, how = sys.argv[1:]
    tasks = [Task("hyq", "C5", os.environ["WORLD"], i, "told_subjects:told") for i in range(N)]
    tasks = {task.key: task for task in tasks}
    if how == "kill":
        execute(next(iter(tasks.values())).__dict__)   # so that lives start at once
        open(os.environ["WHO"], "w").close()
        dice = random.Random(7)
        said = [life(folder, 0, tasks, dice.uniform(0.05, 0.2), 0) for _ in range(45)]
        said += [life(folder, 2, tasks, dice.uniform(0.05, 0.15), rows) for rows in (0, 1, 2, 3, 4)]
        os.environ["NAP"] = "0"
        print(json.dumps([said.count(True), sweep(folder, 0, tasks)]))
    else:
        sweep(folder, int(how), tasks)
"""


@pytest.fixture
def driver(who, tmp_path, monkeypatch):
    path = tmp_path / "driver.py"
    path.write_text(DRIVER)
    (tmp_path / "acknowledged").touch()
    monkeypatch.setenv("WORLD", WORLD)

    def start(how: str, nap: float) -> subprocess.Popen:
        return subprocess.Popen([sys.executable, str(path), str(tmp_path), how], stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True, start_new_session=True,
                                env=os.environ | {"NAP": str(nap)})
    return start


@pytest.mark.xdist_group("kills")
def test_fifty_kills_lose_no_row(driver, who, tmp_path):
    running = driver("kill", 0.05)      # 260 of these outlast all lives
    out, err = running.communicate(timeout=300)
    assert running.returncode == 0, err
    kills, digest = json.loads(out)
    runs = len(who.read_text().split())
    acknowledged = (tmp_path / "acknowledged").read_text().split()
    print(f"{kills} kills, {len(acknowledged)} rows, {runs} executions")
    assert kills == 50
    assert len(set(acknowledged)) == len(acknowledged) <= 260 <= runs
    with Store(tmp_path / "rows.sqlite") as store:
        assert all(store.get(k) is not None for k in acknowledged)
        assert store.damage == [] and store.status()["rows"] == 260 and store.digest() == digest
    assert runs <= 260 + 45 + 5 * 2, "more than one task a worker was run again after a kill"
    assert digest == undisturbed("told_subjects:told", 260)


@pytest.mark.xdist_group("kills")
@pytest.mark.parametrize("workers", [0, 2])
def test_an_interrupted_run_leaves_the_store_whole(driver, who, tmp_path, workers):
    running = driver(str(workers), 0.05)
    deadline = time.monotonic() + 240
    while (tmp_path / "acknowledged").read_text().count("\n") < 5:
        assert running.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    asked = time.monotonic()
    os.killpg(running.pid, signal.SIGINT)
    _, err = running.communicate(timeout=240)
    print(f"stopped {time.monotonic() - asked:.2f} s after Ctrl-C")
    assert running.returncode != 0 and "KeyboardInterrupt" in err
    acknowledged = (tmp_path / "acknowledged").read_text().split()
    with Store(tmp_path / "rows.sqlite") as store:
        rows = store.status()["rows"]
        assert len(acknowledged) <= rows <= len(acknowledged) + 1 and store.damage == []
        assert all(store.get(k) is not None for k in acknowledged)
