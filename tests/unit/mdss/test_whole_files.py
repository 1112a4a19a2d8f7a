"""Files that are whole or not there: in their place at once, and what is no plain file is written to as it is."""

from __future__ import annotations

import errno
import fcntl
import os
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest

from daemon.clock_watch import ClockWatch
from mdss.collect_request import request_all
from mdss.drift_record import DriftRecord, write_record
from mdss.whole_files import PARTIAL_NAME, filled_folder, is_free, named_as, whole_folder, write_durably, write_whole
from tests.fakes import refuses_with

NO_RANGES: dict[str, object] = {name: {} for name in ("reference", "limits", "warnings", "cleared")}
RECORD = msgspec.convert(
    {
        "recipe": "cap",
        "model_version": "0001",
        "reference_parts": 40,
        "block_parts": 16,
        "parts": 0,
        "rest": 0.1,
        "blocks": [],
        **NO_RANGES,
    },
    DriftRecord,
)
WRITERS: dict[str, Callable[[Path], object]] = {
    "clock.json": lambda state: ClockWatch(state / "clock.json").now_ns(0),
    "collect_all/cap.json": lambda state: request_all(state, "cap", 1),
    "drift/cap.json": lambda state: write_record(state, RECORD),
}


def test_a_file_is_put_in_its_place_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "a.json"
    for content in (b"first", b"second"):
        write_whole(path, content)
        assert path.read_bytes() == content
    assert list(path.parent.iterdir()) == [path]


def test_a_link_stays_and_its_file_is_written(tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(b"old")
    (tmp_path / "link").symlink_to("real")
    write_whole(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "real").read_bytes() == b"new"


def test_what_the_disk_refuses_bears_the_name_that_was_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long = tmp_path / ("n" * 250)  # the hidden one has more letters than a name may have
    with pytest.raises(OSError, match=f"File name too long: '{long}'$"):
        write_whole(long, b"content")
    monkeypatch.setattr(os, "fsync", refuses_with(errno.ENOSPC))
    with pytest.raises(OSError, match=f"No space left on device: '{tmp_path}/a.json'$"):
        write_whole(tmp_path / "a.json", b"content")
    assert not list(tmp_path.iterdir())


def test_whoever_reads_a_pipe_gets_what_is_written(tmp_path: Path) -> None:
    pipe, read = tmp_path / "pipe", list[bytes]()
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()))
    reader.start()
    write_whole(pipe, b"content")
    reader.join()
    assert read == [b"content"] and pipe.is_fifo()


@pytest.mark.parametrize("name", WRITERS)
def test_what_outlives_a_process_is_on_the_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    flushed = list[tuple[bool, int]]()
    monkeypatch.setattr(os, "fsync", lambda number: flushed.append(((tmp_path / name).exists(), os.fstat(number).st_ino)))
    WRITERS[name](tmp_path)
    assert flushed == [(False, (tmp_path / name).stat().st_ino)]


@pytest.mark.parametrize("is_there", [False, True])
def test_a_folder_is_there_when_it_is_whole_and_nothing_stays_of_one_that_failed(tmp_path: Path, is_there: bool) -> None:
    place = tmp_path / "somewhere" / "line"
    if is_there:
        place.mkdir(parents=True)
    with pytest.raises(IsADirectoryError), filled_folder(place) as partial:
        partial.joinpath("half").write_bytes(partial.read_bytes())
    assert (place.exists(), list((place if is_there else place.parent).iterdir())) == (is_there, [])
    with filled_folder(place) as partial:
        (partial / "train").mkdir()
        (partial / "train" / "000.png").touch()
        assert not (place / "train").exists()
    assert [str(path.relative_to(tmp_path)) for path in sorted(tmp_path.rglob("*"))] == [
        "somewhere",
        "somewhere/line",
        "somewhere/line/train",
        "somewhere/line/train/000.png",
    ]


FULL = (28, "No space left on device")


@pytest.mark.parametrize(
    ("error", "named"),
    [
        (OSError(*FULL), "line"),
        (OSError(*FULL, ".line/rgb/000.png"), "line"),
        (OSError(*FULL, "scans/000.png", None, ".line/rgb/000.png"), "line"),
        (OSError(*FULL, ".line", None, "line"), "line"),
        (OSError(*FULL, "scans/000.png"), "scans/000.png"),
        (OSError("no codec"), None),
    ],
)
def test_what_a_disk_refuses_is_said_of_what_was_asked_for_and_of_nothing_hidden(error: OSError, named: str | None) -> None:
    with pytest.raises(OSError) as said, named_as(Path("line"), Path(".line")):  # noqa: PT011 - which one is asked below
        raise error
    assert (said.value.errno, said.value.filename, said.value.filename2) == (error.errno, named, None)


def test_what_a_killed_writer_of_a_folder_left_is_not_taken_over(tmp_path: Path) -> None:
    with whole_folder(tmp_path / "line") as partial:
        (partial / "card").touch()
        partial.rename(left := tmp_path / "killed")
        partial.mkdir()
    left.rename(partial)
    (tmp_path / "line").rmdir()
    with whole_folder(tmp_path / "line"):
        pass
    assert [list(path.iterdir()) for path in tmp_path.iterdir()] == [[]]


