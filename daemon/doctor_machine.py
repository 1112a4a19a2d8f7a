"""`mdss doctor` on the machine: memory, open files, clock, cores, processor, GPU, and /dev/shm, which the station does not need."""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Final

from daemon.finding import Case, Finding, bad, ok, size, weak
from daemon.process_table import process_table
from mdss.system_calls import LIBC

MIB: Final = 2**20
BRANCH_BYTES, PROCESS_BYTES, HELD_BYTES = 500 * MIB, 80 * MIB, 512 * MIB  # approximate, with models and frames in use
ENOUGH_FILES, FEWEST_FILES = 1024, 256
TIME_ERROR: Final = 5  # adjtimex's answer if nothing keeps the clock synchronised
GPU_WITHIN_S: Final = 10.0
SHARED_MEMORY: Final = "dev/shm"
EIGHT_BITS: Final = "avx512_vnni"
GPU_FILES: Final = "nvidia[0-9]*"


class Timex(ctypes.Structure):
    """The structure that adjtimex fills; with modes 0 it changes nothing, and only its return value is used here."""

    _fields_ = (("modes", ctypes.c_uint), ("rest", ctypes.c_byte * 508))


def machine_findings(case: Case) -> Iterator[Finding]:
    """Examine what the station needs from its machine."""
    yield _shared_memory(case)
    yield _open_files(case)
    yield from _memory(case)
    yield _clock(case)
    yield _cores(case)
    yield _processor(case)
    yield _gpu(case)


def _shared_memory(case: Case) -> Finding:
    found = "the station needs none of it: its processes speak through sockets"
    try:
        disk = os.statvfs(case.root / SHARED_MEMORY)
    except OSError:
        return ok("shared memory", f"/{SHARED_MEMORY} is not there; {found}")
    return ok("shared memory", f"/{SHARED_MEMORY} has {size(disk.f_blocks * disk.f_frsize)}; {found}")


def _open_files(case: Case) -> Finding:
    found = re.search(r"^Max open files +(\S+)", case.system(f"{case.process}/limits"), re.MULTILINE)
    limit = int(found[1]) if found and found[1].isdigit() else ENOUGH_FILES
    whose = "the station's processes" if case.report else "this shell; under systemd LimitNOFILE counts instead"
    found_limit = f"{limit} for {whose}"
    if limit >= ENOUGH_FILES:
        return ok("open files", found_limit)
    why = "every camera and every subscriber takes one; without any left, new ones are not let in and files are not opened"
    return (bad if limit < FEWEST_FILES else weak)(
        "open files", found_limit, why, f"raise it to {ENOUGH_FILES} or more: LimitNOFILE=, or ulimit -n"
    )


def _memory(case: Case) -> Iterator[Finding]:
    counts = [row.count for row in process_table(case.settings)]
    branches, others = sum(count for count in counts if count), counts.count(None) + 1  # the supervisor is no row of the table
    needed = BRANCH_BYTES * branches + PROCESS_BYTES * others + HELD_BYTES
    total = re.search(r"^MemTotal: +(\d+) kB", case.system("proc/meminfo"), re.MULTILINE)
    limits = [*_group_limits(case), *([int(total[1]) * 1024] if total else [])]
    found = (
        f"{size(min(limits))} for the station, which takes about {size(needed)}" if limits else "the machine does not say how much it has"
    )
    why = "if memory runs out, the kernel ends processes, and their parts are judged again or become late"
    advice = "give it more (MemoryMax=, the container's limit), or lower branches.*.count"
    if limits and min(limits) < needed:
        yield (bad if min(limits) < needed / 2 else weak)("memory", found, why, advice)
    else:
        yield ok("memory", found)
    kills = sum(int(count) for text in _group_files(case, "memory.events") for count in re.findall(r"^oom_kill (\d+)", text, re.MULTILINE))
    if kills:
        yield weak("memory: kills", f"the kernel has ended {kills} processes of this control group for want of memory", why, advice)


def _group_limits(case: Case) -> list[int]:
    """Return every memory limit (bytes) that applies to the station's processes: of their control group and of all groups above it."""
    texts = [*_group_files(case, "memory.max"), *_group_files(case, "memory.limit_in_bytes")]
    return [int(text) for text in texts if text.strip().isdigit()]


