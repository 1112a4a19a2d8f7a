"""The four pages of the status server, over real HTTP."""

from __future__ import annotations

import json
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import get_args

import pytest

from daemon import verbs
from daemon.recipe_models import RecipeReport
from daemon.status import LIVE_WITHIN_S, MOST_REQUESTS, Board, ProcessReport, ReloadReport, StationReport, serve
from daemon.verbs import request_report
from mdss.errors import MdssError
from mdss.retraining import RetrainRecord
from mdss.settings_access import HttpSettings
from mdss.wire.messages import Heartbeat, ProcessState
from tests.fakes import FakeClock
from tests.station import wait_until

FUSION = ProcessReport(name="fusion", state="running", reason="", is_ready=True, pid=7, steps=3, waiting=2, restarts=1, silence_s=0.5)


class Station:
    """A board with its server on a free port."""

    def __init__(self, token: str | None = None) -> None:
        self.clock = FakeClock()
        self.board = Board("line 1", self.clock)
        self.server = serve(self.board, "127.0.0.1", 0, token)
        self.port = self.server.server_address[1]

    def get(self, path: str, method: str = "GET", **headers: str) -> tuple[int, str]:
        """Return the status and text of a page."""
        url = f"http://127.0.0.1:{self.port}{path}"
        try:
            with urllib.request.urlopen(urllib.request.Request(url, headers=headers, method=method), timeout=60) as page:
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


def test_a_supervisor_that_stands_still_is_neither_live_nor_ready(station: Station) -> None:
    station.show(is_ready=True)
    station.clock.advance(LIVE_WITHIN_S + 1)
    assert station.get("/livez") == (503, "the supervisor's loop stands still\n")
    assert station.get("/readyz") == (503, "degraded: the supervisor's loop stands still\n")
    assert json.loads(station.get("/status")[1])["state"] == "degraded"
    assert "mdss_station_ready 0.0" in station.get("/metrics")[1]
    station.show(is_ready=True)
    assert (station.get("/livez")[0], station.get("/readyz")[0]) == (200, 200)


def test_status_lists_every_process(station: Station) -> None:
    station.show(is_ready=True)
    code, text = station.get("/status")
    report = json.loads(text)
    assert (code, report["station"], report["processes"][0]["name"]) == (200, "line 1", "fusion")


def test_status_tells_how_many_cameras_there_are_and_how_many_of_them_are_silent(station: Station) -> None:
    station.show(is_ready=True)
    place = HttpSettings(port=station.port)
    assert list(verbs.lines(request_report(place))) == []
    counters = {"mdss_sources": 3.0, "mdss_sources_silent": 1.0}
    station.board.hear(Heartbeat(process="ingest", pid=8, state="running", reason="", steps=0, waiting=0, counters=counters, timings={}))
    assert list(verbs.lines(request_report(place))) == ["cameras: 1 of 3 silent; the log names each"]


def test_status_tells_of_cameras_whose_capture_times_cannot_be_right(station: Station) -> None:
    station.show(is_ready=True)
    counters = {"mdss_sources": 3.0, "mdss_sources_misdated": 2.0}
    station.board.hear(Heartbeat(process="ingest", pid=8, state="running", reason="", steps=0, waiting=0, counters=counters, timings={}))
    said = "cameras: 2 of 3 with a capture_time far from the station's clock; the log names each"
    assert list(verbs.lines(request_report(HttpSettings(port=station.port)))) == [said]


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


def test_metrics_say_how_the_station_is_and_since_when(station: Station) -> None:
    station.show(is_ready=False, reason="collect: given up")
    lines = station.get("/metrics")[1].splitlines()
    states = [line for line in lines if line.startswith("mdss_station_state")]
    assert [line for line in states if line.endswith(" 1.0")] == ['mdss_station_state{state="degraded"} 1.0']
    assert len(states) == len(get_args(ProcessState))
    (began,) = (float(line.split()[1]) for line in lines if line.startswith("mdss_station_start_timestamp_seconds"))
    assert 0 <= time.time() - began < 600


def test_a_disk_that_is_slow_to_read_holds_up_its_page_and_not_the_supervisor() -> None:
    reads, goes_on = threading.Event(), threading.Event()

    def records() -> tuple[RetrainRecord, ...]:
        reads.set()
        goes_on.wait(60)
        return ()

    board = Board("line 1", FakeClock(), retrainings=records)
    page = threading.Thread(target=board.answer, args=("/metrics",))
    page.start()
    assert reads.wait(60)
    beat = Heartbeat(process="fusion", pid=7, state="running", reason="", steps=3, waiting=0, counters={}, timings={})
    loop = [threading.Thread(target=board.hear, args=(beat,)), threading.Thread(target=board.close, args=(7,))]
    for each in loop:
        each.start()
        each.join(10)
    still_waits = [each.is_alive() for each in loop]
    goes_on.set()
    page.join()
    assert still_waits == [False, False]


def test_metrics_say_by_which_model_each_recipe_is_judged_and_what_became_of_changes(station: Station) -> None:
    cap = RecipeReport(recipe="cap", champion="0003", version="0002", generation=7, memory_bytes=5, swaps=4, failures=1)
    gland = RecipeReport(recipe="gland", champion="0001", version="", generation=0)
    station.board.show(StationReport(station="line 1", state="running", reason="", is_ready=True, uptime_s=5, models=(cap, gland)))
    lines = station.get("/metrics")[1].splitlines()
    assert [line for line in lines if line.startswith("mdss_model_info")] == ['mdss_model_info{recipe="cap",version="0002"} 1.0']
    assert 'mdss_model_generation{recipe="cap"} 7.0' in lines and 'mdss_model_generation{recipe="gland"} 0.0' in lines
    assert 'mdss_model_memory_bytes{recipe="cap"} 5.0' in lines
    assert 'mdss_model_swaps_total{recipe="cap"} 4.0' in lines and 'mdss_model_swap_failures_total{recipe="cap"} 1.0' in lines


