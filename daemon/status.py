"""The station's HTTP pages /livez, /readyz, /status and /metrics, for probes, people and Prometheus."""

from __future__ import annotations

import hmac
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any, get_args

import msgspec
import structlog
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from daemon.metrics import Ledger, counter, gauge
from daemon.recipe_models import RecipeReport
from daemon.retrain_metrics import Records, RetrainCollector
from mdss.drift_record import DriftWarning
from mdss.errors import MdssError
from mdss.retraining import RetrainRecord
from mdss.wire.messages import Heartbeat, ProcessState

LIVE_WITHIN_S = 10.0
STANDS_STILL = "the supervisor's loop stands still"
REQUEST_WITHIN_S = 5.0  # seconds from the first byte of a request to its answer
MOST_REQUESTS = 32  # open at the same time
ENDS_WITHIN_S = 0.1  # seconds after being asked to end
CAMERA_GAUGES = {"cameras": "mdss_sources", "silent_cameras": "mdss_sources_silent", "misdated_cameras": "mdss_sources_misdated"}
NO_TOKEN = (401, "text/plain; charset=utf-8", b"expected the header Authorization: Bearer TOKEN, as in http.token_file\n")
Connection = socket.socket | tuple[bytes, socket.socket]  # as socketserver declares it; over tcp always a socket
log = structlog.get_logger()


class ProcessReport(msgspec.Struct, frozen=True, kw_only=True):
    """One process as the supervisor sees it."""

    name: str
    state: ProcessState
    reason: str
    is_ready: bool
    pid: int | None
    steps: int
    waiting: int
    restarts: int
    silence_s: float


