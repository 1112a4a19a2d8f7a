"""What `mdss doctor` says of a station's settings and of what its journal tells."""

from __future__ import annotations

import errno
from contextlib import closing
from pathlib import Path
from typing import Any, Literal

import msgspec
import pytest

from daemon import doctor, doctor_disk, doctor_machine, doctor_station
from daemon.child import Child
from daemon.doctor_station import most_ends
from daemon.finding import Case, Finding, worst
from daemon.status import ProcessReport, ReloadReport, StationReport
from mdss.journal import JOURNAL, Journal
from mdss.settings import Settings
from tests.alerts import undefined
from tests.cases import judged, laid_out, of, settings
from tests.fakes import FakeProcess, FakeWorld, refuses_with
from tests.parts import accepted, verdict
from tests.unit.daemon.test_child import SPEC


def station(case: Case, subject: str) -> Finding:
    return of(doctor_station.station_findings(case), subject)


def test_whatever_is_not_well_says_why_it_matters_and_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))  # where no nvidia-smi names a GPU
    sick = settings(
        branches={"rgb": {"device": "cuda:0"}, "sdf": {"device": "cpu", "threads": 64, "count": 16}},
        supervisor={"restart_limit": 1},
        camera={"endpoint": "tcp://127.0.0.1:5555", "deadline_ms": 1},
        alerts={"password_file": str(tmp_path / "none")},
    )
    case = Case(
        sick, (*judged(100), undefined("late")), root=laid_out(tmp_path / "root", proc__self__limits="Max open files 64 64 files\n")
    )
    findings = [finding for check in (doctor_station.station_findings, doctor_machine.machine_findings) for finding in check(case)]
    troubled = [finding for finding in findings if finding.level != "ok"]
    assert len(troubled) >= 8 and worst(findings) == "bad"
    assert all(finding.why and finding.advice for finding in troubled)
    assert not any(finding.why or finding.advice for finding in findings if finding.level == "ok")


def test_a_deadline_that_parts_do_not_keep_is_seen_from_the_journal() -> None:
    for deadline_ms, level in ((99, "bad"), (500, "weak"), (2000, "ok")):
        case = Case(settings(camera={"deadline_ms": deadline_ms}), (*judged(90, took_ms=100), *judged(10, took_ms=1000)))
        found = station(case, "deadline")
        assert found.level == level, found
        assert "half of the last 100 parts took 100 ms, 99 in 100 at most 1000 ms" in found.found


def test_late_parts_are_counted_where_they_are_more_than_one_in_a_hundred() -> None:
    late = tuple(undefined(f"late {number}") for number in range(2))
    assert station(Case(Settings(), (*judged(98), *late)), "late parts").found == "2 of the last 100 were late"
    few = doctor_station.station_findings(Case(Settings(), (*judged(198), *late)))
    assert "late parts" not in {finding.subject for finding in few}


def test_what_was_never_judged_neither_took_its_time_nor_came_late_and_one_part_in_two_hundred_says_little() -> None:
    hidden = msgspec.structs.replace(undefined("hidden"), code="BAD_CLOUD")
    recent = (*judged(199, took_ms=100), *judged(1, took_ms=5000), *(hidden for _ in range(10)))
    found = {finding.subject: finding for finding in doctor_station.station_findings(Case(Settings(), recent))}
    assert "late parts" not in found
    assert found["deadline"].found.startswith("half of the last 200 parts took 100 ms, 99 in 100 at most 100 ms; ")


def test_only_processes_that_were_started_again_are_named_beside_how_long_the_station_runs() -> None:
    rows = tuple(
        ProcessReport(name=name, state="running", reason="", is_ready=True, pid=1, steps=0, waiting=0, restarts=restarts, silence_s=0.0)
        for name, restarts in (("fusion", 0), ("rgb-0", 2), ("sdf-0", 1))
    )
    report = StationReport(station="cell", state="running", reason="", is_ready=True, uptime_s=90.0, processes=rows)
    assert station(Case(Settings(), report=report), "station").found == "running for 90 s"
    restarts = station(Case(Settings(), report=report), "restarts")
    assert (restarts.level, restarts.found) == ("weak", "since the start: rgb-0 2 times, sdf-0 1 times")
    calm = msgspec.structs.replace(report, processes=rows[:1])
    assert "restarts" not in {finding.subject for finding in doctor_station.station_findings(Case(Settings(), report=calm))}


def test_the_newest_verdicts_are_those_that_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "RECENT", 3)
    path = tmp_path / JOURNAL
    with closing(Journal(path)) as journal:
        for number in range(5):
            part = accepted(f"r{number}", 10)
            journal.accept(part)
            journal.judge(verdict(part))
    _, recent = doctor.read_journal(path)
    assert [each.result_id for each in recent] == ["r2", "r3", "r4"]


