"""The four pages of the status server, over real HTTP."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

from daemon.status import LIVE_WITHIN_S, Board, ProcessReport, ReloadReport, StationReport, serve
from mdss.errors import MdssError
from mdss.wire.messages import Heartbeat
from tests.fakes import FakeClock

FUSION = ProcessReport(name="fusion", state="running", reason="", is_ready=True, pid=7, steps=3, waiting=2, restarts=1, silence_s=0.5)


class Station:
    """A board with its server on a free port."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.board = Board("line 1", self.clock)
        self.server = serve(self.board, "127.0.0.1", 0)
        self.port = self.server.server_address[1]

    def get(self, path: str) -> tuple[int, str]:
        """Return the status and text of a page."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as page:
                return page.status, page.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def show(self, is_ready: bool, reason: str = "") -> None:
        """Show a report with one process."""
        state = "running" if is_ready else "degraded"
        self.board.show(StationReport(station="line 1", state=state, reason=reason, is_ready=is_ready, uptime_s=5, processes=(FUSION,)))  # type: ignore[arg-type]


@pytest.fixture
def station() -> Iterator[Station]:
    running = Station()
    yield running
    running.server.shutdown()
    running.server.server_close()


def test_a_station_that_starts_is_live_but_not_ready(station: Station) -> None:
    assert station.get("/livez") == (200, "live\n")
    assert station.get("/readyz")[0] == 503


def test_ready_follows_the_report_and_says_why_not(station: Station) -> None:
    station.show(is_ready=True)
    assert station.get("/readyz") == (200, "ready\n")
    station.show(is_ready=False, reason="rgb-0: ended with code -9")
    assert station.get("/readyz") == (503, "degraded: rgb-0: ended with code -9\n")


def test_a_supervisor_that_stands_still_is_not_live(station: Station) -> None:
    station.clock.advance(LIVE_WITHIN_S + 1)
    assert station.get("/livez")[0] == 503


def test_status_lists_every_process(station: Station) -> None:
    station.show(is_ready=True)
    code, text = station.get("/status")
    report = json.loads(text)
    assert (code, report["station"], report["processes"][0]["name"]) == (200, "line 1", "fusion")


def test_metrics_hold_what_the_processes_and_the_supervisor_count(station: Station) -> None:
    station.show(is_ready=True)
    counters = {'mdss_verdicts_total{evaluation="OK",code=""}': 4.0}
    station.board.hear(Heartbeat(process="fusion", pid=7, state="running", reason="", steps=3, waiting=0, counters=counters, timings={}))
    code, text = station.get("/metrics")
    assert code == 200
    lines = text.splitlines()
    assert 'mdss_verdicts_total{code="",evaluation="OK"} 4.0' in lines
    assert 'mdss_worker_restarts_total{process="fusion"} 1.0' in lines
    assert "mdss_station_ready 1.0" in lines


def test_an_unknown_page_names_the_known_ones(station: Station) -> None:
    code, text = station.get("/health")
    assert code == 404
    assert "/readyz" in text


def test_a_port_that_is_taken_is_named(station: Station) -> None:
    with pytest.raises(MdssError, match=f"127.0.0.1:{station.port} cannot be opened"):
        serve(station.board, "127.0.0.1", station.port)


def test_before_the_first_reload_there_is_none_to_show_and_nothing_to_complain_of(station: Station) -> None:
    station.show(is_ready=True)
    assert json.loads(station.get("/status")[1])["reload"] is None
    lines = station.get("/metrics")[1].splitlines()
    assert {'mdss_reloads_total{result="applied"} 0.0', 'mdss_reloads_total{result="refused"} 0.0'} <= set(lines)
    assert {"mdss_last_reload_success 1.0", "mdss_last_reload_timestamp_seconds 0.0"} <= set(lines)


def test_reloads_are_counted_and_the_last_one_is_told_with_its_time(station: Station) -> None:
    station.board.reloaded(ReloadReport(at_ns=5 * 10**9, is_applied=True, reason="", keys=("camera.credit",)))
    station.board.reloaded(ReloadReport(at_ns=7 * 10**9, is_applied=False, reason="needs a restart: http.port"))
    lines = station.get("/metrics")[1].splitlines()
    assert {'mdss_reloads_total{result="applied"} 1.0', 'mdss_reloads_total{result="refused"} 1.0'} <= set(lines)
    assert {"mdss_last_reload_success 0.0", "mdss_last_reload_timestamp_seconds 7.0"} <= set(lines)
