"""The C++ camera of the examples as a program."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
import zmq

SOURCE = Path(__file__).parents[1] / "examples" / "camera.cpp"
DECLARED, BUNDLED = Path(__file__).parent / "zmq_declared", Path(zmq.__file__).parents[1] / "pyzmq.libs"


def built(folder: Path, *options: str) -> str:
    """Return the C++ camera as a program, built with libzmq as it is installed, or else with pyzmq's own; skips where there is no g++."""
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("g++ is not installed")
    program, strict = str(folder / "camera"), ("-std=c++17", "-Wall", "-Werror")
    subprocess.run([compiler, *strict, *options, str(SOURCE), *libzmq(compiler), "-o", program], check=True)
    return program


def libzmq(compiler: str) -> list[str]:
    """Return what the compiler has to be told of libzmq."""
    asked = subprocess.run([compiler, "-E", "-include", "zmq.h", "-"], input=b"", capture_output=True, check=False)
    if not asked.returncode:
        return ["-lzmq"]
    library = next(BUNDLED.glob("libzmq*.so*"), None)
    if library is None:
        pytest.skip("libzmq's header zmq.h is not installed, nor does pyzmq bring a libzmq of its own")
    return ["-I", str(DECLARED), str(library), f"-Wl,-rpath,{BUNDLED}", "-Wl,--allow-shlib-undefined"]
