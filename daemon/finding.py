"""What the checks of `mdss doctor` examine (a case) and report (findings: level, what was found, why it matters, what to do)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from daemon.status import StationReport
from mdss.settings import Settings
from mdss.wire.verdict import Verdict

# weak: works, but some event will cost something; bad: does not work, or something is being lost
Level = Literal["ok", "weak", "bad"]
LEVELS: tuple[Level, ...] = ("ok", "weak", "bad")


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """The result of one check; `why` and `advice` are empty if all is well."""

    subject: str
    level: Level
    found: str
    why: str = ""
    advice: str = ""


@dataclass(frozen=True)
class Case:
    """A station as the checks see it: its settings, its newest verdicts, its own report, and the machine's files under `root`."""

    settings: Settings
    recent: tuple[Verdict, ...] = ()  # oldest first
    report: StationReport | None = None  # None if no station answers; `silence` says why
    silence: str = ""
    other: str = ""  # which other station answers in its place, if one does; then `report` is None
    root: Path = Path("/")

    def system(self, path: str) -> str:
        """Return the text of a system file, empty if it is missing or unreadable."""
        try:
            return (self.root / path).read_text("utf-8", errors="replace")
        except OSError:
            return ""

    @property
    def process(self) -> str:
        """The /proc folder of one of the station's processes, or of this one if the station does not run."""
        running = [process.pid for process in self.report.processes if process.pid] if self.report else []
        return f"proc/{running[0] if running else 'self'}"


def ok(subject: str, found: str) -> Finding:
    """Return a finding that all is well."""
    return Finding(subject=subject, level="ok", found=found)


def weak(subject: str, found: str, why: str, advice: str) -> Finding:
    """Return a finding on something that works now, but will cost something when some event comes."""
    return Finding(subject=subject, level="weak", found=found, why=why, advice=advice)


def bad(subject: str, found: str, why: str, advice: str) -> Finding:
    """Return a finding on something that does not work, or that is losing something."""
    return Finding(subject=subject, level="bad", found=found, why=why, advice=advice)


def worst(findings: list[Finding]) -> Level:
    """Return the worst level of some findings."""
    return max((finding.level for finding in findings), key=LEVELS.index, default="ok")


def is_folder(path: Path) -> bool:
    """Return whether a folder exists, as far as this user may look."""
    try:
        return path.is_dir()
    except OSError:
        return False


def size(count: float) -> str:
    """Return a number of bytes in a readable unit."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 999.5:  # what is more reads 1e+03
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"