class ReloadReport(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome of the last reload; `keys` are those that the file had changed."""

    at_ns: int  # UTC
    is_applied: bool
    reason: str
    keys: tuple[str, ...] = ()


class StationReport(msgspec.Struct, frozen=True, kw_only=True):
    """The station as /status shows it."""

    station: str
    state: ProcessState
    reason: str
    is_ready: bool
    uptime_s: float
    processes: tuple[ProcessReport, ...] = ()
    models: tuple[RecipeReport, ...] = ()
    reload: ReloadReport | None = None
    drift: tuple[DriftWarning, ...] = ()
    retrainings: tuple[RetrainRecord, ...] = ()
    cameras: int = 0  # cameras that have said HELLO and not EOS
    silent_cameras: int = 0  # of these
    misdated_cameras: int = 0  # of these; the capture time of their last new frame cannot be right


class Board:
    """What the supervisor publishes and the HTTP threads read: the last report and the summed metrics."""

    def __init__(
        self, station: str, clock: Callable[[], float], drift: Callable[[], tuple[DriftWarning, ...]] = tuple, retrainings: Records = tuple
    ) -> None:
        self._drift, self._retrainings = drift, retrainings
        self._clock, self._ledger = clock, Ledger()
        self._shown_s, self.started_s, self.began_s = clock(), clock(), time.time()
        self._report = StationReport(station=station, state="starting", reason="", is_ready=False, uptime_s=0.0)
        self.last_reload: ReloadReport | None = None
        self.reloads = {"applied": 0, "refused": 0}
        self._registry = CollectorRegistry()
        self._registry.register(self._ledger)
        self._registry.register(ReportCollector(self))
        self._registry.register(RetrainCollector(retrainings))

    @property
    def report(self) -> StationReport:
        """The last report; if the supervisor's loop stands still, the report says so, because nobody knows whether the rest still holds."""
        if self.is_live:
            return self._report
        return msgspec.structs.replace(self._report, state="degraded", reason=STANDS_STILL, is_ready=False)

    @property
    def is_live(self) -> bool:
        """Whether the supervisor has published a report lately."""
        return self._clock() - self._shown_s < LIVE_WITHIN_S

    def show(self, report: StationReport) -> None:
        """Publish a new report."""
        self._report, self._shown_s = report, self._clock()

    def reloaded(self, report: ReloadReport) -> None:
        """Keep the outcome of a reload for the next report."""
        self.last_reload = report
        self.reloads["applied" if report.is_applied else "refused"] += 1

    def hear(self, heartbeat: Heartbeat) -> None:
        """Take the counters and timings of a heartbeat."""
        self._ledger.hear(heartbeat)

    def close(self, pid: int) -> None:
        """Keep the counters of a process that has ended."""
        self._ledger.close(pid)

    def answer(self, path: str) -> tuple[int, str, bytes]:
        """Return HTTP status, content type and body of a page."""
        report = self.report
        if path == "/metrics":
            return 200, CONTENT_TYPE_LATEST, generate_latest(self._registry)
        if path == "/status":
            counted = {field: self._ledger.gauge(name) for field, name in CAMERA_GAUGES.items()}
            heard = {"drift": self._drift(), "retrainings": self._retrainings(), **counted}
            return 200, "application/json", msgspec.json.encode(msgspec.structs.replace(report, **heard))
        if path == "/livez":
            return sentence(self.is_live, "live", STANDS_STILL)
        if path == "/readyz":
            return sentence(report.is_ready, "ready", f"{report.state}: {report.reason}")
        return 404, "text/plain; charset=utf-8", b"expected /livez, /readyz, /status or /metrics\n"


def sentence(is_good: bool, good: str, bad: str) -> tuple[int, str, bytes]:
    """Return 200 and the good word, or 503 and the reason."""
    return (200 if is_good else 503), "text/plain; charset=utf-8", f"{good if is_good else bad}\n".encode()


class ReportCollector(Collector):
    """The supervisor's own metrics: state and restarts of each process, models, reloads."""

    def __init__(self, board: Board) -> None:
        self._board = board

    def collect(self) -> list[Metric]:
        """Return the metric families of the last report."""
        report = self._board.report
        up = gauge("mdss_process_ready", "process")
        waiting = gauge("mdss_queue_length", "process")
        restarts = counter("mdss_worker_restarts_total", "process")
        for process in report.processes:
            up.add_metric([process.name], float(process.is_ready))
            waiting.add_metric([process.name], process.waiting)
            restarts.add_metric([process.name], process.restarts)
        ready = gauge("mdss_station_ready")
        ready.add_metric([], float(report.is_ready))
        return [*self._life(report.state), ready, up, waiting, restarts, *model_families(report.models), *self._reloads()]

    def _life(self, now: ProcessState) -> list[Metric]:
        """Return the station's start time, which shows a station that restarts again and again, and its state."""
        began, states = gauge("mdss_station_start_timestamp_seconds"), gauge("mdss_station_state", "state")
        began.add_metric([], self._board.began_s)
        for state in get_args(ProcessState):
            states.add_metric([state], float(state == now))
        return [began, states]

    def _reloads(self) -> list[Metric]:
        last = self._board.last_reload
        tried = counter("mdss_reloads_total", "result")
        for result, count in self._board.reloads.items():
            tried.add_metric([result], count)
        success = gauge("mdss_last_reload_success")
        success.add_metric([], float(last is None or last.is_applied))
        time_s = gauge("mdss_last_reload_timestamp_seconds")
        time_s.add_metric([], 0.0 if last is None else last.at_ns / 1e9)
        return [tried, success, time_s]


def model_families(recipes: tuple[RecipeReport, ...]) -> list[Metric]:
    """Return which model judges each recipe, its memory, and how often models were changed or refused."""
    info = gauge("mdss_model_info", "recipe", "version")
    generation = gauge("mdss_model_generation", "recipe")
    memory = gauge("mdss_model_memory_bytes", "recipe")
    swaps = counter("mdss_model_swaps_total", "recipe")
    failures = counter("mdss_model_swap_failures_total", "recipe")
    for each in recipes:
        if each.version:
            info.add_metric([each.recipe, each.version], 1.0)
        generation.add_metric([each.recipe], each.generation)
        memory.add_metric([each.recipe], each.memory_bytes)
        swaps.add_metric([each.recipe], each.swaps)
        failures.add_metric([each.recipe], each.failures)
    return [info, generation, memory, swaps, failures]


class Pages(ThreadingHTTPServer):
    """Answers each request in its own thread, with limits on their number and duration."""

    daemon_threads, request_queue_size = True, MOST_REQUESTS

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        self._open: dict[Connection, float] = {}
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, handler)

    def server_bind(self) -> None:
        """Bind without looking up the host name, as HTTPServer would: a name server that is away blocks for 10 s."""
        TCPServer.server_bind(self)

    def process_request(self, request: Connection, client_address: Any) -> None:
        """Accept a connection, or close it at once if too many are open."""
        if len(self._open) >= MOST_REQUESTS:
            self.shutdown_request(request)
            return
        self._open[request] = time.monotonic()
        super().process_request(request, client_address)

    def shutdown_request(self, request: Connection) -> None:
        """Close a connection that has been answered."""
        self._open.pop(request, None)
        super().shutdown_request(request)

    def service_actions(self) -> None:
        """Cut off requests that take too long; the server calls this in each round of its loop."""
        for request, began_s in list(self._open.items()):
            if time.monotonic() - began_s > REQUEST_WITHIN_S and isinstance(request, socket.socket):
                with suppress(OSError):
                    request.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Connection, client_address: Any) -> None:
        """Report only faults of the station itself, not clients that left or were cut off."""
        error = sys.exception()
        if not isinstance(error, (ConnectionError, TimeoutError)):
            log.error("a page could not be answered", exc_info=error)


def serve(board: Board, host: str, port: int, token: str | None = None) -> Pages:
    """Start answering in background threads until `shutdown` is called; with a token, requests without it are refused."""
    expected = None if token is None else f"Bearer {token}".encode()

    class Page(BaseHTTPRequestHandler):
        """One request."""

        server_version, sys_version, timeout = "mdss", "", REQUEST_WITHIN_S

        def do_GET(self) -> None:
            """Answer from the board."""
            given = self.headers.get("Authorization", "").encode("utf-8", "replace")
            may = expected is None or hmac.compare_digest(given, expected)
            path, _, _ = self.path.partition("?")  # some probes add a question of their own, against caches
            code, content_type, body = board.answer(path) if may else NO_TOKEN
            self.send_response(code)
            if not may:
                self.send_header("WWW-Authenticate", "Bearer")
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_HEAD = do_GET  # noqa: N815 - the name that the base has

        def log_message(self, *_: object) -> None:
            """Write no log line: probes come every few seconds."""

    try:
        server = Pages((host, port), Page)
    except OSError as error:
        raise MdssError(f"http: {host}:{port} cannot be opened ({error.strerror}): expected a free port of this machine") from error
    threading.Thread(target=server.serve_forever, args=(ENDS_WITHIN_S,), name="status", daemon=True).start()
    return server
