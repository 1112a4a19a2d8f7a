"""The station says what it has open that is gone, for as long as it is gone, also while it cannot look for all of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest
from structlog.testing import capture_logs

from daemon.child import LONGEST_PAUSE_S, Child, StartHindered
from daemon.open_files import OpenFiles, identity_of, journal_files
from daemon.process_table import JOURNAL_KEEPERS, ProcessSpec
from daemon.timed_questions import TimedQuestions
from mdss.errors import MdssError
from mdss.journal import BESIDE, JOURNAL
from mdss.settings import SupervisorSettings
from mdss.settings_types import IPC
from mdss.wire.topology import LINKS, address
from tests.cases import settings
from tests.fakes import FakeClock, FakeWorld

READY = ("alerts", "fusion", "rgb-0", "sdf-0", "prepare", "ingest")
FUSION = ProcessSpec("fusion", (), 1)
LIMITS = SupervisorSettings()
SILENT = MdssError("the disk does not answer")
Answer = TypeVar("Answer")


class Disk(TimedQuestions):
    """Answers at once, unless a test says how long it takes or what it raises; the questions that it raised upon stay in `late`."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__()
        self.refusal: Exception | None = None
        self.takes_s, self.asked = 0.0, 0
        self.late: list[Callable[[], object]] = []
        self._clock = clock

    def ask(self, question: Callable[[], Answer], place: object) -> Answer:
        self.asked += 1
        self._clock.advance(self.takes_s)
        if self.refusal is not None:
            self.late.append(question)
            raise self.refusal
        return question()


class Bench:
    """A journal and all sockets of a station, as empty files, and what looks for them."""

    def __init__(self, folder: Path) -> None:
        own = settings(
            station={"state_directory": str(folder), "runtime_directory": str(folder)},
            camera={"endpoint": f"{IPC}{folder}/frames.sock"},
            verdicts={"endpoint": f"{IPC}{folder}/verdicts.sock", "snapshot_endpoint": f"{IPC}{folder}/snapshot.sock"},
        )
        self.journal = folder / JOURNAL
        self.beside = {end: folder / f"{JOURNAL}{end}" for end in BESIDE}
        self.sockets = {name: Path(address(link, own).removeprefix(IPC)) for name, link in LINKS.items()}
        for path in (self.journal, *self.beside.values(), *self.sockets.values()):
            path.touch()
        self.world = FakeWorld({})
        self.clock = self.world.clock
        self.disk = Disk(self.clock)
        self.files = OpenFiles(own, self.clock, self.disk)
        self.start = self.files.guarded(self.world.start)
        assert self.look() == ""

    def look(self, *away: str, times: int = 1) -> str:
        """Return what is said after some more looks, while some processes are not ready."""
        for _ in range(times):
            self.clock.advance(1.0)
            said = self.files.trouble([name for name in READY if name not in away])
        return said

    def lose(self, *links: str) -> str:
        """Remove the sockets of some links, and return what is then said."""
        for link in links:
            self.sockets[link].unlink()
        return self.look(times=2)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_what_is_gone_at_one_look_is_said_after_the_second_and_no_more_once_it_is_back(bench: Bench) -> None:
    with capture_logs() as logs:
        bench.sockets["frames"].unlink()
        assert bench.look() == ""
        assert bench.look() == f"socket {bench.sockets['frames']} is gone: nobody can connect there any more; restart the station"
        bench.sockets["frames"].touch()
        assert bench.look() == ""
    assert [entry["log_level"] for entry in logs] == ["error", "info"]


@pytest.mark.parametrize("gone", [("verdicts",), ("verdicts", "frames")], ids=" and ".join)
def test_sockets_stay_gone_while_the_process_that_opened_them_is_restarted(bench: Bench, gone: tuple[str, ...]) -> None:
    with capture_logs() as logs:
        assert bench.lose(*gone)
        for away in ("fusion", "fusion", "fusion", "none", "none"):
            assert "gone: nobody can connect there any more" in bench.look(away)
        assert not [entry for entry in logs if entry["log_level"] == "info"]
        for link in gone:
            bench.sockets[link].touch()
        assert bench.look() == ""


@pytest.mark.parametrize("refusal", [SILENT, OSError(5, "Input/output error")], ids=["silent", "fails"])
def test_what_is_gone_stays_gone_while_the_disk_does_not_tell(bench: Bench, refusal: Exception) -> None:
    gone = bench.lose("frames")
    bench.disk.refusal = refusal
    with capture_logs() as logs:
        assert [bench.look() for _ in range(3)] == [gone] * 3
        bench.disk.refusal = None
        assert bench.look() == gone
    assert not logs


def test_a_journal_that_goes_after_a_socket_is_said_in_its_place_without_a_word_that_all_is_well(bench: Bench) -> None:
    gone = bench.lose("frames")
    with capture_logs() as logs:
        bench.journal.unlink()
        assert bench.look() == gone
        assert bench.look().startswith(f"journal {bench.journal} was removed")
    assert [(entry["log_level"], entry["reason"]) for entry in logs] == [("error", bench.look())]


