"""What `mdss doctor` looks at, and what it says of each thing: the level, what was found, why it matters, what to do."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from daemon.status import StationReport
from mdss.settings import Settings
from mdss.wire.verdict import Verdict

Level = Literal["ok", "weak", "bad"]  # weak: works, and some event will cost something; bad: does not work, or something is being lost
LEVELS: tuple[Level, ...] = ("ok", "weak", "bad")


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was looked at; where all is well there is no why and no advice."""

    subject: str
    level: Level
    found: str
    why: str = ""
    advice: str = ""


@dataclass(frozen=True)
class Case:
    """A station as the checks see it: its settings, its newest verdicts, what it says of itself, and the machine under `root`."""

    settings: Settings
    recent: tuple[Verdict, ...] = ()  # oldest first
    report: StationReport | None = None  # None where none answers, for the reason in `silence`
    silence: str = ""
    root: Path = Path("/")

    def system(self, path: str) -> str:
        """Return the text of a file of the machine, empty where there is none or it may not be read."""
        try:
            return (self.root / path).read_text("utf-8", errors="replace")
        except OSError:
            return ""

    @property
    def process(self) -> str:
        """Return the folder in /proc of a process of the station, or of this one while the station does not run."""
        running = [process.pid for process in self.report.processes if process.pid] if self.report else []
        return f"proc/{running[0] if running else 'self'}"


def ok(subject: str, found: str) -> Finding:
    """Return that all is well."""
    return Finding(subject=subject, level="ok", found=found)


def weak(subject: str, found: str, why: str, advice: str) -> Finding:
    """Return what works today, though some event will cost something."""
    return Finding(subject=subject, level="weak", found=found, why=why, advice=advice)


def bad(subject: str, found: str, why: str, advice: str) -> Finding:
    """Return what does not work, or by which something is being lost."""
    return Finding(subject=subject, level="bad", found=found, why=why, advice=advice)


def worst(findings: list[Finding]) -> Level:
    """Return the worst level of all."""
    return max((finding.level for finding in findings), key=LEVELS.index, default="ok")


def is_folder(path: Path) -> bool:
    """Return whether a folder is there, as far as this user may look."""
    try:
        return path.is_dir()
    except OSError:
        return False


def size(count: float) -> str:
    """Return a number of bytes as people read it."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"
