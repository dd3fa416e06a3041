"""A small package of kernels in a folder of its own, and fresh interpreters that run it."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

HELPER = """
from mdpkit.jit import kernel

SCALE = 3.0

def _scale(x):
    return SCALE * x

scale = kernel(_scale)
"""
CALLER = """
from mdpkit.jit import kernel
from toy.helper import scale

def _twice(x):
    return scale(x) + scale(x)

twice = kernel(_twice)
"""
NEIGHBOUR = """
from mdpkit.jit import kernel

def _half(x):
    return 0.5 * x

half = kernel(_half)
"""
ANSWERS = "from toy.caller import twice; from toy.neighbour import half; print(twice(1.0), half(1.0))"


def write(folder: Path, **files: str) -> None:
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / f"{name}.py").write_text(textwrap.dedent(text))


def toy(root: Path) -> Path:
    write(root / "toy", __init__="", helper=HELPER, caller=CALLER, neighbour=NEIGHBOUR)
    return root


def start(root: Path, script: str, **env: str) -> subprocess.Popen:
    """A fresh interpreter that runs ``script``, warnings being errors."""
    settings = {k: v for k, v in os.environ.items() if not k.startswith("NUMBA_")}
    settings |= {"PYTHONPATH": str(root), "MDPKIT_CACHE_DIR": str(root / "cache"), "PYTHONDONTWRITEBYTECODE": "1"} | env
    return subprocess.Popen([sys.executable, "-W", "error", "-c", textwrap.dedent(script)], env=settings, cwd=root,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def run(root: Path, script: str, **env: str) -> str:
    """What a fresh interpreter prints. It must succeed and say nothing on stderr."""
    running = start(root, script, **env)
    out, err = running.communicate()
    assert running.returncode == 0, err
    assert err == ""
    return out.strip()
