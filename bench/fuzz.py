"""Feeds mutated input by the million to the code that reads what others send; it has to accept or refuse it, in time and in bounds."""

from __future__ import annotations

import base64
import json
import logging
import resource
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

import click
import structlog

from bench.command_line import main_of
from bench.fuzzing.promises import BrokenPromise, Input
from bench.fuzzing.targets import TARGETS
from mdss.errors import BadInput, MdssError
from trainer.progress import Meter

EXAMPLE = "Example: python -m bench.fuzz --inputs 1000000 --seed 1"
SLOW_S, HUNG_S = 1.0, 10.0  # of CPU time, because the machine may be busy with something else
MOST_GROWTH_MB = 64  # of the process, after the first thousand inputs
MOST_RESERVED_MB = 1024  # of address space beyond that at the start, touched or not
WARM_UP = 1000  # inputs before memory is measured
MOST_WRITTEN = 50  # findings written in one run
MIB = 2**20


class Hung(BaseException):
    """An input took so long that it was interrupted."""


@dataclass
class Count:
    """What happened to the inputs of one target."""

    inputs: int = 0
    taken: int = 0
    refused: int = 0
    slowest_s: float = 0.0
    spent_s: float = 0.0


@dataclass(frozen=True)
class Finding:
    """An input that was neither accepted nor refused as declared; of those with the same `what`, only the first is kept."""

    target: str
    number: int
    messages: Input
    what: str = ""
    trace: str = ""

    def write(self, folder: Path, seed: int) -> Path:
        """Write what is needed to feed it again."""
        path = folder / f"{self.target}-{seed}-{self.number}.json"
        content = asdict(self) | {"messages": [[base64.b64encode(frame).decode() for frame in frames] for frames in self.messages]}
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content, indent=1), "utf-8")
        return path


class Fuzzer:
    """Feeds inputs that depend only on seed, target and number."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self.counts = {name: Count() for name in TARGETS}
        self.findings: dict[str, Finding] = {}
        self.growth_mb, self._base_mb, self._allowed_mb = 0.0, 0.0, float("inf")

    def make(self, name: str, number: int) -> Input:
        """Return one input."""
        return TARGETS[name].make(Random(f"{self._seed}/{name}/{number}"))  # noqa: S311 - nothing is kept secret with it

    def feed(self, name: str, number: int, messages: Input) -> None:
        """Feed one input and check what happens."""
        count, finding = self.counts[name], Finding(name, number, messages)
        spent_s, outcome = attempt(finding)
        if spent_s > SLOW_S:  # it may have been the first to need something that is made only once
            spent_s = min(spent_s, attempt(finding)[0])
        count.inputs, count.spent_s, count.slowest_s = count.inputs + 1, count.spent_s + spent_s, max(count.slowest_s, spent_s)
        if isinstance(outcome, BaseException):
            self._found(finding, failure_text(outcome), "".join(traceback.format_exception(outcome)[-12:]))
        elif outcome:
            count.taken += 1
        else:
            count.refused += 1
        if spent_s > SLOW_S and not isinstance(outcome, Hung):
            self._found(finding, f"took more than {SLOW_S:g} s", f"{spent_s:.2f} s")
        self._weigh(finding)

    def settle(self) -> None:
        """Take the memory of this moment as the base."""
        self._base_mb = largest_mb()
        self._allowed_mb = self._base_mb + MOST_GROWTH_MB

    def _weigh(self, finding: Finding) -> None:
        now_mb = largest_mb()
        self.growth_mb = now_mb - self._base_mb
        if now_mb > self._allowed_mb:
            self._found(finding, f"memory grew beyond {MOST_GROWTH_MB} MiB", f"{self.growth_mb:.0f} MiB")
            self._allowed_mb = now_mb + MOST_GROWTH_MB

    def _found(self, finding: Finding, what: str, trace: str) -> None:
        self.findings.setdefault(f"{finding.target}: {what}", replace(finding, what=what, trace=trace))


def attempt(finding: Finding) -> tuple[float, bool | BaseException]:
    """Feed one input. Return its CPU seconds, and whether it was accepted, or the exception that should not have been raised.

    The seconds are those of this thread: while a timer of CPU time runs, the kernel counts those of the process only in ticks.
    """
    signal.setitimer(signal.ITIMER_VIRTUAL, HUNG_S)
    started_s = time.thread_time()
    outcome: bool | BaseException
    try:
        outcome = TARGETS[finding.target].feed(finding.messages)
    except (Exception, Hung) as error:  # noqa: BLE001 - whatever else it is, it is what this command looks for
        outcome = error
    return time.thread_time() - started_s, outcome


def failure_text(error: BaseException) -> str:
    """Return what went wrong and where, without what differs from input to input."""
    if isinstance(error, BrokenPromise):
        return f"broken promise: {error}"
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} in {Path(frame.filename).name}:{frame.name}"


def largest_mb() -> float:
    """Return the largest memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@contextmanager
