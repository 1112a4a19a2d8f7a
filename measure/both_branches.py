"""Runs both branches of a part at the same time, each on its own core, and compares with the slower branch alone."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import msgspec
import numpy as np

from daemon.spawn import MEMORY_KEPT
from mdss.errors import MdssError
from mdss.wire.verdict import Branch
from measure.one_branch import SCANS, RunnerOrder
from measure.results import BothBranches, percentile
from measure.stages import Effort, StageBench
from measure.subject import Size
from trainer.progress import Meter

TOPOLOGY = Path("/sys/devices/system/cpu")
BRANCHES: tuple[Branch, Branch] = ("rgb", "sdf")


class Runner:
    """The process of one branch."""

    def __init__(self, process: subprocess.Popen[str], branch: Branch) -> None:
        self._process, self._branch = process, branch

    def tell(self, number: int) -> None:
        """Ask for one part by its number."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # the process has ended; `wait` says so
            self._process.stdin.write(f"{number}\n")
            self._process.stdin.flush()

    def wait(self) -> None:
        """Wait for the process's next line. MdssError if it has ended."""
        assert self._process.stdout is not None
        if not self._process.stdout.readline():
            raise MdssError(f"{self._branch}: its process ended with code {self._process.wait()}; what it said before says why")


def measure_both(bench: StageBench, size: Size, effort: Effort) -> BothBranches | None:
    """Return the times of each branch alone and of both at once, measured in turn part by part; None without two cores."""
    cores = own_cores()
    if len(cores) < len(BRANCHES):
        return None
    with tempfile.TemporaryDirectory(prefix="mdss-bench-") as folder, ExitStack() as running:
        count = write_scans(bench, size, Path(folder))
        runners = [
            running.enter_context(
                running_branch(RunnerOrder(branch=branch, model=str(bench.model.path), core=core, folder=folder, scans=count))
            )
            for branch, core in zip(BRANCHES, cores, strict=False)
        ]
        for runner in runners:
            runner.wait()
        spent = []
        with Meter("both branches", effort.parts) as meter:
            for number in effort.numbers():
                spent.append([spent_ms(chosen, number % count) for chosen in (runners[:1], runners[1:], runners)])
                meter.step()
    return figures_of(spent)


def figures_of(spent: Sequence[Sequence[float]]) -> BothBranches:
    """Return the figures of parts, each with its times (ms) in colour alone, in shape alone, and in both at once."""
    rgb, sdf, both = zip(*spent, strict=True)
    ratios = [together / max(alone) for *alone, together in spent]
    return BothBranches(
        rgb_ms=percentile(rgb, 0.5),
        sdf_ms=percentile(sdf, 0.5),
        both_ms=percentile(both, 0.5),
        over_slower=percentile(ratios, 0.5),
        parts=len(spent),
    )


def own_cores() -> list[int]:
    """Return the processors that this process may use, one for each physical core."""
    by_core = dict[str, int]()
    for processor in sorted(os.sched_getaffinity(0), reverse=True):
        siblings = TOPOLOGY / f"cpu{processor}/topology/thread_siblings_list"
        by_core[siblings.read_text() if siblings.is_file() else str(processor)] = processor
    return sorted(by_core.values())


def spent_ms(runners: list[Runner], number: int) -> float:
    """Return how long it takes until all runners have computed a part."""
    started_s = time.perf_counter()
    for runner in runners:
        runner.tell(number)
    for runner in runners:
        runner.wait()
    return (time.perf_counter() - started_s) * 1000


def write_scans(bench: StageBench, size: Size, folder: Path) -> int:
    """Write the scans for the processes, and return their number."""
    scans = bench.subject.scans_at(size)
    for number, scan in enumerate(scans):
        rgb, cloud = bench.subject.received(scan)
        np.savez(folder / SCANS.format(number), rgb=rgb, xyz_mm=cloud[:])
    return len(scans)


@contextmanager
def running_branch(order: RunnerOrder) -> Iterator[Runner]:
    """Run the process of one branch while the block runs, with memory settings as in a station."""
    command = [sys.executable, "-m", "measure.one_branch", msgspec.json.encode(order).decode()]
    environment = {**MEMORY_KEPT, **os.environ}
    with subprocess.Popen(
        command, text=True, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, process_group=0
    ) as process:  # in a group of its own: Ctrl-C is for the bench
        try:
            yield Runner(process, order.branch)
        finally:
            process.kill()
            with suppress(BrokenPipeError):
                process.communicate()