def test_no_process_begins_another_journal_while_the_disk_does_not_tell_whether_the_lost_one_is_back(bench: Bench) -> None:
    away = bench.journal.rename(bench.journal.with_name("away"))
    bench.look()
    bench.disk.refusal = SILENT
    with pytest.raises(OSError, match="was removed, or moved away"):
        bench.start(FUSION)
    bench.start(ProcessSpec("rgb-0", (), 1))  # which opens no journal
    away.rename(bench.journal)
    bench.disk.refusal = None
    bench.start(FUSION)
    assert len(bench.world.of("fusion")) == 1


@pytest.mark.parametrize("end", BESIDE)
@pytest.mark.parametrize("is_replaced", [False, True], ids=["moved away", "replaced"])
def test_a_file_beside_the_journal_that_is_gone_is_said_and_no_process_starts_without_it(bench: Bench, end: str, is_replaced: bool) -> None:
    away = bench.beside[end].rename(bench.journal.with_name("away"))
    if is_replaced:
        bench.beside[end].write_bytes(away.read_bytes())
    words = (
        f"journal {bench.beside[end]} was removed, or moved away, or replaced, while the station runs; move it back, or restart the station"
    )
    assert bench.look(times=2) == words
    for lost in ("fusion", "ingest", "alerts"):  # whose ends would make the old state of the journal the last one
        assert bench.look(lost) == words
    assert bench.look(*JOURNAL_KEEPERS) == words
    with pytest.raises(StartHindered, match="move it back"):
        bench.start(FUSION)
    away.rename(bench.beside[end])
    bench.start(FUSION)
    assert bench.look() == ""


def test_a_process_that_is_not_started_for_want_of_the_journal_is_tried_again_however_often_until_it_is_back(bench: Bench) -> None:
    child = Child(FUSION, bench.start, LIMITS, bench.clock)
    child.start()
    away = bench.journal.rename(bench.journal.with_name("away"))
    bench.world.started[-1].code = -9
    while child.restarts < 3 * LIMITS.restart_limit:
        bench.clock.advance(0.5)
        child.tick(bench.clock())
        assert child.state == "degraded" and len(bench.world.started) == 1
    assert child.reason.startswith(f"could not be started (journal {bench.journal} was removed")
    away.rename(bench.journal)
    bench.clock.advance(LONGEST_PAUSE_S)
    child.tick(bench.clock())
    assert child.state == "starting" and len(bench.world.started) == 2


def test_files_beside_the_journal_that_who_closed_it_last_removed_and_others_made_anew_are_not_missed(bench: Bench) -> None:
    for end in BESIDE:
        bench.beside[end].rename(bench.journal.with_name(f"closed{end}"))
    assert bench.look(*JOURNAL_KEEPERS) == ""
    bench.start(FUSION)
    for path in bench.beside.values():
        path.touch()
    assert bench.look(times=3) == ""


def test_what_is_beside_the_journal_is_missed_also_when_each_process_was_restarted_since_the_start(bench: Bench) -> None:
    for away in JOURNAL_KEEPERS:
        assert bench.look(away) == ""
    bench.beside["-shm"].unlink()
    assert f"{bench.beside['-shm']} was removed" in bench.look(times=2)


def test_a_journal_that_is_a_link_is_looked_for_where_it_lies_with_the_files_that_are_kept_beside_it(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    real, link = tmp_path / "elsewhere" / "real", tmp_path / JOURNAL
    link.symlink_to(real)
    assert journal_files(link) == {end: Path(f"{real}{end}") for end in ("", *BESIDE)}


def test_a_folder_that_became_a_file_holds_no_journal(tmp_path: Path) -> None:
    (tmp_path / "state").touch()
    assert identity_of(tmp_path / "state" / JOURNAL) is None


def test_a_look_asks_the_disk_one_question(bench: Bench) -> None:
    asked = bench.disk.asked
    bench.look(times=3)
    assert bench.disk.asked == asked + 3


@pytest.mark.parametrize("refusal", [SILENT, PermissionError(13, "Permission denied")])
def test_a_process_starts_on_a_disk_that_does_not_answer_if_the_journal_was_there_before(bench: Bench, refusal: Exception) -> None:
    bench.disk.refusal = refusal
    bench.start(FUSION)
    assert len(bench.world.of("fusion")) == 1


def test_a_slow_disk_has_its_pause_after_each_answer(bench: Bench) -> None:
    bench.disk.takes_s = 2.0
    bench.look()
    asked = bench.disk.asked
    bench.files.trouble(READY)
    assert bench.disk.asked == asked


def test_an_answer_that_came_too_late_is_not_taken_for_the_journal_that_the_station_opened(tmp_path: Path) -> None:
    (tmp_path / JOURNAL).touch()
    clock = FakeClock()
    disk = Disk(clock)
    files = OpenFiles(settings(station={"state_directory": str(tmp_path), "runtime_directory": str(tmp_path)}), clock, disk)
    disk.refusal = SILENT
    files.trouble(())
    disk.late[0]()
    (tmp_path / "other").touch()
    (tmp_path / "other").replace(tmp_path / JOURNAL)
    (tmp_path / "health.sock").touch()
    disk.refusal = None
    for _ in range(3):
        clock.advance(1.0)
        assert files.trouble(()) == ""
