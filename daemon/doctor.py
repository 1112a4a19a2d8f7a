"""Verb `mdss doctor`: reports the weak points of a station and its machine in plain sentences; it changes nothing."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import click
import msgspec
import structlog
from rich.text import Text

from daemon.doctor_disk import disk_findings
from daemon.doctor_machine import machine_findings
from daemon.doctor_models import model_findings
from daemon.doctor_redis import redis_findings
from daemon.doctor_station import station_findings
from daemon.finding import LEVELS, Case, Finding, Level, bad, ok, worst
from daemon.open_files import BESIDE_BACK, LOST, PUT_BACK, journal_files
from daemon.process_table import JOURNAL_KEEPERS
from daemon.status import ProcessReport, StationReport
from daemon.verbs import another_station, request_report
from mdss import whole_files
from mdss.errors import MdssError
from mdss.journal import JOURNAL, Journal, JournalDamaged, JournalFailed
from mdss.settings import Settings, checked_settings, pointing_to_copy
from mdss.terminal import plain_console
from mdss.verb_options import config_option
from mdss.wire.verdict import Verdict

FAILED = 1
RECENT = 1000  # number of newest verdicts that rate, lateness and latency are computed from
UNRECORDED = "no part can be recorded, so none is accepted"
COLOURS: dict[Level, str] = {"ok": "green", "weak": "yellow", "bad": "bold red"}
CHECKS: tuple[Callable[[Case], Iterator[Finding]], ...] = (
    station_findings,
    model_findings,
    disk_findings,
    redis_findings,
    machine_findings,
)


class Examination(msgspec.Struct, frozen=True, kw_only=True):
    """All findings, as `--json` prints them."""

    station: str
    level: Level
    findings: list[Finding]


@click.command(epilog="Example: mdss doctor --config station.yaml")
@config_option
@click.option("--json", "as_json", is_flag=True, help="Print all findings as JSON.")
def command(config: Path, as_json: bool) -> None:
    """Report a station's weak points: what was found, why it matters, what to do. The exit code is 1 if something is bad."""
    # log lines of the journal are no findings: they go to stderr
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    with pointing_to_copy(config):
        settings = checked_settings(config)
    findings = examine(settings)
    if as_json:
        made = Examination(station=settings.station.name, level=worst(findings), findings=findings)
        click.echo(whole_files.as_json(made), nl=False)
    else:
        show(settings.station.name, findings)
    if worst(findings) == "bad":
        raise click.exceptions.Exit(FAILED)


def examine(settings: Settings) -> list[Finding]:
    """Return the findings on a station, whether it runs or not."""
    report, silence = station_report(settings)
    other = "" if report is None else another_station(report, settings)
    report = None if other else report
    path = Path(settings.station.state_directory) / JOURNAL
    lost = None if report is None else lost_file(path, report)
    journal, recent = read_journal(path) if lost is None else (lost_journal(lost, is_beside=lost != path), ())
    case = Case(settings, recent, report, silence, other)
    return [journal, *(finding for check in CHECKS for finding in check(case))]


def station_report(settings: Settings) -> tuple[StationReport | None, str]:
    """Return the station's own report, or None and the reason why there is none."""
    try:
        return request_report(settings.http), ""
    except MdssError as error:
        return None, str(error)


def lost_file(path: Path, report: StationReport) -> Path | None:
    """Return which of the journal's files is not there as the running station has it open."""
    gone = next((end for end, file in journal_files(path).items() if is_lost(file, report)), None)
    return None if gone is None else Path(f"{path}{gone}")


def is_lost(path: Path, report: StationReport) -> bool:
    """Return whether the running station has opened another file in this place than the one that is there now, if there is one."""
    try:
        there = path.stat()
    except FileNotFoundError:
        return report.is_ready
    except OSError:
        return False
    return any(has_another(process, there) for process in report.processes)


def has_another(process: ProcessReport, there: os.stat_result) -> bool:
    """Return whether a process that records parts has not the journal open that is there now, as far as this user may see."""
    if process.name not in JOURNAL_KEEPERS or not process.is_ready:
        return False
    folder = Path(f"/proc/{process.pid}")
    with suppress(OSError):  # it has ended, or is another user's
        is_ours = (folder / "cmdline").read_bytes().startswith(b"mdss: ")  # the number of one in a container may be anybody's here
        return is_ours and not any(os.path.samestat(file, there) for file in open_files(folder))
    return False


