"""What `mdss doctor` says of settings, of the journal's figures and of a machine whose files a test has laid out."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from daemon import doctor_disk, doctor_machine, doctor_station
from daemon.child import Child
from daemon.doctor_station import most_ends
from daemon.finding import Case, Finding, Level, size, worst
from daemon.supervisor import limits_of
from mdss.settings import Settings, SupervisorSettings
from mdss.wire.messages import Times, Verdict
from tests.alerts import undefined, verdict
from tests.fakes import FakeProcess, FakeWorld
from tests.unit.daemon.test_child import SPEC

MS, S, DAY_S = 10**6, 10**9, 86_400


def settings(**sections: dict[str, Any]) -> Settings:
    """Return settings as a file would give them."""
    return msgspec.convert(sections, Settings)


def judged(count: int, took_ms: float = 100, every_s: float = 1.0, **fields: Any) -> tuple[Verdict, ...]:
    """Return verdicts that came one after the other, the last of them now."""
    now_ns = time.time_ns()
    published = [now_ns - int((count - 1 - number) * every_s * S) for number in range(count)]
    return tuple(
        verdict(f"r{at}", times=Times(captured=0, received=at - int(took_ms * MS), rgb=None, sdf=None, fusion=at, published=at), **fields)
        for at in published
    )


def laid_out(root: Path, **files: str) -> Path:
    """Write files of a machine; a name's double underscores are its slashes."""
    for name, text in files.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def of(findings: Iterator[Finding], subject: str) -> Finding:
    """Return what is said of one subject; a second word on it would be one too many."""
    (found,) = [finding for finding in findings if finding.subject == subject]
    return found


def machine(case: Case, subject: str) -> Finding:
    return of(doctor_machine.machine_findings(case), subject)


def station(case: Case, subject: str) -> Finding:
    return of(doctor_station.station_findings(case), subject)


