"""The C++ camera of the examples as a program."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "examples" / "camera.cpp"


def built(folder: Path, *options: str) -> str:
    """Return the C++ camera as a program; skips where it cannot be built."""
    compiler = shutil.which("g++")
    if (
        compiler is None
        or subprocess.run([compiler, "-E", "-include", "zmq.h", "-"], input=b"", capture_output=True, check=False).returncode
    ):
        pytest.skip("g++ or libzmq's header zmq.h is not installed")
    program = str(folder / "camera")
    subprocess.run([compiler, "-std=c++17", "-Wall", "-Werror", *options, str(SOURCE), "-lzmq", "-o", program], check=True)
    return program