def guarded() -> Iterator[None]:
    """Turn warnings into errors, absurd allocations into MemoryError and endless loops into Hung; switch the log off."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    reserved = int(Path("/proc/self/statm").read_text("ascii").split()[0]) * resource.getpagesize()
    before, logs = signal.signal(signal.SIGVTALRM, _break_off), structlog.get_config()
    resource.setrlimit(resource.RLIMIT_AS, (reserved + MOST_RESERVED_MB * MIB, hard))
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
        structlog.configure(**logs)


def _break_off(*_: object) -> None:
    raise Hung(f"still busy after {HUNG_S:g} s")


def order(names: Sequence[str], inputs: int) -> list[str]:
    """Return the targets in the order in which they are fed, for one round of a hundred inputs, or of all if there are fewer."""
    weights = {name: TARGETS[name].share / sum(TARGETS[each].share for each in names) for name in names}
    turns = [(at / (weights[name] * 100), name) for name in names for at in range(max(1, round(weights[name] * 100)))]
    return [name for _, name in sorted(turns)][: max(inputs, 1)]


def campaign(names: Sequence[str], inputs: int, seed: int) -> Fuzzer:
    """Feed `inputs` inputs, each target its share, and return the fuzzer with what it found."""
    fuzzer, turns = Fuzzer(seed), order(names, inputs)
    with guarded(), Meter("inputs", inputs) as meter:
        for number in range(inputs):
            if number == min(inputs // 2, WARM_UP):
                fuzzer.settle()
            name = turns[number % len(turns)]
            fuzzer.feed(name, number, fuzzer.make(name, number))
            meter.step(f"findings {len(fuzzer.findings)}" if number % 1000 == 0 else "")
    return fuzzer


def feed_finding(path: Path) -> Fuzzer:
    """Feed the input of a finding again."""
    try:
        content = json.loads(path.read_text("utf-8"))
        messages = [[base64.b64decode(frame) for frame in frames] for frames in content["messages"]]
        name, number = content["target"], content["number"]
        TARGETS[name]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadInput(f"{path}: found no finding of this command ({error}), expected a file that it wrote") from error
    fuzzer = Fuzzer(0)
    with guarded():
        fuzzer.settle()
        fuzzer.feed(name, number, messages)
    return fuzzer


def report_of(fuzzer: Fuzzer, wall_s: float) -> dict[str, Any]:
    """Return the result as plain values."""
    targets = {name: asdict(count) for name, count in fuzzer.counts.items() if count.inputs}
    total = sum(count.inputs for count in fuzzer.counts.values())
    return {
        "inputs": total,
        "wall_s": round(wall_s, 1),
        "per_second": round(total / wall_s),
        "memory_growth_mb": round(fuzzer.growth_mb, 1),
        "targets": targets,
        "findings": [{"target": each.target, "number": each.number, "what": each.what} for each in fuzzer.findings.values()],
    }


def lines_of(report: dict[str, Any]) -> Iterator[str]:
    """Yield the result as a table."""
    yield "| target | inputs | taken | refused | inputs/s | slowest |"
    yield "|---|---:|---:|---:|---:|---:|"
    for name, count in report["targets"].items():
        rate = count["inputs"] / max(count["spent_s"], 1e-9)
        yield f"| {name} | {count['inputs']} | {count['taken']} | {count['refused']} | {rate:.0f} | {count['slowest_s'] * 1000:.0f} ms |"
    took = f"{report['inputs']} inputs in {report['wall_s']} s, memory grew by {report['memory_growth_mb']} MiB"
    yield f"{took}, findings: {len(report['findings'])}"
    for found in report["findings"]:
        yield f"  {found['target']} {found['number']}: {found['what']}"


@click.command(epilog=EXAMPLE)
@click.option("--inputs", type=click.IntRange(min=1), default=10_000, show_default=True, help="How many.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="The same seed makes the same inputs.")
@click.option(
    "--target", "names", multiple=True, type=click.Choice([*TARGETS]), help="What to feed, all when left out; may be given several times."
)
@click.option(
    "--findings",
    type=click.Path(path_type=Path, file_okay=False),
    default="findings",
    show_default=True,
    help="Where inputs to look at are written.",
)
@click.option(
    "--replay", "path", type=click.Path(path_type=Path, dir_okay=False), help="Feed the input of one such file again, and nothing else."
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(**options: Any) -> None:
    """Feed mutated input to the frame parser, the front door, the codec, the snapshot port and the settings loader.

    An input has to be refused as declared, or to become what was promised, within a second and within bounded memory. Anything else is a
    finding, and is written to a file from which it can be fed again. Exits with 1 if there is one.
    """
    started_s = time.monotonic()
    fuzzer = (
        feed_finding(options["path"]) if options["path"] else campaign(options["names"] or [*TARGETS], options["inputs"], options["seed"])
    )
    report = report_of(fuzzer, time.monotonic() - started_s)
    click.echo(json.dumps(report, indent=2) if options["as_json"] else "\n".join(lines_of(report)))
    if not options["path"]:
        for finding in list(fuzzer.findings.values())[:MOST_WRITTEN]:
            click.echo(f"written: {finding.write(options['findings'], options['seed'])}", err=True)
    if fuzzer.findings:
        raise MdssError(f"{len(fuzzer.findings)} inputs came to no declared end, expected none")


main = main_of(command, "bench.fuzz")

if __name__ == "__main__":
    sys.exit(main())
