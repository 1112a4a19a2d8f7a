"""Measures a whole station, from a camera's frame to the verdict that a subscriber hears: rate, latency, memory, start."""

from __future__ import annotations

import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from daemon.private_redis import PrivateRedis
from daemon.recording import NOT_MEASURED
from daemon.verbs import request_report
from demo.station import StationFolders, camera_of, running_station
from mdss.client import FrameSender, VerdictStream
from mdss.errors import MdssError
from mdss.settings import Settings
from mdss.wire.verdict import Verdict
from measure.overhead import DeliveredVerdict, Spans, busy_spans, networks_ns, stage_overheads_ms, utc_ns
from measure.results import EndToEnd, OverheadShare, percentile
from measure.stages import LEAST_PARTS, Effort
from measure.subject import Scan, Size, Subject
from trainer.progress import Meter

PARTS_TO_FILL = 6  # parts until the station is full; they do not count
PATIENCE_S = 180.0
LISTEN_S = 0.1


@dataclass(frozen=True)
class LineFigures:
    """The figures of one station."""

    end_to_end: dict[str, EndToEnd]
    memory_mb: dict[str, float]
    start_to_ready_s: float


class Listener:
    """A subscriber in its own thread that notes when it hears each verdict (monotonic ns)."""

    def __init__(self, settings: Settings) -> None:
        self.heard: dict[str, tuple[int, Verdict]] = {}
        self._place, self._stop = settings.verdicts, threading.Event()
        self._thread = threading.Thread(target=self._listen, name="subscriber", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stop.set()
        self._thread.join()

    def _listen(self) -> None:
        with VerdictStream(self._place.endpoint, self._place.snapshot_endpoint, since=0) as stream:
            while not self._stop.is_set():
                verdict = stream.receive(LISTEN_S)
                if verdict is not None:
                    self.heard[verdict.part_id] = (time.monotonic_ns(), verdict)


@dataclass
class Latencies:
    """How long parts took from the camera's call to the subscriber, and how much of that was not spent in networks."""

    total_ms: list[float] = field(default_factory=list)
    overhead_ms: list[float] = field(default_factory=list)
    stage_overheads_ms: dict[str, list[float]] = field(default_factory=dict)

    def add(self, part: DeliveredVerdict, busy: Spans) -> None:
        """Add one part; `busy` says when a network was at work on any part."""
        total_ns, in_networks_ns = part.heard - part.sent, networks_ns(part.verdict.times, busy)
        self.total_ms.append(total_ns / 1e6)
        self.overhead_ms.append((total_ns - in_networks_ns) / 1e6)
        for name, spent_ms in stage_overheads_ms(part, in_networks_ns).items():
            self.stage_overheads_ms.setdefault(name, []).append(spent_ms)


class MeasuredStation:
    """A running station with one camera and one subscriber."""

    def __init__(self, subject: Subject, sender: FrameSender, listener: Listener) -> None:
        self._subject, self._sender, self._listener = subject, sender, listener
        self._sent = 0

    def figures(self, size: Size, effort: Effort) -> EndToEnd:
        """Measure at one size: first at full load, then at half of that rate."""
        scans, before = self._subject.scans_at(size), set(self._listener.heard)
        rate = self.rate(scans, effort, f"full load {size}")
        latencies = self.latencies(scans, effort, f"half load {size}", rate / 2)
        verdicts = Counter(verdict.evaluation for name, (_, verdict) in self._listener.heard.items() if name not in before)
        return EndToEnd(
            parts_per_s=round(rate, 2),
            p50_ms=percentile(latencies.total_ms, 0.5),
            p99_ms=percentile(latencies.total_ms, 0.99),
            overhead_p50_ms=percentile(latencies.overhead_ms, 0.5),
            overhead_p99_ms=percentile(latencies.overhead_ms, 0.99),
            overhead={name: OverheadShare.of(spent_ms) for name, spent_ms in latencies.stage_overheads_ms.items()},
            parts=len(latencies.total_ms),
            not_ok=round(1 - verdicts["OK"] / verdicts.total(), 3),
        )

    def rate(self, scans: tuple[Scan, ...], effort: Effort, title: str) -> float:
        """Return the verdicts per second while the camera uses all its credit."""
        with Meter(title, effort.parts) as meter:
            return rate_of(self.send_at_full_load(scans, effort, meter.step))

    def send_at_full_load(self, scans: tuple[Scan, ...], effort: Effort, step: Callable[[], object] = lambda: None) -> list[int]:
        """Send parts as fast as credit allows, with `step()` after each that counts; return when each verdict was heard (monotonic ns)."""
        names = [self._send(scans[number % len(scans)]) for number in range(PARTS_TO_FILL)]
        for number in effort.numbers():
            names.append(self._send(scans[number % len(scans)]))
            step()
        self._wait()
        return [self._delivery_of(name)[0] for name in names]

    def latencies(self, scans: tuple[Scan, ...], effort: Effort, title: str, rate: float) -> Latencies:
        """Return the latencies of parts that come at an even pace, for one scan after the other."""
        found = Latencies()
        share = Effort(max(LEAST_PARTS, effort.parts // len(scans)), effort.longest_s / len(scans))
        with Meter(title, share.parts * len(scans)) as meter:
            for scan in scans:
                sent = self._paced(scan, share, 1 / rate, meter)
                heard = {name: self._delivery_of(name) for name in sent}
                busy = busy_spans(verdict for _, verdict in heard.values())
                for name, (heard_ns, verdict) in heard.items():
                    found.add(DeliveredVerdict(verdict, utc_ns(sent[name]), utc_ns(heard_ns)), busy)
        return found

    def _paced(self, scan: Scan, effort: Effort, pause_s: float, meter: Meter) -> dict[str, int]:
        """Send one scan repeatedly, `pause_s` apart; return when each was sent (monotonic ns)."""
        sent, due_s = {}, time.monotonic()
        for _ in effort.numbers():
            now_ns = time.monotonic_ns()
            sent[self._send(scan)] = now_ns
            due_s += pause_s
            self._sender.attend(max(0.0, due_s - time.monotonic()))
            meter.step()
        self._wait()
        return sent

    def _send(self, scan: Scan) -> str:
        self._sent += 1
        name = f"{self._sender.source_id}-{self._sent}"
        self._sender.send(
            scan.rgb,
            scan.xyz,
            part_id=name,
            recipe_id=self._subject.recipe,
            unit=self._subject.unit,
            invalid=NOT_MEASURED,
            is_simulated=True,
        )
        return name

    def _wait(self) -> None:
        if not self._sender.wait_until_done(PATIENCE_S):
            raise MdssError(f"{self._sender.outstanding} parts have no verdict after {PATIENCE_S:g} s; expected a station that keeps up")
        for nack in self._sender.rejected.values():
            raise MdssError(f"the station refused a scan: {nack.code}: {nack.reason}")

    def _delivery_of(self, name: str) -> tuple[int, Verdict]:
        """Return when a part's verdict was heard, and the verdict. MdssError if it is missing or Undefined, which says nothing of speed."""
        end_s = time.monotonic() + PATIENCE_S
        while name not in self._listener.heard and time.monotonic() < end_s:
            time.sleep(LISTEN_S)
        if name not in self._listener.heard:
            raise MdssError(f"the verdict on {name} was not heard after {PATIENCE_S:g} s, though its camera knows that it was judged")
        heard_ns, verdict = self._listener.heard[name]
        if verdict.evaluation == "Undefined":
            raise MdssError(f"{name} is Undefined/{verdict.code} ({'; '.join(verdict.reasons)}); expected scans that can be judged in time")
        return heard_ns, verdict


def rate_of(heard_ns: Iterable[int]) -> float:
    """Return the verdicts per second once the station was full."""
    full_ns = sorted(heard_ns)[PARTS_TO_FILL:]
    return (len(full_ns) - 1) / (full_ns[-1] - full_ns[0]) * 1e9


def memory_mb(settings: Settings) -> dict[str, float]:
    """Return the memory of each process in MB: its PSS, which shares out what several use; its RSS if the PSS cannot be read."""
    pids = {process.name: process.pid for process in request_report(settings.http).processes if process.pid is not None}
    found = {name: psutil.Process(pid) for name, pid in pids.items()}
    parents = [process.parent() for process in found.values()]
    return {name: _megabytes(process) for name, process in {"supervisor": parents[0], **found}.items() if process is not None}


def _megabytes(process: psutil.Process) -> float:
    try:
        return round(float(process.memory_full_info().pss) / 1e6, 1)
    except (psutil.AccessDenied, AttributeError):
        return round(float(process.memory_info().rss) / 1e6, 1)


@contextmanager
def station(subject: Subject, **sections: dict[str, Any]) -> Iterator[tuple[Settings, float]]:
    """Run a station in its own folder with these settings added; yield all settings and the seconds until it was ready."""
    with tempfile.TemporaryDirectory(prefix="mdss-") as folder, PrivateRedis(Path(folder)) as redis:
        place = StationFolders(Path(folder) / "state", Path(folder), subject.store)
        config = place.write_settings(subject.recipe, redis.url, verdicts={"publish_maps": False}, **sections)
        started_s = time.monotonic()
        with running_station(config) as settings:
            yield settings, time.monotonic() - started_s


def measure_line(subject: Subject, sizes: tuple[Size, ...], effort: Effort) -> LineFigures:
    """Start a station, send it scans of each size, and read its memory when all are judged."""
    with station(subject) as (settings, ready_s), camera_of(settings, "bench") as sender:
        listener = Listener(settings)
        try:
            line = MeasuredStation(subject, sender, listener)
            end_to_end = {str(size): line.figures(size, effort) for size in sizes}
        finally:
            listener.stop()
        return LineFigures(end_to_end, memory_mb(settings), round(ready_s, 2))