def dies_at_once(process: FakeProcess, age_s: float) -> None:
    process.code = -9


@pytest.mark.parametrize("window_s", [1.0, 60.0, 300.0])
def test_a_limit_that_the_growing_pauses_never_let_a_process_reach_is_weak(window_s: float) -> None:
    most = most_ends(window_s)
    for limit, level, state in ((most, "ok" if most >= 3 else "weak", "error"), (most + 1, "weak", "degraded")):
        own = settings(supervisor={"restart_limit": limit, "restart_window_s": window_s})
        assert station(Case(own), "restarts allowed").level == level
        world = FakeWorld({SPEC.name: dies_at_once})
        child = Child(SPEC, world.start, own.supervisor, world.clock)
        child.start()
        for _ in range(40_000):  # ten minutes and more
            world.clock.advance(1 / 64)
            child.tick(world.clock())
        assert child.state == state


def test_a_station_that_looks_at_no_parts_size_is_told_so() -> None:
    assert station(Case(Settings()), "size of parts").level == "weak"
    assert station(Case(settings(fusion={"min_part_ratio": 0.85})), "size of parts").found.startswith("what covers less than 85%")


def test_a_limit_of_one_is_weak() -> None:
    levels = [station(Case(settings(supervisor={"restart_limit": limit})), "restarts allowed").level for limit in (1, 2, 3)]
    assert levels == ["weak", "weak", "ok"]


def test_a_password_that_others_may_read_is_weak_and_one_that_is_not_there_is_bad(tmp_path: Path) -> None:
    path = tmp_path / "password"
    case = Case(settings(alerts={"password_file": str(path)}))
    assert station(case, "alerts.password_file").level == "bad"
    path.write_text("secret")
    for mode, level in ((0o644, "weak"), (0o642, "weak"), (0o640, "ok"), (0o600, "ok")):
        path.chmod(mode)
        found = station(case, "alerts.password_file")
        assert found.level == level and "secret" not in found.found


@pytest.mark.parametrize(("content", "why"), [(None, "Is a directory"), (b"\xff", "it holds bytes that are no text")])
def test_a_password_that_the_station_cannot_read_is_bad_however_well_it_is_kept(tmp_path: Path, content: bytes | None, why: str) -> None:
    path = tmp_path / "password"
    path.mkdir(mode=0o700) if content is None else path.write_bytes(content)
    path.chmod(0o700)
    found = station(Case(settings(alerts={"password_file": str(path)})), "alerts.password_file")
    assert (found.level, found.found) == ("bad", f"{path} cannot be read ({why})")


def doors(tmp_path: Path, **sections: dict[str, Any]) -> list[str]:
    """Return what is said of the ways into a station whose folders are its own."""
    own = {"state_directory": str(tmp_path / "state"), "runtime_directory": str(tmp_path / "run")}
    return [finding.subject for finding in doctor_station._doors(Case(settings(**({"station": own} | sections))))]


def test_doors_without_keys_and_pages_for_other_machines_are_named(tmp_path: Path) -> None:
    assert doors(tmp_path) == []
    plain: dict[str, dict[str, Any]] = {"verdicts": {"endpoint": "tcp://127.0.0.1:5556"}, "security": {"plain_loopback": True}}
    assert doors(tmp_path, **plain) == ["verdicts.endpoint"]
    for host in ("192.168.1.5", "localhost.plant.example", "::1234"):
        assert doors(tmp_path, http={"host": host, "token_file": "token"}) == ["http.host"]
    (tmp_path / "notes.txt").touch()  # which is no key
    for folder in (tmp_path / ("x" * 300), tmp_path):  # the first cannot be looked at
        keys = {"server_key_file": "station.key_secret", "client_keys": str(folder)}
        assert doors(tmp_path, verdicts=plain["verdicts"], security=keys) == ["security.client_keys"]
    (tmp_path / "plc.key").touch()
    assert doors(tmp_path, verdicts=plain["verdicts"], security=keys) == []


def test_folders_that_are_open_to_everybody_are_named(tmp_path: Path) -> None:
    for name, mode in (("state", 0o755), ("run", 0o770)):
        (tmp_path / name).mkdir()
        (tmp_path / name).chmod(mode)
    assert doors(tmp_path) == ["station.state_directory"]
    (tmp_path / "state").chmod(0o750)
    assert doors(tmp_path) == []


