"""Peers in environments of their own, asked over a pipe."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
WORKER = Path(__file__).with_name("_worker.py")
ENVIRONMENTS = Path(os.environ.get("MDPKIT_BENCH_DIR", ROOT / "out" / "bench"))
NEEDS = {"quantecon": ["quantecon==0.11.4"], "toolbox": ["pymdptoolbox", "setuptools<81"], "mdpsolver": ["mdpsolver"],
         "stormpy": ["stormpy"], "nashpy": ["nashpy"], "spiel": ["open-spiel"], "rlberry": ["rlberry-scool"],
         "highs": ["scipy"], "numpy": ["scipy"]}


class Peer:
    """A peer's process; ``missing`` says why there is none."""

    def __init__(self, name: str):
        self.name, self.missing = name, ""
        self._process: subprocess.Popen | None = None
        try:
            python = _environment(name)
        except (OSError, subprocess.SubprocessError) as e:
            self.missing = f"not installed: {type(e).__name__}"
            return
        self._process = subprocess.Popen([python, str(WORKER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                         stderr=subprocess.DEVNULL, text=True)

    def ask(self, job: str, file: Path, tol: float = 0.0) -> dict[str, Any]:
        """Seconds of a solve, and its value, or the error."""
        if self._process is None:
            return {"error": self.missing}
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps({"peer": self.name, "job": job, "file": str(file), "tol": tol}) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except OSError:
            line = ""
        if not line:
            self._process, self.missing = None, "its process ended"
        return json.loads(line) if line else {"error": self.missing}

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()


def _environment(name: str) -> str:
    """The interpreter of a peer's environment, made where it is missing."""
    folder = ENVIRONMENTS / name
    python = folder / "bin" / "python"
    if not (folder / ".ready").exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True, capture_output=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "numpy", "scipy",
                        *NEEDS[name]], check=True, capture_output=True, timeout=600)
        (folder / ".ready").touch()
    return str(python)
