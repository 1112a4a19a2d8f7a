"""Short runs of the benches that need a station, as a person starts them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TypeVar

import msgspec

from tests.station import NAME, Trained

Report = TypeVar("Report")


def run_bench(trained: Trained, folder: Path, kind: type[Report], *words: str) -> Report:
    """Run a bench and return its report; it must end well."""
    written = folder / "report.json"
    line = ["--data", str(trained.data), "--store", str(trained.store), "--recipe", NAME]
    command = [sys.executable, "-m", *words, *line, "--out", str(folder / "out"), "--json", str(written)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return msgspec.json.decode(written.read_bytes(), type=kind)
