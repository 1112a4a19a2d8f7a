"""What `mdss doctor` says of a machine whose files a test has laid out."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest

from daemon import doctor_machine
from daemon.finding import Case, Finding, Level, size
from daemon.status import ProcessReport, StationReport
from mdss.settings import Settings
from tests.cases import S, judged, laid_out, of, settings

ALERTS = ProcessReport(name="alerts", state="running", reason="", is_ready=True, pid=42, steps=0, waiting=0, restarts=0, silence_s=0.0)
RUNNING = StationReport(station="cell", state="running", reason="", is_ready=True, uptime_s=1.0, processes=(ALERTS,))


def machine(case: Case, subject: str) -> Finding:
    return of(doctor_machine.machine_findings(case), subject)


@pytest.fixture(autouse=True)
def _no_gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Whatever GPU this machine has, no test sees it."""
    monkeypatch.setenv("PATH", str(tmp_path))


@pytest.mark.parametrize(("limit", "level"), [("128", "bad"), ("512", "weak"), ("1024", "ok"), ("unlimited", "ok")])
def test_the_limit_of_open_files_is_read(tmp_path: Path, limit: str, level: Level) -> None:
    text = f"Limit            Soft Limit  Hard Limit  Units\nMax open files   {limit}       524288      files\n"
    assert machine(Case(Settings(), root=laid_out(tmp_path / "root", proc__self__limits=text)), "open files").level == level


def test_a_limit_is_that_of_the_stations_own_processes_while_it_runs(tmp_path: Path) -> None:
    root = laid_out(tmp_path, proc__self__limits="Max open files   4096 4096 files\n", proc__42__limits="Max open files   512 512 files\n")
    found = machine(Case(Settings(), report=RUNNING, root=root), "open files")
    assert (found.level, found.found) == ("weak", "512 for the station's processes")
    found = machine(Case(Settings(), root=root), "open files")
    assert (found.level, found.found) == ("ok", "4096 for this shell; under systemd LimitNOFILE counts instead")


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


def test_a_station_takes_the_memory_of_its_branches_of_its_other_processes_of_the_supervisor_and_of_what_is_held(tmp_path: Path) -> None:
    root = laid_out(tmp_path / "root", proc__meminfo=f"MemTotal:  {8 * 2**20} kB\n")
    for branches, others in ((2, 6), (5, 6)):  # alerts, collect, fusion, prepare, ingest and the supervisor
        found = machine(Case(settings(branches={"sdf": {"count": branches - 1}}), root=root), "memory")
        taken = (500 * branches + 80 * others + 512) * 2**20
        assert found.found == f"{size(8 * 2**30)} for the station, which takes about {size(taken)}"


def test_more_branches_need_more_memory(tmp_path: Path) -> None:
    root = laid_out(tmp_path / "root", proc__meminfo=f"MemTotal:  {3 * 2**20} kB\n")
    assert machine(Case(settings(branches={"sdf": {"count": 2}}), root=root), "memory").level == "ok"
    assert machine(Case(settings(branches={"sdf": {"count": 8}}), root=root), "memory").level == "weak"


def test_what_the_kernel_has_ended_for_want_of_memory_is_counted(tmp_path: Path) -> None:
    files = {"proc__self__cgroup": "0::/mdss\n", "sys__fs__cgroup__mdss__memory.events": "low 0\noom 3\noom_kill 2\n"}
    found = machine(Case(Settings(), root=laid_out(tmp_path / "root", **files)), "memory: kills")
    assert found.level == "weak" and "has ended 2 processes" in found.found
    for kills, subjects in ((0, ["memory"]), (1, ["memory", "memory: kills"])):
        root = laid_out(tmp_path / str(kills), **(files | {"sys__fs__cgroup__mdss__memory.events": f"oom 3\noom_kill {kills}\n"}))
        said = [finding.subject for finding in doctor_machine.machine_findings(Case(Settings(), root=root))]
        assert [subject for subject in said if subject.startswith("memory")] == subjects


def test_a_clock_that_was_set_back_is_seen_from_the_journal() -> None:
    (newest,) = judged(1)
    future = msgspec.structs.replace(newest, times=msgspec.structs.replace(newest.times, published=newest.times.published + 3600 * S))
    for recent in ((newest, future), (future, newest)):  # the clock may be right again by now
        found = machine(Case(Settings(), recent), "clock")
        assert found.level == "bad" and "the clock was set back" in found.found
    assert machine(Case(Settings(), (newest,)), "clock").level != "bad"


def test_a_clock_that_was_set_right_by_seconds_is_none_that_was_set_back() -> None:
    (newest,) = judged(1)
    ahead = msgspec.structs.replace(newest, times=msgspec.structs.replace(newest.times, published=newest.times.published + 30 * S))
    assert machine(Case(Settings(), (ahead,)), "clock").level != "bad"