def test_a_link_that_stands_where_a_writer_would_write_leads_to_nothing_that_is_written_or_removed(tmp_path: Path) -> None:
    precious = tmp_path / "models" / "0001"
    precious.mkdir(parents=True)
    (precious / "card").write_bytes(b"precious")
    (tmp_path / ".line.partial").symlink_to(tmp_path / "models")
    with pytest.raises(OSError, match="symbolic links"), whole_folder(tmp_path / "line"):
        pass
    (tmp_path / "probe").symlink_to(precious / "card")
    with pytest.raises(OSError, match="symbolic links"):
        write_durably(tmp_path / "probe", b"anything")
    assert (precious / "card").read_bytes() == b"precious"


def test_what_a_shell_reads_on_with_a_pipe_is_written_to_it() -> None:
    """As `--json /dev/stdout | jq` asks: the link leads to a pipe that has no place among files."""
    reading, writing = os.pipe()
    write_whole(Path(f"/proc/self/fd/{writing}"), b"new")
    assert os.read(reading, 10) == b"new"
    for end in (reading, writing):
        os.close(end)


@pytest.mark.parametrize("place", ["precious", os.devnull])
def test_a_link_that_another_user_put_there_is_replaced_and_nothing_is_written_to_what_it_leads_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    precious, lstat = tmp_path / "precious", Path.lstat
    precious.write_bytes(b"precious")
    (tmp_path / "note").symlink_to(place)
    monkeypatch.setattr(Path, "lstat", lambda path: SimpleNamespace(st_mode=lstat(path).st_mode, st_uid=os.geteuid() + 1))
    write_whole(tmp_path / "note", b"new")
    monkeypatch.undo()
    assert not (tmp_path / "note").is_symlink() and (tmp_path / "note").read_bytes() == b"new"
    assert precious.read_bytes() == b"precious"


def test_a_link_that_root_put_there_is_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where records go to another disk; whoever writes and whose the folder is."""
    (tmp_path / "records").mkdir()
    (tmp_path / "note").symlink_to(tmp_path / "records" / "note")
    stat, lstat = Path.stat, Path.lstat
    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    monkeypatch.setattr(Path, "stat", lambda path, **how: SimpleNamespace(st_mode=stat(path, **how).st_mode, st_uid=4711))
    monkeypatch.setattr(Path, "lstat", lambda path: SimpleNamespace(st_mode=lstat(path).st_mode, st_uid=0))
    write_whole(tmp_path / "note", b"new")
    monkeypatch.undo()
    assert (tmp_path / "note").is_symlink() and (tmp_path / "records" / "note").read_bytes() == b"new"


def test_what_a_killed_writer_left_goes_and_what_its_links_lead_to_stays(tmp_path: Path) -> None:
    (precious := tmp_path / "precious").mkdir()
    (left := tmp_path / ".line.partial").mkdir()
    for name in ("rgb", "xyz"):
        (left / name / "deep").mkdir(parents=True)
        (left / f"{name}.png").touch()
        (left / f"{name}.link").symlink_to(precious)
    with whole_folder(tmp_path / "line") as partial:
        assert list(partial.iterdir()) == []
    assert precious.is_dir()


@pytest.mark.parametrize("is_there", [False, True])
def test_a_folder_that_another_writer_is_at_is_refused_and_left_to_it(tmp_path: Path, is_there: bool) -> None:
    place = tmp_path / "line"
    if is_there:
        place.mkdir()
    with filled_folder(place) as partial:
        (partial / "card").touch()
        with pytest.raises(OSError, match=f"another process is writing it: '{place}'$"), filled_folder(place):
            pass
    assert [path.name for path in place.iterdir()] == ["card"]


@pytest.mark.parametrize("is_there", [False, True])
def test_a_folder_that_another_writer_finishes_at_that_moment_stays_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_there: bool
) -> None:
    place, flock = tmp_path / "line", fcntl.flock
    if is_there:
        place.mkdir()
    with ExitStack() as first:
        (first.enter_context(filled_folder(place)) / "card").touch()

        def flock_late(claim: int, how: int) -> None:
            first.close()
            flock(claim, how)

        monkeypatch.setattr(fcntl, "flock", flock_late)
        with pytest.raises(OSError, match=f"another process is writing it: '{place}'$"), filled_folder(place):
            pass
    assert [path.name for path in place.iterdir()] == ["card"]


def test_a_writer_that_is_done_removes_nothing_that_another_one_has_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rename = Path.rename

    def rename_and_begin(partial: Path, place: Path) -> None:
        rename(partial, place)
        partial.mkdir()

    with whole_folder(tmp_path / "line"):
        monkeypatch.setattr(Path, "rename", rename_and_begin)
    assert (tmp_path / ".line.partial").is_dir()


def test_leftovers_that_cannot_be_removed_cost_no_descriptor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def is_refused(name: str, *, dir_fd: int) -> None:
        raise PermissionError(1, "Operation not permitted", name)

    (tmp_path / ".line.partial").mkdir()
    (tmp_path / ".line.partial" / "card").touch()
    monkeypatch.setattr(os, "unlink", is_refused)
    before = list(Path("/proc/self/fd").iterdir())
    with pytest.raises(PermissionError), whole_folder(tmp_path / "line"):
        pass
    assert list(Path("/proc/self/fd").iterdir()) == before


def test_a_folder_is_free_that_is_new_or_empty_or_holds_what_a_killed_writer_left_and_nothing_else(tmp_path: Path) -> None:
    place = tmp_path / "line"
    assert is_free(place)
    place.mkdir()
    assert is_free(place)
    (place / PARTIAL_NAME).mkdir()
    assert is_free(place)
    (place / ".partial").touch()
    assert not is_free(place) and not is_free(place / ".partial")
