"""The verbs check and status, as a person and as a program use them."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from io import BufferedIOBase
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest
from click.testing import CliRunner

from daemon.recipe_models import RecipeReport
from daemon.reload import SettingsReloader
from daemon.status import Board, ProcessReport, ReloadReport, StationReport, serve
from demo.station import free_port
from mdss.cli import main, mdss
from mdss.settings import load_settings

pytestmark = pytest.mark.timeout(30)


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def config(tmp_path: Path, port: int) -> Path:
    path = tmp_path / "station.yaml"
    path.write_text(f"station: {{name: line-3}}\nhttp: {{port: {port}}}\n")
    return path


@pytest.fixture
def board(port: int) -> Iterator[Board]:
    board = Board("line-3", time.monotonic)
    ingest = ProcessReport(
        name="ingest", state="degraded", reason="[disk] is full", is_ready=True, pid=41, steps=7, waiting=2, restarts=1, silence_s=0.4
    )
    board.show(
        StationReport(
            station="line-3", state="degraded", reason="ingest: [disk] is full", is_ready=True, uptime_s=61.0, processes=(ingest,)
        )
    )
    server = serve(board, "127.0.0.1", port)
    yield board
    server.shutdown()
    server.server_close()


def test_check_says_what_station_a_file_is_of_and_every_folder_file_address_and_port_that_it_uses(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = config.parent
    (folder / "password").write_text("secret")
    config.write_text("station: {name: line-3}\nalerts: {password_file: password}\nhttp: {port: 8421}\n")
    assert main(["check", str(config)]) == 0
    said = capsys.readouterr().out
    first, *rows = said.splitlines()
    assert first == f"{config}: station line-3, recipes part"
    assert dict(row.split() for row in rows) == {
        "station.state_directory": f"{folder}/station/state",
        "station.runtime_directory": f"{folder}/station/run",
        "camera.endpoint": f"ipc://{folder}/station/run/frames.sock",
        "verdicts.endpoint": f"ipc://{folder}/station/run/verdicts.sock",
        "verdicts.snapshot_endpoint": f"ipc://{folder}/station/run/snapshot.sock",
        "models.store": f"{folder}/station/models",
        "alerts.redis_url": "redis://127.0.0.1:6379/0",
        "alerts.password_file": f"{folder}/password",
        "http.host": "127.0.0.1",
        "http.port": "8421",
    }
    assert "secret" not in said


def test_check_says_what_is_wrong_and_where(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config.write_text("camera:\n  credits: 4\n")
    assert main(["check", str(config)]) == 2
    assert f"mdss: {config}:2: camera.credits: found an unknown key" in capsys.readouterr().err


def test_check_says_that_the_password_of_redis_cannot_be_read_which_keeps_no_station_from_starting(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config.write_text("alerts: {password_file: none}")
    assert main(["check", str(config)]) == 0
    said = f"mdss: {config}: alerts.password_file {config.parent}/none cannot be read (No such file or directory)"
    assert capsys.readouterr().err == f"{said}; a station starts all the same, and alerts wait\n"
    (config.parent / "none").write_text("secret")
    assert (main(["check", str(config)]), capsys.readouterr().err) == (0, "")


@pytest.mark.parametrize(("content", "code"), [("logs: {level: debug}", 0), ("logs: {level: loud}", 2)])
def test_check_tells_a_program_the_same(config: Path, capsys: pytest.CaptureFixture[str], content: str, code: int) -> None:
    config.write_text(content)
    assert main(["check", str(config), "--json"]) == code
    result = json.loads(capsys.readouterr().out)
    assert result["is_valid"] is (code == 0)
    assert result["settings"]["logs"]["level"] == "debug" if code == 0 else "logs.level" in result["error"]


@pytest.mark.usefixtures("board")
def test_status_shows_the_station_and_its_processes(config: Path) -> None:
    result = CliRunner(env={"COLUMNS": "160"}).invoke(mdss, ["status", "--config", str(config)])
    assert result.exit_code == 0, result.output
    first, heading, row = result.stdout.splitlines()
    assert first == "line-3: degraded, started 61 s ago (ingest: [disk] is full)"
    assert heading.split() == ["process", "state", "pid", "done", "waiting", "restarts", "heard", "reason"]
    assert row.split() == ["ingest", "degraded", "41", "7", "2", "1", "0.4", "s", "ago", "[disk]", "is", "full"]


@pytest.mark.usefixtures("board")
@pytest.mark.parametrize("folder", ["", ", runtime_directory: 'run'"])
@pytest.mark.parametrize("broken", ["camera: {credits: 4}\n", "camera: [\n"])
def test_where_the_settings_were_broken_since_the_start_each_verb_names_those_that_the_station_goes_on_with(
    config: Path, capsys: pytest.CaptureFixture[str], folder: str, broken: str
) -> None:
    good = config.read_text().replace("name: line-3", f"name: line-3{folder}")
    config.write_text(good + broken)
    assert main(["status", "--config", str(config)]) == 2
    assert "goes on with" not in capsys.readouterr().err  # no station wrote down what it took over
    config.write_text(good)
    settings = load_settings(config)
    Path(settings.station.runtime_directory).mkdir(parents=True)
    copy = SettingsReloader(config, settings).file
    config.write_text(good + broken)
    for verb in (["status"], ["recipe", "list"], ["drift"], ["alerts", "list"], ["watch", "--count", "1"], ["doctor"]):
        assert main([*verb, "--config", str(config)]) == 2
        said = capsys.readouterr().err
        assert said.startswith(f"mdss: {config}:")
        assert said.endswith(f"; a station that runs goes on with {copy}: ask it with --config {copy}\n")
    assert main(["status", "--config", str(copy)]) == 0


def test_broken_settings_from_a_pipe_are_refused_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.mkfifo(pipe := tmp_path / "settings")
    writer = threading.Thread(target=pipe.write_text, args=["camera: [\n"], daemon=True)
    writer.start()
    assert main(["status", "--config", str(pipe)]) == 2
    assert capsys.readouterr().err.startswith(f"mdss: {pipe}:")


def test_status_and_the_list_of_recipes_show_names_with_colons_as_they_are(config: Path, board: Board) -> None:
    odd = RecipeReport(recipe="cap:x:2", champion="0001", version="0001", generation=1)
    board.show(msgspec.structs.replace(board.report, station="hall:a:1", models=(odd,)))
    shown = [CliRunner().invoke(mdss, [*verb, "--config", str(config)]).output for verb in (["status"], ["recipe", "list"])]
    assert "hall:a:1: degraded" in shown[0] and "recipe cap:x:2: version 0001" in shown[0]
    assert "cap:x:2" in shown[1]


def test_a_sentence_of_status_is_one_line_however_narrow_the_terminal(config: Path, board: Board) -> None:
    refused = ReloadReport(at_ns=0, is_applied=False, reason=f"{config}:6: fusion.guard_band_ratio: found 2.0, expected a number")
    odd = RecipeReport(recipe="cap", champion="", version="", generation=0, reason=f"{config.parent}/models/cap/champion: no such model")
    board.show(msgspec.structs.replace(board.report, reason=f"ingest: {config}", reload=refused, models=(odd,)))
    lines = CliRunner(env={"COLUMNS": "40"}).invoke(mdss, ["status", "--config", str(config)]).output.splitlines()
    assert f"line-3: degraded, started 61 s ago (ingest: {config})" in lines
    assert f"reload at 1970-01-01 00:00:00+00:00: refused: {refused.reason}" in lines
    assert f"recipe cap: not loaded ({odd.reason})" in lines


@pytest.mark.usefixtures("board")
def test_status_tells_a_program_the_same(config: Path) -> None:
    result = CliRunner().invoke(mdss, ["status", "--config", str(config), "--json"])
    assert json.loads(result.stdout)["processes"][0]["reason"] == "[disk] is full"


@pytest.mark.usefixtures("board")
@pytest.mark.parametrize("verb", [["status"], ["status", "--json"], ["recipe", "list"], ["recipe", "list", "--json"]])
def test_it_is_said_beside_the_output_where_another_station_than_that_of_the_settings_answers(
    config: Path, port: int, capsys: pytest.CaptureFixture[str], verb: list[str]
) -> None:
    config.write_text(config.read_text().replace("line-3", "line-4"))
    assert main([*verb, "--config", str(config)]) == 0
    shown = capsys.readouterr()
    assert shown.out and f"mdss: http.port {port}: station line-3 answers there, expected line-4; give each" in shown.err
    config.write_text(config.read_text().replace("line-4", "line-3"))
    assert main([*verb, "--config", str(config)]) == 0
    assert capsys.readouterr().err == ""


def test_status_of_a_station_that_does_not_run_is_a_failure(config: Path, port: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "--config", str(config)]) == 1
    assert f"mdss: http://127.0.0.1:{port}/status: found no answer" in capsys.readouterr().err


@contextmanager
def another_program(port: int, write: Callable[[BufferedIOBase], object]) -> Iterator[None]:
    """Answer on the station's port as some other program does."""

    class Other(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            with suppress(OSError):  # who asked has left
                write(self.wfile)

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", port), Other)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_another_program_on_the_port_is_not_taken_for_a_station(config: Path, port: int, capsys: pytest.CaptureFixture[str]) -> None:
    with another_program(port, lambda page: page.write(b'{"station": 5}')):
        assert main(["status", "--config", str(config)]) == 1
    assert "found another program's answer" in capsys.readouterr().err


def test_an_answer_without_an_end_is_given_up(
    config: Path, port: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def film(page: BufferedIOBase) -> None:
        for _ in range(1000):  # ten seconds, as far as the test goes
            page.write(bytes(1000))
            time.sleep(0.01)

    monkeypatch.setattr("daemon.verbs.ANSWER_WITHIN_S", 20.0)
    monkeypatch.setattr("daemon.verbs.time", SimpleNamespace(monotonic=count(step=5.0).__next__))  # five seconds for each piece
    with another_program(port, film):
        assert main(["status", "--config", str(config)]) == 1
    assert "/status: found no answer (after 20 s there is more to come), expected a running station" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("report", "line"),
    [
        (
            ReloadReport(at_ns=0, is_applied=False, reason="s.yaml:5: camera.credit: found 0"),
            "reload at 1970-01-01 00:00:00+00:00: refused: s.yaml:5: camera.credit: found 0",
        ),
        (
            ReloadReport(at_ns=0, is_applied=True, reason="", keys=("camera.credit", "logs.level")),
            "reload at 1970-01-01 00:00:00+00:00: took over camera.credit, logs.level",
        ),
    ],
)
def test_status_says_what_became_of_the_last_reload(config: Path, board: Board, report: ReloadReport, line: str) -> None:
    board.show(msgspec.structs.replace(board.report, reload=report))
    result = CliRunner().invoke(mdss, ["status", "--config", str(config)])
    assert line in result.output.replace("\n", " ").replace("  ", " ")