def open_files(folder: Path) -> Iterator[os.stat_result]:
    """Yield what the files are that a process has open, of which this is the folder in /proc; OSError if this user may not see them."""
    for file in (folder / "fd").iterdir():
        with suppress(FileNotFoundError):  # closed in the meantime
            yield file.stat()


def read_journal(path: Path) -> tuple[Finding, tuple[Verdict, ...]]:
    """Return the finding on the journal and its newest verdicts; a missing journal is not created."""
    try:
        path.stat()
    except FileNotFoundError:
        return ok("journal", f"{path} is not there yet: the first start makes it"), ()
    except OSError as error:
        return unreachable_journal(path, error), ()
    try:
        with closing(Journal(path)) as journal:
            last = journal.last_sequence()
            recent = tuple(journal.since(max(0, last - RECENT), RECENT))
            waiting, pending, damage = len(journal.undelivered(RECENT)), len(journal.pending()), journal.damage
    except JournalDamaged as damaged:
        return damaged_journal(str(damaged)), ()
    except JournalFailed as failed:
        return unopened_journal(path, str(failed)), ()
    if damage:
        return damaged_journal(f"journal {path}: {damage}"), recent
    return ok("journal", f"{path}: {last} verdicts so far, {pending} parts under way, {waiting} alerts that wait for Redis"), recent


def unreachable_journal(path: Path, error: OSError) -> Finding:
    """Return the finding on a journal that cannot even be looked for."""
    found = f"journal {path}: {error.strerror}"
    if isinstance(error, PermissionError):
        return unopened_journal(path, found)
    return bad("journal", found, UNRECORDED, "look at station.state_directory and at its disk")


def unopened_journal(path: Path, found: str) -> Finding:
    """Return the finding on a journal that cannot be opened, perhaps because another user owns it."""
    if os.access(path, os.R_OK | os.W_OK) and os.access(path.parent, os.W_OK):
        return bad("journal", found, UNRECORDED, "see docs/operations.md")
    return bad("journal", found, "this user may not open it", "run mdss doctor as the station's own user")


def lost_journal(path: Path, *, is_beside: bool = False) -> Finding:
    """Return the finding on a file of the journal that was removed or replaced while the station has it open."""
    if is_beside:
        why = "what was recorded lately stands in a file that nobody else can open: when the station is killed, those parts may be gone"
        return bad("journal", f"{path} {LOST}", why, BESIDE_BACK)
    why = "its processes write to a file that nobody can open any more: when they end, every part in it is gone, and sequences begin anew"
    return bad("journal", f"{path} {LOST}", why, f"{PUT_BACK}: docs/operations.md, Upgrade and backup")


def damaged_journal(found: str) -> Finding:
    """Return the finding on a journal that the disk damaged."""
    why = "what stood at the damaged places can neither be shown nor delivered, and parts may not be recorded, now or at the next start"
    advice = (
        f"look at the disk; stop the station, move {JOURNAL} and what is beside it (-wal, -shm) away, put the last backup in its place"
        " or nothing, and start it: docs/operations.md, When something happens"
    )
    return bad("journal", found, why, advice)


def show(station: str, findings: list[Finding]) -> None:
    """Print one line per finding; below those that are not ok, why it matters and what to do."""
    console = plain_console(soft_wrap=True)
    width = max(len(finding.subject) for finding in findings)
    for finding in findings:
        line = Text(f"{finding.level:<5} ", style=COLOURS[finding.level])
        line.append(f"{finding.subject:<{width}}  {finding.found}", style="default")
        console.print(line)
        for name, text in (("why", finding.why), ("do", finding.advice)):
            if text:
                console.print(Text(f"{'':<{width + 8}}{name}: {text}"))
    counts = Counter(finding.level for finding in findings)
    console.print(f"{station}: {', '.join(f'{counts[level]} {level}' for level in LEVELS)}")
