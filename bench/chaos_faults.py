"""Lets the faults of a plan happen: each begins at its time, and is undone when its time is over."""

from __future__ import annotations

import heapq
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import count, cycle

import msgspec
import psutil
import yaml

from bench.bench_log import LineLog
from bench.bench_station import BenchStation
from bench.chaos_plan import PROCESSES, Kind, PlannedFault
from bench.load_process import LoadProcess
from bench.station_watch import STATION
from mdss.whole_files import write_whole

TURN_S = 0.02
AGAIN_S = 0.3
BROKEN = "fusion: {guard_band_ratio: much}\n"
GUARD_BANDS = (0.01, 0.0)  # what a changed file says; either value leaves most parts as they were
Undo = Callable[[], None]


@dataclass(frozen=True)
class FaultTargets:
    """Everything that a fault can hit."""

    station: BenchStation
    cameras: tuple[LoadProcess, ...]
    subscriber: LoadProcess


class FaultEvent(msgspec.Struct, frozen=True):
    """One line of the log of faults: what began, and whom it hit."""

    at_ns: int
    kind: Kind
    target: str
    lasts_s: float


class Injector:
    """Plays a plan. `done` counts the faults by kind, `killed` the killed processes by name, `missed` the faults that hit nobody."""

    def __init__(self, targets: FaultTargets, log: LineLog[FaultEvent]) -> None:
        self.done, self.killed, self.missed = Counter[str](), Counter[str](), 0
        self._station, self._subscriber, self._log = targets.station, targets.subscriber, log
        self._cameras, self._bands = cycle(targets.cameras), cycle(GUARD_BANDS)
        self._settings = self._station.daemon.config.read_text("utf-8")
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._order, self._end_s = count(), 0.0

    def play(self, plan: Iterable[PlannedFault], seconds: float) -> None:
        """Let all faults happen; return when the time is over and the last fault is undone."""
        begun_s = time.monotonic()
        self._end_s = begun_s + seconds
        for fault in plan:
            self._at(begun_s + fault.at_s, partial(self._begin, fault))
        while self._due or time.monotonic() < self._end_s:
            while self._due and self._due[0][0] <= time.monotonic():
                heapq.heappop(self._due)[2]()
            self._station.tick()
            time.sleep(TURN_S)

    def _at(self, at_s: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._due, (at_s, next(self._order), action))

    def _begin(self, fault: PlannedFault) -> None:
        """Let a fault happen; if its target does not run, try again a little later."""
        undo = self._inject(fault)
        if undo is None:
            again_s = time.monotonic() + AGAIN_S
            if again_s < self._end_s:
                self._at(again_s, partial(self._begin, fault))
            else:
                self.missed += 1
            return
        self.done[fault.kind] += 1
        self._log.write(FaultEvent(time.time_ns(), fault.kind, fault.target, round(fault.lasts_s, 2)))
        self._at(time.monotonic() + fault.lasts_s, undo)

    def _inject(self, fault: PlannedFault) -> Undo | None:
        """Do the fault and return what undoes it; None if its target does not run."""
        happen: dict[Kind, Callable[[], Undo | None]] = {
            "kill": lambda: self._kill(fault.target),
            "stop": lambda: self._stop(fault.target),
            "hang": lambda: self._stop(fault.target),
            "kill_station": self._kill_station,
            "stop_supervisor": self._stop_supervisor,
            "disk_full": self._fill_disk,
            "reload": self._reload,
            "broken_reload": self._break_settings,
            "redis_killed": lambda: self._end_redis(self._station.redis.kill),
            "redis_stopped": lambda: self._end_redis(self._station.redis.stop),
            "redis_hangs": self._stop_redis,
            "kill_camera": lambda: kill_load_process(next(self._cameras)),
            "kill_subscriber": lambda: kill_load_process(self._subscriber),
        }
        return happen[fault.kind]()

    def _kill(self, target: str) -> Undo | None:
        found = self._running(target)
        if found is None:
            return None
        name, process = found
        self._station.watch.recoveries.note_kill(name, process.pid)
        process.kill()
        self.killed[name] += 1
        return nothing

    def _running(self, target: str) -> tuple[str, psutil.Process] | None:
        """Return the name and the process of a target; if it does not run, the next one of the table that does."""
        running = {process.pid: process for process in self._station.daemon.processes() if is_alive(process)}
        first = PROCESSES.index(target)
        for name in (*PROCESSES[first:], *PROCESSES[:first]):
            pid = self._station.watch.pid(name)
            if pid in running:
                return name, running[pid]
        return None

    def _stop(self, target: str) -> Undo | None:
        found = self._running(target)
        return None if found is None else self._suspend(*found)

    def _stop_supervisor(self) -> Undo | None:
        supervisor = self._station.daemon.processes()[:1]
        return self._suspend(STATION, supervisor[0]) if supervisor else None

    def _suspend(self, name: str, process: psutil.Process) -> Undo:
        process.suspend()

        def resume() -> None:
            with suppress(psutil.NoSuchProcess):
                process.resume()

        return self._while_hindered(name, resume)

    def _while_hindered(self, name: str, undo: Undo) -> Undo:
        """Note that killed processes may be away longer until this is undone; return what undoes it."""
        recoveries = self._station.watch.recoveries
        recoveries.begin_hindrance(name)

        def relieve() -> None:
            undo()
            recoveries.end_hindrance(name)

        return relieve

    def _kill_station(self) -> Undo | None:
        daemon = self._station.daemon
        if daemon.pid is None:
            return None
        self._station.watch.recoveries.note_kill(STATION, daemon.pid)
        daemon.kill()
        self.killed[STATION] += 1
        return daemon.start

    def _fill_disk(self) -> Undo:
        daemon = self._station.daemon
        daemon.fill_disk(is_full=True)
        return self._while_hindered(STATION, lambda: daemon.fill_disk(is_full=False))

    def _end_redis(self, end: Callable[[], None]) -> Undo:
        end()
        return self._while_hindered("alerts", self._station.redis.start)

    def _stop_redis(self) -> Undo:
        os.kill(self._redis_pid, signal.SIGSTOP)
        return self._while_hindered("alerts", lambda: os.kill(self._redis_pid, signal.SIGCONT))

    @property
    def _redis_pid(self) -> int:
        assert self._station.redis.pid is not None  # its faults never overlap, and each starts it again
        return self._station.redis.pid

    def _reload(self) -> Undo | None:
        if not self._station.watch.has_started:  # as `systemctl reload` waits for the start to finish
            return None
        self._settings = with_guard_band(self._settings, next(self._bands))
        return self._reload_settings(self._settings)

    def _break_settings(self) -> Undo | None:
        return self._reload_settings(self._settings + BROKEN) if self._station.watch.has_started else None

    def _restore_settings(self) -> None:
        write_whole(self._station.daemon.config, self._settings.encode())
        self._station.daemon.settings_restored()

    def _reload_settings(self, settings: str) -> Undo | None:
        """Write the settings file and send SIGHUP; return what writes the good settings again."""
        daemon = self._station.daemon
        if daemon.pid is None:
            return None
        write_whole(daemon.config, settings.encode())
        os.kill(daemon.pid, signal.SIGHUP)
        return self._restore_settings


def kill_load_process(process: LoadProcess) -> Undo:
    """Kill a camera or the subscriber; return what starts it again."""
    process.kill()
    return process.start


def with_guard_band(settings: str, guard_band_ratio: float) -> str:
    """Return the settings with another guard band."""
    tree = yaml.safe_load(settings)
    tree["fusion"] = (tree.get("fusion") or {}) | {"guard_band_ratio": guard_band_ratio}
    return yaml.safe_dump(tree, sort_keys=False)


def is_alive(process: psutil.Process) -> bool:
    """Return whether a process runs; a zombie does not."""
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def nothing() -> None:
    """Undo a fault that lasts no time."""