@pytest.fixture(autouse=True)
def _no_gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Whatever GPU this machine has, no test sees it."""
    monkeypatch.setenv("PATH", str(tmp_path))


def test_whatever_is_not_well_says_why_it_matters_and_what_to_do(tmp_path: Path) -> None:
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


@pytest.mark.parametrize(
    ("line", "level", "words"),
    [
        ("nas:/mdss {place} nfs4 rw,relatime 0 0", "bad", "lies on a network (nfs4)"),
        ("sshfs {place} fuse.sshfs rw 0 0", "bad", "lies on a network (sshfs)"),
        ("tmpfs {place} tmpfs rw,size=4g 0 0", "bad", "lies in memory (tmpfs)"),
        ("overlay {place} overlay rw 0 0", "weak", "lies in a container's own layer"),
        ("/dev/sda1 {place} ext4 rw 0 0", "ok", "lies on a local disk (ext4)"),
    ],
)
def test_the_file_system_of_the_journal_is_named(tmp_path: Path, line: str, level: Level, words: str) -> None:
    state = tmp_path / "a disk" / "state"
    state.mkdir(parents=True)
    mounts = "/dev/sda1 / ext4 rw 0 0\n" + line.format(place=str(tmp_path / "a disk").replace(" ", "\\040")) + "\n"
    case = Case(settings(station={"state_directory": str(state)}), root=laid_out(tmp_path / "root", proc__self__mounts=mounts))
    found = of(doctor_disk.disk_findings(case), "state directory: file system")
    assert (found.level, words in found.found) == (level, True), found


def test_a_disk_that_is_mounted_read_only_is_bad(tmp_path: Path) -> None:
    root = laid_out(tmp_path / "root", proc__self__mounts=f"/dev/sda1 {tmp_path} ext4 ro,relatime 0 0\n")
    case = Case(settings(station={"state_directory": str(tmp_path / "not" / "there" / "yet")}), root=root)
    found = of(doctor_disk.disk_findings(case), "state directory: rights")
    assert (found.level, found.found) == ("bad", f"{tmp_path} is mounted read-only")


def test_how_long_the_disk_lasts_is_told_from_the_rate_of_the_newest_verdicts(tmp_path: Path) -> None:
    (tmp_path / "evidence").mkdir()
    picture = tmp_path / "evidence" / "a.png"
    picture.write_bytes(bytes(500_000))
    recent = judged(200, every_s=1.0, evidence=picture)
    daily = doctor_disk.daily_bytes(recent)
    assert daily is not None and 500_000 * DAY_S < daily < 510_000 * DAY_S
    case = Case(settings(station={"state_directory": str(tmp_path)}, journal={"keep_days": 10}), recent)
    for free, level in ((daily * 11, "ok"), (daily * 9, "weak"), (daily / 2, "bad")):
        found = doctor_disk._room(case, tmp_path, int(free))
        assert found.level == level, found
        assert f"{free / daily:.3g} days at the rate of the last 200 parts" in found.found


def test_few_verdicts_tell_of_no_rate_and_little_space_is_named_all_the_same(tmp_path: Path) -> None:
    assert doctor_disk.daily_bytes(judged(99, every_s=10)) is None
    assert doctor_disk.daily_bytes(judged(200, every_s=0.1)) is None
    case = Case(settings(station={"state_directory": str(tmp_path)}))
    assert [doctor_disk._room(case, tmp_path, free).level for free in (10**8, 5 * 10**8, 10**10)] == ["bad", "weak", "ok"]


def test_inodes_run_out_before_the_space_does(tmp_path: Path) -> None:
    assert [doctor_disk._inodes(tmp_path, free).level for free in (999, 19_999, 20_000)] == ["bad", "weak", "ok"]


@pytest.mark.parametrize(("limit", "level"), [("128", "bad"), ("512", "weak"), ("1024", "ok"), ("unlimited", "ok")])
def test_the_limit_of_open_files_is_read(tmp_path: Path, limit: str, level: Level) -> None:
    text = f"Limit            Soft Limit  Hard Limit  Units\nMax open files   {limit}       524288      files\n"
    assert machine(Case(Settings(), root=laid_out(tmp_path / "root", proc__self__limits=text)), "open files").level == level


@pytest.mark.parametrize(
    "files",
    [
        {"proc__self__cgroup": "0::/mdss.slice/mdss.service\n", "sys__fs__cgroup__mdss.slice__memory.max": "{limit}\n"},
        {
            "proc__self__cgroup": "4:memory:/docker/ab\n1:cpu:/\n",
            "sys__fs__cgroup__memory__docker__ab__memory.limit_in_bytes": "{limit}\n",
            "sys__fs__cgroup__memory__memory.limit_in_bytes": "9223372036854771712\n",
        },
        {"proc__meminfo": "MemTotal:       {limit_kb} kB\n"},
    ],
    ids=["cgroup v2", "cgroup v1", "the machine itself"],
)
def test_memory_is_the_least_of_what_the_machine_and_each_group_around_leave(tmp_path: Path, files: dict[str, str]) -> None:
    for number, (limit, level) in enumerate(((512 * 2**20, "bad"), (1400 * 2**20, "weak"), (4 * 2**30, "ok"))):
        written = {name: text.format(limit=limit, limit_kb=limit // 1024) for name, text in files.items()}
        found = machine(Case(Settings(), root=laid_out(tmp_path / str(number), **written)), "memory")
        assert found.level == level, found
        assert found.found.startswith(f"{size(limit)} for the station")


def test_more_branches_need_more_memory(tmp_path: Path) -> None:
    root = laid_out(tmp_path / "root", proc__meminfo=f"MemTotal:  {3 * 2**20} kB\n")
    assert machine(Case(settings(branches={"sdf": {"count": 2}}), root=root), "memory").level == "ok"
    assert machine(Case(settings(branches={"sdf": {"count": 8}}), root=root), "memory").level == "weak"


def test_what_the_kernel_has_ended_for_want_of_memory_is_counted(tmp_path: Path) -> None:
    files = {"proc__self__cgroup": "0::/mdss\n", "sys__fs__cgroup__mdss__memory.events": "low 0\noom 3\noom_kill 2\n"}
    found = machine(Case(Settings(), root=laid_out(tmp_path / "root", **files)), "memory: kills")
    assert found.level == "weak" and "has ended 2 processes" in found.found


def test_a_clock_that_was_set_back_is_seen_from_the_journal() -> None:
    (newest,) = judged(1)
    future = msgspec.structs.replace(newest, times=msgspec.structs.replace(newest.times, published=newest.times.published + 3600 * S))
    found = machine(Case(Settings(), (future,)), "clock")
    assert found.level == "bad" and "the clock was set back" in found.found
    assert machine(Case(Settings(), (newest,)), "clock").level != "bad"


def test_a_clock_that_systemd_has_synchronised_is_well(tmp_path: Path) -> None:
    root = laid_out(tmp_path / "root", run__systemd__timesync__synchronized="")
    assert machine(Case(Settings(), root=root), "clock").level == "ok"


def test_more_threads_than_cores_are_weak_and_those_of_a_gpu_do_not_count(tmp_path: Path) -> None:
    cores = len(os.sched_getaffinity(0))
    asking = settings(branches={"rgb": {"device": "cpu"}, "sdf": {"count": 16, "threads": min(64, cores)}})
    found = machine(Case(asking, root=tmp_path), "cores")
    assert (found.level, found.found) == ("weak", f"{cores}, of which the branches ask for {1 + 16 * min(64, cores)}")
    assert machine(Case(asking, root=laid_out(tmp_path / "gpu", dev__nvidia0="")), "cores").level == "ok"
    files = {"proc__self__cgroup": "0::/mdss\n", "sys__fs__cgroup__mdss__cpu.max": "50000 100000\n"}
    found = machine(Case(Settings(), root=laid_out(tmp_path / "half", **files)), "cores")
    assert (found.level, found.found) == ("weak", "0.5, of which the branches ask for 2")


def test_a_gpu_that_is_asked_for_and_not_there_is_bad(tmp_path: Path) -> None:
    two = laid_out(tmp_path / "two", dev__nvidia0="", dev__nvidia1="", dev__nvidiactl="")
    asking = settings(branches={"rgb": {"device": "cuda:1"}, "sdf": {"device": "cuda:2"}})
    found = machine(Case(asking, root=two), "GPU")
    assert (found.level, found.found) == ("bad", "0: nvidia0, 1: nvidia1, though branches.sdf.device: cuda:2")
    found = machine(Case(asking, root=tmp_path), "GPU")
    assert found.found == "none, though branches.rgb.device: cuda:1, branches.sdf.device: cuda:2"
    assert machine(Case(Settings(), root=tmp_path), "GPU").level == "ok"


def test_a_gpu_is_named_as_nvidia_smi_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    smi = tmp_path / "nvidia-smi"
    smi.write_text("#!/bin/sh\necho 'NVIDIA T4'\n")
    smi.chmod(0o755)
    assert doctor_machine.gpu_names(Case(Settings(), root=tmp_path)) == ["NVIDIA T4"]
    smi.write_text("#!/bin/sh\necho 'the driver does not answer'\nexit 9\n")
    assert doctor_machine.gpu_names(Case(Settings(), root=tmp_path)) == []


def test_a_torch_for_cpus_on_a_machine_with_a_gpu_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = laid_out(tmp_path / "root", dev__nvidia0="")
    answers: dict[str, Callable[[str], str]] = {"cpu": lambda _: "2.9.0+cpu", "gpu": lambda _: "2.9.0+cu128"}
    monkeypatch.setattr(doctor_machine, "version", answers["cpu"])
    assert machine(Case(Settings(), root=root), "GPU").level == "weak"
    assert machine(Case(settings(branches={"rgb": {"device": "cuda:0"}}), root=root), "GPU").level == "bad"
    monkeypatch.setattr(doctor_machine, "version", answers["gpu"])
    assert machine(Case(Settings(), root=root), "GPU").level == "ok"


def test_a_deadline_that_parts_do_not_keep_is_seen_from_the_journal() -> None:
    for deadline_ms, level in ((99, "bad"), (500, "weak"), (2000, "ok")):
        case = Case(settings(camera={"deadline_ms": deadline_ms}), (*judged(90, took_ms=100), *judged(10, took_ms=1000)))
        found = station(case, "deadline")
        assert found.level == level, found
        assert "half of the last 100 parts took 100 ms, 99 in 100 at most 1000 ms" in found.found


def test_late_parts_are_counted_where_they_are_more_than_one_in_a_hundred() -> None:
    late = tuple(undefined(f"late {number}") for number in range(2))
    assert station(Case(Settings(), (*judged(98), *late)), "late parts").found == "2 of the last 100 were late"
    assert [finding for finding in doctor_station._timing(Case(Settings(), (*judged(198), *late))) if finding.subject == "late parts"] == []


def dies_at_once(process: FakeProcess, age_s: float) -> None:
    process.code = -9


@pytest.mark.parametrize("window_s", [1.0, 60.0, 300.0])
def test_a_limit_that_the_growing_pauses_never_let_a_process_reach_is_weak(window_s: float) -> None:
    most = most_ends(window_s)
    for limit, level, state in ((most, "ok" if most >= 3 else "weak", "error"), (most + 1, "weak", "degraded")):
        own = settings(supervisor={"restart_limit": limit, "restart_window_s": window_s})
        assert station(Case(own), "restarts allowed").level == level
        world = FakeWorld({SPEC.name: dies_at_once})
        child = Child(SPEC, world.start, limits_of(own), world.clock)
        child.start()
        for _ in range(40_000):  # ten minutes and more
            world.clock.advance(1 / 64)
            child.tick()
        assert child.state == state


def test_a_limit_of_one_is_weak() -> None:
    assert doctor_station._restarts(SupervisorSettings(restart_limit=1)).level == "weak"


def test_a_password_that_others_may_read_is_weak_and_one_that_is_not_there_is_bad(tmp_path: Path) -> None:
    path = tmp_path / "password"
    case = Case(settings(alerts={"password_file": str(path)}))
    assert station(case, "alerts.password_file").level == "bad"
    path.write_text("secret")
    for mode, level in ((0o644, "weak"), (0o640, "weak"), (0o600, "ok")):
        path.chmod(mode)
        found = station(case, "alerts.password_file")
        assert found.level == level and "secret" not in found.found


def doors(tmp_path: Path, **sections: dict[str, Any]) -> list[str]:
    """Return what is said of the ways into a station whose folders are its own."""
    own = {"state_directory": str(tmp_path / "state"), "runtime_directory": str(tmp_path / "run")}
    return [finding.subject for finding in doctor_station._doors(Case(settings(**({"station": own} | sections))))]


def test_doors_without_keys_and_pages_for_other_machines_are_named(tmp_path: Path) -> None:
    assert doors(tmp_path) == []
    plain: dict[str, dict[str, Any]] = {"verdicts": {"endpoint": "tcp://127.0.0.1:5556"}, "security": {"plain_loopback": True}}
    assert doors(tmp_path, **plain) == ["verdicts.endpoint"]
    assert doors(tmp_path, http={"host": "192.168.1.5", "token_file": "token"}) == ["http.host"]
    keys = {"server_key_file": "station.key_secret", "client_keys": str(tmp_path)}
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