@pytest.mark.parametrize(("answer", "level"), [(0, "ok"), (doctor_machine.TIME_ERROR, "weak"), (-1, "weak")])
def test_whether_a_time_service_keeps_the_clock_is_asked_of_the_kernel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: int, level: Level
) -> None:
    monkeypatch.setattr(doctor_machine, "LIBC", SimpleNamespace(adjtimex=lambda _: answer))
    assert machine(Case(Settings(), root=tmp_path), "clock").level == level


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
    one = settings(branches={"rgb": {"device": "cpu"}, "sdf": {"device": "cuda:0"}})
    for share, found_cores in (("100000", 1), ("max", cores)):
        files["sys__fs__cgroup__mdss__cpu.max"] = f"{share} 100000\n"
        found = machine(Case(one, root=laid_out(tmp_path / share, **files)), "cores")
        assert (found.level, found.found) == ("ok", f"{found_cores}, of which the branches ask for 1")


def test_a_gpu_that_is_asked_for_and_not_there_is_bad(tmp_path: Path) -> None:
    two = laid_out(tmp_path / "two", dev__nvidia0="", dev__nvidia1="", dev__nvidiactl="")
    asking = settings(branches={"rgb": {"device": "cuda:1"}, "sdf": {"device": "cuda:2"}})
    found = machine(Case(asking, root=two), "GPU")
    assert (found.level, found.found) == ("bad", "0: nvidia0, 1: nvidia1, though branches.sdf.device: cuda:2")
    found = machine(Case(asking, root=tmp_path), "GPU")
    assert found.found == "none, though branches.rgb.device: cuda:1, branches.sdf.device: cuda:2"
    assert machine(Case(Settings(), root=tmp_path), "GPU").level == "ok"


def test_a_gpu_that_the_station_cannot_see_is_named_and_its_branches_compute_on_the_cpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor_machine, "version", lambda _: "2.9.0+cu128")
    root = laid_out(tmp_path / "root", dev__nvidia0="", proc__self__root__dev__null="")
    found = machine(Case(Settings(), root=root), "GPU")
    assert (found.level, found.found) == ("weak", "0: nvidia0, but none for the station")
    assert machine(Case(Settings(), root=root), "cores").found.endswith("the branches ask for 2")
    assert machine(Case(settings(branches={"rgb": {"device": "cuda:0"}}), root=root), "GPU").level == "bad"
    on_cpu = settings(branches={"rgb": {"device": "cpu"}, "sdf": {"device": "cpu"}})
    assert machine(Case(on_cpu, root=root), "GPU").found == "0: nvidia0; devices asked for: cpu, cpu"
    found = machine(Case(Settings(), root=laid_out(root, proc__self__root__dev__nvidia0="")), "GPU")
    assert found.level == "ok" and "as this shell sees it" in found.found
    found = machine(Case(Settings(), report=RUNNING, root=laid_out(root, proc__42__root__dev__nvidia0="")), "GPU")
    assert found.found == "0: nvidia0; devices asked for: auto, auto"


def test_a_gpu_is_named_as_nvidia_smi_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    smi = tmp_path / "nvidia-smi"
    smi.write_text("#!/bin/sh\necho 'NVIDIA T4'\n")
    smi.chmod(0o755)
    assert doctor_machine.gpu_names(Case(Settings(), root=tmp_path)) == ["NVIDIA T4"]
    smi.write_text("#!/bin/sh\necho 'the driver does not answer'\nexit 9\n")
    assert doctor_machine.gpu_names(Case(Settings(), root=tmp_path)) == []
    monkeypatch.setattr(doctor_machine, "GPU_WITHIN_S", 0.1)
    smi.write_text("#!/bin/sh\nexec /bin/sleep 60\n")
    assert doctor_machine.gpu_names(Case(Settings(), root=tmp_path)) == []


def test_a_gpu_without_device_files_as_in_a_virtual_machine_of_windows_is_hidden_from_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor_machine, "version", lambda _: "2.9.0+cu128")
    smi = tmp_path / "nvidia-smi"
    smi.write_text("#!/bin/sh\necho 'NVIDIA T4'\n")
    smi.chmod(0o755)
    found = machine(Case(Settings(), root=laid_out(tmp_path / "root", dev__dxg="", proc__self__root__dev__dxg="")), "GPU")
    assert found.level == "ok" and found.found.startswith("0: NVIDIA T4; ")


def test_a_torch_for_cpus_on_a_machine_with_a_gpu_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = laid_out(tmp_path / "root", dev__nvidia0="")
    answers: dict[str, Callable[[str], str]] = {"cpu": lambda _: "2.9.0+cpu", "gpu": lambda _: "2.9.0+cu128"}
    monkeypatch.setattr(doctor_machine, "version", answers["cpu"])
    assert machine(Case(Settings(), root=root), "GPU").level == "weak"
    assert machine(Case(settings(branches={"rgb": {"device": "cuda:0"}}), root=root), "GPU").level == "bad"
    monkeypatch.setattr(doctor_machine, "version", answers["gpu"])
    assert machine(Case(Settings(), root=root), "GPU").level == "ok"


@pytest.mark.parametrize(
    ("flags", "expected"), [("fpu avx512_vnni sse", "multiplies in eight bits"), ("fpu avx2 sse", "does not multiply")]
)
def test_whether_the_processor_multiplies_in_eight_bits_is_said(tmp_path: Path, flags: str, expected: str) -> None:
    root = laid_out(tmp_path / "root", proc__cpuinfo=f"processor\t: 0\nflags\t\t: {flags}\n")
    assert machine(Case(Settings(), root=root), "processor").found.startswith(expected)
    assert machine(Case(Settings(), root=tmp_path / "nowhere"), "processor").found == "it does not list its features"
