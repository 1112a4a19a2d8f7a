"""Cameras and subscribers of a bench with a station: processes that are killed, started again, and asked to finish."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from daemon.tied_process import start_tied


class LoadProcess:
    """One process with its own log, from which it continues when it is started again."""

    def __init__(self, module: str, name: str, arguments: Sequence[str], folder: Path) -> None:
        self.name, self.log, self.incidents = name, folder / f"{name}.jsonl", list[str]()
        self._words, self._command = folder / f"{name}.log", [sys.executable, "-m", module, *arguments, "--log", str(self.log)]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the process."""
        with self._words.open("ab") as output:
            self._process = start_tied(self._command, output)

    def kill(self) -> None:
        """Kill the process and wait for its end."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def tick(self) -> None:
        """Start the process again if it ended without being killed, and note this as an incident."""
        if self._process is not None and self._process.poll() is not None:
            self.incidents.append(f"{self.name} ended by itself with code {self._process.returncode} (see {self._words})")
            self.start()

    def ask_to_finish(self) -> None:
        """Send SIGTERM."""
        if self._process is not None:
            self._process.terminate()

    def wait(self, end_s: float) -> bool:
        """Return whether the process ends with code 0 before `end_s` (monotonic clock); it is killed if it does not end by then."""
        if self._process is None:
            return False
        try:
            return self._process.wait(max(0.0, end_s - time.monotonic())) == 0
        except subprocess.TimeoutExpired:
            self.kill()
            return False
