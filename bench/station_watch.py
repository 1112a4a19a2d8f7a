"""Watches the station of a bench from outside: what it reports, and how long each killed process was away."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Self

import msgspec

from daemon.status import StationReport
from daemon.verbs import request_report
from mdss.errors import MdssError
from mdss.settings_access import HttpSettings

LOOK_EVERY_S = 0.05
STATION = "station"


class Recovery(msgspec.Struct, frozen=True):
    """One killed process, or the whole station, and how long it was away."""

    name: str
    killed_ns: int
    seconds: float
    is_hindered: bool  # another fault hit it, or the whole station, before it was ready


class Recoveries:
    """Measures from a kill until the same process is ready again; another kill in between starts the measurement again."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.done = list[Recovery]()
        self.cut_short = 0
        self._clock = clock
        self._waiting: dict[str, tuple[int, float]] = {}  # name -> (killed process id, time of the kill)
        self._hindered, self._hindrances = set[str](), Counter[str]()
        self._lock = threading.Lock()

    def note_kill(self, name: str, pid: int) -> None:
        """Note a kill. If the whole station is killed, measurements of its processes are cut short."""
        with self._lock:
            gone = list(self._waiting) if name == STATION else [name] if name in self._waiting else []
            for each in gone:
                del self._waiting[each]
            self.cut_short += len(gone)
            self._waiting[name] = (pid, self._clock())
            self._hindered -= {name}
            if self._hindrances[name] or self._hindrances[STATION] or (STATION in self._waiting and name != STATION):
                self._hindered.add(name)

    def begin_hindrance(self, name: str) -> None:
        """Note that another fault keeps this process from being ready from now on; the station's name stands for all processes."""
        with self._lock:
            self._hindrances[name] += 1
            self._hindered |= {each for each in self._waiting if name in (each, STATION) or each == STATION}

    def end_hindrance(self, name: str) -> None:
        """Note that this fault is over."""
        with self._lock:
            self._hindrances[name] -= 1

    def see(self, report: StationReport) -> None:
        """Take a report of the station, and note which killed processes are ready again."""
        ready = {process.name: process.pid for process in report.processes if process.is_ready}
        with self._lock:
            for name, (killed, at_s) in list(self._waiting.items()):
                away_s = self._clock() - at_s
                # The new station has started up (processes killed since do not matter); an older uptime is that of the killed one.
                is_new = report.state != "starting" and report.uptime_s < away_s
                if is_new if name == STATION else ready.get(name) not in (None, killed):
                    self.done.append(Recovery(name, time.time_ns() - int(away_s * 1e9), round(away_s, 2), name in self._hindered))
                    del self._waiting[name]


class Watch:
    """Asks for /status many times a second, in a thread, because a stopped supervisor lets it wait."""

    def __init__(self, http: HttpSettings) -> None:
        self.report: StationReport | None = None
        self._pids: dict[str, int | None] = {}
        self.recoveries = Recoveries()
        self.errors: dict[str, None] = {}  # reasons of the state `error`, each once
        self._http, self._stop = http, threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    @property
    def is_ready(self) -> bool:
        """Whether the station answers and says that all its processes can work."""
        return self.report is not None and self.report.is_ready

    @property
    def has_started(self) -> bool:
        """Whether the station answers and is no longer starting."""
        return self.report is not None and self.report.state != "starting"

    @property
    def names(self) -> dict[int | None, str]:
        """The processes' names by their last known ids."""
        return {pid: name for name, pid in self._pids.items()}

    def pid(self, name: str) -> int | None:
        """Return the last known id of a process, which may be gone by now."""
        return self._pids.get(name)

    def _look(self) -> None:
        while not self._stop.wait(LOOK_EVERY_S):
            try:
                self.report = request_report(self._http)
            except MdssError:
                self.report = None
                continue
            self._pids = {process.name: process.pid for process in self.report.processes}
            self.recoveries.see(self.report)
            if self.report.state == "error":
                self.errors[self.report.reason] = None