def test_a_station_that_does_not_run_is_told_why() -> None:
    found = station(Case(Settings(), silence="http://127.0.0.1:8420/status: found no answer"), "station")
    assert found.level == "weak" and "found no answer" in found.found


@pytest.mark.parametrize(("state", "level", "said"), [("starting", "ok", "is not there yet"), ("running", "bad", "was removed, or moved")])
def test_a_journal_that_is_gone_is_bad_where_the_station_has_it_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: Any, level: str, said: str
) -> None:
    report = StationReport(station="cell", state=state, reason="", is_ready=state == "running", uptime_s=1.0)
    monkeypatch.setattr(doctor, "station_report", lambda _: (report, ""))
    monkeypatch.setattr(doctor, "CHECKS", ())
    (found,) = doctor.examine(settings(station={"name": "cell", "state_directory": str(tmp_path)}))
    assert (found.subject, found.level) == ("journal", level) and said in found.found


def test_another_station_at_its_port_is_named_and_nothing_of_that_one_is_taken_for_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = StationReport(station="cell-1", state="running", reason="", is_ready=True, uptime_s=1.0)
    monkeypatch.setattr(doctor, "station_report", lambda _: (other, ""))
    monkeypatch.setattr(doctor, "CHECKS", (doctor_station.station_findings,))
    own = {"name": "cell-2", "state_directory": str(tmp_path / "state"), "runtime_directory": str(tmp_path / "run")}
    journal, found, *_ = doctor.examine(settings(station=own, http={"port": 8421}))
    assert (journal.level, journal.found) == ("ok", f"{tmp_path}/state/journal.sqlite is not there yet: the first start makes it")
    assert (found.level, found.found) == ("bad", "http.port 8421: station cell-1 answers there, expected cell-2")
    assert "http.port of its own" in found.advice and "station.name" in found.advice


@pytest.mark.parametrize(
    ("last", "found"),
    [
        (None, None),
        (ReloadReport(at_ns=0, is_applied=True, reason="", keys=("logs.level",)), None),
        (ReloadReport(at_ns=0, is_applied=False, reason="needs a restart: http.port"), "refused: needs a restart: http.port"),
    ],
)
def test_settings_that_the_station_did_not_take_over_are_weak(last: ReloadReport | None, found: str | None) -> None:
    report = StationReport(station="cell", state="running", reason="", is_ready=True, uptime_s=90.0, reload=last)
    told = {finding.subject: finding for finding in doctor_station.station_findings(Case(Settings(), report=report))}
    assert told["station"].level == "ok" and ("last reload" in told) is (found is not None)
    assert found is None or (told["last reload"].level, told["last reload"].found) == ("weak", found)


def test_a_folder_that_may_not_be_looked_into_ends_no_examination(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case(settings(station={"state_directory": str(tmp_path / "state")}))
    with monkeypatch.context() as patched:
        for name in ("stat", "is_dir"):
            patched.setattr(Path, name, refuses_with(errno.EACCES))
        found, _ = doctor.read_journal(tmp_path / "journal.sqlite")
        doors = list(doctor_station._doors(case))
    assert (found.level, found.advice, doors) == ("bad", "run mdss doctor as the station's own user", [])


@pytest.mark.parametrize(("place", "why"), [("file/state", "Not a directory"), ("x" * 300, "File name too long")])
def test_a_state_directory_that_cannot_be_looked_at_is_named_and_ends_no_examination(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, why: str
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(doctor, "CHECKS", (doctor_disk.disk_findings,))
    journal, *others = doctor.examine(settings(station={"state_directory": str(tmp_path / place)}))
    path = tmp_path / place / "journal.sqlite"
    assert (journal.subject, journal.level, journal.found) == ("journal", "bad", f"journal {path}: {why}")
    assert journal.advice == "look at station.state_directory and at its disk"
    assert "free space" in [finding.subject for finding in others]


@pytest.mark.parametrize(
    ("state", "reason", "expected"),
    [
        ("degraded", "collect: no scan is kept", "parts are judged as always"),
        ("degraded", "alerts: Redis is away", "parts are judged as always"),
        ("degraded", "rgb-0: ended with code -9", "parts are judged late, in part, or not"),
        ("error", "alerts: refused to start", "parts are judged late, in part, or not"),
    ],
)
def test_what_is_missing_says_whether_parts_are_judged_all_the_same(
    state: Literal["degraded", "error"], reason: str, expected: str
) -> None:
    report = StationReport(station="cell", state=state, reason=reason, is_ready=True, uptime_s=1.0)
    found = station(Case(Settings(), (), report=report), "station")
    assert found.level == ("weak" if state == "degraded" else "bad") and found.why.startswith(expected)