def _group_files(case: Case, name: str) -> Iterator[str]:
    """Yield the contents of a file in the station's control group and in all groups above it, for cgroup v1 and v2."""
    for line in case.system(f"{case.process}/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers in ("", "memory"):
            base = Path("sys/fs/cgroup", controllers)
            groups = [base / path.strip("/"), *(base / path.strip("/")).parents]
            texts = [case.system(str(group / name)) for group in groups if group.is_relative_to(base)]
            yield from (text for text in texts if text)


def _clock(case: Case) -> Finding:
    subject = "clock"
    ahead_s = (max((verdict.times.published for verdict in case.recent), default=0) - time.time_ns()) / 1e9
    if ahead_s > 60:
        why = "times of verdicts go backwards, and pruning follows the clock"
        advice = "set the clock right; if it is right by now, it was ahead when that part was judged, and there is nothing to do"
        return bad(subject, f"a verdict is {ahead_s:.0f} s in the future: the clock was set back", why, advice)
    is_kept = LIBC.adjtimex(ctypes.byref(Timex())) not in (-1, TIME_ERROR)
    if is_kept or (case.root / "run/systemd/timesync/synchronized").exists():
        return ok(subject, "kept right by a time service")
    why = "times of verdicts and alerts drift away from those of other machines; deadlines do not depend on it"
    return weak(subject, "no time service keeps it right", why, "switch on chrony or systemd-timesyncd")


def _cores(case: Case) -> Finding:
    gpus = bool(gpu_names(case)) and not are_hidden(case)
    branches = [case.settings.branches.rgb, case.settings.branches.sdf]
    on_cpu = [branch for branch in branches if branch.device == "cpu" or (branch.device == "auto" and not gpus)]
    asked, cores = sum(branch.count * branch.threads for branch in on_cpu), core_count(case)
    found = f"{cores:.3g}, of which the branches ask for {asked}"
    if asked <= cores:
        return ok("cores", found)
    why = "threads that wait for a core make every part slower, and late in the end"
    return weak("cores", found, why, "lower branches.*.threads or branches.*.count until they fit")


def _processor(case: Case) -> Finding:
    flags = re.search(r"^flags\s*: (.*)$", case.system("proc/cpuinfo"), re.MULTILINE)
    if flags is None:
        return ok("processor", "it does not list its features")
    if EIGHT_BITS in flags[1].split():
        return ok("processor", "multiplies in eight bits by itself")
    return ok(
        "processor",
        f"does not multiply in eight bits by itself ({EIGHT_BITS}): models that score in eight bits take a little longer than in float",
    )


def core_count(case: Case) -> float:
    """Return how many cores the station may use: those of its affinity, or the share that its control group allows."""
    pairs = [text.split() for text in _group_files(case, "cpu.max")]
    shares = [int(quota) / int(period) for quota, period in pairs if quota.isdigit()]
    return min([float(len(os.sched_getaffinity(0))), *shares])


def _gpu(case: Case) -> Finding:
    names = gpu_names(case)
    branches = {"rgb": case.settings.branches.rgb.device, "sdf": case.settings.branches.sdf.device}
    missing = {name: device for name, device in branches.items() if device.startswith("cuda") and not _is_there(device, len(names))}
    there = ", ".join(f"{number}: {name}" for number, name in enumerate(names)) or "none"
    if missing:
        asked = ", ".join(f"branches.{name}.device: {device}" for name, device in missing.items())
        why = "the branch refuses to start, and the station with it"
        return bad("GPU", f"{there}, though {asked}", why, "install the driver, or set the device to auto or cpu")
    level = bad if any(device.startswith("cuda") for device in branches.values()) else weak
    has_use = bool(names) and set(branches.values()) != {"cpu"}
    if has_use and version("torch").endswith("+cpu"):
        why = "the installed torch computes on CPUs only"
        return level(
            "GPU", f"{there}, and torch {version('torch')}", why, "install a torch built for CUDA, or set branches.*.device to cpu"
        )
    if has_use and are_hidden(case):
        why = "devices are kept away from it, as mdss.service does: with auto a branch computes on the CPU, with cuda:N it does not start"
        advice = "put the lines at the end of mdss.service into `systemctl edit mdss`, or set branches.*.device to cpu"
        return level("GPU", f"{there}, but none for the station", why, advice)
    whose = "; as this shell sees it: mdss.service keeps devices away without the lines at its end" if has_use and not case.report else ""
    return ok("GPU", f"{there}; devices asked for: {', '.join(branches.values())}{whose}")


def _is_there(device: str, count: int) -> bool:
    return int(device.partition(":")[2]) < count


def gpu_names(case: Case) -> list[str]:
    """Return the NVIDIA GPUs in order, with names from nvidia-smi, or else one entry for each device file."""
    smi = shutil.which("nvidia-smi")
    if smi is not None:
        command = [smi, "--query-gpu=name", "--format=csv,noheader"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=GPU_WITHIN_S, check=False)
        except (OSError, subprocess.TimeoutExpired):
            return []
        return done.stdout.splitlines() if done.returncode == 0 else []
    return [path.name for path in sorted((case.root / "dev").glob(GPU_FILES))]


def are_hidden(case: Case) -> bool:
    """Return whether the machine has GPU device files that the station's processes cannot see, as in the sandbox of mdss.service."""
    try:
        seen = list((case.root / case.process / "root/dev").iterdir())
    except OSError:  # only root and the station's own user may look there
        return False
    return any((case.root / "dev").glob(GPU_FILES)) and not any(path.match(GPU_FILES) for path in seen)