def test_an_unknown_page_names_the_known_ones(station: Station) -> None:
    code, text = station.get("/health")
    assert code == 404 and "/readyz" in text


def test_a_probe_may_ask_for_the_head_alone_and_add_a_question_of_its_own(station: Station) -> None:
    assert (station.get("/livez", "HEAD"), station.get("/livez?now=1")) == ((200, ""), (200, "live\n"))


def test_an_address_of_ipv6_that_the_settings_take_is_opened_and_asked(station: Station) -> None:
    try:
        server = serve(station.board, "::1", 0)
    except MdssError as error:
        if "Cannot assign requested address" in str(error):
            pytest.skip("this machine has no IPv6")
        raise
    try:
        assert request_report(HttpSettings(host="::1", port=server.server_address[1])).station == "line 1"
    finally:
        server.shutdown()
        server.server_close()


def test_no_name_server_is_asked_what_an_address_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(socket, "getfqdn", asked.append)
    server = serve(Board("line 1", FakeClock()), "127.0.0.1", 0)
    server.shutdown()
    server.server_close()
    assert asked == []


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


SIXTEEN = "0123456789abcdef"
PAGES = ("/livez", "/readyz", "/status", "/metrics", "/nowhere")


@pytest.fixture(scope="module")
def guarded() -> Iterator[Station]:
    running = Station(SIXTEEN)
    running.show(is_ready=True)
    yield running
    running.server.shutdown()
    running.server.server_close()


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("given", [None, "", SIXTEEN, f"Basic {SIXTEEN}", f"Bearer {SIXTEEN}x", f"Bearer {SIXTEEN[:-1]}", "Bearer \xe4"])
def test_no_page_is_shown_without_the_token(guarded: Station, page: str, given: str | None) -> None:
    code, said = guarded.get(page, **({} if given is None else {"Authorization": given}))
    assert (code, said) == (401, "expected the header Authorization: Bearer TOKEN, as in http.token_file\n")


def test_every_page_is_shown_with_it(guarded: Station) -> None:
    assert [guarded.get(page, Authorization=f"Bearer {SIXTEEN}")[0] for page in PAGES] == [200, 200, 200, 200, 404]


def test_mdss_status_sends_the_token_of_the_settings(guarded: Station, tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.touch(0o600)
    path.write_text(f"{SIXTEEN}\n")
    assert request_report(HttpSettings(port=guarded.port, token_file=str(path))).station == "line 1"
    path.write_text(f"{SIXTEEN}-of-before\n")
    with pytest.raises(MdssError, match="does not take this token"):
        request_report(HttpSettings(port=guarded.port, token_file=str(path)))


def test_a_host_that_can_be_none_is_a_sentence_of_who_asks() -> None:
    with pytest.raises(MdssError, match=r"http://10\.0\.0\.\.5:8420/status: found no answer .*, expected a running station"):
        request_report(HttpSettings(host="10.0.0..5"))


def is_cut_off(client: socket.socket) -> bool:
    """Whether the station has closed a connection; it says nothing on it otherwise."""
    try:
        return client.recv(1) == b""
    except TimeoutError:
        return False


def test_clients_that_never_finish_asking_are_cut_off_and_the_pages_go_on(station: Station, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = [socket.create_connection(("127.0.0.1", station.port)) for _ in range(MOST_REQUESTS + 8)]
    for each in slow[MOST_REQUESTS:]:  # of more than so many none is read
        with suppress(ConnectionError):
            assert each.recv(1) == b""
    for each in slow:
        with suppress(ConnectionError):
            each.sendall(b"GET /livez HTTP/1.1\r\nX: ")
    with monkeypatch.context() as patch:
        patch.setattr("daemon.status.REQUEST_WITHIN_S", 0.2)
        for each in slow:
            with each, suppress(ConnectionError):
                each.settimeout(0.05)
                while not is_cut_off(each):
                    each.sendall(b"x")  # never idle for long
    wait_until(lambda: len(station.server._open) < MOST_REQUESTS)  # the last to be cut off may still be counted as open
    assert station.get("/livez") == (200, "live\n")


@pytest.mark.parametrize(
    ("request_line", "code"),
    [(b"GET /" + b"a" * 200_000, 414), (b"POST /status HTTP/1.1\r\n\r\n", 501), (b"\xff" * 1000 + b"\r\n\r\n", 400)],
)
def test_what_is_no_request_for_a_page_is_refused_and_the_pages_go_on(station: Station, request_line: bytes, code: int) -> None:
    answer = b""
    with socket.create_connection(("127.0.0.1", station.port)) as client, suppress(OSError):
        client.sendall(request_line)
        client.shutdown(socket.SHUT_WR)
        while more := client.recv(1000):
            answer += more
    is_cut_short = code == 414 and not answer  # who has not read all that was sent may end the connection before its answer is heard
    assert is_cut_short or str(code).encode() in answer
    assert station.get("/livez") == (200, "live\n")
