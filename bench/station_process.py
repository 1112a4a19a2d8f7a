"""The station of a bench, kept running as systemd would, with its log and its disk under the bench's control."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil

from daemon.tied_process import end_tied, start_tied

RESTART_S = 1.0  # after an end that the bench did not ask for; systemd waits 5 s
FAILED, REFUSED = 1, 2  # exit codes: systemd starts it again after the first, not after the second
STOP_WITHIN_S = 60.0


class LogPipe:
    """Carries the station's log to a file through this process, as journald does, so that a full disk of the station loses no line."""

    def __init__(self, path: Path) -> None:
        self._read, self.end = os.pipe()
        self._thread = threading.Thread(target=self._copy, args=(path,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Wait for the last line; all processes that write must have ended."""
        os.close(self.end)
        self._thread.join()

    def _copy(self, path: Path) -> None:
        with path.open("ab", buffering=0) as file, os.fdopen(self._read, "rb", buffering=0) as log:
            while block := log.read(65536):
                file.write(block)


class StationProcess:
    """`mdss run`, started again after every end; `incidents` are the ends that no fault asked for."""

    def __init__(self, config: Path, log: Path) -> None:
        self.config, self.incidents = config, list[str]()
        self._pipe = LogPipe(log)
        self._process: subprocess.Popen[bytes] | None = None
        self._start_at_s = float("inf")
        self._is_disk_full = self._began_full = self._is_refused = False

    @property
    def pid(self) -> int | None:
        """The supervisor's process id while it runs."""
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        """Start the station."""
        self._start_at_s, self._is_refused, self._began_full = float("inf"), False, self._is_disk_full
        self._process = start_tied([sys.executable, "-m", "mdss.cli", "run", "--config", str(self.config)], self._pipe.end)
        if self._is_disk_full:
            limit_files(psutil.Process(self._process.pid), is_full=True)

    def tick(self) -> None:
        """Start the station again if it has ended, unless it refused its settings."""
        code = None if self._process is None else self._process.poll()
        if code is not None:
            self._process = None
            if not (self._began_full and code == FAILED):  # started on a full disk, it has to say so and end
                self.incidents.append(f"the station ended by itself with code {code}")
            self._is_refused = code == REFUSED
            self._start_at_s = float("inf") if self._is_refused else time.monotonic() + RESTART_S
        if time.monotonic() >= self._start_at_s:
            self.start()

    def settings_restored(self) -> None:
        """Start the station again if it had refused its settings, as the person who mends them would."""
        if self._is_refused:
            self.start()

    def kill(self) -> None:
        """Kill the supervisor, and wait until its processes are gone, too."""
        if self._process is not None:
            children = self.processes()[1:]
            self._process.kill()
            self._process.wait()
            self._process = None
            psutil.wait_procs(children, timeout=STOP_WITHIN_S)

    def stop(self) -> int | None:
        """Ask the station to stop and return its exit code; None if it did not run or had to be killed."""
        process, self._process = self._process, None
        code = None if process is None else end_tied(process, STOP_WITHIN_S)
        self._pipe.close()
        return code

    def processes(self) -> list[psutil.Process]:
        """Return the supervisor and its processes; an empty list while it does not run."""
        if self._process is None:
            return []
        try:
            supervisor = psutil.Process(self._process.pid)
            return [supervisor, *supervisor.children()]
        except psutil.NoSuchProcess:
            return []

    def fill_disk(self, is_full: bool) -> None:
        """Forbid all processes of the station to write to files, or allow it again."""
        self._is_disk_full = is_full
        for process in self.processes()[:1]:  # first the supervisor, because processes that it starts inherit its limits
            limit_files(process, is_full)
        for process in self.processes()[1:]:
            limit_files(process, is_full)


def limit_files(process: psutil.Process, is_full: bool) -> None:
    """Limit the size of files that the process may write: to nothing, or as before."""
    try:
        _, most = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (0 if is_full else most, most))
    except ProcessLookupError:
        return
