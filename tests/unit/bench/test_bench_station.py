"""What benches with a station share: their folders, what they judge, and how a camera notes how long its parts waited."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from bench import chaos, outage, overload, recovery, retrain_beside, swaps
from bench.bench_camera import AnsweredPart, Camera, with_bright_square
from bench.bench_line import Product
from bench.bench_log import LineLog, read_lines
from bench.bench_station import StationOptions, conclude, empty_run_folder, read_metrics, wait_until
from daemon.recording import NOT_MEASURED
from daemon.status import Board, serve
from mdss.client import FrameSender
from mdss.errors import BadInput, MdssError
from mdss.settings_access import HttpSettings
from mdss.wire.messages import Heartbeat
from tests.fake_station import FakeStation
from tests.fakes import FakeClock
from tests.station import NAME, Trained

SCAN = (np.full((64, 80, 3), 90, np.uint8), np.ones((64, 80, 3), np.float32))


def test_the_folder_of_another_is_left_alone_and_one_s_own_is_emptied(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").touch()
    with pytest.raises(BadInput, match="found files of another origin"), empty_run_folder(tmp_path / "other"):
        pass
    with empty_run_folder(tmp_path / "own") as run:
        (run / "journal.sqlite").touch()
    (tmp_path / "own" / "models").mkdir()
    with empty_run_folder(tmp_path / "own") as run:
        assert list(run.iterdir()) == []
    assert (tmp_path / "own" / "models").is_dir()


def test_the_folder_of_a_bench_that_runs_is_refused_and_its_journal_stays(tmp_path: Path) -> None:
    with empty_run_folder(tmp_path) as run:
        (run / "journal.sqlite").touch()
        with pytest.raises(BadInput, match="another bench is at work in it"), empty_run_folder(tmp_path):
            pass
        assert (run / "journal.sqlite").exists()


def test_data_store_and_recipe_are_given_together_or_not_at_all(trained: Trained, tmp_path: Path) -> None:
    given = {"data": trained.data, "store": trained.store, "recipe": NAME, "out": tmp_path, "json_path": None, "kills": 3}
    options = dict(given)
    assert StationOptions.taken_from(options).product() == Product(trained.data, trained.store, NAME)
    assert options == {"kills": 3}
    with pytest.raises(BadInput, match="expected all three or none"):
        StationOptions.taken_from(given | {"store": None})


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"data": Path("nowhere")}, "--data nowhere: no such folder"),
        ({"store": Path("nowhere")}, "nowhere/.*/champion: no such model"),
        ({"recipe": "another"}, "another/champion: no such model"),
    ],
)
def test_nothing_to_judge_is_refused_while_the_last_run_s_files_are_there(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str], wrong: dict[str, Path | str], sentence: str
) -> None:
    with empty_run_folder(tmp_path) as run:
        (run / "journal.sqlite").touch()
    given = {"data": trained.data, "store": trained.store, "recipe": NAME, "out": tmp_path} | wrong
    assert recovery.main([word for name, value in given.items() for word in (f"--{name}", str(value))]) != 0
    assert re.search(sentence, capsys.readouterr().err)
    assert (run / "journal.sqlite").exists()


def test_a_scan_without_its_cloud_is_refused_before_a_camera_meets_it(trained: Trained, tmp_path: Path) -> None:
    data = shutil.copytree(trained.data, tmp_path / "data")
    next(data.glob("test/*/xyz/*.tiff")).unlink()
    with pytest.raises(BadInput, match=r"expected .*xyz"):
        StationOptions(data, trained.store, NAME, tmp_path, None).check()


@pytest.mark.parametrize("bench", [chaos, outage, overload, recovery, retrain_beside, swaps])
def test_what_is_left_of_a_command_s_options_is_its_order(bench: Any) -> None:
    options = bench.command.make_context("bench", []).params
    assert StationOptions.taken_from(options).out.parts[0] == "out"
    assert msgspec.to_builtins(bench.Order(**options)).keys() == options.keys()


class Found(msgspec.Struct):
    """A report of one line."""

    failures: tuple[str, ...] = ()


def test_a_report_is_written_whatever_it_says_and_failures_end_the_command(tmp_path: Path) -> None:
    conclude(Found(), "all is well", tmp_path, None)
    with pytest.raises(MdssError, match="1 things that must not be"):
        conclude(Found(("memory grew",)), "it grew", tmp_path, tmp_path / "report.json")
    assert msgspec.json.decode((tmp_path / "report.json").read_bytes(), type=Found).failures == ("memory grew",)


def test_a_report_is_shown_though_its_file_cannot_be_written_and_a_missing_folder_is_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "taken").touch()
    with pytest.raises(OSError, match="taken"):
        conclude(Found(), "after an hour: all is well", tmp_path, tmp_path / "taken" / "report.json")
    assert capsys.readouterr().out == "after an hour: all is well\n"
    conclude(Found(), "all is well", tmp_path, tmp_path / "new" / "report.json")
    assert msgspec.json.decode((tmp_path / "new" / "report.json").read_bytes(), type=Found) == Found()


def test_what_overload_looks_up_is_found_on_a_station_s_page_of_metrics() -> None:
    board, counters = Board("line 1", FakeClock()), {overload.BUSY: 3.0, overload.HELD: 7.0}
    board.hear(Heartbeat(process="ingest", pid=1, state="running", reason="", steps=0, waiting=0, counters=counters, timings={}))
    server = serve(board, "127.0.0.1", 0)
    found = read_metrics(HttpSettings(port=server.server_address[1]))
    server.shutdown()
    server.server_close()
    assert counters.items() <= found.items()


class Counted:
    """A restarter who counts how often it is asked."""

    ticks = 0

    def tick(self) -> None:
        """Count."""
        self.ticks += 1


def test_waiting_looks_after_the_others_and_ends_when_time_is_over() -> None:
    restarter = Counted()
    assert not wait_until(lambda: False, 0.0, restarter, 0.0)
    assert wait_until(lambda: restarter.ticks > 5, 60.0, restarter, 0.0)


def test_a_camera_notes_when_each_part_was_due_and_when_its_done_came(tmp_path: Path) -> None:
    with FakeStation(f"ipc://{tmp_path}/frames") as station, FrameSender(station.endpoint, "cam") as sender:
        camera = Camera(sender, [SCAN], "part", LineLog(tmp_path / "cam.jsonl", AnsweredPart))
        for number in range(3):
            camera.offer(number, due_ns=number + 1)
        camera.finish()
    lines = read_lines(tmp_path / "cam.jsonl", AnsweredPart)
    assert [(line.frame_id, line.offered_ns) for line in lines] == [(f"cam-{number:06d}", number + 1) for number in range(3)]
    assert all(line.done_ns > line.offered_ns for line in lines)
    assert [frame.header.xyz.invalid for frame in station.frames] == [NOT_MEASURED] * 3


def test_a_part_that_is_refused_stands_in_the_log_without_an_answer(tmp_path: Path) -> None:
    with FakeStation(f"ipc://{tmp_path}/frames") as station, FrameSender(station.endpoint, "cam") as sender:
        station.refusals["cam-000000"] = ["UNKNOWN_RECIPE"]
        camera = Camera(sender, [SCAN], "part", LineLog(tmp_path / "cam.jsonl", AnsweredPart))
        camera.offer(0, due_ns=1)
        camera.finish()
    assert read_lines(tmp_path / "cam.jsonl", AnsweredPart) == [AnsweredPart("cam-000000", 1)]


def test_a_painted_scan_has_a_square_in_its_middle_and_the_first_stays_as_it_was() -> None:
    rgb, xyz = with_bright_square(SCAN)
    assert (rgb[32, 40] == (255, 0, 255)).all() and (rgb[5, 5] == 90).all()
    assert (SCAN[0] == 90).all() and xyz is SCAN[1]
